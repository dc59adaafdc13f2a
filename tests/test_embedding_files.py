"""The files of the embedding index after damage, copies and kills: nothing wrong is trusted."""

import multiprocessing
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedding_sources import LARGE, MEDIUM, SMALL, answers, database, opened, same_best
from small_batch import start_server
from utils.embedding_index import open_index
from utils.embedding_rows import RowTable, rows_path, shortlist_path, table_path
from utils.files import InputError, read_arrays, write_arrays


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def bent(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def foreign(path: Path) -> None:
    """A sound file of the same kind that is about something else."""
    opened(path.parent / "other", database(200, seed=7), LARGE)
    shutil.copy(path.parent / "other" / path.name, path)
    shutil.rmtree(path.parent / "other")


@pytest.mark.parametrize("damage", [cut, bent, foreign, os.unlink])
@pytest.mark.parametrize("path", [rows_path, table_path, shortlist_path])
def test_what_is_damaged_or_foreign_is_made_again(tmp_path, path, damage):
    sources = database(200)
    wanted = answers(opened(tmp_path, sources, LARGE), sources)
    before = {p: p(tmp_path).read_bytes() for p in (rows_path, shortlist_path)}
    damage(path(tmp_path))
    assert answers(opened(tmp_path, sources, LARGE), sources) == wanted
    assert {p: p(tmp_path).read_bytes() for p in before} == before


def test_files_that_were_copied_are_taken_after_a_look(tmp_path):
    sources = database(50)
    opened(tmp_path / "one", sources, LARGE)
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)

    def none_is_read(name: str) -> None:
        raise AssertionError(name)
    table = RowTable.read(tmp_path / "one")
    wanted = {name: (state, "") for name, state in table.states_by_id().items()}
    index = open_index(tmp_path / "two", wanted, none_is_read, LARGE)
    assert index.ids == sorted(sources)


def test_no_source_and_unfit_sources(tmp_path):
    for limits in (SMALL, MEDIUM):
        with pytest.raises(InputError, match="no source"):
            open_index(tmp_path, {"a": (b"a" * 32, "")}, lambda name: None, limits)
    mixed = {**database(2), "w": np.ones((1, 8), np.float16)}
    with pytest.raises(InputError, match="--overwrite"):
        opened(tmp_path, mixed, MEDIUM)
    assert not list(tmp_path.glob(".*"))


@settings(max_examples=150, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tables_of_any_content(tmp_path, data):
    path = table_path(tmp_path)
    if not path.is_file():
        opened(tmp_path, database(5), LARGE)
        shutil.copy(path, tmp_path / "sound")
    shutil.copy(tmp_path / "sound", path)
    made_with, arrays = read_arrays(path)
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(arrays)))
        shape = data.draw(st.lists(st.integers(0, 5), max_size=2).map(tuple))
        kind = data.draw(st.sampled_from([np.int64, np.uint8, np.float32, bool, "U2"]))
        arrays[name] = np.ones(shape).astype(kind)
    else:
        name = data.draw(st.sampled_from(sorted(made_with)))
        made_with[name] = data.draw(st.none() | st.integers() | st.text() | st.dictionaries(
            st.sampled_from(["size", "mtime_ns", "rows", "trained", "sha256"]), st.none()
            | st.integers() | st.text(max_size=3)))
    write_arrays(path, made_with, arrays)
    table = RowTable.read(tmp_path)
    assert table is None or len(table.ids) == len(table.starts)
    assert opened(tmp_path, database(5), LARGE).ids == sorted(database(5))


def _grow(root: str) -> None:
    sources = database(400)
    for count in range(40, 401, 40):
        opened(Path(root), dict(list(sources.items())[count // 4:count]), LARGE)


def test_killed_at_any_moment(tmp_path):
    start_server()
    context, rng, kills = multiprocessing.get_context("forkserver"), random.Random(3), 0
    root, last = tmp_path / "killed", dict(list(database(400).items())[100:])
    for _ in range(8):
        process = context.Process(target=_grow, args=(str(root),))
        process.start()
        process.join(rng.uniform(0.02, 1.5))
        kills += process.is_alive()
        process.kill()
        process.join()
        wanted = answers(opened(tmp_path / "never", last, SMALL), last)
        assert same_best(answers(opened(root, last, LARGE), last), wanted)
        assert answers(opened(root, last, MEDIUM), last) == wanted
    assert kills
