"""The FAISS index that proposes which sources of a large database are worth scoring.

`<scene root>/embeddings.faiss` (Douze et al. 2024): an inverted file (Jegou et al. 2011) of
product-quantised vectors, four bits per two dimensions, searched by table look-ups in registers
(Andre et al. 2015). Near-duplicate backgrounds of one source share one vector, their mean, whose
id is the row of the first of them: about 75 bytes per source, so the file is read into memory, and
its SHA-256 compared with the one in the row table each time. A file that is damaged, missing or
foreign, or was there when a step was killed between writing it and the table, is made again.

New sources are added without training. All is trained and made anew when the number of sources
has doubled since, or when the rows are written anew. Seeds and training vectors are fixed: the
same rows and the same order of arrival give the same file, whatever the number of workers.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np

from utils.embedding_rows import RowTable, open_rows, shortlist_path
from utils.files import write_bytes

SAME_SCENE = 0.8  # cosine from which on two backgrounds of a video share a vector
TRAINING = 64  # sources per list that the quantiser is trained with
LEAST_TRAINING = 10_000  # sources, where there are so many
FEW = 256  # sources; fewer do not train a product quantiser
PROBED, LEAST_PROBED = 0.25, 256  # lists that are searched: this share, or so many
STEP = 10_000  # sources added at a time


def update_shortlist(root: Path, table: RowTable) -> tuple[RowTable, faiss.Index]:
    """The FAISS index of all sources of a table, and the table that tells of it.

    One process at a time.
    """
    index, about = _read(root, table.approximate), table.approximate
    if index is None or len(table.ids) > 2 * about["trained"]:
        index, kind = _trained(open_rows(root, table), table)
        about = {"kind": kind, "trained": len(table.ids), "rows": 0}
    new = table.only(np.flatnonzero(table.starts >= about["rows"]))
    if new.ids:
        _add(index, open_rows(root, table), new)
        table = _write(root, replace(table, approximate=about), index)
    lists = faiss.extract_index_ivf(index)
    lists.nprobe = max(LEAST_PROBED, round(PROBED * lists.nlist))
    return table, index


def nearest_rows(index: faiss.Index, fake: np.ndarray, count: int) -> np.ndarray:
    """Ids, rows of the table's file, of the vectors nearest to a fake's scenes, ascending.

    fake: [F, D] unit vectors; count: wanted per scene. May hold -1 and rows that nobody owns.
    """
    return np.unique(index.search(scene_means(fake)[0], count)[1])


def scene_means(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [G, D] float32 of the scenes of one video, and the first frame [G] of each.

    frames: [F, D] unit vectors. A frame belongs to the first one that it resembles.
    """
    frames = frames.astype(np.float32)
    left, means, firsts = np.ones(len(frames), bool), [], []
    while left.any():
        first = int(left.argmax())
        same = left & (frames @ frames[first] >= SAME_SCENE)
        same[first] = True  # also a vector of zeros
        means.append(frames[same].mean(0))
        firsts.append(first)
        left &= ~same
    return np.stack(means), np.array(firsts)


def _read(root: Path, about: dict | None) -> faiss.Index | None:
    """The stored index; None when it is not the one that the table tells of."""
    kinds = {"kind": str, "trained": int, "rows": int, "sha256": str}
    if not about or not all(isinstance(about.get(key), kinds[key]) for key in kinds):
        return None
    try:
        data = shortlist_path(root).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        return None
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def _write(root: Path, table: RowTable, index: faiss.Index) -> RowTable:
    """Store an index of all rows, then the table that tells of it; that table."""
    data = faiss.serialize_index(index).tobytes()
    write_bytes(shortlist_path(root), data)
    table = replace(table, approximate={**table.approximate, "rows": table.rows,
                                        "sha256": hashlib.sha256(data).hexdigest()})
    table.write(root)
    return table


def _trained(rows: np.ndarray, table: RowTable) -> tuple[faiss.Index, str]:
    """An empty index trained with sources of a table, evenly spaced, and its kind as FAISS calls
    it."""
    count, size = len(table.ids), table.dimensions
    lists = min(count, 2 ** round(np.log2(2 * count ** 0.5)))
    code = "Flat" if count < FEW else f"PQ{size // 2}x4fs" if size % 2 == 0 else "SQ8"
    kind = f"IVF{lists},{code}"
    index = faiss.index_factory(size, kind, faiss.METRIC_INNER_PRODUCT)
    chosen = np.linspace(0, count - 1, min(count, max(TRAINING * lists, LEAST_TRAINING)))
    index.train(_vectors(rows, table.only(chosen.astype(int)))[0])
    return index, kind


def _add(index: faiss.Index, rows: np.ndarray, table: RowTable) -> None:
    """Add the sources of a table, a part at a time: memory does not grow with their number."""
    for first in range(0, len(table.ids), STEP):
        part = table.only(range(first, min(first + STEP, len(table.ids))))
        index.add_with_ids(*_vectors(rows, part))


def _vectors(rows: np.ndarray, table: RowTable) -> tuple[np.ndarray, np.ndarray]:
    """Means [V, D] float32 of the scenes of a table's sources, and the first row [V] of each."""
    means, firsts = [], []
    for start, count in zip(table.starts.tolist(), table.counts.tolist(), strict=True):
        found, first = scene_means(rows[start:start + count])
        means.append(found)
        firsts.append(start + first)
    return np.concatenate(means), np.concatenate(firsts)
