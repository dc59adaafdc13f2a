"""The motion embedder: vectors, windows, weights; its examples; that it learns and resumes."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.fetch import ModelFileError, sha256_of
from models.motion import MotionGrid
from models.motion_embedder import SHIPPED, MotionEmbedder, MotionNet, over_span, slide, window
from models.training import train_flow
from models.training.motion_batches import REACH, BatchMaker, extended, warped
from models.training.motion_scores import compare, find, peaks, signature_vectors
from models.training.motion_trainer import MotionTrainer
from models.training.motion_windows import (Example, FakeSet, MotionWindows, SourceStacks,
                                            load_windows)
from models.training.raft_trainer import Schedule, save_tensors
from motion_set import FRAMES, make_fake_set, movement, stack
from utils.files import InputError
from utils.matching import pair_scores, prepare
from utils.matching import slide as signature_slide
from utils.source_motion import MotionIndex

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {"batch": 4, "dimensions": 16, "lr": 3e-3, "pull": 1.0, "seed": 1, "hold_out": []}
WINDOW = 40


def example(clip: int, number: int) -> Example:
    """A noisy copy of a stretch of a clip, and two wrong places of it."""
    rng = np.random.default_rng([clip, number])
    start = int(rng.integers(15, FRAMES - WINDOW - 15))
    grid = stack(movement(clip))[start:start + WINDOW - 1]
    grid[..., :2] += rng.normal(0, 0.2, grid[..., :2].shape)
    at = np.arange(WINDOW) + np.array([[start], [start - 9], [start + 9]])
    row = {"fake": f"clip_{clip}_fake_{number}.mp4", "source": f"clip_{clip}.mp4", "speed": "1.0",
           "start_frame": str(start), "end_frame": str(start + WINDOW - 1), "flip": "0"}
    stranger = f"clip_{(clip + 1) % 4}.mp4"
    flags = np.array([True, False, False])
    return Example(f"clip_{clip}", row, grid, grid[None], np.zeros(3, np.int32), at, flags,
                   ~flags, [row["source"], row["source"], stranger], np.zeros(3, bool),
                   np.zeros(3, bool))


@lru_cache(1)
def windows() -> MotionWindows:
    sources = {}
    for clip in range(4):
        steps = stack(movement(clip))
        sources[f"clip_{clip}.mp4"] = SourceStacks(
            np.concatenate([np.zeros_like(steps[:1]), steps.cumsum(0)]))
    return MotionWindows([example(clip, n) for clip in range(4) for n in range(2)], sources)


def trainer(steps: int = 12) -> MotionTrainer:
    return MotionTrainer(SETTINGS, Schedule(steps, 3e-3, 2, 3e-3))


@pytest.fixture
def embedder(tmp_path) -> MotionEmbedder:
    """Begins as the signature's principal components: good enough for made-up movements."""
    begun = trainer()
    begun.begin_with(windows())
    save_tensors(tmp_path / "weights.pt", begun.shippable())
    return MotionEmbedder(tmp_path / "weights.pt")


def test_sums_over_a_span():
    stacks = torch.arange(5.0)[:, None, None, None].expand(5, 2, 2, 3)
    summed = over_span(stacks, 3)[:, 0, 0]
    assert summed.tolist() == [[3, 3, 1], [6, 6, 2], [9, 9, 3]]
    assert over_span(stacks, 1) is stacks


def test_windows_are_unit_vectors_that_know_mirror_and_shift(embedder):
    grid = movement(7)
    vectors = embedder.embed(grid, 6)
    assert vectors.shape == (FRAMES - 6, 16) and vectors.dtype == np.float32
    assert np.linalg.norm(window(vectors[5:25])) == pytest.approx(1, abs=1e-5)
    one = grid.part(20, 50)
    assert embedder.similarity(one, one) == pytest.approx(1, abs=1e-5)
    assert embedder.similarity(one, one.mirrored().mirrored()) == pytest.approx(1, abs=1e-5)
    assert embedder.similarity(one, one.mirrored()) < 0.6
    assert embedder.similarity(one, grid.part(26, 56)) < 0.6
    assert not window(np.zeros((3, 2))).any()
    with pytest.raises(ValueError, match="span 31"):
        embedder.embed(one, 31)
    with pytest.raises(ValueError, match="shape"):
        embedder.embed(MotionGrid(np.zeros((4, 6, 6, 2)), np.zeros((4, 6, 6))))
    with pytest.raises(ValueError, match="30 and 20"):
        embedder.similarity(one, grid.part(0, 20))


def test_slide_is_the_cosine_of_every_window(embedder):
    source, fake = (embedder.embed(grid) for grid in (movement(7), movement(7).part(31, 52)))
    curve = slide(fake, source)
    expected = [window(fake) @ window(source[s:s + len(fake)]) for s in range(len(curve))]
    assert len(curve) == len(source) - len(fake) + 1 and curve.argmax() == 31
    np.testing.assert_allclose(curve, expected, atol=1e-5)
    assert len(slide(source, fake)) == 0


def test_the_rival_is_the_signature_of_step_5():
    fake, source = movement(7).part(31, 52), movement(7)
    mine = slide(signature_vectors(stack(fake), 1), signature_vectors(stack(source), 1))
    np.testing.assert_allclose(mine, signature_slide(pair_scores(fake, prepare(source)), 1.0),
                               atol=1e-4)


def test_batches_follow_from_seed_and_step_alone():
    batch, again = (BatchMaker(windows(), 4, 1)[5] for _ in range(2))
    for one, other in zip(vars(batch).values(), vars(again).values(), strict=True):
        assert torch.equal(one, other) and torch.isfinite(one.float()).all()
    length = batch.fakes.shape[1]
    assert batch.stretches.shape[1] == length + 2 * REACH
    assert not batch.wrong[:, REACH].any() and batch.wrong.any()
    assert not batch.apart.diagonal().any()
    assert not torch.equal(batch.fakes[0], BatchMaker(windows(), 4, 1)[6].fakes[0])


def test_stretches_go_on_at_their_rate():
    at = extended(np.array([100, 102, 104, 106]))
    assert at[0] == 100 - 2 * REACH and at[-1] == 106 + 2 * REACH and (np.diff(at) == 2).all()


def test_mapped_stacks_agree_with_mapped_grids():
    grid = movement(7).part(0, 3)
    turned = np.array([[0.95, -0.1, 0.05], [0.1, 0.95, -0.02]])  # old to new, units of the side
    matrix = np.vstack([turned, [0, 0, 1]])
    to_unit = np.array([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]])  # from -1 to 1
    inverse = np.linalg.inv(to_unit) @ np.linalg.inv(matrix) @ to_unit
    mine = warped(torch.from_numpy(stack(grid))[None],
                  torch.from_numpy(inverse[None, :2]).float())[0].numpy()
    expected = grid.warped(turned)
    sure = expected.weight > 0.5
    np.testing.assert_allclose(mine[..., 2], expected.weight, atol=0.05)
    np.testing.assert_allclose(mine[..., :2][sure], expected.flow[sure], atol=0.08)


def test_loss_falls_on_a_batch_seen_again():
    runner, batch = trainer(), BatchMaker(windows(), 4, 1)[0]
    losses = [runner.train_step(batch) for _ in range(12)]
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_checkpoint_resumes_to_the_same_numbers(tmp_path):
    batches = BatchMaker(windows(), 4, 1)
    straight, stopped, resumed = trainer(4), trainer(4), trainer(4)
    expected = [straight.train_step(batches[step]) for step in range(4)]
    for step in range(2):
        stopped.train_step(batches[step])
    stopped.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    assert [resumed.train_step(batches[step]) for step in (2, 3)] == pytest.approx(
        expected[2:], rel=1e-5)
    for one, other in zip(straight.average.parameters(), resumed.average.parameters(),
                          strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    other = MotionTrainer(SETTINGS | {"seed": 4}, Schedule(4, 3e-3, 2, 3e-3))
    with pytest.raises(ValueError, match="seed"):
        other.load(tmp_path / "checkpoint.pt")


def test_comparison_of_clear_cases(monkeypatch):
    monkeypatch.setattr("models.training.motion_scores.RESAMPLES", 20)
    begun = trainer()
    begun.begin_with(windows())
    net = begun.average.net.eval().requires_grad_(False)
    figures = compare(windows(), net, net)
    for name in ("signature", "principal components", "network"):
        assert figures["judging"][name]["AUROC"]["value"] == 1
        assert figures["judging"][name]["right place first"]["value"] == 100
        assert figures["exact start"][name]["value"] == 100
        assert figures["finding"][f"{name}, span 1"]["recall@1"]["value"] == 100
    noise = lambda grids, span: np.random.default_rng(0).normal(  # noqa: E731
        size=(len(grids) - span + 1, 4))
    assert find(windows(), {"noise": noise})["noise, span 1"]["recall@1"]["value"] < 50


def test_peaks_leave_out_neighbours():
    curve = np.zeros(40, np.float32)
    curve[[10, 12, 30]] = 0.9, 0.8, 0.7
    assert peaks(curve)[:2] == [10, 30]


@pytest.fixture
def fake_set(tmp_path) -> FakeSet:
    return make_fake_set(tmp_path)


def test_examples_hold_the_true_place_and_are_made_once(fake_set, tmp_path, monkeypatch):
    monkeypatch.setattr(MotionIndex, "add", lambda *_: False)  # is there, without the videos
    cache = tmp_path / "cache"
    found = load_windows([fake_set], cache)
    [one] = found.examples
    assert one.group == "clip_0" and set(found.sources) == {"clip_0.mp4", "clip_1.mp4"}
    right = int(one.right.argmax())
    assert one.right[right] and one.at[right].tolist() == list(range(9, 29))
    fake, source = one.grids[one.view[right]], found.sources["clip_0.mp4"].along(one.at[right])
    assert np.abs(fake - source)[..., :2].mean() < 0.1 < np.abs(fake)[..., :2].mean()
    assert {"clip_1.mp4"} <= {one.sources[i] for i in np.flatnonzero(one.elsewhere)}
    assert not found.without(["clip_0"]).examples and len(found.only(["clip_0"]).examples) == 1
    assert set(found.without(["clip_0"]).sources) == {"clip_1.mp4"}
    file = next(cache.rglob("*.npz"))
    before = file.stat().st_mtime_ns
    load_windows([fake_set], cache)
    assert file.stat().st_mtime_ns == before


def test_main_trains_writes_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr("models.training.motion_scores.RESAMPLES", 10)
    monkeypatch.setattr(train_flow, "load_windows", lambda *_: windows())
    options = {"hold_out": ["clip_3"], "batch": 4, "dimensions": 16}
    out = tmp_path / "out"
    weights = train_flow.main([], out, steps=2, **options)
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of(weights) and card["recipe"]["steps"] == 2
    assert card["metrics"]["held-out clips"]["judging"]["fakes"] == 2
    assert card["metrics"]["held-out clips"]["judging 14 frame pairs"]["windows"] == 4
    assert MotionEmbedder(weights).dimensions == 16
    with pytest.raises(InputError, match="--resume"):
        train_flow.main([], out, steps=2, **options)
    train_flow.main([], out, steps=3, resume=True, **options)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 3]
    with pytest.raises(InputError, match="was made with"):
        train_flow.main([], out, steps=3, resume=True, **options | {"batch": 5})


def test_weights_are_begun_with_or_only_measured(tmp_path, monkeypatch, embedder):
    monkeypatch.setattr("models.training.motion_scores.RESAMPLES", 10)
    monkeypatch.setattr(train_flow, "load_windows", lambda *_: windows())
    given = tmp_path / "weights.pt"  # what the embedder was made of
    measured = train_flow.main([], tmp_path / "measured", steps=0, model_path=given)
    for name, value in torch.load(given, weights_only=True).items():
        assert torch.equal(torch.load(measured, weights_only=True)[name], value)
    card = json.loads(measured.with_suffix(".json").read_text())
    assert card["metrics"]["all fakes"]["judging"]["network"]["AUROC"]["value"] == 1
    assert card["recipe"]["steps"] == 0 and card["recipe"]["begins with"] == sha256_of(given)
    begun = train_flow.main([], tmp_path / "begun", steps=1, batch=4, dimensions=16, lr=1e-6,
                            model_path=given)
    torch.testing.assert_close(torch.load(begun, weights_only=True)["linear.weight"],
                               torch.load(given, weights_only=True)["linear.weight"])
    with pytest.raises(InputError, match="16 dimensions"):
        train_flow.main([], tmp_path / "other", steps=1, dimensions=8, model_path=given)
    with pytest.raises(InputError, match="--model-path"):
        train_flow.main([], tmp_path / "none", steps=0)


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        MotionEmbedder(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_damaged_or_foreign_weights_are_refused_in_one_line(tmp_path):
    path = tmp_path / "weights.pt"
    assert "cannot be read" in refusal(path)
    path.write_bytes(b"not a model")
    assert "not weights" in refusal(path)
    torch.save({"layer.weight": torch.zeros(2, 2)}, path)
    assert "not weights" in refusal(path)
    torch.save([1, 2], path)
    assert "not a state dict" in refusal(path)
    state = MotionNet(8).state_dict()
    torch.save(state | {"linear.weight": torch.zeros(8, 3)}, path)
    assert "not weights" in refusal(path)
    save_tensors(path, state)
    assert MotionEmbedder(path).dimensions == 8
    path.with_suffix(".json").write_text('{"sha256": "0"}')
    assert "damaged or exchanged" in refusal(path)


def test_shipped_weights_agree_with_their_card():
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of(SHIPPED) and SHIPPED.stat().st_size < 2_000_000
    embedder = MotionEmbedder()
    assert embedder.dimensions == card["recipe"]["dimensions"]
    grid = movement(11)
    noisy = MotionGrid(grid.flow + np.random.default_rng(0).normal(0, 0.2, grid.flow.shape)
                       .astype(np.float32), grid.weight)
    one = noisy.part(20, 60)
    right = embedder.similarity(one, grid.part(20, 60))
    others = [embedder.similarity(one, grid.part(20 + d, 60 + d)) for d in (-16, -8, 8, 16)]
    assert right > 0.8 and right > max(others) + 0.2
    assert slide(embedder.embed(one), embedder.embed(grid)).argmax() == 20
