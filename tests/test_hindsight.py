"""Hindsight: aligned, smoothed, and never further ahead than was said."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib import Windows, all_detectors, hindsight_score
from adlib.datasets import load_tsb
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    RollingZScore,
    SquaredDifference,
    SquaredZ,
    Voting,
    baselines,
)
from adlib.hindsight import Kernel, hindsight_detect
from adlib.metrics import vus_pr
from adlib.periods import usual_period
from adlib.smoothing import gaussian_weights, memory_weights, smooth
from adlib.thresholds import POT, CalibrationWarning, Conformal

DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[2] / "shared" / "data"))
CHEAP = {"epochs": 1, "copies": 1, "hidden_size": 4, "width": 4}


def light(cls):
    model = cls()
    own = model.get_params()
    return model.set_params(**{k: v for k, v in CHEAP.items() if k in own and own[k] is not None
                               and isinstance(own[k], int)})


def stream(n, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(n)[:, None] / 8 + np.arange(d)) + 0.3 * rng.normal(size=(n, d))


MODELS = {name: light(cls) for name, cls in (all_detectors() | baselines()).items()}
MODELS |= {"KNN(window=24)": KNN(window=24, calibration=None),
           "IsolationForest": IsolationForest(n_estimators=10, random_state=0),
           "Pipeline": make_pipeline(StandardScaler(), Windows(9), IsolationForest(
               n_estimators=10, random_state=0)),
           "Pipeline of ours": make_pipeline(StandardScaler(), Windows(9), KNN(calibration=None))}


@pytest.mark.parametrize("name", MODELS)
def test_rows_after_the_delay_change_nothing(name):
    """For every detector, bit for bit; the shift of windows counts."""
    X = stream(400)
    model, t = MODELS[name].fit(X), 150
    new = stream(300, seed=1)
    for delay in (0, 3, 40):
        score = hindsight_score(model, new, delay=delay, width=12)
        assert score.shape == (300,) and score.dtype == np.float64
        later = new.copy()
        later[t + delay + 1:] = 50.0
        changed = hindsight_score(model, later, delay=delay, width=12)
        assert (changed[:t + 1] == score[:t + 1]).all(), delay
        assert (changed[t + delay + 1:] != score[t + delay + 1:]).any()
        shorter = hindsight_score(model, new[:t + delay + 1], delay=delay, width=12)[:t + 1]
        np.testing.assert_allclose(shorter, score[:t + 1], rtol=1e-5, atol=1e-7)
    assert (hindsight_score(model, new, delay=400, width=12)
            == hindsight_score(model, new, width=12)).all()


def test_a_window_is_laid_around_its_row():
    X = stream(600)
    model = KNN(window=21, calibration=None).fit(X[:300])
    new = X[300:].copy()
    new[150] += 8.0
    raw = model.anomaly_score(new)
    around = hindsight_score(model, new, width=0.5)
    weights, ahead = gaussian_weights(0.5)
    assert (around[:-10] == smooth(raw, weights, ahead)[10:]).all()
    assert abs(around[130:171].argmax() - 20) <= 10 and raw[:150].max() < around[141]
    late = hindsight_score(model, new, delay=4, width=0.5)  # 4 of 10 rows, and no Gaussian ahead
    assert late[146] > 2 * late[145]


def test_an_event_is_covered_and_noise_falls():
    X = stream(2_000, 1)
    X[1_500:1_560] += 1.5
    model = MaxAbsZ(calibration=None).fit(X[:1_000])
    y = np.arange(2_000) // 60 == 25
    causal, around = model.anomaly_score(X), hindsight_score(model, X, width=15)
    gap = {name: s[y].min() - np.quantile(s[~y], 0.95) for name, s in
           {"causal": causal, "around": around}.items()}
    assert gap["causal"] < 0 < gap["around"] + 0.2
    assert around.argmax() in range(1_515, 1_545)


def test_the_own_smoothing_and_state_are_left_alone():
    X = stream(500)
    model = RollingZScore(window=50).fit(X[:300])
    before = model.get_state()
    score = hindsight_score(model, X[300:], delay=5)
    after = model.get_state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (hindsight_score(model, X[300:], delay=5) == score).all()
    Y = X[300:].copy()
    hindsight_score(model, Y)
    assert (X[300:] == Y).all()


def test_width_by_default_follows_the_model():
    X = stream(400)
    for model, width in ((KNN(window=40), 12.0), (MaxAbsZ(), 37.5), (IsolationForest(), 37.5),
                         (RollingZScore(window=200), 37.5),
                         (make_pipeline(Windows(40), IsolationForest()), 12.0)):
        model.fit(X)
        assert (hindsight_score(model, X) == hindsight_score(model, X, width=width)).all()


def test_kernel_keeps_to_the_delay():
    for lag, width, delay in ((0, 3.0, 5), (10, 3.0, 5), (10, 3.0, 14), (10, 30.0, 14), (0, 9, 0)):
        kernel = Kernel.of(lag, width, delay)
        assert kernel.ahead + kernel.lag <= delay
        assert kernel.weights.sum() == pytest.approx(1)
    assert Kernel.of(7, 2.0, None)[1:] == (8, 7)
    short = np.arange(3.0)
    assert (Kernel.of(7, 2.0, None).moved(short) == 2).all() and not len(
        Kernel.of(7, 2.0, None).over(short[:0]))


# -- decisions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [None, Conformal(block="auto"), POT()])
def test_the_budget_is_kept_on_normal_rows(threshold):
    flagged = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        model = MaxAbsZ(alpha=0.05, threshold=threshold, calibration=None).fit(
            rng.normal(size=(500, 2)))
        found = hindsight_detect(model, rng.normal(size=(3_000, 2)),
                                 normal=rng.normal(size=(3_000, 2)), width=3)
        assert (found.score == hindsight_score(model, found_rows(seed), width=3)).all()
        flagged.append(found.is_anomaly.mean())
    assert 0.02 < np.mean(flagged) < 0.075


def found_rows(seed):
    rng = np.random.default_rng(seed)
    rng.normal(size=(500, 2))
    return rng.normal(size=(3_000, 2))


def test_too_few_rows_give_a_score_and_no_threshold():
    X = stream(1_500)
    model = MaxAbsZ(alpha=0.01).fit(X[:1_000])
    with pytest.warns(CalibrationWarning, match="scores smoothed over 66.* needs at least 39"):
        found = hindsight_detect(model, X, normal=X[1_000:])
    assert not found.is_anomaly.any() and np.isfinite(found.score).all()
    fixed = MaxAbsZ(threshold=1.0).fit(X[:1_000])
    found = hindsight_detect(fixed, X, normal=X[1_000:])
    assert (found.is_anomaly == (found.score > 1.0)).all()


def test_foreign_estimators_have_the_usual_budget():
    rng = np.random.default_rng(0)
    model = IsolationForest(random_state=0).fit(rng.normal(size=(500, 2)))
    new, normal = rng.normal(size=(2_000, 2)), rng.normal(size=(2_000, 2))
    rate = {alpha: hindsight_detect(model, new, normal=normal, width=2, alpha=alpha)[0].mean()
            for alpha in (None, 0.2)}
    assert 0.01 < rate[None] < 0.1 < rate[0.2] < 0.3


@pytest.mark.parametrize(("wrong", "says"), [
    ({"delay": -1}, "delay"), ({"delay": 2.5}, "delay"), ({"width": 0}, "width"),
    ({"width": np.nan}, "width"), ({"width": "wide"}, "width")])
def test_wrong_arguments_are_named(wrong, says):
    model = MaxAbsZ().fit(stream(100))
    with pytest.raises((ValueError, TypeError), match=says):
        hindsight_score(model, stream(50), **wrong)
    with pytest.raises(ValueError, match="alpha"):
        hindsight_detect(model, stream(50), normal=stream(50), alpha=2)
    with pytest.raises(NotFittedError), warnings.catch_warnings():
        hindsight_score(KNN(), stream(50))


# -- one-liners of the same strength --------------------------------------------------------------


@pytest.mark.parametrize("cls", [SquaredZ, SquaredDifference])
def test_squares_are_means_over_features_and_half_a_period(cls):
    X = stream(1_000, 3)
    X[600:, 1] += 2.0
    model = cls(calibration=None, smoothing="auto").fit(X[:500])
    z = (X - X[:500].mean(axis=0)) / X[:500].std(axis=0)
    if cls is SquaredDifference:
        steps = np.diff(X, axis=0, prepend=X[:1])
        z = steps / steps[1:500].std(axis=0)
    raw = (z**2).mean(axis=1)
    want = smooth(raw, memory_weights(usual_period(X[:500]) / 2))
    np.testing.assert_allclose(clone(model).set_params(smoothing=None).fit(X[:500]).anomaly_score(
        X), raw, rtol=1e-9)
    np.testing.assert_allclose(model.anomaly_score(X), want, rtol=1e-9)
    around = hindsight_score(model, X, width=20)
    np.testing.assert_allclose(around, smooth(raw, *gaussian_weights(20)), rtol=1e-9)
    np.testing.assert_allclose(model.contributions(X).sum(axis=1), want, rtol=1e-9)
    turned = clone(model).fit(X[:500, ::-1])
    np.testing.assert_allclose(turned.anomaly_score(X[:, ::-1]), want, rtol=1e-9)


@pytest.mark.skipif(not (DATA / "tsb").is_dir(), reason=f"no public series in {DATA}")
def test_on_public_series_squares_are_as_strong_as_published():
    """Mean VUS-PR over all 25 univariate series: .608 causal, .796 in hindsight."""
    found = []
    for data in list(load_tsb(part="U", root=DATA).values())[::4]:
        X, train = data.X, data.train_end
        model = SquaredDifference(calibration=None, smoothing="auto").fit(X[:train])
        around = hindsight_score(model, X, width=0.3 * usual_period(X[:train]))
        found.append([vus_pr(data.y, s, window=50) for s in (model.anomaly_score(X), around)])
    causal, around = np.mean(found, axis=0)
    assert causal > 0.3 and around > causal + 0.03


def test_a_committee_is_moved_as_its_narrowest_member():
    assert Ensemble(members=[KNN(window=21), MaxAbsZ(window=9)]).lag_ == 4
    assert Ensemble(members=[KNN(window=21), MaxAbsZ()], window=5).lag_ == 2
    assert Ensemble(members=[KNN(window=21), IsolationForest()]).lag_ == 0
    assert Ensemble(members=[KNN(window=21), RollingZScore()]).lag_ == 0
    assert Voting().lag_ == Ensemble().lag_ == 0
