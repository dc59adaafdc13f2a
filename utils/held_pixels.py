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
from models.pose import SIDE, map_squares
from utils.picture_path import CONTRAST, PicturePair
from utils.threads import THREADS, on_threads


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
            changed = cv2.absdiff(now, before).max(axis=2) > 0
            found.append(cut_square(np.where(changed, 255, 0).astype(np.uint8), square, SIDE))
            before = now
        return found

    parts = [part for part in np.array_split(np.arange(1, len(frames)), THREADS) if len(part)]
    return np.stack([np.full((SIDE, SIDE), 255, np.uint8),
                     *(share for run in on_threads(shares, parts) for share in run)])


def laid_over_source(shares: np.ndarray, mirrored: bool, mapping: np.ndarray,
                     cells: int) -> np.ndarray:
    """renewed_shares() of a fake's square in its source's, [n, cells, cells] float32 in [0, 1].

    mapping: [2, 3], as PoseClip.mapped() takes it, of the mirrored square if `mirrored`.
    """
    turned = shares[:, :, ::-1] if mirrored else shares
    return map_squares(turned, mapping, cells) / np.float32(255)


def misfits(pair: PicturePair, lines: np.ndarray, renewed: np.ndarray,
            backwards: bool = False) -> np.ndarray:
    """How little the fake's pictures are what it would show along each of several lines, [L].

    lines: [L, n] frames of the source, rising; renewed: [n, S, S], of pair's pixels, forwards in
    the fake's time; backwards: the fake shows the lines from their ends. Twice negative log
    likelihoods of n independent values in noise of unknown strength.
    """
    share = np.tile(renewed[:, pair.person], 3)  # of all kinds of details
    turned = slice(None, None, -1 if backwards else 1)
    fake, source = pair.values
    fake = (fake - fake.mean(0))[turned]
    energy, found = float((fake**2).sum()), []
    for line in lines:
        shown = source[pair.nearest(line[turned])]
        for before, now, part in zip(shown, shown[1:], share[1:]):
            now[:] = before + part * (now - before)
        shown -= shown.mean(0)
        common, own = float((fake * shown).sum()), max(float((shown**2).sum()), 1e-6)
        contrast = float(np.clip(common / own, *CONTRAST))
        rest = energy - 2 * contrast * common + contrast**2 * own
        found.append(len(line) * np.log(max(rest, 1e-6) / fake.size))
    return np.array(found)
