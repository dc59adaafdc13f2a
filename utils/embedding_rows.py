"""The scene embeddings of a large database in one file, and who owns which of its rows.

`<scene root>/embeddings.f16`: rows of D float16 numbers, little-endian, nothing else in it.
`<scene root>/embeddings.npz`: the table. Per source its id, its first row and their number, the
SHA-256 of the video, of these rows, and of what they were made from (source_states()); in its
settings D, the number of rows, and size and change time of the row file.

Both are copies of what the sources' entries hold (utils/scene_index.py) and never trusted: as long
as the row file has the size and the change time that the table names it is taken as it is, else
every source's rows are hashed; a table or rows that are damaged, missing or foreign are made again
from the entries. Whoever can forge size, time and table together can forge the entries as well.

New rows are appended, and those of sources that are gone or were replaced stay without an owner
until they are DEAD_SHARE of all; then all is written anew. The table is replaced last and at once:
after a kill at any moment the old one still fits, for what lies behind its rows is ignored.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.files import InputError, read_arrays, write_arrays
from utils.layout import VideoRecord
from utils.locks import temporary_beside
from utils.scene_index import entry_path, entry_settings, has_arrays

ROWS_VERSION = 1
DEAD_SHARE = 0.2  # of the rows, from which on the file is written anew
ROW = np.dtype("<f2")
Load = Callable[[str], np.ndarray | None]  # a source's embeddings [F, D] float16, or none


@dataclass(frozen=True)
class FileState:
    """Size in bytes and change time of a file: equal means unchanged."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState | None":
        """State of a file; None when there is none."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class RowTable:
    """Which source owns which rows; sources in the order of their rows."""

    ids: list[str]
    starts: np.ndarray  # [S] int64, first row
    counts: np.ndarray  # [S] int64, rows
    videos: np.ndarray  # [S, 32] uint8, SHA-256 of the source's video
    states: np.ndarray  # [S, 32] uint8, as source_states() gives
    checksums: np.ndarray  # [S, 32] uint8, SHA-256 of the source's rows
    rows: int  # in the file, those without an owner included
    dimensions: int
    file: FileState  # of the row file
    approximate: dict | None = None  # what the index over these rows says of itself

    @property
    def live(self) -> int:
        """Rows that a source owns."""
        return int(self.counts.sum())

    def states_by_id(self) -> dict[str, bytes]:
        return {name: state.tobytes() for name, state in zip(self.ids, self.states, strict=True)}

    def only(self, kept: Iterable[int]) -> "RowTable":
        """The table without the sources that are not among the positions `kept`."""
        kept = np.fromiter(kept, np.int64)
        columns = {name: getattr(self, name)[kept] for name in _COLUMNS}
        return replace(self, ids=[self.ids[i] for i in kept], **columns)

    def write(self, root: Path) -> None:
        """Store the table, atomically."""
        write_arrays(table_path(root), {
            "version": ROWS_VERSION, "rows": self.rows, "dimensions": self.dimensions,
            "file": vars(self.file), "approximate": self.approximate},
            {"ids": _packed(self.ids), **{name: getattr(self, name) for name in _COLUMNS}})

    @classmethod
    def read(cls, root: Path) -> "RowTable | None":
        """The stored table; None when there is none that can be used."""
        found = read_arrays(table_path(root))
        if found is None or found[0].get("version") != ROWS_VERSION:
            return None
        settings, arrays = found
        try:
            table = cls(_unpacked(arrays.pop("ids")), **arrays, rows=settings["rows"],
                        dimensions=settings["dimensions"], file=FileState(**settings["file"]),
                        approximate=settings["approximate"])
        except (KeyError, TypeError, ValueError):
            return None
        return table if table._is_sound(arrays) else None

    def _is_sound(self, arrays: dict[str, np.ndarray]) -> bool:
        numbers = (self.rows, self.dimensions, self.file.size, self.file.mtime_ns)
        return (has_arrays(arrays, _COLUMNS) and all(isinstance(n, int) for n in numbers)
                and self.dimensions > 0 and {len(a) for a in arrays.values()} == {len(self.ids)}
                and len(set(self.ids)) == len(self.ids) > 0
                and (self.starts[1:] >= (self.starts + self.counts)[:-1]).all()
                and (self.counts > 0).all() and self.starts[0] >= 0
                and max(self.counts.max(), self.starts.max()) <= self.rows  # no sum overflows
                and self.starts[-1] + self.counts[-1] <= self.rows
                and isinstance(self.approximate, (dict, type(None))))


_COLUMNS = {"starts": (np.int64, (-1,)), "counts": (np.int64, (-1,)),
            **{name: (np.uint8, (-1, 32)) for name in ("videos", "states", "checksums")}}


def rows_path(root: Path) -> Path:
    return Path(root) / "embeddings.f16"


def table_path(root: Path) -> Path:
    return Path(root) / "embeddings.npz"


def shortlist_path(root: Path) -> Path:
    """The index over the rows (utils/embedding_shortlist.py)."""
    return Path(root) / "embeddings.faiss"


def source_states(root: Path, sources: Mapping[str, VideoRecord],
                  settings: dict) -> dict[str, bytes]:
    """SHA-256, per source with an entry, of what its rows are made from: the record of its
    backgrounds, the settings, and the entry's file by size and change time."""
    states = {}
    for video_id, record in sources.items():
        file = FileState.of(entry_path(root, video_id))
        if file is not None:
            text = json.dumps([entry_settings(record, settings), vars(file)], sort_keys=True)
            states[video_id] = hashlib.sha256(text.encode()).digest()
    return states


def known_states(root: Path) -> dict[str, bytes]:
    """State of every source that the stored table knows; empty where there is none."""
    table = RowTable.read(root)
    return table.states_by_id() if table else {}


def open_rows(root: Path, table: RowTable) -> np.ndarray:
    """The row file [rows, D], mapped into memory."""
    return np.memmap(rows_path(root), ROW, "r", shape=(table.rows, table.dimensions))


def update_rows(root: Path, wanted: Mapping[str, tuple[bytes, str]], load: Load) -> RowTable:
    """Bring rows and table up to date, and return the table.

    wanted: state and SHA-256 of the video per source; load: gives the embeddings of a source, None
    for one that cannot be used. One process at a time. Raises InputError when no source can be.
    """
    table = RowTable.read(root)
    if table is None or not _fits(root, table):
        return _write_anew(root, wanted, load)
    known = [(video_id, wanted.get(video_id, (b"",))[0] == state)
             for video_id, state in table.states_by_id().items()]
    kept = table.only(i for i, (_, same) in enumerate(known) if same)
    missing = sorted(set(wanted) - {video_id for video_id, same in known if same})
    if not kept.ids or kept.live < (1 - DEAD_SHARE) * table.rows:
        return _write_anew(root, wanted, load)
    if missing:
        kept = _append(root, kept, {video_id: wanted[video_id] for video_id in missing}, load)
    kept = replace(kept, file=FileState.of(rows_path(root)))
    if len(kept.ids) != len(table.ids) or kept.rows != table.rows or kept.file != table.file:
        kept.write(root)
    return kept


def _fits(root: Path, table: RowTable) -> bool:
    """Whether the row file is the one that the table is about."""
    file = FileState.of(rows_path(root))
    if file is None or file.size < table.rows * table.dimensions * ROW.itemsize:
        return False
    if file == table.file:
        return True
    rows = open_rows(root, table)
    return all(_sha256(rows[start:start + count]) == checksum.tobytes() for start, count, checksum
               in zip(table.starts, table.counts, table.checksums, strict=True))


def _write_anew(root: Path, wanted: Mapping[str, tuple[bytes, str]], load: Load) -> RowTable:
    """All rows in the order of the sources' ids, into a new file."""
    with temporary_beside(rows_path(root)) as temporary:
        with open(temporary, "wb") as file:
            table = _write_rows(file, dict(sorted(wanted.items())), load, _EMPTY)
        if not table.ids:
            raise InputError(f"{root}: no source could be indexed; run steps 1 and 2 "
                             "again, which name what is wrong")
        os.replace(temporary, rows_path(root))
    table = replace(table, file=FileState.of(rows_path(root)))
    table.write(root)
    return table


def _append(root: Path, table: RowTable, new: Mapping[str, tuple[bytes, str]],
            load: Load) -> RowTable:
    """The table with new sources, whose rows come behind all that it knows."""
    with open(rows_path(root), "r+b") as file:
        file.truncate(table.rows * table.dimensions * ROW.itemsize)
        file.seek(0, os.SEEK_END)
        grown = _write_rows(file, new, load, table)
        file.flush()
        os.fsync(file.fileno())
    return grown


def _write_rows(file, new: Mapping[str, tuple[bytes, str]], load: Load,
                table: RowTable) -> RowTable:
    """Write the rows of sources behind those of a table; the table with these sources."""
    owners, row, dimensions = [], table.rows, table.dimensions
    for video_id, (state, sha256) in new.items():
        embeddings = load(video_id)
        if embeddings is None:
            continue
        dimensions = dimensions or embeddings.shape[1]
        if embeddings.shape[1] != dimensions:
            raise InputError(f"{video_id}: its embeddings have {embeddings.shape[1]} numbers, "
                             f"others {dimensions}; run step 4 with --overwrite")
        embeddings = np.ascontiguousarray(embeddings, ROW)
        file.write(embeddings.data)
        owners.append((video_id, row, len(embeddings), _hex(sha256), state, _sha256(embeddings)))
        row += len(embeddings)
    names, starts, counts, *hashes = zip(*owners, strict=True) if owners else ([],) * 6
    columns = {"starts": np.array(starts, np.int64), "counts": np.array(counts, np.int64),
               **{name: np.frombuffer(b"".join(values), np.uint8).reshape(-1, 32) for name, values
                  in zip(("videos", "states", "checksums"), hashes, strict=True)}}
    return replace(table, ids=table.ids + list(names), rows=row, dimensions=dimensions,
                   **{name: np.concatenate([getattr(table, name), columns[name]])
                      for name in _COLUMNS})


_EMPTY = RowTable([], np.zeros(0, np.int64), np.zeros(0, np.int64),
                  *(np.zeros((0, 32), np.uint8) for _ in range(3)), 0, 0, FileState(0, 0))


def _sha256(rows: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(rows)).digest()


def _hex(sha256: str) -> bytes:
    """The 32 bytes of a checksum; a record may hold any text, which then only says nothing."""
    try:
        return bytes.fromhex(sha256).ljust(32, b"\0")[:32]
    except ValueError:
        return bytes(32)


def _packed(names: list[str]) -> np.ndarray:
    """Names as bytes, for no name has a NUL in it."""
    return np.frombuffer(b"\0".join(map(os.fsencode, names)), np.uint8)


def _unpacked(names: np.ndarray) -> list[str]:
    return [os.fsdecode(name) for name in names.tobytes().split(b"\0")]
