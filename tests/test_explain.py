"""Explanations: who is to blame, by how much, in words, and what would have been normal."""

import copy
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from adlib import plots
from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.datasets import inject, make_telemetry
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    PCAReconstruction,
    RandomFeatureAE,
    RollingZScore,
    SeasonalZScore,
    all_detectors,
)
from adlib.explain import _airport, explain
from adlib.windows import TimeFeatures, Windows

QUICK = {"Ensemble": {"members": [RandomFeatureAE(n_hidden=32), KNN()]},
         # spikes are single rows, and smoothed scores of so few rows have no threshold
         "LinearForecast": {"window": 9, "smoothing": None},
         "RandomFeatureForecast": {"window": 9, "smoothing": None, "n_hidden": 16},
         "RandomFeatureAE": {"n_hidden": 64}, "SeasonalZScore": {"period": 288},
         "Transformer": {"epochs": 2, "width": 16, "n_layers": 1},
         "Voting": {"calibration": "split", "members": [
             IsolationForest(n_estimators=20), make_pipeline(StandardScaler(), EllipticEnvelope()),
             OneClassSVM(nu=0.05)]}}
PERIOD = 288


def quick(name, cls):
    return cls(**QUICK.get(name, {"epochs": 3} if "epochs" in cls().get_params() else {}))


MODELS = {name: quick(name, cls) for name, cls in all_detectors().items()} | {
    "IsolationForest": IsolationForest(n_estimators=50, random_state=0),
    "EllipticEnvelope": make_pipeline(StandardScaler(), EllipticEnvelope(random_state=0)),
    "OneClassSVM": make_pipeline(StandardScaler(), OneClassSVM(nu=0.05)),
    "LocalOutlierFactor": make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    "Windows": make_pipeline(Windows(3), EllipticEnvelope(random_state=0)),
}
for _model in MODELS.values():
    if "random_state" in _model.get_params():
        _model.set_params(random_state=0)


@pytest.fixture(scope="module")
def stream():
    """Telemetry with 24 spikes of 5 deviations, each in one of eight channels."""
    base = make_telemetry(2_400, n_events=0, train_fraction=0.5, random_state=3)
    return inject(base, "spike", n_events=24, strength=5.0, start=1_250, min_gap=10, random_state=3)


@pytest.fixture(scope="module")
def fitted(stream):
    """Each model, fitted when it is first asked for."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = copy.deepcopy(MODELS[name]).fit(stream.X[:1_200])
        return known[name]

    return get


@pytest.fixture(scope="module")
def whys(stream, fitted):
    """Explanations of the spikes."""
    known = {}

    def get(name):
        if name not in known:
            rows = np.flatnonzero(stream.y[1_200:])
            known[name] = explain(fitted(name), stream.X[1_200:], rows,
                                  background=stream.X[:1_200],
                                  feature_names=stream.feature_names)
        return known[name]

    return get


def correlated(seed, n, d=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ np.random.default_rng(1).normal(size=(2, d)) + (
        0.2 * rng.normal(size=(n, d)))


def rescored(model, X, row, j, values):
    """Score of a row with one feature replaced, over the look-back."""
    if isinstance(model, OnlineDetector):
        model = copy.deepcopy(model)
        model.process(X[:row])
        X, row = X[row:row + 1], 0
    X = X[max(0, row - 60):row + 1].copy()
    X[-len(values):, j] = values
    return anomaly_score(model, X)[-1]


# -- every detector -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_broken_channel_comes_first(name, stream, whys):
    true = stream.channel[1_200:][stream.y[1_200:] == 1]
    hits = [top[0][0] == channel for top, channel in zip(whys(name).top(1), true, strict=True)]
    # 24 spikes of which a detector may miss some: at random one in eight would be right
    assert np.mean(hits) >= 0.8, f"{np.mean(hits):.2f} of {len(hits)}"
    assert binomtest(sum(hits), len(hits), 1 / 8).pvalue < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_contributions_add_up_where_they_say_so(name, whys):
    why = whys(name)
    total = why.contributions.sum(axis=1)
    if why.sums_to_score:
        np.testing.assert_allclose(total, why.scores - why.normal_scores, rtol=1e-5, atol=1e-9)
    else:
        assert name in ("VAE", "GAN", "OnlineEnsemble") and not np.allclose(total, why.scores)
    assert why.method in ("native", "occlusion") and np.isfinite(why.contributions).all()


@pytest.mark.parametrize("name", MODELS)
def test_the_first_feature_matters_more_than_another(name, stream, fitted, whys):
    why, X, rng = whys(name), stream.X[1_200:], np.random.default_rng(0)
    wins = []
    for i, row in enumerate(why.rows[:12]):
        top = why.contributions[i].argmax()
        other = rng.choice(np.delete(np.arange(8), top))
        after = [rescored(fitted(name), X, row, j, why.replaced[i, :, j]) for j in (top, other)]
        wins.append(after[0] < after[1])
    assert np.mean(wins) >= 0.75


@pytest.mark.parametrize("name", MODELS)
def test_what_would_be_normal_is(name, stream, fitted, whys):
    why, X = whys(name), stream.X[1_200:]
    flagged = why.scores > why.threshold
    found = ~np.isnan(why.normal).any(axis=1) & flagged
    look_back = name in ("LSTM", "Transformer", "Windows") or "Forecast" in name
    if not look_back:  # there the rows before change too
        for i in np.flatnonzero(found)[:5]:
            (changed,) = np.nonzero(why.normal[i] != why.values[i])
            assert 1 <= len(changed) <= 3
            model, row = fitted(name), why.normal[i][None]
            if isinstance(model, OnlineDetector):
                model = copy.deepcopy(model)
                model.process(X[:why.rows[i]])
            assert anomaly_score(model, row)[0] <= why.threshold
    # (what usual values of three features cannot bring back together has no such answer)
    assert found.sum() >= 0.4 * flagged.sum() >= 2


@pytest.mark.parametrize("name", ["KNN", "SeasonalZScore", "IsolationForest", "Windows"])
def test_asking_changes_nothing_and_is_repeatable(name, stream, fitted, whys):
    model, X = fitted(name), stream.X[1_200:].copy()
    before = anomaly_score(model, X)
    why = explain(model, X, whys(name).rows, background=stream.X[:1_200])
    np.testing.assert_array_equal(why.contributions, whys(name).contributions)
    np.testing.assert_array_equal(anomaly_score(model, X), before)
    np.testing.assert_array_equal(X, stream.X[1_200:])
    one = explain(model, X, [why.rows[5]], background=stream.X[:1_200])
    np.testing.assert_allclose(one.contributions[0], why.contributions[5], rtol=1e-6, atol=1e-9)


# -- the methods --------------------------------------------------------------------------------


def test_a_maximum_is_shared_as_the_cost_of_a_runway():
    """Two planes need 2, one of them 6: the first 2 are shared."""
    np.testing.assert_allclose(_airport(np.array([[6.0, 2.0], [3.0, 3.0]])), [[5, 1], [1.5, 1.5]])
    X = correlated(0, 300)
    detector = MaxAbsZ().fit(X)
    rows = X[:20] + [0, 3, 0, 0]
    why = explain(detector, rows, np.arange(20), method="native")
    parts = detector.contributions(rows)
    # Shapley's definition, over all orders of four features
    from itertools import permutations
    want = np.zeros_like(parts)
    for order in permutations(range(4)):
        top = np.zeros(20)
        for j in order:
            want[:, j] += np.maximum(parts[:, j] - top, 0) / 24
            top = np.maximum(top, parts[:, j])
    np.testing.assert_allclose(why.contributions, want)
    assert why.sums_to_score and why.method == "native"


def test_occlusion_does_not_blame_the_neighbour_of_a_faulty_feature():
    """Residuals smear: a feature that stands for an axis of its own is rebuilt from itself."""
    rng = np.random.default_rng(0)
    X = correlated(0, 1_000, d=3)
    model = PCAReconstruction(n_components=2).fit(X)
    faulty = correlated(5, 60, d=3)
    which = rng.integers(3, size=60)
    faulty[np.arange(60), which] += 3.0 * X.std(axis=0)[which]
    hits = {}
    for method in ("native", "occlusion"):
        why = explain(model, faulty, np.arange(60), background=X, method=method)
        hits[method] = (why.contributions.argmax(axis=1) == which).mean()
        assert why.method == method
    assert hits["occlusion"] >= hits["native"]


def test_auto_replaces_where_it_can_and_asks_the_detector_where_not():
    X = correlated(0, 200)
    model = KNN().fit(X)
    assert explain(model, X + 5, [0], background=X).method == "occlusion"
    assert explain(model, X + 5, [0], counterfactual=False).method == "native"
    windowed = explain(KNN(window=3).fit(X), X, [50], background=X)
    assert windowed.method == "native" and windowed.sums_to_score


def test_a_feature_that_both_modes_allow_is_not_blamed():
    """Two clusters: the mean of all rows is no normal value, the nearest rows' is."""
    rng = np.random.default_rng(0)
    side = rng.choice([-5.0, 5.0], size=(600, 1))
    X = np.hstack([side, side]) + 0.3 * rng.normal(size=(600, 2))
    X = np.hstack([X, rng.normal(size=(600, 1))])
    model = KNN().fit(X)
    why = explain(model, [[5.0, 5.0, 6.0]], [0], background=X)
    assert why.top(1)[0][0][0] == "x2" and why.shares[0, 2] > 0.8
    assert abs(why.baseline[0, 0]) > 4


def test_a_window_is_explained_row_by_row():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    live = rng.normal(size=(40, 3))
    live[30, 1] += 9  # two rows before the one in question
    for model in (KNN(window=4).fit(X), make_pipeline(Windows(4), KNN()).fit(X)):
        why = explain(model, live, [32], background=X, steps=True)
        assert why.steps.shape == (1, 4, 3)
        assert np.unravel_index(why.steps[0].argmax(), (4, 3)) == (1, 1)
        np.testing.assert_allclose(why.steps.sum(axis=1), why.contributions)
        np.testing.assert_allclose(why.scores, anomaly_score(model, live)[32])


def test_rows_of_a_pipeline_with_time_features_bring_their_past():
    X = np.random.default_rng(0).normal(size=(400, 2))
    model = make_pipeline(TimeFeatures(lags=[2], rolling=[5]), KNN()).fit(X)
    why = explain(model, X, [100, 200], background=X[:300])
    np.testing.assert_allclose(why.scores, anomaly_score(model, X)[[100, 200]])


def test_an_online_detector_is_explained_as_it_was_before_the_row():
    rng = np.random.default_rng(0)
    X, live = rng.normal(size=(200, 2)), rng.normal(size=(100, 2))
    live[50:] += [20, 0]  # by row 90 the new level is what the window shows
    detector = RollingZScore(window=20).fit(X)
    why = explain(detector, live, [50, 90])
    np.testing.assert_allclose(why.scores, copy.deepcopy(detector).process(live)[[50, 90]])
    assert why.deviations[0, 0] > 10 and abs(why.deviations[1, 0]) < 4
    assert abs(why.usual[1, 0] - 20) < 1
    np.testing.assert_allclose(np.abs(why.deviations).max(axis=1), why.scores)


@pytest.mark.parametrize("cls", [RollingZScore, SeasonalZScore])
def test_what_is_usual_is_what_the_score_is_measured_from(cls):
    X = np.random.default_rng(0).normal(size=(300, 3)) * [1, 10, 100] + [5, 0, 900]
    detector = cls().fit(X)
    usual, deviation, period = detector.usual()
    rows = X[:20] * 3
    np.testing.assert_allclose(np.abs(rows - usual) / deviation, detector.contributions(rows))
    assert (period == 0).all()


def test_an_online_detector_of_ones_own_needs_nothing_more():
    class Last(OnlineDetector):
        def _reset(self, n_features):
            self.last_ = np.zeros(n_features)

        def learn_one(self, x):
            self.last_ = x.copy()

        def score_one(self, x):
            return float(np.abs(x - self.last_).max())

    X = np.random.default_rng(0).normal(size=(200, 3))
    live = X[:50].copy()
    live[30, 2] += 9
    why = explain(Last().fit(X), live, [30], background=X)
    assert why.method == "occlusion" and why.top(1)[0][0][0] == "x2"


# -- in words -----------------------------------------------------------------------------------


def test_the_time_of_day_is_named():
    t = np.arange(6 * PERIOD)
    rng = np.random.default_rng(0)
    X = np.column_stack([50 + 8 * np.cos(2 * np.pi * t / PERIOD), 22 + 0 * t])
    X = X + rng.normal(size=X.shape)
    stamps = np.datetime64("2024-01-01T00:00") + 5 * np.timedelta64(60, "s") * t
    start = 4 * PERIOD
    at = start + 36  # 03:00
    X[at, 0] = 41
    frame = pd.DataFrame(X[start:], columns=["humidity", "temperature"], index=stamps[start:])
    detector = SeasonalZScore(period=PERIOD).fit(X[:start])
    (sentence,) = explain(detector, frame, [36], units={"humidity": "%"}).sentences()
    assert sentence.startswith("2024-01-05 03:00: humidity 41 % is ")
    assert " robust deviations below what 03:00 usually shows (" in sentence
    assert "% of the score). With humidity at " in sentence and "not be flagged" in sentence


def test_a_break_with_the_other_features_is_called_that():
    rng = np.random.default_rng(0)
    load = rng.normal(size=(500, 1))
    X = load + 0.05 * rng.normal(size=(500, 3))
    (sentence,) = explain(KNN().fit(X), [[1.0, -1.0, 1.0]], [0], background=X,
                          feature_names=["a", "b", "c"]).sentences()
    assert "b -1.0" in sentence and "in itself usual, is " in sentence
    assert "below what the other values suggest" in sentence


def test_several_features_are_named_when_none_dominates():
    X = np.random.default_rng(0).normal(size=(500, 4))
    why = explain(KNN().fit(X), [[6.0, -6.0, 0.0, 0.0]], [0], background=X)
    (sentence,) = why.sentences()
    assert sentence.startswith("Row 0: several features together: x")
    assert "above" in sentence and "below" in sentence and " and x" in sentence
    assert why.shares[0, :2].sum() > 0.8


def test_when_no_change_is_found_the_sentence_says_so():
    X = np.random.default_rng(0).normal(size=(500, 6))
    why = explain(KNN().fit(X), np.full((1, 6), 6.0), [0], background=X)
    assert np.isnan(why.normal).all()
    assert why.sentences()[0].endswith("No change of a few features was found that would make it "
                                       "normal.")


@pytest.mark.parametrize("method", ["native", "occlusion"])
def test_nothing_is_said_of_a_change_that_nobody_looked_for(method):
    X = np.random.default_rng(0).normal(size=(500, 6))
    model, odd = KNN().fit(X), np.full((1, 6), 6.0)
    asked = explain(model, odd, [0], background=X, method=method)
    assert asked.sought.all() and "No change of a few features" in asked.sentences()[0]
    for quiet in ({"counterfactual": False}, {"threshold": np.nan}):
        why = explain(model, odd, [0], background=X, method=method, **quiet)
        assert not why.sought.any() and np.isnan(why.normal).all()
        assert why.sentences()[0] == asked.sentences()[0].split(" No change")[0]


def test_without_background_only_what_is_known_is_said():
    X = correlated(0, 200)
    why = explain(KNN().fit(X), X[:1] + [9, 0, 0, 0], [0], counterfactual=False)
    assert why.sentences()[0].startswith("Row 0: x0 ") and "deviation" not in why.sentences()[0]
    assert np.isnan(why.deviations).all() and np.isnan(why.normal).all()


def test_the_table_has_a_line_per_feature_worst_first(whys, stream):
    why = whys("KNN")
    table = why.table()
    assert len(table) == why.values.size
    first = table.groupby("row", sort=False).head(1)
    assert first.feature.tolist() == [top[0][0] for top in why.top(1)]
    np.testing.assert_allclose(table.groupby("row").share.sum(), 1)


# -- what is given ------------------------------------------------------------------------------


def test_flagged_rows_are_the_default():
    X = correlated(0, 400)
    model = KNN().fit(X)
    live = correlated(3, 200)
    live[[20, 150], 1] += 8
    flagged = np.flatnonzero(model.detect(live).is_anomaly)
    why = explain(model, live)
    np.testing.assert_array_equal(why.rows, flagged)
    assert {20, 150} <= set(why.rows.tolist()) and len(why.sentences()) == len(flagged)
    calm = explain(model, live, threshold=1e9)
    assert calm.rows.size == 0 and calm.sentences() == [] and calm.table().empty
    svm = make_pipeline(StandardScaler(), OneClassSVM(nu=0.05)).fit(X)
    np.testing.assert_array_equal(explain(svm, live).rows, np.flatnonzero(svm.predict(live) == -1))


def test_frames_keep_their_names_for_models_that_ask_for_them():
    frame = pd.DataFrame(correlated(0, 300), columns=list("abcd"))
    live = frame.iloc[:5].copy()
    live.loc[2, "c"] += 9
    for model in (IsolationForest(random_state=0), KNN()):
        why = explain(model.fit(frame), live, [2, -3], background=frame)
        assert why.feature_names == ("a", "b", "c", "d") and why.rows.tolist() == [2, 2]
        assert why.top(1)[0][0][0] == "c"


@pytest.mark.parametrize(("given", "message"), [
    ({"method": "magic"}, "method must be one of 'auto', 'native', 'occlusion', got 'magic'"),
    ({"rows": [400]}, r"whole numbers in \[-200, 200\)"),
    ({"rows": [0.5]}, "whole numbers"),
    ({"rows": [0], "background": np.zeros((20, 3))}, r"background must have shape \(n_normal, 4\)"),
    ({"rows": [0], "background": np.zeros((5, 4)), "method": "occlusion"}, "10 normal rows"),
    ({"rows": [0], "feature_names": ["a"]}, "got 1 names"),
    ({"rows": [0], "time": ["2024-01-01"]}, r"shape \(200,\), got \(1,\)"),
])
def test_what_does_not_fit_is_named(given, message):
    X = correlated(0, 200)
    with pytest.raises(ValueError, match=message):
        explain(KNN().fit(X), X, **given)


def test_a_model_without_threshold_or_split_says_so():
    X = correlated(0, 200)
    with pytest.raises(ValueError, match="rows must be given: KNN has no threshold"):
        explain(KNN(calibration=None).fit(X), X)
    with pytest.raises(NotImplementedError, match="IsolationForest has no native"):
        explain(IsolationForest().fit(X), X, [0], method="native")


def test_no_name_steers_what_reads_a_sentence():
    names = ["flow\r\nRow 9: all is well", "\x1b[2J\u202e" + "k" * 9_000]
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[-1] = 30.0, -40.0
    why = explain(KNN().fit(X[:-1]), X, rows=[199], feature_names=names, counterfactual=True,
                  units=dict.fromkeys(names, "\u2066bar"))
    (sentence,) = why.sentences()
    assert sentence.isprintable() and len(sentence) < 900 and "flow??Row 9" in sentence


def test_extreme_rows_are_explained():
    X = correlated(0, 300)
    X[:, 3] = 7.0  # a constant column
    for model in (KNN().fit(X), Ensemble(members=[KNN(), MaxAbsZ()]).fit(X)):
        why = explain(model, [[0, 1e150, 0, 7.0], [0, 0, 0, 8.0]], [0, 1], background=X)
        assert np.isfinite(why.contributions).all()
        assert [top[0][0] for top in why.top(1)] == ["x1", "x3"]
        assert "more than 1,000 robust deviations above" in why.sentences()[0]


# -- figures ------------------------------------------------------------------------------------


@pytest.fixture
def axes():
    yield
    plt.close("all")


def test_bars_show_shares_and_signs(axes):
    why = SimpleNamespace(contributions=np.array([[1.0, -3.0, 0.5]]), rows=[4], time=None,
                          values=np.array([[1.0, 2.0, 3.0]]), feature_names=("a", "b", "c"),
                          units={"a": "kg"}, shares=np.array([[2 / 3, 0, 1 / 3]]),
                          filled=np.array([[False, True, False]]))
    ax = plots.contributions(why)
    assert [bar.get_width() for bar in ax.patches] == [-3, 1, 0.5]
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    assert ax.get_yticklabels()[1].get_text() == "a\n1 kg" and ax.get_title() == "row 4"
    assert ax.get_yticklabels()[0].get_text() == "b\n2 (filled)"


def test_the_heat_map_lies_over_rows_or_over_the_look_back(axes, whys):
    why = whys("KNN")
    image = plots.heat_map(why).images[0].get_array()
    np.testing.assert_array_equal(image, why.shares.T)
    with pytest.raises(ValueError, match="steps=True"):
        plots.heat_map(why, 0)


def test_the_remedy_points_to_the_normal_value(axes, whys):
    why = whys("KNN")
    i = int(np.flatnonzero(~np.isnan(why.normal).any(axis=1))[0])
    ax = plots.remedy(why, i)
    (green,) = [line for line in ax.lines if line.get_label() == "not flagged with"]
    j = int(np.flatnonzero(why.normal[i] != why.values[i])[0])
    scale = (why.values[i, j] - why.expected[i, j]) / why.surprises[i, j]
    want = (why.normal[i, j] - why.expected[i, j]) / scale
    assert green.get_xdata()[0] == pytest.approx(want)
    assert "no change" not in ax.get_title()


def test_a_remedy_that_nobody_sought_is_not_called_missing(axes):
    X = correlated(0, 300)
    model = KNN().fit(X[:200])
    for sought, said in ((True, "not flagged"), (False, "no change was sought")):
        why = explain(model, X, [250], background=X[:200], counterfactual=sought, threshold=1e9)
        assert said in plots.remedy(why).get_title()


def test_a_detector_without_a_split_is_still_explained():
    class Product(Detector):
        def _fit(self, X):
            self.center_ = X.mean(axis=0)

        def _score(self, X):
            return np.log1p(((X - self.center_) ** 2).sum(axis=1))

    X = correlated(0, 300)
    why = explain(Product().fit(X), X[:1] + [0, 0, 9, 0], [0], background=X)
    assert why.top(1)[0][0][0] == "x2" and why.method == "occlusion"
