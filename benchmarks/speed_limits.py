"""What the parts of the work cost by themselves, on all cores: the limits beside a step's time.

    python -m benchmarks.speed_limits decode VIDEO...          # OpenCV, all frames to BGR
    python -m benchmarks.speed_limits sample VIDEO...          # OpenCV, 10 frames of each to BGR
    python -m benchmarks.speed_limits segment VIDEO...         # person masks of 10 frames of each
    python -m benchmarks.speed_limits dis VIDEO...             # DIS between neighbours, 192 px
    python -m benchmarks.speed_limits read FOLDER...           # PNG files, decoded
    python -m benchmarks.speed_limits encode FOLDER...         # PNG files, encoded again as the steps do

Prints JSON: seconds, CPU seconds, and how many frames, masks, pairs or pictures that was for.
Reading what is worked on, models, and a first pass that warms up are not counted, but for decoding,
where they are the work.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from models.flow import make_dis
from models.motion import SIDE
from models.segmenter import make_segmenter, person_mask
from utils.batch import per_thread
from utils.files import InputError, read_image
from utils.layout import evenly_spaced
from utils.png import encode_png

SAMPLES = 10  # frames per video that `sample` and `segment` take
PAIRS = 100  # frame pairs per video that `dis` takes
PICTURES = 400  # that `encode` takes


def decode(videos: Sequence[Path]) -> dict:
    """All frames of some videos, each converted to BGR."""
    return _decoding(videos, lambda path: _decode(path, None))


def sample(videos: Sequence[Path]) -> dict:
    """SAMPLES evenly spaced frames of each video; those behind the last one are not decoded."""
    wanted = {path: evenly_spaced(_decode(path, set()), SAMPLES) for path in videos}
    return _decoding(videos, lambda path: _decode(path, set(wanted[path])))


def segment(videos: Sequence[Path]) -> dict:
    """Person masks of SAMPLES frames of each video."""
    segmenters = per_thread(make_segmenter)
    images = [image for path in videos for image in _frames(path, SAMPLES)]
    return _on_all_cores(images, lambda image: person_mask(segmenters().probability(image)))


def dis(videos: Sequence[Path]) -> dict:
    """DIS flow between neighbouring frames, SIDE x SIDE pixels, as the motion features need it."""
    flows = per_thread(make_dis)
    pairs = []
    for path in videos:
        greys = [cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (SIDE, SIDE),
                            interpolation=cv2.INTER_AREA) for image in _frames(path, PAIRS, True)]
        pairs += pairwise(greys)
    return _on_all_cores(pairs, lambda pair: flows().calc(*pair, None))


def read(folders: Sequence[Path]) -> dict:
    """The PNG files of some folders, read and decoded."""
    return _on_all_cores(_pictures(folders), read_image)


def encode(folders: Sequence[Path]) -> dict:
    """The PNG files of some folders, encoded again."""
    return _on_all_cores([read_image(path) for path in _pictures(folders)], encode_png)


def _pictures(folders: Sequence[Path]) -> list[Path]:
    """At most about PICTURES of the PNG files in some folders, evenly spaced."""
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*.png"))]
    if not paths:
        raise InputError(f"{folders[0]}: no PNG file in it")
    return paths[::-(-len(paths) // PICTURES)]


def _decoding(videos: Sequence[Path], work: Callable[[Path], int]) -> dict:
    """Decode videos, as many at a time as there are cores."""
    begun = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(_cores()) as pool:
        counts = list(pool.map(work, videos))
    return _result(begun, sum(counts))


def _decode(path: Path, wanted: set[int] | None) -> int:
    """Decode a video up to the last wanted frame (empty: all, none converted); the frame count."""
    threads = 1 if wanted is not None else 0  # many short ones; or few, each on all cores
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, threads))
    last = max(wanted) if wanted else None
    count = 0
    while (last is None or count <= last) and capture.grab():
        if wanted is None or count in wanted:
            capture.retrieve()
        count += 1
    capture.release()
    if not count:
        raise InputError(f"{path}: OpenCV cannot decode it")
    return count


def _frames(path: Path, number: int, neighbours: bool = False) -> Iterable[np.ndarray]:
    """Some frames of a video, evenly spaced or its first ones, [H, W, 3] BGR."""
    wanted = range(number) if neighbours else evenly_spaced(_decode(path, set()), number)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for index in range(max(wanted) + 1):
        if not capture.grab():
            break
        if index in wanted:
            yield capture.retrieve()[1]
    capture.release()


def _on_all_cores(items: list, work: Callable) -> dict:
    """Work on items in one thread per core, each with one thread of OpenCV's own."""
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(work, items[:4 * _cores()]))
        begun = time.perf_counter(), time.process_time()
        for _ in pool.map(work, items):
            pass
        return _result(begun, len(items))


def _result(begun: tuple[float, float], count: int) -> dict:
    return {"seconds": time.perf_counter() - begun[0], "cpu_s": time.process_time() - begun[1],
            "count": count}


def _cores() -> int:
    return os.cpu_count() or 1


LIMITS = {"decode": decode, "sample": sample, "segment": segment, "dis": dis, "read": read,
          "encode": encode}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What the parts of the work cost by themselves.")
    parser.add_argument("what", choices=LIMITS, help="which part")
    parser.add_argument("paths", nargs="+", type=Path, help="videos, or folders with PNG files")
    options = parser.parse_args()
    print(json.dumps(LIMITS[options.what](options.paths)))
