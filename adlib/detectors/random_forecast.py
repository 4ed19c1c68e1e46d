"""A forecast with random nonlinear features, where training rows show that they are worth it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.detectors.forecast import LEAST_NOISE, LinearForecast
from adlib.detectors.random_features import ridge_readout

_CHUNK = 4_096  # rows whose hidden units are in memory at once


class RandomFeatureForecast(LinearForecast):
    """Squared errors of a forecast from the last rows and random nonlinear features of them.

    `LinearForecast` with a random hidden layer beside the lags: ReLU units that are never trained
    (Huang, Zhu and Siew 2006; Rahimi and Recht 2008), read out by the same ridge regression. The
    layer is used only where the training rows ask for it: where it leaves at most ``worth`` of the
    squared error that the linear forecast makes on a last fifth, which both learned without (the
    median over the channels). Elsewhere the scores are those of `LinearForecast` with this window,
    which is longer than its own: a nonlinear law may have a delay.

    It sees what breaks a nonlinear law and keeps level, spread and correlations. On TSB-AD's five
    series of a Mackey-Glass equation at hand the units leave .3 of the error, and VUS-PR rises from
    .00 to .08, with hindsight from .01 to .34 (five seeds; with ``window=17`` to .06 and .19). On
    42 others it loses .004 [-.005, .015] to `LinearForecast`, in hindsight .002 [-.006, .012], by
    the longer window. Used everywhere, units cost .04 there: hence the rule
    (`benchmarks/series_peers.py`).

    Fails as `LinearForecast` does where anomalies are easy to forecast, and where the law needs
    more than a few past values of a few channels: random units know no direction, and of many lags
    most see only noise.

    Parameters
    ----------
    n_hidden : int
        Random units, at least 1.
    worth : float
        Largest share of the linear forecast's squared error on held-out training rows with which
        the units are used, above 0; inf uses them always.
    random_state : int, NumPy generator or None
        Draws the units.
    window, ridge, tail, smoothing, alpha, threshold, calibration, missing
        See `adlib.detectors.LinearForecast`.

    Attributes
    ----------
    share_ : float
        Of the linear forecast's squared error that was left; the units are used up to ``worth``.
    readout_ : ndarray of shape ((window_ - 1) * n_features + 1 + n_hidden, n_features)
        Weights of the past, one and the units; without rows where the units are not used.

    Examples
    --------
    >>> X = np.full((3_000, 1), 0.3)
    >>> for t in range(1, 3_000):
    ...     X[t] = 3.8 * X[t - 1] * (1 - X[t - 1])  # chaotic, and still a law
    >>> X[2_500] = 0.9  # an ordinary value at the wrong time
    >>> for kind in (LinearForecast, RandomFeatureForecast):
    ...     score = kind(window=3, smoothing=None).fit(X[:2_000]).anomaly_score(X[2_000:])
    ...     print(bool(score[500] > np.quantile(score, 0.99)))
    False
    True
    """

    def __init__(self, *, window: int | str = 65, n_hidden: int = 256, worth: float = 0.5,
                 random_state: Any = None, **base: Any):
        super().__init__(window=window, **base)
        self.n_hidden = n_hidden
        self.worth = worth
        self.random_state = random_state

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("n_hidden")
        self._check_number("worth", above=0, most=np.inf)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        units = d - self.n_features_in_ + int(self.n_hidden)
        fit, row = super()._work(n, d)
        return (fit + 1e-10 * n * units * (units + self.n_features_in_),
                row + 5e-11 * units * int(self.n_hidden))

    def _solve(self, Z: NDArray[np.float64]) -> None:
        super()._solve(Z)
        rng, (lags, d, _) = np.random.default_rng(self.seed_), self.weights_.shape
        self.directions_ = rng.normal(size=(lags * d, self.n_hidden)) / np.sqrt(lags * d)
        self.offsets_ = rng.uniform(-1, 1, self.n_hidden)
        self.share_, self.readout_ = self._error_left(Z), np.empty((0, d))
        if self.share_ <= self.worth:
            self.readout_ = ridge_readout(self._units(Z), self.ridge)

    def _error_left(self, Z: NDArray[np.float64]) -> float:
        """Share of the linear forecast's squared error on a last fifth that the units leave."""
        lags = len(self.weights_)
        last, errors = (len(Z) - lags) // 5, []
        if not last:
            return 1.0
        for pairs in (self._lagged, self._units):
            readout = ridge_readout(pairs(Z[:-last]), self.ridge)
            errors.append(sum(((targets - units @ readout) ** 2).sum(axis=0)
                              for units, targets in pairs(Z[-last - lags:])))
        moving = errors[0] > LEAST_NOISE * last
        return float(np.median(errors[1][moving] / errors[0][moving])) if moving.any() else 1.0

    def _units(self, Z: NDArray[np.float64]) -> Iterator[
            tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """What `_lagged` gives, with the hidden units beside it."""
        for lagged, targets in self._lagged(Z):
            for start in range(0, len(lagged), _CHUNK):
                rows = slice(start, start + _CHUNK)
                hidden = lagged[rows, :-1] @ self.directions_ + self.offsets_
                yield np.hstack([lagged[rows], np.maximum(hidden, 0)]), targets[rows]

    def _squared_errors(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(self.readout_):
            return super()._squared_errors(X)
        Z = self._standardised(X)
        padded = np.concatenate([np.repeat(Z[:1], len(self.weights_), axis=0), Z])
        return np.concatenate([(targets - units @ self.readout_) ** 2
                               for units, targets in self._units(padded)])
