"""Weight files that were damaged or tampered with: one line that names the file, no code run."""

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import fetch
from models.fetch import ModelFileError
from models.flow import RAFT_PORTRAIT, RaftFlow
from models.motion_embedder import SHIPPED as MOTION
from models.motion_embedder import MotionEmbedder
from models.motion_resnet import ResNetMotionEmbedder
from models.scene import SHIPPED as SCENE
from models.scene import SceneEmbedder
from models.segmenter import DeepLabSegmenter, SelfieSegmenter
from utils.decision import DECISION_FILE, load_coefficients
from utils.files import InputError

LOADERS: dict[Path, Callable[[Path], object]] = {
    RAFT_PORTRAIT: RaftFlow, MOTION: MotionEmbedder, SCENE: SceneEmbedder}
OTHERS = (DeepLabSegmenter, ResNetMotionEmbedder,
          lambda path: SceneEmbedder(path, network="resnet50"))
quick = settings(max_examples=25, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def mutated(draw, sound: bytes) -> bytes:
    """Sound bytes, cut off or with one to four of them changed; never the same."""
    if draw(st.integers(0, 3)) == 0:
        return sound[:draw(st.integers(0, len(sound) - 1))]
    data = bytearray(sound)
    # the ends hold most of what a reader goes by: zip directories, pickles, tables
    ends = st.integers(0, min(3000, len(data) - 1))
    places = st.one_of(ends, ends.map(lambda n: len(data) - 1 - n), st.integers(0, len(data) - 1))
    for place in draw(st.sets(places, min_size=1, max_size=4)):
        data[place] ^= draw(st.integers(1, 255))
    return bytes(data)


def attempt(load: Callable[[Path], object], path: Path) -> str | None:
    """What a loader says against a file, in one line that names it; None when it takes it."""
    try:
        load(path)
    except (ModelFileError, InputError) as error:
        said = str(error)
        assert len(said.splitlines()) == 1 and str(path) in said, said
        assert len(said) < 500 + len(str(path)), said
        return said
    return None


@pytest.mark.parametrize("shipped", LOADERS, ids=lambda path: path.stem)
@quick
@given(data=st.data())
def test_shipped_weights_that_were_changed_are_refused(tmp_path, shipped, data):
    path = tmp_path / shipped.name
    shutil.copy(shipped.with_suffix(".json"), path.with_suffix(".json"))
    path.write_bytes(data.draw(mutated(shipped.read_bytes())))
    assert "damaged or exchanged" in attempt(LOADERS[shipped], path)


@pytest.mark.parametrize("shipped", LOADERS, ids=lambda path: path.stem)
@quick
@given(data=st.data())
def test_changed_cards_are_refused(tmp_path, shipped, data):
    path = tmp_path / shipped.name
    shutil.copy(shipped, path)
    card = shipped.with_suffix(".json").read_bytes()
    changed = data.draw(mutated(card))
    path.with_suffix(".json").write_bytes(changed)
    said = attempt(LOADERS[shipped], path)
    checksum = fetch.sha256_of(shipped).encode()
    assert said is not None or checksum in changed


@pytest.mark.parametrize("shipped", LOADERS, ids=lambda path: path.stem)
@quick
@given(data=st.data())
def test_weights_without_a_card(tmp_path, shipped, data):
    """Nothing tells a changed number there; whatever else was changed is told."""
    path = tmp_path / shipped.name
    path.write_bytes(data.draw(mutated(shipped.read_bytes())))
    said = attempt(LOADERS[shipped], path)
    assert said is not None or path.stat().st_size == shipped.stat().st_size


@settings(quick, max_examples=200)
@given(data=st.data())
def test_decision_coefficients(tmp_path, data):
    path = tmp_path / DECISION_FILE.name
    path.write_bytes(data.draw(mutated(DECISION_FILE.read_bytes())))
    if attempt(load_coefficients, path) is None:
        assert load_coefficients(path).shape == load_coefficients().shape


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def archive_with(content: bytes, shipped: Path) -> bytes:
    """Shipped weights, the pickle in their archive exchanged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(shipped) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("load", [*LOADERS.values(), *OTHERS])
def test_a_pickle_bomb_does_not_go_off(tmp_path, load):
    trace, path = tmp_path / "exploded", tmp_path / "weights.pt"
    plain, saved = pickle.dumps(Bomb(trace)), io.BytesIO()
    torch.save({"weight": Bomb(trace), "head.bias": torch.zeros(4)}, saved)
    bombs = [plain, saved.getvalue(), archive_with(plain, MOTION)]
    for bomb in bombs:
        path.write_bytes(bomb)
        assert attempt(load, path) is not None and not trace.exists()
    torch.load(io.BytesIO(bombs[1]), weights_only=False)
    assert trace.exists()  # it would have gone off


@pytest.fixture(scope="module")
def tflite() -> bytes:
    return fetch.fetch(fetch.SELFIE_SEGMENTATION).read_bytes()


@settings(quick, max_examples=10)
@given(data=st.data())
def test_a_fetched_model_that_was_changed_is_not_used(tmp_path, tflite, data):
    name, bad = Path(fetch.SELFIE_SEGMENTATION.member).name, data.draw(mutated(tflite))
    (tmp_path / name).write_bytes(bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FPVT_CACHE", str(tmp_path))
        patch.setattr(fetch, "_read_member", lambda *_: bad)
        with pytest.raises(ModelFileError, match="SHA-256"):
            SelfieSegmenter()


@pytest.mark.parametrize("left", [1024, 2000, 5000])
def test_a_model_of_the_user_that_was_cut_off_is_named(tmp_path, tflite, left):
    path = tmp_path / "mine.tflite"
    path.write_bytes(tflite[:left])
    assert "not a TFLite model of the form" in attempt(SelfieSegmenter, path)


def test_models_that_are_none_do_not_reach_the_parser(tmp_path, tflite, monkeypatch):
    path = tmp_path / "mine.tflite"
    monkeypatch.setattr("models.tflite._tried", lambda *_: pytest.fail("it was parsed"))
    for content, said in ((b"", "0 bytes"), (b"TFL3" * 9, "36 bytes"), (b"x" * 5000, "TFL3"),
                          (tflite[:4] + b"TFL2" + tflite[8:], "TFL3"), (tflite[4:], "TFL3")):
        path.write_bytes(content)
        assert said in attempt(SelfieSegmenter, path)
    with open(path, "wb") as file:
        file.truncate(300 << 20)
    assert "bytes" in attempt(SelfieSegmenter, path)
    assert "cannot be read" in attempt(SelfieSegmenter, tmp_path / "nowhere.tflite")


def test_a_model_of_another_form_is_told_at_the_start():
    other = fetch.fetch(fetch.FACE_DETECTION)
    assert "1x256x256x1 (1x128x128x3 -> 1x896x16, 1x896x1)" in attempt(SelfieSegmenter, other)


def test_a_model_that_makes_the_parser_crash_is_named(tmp_path, tflite, monkeypatch):
    monkeypatch.setattr("models.tflite._TRIAL", "import os; os.abort()")
    (tmp_path / "a.tflite").write_bytes(tflite + b"\0")
    assert "crash" in attempt(SelfieSegmenter, tmp_path / "a.tflite")
    monkeypatch.setattr("models.tflite._TRIAL", "import time; time.sleep(60)")
    monkeypatch.setattr("models.tflite.PATIENCE_S", 1)
    (tmp_path / "a.tflite").write_bytes(tflite + b"\0\0")
    assert "no answer within 1 s" in attempt(SelfieSegmenter, tmp_path / "a.tflite")
