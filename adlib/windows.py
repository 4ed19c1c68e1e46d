"""Transformers of ordered rows that keep every row: trailing windows, and features of time.

Row t of the result is made of rows up to t, so labels, timestamps and scores stay aligned and a
stream gives the same windows as a batch. The first ``length - 1`` rows have no full past: the first
row is repeated to fill them, and their scores are warm-up, left out of calibration and metrics.
"""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from adlib.arguments import column, floats, listed, number, times, wall_times, whole
from adlib.durations import seconds

__all__ = ["TimeFeatures", "Windows", "windows"]

MAX_BYTES = 2 * 1024**3


def validated(estimator: BaseEstimator, X: Any, *, reset: bool = True, **options: Any
              ) -> NDArray[np.float64]:
    """scikit-learn's `validate_data` for float64, silent where it adds inf to -inf.

    Parameters
    ----------
    estimator : BaseEstimator
        Its number and names of features are set, or compared.
    X : array-like of shape (n_samples, n_features)
    reset : bool, default=True
        Whether this is a fit.
    **options
        Handed to `validate_data`.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_features)
    """
    with np.errstate(invalid="ignore"):
        return validate_data(estimator, X, dtype=np.float64, reset=reset, **options)


def _names(estimator: BaseEstimator, given: Any) -> NDArray:
    if given is None:
        given = getattr(estimator, "feature_names_in_",
                        [f"x{j}" for j in range(estimator.n_features_in_)])
    return column(given, "input_features", estimator.n_features_in_)


def windows(X: ArrayLike, length: int) -> NDArray[np.float64]:
    """Trailing windows as a read-only view where possible.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    length : int
        Rows per window, the last of which is the row itself.

    Returns
    -------
    ndarray of shape (n_samples, length, n_features)
        A strided view on one padded copy: it costs ``length - 1`` extra rows, not ``length`` times
        the memory.

    Examples
    --------
    >>> windows([[1.0], [2.0], [3.0]], 2)[:, :, 0].tolist()
    [[1.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    X = floats(X, "X", "(n_samples, n_features)")
    length = whole(length, "length", 1, of="rows")
    if len(X) == 0:
        return np.empty((0, length, X.shape[1]))
    padded = np.concatenate([np.repeat(X[:1], length - 1, axis=0), X])
    view = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)
    return view.transpose(0, 2, 1)  # (n_samples, length, n_features)


class Windows(TransformerMixin, BaseEstimator):
    """Row-preserving windows for a `sklearn.pipeline.Pipeline`: (n, d) -> (n, length * d).

    Column ``i * d + j`` is feature j at ``length - 1 - i`` rows before the row itself.

    Parameters
    ----------
    length : int
        Rows per window.
    max_bytes : int
        Largest result to build. Windows repeat every value ``length`` times; a million rows of 20
        features in windows of 100 would take 16 GB.

    Raises
    ------
    ValueError
        When the result would exceed ``max_bytes``.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = make_pipeline(Windows(length=8), IsolationForest(random_state=0)).fit(X)
    >>> model.score_samples(X).shape
    (300,)
    """

    def __init__(self, length: int = 10, *, max_bytes: int = MAX_BYTES):
        self.length = length
        self.max_bytes = max_bytes

    @property
    def context_(self) -> int:
        """Preceding rows that complete a window."""
        return self.length - 1

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn nothing but the number of features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        """
        whole(self.length, "length", 1, of="rows")
        number(self.max_bytes, "max_bytes", above=0, most=np.inf)
        validated(self, X)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Windows of shape (n_samples, length * n_features), as a fresh array.

        Raises
        ------
        ValueError
            When the windows would need more memory than ``max_bytes``.
        """
        check_is_fitted(self)
        X = validated(self, X, reset=False)
        n, d = X.shape
        if (size := n * d * int(self.length) * 8) > self.max_bytes:
            raise ValueError(
                f"windows of {self.length} rows for {n} rows x {d} features need "
                f"{size / 1e9:.1f} GB, more than max_bytes={self.max_bytes / 1e9:.1f} GB: shorten "
                f"the window or use fewer rows at a time")
        # overlapping rows reshape to a view: copied, so that nobody's change reaches a neighbour
        return np.array(windows(X, self.length).reshape(n, self.length * d))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """``name[t-1]``, ``name[t]`` for each feature, oldest row first."""
        check_is_fitted(self)
        input_features = _names(self, input_features)
        lags = [f"[t-{k}]" if k else "[t]" for k in range(self.length - 1, -1, -1)]
        return np.array([f"{name}{lag}" for lag in lags for name in input_features], dtype=object)


_STATISTICS: dict[str, Callable[..., Any]] = {
    "mean": np.mean, "std": np.std, "min": np.min, "max": np.max, "median": np.median}
_SLICE = 8_000_000  # values in the windows of one slice: 64 MB


class TimeFeatures(TransformerMixin, BaseEstimator):
    """Lags, differences, rolling statistics and the time of day, beside the values themselves.

    Row-preserving and causal: row t is made of rows up to t and of its own timestamp. With them a
    detector judges a value in its context, so that one cut on its score is a threshold that follows
    the hour and the recent past. The first rows have no full past: the first row is repeated, as
    in `Windows`; give a segment its ``context_`` preceding rows to avoid that.

    Rows that follow each other share most of their past. A detector behind this transformer should
    therefore hold out whole stretches (``calibration="split"``) and count effective rows
    (``threshold=Conformal(block="auto")``), as detectors with a window of their own do.

    Fails to help where the past says nothing about the present; every column that carries nothing
    weakens a detector that measures distances.

    Parameters
    ----------
    lags : iterable of int
        Rows to look back on, each >= 1: column ``name[t-k]``.
    differences : iterable of int
        Change against k rows before, each >= 1: column ``name-name[t-k]``.
    rolling : iterable of int
        Window lengths, each >= 2, over which ``statistics`` are taken, the row itself included:
        column ``mean(name, 10)``.
    statistics : iterable of {"mean", "std", "min", "max", "median"}
    periods : iterable of str, float or timedelta
        Cycles of the clock, such as ``"1D"`` for the time of day or ``"7D"`` for that of the week:
        columns ``sin(1D)`` and ``cos(1D)``. They need a DataFrame with a DatetimeIndex; local time
        where the index has a time zone. A step before this one must keep the frame
        (``set_output(transform="pandas")``).

    Attributes
    ----------
    context_ : int
        Preceding rows that complete the past of a row.

    Raises
    ------
    ValueError
        When a parameter is out of range, or ``periods`` meet rows without timestamps.

    Examples
    --------
    >>> X = [[1.0], [2.0], [4.0], [8.0]]
    >>> features = TimeFeatures(lags=[1], differences=[1], rolling=[2], statistics=["mean"])
    >>> features.fit_transform(X).tolist()[-1]
    [8.0, 4.0, 4.0, 6.0]
    >>> features.get_feature_names_out(["flow"]).tolist()
    ['flow', 'flow[t-1]', 'flow-flow[t-1]', 'mean(flow, 2)']
    """

    def __init__(self, *, lags: Iterable[int] = (1,), differences: Iterable[int] = (),
                 rolling: Iterable[int] = (10,), statistics: Iterable[str] = ("mean", "std"),
                 periods: Iterable[Any] = ()):
        self.lags = lags
        self.differences = differences
        self.rolling = rolling
        self.statistics = statistics
        self.periods = periods

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Check the parameters; learn nothing but the number and names of features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Raises
        ------
        ValueError
            When a parameter is out of its range; the message names it.
        """
        for name in ("lags", "differences", "rolling", "statistics", "periods"):
            listed(getattr(self, name), name)
        for name, least in (("lags", 1), ("differences", 1), ("rolling", 2)):
            for value in getattr(self, name):
                whole(value, name, least, of="rows")
        if unknown := [name for name in self.statistics
                       if not isinstance(name, str) or name not in _STATISTICS]:
            raise ValueError(f"statistics must be among {list(_STATISTICS)}, got {unknown}")
        self._clock(X)
        validated(self, X)
        return self

    @property
    def context_(self) -> int:
        return int(max([0, *self.lags, *self.differences, *(n - 1 for n in self.rolling)]))

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Features of shape (n_samples, n_features_out), in the order of their names.

        Raises
        ------
        ValueError
            When a value is beyond 1e150 or X has another width.
        """
        check_is_fitted(self)
        clock = self._clock(X)
        X = validated(self, X, reset=False)
        if np.abs(X).max() > 1e150:
            raise ValueError(f"X holds a value of {np.abs(X).max():g}: beyond 1e150 squares "
                             f"overflow")
        columns = [X]
        columns += [_before(X, k) for k in self.lags]
        columns += [X - _before(X, k) for k in self.differences]
        for length in self.rolling:
            columns += _rolling(X, length, list(self.statistics))
        return np.hstack([*columns, *clock])

    def _clock(self, X: Any) -> list[NDArray[np.float64]]:
        """Sine and cosine of each period, (n_samples, 2) each."""
        cycles = [seconds(period, "periods") for period in self.periods]
        if not cycles:
            return []
        if (wall := wall_times(X)) is None:
            index: Any = getattr(X, "index", None)
            kind = f" with index of {index.dtype}" if hasattr(index, "dtype") else ""
            raise ValueError(f"periods={list(self.periods)!r} need a DataFrame with a "
                             f"DatetimeIndex, got {type(X).__name__}{kind}")
        if wall.hasnans:
            raise ValueError(f"the DatetimeIndex of X holds {wall.isna().sum()} missing times")
        if min(cycles) < 1e-9 or max(cycles) > 1e9:
            raise ValueError(f"periods must last from a nanosecond to 1e9 seconds, got "
                             f"{list(self.periods)!r}")
        # whole nanoseconds: a float of seconds since 1970 would blur the phase of short cycles
        stamps = times(wall, "the index of X").astype(np.int64)
        turns = [(stamps % round(cycle * 1e9)) / (cycle * 1e9) for cycle in cycles]
        return [np.column_stack([np.sin(2 * np.pi * t), np.cos(2 * np.pi * t)]) for t in turns]

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Names in column order: values, lags, differences, rolling statistics, periods."""
        check_is_fitted(self)
        input_features = _names(self, input_features)
        forms = ["{0}", *(f"{{0}}[t-{k}]" for k in self.lags),
                 *(f"{{0}}-{{0}}[t-{k}]" for k in self.differences),
                 *(f"{name}({{0}}, {n})" for n in self.rolling for name in self.statistics)]
        names = [form.format(name) for form in forms for name in input_features]
        names += [f"{wave}({period})" for period in self.periods for wave in ("sin", "cos")]
        return np.array(names, dtype=object)


def _before(X: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Each row's k-th predecessor; the first row stands in for those that are missing."""
    return X[np.maximum(np.arange(len(X)) - k, 0)]


def _rolling(X: NDArray[np.float64], length: int, statistics: list[str]
             ) -> list[NDArray[np.float64]]:
    """Statistics of trailing windows: exact sums, not running ones, which drift and remember."""
    view = windows(X, length)
    found = [np.empty_like(X) for _ in statistics]
    step = max(1, _SLICE // (length * X.shape[1]))
    for start in range(0, len(X), step):
        # one memory layout, whatever the batch: the order of a sum depends on it
        rows = np.ascontiguousarray(view[start:start + step])
        for out, name in zip(found, statistics, strict=True):
            out[start:start + step] = _STATISTICS[name](rows, axis=1)
    return found
