"""How good are the traces? Compares traces.csv with the truth.

    python -m benchmarks.evaluate --traces step5_flow_trace/traces.csv --truth demo/truth.csv

The truth is a CSV with the columns `fake,source,start_frame,end_frame,tier,speed` (an empty source:
its original is not in the database). Prints every fake beside its truth and a table per tier with
95 % Wilson intervals. A wrong source counts as a miss of the frames as well, and so does a fake
with a source that was given none.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.layout import InputError
from utils.tables import read_table

COLUMNS = ("right source", "start ±0", "start ±1", "start ±5", "end ±1")


@dataclass(frozen=True)
class Outcome:
    """One fake of the truth and what was found for it."""

    fake: str
    tier: str
    source: str  # true source, empty when it is not in the database
    start: int  # true frames
    end: int
    verdict: str  # "missing" when the fake has no row
    found_source: str
    found_start: int | None
    found_end: int | None
    confidence: float

    @property
    def hits(self) -> tuple[bool, ...]:
        """One truth value per entry of COLUMNS."""
        right = bool(self.source) and self.found_source == self.source
        if not right or self.found_start is None:
            return (right, False, False, False, False)
        start, end = abs(self.found_start - self.start), abs(self.found_end - self.end)
        return (True, start == 0, start <= 1, start <= 5, end <= 1)


def main(traces: Path, truth: Path, quiet: bool = False) -> list[Outcome]:
    """Print the comparison and return it. Raises InputError when a table cannot be read."""
    outcomes = compare(read_table(traces), read_table(truth))
    if not quiet:
        print(listing(outcomes), end="\n\n")
    print(summary(outcomes))
    return outcomes


def compare(traces: list[dict[str, str]], truth: list[dict[str, str]]) -> list[Outcome]:
    """Join both tables by fake. A fake with several true stretches is judged by its first."""
    found = {row["fake"]: row for row in reversed(traces)}
    rows: dict[str, dict[str, str]] = {}
    for row in truth:
        rows.setdefault(row["fake"], row)
    return [_outcome(row, found.get(row["fake"])) for row in rows.values()]


def _outcome(truth: dict[str, str], trace: dict[str, str] | None) -> Outcome:
    trace = trace or {"verdict": "missing", "source": "", "start_frame": "", "end_frame": "",
                      "confidence": "0"}
    try:
        return Outcome(truth["fake"], truth["tier"], truth["source"], int(truth["start_frame"]),
                       int(truth["end_frame"]), trace["verdict"], trace["source"],
                       _number(trace["start_frame"]), _number(trace["end_frame"]),
                       float(trace["confidence"]))
    except (KeyError, ValueError) as error:
        raise InputError(f"{truth.get('fake')}: a table lacks a column or holds no number "
                         f"({error})") from error


def _number(cell: str) -> int | None:
    return int(cell) if cell else None


def listing(outcomes: list[Outcome]) -> str:
    """One line per fake: what was found beside the truth."""
    lines = [("fake", "verdict", "found", "truth", "confidence", "")]
    for o in outcomes:
        near, exact = o.hits[2], o.hits[1] and o.found_end == o.end
        good = near if o.source else o.verdict == "no_source"
        mark = ("" if exact or not o.source else "  off by a frame") if good else "  <-- differs"
        lines.append((o.fake, o.verdict, _place(o.found_source, o.found_start, o.found_end),
                      _place(o.source, o.start, o.end) if o.source else "not in the database",
                      f"{o.confidence:.2f}", mark))
    return columns(lines)


def _place(source: str, start: int | None, end: int | None) -> str:
    return f"{source} {start}-{end}" if source and start is not None else source or "-"


def columns(lines: list[tuple[str, ...]]) -> str:
    """Text table with aligned columns."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    >>> [round(limit, 3) for limit in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not count:
        return 0.0, 1.0
    share, square = hits / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * np.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def summary(outcomes: list[Outcome]) -> str:
    """Markdown table per tier, and how the verdicts fell."""
    here = [o for o in outcomes if o.source]
    tiers = sorted({o.tier for o in here}) + ["all"]
    lines = ["| tier | fakes | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 2) + "|"]
    for tier in tiers:
        group = [o for o in here if tier in ("all", o.tier)]
        cells = [_share(sum(o.hits[i] for o in group), len(group)) for i in range(len(COLUMNS))]
        lines.append(f"| {tier} | {len(group)} | " + " | ".join(cells) + " |")
    for name, group in (("with a source here", here),
                        ("without a source here", [o for o in outcomes if not o.source])):
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in
                             sorted(Counter(o.verdict for o in group).items()))
        lines.append(f"\n{len(group)} fakes {name}: {verdicts or 'none'}")
    wrong = [o for o in outcomes if o.verdict == "traced" and not (o.source and o.hits[0])]
    lines.append(f"\ntraced to a wrong source: {len(wrong)}")
    return "\n".join(lines)


def _share(hits: int, count: int) -> str:
    low, high = wilson(hits, count)
    return f"{100 * hits / max(count, 1):.1f} % ({100 * low:.0f}-{100 * high:.0f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How good are the traces?")
    parser.add_argument("--traces", type=Path, default=Path("step5_flow_trace/traces.csv"),
                        help="what step 5 wrote (default: %(default)s)")
    parser.add_argument("--truth", type=Path, required=True, help="the truth as CSV")
    parser.add_argument("--quiet", action="store_true", help="leave out the line per fake")
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(str(error))
