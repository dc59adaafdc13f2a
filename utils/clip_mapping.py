"""One mapping between the pictures of a fake and of its source, over frames matched in time.

Step 4 maps one frame to one frame that need not be the same moment. Here the moments are known,
and how the picture was cut, scaled and turned is the same in all of them: local features of
several moments are pooled into one affine map (which a fake of another aspect ratio needs). A close
crop of a replaced face has none to speak of, but is still a part of the source's picture: it is
looked for there at several sizes (normalised cross-correlation, Lewis 1995, of gradients). The best
of all guesses is polished by maximising the enhanced correlation coefficient (Evangelidis and
Psarakis 2008).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.motion import Square
from utils.geometry import square_onto
from utils.registration import MIN_INLIERS, Keypoints, find_keypoints, register
from utils.threads import on_threads

WORK_SIDE = 640  # pixels; larger frames are scaled down to it
SEARCH_SIDE = 256  # pixels of the longer side at which mappings are compared and polished
FEATURE_MOMENTS = 4  # moments whose local features are pooled
POLISH_MOMENTS = 3
BLOCK = 16  # pixels of SEARCH_SIDE pictures in which the agreement is taken together
POOLED_PX = 3.0  # RANSAC tolerance of the pooled fit
AFFINE_INLIERS = 20  # pooled matches from which on an affine map is trusted
MIN_COVER = 0.05  # share of the fake's picture that a mapping must cover
MAX_STRETCH = 1.85  # largest ratio of the axes' scales of a plausible mapping: 16:9 that is made
# square has 1.78
GOOD = 0.6  # agreement of a guess beside which no local features are needed
CROP_SIDE = 128  # pixels of the longer side of the source's pictures in which a crop is looked for
CROP_SIZES = np.geomspace(1.0, 0.25, 15)  # of the largest one that fits
CROP_PROMISES = 0.25  # agreement of the part that is most like it, from which on it is polished:
# strangers' have that seldom
AGREES = 0.4  # agreement from which on the pictures count as lying on each other


@dataclass(frozen=True)
class ClipMapping:
    """Where the source's picture lies in the fake's."""

    matrix: np.ndarray  # [2, 3] pixels of the fake (of its mirror image if flip) to the source's
    flip: bool
    agreement: float  # mean correlation of the two pictures' gradients, -1 to 1

    @property
    def fits(self) -> bool:
        """Whether the pictures lie on each other well enough to be compared pixel by pixel."""
        return self.agreement >= AGREES

    def warp(self, source: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The source's picture as the fake shows it.

        size: width and height of the fake. Returns the picture and [H, W] bool, where the source
        covers it; elsewhere the picture is black.
        """
        return warp(source, self.matrix, size, self.flip)


def warp(source: np.ndarray, matrix: np.ndarray, size: tuple[int, int],
         flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """ClipMapping.warp for a bare matrix."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # source pixels per fake pixel
    if scale > 1.2:  # warpAffine does not average
        source = cv2.GaussianBlur(source, (0, 0), 0.4 * scale)
    options = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(source, matrix, size, flags=options)
    inside = cv2.warpAffine(np.full(source.shape[:2], 255, np.uint8), matrix, size, flags=options)
    covered = cv2.erode(inside, np.ones((3, 3), np.uint8)) > 250
    return (picture[:, ::-1], covered[:, ::-1]) if flip else (picture, covered)


def rescaled(matrix: np.ndarray, fake_scale: float, source_scale: float) -> np.ndarray:
    """A mapping [2, 3] between pictures as one between the same pictures, both scaled."""
    def scaling(scale: float) -> np.ndarray:  # pixel centres: x + 0.5 is what scales
        return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    whole = np.vstack([matrix, [0, 0, 1]])
    return (scaling(source_scale) @ whole @ np.linalg.inv(scaling(fake_scale)))[:2]


def plain_mappings(fake: np.ndarray, source: np.ndarray) -> list[np.ndarray]:
    """The fake's whole picture onto the source's [2, 3]: stretched, and centred as it is."""
    ratio = np.array(source.shape[1::-1]) / fake.shape[1::-1]
    middle, source_middle = ((np.array(image.shape[1::-1]) - 1) / 2 for image in (fake, source))
    scales = (ratio, np.full(2, ratio.min()))
    return [np.column_stack([np.diag(scale), source_middle - scale * middle]) for scale in scales]


def first_guesses(candidate: dict, flip: bool, fake_square: Square | None,
                  source_square: Square | None, width: int) -> list[np.ndarray]:
    """Mappings [2, 3] of whole pictures that are worth a try: step 4's, if it found one of this
    kind, and person square onto person square, if both are known.

    width: of the fake, pixels.
    """
    found = ([np.array(candidate["mapping"])] if candidate["mapping"] is not None
             and bool(candidate["flip"]) == flip else [])
    if fake_square is not None and source_square is not None:
        found.append(square_onto(fake_square, source_square, width if flip else None))
    return found


def find_mapping(fakes: list[np.ndarray], sources: list[np.ndarray], flip: bool,
                 guesses: list[np.ndarray],
                 features: Callable[[int], Keypoints] | None = None,
                 guessed: bool = False) -> ClipMapping:
    """How the source's picture lies in the fake's.

    fakes, sources: [H, W, 3] uint8 BGR, the same moments of both; guesses: mappings [2, 3] to try
    beside the plain one and, where none of them is good, those found by local features or, in the
    end, as a crop; features: gives those of a moment of the fake, of its mirror image if `flip`,
    where they are known already; guessed: one of the guesses is near, and nothing else is tried.
    """
    if flip:
        fakes = [np.ascontiguousarray(fake[:, ::-1]) for fake in fakes]
    small_fakes, fake_scale = shrink(fakes)
    small_sources, source_scale = shrink(sources)
    slopes = [gradients(fake) for fake in small_fakes]
    tried, scores = [], []

    def judge(small: np.ndarray, least: float = -1.0) -> None:
        if plausible(small):
            score = agreement(slopes, small_sources, small)
            if score >= least:
                tried.append(small)
                scores.append(score)

    def judge_all(guesses: list[np.ndarray]) -> None:
        for guess in guesses:
            judge(rescaled(guess, fake_scale, source_scale))

    judge_all([*guesses, *plain_mappings(fakes[0], sources[0])])
    if max(scores) < GOOD and not guessed:
        features = features or (lambda moment: everywhere(fakes[moment], fake=True))
        judge_all(pooled_features(features, sources, fakes[0].shape[1]))
    if max(scores) < AGREES and not guessed:
        crop = as_crop(small_fakes, small_sources)
        if agreement(slopes, small_sources, crop) >= CROP_PROMISES:
            judge(polish(small_fakes, small_sources, crop), AGREES)
    best = tried[int(np.argmax(scores))]
    judge(polish(small_fakes, small_sources, best))
    best = int(np.argmax(scores))
    return ClipMapping(rescaled(tried[best], 1 / fake_scale, 1 / source_scale), flip,
                       float(scores[best]))


def plausible(matrix: np.ndarray) -> bool:
    """Whether a mapping neither mirrors nor squeezes the picture more than copies are."""
    large, small = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(np.linalg.det(matrix[:, :2]) > 0 and large < MAX_STRETCH * small)


def shrunk(image: np.ndarray, side: int = WORK_SIDE) -> np.ndarray:
    """The image, its longer side scaled down to so many pixels where it is larger."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def shrink(images: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Grey pictures [h, w] float32 of at most SEARCH_SIDE, and their scale."""
    scale = min(1.0, SEARCH_SIDE / max(images[0].shape[:2]))
    return [cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), None, fx=scale, fy=scale,
                       interpolation=cv2.INTER_AREA).astype(np.float32) for image in images], scale


def some(moments: Sequence[Any], most: int) -> Sequence[Any]:
    """A few of the moments, `most` at most, equally far from each other."""
    return moments[::-(-len(moments) // most)]


def everywhere(image: np.ndarray, fake: bool = False) -> Keypoints:
    """Local features of a whole picture [H, W, 3] uint8 BGR."""
    return find_keypoints(image, np.ones(image.shape[:2], bool), spread=fake)


def pooled_features(features: Callable[[int], Keypoints], sources: list[np.ndarray],
                    width: int) -> list[np.ndarray]:
    """Mappings by local features: of each moment that has one, and of all moments together.

    features: of a moment of the fake; sources: the source's pictures at all moments; width: of the
    fake's picture, pixels.
    """
    found: list[np.ndarray] = []
    here, there = [np.zeros((0, 2), np.float32)], [np.zeros((0, 2), np.float32)]
    moments = some(range(len(sources)), FEATURE_MOMENTS)
    pairs = on_threads(lambda moment: (features(moment), everywhere(sources[moment])), moments)
    for moment, pair in zip(moments, pairs):
        mapping = register(*pair, flip=False, fake_frame=moment, source_frame=moment, width=width)
        if mapping is not None:
            found.append(mapping.matrix)
            here.append(mapping.fake_points)
            there.append(mapping.source_points)
    here, there = np.concatenate(here), np.concatenate(there)
    fit = cv2.estimateAffine2D if len(here) >= AFFINE_INLIERS else cv2.estimateAffinePartial2D
    if len(here) >= MIN_INLIERS:
        cv2.setRNGSeed(0)
        matrix, _ = fit(here, there, method=cv2.RANSAC, ransacReprojThreshold=POOLED_PX)
        found += [matrix] if matrix is not None else []
    return found


def as_crop(fakes: list[np.ndarray], sources: list[np.ndarray]) -> np.ndarray:
    """The mapping [2, 3], a shift and a scale, that has the fake's picture as that part of the
    source's which is most like it. Arguments: shrink() of a few moments of both."""
    fakes, sources = (some(clip, POLISH_MOMENTS) for clip in (fakes, sources))
    down = min(1.0, CROP_SIDE / max(sources[0].shape))
    wholes = [gradients(scaled(source, down)) for source in sources]
    largest = min(there / own for there, own in zip(wholes[0].shape, fakes[0].shape))
    found = []
    for scale in largest * CROP_SIZES:
        crops = [gradients(scaled(fake, scale)) for fake in fakes]
        alike = sum(cv2.matchTemplate(whole, crop, cv2.TM_CCORR_NORMED)
                    for whole, crop in zip(wholes, crops))
        _, most, _, corner = cv2.minMaxLoc(alike)
        found.append((most, crops[0].shape, corner))
    _, size, corner = max(found)
    ratio = np.array(size[1::-1]) / fakes[0].shape[1::-1]
    return rescaled(np.column_stack([np.diag(ratio), corner + (ratio - 1) / 2]), 1.0, 1 / down)


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture in another size, [1, 1] at least, and no larger than that to the pixel."""
    size = [max(1, int(side * scale + 1e-6)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def gradients(image: np.ndarray) -> np.ndarray:
    """[H, W] float32 -> [H, W, 2]: slopes, the strong ones held back so that no edge rules."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)]
    held_back = 1 / np.sqrt(cv2.magnitude(*slopes) + 1)
    return cv2.merge([slope * held_back for slope in slopes])


def agreement(slopes: list[np.ndarray], sources: list[np.ndarray], matrix: np.ndarray) -> float:
    """Mean correlation of gradients where the source covers the fake; -1 where it hardly does.

    slopes: gradients() of the fake's pictures. It is taken block by block, so that a caption or a
    changed face costs its own blocks only.
    """
    scores = []
    for slope, source in zip(slopes, sources):
        picture, covered = warp(source, matrix, slope.shape[1::-1], False)
        if covered.mean() < MIN_COVER:
            return -1.0
        (ax, ay), (bx, by) = cv2.split(slope), cv2.split(gradients(picture))
        both, of_fake, of_source = (block_sums(values * covered) for values in (
            ax * bx + ay * by, ax * ax + ay * ay, bx * bx + by * by))
        weight = np.sqrt(of_source)
        scores.append(float((weight * both / np.sqrt(of_fake * of_source + 1)).sum()
                            / max(weight.sum(), 1e-6)))
    return float(np.mean(scores))


def block_sums(values: np.ndarray) -> np.ndarray:
    """[H, W] -> [H / BLOCK, W / BLOCK], a remainder at the lower and right edge left out."""
    down, across = values.shape[0] // BLOCK, values.shape[1] // BLOCK
    whole = values[:down * BLOCK, :across * BLOCK]
    return whole.reshape(down, BLOCK, across, BLOCK).sum(axis=(1, 3))


def polish(fakes: list[np.ndarray], sources: list[np.ndarray],
           matrix: np.ndarray) -> np.ndarray:
    """The mapping after ECC over a few moments, averaged; as it was where it does not converge."""
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-4)

    def polished(fake: np.ndarray, source: np.ndarray) -> list[np.ndarray]:
        try:
            _, better = cv2.findTransformECC(fake, source, matrix.astype(np.float32),
                                             cv2.MOTION_AFFINE, criteria, None, 5)
            return [better.astype(np.float64)]
        except cv2.error:  # it raises where it does not converge
            return []

    found = sum(on_threads(polished, *(some(clip, POLISH_MOMENTS) for clip in (fakes, sources))),
                [])
    return np.median(found, axis=0) if found else matrix
