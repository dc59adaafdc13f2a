"""The ablation: scene roots and answers with a part taken away, and the whole of it on a small set.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation_answers import scene_alone, without_decision, without_poses
from benchmarks.ablation_scenes import digest, without_mapping, without_scene
from benchmarks.ablation_table import Took, figures, overview
from benchmarks.queries import LEFT_OUT
from benchmarks.truths import Stretch
from small_batch import CUT, make_batch, run, start_server
from utils import decision
from utils.decision import NO_SOURCE, TRACED, Hypothesis
from utils.files import InputError, read_json, write_json
from utils.layout import VideoRecord, fake_result_path
from utils.registration import Keypoints
from utils.scene_index import SceneEntry, indexed_ids, read_ranking
from utils.tables import Trace, read_table, write_table

SOURCES = ("a", "b", "c")
LAST = 24  # frame of the fakes
MAPPED = {"inliers": 40, "background_inliers": 12, "verified": True, "flip": 1, "fake_frame": 3,
          "source_frame": 9, "mapping": [[1.0, 0.0, 5.0], [0.0, 1.0, 7.0]],
          "fake_points": [[1.0, 2.0]], "source_points": [[3.0, 4.0]]}
NOT_MAPPED = {"inliers": 0, "background_inliers": 0, "verified": False, "flip": 0, "mapping": None}
FAKE, STRANGER = "sub/fake.mp4", "stranger.mp4"
TRUTH = [Stretch(FAKE, "clean", ("b.mp4",), 3, 27), Stretch(STRANGER, "clean-absent", (), 0, 24)]


def record(name: str) -> VideoRecord:
    return VideoRecord(name, 1000, "0" * 64, 25.0, LAST + 1, 64, 48, list(range(LAST + 1)), {})


def candidate(source_id: str, score: float, more: dict) -> dict:
    return {"source": f"{source_id}.mp4", "source_id": source_id, "source_sha256": "0" * 64,
            "scene_score": score, "angular_distance_rad": float(np.arccos(score)), **more}


@pytest.fixture
def work(tmp_path) -> Path:
    """What steps 3 and 4 leave of two fakes and three sources, as far as the ablation reads it."""
    scene = tmp_path / "work" / "step4_scene_trace"
    nothing = Keypoints(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8),
                        np.empty(0, bool))
    for name in SOURCES:
        SceneEntry(name, record(f"{name}.mp4"), np.ones((LAST + 1, 4), np.float16),
                   [None] * (LAST + 1), [0], [nothing]).write(scene, {})
    for fake, candidates in ((FAKE, [candidate("b", 0.4, MAPPED), candidate("a", 0.9, NOT_MAPPED),
                                     candidate("c", 0.2, NOT_MAPPED)]),
                             (STRANGER, [candidate("c", 0.5, NOT_MAPPED)])):
        fake_id = fake.removesuffix(".mp4")
        record(fake).write(tmp_path / "work" / "step3_fake_frames" / fake_id)
        write_json(fake_result_path(scene, fake_id), {"fake": fake, "made_with": {},
                                                      "candidates": candidates})
    return tmp_path / "work"


def test_without_mapping_candidates_keep_their_appearance_alone(work, tmp_path):
    before = digest(work, work / "step4_scene_trace")
    scene = without_mapping(work, tmp_path / "out" / "scene")
    assert read_ranking(scene, "sub/fake")["candidates"] == [
        candidate("a", 0.9, NOT_MAPPED), candidate("b", 0.4, NOT_MAPPED),
        candidate("c", 0.2, NOT_MAPPED)]
    assert indexed_ids(scene) == list(SOURCES)
    assert digest(work, work / "step4_scene_trace") == before != digest(work, scene)


def test_without_a_scene_stage_all_sources_are_candidates_by_name(work, tmp_path):
    scene = without_scene(work, tmp_path / "out" / "scene")
    for fake_id in ("sub/fake", "stranger"):
        found = read_ranking(scene, fake_id)["candidates"]
        assert [(c["source"], c["scene_score"]) for c in found] == [
            ("a.mp4", 0.0), ("b.mp4", 0.0), ("c.mp4", 0.0)]
        assert all(c | NOT_MAPPED == c for c in found)


def test_a_scene_root_made_twice_is_the_same(work, tmp_path):
    folder = tmp_path / "out" / "scene"
    first = digest(work, without_mapping(work, folder))
    write_json(fake_result_path(folder, "gone"), {})
    assert digest(work, without_mapping(work, folder)) == first
    assert not fake_result_path(folder, "gone").is_file()
    shutil.rmtree(work / "step4_scene_trace" / "fakes")
    with pytest.raises(InputError, match="step 4"):
        without_mapping(work, folder)


def test_the_scene_alone_names_its_first_candidate_and_no_frames(work):
    outcomes, asked = scene_alone(work, TRUTH)
    assert [(o.fake, o.found_source, o.found_start) for o in outcomes] == [
        (FAKE, "b.mp4", None), (STRANGER, "c.mp4", None), (FAKE + LEFT_OUT, "a.mp4", None)]
    assert [q.source_here for q in asked] == pytest.approx([40.4, 0.5, 0.9])


# motion prefers a stranger by a little; the true place has poses and local features behind it
TRUE = Hypothesis("b.mp4", 3, 27, 1.0, 0, 0.80, 0.9, 0.9, 60, 30, True)
RIVAL = Hypothesis("a.mp4", 8, 32, 1.0, 0, 0.84, None, 0.1, 0, 0, False)
WEAK = Hypothesis("c.mp4", 1, 25, 1.0, 0, 0.2, None, 0.1, 0, 0, False)


@pytest.fixture
def traced(tmp_path) -> Path:
    """What step 5 leaves of the two fakes."""
    rows = []
    for fake, hypotheses in ((FAKE, [TRUE, RIVAL, WEAK]), (STRANGER, [WEAK])):
        chances = decision.probabilities(decision.evidence(hypotheses, LAST + 1, 0.5, 0.1),
                                         decision.load_coefficients())
        word = decision.verdict(hypotheses, chances, LAST + 1)
        place = (hypotheses[0].source, 3, 27) if word == TRACED else (None, None, None)
        sure = float(max(chances[0], chances[-1]))
        rows.append(Trace(fake, 0, LAST, word, *place, 0.1, 1.1, 1.0, 0, 0.9, 0.9, sure, None, ""))
        write_json(fake_result_path(tmp_path, fake.removesuffix(".mp4")), {"stretches": [{
            "no_source_probability": float(chances[-1]),
            "evidence": {"frames": LAST + 1, "movement_px": 0.5, "unchanged_share": 0.1,
                         "hypotheses": [asdict(h) for h in hypotheses]}}]})
    assert [row.verdict for row in rows] == [TRACED, NO_SOURCE]
    write_table(tmp_path / "traces.csv", Trace, rows)
    return tmp_path


def test_without_the_decision_the_highest_motion_score_wins(traced):
    outcomes, asked = without_decision(traced, TRUTH)
    assert [(o.fake, o.verdict, o.found_source, o.found_start) for o in outcomes] == [
        (FAKE, TRACED, "a.mp4", 8), (STRANGER, TRACED, "c.mp4", 1),
        (FAKE + LEFT_OUT, TRACED, "a.mp4", 8)]
    assert [q.source_here for q in asked] == pytest.approx([0.84, 0.2, 0.84])


def test_without_poses_the_rest_of_the_evidence_decides(traced):
    outcomes, asked = without_poses(traced, TRUTH)
    hypotheses = [replace(h, pose_score=None) for h in (TRUE, RIVAL, WEAK)]
    chances = decision.probabilities(decision.evidence(hypotheses, LAST + 1, 0.5, 0.1),
                                     decision.load_coefficients())
    assert [o.fake for o in outcomes] == [q.fake for q in asked] == [
        FAKE, STRANGER, FAKE + LEFT_OUT]
    assert asked[0].source_here == pytest.approx(1 - chances[-1])
    assert outcomes[0].verdict == decision.verdict(hypotheses, chances, LAST + 1)
    assert (outcomes[1].verdict, outcomes[1].found_source) == (NO_SOURCE, "")
    with_poses = ablation.gather(traced / "traces.csv", TRUTH, leave_out=True)[1]
    assert abs(with_poses[0].source_here - asked[0].source_here) > 1e-6
    assert with_poses[1].source_here == pytest.approx(asked[1].source_here)  # had no poses


def test_the_table_counts_cases(traced):
    outcomes, asked = without_decision(traced, TRUTH)
    measures = figures("plain", outcomes, asked, Took(1.5, None))
    lines = overview(measures, ["plain"]).splitlines()
    # of the one fake with a source the wrong one is named; the other has none
    assert lines[2].startswith("| plain | 0 of 1, 0.0 % (0-79) | 0 of 1, 0.0 % (0-79) |")
    # 0.84 against 0.2 and the same 0.84
    assert lines[2].endswith("| 2 of 2, 100.0 % (34-100) | 0 of 1, 0.0 % (0-79) | "
                             "0 of 1, 0.0 % (0-79) | 0.750 (0.500-1.000) | 1.50 | - |")
    assert "| variant | clean |" in lines and "| plain | 0 of 1 |" in lines


def test_answers_from_the_full_run_need_it():
    assert ablation.needed(["no-pose", "raft", "no-decision"]) == ["full", "no-pose", "raft",
                                                                   "no-decision"]
    assert ablation.needed(["scene-only"]) == ["scene-only"]


def test_without_step_4_one_line_says_so(tmp_path):
    (tmp_path / "truth.csv").write_text("fake,source,start_frame,end_frame\nx.mp4,a.mp4,0,9\n")
    with pytest.raises(InputError, match="step4_scene_trace: .*run step 4"):
        ablation.main(tmp_path, tmp_path, tmp_path / "truth.csv", tmp_path / "out")


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> Path:
    """A folder after steps 1 to 4, with its truth."""
    root = make_batch(tmp_path_factory.mktemp("batch"))
    start_server()
    for number in (1, 2, 3, 4):
        run(number, root)
    (root / "truth.csv").write_text(
        "fake,source,start_frame,end_frame,tier,frames\n"
        f"sub/one.mp4,one.mp4,7,{7 + CUT - 1},clean,{CUT}\n"
        f"two.mp4,two.mp4,12,{12 + CUT - 1},geometry,{CUT}\n"
        f"stranger.mp4,,0,0,clean-absent,{CUT}\n")
    return root


def ablate(batch: Path, out: Path, *variants: str, **options: object):
    return ablation.main(batch, batch / "source_data", batch / "truth.csv", out,
                         variants or tuple(ablation.VARIANTS), **options)


@pytest.mark.slow
def test_all_variants_of_a_small_set(batch, tmp_path, capsys, monkeypatch):
    summary = ablate(batch, tmp_path)
    assert (summary.done, summary.failed) == (
        ["full", "raft", "imagenet", "no-mapping", "no-pictures", "no-scene"], {})
    printed = capsys.readouterr().out
    rows = {(row["group"], row["metric"]): row for row in read_table(tmp_path / "ablation.csv")}
    for name in ablation.VARIANTS:
        assert f"\n| {name} | 2 of 2, 100.0 % (34-100) |" in printed
        assert ((name, "start ±1") in rows) == (name != "scene-only")
        assert ((name, "step 5, s per fake") in rows) == (tmp_path / name / "run.json").is_file()
    found = {name: read_json(tmp_path / name / "trace/fakes/two.json")
             for name in ("full", "raft", "no-mapping", "no-pictures", "no-scene")}
    for name, flow in (("full", "dis"), ("raft", "raft")):
        assert found[name]["made_with"]["settings"]["flow"].startswith(flow)
    views = {name: result["stretches"][0]["alternatives"] for name, result in found.items()}
    assert any(h["inliers"] for h in views["full"])
    assert not any(h["inliers"] for h in views["no-mapping"] + views["no-scene"])
    assert any(h["picture_score"] is not None for h in views["full"])
    assert all(h["picture_score"] is None for h in views["no-pictures"])

    monkeypatch.setattr(ablation, "run_step5", None)  # would be a TypeError
    assert ablate(batch, tmp_path).done == []
    assert capsys.readouterr().out == printed


@pytest.mark.slow
def test_a_variant_whose_input_changed_is_run_again(batch, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(batch, own)
    out = tmp_path / "out"
    assert ablate(own, out, "full", "no-scene").done == ["full", "no-scene"]
    path = fake_result_path(own / "step4_scene_trace", "two")
    ranking = read_json(path)
    write_json(path, {**ranking, "candidates": ranking["candidates"][:1]})
    assert ablate(own, out, "full", "no-scene").done == ["full"]
    (out / "no-scene" / "run.json").unlink()  # as if it had been stopped
    assert ablate(own, out, "no-scene").done == []
    assert read_json(out / "no-scene" / "run.json")["took"] == {"wall_s": None, "cpu_s": None}
    assert ablate(own, out, "no-scene", overwrite=True).done == ["no-scene"]
