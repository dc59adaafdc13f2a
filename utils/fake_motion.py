"""What step 5 compares of a fake: motion, poses and pixels of its person, from step 3's files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from models import pose
from models.flow import FlowEstimator
from models.motion import MotionGrid, Square, cut_mask, cut_square, motion_grid, steady_square
from models.pose import PoseClip, small_grey, small_weight
from models.segmenter import Segmenter, person_mask
from utils.files import read_image
from utils.geometry import Rectangle
from utils.held_pixels import changed_pixels
from utils.layout import VideoRecord, frame_name, read_rectangles
from utils.pixel_sample import (PixelSample, sample_of, sampled_renewed, sampled_values,
                                sampled_weight)
from utils.threads import THREADS, on_threads

CHUNK = 64  # frames in memory at a time
MASK_EVERY = 5  # frames between two person masks that are made here
SMALLER, INSIDE = 0.75, 0.5  # a window with a smaller side, or a smaller share in the square, than
# these is another person than the largest one, or a small part of it
LEAST_PERSON = 0.1  # share of a window on a person that its mask covers, if it was found in there
LOST = 0.25  # share of the usual area of a fake's rectangles, below which the person was not found
MOSTLY = 0.5  # share of frames with the person below which it counts as not found in any
FILLED = 12  # frames without the person that take the mask of the nearest one with it

Cut = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # of a frame: crop, mask, what is new
# in it of the poses' pixels and of the sampled ones
Cutter = Callable[[list[int]], Iterable[Cut]]  # numbers of successive frames -> a Cut of each


@dataclass(frozen=True)
class FakeRoots:
    """Folders of step 3, and what is in them. Reading raises InputError when it is missing or
    damaged."""

    frames: Path
    masks: Path
    rectangles: Path

    def picture(self, fake_id: str, index: int) -> np.ndarray:
        """A frame, [H, W, 3] uint8 BGR."""
        return read_image(self.frames / fake_id / frame_name(index))

    def mask(self, fake_id: str, index: int) -> np.ndarray:
        """The person in a frame, [H, W] uint8, 255 on it."""
        return read_image(self.masks / fake_id / frame_name(index))

    def boxes(self, fake_id: str) -> dict[str, Rectangle | None]:
        """The person's rectangle by frame number, pixels."""
        return read_rectangles(self.rectangles / fake_id)


@dataclass(frozen=True)
class FakeMotion:
    """The person of a fake."""

    square: Square
    grid: MotionGrid
    poses: PoseClip
    pixels: PixelSample

    def mirrored(self) -> "FakeMotion":
        """The same person seen in a mirror; the square stays that of the fake as it is."""
        return FakeMotion(self.square, self.grid.mirrored(), self.poses.mirrored(),
                          self.pixels.mirrored())

    def part(self, first: int, last: int) -> "FakeMotion":
        """The frames first to last, inclusive."""
        return FakeMotion(self.square, self.grid.part(first, last), self.poses.part(first, last),
                          self.pixels.part(first, last))

    def reversed(self) -> "FakeMotion":
        """The same person played backwards."""
        return FakeMotion(self.square, self.grid.reversed(), self.poses.reversed(),
                          self.pixels.reversed())


def measure_fake(roots: FakeRoots, fake_id: str, record: VideoRecord, flow: FlowEstimator,
                 whole: bool = False) -> FakeMotion | None:
    """Motion and poses of a fake; None when nobody is found in it, or it has one frame only.

    whole: where nobody is found, or hardly ever, all of the picture is taken for the person. Raises
    InputError when a picture of step 3 is missing or damaged.
    """
    boxes = roots.boxes(fake_id)
    rectangles = [boxes.get(str(index)) for index in record.frames]
    found, unseen = where_found(rectangles), None
    if whole and found.mean() < MOSTLY:
        unseen = np.full((record.height, record.width), 255, np.uint8)
        square = steady_square([[0, 0, record.width, record.height]])
    else:
        square = steady_square([box for box, seen in zip(rectangles, found) if seen])
    if square is None or len(record.frames) < 2:
        return None
    masked = dict(zip(record.frames, np.array(record.frames)[nearest_found(found)].tolist()))

    def run(frames: list[int], before: list[int]) -> list[Cut]:
        earlier, found = roots.picture(fake_id, before[-1]) if before else None, []
        for index in frames:
            picture = roots.picture(fake_id, index)
            found.append((cut_square(picture, square),
                          cut_mask(roots.mask(fake_id, masked[index]) if unseen is None
                                   else unseen, square),
                          *_what_is_new(picture, earlier, square)))
            earlier = picture
        return found

    def cut(frames: list[int]) -> Iterable[Cut]:
        runs = [part.tolist() for part in np.array_split(frames, THREADS)]
        return chain.from_iterable(on_threads(run, runs, [[], *runs]))

    return _measure(square, record.frames, cut, flow)


def where_found(rectangles: Sequence[Rectangle | None]) -> np.ndarray:
    """In which frames of a fake, [T] bool, its person was found, and not some speck.

    rectangles: of the frames, pixels.
    """
    areas = np.array([box[2] * box[3] if box else 0 for box in rectangles], float)
    return areas >= LOST * np.median(areas[areas > 0]) if areas.any() else areas > 0


def nearest_found(found: np.ndarray) -> np.ndarray:
    """For every frame the position of the nearest one with the person, [T]; its own where there is
    none within FILLED frames. found: where_found()."""
    every, there = np.arange(len(found)), np.flatnonzero(found)
    if not len(there):
        return every
    after = np.searchsorted(there, every).clip(max=len(there) - 1)
    sides = there[[(after - 1).clip(0), after]]
    nearest = sides[np.abs(sides - every).argmin(axis=0), every]
    return np.where(np.abs(nearest - every) <= FILLED, nearest, every)


def is_elsewhere(window: Square, square: Square) -> bool:
    """Whether a window shows another person than the square, or too small a part of it to see."""
    overlap = [max(0.0, min(a + window[2], b + square[2]) - max(a, b))
               for a, b in zip(window[:2], square[:2])]
    return window[2] < SMALLER * square[2] or overlap[0] * overlap[1] < INSIDE * window[2]**2


def measure_window(roots: FakeRoots, fake_id: str, record: VideoRecord, window: Square,
                   flow: FlowEstimator, segmenter: Segmenter) -> FakeMotion:
    """Motion and poses of the person in a window of a fake, as of a picture in a picture.

    Step 3 looked at the whole frame; here the person is looked for again, in the window alone.
    Where it is not found, as when its face was made unrecognisable, all of the window is taken for
    it. Raises InputError when a picture of step 3 is missing or damaged.
    """
    first = record.frames[0]
    mask = np.zeros(0)

    def cut(frames: list[int]) -> Iterator[Cut]:
        nonlocal mask
        earlier = None
        for index in frames:
            picture = roots.picture(fake_id, index)
            crop = cut_square(picture, window)
            if not mask.size or (index - first) % MASK_EVERY == 0:
                mask = person_mask(segmenter.probability(crop)) / np.float32(255)
                if mask.mean() < LEAST_PERSON:
                    mask = np.ones_like(mask)
            yield crop, mask, *_what_is_new(picture, earlier, window)
            earlier = picture

    return _measure(window, record.frames, cut, flow)


def _what_is_new(picture: np.ndarray, before: np.ndarray | None,
                 square: Square) -> tuple[np.ndarray, np.ndarray]:
    """Of a frame [H, W, 3] uint8 BGR: how much of the poses' pixels [S, S] uint8, and which of the
    sampled ones, [P] bool."""
    changed = changed_pixels(picture, before)
    return cut_square(changed, square, pose.SIDE), sampled_renewed(changed, square)


def _measure(square: Square, frames: list[int], cut: Cutter, flow: FlowEstimator) -> FakeMotion:
    """Motion, poses and pixels in a square, in chunks; the next one is read meanwhile."""
    chunks = [frames[start:start + CHUNK + 1] for start in range(0, len(frames) - 1, CHUNK)]
    grids, greys, weights, shares, sampled = [], [], [], [], []
    for number, (crops, masks, renewed, pixels) in enumerate(_ahead(chunks, cut)):
        grids.append(motion_grid(crops, masks, flow))
        new = slice(1 if number else 0, None)  # chunks share a frame
        greys.append(small_grey(crops[new], pose.SIDE))
        weights.append(small_weight(masks[new], pose.SIDE))
        shares.append(renewed[new])
        sampled.append((sampled_weight(masks[new]),
                        np.stack([sampled_values(crop) for crop in crops[new]]), pixels[new]))
    values, renewals = (np.concatenate([part[i] for part in sampled]) for i in (1, 2))
    seen = np.average([part[0] for part in sampled], axis=0, weights=[len(p[1]) for p in sampled])
    return FakeMotion(square, MotionGrid.joined(grids),
                      PoseClip(*map(np.concatenate, (greys, weights, shares))),
                      sample_of(square, seen, values, renewals))


def _ahead(chunks: list[list[int]], cut: Cutter) -> Iterator[Cut]:
    """What is cut of every chunk, stacked, read in a thread while the chunk before is in use."""
    def read(chunk: list[int]) -> Cut:
        return tuple(np.stack(part) for part in zip(*cut(chunk), strict=True))

    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(read, chunks[0])
        for after in [*chunks[1:], None]:
            found = following.result()
            following = after and reader.submit(read, after)
            yield found
