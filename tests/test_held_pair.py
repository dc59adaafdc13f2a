"""Pixels that hold what they showed tell when a copy was taken, to the frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from clips import sample_of_frames
from models.motion import SIDE
from test_held_pixels import COUNT, FRAMES, SQUARE, START, encoded, pictures
from utils.held_pair import LEAST_PIXELS, FilmCutter, HeldPair
from utils.matching import sample_offsets
from utils.pixel_sample import PIXELS

SAME = np.eye(2, 3)  # the fake's square lies on the source's


def pair_of(copy: list[np.ndarray], source: list[np.ndarray], backwards: bool = False,
            mapping: np.ndarray = SAME) -> HeldPair:
    """copy: in the order in which it was coded."""
    sample = sample_of_frames(copy, SQUARE)
    sample = sample.reversed() if backwards else sample
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in source]
    cutter = FilmCutter(sample, mapping, SQUARE, grey[0].shape)
    film = cutter.film([cutter.cut(picture) for picture in grey])
    return HeldPair(sample, film, mapping, 0)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("crf", [23, 32, 38, 42])
def test_the_start_of_a_real_copy(tmp_path, crf, backwards):
    source, turned = pictures(), slice(None, None, -1 if backwards else 1)
    copy = encoded(source[START:START + COUNT][turned], tmp_path / "fake.mp4", crf)
    pair = pair_of(copy, source, backwards)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    found = pair.misfits(lines)
    assert int(found.argmin()) == 6


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_the_rate_of_a_real_copy(tmp_path, rate):
    source = pictures()
    at = 5 + sample_offsets(COUNT, rate, 0.0)
    copy = encoded([source[frame] for frame in at], tmp_path / "fake.mp4", 36)
    lines = [np.round((at[0] + at[-1] - line[-1]) / 2).astype(int) + line + move
             for other in (0.8, 0.9, 1.0, 1.1, 1.25) for move in (-1, 0, 1)
             for line in [sample_offsets(COUNT, other, 0.0)]]
    best = lines[int(pair_of(copy, source).misfits(np.array(lines)).argmin())]
    assert best.tolist() == at.tolist()


def lagging(frames: list[np.ndarray], share: float) -> list[np.ndarray]:
    """Every frame corrects the one before by a share of what it lacks."""
    shown = [frames[0].astype(np.float32)]
    for frame in frames[1:]:
        shown.append(shown[-1] + share * (frame - shown[-1]))
    return [np.rint(frame).astype(np.uint8) for frame in shown]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_copy_that_lags_is_not_taken_for_an_earlier_one(monkeypatch, backwards):
    source, turned = pictures(), slice(None, None, -1 if backwards else 1)
    copy = lagging(source[START:START + COUNT][turned], 0.5)
    lines = START + np.array([[0], [1 if backwards else -1]]) + np.arange(COUNT)
    exact, late = pair_of(copy, source, backwards).misfits(lines)
    monkeypatch.setattr("utils.pixel_sample.KEPT", 0.0)
    monkeypatch.setattr("utils.pixel_sample.LEFT", 0.0)
    plain_exact, plain_late = pair_of(copy, source, backwards).misfits(lines)
    assert exact < late and plain_exact > plain_late


def test_another_face_does_not_mislead(tmp_path):
    """Nor a caption: pixels that go their own way are noisy."""
    rng, source = np.random.default_rng(0), pictures()
    frames = [frame.copy() for frame in source[START:START + COUNT]]
    for index, frame in enumerate(frames):
        frame[60:110, 55:105] = rng.integers(0, 255, (50, 50, 3)) if index % 3 else 90
    pair = pair_of(encoded(frames, tmp_path / "fake.mp4", 30), source)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    assert int(pair.misfits(lines).argmin()) == 6


def test_what_shows_something_else_speaks_neither_for_nor_against(monkeypatch):
    """Two thirds of the square are a negative of the source, which nothing fits worse than the
    truth."""
    source = pictures()
    copy = [frame.copy() for frame in source[START:START + COUNT]]
    for frame in copy:
        frame[:, :104] = 255 - frame[:, :104]
    pair = pair_of(copy, source)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    assert int(pair.misfits(lines).argmin()) == 6
    monkeypatch.setattr("utils.held_pair.SHOWN", 1 - 1e-12)
    assert int(pair.misfits(lines).argmin()) != 6


def test_lines_beyond_the_pictures_are_compared_with_the_nearest_frame():
    source = pictures()
    pair = pair_of(source[:COUNT], source)
    found = pair.misfits(np.array([np.arange(COUNT), np.arange(COUNT) + FRAMES,
                                   np.arange(COUNT) - COUNT]))
    assert np.isfinite(found).all() and found.argmin() == 0


def test_the_source_is_read_where_the_fake_lies_on_it():
    """The fake shows the middle of the source, half as large, mirrored."""
    picture = pictures()[0]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(picture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)[:, ::-1]
    sample = sample_of_frames([small.copy()], (0.0, 0.0, SIDE / 2)).mirrored()
    errors = []
    for one in (sample, sample.mirrored()):
        cutter = FilmCutter(one, SAME, (0.0, 0.0, float(grey.shape[0])), grey.shape)
        film = cutter.film([cutter.cut(grey)])
        errors.append(np.abs(film.values(one.places)[0] - sample.values[0]).mean())
    assert errors[0] < 2 and errors[1] > 10


@pytest.mark.parametrize("corner", [(-30.0, -20.0), (60.0, 40.0), (500.0, 500.0)])
def test_squares_that_leave_the_picture_repeat_its_border(corner):
    picture = np.arange(80 * 120, dtype=np.uint32).reshape(80, 120) % 251
    grey = picture.astype(np.uint8)
    cutter = FilmCutter(sample_of_frames([np.zeros((100, 100, 3), np.uint8)], (0.0, 0.0, 100.0)),
                        SAME, (*corner, 90.0), grey.shape)
    film = cutter.film([cutter.cut(grey)])
    places = np.random.default_rng(0).random((200, 2))
    where = (places * 90 + corner - 0.5).astype(np.float32)[None]
    expected = cv2.remap(grey, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    assert np.abs(film.values(places)[0] - expected).max() <= 1


OFF = np.array([[1.01, 0.008, -0.012], [-0.008, 1.01, 0.009]])  # up to two pixels


def test_a_mapping_that_is_off_is_corrected():
    source, line = pictures(), np.arange(START, START + COUNT)
    copy = source[START:START + COUNT]
    exact, off = pair_of(copy, source), pair_of(copy, source, mapping=OFF)
    corrected = off.corrected(line)
    corners = np.array([(0.2, 0.2, 1), (0.8, 0.2, 1), (0.5, 0.8, 1)])
    errors = [np.abs(corners @ (pair.mapping - SAME).T).max() * SQUARE[2]
              for pair in (off, corrected)]
    assert errors[1] < 0.5 * errors[0]
    assert off.explained(line) < corrected.explained(line) <= exact.explained(line) + 0.01
    assert exact.explained(line) > 0.95 and off.explained(line + 4) < 0.5


def test_a_line_is_judged_with_the_mapping_that_fits_it():
    """What it shows of the pixels is nearly what a correction shows."""
    source, line = pictures(), np.arange(START, START + COUNT)
    pair = pair_of(source[START:START + COUNT], source, mapping=OFF)
    misfit, off = pair.fitted(line)
    assert off.shape == (2, 3) and misfit < pair.misfits(line[None])[0]
    fits = [pair.fitted(line + move)[0] for move in range(-4, 5)]
    assert int(np.argmin(fits)) == 4


def test_a_negative_of_the_source_explains_nothing():
    source, line = pictures(), np.arange(START, START + COUNT)
    pair = pair_of([255 - frame for frame in source[START:START + COUNT]], source)
    assert pair.explained(line) < 0 and pair.corrected(line).explained(line) < 0.1
    fits = [pair.fitted(line)[0], pair_of(source[START:START + COUNT], source).fitted(line)[0]]
    assert fits[0] > fits[1] + 100


def test_a_head_at_rest_tells_nothing_of_its_mapping():
    still = [pictures()[0]] * COUNT
    pair = pair_of(still, still)
    misfit, off = pair.fitted(np.arange(COUNT))
    assert np.isfinite(misfit) and np.abs(off).max() < 0.05
    assert pair.explained(np.arange(COUNT)) == pytest.approx(0, abs=1e-6)


def test_too_few_pixels_of_a_person_tell_nothing():
    source = pictures()
    pair = pair_of(source[:5], source)
    weight = np.zeros(PIXELS, np.float32)
    weight[:LEAST_PIXELS - 1] = 1
    empty = replace(pair, fake=replace(pair.fake, weight=weight))
    assert pair.tells and not empty.tells and empty.explained(np.arange(5)) is None
    assert np.array_equal(empty.corrected(np.arange(5)).mapping, SAME)
