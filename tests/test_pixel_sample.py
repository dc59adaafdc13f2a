"""Single pixels of a person square, as they were decoded."""

from dataclasses import replace

import numpy as np

from clips import sample_of_frames
from models.motion import SIDE
from test_held_pixels import SQUARE, pictures
from utils.pixel_sample import PIXELS, sampled_renewed, sampled_values, sampled_weight


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


def test_weights_and_values_are_those_of_the_square():
    masks = np.zeros((2, SIDE, SIDE), np.float32)
    masks[0] = 1
    assert np.allclose(sampled_weight(masks), 0.5)
    crop = np.full((SIDE, SIDE, 3), 7, np.uint8)
    assert (sampled_values(crop) == 7).all()
