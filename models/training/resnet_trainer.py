"""The ResNet-50 motion embedder in training: loss, one step of the optimiser, checkpoints.

Loss: InfoNCE (van den Oord et al. 2018) both ways: a picture of a fake should find the one of the
frames it was made from among those of the batch, other moments of the same clip among them, by the
cosine of their vectors, whose arccosine is the angle that is compared later.
"""

import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from models.motion_resnet import begin_with, build_resnet, flow_pictures
from models.training.picture_examples import PictureBatch
from models.training.raft_trainer import Schedule, save_tensors
from models.training.train_raft import runs_bf16

TEMPERATURE = 0.1
DECAY = 1e-4  # of the weights
CLIP = 1.0


def pair_loss(fakes: Tensor, sources: Tensor, apart: Tensor) -> Tensor:
    """InfoNCE of unit vectors [B, D]; only pairs that are `apart` [B, B] count as different."""
    logits = fakes @ sources.T / TEMPERATURE
    own = torch.eye(len(fakes), dtype=torch.bool, device=fakes.device)
    logits = logits.masked_fill(~(apart | own), -torch.inf)
    right = torch.arange(len(fakes), device=fakes.device)
    return (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2


class ResNetTrainer:
    """Network, optimiser and schedule: what a checkpoint holds.

    settings: batch, dimensions, lr, seed and others.
    """

    def __init__(self, settings: dict, schedule: Schedule, device: str = "cpu"):
        torch.manual_seed(settings["seed"])
        self.settings, self.schedule, self.device = settings, schedule, torch.device(device)
        self.net = build_resnet(settings["dimensions"]).to(
            self.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=0.0, weight_decay=DECAY)
        self.step, self.seconds = 0, 0.0

    def begin(self, model_path: Path | None) -> None:
        """Begin with the weights of a file, ImageNet's for instance; None: with random ones.

        Raises ModelFileError when they do not fit.
        """
        if model_path is not None:
            begin_with(self.net, model_path)

    def loss(self, batch: PictureBatch) -> Tensor:
        """Loss of a batch; fakes and sources pass the network together."""
        stacks = torch.cat([batch.fakes, batch.sources]).to(self.device)
        pictures = flow_pictures(stacks).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=runs_bf16(self.device)):
            vectors = self.net(pictures)
        fakes, sources = normalize(vectors.float(), dim=1).chunk(2)
        return pair_loss(fakes, sources, batch.apart.to(self.device))

    def train_step(self, batch: PictureBatch) -> float:
        """One step of AdamW; the loss."""
        started = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(self.step)
        self.net.train()
        loss = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - started
        return loss.item()

    def save(self, file: Path) -> None:
        """Write a checkpoint."""
        save_tensors(file, {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                            "schedule": asdict(self.schedule), "settings": self.settings,
                            "step": self.step, "seconds": self.seconds})

    def load(self, file: Path) -> None:
        """Continue from a checkpoint. Raises ValueError when it is one of another run."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        if state["settings"] != self.settings:
            raise ValueError(f"{file} was made with {state['settings']}, not {self.settings}")
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.schedule = Schedule(**state["schedule"]).end_at(self.schedule.steps, self.step)

    def shippable(self) -> dict[str, Tensor]:
        """The network, fp16, on the CPU."""
        return {name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
                for name, value in self.net.state_dict().items()}
