"""Videos as telephones, recorders and live streams make them go through all five steps."""

import cv2
import numpy as np
import pytest

from benchmarks import edits
from clips import empty_frames, person_frames, set_matrix, write_clip
from project import again
from utils.tables import read_table

FRAMES, CUT, START = 80, 40, 17
PLACES = ("brick", "rocket", "gravel")
LONGER, CUTAWAY = 60, slice(20, 42)  # a fake, and its frames that show a meadow, or are mirrored
FADED, OVER = ((1, 25), (38, 32), (12, 28)), 6  # stretches (start, frames) of a fake; frames of both
LEFT_OUT = np.delete(np.arange(START, START + CUT), [4, 5, 6, 7, 13, 14, 20, 25, 26, 27, 33])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder after all five steps: odd fakes of the first source."""
    root = tmp_path_factory.mktemp("odd")
    films = [list(person_frames(seed + 1, FRAMES, place)) for seed, place in enumerate(PLACES)]
    for place, film in zip(PLACES, films):
        write_clip(root / f"source_data/{place}.mp4", film, crf="18")
    film, fakes = films[0][START:START + CUT], root / "fake_data"
    height, width = film[0].shape[:2]
    write_clip(fakes / "uneven.mp4", [films[0][at] for at in LEFT_OUT],
               times=((LEFT_OUT - START) / 25).tolist())
    write_clip(fakes / "wide pixels.mp4", [cv2.resize(frame, (width // 2, height))
                                           for frame in film], aspect="2/1")
    write_clip(fakes / "upside down.mp4", [frame[::-1] for frame in film])
    set_matrix(fakes / "upside down.mp4", 1, 0, 0, -1)
    smaller = [cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
               for frame in film[CUT // 2:]]
    parts = (write_clip(root / "a.ts", film[:CUT // 2], bf="0"),
             write_clip(root / "b.ts", smaller, bf="0"))
    (fakes / "live.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    write_clip(fakes / "sound goes on.mp4", film, sound_s=4.0)
    cut_into = films[0][START:START + LONGER]
    cut_into[CUTAWAY] = empty_frames("grass", CUTAWAY.stop - CUTAWAY.start)
    write_clip(fakes / "cutaway.mp4", cut_into)
    write_clip(fakes / "mirrored.mp4", [
        frame[:, ::-1] if CUTAWAY.start <= at < CUTAWAY.stop else frame
        for at, frame in enumerate(films[0][START:START + LONGER])])
    stretches = [films[0][start:start + count] for start, count in FADED]
    for name, mix in (("faded", edits.fade), ("slid", edits.slide)):
        shown = stretches[0]
        for part in stretches[1:]:
            shown = edits.go_over(shown, part, (mix, OVER))
        write_clip(fakes / f"{name}.mp4", shown)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        again(1, 2, 3, 4, 5)
    return root


@pytest.mark.parametrize("fake", ["wide pixels.mp4", "upside down.mp4", "live.ts",
                                  "sound goes on.mp4"])
def test_odd_fakes_are_traced(root, fake):
    row, = [row for row in read_table(root / "step5_flow_trace/traces.csv") if row["fake"] == fake]
    assert (row["verdict"], row["source"]) == ("traced", "brick.mp4"), row["reason"]
    assert abs(int(row["start_frame"]) - START) <= 1
    assert abs(int(row["end_frame"]) - (START + CUT - 1)) <= 1
    assert row["flip"] == "0" and "decoded" not in row["reason"]


def test_every_frame_of_an_uneven_fake_is_traced_by_its_time(root):
    found = [int(row["source_frame"]) for row in read_table(root / "step5_flow_trace/frames.csv")
             if row["fake"] == "uneven.mp4"]
    assert found == LEFT_OUT.tolist()
    page = (root / "step5_flow_trace/reports/uneven.html").read_text("utf-8")
    assert "times_s" not in page


def test_what_is_cut_into_a_fake_is_not_traced_with_it(root):
    """The sound would go on meanwhile: behind it the source is where it would be without."""
    first, between, last = [row for row in read_table(root / "step5_flow_trace/traces.csv")
                            if row["fake"] == "cutaway.mp4"]
    assert between["verdict"] == "no_source" and not between["source"]
    told = [(row["verdict"], row["source"], *(int(row[name]) for name in (
        "fake_start_frame", "fake_end_frame", "start_frame", "end_frame")))
            for row in (first, last)]
    assert told == [("traced", "brick.mp4", 0, 19, START, START + 19),
                    ("traced", "brick.mp4", 42, 59, START + 42, START + 59)]
    assert {int(row["fake_frame"]) for row in read_table(root / "step5_flow_trace/frames.csv")
            if row["fake"] == "cutaway.mp4"} == {*range(20), *range(42, 60)}


def test_a_stretch_of_a_fake_that_is_mirrored_is_traced_with_the_others(root):
    told = [(row["verdict"], row["source"], *(int(row[name]) for name in (
        "flip", "fake_start_frame", "fake_end_frame", "start_frame", "end_frame")))
            for row in read_table(root / "step5_flow_trace/traces.csv")
            if row["fake"] == "mirrored.mp4"]
    assert told == [("traced", "brick.mp4", turned, first, last, START + first, START + last)
                    for turned, first, last in ((0, 0, 19), (1, 20, 41), (0, 42, 59))]


@pytest.mark.parametrize("fake, within", [("faded.mp4", 0), ("slid.mp4", OVER)])
def test_a_stretch_ends_where_the_fake_goes_over_into_the_next(root, fake, within):
    """At its middle, or anywhere in it, where neither picture stays in its place."""
    rows = [row for row in read_table(root / "step5_flow_trace/traces.csv") if row["fake"] == fake]
    assert [(row["verdict"], row["source"]) for row in rows] == [("traced", "brick.mp4")] * 3
    first = 0
    for row, (start, count) in zip(rows, FADED):
        ends = [first + OVER // 2 * (first > 0), first + count - 1 - OVER // 2 * (row != rows[-1])]
        found = [int(row[f"fake_{name}_frame"]) for name in ("start", "end")]
        assert np.abs(np.subtract(found, ends)).max() <= within
        assert int(row["start_frame"]) - found[0] == start - first
        first += count - OVER
