"""Courses of grey values tell the same frames from others."""

import cv2
import numpy as np
import pytest

from models.pose import CELLS, SIDE, PoseClip, hold, pose_score, small_grey, small_weight

FRAMES, START, COUNT = 80, 31, 25


def swaying(seed: int, frames: int = FRAMES, side: int = SIDE) -> np.ndarray:
    """A textured disc that sways before a wall, [T, side, side] uint8."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (side, side)).astype(np.float32), (0, 0), 4)
    texture = 128 + 4 * (texture - texture.mean())
    path = np.cumsum(rng.normal(0, 0.8, (frames, 2)), axis=0)
    path -= path.mean(axis=0)
    moves = [np.array([[1, 0, x], [0, 1, y]]) for x, y in path]
    clip = [cv2.warpAffine(texture, move, (side, side), borderMode=cv2.BORDER_REFLECT)
            for move in moves]
    return np.clip(clip, 0, 255).astype(np.uint8)


def clip_of(grey: np.ndarray) -> PoseClip:
    weight = np.zeros(grey.shape, np.float32)
    weight[:, 10:-10, 10:-10] = 1
    return PoseClip(grey, weight)


def scores(fake: PoseClip, source: np.ndarray) -> np.ndarray:
    """Score of every start."""
    count = len(fake.grey)
    return np.array([pose_score(fake, source[start:start + count])
                     for start in range(len(source) - count + 1)])


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return swaying(0)


@pytest.fixture(scope="module")
def small(source) -> np.ndarray:
    return np.stack([cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
                     for grey in source])


def test_the_true_start_is_the_best_whatever_brightness_and_noise(source, small):
    noise = np.random.default_rng(3).normal(0, 6, source[START:START + COUNT].shape)
    changed = np.clip(0.7 * source[START:START + COUNT] + 30 + noise, 0, 255).astype(np.uint8)
    found = scores(clip_of(changed).mapped(), small)
    assert found.argmax() == START and found.max() > 0.8
    assert np.delete(found, range(START - 5, START + 6)).max() < found.max() - 0.1


def test_strangers_score_low(small):
    other = clip_of(swaying(7)[:COUNT]).mapped()
    assert scores(other, small).max() < 0.6


def test_a_mapping_is_undone(source, small):
    mapping = np.array([[1.25, 0, -0.1], [0, 1.25, -0.15]])  # fake's square -> source's
    inverse = cv2.invertAffineTransform(np.column_stack([mapping[:, :2], mapping[:, 2] * SIDE]))
    cropped = np.stack([cv2.warpAffine(grey, inverse, (SIDE, SIDE))
                        for grey in source[START:START + COUNT]])
    part = small[START:START + COUNT]
    assert pose_score(clip_of(cropped).mapped(mapping), part) > 0.9
    assert pose_score(clip_of(cropped).mapped(), part) < 0.8


def test_mirror_and_time(source, small):
    clip = clip_of(source[START:START + COUNT])
    part = small[START:START + COUNT]
    assert pose_score(clip.mirrored().mapped(), part[:, :, ::-1]) > 0.95
    assert pose_score(clip.reversed().mapped(), part[::-1]) > 0.95
    assert pose_score(clip.mapped().part(5, 14), part[5:15]) > 0.95
    assert len(clip.part(5, 14).grey) == 10


def test_nothing_moves_or_nobody_is_there(small):
    still = np.repeat(swaying(0, 1), COUNT, axis=0)
    assert pose_score(clip_of(still).mapped(), small[:COUNT]) == pytest.approx(0, abs=1e-6)
    nobody = PoseClip(swaying(0)[:COUNT], np.zeros((COUNT, SIDE, SIDE), np.float32))
    assert pose_score(nobody.mapped(), small[:COUNT]) == pytest.approx(0, abs=1e-6)


def test_small_pictures():
    crops = np.random.default_rng(0).integers(0, 255, (3, 192, 192, 3), np.uint8)
    assert small_grey(crops, CELLS).shape == (3, CELLS, CELLS)
    assert small_grey(crops, CELLS).dtype == np.uint8
    assert small_weight(np.ones((2, 192, 192), np.float32), SIDE).min() == 1


def test_what_is_held_by_hand():
    values = np.array([[1.0, 1], [3, 3], [5, 5]], np.float32)
    renewed = np.array([[1.0, 1], [0, 0.5], [1, 0]], np.float32)
    assert hold(values, renewed).tolist() == [[1, 1], [1, 2], [5, 2]]
    renewed = np.array([[0.5, 1], [0, 0.5], [0, 0]], np.float32)
    assert hold(values, renewed, backwards=True).tolist() == [[3, 1], [5, 4], [5, 5]]
    assert values.tolist() == [[1, 1], [3, 3], [5, 5]]  # left as they were


def test_a_clip_that_holds_pixels_fits_what_it_would_show():
    source = swaying(0)[:COUNT, :CELLS, :CELLS]
    renewed = np.where(np.random.default_rng(0).random(source.shape) < 0.1, 255, 0).astype(np.uint8)
    weight = np.ones(source.shape, np.float32)
    shown = hold(source.astype(np.float32), renewed / np.float32(255)).astype(np.uint8)
    held = PoseClip(shown, weight, renewed)
    assert pose_score(held, source) > 0.99 > 0.9 > pose_score(PoseClip(shown, weight), source)
    np.testing.assert_allclose(held.reversed().shown(source[::-1]), held.shown(source)[::-1])
    np.testing.assert_allclose(held.mirrored().shown(source[:, :, ::-1]),
                               held.shown(source)[:, :, ::-1])
    assert held.part(3, 9).renewed.shape[0] == 7 and held.mapped(None, 8).renewed.shape[1:] == (8, 8)
