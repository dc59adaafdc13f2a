"""Build a test set in the manner of FakeTD from any folder of portrait clips.

Every fake is a stretch of a clip with another person's face, which makes the expressions of the
one it replaces (or, tier "lipsync", with a re-animated mouth), then one tier of edits. Written are
`source_data/` (the database), `fake_data/` and `truth.csv`. A share of the clips is left out of the
database: their fakes have no source in it (clips that show the same footage, --same-footage, are
left out together). With --other-takes no fake has one: the database has the beginning of every
clip, and fakes are made of its end.
"""

import argparse
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks import edit_times, edits, face_swap
from benchmarks.forge import (MAX_SIDE, Clip, Job, Truth, make_fake, read_clip, read_stretch,
                              without_person, write_truth, write_video)
from utils.batch import Summary, add_common_options, run_batch, run_step
from utils.files import InputError, write_json
from utils.layout import find_videos
from utils.video import VideoError, VideoReader, probe

log = logging.getLogger("fpvt")
LENGTHS = (25, 40, 60, 90)
BACKDROP_FRAMES = 60
TAKE, TAKE_CRF = 0.45, 18  # share of a clip's frames that each of its two takes has; its quality
BESIDE_ANOTHER = ("pip", "duet", "cutaway")  # tiers that show another video, too


def photographs() -> edits.Frames:
    """Places for replaced backgrounds: photographs that scikit-image brings along."""
    from skimage import data
    pictures = (data.coffee(), data.rocket(), data.brick(), data.grass(), data.gravel())
    return [cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2
            else picture[..., ::-1].copy() for picture in pictures]


def choose_material(job: Job, clips: Sequence[Clip], rng: np.random.Generator
                     ) -> tuple[face_swap.Donor | None, Clip | None, edits.Frames]:
    """Donor, second source and backdrop of a fake."""
    others = [clip for clip in clips if clip is not job.clip]
    donors = [clip.donor for clip in others if clip.donor is not None]
    donor = donors[int(rng.integers(len(donors)))] if donors else None
    present = [clip for clip in others if not clip.absent and clip.frames > job.length]
    second = None
    if job.tier in edit_times.TWO_STRETCHES and present and not job.clip.absent and rng.random() < 0.5:
        second = present[int(rng.integers(len(present)))]
    if job.tier == edits.TWO_PERSONS:  # both in the database, or none
        alike = [clip for clip in others if clip.absent == job.clip.absent]
        second = alike[int(rng.integers(len(alike)))] if alike else None
    return donor, second, _choose_backdrop(job, others, rng)


def _choose_backdrop(job: Job, others: Sequence[Clip], rng: np.random.Generator) -> edits.Frames:
    """A photograph, or another clip: running (beside it, around it) or without its person."""
    if job.tier not in (*BESIDE_ANOTHER, "newback"):
        return []
    if job.tier in BESIDE_ANOTHER:  # a running video of the database would be a true source, too
        others = [clip for clip in others if clip.absent]
    if not others or job.tier != "duet" and rng.random() < 0.4:
        pictures = photographs()
        return [pictures[int(rng.integers(len(pictures)))]]
    place = others[int(rng.integers(len(others)))]
    frames = read_stretch(place, np.arange(min(place.frames, BACKDROP_FRAMES)))
    return frames if job.tier in BESIDE_ANOTHER else [without_person(frames[0])]


def plan(clips: Sequence[Clip], fakes_per_source: int, seed: int, tiers: Sequence[str],
         lengths: Sequence[int], still_donor: bool = False) -> list[Job]:
    """The fakes to make: tiers in shuffled rounds, so that all are equally frequent."""
    rng = np.random.default_rng([seed, 1])
    count = len(clips) * fakes_per_source
    order = [tier for _ in range(-(-count // len(tiers))) for tier in rng.permutation(tiers)]
    jobs = []
    for number, clip in enumerate(clips):
        stem = Path(clip.name).with_suffix("").as_posix().replace("/", "_")
        for take in range(fakes_per_source):
            jobs.append(Job(f"{stem}_fake_{take:02d}.mp4", clip, str(order.pop(0)),
                            int(rng.choice(lengths)), (seed, 2, number, take), still_donor))
    return jobs


def read_clips(video_root: Path, absent: float, seed: int,
               same_footage: Sequence[Sequence[str]] = ()) -> list[Clip]:
    """All usable clips of a folder; a share of them, chosen by the seed, marked absent.

    same_footage: groups of names that are absent together. Raises InputError for one that is not
    there.
    """
    videos = find_videos(video_root)
    order = np.random.default_rng([seed, 0]).permutation(len(videos))
    gone = set(order[:round(absent * len(videos))].tolist())
    number_of = {video.name: number for number, video in enumerate(videos)}
    for group in same_footage:
        if missing := [name for name in group if name not in number_of]:
            raise InputError(f"--same-footage {missing[0]}: no such video in {video_root}")
        together = {number_of[name] for name in group}
        if together & gone:
            gone |= together
    clips = []
    for number, video in enumerate(videos):
        try:
            clips.append(read_clip(video.name, video.path, number in gone))
        except VideoError as error:
            log.warning("left out: %s", error)
    return clips


def in_two_takes(video_root: Path, out_root: Path) -> list[Clip]:
    """Write the beginning of every clip of a folder into the database and its end into `takes/`;
    returns the clips of these ends, of which the database has nothing."""
    for video in find_videos(video_root):
        name, count = Path(video.name).with_suffix(".mp4"), probe(video.path).frames_expected
        length = max(1, int(TAKE * count))
        for folder, first in (("source_data", 0), ("takes", count - length)):
            path = out_root / folder / name
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                wanted = range(first, first + length)
                write_video(path, (frame.image for frame in VideoReader(
                    video.path, wanted, MAX_SIDE, 1)), probe(video.path).fps, TAKE_CRF)
    return [replace(clip, absent=True) for clip in read_clips(out_root / "takes", 0.0, 0)]


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
         absent: float = 0.1, same_footage: Sequence[Sequence[str]] = (),
         other_takes: bool = False, still_donor: bool = False, workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Make the set. Fakes that are there already, made with the same settings, are kept."""
    unknown = set(tiers) - set(edits.TIERS)
    if unknown or not tiers or not lengths or min(lengths) < 1 or not 0 <= absent < 1:
        raise InputError(f"absent is {absent} (0 to below 1), lengths are {list(lengths)} (1 or "
                         f"more), unknown tiers {sorted(unknown)}; known: {', '.join(edits.TIERS)}")
    out_root = Path(out_root)
    clips = (in_two_takes(Path(video_root), out_root) if other_takes
             else read_clips(Path(video_root), absent, seed, same_footage))
    (out_root / "fake_data").mkdir(parents=True, exist_ok=True)
    for clip in clips:
        if not clip.absent:
            _link(clip.path, out_root / "source_data" / clip.name)

    def work(job: Job) -> bool:
        record, video = _record_path(out_root, job), out_root / "fake_data" / job.name
        made = video.is_file() and _read_record(record).get("key") == _key(job, clips)
        if made and not overwrite:
            return False
        rng = np.random.default_rng([*job.seed, 1])
        rows = make_fake(job, *choose_material(job, clips, rng), video)
        write_json(record, {"key": _key(job, clips), "rows": [asdict(row) for row in rows]})
        return True

    jobs = plan(clips, fakes_per_source, seed, tiers, lengths, still_donor)
    summary = run_batch(jobs, work, name=lambda job: job.name, label="fakes", workers=workers)
    write_truth(out_root / "truth.csv",
                [Truth(**row) for job in jobs if job.name not in summary.failed
                 for row in _read_record(_record_path(out_root, job))["rows"]])
    return summary


def _record_path(out_root: Path, job: Job) -> Path:
    return out_root / "records" / f"{Path(job.name).stem}.json"


def _key(job: Job, clips: Sequence[Clip]) -> dict:
    """What decides how a fake looks."""
    return {"clip": job.clip.name, "frames": job.clip.frames, "tier": job.tier,
            "length": job.length, "seed": list(job.seed), "still_donor": job.still_donor,
            "clips": [f"{clip.name} {clip.frames} {clip.absent}" for clip in clips]}


def _read_record(path: Path) -> dict:
    """A finished fake's settings and truth; empty when it is not finished."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video_root", type=Path, help="folder of portrait clips")
    parser.add_argument("out_root", type=Path,
                        help="folder for source_data/, fake_data/ and truth.csv")
    parser.add_argument("--fakes-per-source", type=int, default=4,
                        help="fakes of every clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0,
                        help="one seed, one set (default: %(default)s)")
    parser.add_argument("--tiers", nargs="+", choices=edits.TIERS, default=tuple(edits.TIERS),
                        metavar="TIER", help="edits to make, of: %(choices)s (default: all)")
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, metavar="N",
                        help="lengths to choose from, frames (default: %(default)s)")
    parser.add_argument("--absent", type=float, default=0.1,
                        help="share of the clips to leave out of the database "
                             "(default: %(default)s)")
    parser.add_argument("--same-footage", nargs="+", action="append", default=[],
                        metavar="CLIP", help="clips that show the same footage are left out "
                                             "together; once per group")
    parser.add_argument("--other-takes", action="store_true",
                        help="have the beginning of every clip in the database, and make fakes of "
                             "its end: none has its source there, but all have another take of it")
    parser.add_argument("--still-donor", action="store_true",
                        help="paste a face that does not move (default: it makes the "
                             "expressions of the one it replaces, as face swaps do)")
    add_common_options(parser)
    run_step(main, parser)
