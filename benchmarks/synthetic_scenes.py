"""Scene embeddings of a million videos, imitated after those of a few real ones.

What is kept of real videos (SceneModel.fit): the directions of their means, as a mixture of
Gaussians (components by k-means, one covariance for all), and how far the frames of one video
lie from its mean (the covariance of all of them, scaled for each synthetic video by the spread of
a real one drawn at random). A synthetic video is a draw of a mean and of frames around it, all
scaled to unit length. Real frames follow each other and real scenes have more structure than a
few Gaussians: the imitation is made to be no easier to search than what it imitates.

Fakes (make_queries) are frames of a video turned by one random rotation each, by angles as large
as those between real fakes and their sources, or videos that are not in the database.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from utils.files import InputError
from utils.scene_index import SceneEntry, indexed_ids

SEED = 5
PER_COMPONENT = 50  # real videos per component of the mixture, at least
MAX_COMPONENTS = 32
CHUNK = 10_000  # synthetic videos made at a time; each chunk has a seed of its own
FAKE_FRAMES = 5  # as step 4 takes
# deciles (5 %, 15 %, ... 95 %) of the angle in radians between a fake's backgrounds and their
# source: 74 fakes of real clips, compressed, cropped, re-timed, captioned; none with the
# background replaced, which no scene index can find
DISTANCES_RAD = (0.12, 0.19, 0.24, 0.27, 0.34, 0.45, 0.52, 0.69, 0.82, 0.92)


@dataclass(frozen=True)
class SceneModel:
    """What synthetic embeddings are drawn from; D is the length of an embedding."""

    centres: np.ndarray  # [C, D] of the components
    weights: np.ndarray  # [C] their shares
    between: np.ndarray  # [D, D] factor of the covariance of means around their component
    within: np.ndarray  # [D, D] factor of the covariance of frames, of trace 1
    spreads: np.ndarray  # [V] root mean square distance of real videos' frames from their mean

    @classmethod
    def fit(cls, roots: Sequence[Path]) -> "SceneModel":
        """Learn from the entries of scene roots. Raises InputError when there are too few."""
        videos = [entry.embeddings.astype(np.float32) for root in roots
                  for entry in (SceneEntry.read(root, name) for name in indexed_ids(root))
                  if entry is not None]
        several = [frames for frames in videos if len(frames) > 1]
        if len(videos) < 10 or len(several) < 5 or len({v.shape[1] for v in videos}) > 1:
            raise InputError(f"{', '.join(map(str, roots))}: 10 sources of one embedder, 5 of them "
                             "with several frames, are needed; give folders of step 4")
        means = np.stack([frames.mean(0) for frames in videos])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
        centres, member = _components(means)
        residuals = [frames - frames.mean(0) for frames in several]
        # a mean lies nearer to its own few frames than to others: hence one less
        spreads = np.float32([np.sqrt((r ** 2).sum() / (len(r) - 1)) for r in residuals])
        scaled = np.concatenate([r / max(np.sqrt((r ** 2).sum(1).mean()), 1e-6)
                                 for r in residuals])
        return cls(centres, np.bincount(member, minlength=len(centres)) / len(member),
                   _factor(means - centres[member]), _factor(scaled), spreads)

    def videos(self, count: int, frames: int = 10, first: int = 0) -> Iterator[np.ndarray]:
        """Chunks [n, frames, D] float16 of `count` videos in all; the same ones for any count.

        first: number of the first chunk; chunks that the database does not reach are strangers.
        """
        for number, start in enumerate(range(0, count, CHUNK), first):
            chunk = self._chunk(np.random.default_rng([SEED, number]), CHUNK, frames)
            yield chunk[:count - start]

    def _chunk(self, rng: np.random.Generator, count: int, frames: int) -> np.ndarray:
        size = self.centres.shape[1]
        means = self.centres[rng.choice(len(self.weights), count, p=self.weights)]
        means = _unit(means + rng.standard_normal((count, size), np.float32) @ self.between)
        noise = rng.standard_normal((count * frames, size), np.float32) @ self.within
        noise *= np.repeat(rng.choice(self.spreads, count), frames)[:, None]
        return _unit(np.repeat(means, frames, axis=0) + noise).astype(np.float16).reshape(
            count, frames, size)

    def queries(self, known: np.ndarray, strangers: int) -> np.ndarray:
        """Fakes [len(known) + strangers, FAKE_FRAMES, D] float32 of known videos [n, frames, D],
        whose backgrounds are turned by the angles of DISTANCES_RAD in turn, and of others."""
        rng = np.random.default_rng([SEED, 2**31])
        others = next(self.videos(strangers, known.shape[1], first=2**31)) if strangers else None
        frames = known if others is None else np.concatenate([known, others])
        frames = frames[:, :FAKE_FRAMES].astype(np.float32)
        angles = np.resize(np.float32(DISTANCES_RAD), len(frames))[:, None, None]
        edit = rng.standard_normal((len(frames), 1, frames.shape[2]), np.float32) @ self.between
        edit = _unit(edit - (edit * frames).sum(2, keepdims=True) * frames)
        return np.cos(angles) * _unit(frames) + np.sin(angles) * edit


def _components(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres [C, D] and the component [V] of every mean, by k-means."""
    count = min(MAX_COMPONENTS, max(1, len(means) // PER_COMPONENT))
    kmeans = faiss.Kmeans(means.shape[1], count, seed=SEED, niter=25)
    kmeans.train(means)
    return kmeans.centroids, kmeans.index.search(means, 1)[1].ravel()


def _factor(rows: np.ndarray) -> np.ndarray:
    """[D, D] float32 F such that standard normal rows times F have the covariance of `rows`."""
    values, vectors = np.linalg.eigh(rows.T.astype(np.float64) @ rows / len(rows))
    return (np.sqrt(np.maximum(values, 0))[:, None] * vectors.T).astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)
