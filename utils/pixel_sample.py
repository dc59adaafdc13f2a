"""Single pixels of a fake's person, where it is known to the frame which ones it holds.

Encoders leave a place as it was in the frame before until it has changed enough (conditional
replenishment, Mounts 1969): there, to the last bit, the decoded pictures do not change. Scaled
pictures blur what is held and what is new into each other; pixels of the fake as it was decoded do
not. So some of them are followed, each with the frames in which it was renewed. From the source's
pictures they tell for any start and any rate what the fake would show, whatever the encoder was.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from models.motion import SIDE, Square

PIXELS = 3000  # of the square that are followed, at random; about half of them show the person
SEEN = 0.3  # least share of its time that a pixel shows the person
LEAST_PIXELS = 50
CONTRAST = (0.3, 1.5)  # of the copy, range
OLD = 0.15  # what a held value counts beside a new one: encoders renew a place in part only
AVERAGE = 0.3  # values of average noise that are added to those of every pixel
ENOUGH = 1.25  # pixels of the source per pixel of the fake, more of which are averaged

_PLACES = np.random.default_rng(0).choice(SIDE * SIDE, PIXELS, replace=False)
_ROWS, _COLUMNS = np.divmod(_PLACES, SIDE)


@dataclass(frozen=True)
class PixelSample:
    """Some pixels of a person square over time."""

    places: np.ndarray  # [P, 2] float, (x, y) in units of the square's side
    coarseness: float  # side of the pixels, in the same unit
    weight: np.ndarray  # [P] float32 in [0, 1], share of the time that a pixel shows the person
    values: np.ndarray  # [T, P] uint8, grey
    renewed: np.ndarray  # [T, P] bool, whether it differs from the frame before
    backwards: bool = False  # the frames are in the reverse of the order in which they were coded

    def mirrored(self) -> "PixelSample":
        """The same pixels seen in a mirror."""
        return replace(self, places=self.places * (-1, 1) + (1, 0))

    def reversed(self) -> "PixelSample":
        """The same pixels played backwards."""
        return replace(self, values=self.values[::-1], renewed=self.renewed[::-1],
                       backwards=not self.backwards)

    def part(self, first: int, last: int) -> "PixelSample":
        """The frames first to last, inclusive."""
        return replace(self, values=self.values[first:last + 1],
                       renewed=self.renewed[first:last + 1])


def sampled_values(crop: np.ndarray) -> np.ndarray:
    """[SIDE, SIDE, 3] uint8 BGR, a person square -> [P] uint8."""
    return cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)[_ROWS, _COLUMNS]


def sampled_weight(masks: np.ndarray) -> np.ndarray:
    """[T, SIDE, SIDE] float32, masks of a person square -> [P], their mean."""
    return masks[:, _ROWS, _COLUMNS].mean(axis=0)


def sampled_renewed(changed: np.ndarray, square: Square) -> np.ndarray:
    """[H, W] uint8, not 0 where a picture differs from the one before -> [P] bool."""
    x, y, side = square
    columns = np.clip(np.rint(x + (_COLUMNS + 0.5) * side / SIDE - 0.5), 0, changed.shape[1] - 1)
    rows = np.clip(np.rint(y + (_ROWS + 0.5) * side / SIDE - 0.5), 0, changed.shape[0] - 1)
    return changed[rows.astype(int), columns.astype(int)] > 0


def sample_of(square: Square, weight: np.ndarray, values: np.ndarray,
              renewed: np.ndarray) -> PixelSample:
    """The sample of a square, from what the functions above say of its frames."""
    places = (np.column_stack([_COLUMNS, _ROWS]) + 0.5) / SIDE
    return PixelSample(places, max(1 / SIDE, 1 / square[2]), weight, values, renewed)


def source_sampler(sample: PixelSample, mapping: np.ndarray,
                   square: Square) -> Callable[[np.ndarray], np.ndarray]:
    """Reads what a picture of the source shows where the pixels of a fake lie on it.

    mapping: [2, 3], of the fake's square to the source's, in units of their sides; square: the
    source's, in pixels. Returns [H, W] uint8 grey -> [P] uint8.
    """
    left, top, side = square
    on_it = (sample.places @ mapping[:, :2].T + mapping[:, 2]) * side + (left, top)
    scale = np.sqrt(abs(np.linalg.det(mapping[:, :2]))) * side * sample.coarseness
    shrink = 1 / scale if scale > ENOUGH else 1.0

    def read(grey: np.ndarray) -> np.ndarray:
        at = on_it
        if shrink < 1:  # remap does not average
            size = [max(1, round(length * shrink)) for length in grey.shape[::-1]]
            at = on_it * (size[0] / grey.shape[1], size[1] / grey.shape[0])
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        where = (at - 0.5).astype(np.float32)[None]  # (x, y) counted between pixel centres
        return cv2.remap(grey, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]

    return read


@dataclass(frozen=True)
class HeldPair:
    """Pixels of a fake, and of the frames around its place in a source where they lie on it."""

    fake: PixelSample
    source: np.ndarray  # [m, P] uint8, as source_sampler() reads them
    first: int  # frame of the source, as its scores count them, that source[0] is

    @cached_property
    def _person(self) -> np.ndarray:
        """[Q] positions of the pixels that show the person."""
        return np.flatnonzero(self.fake.weight > SEEN)

    @property
    def tells(self) -> bool:
        """Whether enough of a person is seen."""
        return len(self._person) >= LEAST_PIXELS

    @cached_property
    def _shown(self) -> np.ndarray:
        """[n, Q] frame of the fake that each value is of, the last one in which it was renewed; the
        first frame in time shows nothing but its own."""
        turned = slice(None, None, -1 if self.fake.backwards else 1)
        renewed = self.fake.renewed[turned][:, self._person]
        frames = np.arange(len(renewed))
        shown = np.maximum.accumulate(np.where(renewed, frames[:, None], 0), axis=0)
        return (frames[turned][shown])[turned]

    @cached_property
    def _weights(self) -> np.ndarray:
        """[n, Q] float32, what each value counts."""
        new = self._shown == np.arange(len(self._shown))[:, None]
        return np.where(new, np.float32(1), np.float32(OLD))

    @cached_property
    def _source(self) -> np.ndarray:
        """[m, Q] float32, the source's values."""
        return self.source[:, self._person].astype(np.float32)

    @cached_property
    def _fake(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The fake's values [n, Q] without their means over time, times their weights, the sums of
        their squares [Q], and of the weights [Q]."""
        values = self.fake.values[:, self._person].astype(np.float32)
        counts = self._weights.sum(axis=0)
        values -= (self._weights * values).sum(axis=0) / counts
        weighted = self._weights * values
        return weighted, (weighted * values).sum(axis=0), counts

    def misfits(self, lines: np.ndarray) -> np.ndarray:
        """How little the fake's pixels are what it would show along each of several lines, [L].

        lines: [L, n] frames of the source. Twice negative log likelihoods of n independent values:
        one contrast, a noise of unknown strength for every pixel.
        """
        weighted, energy, counts = self._fake
        across = np.arange(weighted.shape[1])
        found = []
        for line in lines:
            at = np.clip(line - self.first, 0, len(self.source) - 1)
            shown = self._source[at[self._shown], across]
            common = np.einsum("np,np->p", weighted, shown)
            sums = self._weights * shown
            own = np.einsum("np,np->p", sums, shown) - sums.sum(axis=0)**2 / counts
            contrast = np.clip(common.sum() / max(float(own.sum()), 1e-6), *CONTRAST)
            rest = np.maximum(energy - 2 * contrast * common + contrast**2 * own, 0)
            noise = rest.sum() / counts.sum() + 1e-6
            found.append(((counts + AVERAGE) * np.log((rest + AVERAGE * noise)
                                                      / (counts + AVERAGE))).mean())
        return np.array(found)
