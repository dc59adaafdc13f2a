"""Registration of a fake frame to source frames by local features.

SIFT keypoints (Lowe 2004) with RootSIFT descriptors (Arandjelovic and Zisserman 2012), ratio
test, and a similarity transform by RANSAC (Fischler and Bolles 1981). Keypoints carry where they
lie: on the background, or on the person outside the face. The face itself is left out, for it is
what a fake replaces, and a donor's face would match the donor's own video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

MAX_SIDE = 640  # pixels; larger frames are scaled down before keypoints are looked for
MAX_KEYPOINTS = 500
GRID = 4  # cells per side that keypoints are spread over
RATIO = 0.8  # of the distances to the nearest and the second nearest descriptor
RANSAC_PX = 5.0
MIN_INLIERS = 5  # fewer do not make a mapping
SCALE_RANGE = (0.1, 10.0)  # of a plausible mapping


@dataclass(frozen=True)
class Keypoints:
    """Local features of one frame."""

    points: np.ndarray  # [N, 2] float32, x and y in pixels of the full frame
    descriptors: np.ndarray  # [N, 128] uint8, RootSIFT times 512
    on_background: np.ndarray  # [N] bool


@dataclass(frozen=True)
class Mapping:
    """A similarity that takes pixels of the fake's frame to pixels of the source's frame."""

    matrix: np.ndarray  # [2, 3] float64; for a mirrored fake it starts from the mirrored frame
    flip: bool
    inliers: int  # on background and person
    background_inliers: int
    fake_frame: int  # frames that were matched
    source_frame: int
    fake_points: np.ndarray  # [inliers, 2] pixels, of the fake's frame as it is
    source_points: np.ndarray  # [inliers, 2] pixels


def find_keypoints(image: np.ndarray, background: np.ndarray,
                   faces: list[tuple[float, float, float, float]] = (),
                   spread: bool = False) -> Keypoints:
    """Local features of a frame outside faces.

    image: [H, W, 3] uint8 BGR; background: [H, W] bool, True where no person is;
    faces: boxes x, y, width, height in pixels; spread: also take the strongest ones of every part
    of the picture, so that a busy picture around a small one does not keep it from having any.
    """
    scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    allowed = np.full(grey.shape, 255, np.uint8)
    for x, y, width, height in faces:
        centre = (round(x + width / 2), round(y + 0.45 * height))
        cv2.ellipse(allowed, centre, (round(0.6 * width), round(0.75 * height)), 0, 0, 360, 0, -1)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        allowed = cv2.resize(allowed, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
    sift = cv2.SIFT_create(nfeatures=0 if spread else MAX_KEYPOINTS, contrastThreshold=0.02)
    if spread:
        found = _spread(sift.detect(grey, allowed), grey.shape)
        found, descriptors = sift.compute(grey, found) if found else ([], None)
    else:
        found, descriptors = sift.detectAndCompute(grey, allowed)
    if not found:
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8),
                         np.zeros(0, bool))
    points = np.float32([keypoint.pt for keypoint in found]) / np.float32(scale)
    column, row = (np.clip(points[:, axis].astype(int), 0, size - 1)
                   for axis, size in ((0, image.shape[1]), (1, image.shape[0])))
    return Keypoints(points, _root_sift(descriptors), background[row, column])


def _spread(found: Sequence[cv2.KeyPoint], shape: tuple[int, int]) -> list[cv2.KeyPoint]:
    """The MAX_KEYPOINTS strongest and the strongest of each cell of a grid, strongest first."""
    room = np.full((GRID, GRID), MAX_KEYPOINTS // GRID**2)
    chosen = []
    for rank, keypoint in enumerate(sorted(found, key=lambda keypoint: -keypoint.response)):
        column, row = (min(int(GRID * at / size), GRID - 1)
                       for at, size in zip(keypoint.pt, shape[::-1]))
        room[row, column] -= 1
        if rank < MAX_KEYPOINTS or room[row, column] >= 0:
            chosen.append(keypoint)
    return chosen


def _root_sift(descriptors: np.ndarray) -> np.ndarray:
    share = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.clip(np.sqrt(share) * 512, 0, 255).round().astype(np.uint8)


def register(fake: Keypoints, source: Keypoints, *, flip: bool, fake_frame: int, source_frame: int,
             width: int) -> Mapping | None:
    """Estimate the mapping between two frames; None when too few keypoints agree.

    fake: keypoints of the frame as it is, or of its mirror image when `flip` is set;
    width: of the fake's frame, pixels. Deterministic.
    """
    pairs = _mutual_pairs(fake.descriptors, source.descriptors)
    if len(pairs) < MIN_INLIERS:
        return None
    a, b = fake.points[pairs[:, 0]], source.points[pairs[:, 1]]
    cv2.setRNGSeed(0)
    matrix, inside = cv2.estimateAffinePartial2D(
        a, b, method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PX, maxIters=2000, confidence=0.999)
    if matrix is None:
        return None
    inside = _distinct(a, b, inside.ravel().astype(bool))
    if inside.sum() < MIN_INLIERS or not SCALE_RANGE[0] < np.hypot(*matrix[:, 0]) < SCALE_RANGE[1]:
        return None
    background = fake.on_background[pairs[:, 0]] & source.on_background[pairs[:, 1]]
    seen = a[inside] * (-1, 1) + (width - 1, 0) if flip else a[inside]
    return Mapping(matrix, flip, int(inside.sum()), int((inside & background).sum()), fake_frame,
                   source_frame, seen, b[inside])


def covered_share(points: np.ndarray, width: int, height: int) -> float:
    """Share of a picture that the convex hull of some points in it, [N, 2] pixels, covers."""
    return cv2.contourArea(cv2.convexHull(points.astype(np.float32))) / (width * height)


def _mutual_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[P, 2] indices of descriptors that pass the ratio test; each second one taken once."""
    if len(first) < 2 or len(second) < 2:
        return np.zeros((0, 2), int)
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first.astype(np.float32),
                                                  second.astype(np.float32), k=2)
    best: dict[int, tuple[float, int]] = {}
    for nearest, next_nearest in matches:
        if nearest.distance < RATIO * next_nearest.distance:
            taken = best.get(nearest.trainIdx)
            if taken is None or nearest.distance < taken[0]:
                best[nearest.trainIdx] = (nearest.distance, nearest.queryIdx)
    return np.array([(query, train) for train, (_, query) in sorted(best.items())],
                    int).reshape(-1, 2)


def _distinct(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Of inliers in the same place (several orientations of one keypoint) keep one."""
    kept = np.zeros_like(inside)
    seen: set[tuple] = set()
    for index in np.flatnonzero(inside):
        place = (*np.round(a[index]).astype(int), *np.round(b[index]).astype(int))
        if place not in seen:
            seen.add(place)
            kept[index] = True
    return kept
