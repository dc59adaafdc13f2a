"""Heatmap, mapping between clips, flow colours: on pictures made here."""

import doctest

import cv2
import numpy as np
import pytest

from benchmarks import heatmap_check
from clips import person_frames, write_clip
from utils import heatmap, report_words
from utils.clip_mapping import ClipMapping, find_mapping, rescaled, warp
from utils.curve import draw_curve
from utils.evidence_pictures import heat_picture, match_picture
from utils.flow_picture import SMALLEST_SCALE, flow_picture, flow_scale, wheel_picture
from utils.side_by_side import compared, fit_pictures
from utils.steadied import steadied
from utils.video import VideoReader

COUNT = 8
SPOT = (slice(60, 110), slice(70, 120))  # rows and columns that are changed


@pytest.fixture(scope="module")
def sources() -> list[np.ndarray]:
    return list(person_frames(1, COUNT, "coffee"))


def copied(frames: list[np.ndarray], path, crf: int = 30) -> list[np.ndarray]:
    """The frames after H.264."""
    clip = write_clip(path / "copy.mp4", frames, crf=str(crf))
    return [frame.image for frame in VideoReader(clip)]


def spoiled(frames: list[np.ndarray]) -> list[np.ndarray]:
    """The frames with other content in one spot."""
    pattern = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    result = [frame.copy() for frame in frames]
    for frame in result:
        frame[SPOT] = cv2.resize(pattern, (50, 50), interpolation=cv2.INTER_CUBIC)
    return result


def heat_of(fakes, sources, flip=False, path=()):
    fit = fit_pictures(fakes, sources, flip, [], (1.0, 1.0), path)
    fakes, laid, covered = compared(fit.mapping, fakes, sources, path)
    ratios = heatmap.excess(fakes, laid, covered, fit.look)
    return heatmap.heat(heatmap.over_time(ratios, covered), fit.look), covered


def test_a_copy_stays_quiet(sources, tmp_path):
    """Compression, another size, other colours: nothing was changed."""
    small = [cv2.resize(frame, (144, 144), interpolation=cv2.INTER_AREA) for frame in sources]
    recoloured = [np.uint8(np.clip(0.85 * frame + (12, 5, 20), 0, 255)) for frame in small]
    heat, covered = heat_of(copied(recoloured, tmp_path), sources)
    assert covered.mean() > 0.95
    assert heat[covered].mean() < 0.02 and np.quantile(heat[covered], 0.99) < 0.4


def test_a_copy_that_fades_in_stays_quiet_but_for_the_change(sources, tmp_path):
    def faded(frames):
        shares = np.linspace(0.15, 1, len(frames))
        return [np.uint8(share * frame) for share, frame in zip(shares, frames)]
    heat, covered = heat_of(copied(faded(sources), tmp_path, 23), sources)
    assert heat[covered].mean() < 0.02
    heat, covered = heat_of(copied(faded(spoiled(sources)), tmp_path, 23), sources)
    inside = np.zeros(heat.shape, bool)
    inside[:, SPOT[0], SPOT[1]] = True
    assert heat[inside].mean() > 0.8 and heat[covered & ~inside].mean() < 0.1


def test_heat_is_where_the_change_is(sources, tmp_path):
    heat, covered = heat_of(copied(spoiled(sources), tmp_path), sources)
    inside = np.zeros(heat.shape, bool)
    inside[:, SPOT[0], SPOT[1]] = True
    assert heat[inside].mean() > 0.8
    around = cv2.dilate(inside[0].astype(np.uint8), np.ones((25, 25))) > 0
    assert heat[:, ~around].mean() < 0.02


def test_a_steadied_fake_is_compared_where_its_frame_is(sources):
    """Its picture was shaken by up to 24 pixels; the black beside it is no difference."""
    moved = [np.float32([[1, 0, 8 * (i % 7 - 3)], [0, 1, 5 * (i % 5 - 2)]]) for i in range(COUNT)]
    shaken = [cv2.warpAffine(frame, cv2.invertAffineTransform(matrix), frame.shape[1::-1])
              for frame, matrix in zip(spoiled(sources), moved)]
    heat, covered = heat_of([steadied(*pair) for pair in zip(shaken, moved)], sources, path=moved)
    for cover, (x, y) in zip(covered, (matrix[:, 2].astype(int) for matrix in moved)):
        inside = np.zeros(cover.shape, bool)
        inside[max(0, y):cover.shape[0] + min(0, y), max(0, x):cover.shape[1] + min(0, x)] = True
        assert not (cover & ~inside).any() and cover.sum() > 0.95 * inside.sum()
    around = np.zeros(heat.shape[1:], bool)
    around[SPOT[0].start - 20:SPOT[0].stop + 20, SPOT[1].start - 20:SPOT[1].stop + 20] = True
    assert heat[(slice(None), *SPOT)].mean() > 0.8
    assert heat[:, ~around].mean() < 0.02 and np.quantile(heat[:, ~around], 0.99) < 0.4


def test_no_heat_where_the_source_does_not_reach(sources):
    fakes = np.stack(spoiled(sources))
    covered = np.ones(fakes.shape[:3], bool)
    covered[:, SPOT[0], SPOT[1]] = False
    look = heatmap.fit_look(fakes, np.stack(sources), covered)
    ratios = heatmap.excess(fakes, np.stack(sources), covered, look)
    assert ratios[:, :, SPOT[0], SPOT[1]].max() == 0 < ratios.max()


def test_colour_fit_lets_go_of_outliers():
    rng = np.random.default_rng(0)
    source = cv2.resize(rng.uniform(0, 200, (12, 12)).astype(np.float32), (96, 96))[None]
    fake = 0.8 * source + 15
    fake[0, :40] = 255  # two fifths are something else
    gain, offset = heatmap.fit_channel(fake, source, np.ones(fake.shape, bool))
    assert gain == pytest.approx(0.8, abs=0.02) and offset == pytest.approx(15, abs=2)


def test_blur_is_found_on_either_side(sources):
    pictures = np.stack(sources).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in pictures])
    covered = np.ones(pictures.shape[:3], bool)
    assert heatmap.fit_blur(soft, pictures, covered) == 1.2
    assert heatmap.fit_blur(pictures, soft, covered) == pytest.approx(-1.2, abs=0.35)


def test_average_over_time_by_hand():
    ratios = np.array([0.0, 3.0, 6.0, 9.0]).reshape(4, 1, 1, 1)
    covered = np.ones((4, 1, 1), bool)
    assert heatmap.over_time(ratios, covered, 1).ravel().tolist() == [1.5, 3.0, 6.0, 7.5]
    assert heatmap.together(ratios, covered).item() == 4.5
    covered[0] = False  # where it is 0 therefore
    assert heatmap.over_time(ratios, covered, 1).ravel().tolist() == [3.0, 4.5, 6.0, 7.5]
    assert heatmap.together(ratios, covered).item() == 6.0


@pytest.mark.parametrize("noise, cold", [(0.002, heatmap.COLD), (0.02, heatmap.COLD_COARSE),
                                         (0.0032, 5.0)])
def test_heat_begins_later_in_a_coarse_copy(noise, cold):
    look = heatmap.Look(np.ones(3), np.zeros(3), 0.0, np.full(2, noise))
    assert look.cold == pytest.approx(cold, rel=0.02)
    assert heatmap.heat(np.full((2, 1, 1), look.cold), look).item() == pytest.approx(0, abs=1e-6)
    assert heatmap.heat(np.full((2, 1, 1), heatmap.HOT), look).item() == pytest.approx(1)


@pytest.mark.parametrize("flip", [False, True])
def test_mapping_is_found_without_a_guess(sources, flip):
    """A crop, enlarged by a fifth and turned a little."""
    matrix = cv2.getRotationMatrix2D((96, 96), 2.0, 1 / 1.2) + [[0, 0, 5], [0, 0, -4]]
    fakes = [warp(frame, matrix, (180, 170), flip)[0] for frame in sources]
    found = find_mapping(fakes, sources, flip, [])
    corners = np.array([[[0, 0], [180, 0], [0, 170], [180, 170]]], float)
    error = cv2.transform(corners, found.matrix) - cv2.transform(corners, matrix)
    assert found.fits and np.linalg.norm(error, axis=-1).max() < 1


def test_strangers_do_not_fit(sources):
    others = list(person_frames(5, COUNT, "brick"))
    upside_down = [np.ascontiguousarray(frame[::-1]) for frame in others]
    assert not find_mapping(sources, upside_down, False, []).fits


def test_rescaled_mapping_says_the_same():
    rng = np.random.default_rng(1)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (120, 160, 3)).astype(np.uint8), (0, 0), 4)
    matrix = np.array([[0.9, 0.05, 8], [-0.05, 0.9, 6]])
    large, _ = warp(picture, matrix, (160, 120), False)
    half = cv2.resize(picture, (80, 60), interpolation=cv2.INTER_AREA)
    small, _ = warp(half, rescaled(matrix, 0.5, 0.5), (80, 60), False)
    expected = cv2.resize(large, (80, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected)[5:-5, 5:-5].mean() < 2


def test_mirrored_source_is_shown_as_the_fake_is():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :10] = 255
    shown, covered = ClipMapping(np.eye(2, 3), True, 1.0).warp(picture, (30, 20))
    assert shown[10, 25].tolist() == [255] * 3 and shown[10, 5].tolist() == [0] * 3
    assert covered[2:-2, 2:-2].all()


def test_flow_colours_are_those_of_the_wheel():
    flow = np.array([[[1, 0], [0, 0], [0, 1], [-1, 0], [5, 0]]], np.float32)
    right, none, down, left, far = flow_picture(flow, 1.0)[0].tolist()
    assert right == [0, 0, 255] and none == [255] * 3
    assert down[2] == 255 and down[1] > 200 and down[0] == 0  # yellow, a little red in it
    assert left[0] == 255 and left[2] == 0  # between cyan and blue
    assert far == [0, 0, round(255 * 0.75)]
    assert wheel_picture(31)[0, 0].tolist() == [255] * 3


def test_flow_scale_holds_the_person_only():
    flow = np.zeros((10, 10, 2), np.float32)
    flow[:5, :, 0], flow[5:, :, 0] = 2.03, 50
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    assert flow_scale([flow], [mask]) == pytest.approx(2.1)
    assert flow_scale([], []) == SMALLEST_SCALE


def test_heat_picture_shows_heat_and_what_is_not_covered():
    frame, heat = np.full((40, 40, 3), 100, np.uint8), np.zeros((40, 40), np.float32)
    heat[10:20, 10:20] = 1
    covered = np.ones((40, 40), bool)
    covered[30:] = False
    picture = heat_picture(frame, heat, covered).astype(int)
    assert np.ptp(picture[5, 5]) <= 1 and picture[15, 15].min() > picture[5, 5].max()
    assert set(np.unique(picture[32:])) == {120, 150}


def test_matched_points_are_joined():
    black = np.zeros((100, 100, 3), np.uint8)
    picture = match_picture(black, black, np.array([[50, 50]]), np.array([[50, 50]]))
    assert picture.shape == (200, 406, 3) and picture[100, 150].any()
    assert match_picture(black, black, np.zeros((0, 2)), np.zeros((0, 2)))[:, :200].max() == 0


def test_curve_has_peak_and_runner_up():
    scores = np.zeros(50)
    scores[[10, 11, 30]] = 0.9, 0.8, 0.5
    curve = draw_curve(scores.tolist())
    assert curve["peak"]["frame"] == 10 and curve["second"]["frame"] == 30
    assert len(curve["points"].split()) == 50
    section = draw_curve(scores.tolist(), 700)
    assert (section["peak"]["frame"], section["second"]["frame"]) == (710, 730)
    assert section["points"] == curve["points"]
    assert draw_curve([]) is None and draw_curve([0.1, 0.2])["second"] is None
    assert len(draw_curve([0.5] * 5000)["points"].split()) <= 1200


@pytest.mark.parametrize("module", [report_words, heatmap_check])
def test_examples_in_the_text_hold(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


def test_labels_of_the_check_by_hand():
    grey = np.array([[[0.0] * 3, [200.0] * 3, [0.0] * 3]])
    black, white = np.zeros((1, 3, 3)), np.array([[[255.0] * 3, [255.0] * 3, [100.0] * 3]])
    assert heatmap_check.labels(grey, black, white).tolist() == [[False, True, True]]
