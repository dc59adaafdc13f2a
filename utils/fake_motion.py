"""What step 5 compares of a fake: motion and poses of its person, from what step 3 wrote."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from models import pose
from models.flow import FlowEstimator
from models.motion import MotionGrid, Square, cut_mask, cut_square, motion_grid, steady_square
from models.pose import PoseClip, small_grey, small_weight
from models.segmenter import Segmenter, person_mask
from utils.files import read_image
from utils.layout import VideoRecord, frame_name, read_rectangles
from utils.threads import on_threads

CHUNK = 64  # frames in memory at a time
MASK_EVERY = 5  # frames between two person masks that are made here
SMALLER, INSIDE = 0.75, 0.5  # a window with a smaller side, or a smaller share in the square, than
# these is another person than the largest one, or a small part of it

Cutter = Callable[[list[int]], Iterable[tuple[np.ndarray, np.ndarray]]]  # frame numbers -> crop
# and mask of each


@dataclass(frozen=True)
class FakeRoots:
    """Folders of step 3."""

    frames: Path
    masks: Path
    rectangles: Path


@dataclass(frozen=True)
class FakeMotion:
    """The person of a fake."""

    square: Square
    grid: MotionGrid
    poses: PoseClip

    def mirrored(self) -> "FakeMotion":
        """The same person seen in a mirror; the square stays that of the fake as it is."""
        return replace(self, grid=self.grid.mirrored(), poses=self.poses.mirrored())

    def part(self, first: int, last: int) -> "FakeMotion":
        """The frames first to last, inclusive."""
        return replace(self, grid=self.grid.part(first, last), poses=self.poses.part(first, last))

    def reversed(self) -> "FakeMotion":
        """The same person played backwards."""
        return replace(self, grid=self.grid.reversed(), poses=self.poses.reversed())


def measure_fake(roots: FakeRoots, fake_id: str, record: VideoRecord,
                 flow: FlowEstimator) -> FakeMotion | None:
    """Motion and poses of a fake; None when nobody is in it, or one frame only.

    Raises InputError when a picture of step 3 is missing or damaged.
    """
    rectangles = read_rectangles(roots.rectangles / fake_id)
    square = steady_square([rectangles.get(str(index)) for index in record.frames])
    if square is None or len(record.frames) < 2:
        return None

    def both(index: int) -> tuple[np.ndarray, np.ndarray]:
        return tuple(cut(read_image(root / fake_id / frame_name(index)), square)
                     for cut, root in ((cut_square, roots.frames), (cut_mask, roots.masks)))

    return _measure(square, record.frames, partial(on_threads, both), flow)


def is_elsewhere(window: Square, square: Square) -> bool:
    """Whether a window shows another person than the square, or too small a part of it to see."""
    overlap = [max(0.0, min(a + window[2], b + square[2]) - max(a, b))
               for a, b in zip(window[:2], square[:2])]
    return window[2] < SMALLER * square[2] or overlap[0] * overlap[1] < INSIDE * window[2]**2


def measure_window(roots: FakeRoots, fake_id: str, record: VideoRecord, window: Square,
                   flow: FlowEstimator, segmenter: Segmenter) -> FakeMotion:
    """Motion and poses of the person in a window of a fake, as of a picture in a picture.

    Step 3 looked at the whole frame; here the person is looked for again, in the window alone.
    Raises InputError when a picture of step 3 is missing or damaged.
    """
    first = record.frames[0]
    mask = np.zeros(0)

    def cut(frames: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal mask
        for index in frames:
            crop = cut_square(read_image(roots.frames / fake_id / frame_name(index)), window)
            if not mask.size or (index - first) % MASK_EVERY == 0:
                mask = person_mask(segmenter.probability(crop)) / np.float32(255)
            yield crop, mask

    return _measure(window, record.frames, cut, flow)


def _measure(square: Square, frames: list[int], cut: Cutter, flow: FlowEstimator) -> FakeMotion:
    """Motion and poses in a square, in chunks; the next one is read meanwhile."""
    chunks = [frames[start:start + CHUNK + 1] for start in range(0, len(frames) - 1, CHUNK)]
    grids, greys, weights = [], [], []
    for number, (crops, masks) in enumerate(_ahead(chunks, cut)):
        grids.append(motion_grid(crops, masks, flow))
        new = slice(1 if number else 0, None)  # chunks share a frame
        greys.append(small_grey(crops[new], pose.SIDE))
        weights.append(small_weight(masks[new], pose.SIDE))
    return FakeMotion(square, MotionGrid.joined(grids),
                      PoseClip(np.concatenate(greys), np.concatenate(weights)))


def _ahead(chunks: list[list[int]], cut: Cutter) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Crops and masks of every chunk, read in a thread while the chunk before is in use."""
    def read(chunk: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.stack(part) for part in zip(*cut(chunk), strict=True))

    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, chunks[0])
        for after in [*chunks[1:], None]:
            found = following.result()
            following = after and reader.submit(read, after)
            yield found
