"""The closed-form denoising autoencoder: its equation, its seeds, and what it is for."""

import numpy as np
import pytest

from adlib.detectors import PCAReconstruction, RandomFeatureAE
from adlib.metrics import roc_auc
from adlib.scaling import center_scale


def _curve(rng, n):
    t = rng.uniform(-3, 3, size=(n, 1))
    return np.hstack([t, np.sin(t), np.cos(t)]) + 0.05 * rng.normal(size=(n, 3))


def test_decoder_solves_the_ridge_equation():
    """Stacked least squares on the same noise: gram and cross are only sums of it."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    detector = RandomFeatureAE(n_hidden=5, copies=3, random_state=7, calibration=None).fit(X)
    rng = np.random.default_rng(7)
    rng.normal(size=(2, 5)), rng.uniform(-1, 1, 5)  # weights and bias are drawn first
    Z = (X - detector.center_) / detector.scale_
    noised = [Z + 0.2 * rng.normal(size=Z.shape) for _ in range(3)]
    units = np.vstack([detector._units(z) for z in noised])
    penalty = np.sqrt(3.0) * np.eye(units.shape[1])
    decoder, *_ = np.linalg.lstsq(np.vstack([units, penalty]),
                                  np.vstack([np.tile(Z, (3, 1)), np.zeros((8, 2))]), rcond=None)
    assert np.allclose(detector.decoder_, decoder, atol=1e-8)


def test_sees_what_a_plane_cannot():
    rng = np.random.default_rng(0)
    train, normal = _curve(rng, 800), _curve(rng, 400)
    off = _curve(rng, 100)
    off[:, 1] = rng.permutation(off[:, 1])  # every value is ordinary, the combination is not
    rows, y = np.vstack([normal, off]), np.r_[np.zeros(400), np.ones(100)]
    ours, plane = (roc_auc(y, cls.fit(train).anomaly_score(rows)) for cls in (
        RandomFeatureAE(random_state=0), PCAReconstruction()))
    assert ours > 0.9 and ours > plane + 0.1


def test_one_noisy_feature_does_not_drown_the_rest():
    rng = np.random.default_rng(0)

    def rows(n):
        return np.hstack([_curve(rng, n), 100 * rng.normal(size=(n, 1))])

    detector = RandomFeatureAE(random_state=0).fit(rows(800))
    share = detector.contributions(rows(2_000)).mean(axis=0)
    assert share.max() < 4 * share.min()


def test_contributions_add_up():
    X = _curve(np.random.default_rng(0), 300)
    detector = RandomFeatureAE(window=3, random_state=0).fit(X)
    assert np.allclose(detector.contributions(X).sum(axis=1), detector.anomaly_score(X))


def test_seeds_and_parameters():
    X = _curve(np.random.default_rng(0), 300)
    scores = [RandomFeatureAE(random_state=seed).fit(X).anomaly_score(X) for seed in (0, 0, 1)]
    assert (scores[0] == scores[1]).all() and not np.allclose(scores[0], scores[2])
    for name, value in (("n_hidden", 0), ("copies", 1.5), ("noise", 0), ("gain", -1),
                        ("ridge", "small")):
        with pytest.raises(ValueError, match=f"{name} must be"):
            RandomFeatureAE(**{name: value}).fit(X)


def test_robust_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, 2.0, size=(20_000, 1))
    X[:200] = 1e4  # one in a hundred is absurd
    center, scale = center_scale(X, robust=True)
    assert center[0] == pytest.approx(3, abs=0.1) and scale[0] == pytest.approx(2, abs=0.1)
    mostly_zero = np.r_[np.zeros(900), rng.normal(size=100)][:, None]
    assert center_scale(mostly_zero, robust=True)[1][0] == mostly_zero.std()
    assert center_scale(np.full((50, 1), 7.0), robust=True)[1] < 0  # any move is far
