"""Frames are missed where neither motion nor small pictures do, and only where some are missing."""

from collections.abc import Callable

import numpy as np
import pytest

from test_matching import along, motion
from test_picture_path import FIRST, FRAMES, START, pictures, still_scores
from test_straight_line import CODED, copy_of, held_of
from utils import jumps
from utils.held_pair import HeldPair
from utils.jumps import improved, or_rate
from utils.matching import Alignment, PairScores, pair_scores, prepare, sample_offsets
from utils.paths import runs_evenly
from utils.speed_ramp import or_bent

COUNT = 24


def straight(first: int, rate: float = 1.0, score: float = 0.9) -> Alignment:
    return Alignment(score, first + sample_offsets(COUNT, rate, 0.0), rate)


def improve(at: np.ndarray, near: Alignment, scores: PairScores | None = None, held: float = 0.0,
            noise: float = 6.0, usual: tuple[float, ...] = (1.0,), seed: int = 0) -> Alignment:
    """What becomes of an alignment of a copy of these frames."""
    pair = held_of(copy_of(at, seed, held, noise)).corrected(near.at)
    return improved(scores or still_scores(near.at), near, usual, pair, CODED[1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gone", [[1], [1, 2], [1, 3], [2, 3], [22], [22, 23], [1, 22]])
def test_frames_dropped_next_to_an_end(gone, seed):
    at = np.delete(np.arange(START, START + COUNT + len(gone)), gone)
    near = straight(at[0] + sum(place < COUNT / 2 for place in gone))  # what the rest looks like
    found = improve(at, near, noise=2.0, seed=seed)
    assert found.at.tolist() == at.tolist()
    assert found.rate == pytest.approx((at[-1] - at[0]) / (COUNT - 1)) and found.score == near.score


def test_frames_dropped_next_to_an_end_of_a_fake_that_runs_at_another_usual_rate():
    at = START + sample_offsets(COUNT, 1.25, 0.0)
    at[:2] -= 1
    found = improve(at, straight(START, 1.25), usual=(1.0, 1.25))
    assert found.at.tolist() == at.tolist()


def test_a_jump_where_another_one_was_found():
    at = np.delete(np.arange(START, START + COUNT + 2), [5, 16])
    near = np.delete(np.arange(START, START + COUNT + 2), [8, 16])
    assert improve(at, Alignment(0.9, near, 1.04)).at.tolist() == at.tolist()


def test_a_jump_that_is_none():
    at = np.arange(START, START + COUNT)
    near = at + (at < START + 3) - (at >= START + 20)  # one doubled, and another
    found = improve(at, Alignment(0.9, near, 1.0))
    assert found.at.tolist() == at.tolist() and found.rate == 1.0 and runs_evenly(found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [3.0, 12.0, 25.0])
def test_noise_makes_no_jumps(noise, seed):
    near = straight(START)
    assert improve(near.at, near, noise=noise, seed=seed) is near


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_that_holds_what_it_showed_makes_none(seed):
    near = straight(START)
    assert improve(near.at, near, held=0.7, seed=seed) is near


def test_motion_that_goes_on_evenly_outweighs_noisy_pixels():
    near, source = straight(START), motion(0, FRAMES)
    jumped = near.at - (np.arange(COUNT) < 2)  # what the pixels were taken of
    assert improve(jumped, near).at.tolist() == jumped.tolist()
    scores = pair_scores(along(source, near.at), prepare(source))
    assert improve(jumped, near, scores) is near
    assert improve(jumped, near, scores, noise=2.0).at.tolist() == jumped.tolist()


def test_motion_alone_tells_of_no_jump_that_pixels_deny():
    near, source = straight(START), motion(0, FRAMES)
    moved = near.at - (np.arange(COUNT) < 2)
    assert improve(near.at, near, pair_scores(along(source, moved), prepare(source))) is near


def test_a_line_at_another_rate_stays():
    near = straight(START, 1.1)
    at = near.at - (np.arange(COUNT) < 2)
    assert improve(at, near) is near


FASTER = straight(START, 1.1)
JUMPY = Alignment(0.9, np.delete(np.arange(START, START + COUNT + 2), [3, 8]), 1.09)  # as far


def fitting(pair: HeldPair) -> Callable[..., HeldPair]:
    return lambda *at: pair.corrected(np.array(at))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("true", [FASTER, JUMPY])
def test_time_that_runs_faster_is_told_from_jumps(true, seed):
    assert not runs_evenly(JUMPY) and JUMPY.at[-1] == FASTER.at[-1]
    held = fitting(held_of(copy_of(true.at, seed)))
    scores = still_scores(true.at)
    assert or_rate(scores, FASTER, JUMPY, (1.0,), held, CODED[1]) is true
    assert or_rate(scores, FASTER, JUMPY, (1.0, 1.1), held, CODED[1]) is JUMPY  # looked at before
    assert or_rate(scores, straight(START), JUMPY, (1.0,), held, CODED[1]) is JUMPY
    assert or_rate(scores, JUMPY, FASTER, (1.0,), held, CODED[1]) is FASTER  # there is no path


def test_motion_may_tell_time_that_runs_faster_from_jumps(monkeypatch):
    monkeypatch.setattr(jumps, "MOTION_WORTH", 1e6)  # whatever pixels say
    held, source = fitting(held_of(copy_of(FASTER.at))), motion(0, FRAMES)
    for true in (FASTER, JUMPY):
        scores = pair_scores(along(source, true.at), prepare(source))
        assert or_rate(scores, FASTER, JUMPY, (1.0,), held, CODED[1]) is true


def ramp(first: float, last: float) -> np.ndarray:
    """COUNT frames of the source whose distances grow or shrink evenly."""
    steps = np.cumsum(np.linspace(first, last, COUNT - 1))
    return START + np.floor(np.r_[0, steps] + 0.5).astype(int)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rates", [(0.6, 1.6), (1.6, 0.6), (0.5, 1.2)])
def test_a_speed_ramp_that_looks_straight(rates, seed):
    at = ramp(*rates)
    line = np.polyval(np.polyfit(np.arange(COUNT), at, 1), np.arange(COUNT))
    near = Alignment(0.9, np.floor(line + 0.5).astype(int), float(np.mean(rates)))
    assert abs(near.at - at).max() > 1
    held = fitting(held_of(copy_of(at, seed, held=0.0)))
    found = or_bent(still_scores(near.at), near, held, CODED[1])
    assert abs(found.at - at).max() <= 2
    assert abs(found.at - at).mean() < min(0.4, abs(near.at - at).mean() / 2)
    assert found.rate == pytest.approx((at[-1] - at[0]) / (COUNT - 1), abs=0.05)
    assert or_bent(still_scores(near.at), near, held, CODED[1], 1e6) is near


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("true", [straight(START), FASTER, JUMPY])
def test_time_that_runs_evenly_or_jumps_is_no_ramp(true, seed):
    held = fitting(held_of(copy_of(true.at, seed)))
    assert or_bent(still_scores(true.at), true, held, CODED[1]) is true


def test_motion_alone_makes_no_ramp(monkeypatch):
    near, source = straight(START), motion(0, FRAMES)
    scores = pair_scores(along(source, ramp(0.6, 1.6)), prepare(source))
    held = fitting(held_of(copy_of(near.at)))
    monkeypatch.setattr(jumps, "MOTION_WORTH", 1e6)
    assert or_bent(scores, near, held, CODED[1]) is near


def test_pictures_that_are_not_the_sources_tell_nothing():
    near = straight(START)
    pair = held_of(copy_of(near.at))
    other = pictures(seed=1)[FIRST:]
    pair = type(pair)(pair.fake, type(pair.film)(other, pair.film.onto), pair.mapping, pair.first)
    assert pair.explained(near.at) < jumps.LEAST_EXPLAINED
    assert improved(still_scores(near.at), near, (1.0,), pair, CODED[1]) is near
    assert or_rate(still_scores(near.at), FASTER, JUMPY, (1.0,), lambda *at: pair,
                   CODED[1]) is JUMPY
    assert or_bent(still_scores(near.at), near, lambda *at: pair, CODED[1]) is near


def test_a_path_must_be_better_by_as_much_as_is_asked_for():
    near = straight(START + 1)
    at = np.delete(np.arange(START, START + COUNT + 1), 1)
    pair = held_of(copy_of(at, held=0.0, noise=2.0)).corrected(near.at)
    for clearly, stays in ((jumps.CLEARLY, False), (1e6, True)):
        found = improved(still_scores(near.at), near, (1.0,), pair, CODED[1], clearly)
        assert (found is near) == stays


def test_long_fakes_stay(monkeypatch):
    at = np.delete(np.arange(START, START + COUNT + 1), 1)
    assert improve(at, straight(START + 1)).at.tolist() == at.tolist()
    monkeypatch.setattr(jumps, "MOST_FRAMES", COUNT - 1)
    near = straight(START + 1)
    assert improve(at, near) is near


def test_a_path_with_a_jump_that_no_motion_was_compared_over_stays():
    near = Alignment(0.9, np.delete(np.arange(START, START + COUNT + 5), [9, 10, 11, 12, 13]), 1.2)
    assert improve(near.at, near) is near


@pytest.mark.parametrize("first", [0, 1, FRAMES - COUNT - 1, FRAMES - COUNT])
def test_no_path_leaves_the_source(first):
    near = straight(first)
    # pixels of frames that the ends of the source are as near to as anything is
    pair = held_of(copy_of(np.clip(near.at, FIRST, FRAMES - 1)))
    found = improved(still_scores(near.at), near, (1.0,), pair, CODED[1])
    assert found.at.min() >= 0 and found.at.max() < FRAMES and (np.diff(found.at) >= 0).all()
    bent = or_bent(still_scores(near.at), near, lambda *at: pair, CODED[1], -1e6)
    assert bent.at.min() >= 0 and bent.at.max() < FRAMES and (np.diff(bent.at) >= 0).all()
