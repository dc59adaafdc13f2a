"""TFLite files through OpenCV, with what can be checked before its parser sees them.

The parser is native code that was not written for damaged or hostile files: some make it crash. So
a file that is not known by its checksum is tried in a process of its own first, which finds most
damage and every network of another form. It is no protection from a file made to attack.
"""

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from models.fetch import ModelFileError

IDENTIFIER = b"TFL3"  # of the flatbuffers schema, at byte 4
SMALLEST, LARGEST = 1 << 10, 256 << 20  # bytes
PATIENCE_S = 120  # for a network to answer one picture
_TRIAL = """
import sys, cv2, numpy
net = cv2.dnn.readNetFromTFLite(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8))
net.setInput(numpy.zeros([int(side) for side in sys.argv[1:]], numpy.float32))
print(*net.forward().shape)
"""


def load_tflite(path: Path, pictures: tuple[int, ...], answer: tuple[int, ...], *,
                known: bool = False) -> cv2.dnn.Net:
    """The network of a TFLite file that answers `pictures` [N, C, H, W] with a shape of `answer`.

    known: its checksum was compared already. Raises ModelFileError when it is not such a network.
    """
    data = read_tflite(path)
    said = "" if known else _tried(data, pictures)
    if said and said != " ".join(map(str, answer)):
        raise ModelFileError(f"{path}: not a TFLite model that answers pictures of "
                             f"{_text(pictures)} values with {_text(answer)} ({said}); give "
                             "another file")
    return cv2.dnn.readNetFromTFLite(np.frombuffer(data, np.uint8))


def read_tflite(path: Path) -> bytes:
    """Content of a TFLite file. Raises ModelFileError when it cannot be one."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if SMALLEST <= size <= LARGEST else b""
    except OSError as error:
        raise ModelFileError(f"{path}: the TFLite model cannot be read ({error.strerror}); give "
                             "another file") from error
    if not data:
        raise ModelFileError(f"{path}: {size} bytes, not the size of a TFLite model; give another "
                             "file")
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite model, the mark {IDENTIFIER.decode()} is "
                             "missing; give another file")
    return data


@lru_cache(8)  # every thread makes its own instance
def _tried(data: bytes, pictures: tuple[int, ...]) -> str:
    """What a process of its own says: the shape of the answer, or the reason why there is none."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRIAL, *map(str, pictures)], input=data,
                              capture_output=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S} s"
    if done.returncode < 0:
        return "it makes the parser crash"
    lines = (done.stderr if done.returncode else done.stdout).decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no answer")[:160]


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
