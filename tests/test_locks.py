"""What a live process has in hand stays its own; what a dead one left is removed."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from utils import locks
from utils.batch import DiskFull, one_line, run_batch
from utils.files import write_json
from utils.gone import drop_fakes, drop_folders
from utils.layout import RECORD_NAME, VideoRecord, fake_result_path, fresh_folder
from utils.locks import InUse, in_hand, remove_leftovers

ROOT = Path(__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from utils.layout import fresh_folder
from utils.locks import in_hand
with in_hand(Path(sys.argv[1]), "a.mp4"), fresh_folder(Path(sys.argv[1]) / "a") as temporary:
    (temporary / "frame_000001.png").write_bytes(b"part")
    print("ready", flush=True)
    time.sleep(600)
"""
RECORD = VideoRecord("a.mp4", 3, "0" * 64, 25.0, 9, 96, 64, [1], {})


@pytest.fixture
def holder(tmp_path):
    """A live process that has an item in hand."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()


def hidden(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".*")]


def test_a_live_process_keeps_its_files(tmp_path, holder):
    before = sorted(hidden(tmp_path))
    remove_leftovers(tmp_path)
    assert sorted(hidden(tmp_path)) == before and len(before) == 3
    with pytest.raises(InUse), in_hand(tmp_path, "a.mp4", wait=False):
        pass
    with in_hand(tmp_path, "b.mp4", wait=False):
        pass


def test_what_a_killed_process_left_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert len(hidden(tmp_path)) == 3
    with in_hand(tmp_path, "a.mp4", wait=False):
        remove_leftovers(tmp_path)
        assert len(hidden(tmp_path)) == 1  # the lock that is held here
    assert not list(tmp_path.iterdir())


def test_only_our_names_are_removed(tmp_path):
    names = [".hidden", "a.tmp", ".0123.tmp", f".{'0' * 32}.txt", f"{'0' * 32}.tmp"]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / f".{'0' * 32}.tmp").mkdir()
    (tmp_path / f".{'1' * 32}.tmp").symlink_to(tmp_path / "a.tmp")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_one_at_a_time(tmp_path):
    inside, most = [], []

    def enter() -> None:
        for _ in range(30):
            with in_hand(tmp_path, "a.mp4"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()
    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and len(most) == 120 and not list(tmp_path.iterdir())


def test_an_item_in_hand_elsewhere_is_put_off(tmp_path, holder):
    order = []

    def work(item: str) -> bool:
        order.append(item)
        if item == "c.mp4":
            holder.kill()
        return True
    found = run_batch(["a.mp4", "b.mp4", "c.mp4"], work, name=str, label="test", workers=1,
                      root=tmp_path)
    assert order == ["b.mp4", "c.mp4", "a.mp4"] and found.done == ["a.mp4", "b.mp4", "c.mp4"]


def test_without_locks_work_goes_on_and_nothing_is_removed(tmp_path, monkeypatch):
    (tmp_path / f".{'0' * 32}.tmp").write_text("whose?")

    def none(*_) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(locks.fcntl, "flock", none)
    remove_leftovers(tmp_path)
    assert (tmp_path / f".{'0' * 32}.tmp").exists()
    with in_hand(tmp_path, "a.mp4"), fresh_folder(tmp_path / "a") as temporary:
        RECORD.write(temporary)
    assert VideoRecord.read(tmp_path / "a") == RECORD


def test_a_full_disk_ends_the_batch(tmp_path):
    worked = []

    def work(item: int) -> bool:
        worked.append(item)
        time.sleep(0.05)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.png")
    with pytest.raises(DiskFull, match="a.png: no space left on device; make room"):
        run_batch(range(100), work, name=str, label="test", workers=1, root=tmp_path)
    assert len(worked) < 10 and not list(tmp_path.iterdir())


def test_only_what_a_step_made_leaves_with_its_video(tmp_path):
    for name in ("kept", "sub/gone", "sub/noted", "not ours"):
        folder = tmp_path / name
        RECORD.write(folder)
        (folder / "frame_000001.png").write_bytes(b"picture")
    (tmp_path / "sub/noted/notes.txt").write_text("mine")
    (tmp_path / "not ours" / RECORD_NAME).write_text('{"file": "../../x"}')
    drop_folders(tmp_path, ["kept"])
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")
            if path.is_file()}
    assert left == {"kept/video.json", "kept/frame_000001.png", "sub/noted/notes.txt",
                    "not ours/video.json", "not ours/frame_000001.png"}
    assert not (tmp_path / "sub/gone").exists()


def test_only_results_leave_with_their_fake(tmp_path):
    for name in ("kept", "sub/gone"):
        write_json(fake_result_path(tmp_path, name), {"made_with": {}})
    write_json(tmp_path / "fakes/notes.json", {"mine": 1})
    drop_fakes(tmp_path, ["kept"])
    assert sorted(path.name for path in (tmp_path / "fakes").iterdir()) == ["kept.json",
                                                                           "notes.json"]


@pytest.mark.parametrize("text, said", [
    ("a\nb\tc.mp4", "a b c.mp4"), ("\x1b[2Jgone", "\\u001b[2Jgone"), ("a  é漢.mp4", "a  é漢.mp4"),
    ("\u202e4pm.evil", "\\u202e4pm.evil")])
def test_a_message_is_one_plain_line(text, said):
    assert one_line(text) == said
