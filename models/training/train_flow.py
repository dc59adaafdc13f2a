"""Train the motion embedder on fakes with a known truth: right places close, wrong ones far.

    python -m models.training.train_flow --set WORK TRUTH VIDEOS --out DIR --hold-out NAME ...

The examples are what step 5's search finds for each fake (`motion_windows.py`), the batches windows
of them, edited (`motion_batches.py`). The network begins as a projection onto the principal
components of the training-free signature. At the end it is compared with that signature on the
held-out clips, and on sets that are only measured (`motion_scores.py`).

The batch of step k follows from the seed and k alone: a run that was stopped continues to the
same numbers.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from models.fetch import ModelFileError, sha256_of
from models.motion_embedder import SPANS, MotionNet, load_net
from models.training.motion_batches import BatchMaker
from models.training.motion_scores import compare
from models.training.motion_trainer import MotionTrainer
from models.training.motion_windows import FakeSet, MotionWindows, load_windows
from models.training.raft_trainer import Schedule, save_tensors
from models.training.train_raft import hardware, log
from utils.files import InputError, write_json
from utils.video import VideoError

WARM_UP = 100  # steps in which the learning rate rises
LOG_EVERY = 50
SAVE_MINUTES = 2.0


def main(sets: Sequence[FakeSet], out: Path, *, hold_out: Sequence[str] = (),
         test_sets: Sequence[FakeSet] = (), steps: int = 1500, batch: int = 12,
         dimensions: int = 64, lr: float = 1e-3, pull: float = 5.0, seed: int = 0,
         workers: int = 1, resume: bool = False) -> Path:
    """Train, compare, and return the file of the weights.

    Raises InputError for unusable input or when `out` holds another run.
    """
    checkpoint = Path(out) / "checkpoint.pt"
    if checkpoint.exists() and not resume:
        raise InputError(f"{out}: holds a run; continue it with --resume, or choose another --out")
    Path(out).mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    windows = load_windows(sets, Path(out) / "cache", workers)
    training = windows.without(hold_out)
    settings = {"batch": batch, "dimensions": dimensions, "lr": lr, "pull": pull, "seed": seed,
                "hold_out": sorted(hold_out)}
    trainer = MotionTrainer(settings, Schedule(steps, lr, min(WARM_UP, steps), lr))
    learn(trainer, training, checkpoint)
    card = describe(trainer, windows, training)
    measured = {"held-out clips": windows.only(hold_out)} if hold_out else {}
    for number, fakes in enumerate(test_sets, 1):
        measured[f"test set {number}"] = load_windows([fakes], Path(out) / "cache", workers)
    return write_weights(trainer, measured, card, Path(out))


def learn(trainer: MotionTrainer, training: MotionWindows, checkpoint: Path) -> None:
    """Train to the end of the schedule from the checkpoint, if there is one, and leave one."""
    try:
        batches = BatchMaker(training, trainer.settings["batch"], trainer.settings["seed"])
        if checkpoint.exists():
            trainer.load(checkpoint)
        else:
            trainer.begin_with(training)
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


def describe(trainer: MotionTrainer, windows: MotionWindows, training: MotionWindows) -> dict:
    """The card of the weights, but for figures and checksum."""
    used = [example for example in training.examples if example.right.any()]
    return {
        "network": "linear map of the signature of 12x12 displacements (pixels of the 192 px "
                   "person square) plus a small convolutional network; vectors of frame pairs, "
                   "joined, are compared by the cosine",
        "parameters": sum(p.numel() for p in trainer.average.net.parameters()),
        "data": {"clips": len({example.group for example in used}),
                 "frames": sum(len(source.total) for source in training.sources.values()),
                 "fakes with their true place": len(used),
                 "fakes held out": len(windows.examples) - len(training.examples),
                 "examples": "made by models/training/motion_windows.py, DIS flow"},
        "recipe": trainer.settings | {
            "steps": trainer.step, "spans judged": list(SPANS),
            "loss": "InfoNCE and the logistic loss of SigLIP", "edits": "motion_batches.py",
            "chosen": "pull and steps of the shipped weights on the clips held out from them; "
                      "test sets took no part",
            "optimiser": "Adam with L2-SP, clip 1.0, cosine to 0, weights averaged; begins with "
                         "the signature's principal components"},
        "seconds": round(trainer.seconds), "hardware": hardware(torch.device("cpu")),
        "torch": torch.__version__}


def write_weights(trainer: MotionTrainer, measured: dict[str, MotionWindows], card: dict,
                  out: Path) -> Path:
    """Write the weights; compare them, as written, with the signature."""
    path = out / "motion_embedder.pt"
    path.with_suffix(".json").unlink(missing_ok=True)  # that of weights before these
    save_tensors(path, trainer.shippable())
    net, start = load_net(path), MotionNet(trainer.settings["dimensions"])
    start.load_state_dict(trainer.start)
    unit = ("AUROC of each fake's best right hypothesis against its best one of another source; "
            "shares in per cent; 95 % intervals bootstrapped over fakes; signature: "
            "utils/matching.py, needs no training; principal components: this network before it "
            "was trained; sum: mean of signature and network. Hypotheses judged are those that the "
            "signature found, as in step 5")
    figures = {}
    for name, windows in measured.items():
        figures[name] = compare(windows, net, start.requires_grad_(False))
        log(out, measured=name, figures=figures[name])
    write_json(path.with_suffix(".json"),
               card | {"metrics": {"unit": unit} | figures, "sha256": sha256_of(path)})
    return path


COSTS = """
Data: fakes as benchmarks/make_fakes.py makes them, of ten clips or more. WORK is the folder in
which steps 1 to 4 kept their folders under the default names, TRUTH the table, VIDEOS the folder
of the sources. The motion index of step 5 is used, or made, in WORK/step5_flow_trace/motion.
Time on one CPU core: 3 to 8 s per fake to search its places, once; 0.1 to 0.2 s per step, 4
minutes in all; 0.5 s per fake to measure.
Memory: 1 GB, 3 MB per fake (half of it on disk, in OUT/cache, which may be deleted), and 0.3 MB
per frame of the fake that is being searched.
Out: motion_embedder.pt (fp16), motion_embedder.json (its card), log.jsonl, checkpoint.pt, cache/.
Stop it at any moment; continue with the same command and --resume. Another --steps with --resume
leads the learning rate from where it is to 0 at that step.
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
    for name, default, text in (
            ("steps", 1500, "length of the schedule"), ("batch", 12, "queries per step"),
            ("dimensions", 64, "of the vector of a frame pair"),
            ("lr", 1e-3, "highest learning rate"),
            ("pull", 5.0, "back to the first weights, per step in units of the learning rate"),
            ("seed", 0, "of weights and batches"),
            ("workers", 1, "fakes searched at a time; 0: one per core")):
        add(f"--{name}", type=type(default), default=default, help=f"{text} (default: %(default)s)")
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
