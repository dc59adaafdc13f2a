"""A video per traced fake: the fake, its source as the fake shows it, and the heatmap.

`<trace root>/videos/<video id>.mp4`, H.264 that browsers play; the JSON beside it, written last,
says what it was made from. Frame numbers are burnt in.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from utils import heatmap
from utils.evidence_pictures import heat_picture
from utils.files import InputError, read_json, write_json
from utils.gone import drop_file
from utils.layout import result_path
from utils.page_frames import Loaded, fake_scale, load
from utils.side_by_side import (Roots, Stretch, fake_id, read_fake, read_source,
                                stretches_of)
from utils.video import VideoError, VideoWriter

VIDEO_VERSION = 3
PANEL_SIDE = 400  # pixels of the longer side of each of the three pictures
CHUNK = 200  # frames of a fake in memory at a time
FIT_MOMENTS = 8  # from which the pictures are laid on each other
BAR = 26  # pixels of the line with the frame numbers
CRF = 23


def video_path(roots: Roots, video_id: str) -> Path:
    """The video of a fake; its record has the same name with .json."""
    return result_path(roots.traces / "videos", video_id, ".json").with_suffix(".mp4")


def write_video(result: dict, roots: Roots, overwrite: bool = False) -> bool:
    """Write the video of one fake; False when it is there already or no source frames were found.

    Raises InputError when the fake's frames are missing, VideoError when a source's are.
    """
    stretches = [s for s in stretches_of(result) if s.source_frames]
    path = video_path(roots, fake_id(result))
    made_with = {"digest": digest(result)}
    if not stretches or not overwrite and is_made(path, made_with):
        return False
    record = path.with_suffix(".json")
    record.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with VideoWriter(temporary, result["made_with"]["record"]["fps"], crf=CRF) as writer:
            for stretch in stretches:
                for frame in frames_of(stretch, result, roots):
                    writer.write(frame)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    write_json(record, made_with)
    return True


def digest(result: dict) -> str:
    """What a video depends on, as one checksum."""
    text = json.dumps([VIDEO_VERSION, result], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def current_video(result: dict, roots: Roots) -> Path | None:
    """The video of a fake, if there is one that shows this very result."""
    path = video_path(roots, fake_id(result))
    there = path.is_file() and is_made(path, {"digest": digest(result)})
    return path if there else None


def drop_videos(results: list[dict], roots: Roots) -> None:
    """Remove the videos that show what is no longer the result, or fakes that are gone."""
    kept = {current_video(result, roots) for result in results}
    folder = roots.traces / "videos"
    for record in sorted(folder.rglob("*.json")):
        video = record.with_suffix(".mp4")
        if video not in kept and _is_ours(record):
            drop_file(video, folder)
            drop_file(record, folder)


def _is_ours(record: Path) -> bool:
    """Whether a file is what write_video() says of a video."""
    try:
        return set(read_json(record)) == {"digest"}
    except InputError:
        return False


def is_made(path: Path, made_with: dict) -> bool:
    """Whether the video is there, made from the same."""
    try:
        return path.is_file() and read_json(path.with_suffix(".json")) == made_with
    except InputError:
        return False


def frames_of(stretch: Stretch, result: dict, roots: Roots) -> Iterator[np.ndarray]:
    """The frames of the video [H, W, 3] uint8 BGR for one stretch.

    Raises VideoError when the source cannot be read.
    """
    loaded = load(stretch, result, roots, FIT_MOMENTS)
    if loaded.fit is None:
        raise VideoError(f"{roots.videos / stretch.row['source']}: no video of "
                         f"{result['fake']}: {loaded.note}")
    panel = panel_size(result["made_with"]["record"])
    for start in range(0, len(stretch.fake_frames), CHUNK):
        fake_frames = stretch.fake_frames[start:start + CHUNK]
        source_frames = stretch.source_frames[start:start + CHUNK]
        found, _ = read_source(roots, stretch.row["source"], set(source_frames))
        pairs = [(f, s) for f, s in zip(fake_frames, source_frames) if s in found]
        if not pairs:
            continue
        fakes = [read_fake(roots, fake_id(result), fake_frame, stretch.path)
                 for fake_frame, _ in pairs]
        sources = [found[source_frame] for _, source_frame in pairs]
        scale = fake_scale(fakes[0], result["made_with"]["record"])
        chunk = replace(loaded, fakes=dict(enumerate(fakes)), sources=dict(enumerate(sources)),
                        path=stretch.path_of([fake_frame for fake_frame, _ in pairs], scale))
        heats = heats_of(chunk)
        for number, (fake_frame, source_frame) in enumerate(pairs):
            yield composed(chunk, number, heats, panel, (fake_frame, source_frame))


def panel_size(record: dict) -> tuple[int, int]:
    """Width and height of one picture, even."""
    scale = PANEL_SIDE / max(record["width"], record["height"])
    return tuple(max(2, round(record[side] * scale / 2) * 2) for side in ("width", "height"))


def heats_of(chunk: Loaded) -> tuple[np.ndarray, np.ndarray] | None:
    """Heat and cover [T, h, w] of successive frames; None where pictures cannot be compared."""
    if not chunk.compares:
        return None
    ratios, covered = chunk.difference()
    return heatmap.heat(heatmap.over_time(ratios, covered), chunk.fit.look), covered


def composed(chunk: Loaded, number: int, heats: tuple[np.ndarray, np.ndarray] | None,
             panel: tuple[int, int], frames: tuple[int, int]) -> np.ndarray:
    """One frame of the video: three pictures, and a line with the frame numbers."""
    fake = cv2.resize(chunk.fakes[number], panel, interpolation=cv2.INTER_AREA)
    pictures = [fake, chunk.seen(number, panel)]
    titles = [f"fake {frames[0]}", f"source {frames[1]}"]
    if heats is not None:
        pictures.append(heat_picture(fake, heats[0][number], heats[1][number]))
        titles.append("difference")
    bar = np.full((BAR, panel[0] * len(pictures), 3), 30, np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(bar, title, (column * panel[0] + 6, BAR - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5,
                    (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([np.hstack(pictures), bar])
