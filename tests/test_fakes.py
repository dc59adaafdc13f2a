"""Face detector, face swap and the truth of the fakes that the benchmarks make; test_edits.py has
what is done to their pictures."""

import csv
import json
from itertools import groupby, pairwise

import cv2
import numpy as np
import pytest
from skimage import data

from benchmarks import (animate, demo_data, edit_times, edits, expression, face_swap, forge,
                        make_fakes)
from models.face_detector import FaceDetector, _letterbox, _overlap
from models.fetch import ModelFileError, sha256_of
from utils.files import InputError
from utils.video import VideoReader, probe

COUNT = 80  # frames of the test clip
BITS = 7


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


@pytest.fixture(scope="module")
def astronaut():
    return data.astronaut()[..., ::-1].copy()


def stamp(image: np.ndarray, number: int) -> np.ndarray:
    """A copy with a number written as black and white blocks along the lower edge."""
    image, side = image.copy(), image.shape[1] // BITS
    for bit in range(BITS):
        image[-24:, bit * side:(bit + 1) * side] = 255 * (number >> bit & 1)
    return image


def read_stamp(image: np.ndarray) -> int:
    """The number that stamp() wrote; the picture may be scaled."""
    height, side = image.shape[0], image.shape[1] / BITS
    row = image[height - round(height * 12 / 192)].mean(axis=1)
    return sum(int(row[int((bit + 0.5) * side)] > 127) << bit for bit in range(BITS))


@pytest.fixture(scope="module")
def clips(tmp_path_factory, astronaut):
    """A folder of two clips of 192x192: the astronaut moving, every frame numbered in pixels."""
    root = tmp_path_factory.mktemp("clips")
    person = cv2.resize(astronaut[:320, 60:380], (192, 192), interpolation=cv2.INTER_AREA)
    for name, seed in (("a", 1), ("b", 2)):
        path = face_swap.smooth_noise(COUNT, 6, np.random.default_rng(seed)) * 3
        frames = []
        for number in range(COUNT):
            shift = np.float32([[1, 0, path[number]], [0, 1, path[number] / 2]])
            frames.append(stamp(cv2.warpAffine(person, shift, (192, 192), borderMode=1), number))
        forge.write_video(root / f"{name}.mp4", frames, 25, 12)
    return root


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_face_of_the_astronaut(detector, astronaut):
    faces = detector.detect(astronaut)
    assert len(faces) == 1 and faces[0].score > 0.8
    right_eye, left_eye, nose, mouth = faces[0].keypoints[:4]
    assert np.abs(right_eye - (208, 103)).max() < 12 and np.abs(left_eye - (241, 104)).max() < 12
    assert right_eye[1] < nose[1] < mouth[1]
    x, y, width, height = faces[0].box
    assert x < 208 and x + width > 241 and y < 103 and 50 < width < 140


def test_region_finds_a_small_face_in_the_same_pixels(detector, astronaut):
    wide = np.zeros((1200, 2400, 3), np.uint8)
    wide[300:812, 900:1412] = astronaut
    assert not detector.detect(wide)
    found = detector.detect(wide, (1000, 300, 300, 300))[0]
    whole = detector.detect(astronaut)[0]
    assert np.abs(found.keypoints - (900, 300) - whole.keypoints)[:4].max() < 6


def test_no_face_no_picture(detector):
    assert detector.detect(data.coffee()[..., ::-1].copy()) == []
    assert detector.detect(np.zeros((40, 40, 3), np.uint8), (100, 100, 20, 20)) == []


def test_unusable_model_file(tmp_path):
    for content in (b"", b"no model at all, but long enough to be read"):
        (tmp_path / "model.tflite").write_bytes(content)
        with pytest.raises(ModelFileError, match="model.tflite"):
            FaceDetector(tmp_path / "model.tflite")


def test_letterbox_and_overlap():
    square, scale, pad = _letterbox(np.full((50, 100, 3), 9, np.uint8))
    assert square.shape == (128, 128, 3) and scale == 1.28 and pad.tolist() == [0, 32]
    box = np.array([[0.0, 0], [2, 2]])
    others = np.array([[[0, 0], [2, 2]], [[1, 0], [3, 2]], [[5, 5], [6, 6]]], float)
    assert np.allclose(_overlap(box, others), [1, 1 / 3, 0])


def test_swapped_face_follows_the_head(detector, astronaut):
    donor = face_swap.make_donor(astronaut, detector.detect(astronaut)[0])
    frames = [np.roll(astronaut, (shift, 2 * shift), (0, 1)) for shift in range(0, 12, 2)]
    keypoints, faces = face_swap.track_face(frames, detector)
    assert faces == len(frames) and keypoints.shape == (6, 6, 2)
    moved = (keypoints[-1] - keypoints[0])[:4]
    assert np.abs(moved - (20, 10)).max() < 2
    swapped = face_swap.swap_face(frames[0], keypoints[0], donor)
    changed = np.abs(swapped.astype(int) - frames[0]).max(axis=2) > 0
    assert changed.any() and not changed[250:].any()  # the face only


def test_donor_makes_the_expression_of_the_face_it_replaces(detector, astronaut):
    face = detector.detect(astronaut)[0]
    donor = face_swap.make_donor(astronaut[:, ::-1], detector.detect(astronaut[:, ::-1])[0])
    noise = np.random.default_rng(0).normal(0, 4, astronaut.shape)
    noisy = np.clip(astronaut + noise, 0, 255).astype(np.uint8)
    frames = [astronaut, noisy, face_swap.open_mouth(astronaut, face.keypoints, 1.5)]
    still, same, opened = (given.image.astype(float) for given in expression.with_expression(
        donor, frames, np.stack([face.keypoints] * 3)))
    assert np.abs(still - donor.image).max() <= 1  # the reference: its expression is the donor's
    inside = donor.mask > 0.5
    assert np.abs(same - still)[inside].mean() < 0.5 * np.abs(noise).mean()
    mouth, brow = donor.keypoints[3], donor.keypoints[:2].mean(axis=0) - (0, 30)
    change = cv2.GaussianBlur(np.abs(opened - still).mean(axis=2), (0, 0), 8)
    at_mouth, at_brow = (change[round(y), round(x)] for x, y in (mouth, brow))
    assert at_mouth > 4 and at_mouth > 4 * at_brow


def test_alignment_is_exact_for_an_affine_copy():
    source = np.random.default_rng(0).uniform(0, 100, (6, 2)).astype(np.float32)
    transform = np.array([[1.2, 0.1, 5], [-0.2, 0.9, 3]])
    target = cv2.transform(source[None], transform)[0]
    assert np.allclose(face_swap.alignment(source, target), transform, atol=1e-3)


def test_no_face_leaves_the_frames(detector):
    frames = [data.coffee()[..., ::-1].copy()] * 2
    assert face_swap.track_face(frames, detector) == (None, 0)


def test_choose_frames_of_every_tier():
    gaps = {}
    for tier in edits.TIERS:
        for seed in range(20):
            stretches, rate = edit_times.choose_frames(tier, 100, 40, np.random.default_rng(seed))
            frames = np.concatenate(stretches)
            assert frames.min() >= 0 and frames.max() < 100
            if tier in ("temporal", "extreme", "several", "farrate", "lowfps", "slowmo",
                        "interpolated"):
                expected = frames[0] + np.floor(np.arange(len(frames)) * rate + 0.5)
                assert (frames == expected).all()
            if tier == "reversed":
                assert rate == -1 and (np.diff(frames) == -1).all()
            if tier == "dropped":
                assert len(frames) == 37 and 1 < rate < 1.2 and np.diff(frames).max() >= 2
            if tier == "short":
                assert 10 <= len(frames) <= 15
            if tier in edit_times.WITHOUT_PAUSES:
                assert np.diff([len(part) for part in stretches]).any() or len(stretches) == 1
                assert all((np.diff(part) == 1).all() for part in stretches)
                gaps.setdefault(tier, []).extend(after[0] - before[-1] - 1
                                                 for before, after in pairwise(stretches))
            if tier == "stitched":
                assert [len(part) for part in stretches] == [20, 20]
                assert abs(stretches[1][0] - stretches[0][0]) > 20
            if tier == "montage":
                assert rate in edit_times.RATES and len(stretches) == 2
                assert all((part == part[0] + np.floor(np.arange(len(part)) * rate + 0.5)).all()
                           for part in stretches)
            if tier == "ramped":
                first, last = np.diff(frames[:12]).mean(), np.diff(frames[-12:]).mean()
                assert len(stretches) == 1 and max(first, last) > 1.8 * min(first, last)
                assert (np.diff(frames) >= 0).all() and len(frames) > 25
            if tier == "boomerang":
                assert (stretches[1] == stretches[0][::-1]).all() and len(frames) == 80
            if tier == "looped":
                assert len(stretches) == 3 and (np.reshape(stretches, (3, 40)) == frames[:40]).all()
            if tier == "rewound":
                assert -rate in edit_times.RATES and (np.diff(frames) <= 0).all()
    left_out = set(range(*edit_times.LEFT_OUT))
    assert set(gaps["jumpcuts"]) <= left_out and 0 in gaps["flipcuts"]
    assert set(gaps["flipcuts"]) <= left_out | {0} and len(set(gaps["flipcuts"])) > 1


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_choose_frames_of_a_very_short_source(count):
    for tier in edits.TIERS:
        stretches, _ = edit_times.choose_frames(tier, count, 40, np.random.default_rng(count))
        frames = np.concatenate(stretches)
        assert len(frames) and frames.min() >= 0 and frames.max() < count


def test_mouth_moves_and_nothing_else(detector, astronaut):
    keypoints = detector.detect(astronaut)[0].keypoints
    opened = face_swap.open_mouth(astronaut, keypoints, 1.0)
    changed = np.argwhere(np.abs(opened.astype(int) - astronaut).max(axis=2) > 3)
    centre = changed.mean(axis=0)[::-1]
    assert np.linalg.norm(centre - keypoints[3]) < 12
    assert np.abs(changed[:, ::-1] - keypoints[3]).max() < 45


@pytest.mark.parametrize("tier", ["clean", "temporal", "extreme", "reversed", "dropped", "c40",
                                  "stitched", "short", "rewound", "montage", "lowfps",
                                  "farrate", "jumpcuts", "flipcuts", "crossfades", "transitions"])
def test_fakes_show_the_frames_that_the_truth_says(clips, tmp_path, tier):
    summary = make_fakes.main(clips, tmp_path, 1, seed=4, tiers=[tier], lengths=[30], absent=0.0)
    assert not summary.failed and len(summary.done) == 2
    for row in rows_of(tmp_path / "truth.csv"):
        turn = slice(None, None, -1 if row["flip"] == "1" else 1)
        shown = [read_stamp(frame.image[:, turn])
                 for frame in VideoReader(tmp_path / "fake_data" / row["fake"], threads=1)]
        assert len(shown) == int(row["frames"])
        slower = float(row["speed"]) if tier == "lowfps" else 1.0
        assert probe(tmp_path / "fake_data" / row["fake"]).fps == pytest.approx(25 / slower)
        first, last = int(row["fake_start_frame"]), int(row["fake_end_frame"])
        start, end, speed = int(row["start_frame"]), int(row["end_frame"]), float(row["speed"])
        if tier in ("crossfades", "transitions"):  # which show two numbers at once
            within = 5 * (first > 0), 5 * (last + 1 < len(shown))
            first, start, last, end = (first + within[0], start + within[0], last - within[1],
                                       end - within[1])
        assert (shown[first], shown[last]) == (start, end)
        if tier != "dropped":
            steps = np.floor(np.arange(last - first + 1) * abs(speed) + 0.5)
            expected = start + steps if speed > 0 else (shown[last] + steps)[::-1]
            assert shown[first:last + 1] == expected.tolist()


def test_a_split_screen_shows_two_clips_at_a_time(clips, tmp_path):
    make_fakes.main(clips, tmp_path, 2, seed=4, tiers=["split"], lengths=[20], absent=0.0)
    rows = rows_of(tmp_path / "truth.csv")
    assert len(rows) == 8
    for one, other in zip(rows[::2], rows[1::2]):
        assert one["fake"] == other["fake"] and {one["source"], other["source"]} == {"a.mp4", "b.mp4"}
        shown = []
        for frame in VideoReader(tmp_path / "fake_data" / one["fake"], threads=1):
            height, width = frame.image.shape[:2]
            assert (height, width) in ((192, 384), (384, 192))
            shown.append({read_stamp(part) for part in np.split(frame.image, 2, int(width == 384))})
        assert len(shown) == int(one["frames"])
        for row in (one, other):
            assert (row["fake_start_frame"], row["fake_end_frame"]) == ("0", str(len(shown) - 1))
            start = int(row["start_frame"])
            assert all(start + number in pair for number, pair in enumerate(shown))


def test_something_else_is_cut_into_a_fake(clips, tmp_path):
    make_fakes.main(clips, tmp_path, 3, seed=5, tiers=["cutaway"], lengths=[25], absent=0.0)
    begins = set()
    for fake, rows in groupby(rows_of(tmp_path / "truth.csv"), key=lambda row: row["fake"]):
        shown = [read_stamp(frame.image)
                 for frame in VideoReader(tmp_path / "fake_data" / fake, threads=1)]
        parts, ends, start = list(rows), [], None
        assert [part["source"] for part in parts].count("") == 1
        for part in parts:
            first, last = int(part["fake_start_frame"]), int(part["fake_end_frame"])
            ends += [first, last]
            expected = list(range(int(part["start_frame"]), int(part["end_frame"]) + 1))
            assert len(expected) == last - first + 1
            if part["source"]:
                assert shown[first:last + 1] == expected
                assert start in (None, expected[0] - first)  # as if nothing had been cut in
                start = expected[0] - first
            else:
                assert part["tier"] == "cutaway-absent" and shown[first:last + 1] != expected
                begins.add((first > 0) + (last < len(shown) - 1))
        assert ends[0] == 0 and ends[-1] == len(shown) - 1 == 74
        assert all(one + 1 == other for one, other in zip(ends[1::2], ends[2::2]))
    assert begins == {1, 2}  # at an end, and in between


def test_same_seed_same_fakes_and_resume(clips, tmp_path):
    for name in ("one", "two"):
        make_fakes.main(clips, tmp_path / name, 2, seed=7, lengths=[12], absent=0.5,
                        tiers=["several", "pip", "newback"])
    hashes = [{file.name: sha256_of(file) for file in (tmp_path / name).rglob("*.mp4")}
              for name in ("one", "two")]
    assert hashes[0] == hashes[1]
    rows = rows_of(tmp_path / "one" / "truth.csv")
    assert list(rows[0])[:11] == ("fake,source,start_frame,end_frame,tier,speed,flip,crop,crf,"
                                  "frames,faces").split(",")
    absent = [row for row in rows if not row["source"]]
    assert len(absent) == 2 and all(row["tier"].endswith("-absent") for row in absent)
    assert len(list((tmp_path / "one" / "source_data").iterdir())) == 1
    (tmp_path / "one" / "fake_data" / rows[0]["fake"]).unlink()
    again = make_fakes.main(clips, tmp_path / "one", 2, seed=7, lengths=[12], absent=0.5,
                            tiers=["several", "pip", "newback"])
    assert again.done == [rows[0]["fake"]] and len(again.skipped) == 3
    still = make_fakes.main(clips, tmp_path / "one", 2, seed=7, lengths=[12], absent=0.5,
                            tiers=["several", "pip", "newback"], still_donor=True)
    assert len(still.done) == 4
    assert all(sha256_of(tmp_path / "one" / "fake_data" / name) != hashes[0][name]
               for name in still.done)


def test_clips_of_the_same_footage_are_absent_together(clips):
    names = sorted(path.name for path in clips.iterdir())
    absent = {clip.name for clip in make_fakes.read_clips(clips, 0.5, 7)}
    apart = [clip.absent for clip in make_fakes.read_clips(clips, 0.5, 7)]
    together = [clip.absent for clip in make_fakes.read_clips(clips, 0.5, 7, [names])]
    assert absent == set(names) and sorted(apart) == [False, True] and together == [True, True]
    assert not any(clip.absent for clip in make_fakes.read_clips(clips, 0.0, 7, [names]))
    with pytest.raises(InputError, match="other.mp4"):
        make_fakes.read_clips(clips, 0.5, 7, [["other.mp4", *names]])


def test_other_takes_share_no_frame_with_the_database(clips, tmp_path):
    made = make_fakes.main(clips, tmp_path, 1, lengths=[10], tiers=["clean"], other_takes=True)
    assert sorted(made.done) == ["a_fake_00.mp4", "b_fake_00.mp4"]
    assert all(row["source"] == "" and row["tier"] == "clean-absent"
               for row in rows_of(tmp_path / "truth.csv"))
    for name in ("a.mp4", "b.mp4"):
        first, last = ([read_stamp(frame.image) for frame in VideoReader(tmp_path / folder / name)]
                       for folder in ("source_data", "takes"))
        assert len(first) == len(last) == int(make_fakes.TAKE * COUNT)
        assert first == list(range(len(first)))
        assert last == list(range(COUNT - len(last), COUNT))
    again = make_fakes.main(clips, tmp_path, 1, lengths=[10], tiers=["clean"], other_takes=True)
    assert sorted(again.skipped) == sorted(made.done)


def test_wrong_options_are_refused(clips, tmp_path):
    with pytest.raises(InputError, match="unknown tiers"):
        make_fakes.main(clips, tmp_path, tiers=["no such tier"])
    with pytest.raises(InputError, match="absent"):
        make_fakes.main(clips, tmp_path, absent=1.0)


def test_animation_is_aperiodic_and_seeded(detector, astronaut):
    moves, mouth = animate.performance(300, 25, 1.0, np.random.default_rng(0))
    assert moves.shape == (300, len(animate.MOTIONS)) and mouth.min() >= 0
    roll = moves[:, 4] - moves[:, 4].mean()
    echo = np.correlate(roll, roll, "full")[300:] / (roll @ roll)
    assert echo[60:].max() < 0.6  # no period
    actor = animate.make_actor(astronaut, (160, 160), 0.12, (0.5, 0.3), forge.segmenter(),
                               detector)
    place = np.full((160, 160, 3), 90, np.uint8)
    first, second = ([*animate.animate(actor, place, 3, 25, np.random.default_rng(5))]
                     for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second))
    assert np.abs(first[0].astype(int) - first[2]).max() > 20


def test_complete_demo_is_skipped(tmp_path):
    settings = {"version": demo_data.VERSION, "seed": 3}
    (tmp_path / "truth.csv").write_text("x")
    (tmp_path / "demo.json").write_text(json.dumps({"settings": settings,
                                                    "files": {"truth.csv": 1}}))
    assert demo_data.main(tmp_path, seed=3).skipped == [str(tmp_path)]
    assert not demo_data.is_complete(tmp_path, {"version": 0, "seed": 3})
    (tmp_path / "truth.csv").write_text("xy")
    assert not demo_data.is_complete(tmp_path, settings)
