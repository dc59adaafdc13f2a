"""Comparing one fake with its candidate sources: views, places, hypotheses.

A view is one way to lay a fake over a candidate (mirrored or not, mapped by local features or
person square onto person square, forwards or backwards); a place is a stretch of the source that
fits in a view; a hypothesis is a place with the evidence that utils.decision weighs.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from models.motion import MotionGrid, Square
from models.pose import PoseClip, pose_score
from utils.byte_cache import ByteCache
from utils.clip_mapping import ClipMapping
from utils.decision import Hypothesis
from utils.fake_motion import FakeMotion, is_elsewhere
from utils.geometry import square_before, square_mapping
from utils.layout import VideoRecord
from utils.matching import (FAR_RATES, MOST_STEPS, RATES, Alignment, PairScores, believed,
                            cell_scores, energies, grid_score, motion_along, pair_scores,
                            place_score, refine, rough_places, same_place, slide)
from utils.paths import follow, gains, most_around, path_gain
from utils.source_motion import IndexedSource

Located = TypeVar("Located", "Place", "Found")  # has a view and an alignment
PLACES = 5  # places kept per candidate
FITS = 0.6  # motion score of a place beside which no rate but the source's is tried backwards; and
FITS_WELL = 0.8  # of one beside which no far rate is tried, nor other rates of a fake's stretches
REFINED = 8  # places looked at more closely per fake
CLOSE = 0.15  # behind the best motion score, at most, for a copy of the best place's footage
SAME_FOOTAGE = 0.8  # least score of two sources against each other that makes them copies
SAME_PIXELS, TOLD_FRAMES = 0.1, 0.9  # pixel score of places, and certainty, from which on all of
# them show what the fake was made from: strangers and other takes have less; set by hand
MOST_GAINS = 1 << 25  # numbers of 4 bytes in a fake's gain tables; the least promising ones go
PROMISING = 24  # frame pairs that a table is to explain to be promising
STRETCH_RATES = 3  # best places whose rates the stretches of a fake may have
SAME_RATE = 0.02  # share by which rates are one
LEAST_ENERGY = 0.3  # of the liveliest view's: views that show less of the person gain less


_SCORES: ByteCache[PairScores] = ByteCache(128 << 20)  # of views that were looked at last


@dataclass(frozen=True, eq=False)  # each view is a key of its own
class View:
    """One way to compare a fake with a candidate source."""

    candidate: dict
    source: IndexedSource
    grid: MotionGrid  # the fake's motion, mirrored, mapped or reversed as this view has it
    pose: PoseClip | None  # its poses, where local features tell how to lay them over the source
    flip: int
    registered: bool  # mapped by local features; else person square onto person square
    backwards: bool
    natural: float  # source frames per fake frame if nothing was re-timed
    fastest: float = 0.0  # source frames per fake frame that are compared anyhow

    @property
    def sign(self) -> int:
        """Of the rate: -1 if the fake runs backwards."""
        return -1 if self.backwards else 1

    @property
    def usual_rates(self) -> tuple[float, ...]:
        """Source frames per fake frame, where frames or times were copied as they are."""
        return tuple(dict.fromkeys((1.0, self.natural) if self.natural <= MOST_STEPS else (1.0,)))

    @property
    def scores(self) -> PairScores:
        """Every frame pair of the fake beside every displacement of the source."""
        return _SCORES.get(self, lambda: pair_scores(self.grid, self.source.motion,
                                                     max(self.natural, self.fastest)))

    def part(self, first: int, last: int) -> "View":
        """The view of a stretch of the fake, first to last frame, inclusive."""
        if self.backwards:
            first, last = len(self.grid) - last, len(self.grid) - first
        return replace(self, grid=self.grid.part(first, last),
                       pose=self.pose and self.pose.part(first, last))

    def judge(self, alignment: Alignment) -> Hypothesis:
        """The hypothesis that the fake comes from this very alignment."""
        c, ends = self.candidate, (alignment.start, alignment.end)
        start, end = ends[::-1] if self.backwards else ends
        first = self.source.first
        return Hypothesis(c["source"], first + start, first + end, self.sign * alignment.rate,
                          self.flip, place_score(self.grid, self.source.motion, alignment),
                          self.pose and pose_score(self.pose, self.source.pose[alignment.at]),
                          c["scene_score"], c["inliers"], c["background_inliers"],
                          self.registered)


def views_of(fake: FakeMotion, record: VideoRecord, candidate: dict, source: IndexedSource,
             look: Callable[[Square], FakeMotion]) -> list[View]:
    """All ways to compare a fake with one source: person square to person square, and, where local
    features gave a mapping, through that; forwards and backwards.

    A verified mapping says whether the fake is mirrored, and lets poses be compared. look: measures
    a window of the fake, for mappings that lead to another person than its largest one.
    """
    turned = {0: fake.grid, 1: fake.grid.mirrored()}
    natural = source.fps / record.fps
    views = [View(candidate, source, grid.pooled(), None, flip, False, False, natural)
             for flip, grid in turned.items()
             if not candidate["verified"] or flip == candidate["flip"]]
    if candidate["mapping"]:
        turned_fake, mapping = laid_over(fake, np.array(candidate["mapping"]), candidate["flip"],
                                         record.width, source.square, look)
        mapped = turned_fake.grid.warped(mapping).pooled()
        pose = turned_fake.poses.plain().mapped(mapping)
        if candidate["verified"]:
            views = [replace(view, pose=pose) for view in views]
        views.append(View(candidate, source, mapped, pose if candidate["verified"] else None,
                          candidate["flip"], True, False, natural))
    return [way for view in views for way in (view, replace(
        view, grid=view.grid.reversed(), pose=view.pose and view.pose.reversed(),
        backwards=True))]


def laid_over(fake: FakeMotion, matrix: np.ndarray, flip: int, width: int, square: Square,
              look: Callable[[Square], FakeMotion]) -> tuple[FakeMotion, np.ndarray]:
    """The fake turned as a mapping wants it, and the mapping [2, 3] of its square to the source's.

    matrix: [2, 3] pixels of the fake (of its mirror image if `flip`), `width` of them wide, to
    pixels of the source; square: the source's; look: measures a window of the fake, where the
    mapping leads to another person than the largest one.
    """
    mirrored_width = width if flip else None
    window = square_before(matrix, square, mirrored_width)
    if is_elsewhere(window, fake.square):
        fake = look(window)
    mapping = square_mapping(matrix, fake.square, square, mirrored_width)
    return (fake.mirrored() if flip else fake), mapping


@dataclass(frozen=True)
class Place:
    """A rough place of a candidate."""

    view: View
    alignment: Alignment


def find_places(views: list[View]) -> list[Place]:
    """The best places of every candidate.

    Other rates than the source's own are tried backwards where nothing fits so far, FAR_RATES where
    nothing fits well.
    """
    places = [place for view in views
              for place in rough(view, (1.0,) if view.backwards else RATES)]
    best = max((place.alignment.score for place in places), default=0.0)
    if best < FITS:
        places += [place for view in views if view.backwards for place in rough(view, RATES)]
    if best < FITS_WELL:
        far = [replace(view, fastest=view.natural * max(FAR_RATES)) for view in views
               if not view.backwards]
        places += [place for view in far
                   for place in rough(view, [view.natural * rate for rate in FAR_RATES])]
    places.sort(key=lambda p: -believed(p.alignment.score, p.view.sign * p.alignment.rate,
                                        p.view.natural))
    return [place for name in dict.fromkeys(view.candidate["source"] for view in views)
            for place in distinct([p for p in places if p.view.candidate["source"] == name]
                                  )[:PLACES]]


def rough(view: View, rates: Sequence[float]) -> list[Place]:
    """The best places in one view."""
    return [Place(view, alignment)
            for alignment in rough_places(view.scores, view.natural, PLACES, rates)]


def distinct(found: list[Located]) -> list[Located]:
    """Of what is about one place of one source, laid over it the same way, keep the first."""
    kept: list[Located] = []
    for one in found:
        if not any(one.view.candidate["source"] == other.view.candidate["source"]
                   and (one.view.flip, one.view.backwards) == (other.view.flip,
                                                               other.view.backwards)
                   and same_place(in_source(one), in_source(other)) for other in kept):
            kept.append(one)
    return kept


def in_source(located: Located) -> Alignment:
    """An alignment in frames of the whole source."""
    alignment = located.alignment
    return replace(alignment, at=alignment.at + located.view.source.first)


@dataclass(frozen=True)
class Found:
    """A hypothesis and what it rests on."""

    hypothesis: Hypothesis
    view: View
    alignment: Alignment
    curve: np.ndarray  # scores over all starts at the alignment's rate; empty if not refined; the
    # starts of a section begin with its first frame
    mapping: ClipMapping | None = None  # how the pictures lie on each other, where they do

    @property
    def key(self) -> tuple:
        """What tells it from other places of the same stretch of a fake."""
        view, place, candidate = self.view, self.alignment, self.view.candidate
        return (candidate["source"], candidate["flip"], view.flip, view.registered, view.backwards,
                view.fastest, view.source.first, len(view.source), place.at.tobytes(), place.rate,
                place.phase, len(self.curve))


def look_closer(places: list[Place]) -> list[Found]:
    """Judge all places, refine the best ones and the best one of every verified candidate.

    Returns the hypotheses, best motion first.
    """
    judged = sorted(((place.view.judge(place.alignment), place) for place in places),
                    key=lambda j: -j[0].motion_score)
    found, seen = [], set()
    for rank, (hypothesis, place) in enumerate(judged):
        first = hypothesis.source not in seen
        seen.add(hypothesis.source)
        found.append(refined(place) if rank < REFINED or first and place.view.candidate["verified"]
                     else Found(hypothesis, place.view, place.alignment, np.empty(0, np.float32)))
    return in_order(found)


def in_order(found: list[Found]) -> list[Found]:
    """Best motion first; of what is about one place the best: first of all one whose pictures agree
    with the fake's."""
    def motion(one: Found) -> float:
        return -one.hypothesis.motion_score

    kept = distinct(sorted(found, key=lambda one: (not one.hypothesis.pictures_agree, motion(one))))
    return sorted(kept, key=motion)


def refined(place: Place) -> Found:
    """The exact start, rate and path near a rough place."""
    view, scores = place.view, place.view.scores
    even = refine(scores, place.alignment, view.natural)
    alignment = follow(scores, even, view.usual_rates)
    return Found(view.judge(alignment), view, alignment, slide(scores, even.rate, even.phase))


def mark_copies(found: list[Found]) -> list[Found]:
    """Say of places that they show the same footage as a better one in another source: single
    pixels and their moments are the fake's in both, or both move as the best one does."""
    if not found:
        return []
    best, shown = found[0], next(filter(_shows_its_pixels, found), None)
    motion = _seen_there(best)

    def copied(one: Found) -> Found | None:
        """The place whose footage it shows, too."""
        if _shows_its_pixels(one):
            return shown
        h = one.hypothesis
        return best if (h.motion_score > best.hypothesis.motion_score - CLOSE
                        and grid_score(motion, _seen_there(one)) >= SAME_FOOTAGE) else None

    def marked(one: Found) -> Found:
        h, other = one.hypothesis, copied(one)
        if other is None or other.hypothesis.source == h.source:
            return one
        return replace(one, hypothesis=replace(h, copy_of=other.hypothesis.source))

    return [best, *map(marked, found[1:])]


def _shows_its_pixels(one: Found) -> bool:
    h = one.hypothesis
    return (h.pixel_score or 0.0) >= SAME_PIXELS and (h.certainty or 0.0) >= TOLD_FRAMES


def _seen_there(found: Found) -> MotionGrid:
    """The source's motion at a place, turned as the fake is."""
    motion = motion_along(found.view.source.motion, found.alignment.at)
    motion = motion.reversed() if found.view.backwards else motion
    return motion.mirrored() if found.view.flip else motion


def alignment_of(found: Found) -> list[int]:
    """Source frame of every frame of the fake's stretch, in the fake's order."""
    return in_source(found).at[::-1 if found.view.backwards else 1].tolist()


def agreement_of(found: Found) -> list[list[float | None]]:
    """How alike each cell of the person square moved, -1 to 1; None where nobody is."""
    cells = cell_scores(found.view.grid, found.view.source.motion, found.alignment)
    return [[None if np.isnan(cell) else round(float(cell), 3) for cell in row] for row in cells]


def own_score(found: Found) -> float:
    """How well a fake's motion fits a place, -1 to 1, but for what a camera can do: however the
    whole picture was made to move, rightly or wrongly, that stays the same."""
    return place_score(found.view.grid, found.view.source.motion, found.alignment, own=True)


def explained(found: Found) -> tuple[np.ndarray, np.ndarray]:
    """What a place explains of every pair of the fake's frames, and the energy of its motion there,
    [n] each, in the fake's order."""
    scores, turn = found.view.scores, slice(None, None, -1 if found.view.backwards else 1)
    return path_gain(scores, found.alignment.at)[turn], scores.fake_energy[turn]


def gain_tables(views: list[View], found: list[Found]) -> list[np.ndarray]:
    """What every view, and every alignment of the whole fake, explains of it pair by pair.

    In units of the mean energy of a pair; forwards in the fake's time. Views are laid at the
    source's own rate, and, where no place fits the whole fake well, at those of the best places,
    for one of the stretches may be among them.
    """
    fits = bool(found) and found[0].hypothesis.motion_score >= FITS_WELL
    rates = [f.alignment.rate for f in found[:STRETCH_RATES] if len(f.curve) and not fits]
    least = LEAST_ENERGY * max((energies(view.grid).mean() for view in views), default=0.0)

    def table(view: View, gain: Callable[[PairScores, np.ndarray], np.ndarray]) -> np.ndarray:
        energy = energies(view.grid)
        made = np.minimum(gain(view.scores, energy), most_around(energy)[:, None])
        made = made / max(energy.mean(), least, 1e-6)
        return made[::-1] if view.backwards else made

    evenly = (table(view, lambda scores, energy, rate=rate: gains(scores, energy, rate))
              for view in views for rate in distinct_rates([view.natural, *rates]))
    followed = [table(f.view, lambda scores, _, at=f.alignment.at: path_gain(scores, at)[:, None])
                for f in found if len(f.curve)]
    return most_promising(evenly) + followed


def distinct_rates(rates: Iterable[float]) -> list[float]:
    """Rates that differ by more than a stretch of a fake could tell, in their order."""
    kept: list[float] = []
    for rate in rates:
        if all(abs(rate / other - 1) > SAME_RATE for other in kept):
            kept.append(rate)
    return kept


def most_promising(tables: Iterable[np.ndarray], most: int = MOST_GAINS) -> list[np.ndarray]:
    """Of gain tables, in their order, those that explain some run of pairs best; `most` numbers."""
    kept: list[tuple[float, int, np.ndarray]] = []
    total = 0
    for order, table in enumerate(tables):
        heapq.heappush(kept, (_promise(table), order, table))
        total += table.size
        while total > most:
            total -= heapq.heappop(kept)[2].size
    return [table for _, _, table in sorted(kept, key=lambda entry: entry[1])]


def _promise(table: np.ndarray) -> float:
    """The most that one place explains of PROMISING successive pairs."""
    sums = np.cumsum(table, axis=0)
    sums[PROMISING:] -= sums[:-PROMISING].copy()
    return float(sums[PROMISING - 1:].max(initial=float(sums[-1].max(initial=-np.inf))))
