"""Where in a source does a fake's motion occur? Sliding comparison over starts and rates.

Both motions are grids of displacements per frame pair (models.motion.MotionGrid). Each
displacement v is scaled by 1 / (|v| + SOFT_PX), so that direction counts and noise does not,
and whole windows are compared by a weighted cosine. A rate other than 1 compares a pair of fake
frames with the summed displacement of the source frames between theirs.
"""

from dataclasses import dataclass

import numpy as np

from models.motion import MotionGrid

SOFT_PX = 0.3  # pixels of the person crop
MAX_STEP = 3  # source frames between two successive fake frames, at most
MIN_WEIGHT = 1e-3


@dataclass(frozen=True)
class PairScores:
    """Products of every fake frame pair i with every source displacement t -> t + k."""

    dot: np.ndarray  # [K, n, m] float32, weighted inner products
    fake_energy: np.ndarray  # [K, n, m]
    source_energy: np.ndarray  # [K, n, m]


@dataclass(frozen=True)
class Alignment:
    """One place of a source that a fake may come from."""

    score: float  # weighted cosine, -1 to 1
    start: int  # source frame of the fake's first frame, 0-based
    end: int  # source frame of the fake's last frame, inclusive
    rate: float  # source frames per fake frame
    phase: float  # fraction of a source frame by which the sampling was ahead


def pair_scores(fake: MotionGrid, source: MotionGrid, max_step: int = MAX_STEP) -> PairScores:
    """Compare all frame pairs. Displacements over k source frames are sums of k grids.

    The second axis is the fake's pair, the third the source's first frame; places where the
    source ends before t + k count as empty.
    """
    f, wf = _signature(fake.flow), fake.weight.reshape(len(fake), -1)
    weighted = (f * wf[..., None]).reshape(len(fake), -1)
    energy = (f**2).sum(-1) * wf
    m = len(source) + 1
    shape = (max_step + 1, len(fake), m)
    dot, fake_energy, source_energy = (np.zeros(shape, np.float32) for _ in range(3))
    total = np.concatenate([np.zeros_like(source.flow[:1]), np.cumsum(source.flow, axis=0)])
    mass = np.concatenate([np.zeros_like(source.weight[:1]), np.cumsum(source.weight, axis=0)])
    fake_energy[0] = (energy @ (_span(mass, 1) if m > 1 else mass).T)[:, _clipped(m)]
    for k in range(1, min(max_step, m - 1) + 1):
        g, wg = _signature(_difference(total, k)), _span(mass, k)
        count = m - k
        dot[k, :, :count] = weighted @ (g * wg[..., None]).reshape(count, -1).T
        fake_energy[k, :, :count] = energy @ wg.T
        source_energy[k, :, :count] = wf @ ((g**2).sum(-1) * wg).T
    return PairScores(dot, fake_energy, source_energy)


def _clipped(m: int) -> np.ndarray:
    """Source frames, the last one standing for the pair before it."""
    return np.minimum(np.arange(m), max(m - 2, 0))


def _signature(flow: np.ndarray) -> np.ndarray:
    """[N, G, G, 2] displacements -> [N, G*G, 2], long ones shortened to about 1."""
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    return (flow / (length + SOFT_PX)).reshape(len(flow), -1, 2)


def _difference(total: np.ndarray, k: int) -> np.ndarray:
    return total[k:] - total[:-k]


def _span(mass: np.ndarray, k: int) -> np.ndarray:
    """[N, G*G] mean weight over k source frames."""
    return (_difference(mass, k) / k).reshape(len(mass) - k, -1)


def sample_offsets(count: int, rate: float, phase: float) -> np.ndarray:
    """Source frames, from the start's, of `count` fake frames: floor(i * rate + phase)."""
    return np.floor(np.arange(count) * rate + phase + 1e-9).astype(int)


def slide(scores: PairScores, rate: float, phase: float = 0.0) -> np.ndarray:
    """Score of every start for one rate: [starts] float32; empty where the fake is too long."""
    offsets = sample_offsets(scores.dot.shape[1] + 1, rate, phase)
    steps = np.diff(offsets)
    starts = scores.dot.shape[2] - int(offsets[-1])
    if starts < 1 or steps.max(initial=0) >= len(scores.dot):
        return np.empty(0, np.float32)
    at = np.arange(starts)[:, None] + offsets[:-1]  # [starts, n]
    pair = np.arange(len(steps))
    dot, ef, eg = (values[steps, pair, at].sum(1) for values in
                   (scores.dot, scores.fake_energy, scores.source_energy))
    return dot / np.sqrt(np.maximum(ef, MIN_WEIGHT) * np.maximum(eg, MIN_WEIGHT))
