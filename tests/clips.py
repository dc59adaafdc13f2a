"""Small synthetic videos for the tests, written with PyAV.

Numbered clips carry every frame's number in its pixels, as blocks that survive compression, so
that a decoded frame says which one it is. Person clips show a photographed person in motion.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data

from benchmarks.animate import Actor, animate, make_actor
from models.face_detector import FaceDetector
from models.motion import Square, cut_square
from models.pose import SIDE
from models.segmenter import SelfieSegmenter
from utils.held_pixels import changed_pixels
from utils.pixel_sample import (PIXELS, PixelSample, sample_of, sampled_renewed, sampled_values)

WIDTH, HEIGHT, BITS = 96, 64, 8
BLOCK = WIDTH // BITS
PERSON_SIZE = (192, 192)
SOUND_RATE = 16000
QUICK_FPS = 10.0  # periods of the movements shrink with the frame rate they are made for


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """[H, W, 3] uint8 BGR: a drifting pattern with the number as black and white blocks on top."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    pattern = 128 + 60 * np.sin((x + 2 * number) / 7) * np.cos((y - number) / 5)
    image = np.repeat(pattern[..., None], 3, axis=2).astype(np.uint8)
    for bit in range(BITS):
        image[:24, bit * BLOCK:(bit + 1) * BLOCK] = 255 * (number >> bit & 1)
    return image


def number_of(image: np.ndarray) -> int:
    """The number that numbered() wrote; the picture may be scaled."""
    scale = image.shape[1] / WIDTH
    row = image[round(12 * scale)].mean(axis=1)
    return sum(int(row[int((bit + 0.5) * BLOCK * scale)] > 127) << bit for bit in range(BITS))


def write_clip(path: Path, frames: Iterable[np.ndarray], *, codec: str = "libx264", fps: int = 25,
               times: list[float] | None = None, pix_fmt: str = "yuv420p",
               disposition: av.stream.Disposition | None = None, sound_s: float = 0.0,
               **options: str) -> Path:
    """Encode frames [H, W, 3] uint8 BGR; returns the path.

    times: presentation time of every frame in seconds, for a variable rate or an odd start;
    sound_s: seconds of sound beside them; options: of the encoder.
    """
    frames = list(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(f"file:{path}", "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"threads": "1", **options})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if disposition is not None:
            stream.disposition = disposition
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="mono") if sound_s else None
        base = Fraction(1, 1000) if times else Fraction(1, fps)
        stream.codec_context.time_base = base
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "bgr24")
            frame.pts = round(times[index] * 1000) if times else index
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            write_tone(container, sound, sound_s)
    return path


def numbered_clip(path: Path, count: int, **options) -> Path:
    """A clip of the numbers 0 to count - 1; options of write_clip()."""
    return write_clip(path, (numbered(index) for index in range(count)), **options)


def set_rotation(path: Path, quarter_turns: int) -> None:
    """Patch the display matrix of an MP4 or MOV: shown turned clockwise by quarter turns."""
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns % 4]
    set_matrix(path, cosine, sine, -sine, cosine)


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Patch the display matrix of an MP4 or MOV: (x, y) is shown at (a x + c y, b x + d y)."""
    one = 1 << 16
    matrix = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30], ">i4")
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # version 0: the matrix follows the volume
    content[start:start + 36] = matrix.tobytes()
    path.write_bytes(content)


def write_sound(path: Path, seconds: float = 0.5) -> Path:
    """A file with an audio stream and nothing else."""
    with av.open(f"file:{path}", "w") as container:
        write_tone(container, container.add_stream("aac", rate=SOUND_RATE, layout="mono"), seconds)
    return path


def write_tone(container: av.container.OutputContainer, stream: av.AudioStream,
               seconds: float) -> None:
    """Fill an audio stream."""
    wave = np.sin(np.arange(int(seconds * SOUND_RATE)) * 440 * 2 * np.pi / SOUND_RATE)
    frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = SOUND_RATE
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def place(name: str, size: tuple[int, int] = PERSON_SIZE) -> np.ndarray:
    """A photographed place, [H, W, 3] uint8 BGR; the name of a picture of skimage.data."""
    photo = np.atleast_3d(getattr(data, name)())
    photo = np.broadcast_to(photo, (*photo.shape[:2], 3))[..., ::-1]
    return cv2.resize(np.ascontiguousarray(photo), size, interpolation=cv2.INTER_AREA)


@lru_cache
def actor() -> Actor:
    """The person of the person clips."""
    photo = data.astronaut()[..., ::-1].copy()
    return make_actor(photo, PERSON_SIZE, 0.14, (0.5, 0.35), SelfieSegmenter(), FaceDetector())


def person_frames(seed: int, count: int, background: str) -> Iterator[np.ndarray]:
    """Frames of a person who moves, differently for every seed, before a photographed place.

    Movements are quick, so that no stretch of a short clip resembles another one.
    """
    return animate(actor(), place(background), count, QUICK_FPS, np.random.default_rng(seed))


def empty_frames(background: str, count: int) -> Iterator[np.ndarray]:
    """Frames of a place without a person, the camera drifting slowly."""
    photo = place(background, (PERSON_SIZE[0] + 40, PERSON_SIZE[1]))
    for index in range(count):
        shift = round(20 + 15 * np.sin(index / 9))
        yield photo[:, shift:shift + PERSON_SIZE[0]]


def renewed_of(frames: Sequence[np.ndarray], square: Square) -> np.ndarray:
    """How much of a square differs from the frame before, of all frames, [n, SIDE, SIDE] uint8."""
    return np.stack([cut_square(changed_pixels(frame, before), square, SIDE)
                     for before, frame in zip([None, *frames], frames)])


def sample_of_frames(frames: Sequence[np.ndarray], square: Square) -> PixelSample:
    """The sampled pixels of a square, all of it the person."""
    renewed = np.stack([sampled_renewed(changed_pixels(frame, before), square)
                        for before, frame in zip([None, *frames], frames)])
    values = np.stack([sampled_values(cut_square(frame, square)) for frame in frames])
    return sample_of(square, np.ones(PIXELS, np.float32), values, renewed)


def blank_pixels(count: int) -> PixelSample:
    """Pixels that show nobody."""
    return sample_of((0.0, 0.0, 1.0), np.zeros(PIXELS, np.float32),
                     np.zeros((count, PIXELS), np.uint8), np.ones((count, PIXELS), bool))
