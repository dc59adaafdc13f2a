"""Sought frames are those of decoding from the start, number by number and bit by bit."""

import random

import numpy as np
import pytest

from bad_files import CONTAINERS
from clips import number_of, numbered_clip, set_rotation
from utils import seek
from utils.seek import can_seek, first_run, read_frames
from utils.video import VideoReader

COUNT = 160
UNEVEN = [0.04 * index + 0.013 * (index % 3) + 1.5 * (index > 20) for index in range(COUNT)]
OPEN = "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"
SOUGHT = {  # containers that lead to key frames
    "b frames.mp4": {"bf": "3", "g": "25"},
    "b pyramid.mkv": {"bf": "5", "g": "25", "x264-params": "b-pyramid=normal:b-adapt=0"},
    "open gop.mp4": {"x264-params": OPEN},
    "open gop.mkv": {"x264-params": OPEN},
    "open gop hevc.mkv": {"codec": "libx265",
                          "x265-params": "open-gop=1:keyint=12:log-level=error"},
    "references.mp4": {"x264-params": f"{OPEN}:ref=6"},
    "variable.mp4": {"bf": "3", "g": "20", "times": UNEVEN},
    "variable.mkv": {"bf": "2", "g": "20", "times": [5 + time for time in UNEVEN]},
    "variable.webm": {**CONTAINERS["webm"], "g": "20", "times": UNEVEN},
    "intra.mov": {"g": "1"}, "mpeg4.mp4": {"codec": "mpeg4", "bf": "2", "g": "20"}}
OTHERS = {"refresh.mp4": {"x264-params": "intra-refresh=1:keyint=20"},
          "one key.mp4": {"g": "999", "x264-params": "scenecut=0"},
          "mpeg4.avi": {"codec": "mpeg4", "bf": "2"},
          "open gop.mpg": {"codec": "mpeg2video", "bf": "2", "g": "12"},
          "interlaced.mpg": {"codec": "mpeg2video", "flags": "+ildct+ilme", "g": "12"},
          "old.flv": {"g": "20"}, "old.wmv": {**CONTAINERS["wmv"], "g": "20"},
          "broadcast.ts": {"bf": "2", "g": "20"},
          "animated.gif": {"codec": "gif", "pix_fmt": "rgb8"}}


@pytest.fixture(autouse=True)
def short_clips_are_long(monkeypatch):
    """Seek also in the clips of these tests."""
    monkeypatch.setattr(seek, "NEAR", 15)


def no_decoding_from_the_start(path, wanted):
    raise AssertionError(f"{wanted} of {path.name} were decoded from the start")


def check(path, wanted=None):
    """Compare frames one by one, each sought by itself, and all together."""
    truth = list(VideoReader(path, threads=1))  # threads conceal damage in different ways
    times = np.array([frame.time_s for frame in truth])
    wanted = wanted or range(16, len(truth), 7)
    found = [frame for index in wanted for frame in read_frames(path, {index}, times)]
    together = list(read_frames(path, set(wanted), times))
    for frames in (found, together):
        assert [frame.index for frame in frames] == list(wanted)
        for frame in frames:
            assert frame.time_s == pytest.approx(truth[frame.index].time_s)
            assert np.array_equal(frame.image, truth[frame.index].image)
    return truth


@pytest.mark.parametrize("name", SOUGHT)
def test_sought_frames_are_exact(tmp_path, name, monkeypatch):
    clip = numbered_clip(tmp_path / name, COUNT, **SOUGHT[name])
    monkeypatch.setattr(seek, "_from_start", no_decoding_from_the_start)
    truth = check(clip, range(60, COUNT))
    assert [number_of(frame.image) for frame in truth] == list(range(COUNT))


@pytest.mark.parametrize("name", OTHERS)
def test_other_containers_give_the_same_frames(tmp_path, name):
    check(numbered_clip(tmp_path / name, COUNT, **OTHERS[name]))


@pytest.mark.parametrize("quarter_turns", [1, 2])
def test_rotated(tmp_path, quarter_turns, monkeypatch):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="20")
    set_rotation(clip, quarter_turns)
    monkeypatch.setattr(seek, "_from_start", no_decoding_from_the_start)
    check(clip, range(60, COUNT, 9))


def test_few_frames_are_decoded(tmp_path, monkeypatch):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="10")
    times = np.array([frame.time_s for frame in VideoReader(clip)])
    decoded = []
    frames = seek._frames
    monkeypatch.setattr(seek, "_frames", lambda *parts: (
        decoded.append(raw) or raw for raw in frames(*parts)))
    assert [frame.index for frame in read_frames(clip, {55, 150}, times)] == [55, 150]
    assert len(decoded) <= 2 * (1 + 20)  # the first frame for its time, and two groups


@pytest.mark.parametrize("change", [lambda t: t + 0.013, lambda t: t * 1.001, lambda t: t[:100],
                                    lambda t: np.repeat(t[::2], 2), lambda t: None])
def test_times_of_another_file_do_no_harm(tmp_path, change):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="10")
    times = change(np.array([frame.time_s for frame in VideoReader(clip)]))
    found = {frame.index: number_of(frame.image)
             for frame in read_frames(clip, {30, 90, 120}, times)}
    assert found == {30: 30, 90: 90, 120: 120}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_damage_inside(tmp_path, ending, seed):
    clip = numbered_clip(tmp_path / f"clip.{ending}", COUNT, bf="2", g="20")
    content, rng = bytearray(clip.read_bytes()), random.Random(seed)
    for _ in range(6):
        content[rng.randrange(len(content) // 4, len(content) * 3 // 4)] ^= 1 << rng.randrange(8)
    clip.write_bytes(content)
    check(clip)


def test_frames_that_are_not_there_are_left_out(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 60, g="10")
    times = np.array([frame.time_s for frame in VideoReader(clip)])
    assert [frame.index for frame in read_frames(clip, {50, 70}, times)] == [50]
    assert list(read_frames(clip, set(), times)) == []


def test_when_seeking_is_worth_it():
    times = np.arange(100) / 25
    assert can_seek(times, [50]) and not can_seek(times, [10, 50]) and not can_seek(times, [100])
    assert not can_seek(None, [50]) and not can_seek(np.zeros(100), [50])
    assert first_run([20, 21, 34, 60, 61]) == [20, 21, 34]
