"""Synthetic motion of long sources, and fakes cut out of them, for the tests."""

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from clips import blank_pixels
from models.motion import COARSE, FINE, MotionGrid
from models.pose import CELLS, SIDE, PoseClip
from utils.fake_motion import FakeMotion
from utils.files import GrowingArrays
from utils.layout import VideoRecord
from utils.source_motion import IndexedSource, MotionIndex, stored_grid

SQUARE, FPS = (40.0, 20.0, 100.0), 25.0


def stored_motion(seed: int, frames: int) -> dict[str, np.ndarray]:
    """Arrays of a source as the motion index keeps them: smooth random motion."""
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 1, (frames + 3, COARSE, COARSE, 2)).astype(np.float32)
    flow = (flow[:-4] + flow[1:-3] + flow[2:-2] + flow[3:-1]) / 2  # of one variance, not abrupt
    weight = np.full((frames - 1, COARSE, COARSE), 255, np.uint8)
    weight[:, :2] = 0
    return {"square": np.array(SQUARE), "times_s": np.arange(frames) / FPS,
            "flow": flow.astype(np.float16), "weight": weight,
            "pose": rng.integers(0, 255, (frames, CELLS, CELLS), np.uint8)}


def record_of(name: str, frames: int) -> VideoRecord:
    return VideoRecord(name, 1, "0" * 64, FPS, frames, 240, 160, list(range(frames)), {})


def index_of(root: Path, **sources: dict[str, np.ndarray]) -> MotionIndex:
    """A motion index with these sources."""
    index = MotionIndex(root / "motion", root, root, None, None)
    for name, arrays in sources.items():
        with GrowingArrays(index.root) as growing:
            growing.append(**arrays)
            growing.write(index.path(name), {"source": asdict(
                record_of(f"{name}.mp4", len(arrays["times_s"])))})
    return index


def source_of(root: Path, arrays: dict[str, np.ndarray]) -> IndexedSource:
    return index_of(root, long=arrays).read("long")


def candidate_of(name: str = "long") -> dict:
    return {"source": f"{name}.mp4", "source_id": name, "source_sha256": "0" * 64,
            "scene_score": 0.5, "inliers": 0, "background_inliers": 0, "verified": False, "flip": 0,
            "mapping": None}


def fake_of(arrays: dict[str, np.ndarray], at: np.ndarray, mirrored: bool = False,
            backwards: bool = False) -> FakeMotion:
    """A fake whose frames are those of a source at `at`, never falling; then turned."""
    grid, step = stored_grid(arrays, 0, len(arrays["flow"])), FINE // COARSE
    flow = np.stack([grid.flow[a:b].sum(0) for a, b in pairwise(at)])
    flow, weight = (part.repeat(step, 1).repeat(step, 2) for part in (flow, grid.weight[at[:-1]]))
    grey = arrays["pose"][at].repeat(SIDE // CELLS, 1).repeat(SIDE // CELLS, 2)
    fine, poses = MotionGrid(flow, weight), PoseClip(grey, np.ones(grey.shape, np.float32))
    fake = FakeMotion(SQUARE, fine, poses, blank_pixels(len(at)))
    fake = fake.mirrored() if mirrored else fake
    return fake.reversed() if backwards else fake
