"""All figures of an evaluation as tidy rows: metric, group, value, 95 % interval, cases.

Groups are `all`, the tiers (a tier holds its source-less fakes, `-absent`, too) and the lengths of
the fakes. Shares have Wilson intervals, all other figures bootstrap intervals over the cases.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import metrics
from benchmarks.outcomes import MISSING, Outcome
from benchmarks.queries import Query, base_tier
from utils.decision import NO_SOURCE

TOLERANCES = (0, 1, 5)  # frames
LENGTHS = (25, 50, 100)  # frames, upper ends of the groups
ALL = "all"
GIVEN = ", source right"  # added to figures over the fakes whose source was found


@dataclass(frozen=True)
class Measure:
    """One figure. value, low and high are NaN where there is nothing to measure."""

    metric: str
    group: str
    value: float
    low: float
    high: float
    count: int  # cases it is taken over


def share(metric: str, group: str, hits: Sequence[bool]) -> Measure:
    """Share of cases, with its Wilson interval."""
    count = len(hits)
    value = float(np.mean(hits)) if count else float("nan")
    return Measure(metric, group, value, *metrics.wilson(int(np.sum(hits)), count), count)


def mean_of(metric: str, group: str, values: Sequence[float],
            figure: Callable[[np.ndarray], float] = np.mean) -> Measure:
    """Mean (or another figure) of the cases' values, with its bootstrap interval."""
    value = float(figure(np.asarray(values))) if len(values) else float("nan")
    return Measure(metric, group, value, *metrics.bootstrap(figure, values), len(values))


def length_group(frames: int) -> str:
    """Name of the group of lengths that a fake belongs to."""
    if not frames:
        return "length not known"
    low = 1
    for high in LENGTHS:
        if frames <= high:
            return f"{low}-{high} frames"
        low = high + 1
    return f"over {LENGTHS[-1]} frames"


def groups_of(cases: Sequence) -> dict[str, list]:
    """Cases by tier, by length (shortest first) and all together; every case is in three groups."""
    groups: dict[str, list] = {}
    for tier in sorted({base_tier(case.tier) for case in cases}):
        groups[tier] = [case for case in cases if base_tier(case.tier) == tier]
    for name in dict.fromkeys(length_group(n) for n in sorted(case.frames for case in cases)):
        groups[name] = [case for case in cases if length_group(case.frames) == name]
    return {**groups, ALL: list(cases)}


def frame_measures(group: str, outcomes: Sequence[Outcome]) -> list[Measure]:
    """Sources and frames of the stretches that have a source here, end to end (a wrong source is
    a miss) and among those whose source is right."""
    here = [o for o in outcomes if o.sources]
    known = [o for o in here if o.start is not None]
    given = [o for o in known if o.frames_known]
    rows = [share("right source", group, [o.right_source for o in here])]
    for cases, note in ((known, ""), (given, GIVEN)):
        for end in ("start", "end"):
            errors = np.array([getattr(o, f"{end}_error") for o in cases])
            rows += [share(f"{end} ±{limit}{note}", group, errors <= limit)
                     for limit in TOLERANCES]
        rows.append(mean_of(f"IoU{note}", group, [o.iou for o in cases]))
    return rows + error_measures(group, given)


def error_measures(group: str, given: Sequence[Outcome]) -> list[Measure]:
    """Mean and 95th percentile of the absolute errors, frames, where frames were given."""
    rows = []
    for end in ("start", "end"):
        errors = [getattr(o, f"{end}_error") for o in given]
        told = [error for error in errors if np.isfinite(error)]
        rows += [mean_of(f"mean {end} error", group, told),
                 mean_of(f"95th percentile {end} error", group, told,
                         lambda values: float(np.percentile(values, 95)))]
    return rows


def retrieval_measures(group: str, queries: Sequence[Query], name: str,
                       rankings: Mapping[str, Sequence[str]]) -> list[Measure]:
    """R@1, R@5 (any right source that far up) and mAP of ranked sources, over the fakes that have
    a source here. rankings: by fake; one without a ranking is a miss."""
    here = [(list(rankings.get(q.fake, ())), q.relevant) for q in queries if q.wanted]
    rows = [share(f"{name} R@{depth}", group,
                  [not relevant.isdisjoint(ranking[:depth]) for ranking, relevant in here])
            for depth in (1, 5)]
    return [*rows, mean_of(f"{name} mAP", group,
                           [metrics.average_precision(*pair) for pair in here])]


def micro_ap(queries: Sequence[Query]) -> float:
    """µAP over all answers to all queries, the source-less ones included."""
    judged = np.array([pair for q in queries for pair in q.judged_answers()], float).reshape(-1, 2)
    return metrics.micro_average_precision(judged[:, 0], judged[:, 1],
                                           sum(len(q.wanted) for q in queries))


def micro_ap_measure(group: str, queries: Sequence[Query]) -> Measure:
    """µAP with an interval over the queries."""
    cases = np.empty(len(queries), object)
    cases[:] = queries
    return Measure("µAP", group, micro_ap(queries), *metrics.bootstrap(micro_ap, cases),
                   len(queries))


def told_apart(queries: Sequence[Query]) -> tuple[list[Query], list[Query]]:
    """The fakes with and without a source here; a source-less one without a row tells nothing."""
    return ([q for q in queries if q.wanted],
            [q for q in queries if not q.wanted and q.verdict != MISSING])


def rejection_measures(group: str, queries: Sequence[Query]) -> list[Measure]:
    """How well "a source is here" is told, over told_apart().

    The interval of the false positive rate takes its threshold, the score that 95 % of the fakes
    with a source reach, as given.
    """
    pair = told_apart(queries)
    here, absent = (np.array([q.source_here for q in group]) for group in pair)
    limit = metrics.threshold_at_recall(here) if len(here) else float("nan")
    return [
        Measure("AUROC of a source being here", group, metrics.auroc(here, absent),
                *metrics.bootstrap(metrics.auroc, here, absent), len(here) + len(absent)),
        share("FPR at 95 % TPR", group, absent >= limit if len(here) else []),
        share("rejected without a source", group,
              [q.verdict == NO_SOURCE for q in pair[1]]),
        share("rejected with a source", group, [q.verdict == NO_SOURCE for q in pair[0]])]


def calibration_measures(group: str, outcomes: Sequence[Outcome]) -> list[Measure]:
    """Calibration error of `confidence`, over all answers whose truth tells frames."""
    cases = calibration_cases(outcomes)
    return [Measure("calibration error", group, metrics.calibration_error(*cases.T),
                    *metrics.bootstrap(lambda c: metrics.calibration_error(*c.T), cases),
                    len(cases))]


def calibration_cases(outcomes: Sequence[Outcome]) -> np.ndarray:
    """[N, 2] confidence and whether the answer is right."""
    return np.array([(o.confidence, o.right) for o in outcomes
                     if o.verdict != MISSING and (o.start is not None or not o.sources)],
                    float).reshape(-1, 2)


def bin_measures(outcomes: Sequence[Outcome]) -> list[Measure]:
    """Mean confidence and share of right answers in every bin of confidence that is not empty."""
    cases, rows = calibration_cases(outcomes), []
    for number, (count, mean, right) in enumerate(metrics.calibration_bins(*cases.T)):
        if count:
            group = f"confidence {number / metrics.BINS:.1f}-{(number + 1) / metrics.BINS:.1f}"
            hits = [True] * round(right * count) + [False] * round((1 - right) * count)
            rows += [Measure("mean confidence", group, mean, float("nan"), float("nan"), count),
                     share("right answers", group, hits)]
    return rows


def all_measures(outcomes: Sequence[Outcome], queries: Sequence[Query],
                 ranking: Mapping[str, Sequence[str]] | None = None) -> list[Measure]:
    """Every figure of every group. ranking: of scene_ranking.csv, by fake."""
    rows = [row for group, cases in groups_of(outcomes).items()
            for row in (*frame_measures(group, cases), *calibration_measures(group, cases))]
    answers = {q.fake: q.ranking for q in queries}
    for group, cases in groups_of(queries).items():
        if ranking is not None:
            rows += retrieval_measures(group, cases, "scene", ranking)
        rows += retrieval_measures(group, cases, "answer", answers)
        rows += [micro_ap_measure(group, cases), *rejection_measures(group, cases)]
    return rows + bin_measures(outcomes)
