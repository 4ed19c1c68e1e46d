"""What a linear forecast from the last rows misses, remembered for a while.

`LinearForecast` for rows at hand; `OnlineForecast` is the same row by row, and may learn on.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.base import WIDEST, Detector, OnlineDetector, Scores
from adlib.detectors.random_features import ridge_readout
from adlib.scaling import center_scale, standardise
from adlib.smoothing import memory_rows, memory_weights, smooth

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
    the others, and the logarithm keeps one broken channel from hiding a second. A channel that was
    still in all n training rows has e = 1 where it has another value, however far, and q = 1 / n:
    its term is log(n + 1) at most. Forecast residuals as anomaly scores are as old as
    autoregression (Fox 1972; Hundman et al. 2018 smooth them).

    Fails where the past does not determine the next row by a linear rule (a chaotic series, whose
    errors are large everywhere), where an anomaly is easy to forecast (a slow drift; a sensor
    that stands still, once it has stopped), and on single-row spikes, which smoothing flattens: set
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
    alpha, threshold, missing
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
    >>> X[2_500:2_530, 0] = np.sin(2 * np.pi * t[:30] / 15)  # faster, within the usual range
    >>> score = LinearForecast(smoothing=20).fit(X[:2_000]).anomaly_score(X[2_000:])
    >>> bool(500 <= score.argmax() <= 550)
    True
    """

    _heeds_moves = False  # of columns that stood still: they are errors, remembered like others

    def __init__(self, *, window: int | str = 17, ridge: float = 10.0, tail: float = 0.99,
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
        """Settle how many lags the rows that train determine, before all that depends on it."""
        self.n_features_in_ = X.shape[1]
        lags = max(1, len(X[self._training_rows(len(X))]) // 4)
        super().look_for_period(X)
        self.most_lags_ = lags

    def _training_rows(self, n: int) -> slice:
        self.most_lags_ = 1  # `plan` asks for the context: the shortest, for now
        return super()._training_rows(n)

    def _fit_held_out(self, X: NDArray[np.float64]) -> Scores | None:
        plan = self.plan(len(X))
        self._fit(X[plan.train])
        if plan.held_out is None:
            return None
        held_out = self._calibrating_scores(X[plan.held_out])
        if self.calibration == "auto":
            self._fit(X)  # the latest rows say most about those to come
        return held_out

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.center_, self.scale_ = center_scale(X)
        self._solve(self._standardised(X))
        errors, lags = self._squared_errors(X), len(self.weights_)
        whole = np.arange(len(X))[self._whole(len(X))]
        self.noise_ = np.maximum(errors[whole].mean(axis=0), LEAST_NOISE)
        errors[np.setdiff1d(np.arange(lags, len(X)), whole)] = self.noise_  # of two recordings
        usual = self._remembered(errors / self.noise_)[lags:]
        self.usual_ = np.maximum(np.quantile(usual, self.tail, axis=0), LEAST_USUAL)
        still = self.scale_ < 0  # the error of a move is then 1, and n rows saw less than one
        self.noise_[still], self.usual_[still] = self.scale_[still] ** -2, 1 / len(X)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        own = self.n_features_in_
        past = d - own
        fit = 5e-11 * n * past * (past + own) + 3e-11 * past**3 + 3e-7 * n * own
        return (2 if self.calibration == "auto" else 1) * fit, own * (1e-7 + 5e-11 * past)

    def _values(self, n: int, d: int) -> float:
        return super()._values(n, self.n_features_in_) + 2.0 * min(n * d, _SLICE)

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
        whole = np.arange(len(Z))[self._whole(len(Z))]
        for start in range(0, len(whole), step := max(1, _SLICE // width)):
            at = whole[start:start + step]
            rows = past[at - lags].reshape(-1, width)
            yield np.hstack([rows, np.ones((len(rows), 1))]), Z[at]

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


class OnlineForecast(OnlineDetector):
    """`LinearForecast` row by row, in bounded memory; its weights may go on learning.

    ``fit`` trains a `LinearForecast` on its rows; an unfitted one does so on the first ``warm_up``
    rows of the stream, which score 0. Later rows are scored by squared forecast errors as there.
    With ``forgetting`` each row that the gate lets pass also moves the weights, by recursive least
    squares (Plackett 1950), and the size of errors that is usual; centre and scale stay.

    Fails where `LinearForecast` does. Fixed weights follow no change of the process. With
    forgetting, an anomaly that lasts is learned like any other change unless ``gate`` is set.

    Parameters
    ----------
    window : int
        See `LinearForecast`.
    memory : float or None
        Rows of the exponential memory of each channel's errors, at least 1: what ``smoothing`` is
        there, and as there the threshold is refused where calibration rows are too few. None: the
        errors as they are.
    warm_up : int
        Rows that a detector which was not fitted learns first, at least 20.
    ridge, tail
        See `LinearForecast`.
    forgetting : float or None
        Weight of the past against each new row, in [0.9, 1): 0.999 remembers about 1,000 rows.
        None: weights stay as they were trained.
    gate : float or None
        Rows that score above it are not learned. A score of log 2, about 0.7, is at the training
        tail. None learns everything.
    release : int or None
        With a gate: when flagged rows outnumber unflagged ones by this many since the last quiet
        moment, they are the new normal: the weights may move freely again, and as many rows are
        learned whatever they score. None never releases.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.OnlineDetector`. The last fifth of the rows calibrates, each scored before it is
        learned; fixed weights come from the rows before it, with ``calibration=None`` from all.

    Notes
    -----
    `contributions` are the terms of the mean over channels, and add up to the score.

    Examples
    --------
    >>> t = np.arange(3_000)
    >>> rng = np.random.default_rng(0)
    >>> X = np.sin(2 * np.pi * t / 60)[:, None] + 0.1 * rng.normal(size=(3_000, 1))
    >>> X[2_500:2_530, 0] = np.sin(2 * np.pi * t[:30] / 15)
    >>> score = OnlineForecast(memory=20).fit(X[:2_000]).process(X[2_000:])
    >>> bool(500 <= score.argmax() <= 550)
    True
    """

    errors_: NDArray[np.float64]
    covariance_: NDArray[np.float64]

    def __init__(self, *, window: int = 17, memory: float | None = None, warm_up: int = 500,
                 ridge: float = 10.0, tail: float = 0.99, forgetting: float | None = None,
                 gate: float | None = None, release: int | None = 50, **base: Any):
        super().__init__(window=window, **base)
        self.memory = memory
        self.warm_up = warm_up
        self.ridge = ridge
        self.tail = tail
        self.forgetting = forgetting
        self.gate = gate
        self.release = release

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("window", least=2, of="rows")
        self._check_whole("warm_up", least=20, of="rows")
        self._check_whole("release", of="rows", optional=True)
        self._check_number("memory", least=1, most=1e5, optional=True)
        self._check_number("ridge", above=0)
        self._check_number("tail", above=0, most=1)
        self._check_number("gate", above=0, most=np.inf, optional=True)
        self._check_number("forgetting", least=0.9, below=1, optional=True)

    @property
    def _averaged(self) -> float | None:
        return None if self.memory is None else float(self.memory)

    def _reset(self, n_features: int) -> None:
        d = n_features
        lags = min(int(self.window) - 1, max(2, WIDEST // d))
        size = lags * d + 1
        self.seen_, self.trained_, self.outnumbered_, self.free_ = 0, 0, 0, 0
        self.first_ = np.zeros((int(self.warm_up), d))
        self.center_, self.scale_, self.noise_, self.usual_ = (np.ones(d) for _ in range(4))
        self.weights_ = np.zeros((size, d))
        self.covariance_ = np.zeros((size, size) if self.forgetting else (1, 1))
        self.past_ = np.ones(size)  # standardised rows, oldest first, and 1 for the intercept
        self.errors_ = np.zeros((memory_rows(self.memory or 1), d))
        self.known_ = 0  # rows of them

    def check_loaded(self) -> None:
        if "errors_" not in vars(self):
            return
        counts = (self.seen_, self.trained_, self.known_, self.outnumbered_, self.free_)
        if (min(counts) < 0 or self.trained_ > 1 or self.known_ > len(self.errors_)
                or self.seen_ >= len(self.first_) and not self.trained_):
            raise ValueError("no stream leaves such counts of rows")
        arrays = [value for value in vars(self).values() if isinstance(value, np.ndarray)
                  and value.dtype.kind == "f"]
        if not all(np.isfinite(values).all() for values in arrays) or (self.errors_ < 0).any():
            raise ValueError("no stream leaves NaN, inf or negative squares")
        if not self.scale_.all() or min(self.noise_.min(), self.usual_.min()) <= 0:
            raise ValueError("noise_ and usual_ must be above 0, and scale_ not 0")

    def _train(self, X: NDArray[np.float64]) -> None:
        """Weights, scales and the recent past from rows that the next one follows."""
        d, size = self.n_features_in_, len(self.past_)
        self._reset(d)
        batch = LinearForecast(window=self.window, ridge=self.ridge, tail=self.tail,
                               smoothing=self.memory, calibration=None).fit(X)
        self.center_, self.scale_, self.noise_ = batch.center_, batch.scale_, batch.noise_
        self.usual_, self.trained_ = batch.usual_, 1
        self.weights_[-1] = batch.intercept_
        # few rows determine fewer lags: the oldest ones then have no weight
        self.weights_[size - 1 - batch.weights_[..., 0].size:-1] = batch.weights_.reshape(-1, d)
        Z = standardise(X, self.center_, self.scale_).clip(-FAR, FAR)
        lags = (size - 1) // d
        self.past_[:-1] = np.concatenate([np.repeat(Z[:1], lags, axis=0), Z])[-lags:].ravel()
        if self.forgetting:
            gram = self.ridge * np.eye(size)
            for rows, _ in batch._lagged(Z):
                gram[-rows.shape[1]:, -rows.shape[1]:] += rows.T @ rows
            self.covariance_ = np.asarray(np.linalg.inv(gram), dtype=np.float64)
        self._keep(batch._squared_errors(X) / batch.noise_)

    def _keep(self, errors: NDArray[np.float64]) -> None:
        """Append rows of errors to the remembered ones."""
        size = len(self.errors_)
        self.errors_ = np.concatenate([self.errors_, errors])[-size:]
        self.known_ = min(size, self.known_ + len(errors))

    def _ahead(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """The standardised row, its error, and what each channel adds to its score."""
        z = standardise(x, self.center_, self.scale_).clip(-FAR, FAR)
        error = z - self.past_ @ self.weights_
        squared = error ** 2 / self.noise_
        if self.memory is not None:
            weights = memory_weights(self.memory)
            n = min(self.known_, len(weights) - 1)
            total = weights[-1] * squared
            if n:
                total = total + weights[-1 - n:-1] @ self.errors_[-n:]
            squared = total / weights[-1 - n:].sum()
        return z, error, np.log1p(squared / self.usual_) / len(x)

    def score_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,) and learn nothing."""
        return self._one(x, lambda row: (
            float(self._ahead(row)[2].sum()) if self.trained_ else 0.0))

    def learn_one(self, x: NDArray[np.float64]) -> None:
        """Learn one row of shape (n_features,)."""
        self.process_one(x)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        row = 1.2e-5 + 3e-7 * self.n_features_in_
        return n * row, row

    def process_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,), then learn it."""
        return self._one(x, self._next)

    def _process(self, X: NDArray[np.float64]) -> Scores:
        return np.array([self._next(x) for x in X], dtype=np.float64)

    def _next(self, x: NDArray[np.float64]) -> float:
        if not self.trained_:
            self.first_[self.seen_] = x
            self.seen_ += 1
            if self.seen_ == len(self.first_):
                self._train(self.first_.copy())
            return 0.0
        found = self._ahead(x)
        self._learn(*found)
        return float(found[2].sum())

    def _learn(self, z: NDArray[np.float64], error: NDArray[np.float64],
               terms: NDArray[np.float64]) -> None:
        squared = error ** 2 / self.noise_
        if self.forgetting and self._passes(float(terms.sum())):
            self._follow(error)
        self._keep(squared[None])
        self.past_[:-1 - len(z)] = self.past_[len(z):-1]
        self.past_[-1 - len(z):-1] = z

    def _passes(self, score: float) -> bool:
        """Whether a row of this score is learned; a release opens the gate for a while."""
        if self.gate is None:
            return True
        if self.free_:
            self.free_ -= 1
            return True
        if score <= self.gate:
            self.outnumbered_ = max(0, self.outnumbered_ - 1)
            return True
        self.outnumbered_ += 1
        if self.release is not None and self.outnumbered_ >= self.release:
            self.outnumbered_, self.free_ = 0, int(self.release)
            self.covariance_ = np.eye(len(self.past_)) / self.ridge
        return False

    def _follow(self, error: NDArray[np.float64]) -> None:
        """One step of recursive least squares, and of the variance of errors."""
        keep = float(self.forgetting or 1.0)
        gain = self.covariance_ @ self.past_
        gain = gain / (keep + self.past_ @ gain)
        # the outer product of the same vector keeps the matrix symmetric to the last bit
        spread = (keep + self.past_ @ self.covariance_ @ self.past_) * np.outer(gain, gain)
        self.covariance_ = (self.covariance_ - spread) / keep
        # where rows say nothing new, forgetting alone would let it grow without end
        largest = len(self.past_) / self.ridge
        self.covariance_ *= min(1.0, largest / max(float(np.trace(self.covariance_)), 1e-300))
        most = 5 * np.sqrt(self.noise_)  # one wild row moves nothing far
        error = np.clip(error, -most, most)
        self.weights_ = self.weights_ + np.outer(gain, error)
        noise = np.maximum(keep * self.noise_ + (1 - keep) * error ** 2, LEAST_NOISE)
        self.noise_ = np.where(self.scale_ < 0, self.noise_, noise)  # moves keep their unit

    def _fit(self, X: NDArray[np.float64]) -> None:
        self._train(X)

    def _fit_held_out(self, X: NDArray[np.float64]) -> Scores | None:
        self._reset(X.shape[1])
        if self.calibration is None:
            self._train(X)
            return None
        cut = len(X) - self._n_held_out(len(X))
        self._train(X[:cut])
        scores = self._checked(self._process(X[cut:]), len(X) - cut)
        # errors of training rows are still remembered by the first ones
        return scores[min(len(self.errors_) - 1, len(scores) // 2):]

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.trained_:
            return np.zeros(X.shape)
        return np.array([self._ahead(x)[2] for x in X]).reshape(X.shape)
