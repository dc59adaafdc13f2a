"""A picture that moves as a whole is followed, steadied, and traced."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import step1_source_video2some_frames as step1
import step2_get_source_frames_back as step2
import step3_get_fake_frames_back as step3
import step4_scene_trace as step4
import step5_flow_trace as step5
from benchmarks.distortions import film_from_a_hand, zoom_slowly
from clips import person_frames, place, write_clip
from utils.camera_path import camera_path
from utils.fake_motion import FakeRoots
from utils.files import write_image
from utils.layout import frame_name
from utils.steadied import SteadiedRoots, Steadying, steadied, steadied_candidates
from utils.tables import read_result, read_table

WIDTH, HEIGHT, COUNT = 320, 240, 30
SEEN = np.float64([(60, 50), (260, 50), (60, 190), (260, 190)])


def zooms(index: int) -> np.ndarray:
    """Similarity [2, 3] from the frame that stands still to one of a zoom that turns a little."""
    at = index / (COUNT - 1) - 0.5
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 4 * at, 1.1 + 0.3 * at)
    matrix[:, 2] += (12 * at, -7 * at)
    return matrix


def shakes(index: int) -> np.ndarray:
    x, y = np.random.default_rng(index).normal(0, 2, 2)
    return np.float64([[1, 0, x], [0, 1, y]])


def person_at(index: int) -> np.ndarray:
    """[H, W] uint8 mask of a person who sways."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    return cv2.circle(mask, (160 + round(20 * np.sin(index / 3)), 150), 60, 255, -1)


def scene(index: int) -> np.ndarray:
    """[H, W, 3] uint8: the person, whose clothes have more corners than the place."""
    clothes = np.random.default_rng(1).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    clothes = cv2.resize(clothes, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    shown = np.roll(clothes, 3 * index, axis=1)
    return np.where(person_at(index)[..., None] > 0, shown, place("coffee", (WIDTH, HEIGHT)))


def filmed(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT))


def error_of(path: dict[int, np.ndarray], moves) -> float:
    """Largest distance in pixels by which a path misses what it should be."""
    middle = np.vstack([moves(COUNT // 2), [0, 0, 1]])
    truth = {i: middle @ np.linalg.inv(np.vstack([moves(i), [0, 0, 1]])) for i in path}
    return max(float(np.abs(cv2.transform(SEEN[None], path[i])
                            - cv2.transform(SEEN[None], truth[i][:2])).max()) for i in path)


@pytest.mark.parametrize("moves", [zooms, shakes])
@pytest.mark.parametrize("larger", [1, 3])  # than what is followed
def test_a_path_is_found_whatever_the_person_does(moves, larger):
    def picture(index: int) -> np.ndarray:
        seen = filmed(scene(index), moves(index))
        return cv2.resize(seen, None, fx=larger, fy=larger)

    def mask(index: int) -> np.ndarray:
        seen = filmed(person_at(index), moves(index))
        return cv2.resize(seen, None, fx=larger, fy=larger, interpolation=cv2.INTER_NEAREST)

    path = camera_path(picture, mask, range(COUNT))
    zoom = np.array([[larger, 0, (larger - 1) / 2], [0, larger, (larger - 1) / 2], [0, 0, 1]])
    small = {i: (np.linalg.inv(zoom) @ np.vstack([matrix, [0, 0, 1]]) @ zoom)[:2]
             for i, matrix in path.items()}
    assert sorted(path) == list(range(COUNT)) and error_of(small, moves) < 0.5
    assert np.allclose(path[COUNT // 2], np.eye(2, 3))
    above = slice(60, 80), slice(60, -60)  # the person, who sways
    first = steadied(picture(0), path[0])[above]
    assert np.abs(first.astype(int) - picture(COUNT // 2)[above]).mean() < 12


def test_a_camera_that_stands_still_has_no_path():
    assert camera_path(scene, person_at, range(COUNT)) is None
    noise = np.random.default_rng(0).normal(0, 6, (COUNT, HEIGHT, WIDTH, 3))
    assert camera_path(lambda i: (scene(i) + noise[i]).clip(0, 255).astype(np.uint8), person_at,
                       range(COUNT)) is None


@pytest.mark.parametrize("background", ["plain", "jumps", "none"])
def test_what_tells_no_path(background):
    """A plain wall; another place in the middle; a person all over the picture."""
    def picture(index: int) -> np.ndarray:
        behind = {"plain": np.full((HEIGHT, WIDTH, 3), 90, np.uint8),
                  "jumps": place("coffee" if index < 9 else "rocket", (WIDTH, HEIGHT)),
                  "none": place("coffee", (WIDTH, HEIGHT))}[background]
        person = person_at(index)[..., None] > 0
        return filmed(np.where(person, scene(index), behind), shakes(index))

    def mask(index: int) -> np.ndarray:
        everywhere = np.full((HEIGHT, WIDTH), 255, np.uint8)
        return everywhere if background == "none" else filmed(person_at(index), shakes(index))

    assert camera_path(picture, mask, range(COUNT)) is None


def test_step_3s_files_are_steadied(tmp_path):
    roots = FakeRoots(tmp_path / "frames", tmp_path / "masks", tmp_path / "rect")
    matrix = np.float64([[1, 0, 8], [0, 1, -5]])
    (roots.frames / "a").mkdir(parents=True)
    (roots.masks / "a").mkdir(parents=True)
    write_image(roots.frames / "a" / frame_name(3), scene(3))
    write_image(roots.masks / "a" / frame_name(3), person_at(3))
    steady = SteadiedRoots.of(roots, "a", {3: matrix})
    assert (steady.picture("a", 3)[:-5, 8:] == scene(3)[5:, :-8]).all()
    x, y, width, height = steady.boxes("a")["3"]
    mask = person_at(3)
    assert (steady.mask("a", 3)[:-5, 8:] == mask[5:, :-8]).all()
    assert (x - 8, y + 5, width, height) == cv2.boundingRect(mask)


@pytest.mark.parametrize("flip", [0, 1])
def test_a_mapping_starts_from_the_steadied_picture(flip):
    """What a point of the fake is mapped to stays the same."""
    mapping, matrix = np.float64([[2, 0.1, 30], [-0.1, 2, -9]]), zooms(4)
    candidates = [{"source": "a.mp4", "flip": flip, "mapping": mapping.tolist(), "fake_frame": 4},
                  {"source": "b.mp4", "flip": 0, "mapping": None}]
    first, second = steadied_candidates(candidates, Steadying({4: matrix}), WIDTH)

    def mirrored(points: np.ndarray) -> np.ndarray:
        return points * (-1, 1) + (WIDTH - 1, 0) if flip else points

    expected = cv2.transform(mirrored(SEEN)[None], mapping)
    moved = cv2.transform(SEEN[None], matrix)[0]
    found = cv2.transform(mirrored(moved)[None], np.array(first["mapping"]))
    assert np.allclose(found, expected) and first["source"] == "a.mp4"
    assert second == candidates[1] and candidates[0]["mapping"] == mapping.tolist()
    for source, expected in (("a.mp4", None), ("b.mp4", first["mapping"])):  # seen along the way
        seen = {"source": source, "flip": flip, "mapping": mapping.tolist(), "fake_frame": 4}
        again, second = steadied_candidates(candidates, Steadying({4: matrix}, seen), WIDTH)
        assert again == first and second["mapping"] == expected


@pytest.mark.parametrize("edit, seed", [(zoom_slowly, 5), (film_from_a_hand, 0)])
def test_a_fake_is_traced_steadied(edit, seed, tmp_path, monkeypatch):
    """One that is traced less clearly as it is."""
    monkeypatch.chdir(tmp_path)
    frames = {"one": list(person_frames(1, 60, "brick")),
              "two": list(person_frames(2, 60, "rocket"))}
    for name, images in frames.items():
        write_clip(tmp_path / f"source_data/{name}.mp4", images, crf="18")
    fake = edit(frames["one"][17:52], np.random.default_rng(seed))
    write_clip(tmp_path / "fake_data/fake.mp4", fake, crf="22")
    for run in (step1.main, step2.main, step3.main, step4.main, step5.main):
        run()
    row, = read_table(Path("step5_flow_trace/traces.csv"))
    assert (row["verdict"], row["source"], row["start_frame"], row["end_frame"]) == (
        "traced", "one.mp4", "17", "51")
    assert row["reason"].endswith(step5.STEADIED)
    assert len(read_result(Path("step5_flow_trace"), "fake")["steadied"]) == 35
    page = Path("step5_flow_trace/reports/fake.html").read_text()
    assert "was steadied to be compared" in page
    monkeypatch.setattr(step5, "camera_path", lambda *_: None)  # by the source's pictures, then
    step5.main(overwrite=True, report=False)
    again, = read_table(Path("step5_flow_trace/traces.csv"))
    assert (again["verdict"], again["start_frame"], again["end_frame"]) == ("traced", "17", "51")
    monkeypatch.setattr(step5, "relative_path", lambda *_: None)
    step5.main(overwrite=True, report=False)
    rows = read_table(Path("step5_flow_trace/traces.csv"))  # worse, part by part or not at all
    assert min(float(row["confidence"]) for row in rows) < float(again["confidence"])
    assert read_result(Path("step5_flow_trace"), "fake")["steadied"] is None
