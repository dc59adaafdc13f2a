"""Single pixels of a fake's person beside the source's, along any line of frames.

From the source's pictures it follows for any start and any rate what the pixels of a fake
(utils/pixel_sample.py) would show, whatever the encoder held. A mapping that is a little off lets a
head that moves look as if its time were off. So the mapping is fitted along with the line: its
error shows in a pixel as the slope of the picture there (Lucas and Kanade 1981). Not all pixels
show the source: each is taken for a mixture of one that does and one that does not (contaminated
data, Tukey 1960).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from models.motion import Square
from utils.pixel_sample import PixelSample

LEAST_PIXELS = 50
CONTRAST = (0.3, 1.5)  # of the copy, range
AVERAGE = 0.3  # values of average noise that are added to those of every pixel
ROUNDING = 1 / 12  # variance of values that were rounded to whole ones
INDEPENDENT = 12.0  # values of a frame, as it were: neighbours share their noise
SHOWN = 0.8  # share of the person's pixels that show the source, not a face put in or a caption;
# chosen on coarse copies of 15 clips that are not used for measuring
ENOUGH = 1.25  # pixels of the source per pixel of the fake, more of which are averaged
MARGIN = 4  # pixels of the fake around its square that are kept of the source
OFF = 1.0, 2.0  # usual error of a mapping, pixels: of its middle, and from one side to the other
STEPS = 2  # of a correction


@dataclass(frozen=True)
class Film:
    """What a source's pictures show where a fake's square lies, about as fine as the fake."""

    crops: np.ndarray  # [m, h, w] uint8, grey
    onto: np.ndarray  # [2, 3], takes units of the source's square to pixels of the crops

    def values(self, places: np.ndarray, moved: tuple[float, float] = (0, 0)) -> np.ndarray:
        """[Q, 2] (x, y) in units of the source's square, moved by pixels -> [m, Q] float32."""
        at = places @ self.onto[:, :2].T + self.onto[:, 2] + moved
        where = (at - 0.5).astype(np.float32)[None]  # (x, y) counted between pixel centres
        return np.stack([cv2.remap(crop, where, None, cv2.INTER_LINEAR,
                                   borderMode=cv2.BORDER_REPLICATE)[0]
                         for crop in self.crops]).astype(np.float32)


class FilmCutter:
    """Cuts pictures of a source, all of one size, where a fake lies on them."""

    def __init__(self, sample: PixelSample, mapping: np.ndarray, square: Square,
                 shape: tuple[int, int]):
        """mapping: [2, 3], of the fake's square to the source's, in units of their sides; square:
        the source's, pixels; shape: height and width of the pictures."""
        self.shape = shape
        *corner, side = square
        ends = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) @ mapping[:, :2].T
        ends = (ends + mapping[:, 2]) * side + corner
        scale = np.sqrt(abs(np.linalg.det(mapping[:, :2]))) * side * sample.coarseness
        margin, end = MARGIN * max(scale, 1.0), np.array(shape[::-1])
        low = np.clip(np.floor(ends.min(axis=0) - margin), 0, end - 1).astype(int)
        high = np.clip(np.ceil(ends.max(axis=0) + margin), low + 1, end).astype(int)
        size = high - low
        fine = size if scale <= ENOUGH else np.maximum(1, np.rint(size / scale)).astype(int)
        self._part = slice(low[1], high[1]), slice(low[0], high[0])
        self._size = None if scale <= ENOUGH else tuple(fine.tolist())  # width and height
        zoom = fine / size
        self._onto = np.column_stack([np.diag(side * zoom), (corner - low) * zoom])

    def cut(self, grey: np.ndarray) -> np.ndarray:
        """[H, W] uint8, a picture -> [h, w] uint8."""
        part = grey[self._part]
        return cv2.resize(part, self._size, interpolation=cv2.INTER_AREA) if self._size else part

    def film(self, crops: list[np.ndarray]) -> Film:
        """What was cut."""
        return Film(np.stack(crops), self._onto)


@dataclass(frozen=True)
class HeldPair:
    """Pixels of a fake, and the frames around its place in a source."""

    fake: PixelSample
    film: Film
    mapping: np.ndarray  # [2, 3], of the fake's square to the source's, in units of their sides
    first: int  # frame of the source, as its scores count them, that the film begins with

    @property
    def tells(self) -> bool:
        """Whether enough of a person is seen."""
        return len(self.fake.person) >= LEAST_PIXELS

    def _read(self, *moved: float) -> np.ndarray:
        """[m, Q] float32, the source's values where the fake's pixels lie, or beside that."""
        places = self.fake.places[self.fake.person] @ self.mapping[:, :2].T + self.mapping[:, 2]
        return self.film.values(places, moved or (0, 0))

    @cached_property
    def _counts(self) -> np.ndarray:
        """[Q], how often a pixel was renewed."""
        return self.fake.fresh.sum(axis=0)

    @cached_property
    def _source(self) -> np.ndarray:
        """[m, Q] float32, the source's values without their means."""
        values = self._read()
        return values - values.mean(axis=0)

    @cached_property
    def _slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """[m, Q] float32, twice: how they change per pixel to the right, and down."""
        return ((self._read(1, 0) - self._read(-1, 0)) / 2,
                (self._read(0, 1) - self._read(0, -1)) / 2)

    def _at(self, line: np.ndarray) -> np.ndarray:
        """[n] positions in the film of frames of the source; the ends' for those beyond."""
        return np.clip(line - self.first, 0, len(self._source) - 1)

    def _products(self, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the news of the fake's values have in common with those of values [a, n, Q] that it
        should show, [a, Q], and these with each other, [a, a, Q]; whatever their levels."""
        new = self.fake.expected_news(shown)
        levels = np.einsum("np,anp->ap", self.fake.levels, new)
        own = np.einsum("anp,bnp->abp", self.fake.fresh * new, new)
        own -= levels[:, None] * levels / self.fake.level_energy
        return np.einsum("np,anp->ap", self.fake.news[0], new), own

    def misfits(self, lines: np.ndarray) -> np.ndarray:
        """How little the fake's pixels are what it would show along each of several lines, [L].

        lines: [L, n] frames of the source. Twice negative log likelihoods: one contrast, a noise of
        unknown strength for every pixel.
        """
        return np.array([self._misfit(self._left(line)) for line in lines])

    def _left(self, line: np.ndarray) -> np.ndarray:
        """[Q], what is left of the pixels' energies along a line [n] of frames of the source."""
        (common,), ((own,),) = self._products(self._source[None, self._at(line)])
        return _rest(self.fake.news[1], common, own)[1]

    @cached_property
    def _alone(self) -> np.ndarray:
        """[Q], twice negative log likelihoods of the pixels if none shows the source."""
        return _unlikely(self.fake.news[1], self._counts)

    def _shown(self, rest: np.ndarray) -> np.ndarray:
        """[Q], log likelihood ratios of pixels of which `rest` is left, to none of a source."""
        return (self._alone - _unlikely(rest, self._counts)) / 2

    def _misfit(self, rest: np.ndarray) -> float:
        """Twice a negative log likelihood, of what is left of the energies [Q] of pixels, each of
        which shows the source or something else."""
        unlikely = self._alone - 2 * np.logaddexp(np.log(1 - SHOWN),
                                                  np.log(SHOWN) + self._shown(rest))
        return INDEPENDENT * float(unlikely.mean())

    def explained(self, line: np.ndarray) -> float | None:
        """Share of what is new in the fake's pixels that the source's explain along a line.

        line: [n] frames of the source. Below 0 where they would do better without; a mean over
        pixels in logarithms. None where too little of a person is seen.
        """
        if not self.tells:
            return None
        gain = 2 * self._shown(self._left(line)).mean()
        return 1 - float(np.exp(-gain / (self._counts + AVERAGE).mean()))

    def fitted(self, line: np.ndarray) -> tuple[float, np.ndarray]:
        """The misfit along a line if the mapping may be a little off, and by how much it is.

        line: [n] frames of the source. By how much: [2, 3] pixels of the film in x and y, at the
        middle of the fake's square, and per side of it to the right and down.
        """
        at, energy = self._at(line), self.fake.news[1]
        common, own = self._products(np.stack([part[at] for part in (self._source, *self._slopes)]))
        contrast, rest = _rest(energy, common[0], own[0, 0])
        precision = (self._counts + AVERAGE) / (rest + AVERAGE * _noise(rest, self._counts))
        x, y = (self.fake.places[self.fake.person] - 0.5).T.astype(np.float32)
        basis = np.stack([np.ones_like(x), x, y])
        # unknowns: contrast, and contrast times the error of the mapping in x (3) and y (3)
        terms = np.concatenate([np.ones((1, len(x)), np.float32), basis, basis])
        which = np.array([0, 1, 1, 1, 2, 2, 2])
        matrix = np.einsum("ip,jp,ijp->ij", terms * precision, terms, own[np.ix_(which, which)])
        target = np.einsum("ip,ip->i", terms * precision, common[which])
        price = np.array([OFF[0], OFF[1], OFF[1]] * 2)**-2.0 / contrast**2 / INDEPENDENT
        matrix[1:, 1:] += np.diag(price) * len(x)
        matrix += 1e-6 * np.eye(7)
        found = np.linalg.solve(matrix, target)
        if found[0] != (bounded := np.clip(found[0], *CONTRAST)):
            rest_of_it = np.linalg.solve(matrix[1:, 1:], target[1:] - matrix[1:, 0] * bounded)
            found = np.append(bounded, rest_of_it)
        parts = np.stack([np.full_like(x, found[0]), found[1:4] @ basis, found[4:] @ basis])
        rest = (energy - 2 * (parts * common).sum(axis=0)
                + np.einsum("ap,bp,abp->p", parts, parts, own))
        misfit = self._misfit(np.maximum(rest, 0))
        misfit += INDEPENDENT * float((price * found[1:]**2).sum())
        return misfit, found[1:].reshape(2, 3) / found[0]

    def corrected(self, line: np.ndarray) -> "HeldPair":
        """The pair with the mapping that fits best along a line [n]."""
        if not self.tells:
            return self
        pair, misfit = self, self.misfits(line[None])[0]
        for _ in range(STEPS):
            off = np.linalg.solve(pair.film.onto[:, :2], pair.fitted(line)[1])
            off[:, 0] -= off[:, 1:].sum(axis=1) / 2  # at the corner of the square
            other = replace(pair, mapping=pair.mapping + off[:, [1, 2, 0]])
            before, misfit = misfit, other.misfits(line[None])[0]
            if misfit >= before:
                break
            pair = other
        return pair

    def thinned(self, most: int) -> "HeldPair":
        """The pair with so many pixels of the person at most."""
        return replace(self, fake=self.fake.thinned(most))


def _unlikely(rest: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Twice negative log likelihoods [Q], of what is left of the energies [Q] of pixels; counts:
    [Q], their values."""
    return (counts + AVERAGE) * np.log(
        (rest + AVERAGE * _noise(rest, counts)) / (counts + AVERAGE))


def _noise(rest: np.ndarray, counts: np.ndarray) -> float:
    """Mean square of a value that is left; what rounding does at least."""
    return float(rest.sum() / counts.sum()) + ROUNDING


def _rest(energy: np.ndarray, common: np.ndarray, own: np.ndarray) -> tuple[float, np.ndarray]:
    """One contrast for all, and what it leaves of pixels' energies [Q]; common, own: [Q], what they
    have in common with others, and the energies of those."""
    contrast = float(np.clip(common.sum() / max(float(own.sum()), 1e-6), *CONTRAST))
    return contrast, np.maximum(energy - 2 * contrast * common + contrast**2 * own, 0)
