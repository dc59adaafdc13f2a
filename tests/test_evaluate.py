"""The table of results on cases that can be counted by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.evaluate import compare, main, summary, wilson
from utils.layout import InputError
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


def test_hits_by_hand(tables):
    found = {o.fake: o for o in compare(*map(read_table, tables))}
    yes, no = True, False
    # right source, start within 0, 1 and 5, end within 1
    assert found["exact.mp4"].hits == (yes, yes, yes, yes, yes)
    assert found["near.mp4"].hits == (yes, no, yes, yes, no)
    assert found["far.mp4"].hits == (yes, no, no, yes, yes)
    for fake in ("wrong.mp4", "none.mp4", "stranger.mp4", "fooled.mp4", "lost.mp4"):
        assert found[fake].hits == (no, no, no, no, no)
    assert found["lost.mp4"].verdict == "missing"
    assert [o.fake for o in found.values()] == [row.split(",")[0] for row in TRUTH.split()[1:]]


def test_table_by_hand(tables):
    lines = summary(compare(*map(read_table, tables))).splitlines()
    rows = {cells[0]: cells[1:] for cells in
            ([cell.strip() for cell in line.strip("|").split("|")] for line in lines) if cells[0]}
    shares = {tier: [cell.split(" ")[0] for cell in cells[1:]] for tier, cells in rows.items()
              if tier in ("clean", "geometry", "all")}
    assert {tier: rows[tier][0] for tier in shares} == {"clean": "3", "geometry": "3", "all": "6"}
    assert shares["clean"] == ["66.7", "33.3", "66.7", "66.7", "33.3"]
    assert shares["geometry"] == ["33.3", "0.0", "0.0", "33.3", "33.3"]
    assert shares["all"] == ["50.0", "16.7", "33.3", "50.0", "33.3"]
    assert "6 fakes with a source here: 1 ambiguous, 1 missing, 1 no_source, 3 traced" in lines
    assert "2 fakes without a source here: 1 no_source, 1 traced" in lines
    assert "traced to a wrong source: 2" in lines


@pytest.mark.parametrize("hits, count, low, high", [
    (0, 0, 0, 1), (8, 10, 0.4902, 0.9433), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)])
def test_wilson_intervals(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_a_stitched_fake_is_judged_by_its_first_stretch(tables):
    write_table(tables[0], Trace, [trace("exact.mp4", "a.mp4", 10, 34, "traced"),
                                   trace("exact.mp4", "b.mp4", 70, 94, "traced")])
    tables[1].write_text("\n".join(TRUTH.splitlines()[:2] + ["exact.mp4,b.mp4,70,94,clean,1.0"]))
    outcomes = compare(*map(read_table, tables))
    assert len(outcomes) == 1 and outcomes[0].found_source == "a.mp4" and all(outcomes[0].hits)


def test_a_truth_without_its_columns_is_an_error(tables):
    tables[1].write_text("fake,source\nexact.mp4,a.mp4\n")
    with pytest.raises(InputError, match="exact.mp4"):
        main(*tables)
    with pytest.raises(InputError, match="missing.csv"):
        main(tables[0].with_name("missing.csv"), tables[1])


def test_the_command_prints_fakes_and_table(tables):
    done = subprocess.run([sys.executable, "-m", "benchmarks.evaluate", "--traces", tables[0],
                           "--truth", tables[1]], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0]: line for line in done.stdout.splitlines()
              if line.split() and line.split()[0].endswith(".mp4")}
    assert set(listed) == {row.split(",")[0] for row in TRUTH.split()[1:]}
    marked = {fake for fake, line in listed.items() if "<-- differs" in line}
    assert marked == {"far.mp4", "wrong.mp4", "none.mp4", "fooled.mp4", "lost.mp4"}


def test_tables_come_back(tables):
    row = read_table(tables[0])[0]
    assert row["fake"] == "exact.mp4" and row["reason"] == 'a, "reason"'
    assert row["start_time_s"] == "" and row["confidence"] == "0.9"
