"""Which pixels of a coarse copy were coded anew, and what would it show if it began elsewhere?

Encoders leave a place as it was in the frame before until it has changed enough (conditional
replenishment, Mounts 1969): there, to the last bit, the decoded pictures do not change. So the fake
itself tells which of its pixels show their own frame of the source and which an earlier one. With
that, the pictures that it would show are made from the source's for any start, whatever the encoder
was, and compared with those that it does show.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from models.motion import Square, cut_square
from models.pose import SIDE, hold
from utils.matching import Alignment, even_offsets, middle_phase
from utils.picture_path import CONTRAST, LEAST_PIXELS, PicturePair
from utils.threads import THREADS, on_threads

REACH = 8  # frames by which the start of a place may be wrong
CLEARLY = 10.0  # by how much a place elsewhere must fit better; other moments of the same scene
# seldom do that, by chance, if the true one is not there


def renewed_shares(picture: Callable[[int], np.ndarray], frames: Sequence[int],
                   square: Square) -> np.ndarray:
    """How much of every pixel of a square differs from the frame before, [n, SIDE, SIDE] uint8.

    picture: frame number -> [H, W, 3] uint8 BGR; frames: of the fake, in order. 255 is all of it,
    as in the whole of the first frame.
    """
    def shares(positions: np.ndarray) -> list[np.ndarray]:
        found, before = [], picture(frames[positions[0] - 1])
        for position in positions:
            now = picture(frames[position])
            changed = (cv2.absdiff(now, before).max(axis=2) > 0 if now.shape == before.shape
                       else np.full(now.shape[:2], True))
            found.append(cut_square(np.where(changed, 255, 0).astype(np.uint8), square, SIDE))
            before = now
        return found

    parts = [part for part in np.array_split(np.arange(1, len(frames)), THREADS) if len(part)]
    return np.stack([np.full((SIDE, SIDE), 255, np.uint8),
                     *(share for run in on_threads(shares, parts) for share in run)])


def misfits(pair: PicturePair, lines: np.ndarray) -> np.ndarray:
    """How little the fake's pictures are what it would show along each of several lines, [L].

    lines: [L, n] frames of the source, rising. Twice negative log likelihoods of n independent
    values in noise of unknown strength.
    """
    fake, source = pair.values
    fake = fake - fake.mean(0)
    energy, found = float((fake**2).sum()), []
    for line in lines:
        shown = source[pair.nearest(line)]
        if pair.renewed is not None:
            shown = hold(shown, pair.renewed, pair.fake.backwards)
        shown = shown - shown.mean(0)
        common, own = float((fake * shown).sum()), max(float((shown**2).sum()), 1e-6)
        contrast = float(np.clip(common / own, *CONTRAST))
        rest = energy - 2 * contrast * common + contrast**2 * own
        found.append(len(line) * np.log(max(rest, 1e-6) / fake.size))
    return np.array(found)


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
        starts = np.arange(len(pair.source) - int(line[-1]))
        if len(starts):
            found = misfits(pair, line + starts[:, None])
            if found.min() < least:
                start, least = int(found.argmin()), found.min()
                best = Alignment(near.score, start + line, rate, middle_phase(rate))
    return best
