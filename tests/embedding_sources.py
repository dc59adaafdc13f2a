"""Sources with made-up embeddings, and questions to an index of them."""

import hashlib
from pathlib import Path

import numpy as np

from utils.embedding_index import EmbeddingIndex, Limits, open_index

SIZE = 32  # numbers in an embedding
SMALL, MEDIUM, LARGE = Limits(10**9), Limits(1), Limits(1, 1)

Sources = dict[str, np.ndarray]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def database(count: int, seed: int = 0, takes: int = 1) -> Sources:
    """Sources of 1 to 5 frames; every `takes` of them share a scene, other scenes are far away."""
    rng = np.random.default_rng(seed)
    scenes = np.repeat(rng.normal(size=(count, SIZE)), takes, axis=0)[:count]
    middles = scenes + (takes > 1) * 0.3 * rng.normal(size=scenes.shape)
    return {f"v{i:04d}": unit(middle + 0.05 * rng.normal(size=(1 + i % 5, SIZE))).astype(np.float16)
            for i, middle in enumerate(middles)}


def opened(root: Path, sources: Sources, limits: Limits) -> EmbeddingIndex:
    """The index as step 4 opens it; the state of a source is what is in it."""
    hashes = {name: hashlib.sha256(rows.tobytes()) for name, rows in sources.items()}
    return open_index(root, {name: (h.digest(), h.hexdigest()) for name, h in hashes.items()},
                      sources.get, limits)


def fakes(sources: Sources, count: int = 8) -> list[np.ndarray]:
    """Queries near to some sources."""
    rng = np.random.default_rng(9)
    chosen = [sources[name] for name in sorted(sources)[::max(1, len(sources) // count)]]
    return [unit(rows[[0, -1]] + 0.08 * rng.normal(size=(2, SIZE))).astype(np.float32)
            for rows in chosen]


def answers(index: EmbeddingIndex, sources: Sources, count: int = 10) -> list:
    return [index.search(fake, count) for fake in fakes(sources)]


def same_best(found: list, wanted: list) -> bool:
    """Whether the first source of every answer is the same, with the same score."""
    return all(a[0][0] == b[0][0] and abs(a[0][1] - b[0][1]) < 1e-6
               for a, b in zip(found, wanted, strict=True))
