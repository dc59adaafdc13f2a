"""Frames of sources are decoded once per fake, and are those of the file."""

from types import SimpleNamespace

import numpy as np
import pytest

from clips import numbered_clip
from utils.kept_frames import KeptFrames
from utils.seek import decode_to
from utils.video import VideoError, VideoReader

COUNT = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered_clip(tmp_path_factory.mktemp("kept") / "a.mp4", COUNT)


@pytest.fixture
def source():
    return SimpleNamespace(file="a.mp4", all_times_s=np.arange(COUNT) / 25)


class Decoder:
    """Decodes, and keeps in mind what it was asked for."""

    def __init__(self, clip):
        self.clip, self.asked = clip, []

    def __call__(self, source, wanted):
        self.asked.append(sorted(wanted))
        return decode_to(self.clip, wanted)


def numbers(frames) -> list[int]:
    return [frame.index for frame in frames]


def test_frames_are_the_files_and_are_decoded_once(clip, source):
    truth = [frame.image for frame in VideoReader(clip)]
    decoder = Decoder(clip)
    frames = KeptFrames(decoder)
    for wanted in ({20, 9}, {9, 12, 20}, {3}, set(range(21))):
        found = list(frames(source, wanted))
        assert numbers(found) == sorted(wanted)
        assert all(np.array_equal(frame.image, truth[frame.index]) for frame in found)
    assert decoder.asked == [[9, 20]]  # the others were on the way
    assert numbers(frames(source, {19, 25, 30})) == [19, 25, 30]
    assert decoder.asked == [[9, 20], [25, 30]]


def test_frames_beyond_a_source_are_not_looked_for(clip, source):
    decoder = Decoder(clip)
    frames = KeptFrames(decoder)
    assert numbers(frames(source, range(-5, COUNT + 9))) == list(range(COUNT))
    assert not list(frames(source, {-1, COUNT}))
    assert len(decoder.asked) == 1


def test_what_was_asked_for_stays_longest(clip, source):
    size = next(decode_to(clip, {0})).nbytes
    decoder = Decoder(clip)
    frames = KeptFrames(decoder, 10 * size)
    list(frames(source, {30}))  # there is room for the first nine on its way
    list(frames(source, {30, *range(9)}))
    list(frames(source, {35}))
    list(frames(source, {35, 30}))
    assert decoder.asked == [[30], [35]]
    list(frames(source, set(range(20, 30))))
    list(frames(source, {30, 35}))
    assert decoder.asked[2:] == [list(range(20, 30)), [30, 35]]
    assert frames._bytes == len(frames._kept) * size <= 10 * size


def test_more_than_there_is_room_for_is_given_all_the_same(clip, source):
    frames = KeptFrames(Decoder(clip), next(decode_to(clip, {0})).nbytes)
    for _ in range(2):
        assert numbers(frames(source, range(COUNT))) == list(range(COUNT))


def test_sources_are_told_apart_and_errors_come_through(clip, source):
    def decode(other, wanted):
        if other.file != "a.mp4":
            raise VideoError(f"{other.file}: no such file")
        return decode_to(clip, wanted)
    frames = KeptFrames(decode)
    list(frames(source, {3}))
    with pytest.raises(VideoError, match="b.mp4"):
        list(frames(SimpleNamespace(file="b.mp4", all_times_s=source.all_times_s), {3}))
