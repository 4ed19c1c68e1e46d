"""Random features beside the lags: where a law is nonlinear, and nowhere else."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from adlib.detectors import LinearForecast, RandomFeatureForecast


def logistic(n=4_000, noise=0.01, seed=0):
    """A chaotic map, with a little noise on what is seen."""
    x = np.full(n, 0.3)
    for t in range(1, n):
        x[t] = 3.8 * x[t - 1] * (1 - x[t - 1])
    return (x + noise * np.random.default_rng(seed).normal(size=n))[:, None]


def autoregression(n=2_000, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 2))
    for t in range(1, n):
        X[t] += [0.7 * X[t - 1, 0], 0.5 * X[t - 1, 0]]
    return X


def test_sees_a_broken_law_that_no_linear_forecast_can():
    X, rng = logistic(), np.random.default_rng(1)
    at = np.sort(rng.choice(np.arange(2_010, 4_000), 40, replace=False))
    X[at] = rng.permutation(X[at])  # each value is an ordinary one
    y = np.isin(np.arange(2_000, 4_000), at)
    auc = [roc_auc_score(y, kind(window=3, smoothing=None).fit(X[:2_000]).anomaly_score(X)[2_000:])
           for kind in (LinearForecast, RandomFeatureForecast)]
    assert auc[0] < 0.7 and auc[1] > 0.9


def test_is_the_linear_forecast_where_that_suffices():
    X = autoregression()
    detector = RandomFeatureForecast(window=5, smoothing=None).fit(X)
    assert detector.share_ > 0.9 and not len(detector.readout_)
    linear = LinearForecast(window=5, smoothing=None).fit(X)
    np.testing.assert_array_equal(detector.anomaly_score(X), linear.anomaly_score(X))
    assert detector.threshold_ == linear.threshold_ < np.inf


def test_worth_decides():
    X = autoregression()
    always = RandomFeatureForecast(window=5, smoothing=None, worth=np.inf).fit(X)
    assert len(always.readout_) == 8 + 1 + 256
    chaos = RandomFeatureForecast(window=3, smoothing=None).fit(logistic())
    assert chaos.share_ < 0.1 and len(chaos.readout_) == 1 + 2 + 256
    sooner = RandomFeatureForecast(window=3, smoothing=None, worth=chaos.share_ / 2)
    assert not len(sooner.fit(logistic()).readout_)


def test_a_constant_channel_asks_for_nothing():
    X = np.column_stack([logistic(), np.ones(4_000)])
    assert RandomFeatureForecast(window=3, smoothing=None).fit(X).share_ < 0.1
    assert RandomFeatureForecast(window=3, smoothing=None).fit(np.ones((500, 2))).share_ == 1.0


def test_contributions_add_up_and_name_the_channel():
    rng = np.random.default_rng(2)
    X = np.column_stack([logistic(), rng.normal(size=4_000), logistic(seed=3)[::-1]])
    X[3_000, 0] = 0.5
    detector = RandomFeatureForecast(window=3, smoothing=None, worth=np.inf).fit(X[:2_000])
    parts = detector.contributions(X)
    np.testing.assert_allclose(parts.sum(axis=1), detector.anomaly_score(X))
    assert parts[3_000].argmax() == 0


@pytest.mark.parametrize(("name", "value"), [("n_hidden", 0), ("worth", 0), ("worth", np.nan)])
def test_refuses(name, value):
    with pytest.raises(ValueError, match=name):
        RandomFeatureForecast(**{name: value}).fit(logistic(300))
