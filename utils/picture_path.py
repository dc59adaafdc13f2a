"""Which source frame does each frame of a fake show? Pictures tell what motion cannot.

Motion between two frames hardly changes from one frame to the next, so that a dropped frame near
an end of a fake costs it little. Where the head is changes with every frame. So every frame of the
fake is compared with every source frame near its place: edges and fine detail of the person, which
move with the head, without their means over time, which the face, the clothes and the light decide.
A dynamic programme over both kinds of evidence (utils/paths.py) gives the path.

A path that may jump freely follows noise: a dropped frame is expected where the rest of the fake
has shown some, a doubled one likewise, and dear where it has not. And it has to explain the fake
clearly better than the best straight line (utils/straight_line.py) does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np

from models.pose import PoseClip
from utils.matching import Alignment, PairScores, even_offsets
from utils.paths import least_path, path_gain, rate_price, runs_evenly
from utils.pixel_sample import SEEN
from utils.straight_line import RATE_PRICES

INDEPENDENT = 30.0  # as many values tell frames apart, however many pixels there are: neighbours
# share their noise
MOTION_WORTH = 10.0  # what an explained pair of frames is worth beside them
DEAREST, CHEAPEST = 8.0, 3.0  # of a jump: twice the log odds of none, in fakes without and full
RARE = 0.1  # jumps that are expected in a fake of any length
ROUNDS = 5
PARTS = 4  # of a fake, each judged by what the others say of contrast and noise
DETAILS = 3  # values of a pixel, see details()
LEAST_PIXELS = 20
NOISE = 0.1  # variance that every value has at least
DETAIL_SIGMA, EDGE_SIGMA = 4.0, 1.0  # pixels: detail is what a blur takes away, edges are softened
SURE, SOFT = 4.0, 0.5  # frames that differ by SOFT are told apart SURE ln 2 well (twice the log
# likelihood); set by hand after dropped frames of 15 clips that are not used for measuring
MOST_CONTRAST = 1.5  # of a single value of it; what the copy shows nothing of has none
REACH = 2  # frames that a path may leave a line by, beside those of utils/paths.py
MOST_JUMPS = 0.25  # of the frames; what jumps more often is no path
CLEARLY = 8.0  # by how much a path must be cheaper than a straight line
MOST_FRAMES = 2000  # of a fake that is compared; 100 MB at most, and as much of the source
FAR = 1e6  # cost of a frame that was not looked at


@dataclass(frozen=True)
class PicturePair:
    """The person of a fake and of the frames around its place in a source, in one square."""

    fake: PoseClip  # [n, S, S]
    source: np.ndarray  # [m, S, S] uint8
    first: int  # frame of the source, as its scores count them, that source[0] is

    @cached_property
    def person(self) -> np.ndarray:
        """[S, S] bool, where the fake shows its person."""
        return self.fake.weight.mean(0) > SEEN

    @property
    def tells(self) -> bool:
        """Whether enough of a person is seen for frames to be told apart."""
        return DETAILS * int(self.person.sum()) >= LEAST_PIXELS

    @cached_property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """details() of the fake [n, p] and of the source [m, p] where the fake shows its person."""
        return tuple(np.stack([details(grey)[:, self.person].ravel() for grey in clip])
                     for clip in (self.fake.grey, self.source))

    @cached_property
    def renewed(self) -> np.ndarray | None:
        """Share of each of the fake's values that is not held from the frame before, [n, p]; of
        the first one all; None where nothing is known to be held."""
        if self.fake.renewed is None:
            return None
        return np.tile(self.fake.renewed[:, self.person] / np.float32(255), DETAILS)

    def nearest(self, at: np.ndarray) -> np.ndarray:
        """Positions in `source` of frames as its scores count them; the ends' for those beyond."""
        return np.clip(at - self.first, 0, len(self.source) - 1)


def details(grey: np.ndarray) -> np.ndarray:
    """[S, S] grey levels -> [DETAILS, S, S] float32: fine detail, and slopes across and down."""
    grey = grey.astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), EDGE_SIGMA)
    return np.stack([grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_SIGMA),
                     cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)])


def picture_costs(pair: PicturePair, at: np.ndarray) -> np.ndarray | None:
    """How little every frame of the fake looks like every frame of the source, [n, m].

    at: [n] frames of pair.source that it shows as far as is known; they tell the contrast and the
    noise of every value. Those of other parts of the fake do, for a frame would speak for itself.
    In units of the noise, for INDEPENDENT pixels; None where too little of a person is seen.
    """
    if not pair.tells:
        return None
    fake, source = pair.values
    costs, frames = np.zeros((len(fake), len(source)), np.float32), np.arange(len(fake))
    for part in np.array_split(frames, min(PARTS, len(fake))):
        others = np.delete(frames, part)
        costs[part] = _distances(fake, source, others, at[others], part)
    return costs * (INDEPENDENT / max(float(np.median(costs.min(1))), 1e-6))


def _distances(fake: np.ndarray, source: np.ndarray, frames: np.ndarray, at: np.ndarray,
               wanted: np.ndarray) -> np.ndarray:
    """Of wanted frames of the fake from all of the source, in units of the noise, [w, m]; contrast
    and noise are those of other frames of the fake beside those `at` which they show."""
    known, shown = fake[frames], source[at]
    level, base = known.mean(0), shown.mean(0)
    known, shown = known - level, shown - base
    contrast = np.clip((known * shown).sum(0) / ((shown**2).sum(0) + 1e-6), 0, MOST_CONTRAST)
    deviation = np.sqrt(((known - contrast * shown)**2).mean(0) + NOISE)
    return _squared_distances((fake[wanted] - level) / deviation,
                              (source - base) * (contrast / deviation))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, p] and [m, p] -> [n, m]."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)


def follow_pictures(scores: PairScores, near: Alignment, usual: Sequence[float],
                    pair: PicturePair) -> Alignment:
    """The path near an alignment that motion and pictures together explain best.

    usual: rates, source frames per fake frame, of straight lines that it may keep to. Returns the
    alignment itself where pictures tell nothing.
    """
    unit = motion_unit(scores)
    prices, at = (DEAREST, DEAREST), near.at
    for _ in range(ROUNDS):
        costs = picture_costs(pair, pair.nearest(at))
        if costs is None:
            return near
        look = partial(_look, _sure(costs) * unit, pair.first)
        path, rate, jumps = _best_path(scores, near, at, usual, look,
                                       tuple(price * unit for price in prices))
        settled = np.array_equal(path, at)
        at, before = path, prices
        prices = tuple(_price(number, len(at)) for number in jumps)
        if settled and prices == before:
            break
    jumps = sum(jumps)
    if jumps > max(2, MOST_JUMPS * len(at)):
        return near
    mean_rate = float(at[-1] - at[0]) / max(1, len(at) - 1)
    return Alignment(near.score, at, mean_rate if jumps else rate, near.phase)


def or_dropped(scores: PairScores, line: Alignment, near: Alignment, usual: Sequence[float],
               pair: PicturePair) -> Alignment:
    """A straight line, or, if it explains the fake clearly better, the path from which frames were
    dropped (or into which some were doubled).

    near: what motion found. Where it runs evenly, and the line has a usual rate, nothing was
    dropped; where it does not, both may have been. usual: as in follow_pictures().
    """
    even = runs_evenly(near)
    if not pair.tells or even and line.rate in usual:
        return line
    path = follow_pictures(scores, line if even else near, usual, pair)
    count = len(line.at)
    moves = min((np.diff(path.at - even_offsets(count, rate)) for rate in usual),
                key=lambda moves: np.abs(moves).sum())
    jumps = int(np.abs(moves).sum())
    noisy = even and jumps > abs(int(moves.sum()))  # of both kinds: it follows a rate, or noise
    if not jumps or noisy:
        return line
    least = _cost(scores, path.at, pair) + jumps * _price(jumps, count) + CLEARLY
    return path if least < (_cost(scores, line.at, pair)
                            + rate_price(line.rate, usual, *RATE_PRICES)) else line


def _cost(scores: PairScores, at: np.ndarray, pair: PicturePair) -> float:
    """What motion and pictures leave unexplained along a path."""
    shown = pair.nearest(at)
    pictures = _sure(picture_costs(pair, shown))[np.arange(len(at)), shown]
    return float(pictures.sum() - path_gain(scores, at).sum() / motion_unit(scores))


def motion_unit(scores: PairScores) -> float:
    """Motion that is worth as much as a unit of _sure()."""
    return scores.unit / MOTION_WORTH


def _price(jumps: int, frames: int) -> float:
    """Of one more jump, where a fake of that many frames has shown so many."""
    share = min((jumps + RARE) / (frames + 2 * RARE), 0.5)
    return float(np.clip(2 * np.log(1 / share - 1), CHEAPEST, DEAREST))


def _sure(costs: np.ndarray) -> np.ndarray:
    """Costs as twice negative log likelihoods, against the best frame's. Small differences tell
    more than independent noise would have it, and large ones less."""
    return SURE * np.log1p((costs - costs.min(axis=1, keepdims=True)) / SOFT)


def _look(costs: np.ndarray, first: int, index: int, frames: np.ndarray) -> np.ndarray:
    """Costs of one frame of the fake at frames of the source; FAR where none was read."""
    inside = (frames >= first) & (frames < first + costs.shape[1])
    return np.where(inside, costs[index, np.where(inside, frames - first, 0)], FAR)


def _best_path(scores: PairScores, near: Alignment, at: np.ndarray, usual: Sequence[float],
               look: Callable[[int, np.ndarray], np.ndarray],
               prices: tuple[float, float]) -> tuple[np.ndarray, float, tuple[int, int]]:
    """The cheapest path along the alignment or along a straight line through an end of it or of
    the path so far: frames [n], the rate of its line, and how many frames are dropped and doubled.

    prices: of a dropped and of a doubled frame.
    """
    lines = []
    if runs_evenly(near):
        lines.append((near.at, near.rate, REACH, 0.0 if near.rate in usual else max(prices)))
    for rate in usual:
        line = even_offsets(len(at), rate)
        starts = {int(ends[0]) for ends in (at, near.at)} | {
            int(ends[-1] - line[-1]) for ends in (at, near.at)}
        lines += [(start + line, rate, REACH + abs(int(at[-1] - start - line[-1])), 0.0)
                  for start in sorted(starts)]
    found = []
    for line, rate, reach, extra in lines:
        cost, path = least_path(scores, line, reach, prices, look)
        moves = np.diff(path - line)
        found.append((cost + extra, path, rate, (int(moves[moves > 0].sum()),
                                                 int(-moves[moves < 0].sum()))))
    return min(found, key=lambda f: f[0])[1:]
