"""Masks, rectangles, cut-outs and mappings on constructed cases."""

import numpy as np

from utils.geometry import (background_region, cut_out, largest_rectangle, person_region,
                            square_before, square_mapping)


def test_largest_rectangle():
    mask = np.zeros((50, 60), np.uint8)
    assert largest_rectangle(mask) is None
    mask[5:10, 3:6] = 255
    mask[20:40, 30:45] = 255
    assert largest_rectangle(mask) == [30, 20, 15, 20]
    assert largest_rectangle(np.full((4, 6), 255, np.uint8)) == [0, 0, 6, 4]


def test_cut_out_is_empty_where_it_is_not_kept():
    image = np.random.default_rng(0).integers(1, 256, (8, 9, 3), np.uint8)
    keep = np.zeros((8, 9), bool)
    keep[2:5, 1:4] = True
    cut = cut_out(image, keep)
    assert cut.shape == (8, 9, 4) and not cut[~keep].any()
    assert np.array_equal(cut[keep][:, :3], image[keep]) and (cut[keep][:, 3] == 255).all()


def test_background_keeps_away_from_the_person_and_back():
    mask = np.zeros((200, 200), np.uint8)
    mask[80:140, 60:120] = 255
    background = background_region(mask)
    assert not background[mask > 0].any()
    assert not background[76:80, 80:100].any() and background[75, 90]  # 4 pixels, 2 % of 200
    assert np.array_equal(person_region(background), mask)


def map_point(matrix: np.ndarray, x: float, y: float) -> list[float]:
    return (matrix @ [x, y, 1]).tolist()


def test_square_mapping_of_a_scaled_frame():
    # the source frame is the fake's at twice the size, moved by (10, 20)
    matrix = np.array([[2.0, 0, 10], [0, 2, 20]])
    unit = square_mapping(matrix, (30, 40, 50), (70, 100, 100))
    assert np.allclose(unit, [[1, 0, 0], [0, 1, 0]])  # 2 * 30 + 10 = 70, 2 * 40 + 20 = 100
    unit = square_mapping(matrix, (30, 40, 50), (70, 100, 200))
    assert np.allclose(map_point(unit, 1, 1), [0.5, 0.5])


def test_square_mapping_of_a_mirrored_frame():
    # the source is the fake's mirror image: x -> 200 - x for edges
    straight = np.array([[1.0, 0, 0], [0, 1, 0]])
    unit = square_mapping(straight, (30, 40, 50), (120, 40, 50), mirrored_width=200)
    assert np.allclose(unit, straight)  # 200 - 30 - 50 = 120


def test_a_square_and_the_one_before_its_mapping():
    # a quarter turn, twice the size, moved
    turned = np.array([[0.0, -2, 300], [2, 0, -40]])
    assert np.allclose(square_before(turned, (100, 60, 80)), (50, 60, 40))
    straight = np.array([[2.0, 0, 10], [0, 2, 20]])
    assert np.allclose(square_before(straight, (70, 100, 100)), (30, 40, 50))
    assert np.allclose(square_before(straight, (70, 100, 100), 200), (120, 40, 50))
