"""Distance to a linear subspace: the baseline of every reconstruction method."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adlib.base import Detector, Scores
from adlib.scaling import center_scale, standardise


class PCAReconstruction(Detector):
    """Squared distance to the span of the first principal axes, features standardised.

    What the leading axes cannot rebuild is unusual: the Q statistic of process monitoring (Jackson
    and Mudholkar 1979), and the linear autoencoder in closed form.

    Fails on anomalies inside the subspace (an extreme that keeps every correlation intact), on
    curved structure, and where nearly all axes carry variance.

    Parameters
    ----------
    n_components : int or float
        Number of axes, or the share of variance they must explain, in (0, 1). At least one axis is
        always left out, for otherwise everything could be rebuilt.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Attributes
    ----------
    axes_ : ndarray of shape (n_axes, window * n_features)
        Orthonormal, by falling variance.

    Notes
    -----
    `contributions` are the squared residuals of each feature and add up to the score.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = rng.normal(size=(300, 1))
    >>> X = np.hstack([t, t]) + 0.1 * rng.normal(size=(300, 2))  # two sensors that agree
    >>> PCAReconstruction().fit(X).detect([[2.0, 2.0], [2.0, -2.0]]).is_anomaly.tolist()
    [False, True]
    """

    def __init__(self, *, n_components: int | float = 0.9, **base: Any):
        super().__init__(**base)
        self.n_components = n_components

    def check_params(self) -> None:
        super().check_params()
        k = self.n_components
        whole = isinstance(k, (int, np.integer)) and not isinstance(k, bool) and k >= 1
        if not whole and not (isinstance(k, (float, np.floating)) and 0 < k < 1):
            raise ValueError(f"n_components must be a number of axes >= 1 or a share of variance "
                             f"in (0, 1), got {k!r}")

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.center_, self.scale_ = center_scale(X)
        Z = standardise(X, self.center_, self.scale_)
        # eigenvectors of the covariance: windows make far more rows than columns
        variance, axes = np.linalg.eigh(Z.T @ Z / len(Z))
        variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1].T
        k = self.n_components
        if isinstance(k, (float, np.floating)):
            share = np.cumsum(variance) / max(variance.sum(), np.finfo(float).tiny)
            k = int(np.searchsorted(share, k)) + 1
        self.axes_ = np.ascontiguousarray(axes[:min(k, len(axes) - 1)])

    def _work(self, n: int, d: int) -> tuple[float, float]:
        return n * d * (3e-8 + 5e-11 * d) + 2e-10 * d**3, d * (1.5e-8 + 2e-11 * d)

    def _fold(self) -> Self:
        part = super()._fold()
        part.n_components = len(self.axes_)
        return part

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        Z = standardise(X, self.center_, self.scale_)
        return (Z - (Z @ self.axes_.T) @ self.axes_) ** 2

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).sum(axis=1)
