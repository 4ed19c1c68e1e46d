"""Thresholds and calibration: worked values, laws that must hold, and refusals."""

import warnings
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest

from adlib.detectors import KNN, Ensemble, PCAReconstruction, RandomFeatureAE, Voting
from adlib.persist import load, save
from adlib.thresholds import (
    POT,
    SPOT,
    Calibration,
    CalibrationWarning,
    Conformal,
    ExchangeabilityTest,
    Fixed,
    OnlineFDR,
    Quantile,
    Sigma,
    Tracking,
    above_ties,
    benjamini_hochberg,
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
    rule = Conformal(per="1/day", interval="1min", refractory=60).fit(scores)
    # ten incidents are allowed in ten days: the cut is the lowest burst, which is then not above it
    assert rule.value_ == 10.0
    per_week = Conformal(per="1/week", interval=60, refractory=60).fit(scores)
    assert per_week.value_ == 19.0
    # per row, the same budget sees thirty alarms in a burst
    assert Conformal(alpha=10 / 14_400).fit(scores).value_ > 10.0


@pytest.mark.parametrize("rule", [Conformal, POT])
def test_the_former_name_of_the_refractory_period_still_works(rule):
    with pytest.warns(FutureWarning, match="'rest' is now called 'refractory'"):
        old = rule(per="1/day", interval=60, rest=7)
    assert old.get_params()["refractory"] == clone(old).refractory == 7


def test_incident_budget_refuses_what_the_data_cannot_show():
    scores = np.random.default_rng(0).exponential(size=1_000)
    with pytest.raises(ValueError, match="hold out at least 10080 rows, or let POT"):
        Conformal(per="1/week", interval="1min").fit(scores)
    cut = POT(per="1/week", interval="1min", refractory=0).fit(scores).value_
    assert 7 < cut < 12  # the true cut is log(10080) = 9.2
    for bad, match in (({"per": "often", "interval": 1}, "per must look like"),
                       ({"per": "1/day"}, "needs interval"),
                       ({"per": "1/day", "interval": "soon"}, "interval must be"),
                       ({"per": "1/day", "interval": -1}, "interval must be above 0"),
                       ({"per": "1/day", "interval": "60"}, "interval must have a unit"),
                       ({"per": "1/hour", "interval": 60, "refractory": 1.5},
                        "refractory must be"),
                       ({"per": "1/day", "interval": 60, "alpha": 7}, "alpha must be")):
        with pytest.raises(ValueError, match=match):
            Conformal(**bad).fit(scores)


@pytest.mark.parametrize("draw", [
    lambda rng, n: np.abs(rng.normal(size=n)),
    lambda rng, n: rng.exponential(size=n),
    lambda rng, n: np.abs(signal.lfilter([1], [1, -0.9], rng.normal(size=n + 200)))[200:],
], ids=["normal", "exponential", "ar1"])
def test_pot_extrapolates_an_incident_budget(draw):
    """One false alarm a week learned from a day and a half; the tail of the rows gave 3 to 13."""
    rates = []
    for seed in range(30):
        seen = draw(np.random.default_rng(seed), 2_000)
        cut = POT(per="1/week", interval="1min").fit(seen).value_
        above = np.flatnonzero(draw(np.random.default_rng(1_000 + seed), 100_800) > cut)
        rates.append((1 + (np.diff(above) > 10).sum()) / 10 if len(above) else 0.0)
    assert 0.2 < np.mean(rates) < 2.5


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "0.1", True])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="alpha must be a number above 0"):
        Conformal(alpha=alpha).fit(np.arange(100))


@pytest.mark.parametrize("scores", [[np.nan, 1.0], [[1.0]], [np.inf]])
def test_scores_are_checked(scores):
    with pytest.raises(ValueError, match="scores must (be|have)"):
        Quantile().fit(scores)


def test_a_threshold_that_is_none_is_refused():
    with pytest.raises(ValueError, match="value must be a number"):
        Fixed(float("nan")).fit([1.0])
    with pytest.raises(ValueError, match="q must be a number"):
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


# -- adaptive thresholds ------------------------------------------------------------------------


def _hostile(n, rng):
    """Sequences that no law describes."""
    yield np.cumsum(rng.normal(size=n))
    yield np.where(np.arange(n) < n // 2, rng.normal(size=n), 50 + rng.normal(size=n))
    yield np.where(rng.random(n) < 0.5, 1e3, -1e3)
    yield np.linspace(0, 30, n) ** 2
    yield np.tile([0.0, 100.0], n // 2)


def test_tracking_keeps_its_bound_on_any_sequence():
    """|rate - alpha| <= (high - low + eta) / (eta T) for every T: a promise without probability."""
    start = np.random.default_rng(1).normal(size=200)
    for scores in _hostile(4_000, np.random.default_rng(0)):
        rule = Tracking(alpha=0.1, step=0.2).fit(start)
        first = rule.value_
        alarms = np.cumsum(scores > rule.process(scores))
        low = np.minimum(np.minimum.accumulate(scores), first)
        high = np.maximum(np.maximum.accumulate(scores), first)
        t = np.arange(1, len(scores) + 1)
        assert (np.abs(alarms / t - 0.1) <= (high - low + rule.eta_) / (rule.eta_ * t) + 1e-9).all()


def test_tracking_by_hand():
    rule = Tracking(alpha=0.2, step=1.0).fit(np.linspace(0, 1, 21))  # eta = 0.9, first cut 0.8
    assert rule.value_ == pytest.approx(0.8) and rule.eta_ == pytest.approx(0.9)
    assert rule.update(0.9) and rule.value_ == pytest.approx(0.8 + 0.9 * 0.8)
    assert not rule.update(0.9) and rule.value_ == pytest.approx(1.52 - 0.9 * 0.2)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_spot_holds_its_rate_where_level_and_spread_change_slowly(alpha):
    rng = np.random.default_rng(0)
    n, rates = 6_000, {}
    for name, drift, spread in (("still", 0.0, 1.0), ("level", 20.0, 1.0), ("spread", 0.0, 2.0)):
        runs = []
        for _ in range(4):
            x = rng.normal(size=2_000 + n)
            x[2_000:] = x[2_000:] * np.linspace(1, spread, n) + np.linspace(0, drift, n)
            rule = SPOT(alpha, depth=100).fit(x[:2_000])
            runs.append((x[2_000:] > rule.process(x[2_000:])).mean())
        rates[name] = np.mean(runs)
        fixed = POT(alpha).fit(x[:2_000]).value_
        if name != "still":  # the cut that stays where it was is refuted
            assert (x[2_000:] > fixed).mean() > 2 * alpha
    assert rates["still"] == pytest.approx(alpha, rel=0.15)
    assert rates["level"] == pytest.approx(alpha, rel=0.2)
    assert alpha <= rates["spread"] < 1.8 * alpha  # it follows, a memory behind


def test_spot_is_not_raised_by_one_absurd_score():
    x = np.random.default_rng(0).normal(size=3_000)
    wild, plain = (SPOT(0.01, depth=20).fit(x[:1_000]) for _ in range(2))
    assert wild.update(1e9) and not plain.update(0.0)
    cuts = wild.process(x[1_000:]), plain.process(x[1_000:])
    assert np.abs(cuts[0] - cuts[1]).max() < 0.5
    assert (x[1_000:] > cuts[0]).mean() == pytest.approx(0.01, abs=0.005)


def test_spot_starts_as_pot():
    x = np.random.default_rng(0).exponential(size=2_000)
    assert SPOT(0.001).fit(x).value_ == pytest.approx(POT(0.001).fit(x).value_)


def test_adaptive_cuts_are_set_before_the_score_is_seen():
    x = np.random.default_rng(0).normal(size=1_500)
    changed = x.copy()
    changed[1_200:] += 9
    for rule in (Tracking(0.05), SPOT(0.05, depth=10)):
        cuts = [rule.fit(x[:1_000]).process(s[1_000:]) for s in (x, changed)]
        assert (cuts[0][:201] == cuts[1][:201]).all() and (cuts[0] != cuts[1]).any()


def test_adaptive_refusals():
    x = np.random.default_rng(0).normal(size=300)
    for rule, match in ((Tracking(step=0), "step must be"), (SPOT(0.1), "must be below tail"),
                        (SPOT(tail=2), "tail must be"), (SPOT(memory=50), "memory must be"),
                        (SPOT(depth=-1), "depth must be"), (SPOT(0.01, depth=250), "at least 350"),
                        (Tracking(alpha=2), "alpha must be")):
        with pytest.raises(ValueError, match=match):
            rule.fit(x)
    with pytest.raises(ValueError, match="at least 2"):
        Tracking().fit([1.0])
    with pytest.raises(ValueError, match="different peaks"):
        SPOT().fit(np.zeros(300))


@pytest.mark.parametrize("rule", [Tracking(), SPOT()], ids=lambda rule: type(rule).__name__)
def test_a_detector_goes_live_with_an_adaptive_threshold(rule, tmp_path):
    rng = np.random.default_rng(0)
    detector = KNN(threshold=rule).fit(rng.normal(size=(600, 2)))
    score = detector.anomaly_score(rng.normal(size=(100, 2)))
    assert ((detector.severity(rng.normal(size=(50, 2))) > 0.7).sum() < 15)
    again = load(save(detector, tmp_path / "knn"))
    live, loaded = detector.threshold_rule_, again.threshold_rule_
    assert (live.process(score) == loaded.process(score)).all()
    assert live.value_ == loaded.value_ != detector.threshold_


# -- false discoveries --------------------------------------------------------------------------


def test_benjamini_hochberg_by_hand():
    """The worked example of Benjamini and Hochberg (1995), section 3: four rejections at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
         0.5719, 0.6528, 0.7590, 1.0]
    found = benjamini_hochberg(p, 0.05)
    assert found.is_discovery.sum() == 4 and found.p_cut == 0.0095
    assert benjamini_hochberg([0.9, 0.5], 0.1).is_discovery.tolist() == [False, False]
    assert benjamini_hochberg([], 0.1).p_cut == 0.0
    # a step-up rule: the small one is carried by those behind it
    assert benjamini_hochberg([0.03, 0.04, 0.05], 0.05).is_discovery.all()


def test_benjamini_hochberg_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(40) ** rng.integers(1, 5)
        assert (benjamini_hochberg(p, 0.2).is_discovery
                == (stats.false_discovery_control(p) <= 0.2)).all()


def _proportions(normal_rate, batches, n, m, fdr, rng):
    """False discovery proportions, and the share of anomalies found, over batches."""
    false, power = [], []
    for _ in range(batches):
        calibration = Calibration().fit(rng.normal(size=n))
        anomalous = np.arange(m) >= normal_rate * m
        p = calibration.p_value(rng.normal(size=m) + 3.5 * anomalous)
        found = benjamini_hochberg(p, fdr, n_calibration=n).is_discovery
        false.append((found & ~anomalous).sum() / max(found.sum(), 1))
        power.append(found[anomalous].mean() if anomalous.any() else 0.0)
    return np.array(false), np.mean(power)


@pytest.mark.parametrize("normal_rate", [0.9, 0.5, 1.0])
def test_realised_share_of_false_flags_over_200_batches(normal_rate):
    """At most fdr times the share of normal rows, all p-values resting on the same rows."""
    rng = np.random.default_rng(0)
    false, power = _proportions(normal_rate, 200, 999, 200, 0.2, rng)
    error = false.std(ddof=1) / np.sqrt(200)
    assert false.mean() <= 0.2 * normal_rate + 2 * error
    if normal_rate < 1:
        assert power > 0.7  # and not by flagging nothing
        assert false.mean() > 0.1 * normal_rate


def test_fewest_discoveries_follow_from_the_floor_of_p():
    p_floor = 1 / 100  # 99 calibration rows
    found = benjamini_hochberg(np.r_[np.full(9, p_floor), np.ones(91)], 0.1, n_calibration=99)
    assert found.fewest == 10 and not found.is_discovery.any()  # nine perfect rows are too few
    found = benjamini_hochberg(np.r_[np.full(10, p_floor), np.ones(90)], 0.1, n_calibration=99)
    assert found.is_discovery.sum() == 10
    with pytest.warns(CalibrationWarning, match="at least 19 calibration rows, got 18"):
        benjamini_hochberg(np.full(5, 1 / 19), 0.05, n_calibration=18)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert benjamini_hochberg(np.full(5, 1 / 20), 0.05, n_calibration=19).is_discovery.all()


def _weights(flags, decay):
    """sum of decay^age over flagged rows, at every row."""
    return signal.lfilter([1.0], [1.0, -decay], flags.astype(float))


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1])
def test_online_fdr_over_streams(rate):
    """The weight of false discoveries over max(1, weight of discoveries), at many moments."""
    rng, n, fdr, memory = np.random.default_rng(0), 2_000, 0.2, 200
    worst, found_share = [], []
    for _ in range(150):
        anomalous = rng.random(n) < rate
        p = np.where(anomalous, rng.random(n) * 1e-6, rng.random(n))
        found = OnlineFDR(fdr, memory=memory).process(p)
        decay = 1 - 1 / memory
        share = _weights(found & ~anomalous, decay) / np.maximum(_weights(found, decay), 1)
        worst.append(share[199::200])
        found_share.append(found[anomalous].mean() if anomalous.any() else np.nan)
    worst = np.array(worst)
    assert (worst.mean(axis=0) <= fdr + 3 * worst.std(axis=0) / np.sqrt(len(worst))).all()
    if rate:
        assert np.nanmean(found_share) > 0.99  # the level never dies out
        assert worst.mean() > 0.01  # and it is not silence that keeps the promise


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=300), st.integers(2, 200))
def test_online_fdr_never_overspends(p, memory):
    """decayed levels <= fdr max(1, decayed discoveries): the inequality the proof rests on."""
    stream, decay = OnlineFDR(0.1, memory=memory), 1 - 1 / memory
    spent = found = 0.0
    for value in p:
        spent *= decay
        found *= decay
        stream._start() if not hasattr(stream, "level_") else None
        spent += stream.level_
        found += stream.update(value)
        assert spent <= 0.1 * max(1.0, found) + 1e-12


def test_discoveries_refuse():
    for bad in ([1.2], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match="p must be p-values"):
            benjamini_hochberg(bad)
    with pytest.raises(ValueError, match="n_calibration must be"):
        benjamini_hochberg([0.1], n_calibration=0)
    with pytest.raises(ValueError, match="memory must be"):
        OnlineFDR(memory=1).update(0.5)
    with pytest.raises(ValueError, match="p must be a number"):
        OnlineFDR().update(np.nan)


# -- the exchangeability martingale ---------------------------------------------------------------


def test_ville_bound_on_clean_streams():
    """However long one watches, wealth ever reaches C with probability <= 1 / C."""
    rng, streams = np.random.default_rng(0), 400
    X = rng.standard_t(3, size=(streams, 850))
    X[::2] = np.round(X[::2])  # half of them with ties
    peaks = np.array([ExchangeabilityTest(random_state=i).fit(x[:50]).process(x[50:]).max()
                      for i, x in enumerate(X)])
    for c in (5, 20, 100):
        assert (peaks >= np.log(c)).mean() <= 1 / c + 2 * np.sqrt(1 / c / streams)
    assert (peaks >= np.log(2)).mean() > 0.02  # it does bet


def test_smoothed_p_values_are_uniform_and_independent():
    rng = np.random.default_rng(0)
    test = ExchangeabilityTest().fit(rng.integers(0, 3, 50))  # ties everywhere
    p = []
    for score in rng.integers(0, 3, 4_000):
        test.update(score)
        p.append(test.p_)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 0.05


@pytest.mark.parametrize("change", ["level", "spread", "memory"])
def test_the_martingale_grows_when_something_changes(change):
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=500), rng.normal(size=500)
    after = {"level": after + 1, "spread": np.abs(after) * 2, "memory": _ar1(0.95, 500, 1, rng)[0]}[
        change]
    test = ExchangeabilityTest().fit(before)
    assert test.process(rng.normal(size=300)).max() < np.log(100)
    assert test.process(after).max() > np.log(100)


def test_whitening_is_what_the_promise_needs():
    """Autocorrelated streams in which nothing changes: rejected as they are, not as residuals."""
    rng, streams = np.random.default_rng(0), 60
    X = _ar1(0.9, 2_000, streams, rng)
    peaks = {order: np.array([ExchangeabilityTest(order=order).fit(x[:1_000]).process(
        x[1_000:]).max() for x in X]) for order in (0, 1)}
    assert (peaks[0] > np.log(100)).mean() > 0.5
    assert (peaks[1] > np.log(20)).mean() <= 0.05 + 2 * np.sqrt(0.05 / streams)
    wider = [ExchangeabilityTest(order=1).fit(x[:1_000]).process(x[1_000:] + 0.05 * np.arange(
        1_000)).max() for x in X[:10]]
    assert np.median(wider) > np.log(100)  # and a change is still seen


def test_the_martingale_is_reproducible_and_can_be_saved(tmp_path):
    rng = np.random.default_rng(0)
    X, later = rng.normal(size=200), rng.normal(size=200)
    runs = [ExchangeabilityTest(order=2, random_state=s).fit(X).process(later) for s in (0, 0, 1)]
    assert (runs[0] == runs[1]).all() and (runs[0] != runs[2]).any()
    detector = KNN().fit(rng.normal(size=(100, 2)))
    detector.watch_ = ExchangeabilityTest(order=2).fit(X)
    detector.watch_.process(later[:50])
    again = load(save(detector, tmp_path / "m")).watch_
    assert (again.process(later[50:]) == detector.watch_.process(later[50:])).all()
    with pytest.raises(ValueError, match="order=5 needs at least 100 scores, got 40"):
        ExchangeabilityTest(order=5).fit(X[:40])
    with pytest.raises(ValueError, match="order must be"):
        ExchangeabilityTest(order=-1).fit(X)
    with pytest.raises(ValueError, match="score must be a number"):
        ExchangeabilityTest().fit(X).update(np.nan)


# -- tied scores ----------------------------------------------------------------------------------

TIED = {  # benchmarks/calibration.py has more, and 200 seeds
    "flag": lambda n, rng: (rng.random((n, 1)) < 0.01) * 1.0,
    "counts": lambda n, rng: rng.binomial(5, 0.2, (n, 2)) * 1.0,
    "zero-inflated": lambda n, rng: rng.exponential(size=(n, 2)) * (rng.random((n, 2)) < 0.2),
    "rounded": lambda n, rng: rng.normal(size=(n, 2)).round(1),
    "one-hot": lambda n, rng: np.eye(4)[rng.choice(4, n, p=(0.7, 0.2, 0.08, 0.02))],
    "duplicates": lambda n, rng: np.full((n, 2), 0.1),
    "nearly a flag": lambda n, rng: (rng.random((n, 1)) < 0.01) + 1e-6 * rng.normal(size=(n, 1)),
}


@pytest.mark.filterwarnings("ignore:Ensemble goes on without")
@pytest.mark.parametrize("calibration", ["cross", "split"])
@pytest.mark.parametrize("kind", TIED)
def test_ties_only_lower_the_rate(kind, calibration):
    """The budget bounds the rate from above: new rows by the beta-binomial law, old ones surely."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, new = TIED[kind](300, rng), TIED[kind](1_000, rng)
        for detector in (KNN(), PCAReconstruction(), RandomFeatureAE(n_hidden=32, random_state=0),
                         Ensemble(members=[PCAReconstruction(), KNN()],
                                  random_state=seed)):
            detector.set_params(calibration=calibration).fit(X)
            score, held_out = detector.anomaly_score(new), detector.calibration_.scores_
            for alpha in (0.02, 0.05, 0.1):
                k = int(np.ceil((len(held_out) + 1) * (1 - alpha) - 1e-9))
                cut = np.sort(held_out)[k - 1]
                law = stats.betabinom(len(new), len(held_out) + 1 - k, k)
                assert (score > cut).sum() <= law.ppf(0.9999), (detector, seed, alpha)
                if calibration == "cross":
                    assert (detector.anomaly_score(X) > cut).mean() <= alpha
            if seed == 0:  # alone or in company: a row at the cut is not flagged for a last digit
                alone = [detector.predict(row[None])[0] < 0 for row in new[:50]]
                assert alone == (score[:50] > detector.threshold_).tolist()


@pytest.mark.filterwarnings("ignore:Voting goes on without")
def test_a_rare_flag_does_not_make_all_other_rows_anomalous():
    """One seed in six flagged every normal row: the folds scored zeros lower than the model did."""
    rng = np.random.default_rng(1)
    X = (rng.random((1_000, 1)) < 0.01) * 1.0
    members = [(IsolationForest(n_estimators=10), 1.0), (EllipticEnvelope(), 1.0), (KNN(), 1.0)]
    for seed in (1, 5):
        voting = Voting(members=members, alpha=0.02, calibration="cross", random_state=seed).fit(X)
        assert not voting.detect(np.zeros((5, 1))).is_anomaly.any()
        assert voting.severity(np.zeros((5, 1))).max() < 0.5


def test_scores_equal_up_to_rounding_count_as_ties():
    scores = np.array([0.0, 0.3, 0.1 + 0.2, 5.0, 1e300, -2.0])
    raised = above_ties(scores)
    assert (raised[[0, 3, 4, 5]] == scores[[0, 3, 4, 5]]).all()
    assert (raised[1:3] > 0.1 + 0.2).all() and raised[1:3].max() < 0.3000001
    assert (above_ties(np.zeros(3)) < 1e-20).all()
    assert np.isfinite(above_ties(np.full(2, np.finfo(float).max))).all()
    assert len(above_ties(np.empty(0))) == 0
