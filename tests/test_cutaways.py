"""Something else cut into a fake; test_odd_videos.py has one that goes through all steps."""

from types import SimpleNamespace

import numpy as np
import pytest

from utils import cutaways
from utils.clip_mapping import AGREES, ClipMapping
from utils.confirm import SAME_SCENE
from utils.cutaways import agreements, without_cutaways
from utils.matching import Alignment
from utils.video import Frame, VideoError
from utils.views import Found

PARTS = [(0, 9), (10, 19), (20, 29)]
WHOLE = [(0, 29)], [True]
FAKE = SimpleNamespace(frames=list(range(30)))
PLACE = SimpleNamespace(mapping=SimpleNamespace())


@pytest.mark.parametrize("agree, expected", [
    ([0.9, 0.0, 0.8], (PARTS, [True, False, True])),
    ([0.9, 0.8, 0.0], ([(0, 19), (20, 29)], [True, False])),
    ([-0.1, 0.1, 0.8], ([(0, 19), (20, 29)], [False, True])),
    ([AGREES, SAME_SCENE - 0.01, SAME_SCENE], (PARTS, [True, False, True])),
    ([0.9, SAME_SCENE, 0.8], WHOLE), ([AGREES - 0.01, 0.0, 0.3], WHOLE), ([0.9, 0.8, 0.7], WHOLE)])
def test_parts_that_show_the_same_are_one(monkeypatch, agree, expected):
    monkeypatch.setattr(cutaways, "agreements", lambda place, fake, moments, read_source: np.array(
        [agree[moment // 10] for moment in moments]))
    assert without_cutaways(PLACE, FAKE, PARTS, None) == expected


def test_a_moment_that_says_otherwise_changes_nothing(monkeypatch):
    monkeypatch.setattr(cutaways, "agreements", lambda place, fake, moments, read_source: np.array(
        [0.9 if moment < 10 or moment == 18 else 0.0 for moment in moments]))
    assert without_cutaways(PLACE, FAKE, PARTS[:2], None) == (PARTS[:2], [True, False])


@pytest.mark.parametrize("fade", [0, 6])
@pytest.mark.parametrize("off", [-7, 0, 7])
def test_a_fade_ends_in_its_middle(monkeypatch, fade, off):
    """10 frames of the source, 10 of something else, 10 of the source."""
    def agree(place, fake, moments, read_source):
        inside = np.minimum(np.array(moments) - 9.5, 19.5 - np.array(moments))  # frames
        return 0.8 * np.clip(0.5 - inside / (fade + 0.1), 0, 1)

    monkeypatch.setattr(cutaways, "agreements", agree)
    parts = [(0, 9 + off), (10 + off, 19), (20, 29)]
    if off == 7:
        parts = [(0, 9), (10, 21), (22, 29)]
    assert without_cutaways(PLACE, FAKE, parts, None, fades=True) == (PARTS, [True, False, True])


@pytest.mark.parametrize("place, parts", [
    (None, PARTS), (SimpleNamespace(mapping=None), PARTS), (PLACE, PARTS[:1])])
def test_nothing_to_compare(place, parts):
    assert without_cutaways(place, FAKE, parts, None) == WHOLE


def test_a_fade_too_short_for_a_stretch_is_none(monkeypatch):
    monkeypatch.setattr(cutaways, "agreements", lambda place, fake, moments, read_source: np.where(
        (np.array(moments) >= 10) & (np.array(moments) < 16), 0.0, 0.9))
    parts = [(0, 9), (10, 17), (18, 29)]
    assert without_cutaways(PLACE, FAKE, parts, None) == (parts, [True, False, True])
    assert without_cutaways(PLACE, FAKE, parts, None, fades=True) == WHOLE


def picture(seed: int) -> np.ndarray:
    """Smooth blobs, [96, 128, 3]."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return small.repeat(16, axis=0).repeat(16, axis=1)


def compare(shown: list[np.ndarray], source: list[np.ndarray], flip: bool = False,
            backwards: bool = False) -> list[float]:
    """agreements() of a fake that shows 30 pictures, at frames 5 to 34 of a source."""
    record = SimpleNamespace(width=128, height=96)
    view = SimpleNamespace(flip=int(flip), backwards=backwards, source=SimpleNamespace(
        file="s.mp4", record=record, first=5))
    place = Found(None, view, Alignment(1.0, np.arange(30), 1.0), np.empty(0),
                  ClipMapping(np.eye(2, 3), flip, 0.9))
    fake = SimpleNamespace(frames=list(range(30)), record=record,
                           pictures=SimpleNamespace(read=lambda index: shown[index]))

    def read_source(source_of: object, wanted: set[int]):
        for index in sorted(wanted):
            if index - 5 < len(source):
                yield Frame(index, index / 25, source[index - 5])
    return agreements(place, fake, [5, 15, 25], read_source).tolist()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_pictures_are_compared_along_the_place(flip, backwards):
    source = [picture(number // 10) for number in range(30)]
    shown = source[::-1] if backwards else list(source)
    shown[10:20] = [picture(9)] * 10
    shown = [frame[:, ::-1].copy() if flip else frame for frame in shown]
    first, between, last = compare(shown, source, flip, backwards)
    assert min(first, last) > 0.9 and between < SAME_SCENE


def test_a_source_that_cannot_be_read_tells_nothing():
    source = [picture(0)] * 15
    with pytest.raises(VideoError, match="s.mp4"):
        compare(source * 2, source)
