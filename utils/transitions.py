"""Transitions: a few frames in which one stretch of a fake slides, spins or is wiped over into the
next.

They move far more than any person and show neither stretch as it is, so that a part they belong to
fits nowhere. Without them it does; then its pictures tell how far it goes. As a part of its own a
transition says nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np

from utils import answer
from utils.confirm import Fake, ReadSource
from utils.cutaways import Ends, agreements
from utils.joints import Side, is_still_there
from utils.video import VideoError

LONGEST, SHORTEST = 10, 4  # frames of a transition, at an end of a part
LEFT = 12  # frames of a part that have to be left without them
DOUBTFUL = 2  # frames at an end that may belong to a transition though their pictures agree: then
LESS_MOTION = 0.03  # by more than this is the motion score worse with them
AS_GOOD = 0.85  # of how well most of its pictures agree, from which on a frame belongs to a
# stretch; set by hand, on transitions of 15 clips that are not used for measuring


def without_transitions(part: dict, ends: Ends, fake: Fake, trace: Callable[[Ends], dict],
                        read_source: ReadSource) -> tuple[dict, Ends]:
    """The answer for a part of a fake without the frames at its ends that show something in
    between, if it is surely traced so, and clearly where it was already, and the ends of what is
    left; else both as they are.

    ends: first and last position among the fake's frames, inclusive; trace: such ends -> the
    answer.
    """
    first, last = ends
    most = min(LONGEST, (last - first + 1 - LEFT) // 2)
    inner = first + most * (first > 0), last - most * (last < len(fake.frames) - 1)
    if most < SHORTEST or inner == ends:
        return part, ends
    found = trace(inner)
    row = found["trace"]
    if not answer.is_sure(row) or (answer.is_sure(part["trace"])
                                   and not answer.clearly_traced([row])):
        return part, ends
    try:
        wider = _as_far_as_it_goes(Side.of(found, inner), ends, fake, read_source)
    except VideoError:
        return found, inner
    for less in range(DOUBTFUL + 1):
        some = min(wider[0] + less, inner[0]), max(wider[1] - less, inner[1])
        again = trace(some) if some != inner else found
        if (answer.is_sure(again["trace"]) and is_still_there(row, again["trace"])
                and again["trace"].motion_score >= row.motion_score - LESS_MOTION):
            return again, some
    return found, inner


def without_pieces(parts: Sequence[dict]) -> list[dict]:
    """Parts of a fake, but for those no longer than a transition, between two that are surely
    traced, that are not, and whose pictures agree with no place's."""
    rows = answer.rows_of(parts)

    def between(number: int) -> bool:
        row, best = rows[number], parts[number]["best"]
        return (not answer.is_sure(row) and row.fake_end_frame - row.fake_start_frame < LONGEST
                and not (best and best.hypothesis.pictures_agree)
                and 0 < number < len(rows) - 1
                and answer.is_sure(rows[number - 1]) and answer.is_sure(rows[number + 1]))
    return [part for number, part in enumerate(parts) if not between(number)]


def _as_far_as_it_goes(inner: Side, ends: Ends, fake: Fake, read_source: ReadSource) -> Ends:
    """Up to where, within some ends, the pictures on both sides of a stretch agree with its place
    about as well as most of its own do. Raises VideoError."""
    frames = len(inner.best.view.source.all_times_s)
    moments = [moment for moment in range(ends[0], ends[1] + 1)
               if 0 <= inner.source_frame(moment) < frames]
    if inner.best.mapping is None or not moments:
        return inner.first, inner.last
    agree = dict(zip(moments, agreements(inner.best, fake, moments, read_source,
                                         inner.source_frame)))
    own = [agree[moment] for moment in range(inner.first, inner.last + 1)]
    least = AS_GOOD * float(np.median(own))
    first, last = inner.first, inner.last
    while agree.get(first - 1, -1.0) >= least:
        first -= 1
    while agree.get(last + 1, -1.0) >= least:
        last += 1
    return first, last
