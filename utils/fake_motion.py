"""What step 5 compares of a fake: motion and poses of its person, from what step 3 wrote."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import pose
from models.flow import FlowEstimator
from models.motion import MotionGrid, Square, cut_mask, cut_square, motion_grid, steady_square
from models.pose import PoseClip, small_grey, small_weight
from utils.files import read_image
from utils.layout import VideoRecord, frame_name, read_rectangles

CHUNK = 64  # frames in memory at a time


@dataclass(frozen=True)
class FakeRoots:
    """Folders of step 3."""

    frames: Path
    masks: Path
    rectangles: Path


@dataclass(frozen=True)
class FakeMotion:
    """The person of a fake."""

    square: Square
    grid: MotionGrid
    poses: PoseClip


def measure_fake(roots: FakeRoots, fake_id: str, record: VideoRecord,
                 flow: FlowEstimator) -> FakeMotion | None:
    """Motion and poses of a fake; None when nobody is in it, or one frame only.

    Raises InputError when a picture of step 3 is missing or damaged.
    """
    rectangles = read_rectangles(roots.rectangles / fake_id)
    square = steady_square([rectangles.get(str(index)) for index in record.frames])
    if square is None or len(record.frames) < 2:
        return None
    grids, greys, weights = [], [], []
    for start in range(0, len(record.frames) - 1, CHUNK):
        names = [frame_name(index) for index in record.frames[start:start + CHUNK + 1]]
        crops, masks = (np.stack([cut(read_image(root / fake_id / name), square)
                                  for name in names])
                        for cut, root in ((cut_square, roots.frames), (cut_mask, roots.masks)))
        grids.append(motion_grid(crops, masks, flow))
        new = slice(1 if start else 0, None)  # chunks share a frame
        greys.append(small_grey(crops[new], pose.SIDE))
        weights.append(small_weight(masks[new], pose.SIDE))
    return FakeMotion(square, MotionGrid.joined(grids),
                      PoseClip(np.concatenate(greys), np.concatenate(weights)))
