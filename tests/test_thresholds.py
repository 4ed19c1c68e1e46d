"""Thresholds and calibration: worked values, laws that must hold, and refusals."""

import warnings
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from adlib.thresholds import (
    POT,
    Calibration,
    CalibrationWarning,
    Conformal,
    Fixed,
    Quantile,
    Sigma,
    effective_size,
    fit_pareto,
    severity,
)


def test_simple_rules_by_hand():
    scores = [0.0, 1.0, 2.0, 3.0]
    assert Fixed(2.5).fit(scores).value_ == 2.5
    assert Sigma(2.0).fit(scores).value_ == pytest.approx(1.5 + 2 * np.sqrt(1.25))
    assert Quantile(0.5).fit(scores).value_ == 1.5


def test_conformal_takes_the_right_order_statistic():
    # n = 19, alpha = 0.05: k = ceil(20 * 0.95) = 19, the largest; a float slip would ask for 20
    assert Conformal(alpha=0.05).fit(np.arange(19)).value_ == 18
    # n = 99, alpha = 0.1: k = 90
    assert Conformal(alpha=0.1).fit(np.arange(99)).value_ == 89


def test_conformal_says_how_many_rows_it_needs():
    with pytest.warns(CalibrationWarning, match="at least 99 held-out normal rows, got 98"):
        assert Conformal(alpha=0.01).fit(np.arange(98)).value_ == np.inf
    with pytest.warns(CalibrationWarning, match="got 0"):
        assert Conformal(alpha=0.5).fit([]).value_ == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(Conformal(alpha=0.01).fit(np.arange(99)).value_)


@settings(deadline=None, max_examples=60)
@given(st.integers(5, 400), st.floats(0.01, 0.5), st.integers(0, 2**31))
def test_conformal_never_exceeds_its_budget(n, alpha, seed):
    """P(new > cut) = 1 - k / (n + 1) <= alpha, whatever the scores (exact: uniform ranks)."""
    scores = np.random.default_rng(seed).normal(size=n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        cut = Conformal(alpha=alpha).fit(scores).value_
    k = (scores <= cut).sum() if np.isfinite(cut) else n + 1
    assert 1 - k / (n + 1) <= alpha + 1e-9
    assert 1 - (k - 1) / (n + 1) > alpha - 1e-9 or k == 1  # and no stricter than it must be


def test_realised_rates_follow_the_beta_binomial_law():
    """200 draws: one fixed cut's false alarms among m new rows are BetaBinomial(m, n+1-k, k)."""
    rng = np.random.default_rng(0)
    n, m, alpha = 200, 500, 0.05
    counts = np.empty(200, dtype=int)
    for i in range(200):
        scores = rng.exponential(size=n + m)
        counts[i] = (scores[n:] > Conformal(alpha=alpha).fit(scores[:n]).value_).sum()
    k = int(np.ceil((n + 1) * (1 - alpha)))
    law = stats.betabinom(m, n + 1 - k, k)
    # probability integral transform of a discrete law, randomised: uniform if the law is right
    u = law.cdf(counts - 1) + rng.random(200) * law.pmf(counts)
    assert stats.kstest(u, "uniform").pvalue > 0.01
    binomial = stats.binom(m, alpha)  # the law that forgets the calibration rows were few: refuted
    v = binomial.cdf(counts - 1) + rng.random(200) * binomial.pmf(counts)
    assert stats.kstest(v, "uniform").pvalue < 1e-3


def _ar1(phi, n, streams, rng):
    noise = rng.normal(size=(streams, n + 300))
    return signal.lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=1)[:, 300:]


@pytest.mark.parametrize("kind", ["ar1", "seasonal"])
def test_block_version_holds_on_average_over_dependent_streams(kind):
    """Mean rate within three standard errors of alpha. (Two would refuse a right method for one
    seed in twenty; benchmarks/calibration.py judges far more streams, at two.)"""
    rng = np.random.default_rng(0)
    n, m, streams, alpha = 1_000, 3_000, 300, 0.05
    X = _ar1(0.9 if kind == "ar1" else 0.5, n + m, streams, rng)
    if kind == "seasonal":
        phase = rng.random((streams, 1))
        X = X + 2 * np.sin(2 * np.pi * (np.arange(n + m) / 50 + phase))
    rates = np.array([(s[n:] > Conformal(alpha=alpha, block="auto").fit(s[:n]).value_).mean()
                      for s in np.abs(X)])
    standard_error = rates.std(ddof=1) / np.sqrt(streams)
    assert abs(rates.mean() - alpha) <= 3 * standard_error
    if kind == "ar1":  # strong memory: counting rows as if they were independent is refuted
        plain = [(s[n:] > Conformal(alpha=alpha).fit(s[:n]).value_).mean() for s in np.abs(X)]
        assert np.mean(plain) > rates.mean() + standard_error
    # one stream on its own is no better than its effective rows
    assert rates.std() > 1.2 * np.sqrt(alpha * (1 - alpha) / n)


def test_effective_size_sees_dependence():
    rng = np.random.default_rng(0)
    independent = effective_size(rng.normal(size=4_000), 0.1)
    dependent = effective_size(_ar1(0.95, 4_000, 1, rng)[0], 0.1)
    assert independent > 2_500 and dependent < independent / 5
    with pytest.raises(ValueError, match="block must be"):
        effective_size(np.zeros(10), 0.1, "long")
    few = np.repeat(rng.normal(size=20), 50)  # twenty values, fifty times each
    assert effective_size(few, 0.1, block=10_000) < 100  # a block that does not fit is cut
    tied = np.repeat([0.0, 1.0, 0.0, 1.0, 0.0], 20)  # nothing above the quantile
    assert effective_size(tied, 0.1) < 50


@pytest.mark.parametrize(("law", "shape"), [(stats.genpareto(0.3), 0.3), (stats.expon(), 0.0),
                                            (stats.genpareto(-0.3), -0.3)])
def test_pareto_fit_finds_the_shape(law, shape):
    fitted = np.array([fit_pareto(law.rvs(2_000, random_state=i)) for i in range(30)])
    assert fitted.mean(axis=0) == pytest.approx([shape, 1.0], abs=0.05)


def test_pot_extrapolates_where_conformal_cannot():
    true = stats.norm.isf(1e-4)
    cuts = [POT(alpha=1e-4).fit(stats.norm.rvs(size=2_000, random_state=i)).value_
            for i in range(40)]
    assert np.mean(cuts) == pytest.approx(true, abs=0.25)
    with pytest.warns(CalibrationWarning, match="POT"):
        scores = stats.norm.rvs(size=2_000, random_state=0)
        assert Conformal(alpha=1e-4).fit(scores).value_ == np.inf


def test_pot_inside_the_data_is_the_quantile():
    scores = np.random.default_rng(0).normal(size=1_000)
    assert POT(alpha=0.2).fit(scores).value_ == np.quantile(scores, 0.8)


def test_pot_refuses_a_tail_of_nothing():
    with pytest.raises(ValueError, match="at least 10 peaks"):
        POT(alpha=0.001).fit(np.arange(50))
    with pytest.raises(ValueError, match="at least 10 peaks"):
        POT(alpha=0.001).fit(np.zeros(500))


def test_incident_budget_counts_bursts_once():
    # ten days at one row a minute, one burst a day of growing height, each 30 rows long
    scores = np.random.default_rng(0).random(14_400)
    for day in range(10):
        scores[day * 1_440 + 700:day * 1_440 + 730] = 10 + day
    rule = Conformal(per="1/day", interval="1min", rest=60).fit(scores)
    # ten incidents are allowed in ten days: the cut is the lowest burst, which is then not above it
    assert rule.value_ == 10.0
    per_week = Conformal(per="1/week", interval=60, rest=60).fit(scores)
    assert per_week.value_ == 19.0
    # per row, the same budget sees thirty alarms in a burst
    assert Conformal(alpha=10 / 14_400).fit(scores).value_ > 10.0


def test_incident_budget_refuses_what_the_data_cannot_show():
    scores = np.random.default_rng(0).exponential(size=1_000)
    with pytest.raises(ValueError, match="hold out at least 10080 rows, or let POT"):
        Conformal(per="1/week", interval="1min").fit(scores)
    cut = POT(per="1/week", interval="1min", rest=0).fit(scores).value_
    assert 7 < cut < 12  # the true cut is log(10080) = 9.2
    for bad, match in (({"per": "often", "interval": 1}, "per must look like"),
                       ({"per": "1/day"}, "needs interval"),
                       ({"per": "1/day", "interval": "soon"}, "interval must be"),
                       ({"per": "1/day", "interval": -1}, "interval must be above 0"),
                       ({"per": "1/day", "interval": "60"}, "interval must be a number"),
                       ({"per": "1/hour", "interval": 60, "rest": 1.5}, "rest must be"),
                       ({"per": "1/day", "interval": 60, "alpha": 7}, "alpha must be")):
        with pytest.raises(ValueError, match=match):
            Conformal(**bad).fit(scores)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "0.1", True])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="alpha must be a rate"):
        Conformal(alpha=alpha).fit(np.arange(100))


@pytest.mark.parametrize("scores", [[np.nan, 1.0], [[1.0]], [np.inf]])
def test_scores_are_checked(scores):
    with pytest.raises(ValueError, match="scores must be"):
        Quantile().fit(scores)


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no threshold: NaN"):
        Fixed(float("nan")).fit([1.0])
    with pytest.raises(ValueError, match="q must lie"):
        Quantile("x").fit([1.0])


def test_intervals_of_every_kind_mean_the_same():
    scores = np.random.default_rng(0).random(5_000)
    cuts = {Conformal(per="1/day", interval=minute).fit(scores).value_ for minute in (
        60, 60.0, "1min", "60s", np.timedelta64(1, "m"), timedelta(minutes=1), np.int64(60))}
    assert len(cuts) == 1


def test_fit_leaves_the_scores_alone():
    scores = np.random.default_rng(0).normal(size=200)
    kept = scores.copy()
    for rule in (Fixed(), Sigma(), Quantile(), Conformal(block="auto"), POT(),
                 Conformal(per="50/hour", interval=60)):
        rule.fit(scores)
        assert (scores == kept).all()


def test_p_values_are_valid_for_normal_rows():
    """Super-uniform: P(p <= t) <= t over the joint draw of held-out and new rows."""
    rng = np.random.default_rng(0)
    p = np.concatenate([Calibration().fit(rng.normal(size=99)).p_value(rng.normal(size=20))
                        for _ in range(500)])
    for t in (0.01, 0.05, 0.1, 0.5):
        assert (p <= t).mean() == pytest.approx(t, abs=0.012)


def test_p_values_beyond_the_data():
    scores = np.random.default_rng(0).exponential(size=1_000)
    calibration = Calibration().fit(scores)
    far = np.array([scores.max() + 1, 20.0, 100.0])
    assert calibration.p_value(far) == pytest.approx(1 / 1_001)
    assert calibration.is_extrapolated(far).all()
    assert not calibration.is_extrapolated(scores).any()
    extrapolated = calibration.p_value(far, extrapolate=True)
    assert (np.diff(extrapolated) < 0).all() and (extrapolated > 0).all()
    assert -calibration.log_p([20.0])[0] == pytest.approx(20, rel=0.3)  # the true law is exp(-x)
    ascending = np.linspace(-1, 60, 2_000)
    assert (np.diff(calibration.log_p(ascending)) <= 1e-12).all()


def test_calibration_without_rows_claims_nothing():
    assert Calibration().fit([]).p_value([5.0]).tolist() == [1.0]
    assert Calibration().fit([]).severity([5.0], alpha=0.05).tolist() == [0.0]


def test_severity_anchors_and_order():
    alpha = 0.01
    at = severity(np.log([1.0, alpha, alpha / 10, 1e-300]), alpha)
    assert at[:3] == pytest.approx([0.0, 0.7, 0.9]) and 0.99 < at[3] <= 1
    dense = severity(-np.linspace(0, 40, 4_000), alpha)
    assert (np.diff(dense) >= 0).all() and dense.max() <= 1
    lower = severity([np.log(alpha / 100)], alpha, alpha_critical=alpha / 100)
    assert lower[0] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="alpha_critical must be below"):
        severity([0.0], 0.01, alpha_critical=0.02)
