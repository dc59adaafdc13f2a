"""Pictures tell which source frame each frame of a fake shows."""

import cv2
import numpy as np
import pytest

from models.motion import MotionGrid
from models.pose import PoseClip
from test_matching import along, cut, motion
from utils.matching import Alignment, PairScores, pair_scores, prepare, sample_offsets
from utils.picture_path import PicturePair, follow_pictures, or_dropped, picture_costs

SIDE, FRAMES, START, COUNT = 32, 90, 30, 40
FIRST = 20  # source frame that the pictures begin with


def pictures(seed: int = 0) -> np.ndarray:
    """A head that sways, [FRAMES, SIDE, SIDE] uint8."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (3 * SIDE, 3 * SIDE)).astype(np.float32), (0, 0), 3)
    texture = 128 + 60 * texture / texture.std()
    steps = cv2.GaussianBlur(rng.normal(0, 3, (FRAMES, 2)), (1, 9), 0, sigmaY=2)
    x, y = (SIDE + np.cumsum(steps, axis=0)).T
    return np.stack([cv2.warpAffine(texture, np.float32([[1, 0, -dx], [0, 1, -dy]]), (SIDE, SIDE))
                     for dx, dy in zip(x, y)]).clip(0, 255).astype(np.uint8)


def pair_of(at: np.ndarray, noise: float = 3.0) -> PicturePair:
    """A copy of these frames, darker, with another face and noise, beside the source's frames."""
    rng, source = np.random.default_rng(1), pictures()
    shown = source[at].astype(np.float32)
    shown = 0.7 * shown + 20 + rng.normal(0, noise, shown.shape)
    shown[:, 8:16, 12:20] += 40  # the face that was put in
    fake = PoseClip(shown.clip(0, 255).astype(np.uint8), np.ones(shown.shape, np.float32))
    return PicturePair(fake, source[FIRST:], FIRST)


def still(grid: MotionGrid) -> MotionGrid:
    """Motion that tells nothing."""
    return MotionGrid(grid.flow * 0 + 0.01, grid.weight)


def still_scores(at: np.ndarray) -> PairScores:
    """Of a fake of these frames whose motion tells nothing."""
    source = still(motion(0, FRAMES))
    return pair_scores(along(source, at), prepare(source))


def follow(at: np.ndarray, near: np.ndarray, pair: PicturePair, rate: float = 1.0) -> np.ndarray:
    return follow_pictures(still_scores(at), Alignment(0.9, near, rate), (1.0,), pair).at


def test_costs_are_least_where_the_frames_are():
    at = np.arange(START, START + COUNT)
    costs = picture_costs(pair_of(at), at - FIRST)
    assert costs.shape == (COUNT, FRAMES - FIRST)
    assert (costs.argmin(1) + FIRST == at).all()


@pytest.mark.parametrize("off", [-2, -1, 1, 2])
def test_a_start_that_motion_missed(off):
    at = np.arange(START, START + COUNT)
    assert follow(at, at + off, pair_of(at)).tolist() == at.tolist()


def test_frames_dropped_near_the_ends():
    at = np.delete(np.arange(START, START + 48), [2, 15, 24, 33, 44])
    line = np.arange(at[0] + 1, at[0] + 1 + len(at))  # right in one part only
    assert follow(at, line, pair_of(at)).tolist() == at.tolist()


def test_noise_makes_no_jumps():
    at = np.arange(START, START + COUNT)
    assert follow(at, at, pair_of(at, noise=25.0)).tolist() == at.tolist()


def test_a_rate_and_its_phase():
    at = START + sample_offsets(COUNT, 1.25, 0.75)
    near = START + sample_offsets(COUNT, 1.25, 0.0)
    found = follow(at, near, pair_of(at), 1.25)
    assert np.abs(found - at).max() <= 1 and found[0] == START


def test_where_no_person_is_seen_motion_keeps_its_word():
    at = np.arange(START, START + COUNT)
    pair = pair_of(at)
    pair = PicturePair(PoseClip(pair.fake.grey, pair.fake.weight * 0), pair.source, FIRST)
    assert picture_costs(pair, at - FIRST) is None
    assert follow(at, at + 2, pair).tolist() == (at + 2).tolist()


def test_motion_decides_where_pictures_do_not():
    source = motion(0, FRAMES)
    at = np.arange(START, START + COUNT)
    scores = pair_scores(cut(source, START, count=COUNT), prepare(source))
    grey = np.full((COUNT, SIDE, SIDE), 128, np.uint8)
    pair = PicturePair(PoseClip(grey, np.ones(grey.shape, np.float32)),
                       np.full((FRAMES - FIRST, SIDE, SIDE), 90, np.uint8), FIRST)
    found = follow_pictures(scores, Alignment(0.9, at + 1, 1.0), (1.0,), pair)
    assert found.at.tolist() == at.tolist() and found.rate == 1.0


@pytest.mark.parametrize("gone", [[11, 22, 34], [20, 21], []])
def test_dropped_frames_that_look_like_another_rate(gone):
    at = np.delete(np.arange(START, START + COUNT + len(gone)), gone)
    rate = 1.0 + max(len(gone), 2) / COUNT
    line = START + sample_offsets(COUNT, rate, 0.5)
    straight = Alignment(0.9, line, rate, 0.5)
    found = or_dropped(still_scores(at), straight, straight, (1.0,), pair_of(at))
    assert found.at.tolist() == (at if gone else line).tolist()


def test_another_rate_does_not_look_like_dropped_frames():
    at = START + sample_offsets(COUNT, 1.25, 0.5)
    line = Alignment(0.9, at, 1.25, 0.5)
    assert or_dropped(still_scores(at), line, line, (1.0,), pair_of(at)) is line
