"""Where one stretch goes over into the next, told by pictures; test_odd_videos.py has such a fake."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from test_answer import FIRST
from utils import joints
from utils.clip_mapping import AGREES, ClipMapping
from utils.joints import Side, find_joint, is_still_there, joined_by_pictures
from utils.matching import Alignment
from utils.video import Frame, VideoError
from utils.views import Found

HEIGHT, WIDTH, FRAMES = 96, 128, 200
CUT, BEHIND = 40, 100  # the fake shows frames 0 to 39 of the source, and 100 to 139
RECORD = SimpleNamespace(width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def film() -> list[np.ndarray]:
    """Blobs that wander over others that stay, [FRAMES] of [HEIGHT, WIDTH, 3]."""
    rng = np.random.default_rng(0)
    still, moving = (rng.integers(40, 200, (size, size * 4 // 3, 3)).repeat(HEIGHT // size, axis=0)
                     .repeat(HEIGHT // size, axis=1) for size in (12, 6))
    return [np.uint8((2 * still + np.roll(moving, (number // 3, number), (0, 1))) / 3)
            for number in range(FRAMES)]


def shown_of(film: list[np.ndarray], fade: int = 0) -> list[np.ndarray]:
    """The fake's pictures, darker, with something put in and noise; fade: frames that it takes."""
    rng, shown = np.random.default_rng(1), []
    for number in range(2 * CUT):
        share = np.clip((number - CUT + 0.5) / (fade + 1e-6) + 0.5, 0, 1)
        first, second = film[number], film[BEHIND + number - CUT]
        picture = 0.8 * ((1 - share) * first + share * second) + 10
        picture[30:50, 50:70] = rng.integers(0, 255)
        shown.append(np.uint8(np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255)))
    return shown


def fake_of(shown: list[np.ndarray]) -> SimpleNamespace:
    """The fake; its first frame is number 7."""
    return SimpleNamespace(record=RECORD, frames=list(range(7, 7 + len(shown))),
                           pictures=SimpleNamespace(read=lambda frame: shown[frame - 7]))


def reader(film: list[np.ndarray]):
    def read_source(source: object, wanted: set[int]):
        assert min(wanted) >= 0
        for index in sorted(wanted):
            if index < len(film):
                yield Frame(index, index / 25, film[index])
    return read_source


def side(first: int, last: int, start: int, rate: float = 1.0, flip: int = 0) -> Side:
    """A stretch of the fake that begins at a frame of the source."""
    steps = start + np.rint(rate * np.arange(last - first + 1)).astype(int)
    view = SimpleNamespace(flip=flip, backwards=rate < 0, source=SimpleNamespace(
        file="s.mp4", record=RECORD, first=0))
    best = Found(None, view, Alignment(1.0, np.sort(steps), abs(rate)), np.empty(0),
                 ClipMapping(np.eye(2, 3), bool(flip), 0.9))
    return Side(best, rate, first, last)


def sides_at(cut: int) -> tuple[Side, Side]:
    """Both stretches, as if the second began at a position of the fake."""
    return side(0, cut - 1, 0), side(cut, 2 * CUT - 1, BEHIND + cut - CUT)


@pytest.mark.parametrize("off", [-7, -2, -1, 0, 1, 2, 7])
@pytest.mark.parametrize("fade", [0, 6])
def test_a_joint_is_where_the_pictures_change(film, off, fade):
    fake = fake_of(shown_of(film, fade))
    assert find_joint(*sides_at(CUT + off), fake, reader(film)) == CUT


def test_a_stretch_that_is_mirrored_or_turns_back(film):
    shown = [picture[:, ::-1] if number >= CUT else picture
             for number, picture in enumerate(shown_of(film))]
    first, second = sides_at(CUT + 3)
    turned = side(second.first, second.last, BEHIND + 3, flip=1)
    assert find_joint(first, turned, fake_of(shown), reader(film)) == CUT
    forth = [film[number] for number in range(CUT)]
    back = side(CUT + 3, 2 * CUT - 1, CUT - 4, rate=-1.0)
    assert find_joint(side(0, CUT + 2, 0), back, fake_of(forth + forth[::-1]),
                      reader(film)) == CUT


@pytest.mark.parametrize("second", [CUT + 3, CUT + 4])
def test_places_that_look_the_same_tell_no_joint(film, second):
    still = [film[0]] * FRAMES
    sides = side(0, CUT + 2, 0), side(CUT + 3, 2 * CUT - 1, second)
    assert find_joint(*sides, fake_of(shown_of(still)), reader(still)) == CUT + 3


@pytest.mark.parametrize("off", [-5, -2, 2, 5])
def test_places_that_differ_less_than_noise_tell_no_joint(film, off):
    still = np.mean(film, axis=0)
    faint = [np.uint8(still + 0.05 * (picture - still)) for picture in film]
    now = CUT + off
    assert find_joint(*sides_at(now), fake_of(shown_of(faint)), reader(faint)) == now


def test_nothing_is_moved_to_the_end_of_what_is_looked_at(film):
    """All of it shows the first place."""
    shown = shown_of(film)[:CUT] + [film[number] for number in range(CUT, 2 * CUT)]
    assert find_joint(*sides_at(CUT), fake_of(shown), reader(film)) == CUT


def test_only_frames_that_both_sides_have_are_compared(film):
    """The first place ends with its source, or begins before it."""
    fake = fake_of(shown_of(film))
    short = film[:CUT + 6]  # has no frame of the second place
    assert find_joint(*sides_at(CUT + 3), fake, reader(short)) == CUT + 3
    turned = fake_of(shown_of(film[::-1]))
    ends = [side(0, CUT + 2, FRAMES - 1, rate=-1.0),
            side(CUT + 3, 2 * CUT - 1, FRAMES - 1 - BEHIND - 3, rate=-1.0)]
    assert find_joint(*ends, turned, reader(film)) == CUT
    early = [side(0, CUT + 2, CUT - 4, rate=-1.0), ends[1]]  # would go on before frame 0
    assert find_joint(*early, turned, reader(film)) == CUT + 3


def answer_of(first: int, last: int, start: int, fits: float = AGREES, **changed: object) -> dict:
    """An answer for positions of the fake."""
    row = replace(FIRST, fake_start_frame=7 + first, fake_end_frame=7 + last, start_frame=start,
                  end_frame=start + last - first, **changed)
    best = side(first, last, start).best
    return {"trace": row, "best": replace(best, mapping=replace(best.mapping, agreement=fits))}


def pair_at(cut: int, **changed: object) -> list[dict]:
    return [answer_of(0, cut - 1, 0), answer_of(cut, 2 * CUT - 1, BEHIND + cut - CUT, **changed)]


def test_stretches_are_traced_again_with_other_ends(film):
    def trace(ends: tuple[int, int], one: dict) -> dict:
        return one | answer_of(*ends, ends[0] + (0 if ends[0] == 0 else BEHIND - CUT))

    joined = joined_by_pictures(pair_at(CUT + 3), fake_of(shown_of(film)), trace, reader(film))
    assert [one["trace"] for one in joined] == [one["trace"] for one in pair_at(CUT)]
    again = joined_by_pictures(joined, fake_of(shown_of(film)), None, reader(film))
    assert again == joined


@pytest.mark.parametrize("changed", [{"source": "other.mp4"}, {"verdict": "ambiguous"},
                                     {"flip": 1}])
def test_stretches_that_would_be_elsewhere_stay(film, changed):
    def trace(ends: tuple[int, int], one: dict) -> dict:
        return answer_of(*ends, ends[0] + (0 if ends[0] == 0 else BEHIND - CUT), **changed)

    before = pair_at(CUT + 3)
    assert joined_by_pictures(before, fake_of(shown_of(film)), trace, reader(film)) == before


def test_stretches_with_something_between_them_are_not_joined(monkeypatch):
    monkeypatch.setattr(joints, "find_joint", None)
    before = [answer_of(0, CUT - 2, 0), answer_of(CUT, 2 * CUT - 1, BEHIND)]
    assert joined_by_pictures(before, fake_of([None] * 2 * CUT), None, None) == before


@pytest.mark.parametrize("changed", [{"verdict": "ambiguous"}, {"fits": AGREES - 0.01}])
def test_what_is_not_traced_or_laid_on_its_source_is_not_looked_at(monkeypatch, changed):
    monkeypatch.setattr(joints, "find_joint", None)
    before = pair_at(CUT + 3, **changed)
    assert joined_by_pictures(before, fake_of([None] * 2 * CUT), None, None) == before


def test_a_source_that_cannot_be_read_moves_nothing(film):
    def read_source(source: object, wanted: set[int]):
        raise VideoError("s.mp4: gone")
    before = pair_at(CUT + 3)
    assert joined_by_pictures(before, fake_of(shown_of(film)), None, read_source) == before


@pytest.mark.parametrize("changed, there", [
    ({}, True), ({"start_frame": 106}, True), ({"start_frame": 107}, False),
    ({"start_frame": 110, "fake_start_frame": 10}, True), ({"rate": -1.0}, False),
    ({"source": "other.mp4"}, False), ({"flip": 1}, False), ({"verdict": "no_source"}, False),
    ({"confidence": 0.91}, True), ({"confidence": 0.89}, False)])
def test_whether_a_stretch_is_still_there(changed, there):
    assert is_still_there(FIRST, replace(FIRST, **changed)) == there


def test_hardly_any_doubt_is_none():
    sure = replace(FIRST, confidence=0.999)
    assert is_still_there(sure, replace(sure, confidence=0.981))
    assert not is_still_there(sure, replace(sure, confidence=0.979))
