"""What all tests need."""

import shutil
import signal
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch  # before the limits: they hold for libraries that are there
from threadpoolctl import threadpool_limits


def pytest_configure() -> None:
    """Take SIGINT as usual, also where tests run in the background of a shell that ignores it:
    the steps that the tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def keep_the_interrupt_handler():
    """A step that is run as a script in this process takes SIGINT over: give it back."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def one_thread():
    """So small a network trains no faster on two, and much slower beside other programs."""
    with threadpool_limits(1):  # torch.set_num_threads() would set those of later threads, too
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> tuple[Path, dict[int, CompletedProcess]]:
    """A folder after all five steps, and how each of them ended. Tests only read it."""
    from project import STEPS, make_videos, run  # takes time: only where it is used

    root = tmp_path_factory.mktemp("project")
    make_videos(root)
    return root, {number: run(number, root) for number in STEPS}


@pytest.fixture
def own_copy(project, tmp_path, monkeypatch) -> Path:
    """A copy of the project, made the current folder."""
    root = tmp_path / "project"
    shutil.copytree(project[0], root)
    monkeypatch.chdir(root)
    return root
