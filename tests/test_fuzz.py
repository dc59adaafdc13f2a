"""Whatever is in the files that steps read back: no crash, no way out of a root, no pickle.

hypothesis makes the contents: sound ones with a value replaced, and bytes with parts replaced.
"""

import json
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clips import numbered_clip
from models import fetch
from models.fetch import ModelFileError
from models.flow import RaftFlow
from models.motion import COARSE, steady_square
from models.pose import CELLS
from models.segmenter import SelfieSegmenter
from utils.files import (InputError, read_arrays, read_image, read_json, write_arrays, write_image,
                         write_json)
from utils.layout import (RECORD_NAME, RECTANGLES_NAME, VideoRecord, fake_result_path, frame_name,
                          inside, read_rectangles, result_path)
from utils.registration import Keypoints
from utils.scene_index import SceneEntry, entry_path, read_ranking
from utils.source_motion import MotionIndex
from utils.tables import Trace, read_result, read_table, write_table
from utils.video import VideoError, VideoReader, probe

RECORD = VideoRecord("sub/a.mp4", 3, "0" * 64, 25.0, 9, 96, 64, [1, 4], {"extract_num": 2})
CANDIDATE = {"source": "a.mp4", "source_id": "a", "source_sha256": "0" * 64, "scene_score": 0.5,
             "angular_distance_rad": 1.0, "inliers": 12, "background_inliers": 3,
             "verified": True, "flip": 0, "mapping": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
             "fake_frame": 1, "source_frame": 4,
             "fake_points": [[1.0, 2.0]], "source_points": [[3.0, 4.0]]}
RANKING = {"fake": "f.mp4", "made_with": {}, "candidates": [CANDIDATE]}
TRACE = Trace("f.mp4", 0, 9, "traced", "a.mp4", 1, 10, 0.04, 0.4, 1.0, 0, 0.5, 0.9, 0.8, None,
              "why")
RESULT = {"fake": "f.mp4", "made_with": {}, "traces": [asdict(TRACE)], "stretches": [{}]}

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])
paths_out = st.sampled_from(["../../x", "/etc/passwd", "a/../../x", "..", "", "\0", "/", ".",
                             "\ud800", "a\0b", "a" * 5000])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | paths_out
    | st.integers(min_value=2**40), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6)


@st.composite
def changed(draw, sound: dict) -> dict:
    """A sound object with one value, at any depth, replaced or taken away."""
    data = json.loads(json.dumps(sound))
    place = data
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict)
                                   else list(range(len(place)))))
        if not isinstance(place[key], (dict, list)) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    if draw(st.booleans()):
        place[key] = draw(values)
    else:
        del place[key]
    return data


@st.composite
def damaged(draw, sound: bytes) -> bytes:
    """Sound bytes, cut off or with a stretch of them replaced."""
    start = draw(st.integers(0, len(sound)))
    if draw(st.integers(0, 3)) == 0:
        return sound[:start]
    new = draw(st.binary(min_size=1, max_size=12))
    return sound[:start] + new + sound[start + len(new):]


def is_inner(root: Path, path: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


@quick
@given(data=changed(asdict(RECORD)) | values)
def test_records(tmp_path, data):
    (tmp_path / RECORD_NAME).write_text(json.dumps(data))
    record = VideoRecord.read(tmp_path)
    if record is not None:
        assert is_inner(tmp_path, tmp_path / record.file)
        record.write(tmp_path / "again")  # what is taken can be written
        assert VideoRecord.read(tmp_path / "again") == record


@quick
@given(content=damaged(json.dumps(RANKING).encode()) | st.binary(max_size=30)
       | st.just(b"[" * 100_000) | st.just(b'{"a":' * 100_000) | st.just(b'{"a": 1' + b"0" * 9999))
def test_json_of_any_bytes(tmp_path, content):
    path = fake_result_path(tmp_path, "f")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    (tmp_path / RECORD_NAME).write_bytes(content)
    VideoRecord.read(tmp_path)
    assert read_result(tmp_path, "f") is None
    for read in (read_json, lambda path: read_ranking(tmp_path, "f")):
        try:
            read(path)
        except InputError as error:
            assert str(path) in str(error)


@quick
@given(data=changed(RANKING))
def test_rankings(tmp_path, data):
    path = fake_result_path(tmp_path, "f")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))
    try:
        found = read_ranking(tmp_path, "f")
    except InputError as error:
        assert "step" in str(error)
        return
    for candidate in found["candidates"]:
        assert is_inner(tmp_path, entry_path(tmp_path, candidate["source_id"]))
        assert candidate["mapping"] is None or np.array(candidate["mapping"]).shape == (2, 3)


@quick
@given(data=changed(RESULT))
def test_results(tmp_path, data):
    path = fake_result_path(tmp_path, "f")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))
    found = read_result(tmp_path, "f")
    for row in found["traces"] if found else []:
        write_table(tmp_path / "traces.csv", Trace, [Trace(**row)])


@quick
@given(data=changed({"0": [1, 2, 30, 40], "1": None}) | values)
def test_rectangles(tmp_path, data):
    (tmp_path / RECTANGLES_NAME).write_text(json.dumps(data))
    try:
        steady_square(list(read_rectangles(tmp_path).values()))
    except InputError as error:
        assert RECTANGLES_NAME in str(error)


@quick
@given(name=paths_out | st.text())
def test_no_name_leads_out(tmp_path, name):
    for make in (inside, fake_result_path, entry_path, lambda *a: result_path(*a, ".npz")):
        try:
            assert is_inner(tmp_path, make(tmp_path, name))
        except InputError:
            pass


def entry() -> SceneEntry:
    rng = np.random.default_rng(0)
    keypoints = [Keypoints(rng.random((n, 2), np.float32), rng.integers(0, 9, (n, 128), np.uint8),
                           rng.random(n) > 0.5) for n in (3, 0)]
    return SceneEntry("a", RECORD, rng.random((2, 8)).astype(np.float16), [None, [1, 2, 3, 4]],
                      [1, 4], keypoints)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> bytes:
    root = tmp_path_factory.mktemp("entry")
    entry().write(root, {})
    assert SceneEntry.read(root, "a").record == RECORD
    return entry_path(root, "a").read_bytes()


@quick
@given(data=st.data())
def test_indexes_of_any_bytes(tmp_path, stored, data):
    path = entry_path(tmp_path, "a")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(damaged(stored)))
    found = SceneEntry.read(tmp_path, "a")
    if found is not None:
        assert len(found.embeddings) == len(found.rectangles) == len(found.record.frames)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
kinds = st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.uint8, bool, "U3",
                         "M8[s]", np.complex64])


@quick
@given(name=st.sampled_from(["embeddings", "rectangles", "keypoint_frames", "keypoint_counts",
                             "points", "descriptors", "on_background"]), shape=shapes, kind=kinds)
def test_indexes_with_other_arrays(tmp_path, stored, name, shape, kind):
    path = entry_path(tmp_path, "a")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stored)
    found, arrays = read_arrays(path)
    write_arrays(path, found, {**arrays, name: np.ones(shape).astype(kind)})
    read = SceneEntry.read(tmp_path, "a")
    assert read is None or arrays[name].dtype == kind
    for part in read.keypoints if read else []:
        assert len(part.points) == len(part.descriptors) == len(part.on_background)


MOTION = {"square": np.array([1.0, 2.0, 30.0]), "times_s": np.arange(3) / 25,
          "flow": np.zeros((2, COARSE, COARSE, 2), np.float16),
          "weight": np.ones((2, COARSE, COARSE), np.uint8),
          "pose": np.ones((3, CELLS, CELLS), np.uint8)}


@quick
@given(name=st.sampled_from(sorted(MOTION)), shape=shapes, kind=kinds, data=values)
def test_motion_with_other_arrays(tmp_path, name, shape, kind, data):
    index = MotionIndex(tmp_path, tmp_path, tmp_path, None, None)
    sound = {"source": asdict(RECORD)}
    write_arrays(index.path("a"), sound, MOTION)
    assert index.read("a").fps == RECORD.fps
    write_arrays(index.path("a"), sound, {**MOTION, name: np.ones(shape).astype(kind)})
    assert index.read("a") is None or shape == MOTION[name].shape
    write_arrays(index.path("a"), {"source": data}, MOTION)
    assert index.read("a") is None


def test_a_source_that_was_replaced_is_refused(tmp_path):
    entry().write(tmp_path, {})
    numbered_clip(tmp_path / RECORD.file, 3)
    tool = SimpleNamespace(identity="any")
    index = MotionIndex(tmp_path / "motion", tmp_path, tmp_path, lambda: tool, lambda: tool)
    with pytest.raises(InputError, match="a.mp4: not the file that step 1 saw"):
        index.add("a")


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", settings=np.frombuffer(b"{}", np.uint8),
                        zeros=np.zeros(10**7, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 10**5
    assert read_arrays(tmp_path / "a.npz") is None


def test_an_array_that_announces_too_much_is_refused(tmp_path):
    write_arrays(tmp_path / "a.npz", {}, {"a": np.zeros(4)})
    with (zipfile.ZipFile(tmp_path / "a.npz") as old,
          zipfile.ZipFile(tmp_path / "b.npz", "w") as new):
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"(4,), }      ", b"(400000000,),}"))
    assert read_arrays(tmp_path / "b.npz") is None


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    bomb, trace = Bomb(tmp_path / "exploded"), tmp_path / "exploded"
    np.savez(tmp_path / "a.npz", settings=np.frombuffer(b"{}", np.uint8),
             a=np.array([bomb], object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(bomb))
    assert read_arrays(tmp_path / "a.npz") is None and read_arrays(tmp_path / "b.npz") is None
    torch.save({"weight": bomb}, tmp_path / "c.pt")
    for name in ("b.npz", "c.pt"):
        with pytest.raises(ModelFileError, match=name):
            RaftFlow(tmp_path / name)
    assert not trace.exists()
    pickle.loads((tmp_path / "b.npz").read_bytes())
    assert trace.exists()  # it would have gone off


def test_a_fetched_model_that_was_tampered_with_is_refused(tmp_path, monkeypatch):
    good = fetch.fetch(fetch.SELFIE_SEGMENTATION).read_bytes()
    bad = good[:1000] + b"\0" + good[1001:]
    monkeypatch.setenv("FPVT_CACHE", str(tmp_path))
    (tmp_path / Path(fetch.SELFIE_SEGMENTATION.member).name).write_bytes(bad)
    monkeypatch.setattr(fetch, "_read_member", lambda *_: bad)
    with pytest.raises(ModelFileError, match="SHA-256"):
        SelfieSegmenter()
    monkeypatch.setattr(fetch, "_read_member", lambda *_: good)
    SelfieSegmenter()  # the bad copy was replaced


@settings(quick, max_examples=25)
@given(content=st.binary(max_size=200))
def test_weights_of_any_bytes(tmp_path, content):
    for name, load in (("a.pt", RaftFlow), ("a.tflite", SelfieSegmenter)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelFileError, match=name):
            load(tmp_path / name)


@quick
@given(content=st.binary(max_size=60) | damaged(b'fake,rank\n"a,\n1",2\n'))
def test_tables_of_any_bytes(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    try:
        read_table(tmp_path / "a.csv")
    except InputError as error:
        assert "a.csv" in str(error)


@settings(quick, max_examples=40)
@given(data=st.data())
def test_pictures_of_any_bytes(tmp_path, data):
    path = tmp_path / frame_name(1)
    write_image(path, np.arange(60, dtype=np.uint8).reshape(5, 4, 3))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        read_image(path)
    except InputError as error:
        assert str(path) in str(error)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("clips")
    options = {"a.mp4": {"bf": "2"}, "a.mkv": {}, "a.avi": {"codec": "mpeg4"},
               "a.mpg": {"codec": "mpeg2video"}, "a.flv": {}}
    return [numbered_clip(folder / name, 8, **options[name]).read_bytes() for name in options]


def decode(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for read in (probe, lambda path: list(VideoReader(path, threads=1))):
        try:
            read(path)
        except VideoError as error:
            assert str(path) in str(error)


@settings(quick, max_examples=40)
@given(data=st.data())
def test_decoding_any_bytes(tmp_path, clips, data):
    decode(tmp_path / "a.mp4", data.draw(damaged(data.draw(st.sampled_from(clips)))))


@pytest.mark.slow
@settings(quick, max_examples=3000, derandomize=False)
@given(data=st.data())
def test_decoding_any_bytes_for_long(tmp_path, clips, data):
    decode(tmp_path / "a.mp4", data.draw(damaged(data.draw(st.sampled_from(clips)))))


def test_a_ranking_that_names_a_file_outside_is_refused(tmp_path):
    outside = {**CANDIDATE, "source_id": "../../elsewhere"}
    write_json(fake_result_path(tmp_path, "f"), {**RANKING, "candidates": [outside]})
    with pytest.raises(InputError, match="elsewhere"):
        read_ranking(tmp_path, "f")
