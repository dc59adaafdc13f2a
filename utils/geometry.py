"""Masks, rectangles and image mappings."""

import cv2
import numpy as np

Rectangle = list[int]  # x, y, width, height in pixels


def largest_rectangle(mask: np.ndarray) -> Rectangle | None:
    """Bounding rectangle of the largest connected region of a mask, or None when it is empty.

    mask: [H, W] uint8, 255 inside.
    """
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return [int(value) for value in stats[largest, :4]]


def cut_out(image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Picture with alpha: [H, W, 3] BGR and a [H, W] bool -> [H, W, 4] BGRA, zero where not kept."""
    opaque = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    return cv2.bitwise_and(opaque, opaque, mask=keep.astype(np.uint8))


MARGIN = 0.02  # of the shorter side, by which the person grows before the background is cut out


def background_region(mask: np.ndarray) -> np.ndarray:
    """[H, W] uint8 person mask -> [H, W] bool, True on background.

    The person grows by MARGIN first, so that no rim of it is left. person_region() undoes it.
    """
    return cv2.dilate(mask, _margin_kernel(mask.shape)) == 0


def person_region(background: np.ndarray) -> np.ndarray:
    """[H, W] bool background -> [H, W] uint8 person mask without the margin."""
    removed = np.where(background, 0, 255).astype(np.uint8)
    return cv2.erode(removed, _margin_kernel(background.shape))


def _margin_kernel(shape: tuple[int, ...]) -> np.ndarray:
    radius = max(1, round(MARGIN * min(shape)))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def square_before(matrix: np.ndarray, square: tuple[float, float, float],
                  mirrored_width: int | None = None) -> tuple[float, float, float]:
    """The upright square of the fake's frame that a mapping takes to a square of the source's.

    Arguments as of square_mapping().
    """
    x, y, side = square
    inverse = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    centre_x, centre_y = inverse @ (x + side / 2, y + side / 2, 1)
    if mirrored_width is not None:
        centre_x = mirrored_width - centre_x
    side *= float(np.hypot(*inverse[:, 0]))
    return float(centre_x - side / 2), float(centre_y - side / 2), side


def square_onto(fake_square: tuple[float, float, float],
                source_square: tuple[float, float, float],
                mirrored_width: int | None = None) -> np.ndarray:
    """The mapping [2, 3] between frames that takes a square of the fake's to one of the source's.

    Arguments as of square_mapping().
    """
    (x, y, side), (left, top, length) = fake_square, source_square
    if mirrored_width is not None:
        x = mirrored_width - x - side
    scale = length / side
    return np.array([[scale, 0, left - scale * x], [0, scale, top - scale * y]])


def square_mapping(matrix: np.ndarray, fake_square: tuple[float, float, float],
                   source_square: tuple[float, float, float],
                   mirrored_width: int | None = None) -> np.ndarray:
    """A mapping between frames as one between squares cut out of them.

    matrix: [2, 3], pixels of the fake's frame to pixels of the source's frame; squares: x, y of
    the upper left corner and side in pixels; mirrored_width: width of the fake's frame when the
    matrix starts from its mirror image. Returns [2, 3] between coordinates in units of the sides.
    """
    x, y, side = fake_square
    if mirrored_width is not None:
        x = mirrored_width - x - side
    from_unit = np.array([[side, 0, x], [0, side, y], [0, 0, 1]])
    x, y, side = source_square
    to_unit = np.array([[1 / side, 0, -x / side], [0, 1 / side, -y / side], [0, 0, 1]])
    return (to_unit @ np.vstack([matrix, [0, 0, 1]]) @ from_unit)[:2]


def mirror_image(width: int) -> np.ndarray:
    """[3, 3], takes the pixels of a picture to those of its mirror image, and back."""
    return np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
