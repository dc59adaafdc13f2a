"""A small batch of videos, and the steps run on it in processes of their own that can be killed.

The processes are forked from a server that has imported the steps already: they start within
milliseconds, and a random moment of their life is a moment of work.
"""

import multiprocessing
import os
import shutil
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from clips import empty_frames, person_frames, write_clip

ROOT = Path(__file__).parents[1]
STEPS = {int(path.name[4]): path for path in sorted(ROOT.glob("step*.py"))}
TIMES_INSIDE = ("motion_search", "embeddings.npz")
OUTPUTS = {1: ("step1_source_frames",), 2: ("step2_source_backs",),
           3: ("step3_fake_frames", "step3_fake_rect", "step3_fake_masks", "step3_fake_backs",
               "step3_fake_fores"), 4: ("step4_scene_trace",), 5: ("step5_flow_trace",)}
FRAMES, CUT = 40, 20  # of a source, of a fake
PATIENCE_S = 240  # for one run on a busy machine
TABLES = {"scene_ranking.csv", "traces.csv", "frames.csv", "report.html"}  # written by every run

_context = multiprocessing.get_context("forkserver")


def make_batch(root: Path) -> Path:
    """Three sources and three fakes, one of them in a subfolder and one without a source."""
    frames = {"one": list(person_frames(1, FRAMES, "brick")),
              "two": list(person_frames(2, FRAMES, "rocket"))}
    for name, images in frames.items():
        write_clip(root / f"source_data/{name}.mp4", images)
    write_clip(root / "source_data/empty.mp4", empty_frames("gravel", 12))
    write_clip(root / "fake_data/sub/one.mp4", frames["one"][7:7 + CUT], crf="30")
    write_clip(root / "fake_data/two.mp4", [image[:, ::-1] for image in frames["two"][12:12 + CUT]])
    write_clip(root / "fake_data/stranger.mp4", person_frames(5, CUT, "grass"))
    return root


def start_server() -> None:
    """Have the process server import the steps; the first process then starts at once."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    _context.set_forkserver_preload([path.stem for path in STEPS.values()])
    run(0, ROOT)


class Running:
    """A step at work in another process, in a folder with the default names."""

    def __init__(self, number: int, folder: Path, workers: int = 1, **options: object):
        self._answer, there = _context.Pipe(duplex=False)
        self.process = _context.Process(target=_work, args=(number, str(folder), there),
                                        kwargs={"workers": workers, **options})
        self.process.start()
        there.close()

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL after some time; False when the step had ended by then."""
        self.process.join(seconds)
        alive = self.process.is_alive()
        self.process.kill()
        self.process.join()
        return alive

    def done(self) -> list[str]:
        """Wait for the end; the names of the items that it made."""
        assert self._answer.poll(PATIENCE_S), "the step does not come to an end"
        done, failed = self._answer.recv()
        self.process.join()
        assert not failed, failed
        return done


def run(number: int, folder: Path, workers: int = 1, **options: object) -> list[str]:
    """A whole run of a step; the names of the items that it made (of the last of two batches)."""
    return Running(number, folder, workers, **options).done()


def _work(number: int, folder: str, answer: Connection, **options: object) -> None:
    os.chdir(folder)
    if not number:
        answer.send(([], {}))
        return
    try:
        summary = import_module(STEPS[number].stem).main(**options)
        answer.send((summary.done, summary.failed))
    except Exception as error:
        answer.send(([], {"step": repr(error)}))


def seconds_of(number: int, folder: Path, workers: int) -> float:
    """How long a step takes in a folder."""
    begun = time.monotonic()
    run(number, folder, workers)
    return time.monotonic() - begun


def tree(root: Path, *numbers: int) -> dict[str, bytes]:
    """Content of all files that steps made, hidden ones included, by path.

    The table of the search index counts as empty: it holds the change times of other files.
    """
    return {file.relative_to(root).as_posix(): b"" if file.parts[-2:] == TIMES_INSIDE
            else file.read_bytes() for number in numbers
            for name in OUTPUTS[number] for file in (root / name).rglob("*") if file.is_file()}


def wipe(root: Path, number: int) -> None:
    """Remove what a step made."""
    for name in OUTPUTS[number]:
        shutil.rmtree(root / name, ignore_errors=True)


def finished(root: Path, number: int) -> dict[str, int]:
    """Change times of the files of a step's finished items, by path."""
    stamps: dict[str, int] = {}
    for name in OUTPUTS[number]:
        for file in (root / name).rglob("*"):
            if file.is_file() and not any(part.startswith(".") for part in file.parts):
                stamps[file.relative_to(root).as_posix()] = file.stat().st_mtime_ns
    return {path: stamp for path, stamp in stamps.items() if _is_finished(root, number, path)}


def _is_finished(root: Path, number: int, path: str) -> bool:
    """Whether a file belongs to a finished item: its record, in each of the step's folders, is
    there; the files of steps 4 and 5 are finished as soon as they are there, but for tables."""
    if number > 3:
        return Path(path).name not in TABLES and path.endswith((".npz", ".json"))
    video_id = Path(path).relative_to(Path(path).parts[0]).parent
    return all((root / name / video_id / "video.json").is_file() for name in OUTPUTS[number])
