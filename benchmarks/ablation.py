"""What is each part of the tracing worth? The same fakes, each time with one part taken away.

    python -m benchmarks.ablation --work-root . --video-root source_data --truth truth.csv

The work folder holds what steps 1 to 4 wrote, under the default names. The steps have no switches
for this: every variant gets a scene root of its own (benchmarks/ablation_scenes.py), through which
step 5 is run, or is judged from what another run left behind (benchmarks/ablation_answers.py):

- full: DIS flow, scene stage, mapping, learned decision. Step 5 as it is, with --index-all.
- raft: the same with RAFT flow, the shipped weights.
- imagenet: step 4's embedder as trained on ImageNet, instead of as trained here.
- no-mapping: step 4's candidates without local features: no mapping, no inliers, none verified.
- no-pictures: step 5 without the sources' videos, whose motion it has: the pictures of the best
  places are not laid on the fake's.
- no-scene: all sources are candidates, in the order of names, no scene score: motion alone.
- scene-only: step 4's first candidate, which says nothing about frames.
- no-decision: of full's places the one with the highest motion score; nothing is rejected.
- no-pose: full decided again, by the same coefficients, with no pose compared.

No coefficient is fitted again for a variant: the table tells what the shipped decision loses with
a part, not what one fitted without it would reach. An `ambiguous` answer counts by the place it
gives; scores stand for probabilities where nothing decides. The motion of the sources is measured
once per flow, beforehand, and is not in the time. Finished variants are skipped on the next run;
--overwrite has step 5 trace the fakes again. Prints Markdown tables, for all fakes and by kind of
edit, and writes the figures to `<out>/ablation.csv`.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import step5_flow_trace
from benchmarks import ablation_answers, ablation_scenes
from benchmarks.ablation_answers import Answers
from benchmarks.ablation_scenes import FAKE_FRAMES, SCENES
from benchmarks.ablation_table import NO_FRAMES, NO_VERDICT, Took, figures, overview
from benchmarks.evaluate import gather
from benchmarks.scores import Measure
from benchmarks.truths import Stretch, read_truth
from models.flow import make_flow
from models.segmenter import make_segmenter
from utils.batch import (Summary, add_common_options, log, per_thread, pick_device, run_batch,
                         run_step)
from utils.decision import load_coefficients
from utils.files import InputError, read_json, write_json
from utils.scene_index import indexed_ids
from utils.source_motion import MotionIndex
from utils.tables import write_table

FULL = "full"


@dataclass(frozen=True)
class Run:
    """A variant that step 5 is run for."""

    scene: Callable[..., Path]
    flow: str = "dis"
    pictures: bool = True


@dataclass(frozen=True)
class Derived:
    """A variant that is judged from what is there."""

    answers: Callable[[Path, list[Stretch]], Answers]
    from_full: bool  # from full's trace root, else from the work folder
    empty: tuple[str, ...]  # columns that mean nothing for it


VARIANTS: dict[str, Run | Derived] = {
    FULL: Run(ablation_scenes.as_ranked),
    "raft": Run(ablation_scenes.as_ranked, "raft"),
    "imagenet": Run(ablation_scenes.with_imagenet),
    "no-mapping": Run(ablation_scenes.without_mapping),
    "no-pictures": Run(ablation_scenes.as_ranked, pictures=False),
    "no-scene": Run(ablation_scenes.without_scene),
    "scene-only": Derived(ablation_answers.scene_alone, False, NO_FRAMES + NO_VERDICT),
    "no-decision": Derived(ablation_answers.without_decision, True, NO_VERDICT),
    "no-pose": Derived(ablation_answers.without_poses, True, ())}


@dataclass(frozen=True)
class Setting:
    """What all variants share."""

    work: Path
    videos: Path
    out: Path
    device: str
    workers: int
    overwrite: bool

    def trace_root(self, name: str) -> Path:
        """Trace root of a variant."""
        return self.out / name / "trace"


def main(work_root: Path = Path("."), video_root: Path = Path("./source_data/"),
         truth: Path = Path("./truth.csv"), out: Path = Path("./ablation/"),
         variants: Sequence[str] = tuple(VARIANTS), device: str = "auto", workers: int = 1,
         overwrite: bool = False) -> Summary:
    """Run the variants that are not finished and print the comparison.

    Raises InputError when the truth or an output of steps 1 to 4 is missing.
    """
    stretches = read_truth(truth)
    setting = Setting(Path(work_root), Path(video_root), Path(out), device, workers, overwrite)
    if not indexed_ids(setting.work / SCENES):
        raise InputError(f"{setting.work / SCENES}: no scene index in it; run step 4 first")
    total, measures, took = Summary(), [], {}
    for name in needed(variants):
        variant = VARIANTS[name]
        if isinstance(variant, Run):
            done, took[name] = run_variant(name, variant, setting)
            total = joined(total, name, done)
    for name in variants:
        measures += judge(name, stretches, setting, took.get(name))
    write_table(setting.out / "ablation.csv", Measure, measures)
    print(overview(measures, variants))
    return total


def needed(variants: Sequence[str]) -> list[str]:
    """The variants and, first, the one that others of them are taken from."""
    chosen = [VARIANTS[name] for name in variants]
    first = any(isinstance(variant, Derived) and variant.from_full for variant in chosen)
    return list(dict.fromkeys([FULL] * first + list(variants)))


def run_variant(name: str, variant: Run, setting: Setting) -> tuple[Summary, Took]:
    """Run step 5 for a variant, or skip that when it was done with the same input."""
    folder, trace_root = setting.out / name, setting.trace_root(name)
    if setting.overwrite:
        (folder / "run.json").unlink(missing_ok=True)
        shutil.rmtree(trace_root / "fakes", ignore_errors=True)
    trace_root.mkdir(parents=True, exist_ok=True)
    scene = variant.scene(setting.work, folder / "scene", device=setting.device,
                          workers=setting.workers)
    motion = measure_sources(variant.flow, setting)
    made_with = {"method": step5_flow_trace.METHOD, "coefficients": load_coefficients().tolist(),
                 "motion": motion.settings, "workers": setting.workers,
                 "pictures": variant.pictures,
                 "scene": ablation_scenes.digest(setting.work, scene)}
    stored = _stored(folder / "run.json")
    if stored.get("made_with") == made_with and (trace_root / "traces.csv").is_file():
        log.info("%s: complete already", name)
        return Summary(), Took(**stored["took"])
    ablation_scenes.link(motion.root, trace_root / "motion")
    (folder / "no_videos").mkdir(exist_ok=True)
    videos = setting.videos if variant.pictures else folder / "no_videos"
    done, took = run_step5(variant.flow, scene, trace_root, videos, setting)
    if not done.failed:
        write_json(folder / "run.json", {"made_with": made_with, "took": asdict(took)})
    return done, took


def _stored(path: Path) -> dict:
    """What an earlier run wrote; nothing where it did not come to its end."""
    try:
        return read_json(path)
    except InputError:
        return {}


def measure_sources(flow: str, setting: Setting) -> MotionIndex:
    """The motion of all sources by one flow, which the variants share."""
    device = pick_device(setting.device, needed=flow != "dis")
    index = MotionIndex(setting.out / f"motion_{flow}", setting.videos, setting.work / SCENES,
                        per_thread(partial(make_flow, flow, None, device)),
                        per_thread(partial(make_segmenter, "selfie", None, device)))
    run_batch(indexed_ids(index.scene_root), index.add, name=str,
              label=f"ablation, source motion by {flow}", workers=setting.workers, root=index.root)
    return index


def run_step5(flow: str, scene: Path, trace_root: Path, videos: Path,
              setting: Setting) -> tuple[Summary, Took]:
    """Step 5 as a user would run it, without its report, and its time per fake that it traced."""
    work, sources = setting.work, len(indexed_ids(scene))
    begun = time.perf_counter(), time.process_time()
    done = step5_flow_trace.main(
        videos, work / FAKE_FRAMES, work / "step3_fake_masks", work / "step3_fake_rect",
        scene, trace_root, top_k=max(sources, 20), flow=flow, device=setting.device,
        workers=setting.workers, index_all=True, report=False)
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    count = len(done.done)
    return done, Took(wall / count, cpu / count) if count else Took(None, None)


def joined(total: Summary, name: str, done: Summary) -> Summary:
    """The summary with one more variant."""
    failed = {f"{name}, {fake}": reason for fake, reason in done.failed.items()}
    return replace(total, done=total.done + [name] * bool(done.done),
                   failed={**total.failed, **failed})


def judge(name: str, truth: list[Stretch], setting: Setting, took: Took | None) -> list[Measure]:
    """All figures of one variant; without those that mean nothing for it."""
    variant = VARIANTS[name]
    if isinstance(variant, Run):
        table = setting.trace_root(name) / "traces.csv"
        return figures(name, *gather(table, truth, leave_out=True), took)
    root = setting.trace_root(FULL) if variant.from_full else setting.work
    rows = figures(name, *variant.answers(root, truth))
    return [row for row in rows if row.metric not in variant.empty]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What is each part of the tracing worth?")
    for name, default, text in (
            ("work-root", ".", "folder with the outputs of steps 1 to 4"),
            ("video-root", "./source_data/", "the source videos"),
            ("truth", "./truth.csv", "the truth as CSV"),
            ("out", "./ablation/", "where the variants' results go")):
        parser.add_argument(f"--{name}", type=Path, default=Path(default),
                            help=f"{text} (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=tuple(VARIANTS),
                        metavar="VARIANT", help="of: %(choices)s (default: all)")
    add_common_options(parser, device=True)
    parser.set_defaults(workers=1)  # so that times can be compared
    run_step(main, parser)
