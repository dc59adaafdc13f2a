"""Bring a photographed person to life before a place: short portrait clips out of two photographs.

The person is cut out, moved by a few smooth displacement fields (sway, breath, lean; roll, turn,
nod and shift of the head; the mouth) and laid over the place. Every field follows its own
band-limited noise, so the motion never repeats.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.face_swap import find_face, open_mouth, smooth_noise
from models.face_detector import FaceDetector
from models.segmenter import Segmenter

# field -> (amplitude, shortest period in frames); amplitudes in face lengths (eyes to mouth)
MOTIONS = {"sway": (0.60, 34), "rise": (0.06, 26), "breath": (0.05, 28), "lean": (0.05, 45),
           "roll": (0.11, 20), "turn": (0.24, 15), "nod": (0.20, 12),
           "shift": (0.22, 22), "dip": (0.12, 10)}
NOISE_TILES = 6


@dataclass(frozen=True)
class Actor:
    """A person cut out of a photograph, placed on the canvas of a clip."""

    image: np.ndarray  # [H, W, 3] uint8 BGR
    alpha: np.ndarray  # [H, W] uint8, 255 on the person
    keypoints: np.ndarray  # [6, 2] float32 pixels of the canvas


def make_actor(photo: np.ndarray, size: tuple[int, int], face_height: float,
               place: tuple[float, float], segmenter: Segmenter, detector: FaceDetector,
               region: tuple[float, float, float, float] | None = None) -> Actor:
    """Cut the person out of a photograph and put it on a canvas.

    size: canvas width and height. face_height: eyes to mouth, as a share of the canvas height.
    place: x and y of the point between the eyes, shares of the canvas; a photograph that ends
    above the lower edge of the canvas is moved down to it. region: x, y, width, height of the
    part of the photograph that holds the person.
    """
    if region is not None:
        x, y, width, height = (round(value) for value in region)
        photo = photo[y:y + height, x:x + width]
    face = find_face(detector, photo, None)
    if face is None:
        raise ValueError(f"no face in a photograph of {photo.shape[1]}x{photo.shape[0]} pixels")
    alpha = _largest_part(segmenter.probability(photo))
    eyes = face.keypoints[:2].mean(axis=0)
    scale = face_height * size[1] / float(np.linalg.norm(face.keypoints[3] - eyes))
    offset = np.array(place) * size - scale * eyes
    offset[1] = max(offset[1], size[1] - scale * (photo.shape[0] - 1))
    move = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method)
    shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    image = cv2.warpAffine(small, shift, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cv2.resize(alpha, small.shape[1::-1]), shift, size)
    return Actor(image, alpha, cv2.transform(face.keypoints[None], move)[0].astype(np.float32))


def _largest_part(probability: np.ndarray) -> np.ndarray:
    """Soft mask [H, W] uint8 of the largest connected person, a little inside its edge."""
    solid = (probability > 0.5).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    if len(stats) < 2:
        raise ValueError("no person in the photograph")
    largest = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    near = cv2.dilate(largest, np.ones((15, 15), np.uint8))
    return (np.clip(2.5 * probability - 1.2, 0, 1) * near * 255).astype(np.uint8)


def displacement_fields(keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[9, H, W, 2] float32: where each motion of MOTIONS, at amplitude 1, takes every pixel.

    In pixels, in the order of MOTIONS, at half the canvas' resolution.
    """
    width, height = size[0] // 2, size[1] // 2
    points = keypoints / 2
    eyes, mouth = points[:2].mean(axis=0), points[3]
    length = float(np.linalg.norm(mouth - eyes))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    chin, neck = mouth[1] + 0.9 * length, np.array([mouth[0], mouth[1] + 1.6 * length])
    head = 1 / (1 + np.exp((y - chin - 0.5 * length) / (0.32 * length)))  # 1 on it, 0 below
    centre = (eyes + mouth) / 2
    radius = ((x - centre[0]) / (1.5 * length)) ** 2 + ((y - centre[1]) / (1.9 * length)) ** 2
    bulge = np.clip(1 - radius, 0, None) ** 1.2  # the face is nearer than the outline
    depth = np.clip((height - y) / height, 0, 1)
    shoulders = np.exp(-((y - neck[1] - 1.2 * length) / (1.6 * length)) ** 2)
    zero = np.zeros_like(x)
    fields = {
        "sway": (depth, zero), "rise": (zero, depth),
        "breath": (0.4 * shoulders * (x - neck[0]) / length, -shoulders),
        "lean": ((x - neck[0]) / length, (y - height) / length),
        "roll": (-head * (y - neck[1]) / length, head * (x - neck[0]) / length),
        "turn": (0.3 * head + bulge, zero), "nod": (zero, 0.35 * head + bulge),
        "shift": (head, zero), "dip": (zero, head)}
    # doubled: amplitudes are in face lengths of the full canvas
    return 2 * length * np.stack([np.stack(fields[name], axis=-1) for name in MOTIONS])


def performance(count: int, fps: float, liveliness: float,
                rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes [count, 9] of the motions and openings [count] of the mouth.

    Moods come and go: a slow envelope makes lively and calm stretches of speech.
    """
    pace = fps / 25
    mood = np.clip(1 + 0.5 * smooth_noise(count, 55 * pace, rng), 0.25, 2)
    moves = []
    for amplitude, period in MOTIONS.values():
        slow = smooth_noise(count, 3.2 * period * pace, rng)
        quick = smooth_noise(count, period * pace, rng)
        moves.append(amplitude * liveliness * (0.75 * slow + 0.5 * mood * quick))
    speech = smooth_noise(count, 4.5 * pace, rng) + 0.6 * smooth_noise(count, 12 * pace, rng)
    return np.stack(moves, axis=1), np.clip(0.7 * mood * speech, 0, 1.8)


def animate(actor: Actor, place: np.ndarray, count: int, fps: float, rng: np.random.Generator,
            liveliness: float = 1.0, hand_held: float = 0.0) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 BGR of a clip.

    place: picture of the canvas' size. hand_held: standard deviation of the camera's own
    motion, pixels.
    """
    height, width = actor.alpha.shape
    fields = displacement_fields(actor.keypoints, (width, height)).astype(np.float32)
    moves, openings = performance(count, fps, liveliness, rng)
    camera = hand_held * np.stack([smooth_noise(count, 9, rng) for _ in range(2)], axis=1)
    grain = rng.normal(0, 2.0, (NOISE_TILES, height, width, 1)).astype(np.float32)
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (width, height))), -1)
    for index in range(count):
        speaking = open_mouth(actor.image, actor.keypoints, float(openings[index]))
        field = np.tensordot(moves[index].astype(np.float32), fields, 1)
        source = grid - cv2.resize(field, (width, height))
        layer = cv2.remap(cv2.merge([speaking, actor.alpha]), source, None, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)
        frame = _lay_over(place, layer)
        if hand_held:
            shift = np.float32([[1.02, 0, -0.01 * width], [0, 1.02, -0.01 * height]])
            shift[:, 2] += camera[index]
            frame = cv2.warpAffine(frame, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        noise = np.roll(grain[rng.integers(NOISE_TILES)], rng.integers(0, 64, 2), (0, 1))
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)


def _lay_over(place: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """A layer [H, W, 4] BGRA over a picture [H, W, 3]: float32."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    return place + alpha * (layer[..., :3].astype(np.float32) - place)
