"""Optical flow behind one small interface: two stacks of frames in, displacements out.

`raft`: RAFT (Teed and Deng 2020), torchvision's small variant. `dis`: Dense Inverse Search
(Kroeger et al. 2016), OpenCV's, which needs no training.
"""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from models.fetch import ModelFileError, checked_sha256
from utils.threads import THREADS, on_threads

RAFT_PORTRAIT = Path(__file__).parent / "weights" / "raft_portrait.pt"
RAFT_UPDATES = 5
RAFT_BATCH = {"cpu": 16, "cuda": 64}  # pairs at a time
RAFT_MULTIPLE = 8  # RAFT wants sides that are a multiple of this
RAFT_SMALLEST = 128  # and no smaller than this
DIS_SMALLEST = 16  # pixels; OpenCV's DIS cannot look at smaller pictures


class FlowEstimator(Protocol):
    """Anything that estimates optical flow."""

    identity: str  # name and checksum of the weights, kept in the settings of what it makes

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Displacement of every pixel of `first` to where it is in `second`.

        first, second: [N, H, W, 3] uint8 BGR. Returns [N, H, W, 2] float32, (dx, dy) in pixels.
        """


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
        flows = np.zeros((*first.shape[:3], 2), np.float32)
        if min(first.shape[1:3]) < DIS_SMALLEST:
            return flows

        def run(dis: cv2.DISOpticalFlow, pairs: np.ndarray) -> None:
            for pair in pairs:
                flows[pair] = dis.calc(*(cv2.cvtColor(stack[pair], cv2.COLOR_BGR2GRAY)
                                         for stack in (first, second)), None)

        on_threads(run, self._each, np.array_split(np.arange(len(flows)), THREADS))
        return flows


class RaftFlow:
    """torchvision's raft_small.

    weights: a file with a state dict, or "torchvision" for the weights that torchvision
    publishes (needs a connection once). Raises ModelFileError when they cannot be loaded, or are
    not those that a card beside them names.
    """

    def __init__(self, weights: Path | str, device: str = "cpu", updates: int = RAFT_UPDATES):
        import torch

        from models.state import read_state
        from models.torchvision_compat import torchvision
        raft = torchvision.models.optical_flow
        published = raft.Raft_Small_Weights.DEFAULT
        try:
            content = None if str(weights) == "torchvision" else checked_sha256(Path(weights))
            state = (read_state(weights) if content
                     else published.get_state_dict(progress=False, check_hash=True))
            net = raft.raft_small(weights=None)
            net.load_state_dict(state)
        except ModelFileError:
            raise
        except Exception as error:  # a file of any kind, or no connection
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(f"{weights}: RAFT weights cannot be loaded ({reason}); give a "
                                 "raft_small state dict with --raft-weights") from error
        self._torch, self._device, self._updates = torch, torch.device(device), updates
        self._net = net.eval().to(self._device, memory_format=torch.channels_last)
        self.identity = f"raft_small {(content or 'torchvision')[:16]}, {updates} updates"

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[N, H, W, 3] uint8 BGR, twice -> [N, H, W, 2] float32 pixels."""
        height, width = first.shape[1:3]
        count = RAFT_BATCH[self._device.type]
        parts = [self._batch(first[start:start + count], second[start:start + count])
                 for start in range(0, len(first), count)]
        return np.concatenate([np.empty((0, height, width, 2), np.float32), *parts])

    def _batch(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        torch = self._torch
        kind = self._device.type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16):
            flow = self._net(self._tensor(first), self._tensor(second),
                             num_flow_updates=self._updates)[-1]
        flow = flow.float()[..., :first.shape[1], :first.shape[2]]  # unpad
        return flow.permute(0, 2, 3, 1).cpu().numpy()  # CxHxW -> HxWxC

    def _tensor(self, frames: np.ndarray):
        """[N, H, W, 3] uint8 BGR -> [N, 3, H', W'] float in [-1, 1], RGB, padded by its edge."""
        torch = self._torch
        rgb = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).to(self._device)
        rgb = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1  # HxWxC -> CxHxW
        pad = [max(RAFT_SMALLEST - side, -side % RAFT_MULTIPLE) for side in rgb.shape[-2:]]
        return torch.nn.functional.pad(rgb, (0, pad[1], 0, pad[0]), mode="replicate").contiguous(
            memory_format=torch.channels_last)


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
