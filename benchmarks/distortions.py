"""Pictures as they come back from another camera, editor or copy: moved, bent, grainy, interpolated.

Frames [H, W, 3] uint8 BGR of one size in, frames out. All choices come from the generator given.
"""

import cv2
import numpy as np

ZOOM, PAN = 0.3, 0.15  # at most: share by which the picture grows, and of its width that it goes
FAR_ZOOM, FAR_PAN = 0.9, 0.4  # the same of a zoom that goes far
SHAKE, SHAKE_FRAMES = 0.01, 4  # of a hand: usual share of the width, and frames that it lasts
DARK = (18, 16, 16)  # what is beside a screen that is filmed
SQUEEZE = 0.68, 0.88  # share of one side that is left; 16:9 shown as 4:3 is 0.75
TILT = 0.11  # of the sides, by which a corner of a screen filmed at an angle comes in at most
BENT = 0.08, 0.16  # share by which a lens has the middle of a side nearer or farther away
GRAIN, VIGNETTE, BLUR = (12, 30), (0.1, 0.4), (0.6, 1.6)  # grey levels; share at the rim; pixels
MOSAIC = 10, 12  # blocks over a face

Frames = list[np.ndarray]


def zoom_slowly(frames: Frames, rng: np.random.Generator, zoom: float = ZOOM,
                pan: float = PAN) -> Frames:
    """The camera moves in or out over the whole clip, and to a side; no empty corner shows."""
    height, width = frames[0].shape[:2]
    zooms = 1 + zoom * np.sort(rng.uniform(0, 1, 2))[::rng.choice((-1, 1))]
    ends = rng.uniform(-pan, pan, (2, 2)) * (width, height)
    ends = np.clip(ends, *((zooms[:, None] - 1) / 2 * (width, height) * sign for sign in (-1, 1)))
    at = np.linspace(0, 1, len(frames))[:, None]
    moved = zip(frames, zooms[0] + at * (zooms[1] - zooms[0]), ends[0] + at * (ends[1] - ends[0]))
    return [_seen_from(frame, float(size[0]), 0.0, off) for frame, size, off in moved]


def film_from_a_hand(frames: Frames, rng: np.random.Generator) -> Frames:
    """A screen in a dark room, filmed from a hand that shakes: a little smaller and turned."""
    count, width = len(frames), frames[0].shape[1]
    lasting = np.exp(-np.linspace(-3, 3, 6 * SHAKE_FRAMES + 1)**2 / 2)
    shake = np.stack([np.convolve(rng.normal(0, 1, count + 2 * len(lasting)), lasting, "same")
                      for _ in range(3)], axis=1)[len(lasting):-len(lasting)]
    shake *= SHAKE * rng.uniform(0.3, 1.5) / np.linalg.norm(lasting)
    zoom, turn = rng.uniform(0.8, 0.95), rng.uniform(-2, 2)
    return [_seen_from(frame, zoom, turn + float(np.degrees(moved[2])) / 2, moved[:2] * width)
            for frame, moved in zip(frames, shake)]


def _seen_from(frame: np.ndarray, zoom: float, degrees: float, off: np.ndarray) -> np.ndarray:
    """A frame turned and enlarged about its centre and moved by pixels; what is beside it, dark."""
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
    matrix[:, 2] += off
    return cv2.warpAffine(frame, matrix, (width, height), borderValue=DARK)


def squeeze(frames: Frames, rng: np.random.Generator) -> Frames:
    """The width or the height shrunk alone, as where a video is shown in another format."""
    height, width = frames[0].shape[:2]
    left = rng.uniform(*SQUEEZE)
    size = ((width, 2 * round(height * left / 2)) if rng.random() < 0.5
            else (2 * round(width * left / 2), height))
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def film_at_an_angle(frames: Frames, rng: np.random.Generator) -> Frames:
    """A screen in a dark room, filmed from a side: its corners come in, each by itself."""
    height, width = frames[0].shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (width, height)
    seen = (corners + inward * rng.uniform(0.0, TILT, (4, 2))).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    return [cv2.warpPerspective(frame, matrix, (width, height), borderValue=DARK)
            for frame in frames]


def bend(frames: Frames, rng: np.random.Generator) -> Frames:
    """Barrel or pincushion distortion, as of a lens or of an upload that is to be hard to find."""
    height, width = frames[0].shape[:2]
    amount = rng.uniform(*BENT) * int(rng.choice((-1, 1)))
    x, y = _from_middle(width, height)
    factor = (1 + amount * (x * x + y * y)) / (1 + 2 * amount if amount > 0 else 1)
    from_x = ((x * factor + 1) * width / 2).astype(np.float32)
    from_y = ((y * factor + 1) * height / 2).astype(np.float32)
    return [cv2.remap(frame, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            for frame in frames]


def add_grain(frames: Frames, rng: np.random.Generator) -> Frames:
    """Blurred, darker at the rim, and with noise that is new in every frame."""
    x, y = _from_middle(*frames[0].shape[1::-1])
    noise = rng.uniform(*GRAIN)
    light = (1 - rng.uniform(*VIGNETTE) * (x * x + y * y))[..., None]
    blur = rng.uniform(*BLUR)
    return [np.clip(cv2.GaussianBlur(frame, (0, 0), blur) * light
                    + rng.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
            for frame in frames]


def _from_middle(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y [H, W] float32 of every pixel, -1 to 1 between the sides."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x / (width / 2) - 1, y / (height / 2) - 1


def pixelate_face(frames: Frames, keypoints: np.ndarray | None) -> Frames:
    """The head in large blocks, as of somebody who is not to be recognised.

    keypoints: [N, 6, 2] pixels, of the face in every frame; None leaves the frames as they are.
    """
    if keypoints is None:
        return frames
    hidden = [frame.copy() for frame in frames]
    for frame, points in zip(hidden, keypoints):
        low, high = points.min(0), points.max(0)
        middle, reach = (low + high) / 2, 0.75 * float((high - low).max())
        left, top = np.maximum(middle - reach, 0).astype(int)
        right, bottom = (middle + reach * np.array([1, 1.1])).astype(int)
        face = frame[top:bottom, left:right]
        if face.size:
            blocks = cv2.resize(face, MOSAIC, interpolation=cv2.INTER_AREA)
            face[:] = cv2.resize(blocks, face.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return hidden


def interpolate(frames: Frames) -> Frames:
    """Every second frame computed from its neighbours by their optical flow."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return [_between(frames[number - 1], frames[number + 1], dis)
            if number % 2 and number + 1 < len(frames) else frame
            for number, frame in enumerate(frames)]


def _between(one: np.ndarray, other: np.ndarray, dis: cv2.DISOpticalFlow) -> np.ndarray:
    """The picture halfway between two."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (one, other)]
    y, x = np.mgrid[:one.shape[0], :one.shape[1]].astype(np.float32)
    halves = []
    for picture, pair in ((one, grey), (other, grey[::-1])):
        flow = dis.calc(*pair, None) / 2
        halves.append(cv2.remap(picture, x - flow[..., 0], y - flow[..., 1], cv2.INTER_LINEAR,
                                borderMode=cv2.BORDER_REPLICATE))
    return cv2.addWeighted(halves[0], 0.5, halves[1], 0.5, 0)
