"""--save-video: what the video shows, that browsers can play it, when it is made again."""

import av
import numpy as np
import pytest

from report_project import BACKWARDS, COUNT, NOTHING, SOURCE, add_fake, make_roots
from utils import trace_video
from utils.side_by_side import stretches_of
from utils.trace_video import (BAR, PANEL_SIDE, current_video, drop_videos, frames_of, panel_size,
                               video_path, write_video)
from utils.video import VideoError, VideoReader, probe


@pytest.fixture
def made(tmp_path):
    """A project with one traced fake and its video."""
    roots = make_roots(tmp_path)
    result = add_fake(roots, "sub/a.mp4", [{}])
    assert write_video(result, roots)
    return roots, result


def test_browsers_can_play_it(made):
    path = video_path(made[0], "sub/a")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.width % 2 == stream.height % 2 == 0
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads
    info = probe(path)
    assert (info.width, info.height, info.fps) == (3 * PANEL_SIDE, PANEL_SIDE + BAR, 25)
    assert sum(1 for _ in VideoReader(path)) == COUNT


def test_three_pictures_of_the_same_moment(made):
    frames = [frame.image for frame in VideoReader(video_path(made[0], "sub/a"))]
    for image in frames:
        fake, source, heat = np.hsplit(image[:PANEL_SIDE].astype(int), 3)
        spot = np.zeros((PANEL_SIDE, PANEL_SIDE), bool)
        spot[140:195, 180:235] = True  # the changed spot, in the middle of it
        away = np.zeros_like(spot)
        away[260:, :] = True
        assert np.abs(fake - source)[spot].mean() > 30 > 8 > np.abs(fake - source)[away].mean()
        assert heat[spot].mean() > 130 and np.ptp(heat[away], axis=-1).mean() < 12


def test_frame_numbers_are_burnt_in(made):
    bars = [frame.image[PANEL_SIDE:] for frame in VideoReader(video_path(made[0], "sub/a"))]
    first, last = bars[0].astype(int), bars[-1].astype(int)
    assert first[:, :PANEL_SIDE].max() > 180 and first[:, PANEL_SIDE:2 * PANEL_SIDE].max() > 180
    for panel in (slice(0, PANEL_SIDE), slice(PANEL_SIDE, 2 * PANEL_SIDE)):
        assert np.abs(first - last)[:, panel].max() > 100
    assert np.abs(first - last)[:, 2 * PANEL_SIDE:].max() < 60


def test_made_once_and_again_when_something_changed(made):
    roots, result = made
    assert not write_video(result, roots)
    before = video_path(roots, "sub/a").read_bytes()
    assert write_video(result, roots, overwrite=True)
    assert video_path(roots, "sub/a").read_bytes() == before
    result["traces"][0]["start_frame"], result["traces"][0]["end_frame"] = 3, 14
    assert write_video(result, roots)
    assert video_path(roots, "sub/a").read_bytes() != before
    video_path(roots, "sub/a").unlink()
    assert write_video(result, roots)


def test_a_video_of_an_earlier_result_is_not_shown(made):
    roots, result = made
    path = video_path(roots, "sub/a")
    assert current_video(result, roots) == path
    drop_videos([result], roots)
    assert path.is_file()
    result["traces"][0]["start_frame"], result["traces"][0]["end_frame"] = 3, 14
    assert current_video(result, roots) is None
    others = [path.with_name(name) for name in ("notes.json", "notes.mp4")]
    for other in others:
        other.write_text("{}")
    drop_videos([result], roots)
    assert not path.exists() and not path.with_suffix(".json").exists()
    assert all(other.is_file() for other in others)


def test_killed_half_way_it_leaves_nothing_that_looks_finished(made, monkeypatch):
    roots, result = made
    path = video_path(roots, "sub/a")

    def interrupted(*_):
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyboardInterrupt
    monkeypatch.setattr(trace_video, "frames_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_video(result, roots, overwrite=True)
    assert not [file for file in path.parent.iterdir() if file.suffix == ".tmp"]
    monkeypatch.undo()
    assert write_video(result, roots) and sum(1 for _ in VideoReader(path)) == COUNT


def test_no_video_without_source_frames(tmp_path):
    roots = make_roots(tmp_path)
    assert not write_video(add_fake(roots, "none.mp4", [NOTHING]), roots)
    assert not video_path(roots, "none").exists()


def test_backwards_and_over_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_video, "CHUNK", 5)
    roots = make_roots(tmp_path)
    result = add_fake(roots, "back.mp4", [{"start_frame": 30, "end_frame": 19, "rate": -1.0}],
                      [BACKWARDS])
    frames = list(frames_of(stretches_of(result)[0], result, roots))
    assert len(frames) == COUNT
    for image in frames:
        fake, source, _ = np.hsplit(image[:PANEL_SIDE].astype(int), 3)
        assert np.abs(fake - source)[260:].mean() < 8


def test_a_source_that_is_gone_is_named(made):
    roots, result = made
    (roots.videos / SOURCE).unlink()
    with pytest.raises(VideoError, match=SOURCE):
        write_video(result, roots, overwrite=True)


def test_panels_are_even():
    assert panel_size({"width": 1079, "height": 607}) == (400, 226)
    assert panel_size({"width": 10, "height": 4000}) == (2, 400)
