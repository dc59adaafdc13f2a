"""Optical flow: known displacements, shapes, and weights that say what is wrong with them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.fetch import ModelFileError
from models.flow import RAFT_BATCH, DisFlow, RaftFlow, make_flow
from models.scene import SceneEmbedder
from models.segmenter import DeepLabSegmenter
from models.torchvision_compat import torchvision
from utils.files import write_json

ROOT = Path(__file__).parents[1]


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return ((smooth - smooth.min()) * (255 / np.ptp(smooth))).astype(np.uint8)


def pair(dx: int, dy: int, size: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and the same one moved by (dx, dy) pixels: [1, H, W, 3] each."""
    image = texture(size + 40, size + 40)
    moved = image[20 - dy:20 - dy + size, 20 - dx:20 - dx + size]
    return image[None, 20:20 + size, 20:20 + size].copy(), moved[None].copy()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A state dict of raft_small with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(torchvision.models.optical_flow.raft_small(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def raft(weights):
    return RaftFlow(weights, updates=2)


@pytest.mark.parametrize("dx, dy", [(0, 0), (3, -2), (-5, 4)])
def test_dis_sees_a_known_motion(dx, dy):
    flow = DisFlow().flow(*pair(dx, dy))
    assert flow.shape == (1, 160, 160, 2) and flow.dtype == np.float32
    assert np.allclose(np.median(flow[0, 16:-16, 16:-16], axis=(0, 1)), (dx, dy), atol=0.2)


def test_dis_takes_pairs_one_by_one():
    a, b = (np.concatenate(frames) for frames in zip(pair(3, -2), pair(-5, 4)))
    flow, estimator = DisFlow().flow(a, b), DisFlow()
    assert np.array_equal(flow[1], estimator.flow(a[1:], b[1:])[0])
    assert DisFlow().flow(a[:0], b[:0]).shape == (0, 160, 160, 2)


@pytest.mark.parametrize("height, width", [(128, 128), (130, 141), (40, 200)])
def test_raft_gives_a_displacement_for_every_pixel(raft, height, width):
    frames = np.stack([texture(height, width, seed) for seed in range(3)])
    flow = raft.flow(frames[:-1], frames[1:])
    assert flow.shape == (2, height, width, 2) and flow.dtype == np.float32
    assert np.isfinite(flow).all()


def test_raft_batches_do_not_change_the_result(raft):
    frames = np.stack([texture(32, 32, seed) for seed in range(RAFT_BATCH["cpu"] + 2)])
    flow = raft.flow(frames[:-1], frames[1:])
    assert flow.shape == (RAFT_BATCH["cpu"] + 1, 32, 32, 2)
    last = raft.flow(frames[-2:-1], frames[-1:])
    assert np.allclose(flow[-1], last[0], atol=0.05 * np.abs(flow[-1]).max() + 0.05)
    assert raft.flow(frames[:0], frames[:0]).shape == (0, 32, 32, 2)


def test_raft_is_what_torchvision_makes_of_the_same_weights(raft, weights):
    net = torchvision.models.optical_flow.raft_small(weights=None).eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    frames = np.stack([texture(128, 136, seed) for seed in range(3)])
    rgb = torch.from_numpy(frames[..., ::-1].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = net(rgb[:-1], rgb[1:], num_flow_updates=2)[-1].float()
    expected = expected.permute(0, 2, 3, 1).numpy()
    assert np.ptp(expected) > 1
    assert np.allclose(raft.flow(frames[:-1], frames[1:]), expected, atol=0.05)


@pytest.mark.parametrize("name", ["dis", "raft"])
def test_flow_along_frames_is_that_of_its_pairs(raft, name):
    estimator = raft if name == "raft" else DisFlow()
    frames = np.stack([texture(128, 128, seed) for seed in range(RAFT_BATCH["cpu"] + 3)])
    expected = estimator.flow(frames[:-1], frames[1:])
    assert np.allclose(estimator.along(frames), expected, atol=0.05 * np.abs(expected).max())
    assert estimator.along(frames[:1]).shape == (0, 128, 128, 2)


def test_threads_do_not_mix_up_each_others_pairs(weights):
    stacks = [np.stack([texture(128, 128, 10 * one + seed) for seed in range(4)])
              for one in range(4)]
    alone = [RaftFlow(weights, updates=2).along(stack) for stack in stacks]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda stack: RaftFlow(weights, updates=2).along(stack), stacks))
    assert not np.allclose(alone[0], alone[1], atol=0.5)
    assert all(np.allclose(one, other, atol=0.05) for one, other in zip(alone, together))


def test_raft_sees_colours_as_rgb(weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    inputs = [name for name, value in state.items() if value.ndim == 4 and value.shape[1] == 3]
    for name in inputs:
        state[name][:, 0] = 0  # blind to the first channel, red
    torch.save(state, tmp_path / "blind.pth")
    net, (first, second) = RaftFlow(tmp_path / "blind.pth", updates=2), pair(3, -2, 128)
    changed = [second.copy(), second.copy()]
    changed[0][..., 2] //= 2  # red in BGR
    changed[1][..., 0] //= 2
    flow = net.flow(first, second)
    assert len(inputs) == 2  # of the feature and the context encoder
    assert np.array_equal(net.flow(first, changed[0]), flow)
    assert not np.allclose(net.flow(first, changed[1]), flow)


def test_raft_identity_follows_the_weights(raft, weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    name = next(iter(state))
    torch.save({**state, name: state[name] + 1}, tmp_path / "other.pth")
    assert RaftFlow(tmp_path / "other.pth", updates=2).identity != raft.identity
    assert RaftFlow(weights, updates=2).identity == raft.identity


def test_half_precision_weights_are_taken(raft, weights, tmp_path):
    state = torch.load(weights, weights_only=True)
    torch.save({name: value.half() if value.is_floating_point() else value
                for name, value in state.items()}, tmp_path / "half.pth")
    frames = pair(2, 1, 128)
    assert np.allclose(RaftFlow(tmp_path / "half.pth", updates=2).flow(*frames),
                       raft.flow(*frames), atol=0.5)


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_unusable_weights_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "raft.pth").write_bytes(content)
    with pytest.raises(ModelFileError, match="raft.pth"):
        make_flow("raft", tmp_path / "raft.pth")


def test_weights_of_another_network_are_named(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ModelFileError, match="other.pth"):
        make_flow("raft", tmp_path / "other.pth")


def test_shipped_weights_follow_a_moving_picture():
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (140, 140, 3)).astype(np.float32), (0, 0), 2)
    picture = np.clip(128 + 5 * (picture - 128), 0, 255).astype(np.uint8)
    for dx, dy in ((3, 0), (0, -2)):
        first, second = picture[6:134, 6:134], picture[6 - dy:134 - dy, 6 - dx:134 - dx]
        flow = make_flow("raft").flow(first[None], second[None])[0, 16:-16, 16:-16]
        error = np.linalg.norm(flow - (dx, dy), axis=-1).mean()
        assert error < 0.7 * np.hypot(dx, dy)  # that of "nothing moves"


def test_exchanged_weights_are_noticed(weights, tmp_path):
    (tmp_path / "raft.pt").write_bytes(weights.read_bytes())
    write_json(tmp_path / "raft.json", {"sha256": "0" * 64})
    with pytest.raises(ModelFileError, match="damaged or exchanged"):
        RaftFlow(tmp_path / "raft.pt")


@dataclass
class Trap:
    """What makes a folder when it is unpickled."""

    folder: str

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("load", [RaftFlow, SceneEmbedder, DeepLabSegmenter])
def test_weights_cannot_run_code(tmp_path, load):
    torch.save({"layer": Trap(str(tmp_path / "made"))}, tmp_path / "trap.pth")
    with pytest.raises(ModelFileError, match="trap.pth"):
        load(tmp_path / "trap.pth")
    assert not (tmp_path / "made").exists()


def test_names_of_estimators(weights):
    assert isinstance(make_flow("dis"), DisFlow)
    assert isinstance(make_flow("raft", weights), RaftFlow)
    assert isinstance(make_flow("raft"), RaftFlow)  # the shipped weights
    with pytest.raises(ValueError, match="farneback"):
        make_flow("farneback")


def test_torchvision_imports_beside_any_torch():
    code = ("from models.torchvision_compat import torchvision; import torch; "
            "print(torch.ops.torchvision.nms.default._schema)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    assert "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" in done.stdout
