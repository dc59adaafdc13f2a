"""The other methods on clips of a drifting picture, and the table over them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer_methods import (METHODS, Match, read_signature, dct_hashes, hamming, match_dct,
                                     match_signature, match_vpdq)
from clips import write_clip
from utils.files import InputError
from utils.layout import VideoFile, find_videos
from utils.tables import read_table

LENGTH, START, CUT = 60, 17, 30  # frames of a source; of a fake, its first there and its length


def drifting(seed: int, count: int) -> list[np.ndarray]:
    """Frames of a camera that drifts, at changing speed, over a random picture."""
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (24, 48, 3), np.uint8), (768, 384),
                         interpolation=cv2.INTER_CUBIC)
    x = np.cumsum(rng.integers(2, 9, count))
    y = np.cumsum(rng.integers(0, 3, count))
    return [picture[j:j + 120, i:i + 160] for i, j in zip(x, y)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Two sources, a fake of each and one of a third clip, and the truth."""
    root = tmp_path_factory.mktemp("peers")
    for seed in (1, 2, 3):
        frames = drifting(seed, LENGTH)
        if seed < 3:
            write_clip(root / "source_data" / f"s{seed}.mp4", frames, crf="18")
        write_clip(root / "fake_data" / f"s{seed}_fake.mp4", frames[START:START + CUT], crf="30")
    rows = ["fake,source,start_frame,end_frame,tier,frames",
            *(f"s{seed}_fake.mp4,s{seed}.mp4,{START},{START + CUT - 1},clean,{CUT}"
              for seed in (1, 2)),
            f"s3_fake.mp4,,0,{CUT - 1},clean-absent,{CUT}"]
    (root / "truth.csv").write_text("\n".join(rows))
    return root


def videos(root: Path) -> tuple[list[VideoFile], list[VideoFile]]:
    return find_videos(root / "fake_data"), find_videos(root / "source_data")


def test_hamming_distances_by_hand():
    one = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], np.uint8)
    other = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], np.uint8)
    assert hamming(one, other).tolist() == [[0, 4, 1], [3, 1, 4]]


def test_dct_hashes_are_balanced_and_survive_compression(clips):
    fakes, sources = videos(clips)
    source, fake = dct_hashes(sources[0].path), dct_hashes(fakes[0].path)
    assert source.shape == (LENGTH, 64) and abs(source.mean() - 0.5) < 0.05
    same = (source[START:START + CUT] != fake).mean()
    assert same < 0.1 < (source[:CUT] != fake).mean()


def test_dct_finds_the_offset(clips, tmp_path):
    fakes, sources = videos(clips)
    right, wrong = (match_dct(fakes[0], source, tmp_path) for source in sources)
    assert right.start == START and right.score > 0.85 > 0.6 > wrong.score


def test_dct_finds_a_fake_that_begins_before_its_source(tmp_path):
    frames = drifting(5, 40)
    write_clip(tmp_path / "source_data" / "s.mp4", frames[10:], crf="18")
    write_clip(tmp_path / "fake_data" / "f.mp4", frames[:30], crf="18")
    fakes, sources = videos(tmp_path)
    assert match_dct(fakes[0], sources[0], tmp_path).start == -10


def test_vpdq_finds_the_offset(clips, tmp_path):
    pytest.importorskip("vpdq")
    fakes, sources = videos(clips)
    right, wrong = (match_vpdq(fakes[0], source, tmp_path) for source in sources)
    assert right.start == START and right.score > 0.8
    assert wrong is None


@pytest.mark.skipif(METHODS["signature"].missing() is not None, reason="no FFmpeg with signature")
def test_signature_finds_its_source_and_no_other(clips, tmp_path):
    fakes, sources = videos(clips)
    right, wrong = (match_signature(fakes[0], source, tmp_path) for source in sources)
    assert abs(right.start - START) <= 5 and right.score > 0.5
    assert wrong is None


def test_signature_places_are_read():
    pattern = re.compile(r"at ([\d.]+) and 1 at ([\d.]+), (\d+) f")
    line = "matching of video 0 at 8.866667 and 1 at 0.333333, 45 frames matching"
    assert read_signature(pattern.search(line), (30.0, 90), (30.0, 448)) == Match(0.5, 256, 1.0)
    # twice as many frames a second in the source: 16 frames an 8 of the fake
    assert read_signature(pattern.search(line), (15.0, 45), (30.0, 448)) == Match(1.0, 256, 2.0)


def run(clips: Path, out: Path, **options):
    return peers.main(clips / "fake_data", clips / "source_data", clips / "truth.csv", out,
                      methods=("dct",), **options)


def test_one_run_gives_answers_and_table(clips, tmp_path, capsys):
    summary = run(clips, tmp_path)
    assert (len(summary.done), summary.failed) == (3, {})
    rows = {row["fake"]: row for row in read_table(tmp_path / "dct" / "traces.csv")}
    for seed in (1, 2):
        row = rows[f"s{seed}_fake.mp4"]
        assert (row["source"], row["start_frame"], row["end_frame"]) == (
            f"s{seed}.mp4", str(START), str(START + CUT - 1))
    assert float(rows["s3_fake.mp4"]["confidence"]) < float(rows["s1_fake.mp4"]["confidence"])
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("| all: dct"))
    assert [cell.split(" ")[0] for cell in line.split(" | ")[2:7]] == ["100.0"] * 5
    assert "| clean: dct | 2 |" in printed


def test_finished_pairs_are_kept(clips, tmp_path, monkeypatch):
    copy, out = tmp_path / "set", tmp_path / "out"
    shutil.copytree(clips, copy)
    compared = []
    method = replace(METHODS["dct"], match=lambda fake, source, folder: compared.append(
        (fake.name, source.name)) or match_dct(fake, source, folder))
    monkeypatch.setitem(METHODS, "dct", method)
    run(copy, out)
    assert len(compared) == 6
    assert len(run(copy, out).skipped) == 3 and len(compared) == 6
    write_clip(copy / "source_data" / "new.mp4", drifting(9, 30))
    run(copy, out)
    assert [source for _, source in compared[6:]] == ["new.mp4"] * 3
    write_clip(copy / "fake_data" / "s1_fake.mp4", drifting(1, 20))
    run(copy, out)
    assert [fake for fake, _ in compared[9:]] == ["s1_fake.mp4"] * 3
    (copy / "source_data" / "new.mp4").unlink()
    run(copy, out)
    assert "new.mp4" not in (out / "dct" / "traces.csv").read_text()


def test_what_is_missing_is_said_and_the_others_go_on(clips, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(METHODS, "vpdq", replace(METHODS["vpdq"], missing=lambda: "pip install it"))
    peers.main(clips / "fake_data", clips / "source_data", clips / "truth.csv", tmp_path,
               methods=("vpdq", "dct"))
    assert [r.message for r in caplog.records if "pip install it" in r.message] == [
        "vpdq is left out: pip install it"]
    assert (tmp_path / "dct" / "traces.csv").is_file() and not (tmp_path / "vpdq").exists()
    with pytest.raises(InputError, match="none of the methods"):
        peers.usable(["vpdq"])


def test_a_fake_without_a_match_is_rejected():
    trace = peers.best_answer("f.mp4", {"frames": 10, "pairs": {"a.mp4": {"match": None}}})
    assert (trace.verdict, trace.source, trace.confidence) == ("no_source", None, 1.0)


def test_a_truth_of_other_fakes_is_an_error(clips, tmp_path):
    (tmp_path / "truth.csv").write_text("fake,source,start_frame,end_frame\nx.mp4,a.mp4,0,9\n")
    with pytest.raises(InputError, match="truth.csv"):
        peers.main(clips / "fake_data", clips / "source_data", tmp_path / "truth.csv", tmp_path)
