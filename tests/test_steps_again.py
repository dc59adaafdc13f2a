"""The five steps run again: nothing is made twice, and what changed is made anew."""

import shutil
import subprocess
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from clips import person_frames, write_clip
from models.fetch import sha256_of
from project import (CUT, LENGTH, MADE, PLAIN, SCRIPT, SEEDS, SHORT, STEPS, TABLES, TRUTH, again,
                     command, stamps, traces)
from utils.files import InputError, read_image, read_json, write_image, write_json
from utils.layout import RECTANGLES_NAME, VideoRecord, fake_result_path, frame_name
from utils.report import page_path
from utils.side_by_side import Roots
from utils.tables import read_table


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
    sources = {name for name in touched if "/fakes/" not in name and "/reports/" not in name
               and "/motion_search/" not in name}  # of all sources
    assert sources and all("/new" in name or "/talk one" in name for name in sources)
    assert {f"step{rest}.npz" for rest in (
        "4_scene_trace/index/new", "4_scene_trace/index/talk one", "5_flow_trace/motion/new",
        "5_flow_trace/motion/talk one")} <= touched
    new = traces(own_copy)
    for fake, (source, start, _) in TRUTH.items():
        if source != "talk one.mp4":
            assert (new[fake]["source"], new[fake]["start_frame"]) == (source, str(start))
    assert float(new[SCRIPT]["motion_score"] or 0) < float(old[SCRIPT]["motion_score"]) - 0.1


@pytest.mark.parametrize("most, count", [(None, 2), (1, 1)])
def test_before_a_plain_background_more_candidates_are_compared(own_copy, monkeypatch, most, count):
    monkeypatch.setattr(import_module(STEPS[4].stem), "PLAIN_KEYPOINTS", 10**6)
    again(4, top_k=1)
    again(5, top_k=most)
    for fake in TRUTH:
        video_id = Path(fake).with_suffix("").as_posix()
        ranked, compared = (read_json(fake_result_path(Path(root), video_id)) for root in (
            "step4_scene_trace", "step5_flow_trace"))
        assert len(ranked["candidates"]) == 2
        assert compared["made_with"]["candidates"] == ranked["candidates"][:count]


def test_a_source_that_only_motion_leads_to_has_a_page(own_copy):
    """As if step 4 had more sources than it writes candidates, and had not known this one again."""
    source, start, _ = TRUTH[SCRIPT]
    ranking = fake_result_path(Path("step4_scene_trace"), Path(SCRIPT).stem)
    found = read_json(ranking)
    others = [one | {"inliers": 0, "background_inliers": 0, "verified": False, "mapping": None}
              for one in found["candidates"] if one["source"] == "-début.mp4"]
    write_json(ranking, found | {"candidates": others})
    summary = again(5, index_all=True)[5]
    assert SCRIPT in summary.done and not summary.failed
    row = traces(own_copy)[SCRIPT]
    assert (row["verdict"], row["source"], row["start_frame"]) == ("traced", source, str(start))
    result = read_json(fake_result_path(Path("step5_flow_trace"), Path(SCRIPT).stem))
    assert result["stretches"][0]["source_sha256"] == sha256_of(Path("source_data", source))
    page = page_path(Roots(*map(Path, ("", "", "", "source_data", "step5_flow_trace"))),
                     Path(SCRIPT).stem).read_text("utf-8")
    assert sha256_of(Path("source_data", source)) in page and "where the fake differs" in page


def test_a_copy_of_a_file_makes_nothing_ambiguous_and_is_named(own_copy):
    old, names = traces(own_copy), {"talk one.mp4", "a copy.mp4"}
    shutil.copyfile("source_data/talk one.mp4", "source_data/a copy.mp4")
    again(1, 2, 4, 5)
    new = traces(own_copy)[SCRIPT]
    (other,) = names - {new["source"]}
    assert f"the same file is here as {other}, too" in new["reason"]
    told = ("verdict", "start_frame", "end_frame", "motion_score", "confidence", "runner_up")
    assert [new[name] for name in told] == [old[SCRIPT][name] for name in told]


def test_a_person_that_was_not_recognised_is_traced_by_the_whole_picture(own_copy):
    fake_id = SCRIPT.removesuffix(".mp4")
    mask = np.zeros_like(read_image(Path("step3_fake_masks") / fake_id / frame_name(0)))
    for index in range(CUT):
        write_image(Path("step3_fake_masks") / fake_id / frame_name(index), mask)
    write_json(Path("step3_fake_rect") / fake_id / RECTANGLES_NAME,
               {str(index): None for index in range(CUT)})
    again(5, overwrite=True)
    row = traces(own_copy)[SCRIPT]
    source, start, _ = TRUTH[SCRIPT]
    assert (row["verdict"], row["source"], row["start_frame"]) == ("traced", source, str(start))
    assert "no person was found in it, so its whole picture was compared" in row["reason"]
    assert not any("no person was found" in row["reason"] for row in traces(own_copy).values()
                   if row["fake"] in TRUTH and row["fake"] != SCRIPT)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_picture_that_is_gone_or_empty_is_made_again(own_copy, spoil):
    for number, root, name in ((2, "step2_source_backs", "talk one"),
                               (3, "step3_fake_masks", Path(SCRIPT).stem)):
        path = min((own_copy / root / name).glob("*.png"))
        before = path.read_bytes()
        spoil(path)
        summary = again(number)[number]
        assert [Path(done).stem for done in summary.done] == [name]
        assert path.read_bytes() == before


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


def test_a_video_that_is_gone_for_a_while_is_said_and_looked_at_when_it_is_back(own_copy):
    video, away = own_copy / "source_data/talk one.mp4", own_copy / "away.mp4"
    path = own_copy / f"step5_flow_trace/fakes/{Path(SCRIPT).stem}.json"
    before = path.read_bytes()
    video.rename(away)
    assert SCRIPT in again(5)[5].done
    found = read_json(path)
    assert found["made_with"]["no_pictures"] == ["talk one.mp4"]
    places = [h for h in found["stretches"][0]["alternatives"] if h["source"] == "talk one.mp4"]
    assert places and all(h["picture_score"] is None for h in places)
    away.rename(video)
    assert SCRIPT in again(5)[5].done and path.read_bytes() == before
    best = read_json(path)["stretches"][0]["alternatives"][0]
    assert best["source"] == "talk one.mp4" and best["picture_score"] > 0.5
