"""Where frames do not come evenly, their time stamps tell which ones of the source they show."""

import numpy as np
import pytest

from clips import numbered_clip
from test_jumps import COUNT, fitting, straight
from test_picture_path import FRAMES, START, still_scores
from test_straight_line import CODED, copy_of, held_of
from utils.matching import Alignment
from utils.timed_path import is_uneven, kept_times, or_timed, times_of
from utils.video import VideoReader

FPS = 25.0
EVERY = np.arange(FRAMES) / FPS
LEFT_OUT = np.delete(np.arange(START, START + COUNT + 7), [3, 4, 5, 11, 15, 16, 21])


def timed(near, at, fake_s, source_s=EVERY, seed=0):
    held = fitting(held_of(copy_of(at, seed, held=0.0)))
    return or_timed(still_scores(near.at), near, (1.0,), held, CODED[1], fake_s, source_s)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_frames_that_were_left_out(seed, off):
    rate = (LEFT_OUT[-1] - LEFT_OUT[0]) / (COUNT - 1)
    line = np.rint(np.linspace(LEFT_OUT[0], LEFT_OUT[-1], COUNT)).astype(int) + off
    stamps = LEFT_OUT / FPS + np.random.default_rng(seed).uniform(-0.004, 0.004, COUNT)
    found = timed(Alignment(0.9, line, rate), LEFT_OUT, stamps, seed=seed)
    assert found.at.tolist() == LEFT_OUT.tolist()
    assert found.rate == pytest.approx(rate) and found.score == 0.9


def test_a_source_whose_frames_do_not_come_evenly():
    source_s = np.delete(np.arange(FRAMES + 20), np.arange(20, 40, 2)[:10] + START - 20) / FPS
    source_s = source_s[:FRAMES]
    stamps = source_s[START] + np.arange(COUNT) / FPS  # a fake of an even rate shows some twice
    at = np.searchsorted(source_s, stamps - 0.5 / FPS)
    assert len(set(at.tolist())) < COUNT
    near = Alignment(0.9, np.rint(np.linspace(at[0], at[-1], COUNT)).astype(int), 0.7)
    assert timed(near, at, stamps, source_s).at.tolist() == at.tolist()


@pytest.mark.parametrize("stamps", [np.arange(COUNT) / FPS, LEFT_OUT / FPS],
                         ids=["even", "stamps that are wrong"])
def test_pixels_that_deny_it(stamps):
    near = straight(START)
    assert timed(near, near.at, stamps) is near


def test_stamps_that_are_all_the_same_tell_nothing():
    near, source_s = straight(START), np.cumsum(np.r_[0, np.tile([0.02, 0.3], FRAMES)[1:FRAMES]])
    assert is_uneven(source_s[:9]) and timed(near, near.at, np.zeros(COUNT), source_s) is near


def test_a_path_out_of_the_source_is_not_taken():
    near = straight(FRAMES - COUNT)
    stamps = np.r_[np.arange(COUNT - 1), 10 * COUNT] / FPS
    found = timed(near, near.at, stamps)
    assert found.at[-1] < FRAMES


def test_only_uneven_times_are_kept():
    rounded = np.round(np.arange(100) / 29.97, 3)
    assert kept_times(rounded) is None and kept_times([]) is None and kept_times([0.0] * 9) is None
    assert kept_times(LEFT_OUT / FPS) == pytest.approx(LEFT_OUT / FPS)
    assert is_uneven(np.r_[0:10, 12:20] / FPS) and not is_uneven(np.array([0.0, 3.0]))


def test_times_of_a_record():
    kept = [0.0, 0.04, 0.2]
    assert times_of([5, 6, 7], FPS, {"times_s": kept}).tolist() == kept
    even = [0.2, 0.24, 0.28]
    for bad in (None, kept[:2], [0.0, "x", 0.2], [0.0, 0.3, 0.2], [0.0, 0.1, float("nan")], 3):
        assert times_of([5, 6, 7], FPS, {"times_s": bad}) == pytest.approx(even)
    assert times_of([5, 6, 7], FPS, {}) == pytest.approx(even)


def test_stamps_of_a_file(tmp_path):
    times = (LEFT_OUT - LEFT_OUT[0]) / FPS
    for name in ("clip.mp4", "clip.mkv"):
        clip = numbered_clip(tmp_path / name, COUNT, times=times.tolist())
        assert kept_times([frame.time_s for frame in VideoReader(clip)]) == pytest.approx(
            times, abs=0.002)
