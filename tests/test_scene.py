"""Scene embeddings: unit vectors of the background alone; the index keeps them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from models.backgrounds import EMBEDDERS, angular_distance, background_share
from models.fetch import ModelFileError
from models.scene import (BATCH, IMAGENET, LiteNet, SceneEmbedder, fill_hole, imagenet_weights,
                          masked_mean, masked_statistics)
from models.torchvision_compat import torchvision
from utils.layout import VideoRecord
from utils.registration import find_keypoints
from utils.scene_index import (SceneEntry, entry_path, indexed_ids, is_indexed,
                               read_embeddings)

SETTINGS = {"embedder": "test"}
RECORD = VideoRecord("sub/é.mp4", 9, "0" * 64, 25.0, 60, 96, 64, [5, 20], {"extract_num": 2})


@pytest.fixture(scope="module")
def embedder():
    return SceneEmbedder()


def photo(name: str, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A photograph of skimage.data, [H, W, 4] uint8 BGRA, nothing removed."""
    image = cv2.resize(getattr(data, name)()[..., ::-1], size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)


def holed(image: np.ndarray, x: int, y: int, radius: int) -> np.ndarray:
    image = image.copy()
    cv2.ellipse(image, (x, y), (radius, round(1.4 * radius)), 0, 0, 360, (0, 0, 0, 0), -1)
    return image


def test_embeddings_are_unit_vectors(embedder):
    vectors = embedder.embed([photo("rocket"), photo("coffee", (640, 360)),
                              holed(photo("rocket"), 160, 120, 60)])
    assert vectors.shape == (3, embedder.dimensions) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_no_background_no_direction(embedder):
    nothing = np.zeros((240, 320, 4), np.uint8)
    vectors = embedder.embed([nothing, photo("rocket")])
    assert not vectors[0].any() and np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_batches_do_not_change_embeddings(embedder):
    images = [holed(photo("rocket"), 40 + 10 * index, 120, 30) for index in range(BATCH + 2)]
    together = embedder.embed(images)
    assert np.allclose(together[-1], embedder.embed(images[-1:])[0], atol=1e-4)
    assert np.allclose(together[3], embedder.embed(images[3:4])[0], atol=1e-4)


@pytest.mark.parametrize("name, stranger", [("rocket", "coffee"), ("coffee", "rocket"),
                                            ("chelsea", "astronaut")])
def test_a_hole_matters_less_than_the_scene(embedder, name, stranger):
    whole, one, two, other = embedder.embed([
        photo(name), holed(photo(name), 120, 130, 50), holed(photo(name), 200, 140, 60),
        holed(photo(stranger), 120, 130, 50)])
    assert min(whole @ one, whole @ two, one @ two) > max(whole @ other, one @ other) + 0.1


@pytest.mark.parametrize("name, stranger", [("rocket", "coffee"), ("coffee", "chelsea")])
def test_a_crop_is_nearer_than_another_scene(embedder, name, stranger):
    image = photo(name)
    crop, brighter = image[20:220, 30:290], cv2.convertScaleAbs(image, alpha=1.1, beta=8)
    brighter[..., 3] = 255
    whole, part, bright, other = embedder.embed([image, crop, brighter, photo(stranger)])
    assert min(whole @ part, whole @ bright) > whole @ other + 0.1


def test_a_hole_in_a_plain_wall_is_not_seen(embedder):
    wall = np.full((240, 320, 4), (200, 150, 60, 255), np.uint8)
    whole, one, two = embedder.embed([wall, holed(wall, 160, 120, 60), holed(wall, 60, 90, 30)])
    assert min(whole @ one, whole @ two) > 0.98


def test_angles_by_hand():
    cosines = np.array([1, 0, -1, 0.5, 1 + 1e-6, -1 - 1e-6])
    assert angular_distance(cosines) == pytest.approx(
        [0, np.pi / 2, np.pi, np.pi / 3, 0, np.pi])


def test_background_share():
    image = np.zeros((10, 20, 4), np.uint8)
    image[:5, :, 3] = 255
    assert background_share(image) == 0.5


@pytest.mark.parametrize("make", [
    lambda path: None, lambda path: path.write_bytes(b"no weights"),
    lambda path: torch.save({"layer": torch.zeros(2)}, path)], ids=["missing", "text", "other"])
def test_unusable_weights_are_named(tmp_path, make):
    make(tmp_path / "net.pth")
    for network in EMBEDDERS:
        with pytest.raises(ModelFileError, match="net.pth"):
            SceneEmbedder(tmp_path / "net.pth", network=network)


def test_a_state_dict_with_unknown_weights_is_refused(tmp_path):
    torch.save({"head.weight": torch.zeros(4, LiteNet.head_features), "head.bias": torch.zeros(4),
                "trunk._blocks.40.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(ModelFileError, match=r"_blocks\.40"):
        SceneEmbedder(tmp_path / "net.pth")


def test_imagenet_weights_can_be_asked_for(embedder):
    plain, path = SceneEmbedder(IMAGENET), SceneEmbedder(imagenet_weights())
    assert plain.dimensions == 1280 and plain.identity == path.identity != embedder.identity


def test_resnet50_of_a_file(tmp_path):
    torch.manual_seed(0)
    weights = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(weights, tmp_path / "net.pth")
    network = SceneEmbedder(tmp_path / "net.pth", network="resnet50")
    nothing = np.zeros((240, 320, 4), np.uint8)
    vectors = network.embed([photo("rocket"), holed(photo("rocket"), 160, 120, 60), nothing])
    assert vectors.shape == (3, 2048) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 0], abs=1e-5)
    assert network.identity.startswith("resnet50")
    with pytest.raises(ModelFileError, match="--embedder-model"):
        SceneEmbedder(network="resnet50")
    with pytest.raises(ValueError, match="vgg"):
        SceneEmbedder(network="vgg")


def test_a_mean_over_the_background_by_hand():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 50.0]]]])
    alpha = torch.ones(1, 1, 4, 4)
    alpha[..., 2:, 2:] = 0  # the last cell is all hole
    assert float(masked_mean(maps, alpha)) == pytest.approx(2)
    assert masked_statistics(maps, alpha)[0].tolist() == pytest.approx(
        [2, (2 / 3) ** 0.5], abs=1e-5)
    assert float(masked_mean(maps, torch.zeros(1, 1, 4, 4))) == 0


def test_colours_under_the_hole_do_not_matter():
    image = holed(photo("rocket"), 160, 120, 60)
    filled, alpha = fill_hole(image, 32)
    assert filled.shape == (32, 32, 3) and alpha.shape == (32, 32) and alpha.min() == 0
    background = image[image[..., 3] > 0][:, :3].mean(0)
    assert filled[alpha == 0].mean(0) == pytest.approx(background, abs=2)


def entry(frames: int = 2) -> SceneEntry:
    image = photo("rocket")
    keypoints = [find_keypoints(image[..., :3], image[..., 3] > 0)] * frames
    vectors = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float16)
    return SceneEntry("sub/é", RECORD, vectors, [[1, 2, 3, 4], None], [5, 20][:frames], keypoints)


def test_an_entry_of_the_index_comes_back(tmp_path):
    written = entry()
    written.write(tmp_path, SETTINGS)
    found = SceneEntry.read(tmp_path, "sub/é")
    assert (found.id, found.record, found.rectangles, found.keypoint_frames) == (
        "sub/é", RECORD, [[1, 2, 3, 4], None], [5, 20])
    assert np.array_equal(found.embeddings, written.embeddings)
    for one, two in zip(found.keypoints, written.keypoints, strict=True):
        assert np.array_equal(one.points, two.points) and len(one.points)
        assert np.array_equal(one.descriptors, two.descriptors)
        assert np.array_equal(one.on_background, two.on_background)
    assert indexed_ids(tmp_path) == ["sub/é"]


def test_an_index_of_another_dimension_is_made_anew(tmp_path):
    written = entry()
    written.write(tmp_path, SETTINGS)
    other = {"embedder": "of other dimensions"}
    assert not is_indexed(tmp_path, "sub/é", RECORD, other)
    wider = np.ones((2, 16), np.float16)
    replace(written, embeddings=wider).write(tmp_path, other)
    assert is_indexed(tmp_path, "sub/é", RECORD, other)
    assert SceneEntry.read(tmp_path, "sub/é").embeddings.shape == (2, 16)


def test_an_entry_is_fresh_for_its_record_and_settings_only(tmp_path):
    entry().write(tmp_path, SETTINGS)
    assert is_indexed(tmp_path, "sub/é", RECORD, SETTINGS)
    assert not is_indexed(tmp_path, "sub/é", RECORD, {"embedder": "other"})
    changed = VideoRecord(**{**vars(RECORD), "sha256": "1" * 64})
    assert not is_indexed(tmp_path, "sub/é", changed, SETTINGS)
    assert not is_indexed(tmp_path, "sub", RECORD, SETTINGS)


def test_embeddings_are_read_without_keypoints(tmp_path):
    written = entry()
    written.write(tmp_path, SETTINGS)
    found = read_embeddings(tmp_path, "sub/é", RECORD, SETTINGS)
    assert np.array_equal(found, written.embeddings) and found.dtype == np.float16
    assert read_embeddings(tmp_path, "sub/é", RECORD, {"embedder": "other"}) is None
    assert read_embeddings(tmp_path, "sub/é", replace(RECORD, sha256="1" * 64), SETTINGS) is None
    assert read_embeddings(tmp_path, "sub", RECORD, SETTINGS) is None
    unfit = (np.ones((3, 8), np.float16), np.full((2, 8), np.nan, np.float16),
             np.ones((2, 0), np.float16))
    for embeddings in unfit:
        replace(written, embeddings=embeddings).write(tmp_path, SETTINGS)
        assert read_embeddings(tmp_path, "sub/é", RECORD, SETTINGS) is None
    path = entry_path(tmp_path, "sub/é")
    path.write_bytes(path.read_bytes()[:400])
    assert read_embeddings(tmp_path, "sub/é", RECORD, SETTINGS) is None


def test_a_damaged_entry_is_none(tmp_path):
    entry().write(tmp_path, SETTINGS)
    path = entry_path(tmp_path, "sub/é")
    path.write_bytes(path.read_bytes()[:400])
    assert SceneEntry.read(tmp_path, "sub/é") is None
    assert not is_indexed(tmp_path, "sub/é", RECORD, SETTINGS)
