"""Step 1: take some evenly spaced frames out of every source video.

    python step1_source_video2some_frames.py --video-root ./source_data/ \\
        --frame-root ./step1_source_frames/ --extract-num 10

Each video, in subfolders too, gets a folder `<frame-root>/<video id>/` with
`frame_000123.png` files (the number is the frame's 0-based index in the video) and a
`video.json`. A video whose folder is complete is skipped, so a database grows by adding files.
"""

if __name__ == "__main__":  # before the imports that take time
    from utils.interrupt import stop_quietly
    stop_quietly()

import argparse
from functools import partial
from pathlib import Path

from models.fetch import sha256_of
from utils.batch import (Summary, add_common_options, keep_failures, log, run_batch,
                         run_step)
from utils.files import InputError, write_image
from utils.gone import handle_gone
from utils.layout import (VideoFile, VideoRecord, check_name, evenly_spaced, find_videos,
                          frame_name, fresh_folder, is_complete, largest_first, unchanged)
from utils.locks import remove_leftovers
from utils.sparse_reader import Outline, SparseReader, outline_of
from utils.video import READING, VideoError, VideoInfo, flaws


def main(video_root: Path = Path("./source_data/"), frame_root: Path = Path("./step1_source_frames/"),
         extract_num: int = 10, prune: bool = False, workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Sample `extract_num` frames of every video under video_root into frame_root.

    prune: remove the frames of videos that are gone from video_root. Raises InputError when there
    is no video or an option is out of range.
    """
    if extract_num < 1:
        raise InputError("--extract-num must be 1 or more")
    work = partial(extract, frame_root=Path(frame_root), overwrite=overwrite,
                   settings={"extract_num": extract_num, "reading": READING})
    videos = find_videos(video_root)
    remove_leftovers(frame_root)
    handle_gone(videos, video_root, [Path(frame_root)], prune)
    summary = run_batch(largest_first(videos), work, name=lambda video: video.name,
                        root=Path(frame_root), label="step 1, source frames", workers=workers)
    keep_failures(frame_root, summary, partly=Path(video_root).is_file())
    return summary


def extract(video: VideoFile, frame_root: Path, settings: dict, overwrite: bool) -> bool:
    """Write the sampled frames of one video; False when its folder was complete already."""
    check_name(video)
    folder = frame_root / video.id
    if not overwrite and is_complete(folder, video, settings):
        return False
    with fresh_folder(folder) as temporary, unchanged(video.path):
        info, frame_count, frames = write_samples(video, settings["extract_num"], temporary)
        VideoRecord(file=video.name, size=video.path.stat().st_size, sha256=sha256_of(video.path),
                    fps=info.fps, frame_count=frame_count, width=info.width, height=info.height,
                    frames=frames, settings=settings).write(temporary)
    if warning := flaws(info, frame_count):
        log.warning("%s: %s", video.path, warning)
    return True


def write_samples(video: VideoFile, number: int, folder: Path) -> tuple[VideoInfo, int, list[int]]:
    """Write the samples; returns what the video is, its frame count and the indices written.

    A container can promise more or fewer frames than the decoder gives. The spacing is then
    worked out again from the true count. Raises VideoError when that differs every time.
    """
    outline = outline_of(video.path)
    frame_count = outline.count
    for _ in range(3):
        wanted = evenly_spaced(frame_count, number)
        reader = SparseReader(video.path, set(wanted), outline)
        for frame in reader:
            write_image(folder / frame_name(frame.index), frame.image)
        if reader.decoded == frame_count:
            return reader.info, frame_count, wanted
        for index in wanted:
            (folder / frame_name(index)).unlink(missing_ok=True)
        frame_count, outline = reader.decoded, Outline(reader.decoded)
    raise VideoError(f"{video.path}: gives another number of frames each time; is it still being "
                     "written?")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 1: take some evenly spaced frames out of "
                                                 "every source video.")
    parser.add_argument("--video-root", type=Path, default=Path("./source_data/"),
                        help="folder with the source videos, subfolders included, or one video "
                             "(default: %(default)s)")
    parser.add_argument("--frame-root", type=Path, default=Path("./step1_source_frames/"),
                        help="where the frames go (default: %(default)s)")
    parser.add_argument("--extract-num", type=int, default=10,
                        help="frames per video (default: %(default)s)")
    parser.add_argument("--prune", action="store_true",
                        help="remove the frames of videos that are no longer in the video root")
    add_common_options(parser)
    run_step(main, parser)
