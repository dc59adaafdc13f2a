"""Coarse motion: where in hours of video might a fake, or a part of it, come from?

Every STRIDE source frames the displacements since the last time become a signature
(utils/matching.py), and this DIMENSIONS numbers by a random projection, which keeps inner products
(Achlioptas, 2003). A fake is sampled likewise, at some rates and phases, and cut into parts of
about PART vectors, which are compared with every place by the cosine. Scores of parts that fit one
after the other, give or take a stride, are joined. This only proposes places: the comparison
frame by frame decides (utils/views.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from models.motion import COARSE, MotionGrid
from utils.matching import MIN_WEIGHT, SOFT_PX

STRIDE = 3  # source frames
DIMENSIONS = 64
PART = 8  # vectors that are compared at once
RATES = (1.0, 0.5, 0.57, 0.65, 0.74, 0.85, 1.16, 1.32, 1.5, 1.72, 2.0)  # source frames per fake's
BLOCK = 4096  # vectors of a source that are made at a time
IDENTITY = f"coarse motion 1, {STRIDE}, {DIMENSIONS}"  # of stored vectors


@dataclass(frozen=True)
class Way:
    """One way to lay a fake over a source."""

    grid: MotionGrid
    rates: Sequence[float]
    backwards: bool = False  # the grid's time runs against the fake's


@dataclass(frozen=True)
class Scan:
    """Scores, -1 to 1, of laying the middle of something over every vector of a source."""

    whole: np.ndarray  # [M], of the fake
    parts: np.ndarray  # [P, M], of P stretches of it that follow each other


@cache
def _projection() -> np.ndarray:
    """[2 G G, DIMENSIONS] float32, +-1 scaled to keep lengths."""
    signs = np.random.default_rng(0).integers(0, 2, (2 * COARSE**2, DIMENSIONS)) * 2 - 1
    return (signs / np.sqrt(DIMENSIONS)).astype(np.float32)


def _projected(flow: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[N, G, G, 2] and [N, G, G] -> [N, DIMENSIONS]."""
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    return (flow * (weight[..., None] / (length + SOFT_PX))).reshape(len(flow), -1) @ _projection()


def coarse_source(grid: MotionGrid) -> np.ndarray:
    """Vectors of a source, [M, DIMENSIONS] float16; those of frames STRIDE j to STRIDE (j + 1).

    The grid's arrays may be stored ones, mapped into memory: it is read in blocks, and its weights
    may be bytes.
    """
    scale = 255 if grid.weight.dtype == np.uint8 else 1
    count = len(grid) // STRIDE
    made = [np.empty((0, DIMENSIONS), np.float16)]
    for start in range(0, count, BLOCK):
        part = slice(STRIDE * start, STRIDE * min(count, start + BLOCK))
        flow, weight = (array[part].astype(np.float32).reshape(-1, STRIDE, *array.shape[1:])
                        for array in (grid.flow, grid.weight))
        made.append(_projected(flow.sum(1), weight.mean(1) / scale).astype(np.float16))
    return np.concatenate(made)


def coarse_fake(grid: MotionGrid, rate: float, phase: int) -> np.ndarray:
    """Vectors of a fake as if its frame 0 lay `phase` frames before one of a source's vectors,
    [K, DIMENSIONS] float32; K may be 0."""
    at = np.arange(phase / rate, len(grid) + 1e-6, STRIDE / rate)  # frames of the fake
    if len(at) < 2:
        return np.empty((0, DIMENSIONS), np.float32)
    flow, weight = (np.diff(_summed(part, at), axis=0) for part in (grid.flow, grid.weight))
    return _projected(flow, weight / np.float32(STRIDE / rate))


def _summed(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sums of [n, ...] from the first one on, up to fractional places."""
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    whole = np.minimum(at.astype(int), len(values) - 1)
    share = (at - whole).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return sums[whole] * (1 - share) + sums[whole + 1] * share


def scan(ways: Sequence[Way], vectors: np.ndarray) -> Scan:
    """Compare a fake, laid in all `ways`, with all places of a source.

    vectors: [M, DIMENSIONS] float16. Memory: some 500 bytes a vector, more for long fakes.
    """
    vectors = np.asarray(vectors, np.float32)
    lengths = np.concatenate([[0.0], np.cumsum((vectors.astype(np.float64)**2).sum(1))])
    pairs = max((len(way.grid) for way in ways), default=0)
    found = Scan(np.full(len(vectors), -1, np.float32),
                 np.full((max(1, round(pairs / (STRIDE * PART))), len(vectors)), -1, np.float32))
    for way in ways:
        for rate in way.rates:
            for phase in range(STRIDE):
                fake = coarse_fake(way.grid, rate, phase)
                if 0 < len(fake) <= len(vectors):
                    _add(found, fake, vectors, lengths, way.backwards)
    return found


def _add(found: Scan, fake: np.ndarray, vectors: np.ndarray, lengths: np.ndarray,
         backwards: bool) -> None:
    """Raise the scores to those of one sampling of the fake."""
    total, count = np.zeros(len(vectors), np.float32), len(fake)
    for first, last in _bounds(count):
        curve = _cosines(fake[first:last], vectors, lengths)
        centre = (first + last) / 2 / count
        part = found.parts[int((1 - centre if backwards else centre) * len(found.parts))]
        np.maximum(part, _laid(curve, (last - first) // 2, len(part)), out=part)
        total += (last - first) / count * _laid(_near_best(curve), count // 2 - first, len(total))
    np.maximum(found.whole, total, out=found.whole)


def _bounds(count: int) -> Iterator[tuple[int, int]]:
    """Cut `count` vectors into parts of about PART."""
    edges = np.linspace(0, count, max(1, round(count / PART)) + 1).round().astype(int)
    return pairwise(edges.tolist())


def _cosines(part: np.ndarray, vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Cosine of a part [K, D] with every place it fits in, [M - K + 1].

    lengths: [M + 1], the squared lengths of the vectors, summed.
    """
    count = len(vectors) - len(part) + 1
    products = part @ vectors.T
    dot = sum(row[shift:shift + count] for shift, row in enumerate(products))
    energy = np.maximum(lengths[len(part):] - lengths[:count], MIN_WEIGHT)
    return dot / np.sqrt(energy * max(float((part**2).sum()), MIN_WEIGHT)).astype(np.float32)


def _near_best(curve: np.ndarray) -> np.ndarray:
    """The best of every place and the two beside it."""
    padded = np.pad(curve, 1, constant_values=-1)
    return np.maximum(np.maximum(padded[:-2], curve), padded[2:])


def _laid(curve: np.ndarray, shift: int, length: int) -> np.ndarray:
    """A curve moved by `shift` places, -1 where it has nothing to say, [length]."""
    moved = np.full(length, -1, np.float32)
    first, last = max(0, shift), min(length, len(curve) + shift)
    if last > first:
        moved[first:last] = curve[first - shift:last - shift]
    return moved


def peaks(scores: np.ndarray, keep: int, apart: int) -> list[int]:
    """Places of the highest scores, best first, each more than `apart` places from better ones."""
    left, found = scores.copy(), []
    while len(found) < keep and len(left) and left.max() > -1:
        best = int(left.argmax())
        found.append(best)
        left[max(0, best - apart):best + apart + 1] = -1
    return found
