"""A small project for the tests: sources, fakes and a few bad files, and the steps over them.

conftest.py has it as fixtures: `project`, after all five steps, and `own_copy` of it.
"""

import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from clips import empty_frames, person_frames, write_clip, write_sound
from utils.layout import VideoRecord
from utils.tables import read_table

ROOT = Path(__file__).parents[1]
STEPS = {int(path.name[4]): path for path in sorted(ROOT.glob("step*.py"))}
LENGTH, CUT = 60, 30  # frames of a source and of a fake
SCRIPT = "<script>alert(1)<&'.mp4"
# fake -> the source it was cut out of, its first frame there, and whether it was mirrored
TRUTH = {SCRIPT: ("talk one.mp4", 20, 0), "sub/-gespiegelt ü.avi": ("sub/take.mkv", 12, 1),
         "-plain é.mp4": ("-début.mp4", 0, 0)}
SEEDS = {"talk one.mp4": (1, "brick"), "-début.mp4": (2, "rocket"), "sub/take.mkv": (3, "brick")}
PLAIN = ("empty room.mp4", "single.mp4")  # sources without motion of a person
SHORT = ("one.mp4", "two.mp4", "nobody.webm")  # fakes without a source here, or without motion
MADE = ("step1_source_frames", "step2_source_backs", "step3_fake_frames", "step3_fake_rect",
        "step3_fake_masks", "step3_fake_backs", "step3_fake_fores", "step4_scene_trace",
        "step5_flow_trace")
TABLES = ("scene_ranking.csv", "traces.csv", "frames.csv", "report.html")  # written by every run


def make_videos(root: Path) -> None:
    """Sources and fakes, and files that are hard or impossible to work on."""
    sources, fakes = root / "source_data", root / "fake_data"
    for name, (seed, place) in SEEDS.items():
        write_clip(sources / name, person_frames(seed, LENGTH, place), crf="18")
    write_clip(sources / "empty room.mp4", empty_frames("gravel", 20))
    write_clip(sources / "single.mp4", person_frames(7, 1, "rocket"))
    (sources / "broken.mp4").write_text("This is not a video.")
    for name, (source, start, flip) in TRUTH.items():
        frames = list(person_frames(SEEDS[source][0], LENGTH, SEEDS[source][1]))[start:start + CUT]
        options = {"codec": "mpeg4", "b": "1500k"} if name.endswith(".avi") else {"crf": "30"}
        write_clip(fakes / name, [frame[:, ::-1] if flip else frame for frame in frames], **options)
    write_clip(fakes / "one.mp4", person_frames(8, 1, "brick"))
    write_clip(fakes / "two.mp4", person_frames(8, 2, "brick"))
    write_clip(fakes / "nobody.webm", empty_frames("grass", 12), codec="libvpx")
    write_sound(fakes / "sound.mp4")
    (fakes / "broken.mp4").write_bytes(b"")


def command(number: int, *options: object) -> list[str]:
    return [sys.executable, str(STEPS[number]), *map(str, options)]


def run(number: int, folder: Path, *options: object) -> subprocess.CompletedProcess:
    """A step as a command in a folder, with the default folders unless options say otherwise."""
    return subprocess.run(command(number, *options), cwd=folder, capture_output=True, text=True,
                          timeout=240)


def again(*numbers: int, **options: object) -> dict:
    """Run steps in the current folder, in this process; their summaries by number."""
    return {number: import_module(STEPS[number].stem).main(**options) for number in numbers}


def stamps(root: Path) -> dict[str, int]:
    """Change times of everything the steps made, but for the tables of each run."""
    return {file.relative_to(root).as_posix(): file.stat().st_mtime_ns for made in MADE
            for file in (root / made).rglob("*") if file.is_file()
            and file.name not in (*TABLES, "failed.json")}


def files_of(root: Path, folder: str) -> set[str]:
    """Videos of which a folder holds a complete record."""
    return {VideoRecord.read(file.parent).file for file in (root / folder).rglob("video.json")}


def traces(root: Path) -> dict[str, dict[str, str]]:
    return {row["fake"]: row for row in read_table(root / "step5_flow_trace/traces.csv")}


def status(number: int, monkeypatch, *options: object) -> int:
    """Exit status of a step's command line, run in this process."""
    monkeypatch.setattr(sys, "argv", [STEPS[number].name, *map(str, options)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(STEPS[number]), run_name="__main__")
    return end.value.code
