"""Step 2: take the people out of the sampled source frames; what is left are the backgrounds.

    python step2_get_source_frames_back.py --frame-root ./step1_source_frames/ \\
        --back-root ./step2_source_backs/

Reads what step 1 wrote. Each frame becomes a PNG with alpha of the same name under
`<back-root>/<video id>/`: alpha and colour are 0 where a person was.
"""

if __name__ == "__main__":  # before the imports that take time
    from utils.interrupt import stop_quietly
    stop_quietly()

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from models.segmenter import Segmenter, make_segmenter, person_mask
from utils.batch import (Summary, add_common_options, add_segmenter_options, keep_failures,
                         per_thread, pick_device, read_failures, run_batch, run_step)
from utils.files import read_image, write_image
from utils.geometry import background_region, cut_out
from utils.gone import drop_folders
from utils.layout import VideoRecord, frame_name, fresh_folder, holds_all, video_folders
from utils.locks import remove_leftovers


def main(frame_root: Path = Path("./step1_source_frames/"),
         back_root: Path = Path("./step2_source_backs/"), segmenter: str = "selfie",
         segmenter_model: Path | None = None, device: str = "auto", workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Write the background of every frame under frame_root into back_root.

    Backgrounds whose frames are gone are removed. Raises InputError when step 1 has not run,
    ModelFileError when there is no segmentation model.
    """
    folders = video_folders(frame_root, "step 1")
    device = pick_device(device, needed=segmenter != "selfie")
    segmenters = per_thread(partial(make_segmenter, segmenter, segmenter_model, device))
    settings = {"segmenter": segmenters().identity}
    work = partial(remove_people, frame_root=Path(frame_root), back_root=Path(back_root),
                   settings=settings, segmenters=segmenters, overwrite=overwrite)
    remove_leftovers(back_root)
    drop_folders(back_root, folders)
    summary = run_batch(folders.items(), work, name=lambda item: item[1].file, root=Path(back_root),
                        label="step 2, source backgrounds", workers=workers)
    keep_failures(back_root, summary, before=read_failures(frame_root))
    return summary


def remove_people(item: tuple[str, VideoRecord], frame_root: Path, back_root: Path, settings: dict,
                  segmenters: Callable[[], Segmenter], overwrite: bool) -> bool:
    """Write the backgrounds of one video; False when its folder was complete already."""
    video_id, frames = item
    record = replace(frames, settings={**frames.settings, **settings})
    folder = back_root / video_id
    if not overwrite and VideoRecord.read(folder) == record and holds_all(folder, record):
        return False
    with fresh_folder(folder) as temporary:
        for index in frames.frames:
            image = read_image(frame_root / video_id / frame_name(index))
            mask = person_mask(segmenters().probability(image))
            write_image(temporary / frame_name(index), cut_out(image, background_region(mask)))
        record.write(temporary)
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Step 2: take the people out of the sampled source "
                                                 "frames; what is left are the backgrounds.")
    parser.add_argument("--frame-root", type=Path, default=Path("./step1_source_frames/"),
                        help="frames from step 1 (default: %(default)s)")
    parser.add_argument("--back-root", type=Path, default=Path("./step2_source_backs/"),
                        help="where the backgrounds go (default: %(default)s)")
    add_segmenter_options(parser)
    add_common_options(parser, device=True)
    run_step(main, parser)
