"""Generated flow pairs are exact; RAFT learns from them and resumes to the same numbers."""

import json

import cv2
import numpy as np
import pytest
import torch

from models.training import raft_trainer, train_raft
from models.training.flow_pairs import MARGIN, Layer, PairStream, make_pair, render, smooth_motion
from models.training.flow_scores import score
from models.training.image_bank import ImageBank, held_out, load_bank
from models.training.pair_damage import damage, video_coded

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 128
STILL = np.array([[1.0, 0, 0], [0, 1, 0]])  # texture pixels are image pixels
SETTINGS = {"batch": 2, "size": SIZE, "updates": 2, "lr": 4e-4, "seed": 3, "hold_out": []}
SETTINGS["weights"] = None


def picture(seed: int, sigma: float = 0.0, side: int = 200) -> np.ndarray:
    """Random HxWx3 uint8, smoothed by `sigma` px."""
    image = np.random.default_rng(seed).uniform(0, 255, (side, side, 3)).astype(np.float32)
    if sigma:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
        image = (image - image.min()) * (255 / np.ptp(image))
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def bank() -> ImageBank:
    return ImageBank([picture(seed, 3.0) for seed in range(4)], [picture(9, 6.0)])


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(24):
        cv2.imwrite(str(folder / f"photo_{index}.png"), picture(index, 3.0, 140))
    return folder


def constant(x: float, y: float) -> np.ndarray:
    return np.full((SIZE, SIZE, 2), (x, y), np.float32)


def test_translation_moves_pixels_by_the_flow():
    layer = Layer(picture(0), STILL, constant(3, -2), None, (1.0, 0.0))
    first, second, flow = render([layer], SIZE)
    assert np.array_equal(flow, constant(3, -2))
    # what is at (x, y) in the first image is at (x + 3, y - 2) in the second
    assert first[50, 40, 0] == second[48, 43, 0] == picture(0)[48, 43, 0]
    assert np.array_equal(first[2:, :-3], second[:-2, 3:])


def test_second_image_sampled_along_the_flow_is_the_first():
    turned = np.array([[0.8, -0.2, 30], [0.2, 0.8, 10.0]])
    motion = smooth_motion(np.random.default_rng(5), SIZE, 2.0)
    first, second, flow = render([Layer(picture(1, 5.0), turned, motion, None, (0.7, 9.0))], SIZE)
    axis = np.arange(SIZE, dtype=np.float32)
    along = cv2.remap(second, np.dstack(np.meshgrid(axis, axis)) + flow, None, cv2.INTER_CUBIC)
    inside = np.abs(along - first)[12:-12, 12:-12]
    assert inside.max() < 3 and inside.mean() < 0.4
    assert np.abs(second - first)[12:-12, 12:-12].mean() > 3  # it did move


def test_a_foreground_carries_its_own_flow_and_hides_the_background():
    opacity = np.zeros((SIZE + 2 * MARGIN,) * 2, np.float32)
    opacity[MARGIN + 40 : MARGIN + 80, MARGIN + 40 : MARGIN + 80] = 1
    back = Layer(picture(2), STILL, constant(0, 0), None, (1.0, 0.0))
    front = Layer(picture(3), STILL, constant(-6, 0), opacity, (1.0, 0.0))
    first, second, flow = render([back, front], SIZE)
    # at rest it covers columns 40-79; with flow -6 it comes from columns 46-85
    assert flow[60, 45, 0] == 0 and flow[60, 46, 0] == -6
    assert flow[60, 85, 0] == -6 and flow[60, 86, 0] == 0
    assert np.array_equal(first[40:80, 46:86], second[40:80, 40:80])
    assert np.array_equal(first[60, 40:46], back.texture[60, 40:46].astype(np.float32))


def test_motion_has_the_size_that_was_asked_for():
    for seed, rms in enumerate((0.0, 0.1, 1.0, 10.0)):
        field = smooth_motion(np.random.default_rng(seed), SIZE, rms)
        assert field.shape == (SIZE, SIZE, 2) and field.dtype == np.float32
        assert rms / 2 <= np.sqrt((field**2).sum(-1).mean()) <= rms * 1.001


def test_pairs_follow_from_seed_and_step_alone(bank):
    stream = PairStream(bank, size=SIZE, batch=2, seed=1, easing=100)
    images, flow, damaged = stream[7]
    again = PairStream(bank, size=SIZE, batch=2, seed=1, easing=100)[7]
    assert images.shape == (2, 2, 3, SIZE, SIZE) and images.dtype == torch.uint8
    assert flow.shape == (2, 2, SIZE, SIZE) and damaged.shape == (2,)
    assert all(torch.equal(a, b) for a, b in zip((images, flow, damaged), again))
    assert not torch.equal(images, stream[8][0])


def test_easing_starts_with_larger_motions(bank):
    def motion(step: int) -> float:
        return float(
            PairStream(bank, size=SIZE, batch=8, seed=1, easing=20)[step][1].norm(dim=1).mean()
        )

    assert np.mean([motion(k) for k in range(2)]) > 1.5 * np.mean(
        [motion(k) for k in range(40, 42)]
    )


def test_half_of_the_pairs_are_calm_once_motions_have_their_size(bank):
    def motions(boost: float) -> np.ndarray:
        pairs = (make_pair(np.random.default_rng(seed), bank, SIZE, boost) for seed in range(60))
        return np.array([np.linalg.norm(flow, axis=-1).mean() for _, _, flow, _ in pairs])

    assert (motions(1.0) < 0.1).mean() > 2 * (motions(1.01) < 0.1).mean() > 0


def test_damage_keeps_shape_and_place():
    image = picture(4, 6.0, SIZE)
    rng = np.random.default_rng(0)
    for _ in range(12):
        first, second = damage(rng, image, image)
        assert first.shape == second.shape == image.shape and first.dtype == np.uint8
        assert np.corrcoef(first.ravel(), image.ravel())[0, 1] > 0.8
    for opening in (True, False):
        coded = video_coded([image, image], crf=30, opening=opening)
        assert len(coded) == 2 and np.abs(coded[1].astype(float) - image).mean() < 12


def test_held_out_files_are_never_trained_on(photos):
    training = load_bank(photos, None, test=False)
    testing = load_bank(photos, None, test=True)
    assert len(training.photos) + len(testing.photos) == 24 and testing.photos
    files = sorted(photos.iterdir())
    assert [file.stem for file in held_out(files, ["photo_5"])] == ["photo_5"]
    assert len(load_bank(photos, None, test=True, hold_out=["photo_5"]).photos) == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_bank(photos / "nowhere", None, test=False)


def test_score_of_hand_made_flows():
    flow = torch.zeros(2, 2, 24, 24)
    flow[:, 0] = 3.0  # a pair of motions of 3 px
    estimates = flow.clone()
    estimates[1, 1] = 4.0  # the second one is 4 px off
    figures = score(estimates, flow, torch.tensor([False, True]))
    assert figures["all"] == 2.0 and figures["clean"] == 0.0 and figures["damaged"] == 4.0
    assert figures["2-6 px"] == 2.0 and "0.1-0.5 px" not in figures
    assert "signature, calm" not in figures
    assert figures["12x12"] == 2.0
    assert figures["signature"] == pytest.approx((1 + 3 / 5) / 2, abs=1e-4)


def test_loss_of_hand_made_flows():
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 0.7  # weighs 0.3 + 0.7 / (0.7 + 0.3) = 1
    predictions = [flow + 2.0, flow + 1.0]
    turned = [1 - x / np.hypot(x, y) for x, y in ((2.7, 2), (1.7, 1))]  # of the signature
    assert float(raft_trainer.sequence_loss(predictions, flow)) == pytest.approx(
        0.8 * (2 + turned[0]) + 1 + turned[1])
    assert float(raft_trainer.sequence_loss([3 * flow], flow)) == pytest.approx(0.7)  # as it points
    still = torch.zeros_like(flow)
    assert float(raft_trainer.sequence_loss([still + 1], still)) == pytest.approx(0.3 + 0.7 / 0.3)
    assert float(raft_trainer.sequence_loss([still + 1], still, relative=0.0)) == pytest.approx(1)


def test_schedule_bends_from_where_it_is():
    schedule = raft_trainer.Schedule(100, 1.0, 10, 1.0)
    assert schedule.lr(0) == 0.1 and schedule.lr(10) == 1.0 and schedule.lr(100) == 0.0
    assert schedule.lr(55) == pytest.approx(0.5)
    shortened = schedule.end_at(75, 55)
    assert shortened.lr(55) == pytest.approx(0.5) and shortened.lr(65) == pytest.approx(0.25)
    assert shortened.lr(75) == 0.0 and schedule.end_at(100, 55) is schedule


def trainer(bf16: bool = False) -> raft_trainer.Trainer:
    schedule = raft_trainer.Schedule(20, 4e-4, 2, 4e-4)
    return raft_trainer.Trainer(SETTINGS, schedule, torch.device("cpu"), bf16)


def test_loss_falls_on_a_batch_seen_again(bank):
    images, flow, _ = PairStream(bank, size=SIZE, batch=2, seed=3, easing=1000)[0]
    runner = trainer()
    losses = [runner.train_step(images, flow) for _ in range(10)]
    assert min(losses[-3:]) < 0.9 * losses[0]


def test_checkpoint_resumes_to_the_same_numbers(bank, tmp_path):
    stream = PairStream(bank, size=SIZE, batch=2, seed=3)
    batches = [stream[step][:2] for step in range(4)]
    straight, stopped, resumed = trainer(), trainer(), trainer()
    expected = [straight.train_step(*batch) for batch in batches]
    for batch in batches[:2]:
        stopped.train_step(*batch)
    stopped.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.step == 2
    assert [resumed.train_step(*batch) for batch in batches[2:]] == pytest.approx(
        expected[2:], rel=1e-5
    )
    for a, b in zip(straight.average.parameters(), resumed.average.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    trainer().save(tmp_path / "checkpoint.pt")
    other = raft_trainer.Trainer(
        SETTINGS | {"seed": 4}, trainer().schedule, torch.device("cpu"), False
    )
    with pytest.raises(ValueError, match="seed"):
        other.load(tmp_path / "checkpoint.pt")


def test_main_trains_writes_and_resumes(photos, tmp_path):
    small = {"batch": 1, "updates": 2, "test_pairs": 16, "workers": 0, "precision": "fp32"}
    out = tmp_path / "out"
    weights = train_raft.main(photos, None, out, steps=2, **small)
    state = torch.load(weights, weights_only=True)
    network = raft_trainer.build_network(torch.device("cpu"))
    network.load_state_dict(state)
    assert all(value.dtype == torch.float16 for value in state.values())
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["step"] == 2 and {"raft", "dis", "dis_medium", "zero"} <= set(card["metrics"])
    assert str(tmp_path) not in weights.with_suffix(".json").read_text()
    with pytest.raises(ValueError, match="--resume"):
        train_raft.main(photos, None, out, steps=2, **small)
    train_raft.main(photos, None, out, steps=3, resume=True, **small)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 3]
    scored = train_raft.main(photos, None, tmp_path / "scored", weights=weights, steps=0, **small)
    told = json.loads(scored.with_suffix(".json").read_text())
    assert told["step"] == 0 and told["recipe"]["weights"] == train_raft.sha256_of(weights)
    best = json.loads(weights.with_suffix(".json").read_text())["metrics"]["raft"]
    assert told["metrics"]["raft"] == pytest.approx(best, abs=0.01)
    kept = torch.load(scored, weights_only=True)
    assert all(torch.equal(value, kept[name]) for name, value in torch.load(
        weights, weights_only=True).items())


def test_make_pair_tells_clean_from_damaged(bank):
    pairs = [make_pair(np.random.default_rng(seed), bank, SIZE) for seed in range(20)]
    assert {damaged for *_, damaged in pairs} == {True, False}
    assert all(np.isfinite(flow).all() and np.abs(flow).max() < 60 for _, _, flow, _ in pairs)


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_weights_to_begin_with_that_are_none_are_named(tmp_path, content):
    path = tmp_path / "w.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="w.pt: not a raft_small state dict"):
        trainer().begin_with(path)
