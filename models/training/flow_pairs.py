"""Image pairs with exactly known optical flow, made on the fly from photographs and videos.

Each pair is a little collage. A background and up to three foregrounds with soft edges
(ellipses, blobs, head-and-shoulders shapes) are cut from random images, and each of these
layers moves by its own smooth field. The second image is the collage at rest; the first
shows every layer at `x + flow(x)`, an exact backward warp, so that
`first(x) = second(x + flow(x))` wherever the point is not covered. The idea is that of
FlyingChairs (Dosovitskiy et al. 2015); motions, sizes and damage are those of talking
heads in re-compressed clips: mostly under 3 px, in half of the pairs under half a pixel, often
blurred, noisy and coded at a low rate.

Images are HxWx3 RGB uint8, flow is HxWx2 float32 in pixels, (x, y).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.training.image_bank import ImageBank
from models.training.pair_damage import damage

MARGIN = 32  # px of every shape drawn beyond the frame, so that it can move in
CLEAN_SHARE = 0.25  # of the pairs stay undamaged
CALM_SHARE, CALM = 0.5, (0.03, 0.5)  # of the pairs move by a factor in this range less: most heads
# do, and a network that never saw it takes small motions for none


# ---------------------------------------------------------------- motion and shape


def motion_size(rng: np.random.Generator, size: int, boost: float = 1.0) -> float:
    """Root-mean-square motion of a layer in px: at 128 px about 0.1 to 3, now and then up to 12.

    `boost` multiplies it, up to 16 px.
    """
    if rng.random() < 0.15:
        pixels = np.exp(rng.uniform(np.log(2), np.log(12)))
    else:
        pixels = np.clip(np.exp(rng.normal(np.log(0.7), 1.0)), 0.03, 12)
    return float(min(boost * pixels, 16) * size / 128)


def smooth_motion(rng: np.random.Generator, size: int, rms: float) -> np.ndarray:
    """A random affine motion plus a low-frequency field, SxSx2 px, of about the given rms."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    position = np.dstack(np.meshgrid(axis, axis))
    cells = int(rng.integers(2, 9))
    waves = cv2.resize(
        rng.normal(size=(cells, cells, 2)).astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_CUBIC,
    )
    shares = rng.dirichlet([1.0, 0.7, 1.0])
    affine = position @ rng.normal(size=(2, 2)).astype(np.float32)
    steady = shares[0] * rng.normal(size=2) + shares[1] * affine
    # a wave stronger than a fraction of its cell would fold the image over
    wave_rms = min(shares[2] * rms, 0.12 * size / cells)
    steady *= (1 - shares[2]) * rms / max(_rms(steady), 1e-6)
    flow = steady + waves * (wave_rms / max(_rms(waves), 1e-6))
    return (flow * (rms / max(_rms(flow), rms / 2, 1e-6))).astype(np.float32)


def _rms(field: np.ndarray) -> float:
    return float(np.sqrt(2 * np.vdot(field, field) / field.size))


def random_shape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Opacity of a random foreground, (S+2*MARGIN)x(S+2*MARGIN) float32 in [0, 1]."""
    canvas = np.zeros((size + 2 * MARGIN,) * 2, np.uint8)
    centre = rng.uniform(0.1, 0.9, 2) * size + MARGIN
    radius = size * np.exp(rng.uniform(np.log(0.07), np.log(0.4)))
    kind = rng.choice(3, p=[0.25, 0.25, 0.5])
    if kind == 0:
        _draw_blob(
            canvas,
            centre,
            radius * rng.uniform(0.5, 1, 2),
            rng.uniform(0, np.pi),
            np.zeros(1),
            np.zeros(1),
        )
    elif kind == 1:
        _draw_blob(
            canvas,
            centre,
            [radius, radius],
            0.0,
            rng.normal(0, 0.12, 6),
            rng.uniform(0, 2 * np.pi, 6),
        )
    else:
        _draw_person(rng, canvas, centre, 0.8 * radius)
    softness = np.exp(rng.uniform(np.log(0.4), np.log(4)))
    return cv2.GaussianBlur(canvas, (0, 0), softness).astype(np.float32) / 255


def _draw_blob(canvas, centre, radii, angle, waves, phases) -> None:
    """Fill an ellipse around `centre` whose radius swings by `waves` (harmonics 2, 3, ...)."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    swing = 1 + sum(w * np.cos((k + 2) * turn + p) for k, (w, p) in enumerate(zip(waves, phases)))
    x, y = radii[0] * np.cos(turn) * swing, radii[1] * np.sin(turn) * swing
    outline = np.stack(
        [
            centre[0] + x * np.cos(angle) - y * np.sin(angle),
            centre[1] + x * np.sin(angle) + y * np.cos(angle),
        ],
        1,
    )
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)


def _draw_person(
    rng: np.random.Generator, canvas: np.ndarray, centre: np.ndarray, head: float
) -> None:
    """Head and shoulders; `head` is half the head's height in px."""
    tilt = rng.normal(0, 0.15)
    waves, phases = rng.normal(0, 0.03, 4), rng.uniform(0, 2 * np.pi, 4)
    _draw_blob(canvas, centre, [head * rng.uniform(0.65, 0.85), head], tilt, waves, phases)
    chest = centre + [rng.normal(0, 0.2) * head, head * rng.uniform(2.3, 2.9)]
    _draw_blob(
        canvas,
        chest,
        [head * rng.uniform(1.6, 2.3), head * rng.uniform(1.4, 1.8)],
        0.0,
        waves,
        phases,
    )


# ---------------------------------------------------------------- layers


@dataclass
class Layer:
    """One moving picture of the collage."""

    texture: np.ndarray  # HxWx3 RGB uint8
    placing: np.ndarray  # 2x3, maps a pixel of the collage to a pixel of the texture
    flow: np.ndarray  # SxSx2 px, from the first image to the second
    opacity: np.ndarray | None  # (S+2*MARGIN)x(S+2*MARGIN) in [0, 1]; None: covers everything
    contrast: tuple[float, float]  # gain and offset of the grey values


def random_layer(
    rng: np.random.Generator, bank: ImageBank, size: int, *, foreground: bool, boost: float = 1.0
) -> Layer:
    """A layer cut from a random image at a random place, zoom, turn and contrast."""
    texture, zoom = bank.pick(rng), np.exp(rng.uniform(np.log(0.4), np.log(1.7))) * 128 / size
    if zoom > 1.1:  # shrink first, so that sampling does not alias
        texture = cv2.resize(texture, None, fx=1 / zoom, fy=1 / zoom, interpolation=cv2.INTER_AREA)
        zoom = 1.0
    angle = rng.normal(0, 0.15)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice([-1, 1])
    reach = np.array(texture.shape[1::-1]) / 2 - 0.5 * zoom * size
    middle = np.array(texture.shape[1::-1]) / 2 + rng.uniform(-1, 1, 2) * np.maximum(reach, 0)
    placing = np.column_stack([turn, middle - turn @ [size / 2, size / 2]])
    still = rng.random() < (0.05 if foreground else 0.2)
    flow = smooth_motion(rng, size, 0.0 if still else motion_size(rng, size, boost))
    gain = rng.uniform(0.05, 0.3) if rng.random() < 0.1 else rng.uniform(0.5, 1.2)
    offset = rng.uniform(-30, 30) + 128 * (1 - gain)
    return Layer(
        texture, placing, flow, random_shape(rng, size) if foreground else None, (gain, offset)
    )


def render(layers: Sequence[Layer], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second image of the layers, lowest first (SxSx3 float32, 0-255), and the flow."""
    axis = np.arange(size, dtype=np.float32)
    grid = np.dstack(np.meshgrid(axis, axis))
    images, flow = (
        [np.zeros((size, size, 3), np.float32) for _ in range(2)],
        np.zeros((size, size, 2), np.float32),
    )
    for layer in layers:
        for index, points in enumerate((grid + layer.flow, grid)):
            picture, opacity = _sample(layer, points)
            images[index] += opacity[..., None] * (picture - images[index])
            if index == 0:
                flow = np.where(opacity[..., None] > 0.5, layer.flow, flow)
    return images[0], images[1], flow


def _sample(layer: Layer, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (SxSx3 float32) and opacity (SxS) of a layer at `points` of the second image."""
    where = (points @ layer.placing[:, :2].T + layer.placing[:, 2]).astype(np.float32)
    picture = cv2.remap(
        layer.texture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    picture = picture * np.float32(layer.contrast[0]) + np.float32(layer.contrast[1])
    if layer.opacity is None:
        return picture, np.ones(points.shape[:2], np.float32)
    return picture, cv2.remap(
        layer.opacity,
        points + np.float32(MARGIN),
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def make_pair(
    rng: np.random.Generator, bank: ImageBank, size: int, boost: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """First and second image (SxSx3 RGB uint8), flow (SxSx2 px), whether they were damaged.

    boost: multiplies the motion; no pair is calm where it is above 1.
    """
    if boost <= 1 and rng.random() < CALM_SHARE:
        boost *= np.exp(rng.uniform(*np.log(CALM)))
    count = int(rng.choice(4, p=[0.15, 0.4, 0.3, 0.15]))
    layers = [
        random_layer(rng, bank, size, foreground=index > 0, boost=boost)
        for index in range(count + 1)
    ]
    *images, flow = render(layers, size)
    first, second = (np.clip(np.round(image), 0, 255).astype(np.uint8) for image in images)
    damaged = bool(rng.random() >= CLEAN_SHARE)
    if damaged:
        first, second = damage(rng, first, second)
    return first, second, flow, damaged


class PairStream(Dataset):
    """Batch k of generated pairs.

    Images 2xBx3xSxS uint8 (first, second), flow Bx2xSxS px, damaged B bool.

    Over the first `easing` batches motions shrink from four times to once their size: on small
    motions alone a network from random weights rests long at "nothing moves".
    """

    def __init__(
        self, bank: ImageBank, *, size: int, batch: int, seed: int, easing: int = 0
    ) -> None:
        self.bank, self.size, self.batch, self.seed, self.easing = bank, size, batch, seed, easing

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        boost = 1 + 3 * max(0.0, 1 - step / self.easing) if self.easing else 1.0
        rngs = [np.random.default_rng([self.seed, step, index]) for index in range(self.batch)]
        firsts, seconds, flows, damaged = zip(
            *(make_pair(rng, self.bank, self.size, boost) for rng in rngs)
        )
        # BxSxSxC -> BxCxSxS
        images = torch.from_numpy(np.stack([np.stack(firsts), np.stack(seconds)])).permute(
            0, 1, 4, 2, 3
        )
        return (
            images,
            torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous(),
            torch.tensor(damaged),
        )
