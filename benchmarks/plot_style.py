"""One look for all plots: sizes for a paper, colours that the colour-blind can tell apart.

A plot is drawn on figure() and written by save(), as PNG to look at and as PDF to print. The same
data gives the same bytes: neither file holds a date.
"""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CM = 1 / 2.54  # inches
COLUMN_CM, PAGE_CM = 8.5, 17.5  # widths of one and of two columns of a paper
DPI = 200
# Okabe and Ito's palette (2008), in the order to use; yellow, faint on white, left out
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GREY = "0.6"
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "font.family": "DejaVu Sans",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "0.9", "grid.linewidth": 0.5,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.2,
    "lines.markersize": 4, "legend.frameon": False, "axes.prop_cycle": matplotlib.cycler(
        color=COLOURS), "pdf.fonttype": 42}  # 42: text stays text, as publishers ask


def figure(width_cm: float = COLUMN_CM, height_cm: float = 6.0) -> Figure:
    """An empty figure of this size in the common style; axes: `fig.subplots(...)`.

    Sets matplotlib's defaults for the whole process: axes and labels read them when they are made.
    """
    matplotlib.rcParams.update(STYLE)
    return Figure(figsize=(width_cm * CM, height_cm * CM), layout="constrained")


def save(fig: Figure, path: Path) -> list[Path]:
    """Write `path`.png and `path`.pdf (path has no ending), folder included; return both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_name(path.name + ending) for ending in (".png", ".pdf")]
    fig.savefig(files[0], dpi=DPI, metadata={"Software": None})
    fig.savefig(files[1], metadata={"CreationDate": None})
    return files


def legend_below(fig: Figure, axes: Axes, columns: int = 3) -> None:
    """The axes' legend under the whole figure, where it hides nothing."""
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
