"""Parts of a fake between which one picture slides, or is wiped, over into the next."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from test_answer import FIRST, WHOLE
from utils import transitions
from utils.answer import CLEAR_MOTION
from utils.matching import Alignment
from utils.transitions import DOUBTFUL, LONGEST, without_pieces, without_transitions
from utils.video import VideoError
from utils.views import Found

LENGTH, ENDS = 80, (20, 59)  # of a fake, and of a part in which frame 100 of the source comes first
UNCLEAR = {"trace": replace(WHOLE, fake_start_frame=20, fake_end_frame=59)}
FAKE = SimpleNamespace(frames=list(range(LENGTH)))


def tracer(shown: range, frames: int = 300):
    """trace() of a part that shows its source in some frames of the fake; and what was asked."""
    asked = []

    def trace(ends: tuple[int, int]) -> dict:
        asked.append(ends)
        first, last = ends
        row = replace(FIRST, fake_start_frame=first, fake_end_frame=last,
                      start_frame=80 + first, end_frame=80 + last)
        if not (shown.start <= first and last < shown.stop):
            row = replace(row, verdict="ambiguous", confidence=0.3)
        view = SimpleNamespace(flip=0, backwards=False, source=SimpleNamespace(
            first=0, all_times_s=np.arange(frames) / 25))
        at = np.arange(row.start_frame, row.end_frame + 1)
        return {"trace": row, "best": Found(None, view, Alignment(0.9, at, 1.0), np.empty(0),
                                            SimpleNamespace(matrix=None))}
    return trace, asked


def agree_in(monkeypatch, agreeing: range) -> None:
    """Pictures that agree in some frames of the fake."""
    def agreements(place, fake, moments, read_source, at):
        assert all(at(moment) == 80 + moment for moment in moments)
        return np.array([0.9 if moment in agreeing else 0.5 for moment in moments])
    monkeypatch.setattr(transitions, "agreements", agreements)


@pytest.mark.parametrize("shown", [range(27, 53), range(30, 50), range(24, 60)])
def test_a_part_goes_as_far_as_its_pictures_agree(monkeypatch, shown):
    trace, _ = tracer(shown)
    agree_in(monkeypatch, shown)
    part, ends = without_transitions(UNCLEAR, ENDS, FAKE, trace, None)
    assert ends == (shown[0], shown[-1]) == (part["trace"].fake_start_frame,
                                             part["trace"].fake_end_frame)


@pytest.mark.parametrize("more", range(1, DOUBTFUL + 3))
def test_a_frame_that_agrees_may_belong_to_a_transition(monkeypatch, more):
    trace, asked = tracer(range(27, 53))
    agree_in(monkeypatch, range(27 - more, 53 + more))
    _, ends = without_transitions(UNCLEAR, ENDS, FAKE, trace, None)
    assert ends == ((27, 52) if more <= DOUBTFUL else (30, 49))
    assert len(asked) <= DOUBTFUL + 2


@pytest.mark.parametrize("motion, kept", [(CLEAR_MOTION, False), (CLEAR_MOTION - 0.01, True)])
def test_a_part_that_is_sure_already_has_to_be_clear_without_them(monkeypatch, motion, kept):
    agree_in(monkeypatch, range(27, 53))
    trace, _ = tracer(range(LENGTH))
    sure = {"trace": replace(FIRST, motion_score=0.8)}

    def again(ends: tuple[int, int]) -> dict:
        found = trace(ends)
        return found | {"trace": replace(found["trace"], motion_score=motion)}
    part, ends = without_transitions(sure, ENDS, FAKE, again, None)
    assert (part is sure) == (ends == ENDS) == kept


@pytest.mark.parametrize("worse, ends_found", [(0.02, (25, 54)), (0.04, (27, 52))])
def test_frames_with_which_motion_fits_worse_belong_to_a_transition(monkeypatch, worse, ends_found):
    agree_in(monkeypatch, range(25, 55))
    trace, _ = tracer(range(LENGTH))

    def again(ends: tuple[int, int]) -> dict:
        found = trace(ends)
        less = worse * (ends[0] < 27)
        return found | {"trace": replace(found["trace"], motion_score=0.95 - less)}
    assert without_transitions(UNCLEAR, ENDS, FAKE, again, None)[1] == ends_found


def test_what_fits_nowhere_stays(monkeypatch):
    monkeypatch.setattr(transitions, "agreements", None)
    trace, asked = tracer(range(0))
    assert without_transitions(UNCLEAR, ENDS, FAKE, trace, None) == (UNCLEAR, ENDS)
    assert asked == [(30, 49)]


@pytest.mark.parametrize("ends, inner", [
    ((0, 39), (0, 29)), ((40, LENGTH - 1), (50, LENGTH - 1)), ((20, 39), (24, 35))])
def test_only_ends_beside_other_parts_are_left_out(monkeypatch, ends, inner):
    agree_in(monkeypatch, range(inner[0], inner[1] + 1))
    trace, asked = tracer(range(LENGTH))
    assert without_transitions(UNCLEAR, ends, FAKE, trace, None)[1] == inner == asked[0]


@pytest.mark.parametrize("ends", [(20, 38), (0, LENGTH - 1)])
def test_nothing_is_left_out_of_a_short_part_or_the_whole(ends):
    assert without_transitions(UNCLEAR, ends, FAKE, None, None) == (UNCLEAR, ends)


def test_frames_that_a_source_does_not_have_are_none_of_it(monkeypatch):
    agree_in(monkeypatch, range(LENGTH))
    trace, _ = tracer(range(LENGTH), frames=80 + 55)
    assert without_transitions(UNCLEAR, ENDS, FAKE, trace, None)[1] == (20, 54)


@pytest.mark.parametrize("changed, lengths, kept", [
    ({}, [10, 10, 10], [0, 2]), ({"verdict": "ambiguous"}, [10, 8, 10, 8, 10], [0, 2, 4]),
    ({"verdict": "traced", "confidence": 0.3}, [10, 8, 10], [0, 2]),
    ({}, [10, 11, 10], [0, 1, 2]), ({"verdict": "traced", "confidence": 0.9}, [9, 9, 9], [0, 1, 2]),
    ({}, [20, 9], [0, 1])])
def test_a_transition_is_no_part_of_its_own(changed, lengths, kept):
    """Every second part is one, or is changed."""
    ends = np.cumsum([0, *lengths])
    none = SimpleNamespace(hypothesis=SimpleNamespace(pictures_agree=False))
    parts = [{"best": none if number % 4 == 1 else None, "trace": replace(
        WHOLE if number % 2 else FIRST, fake_start_frame=int(first), fake_end_frame=int(last) - 1,
        **(changed if number % 2 else {}))} for number, (first, last) in enumerate(
            zip(ends, ends[1:]))]
    assert without_pieces(parts) == [parts[number] for number in kept]
    seen = SimpleNamespace(hypothesis=SimpleNamespace(pictures_agree=True))
    agreeing = [part | {"best": seen} for part in parts]
    assert without_pieces(agreeing) == agreeing
    for other in parts[::2]:  # are not sure, either
        other["trace"] = replace(other["trace"], confidence=0.5)
    assert without_pieces(parts) == parts


def test_a_source_that_cannot_be_read_leaves_the_middle(monkeypatch):
    def agreements(*_):
        raise VideoError("s.mp4: gone")
    monkeypatch.setattr(transitions, "agreements", agreements)
    trace, _ = tracer(range(LENGTH))
    assert without_transitions(UNCLEAR, ENDS, FAKE, trace, None)[1] == (
        ENDS[0] + LONGEST, ENDS[1] - LONGEST)
