"""The speed benchmark on tiny clips: the form of its figures, and the baseline's arithmetic."""

import json
import math
import sys
import time

import numpy as np
import pytest

from benchmarks import speed, speed_parts, speed_whole, straightforward
from benchmarks.speed_clips import forth_and_back, make_long
from benchmarks.speed_figures import MIB, Figure, number, table
from benchmarks.speed_run import Project, run_command
from benchmarks.straightforward import Clip, Costs, Straightforward, best_start, extrapolate
from clips import numbered, numbered_clip, person_frames, write_clip
from utils.files import InputError
from utils.video import VideoReader, probe


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two sources and one fake."""
    root = tmp_path_factory.mktemp("speed")
    for seed, place in ((1, "brick"), (2, "rocket")):
        frames = list(person_frames(seed, 30, place))
        write_clip(root / f"source_data/s{seed}.mp4", frames)
    write_clip(root / "fake_data/s2_fake.mp4", frames[5:20], crf="30")
    return root


def measure(videos, tmp_path, *parts, **options):
    """Run parts of the benchmark once; the figures as written to JSON."""
    written = speed.main(videos / "source_data", videos / "fake_data", out=tmp_path, runs=1,
                         only=parts, raft=False, **options)
    found = json.loads((tmp_path / "speed.json").read_text())
    assert written.read_text().count("\n| ") == len(found["figures"]) + 2
    assert not list(tmp_path.glob("work_*"))
    for figure in found["figures"]:
        assert all(math.isfinite(value) and (value > 0 or "per minute" in figure["unit"])
                   for value in figure["runs"]), figure
        for ratio in (figure["ratio"], figure["cpu_ratio"]):
            assert ratio is None or math.isfinite(ratio) and ratio > 0
    return found["figures"]


def test_sources_are_timed_beside_their_limit(videos, tmp_path):
    figures = measure(videos, tmp_path, "sources")
    assert [(f["part"], f["unit"]) for f in figures] == [
        ("sources", "s"), ("memory", "MiB"), ("memory", "MiB")]
    timed = figures[0]
    assert timed["limits"] and timed["limit_cpu"] and timed["met"] == (timed["ratio"] <= 1.5)
    assert all(20 < f["value"] < 4096 for f in figures[1:])


@pytest.fixture
def tiny(monkeypatch):
    """Small and short clips."""
    for name, value in (("SIDE", 128), ("CLIPS", 2), ("CLIP_FRAMES", 40), ("FAKE_FRAMES", 12),
                        ("LENGTHS", (8, 12))):
        monkeypatch.setattr(speed_parts, name, value)
    monkeypatch.setattr(speed, "FAKE_FRAMES", 12)
    monkeypatch.setattr(speed_whole, "LENGTHS", (8,))


@pytest.mark.slow
def test_process_start_and_step_3_are_timed(videos, tmp_path, tiny):
    figures = measure(videos, tmp_path, "start", "split")
    assert [f["part"] for f in figures] == ["start"] * 5 + ["split"] * 2 + ["memory"]
    assert all("decode" in f["limit"] and "encode" in f["limit"] for f in figures[5:7])


@pytest.mark.slow
def test_motion_features_are_timed(videos, tmp_path, tiny):
    figures = measure(videos, tmp_path, "motion")
    assert [f["unit"] for f in figures] == ["frames/s"] * 2 + ["MiB"] * 5


@pytest.mark.slow
def test_step_5_is_timed_and_plotted(videos, tmp_path, tiny):
    whats = [f["what"] for f in measure(videos, tmp_path, "trace")]
    assert sum("a fake of" in what for what in whats) == 3  # 1 source; 2, with two lengths
    assert sum("nothing to do" in what for what in whats) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "speed.md", "speed.json", "speed_trace.png", "speed_trace.pdf"}


@pytest.mark.slow
def test_a_whole_run_is_timed_beside_the_straightforward_way(videos, tmp_path):
    truth = tmp_path / "truth.csv"
    truth.write_text("fake,source,start_frame,end_frame,tier,frames\n"
                     "s2_fake.mp4,s2.mp4,5,19,clean,15\nanother.mp4,s1.mp4,0,9,clean,10\n")
    figures = measure(videos, tmp_path, "whole", truth=truth)
    assert [f["value"] for f in figures if f["what"] == "answers: right source"] == [100]
    faster = [f["value"] for f in figures if "the same by CPU" in f["what"]]
    assert len(faster) == 2 and faster[0] < faster[1]


@pytest.mark.slow
def test_memory_on_long_videos_is_measured(videos, tmp_path, monkeypatch, tiny):
    monkeypatch.setattr(speed_whole, "LONG_SIZE", (128, 128))
    figures = measure(videos, tmp_path, "long", minutes=(0.1, 0.2))
    assert sum("growth per minute" in f["what"] for f in figures) == 5
    assert {f["unit"] for f in figures} == {"MiB", "MiB per minute"}


def test_ratio_and_target_by_hand():
    slow = Figure("p", "w", "s", [3.0, 1.0, 2.0], [4.0] * 3, [1.0] * 3, [2.0] * 3, "alone", 1.5,
                  of_ratio=True)
    assert (slow.value, slow.ratio, slow.cpu_ratio, slow.met) == (2, 2, 2, False)
    rate = Figure("p", "w", "frames/s", [30.0], limits=[90.0], target=25)
    assert (rate.ratio, rate.cpu_ratio, rate.met) == (3, None, True)
    assert Figure("p", "w", "MiB", [2049.0], target=2048).met is False
    assert Figure("p", "w", "x", [199.0], target=200).met is False
    lines = table([slow, rate]).splitlines()
    assert lines[2] == ("| p | w | 2 s (1-3) | 4 | 1 s: alone | 2 | 2 | "
                        "ratio ≤ 1.5: missed |")
    assert lines[3] == "| p | w | 30 frames/s |  | 90 frames/s:  | 3 |  | ≥ 25: met |"
    assert [number(value) for value in (1234.5, 12.34, 0.001234, None)] == [
        "1234", "12.3", "0.00123", ""]


def test_extrapolation_by_hand():
    costs = Costs(0.5, [(100, 1.0), (300, 2.0)])
    fakes, sources = [Clip(11, 100), Clip(21, 200)], [Clip(6, 300), Clip(16, 100), Clip(2, 900)]
    found = extrapolate(costs, fakes, sources, candidates=2, samples=10)
    assert found.embedding_s == 32 * (6 + 10 + 2) * 0.5
    # the fakes: 10 pairs at 1 s, 20 at 1.5 s; a mean source: (5 * 2 + 15 * 1 + 1 * 2) / 3
    assert found.flow_s == pytest.approx(10 + 30 + 2 * 2 * 27 / 3)
    assert found.cpu_s == found.embedding_s + found.flow_s
    more = extrapolate(costs, fakes, sources, candidates=99)  # no more than there are sources
    assert more.flow_s == pytest.approx(40 + 2 * 3 * 27 / 3)


def test_best_start_by_hand():
    source = [np.full((4, 4, 2), value, np.float32) for value in (0, 5, 1, 2, 9)]
    fake = [np.full((2, 2, 2), value / 2, np.float32) for value in (1, 2)]  # half the size
    assert best_start(fake, source) == (2, 0)
    assert best_start(source, fake) == (0, float("inf"))


def test_the_straightforward_way_runs(one_thread):
    frames = list(person_frames(1, 3, "brick"))
    method = Straightforward(updates=2)
    assert method.flow(frames[0][:100, :90], frames[1][:100, :90]).shape == (100, 90, 2)
    backs = straightforward.backgrounds(frames[:1])
    assert method.distance(backs[0], backs[0]) == pytest.approx(0, abs=1e-2)
    name, start = method.trace(frames[1:], {"a": frames, "b": list(person_frames(2, 2, "rocket"))},
                               candidates=2)
    assert (name, start) == ("a", 1)  # the very frames: even random weights give equal flows


def test_a_long_video_repeats_a_clip(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 20)
    video = make_long(tmp_path / "long.mp4", clip, 0.05)
    frames = list(VideoReader(video))
    assert len(frames) == 75 == probe(video).frames_expected
    assert frames[-1].time_s == pytest.approx(74 / 25, abs=1e-3)
    for index in (3, 23, 74):
        difference = frames[index].image.astype(int) - numbered(index % 20)
        assert np.abs(difference).mean() < 8


def test_forth_and_back():
    assert list(forth_and_back([0, 1, 2], 8)) == [0, 1, 2, 1, 0, 1, 2, 1]


def test_a_run_is_measured(tmp_path):
    code = "import time; block = b'x' * (300 << 20); time.sleep(0.5); sum(range(10**7))"
    begun = time.perf_counter()
    run = run_command([sys.executable, "-c", code], tmp_path)
    assert 0.5 < run.wall_s <= time.perf_counter() - begun
    assert 0.02 < run.cpu_s < 60 and 300 * MIB < run.peak_bytes < 600 * MIB


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(InputError, match="status 3: no luck"):
        run_command([sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"], tmp_path)


def test_forgetting_keeps_what_is_known_of_sources(tmp_path):
    project = Project(tmp_path / "p")
    for name in ("step3_fake_rect/a/r.json", "step5_flow_trace/motion/s.npz",
                 "step5_flow_trace/fakes/a.json", "step5_flow_trace/traces.csv"):
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).touch()

    def left():
        return sorted(file.name for file in project.root.rglob("*.*") if file.is_file())

    project.forget(5)
    assert left() == ["r.json", "s.npz"]
    project.forget(3, 5, sources_too=True)
    assert left() == []


def test_wrong_options_are_named(videos, tmp_path):
    for options in ({"runs": 0}, {"minutes": (2, 1)}):
        with pytest.raises(InputError):
            speed.main(videos / "source_data", videos / "fake_data", out=tmp_path, **options)
