"""Train RAFT for portraits: torchvision's raft_small, from random weights, on generated pairs.

The network and its sequence loss are those of RAFT (Teed & Deng, ECCV 2020); the pairs come
from `flow_pairs.py`. Two things differ from the paper, because a talking head moves little:
the loss of a pixel is divided by its motion in part, and images are as small as the person
crops that the flow tracing feeds to the network.

The batch of step k follows from the seed and k alone, and a checkpoint holds weights,
optimiser, schedule and random state: a run that was stopped continues to the same numbers.
"""

import argparse
import json
import math
import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models.torchvision_compat import torchvision
from models.training.flow_pairs import PairStream, load_bank, score, score_rivals

EASING = 2000  # steps in which motions shrink to their true sizes and small ones come to count more
TEST_SEED = 20_000_003  # the held-out pairs are the same for every --seed


@dataclass
class Schedule:
    """Learning rate by step: a linear rise, then a cosine from `from_lr` at `from_step` down to 0."""

    steps: int
    peak: float
    from_step: int  # the rise ends here, or a shortened or prolonged run began here
    from_lr: float

    def lr(self, step: int) -> float:
        if step < self.from_step:
            return self.peak * (step + 1) / self.from_step
        done = (step - self.from_step) / max(self.steps - self.from_step, 1)
        return 0.5 * self.from_lr * (1 + math.cos(math.pi * min(done, 1.0)))

    def end_at(self, steps: int, now: int) -> "Schedule":
        """The same schedule, led from its rate at step `now` down to 0 at another last step."""
        return self if steps == self.steps else Schedule(steps, self.peak, now, self.lr(now))


class Float32Corr(torchvision.models.optical_flow.raft.CorrBlock):
    """RAFT's correlation, at full precision under autocast too: small motions are small differences in it."""

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> None:
        with torch.autocast(fmap1.device.type, enabled=False):
            super().build_pyramid(fmap1.float(), fmap2.float())


def build_network(device: torch.device) -> nn.Module:
    """raft_small with random weights; its state dict is torchvision's."""
    network = torchvision.models.optical_flow.raft_small(corr_block=Float32Corr(num_levels=4, radius=3))
    return network.to(device, memory_format=torch.channels_last)


def estimate(network: nn.Module, images: Tensor, updates: int, bf16: bool) -> list[Tensor]:
    """Flow after each update, Bx2xSxS px, of images 2xBx3xSxS uint8."""
    device = next(network.parameters()).device
    first, second = (image.contiguous(memory_format=torch.channels_last) for image in images.to(device) / 127.5 - 1)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return [flow.float() for flow in network(first, second, num_flow_updates=updates)]


def sequence_loss(predictions: Sequence[Tensor], flow: Tensor, relative: float = 1.0, decay: float = 0.8) -> Tensor:
    """L1 error of every update, later ones counting more, with small motions weighted up.

    At `relative` 1 a pixel weighs 0.3 + 0.7 / (|flow| + 0.3 px): 2.6 at rest, 0.84 at 1 px,
    0.41 at 6 px; at 0 every pixel weighs 1.
    """
    weight = 0.3 + 0.7 / (torch.hypot(flow[:, :1], flow[:, 1:]) + 0.3)
    weight = 1 + relative * (weight - 1)
    errors = [(weight * (prediction - flow).abs()).mean() for prediction in predictions]
    return sum(decay ** (len(errors) - 1 - index) * error for index, error in enumerate(errors))


def score_network(network: nn.Module, pairs: Sequence, updates: int, bf16: bool) -> dict[str, float]:
    with torch.inference_mode():
        estimates = torch.cat([estimate(network, images, updates, bf16)[-1].cpu() for images, _, _ in pairs])
    return score(estimates, *(torch.cat(parts) for parts in list(zip(*pairs))[1:]))


# ---------------------------------------------------------------- the run


class Trainer:
    """Network, its running average, optimiser and schedule: what a checkpoint holds."""

    def __init__(self, settings: dict, schedule: Schedule, device: torch.device, bf16: bool) -> None:
        torch.manual_seed(settings["seed"])
        self.settings, self.schedule, self.bf16 = settings, schedule, bf16
        self.network, self.average = build_network(device), build_network(device).requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.0, weight_decay=1e-5)
        self.step, self.seconds, self.best = 0, 0.0, math.inf

    def train_step(self, images: Tensor, flow: Tensor) -> float:
        """One step of AdamW on images 2xBx3xSxS and flow Bx2xSxS; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(self.step)
        predictions = estimate(self.network, images, self.settings["updates"], self.bf16)
        relative = min(1.0, self.step / EASING)
        loss = sequence_loss(predictions, flow.to(predictions[0].device), relative)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(0.999, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.network.parameters()):
                mean.lerp_(now, 1 - decay)
        return loss.item()

    def save(self, file: Path) -> None:
        state = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "random": torch.get_rng_state()}
        state |= {"schedule": asdict(self.schedule), "settings": self.settings}
        write_atomically(file, state | {"step": self.step, "seconds": self.seconds, "best": self.best})

    def load(self, file: Path) -> None:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if state["settings"] != self.settings:
            raise ValueError(f"{file} was made with {state['settings']}, not {self.settings}")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        self.schedule = Schedule(**state["schedule"]).end_at(self.schedule.steps, self.step)


def write_atomically(file: Path, content: dict) -> None:
    part = file.with_suffix(".part")
    if file.suffix == ".json":
        part.write_text(json.dumps(content, indent=1) + "\n")
    else:
        torch.save(content, part)
    os.replace(part, file)


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def runs_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware, and so worth using."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def evaluate(trainer: Trainer, pairs: Sequence, card: dict, out: Path) -> dict[str, float]:
    """Score the averaged weights; where they are the best so far, write weights (fp16) and card."""
    metrics = score_network(trainer.average, pairs, trainer.settings["updates"], trainer.bf16)
    if metrics["all"] < trainer.best:
        trainer.best = metrics["all"]
        half = {name: value.half().cpu().contiguous() for name, value in trainer.average.state_dict().items()}
        write_atomically(out / "raft_portrait.pt", half)
        progress = {"step": trainer.step, "steps": trainer.schedule.steps, "seconds": round(trainer.seconds)}
        write_atomically(out / "raft_portrait.json", card | progress | {"metrics": {"raft": metrics} | card["metrics"]})
    return metrics


def log(out: Path, **record: object) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    with open(out / "log.jsonl", "a") as file:
        file.write(line + "\n")


def run(trainer: Trainer, batches: Iterator, pairs: Sequence, card: dict, out: Path, *, eval_every: int, save_minutes: float) -> None:
    """Train to the end of the schedule, or until SIGTERM or Ctrl-C, leaving a checkpoint either way."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: stop.append(got))
    losses, clock, saved = [], time.monotonic(), time.monotonic()
    for images, flow, _ in batches:
        losses.append(trainer.train_step(images, flow))
        trainer.seconds += time.monotonic() - clock
        clock = time.monotonic()
        last = bool(stop) or trainer.step == trainer.schedule.steps
        if trainer.step % 100 == 0 or last:
            log(out, step=trainer.step, loss=round(float(np.mean(losses)), 4), lr=trainer.schedule.lr(trainer.step), seconds=round(trainer.seconds))
            losses.clear()
        if trainer.step % eval_every == 0 or trainer.step == trainer.schedule.steps:
            log(out, step=trainer.step, raft=evaluate(trainer, pairs, card, out))
            clock = time.monotonic()
        if last or clock - saved > 60 * save_minutes:
            trainer.save(out / "checkpoint.pt")
            saved = time.monotonic()
        if last:
            break


def main(
    images: Path | None,
    videos: Path | None,
    out: Path,
    *,
    hold_out: Sequence[str] = (),
    steps: int = 14_000,
    batch: int = 8,
    size: int = 128,
    updates: int = 5,
    lr: float = 4e-4,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 1,
    test_pairs: int = 256,
    eval_every: int = 500,
    save_minutes: float = 3.0,
    resume: bool = False,
) -> Path:
    """Train, and return the file of the best weights."""
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() != resume:
        raise ValueError(f"{checkpoint} {'exists: continue it with --resume' if not resume else 'does not exist: nothing to resume'}")
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    bf16 = runs_bf16(place) if precision == "auto" else precision == "bf16"
    banks = [load_bank(images, videos, test=test, hold_out=hold_out) for test in (False, True)]
    settings = {"batch": batch, "size": size, "updates": updates, "lr": lr, "seed": seed, "hold_out": sorted(hold_out)}
    warmup = min(300, steps // 10 + 1)
    trainer = Trainer(settings, Schedule(steps, lr, warmup, lr), place, bf16)
    if resume:
        trainer.load(checkpoint)
    stream = PairStream(banks[1], size=size, batch=16, seed=TEST_SEED)
    pairs = [stream[index] for index in range(math.ceil(test_pairs / 16))]
    counts = {f"{half}_{kind}": len(getattr(bank, kind)) for half, bank in zip(("training", "test"), banks) for kind in ("photos", "portraits")}
    card = {
        "network": "torchvision raft_small, fp16; RGB scaled to -1..1; flow in px, first image to second",
        "data": counts | {"test_pairs": len(pairs) * 16, "pairs": "generated by models/training/flow_pairs.py"},
        "recipe": settings | {"loss": "sequence loss 0.8, L1 weighted by 0.3 + 0.7 / (|flow| + 0.3)", "easing": EASING, "optimiser": "AdamW 1e-5, clip 1.0, cosine, average 0.999"},
        "hardware": hardware(place) + (", bf16" if bf16 else ", fp32"),
        "torch": torch.__version__,
        "metrics": score_rivals(pairs) | {"unit": "end-point error in px on held-out pairs; signature: cosine, higher is better"},
    }
    log(out, start=trainer.step, **card)
    ahead = {"num_workers": workers, "prefetch_factor": 8 if workers else None, "worker_init_fn": _quiet_worker if workers else None}
    batches = DataLoader(PairStream(banks[0], size=size, batch=batch, seed=seed, easing=EASING), batch_size=None, sampler=range(trainer.step, trainer.schedule.steps), **ahead)
    run(trainer, batches, pairs, card, out, eval_every=eval_every, save_minutes=save_minutes)
    return out / "raft_portrait.pt"


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


COSTS = """
Data: a folder of photographs (jpg, png; a thousand do) and/or a folder of portrait videos, searched with
their subfolders. Every tenth file by a hash, or the files named by --hold-out, is kept back for testing.
Time: 14,000 steps at the defaults take about 1.1 h on 2 free CPU cores with bf16, 2 h without, minutes on a GPU.
Memory: 0.3 MB per photograph, 10 MB per video, and 1 GB for the network.
Out: raft_portrait.pt (best weights so far, fp16), raft_portrait.json (its card), log.jsonl, checkpoint.pt.
Stop with Ctrl-C or SIGTERM; continue with the same command and --resume (other --steps bend the schedule).
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog=COSTS, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=Path, help="folder of photographs")
    add("--videos", type=Path, help="folder of portrait videos")
    add("--out", type=Path, required=True, help="folder for weights, card, log and checkpoint")
    add("--hold-out", nargs="*", default=[], metavar="STEM", help="names without extension of files never trained on, only tested on")
    add("--steps", type=int, default=14_000, help="length of the schedule (default: %(default)s)")
    add("--batch", type=int, default=8, help="pairs per step (default: %(default)s)")
    add("--size", type=int, default=128, help="side of the pairs, px, a multiple of 8, 128 or more (default: %(default)s)")
    add("--updates", type=int, default=5, help="RAFT's updates of the flow (default: %(default)s)")
    add("--lr", type=float, default=4e-4, help="highest learning rate (default: %(default)s)")
    add("--seed", type=int, default=0, help="of weights and pairs (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--precision", choices=("auto", "bf16", "fp32"), default="auto", help="auto: bf16 where the hardware has it")
    add("--workers", type=int, default=1, help="processes that make pairs ahead (default: %(default)s)")
    add("--test-pairs", type=int, default=256, help="held-out pairs (default: %(default)s)")
    add("--eval-every", type=int, default=500, metavar="STEPS", help="steps between tests (default: %(default)s)")
    add("--save-minutes", type=float, default=3.0, help="minutes between checkpoints (default: %(default)s)")
    add("--resume", action="store_true", help="continue from the checkpoint in --out")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(_parse()))
