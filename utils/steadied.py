"""A fake whose whole picture moves, as if it stood still (utils/camera_path.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from utils.fake_motion import FakeRoots
from utils.geometry import Rectangle, largest_rectangle, mirror_image

CameraPath = dict[int, np.ndarray]  # of every frame the similarity [2, 3] to the middle one


def steadied(picture: np.ndarray, matrix: np.ndarray,
             interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """A picture [H, W] or [H, W, 3] uint8 where it lies in the middle frame's; black beside it."""
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=interpolation)


def shown(size: tuple[int, int], matrix: np.ndarray) -> np.ndarray:
    """[H, W] bool, where a steadied() picture shows something; size: its width and height."""
    whole = steadied(np.full(size[::-1], 255, np.uint8), matrix)
    return cv2.erode(whole, np.ones((3, 3), np.uint8)) > 250


@dataclass(frozen=True)
class SteadiedRoots(FakeRoots):
    """What step 3 wrote of one fake, steadied."""

    path: CameraPath = field(default_factory=dict)
    persons: dict[str, Rectangle | None] = field(default_factory=dict)  # as boxes() gives them

    @classmethod
    def of(cls, roots: FakeRoots, fake_id: str, path: CameraPath) -> "SteadiedRoots":
        """The same folders for a fake whose pictures move along a path. Reads all its masks."""
        steady = cls(roots.frames, roots.masks, roots.rectangles, path)
        return replace(steady, persons={str(index): largest_rectangle(steady.mask(fake_id, index))
                                        for index in path})

    def picture(self, fake_id: str, index: int) -> np.ndarray:
        return steadied(super().picture(fake_id, index), self.path[index])

    def mask(self, fake_id: str, index: int) -> np.ndarray:
        return steadied(super().mask(fake_id, index), self.path[index], cv2.INTER_NEAREST)

    def boxes(self, fake_id: str) -> dict[str, Rectangle | None]:
        return self.persons


@dataclass(frozen=True)
class Steadying:
    """How the whole picture of a fake moves."""

    path: CameraPath
    seen: dict = field(default_factory=dict)  # of a source by which that was found: `source`,
    # `flip`, `fake_frame` and `mapping`, as in a candidate of step 4


def steadied_candidates(candidates: Sequence[dict], steadying: Steadying,
                        width: int) -> list[dict]:
    """Step 4's candidates with the mappings that the steadied pictures have; one that had none has
    the one that was seen along the way.

    width: of the fake's pictures, pixels.
    """
    known = [{**one, **steadying.seen} if one["mapping"] is None
             and one["source"] == steadying.seen.get("source") else one for one in candidates]
    return [{**one, "mapping": _mapping(one, steadying.path[one["fake_frame"]], width)}
            if one["mapping"] is not None else one for one in known]


def _mapping(candidate: dict, matrix: np.ndarray, width: int) -> list[list[float]]:
    """The mapping of a candidate that starts from a steadied frame; matrix: of that frame."""
    mirror = mirror_image(width) if candidate["flip"] else np.eye(3)
    steady = mirror @ np.vstack([matrix, [0, 0, 1]]) @ mirror
    return (np.vstack([candidate["mapping"], [0, 0, 1]]) @ np.linalg.inv(steady))[:2].tolist()
