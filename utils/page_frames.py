"""The frames of a fake and of its source that its page shows."""

from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np

from utils import heatmap
from utils.evidence_pictures import fitted
from utils.layout import evenly_spaced
from utils.side_by_side import (Fit, Roots, Stretch, compared, fake_id, fit_pictures, guesses,
                                laid, read_fake, read_source)
from utils.threads import on_threads
from utils.video import VideoError

FIT_EVERY = 2  # of the moments that are shown is enough to lay pictures on each other
EMPTY = 40  # grey level beside a frame that was fitted into another format


@dataclass(frozen=True)
class Loaded:
    """Frames of one stretch, by position in the stretch, scaled down."""

    shown: list[int]  # positions that are shown; their neighbours are loaded, too
    fakes: dict[int, np.ndarray]
    sources: dict[int, np.ndarray]  # of the same moments; empty where there is no source
    source_scale: float  # of these, to the source's own frames
    flip: bool
    fit: Fit | None  # None where there is no source
    note: str | None  # why source frames are missing
    path: list[np.ndarray] = field(default_factory=list)  # Stretch.path_of() the positions with a
    # source, in order

    @property
    def compares(self) -> bool:
        """Whether the pictures lie on each other and can be compared pixel by pixel."""
        return self.fit is not None and self.fit.look is not None

    def difference(self) -> tuple[np.ndarray, np.ndarray]:
        """heatmap.excess() [T, bands, h, w] of the positions that have a source, in order, and
        where the two were compared, [T, h, w] bool."""
        positions = sorted(self.sources)
        pair = compared(self.fit.mapping, [self.fakes[p] for p in positions],
                        [self.sources[p] for p in positions], self.path)
        return heatmap.excess(*pair, self.fit.look), pair[-1]

    def seen(self, position: int, size: tuple[int, int]) -> np.ndarray:
        """The source frame at a position as the fake shows it, [H, W, 3]; size: width, height.

        Where the pictures could not be laid on each other it is the whole frame, fitted in.
        """
        source = self.sources[position]
        if self.compares:
            return laid(self.fit.mapping, source, self.fakes[position].shape[1::-1], size)[0]
        canvas = np.full((size[1], size[0], 3), EMPTY, np.uint8)
        scale = min(size[0] / source.shape[1], size[1] / source.shape[0])
        width, height = (max(1, int(side * scale)) for side in source.shape[1::-1])
        small = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        canvas[top:top + height, left:left + width] = small[:, ::-1] if self.flip else small
        return canvas


def fake_scale(image: np.ndarray, record: dict) -> float:
    """Scale of a fake's frame that was scaled down."""
    return max(image.shape) / max(record["width"], record["height"])


def load(stretch: Stretch, result: dict, roots: Roots, moments: int) -> Loaded:
    """Frames around some moments of a stretch.

    Raises InputError when the fake's own frames are missing.
    """
    count = len(stretch.fake_frames)
    shown = evenly_spaced(count, moments)
    positions = sorted({p for m in shown for p in (m - 1, m, m + 1) if 0 <= p < count})
    read = partial(read_fake, roots, fake_id(result), path=stretch.path)
    fakes = dict(zip(positions, on_threads(read, [stretch.fake_frames[p] for p in positions])))
    alone = Loaded(shown, fakes, {}, 1.0, stretch.flip, None, None)
    if not stretch.source_frames:
        return alone
    try:
        found, scale = read_source(roots, stretch.row["source"],
                                   {stretch.source_frames[p] for p in positions})
    except VideoError as error:
        return replace(alone, note=str(error))
    sources = {p: found[stretch.source_frames[p]] for p in positions
               if stretch.source_frames[p] in found}
    both = [m for m in shown if m in sources]
    if not both:
        return replace(alone, note="its frames cannot be decoded")
    own_scale = fake_scale(fakes[both[0]], result["made_with"]["record"])

    def path_of(positions: list[int]) -> list[np.ndarray]:
        return stretch.path_of([stretch.fake_frames[p] for p in positions], own_scale)
    used = both[::FIT_EVERY]
    fit = fit_pictures([fakes[m] for m in used], [sources[m] for m in used], stretch.flip,
                       guesses(roots, result, stretch), (own_scale, scale), path_of(used))
    return Loaded(shown, fakes, sources, scale, stretch.flip, fit, None, path_of(list(sources)))


def thumbnail_pair(loaded: Loaded, side: int) -> np.ndarray:
    """Fake and source of the first moment side by side; side: of each, longer one, pixels."""
    first = loaded.shown[0]
    small = fitted(loaded.fakes[first], side)
    if first not in loaded.sources:
        return small
    return np.hstack([small, loaded.seen(first, small.shape[1::-1])])
