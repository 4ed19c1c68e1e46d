"""Time features are causal, keep every row, and make one cut follow the clock."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from adlib import anomaly_score
from adlib.detectors import KNN
from adlib.persist import load, save
from adlib.thresholds import Conformal
from adlib.windows import TimeFeatures, _rolling

EVERYTHING = {"lags": [1, 3], "differences": [1, 2], "rolling": [2, 5],
              "statistics": ["mean", "std", "min", "max", "median"]}


def _frame(n, seed=0, tz=None):
    index = pd.date_range("2024-01-01", periods=n, freq="10min", tz=tz)
    X = np.random.default_rng(seed).normal(size=(n, 2))
    return pd.DataFrame(X, index=index, columns=["flow", "heat"])


def test_by_hand():
    X = np.array([[1.0, 10.0], [2.0, 0.0], [4.0, 5.0]])
    features = TimeFeatures(lags=[2], differences=[1], rolling=[2], statistics=["mean", "std"])
    assert features.fit_transform(X).tolist() == [
        [1, 10, 1, 10, 0, 0, 1, 10, 0, 0],
        [2, 0, 1, 10, 1, -10, 1.5, 5, 0.5, 5],
        [4, 5, 1, 10, 2, 5, 3, 2.5, 1, 2.5]]
    assert features.context_ == 2
    assert features.get_feature_names_out(["a", "b"]).tolist() == [
        "a", "b", "a[t-2]", "b[t-2]", "a-a[t-1]", "b-b[t-1]",
        "mean(a, 2)", "mean(b, 2)", "std(a, 2)", "std(b, 2)"]


def test_agrees_with_pandas_once_the_past_is_complete():
    frame = _frame(60)
    features = TimeFeatures(**EVERYTHING).fit(frame)
    got = pd.DataFrame(features.transform(frame), frame.index, features.get_feature_names_out())
    rolled = frame.rolling(5)
    want = {"min": rolled.min(), "max": rolled.max(), "median": rolled.median(),
            "mean": rolled.mean(), "std": rolled.std(ddof=0)}
    for name, table in want.items():
        for column in frame:
            assert np.allclose(got[f"{name}({column}, 5)"][4:], table[column][4:])
    assert np.allclose(got["flow-flow[t-2]"][2:], frame["flow"].diff(2)[2:])
    assert np.allclose(got["heat[t-3]"][3:], frame["heat"].shift(3)[3:])


def test_a_prefix_is_unmoved_by_what_follows():
    frame = _frame(300)
    features = TimeFeatures(**EVERYTHING, periods=["1D", "7D"]).fit(frame)
    whole = features.transform(frame)
    for n in (1, 2, 7, 150, 299):
        assert (features.transform(frame[:n]) == whole[:n]).all()
    # a segment with its preceding rows gives what the whole series gives
    c = features.context_
    assert (features.transform(frame[100 - c:200])[c:] == whole[100:200]).all()


def test_long_inputs_are_rolled_a_slice_at_a_time(monkeypatch):
    X = np.random.default_rng(0).normal(size=(500, 3))
    whole = _rolling(X, 20, ["mean", "std"])
    monkeypatch.setattr("adlib.windows._SLICE", 20 * 3 * 7)
    assert all((a == b).all() for a, b in zip(_rolling(X, 20, ["mean", "std"]), whole, strict=True))


def test_the_clock():
    frame = _frame(145)
    day = TimeFeatures(lags=[], rolling=[], periods=["1D"]).fit_transform(frame)[:, 2:]
    assert np.allclose(day[[0, 36, 72, 144]], [[0, 1], [1, 0], [0, -1], [0, 1]], atol=1e-12)
    assert np.allclose((day**2).sum(axis=1), 1)
    for unit in ("s", "ms", "us", "ns"):  # whatever the resolution of the index
        other = frame.set_axis(frame.index.as_unit(unit))
        assert (TimeFeatures(lags=[], rolling=[], periods=[86_400]).fit_transform(other)[:, 2:]
                == day).all()
    # noon is noon where the sensor stands, in winter and in summer
    local = pd.DataFrame({"x": [0.0, 0.0]}, index=pd.DatetimeIndex(
        ["2024-01-15 12:00", "2024-07-15 12:00"]).tz_localize("Europe/Berlin"))
    noon = TimeFeatures(lags=[], rolling=[], periods=["1D"]).fit_transform(local)[:, 1:]
    assert np.allclose(noon, [[0, -1], [0, -1]], atol=1e-12)


def test_refusals():
    X = np.zeros((20, 2))
    for bad, match in (({"lags": [0]}, "lags must be"), ({"rolling": [1]}, "rolling must be"),
                       ({"differences": [1.5]}, "differences must be"),
                       ({"lags": 3}, "lags must be a list"),
                       ({"statistics": "mean"}, "statistics must be a list"),
                       ({"statistics": ["mode"]}, "statistics must be among"),
                       ({"periods": ["soon"]}, "periods must be"),
                       ({"periods": ["1D"]}, "DatetimeIndex, got ndarray")):
        with pytest.raises(ValueError, match=match):
            TimeFeatures(**bad).fit(X)
    with pytest.raises(ValueError, match="DatetimeIndex, got DataFrame with index of int64"):
        TimeFeatures(periods=["1D"]).fit(pd.DataFrame(X))
    gap = pd.DataFrame(X, index=pd.DatetimeIndex([pd.NaT, *_frame(19).index]))
    with pytest.raises(ValueError, match="1 missing times"):
        TimeFeatures(periods=["1D"]).fit(gap)


def test_sklearn_contract():
    order = dict.fromkeys(("check_methods_sample_order_invariance",
                           "check_methods_subset_invariance"), "a row holds the rows before it")
    check_estimator(TimeFeatures(), expected_failed_checks=order, on_skip=None)


def _day_night(n, seed):
    """Warm days, cold nights, little noise."""
    frame = _frame(n, seed)
    turn = 2 * np.pi * np.arange(n) / 144
    return pd.DataFrame({"heat": 10 * np.sin(turn) + 0.5 * frame["heat"].to_numpy()}, frame.index)


def test_one_cut_on_the_score_is_a_threshold_that_follows_the_hour():
    """Values that are ordinary at another hour: a global threshold is blind to them."""
    train, later = _day_night(144 * 14, 0), _day_night(144 * 7, 1)
    at = np.arange(36, len(later), 144)  # the warmest hour shows what is usual at night
    later.iloc[at] = -10.0
    wrong = np.isin(np.arange(len(later)), at)

    def pipeline(**features):
        detector = KNN(alpha=0.01, calibration="split", threshold=Conformal(block="auto"))
        return make_pipeline(TimeFeatures(lags=[], rolling=[], **features), StandardScaler(),
                             detector).fit(train)

    context, plain = pipeline(periods=["1D"]), pipeline()
    flagged = context.predict(later) == -1
    assert flagged[wrong].all() and flagged[~wrong].mean() < 0.03
    assert (plain.predict(later) == -1)[wrong].mean() < 0.3
    score = anomaly_score(context, later)
    assert score[wrong].min() > score[~wrong].max()
    assert (flagged == (score > context[-1].threshold_)).all()
    assert (context.decision_function(later) < 0)[wrong].all()


@pytest.mark.parametrize("last", [KNN(calibration="split"), IsolationForest(random_state=0)],
                         ids=lambda model: type(model).__name__)
def test_a_pipeline_is_one_object_and_can_be_saved(last, tmp_path):
    frame = _frame(400)
    model = make_pipeline(TimeFeatures(periods=["1D"]), StandardScaler(), last).fit(frame[:300])
    again = load(save(model, tmp_path / "pipeline"))
    assert (anomaly_score(again, frame) == anomaly_score(model, frame)).all()
    assert (again.predict(frame) == model.predict(frame)).all()
