"""Sensitivity at fixed specificity and net benefit: hand counts, limits, scikit-learn's curve."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from adlib.metrics import (
    false_positive_rate,
    net_benefit,
    recall,
    sensitivity_at_specificity,
)

RNG = np.random.default_rng(0)
Y = RNG.random(200) < 0.3


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.95, 1.0]), st.booleans())
def test_sensitivity_is_the_best_point_of_the_roc_curve(seed, specificity, ties):
    score = np.random.default_rng(seed).normal(size=Y.size) + Y
    score = score.round() if ties else score
    fpr, tpr, _ = roc_curve(Y, score, drop_intermediate=False)
    wanted = tpr[fpr <= 1 - specificity + 1e-9].max()
    assert sensitivity_at_specificity(Y, score, specificity) == pytest.approx(wanted)


def test_ties_with_the_cut_are_not_flagged():
    assert sensitivity_at_specificity([0, 0, 1, 1], [0, 1, 1, 1], 0.95) == 0.0
    assert sensitivity_at_specificity([0, 0, 1, 1], [1, 1, 1, 1], 0.0) == 1.0


def test_twenty_normal_rows_spare_nineteen_at_95_percent():
    y = np.r_[np.zeros(20), 1]
    assert sensitivity_at_specificity(y, np.r_[np.arange(20), 18.5], 0.95) == 1.0
    assert sensitivity_at_specificity(y, np.r_[np.arange(20), 17.5], 0.95) == 0.0


def test_a_random_score_finds_its_false_positive_rate():
    y, score = np.arange(40_000) % 2, RNG.random(40_000)
    assert sensitivity_at_specificity(y, score, 0.9) == pytest.approx(0.1, abs=0.01)


def test_net_benefit_is_the_count_of_vickers_and_elkin():
    pred = RNG.random(200) < 0.4
    tp, fp = (pred & Y).sum(), (pred & ~Y).sum()
    assert net_benefit(Y, pred, 0.2) == pytest.approx((tp - fp * 0.2 / 0.8) / 200)


def test_treating_none_and_all():
    p, t = Y.mean(), 0.1
    assert net_benefit(Y, np.zeros(200), t) == 0.0
    assert net_benefit(Y, np.ones(200), t) == pytest.approx(p - (1 - p) * t / (1 - t))
    assert net_benefit(Y, np.ones(200), p) == pytest.approx(0.0)  # indifferent at the prevalence
    assert net_benefit(Y, Y, t) == pytest.approx(p)


def test_prevalence_is_as_if_rows_were_resampled():
    pred = RNG.random(200) < 0.2 + 0.6 * Y
    at = np.r_[np.flatnonzero(~Y), np.repeat(np.flatnonzero(Y), 3)]
    resampled = net_benefit(Y[at], pred[at], 0.3)
    assert net_benefit(Y, pred, 0.3, prevalence=Y[at].mean()) == pytest.approx(resampled)
    by_rates = 0.05 * recall(Y, pred) - 0.95 * false_positive_rate(Y, pred) * 3 / 7
    assert net_benefit(Y, pred, 0.3, prevalence=0.05) == pytest.approx(by_rates)


def test_unjudged_rows_do_not_count():
    judged = np.arange(200) < 150
    pred, score = RNG.random(200) < 0.4, RNG.random(200)
    assert net_benefit(Y, pred, 0.2, judged=judged) == net_benefit(Y[:150], pred[:150], 0.2)
    assert sensitivity_at_specificity(Y, score, judged=judged) == sensitivity_at_specificity(
        Y[:150], score[:150])


@pytest.mark.parametrize("metric", [sensitivity_at_specificity,
                                    lambda y, pred: net_benefit(y, pred, 0.1)])
def test_one_class_alone_is_undefined(metric):
    with pytest.warns(UserWarning, match="undefined"):
        assert np.isnan(metric([0, 0], [0, 1]))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, True])
def test_shares_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="specificity"):
        sensitivity_at_specificity([0, 1], [0, 1], bad)
    with pytest.raises(ValueError, match="threshold"):
        net_benefit([0, 1], [0, 1], bad)
    with pytest.raises(ValueError, match="prevalence"):
        net_benefit([0, 1], [0, 1], 0.1, prevalence=bad)
