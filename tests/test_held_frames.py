"""A coarse copy that holds pictures is put where they were taken, not where they linger."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.pose import PoseClip
from test_picture_path import FIRST, FRAMES, START, pictures, still_scores
from utils.held_frames import COARSE, PAIRS, caught_up, unchanged_share
from utils.matching import Alignment, sample_offsets
from utils.picture_path import PicturePair
from utils.video import VideoReader, VideoWriter

COUNT = 40
CODED = 0.8, 0.05  # unchanged blocks of a coarse copy, and of a fine one


def copy_of(at: np.ndarray, seed: int = 0, held: float = 0.7, noise: float = 6.0) -> PicturePair:
    """A copy whose blocks hold what they showed with this probability per frame, and its source."""
    rng, source = np.random.default_rng(seed), pictures()
    copy = 0.7 * source[at] + 20 + rng.normal(0, noise, (len(at), *source.shape[1:]))
    kept = rng.random((len(at), 4, 4)).repeat(8, axis=1).repeat(8, axis=2) < held
    kept[0] = False
    for i in range(1, len(at)):
        copy[i][kept[i]] = copy[i - 1][kept[i]]
    fake = PoseClip(copy.clip(0, 255).astype(np.uint8), np.ones(copy.shape, np.float32),
                    np.where(kept, 0, 255).astype(np.uint8))
    return PicturePair(fake, source[FIRST:], FIRST)


def found_near(near: Alignment, pair: PicturePair, unchanged: float = CODED[0]) -> Alignment:
    return caught_up(still_scores(near.at), near, (1.0,), pair, unchanged)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("off", [-2, -1, 0, 1])
def test_a_copy_that_holds_what_it_showed(seed, off):
    at = np.arange(START, START + COUNT)
    found = found_near(Alignment(0.7, at + off, 1.0), copy_of(at, seed))
    assert found.at.tolist() == at.tolist() and found.rate == 1.0 and found.score == 0.7


@pytest.mark.parametrize("seed", range(3))
def test_backwards_time_is_the_fakes(seed):
    """The alignment and the pair run forwards in the source, the fake runs backwards."""
    at = np.arange(START, START + COUNT)
    pair = copy_of(at[::-1], seed)
    copy = PicturePair(pair.fake.reversed(), pair.source, FIRST)
    found = found_near(Alignment(0.7, at + 1, 1.0), copy)
    assert found.at.tolist() == at.tolist()


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_other_rates(rate):
    at = START - 5 + sample_offsets(25, rate, 0.0)
    found = found_near(Alignment(0.7, at - 1, rate), copy_of(at, 2))
    assert found.at.tolist() == at.tolist() and found.rate == rate


@pytest.mark.parametrize("taken_for", [0.95, 1.011, 1.05])
def test_a_rate_that_held_frames_feigned(taken_for):
    at, line = np.arange(START, START + COUNT), sample_offsets(COUNT, taken_for, 0.0)
    near = Alignment(0.7, START + (COUNT - 1 - int(line[-1])) // 2 + line, taken_for)
    found = found_near(near, copy_of(at))
    assert found.at.tolist() == at.tolist() and found.rate == 1.0


@pytest.mark.parametrize("unchanged", CODED)
def test_a_fine_copy_stays_where_it_is(unchanged):
    """Also one that is taken for coarse by mistake."""
    at = np.arange(START, START + COUNT)
    found = found_near(Alignment(0.9, at, 1.0), copy_of(at, held=0.0), unchanged)
    assert found.at.tolist() == at.tolist()


@pytest.mark.parametrize("at", [np.arange(FRAMES - COUNT, FRAMES), np.arange(COUNT)])
def test_no_move_leaves_the_source(at):
    """Where pictures say that it begins before the first frame, or ends after the last."""
    further = np.clip(at + (3 if at[0] else -3), 0, FRAMES - 1)
    found = found_near(Alignment(0.7, at, 1.0), PicturePair(copy_of(further).fake, pictures(), 0))
    assert found.start >= 0 and found.end < FRAMES


def test_where_nobody_is_seen_nothing_moves():
    near = Alignment(0.7, np.arange(START, START + COUNT), 1.0)
    pair = copy_of(near.at)
    empty = PicturePair(replace(pair.fake, weight=pair.fake.weight * 0), pair.source, FIRST)
    assert found_near(near, empty) is near


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
