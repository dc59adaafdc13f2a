"""Give a donor's one picture the target's expression, frame by frame, as face swaps do.

The target's face is laid over the donor's in every frame. Where it moves against a reference
frame, the donor's picture is bent with it (lips, brows, eyelids); what moving does not explain
(an open mouth, a wrinkle) is put on as the ratio of the two brightnesses, smoothed: expression
ratio images (Liu, Shan and Zhang, "Expressive expression mapping with ratio images", SIGGRAPH
2001), with dense optical flow (DIS) in place of marked points. Noise and skin of the target do
not come along.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from benchmarks.face_swap import Donor, alignment, swap_face

FLOW_BLUR = 0.04  # of the distance from eyes to mouth
RATIO_BLUR = 0.06
MOST_RATIO = 1.5  # brighter or darker, at most
DARKEST = 12.0  # grey value added to both brightnesses: noise in the dark is no expression


def swap_faces(frames: Sequence[np.ndarray], keypoints: np.ndarray, donor: Donor,
               still: bool = False) -> list[np.ndarray]:
    """The frames with the donor's face, which follows the target's or keeps still.

    frames: [H, W, 3] uint8 BGR each; keypoints: [N, 6, 2] pixels, the face in each.
    """
    donors = [donor] * len(frames) if still else with_expression(donor, frames, keypoints)
    return [swap_face(*each) for each in zip(frames, keypoints, donors)]


def with_expression(donor: Donor, frames: Sequence[np.ndarray],
                    keypoints: np.ndarray) -> list[Donor]:
    """The donor with the face that the target makes in each frame.

    frames: the target's [H, W, 3] uint8 BGR; keypoints: [N, 6, 2] pixels, its face in each.
    """
    size = donor.image.shape[1::-1]
    faces = [cv2.warpAffine(frame, alignment(points, donor.keypoints), size,
                            borderMode=cv2.BORDER_REPLICATE)
             for frame, points in zip(frames, keypoints)]
    grays = [cv2.cvtColor(face, cv2.COLOR_BGR2GRAY) for face in faces]
    reference = _most_usual(grays, donor.mask)
    length = float(np.linalg.norm(donor.keypoints[3] - donor.keypoints[:2].mean(axis=0)))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size)), axis=-1)
    inside = donor.mask[..., None]  # where the face ends, the target's surroundings begin
    bent = []
    for face, gray in zip(faces, grays):
        back = flow.calc(gray, grays[reference], None)  # frame -> reference
        places = grid + inside * cv2.GaussianBlur(back, (0, 0), FLOW_BLUR * length)
        ratio = _ratio(face, _look_up(faces[reference], places), RATIO_BLUR * length)
        image = _look_up(donor.image, places) * (1 + inside * (ratio - 1))
        image = np.clip(image, 0, 255).astype(np.uint8)
        bent.append(replace(donor, image=image))
    return bent


def _most_usual(grays: Sequence[np.ndarray], mask: np.ndarray) -> int:
    """The frame whose face [h, w] is nearest to the mean of all, inside the mask."""
    faces = np.stack(grays).astype(np.float32)
    return int(np.argmin((np.abs(faces - faces.mean(axis=0)) * mask).sum(axis=(1, 2))))


def _look_up(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """image [h, w, 3] at places [h, w, 2] pixels."""
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _ratio(face: np.ndarray, reference: np.ndarray, sigma: float) -> np.ndarray:
    """[h, w, 3] float32: how much brighter the smoothed face is than the smoothed reference."""
    above, below = (cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma) + DARKEST
                    for picture in (face, reference))
    return np.clip(above / below, 1 / MOST_RATIO, MOST_RATIO)
