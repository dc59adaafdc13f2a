"""A fake whose picture moves against its source's, whose own camera moves as well."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage import data

from utils.matching import Alignment
from utils.relative_path import (DEGREE, MOST_SEARCHED, REACH, Line, around, relative_path,
                                 smooth)
from utils.video import Frame, VideoError

FRAMES, COUNT, START, WIDTH, HEIGHT = 90, 30, 41, 240, 180
SCENE = cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR)
HEAD = cv2.resize(cv2.cvtColor(data.astronaut()[:200, 150:320], cv2.COLOR_RGB2BGR), (70, 84))


def filmed(frame: int) -> np.ndarray:
    """A head that goes to and fro, before a scene over which the camera pans."""
    left, top = 40 + 1.3 * frame, 60 + 15 * np.sin(frame / 11)
    picture = cv2.warpAffine(SCENE, np.array([[1, 0, -left], [0, 1, -top]]), (WIDTH, HEIGHT))
    x, y = round(80 + 30 * np.sin(frame / 7)), round(50 + 12 * np.cos(frame / 5))
    picture[y:y + HEAD.shape[0], x:x + HEAD.shape[1]] = HEAD
    return picture


def zoom(position: int) -> np.ndarray:
    """[2, 3], pixels of the source to those of a fake that was enlarged more and more."""
    size = 1.05 + 0.2 * position / COUNT
    return np.array([[size, 0, -8 - 0.6 * position], [0, size, -6 - 0.4 * position]])


def in_a_mirror(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1])


def read_source(_, wanted):
    return (Frame(frame, frame / 25, filmed(frame)) for frame in sorted(wanted) if frame < FRAMES)


def place(start: int, flip: int = 0, verified: bool = True, scene: float = 0.0) -> SimpleNamespace:
    """Where motion found the fake, as far as relative_path() asks."""
    record = SimpleNamespace(file="a.mp4", width=WIDTH, height=HEIGHT)
    source = SimpleNamespace(record=record, first=0, fps=25.0, all_times_s=np.arange(FRAMES) / 25)
    candidate = {"source": "a.mp4", "verified": verified, "flip": flip, "mapping": None}
    return SimpleNamespace(
        hypothesis=SimpleNamespace(source="a.mp4", picture_score=None, pictures_agree=False,
                                   scene_score=scene),
        view=SimpleNamespace(candidate=candidate, flip=flip, source=source, backwards=False),
        alignment=Alignment(0.5, start + np.arange(COUNT), 1.0), mapping=None)


def path_of(fake, places, read=read_source):
    return relative_path(fake, range(COUNT), 25.0, [(0, one) for one in places], read)


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("start", [3, 33, 60])
def test_the_zoom_is_found_although_the_camera_pans(start, flip):
    def fake(frame: int) -> np.ndarray:
        picture = cv2.warpAffine(filmed(START + frame), zoom(frame), (WIDTH, HEIGHT))
        return in_a_mirror(picture) if flip else picture

    found = path_of(fake, [place(start, flip)])
    path, seen = found.path, found.seen
    mirror = np.array([[-1.0, 0, WIDTH - 1], [0, 1, 0], [0, 0, 1]]) if flip else np.eye(3)
    whole = [mirror @ np.vstack([zoom(frame), [0, 0, 1]]) @ mirror for frame in range(COUNT)]
    corners = np.float64([[(0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT)]])
    for frame in range(COUNT):
        true = (whole[COUNT // 2] @ np.linalg.inv(whole[frame]))[:2]
        off = cv2.transform(corners, path[frame]) - cv2.transform(corners, true)
        assert abs(off).max() < 1.5, (frame, off)
    assert (seen["source"], seen["flip"]) == ("a.mp4", flip)
    back = cv2.invertAffineTransform(zoom(seen["fake_frame"]))
    assert abs(cv2.transform(corners, np.array(seen["mapping"]))
               - cv2.transform(corners, back)).max() < 1.5


def test_a_picture_that_stands_still_against_its_source_has_no_path():
    crop = np.array([[1.2, 0, -20], [0, 1.2, -15]])

    def fake(frame: int) -> np.ndarray:
        return cv2.warpAffine(filmed(START + frame), crop, (WIDTH, HEIGHT))

    for start in (START, START + 12):  # at the right frames, and where the line has to be moved
        assert path_of(fake, [place(start)]) is None


def test_strangers_and_unlikely_sources_have_no_path():
    rocket = cv2.resize(cv2.cvtColor(data.rocket(), cv2.COLOR_RGB2BGR), (WIDTH, HEIGHT))

    def stranger(frame: int) -> np.ndarray:
        return cv2.warpAffine(rocket, zoom(frame), (WIDTH, HEIGHT))

    def fake(frame: int) -> np.ndarray:
        return cv2.warpAffine(filmed(START + frame), zoom(frame), (WIDTH, HEIGHT))

    assert path_of(stranger, [place(START)]) is None
    assert path_of(fake, []) is None
    assert path_of(fake, [place(START, verified=False, scene=0.2)]) is None
    assert path_of(fake, [place(START, verified=False, scene=0.5)]) is not None
    assert path_of(stranger, [place(START, verified=False, scene=0.5)]) is None


def test_a_source_that_cannot_be_read_has_no_path():
    def gone(*_):
        raise VideoError("a.mp4: gone")

    assert path_of(lambda frame: filmed(frame), [place(START)], gone) is None


@pytest.mark.parametrize("shake", [0.0, 3.0])
def test_a_path_is_smooth_unless_it_shakes(shake):
    rng = np.random.default_rng(0)
    true = np.stack([zoom(frame) for frame in range(COUNT)])
    true[:, :, 2] += rng.normal(0, shake, (COUNT, 2)) if shake else 0
    seen = {frame: true[frame] + np.array([[0, 0, noise], [0, 0, -noise]])
            for frame, noise in enumerate(rng.normal(0, 0.1, COUNT)) if frame % 7}
    found = smooth(seen, COUNT, (HEIGHT, WIDTH))
    assert found.shape == (COUNT, 2, 3)
    off = abs(found - true)[[frame for frame in seen]].mean()
    assert off < (0.05 if not shake else 0.1)
    assert np.allclose(found[:, 0, 0], found[:, 1, 1])
    bends = abs(np.diff(found[:, 0, 2], DEGREE + 1)).max()
    assert (bends < 1e-6) != bool(shake)


@pytest.mark.parametrize("count", [MOST_SEARCHED, MOST_SEARCHED + 1])
def test_all_of_a_source_is_searched_unless_it_is_long(count):
    rocket = cv2.resize(cv2.cvtColor(data.rocket(), cv2.COLOR_RGB2BGR), (WIDTH, HEIGHT))
    last, asked = count - FRAMES, []

    def fake(frame: int) -> np.ndarray:
        return cv2.warpAffine(filmed(START + frame), zoom(frame), (WIDTH, HEIGHT))

    def read(_, wanted):  # what the fake shows comes last, after another scene
        asked.append(wanted)
        return (Frame(frame, frame / 25, filmed(frame - last) if frame >= last else rocket)
                for frame in sorted(wanted) if frame < count)

    one = place(START)
    one.view.source.all_times_s = np.arange(count) / 25
    found = path_of(fake, [one], read)
    assert (found is not None) == (count == MOST_SEARCHED)
    assert max(map(len, asked)) < 0.4 * count


def test_frames_around_a_line_are_those_that_it_may_be_moved_to():
    assert around(Line(100.0, 1.0), 10) == range(100 - REACH, 109 + REACH + 1)
    assert around(Line(100.0, -0.5), 21) == range(90 - REACH, 100 + REACH + 1)
