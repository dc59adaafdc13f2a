"""How well scenes are found again: recall@k, its interval, and rivals that need no training.

Everything is compared through unit vectors and their inner product. Backgrounds are
[H, W, 4] uint8 BGRA, alpha 0 where the person was.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from models.scene import fill_hole

THUMBNAIL = 8  # cells along each side
HASH_PICTURE, HASH_SIDE = 64, 16  # pixels and DCT coefficients along each side, as in PDQ
BOOTSTRAP = 2000
KS = (1, 5, 10)


def colour_thumbnail(background: np.ndarray) -> np.ndarray:
    """8 x 8 mean colours of the background, their own mean taken away: [192] unit vector."""
    small, _ = fill_hole(background, THUMBNAIL)
    return _unit((small - small.mean((0, 1))).ravel())


def perceptual_hash(background: np.ndarray) -> np.ndarray:
    """DCT hash of the luminance after Facebook's PDQ (2019): [256] float32, each +-1/16.

    The inner product of two is 1 - 2 h / 256 for a Hamming distance of h bits. PDQ's two box
    filters are replaced by one area-averaging resize; the hole gets the mean colour first.
    """
    filled, _ = fill_hole(background, HASH_PICTURE)
    grey = cv2.cvtColor(filled, cv2.COLOR_BGR2GRAY)
    waves = cv2.dct(grey)[1:HASH_SIDE + 1, 1:HASH_SIDE + 1]
    return (np.where(waves > np.median(waves), 1, -1).ravel() / HASH_SIDE).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


def true_ranks(similarity: np.ndarray, truth: Sequence[str], scenes: Sequence[str]) -> np.ndarray:
    """How many other scenes come before the true one, per query: [Q] int.

    similarity: [Q, N], query against database entry, higher is closer. truth: scene of each
    query. scenes: scene of each entry; a scene counts with its best entry. Equals come before.
    """
    names, column = np.unique(np.asarray(scenes), return_inverse=True)
    best = np.full((len(similarity), len(names)), -np.inf, np.float32)
    for entry, scene in enumerate(column):
        np.maximum(best[:, scene], similarity[:, entry], out=best[:, scene])
    true = np.searchsorted(names, np.asarray(truth))
    own = best[np.arange(len(best)), true]
    return (best >= own[:, None]).sum(1) - 1


def recall_figures(ranks: np.ndarray, truth: Sequence[str], seed: int = 0) -> dict[str, object]:
    """Recall@1, 5, 10 in per cent with 95 % intervals, bootstrapped over scenes.

    ranks: [Q] int, 0 where the true scene is first. Queries of one scene are drawn together.
    """
    names, scene = np.unique(np.asarray(truth), return_inverse=True)
    count = np.bincount(scene, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (BOOTSTRAP, len(names)))
    figures: dict[str, object] = {}
    for k in KS:
        hits = np.bincount(scene, weights=ranks < k, minlength=len(names))
        spread = np.percentile(hits[drawn].sum(1) / count[drawn].sum(1), (2.5, 97.5))
        figures[f"recall@{k}"] = round(100 * float((ranks < k).mean()), 1)
        figures[f"recall@{k} 95 %"] = [round(100 * float(end), 1) for end in spread]
    return figures | {"queries": len(ranks), "scenes": len(names)}


RIVALS = {"colour thumbnail 8x8": colour_thumbnail, "perceptual hash (PDQ-like)": perceptual_hash}
# what is looked for, and among what: kinds of scenes
TESTS = {"photo": ("photo",), "backdrop": ("backdrop",), "video": ("video", "backdrop")}


def compare(vectors: dict[str, np.ndarray], scenes: Sequence[str], edited: np.ndarray
            ) -> dict[str, dict[str, dict]]:
    """Recall figures by kind of scene and by method.

    vectors: of every view, [V, D], or [V, 2, D] where a method needs the mirror image too.
    scenes: of every view, their kind first. edited: [V] bool, queries; the rest is the database.
    """
    kinds, scenes = np.array([scene.split()[0] for scene in scenes]), np.asarray(scenes)
    figures: dict[str, dict[str, dict]] = {}
    for kind, among in TESTS.items():
        asked, stored = edited & (kinds == kind), ~edited & np.isin(kinds, among)
        if not asked.any():
            continue
        figures[kind] = {"database": f"{stored.sum()} views of {len(set(scenes[stored]))} scenes"}
        for method, vector in vectors.items():
            ranks = true_ranks(_similarity(vector, asked, stored), scenes[asked], scenes[stored])
            figures[kind][method] = recall_figures(ranks, scenes[asked])
    return figures


def _similarity(vectors: np.ndarray, asked: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """[queries, database]; where there are mirrored vectors, the better of a query's two."""
    if vectors.ndim == 2:
        return vectors[asked] @ vectors[stored].T
    queries, database = vectors[asked], vectors[stored][:, 0]
    return np.maximum(queries[:, 0] @ database.T, queries[:, 1] @ database.T)
