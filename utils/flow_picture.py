"""Optical flow as colours: the direction as hue, the length as saturation.

The colour wheel is that of Baker et al. 2011 ("A Database and Evaluation Methodology for Optical
Flow"): six fans between red, yellow, green, cyan, blue and magenta, as many steps wide as the eye
can tell apart. Rightwards is red, downwards yellow; no motion is white.
"""

import numpy as np

FANS = (("red", 15), ("yellow", 6), ("green", 4), ("cyan", 11), ("blue", 13), ("magenta", 6))
RGB = {"red": (1, 0, 0), "yellow": (1, 1, 0), "green": (0, 1, 0), "cyan": (0, 1, 1),
       "blue": (0, 0, 1), "magenta": (1, 0, 1)}
BEYOND = 0.75  # brightness of displacements that are longer than the scale
LONG_SHARE = 0.97  # of the person's displacements that a scale should hold
SMALLEST_SCALE = 0.2  # pixels; less is noise and is not blown up


def wheel(turn: np.ndarray) -> np.ndarray:
    """[...] share of a full turn, 0 to 1 -> [..., 3] RGB in [0, 1]."""
    starts = np.cumsum([0] + [steps for _, steps in FANS])
    corners = np.array([RGB[name] for name, _ in FANS] + [RGB[FANS[0][0]]], float)
    return np.stack([np.interp(turn * starts[-1], starts, corners[:, c]) for c in range(3)], -1)


def flow_picture(flow: np.ndarray, scale: float) -> np.ndarray:
    """[H, W, 2] displacements (dx right, dy down) in pixels -> [H, W, 3] uint8 BGR.

    scale: length in pixels that gets the full colour; what is longer is darkened.
    """
    length = np.linalg.norm(flow, axis=-1)[..., None] / scale
    turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    full = wheel(turn)
    rgb = np.where(length <= 1, 1 - length * (1 - full), full * BEYOND)
    return np.round(255 * rgb[..., ::-1]).astype(np.uint8)


def flow_scale(flows: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """A length in pixels, a round number, that most displacements inside the masks stay below.

    flows: [H, W, 2] each; masks: [H, W] bool each.
    """
    lengths = np.concatenate([np.zeros(1), *(np.linalg.norm(flow[mask], axis=-1)
                                             for flow, mask in zip(flows, masks))])
    return max(SMALLEST_SCALE, float(np.ceil(10 * np.quantile(lengths, LONG_SHARE)) / 10))


def wheel_picture(side: int) -> np.ndarray:
    """The wheel itself [side, side, 3] uint8 BGR: displacements as seen from the middle."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    flow = np.stack(np.meshgrid(axis, axis), axis=-1)
    picture = flow_picture(flow, 1.0)
    picture[np.linalg.norm(flow, axis=-1) > 1] = 255
    return picture
