"""Of a long source only sections are compared, and the answer is that of comparing all of it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import utils.stretches
from long_motion import candidate_of, fake_of, index_of, record_of, stored_motion
from step5_flow_trace import UNWRITTEN, trace_stretches
from utils.answer import rejected_joined
from utils.coarse_motion import RATES, Way, coarse_source, peaks, scan
from utils.confirm import Fake
from utils.decision import load_coefficients
from utils.kept_frames import KeptFrames
from utils.matching import sample_offsets
from utils.sections import MARGIN, MOST_RATE, SECTION, in_sections, merged, overlapping
from utils.source_motion import stored_grid
from utils.views import find_places, look_closer, views_of

FRAMES, COUNT = 7001, 60


@pytest.fixture(scope="module")
def arrays():
    return stored_motion(0, FRAMES)


@pytest.fixture(scope="module")
def source(arrays, tmp_path_factory):
    return index_of(tmp_path_factory.mktemp("long"), long=arrays).read("long")


@pytest.fixture(scope="module")
def vectors(arrays):
    return coarse_source(stored_grid(arrays, 0, FRAMES - 1))


def sectioned(fake, source, vectors, exhaustive=False):
    views = views_of(fake, record_of("fake.mp4", len(fake.grid) + 1), candidate_of(), source, None)
    return in_sections(views, lambda: vectors, exhaustive)


def compared(views) -> int:
    """Frames that the first way to lay the fake is compared with."""
    return sum(len(view.source) for view in views if view.flip == 0 and not view.backwards)


CASES = {"plain": (4321, 1.0, {}), "first": (0, 1.0, {}), "last": (FRAMES - COUNT, 1.0, {}),
         "mirrored": (2998, 1.0, {"mirrored": True}), "backwards": (3003, 1.0, {"backwards": True}),
         "both": (5555, 1.0, {"mirrored": True, "backwards": True}),
         "fast": (1200, 1.6, {}), "slow": (6100, 0.75, {}), "mirrored, fast":
         (4000, 1.25, {"mirrored": True})}


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_that_of_the_whole_source(arrays, source, vectors, case):
    start, rate, turned = CASES[case]
    at = start + sample_offsets(COUNT, rate, 0.5 if rate % 1 else 0.0)
    fake = fake_of(arrays, at, **turned)
    few, all_ = (sectioned(fake, source, vectors, exhaustive) for exhaustive in (False, True))
    assert compared(few) < FRAMES / 2 and compared(all_) > FRAMES
    one, other = (look_closer(find_places(views))[0] for views in (few, all_))
    assert one.hypothesis.motion_score == pytest.approx(other.hypothesis.motion_score, abs=1e-6)
    assert replace(one.hypothesis, motion_score=1) == replace(other.hypothesis, motion_score=1)
    ends = (at[-1], at[0]) if turned.get("backwards") else (at[0], at[-1])
    assert (one.hypothesis.start, one.hypothesis.end) == ends
    assert one.hypothesis.flip == turned.get("mirrored", False)
    assert one.view.source.first > 0 or start < SECTION


@pytest.mark.parametrize("rate, exhaustive", [(5.0, False), (5.0, True), (3.0, True), (0.3, True)])
def test_far_rates_reach_as_far(arrays, source, vectors, rate, exhaustive):
    """As of a GIF, whose frames a second tell, or of other speeds, which only all of it shows."""
    at = 2740 + sample_offsets(COUNT, rate, 0.5 if rate % 1 else 0.0)  # where sections meet
    fake = fake_of(arrays, at)
    record = record_of("fake.mp4", COUNT)
    if rate == 5.0:
        record = replace(record, fps=record.fps / rate)
    views = in_sections(views_of(fake, record, candidate_of(), source, None), lambda: vectors,
                        exhaustive)
    best = look_closer(find_places(views))[0].hypothesis
    assert (best.start, best.end) == (at[0], at[-1])
    assert best.rate == pytest.approx(rate, rel=0.01)


def traced(views, fake, index):
    tools = SimpleNamespace(coefficients=load_coefficients(), scorer=None, index=index,
                            pictures=KeptFrames(index.decode), exhaustive=False)
    record = record_of("fake.mp4", len(fake.grid) + 1)
    return trace_stretches(views, Fake(record, record.frames, fake, 1.0, None, None),
                           {"candidates": [candidate_of()], "unreadable": []}, index.read, tools)


def test_frame_numbers_and_times_are_the_whole_source_s(arrays, tmp_path, vectors):
    index = index_of(tmp_path, long=arrays)
    at = np.arange(5000, 5000 + COUNT)
    fake = fake_of(arrays, at)
    answer, = traced(sectioned(fake, index.read("long"), vectors), fake, index)
    row = answer["trace"]
    assert (row.source, row.start_frame, row.end_frame) == ("long.mp4", 5000, 5000 + COUNT - 1)
    assert (row.start_time_s, row.end_time_s) == (5000 / 25, (5000 + COUNT - 1) / 25)
    assert answer["alignment"] == at.tolist()
    curve = answer["score_curve"]
    assert answer["score_curve_start"] + int(np.argmax(curve)) == 5000 and len(curve) < 1500
    schema = json.loads(Path("utils/trace.schema.json").read_text("utf-8"))
    assert set(answer) - set(UNWRITTEN) <= set(schema["$defs"]["stretch"]["properties"])


def test_a_fake_joined_from_far_apart_places(arrays, tmp_path, vectors):
    index = index_of(tmp_path, long=arrays)
    at = np.concatenate([np.arange(400, 440), np.arange(6200, 6245)])
    fake = fake_of(arrays, at)
    fake.grid.flow[39] = 0.0  # what lies between the two is no motion
    views = sectioned(fake, index.read("long"), vectors)
    assert compared(views) < FRAMES * 2 / 3
    rows = [answer["trace"] for answer in traced(views, fake, index)]
    assert [(row.start_frame, row.end_frame) for row in rows] == [(400, 439), (6200, 6244)]


def test_a_part_that_is_joined_itself_is_cut_further(arrays, tmp_path, vectors, monkeypatch):
    found = utils.stretches.find_stretches
    monkeypatch.setattr("utils.stretches.find_stretches", lambda tables, prices: (
        [(0, 59), (60, 104)] if len(prices) == 104 else found(tables, prices)))
    index = index_of(tmp_path, long=arrays)
    starts, lengths = (400, 470, 6200), (30, 30, 45)
    fake = fake_of(arrays, np.concatenate([np.arange(start, start + length)
                                           for start, length in zip(starts, lengths)]))
    fake.grid.flow[[29, 59]] = 0.0
    views = sectioned(fake, index.read("long"), vectors)
    rows = [answer["trace"] for answer in traced(views, fake, index)]
    assert [(row.start_frame, row.end_frame) for row in rows] == [
        (start, start + length - 1) for start, length in zip(starts, lengths)]


def test_strangers_that_follow_each_other_are_one_stretch(arrays, tmp_path, vectors, monkeypatch):
    monkeypatch.setattr("utils.stretches.find_stretches",
                        lambda *_: [(0, 59), (60, 119), (120, 179)])
    index = index_of(tmp_path, long=arrays)
    strangers = [stored_motion(number, 1000) for number in (1, 2)]
    joined = {key: np.concatenate([arrays[key][400:460], strangers[0][key][100:160],
                                   strangers[1][key][700:760]]) for key in arrays}
    fake = fake_of(joined, np.arange(180))
    fake.grid.flow[[59, 119]] = 0.0
    views = sectioned(fake, index.read("long"), vectors)
    rows = [answer["trace"] for answer in traced(views, fake, index)]
    assert [(row.verdict, row.fake_start_frame, row.fake_end_frame) for row in rows] == [
        ("traced", 0, 59), ("no_source", 60, 179)]


def test_strangers_that_are_somebody_together_stay_apart():
    def part(verdict):
        return {"trace": SimpleNamespace(verdict=verdict)}

    words = ["no_source", "no_source", "traced", "no_source", "no_source", "no_source"]
    ends = [(10 * n, 10 * n + 9) for n in range(len(words))]
    known = {(0, 19): "ambiguous", (30, 49): "no_source", (30, 59): "no_source"}
    rows = rejected_joined([part(word) for word in words], ends, lambda both: part(known[both]))
    assert [row["trace"].verdict for row in rows] == words[:4]


def test_a_short_source_is_compared_as_it_is(tmp_path):
    arrays = stored_motion(1, SECTION)
    source = index_of(tmp_path, long=arrays).read("long")
    fake = fake_of(arrays, np.arange(100, 140))
    views = views_of(fake, record_of("fake.mp4", 40), candidate_of(), source, None)
    for exhaustive in (False, True):
        assert in_sections(views, lambda: pytest.fail("looked at"), exhaustive) is views


@pytest.mark.parametrize("frames, pairs", [(3001, 10), (7000, 59), (9000, 700), (3100, 2000)])
def test_overlapping_sections_hold_every_place(frames, pairs):
    spans = overlapping(frames, pairs)
    assert spans[0][0] == 0 and spans[-1][1] == frames - 1
    reach = int(MOST_RATE) * pairs
    for start in range(frames - reach):
        first, last = max(0, start - MARGIN), min(frames - 1, start + reach + MARGIN)
        assert any(a <= first and last <= b for a, b in spans)


def test_spans_are_joined_where_they_overlap():
    assert merged([(50, 80), (-5, 20), (70, 99), (200, 220)], 210) == [(0, 20), (50, 99),
                                                                       (200, 209)]


def test_peaks_by_hand():
    scores = np.array([0.1, 0.9, 0.8, 0.2, 0.7, -1.0], np.float32)
    assert peaks(scores, 3, 1) == [1, 4] and peaks(scores, 9, 9) == [1]
    assert peaks(np.full(4, -1, np.float32), 2, 1) == []


def test_coarse_vectors_come_in_blocks_and_from_bytes(arrays, vectors, monkeypatch):
    monkeypatch.setattr("utils.coarse_motion.BLOCK", 100)
    part = stored_grid(arrays, 0, 1000)
    stored = type(part)(arrays["flow"][:1000], arrays["weight"][:1000])
    for grid in (part, stored):
        np.testing.assert_allclose(coarse_source(grid).astype(float), vectors[:333], atol=2e-3)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.37, 2.0])
def test_the_middle_is_where_the_fake_is(arrays, vectors, rate):
    at = 3000 + sample_offsets(COUNT, rate, 0.5)
    grid = fake_of(arrays, at).grid.pooled()
    found = scan([Way(grid, RATES)], vectors)
    assert abs(3 * int(found.whole.argmax()) - at[len(at) // 2]) <= 6
    assert found.parts.shape == (round((COUNT - 1) / 24), len(vectors))


def test_fakes_that_do_not_fit(vectors, arrays):
    grid = fake_of(arrays, np.arange(40)).grid.pooled()
    for rows in (0, 1, 5):
        assert scan([Way(grid, RATES)], vectors[:rows]).whole.shape == (rows,)
    assert (scan([Way(grid.part(0, 1), RATES)], vectors).whole == -1).all()
