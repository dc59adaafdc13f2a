"""Retrieval, rejection and source-less queries on cases that can be counted by hand."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluate import judge
from benchmarks.outcomes import Found
from benchmarks.queries import (LEFT_OUT, Evidence, leave_out, make_queries, read_evidence,
                                read_ranking)
from benchmarks.scores import micro_ap, rejection_measures, retrieval_measures
from benchmarks.truths import Stretch, with_copies
from utils import decision
from utils.decision import Hypothesis
from utils.files import InputError, write_json
from utils.tables import Trace, write_table


def truth_of(fake: str, *sources: str, tier: str = "clean") -> Stretch:
    return Stretch(fake, tier, sources, 0, 24, 0, 24)


def row(fake: str, source: str, confidence: float, runner_up: str = "") -> Found:
    place = (3, 27) if source else (None, None)
    return Found(fake, "traced" if source else "no_source", source, confidence, 0, 24, *place,
                 runner_up)


TRUTH = [truth_of("one.mp4", "a.mp4"), truth_of("two.mp4", "b.mp4"), truth_of("three.mp4", "c.mp4"),
         truth_of("stranger.mp4", tier="clean-absent"), truth_of("other.mp4", tier="clean-absent")]
FOUND = [row("one.mp4", "a.mp4", 0.9), row("two.mp4", "c.mp4", 0.6, "b.mp4"),
         row("three.mp4", "", 0.7), row("stranger.mp4", "", 0.8), row("other.mp4", "a.mp4", 0.7)]


def test_retrieval_from_the_answers():
    queries = make_queries(TRUTH, FOUND, {})
    assert {q.fake: q.ranking for q in queries} == {
        "one.mp4": ("a.mp4",), "two.mp4": ("c.mp4", "b.mp4"), "three.mp4": (), "stranger.mp4": (),
        "other.mp4": ("a.mp4",)}
    rows = {m.metric: m for m in retrieval_measures("all", queries, "answer",
                                                    {q.fake: q.ranking for q in queries})}
    assert [rows[f"answer {name}"].value for name in ("R@1", "R@5", "mAP")] == pytest.approx(
        [1 / 3, 2 / 3, (1 + 1 / 2) / 3])
    assert rows["answer R@1"].count == 3


def test_retrieval_from_the_scene_ranking():
    table = [{"fake": "one.mp4", "rank": "2", "source": "a.mp4"},
             {"fake": "one.mp4", "rank": "1", "source": "x.mp4"},
             *({"fake": "two.mp4", "rank": str(i), "source": f"{i}.mp4"} for i in range(1, 6)),
             {"fake": "two.mp4", "rank": "6", "source": "b.mp4"}]
    ranking = read_ranking(table)
    assert ranking["one.mp4"] == ["x.mp4", "a.mp4"]
    rows = {m.metric: m.value for m in retrieval_measures("all", make_queries(TRUTH, FOUND, {}),
                                                          "scene", ranking)}
    assert rows == {"scene R@1": 0, "scene R@5": pytest.approx(1 / 3),
                    "scene mAP": pytest.approx((1 / 2 + 1 / 6) / 3)}
    with pytest.raises(InputError, match="ranking"):
        read_ranking([{"fake": "one.mp4", "source": "a.mp4"}])


def test_micro_ap_counts_the_answer_to_a_fake_without_a_source():
    # 0.9 right, 0.7 answers a stranger, 0.6 wrong source: precision 1 at a recall of 1/3
    assert micro_ap(make_queries(TRUTH, FOUND, {})) == pytest.approx(1 / 3)
    later = [*FOUND[:1], row("two.mp4", "b.mp4", 0.6), *FOUND[2:]]
    assert micro_ap(make_queries(TRUTH, later, {})) == pytest.approx((1 + 2 / 3) / 3)


def test_micro_ap_of_a_stitched_fake_wants_both_sources():
    truth = [truth_of("s.mp4", "a.mp4"), truth_of("s.mp4", "b.mp4")]
    found = [row("s.mp4", "a.mp4", 0.9), row("s.mp4", "x.mp4", 0.8), row("s.mp4", "b.mp4", 0.7)]
    assert micro_ap(make_queries(truth, found, {})) == pytest.approx((1 + 2 / 3) / 2)


def test_micro_ap_wants_one_of_several_takes_of_a_scene():
    truth = [truth_of("f.mp4", "a.mp4", "b.mp4")]
    assert micro_ap(make_queries(truth, [row("f.mp4", "b.mp4", 0.4)], {})) == 1
    both = [row("f.mp4", "b.mp4", 0.9), row("f.mp4", "a.mp4", 0.8)]
    assert micro_ap(make_queries(truth, both, {})) == 1


def test_rejection_by_hand():
    queries = make_queries(TRUTH, FOUND, {})
    assert [q.source_here for q in queries] == pytest.approx([0.9, 0.6, 0.3, 0.2, 0.7])
    rows = {m.metric: m for m in rejection_measures("all", queries)}
    # of six pairs the true source is ahead in 0.9>0.7, 0.9>0.2, 0.6>0.2, 0.3>0.2
    assert rows["AUROC of a source being here"].value == pytest.approx(4 / 6)
    assert rows["FPR at 95 % TPR"].value == 0.5  # at 0.3
    assert rows["rejected without a source"].value == 0.5
    assert rows["rejected with a source"].value == pytest.approx(1 / 3)


def test_a_fake_that_was_not_traced_is_a_loss_but_never_a_rejection():
    rows = {m.metric: m for m in rejection_measures("all", make_queries(TRUTH, FOUND[:1], {}))}
    assert rows["rejected without a source"].count == 0
    assert np.isnan(rows["AUROC of a source being here"].value)
    assert rows["rejected with a source"].value == 0


STRONG = Hypothesis("a.mp4", 3, 27, 1.0, 0, 0.95, 0.8, 0.9, 60, 30, True)
WEAK = Hypothesis("b.mp4", 8, 32, 1.0, 0, 0.2, 0.0, 0.1, 0, 0, False)


@pytest.fixture
def traced(tmp_path) -> Path:
    """What step 5 leaves: a fake of a.mp4 whose evidence is clear, and its table."""
    hypotheses = [STRONG, WEAK]
    chances = decision.probabilities(decision.evidence(hypotheses, 25, 0.5, 0.1),
                                     decision.load_coefficients())
    write_json(tmp_path / "fakes" / "sub" / "one.json",
               {"stretches": [{"no_source_probability": float(chances[-1]),
                               "evidence": {"frames": 25, "movement_px": 0.5, "unchanged_share": 0.1,
                                            "hypotheses": [asdict(h) for h in hypotheses]}}]})
    write_table(tmp_path / "traces.csv", Trace, [
        Trace("sub/one.mp4", 0, 24, "traced", "a.mp4", 3, 27, 0.1, 1.1, 1.0, 0, 0.9, 0.95,
              float(chances[0]), "b.mp4", "")])
    return tmp_path / "traces.csv"


def test_another_copy_of_the_footage_is_left_out_as_well(traced):
    truth = with_copies([Stretch("sub/one.mp4", "clean", ("a.mp4",), 3, 27)], [["b.mp4", "a.mp4"]])
    evidence = read_evidence(traced.parent, ["sub/one.mp4"])
    assert {h.source for h in evidence["sub/one.mp4"][0].hypotheses} == {"a.mp4", "b.mp4"}
    assert leave_out(truth, evidence) == ([], [], {})


def test_leaving_its_source_out_makes_a_source_less_query(traced):
    truth = [Stretch("sub/one.mp4", "clean", ("a.mp4",), 3, 27)]
    evidence = read_evidence(traced.parent, ["sub/one.mp4", "gone.mp4"])
    stretches, rows, kept = leave_out(truth, evidence)
    assert [(s.fake, s.tier, s.sources) for s in stretches] == [
        ("sub/one.mp4" + LEFT_OUT, "clean-absent", ())]
    alone = decision.probabilities(decision.evidence([WEAK], 25, 0.5, 0.1), decision.load_coefficients())
    assert (rows[0].verdict, rows[0].source) == ("no_source", "")
    assert rows[0].confidence == pytest.approx(alone[-1]) and alone[-1] > 0.5
    assert kept[stretches[0].fake][0].hypotheses == [WEAK]
    outcomes, measures = judge(traced, truth, leave_out=True)
    assert [o.right for o in outcomes] == [True, True]
    figures = {(m.metric, m.group): m.value for m in measures}
    assert figures["AUROC of a source being here", "clean"] == 1


def test_every_stretch_is_asked_again_without_any_source_of_the_fake():
    parts = [Evidence([STRONG, WEAK], 25, 0.5, 0.1, 0.1), Evidence([WEAK], 30, 0.5, 0.1, 0.9),
             Evidence([replace(WEAK, source="c.mp4")], 20, 0.5, 0.1, 0.9)]
    truth = [truth_of("s.mp4", "a.mp4"), truth_of("s.mp4", "b.mp4")]
    stretches, rows, kept = leave_out(truth, {"s.mp4": parts})
    assert [(s.fake_start, s.fake_end) for s in stretches] == [(55, 74)]  # others had only own ones
    assert [(r.fake_start, r.fake_end) for r in rows] == [(55, 74)]
    assert [h.source for h in kept["s.mp4" + LEFT_OUT][0].hypotheses] == ["c.mp4"]
    queries = make_queries(truth, [row("s.mp4", "a.mp4", 0.9)], {"s.mp4": parts})
    assert queries[0].source_here == pytest.approx(0.9)  # of the stretch that is surest of one


def test_without_other_sources_nothing_can_be_left_out(traced):
    evidence = read_evidence(traced.parent, ["sub/one.mp4"])
    truth = [Stretch("sub/one.mp4", "clean", ("a.mp4", "b.mp4"), None, None)]
    assert leave_out(truth, evidence)[0] == []
    absent = [Stretch("sub/one.mp4", "clean-absent", (), 3, 27)]
    assert leave_out(absent, evidence)[0] == []
    (traced.parent / "fakes" / "sub" / "one.json").unlink()
    with pytest.raises(InputError, match="--leave-out"):
        judge(traced, truth, leave_out=True)


def test_results_of_another_version_are_an_error(traced):
    write_json(traced.parent / "fakes" / "sub" / "one.json", {"fake": "sub/one.mp4"})
    with pytest.raises(InputError, match="one.json"):
        judge(traced, [Stretch("sub/one.mp4", "clean", ("a.mp4",), 3, 27)])
