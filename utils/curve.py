"""The score over all start frames as points of an SVG."""

import numpy as np

WIDTH, HEIGHT = 600, 120  # SVG units
LOWEST, HIGHEST = -0.2, 1.0  # scores at the bottom and the top
MOST_POINTS = 1200
APART = 5  # frames between two places at least


def draw_curve(scores: list[float], start: int = 0) -> dict | None:
    """Polyline, peak and runner-up (apart from the peak) of a score curve; None without a curve.

    scores: one per start frame of the source, or of a section of it that begins at `start`.
    """
    if len(scores) < 2:
        return None
    values = np.array(scores)
    peak = int(np.argmax(values))
    second = runner_up(values, peak)
    return {"points": polyline(values), "count": len(values), "start": start,
            "peak": mark(values, peak, start),
            "second": None if second is None else mark(values, second, start),
            "zero": float(height_of(np.zeros(1))[0]), "width": WIDTH, "height": HEIGHT}


def runner_up(values: np.ndarray, peak: int) -> int | None:
    """The highest top of the curve apart from the peak; None where there is none."""
    around = np.concatenate([[-np.inf], values, [-np.inf]])
    top = (values >= around[:-2]) & (values >= around[2:])
    top &= np.abs(np.arange(len(values)) - peak) > APART
    return int(np.flatnonzero(top)[np.argmax(values[top])]) if top.any() else None


def mark(values: np.ndarray, index: int, start: int = 0) -> dict:
    """A point of the curve, whose first one is about the frame `start`."""
    return {"frame": start + index, "score": float(values[index]),
            "x": round(WIDTH * index / (len(values) - 1), 1),
            "y": round(float(height_of(values[index:index + 1])[0]), 1)}


def height_of(values: np.ndarray) -> np.ndarray:
    """SVG y of scores."""
    share = (np.clip(values, LOWEST, HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    return HEIGHT * (1 - share)


def polyline(values: np.ndarray) -> str:
    """Points of an SVG polyline; long curves keep the highest score of each stretch."""
    step = -(-len(values) // MOST_POINTS)
    starts = np.arange(0, len(values), step)
    x = WIDTH * starts / (len(values) - 1)
    y = height_of(np.maximum.reduceat(values, starts))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
