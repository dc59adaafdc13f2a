"""A cache of arrays that are costly to make again, bounded by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What says how much memory it takes."""

    @property
    def nbytes(self) -> int: ...


Made = TypeVar("Made", bound=Sized)


class ByteCache(Generic[Made]):
    """Keeps what was used last, as much as fits; for several threads."""

    def __init__(self, most_bytes: int):
        self._most, self._bytes, self._lock = most_bytes, 0, threading.Lock()
        self._kept: OrderedDict[Hashable, Made] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What is kept under a key, or else what `make` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()  # two threads may make the same: no harm but to time
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += made.nbytes
            while self._bytes > self._most:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return made
