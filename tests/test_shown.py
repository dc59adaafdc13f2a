"""Frames are given as they are shown, whoever reads them, and files are not blamed for it."""

from itertools import product

import av
import cv2
import numpy as np
import pytest

from clips import HEIGHT, WIDTH, number_of, numbered, numbered_clip, set_matrix, write_clip
from utils.seek import read_frames
from utils.sparse_reader import SparseReader, outline_of
from utils.video import VideoReader, flaws, probe

COUNT = 30


def joined(path, *clips):
    """Clips one after the other, as transport streams allow."""
    path.write_bytes(b"".join(clip.read_bytes() for clip in clips))
    return path


def others(path) -> list[list[np.ndarray]]:
    """All frames, as the readers that leave some out give them."""
    times = np.array([frame.time_s for frame in VideoReader(path)])
    wanted = range(len(times))
    return [[frame.image for frame in found] for found in (
        SparseReader(path, wanted, outline_of(path)), read_frames(path, wanted, times))]


@pytest.mark.parametrize("transposed, left, up", [*product([False, True], [1, -1], [1, -1])])
def test_display_matrices_turn_and_mirror(tmp_path, transposed, left, up):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT)
    set_matrix(clip, *((0, up, left, 0) if transposed else (left, 0, 0, up)))
    expected = numbered(7).transpose(1, 0, 2) if transposed else numbered(7)
    expected = expected[::up, ::left]
    for frames in ([frame.image for frame in VideoReader(clip)], *others(clip)):
        assert frames[7].shape == expected.shape
        assert np.abs(frames[7].astype(int) - expected).mean() < 5
    assert (probe(clip).height, probe(clip).width) == expected.shape[:2]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("ratio, size", [
    ("2/1", (2 * WIDTH, HEIGHT)), ("1/2", (WIDTH, 2 * HEIGHT)), ("4/3", (128, HEIGHT)),
    ("16/15", (102, HEIGHT)), ("100/99", (WIDTH, HEIGHT)), ("9/1", (WIDTH, HEIGHT))])
def test_pixels_are_made_square(tmp_path, name, ratio, size):
    clip = numbered_clip(tmp_path / name, COUNT, aspect=ratio)
    for frames in ([frame.image for frame in VideoReader(clip)], *others(clip)):
        assert {frame.shape[1::-1] for frame in frames} == {size}
        small = cv2.resize(frames[9], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - numbered(9)).mean() < 5
    assert (probe(clip).width, probe(clip).height) == size
    assert {frame.image.shape[1::-1] for frame in VideoReader(clip, max_side=max(size) // 2)} == {
        (size[0] // 2, size[1] // 2)}


def test_wide_pixels_turned(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", 3, aspect="2/1")
    set_matrix(clip, 0, 1, -1, 0)
    assert {frame.image.shape[:2] for frame in VideoReader(clip)} == {(2 * WIDTH, HEIGHT)}


@pytest.mark.parametrize("scale", [2, 0.5])
def test_frames_of_another_size_are_scaled_to_the_first_ones(tmp_path, scale):
    size = int(WIDTH * scale), int(HEIGHT * scale)
    other = [cv2.resize(numbered(COUNT + index), size, interpolation=cv2.INTER_AREA)
             for index in range(COUNT)]
    clip = joined(tmp_path / "clip.ts", numbered_clip(tmp_path / "a.ts", COUNT, bf="0"),
                  write_clip(tmp_path / "b.ts", other, bf="0"))
    for frames in ([frame.image for frame in VideoReader(clip)], *others(clip)):
        assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
        assert [number_of(frame) for frame in frames] == list(range(2 * COUNT))


def test_frames_of_another_shape_are_laid_into_the_first_ones(tmp_path):
    tall = [np.full((2 * HEIGHT, HEIGHT, 3), 200, np.uint8)] * 5
    clip = joined(tmp_path / "clip.ts", numbered_clip(tmp_path / "a.ts", 5, bf="0"),
                  write_clip(tmp_path / "b.ts", tall, bf="0"))
    last = list(VideoReader(clip))[-1].image
    assert last.shape == (HEIGHT, WIDTH, 3)
    bright = (last.mean(axis=2) > 100).mean(axis=0) > 0.9
    assert bright.sum() == HEIGHT // 2 and bright[WIDTH // 2 - 12:WIDTH // 2 + 12].all()
    assert last[:, :8].max() < 40 and last[:, -8:].max() < 40


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts"])
def test_sound_that_goes_on_is_no_sign_of_a_cut_file(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, sound_s=3.0)
    reader = VideoReader(clip)
    assert len(list(reader)) == COUNT
    assert flaws(reader.info, COUNT) is None and flaws(probe(clip), COUNT) is None


def with_its_table_in_front(clip):
    """The same MP4 or MOV in another order."""
    with av.open(str(clip)) as container, av.open(str(clip.with_stem("front")), "w", options={
            "movflags": "faststart"}) as target:
        streams = [target.add_stream_from_template(stream) for stream in container.streams]
        for packet in container.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return clip.with_stem("front")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov"])
def test_a_cut_file_with_sound_is_noticed(tmp_path, name):
    clip = numbered_clip(tmp_path / name, 4 * COUNT, sound_s=5.0)
    clip = clip if name.endswith("mkv") else with_its_table_in_front(clip)
    assert flaws(probe(clip), 4 * COUNT) is None
    clip.write_bytes(clip.read_bytes()[:clip.stat().st_size * 2 // 3])
    reader = VideoReader(clip)
    found = len(list(reader))
    assert COUNT < found < 3.5 * COUNT
    assert "cut off" in flaws(reader.info, found) and "cut off" in flaws(probe(clip), found)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_a_late_start_is_no_sign_of_a_cut_file(tmp_path, name):
    times = [100 + index / 25 for index in range(COUNT)]
    clip = numbered_clip(tmp_path / name, COUNT, times=times, bf="0")
    reader = VideoReader(clip)
    assert len(list(reader)) == COUNT
    assert flaws(reader.info, COUNT) is None and flaws(probe(clip), COUNT) is None


def test_what_an_edit_list_leaves_out_is_not_missed(tmp_path):
    whole = numbered_clip(tmp_path / "whole.mp4", COUNT, bf="0", g="250")
    clip, hidden = tmp_path / "clip.mp4", 12
    with av.open(str(whole)) as container, av.open(str(clip), "w") as target:
        stream = container.streams.video[0]
        copied = target.add_stream_from_template(stream)
        late = round(hidden / 25 / stream.time_base)
        for packet in container.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - late, packet.dts - late, copied
                target.mux(packet)
    reader = VideoReader(clip)
    found = [number_of(frame.image) for frame in reader]
    assert found == list(range(hidden, COUNT))
    assert flaws(reader.info, len(found)) is None and flaws(probe(clip), len(found)) is None


@pytest.mark.parametrize("default", [0, 1])
def test_the_stream_that_is_shown_by_default_is_read_and_the_others_are_named(tmp_path, default):
    path = tmp_path / "clip.mp4"
    flag = av.stream.Disposition.default
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.width, stream.height = (number + 1) * WIDTH, (number + 1) * HEIGHT
            stream.pix_fmt = "yuv420p"
            stream.disposition = flag if number == default else av.stream.Disposition(0)
        for index in range(COUNT):
            for stream in streams:
                image = cv2.resize(numbered(index), (stream.width, stream.height))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        for stream in streams:
            container.mux(stream.encode())
    reader = VideoReader(path)
    frames = [frame.image for frame in reader]
    assert {frame.shape[1] for frame in frames} == {(default + 1) * WIDTH}
    assert "2 video streams" in flaws(reader.info, COUNT)
    assert f"{(default + 1) * WIDTH}x" in flaws(probe(path), COUNT)


def test_times_go_on_where_the_clock_begins_anew(tmp_path):
    one = numbered_clip(tmp_path / "a.ts", 50, bf="0")
    frames = list(VideoReader(joined(tmp_path / "clip.ts", one, one)))
    times = [frame.time_s for frame in frames]
    assert len(frames) == 100
    assert np.diff(times) == pytest.approx(0.04, abs=0.002)
