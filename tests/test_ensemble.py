"""Ensembles: one scale, weights, members that fail, and a budget that holds."""

import warnings
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib.base import Detector, core
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    PCAReconstruction,
    RandomFeatureAE,
    RandomScore,
    all_detectors,
)
from adlib.detectors.committee import Committee, MemberWarning
from adlib.metrics import roc_auc
from adlib.persist import load, save
from adlib.thresholds import POT, Calibration


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 3)) @ np.diag([1.0, 5.0, 0.2])


@pytest.fixture
def rows():
    return np.random.default_rng(1).normal(size=(200, 3)) * [1.5, 8.0, 0.3]


def _quick(**how):
    return Ensemble(members=[KNN(), MaxAbsZ(), PCAReconstruction()], random_state=0, **how)


class Failing(Detector):
    """Fails at fit, or later, when it scores."""

    def __init__(self, *, late=False, **base):
        super().__init__(**base)
        self.late = late

    def _fit(self, X):
        self.rows_ = len(X)
        if not self.late:
            raise RuntimeError("no convergence")

    def _score(self, X):
        if self.late and X.max() > 1e3:
            raise FloatingPointError("overflow in the third layer")
        return X[:, 0].copy()


class Constant(Detector):
    def _fit(self, X):
        self.level_ = 7.0

    def _score(self, X):
        return np.full(len(X), self.level_)


class Scaled(MaxAbsZ):
    """The same ranking in another unit."""

    def __init__(self, *, factor=1.0, power=1.0, **base):
        super().__init__(**base)
        self.factor = factor
        self.power = power

    def _score(self, X):
        return self.factor * super()._score(X) ** self.power


# -- the scale ----------------------------------------------------------------------------------


def test_surprise_by_hand():
    scale = Calibration().fit(np.arange(1.0, 10.0))  # nine rows: no tail fit
    at = scale.surprise([1.0, 5.0, 9.0, 5.5, -3.0])
    assert at[:3] == pytest.approx(-np.log([9 / 10, 5 / 10, 1 / 10]))
    assert at[3] == pytest.approx(-np.log([0.5, 0.4]).mean()) and at[4] == at[0]
    # beyond: the upper half exceeds the median 5 by (1 + 2 + 3 + 4) / 9 * 2
    assert scale.surprise([11.0])[0] - at[2] == pytest.approx(2 / (20 / 9))
    with pytest.raises(ValueError, match="at least one"):
        Calibration().fit([]).surprise([1.0])


def test_surprise_is_exponential_on_normal_rows_and_never_ties():
    rng = np.random.default_rng(0)
    scale = Calibration().fit(rng.gamma(2.0, size=5_000))
    assert stats.kstest(scale.surprise(rng.gamma(2.0, size=2_000)), "expon").pvalue > 0.01
    dense = scale.surprise(np.r_[np.linspace(0.1, 60, 5_000), 1e3, 1e6, 1e12])
    assert (np.diff(dense[dense > dense[0]]) > 0).all() and np.isfinite(dense).all()


def test_units_of_members_do_not_matter(X, rows):
    plain = Ensemble(members=[KNN(), MaxAbsZ()], random_state=0).fit(X)
    loud = Ensemble(members=[KNN(), Scaled(factor=1e9)], random_state=0).fit(X)
    assert np.allclose(plain.anomaly_score(rows), loud.anomaly_score(rows), rtol=1e-9)
    inside = Ensemble(members=[KNN(), Scaled(power=3.0)], random_state=0).fit(X)
    # nor does a curved scale, up to interpolation between held-out rows and the tail beyond them
    a, b = plain.anomaly_score(X), inside.anomaly_score(X)
    assert np.corrcoef(a, b)[0, 1] > 0.995


def test_score_is_the_weighted_mean_of_the_members_surprises(X, rows):
    model = Ensemble(members=[(KNN(), 3.0), (MaxAbsZ(), 1.0)], random_state=0).fit(X)
    by_hand = sum(w * scale.surprise(member.anomaly_score(rows)) for w, scale, member in zip(
        (0.75, 0.25), model.scales_, model.members_, strict=True))
    assert np.allclose(model.anomaly_score(rows), by_hand)
    assert model.weights_.tolist() == [0.75, 0.25]


def test_ways_to_combine(X, rows):
    S = np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 1.0]])
    want = {"weighted": [4.5, 2.25], "mean": [3.0, 3.0], "max": [6.0, 4.0], "trimmed": [2.0, 4.0]}
    for combine, values in want.items():
        model = _quick(combine=combine, weights=[1, 0.5, 2.5]).fit(X)
        model.weights_ = np.array([0.2, 0.15, 0.65])
        if combine == "weighted":
            values = S @ model.weights_
        assert np.allclose(model.combined(S), values), combine
        assert np.isfinite(model.anomaly_score(rows)).all()
    with pytest.raises(ValueError, match="combine must be"):
        _quick(combine="median").fit(X)


def test_no_ties_at_the_top(X):
    far = np.outer(np.geomspace(10, 1e6, 400), [1.0, 5.0, 0.2])
    score = Ensemble(random_state=0).fit(X).anomaly_score(far)
    assert (np.diff(score) > 0).all()


# -- members --------------------------------------------------------------------------------------


def test_add_copies_and_the_callers_list_stays(X):
    mine, listed = KNN(n_neighbors=3), [MaxAbsZ()]
    model = Ensemble(members=listed, random_state=0)
    assert model.add(mine, 2.0) is model
    assert len(listed) == 1 and len(model.members) == 2
    mine.set_params(n_neighbors=50)
    assert model.members[1][0].n_neighbors == 3
    model.fit(X)
    assert not hasattr(mine, "rows_") and not hasattr(model.members[1][0], "rows_")
    assert model.weights_ == pytest.approx([1 / 3, 2 / 3])
    first = Ensemble(random_state=0).add(KNN())
    assert len(first.members) == 1  # not the default ones as well
    listed_weights = [1.0]
    weighted = Ensemble(members=[MaxAbsZ()], weights=listed_weights).add(KNN(), 0.5)
    assert weighted.weights == [1.0, 0.5] and listed_weights == [1.0]
    assert clone(weighted).fit(X).weights_ == pytest.approx([2 / 3, 1 / 3])


def test_order_of_members_does_not_matter(X, rows):
    members = [KNN(), RandomFeatureAE(n_hidden=32), IsolationForest(n_estimators=20), RandomScore(),
               RandomFeatureAE(n_hidden=32)]
    one, two = (Ensemble(members=m, random_state=3).fit(X) for m in (members, members[::-1]))
    assert np.allclose(one.anomaly_score(rows), two.anomaly_score(rows), rtol=1e-6)
    assert np.allclose(one.severity(rows), two.severity(rows), atol=0.01)
    # twins are seeded apart
    a, b = (m for m in one.members_ if isinstance(m, RandomFeatureAE))
    assert not np.allclose(a.anomaly_score(rows), b.anomaly_score(rows))


def test_units_of_features_do_not_matter(X, rows):
    by = np.array([1.0, 10.0, 1.0])
    one, two = Ensemble(random_state=0).fit(X), Ensemble(random_state=0).fit(X * by)
    assert np.allclose(one.anomaly_score(rows), two.anomaly_score(rows * by), rtol=1e-6)
    assert np.allclose(one.severity(rows), two.severity(rows * by), atol=0.01)


@pytest.mark.parametrize("bad", [Failing(), Constant(), LocalOutlierFactor()],
                         ids=lambda bad: type(bad).__name__)
def test_a_member_that_fails_or_is_blind_changes_nothing_else(bad, X, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error", MemberWarning)
        without = _quick().fit(X)
    for members in ([*without.members, bad], [bad, *without.members]):
        with pytest.warns(MemberWarning, match=f"goes on without {type(bad).__name__}"):
            model = Ensemble(members=members, random_state=0).fit(X)
        assert (model.anomaly_score(rows) == without.anomaly_score(rows)).all()
        assert model.threshold_ == without.threshold_
        (row,) = (row for row in model.report_ if row["member"] == type(bad).__name__)
        assert row["status"] in ("failed", "constant") and row["reason"] and row["weight"] == 0.0
        assert len(model.report_) == 4
    with pytest.raises(ValueError, match="every member failed: Failing: RuntimeError: no conv"):
        Ensemble(members=[Failing()]).fit(X)


def test_a_member_that_fails_later_abstains(X, rows):
    model = Ensemble(members=[KNN(), Failing(late=True)], random_state=0).fit(X)
    alone = model.scales_[0].surprise(model.members_[0].anomaly_score(rows * 1e4))
    with pytest.warns(MemberWarning, match="scores without Failing: FloatingPointError: overflow"):
        assert np.allclose(model.anomaly_score(rows * 1e4), alone)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.allclose(model.anomaly_score(rows), alone)  # and is back for the next rows


def test_a_zero_weight_is_no_part(X, rows):
    model = _quick(weights=[1, 0, 0]).fit(X)
    assert model.names_ == ["KNN"] and model.report_[1]["status"] == "unused"
    single = Ensemble(members=[KNN()], random_state=0).fit(X)
    assert (model.anomaly_score(rows) == single.anomaly_score(rows)).all()


def test_members_of_every_kind(X, rows):
    model = Ensemble(members=[make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
                              IsolationForest(n_estimators=20), KNN(), KNN(n_neighbors=9)],
                     random_state=0).fit(X)
    assert model.names_ == ["LocalOutlierFactor", "IsolationForest", "KNN", "KNN-2"]
    assert roc_auc(np.r_[np.zeros(200), np.ones(200)],
                   model.anomaly_score(np.vstack([X[:200], rows * 3]))) > 0.9


def test_members_that_look_back():
    rng = np.random.default_rng(0)
    t = np.arange(900)
    X = np.sin(t / 5)[:, None] + 0.1 * rng.normal(size=(900, 1))
    model = Ensemble(members=[KNN(window=8), PCAReconstruction(window=3), MaxAbsZ()],
                     random_state=0).fit(X[:600])
    assert model.threshold_rule_.block == "auto"
    later = X[600:].copy()
    score = model.anomaly_score(later)
    # the same with predecessors, whatever came before; and blind to what follows
    assert np.allclose(model.anomaly_score(later[100 - 7:150])[7:], score[100:150])
    assert np.allclose(model.anomaly_score(later[:80]), score[:80])
    assert (score[7:] > model.threshold_).mean() < 0.15
    flat = later.copy()
    flat[100:120] = flat[100]  # every value is usual
    assert model.anomaly_score(flat)[105:120].mean() > 2 * score.mean()
    stacked = Ensemble(members=[KNN(window=3)], window=2, random_state=0).fit(X)
    assert stacked.context_ == 3
    with pytest.raises(ValueError, match="look-back of 7 rows needs more rows: 15 leave 7"):
        model.fit(X[:15])


def test_parallel_gives_the_same(X, rows, monkeypatch):
    monkeypatch.setattr("adlib.detectors.committee.PARALLEL_PAYS", 0)
    one, two = _quick().fit(X), _quick(n_jobs=2).fit(X)
    assert (one.anomaly_score(rows) == two.anomaly_score(rows)).all()
    assert one.threshold_ == two.threshold_


def test_saved_with_members_of_every_kind(X, rows, tmp_path):
    with pytest.warns(MemberWarning):
        model = Ensemble(members=[(KNN(), 2.0), IsolationForest(n_estimators=5), Constant()],
                         random_state=0).fit(X)
    again = load(save(model, tmp_path / "m"), classes=[Constant])
    assert (again.anomaly_score(rows) == model.anomaly_score(rows)).all()
    assert again.report_ == model.report_ and again.threshold_ == model.threshold_
    again.feedback(rows, np.arange(200) % 2)


class Drawing(BaseEstimator):
    """Draws from NumPy's global state, as libraries do."""

    def fit(self, X, y=None):
        self.direction_ = np.random.normal(size=X.shape[1])  # noqa: NPY002
        return self

    def score_samples(self, X):
        return -np.abs(X @ self.direction_)


def test_global_random_state_is_given_and_kept(X, rows):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    one = Ensemble(members=[Drawing(), KNN()], random_state=0).fit(X)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    two = Ensemble(members=[Drawing(), KNN()], random_state=0).fit(X)
    assert (one.anomaly_score(rows) == two.anomaly_score(rows)).all()


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["agreement", "stability"])
def test_weights_without_labels_find_the_noise(weights, X):
    model = Ensemble(members=[KNN(), MaxAbsZ(), RandomScore(random_state=None)], weights=weights,
                     random_state=0).fit(X)
    assert model.weights_.sum() == pytest.approx(1)
    if weights == "agreement":  # noise agrees with nobody; with itself it does, so it is "stable"
        assert model.weights_[2] < 0.1 < model.weights_[:2].min()
    else:
        unstable = Ensemble(members=[KNN(), RandomFeatureAE(n_hidden=400, ridge=1e-9, noise=1e-3,
                                                            gain=9.0)],
                            weights=weights, random_state=0).fit(X[:60])
        assert unstable.weights_[0] > unstable.weights_[1]
    with pytest.raises(ValueError, match="would be lost"):
        model.add(KNN(), 2.0)


def test_feedback_moves_weight_to_who_was_right(X):
    rng = np.random.default_rng(2)
    model = Ensemble(members=[KNN(), RandomScore()], random_state=0).fit(X)
    y = rng.random(150) < 0.3
    shown = rng.normal(size=(150, 3)) * [1.0, 5.0, 0.2] + 8 * y[:, None] * [1.0, 5.0, 0.2]
    test = np.vstack([rng.normal(size=(400, 3)), 2.5 + rng.normal(size=(400, 3))]) * [1, 5, 0.2]
    truth = np.arange(800) >= 400
    before = roc_auc(truth, model.anomaly_score(test))
    labels = np.where(np.arange(150) < 100, y.astype(float), np.nan)  # some were not looked at
    model.feedback(shown, labels)
    assert model.weights_[0] > 0.9 and model.report_[0]["weight"] == model.weights_[0]
    assert roc_auc(truth, model.anomaly_score(test)) > before
    # the budget still holds: it was set on rows that gave no feedback
    assert model.detect(test[:400]).is_anomaly.mean() == pytest.approx(0.05, abs=0.04)
    with pytest.raises(ValueError, match="y must hold 1"):
        model.feedback(shown, np.full(150, 2))
    with pytest.raises(ValueError, match="judge one at least"):
        model.feedback(shown, np.full(150, np.nan))
    with pytest.raises(ValueError, match="rate must be"):
        model.feedback(shown, labels, rate=-1)


def test_hedge_is_no_worse_than_its_bound(X):
    """Regret of multiplicative weights, rows shown one by one, whatever the labels."""
    rng = np.random.default_rng(0)
    rows, y = rng.normal(size=(120, 3)) * [2.0, 9.0, 0.4], rng.integers(0, 2, 120)
    model = _quick().fit(X)
    rate, total, members = np.sqrt(8 * np.log(3) / 120), 0.0, np.zeros(3)
    p = np.exp(-model._surprises(rows))
    for i in range(120):
        loss = p[i] if y[i] else 1 - p[i]
        total += loss @ model.weights_
        members += loss
        model.feedback(rows[i:i + 1], y[i:i + 1], rate=rate)
    assert total <= members.min() + np.sqrt(120 / 2 * np.log(3)) + 1e-9


def test_calibrate_keeps_the_score_and_moves_the_cut(X, rows):
    model = _quick().fit(X)
    score, cut = model.anomaly_score(rows), model.threshold_
    model.calibrate(rows)
    assert (model.anomaly_score(rows) == score).all() and model.threshold_ > cut
    assert (np.sort(model.combined(model.held_out_)) == model.calibration_.scores_).all()


def test_parameters_are_checked(X):
    for how, match in (({"weights": [1, 2]}, "weights must be 3 numbers"),
                       ({"weights": [1, -1, 1]}, "weights must be 3 numbers"),
                       ({"weights": [0, 0, 0]}, "not all 0"),
                       ({"weights": "best"}, "weights must be None")):
        with pytest.raises(ValueError, match=match):
            _quick(**how).fit(X)
    for members, match in (([], "at least one detector"), (["KNN"], "got 'KNN'"),
                           ([KNN], "members must be"), ([(KNN(), 1, 2)], "or pairs"),
                           ([KNN(n_neighbors=0)], "n_neighbors must be")):
        with pytest.raises(ValueError, match=match):
            Ensemble(members=members).fit(X)
    with pytest.raises(ValueError, match="weights must be 1 numbers"):
        Ensemble().add(KNN(), -1)


# -- the budget -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "how"), [(60, "cross"), (200, "cross"), (300, "split")])
def test_the_budget_holds_although_rows_serve_twice(n, how):
    """Mean rate over draws within three standard errors of alpha, or a little below it: parts learn
    from fewer rows than the final model, so held-out scores lie a little high."""
    rng, alpha, rates = np.random.default_rng(0), 0.1, []
    for i in range(60):
        X, fresh = rng.normal(size=(n, 2)), rng.normal(size=(1_000, 2))
        model = Ensemble(members=[KNN(), MaxAbsZ()], alpha=alpha, calibration=how, random_state=i)
        rates.append(model.fit(X).detect(fresh).is_anomaly.mean())
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert alpha * 0.85 - 3 * error <= np.mean(rates) <= alpha + 3 * error


def test_no_row_is_held_against_itself(X):
    """A row's own score on its own scale would always be among the scale's: never beyond it."""
    model = _quick().fit(X)
    top = np.log(len(X) + 1)
    assert (model.held_out_.max(axis=0) > np.log(0.8 * len(X))).all()
    inside = np.array([scale.surprise(scale.scores_).max() for scale in model.scales_])
    assert np.allclose(inside, top)


def test_no_quota(X):
    model = Ensemble(random_state=0).fit(X)
    assert model.detect(X + 10 * X.std(axis=0)).is_anomaly.all()
    assert not model.detect(np.zeros((200, 3))).is_anomaly.any()


def test_contributions_share_out_the_score(X, rows):
    model = Ensemble(members=[KNN(), IsolationForest(n_estimators=10)], random_state=0).fit(X)
    parts = model.contributions(rows)
    assert np.allclose(parts.sum(axis=1), model.anomaly_score(rows)) and (parts >= 0).all()
    rows[:, 2] += 30
    assert (model.contributions(rows).argmax(axis=1) == 2).all()
    with pytest.raises(NotImplementedError):
        Ensemble(members=[IsolationForest(n_estimators=5)], random_state=0).fit(
            X).contributions(rows)


def test_the_default_is_no_worse_than_its_members():
    """Where either member is blind: a bent sheet, and clusters apart."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-3, 3, size=(900, 1))
    sheet = np.hstack([t, np.sin(t), np.cos(t)]) + 0.05 * rng.normal(size=(900, 3))
    clusters = rng.normal(size=(900, 3)) * 0.3 + rng.integers(0, 2, (900, 3)) * 4.0
    found = {}
    for data in (sheet, clusters):
        train, normal = data[:600], data[600:]
        odd = np.column_stack([rng.permutation(column) for column in normal.T])
        odd += 0.4 * rng.normal(size=odd.shape)
        y, rows = np.r_[np.zeros(300), np.ones(300)], np.vstack([normal, odd])
        for model in (Ensemble(random_state=0), RandomFeatureAE(random_state=0), KNN()):
            auc = roc_auc(y, model.fit(train).anomaly_score(rows))
            found.setdefault(type(model).__name__, []).append(auc)
    means = {name: np.mean(values) for name, values in found.items()}
    assert means["Ensemble"] > max(means["KNN"], means["RandomFeatureAE"]) - 0.01, means


# -- a committee that is calibrated by others ------------------------------------------------------


class Counting(MaxAbsZ):
    """Counts its trainings."""

    trainings: ClassVar[list[int]] = []

    def _fit(self, X):
        Counting.trainings.append(len(X))
        super()._fit(X)


@pytest.mark.parametrize(("how", "trainings"), [
    (None, [300]), ("split", [240]), ("cross", [*[270] * 10, 300])])
def test_how_often_members_are_trained(how, trainings, X):
    Counting.trainings = []
    Ensemble(members=[Counting(), KNN()], calibration=how, random_state=0).fit(X)
    assert sorted(Counting.trainings) == trainings


def test_calibrated_later_is_calibrated_the_same(X, rows):
    """Fit, then calibrate, on the rows that a split trains on and holds out."""
    for extra in ([], [Constant()]):
        members = [KNN(), MaxAbsZ(), *extra]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MemberWarning)
            at_once = Ensemble(members=members, calibration="split", random_state=0).fit(X)
            later = Ensemble(members=members, calibration=None, random_state=0).fit(X[:240])
        with pytest.raises(NotFittedError, match="no scales yet: call calibrate"):
            later.anomaly_score(rows)
        later.calibrate(X[240:])
        assert (later.anomaly_score(rows) == at_once.anomaly_score(rows)).all()
        assert later.threshold_ == at_once.threshold_ and later.names_ == at_once.names_
        assert later.report_ == at_once.report_


def test_calibrated_by_scores_alone(X, rows):
    def raw_of(model, X):
        return np.column_stack([member.anomaly_score(X) for member in model.members_])

    one = _quick(calibration=None, weights="agreement").fit(X[:240])
    two = _quick(calibration=None, weights="agreement").fit(X[:240]).calibrate(X[240:])
    assert one.calibrate_scores(raw_of(one, X[240:])) is one
    assert one.threshold_ == two.threshold_ and one.report_ == two.report_
    surprises = one.surprises_of(raw_of(one, rows))
    assert (one.combined(surprises) == one.anomaly_score(rows)).all()
    # scales stay from then on
    score = one.anomaly_score(rows)
    one.calibrate_scores(raw_of(one, rows))
    assert (one.anomaly_score(rows) == score).all()
    assert np.allclose(one.held_out_, surprises)
    for bad in (np.zeros((5, 2)), np.zeros(5)):
        with pytest.raises(ValueError, match=r"scores must have shape \(n, 3\), a column for each"):
            one.calibrate_scores(bad)


def test_any_subset_is_combined_with_its_own_weights(X, rows):
    model = Ensemble(members=[(KNN(), 3.0), (MaxAbsZ(), 1.0), (PCAReconstruction(), 2.0)],
                     random_state=0).fit(X)
    S = model.surprises_of(np.column_stack([m.anomaly_score(rows) for m in model.members_]))
    assert np.allclose(model.combined(S, [0, 2]), (3 * S[:, 0] + 2 * S[:, 2]) / 5)
    assert np.allclose(model.combined(S, [1]), S[:, 1])
    # the same in another order; a missing surprise is left out of its row alone
    assert np.allclose(model.combined(S, [2, 0]), model.combined(S, [0, 2]))
    holes = S.copy()
    holes[3, 1], holes[4] = np.nan, np.nan
    combined = model.combined(holes)
    assert combined[3] == pytest.approx(model.combined(S, [0, 2])[3]) and np.isnan(combined[4])
    assert np.allclose(np.delete(combined, [3, 4]), np.delete(model.combined(S), [3, 4]))
    for combine, by_hand in (("max", S[:, 1:].max(axis=1)), ("mean", S[:, 1:].mean(axis=1))):
        assert np.allclose(model.set_params(combine=combine).combined(S, [1, 2]), by_hand)


def test_members_without_some_scores(X, rows):
    model = _quick(calibration=None).fit(X[:240])
    raw = np.column_stack([m.anomaly_score(X[240:]) for m in model.members_])
    raw[:10, 0], raw[20] = np.nan, np.nan
    model.calibrate_scores(raw)
    assert (np.isnan(model.held_out_) == np.isnan(raw)).all()
    assert [len(scale.scores_) for scale in model.scales_] == [49, 59, 59]
    assert len(model.calibration_.scores_) == 59  # the row without any score says nothing
    assert np.isfinite(model.anomaly_score(rows)).all() and np.isfinite(model.threshold_)
    raw[:, 1] = np.nan
    again = _quick(calibration=None).fit(X[:240])
    with pytest.raises(ValueError, match="held-out scores of every member, got none of MaxAbsZ"):
        again.calibrate_scores(raw)
    assert not hasattr(again, "scales_")


def test_a_refused_calibration_leaves_nothing_behind(X):
    model = _quick(calibration=None, threshold=POT()).fit(X[:280])
    with pytest.raises(ValueError, match="POT needs"):
        model.calibrate(X[280:])
    assert not hasattr(model, "scales_") and not hasattr(model, "threshold_")


def test_rows_in_time_order_are_held_against_rows_apart():
    """Held-out rows that share a window with a block are no part of the scale that judges it."""
    X = np.random.default_rng(0).normal(size=(400, 2))
    model = Ensemble(members=[KNN(window=4)], calibration="split", random_state=0).fit(X)
    raw = model.members_[0].anomaly_score(X[320:])[3:]
    block = slice(8, 16)  # the second of ten
    others = np.r_[raw[:8 - 3], raw[16 + 3:]]
    assert len(raw) == 77 and np.allclose(
        model.held_out_[block, 0], Calibration().fit(others).surprise(raw[block]))


def test_an_ensemble_of_ensembles(X, rows):
    inner = Ensemble(members=[KNN(), MaxAbsZ()], random_state=0)
    model = Ensemble(members=[inner, PCAReconstruction()], calibration=None,
                     random_state=0).fit(X[:240]).calibrate(X[240:])
    assert np.isfinite(model.anomaly_score(rows)).all() and hasattr(model.members_[0], "scales_")


def test_the_base_of_ensembles_is_not_a_detector_to_list():
    assert "Committee" not in all_detectors()
    with pytest.raises(TypeError, match="abstract"):
        Committee()


@pytest.mark.parametrize("member", [
    KNN(window="auto"), make_pipeline(StandardScaler(), KNN(window="auto"))])
def test_a_window_that_members_choose_takes_no_more_rows_than_it_needs(member):
    t, rng = np.arange(600)[:, None], np.random.default_rng(0)
    X = np.sin(2 * np.pi * t / 60) + 0.1 * rng.normal(size=(600, 1))
    model = Ensemble(members=[member, KNN()]).fit(X)
    assert model.context_ == 59 and core(model.members_[0]).window_ == 60
    whole = model.anomaly_score(X)
    assert model.anomaly_score(X[200:])[59:] == pytest.approx(whole[259:])
    assert clone(model).get_params()["members"][0] is not member
    assert core(model.members[0]).window == "auto"
    assert model.fit(X[::3]).context_ < 59  # nothing of the fit before
