"""How the steps hand data to each other: ids, folders per video, frame names, video.json.

Steps 1 to 3 keep one folder per video, `<root>/<video id>/`, where the id is the video's path
under its root without extension. `video.json` in it is written last: a folder whose record
matches its input and settings is complete; any other is made again. Steps 4 and 5 keep files that
are called so.

What is read back may have been damaged or tampered with: it is checked before it is used, a name
in it never leads out of its root folder, and nothing is unpickled.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

from models.fetch import sha256_of
from utils.files import InputError, load_json, read_json, write_json
from utils.locks import is_temporary, temporary_beside
from utils.video import VIDEO_EXTENSIONS
from utils.walk import files_below

RECORD_NAME = "video.json"
RECTANGLES_NAME = "rectangles.json"
FAILED_NAME = "failed.json"
_FRAME_NAME = re.compile(r"frame_(\d{6,})\.png")
_LARGEST = 2**31  # of a size in pixels or a frame number that makes sense


@dataclass(frozen=True)
class VideoFile:
    """A video found under a root folder."""

    id: str  # POSIX path under the root, no extension
    name: str  # POSIX path under the root, with extension
    path: Path


def find_videos(path: Path) -> list[VideoFile]:
    """All videos under a folder, or the one video `path` names; sorted.

    Subfolders are included, linked ones too, each folder once (utils/walk.py).

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
    """Paths with a video's extension; one that is a link to a folder is named as unusable later."""
    for file in files_below(folder):
        if file.suffix.lower() in VIDEO_EXTENSIONS and not file.name.startswith("."):
            yield file


def _video_file(path: Path, root: Path) -> VideoFile:
    name = path.relative_to(root).as_posix()
    return VideoFile(video_id_of(name), name, path)


def video_id_of(name: str) -> str:
    """Id of a video by its name, as tables have it.

    >>> video_id_of("news/a.b.mp4")
    'news/a.b'
    """
    return Path(name).with_suffix("").as_posix()


def check_name(video: VideoFile) -> None:
    """Raises InputError for a video whose folder would be taken for a file of ours."""
    for part in PurePosixPath(video.id).parts:
        if (part in (RECORD_NAME, RECTANGLES_NAME, FAILED_NAME) or _FRAME_NAME.fullmatch(part)
                or is_temporary(part)):
            raise InputError(f"{video.path}: {part!r} is a name that the steps use; rename it")


def inside(root: Path, name: str) -> Path:
    """Path of a name under a root folder. Raises InputError for a name that would leave it."""
    if not _is_inner(name):
        raise InputError(f"{root}: {name!r} is not a name under this folder; remove the file that "
                         "says so and run its step again")
    return Path(root) / name


def _is_inner(name: object) -> bool:
    """Whether a name is a relative path without `..` that a file can have."""
    if not isinstance(name, str) or "\0" in name:
        return False
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and not PurePosixPath(name).is_absolute()


def frame_name(index: int) -> str:
    """File name of a frame by its 0-based index."""
    return f"frame_{index:06d}.png"


def largest_first(videos: Iterable[VideoFile]) -> list[VideoFile]:
    """Videos in the order in which workers had best take them: no long one is left for the end,
    when the other workers have nothing to do."""
    def size(video: VideoFile) -> int:
        with contextlib.suppress(OSError):  # gone meanwhile, which its own turn tells
            return video.path.stat().st_size
        return 0
    return sorted(videos, key=size, reverse=True)


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
            return cls.checked(load_json(Path(folder) / RECORD_NAME))
        except (OSError, ValueError):
            return None

    @classmethod
    def checked(cls, data: object) -> "VideoRecord | None":
        """Record out of data that was read; None when that is not what a step writes."""
        names = {field.name for field in fields(cls)}
        if not isinstance(data, dict) or not names <= set(data):
            return None
        record = cls(**{name: data[name] for name in names})
        return record if record._is_sound() else None

    def _is_sound(self) -> bool:
        return (_is_inner(self.file) and isinstance(self.sha256, str)
                and isinstance(self.settings, dict) and _is_number(self.size, 0, 2**63)
                and all(_is_number(value, 1, _LARGEST)
                        for value in (self.frame_count, self.width, self.height))
                and (isinstance(self.fps, float) or _is_number(self.fps, 1, _LARGEST))
                and 0 < self.fps < _LARGEST
                and isinstance(self.frames, list) and len(self.frames) > 0
                and all(_is_number(index, 0, _LARGEST) for index in self.frames)
                and self.frames == sorted(set(self.frames)))

    def write(self, folder: Path) -> None:
        """Mark a folder complete."""
        write_json(Path(folder) / RECORD_NAME, asdict(self))


def _is_number(value: object, low: int, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < end


def is_complete(folder: Path, video: VideoFile, settings: dict,
                found: Collection[str] = ()) -> bool:
    """Whether a folder was made, to its end, from this very file with these settings.

    found: names under which the record's settings also tell what the step found out of the video.
    """
    record = VideoRecord.read(folder)
    return (record is not None and record.file == video.name
            and set(found) <= set(record.settings)
            and {k: v for k, v in record.settings.items() if k not in found} == settings
            and holds_all(folder, record)
            and _same_content(video.path, record, Path(folder) / RECORD_NAME))


def holds_all(folder: Path, record: VideoRecord) -> bool:
    """Whether the rectangles, or all pictures that a record names, are there and not empty."""
    with os.scandir(folder) as files:
        there = {file.name for file in files if file.stat().st_size}
    return RECTANGLES_NAME in there or {frame_name(index) for index in record.frames} <= there


def _same_content(path: Path, record: VideoRecord, record_path: Path) -> bool:
    """Compare by size and change time first; the checksum settles what is left open."""
    stat = path.stat()
    if stat.st_size != record.size:
        return False
    changed = max(stat.st_ctime_ns, stat.st_mtime_ns)
    return changed < record_path.stat().st_mtime_ns or sha256_of(path) == record.sha256


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Raises InputError when a file changes while the body reads it."""
    before = _state(path)
    yield
    if _state(path) != before:
        raise InputError(f"{path}: it changed while it was read; run again when it is complete")


def _state(path: Path) -> tuple[int, ...]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def video_folders(root: Path, made_by: str) -> dict[str, VideoRecord]:
    """Records of all complete folders under a root, by video id, sorted.

    Raises InputError, naming the step to run first, when there is none.
    """
    root = Path(root)
    folders = {path.parent.relative_to(root).as_posix(): path.parent
               for path in root.rglob(RECORD_NAME) if not is_temporary(path.parent.name)}
    records = {video_id: VideoRecord.read(folders[video_id]) for video_id in sorted(folders)}
    found = {video_id: record for video_id, record in records.items() if record is not None}
    if not found:
        raise InputError(f"{root}: nothing finished in it; run {made_by} first")
    return found


def must_be_there(made_by: str, *roots: Path) -> None:
    """Raises InputError, naming the step that writes it, when a folder is missing."""
    for root in map(Path, roots):
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; is its name right? {made_by} writes it")


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Make a folder's content anew: it appears under its name only when all is written.

    The body writes into the yielded temporary folder. Other videos' folders that lie below
    this one (an id may be a prefix of another's path) stay.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_beside(folder) as temporary:
        temporary.mkdir()
        yield temporary
        folder.mkdir(exist_ok=True)
        clear_folder(folder)
        # the record moves last: without it the folder does not count as complete
        for file in sorted(temporary.iterdir(), key=lambda f: f.name == RECORD_NAME):
            os.replace(file, folder / file.name)


def clear_folder(folder: Path) -> None:
    """Remove what a step wrote into one video's folder, its record first; other files stay."""
    (folder / RECORD_NAME).unlink(missing_ok=True)
    for file in folder.iterdir():
        if file.name == RECTANGLES_NAME or _FRAME_NAME.fullmatch(file.name):
            file.unlink()


def read_rectangles(folder: Path) -> dict[str, list[int] | None]:
    """Rectangles [x, y, w, h] of the person by frame number, pixels, out of a folder of step 3.

    Raises InputError when the file is missing or damaged.
    """
    path = Path(folder) / RECTANGLES_NAME
    found = read_json(path)
    for rectangle in found.values():
        sound = rectangle is None or isinstance(rectangle, list) and len(rectangle) == 4 and all(
            _is_number(value, 0, _LARGEST) for value in rectangle)
        if not sound:
            raise InputError(f"{path}: {rectangle} is no rectangle; run step 3 again with "
                             "--overwrite")
    return found


def fake_result_path(root: Path, video_id: str) -> Path:
    """File with what steps 4 and 5 found for one fake."""
    return result_path(Path(root) / "fakes", video_id, ".json")


def result_path(folder: Path, video_id: str, extension: str) -> Path:
    """File about one video. Raises InputError when its id would lead out of the folder.

    The name of a video may leave no room for a longer extension (255 bytes on most file systems):
    then it is cut and a checksum follows.
    """
    path = inside(folder, video_id)
    name = os.fsencode(path.name)
    if len(name) + len(extension) > 255:
        name = name[:200] + b"~" + hashlib.sha256(name).hexdigest()[:32].encode()
    return path.with_name(os.fsdecode(name) + extension)
