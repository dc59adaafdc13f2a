"""Distorted pictures, as the benchmark makes them: what moves where, and how much."""

import cv2
import numpy as np
import pytest
from skimage import data

from benchmarks import distortions

SEEDS = range(10)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:300, :400, ::-1])


def corners(picture: np.ndarray) -> np.ndarray:
    """Middle of four marks, [4, 2] pixels, one per quarter of the picture."""
    found = []
    for part in ((0, 0), (0, 1), (1, 0), (1, 1)):
        down, across = (side // 2 for side in picture.shape[:2])
        quarter = picture[part[0] * down:(part[0] + 1) * down,
                          part[1] * across:(part[1] + 1) * across, 0] > 128
        rows, columns = np.nonzero(quarter)
        found.append((columns.mean() + part[1] * across, rows.mean() + part[0] * down))
    return np.array(found)


def marks(width: int, height: int, off: float = 0.5) -> np.ndarray:
    """A dark picture with a bright mark in each quarter, `off` of the way to its corner."""
    picture = np.zeros((height, width, 3), np.uint8)
    for x in (-off, off):
        for y in (-off, off):
            at = round((1 + x) * width / 2), round((1 + y) * height / 2)
            cv2.circle(picture, at, 6, (255, 255, 255), -1)
    return picture


@pytest.mark.parametrize("zoom, pan", [(distortions.ZOOM, distortions.PAN),
                                       (distortions.FAR_ZOOM, distortions.FAR_PAN)])
def test_a_zoom_goes_in_or_out_evenly_and_shows_no_corner(zoom, pan):
    across = np.tile(np.linspace(0, 250, 400), (300, 1))
    ramp = np.dstack([across, across, np.full_like(across, 200)]).astype(np.uint8)
    largest, ways = 1.0, set()
    for seed in SEEDS:
        shown = distortions.zoom_slowly([ramp] * 9, rng(seed), zoom, pan)
        assert all((picture[1:-1, 1:-1, 2] == 200).all() for picture in shown)
        grown = [250 / np.ptp(picture[150, :, 0].astype(float)) for picture in shown]
        assert 0.98 < min(grown) and max(grown) < (1 + zoom) * 1.02
        middle = [picture[150, 200, 0].astype(float) / 250 * 400 - 200 for picture in shown]
        assert np.abs(middle).max() < pan * 400 + 4
        assert np.abs(np.diff(grown, 2)).max() < 0.08
        ways.add(np.sign(grown[-1] - grown[0]))
        largest = max(largest, *grown)
    assert ways >= {-1, 1} and largest > 1 + 0.8 * zoom


def test_a_squeezed_picture_is_whole_and_one_side_is_shorter(picture):
    for seed in SEEDS:
        (small,) = distortions.squeeze([picture], rng(seed))
        shares = sorted(a / b for a, b in zip(small.shape[:2], picture.shape[:2]))
        assert shares[1] == 1 and 0.67 < shares[0] < 0.89
        again = cv2.resize(small, picture.shape[1::-1])
        assert np.abs(again.astype(int) - picture).mean() < 10


def test_a_screen_at_an_angle_is_no_parallelogram():
    flat = marks(400, 300)
    bent = []
    for seed in SEEDS:
        one, other = distortions.film_at_an_angle([flat, flat], rng(seed))
        assert (one == other).all()
        at = corners(one)
        assert np.abs(at - corners(flat)).max() < 0.11 * 400
        bent.append(np.abs(at[0] + at[3] - at[1] - at[2]).max())
    assert max(bent) > 10


def test_a_lens_bends_either_way():
    ways = set()
    for seed in SEEDS:
        grown = []
        for off in (0.2, 0.6):
            flat = marks(400, 400, off)
            (bent,) = distortions.bend([flat], rng(seed))
            assert np.abs((corners(bent) - corners(flat)).mean(0)).max() < 1
            grown.append(np.ptp(corners(bent)) / np.ptp(corners(flat)))
        assert grown[0] > 1 and abs(grown[1] - grown[0]) > 0.03
        ways.add(grown[1] > grown[0])
    assert len(ways) == 2


def test_grain_is_new_in_every_frame_and_the_rim_is_darker():
    grey = np.full((200, 200, 3), 128, np.uint8)
    for seed in SEEDS:
        one, other = distortions.add_grain([grey, grey], rng(seed))
        assert 10 < np.std(one[80:120, 80:120]) < 35 and (one == other).mean() < 0.1
        assert one[:20, :20].mean() < one[90:110, 90:110].mean() - 15


def test_a_pixelated_face_is_hidden_and_the_rest_is_as_it_was(picture):
    keypoints = np.array([[[180, 100], [230, 100], [205, 130], [205, 150], [160, 110], [250, 110]]],
                         np.float32)
    (hidden,) = distortions.pixelate_face([picture], keypoints)
    changed = (hidden != picture).any(axis=2)
    assert changed[90:160, 170:240].mean() > 0.8
    assert not changed[:, :130].any() and not changed[200:].any()
    blocks = np.abs(np.diff(hidden[100:150, 205].astype(int), axis=0)).sum(axis=1)
    assert np.count_nonzero(blocks) < 10
    assert distortions.pixelate_face([picture], None)[0] is picture


def test_an_interpolated_frame_shows_what_moves_halfway(picture):
    shifted = [np.ascontiguousarray(picture[:200, start:start + 300]) for start in (0, 8, 8, 16, 16)]
    one, between, other, _, last = distortions.interpolate(shifted)
    assert one is shifted[0] and other is shifted[2] and last is shifted[4]

    def off(picture: np.ndarray, at: int) -> float:
        return float(np.abs(between.astype(int) - picture[:200, at:at + 300]).mean())

    assert off(picture, 4) < 0.6 * min(off(picture, 0), off(picture, 8))
