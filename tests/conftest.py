"""What all tests need."""

import signal

import pytest


@pytest.fixture(autouse=True)
def keep_the_interrupt_handler():
    """A step that is run as a script in this process takes SIGINT over: give it back."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
