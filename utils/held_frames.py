"""Coarse copies show the past: by how many frames does that shift the place that was found?

A coarse encoder skips what changes little, so that a frame of such a fake may still show what the
source showed some frames before, until a refresh. What motion and pictures agree with best then
begins too early. Whether a copy is coarse its pictures tell: where nothing was coded, textured
blocks do not change at all. Three kinds of evidence tell where it begins: which pixels it shows
anew and which it holds (utils/held_pixels.py); its motion; and a hidden Markov model (Rabiner 1989)
of the lag of whole frames: a frame holds the picture of the one before, which adds to its lag, or
is refreshed, mostly to no lag at all, and the first frame of a file has none. The start under which
the fake's pictures are most probable is the true one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from utils.held_pixels import REACH, misfits
from utils.matching import PHASES, Alignment, PairScores, middle_phase, sample_offsets
from utils.paths import path_gain, rate_price
from utils.picture_path import PicturePair, motion_unit, picture_costs
from utils.threads import on_threads

BLOCK = 8  # pixels of a block that an encoder may skip
TEXTURE = 4.0  # grey levels, standard deviation in a block: a flat one tells nothing
PERSON = 200  # mean mask of a block on the person
PAIRS = 8  # of successive frames that are compared
LEAST_BLOCKS = 4
COARSE = 0.25  # share of unchanged blocks from which on a fake may lag
LEAD, MOST_LAG = 2, 9  # frames that a refreshed picture may be ahead, through noise, and behind
LEAST = 60.0  # largest cost, so that no single frame decides
PIXELS_WORTH, LAGS_WORTH, MOTION_WORTH = 3.0, 0.3, 0.05  # of the evidence, which is not
# independent; set by hand, as the prices, on coarse fakes of 15 clips that are not used for
# measuring, by six encoders
RATE_PRICES = 4.0, 6.0  # of a rate of RATES, and of any other, but for the usual ones
SWING = 12  # frames by which a line of a usual rate may leave the ends

# how lags go, in fine, middling and coarse copies: share of frames that are held, and of refreshed
# ones the weights of being LEAD ... 1 frames ahead, in time, and 1 ... MOST_LAG behind; set by hand
# after the lags of fakes of 15 clips that are not used for measuring
_KINDS = ((0.01, (2, 10, 1000, 10, 4, 2, 1, 1, 1, 1, 1, 1)),
          (0.15, (3, 20, 800, 100, 30, 20, 10, 10, 5, 5, 5, 5)),
          (0.5, (5, 30, 550, 200, 100, 50, 30, 20, 20, 10, 10, 10)))
_FIRST = (2, 20, 1000, 50, 20, 10, 10, 10, 5, 5, 5, 5)  # of a file's first frame
# log odds of a fine and of a middling copy against a coarse one, by the share of unchanged blocks
_ODDS = ((100, 0.35), (30, 0.45))


def unchanged_share(picture: Callable[[int], np.ndarray], mask: Callable[[int], np.ndarray],
                    frames: Sequence[int]) -> float:
    """Share of the person's textured blocks that do not change at all from one frame to the next.

    picture, mask: frame number -> [H, W, 3] uint8 BGR, and [H, W] uint8; frames: of the fake, in
    order. 0 where there is too little to see.
    """
    def share(first: int) -> float | None:
        one, other = picture(frames[first]), picture(frames[first + 1])
        if one.shape != other.shape:
            return None
        still = _blocks(cv2.absdiff(one, other).max(axis=2)).max(axis=(1, 3)) == 0
        grey = _blocks(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY))
        person = _blocks(mask(frames[first])).mean(axis=(1, 3)) > PERSON
        seen = person & (grey.std(axis=(1, 3)) > TEXTURE)
        return float(still[seen].mean()) if seen.sum() >= LEAST_BLOCKS else None

    pairs = len(frames) - 1
    shares = [found for found in on_threads(share, range(0, pairs, max(1, pairs // PAIRS)))
              if found is not None]
    return float(np.mean(shares)) if shares else 0.0


def _blocks(picture: np.ndarray) -> np.ndarray:
    """[H, W] -> [H / BLOCK, BLOCK, W / BLOCK, BLOCK], what is left over cut off."""
    down, across = (side // BLOCK for side in picture.shape)
    return picture[:down * BLOCK, :across * BLOCK].reshape(down, BLOCK, across, BLOCK)


def caught_up(scores: PairScores, near: Alignment, usual: Sequence[float], pair: PicturePair,
              unchanged: float) -> Alignment:
    """An alignment, or a straight line of its or of a usual rate near it, moved to where a copy
    that holds frames most probably begins, as its motion and its pictures have it.

    usual: rates, source frames per fake frame, that cost nothing; pair: its fake's pixels say what
    was renewed; unchanged: unchanged_share() of the fake. The alignment itself where pictures tell
    nothing.
    """
    costs = picture_costs(pair, pair.nearest(near.at))
    if costs is None:
        return near
    sign = -1 if pair.fake.backwards else 1
    moves, unit = sign * np.arange(-REACH, REACH + 1), motion_unit(scores)

    def cheapest(line: Alignment) -> tuple[float, Alignment]:
        inside = (line.start + moves >= 0) & (line.end + moves < scores.dot.shape[2])
        if not inside.any() or np.diff(line.at).max(initial=0) >= len(scores.dot):
            return np.inf, near
        at = (line.at - pair.first)[::sign]
        likely = start_likelihoods(_beside(costs[::sign], at, sign), np.abs(np.diff(at)), unchanged)
        moved = line.at + moves[inside, None]
        total = (PIXELS_WORTH * misfits(pair, moved)
                 - LAGS_WORTH * likely[inside]
                 - MOTION_WORTH * path_gain(scores, moved).sum(axis=1) / unit
                 + rate_price(line.rate, usual, *RATE_PRICES))
        return float(total.min()), replace(line, at=moved[total.argmin()])

    lines = [_line(near, rate, middle_phase(rate)) for rate in dict.fromkeys([near.rate, *usual])
             if abs(rate - near.rate) * len(near.at) / 2 <= SWING]
    if np.array_equal(lines[0].at, near.at):
        del lines[0]  # the alignment itself
    best = min(map(cheapest, [near, *lines]), key=lambda found: found[0])
    rate = best[1].rate
    others = [_line(near, rate, phase) for phase in PHASES
              if rate % 1 and phase != middle_phase(rate)]
    return min([best, *map(cheapest, others)], key=lambda found: found[0])[1]


def _line(near: Alignment, rate: float, phase: float) -> Alignment:
    """The straight line of a rate through the middle of an alignment."""
    at = sample_offsets(len(near.at), rate, phase)
    return Alignment(near.score, at + round((near.start + near.end - at[-1]) / 2), rate, phase)


def _beside(costs: np.ndarray, at: np.ndarray, sign: int) -> np.ndarray:
    """Costs [n, m] of all source frames -> [n, u] of those -(REACH + MOST_LAG) ... REACH + LEAD
    frames after `at`, in the fake's direction; the largest of all where there is none."""
    wanted = at[:, None] + sign * np.arange(-(REACH + MOST_LAG), REACH + LEAD + 1)
    inside = (wanted >= 0) & (wanted < costs.shape[1])
    found = np.take_along_axis(costs, np.clip(wanted, 0, costs.shape[1] - 1), axis=1)
    return np.where(inside, found, costs.max() + LEAST)


def start_likelihoods(costs: np.ndarray, steps: np.ndarray, unchanged: float) -> np.ndarray:
    """Log likelihood of every move of the start, -REACH ... REACH frames, [2 REACH + 1].

    costs: [n, u] as _beside() gives them, twice negative log likelihoods; steps: [n - 1] source
    frames from one frame to the next.
    """
    odds = [slope * (middle - unchanged) for slope, middle in _ODDS] + [0.0]
    return np.logaddexp.reduce([odd + _of_kind(costs, steps, held, np.array(refreshed, float))
                                for odd, (held, refreshed) in zip(odds, _KINDS, strict=True)])


def _of_kind(costs: np.ndarray, steps: np.ndarray, held: float,
             refreshed: np.ndarray) -> np.ndarray:
    """The forward pass for one kind of copy: log likelihoods [2 REACH + 1]."""
    lags = np.arange(-LEAD, MOST_LAG + 1)
    shown = REACH + MOST_LAG + np.arange(-REACH, REACH + 1)[:, None] - lags  # [moves, lags]
    chances = np.exp(-np.minimum(costs - costs.min(axis=1, keepdims=True), LEAST) / 2)
    refreshed = refreshed / refreshed.sum()
    state = np.array(_FIRST) / sum(_FIRST) * chances[0][shown]
    total = np.log(state.sum(axis=1))
    for step, chance in zip(steps.tolist(), chances[1:]):
        state /= state.sum(axis=1, keepdims=True)
        step = min(step, len(lags) - 1)
        kept = np.zeros_like(state)
        kept[:, step:] = state[:, :len(lags) - step]
        kept[:, -1] += state[:, len(lags) - step:].sum(axis=1)
        state = (held * kept + (1 - held) * refreshed) * chance[shown]
        total += np.log(state.sum(axis=1))
    return total
