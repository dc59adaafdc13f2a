"""Motion features: how the person moves between two frames, as a small grid of displacements.

The person's steady square (one per video, so that the features see the head move in it) is cut
out and scaled to SIDE pixels; optical flow is computed there and averaged, inside the person
mask, over the cells of a grid.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.flow import FlowEstimator

SIDE = 192  # pixels of the square that optical flow sees
FINE = 48  # cells per side kept for a fake, which is still to be mapped onto a source
COARSE = 12  # cells per side that are compared
LEAST = 1e-8  # share of a cell that is person, to divide by
CUT = 2  # to be raised when cut_square gives other pictures

Square = tuple[float, float, float]  # x, y of the upper left corner, side; pixels of the video


@dataclass(frozen=True)
class MotionGrid:
    """Displacements of a stretch of video, pair by pair of neighbouring frames."""

    flow: np.ndarray  # [T-1, G, G, 2] float32, mean (dx, dy) of the person, pixels of the SIDE crop
    weight: np.ndarray  # [T-1, G, G] float32 in [0, 1], share of the cell that is person

    def __len__(self) -> int:
        return len(self.flow)

    @classmethod
    def joined(cls, parts: list["MotionGrid"], cells: int = FINE) -> "MotionGrid":
        """Successive stretches as one; `cells` is for the case that there is none."""
        return cls(np.concatenate([np.zeros((0, cells, cells, 2), np.float32),
                                   *(part.flow for part in parts)]),
                   np.concatenate([np.zeros((0, cells, cells), np.float32),
                                   *(part.weight for part in parts)]))

    def mirrored(self) -> "MotionGrid":
        """The same motion seen in a mirror (left and right exchanged)."""
        return MotionGrid(self.flow[:, :, ::-1] * np.float32([-1, 1]), self.weight[:, :, ::-1])

    def reversed(self) -> "MotionGrid":
        """The same motion played backwards."""
        return MotionGrid(-self.flow[::-1], self.weight[::-1])

    def part(self, first: int, last: int) -> "MotionGrid":
        """The motion between two frames, both included."""
        return MotionGrid(self.flow[first:last], self.weight[first:last])

    def pooled(self, cells: int = COARSE) -> "MotionGrid":
        """The same motion on a coarser grid; `cells` divides the present number of cells."""
        step = self.flow.shape[1] // cells
        mass = _block_sum(self.weight[..., None], step)
        flow = _block_sum(self.flow * self.weight[..., None], step) / np.maximum(mass, 1e-6)
        return MotionGrid(flow, mass[..., 0] / step**2)

    def warped(self, mapping: np.ndarray) -> "MotionGrid":
        """The motion after the picture was mapped.

        mapping: [2, 3], takes (x, y) in units of this square's side, (0, 0) the upper left
        corner, to the units of the other square. Displacements are turned and scaled with it.
        """
        cells = self.flow.shape[1]
        # between cell centres: u = (cell + 0.5) / cells
        matrix = mapping.astype(np.float64).copy()
        matrix[:, 2] = cells * matrix[:, 2] + 0.5 * (matrix[:, :2].sum(axis=1) - 1)
        stack = np.concatenate([self.flow * self.weight[..., None], self.weight[..., None]], axis=3)
        moved = np.stack([cv2.warpAffine(cell, matrix, (cells, cells)) for cell in stack])
        flow = moved[..., :2] / np.maximum(moved[..., 2:], 1e-6) @ mapping[:, :2].T
        return MotionGrid(flow.astype(np.float32), moved[..., 2])


def _block_sum(values: np.ndarray, step: int) -> np.ndarray:
    """[T, G, G, C] -> [T, G/step, G/step, C], sums over step x step blocks."""
    rows = sum(values[:, offset::step] for offset in range(step))  # much faster than blocks' sum()
    return sum(rows[:, :, offset::step] for offset in range(step))


def steady_square(rectangles: list[list[int] | None], expand: float = 1.05) -> Square | None:
    """One square for a whole video that holds the person at almost all times.

    rectangles: person rectangles [x, y, w, h] in pixels of some frames, None where there is none.
    Returns None when no frame has a person.
    """
    found = np.array([r for r in rectangles if r], np.float64).reshape(-1, 4)
    if not len(found):
        return None
    left, top = np.quantile(found[:, :2], 0.1, axis=0)
    right, bottom = np.quantile(found[:, :2] + found[:, 2:], 0.9, axis=0)
    side = max(right - left, bottom - top, 16.0) * expand
    return ((left + right - side) / 2, (top + bottom - side) / 2, side)


def cut_square(image: np.ndarray, square: Square, side: int = SIDE) -> np.ndarray:
    """The square of an image, scaled to side x side; what lies outside repeats the border."""
    x, y, length = square
    image, shrunk = in_blocks(image, int(length // side))  # warpAffine does not average
    x, y, scale = x / shrunk, y / shrunk, side / length * shrunk
    matrix = np.array([[scale, 0, scale * (0.5 - x) - 0.5], [0, scale, scale * (0.5 - y) - 0.5]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def in_blocks(image: np.ndarray, times: int) -> tuple[np.ndarray, int]:
    """An image shrunk by a whole number, up to `times`, by averaging, and that number.

    Blocks of pixels are many times as fast to average as what other scales ask for. What is left
    over at the right and below falls away.
    """
    times = min(times, *image.shape[:2])
    if times < 2:
        return image, 1
    height, width = (length // times for length in image.shape[:2])
    blocks = image[:height * times, :width * times]
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA), times


def cut_mask(mask: np.ndarray, square: Square, side: int = SIDE) -> np.ndarray:
    """The square of a mask, [side, side] float32 in [0, 1]; nothing lies outside the image."""
    x, y, length = square
    scale = side / length
    matrix = np.array([[scale, 0, scale * (0.5 - x) - 0.5], [0, scale, scale * (0.5 - y) - 0.5]])
    return cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_LINEAR) / np.float32(255)


def motion_grid(crops: np.ndarray, masks: np.ndarray, estimator: FlowEstimator,
                cells: int = FINE) -> MotionGrid:
    """Motion features of successive frames.

    crops: [T, SIDE, SIDE, 3] uint8 BGR; masks: [T, SIDE, SIDE] float32 in [0, 1].
    """
    flows = estimator.along(crops)
    found = MotionGrid(np.zeros((len(flows), cells, cells, 2), np.float32),
                       np.zeros((len(flows), cells, cells), np.float32))
    for pair, (flow, mask) in enumerate(zip(flows, masks)):  # one at a time stays in the cache
        found.weight[pair] = _cell_means(mask, cells)
        found.flow[pair] = _cell_means(cv2.multiply(flow, cv2.merge([mask, mask])), cells)
    found.flow[:] /= np.maximum(found.weight[..., None], LEAST)
    return found


def _cell_means(picture: np.ndarray, cells: int) -> np.ndarray:
    """[SIDE, SIDE] or [SIDE, SIDE, C] -> [cells, cells] or [cells, cells, C], means of blocks."""
    return cv2.resize(picture, (cells, cells), interpolation=cv2.INTER_AREA)
