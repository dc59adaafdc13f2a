"""Batches for the motion embedder: windows of fakes, and the stretches they came from, edited.

The batch of a step follows from the seed and the step alone. A query is a window of a fake beside
the stretch of its source around it, and windows of wrong hypotheses; or a window of a source beside
its own stretch. Both sides are mirrored, mapped, played backwards and mixed with another query's
motion alike, which makes movements of new persons; the fake's side alone gets a small mapping,
noise, another gain and holes, which is what an edit does to it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from models.motion import COARSE
from models.motion_embedder import over_span
from models.training.motion_windows import Example, MotionWindows

REACH = 12  # frame pairs that a stretch goes on beyond the window, both ways
NEAR = 2  # source frames by which a window may be off without counting as wrong
MINED = 4  # wrong hypotheses per query
WINDOWS = (8, 12, 16, 24)  # frame pairs
SPANS = (1, 1, 2, 4, 6)
SELF_PAIRS, MIXED, REVERSED = 0.3, 0.3, 0.3  # shares of the queries
OWN_RATES = (1.0, 1.0, 1.0, 0.75, 1.25, 1.5)  # source frames per frame, where no fake is used


@dataclass(frozen=True)
class Batch:
    """Stacks over one span, [..., 12, 12, 3]; B queries, windows of W vectors."""

    fakes: Tensor  # [B, W, ...]
    stretches: Tensor  # [B, W + 2 REACH, ...]: the right window begins at REACH
    mined: Tensor  # [B, MINED, W, ...] windows of wrong hypotheses
    wrong: Tensor  # [B, 2 REACH + 1] bool: starts in the own stretch that are wrong
    inside: Tensor  # [B, 2 REACH + 1] bool: starts that lie in the source
    apart: Tensor  # [B, B] bool: queries whose windows have nothing to do with each other
    is_mined: Tensor  # [B, MINED] bool: False where there were fewer


@dataclass(frozen=True)
class Query:
    """Stacks of one query before they are edited."""

    group: str
    fake: np.ndarray
    stretch: np.ndarray
    frames: np.ndarray  # source frames of the stretch; outside of the source where it goes beyond
    length: int  # frames of the source
    mined: list[np.ndarray]


class BatchMaker:
    """Batches of `batch` queries from examples and sources that may be trained on."""

    def __init__(self, windows: MotionWindows, batch: int, seed: int):
        self._windows, self._batch, self._seed = windows, batch, seed
        self._groups: dict[str, list[Example]] = {}
        for example in windows.examples:
            if example.right.any() and example.truth["source"] in windows.sources:
                self._groups.setdefault(example.group, []).append(example)
        if len(self._groups) < 2:
            raise ValueError("fewer than two clips to train on have a fake that can be used")

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, step])
        span, pairs = int(rng.choice(SPANS)), int(rng.choice(WINDOWS))
        count = pairs + span - 1
        queries: list[Query] = []
        while len(queries) < self._batch:
            query = (self._own(rng, count) if rng.random() < SELF_PAIRS
                     else self._of_fake(rng, count))
            queries += [query] if query is not None else []
        return edited(rng, queries, pairs, span)

    def _of_fake(self, rng: np.random.Generator, count: int) -> Query | None:
        """A window of a fake; None when the one that was drawn is too short."""
        examples = self._groups[str(rng.choice(list(self._groups)))]
        example = examples[rng.integers(len(examples))]
        first = int(rng.integers(max(1, len(example.plain) - count + 1)))
        if len(example.plain) < count:
            return None
        right = int(rng.choice(np.flatnonzero(example.right)))
        at = example.at[:, first:first + count + 1]
        stretch = extended(at[right])
        source = self._windows.sources[example.sources[right]]
        wrong = [number for number in np.flatnonzero(example.elsewhere & ~example.right)
                 if example.sources[number] in self._windows.sources]
        mined = [self._windows.sources[example.sources[number]].along(at[number])
                 for number in rng.permutation(wrong)[:MINED].astype(int)]
        length = len(source.total)
        return Query(example.group, example.grids[example.view[right]][first:first + count],
                     source.along(np.clip(stretch, 0, length - 1)), stretch, length, mined)

    def _own(self, rng: np.random.Generator, count: int) -> Query | None:
        """A window of a source as its own fake."""
        name = str(rng.choice(list(self._windows.sources)))
        source = self._windows.sources[name]
        at = np.floor(np.arange(count + 1) * float(rng.choice(OWN_RATES)) + rng.random())
        at, length = at.astype(int), len(source.total)
        if at[-1] >= length:
            return None
        at += rng.integers(length - at[-1])
        stretch = extended(at)
        return Query(name.rsplit(".", 1)[0], source.along(at),
                     source.along(np.clip(stretch, 0, length - 1)), stretch, length, [])


def extended(at: np.ndarray) -> np.ndarray:
    """Source frames [n], led on by REACH at both ends at their mean rate."""
    rate = (at[-1] - at[0]) / (len(at) - 1)
    further = np.round(np.arange(1, REACH + 1) * rate).astype(int)
    return np.concatenate([at[0] - further[::-1], at, at[-1] + further])


def edited(rng: np.random.Generator, queries: list[Query], pairs: int, span: int) -> Batch:
    """Stack queries and edit them; see the head of this file."""
    count, length = len(queries), pairs + span - 1
    fakes, stretches, mined, is_mined = stacked(queries)
    inside, wrong = starts_of(queries)
    partner = (np.arange(count) + rng.integers(1, count)) % count
    partner = np.where(rng.random(count) < MIXED, partner, -1)
    parts = [mixed(fakes, partner), mixed(stretches, partner), mined.flatten(1, 2)]
    everything = warped(torch.cat(parts, 1), mappings(rng, count, 0.15, 0.15, 8.0, mirror=True))
    turned = torch.from_numpy(rng.random(count) < REVERSED)
    fakes, stretches, mined = everything.split([part.shape[1] for part in parts], 1)
    fakes, stretches, mined = (backwards(part, turned) for part in
                               (fakes, stretches, mined.unflatten(1, (MINED, length))))
    wrong, inside = (torch.where(turned[:, None], flags.flip(1), flags)
                     for flags in (wrong, inside))
    return Batch(*(over_span(part, span) for part in (damaged(rng, fakes), stretches, mined)),
                 wrong, inside, strangers(queries, partner), is_mined)


def stacked(queries: list[Query]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fakes [B, n, ...], stretches [B, m, ...], mined windows [B, MINED, n, ...] of queries; and
    which of the latter there are."""
    fakes = torch.from_numpy(np.stack([q.fake for q in queries])).float()
    stretches = torch.from_numpy(np.stack([q.stretch for q in queries])).float()
    mined = fakes.new_zeros(len(queries), MINED, *fakes.shape[1:])
    for row, query in zip(mined, queries, strict=True):
        for place, stack in enumerate(query.mined):
            row[place] = torch.from_numpy(stack)
    is_mined = [[place < len(q.mined) for place in range(MINED)] for q in queries]
    return fakes, stretches, mined, torch.tensor(is_mined)


def starts_of(queries: list[Query]) -> tuple[Tensor, Tensor]:
    """Of the starts in every stretch: those in the source, and the wrong ones of them."""
    starts = np.array([q.frames[:2 * REACH + 1] for q in queries])
    ends = np.array([q.frames[-2 * REACH - 1:] for q in queries])
    inside = (starts >= 0) & (ends < np.array([[q.length] for q in queries]))
    wrong = inside & (np.abs(starts - starts[:, REACH, None]) > NEAR)
    return torch.from_numpy(inside), torch.from_numpy(wrong)


def strangers(queries: list[Query], partner: np.ndarray) -> Tensor:
    """[B, B]: queries without a clip in common, what was mixed into them included."""
    groups = np.array([q.group for q in queries])
    apart = groups[:, None] != groups
    for row, other in enumerate(partner):
        if other >= 0:
            apart[row] &= apart[other]
            apart[:, row] &= apart[:, other]
    return torch.from_numpy(apart)


def mixed(stacks: Tensor, partner: np.ndarray) -> Tensor:
    """[B, m, 12, 12, 3]: the partner's motion added; -1 for none. Displacements of two movements
    at once are about their sum, so sums of right pairs are right pairs."""
    other = stacks[np.maximum(partner, 0)]
    share = torch.from_numpy(partner >= 0).float()[:, None, None, None, None]
    return torch.cat([stacks[..., :2] + share * other[..., :2] * other[..., 2:], stacks[..., 2:]],
                     -1)


def backwards(stacks: Tensor, turned: Tensor) -> Tensor:
    """Stacks [B, ..., m, 12, 12, 3] played backwards where `turned` [B] says so."""
    back = stacks.flip(-4) * stacks.new_tensor([-1, -1, 1])
    return torch.where(turned.view(-1, *[1] * (stacks.dim() - 1)), back, stacks)


def mappings(rng: np.random.Generator, count: int, shift: float, zoom: float, degrees: float,
             mirror: bool = False) -> Tensor:
    """Random affine mappings [B, 2, 3] of a square from -1 to 1, new places to old ones.

    shift (half sides), zoom (logarithm), degrees: standard deviations.
    """
    angle = np.radians(rng.normal(0, degrees, count))
    scale = np.exp(rng.normal(0, zoom, count))
    side = np.where(rng.random(count) < 0.5, -1, 1) if mirror else np.ones(count)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    rows = np.stack([[side * cosine, -sine, rng.normal(0, shift, count)],
                     [side * sine, cosine, rng.normal(0, shift, count)]])
    return torch.from_numpy(rows.transpose(2, 0, 1)).float()


def warped(stacks: Tensor, mapping: Tensor) -> Tensor:
    """Stacks [B, m, S, S, 3] after the picture was mapped: MotionGrid.warped() for batches."""
    count, pairs, side = stacks.shape[:3]
    weighted = torch.cat([stacks[..., :2] * stacks[..., 2:], stacks[..., 2:]], -1)
    places = affine_grid(mapping, [count, 1, side, side], align_corners=False)
    moved = grid_sample(weighted.permute(0, 1, 4, 2, 3).flatten(1, 2), places,
                        align_corners=False)
    moved = moved.unflatten(1, (pairs, 3)).permute(0, 1, 3, 4, 2)
    flow = moved[..., :2] / moved[..., 2:].clamp_min(1e-6)
    turn = torch.linalg.inv(mapping[:, :, :2])
    return torch.cat([torch.einsum("bmyxc,bdc->bmyxd", flow, turn), moved[..., 2:]], -1)


def damaged(rng: np.random.Generator, fakes: Tensor) -> Tensor:
    """Windows [B, m, S, S, 3] mapped a little, louder or calmer, noisy, with a hole.

    Noise and holes are made on 12 x 12 cells, whatever S is.
    """
    count, pairs, side = fakes.shape[:3]
    amount = rng.random((count, 1)) < 0.6  # the others are mapped exactly
    exact = mappings(rng, count, 0, 0, 0)
    chosen = torch.from_numpy(amount)[..., None]
    fakes = warped(fakes, torch.where(chosen, mappings(rng, count, 0.06, 0.04, 2.5), exact))
    level = np.abs(rng.normal(0, 0.12, (count, 1, 1, 1, 1)))
    coarse = torch.from_numpy(rng.normal(0, 1, (count * pairs, 2, 6, 6))).float()
    smooth = interpolate(coarse, size=(COARSE, COARSE), mode="bilinear").unflatten(0, (count, -1))
    noise = smooth.permute(0, 1, 3, 4, 2) + torch.from_numpy(
        rng.normal(0, 0.7, (count, pairs, COARSE, COARSE, 2))).float()
    noise = scaled(noise, side, "bilinear")
    gain = np.exp(rng.normal(0, 0.12, (count, 1, 1, 1, 1)))
    flow = fakes[..., :2] * torch.from_numpy(gain).float() + torch.from_numpy(level).float() * noise
    kept = scaled(torch.from_numpy(holes(rng, count)).float(), side, "nearest")
    return torch.cat([flow, fakes[..., 2:] * kept], -1)


def scaled(maps: Tensor, side: int, mode: str) -> Tensor:
    """[B, m, 12, 12, C] -> [B, m, side, side, C]."""
    if maps.shape[-2] == side:
        return maps
    flat = maps.flatten(0, 1).permute(0, 3, 1, 2)
    return interpolate(flat, size=(side, side), mode=mode).permute(0, 2, 3, 1).unflatten(
        0, maps.shape[:2])


def holes(rng: np.random.Generator, count: int, share: float = 0.4) -> np.ndarray:
    """[B, 1, 12, 12, 1]: 0 in a rectangle of some of them, as where a caption lies; else 1."""
    kept = np.ones((count, 1, COARSE, COARSE, 1))
    for index in np.flatnonzero(rng.random(count) < share):
        height, width = rng.integers(1, 5), rng.integers(2, 9)
        y, x = rng.integers(COARSE - height + 1), rng.integers(COARSE - width + 1)
        kept[index, 0, y:y + height, x:x + width] = 0
    return kept
