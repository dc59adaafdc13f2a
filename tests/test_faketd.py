"""FakeTD's folders, made small: layout, truth from the names, and the whole way."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import faketd
from benchmarks.truths import truth_from_names
from clips import person_frames, write_clip
from test_archives import content_of, write_zip
from utils.files import InputError
from utils.tables import read_table

ROOT = Path(__file__).parents[1]


@pytest.fixture
def published(tmp_path) -> Path:
    """Two sets as they are published, the videos only names."""
    root = tmp_path / "FakeDT"
    for folder in ("FakeDT-1/fake", "FakeDT-1/video", "FakeDT-2/fake", "FakeDT-2/source"):
        (root / folder).mkdir(parents=True)
    write_zip(root / "FakeDT-1/fake/scene_0000.zip", {"scene_0000/scene_0000_fake_0008.mp4": b"f8"})
    write_zip(root / "FakeDT-1/fake/scene_0001.zip", {"scene_0001_fake_0002.mp4": b"f2",
                                                      "notes.txt": b"not a video"})
    write_zip(root / "FakeDT-1/video/all.zip", {"scene_0000_video_0006.mp4": b"v6",
                                                "scene_0000_video_0007.mp4": b"v7"})
    (root / "FakeDT-2/fake/source_02_fake_04.mp4").write_bytes(b"plain")
    write_zip(root / "FakeDT-2/source/source.zip", {"source_02.mp4": b"s2", "source_03.mp4": b"s3"})
    return root


def test_layout_and_truth_from_the_names(published, tmp_path):
    out = tmp_path / "out"
    summary = faketd.main(published, out, unpack_only=True)
    assert summary.done == ["FakeDT-1", "FakeDT-2"]
    assert content_of(out / "FakeDT-1/fake_data") == {"scene_0000_fake_0008.mp4": b"f8",
                                                      "scene_0001_fake_0002.mp4": b"f2"}
    assert content_of(out / "FakeDT-2/source_data") == {"source_02.mp4": b"s2",
                                                        "source_03.mp4": b"s3"}
    assert content_of(out / "FakeDT-2/fake_data") == {"source_02_fake_04.mp4": b"plain"}
    truth = {stretch.fake: stretch.sources for name in ("FakeDT-1", "FakeDT-2")
             for stretch in truth_from_names(faketd.scheme_of(out / name), out / name / "fake_data",
                                             out / name / "source_data")}
    assert truth == {
        "scene_0000_fake_0008.mp4": ("scene_0000_video_0006.mp4", "scene_0000_video_0007.mp4"),
        "scene_0001_fake_0002.mp4": (), "source_02_fake_04.mp4": ("source_02.mp4",)}


def test_a_second_run_keeps_what_is_there_and_follows_what_changed(published, tmp_path):
    one = published / "FakeDT-1"
    faketd.main(one, tmp_path, unpack_only=True)  # the set's own folder will do as well
    kept = tmp_path / "FakeDT-1" / "source_data" / "scene_0000_video_0006.mp4"
    before = kept.stat()
    write_zip(one / "video" / "more.zip", {"scene_0001_video_0001.mp4": b"v1"})
    (one / "fake" / "scene_0001.zip").unlink()
    faketd.main(one, tmp_path, unpack_only=True)
    assert kept.stat() == before
    assert "scene_0001_video_0001.mp4" in content_of(kept.parent)
    assert set(content_of(tmp_path / "FakeDT-1/fake_data")) == {"scene_0000_fake_0008.mp4"}


def test_folders_that_are_no_set_are_errors(published, tmp_path):
    with pytest.raises(InputError, match="subfolder 'fake'"):
        faketd.main(published / "FakeDT-1" / "video", tmp_path / "out")
    write_zip(published / "FakeDT-1/video/again.zip", {"scene_0000_video_0006.mp4": b"other"})
    with pytest.raises(InputError, match="two videos of one name"):
        faketd.main(published, tmp_path / "out", unpack_only=True)
    shutil.rmtree(published / "FakeDT-2" / "source")
    with pytest.raises(InputError, match="source_data"):
        faketd.main(published / "FakeDT-2", tmp_path / "out", unpack_only=True)


def test_a_step_that_stops_is_named(published, tmp_path):
    faketd.main(published / "FakeDT-2", tmp_path, unpack_only=True)
    with pytest.raises(InputError, match="step 1 stopped"):
        faketd.run_steps(tmp_path / "FakeDT-2", "auto", -1, False)


@pytest.mark.slow
def test_from_archives_to_the_table(tmp_path):
    """The command on one small set of either kind, killed once and run again."""
    videos = {f"source_0{seed}": list(person_frames(seed, 60, place))
              for seed, place in ((1, "brick"), (2, "rocket"))}
    made = tmp_path / "made"
    for name, frames in videos.items():
        write_clip(made / f"{name}.mp4", frames, crf="18")
    write_clip(made / "source_01_fake_00.mp4", videos["source_01"][:40], crf="28")
    for number, folder in (("1", "video"), ("2", "source")):
        root = tmp_path / "FakeDT" / f"FakeDT-{number}"
        for kind in ("fake", folder):
            (root / kind).mkdir(parents=True)
        names = (("scene_0000_fake_0000.mp4", "scene_0000_video_0001.mp4",
                  "scene_0001_video_0001.mp4") if number == "1"
                 else ("source_01_fake_00.mp4", "source_01.mp4", "source_02.mp4"))
        data = [(made / name).read_bytes() for name in ("source_01_fake_00.mp4", "source_01.mp4",
                                                        "source_02.mp4")]
        write_zip(root / "fake" / "fake.zip", {names[0]: data[0]})
        write_zip(root / folder / "all.zip", dict(zip(names[1:], data[1:])))
    command = [sys.executable, "-m", "benchmarks.faketd", tmp_path / "FakeDT", "--out-root",
               tmp_path / "out"]
    with pytest.raises(subprocess.TimeoutExpired):  # somewhere in the steps
        subprocess.run(command, cwd=ROOT, capture_output=True, timeout=12)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    one, two = done.stdout.split("## FakeDT-2")
    assert "| all | 1 | 100.0 % (21-100) |" in one
    assert "| all | 1 | 100.0 % (21-100) | 100.0 % (21-100) |" in two
    figures = read_table(tmp_path / "out" / "FakeDT-2" / "figures.csv")
    assert next(row["value"] for row in figures
                if (row["metric"], row["group"]) == ("start ±0", "all")) == "1"
    assert (tmp_path / "out" / "FakeDT-1" / "found.png").stat().st_size > 1000
