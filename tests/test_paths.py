"""Dropped, doubled and joined frames: paths and stretches are found to the frame."""

import numpy as np
import pytest

from models.motion import MotionGrid
from test_matching import CELLS, FRAMES, START, along, cut, motion
from utils.cutaways import FADE
from utils.matching import (Alignment, energies, pair_scores, prepare, refine, rough_places,
                            sample_offsets)
from utils.paths import (CUT_PRICE, MIN_STRETCH, SEEN_PRICE, SHARE, clearly_seen, cut_prices,
                         find_stretches, follow, gains, least_path, path_gain, runs_evenly,
                         seen_stretches, torn_stretches, unfit_stretches)


def found(fake: MotionGrid, source: MotionGrid):
    scores = pair_scores(fake, prepare(source))
    return follow(scores, refine(scores, rough_places(scores)[0]), (1.0,))


def tables(fake: MotionGrid, *sources: MotionGrid, rate: float = 1.0) -> list[np.ndarray]:
    energy = energies(fake)
    return [gains(pair_scores(fake, prepare(source)), energy, rate) / energy.mean()
            for source in sources]


@pytest.mark.parametrize("gone", [[12], [20, 21], [8, 19, 33]])
def test_dropped_frames(gone):
    source, at = motion(0), np.delete(np.arange(START, START + 45), gone)
    assert found(along(source, at), source).at.tolist() == at.tolist()


def test_doubled_frames():
    source, at = motion(0), np.insert(np.arange(START, START + 40), [10, 25], [START + 10, START + 25])
    assert found(along(source, at), source).at.tolist() == at.tolist()


def test_a_dropped_frame_of_another_rate():
    source = motion(0)
    at = np.delete(START + sample_offsets(50, 1.25, 0.5), 22)
    path = found(along(source, at), source)
    assert np.abs(path.at - at).max() <= 1 and path.start == START


def test_noise_drops_no_frames():
    source, fake = motion(0), cut(motion(0), START, count=40)
    noise = np.random.default_rng(5).normal(0, 0.7, fake.flow.shape).astype(np.float32)
    path = found(MotionGrid(fake.flow + noise, fake.weight), source)
    assert path.at.tolist() == list(range(START, START + 40)) and path.rate == 1


def test_a_path_stays_inside_of_the_source():
    source = motion(0, 50)
    path = found(along(source, np.delete(np.arange(50), [20, 30])), source)
    assert (path.start, path.end) == (0, 49)


@pytest.mark.parametrize("rate, phase, gone, even", [
    (1.0, 0.0, [], True), (1.25, 0.75, [], True), (1.0, 0.0, [7], False), (0.8, 0.5, [20], False)])
def test_what_runs_evenly(rate, phase, gone, even):
    at = np.delete(START + sample_offsets(40, rate, phase), gone)
    mean = rate if even else (at[-1] - at[0]) / (len(at) - 1)
    assert runs_evenly(Alignment(0.9, at, mean, phase)) == even


@pytest.mark.parametrize("pieces", [((70, 90), (10, 30)), ((5, 25), (60, 95), (30, 44))])
def test_stretches_of_one_source(pieces):
    source = motion(0)
    fake = along_pieces([(source, *piece) for piece in pieces])
    ends = np.cumsum([last - first for first, last in pieces])
    expected = [(int(end - (last - first)), int(end) - 1)
                for end, (first, last) in zip(ends, pieces)]
    assert find_stretches(tables(fake, source, motion(1))) == expected


def along_pieces(pieces: list[tuple[MotionGrid, int, int]]) -> MotionGrid:
    """Frames first ... last - 1 of every piece, joined; nothing known moves across the joint."""
    flows, rng = [], np.random.default_rng(9)
    for source, first, last in pieces:
        if flows:
            flows.append(rng.normal(0, 5, (1, CELLS, CELLS, 2)))
        flows.append(source.flow[first:last - 1])
    flow = np.concatenate(flows).astype(np.float32)
    return MotionGrid(flow, np.ones(flow.shape[:3], np.float32))


def test_stretches_of_two_sources():
    one, other = motion(0), motion(1)
    fake = along_pieces([(one, 40, 62), (other, 100, 118)])
    assert find_stretches(tables(fake, one, other)) == [(0, 21), (22, 39)]


def jumping(count: int, cuts: dict[int, float]) -> np.ndarray:
    """Small pictures that change by 4 grey levels from each to the next, and more at the cuts."""
    steps = np.full(count - 1, 4.0)
    steps[list(cuts)] = list(cuts.values())
    level = np.cumsum(np.concatenate([[0], steps * (-1) ** np.arange(count - 1)]))
    return np.broadcast_to((100 + level)[:, None, None], (count, 8, 8)).astype(np.uint8)


def test_a_cut_that_is_seen_is_cheap_and_one_that_is_not_is_dear():
    prices = cut_prices(jumping(40, {15: 8.0, 30: 80.0}))
    assert prices[15] == pytest.approx(CUT_PRICE - SEEN_PRICE * np.log2(8.3 / 4.3), abs=1e-6)
    assert prices[30] == pytest.approx(CUT_PRICE - 2 * SEEN_PRICE)
    assert prices[5] == pytest.approx(CUT_PRICE)
    assert prices[29] == prices[31] == pytest.approx(CUT_PRICE + SEEN_PRICE)
    still = cut_prices(np.zeros((40, 8, 8), np.uint8))
    assert still == pytest.approx(np.full(39, CUT_PRICE))


def test_pictures_tell_a_cut_to_the_frame():
    one, other = motion(0), motion(1)
    fake = along_pieces([(one, 40, 62), (other, 100, 118)])
    flow = fake.flow.copy()
    flow[21] = one.flow[61]  # across the joint it goes on as if it were the first one
    flow[22] = 0
    fake = MotionGrid(flow, fake.weight)
    assert find_stretches(tables(fake, one, other)) != [(0, 21), (22, 39)]
    prices = cut_prices(jumping(40, {21: 60.0}))
    assert find_stretches(tables(fake, one, other), prices) == [(0, 21), (22, 39)]


def test_stretches_that_are_seen():
    assert seen_stretches(cut_prices(jumping(60, {15: 9.0, 40: 80.0}))) == [
        (0, 15), (16, 40), (41, 59)]
    assert seen_stretches(cut_prices(jumping(60, {15: 7.0, 55: 80.0}))) == [(0, 59)]
    often = cut_prices(jumping(100, {pair: 80.0 for pair in range(10, 90, 11)}))
    assert seen_stretches(often) == [(0, 99)]  # jumps all the time


def test_a_small_jump_is_no_clear_cut():
    """A head that moves on after it was held; find_stretches() may be off by a frame."""
    prices = cut_prices(jumping(60, {15: 10.0, 40: 80.0}))
    assert seen_stretches(prices) == [(0, 15), (16, 40), (41, 59)]
    assert not clearly_seen([(0, 15), (16, 40), (41, 59)], prices)
    assert not clearly_seen([(0, 30), (31, 59)], prices)
    for first in (40, 41, 42):
        assert clearly_seen([(0, first - 1), (first, 59)], prices)
    assert clearly_seen([(0, 59)], prices)


def torn(fake: MotionGrid, source: MotionGrid, start: int,
         jumps: dict[int, float]) -> list[tuple[int, int]]:
    """Cut by a place in one source that runs evenly from a frame on."""
    scores = pair_scores(fake, prepare(source))
    gain = path_gain(scores, start + np.arange(len(fake) + 1))
    return torn_stretches(gain, scores.fake_energy, cut_prices(jumping(len(fake) + 1, jumps)))


@pytest.mark.parametrize("jumps", [{}, {21: 60.0}])
def test_where_a_place_begins_or_ends_to_fit_a_fake_is_torn(jumps):
    one, other = motion(0), motion(1)
    fake = along_pieces([(one, 40, 62), (other, 100, 118)])
    for found in torn(fake, one, 40, jumps), torn(fake, other, 100 - 22, jumps):
        (_, end), (start, _) = found
        assert start == end + 1 and abs(start - 22) <= (0 if jumps else 1)
    whole = [(0, len(fake))]
    assert torn(cut(one, START), one, START, jumps) == [(0, len(cut(one, START)))]
    assert torn(fake, motion(2), 40, jumps) == whole  # fits neither side
    short = along_pieces([(one, 40, 40 + MIN_STRETCH - 1), (other, 100, 100 + MIN_STRETCH)])
    assert torn(short, one, 40, {}) == [(0, len(short))]


@pytest.mark.parametrize("first, last", [(20, 41), (0, 21), (38, 59)])
def test_frames_that_a_place_explains_least_of(first, last):
    ours, other = motion(0), motion(1)
    pieces = [(ours, 40, 40 + first), (other, 60, 61 + last - first),
              (ours, 41 + last, 100)]
    fake = along_pieces([piece for piece in pieces if piece[2] - piece[1] > 1])
    scores = pair_scores(fake, prepare(ours))
    gain = path_gain(scores, 40 + np.arange(len(fake) + 1))
    expected = [ends for ends in ((0, first - 1), (first, last), (last + 1, len(fake)))
                if ends[1] > ends[0]]
    found = unfit_stretches(gain, scores.fake_energy)
    assert len(found) == len(expected)
    assert np.abs(np.subtract(found, expected)).max() <= FADE


def test_a_place_that_fits_all_over_has_no_unfit_stretch():
    fake = cut(motion(0), START)
    scores = pair_scores(fake, prepare(motion(0)))
    gain = path_gain(scores, START + np.arange(len(fake) + 1))
    assert unfit_stretches(gain, scores.fake_energy) == [(0, len(fake))]
    assert unfit_stretches(np.zeros(30), np.zeros(30)) == [(0, 30)]


def test_a_jump_alone_cuts_nothing():
    fake = cut(motion(0), START)
    prices = cut_prices(jumping(len(fake) + 1, {12: 80.0, 25: 30.0}))
    assert find_stretches(tables(fake, motion(0), motion(1)), prices) == [(0, len(fake))]


@pytest.mark.parametrize("fake", [cut(motion(0), START), cut(motion(7), START),
                                  along(motion(0), np.delete(np.arange(20, 60), [12, 25]))])
def test_what_is_of_one_piece_is_not_cut(fake):
    assert find_stretches(tables(fake, motion(0), motion(1), motion(2))) == [(0, len(fake))]


def test_a_retimed_fake_is_not_cut_when_its_alignment_is_among_the_tables():
    source, fake = motion(0), cut(motion(0), 10, 1.25, 0.5, 60)
    scores, energy = pair_scores(fake, prepare(source)), energies(fake)
    whole = path_gain(scores, 10 + sample_offsets(60, 1.25, 0.5))[:, None] / energy.mean()
    assert find_stretches([*tables(fake, source), whole]) == [(0, 59)]


def test_too_short_to_be_cut():
    fake = along_pieces([(motion(0), 3, 3 + MIN_STRETCH - 1), (motion(0), 60, 60 + MIN_STRETCH)])
    assert find_stretches(tables(fake, motion(0))) == [(0, len(fake))]
    assert find_stretches([]) == [(0, 0)]


def test_gain_is_highest_along_the_true_place():
    source, fake = motion(0), cut(motion(0), START)
    scores, energy = pair_scores(fake, prepare(source)), energies(fake)
    table = gains(scores, energy, 1.0)
    shift = len(fake) - 1
    assert table.shape == (len(fake), FRAMES + shift)
    np.testing.assert_allclose(table[:, START + shift], (1 - (1 - SHARE)**2) * energy, rtol=1e-3)
    assert table.sum(0).argmax() == START + shift


@pytest.mark.parametrize("prices, kept", [((0.1, 1e6), True), ((1e6, 0.1), False), (0.1, True)])
def test_dropped_and_doubled_frames_have_their_prices(prices, kept):
    source, at = motion(0), np.delete(np.arange(START, START + 41), [20])
    scores = pair_scores(along(source, at), prepare(source))
    prices = np.multiply(prices, scores.fake_energy.mean())
    _, path = least_path(scores, START + np.arange(40), 2, prices)
    assert (path.tolist() == at.tolist()) == kept
    assert kept or (np.diff(path) <= 1).all()
