"""Work on two threads within one video, which is what a single one waits for; in batches, the
workers fill the cores already."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 2

Found = TypeVar("Found")


def on_threads(work: Callable[..., Found], *arguments: Iterable) -> list[Found]:
    """What map() gives, made on THREADS threads; for work in NumPy, OpenCV or files, which lets go
    of the interpreter's lock."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, *arguments))
