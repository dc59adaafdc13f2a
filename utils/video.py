"""Reading and writing video files.

Every frame has one number: its 0-based index in the order in which the decoder gives the
frames. Files are decoded from their start, never sought, so the number is exact for
B-frames, long GOPs, odd start times and variable frame rates alike.

Files come from strangers: only regular files are opened, only as the containers below (a playlist
called .mp4 could name other files and addresses), and decoding has limits of size and time.
"""

import stat
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

VIDEO_EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv",
                    ".flv", ".3gp", ".ts", ".gif")
# FFmpeg's demuxers for these, and for what often bears their extensions
FORMATS = "mov,avi,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,h264,hevc,m4v,ogg,gif"
MAX_PIXELS = 8192 * 8192  # a header that announces more is taken for damage
WAIT_S = 60  # for the storage to answer
TIME_LIMIT_S, FRAME_LIMIT_S, LONGEST_S = 3600, 0.05, 6 * 3600  # that decoding one file may take,
# the use of its frames not counted: an hour, or more where the header promises many frames


class VideoError(Exception):
    """A video file cannot be used; the text names the file and the reason."""


@dataclass(frozen=True)
class VideoInfo:
    """What the container says of its first video stream."""

    fps: float  # average frames per second
    width: int  # as shown, rotation applied
    height: int
    frames_expected: int  # packets of the stream; the decoder may give fewer
    frames_promised: int  # what the header says, or its duration; more when the file was cut off


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int  # 0-based, decode order
    time_s: float  # presentation time from the start of the first frame
    image: np.ndarray  # [H, W, 3] uint8, BGR


def probe(path: Path) -> VideoInfo:
    """Size, frame rate and packet count of the first video stream, with one frame decoded.

    Raises VideoError when the file holds no video that can be decoded.
    """
    reader = VideoReader(path, wanted={0}, threads=1)
    next(iter(reader), None)
    return replace(reader.info, frames_expected=count_packets(path))


def count_packets(path: Path) -> int:
    """Packets of the first video stream that carry data, up to the first damage of the container.

    Nothing is decoded, which may give fewer frames. Raises VideoError when the file cannot be read.
    """
    with open_container(path) as container:
        stream = video_stream(container, path)
        return sum(map(carries_data, in_time(read_packets(container, stream), path,
                                             frames_promised(container, stream))))


def cut_short(info: VideoInfo, decoded: int) -> str | None:
    """A warning when far fewer frames could be decoded than the file promises, else None."""
    promised = max(info.frames_expected, info.frames_promised)
    if decoded >= 0.9 * promised - 2:
        return None
    return (f"only {decoded} of about {promised} frames can be decoded; if the file is damaged or "
            "cut off, get a whole one")


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
        self._info: VideoInfo | None = None  # by the header: frames_expected are those it lists
        self._packets, self._duration_s, self._last_s = 0, 0.0, 0.0  # as far as it was read
        self._reformatter = VideoReformatter()  # a new one per frame takes longer than its work

    def __iter__(self) -> Iterator[Frame]:
        self.decoded = self._packets = 0
        start_time = None
        with open_container(self.path) as container:
            stream, promised = self._begin(container)
            packets = self._counted(read_packets(container, stream))
            decoded = in_time(decode_packets(packets, stream), self.path, promised)
            for index, raw in enumerate(frame for frames in decoded for frame in frames):
                self.decoded = index + 1
                self._describe(raw, stream, promised)
                time_s = raw.time or 0.0
                start_time = time_s if start_time is None else start_time
                self._last_s = time_s - start_time
                if self.wanted is None or index in self.wanted:
                    yield Frame(index, time_s - start_time, self.convert(raw))
            for _ in in_time(packets, self.path, promised):
                pass  # the decoder gave up, the container goes on

    def _begin(self, container: av.container.InputContainer) -> tuple[av.VideoStream, int]:
        """The stream, ready to be decoded, and how many frames the file promises."""
        stream = video_stream(container, self.path)
        stream.thread_type = "SLICE"  # frame threads would lose frames beside damage
        stream.codec_context.thread_count = self.threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._duration_s = (container.duration or 0) / av.time_base
        return stream, frames_promised(container, stream)

    def _describe(self, raw: av.VideoFrame, stream: av.VideoStream, promised: int) -> None:
        """Keep what the first frame tells."""
        self._info = self._info or VideoInfo(float(rate_of(stream)), *_shown(raw), stream.frames,
                                             promised)

    def _counted(self, packets: Iterator[av.Packet | None]) -> Iterator[av.Packet | None]:
        for packet in packets:
            self._packets += carries_data(packet)
            yield packet

    @property
    def info(self) -> VideoInfo:
        """As probe() gives it, once all frames have been given; before that with fewer packets.

        What the duration promises goes by the rate of the frames that were decoded: where it
        varies the header's may be another. Raises VideoError when no frame could be decoded.
        """
        if self._info is None:
            raise VideoError(f"{self.path}: no frame can be decoded; is it a complete video file?")
        promised = self._info.frames_promised
        if self.decoded > 1 and self._last_s > 0:
            rate = (self.decoded - 1) / self._last_s
            promised = max(self._info.frames_expected, int(self._duration_s * rate))
        return replace(self._info, frames_expected=self._packets, frames_promised=promised)

    def convert(self, raw: av.VideoFrame) -> np.ndarray:
        """A decoded frame as [H, W, 3] uint8 BGR. Raises VideoError where it is too large."""
        if raw.width * raw.height > MAX_PIXELS:
            raise VideoError(f"{self.path}: frames of {raw.width}x{raw.height} are too large")
        try:
            bgr = self._reformatter.reformat(raw, format="bgr24", threads=1)
            return _upright(bgr.to_ndarray(), raw.rotation, self.max_side)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise VideoError(f"{self.path}: its frames cannot be converted "
                             f"({_reason(error)})") from error


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
        raise VideoError(f"{path}: not a readable video ({_reason(error)})") from error


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first stream that is no cover picture. Raises VideoError when there is none."""
    streams = [s for s in container.streams.video if not _is_cover_picture(s)]
    if not streams:
        raise VideoError(f"{path}: the file has no video stream")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: no decoder for its video codec")
    return streams[0]


def _is_cover_picture(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


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
    """Frames of a stream, by the header or by the duration that it tells."""
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


def read_packets(container: av.container.InputContainer,
                 stream: av.VideoStream) -> Iterator[av.Packet | None]:
    """Packets up to the first damage of the container; then None, so that the decoder gives the
    frames that it still holds."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        yield None


def carries_data(packet: av.Packet | None) -> bool:
    """Whether a packet is one of the file's, and not one that ends the stream."""
    return packet is not None and packet.size > 0


def _shown(raw: av.VideoFrame) -> tuple[int, int]:
    """Width and height of a frame, turned as its display matrix has it."""
    return (raw.height, raw.width) if _quarter_turns(raw.rotation) % 2 else (raw.width, raw.height)


def _quarter_turns(rotation: int | None) -> int:
    """Quarter turns counter-clockwise, 0 to 3, that a display matrix asks for."""
    return round((rotation or 0) / 90) % 4


def _upright(image: np.ndarray, rotation: int | None, max_side: int | None) -> np.ndarray:
    """A picture turned as its display matrix has it, at most max_side on its longer side."""
    if max_side and max(image.shape[:2]) > max_side:
        scale = max_side / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    quarter_turns = _quarter_turns(rotation)
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


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
