"""Files that the steps write and read back: JSON, arrays, pictures.

They appear under their names only when they are whole. What is read back may have been damaged or
tampered with: it is checked before it is used, and nothing is unpickled.
"""

import io
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from utils.locks import temporary_beside
from utils.png import decode_png, encode_png

PIECE = 1 << 20  # bytes of a large file in memory at a time


class InputError(Exception):
    """Input that a person can mend; the text names the file and says what to do."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(path) as temporary:
        temporary.write_bytes(data)
        os.replace(temporary, path)


def write_json(path: Path, data: object) -> None:
    """Write JSON, atomically, one form for one content."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))


def read_json(path: Path) -> dict:
    """Content of a JSON file of ours. Raises InputError when it is missing or damaged."""
    try:
        data = load_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); remove it and run its step "
                         "again") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: not what was expected; remove it and run its step again")
    return data


def load_json(path: Path) -> object:
    """What a JSON file says. Raises ValueError for what write_json() would not have written."""
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} in it")

    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    try:
        data = json.loads(text, parse_constant=refuse)
        json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return data


def write_arrays(path: Path, settings: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write numeric arrays, and what they were made with, as .npz; the same content, same bytes."""
    buffer = io.BytesIO()
    text = json.dumps(settings, sort_keys=True).encode()
    np.savez(buffer, settings=np.frombuffer(text, np.uint8), **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict, dict[str, np.ndarray]] | None:
    """Settings and arrays of an .npz file; None when it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:  # stored as they are: no file unpacks to more
            if sum(info.file_size for info in archive.infolist()) > Path(path).stat().st_size:
                return None
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = json.loads(arrays.pop("settings").tobytes())
    except Exception:  # damage surfaces in zipfile, NumPy and json in many ways
        return None
    return (settings, arrays) if isinstance(settings, dict) else None


def map_arrays(path: Path) -> tuple[dict, dict[str, np.ndarray]] | None:
    """As read_arrays(), with the arrays left in the file: memory-mapped, read-only.

    Every member is read once, a piece at a time, to compare its checksum; what is kept in memory
    does not depend on the length of the arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {info.filename.removesuffix(".npy"): _mapped(Path(path), archive, info)
                      for info in archive.infolist()}
        settings = json.loads(arrays.pop("settings").tobytes())
    except Exception:  # as above
        return None
    return (settings, arrays) if isinstance(settings, dict) else None


def _mapped(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of an .npz file. Raises ValueError, or what zipfile does, for damage."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as member:
        np.lib.format.read_magic(member)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(member)
        header = member.tell()
        while member.read(PIECE):  # zipfile compares the checksum at the end
            pass
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    if fortran or kind.hasobject or header + size != info.file_size:
        raise ValueError(f"{info.filename} is no plain array")
    with open(path, "rb") as file:  # the local header tells where the member begins
        file.seek(info.header_offset + 26)
        start = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + header
    return np.memmap(path, kind, "r", start, shape) if size else np.empty(shape, kind)


class GrowingArrays:
    """Arrays that become an .npz file and are too long to be held: they grow along their first
    axis in nameless files beside it, which go by themselves if the process ends."""

    def __init__(self, folder: Path):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._folder, self._files, self._forms = Path(folder), {}, {}

    def __enter__(self) -> "GrowingArrays":
        return self

    def __exit__(self, *exception) -> None:
        for file in self._files.values():
            file.close()

    def append(self, **pieces: np.ndarray) -> None:
        """Add [n, ...] to every named array; kinds and shapes but for n stay the same."""
        for name, piece in pieces.items():
            if name not in self._files:
                self._files[name] = tempfile.TemporaryFile(dir=self._folder)
                self._forms[name] = piece.dtype, piece.shape[1:]
            if self._forms[name] != (piece.dtype, piece.shape[1:]):
                raise ValueError(f"{name}: {piece.dtype} {piece.shape} after {self._forms[name]}")
            self._files[name].write(np.ascontiguousarray(piece).data)

    def write(self, path: Path, settings: dict) -> None:
        """Write what write_arrays() would, the same bytes, a piece at a time."""
        text = np.frombuffer(json.dumps(settings, sort_keys=True).encode(), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(path) as temporary:
            with zipfile.ZipFile(temporary, "w") as archive:
                with archive.open("settings.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, text, allow_pickle=False)
                for name in self._files:
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        for part in self._content(name):
                            member.write(part)
            os.replace(temporary, path)

    def _content(self, name: str) -> Iterator[bytes]:
        """An array as the bytes of a .npy file."""
        file, (kind, shape) = self._files[name], self._forms[name]
        count = file.tell() // max(1, kind.itemsize * int(np.prod(shape)))
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {
            "descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False,
            "shape": (count, *shape)})
        yield header.getvalue()
        file.seek(0)
        yield from iter(lambda: file.read(PIECE), b"")


def read_settings(path: Path) -> dict | None:
    """Settings alone of an .npz file, quickly; None when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            settings = json.loads(file["settings"].tobytes())
    except Exception:  # as above
        return None
    return settings if isinstance(settings, dict) else None


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a PNG ([H, W], [H, W, 3] BGR or [H, W, 4] BGRA, uint8)."""
    Path(path).write_bytes(encode_png(image))


def read_image(path: Path) -> np.ndarray:
    """Read a PNG as it was written. Raises InputError when it is missing or damaged."""
    try:
        data = Path(path).read_bytes()  # not cv2.imread: it is silent on failure
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the step that wrote it "
                         "again") from error
    image = decode_png(data)
    if image is None and data:  # made by something else
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path}: not a readable picture; remove its folder and run the step "
                         "that wrote it again")
    return image
