"""The motion embedder in training: loss, one step of the optimiser, checkpoints.

Loss: InfoNCE (van den Oord et al. 2018) of each fake window's right place against the other starts
of its stretch, all starts of other clips' stretches, and mined wrong hypotheses; and the logistic
loss of SigLIP (Zhai et al., ICCV 2023) on right places and mined ones, so that scores of different
queries can be compared with one threshold. Instead of decaying to 0, weights are pulled back to
those they began with (L2-SP; Li et al., ICML 2018): there are few persons to learn from.
"""

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from models.motion_embedder import LEAST_LENGTH, MotionNet, load_net, signature
from models.training.motion_batches import REACH, Batch
from models.training.motion_windows import MotionWindows
from models.training.raft_trainer import Schedule, save_tensors

CLIP, MOST_SCALE = 1.0, 40.0


@dataclass(frozen=True)
class Scores:
    """Cosines of a batch's windows."""

    stretches: Tensor  # [B, B, 2 REACH + 1] fake, stretch, start
    mined: Tensor  # [B, MINED]


class Learner(nn.Module):
    """The network, with the scale and threshold of the loss, which are learned as well."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.net = MotionNet(dimensions)
        nn.init.zeros_(self.net.head.weight)  # begins as the linear map alone
        self.scale = nn.Parameter(torch.tensor(2.3))  # logarithm
        self.threshold = nn.Parameter(torch.tensor(0.6))

    def scores(self, batch: Batch) -> Scores:
        """Cosines of all fake windows with all windows they are compared with."""
        fakes, stretches, mined = (
            self.net(part.flatten(0, -4)).unflatten(0, part.shape[:-3])
            for part in (batch.fakes, batch.stretches, batch.mined))
        length = fakes.shape[1]
        windows = stretches.unfold(1, length, 1).transpose(2, 3)  # [B, starts, W, D]
        fakes, windows, mined = (part / _lengths(part) for part in (fakes, windows, mined))
        return Scores(torch.einsum("bwd,cswd->bcs", fakes, windows),
                      torch.einsum("bwd,bmwd->bm", fakes, mined))

    def loss(self, batch: Batch) -> Tensor:
        scores, count = self.scores(batch), len(batch.fakes)
        scale = self.scale.exp().clamp(max=MOST_SCALE)
        own = torch.eye(count, dtype=torch.bool)[..., None]
        counts = torch.where(own, batch.wrong[None], batch.apart[..., None] & batch.inside[None])
        right = scores.stretches.diagonal()[REACH]  # [B]
        logits = torch.cat([
            scale * right[:, None],
            (scale * scores.stretches).masked_fill(~counts, -torch.inf).flatten(1),
            (scale * scores.mined).masked_fill(~batch.is_mined, -torch.inf)], 1)
        choice = cross_entropy(logits, torch.zeros(count, dtype=torch.long))
        misses = softplus(-scale * (right - self.threshold)).mean()
        alarms = softplus(scale * (scores.mined[batch.is_mined] - self.threshold))
        return choice + misses + (alarms.mean() if len(alarms) else 0)


def _lengths(windows: Tensor) -> Tensor:
    """Lengths of windows [..., W, D], with a slope even where nothing moves: [..., 1, 1]."""
    return windows.square().sum((-1, -2), keepdim=True).clamp_min(LEAST_LENGTH**2).sqrt()


class MotionTrainer:
    """Network, its running average, optimiser and schedule: what a checkpoint holds."""

    def __init__(self, settings: dict, schedule: Schedule):
        torch.manual_seed(settings["seed"])
        self.settings, self.schedule = settings, schedule
        self.learner, self.average = (Learner(settings["dimensions"]) for _ in range(2))
        self.average.requires_grad_(False).load_state_dict(self.learner.state_dict())
        self.start = copy.deepcopy(self.learner.net.state_dict())
        self.optimiser = torch.optim.Adam(self.learner.parameters(), lr=0.0)
        self.step, self.seconds = 0, 0.0

    def begin(self, windows: MotionWindows, model_path: Path | None = None) -> None:
        """Begin with the weights of a file, or else with the signature's principal components.

        Raises ModelFileError when the weights do not fit, ValueError when they have another number
        of dimensions.
        """
        if model_path is None:
            self.begin_with(windows)
            return
        net = load_net(model_path)
        if net.head.out_features != self.settings["dimensions"]:
            raise ValueError(f"{model_path} has {net.head.out_features} dimensions; give them as "
                             "--dimensions")
        self.start = net.state_dict()
        for learner in (self.learner, self.average):
            learner.net.load_state_dict(self.start)

    def begin_with(self, windows: MotionWindows) -> None:
        """The linear map that keeps most of the signature: its principal components."""
        stacks = np.concatenate([source.steps[::4] for source in windows.sources.values()])
        vectors = signature(torch.from_numpy(stacks)).flatten(1)
        _, _, components = torch.linalg.svd(vectors, full_matrices=False)
        count = min(len(components), self.settings["dimensions"])
        with torch.no_grad():
            for learner in (self.learner, self.average):
                learner.net.linear.weight[:count] = components[:count]
        self.start = copy.deepcopy(self.learner.net.state_dict())

    def train_step(self, batch: Batch) -> float:
        """One step of Adam, and a pull back towards the start; the loss."""
        started, rate = time.monotonic(), self.schedule.lr(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = self.learner.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), CLIP)
        self.optimiser.step()
        self.step += 1
        share = 1 - min(0.995, self.step / (self.step + 10))
        with torch.no_grad():
            for name, now in self.learner.net.named_parameters():
                now.lerp_(self.start[name], rate * self.settings["pull"])
            for mean, now in zip(self.average.parameters(), self.learner.parameters(),
                                 strict=True):
                mean.lerp_(now, share)
        self.seconds += time.monotonic() - started
        return loss.item()

    def save(self, file: Path) -> None:
        """Write a checkpoint."""
        save_tensors(file, {
            "learner": self.learner.state_dict(), "average": self.average.state_dict(),
            "start": self.start, "optimiser": self.optimiser.state_dict(),
            "schedule": asdict(self.schedule),
            "settings": self.settings, "step": self.step, "seconds": self.seconds})

    def load(self, file: Path) -> None:
        """Continue from a checkpoint. Raises ValueError when it is one of another run."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        if state["settings"] != self.settings:
            raise ValueError(f"{file} was made with {state['settings']}, not {self.settings}")
        self.learner.load_state_dict(state["learner"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.start = state["start"]
        self.step, self.seconds = state["step"], state["seconds"]
        self.schedule = Schedule(**state["schedule"]).end_at(self.schedule.steps, self.step)

    def shippable(self) -> dict[str, Tensor]:
        """The averaged network, fp16."""
        return {name: value.half().contiguous()
                for name, value in self.average.net.state_dict().items()}
