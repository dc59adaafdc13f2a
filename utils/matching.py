"""Where in a source does a fake's motion occur? Sliding comparison over starts and rates.

Both motions are grids of displacements per frame pair (models.motion.MotionGrid). Each
displacement v is scaled by 1 / (|v| + SOFT_PX), so that direction counts and noise does not, and
weighted by the share of its cell that is person; whole windows are compared by the cosine. Each
side has its own weights: that the persons do not cover the same cells is evidence, too. A rate
other than 1 compares a pair of fake frames with the summed displacement of the source frames
between theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from models.motion import MotionGrid

SOFT_PX = 0.3  # pixels of the person crop
RATES = (1.0, 0.5, 0.55, 0.6, 2 / 3, 0.7, 0.75, 0.8, 5 / 6, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25,
         4 / 3, 1.4, 1.5, 1.6, 5 / 3, 1.75, 1.9, 2.0)  # source frames per fake frame tried first
FAR_RATES = (3.0, 0.3, 0.25, 1 / 3, 0.4, 2.25, 2.5, 2.75, 3.5, 4.0)  # and where nothing fits
FINE_STEP, FINE_STEPS = 0.005, [step for step in range(-8, 9) if step]
PHASES = (0.0, 0.25, 0.5, 0.75)
UNUSUAL_RATE, FINE_RATE = 0.08, 0.16  # share of the misfit that a rate of RATES, or any other, must
# take away before it is believed: a free rate always fits noise a little better
LEAST_MISFIT = 0.02  # added to the misfit, so that the handicap holds where nothing misfits
LONG_SPAN = 6  # frames of the fake between which displacements are compared, too
NEAR = 3  # frames that a start may move when rate and phase are refined
NEIGHBOURHOOD = 5  # frames within which two starts are one place
MAX_STEP = 3  # source frames between two successive fake frames, at most; and, for a fake of far
MOST_STEPS = 8  # fewer frames per second than its source
MIN_WEIGHT = 1e-3
LEADING, AS_NO_STRANGER = 0.25, 0.85  # share of a person's motion, and least score of it, beside
# which parts that disagree count for less
BEHIND = (0.3, 0.6)  # scores by which such a part falls behind: where that begins, and where it
# does not count at all
LEAST_PERSON = 0.1  # mean weight of a cell that is told about


@dataclass(frozen=True)
class SourceMotion:
    """A source made ready for comparison: for k = 1 ... MAX_STEP, its displacements t -> t + k."""

    total: np.ndarray  # [frames, G, G, 2] float32, displacements summed from the first frame on
    mass: np.ndarray  # [frames, G, G] float32, weights summed likewise
    signatures: list[np.ndarray]  # per k: [frames - k, 2 G G] float32, weighted
    energies: list[np.ndarray]  # per k: [frames - k] float32, their squared lengths

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about 5 KB a frame."""
        return sum(part.nbytes for part in (self.total, self.mass, *self.signatures,
                                            *self.energies))


@dataclass(frozen=True)
class PairScores:
    """Products of every fake frame pair i with every source displacement t -> t + k."""

    dot: np.ndarray  # [K, n, m] float32, inner products; 0 for k = 0, a doubled frame
    fake_energy: np.ndarray  # [n], squared lengths
    source_energy: np.ndarray  # [K, m]

    @property
    def unit(self) -> float:
        """Mean energy of a pair of the fake."""
        return float(self.fake_energy.mean()) + 1e-6

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.dot, self.fake_energy, self.source_energy))


@dataclass(frozen=True, eq=False)
class Alignment:
    """One place of a source that a fake may come from."""

    score: float  # weighted cosine, -1 to 1
    at: np.ndarray  # [n] source frame, 0-based, of every fake frame; never falling
    rate: float  # source frames per fake frame
    phase: float = 0.0  # fraction of a source frame by which the sampling was ahead

    @property
    def start(self) -> int:
        return int(self.at[0])

    @property
    def end(self) -> int:
        return int(self.at[-1])


def prepare(source: MotionGrid) -> SourceMotion:
    """Signatures of a source for all steps; displacements over k frames are sums of k grids."""
    total, mass = _sums(source)
    signatures = [_displaced(total, mass, k) for k in range(1, min(MAX_STEP, len(source)) + 1)]
    return SourceMotion(total, mass, signatures, [(part**2).sum(1) for part in signatures])


def pair_scores(fake: MotionGrid, source: SourceMotion, natural: float = 1.0) -> PairScores:
    """Compare all frame pairs of a fake with all displacements of a source.

    natural: source frames per fake frame when nothing was re-timed; a step more than these is
    compared, MAX_STEP at least and MOST_STEPS at most.
    """
    vectors, frames = _signature(fake.flow, fake.weight), len(source.total)
    steps = min(max(MAX_STEP, math.ceil(natural) + 1), MOST_STEPS, frames - 1)
    dot, energy = (np.zeros(shape, np.float32)
                   for shape in ((steps + 1, len(fake), frames), (steps + 1, frames)))
    for k in range(1, steps + 1):
        if k <= len(source.signatures):
            other, lengths = source.signatures[k - 1], source.energies[k - 1]
        else:
            other = _displaced(source.total, source.mass, k)
            lengths = (other**2).sum(1)
        np.matmul(vectors, other.T, out=dot[k, :, :len(other)])
        energy[k, :len(other)] = lengths
    return PairScores(dot, (vectors**2).sum(1), energy)


def _displaced(total: np.ndarray, mass: np.ndarray, k: int) -> np.ndarray:
    """Signatures of the displacements t -> t + k, [frames - k, 2 G G]."""
    return _signature(total[k:] - total[:-k], (mass[k:] - mass[:-k]) / k)


def energies(grid: MotionGrid) -> np.ndarray:
    """Squared length of the signature of every frame pair, [n]."""
    return (_signature(grid.flow, grid.weight)**2).sum(1)


def _signature(flow: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, G, G, 2] displacements, long ones shortened to about 1, times [N, G, G] weights.

    Returns [N, 2 G G].
    """
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    return (flow * (weight[..., None] / (length + SOFT_PX))).reshape(len(flow), -1)


def _sums(grid: MotionGrid) -> tuple[np.ndarray, np.ndarray]:
    """Displacements and weights summed from the first frame on, [T, G, G, 2] and [T, G, G]."""
    return tuple(np.concatenate([np.zeros_like(part[:1]), np.cumsum(part, axis=0)])
                 for part in (grid.flow, grid.weight))


def sample_offsets(count: int, rate: float, phase: float) -> np.ndarray:
    """Source frames, from the start's, of `count` fake frames: floor(i * rate + phase)."""
    return np.floor(np.arange(count) * rate + phase + 1e-9).astype(int)


def even_offsets(count: int, rate: float) -> np.ndarray:
    """sample_offsets() in the middle of the phases that a rate may have."""
    return sample_offsets(count, rate, middle_phase(rate))


def middle_phase(rate: float) -> float:
    """Phase from which all others are least far."""
    return 0.5 if rate % 1 else 0.0


def slide(scores: PairScores, rate: float, phase: float = 0.0) -> np.ndarray:
    """Score of every start for one rate: [starts] float32; empty where the fake is too long."""
    offsets = sample_offsets(scores.dot.shape[1] + 1, rate, phase)
    steps = np.diff(offsets)
    starts = scores.dot.shape[2] - int(offsets[-1])
    if starts < 1 or steps.max(initial=0) >= len(scores.dot):
        return np.empty(0, np.float32)
    dot, energy = np.zeros(starts, np.float32), np.zeros(starts, np.float32)
    for pair, (step, offset) in enumerate(zip(steps, offsets)):
        dot += scores.dot[step, pair, offset:offset + starts]
        energy += scores.source_energy[step, offset:offset + starts]
    return _cosine(dot, scores.fake_energy.sum(), energy)


def rough_places(scores: PairScores, natural: float = 1.0, keep: int = 5,
                 rates: Sequence[float] = RATES) -> list[Alignment]:
    """The best places over all starts and usual rates, best first; refine() the good ones.

    natural: source frames per fake frame when nothing was re-timed, the ratio of the two videos'
    frame rates. It and 1 are taken unless another rate is clearly better. Places about the
    same stretch as a better one are left out.
    """
    found = []
    for rate in {**dict.fromkeys(rates), natural: None}:
        phase = middle_phase(rate)
        curve = slide(scores, rate, phase)
        found += [_alignment(scores, float(curve[start]), start, rate, phase)
                  for start in _peaks(curve, keep)]
    kept: list[Alignment] = []
    for place in sorted(found, key=lambda p: -believed(p.score, p.rate, natural)):
        if len(kept) < keep and not any(same_place(place, other) for other in kept):
            kept.append(place)
    return kept


def believed(score: float, rate: float, natural: float = 1.0) -> float:
    """A score less the handicap of its rate: the misfit, 1 - score, of unusual ones is enlarged."""
    if rate in (1.0, natural):
        return score
    share = UNUSUAL_RATE if rate in RATES else FINE_RATE
    return score - share * (1 - score + LEAST_MISFIT)


def same_place(one: Alignment, other: Alignment) -> bool:
    """Whether two alignments are about one stretch of the source, if at different rates."""
    return (abs(one.start - other.start) <= NEIGHBOURHOOD
            or abs(one.start + one.end - other.start - other.end) <= 2 * NEIGHBOURHOOD)


def _alignment(scores: PairScores, score: float, start: int, rate: float,
               phase: float) -> Alignment:
    return Alignment(score, start + sample_offsets(scores.dot.shape[1] + 1, rate, phase),
                     float(rate), phase)


def _peaks(curve: np.ndarray, keep: int) -> np.ndarray:
    """Starts of the highest values that are no lower than their neighbours."""
    if not len(curve):
        return np.empty(0, int)
    padded = np.concatenate([[-np.inf], curve, [-np.inf]])
    tops = np.flatnonzero((curve >= padded[:-2]) & (curve >= padded[2:]))
    return tops[np.argsort(-curve[tops], kind="stable")[:keep]]


def refine(scores: PairScores, rough: Alignment, natural: float = 1.0) -> Alignment:
    """Try finer rates, sampling phases and starts around a rough place."""
    count, rate = scores.dot.shape[1] + 1, rough.rate
    best = (-np.inf, rough.score, rough.start, rate, rough.phase)
    for tried in [rate] + [rate * (1 + step * FINE_STEP) for step in FINE_STEPS]:
        for phase in (0.0,) if tried % 1 == 0 else PHASES:
            curve, first = _slide_near(scores, sample_offsets(count, tried, phase), rough.start)
            if len(curve):
                place, score = int(curve.argmax()), float(curve.max())
                best = max(best, (believed(score, tried, natural), score, first + place, tried,
                                  phase))
    return _alignment(scores, *best[1:])


def motion_along(source: SourceMotion, at: np.ndarray) -> MotionGrid:
    """The source's motion between the frames `at` [n + 1], as a fake's would be that has them."""
    steps = np.maximum(np.diff(at), 1)[:, None, None]
    return MotionGrid(source.total[at[1:]] - source.total[at[:-1]],
                      (source.mass[at[1:]] - source.mass[at[:-1]]) / steps)


def place_score(fake: MotionGrid, source: SourceMotion, place: Alignment,
                own: bool = False) -> float:
    """Score of one place over short and long displacements together, -1 to 1.

    Between neighbouring frames a calm head moves less than the flow's error; over LONG_SPAN frames
    it does not, but its start is less sharp. So places are found by the former and judged by both.
    Parts of the person that were changed count for less, see part_weights(). own: only what a
    motion of the whole picture, shift, turn and zoom, does not explain of either counts.
    """
    fake_total, fake_mass = _sums(fake)
    at, cells = place.at, np.zeros((3, *fake.weight.shape[1:]))
    for span in (1, min(LONG_SPAN, max(1, len(fake) // 2))):
        steps = np.maximum(at[span:] - at[:-span], 1)[:, None, None]
        moved = (fake_total[span:] - fake_total[:-span],
                 source.total[at[span:]] - source.total[at[:-span]])
        weights = ((fake_mass[span:] - fake_mass[:-span]) / span,
                   (source.mass[at[span:]] - source.mass[at[:-span]]) / steps)
        if own:
            moved = [_beside_similarity(flow, np.sqrt(np.prod(weights, axis=0))) for flow in moved]
        f, g = map(_signature, moved, weights)
        cells += [_per_cell(a * b, cells.shape[1:]) for a, b in ((f, g), (f, f), (g, g))]
    return float(_cosine(*(part_weights(*cells) * cells).sum(axis=(1, 2))))


def _beside_similarity(flow: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, G, G, 2] displacements less those of the similarity that explains most of each grid;
    weight: [N, G, G], what a cell counts for."""
    cells = np.arange(flow.shape[1], dtype=np.float64)
    at = cells + 1j * cells[:, None]
    moved, total = flow[..., 0] + 1j * flow[..., 1], weight.sum((1, 2), keepdims=True) + 1e-9

    def mean(values: np.ndarray) -> np.ndarray:
        return (weight * values).sum((1, 2), keepdims=True) / total
    at, moved = at - mean(at), moved - mean(moved)
    rest = moved - at * mean(at.conj() * moved) / (mean(np.abs(at)**2) + 1e-9)
    return np.stack([rest.real, rest.imag], axis=-1)


def _per_cell(products: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[N, 2 G G] products of signatures -> [G, G], their sums."""
    return products.reshape(len(products), *shape, 2).sum(axis=(0, 3))


def part_weights(dot: np.ndarray, fake_energy: np.ndarray, source_energy: np.ndarray) -> np.ndarray:
    """What every cell counts for, 0 to 1, from its own sums, [G, G] each.

    A face may be re-enacted on shoulders that keep their motion. Where a good part of the person,
    LEADING of its motion, agrees as no stranger's does, cells that fall far behind it are another
    hand's work, and count for little; else all count. (Robust weights as an M-estimator's, Huber
    1981, but relative to the best part: the changed one may be the larger.)
    """
    energy = np.sqrt(np.maximum(fake_energy * source_energy, 0))
    dot, fake_energy, source_energy = (  # a cell alone is noisy: with its neighbours
        cv2.blur(sums, (3, 3), borderType=cv2.BORDER_CONSTANT)
        for sums in (dot, fake_energy, source_energy))
    agreement = _cosine(dot, fake_energy, source_energy)
    order = np.argsort(-agreement, axis=None)
    share = np.cumsum(energy.ravel()[order])
    leading = agreement.ravel()[order[np.searchsorted(share, LEADING * share[-1])]]
    if leading < AS_NO_STRANGER:
        return np.ones_like(agreement)
    return np.clip((agreement - leading + BEHIND[1]) / (BEHIND[1] - BEHIND[0]), 0, 1)


def grid_score(one: MotionGrid, other: MotionGrid) -> float:
    """Score of two stretches of one length, -1 to 1."""
    f, g = (_signature(grid.flow, grid.weight) for grid in (one, other))
    return float(_cosine((f * g).sum(), (f * f).sum(), (g * g).sum()))


def cell_scores(fake: MotionGrid, source: SourceMotion, place: Alignment) -> np.ndarray:
    """Score of every cell of the person square alone, [G, G]; NaN where one has no person."""
    moved = motion_along(source, place.at)
    both = np.sqrt(fake.weight * moved.weight)
    f, g = (_signature(flow, both).reshape(*both.shape, 2) for flow in (fake.flow, moved.flow))
    sums = [(a * b).sum((0, 3)) for a, b in ((f, g), (f, f), (g, g))]
    return np.where(both.mean(0) > LEAST_PERSON, _cosine(*sums), np.nan)


def _slide_near(scores: PairScores, offsets: np.ndarray, start: int) -> tuple[np.ndarray, int]:
    """Scores of the starts within NEAR frames of one, and the first of these starts."""
    steps = np.diff(offsets)
    first = max(0, start - NEAR)
    starts = np.arange(first, min(start + NEAR, scores.dot.shape[2] - 1 - int(offsets[-1])) + 1)
    if not len(starts) or steps.max(initial=0) >= len(scores.dot):
        return np.empty(0, np.float32), first
    at = starts[:, None] + offsets[:-1]
    pair = np.arange(len(steps))
    return _cosine(scores.dot[steps, pair, at].sum(1), scores.fake_energy.sum(),
                   scores.source_energy[steps, at].sum(1)), first


def _cosine(dot: np.ndarray, fake_energy: np.ndarray, source_energy: np.ndarray) -> np.ndarray:
    return dot / np.sqrt(np.maximum(fake_energy, MIN_WEIGHT)
                         * np.maximum(source_energy, MIN_WEIGHT))
