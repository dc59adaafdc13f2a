"""The index of all embeddings: search, growth and removal; exact and approximate."""

import hashlib
import os
import random

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from embedding_sources import (LARGE, MEDIUM, SIZE, SMALL, answers, database, fakes, opened,
                               same_best, unit)
from utils.embedding_index import EXACT, cosines, scene_scores
from utils.embedding_rows import DEAD_SHARE, RowTable, rows_path, shortlist_path
from utils.embedding_shortlist import scene_means

ODD = ["sub/é", "-x", "a b\n'\"", os.fsdecode(b"caf\xe9"), "fakes", "x" * 230, "ünï/\u202e"]


def test_scores_by_hand():
    fake = np.eye(2, dtype=np.float32)
    rows = np.float32([[1, 0], [0.6, 0.8], [0, -1]])
    assert scene_scores(fake, rows, np.array([2, 1])) == pytest.approx([(1 + 0.8) / 2, (0 - 1) / 2])


@pytest.mark.parametrize("count", [1, 15, 200, 3000])
def test_cosines_do_not_depend_on_threads(count):
    rng = np.random.default_rng(0)
    fake, rows = (unit(rng.normal(size=(n, 256))).astype(np.float32) for n in (5, count))
    with threadpool_limits(1):
        one = cosines(fake, rows)
    with threadpool_limits(2):
        assert np.array_equal(cosines(fake, rows), one)
    assert one == pytest.approx(fake @ rows.T, abs=1e-6)


def test_a_small_database_keeps_no_file_and_a_medium_one_gives_the_same(tmp_path):
    sources = database(300)
    small = opened(tmp_path, sources, SMALL)
    assert not list(tmp_path.iterdir()) and small.kind == EXACT
    medium = opened(tmp_path, sources, MEDIUM)
    assert rows_path(tmp_path).stat().st_size == 2 * SIZE * sum(map(len, sources.values()))
    assert answers(medium, sources) == answers(small, sources)
    opened(tmp_path, sources, SMALL)
    assert not list(tmp_path.iterdir())


def test_ties_go_by_id(tmp_path):
    sources = {name: database(1)["v0000"] for name in ("b", "a", "c")}
    for limits in (SMALL, MEDIUM):
        (found,) = (opened(tmp_path, sources, limits).search(fake, 3)
                    for fake in fakes(sources, 1)[:1])
        assert [name for name, _ in found] == ["a", "b", "c"]


def test_the_table_says_who_owns_which_rows(tmp_path):
    sources = {name: rows for name, rows in zip(ODD, database(len(ODD)).values(), strict=True)}
    opened(tmp_path, sources, MEDIUM)
    table = RowTable.read(tmp_path)
    rows = np.fromfile(rows_path(tmp_path), "<f2").reshape(-1, SIZE)
    assert set(table.ids) == set(ODD)
    for name, start, count, video in zip(table.ids, table.starts, table.counts, table.videos,
                                         strict=True):
        assert np.array_equal(rows[start:start + count], sources[name])
        assert video.tobytes() == hashlib.sha256(sources[name].tobytes()).digest()


@pytest.mark.parametrize("limits", [MEDIUM, LARGE], ids=["exact", "approximate"])
def test_a_second_opening_changes_nothing(tmp_path, limits):
    sources = database(200)
    first = answers(opened(tmp_path, sources, limits), sources)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert answers(opened(tmp_path, sources, limits), sources) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_grown_is_as_built_at_once(tmp_path):
    sources = database(240)
    order = random.Random(1).sample(sorted(sources), len(sources))
    for count in (150, 151, 200, 240):
        before = rows_path(tmp_path).read_bytes() if count > 150 else b""
        grown = opened(tmp_path, {name: sources[name] for name in order[:count]}, MEDIUM)
        assert rows_path(tmp_path).read_bytes().startswith(before)
    assert RowTable.read(tmp_path).ids != sorted(sources)  # appended
    once = opened(tmp_path / "once", sources, MEDIUM)
    assert answers(grown, sources, 240) == answers(once, sources, 240)


@pytest.mark.parametrize("limits", [MEDIUM, LARGE], ids=["exact", "approximate"])
def test_sources_that_are_gone_or_replaced(tmp_path, limits):
    sources = database(200)
    opened(tmp_path, sources, limits)
    gone, other = "v0040", "v0041"
    changed = {**sources, other: -sources[other]}
    del changed[gone]
    index = opened(tmp_path, changed, limits)
    assert len(RowTable.read(tmp_path).ids) == 199
    assert gone not in index.ids and len(index.rows) > sum(map(len, changed.values()))
    for name in (gone, other):
        fake = sources[name].astype(np.float32)
        assert name not in dict(index.search(fake, 5))
    assert index.search(-fake, 1)[0][0] == other
    fresh = opened(tmp_path / "fresh", changed, SMALL)
    assert same_best(answers(index, changed), answers(fresh, changed))
    left = dict(list(changed.items())[:int(199 * (1 - DEAD_SHARE)) - 5])
    index = opened(tmp_path, left, limits)
    assert len(index.rows) == sum(map(len, left.values()))  # written anew
    fresh = opened(tmp_path / "left", left, SMALL)
    assert same_best(answers(index, left), answers(fresh, left))


def test_approximate_search_gives_the_same_candidates_and_scores(tmp_path):
    sources = database(1500, takes=10)
    exact, index = opened(tmp_path / "exact", sources, SMALL), opened(tmp_path, sources, LARGE)
    assert index.kind.startswith("IVF") and index.every is None
    found, wanted = answers(index, sources), answers(exact, sources)
    same = [len(dict(a).keys() & dict(b)) for a, b in zip(found, wanted, strict=True)]
    assert np.mean(same) > 9.8 and same_best(found, wanted)
    for some, all_ in zip(found, wanted, strict=True):
        known = dict(all_)
        assert all(score == pytest.approx(known[name], abs=1e-6) for name, score in some
                   if name in known)


def test_scenes_of_one_video():
    one, two = np.eye(2, SIZE)
    frames = np.stack([one, two, unit(one + 0.1 * two), np.zeros(SIZE), two]).astype(np.float16)
    means, firsts = scene_means(frames)
    assert firsts.tolist() == [0, 1, 3]
    assert means[1] == pytest.approx(two) and not means[2].any()
    assert means[0] == pytest.approx(frames[[0, 2]].astype(np.float32).mean(0))


def test_a_shortlist_grows_without_training_until_there_are_twice_as_many(tmp_path):
    sources = database(300)
    names = sorted(sources)
    trained = []
    for count in (100, 101, 200, 201, 300):
        index = opened(tmp_path, {name: sources[name] for name in names[:count]}, LARGE)
        trained.append(RowTable.read(tmp_path).approximate["trained"])
        assert index.shortlist.ntotal == count
    assert trained == [100, 100, 100, 201, 201]
    fresh = opened(tmp_path / "fresh", sources, SMALL)
    assert same_best(answers(index, sources), answers(fresh, sources))


def test_the_same_database_gives_the_same_files(tmp_path):
    sources = database(800)
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        with threadpool_limits(threads):
            opened(tmp_path / str(threads), sources, LARGE)
    for path in (rows_path, shortlist_path):
        assert path(tmp_path / "1").read_bytes() == path(tmp_path / "2").read_bytes()
