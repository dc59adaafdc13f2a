"""Photographs and video frames in memory, split by file into a training and a held-out half."""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png"}
VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm"}


@dataclass
class ImageBank:
    """Images in memory, short side about 256 px."""

    photos: list[np.ndarray]  # each HxWx3 RGB uint8
    portraits: list[np.ndarray]  # video frames, each HxWx3 RGB uint8

    def pick(self, rng: np.random.Generator) -> np.ndarray:
        """One image: a photograph or a video frame, evenly where there are both."""
        from_video = bool(self.portraits) and (not self.photos or rng.random() < 0.5)
        images = self.portraits if from_video else self.photos
        return images[rng.integers(len(images))]


def held_out(files: Sequence[Path], named: Collection[str] = ()) -> list[Path]:
    """The files never trained on: by stem; where none is `named`, every tenth by a hash."""
    by_name = [file for file in files if file.stem in named]
    return by_name or [file for file in files if zlib.crc32(file.stem.encode()) % 10 == 0]


def load_bank(
    images_dir: Path | None,
    videos_dir: Path | None,
    *,
    test: bool,
    hold_out: Collection[str] = (),
    frames_per_video: int = 48,
    short_side: int = 256,
) -> ImageBank:
    """Read the training half (`test=False`) or the held-out half of two folders."""
    photos, portraits = [], []
    for file in _split(images_dir, PHOTO_SUFFIXES, test, hold_out):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is not None:
            photos.append(_prepare(image, short_side))
    for file in _split(videos_dir, VIDEO_SUFFIXES, test, hold_out):
        portraits += [_prepare(frame, short_side) for frame in _frames(file, frames_per_video)]
    if not photos and not portraits:
        raise ValueError(
            f"no readable image or video in {images_dir} or {videos_dir} (test={test})"
        )
    return ImageBank(photos, portraits)


def _split(
    folder: Path | None, suffixes: set[str], test: bool, named: Collection[str]
) -> list[Path]:
    if folder is None:
        return []
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    kept_back = set(held_out(files, named))
    return [file for file in files if (file in kept_back) == test]


def _frames(file: Path, count: int) -> list[np.ndarray]:
    """`count` frames spread evenly over a video, HxWx3 BGR."""
    capture = cv2.VideoCapture(str(file))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, max(total - 1, 0), count).astype(int).tolist())
    frames = []
    for index in range(total):
        if not capture.grab():
            break
        if index in wanted:
            frames.append(capture.retrieve()[1])
    return frames


def _prepare(image: np.ndarray, short_side: int) -> np.ndarray:
    """HxWx3 BGR at any size -> HxWx3 RGB with the given short side."""
    scale = short_side / min(image.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.cvtColor(
        cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation), cv2.COLOR_BGR2RGB
    )
