"""Running the steps as a user would, in processes of their own, and what each run cost."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.files import InputError
from utils.layout import VideoFile

ROOT = Path(__file__).parents[1]
STEPS = {int(path.name[4]): path for path in sorted(ROOT.glob("step?_*.py"))}
OUTPUTS = {1: ("step1_source_frames",), 2: ("step2_source_backs",),
           3: ("step3_fake_frames", "step3_fake_rect", "step3_fake_masks", "step3_fake_backs",
               "step3_fake_fores"), 4: ("step4_scene_trace",), 5: ("step5_flow_trace",)}
OF_SOURCES = {"index", "motion"}  # what steps 4 and 5 keep of the sources, in their folders
POLL_S = 0.05  # between two looks at a process's memory


@dataclass(frozen=True)
class Run:
    """What a command cost."""

    wall_s: float
    cpu_s: float  # of all its threads and processes, user and system
    peak_bytes: int  # resident memory, all its processes together


def run_command(command: Sequence[str | Path], folder: Path) -> Run:
    """Run a command in a folder. Raises InputError, with its last words, when it fails."""
    with tempfile.TemporaryFile() as words:
        begun = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=words,
                                   stderr=subprocess.STDOUT)
        ended, peaks = threading.Event(), [0]
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, ended, peaks))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            ended.set()
        wall_s = time.perf_counter() - begun
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            last = words.read().decode(errors="replace").strip().splitlines()[-3:]
            raise InputError(f"{Path(command[1]).name} in {folder} ended with status "
                             f"{process.returncode}: {' / '.join(last)}")
    # where /proc tells nothing; in KiB on Linux, in bytes on macOS
    least = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(wall_s, usage.ru_utime + usage.ru_stime, peaks[0] or least)


def _watch_memory(pid: int, ended: threading.Event, peaks: list[int]) -> None:
    """Keep the largest memory of a process and its descendants in peaks[0] until it has ended.

    The kernel's own high-water mark is read, so that no peak between two looks is missed; the
    one that wait4() gives would begin at the size of this process.
    """
    while not ended.wait(POLL_S):
        peaks[0] = max(peaks[0], sum(_high_water(one) for one in _family(pid)))


def _family(pid: int) -> Iterable[int]:
    """A process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = [int(child) for child in children.read_text().split()]
        except OSError:  # a thread has ended
            continue
        for child in found:
            yield from _family(child)


def _high_water(pid: int) -> int:
    """Largest resident memory of a process so far, bytes; 0 where nothing tells it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


class Project:
    """A folder with `source_data/`, `fake_data/` and what the steps make of them."""

    def __init__(self, root: Path, sources: Iterable[VideoFile | Path] = (),
                 fakes: Iterable[VideoFile | Path] = ()):
        self.root = Path(root).resolve()
        shutil.rmtree(self.root, ignore_errors=True)
        self.fill("source_data", sources)
        self.fill("fake_data", fakes)

    def fill(self, name: str, videos: Iterable[VideoFile | Path]) -> None:
        """Have a folder hold links to these videos and nothing else."""
        shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / name).mkdir(parents=True)
        for video in videos:
            place, path = ((video.name, video.path) if isinstance(video, VideoFile)
                           else (video.name, video))
            link = self.root / name / place
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(path).resolve())

    def step(self, number: int, *options: str) -> Run:
        """Run a step with its default folders. Raises InputError when it or a video fails."""
        return run_command([sys.executable, STEPS[number], "--quiet", *options], self.root)

    def steps(self, *numbers: int) -> list[Run]:
        """Run several steps."""
        return [self.step(number) for number in numbers]

    def forget(self, *numbers: int, sources_too: bool = False) -> None:
        """Remove what steps made of the fakes, and of the sources on request (steps 1 and 2 know
        sources alone: theirs always goes)."""
        for number in numbers:
            for folder in (self.root / name for name in OUTPUTS[number]):
                for path in list(folder.iterdir()) if folder.is_dir() else []:
                    if path.name in OF_SOURCES and number > 3 and not sources_too:
                        continue
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
