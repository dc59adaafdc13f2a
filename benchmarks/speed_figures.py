"""Figures of the speed benchmark, as a Markdown table and as JSON."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from utils.files import write_bytes, write_json

RATES = ("frames/s", "x")  # units of which more is better
MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """One figure: the median of alternated runs, and the limit measured beside it."""

    part: str
    what: str
    unit: str  # s, frames/s, x (times faster) or MiB
    runs: list[float]
    cpu: list[float] = field(default_factory=list)  # CPU seconds that went into it
    limits: list[float] = field(default_factory=list)  # what the work alone takes, in `unit`
    limit_cpu: list[float] = field(default_factory=list)  # CPU seconds of that
    limit: str = ""  # what that is
    target: float | None = None
    of_ratio: bool = False  # the target is about the ratio, not about the value

    @property
    def value(self) -> float:
        return median(self.runs)

    @property
    def ratio(self) -> float | None:
        """How many times longer than the limit's work this takes: the median over the runs."""
        if not self.limits:
            return None
        return median(bound / run if self.unit in RATES else run / bound
                      for run, bound in zip(self.runs, self.limits, strict=True))

    @property
    def cpu_ratio(self) -> float | None:
        """The ratio of the CPU seconds, which other programs on the machine change less."""
        if not self.limit_cpu:
            return None
        return median(run / bound for run, bound in zip(self.cpu, self.limit_cpu, strict=True))

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        if self.of_ratio:
            return self.ratio <= self.target
        return self.value >= self.target if self.unit in RATES else self.value <= self.target

    def summary(self) -> dict:
        """Everything, for the JSON file."""
        return {**asdict(self), "value": self.value, "ratio": self.ratio,
                "cpu_ratio": self.cpu_ratio, "met": self.met}


def table(figures: Sequence[Figure]) -> str:
    """Markdown table of figures."""
    head = ("part", "what", "median (range)", "CPU s", "beside it", "ratio", "by CPU", "target")
    rows = [head, ("---",) * len(head)]
    for f in figures:
        spread = f" ({number(min(f.runs))}-{number(max(f.runs))})" if len(f.runs) > 1 else ""
        beside = f"{number(median(f.limits))} {f.unit}: {f.limit}" if f.limits else ""
        rows.append((f.part, f.what, f"{number(f.value)} {f.unit}{spread}",
                     number(median(f.cpu)) if f.cpu else "", beside, number(f.ratio),
                     number(f.cpu_ratio), _target(f)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _target(f: Figure) -> str:
    if f.target is None:
        return ""
    sign = "≤" if f.of_ratio or f.unit not in RATES else "≥"
    of = "ratio " if f.of_ratio else ""
    return f"{of}{sign} {number(f.target)}: {'met' if f.met else 'missed'}"


def number(value: float | None) -> str:
    """Three digits that count; nothing for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict:
    """What the figures were measured on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cores": os.cpu_count(), "processor": _processor(), "system": platform.system(),
            "python": platform.python_version(), "torch": torch.__version__,
            "opencv": cv2.__version__, "numpy": np.__version__, "load_before": load}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")),
                platform.machine())


def write(out: Path, figures: Sequence[Figure], about: dict) -> None:
    """Write `speed.md` and `speed.json`; `about` says what was measured on and over."""
    title = (f"{about['machine']['cores']} cores ({about['machine']['processor']}), "
             f"{about['runs']} alternated runs, {about['set']}.")
    write_bytes(Path(out) / "speed.md", f"{title}\n\n{table(figures)}\n".encode())
    write_json(Path(out) / "speed.json",
               {**about, "figures": [figure.summary() for figure in figures]})
