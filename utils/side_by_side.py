"""A fake beside its source: the same moments of both, and where one picture lies in the other."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.motion import Square, steady_square
from utils import heatmap
from utils.clip_mapping import ClipMapping, find_mapping, first_guesses, rescaled, shrunk
from utils.files import InputError, read_image
from utils.heatmap import Look
from utils.layout import frame_name, read_rectangles, result_path, video_id_of
from utils.seek import read_frames
from utils.steadied import CameraPath, shown, steadied
from utils.tables import FramePair


@dataclass(frozen=True)
class Roots:
    """Folders that the pictures come from."""

    frames: Path  # of the fakes, step 3
    masks: Path
    rects: Path
    videos: Path  # the sources
    traces: Path  # step 5


@dataclass(frozen=True)
class Stretch:
    """One stretch of a fake and what was found for it."""

    row: dict  # its row of traces.csv
    detail: dict  # alternatives, score curve and so on
    fake_frames: list[int]
    source_frames: list[int]  # one for each of these; empty when no range was found
    path: CameraPath | None = None  # along which its pictures were steadied, and are shown

    @property
    def flip(self) -> bool:
        return bool(self.row["flip"])

    def path_of(self, fake_frames: Sequence[int], scale: float) -> list[np.ndarray]:
        """The similarities [2, 3] by which some frames are steadied, in pixels of pictures scaled
        by so much; none where they are not."""
        return [rescaled(self.path[frame], scale, scale) for frame in fake_frames
                ] if self.path else []


@dataclass(frozen=True)
class Fit:
    """How the source's picture lies in the fake's, and how copying changed it."""

    mapping: ClipMapping  # between frames that were shrunk()
    look: Look | None  # None where the pictures do not lie on each other


def fake_id(result: dict) -> str:
    """Video id of a fake."""
    return video_id_of(result["fake"])


def stretches_of(result: dict) -> list[Stretch]:
    """The stretches of what step 5 wrote for one fake."""
    frames, path, found = result["made_with"]["record"]["frames"], result.get("steadied"), []
    path = path and dict(zip(frames, map(np.array, path), strict=True))
    for row, detail in zip(result["traces"], result["stretches"]):
        first, last = row["fake_start_frame"], row["fake_end_frame"]
        own = [index for index in frames if first is None or first <= index <= last]
        found.append(Stretch(row, detail, own, source_frames(row, detail, len(own)), path))
    return found


def frame_pairs(result: dict) -> Iterator[FramePair]:
    """Every frame of a fake that came from somewhere, and from where, stretch by stretch; none
    where the result was tampered with, which its page says."""
    try:
        stretches = stretches_of(result)
    except (KeyError, TypeError, ValueError):
        return
    for stretch in stretches:
        for fake_frame, source_frame in zip(stretch.fake_frames, stretch.source_frames):
            yield FramePair(result["fake"], fake_frame, stretch.row["source"], source_frame)


def source_frames(row: dict, detail: dict, count: int) -> list[int]:
    """Source frame of each of the `count` frames of a stretch; evenly spaced unless it is known."""
    if row["start_frame"] is None:
        return []
    if len(detail.get("alignment") or []) == count:
        return [int(index) for index in detail["alignment"]]
    steps = row["start_frame"] + np.floor(np.arange(count) * row["rate"] + 0.5)
    return np.clip(steps, *sorted((row["start_frame"], row["end_frame"]))).astype(int).tolist()


def read_fake(roots: Roots, video_id: str, index: int,
              path: CameraPath | None = None) -> np.ndarray:
    """A frame of a fake, [H, W, 3] uint8 BGR, steadied along a path and scaled down. Raises
    InputError when missing."""
    return shrunk(_read(roots.frames, video_id, index, path))


def _read(root: Path, video_id: str, index: int, path: CameraPath | None) -> np.ndarray:
    picture = read_image(root / video_id / frame_name(index))
    return steadied(picture, path[index]) if path else picture


def read_mask(roots: Roots, video_id: str, index: int, size: tuple[int, int],
              path: CameraPath | None = None) -> np.ndarray:
    """[H, W] bool, the person in a fake's frame; size: width and height wanted; path: as of
    read_fake()."""
    mask = _read(roots.masks, video_id, index, path)
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127


def read_source(roots: Roots, name: str,
                wanted: set[int]) -> tuple[dict[int, np.ndarray], float]:
    """Frames of a source by index, scaled down, and their scale.

    Frames that cannot be decoded are left out. Raises VideoError when the file cannot be read.
    """
    found: dict[int, np.ndarray] = {}
    scale = 1.0
    for frame in read_frames(roots.videos / name, wanted, frame_times(roots, name)):
        found[frame.index] = shrunk(frame.image)
        scale = max(found[frame.index].shape) / max(frame.image.shape)
    return found, scale


def frame_times(roots: Roots, name: str) -> np.ndarray | None:
    """Time of every frame of a source, as step 5 found them in this very file; None if it is
    another one."""
    facts, path = source_facts(roots, name), roots.videos / name
    same = facts is not None and path.is_file() and path.stat().st_size == facts.record["size"]
    return facts.times_s if same else None


@dataclass(frozen=True)
class SourceFacts:
    """What step 5 keeps of a source."""

    record: dict  # its video.json
    square: Square | None  # the person's, pixels of its frames; None when nobody is in it
    times_s: np.ndarray  # [T] seconds from the first frame


def source_facts(roots: Roots, name: str) -> SourceFacts | None:
    """Facts of a source, by its file name; None when step 5 has not read it."""
    try:
        path = result_path(roots.traces / "motion", video_id_of(name), ".npz")
        with np.load(path, allow_pickle=False) as file:
            square = tuple(float(value) for value in file["square"])
            record = json.loads(file["settings"].tobytes())["source"]
            times = file["times_s"]
    except (OSError, ValueError, KeyError, EOFError, InputError, zipfile.BadZipFile, zlib.error):
        return None
    return SourceFacts(record, square if square[2] > 0 else None, times)


def fake_square(roots: Roots, video_id: str, record: dict) -> Square | None:
    """Person square of a fake, pixels of its frames; None when nobody is in it."""
    try:
        rectangles = read_rectangles(roots.rects / video_id)
    except InputError:
        return None
    return steady_square([rectangles.get(str(index)) for index in record["frames"]])


def guesses(roots: Roots, result: dict, stretch: Stretch) -> list[np.ndarray]:
    """Mappings [2, 3] of whole frames that are worth a try: step 5's, step 4's, person square to
    square."""
    record, source = result["made_with"]["record"], stretch.row["source"]
    candidate = next((c for c in result["made_with"]["candidates"] if c["source"] == source),
                     {"mapping": None})  # of a source that only motion led to
    found = [np.array(stretch.detail["mapping"])] if stretch.detail.get("mapping") else []
    own, facts = fake_square(roots, fake_id(result), record), source_facts(roots, source)
    return found + first_guesses(candidate, stretch.flip, own, facts and facts.square,
                                 record["width"])


def fit_pictures(fakes: list[np.ndarray], sources: list[np.ndarray], flip: bool,
                 whole: list[np.ndarray], scales: tuple[float, float],
                 path: Sequence[np.ndarray] = ()) -> Fit:
    """Fit mapping and look from the same moments of both, scaled down.

    whole: guessed mappings of frames in full size; scales: of these fakes and sources; path: as of
    compared().
    """
    mapping = find_mapping(fakes, sources, flip, [rescaled(guess, *scales) for guess in whole])
    if not mapping.fits:
        return Fit(mapping, None)
    return Fit(mapping, heatmap.fit_look(*compared(mapping, fakes, sources, path)))


def compared(mapping: ClipMapping, fakes: list[np.ndarray], sources: list[np.ndarray],
             path: Sequence[np.ndarray] = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What heatmap compares: fakes and sources on each other [T, H, W, 3], and where both show
    something [T, H, W].

    path: Stretch.path_of() of these fakes.
    """
    height, width = fakes[0].shape[:2]
    size = heatmap.heat_size(width, height)
    small = [cv2.resize(fake, size, interpolation=cv2.INTER_AREA) for fake in fakes]
    pairs = [laid(mapping, source, (width, height), size) for source in sources]
    covered = np.stack([p[1] for p in pairs])
    if len(path):
        scale = size[0] / width
        covered &= np.stack([shown(size, rescaled(matrix, scale, scale)) for matrix in path])
    return np.stack(small), np.stack([p[0] for p in pairs]), covered


def laid(mapping: ClipMapping, source: np.ndarray, work: tuple[int, int],
         size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A source frame as the fake shows it, and where it is covered, at another size.

    work, size: width and height of the fake's frame as it was mapped, and as wanted.
    """
    matrix = rescaled(mapping.matrix, size[0] / work[0], 1.0)
    return ClipMapping(matrix, mapping.flip, mapping.agreement).warp(source, size)
