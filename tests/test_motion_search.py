"""Motion alone finds the source in the coarse index, which keeps itself fresh and sound."""

import os

import numpy as np
import pytest

from long_motion import fake_of, index_of, stored_motion
from utils import motion_search
from utils.coarse_motion import coarse_source
from utils.motion_search import CoarseIndex
from utils.source_motion import stored_grid

LENGTHS = {"a": 120, "b": 400, "c": 90, "d": 700, "e": 250}


@pytest.fixture
def sources():
    return {name: stored_motion(seed, frames)
            for seed, (name, frames) in enumerate(LENGTHS.items())}


def first(index: CoarseIndex, arrays, **turned) -> str:
    return index.nearest(fake_of(arrays, np.arange(31, 80), **turned).grid, keep=1)[0]


def test_every_source_is_found_as_it_is_and_mirrored(sources, tmp_path, monkeypatch):
    index = CoarseIndex.brought_up_to_date(index_of(tmp_path, **sources))
    for block in (motion_search.BLOCK, 150):
        monkeypatch.setattr(motion_search, "BLOCK", block)
        for name, arrays in sources.items():
            assert first(index, arrays) == first(index, arrays, mirrored=True) == name
    fake = fake_of(sources["b"], np.arange(31, 80)).grid
    assert sorted(index.nearest(fake, {"b", "d"})) == ["a", "c", "e"]
    assert index.nearest(fake, LENGTHS) == []
    assert index.knows_more_than(set("abcd")) and not index.knows_more_than(set("abcdef"))


def test_vectors_are_those_of_the_source(sources, tmp_path):
    motion = index_of(tmp_path, **sources)
    index = CoarseIndex.brought_up_to_date(motion)
    for name, arrays in sources.items():
        expected = coarse_source(stored_grid(arrays, 0, len(arrays["flow"])))
        np.testing.assert_allclose(index.vectors(name).astype(float), expected, atol=4e-3)
    index_of(tmp_path, late=sources["b"])  # stored after the index was opened
    assert np.array_equal(index.vectors("late"), index.vectors("b"))


def test_its_state_is_that_of_the_videos(sources, tmp_path):
    motion = index_of(tmp_path, **sources)
    state = CoarseIndex.brought_up_to_date(motion).state
    assert state["sources"] == len(sources)
    index_of(tmp_path, a=sources["a"])  # written again: the same video
    assert CoarseIndex.brought_up_to_date(motion).state == state
    motion.path("a").unlink()
    assert CoarseIndex.brought_up_to_date(motion).state["sha256"] != state["sha256"]


def test_it_follows_the_database(sources, tmp_path):
    some = {name: sources[name] for name in "abcd"}
    motion = index_of(tmp_path, **some)
    CoarseIndex.brought_up_to_date(motion)
    rows = tmp_path / "motion_search/embeddings.f16"
    before = rows.read_bytes()
    index_of(tmp_path, e=sources["e"])
    assert first(CoarseIndex.brought_up_to_date(motion), sources["e"]) == "e"
    assert rows.read_bytes()[:len(before)] == before  # appended
    motion.path("a").unlink()
    assert "a" not in CoarseIndex.brought_up_to_date(motion).nearest(
        fake_of(sources["a"], np.arange(50)).grid)
    index_of(tmp_path, c=stored_motion(99, 90))  # another video of that name
    assert first(CoarseIndex.brought_up_to_date(motion), stored_motion(99, 90)) == "c"


@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "table"])
def test_a_damaged_file_is_made_again(sources, tmp_path, damage):
    motion = index_of(tmp_path, **sources)
    CoarseIndex.brought_up_to_date(motion)
    rows, table = (tmp_path / "motion_search" / f"embeddings.{kind}" for kind in ("f16", "npz"))
    sound = rows.read_bytes()
    if damage == "gone":
        rows.unlink()
    elif damage == "cut":
        rows.write_bytes(sound[:-1000])
    elif damage == "changed":
        rows.write_bytes(bytes(100) + sound[100:])
    else:
        table.write_bytes(table.read_bytes()[:-50])
    CoarseIndex.brought_up_to_date(motion)
    assert rows.read_bytes() == sound


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A database of 40 sources that counts as large, and their motion by name."""
    monkeypatch.setattr(motion_search, "LARGE", 100)
    monkeypatch.setattr(motion_search, "SHORTLIST", 3)
    sources = {f"s{seed:02}": stored_motion(seed, 300) for seed in range(40)}
    return index_of(tmp_path, **sources), sources


def test_a_large_database_is_searched_by_windows(large, tmp_path):
    motion, sources = large
    index = CoarseIndex.brought_up_to_date(motion)
    for name in list(sources)[::7]:
        for turned in ({}, {"mirrored": True}):
            fake = fake_of(sources[name], np.arange(101, 150), **turned).grid
            found = index.nearest(fake)
            assert found[0] == name and len(found) <= 3
    stored = tmp_path / "motion_search/windows.faiss"
    sound, made = stored.read_bytes(), stored.stat().st_mtime_ns
    CoarseIndex.brought_up_to_date(motion)
    assert stored.stat().st_mtime_ns == made
    stored.write_bytes(sound[:len(sound) // 2] + b"x" + sound[len(sound) // 2 + 1:])
    CoarseIndex.brought_up_to_date(motion)
    assert stored.read_bytes() == sound


def test_what_came_after_the_index_of_windows_is_searched_too(large, tmp_path):
    motion, sources = large
    CoarseIndex.brought_up_to_date(motion)
    stored = tmp_path / "motion_search/windows.faiss"
    made = stored.stat().st_mtime_ns
    late = stored_motion(77, 300)
    index_of(tmp_path, late=late)
    motion.path("s03").unlink()
    index = CoarseIndex.brought_up_to_date(motion)
    assert stored.stat().st_mtime_ns == made and index.windows.covered < index.table.rows
    assert index.nearest(fake_of(late, np.arange(9, 60)).grid)[0] == "late"
    assert "s03" not in index.nearest(fake_of(sources["s03"], np.arange(9, 60)).grid)
    index_of(tmp_path, **{f"more{seed}": stored_motion(100 + seed, 300) for seed in range(15)})
    assert CoarseIndex.brought_up_to_date(motion).windows.covered == 56 * 99
    assert stored.stat().st_mtime_ns > made


def test_a_fake_too_short_for_windows_is_compared_with_all(large):
    motion, sources = large
    fake = fake_of(sources["s20"], np.arange(60, 71)).grid
    assert CoarseIndex.brought_up_to_date(motion).nearest(fake, keep=40)[0] == "s20"


def test_a_source_whose_file_is_damaged_is_left_out(sources, tmp_path):
    motion = index_of(tmp_path, **sources)
    motion.path("b").write_bytes(motion.path("b").read_bytes()[:-30])
    del sources["d"]["flow"]
    index_of(tmp_path, d=sources["d"])
    index = CoarseIndex.brought_up_to_date(motion)
    assert sorted(index.nearest(fake_of(sources["a"], np.arange(40)).grid)) == ["a", "c", "e"]


def test_without_any_motion(tmp_path):
    nobody = {name: part[:1 if name == "pose" else 0] if name in ("flow", "weight", "pose")
              else part for name, part in stored_motion(0, 8).items()}
    for motion in (index_of(tmp_path), index_of(tmp_path, nobody=nobody)):
        index = CoarseIndex.brought_up_to_date(motion)
        assert index.nearest(fake_of(stored_motion(1, 90), np.arange(40)).grid) == []
        assert motion.read("nobody") is None and not index.vectors("nobody").any()
        assert not index.knows_more_than(set())
    rows = tmp_path / "motion_search/embeddings.f16"
    made = rows.stat().st_mtime_ns
    CoarseIndex.brought_up_to_date(motion)
    assert rows.stat().st_mtime_ns == made


def test_other_files_beside_it_are_left_alone(sources, tmp_path):
    motion = index_of(tmp_path, a=sources["a"])
    CoarseIndex.brought_up_to_date(motion)
    motion.drop_all_but([])
    assert not motion.ids()
    assert sorted(os.listdir(tmp_path / "motion_search")) == ["embeddings.f16", "embeddings.npz"]
    assert CoarseIndex.brought_up_to_date(motion).table is None
