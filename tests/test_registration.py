"""Known similarities between pictures are recovered; strangers have none."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from step4_scene_trace import LEAST_SPREAD, VERIFIED_INLIERS, verified_inliers
from utils.layout import VideoRecord
from utils.registration import (MAX_KEYPOINTS, MAX_SIDE, MIN_INLIERS, Keypoints, Mapping,
                                covered_share, find_keypoints, register)


def photo(name: str, size: tuple[int, int] = (400, 300)) -> np.ndarray:
    """A photograph of skimage.data, [H, W, 3] uint8 BGR."""
    image = np.ascontiguousarray(getattr(data, name)()[..., ::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def keypoints(image: np.ndarray, background: np.ndarray | None = None, faces=()) -> Keypoints:
    everywhere = np.ones(image.shape[:2], bool)
    return find_keypoints(image, everywhere if background is None else background, faces)


def similarity(scale: float, degrees: float, dx: float, dy: float) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, dx], [s, c, dy]])


def matched(fake: Keypoints, source: Keypoints, flip: bool = False) -> Mapping | None:
    return register(fake, source, flip=flip, fake_frame=3, source_frame=40, width=400)


def corner_error(found: np.ndarray, wanted: np.ndarray) -> float:
    corners = np.float64([[0, 0], [399, 0], [0, 299], [399, 299]])[None]
    return float(np.abs(cv2.transform(corners, found) - cv2.transform(corners, wanted)).max())


CASES = [similarity(1, 0, 12, -7), similarity(0.7, 0, 40, 30), similarity(1.4, 6, -60, -70),
         similarity(0.9, -12, 10, 80)]


@pytest.mark.parametrize("matrix", CASES)
def test_a_known_similarity_is_recovered(matrix):
    fake = photo("astronaut")
    source = cv2.warpAffine(fake, matrix, (400, 300))
    found = matched(keypoints(fake), keypoints(source))
    assert corner_error(found.matrix, matrix) < 1.5
    assert not found.flip and (found.fake_frame, found.source_frame) == (3, 40)
    assert found.inliers == found.background_inliers == len(found.fake_points) > 30
    mapped = cv2.transform(found.fake_points[None].astype(np.float64), matrix)[0]
    assert np.abs(mapped - found.source_points).max() < 8


def test_a_small_picture_in_a_busy_one_gets_its_share_of_the_keypoints():
    source, stones = photo("astronaut") // 3 + 60, cv2.resize(data.gravel(), (640, 480))
    busy = cv2.cvtColor(stones, cv2.COLOR_GRAY2BGR)
    small = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    busy[200:350, 300:500] = small
    everywhere = np.ones(busy.shape[:2], bool)
    strongest, spread = (find_keypoints(busy, everywhere, spread=value) for value in (False, True))
    assert MAX_KEYPOINTS < len(spread.points) < 2 * MAX_KEYPOINTS

    def inside(found: Keypoints) -> int:
        return int(((found.points >= (300, 200)) & (found.points < (500, 350))).all(1).sum())

    assert inside(spread) > 2 * inside(strongest)
    found = matched(spread, keypoints(source))
    lost = matched(strongest, keypoints(source))
    assert found.inliers > MIN_INLIERS and (lost is None or lost.inliers < found.inliers)
    assert corner_error(cv2.invertAffineTransform(found.matrix), similarity(0.5, 0, 300, 200)) < 3


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 16), (40, 30)])
@pytest.mark.parametrize("spread", [False, True])
def test_a_picture_without_anything_in_it_has_no_keypoints(size, spread):
    image = np.full((*size, 3), 90, np.uint8)
    found = find_keypoints(image, np.ones(size, bool), spread=spread)
    assert found.points.shape == (0, 2) and found.descriptors.shape == (0, 128)


def test_spread_keypoints_are_the_same_where_there_are_few():
    image = cv2.GaussianBlur(photo("coffee"), (0, 0), 4)
    everywhere = np.ones(image.shape[:2], bool)
    one, other = (find_keypoints(image, everywhere, spread=value) for value in (False, True))
    assert 20 < len(one.points) < MAX_KEYPOINTS
    order, other_order = (np.lexsort(found.points.T) for found in (one, other))
    np.testing.assert_allclose(one.points[order], other.points[other_order])


@pytest.mark.parametrize("matrix", CASES[:2])
def test_a_mirrored_picture_is_recovered_in_the_mirror(matrix):
    mirror = photo("astronaut")
    fake, source = mirror[:, ::-1].copy(), cv2.warpAffine(mirror, matrix, (400, 300))
    found = matched(keypoints(mirror), keypoints(source), flip=True)
    straight = matched(keypoints(fake), keypoints(source))
    assert found.flip and corner_error(found.matrix, matrix) < 1.5
    assert straight is None or straight.inliers < found.inliers / 4
    # points are told in the fake as it is: mirrored back they map onto the source's
    back = (found.fake_points * (-1, 1) + (399, 0))[None]
    assert np.abs(cv2.transform(back, matrix)[0] - found.source_points).max() < 8


@pytest.mark.parametrize("first, second", [("astronaut", "rocket"), ("rocket", "chelsea"),
                                           ("chelsea", "retina")])
def test_strangers_have_no_mapping(first, second):
    assert matched(keypoints(photo(first)), keypoints(photo(second))) is None


def test_the_same_call_gives_the_same_mapping():
    fake = photo("astronaut")
    source = cv2.warpAffine(fake, CASES[2], (400, 300))
    first, second = (matched(keypoints(fake), keypoints(source)) for _ in range(2))
    assert np.array_equal(first.matrix, second.matrix) and first.inliers == second.inliers


def test_a_plain_wall_has_no_features():
    plain = keypoints(np.full((300, 400, 3), 120, np.uint8))
    assert plain.points.shape == (0, 2) and plain.descriptors.shape == (0, 128)
    assert matched(plain, keypoints(photo("astronaut"))) is None
    assert matched(keypoints(photo("astronaut")), plain) is None


def test_few_features_make_no_mapping():
    found = keypoints(photo("astronaut"))
    few = Keypoints(*(part[:MIN_INLIERS - 1] for part in (found.points, found.descriptors,
                                                          found.on_background)))
    assert matched(few, few) is None


def test_features_know_where_they_lie():
    background = np.zeros((300, 400), bool)
    background[:, 200:] = True
    found = keypoints(photo("astronaut"), background)
    assert np.array_equal(found.on_background, found.points[:, 0] >= 200)
    assert 0 < found.on_background.sum() < len(found.points)
    pair = matched(found, found)
    assert 0 < pair.background_inliers < pair.inliers


def test_faces_are_left_out():
    image = photo("astronaut")
    inside = [(130.0, 40.0, 100.0, 100.0)]
    x, y = keypoints(image, faces=inside).points.T
    within = ((x - 180) / 50) ** 2 + ((y - 85) / 60) ** 2 < 1
    x, y = keypoints(image).points.T
    assert not within.any() and (((x - 180) / 50) ** 2 + ((y - 85) / 60) ** 2 < 1).any()


def test_large_frames_are_told_in_their_own_pixels():
    image = photo("astronaut", (400, 300))
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    assert max(large.shape) > MAX_SIDE
    found = matched(keypoints(image), keypoints(large))
    assert np.hypot(*found.matrix[:, 0]) == pytest.approx(4, rel=0.02)
    # pixel centres: 4 (x + 0.5) - 0.5
    assert corner_error(found.matrix, np.array([[4, 0, 1.5], [0, 4, 1.5]])) < 6


def test_two_strangers_with_the_same_watermark_agree_on_little_of_the_picture():
    """Many matches, all of them on it; those of a known pair cover most of the picture."""
    strangers = []
    for name in ("astronaut", "coffee"):
        picture = photo(name, (640, 360))
        for line, text in enumerate(("Generated", "by Example")):
            cv2.putText(picture, text, (20, 310 + 30 * line), cv2.FONT_HERSHEY_SCRIPT_COMPLEX, 0.8,
                        (255, 255, 255), 2, cv2.LINE_AA)
        strangers.append(keypoints(picture))
    narrow = matched(*strangers)
    assert narrow.inliers >= VERIFIED_INLIERS
    assert covered_share(narrow.fake_points, 640, 360) < LEAST_SPREAD
    records = [VideoRecord(name, 1, "0" * 64, 25.0, 9, 640, 360, list(range(9)), {})
               for name in ("fake.mp4", "source.mp4")]
    assert verified_inliers(narrow, *records) == 0
    same = matched(strangers[0], keypoints(cv2.warpAffine(photo("astronaut", (640, 360)), CASES[1],
                                                          (640, 360))))
    assert verified_inliers(same, *records) == same.inliers
    small = replace(same, fake_points=same.fake_points / 10)  # a small window shows the source
    assert verified_inliers(small, *records) == same.inliers
    assert verified_inliers(None, *records) == 0


def test_the_share_that_points_cover():
    square = np.array([[10, 20], [50, 20], [50, 40], [10, 40], [30, 30]], np.float32)
    assert covered_share(square, 100, 80) == pytest.approx(0.1)
    assert covered_share(square[:1], 100, 80) == 0
