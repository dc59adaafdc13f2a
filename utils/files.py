"""Files that the steps write and read back: JSON, arrays, pictures.

They appear under their names only when they are whole. What is read back may have been damaged or
tampered with: it is checked before it is used, and nothing is unpickled.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from utils.locks import temporary_beside

# half the time of the defaults, and no larger; the frames are working files
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)


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
    done, data = cv2.imencode(".png", image, _PNG_OPTIONS)
    if not done:
        raise OSError(f"{path}: the picture cannot be encoded")
    Path(path).write_bytes(data.tobytes())


def read_image(path: Path) -> np.ndarray:
    """Read a PNG as it was written. Raises InputError when it is missing or damaged."""
    try:
        data = np.fromfile(path, np.uint8)  # not cv2.imread: it is silent on failure
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise InputError(f"{path}: not a readable picture; remove its folder and run again")
    return image
