"""Person masks out of probabilities: what is too small goes, all else stays as it is."""

import cv2
import numpy as np
import pytest
from skimage.measure import label, regionprops

from clips import person_frames
from models.segmenter import SelfieSegmenter, person_mask, tiles


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """[200, 200] float32, 0.9 inside boxes of x, y, width and height."""
    probability = np.full((200, 200), 0.1, np.float32)
    for x, y, width, height in boxes:
        probability[y:y + height, x:x + width] = 0.9
    return probability


@pytest.mark.parametrize("boxes, kept", [
    ([], 0), ([(50, 50, 60, 80)], 4800), ([(50, 50, 60, 80), (5, 5, 6, 6)], 4800),
    ([(50, 50, 60, 80), (150, 150, 20, 20)], 5200), ([(5, 5, 6, 6)], 0), ([(5, 5, 8, 5)], 40),
    ([(0, 0, 50, 50), (50, 50, 3, 3)], 2509)],
    ids=["nobody", "one", "one and a speck", "two", "a speck", "just enough", "by a corner"])
def test_specks_go(boxes, kept):
    mask = person_mask(drawn(*boxes))
    assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 255}
    assert np.count_nonzero(mask) == kept


def test_an_island_in_a_hole_is_a_region_of_its_own():
    ring = drawn((20, 20, 100, 100))
    ring[40:100, 40:100] = 0.1
    ring[60:65, 60:65] = 0.9
    assert not person_mask(ring)[50:70, 50:70].any() and person_mask(ring)[30, 30]


@pytest.mark.parametrize("seed", range(12))
def test_masks_are_those_of_labelled_regions(seed):
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.random((90, 70)).astype(np.float32), (0, 0), seed / 2 + 0.3)
    probability = (smooth - smooth.mean()) / smooth.std() * 0.2 + rng.uniform(0.2, 0.8)
    labels = label(probability >= 0.5, connectivity=2)
    large = [region.label for region in regionprops(labels) if region.area >= 0.001 * labels.size]
    assert np.array_equal(person_mask(probability), np.isin(labels, large) * np.uint8(255))


@pytest.mark.parametrize("height, width", [(100, 251), (100, 400), (400, 100), (90, 1000), (7, 30)])
def test_tiles_cover_a_long_picture(height, width):
    seen = np.zeros((height, width), int)
    for tile in tiles(height, width):
        assert max(seen[tile].shape) <= 1.5 * min(height, width) + 1
        seen[tile] += 1
    assert seen.min() >= 1 and seen.max() <= 4


@pytest.mark.parametrize("across", [0, 1])
def test_people_in_very_long_pictures_are_found(across):
    picture = next(person_frames(1, 1, "coffee"))
    other = np.full_like(picture, 90)
    long = np.concatenate([other, picture, other, other], axis=across)
    probability = SelfieSegmenter().probability(long)
    assert probability.shape == long.shape[:2] and probability.dtype == np.float32
    parts = np.split(person_mask(probability) > 0, 4, axis=across)
    alone = person_mask(SelfieSegmenter().probability(picture)) > 0
    assert (parts[1] & alone).sum() > 0.6 * (parts[1] | alone).sum()
    assert parts[1].mean() > 20 * max(parts[number].mean() for number in (0, 2, 3))
