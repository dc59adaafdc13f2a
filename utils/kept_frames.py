"""Frames of sources that are looked at for one fake, each decoded once.

Its places, and its stretches, lie near each other, and each is looked at several times. Frames are
kept as the decoder gave them, half the size of their pictures; also those that only lie on the way
to others, as long as there is room.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator

from utils.seek import Decoded
from utils.source_motion import IndexedSource
from utils.video import Frame

MOST_BYTES = 96 << 20  # per fake: 150 frames of 854 x 480 pixels, 30 of 1920 x 1080


class KeptFrames:
    """Gives the frames of sources by their numbers; for one thread."""

    def __init__(self, decode: Callable[[IndexedSource, Collection[int]], Iterator[Decoded]],
                 most_bytes: int = MOST_BYTES):
        """decode: as MotionIndex.decode()."""
        self._decode, self._most, self._bytes = decode, most_bytes, 0
        self._kept: OrderedDict[tuple[str, int], Decoded] = OrderedDict()  # the first one goes first

    def __call__(self, source: IndexedSource, wanted: Collection[int]) -> Iterator[Frame]:
        """Frames of a whole source, in order; those that cannot be decoded are left out. Raises
        VideoError when the file cannot be read or is another one."""
        wanted = {index for index in wanted if 0 <= index < len(source.all_times_s)}
        kept = [self._kept[key] for index in sorted(wanted)
                if (key := (source.file, index)) in self._kept]
        for one in kept:
            self._kept.move_to_end((source.file, one.index))
        new = self._new(source, wanted - {one.index for one in kept})
        return (one.frame() for one in heapq.merge(kept, new, key=lambda one: one.index))

    def _new(self, source: IndexedSource, wanted: set[int]) -> Iterator[Decoded]:
        """Frames that are not kept yet."""
        for one in self._decode(source, wanted) if wanted else ():
            self._keep((source.file, one.index), one, one.index in wanted)
            if one.index in wanted:
                yield one

    def _keep(self, key: tuple[str, int], one: Decoded, wanted: bool) -> None:
        """Keep a frame; one that was not asked for only where there is room, and to go first."""
        if key in self._kept or not wanted and self._bytes + one.nbytes > self._most:
            return
        self._kept[key] = one
        self._kept.move_to_end(key, last=wanted)
        self._bytes += one.nbytes
        while self._bytes > self._most:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
