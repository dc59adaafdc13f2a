"""Long sources: does step 5 answer from proposed sections what comparing all of them gives?

    python -m benchmarks.long_sources --set my_set --work my_work --frames 36000

Takes a set of fakes with truth.csv that went through steps 1 to 5. The motion of all its sources,
then that of turned copies (rotated and transposed: they move like people and match no fake), is
joined to one source of `--frames` frames (its motion only: there is no such video, so step 5 has no
pictures to confirm a place with), and every fake is traced in it twice: in the sections
that coarse motion proposes, and, for every `--exhaustive-every`-th fake, in all of it. Prints how
often the true place was proposed, how often both answers are the same, what share of the frames
was skipped, and times and memory.
"""

import argparse
import csv
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from models.flow import make_flow
from models.motion import MotionGrid
from models.segmenter import make_segmenter
from step5_flow_trace import Tools, trace_stretches
from utils.coarse_motion import coarse_source
from utils.confirm import Fake
from utils.decision import load_coefficients
from utils.fake_motion import FakeMotion, FakeRoots, measure_fake, measure_window
from utils.files import GrowingArrays, map_arrays
from utils.kept_frames import KeptFrames
from utils.layout import VideoRecord, video_folders
from utils.scene_index import read_ranking
from utils.sections import in_sections
from utils.source_motion import MotionIndex
from utils.views import View, views_of

TURNS = ((0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))  # left-right,
# up-down, transposed: of a square, but for the two that a fake may show, as it is and mirrored
JOINED = "joined"


@dataclass
class Tally:
    """What the fakes had to say."""

    held: list[bool] = field(default_factory=list)  # a section holds the true place
    found: list[bool] = field(default_factory=list)  # true first and last frame within 1
    same: list[bool] = field(default_factory=list)  # as after the exhaustive search
    skipped: list[float] = field(default_factory=list)  # share of the frames
    seconds: list[float] = field(default_factory=list)
    seconds_exhaustive: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{name}: {np.mean(values):.4f} of {len(values)}" for name, values in
                 (("true place proposed", self.held), ("true frames found", self.found),
                  ("same answer as exhaustive", self.same),
                  ("frames skipped", self.skipped)) if values]
        return "\n".join(lines + [
            f"CPU seconds per fake, median: {np.median(values):.2f} ({name})" for name, values in
            (("sections", self.seconds), ("exhaustive", self.seconds_exhaustive)) if values])


def turned(flow: np.ndarray, weight: np.ndarray,
           turn: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Motion [n, G, G, 2] and weights [n, G, G] of a picture that was turned (TURNS)."""
    across, down, transposed = turn
    if across:
        flow, weight = flow[:, :, ::-1] * np.float16([-1, 1]), weight[:, :, ::-1]
    if down:
        flow, weight = flow[:, ::-1] * np.float16([1, -1]), weight[:, ::-1]
    if transposed:
        flow, weight = flow.transpose(0, 2, 1, 3)[..., ::-1], weight.transpose(0, 2, 1)
    return flow, weight


def join(motion_root: Path, frames: int, index: MotionIndex) -> dict[str, int]:
    """Write the joined source; returns where in it each of the sources begins."""
    paths = sorted(Path(motion_root).rglob("*.npz"))
    starts, count = {}, 0
    with GrowingArrays(index.root) as arrays:
        for copy in range(-1, 10**6):
            for path in paths:
                settings, parts = map_arrays(path)
                if count >= frames or not len(parts["flow"]):
                    continue
                if copy < 0:
                    starts[settings["source"]["file"]] = count
                flow, weight = np.array(parts["flow"]), np.array(parts["weight"])
                if copy >= 0:
                    flow, weight = turned(flow, weight, TURNS[copy % len(TURNS)])
                arrays.append(flow=np.concatenate([flow, np.zeros_like(flow[:1])]),
                              weight=np.concatenate([weight, np.zeros_like(weight[:1])]),
                              pose=parts["pose"])
                count += len(parts["pose"])
            if count >= frames:
                break
        arrays.append(pose=np.array(parts["pose"][:1]), times_s=np.arange(count + 1) / 30,
                      square=np.zeros(3))
        arrays.write(index.path(JOINED), {"source": asdict(VideoRecord(
            f"{JOINED}.mp4", 1, "0" * 64, 30.0, count + 1, 640, 360, [0], {}))})
    return starts


@dataclass(frozen=True)
class Query:
    """One fake and its true place in the joined source."""

    record: VideoRecord
    motion: FakeMotion
    views: list[View]
    first: int
    last: int


def queries(set_root: Path, work: Path, index: MotionIndex, starts: dict[str, int],
            every: int) -> Iterator[Query]:
    """Every `every`-th fake that has its source among the joined ones and in step 4's ranking."""
    roots = FakeRoots(*(work / f"step3_fake_{kind}" for kind in ("frames", "masks", "rect")))
    records = video_folders(roots.frames, "step 3")
    with open(set_root / "truth.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in starts]
    joined, flow = index.read(JOINED), make_flow("dis", None, "cpu")
    segmenter = make_segmenter("selfie", None, "cpu")
    own = MotionIndex(work / "step5_flow_trace/motion", work, work, None, None)
    for row in rows[::every]:
        fake_id = row["fake"].rsplit(".", 1)[0]
        ranked = read_ranking(work / "step4_scene_trace", fake_id)["candidates"]
        candidate = next((c for c in ranked if c["source"] == row["source"]), None)
        fake = measure_fake(roots, fake_id, records[fake_id], flow) if candidate else None
        if fake is None:
            continue
        source = own.read(candidate["source_id"])
        look = partial(measure_window, roots, fake_id, records[fake_id], flow=flow,
                       segmenter=segmenter)
        views = views_of(fake, records[fake_id],
                         candidate | {"source": f"{JOINED}.mp4", "source_id": JOINED},
                         replace(joined, square=source.square,
                                 record=replace(joined.record, fps=source.fps)), look)
        first, last = sorted((int(row["start_frame"]), int(row["end_frame"])))
        start = starts[row["source"]]
        yield Query(records[fake_id], fake, views, start + first, start + last)


def trace(query: Query, views: list[View], index: MotionIndex) -> list[tuple]:
    """What step 5 says: verdict, frames, rate and mirror of every stretch."""
    made_with = {"candidates": [query.views[0].candidate], "unreadable": []}
    tools = Tools(None, None, None, index, load_coefficients(), 1, False, False,
                  pictures=KeptFrames(index.decode))
    fake = Fake(query.record, query.record.frames, query.motion,
                float(np.abs(query.motion.grid.flow).mean()), None, None)
    answers = trace_stretches(views, fake, made_with, index.read, tools)
    rows = [answer["trace"] for answer in answers]
    return [(row.verdict, row.start_frame, row.end_frame, row.rate and round(row.rate, 3), row.flip)
            for row in rows]


def run(query: Query, vectors: np.ndarray, index: MotionIndex, tally: Tally,
        exhaustive: bool) -> None:
    """Trace one fake and count what came of it."""
    begun = time.process_time()
    views = in_sections(query.views, lambda: vectors)
    answer = trace(query, views, index)
    tally.seconds.append(time.process_time() - begun)
    spans = {(v.source.first, v.source.first + len(v.source) - 1) for v in views}
    tally.held.append(any(a <= query.first and query.last <= b for a, b in spans))
    tally.skipped.append(1 - sum(b - a + 1 for a, b in spans) / len(query.views[0].source))
    tally.found.append(any(None not in row[1:3] and abs(min(row[1:3]) - query.first) <= 1
                           and abs(max(row[1:3]) - query.last) <= 1 for row in answer))
    if exhaustive:
        begun = time.process_time()
        other = trace(query, in_sections(query.views, lambda: vectors, True), index)
        tally.seconds_exhaustive.append(time.process_time() - begun)
        tally.same.append(answer == other)
    if not tally.held[-1] or exhaustive and not tally.same[-1]:
        print(query.record.file, "sections:", answer, "exhaustive:", exhaustive and other,
              "true:", (query.first, query.last), flush=True)


def main(set_root: Path, work: Path, frames: int = 36000, every: int = 1,
         exhaustive_every: int = 4) -> Tally:
    """Trace the fakes of a set in one long source made of all its sources."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="fpvt-long-") as folder:
        index = MotionIndex(Path(folder) / "motion", Path(folder), Path(folder), None, None)
        starts = join(Path(work) / "step5_flow_trace/motion", frames, index)
        _, arrays = map_arrays(index.path(JOINED))
        begun = time.process_time()
        vectors = coarse_source(MotionGrid(arrays["flow"], arrays["weight"]))
        print(f"{len(arrays['pose'])} frames; coarse motion made in "
              f"{time.process_time() - begun:.1f} CPU seconds")
        for number, query in enumerate(queries(Path(set_root), Path(work), index, starts, every)):
            run(query, vectors, index, tally,
                bool(exhaustive_every) and number % exhaustive_every == 0)
    print(tally)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MiB, mapped files included")
    return tally


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trace fakes in one long source.")
    parser.add_argument("--set", dest="set_root", type=Path, required=True,
                        help="folder with truth.csv")
    parser.add_argument("--work", type=Path, required=True,
                        help="folder with what steps 3 to 5 made of it, under the default names")
    parser.add_argument("--frames", type=int, default=36000,
                        help="frames of the joined source, at least (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1,
                        help="take every n-th fake (default: %(default)s)")
    parser.add_argument("--exhaustive-every", type=int, default=4,
                        help="search all of the source, too, for every n-th fake that is taken; "
                             "0: never (default: %(default)s)")
    main(**vars(parser.parse_args()))
