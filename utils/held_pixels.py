"""Which pixels does a coarse copy hold, and what would it show if it began elsewhere?

What an encoder skips stays as it was, to the last bit (utils/pixel_sample.py). Whether a copy is
coarse its textured blocks tell: where nothing was coded, they do not change at all. What such a
copy would show of any stretch of its source is made of small pictures, held where it holds its own,
and compared with those that it does show.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from models.pose import hold
from utils.held_pair import CONTRAST
from utils.matching import Alignment, even_offsets, middle_phase
from utils.picture_path import LEAST_PIXELS, PicturePair
from utils.pixel_sample import PixelSample
from utils.straight_line import REACH
from utils.threads import on_threads

CLEARLY = 10.0  # by how much a place elsewhere must fit better; other moments of the same scene
# seldom do that, by chance, if the true one is not there
TRIED, FEWEST = 30_000, 20  # starts times frames that are compared with all that is held, per rate;
# and starts at least
EVERY = 8  # value by which these starts are chosen
BLOCK = 8  # pixels of a block that an encoder may skip
TEXTURE = 4.0  # grey levels, standard deviation in a block: a flat one tells nothing
PERSON = 200  # mean mask of a block on the person
PAIRS = 8  # of successive frames that are compared
LEAST_BLOCKS = 4
COARSE = 0.25  # share of unchanged blocks from which on a fake may show the past
VERY_COARSE = 0.6  # and from which on what it showed late may look like a change of place; set by
# hand
STILL = 0.25  # of the share of pixels that usually changes: frames below it hold the one before
HELD, HELD_COARSE = 10, 20  # frames at an end that hold one picture, from which on it was put there;
# in a coarse copy, which holds that of a still head by itself


def changed_pixels(picture: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Where a picture differs from the one before, [H, W] uint8: 255, else 0.

    picture, before: [H, W, 3] uint8 BGR. All of it does where there is none before.
    """
    if before is None or picture.shape != before.shape:
        return np.full(picture.shape[:2], 255, np.uint8)
    return cv2.bitwise_not(cv2.inRange(cv2.absdiff(picture, before), (0, 0, 0), (0, 0, 0)))


def moving_part(sample: PixelSample, least: int) -> tuple[int, int]:
    """First and last position of the frames of a fake between pictures that are held at its ends,
    for `least` frames or more.

    The last frame of one held at the beginning, and the first of one held at the end, are among
    them. All of the fake where its own frames stand still as long, or no person is seen.
    """
    everything = 0, len(sample.values) - 1
    if not len(sample.person):
        return everything
    changed = sample.renewed[1:, sample.person].mean(axis=1)
    moves = np.flatnonzero(changed > STILL * np.quantile(changed, 0.75))
    if not len(moves):
        return everything
    longest = int(np.diff(moves).max(initial=1)) - 1
    least = max(least, 2 * longest + 1)
    first, last = int(moves[0]), int(moves[-1]) + 1
    return (first if first >= least else 0,
            last if everything[1] - last >= least else everything[1])


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


def unchanged_share(picture: Callable[[int], np.ndarray], mask: Callable[[int], np.ndarray],
                    frames: Sequence[int]) -> float:
    """Share of the person's textured blocks that do not change at all from one frame to the next.

    picture, mask: frame number -> [H, W, 3] uint8 BGR, and [H, W] uint8; frames: of the fake, in
    order. 0 where there is too little to see.
    """
    def share(first: int) -> float | None:
        one, other = picture(frames[first]), picture(frames[first + 1])
        if one.shape != other.shape:
            return None
        still = _blocks(cv2.absdiff(one, other).max(axis=2)).max(axis=(1, 3)) == 0
        grey = _blocks(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY))
        person = _blocks(mask(frames[first])).mean(axis=(1, 3)) > PERSON
        seen = person & (grey.std(axis=(1, 3)) > TEXTURE)
        return float(still[seen].mean()) if seen.sum() >= LEAST_BLOCKS else None

    pairs = len(frames) - 1
    shares = [found for found in on_threads(share, range(0, pairs, max(1, pairs // PAIRS)))
              if found is not None]
    return float(np.mean(shares)) if shares else 0.0


def _blocks(picture: np.ndarray) -> np.ndarray:
    """[H, W] -> [H / BLOCK, BLOCK, W / BLOCK, BLOCK], what is left over cut off."""
    down, across = (side // BLOCK for side in picture.shape)
    return picture[:down * BLOCK, :across * BLOCK].reshape(down, BLOCK, across, BLOCK)
