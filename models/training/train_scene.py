"""Train the scene embedder: EfficientNet-Lite0 with a head that knows copies from other scenes.

Photographs, backdrops made of them, and video frames are seen through independent edits with
different person-shaped holes (`scene_pairs.py`). The first blocks keep ImageNet's weights: every
view passes them once, what comes out is kept on disk, and training works on that. First a
linear head is trained, then, on request, the last blocks with it (`scene_trainer.py`). At the end
both, the network as it is, and rivals that need no training look for the held-out scenes.
`--network scratch` trains a small network from random weights instead (`scene_scratch.py`) and
compares it on the same views.

The batch of step k follows from the seed and k alone: a run that was stopped continues to the
same numbers. Nothing is chosen by the held-out scenes.
"""

import argparse
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from models.fetch import ModelFileError
from models.scene import LiteNet, imagenet_net
from models.training.raft_trainer import Schedule
from models.training.scene_bank import SceneBank, load_banks
from models.training.scene_card import WEIGHTS, describe, write_weights
from models.training.scene_scratch import ScratchNet
from models.training.scene_trainer import PairSampler, SceneTrainer, late_features
from models.training.scene_views import Views, cached_views, joined
from models.training.train_raft import log
from utils.batch import pick_device
from utils.files import InputError
from utils.video import VideoError

TEST_SEED = 20_000_003  # the held-out views are the same for every --seed
TEST_EDITS = 4  # queries per held-out picture
WARM_UP = 20  # steps in which the learning rate rises
LOG_EVERY = 50
SAVE_MINUTES = 2.0
VIEWS_VERSION = 1  # to be raised when scene_pairs.py makes other views


def main(images: Path | None, videos: Path | None, out: Path, *, network: str = "lite0",
         hold_out: Sequence[str] = (), edits: int = 3, dimensions: int = 256,
         head_steps: int = 1500, head_batch: int = 256, head_lr: float = 2e-3, steps: int = 0,
         batch: int = 64, lr: float = 3e-4, write: str = "head", temperature: float = 0.05,
         decay: float = 0.01, seed: int = 0, device: str = "auto", resume: bool = False) -> Path:
    """Train, compare, and return the file of the weights.

    network: "lite0" or "scratch". steps: of the last blocks, 0 for the head alone; of the whole
    network from scratch. write: whose weights are written, those of "head" or "tuned"; both are
    compared.

    Raises InputError for unusable input or when `out` holds another run.
    """
    write = "scratch" if network == "scratch" else write
    if head_steps < 1 or steps < (write != "head"):
        raise InputError("--head-steps must be 1 or more, and so must --steps for --write tuned "
                         "or --network scratch")
    if not resume and any((out / f"{stage}.pt").exists() for stage in ("head", "scratch")):
        raise InputError(f"{out}: holds a run; continue it with --resume, or choose another --out")
    cv2.setNumThreads(1)
    place = torch.device(pick_device(device))
    banks = load_banks(images, videos, hold_out)
    torch.manual_seed(seed)
    untrained = ScratchNet(dimensions) if network == "scratch" else imagenet_net(dimensions)
    untrained = untrained.eval().to(place, memory_format=torch.channels_last)
    views = views_of(banks[0], edits, seed, untrained, out / "cache" / "training")
    shared = {"edits": edits, "dimensions": dimensions, "temperature": temperature,
              "decay": decay, "seed": seed, "hold_out": sorted(hold_out)}
    head = shared | {"steps": head_steps, "batch": head_batch, "lr": head_lr}
    blocks = shared | {"steps": steps, "batch": batch, "lr": lr}
    stages = {"scratch": blocks} if network == "scratch" else {"head": head, "tuned": blocks}
    trainers = train(untrained, views, stages, out)
    test = joined(views_of(banks[1], TEST_EDITS, TEST_SEED, untrained, out / "cache" / "test"),
                  views.chosen(np.flatnonzero(~views.edited)))
    card = describe(banks, views, trainers, network)
    return write_weights(trainers, write, test, card, out / WEIGHTS[network])


def views_of(bank: SceneBank, edits: int, seed: int, net: LiteNet | ScratchNet,
             folder: Path) -> Views:
    """Views of a bank after the first blocks; made again only where something differs."""
    content = zlib.crc32(f"{VIEWS_VERSION} {edits} {seed} {net.side}".encode())
    for picture in bank.pictures:
        content = zlib.crc32(picture.scene.encode(), zlib.crc32(picture.image, content))
    for mask in bank.masks:
        content = zlib.crc32(np.ascontiguousarray(mask), content)
    return cached_views(net, bank, edits, seed, folder, f"{content:08x}")


def train(untrained: LiteNet | ScratchNet, views: Views, stages: dict[str, dict], out: Path
          ) -> dict[str, SceneTrainer]:
    """Stage by stage, the head before the last blocks; each begins with the one before."""
    place = next(untrained.parameters()).device
    features, width = None, untrained.head_features
    scale = torch.zeros(width, device=place), torch.ones(width, device=place)
    if "head" in stages:  # which learns from features that stay as they are
        features = late_features(untrained, views)
        scale = features.mean(0).to(place), features.std(0).clamp_min(1e-3).to(place)
    trainers, start = {}, untrained
    for name, stage in stages.items():
        settings = {key: value for key, value in stage.items() if key != "steps"}
        if steps := stage["steps"]:
            schedule = Schedule(steps, stage["lr"], min(WARM_UP, steps), stage["lr"])
            trainers[name] = SceneTrainer(start, scale, settings, schedule, tune=name != "head")
            learn(trainers[name], views, features, out / f"{name}.pt", out)
            start = trainers[name].average
    return trainers


def learn(trainer: SceneTrainer, views: Views, features: Tensor | None, checkpoint: Path,
          out: Path) -> None:
    """Train to the end of the schedule from the checkpoint, if there is one, and leave one."""
    if checkpoint.exists():
        trainer.load(checkpoint)
    sampler = PairSampler(views, trainer.settings["batch"], trainer.settings["seed"])
    device, losses, saved = trainer.scale[0].device, [], time.monotonic()
    while trainer.step < trainer.schedule.steps:
        chosen = sampler[trainer.step].ravel()
        losses.append(trainer.train_step(*(views.inputs(chosen, device) if trainer.tune
                                           else (features[chosen].to(device),))))
        last = trainer.step == trainer.schedule.steps
        if trainer.step % LOG_EVERY == 0 or last:
            log(out, stage=checkpoint.stem, step=trainer.step, seconds=round(trainer.seconds),
                loss=round(sum(losses) / len(losses), 4))
            losses.clear()
        if last or time.monotonic() - saved > 60 * SAVE_MINUTES:
            trainer.save(checkpoint)
            saved = time.monotonic()


COSTS = """
Data: a folder of photographs (a thousand do) and/or a folder of portrait videos, with their
subfolders. Videos named as in FakeTD are grouped by scene: scene_0000_video_0006.mp4 and
scene_0000_fake_0008.mp4, source_02.mp4 and source_02_fake_04.mp4. Person shapes come from the
videos; without any, a head with shoulders is drawn. Held out are the scenes that --hold-out
names, and in a folder where it names none, every tenth by a hash of its name.
Time on one CPU core: 0.06 s per view of a scene to prepare it (a photograph makes 2 (1 + edits)
views, a video 12 (1 + edits)), 0.03 s per step of the head, 3 s per step of the last blocks at
batch 64. 1,500 photographs and 15 videos: a quarter of an hour for the head, as long again for
300 steps of the last blocks. From scratch: 0.6 s per step at batch 128; 1,500 steps are a
quarter of an hour. A GPU shortens all but the making of the views.
Memory: 1.0 GB, 0.9 MB per photograph, 6 MB per video, and 0.08 MB per view (half of it on disk
as well): 3.3 GB for those 1,500 photographs.
Out: scene_embedder.pt (fp16, about 1 MB), scene_embedder.json (its card), log.jsonl, checkpoints
head.pt and tuned.pt, cache/ (may be deleted at the end); from scratch scene_scratch.pt, its card
and scratch.pt. Stop it at any moment; continue with the same command and --resume.
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=COSTS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=Path, help="folder of photographs")
    add("--videos", type=Path, help="folder of portrait videos")
    add("--out", type=Path, required=True, help="folder for weights, card, log and checkpoints")
    add("--network", choices=tuple(WEIGHTS), default="lite0",
        help="EfficientNet-Lite0, or a small network from random weights with --steps, --batch "
             "and --lr of its own, for comparison alone (default: %(default)s)")
    add("--hold-out", nargs="*", default=[], metavar="NAME",
        help="scenes never trained on, only tested on: names of files without their ending, or "
             "of FakeTD scenes")
    for name, default, text in (
            ("edits", 3, "edited views per picture"), ("dimensions", 256, "of the embedding"),
            ("head-steps", 1500, "steps of the head alone"),
            ("head-batch", 256, "scenes per step of it"), ("head-lr", 2e-3, "its learning rate"),
            ("steps", 0, "steps of the last blocks with the head after that"),
            ("batch", 64, "scenes per step of them"), ("lr", 3e-4, "their learning rate"),
            ("temperature", 0.05, "of the loss"), ("decay", 0.01, "of the weights"),
            ("seed", 0, "of weights and views")):
        add(f"--{name}", type=type(default), default=default, help=f"{text} (default: %(default)s)")
    add("--write", choices=("head", "tuned"), default="head",
        help="whose weights are written with lite0; both are compared (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto",
        help="auto takes a GPU when there is one (default: %(default)s)")
    add("--resume", action="store_true", help="continue the run in --out")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(**vars(_parse()))
    except (InputError, ModelFileError, VideoError) as error:
        sys.exit(str(error))
