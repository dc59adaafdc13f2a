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
    alpha = np.where(keep, 255, 0).astype(np.uint8)
    return cv2.merge([*cv2.split(cv2.bitwise_and(image, image, mask=alpha)), alpha])


def background_region(mask: np.ndarray, margin: float = 0.02) -> np.ndarray:
    """[H, W] uint8 person mask -> [H, W] bool, True on background.

    The person grows by `margin` of the shorter side first, so that no rim of it is left.
    """
    radius = max(1, round(margin * min(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask, kernel) == 0
