"""Which of very many sources might hold a stretch of motion? Nearest windows, by FAISS.

A window is WINDOW successive coarse vectors of one source, joined and scaled to length 1; every
HOP-th is indexed: an inverted file whose entries are product-quantised (Jegou, Douze and Schmid,
2011; the library: Douze et al., 2024). A fake's windows are searched in all its samplings. Hits of
one sampling that lie in a source as they do in the fake add up (the temporal vote of Douze, Jegou
and Schmid, 2010), and the sources with most are a short list, to be compared exactly.

The index is a copy of rows that utils/embedding_rows.py keeps, and as such never trusted: its
SHA-256 stands in their table, and one that is missing, damaged or of other rows is made again.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.coarse_motion import DIMENSIONS, IDENTITY, STRIDE, Way, coarse_fake
from utils.embedding_rows import RowTable
from utils.locks import temporary_beside

if TYPE_CHECKING:  # small databases do without
    import faiss

WINDOW, HOP = 6, 2  # vectors: 18 source frames, every 6 source frames
HITS, PROBED = 64, 24  # nearest windows per window of a fake, and lists that are looked into
TRAINED_ON = 40  # windows per list
BATCH = 1 << 15  # windows at a time
ROUNDS = 10  # of k-means, which finds the lists' centres
IMPLEMENTATION = f"{IDENTITY}, {WINDOW}, {HOP}"


@dataclass(frozen=True)
class WindowIndex:
    """An index over the windows of the first `covered` rows."""

    index: "faiss.Index"
    covered: int

    @classmethod
    def opened(cls, root: Path, table: RowTable) -> "WindowIndex | None":
        """The stored index, if the table vouches for it."""
        said, path = table.approximate or {}, windows_path(root)
        if said.get("identity") != IMPLEMENTATION or not path.is_file() \
                or said.get("sha256") != _sha256(path):
            return None
        import faiss

        return cls(faiss.read_index(str(path)), int(said["rows"]))

    @classmethod
    def made(cls, root: Path, table: RowTable, rows: np.ndarray) -> "tuple[WindowIndex, RowTable]":
        """Index all rows of a table and store it; the table then vouches for the index."""
        import faiss

        places = _window_rows(table)
        lists = max(1, int(np.sqrt(len(places))))
        quantiser = faiss.IndexFlatIP(WINDOW * DIMENSIONS)
        index = faiss.IndexIVFPQ(quantiser, WINDOW * DIMENSIONS, lists, WINDOW * 8, 8,
                                 faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.niter = 0, ROUNDS
        sample = np.random.default_rng(0).permutation(places)[:max(TRAINED_ON * lists, 10000)]
        index.train(windows_at(rows, np.sort(sample)))
        for start in range(0, len(places), BATCH):
            batch = places[start:start + BATCH]
            index.add_with_ids(windows_at(rows, batch), batch)
        with temporary_beside(windows_path(root)) as temporary:
            faiss.write_index(index, str(temporary))
            os.replace(temporary, windows_path(root))
        table = replace(table, approximate={"identity": IMPLEMENTATION, "rows": table.rows,
                                            "sha256": _sha256(windows_path(root))})
        table.write(root)
        return cls(index, table.rows), table

    def shortlist(self, ways: Sequence[Way], table: RowTable, keep: int) -> list[int] | None:
        """Positions in the table of the sources with most votes; None for too short a fake."""
        queries, samplings, offsets = fake_windows(ways)
        if not len(queries):
            return None
        self.index.nprobe = PROBED
        scores, rows = self.index.search(queries, HITS)
        hit = rows >= 0
        starts = (rows - offsets[:, None])[hit] // HOP  # where the fake would begin
        owners = owners_of(table, rows[hit])
        keys = np.stack([np.broadcast_to(samplings[:, None], rows.shape)[hit], starts, owners])
        places, inverse = np.unique(keys, axis=1, return_inverse=True)
        votes = np.bincount(inverse.ravel(), np.maximum(scores[hit], 0))
        best = np.zeros(len(table.ids))
        alive = places[2] >= 0
        np.maximum.at(best, places[2][alive], votes[alive])
        order = np.argsort(-best, kind="stable")[:keep]
        return order[best[order] > 0].tolist()


def windows_path(root: Path) -> Path:
    return Path(root) / "windows.faiss"


def windows_at(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Windows that begin at some rows, [n, WINDOW * DIMENSIONS] float32, unit length."""
    joined = rows[places[:, None] + np.arange(WINDOW)].astype(np.float32).reshape(len(places), -1)
    return joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-6)


def fake_windows(ways: Sequence[Way]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows of a fake in all samplings [n, ...], the sampling of each and its offset, vectors."""
    found, samplings, offsets, sampling = [], [], [], 0
    for way in ways:
        for rate in way.rates:
            for phase in range(STRIDE * HOP):  # windows of sources begin every HOP vectors
                vectors = coarse_fake(way.grid, rate, phase)
                last, sampling = len(vectors) - WINDOW, sampling + 1
                places = np.unique([*range(0, last + 1, WINDOW), *([last] if last >= 0 else [])])
                if len(places):
                    found.append(windows_at(vectors, places.astype(int)))
                    samplings += [sampling] * len(places)
                    offsets += places.tolist()
    empty = np.empty((0, WINDOW * DIMENSIONS), np.float32)
    return np.concatenate([empty, *found]), np.array(samplings), np.array(offsets)


def owners_of(table: RowTable, rows: np.ndarray) -> np.ndarray:
    """Position of the source that owns each row, -1 for none."""
    position = np.searchsorted(table.starts, rows, "right") - 1
    inside = (position >= 0) & (rows < (table.starts + table.counts)[position])
    return np.where(inside, position, -1)


def _window_rows(table: RowTable) -> np.ndarray:
    """First rows of all windows that lie in one source, [n] int64."""
    parts = [np.arange(start, start + count - WINDOW + 1, HOP)
             for start, count in zip(table.starts, table.counts, strict=True)]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
