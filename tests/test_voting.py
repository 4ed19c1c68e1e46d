"""Voting: the vote and the score are one thing."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM

from adlib.base import Detector
from adlib.detectors import KNN, MaxAbsZ, PCAReconstruction, Voting
from adlib.detectors.committee import MemberWarning
from adlib.detectors.voting import OneClassSVM as LogSVM
from adlib.metrics import roc_auc
from adlib.persist import load, save


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(250, 3))


@pytest.fixture
def rows():
    return np.random.default_rng(1).normal(size=(300, 3)) * 1.7


def _quick(**how):
    return Voting(members=[KNN(), MaxAbsZ(), PCAReconstruction()], random_state=0, **how)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 7.0]), min_size=3, max_size=3),
       st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.floats(0.02, 0.4))
def test_a_row_is_flagged_exactly_where_the_vote_carries(weights, quorum, alpha):
    rng = np.random.default_rng(0)
    if not any(weights):
        weights[0] = 1.0
    model = _quick(weights=weights, quorum=quorum, alpha=alpha).fit(rng.normal(size=(120, 3)))
    rows = rng.normal(size=(400, 3)) * 2
    vote = model.vote(rows)
    assert ((vote > quorum) == model.detect(rows).is_anomaly).all()
    assert (vote >= 0).all() and (vote <= 1).all()
    assert model.weights_.sum() == pytest.approx(1)


def test_score_by_hand(X):
    S = np.array([[1.0, 2.0, 6.0], [4.0, 3.0, 1.0]])
    for quorum, weights, want in ((0.5, [1, 1, 1], [2, 3]), (0.0, [1, 1, 1], [6, 4]),
                                  (0.7, [1, 1, 1], [1, 1]), (0.5, [1, 1, 4], [6, 1]),
                                  (0.5, [1, 1, 2], [2, 1])):
        model = _quick(quorum=quorum, weights=weights).fit(X)
        score = model.combined(S)
        assert ((score - want >= 0) & (score - want <= 0.01)).all(), (quorum, weights)


def test_one_loud_member_cannot_carry_the_vote(X):
    """Three members; a row that one of them finds absurd and the others ordinary."""
    model = Voting(members=[KNN(), PCAReconstruction(), MaxAbsZ()], random_state=0).fit(X)
    loud = np.array([[0.5, 0.5, 1e6], [1e6, 0.5, 0.5]])
    assert (model.combined(loud) < model.threshold_).all()


def test_saturated_members_leave_no_ties(X):
    class Clipped(MaxAbsZ):
        def _score(self, X):
            return np.minimum(super()._score(X), 4.0)

    model = Voting(members=[Clipped(), Clipped(), KNN()], random_state=0).fit(X)
    far = np.outer(np.linspace(6, 60, 200), np.ones(3))
    assert (np.diff(model.anomaly_score(far)) > 0).all()


def test_default_members_and_their_budget():
    rng = np.random.default_rng(0)
    X, fresh = rng.normal(size=(400, 4)), rng.normal(size=(2_000, 4))
    model = Voting(random_state=0).fit(X)
    assert model.names_ == ["IsolationForest", "EllipticEnvelope", "OneClassSVM"]
    assert model.weights_ == pytest.approx([1 / 3] * 3)
    assert model.detect(fresh).is_anomaly.mean() == pytest.approx(0.05, abs=0.03)
    assert model.detect(fresh + 10).is_anomaly.all()
    assert (model.vote(fresh + 10) == 1).all()
    assert not model.detect(np.zeros((50, 4))).is_anomaly.any()
    score = model.anomaly_score(fresh)
    y = np.r_[np.zeros(2_000), np.ones(2_000)]
    aucs = [roc_auc(y, np.r_[-m.score_samples(fresh), -m.score_samples(fresh * 1.6)])
            for m in model.members_]
    assert roc_auc(y, np.r_[score, model.anomaly_score(fresh * 1.6)]) > np.median(aucs)
    # a feature in another unit, and members in another order
    by = np.array([1, 10, 1, 1.0])
    again = Voting(random_state=0).fit(X * by)
    assert np.allclose(again.anomaly_score(fresh * by), score, rtol=1e-6)
    turned = Voting(members=[m for m, _ in Voting()._default()][::-1], random_state=0).fit(X)
    assert np.allclose(turned.anomaly_score(fresh), score, rtol=1e-6)


class Singular(Detector):
    def _fit(self, X):
        raise np.linalg.LinAlgError("singular covariance")

    def _score(self, X):
        raise AssertionError("never fitted")


def test_a_singular_covariance_leaves_the_vote_to_the_others(X, rows):
    with pytest.warns(MemberWarning, match="without Singular: LinAlgError: singular covariance"):
        model = Voting(members=[KNN(), Singular(), MaxAbsZ()], random_state=0).fit(X)
    pair = Voting(members=[KNN(), MaxAbsZ()], random_state=0).fit(X)
    assert (model.anomaly_score(rows) == pair.anomaly_score(rows)).all()
    assert [row["status"] for row in model.report_] == ["ok", "failed", "ok"]
    degenerate = X.copy()
    degenerate[:, 1], degenerate[:, 2] = degenerate[:, 0], 3.0  # rank one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MemberWarning)
        real = Voting(random_state=0).fit(degenerate)
    score = real.anomaly_score(np.vstack([degenerate[:50], degenerate[:50] + 9]))
    assert np.isfinite(score).all() and score[50:].min() > np.median(score[:50])


def test_saved_and_given_feedback(X, rows, tmp_path):
    model = Voting(members=[(KNN(), 2.0), (IsolationForest(n_estimators=10), 1.0)],
                   random_state=0).fit(X)
    again = load(save(model, tmp_path / "m"))
    assert (again.vote(rows) == model.vote(rows)).all()
    again.feedback(rows, np.abs(rows).max(axis=1) > 3)
    assert ((again.vote(rows) > 0.5) == again.detect(rows).is_anomaly).all()


@pytest.mark.parametrize("quorum", [1.0, -0.1, "half", True])
def test_quorum_is_checked(quorum, X):
    with pytest.raises(ValueError, match="quorum must be a number"):
        _quick(quorum=quorum).fit(X)


def test_the_default_kernel_member_does_not_grow_with_the_training_rows():
    """A copy trained on fewer rows scores new rows alike, or no held-out scale would fit."""
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(1_000, 3)), rng.normal(size=(200, 3))
    model = Voting()._default()[2][0]
    all_rows, half = (model.fit(part).score_samples(new) for part in (X, X[:500]))
    assert np.median(np.abs(all_rows - half)) < 0.1  # a sum over twice the rows: log 2 = 0.69
    far = model.score_samples(np.outer(np.linspace(3, 5, 50), np.ones(3)))
    assert (np.diff(far) < 0).all()  # and rows beyond all others do not tie


def test_the_kernel_member_scores_as_libsvm_does():
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(500, 3)), 2 * rng.normal(size=(5_000, 3))
    member = LogSVM(nu=0.05).fit(X)
    theirs = OneClassSVM.score_samples(member, rows) / member.dual_coef_.sum()
    assert np.allclose(member.score_samples(rows), np.log(np.maximum(theirs, 1e-9)), atol=1e-9)
