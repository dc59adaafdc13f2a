"""What all tests need."""

import signal

import pytest
import torch


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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
