"""A fake is laid over its candidates in all ways, and found in the right one."""

from dataclasses import replace

import numpy as np
import pytest

from clips import blank_pixels
from models.motion import COARSE, FINE, MotionGrid
from models.pose import CELLS, SIDE, PoseClip
from utils.fake_motion import FakeMotion, is_elsewhere
from utils.layout import VideoRecord
from utils.matching import motion_along, prepare, sample_offsets, sample_offsets
from utils.paths import cut_prices, find_stretches
from utils.source_motion import IndexedSource
from utils.views import (agreement_of, alignment_of, find_places, gain_tables, look_closer,
                         mark_copies, most_promising, views_of)

FRAMES, START, COUNT = 90, 33, 30
SQUARE = (40.0, 20.0, 100.0)


def record_of(count: int = COUNT, fps: float = 25.0) -> VideoRecord:
    return VideoRecord("fake.mp4", 1, "0" * 64, fps, count, 240, 160, list(range(count)), {})


def source_motion(seed: int) -> MotionGrid:
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 1, (FRAMES - 1, COARSE, COARSE, 2)).astype(np.float32)
    weight = np.ones((FRAMES - 1, COARSE, COARSE), np.float32)
    weight[:, :2] = 0
    return MotionGrid(flow, weight)


def indexed(seed: int) -> IndexedSource:
    grey = np.random.default_rng(seed).integers(0, 255, (FRAMES, CELLS, CELLS), np.uint8)
    grid = source_motion(seed)
    record = VideoRecord(f"source_{seed}.mp4", 1, "0" * 64, 25.0, FRAMES, 320, 240, [], {})
    return IndexedSource(record, lambda first, last: prepare(grid.part(first, last)), grey, SQUARE,
                         np.arange(FRAMES) / 25)


def fake_of(seed: int, start: int = START, count: int = COUNT) -> tuple[MotionGrid, PoseClip]:
    """A stretch of a source, its motion as fine as a fake's is, and its poses."""
    part = source_motion(seed).part(start, start + count - 1)
    step = FINE // COARSE
    flow, weight = (array.repeat(step, axis=1).repeat(step, axis=2)
                    for array in (part.flow, part.weight))
    grey = indexed(seed).pose[start:start + count].repeat(SIDE // CELLS, 1).repeat(
        SIDE // CELLS, 2)
    return MotionGrid(flow, weight), PoseClip(grey, np.ones(grey.shape, np.float32))


def candidate(seed: int, **changed: object) -> dict:
    return {"source": f"source_{seed}.mp4", "source_id": f"source_{seed}", "scene_score": 0.5,
            "inliers": 0, "background_inliers": 0, "verified": False, "flip": 0, "mapping": None,
            **changed}


def nothing_else(window) -> FakeMotion:
    raise AssertionError(f"{window} is no other part of the fake")


def trace(fake: tuple[MotionGrid, PoseClip], candidates: list[dict], look=nothing_else,
          fps: float = 25.0):
    grid, poses = fake
    views = [view for c in candidates for view in views_of(
        FakeMotion(SQUARE, grid, poses, blank_pixels(len(grid) + 1)), record_of(len(grid) + 1, fps),
        c, indexed(int(c["source_id"][7:])), look)]
    return views, mark_copies(look_closer(find_places(views)))


def test_the_true_place_comes_first():
    _, found = trace(fake_of(1), [candidate(0), candidate(1), candidate(2)])
    best = found[0].hypothesis
    assert (best.source, best.start, best.end) == ("source_1.mp4", START, START + COUNT - 1)
    assert best.rate == 1 and best.flip == 0 and best.motion_score > 0.99
    assert alignment_of(found[0]) == list(range(START, START + COUNT))
    cells = agreement_of(found[0])
    assert cells[0] == [None] * COARSE and min(cells[5]) > 0.99


def test_backwards_and_mirrored():
    grid, poses = fake_of(0)
    turned = MotionGrid(-grid.flow[::-1], grid.weight[::-1]).mirrored()
    _, found = trace((turned, poses.reversed().mirrored()), [candidate(0), candidate(1)])
    best = found[0].hypothesis
    assert (best.start, best.end, best.rate, best.flip) == (START + COUNT - 1, START, -1.0, 1)
    assert alignment_of(found[0]) == list(range(START, START + COUNT))[::-1]


def fake_at(frames: np.ndarray, seed: int = 0) -> tuple[MotionGrid, PoseClip]:
    """A fake that shows these frames of a source, one after the other."""
    forwards = frames if frames[-1] > frames[0] else frames[::-1]
    part, step = motion_along(prepare(source_motion(seed)), forwards), FINE // COARSE
    grid = MotionGrid(*(array.repeat(step, axis=1).repeat(step, axis=2)
                        for array in (part.flow, part.weight)))
    grey = np.zeros((len(frames), SIDE, SIDE), np.uint8)
    return (grid if forwards is frames else grid.reversed()), PoseClip(grey, grey + np.float32(1))


@pytest.mark.parametrize("fps", [25.0, 20.0])
@pytest.mark.parametrize("speed", [0.25, 0.3, 0.4, 2.5, 3.0, 4.0])
def test_speeds_that_telephones_and_editors_offer(speed, fps):
    rate = speed * 25 / fps
    count = min(COUNT, int((FRAMES - START - 1) / rate))
    at = START + sample_offsets(count, rate, 0.5 if rate % 1 else 0.0)
    views, found = trace(fake_at(at), [candidate(1), candidate(0)], fps=fps)
    best = found[0].hypothesis
    assert (best.source, best.start, best.end) == ("source_0.mp4", at[0], at[-1])
    assert best.rate == pytest.approx(rate, rel=0.04)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_fake_of_far_fewer_frames_per_second(turn):
    at = np.arange(START, START + 51, 5)[::turn]
    views, found = trace(fake_at(at), [candidate(1), candidate(0)], fps=5.0)
    best = found[0].hypothesis
    assert (best.source, best.start, best.end) == ("source_0.mp4", at[0], at[-1])
    assert best.rate == 5 * turn and all(view.usual_rates == (1.0, 5.0) for view in views)


def test_of_so_few_that_no_step_is_as_long():
    views, found = trace(fake_of(1), [candidate(0), candidate(1)], fps=2.0)
    assert found[0].hypothesis.source == "source_1.mp4"
    assert all(view.usual_rates == (1.0,) for view in views)


@pytest.mark.parametrize("rate", [0.8, 1.25, 2.0])
def test_backwards_at_another_rate(rate):
    frames = 20 + sample_offsets(COUNT, rate, 0.5)[::-1]
    _, found = trace(fake_at(frames), [candidate(0), candidate(1)])
    best = found[0].hypothesis
    assert (best.source, best.start, best.end) == ("source_0.mp4", frames[0], frames[-1])
    assert best.rate == pytest.approx(-rate, rel=0.03) and best.motion_score > 0.95


def test_stretches_at_another_rate_are_cut_where_they_were_joined():
    parts = [start + sample_offsets(16, 1.25, 0.5) for start in (60, 5)]
    flows = [fake_at(part)[0] for part in parts]
    nothing = MotionGrid(np.zeros_like(flows[0].flow[:1]), flows[0].weight[:1])
    grid = MotionGrid.joined([flows[0], nothing, flows[1]])
    poses = PoseClip(np.zeros((32, SIDE, SIDE), np.uint8), np.ones((32, SIDE, SIDE), np.float32))
    views, found = trace((grid, poses), [candidate(0), candidate(1)])
    first, second = find_stretches(gain_tables(views, found))
    assert first == (0, second[0] - 1) and abs(second[0] - 16) <= 1 and second[1] == 31


def test_motion_across_a_joint_is_believed_no_more_than_that_around(monkeypatch):
    """A calm head moves as much in one place of its source, to which a cut beside it would lead."""
    lively = source_motion

    def with_a_start(seed: int) -> MotionGrid:
        grid = lively(seed)
        grid.flow[np.arange(len(grid)) != 70] *= 0.03
        return grid

    monkeypatch.setitem(globals(), "source_motion", with_a_start)
    grid = MotionGrid.joined([fake_of(0, start, count)[0]
                              for start, count in ((40, 20), (70, 2), (5, 20))])
    grey = np.full((40, SIDE, SIDE), 100, np.uint8)
    grey[20:] += 50
    views, found = trace((grid, PoseClip(grey, np.ones(grey.shape, np.float32))), [candidate(0)])
    assert find_stretches(gain_tables(views, found), cut_prices(grey)) == [(0, 19), (20, 39)]


def test_no_place_is_told_twice():
    _, found = trace(fake_of(0), [candidate(0), candidate(1)])
    places = [(f.hypothesis.source, f.hypothesis.flip, f.view.backwards, f.hypothesis.start)
              for f in found]
    assert len(places) == len(set(places))


def test_poses_are_compared_where_a_mapping_is_known():
    mapping = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    _, found = trace(fake_of(0), [candidate(0, verified=True, inliers=40, mapping=mapping),
                                  candidate(1)])
    assert found[0].hypothesis.source == "source_0.mp4" and found[0].hypothesis.pose_score > 0.9
    assert all(f.hypothesis.pose_score is None for f in found
               if f.hypothesis.source == "source_1.mp4")


def test_a_window_of_the_fake_is_looked_into_where_the_mapping_leads_there():
    # the source's square (40, 20, 100) lies, half as large, at (150, 70) of the fake
    mapping, seen = [[2.0, 0.0, -260.0], [0.0, 2.0, -120.0]], []

    def look(window) -> FakeMotion:
        seen.append(window)
        grid, poses = fake_of(1)
        return FakeMotion(window, grid, poses, blank_pixels(len(grid) + 1))

    _, found = trace(fake_of(0), [candidate(0), candidate(1, inliers=6, mapping=mapping)], look)
    assert np.allclose(seen, (150, 70, 50))
    first, second = found[:2]
    assert {first.hypothesis.source, second.hypothesis.source} == {"source_0.mp4", "source_1.mp4"}
    window = next(f for f in found if f.hypothesis.registered)
    assert (window.hypothesis.source, window.hypothesis.start) == ("source_1.mp4", START)
    assert window.hypothesis.motion_score > 0.99
    assert window.hypothesis.pose_score is None  # six inliers do not verify the mapping


def test_the_same_footage_in_two_sources_is_said():
    copy = candidate(0, source="copy.mp4")
    _, found = trace(fake_of(0), [candidate(0), copy, candidate(1)])
    first, second = (f.hypothesis for f in found[:2])
    assert {first.source, second.source} == {"source_0.mp4", "copy.mp4"}
    assert second.copy_of == first.source and first.copy_of is None
    assert all(f.hypothesis.copy_of is None for f in found[2:])


@pytest.mark.parametrize("pixels, certainty, copied", [
    (0.5, 1.0, True), (0.12, 0.95, True), (0.05, 1.0, False), (0.5, 0.6, False), (None, None, False)])
def test_places_whose_pixels_are_the_fakes_show_the_same_footage(pixels, certainty, copied):
    # as another crop of it at another frame rate does, whose motion is not quite the same
    _, found = trace(fake_of(0), [candidate(0), candidate(1), candidate(2)])
    first, second, third = (next(f for f in found if f.hypothesis.source == f"source_{seed}.mp4")
                            for seed in range(3))
    marked = mark_copies([third, *(replace(f, hypothesis=replace(
        f.hypothesis, pixel_score=score, certainty=sure)) for f, score, sure in (
            (first, 0.4, 1.0), (second, pixels, certainty)))])
    assert [f.hypothesis.copy_of for f in marked] == [None, None, "source_0.mp4" if copied else None]


@pytest.mark.parametrize("window, elsewhere", [
    ((40.0, 20.0, 100.0), False), ((50.0, 30.0, 90.0), False), ((20.0, 0.0, 150.0), True),
    ((30.0, 10.0, 120.0), False), ((40.0, 20.0, 60.0), True), ((160.0, 20.0, 90.0), True)])
def test_what_counts_as_another_part(window, elsewhere):
    assert is_elsewhere(window, SQUARE) == elsewhere


@pytest.mark.parametrize("backwards", [False, True])
def test_a_part_of_a_view_is_the_same_stretch(backwards):
    views, _ = trace(fake_of(0), [candidate(0)])
    view = next(v for v in views if v.backwards == backwards and v.flip == 0)
    part = view.part(4, 19)
    grid = part.grid.reversed() if backwards else part.grid
    np.testing.assert_allclose(grid.flow, fake_of(0)[0].pooled().part(4, 19).flow, atol=1e-5)


def test_gain_tables_have_a_column_per_start_and_alignment():
    views, found = trace(fake_of(0), [candidate(0)])
    tables = gain_tables(views, found)
    refined = sum(len(f.curve) > 0 for f in found)
    assert [table.shape[0] for table in tables] == [COUNT - 1] * (len(views) + refined)
    assert all(table.shape[1] == 1 for table in tables[len(views):])


def test_of_many_tables_the_promising_ones_stay():
    flat, long_run, short_run = (np.zeros((30, 5), np.float32) for _ in range(3))
    long_run[2:28, 3], short_run[:3, 1] = 1, 4
    tables = [flat, long_run, short_run]
    assert [any(kept is t for kept in most_promising(tables, 300)) for t in tables] == [
        False, True, True]
    assert [any(kept is t for kept in most_promising(tables, 299)) for t in tables] == [
        False, True, False]
    everything = most_promising(iter(tables))
    assert all(a is b for a, b in zip(everything, tables, strict=True))
