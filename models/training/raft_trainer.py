"""RAFT in training: network, loss, learning rate, one step of the optimiser, checkpoints.

Network and sequence loss are those of RAFT (Teed & Deng, ECCV 2020), torchvision's small
variant. Because a talking head moves little, the loss of a pixel is in part divided by its
motion: what counts is a relative error. L1 alone would still have the network answer "nothing
moves" where it is in doubt, for the median of small motions is none; so how alike the motion
signatures are counts as well, whatever the size of the motion.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fetch import ModelFileError
from models.state import read_state
from models.torchvision_compat import torchvision
from models.training.flow_scores import STILL, pooled, signature
from utils.files import write_bytes

EASING = 2000  # steps in which motions shrink to their sizes and small ones come to count more


@dataclass
class Schedule:
    """Learning rate by step: a linear rise, then a cosine from `from_lr` at `from_step` to 0."""

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
    """RAFT's correlation in float32 under autocast too: small motions differ little in it."""

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> None:
        with torch.autocast(fmap1.device.type, enabled=False):
            super().build_pyramid(fmap1.float(), fmap2.float())


def build_network(device: torch.device) -> nn.Module:
    """raft_small with random weights; its state dict is torchvision's."""
    network = torchvision.models.optical_flow.raft_small(
        corr_block=Float32Corr(num_levels=4, radius=3)
    )
    return network.to(device, memory_format=torch.channels_last)


def estimate(network: nn.Module, images: Tensor, updates: int, bf16: bool) -> list[Tensor]:
    """Flow after each update, Bx2xSxS px, of images 2xBx3xSxS uint8."""
    device = next(network.parameters()).device
    first, second = (
        image.contiguous(memory_format=torch.channels_last)
        for image in images.to(device) / 127.5 - 1
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return [flow.float() for flow in network(first, second, num_flow_updates=updates)]


def sequence_loss(
    predictions: Sequence[Tensor], flow: Tensor, relative: float = 1.0, decay: float = 0.8
) -> Tensor:
    """L1 error of every update, later ones counting more, with small motions weighted up, and the
    signature's: 1 - cosine, the mean over pairs that move.

    At `relative` 1 a pixel weighs 0.3 + 0.7 / (|flow| + 0.3 px): 2.6 at rest, 0.84 at 1 px,
    0.41 at 6 px, and the signature 1; at 0 every pixel weighs 1, and the signature nothing.
    """
    weight = 0.3 + 0.7 / (torch.hypot(flow[:, :1], flow[:, 1:]) + 0.3)
    weight = 1 + relative * (weight - 1)
    true = signature(pooled(flow))
    moving = true.norm(dim=1) > STILL

    def turned(prediction: Tensor) -> Tensor:
        alike = F.cosine_similarity(signature(pooled(prediction)), true)
        return ((1 - alike) * moving).sum() / moving.sum().clamp_min(1)

    errors = [(weight * (prediction - flow).abs()).mean() + relative * turned(prediction)
              for prediction in predictions]
    return sum(decay ** (len(errors) - 1 - index) * error for index, error in enumerate(errors))


class Trainer:
    """Network, its running average, optimiser and schedule: what a checkpoint holds."""

    def __init__(
        self, settings: dict, schedule: Schedule, device: torch.device, bf16: bool
    ) -> None:
        torch.manual_seed(settings["seed"])
        self.settings, self.schedule, self.bf16 = settings, schedule, bf16
        self.network, self.average = (
            build_network(device),
            build_network(device).requires_grad_(False),
        )
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.0, weight_decay=1e-5)
        self.step, self.seconds, self.best = 0, 0.0, math.inf
        self.easing = 0 if settings["weights"] else EASING

    def train_step(self, images: Tensor, flow: Tensor) -> float:
        """One step of AdamW on images 2xBx3xSxS and flow Bx2xSxS; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(self.step)
        predictions = estimate(self.network, images, self.settings["updates"], self.bf16)
        relative = min(1.0, self.step / self.easing) if self.easing else 1.0
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

    def begin_with(self, file: Path) -> None:
        """Take over the weights of a state dict. Raises ValueError when they do not fit."""
        try:
            state = read_state(file)
            for network in (self.network, self.average):
                network.load_state_dict(state)
        except (ModelFileError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{file}: not a raft_small state dict ({reason})") from error

    def save(self, file: Path) -> None:
        state = {"network": self.network.state_dict(), "average": self.average.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "random": torch.get_rng_state()}
        state |= {"schedule": asdict(self.schedule), "settings": self.settings}
        save_tensors(file, state | {"step": self.step, "seconds": self.seconds, "best": self.best})

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


def save_tensors(file: Path, content: dict) -> None:
    """Write what `torch.load(weights_only=True)` reads, all of it or nothing."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(file, buffer.getvalue())
