"""A batch with damaged, odd and hostile files comes to its end and says what became of each."""

import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from bad_files import FINE, REFUSED, corpus
from clips import numbered_clip
from models.fetch import sha256_of
from project import PLAIN, SEEDS, again
from small_batch import OUTPUTS, ROOT, STEPS
from utils import video
from utils.files import read_json
from utils.layout import VideoRecord, video_folders
from utils.video import VideoError, VideoReader, probe

SECONDS_PER_FILE = 20  # far more than any takes, on a busy machine too
MEMORY = 3 << 30  # bytes; PyTorch and the pictures of an 8K video among them


def check(root: Path, wanted: dict[str, str], summary, messages: list[str]) -> None:
    """Every file has a result or one line; what should be fine or refused is."""
    assert not summary.skipped and sorted(summary.done + list(summary.failed)) == sorted(wanted)
    assert {name for name, kind in wanted.items() if kind == FINE} <= set(summary.done), \
        summary.failed
    assert {name for name, kind in wanted.items() if kind == REFUSED} <= set(summary.failed)
    assert sorted(messages) == sorted(summary.failed.values())
    for name, reason in summary.failed.items():
        assert reason.isprintable() and "unexpected" not in reason, reason
        assert Path(name).name.partition("\n")[0][:20] in reason and len(reason) < 600
    assert read_json(root / "failed.json") == summary.failed
    assert not [path for path in root.rglob(".*") if not path.name.endswith(".mp4")]
    records = video_folders(root, "this")
    assert sorted(record.file for record in records.values()) == sorted(summary.done)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_each_ends_in_a_result_or_a_line(tmp_path, monkeypatch, caplog, every):
    wanted = corpus(tmp_path / "source_data", every)
    assert len(wanted) > (100 if every == 1 else 12)
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    summary = import_module(STEPS[1].stem).main(extract_num=3, workers=2)
    assert time.monotonic() - begun < SECONDS_PER_FILE * len(wanted)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    check(tmp_path / "step1_source_frames", wanted, summary, errors)
    again = import_module(STEPS[1].stem).main(extract_num=3, workers=2)
    assert again.skipped == summary.done and again.failed == summary.failed


@pytest.mark.slow
def test_all_steps_over_the_corpus(tmp_path):
    """As commands, with bounded memory; the corpus is sources and fakes at once."""
    wanted = corpus(tmp_path / "source_data")
    (tmp_path / "fake_data").symlink_to("source_data")
    for number in OUTPUTS:
        options = ["--extract-num", "3"] if number == 1 else []
        done = subprocess.run([sys.executable, STEPS[number], *options], cwd=tmp_path, text=True,
                              capture_output=True, errors="surrogateescape",
                              timeout=SECONDS_PER_FILE * len(wanted))
        lines = done.stderr.splitlines()
        assert done.returncode == (1 if number in (1, 3) else done.returncode), lines[-5:]
        assert done.returncode in (0, 1), lines[-5:]
        assert "Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr
        failed = (read_json(tmp_path / OUTPUTS[number][0] / "failed.json")
                  if done.returncode else {})
        if number in (1, 3):
            assert {name for name, kind in wanted.items() if kind == REFUSED} <= set(failed)
            assert not {name for name, kind in wanted.items() if kind == FINE} & set(failed)
        assert len(lines) < len(failed) + 2 * len(wanted)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MEMORY


def test_a_time_limit_per_file(tmp_path, monkeypatch):
    clip = numbered_clip(tmp_path / "clip.mp4", 30)
    monkeypatch.setattr(video, "TIME_LIMIT_S", 0)
    monkeypatch.setattr(video, "FRAME_LIMIT_S", 0)
    for read in (probe, lambda path: list(VideoReader(path))):
        with pytest.raises(VideoError, match=r"clip.mp4: decoding it takes more than 0 s"):
            read(clip)


def test_a_playlist_opens_no_other_file(tmp_path):
    numbered_clip(tmp_path / "other.mpg", 5, codec="mpeg2video")
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mpg\n#EXT-X-ENDLIST\n"
    for name, text in (("a.mp4", playlist), ("b.mp4", "ffconcat version 1.0\nfile other.mpg\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(VideoError, match=name):
            probe(tmp_path / name)


def test_names_that_steps_use_are_refused_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "a/video.json.mp4", "a/b.mp4", "failed.json/c.mp4"):
        numbered_clip(tmp_path / "source_data" / name, 3)
    summary = import_module(STEPS[1].stem).main()
    assert summary.done == ["a.mp4", "a/b.mp4"]
    assert list(summary.failed) == ["a/video.json.mp4", "failed.json/c.mp4"]
    assert all("rename it" in reason for reason in summary.failed.values())


def test_failures_leave_the_list_when_they_are_mended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbered_clip(tmp_path / "source_data/good.mp4", 3)
    (tmp_path / "source_data/bad.mp4").write_bytes(b"")
    step1 = import_module(STEPS[1].stem)
    assert list(step1.main().failed) == list(read_json(Path("step1_source_frames/failed.json")))
    numbered_clip(tmp_path / "source_data/bad.mp4", 3)
    assert step1.main().exit_status == 0
    assert not os.path.exists("step1_source_frames/failed.json")


def test_a_source_that_failed_stays_on_the_list_of_later_steps(own_copy):
    """Else a fake made from it ends as no_source, and nobody knows why."""
    told = read_json(Path("step1_source_frames/failed.json"))
    assert list(told) == ["broken.mp4"]
    assert read_json(Path("step2_source_backs/failed.json")) == told
    assert read_json(Path("step4_scene_trace/failed.json")) == told
    report = Path("step5_flow_trace/report.html").read_text("utf-8")
    assert "<b>broken.mp4 (source)</b>" in report and "<b>broken.mp4</b>" in report
    assert f"compared with {len(SEEDS) + len(PLAIN)} sources" in report
    Path("source_data/broken.mp4").unlink()
    again(1, 2, 4, 5)
    assert not Path("step4_scene_trace/failed.json").exists()
    assert "(source)" not in Path("step5_flow_trace/report.html").read_text("utf-8")


def test_a_run_over_one_file_forgets_no_failure_of_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("good", "mended"):
        numbered_clip(tmp_path / f"source_data/{name}.mp4", 3)
    sound = Path("source_data/mended.mp4").read_bytes()
    for name in ("bad", "mended"):
        Path(f"source_data/{name}.mp4").write_bytes(b"")
    step1, failed = import_module(STEPS[1].stem), Path("step1_source_frames/failed.json")
    step1.main()
    told = read_json(failed)
    assert sorted(told) == ["bad.mp4", "mended.mp4"]
    assert step1.main(video_root=Path("source_data/good.mp4")).exit_status == 0
    assert read_json(failed) == told
    Path("source_data/mended.mp4").write_bytes(sound)
    assert step1.main(video_root=Path("source_data/mended.mp4")).exit_status == 0
    assert read_json(failed) == {"bad.mp4": told["bad.mp4"]}
    step1.main(video_root=Path("source_data/bad.mp4"))
    assert read_json(failed) == {"bad.mp4": told["bad.mp4"]}


def test_prune_removes_what_is_gone_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        numbered_clip(tmp_path / "source_data" / name, 3)
    step1 = import_module(STEPS[1].stem)
    step1.main()
    frames = tmp_path / "step1_source_frames"
    (frames / "b/notes.txt").write_text("mine")
    for name in ("b.mp4", "sub/c.mp4"):
        (tmp_path / "source_data" / name).unlink()
    step1.main(video_root=Path("source_data/a.mp4"), prune=True)  # says nothing of the others
    step1.main()
    assert VideoRecord.read(frames / "b") and VideoRecord.read(frames / "sub/c")
    step1.main(prune=True)
    assert sorted(path.relative_to(frames).as_posix() for path in frames.rglob("*.*")) == [
        "a/frame_000000.png", "a/frame_000001.png", "a/frame_000002.png", "a/video.json",
        "b/notes.txt"]
    assert not (frames / "sub").exists()


@pytest.mark.parametrize("number, option", [(1, "video_root"), (3, "video_path")])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, number, option):
    monkeypatch.chdir(tmp_path)
    clip = numbered_clip(tmp_path / "clip.mp4", 3)
    step = import_module(STEPS[number].stem)

    def sum_and_change(path):
        checksum = sha256_of(path)
        with open(path, "ab") as file:
            file.write(b"more")
        return checksum
    monkeypatch.setattr(step, "sha256_of", sum_and_change)
    assert "changed while it was read" in step.main(**{option: clip}).failed["clip.mp4"]
    assert not list(tmp_path.rglob("video.json")) and not list(tmp_path.rglob(".*"))
    monkeypatch.setattr(step, "sha256_of", sha256_of)
    assert step.main(**{option: clip}).done == ["clip.mp4"]


def test_the_tree_is_importable_without_a_signal_handler():
    code = ("import signal, step1_source_video2some_frames as step; "
            "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
