"""How a fake's whole picture moves: a zoom or a pan laid over it, or the hand that filmed a screen.

A source is compared through one mapping, so such a fake is steadied first. What does not belong to
the person is followed from the middle frame to all others: corners (Shi and Tomasi 1994), tracked
by pyramidal Lucas-Kanade (Bouguet 2001) from where the frame before has them, and one similarity
that most of them agree on (RANSAC).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from utils.clip_mapping import rescaled
from utils.layout import evenly_spaced
from utils.steadied import CameraPath

SIDE = 480  # pixels of the longer side of the pictures that are followed
GROWN = 0.03  # of it, by which the person grows: no corner on the person's outline
CORNERS, APART = 300, 7  # at most; pixels between them
QUALITIES = 0.01, 0.001  # of a corner, share of the best one's; the second where the first tells no
# path
LEAST = 12  # corners that have to agree
FEW = 0.6  # share of the corners that are left, below which new ones are looked for
AGREE_PX = 1.0
WINDOW = 21  # pixels
GLANCES = 4  # frames that tell whether anything moves
MOVES = 0.002  # of the longer side: smaller paths, of the picture's corners, are none
KEPT = 128  # frames in memory: corners of another quality follow them once more
MOST_FRAMES = 1500  # of a fake whose path is looked for


@dataclass(frozen=True)
class Followed:
    """Corners of a frame whose place in the steadied picture is known."""

    grey: np.ndarray
    corners: np.ndarray  # [N, 1, 2] float32
    path: np.ndarray  # [3, 3], pixels of the frame to those of the middle one


@dataclass(frozen=True)
class Found:
    """Where another frame has them."""

    path: np.ndarray  # [3, 3], of that frame
    share: float  # of the corners that agree on it


class Background:
    """What is followed of a fake: its frames, scaled down, and their corners off the person."""

    def __init__(self, picture: Callable[[int], np.ndarray], mask: Callable[[int], np.ndarray],
                 scale: float):
        """picture, mask: as of camera_path(); scale: of what is followed."""
        self._picture, self._mask, self._scale = picture, mask, scale
        self.grey = lru_cache(KEPT)(self._grey)  # frame -> [H, W] uint8

    def _grey(self, frame: int) -> np.ndarray:
        return cv2.cvtColor(cv2.resize(self._picture(frame), None, fx=self._scale, fy=self._scale,
                                       interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)

    def followed(self, frame: int, grey: np.ndarray, path: np.ndarray,
                 quality: float) -> Followed | None:
        """A frame and its corners; None where there are too few."""
        person = cv2.resize(self._mask(frame), grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        radius = max(1, round(GROWN * max(grey.shape)))
        grown = cv2.dilate(person, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
        corners = cv2.goodFeaturesToTrack(grey, CORNERS, quality, APART,
                                          mask=cv2.bitwise_not(grown))
        return None if corners is None or len(corners) < LEAST else Followed(grey, corners, path)


def camera_path(picture: Callable[[int], np.ndarray], mask: Callable[[int], np.ndarray],
                frames: Sequence[int]) -> CameraPath | None:
    """Of every frame the similarity [2, 3] that takes its pixels to those of the middle one.

    picture, mask: frame number -> [H, W, 3] uint8 BGR, and [H, W] uint8, 255 on the person; frames:
    of the fake, in order. None where the picture stands still, or the background tells too little.
    """
    if len(frames) > MOST_FRAMES:
        return None
    scale = min(1.0, SIDE / max(picture(frames[0]).shape[:2]))
    background = Background(picture, mask, scale)
    for quality in QUALITIES:
        path = _path(background, frames, quality)
        if path is not None:
            return {frame: rescaled(matrix[:2], 1 / scale, 1 / scale)
                    for frame, matrix in path.items()} or None
    return None


def _path(background: Background, frames: Sequence[int], quality: float) -> CameraPath | None:
    """The path [3, 3], by corners of a quality, of pictures that were scaled; empty where they
    stand still, None where the corners do not tell."""
    middle = len(frames) // 2
    grey = background.grey(frames[middle])
    key = background.followed(frames[middle], grey, np.eye(3), quality)
    if key is None:
        return None
    if _stands_still(key, (background.grey(frames[position])
                           for position in evenly_spaced(len(frames), GLANCES))):
        return {}
    path: CameraPath = {}
    for order in (frames[middle:], frames[middle::-1]):
        near, before, path[order[0]] = key, key.grey, key.path
        for last, frame in pairwise(order):
            grey = background.grey(frame)
            found = _followed(near, grey, path[last])
            if found is None or found.share < FEW:
                nearer = background.followed(last, before, path[last], quality)
                if again := nearer and _followed(nearer, grey, path[last]):
                    near, found = nearer, again
            if found is None:
                return None
            before, path[frame] = grey, found.path
    return path if moves(path.values(), key.grey.shape) else {}


def _followed(key: Followed, grey: np.ndarray, near: np.ndarray) -> Found | None:
    """The corners of a frame in another one, [H, W]; None where too few agree. near: the path of a
    frame beside that."""
    guess = cv2.perspectiveTransform(key.corners, np.linalg.inv(near) @ key.path)
    moved, seen, _ = cv2.calcOpticalFlowPyrLK(
        key.grey, grey, key.corners, guess.astype(np.float32), winSize=(WINDOW, WINDOW),
        maxLevel=3, flags=cv2.OPTFLOW_USE_INITIAL_FLOW)
    seen = seen.ravel() > 0
    if seen.sum() < LEAST:
        return None
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.estimateAffinePartial2D(moved[seen], key.corners[seen],
                                                  ransacReprojThreshold=AGREE_PX)
    if matrix is None or inliers.sum() < LEAST:
        return None
    return Found(key.path @ np.vstack([matrix, [0, 0, 1]]), inliers.sum() / len(key.corners))


def _stands_still(key: Followed, others: Iterable[np.ndarray]) -> bool:
    """Whether the corners of a frame are where they were in some others, [H, W]."""
    found = [_followed(key, grey, key.path) for grey in others]
    return all(found) and not moves([one.path for one in found], key.grey.shape)


def moves(path: Iterable[np.ndarray], shape: tuple[int, int]) -> bool:
    """Whether the corners of the picture, [H, W], move by more than what tracking errs by; path: of
    similarities [2, 3] or [3, 3]."""
    height, width = shape
    ends = np.float64([[(0, 0), (width, 0), (0, height), (width, height)]])
    off = [cv2.transform(ends, matrix[:2]) - ends for matrix in path]
    return float(np.sqrt(np.mean(np.square(off)) * 2)) > MOVES * max(shape)

