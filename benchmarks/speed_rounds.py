"""Rounds of the speed benchmark: steps, in turn with what their work costs by itself."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.speed_figures import Figure, number
from benchmarks.speed_run import ROOT, Run
from utils.files import InputError

MOST_REPEATS = 5  # rounds that may be made again for one figure
Counts = dict[str, tuple[dict, int]]  # per kind of work: what limit() gave, and how much of it


def limit(what: str, paths: Sequence[Path]) -> dict:
    """Seconds, CPU seconds and count of one of benchmarks/speed_limits.py, in its own process."""
    command = [sys.executable, "-m", "benchmarks.speed_limits", what,
               *(str(Path(path).resolve()) for path in paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"benchmarks.speed_limits {what}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


class Rounds:
    """Alternated runs for one figure: what the steps took, and what the work takes by itself."""

    def __init__(self):
        self._spent: list[tuple[float, float]] = []  # wall and CPU seconds
        self._alone: list[dict[str, tuple[float, float]]] = []  # the same, by kind of work

    def measure(self, times: int, once: Callable[[], tuple[list[Run], list[Run], Counts]]
                ) -> "Rounds":
        """Add rounds. `once` gives runs, runs that only started, and per kind of work what limit()
        measured and how much of it there was to do.

        A round in which starting alone took longer, as on a busy machine it can, is made again.
        Raises InputError when that happens again and again.
        """
        for _ in range(times + MOST_REPEATS):
            runs, idle, counts = once()
            spent = tuple(sum(getattr(run, name) for run in runs)
                          - sum(getattr(run, name) for run in idle) for name in ("wall_s", "cpu_s"))
            if min(spent) > 0:
                self._spent.append(spent)
                self._alone.append({kind: tuple(found[name] / found["count"] * count
                                                for name in ("seconds", "cpu_s"))
                                    for kind, (found, count) in counts.items()})
            if len(self._spent) == times:
                return self
        raise InputError("this machine is too busy: the work takes no longer than starting it; "
                         "measure again when it is quiet")

    def figure(self, part: str, what: str, *, frames: int = 0, per: int = 1,
               target: float | None = None, of_ratio: bool = False) -> Figure:
        """Frames per second for that many frames, or else seconds for one of `per` items."""
        def values(seconds: Sequence[float]) -> list[float]:
            return [frames / s if frames else s / per for s in seconds]

        alone = [tuple(map(sum, zip(*found.values(), strict=True))) for found in self._alone]
        each = [f"{kind} {number(median(values([found[kind][0] for found in self._alone])))}"
                for kind in self._alone[0]]
        wall, cpu = zip(*self._spent, strict=True)
        return Figure(part, what, "frames/s" if frames else "s", values(wall),
                      [seconds / per for seconds in cpu], values([one[0] for one in alone]),
                      [one[1] / per for one in alone], ", ".join(each), target, of_ratio)
