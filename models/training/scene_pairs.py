"""Views of one scene: independent edits of one picture, each with its own person-shaped hole.

The edits are those that copies of a video go through (compare the augmentations of SSCD, Pizzi
et al., CVPR 2022): crop, zoom, turn, mirror, colour, blur, noise, borders, captions, lossy
coding. Pictures are [H, W, 3] uint8 BGR, masks [H, W] uint8 and 255 on the person, views
[H, W, 4] uint8 BGRA as steps 2 and 3 write them. All randomness comes from the generator given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from models.training.pair_damage import jpeg_coded

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !?"
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)


@dataclass(frozen=True)
class Picture:
    """A photograph, or a video frame with the person that is in it."""

    image: np.ndarray  # [H, W, 3] uint8 BGR
    person: np.ndarray  # [H, W] uint8, 255 on the person; 0 everywhere in a photograph
    kind: str  # "photo", "backdrop" (made of a photograph) or "video"
    origin: str  # file or FakeTD scene; same kind and origin: positives of each other

    @property
    def scene(self) -> str:
        """What this shows: pictures with the same scene are positives of each other."""
        return f"{self.kind} {self.origin}"


def portrait_backdrop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A part of a photograph, out of focus as behind a speaker: a plainer scene."""
    image = _crop(rng, image, rng.uniform(0.15, 0.8), 0.3)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.01, 0.05) * image.shape[0])


def place_hole(rng: np.random.Generator, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A person mask scaled and moved, standing on the lower edge: [height, width] uint8."""
    mask = mask[:, ::-1] if rng.random() < 0.5 else mask
    tall = max(8, round(height * rng.uniform(0.4, 1.1)))
    wide = max(8, round(tall * mask.shape[1] / mask.shape[0] * np.exp(rng.normal(0, 0.12))))
    wide = min(wide, round(0.85 * width))  # some background is left at a side
    person = cv2.resize(np.ascontiguousarray(mask), (wide, tall), interpolation=cv2.INTER_LINEAR)
    hole = np.zeros((height, width), np.uint8)
    left = round(rng.uniform(-0.2 * wide, width - 0.8 * wide))
    top = max(height - tall, 0)
    part = person[:height - top, max(-left, 0):width - left]
    hole[top:, max(left, 0):max(left, 0) + part.shape[1]] = part
    grown = 2 * int(rng.integers(0, 4)) + 1
    return np.where(cv2.dilate(hole, np.ones((grown, grown), np.uint8)) > 127, 255, 0
                    ).astype(np.uint8)


def source_view(rng: np.random.Generator, picture: Picture, masks: Sequence[np.ndarray]
                ) -> np.ndarray:
    """The scene as a database holds it: lightly compressed, nothing cut away. BGRA."""
    keep = _keep(rng, picture, picture.image.shape[:2], masks, picture.person)
    return _bgra(jpeg_coded(picture.image, int(rng.integers(60, 96))), keep)


def edited_view(rng: np.random.Generator, picture: Picture, masks: Sequence[np.ndarray]
                ) -> np.ndarray:
    """The scene as a fake shows it: a few edits, chosen at random. BGRA."""
    both = np.dstack([picture.image, picture.person])
    if rng.random() < 0.75:
        both = _crop(rng, both, rng.uniform(0.4, 1.0), 0.25)
    if rng.random() < 0.3:
        both = _turn(both, rng.uniform(-5, 5))
    if rng.random() < 0.4:
        both = both[:, ::-1]
    both = _rescale(rng, both)
    image, person = np.ascontiguousarray(both[..., :3]), both[..., 3]
    keep = _keep(rng, picture, image.shape[:2], masks, person)
    if rng.random() < 0.7:
        image = _recolour(rng, image)
    if rng.random() < 0.35:
        image = _soften(rng, image)
    if rng.random() < 0.2:
        image, keep = _frame(rng, image, keep)
    if rng.random() < 0.3:
        image, keep = _write(rng, image, keep)
    if rng.random() < 0.8:
        image = jpeg_coded(image, int(rng.integers(10, 90)))
    return _bgra(image, keep)


def _keep(rng: np.random.Generator, picture: Picture, size: tuple[int, int],
          masks: Sequence[np.ndarray], person: np.ndarray) -> np.ndarray:
    """[H, W] uint8, 255 on background. A frame keeps its own hole, a photograph is given one."""
    hole = np.where(person > 127, 255, 0).astype(np.uint8)
    if not picture.person.any():
        hole = place_hole(rng, masks[rng.integers(len(masks))], *size)
    return 255 - hole


def _bgra(image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.dstack([image * (keep > 0)[..., None].astype(np.uint8), keep])


def _crop(rng: np.random.Generator, image: np.ndarray, share: float, skew: float) -> np.ndarray:
    """A part of about `share` of the area, its aspect changed by up to `skew`."""
    across = min(1.0, np.sqrt(share) * np.exp(rng.uniform(-skew, skew)))
    size = np.array(image.shape[:2]) * (min(1.0, share / across), across)
    tall, wide = np.maximum(size.round().astype(int), 16)
    top, left = (rng.integers(0, max(room, 0) + 1)
                 for room in (image.shape[0] - tall, image.shape[1] - wide))
    return image[top:top + tall, left:left + wide]


def _turn(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned about the centre and enlarged so that no empty corner shows."""
    height, width = image.shape[:2]
    zoom = np.cos(np.radians(degrees)) + abs(np.sin(np.radians(degrees))) * max(
        width / height, height / width)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
    return cv2.warpAffine(np.ascontiguousarray(image), turn, (width, height))


def _rescale(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Short side 96 to 288 px, aspect stretched a little now and then."""
    scale = np.exp(rng.uniform(np.log(96), np.log(288))) / min(image.shape[:2])
    stretch = np.exp(rng.normal(0, 0.05)) if rng.random() < 0.3 else 1.0
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), None, fx=scale * stretch, fy=scale / stretch,
                      interpolation=method)


def _recolour(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Contrast, brightness, gamma, white balance and saturation, each a little."""
    colour = (image.astype(np.float32) / 255) ** np.exp(rng.normal(0, 0.2))
    colour = (colour - 0.5) * np.exp(rng.normal(0, 0.15)) + 0.5 + rng.normal(0, 0.06)
    colour = colour * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    grey = colour.mean(2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else np.exp(rng.normal(0, 0.3))
    return (np.clip(grey + saturation * (colour - grey), 0, 1) * 255).astype(np.uint8)


def _soften(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Blur and noise."""
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.5))
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 8))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _frame(rng: np.random.Generator, image: np.ndarray, keep: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray]:
    """Bars of one colour or of the blurred picture: above and below, at the sides, or all round."""
    height, width = image.shape[:2]
    down, across = [(1, 0), (0, 1), (1, 1)][rng.integers(3)]
    y, x = (round(part * side * rng.uniform(0.04, 0.2))
            for part, side in ((down, height), (across, width)))
    size = (width + 2 * x, height + 2 * y)
    outer = cv2.GaussianBlur(cv2.resize(image, size), (0, 0), 0.06 * width)
    if rng.random() < 0.7:
        outer[:] = 0 if rng.random() < 0.6 else rng.integers(0, 256, 3)
    outer[y:y + height, x:x + width] = image
    return outer, cv2.copyMakeBorder(keep, y, y, x, x, cv2.BORDER_CONSTANT, value=255)


def _write(rng: np.random.Generator, image: np.ndarray, keep: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray]:
    """A caption, on a band or on the picture itself; what it covers counts as background."""
    height, width = image.shape[:2]
    text = "".join(rng.choice(list(LETTERS), rng.integers(3, 24)))
    font, scale = FONTS[rng.integers(len(FONTS))], height / 300 * rng.uniform(0.5, 1.4)
    (wide, tall), _ = cv2.getTextSize(text, font, scale, 1)
    x = int(rng.integers(0, max(width - wide, 1)))
    y = int(rng.integers(min(tall + 2, height - 1), height))
    image, keep = image.copy(), keep.copy()
    if rng.random() < 0.5:
        band = ((0 if rng.random() < 0.5 else x, max(y - 2 * tall, 0)), (width, y + tall))
        cv2.rectangle(image, *band, rng.integers(0, 256, 3).tolist(), -1)
        cv2.rectangle(keep, *band, 255, -1)
    cv2.putText(image, text, (x, y), font, scale, rng.integers(0, 256, 3).tolist(), 1)
    cv2.putText(keep, text, (x, y), font, scale, 255, 1)
    return image, keep
