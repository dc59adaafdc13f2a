"""Figures and their 95 % intervals, from plain arrays: shares, rankings, rejection, calibration."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

RESAMPLES = 1000  # of every bootstrap
SEED = 0  # the same figures on every run
BINS = 10  # of calibration, equally wide


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927).

    >>> [round(limit, 3) for limit in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not count:
        return 0.0, 1.0
    share, square = hits / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * np.sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def bootstrap(figure: Callable[..., float], *samples: Sequence) -> tuple[float, float]:
    """95 % percentile interval of figure(*samples) (Efron 1979); every sample, an array whose
    first axis is the cases, is drawn again by itself.

    Resamples for which the figure is not defined (NaN) do not count; when none is left, both
    limits are NaN.
    """
    rng = np.random.default_rng(SEED)
    samples = tuple(np.asarray(sample) for sample in samples)
    if not all(len(sample) for sample in samples):
        return float("nan"), float("nan")
    values = [figure(*(sample[rng.integers(0, len(sample), len(sample))] for sample in samples))
              for _ in range(RESAMPLES)]
    values = np.array(values)[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def average_precision(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """Mean, over the relevant items, of the precision at each one's rank; 0 for one not ranked.

    >>> round(average_precision(["a", "x", "b"], {"a", "b"}), 3)
    0.833
    """
    hits, total = 0, 0.0
    for rank, item in enumerate(ranking, 1):
        if item in relevant:
            hits += 1
            total += hits / rank
    return total / len(relevant) if relevant else float("nan")


def micro_average_precision(confidence: np.ndarray, right: np.ndarray, wanted: int) -> float:
    """µAP: precision over recall when the answers to all queries stand in one list, most
    confident first (Perronnin et al. 2009; the measure of the copy-detection challenges, Douze et
    al. 2021, Pizzi et al. 2024). Every answer to a query without a source is a wrong one.

    confidence, right: [N] of all answers; wanted: answers that a perfect list would hold. Answers
    of equal confidence enter together. NaN when nothing is wanted.
    """
    if not wanted:
        return float("nan")
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    confidence = np.asarray(confidence, float)[order]
    found = np.cumsum(np.asarray(right, float)[order])
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True)) if len(order) else []
    precision = found[last] / (np.asarray(last) + 1)
    return float((precision * np.diff(found[last], prepend=0.0)).sum() / wanted)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive's score exceeds a negative's, ties counting half (Mann-Whitney);
    NaN when there is none of one kind."""
    positive, negative = np.asarray(positive, float), np.asarray(negative, float)
    if not len(positive) or not len(negative):
        return float("nan")
    higher = positive[:, None] > negative
    return float((higher + (positive[:, None] == negative) / 2).mean())


def roc(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the ROC curve (Fawcett 2006): false and true positive rates, [P] each, from 0 to 1,
    a point for each value of the scores, so that the area under it is auroc().

    >>> [rates.tolist() for rates in roc(np.array([0.9, 0.4]), np.array([0.4]))]
    [[0.0, 0.0, 1.0], [0.0, 0.5, 1.0]]
    """
    limits = np.concatenate([[np.inf], np.unique(np.concatenate([positive, negative]))[::-1]])
    return tuple((np.asarray(scores)[None] >= limits[:, None]).mean(axis=1)
                 for scores in (negative, positive))


def threshold_at_recall(positive: np.ndarray, recall: float = 0.95) -> float:
    """The highest score that `recall` of the positives reach or exceed."""
    ordered = np.sort(np.asarray(positive, float))[::-1]
    return float(ordered[int(np.ceil(recall * len(ordered) - 1e-9)) - 1])


def calibration_bins(confidence: np.ndarray, right: np.ndarray) -> list[tuple[int, float, float]]:
    """Cases, mean confidence and share of right ones in each of BINS bins of confidence [0, 1];
    the means of an empty bin are NaN."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        here = place == number
        means = (confidence[here].mean(), right[here].mean()) if here.any() else (np.nan, np.nan)
        rows.append((int(here.sum()), float(means[0]), float(means[1])))
    return rows


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over calibration_bins() (Naeini et al. 2015); NaN for no case."""
    rows = [row for row in calibration_bins(confidence, right) if row[0]]
    if not rows:
        return float("nan")
    count, mean, share = np.array(rows).T
    return float((count * abs(mean - share)).sum() / count.sum())
