"""The turned copies that benchmarks/long_sources.py joins are no copies that a fake may show."""

import numpy as np

from benchmarks.long_sources import TURNS, join, turned
from long_motion import index_of, stored_motion
from utils.files import map_arrays


def test_turned_copies_differ_from_each_other_and_from_the_mirror():
    flow = stored_motion(0, 9)["flow"]
    weight = np.arange(8 * 144, dtype=np.uint8).reshape(8, 12, 12)
    plain = [turned(flow, weight, turn) for turn in ((0, 0, 0), (1, 0, 0), *TURNS)]
    assert np.array_equal(plain[0][0], flow) and np.array_equal(plain[1][1], weight[:, :, ::-1])
    for kind in (0, 1):
        assert len({np.ascontiguousarray(copy[kind]).tobytes() for copy in plain}) == 8


def test_turning_moves_cells_and_displacements_alike():
    flow, weight = np.zeros((1, 12, 12, 2), np.float16), np.ones((1, 12, 12), np.uint8)
    flow[0, 2, 7] = 3, 1  # in row 2, column 7: three right, one down
    transposed, _ = turned(flow, weight, (0, 0, 1))
    upside_down, _ = turned(flow, weight, (0, 1, 0))
    assert transposed[0, 7, 2].tolist() == [1, 3] and upside_down[0, 9, 7].tolist() == [3, -1]


def test_joined_sources_begin_where_they_are_said_to(tmp_path):
    sources = {"a": stored_motion(1, 40), "b": stored_motion(2, 70)}
    index_of(tmp_path, **sources)
    joined = index_of(tmp_path / "long")
    starts = join(tmp_path / "motion", 400, joined)
    _, arrays = map_arrays(joined.path("joined"))
    assert list(starts) == ["a.mp4", "b.mp4"] and len(arrays["times_s"]) == 441
    assert len(arrays["times_s"]) == len(arrays["pose"]) == len(arrays["flow"]) + 1
    for name, start in starts.items():
        mine = sources[name.removesuffix(".mp4")]
        for kind in ("flow", "pose"):
            assert np.array_equal(arrays[kind][start:start + len(mine[kind])], mine[kind])
    assert joined.read("joined") is not None
