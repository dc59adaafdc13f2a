"""Optical-flow pictures of fakes and of the places found for them, to train ResNet-50 on.

Of every example of motion_windows.py whose true place was found: pictures of some frame pairs of
the fake, and of the frames that its right hypothesis and a few wrong ones name for them. One .npz
per fake, made once, about 13 MB; they stay on the disk until they are drawn.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.motion_resnet import SIDE
from models.training.motion_batches import NEAR, damaged, mappings, warped
from models.training.motion_windows import Example, FakeSet, load_windows
from utils.batch import run_batch
from utils.fake_motion import FakeRoots
from utils.files import InputError, read_arrays, write_arrays
from utils.layout import VideoRecord, result_path
from utils.motion_pictures import FlowPictures, chosen_pairs, fake_pictures, source_pictures
from utils.source_motion import MotionIndex

VERSION = 1  # to be raised when pictures are made another way
PAIRS = 8  # frame pairs per fake
WRONG = 3  # wrong places per fake


@dataclass(frozen=True)
class PictureExample:
    """Where the pictures of one fake are. Stacks [..., S, S, 3] hold dx, dy (pixels) and mask."""

    group: str  # clip that the fake was made from
    path: Path
    sources: list[str]  # [P] file names of the places; the first one is the true place
    at: np.ndarray  # [P, K] source frame with which each of K pairs begins

    def fake(self) -> np.ndarray:
        """Pictures of the fake, [K, S, S, 3] float32."""
        return _stacks(self._arrays(), "fake")

    def places(self) -> np.ndarray:
        """Pictures of the places, [P, K, S, S, 3] float32."""
        return _stacks(self._arrays(), "place")

    def pair(self, position: int) -> np.ndarray:
        """One picture of the fake and the one of its true place, [2, S, S, 3] float32."""
        arrays = self._arrays()
        return np.stack([_stacks(arrays, "fake", position), _stacks(arrays, "place", 0, position)])

    def _arrays(self) -> dict[str, np.ndarray]:
        found = read_arrays(self.path)
        if found is None:
            raise InputError(f"{self.path}: gone or damaged; run again")
        return found[1]


def _stacks(arrays: dict[str, np.ndarray], name: str, *index: int) -> np.ndarray:
    mask = arrays[f"{name}_mask"][index].astype(np.float32)[..., None] / 255
    return np.concatenate([arrays[f"{name}_flow"][index].astype(np.float32), mask], -1)


@dataclass(frozen=True)
class Pictures:
    """All examples."""

    examples: list[PictureExample]

    def without(self, held_out: Collection[str]) -> "Pictures":
        """What may be trained on: nothing of the held-out clips, as fake or as its true place."""
        return Pictures([e for e in self.examples if not {e.group, Path(e.sources[0]).stem}
                         & set(held_out)])

    def only(self, held_out: Collection[str]) -> "Pictures":
        """The held-out clips' fakes."""
        return Pictures([e for e in self.examples if e.group in held_out])


def load_pictures(sets: Sequence[FakeSet], cache: Path, workers: int = 1,
                  side: int = SIDE) -> Pictures:
    """Examples of all sets, made where the cache has none.

    Raises InputError when a step has not run or nothing can be used.
    """
    examples = []
    for fakes in sets:
        windows = load_windows([fakes], cache, workers)
        usable = [e for e in windows.examples if e.right.any()]
        examples += _collected(fakes, usable, Path(cache) / f"{fakes.key}_pictures", workers, side)
    if not examples:
        raise InputError("of no fake of the given sets the true place was found")
    return Pictures(examples)


def _collected(fakes: FakeSet, examples: list[Example], folder: Path, workers: int,
               side: int) -> Iterator[PictureExample]:
    records = {record.file: (video_id, record) for video_id, record in fakes.records().items()}
    index = fakes.index()

    def make(example: Example) -> bool:
        fake_id, record = records[example.truth["fake"]]
        chosen = [int(example.right.argmax()),
                  *np.flatnonzero(example.elsewhere & ~example.right)[:WRONG].tolist()]
        # at is of the frames in the order of the view: turned around where that runs backwards
        at = np.stack([example.at[n][::-1 if example.backwards[n] else 1] for n in chosen])
        return _make(fakes, fake_id, record, [example.sources[n] for n in chosen], at,
                     example.flip[chosen], index, result_path(folder, fake_id, ".npz"), side)

    run_batch(examples, make, name=lambda e: e.truth["fake"], label=f"{fakes.work}: pictures",
              workers=workers)
    for example in examples:
        path = result_path(folder, records[example.truth["fake"]][0], ".npz")
        found = read_arrays(path)
        if found is not None:
            yield PictureExample(example.group, path, found[0]["sources"],
                                 found[1]["at"])


def _make(fakes: FakeSet, fake_id: str, record: VideoRecord, sources: list[str], at: np.ndarray,
          flips: np.ndarray, index: MotionIndex, path: Path, side: int) -> bool:
    """Write the pictures of one fake and its places; False when they are there already."""
    settings = {"version": VERSION, "side": side, "fake": record.sha256, "sources": sources,
                "flow": index.flow().identity, "segmenter": index.segmenter().identity,
                "all at": at.tolist()}
    found = read_arrays(path)
    if found is not None and found[0] == settings:
        return False
    work, firsts = Path(fakes.work), chosen_pairs(len(record.frames), PAIRS)
    roots = FakeRoots(work / "step3_fake_frames", work / "step3_fake_masks",
                      work / "step3_fake_rect")
    fake = fake_pictures(roots, fake_id, record, firsts, index.flow(), side)
    if fake is None:
        raise InputError(f"{record.file}: nobody is in it")
    places = []
    for source, row, flip in zip(sources, at, flips, strict=True):
        known = index.read(str(Path(source).with_suffix("")))
        if known is None:
            raise InputError(f"{source}: no motion of it in {index.root}")
        pictures = source_pictures(Path(fakes.videos) / source, known.square,
                                   [(int(row[i]), int(row[i + 1])) for i in firsts],
                                   index.flow(), index.segmenter(), side)
        places.append(pictures.mirrored() if flip else pictures)
    write_arrays(path, settings, {
        "at": at[:, firsts].astype(np.int32), **_small("fake", [fake]), **_small("place", places)})
    return True


def _small(name: str, pictures: list[FlowPictures]) -> dict[str, np.ndarray]:
    """Arrays as they are stored; those of one fake without a first axis."""
    flow = np.stack([p.flow for p in pictures]).astype(np.float16)
    mask = np.stack([np.round(p.mask * 255) for p in pictures]).astype(np.uint8)
    alone = name == "fake"
    return {f"{name}_flow": flow[0] if alone else flow, f"{name}_mask": mask[0] if alone else mask}


@dataclass(frozen=True)
class PictureBatch:
    """B pairs of pictures; stacks [B, S, S, 3]."""

    fakes: Tensor
    sources: Tensor
    apart: Tensor  # [B, B] bool: pairs that do not show the same frames


class PictureBatches:
    """Batches of `batch` pairs, two moments of every fake; from seed and step alone.

    Both sides of a pair are mirrored, turned and scaled alike, which makes movements of new
    persons; the fake's alone gets a small mapping, noise, another gain and holes.
    """

    def __init__(self, pictures: Pictures, batch: int, seed: int):
        self._batch, self._seed = batch, seed
        self._groups: dict[str, list[PictureExample]] = {}
        for example in pictures.examples:
            self._groups.setdefault(example.group, []).append(example)
        if len(self._groups) < 2:
            raise ValueError("fewer than two clips to train on have a fake that can be used")

    def __getitem__(self, step: int) -> PictureBatch:
        rng = np.random.default_rng([self._seed, step])
        groups, drawn = list(self._groups), []
        while len(drawn) < self._batch:
            examples = self._groups[groups[rng.integers(len(groups))]]
            example = examples[rng.integers(len(examples))]
            count = min(2, example.at.shape[1])
            drawn += [(example, int(n)) for n in rng.choice(example.at.shape[1], count, False)]
        drawn = drawn[:self._batch]
        pairs = torch.from_numpy(np.stack([example.pair(n) for example, n in drawn]))
        pairs = warped(pairs, mappings(rng, len(drawn), 0.1, 0.1, 6.0, mirror=True))
        clips = np.array([e.group for e, _ in drawn])
        frames = np.array([e.at[0, n] for e, n in drawn])
        apart = (clips[:, None] != clips) | (np.abs(frames[:, None] - frames) > NEAR)
        return PictureBatch(damaged(rng, pairs[:, :1])[:, 0], pairs[:, 1], torch.from_numpy(apart))
