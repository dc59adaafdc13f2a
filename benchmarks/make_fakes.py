"""Build a test set in the manner of FakeTD from any folder of portrait clips.

Every fake is a stretch of a clip with another person's face (or, tier "lipsync", a re-animated
mouth), then one tier of edits. Written are `source_data/` (the database), `fake_data/` and
`truth.csv`. A share of the clips is left out of the database: their fakes have no source in it.
"""

import argparse
import csv
import json
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from benchmarks import edits, face_swap
from models.face_detector import FaceDetector
from models.segmenter import SelfieSegmenter
from utils.batch import run_batch
from utils.layout import InputError, find_videos, write_bytes, write_json
from utils.video import VideoError, VideoReader, VideoWriter, probe

log = logging.getLogger("fpvt")
MAX_SIDE = 640  # pixels; larger clips are scaled down
LENGTHS = (25, 40, 60, 90)
DONOR_FRAMES = 8  # frames of a clip among which the most frontal face is taken
BACKDROP_FRAMES = 60
_local = threading.local()


@dataclass(frozen=True)
class Truth:
    """One row of truth.csv: where a stretch of a fake came from. Frames are 0-based, inclusive.

    start_frame and end_frame are the source frames of the stretch's first and last frame (of a
    reversed fake the start is the larger); fake_start_frame and fake_end_frame are the fake's.
    """

    fake: str  # file name
    source: str  # file name, empty when it is not in the database
    start_frame: int
    end_frame: int
    tier: str  # "-absent" is added where the source is not in the database
    speed: float  # source frames per fake frame, negative when reversed
    flip: int  # 1: mirrored
    crop: float  # share of the area cut away
    crf: int
    frames: int  # of the whole fake
    faces: int  # frames of the stretch in which a face was detected
    fake_start_frame: int
    fake_end_frame: int


@dataclass(frozen=True)
class Clip:
    """A portrait clip of the root folder."""

    name: str  # path under the root
    path: Path
    frames: int
    fps: float
    donor: face_swap.Donor | None
    absent: bool = False


@dataclass(frozen=True)
class Job:
    """One fake to make."""

    name: str  # file name of the fake
    clip: Clip
    tier: str
    length: int
    seed: tuple[int, ...]


def read_clip(name: str, path: Path, absent: bool = False) -> Clip:
    """Count a clip's frames and take its most frontal face."""
    expected = max(1, probe(path).frames_expected)
    reader = VideoReader(path, set(range(0, expected, -(-expected // DONOR_FRAMES))), MAX_SIDE, 1)
    best, best_score = None, 0.0
    for frame in reader:
        face = face_swap.find_face(_detector(), frame.image, None)
        if face is not None and face_swap.frontality(face) > best_score:
            best, best_score = (frame.image, face), face_swap.frontality(face)
    donor = face_swap.make_donor(*best) if best else None
    return Clip(name, path, reader.decoded, probe(path).fps, donor, absent)


def _detector() -> FaceDetector:
    if not hasattr(_local, "detector"):
        _local.detector = FaceDetector()
    return _local.detector


def _segmenter() -> SelfieSegmenter:
    if not hasattr(_local, "segmenter"):
        _local.segmenter = SelfieSegmenter()
    return _local.segmenter


def read_stretch(clip: Clip, indices: np.ndarray) -> edits.Frames:
    """The frames of a clip with these indices, in their order."""
    wanted, found = set(indices.tolist()), {}
    for frame in VideoReader(clip.path, wanted, MAX_SIDE, 1):
        found[frame.index] = frame.image
        if len(found) == len(wanted):
            break
    return [found[index] for index in indices.tolist()]


def forge(frames: edits.Frames, tier: str, donor: face_swap.Donor | None,
          rng: np.random.Generator) -> tuple[edits.Frames, np.ndarray | None, int]:
    """Swap the face (or move the mouth): frames, keypoints [N, 6, 2] or None, faces detected."""
    keypoints, faces = face_swap.track_face(frames, _detector())
    if keypoints is None:
        return frames, None, 0
    if tier == "lipsync":
        return face_swap.reanimate_mouth(frames, keypoints, rng), keypoints, faces
    if donor is not None:
        frames = [face_swap.swap_face(*pair, donor) for pair in zip(frames, keypoints)]
    return frames, keypoints, faces


def make_fake(job: Job, donor: face_swap.Donor | None, second: Clip | None,
              backdrop: edits.Frames, out_file: Path) -> list[Truth]:
    """Write one fake; its rows of truth.

    second: another clip for a fake stitched from two sources, or None. backdrop: what replaces
    the background, or lies around a picture in picture.
    """
    rng = np.random.default_rng(job.seed)
    stretches, rate = edits.choose_frames(job.tier, job.clip.frames, job.length, rng)
    clips = [job.clip] * len(stretches)
    if second is not None and len(stretches) == 2:
        clips[1] = second
        start = int(rng.integers(0, max(1, second.frames - len(stretches[1]) + 1)))
        stretches[1] = np.arange(start, min(second.frames, start + len(stretches[1])))
    frames, keypoints, faces = [], None, []
    for clip, indices in zip(clips, stretches):
        part, keypoints, count = forge(read_stretch(clip, indices), job.tier, donor, rng)
        frames += edits.cover(part, *frames[0].shape[1::-1]) if frames else part
        faces.append(count)
    material = edits.Material(keypoints, backdrop, _segmenter())
    edited = edits.edit_pictures(job.tier, frames, material, rng)
    write_video(out_file, edited.frames, job.clip.fps, edits.TIERS[job.tier])
    return _truth_rows(job, clips, stretches, faces, rate, edited)


def _truth_rows(job: Job, clips: list[Clip], stretches: list[np.ndarray], faces: list[int],
                rate: float, edited: edits.Edited) -> list[Truth]:
    rows, first = [], 0
    for clip, indices, count in zip(clips, stretches, faces):
        rows.append(Truth(
            job.name, "" if clip.absent else clip.name, int(indices[0]), int(indices[-1]),
            job.tier + "-absent" * clip.absent, rate, int(edited.flip), edited.crop,
            edits.TIERS[job.tier], len(edited.frames), count, first, first + len(indices) - 1))
        first += len(indices)
    return rows


def write_video(path: Path, frames: edits.Frames, fps: float, crf: float) -> None:
    """Encode frames; the file appears under its name when it is complete."""
    temporary = path.with_name(f".{path.name}.tmp")
    with VideoWriter(temporary, fps, crf=crf) as writer:
        for frame in frames:
            writer.write(frame)
    os.replace(temporary, path)


def write_truth(path: Path, rows: list[Truth]) -> None:
    """Write truth.csv, atomically."""
    names = [field.name for field in fields(Truth)]
    lines = [names] + [[str(getattr(row, name)) for name in names] for row in rows]
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    os.replace(temporary, path)


def photographs() -> edits.Frames:
    """Places for replaced backgrounds: photographs that scikit-image brings along."""
    from skimage import data
    pictures = (data.coffee(), data.rocket(), data.brick(), data.grass(), data.gravel())
    return [cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2
            else picture[..., ::-1].copy() for picture in pictures]


def _choose_material(job: Job, clips: Sequence[Clip], rng: np.random.Generator
                     ) -> tuple[face_swap.Donor | None, Clip | None, edits.Frames]:
    """Donor, second source and backdrop of a fake."""
    others = [clip for clip in clips if clip is not job.clip]
    donors = [clip.donor for clip in others if clip.donor is not None]
    donor = donors[int(rng.integers(len(donors)))] if donors else None
    present = [clip for clip in others if not clip.absent and clip.frames > job.length]
    second = None
    if job.tier == "stitched" and present and not job.clip.absent and rng.random() < 0.5:
        second = present[int(rng.integers(len(present)))]
    pictures = photographs()
    backdrop = [pictures[int(rng.integers(len(pictures)))]]
    if job.tier in ("pip", "newback") and others and rng.random() < 0.6:
        place = others[int(rng.integers(len(others)))]
        frames = read_stretch(place, np.arange(min(place.frames, BACKDROP_FRAMES)))
        backdrop = frames if job.tier == "pip" else [without_person(frames[0])]
    return donor, second, backdrop


def without_person(image: np.ndarray) -> np.ndarray:
    """The picture [H, W, 3] with its person painted over by what is around."""
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask = (_segmenter().probability(small) > 0.2).astype(np.uint8)
    mask = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    filled = cv2.inpaint(small, mask, 3, cv2.INPAINT_TELEA)
    size = image.shape[1::-1]
    alpha = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), size), (0, 0), 3)[..., None]
    return (image + alpha * (cv2.resize(filled, size) - image.astype(np.float32))).astype(np.uint8)


def plan(clips: Sequence[Clip], fakes_per_source: int, seed: int, tiers: Sequence[str],
         lengths: Sequence[int]) -> list[Job]:
    """The fakes to make: tiers in shuffled rounds, so that all are equally frequent."""
    rng = np.random.default_rng([seed, 1])
    count = len(clips) * fakes_per_source
    order = [tier for _ in range(-(-count // len(tiers))) for tier in rng.permutation(tiers)]
    jobs = []
    for number, clip in enumerate(clips):
        stem = Path(clip.name).with_suffix("").as_posix().replace("/", "_")
        for take in range(fakes_per_source):
            jobs.append(Job(f"{stem}_fake_{take:02d}.mp4", clip, str(order.pop(0)),
                            int(rng.choice(lengths)), (seed, 2, number, take)))
    return jobs


def read_clips(video_root: Path, absent: float, seed: int) -> list[Clip]:
    """All usable clips of a folder; a share of them, chosen by the seed, marked absent."""
    videos = find_videos(video_root)
    order = np.random.default_rng([seed, 0]).permutation(len(videos))
    gone = set(order[:round(absent * len(videos))].tolist())
    clips = []
    for number, video in enumerate(videos):
        try:
            clips.append(read_clip(video.name, video.path, number in gone))
        except VideoError as error:
            log.warning("left out: %s", error)
    return clips


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where links cannot be made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def main(video_root: Path, out_root: Path, fakes_per_source: int = 4, seed: int = 0,
         tiers: Sequence[str] = tuple(edits.TIERS), lengths: Sequence[int] = LENGTHS,
         absent: float = 0.1, workers: int = 0, overwrite: bool = False) -> Path:
    """Make the set; the path of its truth.csv. Fakes that are there already are kept."""
    unknown = set(tiers) - set(edits.TIERS)
    if unknown or not 0 <= absent < 1:
        raise InputError(f"absent is {absent} (0 to 1), unknown tiers: {sorted(unknown)}; "
                         f"known are {', '.join(edits.TIERS)}")
    out_root = Path(out_root)
    clips = read_clips(Path(video_root), absent, seed)
    (out_root / "fake_data").mkdir(parents=True, exist_ok=True)
    for clip in clips:
        if not clip.absent:
            _link(clip.path, out_root / "source_data" / clip.name)

    def work(job: Job) -> bool:
        record = out_root / "records" / f"{Path(job.name).stem}.json"
        key = {"clip": job.clip.name, "frames": job.clip.frames, "absent": job.clip.absent,
               "tier": job.tier, "length": job.length, "seed": list(job.seed),
               "clips": len(clips)}
        if not overwrite and _is_made(record, key, out_root / "fake_data" / job.name):
            return False
        rng = np.random.default_rng([*job.seed, 1])
        rows = make_fake(job, *_choose_material(job, clips, rng),
                         out_root / "fake_data" / job.name)
        write_json(record, {"key": key, "rows": [asdict(row) for row in rows]})
        return True

    jobs = plan(clips, fakes_per_source, seed, tiers, lengths)
    summary = run_batch(jobs, work, name=lambda job: job.name, label="fakes", workers=workers)
    made = [job for job in jobs if job.name not in summary.failed]
    rows = [Truth(**row) for job in made for row in json.loads(
        (out_root / "records" / f"{Path(job.name).stem}.json").read_text("utf-8"))["rows"]]
    write_truth(out_root / "truth.csv", rows)
    return out_root / "truth.csv"


def _is_made(record: Path, key: dict, video: Path) -> bool:
    """Whether a fake is there, made with the same settings."""
    try:
        return json.loads(record.read_text("utf-8"))["key"] == key and video.is_file()
    except (OSError, ValueError, KeyError):
        return False
