"""Optical flow behind one small interface: two stacks of frames in, displacements out.

`raft`: RAFT (Teed and Deng 2020), torchvision's small variant. `dis`: Dense Inverse Search
(Kroeger et al. 2016), OpenCV's, which needs no training.
"""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from models.fetch import ModelFileError, checked_sha256
from utils.threads import THREADS, made_once, on_threads

if TYPE_CHECKING:
    from torch import Tensor, nn

RAFT_PORTRAIT = Path(__file__).parent / "weights" / "raft_portrait.pt"
RAFT_UPDATES = 5
RAFT_BATCH = {"cpu": 16, "cuda": 64}  # pairs at a time
RAFT_CELL = 8  # pixels per side that share one displacement until the end; sides are multiples
RAFT_SMALLEST = 128  # pixels, and no smaller than this
DIS_SMALLEST = 16  # pixels; OpenCV's DIS cannot look at smaller pictures


class FlowEstimator(Protocol):
    """Anything that estimates optical flow."""

    identity: str  # name and checksum of the weights, kept in the settings of what it makes

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Displacement of every pixel of `first` to where it is in `second`.

        first, second: [N, H, W, 3] uint8 BGR. Returns [N, H, W, 2] float32, (dx, dy) in pixels.
        """

    def along(self, frames: np.ndarray) -> np.ndarray:
        """flow() of every frame but the last to the next, [N, H, W, 3] -> [N - 1, H, W, 2]; what is
        found in single frames is found once."""


def make_dis() -> cv2.DISOpticalFlow:
    """OpenCV's Dense Inverse Search, its medium preset with fewer steps and smoother.

    Chosen on generated pairs of training pictures. models/training/train_raft.py tells what it
    finds on held-out ones, beside the preset: motion signature 0.619 against 0.611, of calm pairs
    0.390 against 0.381, end-point error 0.69 against 0.75 px.
    """
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setGradientDescentIterations(5)  # 25 follow the noise of a coarse copy
    dis.setPatchStride(4)
    dis.setVariationalRefinementAlpha(60.0)
    return dis


class DisFlow:
    """Dense Inverse Search. One instance serves one thread, and works on THREADS of its own."""

    def __init__(self):
        self._each = [make_dis() for _ in range(THREADS)]
        self.identity = f"dis medium, 5 steps, stride 4, alpha 60, OpenCV {cv2.__version__}"

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] uint8 BGR, twice -> [N, H, W, 2] float32 pixels; 0 in tiny pictures."""
        return self._flow(_greys(first), _greys(second))

    def along(self, frames: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] uint8 BGR -> [N - 1, H, W, 2] float32 pixels, from frame to frame."""
        greys = _greys(frames)
        return self._flow(greys[:-1], greys[1:])

    def _flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        flows = np.zeros((*first.shape, 2), np.float32)
        if min(first.shape[1:]) < DIS_SMALLEST:
            return flows

        def run(dis: cv2.DISOpticalFlow, pairs: np.ndarray) -> None:
            for pair in pairs:
                flows[pair] = dis.calc(first[pair], second[pair], None)

        on_threads(run, self._each, np.array_split(np.arange(len(flows)), THREADS))
        return flows


def _greys(frames: np.ndarray) -> np.ndarray:
    """[N, H, W, 3] uint8 BGR -> [N, H, W] uint8."""
    greys = np.empty(frames.shape[:3], np.uint8)
    for frame, grey in zip(frames, greys):
        cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY, dst=grey)
    return greys


class RaftFlow:
    """torchvision's raft_small. Its weights are there once, whatever the number of instances.

    weights: a file with a state dict, or "torchvision" for the weights that torchvision
    publishes (needs a connection once). Raises ModelFileError when they cannot be loaded, or are
    not those that a card beside them names.
    """

    def __init__(self, weights: Path | str, device: str = "cpu", updates: int = RAFT_UPDATES):
        import torch

        content = "torchvision" if str(weights) == "torchvision" else checked_sha256(Path(weights))
        self._torch, self._device, self._updates = torch, torch.device(device), updates
        self._net = _raft_small(str(weights), content, device)
        self.identity = f"raft_small {content[:16]}, {updates} updates"

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] uint8 BGR, twice -> [N, H, W, 2] float32 pixels."""
        return self._in_batches(first, lambda part: self._batch(
            np.concatenate([first[part], second[part]]), len(first[part])))

    def along(self, frames: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] uint8 BGR -> [N - 1, H, W, 2] float32 pixels, from frame to frame."""
        return self._in_batches(frames[:-1], lambda part: self._batch(
            frames[part.start:part.stop + 1], 1))

    def _in_batches(self, first: np.ndarray,
                    work: Callable[[slice], np.ndarray]) -> np.ndarray:
        """What `work` gives for parts of `first`, as one stack."""
        count = RAFT_BATCH[self._device.type]
        parts = [work(slice(start, start + count)) for start in range(0, len(first), count)]
        return np.concatenate([np.empty((0, *first.shape[1:3], 2), np.float32), *parts])

    def _batch(self, frames: np.ndarray, step: int) -> np.ndarray:
        """Flow of every frame [N, H, W, 3] that has one `step` frames later, to that one."""
        torch, net, pairs = self._torch, self._net, len(frames) - step
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
            pictures = self._tensor(frames)
            maps = net.feature_encoder(pictures)
            likeness = copy(net.corr_block)  # it keeps the maps, and other threads have theirs
            likeness.build_pyramid(maps[:pairs], maps[step:])
            context = net.context_encoder(pictures[:pairs])
            kept = net.update_block.hidden_state_size
            state, context = context[:, :kept].tanh(), context[:, kept:].relu()
            places = begun = self._places(maps[:pairs])
            for _ in range(self._updates):
                state, moved = net.update_block(
                    state, context, likeness.index_pyramid(centroids_coords=places), places - begun)
                places = places + moved
            flow = RAFT_CELL * torch.nn.functional.interpolate(
                places - begun, scale_factor=RAFT_CELL, mode="bilinear", align_corners=True)
        flow = flow[..., :frames.shape[1], :frames.shape[2]]  # unpad
        return flow.permute(0, 2, 3, 1).float().cpu().numpy()  # CxHxW -> HxWxC

    def _places(self, maps: "Tensor") -> "Tensor":
        """x and y of every cell of [N, C, H, W] maps, [N, 2, H, W] float32."""
        torch = self._torch
        sides = [torch.arange(side, dtype=torch.float32, device=maps.device)
                 for side in maps.shape[:1:-1]]  # W, H
        return torch.stack(torch.meshgrid(*sides, indexing="xy")).expand(len(maps), -1, -1, -1)

    def _tensor(self, frames: np.ndarray) -> "Tensor":
        """[N, H, W, 3] uint8 BGR -> [N, 3, H', W'] float in [-1, 1], RGB, padded by its edge."""
        torch = self._torch
        rgb = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).to(self._device)
        rgb = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1  # HxWxC -> CxHxW
        pad = [max(RAFT_SMALLEST - side, -side % RAFT_CELL) for side in rgb.shape[-2:]]
        return torch.nn.functional.pad(rgb, (0, pad[1], 0, pad[0]), mode="replicate").contiguous(
            memory_format=torch.channels_last)


@made_once
def _raft_small(weights: str, _content: str, device: str) -> "nn.Module":
    """The network with the weights of a file. Raises ModelFileError as RaftFlow does."""
    import torch

    from models.state import read_state
    from models.torchvision_compat import torchvision
    raft = torchvision.models.optical_flow
    published = raft.Raft_Small_Weights.DEFAULT
    try:
        state = (published.get_state_dict(progress=False, check_hash=True)
                 if weights == "torchvision" else read_state(weights))
        net = raft.raft_small(weights=None)
        net.load_state_dict(state)
    except ModelFileError:
        raise
    except Exception as error:  # a file of any kind, or no connection
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{weights}: RAFT weights cannot be loaded ({reason}); give a "
                             "raft_small state dict with --raft-weights") from error
    return net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def make_flow(name: str, raft_weights: Path | str | None = None,
              device: str = "cpu") -> FlowEstimator:
    """Estimator by name, `raft` or `dis`.

    raft_weights: None for those that models/training/train_raft.py made, in models/weights.
    Raises ModelFileError when RAFT's weights are missing or unusable.
    """
    if name == "dis":
        return DisFlow()
    if name == "raft":
        return RaftFlow(raft_weights or RAFT_PORTRAIT, device)
    raise ValueError(f"unknown flow estimator {name!r}; known: raft, dis")
