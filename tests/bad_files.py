"""A corpus of files that strangers may send: damaged, odd, hostile, or only oddly named.

corpus() writes them and tells of each what has to become of it: FINE, a result; REFUSED, one line
that names it; EITHER, one or the other. All are made here, from clips of a few frames.
"""

import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from clips import numbered, numbered_clip, set_rotation, write_clip, write_sound

FINE, REFUSED, EITHER = "fine", "refused", "either"
COUNT = 16  # frames of a clip
CONTAINERS = {"mp4": {"bf": "2"}, "mov": {}, "mkv": {"bf": "2"}, "avi": {"codec": "mpeg4"},
              "webm": {"codec": "libvpx", "deadline": "realtime"}, "flv": {},
              "mpg": {"codec": "mpeg2video", "bf": "2"}, "wmv": {"codec": "wmv2"}}
FLIPPED_BITS = 20
Make = Callable[[Path], object]


def corpus(root: Path, every: int = 1) -> dict[str, str]:
    """Write the corpus, or every n-th file of it; returns what has to become of each, by name."""
    makers: dict[str, tuple[str, Make]] = {**_damaged(), **_contents(), **_pictures(), **_headers(),
                                           **_special(), **_names()}
    # a folder per extension: two files must not differ in it alone
    names = {name if name.endswith(".mp4") else f"{name.rpartition('.')[2]}/{name}": name
             for name in sorted(makers)[::every]}
    for place, name in names.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        makers[name][1](root / place)
    return {place: makers[name][0] for place, name in names.items()
            if (root / place).is_symlink() or (root / place).exists()}


def _damaged() -> dict[str, tuple[str, Make]]:
    """Files cut off at many points, and with bits turned over."""
    found: dict[str, tuple[str, Make]] = {}
    for ending in CONTAINERS:
        for share in (0.01, 0.3, 0.6, 0.97):
            found[f"cut to {share:.0%}.{ending}"] = (EITHER, _changed(
                lambda data, share=share: data[:int(len(data) * share)]))
        for seed in (1, 2):
            found[f"bits {seed}.{ending}"] = (EITHER, _changed(
                lambda data, seed=seed: _flip_bits(data, seed)))
    return found


def _contents() -> dict[str, tuple[str, Make]]:
    """Files that hold something else than their name says."""
    outside = b"file:///etc/passwd"
    texts = {"empty.mp4": b"", "one byte.mp4": b"\0", "text.mp4": b"No video.\n" * 50,
             "page.avi": b"<!doctype html><video src=x>", "zip.mkv": b"PK\3\4" + bytes(200),
             "pickle.mp4": b"\x80\4\x8c\2os\x8c\6system\x93\x8c\4true\x85R.",
             "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\n" + outside + b"\n#EXT-X-ENDLIST\n",
             "list.mp4": b"ffconcat version 1.0\nfile '" + outside[7:] + b"'\n",
             "sdp.mp4": b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
             "random.mpg": random.Random(3).randbytes(20000), "zeros.mp4": bytes(20000)}
    found = {name: (REFUSED, lambda path, text=text: path.write_bytes(text))
             for name, text in texts.items()}
    found["random.mpg"] = (EITHER, found["random.mpg"][1])
    found["sound.mp4"] = (REFUSED, write_sound)
    found["cover.mp4"] = (REFUSED, lambda path: write_clip(
        path, [numbered(5)], codec="mjpeg", pix_fmt="yuvj420p",
        disposition=av.stream.Disposition.attached_pic))
    found["picture.mp4"] = (EITHER, lambda path: path.write_bytes(
        cv2.imencode(".jpg", numbered(3))[1].tobytes()))
    for ending, true in (("mp4", "mkv"), ("mkv", "avi"), ("avi", "mp4")):
        found[f"really {true}.{ending}"] = (FINE, _changed(lambda data: data, true))
    return found


def _pictures() -> dict[str, tuple[str, Make]]:
    """Sound files with uncommon pictures or times."""
    def clip(width: int = 96, height: int = 64, count: int = COUNT, **options) -> Make:
        return lambda path: write_clip(
            path, (numbered(index, width, height) for index in range(count)), **options)

    times = [0.04 * index + 0.7 * (index > 5) + 0.011 * (index % 3) for index in range(COUNT)]
    made = {
        "one frame.mp4": clip(count=1), "two frames.mkv": clip(count=2),
        "variable rate.mp4": clip(times=times),
        "late start.mkv": clip(times=[9 + time for time in times]),
        "one a minute.mkv": clip(times=[60.0 * index for index in range(COUNT)]),
        "thousand a second.mkv": clip(times=[index / 1000 for index in range(COUNT)]),
        "odd size.mp4": clip(97, 65, pix_fmt="yuv444p"),
        "odd size.avi": clip(101, 67, codec="ffv1"), "tall.mp4": clip(96, 1024),
        "wide.mp4": clip(2048, 32),
        "ten bits.mp4": clip(pix_fmt="yuv420p10le"),
        "four four four.mp4": clip(pix_fmt="yuv444p"), "grey.mp4": clip(pix_fmt="gray"),
        "grey ten bits.mkv": clip(codec="ffv1", pix_fmt="gray10le"),
        "alpha.mov": clip(codec="qtrle", pix_fmt="argb"),
        "alpha png.mov": clip(codec="png", pix_fmt="rgba"), "raw.avi": clip(codec="rawvideo"),
        "interlaced.mpg": clip(codec="mpeg2video", flags="+ildct+ilme"),
        "interlaced.mp4": clip(flags="+ildct+ilme", tff="1"), "all key frames.mp4": clip(g="1"),
        "jpegs.avi": clip(codec="mjpeg", pix_fmt="yuvj420p"), "gif in mkv.mkv": clip(codec="ffv1"),
        "8K.mp4": clip(7680, 4320, 2, preset="ultrafast"),
    }
    found = {name: (FINE, make) for name, make in made.items()}
    found["16x16.mp4"] = (FINE, lambda path: write_clip(
        path, [np.full((16, 16, 3), 10 * index, np.uint8) for index in range(COUNT)]))
    found["2x2.mkv"] = (FINE, lambda path: write_clip(
        path, [np.full((2, 2, 3), 9 * index, np.uint8) for index in range(4)], codec="ffv1"))
    for turns in (1, 2, 3):
        found[f"turned {turns}.mp4"] = (FINE, lambda path, turns=turns: _turned(path, turns))
    found["negative times.mkv"] = (FINE, _muxed({"avoid_negative_ts": "disabled"}, first=-9))
    found["negative times.mp4"] = (FINE, _muxed({"avoid_negative_ts": "disabled"}, first=-9))
    found["fragments.mp4"] = (FINE, _muxed({"movflags": "frag_keyframe+empty_moov"}))
    found["no duration.mkv"] = (FINE, _changed(_without_duration, "mkv"))
    found["live.mkv"] = (FINE, _muxed({"live": "1"}))
    found["live.flv"] = (FINE, _muxed({"flvflags": "no_duration_filesize"}))
    return found


def _headers() -> dict[str, tuple[str, Make]]:
    """MP4, AVI and MKV files whose headers announce what cannot be."""
    huge = struct.pack(">I", 0x7fffffff)
    changes = {
        # what is looked for, how far behind its beginning something is written, and what
        "samples.mp4": (b"stsz", 12, huge), "chunks.mp4": (b"stco", 8, huge),
        "sample sizes.mp4": (b"stsz", 16, huge * 8), "durations.mp4": (b"stts", 8, huge),
        "offsets.mp4": (b"ctts", 8, huge), "box size.mp4": (b"moov", -4, huge),
        "box size 1.mp4": (b"trak", -4, struct.pack(">I", 1)),
        "box size 0.mp4": (b"stbl", -4, struct.pack(">I", 0)),
        "time scale 0.mp4": (b"mdhd", 16, bytes(4)), "duration.mp4": (b"mdhd", 20, b"\xff" * 4),
        "size of all.mp4": (b"avc1", 28, b"\xff\xff\xff\xff"),
        "matrix.mp4": (b"tkhd", 44, b"\x7f" * 36),
        "edit list.mp4": (b"elst", 8, struct.pack(">IIi", 1, 400, 5000)),
        "edit list count.mp4": (b"elst", 8, huge), "edit list empty.mp4": (
            b"elst", 8, struct.pack(">IIi", 1, 2**31, -1)),
        "frames.avi": (b"avih", 24, b"\xff" * 4), "rate.avi": (b"vids", 20, b"\xff" * 8),
        "rate 0.avi": (b"vids", 20, bytes(8)),
        "list size.avi": (b"movi", -4, b"\xff" * 4),
        "cluster size.mkv": (b"\x1f\x43\xb6\x75", 4, b"\x01\x7f\xff\xff\xff\xff\xff\xff")}
    found = {f"absurd {name}": (EITHER, _changed(
        lambda data, change=change: _overwritten(data, *change), name.rpartition(".")[2]))
        for name, change in changes.items()}
    found["absurd size.avi"] = (REFUSED, lambda path: _raw_video(path, 60000, 60000))
    found["absurd size.mpg"] = (EITHER, _changed(
        lambda data: data.replace(b"\0\0\1\xb3", b"\0\0\1\xb3\xff\xff\xff", 1), "mpg"))
    return found


def _special() -> dict[str, tuple[str, Make]]:
    """What is no regular file, and links."""
    def unreadable(path: Path) -> None:
        if os.geteuid():  # root may read everything
            numbered_clip(path, 3)
            path.chmod(0)

    def linked(path: Path) -> None:
        target = numbered_clip(path.parent.parent / "elsewhere" / "clip.mp4", 3)
        path.symlink_to(target)

    def bound(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            here = os.getcwd()
            os.chdir(path.parent)  # the address of a socket has to be short
            server.bind(path.name)
            os.chdir(here)
    return {"pipe.mp4": (REFUSED, os.mkfifo), "socket.mp4": (REFUSED, bound),
            "linked folder.mp4": (REFUSED, lambda path: path.symlink_to(path.parent.parent)),
            "dangling.mp4": (REFUSED, lambda path: path.symlink_to("nowhere.mp4")),
            "loop.mp4": (REFUSED, lambda path: path.symlink_to(path.name)),
            "device.mp4": (REFUSED, lambda path: path.symlink_to("/dev/zero")),
            "linked pipe.mp4": (REFUSED, lambda path: path.symlink_to("pipe.mp4")),
            "linked.mp4": (FINE, linked), "unreadable.mp4": (REFUSED, unreadable)}


def _names() -> dict[str, tuple[str, Make]]:
    """Sound clips with names that are hard to handle."""
    names = ["line\nbreak.mp4", "quo'te\".mp4", "-dash.mp4", "--overwrite.mp4", "$(id).mp4",
             ";.mp4", "per%cent %s {0}.mp4", "http:x.mp4", "a:b.mp4", "é漢字 \U0001f600.mp4",
             " blank .mp4",
             "\x1b[2Jescape.mp4", "\u202e4pm.mp4", "<b>&amp;.mp4", "back\\slash.mp4", "dots...mp4",
             "UPPER.MP4", "n" * 251 + ".mp4", "漢" * 83 + ".webm"]
    found: dict[str, tuple[str, Make]] = {name: (FINE, _named_clip) for name in names}
    found[os.fsdecode(b"caf\xe9 \xff.mp4")] = (FINE, _named_clip)
    for name in ("video.json.mp4", "rectangles.json.mp4", "failed.json.mp4",
                 "frame_000001.png.mp4"):
        found[name] = (REFUSED, _named_clip)
    return found


def _named_clip(path: Path) -> None:
    """A clip of any name: the encoder's library takes UTF-8 only, so it is renamed."""
    numbered_clip(path.with_name("plain.mkv"), 3).rename(path)


def _changed(change: Callable[[bytes], bytes], ending: str | None = None) -> Make:
    """A clip in the container of its own ending, or of another, with its bytes changed."""
    def make(path: Path) -> None:
        true = ending or path.suffix[1:]
        plain = path.with_name(f"clip in the making.{true}")
        clip = numbered_clip(plain, COUNT, **CONTAINERS[true])
        data = clip.read_bytes()
        clip.unlink()
        path.write_bytes(change(data))
    return make


def _flip_bits(data: bytes, seed: int) -> bytes:
    changed, rng = bytearray(data), random.Random(seed)
    for _ in range(FLIPPED_BITS):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwritten(data: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Data with `new` written over what begins `offset` bytes after the beginning of a mark."""
    start = data.index(mark) + offset
    return data[:start] + new + data[start + len(new):]


def _without_duration(data: bytes) -> bytes:
    """A Matroska file with a void element in place of its duration."""
    start = data.index(b"\x44\x89\x88")
    return data[:start] + b"\xec\x89" + bytes(9) + data[start + 11:]


def _turned(path: Path, quarter_turns: int) -> None:
    numbered_clip(path, COUNT)
    set_rotation(path, quarter_turns)


def _muxed(options: dict[str, str], first: int = 0) -> Make:
    """A clip with options of the container, and the time of its first frame in frames."""
    def make(path: Path) -> None:
        with av.open(f"file:{path}", "w", options=options) as container:
            stream = container.add_stream("libx264", rate=25, options={"threads": "1"})
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for index in range(COUNT):
                frame = av.VideoFrame.from_ndarray(numbered(index), "bgr24")
                frame.pts = first + index
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return make


def _raw_video(path: Path, width: int, height: int) -> None:
    """An AVI of one raw frame whose header announces another size."""
    write_clip(path, [numbered(1)], codec="rawvideo", pix_fmt="bgr24")
    data = bytearray(path.read_bytes())
    start = data.index(b"strf") + 12  # behind the size of the chunk and of its header
    data[start:start + 8] = struct.pack("<ii", width, height)
    path.write_bytes(data)
