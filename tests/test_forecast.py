import warnings

import numpy as np
import pytest

import adlib
from adlib.detectors import LinearForecast
from adlib.metrics import roc_auc
from adlib.smoothing import memory_weights, smooth
from adlib.thresholds import CalibrationWarning

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")


def series(n=1_500, d=3, seed=0, period=60):
    t, rng = np.arange(n)[:, None], np.random.default_rng(seed)
    return (np.sin(2 * np.pi * t / period + np.arange(d)) * np.arange(1, d + 1)
            + 0.1 * rng.normal(size=(n, d)) + 10 * np.arange(d))


def test_weights_are_those_of_the_process():
    rng, x = np.random.default_rng(0), np.zeros((20_000, 2))
    for t in range(2, len(x)):
        x[t] = [0.6 * x[t - 1, 0] - 0.3 * x[t - 2, 0] + rng.normal(),
                0.5 * x[t - 1, 0] + 0.1 * rng.normal()]
    model = LinearForecast(window=3, smoothing=None).fit(5.0 * x + 7.0)
    ratio = x.std(axis=0)[0] / x.std(axis=0)[1]
    assert model.weights_.shape == (2, 2, 2)
    assert model.weights_[1, 0] == pytest.approx([0.6, 0.5 * ratio], abs=0.03)
    assert model.weights_[0, 0] == pytest.approx([-0.3, 0.0], abs=0.03)
    assert model.noise_[1] == pytest.approx(0.01 / x.var(axis=0)[1], rel=0.1)


def naive(model, X):
    """The formula, row by row."""
    Z = (X - model.center_) / model.scale_
    q, weights = len(model.weights_), memory_weights(model.smoothing_)
    errors = np.empty_like(Z)
    for t in range(len(Z)):
        forecast = model.intercept_ + sum(
            Z[max(0, t - q + k)] @ model.weights_[k] for k in range(q))
        errors[t] = (Z[t] - forecast) ** 2 / model.noise_
    score = np.empty(len(Z))
    for t in range(len(Z)):
        last = errors[max(0, t + 1 - len(weights)):t + 1]
        own = weights[-len(last):]
        score[t] = np.log1p(own @ last / own.sum() / model.usual_).mean()
    return score


def test_the_score_is_the_formula_of_the_docstring():
    X, new = series(), series(400, seed=1)
    new[100:120] += 3
    model = LinearForecast(window=9, smoothing=10).fit(X)
    assert model.anomaly_score(new) == pytest.approx(naive(model, new), rel=1e-9)
    assert model.contributions(new).sum(axis=1) == pytest.approx(model.anomaly_score(new))
    flat = LinearForecast(window=9, smoothing=None).fit(X)
    errors = flat._squared_errors(new) / flat.noise_
    assert flat.anomaly_score(new) == pytest.approx(np.log1p(errors / flat.usual_).mean(axis=1))


def test_each_channel_is_measured_on_its_own_tail():
    X = series()
    model = LinearForecast(window=9, smoothing=10, calibration=None).fit(X)
    smoothed = smooth(model._squared_errors(X) / model.noise_, memory_weights(10))[8:]
    assert (smoothed <= model.usual_).mean(axis=0) == pytest.approx(0.99, abs=0.001)


@pytest.mark.parametrize("smoothing", [None, "auto"])
def test_the_order_of_channels_does_not_matter(smoothing):
    X, new = series(d=5), series(600, d=5, seed=1)
    new[300:330, 2] += 4
    order = [3, 1, 4, 0, 2]
    model = LinearForecast(smoothing=smoothing)
    first = model.fit(X).anomaly_score(new)
    parts = model.contributions(new)
    assert model.fit(X[:, order]).anomaly_score(new[:, order]) == pytest.approx(first, rel=1e-9)
    assert model.contributions(new[:, order]) == pytest.approx(parts[:, order], rel=1e-9)
    assert parts[310].argmax() == 2


def test_units_do_not_matter():
    X, new = series(), series(300, seed=1)
    score = LinearForecast(smoothing=10).fit(X).anomaly_score(new)
    other = LinearForecast(smoothing=10).fit(X * [1e6, 1e-6, 3] + [1, -2, 1e3])
    assert other.anomaly_score(new * [1e6, 1e-6, 3] + [1, -2, 1e3]) == pytest.approx(
        score, rel=1e-5)


def test_a_finite_past_decides_exactly():
    X = series()
    model = LinearForecast().fit(X)
    assert model.window_ == 65 and model.smoothing_ == model.usual_period_ / 2 >= 25
    new = series(800, seed=1)
    score = model.anomaly_score(new)
    wild = new.copy()
    wild[200] = 1e300
    after = model.anomaly_score(wild)
    assert np.isfinite(after).all() and after[200] > score[200] + 3
    back = 200 + model.context_ + 1
    assert after[back:] == pytest.approx(score[back:], rel=1e-9)
    assert model.anomaly_score(new[:500]) == pytest.approx(score[:500], rel=1e-9)
    assert model.anomaly_score(new[100:])[model.context_:] == pytest.approx(
        score[100 + model.context_:], rel=1e-9)


def test_what_a_window_may_hold():
    assert LinearForecast().fit(series(d=3)).window_ == 65
    assert LinearForecast().fit(series(d=8)).window_ == 33  # 256 values
    assert LinearForecast().fit(series(300, d=200)).window_ == 3  # two rows at least
    assert LinearForecast().fit(series(100, d=1)).window_ == 21  # a quarter of those that train
    assert LinearForecast(window=10).fit(series()).window_ == 10


@pytest.mark.parametrize("X", [
    np.full((200, 3), 7.0), np.column_stack([series(300), np.ones(300)]), series(12, d=2),
    series(9, d=1), 1e300 * series(400), 1e-300 * series(400), series(300, d=300),
    np.repeat(series(50), 6, axis=0), np.where(np.arange(300) % 150 == 9, 1e300, 1.0)[:, None]])
def test_odd_training_rows(X):
    for calibration in ("auto", None):
        model = LinearForecast(calibration=calibration, alpha=0.4).fit(X)
        new = X.copy()
        new[-1] += np.abs(X).max() / 2 + 1
        score = model.anomaly_score(new)
        assert np.isfinite(score).all() and score[-1] > score[:-2].mean()
        assert np.isfinite(model.contributions(new)).all()


def test_a_rare_binary_channel_does_not_outweigh_the_rest():
    rng = np.random.default_rng(0)
    X = np.column_stack([series(4_000), rng.random(4_000) < 0.002])
    new = np.column_stack([series(4_000, seed=1), rng.random(4_000) < 0.002])
    y = np.zeros(4_000, dtype=int)
    y[2_000:2_100] = 1
    new[2_000:2_100, 1] = new[1_970:2_070, 1]  # out of phase, within its range
    assert roc_auc(y, LinearForecast(smoothing=20).fit(X).anomaly_score(new)) > 0.97


def test_auto_trains_on_the_last_rows_too():
    X = series(2_000)
    auto, split = LinearForecast().fit(X), LinearForecast(calibration="split").fit(X)
    assert (auto.calibration_.scores_ == split.calibration_.scores_).all()
    assert not np.array_equal(auto.weights_, split.weights_)
    whole = LinearForecast(smoothing=auto.smoothing_, calibration=None).fit(X)
    assert np.array_equal(auto.weights_, whole.weights_)


def test_the_threshold_keeps_its_rate():
    X, new = series(6_000), series(6_000, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        found = LinearForecast(smoothing=None, alpha=0.05).fit(X).detect(new)
    assert 0.02 < found.is_anomaly.mean() < 0.09


def test_hindsight_smooths_the_errors_of_each_channel():
    X, new = series(), series(600, seed=1)
    new[300:330] = new[270:300]
    model = LinearForecast(smoothing=20).fit(X)
    around = adlib.hindsight_score(model, new)
    assert 295 < around.argmax() < 335 and around.argmax() < model.anomaly_score(new).argmax() + 5
    delayed = adlib.hindsight_score(model, new, delay=7)
    assert adlib.hindsight_score(model, new[:400], delay=7)[:393] == pytest.approx(
        delayed[:393], rel=1e-9)


def test_it_keeps_what_scikit_learn_asks():
    assert "sklearn" in adlib.check_detector(LinearForecast(window=3, smoothing=None))


@pytest.mark.parametrize(("params", "words"), [
    ({"window": 1}, "window must be a whole number of rows >= 2"), ({"ridge": 0}, "ridge must be"),
    ({"tail": 1.5}, "tail must be"), ({"tail": 0}, "tail must be"),
    ({"window": "auto"}, "both spread a score")])
def test_refusals(params, words):
    with pytest.raises(ValueError, match=words):
        LinearForecast(**params).fit(series())
