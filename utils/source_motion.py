"""The motion index: what step 5 keeps of every source, one .npz file each.

`<trace root>/motion/<video id>.npz`. A source is read once, in chunks, and shared by all fakes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.flow import FlowEstimator
from models.motion import (COARSE, MotionGrid, Square, cut_mask, cut_square, motion_grid,
                           steady_square)
from models.segmenter import Segmenter, person_mask
from utils.layout import InputError, read_arrays, write_arrays
from utils.matching import SourceMotion, prepare
from utils.scene_index import SceneEntry
from utils.video import VideoReader

MASK_EVERY = 5  # source frames between two person masks
CHUNK = 64  # source frames in memory at a time


@dataclass(frozen=True)
class IndexedSource:
    """A source ready for comparison."""

    motion: SourceMotion
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
                "mask_every": MASK_EVERY}

    def path(self, source_id: str) -> Path:
        """File with the motion features of a source."""
        return Path(self.root) / f"{source_id}.npz"

    def add(self, source_id: str) -> bool:
        """Store the motion features of one source; False when they are there already.

        Raises InputError when step 4 does not know it, VideoError when it cannot be read.
        """
        entry = SceneEntry.read(self.scene_root, source_id)
        if entry is None:
            raise InputError(f"{source_id}: not in the scene index; run step 4 again")
        settings = {**self.settings, "source": asdict(entry.record)}
        found = None if self.overwrite else read_arrays(self.path(source_id))
        if found is not None and found[0] == settings:
            return False
        square = steady_square(entry.rectangles)
        times, grid = self._measure(Path(self.video_root) / entry.record.file, square)
        write_arrays(self.path(source_id), settings, {
            "square": np.array(square or (0, 0, 0), np.float64), "times_s": times,
            "flow": grid.flow.astype(np.float16),
            "weight": np.round(grid.weight * 255).astype(np.uint8)})
        return True

    def read(self, source_id: str) -> IndexedSource | None:
        """The stored motion of a source; None when it could not be made or nobody is in it."""
        found = read_arrays(self.path(source_id))
        if found is None or not len(found[1]["flow"]):
            return None
        arrays = found[1]
        grid = MotionGrid(arrays["flow"].astype(np.float32),
                          arrays["weight"].astype(np.float32) / 255)
        return IndexedSource(prepare(grid), tuple(arrays["square"]), arrays["times_s"],
                             found[0]["source"]["fps"])

    def _measure(self, path: Path, square: Square | None) -> tuple[np.ndarray, MotionGrid]:
        """Frame times [T] in seconds and motion of a whole source, read once, chunk by chunk."""
        times: list[float] = []
        grids: list[MotionGrid] = []
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
            if len(crops) == CHUNK:
                grids.append(motion_grid(np.stack(crops), np.stack(masks), self.flow(), COARSE))
                crops, masks = crops[-1:], masks[-1:]
        if len(crops) > 1:
            grids.append(motion_grid(np.stack(crops), np.stack(masks), self.flow(), COARSE))
        return np.array(times), MotionGrid.joined(grids, COARSE)
