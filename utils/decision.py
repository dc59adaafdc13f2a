"""From evidence to a verdict: a calibrated choice among hypotheses, "none of them" included.

A hypothesis is one place of one source. Its log-odds against "no source here" are a linear
function of its evidence; a softmax over all hypotheses and the empty one (log-odds 0) gives
probabilities (a conditional logit model, McFadden 1974). Places that fit equally well share the
probability, which is what makes a case ambiguous. The coefficients are fitted by
`models/training/fit_decision.py` on clips that are not used for measuring.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.files import InputError, read_json

DECISION_FILE = Path(__file__).parents[1] / "models" / "weights" / "decision.json"
UNSEEN = ("bias", "motion", "lead_over_sources", "lead_in_source", "posed", "pose", "pose_lead",
          "person_inliers", "background_inliers", "scene", "frames", "movement", "uneven_rate",
          "motion_by_movement", "lead_by_movement", "apart_unposed", "unchanged",
          "motion_by_unchanged")
SEEN = (*UNSEEN, "looked_at", "picture", "pixels", "pixels_by_frames", "pixels_behind")
# the same evidence weighs otherwise where no place's pictures could be looked at, for want of the
# videos: it then has columns of its own, and those of the other case are 0
FEATURES = (*SEEN, *(f"{name}, no pictures" for name in UNSEEN))
TRACED, AMBIGUOUS, NO_SOURCE = "traced", "ambiguous", "no_source"
MAX_BEHIND, MAX_AHEAD, MAX_AHEAD_IN_SOURCE = 0.5, 0.2, 0.1  # larger leads say no more
EQUAL_SHARE = 1 / 3  # of the best place's probability, from which on others are named beside it
USUAL_SCORE, USUAL_SPREAD, USUAL_COUNT = 0.28, 0.12, 4  # of strangers' best scores (300 fakes
# of 15 clips), and as how many sources this counts beside those that are here
MOST_APART = (-3, 8)
SAME_PICTURES = 0.5  # picture score from which on the same person is seen in the same place; set by
# hand, on those clips: nearly all true places have more, strangers have 0.3 at most
NOTHING_ALIKE = 0.25  # picture score of all places of a source below which its person is not seen,
# whatever local features say; set by hand: strangers with a common logo have 0.17 at most, sources
# that features found and motion did not 0.45 and more, on fakes of 20 clips
SURE_NONE = 0.8  # probability of "no source here" from which on that is the answer; set by hand, on
# those clips: without their source all fakes had more, with it hardly any
LIKELY_PLACE = 0.1  # probability from which on frames are given although none is likelier than not
DOUBT = 1 / 3  # power of the certainty of a place's frames in the confidence: the decision knows
# some of what makes them uncertain; found on fakes of those clips
MIN_FRAMES = 8  # shorter fakes are never more than ambiguous: too much fits them


@dataclass(frozen=True)
class Hypothesis:
    """One place of one source that a fake may come from, with its evidence."""

    source: str  # file name under the sources' root
    start: int  # source frames of the fake's first and last frame
    end: int
    rate: float  # source frames per fake frame
    flip: int
    motion_score: float  # weighted cosine, -1 to 1
    pose_score: float | None  # correlation, -1 to 1; None where poses cannot be compared
    scene_score: float  # cosine, -1 to 1
    inliers: int
    background_inliers: int
    registered: bool  # the comparison was made through the local features' mapping
    picture_score: float | None = None  # correlation of gradients, -1 to 1, of the pictures laid on
    # each other at the same moments; None where that was not tried
    pixel_score: float | None = None  # share of what is new in single pixels that the source
    # explains, below 1; None where they could not be compared
    certainty: float | None = None  # probability that its frames are right if its place is; None
    # where pixels do not tell
    copy_of: str | None = None  # another source that has the same footage there

    @property
    def pictures_agree(self) -> bool:
        """Whether its pictures show the same person in the same place."""
        return self.picture_score is not None and self.picture_score >= SAME_PICTURES

    @property
    def footage(self) -> str:
        """Name shared by all sources with the same footage."""
        return self.copy_of or self.source


def evidence(hypotheses: list[Hypothesis], frames: int, movement: float,
             unchanged: float) -> np.ndarray:
    """Features of every hypothesis, [H, len(FEATURES)].

    frames: of the fake; movement: mean displacement of its person, pixels of the person crop;
    unchanged: share of its person's blocks that stand still from frame to frame, as a coarse
    encoder leaves them (utils/held_pixels.py): less motion is left to agree.
    Copies of one footage are no evidence against each other: they share its probability.
    """
    rows = []
    for h in hypotheses:
        rivals = [o for o in hypotheses if o.footage != h.footage or o.source == h.source]
        elsewhere = [o.motion_score for o in rivals if o.source != h.source]
        same = [o.motion_score for o in rivals if o.source == h.source and o is not h]
        poses = [o.pose_score for o in rivals if o is not h and o.pose_score is not None]
        posed = h.pose_score is not None
        lead = _lead(h.motion_score, elsewhere, MAX_AHEAD)
        lively, longer = np.log(movement + 0.01), np.log(frames / 25)
        rows.append((
            1.0, h.motion_score, lead, _lead(h.motion_score, same, MAX_AHEAD_IN_SOURCE),
            float(posed), h.pose_score or 0.0,
            _lead(h.pose_score, poses, MAX_AHEAD) if posed else 0.0,
            np.log1p(max(0, h.inliers - h.background_inliers)), np.log1p(h.background_inliers),
            h.scene_score, longer, lively, float(abs(h.rate - 1) > 1e-6),
            h.motion_score * lively, lead * lively, 0.0 if posed else _apart(h, rivals),
            unchanged, h.motion_score * unchanged, float(h.picture_score is not None),
            h.picture_score or 0.0, _pixels(h), _pixels(h) * longer, _pixels_behind(h, rivals)))
    seen = np.array(rows, float).reshape(-1, len(SEEN))
    unseen = np.zeros((len(seen), len(UNSEEN)))
    if not seen[:, SEEN.index("looked_at")].any():
        seen, unseen = np.zeros_like(seen), seen[:, :len(UNSEEN)]
    return np.hstack([seen, unseen])


def _lead(score: float, others: list[float], most: float) -> float:
    """How far a score is ahead of the best other one, within bounds; 0 when there is no other."""
    return float(np.clip(score - max(others), -MAX_BEHIND, most)) if others else 0.0


def _pixels(h: Hypothesis) -> float:
    """What single pixels explain; 0 where they explain nothing, or could not be compared."""
    return max(h.pixel_score or 0.0, 0.0)


def _pixels_behind(h: Hypothesis, rivals: list[Hypothesis]) -> float:
    """How far a place is behind the best other one in what single pixels explain, 0 or less.

    Being ahead is no evidence: most places have no rival whose pixels were compared.
    """
    if h.pixel_score is None:
        return 0.0
    others = [_pixels(o) for o in rivals if o is not h and o.pixel_score is not None]
    return _lead(_pixels(h), others, 0.0)


def _apart(h: Hypothesis, rivals: list[Hypothesis]) -> float:
    """How many standard deviations a score is above the best ones of the other sources, and of
    some usual ones, so that a small database does as well."""
    best: dict[str, float] = {}
    for o in rivals:
        if o.source != h.source:
            best[o.source] = max(best.get(o.source, -1.0), o.motion_score)
    scores = np.array([*best.values(), *[USUAL_SCORE] * USUAL_COUNT])
    variance = scores.var() + USUAL_SPREAD**2 * USUAL_COUNT / len(scores)
    return float(np.clip((h.motion_score - scores.mean()) / np.sqrt(variance), *MOST_APART))


def probabilities(features: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """[H, F] and [F] -> [H + 1], the last one that of "no source here"."""
    logits = np.append(features @ coefficients, 0.0)
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def confidence(h: Hypothesis, chance: float) -> float:
    """Probability that a place and its frames are right; chance: that of the place."""
    return float(chance) * (1.0 if h.certainty is None else h.certainty**DOUBT)


def load_coefficients(path: Path = DECISION_FILE) -> np.ndarray:
    """Coefficients in the order of FEATURES. Raises InputError for a file of another kind."""
    try:
        stored = read_json(path)["coefficients"]
        coefficients = np.array([float(stored[name]) for name in FEATURES])
        if not np.isfinite(coefficients).all():
            raise ValueError("they are not all finite")
        return coefficients
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a file of decision coefficients ({error}); restore it from "
                         "the repository, or make one by models/training/fit_decision.py") from error


def named(hypotheses: list[Hypothesis], chances: np.ndarray,
          seen: Collection[str] = ()) -> int | None:
    """Position of the place that an answer is about: the most probable one; None for no source.

    Where it is likelier that no source is here, the most probable of those places where the same
    person is seen in the same place, though perhaps in another take: where their pictures agree, or
    in the sources `seen`, by their file names, of which those come last whose pictures do not.
    Where the person is seen in none, none is named once it is sure that no source is here
    (SURE_NONE), or no single place is likely (LIKELY_PLACE).
    chances: probabilities() of the hypotheses.
    """
    likely = np.argsort(-chances[:-1], kind="stable").tolist()
    if chances[-1] < 0.5:
        return likely[0]
    found = [i for i in likely if hypotheses[i].pictures_agree or hypotheses[i].source in seen]
    unsure = (likely[0] if chances[-1] < SURE_NONE and chances[likely[0]] >= LIKELY_PLACE
              else None)
    return min(found, default=unsure, key=lambda i: hypotheses[i].picture_score is not None
               and not hypotheses[i].pictures_agree)


def in_order(chances: np.ndarray, place: int | None) -> list[int]:
    """Positions of the hypotheses, most probable first, but the one that the answer is about,
    named(), before all."""
    return sorted(range(len(chances) - 1), key=lambda i: (i != place, -chances[i]))


def tells_frames(chances: np.ndarray, place: int) -> bool:
    """Whether the frames of the place that an answer is about are worth being told."""
    return bool(chances[-1] < 0.5 or chances[place] >= LIKELY_PLACE)


def verdict(hypotheses: list[Hypothesis], chances: np.ndarray, frames: int,
            seen: Collection[str] = ()) -> str:
    """Verdict from probabilities() of the hypotheses: traced where one place has the majority, no
    source where that is sure and the person is seen in none (named()); ambiguous otherwise, and
    where another source shows the same footage."""
    if chances[-1] >= 0.5:
        return NO_SOURCE if named(hypotheses, chances, seen) is None else AMBIGUOUS
    if len(chances) < 2 or chances[:-1].max() < 0.5 or frames < MIN_FRAMES:
        return AMBIGUOUS
    best, *others = equals(hypotheses, chances)
    copied = any(h.footage == best.footage and h.source != best.source for h in others)
    return AMBIGUOUS if copied else TRACED


def equals(hypotheses: list[Hypothesis], chances: np.ndarray) -> list[Hypothesis]:
    """The best hypothesis and those that are about as probable, best first."""
    order = np.argsort(-chances[:-1], kind="stable")
    return [hypotheses[i] for i in order if chances[i] >= EQUAL_SHARE * chances[order[0]]]


def _scene_words(h: Hypothesis) -> str:
    if h.picture_score is not None:
        return f"laid on each other the pictures agree {max(h.picture_score, 0):.2f}"
    if h.pose_score is not None:
        return f"{h.inliers} local features agree"
    return f"the scenes' cosine is {h.scene_score:.2f}"


def explain(word: str, hypotheses: list[Hypothesis], chances: np.ndarray, place: int,
            frames: int, seen: Collection[str] = ()) -> str:
    """One plain sentence for the verdict.

    frames: of the fake; chances: what probabilities() gave for the hypotheses; place: which of
    them it is about, or for no source which is the nearest; seen: as in named().
    """
    best = hypotheses[place]
    chance = 100 * confidence(best, chances[place])
    percent = ("over 99 %" if chance > 99 else "under 1 %" if chance < 1 else f"{chance:.0f} %")
    match = f"motion matches {best.motion_score:.2f}, {_scene_words(best)}"
    if word == NO_SOURCE:
        return (f"nothing here fits well enough; the nearest is {best.source} "
                f"({match}; it has {percent})")
    if chances[-1] >= 0.5:
        given = (f"the place given has {percent}" if tells_frames(chances, place)
                 else "so no frames are given")
        if not best.pictures_agree and best.source not in seen:
            return (f"likelier than not ({100 * chances[-1]:.0f} %) nothing here is the source, "
                    f"but that is not sure: {match}; {given}")
        agree = (_scene_words(best) if best.pictures_agree
                 else f"{best.inliers} local features agree")
        return (f"{agree}, but motion ({best.motion_score:.2f}) does not tell the "
                f"frames: another take of the same person, or too little motion; {given}")
    places = equals(hypotheses, chances)
    if word == AMBIGUOUS and len(places) > 1:
        return (f"{len(places)} places fit about as well ({percent} for the best, which is given): "
                + ", ".join(f"{h.source} {h.start}-{h.end}" for h in places))
    if word == AMBIGUOUS and frames < MIN_FRAMES:
        return (f"a fake of {frames} frame{'s' * (frames > 1)} is too short to be sure, "
                f"{MIN_FRAMES} are needed; the best place is given: {match}; it has {percent}")
    if word == AMBIGUOUS:
        return f"no place is clear enough ({percent}); the best is given: {match}"
    return f"{match}; {percent} sure of source and frames"
