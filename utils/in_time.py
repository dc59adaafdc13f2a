"""A place in a source to the frame, once it is known how its pictures lie in the fake's.

Motion and single pixels together choose among the lines near it (utils/straight_line.py); where
frames were dropped or doubled, the paths with jumps (utils/picture_path.py, utils/jumps.py); where
they do not come evenly, the path that their time stamps tell (utils/timed_path.py); and where the
fake runs faster and faster, or slower and slower, the curves near it (utils/speed_ramp.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import cv2
import numpy as np

from models.motion import cut_square
from utils.fake_motion import FakeMotion
from utils.held_pair import Film, FilmCutter, HeldPair
from utils.held_pixels import COARSE
from utils.jumps import CLEARLY, SURELY, improved, or_rate
from utils.matching import Alignment
from utils.paths import runs_evenly
from utils.picture_path import MOST_FRAMES, PicturePair, follow_pictures, or_dropped
from utils.source_motion import IndexedSource
from utils.speed_ramp import or_bent
from utils.straight_line import REACH, SWING, certainty, likeliest_line, straightened
from utils.timed_path import or_timed
from utils.video import Frame, VideoError
from utils.views import Found

NEAR = REACH + SWING  # frames before and after a place whose pictures are compared, too
SCORED = 500  # frames of a long fake, from its middle on, whose pixels are compared
SIDE = 64  # pixels of the person square in which frames are told apart
FINE = 0.8  # motion score from which on motion is not too faint to tell frames apart
BENT_BY_PIXELS = 50.0  # by how much pixels like a ramp better, whatever its motion; strangers' ramps
# are liked by 15 better at most, on fakes of 15 clips that are not used for measuring

ReadSource = Callable[[IndexedSource, set[int]], Iterator[Frame]]  # source, frames of it


def in_time(one: Found, unchanged: float, person: FakeMotion, fake_s: np.ndarray, onto: np.ndarray,
            read_source: ReadSource) -> tuple[Alignment, float | None, float | None]:
    """A place's alignment to the frame, as motion and pictures together have it, how well its
    single pixels fit then (HeldPair.explained()), and how certain its frames are (certainty()).

    unchanged: held_pixels.unchanged_share() of the fake; person: what it shows, forwards in the
    source's time; fake_s: when, [n] seconds, rising; onto: [2, 3], maps its square to the source's,
    in units of their sides. Raises VideoError.
    """
    alignment, view, coarse = one.alignment, one.view, unchanged >= COARSE
    near, shown = alignment, person
    if long := len(alignment.at) > MOST_FRAMES:  # then only how well some of it fits
        middle = slice(len(alignment.at) // 2, len(alignment.at) // 2 + SCORED)
        near = replace(alignment, at=alignment.at[middle])
        shown = person.part(middle.start, middle.stop - 1)
    small, film, first = film_around(
        view.source, near.at + view.source.first,
        partial(FilmCutter, shown.pixels, onto, view.source.square), read_source)
    first -= view.source.first
    held = HeldPair(shown.pixels, film, onto, first).corrected(near.at)
    fitted = cache(lambda *at: held.corrected(np.array(at)))
    even = runs_evenly(alignment)
    jumps = not even and one.hypothesis.motion_score >= FINE
    if not long and (even or jumps or coarse):
        pair = PicturePair(person.poses.plain().mapped(held.mapping, SIDE), small, first)
        if coarse and jumps:
            near = follow_pictures(view.scores, near, view.usual_rates, pair)
        line = likeliest_line(view.scores, near, view.usual_rates, held, unchanged)
        near = line if coarse else or_dropped(view.scores, line, near, view.usual_rates, pair)
        if not runs_evenly(line):
            line = likeliest_line(view.scores, straightened(line), view.usual_rates, held,
                                  unchanged)
        near = or_rate(view.scores, line, near, view.usual_rates, fitted, unchanged)
        near = improved(view.scores, near, view.usual_rates, fitted(*near.at), unchanged,
                        SURELY if coarse and not jumps else CLEARLY)
    if not long:
        near = or_timed(view.scores, near, view.usual_rates, fitted, unchanged, fake_s,
                        view.source.times_s)
        bent = or_bent(view.scores, near, fitted, unchanged, SURELY if coarse else CLEARLY)
        # a stranger's motion could be bent to fit, but not that well
        if bent is not near and (view.judge(bent).motion_score >= FINE or better_by(
                fitted, bent.at, near.at) >= BENT_BY_PIXELS):
            near = bent
        alignment = near
    fits = fitted(*near.at)
    return (alignment, fits.explained(near.at),
            None if long else certainty(view.scores, near, view.usual_rates, fits, unchanged))


def better_by(fitted: Callable[..., HeldPair], at: np.ndarray, other: np.ndarray) -> float:
    """By how much pixels like a path [n] better than another one, each with the mapping that fits
    it."""
    return float(fitted(*other).misfits(other[None])[0] - fitted(*at).misfits(at[None])[0])


def film_around(source: IndexedSource, at: np.ndarray,
                cutter_of: Callable[[tuple[int, int]], FilmCutter],
                read_source: ReadSource) -> tuple[np.ndarray, Film, int]:
    """The person in the frames around a place: small pictures [m, SIDE, SIDE] uint8, what is cut of
    them, and the number of the first frame.

    at: [n] frames of the whole source, rising; cutter_of: for pictures of a shape. Raises
    VideoError when no frame can be decoded.
    """
    low, high = max(0, int(at[0]) - NEAR), int(at[-1]) + NEAR
    small, crops, cutter = [], [], None
    for frame in read_source(source, set(range(low, high + 1))):
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        cutter = cutter or cutter_of(grey.shape)
        # behind one that cannot be decoded, or is of another size, nothing is used
        if frame.index != low + len(small) or grey.shape != cutter.shape:
            break
        small.append(cut_square(grey, source.square, SIDE))
        crops.append(cutter.cut(grey))
    if not small:
        raise VideoError(f"{source.file}: frame {low} cannot be decoded")
    return np.stack(small), cutter.film(crops), low
