"""The five steps, run once as a user runs them, on a small database made here."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from project import CUT, LENGTH, MADE, PLAIN, SCRIPT, SEEDS, SHORT, TRUTH, files_of, traces
from utils.files import read_image, read_json
from utils.layout import RECTANGLES_NAME, frame_name
from utils.tables import Trace, read_table


def test_exit_status_tells_of_broken_files(project):
    assert {number: done.returncode for number, done in project[1].items()} == {
        1: 1, 2: 0, 3: 1, 4: 0, 5: 0}, [done.stderr for done in project[1].values()]


def test_a_broken_file_is_named_in_one_line(project):
    root, done = project
    for number, names in ((1, ["source_data/broken.mp4"]),
                          (3, ["fake_data/broken.mp4", "fake_data/sound.mp4"])):
        lines = done[number].stderr.splitlines()
        assert not any("Traceback" in line for line in lines)
        for name in names:
            assert len([line for line in lines if name in line]) == 1
    assert "5 done, 0 complete already, 1 failed" in done[1].stderr
    assert "6 done, 0 complete already, 2 failed" in done[3].stderr


def test_the_others_are_done(project):
    root, _ = project
    assert files_of(root, "step1_source_frames") == {*SEEDS, *PLAIN}
    assert files_of(root, "step2_source_backs") == {*SEEDS, *PLAIN}
    for folder in MADE[2:7]:
        assert files_of(root, folder) == {*TRUTH, *SHORT}


def test_nothing_temporary_stays(project):
    assert not [file for made in MADE for file in (project[0] / made).rglob(".*")]


@pytest.mark.parametrize("fake", TRUTH)
def test_right_source_and_exact_start(project, fake):
    source, start, flip = TRUTH[fake]
    row = traces(project[0])[fake]
    assert row["verdict"] != "no_source", row
    found = (row["source"], int(row["start_frame"]), int(row["end_frame"]), row["flip"])
    assert found == (source, start, start + CUT - 1, str(flip))
    assert (row["fake_start_frame"], row["fake_end_frame"]) == ("0", str(CUT - 1))
    assert float(row["rate"]) == 1 and float(row["motion_score"]) > 0.8
    assert float(row["start_time_s"]) == pytest.approx(start / 25, abs=0.01)
    assert float(row["end_time_s"]) == pytest.approx((start + CUT - 1) / 25, abs=0.01)


def test_tables_have_the_promised_columns(project):
    with open(project[0] / "step5_flow_trace/traces.csv", newline="", encoding="utf-8") as file:
        assert ",".join(next(csv.reader(file))) == (
            "fake,fake_start_frame,fake_end_frame,verdict,source,start_frame,end_frame,"
            "start_time_s,end_time_s,rate,flip,scene_score,motion_score,confidence,runner_up,reason")
    with open(project[0] / "step4_scene_trace/scene_ranking.csv", newline="",
              encoding="utf-8") as file:
        assert ",".join(next(csv.reader(file))) == (
            "fake,rank,source,scene_score,angular_distance_rad,inliers,flip")


@pytest.mark.parametrize("fake", TRUTH)
def test_every_frame_is_told_where_it_came_from(project, fake):
    source, start, _ = TRUTH[fake]
    with open(project[0] / "step5_flow_trace/frames.csv", newline="", encoding="utf-8") as file:
        rows = [list(row.values()) for row in csv.DictReader(file) if row["fake"] == fake]
    assert rows == [[fake, str(index), source, str(start + index)] for index in range(CUT)]


def test_every_fake_has_its_row(project):
    rows = traces(project[0])
    assert set(rows) == {*TRUTH, *SHORT}
    for row in rows.values():
        assert row["verdict"] in ("traced", "ambiguous", "no_source") and row["reason"]
        assert 0 <= float(row["confidence"]) <= 1
        assert row["verdict"] != "no_source" or not row["source"] and not row["start_frame"]


def test_a_fake_without_motion_has_no_frames(project):
    for fake, last in (("one.mp4", "0"), ("nobody.webm", "11")):
        row = traces(project[0])[fake]
        assert (row["fake_start_frame"], row["fake_end_frame"]) == ("0", last)
        assert row["verdict"] != "traced" and not row["start_frame"] and not row["rate"]


def test_ranking_puts_the_scene_first(project):
    rows = read_table(project[0] / "step4_scene_trace/scene_ranking.csv")
    for fake, (source, _, flip) in TRUTH.items():
        mine = [row for row in rows if row["fake"] == fake]
        assert [int(row["rank"]) for row in mine] == list(range(1, len(mine) + 1))
        assert {row["source"] for row in mine} == {*SEEDS, *PLAIN}
        scene = {name for name, (_, place) in SEEDS.items() if place == SEEDS[source][1]}
        first = mine[0]
        assert first["source"] in scene and int(first["flip"]) == flip
        for row in mine:
            assert float(row["angular_distance_rad"]) == pytest.approx(
                np.arccos(float(row["scene_score"])), abs=1e-3)


def test_pictures_of_a_fake_fit_together(project):
    root, _ = project
    name = Path(SCRIPT).stem
    rectangles = read_json(root / "step3_fake_rect" / name / RECTANGLES_NAME)
    assert list(rectangles) == [str(index) for index in range(CUT)]
    for index in (0, CUT - 1):
        frame, mask, back, fore = (read_image(root / f"step3_fake_{kind}" / name
                                              / frame_name(index))
                                   for kind in ("frames", "masks", "backs", "fores"))
        x, y, width, height = rectangles[str(index)]
        assert set(np.unique(mask)) == {0, 255} and (mask > 0).mean() > 0.2
        assert (mask[y:y + height, x:x + width] > 0).sum() > 0.95 * (mask > 0).sum()
        assert np.array_equal(fore[..., 3], mask) and not fore[mask == 0].any()
        assert np.array_equal(fore[mask > 0][:, :3], frame[mask > 0])
        kept = back[..., 3] > 0
        assert not kept[mask > 0].any() and not back[~kept].any()
        assert np.array_equal(back[kept][:, :3], frame[kept])


def test_nobody_is_said_and_kept_as_null(project):
    root, done = project
    rectangles = read_json(root / "step3_fake_rect/nobody" / RECTANGLES_NAME)
    assert list(rectangles.values()) == [None] * 12
    assert "nobody.webm: no person found" in done[3].stderr


def test_report_escapes_names_and_needs_nothing_else(project):
    html = (project[0] / "step5_flow_trace/report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1 and "&lt;script&gt;alert(1)&lt;&amp;" in html
    assert not re.search(r"(?:src|href)=\"(?!data:|#|reports/)", html)
    assert html.count("data:image/jpeg") >= len(TRUTH)
    assert "sub/-gespiegelt ü.avi" in html and "-début.mp4" in html
    assert len(list((project[0] / "step5_flow_trace/reports").rglob("*.html"))) >= len(TRUTH)


def test_json_of_a_fake_has_alternatives_and_the_curve(project):
    found = read_json(project[0] / "step5_flow_trace/fakes" / f"{Path(SCRIPT).stem}.json")
    (stretch,) = found["stretches"]
    assert found["fake"] == SCRIPT and stretch["alternatives"][0]["source"] == "talk one.mp4"
    assert len(stretch["score_curve"]) == LENGTH - CUT + 1
    assert int(np.argmax(stretch["score_curve"])) == TRUTH[SCRIPT][1]
    total = (sum(a["probability"] for a in stretch["alternatives"])
             + stretch["no_source_probability"])
    assert total == pytest.approx(1, abs=0.05)
    start = TRUTH[SCRIPT][1]
    assert stretch["alignment"] == list(range(start, start + CUT))
    cells = [cell for row in stretch["agreement"] for cell in row if cell is not None]
    assert len(cells) > 10 and np.median(cells) > 0.5
    assert all(set(row) == set(Trace.__dataclass_fields__) for row in found["traces"])
