"""What the base class decides once for all detectors; the contract itself is test_conformance."""

import copy
import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

import adlib
from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.detectors import (
    KNN,
    MaxAbsZ,
    OnlineEnsemble,
    OnlineForecast,
    PCAReconstruction,
    RandomScore,
    RollingZScore,
    all_detectors,
)
from adlib.thresholds import POT, Conformal, Fixed, Quantile
from adlib.windows import Windows


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(400, 3))


class Spy(Detector):
    """Score = first column; remembers what every training saw."""

    seen = []

    def _fit(self, X):
        self.mean_ = X.mean()
        Spy.seen.append(X.copy())

    def _score(self, X):
        return X[:, -1].copy()


@pytest.fixture(autouse=True)
def _forget():
    Spy.seen = []


def _column(n):
    return np.arange(float(n))[:, None]


def test_signature_spells_out_the_base_parameters():
    names = list(inspect.signature(KNN).parameters)
    assert names[:2] == ["n_neighbors", "method"]
    assert {"window", "alpha", "threshold", "calibration"} <= set(names)
    assert inspect.signature(RollingZScore).parameters["window"].default == 100
    with pytest.raises(TypeError, match="alhpa"):
        KNN(alhpa=0.1)
    assert len(ParameterGrid({"alpha": [0.1, 0.2]})) == 2
    assert clone(KNN(alpha=0.2, threshold=POT(tail=0.2))).threshold.tail == 0.2
    assert KNN(threshold=POT()).set_params(threshold__tail=0.3).threshold.tail == 0.3


def test_split_keeps_the_last_fifth_from_training():
    detector = Spy(calibration="split").fit(_column(100))
    assert len(Spy.seen) == 1 and Spy.seen[0].max() == 79
    assert detector.calibration_.scores_.tolist() == list(range(80, 100))


def test_windowed_split_leaves_a_purge_gap():
    detector = Spy(window=5, alpha=0.2).fit(_column(100))
    # rows 80 .. 83 see training rows through their windows: they are neither trained on nor used
    assert Spy.seen[0].max() == 79
    assert detector.calibration_.scores_.tolist() == list(range(84, 100))
    # and training windows start where the past is complete
    assert Spy.seen[0][0].tolist() == [0, 1, 2, 3, 4]


def test_cross_scores_every_row_by_a_model_that_did_not_see_it():
    detector = Spy(calibration="cross").fit(_column(50))
    assert len(Spy.seen) == 11 and len(Spy.seen[0]) == 50  # all rows, then ten parts
    assert [len(s) for s in Spy.seen[1:]] == [45] * 10
    left_out = [set(range(50)) - set(s[:, 0].astype(int)) for s in Spy.seen[1:]]
    assert set().union(*left_out) == set(range(50))
    # each a billionth above the final model's own score, for the sake of rounding
    assert detector.calibration_.scores_ == pytest.approx(np.arange(50), abs=1e-7)


def test_auto_crosses_only_where_training_is_cheap():
    class Dear(Spy):
        _expensive = True

    for cls, n, trainings in ((Spy, 999, 11), (Dear, 999, 6), (Spy, 5_000, 11), (Dear, 5_000, 1),
                              (Spy, 20_000, 1)):
        Spy.seen = []
        cls().fit(_column(n))
        assert len(Spy.seen) == trainings, (cls.__name__, n)


def test_no_calibration_until_asked(X):
    detector = KNN(calibration=None).fit(X)
    assert np.isfinite(detector.anomaly_score(X)).all()
    for method in ("detect", "predict", "severity", "tail_score", "decision_function"):
        with pytest.raises(NotFittedError, match="calibrate"):
            getattr(detector, method)(X)
    detector.calibrate(X[:200])
    assert detector.detect(X).is_anomaly.mean() < 0.2


def test_calibrate_drops_warm_up_and_a_refused_one_changes_nothing(X):
    detector = KNN(window=4, alpha=0.1).fit(X)
    detector.calibrate(X[:100])
    assert len(detector.calibration_.scores_) == 97
    threshold = detector.threshold_
    detector.set_params(threshold=Conformal(per="1/week", interval="1min"))
    with pytest.raises(ValueError, match="hold out"):
        detector.calibrate(X[:100])
    assert detector.threshold_ == threshold and len(detector.calibration_.scores_) == 97


def test_thresholds_of_every_kind(X):
    rule = POT()
    assert KNN(threshold=2.5).fit(X).threshold_ == 2.5
    assert isinstance(KNN(threshold=2.5).fit(X).threshold_rule_, Fixed)
    strict, loose = (KNN(threshold=rule, alpha=a).fit(X).threshold_ for a in (0.001, 0.2))
    assert strict > loose  # a threshold without its own alpha takes the detector's
    assert rule.alpha is None and not hasattr(rule, "value_")  # the caller's object is not fitted
    assert KNN(threshold=Quantile(0.9)).fit(X).threshold_ < KNN(threshold=Quantile(0.99)).fit(
        X).threshold_
    with pytest.raises(ValueError, match="threshold must be None, a number or a Threshold"):
        KNN(threshold="3 sigma").fit(X)


def test_default_rule_knows_whether_rows_are_ordered(X):
    assert KNN().fit(X).threshold_rule_.block is None
    assert KNN(window=2).fit(X).threshold_rule_.block == "auto"
    assert RollingZScore(window=20).fit(X).threshold_rule_.block == "auto"
    with pytest.raises(ValueError, match="without time order"):
        KNN(window=2, calibration="cross").fit(X)


def test_too_few_rows_is_a_warning_then_silence(X):
    with pytest.warns(adlib.thresholds.CalibrationWarning, match="held-out normal rows"):
        detector = KNN(alpha=0.001).fit(X)
    assert detector.threshold_ == np.inf and not detector.detect(X * 100).is_anomaly.any()
    with pytest.raises(ValueError, match="window=64 needs more than 63 rows to fit, got 20"):
        KNN(window=64).fit(X[:20])


def test_seeds(X):
    assert RandomScore(random_state=7).fit(X).seed_ == 7
    first, second = (RandomScore(random_state=None).fit(X).anomaly_score(X) for _ in range(2))
    assert not np.array_equal(first, second)
    generator = np.random.default_rng(3)
    assert RandomScore(random_state=generator).fit(X).seed_ != RandomScore(
        random_state=generator).fit(X).seed_
    with pytest.raises(ValueError, match="random_state must be"):
        RandomScore(random_state="lucky").fit(X)


def test_a_random_score_does_not_hang_on_rounding_noise(X):
    model = RandomScore(random_state=7).fit(X)
    noisy, other = model.anomaly_score(X * (1 + 1e-15)), model.anomaly_score(X * (1 + 1e-6))
    assert np.array_equal(noisy, model.anomaly_score(X))
    assert not np.isclose(other, noisy).any()


def test_forgotten_super_init_is_explained(X):
    class Careless(Detector):
        def __init__(self, *, k=3):
            self.k = k

        def _fit(self, X): ...

        def _score(self, X): ...

    with pytest.raises(TypeError, match=r"accept \*\*base and call super"):
        Careless().fit(X)


def test_free_function_turns_the_sign_once(X):
    far = np.vstack([X[:5], np.full((1, 3), 50.0)])
    models = [KNN(), IsolationForest(random_state=0), OneClassSVM(),
              LocalOutlierFactor(novelty=True),
              make_pipeline(Windows(3), IsolationForest(random_state=0)),
              make_pipeline(Windows(3), KNN())]
    for model in models:
        score = anomaly_score(model.fit(X), far)
        assert score.shape == (6,) and score.argmax() == 5, type(model).__name__
    with pytest.raises(TypeError, match="novelty=True"):
        anomaly_score(LocalOutlierFactor().fit(X), far)


def test_window_and_pipeline_agree(X):
    inside = KNN(window=4, calibration=None).fit(X)
    outside = KNN(calibration=None).fit(Windows(4).fit_transform(X)[3:])
    later = X[::-1].copy()
    assert np.allclose(inside.anomaly_score(later),
                       outside.anomaly_score(Windows(4).fit_transform(later)))


def test_contributions(X):
    detector = KNN(window=3).fit(X)
    parts = detector.contributions(X)
    assert parts.shape == X.shape
    assert np.allclose(parts.sum(axis=1), detector.anomaly_score(X))
    with pytest.raises(NotImplementedError, match="RandomScore has no native contributions"):
        RandomScore().fit(X).contributions(X)


def test_severity_and_threshold_speak_of_one_budget():
    rng = np.random.default_rng(0)
    detector = MaxAbsZ(alpha=0.05).fit(rng.normal(size=(2_000, 2)))
    rows = rng.normal(size=(5_000, 2)) * 2
    flagged, severity = detector.detect(rows).is_anomaly, detector.severity(rows)
    # equality holds for a row whose p-value is exactly alpha
    assert (severity[flagged] >= 0.7 - 1e-9).all() and (severity[~flagged] < 0.7).all()


class Counter(OnlineDetector):
    """Score = rows learned so far."""

    def _reset(self, n_features):
        self.count_ = 0

    def learn_one(self, x):
        self.count_ += 1

    def score_one(self, x):
        return float(self.count_)


def test_online_scores_then_learns():
    X = np.zeros((50, 2))
    assert Counter().process(X).tolist() == list(range(50))
    detector = Counter(window=10, alpha=0.2).fit(X)
    assert detector.count_ == 50
    # every score was made before its row was learned: all but the first window calibrate
    assert detector.calibration_.scores_.tolist() == list(range(10, 50))
    assert detector.frozen_score(X).tolist() == [50.0] * 50 and detector.count_ == 50
    assert detector.anomaly_score(X).tolist() == list(range(50, 100)) and detector.count_ == 50
    detector.calibrate(X)  # the rows are learned: what comes next follows them
    assert detector.count_ == 100 and detector.calibration_.scores_.tolist() == list(range(50, 100))
    detector.partial_fit(X[:5])
    assert detector.count_ == 105
    with pytest.raises(ValueError, match="features"):
        detector.process(np.zeros((3, 5)))


def test_online_process_refuses_bad_rows_without_losing_state():
    detector = Counter(alpha=0.2).fit(np.zeros((50, 2)))
    for bad in (np.full((3, 2), np.nan), np.zeros((0, 2)), np.zeros(3)):
        before = copy.deepcopy(vars(detector))
        with pytest.raises(ValueError):
            detector.process(bad)
        assert detector.count_ == before["count_"]


ONLINE = [Counter, *(cls for cls in all_detectors().values() if issubclass(cls, OnlineDetector))]


@pytest.mark.parametrize("cls", ONLINE)
def test_a_state_goes_on_bit_for_bit_and_is_nobodys_else(cls):
    X = np.random.default_rng(0).normal(size=(1_500, 2)) + np.sin(np.arange(1_500) / 8)[:, None]
    detector = cls().fit(X[:400])
    for other in (cls(), cls().fit(X[:150])):  # one that has seen nothing, and one of other rows
        before = {name: getattr(other, name, None) for name in ("threshold_", "calibration_")}
        state = detector.get_state()
        assert other.set_state(state) is other
        assert {name: getattr(other, name, None) for name in before} == before
        for value in state.values():
            if isinstance(value, np.ndarray):
                value[...] = -1  # neither side keeps hold of what was handed over
        later = copy.deepcopy(detector).process(X[400:])
        assert other.process(X[400:]).tobytes() == later.tobytes()
        assert detector.anomaly_score(X).tobytes() == cls().fit(X[:400]).anomaly_score(X).tobytes()
        assert detector.process(X[400:410]).tobytes() == later[:10].tobytes()
        detector = cls().fit(X[:400])


@pytest.mark.parametrize("cls", ONLINE)
def test_the_state_of_another_model_is_refused_in_one_sentence(cls):
    X = np.random.default_rng(0).normal(size=(300, 2))
    detector = cls().fit(X)
    good, before = detector.get_state(), detector.get_state()
    arrays = [name for name, value in good.items() if isinstance(value, np.ndarray)]
    foreign = [other().fit(X).get_state() for other in ONLINE if other is not cls]
    bad = [{}, {**good, "more_": 1}, {k: v for k, v in good.items() if k != "seed_"},
           {**good, "n_features_in_": True}, {**good, "n_features_in_": 2.0},
           *({**good, name: value} for name in arrays for value in (
               good[name][:-1], good[name].astype(np.float32), good[name].tolist(), 0.0)),
           *foreign]
    for state in bad:
        for target in (detector, cls()):
            with pytest.raises(ValueError, match="state") as error:
                target.set_state(state)
            assert "\n" not in str(error.value) and len(str(error.value)) < 300
        assert not hasattr(target, "n_features_in_")
    with pytest.raises(ValueError, match="state must be of a detector of 2 features, got one of 1"):
        detector.set_state(cls().fit(X[:, :1]).get_state())
    with pytest.raises(TypeError, match="state must be of type dict"):
        detector.set_state([])
    after = detector.get_state()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    with pytest.raises(NotFittedError):
        cls().get_state()


def test_a_state_that_is_no_number_is_named():
    detector = Counter().fit(np.zeros((50, 2)))
    detector.seen_ = [1]
    with pytest.raises(TypeError, match="Counter keeps seen_ as list"):
        detector.get_state()


def test_long_inputs_are_scored_a_slice_at_a_time(X, monkeypatch):
    detector = KNN(window=4).fit(X)
    whole = detector.anomaly_score(X)
    monkeypatch.setattr("adlib.base._SLICE", 4 * 3 * 50)  # fifty rows at a time
    assert np.allclose(detector.anomaly_score(X), whole, rtol=1e-12)


def test_what_is_refused_is_named(X):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match="columns that are not numbers: when; drop"):
        KNN().fit(frame.assign(when=pd.date_range("2024", periods=len(X))))
    with pytest.raises(ValueError, match="not numbers: b"):
        KNN().fit(frame.assign(b="high"))
    frame.loc[7, "c"] = np.nan
    with pytest.raises(ValueError, match="1 missing values, the first in row 7, column 'c'"):
        KNN().fit(frame)
    with pytest.raises(ValueError, match="masked array"):
        KNN().fit(np.ma.masked_less(X, 0))


def test_severity_follows_a_threshold_that_is_no_rate():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 1))
    for rule in (6.0, 2.0, Conformal(per="1/hour", interval=60), Quantile(0.9), POT(alpha=1e-4)):
        detector = RollingZScore(threshold=rule).fit(rows)
        new = rng.normal(size=(2_000, 1)) * np.where(np.arange(2_000) % 50, 1, 9)[:, None]
        flagged, severity = detector.detect(new).is_anomaly, detector.severity(new)
        assert ((severity > 0.7) == flagged).all() and 0 < flagged.sum() < 2_000, rule


def test_warm_up_does_not_calibrate():
    stream = np.random.default_rng(0).normal(size=(110, 1))
    detector = RollingZScore(window=100, warm_up=100, alpha=0.2).fit(stream)
    assert len(detector.calibration_.scores_) == 10 and (detector.calibration_.scores_ > 0).all()


def test_clean_batch_and_wholly_anomalous_batch(X):
    """No quota: a clean batch raises about alpha, an anomalous one is flagged whole."""
    detector = KNN(alpha=0.05).fit(X)
    clean = np.random.default_rng(1).normal(size=(2_000, 3))
    assert detector.detect(clean).is_anomaly.mean() == pytest.approx(0.05, abs=0.03)
    assert detector.detect(clean + 30).is_anomaly.all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not detector.detect(np.zeros((200, 3))).is_anomaly.any()


@pytest.mark.parametrize(("model", "name", "value"), [
    (OnlineEnsemble(), "warm_up", 100), (OnlineForecast(), "memory", 100),
    (OnlineForecast(), "warm_up", 100), (RollingZScore(), "window", 100),
    (KNN(), "n_neighbors", 100), (KNN(), "window", 100), (PCAReconstruction(), "window", 100)])
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_a_small_integer_of_numpy_is_that_number(model, name, value, kind):
    X = np.random.default_rng(0).normal(size=(700, 2))
    wanted, got = (clone(model).set_params(**{name: given}).fit(X).anomaly_score(X)
                   for given in (value, kind(value)))
    assert np.array_equal(wanted, got)
