"""Make one fake from one clip: read a stretch, swap the face, edit, encode, and tell the truth."""

import csv
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks import edit_times, edits, face_swap
from benchmarks.expression import swap_faces
from models.face_detector import FaceDetector
from models.segmenter import SelfieSegmenter
from utils.video import VideoReader, VideoWriter, probe

# x264 without its macroblock tree: that one's AVX-512 code gives other bits from run to run
PRESET = "superfast"
MAX_SIDE = 640  # pixels; larger clips are scaled down
DONOR_FRAMES = 8  # frames of a clip among which the most frontal face is taken
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
    still_donor: bool = False  # the donor's face keeps its expression


def read_clip(name: str, path: Path, absent: bool = False) -> Clip:
    """Count a clip's frames and take its most frontal face."""
    expected = max(1, probe(path).frames_expected)
    reader = VideoReader(path, set(range(0, expected, -(-expected // DONOR_FRAMES))), MAX_SIDE, 1)
    best, best_score = None, 0.0
    for frame in reader:
        face = face_swap.find_face(detector(), frame.image, None)
        if face is not None and face_swap.frontality(face) > best_score:
            best, best_score = (frame.image, face), face_swap.frontality(face)
    donor = face_swap.make_donor(*best) if best else None
    return Clip(name, path, reader.decoded, probe(path).fps, donor, absent)


def detector() -> FaceDetector:
    """This thread's own face detector."""
    if not hasattr(_local, "detector"):
        _local.detector = FaceDetector()
    return _local.detector


def segmenter() -> SelfieSegmenter:
    """This thread's own segmenter."""
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


def forge_face(frames: edits.Frames, job: Job, donor: face_swap.Donor | None,
               rng: np.random.Generator) -> tuple[edits.Frames, np.ndarray | None, int]:
    """Swap the face (or move the mouth): frames, keypoints [N, 6, 2] or None, faces detected."""
    keypoints, faces = face_swap.track_face(frames, detector())
    if keypoints is None:
        return frames, None, 0
    if job.tier == "lipsync":
        return face_swap.reanimate_mouth(frames, keypoints, rng), keypoints, faces
    if donor is not None:
        frames = swap_faces(frames, keypoints, donor, job.still_donor)
    return frames, keypoints, faces


def make_fake(job: Job, donor: face_swap.Donor | None, second: Clip | None,
              backdrop: edits.Frames, out_file: Path) -> list[Truth]:
    """Write one fake; its rows of truth.

    second: another clip for a fake stitched from two sources, or with one in each half, or None.
    backdrop: what replaces the background, or lies around a picture in picture.
    """
    rng = np.random.default_rng(job.seed)
    stretches, rate = edit_times.choose_frames(job.tier, job.clip.frames, job.length, rng)
    split = second is not None and job.tier == edits.TWO_PERSONS
    transition = edits.choose_transition(job.tier, rng)
    if split:
        stretches = stretches * 2
    clips = [job.clip] * len(stretches)
    if second is not None and len(stretches) == 2:
        clips[1] = second
        shown = stretches[1] - stretches[1][0]
        shown = shown[shown < second.frames]
        stretches[1] = shown + int(rng.integers(0, second.frames - shown[-1]))
    frames, keypoints, faces = [], None, []
    for number, (clip, indices) in enumerate(zip(clips, stretches)):
        part, keypoints, count = forge_face(read_stretch(clip, indices), job, donor, rng)
        part = edits.mirror(part) if edits.is_turned(job.tier, number) else part
        if frames and split:
            frames = edits.beside_another(frames[:len(part)], part, rng)
        elif frames and transition:
            frames = edits.go_over(frames, part, transition)
        else:
            frames += edits.cover(part, *frames[0].shape[1::-1]) if frames else part
        faces.append(count)
    if split:
        stretches = [indices[:len(frames)] for indices in stretches]
    if transition:  # to its middle
        half = transition[1] // 2
        stretches = [indices[half * (number > 0):len(indices) - half * (
            number < len(stretches) - 1)] for number, indices in enumerate(stretches)]
    material = edits.Material(keypoints, backdrop, segmenter())
    edited = edits.edit_pictures(job.tier, frames, material, rng)
    write_video(out_file, edited.frames,
                edit_times.frames_per_second(job.tier, job.clip.fps, rate), edits.TIERS[job.tier])
    return _truth_rows(job, clips, stretches, faces, rate, edited)


def _truth_rows(job: Job, clips: list[Clip], stretches: list[np.ndarray], faces: list[int],
                rate: float, edited: edits.Edited) -> list[Truth]:
    rows, first, beside = [], 0, len(clips) > 1 and job.tier == edits.TWO_PERSONS
    for number, (clip, indices, count) in enumerate(zip(clips, stretches, faces)):
        rows.append(Truth(
            job.name, "" if clip.absent else clip.name, int(indices[0]), int(indices[-1]),
            job.tier + "-absent" * clip.absent, rate,
            int(edited.flip or edits.is_turned(job.tier, number)), edited.crop,
            edits.TIERS[job.tier], len(edited.frames), count, first, first + len(indices) - 1))
        first += 0 if beside else len(indices)
    return _cut_up(rows[0], *edited.covered) if edited.covered else rows


def _cut_up(row: Truth, first: int, last: int) -> list[Truth]:
    """The rows of a fake whose frames from one to another show something that is not in the
    database; `row`: without them, source frame by source frame."""
    def part(start: int, end: int) -> Truth:
        return replace(row, start_frame=row.start_frame + start, end_frame=row.start_frame + end,
                       fake_start_frame=start, fake_end_frame=end)

    tier = row.tier if row.tier.endswith("-absent") else f"{row.tier}-absent"
    other = replace(part(first, last), source="", tier=tier, faces=0, start_frame=0,
                    end_frame=last - first)
    around = [part(*ends) for ends in ((0, first - 1), (last + 1, row.fake_end_frame))]
    return sorted([other, *(one for one in around if one.fake_start_frame <= one.fake_end_frame)],
                  key=lambda one: one.fake_start_frame)


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float, crf: float) -> None:
    """Encode frames; the file appears under its name when it is complete."""
    temporary = path.with_name(f".{path.name}.tmp")
    with VideoWriter(temporary, fps, crf=crf, preset=PRESET) as writer:
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


def without_person(image: np.ndarray) -> np.ndarray:
    """The picture [H, W, 3] with its person painted over by what is around."""
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask = (segmenter().probability(small) > 0.2).astype(np.uint8)
    mask = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    filled = cv2.inpaint(small, mask, 3, cv2.INPAINT_TELEA)
    size = image.shape[1::-1]
    alpha = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), size), (0, 0), 3)[..., None]
    return (image + alpha * (cv2.resize(filled, size) - image.astype(np.float32))).astype(np.uint8)
