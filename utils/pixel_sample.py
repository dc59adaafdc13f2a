"""Single pixels of a fake's person, where it is known to the frame which ones it holds.

Encoders leave a place as it was in the frame before until it has changed enough (conditional
replenishment, Mounts 1969): there, to the last bit, the decoded pictures do not change. Scaled
pictures blur what is held and what is new into each other; pixels of the fake as it was decoded do
not. So some of them are followed, each with the frames in which it was renewed; utils/held_pair.py
compares them with a source.

What is renewed is predicted from the frame before, and coarse encoders correct that prediction in
part only: a value keeps some of its error, and lags. So values are compared by what is new in them,
as one does where noise is autocorrelated (Cochrane and Orcutt 1949).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from models.motion import SIDE, Square

PIXELS = 3000  # of the square that are followed, at random; about half of them show the person
SEEN = 0.3  # least share of its time that a pixel shows the person
KEPT, LEFT = 0.5, 0.4  # shares of the value before that are taken off a renewed one, and off what
# it should show, where less was left; chosen on coarse copies of 15 clips that are not used for
# measuring

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

    @cached_property
    def person(self) -> np.ndarray:
        """[Q] positions of the pixels that show the person."""
        return np.flatnonzero(self.weight > SEEN)

    @cached_property
    def fresh(self) -> np.ndarray:
        """[T, Q] float32, 1 where one of the person's values was renewed, as all of the frame were
        that was coded first, else 0."""
        fresh = self.renewed[:, self.person].astype(np.float32)
        fresh[self._first] = 1
        return fresh

    @cached_property
    def levels(self) -> np.ndarray:
        """[T, Q] float32, what is new in every value of a pixel that is brighter by 1 all the time;
        0 where it is not renewed."""
        return self.fresh * self._taken_off(np.ones((len(self.values), 1), np.float32), KEPT)

    @cached_property
    def level_energy(self) -> np.ndarray:
        """[Q] float32, sums of the squares of `levels`."""
        return (self.levels**2).sum(axis=0)

    @cached_property
    def news(self) -> tuple[np.ndarray, np.ndarray]:
        """What is new in the person's values [T, Q] whatever their level, 0 where they are not
        renewed, and the sums of the squares [Q]."""
        new = self._taken_off(self.values[:, self.person].astype(np.float32), KEPT)
        level = (self.levels * new).sum(axis=0) / self.level_energy
        new = self.fresh * new - self.levels * level
        return new, (new**2).sum(axis=0)

    def expected_news(self, shown: np.ndarray) -> np.ndarray:
        """[..., T, Q], what should be new in values that show those of a source, [..., T, Q]."""
        new = self._taken_off(shown, LEFT) * np.float32((1 - KEPT) / (1 - LEFT))
        new[..., self._first, :] = shown[..., self._first, :]
        return new

    @property
    def _first(self) -> int:
        """Position of the frame that was coded first."""
        return -1 if self.backwards else 0

    def _taken_off(self, values: np.ndarray, share: float) -> np.ndarray:
        """[..., T, Q] values less a share of the one coded before; the first ones as they are."""
        new = values.copy()
        if self.backwards:
            new[..., :-1, :] -= np.float32(share) * values[..., 1:, :]
        else:
            new[..., 1:, :] -= np.float32(share) * values[..., :-1, :]
        return new

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

    def thinned(self, most: int) -> "PixelSample":
        """The person's pixels alone, and only some of them where there are more."""
        kept = self.person[:most]  # they are in no order
        return replace(self, places=self.places[kept], weight=self.weight[kept],
                       values=self.values[:, kept], renewed=self.renewed[:, kept])


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
