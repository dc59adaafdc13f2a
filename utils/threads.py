"""Work on more than one thread within one video, which is what a single one waits for; in batches,
the workers fill the cores already."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

THREADS = 2

Found = TypeVar("Found")


def on_threads(work: Callable[..., Found], *arguments: Iterable) -> list[Found]:
    """What map() gives, made on THREADS threads; for work in NumPy, OpenCV or files, which lets go
    of the interpreter's lock."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, *arguments))


def helpers(count: int) -> ThreadPoolExecutor:
    """Threads that work beside those that ask them to; libraries start none of their own."""
    return ThreadPoolExecutor(count, initializer=one_thread)


def one_thread() -> None:
    """In a thread: OpenMP, which PyTorch and FAISS share, counts its threads thread by thread."""
    threadpool_limits(1)
