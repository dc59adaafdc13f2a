"""When a fake is told stretch by stretch, and when as a whole."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from models.motion import MotionGrid
from utils.answer import (CLEAR_MOTION, STANDS_STILL, SURE_PART, clearly_traced, fits_by_itself,
                          needs_no_steadying, persons_seen, runs_on, says_more, scene_only,
                          shows_one_picture, shows_something_else, tells_more)
from utils.decision import Hypothesis
from utils.matching import Alignment, prepare
from utils.tables import Trace
from utils.views import FITS_WELL

WHOLE = Trace(fake="a.mp4", fake_start_frame=0, fake_end_frame=59, verdict="no_source",
              source=None, start_frame=None, end_frame=None, start_time_s=None, end_time_s=None,
              rate=None, flip=None, scene_score=None, motion_score=None, confidence=0.7,
              runner_up=None, reason="")
FIRST = replace(WHOLE, fake_end_frame=29, verdict="traced", source="s.mp4", start_frame=100,
                end_frame=129, rate=1.0, flip=0, motion_score=0.9, confidence=0.95)
TRACED = replace(FIRST, fake_end_frame=59, end_frame=159, motion_score=0.6)


def second(**changed: object) -> Trace:
    return replace(FIRST, fake_start_frame=30, fake_end_frame=59, start_frame=300, end_frame=329,
                   **changed)


@pytest.mark.parametrize("whole", [WHOLE, TRACED])
def test_two_sure_stretches_at_two_places(whole):
    assert tells_more([FIRST, second()], whole)
    assert tells_more([FIRST, second(source="other.mp4")], whole)


def test_stretches_that_match_worse_than_one_place_are_chance():
    parts = [FIRST, second()]
    assert tells_more(parts, replace(TRACED, motion_score=0.89))
    assert not tells_more(parts, replace(TRACED, motion_score=0.96))
    longer = replace(FIRST, fake_end_frame=49, motion_score=0.5)
    assert not tells_more([longer, replace(second(), fake_start_frame=50)],
                          replace(TRACED, motion_score=0.65))


def placed(trace: Trace, own: bool) -> dict:
    """A stretch at a place whose motion it shows, or that of another time with the place's
    camera."""
    rng = np.random.default_rng(0)
    flow, shift = rng.normal(0, 1, (80, 4, 4, 2)), rng.normal(0, 3, (80, 1, 1, 2))
    shown = (flow[20:50] if own else flow[50:]) + shift[20:50]
    source = prepare(MotionGrid((flow + shift).astype(np.float32), np.ones((80, 4, 4), np.float32)))
    view = SimpleNamespace(grid=MotionGrid(shown.astype(np.float32),
                                           np.ones((30, 4, 4), np.float32)),
                           source=SimpleNamespace(motion=source))
    return {"trace": trace, "best": SimpleNamespace(
        view=view, alignment=Alignment(1.0, 20 + np.arange(31), 1.0))}


def test_what_only_the_steadying_path_makes_fit_does_not_fit_by_itself():
    theirs, ours = placed(FIRST, own=False), placed(FIRST, own=True)
    assert fits_by_itself([ours, ours]) and not fits_by_itself([ours, theirs])
    assert fits_by_itself([ours, theirs | {"trace": replace(FIRST, verdict="ambiguous")}])
    assert fits_by_itself([{"trace": WHOLE, "best": None}])


def test_one_picture_is_told_from_a_calm_head():
    def with_motion(*pixels: float) -> list[dict]:
        return [{"evidence": {"movement_px": px}} for px in pixels]
    assert shows_one_picture(with_motion(0.0, 0.005))
    assert not shows_one_picture(with_motion(0.0, 0.03))


@pytest.mark.parametrize("start", [130, 127, 135])
def test_a_stretch_that_goes_on_is_no_other(start):
    on = replace(second(), start_frame=start, end_frame=start + 29)
    assert not tells_more([FIRST, on], TRACED)
    assert tells_more([FIRST, replace(on, flip=1)], TRACED)


@pytest.mark.parametrize("changed, on", [
    ({}, True), ({"start_frame": 131}, True), ({"start_frame": 132}, False), ({"rate": 1.02}, True),
    ({"rate": 1.05}, False), ({"flip": 1}, False), ({"source": "t.mp4"}, False),
    ({"verdict": "ambiguous"}, False)])
def test_what_runs_on_as_if_there_were_no_cut(changed, on):
    assert runs_on(FIRST, replace(second(), **{"start_frame": 130, **changed})) == on
    if "verdict" in changed:
        assert not runs_on(replace(FIRST, **changed), replace(second(), start_frame=130))


def test_unsure_stretches_that_go_on_are_one():
    on = replace(second(), start_frame=130, end_frame=159, confidence=0.6)
    unsure = replace(TRACED, verdict="ambiguous", confidence=0.4)
    assert not tells_more([FIRST, on], unsure)
    assert tells_more([FIRST, replace(on, start_frame=230, end_frame=259)], unsure)


def test_backwards_stretches_go_on_downwards():
    first = replace(FIRST, start_frame=129, end_frame=100, rate=-1.0)
    on = replace(second(), start_frame=99, end_frame=70, rate=-1.0)
    assert not tells_more([first, on], TRACED)


def test_a_clip_that_turns_back_is_two_stretches():
    back = replace(second(), start_frame=129, end_frame=100, rate=-1.0)
    assert tells_more([FIRST, back], TRACED) and tells_more([FIRST, back], WHOLE)


def test_one_sure_stretch_counts_only_where_the_whole_says_nothing():
    nothing = second(verdict="no_source", source=None)
    assert tells_more([FIRST, nothing], WHOLE) and not tells_more([FIRST, nothing], TRACED)


def test_sure_stretches_that_go_on_count_where_the_whole_is_not_traced():
    parts = [replace(FIRST, fake_end_frame=19, end_frame=119),
             replace(WHOLE, fake_start_frame=20, fake_end_frame=39),
             replace(FIRST, fake_start_frame=40, fake_end_frame=59, start_frame=140, end_frame=159)]
    assert not tells_more(parts, TRACED)
    assert tells_more(parts, WHOLE)
    assert tells_more(parts, replace(TRACED, verdict="ambiguous", confidence=0.4))


def part_of(row: Trace, agrees: bool = False, source: str = "s.mp4") -> dict:
    """A stretch, one of whose places lies in a source; whether the pictures agree there."""
    place = SimpleNamespace(hypothesis=SimpleNamespace(source=source, pictures_agree=agrees))
    return {"trace": row, "found": [place]}


def test_something_else_is_what_no_picture_of_the_source_is_like():
    nothing = replace(WHOLE, fake_start_frame=30)
    ours, other, shown = part_of(FIRST, True), part_of(nothing), [True, False]
    assert shows_something_else([ours, other], shown, TRACED)
    assert shows_something_else([part_of(second(), True), part_of(replace(WHOLE, fake_end_frame=29))],
                                shown, replace(TRACED, start_frame=270))
    assert not shows_something_else([ours, part_of(nothing, True)], shown, TRACED)
    assert shows_something_else([ours, part_of(nothing, True, "other.mp4")], shown, TRACED)


@pytest.mark.parametrize("changed", [
    {"confidence": SURE_PART - 0.01}, {"verdict": "ambiguous"}, {"motion_score": 0.59},
    {"source": "other.mp4"}, {"start_frame": None}])
def test_nothing_is_cut_off_but_beside_a_sure_stretch_of_the_source(changed):
    parts = [part_of(replace(FIRST, **changed), True), part_of(replace(WHOLE, fake_start_frame=30))]
    assert not shows_something_else(parts, [True, False], TRACED)


def test_unsure_stretches_count_only_where_all_have_a_source_and_the_whole_has_none():
    unsure = replace(FIRST, confidence=SURE_PART - 0.01)
    ambiguous = second(verdict="ambiguous", confidence=0.0)
    nothing = second(verdict="no_source", source=None)
    for parts in [unsure, second(confidence=0.6)], [unsure, ambiguous]:
        assert tells_more(parts, WHOLE)
        assert not tells_more(parts, TRACED)
        assert not tells_more(parts, replace(TRACED, verdict="ambiguous"))
        assert not tells_more([*parts, nothing], WHOLE)


UNPLACED = replace(WHOLE, verdict="ambiguous", source="s.mp4", confidence=0.0, motion_score=0.5)
PLACED = replace(TRACED, verdict="ambiguous", confidence=0.4)


@pytest.mark.parametrize("more, less", [
    ([TRACED], [WHOLE]), ([TRACED], [UNPLACED]), ([TRACED], [PLACED]), ([FIRST, second()], [FIRST]),
    ([FIRST, replace(UNPLACED, fake_start_frame=30)], [PLACED]),
    ([replace(TRACED, confidence=0.98)], [TRACED]),
    ([FIRST, second()], [replace(TRACED, confidence=0.8)]),
    ([PLACED], [UNPLACED]), ([PLACED], [replace(PLACED, confidence=0.3)]),
    ([replace(PLACED, confidence=0.6)], [WHOLE])])
def test_a_steadied_fake_that_says_more(more, less):
    assert says_more(more, less) and not says_more(less, more)


@pytest.mark.parametrize("one", [WHOLE, UNPLACED, PLACED, TRACED])
def test_a_steadied_fake_that_says_the_same(one):
    assert not says_more([one], [one])


@pytest.mark.parametrize("changed, more", [
    ({}, True), ({"start_frame": 106, "end_frame": 165}, True),
    ({"start_frame": 107, "end_frame": 166}, False), ({"source": "t.mp4"}, False),
    ({"flip": 1}, False), ({"fake_start_frame": 15, "start_frame": 115}, False)])
def test_nothing_leads_away_from_a_place_that_is_sure_and_moves_alike(changed, more):
    sure = replace(FIRST, motion_score=FITS_WELL)
    shown = [sure, replace(UNPLACED, fake_start_frame=30)]
    assert says_more([replace(TRACED, **changed)], shown) == more
    for unsure in ({"motion_score": FITS_WELL - 0.01}, {"confidence": SURE_PART - 0.01}):
        assert says_more([replace(TRACED, **changed)], [replace(sure, **unsure), shown[1]])


def test_a_little_less_doubt_is_not_more():
    assert not says_more([replace(TRACED, confidence=0.97, motion_score=0.99)], [TRACED])


def test_where_no_source_is_said_an_uncertain_place_is_not_more():
    assert not says_more([PLACED], [WHOLE]) and not says_more([WHOLE], [PLACED])
    parts = [replace(PLACED, confidence=0.6), replace(UNPLACED, fake_start_frame=30)]
    assert not says_more(parts, [WHOLE])


def test_what_is_clearly_traced():
    clear = replace(TRACED, motion_score=CLEAR_MOTION)
    assert clearly_traced([clear]) and clearly_traced([FIRST, second()])
    assert not any(map(clearly_traced, ([TRACED], [WHOLE], [UNPLACED], [FIRST, WHOLE],
                                        [replace(clear, verdict="ambiguous")])))


@pytest.mark.parametrize("row, picture, needless", [
    (TRACED, STANDS_STILL, True), (TRACED, STANDS_STILL - 0.01, False), (TRACED, None, False),
    (replace(TRACED, verdict="ambiguous"), 0.9, False), (WHOLE, 0.9, False),
    (replace(TRACED, motion_score=CLEAR_MOTION), 0.1, True)])
def test_what_needs_no_steadying(row, picture, needless):
    place = Hypothesis("s.mp4", 0, 9, 1.0, 0, 0.5, 0.0, 0.1, 14, 0, True, picture_score=picture)
    answer = {"trace": row, "best": row.start_frame and SimpleNamespace(hypothesis=place)}
    assert needs_no_steadying([answer]) == needless
    still = {"trace": TRACED, "best": SimpleNamespace(hypothesis=replace(place, picture_score=0.9))}
    assert needs_no_steadying([answer, still]) == (needless and picture > 0.1)
    cut_in = {"trace": WHOLE, "best": None, "cut_in": True}
    assert needs_no_steadying([still, cut_in]) and not needs_no_steadying([cut_in | {"cut_in": False}])


@pytest.mark.parametrize("pictures, seen", [
    ([], True), ([None], True), ([None, 0.17, 0.04], False), ([0.1, 0.45], True)])
def test_a_logo_that_two_videos_share_is_no_person(pictures, seen):
    candidate = {"source": "s.mp4", "verified": True, "inliers": 14, "background_inliers": 0}
    places = [Hypothesis("s.mp4", 0, 9, 1.0, 0, 0.5, 0.0, 0.1, 14, 0, True, picture_score=score)
              for score in pictures]
    other = Hypothesis("t.mp4", 0, 9, 1.0, 0, 0.5, 0.0, 0.1, 0, 0, False, picture_score=0.01)
    assert persons_seen([candidate], [*places, other]) == ({"s.mp4"} if seen else set())
    assert not persons_seen([{**candidate, "background_inliers": 6}], places)


@pytest.mark.parametrize("frames, said", [
    (1, "1 frame of a fake cannot tell"), (7, "7 frames of"), (8, "another take")])
def test_a_fake_of_few_frames_is_told_so(frames, said):
    candidate = {"source": "s.mp4", "verified": True, "inliers": 40, "background_inliers": 0,
                 "flip": 0, "scene_score": 0.9}
    row = scene_only(replace(WHOLE, fake_end_frame=frames - 1), [candidate], [])
    assert (row.verdict, row.source, row.start_frame) == ("ambiguous", "s.mp4", None)
    assert said in row.reason and ("another take" in row.reason) == (frames == 8)
