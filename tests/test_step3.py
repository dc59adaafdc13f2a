"""What step 3 finds out of a video: inverted colours, and a file that was cut off."""

import cv2
import numpy as np
import pytest

import step3_get_fake_frames_back as step3
from clips import empty_frames, person_frames, write_clip
from models.face_detector import FaceDetector
from utils.files import read_image
from utils.layout import VideoRecord, frame_name
from utils.negative import LEAST_SCORE, is_negative
from utils.video import VideoError, VideoReader, VideoWriter

COUNT = 12
ROOTS = ("frame_root", "rect_root", "mask_root", "back_root", "fore_root")


@pytest.fixture(scope="module", name="detector")
def fixture_detector():
    return FaceDetector(min_score=LEAST_SCORE)


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    """A clip of a person, and its negative."""
    folder = tmp_path_factory.mktemp("clips")
    frames = list(person_frames(3, COUNT, "coffee"))
    write_clip(folder / "plain.mp4", frames)
    write_clip(folder / "negative.mp4", map(cv2.bitwise_not, frames))
    return folder


def test_a_negative_is_told_from_a_picture_as_it_is(folder, detector):
    assert is_negative(folder / "negative.mp4", detector)
    assert not is_negative(folder / "plain.mp4", detector)


def test_where_there_is_no_face_nothing_is_turned_back(tmp_path, detector):
    frames = list(empty_frames("coffee", COUNT))
    for name, pictures in (("a", frames), ("b", map(cv2.bitwise_not, frames))):
        assert not is_negative(write_clip(tmp_path / f"{name}.mp4", pictures), detector)


def test_an_unreadable_file(tmp_path, detector):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="text.mp4"):
        is_negative(tmp_path / "text.mp4", detector)


def test_step_3_turns_colours_back(folder, tmp_path):
    roots = {name: tmp_path / name for name in ROOTS}
    summary = step3.main(folder, **roots)
    assert summary.done == ["negative.mp4", "plain.mp4"]
    for name, negative in (("negative", True), ("plain", False)):
        record = VideoRecord.read(roots["frame_root"] / name)
        assert record.settings["negative"] is negative
        for frame in VideoReader(folder / f"{name}.mp4", threads=1):
            shown = cv2.bitwise_not(frame.image) if negative else frame.image
            picture = read_image(roots["frame_root"] / name / frame_name(frame.index))
            assert np.array_equal(picture, shown)
    masks = [read_image(roots["mask_root"] / name / frame_name(3)) > 0
             for name in ("negative", "plain")]
    assert masks[1].any() and (masks[0] == masks[1]).mean() > 0.98
    assert step3.main(folder, **roots).skipped == ["negative.mp4", "plain.mp4"]


def test_step_3_tells_of_a_file_that_was_cut_off(folder, tmp_path):
    path = tmp_path / "fakes/cut.mp4"
    path.parent.mkdir()
    with VideoWriter(path, 25) as writer:  # its table is at the front
        for frame in person_frames(3, 40, "coffee"):
            writer.write(frame)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    roots = {name: tmp_path / name for name in ROOTS}
    assert step3.main(path, **roots).done == ["cut.mp4"]
    said = VideoRecord.read(roots["frame_root"] / "cut").settings["flaws"]
    assert said.startswith("only ") and "of about 40 frames" in said
    assert step3.main(path, **roots).skipped == ["cut.mp4"]
    step3.main(folder / "plain.mp4", **roots)
    assert VideoRecord.read(roots["frame_root"] / "plain").settings["flaws"] is None


def test_a_folder_that_does_not_tell_is_made_again(folder, tmp_path):
    roots = {name: tmp_path / name for name in ROOTS}
    step3.main(folder / "plain.mp4", **roots)
    record = VideoRecord.read(roots["mask_root"] / "plain")
    del record.settings["negative"]
    record.write(roots["mask_root"] / "plain")
    assert step3.main(folder / "plain.mp4", **roots).done == ["plain.mp4"]
