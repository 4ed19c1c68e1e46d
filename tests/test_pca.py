"""The linear subspace: how many axes it keeps, and that its folds keep as many."""

import numpy as np

from adlib.base import Detector
from adlib.detectors import PCAReconstruction

MIX = np.random.default_rng(1).normal(size=(2, 4))


def _plane(seed, n):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ MIX + 0.45 * rng.normal(size=(n, 4))


def _realised(fold, monkeypatch):
    """Realised rates at alpha = .05; whether a fold's own share of variance gave another count."""
    monkeypatch.setattr(PCAReconstruction, "_fold", fold)
    rates = []
    for seed in range(40):
        X = _plane(seed, 2_200)
        model = PCAReconstruction(n_components=0.9, calibration="cross").fit(X[:200])
        rates.append(model.detect(X[200:]).is_anomaly.mean())
    return np.array(rates)


def test_folds_keep_the_number_of_axes_of_the_model(monkeypatch):
    """90 % of the variance lies near the border of 2 and 3 axes: each fold chose for itself."""
    ours = _realised(PCAReconstruction._fold, monkeypatch)
    alone = _realised(Detector._fold, monkeypatch)
    assert abs(ours.mean() - 0.05) < 0.01
    assert (ours != alone).any() and ours.std() < alone.std()


def test_a_share_and_its_number_of_axes_are_the_same_model():
    X = _plane(0, 300)
    share = PCAReconstruction(n_components=0.9).fit(X)
    number = PCAReconstruction(n_components=len(share.axes_)).fit(X)
    assert np.array_equal(share.axes_, number.axes_)
    assert np.array_equal(share.calibration_.scores_, number.calibration_.scores_)


def test_one_axis_is_always_left_out():
    X = np.random.default_rng(0).normal(size=(100, 1))
    assert PCAReconstruction(n_components=0.9).fit(X).axes_.shape == (0, 1)
    assert np.isfinite(PCAReconstruction(n_components=0.9).fit(X).threshold_)
