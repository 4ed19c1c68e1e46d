"""A denoising autoencoder in closed form: random hidden units, one linear solve."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.base import Detector, Scores
from adlib.scaling import center_scale, standardise

_CHUNK = 4_096  # rows whose hidden units are in memory at once


def ridge_readout(pairs: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]], ridge: float
                  ) -> NDArray[np.float64]:
    """Weights (n_units, n_targets) of the penalised least squares fit of targets by units.

    Parameters
    ----------
    pairs : iterable of (units, targets)
        Arrays of shape (n, n_units) and (n, n_targets), a chunk of rows at a time.
    ridge : float
        Penalty of the squared weights, above 0.
    """
    gram: Any = 0.0
    cross: Any = 0.0
    for units, targets in pairs:
        gram = gram + units.T @ units
        cross = cross + units.T @ targets
    gram[np.diag_indices(len(gram))] += ridge
    try:
        return np.linalg.solve(gram, cross)
    except np.linalg.LinAlgError:  # so small a penalty that the rows leave some weights open
        return np.linalg.lstsq(gram, cross, rcond=None)[0]


class RandomFeatureAE(Detector):
    """Mean reconstruction error of a denoising autoencoder that is fitted without a gradient.

    The encoder is fixed: random tanh units (Rahimi and Recht 2008; Huang, Zhu and Siew 2006) beside
    the inputs themselves. Only the decoder is learned, by ridge regression of clean rows on noised
    copies of them, so it cannot settle for the identity (Vincent et al. 2008). Features are scaled
    by median and interquartile range, and each feature's squared error counts in units of its
    typical one, so that a noisy feature does not drown the rest. Of a window only the last row is
    judged, in the light of those before it.

    On tables level with ``KNN(method="mean")``, at the cost of a few matrix products: AUC -.004
    [-.027, .022], AP -.002 [-.027, .024] on 89 sets of ADBench and macrOData, and with other
    strengths, so that both together are `Ensemble` (`benchmarks/networks.py`, 95 %
    intervals over sets). Fails where the manifold of normal rows is sharper than the noise, as it
    may be on tables of at most four columns, and with very many features (time grows with the
    square of ``n_hidden`` + features). More or less noise on features with heavy tails was tried
    and does not pay.

    Parameters
    ----------
    n_hidden : int
        Random units, at least 1.
    noise : float
        Standard deviation of the noise, in robust standard deviations of the features; above 0.
    gain : float
        Size of the random weights: larger units bend more. 0.1 to 2.
    ridge : float
        Penalty of the decoder's weights, in rows; above 0.
    copies : int
        Noised copies of each row, at least 1.
    random_state : int, NumPy generator or None
        Draws weights and noise.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    `contributions` are each feature's share of the mean and add up to the score.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-3, 3, size=(500, 1))
    >>> X = np.hstack([t, np.sin(t)]) + 0.05 * rng.normal(size=(500, 2))
    >>> detector = RandomFeatureAE(random_state=0).fit(X)
    >>> detector.detect([[1.5, 1.0], [1.5, -1.0]]).is_anomaly.tolist()  # off the curve
    [False, True]
    """

    _expensive = True  # a second or more each time

    def __init__(self, *, n_hidden: int = 512, noise: float = 0.2, gain: float = 0.5,
                 ridge: float = 1.0, copies: int = 4, random_state: Any = None, **base: Any):
        super().__init__(**base)
        self.n_hidden = n_hidden
        self.noise = noise
        self.gain = gain
        self.ridge = ridge
        self.copies = copies
        self.random_state = random_state

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("n_hidden", "copies")
        self._check_number("noise", "gain", "ridge", above=0)

    def _fit(self, X: NDArray[np.float64]) -> None:
        rng = np.random.default_rng(self.seed_)
        n, d = X.shape
        own = slice(d - self.n_features_in_, d)
        self.center_, self.scale_ = center_scale(X, robust=True)
        self.weights_ = rng.normal(size=(d, self.n_hidden)) * self.gain / np.sqrt(d)
        self.bias_ = rng.uniform(-1, 1, self.n_hidden)
        Z = standardise(X, self.center_, self.scale_)
        pairs = ((self._units(self._noised(clean, rng)), clean[:, own])
                 for _ in range(self.copies) for start in range(0, n, _CHUNK)
                 for clean in [Z[start:start + _CHUNK]])
        self.decoder_ = ridge_readout(pairs, self.ridge * self.copies)
        self.typical_ = np.ones(self.n_features_in_)
        typical = self._contributions(X).mean(axis=0) * len(self.typical_)
        # a feature that is rebuilt almost exactly must not turn rounding into anomalies
        self.typical_ = np.maximum(typical, max(1e-3 * typical.max(), 1e-12))

    def _noised(self, Z: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        return Z + self.noise * rng.normal(size=Z.shape)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        width, own = 1 + d + int(self.n_hidden), self.n_features_in_
        row = width * (7e-9 + 5e-11 * own)
        return n * (int(self.copies) * 5e-11 * width * (width + own) + row), row

    def _units(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """One, the inputs, and the hidden units: shape (n_samples, 1 + d + n_hidden)."""
        return np.hstack([np.ones((len(Z), 1)), Z, np.tanh(Z @ self.weights_ + self.bias_)])

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        Z = standardise(X, self.center_, self.scale_)
        own = Z[:, -len(self.typical_):]
        parts = np.empty_like(own)
        for start in range(0, len(Z), _CHUNK):
            rows = slice(start, start + _CHUNK)
            error = np.clip(own[rows] - self._units(Z[rows]) @ self.decoder_, -1e150, 1e150)
            parts[rows] = error**2 / self.typical_ / own.shape[1]
        return parts

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).sum(axis=1)
