"""The benchmark of the scene index on tiny databases: real figures, in all its files."""

import json

import numpy as np
import pytest

from benchmarks import index_growth
from benchmarks.index_growth import Growth, best_of_all, markdown
from benchmarks.synthetic_scenes import DISTANCES_RAD, FAKE_FRAMES, SceneModel
from utils.embedding_index import EmbeddingIndex, Limits
from utils.files import InputError
from utils.layout import VideoRecord
from utils.registration import Keypoints
from utils.scene_index import SceneEntry
from utils.tables import read_table

SIZE, SOURCES = 32, 60
NO_KEYPOINTS = Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8),
                         np.zeros(0, bool))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def scene_root(tmp_path_factory):
    """Entries of sources of six frames, whose scenes vary in the first half of the numbers only."""
    root, rng = tmp_path_factory.mktemp("scene"), np.random.default_rng(0)
    for number in range(SOURCES):
        scene = np.r_[rng.normal(size=SIZE // 2), np.zeros(SIZE // 2)]
        rows = unit(unit(scene) + 0.04 * rng.normal(size=(6, SIZE))).astype(np.float16)
        record = VideoRecord(f"{number}.mp4", 1, "0" * 64, 25.0, 6, 96, 64, list(range(6)), {})
        SceneEntry(str(number), record, rows, [None] * 6, [0], [NO_KEYPOINTS]).write(root, {})
    return root


@pytest.fixture(scope="module")
def model(scene_root):
    return SceneModel.fit([scene_root])


def test_synthetic_videos_imitate_real_ones(model):
    (videos,) = model.videos(2000, frames=6)
    assert videos.shape == (2000, 6, SIZE) and videos.dtype == np.float16
    videos = videos.astype(np.float32)
    assert np.linalg.norm(videos, axis=2) == pytest.approx(1, abs=2e-3)
    means = videos.mean(1)
    assert (means[:, :SIZE // 2] ** 2).sum() > 0.97 * (means ** 2).sum()
    spread = np.sqrt(((videos - means[:, None]) ** 2).sum((1, 2)) / (6 - 1))
    assert np.median(spread) == pytest.approx(np.median(model.spreads), rel=0.1)


def test_synthetic_videos_are_the_same_in_any_number(model):
    few, many = (np.concatenate(list(model.videos(count))) for count in (30, 10_050))
    assert np.array_equal(few, many[:30]) and len(many) == 10_050
    assert not np.array_equal(many[:50], many[10_000:])


def test_fakes_are_turned_away_from_their_videos_as_far_as_real_ones(model):
    known = next(model.videos(20))
    asked = model.queries(known, 5)
    assert asked.shape == (25, FAKE_FRAMES, SIZE)
    angles = np.arccos((asked[:20] * unit(known[:, :FAKE_FRAMES].astype(np.float32))).sum(2))
    assert angles.mean(1) == pytest.approx(np.resize(DISTANCES_RAD, 20), abs=0.01)
    assert (asked[20:, 0] @ known[:, 0].astype(np.float32).T).max() < 0.9


def test_too_few_sources_are_refused(tmp_path):
    with pytest.raises(InputError, match="10 sources"):
        SceneModel.fit([tmp_path])
    with pytest.raises(InputError, match="--fakes"):
        index_growth.main([tmp_path], tmp_path / "out", videos=[5], fakes=6)


def test_the_best_of_all_by_hand(monkeypatch):
    monkeypatch.setattr(index_growth, "BEST", 2)
    rows = np.eye(4, dtype=np.float16)
    index = EmbeddingIndex(list("abc"), np.array([0, 1, 3]), np.array([1, 2, 1]), rows)
    asked = np.float32([[[0, 0, 0.8, 0.6], [0, 1, 0, 0]], [[1, 0, 0, 0], [0.6, 0, 0, 0.8]]])
    for chunk in (1, 2, 10):
        monkeypatch.setattr(index_growth, "CHUNK", chunk)
        assert best_of_all(index, asked) == [["b", "c"], ["a", "c"]]


def test_growth_of_tiny_databases(scene_root, tmp_path):
    rows = index_growth.main([scene_root], tmp_path / "out", tmp_path, videos=[50, 2000], frames=3,
                             fakes=20, repeats=1, limits=Limits(1, 300 * SIZE))
    small, large = rows
    assert small.kind == "exact" and small.recall == 1 and small.shortlist_bytes_per_video == 0
    assert large.kind.startswith("IVF") and large.recall >= 0.95 and large.proposing_ms > 0
    assert 3 * 2 * SIZE < small.bytes_per_video and large.shortlist_bytes_per_video > SIZE / 4
    assert min(row.query_ms for row in rows) > 0 and min(row.peak_mib for row in rows) > 20
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {f"growth.{ending}" for ending in ("csv", "json", "md", "png", "pdf")}
    assert [Growth(**row) for row in json.loads((tmp_path / "out/growth.json").read_text())] == rows
    table = read_table(tmp_path / "out/growth.csv")
    assert [int(row["videos"]) for row in table] == [50, 2000]
    assert (tmp_path / "out/growth.md").read_text() == markdown(rows)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
