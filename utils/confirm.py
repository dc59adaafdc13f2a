"""The last look at the best places: their pictures, laid on the fake's moment by moment.

Step 4 laid a frame of the fake on one of the source that need not show the same moment. Once
motion says which frames belong together, the pictures can be laid on each other (
utils/clip_mapping.py) also where step 4 found nothing to hold on to: small and coarse copies, small
windows in other pictures, plain walls. Strangers' pictures cannot; other takes before the same
background can, but there the poses run otherwise. The mapping lets flow and poses be compared
pixel to pixel, and the pictures tell the very frames (utils/in_time.py).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial

import numpy as np

from models.flow import FlowEstimator
from models.motion import Square
from models.segmenter import Segmenter
from utils.clip_mapping import (ClipMapping, everywhere, find_mapping, first_guesses, rescaled,
                                shrunk)
from utils.fake_motion import (MOSTLY, FakeMotion, FakeRoots, measure_fake, measure_window,
                               where_found)
from utils.geometry import Rectangle
from utils.held_pixels import (COARSE, HELD, HELD_COARSE, found_by_pictures, moving_part,
                               unchanged_share)
from utils.in_time import FINE, ReadSource, in_time
from utils.layout import VideoRecord, evenly_spaced
from utils.picture_path import MOST_FRAMES, PicturePair
from utils.registration import Keypoints
from utils.timed_path import times_of
from utils.video import VideoError
from utils.views import Found, Place, View, alignment_of, distinct, in_order, laid_over, refined

PLACES = 4  # looked at per fake or stretch, those with the best motion of two sources; and
MORE_VERIFIED = 2  # best ones of further candidates, those that step 4 verified by most inliers
MORE_ALIKE, NOT_FAR = 3, 0.2  # further ones of the sources whose pictures agree, and by how much
# their motion may be behind the best one's there; or of verified ones where none agree; and
# sources, forwards or backwards, of which all is searched by whole pictures
MOMENTS = 5  # pictures that are laid on each other per place
KEPT = 2 * MOMENTS  # pictures of a fake
SAME_SHAPE = 0.02  # share by which pictures may be wider or higher and one shows the other whole
SAME_SCENE = 0.25  # picture score from which on the mapping is taken
MOST_SEARCHED = 5000  # frames of a source, or a section, that are searched by pictures
LEAST_SEEN = 0.02  # share of the picture; where rectangles are smaller, frames without any stay:
# what is found in the others may be no person at all
CERTAIN_PICTURE, CERTAIN_POSE, CERTAIN_LEAD = 0.6, 0.7, 0.15  # scores, and lead in motion, of a
# place beside which no other need be looked at


class FakePictures:
    """The pictures of a fake, and their local features; those that were read last are kept."""

    def __init__(self, read: Callable[[int], np.ndarray]):
        """read: frame number -> picture [H, W, 3] uint8 BGR, which is kept shrunk()."""
        self.read = lru_cache(KEPT)(lambda frame: shrunk(read(frame)))
        self.features = lru_cache(2 * KEPT)(self._features)

    def _features(self, frame: int, flip: bool) -> Keypoints:
        picture = self.read(frame)
        return everywhere(np.ascontiguousarray(picture[:, ::-1]) if flip else picture, fake=True)


@dataclass(frozen=True)
class Fake:
    """What is looked at of a fake, or of a stretch of it."""

    record: VideoRecord  # of the whole fake
    frames: list[int]  # numbers of those that are compared, or of the stretch's
    motion: FakeMotion | None  # None when nobody is in it
    movement: float  # mean displacement of its person, pixels of the person crop; this and
    # `unchanged` are of all frames that are compared, in a stretch, too
    pictures: FakePictures
    look: Callable[[Square], FakeMotion]  # measures another window
    unchanged: Callable[[], float] = lambda: 0.0  # held_pixels.unchanged_share()
    person_found: bool = True  # else all of its picture is compared
    seen: dict[Hashable, Found] = field(default_factory=dict)  # places that were confirmed, of all
    # its stretches

    def said(self) -> list[str]:
        """In words, what of a whole fake is not compared, and what is in place of a person."""
        every = self.record.frames
        ends = [(every[0], self.frames[0] - 1), (self.frames[-1] + 1, every[-1])]
        found = [f"its frames {first}-{last} hold one picture or show nobody, and were not compared"
                 for first, last in ends if first <= last]
        if self.motion is not None and not self.person_found:
            found.append("no person was found in it, so its whole picture was compared")
        return found

    def times_s(self) -> np.ndarray:
        """When its frames are shown, [n] seconds."""
        record = self.record
        times = dict(zip(record.frames, times_of(record.frames, record.fps, record.settings)))
        return np.array([times[frame] for frame in self.frames])

    def part(self, first: int, last: int) -> "Fake":
        """The stretch from one position among the frames to another, inclusive."""
        return replace(self, frames=self.frames[first:last + 1],
                       motion=self.motion and self.motion.part(first, last),
                       look=lambda square: self.look(square).part(first, last))


def open_fake(roots: FakeRoots, fake_id: str, record: VideoRecord, flow: FlowEstimator,
              segmenter: Segmenter, whole: bool = False) -> Fake:
    """What step 3 wrote of a fake, and its motion, without pictures that are held at its ends and
    frames there that show nobody.

    whole: as for measure_fake(). Raises InputError when some of it is missing.
    """
    boxes = {index: box for index, box in roots.boxes(fake_id).items() if box}
    areas = [width * height for _, _, width, height in boxes.values()]
    large = np.median(areas or [0]) >= LEAST_SEEN * record.width * record.height
    frames = frames_with_person(record.frames, boxes) if large else record.frames
    shown = replace(record, frames=frames)
    is_found = where_found([boxes.get(str(index)) for index in frames]).mean() >= MOSTLY
    motion, first, last = measure_fake(roots, fake_id, shown, flow, whole), 0, len(frames) - 1
    picture, mask = partial(roots.picture, fake_id), partial(roots.mask, fake_id)
    if motion is not None:
        first, last = moving_part(motion.pixels, HELD)
        if last - first < len(frames) - 1 and unchanged_share(
                picture, mask, frames[first:last + 1]) >= COARSE:
            first, last = moving_part(motion.pixels, HELD_COARSE)
        motion = motion.part(first, last)
    frames = frames[first:last + 1]
    movement = float(np.abs(motion.grid.flow).mean()) if motion is not None else 0.0

    def look(square: Square) -> FakeMotion:
        return measure_window(roots, fake_id, shown, square, flow, segmenter).part(first, last)

    return Fake(record, frames, motion, movement, FakePictures(picture), look,
                cache(partial(unchanged_share, picture, mask, frames)), not whole or is_found)


def frames_with_person(frames: list[int], rectangles: dict[str, Rectangle | None]) -> list[int]:
    """The frames of a fake without those at its ends that show nobody, HELD of them or more: title
    cards and the like. All of them where nobody is seen at all."""
    seen = [position for position, frame in enumerate(frames) if rectangles.get(str(frame))]
    if not seen:
        return frames
    first, last = (seen[0] if seen[0] >= HELD else 0,
                   seen[-1] if len(frames) - 1 - seen[-1] >= HELD else len(frames) - 1)
    return frames[first:last + 1]


def confirmed(found: list[Found], fake: Fake, read_source: ReadSource,
              exhaustive: bool = False) -> list[Found]:
    """The places with the best motion looked at again, among all that were found, in their order.

    exhaustive: also the others, when one is certain. Where a source's video cannot be read its
    places stay as they are.
    """
    done: dict[int, Found] = {}

    def look_until_certain(positions: list[int]) -> bool:
        for position in positions:
            one = found[position]
            key = fake.frames[0], fake.frames[-1], *one.key
            try:
                if key not in fake.seen:
                    fake.seen[key] = confirm(one, fake, read_source)
            except VideoError:
                continue
            done[position] = fake.seen[key]
            others = found[:position] + found[position + 1:]
            if not exhaustive and is_certain(done[position], others):
                return True
        return False

    further: list[int] = []
    if not look_until_certain(worth_a_look(found)):
        further = others_alike(found, done)
        if not look_until_certain(further):
            first = len(found)
            found = [*found, *unseen_by_motion(found, done, fake)]
            look_until_certain(list(range(first, len(found))))
    # these stay as they were, too, for where pictures lead away from a place its motion is a rival
    return in_order([done.get(position, one) for position, one in enumerate(found)]
                    + [found[position] for position in further])


def worth_a_look(found: list[Found]) -> list[int]:
    """Positions of the places to look at, most promising first; found: best motion first.

    The best places, one of another source than the first's among them, and the candidates with most
    inliers among the verified ones; if none of all these is verified, the one whose scene is most
    alike.
    """
    chosen = list(range(min(PLACES, len(found))))
    other = next((i for i, one in enumerate(found)
                  if one.hypothesis.source != found[0].hypothesis.source), 0)
    if other >= PLACES:
        chosen[-1] = other
    seen = {found[i].hypothesis.source for i in chosen}
    verified = [i for i, one in enumerate(found) if one.view.candidate["verified"]]
    for position in sorted(verified, key=lambda i: -found[i].view.candidate["inliers"]):
        if len(chosen) < PLACES + MORE_VERIFIED and found[position].hypothesis.source not in seen:
            chosen.append(position)
            seen.add(found[position].hypothesis.source)
    if found and not any(found[i].view.candidate["verified"] for i in chosen):
        alike = max(range(len(found)), key=lambda i: found[i].hypothesis.scene_score)
        if found[alike].hypothesis.source not in seen:
            chosen.append(alike)
    return chosen


def others_alike(found: list[Found], done: dict[int, Found]) -> list[int]:
    """Positions of further places to look at, in the sources whose pictures agree with the fake's
    (mirrored, if they do so): strangers with as much motion may have kept them out. Where none
    agree, in the sources that step 4 verified: hardly any motion leads past the right place.

    found: best motion first; done: those that were looked at, by their positions.
    """
    seen = [one for one in done.values() if one.hypothesis.pictures_agree]

    def behind(one: Found) -> float:
        """By how much its motion is behind the best one's of those seen there."""
        h = one.hypothesis
        return max((other.hypothesis.motion_score for other in seen
                    if (other.hypothesis.source, other.view.flip) == (h.source, one.view.flip)),
                   default=np.inf) - h.motion_score

    return [position for position, one in enumerate(found)
            if position not in done
            and (behind(one) <= NOT_FAR if seen else done and one.view.candidate["verified"])
            and distinct([*done.values(), one])[-1] is one][:MORE_ALIKE]


def unseen_by_motion(found: list[Found], done: dict[int, Found], fake: Fake) -> list[Found]:
    """Further places to look at, in sources that step 4 verified, where no place fits well: where
    the pictures are most alike if the fake's whole picture is the source's. A head that hardly
    moves leads motion anywhere, and a mapping that lays it on where it was at another time hides
    where it was.

    found: best motion first; done: those that were looked at, by their positions.
    """
    if len(fake.frames) > MOST_FRAMES or any(
            one.hypothesis.pictures_agree and one.hypothesis.motion_score >= FINE
            for one in done.values()):
        return []
    best: dict[tuple[str, bool], Found] = {}  # of a source, forwards and backwards
    for one in found:
        if one.view.candidate["verified"]:
            best.setdefault((one.hypothesis.source, one.view.backwards), one)
    places = []
    for one in list(best.values())[:MORE_ALIKE]:
        view = one.view
        wide, high = (getattr(view.source.record, side) / getattr(fake.record, side)
                      for side in ("width", "height"))
        if abs(wide / high - 1) > SAME_SHAPE or len(view.source) > MOST_SEARCHED:
            continue
        person, onto = turned(fake, view, np.diag([wide, high, 1.0])[:2])
        alignment = found_by_pictures(
            one.alignment, PicturePair(person.poses.mapped(onto), view.source.pose, 0),
            view.usual_rates)
        if alignment is not one.alignment:
            places.append(refined(Place(view, alignment)))
    return [one for one in places if distinct([*done.values(), one])[-1] is one]


def is_certain(one: Found, others: list[Found]) -> bool:
    """Whether a place is so clear that none of the others needs to be looked at."""
    h, ahead = one.hypothesis, max((o.hypothesis.motion_score for o in others), default=-1.0)
    return (h.picture_score is not None and h.picture_score >= CERTAIN_PICTURE
            and h.pose_score is not None and h.pose_score >= CERTAIN_POSE
            and h.motion_score >= ahead + CERTAIN_LEAD)


def confirm(one: Found, fake: Fake, read_source: ReadSource) -> Found:
    """A place after its pictures were laid on the fake's. Raises VideoError."""
    at = np.array(alignment_of(one))
    moments = evenly_spaced(len(at), MOMENTS)
    whole = {frame.index: shrunk(frame.image)
             for frame in read_source(one.view.source, set(at[moments].tolist()))}
    moments = [moment for moment in moments if int(at[moment]) in whole]
    if not moments:
        return one
    frames, flip = [fake.frames[moment] for moment in moments], bool(one.view.flip)
    fakes = [fake.pictures.read(frame) for frame in frames]
    sources = [whole[int(at[moment])] for moment in moments]
    source = one.view.source
    scales = fakes[0].shape[1] / fake.record.width, sources[0].shape[1] / source.record.width
    guesses = first_guesses(one.view.candidate, flip, fake.motion.square, source.square,
                            fake.record.width)
    small = find_mapping(fakes, sources, flip, [rescaled(guess, *scales) for guess in guesses],
                         lambda moment: fake.pictures.features(frames[moment], flip))
    mapping = replace(small, matrix=rescaled(small.matrix, *(1 / scale for scale in scales)))
    if mapping.agreement < SAME_SCENE:
        return replace(one, hypothesis=replace(one.hypothesis, picture_score=mapping.agreement))
    return laid_on(one, fake, mapping, read_source)


def turned(fake: Fake, view: View, matrix: np.ndarray) -> tuple[FakeMotion, np.ndarray]:
    """What a fake shows, forwards in the source's time, and the mapping [2, 3] of its square to the
    source's, in units of their sides.

    matrix: [2, 3] pixels of the fake (of its mirror image, if the view has that) to the source's.
    """
    person, onto = laid_over(fake.motion, matrix, view.flip, fake.record.width, view.source.square,
                             fake.look)
    if len(fake.frames) > MOST_FRAMES or fake.unchanged() < COARSE:
        person = replace(person, poses=person.poses.plain())
    return (person.reversed() if view.backwards else person), onto


def laid_on(one: Found, fake: Fake, mapping: ClipMapping, read_source: ReadSource) -> Found:
    """A place whose pictures lie on each other: compared through their mapping, to the frame.

    Raises VideoError.
    """
    view = one.view
    person, onto = turned(fake, view, mapping.matrix)
    mapped = replace(view, grid=person.grid.warped(onto).pooled(), pose=person.poses.mapped(onto),
                     registered=True)
    alignment = one.alignment
    if (len(fake.frames) <= MOST_FRAMES and one.hypothesis.motion_score < FINE
            and len(view.source) <= MOST_SEARCHED):
        alignment = found_by_pictures(alignment, PicturePair(mapped.pose, view.source.pose, 0),
                                      view.usual_rates)
    plain = replace(view, pose=mapped.pose)
    best = max(refined(Place(mapped, alignment)), replace(
        one, view=plain, alignment=alignment, hypothesis=plain.judge(alignment)),
               key=lambda found: found.hypothesis.motion_score)
    times_s = fake.times_s()
    alignment, explained, sure = in_time(
        best, fake.unchanged(), person, -times_s[::-1] if view.backwards else times_s, onto,
        read_source)
    return replace(best, alignment=alignment, mapping=mapping, hypothesis=replace(
        best.view.judge(alignment), picture_score=mapping.agreement, pixel_score=explained,
        certainty=sure))
