"""The motion index: what step 5 keeps of every source, one .npz file each.

`<trace root>/motion/<video id>.npz`. A source is read once, in chunks, and shared by all fakes.

Memory does not grow with the length of a source. While one thread decodes, others make masks of
some of its frames and measure motion, CHUNK frames at a time; a source waits with CORES + 2 such
pieces at most, and what is finished goes to the disk. Later the arrays stay in the file, mapped
into memory, 1.7 KB a frame that the system may drop at any time; what is compared is prepared in
float32, 5 KB a frame, of sections of bounded length (utils/sections.py), and kept up to
PREPARED_BYTES.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from models.fetch import sha256_of
from models.flow import FlowEstimator
from models.motion import (COARSE, CUT, MotionGrid, Square, cut_mask, cut_square, motion_grid,
                           steady_square)
from models.pose import CELLS, small_grey
from models.segmenter import Segmenter, person_mask
from utils.byte_cache import ByteCache
from utils.files import GrowingArrays, InputError, map_arrays, read_settings
from utils.gone import drop_file
from utils.layout import VideoRecord, result_path
from utils.matching import SourceMotion, prepare
from utils.scene_index import SceneEntry, has_arrays
from utils.seek import Decoded, decode_to
from utils.threads import helpers
from utils.video import VideoError, VideoReader

MASK_EVERY = 5  # source frames between two person masks
MASKS_AHEAD = 4  # pictures of a source that wait for theirs
CHUNK = 64  # source frames measured at a time
PREPARED_BYTES = 256 << 20  # of prepared motion that is kept, some 50,000 frames
CORES = os.cpu_count() or 1  # threads that make masks, and as many that measure motion
PIECE = 4096  # frames of stored arrays looked at at a time


@dataclass(frozen=True)
class IndexedSource:
    """A source, or a section of one, ready for comparison."""

    record: VideoRecord  # of the video, as step 1 saw it
    prepared: Callable[[int, int], SourceMotion]  # motion between two frames of the whole source
    pose: np.ndarray  # [T, CELLS, CELLS] uint8, the person square in grey
    square: Square
    all_times_s: np.ndarray  # of the whole source, seconds from its first frame
    first: int = 0  # frame of the whole source that is frame 0 here

    def __len__(self) -> int:
        return len(self.pose)

    @property
    def file(self) -> str:
        """Name under the video root."""
        return self.record.file

    @property
    def fps(self) -> float:
        return self.record.fps

    @property
    def times_s(self) -> np.ndarray:
        """When its frames are shown, [T] seconds from the whole source's first one."""
        return self.all_times_s[self.first:self.first + len(self)]

    @property
    def motion(self) -> SourceMotion:
        return self.prepared(self.first, self.first + len(self) - 1)

    def section(self, first: int, last: int) -> "IndexedSource":
        """The frames first to last, inclusive, of a whole source."""
        return replace(self, pose=self.pose[first:last + 1], first=first)


@dataclass(frozen=True)
class MotionIndex:
    """The stored motion of a database; the getters give each thread its own instance."""

    root: Path
    video_root: Path
    scene_root: Path  # what step 4 knows of the sources
    flow: Callable[[], FlowEstimator]
    segmenter: Callable[[], Segmenter]
    overwrite: bool = False
    prepared: ByteCache[SourceMotion] = field(default_factory=lambda: ByteCache(PREPARED_BYTES))
    masking: ThreadPoolExecutor = field(default_factory=lambda: helpers(CORES))
    measuring: ThreadPoolExecutor = field(default_factory=lambda: helpers(CORES))

    @property
    def settings(self) -> dict:
        """What decides the features, besides the video."""
        return {"flow": self.flow().identity, "segmenter": self.segmenter().identity,
                "mask_every": MASK_EVERY, "pose": CELLS, "cut": CUT}

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

    def record(self, source_id: str) -> VideoRecord | None:
        """The video that a source's motion was made from; None when unknown."""
        return VideoRecord.checked((read_settings(self.path(source_id)) or {}).get("source"))

    def sha256(self, source_id: str) -> str:
        """Checksum of the video that a source's motion was made from; empty when unknown."""
        record = self.record(source_id)
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
        found = None if self.overwrite else self.stored(source_id)
        if found is not None and found[0] == settings:
            return False
        square = steady_square(entry.rectangles)
        path = Path(self.video_root) / entry.record.file
        if path.is_file() and sha256_of(path) != entry.record.sha256:
            raise InputError(f"{path}: not the file that step 1 saw; run steps 1, 2 and 4 again")
        with GrowingArrays(self.path(source_id).parent) as arrays:
            arrays.append(square=np.array(square or (0, 0, 0), np.float64))
            for times, grid, grey in self._measure(path, square):
                arrays.append(times_s=times, flow=grid.flow.astype(np.float16),
                              weight=np.round(grid.weight * 255).astype(np.uint8), pose=grey)
            arrays.write(self.path(source_id), settings)
        return True

    def stored(self, source_id: str) -> tuple[dict, dict[str, np.ndarray]] | None:
        """Settings and arrays of a source, mapped into memory; None when they are missing or
        damaged."""
        found = map_arrays(self.path(source_id))
        return found if found is not None and _is_sound(found[1]) else None

    def read(self, source_id: str) -> IndexedSource | None:
        """The stored motion of a source; None when it could not be made or nobody is in it."""
        found = self.stored(source_id)
        if found is None or not len(found[1]["flow"]):
            return None
        settings, arrays = found
        record = VideoRecord.checked(settings.get("source"))
        if record is None:
            return None

        def prepared(first: int, last: int) -> SourceMotion:
            return self.prepared.get((source_id, first, last),
                                     lambda: prepare(stored_grid(arrays, first, last)))

        return IndexedSource(record, prepared, arrays["pose"], tuple(arrays["square"]),
                             arrays["times_s"])

    def decode(self, source: IndexedSource, wanted: Collection[int]) -> Iterator[Decoded]:
        """Frames of a whole source by their numbers, and those on the way to them, in order; those
        that cannot be decoded are left out. Raises VideoError when the file cannot be read or is
        another one."""
        if not self.has_video(source.record):
            raise VideoError(f"{self.video_root}/{source.file}: not the file that step 1 saw")
        return decode_to(Path(self.video_root) / source.file, wanted, source.all_times_s)

    def has_video(self, record: VideoRecord) -> bool:
        """Whether a source's video itself is still there, by its size."""
        try:
            return (Path(self.video_root) / record.file).stat().st_size == record.size
        except OSError:
            return False

    def without_video(self, source_ids: Iterable[str]) -> frozenset[str]:
        """Sources whose motion is known, but whose video is not there to be looked at."""
        records = {source_id: self.record(source_id) for source_id in source_ids}
        return frozenset(source_id for source_id, record in records.items()
                         if record is not None and not self.has_video(record))

    def _measure(self, path: Path, square: Square | None
                 ) -> Iterator[tuple[np.ndarray, MotionGrid, np.ndarray]]:
        """Frame times [n] in seconds, motion between the frames, also from the last one of the
        piece before, and poses [n, CELLS, CELLS] of a source, piece by piece, read once."""
        times: list[float] = []
        crops: list[np.ndarray] = []
        masks: list[Future[np.ndarray]] = []
        asked: deque[Future[np.ndarray]] = deque(maxlen=MASKS_AHEAD)

        def mask(image: np.ndarray) -> np.ndarray:
            return cut_mask(person_mask(self.segmenter().probability(image)), square)

        def piece(times: list, crops: list, masks: list
                  ) -> tuple[np.ndarray, MotionGrid, np.ndarray]:
            grids, new = [], crops[len(crops) - len(times):]
            if len(crops) > 1:
                grids.append(motion_grid(np.stack(crops), np.stack([m.result() for m in masks]),
                                         self.flow(), COARSE))
            greys = [small_grey([crop], CELLS) for crop in new]
            return (np.array(times), MotionGrid.joined(grids, COARSE),
                    np.concatenate([np.empty((0, CELLS, CELLS), np.uint8), *greys]))

        pieces: deque[Future] = deque()
        for frame in VideoReader(path, threads=1):
            times.append(frame.time_s)
            if square is not None:
                if frame.index % MASK_EVERY == 0:
                    if len(asked) == MASKS_AHEAD:  # pictures would pile up
                        wait([asked[0]])
                    asked.append(self.masking.submit(mask, frame.image))
                crops.append(cut_square(frame.image, square))
                masks.append(asked[-1])
            if max(len(times), len(crops)) == CHUNK:
                pieces.append(self.measuring.submit(piece, times, crops, masks))
                times, crops, masks = [], crops[-1:], masks[-1:]
                if len(pieces) > CORES:
                    yield pieces.popleft().result()
        pieces.append(self.measuring.submit(piece, times, crops, masks))
        while pieces:
            yield pieces.popleft().result()


def stored_grid(arrays: dict[str, np.ndarray], first: int, last: int) -> MotionGrid:
    """Stored motion between two frames, as it was measured but for rounding."""
    return MotionGrid(arrays["flow"][first:last].astype(np.float32),
                      arrays["weight"][first:last].astype(np.float32) / 255)


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
            and all(_is_finite(arrays[name]) for name in ("square", "times_s", "flow")))


def _is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite; looked at in pieces, for the array may be long."""
    return all(np.isfinite(array[start:start + PIECE]).all()
               for start in range(0, len(array), PIECE))
