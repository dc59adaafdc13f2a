"""Frames that are decoded without their neighbours are those of decoding everything."""

import random

import numpy as np
import pytest

from bad_files import CONTAINERS
from clips import number_of, numbered_clip, set_rotation
from utils import video
from utils.layout import evenly_spaced
from utils.sparse_reader import Outline, SparseReader, outline_of
from utils.video import VideoError, VideoReader, probe

COUNT = 100
BITS = 6
GROUPS = "keyint=12:min-keyint=12:scenecut=0"
UNEVEN = [3 + 0.04 * index + 0.013 * (index % 3) + 1.5 * (index > 20) for index in range(COUNT)]
SPARSE = {  # files whose packets tell what is needed, and the most packets that ten frames need
    "groups.mp4": ({"bf": "0", "x264-params": GROUPS}, 85),
    "b frames.mp4": ({"bf": "3", "x264-params": f"{GROUPS}:b-adapt=0"}, 50),
    "b pyramid.mkv": ({"bf": "5", "x264-params": f"{GROUPS}:b-pyramid=normal:b-adapt=0"}, 50),
    "one group.mp4": ({"bf": "3", "x264-params": "keyint=999:scenecut=0:b-adapt=0"}, 65),
    "open groups.mov": ({"bf": "3", "x264-params": f"{GROUPS}:open-gop=1:b-adapt=0"}, 65),
    "refresh.mp4": ({"x264-params": "intra-refresh=1:keyint=20"}, COUNT),
    "headers again.mkv": ({"bf": "2", "x264-params": f"{GROUPS}:repeat-headers=1"}, 75),
    "slices.mp4": ({"bf": "3", "x264-params": f"{GROUPS}:slices=4:b-adapt=0"}, 50),
    "variable.mp4": ({"bf": "3", "times": UNEVEN, "x264-params": f"{GROUPS}:b-adapt=0"}, 50),
    "still pictures.mp4": ({"g": "1"}, 10),
    "old.flv": ({"bf": "2", "x264-params": GROUPS}, 75)}
WHOLE = {  # files that are decoded as a whole
    "interlaced.mp4": {"x264-params": f"{GROUPS}:tff=1"},
    "broadcast.ts": {"bf": "2", "g": "20"},
    "old.avi": CONTAINERS["avi"], "film.webm": CONTAINERS["webm"],
    "film.mkv": {"codec": "libx265", "x265-params": "keyint=12:log-level=error"}}


@pytest.fixture(name="fed")
def fixture_fed(monkeypatch) -> list[int]:
    """Sizes of the packets that a decoder was given."""
    sizes, decode = [], video.decode_packets

    def noted(packets, stream):
        return decode((sizes.append(packet.size) or packet if video.carries_data(packet) else packet
                       for packet in packets), stream)
    monkeypatch.setattr(video, "decode_packets", noted)
    return sizes


def check(path, number=10):
    """Compare a few frames with what decoding everything gives; returns the outline."""
    outline, whole = outline_of(path), VideoReader(path, threads=1)
    truth = list(whole)
    wanted = evenly_spaced(outline.count, number)
    reader = SparseReader(path, set(wanted), outline)
    found = {frame.index: frame for frame in reader}
    assert reader.decoded == len(truth) and reader.info == whole.info
    for frame in found.values():
        assert frame.time_s == pytest.approx(truth[frame.index].time_s, abs=1e-6)
        assert np.array_equal(frame.image, truth[frame.index].image)
    assert list(found) == [index for index in wanted if index < len(truth)]
    return outline


@pytest.mark.parametrize("name", SPARSE)
def test_what_is_not_needed_is_not_decoded(tmp_path, name, fed):
    options, most = SPARSE[name]
    clip = numbered_clip(tmp_path / name, COUNT, **options)
    outline = check(clip)
    assert outline.count == probe(clip).frames_expected == COUNT and outline.stamps is not None
    fed.clear()
    wanted = set(evenly_spaced(COUNT, 10))
    found = list(SparseReader(clip, wanted, outline))
    assert len(fed) == outline.needed(wanted).sum() <= most
    assert [number_of(frame.image) for frame in found] == sorted(wanted)


@pytest.mark.parametrize("name", WHOLE)
def test_other_files_are_decoded_as_a_whole(tmp_path, name, fed):
    clip = numbered_clip(tmp_path / name, COUNT, **WHOLE[name])
    outline = check(clip)
    fed.clear()
    list(SparseReader(clip, {5}, outline))
    assert len(fed) >= probe(clip).frames_expected


@pytest.mark.parametrize("number", [1, 3, COUNT, 2 * COUNT])
def test_any_number_of_frames(tmp_path, number):
    check(numbered_clip(tmp_path / "clip.mp4", COUNT, **SPARSE["b frames.mp4"][0]), number)


def test_frames_that_are_not_there_are_left_out(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, **SPARSE["b frames.mp4"][0])
    for wanted in (set(), {COUNT + 5}, {-1, 70, COUNT}):
        found = [frame.index for frame in SparseReader(clip, wanted, outline_of(clip))]
        assert found == sorted(wanted & {70})


@pytest.mark.parametrize("quarter_turns", [1, 2])
def test_rotated(tmp_path, quarter_turns):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="20")
    set_rotation(clip, quarter_turns)
    assert check(clip).stamps is not None


def test_an_outline_of_another_file_does_no_harm(tmp_path):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="20")
    others = [outline_of(numbered_clip(tmp_path / f"{number}.mp4", count, bf=bf, g="10"))
              for number, (count, bf) in enumerate([(COUNT, "0"), (COUNT - 10, "3"), (140, "3")])]
    whole = outline_of(clip)
    others.append(Outline(COUNT, whole.stamps, whole.begins, np.roll(whole.referred, 1)))
    for outline in others:
        found = {frame.index: frame for frame in SparseReader(clip, {30, 55, 80}, outline)}
        assert [number_of(found[index].image) for index in (30, 55, 80)] == [30, 55, 80]


@pytest.mark.parametrize("change", ["zeros", "noise"])
def test_a_damaged_file_is_decoded_as_a_whole(tmp_path, change):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3", g="20")
    content, rng = bytearray(clip.read_bytes()), random.Random(1)
    middle, size = len(content) // 2, len(content) // 20
    content[middle:middle + size] = bytes(size) if change == "zeros" else rng.randbytes(size)
    clip.write_bytes(content)
    assert check(clip).stamps is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_bits_turned_over(tmp_path, ending, seed):
    """A frame that such damage loses may be one that is not looked at, and is counted then."""
    clip = numbered_clip(tmp_path / f"clip.{ending}", COUNT, bf="2", g="20")
    content, rng = bytearray(clip.read_bytes()), random.Random(seed)
    for _ in range(BITS):
        content[rng.randrange(len(content) // 4, len(content) * 3 // 4)] ^= 1 << rng.randrange(8)
    clip.write_bytes(content)
    outline, whole = outline_of(clip), VideoReader(clip, threads=1)
    count, wanted = sum(1 for _ in whole), evenly_spaced(outline.count, 10)
    reader = SparseReader(clip, set(wanted), outline)
    found = {frame.index for frame in reader}
    assert abs(reader.decoded - count) <= BITS and len(found) >= len(wanted) - BITS
    assert found <= set(wanted)


def test_an_unreadable_file(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        outline_of(tmp_path / "gone.mp4")
