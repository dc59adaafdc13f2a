"""Train the motion embedder on fakes with a known truth: right places close, wrong ones far.

    python -m models.training.train_flow --set WORK TRUTH VIDEOS --out DIR --hold-out NAME ...
    python -m models.training.train_flow --set WORK names VIDEOS --out DIR --hold-out NAME ...

The examples are what step 5's search finds for each fake (`motion_windows.py`). The truth is a
table, or what names as FakeTD's tell: `source_02_fake_04.mp4` was made from `source_02.mp4`, frame
by frame; of `scene_0000_fake_0008.mp4` the name tells the scene but neither video nor frames, so
such fakes are left out, and their scene's videos serve as strangers and as their own fakes.

Two networks. `small`: windows of displacements on a grid (`motion_batches.py`); it begins as a
projection onto the principal components of the training-free signature. `resnet50`: the original
setting, a ResNet-50 on flow pictures of 256 px, compared by the angle (`picture_examples.py`). Both
are compared with that signature at the end, on the held-out clips, and on sets that are only
measured (`motion_scores.py`, `picture_scores.py`).

The batch of step k follows from the seed and k alone: a run that was stopped continues to the
same numbers.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from models.fetch import ModelFileError, checked_sha256, sha256_of
from models.motion_embedder import MotionNet, load_net
from models.motion_resnet import load_resnet
from models.training.motion_batches import BatchMaker
from models.training.motion_card import EMBEDDERS, describe, unit_of
from models.training.motion_scores import compare
from models.training.motion_trainer import MotionTrainer
from models.training.motion_windows import FakeSet, MotionWindows, load_windows
from models.training.picture_examples import PictureBatches, Pictures, load_pictures
from models.training.picture_scores import compare_pictures
from models.training.raft_trainer import Schedule, save_tensors
from models.training.resnet_trainer import ResNetTrainer
from models.training.train_raft import log
from utils.batch import pick_device
from utils.files import InputError, write_json
from utils.video import VideoError

WARM_UP = 100  # steps in which the learning rate rises
LOG_EVERY = 50
SAVE_MINUTES = 2.0


def main(sets: Sequence[FakeSet], out: Path, *, hold_out: Sequence[str] = (),
         test_sets: Sequence[FakeSet] = (), embedder: str = "small",
         model_path: Path | None = None, steps: int = 1500, batch: int = 12,
         dimensions: int = 64, lr: float = 1e-3, pull: float = 5.0, seed: int = 0,
         workers: int = 1, device: str = "auto", resume: bool = False) -> Path:
    """Train, compare, and return the file of the weights.

    model_path: weights to begin with. steps: 0 to measure them as they are, on all fakes if none
    are held out. pull: of `small`; device: of `resnet50`.

    Raises InputError for unusable input or when `out` holds another run, ModelFileError for
    unusable weights.
    """
    checkpoint = Path(out) / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise InputError(f"{out}: holds a run; continue it with --resume, or choose another --out")
    if not steps and model_path is None:
        raise InputError("--steps 0 measures weights: give them with --model-path")
    Path(out).mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    small = embedder == "small"
    load = load_windows if small else load_pictures
    if not steps:
        dimensions = outputs(embedder, model_path)
    begun = {"begins with": checked_sha256(model_path)} if model_path else {}
    settings = begun | {"batch": batch, "dimensions": dimensions, "lr": lr, "seed": seed,
                        "hold_out": sorted(hold_out)} | ({"pull": pull} if small else {})
    schedule = Schedule(steps, lr, min(WARM_UP, steps), lr)
    trainer = (MotionTrainer(settings, schedule) if small
               else ResNetTrainer(settings, schedule, pick_device(device)))
    data = load(sets, Path(out) / "cache", workers)
    training = data.without(hold_out)
    learn(trainer, training, checkpoint, model_path)
    measured = {"held-out clips": data.only(hold_out)} if hold_out else {}
    if not steps and not hold_out:
        measured["all fakes"] = data
    for number, fakes in enumerate(test_sets, 1):
        measured[f"test set {number}"] = load([fakes], Path(out) / "cache", workers)
    card = describe(trainer, embedder, data, training)
    return write_weights(trainer, embedder, measured, card, Path(out), model_path)


def outputs(embedder: str, model_path: Path) -> int:
    """Dimensions of the vectors of some weights. Raises ModelFileError when they are unusable."""
    return (load_net(model_path).head if embedder == "small"
            else load_resnet(model_path).fc).out_features


def learn(trainer: MotionTrainer | ResNetTrainer, training: MotionWindows | Pictures,
          checkpoint: Path, model_path: Path | None = None) -> None:
    """Train to the end of the schedule from the checkpoint, if there is one, and leave one."""
    make = BatchMaker if isinstance(trainer, MotionTrainer) else PictureBatches
    try:
        if checkpoint.exists():
            trainer.load(checkpoint)
        elif isinstance(trainer, MotionTrainer):
            trainer.begin(training, model_path)
        else:
            trainer.begin(model_path)
        if trainer.step >= trainer.schedule.steps:
            return
        batches = make(training, trainer.settings["batch"], trainer.settings["seed"])
    except ValueError as error:
        raise InputError(f"{checkpoint.parent}: {error}") from error
    losses, saved = [], time.monotonic()
    while trainer.step < trainer.schedule.steps:
        losses.append(trainer.train_step(batches[trainer.step]))
        last = trainer.step == trainer.schedule.steps
        if trainer.step % LOG_EVERY == 0 or last:
            log(checkpoint.parent, step=trainer.step, loss=round(sum(losses) / len(losses), 4),
                lr=trainer.schedule.lr(trainer.step), seconds=round(trainer.seconds))
            losses.clear()
        if last or time.monotonic() - saved > 60 * SAVE_MINUTES:
            trainer.save(checkpoint)
            saved = time.monotonic()


def write_weights(trainer: MotionTrainer | ResNetTrainer, embedder: str,
                  measured: dict[str, MotionWindows | Pictures], card: dict, out: Path,
                  model_path: Path | None = None) -> Path:
    """Write the weights; compare them, as written, with the signature."""
    path = out / ("motion_embedder.pt" if embedder == "small" else "motion_resnet50.pt")
    path.with_suffix(".json").unlink(missing_ok=True)  # that of weights before these
    save_tensors(path, trainer.shippable())
    if embedder == "small":
        net, start, judge = load_net(path), MotionNet(trainer.settings["dimensions"]), compare
        start.load_state_dict(trainer.start)
    else:
        before = ResNetTrainer(trainer.settings, trainer.schedule, str(trainer.device))
        before.begin(model_path)
        net, start, judge = load_resnet(path).to(trainer.device), before.net, compare_pictures
    figures = {}
    for name, data in measured.items():
        figures[name] = judge(data, net, start.eval().requires_grad_(False))
        log(out, measured=name, figures=figures[name])
    write_json(path.with_suffix(".json"), card | {
        "metrics": {"unit": unit_of(embedder)} | figures, "sha256": sha256_of(path)})
    return path


COSTS = """
Data: fakes as benchmarks/make_fakes.py makes them, or FakeTD's, of ten clips or more. WORK is the
folder in which steps 1 to 4 kept their folders under the default names, TRUTH the table (columns
fake,source,start_frame,end_frame,tier,speed,flip) or the word names, VIDEOS the folder of the
sources. With names, source_02_fake_04.mp4 counts as made from source_02.mp4 with the same frame
numbers (where the motion does not bear that out, the fake is not used), and
scene_0000_fake_0008.mp4 is left out: its name tells the scene alone. The motion index of step 5 is
used, or made, in WORK/step5_flow_trace/motion.
Time on one CPU core: 3 to 8 s per fake to search its places, once. small: 0.1 to 0.2 s per step, 4
minutes in all; 0.5 s per fake to measure. resnet50: 2 s per fake to make its pictures, once; 4
s per step where the CPU computes bfloat16, else 8, so 2 to 3 hours in all; a GPU shortens that.
Memory: 1 GB, 3 MB per fake (half of it on disk, in OUT/cache, which may be deleted), and 0.3 MB
per frame of the fake that is being searched. resnet50: 4 GB, and 13 MB per fake on disk.
Out: motion_embedder.pt or motion_resnet50.pt (fp16), its card of the same name (.json), log.jsonl,
checkpoint.pt, cache/. Stop it at any moment; continue with the same command and --resume. Another
--steps with --resume leads the learning rate from where it is to 0 at that step.
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=COSTS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    three = {"nargs": 3, "action": "append", "type": Path, "metavar": ("WORK", "TRUTH", "VIDEOS")}
    add("--set", dest="sets", required=True, help="fakes to learn from; may be repeated", **three)
    add("--test-set", dest="test_sets", default=[],
        help="fakes of other clips, only measured; may be repeated", **three)
    add("--out", type=Path, required=True, help="folder for weights, card, log and checkpoint")
    add("--hold-out", nargs="*", default=[], metavar="NAME",
        help="clips, without extension, that are neither fakes' sources nor strangers in training")
    add("--embedder", choices=EMBEDDERS, default="small",
        help="resnet50: the original setting, on flow pictures (default: %(default)s)")
    add("--model-path", type=Path, metavar="FILE",
        help="weights to begin with: what this script wrote, or for resnet50 torchvision's "
             "ImageNet weights; with --steps 0 they are only measured (default: the signature's "
             "principal components; for resnet50 random weights)")
    for name, default, text in (
            ("steps", 1500, "length of the schedule"), ("batch", 12, "queries per step"),
            ("dimensions", 64, "of the vector of a frame pair"),
            ("lr", 1e-3, "highest learning rate; give resnet50 less, 3e-4 say"),
            ("pull", 5.0, "of small back to the first weights, per step in units of the learning "
                          "rate"),
            ("seed", 0, "of weights and batches"),
            ("workers", 1, "fakes searched at a time; 0: one per core")):
        add(f"--{name}", type=type(default), default=default, help=f"{text} (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="for resnet50; auto takes a GPU when there is one (default: %(default)s)")
    add("--resume", action="store_true", help="continue the run in --out")
    options = parser.parse_args()
    for name in ("sets", "test_sets"):
        setattr(options, name, [FakeSet(*three) for three in getattr(options, name)])
    return options


if __name__ == "__main__":
    try:
        main(**vars(_parse()))
    except (InputError, ModelFileError, VideoError) as error:
        sys.exit(str(error))
