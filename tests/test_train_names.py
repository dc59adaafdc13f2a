"""FakeTD's names in place of a table of the truth, from videos to weights."""

import json
import shutil
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from clips import person_frames, write_clip
from models.training import train_flow
from models.training.faketd_names import NAMES, named_truth
from models.training.motion_windows import FakeSet, load_windows
from models.training.picture_examples import load_pictures
from project import STEPS
from utils.files import InputError
from utils.layout import VideoRecord

FRAMES = 30
SOURCES = {"source_02.mp4": 1, "set/source_03.mp4": 2, "scene_0000_video_0006.mp4": 3}
# fake -> the seed and first frame of the movement in it
FAKES = {"source_02_fake_04.mp4": (1, 0), "source_02_fake_05.mp4": (1, 0),
         "source_03_fake_00.mp4": (2, 0), "scene_0000_fake_0008.mp4": (3, 0),
         "source_03_fake_01.mp4": (2, 9),  # not the same frame numbers, against its name
         "source_09_fake_00.mp4": (4, 0)}  # its source is not here


def record(file: str, first: int = 0) -> VideoRecord:
    return VideoRecord(file, 1, "0", 25.0, 9, 96, 64, list(range(first, 9)), {})


def test_rows_by_name():
    fakes = [record(name) for name in FAKES] + [record("source_02.mp4"),
                                                record("a/source_02_fake_06.avi", 3)]
    rows = named_truth(fakes, SOURCES)
    assert {fake: row["source"] for fake, row in rows.items()} == {
        "source_02_fake_04.mp4": "source_02.mp4", "source_02_fake_05.mp4": "source_02.mp4",
        "source_03_fake_00.mp4": "set/source_03.mp4", "source_03_fake_01.mp4": "set/source_03.mp4",
        "a/source_02_fake_06.avi": "source_02.mp4"}
    row = rows["a/source_02_fake_06.avi"]
    assert (row["start_frame"], row["end_frame"], row["speed"]) == ("3", "8", "1.0")
    with pytest.raises(InputError, match="b/source_02.mp4 and source_02.mp4"):
        named_truth(fakes, [*SOURCES, "b/source_02.mp4"])


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> FakeSet:
    """Videos with such names after steps 1 to 4."""
    root = tmp_path_factory.mktemp("faketd")
    for name, seed in SOURCES.items():
        write_clip(root / "source_data" / name, person_frames(seed, FRAMES + 9, "brick"), crf="18")
    for name, (seed, first) in FAKES.items():
        frames = list(person_frames(seed, FRAMES + 9, "brick"))[first:first + FRAMES]
        write_clip(root / "fake_data" / name, frames, crf="30")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for number in range(1, 5):
            assert not import_module(STEPS[number].stem).main().failed
    return FakeSet(root, NAMES, root / "source_data")


def test_fakes_are_paired_with_their_sources_by_name(traced, tmp_path):
    found = load_windows([traced], tmp_path)
    rows = {example.truth["fake"]: example for example in found.examples}
    assert set(rows) == {name for name in FAKES if name.startswith(("source_02", "source_03"))}
    assert set(found.sources) == set(SOURCES)  # those of FakeTD-1 are strangers
    right = {name for name, example in rows.items() if example.right.any()}
    assert right == {name for name in rows if FAKES[name][1] == 0}
    for name in right:
        example = rows[name]
        assert np.abs(example.at[example.right.argmax()] - np.arange(FRAMES)).max() <= 1
    assert {example.group for example in found.examples} == {"source_02", "source_03"}


def test_both_networks_train_on_names(traced, tmp_path, monkeypatch):
    monkeypatch.setattr("models.training.motion_scores.RESAMPLES", 10)
    monkeypatch.setattr(train_flow, "load_pictures", partial(load_pictures, side=64))  # not 256
    for embedder in train_flow.EMBEDDERS:
        weights = train_flow.main([traced], tmp_path / embedder, embedder=embedder, steps=1,
                                  batch=2, dimensions=8, device="cpu")
        card = json.loads(weights.with_suffix(".json").read_text())
        assert card["data"]["fakes with their true place"] == 3
        assert card["data"]["clips"] == 2 and card["recipe"]["steps"] == 1


def test_scenes_alone_are_refused(traced, tmp_path):
    for folder in ("step1_source_frames/scene_0000_video_0006",
                   "step3_fake_frames/scene_0000_fake_0008"):
        shutil.copytree(traced.work / folder, tmp_path / folder)
    with pytest.raises(InputError, match="no fake of the given sets can be used"):
        load_windows([FakeSet(tmp_path, NAMES, traced.videos)], tmp_path / "cache")
