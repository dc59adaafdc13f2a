"""How a fake's whole picture moves against its source's: where its own background does not tell.

utils/camera_path.py steadies a fake by what stands still behind the person. That fails where the
source's own camera moves, too, and before plain walls. Here single frames of the fake are laid on
the source's (utils/clip_mapping.py), along a line of source frames that is moved to where they are
most alike: by the right frames they agree best, and the less the further from them, over ten frames
and more to either side. How the mapping changes along that line is the path.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from utils.camera_path import moves
from utils.clip_mapping import AGREES, ClipMapping, find_mapping, rescaled
from utils.geometry import mirror_image
from utils.layout import evenly_spaced
from utils.source_motion import IndexedSource
from utils.steadied import CameraPath
from utils.video import Frame, VideoError
from utils.views import Found, alignment_of

SIDE = 320  # pixels of the longer side of the pictures that are laid on each other
SOURCES, LINES = 2, 3  # tried, of those whose pictures agree or which step 4 verified; and places
MOST_FRAMES = 500  # of a fake
MOST_READ = 900  # frames of a source; 160 MB at most
GLANCES, MOMENTS = 5, 9  # frames of the fake by which lines are told apart, and are moved
APART = 20  # frames between lines all over a source
STEPS = 8, 4, 2, 1  # frames by which a line is moved
INSIDE = 0.6  # least share of a line in the source, and of the frames whose pictures agree
DEGREE, SMOOTH_PX = 3, 0.4  # of a path in time; and by how much of SIDE the mappings may leave it, on
# the mean: what shakes more is followed frame by frame


@dataclass(frozen=True)
class Line:
    """Source frames of all of a fake's frames, if time runs evenly."""

    source: IndexedSource
    flip: bool
    start: float
    rate: float

    def moved(self, frames: int) -> "Line":
        return Line(self.source, self.flip, self.start + frames, self.rate)

    def at(self, position: int) -> int:
        """Source frame of the fake's frame at a position."""
        return int(np.floor(self.start + self.rate * position + 0.5))


@dataclass
class Laid:
    """Frames of a fake laid on frames of a source."""

    fake: Callable[[int], np.ndarray]  # position -> picture
    source: dict[int, np.ndarray]
    flip: bool
    near: dict[int, np.ndarray] = field(default_factory=dict)  # position -> mapping that fitted last
    known: dict[tuple[int, int], ClipMapping] = field(default_factory=dict)

    def mapping(self, position: int, frame: int) -> ClipMapping | None:
        """How a frame of the source lies in one of the fake; None if it is not there."""
        if (position, frame) not in self.known and frame in self.source:
            guesses = [self.near[min(self.near, key=lambda other: abs(other - position))]
                       ] if self.near else []
            found = find_mapping([self.fake(position)], [self.source[frame]], self.flip, guesses)
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


ReadSource = Callable[[IndexedSource, Collection[int]], Iterator[Frame]]


def relative_path(picture: Callable[[int], np.ndarray], frames: Sequence[int], fps: float,
                  places: Iterable[tuple[int, Found]], read_source: ReadSource) -> CameraPath | None:
    """Of every frame the similarity [2, 3] that takes its pixels to where they would be if the fake's
    picture had not moved against its source's, but stayed as in the middle frame.

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
            pictures[position] = scaled(picture(frames[position]), scale)
        return pictures[position]

    for lines in lines_of(list(places), frames, fps):
        try:
            source = read_lines(lines, len(frames), read_source)
        except VideoError:
            continue
        laid = Laid(fake, source, lines[0].flip)
        path = _path(laid, lines, len(frames))
        if path is not None:
            return {frame: rescaled(matrix, 1 / scale, 1 / scale)
                    for frame, matrix in zip(frames, path)}
    return None


def lines_of(places: list[tuple[int, Found]], frames: Sequence[int],
             fps: float) -> Iterator[list[Line]]:
    """Lines to begin with, source by source: those of its best places, and some all over it."""
    groups: dict[tuple[str, bool], list[tuple[int, Found]]] = {}
    for first, one in places:
        if seen_there(one):
            groups.setdefault((one.hypothesis.source, bool(one.view.flip)), []).append((first, one))
    likeliest = sorted(groups.values(), key=lambda group: -max(
        one.hypothesis.picture_score or 0.0 for _, one in group))
    for group in likeliest[:SOURCES]:
        view, lines = group[0][1].view, []
        for first, one in group[:LINES]:
            at = alignment_of(one)
            rate = (at[-1] - at[0]) / max(1, len(at) - 1)
            lines.append(Line(view.source, bool(view.flip), at[0] - rate * frames.index(first), rate))
        count, rate = len(view.source.all_times_s), view.source.fps / fps
        if count <= MOST_READ:
            last = max(0.0, count - 1 - rate * (len(frames) - 1))
            lines += [Line(view.source, bool(view.flip), float(start), rate)
                      for start in np.linspace(0, last, 1 + int(np.ceil(last / APART)))]
        yield lines


def seen_there(one: Found) -> bool:
    """Whether local features, or the pictures laid on each other, speak for a place's source."""
    candidate = one.view.candidate
    return one.hypothesis.pictures_agree or (candidate["verified"]
                                             and bool(candidate["flip"]) == bool(one.view.flip))


def read_lines(lines: Sequence[Line], count: int, read_source: ReadSource) -> dict[int, np.ndarray]:
    """The source's pictures, scaled down, along some lines and around them; of the first lines where
    these are too many. Raises VideoError."""
    wanted: set[int] = set()
    for line in lines:
        low, high = sorted((line.at(0), line.at(count - 1)))
        more = set(range(max(0, low - sum(STEPS)), high + sum(STEPS) + 1))
        if wanted and len(wanted | more) > MOST_READ:
            break
        wanted |= more
    found = {}
    for frame in read_source(lines[0].source, wanted):
        found[frame.index] = scaled(frame.image, min(1.0, SIDE / max(frame.image.shape[:2])))
    return found


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture in another size."""
    return image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale,
                                               interpolation=cv2.INTER_AREA)


def _path(laid: Laid, lines: Sequence[Line], count: int) -> np.ndarray | None:
    """The path [n, 2, 3] in pixels of the pictures that are laid; see relative_path()."""
    glances, positions = evenly_spaced(count, GLANCES), evenly_spaced(count, MOMENTS)
    line = max(lines, key=lambda one: laid.agreement(one, glances))
    if laid.agreement(line, glances) < AGREES:
        return None
    if not moves(similarities(laid, laid.along(line, glances)).values(), laid.fake(0).shape[:2]):
        return None
    best = laid.agreement(line, positions)
    for step in STEPS:
        while True:
            tried = [(laid.agreement(line.moved(by), positions), by) for by in (step, -step)]
            agreement, by = max(tried)
            if agreement <= best:
                break
            best, line = agreement, line.moved(by)
    found = {position: one for position, one in laid.along(line, range(count)).items() if one.fits}
    if len(found) < INSIDE * count:
        return None
    path = smooth(similarities(laid, found), count, laid.fake(0).shape[:2])
    return path if moves(path, laid.fake(0).shape[:2]) else None


def similarities(laid: Laid, found: dict[int, ClipMapping]) -> dict[int, np.ndarray]:
    """By position the similarity [2, 3], of pixels of a fake's frame to those of the frame that is
    nearest to the middle."""
    middle = sorted(found)[len(found) // 2]
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
