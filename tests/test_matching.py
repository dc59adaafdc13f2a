"""A stretch cut out of a source's motion is found at its exact start."""

import numpy as np
import pytest

from models.motion import MotionGrid
from utils.matching import (NEIGHBOURHOOD, Alignment, believed, cell_scores, pair_scores,
                            part_weights, place_score, prepare, refine, rough_places,
                            sample_offsets, slide)
from utils.paths import path_gain

CELLS, FRAMES, START, COUNT = 6, 120, 37, 30  # of the source; the fake's first frame and length
TRIED = (1.0, 0.8, 1.25, 2.0)


def motion(seed: int, frames: int = FRAMES) -> MotionGrid:
    """Random motion of a person who is in all cells but those of the first row."""
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 1, (frames - 1, CELLS, CELLS, 2)).astype(np.float32)
    weight = rng.uniform(0.2, 1, (frames - 1, CELLS, CELLS)).astype(np.float32)
    weight[:, 0] = 0
    return MotionGrid(flow, weight)


def cut(source: MotionGrid, start: int, rate: float = 1.0, phase: float = 0.0,
        count: int = COUNT) -> MotionGrid:
    """Motion of `count` frames taken out of a source at a rate."""
    at = start + sample_offsets(count, rate, phase)
    return along(source, at)


def along(source: MotionGrid, at: np.ndarray) -> MotionGrid:
    """Motion of the frames `at` of a source."""
    pairs = list(zip(at[:-1], at[1:]))
    weight = [source.weight[a:max(b, a + 1)].mean(axis=0) for a, b in pairs]
    return MotionGrid(np.stack([source.flow[a:b].sum(axis=0) for a, b in pairs]),
                      np.stack(weight))


def best(fake: MotionGrid, source: MotionGrid):
    return rough_places(pair_scores(fake, prepare(source)))[0]


def test_offsets_by_hand():
    assert sample_offsets(5, 1.0, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert sample_offsets(5, 1.25, 0.0).tolist() == [0, 1, 2, 3, 5]
    assert sample_offsets(5, 1.25, 0.5).tolist() == [0, 1, 3, 4, 5]
    assert sample_offsets(6, 0.5, 0.0).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("rate", TRIED)
def test_exact_start_rate_and_end(rate):
    source = motion(0)
    phase = 0.5 if rate % 1 else 0.0
    found = best(cut(source, START, rate, phase), source)
    assert (found.start, found.rate) == (START, rate)
    assert found.end == START + sample_offsets(COUNT, rate, phase)[-1]
    assert found.score == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("rate", [3.0, 10 / 3, 5.0, 7.5])
def test_a_fake_of_far_fewer_frames_per_second(rate):
    """Every fifth frame of a source, say: a rate that is tried for its sake."""
    source, at = motion(0), START + sample_offsets(11, rate, 0.5 if rate % 1 else 0.0)
    scores = pair_scores(along(source, at), prepare(source), rate)
    found = rough_places(scores, rate)[0]
    assert found.at.tolist() == at.tolist() and found.rate == rate
    assert path_gain(scores, at[None] + [[-1], [0], [1]]).sum(axis=1).argmax() == 1
    assert rough_places(pair_scores(along(source, at), prepare(source)))[0].score < 0.9


@pytest.mark.parametrize("natural, steps", [(0.1, 3), (1.0, 3), (2.0, 3), (2.5, 4), (3.0, 4),
                                            (7.5, 8), (40.0, 8)])
def test_longest_step(natural, steps):
    """The source has six frames, or many."""
    fake = cut(motion(0), START)
    for source, longest in ((motion(0), steps), (motion(0).part(0, 5), min(steps, 5))):
        scores = pair_scores(fake, prepare(source), natural)
        assert len(scores.dot) == len(scores.source_energy) == 1 + longest


@pytest.mark.parametrize("start", [0, FRAMES - COUNT])
def test_the_first_and_the_last_start(start):
    source = motion(0)
    found = best(cut(source, start), source)
    assert (found.start, found.end) == (start, start + COUNT - 1)


def test_another_source_scores_lower():
    fake = cut(motion(0), START)
    assert best(fake, motion(1)).score < 0.5 < 0.99 < best(fake, motion(0)).score


def test_a_mirrored_fake_is_found_in_the_mirror_only():
    source = motion(0)
    fake = cut(source, START).mirrored()
    found = best(fake.mirrored(), source)
    assert (found.start, found.score) == (START, pytest.approx(1, abs=1e-4))
    assert best(fake, source).score < 0.5


def test_cells_without_the_person_do_not_count():
    source, fake = motion(0), cut(motion(0), START)
    fake.flow[:, 0] = 100.0  # there nobody is
    assert best(fake, source).score == pytest.approx(1, abs=1e-4)


def test_a_person_in_other_cells_scores_lower():
    source, fake = motion(0), cut(motion(0), START)
    fake.weight[:, 3:] = 0.0
    found = best(fake, source)
    assert found.start == START and 0.5 < found.score < 0.9


def test_noise_lowers_the_score_and_keeps_the_place():
    source, fake = motion(0), cut(motion(0), START)
    noise = np.random.default_rng(5).normal(0, 0.7, fake.flow.shape).astype(np.float32)
    found = best(MotionGrid(fake.flow + noise, fake.weight), source)
    assert found.start == START and 0.5 < found.score < 0.95


def turned(count: int, seed: int) -> np.ndarray:
    """[count - 1, CELLS, CELLS, 2], shifts, turns and zooms of the whole picture."""
    rng = np.random.default_rng(seed)
    shift, turn = (rng.normal(0, size, (count - 1, 1, 1, 2)) @ (1, 1j) for size in (2.0, 0.5))
    cells = np.arange(CELLS) - CELLS / 2
    moved = shift + turn * (cells + 1j * cells[:, None])
    return np.stack([moved.real, moved.imag], axis=-1).astype(np.float32)


def test_own_motion_is_what_a_camera_does_not_make():
    source = motion(1)
    fake, place = cut(source, START), Alignment(1.0, START + np.arange(COUNT), 1.0)
    shaken = MotionGrid(fake.flow + turned(COUNT, 2), fake.weight)
    assert place_score(shaken, prepare(source), place) < 0.5
    assert place_score(shaken, prepare(source), place, own=True) > 0.9
    # a still picture that was made to move as the source's camera does
    rest, camera = motion(3), turned(FRAMES, 4)
    source = MotionGrid(camera + 0.5 * rest.flow, rest.weight)
    still = MotionGrid(camera[START:START + COUNT - 1], rest.weight[START:START + COUNT - 1])
    assert place_score(still, prepare(source), place) > 0.9
    assert abs(place_score(still, prepare(source), place, own=True)) < 0.1


def test_own_motion_of_nothing_is_no_number_out_of_range():
    source = motion(1)
    place = Alignment(1.0, START + np.arange(COUNT), 1.0)
    still = MotionGrid(np.zeros((COUNT - 1, CELLS, CELLS, 2), np.float32),
                       np.zeros((COUNT - 1, CELLS, CELLS), np.float32))
    assert place_score(still, prepare(source), place, own=True) == 0


def test_curve_has_one_score_per_start():
    source = motion(0)
    scores = pair_scores(cut(source, START), prepare(source))
    for rate in TRIED:
        last = sample_offsets(COUNT, rate, 0.0)[-1]
        curve = slide(scores, rate)
        assert len(curve) == FRAMES - last and np.abs(curve).max() <= 1 + 1e-4


def test_a_fake_longer_than_the_source_has_no_place():
    short = motion(0, 20)
    scores = pair_scores(cut(motion(1), 0), prepare(short))
    assert not len(slide(scores, 1.0)) and all(place.rate < 1 for place in rough_places(scores))
    assert len(slide(scores, 0.5)) == 20 - 14  # 30 frames at half the rate span 15


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_sources(frames):
    source = motion(0, frames)
    for rate in TRIED:
        assert not len(slide(pair_scores(cut(motion(1), 0), prepare(source)), rate))


def test_two_frames_of_each():
    source = motion(0, 2)
    assert best(source, source).score == pytest.approx(1, abs=1e-4)


def test_two_places_of_the_same_motion_are_both_found():
    source = motion(0)
    for part in (source.flow, source.weight):
        part[80:80 + COUNT] = part[START:START + COUNT]
    places = rough_places(pair_scores(cut(source, START), prepare(source)))
    assert {place.start for place in places[:2]} == {START, 80}
    assert places[0].score == pytest.approx(places[1].score, abs=1e-4)


def test_places_are_apart_and_ordered():
    source = motion(0)
    places = rough_places(pair_scores(cut(source, START), prepare(source)), keep=4)
    starts = [place.start for place in places]
    assert len(places) <= 4
    assert all(abs(a - b) > NEIGHBOURHOOD for i, a in enumerate(starts) for b in starts[:i])
    order = [believed(p.score, p.rate) for p in places]
    assert order == sorted(order, reverse=True)


def test_an_unusual_rate_must_earn_belief():
    assert believed(0.7, 1.0) == believed(0.7, 1.2, natural=1.2) == 0.7
    assert 0.7 > believed(0.7, 1.25) > believed(0.7, 1.26)
    assert believed(0.97, 1.25) > 0.92 and believed(0.41, 0.9) < 0.40


@pytest.mark.parametrize("rate, phase", [(1.25, 0.0), (1.25, 0.25), (0.8, 0.75)])
def test_refinement_finds_the_phase(rate, phase):
    source = motion(0)
    scores = pair_scores(cut(source, START, rate, phase, 40), prepare(source))
    rough = rough_places(scores)[0]
    found = refine(scores, rough)
    assert found.score >= rough.score
    assert abs(found.start - START) <= 1 and found.rate == pytest.approx(rate, rel=0.02)
    assert found.end == pytest.approx(START + sample_offsets(40, rate, phase)[-1], abs=1)
    assert found.score > 0.9


@pytest.mark.parametrize("natural", [30 / 25, 25 / 30, 24 / 25])
def test_another_frame_rate_is_taken_as_it_is(natural):
    source = motion(0)
    fake = cut(source, START, natural, 0.5, 40)
    scores = pair_scores(fake, prepare(source))
    found = refine(scores, rough_places(scores, natural)[0], natural)
    assert (found.start, found.rate) == (START, natural)
    assert found.end == START + sample_offsets(40, natural, 0.5)[-1]
    assert found.score == pytest.approx(1, abs=1e-4)


def test_refinement_leaves_an_exact_place_alone():
    source = motion(0)
    scores = pair_scores(cut(source, START), prepare(source))
    found = refine(scores, rough_places(scores)[0])
    assert (found.start, found.end, found.rate) == (START, START + COUNT - 1, 1.0)


def changed_part(fake: MotionGrid, rows: slice, seed: int = 9) -> MotionGrid:
    """A fake whose person moves otherwise in some rows of cells."""
    flow = fake.flow.copy()
    flow[:, rows] = motion(seed, len(flow) + 1).flow[:, rows]
    return MotionGrid(flow, fake.weight)


@pytest.mark.parametrize("rows", [slice(1, 2), slice(1, 3)])
def test_a_part_that_was_changed_counts_for_less(rows):
    source = motion(0)
    fake, ready = changed_part(cut(source, START), rows), prepare(source)
    place = Alignment(1.0, START + np.arange(COUNT), 1.0)
    plain = rough_places(pair_scores(fake, ready))[0].score
    assert place_score(fake, ready, place) > plain + 0.05
    cells = cell_scores(fake, ready, place)
    assert np.nanmax(cells[rows]) < 0.5 < np.nanmin(cells[rows.stop:])  # the report tells


def test_a_stranger_gains_nothing():
    fake, other = cut(motion(0), START), prepare(motion(1))
    for start in range(0, FRAMES - COUNT, 7):
        place = Alignment(1.0, start + np.arange(COUNT), 1.0)
        assert place_score(fake, other, place) < 0.3


def test_weights_of_parts():
    ones = np.ones((6, 6))
    assert (part_weights(0.9 * ones, ones, ones) == 1).all()
    mixed = 0.95 * ones
    mixed[:3] = 0.0
    weights = part_weights(mixed, ones, ones)
    assert (weights[:2] == 0).all() and (weights[4:] == 1).all()
    mixed[3:] = 0.7  # no part agrees as no stranger's does
    assert (part_weights(mixed, ones, ones) == 1).all()
    assert (part_weights(0 * ones, 0 * ones, 0 * ones) == 1).all()
