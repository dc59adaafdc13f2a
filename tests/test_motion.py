"""Squares, masks and motion grids: known shapes land where they should."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from models.flow import DisFlow
from models.motion import (COARSE, FINE, SIDE, MotionGrid, cut_mask, cut_square, in_blocks,
                           motion_grid, steady_square)


def grid(seed: int = 0, cells: int = FINE, pairs: int = 3) -> MotionGrid:
    rng = np.random.default_rng(seed)
    return MotionGrid(rng.normal(0, 1, (pairs, cells, cells, 2)).astype(np.float32),
                      rng.uniform(0.2, 1, (pairs, cells, cells)).astype(np.float32))


def shifted(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """[T, G, G, ...] moved down and right, zeros coming in."""
    moved = np.zeros_like(array)
    moved[:, rows:, columns:] = array[:, :array.shape[1] - rows, :array.shape[2] - columns]
    return moved


def outside(box: tuple[slice, slice], shape: tuple[int, int]) -> np.ndarray:
    mask = np.ones(shape, bool)
    mask[box] = False
    return mask


def test_steady_square_by_hand():
    assert steady_square([[10, 20, 30, 40]] * 3) == pytest.approx((4, 19, 42))
    assert steady_square([None, [10, 20, 30, 40], None]) == pytest.approx((4, 19, 42))


def test_steady_square_without_a_person():
    assert steady_square([]) is None
    assert steady_square([None, None]) is None


def test_steady_square_ignores_a_stray_frame():
    assert steady_square([[10, 20, 30, 40]] * 40 + [[500, 500, 90, 90]]) == pytest.approx(
        (4, 19, 42))


def test_steady_square_of_a_speck_is_not_tiny():
    assert steady_square([[10, 20, 1, 1]])[2] >= 16


def bright_box(rows: slice, columns: slice, shape=(400, 600)) -> np.ndarray:
    image = np.zeros(shape, np.uint8)
    image[rows, columns] = 255
    return image


@pytest.mark.parametrize("square, box, seen", [
    ((20.0, 10.0, 96.0), (slice(30, 50), slice(40, 60)), (slice(40, 80), slice(40, 80))),
    ((100.0, 50.0, 192.0), (slice(60, 90), slice(110, 150)), (slice(10, 40), slice(10, 50))),
    ((-192.0, -100.0, 768.0), (slice(100, 200), slice(0, 200)), (slice(50, 75), slice(48, 98))),
    ((-96.0, -96.0, 384.0), (slice(0, 100), slice(0, 60)), (slice(48, 98), slice(48, 78)))],
    ids=["enlarged", "as it is", "scaled down", "partly outside"])
def test_a_rectangle_lands_where_it_should(square, box, seen):
    image = bright_box(*box)
    mask = cut_mask(image, square)
    picture = cut_square(cv2.merge([image] * 3), square)
    inner = tuple(slice(part.start + 2, part.stop - 2) for part in seen)
    outer = tuple(slice(max(0, part.start - 2), part.stop + 2) for part in seen)
    assert mask.shape == (SIDE, SIDE) and picture.shape == (SIDE, SIDE, 3)
    assert (mask[inner] > 0.95).all() and not mask[outside(outer, mask.shape)].any()
    assert (picture[inner] > 240).all()
    size = (seen[0].stop - seen[0].start) * (seen[1].stop - seen[1].start)
    assert mask.sum() == pytest.approx(size, rel=0.06)


@pytest.mark.parametrize("square", [(7.3, 11.6, 300.4), (3.2, 1.7, 500.3), (40.5, 20.25, 777.0)])
def test_a_shrunk_square_lands_between_pixels(square):
    """Of slopes averages are exact, and tell where the middle of every pixel of the square lies."""
    rows, columns = np.mgrid[:803, :901]  # no multiples of what it is divided by
    slopes = np.dstack([columns, rows, columns + rows]).astype(np.float32) + 0.5
    middles = (np.arange(SIDE) + 0.5) * square[2] / SIDE
    found = cut_square(slopes, square)
    assert np.allclose(found[..., 0], middles + square[0], atol=0.05)
    assert np.allclose(found[..., 1], middles[:, None] + square[1], atol=0.05)


@pytest.mark.parametrize("side, times, shape", [((90, 120), 4, (22, 30)), ((90, 120), 1, (90, 120)),
                                                ((3, 500), 4, (1, 166))])
def test_blocks_are_averaged(side, times, shape):
    image = np.random.default_rng(0).integers(0, 255, side).astype(np.float32)
    small, shrunk = in_blocks(image, times)
    assert small.shape == shape and shrunk == side[0] // shape[0]
    assert small[0, 0] == pytest.approx(image[:shrunk, :shrunk].mean(), rel=1e-5)


@pytest.mark.parametrize("cells", [FINE, COARSE])
def test_motion_of_a_cell_is_the_mean_over_its_person(cells):
    rng = np.random.default_rng(0)
    flows = rng.normal(0, 2, (3, SIDE, SIDE, 2)).astype(np.float32)
    masks = rng.random((4, SIDE, SIDE)).astype(np.float32)
    masks[:, :40] = 0
    estimator = SimpleNamespace(along=lambda crops: flows)
    found = motion_grid(np.zeros((4, SIDE, SIDE, 3), np.uint8), masks, estimator, cells)
    step, last = SIDE // cells, cells - 1
    block = slice(last * step, SIDE), slice(2 * step, 3 * step)
    mask = masks[1][block]
    assert found.weight[1, last, 2] == pytest.approx(mask.mean(), rel=1e-5)
    expected = (flows[1][block] * mask[..., None]).sum(axis=(0, 1)) / mask.sum()
    assert np.allclose(found.flow[1, last, 2], expected, atol=1e-5)
    assert not found.flow[:, 0].any() and not found.weight[:, 0].any()


def test_outside_repeats_the_border_and_holds_nobody():
    image = np.full((40, 60, 3), 77, np.uint8)
    assert (cut_square(image, (-50.0, -50.0, 192.0)) == 77).all()
    mask = cut_mask(np.full((40, 60), 255, np.uint8), (-50.0, -50.0, 192.0))
    assert mask.sum() == pytest.approx(40 * 60)
    assert not cut_mask(np.full((40, 60), 255, np.uint8), (100.0, 0.0, 50.0)).any()


def test_mirror_turns_places_and_directions():
    flow = np.zeros((1, 12, 12, 2), np.float32)
    weight = np.zeros((1, 12, 12), np.float32)
    flow[0, 3, 1], weight[0, 3, 1] = (2, 5), 0.5
    mirrored = MotionGrid(flow, weight).mirrored()
    assert mirrored.flow[0, 3, 10].tolist() == [-2, 5] and mirrored.weight[0, 3, 10] == 0.5
    assert np.count_nonzero(mirrored.flow) == 2
    assert np.array_equal(mirrored.mirrored().flow, flow)


def test_pooling_is_a_weighted_mean():
    flow = np.zeros((1, 4, 4, 2), np.float32)
    weight = np.zeros((1, 4, 4), np.float32)
    flow[0, 0, 0], weight[0, 0, 0] = (4, 0), 1.0
    flow[0, 1, 1], weight[0, 1, 1] = (0, 8), 0.5
    pooled = MotionGrid(flow, weight).pooled(2)
    assert np.allclose(pooled.flow[0, 0, 0], [4 / 1.5, 4 / 1.5])
    assert pooled.weight[0].tolist() == [[0.375, 0], [0, 0]]
    assert not pooled.flow[0, 1:].any()


def test_pooling_to_the_same_cells_changes_nothing():
    fine = grid()
    assert np.allclose(fine.pooled(FINE).flow, fine.flow, atol=1e-5)


def test_identity_mapping_changes_nothing():
    fine = grid()
    same = fine.warped(np.array([[1.0, 0, 0], [0, 1, 0]]))
    assert np.allclose(same.flow, fine.flow, atol=1e-4)
    assert np.allclose(same.weight, fine.weight, atol=1e-6)


@pytest.mark.parametrize("rows, columns", [(0, 8), (12, 4)])
def test_a_shift_warps_as_the_shifted_data_pool(rows, columns):
    fine = grid()
    moved = fine.warped(np.array([[1.0, 0, columns / FINE], [0, 1, rows / FINE]])).pooled()
    wanted = MotionGrid(shifted(fine.flow, rows, columns),
                        shifted(fine.weight, rows, columns)).pooled()
    assert moved.flow.shape == (3, COARSE, COARSE, 2)
    assert np.allclose(moved.weight, wanted.weight, atol=1e-4)
    assert np.allclose(moved.flow, wanted.flow, atol=1e-3)


def test_a_quarter_turn_turns_displacements():
    fine = grid()
    turned = fine.warped(np.array([[0.0, -1, 1], [1, 0, 0]]))  # clockwise as seen
    wanted = np.rot90(fine.flow, -1, axes=(1, 2))
    assert np.allclose(turned.flow[..., 0], -wanted[..., 1], atol=1e-3)
    assert np.allclose(turned.flow[..., 1], wanted[..., 0], atol=1e-3)


def test_half_the_size_halves_displacements():
    flow = np.full((1, FINE, FINE, 2), (6, -2), np.float32)
    half = MotionGrid(flow, np.ones((1, FINE, FINE), np.float32)).warped(
        np.array([[0.5, 0, 0.25], [0, 0.5, 0.25]]))
    quarter = FINE // 4
    middle = slice(quarter + 1, 3 * quarter - 1)
    assert np.allclose(half.flow[0, middle, middle], (3, -1), atol=1e-4)
    assert half.weight.sum() == pytest.approx(FINE**2 / 4, rel=0.1)
    assert not half.weight[0, :quarter - 1].any()


def test_joined_stretches():
    one, two = grid(0), grid(1, pairs=2)
    both = MotionGrid.joined([one, two])
    assert len(both) == 5 and np.array_equal(both.flow[3:], two.flow)
    assert len(MotionGrid.joined([])) == 0


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (SIDE + 40, SIDE + 40, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return ((smooth - smooth.min()) * (255 / np.ptp(smooth))).astype(np.uint8)


def test_motion_of_a_moved_picture():
    image = texture()
    places = [(20, 20), (17, 22), (17, 22)]  # x, y of the window: the content moves (3, -2)
    crops = np.stack([image[y:y + SIDE, x:x + SIDE] for x, y in places])
    masks = np.zeros((3, SIDE, SIDE), np.float32)
    masks[:, 40:150, 40:150] = 1
    motion = motion_grid(crops, masks, DisFlow(), COARSE)
    inside = motion.weight[0] == 1
    assert motion.flow.shape == (2, COARSE, COARSE, 2) and inside.sum() == 36
    assert np.allclose(motion.flow[0][inside], (3, -2), atol=0.25)
    assert np.allclose(motion.flow[1][inside], 0, atol=0.1)
    assert motion.weight[0].sum() == pytest.approx(110 * 110 / 16**2, rel=1e-4)
    assert not motion.flow[:, 0].any()  # nobody there
