"""Options of the steps, names of files, and what is said of wrong input."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clips import number_of, numbered_clip
from project import (ROOT, SCRIPT, SHORT, STEPS, TRUTH, again, files_of, run, stamps, status,
                     traces)
from utils.files import read_image
from utils.layout import VideoRecord, evenly_spaced, frame_name


@pytest.mark.parametrize("name, options", [
    ("b frames.mp4", {"bf": "3", "g": "250"}), ("old.avi", {"codec": "mpeg4", "bf": "2"}),
    ("sub/uneven.mkv", {"times": [3 + 0.04 * index + (index > 20) for index in range(60)]})])
def test_sampled_frames_are_those_of_the_video(tmp_path, monkeypatch, name, options):
    monkeypatch.chdir(tmp_path)
    numbered_clip(tmp_path / "source_data" / name, 60, **options)
    again(1)
    folder = Path("step1_source_frames") / Path(name).with_suffix("")
    record = VideoRecord.read(folder)
    assert record.frames == [3, 9, 15, 21, 27, 33, 39, 45, 51, 57] and record.frame_count == 60
    files = sorted(file.name for file in folder.glob("*.png"))
    assert files == [frame_name(index) for index in record.frames]
    for index in record.frames:
        assert number_of(read_image(folder / frame_name(index))) == index


def test_a_cut_video_is_sampled_over_what_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = numbered_clip(tmp_path / "source_data/clip.mpg", 60, codec="mpeg2video", bf="2")
    content = clip.read_bytes()
    clip.write_bytes(content[:len(content) // 3])
    again(1, extract_num=4)
    record = VideoRecord.read(Path("step1_source_frames/clip"))
    assert 8 < record.frame_count < 60
    assert record.frames == evenly_spaced(record.frame_count, 4)
    files = sorted(Path("step1_source_frames/clip").glob("*.png"))
    assert [file.name for file in files] == [frame_name(index) for index in record.frames]
    assert [number_of(read_image(file)) for file in files[:3]] == record.frames[:3]


def test_begin_and_end_frame_choose_a_clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbered_clip(tmp_path / "fake_data/clip.mp4", 40, bf="2")
    for begin, end, wanted in ((10, 14, range(10, 15)), (35, None, range(35, 40)),
                               (38, 90, range(38, 40))):
        again(3, begin_frame=begin, end_frame=end)
        record = VideoRecord.read(Path("step3_fake_frames/clip"))
        assert record.frames == list(wanted) and record.frame_count == 40
        files = sorted(Path("step3_fake_frames/clip").glob("*.png"))
        assert [file.name for file in files] == [frame_name(index) for index in wanted]
        assert [number_of(read_image(file)) for file in files] == list(wanted)
    assert "none from frame 40" in again(3, begin_frame=40)[3].failed["clip.mp4"]


def test_a_clip_of_a_fake_is_traced_in_its_own_frame_numbers(own_copy):
    again(3, begin_frame=5, end_frame=24)
    again(4, 5)
    row = traces(own_copy)[SCRIPT]
    assert (row["fake_start_frame"], row["fake_end_frame"]) == ("5", "24")
    assert (row["source"], row["start_frame"], row["end_frame"]) == ("talk one.mp4", "25", "44")


def test_one_video_and_a_name_that_looks_like_an_option(tmp_path):
    numbered_clip(tmp_path / "-x y.mp4", 4)
    done = run(3, tmp_path, "--video-path=-x y.mp4")
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path, "step3_fake_frames") == {"-x y.mp4"}


def test_names_that_are_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.mp4")
    numbered_clip(tmp_path / "clip.mp4", 4)
    (tmp_path / "source_data").mkdir()
    (tmp_path / "clip.mp4").rename(tmp_path / "source_data" / name)
    assert again(1)[1].done == [name]
    assert again(1)[1].skipped == [name]
    assert again(2)[2].done == [name]


@pytest.mark.parametrize("number", STEPS)
def test_every_option_is_explained(number, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert status(number, monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (-.*?)(?:\s{2,}(\S.*))?$\n?(?:^ {10,}(\S.*)$)?", text, re.MULTILINE)
    assert len(options) >= 7
    assert all(len(same or following) > 5 for _, same, following in options), options
    assert "default: None" not in text


@pytest.mark.parametrize("number", STEPS)
def test_help_does_not_wait_for_pytorch(number):
    found = subprocess.run([sys.executable, "-c", f"import sys, {STEPS[number].stem}; "
                            "print('torch' in sys.modules)"], cwd=ROOT, capture_output=True,
                           text=True)
    assert found.stdout == "False\n", found.stderr


@pytest.mark.parametrize("number, options, said", [
    (1, ["--extract-num", "0"], "--extract-num"),
    (1, ["--workers", "-1"], "--workers"),
    (1, ["--video-root", "nowhere"], "nowhere"),
    (1, ["--video-root", "twins"], "twins/a.avi and twins/a.mp4"),
    (2, ["--frame-root", "nowhere"], "run step 1 first"),
    (2, ["--segmenter-model", "nowhere.tflite"], "nowhere.tflite"),
    (3, ["--video-path", "nowhere"], "nowhere"),
    (3, ["--begin-frame", "5", "--end-frame", "4"], "--end-frame"),
    (3, ["--begin-frame", "-1"], "--begin-frame"),
    (4, ["--source-back-root", "nowhere"], "run step 2 first"),
    (4, ["--fake-back-root", "nowhere"], "run step 3 first"),
    (4, ["--fake-frame-root", "nowhere"], "nowhere: no such folder"),
    (4, ["--source-frame-root", "nowhere"], "nowhere: no such folder"),
    (4, ["--verify", "0"], "--verify"),
    (4, ["--embedder-model", "nowhere.pth"], "nowhere.pth"),
    (5, ["--fake-frame-root", "nowhere"], "run step 3 first"),
    (5, ["--scene-root", "nowhere"], "run step 4 first"),
    (5, ["--fake-mask-root", "nowhere"], "nowhere: no such folder"),
    (5, ["--fake-rect-root", "nowhere"], "nowhere: no such folder"),
    (5, ["--top-k", "0"], "--top-k"),
    (5, ["--flow", "raft", "--raft-weights", "nowhere.pth"], "nowhere.pth"),
    (5, ["--raft-weights", "nowhere.pth"], "--flow raft")])
def test_wrong_input_ends_before_the_work(project, monkeypatch, caplog, number, options, said):
    monkeypatch.chdir(project[0])
    twins = project[0] / "twins"
    twins.mkdir(exist_ok=True)
    for name in ("a.avi", "a.mp4"):
        (twins / name).write_bytes(b"x")
    before = stamps(project[0])
    assert status(number, monkeypatch, *options) == 2
    assert said in caplog.text and stamps(project[0]) == before


@pytest.mark.parametrize("number, option", [(1, "--frame-root"), (3, "--frame-root"),
                                            (4, "--scene-root")])
def test_an_output_that_cannot_be_written_is_said_once(project, monkeypatch, caplog, number,
                                                       option):
    monkeypatch.chdir(project[0])
    path = next((project[0] / "source_data").glob("*.mp4"))
    assert status(number, monkeypatch, option, path) == 2
    assert caplog.text.count("not a folder that may be written") == 1


def test_folders_that_were_mixed_up_are_named(own_copy):
    found = again(4, fake_back_root=Path("step3_fake_frames"), overwrite=True)[4]
    assert set(found.failed) == {*TRUTH, *SHORT}
    assert all("not backgrounds" in reason for reason in found.failed.values())


@pytest.mark.parametrize("options", [["--unknown"], ["--extract-num", "many"], ["-v", "-q"],
                                     ["stray"]])
def test_wrong_usage_is_told_by_the_parser(monkeypatch, capsys, options):
    assert status(1, monkeypatch, *options) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("number", [1, 3])
def test_quiet_says_only_what_went_wrong(project, tmp_path, number):
    videos = "--video-root" if number == 1 else "--video-path"
    numbered_clip(tmp_path / "good/clip.mp4", 3)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/text.mp4").write_text("no video")
    good = run(number, tmp_path, videos, "good", "-q", "--overwrite")
    bad = run(number, tmp_path, videos, "bad", "-q")
    assert good.returncode == 0 and "done" not in good.stderr and good.stdout == ""
    assert bad.returncode == 1 and bad.stderr.splitlines() == [
        "bad/text.mp4: not a readable video (Invalid data found when processing input); "
        "is it one, and was all of it saved?"]
