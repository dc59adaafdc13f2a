"""Memory that was freed goes back to the system."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Return what the C library keeps of freed memory, which after work with many large arrays is
    more than is in use: malloc_trim(3) of glibc. Elsewhere nothing is done."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
