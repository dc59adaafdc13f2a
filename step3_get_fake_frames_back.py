"""Step 3: fake videos into frames, person masks, rectangles, backgrounds and foregrounds.

    python step3_get_fake_frames_back.py --video-path ./fake_data/source_01_fake_00.mp4 \\
        --frame-root ./step3_fake_frames/ --rect-root ./step3_fake_rect/ \\
        --mask-root ./step3_fake_masks/ --back-root ./step3_fake_backs/ \\
        --fore-root ./step3_fake_fores/

`--video-path` names one video or a folder of them. Every frame is kept (or those from
`--begin-frame` to `--end-frame`). Masks are 255 on the person; backgrounds and foregrounds have
an alpha channel; `rectangles.json` gives, per frame number, `[x, y, w, h]` of the largest person
region in pixels, or null. A video whose colours are inverted gets them back first.
"""

if __name__ == "__main__":  # before the imports that take time
    from utils.interrupt import stop_quietly
    stop_quietly()

import argparse
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from models.face_detector import FaceDetector
from models.fetch import FACE_DETECTION, fetch, sha256_of
from models.segmenter import Segmenter, make_segmenter, person_mask
from utils.batch import (Summary, add_common_options, add_segmenter_options, keep_failures, log,
                         per_thread, pick_device, run_batch, run_step)
from utils.files import InputError, write_image, write_json
from utils.geometry import Rectangle, background_region, cut_out, largest_rectangle
from utils.gone import handle_gone
from utils.layout import (RECTANGLES_NAME, VideoFile, VideoRecord, check_name, find_videos,
                          frame_name, fresh_folder, is_complete, largest_first, unchanged)
from utils.locks import remove_leftovers
from utils.negative import LEAST_SCORE, is_negative
from utils.timed_path import kept_times
from utils.video import READING, Frame, VideoReader, flaws

WRITERS = 2  # threads that encode pictures, per video
FOUND_OUT = ("negative", "flaws", "times_s")  # what a record tells of a fake beside the settings
MAX_WAITING = 8  # pictures kept in memory until a writer is free


def main(video_path: Path = Path("./fake_data/"), frame_root: Path = Path("./step3_fake_frames/"),
         rect_root: Path = Path("./step3_fake_rect/"), mask_root: Path = Path("./step3_fake_masks/"),
         back_root: Path = Path("./step3_fake_backs/"), fore_root: Path = Path("./step3_fake_fores/"),
         begin_frame: int = 0, end_frame: int | None = None, segmenter: str = "selfie",
         segmenter_model: Path | None = None, device: str = "auto", prune: bool = False,
         workers: int = 0, overwrite: bool = False) -> Summary:
    """Split every fake video at video_path into the five folders.

    begin_frame, end_frame: the part to keep, inclusive; end_frame None for the last frame.
    prune: remove what there is of fakes that are gone from the folder video_path.
    Raises InputError when there is no video or the frame range is empty, ModelFileError when a
    model cannot be had.
    """
    if begin_frame < 0 or (end_frame is not None and end_frame < begin_frame):
        raise InputError("--begin-frame must be 0 or more and --end-frame not before it")
    device = pick_device(device, needed=segmenter != "selfie")
    segmenters = per_thread(partial(make_segmenter, segmenter, segmenter_model, device))
    fetch(FACE_DETECTION)  # that it cannot be had is told once
    faces = per_thread(partial(FaceDetector, min_score=LEAST_SCORE))
    settings = {"begin_frame": begin_frame, "end_frame": end_frame,
                "segmenter": segmenters().identity, "reading": READING}
    roots = {"frames": Path(frame_root), "rect": Path(rect_root), "masks": Path(mask_root),
             "backs": Path(back_root), "fores": Path(fore_root)}
    work = partial(split, roots=roots, settings=settings, segmenters=segmenters, faces=faces,
                   overwrite=overwrite)
    videos = find_videos(video_path)
    for root in roots.values():
        remove_leftovers(root)
    handle_gone(videos, video_path, list(roots.values()), prune)
    summary = run_batch(largest_first(videos), work, name=lambda video: video.name,
                        root=roots["frames"], label="step 3, fake frames", workers=workers)
    keep_failures(frame_root, summary, partly=Path(video_path).is_file())
    return summary


def split(video: VideoFile, roots: dict[str, Path], settings: dict,
          segmenters: Callable[[], Segmenter], faces: Callable[[], FaceDetector],
          overwrite: bool) -> bool:
    """Write the five folders of one fake; False when they were complete already."""
    check_name(video)
    if not overwrite and all(is_complete(root / video.id, video, settings, FOUND_OUT)
                             for root in roots.values()):
        return False
    with ExitStack() as stack:
        folders = {name: stack.enter_context(fresh_folder(root / video.id))
                   for name, root in roots.items()}
        stack.enter_context(unchanged(video.path))
        negative = is_negative(video.path, faces())
        rectangles, times_s, reader = write_frames(video, folders, settings, negative, segmenters())
        frame_count, info = reader.decoded, reader.info
        warning = flaws(info, frame_count)
        write_json(folders["rect"] / RECTANGLES_NAME, rectangles)
        record = VideoRecord(file=video.name, size=video.path.stat().st_size,
                             sha256=sha256_of(video.path), fps=info.fps, frame_count=frame_count,
                             width=info.width, height=info.height,
                             frames=[int(index) for index in rectangles],
                             settings={**settings, "negative": negative, "flaws": warning,
                                       "times_s": kept_times(times_s)})
        for folder in folders.values():
            record.write(folder)
    if warning:
        log.warning("%s: %s", video.path, warning)
    if negative:
        log.info("%s: its colours are inverted; they were turned back", video.path)
    if not any(rectangles.values()):
        log.warning("%s: no person found in it; only a source of the same scene can be traced",
                    video.path)
    return True


def write_frames(video: VideoFile, folders: dict[str, Path], settings: dict, negative: bool,
                 segmenter: Segmenter
                 ) -> tuple[dict[str, Rectangle | None], list[float], VideoReader]:
    """Write the pictures of one fake, of a negative with their colours turned back; returns its
    rectangles by frame number, their times in seconds, and what read it."""
    begin, end = settings["begin_frame"], settings["end_frame"]
    rectangles: dict[str, Rectangle | None] = {}
    times_s = []
    reader = VideoReader(video.path, wanted=range(begin, (end if end is not None else 2**62) + 1),
                         threads=1)
    with ThreadPoolExecutor(WRITERS) as writers:
        waiting: deque = deque()
        for frame in reader:
            if negative:
                frame = replace(frame, image=cv2.bitwise_not(frame.image))
            mask = person_mask(segmenter.probability(frame.image))
            rectangles[str(frame.index)] = largest_rectangle(mask)
            times_s.append(frame.time_s)
            waiting.append(writers.submit(write_pictures, frame, mask, folders))
            while len(waiting) > MAX_WAITING:
                waiting.popleft().result()
        for written in waiting:
            written.result()
    if not rectangles:
        _ = reader.info  # where nothing can be decoded, that is said
        raise InputError(f"{video.path}: it has {reader.decoded} frames, none from frame {begin} "
                         "on; choose an earlier --begin-frame")
    return rectangles, times_s, reader


def write_pictures(frame: Frame, mask: np.ndarray, folders: dict[str, Path]) -> None:
    """Write frame, mask, background and foreground of one frame."""
    name = frame_name(frame.index)
    write_image(folders["frames"] / name, frame.image)
    write_image(folders["masks"] / name, mask)
    write_image(folders["backs"] / name, cut_out(frame.image, background_region(mask)))
    write_image(folders["fores"] / name, cut_out(frame.image, mask > 0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 3: fake videos into frames, person masks, "
                                                 "rectangles, backgrounds and foregrounds.")
    parser.add_argument("--video-path", type=Path, default=Path("./fake_data/"),
                        help="one fake video, or a folder of them (default: %(default)s)")
    for kind, text in (("frame", "frames"), ("rect", "rectangles of the person"),
                       ("mask", "person masks"), ("back", "backgrounds"), ("fore", "foregrounds")):
        plural = {"rect": "rect"}.get(kind, kind + "s")
        parser.add_argument(f"--{kind}-root", type=Path, default=Path(f"./step3_fake_{plural}/"),
                            help=f"where the {text} go (default: %(default)s)")
    parser.add_argument("--begin-frame", type=int, default=0,
                        help="first frame to use, 0-based (default: %(default)s)")
    parser.add_argument("--end-frame", type=int, default=None,
                        help="last frame to use, inclusive (default: the last one)")
    parser.add_argument("--prune", action="store_true",
                        help="remove what there is of fakes that are no longer in the folder")
    add_segmenter_options(parser)
    add_common_options(parser, device=True)
    run_step(main, parser)
