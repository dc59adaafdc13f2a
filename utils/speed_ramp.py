"""Time that runs faster and faster, or slower and slower, as in a speed ramp: a path whose rate
changes evenly.

A straight line, or one with jumps, fits some of such a fake. Curves around it are tried, those that
motion likes best are changed as long as motion and pixels together like it better, and the best one
is taken where it is clearly better.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from utils.held_pair import HeldPair
from utils.jumps import CLEARLY, MOST_FRAMES, ROUNDS, TRIED, is_path, tells, unexplained
from utils.matching import Alignment, PairScores
from utils.paths import steady_gain

FEWEST_BENT = 12  # frames of a fake, from which on it may be a ramp
BENDS, MOST_BENT = 12, 0.15  # of a ramp: how many are tried either way, and by which share of the
# fake's frames it may leave a straight line, as with rates from 0.4 to 1.6
PLACES, ELSEWHERE = 17, (4.0, 15.0)  # of it: how many are tried, and turns about its middle as many;
# and by how many frames, as many as it is bent by, but within these bounds; ends turn twice as far
AS_FRAMES = np.array([[1, 1, 1], [-1 / 2, 0, 1 / 2], [-2 / 3, 1 / 3, -2 / 3]])  # what moves it,
# turns and bends it, as frames at its beginning, in its middle and at its end
NEARER = np.array([-1.0, -0.25, 0.0, 0.25, 1.0])  # frames by which all three are changed at last
FIRST_ONES, APART = 3, 3.0  # how many are changed so, frames by which one of the three differs
ROUGHLY = 400  # pixels by which they are compared until then
HOPELESS = 60.0  # by how much the best one may be worse than the first before that
BY_PIXELS = 3.0  # by how much pixels alone must like it better; with these, no fake of 15 clips that
# are not used for measuring was bent for the worse


def or_bent(scores: PairScores, path: Alignment, fitted: Callable[..., HeldPair], unchanged: float,
            clearly: float = CLEARLY) -> Alignment:
    """A path, or the one near it along which the rate changes evenly and that motion and pixels
    together like clearly better, and pixels alone better.

    The arguments as of improved() and or_rate().
    """
    count = len(path.at)
    if not FEWEST_BENT <= count <= MOST_FRAMES:
        return path
    held = fitted(*path.at)
    if not tells(scores, path, held):
        return path
    rough = held.thinned(ROUGHLY)
    fits_roughly = cache(lambda *at: rough.corrected(np.array(at)))

    def costs(paths: np.ndarray, held: HeldPair) -> np.ndarray:
        return unexplained(scores, paths, held, unchanged)

    def likeliest(terms: np.ndarray, held: HeldPair, most: int) -> tuple[np.ndarray, ...]:
        """Of the `most` curves that motion likes best the costs, the terms and the paths, the
        cheapest first."""
        paths = _curves(terms, count)
        there = is_path(paths, len(scores.dot), scores.dot.shape[2])
        paths, which = np.unique(paths[there], axis=0, return_index=True)
        tried = np.argsort(-steady_gain(scores, paths, unchanged), kind="stable")[:most]
        found = costs(paths[tried], held)
        order = np.argsort(found, kind="stable")
        return found[order], terms[there][which[tried[order]]], paths[tried[order]]

    def polished(terms: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The path that a curve leads to, changed as long as that makes it better."""
        for _ in range(ROUNDS):
            before = at  # which is one of those that are tried
            _, near, paths = likeliest(terms + changes, fits_roughly(*at), len(changes))
            terms, at = near[0], paths[0]
            if np.array_equal(at, before) or abs(at - path.at).max() <= 1:  # or it is the first
                break
        return at

    changes = _every(NEARER, NEARER, NEARER)
    changes = changes[(changes != 0).sum(axis=1) < 3]
    bends = np.linspace(1.0, max(1.0, MOST_BENT * count), BENDS)
    aside = np.clip(MOST_BENT * count, *ELSEWHERE) * np.linspace(-1, 1, PLACES)
    around = _every(aside, 2 * aside, np.r_[bends, -bends]) @ AS_FRAMES
    found, terms, paths = likeliest(_straight(path.at) + around, rough, 3 * TRIED)
    if not len(found) or found[0] > costs(path.at[None], rough)[0] + HOPELESS:
        return path
    chosen: list[int] = []
    for one in range(len(found)):
        if len(chosen) < FIRST_ONES and all(abs(terms[one] - terms[other]).max() > APART
                                            for other in chosen):
            chosen.append(one)
    best = min((polished(terms[one], paths[one]) for one in chosen),
               key=lambda at: costs(at[None], fitted(*at))[0])
    (before, first), (after, last) = (
        (float(costs(at[None], pair)[0]), float(pair.misfits(at[None])[0]))
        for at, pair in ((path.at, fitted(*path.at)), (best, fitted(*best))))
    if after > before - clearly or last > first - BY_PIXELS:
        return path
    return replace(path, at=best, rate=float(best[-1] - best[0]) / (count - 1))


def _curves(terms: np.ndarray, count: int) -> np.ndarray:
    """Paths [L, count] whose rate changes evenly, through frames [L, 3] at their beginning, in their
    middle and at their end."""
    time = np.linspace(0, 1, count)
    shapes = np.stack([(1 - time) * (1 - 2 * time), 4 * time * (1 - time), time * (2 * time - 1)])
    return np.floor(terms @ shapes + 0.5).astype(int)


def _straight(at: np.ndarray) -> np.ndarray:
    """Where the straight line that fits a path [n] best begins, is in the middle, and ends, [3]."""
    time = np.linspace(0, 1, len(at))
    return np.polyval(np.polyfit(time, at, 1), [0, 0.5, 1])


def _every(*choices: np.ndarray) -> np.ndarray:
    """All combinations of one value out of each of three choices, [L, 3]."""
    return np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, 3)
