"""ResNet-50 on flow pictures: vectors, weights, places; that it learns and resumes."""

import json

import cv2
import numpy as np
import pytest
import torch

from models.fetch import ModelFileError, sha256_of
from models.flow import DisFlow
from models.motion_resnet import (RIGHT_ANGLE, SOFT_PX, ResNetMotionEmbedder, angles, begin_with,
                                  build_resnet, flow_pictures)
from models.torchvision_compat import torchvision
from models.training import train_flow
from models.training.motion_scores import share
from models.training.picture_examples import (PictureBatches, PictureExample, Pictures, _small,
                                              load_pictures)
from models.training.picture_scores import compare_pictures
from models.training.raft_trainer import Schedule, save_tensors
from models.training.resnet_trainer import ResNetTrainer, pair_loss
from motion_set import make_fake_set
from utils.fake_motion import FakeRoots
from utils.files import InputError, write_arrays
from utils.layout import VideoRecord
from utils.motion_pictures import (FlowPictures, PlacedFake, chosen_pairs, fake_pictures,
                                   mean_angles, source_pictures)
from utils.source_motion import MotionIndex

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, MOMENTS = 64, 4
SETTINGS = {"batch": 6, "dimensions": 8, "lr": 1e-3, "seed": 1, "hold_out": []}


class Disc:
    """A segmenter that finds the person of motion_set.py."""

    identity = "disc"

    def probability(self, image: np.ndarray) -> np.ndarray:
        return cv2.circle(np.zeros(image.shape[:2], np.float32), (48, 48), 40, 1.0, -1)


def smooth_pictures(seed: int, count: int = MOMENTS, noise: float = 0.0) -> FlowPictures:
    """Smooth random flow of about 2 px inside a disc."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 2, (count, 4, 4, 2)).astype(np.float32)
    flow = np.stack([cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
                     for one in coarse])
    flow += np.random.default_rng([seed, 1]).normal(0, noise, flow.shape) if noise else 0
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.float32), (SIDE // 2,) * 2, SIDE // 2 - 2, 1.0, -1)
    return FlowPictures(flow.astype(np.float32), np.repeat(disc[None], count, 0))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Pictures:
    """Six fakes of three clips, each with its true place, one elsewhere, and a stranger's."""
    folder, examples = tmp_path_factory.mktemp("pictures"), []
    for number in range(6):
        path, clip = folder / f"{number}.npz", f"clip_{number // 2}"
        places = [smooth_pictures(number), smooth_pictures(100 + number), smooth_pictures(
            (number + 2) % 6)]
        at = np.arange(MOMENTS) * 10 + np.array([[number % 2 * 100], [500], [0]])
        write_arrays(path, {}, {"at": at, **_small("fake", [smooth_pictures(number, noise=0.3)]),
                                **_small("place", places)})
        sources = [f"{clip}.mp4", f"{clip}.mp4", f"clip_{(number // 2 + 1) % 3}.mp4"]
        examples.append(PictureExample(clip, path, sources, at))
    return Pictures(examples)


def shallow(dimensions: int = 64) -> torch.nn.Module:
    """A ResNet of the same kind with a block per stage in place of 3, 4, 6 and 3."""
    return torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1],
                                     num_classes=dimensions)


@pytest.fixture(scope="module", autouse=True)
def quick_network():
    """The network itself is torchvision's: a third of it does for most tests."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("motion_resnet", "training.resnet_trainer"):
            patch.setattr(f"models.{module}.build_resnet", shallow)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet50.pt"
    save_tensors(path, shallow(8).state_dict())
    return path


def trainer(steps: int) -> ResNetTrainer:
    return ResNetTrainer(SETTINGS, Schedule(steps, 1e-3, 2, 1e-3))


def test_pictures_are_short_inside_the_mask_and_zero_outside():
    stacks = torch.zeros(1, 2, 2, 3)
    stacks[0, 0, 0] = torch.tensor([3.0, 4.0, 1.0])
    stacks[0, 0, 1] = torch.tensor([3.0, 4.0, 0.0])
    stacks[0, 1, 1] = torch.tensor([0.0, 0.0, 0.5])
    found = flow_pictures(stacks)
    assert found.shape == (1, 3, 2, 2)
    assert found[0, :, 0, 0].tolist() == pytest.approx([3 / (5 + SOFT_PX), 4 / (5 + SOFT_PX), 1])
    assert not found[0, :, 0, 1].any() and found[0, :, 1, 1].tolist() == [0, 0, 0.5]


def test_angles_by_hand():
    one = np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]])
    other = np.array([[1.0, 0], [0, 1], [-1, 0], [1, 0]])
    assert angles(one, other) == pytest.approx([0, np.pi / 2, np.pi, RIGHT_ANGLE])


def test_embeddings_are_unit_vectors_and_nobody_is_zero(weights):
    embedder, found = ResNetMotionEmbedder(weights), smooth_pictures(0)
    mask = found.mask.copy()
    mask[1] = 0
    vectors = embedder.embed(found.flow, mask)
    assert vectors.shape == (MOMENTS, 8) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    assert embedder.embed(found.flow[:0], mask[:0]).shape == (0, 8)
    assert embedder.identity.endswith(sha256_of(weights)[:16])
    np.testing.assert_allclose(embedder.embed(*vars(found.mirrored().mirrored()).values()),
                               embedder.embed(found.flow, found.mask), atol=1e-5)
    for flow in (found.flow[..., :1], found.flow[:2], found.flow[0]):
        with pytest.raises(ValueError, match="shape"):
            embedder.embed(flow, mask)


def test_unfit_weights_are_refused_in_one_line(tmp_path, weights):
    state, path = torch.load(weights, weights_only=True), tmp_path / "w.pt"
    without = {name: value for name, value in state.items() if not name.startswith("fc.")}
    for content, said in ((without, "fc.bias"), (without | {"fc.bias": torch.zeros(8)}, "fc.weig"),
                          (state | {"conv1.weight": torch.zeros(64, 4, 7, 7)}, "conv1"),
                          ([1], "not a state dict"), ({"fc.bias": "text"}, "not a state dict")):
        torch.save(content, path)
        with pytest.raises(ModelFileError, match=said) as error:
            ResNetMotionEmbedder(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value)
    save_tensors(path, state)
    path.with_suffix(".json").write_text('{"sha256": "0"}')
    with pytest.raises(ModelFileError, match="damaged or exchanged"):
        ResNetMotionEmbedder(path)


def test_the_network_is_resnet50():
    net = build_resnet(8)
    assert sum(p.numel() for p in net.parameters()) == 25_557_032 - 2049 * 1000 + 2049 * 8
    state = torchvision.models.resnet50(weights=None).state_dict()
    assert set(net.state_dict()) == set(state)


def test_imagenet_weights_are_begun_with(tmp_path, weights):
    """They have a last layer of 1,000 classes, or, as some files, none."""
    torch.manual_seed(3)
    imagenet, path = shallow(1000).state_dict(), tmp_path / "resnet50.pth"
    for name in ("fc.weight", "fc.bias", None):
        torch.save(imagenet, path)
        net = shallow(8)
        last = net.fc.weight.clone()
        begin_with(net, path)
        assert torch.equal(net.layer4[0].conv3.weight, imagenet["layer4.0.conv3.weight"])
        assert torch.equal(net.fc.weight, last)
        imagenet.pop(name, None)
    begin_with(net, weights)  # one of the same size is taken as a whole
    assert torch.equal(net.fc.weight, torch.load(weights, weights_only=True)["fc.weight"])
    torch.save({"conv1.weight": imagenet["conv1.weight"]}, path)
    with pytest.raises(ModelFileError, match="resnet50.pth: not weights of torchvision's"):
        begin_with(net, path)


def test_loss_by_hand():
    vectors, apart = torch.eye(3), ~torch.eye(3, dtype=torch.bool)
    expected = np.log(np.exp(10) + 2) - 10  # temperature 0.1
    assert float(pair_loss(vectors, vectors, apart)) == pytest.approx(expected, rel=1e-3)
    swapped = vectors[[1, 0, 2]]
    assert float(pair_loss(vectors, swapped, apart)) > 6
    apart[0, 1] = apart[1, 0] = False  # they show the same frames: not to be told apart
    assert float(pair_loss(vectors, swapped, apart)) == pytest.approx(2 / 3 * np.log(2), rel=1e-3)


def test_batches_follow_from_seed_and_step_alone(pictures):
    batch, again = (PictureBatches(pictures, 6, 1)[5] for _ in range(2))
    for one, other in zip(vars(batch).values(), vars(again).values(), strict=True):
        assert torch.equal(one, other) and torch.isfinite(one.float()).all()
    assert batch.fakes.shape == batch.sources.shape == (6, SIDE, SIDE, 3)
    assert not batch.apart.diagonal().any() and batch.apart.any()
    assert not torch.equal(batch.fakes, PictureBatches(pictures, 6, 1)[6].fakes)
    with pytest.raises(ValueError, match="fewer than two clips"):
        PictureBatches(pictures.only(["clip_0"]), 6, 1)


def test_loss_falls_on_a_batch_seen_again(pictures):
    runner, batch = trainer(8), PictureBatches(pictures, 6, 1)[0]
    losses = [runner.train_step(batch) for _ in range(8)]
    assert min(losses[-3:]) < 0.7 * losses[0]


def test_checkpoint_resumes_to_the_same_numbers(pictures, tmp_path):
    batches = PictureBatches(pictures, 6, 1)
    straight, stopped, resumed = trainer(4), trainer(4), trainer(4)
    expected = [straight.train_step(batches[step]) for step in range(4)]
    for step in range(2):
        stopped.train_step(batches[step])
    stopped.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    assert [resumed.train_step(batches[step]) for step in (2, 3)] == pytest.approx(
        expected[2:], rel=1e-5)
    for one, other in zip(straight.net.parameters(), resumed.net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    other = ResNetTrainer(SETTINGS | {"seed": 4}, Schedule(4, 1e-3, 2, 1e-3))
    with pytest.raises(ValueError, match="seed"):
        other.load(tmp_path / "checkpoint.pt")


def test_comparison_of_clear_cases(pictures):
    net = shallow(8)
    figures = compare_pictures(pictures, net, net)
    assert (figures["fakes"], figures["clips"], figures["frame pairs per fake"]) == (6, 3, MOMENTS)
    assert figures["signature"]["AUROC"]["value"] == 1
    assert figures["signature"]["right place first"] == share(np.ones(6, bool))
    assert figures["signature"]["right moment nearest"]["value"] == 100
    assert figures["network"] == figures["before training"]


def test_held_out_clips_take_no_part(pictures):
    assert {e.group for e in pictures.without(["clip_1"]).examples} == {"clip_0", "clip_2"}
    assert {e.group for e in pictures.only(["clip_1"]).examples} == {"clip_1"}


def test_main_trains_writes_measures_and_resumes(pictures, tmp_path, monkeypatch, weights):
    monkeypatch.setattr("models.training.motion_scores.RESAMPLES", 10)
    monkeypatch.setattr(train_flow, "load_pictures", lambda *_: pictures)
    options = {"embedder": "resnet50", "batch": 4, "dimensions": 8, "device": "cpu"}
    out = tmp_path / "out"
    made = train_flow.main([], out, steps=1, hold_out=["clip_2"], model_path=weights, **options)
    card = json.loads(made.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of(made) and card["recipe"]["steps"] == 1
    assert card["recipe"]["begins with"] == sha256_of(weights)
    assert card["metrics"]["held-out clips"]["fakes"] == 2
    state = torch.load(made, weights_only=True)
    assert all(v.dtype == torch.float16 for v in state.values() if v.is_floating_point())
    assert ResNetMotionEmbedder(made).dimensions == 8
    train_flow.main([], out, steps=2, hold_out=["clip_2"], model_path=weights, resume=True,
                    **options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    alone = train_flow.main([], tmp_path / "alone", steps=0, model_path=made, **options)
    card = json.loads(alone.with_suffix(".json").read_text())
    assert card["metrics"]["all fakes"]["fakes"] == 6 and card["recipe"]["dimensions"] == 8
    assert not (tmp_path / "alone" / "checkpoint.pt").exists()


@pytest.fixture(scope="module")
def fake_set(tmp_path_factory):
    return make_fake_set(tmp_path_factory.mktemp("set"))


def test_right_place_has_the_smallest_angle(fake_set, weights):
    roots = FakeRoots(*(fake_set.work / f"step3_fake_{name}" for name in
                        ("frames", "masks", "rect")))
    record = VideoRecord.read(roots.frames / "clip_0_fake_00")
    firsts = chosen_pairs(len(record.frames), 4)
    assert firsts == [2, 7, 11, 16]
    tools = {"estimator": DisFlow(), "segmenter": Disc()}
    fake = fake_pictures(roots, "clip_0_fake_00", record, firsts, DisFlow())
    square = tuple(np.load(fake_set.motion_root / "clip_0.npz")["square"])
    clip, other = (fake_set.videos / f"{name}.mp4" for name in ("clip_0", "clip_1"))
    at = np.arange(9, 29)
    places = [PlacedFake(other, square, at, False), PlacedFake(clip, square, at, False),
              PlacedFake(clip, square, at + 8, False), PlacedFake(clip, square, at[::-1], False),
              PlacedFake(clip, square, at, True), PlacedFake(clip, square, at * 0 + 9, False)]
    found = mean_angles(fake, firsts, places, ResNetMotionEmbedder(weights), **tools)
    assert found.shape == (6,) and found.argmin() == 1 and (found >= 0).all()
    assert found[1] < 0.7 * np.delete(found, 1).min()
    with pytest.raises(InputError, match="clip_0.mp4: no frame 42"):
        mean_angles(fake, firsts, [PlacedFake(clip, square, at + 26, False)],
                    ResNetMotionEmbedder(weights), **tools)


def test_pictures_of_a_source_are_of_the_frames_asked_for(fake_set):
    square = tuple(np.load(fake_set.motion_root / "clip_0.npz")["square"])
    clip = fake_set.videos / "clip_0.mp4"
    found = source_pictures(clip, square, [(9, 10), (10, 9), (9, 9)], DisFlow(), Disc(), 64)
    assert found.flow.shape == (3, 64, 64, 2) and len(found) == 3
    inner = found.flow[:, 16:-16, 16:-16].mean((1, 2))
    assert inner[0] == pytest.approx(-inner[1], abs=0.15) and np.abs(inner[0]).max() > 0.3
    assert np.abs(found.flow[2]).max() < 0.1


def test_examples_are_made_once(fake_set, tmp_path, monkeypatch):
    monkeypatch.setattr(MotionIndex, "add", lambda *_: False)  # is there already
    monkeypatch.setattr("models.training.motion_windows.make_segmenter",
                        lambda *_: Disc())
    [one] = load_pictures([fake_set], tmp_path, side=SIDE).examples
    assert one.group == "clip_0" and one.sources[0] == "clip_0.mp4"
    assert one.at[0].tolist() == [9 + first for first in chosen_pairs(20, 8)]
    fake, places = one.fake(), one.places()
    assert fake.shape == (8, SIDE, SIDE, 3) and places.shape[1:] == fake.shape
    both = (fake[..., 2:] > 0.5) & (places[0][..., 2:] > 0.5)
    apart = [np.abs((fake - place)[..., :2][both[..., 0]]).mean() for place in places]
    assert apart[0] < 0.1 < min(apart[1:])
    np.testing.assert_array_equal(one.pair(3), [fake[3], places[0, 3]])
    before = one.path.stat().st_mtime_ns
    load_pictures([fake_set], tmp_path, side=SIDE)
    assert one.path.stat().st_mtime_ns == before
