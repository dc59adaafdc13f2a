"""The path that time stamps tell: for videos whose frames do not come evenly.

Telephones and screen recorders leave out frames when they have no time, but note when each one was
shown. A fake with such stamps, or of a source with such stamps, follows no straight line of frames,
but a straight line in time.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from utils.held_pair import HeldPair
from utils.jumps import is_path, jump_price, tells, unexplained
from utils.matching import Alignment, PairScores
from utils.straight_line import REACH

UNEVEN = 0.75  # of the mean time between two frames, by which stamps must leave an even course:
# rounding them does less
PHASES = (0.0, -0.3, 0.3)  # of a source frame, by which a path may be early or late


def kept_times(times_s: Sequence[float]) -> list[float] | None:
    """Times of frames, seconds, as they are to be kept; None where they come evenly."""
    return [round(float(time), 4) for time in times_s] if is_uneven(np.array(times_s)) else None


def times_of(frames: Sequence[int], fps: float, settings: dict) -> np.ndarray:
    """When frames of a fake are shown, [n] seconds from the video's first one.

    frames, fps, settings: of its VideoRecord; where no kept_times() are among the settings, frames
    come evenly.
    """
    kept, even = settings.get("times_s"), np.array(frames) / fps
    if (not isinstance(kept, list) or len(kept) != len(even)
            or not all(isinstance(time, float) for time in kept)
            or not (np.isfinite(kept).all() and (np.diff(kept) >= 0).all())):
        return even
    return np.array(kept)


def is_uneven(times_s: np.ndarray) -> bool:
    """Whether the times [n] of frames leave an even course."""
    if len(times_s) < 3 or not times_s[-1] > times_s[0]:
        return False
    even = np.linspace(times_s[0], times_s[-1], len(times_s))
    return bool(abs(times_s - even).max() > UNEVEN * (even[1] - even[0]))


def or_timed(scores: PairScores, near: Alignment, usual: Sequence[float],
             fitted: Callable[..., HeldPair], unchanged: float, fake_s: np.ndarray,
             source_s: np.ndarray) -> Alignment:
    """An alignment, or the path near it that the time stamps tell, where motion and pixels like it
    no less.

    fake_s: times [n] of the fake's frames, rising, seconds; source_s: [T], of the source's, as the
    scores count them; the other arguments as of jumps.or_rate().
    """
    around = source_s[max(0, near.start - REACH):near.end + REACH + 1]
    if not (is_uneven(fake_s) or is_uneven(around) and fake_s[-1] > fake_s[0]):
        return near
    if not tells(scores, near, fitted(*near.at)):
        return near
    paths = _paths(near.at, fake_s - fake_s[0], source_s)
    paths = paths[is_path(paths, len(source_s), len(source_s))]
    if not len(paths):
        return near
    best = near.at
    for _ in range(2):  # the mapping that fits the alignment may not be the one of the path
        best = paths[unexplained(scores, paths, fitted(*best), unchanged).argmin()]
    before, after = (unexplained(scores, at[None], fitted(*at), unchanged)[0]
                     for at in (near.at, best))
    if after > before + jump_price(near.at, usual):
        return near
    return replace(near, at=best, rate=float(best[-1] - best[0]) / (len(best) - 1))


def _paths(near: np.ndarray, fake_s: np.ndarray, source_s: np.ndarray) -> np.ndarray:
    """Paths [L, n] around an alignment [n], at the speed that stamps tell, or at its own."""
    frame_s = float(np.median(np.diff(source_s)))
    speeds = {1.0, float((source_s[near[-1]] - source_s[near[0]]) / fake_s[-1])}
    found = []
    for speed in speeds:
        course = speed * fake_s
        middle = float(np.median(source_s[near] - course))
        for by in range(-REACH, REACH + 1):
            for phase in PHASES:
                at = np.searchsorted(source_s, middle + (by + phase - 0.5) * frame_s + course)
                found.append(at)
    return np.unique(found, axis=0)
