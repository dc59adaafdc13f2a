"""Other pictures cut into a fake: a shot of something else while the sound goes on, a title card,
an opening.

They move as little or as much as they like, and what lies around them may go on in its source as if
they were not there. So motion alone takes them for a part of the person that hardly fits. Pictures
do not: along the place of the whole fake, those of the source agree with the fake's but for them.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from utils.clip_mapping import AGREES, find_mapping, rescaled, shrunk
from utils.confirm import SAME_SCENE, Fake, ReadSource
from utils.layout import evenly_spaced
from utils.paths import MIN_STRETCH
from utils.video import VideoError
from utils.views import Found, alignment_of

MOMENTS = 3  # pictures of each part that are laid on the source's
FADE = 12  # frames around the end of a stretch among which it is looked for

Ends = tuple[int, int]  # first and last position among a fake's frames, inclusive


def without_cutaways(place: Found | None, fake: Fake, parts: Sequence[Ends],
                     read_source: ReadSource, fades: bool = False
                     ) -> tuple[list[Ends], list[bool]]:
    """The parts of a fake put together to stretches that show what a place shows, and stretches of
    something else; and which of them do show it.

    place: of the whole fake; parts: between the frames where it is seen to jump; fades: they end
    only near there, and where one picture goes over into the other is looked for. One stretch where
    none of them shows clearly something else, none clearly the source, or where that cannot be
    read, and where a stretch would have fewer than MIN_STRETCH frames.
    """
    one = [(0, len(fake.frames) - 1)], [True]
    if place is None or place.mapping is None or len(parts) < 2:
        return one
    try:
        moments = [[first + moment for moment in evenly_spaced(last - first + 1, MOMENTS)]
                   for first, last in parts]
        every = agreements(place, fake, sum(moments, []), read_source)
        agree = [float(np.median(of_part)) for of_part in np.split(
            every, np.cumsum([len(part) for part in moments])[:-1])]
        if max(agree) < AGREES or min(agree) >= SAME_SCENE:
            return one
        stretches, shown = [], []
        for same, run in groupby(zip(parts, agree), key=lambda part: part[1] >= SAME_SCENE):
            ends = [part for part, _ in run]
            stretches.append((ends[0][0], ends[-1][1]))
            shown.append(same)
        if fades:
            stretches = to_the_frame(place, fake, stretches, shown, max(agree) / 2, read_source)
    except VideoError:
        return one
    shortest = min(last - first + 1 for first, last in stretches)
    return (stretches, shown) if shortest >= MIN_STRETCH else one


def to_the_frame(place: Found, fake: Fake, stretches: Sequence[Ends], shown: Sequence[bool],
                 half: float, read_source: ReadSource) -> list[Ends]:
    """The stretches, each ending where the pictures begin, or cease, to agree at least by `half` of
    what they do where they show the source: in the middle of a fade. Raises VideoError.
    """
    cuts = [first for first, _ in stretches[1:]]
    for number, cut in enumerate(cuts):
        (low, _), (_, high) = stretches[number:number + 2]
        near = range(max(low + 1, cut - FADE), min(high, cut + FADE))
        ours = agreements(place, fake, near, read_source) >= half
        wrong = [np.sum(ours[:at] != shown[number]) + np.sum(ours[at:] == shown[number])
                 for at in range(len(near) + 1)]
        cuts[number] = near[0] + int(np.argmin(wrong))
    edges = [stretches[0][0], *cuts, stretches[-1][1] + 1]
    return [(first, end - 1) for first, end in zip(edges, edges[1:])]


def agreements(place: Found, fake: Fake, moments: Sequence[int], read_source: ReadSource,
               at: Callable[[int], int] | None = None) -> np.ndarray:
    """How well the pictures of a fake at some positions lie on those of its source along a place,
    [n], -1 to 1.

    at: position -> frame of the source; as the place has it if it is one of the whole fake. Raises
    VideoError.
    """
    at = at or alignment_of(place).__getitem__
    record, flip = fake.record, bool(place.view.flip)
    sources = {frame.index: shrunk(frame.image)
               for frame in read_source(place.view.source, {at(moment) for moment in moments})}
    found = []
    for moment in moments:
        if at(moment) not in sources:
            raise VideoError(f"{place.view.source.file}: frame {at(moment)} cannot be decoded")
        picture, source = fake.pictures.read(fake.frames[moment]), sources[at(moment)]
        scales = (picture.shape[1] / record.width,
                  source.shape[1] / place.view.source.record.width)
        found.append(find_mapping([picture], [source], flip,
                                  [rescaled(place.mapping.matrix, *scales)],
                                  guessed=True).agreement)
    return np.array(found)
