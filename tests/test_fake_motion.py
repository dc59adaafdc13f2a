"""The person of a fake, and of a window in it, measured on pictures by the real networks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from clips import renewed_of, sample_of_frames
from models.flow import DisFlow
from models.motion import MotionGrid
from models.segmenter import make_segmenter, person_mask
from utils import fake_motion
from utils.confirm import open_fake
from utils.fake_motion import (FakeRoots, measure_fake, measure_window, nearest_found,
                               where_found)
from utils.files import InputError, write_image, write_json
from utils.geometry import largest_rectangle
from utils.layout import RECTANGLES_NAME, VideoRecord, frame_name
from utils.matching import grid_score

COUNT, SIDE = 14, 240
WINDOW = (300.0, 90.0, float(SIDE))


def portraits(seed: int) -> list[np.ndarray]:
    """A photographed person who nods and sways, [SIDE, SIDE, 3] BGR."""
    picture = np.ascontiguousarray(data.astronaut()[:400, 30:430, ::-1])
    steps = np.random.default_rng(seed).normal(0, 4, (COUNT, 2)).cumsum(axis=0)
    moved = [cv2.warpAffine(picture, np.array([[1, 0, x], [0, 1, y]], float), (400, 400),
                            borderMode=cv2.BORDER_REPLICATE) for x, y in steps]
    return [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in moved]


def write_fake(root: Path, frames: list[np.ndarray]) -> tuple[FakeRoots, VideoRecord]:
    """Folders as step 3 writes them."""
    roots, segmenter = FakeRoots(root / "frames", root / "masks", root / "rect"), make_segmenter()
    rectangles = {}
    for folder in (roots.frames, roots.masks, roots.rectangles):
        (folder / "fake").mkdir(parents=True)
    for index, frame in enumerate(frames):
        mask = person_mask(segmenter.probability(frame))
        write_image(roots.frames / "fake" / frame_name(index), frame)
        write_image(roots.masks / "fake" / frame_name(index), mask)
        rectangles[str(index)] = largest_rectangle(mask)
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME, rectangles)
    height, width = frames[0].shape[:2]
    return roots, VideoRecord("fake.mp4", 1, "0" * 64, 25.0, COUNT, width, height,
                              list(range(COUNT)), {})


def in_a_picture(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The frames as a window on a photograph without anybody."""
    backdrop = cv2.resize(data.coffee()[..., ::-1], (640, 480))
    x, y, side = (int(value) for value in WINDOW)
    shown = []
    for frame in frames:
        canvas = backdrop.copy()
        canvas[y:y + side, x:x + side] = frame
        shown.append(canvas)
    return shown


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> MotionGrid:
    """The motion in the whole of the frames that the window shows."""
    roots, record = write_fake(tmp_path_factory.mktemp("plain"), portraits(1))
    whole = (0.0, 0.0, float(SIDE))
    return measure_window(roots, "fake", record, whole, DisFlow(), make_segmenter()).grid.pooled()


def test_a_window_is_measured_as_if_it_were_the_whole_frame(tmp_path, plain):
    roots, record = write_fake(tmp_path, in_a_picture(portraits(1)))
    fake = measure_window(roots, "fake", record, WINDOW, DisFlow(), make_segmenter())
    assert fake.square == WINDOW and len(fake.grid) == COUNT - 1
    assert fake.poses.grey.shape[0] == fake.poses.weight.shape[0] == COUNT
    assert 0.2 < fake.grid.weight.mean() < 0.95  # the person was found in the window
    assert grid_score(fake.grid.pooled(), plain) > 0.9


@pytest.mark.parametrize("measure", ["whole", "window"])
def test_what_is_held_across_chunks(tmp_path, monkeypatch, measure):
    frames = portraits(1)
    frames[5] = frames[4].copy()
    frames[6] = frames[5].copy()
    frames[6][:SIDE // 2] += 1
    roots, record = write_fake(tmp_path, frames)
    monkeypatch.setattr(fake_motion, "CHUNK", 3)
    fake = (measure_fake(roots, "fake", record, DisFlow()) if measure == "whole" else
            measure_window(roots, "fake", record, (0.0, 0.0, float(SIDE)), DisFlow(),
                           make_segmenter()))
    assert np.array_equal(fake.poses.renewed, renewed_of(frames, fake.square))
    assert (fake.poses.renewed[0] == 255).all() and not fake.poses.renewed[5].any()
    assert 0 < fake.poses.renewed[6].mean() < 200 < fake.poses.renewed[7].mean()
    expected = sample_of_frames(frames, fake.square)
    assert np.array_equal(fake.pixels.renewed, expected.renewed)
    assert np.array_equal(fake.pixels.values, expected.values)
    assert fake.pixels.weight.max() <= 1 and 0.2 < fake.pixels.weight.mean() < 0.95


def test_another_movement_is_another(tmp_path, plain):
    roots, record = write_fake(tmp_path, in_a_picture(portraits(2)))
    other = measure_window(roots, "fake", record, WINDOW, DisFlow(), make_segmenter())
    assert grid_score(other.grid.pooled(), plain) < 0.5


def test_the_largest_person_by_the_masks_of_step_3(tmp_path, plain):
    roots, record = write_fake(tmp_path, portraits(1))
    fake = measure_fake(roots, "fake", record, DisFlow())
    assert fake is not None and fake.grid.weight.mean() > 0.2
    (roots.masks / "fake" / frame_name(3)).write_bytes(b"no picture")
    with pytest.raises(InputError, match=frame_name(3)):
        measure_fake(roots, "fake", record, DisFlow())


def test_nobody_or_one_frame_is_no_motion(tmp_path):
    roots, record = write_fake(tmp_path, portraits(1))
    one = VideoRecord(**{**record.__dict__, "frames": [0]})
    assert measure_fake(roots, "fake", one, DisFlow()) is None
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME, {str(i): None for i in range(COUNT)})
    assert measure_fake(roots, "fake", record, DisFlow()) is None


def test_where_nobody_is_found_the_whole_picture_is_the_person(tmp_path, plain):
    roots, record = write_fake(tmp_path, portraits(1))
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME, {str(i): None for i in range(COUNT)})
    fake = measure_fake(roots, "fake", record, DisFlow(), whole=True)
    assert fake is not None and fake.grid.weight.mean() > 0.85
    assert fake.square[2] == pytest.approx(1.05 * SIDE)
    seen = fake.grid.pooled()
    assert seen.weight[:, 2:-2, 2:-2].min() > 0.99 and plain.weight.mean() < 0.8
    person = MotionGrid(seen.flow, seen.weight * (plain.weight > 0.5))
    assert grid_score(person, plain) > 0.8


@pytest.mark.parametrize("found, expected", [
    ("0110010", [1, 1, 2, 2, 5, 5, 5]), ("111", [0, 1, 2]), ("000", [0, 1, 2]),
    ("1" + "0" * 30, [0] * 13 + list(range(13, 31))), ("0" * 14 + "1", [0, 1, *[14] * 13])])
def test_the_nearest_frame_with_the_person(found, expected):
    assert nearest_found(np.array([sign == "1" for sign in found])).tolist() == expected


def test_specks_are_no_person():
    boxes = [[0, 0, 50, 80], None, [3, 3, 20, 20], [0, 0, 40, 60], [0, 0, 55, 80]]
    assert where_found(boxes).tolist() == [True, False, False, True, True]
    assert not where_found([None, None]).any()


def test_a_mask_that_flickers_is_taken_from_frames_nearby(tmp_path):
    """As where a face was made unrecognisable, and is found in some frames all the same."""
    roots, record = write_fake(tmp_path, portraits(1))
    steady = measure_fake(roots, "fake", record, DisFlow())
    boxes = roots.boxes("fake")
    for index in (0, 3, 4, 8, 13):
        mask = roots.mask("fake", index)
        write_image(roots.masks / "fake" / frame_name(index), np.zeros_like(mask))
        boxes[str(index)] = None
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME, boxes)
    for whole in (False, True):
        fake = measure_fake(roots, "fake", record, DisFlow(), whole)
        assert np.allclose(fake.square, steady.square, atol=3)
        assert np.abs(fake.grid.weight - steady.grid.weight).mean() < 0.03
    for index in (1, 2, 6, 7, 9):
        boxes[str(index)] = None
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME, boxes)
    assert measure_fake(roots, "fake", record, DisFlow(), True).grid.weight.mean() > 0.85


def test_a_window_without_a_person_found_in_it_is_all_person(tmp_path):
    roots, record = write_fake(tmp_path, in_a_picture([data.coffee()[:SIDE, :SIDE]] * COUNT))
    fake = measure_window(roots, "fake", record, WINDOW, DisFlow(), make_segmenter())
    assert fake.grid.weight.min() > 0.99


@pytest.mark.parametrize("share, first", [(0.01, 0), (0.05, 11)])
def test_what_is_too_small_for_a_person_cuts_no_frames_off(tmp_path, share, first):
    roots, record = write_fake(tmp_path, portraits(1))
    side = round(SIDE * share**0.5)
    write_json(roots.rectangles / "fake" / RECTANGLES_NAME,
               {str(i): [9, 9, side, side] if i > 10 else None for i in range(COUNT)})
    fake = open_fake(roots, "fake", record, DisFlow(), make_segmenter())
    assert fake.frames == list(range(first, COUNT)) and fake.person_found
