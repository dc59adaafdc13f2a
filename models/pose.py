"""Pose features: small grey pictures of the person, whose changes over time follow the pose.

Motion tells how a head moves, poses tell where it is: between strangers, or two takes of one
person, the courses of grey values differ even where both hardly move. A course is compared with
its mean over time taken away, so that faces, clothes and lighting do not count.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

SIDE = 96  # pixels of the person square that are kept of a fake, which is still to be mapped
CELLS = 32  # pixels that are compared
SOFT_GREY = 3.0  # grey levels; pixels that change less than that count for little


@dataclass(frozen=True)
class PoseClip:
    """The person square of successive frames."""

    grey: np.ndarray  # [T, S, S] uint8
    weight: np.ndarray  # [T, S, S] float32 in [0, 1], person
    renewed: np.ndarray | None = None  # [T, S, S] uint8, how much of each pixel differs from the
    # frame before; None where all of it may: nothing is held
    backwards: bool = False  # the frames are in the reverse of the order in which they were coded

    def mirrored(self) -> "PoseClip":
        """The same clip seen in a mirror."""
        return self._each(lambda pictures: pictures[:, :, ::-1])

    def reversed(self) -> "PoseClip":
        """The same clip played backwards."""
        return replace(self._each(lambda pictures: pictures[::-1]), backwards=not self.backwards)

    def part(self, first: int, last: int) -> "PoseClip":
        """The frames first to last, inclusive."""
        return self._each(lambda pictures: pictures[first:last + 1])

    def mapped(self, mapping: np.ndarray | None = None, cells: int = CELLS) -> "PoseClip":
        """The clip in another square, cells x cells pixels.

        mapping: [2, 3], from (x, y) in units of this square's side to units of the other one's;
        None where both are the same.
        """
        mapping = np.eye(2, 3) if mapping is None else mapping
        return self._each(lambda pictures: map_squares(pictures, mapping, cells))

    def plain(self) -> "PoseClip":
        """The same pictures, as if nothing were known of what is held."""
        return replace(self, renewed=None)

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> "PoseClip":
        return replace(self, grey=change(self.grey), weight=change(self.weight),
                       renewed=None if self.renewed is None else change(self.renewed))

    def shown(self, source: np.ndarray) -> np.ndarray:
        """What the clip would show of a source whose pixels it holds where it holds its own.

        source: [T, S, S], frame by frame beside it. Returns [T, S, S], float32 where any is held.
        """
        if self.renewed is None:
            return source
        return hold(source.astype(np.float32), self.renewed / np.float32(255), self.backwards)


def hold(values: np.ndarray, renewed: np.ndarray, backwards: bool = False) -> np.ndarray:
    """Values [T, ...] float32 over time, each kept from the frame before but for the share of it
    that is `renewed` [T, ...]; of the first frame in time, which is the last one if `backwards`,
    all of them."""
    turned = slice(None, None, -1 if backwards else 1)
    shown = values[turned].copy()
    for before, now, share in zip(shown, shown[1:], renewed[turned][1:]):
        now[:] = before + share * (now - before)
    return shown[turned]


def map_squares(squares: np.ndarray, mapping: np.ndarray, cells: int) -> np.ndarray:
    """Pictures of a square [T, S, S] as pictures of another one [T, cells, cells].

    mapping: [2, 3], as PoseClip.mapped() takes it.
    """
    scale = cells / squares.shape[2]
    matrix = np.column_stack([mapping[:, :2] * scale, mapping[:, 2] * cells])
    matrix[:, 2] += 0.5 * (matrix[:, :2].sum(axis=1) - 1)  # between pixel centres
    shrinking = np.sqrt(abs(np.linalg.det(matrix[:, :2])))

    def warp(picture: np.ndarray) -> np.ndarray:
        if shrinking < 1:  # warpAffine does not average
            picture = cv2.GaussianBlur(picture, (0, 0), 0.5 / max(shrinking, 0.05))
        return cv2.warpAffine(picture, matrix, (cells, cells))

    return np.stack([warp(picture) for picture in squares])


def small_grey(crops: np.ndarray, side: int) -> np.ndarray:
    """Crops [T, S, S, 3] uint8 BGR -> [T, side, side] uint8."""
    return np.stack([cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (side, side),
                                interpolation=cv2.INTER_AREA) for crop in crops])


def small_weight(masks: np.ndarray, side: int) -> np.ndarray:
    """Masks [T, S, S] float32 -> [T, side, side]."""
    return np.stack([cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
                     for mask in masks])


def pose_score(fake: PoseClip, source: np.ndarray) -> float:
    """How alike the grey values of two aligned clips run, -1 to 1.

    fake: CELLS x CELLS pixels; source: [T, CELLS, CELLS] uint8, frame by frame beside it. A
    correlation over time, weighted by the fake's person, with what the fake would show of the
    source; 0 where nothing of a person is left.
    """
    weight = fake.weight.mean(axis=0)
    f, g = _course(fake.grey, weight), _course(fake.shown(source), weight)
    norm = np.sqrt((f * f * weight).sum() * (g * g * weight).sum())
    return float((f * g * weight).sum() / norm) if norm > 1e-6 else 0.0


def levelled(grey: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[T, S, S] float32 without the mean of every frame, for lamps flicker; weight: [S, S]."""
    values = grey.astype(np.float32)
    values -= ((values * weight).sum((1, 2)) / max(weight.sum(), 1e-6))[:, None, None]
    return values


def _course(grey: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Changes over time of every pixel: no mean per frame, no mean per pixel."""
    values = levelled(grey, weight)
    values -= values.mean(axis=0)
    return values / (values.std(axis=0) + SOFT_GREY)
