"""Face detection: a frame in, face boxes with six keypoints out.

Network: MediaPipe's short-range BlazeFace (Bazarevsky et al. 2019; Apache-2.0), 128x128, run by
OpenVINO. Faces smaller than about a tenth of the image are missed: give the region around them.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.fetch import FACE_DETECTION, fetch
from models.tflite import load_tflite

SIDE = 128  # input side, pixels
GRIDS = ((16, 2), (8, 6))  # cells per side, anchors per cell
ANCHORS = sum(cells * cells * count for cells, count in GRIDS)  # 896
SCORE_CLIP = 80.0  # logits beyond it would overflow


@dataclass(frozen=True)
class Face:
    """One face; "right" and "left" are the person's own."""

    box: tuple[float, float, float, float]  # x, y, width, height, pixels
    keypoints: np.ndarray  # [6, 2] float32 pixels: right eye, left eye, nose tip, mouth, right ear,
    # left ear
    score: float  # 0 to 1


class FaceDetector:
    """BlazeFace through OpenVINO. One instance serves one thread.

    min_score: faces below it are dropped. max_overlap: intersection over union above which two
    detections are one face; their boxes and keypoints are averaged, weighted by score. Raises
    ModelFileError when model_path is no such network.
    """

    def __init__(self, model_path: Path | None = None, *, min_score: float = 0.5,
                 max_overlap: float = 0.3):
        path = Path(model_path) if model_path else fetch(FACE_DETECTION)
        self._network = load_tflite(path, (1, SIDE, SIDE, 3), [(1, ANCHORS, 16), (1, ANCHORS, 1)],
                                    known=not model_path)
        self._min_score, self._max_overlap = min_score, max_overlap
        self._anchors = _anchor_centres()

    def detect(self, image: np.ndarray,
               region: tuple[float, float, float, float] | None = None) -> list[Face]:
        """Faces in an image [H, W, 3] uint8 BGR, best score first.

        region: x, y, width, height in pixels; only this part is looked at (for small faces).
        """
        left, top, part = _crop(image, region)
        if min(part.shape[:2]) < 2:
            return []
        square, scale, pad = _letterbox(part)
        scores, points = self._run(square)
        points = (points - pad) / scale + (left, top)
        return [_to_face(*merged) for merged in self._merge(scores, points)]

    def _run(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [N] and points [N, 8, 2] (two box corners, six keypoints; pixels of 128)."""
        # HxWxC BGR -> 1xCxHxW RGB in [-1, 1]
        blob = cv2.dnn.blobFromImage(square, 1 / 127.5, (SIDE, SIDE), (127.5,) * 3, swapRB=True)
        points, logits = self._network(blob.transpose(0, 2, 3, 1))
        scores = 1 / (1 + np.exp(-logits.reshape(-1).clip(-SCORE_CLIP, SCORE_CLIP)))
        kept = np.flatnonzero(scores >= self._min_score)
        raw = points.reshape(-1, 8, 2)[kept].astype(np.float64)
        centre, half = raw[:, 0] + self._anchors[kept], raw[:, 1] / 2
        keypoints = raw[:, 2:] + self._anchors[kept, None]
        corners = np.stack([centre - half, centre + half], axis=1)
        return scores[kept], np.concatenate([corners, keypoints], axis=1)

    def _merge(self, scores: np.ndarray,
               points: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Non-maximum suppression that averages instead of dropping: (score, points [8, 2])."""
        order, merged = np.argsort(-scores, kind="stable"), []
        while order.size:
            same = _overlap(points[order[0], :2], points[order, :2]) > self._max_overlap
            same[0] = True
            group = order[same]
            weights = scores[group] / scores[group].sum()
            merged.append((float(scores[order[0]]), np.tensordot(weights, points[group], 1)))
            order = order[~same]
        return merged


def _anchor_centres() -> np.ndarray:
    """[896, 2] x, y of the anchors, pixels of the 128x128 input."""
    centres = []
    for cells, count in GRIDS:
        steps = (np.arange(cells) + 0.5) * SIDE / cells
        grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, count, axis=0))
    return np.concatenate(centres)


def _crop(image: np.ndarray,
          region: tuple[float, float, float, float] | None) -> tuple[int, int, np.ndarray]:
    """Left, top and picture of the part of the image that lies inside a region."""
    if region is None:
        return 0, 0, image
    x, y, width, height = region
    left, top = max(0, round(x)), max(0, round(y))
    return left, top, image[top:max(top, round(y + height)), left:max(left, round(x + width))]


def _letterbox(image: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Picture in a square of 128 px on black, its scale, and its offset (x, y) in the square."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    square[top:top + size[1], left:left + size[0]] = cv2.resize(image, size, interpolation=method)
    return square, scale, np.array([left, top])


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [2, 2] with boxes [N, 2, 2] (corners): [N]."""
    shared = np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0])
    shared = shared.clip(0).prod(axis=1)
    areas = (boxes[:, 1] - boxes[:, 0]).prod(axis=1)
    return shared / np.maximum((box[1] - box[0]).prod() + areas - shared, 1e-9)


def _to_face(score: float, points: np.ndarray) -> Face:
    (left, top), (right, bottom) = points[:2].tolist()
    return Face((left, top, right - left, bottom - top), points[2:].astype(np.float32), score)
