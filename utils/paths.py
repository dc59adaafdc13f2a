"""Time that does not run evenly: dropped and doubled frames, and fakes joined from stretches.

Both are dynamic programmes over the products of utils.matching.pair_scores, in units of the
squared length of the fake's motion: what a path leaves unexplained, plus a price for each
irregularity (dynamic time warping with a penalty, Sakoe and Chiba 1978; segmentation with a price
per change point, Killick et al. 2012). Motion across a joint is noise that fits anything a little;
that the pictures jump there tells the joint to the frame.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from utils.matching import (FAR_RATES, MAX_STEP, PHASES, RATES, Alignment, PairScores,
                            even_offsets, sample_offsets)

LEEWAY = 4  # frames that a path may leave its straight line by, beside what the end asks for
MOVE_PRICE = 1.6  # of a dropped or doubled frame, mean energies of a pair
FULL_MISFIT, LEAST_PRICE = 0.4, 0.3  # the prices fall with what a straight line leaves unexplained,
# 1 - score^2, from here on, but not below this share: less noise, less gain that could be noise
SHARE = 0.6  # of the source's motion that a fake is expected to show: crops and noise hide some
MOST_AROUND = 0.5  # of the weight of a frame's motion goes to the frames around in copies that hold
# much: they need not move when their source does; set by hand
MOST_MOVES = 0.15  # of the frames; what stands still more often is no path
RATE_PRICE, FINE_RATE_PRICE = 1.6, 4.0  # of a rate of RATES, and of any other, but for those given
CUT_PRICE = 5.0  # of a change of place, mean energies of a pair, where the pictures change as much
# as they do around it
SEEN_PRICE, SEEN = 2.0, (-1.0, 2.0)  # by which it falls per doubling of that change, in a range
AROUND = 4  # pairs to either side
STEADY = 0.3  # grey levels that pictures change by anyhow
SURELY_SEEN = 1.0  # doublings from which on a fake is cut there by way of trial
CLEARLY_SEEN = 1.5  # and without which a very coarse copy is not; set by hand
MOST_SEEN = 6  # cuts; what jumps more often is no fake of stretches
MOVES = (1, -1, 2, -2)  # frames that a place may drift by at once when stretches are told apart
CUT = 127  # marks a change of place among them
MIN_STRETCH = 8  # frames; shorter stretches are not told apart
UNFIT = 0.3  # share of what is explained of the motion around, below which a place does not fit
TORN = 0.5  # by how much more of one side's motion than of the other's a place explains, from which
# on a fake is cut there by way of trial


def follow(scores: PairScores, near: Alignment, rates: Sequence[float]) -> Alignment:
    """The path around an alignment that leaves least unexplained.

    rates: the usual ones of the straight lines that paths keep to, but for dropped or doubled
    frames; the alignment's own is tried, too. Returns the alignment itself where no path pays.
    """
    unit = scores.unit
    share = float(np.clip((1 - max(near.score, 0.0)**2) / FULL_MISFIT, LEAST_PRICE, 1.0))
    best, least = near, -float(path_gain(scores, near.at).sum())
    least += share * rate_price(near.rate, rates) * unit
    for rate in dict.fromkeys([near.rate, *rates]):
        line = even_offsets(len(near.at), rate)
        for start in dict.fromkeys([near.start, near.end - int(line[-1])]):
            cost, path = least_path(scores, start + line, abs(near.end - start - int(line[-1])),
                                    share * MOVE_PRICE * unit)
            cost += share * rate_price(rate, rates) * unit
            moves = np.abs(np.diff(path - line)).sum()
            if cost < least - 1e-6 * unit and moves <= max(2, MOST_MOVES * len(path)):
                mean_rate = float(path[-1] - path[0]) / max(1, len(path) - 1)
                straight = not moves
                best, least = Alignment(near.score, path, rate if straight else mean_rate), cost
    return best


def runs_evenly(alignment: Alignment) -> bool:
    """Whether no frame of a fake was dropped or doubled, as far as its alignment tells."""
    count, rate = len(alignment.at), alignment.rate
    return any(np.array_equal(alignment.at, alignment.start + sample_offsets(count, rate, phase))
               for phase in PHASES)


def rate_price(rate: float, free: Sequence[float], usual: float = RATE_PRICE,
               fine: float = FINE_RATE_PRICE) -> float:
    """Price of a rate: nothing if it is one of `free`, `usual` if it is one of RATES or FAR_RATES,
    else `fine`."""
    return 0.0 if rate in free else usual if rate in (*RATES, *FAR_RATES) else fine


def least_path(scores: PairScores, line: np.ndarray, reach: int, price: float | tuple[float, float],
               look: Callable[[int, np.ndarray], np.ndarray | float] = lambda index, at: 0.0
               ) -> tuple[float, np.ndarray]:
    """Cheapest path within `reach` + LEEWAY frames of a line [n]: its cost and frames [n].

    price: of a dropped and of a doubled frame, where they differ; look: what a frame of the fake
    costs at frames of the source, beside what its motion leaves unexplained.
    """
    drifts = np.arange(-reach - LEEWAY, reach + LEEWAY + 1)
    frames = scores.dot.shape[2]
    inside = (line[0] + drifts >= 0) & (line[0] + drifts < frames)
    cost = np.where(inside, look(0, line[0] + drifts), np.inf)
    came = np.zeros((len(line), len(drifts)), int)
    moves = np.arange(-MAX_STEP, MAX_STEP + 1)[:, None]
    dropped, doubled = np.broadcast_to(price, 2)
    prices = np.where(moves > 0, dropped, doubled) * np.abs(moves)
    reached = drifts - moves  # [moves, drifts], the drift before each move
    within = np.abs(reached) <= drifts[-1]
    before = np.minimum(np.maximum(reached - drifts[0], 0), len(drifts) - 1)
    for pair, (here, there) in enumerate(zip(line[:-1], line[1:])):
        step, first = int(there - here) + moves, here + reached
        known = (within & (step >= 0) & (step < len(scores.dot)) & (first >= 0)
                 & (first + step < frames))
        step = np.minimum(np.maximum(step, 0), len(scores.dot) - 1)
        at = np.minimum(np.maximum(first, 0), frames - 1)
        gain = _gain(scores.dot[step, pair, at], scores.source_energy[step, at])
        options = np.where(known, cost[before] - gain + prices, np.inf)
        came[pair + 1] = options.argmin(axis=0) - MAX_STEP
        cost = options.min(axis=0) + look(pair + 1, there + drifts)
    place = int(cost.argmin())
    path, total = np.array(line), float(cost[place])
    if not np.isfinite(total):
        return total, path
    for index in range(len(line) - 1, -1, -1):
        path[index] = line[index] + drifts[place]
        place -= came[index, place]
    return total, path


def path_gain(scores: PairScores, at: np.ndarray) -> np.ndarray:
    """What paths [..., n + 1] explain of each fake pair, [..., n]; as gains() for single places.

    Nothing where they go further than motion was compared over.
    """
    steps, first = np.diff(at), at[..., :-1]
    known, steps = steps < len(scores.dot), np.minimum(steps, len(scores.dot) - 1)
    return known * _gain(scores.dot[steps, np.arange(steps.shape[-1]), first],
                         scores.source_energy[steps, first])


def steady_gain(scores: PairScores, at: np.ndarray, unchanged: float) -> np.ndarray:
    """What paths [..., n + 1] explain of a fake, [...]; of a copy that holds what it showed, the
    mean over the frames around, for it moves when its encoder lets it.

    unchanged: held_pixels.unchanged_share() of the fake.
    """
    around = min(unchanged, MOST_AROUND) / 2
    last = scores.dot.shape[2] - 1
    return sum(share * path_gain(scores, np.clip(at + by, 0, last)).sum(axis=-1)
               for by, share in ((0, 1 - 2 * around), (-1, around), (1, around)) if share)


def _gain(dot: np.ndarray, source_energy: np.ndarray) -> np.ndarray:
    """|f|^2 - |f - SHARE g|^2 of a fake's motion f and a source's motion g."""
    return 2 * SHARE * dot - SHARE**2 * source_energy


def gains(scores: PairScores, energies: np.ndarray, rate: float) -> np.ndarray:
    """What each place explains of each fake pair, if time runs evenly.

    energies: [n], squared length of the fake's motion per pair. Returns [n, s] float32 for n pairs
    and every start, from that at which only the fake's last pair lies in the source to that at
    which only its first one does; as bad as can be outside of the source.
    """
    count, frames = scores.dot.shape[1], scores.dot.shape[2]
    offsets = even_offsets(count + 1, rate)
    shift = int(offsets[-2])
    table = np.repeat(-energies.astype(np.float32)[:, None], frames + shift, axis=1)
    for pair, step in enumerate(np.diff(offsets)):
        if step < len(scores.dot):
            gain = _gain(scores.dot[step, pair], scores.source_energy[step])
            first = shift - int(offsets[pair])
            table[pair, first:first + frames - step] = gain[:frames - step]
    return table


def cut_prices(grey: np.ndarray) -> np.ndarray:
    """Price of a change of place at every pair of frames, [n]: low where their pictures differ
    much more than those of the pairs around.

    grey: [n + 1, S, S] uint8, small pictures of the fake.
    """
    changes = np.array([cv2.absdiff(one, other).mean() for one, other in zip(grey, grey[1:])])
    doublings = np.log2((changes + STEADY) / (most_around(changes) + STEADY))
    return CUT_PRICE - SEEN_PRICE * np.clip(doublings, *SEEN)


def most_around(values: np.ndarray) -> np.ndarray:
    """The largest of the values, 0 or more, of the pairs around every pair, [n]."""
    beside = np.pad(values, AROUND)
    return np.max([beside[AROUND + move:AROUND + move + len(values)]
                   for move in range(-AROUND, AROUND + 1) if move], axis=0)


def find_stretches(tables: Sequence[np.ndarray],
                   prices: np.ndarray | float = CUT_PRICE) -> list[tuple[int, int]]:
    """Cut a fake where its motion changes over to another place.

    tables: gains() of every comparison with a source, [n, s] each, in units of the mean energy of
    a pair; prices: [n] of a cut at every pair, or of all cuts, in the same units. A place may drift
    by dropped or doubled frames. The pair that spans a cut belongs to neither side. Returns (first,
    last) frame of every stretch, inclusive; one of them if nothing is gained by cutting.
    """
    count = len(tables[0]) if tables else 0
    if count < 2 * MIN_STRETCH:
        return [(0, count)]
    apart = np.full((count, max(MOVES)), -1e9, np.float32)  # keeps places from drifting over
    gain = np.concatenate([part for table in tables for part in (table, apart)], axis=1)
    total, moves = np.zeros(gain.shape[1], np.float32), np.zeros(gain.shape, np.int8)
    prices = np.broadcast_to(prices, count)
    best, most = np.zeros(count, int), np.zeros(count, np.float32)
    for pair in range(count):
        options = [total] + [np.roll(total, move) - MOVE_PRICE * abs(move) for move in MOVES]
        if pair > 1:
            options.append(np.full_like(total, most[pair - 2] - prices[pair - 1]))
        choice = np.argmax(options, axis=0)
        moves[pair] = np.array([0, *MOVES, CUT], np.int8)[choice]
        total = np.choose(choice, options) + gain[pair]
        best[pair], most[pair] = total.argmax(), total.max()
    return _stretches(moves, best)


def seen_stretches(prices: np.ndarray) -> list[tuple[int, int]]:
    """Cut a fake where it is seen to jump, whatever its motion says: a place, or a rate, that runs
    across a small jump can hide it. prices: cut_prices(); returns as find_stretches()."""
    cuts = np.flatnonzero(prices <= CUT_PRICE - SURELY_SEEN * SEEN_PRICE) + 1
    return _between(cuts.tolist() if len(cuts) <= MOST_SEEN else [], len(prices) + 1)


def clearly_seen(stretches: Sequence[tuple[int, int]], prices: np.ndarray) -> bool:
    """Whether a fake jumps clearly wherever it is cut, as find_stretches() tells: a coarse copy
    that shows at last what it held for a while jumps a little, too. prices: cut_prices()."""
    return all(prices[max(0, first - 2):first + 1].min() <= CUT_PRICE - CLEARLY_SEEN * SEEN_PRICE
               for first, _ in stretches[1:])


def torn_stretches(gain: np.ndarray, energy: np.ndarray,
                   prices: np.ndarray) -> list[tuple[int, int]]:
    """Cut a fake in two where its best place begins or ends to fit, even if nothing is known yet
    that fits the rest: the sum of what it explains more than usual turns there (CUSUM, Page 1954).

    gain: [n], path_gain() of that place; energy: [n], squared length of the fake's motion; prices:
    cut_prices(). Returns as find_stretches().
    """
    count, unit = len(gain) + 1, float(energy.mean()) + 1e-6
    cuts = np.arange(MIN_STRETCH, count - MIN_STRETCH + 1)
    if not len(cuts):
        return [(0, count - 1)]
    turns = np.abs(np.cumsum(gain - gain.sum() / (unit * len(energy)) * energy)) / unit
    cut = int(cuts[np.argmax(turns[cuts - 1] - prices[cuts - 1])])
    shares = [gain[side].sum() / (energy[side].sum() + 1e-6 * unit)
              for side in (slice(cut - 1), slice(cut, None))]
    return _between([cut] if abs(shares[0] - shares[1]) >= TORN else [], count)


def unfit_stretches(gain: np.ndarray, energy: np.ndarray) -> list[tuple[int, int]]:
    """Cut out of a fake the frames that its best place explains least of, beside the others (the
    largest sum of successive pairs, Bentley 1984); arguments as of torn_stretches(), returns as
    find_stretches()."""
    lacking = np.cumsum([0.0, *(gain.sum() / max(float(energy.sum()), 1e-6) * energy - gain)])
    last = int(np.argmax(lacking - np.minimum.accumulate(lacking)))
    first = int(np.argmin(lacking[:last + 1]))
    within = np.zeros(len(gain), bool)
    within[first:last] = True
    shares = [gain[side].sum() / (energy[side].sum() + 1e-6) for side in (within, ~within)]
    return _between([first + 1, last] if shares[0] < UNFIT * shares[1] else [], len(gain) + 1)


def _stretches(moves: np.ndarray, best: np.ndarray) -> list[tuple[int, int]]:
    """Read the cuts back from the last pair to the first."""
    cuts, pair = [], len(moves) - 1
    place = int(best[pair])
    while pair > 0:
        if moves[pair, place] == CUT:
            cuts.append(pair)
            pair -= 2
            place = int(best[pair])
        else:
            place -= int(moves[pair, place])
            pair -= 1
    return _between(cuts[::-1], len(moves) + 1)


def _between(cuts: list[int], end: int) -> list[tuple[int, int]]:
    """Stretches of `end` frames that begin at the cuts, but for what would be too short."""
    edges = [0]
    for cut in cuts:
        if cut - edges[-1] >= MIN_STRETCH and end - cut >= MIN_STRETCH:
            edges.append(cut)
    return [(first, last - 1) for first, last in zip(edges, [*edges[1:], end])]
