"""Figures that can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.metrics import (auroc, average_precision, bootstrap, calibration_bins,
                                calibration_error, micro_average_precision, threshold_at_recall,
                                wilson)


@pytest.mark.parametrize("hits, count, low, high", [
    (0, 0, 0, 1), (8, 10, 0.4902, 0.9433), (0, 20, 0, 0.1611), (20, 20, 0.8389, 1)])
def test_wilson_intervals(hits, count, low, high):
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("ranking, relevant, expected", [
    (["a", "b"], {"a"}, 1.0), (["x", "a"], {"a"}, 0.5), (["x", "y"], {"a"}, 0.0), ([], {"a"}, 0.0),
    (["a", "x", "b"], {"a", "b"}, (1 + 2 / 3) / 2),
    (["x", "a"], {"a", "b"}, (1 / 2) / 2)])  # b is never found
def test_average_precision(ranking, relevant, expected):
    assert average_precision(ranking, relevant) == pytest.approx(expected)


def test_micro_average_precision_counts_answers_of_all_queries_together():
    # most confident first: right, wrong (a source-less query), right; a fourth is never answered
    confidence, right = np.array([0.5, 0.9, 0.7]), np.array([True, True, False])
    assert micro_average_precision(confidence, right, 4) == pytest.approx((1 / 1 + 2 / 3) / 4)
    assert micro_average_precision(confidence, right, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert micro_average_precision(np.empty(0), np.empty(0), 3) == 0
    assert np.isnan(micro_average_precision(confidence, right, 0))


def test_micro_average_precision_does_not_depend_on_the_order_of_ties():
    confidence, right = np.array([0.9, 0.9, 0.1]), np.array([True, False, True])
    expected = (1 / 2 + 2 / 3) / 2  # the two of 0.9 enter together: precision 1/2
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        shuffled = micro_average_precision(confidence[order], right[order], 2)
        assert shuffled == pytest.approx(expected)


def test_auroc():
    assert auroc([0.9, 0.4], [0.5, 0.1]) == 0.75
    assert auroc([0.5], [0.5]) == 0.5
    assert auroc([1, 1], [0]) == 1
    assert np.isnan(auroc([], [0.5])) and np.isnan(auroc([0.5], []))


@pytest.mark.parametrize("count, recall, reached", [(20, 0.95, 19), (10, 0.95, 10), (4, 0.5, 2)])
def test_threshold_lets_as_many_positives_pass_as_it_says(count, recall, reached):
    scores = np.random.default_rng(0).permutation(count) / count
    assert (scores >= threshold_at_recall(scores, recall)).sum() == reached


def test_calibration_by_hand():
    confidence, right = [0.95, 0.85, 0.05, 1.0], [True, False, False, True]
    bins = calibration_bins(confidence, right)
    assert [count for count, _, _ in bins] == [1, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    assert bins[9][1:] == pytest.approx((0.975, 1.0)) and np.isnan(bins[1][1])
    # |0.05 - 0| + |0.85 - 0| + 2 |0.975 - 1|, over four
    assert calibration_error(confidence, right) == pytest.approx((0.05 + 0.85 + 0.05) / 4)
    assert np.isnan(calibration_error([], []))


def test_bootstrap_agrees_with_the_known_interval_of_a_mean_and_repeats_itself():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap(np.mean, values)
    assert (low, high) == bootstrap(np.mean, values)
    error = values.std() / 20  # standard error of the mean
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)


def test_bootstrap_draws_every_sample_by_itself():
    low, high = bootstrap(auroc, [0.2, 0.8], [0.5])
    assert (low, high) == (0, 1)
    assert np.isnan(bootstrap(np.mean, [])).all()
