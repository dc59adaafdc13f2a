"""Work on more than one thread within one video, which is what a single one waits for; in batches,
the workers fill the cores already."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, wraps
from threading import Lock
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

THREADS = 2

Found = TypeVar("Found")


def on_threads(work: Callable[..., Found], *arguments: Iterable) -> list[Found]:
    """What map() gives, made on THREADS threads; for work in NumPy, OpenCV or files, which lets go
    of the interpreter's lock."""
    items = list(zip(*arguments))
    if len(items) < 2:  # no other thread is needed
        return [work(*item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda item: work(*item), items))


def together(*works: Callable[[], Found]) -> list[Found]:
    """What each of some pieces of work gives, done on THREADS threads."""
    return on_threads(lambda work: work(), works)


def helpers(count: int) -> ThreadPoolExecutor:
    """Threads that work beside those that ask them to; libraries start none of their own."""
    return ThreadPoolExecutor(count, initializer=one_thread)


def one_thread() -> None:
    """In a thread: OpenMP, which PyTorch and FAISS share, counts its threads thread by thread."""
    threadpool_limits(1)


def made_once(make: Callable[..., Found]) -> Callable[..., Found]:
    """`make` with what it gave for the last arguments kept, for all threads: when several ask
    together, one makes it and the others wait. Arguments are given by position."""
    kept, making = lru_cache(4)(make), Lock()

    @wraps(make)
    def get(*arguments) -> Found:
        with making:
            return kept(*arguments)
    return get


@contextmanager
def libraries_on_one_thread() -> Iterator[None]:
    """Within it, numerical libraries and OpenCV start no threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)
