"""What stays of videos that are gone, and how it leaves the later steps.

Only what a step wrote is removed: frames, rectangles and the record out of folders that have a
sound record, and result files of the known forms. Anything else in these folders stays.
"""

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from utils.files import InputError, read_json
from utils.layout import RECORD_NAME, VideoFile, VideoRecord, clear_folder, fake_result_path
from utils.locks import InUse, in_hand, is_temporary

log = logging.getLogger("fpvt")


def handle_gone(videos: list[VideoFile], video_root: Path, roots: list[Path], prune: bool) -> None:
    """Name the folders of steps 1 or 3 whose video is gone, or with `prune` remove them.

    One file as video_root says nothing about the others. A root that lies inside another one's
    tree is not looked through: each of `roots` holds one folder per video.
    """
    if not Path(video_root).is_dir():
        return
    kept = {video.id for video in videos}
    if prune:
        for root in roots:
            drop_folders(root, kept)
        return
    gone = sorted(set(_made(roots[0])) - kept)
    if gone:
        log.info("%s: folders without a video in %s still take part, %d; --prune removes them: %s",
                 roots[0], video_root, len(gone),
                 ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else ""))


def drop_folders(root: Path, kept: Iterable[str]) -> None:
    """Remove the content of complete folders under a root whose video id is not in `kept`."""
    gone = sorted(set(_made(root)) - set(kept))
    for video_id in gone:
        folder = Path(root) / video_id
        record = VideoRecord.read(folder)
        if record is None:
            continue
        with contextlib.suppress(InUse), in_hand(root, record.file, wait=False):
            clear_folder(folder)
            remove_empty(folder, root)
    if gone:
        log.info("%s: folders whose video is gone were removed, %d", root, len(gone))


def drop_fakes(root: Path, kept: Iterable[str]) -> None:
    """Remove the JSON files of steps 4 or 5 about fakes whose id is not in `kept`."""
    keep = {fake_result_path(root, video_id) for video_id in kept}
    for path in sorted(set((Path(root) / "fakes").rglob("*.json")) - keep):
        with contextlib.suppress(InputError):
            if "made_with" in read_json(path):
                drop_file(path, Path(root) / "fakes")


def drop_file(path: Path, root: Path) -> None:
    """Remove a file, which another process may have removed, and folders that this empties."""
    path.unlink(missing_ok=True)
    remove_empty(path.parent, root)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it, up to the root, as far as they are empty."""
    while folder != Path(root):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _made(root: Path) -> Iterable[str]:
    """Ids of the folders under a root that have a record."""
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_temporary(name)]
        if RECORD_NAME in files and Path(parent) != Path(root):
            yield Path(parent).relative_to(root).as_posix()
