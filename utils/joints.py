"""Where one stretch of a fake goes over into the next, to the frame, by its pictures.

Motion hardly sees where a calm head was cut, and across a fade it is that of neither side. Pictures
tell both: the two places are carried on past the joint and laid on the fake, and the joint is put
where they leave least of it, one before and the other behind (the likeliest change point, Hinkley
1970). So a fade ends in its middle. What neither shows, as a face put in or a caption, weighs
little: every pixel counts by its own noise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from utils import decision
from utils.answer import SAME_RUN, one_way
from utils.clip_mapping import rescaled, shrunk, warp
from utils.confirm import Fake, ReadSource
from utils.cutaways import Ends
from utils.heatmap import fit_channel
from utils.paths import MIN_STRETCH
from utils.tables import Trace
from utils.video import VideoError
from utils.views import Found, alignment_of

REACH = 12  # frames of the fake on either side of a joint among which it is looked for
BESIDE = 3  # of these, on either side, may show both places
SIDE = 160  # pixels of the longer side at which pictures are compared
NOISE_SIGMA = 2.0  # pixels over which the noise of a pixel is averaged
APART = 1.0  # mean square, in units of the noise, by which the pictures of two places differ at
# least where they tell a joint; and
CLEARLY = 0.04  # by how much less is left then, in all; set by hand, both, on jump cuts and fades
# of 15 clips that are not used for measuring
MORE_DOUBT, NO_DOUBT = 2.0, 0.02  # times as much doubt, and doubt, that other ends may leave


def joined_by_pictures(answers: Sequence[dict], fake: Fake, trace: Callable[[Ends, dict], dict],
                       read_source: ReadSource) -> list[dict]:
    """A fake's stretches, those traced again with other ends whose pictures clearly tell them.

    trace: first and last position among the fake's frames, and an answer so far -> its answer.
    What is not traced, or would not be to the same place, keeps its ends.
    """
    joined = list(answers)
    position = {frame: number for number, frame in enumerate(fake.frames)}
    for number in range(1, len(joined)):
        pair = joined[number - 1:number + 1]
        if not all(_is_laid(one) for one in pair):
            continue
        sides = [Side.of(one, [position[frame] for frame in (
            one["trace"].fake_start_frame, one["trace"].fake_end_frame)]) for one in pair]
        if sides[0].last + 1 != sides[1].first:
            continue
        try:
            joint = find_joint(*sides, fake, read_source)
        except VideoError:
            continue
        if joint == sides[1].first:
            continue
        again = [trace(ends, one) for ends, one in zip(
            ((sides[0].first, joint - 1), (joint, sides[1].last)), pair)]
        if all(is_still_there(*(one["trace"] for one in both)) for both in zip(pair, again)):
            joined[number - 1:number + 1] = again
    return joined


def _is_laid(one: dict) -> bool:
    """Whether a stretch is traced, and its pictures lie on its source's."""
    mapping = one["best"] and one["best"].mapping
    return one["trace"].verdict == decision.TRACED and mapping is not None and mapping.fits


def is_still_there(before: Trace, after: Trace) -> bool:
    """Whether a stretch is traced to the same place with other ends, and about as surely."""
    if after.verdict != decision.TRACED or not one_way(before, after):
        return False
    if 1 - after.confidence > max(MORE_DOUBT * (1 - before.confidence), NO_DOUBT):
        return False
    expected = before.start_frame + before.rate * (after.fake_start_frame - before.fake_start_frame)
    return abs(after.start_frame - expected) <= SAME_RUN


@dataclass(frozen=True)
class Side:
    """A stretch of a fake beside a joint."""

    best: Found
    rate: float  # source frames per fake frame, negative backwards
    first: int  # positions among the fake's frames
    last: int

    @classmethod
    def of(cls, one: dict, ends: Sequence[int]) -> "Side":
        """Of the answer for a stretch that has a place; ends: its first and last position."""
        return cls(one["best"], one["trace"].rate, *ends)

    @cached_property
    def _at(self) -> list[int]:
        """Frame of the source at every position of the stretch."""
        return alignment_of(self.best)

    def source_frame(self, position: int) -> int:
        """Frame of the source at a position in the fake, also beyond the stretch's ends."""
        inside = min(max(position, self.first), self.last)
        return self._at[inside - self.first] + int(np.floor(self.rate * (position - inside) + 0.5))

    def laid(self, positions: Sequence[int], fake: Fake, size: tuple[int, int],
             read_source: ReadSource) -> tuple[np.ndarray, np.ndarray]:
        """The source's pictures as the fake shows them, [T, h, w] float32 in grey, and where they
        cover it, [T, h, w] bool: nowhere, where there is no such frame. size: width and height.
        Raises VideoError."""
        source, width = self.best.view.source, size[0]
        frames = [self.source_frame(position) for position in positions]
        found = {frame.index: shrunk(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY))
                 for frame in read_source(source, {frame for frame in frames if frame >= 0})}
        nothing = np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], bool)

        def one(frame: int) -> tuple[np.ndarray, np.ndarray]:
            if frame not in found:
                return nothing
            matrix = rescaled(self.best.mapping.matrix, width / fake.record.width,
                              found[frame].shape[1] / source.record.width)
            return warp(found[frame], matrix, size, bool(self.best.view.flip))

        pictures, covered = zip(*map(one, frames))
        return np.stack(pictures).astype(np.float32), np.stack(covered)


def find_joint(before: Side, behind: Side, fake: Fake, read_source: ReadSource) -> int:
    """First position of the stretch behind a joint; where it is now, if pictures do not clearly
    tell another one. Raises VideoError."""
    now = behind.first
    around = range(max(before.first, now - REACH), min(behind.last + 1, now + REACH))
    scale = SIDE / max(fake.record.width, fake.record.height)
    width, height = (max(1, round(side * scale)) for side in (fake.record.width,
                                                              fake.record.height))
    shown = np.stack([cv2.resize(
        cv2.cvtColor(fake.pictures.read(fake.frames[position]), cv2.COLOR_BGR2GRAY),
        (width, height), interpolation=cv2.INTER_AREA) for position in around]).astype(np.float32)
    sides = [side.laid(around, fake, (width, height), read_source) for side in (before, behind)]
    covered = sides[0][1] & sides[1][1]
    at = now - around.start
    low, high = _compared_around(covered.any(axis=(1, 2)), at)
    least, most = (max(low, before.first + MIN_STRETCH - around.start),
                   min(high, behind.last + 1 - MIN_STRETCH - around.start))
    alone = slice(low, at - BESIDE), slice(at + BESIDE, high)
    if not least <= at <= most or not all(covered[side].any() for side in alone):
        return now
    pictures = []
    for (picture, _), side in zip(sides, alone):
        gain, offset = fit_channel(shown[side], picture[side], covered[side])
        pictures.append(gain * picture + offset)
    left = [(shown - picture)**2 for picture in pictures]
    noise = _noise(np.concatenate([one[side] for one, side in zip(left, alone)]),
                   np.concatenate([covered[side] for side in alone]))

    def mean(squares: np.ndarray) -> np.ndarray:
        """[T], over the pixels that both cover, in units of the noise."""
        return ((squares / noise * covered).sum(axis=(1, 2))
                / np.maximum(covered.sum(axis=(1, 2)), 1))

    if mean((pictures[0] - pictures[1])**2)[low:high].mean() < APART:
        return now
    # of a frame that goes from the stretch behind to the one before
    costs = np.cumsum([0.0, *(mean(left[0]) - mean(left[1]))])[least:most + 1]
    joint = least + int(np.argmin(costs))
    if joint in (least, most) or costs[at - least] - costs[joint - least] < CLEARLY:
        return now  # at an end of what is looked at: one place may show all of it
    return around.start + joint


def _compared_around(seen: np.ndarray, at: int) -> tuple[int, int]:
    """The run of positions around one that both sides show: first, and behind the last."""
    gaps = np.flatnonzero(~seen)
    before, behind = gaps[gaps < at], gaps[gaps >= at]
    return (int(before[-1]) + 1 if len(before) else 0,
            int(behind[0]) if len(behind) else len(seen))


def _noise(left: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """[h, w], mean square of what one side leaves of each pixel, [T, h, w], where it is covered;
    every pixel's own, and that of most of them."""
    own = (left * covered).sum(axis=0) / np.maximum(covered.sum(axis=0), 1)
    own = cv2.GaussianBlur(own, (0, 0), NOISE_SIGMA)
    return own + np.median(own) + 1
