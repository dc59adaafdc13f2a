"""Parts of the speed benchmark that take long: a whole set, and long videos."""

import sys
from pathlib import Path

from benchmarks import straightforward
from benchmarks.evaluate import judge
from benchmarks.scores import ALL
from benchmarks.speed_clips import make_clip, make_long
from benchmarks.speed_figures import MIB, Figure
from benchmarks.speed_parts import LENGTHS, MOST_MIB, Setting
from benchmarks.speed_run import ROOT, Project, Run, run_command
from benchmarks.truths import read_truth
from utils.batch import log
from utils.files import read_json

FASTER, FASTER_INDEXED = 200, 1000  # targets: times the straightforward way's speed
LONG_SIZE = (1920, 1080)
LONG_CLIP = 250  # frames that a long video repeats
END_FRAME = 99  # of the long fake
SAMPLING = "step 1, long source"
ANSWERS = ("right source", "start ±0", "start ±1")


def whole(setting: Setting) -> list[Figure]:
    """Steps 1 to 5 over the set, once with empty caches and once with its sources indexed, beside
    what the straightforward way would take."""
    plain = _straightforward(setting)
    project = setting.project("whole", setting.sources, setting.fakes)
    first = dict(zip((1, 2, 3, 4, 5), project.steps(1, 2, 3, 4, 5), strict=True))
    answers = _answers(setting, project)
    project.forget(3, 4, 5)
    again = dict(zip((3, 4, 5), project.steps(3, 4, 5), strict=True))
    return (_whole_figures(setting, "empty caches", first, plain, FASTER)
            + _whole_figures(setting, "sources indexed", again, plain, FASTER_INDEXED) + answers)


def _whole_figures(setting: Setting, state: str, runs: dict[int, Run], plain: dict[str, float],
                   target: float) -> list[Figure]:
    wall, cpu = (sum(getattr(run, name) for run in runs.values()) for name in ("wall_s", "cpu_s"))
    count = len(setting.fakes)
    figures = [Figure("whole", f"{state}, step {number}", "s", [run.wall_s], [run.cpu_s])
               for number, run in runs.items()]
    return figures + [
        Figure("whole", f"{state}, all steps", "s", [wall], [cpu]),
        Figure("whole", f"{state}, per fake", "s", [wall / count], [cpu / count]),
        Figure("whole", f"{state}, times the speed of the straightforward way (extrapolated: "
                        f"{plain['wall_s'] / 3600:.1f} h on all cores)", "x",
               [plain["wall_s"] / wall], target=target),
        Figure("whole", f"{state}, the same by CPU time", "x", [plain["cpu_s"] / cpu],
               target=target)]


def _straightforward(setting: Setting) -> dict[str, float]:
    """Extrapolated wall and CPU seconds of the straightforward way, from a few pairs."""
    out = setting.work / "straightforward.json"
    roots = [_listed(setting.work / f"plain/{name}", videos)
             for name, videos in (("sources", setting.sources), ("fakes", setting.fakes))]
    run_command([sys.executable, "-m", straightforward.__name__, "--video-root", roots[0],
                 "--fake-root", roots[1], "--out", out.resolve()], ROOT)
    return read_json(out)["extrapolated"]


def _listed(root: Path, videos: list) -> Path:
    """A folder with links to these videos."""
    return Project(root, videos).root / "source_data"


def _answers(setting: Setting, project: Project) -> list[Figure]:
    """How many of the whole run's answers are right, where the truth is known."""
    if setting.truth is None:
        return []
    names = {fake.name for fake in setting.fakes}
    stretches = [stretch for stretch in read_truth(setting.truth) if stretch.fake in names]
    measures = judge(project.root / "step5_flow_trace/traces.csv", stretches)[1]
    return [Figure("whole", f"answers: {m.metric}", "%", [100 * m.value]) for m in measures
            if m.metric in ANSWERS and m.group == ALL]


def long_videos(setting: Setting) -> list[Figure]:
    """Largest memory on two long videos, and how much it grows per minute of video; and how long
    step 1 takes."""
    origin = setting.longest().path
    clip = make_clip(setting.work / "clips/wide.mp4", origin, LONG_CLIP, LONG_SIZE)
    short = make_clip(setting.work / f"clips/fake_{LENGTHS[0]}.mp4", origin, LENGTHS[0], crf=30)
    peaks: dict[str, list[float]] = {}
    sampling: list[Figure] = []
    for minutes in setting.minutes:
        video = make_long(setting.work / f"clips/long_{minutes:g}.mp4", clip, minutes)
        log.info("a video of %g minutes", minutes)
        runs = _long_runs(setting, video, short)
        sampling.append(Figure("long", f"{SAMPLING}, {minutes:g} minutes", "s",
                               [runs[SAMPLING].wall_s], [runs[SAMPLING].cpu_s]))
        for what, run in runs.items():
            peaks.setdefault(what, []).append(run.peak_bytes / MIB)
    span = setting.minutes[1] - setting.minutes[0]
    return sampling + [figure for what, found in peaks.items() for figure in (
        *(Figure("long", f"{what}, {minutes:g} minutes, peak", "MiB", [peak], target=MOST_MIB)
          for minutes, peak in zip(setting.minutes, found, strict=True)),
        Figure("long", f"{what}, growth per minute", "MiB per minute",
               [(found[1] - found[0]) / span]))]


def _long_runs(setting: Setting, video: Path, short: Path) -> dict[str, Run]:
    """The steps on a long source, and step 3 on the beginning of a long fake."""
    project = setting.project("long", [video], [short])
    runs = {f"step {number}, long source": project.step(number) for number in (1, 2)}
    project.step(3)
    runs |= {f"step {number}, long source": project.step(number) for number in (4, 5)}
    fake = setting.project("long_fake", fakes=[video])
    return runs | {f"step 3 --end-frame {END_FRAME}, long fake":
                   fake.step(3, "--end-frame", str(END_FRAME))}
