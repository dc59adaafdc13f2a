"""The heatmap after all five steps, on the fakes of benchmarks/make_fakes.py.

    python -m benchmarks.make_fakes CLIPS my_set --seed 23 --absent 0
    (steps 1 to 5 over my_set)
    python -m benchmarks.heatmap_traced CLIPS my_set --seed 23 --absent 0

Unlike in benchmarks/heatmap_check.py, which measures in the same way, mapping and moments are those
that step 5 found, as in its report. Which pixels were changed comes from making every fake once
more, from the clips and options that the set was made with. A fake that was not traced to its own
source has no heat.
"""

import argparse
import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import edit_times, edits, heatmap_check, make_fakes
from benchmarks.forge import Clip, Job, detector, read_stretch, segmenter
from benchmarks.face_swap import track_face
from benchmarks.heatmap_check import Forged, changed_pixels, masks_of, measure_fit, swap, table
from utils.batch import Summary, run_batch, run_step
from utils.files import InputError, read_json, write_json
from utils.layout import fake_result_path
from utils.page_frames import fake_scale
from utils.side_by_side import (Roots, Stretch, fake_id, fit_pictures, guesses, read_fake,
                                read_source, stretches_of)
from utils.steadied import steadied

TIERS = *heatmap_check.TIERS, "zooming", "farzoom"  # the last two are steadied


def changed_in(job: Job, clips: Sequence[Clip]) -> np.ndarray:
    """[T, H, W] bool, the changed pixels of a fake of a set, before it was encoded."""
    donor, _, backdrop = make_fakes.choose_material(job, clips,
                                                     np.random.default_rng([*job.seed, 1]))
    rng = np.random.default_rng(job.seed)  # used in the order in which make_fake() uses it
    (indices, *_), _ = edit_times.choose_frames(job.tier, job.clip.frames, job.length, rng)
    sources = read_stretch(job.clip, indices)
    keypoints, _ = track_face(sources, detector())
    if keypoints is None or donor is None:
        raise InputError(f"{job.name}: no face was changed in it")
    masks = masks_of(job.tier, sources, swap(job.tier, sources, keypoints, donor, rng), keypoints,
                     donor)
    return changed_pixels(job.tier, masks, edits.Material(keypoints, backdrop, segmenter()),
                          lambda: copy.deepcopy(rng))


def measure_traced(stretch: Stretch, result: dict, roots: Roots,
                   changed: np.ndarray) -> dict[str, float]:
    """The figures of a traced fake, by the frames and the mapping of its report."""
    found, scale = read_source(roots, stretch.row["source"], set(stretch.source_frames))
    pairs = [(f, s) for f, s in zip(stretch.fake_frames, stretch.source_frames) if s in found]
    fakes = [read_fake(roots, fake_id(result), index, stretch.path) for index, _ in pairs]
    sources, record = [found[index] for _, index in pairs], result["made_with"]["record"]
    own_scale = fake_scale(fakes[0], record)
    path = stretch.path_of([index for index, _ in pairs], own_scale)
    fit = fit_pictures(fakes[::3], sources[::3], stretch.flip, guesses(roots, result, stretch),
                       (own_scale, scale), path[::3])
    changed = changed[[index for index, _ in pairs], :record["height"], :record["width"]]
    if stretch.path:
        changed = np.stack([steadied(mask.astype(np.uint8) * 255, stretch.path[index]) > 127
                            for mask, (index, _) in zip(changed, pairs)])
    return measure_fit(fit, Forged(fakes, sources, changed, stretch.flip, path))


def main(video_root: Path, set_root: Path, fakes_per_source: int = 4, seed: int = 0,
         tiers: Sequence[str] = TIERS, lengths: Sequence[int] = make_fakes.LENGTHS,
         absent: float = 0.1, frame_root: Path = Path("./step3_fake_frames/"),
         rect_root: Path = Path("./step3_fake_rect/"),
         trace_root: Path = Path("./step5_flow_trace/"), out: Path | None = None,
         workers: int = 0) -> Summary:
    """Measure, print the table, and write all figures as JSON on request.

    The first arguments are those of make_fakes; fakes without a source in the database and tiers
    for which changed pixels are not known are left out. Raises InputError when nothing of step 5
    is there.
    """
    roots = Roots(Path(frame_root), Path(), Path(rect_root), Path(set_root) / "source_data",
                  Path(trace_root))
    clips = make_fakes.read_clips(Path(video_root), absent, seed)
    jobs = [job for job in make_fakes.plan(clips, fakes_per_source, seed, tiers, lengths)
            if job.tier in TIERS and not job.clip.absent]
    if not any(_result_path(roots, job).is_file() for job in jobs):
        raise InputError(f"{trace_root}: step 5 has written nothing of this set")
    rows: list[dict] = []
    made = run_batch(jobs, partial(_work, clips=clips, roots=roots, rows=rows),
                     name=lambda job: job.name, label="heatmaps", workers=workers)
    rows.sort(key=lambda row: (list(tiers).index(row["tier"]), row["fake"]))
    print(table(rows))
    if out is not None:
        write_json(Path(out), {"rows": rows})
    return made


def _result_path(roots: Roots, job: Job) -> Path:
    return fake_result_path(roots.traces, Path(job.name).stem)


def _work(job: Job, clips: Sequence[Clip], roots: Roots, rows: list[dict]) -> bool:
    """Measure one fake."""
    result = read_json(_result_path(roots, job))
    stretch = max(stretches_of(result), key=lambda part: len(part.source_frames))
    traced = bool(stretch.source_frames) and stretch.row["source"] == job.clip.name
    figures = (measure_traced(stretch, result, roots, changed_in(job, clips)) if traced else {})
    rows.append({"tier": job.tier, "fake": job.name, **figures})
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video_root", type=Path, help="the clips that the set was made from")
    parser.add_argument("set_root", type=Path, help="the set that make_fakes wrote")
    parser.add_argument("--fakes-per-source", type=int, default=4, help="as for make_fakes")
    parser.add_argument("--seed", type=int, default=0, help="as for make_fakes")
    parser.add_argument("--tiers", nargs="+", choices=edits.TIERS, default=TIERS, metavar="TIER",
                        help="as for make_fakes (default: those that can be measured)")
    parser.add_argument("--lengths", nargs="+", type=int, default=make_fakes.LENGTHS, metavar="N",
                        help="as for make_fakes")
    parser.add_argument("--absent", type=float, default=0.1, help="as for make_fakes")
    for name, folder in (("frame", "step3_fake_frames"), ("rect", "step3_fake_rect"),
                         ("trace", "step5_flow_trace")):
        parser.add_argument(f"--{name}-root", type=Path, default=Path(f"./{folder}/"),
                            help="as for step 5 (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=None, help="JSON for the figures of every fake")
    parser.add_argument("--workers", type=int, default=0,
                        help="fakes at a time; 0 for one per core (default: %(default)s)")
    parser.set_defaults(verbose=False, quiet=False)
    run_step(main, parser)
