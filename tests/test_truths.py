"""The truth from a CSV and from the names of public data sets."""

import json
from pathlib import Path

import pytest

from benchmarks.truths import Stretch, read_truth, truth_from_names
from utils.files import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def sources_of(scheme: str, root: Path, **options) -> dict[str, tuple[str, ...]]:
    truth = truth_from_names(scheme, root / "fakes", root / "sources", **options)
    return {stretch.fake: stretch.sources for stretch in truth}


def test_short_and_long_tables(tmp_path):
    (tmp_path / "short.csv").write_text("fake,source,start_frame,end_frame\nf.mp4,,3,9\n")
    assert read_truth(tmp_path / "short.csv") == [Stretch("f.mp4", "fakes", (), 3, 9, 0, None)]
    (tmp_path / "short.csv").write_text("fake,source,start_frame,end_frame\nf.mp4,,,\n")
    assert read_truth(tmp_path / "short.csv") == [Stretch("f.mp4", "fakes", (), None, None)]
    (tmp_path / "frames.csv").write_text("fake,source,start_frame,end_frame,tier,frames\n"
                                         "f.mp4,a.mp4,40,31,reversed,10\n")
    assert read_truth(tmp_path / "frames.csv") == [
        Stretch("f.mp4", "reversed", ("a.mp4",), 40, 31, 0, 9)]
    (tmp_path / "parts.csv").write_text(
        "fake,source,start_frame,end_frame,tier,frames,fake_start_frame,fake_end_frame\n"
        "f.mp4,a.mp4,5,14,stitched,30,0,9\nf.mp4,b.mp4,50,69,stitched,30,10,29\n")
    assert [(s.sources, s.fake_start, s.fake_end) for s in read_truth(tmp_path / "parts.csv")] == [
        (("a.mp4",), 0, 9), (("b.mp4",), 10, 29)]


@pytest.mark.parametrize("text, problem", [("fake,source\nf.mp4,a.mp4\n", "f.mp4"),
                                           ("fake,source,start_frame,end_frame\n", "no row"),
                                           ("fake,source,start_frame,end_frame\nf,a,1,x\n", "end_frame"),
                                           ("fake,source,start_frame,end_frame\nf,a,,9\n",
                                            "start_frame is ''"),
                                           ("fake,start_frame\nf,1\n", "no column source")])
def test_a_table_of_another_kind_is_an_error(tmp_path, text, problem):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(InputError, match=problem):
        read_truth(tmp_path / "truth.csv")


def test_faketd1_any_video_of_the_scene(tmp_path):
    touch(tmp_path, "fakes/scene_0000_fake_0008.mp4", "fakes/scene_0007_fake_0001.mp4",
          "sources/scene_0000_video_0006.mp4", "sources/scene_0000_video_0010.mp4",
          "sources/scene_00001_video_0001.mp4", "sources/scene_0001_video_0001.mp4")
    assert sources_of("faketd1", tmp_path) == {
        "scene_0000_fake_0008.mp4": ("scene_0000_video_0006.mp4", "scene_0000_video_0010.mp4"),
        "scene_0007_fake_0001.mp4": ()}
    truth = truth_from_names("faketd1", tmp_path / "fakes", tmp_path / "sources")
    assert all(stretch.start is None for stretch in truth)  # which frames is not told


def test_faketd2_one_source_with_the_same_frame_numbers(tmp_path):
    touch(tmp_path, "fakes/source_02_fake_04.avi", "sources/source_02.mp4", "sources/source_0.mp4",
          "sources/source_021.mp4")
    truth = truth_from_names("faketd2", tmp_path / "fakes", tmp_path / "sources")
    assert truth == [Stretch("source_02_fake_04.avi", "faketd2", ("source_02.mp4",), 0, None)]


def test_faceforensics_frames_come_from_the_first_number(tmp_path):
    touch(tmp_path, "fakes/Deepfakes/000_003.mp4", "fakes/Face2Face/003_000.mp4",
          "sources/000.mp4", "sources/003.mp4")
    assert sources_of("ffpp", tmp_path) == {"Deepfakes/000_003.mp4": ("000.mp4",),
                                            "Face2Face/003_000.mp4": ("003.mp4",)}
    truth = truth_from_names("ffpp", tmp_path / "fakes", tmp_path / "sources")
    assert [stretch.tier for stretch in truth] == ["Deepfakes", "Face2Face"]


def test_celebdf_frames_come_from_the_first_person(tmp_path):
    touch(tmp_path, "fakes/id0_id1_0002.mp4", "fakes/id1_id0_0007.mp4",
          "sources/Celeb-real/id0_0002.mp4", "sources/Celeb-real/id1_0002.mp4")
    assert sources_of("celebdf", tmp_path) == {
        "id0_id1_0002.mp4": ("Celeb-real/id0_0002.mp4",), "id1_id0_0007.mp4": ()}


def test_dfdc_reads_its_metadata(tmp_path):
    touch(tmp_path, "fakes/part_0/aaa.mp4", "fakes/part_0/bbb.mp4", "fakes/part_1/ccc.mp4",
          "sources/bbb.mp4")
    (tmp_path / "fakes/part_0/metadata.json").write_text(json.dumps(
        {"aaa.mp4": {"label": "FAKE", "original": "bbb.mp4"}, "bbb.mp4": {"label": "REAL"}}))
    (tmp_path / "fakes/part_1/metadata.json").write_text(json.dumps(
        {"ccc.mp4": {"label": "FAKE", "original": "gone.mp4"}}))
    assert sources_of("dfdc", tmp_path) == {"part_0/aaa.mp4": ("bbb.mp4",), "part_1/ccc.mp4": ()}
    only = tmp_path / "fakes/part_1/metadata.json"
    assert sources_of("dfdc", tmp_path, metadata=only) == {"part_1/ccc.mp4": ()}
    only.write_text("[]")
    with pytest.raises(InputError, match="part_1"):
        sources_of("dfdc", tmp_path)


def test_names_that_do_not_fit_are_an_error(tmp_path):
    touch(tmp_path, "fakes/holiday.mp4", "sources/000.mp4")
    with pytest.raises(InputError, match="holiday.mp4"):
        sources_of("ffpp", tmp_path)
    with pytest.raises(InputError, match="metadata.json"):
        sources_of("dfdc", tmp_path)
