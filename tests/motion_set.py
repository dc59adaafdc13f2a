"""Made-up motion for the tests of the motion embedders, and a fake that moves."""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from clips import write_clip
from models.flow import DisFlow
from models.motion import COARSE, MotionGrid, cut_mask, cut_square, motion_grid, steady_square
from models.pose import CELLS, small_grey
from models.training.motion_windows import FakeSet
from utils.files import write_arrays, write_image, write_json
from utils.layout import RECTANGLES_NAME, VideoRecord, fake_result_path, frame_name

FRAMES = 90


def movement(seed: int, frames: int = FRAMES) -> MotionGrid:
    """A head that shifts, turns and nods smoothly, inside a disc."""
    rng = np.random.default_rng(seed)
    strength = cv2.GaussianBlur(rng.normal(0, 1, (frames - 1, 4)), (0, 0), sigmaX=0.1, sigmaY=2.0)
    y, x = np.mgrid[:COARSE, :COARSE] / (COARSE - 1) * 2 - 1
    zero, one = np.zeros_like(x), np.ones_like(x)
    modes = np.stack([np.stack(m, -1) for m in
                      ((one, zero), (zero, one), (-y, x), (zero, y**2))])
    weight = np.broadcast_to((x**2 + y**2 < 0.9).astype(np.float32), (frames - 1, COARSE, COARSE))
    flow = np.einsum("tk,kyxc->tyxc", 6 * strength, modes) * weight[..., None]
    return MotionGrid(flow.astype(np.float32), weight.copy())


def stack(grid: MotionGrid) -> np.ndarray:
    """[n, G, G, 3]: dx, dy, weight."""
    return np.concatenate([grid.flow, grid.weight[..., None]], -1)


def record(file: str, frames: int, side: int = 96) -> VideoRecord:
    return VideoRecord(file, 1, "0", 25.0, frames, side, side, list(range(frames)), {})


def make_fake_set(root: Path) -> FakeSet:
    """What steps 3 to 5 leave, in small: a textured disc that moves as movement() says.

    Frames 9 to 28 of clip_0.mp4 are the fake; clip_1.mp4 is another source. Videos are there, too.
    """
    work, side = root / "work", 96
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (side, side, 3)), (0, 0), 2)
    shifts = 8 * cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (40, 2)), (0, 0),
                                  sigmaX=0.1, sigmaY=2.0).cumsum(0) / 4
    frames = [cv2.warpAffine(texture, np.float64([[1, 0, x], [0, 1, y]]), (side, side),
                             borderMode=cv2.BORDER_REFLECT).astype(np.uint8) for x, y in shifts]
    for name, shown in (("clip_0", frames), ("clip_1", frames[::-1])):
        write_clip(root / "videos" / f"{name}.mp4", shown, crf="0", pix_fmt="yuv444p")
    mask = cv2.circle(np.zeros((side, side), np.uint8), (48, 48), 40, 255, -1)
    square = steady_square([[8, 8, 80, 80]])
    crops, masks = (np.stack([cut(image, square) for image in images])
                    for cut, images in ((cut_square, frames), (cut_mask, [mask] * 40)))
    grid = motion_grid(crops, masks, DisFlow(), COARSE)
    for name, moved in (("clip_0", grid), ("clip_1", movement(3, 40))):
        write_arrays(work / "step5_flow_trace" / "motion" / f"{name}.npz",
                     {"source": asdict(record(f"{name}.mp4", 40))},
                     {"square": np.array(square), "times_s": np.arange(40) / 25,
                      "flow": moved.flow.astype(np.float16),
                      "weight": np.round(moved.weight * 255).astype(np.uint8),
                      "pose": small_grey(crops, CELLS)})
    fake = "clip_0_fake_00"
    for folder, images in (("frames", frames[9:29]), ("masks", [mask] * 20)):
        (work / f"step3_fake_{folder}" / fake).mkdir(parents=True)
        for number, image in enumerate(images):
            write_image(work / f"step3_fake_{folder}" / fake / frame_name(number), image)
    write_json(work / "step3_fake_rect" / fake / RECTANGLES_NAME,
               {str(number): [8, 8, 80, 80] for number in range(20)})
    record(f"{fake}.mp4", 20).write(work / "step3_fake_frames" / fake)
    write_json(fake_result_path(work / "step4_scene_trace", fake), {"candidates": [
        {"source": f"{name}.mp4", "source_id": name, "verified": False, "scene_score": 0.5,
         "flip": 0, "inliers": 0, "background_inliers": 0, "mapping": None}
        for name in ("clip_0", "clip_1")]})
    table = root / "truth.csv"
    table.write_text("fake,source,start_frame,end_frame,tier,speed,flip\n"
                     f"{fake}.mp4,clip_0.mp4,9,28,clean,1.0,0\n")
    return FakeSet(work, table, root / "videos")
