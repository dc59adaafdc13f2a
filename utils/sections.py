"""Long sources in sections: what is compared frame by frame does not grow with a source's length.

A source of more than SECTION frames is not compared as a whole. Coarse motion proposes places of
the fake and of its parts (utils/coarse_motion.py); the frames around each are a section, which
everything else takes for a small source. `exhaustive` takes sections that overlap and together
are the whole source instead.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from utils.coarse_motion import RATES, STRIDE, Scan, Way, peaks, scan
from utils.matching import FAR_RATES, MOST_STEPS
from utils.views import View

SECTION = 3000  # frames; a source of no more is compared as a whole
SHORT = 18  # frame pairs; a fake of fewer tells coarse motion too little
MARGIN = 64  # frames that a section reaches further than the fake, placed anyhow, would
MOST_RATE = 2.0  # source frames per fake frame of what coarse motion proposes, where a fake has
# half as many frames a second or more
WHOLE, PER_PART, MOST_PARTS = 12, 4, 32  # places proposed of the whole fake, per part, of all parts
APART = 0.25  # of a fake's or part's length, between two places that are proposed

Span = tuple[int, int]  # first and last frame, inclusive


def in_sections(views: list[View], vectors: Callable[[], np.ndarray],
                exhaustive: bool = False) -> list[View]:
    """Views of one source as views of its sections; as they are where it is short.

    vectors: gives the source's coarse motion, [M, D]. Memory: that of scan(); sections are prepared
    when they are looked at.
    """
    frames = len(views[0].source)
    if frames <= SECTION:
        return views
    pairs, natural = len(views[0].grid), views[0].natural
    if exhaustive or pairs < SHORT:
        spans = overlapping(frames, pairs, min(max(FAR_RATES) * max(1.0, natural), MOST_STEPS))
    else:
        spans = proposed(scan([way_of(view) for view in views], vectors()), pairs, frames,
                         min(max(MOST_RATE, natural), MOST_STEPS))
    sections = [views[0].source.section(*span) for span in spans]
    return [replace(view, source=section) for section in sections for view in views]


def way_of(view: View) -> Way:
    """How coarse motion compares a view."""
    return Way(view.grid, tuple(dict.fromkeys((*RATES, view.natural))), view.backwards)


def overlapping(frames: int, pairs: int, rate: float = MOST_RATE) -> list[Span]:
    """Sections that hold every place of a fake of `pairs` frame pairs, up to a rate."""
    overlap = math.ceil(rate * pairs) + 2 * MARGIN
    length = max(SECTION, 2 * overlap)
    return [(start, min(start + length, frames) - 1)
            for start in range(0, max(1, frames - overlap), length - overlap)]


def proposed(found: Scan, pairs: int, frames: int, rate: float = MOST_RATE) -> list[Span]:
    """Sections around the best places of a fake and of its parts, wherever in it the part is, up to
    a rate."""
    spans = [_around(place, math.ceil(rate * pairs / 2))
             for place in peaks(found.whole, WHOLE, _apart(pairs))]
    parts = [(float(scores[place]), number, place) for number, scores in enumerate(found.parts)
             for place in peaks(scores, PER_PART, _apart(pairs // len(found.parts)))]
    for _, number, place in sorted(parts, reverse=True)[:MOST_PARTS]:
        before = round((number + 0.5) / len(found.parts) * pairs)
        reach = math.ceil(rate * max(before, pairs - before))  # time may run back
        spans.append(_around(place, reach))
    return merged(spans, frames)


def _apart(pairs: int) -> int:
    """Vectors between two places that are proposed of that many frame pairs, at least."""
    return max(4, round(APART * pairs / STRIDE))


def _around(place: int, reach: int) -> Span:
    return STRIDE * place - reach - MARGIN, STRIDE * place + reach + MARGIN


def merged(spans: Iterable[Span], frames: int) -> list[Span]:
    """Spans cut to a source's frames, in order; those that overlap as one."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        first, last = max(0, first), min(last, frames - 1)
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        elif last > first:
            joined.append((first, last))
    return joined
