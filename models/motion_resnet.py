"""Motion embedding by ResNet-50: an optical-flow picture of the person in, a unit vector out.

The setting of the original method: the flow field inside the person's rectangle, the person masked,
scaled to 256 px, embedded by a ResNet-50 (He et al. 2016); two pictures are compared by the angle
between their vectors. The network is torchvision's resnet50 with another last layer; its three
channels are the displacement in x and y, long ones shortened, and the mask. Weights:
`models/training/train_flow.py --embedder resnet50`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.fetch import ModelFileError, sha256_of
from models.state import read_state

SIDE = 256  # pixels of a picture
DIMENSIONS = 64
SOFT_PX = 1.0  # pixels of the picture: displacements of about this length are halved
BATCH = 16
RIGHT_ANGLE = np.pi / 2


def build_resnet(dimensions: int = DIMENSIONS) -> nn.Module:
    """torchvision's resnet50 with random weights: [N, 3, H, W] -> [N, dimensions]."""
    from models.torchvision_compat import torchvision  # takes a second

    return torchvision.models.resnet50(weights=None, num_classes=dimensions)


def load_resnet(path: Path | str) -> nn.Module:
    """The network with the weights of a file, and as many outputs as these have.

    Raises ModelFileError when they do not fit, or are not those that a card beside them names.
    """
    state = read_state(path)
    try:
        net = build_resnet(len(state["fc.bias"]))
        net.load_state_dict(state)
    except Exception as error:  # tensors of any names, shapes and kinds
        raise _unfit(path, error) from error
    return net.eval().requires_grad_(False)


def begin_with(net: nn.Module, path: Path | str) -> None:
    """Take over the weights of a file, ImageNet's say, to train on.

    The last layer stays as it is where the file has none, or one of another size. Raises
    ModelFileError when the weights do not fit.
    """
    state, own = read_state(path), net.state_dict()
    last = {name for name in own if name.startswith("fc.")}
    if any(name not in state or state[name].shape != own[name].shape for name in last):
        state = {name: value for name, value in state.items() if name not in last}
        state |= {name: own[name] for name in last}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise _unfit(path, error) from error


def _unfit(path: Path | str, error: Exception) -> ModelFileError:
    reason = " ".join(str(error).split())[:160]
    return ModelFileError(f"{path}: not weights of torchvision's resnet50 ({reason}); give its "
                          "state dict")


def flow_pictures(stacks: Tensor) -> Tensor:
    """[N, H, W, 3] dx, dy in pixels and the mask in 0 to 1 -> [N, 3, H, W], each in -1 to 1."""
    flow, mask = stacks[..., :2], stacks[..., 2:]
    soft = flow / (flow.norm(dim=-1, keepdim=True) + SOFT_PX) * mask
    return torch.cat([soft, mask], -1).permute(0, 3, 1, 2)  # HxWxC -> CxHxW


class ResNetMotionEmbedder:
    """A ResNet-50 that embeds optical-flow pictures.

    model_path: weights. Raises ModelFileError when they cannot be loaded or do not match their
    card.
    """

    def __init__(self, model_path: Path | str, device: str = "cpu"):
        self._device = torch.device(device)
        net = load_resnet(model_path)
        self._net = net.to(self._device, memory_format=torch.channels_last)
        self.dimensions = net.fc.out_features
        self.identity = f"resnet50 motion embedder {sha256_of(Path(model_path))[:16]}"

    def embed(self, flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Embed pictures.

        flow: [N, H, W, 2] displacements in pixels; mask: [N, H, W] in 0 to 1, 1 on the person;
        H and W are SIDE. Returns [N, D] float32 unit vectors; a zero vector where nobody is.
        Raises ValueError for other shapes.
        """
        if flow.shape != (*mask.shape, 2) or mask.ndim != 3:
            raise ValueError(f"flow of shape {flow.shape} and mask of shape {mask.shape}, not "
                             "[N, H, W, 2] and [N, H, W]")
        stacks = torch.from_numpy(np.concatenate([flow, mask[..., None]], -1)).float()
        parts = [embed_stacks(self._net, part.to(self._device)).cpu()
                 for part in stacks.split(BATCH) if len(part)]
        return torch.cat([torch.empty(0, self.dimensions), *parts]).numpy()


@torch.inference_mode()
def embed_stacks(net: nn.Module, stacks: Tensor) -> Tensor:
    """[N, H, W, 3] dx, dy, mask -> unit vectors [N, D]; zero where nobody is."""
    pictures = flow_pictures(stacks).contiguous(memory_format=torch.channels_last)
    return normalize(net(pictures), dim=1) * stacks[..., 2].amax((1, 2)).gt(0)[:, None]


def angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle in radians, 0 to pi, between vectors [..., D], pair by pair: [...].

    A right angle where one is zero: nothing is known of it.
    """
    cosine = np.clip((one * other).sum(-1), -1.0, 1.0)
    known = one.any(-1) & other.any(-1)
    return np.where(known, np.arccos(cosine), RIGHT_ANGLE)
