"""A coarse copy that holds frames is put where its pictures were taken, not where they linger."""

import cv2
import numpy as np
import pytest

from models.pose import PoseClip
from test_picture_path import FIRST, FRAMES, START, pictures
from utils.held_frames import COARSE, PAIRS, caught_up, unchanged_share
from utils.matching import Alignment
from utils.picture_path import PicturePair
from utils.video import VideoReader, VideoWriter

COUNT = 40
CODED = 0.8, 0.05  # unchanged blocks of a coarse copy, and of a fine one


def held(at: np.ndarray, seed: int, share: float = 0.6) -> np.ndarray:
    """The frames that are shown when some of them are held."""
    rng, shown = np.random.default_rng(seed), at.copy()
    for i in range(1, len(shown)):
        if rng.random() < share:
            shown[i] = shown[i - 1]
    return shown


def pair_of(shown: np.ndarray, noise: float = 6.0) -> PicturePair:
    rng, source = np.random.default_rng(1), pictures()
    copy = 0.7 * source[shown] + 20 + rng.normal(0, noise, (len(shown), *source.shape[1:]))
    fake = PoseClip(copy.clip(0, 255).astype(np.uint8), np.ones(copy.shape, np.float32))
    return PicturePair(fake, source[FIRST:], FIRST)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("off", [-2, -1, 0, 1])
def test_a_copy_that_holds_frames(seed, off):
    at = np.arange(START, START + COUNT)
    found = caught_up(Alignment(0.7, at + off, 1.0), pair_of(held(at, seed)), CODED[0], FRAMES)
    assert found.at.tolist() == at.tolist() and found.rate == 1.0 and found.score == 0.7


@pytest.mark.parametrize("seed", range(3))
def test_backwards_time_is_the_fakes(seed):
    """The alignment and the pair run forwards in the source, the fake runs backwards."""
    at = np.arange(START, START + COUNT)
    shown = held(at[::-1], seed)[::-1]
    near = Alignment(0.7, at + 1, 1.0)
    assert caught_up(near, pair_of(shown), CODED[0], FRAMES, True).at.tolist() == at.tolist()


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_other_rates(rate):
    at = START - 5 + np.floor(np.arange(25) * rate).astype(int)
    found = caught_up(Alignment(0.7, at - 1, rate), pair_of(held(at, 2)), CODED[0], FRAMES)
    assert found.at.tolist() == at.tolist()


@pytest.mark.parametrize("unchanged", CODED)
def test_a_fine_copy_stays_where_it_is(unchanged):
    """Also one that is taken for coarse by mistake."""
    at = np.arange(START, START + COUNT)
    found = caught_up(Alignment(0.9, at, 1.0), pair_of(at), unchanged, FRAMES)
    assert found.at.tolist() == at.tolist()


def test_no_move_leaves_the_source():
    near = Alignment(0.7, np.arange(START, START + COUNT), 1.0)
    for frames in (START + COUNT, FRAMES):
        shown = np.minimum(near.at + 3, FRAMES - 1)
        found = caught_up(near, pair_of(shown), CODED[0], frames)
        assert found.end < frames and found.start == START + 3 * (frames == FRAMES)


def test_where_nobody_is_seen_nothing_moves():
    near = Alignment(0.7, np.arange(START, START + COUNT), 1.0)
    pair = pair_of(near.at)
    empty = PicturePair(PoseClip(pair.fake.grey, pair.fake.weight * 0), pair.source, FIRST)
    assert caught_up(near, empty, CODED[0], FRAMES) is near


@pytest.mark.parametrize("crf, coarse", [(20, False), (42, True)])
def test_coarse_files_are_known_by_their_blocks(tmp_path, crf, coarse):
    """A picture that moves slowly, as a calm head does, really encoded."""
    still = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, (160, 160, 3)), (0, 0), 3)
    still = (128 + 40 * still / still.std()).clip(0, 255).astype(np.uint8)
    with VideoWriter(tmp_path / "fake.mp4", 25, crf=crf) as writer:
        for i in range(25):
            move = np.float32([[1, 0, 0.3 * np.sin(i / 3)], [0, 1, 0.1 * i]])
            writer.write(cv2.warpAffine(still, move, (160, 160)))
    frames = [frame.image for frame in VideoReader(tmp_path / "fake.mp4", threads=1)]
    read = []

    def picture(index: int) -> np.ndarray:
        read.append(index)
        return frames[index]

    share = unchanged_share(picture, lambda index: np.full((160, 160), 255, np.uint8),
                            list(range(25)))
    assert (share >= COARSE) == coarse
    assert len(read) <= 2 * (PAIRS + 1)


def test_too_little_to_see_counts_as_fine():
    picture, nobody = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    assert unchanged_share(lambda index: picture, lambda index: nobody, [3, 4, 5]) == 0.0
    assert unchanged_share(lambda index: picture, lambda index: nobody, [3]) == 0.0
    tiny = np.zeros((5, 5, 3), np.uint8)
    assert unchanged_share(lambda index: tiny, lambda index: tiny[..., 0] + 255, [0, 1]) == 0.0
