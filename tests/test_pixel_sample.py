"""Pixels that hold what they showed tell when a copy was taken, to the frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from clips import sample_of_frames
from models.motion import SIDE
from test_held_pixels import COUNT, FRAMES, SQUARE, START, encoded, pictures
from utils.matching import sample_offsets
from utils.pixel_sample import (LEAST_PIXELS, PIXELS, HeldPair, sampled_renewed, sampled_values,
                                sampled_weight, source_sampler)

SAME = np.eye(2, 3)  # the fake's square lies on the source's


def pair_of(copy: list[np.ndarray], source: list[np.ndarray], backwards: bool = False) -> HeldPair:
    """copy: in the order in which it was coded."""
    sample = sample_of_frames(copy, SQUARE)
    sample = sample.reversed() if backwards else sample
    read = source_sampler(sample, SAME, SQUARE)
    grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in source]
    return HeldPair(sample, np.stack([read(picture) for picture in grey]), 0)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("crf", [23, 32, 38, 42])
def test_the_start_of_a_real_copy(tmp_path, crf, backwards):
    source, turned = pictures(), slice(None, None, -1 if backwards else 1)
    copy = encoded(source[START:START + COUNT][turned], tmp_path / "fake.mp4", crf)
    pair = pair_of(copy, source, backwards)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    found = pair.misfits(lines)
    assert abs(int(found.argmin()) - 6) <= (crf > 40)  # the coarsest copies lag a little even so


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


def test_another_face_does_not_mislead(tmp_path):
    """Nor a caption: pixels that go their own way are noisy."""
    rng, source = np.random.default_rng(0), pictures()
    frames = [frame.copy() for frame in source[START:START + COUNT]]
    for index, frame in enumerate(frames):
        frame[60:110, 55:105] = rng.integers(0, 255, (50, 50, 3)) if index % 3 else 90
    pair = pair_of(encoded(frames, tmp_path / "fake.mp4", 30), source)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    assert int(pair.misfits(lines).argmin()) == 6


def test_lines_beyond_the_pictures_are_compared_with_the_nearest_frame():
    source = pictures()
    pair = pair_of(source[:COUNT], source)
    found = pair.misfits(np.array([np.arange(COUNT), np.arange(COUNT) + FRAMES,
                                   np.arange(COUNT) - COUNT]))
    assert np.isfinite(found).all() and found.argmin() == 0


def test_what_is_renewed_is_known_per_pixel():
    changed = np.zeros((100, 150), np.uint8)
    changed[:, 75:] = 255
    square = (50.0, 25.0, 50.0)
    renewed = sampled_renewed(changed, square)
    sample = replace(sample_of_frames([np.zeros((100, 150, 3), np.uint8)], square), backwards=True)
    assert renewed.shape == (PIXELS,) and (renewed == (sample.places[:, 0] > 0.5)).mean() > 0.98
    beyond = sampled_renewed(changed, (140.0, 80.0, 60.0))
    assert beyond.all()  # the border goes on
    mirrored = sample.mirrored()
    assert np.allclose(mirrored.places[:, 0], 1 - sample.places[:, 0])
    assert np.array_equal(mirrored.places[:, 1], sample.places[:, 1]) and mirrored.backwards


def test_parts_and_reversed_samples():
    source = pictures()
    sample = sample_of_frames(source[:10], SQUARE)
    assert sample.renewed[0].all()
    part = sample.part(2, 5)
    assert np.array_equal(part.values, sample.values[2:6]) and len(part.renewed) == 4
    turned = sample.reversed()
    assert turned.backwards and np.array_equal(turned.values[0], sample.values[-1])
    assert not turned.reversed().backwards


def test_the_source_is_read_where_the_fake_lies_on_it():
    """The fake shows the middle of the source, half as large, mirrored."""
    picture = pictures()[0]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(picture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)[:, ::-1]
    sample = sample_of_frames([small.copy()], (0.0, 0.0, SIDE / 2)).mirrored()
    read, unturned = (source_sampler(one, SAME, (0.0, 0.0, float(grey.shape[0])))(grey)
                      for one in (sample, sample.mirrored()))
    errors = [np.abs(values.astype(float) - sample.values[0]).mean() for values in (read, unturned)]
    assert errors[0] < 2 and errors[1] > 10


def test_too_few_pixels_of_a_person_tell_nothing():
    source = pictures()
    pair = pair_of(source[:5], source)
    weight = np.zeros(PIXELS, np.float32)
    weight[:LEAST_PIXELS - 1] = 1
    assert pair.tells and not replace(pair, fake=replace(pair.fake, weight=weight)).tells


def test_weights_and_values_are_those_of_the_square():
    masks = np.zeros((2, SIDE, SIDE), np.float32)
    masks[0] = 1
    assert np.allclose(sampled_weight(masks), 0.5)
    crop = np.full((SIDE, SIDE, 3), 7, np.uint8)
    assert (sampled_values(crop) == 7).all()
