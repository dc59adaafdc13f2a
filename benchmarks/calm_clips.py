"""Cut the calmest stretch out of every clip of a folder.

    python -m benchmarks.calm_clips CLIPS CALM_CLIPS
    python -m benchmarks.make_fakes CALM_CLIPS my_set

makes a set of fakes of heads that hardly move: the hardest ones for motion, and one kind of those
on which the decision is fitted.
"""

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.forge import write_video
from utils.batch import Summary, add_common_options, run_batch, run_step
from utils.files import InputError
from utils.layout import VideoFile, find_videos
from utils.video import VideoError, VideoReader, probe

FRAMES = 100
SIDE = 96  # pixels, at which frames are compared
CUT = 3.0  # a jump counts no more than that many times what 95 % of the frame pairs change
CRF = 14  # hardly a loss


def main(video_root: Path, out_root: Path, frames: int = FRAMES, workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Write every clip's calmest `frames` frames under out_root, by the same name, as MP4.

    A clip that has no more frames than that is a failure of its own. Raises InputError when
    there is no video.
    """
    if frames < 2:
        raise InputError("--frames must be 2 or more")
    videos = find_videos(Path(video_root))
    cut = partial(cut_calmest, out_root=Path(out_root), frames=frames, overwrite=overwrite)
    return run_batch(videos, cut, name=lambda video: video.name, label="calm clips",
                     workers=workers)


def cut_calmest(video: VideoFile, out_root: Path, frames: int, overwrite: bool) -> bool:
    """Cut one clip; False when that was done. Raises VideoError when it is too short."""
    target = (out_root / video.name).with_suffix(".mp4")
    if target.is_file() and not overwrite:
        return False
    small = [cv2.resize(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), (SIDE, SIDE),
                        interpolation=cv2.INTER_AREA)
             for frame in VideoReader(video.path, threads=1)]
    if len(small) <= frames:
        raise VideoError(f"{video.path}: only {len(small)} frames; ask for fewer with --frames")
    start = calmest(np.stack(small), frames)
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = VideoReader(video.path, range(start, start + frames), threads=1)
    write_video(target, (frame.image for frame in kept), probe(video.path).fps, CRF)
    return True


def calmest(pictures: np.ndarray, frames: int) -> int:
    """Start of the `frames` successive pictures, of [T, H, W] uint8, that change least."""
    changes = np.array([cv2.absdiff(*pair).mean() for pair in zip(pictures, pictures[1:])])
    changes = np.minimum(changes, CUT * np.percentile(changes, 95))
    sums = np.convolve(changes, np.ones(frames - 1), "valid")
    return int(sums.argmin())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video_root", type=Path, help="folder of portrait clips")
    parser.add_argument("out_root", type=Path, help="where the cut clips go")
    parser.add_argument("--frames", type=int, default=FRAMES,
                        help="frames to keep of a clip (default: %(default)s)")
    add_common_options(parser)
    run_step(main, parser)
