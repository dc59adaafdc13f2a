"""The five steps, run as a user runs them, on a small database made here."""

import csv
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from clips import empty_frames, numbered_clip, number_of, person_frames, write_clip, write_sound
from utils.files import InputError, read_image, read_json
from utils.layout import RECTANGLES_NAME, VideoRecord, evenly_spaced, frame_name
from utils.tables import Trace, read_table

ROOT = Path(__file__).parents[1]
STEPS = {int(path.name[4]): path for path in sorted(ROOT.glob("step*.py"))}
LENGTH, CUT = 60, 30  # frames of a source and of a fake
SCRIPT = "<script>alert(1)<&'.mp4"
# fake -> the source it was cut out of, its first frame there, and whether it was mirrored
TRUTH = {SCRIPT: ("talk one.mp4", 20, 0), "sub/-gespiegelt ü.avi": ("sub/take.mkv", 12, 1),
         "-plain é.mp4": ("-début.mp4", 0, 0)}
SEEDS = {"talk one.mp4": (1, "brick"), "-début.mp4": (2, "rocket"), "sub/take.mkv": (3, "brick")}
PLAIN = ("empty room.mp4", "single.mp4")  # sources without motion of a person
SHORT = ("one.mp4", "two.mp4", "nobody.webm")  # fakes without a source here, or without motion
MADE = ("step1_source_frames", "step2_source_backs", "step3_fake_frames", "step3_fake_rect",
        "step3_fake_masks", "step3_fake_backs", "step3_fake_fores", "step4_scene_trace",
        "step5_flow_trace")
TABLES = ("scene_ranking.csv", "traces.csv", "report.html")  # written by every run


def make_videos(root: Path) -> None:
    """Sources and fakes, and files that are hard or impossible to work on."""
    sources, fakes = root / "source_data", root / "fake_data"
    for name, (seed, place) in SEEDS.items():
        write_clip(sources / name, person_frames(seed, LENGTH, place), crf="18")
    write_clip(sources / "empty room.mp4", empty_frames("gravel", 20))
    write_clip(sources / "single.mp4", person_frames(7, 1, "rocket"))
    (sources / "broken.mp4").write_text("This is not a video.")
    for name, (source, start, flip) in TRUTH.items():
        frames = list(person_frames(SEEDS[source][0], LENGTH, SEEDS[source][1]))[start:start + CUT]
        options = {"codec": "mpeg4", "b": "1500k"} if name.endswith(".avi") else {"crf": "30"}
        write_clip(fakes / name, [frame[:, ::-1] if flip else frame for frame in frames], **options)
    write_clip(fakes / "one.mp4", person_frames(8, 1, "brick"))
    write_clip(fakes / "two.mp4", person_frames(8, 2, "brick"))
    write_clip(fakes / "nobody.webm", empty_frames("grass", 12), codec="libvpx")
    write_sound(fakes / "sound.mp4")
    (fakes / "broken.mp4").write_bytes(b"")


def command(number: int, *options: object) -> list[str]:
    return [sys.executable, str(STEPS[number]), *map(str, options)]


def run(number: int, folder: Path, *options: object) -> subprocess.CompletedProcess:
    """A step as a command in a folder, with the default folders unless options say otherwise."""
    return subprocess.run(command(number, *options), cwd=folder, capture_output=True, text=True,
                          timeout=240)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> tuple[Path, dict[int, subprocess.CompletedProcess]]:
    """A folder after all five steps, and how each of them ended. Tests only read it."""
    root = tmp_path_factory.mktemp("project")
    make_videos(root)
    return root, {number: run(number, root) for number in STEPS}


@pytest.fixture
def own_copy(project, tmp_path, monkeypatch) -> Path:
    """A copy of the project, made the current folder."""
    root = tmp_path / "project"
    shutil.copytree(project[0], root)
    monkeypatch.chdir(root)
    return root


def again(*numbers: int, **options: object) -> dict:
    """Run steps in the current folder, in this process; their summaries by number."""
    return {number: import_module(STEPS[number].stem).main(**options) for number in numbers}


def stamps(root: Path) -> dict[str, int]:
    """Change times of everything the steps made, but for the tables of each run."""
    return {file.relative_to(root).as_posix(): file.stat().st_mtime_ns for made in MADE
            for file in (root / made).rglob("*") if file.is_file()
            and file.name not in (*TABLES, "failed.json")}


def files_of(root: Path, folder: str) -> set[str]:
    """Videos of which a folder holds a complete record."""
    return {VideoRecord.read(file.parent).file for file in (root / folder).rglob("video.json")}


def traces(root: Path) -> dict[str, dict[str, str]]:
    return {row["fake"]: row for row in read_table(root / "step5_flow_trace/traces.csv")}


# --- one run of everything ----------------------------------------------------------------------

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


# --- running again ------------------------------------------------------------------------------

def test_a_second_run_makes_nothing_again(own_copy):
    before = stamps(own_copy)
    tables = [file.read_bytes() for name in TABLES for file in own_copy.rglob(name)]
    found = again(*STEPS)
    assert all(not summary.done for summary in found.values())
    assert found[1].skipped == sorted({*SEEDS, *PLAIN})
    assert list(found[1].failed) == ["broken.mp4"]
    assert found[3].skipped == sorted({*TRUTH, *SHORT})
    assert stamps(own_copy) == before
    assert [file.read_bytes() for name in TABLES for file in own_copy.rglob(name)] == tables


def test_a_database_grows_by_a_file_and_notices_another_content(own_copy):
    before, old = stamps(own_copy), traces(own_copy)
    write_clip(own_copy / "source_data/new.mp4", person_frames(9, 40, "grass"))
    write_clip(own_copy / "source_data/talk one.mp4", person_frames(4, LENGTH, "brick"))
    found = again(1, 2, 4, 5)
    assert found[1].done == found[2].done == ["new.mp4", "talk one.mp4"]
    after = stamps(own_copy)
    touched = {name for name in after if after[name] != before.get(name)}
    sources = {name for name in touched if "/fakes/" not in name and "/reports/" not in name}
    assert sources and all("/new" in name or "/talk one" in name for name in sources)
    assert {f"step{rest}.npz" for rest in (
        "4_scene_trace/index/new", "4_scene_trace/index/talk one", "5_flow_trace/motion/new",
        "5_flow_trace/motion/talk one")} <= touched
    new = traces(own_copy)
    for fake, (source, start, _) in TRUTH.items():
        if source != "talk one.mp4":
            assert (new[fake]["source"], new[fake]["start_frame"]) == (source, str(start))
    assert float(new[SCRIPT]["motion_score"] or 0) < float(old[SCRIPT]["motion_score"]) - 0.1


def test_a_source_that_is_gone_leaves_the_index(own_copy):
    for folder in MADE[:2]:
        shutil.rmtree(own_copy / folder / "talk one")
    again(4)
    ranked = {row["source"] for row in read_table("step4_scene_trace/scene_ranking.csv")}
    assert ranked == {"-début.mp4", "sub/take.mkv", *PLAIN}
    assert not (own_copy / "step4_scene_trace/index/talk one.npz").exists()


def test_other_settings_are_made_again(own_copy):
    before = stamps(own_copy)
    assert again(1, extract_num=3)[1].done == sorted({*SEEDS, *PLAIN})
    assert again(2)[2].done == sorted({*SEEDS, *PLAIN})
    frames = [file.name for file in Path("step2_source_backs/talk one").glob("*.png")]
    assert sorted(frames) == [frame_name(index) for index in (10, 30, 50)]
    changed = stamps(own_copy)
    assert all(changed[name] == time for name, time in before.items() if "step3" in name)


def test_overwrite_makes_all_again(own_copy):
    before = stamps(own_copy)
    assert again(1, overwrite=True)[1].done == sorted({*SEEDS, *PLAIN})
    after = stamps(own_copy)
    assert all(after[name] != before[name] for name in after if name.startswith("step1"))


def test_damaged_caches_are_made_again(own_copy):
    expected = traces(own_copy)
    for path in ("step4_scene_trace/index/-début.npz", "step5_flow_trace/motion/sub/take.npz"):
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[:len(content) // 2])
    again(4, 5)
    assert traces(own_copy) == expected


def test_a_source_that_comes_back_is_compared(own_copy):
    expected = traces(own_copy)[SCRIPT]
    video = own_copy / "source_data/talk one.mp4"
    shutil.rmtree("step5_flow_trace")
    video.rename(own_copy / "away.mp4")
    failed = again(5)[5].failed
    assert list(failed) == ["talk one"] and "source_data/talk one.mp4" in failed["talk one"]
    row = traces(own_copy)[SCRIPT]  # its scene still agrees: "no source" would be wrong
    assert (row["verdict"], row["source"], row["start_frame"]) == ("ambiguous", "talk one.mp4", "")
    assert "could not be read" in row["reason"]
    (own_copy / "away.mp4").rename(video)
    assert not again(5)[5].failed
    assert traces(own_copy)[SCRIPT] == expected


def test_no_source_at_all_can_be_read(own_copy):
    step5 = import_module(STEPS[5].stem)
    with pytest.raises(InputError, match="--video-root"):
        step5.main(video_root=own_copy / "nowhere", trace_root=own_copy / "elsewhere")


def test_killed_and_run_again(project, tmp_path):
    roots = {kind: tmp_path / kind for kind in ("frame", "rect", "mask", "back", "fore")}
    options = [text for kind, root in roots.items() for text in (f"--{kind}-root", root)]
    videos = project[0] / "fake_data/sub"
    process = subprocess.Popen(command(3, "-q", "--video-path", videos, *options))
    while process.poll() is None and not any(root.exists() for root in roots.values()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    step3 = import_module(STEPS[3].stem)
    summary = step3.main(videos, **{f"{kind}_root": root for kind, root in roots.items()})
    assert summary.done + summary.skipped == ["-gespiegelt ü.avi"] and not summary.failed
    for kind, root in roots.items():
        assert VideoRecord.read(root / "-gespiegelt ü").frames == list(range(CUT))
        count = len(list((root / "-gespiegelt ü").glob("*.png")))
        assert count == (0 if kind == "rect" else CUT)


# --- options ------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, options", [
    ("b frames.mp4", {"bf": "3", "g": "250"}), ("old.avi", {"codec": "mpeg4", "bf": "2"}),
    ("sub/uneven.mkv", {"times": [3 + 0.04 * index + (index > 20) for index in range(60)]})])
def test_sampled_frames_are_those_of_the_video(tmp_path, monkeypatch, name, options):
    monkeypatch.chdir(tmp_path)
    numbered_clip(tmp_path / "source_data" / name, 60, **options)
    again(1)
    folder = Path("step1_source_frames") / Path(name).with_suffix("")
    record = VideoRecord.read(folder)
    assert record.frames == [3, 9, 15, 21, 27, 33, 39, 45, 51, 57] and record.frame_count == 60
    files = sorted(file.name for file in folder.glob("*.png"))
    assert files == [frame_name(index) for index in record.frames]
    for index in record.frames:
        assert number_of(read_image(folder / frame_name(index))) == index


def test_a_cut_video_is_sampled_over_what_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = numbered_clip(tmp_path / "source_data/clip.mpg", 60, codec="mpeg2video", bf="2")
    content = clip.read_bytes()
    clip.write_bytes(content[:len(content) // 3])
    again(1, extract_num=4)
    record = VideoRecord.read(Path("step1_source_frames/clip"))
    assert 8 < record.frame_count < 60
    assert record.frames == evenly_spaced(record.frame_count, 4)
    files = sorted(Path("step1_source_frames/clip").glob("*.png"))
    assert [file.name for file in files] == [frame_name(index) for index in record.frames]
    assert [number_of(read_image(file)) for file in files[:3]] == record.frames[:3]


def test_begin_and_end_frame_choose_a_clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbered_clip(tmp_path / "fake_data/clip.mp4", 40, bf="2")
    for begin, end, wanted in ((10, 14, range(10, 15)), (35, None, range(35, 40)),
                               (38, 90, range(38, 40))):
        again(3, begin_frame=begin, end_frame=end)
        record = VideoRecord.read(Path("step3_fake_frames/clip"))
        assert record.frames == list(wanted) and record.frame_count == 40
        files = sorted(Path("step3_fake_frames/clip").glob("*.png"))
        assert [file.name for file in files] == [frame_name(index) for index in wanted]
        assert [number_of(read_image(file)) for file in files] == list(wanted)
    assert "none from frame 40" in again(3, begin_frame=40)[3].failed["clip.mp4"]


def test_a_clip_of_a_fake_is_traced_in_its_own_frame_numbers(own_copy):
    again(3, begin_frame=5, end_frame=24)
    again(4, 5)
    row = traces(own_copy)[SCRIPT]
    assert (row["fake_start_frame"], row["fake_end_frame"]) == ("5", "24")
    assert (row["source"], row["start_frame"], row["end_frame"]) == ("talk one.mp4", "25", "44")


def test_one_video_and_a_name_that_looks_like_an_option(tmp_path):
    numbered_clip(tmp_path / "-x y.mp4", 4)
    done = run(3, tmp_path, "--video-path=-x y.mp4")
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path, "step3_fake_frames") == {"-x y.mp4"}


def test_names_that_are_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.mp4")
    numbered_clip(tmp_path / "clip.mp4", 4)
    (tmp_path / "source_data").mkdir()
    (tmp_path / "clip.mp4").rename(tmp_path / "source_data" / name)
    assert again(1)[1].done == [name]
    assert again(1)[1].skipped == [name]
    assert again(2)[2].done == [name]


@pytest.mark.parametrize("number", STEPS)
def test_every_option_is_explained(number, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert status(number, monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (-.*?)(?:\s{2,}(\S.*))?$\n?(?:^ {10,}(\S.*)$)?", text, re.MULTILINE)
    assert len(options) >= 7
    assert all(len(same or following) > 5 for _, same, following in options), options
    assert "default: None" not in text


def status(number: int, monkeypatch, *options: object) -> int:
    """Exit status of a step's command line, run in this process."""
    monkeypatch.setattr(sys, "argv", [STEPS[number].name, *map(str, options)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(STEPS[number]), run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("number, options, said", [
    (1, ["--extract-num", "0"], "--extract-num"),
    (1, ["--workers", "-1"], "--workers"),
    (1, ["--video-root", "nowhere"], "nowhere"),
    (1, ["--video-root", "twins"], "twins/a.avi and twins/a.mp4"),
    (2, ["--frame-root", "nowhere"], "run step 1 first"),
    (2, ["--segmenter-model", "nowhere.tflite"], "nowhere.tflite"),
    (3, ["--video-path", "nowhere"], "nowhere"),
    (3, ["--begin-frame", "5", "--end-frame", "4"], "--end-frame"),
    (3, ["--begin-frame", "-1"], "--begin-frame"),
    (4, ["--source-back-root", "nowhere"], "run step 2 first"),
    (4, ["--fake-back-root", "nowhere"], "run step 3 first"),
    (4, ["--verify", "0"], "--verify"),
    (4, ["--embedder-model", "nowhere.pth"], "nowhere.pth"),
    (5, ["--fake-frame-root", "nowhere"], "run step 3 first"),
    (5, ["--scene-root", "nowhere"], "run step 4 first"),
    (5, ["--top-k", "0"], "--top-k"),
    (5, ["--flow", "raft", "--raft-weights", "nowhere.pth"], "nowhere.pth")])
def test_wrong_input_ends_before_the_work(project, monkeypatch, caplog, number, options, said):
    monkeypatch.chdir(project[0])
    twins = project[0] / "twins"
    twins.mkdir(exist_ok=True)
    for name in ("a.avi", "a.mp4"):
        (twins / name).write_bytes(b"x")
    before = stamps(project[0])
    assert status(number, monkeypatch, *options) == 2
    assert said in caplog.text and stamps(project[0]) == before


@pytest.mark.parametrize("options", [["--unknown"], ["--extract-num", "many"], ["-v", "-q"],
                                     ["stray"]])
def test_wrong_usage_is_told_by_the_parser(monkeypatch, capsys, options):
    assert status(1, monkeypatch, *options) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("number", [1, 3])
def test_quiet_says_only_what_went_wrong(project, tmp_path, number):
    videos = "--video-root" if number == 1 else "--video-path"
    numbered_clip(tmp_path / "good/clip.mp4", 3)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/text.mp4").write_text("no video")
    good = run(number, tmp_path, videos, "good", "-q", "--overwrite")
    bad = run(number, tmp_path, videos, "bad", "-q")
    assert good.returncode == 0 and "done" not in good.stderr and good.stdout == ""
    assert bad.returncode == 1 and bad.stderr.splitlines() == [
        "bad/text.mp4: not a readable video (Invalid data found when processing input)"]
