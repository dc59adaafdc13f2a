"""How the scene index grows: search time, recall, size, build time and memory by number of videos.

    python -m benchmarks.index_growth --scene-root step4_scene_trace --output growth

Synthetic databases of each size are built with the code of step 4 (utils/embedding_index.py), from
embeddings imitated after those of the real sources in `--scene-root`, as
benchmarks/synthetic_scenes.py says. They are nested: a larger one begins with the videos of the
smaller. Asked are fakes of the first videos, turned away from them as far as real fakes are, and
fakes of videos that are not there, the same ones at every size. Written to `--output`: `growth.md`,
`.csv`, `.json`, `.png`, `.pdf`; the databases lie in `--work` while this runs (6 GB in all).

query_ms: median over the fakes of the fastest of `--repeats` searches, files in the page cache, one
thread, the databases asked in turn so that other load strikes all of them alike; of that,
proposing_ms makes the shortlist. exact_ms: the same with every source scored, the faster of two,
up to EXACT_UP_TO videos. recall: share of the ten best videos of a search over everything that are
among the ten best of the index. build_s: everything but the making of synthetic embeddings.
peak_mib: of the process that builds, asks and compares, without pages of mapped files, which the
system takes back at will.
"""

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from benchmarks.plot_style import COLOURS, figure, save
from benchmarks.synthetic_scenes import SceneModel
from utils.embedding_index import EmbeddingIndex, Limits, open_index
from utils.embedding_rows import RowTable, rows_path, shortlist_path, table_path
from utils.files import InputError, write_json
from utils.tables import write_table

SIZES = (1_000, 10_000, 100_000, 1_000_000)
ASKED_FOR = 50  # videos, as step 4 does
BEST = 10  # videos that recall is about
KNOWN = 0.8  # of the fakes have their video in the database
EXACT_UP_TO = 100_000  # videos: all of their embeddings have to fit into memory
EXACT_REPEATS = 2  # a search over everything takes long
CHUNK = 2_000  # videos compared at a time in the search over everything
TOTAL = Limits(1, sys.maxsize)  # every source is scored


@dataclass
class Growth:
    """One row of the table."""

    videos: int
    kind: str
    query_ms: float
    proposing_ms: float  # 0 where every source is scored
    exact_ms: float | None
    recall: float
    recall_strangers: float  # of fakes without a video in the database
    bytes_per_video: float
    shortlist_bytes_per_video: float
    build_s: float
    open_s: float  # of a database that is up to date, as each run does
    peak_mib: float


class Synthetic:
    """A database of synthetic videos, made while it is read in the order of its ids."""

    def __init__(self, model: SceneModel, count: int, frames: int):
        self.ids = [f"video_{i:08d}" for i in range(count)]
        self.wanted = dict.fromkeys(self.ids, (bytes(32), ""))
        self.making_s = 0.0
        self._videos = (video for chunk in model.videos(count, frames) for video in chunk)

    def load(self, video_id: str) -> np.ndarray:
        """The next video's embeddings: building asks for them in the order of the ids."""
        begun = time.perf_counter()
        video = next(self._videos)
        self.making_s += time.perf_counter() - begun
        return video


def main(scene_roots: Sequence[Path] = (Path("./step4_scene_trace/"),),
         output: Path = Path("./growth/"), work: Path | None = None,
         videos: Sequence[int] = SIZES, frames: int = 10, fakes: int = 100, repeats: int = 5,
         limits: Limits | None = None) -> list[Growth]:
    """Measure every size and write the figures. Raises InputError when there is too little to
    learn from, or fewer videos than fakes."""
    if min(videos) < fakes:
        raise InputError(f"--videos: {min(videos)} are fewer than --fakes {fakes}")
    model, limits = SceneModel.fit(scene_roots), limits or Limits()
    known = next(model.videos(round(KNOWN * fakes), frames))
    asked = model.queries(known, fakes - len(known))
    if work is not None:
        Path(work).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        roots = {count: Path(folder) / str(count) for count in sorted(videos)}
        rows = [_in_a_process(_build, roots[count], model, count, frames, asked, limits)
                for count in roots]
        for row, (query, proposing, exact) in zip(rows, _times(roots, asked, limits, repeats),
                                                  strict=True):
            row.query_ms, row.proposing_ms, row.exact_ms = query, proposing, exact
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "growth.json", [asdict(row) for row in rows])
    write_table(output / "growth.csv", Growth, rows)
    (output / "growth.md").write_text(markdown(rows), encoding="utf-8")
    save(drawn(rows), output / "growth")
    return rows


def _in_a_process(work: Callable, *arguments: object) -> Growth:
    """Call a function in a fresh process, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def _build(root: Path, model: SceneModel, count: int, frames: int, asked: np.ndarray,
           limits: Limits) -> Growth:
    """Build a database and compare its answers with those of a search over everything."""
    source = Synthetic(model, count, frames)
    with _peak_memory() as peak, threadpool_limits(1):
        begun = time.perf_counter()
        open_index(root, source.wanted, source.load, limits)
        build_s = time.perf_counter() - begun - source.making_s
        begun = time.perf_counter()
        index = open_index(root, source.wanted, source.load, limits)
        open_s = time.perf_counter() - begun
        found = [[name for name, _ in index.search(fake, ASKED_FOR)[:BEST]] for fake in asked]
        wanted = best_of_all(index, asked)
    recalls = np.array([len({*some} & {*all_}) / BEST
                        for some, all_ in zip(found, wanted, strict=True)])
    known = round(KNOWN * len(asked))
    sizes = [path(root).stat().st_size if path(root).is_file() else 0
             for path in (rows_path, table_path, shortlist_path)]
    return Growth(count, index.kind, 0, 0, None, float(recalls.mean()),
                  float(recalls[known:].mean()), sum(sizes) / count, sizes[-1] / count, build_s,
                  open_s, peak[0])


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """The largest memory of this process that is no mapped file, MiB, in a list of one number."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], _anonymous_mib())
            if done.wait(0.05):
                return
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _anonymous_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise InputError("/proc/self/status: no RssAnon in it; memory is measured on Linux")


def best_of_all(index: EmbeddingIndex, asked: np.ndarray) -> list[list[str]]:
    """Ids of the BEST sources of every fake [Q, F, D] by a comparison with all embeddings."""
    flat, best = asked.reshape(-1, asked.shape[2]), np.full((len(asked), 0), 0.0)
    ids = np.zeros((len(asked), 0), int)
    for first in range(0, len(index.ids), CHUNK):
        chosen = np.arange(first, min(first + CHUNK, len(index.ids)))
        counts = index.counts[chosen]
        near = flat @ index.rows_of(chosen).T
        near = np.maximum.reduceat(near, np.cumsum(counts) - counts, axis=1)
        scores = near.reshape(*asked.shape[:2], -1).mean(1)
        best, ids = np.hstack([best, scores]), np.hstack([ids, np.tile(chosen, (len(asked), 1))])
        order = np.argsort(-best, axis=1, kind="stable")[:, :BEST]
        best, ids = (np.take_along_axis(part, order, axis=1) for part in (best, ids))
    return [[index.ids[i] for i in row] for row in ids]


def _times(roots: dict[int, Path], asked: np.ndarray, limits: Limits,
           repeats: int) -> list[tuple[float, float, float | None]]:
    """Per size: milliseconds of a query, of making its shortlist, and of scoring every source."""
    used = [_opened(root, limits) for root in roots.values()]
    full = [_opened(root, TOTAL) if count <= EXACT_UP_TO else None
            for count, root in roots.items()]
    spent = np.full((repeats, len(asked), len(roots), 3), np.inf)
    with threadpool_limits(1):
        for turn in range(repeats):
            for number, fake in enumerate(asked):
                for size, (index, every) in enumerate(zip(used, full, strict=True)):
                    spent[turn, number, size] = (
                        _ms(index.search, fake),
                        _ms(index.proposed, fake) if index.shortlist else 0,
                        _ms(every.search, fake) if every and turn < EXACT_REPEATS else np.inf)
    medians = np.median(spent.min(0), axis=0)
    return [(query, proposing, exact if np.isfinite(exact) else None)
            for query, proposing, exact in medians.tolist()]


def _opened(root: Path, limits: Limits) -> EmbeddingIndex:
    table = RowTable.read(root)
    return open_index(root, {name: (state, "") for name, state in table.states_by_id().items()},
                      lambda name: None, limits)


def _ms(ask: Callable, fake: np.ndarray) -> float:
    begun = time.perf_counter()
    ask(fake, ASKED_FOR)
    return 1000 * (time.perf_counter() - begun)


def markdown(rows: list[Growth]) -> str:
    """The figures as a table."""
    heads = ("videos", "search", "query, ms", "of that shortlist", "all scored, ms", "recall@10",
             "of strangers", "bytes per video", "of that shortlist", "build, s", "open, s",
             "peak, MiB")
    cells = [heads, ("---",) * len(heads)] + [(
        f"{r.videos:,}", r.kind, f"{r.query_ms:.1f}", f"{r.proposing_ms:.1f}",
        "-" if r.exact_ms is None else f"{r.exact_ms:.1f}", f"{r.recall:.3f}",
        f"{r.recall_strangers:.3f}", f"{r.bytes_per_video:,.0f}",
        f"{r.shortlist_bytes_per_video:.0f}", f"{r.build_s:.1f}", f"{r.open_s:.2f}",
        f"{r.peak_mib:,.0f}") for r in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def drawn(rows: list[Growth]) -> Figure:
    """Cost of a query against the size of the database."""
    fig = figure()
    axes = fig.subplots()
    axes.loglog([row.videos for row in rows], [row.query_ms for row in rows], "o-",
                color=COLOURS[0], label="as step 4 asks")
    scored = [row for row in rows if row.exact_ms is not None]
    axes.loglog([row.videos for row in scored], [row.exact_ms for row in scored], "s--",
                color=COLOURS[1], label="every source scored")
    axes.set_xlabel("videos in the database")
    axes.set_ylabel("time of a query, ms (one core)")
    axes.legend()
    return fig


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Search time, recall, size and memory of the scene index as it grows.")
    parser.add_argument("--scene-root", dest="scene_roots", type=Path, nargs="+",
                        default=[Path("./step4_scene_trace/")],
                        help="folders of step 4 whose sources are imitated (default: "
                             "./step4_scene_trace/)")
    parser.add_argument("--output", type=Path, default=Path("./growth/"),
                        help="where the figures go (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=None,
                        help="folder for the databases while this runs (default: the system's)")
    parser.add_argument("--videos", type=int, nargs="+", default=SIZES,
                        help="sizes of databases (default: 1000 10000 100000 1000000)")
    parser.add_argument("--frames", type=int, default=10,
                        help="embeddings per video (default: %(default)s)")
    parser.add_argument("--fakes", type=int, default=100,
                        help="queries per database (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5,
                        help="times that each is asked (default: %(default)s)")
    try:
        print(markdown(main(**vars(parser.parse_args()))), end="")
    except InputError as error:
        sys.exit(str(error))
