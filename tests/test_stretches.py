"""Parts of a fake compared the other way round, too, and those that are none; test_odd_videos.py has
a fake of stretches, one of them mirrored."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from test_answer import FIRST, WHOLE
from utils.answer import CLEAR_MOTION, SURE_PART, sources_of
from utils.stretches import either_way, needed_cuts

UNCLEAR = replace(FIRST, motion_score=CLEAR_MOTION - 0.01, confidence=0.6)
MIRRORED = replace(FIRST, flip=1)
REJECTED = replace(WHOLE, fake_end_frame=29)


@pytest.mark.parametrize("part, other, expected", [
    (REJECTED, MIRRORED, MIRRORED), (UNCLEAR, MIRRORED, MIRRORED),
    (UNCLEAR, replace(MIRRORED, confidence=UNCLEAR.confidence), UNCLEAR),
    (REJECTED, REJECTED, REJECTED), (UNCLEAR, REJECTED, UNCLEAR)])
def test_a_part_that_is_not_clear_is_the_mirror_image_where_that_says_more(part, other, expected):
    def trace(views: list, fake: str) -> dict:
        assert (views, fake) == (["as it is", "mirrored"], "fake")
        return {"trace": other}
    assert either_way({"trace": part}, ["as it is"], "fake", trace,
                      ["mirrored"])["trace"] is expected


@pytest.mark.parametrize("part, mirrored", [(FIRST, ["mirrored"]), (REJECTED, [])])
def test_nothing_is_compared_again_where_that_tells_nothing(part, mirrored):
    assert either_way({"trace": part}, [], "fake", None, mirrored)["trace"] is part


PARTS = [replace(FIRST, fake_start_frame=first, fake_end_frame=first + 9, start_frame=first + at,
                 end_frame=first + at + 9)
         for first, at in ((5, 0), (15, 0), (25, 0), (35, 90), (45, 90))]


@pytest.mark.parametrize("motion, expected", [
    (0.9, [(5, 34), (35, 54)]), (0.89, [(5, 14), (15, 24), (25, 34), (35, 44), (45, 54)])])
def test_stretches_that_run_on_are_one_where_they_are_traced_no_worse(motion, expected):
    def again(ends: tuple[int, int], part: dict) -> dict:
        row = part["trace"]
        assert row.fake_start_frame == 5 + ends[0]
        return {"trace": replace(row, fake_end_frame=5 + ends[1], motion_score=motion,
                                 end_frame=row.start_frame + ends[1] - ends[0])}

    kept = needed_cuts([{"trace": row} for row in PARTS],
                       SimpleNamespace(frames=list(range(5, 55))), again)
    assert [(one["trace"].fake_start_frame, one["trace"].fake_end_frame)
            for one in kept] == expected
    assert kept[-1]["trace"].end_frame == 144


def test_stretches_that_are_elsewhere_together_stay():
    fake = SimpleNamespace(frames=list(range(5, 55)))
    kept = needed_cuts([{"trace": row} for row in PARTS], fake,
                       lambda ends, part: {"trace": replace(part["trace"], verdict="ambiguous")})
    assert [one["trace"] for one in kept] == PARTS


def test_only_sources_that_other_parts_are_surely_traced_to_count():
    rows = [FIRST, replace(FIRST, source="t.mp4"), FIRST, REJECTED,
            replace(FIRST, source="u.mp4", confidence=SURE_PART - 0.01)]
    assert sources_of([{"trace": row} for row in rows]) == ["s.mp4", "t.mp4"]
