"""Motion alone searches the database: for fakes whose scene leads nowhere.

Coarse motion of all sources lies in one file, `<trace root>/motion_search/` (form and upkeep:
utils/embedding_rows.py): a source's vectors follow each other, 43 bytes per frame. It is a copy of
what the sources' own files hold; what is stale or damaged is made again from them. Up to LARGE
vectors a search compares all of them; beyond, an index of windows (utils/window_index.py) gives a
short list, which is compared beside what came after the index was made.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from models.motion import MotionGrid
from utils.coarse_motion import DIMENSIONS, IDENTITY, Way, coarse_source, scan
from utils.embedding_rows import FileState, RowTable, open_rows, update_rows
from utils.files import InputError
from utils.locks import in_hand
from utils.source_motion import IndexedSource, MotionIndex
from utils.window_index import WindowIndex

FOUND = 10  # sources that motion may add to the candidates
RATES = (1.0, 1.2, 5 / 6, 2.0, 0.5)  # source frames per fake frame: videos have 24 to 30 or twice
# as many a second
LARGE = 1 << 18  # vectors, some 9 hours of video, from which on windows are indexed
SHORTLIST = 100  # sources that the index of windows proposes
GROWN = 0.25  # share of the rows that may come after the index before it is made again
NOTHING = np.zeros((1, DIMENSIONS), np.float16)  # where nobody moves: a row, to be known by
BLOCK = 1 << 17  # vectors compared at a time


@dataclass(frozen=True)
class CoarseIndex:
    """Coarse motion of all sources that step 5 knows."""

    motion: MotionIndex
    table: RowTable | None  # None while there is no source
    rows: np.ndarray  # [N, DIMENSIONS] float16, mapped into memory
    windows: WindowIndex | None = None  # of a large database

    @classmethod
    def brought_up_to_date(cls, motion: MotionIndex) -> "CoarseIndex":
        """The index with all sources of today; a file that is damaged is made again."""
        root = Path(motion.root).parent / "motion_search"
        try:
            with in_hand(root, "coarse motion"):
                table = update_rows(root, _wanted(root, motion), partial(measured, motion))
                rows = open_rows(root, table)
                return cls(motion, *_with_windows(root, table, rows))
        except InputError:  # there are none
            return cls(motion, None, np.empty((0, 0), np.float16))

    def vectors(self, source_id: str) -> np.ndarray:
        """Coarse motion of a source, [M, DIMENSIONS] float16."""
        position = self._positions.get(source_id)
        if position is not None:
            return self._part(position)
        found = measured(self.motion, source_id)
        return NOTHING if found is None else found

    def knows_more_than(self, ids: set[str]) -> bool:
        """Whether there are other sources than these."""
        return len(self._positions) > len(ids) or not ids.issuperset(self._positions)

    @cached_property
    def state(self) -> dict:
        """What a search depends on: the number of sources, and one SHA-256 of their ids and of the
        SHA-256 of their videos."""
        videos = dict(zip(self.table.ids, self.table.videos, strict=True)) if self.table else {}
        joined = b"".join(os.fsencode(name) + b"\0" + videos[name].tobytes()
                          for name in sorted(videos))
        return {"sources": len(videos), "sha256": hashlib.sha256(joined).hexdigest()}

    def nearest(self, fake: MotionGrid, but: Collection[str] = (), keep: int = FOUND) -> list[str]:
        """The sources, `but` for some, in which a fake's motion fits best anywhere, best first.

        Person square onto person square, as it is and mirrored, at usual frame rates; utils.views
        looks closer at what is found.
        """
        ways = [Way(grid.pooled(), RATES) for grid in (fake, fake.mirrored())]
        best: dict[str, float] = {}
        for names, starts, vectors in self._blocks(but, ways):
            scores = np.maximum.reduceat(scan(ways, vectors).whole, starts)
            best |= dict(zip(names, scores.tolist(), strict=True))
        return sorted(best, key=lambda source_id: -best[source_id])[:keep]

    def _blocks(self, but: Collection[str], ways: list[Way]
                ) -> Iterator[tuple[list[str], list[int], np.ndarray]]:
        """Ids of the sources to compare, their first vectors, and the vectors, about BLOCK at a
        time; but for sources where nobody moves."""
        names, starts, parts, count = [], [], [], 0
        for position in self._proposed(ways):
            name = self.table.ids[position]
            if name in but or name not in self._positions:
                continue
            names.append(name)
            starts.append(count)
            parts.append(self._part(position))
            count += len(parts[-1])
            if count >= BLOCK:
                yield names, starts, np.concatenate(parts)
                names, starts, parts, count = [], [], [], 0
        if names:
            yield names, starts, np.concatenate(parts)

    def _proposed(self, ways: list[Way]) -> Iterable[int]:
        """Positions of the sources that a search compares."""
        everything = range(len(self.table.ids) if self.table else 0)
        shortlist = self.windows and self.windows.shortlist(ways, self.table, SHORTLIST)
        if shortlist is None:
            return everything
        return shortlist + list(everything[np.searchsorted(self.table.starts,
                                                           self.windows.covered):])

    def _part(self, position: int) -> np.ndarray:
        start = int(self.table.starts[position])
        return self.rows[start:start + int(self.table.counts[position])]

    @cached_property
    def _positions(self) -> dict[str, int]:
        ids = self.table.ids if self.table else []
        return {name: position for position, name in enumerate(ids)
                if self.table.counts[position] > len(NOTHING)}


def _with_windows(root: Path, table: RowTable, rows: np.ndarray
                  ) -> tuple[RowTable, np.ndarray, WindowIndex | None]:
    """The index of windows beside the rows of a large database, made where it is due."""
    if table.rows < LARGE:
        return table, rows, None
    windows = WindowIndex.opened(root, table)
    if windows is None or windows.covered < (1 - GROWN) * table.rows:
        windows, table = WindowIndex.made(root, table, rows)
    return table, rows, windows


def measured(motion: MotionIndex, source_id: str) -> np.ndarray | None:
    """Coarse motion out of a source's own file; None when it cannot be read."""
    found = motion.stored(source_id)
    if found is None:
        return None
    vectors = coarse_source(MotionGrid(found[1]["flow"], found[1]["weight"]))
    return vectors if len(vectors) else NOTHING


def _wanted(root: Path, motion: MotionIndex) -> dict[str, tuple[bytes, str]]:
    """State and SHA-256 of the video of every source; the latter is read where it may be new."""
    table = RowTable.read(root)
    known = {name: (state.tobytes(), video.tobytes().hex()) for name, state, video in zip(
        table.ids, table.states, table.videos, strict=True)} if table else {}
    wanted = {}
    for source_id in motion.ids():
        state = _state(motion.path(source_id))
        same = known.get(source_id, (b"",))[0] == state
        wanted[source_id] = known[source_id] if same else (state, motion.sha256(source_id))
    return wanted


def _state(path: Path) -> bytes:
    """SHA-256 of what a source's vectors are made from: its file, by size and time, and how."""
    file = FileState.of(path)
    return hashlib.sha256(json.dumps([IDENTITY, file and vars(file)]).encode()).digest()


def by_motion_alone(source_id: str, candidates: list[dict], source: IndexedSource) -> dict:
    """A candidate that step 4 did not rank: its scene is no nearer than that of the last one."""
    scene_score = min((c["scene_score"] for c in candidates), default=0.0)
    return {"source": source.file, "source_id": source_id,
            "source_sha256": source.record.sha256, "scene_score": scene_score,
            "inliers": 0, "background_inliers": 0, "verified": False, "flip": 0, "mapping": None}
