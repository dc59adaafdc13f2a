"""Fit the decision's coefficients (utils/decision.py) on traced fakes with a known truth.

    python -m models.training.fit_decision --trace-root step5_flow_trace --truth truth.csv \\
        --out models/weights/decision.json

Every fake serves up to three times: with all hypotheses; as a source-less query with those of its
own source left out; and as another take of the same person and scene, with only those left out that
share frames with the true ones. Coefficients maximise the regularised likelihood of a conditional
logit; the figures on the card come from folds that leave whole sources out. Takes a minute; needs
step 5 to have run on the fakes, with --exhaustive, so that all of the best places were looked at,
and, for the case that the sources' videos are gone, once more with an empty --video-root on a copy
of what it wrote under motion/. Fakes whose true place is not among the hypotheses say nothing
about the choice and are left out (their number is on the card).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from benchmarks.metrics import auroc, calibration_error
from utils.decision import (DECISION_FILE, FEATURES, SEEN, Hypothesis, evidence,
                            probabilities)
from utils.files import InputError, read_json, write_json
from utils.layout import fake_result_path
from utils.tables import read_table

START_TOLERANCE, END_TOLERANCE = 1, 2  # frames
TAKE_WEIGHT = 0.3  # of queries for other takes: a database that has one mostly has the true one
FOLDS = 5
PENALTY = 0.005  # of squared standardised coefficients, per query
# evidence whose coefficient is not negative: that would be chance
NEVER_AGAINST = ("motion", "lead_over_sources", "lead_in_source", "pose", "pose_lead",
                 "person_inliers", "background_inliers", "scene", "apart_unposed",
                 "picture", "pixels", "pixels_by_frames", "pixels_behind")
ALIKE = 0.8  # share of its frames by which a stretch that was found is one of the truth


@dataclass(frozen=True)
class Query:
    """One question to the decision, and its answer."""

    group: str  # source the fake was made from: folds never split it
    features: np.ndarray  # [H, F]
    right: np.ndarray  # [H + 1] bool, the last one "no source here"
    take: bool = False  # whether its source shows the person and scene, but not that moment

    @property
    def weight(self) -> float:
        return TAKE_WEIGHT if self.take else 1.0


def main(trace_root: Sequence[Path], truth: Sequence[Path], out: Path = DECISION_FILE) -> dict:
    """Fit, cross-validate and write the coefficients with their card; returns what was written.

    trace_root, truth: of one or several sets, in the same order. Raises InputError when a table
    or a result is missing or there is nothing to fit.
    """
    if len(trace_root) != len(truth):
        raise InputError("--trace-root and --truth: as many of one as of the other, please")
    queries, unfit = [], 0
    for root, table in zip(trace_root, truth):
        found, without = read_queries(Path(root), Path(table))
        queries, unfit = queries + found, unfit + without
    if len(queries) < 10:
        raise InputError(f"{truth[0]}: only {len(queries)} fakes can be used, too few to fit")
    card = {"coefficients": dict(zip(FEATURES, fit(queries).round(4).tolist())),
            "data": f"{len({q.group for q in queries})} sources, "
                    "fakes from benchmarks/make_fakes.py",
            "queries": len(queries), "left_out": unfit, "folds": FOLDS, "penalty": PENALTY,
            "cross_validation": cross_validate(queries),
            "cross_validation_no_pictures": cross_validate(queries, False)}
    write_json(out, card)
    return card


def read_queries(trace_root: Path, truth: Path) -> tuple[list[Query], int]:
    """Queries of all fakes, stretch by stretch where step 5 found several, and how many had no
    true hypothesis. What is cut otherwise than the truth is left out."""
    queries, unfit = [], 0
    rows: dict[str, list[dict[str, str]]] = {}
    for row in read_table(truth):
        rows.setdefault(row["fake"], []).append(row)
    for fake, stretches in rows.items():
        path = fake_result_path(trace_root, str(Path(fake).with_suffix("")))
        found = read_json(path) if path.is_file() else {"traces": [], "stretches": []}
        for trace, part in zip(found["traces"], found["stretches"]):
            row = truth_of(trace, stretches)
            if row is not None:
                made, fits = queries_of(row, part["evidence"])
                queries, unfit = queries + made, unfit + (not fits)
    return queries, unfit


def truth_of(trace: dict, rows: list[dict[str, str]]) -> dict | None:
    """The row of the truth about the stretch that was found, moved to its ends; None if none is."""
    begin, finish = trace["fake_start_frame"], trace["fake_end_frame"]
    for row in rows:
        first = int(row.get("fake_start_frame") or 0)
        last = int(row.get("fake_end_frame") or int(row["frames"]) - 1)
        shared = min(last, finish) - max(first, begin) + 1
        if shared >= ALIKE * (max(last, finish) - min(first, begin) + 1):
            rate = float(row["speed"])
            return {**row, "start_frame": int(row["start_frame"]) + round((begin - first) * rate),
                    "end_frame": int(row["end_frame"]) + round((finish - last) * rate)}
    return None


def queries_of(row: dict, found: dict) -> tuple[list[Query], bool]:
    """Queries of one stretch, and whether its true place, if there is one, was found."""
    hypotheses = [Hypothesis(**h) for h in found["hypotheses"]]
    strangers = [h for h in hypotheses if h.source != row["source"]]
    group = row["fake"].rsplit("_fake_", 1)[0]
    right = [is_right(h, row) for h in hypotheses]
    queries = [make_query(group, strangers, [False] * len(strangers) + [True], found)]
    if any(right):
        queries.append(make_query(group, hypotheses, [*right, False], found))
    takes = [h for h in hypotheses if h.source != row["source"] or is_elsewhere(h, row)]
    if len(strangers) < len(takes):
        queries.append(replace(make_query(group, takes, [False] * len(takes) + [True], found),
                               take=True))
    return queries, any(right) or not row["source"]


def make_query(group: str, hypotheses: list[Hypothesis], right: list[bool], found: dict) -> Query:
    """A query from hypotheses and the fake's own figures."""
    return Query(group, evidence(hypotheses, found["frames"], found["movement_px"],
                                 found["unchanged_share"]), np.array(right))


def is_right(hypothesis: Hypothesis, row: dict) -> bool:
    """Whether a hypothesis names the true source and frames."""
    return (hypothesis.source == row["source"]
            and abs(hypothesis.start - int(row["start_frame"])) <= START_TOLERANCE
            and abs(hypothesis.end - int(row["end_frame"])) <= END_TOLERANCE)


def is_elsewhere(hypothesis: Hypothesis, row: dict) -> bool:
    """Whether a hypothesis shares no frame with the true ones."""
    start, end = sorted((int(row["start_frame"]), int(row["end_frame"])))
    return (max(hypothesis.start, hypothesis.end) < start
            or min(hypothesis.start, hypothesis.end) > end)


def fit(queries: list[Query]) -> np.ndarray:
    """Coefficients [F]; those of either case, with pictures and without, from its own queries."""
    coefficients = np.zeros(len(FEATURES))
    for columns in (slice(0, len(SEEN)), slice(len(SEEN), None)):
        own = [replace(query, features=query.features[:, columns]) for query in queries
               if query.features[:, columns.start].any()]  # where the bias is 1
        if own:
            coefficients[columns] = fit_case(own)
    return coefficients


def fit_case(queries: list[Query]) -> np.ndarray:
    """Coefficients of the conditional logit for the columns that these queries have."""
    every = np.concatenate([query.features for query in queries])
    scale = every.std(axis=0)
    scale[scale < 1e-9] = 1.0

    def loss(standardised: np.ndarray) -> tuple[float, np.ndarray]:
        coefficients = standardised / scale
        value, slope = 0.0, np.zeros_like(coefficients)
        for query in queries:
            chances = probabilities(query.features, coefficients)
            mass = chances[query.right].sum()
            value -= query.weight * np.log(max(mass, 1e-12))
            pull = chances * (1 - query.right / max(mass, 1e-12))
            slope += query.weight * pull[:-1] @ query.features
        count = sum(query.weight for query in queries)
        return (value / count + PENALTY * (standardised[1:]**2).sum() / 2,
                slope / scale / count + PENALTY * np.append(0, standardised[1:]))

    bounds = [(0 if name in NEVER_AGAINST else None, None) for name in SEEN[:every.shape[1]]]
    start = np.zeros(every.shape[1])
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x / scale


def cross_validate(queries: list[Query], pictures: bool = True) -> dict[str, float]:
    """Figures on sources that were left out of the fit; of the queries with pictures or without.

    Empty where there are none.
    """
    queries = [query for query in queries if query.features[:, 0].any() == pictures]
    if not queries:
        return {}
    groups = sorted({query.group for query in queries})
    chances: list[tuple[Query, np.ndarray]] = []
    for fold in range(FOLDS):
        held_out = set(groups[fold::FOLDS])
        coefficients = fit([query for query in queries if query.group not in held_out])
        chances += [(query, probabilities(query.features, coefficients))
                    for query in queries if query.group in held_out]
    here = np.array([1 - c[-1] for query, c in chances if not query.right[-1]])
    absent = np.array([1 - c[-1] for query, c in chances if query.right[-1]])
    top = np.array([(c.max(), query.right[c.argmax()]) for query, c in chances])
    return {"with_source": len(here), "without_source": len(absent),
            "right_answer": round(float(top[:, 1].mean()), 4),
            "auroc_source_here": round(auroc(here, absent), 4),
            "calibration_error": round(calibration_error(*top.T), 4),
            "rejected_strangers": _rejected(chances, False),
            "rejected_other_takes": _rejected(chances, True),
            "lost_with_source": round(float((here < 0.5).mean()), 4)}


def _rejected(chances: list[tuple[Query, np.ndarray]], takes: bool) -> float | None:
    """Share of the queries for other takes, or of the others without a source, that are rejected."""
    found = [c[-1] > 0.5 for query, c in chances if query.right[-1] and query.take == takes]
    return round(float(np.mean(found)), 4) if found else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the decision on traced fakes with a known "
                                                 "truth. Takes a minute and 1 GB of memory.")
    parser.add_argument("--trace-root", type=Path, required=True, nargs="+",
                        help="what step 5 wrote, of one or several sets")
    parser.add_argument("--truth", type=Path, required=True, nargs="+",
                        help="truth of these fakes as CSV, in the same order")
    parser.add_argument("--out", type=Path, default=DECISION_FILE,
                        help="where the coefficients go (default: %(default)s)")
    options = parser.parse_args()
    try:
        for name, value in main(**vars(options)).items():
            print(f"{name}: {value}")
    except InputError as error:
        parser.exit(2, f"{error}\n")
