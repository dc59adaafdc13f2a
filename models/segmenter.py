"""Person segmentation: frames in, probability of "person" per pixel out.

Networks: MediaPipe's selfie segmentation (Apache-2.0; MobileNetV3-like, 256x256, run by
OpenVINO on the processor), or DeepLabV3 with MobileNetV3 (Chen et al. 2017, Howard et al. 2019)
from torchvision.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from models.fetch import SELFIE_SEGMENTATION, ModelFileError, fetch, sha256_of
from utils.threads import made_once

if TYPE_CHECKING:
    from torch import nn

    from models.tflite import TFLiteNetwork

SELFIE_SIDE = 256
SQUASHED = 2.5  # ratio of a picture's sides from which on people in it are too narrow to be found;
TILE, STRIDE = 1.5, 0.5  # then it is looked at in tiles: their length and, at most, their distance,
# in units of the shorter side
DEEPLAB_SIDE = 320
VOC_PERSON = 15  # class index of "person" in the Pascal VOC labels
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Segmenter(Protocol):
    """Anything that finds people in frames."""

    identity: str  # name and checksum of the weights, kept in the settings of what it makes

    def probability(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 BGR -> [H, W] float32 in [0, 1]."""


class SelfieSegmenter:
    """MediaPipe selfie segmentation through OpenVINO. One instance serves one thread.

    model_path: another network of the same form. Raises ModelFileError when it is none.
    """

    def __init__(self, model_path: Path | None = None):
        self._path = Path(model_path) if model_path else fetch(SELFIE_SEGMENTATION)
        self._known = not model_path
        if not self._known:
            _ = self._network  # what is wrong with it is told at the start
        self.identity = f"selfie {sha256_of(self._path)[:16]}"

    @cached_property
    def _network(self) -> "TFLiteNetwork":
        from models.tflite import load_tflite  # OpenVINO takes a moment

        form = (1, SELFIE_SIDE, SELFIE_SIDE)
        return load_tflite(self._path, (*form, 3), [(*form, 1)], known=self._known)

    def probability(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 BGR -> [H, W] float32 in [0, 1]."""
        if max(image.shape[:2]) <= SQUASHED * min(image.shape[:2]):
            return self._probability(image)
        found, seen = np.zeros((2, *image.shape[:2]), np.float32)
        for tile in tiles(*image.shape[:2]):
            found[tile] += self._probability(np.ascontiguousarray(image[tile]))
            seen[tile] += 1
        return found / seen

    def _probability(self, image: np.ndarray) -> np.ndarray:
        blob = cv2.dnn.blobFromImage(image, 1 / 255, (SELFIE_SIDE, SELFIE_SIDE), swapRB=True)
        small = self._network(blob.transpose(0, 2, 3, 1))[0].reshape(SELFIE_SIDE, SELFIE_SIDE)
        size = (image.shape[1], image.shape[0])
        return np.clip(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), 0, 1)


class DeepLabSegmenter:
    """torchvision's DeepLabV3-MobileNetV3, for those with its weights or a connection."""

    def __init__(self, model_path: Path | None = None, device: str = "cpu"):
        import torch

        content = sha256_of(model_path)[:16] if model_path and Path(model_path).is_file() else ""
        net, published = _deeplab(model_path, content, device)
        self._torch, self._net, self._device = torch, net, device
        self.identity = f"deeplabv3 {content or published}"

    def probability(self, image: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 BGR -> [H, W] float32 in [0, 1]."""
        torch = self._torch
        scale = DEEPLAB_SIDE / min(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        rgb = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1] / np.float32(255)
        rgb = ((rgb - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32)
        batch = torch.from_numpy(rgb.transpose(2, 0, 1)[None]).to(self._device)  # HxWxC -> CxHxW
        with torch.inference_mode():
            scores = self._net(batch)["out"][0].softmax(0)[VOC_PERSON].cpu().numpy()
        return cv2.resize(scores, (image.shape[1], image.shape[0]))


@made_once
def _deeplab(model_path: Path | None, _content: str, device: str) -> "tuple[nn.Module, str]":
    """The network, and the name of the weights that torchvision publishes; shared by all threads.

    Raises ModelFileError when its weights cannot be loaded.
    """
    from models.state import read_state
    from models.torchvision_compat import torchvision
    segmentation = torchvision.models.segmentation
    weights = segmentation.DeepLabV3_MobileNet_V3_Large_Weights.DEFAULT
    try:
        state = (read_state(model_path) if model_path
                 else weights.get_state_dict(progress=False, check_hash=True))
        net = segmentation.deeplabv3_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
        net.load_state_dict(state)
    except Exception as error:  # a file of any kind, or no connection
        raise ModelFileError(f"{model_path or weights.url}: DeepLabV3 weights cannot be loaded "
                             f"({' '.join(str(error).split())[:200]}); give a file with "
                             "--segmenter-model") from error
    return net.eval().to(device), str(weights)


def tiles(height: int, width: int) -> list[tuple[slice, slice]]:
    """Overlapping parts of a long picture, evenly spaced over its length."""
    short, long = sorted((height, width))
    size = min(long, round(TILE * short))
    count = 1 + int(np.ceil((long - size) / (STRIDE * short)))
    along = [slice(start, start + size)
             for start in np.linspace(0, long - size, count).round().astype(int).tolist()]
    across = slice(0, short)
    return [(across, part) if width > height else (part, across) for part in along]


def make_segmenter(name: str = "selfie", model_path: Path | None = None,
                   device: str = "cpu") -> Segmenter:
    """Segmenter by name, `selfie` or `deeplabv3`.

    Raises ModelFileError when its model file is missing or unusable.
    """
    if name == "selfie":
        return SelfieSegmenter(model_path)
    if name == "deeplabv3":
        return DeepLabSegmenter(model_path, device)
    raise ValueError(f"unknown segmenter {name!r}; known: selfie, deeplabv3")


def person_mask(probability: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[H, W] probability -> [H, W] uint8, 255 on people; specks under 0.1 % of the image go."""
    mask = cv2.compare(probability, threshold, cv2.CMP_GE)
    least = 0.001 * mask.size
    _, parents = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if parents is not None and np.count_nonzero(parents[0, :, 3] < 0) > 1:
        _, labels = cv2.connectedComponents(mask, connectivity=8)
        kept = np.where(np.bincount(labels.ravel()) >= least, np.uint8(255), np.uint8(0))
        kept[0] = 0  # what is not person
        return kept[labels]
    # one region at most: counting outlines is much faster than labelling regions
    return mask if cv2.countNonZero(mask) >= least else np.zeros_like(mask)
