"""Which source frames the fakes of a tier show, in what order, and how fast.

All choices come from the generator given, so that one seed gives one fake.
"""

import numpy as np

RATES = (0.8, 0.9, 1.1, 1.2, 1.25)  # source frames per fake frame
EXTREME_RATES = (0.5, 0.6, 0.7, 1.5, 1.75, 2.0)
FAR_RATES = (0.25, 0.3, 0.4, 2.5, 3.0, 4.0)  # as telephones record and editors offer
LOWFPS_RATES = (2.5, 3.0, 4.0, 5.0)  # as in a GIF: so many times fewer frames per second
HALF_RATE = 0.5  # of tiers that put a frame between every two
RAMP = 0.6, 1.6  # rates between which a fake goes evenly from its first frame to its last
DROP_SHARE = 0.08  # of the frames
TWO_STRETCHES = ("stitched", "montage")  # tiers
LOOPS = 3
WITHOUT_PAUSES = {"jumpcuts": 1.0, "crossfades": 1.0, "transitions": 1.0, "flipcuts": 0.5}  # tiers,
# and the share of their joints where something is left out
CUTAWAY_LENGTH = 75  # frames of a fake at least that something else is cut into
KEPT, LEFT_OUT, MOST_KEPT = (20, 50), (7, 40), 5  # frames of a stretch, and between two; stretches


def choose_frames(tier: str, count: int, length: int,
                  rng: np.random.Generator) -> tuple[list[np.ndarray], float]:
    """Source frames of a fake: ([frame indices of a stretch], source frames per fake frame).

    count: frames of the source. length: source frames to cover ("extreme", "farrate", "lowfps",
    "slowmo", "interpolated": fake frames to make). One stretch, but two of "stitched", "montage" and
    "boomerang", which turns back, three of "looped", all the same, and up to MOST_KEPT of
    "jumpcuts", "crossfades" and "transitions", of any length, as where pauses were taken out, and of
    "flipcuts", some of which go on where the one before ends. Backwards the rate is negative.
    """
    rate = _choose_rate(tier, rng)
    if tier == "short":
        length = int(rng.integers(10, 16))
    if tier == "cutaway":
        length = max(length, CUTAWAY_LENGTH)
    if tier in ("extreme", "farrate", "lowfps", "slowmo", "interpolated"):
        length = round(length * rate)
    if tier in TWO_STRETCHES:
        return [_sampled(*stretch, rate) for stretch in _two_stretches(count, length, rng)], rate
    if tier in WITHOUT_PAUSES:
        return _without_pauses(count, rng, WITHOUT_PAUSES[tier]), rate
    length = min(length, count)
    frames = _sampled(int(rng.integers(0, count - length + 1)), length, abs(rate))
    if tier == "dropped":
        return _drop_some(frames, rng)
    if tier == "ramped":
        return _ramp(frames, rng)
    if tier == "boomerang":
        return [frames, frames[::-1]], rate
    if tier == "looped":
        return [frames] * LOOPS, rate
    return [frames[::-1] if rate < 0 else frames], rate


def _choose_rate(tier: str, rng: np.random.Generator) -> float:
    if tier == "extreme":
        return float(rng.choice(EXTREME_RATES))
    if tier == "farrate":
        return float(rng.choice(FAR_RATES))
    if tier == "lowfps":
        return float(rng.choice(LOWFPS_RATES))
    if tier in ("slowmo", "interpolated"):
        return HALF_RATE
    if tier in ("temporal", "several", "montage"):
        return float(rng.choice(RATES))
    if tier == "rewound":
        return -float(rng.choice(RATES))
    return -1.0 if tier == "reversed" else 1.0


def _sampled(start: int, length: int, rate: float) -> np.ndarray:
    """The frames that a stretch of `length` source frames shows at a rate."""
    frames = start + np.floor(np.arange(max(1, round(length / rate))) * rate + 0.5).astype(int)
    return frames[frames < start + length]


def _drop_some(frames: np.ndarray, rng: np.random.Generator) -> tuple[list[np.ndarray], float]:
    """Frames without a random few, never the first or last, and their mean rate."""
    count = min(max(1, round(DROP_SHARE * len(frames))), max(0, len(frames) - 2))
    gone = 1 + rng.permutation(max(0, len(frames) - 2))[:count]
    kept = np.delete(frames, gone)
    return [kept], round(float(kept[-1] - kept[0]) / max(1, len(kept) - 1), 4)


def _ramp(frames: np.ndarray, rng: np.random.Generator) -> tuple[list[np.ndarray], float]:
    """Frames faster and faster, or slower and slower, and their mean rate."""
    steps = np.linspace(*rng.permutation(RAMP), max(1, round(len(frames) / np.mean(RAMP))))
    at = np.floor(np.cumsum(steps) - steps[0] + 0.5).astype(int)
    shown = frames[at[at < len(frames)]]
    return [shown], round(float(shown[-1] - shown[0]) / max(1, len(shown) - 1), 4)


def _without_pauses(count: int, rng: np.random.Generator, share: float) -> list[np.ndarray]:
    """Stretches of a source one after the other, with something left out at a share of joints."""
    lengths, left_out = rng.integers(*KEPT, MOST_KEPT), rng.integers(*LEFT_OUT, MOST_KEPT - 1)
    if share < 1:
        left_out[rng.random(len(left_out)) >= share] = 0
    starts = np.cumsum([0, *(lengths[:-1] + left_out)])
    kept = np.count_nonzero(starts + lengths <= count)
    if not kept:
        return [np.arange(count)]
    first = int(rng.integers(0, count - starts[kept - 1] - lengths[kept - 1] + 1))
    return [first + start + np.arange(length) for start, length in zip(starts[:kept], lengths)]


def _two_stretches(count: int, length: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Two separate stretches of one source, in either order: start and number of frames, `length`
    together.

    One stretch where the source is too short for two with a gap between.
    """
    if count < 3:
        return [(0, count)]
    half = max(1, min(length // 2, (count - 1) // 2))
    first = int(rng.integers(0, count - 2 * half))
    second = int(rng.integers(first + half + 1, count - half + 1))
    stretches = [(first, half), (second, half)]
    return stretches if rng.random() < 0.5 else stretches[::-1]


def frames_per_second(tier: str, fps: float, rate: float) -> float:
    """Of a fake whose source has `fps`: the same, but for tiers that leave its speed as it is."""
    return fps / rate if tier in ("lowfps", "interpolated") else fps
