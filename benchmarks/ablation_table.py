"""Figures and tables of the ablation: a row per variant."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.outcomes import Outcome
from benchmarks.queries import LEFT_OUT, Query, base_tier
from benchmarks.scores import (ALL, Measure, frame_measures, groups_of, rejection_measures, share,
                               told_apart)
from utils.decision import NO_SOURCE, TRACED

RIGHT, EXACT, CLOSE = "right source", "start ±0", "start ±1"
WRONG, ABSENT, OWN_GONE = "wrong trace", "absent rejected", "own source left out, rejected"
AUROC = "AUROC of a source being here"
WALL, CPU = "step 5, s per fake", "step 5, CPU s per fake"
COLUMNS = (RIGHT, EXACT, CLOSE, WRONG, ABSENT, OWN_GONE, AUROC, WALL, CPU)
NO_FRAMES, NO_VERDICT = (EXACT, CLOSE), (WRONG, ABSENT, OWN_GONE)


@dataclass(frozen=True)
class Took:
    """Time of step 5 on a fake; None where it was not measured."""

    wall_s: float | None
    cpu_s: float | None


def figures(name: str, outcomes: Sequence[Outcome], asked: Sequence[Query],
            took: Took | None = None) -> list[Measure]:
    """Figures of one variant, all fakes in the group `<name>`; right sources and starts of a kind
    of edit in `<name>: <tier>`. outcomes, asked: with each fake's own source left out, too."""
    real = [o for o in outcomes if not _is_left_out(o)]
    absent = told_apart(asked)[1]
    rejected = [(q.verdict == NO_SOURCE, _is_left_out(q)) for q in absent]
    rows = [*frames_by_tier(name, real),
            share(WRONG, name, [o.verdict == TRACED and not o.right_source for o in real]),
            share(ABSENT, name, [is_so for is_so, left_out in rejected if not left_out]),
            share(OWN_GONE, name, [is_so for is_so, left_out in rejected if left_out]),
            *(row for row in rejection_measures(name, asked) if row.metric == AUROC)]
    times = ((WALL, took.wall_s), (CPU, took.cpu_s)) if took else ()
    return rows + [Measure(metric, name, value, float("nan"), float("nan"), len(real))
                   for metric, value in times if value is not None]


def _is_left_out(case: Outcome | Query) -> bool:
    return case.fake.endswith(LEFT_OUT)


def frames_by_tier(name: str, outcomes: Sequence[Outcome]) -> list[Measure]:
    """Right sources and starts for each kind of edit and, last, for all."""
    tiers = {base_tier(o.tier) for o in outcomes} | {ALL}
    return [replace(row, group=name if group == ALL else f"{name}: {group}")
            for group, cases in groups_of(outcomes).items() if group in tiers
            for row in frame_measures(group, cases) if row.metric in (RIGHT, EXACT, CLOSE)]


def overview(measures: Sequence[Measure], names: Sequence[str]) -> str:
    """Markdown: all figures by variant, then right sources and starts by kind of edit."""
    cells = {(m.group, m.metric): cell(m) for m in measures}
    tiers = dict.fromkeys(m.group.partition(": ")[2] for m in measures if ": " in m.group)
    tables = [table([[name, *(cells.get((name, metric), "-") for metric in COLUMNS)]
                     for name in names], ("variant", *COLUMNS))]
    for metric in (RIGHT, CLOSE):
        rows = [[name, *(cells.get((f"{name}: {tier}", metric), "-").split(",")[0]
                         for tier in tiers)] for name in names]
        tables.append(f"{metric.capitalize()}, by kind of edit:\n\n"
                      + table(rows, ("variant", *tiers)))
    return "\n\n".join(tables)


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def cell(measure: Measure) -> str:
    """A share as cases of all cases, per cent and its 95 % interval; AUROC with its interval."""
    value, low, high, count = measure.value, measure.low, measure.high, measure.count
    if not count or value != value:
        return "-"
    if measure.metric in (WALL, CPU):
        return f"{value:.2f}"
    if measure.metric == AUROC:
        return f"{value:.3f} ({low:.3f}-{high:.3f})"
    return (f"{round(value * count)} of {count}, {100 * value:.1f} % "
            f"({100 * low:.0f}-{100 * high:.0f})")
