"""How a fake's whole picture moves against its source's: where its own background does not tell.

utils/camera_path.py steadies a fake by what stands still behind the person. That fails where the
source's own camera moves, too, and before plain walls. Here single frames of the fake are laid on
the source's (utils/clip_mapping.py), along a line of source frames that is moved to where they are
most alike: by the right frames they agree best, and the less the further from them, over ten frames
and more to either side. How the mapping changes along that line is the path.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from utils.camera_path import moves
from utils.clip_mapping import AGREES, ClipMapping, find_mapping, rescaled, shrunk
from utils.geometry import mirror_image
from utils.in_time import ReadSource
from utils.layout import evenly_spaced
from utils.source_motion import IndexedSource
from utils.steadied import Steadying
from utils.video import Frame, VideoError
from utils.views import Found, alignment_of

SIDE = 320  # pixels of the longer side of the pictures that are laid on each other
SOURCES, LINES = 2, 3  # tried, of those that may well be seen in the fake; and places in each
SAME_SCENE, LIKE_SCENE = 0.8, 0.3  # scene scores from which on a source may well be; and the one
# whose scene is most alike, where no other may
MOST_FRAMES = 500  # of a fake
MOST_SEARCHED = 1500  # frames of a source all over which lines are tried
GLANCES, MOMENTS = 5, 9  # frames of the fake by which lines are told apart, and are moved
APART = 20  # frames between lines all over a source
STEPS = 8, 4, 2, 1  # frames by which a line is moved
REACH = 2 * sum(STEPS)  # and furthest
RATE_PRICE = 0.01  # by how much more the pictures have to agree along a line at another rate
SEARCHES = 12  # pairs of pictures without a guess that fits, after which nothing else is tried
INSIDE = 0.6  # least share of a line in the source, and of the frames whose pictures agree
DEGREE, SMOOTH_PX = 3, 0.4  # of a path in time; and by how much of SIDE the mappings may leave it, on
# the mean: what shakes more is followed frame by frame


@dataclass(frozen=True)
class Line:
    """Source frames of all of a fake's frames, if time runs evenly."""

    start: float
    rate: float

    def moved(self, frames: int) -> "Line":
        """The line so many source frames later."""
        return Line(self.start + frames, self.rate)

    def at(self, position: int) -> int:
        """Source frame of the fake's frame at a position."""
        return int(np.floor(self.start + self.rate * position + 0.5))


@dataclass(frozen=True)
class Trial:
    """A source that may be seen in a fake, and where to begin."""

    source: IndexedSource
    flip: bool
    lines: list[Line]  # the likeliest first
    natural: float  # source frames per fake frame if nothing was re-timed
    guess: np.ndarray | None  # mapping [2, 3] of the whole pictures
    likely: bool  # else nothing but the scene speaks for it

    @property
    def scale(self) -> float:
        """Of the pictures that are laid."""
        return min(1.0, SIDE / max(self.source.record.width, self.source.record.height))


@dataclass
class Laid:
    """Frames of a fake laid on frames of a source, as far as these were read."""

    fake: Callable[[int], np.ndarray]  # position -> picture [H, W] uint8, grey as the source's are
    read_frames: Callable[[set[int]], Iterator[Frame]]  # of the source
    flip: bool
    guess: np.ndarray | None = None  # mapping [2, 3] to begin with
    source: dict[int, np.ndarray] = field(default_factory=dict)
    near: dict[int, np.ndarray] = field(default_factory=dict)  # position -> mapping that fitted last
    known: dict[tuple[int, int], ClipMapping] = field(default_factory=dict)

    def read(self, frames: Iterable[int]) -> None:
        """Read more of the source. Raises VideoError."""
        for frame in self.read_frames({frame for frame in frames if frame >= 0} - set(self.source)):
            self.source[frame.index] = grey(frame.image)

    def mapping(self, position: int, frame: int) -> ClipMapping | None:
        """How a frame of the source lies in one of the fake; None if it is not there."""
        if (position, frame) not in self.known and frame in self.source:
            guesses = [] if self.guess is None else [self.guess]
            if self.near:
                guesses = [self.near[min(self.near, key=lambda other: abs(other - position))]]
            pair = [[cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)]
                    for picture in (self.fake(position), self.source[frame])]
            found = find_mapping(*pair, self.flip, guesses,
                                 guessed=bool(self.near) or len(self.known) >= SEARCHES)
            self.known[position, frame] = found
            if found.fits:
                self.near[position] = found.matrix
        return self.known.get((position, frame))

    def along(self, line: Line, positions: Sequence[int]) -> dict[int, ClipMapping]:
        """Mappings of the frames that are there, by position."""
        found = {position: self.mapping(position, line.at(position)) for position in positions}
        return {position: one for position, one in found.items() if one is not None}

    def agreement(self, line: Line, positions: Sequence[int]) -> float:
        """Mean agreement along a line, -1 to 1; -1 where too much of it is not there."""
        found = self.along(line, positions)
        return (float(np.mean([one.agreement for one in found.values()]))
                if len(found) >= INSIDE * len(positions) else -1.0)


def grey(picture: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] uint8 BGR as it is laid on others: [H, W], a third of the memory."""
    return cv2.cvtColor(shrunk(picture, SIDE), cv2.COLOR_BGR2GRAY)


def relative_path(picture: Callable[[int], np.ndarray], frames: Sequence[int], fps: float,
                  places: Sequence[tuple[int, Found]], read_source: ReadSource) -> Steadying | None:
    """The path on which a fake's pixels get to where they would be if its picture had not moved
    against its source's, but stayed as in a frame near its middle; and how the source lies there.

    picture: frame number -> [H, W, 3] uint8 BGR; frames, fps: of the fake; places: where it was
    traced to, each with the frame of the fake at which that place begins, the best first. None where
    the pictures of no source agree, or the fake's does not move against them.
    """
    if len(frames) > MOST_FRAMES:
        return None
    scale = min(1.0, SIDE / max(picture(frames[0]).shape[:2]))
    pictures: dict[int, np.ndarray] = {}

    def fake(position: int) -> np.ndarray:
        if position not in pictures:
            pictures[position] = grey(picture(frames[position]))
        return pictures[position]

    glances = evenly_spaced(len(frames), GLANCES)
    known: dict[str, dict[int, np.ndarray]] = {}  # sources' pictures
    tried: list[tuple[float, Trial, Laid]] = []
    for trial in trials_of(places, frames, fps):
        guess = None if trial.guess is None else rescaled(trial.guess, scale, trial.scale)
        laid = Laid(fake, partial(read_source, trial.source), trial.flip, guess,
                    known.setdefault(trial.source.record.file, {}))
        with suppress(VideoError):
            laid.read(trial.lines[0].at(position) for position in glances)
            if stands_still(laid, trial.lines[0], glances):
                return None
            if trial.likely or laid.near:
                laid.read(line.at(position) for line in trial.lines for position in glances)
                tried.append((max(laid.agreement(line, glances) for line in trial.lines),
                              trial, laid))
    agreement, trial, laid = max(tried, key=lambda one: one[0], default=(-1.0, None, None))
    if agreement < AGREES:
        return None
    with suppress(VideoError):
        if found := _path(laid, trial, len(frames)):
            path, middle, mapping = found
            return Steadying(
                {frame: rescaled(matrix, 1 / scale, 1 / scale)
                 for frame, matrix in zip(frames, path)},
                {"source": trial.source.record.file, "flip": int(trial.flip),
                 "fake_frame": frames[middle],
                 "mapping": rescaled(mapping, 1 / scale, 1 / trial.scale).tolist()})
    return None


def trials_of(places: Sequence[tuple[int, Found]], frames: Sequence[int],
              fps: float) -> Iterator[Trial]:
    """Sources to try, the likeliest first: lines of their best places, and some all over them."""
    groups: dict[tuple[str, bool], list[tuple[int, Found]]] = {}
    for first, one in in_likely_sources(places):
        groups.setdefault((one.hypothesis.source, bool(one.view.flip)), []).append((first, one))

    def likely(group: list[tuple[int, Found]]) -> tuple:
        candidate = group[0][1].view.candidate
        return (any(one.hypothesis.pictures_agree for _, one in group), candidate["verified"],
                max(one.hypothesis.picture_score or 0.0 for _, one in group))

    for (_, flip), group in sorted(groups.items(), key=lambda item: likely(item[1]),
                                   reverse=True)[:SOURCES]:
        view, lines = group[0][1].view, []
        natural, span = view.source.fps / fps, len(frames) - 1
        for first, one in group[:LINES]:
            at = alignment_of(one)
            rate = (at[-1] - at[0]) / max(1, len(at) - 1)
            line = Line(at[0] - rate * frames.index(first), rate)
            lines += [line, Line(line.at(span // 2) - natural * (span // 2), natural)]
        count = len(view.source.all_times_s)
        if count <= MOST_SEARCHED:
            last = max(0.0, count - 1 - natural * span)
            lines += [Line(float(start), natural)
                      for start in np.linspace(0, last, 1 + int(np.ceil(last / APART)))]
        guesses = [one.mapping.matrix for _, one in group
                   if one.mapping is not None and one.hypothesis.pictures_agree]
        if view.candidate["mapping"] is not None and bool(view.candidate["flip"]) == flip:
            guesses.append(np.array(view.candidate["mapping"]))
        yield Trial(view.source, flip, lines, natural, guesses[0] if guesses else None,
                    any(may_be_seen(one) for _, one in group))


def in_likely_sources(places: Sequence[tuple[int, Found]]) -> list[tuple[int, Found]]:
    """Places in sources that may be seen in the fake; where there are none, those in the source
    whose scene is most alike, if it is alike at all."""
    seen = [(first, one) for first, one in places if may_be_seen(one)]
    if seen or not places:
        return seen
    alike = max((one.hypothesis for _, one in places), key=lambda h: h.scene_score)
    return [(first, one) for first, one in places
            if alike.scene_score >= LIKE_SCENE and one.hypothesis.source == alike.source]


def may_be_seen(one: Found) -> bool:
    """Whether the pictures laid on each other, local features or the scene speak for a place's
    source."""
    candidate = one.view.candidate
    if candidate["verified"]:
        return bool(candidate["flip"]) == bool(one.view.flip)
    return one.hypothesis.pictures_agree or one.hypothesis.scene_score >= SAME_SCENE


def around(line: Line, count: int) -> range:
    """Frames of a source along a line of `count` frames, and where it may be moved to."""
    low, high = sorted((line.at(0), line.at(count - 1)))
    return range(low - REACH, high + REACH + 1)


def _path(laid: Laid, trial: Trial, count: int) -> tuple[np.ndarray, int, np.ndarray] | None:
    """The path [n, 2, 3] in pixels of the pictures that are laid, the position that it starts from,
    and the mapping [2, 3] there; see relative_path(). Raises VideoError."""
    glances, positions = evenly_spaced(count, GLANCES), evenly_spaced(count, MOMENTS)
    ranked = sorted(dict.fromkeys(trial.lines), key=lambda line: -laid.agreement(line, glances))
    if stands_still(laid, ranked[0], glances):
        return None
    others = [line for line in ranked if line.rate != ranked[0].rate]
    chosen = ranked[0], *others[:1]
    laid.read(frame for line in chosen for frame in around(line, count))
    line = max((climbed(laid, line, positions) for line in chosen),
               key=lambda line: (laid.agreement(line, positions)
                                 - RATE_PRICE * (line.rate != trial.natural)))
    found = {position: one for position, one in laid.along(line, range(count)).items() if one.fits}
    if len(found) < INSIDE * count:
        return None
    path = smooth(similarities(laid, found), count, laid.fake(0).shape[:2])
    if not moves(path, laid.fake(0).shape[:2]):
        return None
    middle = middle_of(found)
    return path, middle, found[middle].matrix


def stands_still(laid: Laid, line: Line, positions: Sequence[int]) -> bool:
    """Whether the pictures agree along a line, and the fake's does not move against the source's."""
    return (laid.agreement(line, positions) >= AGREES
            and not moves(similarities(laid, laid.along(line, positions)).values(),
                          laid.fake(0).shape[:2]))


def climbed(laid: Laid, line: Line, positions: Sequence[int]) -> Line:
    """A line moved to where the pictures agree best."""
    for step in STEPS:
        while True:
            better = max((line, line.moved(step), line.moved(-step)),
                         key=lambda one: laid.agreement(one, positions))
            if better == line:
                break
            line = better
    return line


def middle_of(found: Iterable[int]) -> int:
    """The middle one of some positions."""
    positions = sorted(found)
    return positions[len(positions) // 2]


def similarities(laid: Laid, found: dict[int, ClipMapping]) -> dict[int, np.ndarray]:
    """By position the similarity [2, 3], of pixels of a fake's frame to those of the frame that is
    nearest to the middle."""
    middle = middle_of(found)
    back = np.linalg.inv(np.vstack([found[middle].matrix, [0, 0, 1]]))
    height, width = laid.fake(middle).shape[:2]
    mirror = mirror_image(width) if laid.flip else np.eye(3)
    return {position: _nearest_similarity(
        (mirror @ back @ np.vstack([one.matrix, [0, 0, 1]]) @ mirror)[:2], width, height)
        for position, one in found.items()}


def _nearest_similarity(matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """The similarity that takes the picture's centre to where an affine map [2, 3] does."""
    centre = (np.array([width, height]) - 1) / 2
    a = (matrix[0, 0] + matrix[1, 1]) / 2
    b = (matrix[1, 0] - matrix[0, 1]) / 2
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, matrix[:, :2] @ centre + matrix[:, 2] - turn @ centre])


def smooth(path: dict[int, np.ndarray], count: int, shape: tuple[int, int]) -> np.ndarray:
    """A path [n, 2, 3] from similarities of some of its frames: a polynomial in time where that leaves
    little of them, else from one to the next.

    shape: of the fake's pictures.
    """
    centre = complex(*((np.array(shape[::-1]) - 1) / 2))
    times = np.array(sorted(path))
    turns = np.array([complex(*path[position][:, 0]) for position in times])
    moved = np.array([complex(*path[position][:, 2]) for position in times])
    moved += turns * centre - centre  # of the centre
    every = np.arange(count)
    span = max(1, count - 1)
    fits = [np.polyval(np.polyfit(times / span, values, min(DEGREE, len(times) - 1)), every / span)
            for values in (turns, moved)]
    off = (abs(fits[1][times] - moved)**2
           + abs(fits[0][times] - turns)**2 * (shape[0]**2 + shape[1]**2) / 12)
    if np.sqrt(off.mean()) > SMOOTH_PX:
        fits = [np.interp(every, times, values.real) + 1j * np.interp(every, times, values.imag)
                for values in (turns, moved)]
    turn, shift = fits[0], fits[1] + centre - fits[0] * centre
    return np.stack([np.stack([turn.real, -turn.imag, shift.real], axis=1),
                     np.stack([turn.imag, turn.real, shift.imag], axis=1)], axis=1)
