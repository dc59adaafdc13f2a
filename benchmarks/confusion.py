"""A picture of which source was found for the fakes of which, and of how the verdicts fell."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.outcomes import Outcome
from benchmarks.plot_style import COLOURS, DPI, PAGE_CM, figure, legend_below
from benchmarks.queries import base_tier
from utils.decision import AMBIGUOUS, NO_SOURCE, TRACED
from utils.files import InputError

ABSENT, NOTHING = "not in the database", "no source found"
MAX_NAMED = 80  # sources up to which names and counts can be read
# outcome -> colour
KINDS = {"traced, right source": "#009e73", "ambiguous, right source": "#56b4e9",
         "rejected, rightly": "#999999", "rejected or missing, wrongly": "#f0e442",
         "ambiguous, wrong source": "#e69f00", "traced, wrong source": "#d55e00"}


def draw_confusion(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw to a file whose ending names the format. Raises InputError for an unknown ending."""
    fig = confusion(outcomes)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fig.savefig(path, dpi=DPI)
    except ValueError as error:
        raise InputError(f"{path}: no picture, name it .png, .pdf or .svg ({error})") from error


def confusion(outcomes: Sequence[Outcome]) -> Figure:
    """Found sources by true sources, and verdicts by kind of edit."""
    rows, names, counts = count_pairs(outcomes)
    tiers = sorted({base_tier(o.tier) for o in outcomes})
    shown = min(len(names), MAX_NAMED)
    fig = figure(max(PAGE_CM, 6 + 0.5 * shown), 8 + 0.5 * shown + 0.6 * len(tiers))
    upper, lower = fig.subplots(2, 1, height_ratios=(2 + shown, 2 + len(tiers)))
    draw_matrix(upper, rows, names, counts)
    draw_verdicts(lower, outcomes, tiers)
    legend_below(fig, lower)
    return fig


def count_pairs(outcomes: Sequence[Outcome]) -> tuple[list[str], list[str], np.ndarray]:
    """True sources (rows), found sources (columns) and [R, C] counts. A fake that has several
    right sources counts in the row of the found one, or else of the first."""
    pairs = Counter((_true_name(o), o.found_source or NOTHING) for o in outcomes)
    sources = sorted({name for pair in pairs for name in pair} - {ABSENT, NOTHING})
    rows = [name for name in (*sources, ABSENT) if any(name == true for true, _ in pairs)]
    names = [*sources, NOTHING]
    return rows, names, np.array([[pairs[row, name] for name in names] for row in rows])


def _true_name(outcome: Outcome) -> str:
    if outcome.right_source:
        return outcome.found_source
    return outcome.sources[0] if outcome.sources else ABSENT


def draw_matrix(axes: Axes, rows: list[str], names: list[str], counts: np.ndarray) -> None:
    """Counts as a grid, right answers blue, others red."""
    right = np.array([[row == name or (row, name) == (ABSENT, NOTHING) for name in names]
                      for row in rows])
    axes.imshow(right, cmap=ListedColormap([COLOURS[1], COLOURS[0]]), vmin=0, vmax=1, aspect="auto",
                alpha=depth_of(counts))
    axes.grid(visible=False)
    if len(names) <= MAX_NAMED:
        label_cells(axes, rows, names, counts)
    axes.set_xlabel("found source")
    axes.set_ylabel("true source")
    axes.set_title("Source found for each fake, by its true source")


def depth_of(counts: np.ndarray) -> np.ndarray:
    """Opacity of cells, 0 to 1, the more the higher their count."""
    return np.clip(counts / max(1, counts.max()) + 0.3, 0, 1) * (counts > 0)


def label_cells(axes: Axes, rows: list[str], names: list[str], counts: np.ndarray) -> None:
    """Write the counts and the names of the sources, and draw the grid."""
    for y, x in np.argwhere(counts):
        ink = "white" if depth_of(counts)[y, x] > 0.6 else "black"
        axes.text(x, y, str(counts[y, x]), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9")
    axes.tick_params(which="minor", length=0)


def kind_of(outcome: Outcome) -> str:
    """Which of KINDS an outcome is."""
    if outcome.verdict in (TRACED, AMBIGUOUS):
        return f"{outcome.verdict}, {'right' if outcome.right_source else 'wrong'} source"
    rightly = outcome.verdict == NO_SOURCE and not outcome.sources
    return "rejected, rightly" if rightly else "rejected or missing, wrongly"


def draw_verdicts(axes: Axes, outcomes: Sequence[Outcome], tiers: list[str]) -> None:
    """A bar per tier, its fakes stacked by what became of them."""
    left = np.zeros(len(tiers))
    for kind, colour in KINDS.items():
        counts = np.array([sum(kind_of(o) == kind and base_tier(o.tier) == tier for o in outcomes)
                           for tier in tiers])
        if counts.any():
            axes.barh(tiers, counts, left=left, color=colour, label=kind)
            left += counts
    axes.invert_yaxis()
    axes.set_xlabel("fakes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Verdicts by kind of edit")
