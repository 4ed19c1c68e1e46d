import warnings

import numpy as np
import pytest

import adlib
from adlib.checks import detector_checks
from adlib.detectors import LinearForecast, OnlineForecast
from adlib.hindsight import lookback
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
    assert model.window_ == 17 and model.smoothing_ == model.usual_period_ / 2 >= 25
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
    assert LinearForecast().fit(series(d=3)).window_ == 17
    assert LinearForecast(window=65).fit(series(d=8)).window_ == 33  # 256 values
    assert LinearForecast().fit(series(300, d=200)).window_ == 3  # two rows at least
    assert LinearForecast(window=65).fit(series(100, d=1)).window_ == 21  # a quarter
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
    for detector in (LinearForecast(window="auto", smoothing=None),
                     LinearForecast(window=2, smoothing=1)):
        for name, check in detector_checks(detector):
            if name in ("smoothing", "sklearn"):
                check()


@pytest.mark.parametrize(("params", "words"), [
    ({"window": 1}, "window must be a whole number of rows >= 2"), ({"ridge": 0}, "ridge must be"),
    ({"tail": 1.5}, "tail must be"), ({"tail": 0}, "tail must be"),
    ({"window": "auto"}, "both spread a score")])
def test_refusals(params, words):
    with pytest.raises(ValueError, match=words):
        LinearForecast(**params).fit(series())


# -- row by row ---------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [None, 20])
def test_stream_and_batch_agree(memory):
    X, new = series(), series(600, seed=1)
    new[300:330] = new[270:300]
    new[400] = 1e300
    batch = LinearForecast(smoothing=memory, calibration=None).fit(X)
    stream = OnlineForecast(memory=memory, calibration=None).fit(X)
    whole = batch.anomaly_score(np.concatenate([X, new]))[len(X):]
    assert stream.anomaly_score(new) == pytest.approx(whole, rel=1e-7, abs=1e-9)
    assert stream.frozen_score(new[:1]) == pytest.approx(whole[:1])
    assert stream.contributions(new[:1]).sum() == pytest.approx(whole[0])


def test_few_rows_leave_old_lags_without_weight():
    X = series(60, d=1)
    stream = OnlineForecast(window=65, memory=5, calibration=None).fit(X)
    batch = LinearForecast(window=65, smoothing=5, calibration=None).fit(X)
    assert batch.window_ < 65 and not stream.weights_[:60 - batch.window_].any()
    new = series(30, d=1, seed=2)
    assert stream.process(new) == pytest.approx(
        batch.anomaly_score(np.concatenate([X, new]))[60:], rel=1e-7)


def test_an_unfitted_stream_learns_its_first_rows():
    X = series(900)
    score = OnlineForecast(warm_up=400).process(X)
    assert not score[:400].any() and score[400:].all()
    fitted = OnlineForecast(calibration=None).fit(X[:400])
    assert (fitted.process(X[400:]) == score[400:]).all()


def test_few_rows_place_no_threshold_on_remembered_errors():
    X = series()
    assert OnlineForecast(memory=30, alpha=0.01).fit(X).threshold_ == np.inf
    assert np.isfinite(OnlineForecast(alpha=0.01).fit(X).threshold_)
    assert np.isfinite(OnlineForecast(memory=2, alpha=0.2).fit(X).threshold_)
    assert lookback(OnlineForecast(memory=30).fit(X)) == 0  # of a stream, not of a call


def changing(n=3_000):
    """An autoregression whose sign changes at two thirds."""
    rng, x = np.random.default_rng(0), np.zeros((n, 1))
    for t in range(1, n):
        x[t] = (0.9 if t < n * 2 // 3 else -0.9) * x[t - 1] + rng.normal()
    return x


@pytest.mark.parametrize("params", [{}, {"gate": 1.0, "release": 30}])
def test_forgetting_follows_a_change(params):
    x = changing()
    fixed = OnlineForecast(window=5).fit(x[:1_000]).process(x[1_000:])
    model = OnlineForecast(window=5, forgetting=0.99, **params).fit(x[:1_000])
    learning = model.process(x[1_000:])
    assert np.mean(learning[500:1_000]) == pytest.approx(np.mean(fixed[500:1_000]), rel=0.3)
    assert np.mean(fixed[1_500:]) > 2 * np.mean(learning[1_500:])
    assert model.weights_[-2, 0] == pytest.approx(-0.9, abs=0.2)


def test_a_gate_keeps_a_change_out_for_good_without_release():
    x = changing()
    model = OnlineForecast(window=5, forgetting=0.99, gate=0.3, release=None).fit(x[:1_000])
    model.process(x[1_000:2_000])
    before = model.weights_.copy()
    model.process(np.full((50, 1), 1e300))
    assert np.array_equal(model.weights_, before)


def test_forgetting_does_not_wind_up():
    x = np.concatenate([changing(1_500), np.zeros((3_000, 1))])
    model = OnlineForecast(window=5, forgetting=0.95).fit(x[:1_000])
    assert np.isfinite(model.process(x[1_000:])).all()
    assert np.trace(model.covariance_) <= len(model.past_) / 10.0 * (1 + 1e-9)
    model.process(np.array([[1e300], [-1e300], [0.0]]))
    assert np.isfinite(model.process(changing(500))).all()


@pytest.mark.parametrize(("params", "words"), [
    ({"window": 1}, "window must be"), ({"warm_up": 5}, "warm_up must be"),
    ({"memory": 0.5}, "memory must be"), ({"forgetting": 1.0}, "forgetting must be"),
    ({"forgetting": 0.5}, "forgetting must be"), ({"smoothing": 5}, "smoothing"),
    ({"gate": 0}, "gate must be"), ({"release": 0}, "release must be")])
def test_refusals_online(params, words):
    with pytest.raises(ValueError, match=words):
        OnlineForecast(**params).fit(series())


@pytest.mark.parametrize(("name", "value"), [
    ("weights_", np.nan), ("past_", np.inf), ("noise_", -1.0), ("usual_", 0.0), ("errors_", -1.0),
    ("seen_", 10**7), ("known_", 10**7), ("known_", -1), ("trained_", 2)])
def test_a_state_that_no_stream_leaves_is_refused(name, value):
    waiting = OnlineForecast(memory=5)
    waiting.process(series(100))
    state = waiting.get_state()
    found = np.full_like(state[name], value) if isinstance(state[name], np.ndarray) else value
    with pytest.raises(ValueError, match="state must be of a detector with the parameters"):
        OnlineForecast(memory=5).set_state(state | {name: found})
