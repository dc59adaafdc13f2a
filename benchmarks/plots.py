"""The plots of an evaluation, each as PNG and PDF, from the same figures as its tables.

Each draw_... function takes what is drawn and returns a figure, or None where there is nothing to
draw; draw_all() writes them all. Frame errors are signed: positive is too late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import metrics
from benchmarks.confusion import confusion
from benchmarks.outcomes import Outcome
from benchmarks.plot_style import COLOURS, COLUMN_CM, GREY, PAGE_CM, figure, legend_below, save
from benchmarks.queries import Query, base_tier
from benchmarks.scores import ALL, Measure, calibration_cases, length_group, told_apart
from utils.decision import NO_SOURCE

SHARES = ("right source", "start ±0", "start ±1")
FAR = 6  # frames from which on errors are counted together


def draw_all(outcomes: Sequence[Outcome], queries: Sequence[Query], measures: Sequence[Measure],
             folder: Path) -> list[Path]:
    """Write all plots that these cases allow to a folder; the files written."""
    tiers = [*sorted({base_tier(o.tier) for o in outcomes}), ALL]
    lengths = list(dict.fromkeys(length_group(n) for n in sorted(o.frames for o in outcomes)))
    drawn = {"accuracy_by_kind": draw_shares(measures, tiers, "kind of edit"),
             "accuracy_by_length": draw_shares(measures, lengths, "length of the fake"),
             "frame_errors": draw_errors(outcomes),
             "calibration": draw_calibration(calibration_cases(outcomes)),
             "roc": draw_roc(queries, measures), "sources_found": confusion(outcomes)}
    return [file for name, fig in drawn.items() if fig is not None
            for file in save(fig, folder / name)]


@dataclass(frozen=True)
class Shares:
    """One figure of several groups, in per cent."""

    groups: list[str]
    counts: list[int]  # cases
    values: np.ndarray  # [G]
    low: np.ndarray  # [G], ends of the 95 % intervals
    high: np.ndarray


def shares_of(measures: Sequence[Measure], metric: str, groups: Sequence[str]) -> Shares:
    """One figure of those of the groups that have a case."""
    found = {m.group: m for m in measures if m.metric == metric and m.count}
    rows = [found[group] for group in groups if group in found]
    cells = 100 * np.array([(m.value, m.low, m.high) for m in rows]).reshape(-1, 3)
    return Shares([m.group for m in rows], [m.count for m in rows], *cells.T)


def draw_shares(measures: Sequence[Measure], groups: Sequence[str], what: str) -> Figure | None:
    """SHARES of every group as points with their intervals; a row per group."""
    series = {metric: shares_of(measures, metric, groups) for metric in SHARES}
    first = series[SHARES[0]]
    if not first.groups:
        return None
    fig = figure(COLUMN_CM, 2.6 + 0.85 * len(first.groups))
    axes = fig.subplots()
    for number, (metric, shares) in enumerate(series.items()):
        rows = [first.groups.index(group) + 0.24 * (number - 1) for group in shares.groups]
        spread = np.maximum([shares.values - shares.low, shares.high - shares.values], 0)
        axes.errorbar(shares.values, rows, xerr=spread, label=metric, color=COLOURS[number],
                      marker="osD"[number], linestyle="none", elinewidth=0.9, capsize=1.5,
                      clip_on=False)
    axes.set_yticks(range(len(first.groups)),
                    [f"{group} ({count})" for group, count in zip(first.groups, first.counts)])
    axes.set_ylim(len(first.groups) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    if ALL in first.groups:
        axes.axhline(len(first.groups) - 1.5, color=GREY, linewidth=0.6)
    axes.set_xlabel("% of the fakes (how many)")
    axes.set_ylabel(what)
    legend_below(fig, axes)
    return fig


def signed_errors(outcomes: Sequence[Outcome], end: str) -> np.ndarray:
    """Found minus true source frame at an end ("start" or "end") of the fakes that were given
    frames of the right source."""
    return np.array([o.off(end) for o in outcomes if np.isfinite(o.off(end))], int)


def error_counts(outcomes: Sequence[Outcome], end: str) -> dict[str, int]:
    """Fakes with a source here by their error in frames; the last are those without an answer, or
    with a wrong source."""
    known = sum(bool(o.sources) and getattr(o, end) is not None for o in outcomes)
    errors = signed_errors(outcomes, end)
    near = np.clip(errors, -FAR, FAR)
    names = [f"≤ −{FAR}", *(f"{e:+d}".replace("-", "−") if e else "0" for e in range(1 - FAR, FAR)),
             f"≥ {FAR}"]
    counts = {name: int((near == error).sum()) for name, error in zip(names, range(-FAR, FAR + 1))}
    return {**counts, "missed": known - len(errors)}


def draw_errors(outcomes: Sequence[Outcome]) -> Figure | None:
    """How far off the first and the last source frame are."""
    counts = {end: error_counts(outcomes, end) for end in ("start", "end")}
    if not any(sum(of_end.values()) for of_end in counts.values()):
        return None
    fig = figure(PAGE_CM, 5.5)
    for axes, (end, of_end) in zip(fig.subplots(1, 2, sharey=True), counts.items()):
        colours = [COLOURS[0]] * (len(of_end) - 1) + [GREY]
        bars = axes.bar(list(of_end), list(of_end.values()), color=colours)
        axes.bar_label(bars, [count or "" for count in of_end.values()], fontsize=6, padding=1)
        axes.margins(y=0.12)
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", rotation=60)
        axes.set_title(f"{end} frame, n = {sum(of_end.values())}")
        axes.set_xlabel("error, frames")
    fig.axes[0].set_ylabel("fakes with a source here")
    return fig


def draw_calibration(cases: np.ndarray) -> Figure | None:
    """Share of right answers over the stated confidence, above how often it is stated.

    cases: [N, 2] confidence and whether the answer is right.
    """
    if not len(cases):
        return None
    fig = figure(COLUMN_CM, 9.0)
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = metrics.calibration_bins(*cases.T)
    _draw_reliability(upper, rows)
    middles = (np.arange(metrics.BINS) + 0.5) / metrics.BINS
    bars = lower.bar(middles, [row[0] for row in rows], 0.9 / metrics.BINS, color=COLOURS[0])
    lower.bar_label(bars, [row[0] or "" for row in rows], fontsize=6, padding=1)
    lower.margins(y=0.2)
    lower.grid(axis="x", visible=False)
    lower.set_xlabel("stated confidence")
    lower.set_ylabel("answers")
    error = metrics.calibration_error(*cases.T)
    upper.set_title(f"{len(cases)} answers, calibration error {error:.3f}")
    legend_below(fig, upper)
    return fig


def _draw_reliability(axes: Axes, rows: Sequence[tuple[int, float, float]]) -> None:
    """The bins of calibration_bins() that are not empty, with Wilson intervals."""
    counts, means, right = np.array([row for row in rows if row[0]]).T
    limits = np.array([metrics.wilson(round(share * count), int(count))
                       for share, count in zip(right, counts)]).T
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=0.8, label="perfect")
    axes.errorbar(means, right, yerr=np.maximum([right - limits[0], limits[1] - right], 0),
                  color=COLOURS[0], marker="o", linestyle="none", elinewidth=0.9, capsize=1.5,
                  clip_on=False, label="measured (95 % intervals)")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("right answers, share")


def draw_roc(queries: Sequence[Query], measures: Sequence[Measure]) -> Figure | None:
    """Accepting fakes that have a source here against accepting those that have none."""
    here, absent = told_apart(queries)
    if not here or not absent:
        return None
    scores = [np.array([q.source_here for q in group]) for group in (here, absent)]
    fig = figure(COLUMN_CM, COLUMN_CM)
    axes = fig.subplots()
    area, = (m for m in measures if m.metric == "AUROC of a source being here" and m.group == ALL)
    axes.plot(*metrics.roc(*scores), color=COLOURS[0], clip_on=False, label=(
        f"{len(here)} with, {len(absent)} without a source\n"
        f"AUROC {area.value:.3f} ({area.low:.3f}–{area.high:.3f})"))
    axes.plot(*accepted(here, absent), "o", color=COLOURS[1], clip_on=False,
              label="verdicts as given")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=0.8, label="chance")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("accepted without a source here, share")
    axes.set_ylabel("accepted with a source here, share")
    axes.legend(loc="lower right")
    return fig


def accepted(here: Sequence[Query], absent: Sequence[Query]) -> tuple[float, float]:
    """Share of the fakes without and of those with a source here that were not rejected."""
    return tuple(float(np.mean([q.verdict != NO_SOURCE for q in group]))
                 for group in (absent, here))
