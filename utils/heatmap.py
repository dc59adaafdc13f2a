"""Where a fake's pictures differ from its source's, beyond what copying does to a picture.

Copying (compression, scaling, colour) also changes pictures, so it is fitted first: over all frames
together a gain and offset per colour channel by a robust fit that lets go of outliers (Geman and
McClure 1987), and the blur that brings both to one sharpness; and frame by frame how bright it is,
for pictures fade in and out. What remains is looked at in bands of a difference-of-Gaussians
pyramid (Burt and Adelson 1983): fine enough to hold a face's structure, coarse enough that coding
noise, which is finer, stays out. In each band the local energy of the difference is divided by what
copying leaves in a place of that much texture, learnt from the quieter part of the picture itself;
blocks and ringing sit on texture, as the masking term of structural similarity has it (Wang et al.
2004). The energy is averaged over neighbouring frames before the logarithm: noise evens out there,
a changed face stays.
"""

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from utils.threads import on_threads

HEAT_SIDE = 256  # pixels of the longer side at which pictures are compared; sigmas below are in it
BAND_SIGMAS = (2.0, 4.0, 8.0)  # pixels; neighbours bound the bands
AREA_SIGMA = 6.0  # pixels over which energy is gathered
BLURS = (-1.5, -1.0, -0.6, 0.0, 0.5, 0.8, 1.2, 1.7, 2.4)  # sigma; negative: the fake is blurred
BLUR_COST = 0.02  # levels per pixel of sigma: no blur without a reason
PHOTOMETRIC_ROUNDS = 8
SAMPLE_STEP = 7  # of all pixels every seventh is enough for a fit of two numbers
QUIET_SHARE = 0.3  # of the picture, taken to be unchanged when the noise is learnt
TEXTURE_FLOOR = 100.0  # squared levels; a place without any texture counts as this much
NOISE_RANGE = (0.002, 0.02)  # share of the texture's energy that the best and worst copy leaves
COLD, COLD_COARSE = 3.0, 8.0  # times the expected energy where heat begins; in a coarse copy, whose
# noise is no longer even, later: so far do pictures differ there that nobody changed; and
FINE_NOISE, COARSE_NOISE = 0.002, 0.005  # Look.noise of either
HOT = 25.0  # times the expected energy where heat is full
WINDOW = 3  # frames to either side over which energy is averaged


@dataclass(frozen=True)
class Look:
    """How copying changed the pictures of one clip."""

    gain: np.ndarray  # [3], of the source, per channel
    offset: np.ndarray  # [3] levels
    blur: float  # pixels of HEAT_SIDE pictures; positive: of the source, negative: of the fake
    noise: np.ndarray  # [bands] energy of the difference, per energy of the texture

    @property
    def cold(self) -> float:
        """Times the expected energy where heat begins."""
        return float(np.exp(np.interp(np.log(self.noise.mean()),
                                      np.log([FINE_NOISE, COARSE_NOISE]),
                                      np.log([COLD, COLD_COARSE]))))


def heat_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which frames of a size are compared; small ones stay as they are."""
    scale = min(1.0, HEAT_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fit_look(fakes: np.ndarray, sources: np.ndarray, covered: np.ndarray) -> Look:
    """Fit what copying did.

    fakes, sources: [T, H, W, 3] uint8 BGR on each other, of heat_size(); covered: [T, H, W] bool,
    where both show something.
    """
    fakes, sources = fakes.astype(np.float32), sources.astype(np.float32)
    gain, offset = np.array(on_threads(
        lambda c: fit_channel(fakes[..., c], sources[..., c], covered), range(3))).T
    sources = as_bright(fakes, sources * gain + offset, covered)
    plain = Look(gain, offset, fit_blur(fakes, sources, covered), np.ones(len(BAND_SIGMAS) - 1))
    if not covered.any():
        return plain
    ratio = _excess(fakes, sources, covered, plain)
    quiet = [np.quantile(band[covered], QUIET_SHARE) for band in ratio.swapaxes(0, 1)]
    return Look(gain, offset, plain.blur, np.clip(quiet, *NOISE_RANGE))


def fit_channel(fake: np.ndarray, source: np.ndarray, covered: np.ndarray) -> tuple[float, float]:
    """Gain and offset that take one channel of the source [T, H, W] to the fake's."""
    y, x = (np.stack([smooth(image, 1.5) for image in stack])[covered][::SAMPLE_STEP]
            for stack in (fake, source))
    if x.size < 2:
        return 1.0, 0.0
    gain, offset = 1.0, float(np.median(y - x))
    columns = np.stack([x, np.ones_like(x)], axis=1).astype(np.float64)
    for _ in range(PHOTOMETRIC_ROUNDS):
        rest = y - (gain * x + offset)
        spread = 1.4826 * np.median(np.abs(rest)) + 1
        weight = 1 / (1 + (rest / (2 * spread)) ** 2) ** 2  # Geman-McClure
        normal = (columns * weight[:, None]).T @ columns + np.diag([1e-3, 1e-3])
        gain, offset = np.linalg.solve(normal, (columns * weight[:, None]).T @ y)
    return float(gain), float(offset)


def as_bright(fakes: np.ndarray, sources: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The sources [T, H, W, 3], every frame as bright and of as much contrast as the fake's."""
    def one(fake: np.ndarray, source: np.ndarray, inside: np.ndarray) -> np.ndarray:
        pair = (halved(over_channels(image))[None] for image in (fake, source))
        gain, offset = fit_channel(*pair, halved(inside.astype(np.float32))[None] == 1)
        return (source * gain + offset).astype(np.float32)
    return np.stack(on_threads(one, fakes, sources, covered)) if len(fakes) else sources


def fit_blur(fakes: np.ndarray, sources: np.ndarray, covered: np.ndarray) -> float:
    """The blur, one of BLURS, after which most pixels agree best."""
    if not covered.any():
        return 0.0

    def rest(sigma: float) -> float:
        a, b = blurred(fakes, sources, sigma)
        difference = np.stack([over_channels(frame) for frame in np.abs(a - b)])
        return float(np.median(difference[covered])) + BLUR_COST * abs(sigma)
    return BLURS[int(np.argmin(on_threads(rest, BLURS)))]


def blurred(fakes: np.ndarray, sources: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Both stacks [T, H, W, 3] at one sharpness."""
    return (np.stack([smooth(image, -sigma) for image in fakes]),
            np.stack([smooth(image, sigma) for image in sources]))


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; none for a sigma of 0 or less."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image


def excess(fakes: np.ndarray, sources: np.ndarray, covered: np.ndarray, look: Look) -> np.ndarray:
    """How often the difference exceeds what copying leaves: [T, bands, H, W] float32.

    Arguments as of fit_look(). 0 where one of them shows nothing.
    """
    fakes = fakes.astype(np.float32)
    sources = (sources * look.gain + look.offset).astype(np.float32)
    return _excess(fakes, as_bright(fakes, sources, covered), covered, look)


def _excess(fakes: np.ndarray, sources: np.ndarray, covered: np.ndarray, look: Look) -> np.ndarray:
    """excess() of sources that are as bright as the fakes, both float32."""
    sources = np.where(covered[..., None], sources, fakes)
    fakes, sources = blurred(fakes, sources, look.blur)
    return np.stack(on_threads(partial(_frame_excess, noise=look.noise), fakes, sources, covered))


def _frame_excess(fake: np.ndarray, source: np.ndarray, covered: np.ndarray,
                  noise: np.ndarray) -> np.ndarray:
    """excess() of one frame: [bands, H, W]. Half the size holds all that the finest of BAND_SIGMAS
    leaves."""
    sigmas, area = np.array(BAND_SIGMAS) / 2, AREA_SIGMA / 2
    inside = np.maximum(smooth(halved(covered.astype(np.float32)), area), 1e-3)
    rest, seen = (halved(smooth(image, BAND_SIGMAS[0]))
                  for image in (np.where(covered[..., None], fake - source, 0), source))
    ratios = []
    for sigma, wider, share in zip(sigmas, sigmas[1:], noise):
        more = np.sqrt(wider**2 - sigma**2)  # of blur, from one to the other
        coarse = smooth(rest, more)
        energy = smooth(over_channels((rest - coarse) ** 2), area) / inside
        expected = share * (smooth(slopes(seen, sigma), area) + TEXTURE_FLOOR)
        ratio = cv2.resize(energy / expected, covered.shape[::-1], interpolation=cv2.INTER_LINEAR)
        ratios.append(np.where(covered, ratio, 0))
        rest, seen = coarse, smooth(seen, more)
    return np.stack(ratios).astype(np.float32)


def halved(image: np.ndarray) -> np.ndarray:
    """The image at half its size."""
    size = [max(1, side // 2) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def slopes(image: np.ndarray, sigma: float) -> np.ndarray:
    """[H, W, 3] -> [H, W]: squared levels by which a smooth image changes over a distance sigma."""
    found = [cv2.Sobel(image, cv2.CV_32F, *order, scale=sigma / 8) for order in ((1, 0), (0, 1))]
    return over_channels(found[0] ** 2 + found[1] ** 2)


def over_channels(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] float32 -> [H, W]: the mean, several times as fast as mean(-1)."""
    return cv2.transform(image, np.full((1, 3), 1 / 3))


def over_time(ratios: np.ndarray, covered: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """excess() averaged over the frames up to `window` away; fewer at the ends, and where some of
    them are not covered."""
    first = np.maximum(np.arange(len(ratios)) - window, 0)
    last = np.minimum(np.arange(len(ratios)) + window + 1, len(ratios))

    def sums(values: np.ndarray) -> np.ndarray:
        up_to = np.concatenate([np.zeros_like(values[:1], np.float64),
                                np.cumsum(values, axis=0, dtype=np.float64)])
        return up_to[last] - up_to[first]
    return (sums(ratios) / np.maximum(sums(covered[:, None]), 1)).astype(np.float32)


def together(ratios: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """excess() [T, bands, H, W] averaged over the frames that are covered: [bands, H, W]."""
    return ratios.sum(axis=0) / np.maximum(covered.sum(axis=0), 1)


def heat(ratios: np.ndarray, look: Look) -> np.ndarray:
    """[..., bands, H, W] excess -> [..., H, W] float32, 0 (as copied) to 1 (certainly changed)."""
    level = np.log(np.maximum(ratios, 1e-3)).mean(axis=-3)
    return np.clip((level - np.log(look.cold)) / np.log(HOT / look.cold), 0, 1).astype(np.float32)
