"""The tables of results on cases that can be counted by hand."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.confusion import NOTHING, count_pairs
from benchmarks.evaluate import judge, listing, main, summary
from benchmarks.outcomes import Found, compare, overlap, read_found
from benchmarks.scores import frame_measures, length_group
from benchmarks.truths import Stretch, read_truth, with_copies
from utils.files import InputError, read_image
from utils.tables import Trace, read_table, write_table

ROOT = Path(__file__).parents[1]
TRUTH = """fake,source,start_frame,end_frame,tier,speed
exact.mp4,a.mp4,10,34,clean,1.0
near.mp4,a.mp4,20,44,clean,1.0
far.mp4,b.mp4,30,54,geometry,1.25
wrong.mp4,b.mp4,5,29,geometry,1.0
none.mp4,b.mp4,0,24,geometry,1.0
stranger.mp4,,0,24,clean-absent,1.0
fooled.mp4,,0,24,clean-absent,1.0
lost.mp4,a.mp4,7,31,clean,1.0
"""


def trace(fake: str, source: str | None, start: int | None, end: int | None, verdict: str) -> Trace:
    return Trace(fake, 0, 24, verdict, source, start, end, None, None, 1.0, 0, 0.5, 0.5, 0.9, None,
                 "a, \"reason\"")


TRACES = [trace("exact.mp4", "a.mp4", 10, 34, "traced"),
          trace("near.mp4", "a.mp4", 19, 46, "ambiguous"),
          trace("far.mp4", "b.mp4", 34, 54, "traced"),
          trace("wrong.mp4", "a.mp4", 5, 29, "traced"),
          trace("none.mp4", None, None, None, "no_source"),
          trace("stranger.mp4", None, None, None, "no_source"),
          trace("fooled.mp4", "a.mp4", 3, 27, "traced")]


@pytest.fixture
def tables(tmp_path) -> tuple[Path, Path]:
    write_table(tmp_path / "traces.csv", Trace, TRACES)
    (tmp_path / "truth.csv").write_text(TRUTH)
    return tmp_path / "traces.csv", tmp_path / "truth.csv"


def outcomes_of(tables) -> dict:
    traces, truth = tables
    return {o.fake: o for o in compare(read_truth(truth), read_found(read_table(traces)))}


def test_errors_by_hand(tables):
    found = outcomes_of(tables)
    errors = {fake: (o.start_error, o.end_error) for fake, o in found.items() if o.right_source}
    assert errors == {"exact.mp4": (0, 0), "near.mp4": (1, 2), "far.mp4": (4, 0)}
    for fake in ("wrong.mp4", "none.mp4", "stranger.mp4", "fooled.mp4", "lost.mp4"):
        assert math.isinf(found[fake].start_error) and found[fake].iou == 0
    assert found["near.mp4"].iou == pytest.approx(25 / 28)
    assert found["lost.mp4"].verdict == "missing"
    assert [fake for fake, o in found.items() if o.right] == ["exact.mp4", "near.mp4",
                                                              "stranger.mp4"]
    assert list(found) == [row.split(",")[0] for row in TRUTH.split()[1:]]


def test_table_by_hand(tables):
    text = summary(*judge(tables[0], read_truth(tables[1])))
    rows = {cells[0]: cells[1:] for cells in
            ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())}
    shares = {tier: [cell.split(" ")[0] for cell in cells[1:]] for tier, cells in rows.items()
              if tier in ("clean", "geometry", "all")}
    assert {tier: rows[tier][0] for tier in shares} == {"clean": "3", "geometry": "3", "all": "6"}
    assert shares["clean"] == ["66.7", "33.3", "66.7", "66.7", "33.3"]
    assert shares["geometry"] == ["33.3", "0.0", "0.0", "33.3", "33.3"]
    assert shares["all"] == ["50.0", "16.7", "33.3", "50.0", "33.3"]
    assert "6 fakes with a source here: 1 ambiguous, 1 missing, 1 no_source, 3 traced" in text
    assert "2 fakes without a source here: 1 no_source, 1 traced" in text
    assert "traced to a wrong source: 2" in text


def test_frame_figures_end_to_end_and_with_the_source_right(tables):
    rows = {m.metric: m for m in frame_measures("all", list(outcomes_of(tables).values()))}
    assert (rows["end ±5"].value, rows["end ±5"].count) == (0.5, 6)
    assert (rows["end ±0, source right"].value, rows["end ±0, source right"].count) == (
        pytest.approx(2 / 3), 3)
    assert rows["mean start error"].value == pytest.approx(5 / 3)
    assert rows["95th percentile start error"].value == pytest.approx(np.percentile([0, 1, 4], 95))
    assert rows["IoU"].value == pytest.approx((1 + 25 / 28 + 21 / 25) / 6)
    assert rows["IoU, source right"].value == pytest.approx((1 + 25 / 28 + 21 / 25) / 3)
    assert rows["mean start error"].low <= 5 / 3 <= rows["mean start error"].high


def part(source: str, start: int, end: int, first: int, last: int) -> Stretch:
    return Stretch("s.mp4", "stitched", (source,) if source else (), start, end, first, last)


def row(source: str, start: int | None, end: int | None, first: int, last: int) -> Found:
    return Found("s.mp4", "traced" if source else "no_source", source, 0.9, first, last, start, end)


STITCHED = [part("a.mp4", 100, 129, 0, 29), part("b.mp4", 5, 34, 30, 59)]


def test_every_stretch_has_its_own_row():
    found = compare(STITCHED, [row("b.mp4", 3, 34, 28, 59), row("a.mp4", 100, 127, 0, 27)])
    assert [(o.found_source, o.start_error, o.end_error) for o in found] == [
        ("a.mp4", 0, 0), ("b.mp4", 0, 0)]  # compared at the stretch's own frames of the fake
    assert [o.iou for o in found] == pytest.approx([28 / 30, 30 / 32])


def test_one_row_answers_only_the_stretch_that_it_covers_most():
    found = compare(STITCHED, [row("a.mp4", 101, 160, 0, 59)])
    assert [(o.verdict, o.start_error) for o in found] == [("traced", 1), ("missing", math.inf)]
    found = compare(STITCHED, [row("b.mp4", 0, 59, 0, 59)])  # covers both alike: names the second
    assert [o.verdict for o in found] == ["missing", "traced"] and found[1].start_error == 25


def test_no_source_answers_every_stretch():
    found = compare([*STITCHED[:1], part("", 0, 29, 30, 59)], [row("", None, None, 0, 59)])
    assert [(o.verdict, o.right) for o in found] == [("no_source", False), ("no_source", True)]


def test_two_rows_for_one_stretch_the_longer_is_judged():
    found = compare(STITCHED[:1], [row("b.mp4", 0, 9, 0, 9), row("a.mp4", 110, 129, 10, 29)])
    assert found[0].found_source == "a.mp4" and (found[0].found_start, found[0].found_end) == (100,
                                                                                               129)


def test_any_trace_of_a_fake_without_a_source_is_wrong():
    rows = [row("", None, None, 0, 79), row("b.mp4", 5, 14, 80, 89)]
    outcome, = compare([part("", 0, 89, 0, 89)], rows)
    assert outcome.verdict == "traced" and outcome.found_source == "b.mp4"


def test_reversed_and_sped_up_fakes():
    backwards = [part("a.mp4", 90, 51, 0, 39)]
    right, forward = row("a.mp4", 90, 51, 0, 39), row("a.mp4", 51, 90, 0, 39)
    assert compare(backwards, [right])[0].start_error == 0
    assert compare(backwards, [right])[0].iou == 1
    assert compare(backwards, [forward])[0].start_error == 39
    middle = row("a.mp4", 80, 61, 10, 29)  # of the same line
    assert (compare(backwards, [middle])[0].start_error,
            compare(backwards, [middle])[0].end_error) == (0, 0)
    fast = compare([part("a.mp4", 10, 59, 0, 39)], [row("a.mp4", 10 + 12, 59 - 12, 10, 29)])[0]
    assert fast.start_error <= 1 and fast.end_error <= 1  # 1.25 and 1.32 source frames a frame


@pytest.mark.parametrize("one, other, expected", [
    ((0, 9), (0, 9), 1), ((0, 9), (5, 14), 1 / 3), ((9, 0), (0, 9), 1), ((0, 9), (10, 19), 0),
    ((3, 3), (3, 3), 1)])
def test_intersection_over_union(one, other, expected):
    assert overlap(one, other) == pytest.approx(expected)


def test_same_frame_numbers_without_a_known_length():
    truth = [Stretch("s.mp4", "ffpp", ("a.mp4",), 0, None)]
    found = compare(truth, [row("a.mp4", 21, 60, 20, 59)])[0]  # the fake was traced from frame 20
    assert (found.start, found.end) == (20, 59) and (found.start_error, found.end_error) == (1, 1)
    assert compare(truth, [])[0].verdict == "missing"


def test_a_truth_without_frames_is_judged_by_source_alone():
    truth = [Stretch("s.mp4", "faketd1", ("a.mp4", "b.mp4"), None, None)]
    outcomes = compare(truth, [row("b.mp4", 5, 9, 0, 4)])
    rows = {m.metric: m for m in frame_measures("all", outcomes)}
    assert rows["right source"].value == 1 and rows["start ±5"].count == 0
    assert np.isnan(rows["IoU"].value)


@pytest.mark.parametrize("frames, name", [(0, "length not known"), (1, "1-25 frames"),
                                          (25, "1-25 frames"), (26, "26-50 frames"),
                                          (100, "51-100 frames"),
                                          (101, "over 100 frames")])
def test_length_groups(frames, name):
    assert length_group(frames) == name


def test_a_truth_without_its_columns_is_an_error(tables):
    tables[1].write_text("fake,source\nexact.mp4,a.mp4\n")
    with pytest.raises(InputError, match="exact.mp4"):
        main(*tables)
    with pytest.raises(InputError, match="--truth"):
        main(tables[0])
    tables[1].write_text(TRUTH)
    with pytest.raises(InputError, match="missing.csv"):
        main(tables[0].with_name("missing.csv"), tables[1])
    tables[0].write_text("fake,verdict\nexact.mp4,traced\n")
    with pytest.raises(InputError, match="exact.mp4"):
        main(*tables)


def run(*options: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "benchmarks.evaluate", *map(str, options)],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_prints_fakes_and_table(tables):
    done = run("--traces", tables[0], "--truth", tables[1])
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0]: line for line in done.stdout.splitlines()
              if line.split() and line.split()[0].endswith(".mp4")}
    assert set(listed) == {row.split(",")[0] for row in TRUTH.split()[1:]}
    marked = {fake for fake, line in listed.items() if "<-- differs" in line}
    assert marked == {"far.mp4", "wrong.mp4", "none.mp4", "fooled.mp4", "lost.mp4"}
    assert "AUROC" not in done.stdout


def test_the_command_writes_all_figures_and_the_picture(tables, tmp_path):
    done = run("--traces", tables[0], "--truth", tables[1], "--full", "--quiet",
               "--csv", tmp_path / "figures.csv", "--picture", tmp_path / "found.png",
               "--plots", tmp_path / "plots")
    assert done.returncode == 0, done.stderr
    assert "exact.mp4" not in done.stdout and "AUROC" in done.stdout
    rows = {(r["metric"], r["group"]): r for r in read_table(tmp_path / "figures.csv")}
    assert rows["right source", "clean"]["value"] == "0.666667"
    assert rows["right source", "1-25 frames"]["count"] == "5"  # not the one without a row
    assert rows["rejected without a source", "all"]["value"] == "0.5"
    assert min(read_image(tmp_path / "found.png").shape[:2]) > 300
    assert {"accuracy_by_kind.pdf", "roc.png"} <= {p.name for p in (tmp_path / "plots").iterdir()}


def test_a_picture_of_an_unknown_kind_is_an_error(tables, tmp_path):
    done = run("--traces", tables[0], "--truth", tables[1], "--picture", tmp_path / "found.txt")
    assert done.returncode == 1 and "found.txt" in done.stderr.splitlines()[-1]


def test_another_copy_of_the_footage_is_a_right_source_without_frames(tables):
    done = run("--traces", tables[0], "--truth", tables[1], "--same-footage", "b.mp4", "a.mp4")
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert listed["wrong.mp4"].endswith("another copy of it") and "differs" in listed["none.mp4"]
    assert "| all | 6 | 66.7 %" in done.stdout and "traced to a wrong source: 1" in done.stdout
    truth = with_copies(read_truth(tables[1]), [("b.mp4", "a.mp4")])
    rows = {m.metric: m for m in judge(tables[0], truth)[1] if m.group == "all"}
    assert (rows["start ±5"].value, rows["start ±5"].count) == (0.5, 6)  # as without
    assert rows["start ±5, source right"].count == 3
    assert rows["rejected without a source"].count == 2
    with pytest.raises(InputError, match="twice"):
        with_copies(truth, [("b.mp4", "a.mp4"), ("c.mp4", "a.mp4")])


@pytest.mark.parametrize("start, end, errors, iou", [
    (12, 48, (0, 0), 1), (11, 49, (1, 1), 31 / 33), (12, 54, (0, 5), 31 / 36)])
def test_places_in_another_copy_of_the_footage_are_compared_by_their_time(tables, start, end,
                                                                          errors, iou):
    # 25 and 30 frames per second, as the rows tell; 10 to 40 of the one is 12 to 48 of the other
    copy = replace(trace("exact.mp4", "a30.mp4", start, end, "traced"), start_time_s=start / 30,
                   end_time_s=end / 30)
    other = replace(trace("near.mp4", "a.mp4", 20, 45, "traced"), start_time_s=0.8, end_time_s=1.8)
    write_table(tables[0], Trace, [copy, other])
    tables[1].write_text(TRUTH.splitlines()[0] + "\nexact.mp4,a.mp4,10,40,clean,1.0\n"
                         "near.mp4,a.mp4,20,44,clean,1.0\n")
    truth = with_copies(read_truth(tables[1]), [("a.mp4", "a30.mp4")])
    found, near = judge(tables[0], truth)[0]
    assert (found.start_error, found.end_error) == errors and near.end_error == 1
    assert found.iou == pytest.approx(iou)
    assert f"a30.mp4 {start}-{end}" in listing([found])
    alone = compare(truth, read_found(read_table(tables[0]))[:1])[0]  # a.mp4's rate is not known
    assert alone.right_source and math.isinf(alone.start_error)


def test_confusion_counts(tables):
    rows, names, counts = count_pairs(list(outcomes_of(tables).values()))
    assert rows == ["a.mp4", "b.mp4", "not in the database"]
    assert names == ["a.mp4", "b.mp4", NOTHING]
    assert counts.tolist() == [[2, 0, 1], [1, 1, 1], [1, 0, 1]]


def test_tables_come_back(tables):
    row = read_table(tables[0])[0]
    assert row["fake"] == "exact.mp4" and row["reason"] == 'a, "reason"'
    assert row["start_time_s"] == "" and row["confidence"] == "0.9"
