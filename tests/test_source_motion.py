"""The motion of a source, made and read piece by piece, is what it would be as a whole."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from clips import HEIGHT, WIDTH, numbered_clip
from long_motion import index_of, record_of, stored_motion
from models.flow import DisFlow
from models.motion import COARSE, cut_mask, cut_square, motion_grid
from models.pose import CELLS, small_grey
from utils import source_motion
from utils.batch import per_thread
from utils.byte_cache import ByteCache
from utils.files import GrowingArrays, map_arrays, read_arrays, write_arrays
from utils.matching import prepare
from utils.source_motion import IndexedSource, MotionIndex, stored_grid
from utils.video import VideoError, VideoReader

SQUARE = (8.0, 2.0, 60.0)


@pytest.mark.parametrize("frames", [1, 2, 64, 65, 150])
def test_pieces_join_to_the_whole(tmp_path, frames):
    clip = numbered_clip(tmp_path / "a.mp4", frames)
    segmenter = SimpleNamespace(probability=lambda image: np.ones(image.shape[:2], np.float32))
    index = MotionIndex(tmp_path, tmp_path, tmp_path, per_thread(DisFlow), lambda: segmenter)
    pieces = list(index._measure(clip, SQUARE))
    crops = np.stack([cut_square(f.image, SQUARE) for f in VideoReader(clip)])
    times, grey = (np.concatenate([piece[part] for piece in pieces]) for part in (0, 2))
    np.testing.assert_allclose(times, np.arange(frames) / 25)
    assert np.array_equal(grey, small_grey(crops, CELLS))
    moved = np.concatenate([piece[1].flow for piece in pieces])
    assert moved.shape == (frames - 1, COARSE, COARSE, 2)
    if frames > 1:
        mask = cut_mask(np.full((HEIGHT, WIDTH), 255, np.uint8), SQUARE)
        masks = np.repeat(mask[None], frames, axis=0)
        assert np.array_equal(moved, motion_grid(crops, masks, DisFlow(), COARSE).flow)
    assert all(len(piece[0]) <= source_motion.CHUNK for piece in pieces)


def test_nobody_in_a_long_source_leaves_times_alone(tmp_path):
    index = MotionIndex(tmp_path, tmp_path, tmp_path, None, None)
    pieces = list(index._measure(numbered_clip(tmp_path / "a.mp4", 130), None))
    assert [len(piece[0]) for piece in pieces] == [64, 64, 2]
    assert not any(len(piece[1]) or len(piece[2]) for piece in pieces)


def test_grown_arrays_are_the_same_bytes(tmp_path):
    arrays = stored_motion(0, 90)
    write_arrays(tmp_path / "whole.npz", {"b": 1, "a": 2}, arrays)
    with GrowingArrays(tmp_path) as growing:
        for start in range(0, 90, 40):
            growing.append(**{name: array[start:start + 40] for name, array in arrays.items()})
        with pytest.raises(ValueError, match="pose"):
            growing.append(pose=np.zeros((1, CELLS, CELLS)))
        growing.write(tmp_path / "grown.npz", {"b": 1, "a": 2})
    assert (tmp_path / "grown.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grown.npz", "whole.npz"]


def test_mapped_arrays_are_those_that_are_read(tmp_path):
    write_arrays(tmp_path / "a.npz", {"b": 1}, {**stored_motion(0, 20), "none": np.zeros((0, 3))})
    settings, mapped = map_arrays(tmp_path / "a.npz")
    assert settings == {"b": 1}
    for name, array in read_arrays(tmp_path / "a.npz")[1].items():
        assert np.array_equal(mapped[name], array) and mapped[name].dtype == array.dtype
        assert isinstance(mapped[name], np.memmap) == (array.size > 0)
    with pytest.raises(ValueError, match="read-only"):
        mapped["flow"][0] = 1


@pytest.mark.parametrize("spoil", ["bit", "cut", "compressed", "objects", "columns"])
def test_what_cannot_be_mapped_is_missing(tmp_path, spoil):
    path = tmp_path / "a.npz"
    write_arrays(path, {}, stored_motion(0, 20))
    content = bytearray(path.read_bytes())
    if spoil == "bit":
        content[len(content) // 2] ^= 4
    elif spoil == "cut":
        content = content[:-9]
    else:
        buffer, settings = io.BytesIO(), np.frombuffer(b"{}", np.uint8)
        if spoil == "compressed":
            np.savez_compressed(buffer, settings=settings, a=np.zeros(9))
        elif spoil == "objects":
            np.savez(buffer, settings=settings, a=np.array([None]))
        else:
            np.savez(buffer, settings=settings, a=np.zeros((3, 4)).T)
        content = buffer.getvalue()
    path.write_bytes(content)
    assert map_arrays(path) is None


def test_a_section_is_the_same_stretch_of_the_whole(tmp_path):
    arrays = stored_motion(3, 200)
    whole = index_of(tmp_path, a=arrays).read("a")
    part = whole.section(50, 89)
    assert (len(whole), len(part), part.first) == (200, 40, 50)
    assert np.array_equal(part.pose, arrays["pose"][50:90])
    expected = prepare(stored_grid(arrays, 50, 89))
    for mine, theirs in zip(part.motion.signatures, expected.signatures, strict=True):
        assert np.array_equal(mine, theirs)


def test_pictures_come_from_the_file_that_was_measured_or_from_none(tmp_path):
    clip = numbered_clip(tmp_path / "a.mp4", 30)
    record = replace(record_of("a.mp4", 30), size=clip.stat().st_size)
    source = IndexedSource(record, None, np.zeros((30, CELLS, CELLS), np.uint8), SQUARE,
                           np.arange(30) / 25)
    index = MotionIndex(tmp_path, tmp_path, tmp_path, None, None)
    whole = [frame.image for frame in VideoReader(clip)]
    for part in (source, source.section(10, 20)):  # numbers are the whole source's
        frames = [one.frame() for one in index.decode(part, {12, 14, 40})
                  if one.index in (12, 14)]
        assert [frame.index for frame in frames] == [12, 14]
        assert all(np.array_equal(frame.image, whole[frame.index]) for frame in frames)
    clip.write_bytes(clip.read_bytes() + b"x")
    with pytest.raises(VideoError, match="a.mp4.*step 1"):
        index.decode(source, {1})
    clip.unlink()
    assert not index.has_video(record)


def test_prepared_motion_is_kept_within_bounds():
    one = prepare(stored_grid(stored_motion(0, 30), 0, 29))
    cache, made = ByteCache(2 * one.nbytes + 9), []

    def get(key: str):
        return cache.get(key, lambda: made.append(key) or one)

    for key in "aabacab":
        assert get(key) is one
    assert made == ["a", "b", "c", "b"]
    assert one.nbytes > 30 * 4000
    assert ByteCache(1).get("large", lambda: one) is one
