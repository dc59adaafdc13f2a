"""What the edits of the benchmarks do to pictures."""

import numpy as np
import pytest

from benchmarks import edits


def test_crop_keeps_the_face_and_the_share():
    frames = [np.zeros((200, 300, 3), np.uint8)]
    frames[0][20:30, 250:260] = 255
    keypoints = np.array([[[250, 20], [260, 30]]], np.float32)
    for seed in range(20):
        part = edits.crop(frames, keypoints, 0.4, np.random.default_rng(seed))[0]
        assert part.shape[0] * part.shape[1] == pytest.approx(0.6 * 200 * 300, rel=0.03)
        assert (part == 255).sum() == 300


def test_a_closeup_shows_the_face_and_little_else():
    frames = [np.zeros((200, 300, 3), np.uint8)]
    frames[0][60:100, 140:180] = 255
    material = edits.Material(np.array([[[140, 60], [180, 100]]], np.float32), [])
    for seed in range(20):
        edited = edits.edit_pictures("closeup", frames, material, np.random.default_rng(seed))
        assert 0.65 <= edited.crop <= 0.85
        assert (edited.frames[0] > 128).mean() > 1600 / 60000 / 0.36


def test_mirror_cover_scale_border():
    frame = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert (edits.mirror([frame])[0] == frame[:, ::-1]).all()
    assert edits.cover([np.zeros((90, 40, 3), np.uint8)], 64, 48)[0].shape == (48, 64, 3)
    assert edits.scale([np.zeros((100, 75, 3), np.uint8)], 0.5)[0].shape == (50, 38, 3)
    bordered = edits.border([np.full((100, 100, 3), 7, np.uint8)], np.random.default_rng(0))[0]
    assert bordered.size > 30000 and (bordered == 7).sum() >= 30000


def test_stretches_that_go_over_into_each_other():
    frames, part = ([np.full((40, 60, 3), value, np.uint8)] * 20 for value in (0, 100))
    for mix in (edits.fade, edits.slide, edits.whip, edits.wipe):
        levels = [frame.mean() for frame in edits.go_over(frames, part, (mix, 4))]
        assert levels[:16] == [0] * 16 and levels[20:] == [100] * 16
        if mix is edits.whip:
            assert levels[16:20] == [0, 0, 100, 100]
        else:
            assert levels[15] < levels[16] < levels[17] < levels[18] < levels[19] < levels[20]
    bright = np.zeros((40, 60, 3), np.uint8)
    bright[:, 29:31] = 255
    moved = edits.whip(bright, bright, 0.2)
    assert moved[0, 30, 0] == 0 and moved[0, 18, 0] > 0 and moved.max() < 255


@pytest.mark.parametrize("tier, kinds", [
    ("crossfades", {"fade"}), ("transitions", {"slide", "whip", "wipe"}), ("jumpcuts", None)])
def test_how_stretches_go_over(tier, kinds):
    chosen = [edits.choose_transition(tier, np.random.default_rng(seed)) for seed in range(20)]
    if kinds is None:
        assert chosen == [None] * 20
    else:
        assert {mix.__name__ for mix, _ in chosen} == kinds
        assert {count for _, count in chosen} == set(edits.GOING_OVER)


def test_a_duet_shows_both_videos_whole():
    frames, others = ([np.full((40, 60, 3), base + index, np.uint8) for index in range(4)]
                      for base in (10, 100))
    for seed in range(10):
        edited = edits.edit_pictures("duet", frames, edits.Material(None, others),
                                     np.random.default_rng(seed)).frames
        assert len(edited) == 4 and edited[0].shape in ((40, 120, 3), (80, 60, 3))
        for index, frame in enumerate(edited):
            assert (frame == 10 + index).mean() == (frame == 100 + index).mean() == 0.5


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (500, 500)])
def test_an_upright_picture_holds_the_whole_frame(size):
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    canvas = edits.upright([frame])[0]
    height, width = canvas.shape[:2]
    assert width == size[1] and height >= 1.25 * size[0]
    top = (height - size[0]) // 2
    assert (canvas[top:top + size[0]] == frame).all()
    assert canvas[:top].std() < frame.std() / 3


def test_slow_motion_shows_what_lies_between():
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (0, 10, 10, 20, 20)]
    assert [int(frame[0, 0, 0]) for frame in edits.blended(frames)] == [0, 5, 10, 15, 20]


def test_recoloured_pictures_keep_their_shapes():
    frame = np.zeros((30, 40, 3), np.uint8)
    frame[10:20, 10:30] = (40, 90, 200)
    kinds = set()
    for seed in range(30):
        edited = edits.recolour([frame], np.random.default_rng(seed))[0]
        inside, outside = edited[15, 20].tolist(), edited[0, 0].tolist()
        assert inside != outside and (edited[10:20, 10:30] == inside).all()
        kinds.add("negative" if outside == [255] * 3 else "grey" if len(set(inside)) == 1
                  else "hue" if sorted(inside) == [40, 90, 200] or max(inside) == 200
                  else "contrast")
    assert kinds == {"grey", "hue", "contrast", "negative"}
