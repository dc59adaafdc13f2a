"""Search among the scene embeddings of all sources, exact or, in a large database, approximate.

A source's score is the mean over a fake's frames of the cosine with the nearest frame of the
source. How the best are found depends on the size of the database (Limits):

- Small: no file is kept; every run reads the sources' entries, and every source is scored.
- Medium: the embeddings come out of one file (utils/embedding_rows.py); every source is scored.
- Large: an index (utils/embedding_shortlist.py) proposes sources, whose scores are then computed
  from the same embeddings, mapped into memory, by the same function. So a score does not depend
  on the kind of search but for the rounding of float32; only a source that was not proposed can
  be missed.

An exact search gives the same bytes whether a database has grown or was built at once. Where the
search is approximate the quantiser may have seen other vectors then, and sources with low scores
may be missed in one and not in the other. Neither depends on the number of workers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.embedding_rows import (Load, RowTable, open_rows, rows_path, shortlist_path, table_path,
                                  update_rows)
from utils.files import InputError
from utils.locks import in_hand

if TYPE_CHECKING:
    import faiss

SHORTLIST = 200  # sources that are scored for each scene of a fake, at least; or
PER_CANDIDATE = 4  # that many times the number of sources asked for
ONE_THREAD = 2**18  # multiplications of a matrix product up to which BLAS starts no threads
TILE = 16  # rows that BLAS works on together
EXACT = "exact"


@dataclass(frozen=True)
class Limits:
    """Sizes from which on a database is kept and searched in another way."""

    kept: int = 1000  # sources: fewer are read from their entries by each run
    exact: int = 50_000_000  # numbers in all embeddings: more are not scored one by one (200 MB)


@dataclass(frozen=True)
class EmbeddingIndex:
    """The embeddings of all sources, ready for search; sources in the order of their ids."""

    ids: list[str]
    starts: np.ndarray  # [S] int64, first row of each source
    counts: np.ndarray  # [S] int64, its number of rows
    rows: np.ndarray  # [N, D] float16, all that is stored
    every: np.ndarray | None = None  # [n, D] float32, what the sources own, for exact search
    shortlist: "faiss.Index | None" = None  # for approximate search
    in_file: np.ndarray | None = None  # [S] positions of the sources in the order of their rows
    kind: str = EXACT  # of search

    def search(self, fake: np.ndarray, count: int) -> list[tuple[str, float]]:
        """Id and score of the best `count` sources, best first, the smaller id where they tie.

        fake: [F, D] float32 unit vectors of its frames.
        """
        if self.every is not None:
            chosen, rows = np.arange(len(self.ids)), self.every
        else:
            chosen = self.proposed(fake, count)
            rows = self.rows_of(chosen)
        scores = scene_scores(fake, rows, self.counts[chosen])
        return [(self.ids[chosen[i]], float(scores[i]))
                for i in np.argsort(-scores, kind="stable")[:count]]

    def rows_of(self, chosen: np.ndarray) -> np.ndarray:
        """[n, D] float32: the rows of some sources, one after the other."""
        ends = (self.starts + self.counts)[chosen].tolist()
        parts = [self.rows[a:b] for a, b in zip(self.starts[chosen].tolist(), ends, strict=True)]
        return np.concatenate(parts).astype(np.float32)

    def proposed(self, fake: np.ndarray, count: int) -> np.ndarray:
        """Ascending positions of the sources to score when the best `count` are wanted."""
        from utils.embedding_shortlist import nearest_rows  # late: FAISS takes time to load

        found = nearest_rows(self.shortlist, fake, max(SHORTLIST, PER_CANDIDATE * count))
        before = np.searchsorted(self.starts, found, side="right", sorter=self.in_file) - 1
        owner = self.in_file[np.maximum(before, 0)]
        # -1 (fewer than asked for) and vectors of sources that are gone belong to nobody
        owned = (found >= self.starts[owner]) & (found < self.starts[owner] + self.counts[owner])
        return np.unique(owner[owned])


def scene_scores(fake: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Score [S] float32 of sources that own `counts` [S] of the rows, one after the other.

    fake: [F, D] unit vectors; rows: [n, D] float32.
    """
    starts = np.cumsum(counts) - counts
    return np.maximum.reduceat(cosines(fake, rows), starts, axis=1).mean(0)


def cosines(fake: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[F, n] inner products of [F, D] and [n, D], the same ones with any number of threads.

    How BLAS rounds depends on the shape of a product and on its threads: so it is given blocks
    of one size, too small for it to start any.
    """
    count, size = fake.shape
    height = max(TILE, ONE_THREAD // (count * size) // TILE * TILE)
    whole = len(rows) // height * height
    blocks = rows[:whole].reshape(-1, height, size).transpose(0, 2, 1)
    found = np.matmul(fake[None], blocks).transpose(1, 0, 2).reshape(count, whole)
    return np.concatenate([found, fake @ rows[whole:].T], axis=1)


def open_index(root: Path, wanted: Mapping[str, tuple[bytes, str]], load: Load,
               limits: Limits | None = None) -> EmbeddingIndex:
    """Bring what is kept of a database's embeddings up to date, and open it.

    wanted: state (utils.embedding_rows.source_states) and SHA-256 of the video per source; load:
    gives the embeddings of a source. Raises InputError when no source can be used.
    """
    limits, shortlist = limits or Limits(), None
    with in_hand(Path(root), "embeddings"):
        if len(wanted) < limits.kept:
            for path in (shortlist_path(root), table_path(root), rows_path(root)):
                path.unlink(missing_ok=True)  # of a database that was larger
            return _read_entries(root, sorted(wanted), load)
        table = update_rows(root, wanted, load)
        if table.live * table.dimensions > limits.exact:
            from utils.embedding_shortlist import update_shortlist

            table, shortlist = update_shortlist(root, table)
        else:
            shortlist_path(root).unlink(missing_ok=True)
        return _opened(root, table, shortlist)


def _read_entries(root: Path, ids: list[str], load: Load) -> EmbeddingIndex:
    """An exact index out of the entries alone."""
    found = [(video_id, rows) for video_id in ids if (rows := load(video_id)) is not None]
    if not found:
        raise InputError(f"{root}: no source could be indexed; run steps 1 and 2 "
                         "again, which name what is wrong")
    rows = np.concatenate([rows for _, rows in found])
    counts = np.array([len(rows) for _, rows in found], np.int64)
    return EmbeddingIndex([video_id for video_id, _ in found], np.cumsum(counts) - counts, counts,
                          rows, rows.astype(np.float32))


def _opened(root: Path, table: RowTable, shortlist: "faiss.Index | None") -> EmbeddingIndex:
    """A kept index; exact when there is nothing that proposes sources."""
    order = sorted(range(len(table.ids)), key=table.ids.__getitem__)
    index = EmbeddingIndex([table.ids[i] for i in order], table.starts[order], table.counts[order],
                           np.asarray(open_rows(root, table)))
    if shortlist is None:
        return replace(index, every=index.rows_of(np.arange(len(order))))
    return replace(index, shortlist=shortlist, in_file=np.argsort(index.starts),
                   kind=table.approximate["kind"])
