"""Which source frame does each frame of a fake show? Pictures tell what motion cannot.

Motion between two frames hardly changes from one frame to the next, so that a dropped frame near
an end of a fake costs it little. Where the head is changes with every frame. So every frame of the
fake is compared with every source frame near its place: grey pictures of the person, without their
means over time, which the face, the clothes and the light decide. A dynamic programme over both
kinds of evidence (utils/paths.py) gives the path.

A path that may jump freely follows noise: a jump is expected where the rest of the fake has shown
jumps, and dear where it has not. Where motion shows no jump at all pictures are not asked: coarse
copies lag, for blocks that the encoder skips still show the frame before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from models.pose import PoseClip, levelled
from utils.matching import Alignment, PairScores, sample_offsets
from utils.paths import MOST_MOVES, least_path

INDEPENDENT = 30.0  # as many values tell frames apart, however many pixels there are: neighbours
# share their noise
MOTION_WORTH = 10.0  # what an explained pair of frames is worth beside them
DEAREST, CHEAPEST = 8.0, 3.0  # of a jump: twice the log odds of none, in fakes without and full
RARE = 0.1  # jumps that are expected in a fake of any length
ROUNDS = 5
SEEN = 0.3  # least share of a pixel that is person
LEAST_PIXELS = 20
NOISE = 1.0  # squared grey levels that every pixel has at least
CONTRAST = (0.3, 1.5)  # of the copy, range
REACH = 2  # frames that a path may leave a line by, beside those of utils/paths.py
MOST_FRAMES = 3000  # of a fake; 100 MB of pictures
FAR = 1e6  # cost of a frame that was not looked at


@dataclass(frozen=True)
class PicturePair:
    """The person of a fake and of the frames around its place in a source, in one square."""

    fake: PoseClip  # [n, S, S]
    source: np.ndarray  # [m, S, S] uint8
    first: int  # frame of the source, as its scores count them, that source[0] is

    @cached_property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Grey values of the fake [n, p] and of the source [m, p] where the fake shows its person,
        without the mean of every frame."""
        weight = self.fake.weight.mean(0)
        return tuple(levelled(grey, weight)[:, weight > SEEN]
                     for grey in (self.fake.grey, self.source))


def picture_costs(pair: PicturePair, at: np.ndarray) -> np.ndarray | None:
    """How little every frame of the fake looks like every frame of the source, [n, m].

    at: [n] frames of pair.source that it shows as far as is known; they tell contrast and noise. In
    units of the noise, for INDEPENDENT pixels; None where too little of a person is seen.
    """
    fake, source = pair.values
    if fake.shape[1] < LEAST_PIXELS:
        return None
    fake, source = fake - fake.mean(0), source - source[at].mean(0)
    along = source[at]
    source *= np.clip((fake * along).sum() / max(float((along**2).sum()), 1e-6), *CONTRAST)
    deviation = np.sqrt((fake - source[at]).var(0) + NOISE)
    costs = _squared_distances(fake / deviation, source / deviation)
    return costs * (INDEPENDENT / max(float(np.median(costs.min(1))), 1e-6))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, p] and [m, p] -> [n, m]."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def follow_pictures(scores: PairScores, near: Alignment, usual: Sequence[float],
                    pair: PicturePair) -> Alignment:
    """The path near an alignment that motion and pictures together explain best.

    usual: rates, source frames per fake frame, of straight lines that it may keep to. Returns the
    alignment itself where pictures tell nothing.
    """
    unit = (float(scores.fake_energy.mean()) + 1e-6) / MOTION_WORTH
    price, at = DEAREST, near.at
    if len(at) > MOST_FRAMES:
        return near
    for _ in range(ROUNDS):
        costs = picture_costs(pair, np.clip(at - pair.first, 0, len(pair.source) - 1))
        if costs is None:
            return near
        look = partial(_look, costs * unit, pair.first)
        path, rate, jumps = _best_path(scores, near, at, usual, look, price * unit)
        settled = np.array_equal(path, at)
        at, before = path, price
        share = min((jumps + RARE) / (len(at) + 2 * RARE), 0.5)
        price = float(np.clip(2 * np.log(1 / share - 1), CHEAPEST, DEAREST))
        if settled and price == before:
            break
    if jumps > max(2, MOST_MOVES * len(at)):
        return near
    mean_rate = float(at[-1] - at[0]) / max(1, len(at) - 1)
    return Alignment(near.score, at, mean_rate if jumps else rate, near.phase)


def _look(costs: np.ndarray, first: int, index: int, frames: np.ndarray) -> np.ndarray:
    """Costs of one frame of the fake at frames of the source; FAR where none was read."""
    inside = (frames >= first) & (frames < first + costs.shape[1])
    return np.where(inside, costs[index, np.where(inside, frames - first, 0)], FAR)


def _best_path(scores: PairScores, near: Alignment, at: np.ndarray, usual: Sequence[float],
               look: Callable[[int, np.ndarray], np.ndarray],
               price: float) -> tuple[np.ndarray, float, int]:
    """The cheapest path along the alignment or along a straight line through an end of it or of
    the path so far: frames [n], the rate of its line, and how many frames it jumps."""
    lines = [(near.at, near.rate, 0.0 if near.rate in usual else price)]
    for rate in usual:
        line = sample_offsets(len(at), rate, 0.5 if rate % 1 else 0.0)
        starts = {int(ends[0]) for ends in (at, near.at)} | {
            int(ends[-1] - line[-1]) for ends in (at, near.at)}
        lines += [(start + line, rate, 0.0) for start in sorted(starts)]
    found = []
    for line, rate, extra in lines:
        cost, path = least_path(scores, line, REACH, price, look)
        found.append((cost + extra, path, rate, int(np.abs(np.diff(path - line)).sum())))
    return min(found, key=lambda f: f[0])[1:]
