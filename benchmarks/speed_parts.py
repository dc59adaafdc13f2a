"""Parts of the speed benchmark: one step each, alternated with what its work costs by itself."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed_clips import make_clip
from benchmarks.speed_figures import MIB, Figure
from benchmarks.speed_limits import SAMPLES
from benchmarks.speed_rounds import Counts, Rounds, limit
from benchmarks.speed_run import STEPS, Project, Run, run_command
from utils.layout import VideoFile
from utils.video import probe

SIDE = 512  # pixels of the square clips
CLIPS = 4  # of them
CLIP_FRAMES = 200
RAFT_FRAMES = 50
FAKE_FRAMES = 100
SIZES = (1, 5, 20)  # sources
LENGTHS = (25, 50, 100, 200)  # frames of a fake
USUAL = 5  # sources where the length varies
MOST_MIB = 2048


@dataclass(frozen=True)
class Setting:
    """What all parts work with."""

    sources: list[VideoFile]
    fakes: list[VideoFile]
    work: Path  # for clips and for what the steps make
    runs: int
    raft: bool = True  # whether RAFT is timed, too
    minutes: tuple[float, float] = (10, 20)  # lengths of the long videos
    truth: Path | None = None
    peaks: dict[int, int] = field(default_factory=dict)  # largest memory of every step, bytes

    def project(self, name: str, sources: Sequence = (), fakes: Sequence = ()) -> Project:
        """A fresh folder for the steps, which notes how much memory they take."""
        return _Noting(self, self.work / name, sources, fakes)

    def longest(self) -> VideoFile:
        """The source with most frames."""
        return max(self.sources, key=lambda video: probe(video.path).frames_expected)

    def squares(self, count: int, frames: int = CLIP_FRAMES) -> list[Path]:
        """Clips of SIDE x SIDE pixels made of the sources."""
        return [make_clip(self.work / f"clips/{frames}/square_{index}.mp4",
                          self.sources[index % len(self.sources)].path, frames, (SIDE, SIDE))
                for index in range(count)]


class _Noting(Project):
    """A project whose steps' largest memory is kept."""

    def __init__(self, setting: Setting, *arguments):
        super().__init__(*arguments)
        self._peaks = setting.peaks

    def step(self, number: int, *options: str) -> Run:
        run = super().step(number, *options)
        self._peaks[number] = max(self._peaks.get(number, 0), run.peak_bytes)
        return run


def process_start(setting: Setting) -> list[Figure]:
    """How long it takes until a step could begin: `--help`."""
    runs = {step: [_help(step, setting.work) for _ in range(setting.runs)] for step in STEPS}
    return [Figure("start", f"step {step}, --help", "s", [run.wall_s for run in found],
                   [run.cpu_s for run in found]) for step, found in runs.items()]


def _help(number: int, folder: Path) -> Run:
    return run_command([sys.executable, STEPS[number], "--help"], folder)


def sources(setting: Setting) -> list[Figure]:
    """Steps 1 and 2 over all sources, per source video."""
    project = setting.project("sources", setting.sources)
    paths, count = [video.path for video in setting.sources], len(setting.sources)

    def once() -> tuple[list[Run], list[Run], Counts]:
        counts = {kind: (found, found["count"]) for kind, found in (
            ("decode", limit("sample", paths)), ("segment", limit("segment", paths)))}
        project.forget(1, 2)
        return project.steps(1, 2), project.steps(1, 2), counts

    return [Rounds().measure(setting.runs, once).figure(
        "sources", f"steps 1+2 per source video, {SAMPLES} frames, beyond a run with nothing to do",
        per=count, target=1.5, of_ratio=True)]


def split(setting: Setting) -> list[Figure]:
    """Step 3 on square clips, several at a time and one alone."""
    return [_split(setting, setting.squares(count), f"step 3, {SIDE}x{SIDE}, {words}")
            for count, words in ((2, "two fakes at a time"), (1, "one fake alone"))]


def _split(setting: Setting, clips: list[Path], what: str) -> Figure:
    project = setting.project("split", fakes=clips)
    pictures = [project.root / f"step3_fake_{kind}" for kind in ("frames", "masks", "backs",
                                                                "fores")]
    frames = len(clips) * CLIP_FRAMES

    def once() -> tuple[list[Run], list[Run], Counts]:
        project.forget(3)
        return [project.step(3)], [project.step(3)], {
            "decode": (limit("decode", clips), frames),
            "segment": (limit("segment", clips), frames),
            "encode": (limit("encode", pictures), 4 * frames)}

    return Rounds().measure(setting.runs, once).figure("split", what, frames=frames, target=25)


def motion(setting: Setting) -> list[Figure]:
    """Motion features of sources that step 5 does not know yet."""
    figures = [_motion(setting, CLIPS, CLIP_FRAMES, (), f"{CLIPS} sources", 60),
               _motion(setting, 1, CLIP_FRAMES, (), "one source", 60)]
    if setting.raft:
        figures.append(_motion(setting, 1, RAFT_FRAMES, ("--flow", "raft"),
                               "one source, --flow raft", None))
    return figures


def _motion(setting: Setting, count: int, length: int, options: Sequence[str], what: str,
            target: float | None) -> Figure:
    clips = setting.squares(count, length)
    fake = make_clip(setting.work / "clips/short.mp4", setting.sources[0].path, LENGTHS[0])
    project = setting.project("motion", clips, [fake])
    project.steps(1, 2, 3, 4)

    def once() -> tuple[list[Run], list[Run], Counts]:
        project.forget(5, sources_too=True)
        whole = project.step(5, "--index-all", *options)
        project.forget(5)
        return [whole], [project.step(5, "--index-all", *options)], {
            "decode": (limit("decode", clips), count * length),
            "dis": (limit("dis", clips), count * (length - 1))}

    return Rounds().measure(setting.runs, once).figure(
        "motion", f"motion features, {SIDE}x{SIDE}, {what}", frames=count * length, target=target)


def trace(setting: Setting) -> list[Figure]:
    """Step 5 for one fake against indexed sources, by their number and by the fake's length."""
    sizes = {min(size, len(setting.sources)) for size in (*SIZES, USUAL)}
    usual = min(USUAL, len(setting.sources))
    origin = setting.longest()
    others = [video for video in setting.sources if video is not origin]
    figures = []
    for size in sorted(sizes):
        project = setting.project("trace", [origin, *others][:size])
        project.steps(1, 2)
        for length in LENGTHS if size == usual else (FAKE_FRAMES,):
            project.fill("fake_data", [make_clip(setting.work / f"clips/fake_{length}.mp4",
                                                 origin.path, length, crf=30)])
            project.step(3, "--prune")
            project.steps(4, 5)
            figures += _trace(setting, project, length, size)
    return figures


def _trace(setting: Setting, project: Project, length: int, size: int) -> list[Figure]:
    """One fake against all sources of a project, which are indexed; and a run without work."""
    videos = sorted((project.root / "fake_data").iterdir())
    pictures = [project.root / f"step3_fake_{kind}" for kind in ("frames", "masks")]

    def once() -> tuple[list[Run], list[Run], Counts]:
        project.forget(5)
        return [project.step(5)], [_help(5, project.root)], {
            "read": (limit("read", pictures), 2 * length),
            "dis": (limit("dis", videos), length - 1)}

    beyond = f"{size} sources, beyond process start"
    target = 3 if (length, size) == (FAKE_FRAMES, USUAL) else None
    traced = Rounds().measure(setting.runs, once).figure(
        "trace", f"step 5, a fake of {length} frames, {beyond}", target=target)
    if length != FAKE_FRAMES:
        return [traced]
    idle = [project.step(5) for _ in range(setting.runs)]
    return [traced, Figure("trace", f"step 5, nothing to do, {size} sources, in all", "s",
                           [run.wall_s for run in idle], [run.cpu_s for run in idle])]


def memory_figures(setting: Setting) -> list[Figure]:
    """Largest memory of every step in all that was run."""
    return [Figure("memory", f"step {step}, peak", "MiB", [peak / MIB], target=MOST_MIB)
            for step, peak in sorted(setting.peaks.items())]


PARTS: dict[str, Callable[[Setting], list[Figure]]] = {
    "start": process_start, "sources": sources, "split": split, "motion": motion, "trace": trace}
