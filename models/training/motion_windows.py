"""Examples for the motion embedder: fakes with a known truth beside the places found for them.

What steps 1 to 4 left of a set of fakes is searched as step 5 does it (utils/views.py). Kept of
each fake: its motion grids, one per way of comparing, and the hypotheses with the source frame of
each of its frames. The wrong ones are hard negatives: the places of other clips, or elsewhere in
the same clip, that the training-free signature likes best. One .npz per fake, made once.
"""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from models.flow import make_flow
from models.motion import MotionGrid
from models.segmenter import make_segmenter
from models.training.faketd_names import NAMES, named_truth
from models.training.fit_decision import is_elsewhere, is_right
from utils.batch import per_thread, run_batch
from utils.fake_motion import FakeRoots, measure_fake, measure_window
from utils.files import InputError, read_arrays, read_json, write_arrays
from utils.layout import VideoRecord, fake_result_path, video_folders
from utils.source_motion import IndexedSource, MotionIndex
from utils.tables import read_table
from utils.views import Found, find_places, look_closer, views_of

VERSION = 2  # to be raised when examples are made another way
TOP_K = 20  # candidates of step 4 that are searched
KEPT = 24  # hypotheses kept per fake, and all right ones


@dataclass(frozen=True)
class FakeSet:
    """Fakes with a known truth: the folder with the steps' folders, the table, the sources.

    truth: NAMES for what the file names tell (faketd_names.py), instead of a table.
    """

    work: Path
    truth: Path
    videos: Path

    @property
    def key(self) -> str:
        """A name that no other work folder has."""
        work = Path(self.work).resolve()
        return f"{work.name}_{zlib.crc32(str(work).encode('utf-8', 'surrogateescape')):08x}"

    @property
    def motion_root(self) -> Path:
        return Path(self.work) / "step5_flow_trace" / "motion"

    def records(self) -> dict[str, VideoRecord]:
        """Records of the fakes that step 3 has prepared, by id. Raises InputError for none."""
        return video_folders(Path(self.work) / "step3_fake_frames", "step 3")

    def index(self) -> MotionIndex:
        """The motion of the sources, by DIS flow as step 5 has it by default."""
        return MotionIndex(self.motion_root, self.videos, Path(self.work) / "step4_scene_trace",
                           per_thread(partial(make_flow, "dis", None, "cpu")),
                           per_thread(partial(make_segmenter, "selfie", None, "cpu")))


@dataclass(frozen=True)
class Example:
    """One fake. A stack [n, 12, 12, 3] holds dx, dy (pixels of the person crop) and weight of
    every pair of neighbouring frames."""

    group: str  # clip that the fake was made from, by its name: hold-out never splits it
    truth: dict[str, str]  # its row of the table
    plain: np.ndarray  # stack of the fake, its mirror undone, not mapped onto any source
    grids: np.ndarray  # [V, n, 12, 12, 3] one stack per way of comparing
    view: np.ndarray  # [H] which of them each hypothesis uses
    at: np.ndarray  # [H, n + 1] source frame of each frame of the fake
    right: np.ndarray  # [H] whether source and frames are true
    elsewhere: np.ndarray  # [H] whether no frame is true
    sources: list[str]  # [H] file names
    flip: np.ndarray  # [H] whether the fake is a mirror image of it
    backwards: np.ndarray  # [H] whether it runs backwards; `grids` and `at` then are turned around


@dataclass(frozen=True)
class SourceStacks:
    """A source's displacements and weights summed from its first frame on."""

    total: np.ndarray  # [T, 12, 12, 3] float32: dx, dy, weight

    def along(self, at: np.ndarray) -> np.ndarray:
        """Stack [n, 12, 12, 3] between the given frames [n + 1], which never fall."""
        stack = self.total[at[1:]] - self.total[at[:-1]]
        stack[..., 2] /= np.maximum(np.diff(at), 1)[:, None, None]
        return stack

    @cached_property
    def steps(self) -> np.ndarray:
        """Stack between all neighbouring frames, [T - 1, 12, 12, 3]."""
        return np.diff(self.total, axis=0)


@dataclass(frozen=True)
class MotionWindows:
    """Examples, and the motion of the sources that they speak of."""

    examples: list[Example]
    sources: dict[str, SourceStacks]  # by file name

    def without(self, held_out: Collection[str]) -> "MotionWindows":
        """What may be trained on: nothing of the held-out clips, as fake or as source."""
        return MotionWindows([e for e in self.examples if e.group not in held_out],
                             {name: source for name, source in self.sources.items()
                              if Path(name).stem not in held_out})

    def only(self, held_out: Collection[str]) -> "MotionWindows":
        """The held-out clips' fakes, among all sources."""
        return MotionWindows([e for e in self.examples if e.group in held_out], self.sources)


def load_windows(sets: Sequence[FakeSet], cache: Path, workers: int = 1) -> MotionWindows:
    """Examples of all sets, from the cache where they are in it.

    Raises InputError when a step has not run or nothing can be used.
    """
    examples, sources = [], {}
    for fakes in sets:
        examples += list(_collected(fakes, Path(cache) / fakes.key, workers))
        for path in sorted(fakes.motion_root.rglob("*.npz")):
            found = read_arrays(path)
            if found is not None and len(found[1]["flow"]):
                sources[found[0]["source"]["file"]] = source_stacks(found[1])
    if not examples:
        raise InputError("no fake of the given sets can be used; run steps 1 to 4 on them first")
    return MotionWindows(examples, sources)


def source_stacks(arrays: dict[str, np.ndarray]) -> SourceStacks:
    """What the motion index keeps of a source: flow [T - 1, 12, 12, 2], weight in 0 to 255."""
    weight = arrays["weight"].astype(np.float32)[..., None] / 255
    steps = np.concatenate([arrays["flow"].astype(np.float32), weight], -1)
    return SourceStacks(np.concatenate([np.zeros_like(steps[:1]), steps.cumsum(axis=0)]))


def stack_of(grid: MotionGrid) -> np.ndarray:
    """[n, G, G, 3] float32 of a motion grid."""
    return np.concatenate([grid.flow, grid.weight[..., None]], -1)


def _collected(fakes: FakeSet, folder: Path, workers: int) -> Iterator[Example]:
    """Examples of one set, made where the cache has none."""
    records = fakes.records()
    rows = truth_rows(fakes, records)
    records = {video_id: r for video_id, r in records.items() if r.file in rows}
    origins = {video_id: {"version": VERSION, "record": asdict(record),
                          "truth": rows[record.file], "candidates": _candidates(fakes, video_id)}
               for video_id, record in records.items()}
    stale = [video_id for video_id, origin in origins.items()
             if (read_arrays(folder / f"{video_id}.npz") or ({},))[0].get("made_with") != origin]
    if stale:
        _search({video_id: origins[video_id] for video_id in stale}, fakes, folder, workers)
    found = (read_example(folder / f"{video_id}.npz") for video_id in records)
    yield from (example for example in found if example is not None)


def truth_rows(fakes: FakeSet, records: dict[str, VideoRecord]) -> dict[str, dict[str, str]]:
    """Rows of the truth by fake: of the table, or made of the names."""
    if str(fakes.truth) == NAMES:
        sources = video_folders(Path(fakes.work) / "step1_source_frames", "step 1")
        return named_truth(records.values(), [record.file for record in sources.values()])
    return {row["fake"]: row for row in read_table(fakes.truth)
            if row["tier"].removesuffix("-absent") != "stitched"}  # has more than one place


def _candidates(fakes: FakeSet, fake_id: str) -> list[dict]:
    path = fake_result_path(Path(fakes.work) / "step4_scene_trace", fake_id)
    return read_json(path)["candidates"][:TOP_K] if path.is_file() else []


def _search(origins: dict[str, dict], fakes: FakeSet, folder: Path, workers: int) -> None:
    """Make the examples of some fakes."""
    index = fakes.index()
    needed = {c["source_id"] for origin in origins.values() for c in origin["candidates"]}
    run_batch(sorted(needed), index.add, name=str, label=f"{fakes.work}: source motion",
              workers=workers)
    load = lru_cache(256)(index.read)

    def make(item: tuple[str, dict]) -> bool:
        return _make_example(*item, work=Path(fakes.work), index=index, load=load,
                             path=folder / f"{item[0]}.npz")

    run_batch(origins.items(), make, name=lambda item: item[0], label=f"{fakes.work}: examples",
              workers=workers)


def _make_example(fake_id: str, origin: dict, work: Path, index: MotionIndex,
                  load: Callable[[str], IndexedSource | None], path: Path) -> bool:
    """Search one fake's places and write its example; False when there is nothing to compare."""
    record, row = VideoRecord(**origin["record"]), origin["truth"]
    roots = FakeRoots(work / "step3_fake_frames", work / "step3_fake_masks",
                      work / "step3_fake_rect")
    fake = measure_fake(roots, fake_id, record, index.flow())
    look = partial(measure_window, roots, fake_id, record, flow=index.flow(),
                   segmenter=index.segmenter())
    views = []
    for candidate in origin["candidates"] if fake is not None else []:
        source = load(candidate["source_id"])
        if source is not None:
            views += views_of(fake, record, candidate, source, look)
    found = look_closer(find_places(views))
    kept = [f for rank, f in enumerate(found) if rank < KEPT or is_right(f.hypothesis, row)]
    if kept:
        plain = (fake.grid.mirrored() if row["flip"] == "1" else fake.grid).pooled()
        write_example(path, origin, kept, plain)
    return bool(kept)


def write_example(path: Path, origin: dict, found: list[Found], plain: MotionGrid) -> None:
    """Store what was found of one fake; equal views once."""
    row = origin["truth"]
    views = list({id(f.view): f.view for f in found}.values())
    numbers = {id(view): number for number, view in enumerate(views)}
    grids = np.stack([stack_of(view.grid) for view in views])
    elsewhere = [f.hypothesis.source != row["source"] or is_elsewhere(f.hypothesis, row)
                 for f in found]
    write_arrays(path, {"made_with": origin, "sources": [f.hypothesis.source for f in found]}, {
        "plain": stack_of(plain).astype(np.float16), "grids": grids.astype(np.float16),
        "view": np.array([numbers[id(f.view)] for f in found], np.int32),
        "at": np.stack([f.alignment.at for f in found]).astype(np.int32),
        "right": np.array([is_right(f.hypothesis, row) for f in found]),
        "flip": np.array([bool(f.view.flip) for f in found]),
        "backwards": np.array([f.view.backwards for f in found]),
        "elsewhere": np.array(elsewhere)})


def read_example(path: Path) -> Example | None:
    """A stored example; None when there is none."""
    found = read_arrays(path)
    if found is None:
        return None
    settings, arrays = found
    row = settings["made_with"]["truth"]
    stacks = {name: arrays.pop(name).astype(np.float32) for name in ("plain", "grids")}
    return Example(row["fake"].rsplit("_fake_", 1)[0], row, **stacks, **arrays,
                   sources=settings["sources"])
