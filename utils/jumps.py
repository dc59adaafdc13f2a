"""The last look at a path: is a frame of the source missing where nobody saw it go?

A frame dropped near an end of a fake, or from a head that hardly moves, costs motion little, and
small pictures may not show it. Single pixels (utils/held_pair.py) do, but what they say of a path
is no sum over its frames, for each has a noise of its own that the whole path tells. So paths are
not searched but improved: of all that differ from one by a jump more or less, or by its place, the
one that motion and pixels together like best is taken, as long as there is a better one. By the
same measure a few jumps are told from time that runs a little faster or slower.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from utils.held_pair import HeldPair
from utils.matching import Alignment, PairScores, even_offsets
from utils.paths import rate_price, runs_evenly, steady_gain
from utils.straight_line import RATE_PRICES

MOTION_WORTH = 10.0  # of what motion explains, mean energies of a pair, where nothing is held; this
# and the prices were set by hand, after dropped frames of 15 clips that are not used for measuring
JUMP_PRICE = 3.0  # of a frame dropped (or doubled) from a fake
OTHER_PRICE = 20.0  # of one doubled where more were dropped, or the other way round
CLEARLY, SURELY = 8.0, 14.0  # by how much a path must be better than the first; and than a straight
# one of a coarse copy: what such a copy holds looks like doubled frames
FURTHEST = 3  # frames by which a jump changes at once
SLIDES = 4  # frames of the fake by which it is moved
TRIED = 40  # paths that motion and prices like best; their pixels are compared
ROUNDS = 8
LEAST_EXPLAINED = 0.05  # HeldPair.explained() from which on pixels are asked
MOST_FRAMES = 500  # of a fake; the paths around one of them take 60 MB


def improved(scores: PairScores, near: Alignment, usual: Sequence[float], held: HeldPair,
             unchanged: float, clearly: float = CLEARLY) -> Alignment:
    """An alignment, or the path that differs from it by some jumps and is clearly better.

    usual: rates, source frames per fake frame, that paths keep to, but for dropped and doubled
    frames; held: with the mapping that fits the alignment; unchanged:
    held_pixels.unchanged_share() of the fake; clearly: by how much. A straight line of another rate
    stays as it is, and so does what pixels tell little of.
    """
    count = len(near.at)
    if (not tells(scores, near, held) or not 2 < count <= MOST_FRAMES
            or runs_evenly(near) and near.rate not in usual):
        return near
    worth = _worth(scores, unchanged)
    steps = _steps(count, usual)

    def cheapest(paths: np.ndarray) -> tuple[float, np.ndarray]:
        """What motion and pixels leave unexplained, twice a negative log likelihood."""
        costs = _prices(paths, steps) - worth * steady_gain(scores, paths, unchanged)
        tried = np.argsort(costs, kind="stable")[:TRIED]
        costs = costs[tried] + held.misfits(paths[tried])
        return float(costs.min()), paths[tried[costs.argmin()]]

    first, at = cheapest(near.at[None])
    least, best = first, at
    for _ in range(ROUNDS):
        around = _around(at, len(scores.dot), scores.dot.shape[2])
        cost, at = cheapest(around) if len(around) else (np.inf, at)
        if not cost < least:
            break
        least, best = cost, at
    if least > first - clearly:
        return near
    before, after = held.misfits(np.stack([near.at, best]))
    if after >= before:  # motion alone would have it
        return near
    return replace(near, at=best, rate=float(best[-1] - best[0]) / (count - 1))


def or_rate(scores: PairScores, line: Alignment, path: Alignment, usual: Sequence[float],
            fitted: Callable[..., HeldPair], unchanged: float) -> Alignment:
    """A path with jumps, or the straight line at another rate than the usual ones that motion and
    pixels together like no less.

    fitted: the frames of an alignment, one by one -> the pair with the mapping that fits it; the
    other arguments as of improved(). The path where pixels tell little.
    """
    if runs_evenly(path) or not runs_evenly(line) or line.rate in usual:
        return path
    both = [(one, fitted(*one.at)) for one in (line, path)]
    if not all(tells(scores, *pair) for pair in both):
        return path
    prices = rate_price(line.rate, usual, *RATE_PRICES), jump_price(path.at, usual)
    for_line, for_path = (price + unexplained(scores, one.at[None], held, unchanged)[0]
                          for price, (one, held) in zip(prices, both))
    return line if for_line <= for_path else path


def tells(scores: PairScores, one: Alignment, held: HeldPair) -> bool:
    """Whether motion and pixels can be asked for an alignment; held: with the mapping that fits."""
    explained = held.explained(one.at)
    return (explained is not None and explained >= LEAST_EXPLAINED
            and np.diff(one.at).max(initial=0) < len(scores.dot))


def unexplained(scores: PairScores, paths: np.ndarray, held: HeldPair,
                unchanged: float) -> np.ndarray:
    """What motion and pixels leave unexplained of paths [L, n], [L], twice negative log
    likelihoods; arguments as of improved()."""
    return held.misfits(paths) - _worth(scores, unchanged) * steady_gain(scores, paths, unchanged)


def jump_price(at: np.ndarray, usual: Sequence[float]) -> float:
    """Of the jumps of a path [n] that should keep to one of the usual rates."""
    return float(_prices(at[None], _steps(len(at), usual))[0])


def _worth(scores: PairScores, unchanged: float) -> float:
    """Of what motion explains; a coarse copy moves when its encoder lets it."""
    return MOTION_WORTH * (1 - unchanged)**2 / scores.unit


def _steps(count: int, usual: Sequence[float]) -> list[np.ndarray]:
    """Of every straight line at a usual rate, [count - 1]."""
    return [np.diff(even_offsets(count, rate)) for rate in usual]


def _prices(paths: np.ndarray, steps: Sequence[np.ndarray]) -> np.ndarray:
    """Of the jumps in paths [L, n], [L]; steps: [n - 1] of each straight line that they may keep
    to, the one that makes them cheapest."""
    prices = []
    for even in steps:
        moves = np.diff(paths, axis=1) - even
        dropped, doubled = np.maximum(moves, 0).sum(axis=1), np.maximum(-moves, 0).sum(axis=1)
        prices.append(JUMP_PRICE * np.maximum(dropped, doubled)
                      + OTHER_PRICE * np.minimum(dropped, doubled))
    return np.min(prices, axis=0)


def _around(at: np.ndarray, most: int, frames: int) -> np.ndarray:
    """Paths that differ from one [n] by a jump, [L, n].

    most: steps from a frame to the next are smaller than that; frames: of the source.
    """
    paths = np.array(list(_changed(at)))
    return paths[is_path(paths, most, frames)]


def is_path(paths: np.ndarray, most: int, frames: int) -> np.ndarray:
    """Which of some paths [L, n] stay in the source and never turn back or go too far, [L];
    arguments as of _around()."""
    moves = np.diff(paths, axis=1)
    return ((paths[:, 0] >= 0) & (paths[:, -1] < frames)
            & (moves.min(axis=1) >= 0) & (moves.max(axis=1) < most))


def _changed(at: np.ndarray) -> Iterator[np.ndarray]:
    """Paths as a whole one frame on or back; with a jump more, less, or elsewhere."""
    yield from (at - 1, at + 1)
    frames = np.arange(len(at))
    for cut in frames[1:]:
        for by in [by for far in range(1, FURTHEST + 1) for by in (far, -far)]:
            yield at + by * (frames >= cut)
            yield at - by * (frames < cut)
        jump = int(at[cut] - at[cut - 1]) - 1
        if jump > 0:
            for other in range(max(1, cut - SLIDES), min(len(at), cut + SLIDES + 1)):
                if other != cut:
                    between = (frames >= min(cut, other)) & (frames < max(cut, other))
                    yield at + (jump if other < cut else -jump) * between
