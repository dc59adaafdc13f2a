"""The motion index: what step 5 keeps of every source, one .npz file each.

`<trace root>/motion/<video id>.npz`. A source is read once, in chunks, and shared by all fakes.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.fetch import sha256_of
from models.flow import FlowEstimator
from models.motion import (COARSE, MotionGrid, Square, cut_mask, cut_square, motion_grid,
                           steady_square)
from models.pose import CELLS, small_grey
from models.segmenter import Segmenter, person_mask
from utils.files import InputError, read_arrays, read_settings, write_arrays
from utils.gone import drop_file
from utils.layout import VideoRecord, result_path
from utils.matching import SourceMotion, prepare
from utils.scene_index import SceneEntry, has_arrays
from utils.video import VideoReader

MASK_EVERY = 5  # source frames between two person masks
CHUNK = 64  # source frames in memory at a time


@dataclass(frozen=True)
class IndexedSource:
    """A source ready for comparison."""

    file: str  # name under the video root
    motion: SourceMotion
    pose: np.ndarray  # [T, CELLS, CELLS] uint8, the person square in grey
    square: Square
    times_s: np.ndarray  # [T] seconds from the first frame
    fps: float


@dataclass(frozen=True)
class MotionIndex:
    """The stored motion of a database; the getters give each thread its own instance."""

    root: Path
    video_root: Path
    scene_root: Path  # what step 4 knows of the sources
    flow: Callable[[], FlowEstimator]
    segmenter: Callable[[], Segmenter]
    overwrite: bool = False

    @property
    def settings(self) -> dict:
        """What decides the features, besides the video."""
        return {"flow": self.flow().identity, "segmenter": self.segmenter().identity,
                "mask_every": MASK_EVERY, "pose": CELLS}

    def path(self, source_id: str) -> Path:
        """File with the motion features of a source."""
        return result_path(Path(self.root), source_id, ".npz")

    def drop_all_but(self, kept: Iterable[str]) -> None:
        """Remove the motion of sources whose id is not in `kept`."""
        keep = {self.path(source_id) for source_id in kept}
        for path in sorted(set(Path(self.root).rglob("*.npz")) - keep):
            drop_file(path, Path(self.root))

    def ids(self) -> list[str]:
        """Ids of all sources with stored motion, sorted."""
        return sorted(path.relative_to(self.root).with_suffix("").as_posix()
                      for path in Path(self.root).rglob("*.npz"))

    def sha256(self, source_id: str) -> str:
        """Checksum of the video that a source's motion was made from; empty when unknown."""
        settings = read_settings(self.path(source_id)) or {}
        record = VideoRecord.checked(settings.get("source"))
        return record.sha256 if record else ""

    def add(self, source_id: str) -> bool:
        """Store the motion features of one source; False when they are there already.

        Raises InputError when step 4 does not know it or knew another file of its name, VideoError
        when it cannot be read.
        """
        entry = SceneEntry.read(self.scene_root, source_id)
        if entry is None:
            raise InputError(f"{source_id}: not in the scene index; run step 4 again")
        settings = {**self.settings, "source": asdict(entry.record)}
        found = None if self.overwrite else read_arrays(self.path(source_id))
        if found is not None and found[0] == settings and _is_sound(found[1]):
            return False
        square = steady_square(entry.rectangles)
        path = Path(self.video_root) / entry.record.file
        if path.is_file() and sha256_of(path) != entry.record.sha256:
            raise InputError(f"{path}: not the file that step 1 saw; run steps 1, 2 and 4 again")
        times, grid, grey = self._measure(path, square)
        write_arrays(self.path(source_id), settings, {
            "square": np.array(square or (0, 0, 0), np.float64), "times_s": times,
            "flow": grid.flow.astype(np.float16),
            "weight": np.round(grid.weight * 255).astype(np.uint8), "pose": grey})
        return True

    def read(self, source_id: str) -> IndexedSource | None:
        """The stored motion of a source; None when it could not be made or nobody is in it."""
        found = read_arrays(self.path(source_id))
        if found is None or not _is_sound(found[1]) or not len(found[1]["flow"]):
            return None
        settings, arrays = found
        record = VideoRecord.checked(settings.get("source"))
        if record is None:
            return None
        grid = MotionGrid(arrays["flow"].astype(np.float32),
                          arrays["weight"].astype(np.float32) / 255)
        return IndexedSource(record.file, prepare(grid), arrays["pose"], tuple(arrays["square"]),
                             arrays["times_s"], record.fps)

    def _measure(self, path: Path,
                 square: Square | None) -> tuple[np.ndarray, MotionGrid, np.ndarray]:
        """Frame times [T] in seconds, motion and poses of a whole source, read once, in chunks."""
        times: list[float] = []
        grids: list[MotionGrid] = []
        greys: list[np.ndarray] = []
        crops: list[np.ndarray] = []
        masks: list[np.ndarray] = []
        for frame in VideoReader(path, threads=1):
            times.append(frame.time_s)
            if square is None:
                continue
            if frame.index % MASK_EVERY == 0:
                mask = cut_mask(person_mask(self.segmenter().probability(frame.image)), square)
            crops.append(cut_square(frame.image, square))
            masks.append(mask)
            greys.append(small_grey(crops[-1:], CELLS))
            if len(crops) == CHUNK:
                grids.append(motion_grid(np.stack(crops), np.stack(masks), self.flow(), COARSE))
                crops, masks = crops[-1:], masks[-1:]
        if len(crops) > 1:
            grids.append(motion_grid(np.stack(crops), np.stack(masks), self.flow(), COARSE))
        grey = np.concatenate([np.empty((0, CELLS, CELLS), np.uint8), *greys])
        return np.array(times), MotionGrid.joined(grids, COARSE), grey


_ARRAYS = {"square": (np.float64, (3,)), "times_s": (np.float64, (-1,)),
           "flow": (np.float16, (-1, COARSE, COARSE, 2)),
           "weight": (np.uint8, (-1, COARSE, COARSE)), "pose": (np.uint8, (-1, CELLS, CELLS))}


def _is_sound(arrays: dict[str, np.ndarray]) -> bool:
    """Whether stored arrays are what add() writes: all there, of fitting lengths, and finite."""
    if not has_arrays(arrays, _ARRAYS):
        return False
    pairs, times = len(arrays["flow"]), arrays["times_s"]
    return (pairs == len(arrays["weight"])
            and (not pairs or pairs + 1 == len(times) == len(arrays["pose"]))
            and all(np.isfinite(arrays[name]).all() for name in ("square", "times_s", "flow")))
