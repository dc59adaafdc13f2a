"""Reading and writing video files.

Every frame has one number: its 0-based index in the order in which the decoder gives the
frames. VideoReader decodes files from their start, so the number is exact for B-frames, long
GOPs, odd start times and variable frame rates alike; utils/seek.py and utils/sparse_reader.py
give the same numbers without decoding all.

Files come from strangers: only regular files are opened, only as the containers below (a playlist
called .mp4 could name other files and addresses), and decoding has limits of size and time.
"""

import stat
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from utils.shown import Shown

VIDEO_EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv",
                    ".flv", ".3gp", ".ts", ".gif")
# FFmpeg's demuxers for these, and for what often bears their extensions
FORMATS = "mov,avi,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,h264,hevc,m4v,ogg,gif"
MAX_PIXELS = 8192 * 8192  # a header that announces more is taken for damage
WAIT_S = 60  # for the storage to answer
READING = 2  # to be raised when the same file would be read another way
NO_HEADER = {"mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v"}  # formats that tell no duration
RESTART_S = 1.0  # by which time has to jump back for a clock that was started anew
TIME_LIMIT_S, FRAME_LIMIT_S, LONGEST_S = 3600, 0.05, 6 * 3600  # that decoding one file may take,
# the use of its frames not counted: an hour, or more where the header promises many frames


class VideoError(Exception):
    """A video file cannot be used; the text names the file and the reason."""


@dataclass(frozen=True)
class VideoInfo:
    """What the container says of its video_stream()."""

    fps: float  # average frames per second
    width: int  # as shown (utils/shown.py)
    height: int
    frames_expected: int  # packets of the stream that are shown; the decoder may give fewer
    frames_promised: int  # by the header; more when the file was cut off
    streams: int = 1  # of video, cover pictures not counted


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # 0-based, decode order
    time_s: float  # presentation time from the start of the first frame
    image: np.ndarray  # [H, W, 3] uint8, BGR


def probe(path: Path) -> VideoInfo:
    """Size and frame rate of the video stream, with one frame decoded, and how many packets of it
    carry what is shown, up to the first damage of the container.

    Raises VideoError when the file holds no video that can be decoded.
    """
    reader = VideoReader(path, wanted={0}, threads=1)
    next(iter(reader), None)
    return replace(reader.info, **_counted(path, reader.info.fps))


def _counted(path: Path, rate: float) -> dict[str, int]:
    """PacketCount.frames() of a whole file."""
    count = PacketCount()
    with open_container(path) as container:
        stream = video_stream(container, path)
        for _ in in_time(count.packets(container, stream), path,
                         frames_promised(container, stream)):
            pass
    return count.frames(rate)


def flaws(info: VideoInfo, decoded: int) -> str | None:
    """A warning when far fewer frames could be decoded than the file promises, or when it holds
    further videos; else None."""
    said = []
    promised = max(info.frames_expected, info.frames_promised)
    if decoded < 0.9 * promised - 2:
        said.append(f"only {decoded} of about {promised} frames can be decoded; if the file is "
                    "damaged or cut off, get a whole one")
    if info.streams > 1:
        said.append(f"it has {info.streams} video streams, of which the one of {info.width}x"
                    f"{info.height} pixels is read; if it is another one, make a file of that one")
    return "; ".join(said) or None


class VideoReader:
    """Decodes a video from its start; iterate over it to get its frames in order.

    wanted: only these frame indices are converted and given.
    max_side: frames whose longer side is larger are scaled down to it (area averaging).
    threads: decoder threads, 0 for as many as the machine has.
    Damaged packets are skipped. Iterating raises VideoError when the file cannot be opened, its
    frames are too large, or decoding takes longer than time_limit_s() of them allows.
    """

    def __init__(self, path: Path, wanted: Container[int] | None = None,
                 max_side: int | None = None, threads: int = 0):
        self.path, self.wanted, self.max_side, self.threads = Path(path), wanted, max_side, threads
        self.decoded = 0  # frames decoded so far, given or not
        self._shown: Shown | None = None  # as the first frame tells
        self._fps, self._streams = 0.0, 0
        self._last_s = 0.0  # as far as it was read
        self._read = PacketCount()
        self._reformatter = VideoReformatter()  # a new one per frame takes longer than its work

    def __iter__(self) -> Iterator[Frame]:
        for index, time_s, raw in self.raw_frames():
            if self.wanted is None or index in self.wanted:
                yield Frame(index, time_s, self.convert(raw))

    def raw_frames(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """All frames, whichever are wanted, for convert(): (index, time in seconds, frame)."""
        self.decoded, self._last_s = 0, 0.0
        start_time = None
        with open_container(self.path) as container:
            stream, promised = self._begin(container)
            packets = self._read.packets(container, stream)
            decoded = in_time(decode_packets(packets, stream), self.path, promised)
            for index, raw in enumerate(frame for frames in decoded for frame in frames):
                self.decoded = index + 1
                self.begins_with(raw, stream)
                time_s = raw.time or 0.0
                start_time = time_s if start_time is None else start_time
                if time_s - start_time < self._last_s - RESTART_S:  # of the clock
                    start_time = time_s - self._last_s - 1 / float(rate_of(stream))
                self._last_s = time_s - start_time
                yield index, self._last_s, raw
            for _ in in_time(packets, self.path, promised):
                pass  # the decoder gave up, the container goes on

    def _begin(self, container: av.container.InputContainer) -> tuple[av.VideoStream, int]:
        """The stream, ready to be decoded, and how many frames the file may have."""
        stream = video_stream(container, self.path)
        stream.thread_type = "SLICE"  # frame threads would lose frames beside damage
        stream.codec_context.thread_count = self.threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._read = PacketCount()
        return stream, frames_promised(container, stream)

    def begins_with(self, raw: av.VideoFrame, stream: av.VideoStream) -> None:
        """Keep what the first frame tells, how the others are shown."""
        if self._shown is None:
            self._shown = Shown.of(raw, stream.sample_aspect_ratio)
            self._fps, self._streams = float(rate_of(stream)), len(streams_of(stream.container))

    @property
    def info(self) -> VideoInfo:
        """As probe() gives it, once all frames have been given; before that with fewer packets.

        What the duration promises goes by the rate of the frames that were decoded: where it
        varies the header's may be another. Raises VideoError when no frame could be decoded.
        """
        if self._shown is None:
            raise VideoError(f"{self.path}: no frame can be decoded; is it a complete video file?")
        rate = (self.decoded - 1) / self._last_s if self._last_s > 0 else self._fps
        return VideoInfo(self._fps, self._shown.width, self._shown.height, streams=self._streams,
                         **self._read.frames(rate))

    def convert(self, raw: av.VideoFrame) -> np.ndarray:
        """A decoded frame as [H, W, 3] uint8 BGR, shown as begins_with() has it. Raises VideoError
        where it is too large."""
        if raw.width * raw.height > MAX_PIXELS:
            raise VideoError(f"{self.path}: frames of {raw.width}x{raw.height} are too large "
                             f"(at most {MAX_PIXELS / 1e6:.0f} megapixels); scale it down first")
        try:
            bgr = self._reformatter.reformat(raw, format="bgr24", threads=1)
            return self._shown.picture(bgr.to_ndarray(), self.max_side)
        except (av.error.FFmpegError, ValueError, MemoryError, cv2.error) as error:
            raise VideoError(f"{self.path}: its frames cannot be converted "
                             f"({_reason(error)})") from error


class PacketCount:
    """What was read of a file's packets, and what its header promises."""

    def __init__(self):
        self._shown = 0  # pictures of the stream
        self._hidden, self._listed = 0, 0  # those that an edit list leaves out; all, by a table
        self._end_s, self._duration_s = 0.0, 0.0  # of all streams: read, and by the header

    def packets(self, container: av.container.InputContainer,
                stream: av.VideoStream) -> Iterator[av.Packet | None]:
        """Those of a stream, as read_packets() gives them, counted."""
        if container.format.name not in NO_HEADER:
            self._duration_s = (container.duration or 0) / av.time_base
        if "mp4" in container.format.name:
            self._listed = len(stream.index_entries)
        for packet in read_packets(container, stream, self._heard):
            self._shown += is_shown(packet)
            self._hidden += carries_data(packet) and not is_shown(packet)
            yield packet

    def _heard(self, packet: av.Packet) -> None:
        """Of any stream: sound may go on after the last picture."""
        if packet.pts is not None and carries_data(packet):
            end = packet.pts + (packet.duration or 0)
            self._end_s = max(self._end_s, float(end * packet.time_base))

    def frames(self, rate: float) -> dict[str, int]:
        """frames_expected and frames_promised of a VideoInfo, of `rate` frames per second."""
        missing = int(max(0.0, self._duration_s - self._end_s) * rate)
        return {"frames_expected": self._shown,
                "frames_promised": max(self._shown + missing, self._listed - self._hidden)}


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file that is one of FORMATS. Raises VideoError for anything else."""
    path = Path(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = ("no such file" if isinstance(error, FileNotFoundError)
                  else f"cannot be read ({_reason(error)})")
        raise VideoError(f"{path}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe would keep its reader waiting
        raise VideoError(f"{path}: not a regular file")
    if status.st_size == 0:
        raise VideoError(f"{path}: the file is empty")
    try:
        # a "file:" address keeps names with colons or leading dashes from being read as options
        return av.open(f"file:{path}", metadata_errors="replace", timeout=WAIT_S,
                       options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: not a readable video ({_reason(error)}); is it one, and was all "
                         "of it saved?") from error


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The stream that is shown by default, or the first; cover pictures do not count. Raises
    VideoError when there is none."""
    streams = streams_of(container)
    if not streams:
        raise VideoError(f"{path}: the file has no video stream")
    stream = next((s for s in streams if s.disposition & av.stream.Disposition.default), streams[0])
    if stream.codec_context is None:
        raise VideoError(f"{path}: no decoder for its video codec; convert it, for example to "
                         "H.264")
    return stream


def streams_of(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Streams of video that are no cover pictures."""
    return [stream for stream in container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic]


def decode_packets(packets: Iterator[av.Packet | None],
                   stream: av.VideoStream) -> Iterator[list[av.VideoFrame]]:
    """Frames of a stream by packet; a packet that the decoder refuses costs its own ones only."""
    for packet in packets:
        try:
            frames = stream.decode(packet)
        except av.error.InvalidDataError:
            continue
        except av.error.FFmpegError:
            return
        yield frames


def frames_promised(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Frames that a stream may have, by the header or by the duration that it tells; for
    time_limit_s(), for the duration may be that of the sound."""
    return max(stream.frames, int((container.duration or 0) / av.time_base * rate_of(stream)))


def rate_of(stream: av.VideoStream) -> Fraction:
    """Frames per second of a stream, on average; 25 where its header does not tell."""
    return stream.average_rate or stream.guessed_rate or Fraction(25)


def time_limit_s(frames: int) -> float:
    """Seconds that decoding a file may take which promises so many frames."""
    return min(max(TIME_LIMIT_S, FRAME_LIMIT_S * frames), LONGEST_S)


def in_time(parts: Iterator, path: Path, frames: int) -> Iterator:
    """The same, until making them has taken longer than time_limit_s(). Raises VideoError then."""
    limit = left = time_limit_s(frames)
    while True:
        begun = time.monotonic()
        try:
            part = next(parts)
        except StopIteration:
            return
        left -= time.monotonic() - begun
        if left < 0:
            raise VideoError(f"{path}: decoding it takes more than {limit:.0f} s; cut it into "
                             "shorter files")
        yield part


def read_packets(container: av.container.InputContainer, stream: av.VideoStream,
                 heard: Callable[[av.Packet], None] = lambda packet: None
                 ) -> Iterator[av.Packet | None]:
    """Packets of a stream up to the first damage of the container; then None, so that the decoder
    gives the frames that it still holds. heard: is told of those of all streams."""
    try:
        for packet in container.demux():
            heard(packet)
            if packet.stream_index == stream.index:
                yield packet
    except av.error.FFmpegError:
        yield None


def carries_data(packet: av.Packet | None) -> bool:
    """Whether a packet is one of the file's, and not one that ends the stream."""
    return packet is not None and packet.size > 0


def is_shown(packet: av.Packet | None) -> bool:
    """Whether a packet carries what is shown, not what an edit list leaves out."""
    return carries_data(packet) and not packet.is_discard


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class VideoWriter:
    """H.264 MP4 writer; use it as a context manager.

    fps: frames per second. crf: constant rate factor of x264, 0 (lossless) to 51.
    Frames are [H, W, 3] uint8 BGR, all of one size; odd sizes lose their last row or column.
    """

    def __init__(self, path: Path, fps: float, *, crf: float = 18, preset: str = "veryfast"):
        self._container = av.open(f"file:{path}", "w", format="mp4",
                                  options={"movflags": "+faststart"})
        self._stream = None
        self._rate = Fraction(fps).limit_denominator(10000)
        self._options = {"crf": str(crf), "preset": preset, "threads": "1",
                         "x264-params": "mbtree=0"}  # its AVX-512 code does not repeat itself

    def write(self, image: np.ndarray) -> None:
        """Append one frame."""
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate,
                                                      options=self._options)
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), "bgr24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds and finish the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()
