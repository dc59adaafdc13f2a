"""The scene embedder in training: batches, loss, one step of the optimiser, checkpoints.

The head is trained first, on features that are computed once; then the last blocks with it.
Loss: normalised temperature-scaled cross entropy (NT-Xent; Chen et al., SimCLR, ICML 2020),
two views of each scene against the other scenes of the batch. Batch normalisation keeps the
statistics of ImageNet. The first blocks are not trained. A network from random weights
(`scene_scratch.py`) has no such blocks: all of it is trained at once.
"""

import copy
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from models.scene import LiteNet
from models.training.raft_trainer import Schedule, save_tensors
from models.training.scene_scratch import ScratchNet
from models.training.scene_views import Views
from utils.files import InputError

CHUNK = 64  # views at a time outside of training


class PairSampler:
    """Two views of each of `batch` scenes, no two scenes of one file; from seed and step alone."""

    def __init__(self, views: Views, batch: int, seed: int):
        self.seed = seed
        self.by_origin: dict[str, dict[str, list[int]]] = {}
        for number, (origin, scene) in enumerate(zip(views.origins, views.scenes, strict=True)):
            self.by_origin.setdefault(origin, {}).setdefault(scene, []).append(number)
        self.batch = min(batch, len(self.by_origin))

    def __getitem__(self, step: int) -> np.ndarray:
        """[2, batch] view numbers, a column per scene."""
        rng = np.random.default_rng([self.seed, step])
        origins = list(self.by_origin.values())
        columns = []
        for chosen in rng.choice(len(origins), self.batch, replace=False):
            scenes = list(origins[chosen].values())
            columns.append(rng.choice(scenes[rng.integers(len(scenes))], 2, replace=False))
        return np.array(columns).T


def pair_loss(embeddings: Tensor, temperature: float) -> Tensor:
    """NT-Xent of unit vectors [2, B, D]: each view should find the other one of its scene."""
    both = embeddings.flatten(0, 1)
    similarity = both @ both.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool,
                                                    device=both.device), -torch.inf)
    other = torch.arange(len(both), device=both.device).roll(len(both) // 2)
    return cross_entropy(similarity, other)


def late_features(net: LiteNet | ScratchNet, views: Views) -> Tensor:
    """What comes out of the remaining blocks for every view, [V, ...] on the CPU."""
    device = next(net.parameters()).device
    with torch.no_grad():
        return torch.cat([net.late(*views.inputs(slice(start, start + CHUNK), device)).cpu()
                          for start in range(0, len(views.scenes), CHUNK)])


class SceneTrainer:
    """Network, its running average, optimiser and schedule: what a checkpoint holds.

    start: network to begin with, left as it is. scale: mean and deviation of the features, which
    the head sees scaled by them. With tune=False only the head learns, on the features.
    """

    def __init__(self, start: LiteNet | ScratchNet, scale: tuple[Tensor, Tensor], settings: dict,
                 schedule: Schedule, tune: bool):
        self.net, self.average = (copy.deepcopy(start).eval().requires_grad_(False)
                                  for _ in range(2))
        self.scale, self.settings, self.schedule, self.tune = scale, settings, schedule, tune
        self.learning = [*self.net.head.parameters(), *(late_parameters(self.net) if tune else ())]
        for parameter in self.learning:
            parameter.requires_grad_()
        self.optimiser = torch.optim.AdamW(self.learning, lr=0.0, weight_decay=settings["decay"])
        self.step, self.seconds = 0, 0.0

    def embeddings(self, views: Views) -> Tensor:
        """Unit vectors [V, D] of the averaged network."""
        features = late_features(self.average, views).to(self.scale[0].device)
        with torch.no_grad():
            return self._headed(self.average, features).cpu()

    def _headed(self, net: LiteNet | ScratchNet, features: Tensor) -> Tensor:
        mean, deviation = self.scale
        return normalize(net.head((features - mean) / deviation), dim=1)

    def train_step(self, *inputs: Tensor) -> float:
        """One step on 2 B views, the first B of the same scenes as the others; the loss.

        inputs: features [2 B, head_features], or with tune=True map, statistics and alpha.
        """
        started = time.monotonic()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.lr(self.step)
        features = self.net.late(*inputs) if self.tune else inputs[0]
        embeddings = self._headed(self.net, features)
        loss = pair_loss(embeddings.unflatten(0, (2, -1)), self.settings["temperature"])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimiser.step()
        self.step += 1
        share = 1 - min(0.99, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                if now.requires_grad:
                    mean.lerp_(now, share)
        self.seconds += time.monotonic() - started
        return loss.item()

    def save(self, file: Path) -> None:
        """Write a checkpoint."""
        save_tensors(file, {
            "net": self.net.state_dict(), "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(), "scale": list(self.scale),
            "schedule": asdict(self.schedule), "settings": self.settings, "tune": self.tune,
            "step": self.step, "seconds": self.seconds})

    def load(self, file: Path) -> None:
        """Continue from a checkpoint. Raises InputError when it is one of another run."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        if (state["settings"], state["tune"]) != (self.settings, self.tune):
            raise InputError(f"{file}: was made with {state['settings']}, not {self.settings}; "
                             "give the same options, or choose another --out")
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scale = tuple(state["scale"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.schedule = Schedule(**state["schedule"]).end_at(self.schedule.steps, self.step)


def late_parameters(net: LiteNet | ScratchNet) -> list[nn.Parameter]:
    """Weights of the blocks that may be trained."""
    if isinstance(net, ScratchNet):
        return list(net.blocks.parameters())
    return list(net.trunk._blocks[net.early_blocks:].parameters())


def shippable(trainer: SceneTrainer) -> dict[str, Tensor]:
    """What was trained, fp16; the features' scale goes into the head."""
    mean, deviation = trainer.scale
    net = trainer.average
    weight = net.head.weight.detach() / deviation
    state = {"head.weight": weight, "head.bias": net.head.bias.detach() - weight @ mean}
    if trainer.tune:
        blocks, first = (("blocks.", 0) if isinstance(net, ScratchNet)
                         else ("trunk._blocks.", net.early_blocks))
        state |= {name: value for name, value in net.state_dict().items()
                  if name.startswith(blocks)
                  and int(name.removeprefix(blocks).split(".")[0]) >= first}
    return {name: value.half().clone() if value.is_floating_point() else value
            for name, value in state.items()}
