"""Steps killed at random moments and run again: nothing lost, nothing made twice, nothing left."""

import random
import shutil
from pathlib import Path

import pytest

from small_batch import (OUTPUTS, Running, finished, make_batch, run, seconds_of, start_server,
                         tree, wipe)

SLOW_KILLS = 6  # per step and number of workers: 60 in all


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[int, float]]:
    """A folder after all five steps, and how long each took."""
    start_server()
    root = make_batch(tmp_path_factory.mktemp("undisturbed"))
    return root, {number: seconds_of(number, root, workers=1) for number in OUTPUTS}


def kill_and_compare(undisturbed, folder: Path, number: int, workers: int, kills: int) -> None:
    """Kill a step `kills` times, going on after each; compare each result that comes through."""
    (wanted, seconds), rng = undisturbed, random.Random(100 * number + workers)
    shutil.copytree(wanted, folder)
    for later in range(number, 6):
        wipe(folder, later)
    while kills:
        before = finished(folder, number)
        killed = Running(number, folder, workers).kill_after(rng.uniform(0, seconds[number]))
        after = finished(folder, number)
        assert {path: after.get(path) for path in before} == before  # not lost and not made again
        kills -= killed
        if not killed:
            assert tree(folder, number) == tree(wanted, number)
            wipe(folder, number)
    before = finished(folder, number)
    run(number, folder, workers)
    after = finished(folder, number)
    assert {path: after[path] for path in before} == before
    assert tree(folder, number) == tree(wanted, number)  # no temporary file either


@pytest.mark.parametrize("number", [3, 4, 5])
def test_one_kill(undisturbed, tmp_path, number):
    kill_and_compare(undisturbed, tmp_path / "project", number, workers=2, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", OUTPUTS)
def test_many_kills(undisturbed, tmp_path, number, workers):
    kill_and_compare(undisturbed, tmp_path / "project", number, workers, SLOW_KILLS)


def test_workers_do_not_change_a_byte(undisturbed, tmp_path):
    wanted, _ = undisturbed
    for name in ("source_data", "fake_data"):
        shutil.copytree(wanted / name, tmp_path / name)
    for number in OUTPUTS:
        run(number, tmp_path, workers=2)
        assert tree(tmp_path, number) == tree(wanted, number)


def test_two_processes_share_the_work(undisturbed, tmp_path):
    wanted, _ = undisturbed
    for name in ("source_data", "fake_data"):
        shutil.copytree(wanted / name, tmp_path / name)
    for number in OUTPUTS:
        both = [Running(number, tmp_path, workers=1) for _ in range(2)]
        done = [process.done() for process in both]
        assert len(done[0]) + len(done[1]) == len(set(done[0] + done[1])) == 3
        assert tree(tmp_path, number) == tree(wanted, number)
