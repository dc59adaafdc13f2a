"""Which straight line does a fake follow in its source: which start, which rate, to the frame?

Motion between two frames hardly changes from one frame to the next, and a coarse copy moves when
its encoder lets it. Single pixels know better (utils/held_pair.py). Every line near the place
that motion found is judged by both; what is left to the others beside the best one tells how
certain its frames are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from utils.held_pair import HeldPair
from utils.matching import (FAR_RATES, PHASES, RATES, Alignment, PairScores, middle_phase,
                            sample_offsets)
from utils.paths import rate_price, runs_evenly, steady_gain

REACH, NARROW = 8, 4  # frames by which the start of a line may be moved; at an unusual rate
FINALISTS, CLOSE = 4, 2  # lines whose mapping is fitted, too, and by how much they are moved then:
# to another picture also where a source shows every one twice
ROUNDS = 3  # of all that, each with the mapping that fits the line found before
SWING = 12  # frames by which a line of another rate may leave the ends
MOTION_WORTH = 0.5  # of what motion explains, mean energies of a pair, where nothing is held; these
# and the prices were set by hand, on fakes of 15 clips that are not used for measuring
LAST_WORTH = 7.0  # the same, between lines whose ends are CLOSE to each other's: in fine
# copies motion tells them apart better than pixels do; set by hand, too, on those fakes
SURER = 3.0  # times as much as they say can costs be believed; found on coarse copies of 15 clips
# that are not used for measuring
RATE_PRICES = 4.0, 6.0  # of a rate of RATES, and of any other, but for the usual ones


def likeliest_line(scores: PairScores, near: Alignment, usual: Sequence[float], held: HeldPair,
                   unchanged: float) -> Alignment:
    """An alignment, or a straight line near it, moved to where motion and pixels together have it.

    usual: rates, source frames per fake frame, that cost nothing; held: with the mapping that fits
    the alignment; unchanged: held_pixels.unchanged_share() of the fake. The alignment itself where
    pixels tell nothing.
    """
    for _ in range(ROUNDS):
        line = _likelier(scores, near, usual, held, unchanged)
        if np.array_equal(line.at, near.at):
            break
        # the mapping that fits the alignment may have spoken for it
        near, held = line, held.corrected(line.at)
    return line


def _likelier(scores: PairScores, near: Alignment, usual: Sequence[float], held: HeldPair,
              unchanged: float) -> Alignment:
    """The likeliest one by the mapping that fits the alignment, as likeliest_line()."""
    if not held.tells:
        return near
    usually, at_last = _worths(scores, unchanged)

    @cache  # the last lines are looked at up to three times
    def misfit(*at: int) -> float:
        return held.fitted(np.array(at))[0]

    def cheapest(line: Alignment, reach: int, fitted: bool = False,
                 worth: float = usually) -> tuple[float, Alignment]:
        """What motion and pixels leave unexplained, twice a negative log likelihood."""
        moved = _moved(scores, line, reach)
        if not len(moved):
            return np.inf, near
        pixels = np.array([misfit(*at) for at in moved]) if fitted else held.misfits(moved)
        total = pixels - worth * steady_gain(scores, moved, unchanged)
        return (float(total.min()) + rate_price(line.rate, usual, *RATE_PRICES),
                replace(line, at=moved[total.argmin()]))

    def best(found: Iterable[tuple[float, Alignment]]) -> list[Alignment]:
        return [line for _, line in sorted(found, key=lambda one: one[0])]

    lines = [_line(near, rate, middle_phase(rate)) for rate in _rates_near(near, usual)]
    if np.array_equal(lines[0].at, near.at):
        del lines[0]  # the alignment itself
    lines.insert(0, near)
    lines = best(cheapest(line, REACH if line is near or line.rate in usual else NARROW)
                 for line in lines)
    # the mapping that fits one line best may not be the one of the others
    lines = best(cheapest(line, CLOSE, True) for line in lines[:FINALISTS])
    others = [_line(lines[0], lines[0].rate, phase) for phase in PHASES if lines[0].rate % 1]
    lines = [*best(cheapest(line, CLOSE, True) for line in [lines[0], *others]), *lines[1:]]
    return best(cheapest(line, CLOSE, True, at_last) for line in lines
                if _are_close(line.at, lines[0]))[0]


def certainty(scores: PairScores, found: Alignment, usual: Sequence[float], held: HeldPair,
              unchanged: float) -> float | None:
    """Probability that an alignment's first frame is right to a frame, and its last one to two, if
    its place is right: as motion and pixels have it, beside all lines near it.

    held: with the mapping that fits the alignment; the other arguments as of likeliest_line(). None
    where pixels tell nothing.
    """
    if not held.tells:
        return None
    rates = _rates_near(found, usual) if runs_evenly(found) else [found.rate]
    lines = [found, *(_line(found, rate, middle_phase(rate)) for rate in rates[1:])]
    moved = [_moved(scores, line, REACH if line.rate in (found.rate, *usual) else NARROW)
             for line in lines]
    every = np.concatenate(moved)
    prices = np.repeat([rate_price(line.rate, usual, *RATE_PRICES) for line in lines],
                       [len(part) for part in moved])
    usually, at_last = _worths(scores, unchanged)
    gain = (steady_gain(scores, every, unchanged)
            - steady_gain(scores, found.at[None], unchanged))
    # a line beside it has to explain as much motion; that it explains more is no news
    worth = np.where(_are_close(every, found) & (gain < 0), at_last, usually)
    costs = held.misfits(every) + prices - worth * gain
    likely = np.exp(-SURER / 2 * (costs - costs.min(initial=np.inf)))
    right = (abs(every[:, 0] - found.start) <= 1) & (abs(every[:, -1] - found.end) <= 2)
    return float(likely[right].sum() / likely.sum()) if right.any() else None


def _worths(scores: PairScores, unchanged: float) -> tuple[float, float]:
    """Of what motion explains, and when only frames next to each other are left."""
    usually = MOTION_WORTH * (1 - unchanged) / scores.unit
    return usually, max(usually, LAST_WORTH * (1 - unchanged)**3 / scores.unit)


def _rates_near(near: Alignment, usual: Sequence[float]) -> list[float]:
    """Rates of lines through the middle of an alignment that stay near its ends; its own first."""
    known = RATES if min(RATES) <= near.rate <= max(RATES) else (*RATES, *FAR_RATES)
    return [rate for rate in dict.fromkeys([near.rate, *usual, *known])
            if abs(rate - near.rate) * len(near.at) / 2 <= SWING]


def _moved(scores: PairScores, line: Alignment, reach: int) -> np.ndarray:
    """A line moved by up to so many frames, [L, n], where it stays in the source."""
    moves = np.arange(-reach, reach + 1)
    moves = moves[(line.start + moves >= 0) & (line.end + moves < scores.dot.shape[2])]
    if np.diff(line.at).max(initial=0) >= len(scores.dot):
        moves = moves[:0]
    return line.at + moves[:, None]


def _are_close(lines: np.ndarray, other: Alignment) -> np.ndarray:
    """Whether neither end of lines [..., n] is further than CLOSE from another line's, [...]."""
    return np.maximum(abs(lines[..., 0] - other.start), abs(lines[..., -1] - other.end)) <= CLOSE


def straightened(path: Alignment) -> Alignment:
    """The straight line of a path's mean rate through its middle."""
    return _line(path, path.rate, middle_phase(path.rate))


def _line(near: Alignment, rate: float, phase: float) -> Alignment:
    """The straight line of a rate through the middle of an alignment."""
    at = sample_offsets(len(near.at), rate, phase)
    return Alignment(near.score, at + round((near.start + near.end - at[-1]) / 2), rate, phase)
