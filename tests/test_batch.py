"""One bad item costs itself only; errors become one line and an exit status."""

import logging
import threading

import cv2
import pytest
import torch

from models.fetch import ModelFileError
from models.segmenter import SelfieSegmenter
from utils.batch import Summary, per_thread, pick_device, run_batch
from utils.files import InputError
from utils.video import VideoError


def work(item: str) -> bool:
    if item == "bad":
        raise VideoError("bad.mp4: the file\nis empty")
    if item == "bug":
        raise IndexError("list index out of range")
    return item != "old"


def run(*items: str, workers: int = 2) -> Summary:
    return run_batch(items, work, name=str, label="test", workers=workers)


def test_items_are_counted_by_what_became_of_them(caplog):
    caplog.set_level(logging.INFO, "fpvt")
    found = run("new", "bad", "old", "bug", "also new")
    assert found.done == ["also new", "new"] and found.skipped == ["old"]
    assert found.failed == {"bad": "bad.mp4: the file is empty",
                            "bug": "bug: unexpected IndexError: list index out of range"}
    assert list(found.failed) == sorted(found.failed)
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert sorted(errors) == sorted(found.failed.values())
    assert "test: 2 done, 1 complete already, 2 failed" in caplog.text


@pytest.mark.parametrize("workers", [1, 2])
def test_libraries_have_one_thread_in_every_worker(workers):
    threads = []  # how sums are rounded depends on their number, results must not
    before = cv2.getNumThreads()
    run_batch(range(4), lambda item: threads.append((torch.get_num_threads(),
                                                     cv2.getNumThreads())) or True, name=str,
              label="test", workers=workers)
    assert threads == [(1, 1)] * 4 and cv2.getNumThreads() == before


def test_exit_status():
    assert run("new", "old").exit_status == 0
    assert run("new", "bad").exit_status == 1
    assert run().exit_status == 0


def test_an_interrupt_is_not_an_item_that_failed():
    def interrupted(item: str) -> bool:
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run_batch(["a", "b"], interrupted, name=str, label="test", workers=1)


def test_as_many_at_once_as_workers():
    together = threading.Barrier(3, timeout=20)

    def meet(item: int) -> bool:
        together.wait()
        return True
    assert run_batch(range(3), meet, name=str, label="test", workers=3).done == ["0", "1", "2"]
    with pytest.raises(InputError, match="--workers"):
        run("new", workers=-1)


def test_each_thread_has_its_own():
    get = per_thread(object)
    mine, others = get(), []
    thread = threading.Thread(target=lambda: others.extend([get(), get()]))
    thread.start()
    thread.join()
    assert get() is mine and others[0] is others[1] is not mine


def test_devices():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if torch.cuda.is_available():
        assert pick_device("cuda") == "cuda"
    else:
        with pytest.raises(InputError, match="--device cuda"):
            pick_device("cuda")


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_an_unusable_segmentation_model_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "net.tflite").write_bytes(content)
    with pytest.raises(ModelFileError, match="net.tflite"):
        SelfieSegmenter(tmp_path / "net.tflite")
