"""A few frames of an H.264 video, without decoding the pictures that they do not need.

Where step 1 takes ten frames of a film, nearly all of its pictures serve none of them. An H.264
decoder needs, for one picture, those between it and the IDR picture before it, and of them only
what others may refer to (nal_ref_idc, ITU-T H.264, 7.4.1). In MP4, MOV, Matroska and FLV files the
packets tell both: they are made of NAL units, each with its length before it (ISO/IEC 14496-15).

A frame keeps the number that VideoReader gives it. That is the rank of its packet by time, as long
as every packet gives one frame. What the packets tell against that (units that are no whole ones,
times that are missing or the same), and what the decoder does (no frame for a packet, another one
than is due, a damaged one), makes VideoReader decode the file. Damage in the pictures left out is
seen only as far as it breaks the units that a packet is made of, and what the decoder conceals with
the picture before is concealed with another: good enough to know a scene by, not to compare frames.
"""

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path

import av
import numpy as np

from utils import video
from utils.video import Frame, VideoReader

SLICES = {1, 2, 3, 4, 5}  # nal_unit_type, ITU-T H.264, table 7-1: of coded pictures,
IDR = 5  # of pictures that nothing behind them looks past, and
PARAMETERS = {7, 8, 13, 15}  # of what is needed to decode any
MOST_UNITS = 1000  # in a packet; slices and what is said beside them are far fewer


class _Inexact(Exception):
    """Only decoding all of it tells what the frames of this file are."""


@dataclass(frozen=True)
class Outline:
    """What the packets of a video tell without being decoded."""

    count: int  # of them
    stamps: np.ndarray | None = None  # [count] int64, of presentation, in the order of decoding;
    # None where only decoding tells the frames apart
    begins: np.ndarray | None = None  # [count] bool: decoding can begin here
    referred: np.ndarray | None = None  # [count] bool: other pictures may refer to this one

    def needed(self, wanted: Collection[int]) -> np.ndarray:
        """[count] bool: the packets that have to be decoded for the frames with these indices."""
        needed = np.zeros(self.count, bool)
        shown = [index for index in wanted if 0 <= index < self.count]
        for packet in np.argsort(self.stamps)[shown]:
            begin = np.flatnonzero(self.begins[:packet + 1])[-1]
            needed[begin:packet] |= self.referred[begin:packet]
            needed[packet] = True
        return needed


def outline_of(path: Path) -> Outline:
    """The packets of a video's stream, as probe() counts them.

    Nothing is decoded. Raises VideoError when the file cannot be read.
    """
    with video.open_container(path) as container:
        stream = video.video_stream(container, path)
        length_bytes = _length_bytes(stream)
        count, told = 0, (array("q"), bytearray(), bytearray())  # ten bytes a packet
        packets = video.read_packets(container, stream)
        for packet in _in_time(packets, container, stream, path):
            count += video.is_shown(packet)
            if length_bytes:
                try:
                    found = _stamp(packet), *_picture(memoryview(packet), length_bytes)
                except _Inexact:
                    length_bytes = 0
                    continue
                for kind, value in zip(told, found):
                    kind.append(value)
    if not length_bytes or not count:
        return Outline(count)
    stamps, begins, referred = map(np.frombuffer, told, (np.int64, bool, bool))
    latest = np.maximum.accumulate(stamps)
    soonest = np.minimum.accumulate(stamps[::-1])[::-1]
    in_order = begins[0] and (latest[:-1] < soonest[1:])[begins[1:]].all()
    if not in_order or len(np.unique(stamps)) < count:
        return Outline(count)
    return Outline(count, stamps, begins, referred)


class SparseReader(VideoReader):
    """VideoReader for a few frames; `outline` is outline_of() the file.

    Where decoding all of it turns out to be necessary, frames that were given before are given
    again, and `decoded` is then what the decoder gave. Raises VideoError as VideoReader does.
    """

    def __init__(self, path: Path, wanted: Collection[int], outline: Outline):
        super().__init__(path, wanted, threads=1)
        self.outline = outline

    def __iter__(self) -> Iterator[Frame]:
        if self.outline.stamps is not None:
            try:
                yield from self._chosen()
                return
            except _Inexact:
                pass
        yield from super().__iter__()

    def _chosen(self) -> Iterator[Frame]:
        """The wanted frames. Raises _Inexact when the decoder gives others than it should."""
        needed = self.outline.needed(self.wanted)
        order = np.argsort(self.outline.stamps)
        stamps = self.outline.stamps[order]
        due = compress(enumerate(stamps.tolist()), needed[order])
        with video.open_container(self.path) as container:
            stream, promised = self._begin(container)
            size = stream.width, stream.height
            packets = self._read.packets(container, stream)
            packets = compress(_in_time(packets, container, stream, self.path), needed)
            decoded = video.decode_packets(chain(packets, [None]), stream)
            for raw in chain.from_iterable(video.in_time(decoded, self.path, promised)):
                index, stamp = next(due, (None, None))
                if (raw.pts != stamp or raw.is_corrupt or raw.interlaced_frame
                        or (raw.width, raw.height) != size):
                    raise _Inexact
                self.begins_with(raw, stream)
                if index in self.wanted:
                    yield Frame(index, float((stamp - stamps[0]) * stream.time_base),
                                self.convert(raw))
            if next(due, None) is not None:
                raise _Inexact
            self._last_s = float((stamps[-1] - stamps[0]) * stream.time_base)
        self.decoded = self.outline.count


def _in_time(packets: Iterator[av.Packet | None], container: av.container.InputContainer,
             stream: av.VideoStream, path: Path) -> Iterator[av.Packet]:
    """Packets that carry data."""
    promised = video.frames_promised(container, stream)
    return filter(video.carries_data, video.in_time(packets, path, promised))


def _length_bytes(stream: av.VideoStream) -> int:
    """Bytes of the length before each NAL unit; 0 where the packets are not H.264 of this form."""
    configuration = stream.codec_context.extradata or b""
    if stream.codec_context.name != "h264" or len(configuration) < 7 or configuration[0] != 1:
        return 0
    return 1 + (configuration[4] & 3)


def _stamp(packet: av.Packet) -> int:
    """Presentation stamp. Raises _Inexact where it is missing, or the packet's frame not shown."""
    if packet.pts is None or packet.is_discard or packet.is_corrupt:
        raise _Inexact
    return packet.pts


def _picture(data: memoryview, length_bytes: int) -> tuple[bool, bool]:
    """Whether decoding can begin at a packet, and whether other pictures may refer to its.

    Raises _Inexact when it is not made of whole NAL units, or not of one picture.
    """
    at, units, kinds, referred = 0, 0, set(), False
    while at < len(data):
        size = int.from_bytes(data[at:at + length_bytes])
        at += length_bytes + size
        if not size or at > len(data):
            raise _Inexact
        header = data[at - size]
        kind = header & 31
        units += 1
        if header & 128 or not kind or units > MOST_UNITS:  # forbidden_zero_bit; not specified
            raise _Inexact
        kinds.add(kind)
        referred |= kind in SLICES and header & 96 > 0
    begins = IDR in kinds
    if not kinds & SLICES or kinds & PARAMETERS and not begins:
        raise _Inexact
    return begins, referred or bool(kinds & PARAMETERS)
