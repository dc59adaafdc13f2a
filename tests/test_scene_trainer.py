"""The scene embedder's trainer: loss by hand, learning, and going on from a checkpoint."""

import numpy as np
import pytest
import torch

from models.scene import LiteNet
from models.training.raft_trainer import Schedule
from models.training.scene_scratch import ScratchNet
from models.training.scene_trainer import SceneTrainer, pair_loss
from utils.files import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

STAGES = ("head", "tuned", "scratch")
SETTINGS = {"batch": 4, "seed": 3, "temperature": 0.05, "decay": 0.01, "lr": 2e-3}


def test_loss_by_hand():
    apart = torch.eye(2).expand(2, 2, 2)  # two views of two scenes, each pair alike
    expected = np.log(np.exp(2.0) + 2) - 2  # one at cosine 1, two at 0; temperature 0.5
    assert float(pair_loss(apart, 0.5)) == pytest.approx(expected)
    assert float(pair_loss(apart[:, :1].expand(2, 2, 2), 0.5)) == pytest.approx(np.log(3))


def trainer(stage: str, steps: int = 30) -> SceneTrainer:
    torch.manual_seed(0)
    net = ScratchNet(8) if stage == "scratch" else LiteNet(8)
    scale = torch.zeros(net.head_features), torch.ones(net.head_features)
    return SceneTrainer(net, scale, SETTINGS, Schedule(steps, 2e-3, 2, 2e-3), stage != "head")


def inputs(stage: str, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Eight views of four scenes."""
    random = torch.Generator().manual_seed(seed)
    if stage == "head":
        return (torch.randn(4, LiteNet.head_features, generator=random).repeat(2, 1)
                + torch.randn(8, LiteNet.head_features, generator=random),)
    if stage == "scratch":
        scenes = torch.randn(4, 3, 64, 64, generator=random).repeat(2, 1, 1, 1)
        views = scenes + torch.randn(8, 3, 64, 64, generator=random)
        return views, torch.empty(8, 0), torch.ones(8, 1, 14, 14)
    return (torch.rand(8, 80, 14, 14, generator=random), torch.rand(8, 288, generator=random),
            torch.ones(8, 1, 14, 14))


@pytest.mark.parametrize("stage", STAGES)
def test_loss_falls_on_a_batch_seen_again(stage):
    learner = trainer(stage)
    before = {name: value.clone() for name, value in learner.net.state_dict().items()}
    losses = [learner.train_step(*inputs(stage)) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]
    changed = {name for name, value in learner.net.state_dict().items()
               if not torch.equal(value, before[name])}
    assert {"head.weight", "head.bias"} <= changed
    assert ("trunk._blocks.8._project_conv.weight" in changed) == (stage == "tuned")
    assert not any("running" in name or "_blocks.7." in name for name in changed)
    assert (changed == set(before)) == (stage == "scratch")


@pytest.mark.parametrize("stage", STAGES)
def test_checkpoint_resumes_to_the_same_numbers(stage, tmp_path):
    batches = [inputs(stage, seed) for seed in range(4)]
    straight, stopped, resumed = trainer(stage), trainer(stage), trainer(stage)
    expected = [straight.train_step(*batch) for batch in batches]
    for batch in batches[:2]:
        stopped.train_step(*batch)
    stopped.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.step == 2
    assert [resumed.train_step(*b) for b in batches[2:]] == pytest.approx(expected[2:], rel=1e-5)
    assert torch.allclose(straight.average.head.weight, resumed.average.head.weight, atol=1e-6)
    with pytest.raises(InputError, match="checkpoint.pt: was made with"):
        trainer("tuned" if stage == "head" else "head").load(tmp_path / "checkpoint.pt")


def test_network_from_scratch_is_small():
    assert sum(weight.numel() for weight in ScratchNet(256).parameters()) < 1e6
