"""How good are the traces? Compares traces.csv with the truth.

    python -m benchmarks.evaluate --traces step5_flow_trace/traces.csv --truth demo/truth.csv
    python -m benchmarks.evaluate --truth-names ffpp --full --csv figures.csv --plots plots/

The truth is a CSV with the columns `fake,source,start_frame,end_frame,tier` (an empty source: its
original is not in the database; several rows per fake: stitched stretches), or comes from the names
of a public data set (benchmarks/truths.py). Prints every fake beside its truth and a table per
tier with 95 % intervals; a wrong source counts as a miss of the frames as well, and so does a fake
with a source that was given none. Of sources that show the same footage (--same-footage) any is
right, and the frames of another than the fake's own are compared by their time, as if both began at
one moment; --leave-out leaves all of them out.
--full adds lengths, frame errors, retrieval, rejection and calibration (benchmarks/scores.py says
how each is taken).
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import queries, scores, truths
from benchmarks.outcomes import Outcome, compare, read_found
from benchmarks.scores import ALL, GIVEN, TOLERANCES, Measure
from utils.decision import NO_SOURCE, TRACED
from utils.files import InputError
from utils.tables import read_table, write_table

SHORT = ("right source", "start ±0", "start ±1", "start ±5", "end ±1")
RANGE = tuple(f"{end} ±{limit}" for end in ("start", "end") for limit in TOLERANCES)
_ERRORS = tuple(f"{figure} {end} error" for end in ("start", "end")
                for figure in ("mean", "95th percentile"))
# title and figures of the further tables; a table counts the cases of its first figure
FULL = (
    ("Frames, end to end (a wrong source is a miss)", (*RANGE, "IoU")),
    ("Frames where the source is right", tuple(name + GIVEN for name in (*RANGE, "IoU"))),
    ("Errors in frames where the source is right and frames are given", _ERRORS),
    ("Retrieval of fakes with a source here",
     tuple(f"{name} {figure}" for name in ("scene", "answer") for figure in ("R@1", "R@5", "mAP"))),
    ("Answers to all fakes", ("µAP",)),
    ("Whether a source is here",
     ("AUROC of a source being here", "FPR at 95 % TPR", "rejected without a source",
      "rejected with a source")),
    ("Calibration", ("calibration error",)),
    ("Answers by confidence", ("mean confidence", "right answers")))
_SHARES = ("R@", "±", "right source", "FPR", "rejected", "right answers")


def main(traces: Path = Path("step5_flow_trace/traces.csv"), truth: Path | None = None,
         truth_names: str | None = None, fake_root: Path = Path("./fake_data/"),
         source_root: Path = Path("./source_data/"), metadata: Path | None = None,
         ranking: Path | None = None, leave_out: bool = False,
         same_footage: Sequence[Sequence[str]] = (), full: bool = False, csv: Path | None = None,
         picture: Path | None = None, plots: Path | None = None, quiet: bool = False
         ) -> list[Measure]:
    """Print the comparison and return all its figures.

    Raises InputError when a table cannot be read or there is no truth.
    """
    stretches = truths.with_copies(
        _truth(truth, truth_names, fake_root, source_root, metadata), same_footage)
    outcomes, asked = gather(traces, stretches, leave_out)
    measures = figures(outcomes, asked, ranking)
    if not quiet:
        print(listing([o for o in outcomes if not o.fake.endswith(queries.LEFT_OUT)]), end="\n\n")
    print(summary(outcomes, measures))
    if full:
        print("\n" + details(measures))
    if csv is not None:
        write_table(csv, Measure, measures)
    if picture is not None:
        from benchmarks.confusion import draw_confusion  # matplotlib: only where it is used
        draw_confusion(outcomes, picture)
    if plots is not None:
        from benchmarks.plots import draw_all
        draw_all(outcomes, asked, measures, plots)
    return measures


def judge(traces: Path, stretches: list[truths.Stretch], ranking: Path | None = None,
          leave_out: bool = False) -> tuple[list[Outcome], list[Measure]]:
    """Outcomes of all stretches and all figures; arguments as those of main(). Raises InputError
    when a table cannot be read or --leave-out finds nothing of step 5."""
    outcomes, asked = gather(traces, stretches, leave_out)
    return outcomes, figures(outcomes, asked, ranking)


def gather(traces: Path, stretches: list[truths.Stretch],
           leave_out: bool) -> tuple[list[Outcome], list[queries.Query]]:
    """Outcomes of all stretches, and the fakes as queries; judge() tells more."""
    rows = read_found(read_table(traces))
    evidence = queries.read_evidence(traces.parent, [s.fake for s in stretches])
    if leave_out:
        if not evidence:
            raise InputError(f"{traces.parent / 'fakes'}: nothing of step 5 here for --leave-out")
        more = queries.leave_out(stretches, evidence)
        stretches, rows, evidence = stretches + more[0], rows + more[1], evidence | more[2]
    return compare(stretches, rows), queries.make_queries(stretches, rows, evidence)


def figures(outcomes: list[Outcome], asked: list[queries.Query],
            ranking: Path | None) -> list[Measure]:
    """All figures; ranking: scene_ranking.csv."""
    ranked = queries.read_ranking(read_table(ranking)) if ranking else None
    return scores.all_measures(outcomes, asked, ranked)


def _truth(truth: Path | None, names: str | None, fake_root: Path, source_root: Path,
           metadata: Path | None) -> list[truths.Stretch]:
    if (truth is None) == (names is None):
        raise InputError("give the truth: either --truth FILE or --truth-names SET")
    return (truths.read_truth(truth) if truth is not None
            else truths.truth_from_names(names, fake_root, source_root, metadata))


def listing(outcomes: Sequence[Outcome]) -> str:
    """One line per fake, or stretch of one: what was found beside the truth."""
    lines = [("fake", "verdict", "found", "truth", "confidence", "")]
    for o in outcomes:
        near = o.start_error <= 1 if o.start is not None else o.right_source
        good = near if o.sources else o.verdict == NO_SOURCE
        exact = not o.sources or o.start is None or o.start_error + o.end_error == 0
        mark = ("" if exact else "  off by a frame") if good else "  <-- differs"
        if o.right_source and o.start is not None and (not o.frames_known or good and
                                                       o.found_source != o.sources[0]):
            mark = "  another copy of it"
        true = "/".join(o.sources[:2]) + ("/..." if len(o.sources) > 2 else "")
        lines.append((o.fake, o.verdict, _place(o.found_source, o.found_start, o.found_end),
                      _place(true, o.start, o.end) if true else "not in the database",
                      f"{o.confidence:.2f}", mark))
    return columns(lines)


def _place(source: str, start: int | None, end: int | None) -> str:
    return f"{source} {start}-{end}" if source and start is not None else source or "-"


def columns(lines: list[tuple[str, ...]]) -> str:
    """Text table with aligned columns."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)


def summary(outcomes: Sequence[Outcome], measures: Sequence[Measure]) -> str:
    """Markdown table per tier, and how the verdicts fell."""
    tiers = {queries.base_tier(o.tier) for o in outcomes} | {ALL}
    lines = [table([m for m in measures if m.group in tiers], SHORT, "tier")]
    here = [o for o in outcomes if o.sources]
    absent = [o for o in outcomes if not o.sources]
    again = sum(o.fake.endswith(queries.LEFT_OUT) for o in absent)
    note = f" ({again} of them fakes whose own source was left out)" if again else ""
    for name, group in (("with a source here", here), ("without a source here" + note, absent)):
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in
                             sorted(Counter(o.verdict for o in group).items()))
        lines.append(f"\n{len(group)} fakes {name}: {verdicts or 'none'}")
    wrong = [o for o in outcomes if o.verdict == TRACED and not o.right_source]
    lines.append(f"\ntraced to a wrong source: {len(wrong)}")
    return "\n".join(lines)


def table(measures: Sequence[Measure], names: Sequence[str], first: str = "group") -> str:
    """Markdown table: a row per group, the cases of its first figure, and the figures."""
    cells = {(m.group, m.metric): m for m in measures if m.metric in names}
    used = [name for name in names if any(name == metric for _, metric in cells)]
    lines = [f"| {first} | fakes | " + " | ".join(name.removesuffix(GIVEN) for name in used) + " |",
             "| --- " * (len(used) + 2) + "|"]
    for group in dict.fromkeys(group for group, _ in cells):
        row = [cells.get((group, name)) for name in used]
        if row[0] is not None and row[0].count:
            cases = row[0].count
            texts = [cell(m) + (f", n {m.count}" if m and 0 < m.count != cases else "")
                     for m in row]
            lines.append(f"| {group} | {cases} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def cell(measure: Measure | None) -> str:
    """A figure with its interval: shares in per cent, frames with two decimals, others with three.
    """
    if measure is None or np.isnan(measure.value):
        return "-"
    value, low, high = measure.value, measure.low, measure.high
    if any(word in measure.metric for word in _SHARES):
        return f"{100 * value:.1f} % ({100 * low:.0f}-{100 * high:.0f})"
    digits = 2 if measure.metric in (*_ERRORS, "seconds per fake") else 3
    interval = "" if np.isnan(low) else f" ({low:.{digits}f}-{high:.{digits}f})"
    return f"{value:.{digits}f}{interval}"


def details(measures: Sequence[Measure]) -> str:
    """All further tables, those without a case left out."""
    lengths = [m for m in measures if m.group.endswith((" frames", " not known"))]
    parts = [("By length", lengths, SHORT), *((title, measures, names) for title, names in FULL)]
    return "\n\n".join(f"{title}:\n\n{table(rows, names)}" for title, rows, names in parts
                       if any(row.metric in names and row.count for row in rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How good are the traces?")
    parser.add_argument("--traces", type=Path, default=Path("step5_flow_trace/traces.csv"),
                        help="what step 5 wrote (default: %(default)s)")
    parser.add_argument("--truth", type=Path, help="the truth as CSV")
    parser.add_argument("--truth-names", choices=truths.SCHEMES,
                        help="take the truth from the names of this data set instead")
    parser.add_argument("--fake-root", type=Path, default=Path("./fake_data/"),
                        help="the fakes, for --truth-names (default: %(default)s)")
    parser.add_argument("--source-root", type=Path, default=Path("./source_data/"),
                        help="the sources, for --truth-names (default: %(default)s)")
    parser.add_argument("--metadata", type=Path,
                        help="metadata.json of DFDC, or a folder of them (default: the fakes')")
    parser.add_argument("--ranking", type=Path,
                        help="scene_ranking.csv of step 4, to judge the scene stage as well")
    parser.add_argument("--leave-out", action="store_true",
                        help="ask every fake once more as if its own source were missing")
    parser.add_argument("--same-footage", nargs="+", action="append", default=[],
                        metavar="SOURCE",
                        help="these sources show the same footage from the same moment on, any of "
                             "them is right; once per group")
    parser.add_argument("--full", action="store_true", help="print all tables")
    parser.add_argument("--csv", type=Path, help="write all figures to this file")
    parser.add_argument("--picture", type=Path,
                        help="draw which source was found for which to this file (PNG or PDF)")
    parser.add_argument("--plots", type=Path,
                        help="draw accuracy, frame errors, calibration and ROC into this folder, "
                             "as PNG and PDF")
    parser.add_argument("--quiet", action="store_true", help="leave out the line per fake")
    try:
        main(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(str(error))
