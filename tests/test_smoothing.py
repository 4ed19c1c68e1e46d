"""Means of neighbouring rows: a finite past, exact causality, nothing that a huge value leaves."""

import json
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib import load, save
from adlib.compare import score_cell
from adlib.compare.protocol import purge_gap, will_look_back
from adlib.datasets import Dataset
from adlib.detectors import (
    KNN,
    Ensemble,
    LinearForecast,
    MaxAbsZ,
    PCAReconstruction,
    RollingZScore,
)
from adlib.explain import explain
from adlib.feedback import Reviewed
from adlib.smoothing import gaussian_weights, memory_rows, memory_weights, smooth
from adlib.thresholds import POT, CalibrationWarning, Conformal


@pytest.mark.parametrize("rows", [1, 1.2, 2, 7.3, 50])
def test_a_row_does_not_depend_on_how_many_follow(rows):
    S = np.random.default_rng(0).normal(size=(700, 2)) ** 3
    weights = memory_weights(rows)
    whole = smooth(S, weights)
    for t in [*range(1, 60), 199, 200, 201, 333, 512, 699]:
        assert (smooth(S[:t], weights) == whole[:t]).all()
        assert (smooth(S[:t, 0], weights) == whole[:t, 0]).all()


@pytest.mark.parametrize("rows", [1, 2.5, 40])
def test_a_slice_with_its_past_gives_the_same_numbers(rows):
    S = np.random.default_rng(1).normal(size=500)
    weights = memory_weights(rows)
    for start in range(200, 330):
        part = smooth(S[start - memory_rows(rows) + 1:400], weights)
        assert (part[memory_rows(rows) - 1:] == smooth(S, weights)[start:400]).all()


def test_a_huge_value_leaves_no_trace():
    S = np.random.default_rng(0).normal(size=400)
    hit, weights = S.copy(), memory_weights(10)
    hit[100] = 1e300
    before, after = smooth(S, weights), smooth(hit, weights)
    assert (before[:100] == after[:100]).all() and (before[140:] == after[140:]).all()
    assert (after[100:140] > 1e297).all()
    largest = np.full(50, np.finfo(float).max)
    assert np.isfinite(smooth(0.999 * largest, weights)).all()
    assert smooth(np.full(50, 1e300), weights) == pytest.approx(np.full(50, 1e300))


def test_the_ends_are_means_of_what_is_there():
    weights, ahead = gaussian_weights(5.0)
    assert ahead == 20 and len(weights) == 41
    for S in (np.ones(7), np.ones((100, 3))):
        assert smooth(S, weights, ahead) == pytest.approx(S)
        assert smooth(S, memory_weights(30)) == pytest.approx(S)
    S = np.arange(50.0)
    for t in range(20):  # row t sees rows 0 .. t + 20, and those before the first have no weight
        there = weights[20 - t:]
        by_hand = (there * S[:t + 21]).sum() / there.sum()
        assert smooth(S, weights, ahead)[t] == pytest.approx(by_hand)


def test_weights():
    for rows in (1, 1.5, 3, 125):
        weights = memory_weights(rows)
        assert len(weights) == memory_rows(rows) and weights.sum() == pytest.approx(1)
        assert weights[:-1] == pytest.approx(weights[1:] * (1 - 1 / rows))
    assert memory_weights(1).tolist() == memory_weights(0.2).tolist() == [1.0]
    whole, cut = gaussian_weights(3.0)[0], gaussian_weights(3.0, delay=2)
    assert cut[1] == 2 and cut[0] == pytest.approx(whole[:15] / whole[:15].sum())
    assert gaussian_weights(3.0, delay=99)[1] == 12
    assert gaussian_weights(3.0, delay=0)[1] == 0


def test_a_delay_is_the_whole_look_ahead():
    S = np.random.default_rng(0).normal(size=300)
    weights, ahead = gaussian_weights(12.0, delay=5)
    for t in (50, 120, 299):
        assert (smooth(S[:t + 5], weights, ahead)[:t] == smooth(S, weights, ahead)[:t]).all()


def test_callers_array_and_empty_input():
    S = np.arange(5)
    assert smooth(S, memory_weights(2)).dtype == np.float64 and S.tolist() == [0, 1, 2, 3, 4]
    same = S.astype(float)
    assert smooth(same, memory_weights(1)) is not same
    assert smooth(np.empty(0), memory_weights(3)).shape == (0,)
    assert smooth(np.empty((0, 2)), memory_weights(3)).shape == (0, 2)


# -- as a parameter of detectors ----------------------------------------------------------------


def seasonal(n, d=2, period=90, seed=0):
    rng = np.random.default_rng(seed)
    return np.sin(2 * np.pi * np.arange(n) / period)[:, None] + 0.2 * rng.normal(size=(n, d))


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
@pytest.mark.parametrize("detector", [
    MaxAbsZ(smoothing=7.5), KNN(window=4, smoothing=2), PCAReconstruction(smoothing="auto")])
def test_a_smoothed_score_is_the_smoothed_raw_score(detector):
    X, later = seasonal(1_000), seasonal(600, seed=1)
    fitted = detector.fit(X)
    rows = fitted.smoothing_
    assert rows == (45.0 if detector.smoothing == "auto" else detector.smoothing)
    assert fitted.context_ == fitted.window_ - 1 + memory_rows(rows) - 1
    raw = clone(detector).set_params(smoothing=None, calibration=None).fit(X[:800])
    assert (fitted.anomaly_score(later) == smooth(raw.anomaly_score(later),
                                                  memory_weights(rows))).all()
    if not isinstance(detector, KNN):  # which has none
        assert (fitted.contributions(later) == smooth(raw.contributions(later),
                                                      memory_weights(rows))).all()
    held_out = fitted.anomaly_score(X[800:])[fitted.context_:]
    assert (fitted.calibration_.scores_ == np.sort(held_out)).all()


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
def test_slices_bring_their_predecessors(monkeypatch):
    X, later = seasonal(900), seasonal(2_000, seed=1)
    for detector in (MaxAbsZ(window=3, smoothing=10).fit(X), MaxAbsZ(window="auto").fit(X)):
        whole = detector.anomaly_score(later)
        monkeypatch.setattr("adlib.base._SLICE", 97 * detector.window_ * 2)
        assert (detector.anomaly_score(later) == whole).all()
        rows = [detector.anomaly_score(later[max(0, t - detector.context_):t + 1])[-1]
                for t in range(0, 2_000, 41)]
        assert (np.array(rows) == whole[::41]).all()
        monkeypatch.undo()


def test_the_threshold_is_refused_and_the_score_is_not():
    X = np.random.default_rng(0).normal(size=(4_000, 2))
    detector = MaxAbsZ(smoothing=10, alpha=0.05)
    said = r"alpha=0.05 on scores smoothed over 10 rows needs at least 1200 held-out normal rows, "
    with pytest.warns(CalibrationWarning, match=said + r"got 761: .*POT\(\)"):
        detector.fit(X)
    assert detector.threshold_ == np.inf and not detector.detect(X).is_anomaly.any()
    assert np.isfinite(detector.anomaly_score(X)).all() and (detector.tail_score(X) > 0.9).any()
    later = np.random.default_rng(1).normal(size=(3_000, 2))
    with pytest.warns(CalibrationWarning, match="got 1199"):
        detector.calibrate(later[:1_199 + detector.context_])
    assert detector.threshold_ == np.inf
    assert np.isfinite(detector.calibrate(later[:1_200 + detector.context_]).threshold_)
    assert np.isfinite(detector.set_params(threshold=POT()).fit(X).threshold_)
    own = Conformal(block=20)
    with pytest.warns(CalibrationWarning, match="got 761"):
        assert detector.set_params(threshold=own).fit(X).threshold_ == np.inf
    assert own.smoothing is None, "the caller's rule is copied"
    with pytest.raises(ValueError, match="calibration='cross' needs rows without time order"):
        MaxAbsZ(smoothing=10, calibration="cross").fit(X)


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
def test_window_of_the_usual_period():
    X = seasonal(2_000)
    assert MaxAbsZ(window="auto").fit(X).window_ == 90
    assert MaxAbsZ(window="auto").fit(seasonal(2_000, d=4)).window_ == 64  # 256 values
    assert MaxAbsZ(window="auto").fit(seasonal(2_000, period=7)).window_ == 50
    noise = np.random.default_rng(0).normal(size=(2_000, 1))
    assert 50 <= MaxAbsZ(window="auto").fit(noise).window_ <= 256
    assert MaxAbsZ(window="auto").fit(np.arange(2_000.0)[:, None]).window_ == 125
    assert MaxAbsZ(window="auto").fit(noise[:100]).window_ == 20  # a quarter of those that train
    detector = MaxAbsZ(window="auto", calibration=None)
    before = X.copy()
    before[1_600:] = noise[:400]  # held out: not to be looked at
    assert detector.context_ == 255, "before fit the most it may be"
    split = MaxAbsZ(window="auto").fit(before)
    assert split.window_ == detector.fit(X[:1_600]).window_ == 90
    assert clone(split).window == "auto" and split.is_ordered
    assert split.set_params(window=3).fit(X).window_ == 3 and not hasattr(split, "usual_period_")


@pytest.mark.parametrize(("params", "words"), [
    ({"window": "auto", "smoothing": 5}, "window='auto' and smoothing=5 both"),
    ({"window": "wide"}, "window must be a whole number"),
    ({"smoothing": 0.5}, "smoothing must be a number >= 1 and at most 100000"),
    ({"smoothing": True}, "smoothing must be a number >= 1 and at most 100000"),
    ({"smoothing": "much"}, "smoothing must be a number >= 1 and at most 100000")])
def test_refusals(params, words):
    with pytest.raises(ValueError, match=words):
        MaxAbsZ(**params).fit(seasonal(100))
    with pytest.raises(ValueError, match="takes neither smoothing nor window='auto'"):
        RollingZScore(smoothing=3).fit(seasonal(300))


def test_members_run_without_smoothing():
    X = seasonal(3_000)
    member = MaxAbsZ(smoothing=20)
    plain = Ensemble(members=[MaxAbsZ(), KNN()], alpha=0.1, calibration="split").fit(X)
    same = Ensemble(members=[member, make_pipeline(StandardScaler(), KNN(smoothing=9))],
                    alpha=0.1, calibration="split").fit(X)
    assert same.context_ == plain.context_ == 0 and member.smoothing == 20
    assert [m[-1].smoothing if isinstance(m, Pipeline) else m.smoothing
            for m in same.members_] == [None, None]
    own = Ensemble(members=[MaxAbsZ(), KNN()], alpha=0.1, smoothing=4).fit(X)
    assert own.anomaly_score(X) == pytest.approx(smooth(plain.anomaly_score(X), memory_weights(4)))
    assert np.isfinite(own.threshold_) and own.context_ == 15
    again = clone(own).set_params(calibration=None).fit(X[:2_400]).calibrate(X[2_400:])
    assert len(again.calibration_.scores_) == len(own.calibration_.scores_) == 585


def test_online_members_leave_no_smoothing():
    stateful = Ensemble(members=[RollingZScore(), MaxAbsZ()], smoothing=5)
    with pytest.raises(ValueError, match="smoothing must be None with online members"):
        stateful.fit(seasonal(300))
    with pytest.raises(ValueError, match="'auto' and None, got 1, 'auto', 4"):
        Reviewed(MaxAbsZ().fit(seasonal(300)), smoothing=4).fit(seasonal(300))


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
def test_files(tmp_path):
    X = seasonal(1_000)
    for i, detector in enumerate((MaxAbsZ(smoothing="auto"), KNN(window="auto", alpha=0.2))):
        again = load(save(detector.fit(X), tmp_path / str(i)))
        assert (again.window_, again.smoothing_, again.context_) == (
            detector.window_, detector.smoothing_, detector.context_)
        assert (again.anomaly_score(X) == detector.anomaly_score(X)).all()
        assert again.threshold_ == detector.threshold_


def test_files_from_before_there_was_smoothing(tmp_path):
    X = seasonal(500)
    model = MaxAbsZ(window=3).fit(X)
    file = save(model, tmp_path / "model") / "model.json"
    document = json.loads(file.read_text())
    state = document["model"]["state"]
    assert state.pop("smoothing") is None
    assert state["threshold_rule_"]["state"].pop("smoothing") is None
    file.write_text(json.dumps(document))
    again = load(tmp_path / "model")
    assert (again.detect(X).is_anomaly == model.detect(X).is_anomaly).all()
    assert again.smoothing_ is None and again.window_ == 3


def test_compare_leaves_out_what_fit_will_choose():
    X = seasonal(2_000, period=60)
    data = Dataset("season", X, np.arange(2_000) == 1_900, train_end=1_000)
    for detector, back in ((MaxAbsZ(window="auto"), 59), (MaxAbsZ(smoothing="auto"), 0),
                           (Ensemble(members=[MaxAbsZ(), KNN()], window="auto"), 59)):
        assert purge_gap([detector, KNN()], data) == back
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            cell = score_cell(detector, data)
        assert cell.test_rows.start == 1_000 + back and len(cell.test) == 1_000 - back
        assert len(cell.calibrate) == 1_000 - data.calibrate_start - back


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
def test_explanations_are_of_the_smoothed_score():
    X = seasonal(600, d=4)
    model = PCAReconstruction(smoothing=5).fit(X[:400])
    X[500, 1] += 9
    found = explain(model, X, [502], method="native")
    assert found.scores == pytest.approx(model.anomaly_score(X)[502])
    assert found.contributions[0] == pytest.approx(model.contributions(X)[502])
    assert found.contributions[0].argmax() == 1 and found.sums_to_score


def test_a_forecast_looks_back_on_a_quarter_of_the_rows_that_train():
    model = LinearForecast(smoothing=None, calibration=None)
    assert clone(model).fit(seasonal(40, d=1)).window_ == 11
    data = Dataset("short", seasonal(100, d=1), np.arange(100) == 90, train_end=60)
    assert will_look_back(model, data) == data.calibrate_start // 4 == 12
