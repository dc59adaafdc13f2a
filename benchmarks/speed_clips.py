"""Clips of a wanted size and length for timing, made of the videos at hand."""

from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path

import av
import numpy as np

from benchmarks.edits import cover
from utils.video import VideoReader, VideoWriter, probe

CRF = 23
LONG_FPS = 25


def make_clip(path: Path, video: Path, frames: int, size: tuple[int, int] | None = None,
              crf: float = CRF) -> Path:
    """The first frames of a video, played forth and back when it has too few; returns the path.

    size: width and height, which the pictures are made to cover; None for their own.
    """
    if path.is_file():
        return path
    images = [frame.image for frame in VideoReader(video, wanted=range(frames), threads=1)]
    if size is not None:
        images = cover(images, *size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, probe(video).fps, crf=crf) as writer:
        for image in forth_and_back(images, frames):
            writer.write(image)
    return path


def forth_and_back(images: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """`count` pictures: all in order, then in reverse order, and so on."""
    return islice(cycle(chain(images, reversed(images[1:-1]))), count)


def make_long(path: Path, clip: Path, minutes: float) -> Path:
    """A video of that many minutes at LONG_FPS that shows a clip again and again.

    The clip is encoded once and its packets are written repeatedly: no time goes into encoding.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = round(minutes * 60 * LONG_FPS)
    with av.open(f"file:{path}", "w") as container:
        packets, stream = _packets(clip, container)
        step = stream.time_base.denominator // (LONG_FPS * stream.time_base.numerator)
        for number in range(wanted):
            content, keyframe = packets[number % len(packets)]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = number * step
            packet.duration, packet.is_keyframe = step, keyframe
            container.mux(packet)
    return path


def _packets(clip: Path, container: av.container.OutputContainer
             ) -> tuple[list[tuple[bytes, bool]], av.VideoStream]:
    """A clip encoded without B-frames, so that its packets can follow each other in any number."""
    encoder = None
    packets: list[tuple[bytes, bool]] = []
    for frame in VideoReader(clip, threads=1):
        if encoder is None:
            encoder = container.add_stream("libx264", rate=LONG_FPS, options={
                "preset": "veryfast", "crf": str(CRF), "x264-params": "bframes=0:threads=1"})
            encoder.height, encoder.width = frame.image.shape[:2]
            encoder.pix_fmt = "yuv420p"
        packets += encoder.encode(av.VideoFrame.from_ndarray(frame.image, "bgr24"))
    packets += encoder.encode()
    container.start_encoding()
    return [(bytes(packet), packet.is_keyframe) for packet in packets], encoder
