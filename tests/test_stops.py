"""Ctrl-C and a full disk: one line, the right exit status, and the next run goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clips import numbered_clip
from small_batch import STEPS
from utils.layout import VideoRecord

LINE = "interrupted; run the same command again to go on"


def started(number: int, folder: Path, *options: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, STEPS[number], *map(str, options)], cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen, sign) -> None:
    """Until sign() is true, or the process has ended."""
    while process.poll() is None and not sign():
        time.sleep(0.002)


def has_loaded(process: subprocess.Popen, library: str) -> bool:
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see imports")
@pytest.mark.parametrize("number", STEPS)
def test_an_interrupt_during_the_imports(tmp_path, number):
    process = started(number, tmp_path)
    wait_for(process, lambda: has_loaded(process, "_multiarray_umath"))  # NumPy: others follow
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()) == (130, [LINE])


@pytest.mark.parametrize("delay_s", [0, 0.05, 0.2])
def test_an_interrupt_during_the_work(tmp_path, delay_s):
    for index in range(6):
        numbered_clip(tmp_path / f"source_data/{index}.mp4", 250)
    process = started(1, tmp_path, "--extract-num", 250, "--workers", 1)
    wait_for(process, (tmp_path / "step1_source_frames").exists)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()) == (130, [LINE])
    again = started(1, tmp_path, "--extract-num", 250)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0 and not list((tmp_path / "step1_source_frames").rglob(".*"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 KB; its tests are left out where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=600k"]
    mounted = shutil.which("mount") and os.geteuid() == 0 and subprocess.run(
        ["mount", *options, "tmpfs", disk], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("mounting a small file system is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, small_disk):
    for index in range(8):
        numbered_clip(tmp_path / f"source_data/{index}.mp4", 30)
    frames = small_disk / "frames"
    full = started(1, tmp_path, "--frame-root", frames, "--extract-num", 30, "-q")
    _, said = full.communicate(timeout=120)
    (line,) = said.splitlines()
    assert full.returncode == 1 and "no space left on device; make room and run" in line
    assert str(frames) in line and not list(frames.rglob(".*"))
    made = {path: path.stat().st_mtime_ns for path in frames.rglob("*.png")
            if VideoRecord.read(path.parent)}
    assert made
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    again = started(1, tmp_path, "--frame-root", frames, "--extract-num", 30)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0 and len(list(frames.rglob("*.png"))) == 240
    assert {path: path.stat().st_mtime_ns for path in made} == made
