"""What happens to images on their way: blur, noise, gamma, resizing, lossy coding.

Images are HxWx3 RGB uint8. All randomness comes from the generator that is handed in.
"""

from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np


def damage(
    rng: np.random.Generator, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Blur, noise, gamma and lossy coding at another resolution, alike or nearly on both."""
    size = first.shape[0]
    pair, inner = (
        [first, second],
        2 * round(size * np.exp(rng.uniform(np.log(0.35), np.log(2.0))) / 2),
    )
    if rng.random() < 0.75:
        shrinking = cv2.INTER_AREA if inner < size else cv2.INTER_LINEAR
        pair = [cv2.resize(image, (inner, inner), interpolation=shrinking) for image in pair]
    gamma = np.exp(rng.normal(0, 0.2)) if rng.random() < 0.5 else 1.0
    blur = rng.uniform(0.3, 1.5) if rng.random() < 0.35 else 0.0
    noise = rng.uniform(1, 8) if rng.random() < 0.4 else 0.0
    drift = 0.05 if rng.random() < 0.3 else 0.0  # how much the two images differ
    pair = [
        _degrade(
            rng,
            image,
            gamma * np.exp(rng.normal(0, drift)),
            blur * np.exp(rng.normal(0, 4 * drift)),
            noise,
        )
        for image in pair
    ]
    coder = rng.random()
    if coder < 0.45 and "libx264" in av.codecs_available:
        pair = video_coded(pair, crf=int(rng.integers(20, 43)), opening=rng.random() < 0.5)
    elif coder < 0.8:
        pair = [jpeg_coded(image, quality) for image, quality in zip(pair, _qualities(rng))]
    restored = [
        cv2.resize(
            image, (size, size), interpolation=cv2.INTER_AREA if inner > size else cv2.INTER_LINEAR
        )
        for image in pair
    ]
    return restored[0], restored[1]


def _degrade(
    rng: np.random.Generator, image: np.ndarray, gamma: float, blur: float, noise: float
) -> np.ndarray:
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if gamma != 1.0:
        image = cv2.LUT(image, (255 * np.linspace(0, 1, 256) ** gamma).astype(np.uint8))
    if noise:
        grain = rng.standard_normal(image.shape, np.float32) * np.float32(noise)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    return image


def _qualities(rng: np.random.Generator) -> tuple[int, int]:
    quality = int(rng.integers(12, 85))
    other = int(rng.integers(12, 85)) if rng.random() < 0.25 else quality
    return quality, other


def jpeg_coded(image: np.ndarray, quality: int) -> np.ndarray:
    """An HxWx3 uint8 image as JPEG gives it back."""
    return cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def video_coded(pair: Sequence[np.ndarray], *, crf: int, opening: bool) -> list[np.ndarray]:
    """Two RGB images (even sides) as neighbours in an H.264 clip.

    `opening`: the first of them is the key frame, otherwise both are predicted. A
    block that the coder skips stands still in the second image, whatever it truly did.
    """
    frames = list(pair) if opening else [pair[1], *pair]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = pair[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
    encoder.options = {
        "crf": str(crf),
        "preset": "superfast",
        "tune": "zerolatency",
        "x264-params": "ref=1:log-level=none",
    }
    packets = []
    for index, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(
            cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), format="yuv420p"
        )
        frame.pts = index
        packets += encoder.encode(frame)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    coded = [
        frame
        for packet in [*packets, *encoder.encode(None), None]
        for frame in decoder.decode(packet)
    ]
    return [cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420) for frame in coded[-2:]]
