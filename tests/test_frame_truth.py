"""Frame numbers and pictures against an independent decoder: the frame dump of the ffmpeg program.

The clips carry their frames' numbers in the pictures; both decoders have to agree on all of them.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bad_files import CONTAINERS
from clips import number_of, numbered_clip, set_rotation
from utils.video import VideoReader, probe

COUNT = 60
UNEVEN = [0.04 * index + 0.013 * (index % 3) + 1.5 * (index > 20) for index in range(COUNT)]
CLIPS = {
    "b frames.mp4": {"bf": "3", "g": "250"},
    "b pyramid.mkv": {"bf": "5", "x264-params": "b-pyramid=normal:b-adapt=0"},
    "open gop.mp4": {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"},
    "open gop.mkv": {"codec": "libx265", "x265-params": "open-gop=1:keyint=12:log-level=error"},
    "open gop.mpg": {"codec": "mpeg2video", "bf": "2", "g": "12"},
    "variable.mp4": {"bf": "3", "times": UNEVEN},
    "variable.mkv": {"bf": "2", "times": [5 + time for time in UNEVEN]},
    "variable.webm": {**CONTAINERS["webm"], "times": UNEVEN},
    "interlaced.mpg": {"codec": "mpeg2video", "flags": "+ildct+ilme"},
    "mpeg4.avi": {"codec": "mpeg4", "bf": "2"}, "intra.mov": {"g": "1"},
}

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None,
                                reason="the ffmpeg program is the other decoder")


def dump(path: Path, width: int, height: int) -> np.ndarray:
    """Every frame that ffmpeg decodes, none dropped or doubled: [N, H, W, 3] uint8 BGR."""
    command = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-vsync", "passthrough", "-f",
               "rawvideo", "-pix_fmt", "bgr24", "-sws_flags", "bitexact", "-"]
    raw = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
                         timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def compare(path: Path) -> list[int]:
    """The numbers seen in the frames, which both decoders have to give alike."""
    info, frames = probe(path), list(VideoReader(path))
    theirs = dump(path, info.width, info.height)
    assert [frame.index for frame in frames] == list(range(len(theirs)))
    for frame, their in zip(frames, theirs, strict=True):
        # versions of FFmpeg round colours differently
        assert np.abs(frame.image.astype(int) - their).mean() < 2
    return [number_of(frame.image) for frame in frames]


@pytest.mark.parametrize("name", CLIPS)
def test_both_decoders_number_frames_alike(tmp_path, name):
    assert compare(numbered_clip(tmp_path / name, COUNT, **CLIPS[name])) == list(range(COUNT))


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_rotated(tmp_path, quarter_turns):
    clip = numbered_clip(tmp_path / "clip.mp4", COUNT, bf="3")
    set_rotation(clip, quarter_turns)
    compare(clip)


@pytest.mark.parametrize("name", ["b frames.mp4", "open gop.mkv", "mpeg4.avi"])
def test_a_stretch_cut_out_without_encoding(tmp_path, name):
    """Begins in the middle of a group of pictures, as clips cut by simple tools do."""
    clip = numbered_clip(tmp_path / name, COUNT, **{**CLIPS[name], "g": "10"})
    part = tmp_path / f"part{clip.suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "1.1", "-i", clip, "-c", "copy", part],
                   check=True, timeout=60)
    seen = compare(part)
    assert seen == list(range(seen[0], COUNT)) and 0 < seen[0] <= 28
