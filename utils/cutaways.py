"""Other pictures cut into a fake: a shot of something else while the sound goes on, a title card,
an opening.

They move as little or as much as they like, and what lies around them may go on in its source as if
they were not there. So motion alone takes them for a part of the person that hardly fits. Pictures
do not: along the place of the whole fake, those of the source agree with the fake's but for them.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from utils.clip_mapping import AGREES, find_mapping, rescaled, shrunk
from utils.confirm import SAME_SCENE, Fake, ReadSource
from utils.layout import evenly_spaced
from utils.video import VideoError
from utils.views import Found, alignment_of

MOMENTS = 3  # pictures of each part that are laid on the source's

Ends = tuple[int, int]  # first and last position among a fake's frames, inclusive


def without_cutaways(place: Found | None, fake: Fake, parts: Sequence[Ends],
                     read_source: ReadSource) -> tuple[list[Ends], list[bool]]:
    """The parts of a fake put together to stretches that show what a place shows, and stretches of
    something else; and which of them do show it.

    place: of the whole fake; parts: between the frames where it is seen to jump. One stretch where
    none of them shows clearly something else, none clearly the source, or where that cannot be read.
    """
    one = [(0, len(fake.frames) - 1)], [True]
    if place is None or place.mapping is None or len(parts) < 2:
        return one
    try:
        agree = list(agreements(place, fake, parts, read_source))
    except VideoError:
        return one
    if max(agree) < AGREES or min(agree) >= SAME_SCENE:
        return one
    stretches, shown = [], []
    for same, run in groupby(zip(parts, agree), key=lambda part: part[1] >= SAME_SCENE):
        ends = [part for part, _ in run]
        stretches.append((ends[0][0], ends[-1][1]))
        shown.append(same)
    return stretches, shown


def agreements(place: Found, fake: Fake, parts: Sequence[Ends],
               read_source: ReadSource) -> Iterator[float]:
    """How well the pictures of every part of a fake lie on those of its source along a place of the
    whole, -1 to 1. Raises VideoError."""
    at, record, flip = alignment_of(place), fake.record, bool(place.view.flip)
    moments = [[first + moment for moment in evenly_spaced(last - first + 1, MOMENTS)]
               for first, last in parts]
    whole = {frame.index: shrunk(frame.image) for frame in read_source(
        place.view.source, {at[moment] for part in moments for moment in part})}
    for part in moments:
        part = [moment for moment in part if at[moment] in whole]
        if not part:
            raise VideoError(f"{place.view.source.file}: frames cannot be decoded")
        fakes = [fake.pictures.read(fake.frames[moment]) for moment in part]
        sources = [whole[at[moment]] for moment in part]
        scales = (fakes[0].shape[1] / record.width,
                  sources[0].shape[1] / place.view.source.record.width)
        yield find_mapping(fakes, sources, flip, [rescaled(place.mapping.matrix, *scales)],
                           guessed=True).agreement
