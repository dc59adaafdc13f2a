"""Networks of TFLite files: the same answers as through another runtime, on any thread."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from models.fetch import FACE_DETECTION, SELFIE_SEGMENTATION, ModelFileError, fetch
from models import tflite
from models.tflite import TFLiteNetwork, load_tflite
from utils.threads import made_once


ROOT = Path(__file__).parents[1]
TOGETHER = """
import sys
import threading
import numpy as np
from models.fetch import FACE_DETECTION, fetch
from models.tflite import TFLiteNetwork

sys.setswitchinterval(1e-6)  # threads meet more often
both = threading.Barrier(2)

def answer():
    network = TFLiteNetwork(fetch(FACE_DETECTION))
    both.wait()
    network(np.zeros(network.pictures, np.float32))

threads = [threading.Thread(target=answer) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def answer_of_opencv(path, pictures):
    """What OpenCV's importer has of it: the last output."""
    network = cv2.dnn.readNetFromTFLite(np.frombuffer(path.read_bytes(), np.uint8))
    network.setInput(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    return network.forward()


@pytest.mark.parametrize("wanted, side, answers", [
    (SELFIE_SEGMENTATION, 256, [(1, 256, 256, 1)]),
    (FACE_DETECTION, 128, [(1, 896, 16), (1, 896, 1)])], ids=["selfie", "face"])
def test_the_answers_are_those_of_another_runtime(wanted, side, answers):
    path = fetch(wanted)
    picture = cv2.resize(data.astronaut(), (side, side)).astype(np.float32)[None] / 255
    found = load_tflite(path, (1, side, side, 3), answers)(picture)
    assert [one.shape for one in found] == answers
    expected = answer_of_opencv(path, picture)
    assert np.ptp(expected) > 0.5
    assert np.abs(found[0].ravel() - expected.ravel()).max() < 1e-3 * np.abs(expected).max()


def test_a_network_of_another_form_is_told_both_forms():
    with pytest.raises(ModelFileError, match=r"1x896x16 \(1x128x128x3 -> 1x896x16, 1x8"):
        load_tflite(fetch(FACE_DETECTION), (1, 128, 128, 3), [(1, 896, 16)])


def test_threads_share_a_network_and_keep_their_answers(monkeypatch):
    path, made, make = fetch(FACE_DETECTION), [], tflite._compiled.__wrapped__
    monkeypatch.setattr(tflite, "_compiled",
                        made_once(lambda *asked: made.append(asked) or make(*asked)))
    pictures = [np.full((1, 128, 128, 3), level, np.float32) for level in (-1, -0.5, 0.5, 1)]

    def answers(picture):
        network = TFLiteNetwork(path)
        return [network(picture)[0].copy() for _ in range(20)]

    alone = [answers(picture)[0] for picture in pictures]
    with ThreadPoolExecutor(len(pictures)) as pool:
        together = list(pool.map(answers, pictures))
    assert len(made) == 1
    assert not np.allclose(alone[0], alone[1])
    assert all(np.array_equal(found, one) for one, many in zip(alone, together) for found in many)


@pytest.mark.parametrize("attempt", range(4))
def test_two_threads_that_begin_together_do_not_wait_for_each_other(attempt):
    subprocess.run([sys.executable, "-c", TOGETHER], cwd=ROOT, check=True, timeout=60)
