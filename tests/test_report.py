"""The report: pages, list, what is made again, escaping; the schema of the JSON."""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest

from report_project import COUNT, FAILED, SOURCE, START, UNDECODABLE, make_project
from utils import report
from utils.files import InputError
from utils.report import Templates, page_path, write_page, write_reports
from utils.report_words import doubts, finding, percent, speed, time_code
from utils.side_by_side import fake_id, source_frames, stretches_of

SCHEMA = json.loads((Path(report.__file__).parent / "trace.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Roots and results after write_reports(). Tests only read it."""
    return make_project(tmp_path_factory.mktemp("report"))


@pytest.fixture
def own_copy(project, tmp_path):
    """A copy of the project that a test may change."""
    roots, results = project
    shutil.copytree(roots.traces.parent, tmp_path / "copy")
    moved = [tmp_path / "copy" / path.relative_to(roots.traces.parent)
             for path in (roots.frames, roots.masks, roots.rects, roots.videos, roots.traces)]
    return type(roots)(*moved), json.loads(json.dumps(results))


def stamps(roots) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns
            for path in (roots.traces / "reports").rglob("*.html")}


def html_of(roots, name: str) -> str:
    return (roots.traces / "reports" / name).with_suffix(".html").read_text("utf-8")


# --- content ------------------------------------------------------------------------------------

def test_every_fake_has_a_page_and_a_row(project):
    roots, results = project
    overview = (roots.traces / "report.html").read_text("utf-8")
    assert len(stamps(roots)) == len(results)
    assert overview.count("<tr data-verdict") == len(results) + 1  # one fake has two stretches
    assert "4 traced" in overview and "1 ambiguous" in overview and "1 no source here" in overview
    for address in re.findall(r'<a href="(reports/[^"]*)"', overview):
        path = os.path.join(os.fsencode(roots.traces), unquote_to_bytes(address))
        assert os.path.isfile(path), address


def test_names_are_text_and_never_markup(project):
    roots, _ = project
    for page in [roots.traces / "report.html", *(roots.traces / "reports").rglob("*.html")]:
        html = page.read_text("utf-8")
        assert "<img src=x" not in html and "<b>not a video" not in html
        assert html.count("<script") == 1
    overview = (roots.traces / "report.html").read_text("utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;" in overview and "caf?.mp4" in overview


def test_pages_need_nothing_else(project):
    roots, _ = project
    for page in [roots.traces / "report.html", *(roots.traces / "reports").rglob("*.html")]:
        html = page.read_text("utf-8")
        assert "default-src 'none'" in html
        assert not re.search(r'src="(?!data:image/jpeg;base64,)', html)
        assert "url(" not in html and "@import" not in html and "http" not in re.sub(
            r"base64,[^\"]*|http-equiv", "", html)


def test_page_shows_all_evidence(project):
    html = html_of(project[0], "a plain.mp4")
    assert html.count('class="moment') == 8 and html.count("optical flow of the source") >= 8
    for text in ("heatmap of the whole stretch", "agreement of the motion", "matched points",
                 "Red: the peak, frame 9", "0" * 64, "videos/a%20plain.mp4", "95 % sure",
                 f"frames {START} to {START + COUNT - 1} of {SOURCE}", "What could make this wrong",
                 "mask_every", "motion score over start frames"):
        assert text in html, text


def test_stretches_are_shown_each(project):
    html = html_of(project[0], "joined.mp4")
    assert "Stretch 2 of 2: frames 12 to 23" in html
    assert "Frames 12 to 23 of this fake were made from frames 30 to 19" in html
    assert "backwards" in html
    assert "fake: frame <b>13</b>" in html and "source: frame <b>29</b>" in html


def test_without_a_source_the_fake_is_shown_alone(project):
    roots, _ = project
    html = (roots.traces / "reports" / UNDECODABLE).with_suffix(".html").read_text("utf-8")
    assert "was not made from any video of this database" in html
    assert "source, as the fake shows it" not in html and "optical flow of the fake" in html


def test_size_stays_bounded(project):
    sizes = [page.stat().st_size for page in (project[0].traces / "reports").rglob("*.html")]
    assert max(sizes) < 900_000
    assert (project[0].traces / "report.html").stat().st_size < 100_000


# --- made again, or not -------------------------------------------------------------------------

def test_a_second_run_makes_nothing_again(own_copy):
    roots, results = own_copy
    before, overview = stamps(roots), (roots.traces / "report.html").read_bytes()
    made = write_reports(results, roots, FAILED, save_video=True)
    assert not made.done and len(made.skipped) == len(results) and stamps(roots) == before
    assert (roots.traces / "report.html").read_bytes() == overview


def test_what_changed_is_made_again(own_copy, monkeypatch):
    roots, results = own_copy
    results[0]["traces"][0]["confidence"] = 0.5
    assert write_reports(results, roots, {}).done == ["a plain.mp4"]
    (roots.traces / "reports/unclear.jpg").unlink()
    assert write_reports(results, roots, {}).done == ["unclear.mp4"]
    (roots.videos / SOURCE).rename(roots.videos / "away.mp4")
    assert len(write_reports(results, roots, {}).done) == len(results)
    assert "The source cannot be shown" in html_of(roots, "a plain.mp4")
    (roots.videos / "away.mp4").rename(roots.videos / SOURCE)
    monkeypatch.setattr(report, "PAGE_VERSION", report.PAGE_VERSION + 1)
    assert len(write_reports(results, roots, {}).done) == len(results)


def test_pages_of_fakes_that_are_gone_go(own_copy):
    roots, results = own_copy
    foreign = roots.traces / "reports" / "mine.html"
    foreign.write_text("<p>my own notes</p>", encoding="utf-8")
    gone, *kept = results
    write_reports(kept, roots, {})
    left = set((roots.traces / "reports").rglob("*.*"))
    page = page_path(roots, fake_id(gone))
    assert not {page, page.with_suffix(".jpg")} & left
    assert {page_path(roots, fake_id(result)) for result in kept} | {foreign} <= left


def test_a_page_that_was_cut_off_is_made_again_the_same(own_copy):
    roots, results = own_copy
    page = roots.traces / "reports/a plain.html"
    content = page.read_bytes()
    page.write_bytes(content[:100])
    assert write_reports(results, roots, {}).done == ["a plain.mp4"]
    assert page.read_bytes() == content


def test_a_page_that_fails_costs_only_itself(own_copy):
    roots, results = own_copy
    shutil.rmtree(roots.frames / "a plain")
    made = write_reports(results, roots, {}, overwrite=True)
    assert list(made.failed) == ["a plain.mp4"] and len(made.done) == len(results) - 1
    overview = (roots.traces / "report.html").read_text("utf-8")
    assert "1 failed" in overview and "frame_000000.png" in overview
    with pytest.raises(InputError, match="frame_0000"):
        write_page(results[0], roots, Templates(), overwrite=True)


def test_no_report_on_request(own_copy):
    roots, results = own_copy
    shutil.rmtree(roots.traces / "reports")
    (roots.traces / "report.html").unlink()
    write_reports(results, roots, {}, report=False)
    assert not (roots.traces / "report.html").exists() and not stamps(roots)


# --- parts --------------------------------------------------------------------------------------

def test_source_frames_follow_the_alignment_or_the_rate():
    row = {"start_frame": 10, "end_frame": 14, "rate": 1.25}
    assert source_frames(row, {"alignment": [10, 11, 13, 14]}, 4) == [10, 11, 13, 14]
    assert source_frames(row, {}, 4) == [10, 11, 13, 14]  # 10, 11.25, 12.5, 13.75
    back = {"start_frame": 14, "end_frame": 12, "rate": -1.0}
    assert source_frames(back, {"alignment": []}, 3) == [14, 13, 12]
    assert source_frames({"start_frame": None}, {}, 3) == []


def test_words():
    assert (time_code(83.456), time_code(None), time_code(3600), time_code(59.999)) == (
        "1:23.46", "", "1:00:00.00", "1:00.00")
    assert percent(1.0) == "over 99 %" and percent(0.0) == "under 1 %"
    assert speed(0.5) == "0.5 source frames per frame of the fake"


def test_a_coarse_copy_is_a_reason_for_doubt(project):
    told, = (stretches_of(result)[0] for result in project[1] if result["fake"] == "a plain.mp4")
    assert not any("coarse" in doubt for doubt in doubts(told, []))
    told.detail["evidence"] |= {"unchanged_share": 0.62}
    assert any("coarse: 62 %" in doubt for doubt in doubts(told, []))
    told.detail["evidence"] |= {"unchanged_share": 0.1}


def test_findings_never_claim_more_than_the_verdict(project):
    said = {result["fake"]: finding(stretches_of(result)[0], result["traces"]) for result in project[1]}
    assert "was made from" in said["a plain.mp4"] and "may come from" in said["unclear.mp4"]
    assert "not made from any" in said[UNDECODABLE]


# --- schema -------------------------------------------------------------------------------------

def test_schema_is_sound_and_takes_a_result(project):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for result in project[1]:
        jsonschema.validate(result, SCHEMA)


@pytest.mark.parametrize("spoil", [
    lambda r: r.pop("schema"), lambda r: r.update(schema="fpvt-trace-0"),
    lambda r: r["traces"][0].update(verdict="maybe"), lambda r: r["traces"][0].update(extra=1),
    lambda r: r["traces"][0].update(start_frame=None), lambda r: r["stretches"].clear(),
    lambda r: r["stretches"][0]["alternatives"][0].pop("probability"),
    lambda r: r["made_with"]["record"].update(sha256="abc"),
    lambda r: r["stretches"][0]["agreement"][5].append("x")])
def test_schema_refuses_what_is_wrong(project, spoil):
    wrong = json.loads(json.dumps(project[1][0]))
    spoil(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)
