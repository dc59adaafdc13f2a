"""Replace the face in a clip by another person's: the stand-in for a deepfake generator.

The donor is one picture of a face. It is moved with the target's eyes, nose and mouth, takes on
the target's colours and shading, and is blended in through a soft ellipse. Hair, head outline and
everything else stay as they were filmed, as in a real face swap. benchmarks/expression.py gives it
the target's expression.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.face_detector import Face, FaceDetector

LANDMARKS = slice(0, 4)  # right eye, left eye, nose tip, mouth
LANDMARK_WEIGHTS = np.array([1.0, 1.0, 0.4, 1.0])  # the nose moves most with a turn
DETECTOR_WEIGHT = 0.12  # share of the detector's (jittery) keypoints in every tracked frame
SEARCH_MARGIN = 0.9  # of the last face's size, on every side
DONOR_SIDE = 256  # pixels, longer side of a donor picture
SHADING_SHARE = 0.8  # of the difference in shading that the donor takes over


@dataclass(frozen=True)
class Donor:
    """A face to paste."""

    image: np.ndarray  # [h, w, 3] uint8 BGR
    keypoints: np.ndarray  # [6, 2] float32 pixels
    mask: np.ndarray  # [h, w] float32, 1 on the face, soft edge


def make_donor(image: np.ndarray, face: Face) -> Donor:
    """Cut a face out of a picture [H, W, 3] uint8 BGR."""
    x, y, width, height = face.box
    left, top = max(0, round(x - 0.3 * width)), max(0, round(y - 0.5 * height))
    part = image[top:max(top + 1, round(y + 1.4 * height)),
                 left:max(left + 1, round(x + 1.3 * width))]
    scale = DONOR_SIDE / max(part.shape[:2])
    part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    keypoints = ((face.keypoints - (left, top)) * scale).astype(np.float32)
    return Donor(part, keypoints, face_mask(keypoints, part.shape[:2]))


def face_mask(keypoints: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[H, W] float32: a soft ellipse from the brows to the chin, 1 inside."""
    eyes, mouth = keypoints[:2].mean(axis=0), keypoints[3]
    down = mouth - eyes
    length = max(float(np.linalg.norm(down)), 1.0)
    spread = max(float(np.linalg.norm(keypoints[1] - keypoints[0])), 0.7 * length)
    angle = float(np.degrees(np.arctan2(down[1], down[0])))
    mask = np.zeros(shape, np.float32)
    cv2.ellipse(mask, ((eyes + 0.55 * down).tolist(), (2.35 * length, 1.85 * spread), angle),
                1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 0.14 * length)


def frontality(face: Face) -> float:
    """0 to 1: how well the nose is centred between the eyes, by the detector's score."""
    right, left, nose = face.keypoints[:3]
    across = left - right
    place = float(np.dot(nose - right, across) / max(float(np.dot(across, across)), 1e-6))
    return face.score * max(0.0, 1 - 2 * abs(place - 0.5))


def find_face(detector: FaceDetector, image: np.ndarray, last: np.ndarray | None) -> Face | None:
    """The face nearest to the last keypoints [6, 2], or else the best one of the image.

    Without last keypoints the upper part of the image is tried, too: a standing person's face
    is too small in the whole.
    """
    if last is not None:
        low, high = last.min(axis=0), last.max(axis=0)
        margin = SEARCH_MARGIN * float((high - low).max())
        region = (*(low - margin).tolist(), *(high - low + 2 * margin).tolist())
        return next(iter(detector.detect(image, region)), None)
    height, width = image.shape[:2]
    side = min(height, width)
    regions = [None] + [((width - side * share) / 2, 0, side * share, side * share)
                        for share in (1.0, 0.7)]
    found = [face for region in regions for face in detector.detect(image, region)[:1]]
    return max(found, key=lambda face: face.score, default=None)


def track_face(frames: list[np.ndarray],
               detector: FaceDetector) -> tuple[np.ndarray | None, int]:
    """Keypoints [N, 6, 2] float32 of the face in every frame, and in how many it was detected.

    Detections jitter, so points are carried along by tracked corners (Lucas-Kanade, one
    similarity per frame) and only drawn gently to the detector's. None: no face in any frame.
    """
    faces, last = [], None
    for frame in frames:
        face = find_face(detector, frame, last) or find_face(detector, frame, None)
        last = face.keypoints if face else None
        faces.append(face)
    first = next((face for face in faces if face), None)
    if first is None:
        return None, 0
    grays = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    track = [first.keypoints]
    for before, after, face in zip(grays, grays[1:], faces[1:]):
        track.append(_next_keypoints(track[-1], before, after, face))
    return np.stack(track), sum(face is not None for face in faces)


def _next_keypoints(points: np.ndarray, before: np.ndarray, after: np.ndarray,
                    face: Face | None) -> np.ndarray:
    """Keypoints [6, 2] moved from one grey frame to the next."""
    motion = _face_motion(points, before, after)
    moved = points if motion is None else cv2.transform(points[None], motion)[0]
    if face is None:
        return moved.astype(np.float32)
    size = float(np.linalg.norm(points[1] - points[0])) + 1
    lost = np.abs(face.keypoints - moved)[LANDMARKS].max() > size  # a cut, or a lost track
    weight = 1.0 if lost or motion is None else DETECTOR_WEIGHT
    return ((1 - weight) * moved + weight * face.keypoints).astype(np.float32)


def _face_motion(points: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
    """Similarity [2, 3] of the face region between two grey frames, None when unsure."""
    mask = (face_mask(points, before.shape) > 0.5).astype(np.uint8)
    spacing = max(2, round(float(np.sqrt(mask.sum())) / 15))
    corners = cv2.goodFeaturesToTrack(before, 80, 0.01, spacing, mask=mask)
    if corners is None or len(corners) < 6:
        return None
    tracked, status, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(15, 15))
    good = status.ravel() == 1
    if good.sum() < 6:
        return None
    motion, inliers = cv2.estimateAffinePartial2D(corners[good], tracked[good],
                                                  ransacReprojThreshold=0.7)
    return motion if motion is not None and inliers.sum() >= 5 else None


def alignment(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Affine map [2, 3] that takes one face's keypoints [6, 2] to another's, least squares."""
    weights = LANDMARK_WEIGHTS[:, None]
    points = np.hstack([source[LANDMARKS], np.ones((4, 1))])
    solution = np.linalg.lstsq(points * weights, target[LANDMARKS] * weights, rcond=None)[0]
    return solution.T


def swap_face(frame: np.ndarray, keypoints: np.ndarray, donor: Donor) -> np.ndarray:
    """The frame [H, W, 3] with the donor's face where the keypoints [6, 2] say."""
    transform = alignment(donor.keypoints, keypoints)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * donor.image.shape[1::-1]
    placed = cv2.transform(corners[None].astype(np.float64), transform)[0]
    height, width = frame.shape[:2]
    left, top = np.floor(placed.min(axis=0)).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(placed.max(axis=0)).astype(int), (width, height))
    if right - left < 4 or bottom - top < 4:
        return frame
    transform[:, 2] -= (left, top)
    size = (int(right - left), int(bottom - top))
    face = cv2.warpAffine(donor.image, transform, size, flags=cv2.INTER_AREA,
                          borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(donor.mask, transform, size)
    result = frame.copy()
    target = result[top:bottom, left:right]
    target[:] = _blend(face, target, mask)
    return result


def _blend(face: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paste a face onto a target of the same size [h, w, 3], shaded and coloured as the target."""
    face, target, mask = face.astype(np.float32), target.astype(np.float32), mask[..., None]
    shade = _shade_difference(face, target, mask)
    mean = (shade * mask).sum(axis=(0, 1)) / max(float(mask.sum()), 1e-4)
    shaded = face + mean + SHADING_SHARE * (shade - mean)
    return np.clip(target + mask * (shaded - target), 0, 255).astype(np.uint8)


def _shade_difference(face: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[h, w, 3] float32: the smooth part of target - face inside the mask [h, w, 1]."""
    height, width = face.shape[:2]
    scale = min(1.0, 48 / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(np.concatenate([(target - face) * mask, mask], axis=2), size,
                       interpolation=cv2.INTER_AREA)
    sigma = max(0.5, 0.16 * float(np.sqrt(small[..., 3].sum())))
    small = cv2.GaussianBlur(small, (0, 0), sigma)
    return cv2.resize(small[..., :3] / (small[..., 3:] + 1e-3), (width, height))


def reanimate_mouth(frames: list[np.ndarray], keypoints: np.ndarray,
                    rng: np.random.Generator) -> list[np.ndarray]:
    """Lips re-synced: the mouth opens and closes anew; the head's own motion is untouched.

    keypoints: [N, 6, 2] pixels.
    """
    opening = np.clip(smooth_noise(len(frames), 3.0, rng), -0.4, 2.2)
    return [open_mouth(frame, points, float(amount))
            for frame, points, amount in zip(frames, keypoints, opening)]


def smooth_noise(count: int, period: float, rng: np.random.Generator) -> np.ndarray:
    """[count] aperiodic noise of mean 0 and variance 1, low-passed to about `period` frames."""
    pad = int(4 * period) + 1
    kernel = np.exp(-0.5 * (np.arange(-pad, pad + 1) / (period / 2)) ** 2)
    noise = rng.standard_normal(count + 2 * pad)
    return np.convolve(noise, kernel / np.sqrt((kernel ** 2).sum()), "valid")


def open_mouth(frame: np.ndarray, points: np.ndarray, amount: float) -> np.ndarray:
    """Pull the lips apart (amount 1: by a tenth of the distance from eyes to mouth)."""
    down = points[3] - points[:2].mean(axis=0)
    length = max(float(np.linalg.norm(down)), 2.0)
    down = down / length
    radius = int(length) + 2
    x, y = points[3].round().astype(int)
    left, top = max(0, x - radius), max(0, y - radius)
    part = frame[top:max(top, y + radius), left:max(left, x + radius)]
    if part.size == 0:
        return frame
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in part.shape[1::-1])), -1)
    offset = grid - (points[3] - (left, top))
    along, across = offset @ down, offset @ np.array([-down[1], down[0]])
    near = np.exp(-(along / (0.42 * length)) ** 2 - (across / (0.45 * length)) ** 2)
    push = 0.1 * length * amount * near * np.where(along > 0, 1.0, 0.35) * np.tanh(
        along / (0.05 * length))
    source = (grid - push[..., None] * down).astype(np.float32)
    moved = cv2.remap(part, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    slit = 0.06 * length * max(amount, 0.1)
    gap = np.exp(-(along / slit) ** 4 - (across / (0.26 * length)) ** 4)
    shade = 1 - 0.7 * min(max(amount, 0.0), 1.0) * gap[..., None]
    result = frame.copy()
    result[top:top + part.shape[0], left:left + part.shape[1]] = moved * shade
    return result
