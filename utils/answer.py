"""From the hypotheses about one fake to its answer: rows of traces.csv, and what its JSON holds."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from utils import decision
from utils.decision import Hypothesis
from utils.registration import MIN_INLIERS
from utils.source_motion import IndexedSource
from utils.tables import Trace
from utils.views import FITS_WELL, SAME_RATE, Found, own_score

SAME_RUN = 6  # frames by which a stretch may miss where the one before was going
LESS_DOUBT = 0.5  # share of the doubt in the frames of a fake as it is, that steadying it may leave
OWN_MOTION = 0.33  # views.own_score() from which on motion fits by more than what steadying did
ONE_PICTURE_PX = 0.01  # mean displacement, pixels of the person crop, below which all frames show
# one picture; both were set by hand, on steadied fakes, other takes and stills of 15 clips that are
# not used for measuring, and on some of three that are
CLEAR_MOTION = 0.9  # score from which on nobody asks whether the whole picture moves
STANDS_STILL = 0.7  # picture score from which on it does not
SURE_PART = 0.8  # least confidence of a stretch that a fake is cut for
UNKNOWN = 0.5  # confidence of "no source" where nothing could be compared
LIKELIEST = 0.5  # confidence from which on a place is more probable than all else together


def make_trace(fake: str, frames: list[int], candidates: list[dict],
               hypotheses: list[Hypothesis], chances: np.ndarray, place: int | None,
               load: Callable[[str], IndexedSource], unreadable: list[str]) -> Trace:
    """The row of traces.csv for one stretch of a fake.

    frames: frame numbers of the stretch; chances: of every hypothesis, and of "no source here";
    place: the hypothesis that the answer is about, decision.named() with persons_seen(); load:
    gives a source's motion by its file name; unreadable: sources without any.
    """
    empty = Trace(fake=fake, fake_start_frame=frames[0], fake_end_frame=frames[-1],
                  verdict=decision.NO_SOURCE, source=None, start_frame=None, end_frame=None,
                  start_time_s=None, end_time_s=None, rate=None, flip=None, scene_score=None,
                  motion_score=None, confidence=float(chances[-1]), runner_up=None, reason="")
    if not hypotheses:
        return scene_only(empty, candidates, unreadable)
    seen = persons_seen(candidates, hypotheses)
    verdict = decision.verdict(hypotheses, chances, len(frames), seen)
    nearest = int(np.argmax(chances[:-1]))
    best = hypotheses[nearest if place is None else place]
    others = [h for h in hypotheses if h.source != best.source]
    runner_up = max(others, key=lambda h: h.motion_score).source if others else None
    missed = any(c["source"] in unreadable and c["verified"] for c in candidates)
    if chances[-1] >= 0.5 and (missed or place is None and seen):
        return scene_only(empty, candidates, unreadable)
    if place is None:
        return replace(empty, runner_up=best.source, motion_score=best.motion_score,
                       scene_score=best.scene_score,
                       reason=decision.explain(verdict, hypotheses, chances, nearest, len(frames)))
    row = replace(empty, verdict=verdict, source=best.source, flip=best.flip,
                  scene_score=best.scene_score, motion_score=best.motion_score, confidence=0.0,
                  runner_up=runner_up,
                  reason=decision.explain(verdict, hypotheses, chances, place, len(frames), seen))
    if not decision.tells_frames(chances, place):
        return row
    times_s = load(best.source).all_times_s
    return replace(row, start_frame=best.start, end_frame=best.end,
                   start_time_s=float(times_s[best.start]), end_time_s=float(times_s[best.end]),
                   rate=best.rate, confidence=decision.confidence(best, chances[place]))


def without_copies(candidates: list[dict], load: Callable[[str], IndexedSource | None]
                   ) -> tuple[list[dict], dict[str, list[str]]]:
    """Candidates, best first, without those whose file is that of a better one, byte for byte; and
    these files' names, by the name of the one that stays."""
    kept, copies = {}, {}
    for candidate in candidates:
        source = load(candidate["source_id"])
        first = kept.setdefault(source.record.sha256 if source else candidate["source"], candidate)
        if first is not candidate:
            copies.setdefault(first["source"], []).append(candidate["source"])
    return list(kept.values()), copies


def source_id(candidates: list[dict], source: str) -> str:
    """Video id of a candidate's file name."""
    return next(c["source_id"] for c in candidates if c["source"] == source)


def rows_of(answers: list[dict]) -> list[Trace]:
    """The rows of traces.csv of a fake's stretches."""
    return [one["trace"] for one in answers]


def places_of(answers: list[dict]) -> list[tuple[int, Found]]:
    """All places that were found for a fake's stretches, and the frame of the fake that each of them
    begins with, stretch by stretch, best motion first."""
    return [(one["trace"].fake_start_frame, place) for one in answers for place in one["found"]]


def rejected_joined(parts: Sequence[dict], stretches: Sequence[tuple[int, int]],
                    trace: Callable[[tuple[int, int]], dict]) -> list[dict]:
    """Parts of a fake, neighbours without a source put together where they have none together."""
    def is_rejected(part: dict) -> bool:
        return part["trace"].verdict == decision.NO_SOURCE

    joined: list[tuple[tuple[int, int], dict]] = []
    for ends, part in zip(stretches, parts, strict=True):
        if joined and is_rejected(part) and is_rejected(joined[-1][1]):
            both = joined[-1][0][0], ends[1]
            together = trace(both)
            if is_rejected(together):
                joined[-1] = both, together
                continue
        joined.append((ends, part))
    return [part for _, part in joined]


def tells_more(parts: list[Trace], whole: Trace) -> bool:
    """Whether a fake's stretches, traced each on its own, say more than the fake as a whole.

    The cuts were laid where the parts fit best, so some have to be surer than a whole fake, and
    together they have to match the motion better than one place does; or all of them show what a
    source shows, though its frames are not clear, and the whole shows nothing. Stretches of which
    each goes on where the one before ends are one.
    """
    placed = [part for part in parts if part.start_frame is not None]
    if whole.start_frame is not None and (
            not placed or _mean(placed, "motion_score") <= whole.motion_score):
        return False
    if len(placed) == len(parts) and all(_goes_on(*pair) for pair in zip(parts, parts[1:])):
        return False
    sure = _sure(parts)
    if any(not _goes_on(*pair) for pair in zip(sure, sure[1:])):
        return True
    if sure:
        return whole.verdict != decision.TRACED
    return whole.source is None and all(part.source is not None for part in parts)


def shows_something_else(parts: Sequence[dict], shown: Sequence[bool], whole: Trace) -> bool:
    """Whether a fake's stretches, traced each on its own, are its source and something else, of
    which no picture of that source shows anything.

    shown: which of the stretches show the source of the whole, along its place.
    """
    ours, others = ([part for part, ours in zip(parts, shown) if ours == wanted]
                    for wanted in (True, False))
    placed = [row for row in rows_of(ours) if row.source == whole.source
              and row.start_frame is not None]
    return (bool(_sure(placed)) and _mean(placed, "motion_score") > whole.motion_score
            and not any(place.hypothesis.source == whole.source and place.hypothesis.pictures_agree
                        for part in others for place in part["found"]))


def sources_of(parts: Sequence[dict]) -> list[str]:
    """Sources, by their file names, that some parts of a fake are surely traced to."""
    return list(dict.fromkeys(row.source for row in _sure(rows_of(parts))))


def _sure(rows: list[Trace]) -> list[Trace]:
    """Those that are traced, and surely enough to cut a fake for them."""
    return [row for row in rows if is_sure(row)]


def is_sure(row: Trace) -> bool:
    """Whether a stretch is traced, and surely enough to cut a fake for it."""
    return row.verdict == decision.TRACED and row.confidence >= SURE_PART


def says_more(steadied: list[Trace], shown: list[Trace]) -> bool:
    """Whether the rows of a fake that was steadied say more than those of it as it is shown.

    They trace more of its frames; or as many, and leave much less doubt; or, where neither traces
    any, a place is more probable: than anything else, if the others say that no source is here.
    Never where they lead away from a place that is sure as it is shown, and whose motion fits well.
    """
    sure = [row for row in shown if is_sure(row) and row.motion_score >= FITS_WELL]
    if not all(any(_same_place(row, other) for other in steadied) for row in sure):
        return False
    traced = [_frames_of(rows, decision.TRACED) for rows in (steadied, shown)]
    if traced[0] != traced[1]:
        return traced[0] > traced[1]
    if traced[0]:
        doubts = [1 - _mean([row for row in rows if row.verdict == decision.TRACED], "confidence")
                  for rows in (steadied, shown)]
        return doubts[0] < LESS_DOUBT * doubts[1]
    places = [sum(row.confidence for row in rows if row.start_frame is not None)
              for rows in (steadied, shown)]
    likely = all(row.start_frame is not None and row.confidence > LIKELIEST for row in steadied)
    return places[0] > places[1] and (likely or not _frames_of(shown, decision.NO_SOURCE))


def shows_one_picture(answers: Sequence[dict]) -> bool:
    """Whether nothing moves in a fake. A path along which its pictures lie on a source's would be
    nothing but that source's motion."""
    return all(one["evidence"]["movement_px"] < ONE_PICTURE_PX for one in answers)


def fits_by_itself(answers: Sequence[dict]) -> bool:
    """Whether the motion of all that is traced fits by more than the path along which a source's
    pictures steadied it: that gives another take, too, some of the source's motion."""
    return all(own_score(one["best"]) >= OWN_MOTION for one in answers
               if one["trace"].verdict == decision.TRACED)


def clearly_traced(rows: list[Trace]) -> bool:
    """Whether all of a fake is traced, and the motion matches well."""
    return all(row.verdict == decision.TRACED and row.motion_score >= CLEAR_MOTION for row in rows)


def needs_no_steadying(answers: list[dict]) -> bool:
    """Whether a fake, but for what was cut into it, is traced, and its whole picture stays where
    it is: so the motion says, or the pictures of all moments, which one mapping lays on the
    source's."""
    answers = [one for one in answers
               if not one.get("cut_in") or one["trace"].verdict != decision.NO_SOURCE]
    if clearly_traced(rows_of(answers)):
        return True
    return all(one["trace"].verdict == decision.TRACED
               and (one["best"].hypothesis.picture_score or 0.0) >= STANDS_STILL
               for one in answers)


def _frames_of(rows: list[Trace], verdict: str) -> int:
    """How many frames of a fake have a verdict."""
    return sum(row.fake_end_frame - row.fake_start_frame + 1 for row in rows
               if row.verdict == verdict)


def _mean(parts: list[Trace], column: str) -> float:
    """Mean of a column over stretches, each counted by its length."""
    return float(np.average([getattr(part, column) for part in parts],
                            weights=[part.fake_end_frame - part.fake_start_frame + 1
                                     for part in parts]))


def one_way(one: Trace, other: Trace) -> bool:
    """Whether two stretches that have places show one source, both mirrored or not, both forwards
    or backwards."""
    return (one.source, one.flip, one.rate > 0) == (other.source, other.flip, other.rate > 0)


def _same_place(one: Trace, other: Trace) -> bool:
    """Whether a stretch, at the middle of another one, shows what that one does."""
    middle = (one.fake_start_frame + one.fake_end_frame) // 2
    if (other.start_frame is None or not one_way(one, other)
            or not other.fake_start_frame <= middle <= other.fake_end_frame):
        return False
    places = [row.start_frame + row.rate * (middle - row.fake_start_frame) for row in (one, other)]
    return abs(places[0] - places[1]) <= SAME_RUN


def runs_on(one: Trace, other: Trace) -> bool:
    """Whether both of two stretches are traced, and the second goes on to the frame, and as fast,
    as if there were no cut."""
    return (one.verdict == other.verdict == decision.TRACED and _goes_on(one, other, 1)
            and abs(one.rate - other.rate) <= SAME_RATE * abs(other.rate))


def _goes_on(one: Trace, other: Trace, within: int = SAME_RUN) -> bool:
    """Whether a stretch goes on in the source where the one before would have got to; one that
    turns back there does not."""
    if not one_way(one, other):
        return False
    expected = one.end_frame + (other.fake_start_frame - one.fake_end_frame) * one.rate
    return abs(other.start_frame - expected) <= within


def persons_seen(candidates: list[dict], hypotheses: list[Hypothesis]) -> set[str]:
    """Sources, by their file names, whose person local features found in the fake; but for those
    whose pictures, where they were laid on the fake's, show nothing of it: what agrees then is a
    logo or a caption."""
    alike: dict[str, float] = {}
    for h in hypotheses:
        if h.picture_score is not None:
            alike[h.source] = max(alike.get(h.source, -1.0), h.picture_score)
    return {candidate["source"] for candidate in candidates if on_person(candidate)
            and alike.get(candidate["source"], 1.0) >= decision.NOTHING_ALIKE}


def on_person(candidate: dict) -> bool:
    """Whether local features on the person, not only on a background, agree with a candidate."""
    on_background = candidate["background_inliers"]
    return candidate["verified"] and candidate["inliers"] >= 2 * on_background + MIN_INLIERS


def scene_only(empty: Trace, candidates: list[dict], unreadable: list[str]) -> Trace:
    """The row of a fake where motion tells nothing: the scene alone never says which frames."""
    verified = [c for c in candidates if c["verified"]]
    first = next((c for c in verified if c["source"] in unreadable or on_person(c)),
                 verified[0] if verified else None)
    if first is None:
        return replace(empty, confidence=UNKNOWN, reason="no motion of a person to compare, and "
                                                         "no source with the same scene")
    frames = empty.fake_end_frame - empty.fake_start_frame + 1
    if first["source"] in unreadable:
        why = "its video could not be read, so its motion was not compared; check --video-root"
    elif frames < decision.MIN_FRAMES:
        why = (f"{frames} frame{'s' * (frames > 1)} of a fake cannot tell when it was; "
               f"{decision.MIN_FRAMES} are needed")
    else:
        why = ("motion does not tell its frames: another take of the same person, or too little "
               "motion")
    return replace(empty, verdict=decision.AMBIGUOUS, source=first["source"], flip=first["flip"],
                   scene_score=first["scene_score"], confidence=0.0,  # of frames that are not given
                   reason=f"{first['inliers']} local features agree with this source, but {why}")
