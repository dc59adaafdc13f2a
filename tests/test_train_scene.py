"""Views of scenes and their scores; the scene embedder learns, resumes and ships with its card."""

import json

import cv2
import numpy as np
import pytest
import torch

from models.fetch import ModelFileError, sha256_of
from models.scene import SHIPPED, SceneEmbedder
from models.training import train_scene
from models.training.faketd_names import ParsedName, parse_name
from models.training.scene_bank import drawn_person, load_banks
from models.training.scene_pairs import Picture, edited_view, place_hole, source_view
from models.training.scene_scores import (colour_thumbnail, compare, perceptual_hash,
                                          recall_figures, true_ranks)
from models.training.scene_scratch import load_scratch
from models.training.scene_trainer import PairSampler
from models.training.scene_views import Views
from utils.files import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"edits": 1, "dimensions": 8, "head_steps": 2, "head_batch": 4, "steps": 1, "batch": 2,
         "write": "tuned"}


def picture(seed: int, side: int = 72) -> np.ndarray:
    """Smooth random [side, side, 3] uint8."""
    image = np.random.default_rng(seed).uniform(0, 255, (side, side, 3)).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 5)
    return ((image - image.min()) * (255 / np.ptp(image))).astype(np.uint8)


def scene(seed: int = 0, person: int = 0) -> Picture:
    mask = np.zeros((72, 72), np.uint8)
    mask[40:, 20:50] = person
    return Picture(picture(seed), mask, "video" if person else "photo", f"p{seed}")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        cv2.imwrite(str(folder / f"photo_{number}.png"), picture(number))
    return folder


@pytest.mark.parametrize("name, expected", [
    ("scene_0000_video_0006.mp4", ParsedName("scene_0000", "scene_0000_video_0006", False)),
    ("scene_0000_fake_0008.mp4", ParsedName("scene_0000", None, True)),
    ("a/scene_0012_fake_0008.mp4", ParsedName("a/scene_0012", None, True)),
    ("source_02.mp4", ParsedName("source_02", "source_02", False)),
    ("source_02_fake_04.mp4", ParsedName("source_02", "source_02", True)),
    ("b/source_02_fake_04.avi", ParsedName("b/source_02", "b/source_02", True)),
    ("my scene_1_video_2.mp4", ParsedName("my scene_1_video_2", "my scene_1_video_2", False)),
    ("interview.mp4", ParsedName("interview", "interview", False)),
    ("v1.2.mp4", ParsedName("v1.2", "v1.2", False))])
def test_names_of_faketd(name, expected):
    assert parse_name(name) == expected


def test_videos_of_one_scene_are_positives_of_each_other():
    names = ["scene_0001_video_0000.mp4", "scene_0001_fake_0003.mp4", "scene_0002_video_0000.mp4"]
    origins = [parse_name(name).scene for name in names]
    views = Views({}, [f"video {origin}" for origin in origins * 2], origins * 2, np.zeros(6, bool))
    for step in range(20):
        pairs = PairSampler(views, 2, seed=0)[step]
        assert pairs.shape == (2, 2)
        first, second = ([views.origins[number] for number in row] for row in pairs)
        assert first == second and len(set(first)) == 2 and (pairs[0] != pairs[1]).all()


def test_views_follow_from_their_generator_and_have_a_hole():
    masks = [drawn_person()]
    for make in (source_view, edited_view):
        for seed in range(12):
            view = make(np.random.default_rng(seed), scene(), masks)
            again = make(np.random.default_rng(seed), scene(), masks)
            assert view.dtype == np.uint8 and view.shape[2] == 4 and np.array_equal(view, again)
            removed = view[..., 3] == 0
            assert 0.02 < removed.mean() < 0.98 and not view[removed].any()


def test_a_frame_keeps_the_hole_of_its_person():
    view = source_view(np.random.default_rng(0), scene(person=255), [drawn_person()])
    assert np.array_equal(view[..., 3] == 0, scene(person=255).person > 0)


def test_a_hole_stands_on_the_lower_edge_and_leaves_background():
    for seed in range(20):
        hole = place_hole(np.random.default_rng(seed), drawn_person(), 90, 120)
        assert hole.shape == (90, 120) and hole[-1].any() and not hole.all(0).all()


def test_held_out_photographs_are_never_trained_on(photos):
    training, test = load_banks(photos, None, ["photo_1", "photo_2"])
    assert {p.origin for p in training.pictures} == {"photo_0", "photo_3"}
    assert {p.origin for p in test.pictures} == {"photo_1", "photo_2"}
    assert {p.kind for p in test.pictures} == {"photo", "backdrop"}
    with pytest.raises(InputError, match="fewer than two scenes to test on"):
        load_banks(photos, None, ["photo_1"])
    with pytest.raises(InputError, match="nowhere"):
        load_banks(photos / "nowhere", None)


def test_ranks_and_recall_by_hand():
    similarity = np.array([[0.9, 0.1, 0.5, 0.3],  # entries of a, b, b, c
                           [0.9, 0.1, 0.5, 0.3],
                           [0.9, 0.1, 0.5, 0.3],
                           [0.4, 0.4, 0.4, 0.4]])  # equals come before the true one
    ranks = true_ranks(similarity, ["a", "b", "c", "a"], ["a", "b", "b", "c"])
    assert ranks.tolist() == [0, 1, 2, 2]
    figures = recall_figures(ranks, ["a", "b", "c", "a"])
    assert figures["recall@1"] == 25.0 and figures["recall@5"] == 100.0
    assert (figures["queries"], figures["scenes"]) == (4, 3)
    low, high = figures["recall@1 95 %"]
    assert low == 0.0 and high == 50.0  # a alone: 1 of 2


def test_comparison_by_hand():
    scenes = ["photo a", "photo b", "backdrop a", "photo a", "photo b"]
    edited = np.array([False, False, False, True, True])
    axes = np.eye(3, dtype=np.float32)
    plain = axes[[0, 1, 1, 0, 0]]  # the query of b is where a is
    mirrored = np.stack([plain, axes[[2, 2, 2, 2, 1]]], 1)  # but its mirror image is where b is
    figures = compare({"plain": plain, "mirrored": mirrored}, scenes, edited)
    assert figures["photo"]["database"] == "2 views of 2 scenes" and "backdrop" not in figures
    assert figures["photo"]["plain"]["recall@1"] == 50.0
    assert figures["photo"]["mirrored"]["recall@1"] == 50.0  # a tie is no hit
    assert figures["photo"]["mirrored"]["recall@5"] == 100.0


def test_rivals_are_unit_vectors_that_know_a_brighter_copy():
    one, two, other = (np.dstack([image, np.full((72, 72), 255, np.uint8)]) for image in (
        picture(0), cv2.convertScaleAbs(picture(0), alpha=0.9, beta=10), picture(1)))
    for embed in (colour_thumbnail, perceptual_hash):
        vectors = [embed(image) for image in (one, two, other)]
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert vectors[0] @ vectors[1] > 0.5 + vectors[0] @ vectors[2]


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    train_scene.main(photos, None, out, hold_out=["photo_1", "photo_2"], **SMALL)
    return out


def test_main_trains_writes_and_resumes(trained, photos):
    weights, card = trained / "scene_embedder.pt", trained / "scene_embedder.json"
    state = torch.load(weights, weights_only=True)
    assert all(v.dtype == torch.float16 for v in state.values() if v.is_floating_point())
    written = json.loads(card.read_text())
    assert written["sha256"] == sha256_of(weights) and str(photos) not in card.read_text()
    assert {"head", "tuned (this file)", "EfficientNet-Lite0 as it is"} <= set(
        written["metrics"]["backdrop"])
    again = {"hold_out": ["photo_1", "photo_2"], **SMALL, "steps": 2}
    with pytest.raises(InputError, match="--write tuned"):
        train_scene.main(photos, None, trained, **again | {"steps": 0})
    with pytest.raises(InputError, match="--resume"):
        train_scene.main(photos, None, trained, **again)
    train_scene.main(photos, None, trained, resume=True, **again)
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("stage") == "tuned"] == [1, 2]


def test_written_weights_embed_backgrounds(trained):
    embedder = SceneEmbedder(trained / "scene_embedder.pt")
    assert embedder.dimensions == 8
    background = np.dstack([picture(5), np.full((72, 72), 255, np.uint8)])
    vectors = embedder.embed([background, np.zeros_like(background)])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0], abs=1e-5)


def test_damaged_weights_are_refused_in_one_line(trained, tmp_path):
    for name in ("scene_embedder.pt", "scene_embedder.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    damaged = bytearray((tmp_path / "scene_embedder.pt").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "scene_embedder.pt").write_bytes(damaged)
    with pytest.raises(ModelFileError, match="scene_embedder.pt: damaged.*SHA-256") as error:
        SceneEmbedder(tmp_path / "scene_embedder.pt")
    assert "\n" not in str(error.value)


def test_main_trains_from_scratch_writes_and_resumes(photos, tmp_path):
    settings = {"network": "scratch", "hold_out": ["photo_1", "photo_2"], **SMALL}
    with pytest.raises(InputError, match="--network scratch"):
        train_scene.main(photos, None, tmp_path, **settings | {"steps": 0})
    weights = train_scene.main(photos, None, tmp_path, **settings)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of(weights)
    assert card["recipe"]["stages"]["scratch"]["steps"] == 1
    assert "scratch (this file)" in card["metrics"]["backdrop"]
    assert "EfficientNet-Lite0 as it is" not in card["metrics"]["backdrop"]
    average = torch.load(tmp_path / "scratch.pt", weights_only=True)["average"]
    for name, value in load_scratch(weights).state_dict().items():
        assert torch.allclose(value, average[name], rtol=1e-3, atol=1e-6)
    with pytest.raises(InputError, match="--resume"):
        train_scene.main(photos, None, tmp_path, **settings)
    train_scene.main(photos, None, tmp_path, resume=True, **settings | {"steps": 2})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("stage") == "scratch"] == [1, 2]


def test_shipped_weights_agree_with_their_card():
    card = json.loads(SHIPPED.with_suffix(".json").read_text("utf-8"))
    assert card["sha256"] == sha256_of(SHIPPED) and SHIPPED.stat().st_size < 10e6
    dimensions = card["recipe"]["stages"]["head"]["dimensions"]
    assert SceneEmbedder().dimensions == dimensions
    for methods in (card["metrics"]["photo"], card["metrics"]["backdrop"]):
        shipped = next(figures for name, figures in methods.items() if "(this file)" in name)
        rivals = [figures["recall@1"] for name, figures in methods.items()
                  if name not in ("database", "head", "tuned") and "this file" not in name]
        assert shipped["recall@1"] > max(rivals)
