"""Answers of the ablation that need no run of step 5: taken from what another run left behind.

Each function gives the outcomes of the truth and the fakes as queries, every fake once more with
its own source left out, as benchmarks.evaluate.gather() does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.ablation_scenes import FAKE_FRAMES, SCENES
from benchmarks.outcomes import Found, Outcome, compare, read_found
from benchmarks.queries import (ABSENT, LEFT_OUT, Evidence, Query, base_tier, decide, leave_out,
                                make_queries, read_evidence)
from benchmarks.truths import Stretch, by_fake
from utils import decision
from utils.decision import TRACED
from utils.layout import VideoRecord
from utils.scene_index import read_ranking
from utils.tables import read_table

Answers = tuple[list[Outcome], list[Query]]


def without_poses(trace_root: Path, truth: list[Stretch]) -> Answers:
    """Decided again on the evidence of a run of step 5, as if no place's poses could be compared.

    The coefficients stay as they are, fitted with poses, and the places are those that the run
    found: it does not look at poses for that.
    """
    rows, evidence = _known(trace_root, truth)
    evidence = {fake: [replace(part, hypotheses=[replace(h, pose_score=None)
                                                 for h in part.hypotheses]) for part in parts]
                for fake, parts in evidence.items()}
    coefficients = decision.load_coefficients()
    decided = [_decide(row, part, coefficients) for row, part in _pairs(rows, evidence)]
    again: dict[str, list[Evidence]] = {}
    for row, part in decided:
        again.setdefault(row.fake, []).append(part)
    more = leave_out(truth, evidence)
    rows = [row for row, _ in decided] + more[1]
    return compare(truth + more[0], rows), make_queries(truth + more[0], rows, again | more[2])


def without_decision(trace_root: Path, truth: list[Stretch]) -> Answers:
    """Of the places that a run of step 5 found the one with the highest motion score, however low;
    the score stands for confidence. Where the run cut a fake into stretches, it stays cut."""
    rows, evidence = _known(trace_root, truth)
    more = leave_out(truth, evidence)
    rows = [_most_alike(row, part) for row, part in _pairs(rows + more[1], evidence | more[2])]
    return compare(truth + more[0], rows), make_queries(truth + more[0], rows, {})


def scene_alone(work: Path, truth: list[Stretch]) -> Answers:
    """Step 4's first candidate, without frames; how sure the scene is stands for confidence."""
    stretches, rows = list(truth), []
    for fake, parts in by_fake(truth).items():
        fake_id = str(Path(fake).with_suffix(""))
        record = VideoRecord.read(work / FAKE_FRAMES / fake_id)
        candidates = read_ranking(work / SCENES, fake_id)["candidates"]
        if record is None or not candidates:
            continue
        own, last = {name for part in parts for name in part.sources}, record.frames[-1]
        rows.append(_first(fake, candidates, last))
        others = [c for c in candidates if c["source"] not in own]
        if own and others:
            rows.append(_first(fake + LEFT_OUT, others, last))
            stretches.append(Stretch(fake + LEFT_OUT, base_tier(parts[0].tier) + ABSENT, (),
                                     None, None, 0, last))
    return compare(stretches, rows), make_queries(stretches, rows, {})


def _first(fake: str, candidates: list[dict], last: int) -> Found:
    """The first candidate as an answer; its confidence is what step 4 orders candidates by."""
    best = candidates[0]
    order = best["scene_score"] + (best["inliers"] if best["verified"] else 0)
    return Found(fake, TRACED, best["source"], order, 0, last)


def _known(trace_root: Path,
           truth: list[Stretch]) -> tuple[list[Found], dict[str, list[Evidence]]]:
    return (read_found(read_table(trace_root / "traces.csv")),
            read_evidence(trace_root, [stretch.fake for stretch in truth]))


def _pairs(rows: list[Found],
           evidence: Mapping[str, list[Evidence]]) -> Iterator[tuple[Found, Evidence]]:
    """Every row with its evidence; both are in the order of a fake's stretches."""
    left = {fake: iter(parts) for fake, parts in evidence.items()}
    for row in rows:
        if row.fake in left:
            yield row, next(left[row.fake])


def _most_alike(row: Found, known: Evidence) -> Found:
    """The row with the place of the highest motion score; as it is where nothing was compared."""
    if not known.hypotheses:
        return row
    best = max(known.hypotheses, key=lambda h: h.motion_score)
    return replace(row, verdict=TRACED, source=best.source, confidence=best.motion_score,
                   start=best.start, end=best.end)


def _decide(row: Found, known: Evidence, coefficients: np.ndarray) -> tuple[Found, Evidence]:
    """The row and its evidence after another decision; as they are where nothing was compared."""
    if not known.hypotheses:
        return row, known
    found, ranked = decide(known.hypotheses, known, coefficients)
    return replace(row, verdict=found.verdict, source=found.source, confidence=found.confidence,
                   start=found.start, end=found.end), ranked
