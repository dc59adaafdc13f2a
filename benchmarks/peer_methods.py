"""Other ways to find a clip again: each takes one fake and one source and says how well they match.

vPDQ and FFmpeg's filter run as published, with their own thresholds. None of them knows mirrored
or re-timed clips: frames are taken to follow each other as in the source.
"""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from utils.files import read_arrays, write_arrays
from utils.layout import VideoFile
from utils.video import VideoError, VideoReader, probe

VPDQ_DISTANCE, VPDQ_QUALITY = 31, 50  # published defaults: bits of 256 that may differ, of 100
PAIR_TIMEOUT_S = 600
_MATCH = re.compile(r"matching of video 0 at ([\d.]+) and 1 at ([\d.]+), (\d+) frames matching")


@dataclass(frozen=True)
class Match:
    """One source that a method finds in a fake."""

    score: float  # 0 to 1
    start: int  # source frame of the fake's first frame, by extrapolation where need be
    rate: float = 1.0  # source frames per fake frame


@dataclass(frozen=True)
class Method:
    """A way to compare a fake with a source."""

    name: str
    missing: Callable[[], str | None]  # what to install, in one line
    index: Callable[..., bool]  # source, folder; whether there was something to do
    match: Callable[[VideoFile, VideoFile, Path], Match | None]  # fake, source, folder
    settings: dict  # what its results depend on


def hamming(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bits that differ between all pairs of [N, B] and [M, B] hashes of 0 and 1: [N, M]."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    return one @ (1 - other).T + (1 - one) @ other.T


def stored_hashes(video: VideoFile, folder: Path,
                  make: Callable[[Path], np.ndarray]) -> tuple[np.ndarray, bool]:
    """Hashes [T, B] of a video's frames, kept in the folder for the next run, and whether they
    were made just now."""
    path, stat = folder / f"{video.name}.npz", video.path.stat()
    made_from = {"file": str(video.path.resolve()), "size": stat.st_size, "time": stat.st_mtime_ns}
    stored = read_arrays(path)
    if stored is not None and stored[0] == made_from:
        return stored[1]["hashes"], False
    hashes = make(video.path)
    write_arrays(path, made_from, {"hashes": hashes})
    return hashes, True


def index_hashes(source: VideoFile, folder: Path, make: Callable[[Path], np.ndarray]) -> bool:
    """Hash a source; False when that was done."""
    return stored_hashes(source, folder / "sources", make)[1]


@lru_cache(maxsize=512)  # a run takes videos to stay as they are
def _hashes(video: VideoFile, folder: Path, make: Callable[[Path], np.ndarray]) -> np.ndarray:
    return stored_hashes(video, folder, make)[0]


def hash_pair(fake: VideoFile, source: VideoFile, folder: Path,
              make: Callable[[Path], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of both videos."""
    return _hashes(fake, folder / "queries", make), _hashes(source, folder / "sources", make)


def dct_hashes(path: Path) -> np.ndarray:
    """Perceptual hash of every frame, [T, 64]: signs of the lowest frequencies of the cosine
    transform against their median (Zauner 2010)."""
    hashes = []
    for frame in VideoReader(path):
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY)
        small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        low = cv2.dct(small)[:8, :8].ravel()
        hashes.append(low > np.median(low[1:]))
    return np.array(hashes, np.uint8).reshape(-1, 64)


def match_dct(fake: VideoFile, source: VideoFile, folder: Path) -> Match | None:
    """The offset at which the hashes differ least, as 1 - (differing bits) / (half the bits).

    At least half of the fake has to lie inside the source. There is always an answer.
    """
    distance = hamming(*hash_pair(fake, source, folder, dct_hashes))
    frames, bits = len(distance), 64
    offsets = range(-(frames // 2), distance.shape[1] - (frames + 1) // 2 + 1)
    means = [np.diagonal(distance, offset).mean() for offset in offsets
             if len(np.diagonal(distance, offset))]
    if not means:
        return None
    best = int(np.argmin(means))
    return Match(max(0.0, 1 - 2 * float(means[best]) / bits), offsets[best])


def vpdq_hashes(path: Path) -> np.ndarray:
    """vPDQ hash of every frame, [T, 257]: 256 bits and whether the frame's quality will do."""
    import vpdq

    # frame by frame, not one a second: a fake has few seconds
    features = sorted(vpdq.computeHash(str(path), seconds_per_hash=0), key=lambda f: f.frame_number)
    words = np.frombuffer(b"".join(bytes.fromhex(f.hex) for f in features), np.uint8)
    good = [[f.quality >= VPDQ_QUALITY] for f in features]
    bits = np.unpackbits(words).reshape(-1, 256)
    return np.hstack([bits, np.array(good, np.uint8).reshape(-1, 1)])


def match_vpdq(fake: VideoFile, source: VideoFile, folder: Path) -> Match | None:
    """Share of the fake's frames that match a frame of the source, and the offset on which most
    of these pairs agree (of several the one with the least distance); None without a pair."""
    one, other = hash_pair(fake, source, folder, vpdq_hashes)
    distance = hamming(one[:, :256], other[:, :256])
    pairs = (distance <= VPDQ_DISTANCE) & (one[:, 256:] & other[:, 256:].T).astype(bool)
    if not pairs.any():
        return None
    rows, columns = np.nonzero(pairs)
    offsets, place = np.unique(columns - rows, return_inverse=True)
    votes = np.bincount(place) - np.bincount(place, distance[rows, columns]) / 1e6
    return Match(float(pairs.any(axis=1).mean()), int(offsets[np.argmax(votes)]))


def match_signature(fake: VideoFile, source: VideoFile, folder: Path) -> Match | None:
    """What FFmpeg's MPEG-7 video signature says of the pair: share of the fake's frames in the
    matching part, and its place. Raises VideoError when FFmpeg fails."""
    command = ["ffmpeg", "-hide_banner", "-nostats", "-nostdin", "-i", f"file:{source.path}",
               "-i", f"file:{fake.path}", "-filter_complex",
               "[0:v][1:v]signature=nb_inputs=2:detectmode=full", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, timeout=PAIR_TIMEOUT_S, check=False)
    log = done.stderr.decode(errors="replace")
    if done.returncode:
        raise VideoError(f"{fake.name} against {source.name}: ffmpeg failed: "
                         f"{log.strip().splitlines()[-1:]}")
    found = _MATCH.search(log)
    return read_signature(found, _info(fake.path), _info(source.path)) if found else None


def read_signature(found: re.Match, fake: tuple[float, int], source: tuple[float, int]) -> Match:
    """fake, source: frames per second and frames."""
    source_s, fake_s, count = float(found[1]), float(found[2]), int(found[3])
    rate = source[0] / fake[0]  # the filter's times run equally fast in both
    start = round((source_s - fake_s) * source[0])
    return Match(min(1.0, count / max(1, fake[1])), start, rate)


@lru_cache(maxsize=512)
def _info(path: Path) -> tuple[float, int]:
    info = probe(path)
    return info.fps, info.frames_expected


def _vpdq_missing() -> str | None:
    if importlib.util.find_spec("vpdq"):
        return None
    return ("pip install vpdq (it is compiled: needs cmake, pkg-config and FFmpeg's development "
            "packages libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libavdevice-dev "
            "libavfilter-dev)")


def _ffmpeg_missing() -> str | None:
    if not shutil.which("ffmpeg"):
        return "install FFmpeg's command, the package ffmpeg"
    done = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], capture_output=True, check=False)
    has_it = b" signature " in done.stdout
    return None if has_it else "install an FFmpeg that has the filter signature"


METHODS = {method.name: method for method in (
    Method("vpdq", _vpdq_missing, partial(index_hashes, make=vpdq_hashes), match_vpdq,
           {"distance": VPDQ_DISTANCE, "quality": VPDQ_QUALITY, "frames": "every"}),
    Method("signature", _ffmpeg_missing, lambda source, folder: False, match_signature,
           {"detectmode": "full"}),
    Method("dct", lambda: None, partial(index_hashes, make=dct_hashes), match_dct, {"bits": 64}))}
