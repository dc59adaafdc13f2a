"""How the steps hand data to each other: folders per video, frame files, video.json.

Every step keeps one folder per video, `<root>/<video id>/`, where the id is the video's path
under its root without extension. `video.json` in it is written last: a folder whose record
matches its input and settings is complete; any other is made again.
"""

import contextlib
import io
import json
import os
import re
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from models.fetch import sha256_of
from utils.video import VIDEO_EXTENSIONS

RECORD_NAME = "video.json"
RECTANGLES_NAME = "rectangles.json"
_FRAME_NAME = re.compile(r"frame_(\d{6,})\.png")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")  # what fresh_folder() writes into
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # fast; the frames are working files


class InputError(Exception):
    """Input that a person can mend; the text names the file and says what to do."""


@dataclass(frozen=True)
class VideoFile:
    """A video found under a root folder."""

    id: str  # POSIX path under the root, no extension
    name: str  # POSIX path under the root, with extension
    path: Path


def find_videos(path: Path) -> list[VideoFile]:
    """All videos under a folder, subfolders included, or the one video `path` names; sorted.

    Raises InputError when nothing is there or when two files would share an id.
    """
    path = Path(path)
    if path.is_file():
        return [_video_file(path, path.parent)]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    videos = sorted((_video_file(file, path) for file in _walk(path)), key=lambda v: v.name)
    if not videos:
        raise InputError(f"{path}: no video in it (looked for {' '.join(VIDEO_EXTENSIONS)})")
    by_id: dict[str, VideoFile] = {}
    for video in videos:
        other = by_id.setdefault(video.id, video)
        if other is not video:
            raise InputError(f"{other.path} and {video.path}: both would get the id "
                             f"{video.id!r}; rename one")
    return videos


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in files:
            file = Path(parent, name)
            if file.suffix.lower() in VIDEO_EXTENSIONS and not name.startswith("."):
                yield file


def _video_file(path: Path, root: Path) -> VideoFile:
    name = path.relative_to(root)
    return VideoFile(name.with_suffix("").as_posix(), name.as_posix(), path)


def frame_name(index: int) -> str:
    """File name of a frame; frame_index() is its inverse."""
    return f"frame_{index:06d}.png"


def frame_index(name: str) -> int:
    """0-based frame index of a frame file name. Raises ValueError for any other name."""
    match = _FRAME_NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r} is not a frame file name")
    return int(match[1])


def evenly_spaced(count: int, number: int) -> list[int]:
    """Middles of `number` equal stretches of `count` frames; all frames when there are fewer.

    >>> evenly_spaced(100, 4)
    [12, 37, 62, 87]
    """
    number = min(number, count)
    return [(2 * part + 1) * count // (2 * number) for part in range(number)]


@dataclass(frozen=True)
class VideoRecord:
    """Content of video.json: the video a folder was made from, and how."""

    file: str  # name under the video root, extension included
    size: int  # bytes
    sha256: str  # of the video file
    fps: float
    frame_count: int  # frames that the decoder gave
    width: int  # pixels, rotation applied
    height: int
    frames: list[int]  # indices of the frames in this folder
    settings: dict  # what the folder was made with, the steps before it included

    @classmethod
    def read(cls, folder: Path) -> "VideoRecord | None":
        """Record of a folder; None when there is none, or none that can be used."""
        try:
            data = json.loads((Path(folder) / RECORD_NAME).read_text(encoding="utf-8",
                                                                     errors="surrogateescape"))
            record = cls(**{field.name: data[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if record._is_sound() else None

    def _is_sound(self) -> bool:
        return (isinstance(self.file, str) and isinstance(self.frames, list)
                and isinstance(self.settings, dict)
                and all(isinstance(value, int) for value in [self.size, self.frame_count,
                                                             self.width, self.height])
                and isinstance(self.fps, (int, float))
                and all(isinstance(index, int) and index >= 0 for index in self.frames))

    def write(self, folder: Path) -> None:
        """Mark a folder complete."""
        write_json(Path(folder) / RECORD_NAME, asdict(self))


def is_complete(folder: Path, video: VideoFile, settings: dict) -> bool:
    """Whether a folder was made, to its end, from this very file with these settings."""
    record = VideoRecord.read(folder)
    return (record is not None and record.settings == settings and record.file == video.name
            and _same_content(video.path, record, Path(folder) / RECORD_NAME))


def _same_content(path: Path, record: VideoRecord, record_path: Path) -> bool:
    """Compare by size and change time first; the checksum settles what is left open."""
    stat = path.stat()
    if stat.st_size != record.size:
        return False
    changed = max(stat.st_ctime_ns, stat.st_mtime_ns)
    return changed < record_path.stat().st_mtime_ns or sha256_of(path) == record.sha256


def video_folders(root: Path, made_by: str) -> dict[str, VideoRecord]:
    """Records of all complete folders under a root, by video id, sorted.

    Raises InputError, naming the step to run first, when there is none.
    """
    root = Path(root)
    folders = {path.parent.relative_to(root).as_posix(): path.parent
               for path in root.rglob(RECORD_NAME) if not _TEMPORARY.fullmatch(path.parent.name)}
    records = {video_id: VideoRecord.read(folders[video_id]) for video_id in sorted(folders)}
    found = {video_id: record for video_id, record in records.items() if record is not None}
    if not found:
        raise InputError(f"{root}: nothing finished in it; run {made_by} first")
    return found


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Make a folder's content anew: it appears under its name only when all is written.

    The body writes into the yielded temporary folder. Other videos' folders that lie below
    this one (an id may be a prefix of another's path) stay.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        clear_folder(folder)
        # the record moves last: without it the folder does not count as complete
        for file in sorted(temporary.iterdir(), key=lambda f: f.name == RECORD_NAME):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clear_folder(folder: Path) -> None:
    """Remove the files of one video's folder, its record first."""
    (folder / RECORD_NAME).unlink(missing_ok=True)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: object) -> None:
    """Write JSON, atomically, one form for one content."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))


def read_json(path: Path) -> dict:
    """Content of a JSON file of ours. Raises InputError when it is missing or damaged."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); remove it and run its step "
                         "again") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: not what was expected; remove it and run its step again")
    return data


def fake_result_path(root: Path, video_id: str) -> Path:
    """File with what steps 4 and 5 found for one fake."""
    return Path(root) / "fakes" / f"{video_id}.json"


def write_arrays(path: Path, settings: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write numeric arrays, and what they were made with, as .npz; the same content, same bytes."""
    buffer = io.BytesIO()
    text = json.dumps(settings, sort_keys=True).encode()
    np.savez(buffer, settings=np.frombuffer(text, np.uint8), **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict, dict[str, np.ndarray]] | None:
    """Settings and arrays of an .npz file; None when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(arrays.pop("settings").tobytes()), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


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
