"""Pictures laid on each other confirm a place, correct its frames, and unmask strangers."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from clips import renewed_of, sample_of_frames
from models.flow import DisFlow
from models.motion import COARSE, MotionGrid, cut_mask, cut_square, motion_grid
from models.pose import CELLS, PoseClip, small_grey, small_weight
from models.pose import SIDE as POSE_SIDE
from utils.confirm import (Fake, FakePictures, confirm, confirmed, frames_with_person, is_certain,
                           others_alike, unseen_by_motion, worth_a_look)
from utils.decision import Hypothesis
from utils.fake_motion import FakeMotion
from utils.held_pair import FilmCutter
from utils.in_time import FINE, film_around
from utils.layout import VideoRecord
from utils.matching import Alignment, prepare, sample_offsets
from utils.paths import runs_evenly
from utils.pixel_sample import sampled_weight
from utils.source_motion import IndexedSource
from utils.straight_line import SWING, likeliest_line
from utils.video import Frame, VideoError, VideoReader, VideoWriter
from utils.views import Found, View, in_order

WIDTH, HEIGHT, FRAMES, START, COUNT = 240, 180, 60, 18, 30
SQUARE, FAKE_SQUARE = (60.0, 20.0, 120.0), (30.0, 22.0, 84.0)
SCALE, LEFT, TOP = 0.7, 12, 8  # of the source's picture in the mirrored fake's


def texture(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    values = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
    values = cv2.GaussianBlur(values, (0, 0), sigma)
    return (128 + 45 * values / values.std()).clip(0, 255).astype(np.uint8)


def film(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A head that sways before a wall: frames [FRAMES, HEIGHT, WIDTH, 3], masks [FRAMES, H, W]."""
    rng = np.random.default_rng(seed)
    wall, head = texture(rng, HEIGHT, WIDTH, 2), texture(rng, 100, 80, 2)
    steps = cv2.GaussianBlur(rng.normal(0, 4, (FRAMES, 2)), (1, 7), 0, sigmaY=1.5)
    places = np.array([80, 40]) + np.clip(np.cumsum(steps, axis=0), -18, 18)
    oval = cv2.ellipse(np.zeros((100, 80), np.uint8), (40, 50), (38, 48), 0, 0, 360, 255, -1)
    frames, masks = [], []
    for place in places:
        matrix = np.float32([[1, 0, place[0]], [0, 1, place[1]]])
        mask = cv2.warpAffine(oval, matrix, (WIDTH, HEIGHT))
        moved = cv2.warpAffine(head, matrix, (WIDTH, HEIGHT))
        alpha = mask[..., None] / 255
        frames.append((wall + alpha * (moved.astype(float) - wall)).astype(np.uint8))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


FILMS = {seed: film(seed) for seed in (0, 1)}


def record_of(name: str, count: int, width: int, height: int) -> VideoRecord:
    return VideoRecord(name, 1, "0" * 64, 25.0, count, width, height, list(range(count)), {})


def motion_of(frames, masks, square) -> tuple[MotionGrid, PoseClip]:
    crops = np.stack([cut_square(frame, square) for frame in frames])
    persons = np.stack([cut_mask(mask, square) for mask in masks])
    return motion_grid(crops, persons, DisFlow()), PoseClip(small_grey(crops, POSE_SIDE),
                                                            small_weight(persons, POSE_SIDE))


def source_of(seed: int) -> IndexedSource:
    grid, poses = motion_of(*FILMS[seed], SQUARE)
    coarse = grid.pooled(COARSE)
    return IndexedSource(record_of(f"{seed}.mp4", FRAMES, WIDTH, HEIGHT),
                         lambda first, last: prepare(coarse.part(first, last)),
                         poses.mapped(cells=CELLS).grey, SQUARE, np.arange(FRAMES) / 25)


STRETCH = np.arange(START, START + COUNT)


def small_mirrored(shown: np.ndarray = STRETCH) -> tuple[np.ndarray, np.ndarray]:
    """Frames of film 0, small, mirrored, in a grey border, darker, and masks."""
    def edited(image: np.ndarray, border: int) -> np.ndarray:
        small = cv2.resize(image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
        canvas = np.full((144, 198, *image.shape[2:]), border, np.uint8)
        canvas[TOP:TOP + small.shape[0], LEFT:LEFT + small.shape[1]] = small
        return canvas[:, ::-1].copy()

    frames, masks = (np.stack([edited(image, border) for image in part[shown]])
                     for part, border in zip(FILMS[0], (60, 0)))
    return (0.8 * frames).astype(np.uint8), masks


def fake_of(frames: np.ndarray, masks: np.ndarray, unchanged: float = 0.0,
            square: tuple[float, float, float] = FAKE_SQUARE) -> Fake:
    grid, poses = motion_of(frames, masks, square)
    poses = replace(poses, renewed=renewed_of(frames, square))
    pixels = replace(sample_of_frames(frames, square), weight=sampled_weight(np.stack(
        [cut_mask(mask, square) for mask in masks])))
    record = record_of("fake.mp4", COUNT, *frames.shape[2:0:-1])

    def look(window):
        raise AssertionError(f"{window} is no other part of the fake")

    return Fake(record, record.frames, FakeMotion(square, grid, poses, pixels), 1.0,
                FakePictures(frames.__getitem__), look, lambda: unchanged)


def noisy_fake(shown: np.ndarray = STRETCH, unchanged: float = 0.0) -> Fake:
    """A little noisy."""
    frames, masks = small_mirrored(shown)
    noise = np.random.default_rng(5).normal(0, 3, frames.shape)
    return fake_of((frames + noise).clip(0, 255).astype(np.uint8), masks, unchanged)


@pytest.fixture(scope="module")
def fake() -> Fake:
    return noisy_fake()


@pytest.fixture(scope="module")
def coarse_fake(tmp_path_factory) -> Fake:
    """Really encoded, so that much of its pictures stands still."""
    frames, masks = small_mirrored()
    path = tmp_path_factory.mktemp("coarse") / "fake.mp4"
    with VideoWriter(path, 25, crf=45) as writer:
        for frame in frames:
            writer.write(frame)
    coded = np.stack([frame.image for frame in VideoReader(path, threads=1)])
    return fake_of(coded, masks, unchanged=0.5)


def read_source(source: IndexedSource, wanted: set[int]):
    for index in sorted(wanted):
        if index < FRAMES:
            yield Frame(index, index / 25, FILMS[int(source.file[0])][0][index])


def place(fake: Fake, seed: int, start: int, flip: int = 1, motion_score: float = 0.5) -> Found:
    """What the search has found: square on square, nothing known of how the pictures lie."""
    candidate = {"source": f"{seed}.mp4", "source_id": str(seed), "scene_score": 0.3, "inliers": 0,
                 "background_inliers": 0, "verified": False, "flip": 0, "mapping": None}
    motion = fake.motion.mirrored() if flip else fake.motion
    view = View(candidate, source_of(seed), motion.grid.pooled(), None, flip, False, False, 1.0)
    alignment = Alignment(motion_score, start + np.arange(COUNT), 1.0)
    return Found(replace(view.judge(alignment), motion_score=motion_score), view, alignment,
                 np.zeros(1, np.float32))


@pytest.mark.parametrize("off", [0, 1, -2])
def test_the_place_is_confirmed_to_the_frame(fake, off):
    found = confirm(place(fake, 0, START + off), fake, read_source)
    h = found.hypothesis
    assert (h.start, h.end) == (START, START + COUNT - 1)
    assert h.registered and min(h.picture_score, h.pose_score) > 0.8 and h.motion_score > 0.6
    assert h.pixel_score > 0.8
    expected = np.array([[1 / SCALE, 0, -LEFT / SCALE], [0, 1 / SCALE, -TOP / SCALE]])
    np.testing.assert_allclose(found.mapping.matrix[:, :2], expected[:, :2], atol=0.03)
    np.testing.assert_allclose(found.mapping.matrix[:, 2], expected[:, 2], atol=2.5)


@pytest.mark.parametrize("off", [-3, 0, 2])
def test_a_coarse_copy_is_confirmed_to_the_frame(coarse_fake, off):
    h = confirm(place(coarse_fake, 0, START + off), coarse_fake, read_source).hypothesis
    assert (h.start, h.end, h.rate) == (START, START + COUNT - 1, 1.0)


@pytest.mark.parametrize("unchanged, asked", [(0.0, "CLEARLY"), (0.5, "SURELY")])
def test_a_frame_dropped_behind_the_first_one_is_missed_as_surely_as_is_asked_for(
        unchanged, asked, monkeypatch):
    shown = STRETCH - (STRETCH == START)
    fake = noisy_fake(shown, unchanged)
    other, = {"CLEARLY", "SURELY"} - {asked}
    monkeypatch.setattr(f"utils.in_time.{other}", 1e6)
    found = confirm(place(fake, 0, START), fake, read_source)
    assert found.alignment.at.tolist() == shown.tolist()
    monkeypatch.setattr(f"utils.in_time.{asked}", 1e6)
    found = confirm(place(fake, 0, START), fake, read_source)
    assert found.alignment.at.tolist() == STRETCH.tolist()


def test_jumps_that_a_straight_line_explains_as_well_are_none(monkeypatch):
    """Of a coarse copy at another rate, whose path with jumps is liked best of all near it."""
    shown = START + sample_offsets(COUNT, 0.7, 0.5)
    fake = noisy_fake(shown, 0.5)
    jumpy = shown - 2 * (np.arange(COUNT) < 4)
    monkeypatch.setattr("utils.in_time.likeliest_line", lambda scores, near, *others: (
        likeliest_line(scores, near, *others) if runs_evenly(near) else near))
    monkeypatch.setattr("utils.in_time.follow_pictures", lambda scores, near, *others: near)
    one = place(fake, 0, START, motion_score=0.9)
    rate = float(jumpy[-1] - jumpy[0]) / (COUNT - 1)
    one = replace(one, alignment=Alignment(0.9, jumpy, rate))
    monkeypatch.setattr("utils.confirm.refined", lambda near: replace(
        one, view=near.view, alignment=near.alignment))
    found = confirm(one, fake, read_source).alignment
    assert found.at.tolist() == shown.tolist() and found.rate == 0.7


@pytest.mark.parametrize("start, least, most", [(START, 0.8, 1.0), (2, -1.0, 0.5)])
def test_of_a_long_fake_some_pixels_are_compared(fake, monkeypatch, start, least, most):
    for module in ("confirm", "in_time"):
        monkeypatch.setattr(f"utils.{module}.MOST_FRAMES", COUNT - 1)
    monkeypatch.setattr("utils.in_time.SCORED", COUNT // 3)
    h = confirm(place(fake, 0, start), fake, read_source).hypothesis
    assert abs(h.start - start) <= 4 and least < h.pixel_score <= most


@pytest.mark.parametrize("copy", ["fake", "coarse_fake"])
def test_a_copy_is_found_by_its_pictures_where_faint_motion_sees_it_elsewhere(copy, request):
    copy = request.getfixturevalue(copy)
    h = confirm(place(copy, 0, 0), copy, read_source).hypothesis
    assert (h.start, h.end, h.rate) == (START, START + COUNT - 1, 1.0) and h.pose_score > 0.5


def test_a_stranger_is_not(fake):
    before = place(fake, 1, 10)
    found = confirm(before, fake, read_source)
    assert found.hypothesis.picture_score < 0.25 and found.hypothesis.pose_score is None
    assert found.hypothesis.pixel_score is None
    assert found.alignment is before.alignment and not found.hypothesis.registered


def test_another_moment_of_the_same_film_has_its_scene_but_not_its_poses(fake):
    h = confirm(place(fake, 0, 2, motion_score=FINE), fake, read_source).hypothesis
    assert h.picture_score > 0.4 and h.pose_score < 0.6 and abs(h.start - 2) <= 2 * SWING
    assert h.pixel_score < 0.5


def test_the_best_places_are_looked_at_and_put_in_order(fake):
    strangers = [place(fake, 1, start, motion_score=0.6) for start in (0, 20)]
    found = confirmed([*strangers, place(fake, 0, START)], fake, read_source)
    assert (found[0].hypothesis.source, found[0].hypothesis.start) == ("0.mp4", START)
    assert all(f.hypothesis.picture_score is not None for f in found)


def test_without_its_video_a_place_stays_as_it_is(fake):
    def unreadable(source, wanted):
        raise VideoError("gone")

    before = place(fake, 0, START + 1)
    after, = confirmed([before], fake, unreadable)
    assert after.hypothesis == before.hypothesis and after.mapping is None


def test_frames_that_cannot_be_decoded_end_what_is_compared(fake):
    def torn(source, wanted):
        yield from (frame for frame in read_source(source, wanted) if frame.index != START + 12)

    h = confirm(place(fake, 0, START), fake, torn).hypothesis
    assert h.start == START and h.picture_score > 0.6


def test_frames_of_another_size_end_what_is_compared(fake):
    def grown(source, wanted):
        for frame in read_source(source, wanted):
            larger = cv2.resize(frame.image, None, fx=2, fy=2)
            yield replace(frame, image=larger) if frame.index > START + 12 else frame

    source = source_of(0)
    small, film, first = film_around(
        source, np.arange(START, START + COUNT),
        partial(FilmCutter, fake.motion.pixels, np.eye(2, 3), source.square), grown)
    assert first + len(small) == START + 13 and len(film.crops) == len(small)


def hypothesis() -> Hypothesis:
    return Hypothesis("0.mp4", 0, 9, 1.0, 0, 0.9, 0.9, 0.5, 20, 5, True, 0.9)


def test_a_clear_place_needs_no_other(fake):
    first, second = place(fake, 0, START), place(fake, 1, 10)
    sure = replace(first, hypothesis=hypothesis())
    near, far = (replace(second, hypothesis=replace(second.hypothesis, motion_score=score))
                 for score in (0.8, 0.7))
    assert is_certain(sure, [far]) and not is_certain(sure, [far, near])
    for weak in ({"picture_score": 0.3}, {"pose_score": None}, {"picture_score": None}):
        assert not is_certain(replace(sure, hypothesis=replace(hypothesis(), **weak)), [far])


def test_places_of_two_sources_and_verified_ones_are_looked_at(fake):
    one, other = place(fake, 1, 0), place(fake, 0, START)

    def named(source: str, verified: bool = False, inliers: int = 12) -> Found:
        return replace(other, hypothesis=replace(other.hypothesis, source=source), view=replace(
            other.view, candidate=other.view.candidate | {"verified": verified,
                                                          "inliers": inliers}))

    assert worth_a_look([]) == [] and worth_a_look([one] * 2) == [0, 1]
    assert worth_a_look([one] * 5) == [0, 1, 2, 3]
    alike = replace(other, hypothesis=replace(other.hypothesis, source="2.mp4", scene_score=0.9))
    assert worth_a_look([one, other, one, one, one, alike]) == [0, 1, 2, 3, 5]  # none is verified
    assert worth_a_look([one, named("3.mp4", True), one, one, one, alike]) == [0, 1, 2, 3]
    assert worth_a_look([one, other, other, other, other]) == [0, 1, 2, 3]
    assert worth_a_look([one] * 5 + [other] * 2) == [0, 1, 2, 5]
    assert worth_a_look([one] * 5 + [other, named("2.mp4", True), named("3.mp4")]) == [0, 1, 2, 5, 6]
    verified = [named(f"{2 + i}.mp4", True, inliers) for i, inliers in enumerate((20, 15, 40, 30))]
    assert worth_a_look([one] * 4 + verified) == [0, 1, 2, 4, 6, 7]  # those with most inliers


def at(fake: Fake, start: int, **changed: object) -> Found:
    """A place of film 0 with other evidence, at a source frame so far off that it is none of it."""
    one = place(fake, 0, 0)
    return replace(one, alignment=replace(one.alignment, at=one.alignment.at + start),
                   hypothesis=replace(one.hypothesis, start=start, **changed))


def test_further_places_of_a_source_whose_pictures_agree_are_looked_at(fake):
    seen = at(fake, 0, motion_score=0.7, picture_score=0.6)
    stranger = place(fake, 1, 0, motion_score=0.69)
    near, second, third, far = (at(fake, start, motion_score=score) for start, score in (
        (2, 0.68), (100, 0.67), (200, 0.6), (300, 0.4)))
    found = [seen, stranger, near, second, third, far]
    assert others_alike(found, {0: seen}) == [3, 4]  # not what is about the same place
    unlike = replace(seen, hypothesis=replace(seen.hypothesis, picture_score=0.3))
    assert others_alike(found, {0: unlike}) == [] and others_alike(found, {}) == []
    mirrored = replace(second, view=replace(second.view, flip=1 - second.view.flip))
    assert others_alike([seen, mirrored, third], {0: seen}) == [2]
    assert others_alike(found, {0: seen, 3: second}) == [4]


def test_further_places_of_verified_sources_are_looked_at_where_no_pictures_agree(fake):
    def verified(start: int, score: float) -> Found:
        one = at(fake, start, motion_score=score)
        return replace(one, view=replace(one.view, candidate=one.view.candidate
                                         | {"verified": True}))

    unlike = at(fake, 0, motion_score=0.7, picture_score=0.3)
    found = [unlike, place(fake, 1, 0, motion_score=0.69), *(
        verified(start, score) for start, score in
        ((2, 0.6), (100, 0.5), (200, 0.2), (300, 0.1), (400, 0.1)))]
    assert others_alike(found, {0: unlike}) == [3, 4, 5]
    assert others_alike(found, {0: unlike, 3: found[3]}) == [4, 5, 6]
    assert others_alike(found, {}) == []  # no video can be read
    agrees = at(fake, 0, motion_score=0.7, picture_score=0.6)
    assert others_alike(found, {0: agrees}) == [3]  # motion is far behind in the others


@pytest.mark.parametrize("backwards", [False, True])
def test_a_place_that_motion_does_not_see_is_found_by_whole_pictures(backwards):
    frames, masks = (np.stack([cv2.resize(image, (WIDTH // 2, HEIGHT // 2),
                                          interpolation=cv2.INTER_AREA)
                               for image in part[STRETCH[::-1] if backwards else STRETCH]])
                     for part in FILMS[0])
    half = fake_of(frames, masks, square=tuple(side / 2 for side in SQUARE))

    def lost(verified: bool = True, **changed: object) -> Found:
        one = place(half, 0, 0, flip=0, motion_score=0.4)
        view = replace(one.view, candidate=one.view.candidate | {"verified": verified})
        if backwards:
            view = replace(view, grid=view.grid.reversed(), backwards=True)
        return replace(one, view=view, hypothesis=replace(one.hypothesis, **changed))

    one = lost()
    found, = unseen_by_motion([one], {0: one}, half)
    assert abs(found.alignment.start - START) <= 1 and found.hypothesis.motion_score > 0.8
    assert not unseen_by_motion([lost(verified=False)], {}, half)
    fits = lost(picture_score=0.7, motion_score=0.9)
    assert not unseen_by_motion([fits], {0: fits}, half)
    assert unseen_by_motion([fits], {}, half)  # its pictures were not looked at
    assert not unseen_by_motion([one, found], {1: found}, half)
    wider = replace(half, record=replace(half.record, width=WIDTH))
    assert not unseen_by_motion([one], {0: one}, wider)


def test_of_what_is_about_one_place_that_is_kept_whose_pictures_agree(fake):
    agrees, moves, other = (
        at(fake, start, motion_score=motion, picture_score=picture)
        for start, motion, picture in ((0, 0.2, 0.7), (3, 0.5, 0.1), (99, 0.4, None)))
    assert in_order([moves, agrees, other]) == [other, agrees]
    assert in_order([agrees, replace(agrees, hypothesis=replace(agrees.hypothesis, start=1,
                                                                motion_score=0.3))])[0] != agrees


def test_a_place_that_pictures_lead_away_from_stays_a_rival(fake):
    strangers = [place(fake, 1, start, motion_score=0.85) for start in (0, 12, 24)]
    rival = place(fake, 0, 2, motion_score=0.75)
    assert confirm(rival, fake, read_source).hypothesis.start == START
    found = confirmed([place(fake, 0, START), *strangers, rival], fake, read_source)
    assert [(one.hypothesis.start, one.hypothesis.picture_score is None) for one in found
            if one.hypothesis.source == "0.mp4"] == [(START, False), (2, True)]


def test_title_cards_at_the_ends_are_not_compared_and_named(fake):
    seen = {str(frame): [1, 2, 30, 40] if 20 <= frame < 50 else None for frame in range(60)}
    assert frames_with_person(list(range(60)), seen) == list(range(20, 50))
    assert frames_with_person(list(range(15, 55)), seen) == list(range(15, 55))  # a few are kept
    assert frames_with_person([1, 2, 3], seen) == [1, 2, 3]  # nobody at all
    cut = replace(fake, frames=fake.record.frames[8:-2])
    last = fake.record.frames[-1]
    assert [text.split(" hold")[0] for text in cut.said()] == [
        "its frames 0-7", f"its frames {last - 1}-{last}"]
    assert not fake.said()
