"""Several persons in one picture: a row for each, and one person is not taken for two."""

import numpy as np
import pytest

from clips import person_frames, write_clip
from project import again
from utils.persons import are_apart
from utils.tables import read_table

FRAMES, CUT = 60, 30
PLACES = ("brick", "rocket", "gravel")
SPLIT = {"beside.mp4": ((0, 20), (1, 5), 1), "below.mp4": ((1, 12), (2, 25), 0)}


@pytest.mark.parametrize("one, other, apart", [
    ((0, 0, 100), (100, 0, 100), True),  # beside each other
    ((0, 0, 100), (60, 0, 100), True),  # in squares that overlap a little
    ((0, 0, 100), (20, 10, 90), False),  # one person
    ((0, 0, 100), (10, 10, 60), True),  # a window before somebody
    ((0, 0, 100), (-20, -20, 150), True),
])
def test_squares_hold_the_same_person_or_not(one, other, apart):
    assert are_apart(one, other) == are_apart(other, one) == apart


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    """Rows of traces.csv by fake: split screens, and fakes of one person."""
    root = tmp_path_factory.mktemp("persons")
    films = [list(person_frames(seed + 1, FRAMES, place)) for seed, place in enumerate(PLACES)]
    for place, film in zip(PLACES, films):
        write_clip(root / f"source_data/{place}.mp4", film, crf="18")
    for name, ((one, start), (other, at), axis) in SPLIT.items():
        pairs = zip(films[one][start:start + CUT], films[other][at:at + CUT])
        write_clip(root / f"fake_data/{name}", [np.concatenate(pair, axis) for pair in pairs])
    write_clip(root / "fake_data/alone.mp4", films[0][9:9 + CUT])
    stranger = person_frames(8, CUT, "grass")
    write_clip(root / "fake_data/stranger.mp4",
               [np.concatenate(pair, 1) for pair in zip(films[1][3:3 + CUT], stranger)])
    grid = [[films[0][9:], films[1][3:]], [films[2][20:], list(person_frames(7, CUT, "coffee"))]]
    write_clip(root / "fake_data/grid.mp4", [
        np.vstack([np.hstack([film[index] for film in line]) for line in grid])
        for index in range(CUT)])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        again(1, 2, 3, 4, 5)
    found: dict[str, list[dict[str, str]]] = {}
    for row in read_table(root / "step5_flow_trace/traces.csv"):
        found.setdefault(row["fake"], []).append(row)
    for fake in SPLIT:
        page = (root / f"step5_flow_trace/reports/{fake[:-4]}.html").read_text("utf-8")
        assert page.count("One of the persons in this fake was made from frames") == 2
    frames = read_table(root / "step5_flow_trace/frames.csv")
    assert sum(row["fake"] == "beside.mp4" for row in frames) == 2 * CUT
    return found


@pytest.mark.parametrize("fake", SPLIT)
def test_each_half_of_a_split_screen_has_its_source(rows, fake):
    *halves, _ = SPLIT[fake]
    found = {row["source"]: row for row in rows[fake]}
    assert len(rows[fake]) == len(found) == 2
    for number, start in halves:
        row = found[f"{PLACES[number]}.mp4"]
        assert (row["verdict"], row["start_frame"], row["end_frame"]) == (
            "traced", str(start), str(start + CUT - 1))
        assert (row["fake_start_frame"], row["fake_end_frame"]) == ("0", str(CUT - 1))
        assert "2 persons of its picture were traced, this is the one at x " in row["reason"]
        assert float(row["confidence"]) > 0.9


def test_a_grid_of_four_has_a_row_for_each_that_has_a_source(rows):
    found = {row["source"]: (row["verdict"], int(row["start_frame"])) for row in rows["grid.mp4"]}
    assert len(rows["grid.mp4"]) == 3
    assert found == {"brick.mp4": ("traced", 9), "rocket.mp4": ("traced", 3),
                     "gravel.mp4": ("traced", 20)}


def test_one_person_is_one_row(rows):
    (row,) = rows["alone.mp4"]
    assert (row["source"], row["start_frame"]) == ("brick.mp4", "9")
    assert "persons" not in row["reason"]


def test_a_person_without_a_source_beside_one_adds_nothing(rows):
    (row,) = rows["stranger.mp4"]
    assert (row["source"], row["start_frame"]) == ("rocket.mp4", "3")
