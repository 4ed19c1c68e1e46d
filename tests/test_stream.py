"""Online detectors judge rows as the continuation of their stream, wherever they are used."""

import copy
import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from adlib import explain
from adlib.base import OnlineDetector, anomaly_score, is_stateful, score_by
from adlib.checks import check_detector
from adlib.compare import compare
from adlib.compare.protocol import score_cell
from adlib.datasets import Dataset, load_sklearn
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    RollingZScore,
    SeasonalZScore,
    all_detectors,
)
from adlib.realtime.members import Member

DAY, DAYS = 24, 60


class HourOfDay(OnlineDetector):
    """|value - mean of this hour| over the mean deviation, each learned as it goes."""

    def _reset(self, n_features):
        self.mean_, self.size_ = np.zeros((DAY, n_features)), np.ones(n_features)
        self.rows_ = 0

    def learn_one(self, x):
        hour, days = self.rows_ % DAY, self.rows_ // DAY
        away = x - self.mean_[hour]
        self.mean_[hour] += away / (days + 1)
        if days:  # the first one has nothing to be away from
            self.size_ += (np.abs(away) - self.size_) / (self.rows_ - DAY + 1)
        self.rows_ += 1

    def score_one(self, x):
        return float((np.abs(x - self.mean_[self.rows_ % DAY]) / (self.size_ + 1e-9)).max())


class Noted(OnlineDetector):
    """Counts rows, in a list: its state is no array."""

    def _reset(self, n_features):
        self.rows_ = []

    def learn_one(self, x):
        self.rows_.append(float(x[0]))

    def score_one(self, x):
        if x[0] < 0:
            raise ValueError("x must not be negative")
        return float(len(self.rows_))


ONLINE = {name: cls for name, cls in all_detectors().items() if issubclass(cls, OnlineDetector)}
ONLINE["HourOfDay"] = HourOfDay


def hours(seed=0, days=DAYS):
    t, rng = np.arange(DAY * days), np.random.default_rng(seed)
    return (10 + 5 * np.sin(2 * np.pi * t / DAY) + 0.3 * rng.normal(size=len(t)))[:, None]


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
@pytest.mark.parametrize("cls", ONLINE.values(), ids=ONLINE)
def test_a_clean_seasonal_stream_stays_in_the_budget(cls):
    """Judged by the state frozen at fit, 9 rows in 10 were flagged."""
    shares = []
    for seed in range(20):
        X, cut = hours(seed), 40 * DAY
        detector = cls(alpha=0.01).fit(X[:cut])
        found, later = detector.detect(X[cut:]), copy.deepcopy(detector)
        np.testing.assert_array_equal(found.score, later.process(X[cut:]))
        calibrated = cls(alpha=0.01).fit(X[:30 * DAY]).calibrate(X[30 * DAY:cut])
        again = calibrated.detect(X[cut:])
        np.testing.assert_array_equal(again.score, copy.deepcopy(calibrated).process(X[cut:]))
        shares.append([found.is_anomaly.mean(), again.is_anomaly.mean()])
    assert (np.mean(shares, axis=0) <= 0.015).all()
    assert np.max(shares) <= 0.06


@pytest.mark.parametrize("cls", ONLINE.values(), ids=ONLINE)
def test_every_judgement_continues_and_leaves_the_detector_alone(cls):
    X = hours(days=20)
    detector = cls(alpha=0.1).fit(X[:300])
    before = copy.deepcopy(vars(detector))
    score = copy.deepcopy(detector).process(X[300:])
    np.testing.assert_array_equal(detector.score_samples(X[300:]), -score)
    np.testing.assert_array_equal(detector.predict(X[300:]) == -1, score > detector.threshold_)
    np.testing.assert_array_equal(detector.tail_score(X[300:]),
                                  1 - detector.calibration_.p_value(score))
    assert ((detector.severity(X[300:]) > 0.7) == (score > detector.threshold_)).all()
    np.testing.assert_array_equal(anomaly_score(detector, X[300:]), score)
    frozen = [detector.score_one(x) for x in X[300:]]
    np.testing.assert_allclose(detector.frozen_score(X[300:]), frozen, rtol=1e-12)
    assert all(np.array_equal(value, vars(detector)[name]) for name, value in before.items()
               if isinstance(value, np.ndarray))
    # X once more, after itself
    np.testing.assert_array_equal(cls(alpha=0.1).fit_predict(X[:300]) == -1,
                                  copy.deepcopy(detector).process(X[:300]) > detector.threshold_)


def test_a_calibration_that_fails_moves_nothing():
    detector = Noted(alpha=0.2).fit(np.ones((50, 1)))
    before = dict(vars(detector))
    rows = np.ones((30, 1))
    rows[20] = -1
    with pytest.raises(ValueError, match="negative"):
        detector.calibrate(rows)
    assert vars(detector) == before and len(detector.rows_) == 50
    detector.threshold = "no rule"
    with pytest.raises(ValueError):
        detector.calibrate(rows[:20])
    assert len(detector.rows_) == 50
    detector.threshold = None
    detector.calibrate(rows[:20])
    assert len(detector.rows_) == 70 and detector.calibration_.scores_[0] == 50


def test_a_copy_shares_what_learning_leaves_alone():
    detector = RollingZScore().fit(hours())
    held_out = detector.calibration_.scores_

    class Loud(np.ndarray):
        def __deepcopy__(self, memo):
            raise AssertionError("the held-out scores were copied")

    detector.calibration_.scores_ = held_out.view(Loud)
    assert detector.anomaly_score(hours(1)).shape == (DAY * DAYS,)


@pytest.mark.parametrize("cls", [*ONLINE.values(), MaxAbsZ], ids=[*ONLINE, "MaxAbsZ"])
def test_of_scikit_learns_checks_two_are_waived_and_no_more(cls):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(cls(), on_skip=None, on_fail=None)
    failed = {one["check_name"] for one in found if one["status"] == "failed"}
    allowed = {"check_methods_sample_order_invariance", "check_methods_subset_invariance"}
    assert failed <= (allowed if cls().is_stateful else set())
    assert cls().is_stateful == issubclass(cls, OnlineDetector)


@pytest.mark.parametrize("make", [
    HourOfDay, lambda: Ensemble(members=[RollingZScore(window=20), MaxAbsZ()], random_state=0)])
def test_the_suite_passes(make):
    assert "sklearn" in check_detector(make())


# -- ensembles and Pipelines ------------------------------------------------------------------


def behind_a_scaler():
    return make_pipeline(StandardScaler(), SeasonalZScore(period=DAY))


def test_a_pipeline_is_judged_and_moved_by_its_last_step():
    X = hours()
    model = behind_a_scaler().fit(X[:800])
    assert is_stateful(model) and not is_stateful(make_pipeline(StandardScaler(), MaxAbsZ()))
    want = copy.deepcopy(model[-1]).process(model[:-1].transform(X[800:]))
    np.testing.assert_array_equal(anomaly_score(model, X[800:]), want)
    frozen = score_by(model, X[800:], "frozen_score")
    np.testing.assert_array_equal(frozen, model[-1].frozen_score(model[:-1].transform(X[800:])))
    np.testing.assert_array_equal(score_by(model, X[800:900], "process"), want[:100])
    np.testing.assert_array_equal(anomaly_score(model, X[900:]), want[100:])


@pytest.mark.parametrize("make", [lambda: SeasonalZScore(period=DAY), behind_a_scaler])
def test_members_of_an_ensemble_get_contiguous_rows(make):
    X, cut = hours(), 40 * DAY
    model = Ensemble(members=[make(), KNN(window=3)], alpha=0.05, random_state=0).fit(X[:cut])
    assert model.is_stateful and model.is_ordered and not Ensemble(members=[KNN()]).is_stateful
    whole = model.anomaly_score(X[cut:])
    # the member has gone through every row once, held-out ones included
    alone = make().fit(X[:cut - cut // 5])
    held_out = score_by(alone, X[cut - cut // 5:cut], "process")
    np.testing.assert_allclose(anomaly_score(model.members_[0], X[cut:]),
                               anomaly_score(alone, X[cut:]), rtol=1e-12)
    np.testing.assert_allclose(model.scales_[0].scores_, np.sort(held_out[2:]), rtol=1e-12)
    assert (whole > model.threshold_).mean() < 0.15
    np.testing.assert_array_equal(model.anomaly_score(X[cut:]), whole)
    moved = copy.deepcopy(model).calibrate(X[cut:cut + 200])
    kept = model.members_[0]
    np.testing.assert_allclose(moved.anomaly_score(X[cut + 200:])[2:], whole[202:], rtol=1e-12)
    with pytest.raises(ValueError):
        model.set_params(threshold="no rule").calibrate(X[cut:cut + 200])
    assert model.members_[0] is kept
    np.testing.assert_array_equal(model.anomaly_score(X[cut:]), whole)
    by_hand = np.concatenate([model.process(X[cut:cut + 100]), model.process(X[cut + 100:])])
    np.testing.assert_allclose(np.delete(by_hand, [100, 101]), np.delete(whole, [100, 101]))


def test_an_ensemble_of_online_members_is_refused_by_the_engine():
    model = Ensemble(members=[RollingZScore(), MaxAbsZ()], random_state=0).fit(hours())
    with pytest.raises(TypeError, match="each as a detector of the engine"):
        Member("both", model).snapshot()


# -- comparisons --------------------------------------------------------------------------------


def test_each_recording_continues_from_its_own_copy():
    X, n = hours(), DAY * DAYS
    session = np.repeat([0, 1, 2], [n - 500, 200, 300])
    data = Dataset("three", X, train_end=n - 600, calibrate_start=n - 800, session=session)
    cell = score_cell(SeasonalZScore(period=DAY), data)
    fitted = SeasonalZScore(period=DAY, calibration=None).fit(X[:n - 800])
    want = np.concatenate([copy.deepcopy(fitted).process(part) for part in
                           (X[n - 800:n - 500], X[n - 500:n - 300], X[n - 300:])])
    np.testing.assert_array_equal(cell.test, want[cell.test_rows.start - n + 800:])


def test_an_ensemble_goes_through_the_rows_as_its_members_do():
    X = hours()
    data = Dataset("one", X, train_end=1_200, calibrate_start=900)
    members = [SeasonalZScore(period=DAY), KNN(window=5)]
    cell = score_cell(Ensemble(members=members, random_state=0), data, alpha=0.05)
    model = Ensemble(members=members, random_state=0).fit(X[:900])
    np.testing.assert_allclose(cell.test, model.anomaly_score(X[900:])[304:])
    assert (cell.test > cell.threshold).mean() < 0.12


def test_a_table_is_judged_by_the_frozen_score_and_says_so():
    table = load_sklearn("breast_cancer")
    assert not table.ordered and not table.cut(slice(0, 50)).ordered and Dataset("x", [1]).ordered
    cell = score_cell(RollingZScore(), table)
    model = RollingZScore(calibration=None).fit(table.X[:table.calibrate_start])
    np.testing.assert_array_equal(cell.test, model.frozen_score(table.X[table.train_end:]))
    found = compare({"z": RollingZScore(), "far": "MaxAbsZ"}, [table, Dataset("series", hours())],
                    seeds=[0], baselines=False, n_random=0, intervals=False)
    online = found.groupby(["detector", "dataset"]).online.first().unstack()
    assert online.loc["z"].to_dict() == {table.name: "frozen", "series": "yes"}
    assert set(online.loc["far"]) == {"no"}


# -- explanations -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [
    lambda: SeasonalZScore(period=DAY), behind_a_scaler,
    lambda: Ensemble(members=[SeasonalZScore(period=DAY), KNN(window=3)], random_state=0)])
def test_a_row_is_explained_by_the_state_it_was_judged_by(make):
    rng = np.random.default_rng(0)
    X = np.hstack([hours(), 3 * hours(1), rng.normal(size=(DAY * DAYS, 1))])
    X[1_300, 1] += 20
    model = make().fit(X[:1_000])
    want = anomaly_score(model, X[1_000:])[[250, 300]]
    why = explain.explain(model, X[1_000:], [300, 250], background=X[:1_000])
    np.testing.assert_allclose(why.scores[::-1], want)
    assert why.top(1)[0][0][0] == "x1"
    np.testing.assert_allclose(anomaly_score(model, X[1_000:])[[250, 300]], want)
