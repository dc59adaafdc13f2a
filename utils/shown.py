"""How the frames of a video are shown: upright, with square pixels, and all at one size.

A display matrix turns and mirrors frames (ISO/IEC 14496-12, 6.2.2), a sample aspect ratio widens
or heightens their pixels, and a stream may change the size of its frames midway, as live streams
and joined files do. Frames of another size or shape are laid into the first one's.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type

SQUARE = 0.03  # of a sample aspect ratio: what is nearer to 1 is left as it is; and what is beyond
WIDEST = 2.5  # this, or its inverse, is taken for damage: the widest in use is 24:11


@dataclass(frozen=True)
class Shown:
    """What is done with every decoded frame of a video."""

    width: int  # as shown
    height: int
    aspect: float = 1.0  # width of a pixel by its height
    transposed: bool = False  # first the picture is mirrored along its diagonal,
    mirrored: bool = False  # then left and right are exchanged,
    upended: bool = False  # and top and bottom

    @classmethod
    def of(cls, raw: av.VideoFrame, ratio: Fraction | None) -> "Shown":
        """As a video is shown that begins with a frame; ratio: sample aspect ratio."""
        aspect = float(ratio or 1)
        if abs(aspect - 1) < SQUARE or not 1 / WIDEST <= aspect <= WIDEST:
            aspect = 1.0
        matrix = raw.side_data.get(Type.DISPLAYMATRIX)
        a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist() if matrix else (1, 0, 0, 0, 1)
        transposed = abs(b) > abs(a)
        width, height = _square(raw.width, raw.height, aspect)
        return cls(*((height, width) if transposed else (width, height)), aspect, transposed,
                   (c if transposed else a) < 0, (b if transposed else d) < 0)

    def picture(self, image: np.ndarray, max_side: int | None = None) -> np.ndarray:
        """A decoded picture [h, w, 3] uint8 as it is shown, [height, width, 3], or smaller, so that
        no side is longer than max_side."""
        size = (self.height, self.width) if self.transposed else (self.width, self.height)
        if max_side and max(size) > max_side:
            scale = max_side / max(size)
            size = tuple(max(1, round(side * scale)) for side in size)
        image = _fitted(image, size, self.aspect)
        if self.transposed:
            image = image.transpose(1, 0, 2)
        image = image[::-1 if self.upended else 1, ::-1 if self.mirrored else 1]
        return np.ascontiguousarray(image)


def _square(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height once the pixels are made square, by as many of them as it takes."""
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def _fitted(image: np.ndarray, size: tuple[int, int], aspect: float) -> np.ndarray:
    """A picture scaled to a size (width, height), or as large as fits into it, with black beside
    it."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    own = _square(width, height, aspect)
    scale = min(whole / side for whole, side in zip(size, own))
    inner = tuple(whole if abs(whole - side * scale) < 1 else max(1, round(side * scale))
                  for whole, side in zip(size, own))
    shrinks = inner[0] * inner[1] < width * height
    image = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if inner == size:
        return image
    left, top = ((whole - side) // 2 for whole, side in zip(size, inner))
    result = np.zeros((size[1], size[0], 3), np.uint8)
    result[top:top + inner[1], left:left + inner[0]] = image
    return result
