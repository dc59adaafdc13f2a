"""How fast are the steps, and how near to what the machine can do?

    make demo && python -m benchmarks.speed
    python -m benchmarks.speed --video-root source_data --fake-root fake_data --truth truth.csv \\
        --out speed --only split trace

Steps run as processes of their own, as a user starts them, on the given videos and on clips made
of them. Beside each time stands what its work costs by itself on the same cores in the same run
(benchmarks/speed_limits.py), measured in turn with it; figures are medians over the runs. CPU
seconds tell more than wall time where other programs are at work. Written are `speed.md`,
`speed.json` and plots of cost against database size and clip length.

Parts: `start` (process start), `sources` (steps 1 and 2), `split` (step 3), `motion` (step 5's
features of new sources), `trace` (step 5 for one fake against indexed sources), `whole` (steps 1 to
5 over the set, once, beside benchmarks/straightforward.py), `long` (memory on long videos). The
peak memory of every step is that of all parts that were run.
"""

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot_style, speed_whole
from benchmarks.speed_figures import Figure, machine, table, write
from benchmarks.speed_parts import FAKE_FRAMES, PARTS, USUAL, Setting, memory_figures
from utils.batch import Summary, log, run_step
from utils.files import InputError
from utils.layout import find_videos

ALL_PARTS = {**PARTS, "whole": speed_whole.whole, "long": speed_whole.long_videos}
_TRACED = re.compile(r"step 5, a fake of (\d+) frames, (\d+) sources, beyond")


def main(video_root: Path = Path("demo/source_data"), fake_root: Path = Path("demo/fake_data"),
         truth: Path | None = None, out: Path = Path("demo/speed"), runs: int = 3,
         only: Sequence[str] = tuple(ALL_PARTS), minutes: Sequence[float] = (10, 20),
         raft: bool = True) -> Path:
    """Measure the parts named and write the figures; returns the Markdown file.

    Raises InputError when a folder holds no video, an option is out of range, or a step fails.
    """
    if runs < 1:
        raise InputError("--runs must be 1 or more")
    if len(minutes) != 2 or not 0 < minutes[0] < minutes[1]:
        raise InputError("--minutes must be two lengths, the shorter first")
    about = {"machine": machine(), "runs": runs}
    videos, figures = [find_videos(root) for root in (video_root, fake_root)], []
    about["set"] = f"{len(videos[0])} sources and {len(videos[1])} fakes"
    Path(out).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix="work_") as work:
        setting = Setting(*videos, Path(work), runs, raft, tuple(minutes), truth)
        for name in (name for name in ALL_PARTS if name in only):
            log.info("speed: %s", name)
            figures += ALL_PARTS[name](setting)
            write(out, figures + memory_figures(setting), about)
        print(table(figures + memory_figures(setting)))
    draw(figures, Path(out))
    return Path(out) / "speed.md"


def draw(figures: Sequence[Figure], out: Path) -> None:
    """Plot seconds against the number of sources and against the fake's length; nothing where
    `trace` was not measured."""
    found = {tuple(map(int, match.groups())): figure for figure in figures
             if (match := _TRACED.match(figure.what))}
    by_size = sorted((size, f) for (length, size), f in found.items() if length == FAKE_FRAMES)
    usual = min(USUAL, max((size for _, size in found), default=0))
    by_length = sorted((length, f) for (length, size), f in found.items() if size == usual)
    if not found:
        return
    picture = plot_style.figure(plot_style.PAGE_CM, 6.0)
    for axes, rows, label in zip(picture.subplots(1, 2, sharey=True), (by_size, by_length),
                                 (f"sources (fake of {FAKE_FRAMES} frames)",
                                  f"frames of the fake ({usual} sources)"), strict=True):
        x, found_there = zip(*rows, strict=True)
        axes.plot(x, [f.value for f in found_there], "o-", label="wall time")
        axes.plot(x, [sorted(f.cpu)[len(f.cpu) // 2] for f in found_there], "s--",
                  label="CPU time")
        axes.set_xlabel(label)
    picture.axes[0].set_ylim(bottom=0)  # of both; before all is drawn it would fix the top, too
    picture.axes[0].set_ylabel("step 5, s beyond process start")
    picture.axes[0].legend()
    plot_style.save(picture, out / "speed_trace")


def _run(**options) -> Summary:
    return Summary(done=[str(main(**options))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video-root", type=Path, default=Path("demo/source_data"),
                        help="the sources (default: %(default)s)")
    parser.add_argument("--fake-root", type=Path, default=Path("demo/fake_data"),
                        help="the fakes (default: %(default)s)")
    parser.add_argument("--truth", type=Path, help="truth of the fakes as CSV: part `whole` then "
                                                   "tells how many answers are right")
    parser.add_argument("--out", type=Path, default=Path("demo/speed"),
                        help="folder for the figures (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3,
                        help="runs of which the median is taken; `whole` and `long` run once "
                             "(default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ALL_PARTS, default=tuple(ALL_PARTS),
                        metavar="PART", help="parts: %(choices)s (default: all)")
    parser.add_argument("--minutes", nargs=2, type=float, default=(10, 20),
                        help="lengths of the two long videos (default: 10 20)")
    parser.add_argument("--no-raft", dest="raft", action="store_false",
                        help="leave the motion features by RAFT out")
    parser.set_defaults(verbose=False, quiet=False)
    run_step(_run, parser)
