"""The same fakes and sources through other methods, in the same table.

    python -m benchmarks.peers --fake-root fake_data --source-root source_data \\
        --truth truth.csv --out-root peers --traces step5_flow_trace/traces.csv

Methods: vPDQ (Meta; a PDQ hash of every frame), FFmpeg's `signature` filter (MPEG-7 video
signature) and `dct`, a plain perceptual hash of every frame at the best offset. Every method's
answers are written as `<out>/<method>/traces.csv`, which benchmarks/evaluate.py judges; the score
of the best source stands for its confidence and is no probability. vPDQ and FFmpeg answer
`no_source` where nothing matches; `dct` always names its best source. Finished pairs are kept in
`<out>/<method>/pairs/` and skipped on the next run.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks.evaluate import judge, table
from benchmarks.peer_methods import METHODS, Match, Method
from benchmarks.queries import base_tier
from benchmarks.scores import ALL, Measure, mean_of
from benchmarks.truths import Stretch, read_truth
from utils.batch import Summary, add_common_options, log, run_batch, run_step
from utils.decision import NO_SOURCE, TRACED
from utils.files import InputError, read_json, write_json
from utils.layout import VideoFile, fake_result_path, find_videos
from utils.tables import Trace, write_table
from utils.video import probe

COLUMNS = ("right source", "start ±0", "start ±1", "start ±5", "end ±1", "µAP",
           "AUROC of a source being here", "FPR at 95 % TPR", "seconds per fake")
OURS = "FPVT"


def main(fake_root: Path = Path("./fake_data/"), source_root: Path = Path("./source_data/"),
         truth: Path = Path("./truth.csv"), out_root: Path = Path("./peers/"),
         methods: Sequence[str] = tuple(METHODS), traces: Path | None = None, workers: int = 1,
         overwrite: bool = False) -> Summary:
    """Run the methods that can run here and print the comparison.

    Raises InputError when the truth or a folder is missing or no method can run.
    """
    stretches = read_truth(truth)
    named = {stretch.fake for stretch in stretches}
    fakes = [fake for fake in find_videos(fake_root) if fake.name in named]
    if not fakes:
        raise InputError(f"{fake_root}: none of its videos is in {truth}")
    sources, total, measures = find_videos(source_root), Summary(), []
    for method in usable(methods):
        folder = Path(out_root) / method.name
        total = _joined(total, run_method(method, fakes, sources, folder, workers, overwrite))
        measures += compared(method.name, folder / "traces.csv", stretches)
        measures += time_measures(method.name, folder, fakes, stretches)
    if traces is not None:
        measures += compared(OURS, Path(traces), stretches)
    print(overview(measures, sorted({base_tier(stretch.tier) for stretch in stretches})))
    return total


def usable(names: Sequence[str]) -> list[Method]:
    """Methods whose programs are installed; of the others one line says what to install."""
    missing = {name: METHODS[name].missing() for name in names}
    for name, what in missing.items():
        if what:
            log.warning("%s is left out: %s", name, what)
    if all(missing.values()):
        raise InputError("none of the methods can run here")
    return [METHODS[name] for name in names if not missing[name]]


def run_method(method: Method, fakes: list[VideoFile], sources: list[VideoFile], folder: Path,
               workers: int, overwrite: bool) -> Summary:
    """Compare all pairs and write the method's traces.csv."""
    indexed = run_batch(sources, partial(method.index, folder=folder),
                        name=lambda source: source.name, label=f"peer {method.name}, sources",
                        workers=workers)
    sources = [source for source in sources if source.name not in indexed.failed]

    work = partial(compare_fake, method=method, sources=sources, folder=folder,
                   overwrite=overwrite)
    done = run_batch(fakes, work, name=lambda fake: fake.name, label=f"peer {method.name}",
                     workers=workers)
    rows = [best_answer(fake.name, read_json(fake_result_path(folder / "pairs", fake.id)))
            for fake in fakes if fake.name not in done.failed]
    write_table(folder / "traces.csv", Trace, rows)
    done.failed = {**indexed.failed, **done.failed}
    return done


def compare_fake(fake: VideoFile, method: Method, sources: list[VideoFile], folder: Path,
                 overwrite: bool) -> bool:
    """Compare a fake with all sources and keep every pair; False when all had been compared."""
    path = fake_result_path(folder / "pairs", fake.id)
    made_with = {"method": method.name, **method.settings, "fake": _stamp(fake)}
    stored = read_json(path) if path.is_file() and not overwrite else {}
    pairs = stored["pairs"] if stored.get("made_with") == made_with else {}
    kept = {source.name: pairs[source.name] for source in sources
            if source.name in pairs and pairs[source.name]["source"] == _stamp(source)}
    left = [source for source in sources if source.name not in kept]
    result = {"made_with": made_with, "frames": probe(fake.path).frames_expected, "pairs": kept}
    write_json(path, result)  # a source may be gone
    for source in left:
        kept[source.name] = _compare(method, fake, source, folder)
        write_json(path, result)  # after every pair: some methods take long
    return bool(left)


def _stamp(video: VideoFile) -> list:
    stat = video.path.stat()
    return [video.name, stat.st_size, stat.st_mtime_ns]


def _compare(method: Method, fake: VideoFile, source: VideoFile, folder: Path) -> dict:
    begin = time.perf_counter()
    match = method.match(fake, source, folder)
    return {"source": _stamp(source), "seconds": time.perf_counter() - begin,
            "match": asdict(match) if match else None}


def best_answer(fake: str, result: dict) -> Trace:
    """A row of traces.csv from a fake's pairs: the source with the highest score."""
    found = sorted(((Match(**pair["match"]), source) for source, pair in result["pairs"].items()
                    if pair["match"]), key=lambda pair: (-pair[0].score, pair[1]))
    last = result["frames"] - 1
    if not found:
        return Trace(fake, 0, last, NO_SOURCE, None, None, None, None, None, None, None, None,
                     None, 1.0, None, "nothing matches")
    match, source = found[0]
    runner_up = found[1][1] if len(found) > 1 else None
    return Trace(fake, 0, last, TRACED, source, match.start, match.start + round(match.rate * last),
                 None, None, match.rate, 0, None, None, match.score, runner_up,
                 f"score {match.score:.2f}")


def compared(name: str, traces: Path, stretches: list[Stretch]) -> list[Measure]:
    """All figures of one method, with its name after that of the group."""
    return [replace(m, group=f"{m.group}: {name}") for m in judge(traces, stretches)[1]]


def time_measures(name: str, folder: Path, fakes: list[VideoFile],
                  stretches: list[Stretch]) -> list[Measure]:
    """Mean time on a fake against all sources, by tier, the fake's own hashes included and those
    of the sources, which are made once, not."""
    tiers = {s.fake: base_tier(s.tier) for s in stretches}
    paths = {fake.name: fake_result_path(folder / "pairs", fake.id) for fake in fakes}
    seconds = {fake: sum(pair["seconds"] for pair in read_json(path)["pairs"].values())
               for fake, path in paths.items() if path.is_file()}
    rows = []
    for group in (*sorted(set(tiers.values())), ALL):
        values = [value for fake, value in seconds.items() if group in (ALL, tiers[fake])]
        if values:
            rows.append(mean_of("seconds per fake", f"{group}: {name}", values))
    return rows


def overview(measures: Sequence[Measure], tiers: Sequence[str]) -> str:
    """Markdown: all fakes by method, then every tier by method."""
    parts = []
    for title, groups in (("All fakes", [ALL]), ("By kind of edit", tiers)):
        rows = [m for group in groups for m in measures if m.group.split(": ")[0] == group]
        parts.append(f"{title}:\n\n{table(rows, COLUMNS, 'method')}")
    return "\n\n".join(parts)


def _joined(one: Summary, other: Summary) -> Summary:
    return Summary(one.done + other.done, one.skipped + other.skipped,
                   {**one.failed, **other.failed})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The same fakes and sources through other "
                                                 "methods, in the same table.")
    parser.add_argument("--fake-root", type=Path, default=Path("./fake_data/"),
                        help="the fakes (default: %(default)s)")
    parser.add_argument("--source-root", type=Path, default=Path("./source_data/"),
                        help="the sources (default: %(default)s)")
    parser.add_argument("--truth", type=Path, default=Path("./truth.csv"),
                        help="the truth as CSV; only fakes in it are compared "
                             "(default: %(default)s)")
    parser.add_argument("--out-root", type=Path, default=Path("./peers/"),
                        help="where answers and finished pairs go (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS),
                        metavar="METHOD", help="of: %(choices)s (default: all)")
    parser.add_argument("--traces", type=Path,
                        help="what step 5 wrote for the same fakes, for a row of its own")
    add_common_options(parser)
    parser.set_defaults(workers=1)  # so that times can be compared
    run_step(main, parser)
