"""Optical-flow pictures of a person, and places of a fake scored by the angle between them.

This is the comparison of the original method: pictures of 256 px of the flow inside the person's
square, embedded by a ResNet-50 (models/motion_resnet.py). It knows of no mapping between fake and
source but square onto square, mirrored or not. The flow of a source is computed between the very
frames that an alignment names, whatever its rate and direction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.flow import FlowEstimator
from models.motion import Square, cut_mask, cut_square, steady_square
from models.motion_resnet import SIDE, ResNetMotionEmbedder, angles
from models.segmenter import Segmenter, person_mask
from utils.fake_motion import FakeRoots
from utils.files import InputError
from utils.layout import VideoRecord, evenly_spaced
from utils.video import VideoReader
from utils.views import Found, alignment_of

PAIRS = 12  # frame pairs of a fake that are compared


@dataclass(frozen=True)
class FlowPictures:
    """The person's motion between pairs of frames."""

    flow: np.ndarray  # [N, S, S, 2] float32, pixels of the picture
    mask: np.ndarray  # [N, S, S] float32 in [0, 1], the person in the first frame of the pair

    def __len__(self) -> int:
        return len(self.mask)

    def mirrored(self) -> "FlowPictures":
        """The same motion seen in a mirror."""
        return FlowPictures(self.flow[:, :, ::-1] * np.float32([-1, 1]), self.mask[:, :, ::-1])


@dataclass(frozen=True)
class PlacedFake:
    """A place that a fake may come from."""

    video: Path  # the source
    square: Square  # of its person
    at: np.ndarray  # [frames of the fake] source frame of each, in the fake's order
    flip: bool  # whether the fake is a mirror image


@dataclass(frozen=True)
class AngleScorer:
    """The comparison of the original method for step 5; the getters give each thread its own."""

    embedder: ResNetMotionEmbedder
    roots: FakeRoots
    video_root: Path
    flow: Callable[[], FlowEstimator]
    segmenter: Callable[[], Segmenter]

    def angles(self, fake_id: str, record: VideoRecord, frames: list[int], found: list[Found]
               ) -> list[float | None]:
        """Mean angle in radians for every place; None where there is no person in the fake.

        frames: numbers of the frames of the stretch of the fake that the places are about.
        """
        if not found:
            return []
        pairs, first = chosen_pairs(len(frames)), record.frames.index(frames[0])
        fake = fake_pictures(self.roots, fake_id, record, [first + n for n in pairs], self.flow())
        if fake is None:
            return [None] * len(found)
        places = [PlacedFake(self.video_root / f.view.source.file, f.view.source.square,
                             np.array(alignment_of(f)), bool(f.view.flip)) for f in found]
        return [float(angle) for angle in mean_angles(fake, pairs, places, self.embedder,
                                                      self.flow(), self.segmenter())]


def mean_angles(fake: FlowPictures, firsts: Sequence[int], places: Sequence[PlacedFake],
                embedder: ResNetMotionEmbedder, estimator: FlowEstimator,
                segmenter: Segmenter) -> np.ndarray:
    """Mean angle in radians between a fake's pictures and those of every place, [places].

    fake: fake_pictures() of the pairs that begin at the positions `firsts`. Smaller is more alike;
    a right angle means that nothing is alike. A video is read once for all its places. Raises
    VideoError when one cannot be read, InputError when it is too short.
    """
    embedded = {flip: embedder.embed(*_fields(fake.mirrored() if flip else fake))
                for flip in {bool(place.flip) for place in places}}
    found = np.empty(len(places))
    for video in dict.fromkeys((place.video, place.square) for place in places):
        mine = [n for n, place in enumerate(places) if (place.video, place.square) == video]
        pairs = [(int(places[n].at[i]), int(places[n].at[i + 1])) for n in mine for i in firsts]
        vectors = embedder.embed(*_fields(source_pictures(*video, pairs, estimator, segmenter)))
        for n, part in zip(mine, vectors.reshape(len(mine), len(firsts), -1), strict=True):
            found[n] = angles(embedded[bool(places[n].flip)], part).mean()
    return found


def _fields(pictures: FlowPictures) -> tuple[np.ndarray, np.ndarray]:
    return pictures.flow, pictures.mask


def chosen_pairs(frames: int, count: int = PAIRS) -> list[int]:
    """Positions of the first frames of pairs spread evenly over a stretch of `frames` frames."""
    return evenly_spaced(frames - 1, count)


def fake_pictures(roots: FakeRoots, fake_id: str, record: VideoRecord, firsts: Sequence[int],
                  estimator: FlowEstimator, side: int = SIDE) -> FlowPictures | None:
    """Pictures of the pairs of a fake that begin at the given positions in record.frames.

    None when nobody is in it. Raises InputError when a picture of step 3 is missing or damaged.
    """
    rectangles = roots.boxes(fake_id)
    square = steady_square([rectangles.get(str(index)) for index in record.frames])
    if square is None:
        return None

    crops = {n: cut_square(roots.picture(fake_id, record.frames[n]), square, side)
             for first in firsts for n in (first, first + 1)}
    masks = {n: cut_mask(roots.mask(fake_id, record.frames[n]), square, side) for n in firsts}
    return _pictures(crops, masks, [(n, n + 1) for n in firsts], estimator)


def source_pictures(video: Path, square: Square, pairs: Sequence[tuple[int, int]],
                    estimator: FlowEstimator, segmenter: Segmenter,
                    side: int = SIDE) -> FlowPictures:
    """Pictures of pairs of frame numbers of a source; the frames of a pair need be no neighbours.

    Raises VideoError when it cannot be read, InputError when it has no such frames.
    """
    wanted, begun = {n for pair in pairs for n in pair}, {first for first, _ in pairs}
    crops, masks = {}, {}
    for frame in VideoReader(video, wanted=wanted, threads=1):
        crops[frame.index] = cut_square(frame.image, square, side)
        if frame.index in begun:
            mask = person_mask(segmenter.probability(frame.image))
            masks[frame.index] = cut_mask(mask, square, side)
        if len(crops) == len(wanted):
            break
    if missing := wanted - set(crops):
        raise InputError(f"{video}: no frame {min(missing)} in it; run the steps again")
    return _pictures(crops, masks, pairs, estimator)


def _pictures(crops: dict[int, np.ndarray], masks: dict[int, np.ndarray],
              pairs: Sequence[tuple[int, int]], estimator: FlowEstimator) -> FlowPictures:
    """Flow between the crops [S, S, 3] of every pair, nothing outside the mask."""
    first, second = (np.stack([crops[n] for n in side]) for side in zip(*pairs, strict=True))
    mask = np.stack([masks[n] for n, _ in pairs])
    flow = estimator.flow(first, second) * (mask[..., None] > 0)
    return FlowPictures(flow, mask)
