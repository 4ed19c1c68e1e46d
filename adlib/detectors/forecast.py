"""What a linear forecast from the last rows misses, remembered for a while."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.base import WIDEST, Detector, Scores
from adlib.detectors.random_features import ridge_readout
from adlib.scaling import center_scale, standardise
from adlib.smoothing import memory_weights, smooth

FAR = 1e6  # standard deviations: further out counts as this far
LEAST_NOISE = 1e-6  # variance of a forecast's errors, of standardised values, and
LEAST_USUAL = 1e-2  # training tail of errors over noise: both 0 where a channel was constant
_SLICE = 8_000_000  # values in the windows of one slice of training rows: 64 MB


class LinearForecast(Detector):
    """Squared errors of a linear forecast from the last rows of all channels, smoothed.

    Each standardised channel is forecast one row ahead by ridge regression on the ``window - 1``
    rows before of all channels (a vector autoregression, in closed form)::

        e = (x - forecast)^2 / mean e^2 in training             for each channel
        S = exponential memory of e over ``smoothing`` rows
        score = mean over channels of log(1 + S / q)            q: a high quantile of S in training

    Each channel is measured on a tail of its own, so that one that moves rarely does not outweigh
    the others, and the logarithm keeps one broken channel from hiding a second. Forecast residuals
    as anomaly scores are as old as autoregression (Fox 1972; Hundman et al. 2018 smooth them).

    Fails where the past does not tell the next row by a linear rule (a chaotic series, whose errors
    are large everywhere), where an anomaly is easy to forecast (a slow drift; a sensor that stands
    still, once it has stopped), and on single-row spikes, which smoothing flattens: set
    ``smoothing=None`` for them. The memory keeps a score high after an event is over; it covers
    events, it does not find more. One wild value disturbs the forecasts of all channels until it
    has left the window.

    Parameters
    ----------
    window : int or "auto"
        Rows a forecast looks back on, the row itself included, at least 2. At most 256 past values
        of all channels are used, or two rows, and no more rows than a quarter of those that
        train.
    ridge : float
        Penalty of squared weights, in training rows: what so many rows of noise would add.
    tail : float
        Quantile of the smoothed errors in training that each channel is measured by, in (0, 1].
    smoothing : None, float or "auto"
        Rows of memory; "auto": half the usual period of the training rows. None: the errors as they
        are. It acts on the errors of each channel, before they are combined.
    calibration : {"auto", "split"} or None
        ``"auto"`` holds the last fifth out, as ``"split"`` does, and then trains on all rows: what
        calibrates are the scores of a forecast that has seen a fifth less.
    alpha, threshold
        See `adlib.Detector`.

    Attributes
    ----------
    weights_ : ndarray of shape (window_ - 1, n_features, n_features)
        Of the standardised past, oldest row first: ``forecast = intercept_ + sum_k past_k @
        weights_[k]``.
    intercept_, noise_, usual_ : ndarray of shape (n_features,)
        The variance of the errors, and the quantile of smoothed errors over it, in training.

    Notes
    -----
    `contributions` are the terms of the mean: they add up to the score. They are not split by lag:
    an error is a sum over all rows of the window, and a part of it says nothing.

    Examples
    --------
    >>> t = np.arange(3_000)
    >>> rng = np.random.default_rng(0)
    >>> X = np.sin(2 * np.pi * t / 60)[:, None] + 0.1 * rng.normal(size=(3_000, 1))
    >>> X[2_500:2_530] = X[2_470:2_500][::-1]  # half a season backwards, within the usual range
    >>> score = LinearForecast(smoothing=20).fit(X[:2_000]).anomaly_score(X[2_000:])
    >>> 500 <= score.argmax() <= 550
    True
    """

    def __init__(self, *, window: int | str = 65, ridge: float = 10.0, tail: float = 0.99,
                 smoothing: float | str | None = "auto", **base: Any):
        super().__init__(window=window, smoothing=smoothing, **base)
        self.ridge = ridge
        self.tail = tail

    def check_params(self) -> None:
        super().check_params()
        if self.window != "auto":
            self._check_whole("window", least=2, of="rows")
        self._check_number("ridge", above=0)
        self._check_number("tail", above=0, most=1)

    @property
    def window_(self) -> int:
        """Rows of a window: ``window``, where so many values of training rows determine it."""
        most = max(2, WIDEST // getattr(self, "n_features_in_", 1))
        return 1 + min(max(1, super().window_ - 1), most, getattr(self, "most_lags_", most))

    @property
    def lag_(self) -> int:
        return 0  # the row itself is what is judged

    def windowed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X  # lag by lag: windows would be copies

    def look_for_period(self, X: NDArray[np.float64]) -> None:
        self.most_lags_ = 1  # `plan` asks for the context: the shortest, for now
        self.most_lags_ = max(1, len(X[self.plan(len(X)).train]) // 4)
        super().look_for_period(X)

    def _fit_held_out(self, X: NDArray[np.float64]) -> Scores | None:
        plan = self.plan(len(X))
        self._fit(X[plan.train])
        if plan.held_out is None:
            return None
        held_out = self._score_rows(X[plan.held_out])[self.context_:]
        if self.calibration == "auto":
            self._fit(X)  # the latest rows say most about those to come
        return held_out

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.center_, self.scale_ = center_scale(X)
        self._solve(self._standardised(X))
        errors, lags = self._squared_errors(X), len(self.weights_)
        self.noise_ = np.maximum(errors[lags:].mean(axis=0), LEAST_NOISE)
        usual = self._remembered(errors / self.noise_)[lags:]
        self.usual_ = np.maximum(np.quantile(usual, self.tail, axis=0), LEAST_USUAL)

    def _solve(self, Z: NDArray[np.float64]) -> None:
        """Learn the forecast from standardised rows."""
        weights = ridge_readout(self._lagged(Z), self.ridge)
        self.weights_ = weights[:-1].reshape(-1, Z.shape[1], Z.shape[1])
        self.intercept_ = weights[-1]

    def _lagged(self, Z: NDArray[np.float64]) -> Iterator[
            tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """In chunks: the values before each row that has a past, and a one; the row itself."""
        lags, width = self.window_ - 1, (self.window_ - 1) * Z.shape[1]
        past = np.lib.stride_tricks.sliding_window_view(Z[:-1], lags, axis=0).swapaxes(1, 2)
        for start in range(0, len(past), step := max(1, _SLICE // width)):
            rows = past[start:start + step].reshape(-1, width)
            yield (np.hstack([rows, np.ones((len(rows), 1))]),
                   Z[lags + start:lags + start + len(rows)])

    def _standardised(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(standardise(X, self.center_, self.scale_), -FAR, FAR)

    def _squared_errors(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each standardised value, (n, d); the first row stands for those before it."""
        Z = self._standardised(X)
        padded = np.concatenate([np.repeat(Z[:1], len(self.weights_), axis=0), Z])
        error = Z - self.intercept_
        for k, weights in enumerate(self.weights_):
            error -= padded[k:k + len(Z)] @ weights
        return error ** 2

    def _remembered(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        memory = self.smoothing_
        return errors if memory is None else smooth(errors, memory_weights(memory))

    def _smoothed(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return raw  # the errors are, before they are combined

    def _terms(self, smoothed: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each channel adds to the score."""
        return np.log1p(smoothed / self.usual_) / smoothed.shape[1]

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._terms(self._remembered(self._squared_errors(X) / self.noise_))

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).sum(axis=1)

    def _hindsight(self, X: NDArray[np.float64], weights: NDArray[np.float64], ahead: int
                   ) -> Scores:
        errors = self._squared_errors(X) / self.noise_
        return self._terms(smooth(errors, weights, ahead)).sum(axis=1)
