"""The FakeTD sets as they are published, through all five steps to the table, in one command.

    python -m benchmarks.faketd FakeDT --out-root faketd

Below the folder, every folder that has a subfolder `fake` is a set (`FakeDT/FakeDT-1/fake/*.rar`
beside `FakeDT-1/video/*.rar`; `FakeDT-2/fake/*.rar` beside `FakeDT-2/source/*.rar`): what lies in
`fake` are the fakes, what lies in its other folders the sources, as archives or as plain videos.
For each set `<out>/<set>/` gets `unpacked/`, `source_data/`, `fake_data/`, the folders of steps 1
to 5, and `figures.csv` and `found.png`. Everything that is finished is skipped: the command can be
stopped and started again. FakeTD-1 (any video of the fake's scene is right) tells no frames.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import evaluate
from benchmarks.archives import is_archive, unpack
from models.fetch import sha256_of
from utils.batch import EXIT_SOME_FAILED, Summary, add_common_options, log, run_step
from utils.files import InputError
from utils.layout import find_videos
from utils.video import VIDEO_EXTENSIONS

ROOT = Path(__file__).resolve().parents[1]
FAKE_FOLDERS = ("fake", "fakes")
STEPS = {1: "step1_source_video2some_frames.py", 2: "step2_get_source_frames_back.py",
         3: "step3_get_fake_frames_back.py", 4: "step4_scene_trace.py", 5: "step5_flow_trace.py"}
ON_A_DEVICE = (2, 3, 4, 5)  # steps that have --device
TRACES = Path("step5_flow_trace", "traces.csv")


def main(root: Path, out_root: Path = Path("./faketd/"), device: str = "auto", workers: int = 0,
         overwrite: bool = False, unpack_only: bool = False) -> Summary:
    """Unpack, lay out, trace and judge every set below root.

    Raises InputError when there is no set, an archive cannot be unpacked, or a step stops.
    """
    summary = Summary()
    for folder in find_sets(Path(root)):
        target = Path(out_root) / folder.name
        lay_out(folder, target)
        if unpack_only:
            summary.done.append(folder.name)
            continue
        failed = run_steps(target, device, workers, overwrite)
        print(f"\n## {folder.name}\n")
        judge(target)
        summary.done.append(folder.name)
        summary.failed.update({f"{folder.name}, {step}": "some videos failed" for step in failed})
    return summary


def find_sets(root: Path) -> list[Path]:
    """Folders with a subfolder of fakes. Raises InputError when there is none, or when two have
    the same name."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    sets = sorted({path.parent for path in (root / "fake", *root.rglob("*"))
                   if path.is_dir() and path.name.lower() in FAKE_FOLDERS})
    if not sets:
        raise InputError(f"{root}: no folder with a subfolder 'fake' in it; expected are FakeTD's "
                         "folders, such as FakeDT/FakeDT-1/fake/ beside FakeDT/FakeDT-1/video/")
    names = [folder.name for folder in sets]
    if len(set(names)) < len(names):
        raise InputError(f"{root}: several sets have the same name ({', '.join(names)})")
    return sets


def lay_out(folder: Path, target: Path) -> None:
    """Fill source_data/ and fake_data/ of a set with links to its videos, archives unpacked.

    Raises InputError when either would stay empty or two different videos share a name.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for kind, name in ((True, "fake_data"), (False, "source_data")):
        own = [path for path in files if _is_fake(path.relative_to(folder)) == kind]
        videos = [video for path in own for video in _videos_of(path, folder, target / "unpacked")]
        if not videos:
            raise InputError(f"{folder}: no video and no archive with one for {name}")
        link_all(videos, target / name)


def _is_fake(path: Path) -> bool:
    return path.parts[0].lower() in FAKE_FOLDERS


def _videos_of(path: Path, folder: Path, unpacked: Path) -> Iterator[Path]:
    """A video itself, or all videos of an archive."""
    if path.suffix.lower() in VIDEO_EXTENSIONS:
        yield path
    elif is_archive(path):
        target = unpacked / path.relative_to(folder)
        log.info("%s: %s", path, "unpacked" if unpack(path, target) else "unpacked already")
        yield from sorted(video for video in target.rglob("*")
                          if video.suffix.lower() in VIDEO_EXTENSIONS and video.is_file())


def link_all(videos: Sequence[Path], folder: Path) -> None:
    """Make a folder hold these videos under their own names, and no other; its subfolders stay."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen: dict[str, Path] = {}
    for video in videos:
        other = chosen.setdefault(video.name, video)
        if other is not video and sha256_of(other) != sha256_of(video):
            raise InputError(f"{other} and {video}: two videos of one name; rename one")
    for path in folder.iterdir():
        if path.is_file() and path.name not in chosen:
            path.unlink()
    for name, video in chosen.items():
        _link(video, folder / name)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where links cannot be made; kept where it is the same file."""
    stat = source.stat()
    if target.is_file() and (target.stat().st_size, target.stat().st_mtime_ns) == (
            stat.st_size, stat.st_mtime_ns):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def run_steps(folder: Path, device: str, workers: int, overwrite: bool) -> list[str]:
    """Run the five steps in a folder; names of those in which some videos failed.

    Raises InputError when a step stops altogether.
    """
    failed = []
    for number, script in STEPS.items():
        options = ["--workers", str(workers), *["--overwrite"] * overwrite]
        if number in ON_A_DEVICE:
            options += ["--device", device]
        done = subprocess.run([sys.executable, str(ROOT / script), *options], cwd=folder,
                              check=False)
        if done.returncode == EXIT_SOME_FAILED and (number < 5 or (folder / TRACES).is_file()):
            failed.append(f"step {number}")
        elif done.returncode:
            raise InputError(f"{folder}: step {number} stopped, see above; mend that and run the "
                             "same command again")
    return failed


def judge(folder: Path) -> None:
    """Print the tables of a set that has been traced, and write figures.csv and found.png."""
    evaluate.main(folder / TRACES, truth_names=scheme_of(folder),
                  fake_root=folder / "fake_data", source_root=folder / "source_data",
                  ranking=folder / "step4_scene_trace" / "scene_ranking.csv", leave_out=True,
                  full=True, quiet=True, csv=folder / "figures.csv",
                  picture=folder / "found.png")


def scheme_of(folder: Path) -> str:
    """How a set names its sources: `scene_0000_video_0006` (FakeTD-1) or `source_02`."""
    scenes = ["_video_" in video.id for video in find_videos(folder / "source_data")]
    return "faketd1" if any(scenes) else "faketd2"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The FakeTD sets as they are published, through "
                                                 "all five steps to the table.")
    parser.add_argument("root", type=Path, help="folder with the sets, such as FakeDT")
    parser.add_argument("--out-root", type=Path, default=Path("./faketd/"),
                        help="where everything goes (default: %(default)s)")
    parser.add_argument("--unpack-only", action="store_true",
                        help="stop after source_data/ and fake_data/")
    add_common_options(parser, device=True)
    run_step(main, parser)
