"""What a coarse copy would show is made of its source and of the pixels that were coded anew."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from clips import renewed_of, sample_of_frames, write_clip
from models.pose import SIDE, PoseClip
from utils import held_pixels
from utils.held_pixels import (COARSE, HELD, PAIRS, found_by_pictures, likely_starts, misfits,
                               moving_part, unchanged_share)
from utils.matching import Alignment
from utils.picture_path import PicturePair
from utils.pixel_sample import PixelSample
from utils.video import VideoReader, VideoWriter

SIZE, FRAMES, START, COUNT = 160, 60, 12, 30  # pixels of a picture; of the source, of the fake
SQUARE = (16.0, 16.0, 128.0)
CELLS = 64


def pictures() -> list[np.ndarray]:
    """A head that sways a little before a wall."""
    rng = np.random.default_rng(4)
    wall, head = (cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE, 3)), (0, 0), 3) for _ in range(2))
    wall, head = ((128 + 40 * part / part.std()).clip(0, 255).astype(np.uint8)
                  for part in (wall, head))
    oval = cv2.ellipse(np.zeros((SIZE, SIZE), np.uint8), (80, 85), (40, 55), 0, 0, 360, 255, -1)
    steps = cv2.GaussianBlur(rng.normal(0, 1.2, (FRAMES, 2)), (1, 9), 0, sigmaY=2)
    frames = []
    for x, y in np.cumsum(steps, axis=0):
        move = np.float32([[1, 0, x], [0, 1, y]])
        alpha = cv2.warpAffine(oval, move, (SIZE, SIZE))[..., None] / 255
        moved = cv2.warpAffine(head, move, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
        frames.append((wall + alpha * (moved.astype(float) - wall)).astype(np.uint8))
    return frames


def grey_square(frames: list[np.ndarray]) -> np.ndarray:
    x, y, side = (round(value) for value in SQUARE)
    return np.stack([cv2.resize(cv2.cvtColor(frame[y:y + side, x:x + side], cv2.COLOR_BGR2GRAY),
                                (CELLS, CELLS), interpolation=cv2.INTER_AREA) for frame in frames])


def encoded(frames: list[np.ndarray], path, crf: int) -> list[np.ndarray]:
    with VideoWriter(path, 25, crf=crf) as writer:
        for frame in frames:
            writer.write(frame)
    return [frame.image for frame in VideoReader(path, threads=1)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("crf", [32, 38, 42])
def test_the_start_of_a_real_coarse_copy(tmp_path, crf, backwards):
    source, turned = pictures(), slice(None, None, -1 if backwards else 1)
    copy = encoded(source[START:START + COUNT][turned], tmp_path / "fake.mp4", crf)
    shares = renewed_of(copy, SQUARE)
    assert shares.shape == (COUNT, SIDE, SIDE) and (shares[0] == 255).all()
    assert 0.02 < shares[1:].mean() / 255 < 0.9
    grey = grey_square(copy[turned])
    renewed = np.stack([cv2.resize(share, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
                        for share in shares])[turned]
    pair = PicturePair(PoseClip(grey, np.ones(grey.shape, np.float32), renewed, backwards),
                       grey_square(source), 0)
    lines = np.arange(START - 6, START + 7)[:, None] + np.arange(COUNT)
    found = misfits(pair, lines)
    assert int(found.argmin()) == 6
    plain = PicturePair(replace(pair.fake, renewed=None), pair.source, 0)
    assert crf < 38 or found[6] < misfits(plain, lines[6:7])[0]  # what is held explains the copy
    # better than each frame's own picture does
    far = Alignment(0.1, lines[6] + 15, 1.0)
    assert found_by_pictures(far, pair, (1.0,)).at.tolist() == lines[6].tolist()
    with pytest.MonkeyPatch.context() as patch:  # as in a long source
        patch.setattr(held_pixels, "TRIED", 1)
        patch.setattr(held_pixels, "FEWEST", 8)
        assert len(likely_starts(pair, np.arange(COUNT))) == 8 < FRAMES - COUNT
        assert found_by_pictures(far, pair, (1.0,)).at.tolist() == lines[6].tolist()


def test_what_changes_is_found_where_it_changes():
    still = np.zeros((50, 80, 3), np.uint8)
    other = still.copy()
    other[10:20, 60:70, 1] = 1  # one level of one colour
    shares = renewed_of([still, still, other, other], (32.0, 0.0, 48.0))
    assert [int(share.min()) for share in shares] == [255, 0, 0, 0] and not shares[[1, 3]].any()
    rows, columns = np.nonzero(shares[2] > 127)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 39, 56, 75)


def test_frames_of_another_size_are_new():
    frames = [np.zeros((20, side, 3), np.uint8) for side in (20, 20, 30)]
    shares = renewed_of(frames, (0.0, 0.0, 20.0))
    assert [int(share.min()) for share in shares] == [255, 0, 255]


def test_the_likeliest_starts_at_another_rate():
    rng = np.random.default_rng(1)
    source = rng.integers(0, 255, (3000, 16, 16), np.uint8)
    line = np.round(1.5 * np.arange(20)).astype(int)
    grey = (0.7 * source[1234 + line] + rng.normal(20, 5, (20, 16, 16))).astype(np.uint8)
    pair = PicturePair(PoseClip(grey, np.ones(grey.shape, np.float32)), source, 0)
    starts = likely_starts(pair, line)
    assert starts[0] == 1234 and len(starts) == len(set(starts)) == held_pixels.TRIED // 20
    assert likely_starts(replace(pair, source=source[:1000]), line).tolist() == list(
        range(1000 - line[-1]))
    assert not len(likely_starts(replace(pair, source=source[:20]), line))


def test_a_place_that_pictures_tell_nothing_of_stays():
    rng = np.random.default_rng(0)
    near = Alignment(0.3, np.arange(10, 30), 1.0)
    source = rng.integers(0, 255, (60, 32, 32), np.uint8)
    for weight in (0, 1):  # nobody is seen; nothing fits better than anything else
        fake = PoseClip(rng.integers(0, 255, (20, 32, 32), np.uint8),
                        np.full((20, 32, 32), weight, np.float32))
        assert found_by_pictures(near, PicturePair(fake, source, 0), (1.0, 1.2)) is near


def test_a_source_that_is_too_short_for_a_rate():
    source = np.random.default_rng(0).integers(0, 255, (20, 32, 32), np.uint8)
    fake = PoseClip(source, np.ones(source.shape, np.float32))
    near = Alignment(0.3, np.arange(20), 1.0)
    assert found_by_pictures(near, PicturePair(fake, source, 0), (2.0,)) is near


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


def sample_of(frames: list[np.ndarray], path, crf: int) -> PixelSample:
    """As decoded, by x264 as it is; VideoWriter's goes on coding a picture that is held."""
    copy = write_clip(path, frames, crf=str(crf))
    return sample_of_frames([frame.image for frame in VideoReader(copy, threads=1)], SQUARE)


@pytest.mark.parametrize("crf, late", [(20, 0), (24, 0), (28, 3)])
@pytest.mark.parametrize("before, after", [(0, 16), (14, 0), (12, 16), (0, 0), (3, 4)])
def test_pictures_held_at_the_ends_are_known(tmp_path, before, after, crf, late):
    shown = pictures()[START:START + COUNT]
    shown = [shown[0]] * before + shown + [shown[-1]] * after
    sample = sample_of(shown, tmp_path / "fake.mp4", crf)
    assert moving_part(sample, 20) == (0, len(shown) - 1)
    first, last = moving_part(sample, HELD)
    assert first == (before if before >= HELD else 0)
    if after >= HELD:  # at first a coarse copy mends the picture that is held
        assert 0 <= last - (before + COUNT - 1) <= late
    else:
        assert last == len(shown) - 1


@pytest.mark.parametrize("crf", [24, 42])
def test_a_fake_that_stands_still_at_times_is_compared_as_a_whole(tmp_path, crf):
    shown = pictures()[START:START + COUNT]
    shown = shown[:10] + [shown[10]] * 9 + shown[10:] + [shown[-1]] * 9
    sample = sample_of(shown, tmp_path / "fake.mp4", crf)
    assert moving_part(sample, HELD) == (0, len(shown) - 1)
    nobody = replace(sample, weight=np.zeros_like(sample.weight))
    assert moving_part(nobody, HELD) == (0, len(shown) - 1)
