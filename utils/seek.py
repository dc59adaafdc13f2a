"""Chosen frames of a long video, without decoding all that comes before them.

A frame keeps the number that VideoReader gives it, which decodes from the start. Step 5 did that
once and stored the time of every frame; here the decoder begins at a key frame, and a frame is
known by its time. Pictures that may refer to something before that key frame (the leading ones of
an open group of pictures, a refresh spread over many frames) are not taken: only what follows a
second key frame is. Where a time is not among the stored ones, where the frames do not follow each
other as they do from the start, or where a container cannot be sought, VideoReader reads instead.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np

from utils import video
from utils.video import Frame, VideoReader

NEAR = 300  # frames that are rather decoded than skipped; a group of pictures is often 250
KEYS_BACK = 6  # key frames before the wanted frame that are tried as beginnings
SMALLEST_STEP_S = 1e-4  # between two frames; below, times do not tell them apart


class _Inexact(Exception):
    """Seeking does not give the frames that decoding from the start gives."""


@dataclass(frozen=True)
class Decoded:
    """A frame as the decoder gave it; its picture is made when it is asked for."""

    index: int
    time_s: float
    raw: av.VideoFrame
    reader: VideoReader

    @property
    def nbytes(self) -> int:
        return sum(plane.buffer_size for plane in self.raw.planes)

    def frame(self) -> Frame:
        """With its picture. Raises VideoError where it cannot be made."""
        return Frame(self.index, self.time_s, self.reader.convert(self.raw))


def read_frames(path: Path, wanted: Collection[int],
                times_s: np.ndarray | None = None) -> Iterator[Frame]:
    """Frames with these indices, in order, as VideoReader(path, wanted, threads=1) gives them.

    times_s: [T] time of every frame from the first one, as decoding this file from the start gave
    them; None: decode from the start. Frames that cannot be decoded are left out. Raises VideoError
    when the file cannot be read.
    """
    return (one.frame() for one in decode_to(path, wanted, times_s) if one.index in wanted)


def decode_to(path: Path, wanted: Collection[int],
              times_s: np.ndarray | None = None) -> Iterator[Decoded]:
    """These frames, and those that are decoded on the way to them, in order; as read_frames()."""
    left, last = sorted(wanted), -1
    for one in _decode_to(path, left, times_s):
        if one.index > last:  # decoding may begin again before what was given
            last = one.index
            yield one
        if left and last == left[0]:
            left.pop(0)


def _decode_to(path: Path, left: list[int], times_s: np.ndarray | None) -> Iterator[Decoded]:
    """decode_to(), some frames more than once; left: its caller takes out what it has."""
    try:
        while left and can_seek(times_s, left):
            yield from _sought(path, first_run(left), times_s)
    except _Inexact:
        pass
    if left:
        yield from _from_start(path, left[-1])


def can_seek(times_s: np.ndarray | None, wanted: list[int]) -> bool:
    """Whether the times tell all frames apart, and seeking saves work."""
    return bool(times_s is not None and NEAR < wanted[0] <= wanted[-1] < len(times_s)
                and np.diff(times_s).min() >= SMALLEST_STEP_S)


def first_run(wanted: list[int]) -> list[int]:
    """The first of these indices, up to a gap that is worth a seek."""
    gap = next((i for i in range(1, len(wanted)) if wanted[i] - wanted[i - 1] > NEAR), len(wanted))
    return wanted[:gap]


def _from_start(path: Path, last: int) -> Iterator[Decoded]:
    reader = VideoReader(path, threads=1)
    for index, time_s, raw in reader.raw_frames():
        yield Decoded(index, time_s, raw, reader)
        if index == last:
            return


def _sought(path: Path, run: list[int], times_s: np.ndarray) -> Iterator[Decoded]:
    """These frames, all of them, and those between. Raises _Inexact where seeking does not lead to
    them."""
    with video.open_container(path) as container:
        stream = video.video_stream(container, path)
        stream.thread_type = "SLICE"  # as VideoReader decodes
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(video.MAX_PIXELS)}
        first_frame = next(_frames(container, stream, path), None)
        start_s = _time_of(first_frame)
        reader = VideoReader(path, threads=1)
        reader.begins_with(first_frame, stream)
        for begin in _beginnings(container, stream, start_s + times_s[run[0]]):
            _seek(container, stream, begin)
            frames = _trusted(_frames(container, stream, path), start_s, start_s + times_s[run[0]])
            numbered = _numbered(frames, times_s, start_s)
            first = next(numbered, None)
            if first is not None and first[0] <= run[0]:
                for index, raw in chain([first], numbered):
                    yield Decoded(index, float(times_s[index]), raw, reader)
                    if index == run[-1]:
                        return
                break  # they end before the run does
    raise _Inexact


def _frames(container: av.container.InputContainer, stream: av.VideoStream,
            path: Path) -> Iterator[av.VideoFrame]:
    """What the decoder gives from where the container stands."""
    packets = video.read_packets(container, stream)
    promised = video.frames_promised(container, stream)
    for frames in video.in_time(video.decode_packets(packets, stream), path, promised):
        yield from frames


def _time_of(raw: av.VideoFrame | None) -> float:
    """Presentation time, seconds. Raises _Inexact where there is none."""
    if raw is None or raw.time is None:
        raise _Inexact
    return raw.time


def _beginnings(container: av.container.InputContainer, stream: av.VideoStream,
                time_s: float) -> Iterator[int]:
    """Stamps to seek to: of the second key frame before a time, of the third, and so on, as far as
    the container leads to them. Raises _Inexact where it cannot be sought."""
    stamp, seen = round(time_s / stream.time_base), set()
    for number in range(KEYS_BACK):
        place = _landing(container, stream, stamp)
        if place in seen:
            return  # the first one, or this container does not go by key frames
        seen.add(place)
        if number:
            yield stamp
        stamp = place - 1


def _landing(container: av.container.InputContainer, stream: av.VideoStream, stamp: int) -> int:
    """Stamp at which reading goes on after seeking to a stamp."""
    _seek(container, stream, stamp)
    packet = next(video.read_packets(container, stream), None)
    place = None if packet is None else packet.pts if packet.dts is None else packet.dts
    if place is None:
        raise _Inexact
    return place


def _seek(container: av.container.InputContainer, stream: av.VideoStream, stamp: int) -> None:
    """Go to the key frame before a stamp. Raises _Inexact where the container cannot be sought."""
    try:
        container.seek(stamp, stream=stream, backward=True)
    except (av.error.FFmpegError, OverflowError) as error:
        raise _Inexact from error


def _trusted(frames: Iterator[av.VideoFrame], start_s: float,
             needed_s: float) -> Iterator[av.VideoFrame]:
    """Frames from the second key frame on, or from the first frame of the file; none when that is
    after the time at which they are needed."""
    keys = 0
    for raw in frames:
        keys += raw.key_frame
        trusted = keys > 1 or _time_of(raw) == start_s
        if trusted:
            yield raw
            yield from frames
        if trusted or _time_of(raw) > needed_s:
            return


def _numbered(frames: Iterator[av.VideoFrame], times_s: np.ndarray,
              start_s: float) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their indices. Raises _Inexact for a damaged one, for one whose time is not
    stored, and for one that does not follow the one before it."""
    index = None
    for raw in frames:
        time_s = _time_of(raw) - start_s
        index = int(np.abs(times_s - time_s).argmin()) if index is None else index + 1
        if (raw.is_corrupt or index >= len(times_s)
                or abs(times_s[index] - time_s) > SMALLEST_STEP_S / 4):
            raise _Inexact
        yield index, raw
