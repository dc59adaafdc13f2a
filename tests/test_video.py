"""Decoding gives every frame its exact number; damaged and foreign files say what is wrong."""

import av
import numpy as np
import pytest

from clips import HEIGHT, WIDTH, number_of, numbered, numbered_clip, set_rotation, write_clip, \
    write_sound
from utils.video import VideoError, VideoReader, VideoWriter, flaws, probe

COUNT = 60
FORMATS = {
    "b_frames.mp4": {"bf": "3", "g": "250"},
    "short_gop.mp4": {"g": "5"},
    "mpeg4.avi": {"codec": "mpeg4", "bf": "2"},
    "h264.mov": {"bf": "2"},
    "hevc.mkv": {"codec": "libx265", "x265-params": "log-level=error"},
    "h264.mkv": {"bf": "3", "g": "250"},
    "vp8.webm": {"codec": "libvpx", "deadline": "realtime"},
    "vp9.webm": {"codec": "libvpx-vp9", "deadline": "realtime"},
    "mpeg2.mpg": {"codec": "mpeg2video", "bf": "2"},
    "h264.flv": {"bf": "2"},
    "wmv2.wmv": {"codec": "wmv2"},
    "phone.3gp": {"bf": "0"},
    "broadcast.ts": {"bf": "2"},
    "animated.gif": {"codec": "gif", "pix_fmt": "rgb8"},
}
UNEVEN = [1.234 + 0.04 * index + 0.013 * (index % 3) + 1.5 * (index > 20) for index in range(COUNT)]


def numbers(path, **options) -> dict[int, int]:
    """Number seen in the pixels, by frame index."""
    return {frame.index: number_of(frame.image) for frame in VideoReader(path, **options)}


def same(count: int) -> dict[int, int]:
    return {index: index for index in range(count)}


@pytest.mark.parametrize("name", FORMATS)
def test_frames_come_with_their_numbers(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, **FORMATS[name])
    info = probe(clip)
    assert numbers(clip) == numbers(clip, threads=1) == same(COUNT)
    assert (info.width, info.height, info.frames_expected) == (WIDTH, HEIGHT, COUNT)
    assert info.fps == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize("name", FORMATS)
def test_chosen_frames_are_those_of_the_whole(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, **FORMATS[name])
    whole = [frame.image for frame in VideoReader(clip)]
    reader = VideoReader(clip, wanted={0, 7, 31, COUNT - 1, COUNT + 5})
    chosen = list(reader)
    assert [frame.index for frame in chosen] == [0, 7, 31, COUNT - 1]
    assert all(np.array_equal(frame.image, whole[frame.index]) for frame in chosen)
    assert reader.decoded == COUNT


@pytest.mark.parametrize("name", ["b_frames.mp4", "h264.mov", "h264.mkv", "vp8.webm"])
def test_variable_rate_and_odd_start(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, times=UNEVEN, **FORMATS[name])
    frames = list(VideoReader(clip))
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.time_s for frame in frames] == pytest.approx(
        [time - UNEVEN[0] for time in UNEVEN], abs=0.002)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["b_frames.mp4", "h264.mov"])
def test_rotation_is_honoured(tmp_path, name, quarter_turns):
    clip = numbered_clip(tmp_path / name, 3, **FORMATS[name])
    set_rotation(clip, quarter_turns)
    shown = np.rot90(numbered(1), -quarter_turns)  # clockwise
    frame = list(VideoReader(clip))[1]
    info = probe(clip)
    assert frame.image.shape == shown.shape
    assert np.abs(frame.image.astype(int) - shown).mean() < 5
    assert (info.height, info.width) == shown.shape[:2]


@pytest.mark.parametrize("name", ["h264.mkv", "mpeg4.avi", "vp8.webm", "mpeg2.mpg", "h264.flv"])
def test_a_cut_file_gives_its_frames_up_to_the_cut(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, **FORMATS[name])
    content = clip.read_bytes()
    clip.write_bytes(content[:len(content) * 3 // 4])
    found = numbers(clip)
    assert COUNT // 4 < len(found) < COUNT
    inner = len(found) - 3  # the last ones may be what the cut left of them
    assert {index: found[index] for index in range(inner)} == same(inner)
    assert numbers(clip, threads=1) == numbers(clip, threads=4) == found
    assert probe(clip).frames_expected >= len(found)


@pytest.mark.parametrize("name", ["h264.mkv", "mpeg4.avi"])
def test_a_cut_file_is_noticed(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, **FORMATS[name])
    assert flaws(probe(clip), COUNT) is None
    clip.write_bytes(clip.read_bytes()[:clip.stat().st_size // 2])
    reader = VideoReader(clip)
    found = len(list(reader))
    for info in (probe(clip), reader.info):
        assert f"only {found} of" in flaws(info, found)


def test_a_cut_mp4_with_its_table_at_the_front(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", 25) as writer:
        for index in range(COUNT):
            writer.write(numbered(index))
    content = (tmp_path / "clip.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(content[:len(content) // 2])
    found = numbers(tmp_path / "clip.mp4")
    assert COUNT // 5 < len(found) < COUNT
    assert found == numbers(tmp_path / "clip.mp4", threads=1) == same(len(found))


@pytest.mark.parametrize("name", ["h264.mkv", "mpeg4.avi", "b_frames.mp4"])
def test_damage_inside_costs_its_own_frames_only(tmp_path, name):
    clip = numbered_clip(tmp_path / name, COUNT, **{**FORMATS[name], "g": "10"})
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle:middle + 100] = bytes(100)
    clip.write_bytes(content)
    found = numbers(clip)
    assert list(found) == list(range(len(found)))  # no gap in the indices
    assert COUNT // 2 < len(found) <= COUNT
    assert list(found.values())[0] == 0 and list(found.values())[-1] == COUNT - 1
    assert list(numbers(clip, threads=1)) == list(found)  # concealed pixels may differ


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("This is not a video.\n" * 40)


def cut_table(path):
    content = numbered_clip(path, 10).read_bytes()
    path.write_bytes(content[:len(content) // 2])  # the table of an MP4 is at its end


def folder(path):
    path.mkdir()


@pytest.mark.parametrize("make, reason", [
    (empty, "empty"), (text, "not a readable video"), (write_sound, "no video stream"),
    (cut_table, "not a readable video"), (lambda path: None, "no such file"),
    (folder, "not a regular file")], ids=["empty", "text", "sound", "cut", "missing", "folder"])
def test_errors_name_the_file_and_the_reason(tmp_path, make, reason):
    path = tmp_path / "a clip.mp4"
    make(path)
    for read in (probe, lambda path: list(VideoReader(path))):
        with pytest.raises(VideoError) as error:
            read(path)
        assert str(path) in str(error.value) and reason in str(error.value)


@pytest.mark.parametrize("name", ["-i.mp4", "a:b.mp4", "http:x.mp4", "é %d 漢字.mp4", "a?b#c.mp4"])
def test_any_file_name_is_only_a_name(tmp_path, name, monkeypatch):
    numbered_clip(tmp_path / name, 4)
    monkeypatch.chdir(tmp_path)
    assert numbers(name) == same(4)


def test_one_frame(tmp_path):
    clip = numbered_clip(tmp_path / "one.mp4", 1)
    assert numbers(clip) == {0: 0}
    assert probe(clip).frames_expected == 1


@pytest.mark.parametrize("width, height", [(96, 64), (97, 65), (96, 65)])
def test_written_frames_come_back(tmp_path, width, height):
    with VideoWriter(tmp_path / "clip.mp4", 29.97, crf=10) as writer:
        for index in range(20):
            writer.write(numbered(index, width, height))
    frames = list(VideoReader(tmp_path / "clip.mp4"))
    info = probe(tmp_path / "clip.mp4")
    assert (info.width, info.height) == (width // 2 * 2, height // 2 * 2)
    assert info.fps == pytest.approx(29.97, abs=0.01)
    for index, frame in enumerate(frames):
        wanted = numbered(index, width, height)[:info.height, :info.width]
        assert np.abs(frame.image.astype(int) - wanted).mean() < 3
    assert len(frames) == 20


def test_lower_crf_is_nearer_to_the_original(tmp_path):
    errors = []
    for crf in (5, 40):
        with VideoWriter(tmp_path / f"{crf}.mp4", 25, crf=crf) as writer:
            writer.write(numbered(5))
        frame = next(iter(VideoReader(tmp_path / f"{crf}.mp4")))
        errors.append(np.abs(frame.image.astype(int) - numbered(5)).mean())
    assert errors[0] < errors[1]


@pytest.mark.parametrize("quarter_turns, size", [(0, (48, 32)), (1, (32, 48))])
def test_max_side_scales_down_only(tmp_path, quarter_turns, size):
    clip = numbered_clip(tmp_path / "clip.mp4", 12)
    set_rotation(clip, quarter_turns)
    small, large = (list(VideoReader(clip, max_side=side)) for side in (48, 500))
    assert {frame.image.shape[1::-1] for frame in small} == {size}
    assert large[0].image.shape[:2] == ((HEIGHT, WIDTH), (WIDTH, HEIGHT))[quarter_turns]
    upright = [np.rot90(frame.image, quarter_turns) for frame in small]
    assert [number_of(image) for image in upright] == list(range(12))


def test_a_reader_can_be_used_again(tmp_path):
    reader = VideoReader(numbered_clip(tmp_path / "clip.mkv", 8))
    first, second = ([frame.index for frame in reader] for _ in range(2))
    assert first == second == list(range(8))
    assert reader.decoded == 8


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    write_clip(path, [numbered(5)], codec="mjpeg", pix_fmt="yuvj420p",
               disposition=av.stream.Disposition.attached_pic)
    with pytest.raises(VideoError, match="no video stream"):
        probe(path)


def test_a_whole_file_of_a_variable_rate_is_not_taken_for_a_cut_one(tmp_path):
    slower = [0.033 * index + 0.02 * max(0, index - 10) for index in range(COUNT)]
    clip = numbered_clip(tmp_path / "clip.mkv", COUNT, times=slower, **FORMATS["h264.mkv"])
    reader = VideoReader(clip)
    assert len(list(reader)) == COUNT and flaws(reader.info, COUNT) is None
    assert flaws(reader.info, COUNT // 2)  # if only half of them could be decoded
