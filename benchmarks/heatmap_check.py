"""How well the heatmap shows what was changed, on fakes whose changed pixels are known.

    python -m benchmarks.heatmap_check CLIPS

Fakes are made in memory from real clips: another person's face or a re-animated mouth, one tier of
edits, H.264 and back. The same edits, done to the masks of what was changed and to black and white
pictures, tell which pixels of every frame came from the source untouched. The source's picture is
laid on the fake's as the report does it, without knowing the edit; the frames' order is known. Per
fake: the area under the ROC curve of the heat (before it is clipped) over all pixels that the
source covers, and the mean heat inside and outside the changed pixels.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import rankdata

from benchmarks import edit_times, edits, face_swap
from benchmarks.expression import swap_faces
from benchmarks.forge import Clip, detector, read_clip, read_stretch, segmenter, write_video
from utils import heatmap
from utils.batch import Summary, run_batch, run_step
from utils.files import InputError, write_json
from utils.layout import find_videos
from utils.side_by_side import Fit, compared, fit_pictures
from utils.video import VideoReader

TIERS = ("clean", "c40", "geometry", "temporal", "overlay", "tiny", "several", "lipsync")
LENGTH = 25  # source frames of a fake
CHANGED, UNTOUCHED = 0.5, 0.9  # share of the donor from which on a pixel is changed; see labels()
VISIBLE = 12  # levels by which a re-animated mouth changes a pixel that counts as changed
RESAMPLES = 2000


@dataclass(frozen=True)
class Forged:
    """A fake with what is known of it."""

    fakes: list[np.ndarray]  # [H, W, 3] uint8 BGR, decoded
    sources: list[np.ndarray]  # the frames they were made from
    changed: np.ndarray  # [T, H, W] bool
    flip: bool
    path: list[np.ndarray] = field(default_factory=list)  # Stretch.path_of() them


def forge(clip: Clip, donor: face_swap.Donor, tier: str, seed: tuple[int, ...]) -> Forged | None:
    """Make one fake; None where no face is found."""
    rng = np.random.default_rng(seed)
    (indices, *_), _ = edit_times.choose_frames(tier, clip.frames, LENGTH, rng)
    sources = read_stretch(clip, indices)
    keypoints, faces = face_swap.track_face(sources, detector())
    if keypoints is None or faces < 0.8 * len(sources):
        return None
    swapped = swap(tier, sources, keypoints, donor, rng)
    material = edits.Material(keypoints, [], segmenter())
    edited = edits.edit_pictures(tier, swapped, material, np.random.default_rng([*seed, 1]))
    changed = changed_pixels(tier, masks_of(tier, sources, swapped, keypoints, donor), material,
                             lambda: np.random.default_rng([*seed, 1]))
    fakes = encoded(edited.frames, clip.fps, edits.TIERS[tier])
    height, width = fakes[0].shape[:2]
    return Forged(fakes, sources, changed[:, :height, :width], edited.flip)


def swap(tier: str, sources: edits.Frames, keypoints: np.ndarray, donor: face_swap.Donor,
         rng: np.random.Generator) -> edits.Frames:
    """The frames with the donor's face or, for lipsync, another mouth movement."""
    if tier == "lipsync":
        return face_swap.reanimate_mouth(sources, keypoints, rng)
    return swap_faces(sources, keypoints, donor)


def masks_of(tier: str, sources: edits.Frames, swapped: edits.Frames, keypoints: np.ndarray,
             donor: face_swap.Donor) -> edits.Frames:
    """How much of every pixel is new, before the edit: [H, W, 3] uint8 each, 255 for all of it."""
    if tier != "lipsync":
        return [pasted(points, donor, sources[0].shape[1::-1]) for points in keypoints]
    moved = [cv2.absdiff(*pair).max(axis=2, keepdims=True) >= VISIBLE
             for pair in zip(sources, swapped)]
    return [np.repeat(np.uint8(255 * frame), 3, axis=2) for frame in moved]


def changed_pixels(tier: str, masks: edits.Frames, material: edits.Material,
                   rng: Callable[[], np.random.Generator]) -> np.ndarray:
    """[T, H, W] bool, what is not the source's in the frames after the edit.

    rng: gives the generator that edited the frames, as it was then.
    """
    again = [edits.edit_pictures(tier, pictures, material, rng()).frames
             for pictures in (masks, [np.zeros_like(masks[0])] * len(masks),
                              [np.full_like(masks[0], 255)] * len(masks))]
    return np.stack([labels(*frame) for frame in zip(*again)])


def pasted(points: np.ndarray, donor: face_swap.Donor, size: tuple[int, int]) -> np.ndarray:
    """How much of the donor is in every pixel, [H, W, 3] uint8, 255 for nothing else."""
    share = cv2.warpAffine(donor.mask, face_swap.alignment(donor.keypoints, points), size)
    return np.repeat(np.uint8(np.round(255 * share))[..., None], 3, axis=2)


def labels(mask: np.ndarray, black: np.ndarray, white: np.ndarray) -> np.ndarray:
    """[H, W] bool, changed pixels, from the mask, a black and a white picture after the edit.

    Where black and white come out alike something was laid over the picture.
    """
    span = white.mean(axis=2) - black.mean(axis=2)
    share = (mask.mean(axis=2) - black.mean(axis=2)) / np.maximum(span, 1)
    return (share >= CHANGED) | (span < 255 * UNTOUCHED)


def encoded(frames: edits.Frames, fps: float, crf: int) -> list[np.ndarray]:
    """The frames after H.264 at a constant rate factor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fake.mp4")
        write_video(path, frames, fps, crf)
        return [frame.image for frame in VideoReader(path, threads=1)]


def measure(forged: Forged) -> dict[str, float]:
    """The figures of one fake."""
    fit = fit_pictures(forged.fakes[::3], forged.sources[::3], forged.flip, [], (1.0, 1.0))
    return measure_fit(fit, forged)


def measure_fit(fit: Fit, forged: Forged) -> dict[str, float]:
    """The figures of one fake whose source was laid on it."""
    found = {"agreement": fit.mapping.agreement}
    if fit.look is None:
        return found  # the report shows no heat then
    fakes, sources, covered = compared(fit.mapping, forged.fakes, forged.sources, forged.path)
    ratios = heatmap.over_time(heatmap.excess(fakes, sources, covered, fit.look), covered)
    level, heat = np.log(np.maximum(ratios, 1e-3)).mean(axis=1), heatmap.heat(ratios, fit.look)
    size = covered.shape[:0:-1]
    changed = np.stack([cv2.resize(np.uint8(frame), size, interpolation=cv2.INTER_AREA)
                        for frame in forged.changed]) > 0
    return found | {"auroc": auroc(level[covered], changed[covered]),
                    "heat_inside": float(heat[covered & changed].mean()),
                    "heat_outside": float(heat[covered & ~changed].mean()),
                    "changed_share": float(changed[covered].mean())}


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve.

    >>> auroc(np.array([1, 2, 3, 4]), np.array([False, True, False, True]))
    0.75
    """
    ranks, count = rankdata(scores), int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2)
                 / max(count * (len(scores) - count), 1))


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of a mean over fakes, by the bootstrap (Efron 1979)."""
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def table(rows: list[dict]) -> str:
    """The figures per tier, as text."""
    rng = np.random.default_rng(0)
    lines = ["tier      fakes  heat  AUROC (95 %)           lowest  heat inside  outside"]
    for tier in dict.fromkeys(row["tier"] for row in rows):
        mine = [row for row in rows if row["tier"] == tier]
        heated = [row for row in mine if "auroc" in row]
        if not heated:
            lines.append(f"{tier:9s} {len(mine):5d}     0")
            continue
        values = np.array([row["auroc"] for row in heated])
        low, high = interval(values, rng)
        inside, outside = (np.mean([row[f"heat_{side}"] for row in heated])
                           for side in ("inside", "outside"))
        lines.append(f"{tier:9s} {len(mine):5d} {len(heated):5d}  {values.mean():.3f} ({low:.3f}-"
                     f"{high:.3f})     {values.min():.3f}   {inside:.3f}        {outside:.3f}")
    return "\n".join(lines)


def main(video_root: Path, tiers: Sequence[str] = TIERS, per_clip: int = 2, seed: int = 0,
         out: Path | None = None, workers: int = 0) -> Summary:
    """Measure, print the table, and write all figures as JSON on request.

    Raises InputError when there are fewer than two clips with a face.
    """
    clips = [read_clip(video.name, video.path) for video in find_videos(Path(video_root))]
    clips = [clip for clip in clips if clip.donor is not None]
    if len(clips) < 2:
        raise InputError(f"{video_root}: two clips with a face are needed")
    rows: list[dict] = []
    jobs = [(tier, number, take) for tier in tiers for number in range(len(clips))
            for take in range(per_clip)]
    made = run_batch(jobs, partial(_work, clips=clips, seed=seed, rows=rows),
                     name=lambda job: f"{clips[job[1]].name} {job[0]} {job[2]}", label="heatmaps",
                     workers=workers)
    rows.sort(key=lambda row: (list(tiers).index(row["tier"]), row["clip"], row["take"]))
    print(table(rows))
    if out is not None:
        write_json(Path(out), {"rows": rows})
    return made


def _work(job: tuple[str, int, int], clips: list[Clip], seed: int, rows: list[dict]) -> bool:
    """Forge and measure one fake."""
    tier, number, take = job
    donor = clips[(number + 1 + take) % len(clips)].donor
    forged = forge(clips[number], donor, tier, (seed, number, take, TIERS.index(tier)))
    if forged is None:
        return False
    rows.append({"tier": tier, "clip": clips[number].name, "take": take, **measure(forged)})
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video_root", type=Path, help="folder of portrait clips")
    parser.add_argument("--tiers", nargs="+", choices=TIERS, default=TIERS, metavar="TIER",
                        help="edits, of: %(choices)s (default: all)")
    parser.add_argument("--per-clip", type=int, default=2,
                        help="fakes per clip and tier (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="one seed, one result (default: 0)")
    parser.add_argument("--out", type=Path, default=None, help="JSON for the figures of every fake")
    parser.add_argument("--workers", type=int, default=0,
                        help="fakes at a time; 0 for one per core (default: %(default)s)")
    parser.set_defaults(verbose=False, quiet=False)
    run_step(main, parser)
