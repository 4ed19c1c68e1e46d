"""Every detector keeps the contract; a detector that breaks it is caught."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from adlib.base import Detector, OnlineDetector
from adlib.checks import check_detector, detector_checks
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    PCAReconstruction,
    RandomFeatureAE,
    RandomFeatureForecast,
    RollingZScore,
    Voting,
    all_detectors,
    baselines,
)

# a random score has no sign; everything else it keeps
WAIVED = {"RandomScore": ["sign"]}


SMALL = {  # the defaults take a second a fit, and scikit-learn's suite alone fits a hundred times
    "RandomFeatureAE": {"n_hidden": 64},
    "RandomFeatureForecast": {"n_hidden": 16},
    "Ensemble": {"members": [RandomFeatureAE(n_hidden=32), KNN()]},
    "Voting": {"members": [IsolationForest(n_estimators=10), OneClassSVM(nu=0.05),
                           make_pipeline(StandardScaler(), EllipticEnvelope())]},
}


def small(name, cls):
    """The defaults, with short training where there is any."""
    return cls(**SMALL.get(name, {"epochs": 2} if "epochs" in cls().get_params() else {}))


PROTOTYPES = {name: small(name, cls) for name, cls in (all_detectors() | baselines()).items()}
VARIANTS = {
    "Ensemble(window=3)": Ensemble(members=[KNN(), MaxAbsZ()], window=3, alpha=0.2),
    "Voting(split)": Voting(members=[(KNN(), 2.0), MaxAbsZ(), PCAReconstruction()],
                            calibration="split"),
    "KNN(window=5)": KNN(window=5, alpha=0.2),
    "KNN(largest)": KNN(method="largest", calibration="split"),
    "KNN(window=16)": KNN(window=16),
    "MaxAbsZ(window=64)": MaxAbsZ(window=64, alpha=0.2),
    "RandomFeatureAE(window=64)": RandomFeatureAE(window=64, n_hidden=16, copies=1),
    "RandomFeatureForecast(always)": RandomFeatureForecast(n_hidden=16, worth=np.inf),
    "Ensemble(KNN(window=16))": Ensemble(members=[KNN(window=16), MaxAbsZ()], alpha=0.2),
    "PCAReconstruction(window=4)": PCAReconstruction(window=4, n_components=2),
    "RollingZScore(gate)": RollingZScore(window=50, gate=3.0, release=20),
    "RollingZScore(alpha)": RollingZScore(window=30, alpha=0.1),
}
CASES = [
    pytest.param(check, id=f"{label}-{name}")
    for label, prototype in (PROTOTYPES | VARIANTS).items()
    for name, check in detector_checks(prototype, skip=WAIVED.get(label, []))
]


@pytest.mark.parametrize("check", CASES)
def test_keeps_the_contract(check):
    check()


class Distance(Detector):
    """What an extender writes: distance to the mean."""

    def __init__(self, *, power=2.0, **base):
        super().__init__(**base)
        self.power = power

    def _fit(self, X):
        self.center_ = X.mean(axis=0)

    def _score(self, X):
        return (np.abs(X - self.center_) ** self.power).sum(axis=1)


def test_a_short_detector_passes_everything():
    passed = check_detector(Distance)
    assert len(passed) >= 15
    assert "power" in Distance().get_params() and "alpha" in Distance().get_params()


class Hoarder(Distance):
    def _fit(self, X):
        self.rows_ = X

    def _score(self, X):
        return np.abs(X - self.rows_.mean(axis=0)).sum(axis=1)


class Shared(Distance):
    def _fit(self, X):
        type(self).center = X.mean(axis=0)

    def _score(self, X):
        return np.abs(X - self.center).sum(axis=1)


class TrainingThreshold(Distance):
    def _fit_held_out(self, X):
        self._fit(X)
        return self._score(X)


class Labelled(Distance):
    def fit_predict(self, X, y=None):
        return super().fit_predict(X) if y is None else np.where(y, -1, 1)


class Mute(Distance):
    def _contributions(self, X):
        return np.zeros_like(X)


class Stretched(Distance):
    """Looks back further than its window."""

    def __init__(self, *, window=8, **base):
        super().__init__(window=window, **base)

    def _score(self, X):
        score = super()._score(X)
        return np.array([score[max(0, t - 7):t + 1].max() for t in range(len(X))])


class Nan(Distance):
    def _score(self, X):
        score = super()._score(X)
        score[score > np.quantile(score, 0.9)] = np.nan
        return score


class Column(Distance):
    def _score(self, X):
        return super()._score(X)[:, None]


class BatchNormalised(Distance):
    def _score(self, X):
        score = super()._score(X)
        return (score - score.mean()) / (score.std() + 1e-9)


class WrongSign(Distance):
    def _score(self, X):
        return -super()._score(X)


class Noisy(Distance):
    def _score(self, X):
        return super()._score(X) + np.random.default_rng().normal(size=len(X))


class Peeking(Distance):
    def _score(self, X):
        return np.abs(X[::-1].cumsum(axis=0)[::-1]).sum(axis=1)


class Mutating(Distance):
    def _fit(self, X):
        X -= X.mean(axis=0)
        super()._fit(X)


class Seeding(Distance):
    def _fit(self, X):
        np.random.seed(0)  # noqa: NPY002
        super()._fit(X)


class Unfloored(Distance):
    def _fit(self, X):
        self.center_, self.scale_ = X.mean(axis=0), X.std(axis=0)

    def _score(self, X):
        with np.errstate(all="ignore"):
            return (np.abs(X - self.center_) / self.scale_).sum(axis=1)


class ForgetfulChunks(OnlineDetector):
    def _reset(self, n_features):
        self.last_ = np.zeros(n_features)

    def learn_one(self, x):
        self.last_ = x.copy()

    def score_one(self, x):
        return float(np.abs(x - self.last_).sum())

    def _process(self, X):
        scores = np.abs(np.diff(X, axis=0, prepend=X[:1])).sum(axis=1)  # forgets the last chunk
        self.last_ = X[-1].copy()
        return scores


@pytest.mark.parametrize(("broken", "check"), [
    (BatchNormalised, "rows"), (WrongSign, "sign"), (Noisy, "same_seed"), (Peeking, "past_only"),
    (Mutating, "untouched"), (Seeding, "untouched"), (Unfloored, "odd_data"),
    (ForgetfulChunks, "stream"), (Hoarder, "own_memory"), (Shared, "own_memory"),
    (TrainingThreshold, "held_out"), (Labelled, "labels_ignored"), (Mute, "contributions"),
    (Stretched, "rows"), (Nan, "shapes"), (Column, "shapes")])
def test_broken_detectors_are_caught(broken, check):
    checks = dict(detector_checks(broken))
    with pytest.raises(AssertionError):
        checks[check]()


@pytest.mark.parametrize("window", [1, 16, 64])
def test_broken_detectors_are_caught_at_any_window(window):
    cases = [(WrongSign, "sign"), (Noisy, "same_seed"), (Nan, "shapes"), (Column, "sklearn")]
    if window == 1:
        cases.append((Mutating, "untouched"))  # longer windows are the detector's own copy
    for broken, check in cases:
        with pytest.raises(AssertionError):
            dict(detector_checks(broken(window=window)))[check]()


class Raising(Distance):
    """Fails on rows that are all alike."""

    def _fit(self, X):
        if np.ptp(X) == 0:
            raise ZeroDivisionError("no spread")
        super()._fit(X)


class Explicit(Distance):
    """Names every parameter it wants, and takes no others."""

    def __init__(self, *, power=2.0):
        super().__init__(power=power)


class Mixin:
    """Takes part in construction."""

    def __init__(self, *, boost=1.0, **rest):
        super().__init__(**rest)
        self.boost = boost


class Plain:
    """Does not."""


class Mixed(Mixin, Plain, Distance):
    def __init__(self, *, bias=0.0, **base):
        super().__init__(**base)
        self.bias = bias


class Forgetful(Detector):
    def __init__(self, *, power=2.0):
        self.power = power

    def _fit(self, X): ...

    def _score(self, X): ...


def test_broken_promises_are_said_in_words():
    with pytest.raises(AssertionError, match="odd_data: ZeroDivisionError: no spread"):
        check_detector(Raising)
    with pytest.raises(AssertionError, match="call super"):
        check_detector(Forgetful)
    with pytest.raises(AssertionError, match="fit changes X in place"):
        check_detector(Mutating)
    with pytest.raises(AssertionError, match="changed scores of rows before"):
        check_detector(BatchNormalised)


def test_constructors_of_every_style():
    check_detector(Explicit, skip=["sklearn"])  # scikit-learn's needs alpha for its 300 rows
    mixed = Mixed(alpha=0.2, power=1.5, boost=3.0)
    assert {"alpha", "power", "boost", "bias", "window"} <= set(mixed.get_params())
    assert clone(mixed).get_params() == mixed.get_params()
    check_detector(Mixed)


def test_unknown_skip_is_refused():
    with pytest.raises(ValueError, match="unknown checks"):
        check_detector(Distance, skip=["speling"])
