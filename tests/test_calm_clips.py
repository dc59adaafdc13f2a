"""Cutting the calmest stretch out of clips."""

import numpy as np
import pytest

from benchmarks import calm_clips
from clips import number_of, numbered, write_clip
from utils.files import InputError
from utils.video import VideoReader

CALM = range(20, 35)  # frames that all show the same


def shown(index: int) -> int:
    return CALM.start if index in CALM else index


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    write_clip(root / "long.mp4", [numbered(shown(index)) for index in range(60)], crf="10")
    write_clip(root / "more/short.mp4", [numbered(index) for index in range(10)], crf="10")
    return root


def test_the_calmest_stretch_is_cut_out_once(folder, tmp_path):
    summary = calm_clips.main(folder, tmp_path, frames=len(CALM))
    assert list(summary.failed) == ["more/short.mp4"] and "only 10 frames" in str(summary.failed)
    numbers = [number_of(frame.image) for frame in VideoReader(tmp_path / "long.mp4")]
    assert numbers == [shown(index) for index in CALM]
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("short*"))
    before = (tmp_path / "long.mp4").stat().st_mtime_ns
    calm_clips.main(folder, tmp_path, frames=len(CALM))
    assert (tmp_path / "long.mp4").stat().st_mtime_ns == before


def test_a_cut_between_scenes_is_not_calm_but_does_not_hide_calm_frames():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 9, (200, 8, 8), dtype=np.uint8)
    pictures[10:20] = pictures[10]
    pictures[15:20] = 200  # the only change among ten
    assert calm_clips.calmest(pictures, 10) == 10


def test_one_frame_has_no_motion(folder, tmp_path):
    with pytest.raises(InputError, match="2 or more"):
        calm_clips.main(folder, tmp_path, frames=1)
