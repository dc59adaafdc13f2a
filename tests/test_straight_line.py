"""A copy is put where its pixels were taken, not where they linger, and at the rate they tell."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.pose import PoseClip
from test_matching import cut, motion
from test_picture_path import FIRST, FRAMES, START, pair_of, pictures, still_scores
from utils.held_pair import Film, HeldPair
from utils.matching import Alignment, pair_scores, prepare, sample_offsets
from utils.picture_path import PicturePair
from utils.pixel_sample import PixelSample
from utils.straight_line import certainty, likeliest_line

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


def held_of(pair: PicturePair) -> HeldPair:
    """The same pictures, all of their pixels as a sample."""
    count, fake = len(pair.fake.grey), pair.fake
    weight = fake.weight.reshape(count, -1).mean(0)
    renewed = np.ones((count, weight.size), bool) if fake.renewed is None else (
        fake.renewed.reshape(count, -1) > 0)
    side = fake.grey.shape[1]
    places = (np.stack(np.meshgrid(*[np.arange(side)] * 2), axis=2).reshape(-1, 2) + 0.5) / side
    sample = PixelSample(places, 1 / side, weight, fake.grey.reshape(count, -1), renewed,
                         fake.backwards)
    same = np.eye(2, 3)
    return HeldPair(sample, Film(pair.source, side * same), same, pair.first)


def found_near(near: Alignment, pair: PicturePair, unchanged: float = CODED[0]) -> Alignment:
    return likeliest_line(still_scores(near.at), near, (1.0,), held_of(pair), unchanged)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("off", [-2, -1, 0, 1])
def test_a_copy_that_holds_what_it_showed(seed, off):
    at = np.arange(START, START + COUNT)
    found = found_near(Alignment(0.7, at + off, 1.0), copy_of(at, seed))
    assert found.at.tolist() == at.tolist() and found.rate == 1.0 and found.score == 0.7


@pytest.mark.parametrize("seed", range(6))
def test_a_mapping_that_was_fitted_where_the_copy_is_not(seed):
    at = np.arange(START, START + COUNT)
    near = Alignment(0.7, at - 6, 1.0)
    held = held_of(copy_of(at, seed)).corrected(near.at)
    assert likeliest_line(still_scores(at), near, (1.0,), held, CODED[0]).at.tolist() == at.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_mapping_that_was_fitted_to_the_next_picture(seed):
    """Of a source that shows every picture twice, and of a head that drifts and hardly turns."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (64, 64)).astype(np.float32), (0, 0), 3)
    texture *= 40 / texture.std()
    change = rng.normal(0, 1, (FRAMES // 2, 32, 32)).astype(np.float32)
    source = np.stack([
        cv2.warpAffine(texture, np.float32([[1, 0, -16 - 0.6 * i], [0, 1, -16]]), (32, 32))
        + cv2.GaussianBlur(change[i], (0, 0), 2)
        for i in range(FRAMES // 2)]).clip(-128, 127).repeat(2, axis=0)
    source = (source + 128).astype(np.uint8)
    at = np.arange(START, START + COUNT)
    copy = (0.7 * source[at] + 20 + rng.normal(0, 20, (COUNT, 32, 32))).clip(0, 255)
    fake = PoseClip(copy.astype(np.uint8), np.ones(copy.shape, np.float32))
    near = Alignment(0.9, at + 2, 1.0)
    held = held_of(PicturePair(fake, source[FIRST:], FIRST)).corrected(near.at)
    assert likeliest_line(still_scores(at), near, (1.0,), held, 0.0).at.tolist() == at.tolist()


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


def straight(at: np.ndarray, near: np.ndarray, rate: float, noise: float = 3.0) -> Alignment:
    """Found for a copy of some frames in which nothing is held."""
    return found_near(Alignment(0.9, near, rate), pair_of(at, noise), 0.0)


@pytest.mark.parametrize("rate, taken_for", [(1.25, 1.0), (0.9, 1.0), (1.0, 1.05), (1.1, 1.2),
                                             (0.8, 0.75)])
def test_a_rate_that_motion_misjudged(rate, taken_for):
    at = START + sample_offsets(COUNT, rate, 0.5 if rate % 1 else 0.0)
    line = sample_offsets(COUNT, taken_for, 0.0)
    near = line + round((at[0] + at[-1] - line[-1]) / 2)
    assert near.tolist() != at.tolist()
    found = straight(at, near, taken_for)
    assert found.at.tolist() == at.tolist() and found.rate == rate


@pytest.mark.parametrize("off", [-5, -1, 0, 2, 5])
def test_a_line_that_starts_elsewhere(off):
    at = np.arange(START, START + COUNT)
    found = straight(at, at + off, 1.0, noise=12.0)
    assert found.at.tolist() == at.tolist() and found.rate == 1.0


def test_a_line_stays_inside_of_the_source_and_its_pictures():
    at = np.arange(FRAMES - COUNT, FRAMES)
    assert straight(at, at - 3, 1.0).at.tolist() == at.tolist()
    at = np.arange(FIRST, FIRST + COUNT)
    assert straight(at, at + 3, 1.0).at.tolist() == at.tolist()


def test_motion_decides_where_pixels_do_not():
    source, at = motion(0, FRAMES), np.arange(START, START + COUNT)
    scores = pair_scores(cut(source, START, count=COUNT), prepare(source))
    grey = np.full((COUNT, 32, 32), 128, np.uint8)
    pair = PicturePair(PoseClip(grey, np.ones(grey.shape, np.float32)),
                       np.full((FRAMES - FIRST, 32, 32), 90, np.uint8), FIRST)
    found = likeliest_line(scores, Alignment(0.9, at + 1, 1.0), (1.0,), held_of(pair), 0.0)
    assert found.at.tolist() == at.tolist() and found.rate == 1.0


@pytest.mark.parametrize("unchanged, start", [(0.0, START), (0.8, START + 1)])
def test_the_coarser_the_copy_the_less_motion_counts_at_last(unchanged, start):
    """Motion speaks for one frame, pixels for the next."""
    source, at = motion(0, FRAMES), np.arange(START, START + COUNT)
    scores = pair_scores(cut(source, START, count=COUNT), prepare(source))
    held = held_of(pair_of(at + 1, 60.0))
    found = likeliest_line(scores, Alignment(0.9, at, 1.0), (1.0,), held, unchanged)
    assert found.at.tolist() == list(range(start, start + COUNT))


@pytest.mark.parametrize("rate", [0.9, 1.1])
@pytest.mark.parametrize("seed", range(3))
def test_motion_tells_rates_apart_whose_ends_are_close(rate, seed):
    """Of a short, noisy copy, whose pixels leave it at the usual one."""
    source, at = motion(seed, FRAMES), START + sample_offsets(25, rate, 0.5)
    scores = pair_scores(cut(source, START, rate, 0.5, count=25), prepare(source))
    held = held_of(pair_of(at, 120.0))
    for near in (Alignment(0.9, at, rate), Alignment(0.9, START + np.arange(25), 1.0)):
        found = likeliest_line(scores, near, (1.0,), held, 0.4)
        assert found.at.tolist() == at.tolist() and found.rate == rate
    assert certainty(scores, found, (1.0,), held, 0.4) > 0.9


@pytest.mark.parametrize("near", [START - 1, START])
def test_a_coarse_copy_need_not_move_when_its_source_does(monkeypatch, near):
    """Its source shows every picture twice; the copy moves a frame late throughout."""
    source, at = motion(0, FRAMES), np.arange(START, START + COUNT)
    source.flow[::2] = 0
    scores = pair_scores(cut(source, START - 1, count=COUNT), prepare(source))
    pair = copy_of(at, noise=30.0)

    def found() -> list[int]:
        line = Alignment(0.7, near + np.arange(COUNT), 1.0)
        return likeliest_line(scores, line, (1.0,), held_of(pair), 0.5).at.tolist()

    assert found() == at.tolist()
    monkeypatch.setattr("utils.paths.MOST_AROUND", 0.0)
    assert found() != at.tolist()


@pytest.mark.parametrize("noise, least, most", [(6.0, 0.999, 1.0), (200.0, 0.5, 0.9),
                                                (400.0, 0.2, 0.6)])
def test_the_less_pixels_tell_the_less_certain_frames_are(noise, least, most):
    """One frame off is still right; two are not."""
    at = np.arange(START, START + COUNT)
    held = held_of(copy_of(at, noise=noise))
    found = [certainty(still_scores(at), Alignment(0.7, at + off, 1.0), (1.0,), held, CODED[0])
             for off in range(5)]
    assert least <= found[0] <= most and found == sorted(found, reverse=True)
    assert found[1] > 0.8 * found[0] and found[2] < 0.8 * found[1]


def test_a_head_at_rest_leaves_frames_to_motion():
    """Where that says nothing either, all frames near are equal."""
    source, at = motion(0, FRAMES), np.arange(START, START + COUNT)
    still = np.repeat(pictures()[:1], FRAMES - FIRST, axis=0)
    held = held_of(PicturePair(copy_of(at).fake, still, FIRST))
    assert certainty(still_scores(at), Alignment(0.7, at, 1.0), (1.0,), held, 0.8) < 0.3
    scores = pair_scores(cut(source, START, count=COUNT), prepare(source))
    assert certainty(scores, Alignment(0.7, at, 1.0), (1.0,), held, 0.0) > 0.99


def test_other_rates_make_less_certain():
    """One that is usual is believed until pixels say otherwise; jumps cannot be another rate."""
    at = START - 5 + sample_offsets(COUNT, 1.25, 0.5)
    held = held_of(copy_of(at, noise=200.0))

    def sure(line: Alignment, *usual: float) -> float:
        return certainty(still_scores(at), line, usual, held, 0.0)

    right, usual = sure(Alignment(0.7, at, 1.25), 1.0), sure(Alignment(0.7, at, 1.25), 1.0, 1.25)
    assert 0.3 < right < usual
    assert sure(Alignment(0.7, at[0] + 5 + np.arange(COUNT), 1.0), 1.0) < 0.5 * right
    jumped = at.copy()
    jumped[:3] += 1
    assert sure(Alignment(0.7, jumped, float(jumped[-1] - jumped[0]) / (COUNT - 1)), 1.0) > right


def test_nobody_leaves_frames_uncertain():
    at = np.arange(START, START + COUNT)
    pair = copy_of(at)
    empty = PicturePair(replace(pair.fake, weight=pair.fake.weight * 0), pair.source, FIRST)
    line = Alignment(0.7, at, 1.0)
    assert certainty(still_scores(at), line, (1.0,), held_of(empty), 0.0) is None
