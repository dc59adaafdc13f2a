"""Which pixels of a coarse copy were coded anew, and what would it show if it began elsewhere?

Encoders leave a place as it was in the frame before until it has changed enough (conditional
replenishment, Mounts 1969): there, to the last bit, the decoded pictures do not change. So the fake
itself tells which of its pixels show their own frame of the source and which an earlier one. With
that, the pictures that it would show are made from the source's for any start, whatever the encoder
was, and compared with those that it does show.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from models.motion import Square, cut_square
from models.pose import SIDE, hold
from utils.matching import Alignment, even_offsets, middle_phase
from utils.picture_path import CONTRAST, LEAST_PIXELS, PicturePair

REACH = 8  # frames by which the start of a place may be wrong
CLEARLY = 10.0  # by how much a place elsewhere must fit better; other moments of the same scene
# seldom do that, by chance, if the true one is not there
TRIED, FEWEST = 30_000, 20  # starts times frames that are compared with all that is held, per rate;
# and starts at least
EVERY = 8  # value by which these starts are chosen


def renewed_share(picture: np.ndarray, before: np.ndarray | None, square: Square) -> np.ndarray:
    """How much of every pixel of a square differs from the frame before, [SIDE, SIDE] uint8.

    picture, before: [H, W, 3] uint8 BGR. 255 is all of it, as where there is none before.
    """
    if before is None or picture.shape != before.shape:
        return np.full((SIDE, SIDE), 255, np.uint8)
    held = cv2.inRange(cv2.absdiff(picture, before), (0, 0, 0), (0, 0, 0))
    return cut_square(cv2.bitwise_not(held), square, SIDE)


def misfits(pair: PicturePair, lines: np.ndarray) -> np.ndarray:
    """How little the fake's pictures are what it would show along each of several lines, [L].

    lines: [L, n] frames of the source, rising. Twice negative log likelihoods of n independent
    values in noise of unknown strength.
    """
    fake, source = pair.values
    fake = fake - fake.mean(0)
    energies = []
    for line in lines:
        shown = source[pair.nearest(line)]
        if pair.renewed is not None:
            shown = hold(shown, pair.renewed, pair.fake.backwards)
        shown = shown - shown.mean(0)
        energies.append(((fake * shown).sum(), (shown**2).sum()))
    common, own = np.array(energies, float).T
    return len(fake) * np.log(_rest(float((fake**2).sum()), common, own) / fake.size)


def _rest(energy: float, common: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What is left of the energy of a fake without what it has in `common` with pictures, whose
    energy is `own`, at the contrast that leaves least."""
    contrast = np.clip(common / np.maximum(own, 1e-6), *CONTRAST)
    return np.maximum(energy - 2 * contrast * common + contrast**2 * own, 1e-6)


def likely_starts(pair: PicturePair, line: np.ndarray) -> np.ndarray:
    """Starts of a line in a source, [L], at most TRIED / n: those at which the pictures themselves,
    nothing held, are most alike.

    line: [n] frames of the source from its start on.
    """
    starts = np.arange(len(pair.source) - int(line[-1]))
    most = max(FEWEST, TRIED // len(line))
    if len(starts) <= most:
        return starts
    fake, source = (values[:, ::EVERY] for values in pair.values)
    fake = fake - fake.mean(0)
    products, energies = fake @ source.T, (source**2).sum(1)
    common, own, sums = np.zeros(len(starts)), np.zeros(len(starts)), np.zeros(source.shape[1])
    for product, offset in zip(products, line):
        here = slice(offset, offset + len(starts))
        common += product[here]
        own += energies[here]
        sums = sums + source[here]
    own -= (sums**2).sum(1) / len(line)
    return np.argsort(_rest(float((fake**2).sum()), common, own), kind="stable")[:most]


def found_by_pictures(near: Alignment, pair: PicturePair, rates: Sequence[float]) -> Alignment:
    """The straight line at one of some rates, anywhere in a source, that the pictures of a copy
    speak for; the alignment itself where none is clearly better than what is near it.

    pair: has the whole source; rates: source frames per fake frame.
    """
    if pair.person.sum() < LEAST_PIXELS:
        return near
    moves = np.arange(-REACH, REACH + 1)[:, None]
    here = misfits(pair, near.at + moves).min()
    best, least = near, here - CLEARLY
    for rate in rates:
        line = even_offsets(len(near.at), rate)
        starts = likely_starts(pair, line)
        if len(starts):
            found = misfits(pair, line + starts[:, None])
            if found.min() < least:
                start, least = starts[found.argmin()], found.min()
                best = Alignment(near.score, start + line, rate, middle_phase(rate))
    return best
