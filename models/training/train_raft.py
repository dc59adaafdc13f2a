"""Train RAFT for portraits: torchvision's raft_small, from random weights, on generated pairs.

The network and its sequence loss are those of RAFT (Teed & Deng, ECCV 2020); the pairs come
from `flow_pairs.py`. Two things differ from the paper, because a talking head moves little:
the loss of a pixel is in part divided by its motion, and images are as small as the person
crops that the flow tracing feeds to the network. Training begins with large motions and the
plain loss: from random weights, small motions alone leave it at "nothing moves".

The batch of step k follows from the seed and k alone, and a checkpoint holds weights,
optimiser, schedule and random state: a run that was stopped continues to the same numbers.
"""

import argparse
import json
import math
import platform
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader

from models.fetch import sha256_of
from models.training.flow_pairs import PairStream
from models.training.flow_scores import score, score_rivals
from models.training.image_bank import ImageBank, load_bank
from models.training.raft_trainer import EASING, Schedule, Trainer, estimate, save_tensors
from utils.files import write_json

TEST_SEED = 20_000_003  # the held-out pairs are the same for every --seed


def score_network(
    network: nn.Module, pairs: Sequence, updates: int, bf16: bool
) -> dict[str, float]:
    with torch.inference_mode():
        estimates = torch.cat(
            [estimate(network, images, updates, bf16)[-1].cpu() for images, _, _ in pairs]
        )
    return score(estimates, *(torch.cat(parts) for parts in list(zip(*pairs))[1:]))


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.machine()])[0]}, {torch.get_num_threads()} threads"


def runs_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware, and so worth using."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def evaluate(trainer: Trainer, pairs: Sequence, card: dict, out: Path) -> dict[str, float]:
    """Score the averaged weights; write them (fp16) and their card if none before had a better
    signature, which is what the tracing compares."""
    metrics = score_network(trainer.average, pairs, trainer.settings["updates"], trainer.bf16)
    if 1 - metrics["signature"] < trainer.best:
        trainer.best = 1 - metrics["signature"]
        half = {
            name: value.half().cpu().contiguous()
            for name, value in trainer.average.state_dict().items()
        }
        save_tensors(out / "raft_portrait.pt", half)
        progress = {"step": trainer.step, "steps": trainer.schedule.steps}
        progress |= {"seconds": round(trainer.seconds)}
        progress |= {"sha256": sha256_of(out / "raft_portrait.pt")}
        figures = {"metrics": card["metrics"] | {"raft": metrics}}
        write_json(out / "raft_portrait.json", card | progress | figures)
    return metrics


def log(out: Path, **record: object) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    with open(out / "log.jsonl", "a") as file:
        file.write(line + "\n")


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """SIGTERM and SIGINT are noted in the list instead of ending the process."""
    caught: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda got, _: caught.append(got)) for number in numbers]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def run(
    trainer: Trainer,
    batches: Iterable,
    pairs: Sequence,
    card: dict,
    out: Path,
    stop: Sequence[int],
    *,
    eval_every: int,
    save_minutes: float,
) -> None:
    """Train to the end of the schedule or until `stop` holds something, and leave a checkpoint."""
    losses, clock, saved = [], time.monotonic(), time.monotonic()
    for images, flow, _ in batches:
        losses.append(trainer.train_step(images, flow))
        trainer.seconds += time.monotonic() - clock
        clock = time.monotonic()
        last = bool(stop) or trainer.step == trainer.schedule.steps
        if trainer.step % 100 == 0 or last:
            loss, rate = round(sum(losses) / len(losses), 4), trainer.schedule.lr(trainer.step)
            log(out, step=trainer.step, loss=loss, lr=rate, seconds=round(trainer.seconds))
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
    weights: Path | None = None,
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
    if checkpoint.exists() and not resume:
        raise ValueError(
            f"{checkpoint} exists: continue it with --resume, or choose another --out"
        )
    if resume and not checkpoint.exists():
        raise FileNotFoundError(f"nothing to resume: {checkpoint}")
    cv2.setNumThreads(1)
    banks = [load_bank(images, videos, test=test, hold_out=hold_out) for test in (False, True)]
    place = torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    )
    bf16 = runs_bf16(place) if precision == "auto" else precision == "bf16"
    settings = {"batch": batch, "size": size, "updates": updates, "lr": lr, "seed": seed}
    settings |= {"hold_out": sorted(hold_out), "weights": weights and sha256_of(weights)}
    trainer = Trainer(settings, Schedule(steps, lr, min(300, steps // 10 + 1), lr), place, bf16)
    if resume:
        trainer.load(checkpoint)
    elif weights:
        trainer.begin_with(weights)
    held_out_pairs = PairStream(banks[1], size=size, batch=16, seed=TEST_SEED)
    pairs = [held_out_pairs[index] for index in range(math.ceil(test_pairs / 16))]
    card = _describe(settings, banks, pairs, hardware(place) + (", bf16" if bf16 else ", fp32"))
    out.mkdir(parents=True, exist_ok=True)
    log(out, start=trainer.step, **card)
    if not steps:
        log(out, step=0, raft=evaluate(trainer, pairs, card, out))
    stream = PairStream(banks[0], size=size, batch=batch, seed=seed, easing=trainer.easing)
    batches = _made_ahead(stream, range(trainer.step, trainer.schedule.steps), workers)
    with _signals_noted() as stop:
        run(
            trainer, batches, pairs, card, out, stop,
            eval_every=eval_every, save_minutes=save_minutes,
        )  # fmt: skip
    return out / "raft_portrait.pt"


def _describe(settings: dict, banks: Sequence[ImageBank], pairs: Sequence, machine: str) -> dict:
    """The card of the weights, but for the network's own figures."""
    halves = list(zip(("training", "test"), banks))
    data = {f"{half}_photos": len(bank.photos) for half, bank in halves}
    data |= {f"{half}_video_frames": len(bank.portraits) for half, bank in halves}
    data |= {
        "test_pairs": sum(len(damaged) for *_, damaged in pairs),
        "pairs": "generated by models/training/flow_pairs.py",
    }
    loss = ("RAFT's sequence loss (0.8), L1 weighted by 0.3 + 0.7 / (|flow| + 0.3), plus 1 - "
            "cosine of the signatures")
    settings = settings | {"easing_steps": 0 if settings["weights"] else EASING}
    optimiser = "AdamW, decay 1e-5, clip 1.0, cosine to 0, weights averaged"
    unit = "end-point error in px on held-out pairs; signature: mean cosine, higher is better"
    return {
        "network": "torchvision raft_small; RGB in -1..1; flow in px, first image to second",
        "data": data,
        "recipe": settings | {"loss": loss, "optimiser": optimiser},
        "hardware": machine,
        "torch": torch.__version__,
        "metrics": {"unit": unit} | score_rivals(pairs),
    }


def _made_ahead(stream: PairStream, steps: range, workers: int) -> DataLoader:
    """Batches in order of step, made by other processes while the network trains."""
    ahead = {"prefetch_factor": 8, "worker_init_fn": _quiet_worker} if workers else {}
    return DataLoader(stream, batch_size=None, sampler=steps, num_workers=workers, **ahead)


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(1)
    threadpool_limits(1)  # NumPy's products would take all cores in every worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


COSTS = """
Data: a folder of photographs (jpg, png; a thousand do) and/or a folder of portrait videos,
with their subfolders. Of each, the files named by --hold-out are kept back for testing, or
every tenth by a hash of its name where none is named.
Time: a step takes about 0.3 s on 2 free CPU cores with bf16, 0.45 s without: 14,000 steps in
1.2 to 1.8 hours; on a GPU, minutes.
Memory: 0.3 MB per photograph, 12 MB per video, and 1.5 GB for the network.
Out: raft_portrait.pt (best weights so far, fp16), raft_portrait.json (their card), log.jsonl,
checkpoint.pt. Stop with Ctrl-C or SIGTERM; continue with the same command and --resume.
Another --steps with --resume leads the learning rate from where it is to 0 at that step.
Beside other busy programs set OMP_WAIT_POLICY=PASSIVE, or OMP_NUM_THREADS=1.
"""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog=COSTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, help="folder of photographs")
    add("--videos", type=Path, help="folder of portrait videos")
    add("--out", type=Path, required=True, help="folder for weights, card, log and checkpoint")
    add(
        "--hold-out",
        nargs="*",
        default=[],
        metavar="STEM",
        help="names without extension of files never trained on, only tested on",
    )
    add("--weights", type=Path, help="raft_small state dict to begin with (default: random)")
    add("--steps", type=int, default=14_000,
        help="length of the schedule; 0 scores --weights and no more (default: %(default)s)")
    add("--batch", type=int, default=8, help="pairs per step (default: %(default)s)")
    add(
        "--size",
        type=int,
        default=128,
        help="side of the pairs, px, a multiple of 8, 128 or more (default: %(default)s)",
    )
    add("--updates", type=int, default=5, help="RAFT's updates of the flow (default: %(default)s)")
    add("--lr", type=float, default=4e-4, help="highest learning rate (default: %(default)s)")
    add("--seed", type=int, default=0, help="of weights and pairs (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="auto: bf16 where the hardware has it",
    )
    add(
        "--workers",
        type=int,
        default=1,
        help="processes that make pairs ahead (default: %(default)s)",
    )
    add("--test-pairs", type=int, default=256, help="held-out pairs (default: %(default)s)")
    add(
        "--eval-every",
        type=int,
        default=500,
        metavar="STEPS",
        help="steps between tests (default: %(default)s)",
    )
    add(
        "--save-minutes",
        type=float,
        default=3.0,
        help="minutes between checkpoints (default: %(default)s)",
    )
    add("--resume", action="store_true", help="continue from the checkpoint in --out")
    return parser.parse_args()


if __name__ == "__main__":
    main(**vars(_parse()))
