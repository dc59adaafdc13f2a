"""A fake that is a close crop of its source, in which local features find nothing to hold on to."""

import cv2
import numpy as np
import pytest

from clips import person_frames
from utils.clip_mapping import as_crop, find_mapping, rescaled, shrink, warp
from utils.registration import find_keypoints

COUNT = 5
SIZE = 150, 160  # width and height of the fakes


@pytest.fixture(scope="module")
def sources() -> list[np.ndarray]:
    return list(person_frames(1, COUNT, "coffee"))


def nothing(_: int):
    """Local features of a picture that has none."""
    return find_keypoints(np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool))


def crop_of(sources: list[np.ndarray], matrix: np.ndarray, flip: bool) -> list[np.ndarray]:
    """Fakes whose pixels lie in the source as the matrix says, with another face."""
    fakes = [np.ascontiguousarray(warp(source, matrix, SIZE, flip)[0]) for source in sources]
    for fake in fakes:
        cv2.ellipse(fake, (75, 80), (30, 40), 0, 0, 360, (90, 120, 160), -1)
    return [cv2.GaussianBlur(fake, (0, 0), 1.5) for fake in fakes]


def error(found: np.ndarray, matrix: np.ndarray) -> float:
    """Pixels of the source by which a mapping is off at a corner of the fake."""
    corners = np.array([[[0, 0], [SIZE[0], 0], [0, SIZE[1]], SIZE]], float)
    return float(np.linalg.norm(cv2.transform(corners, found)
                                - cv2.transform(corners, matrix), axis=-1).max())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale, x, y", [(0.5, 60, 30), (0.62, 12, 70), (0.9, 30, 20)])
def test_a_crop(sources, scale, x, y, flip):
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    fakes = crop_of(sources, matrix, flip)
    found = find_mapping(fakes, sources, flip, [], nothing)
    assert found.fits and error(found.matrix, matrix) < 2


@pytest.mark.parametrize("scale, x, y", [(0.5, 60, 30), (0.62, 12, 70), (0.9, 30, 20)])
def test_a_crop_before_it_is_polished(sources, scale, x, y):
    """Larger than what is searched, so that both are scaled down."""
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    fakes, large = [[cv2.resize(one, None, fx=3, fy=3) for one in clip]
                    for clip in (crop_of(sources, matrix, False), sources)]
    (small, own), (wholes, whole) = shrink(fakes), shrink(large)
    found = rescaled(as_crop(small, wholes), 1 / (3 * own), 1 / (3 * whole))
    assert error(found, matrix) < 8


def test_the_largest_crop_is_all_of_the_source(sources):
    small, _ = shrink(sources)
    assert np.allclose(as_crop(small, small), np.eye(2, 3), atol=1e-9)


@pytest.mark.parametrize("wide, high", [(0.57, 1.0), (1.0, 0.7)])
def test_a_squeezed_picture_with_another_face(sources, wide, high):
    height, width = sources[0].shape[:2]
    size = round(wide * width), round(high * height)
    fakes = [cv2.resize(source, size, interpolation=cv2.INTER_AREA) for source in sources]
    for fake in fakes:
        cv2.ellipse(fake, (size[0] // 2, size[1] // 2), (size[0] // 5, size[1] // 4), 0, 0, 360,
                    (90, 120, 160), -1)
    found = find_mapping(fakes, sources, False, [])
    assert found.agreement > 0.7
    assert np.allclose(np.diag(found.matrix), (1 / wide, 1 / high), rtol=0.03)


def test_another_picture_is_no_crop(sources):
    others = list(person_frames(5, COUNT, "brick"))
    matrix = np.array([[0.5, 0, 60], [0, 0.5, 30]])
    assert not find_mapping(crop_of(others, matrix, False), sources, False, [], nothing).fits
