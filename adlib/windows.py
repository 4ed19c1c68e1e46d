"""Trailing windows that keep every row.

Row t of the result holds rows t-length+1 .. t, so labels, timestamps and scores stay aligned and a
stream gives the same windows as a batch. The first ``length - 1`` rows have no full past: the first
row is repeated to fill them, and their scores are warm-up, left out of calibration and metrics.
"""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

MAX_BYTES = 2 * 1024**3


def check_window(window: int, name: str = "window") -> int:
    """Check a window length: a whole number of rows, at least 1."""
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < 1:
        raise ValueError(f"{name} must be a whole number of rows >= 1, got {window!r}")
    return int(window)


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
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n_samples, n_features), got {X.shape}")
    length = check_window(length, "length")
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

    def fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn nothing but the number of features."""
        check_window(self.length, "length")
        validate_data(self, X, dtype=np.float64)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Windows of shape (n_samples, length * n_features), as a fresh array."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        n, d = X.shape
        if (size := n * d * self.length * 8) > self.max_bytes:
            raise ValueError(
                f"windows of {self.length} rows for {n} rows x {d} features need "
                f"{size / 1e9:.1f} GB, more than max_bytes={self.max_bytes / 1e9:.1f} GB: shorten "
                f"the window or use fewer rows at a time")
        # overlapping rows reshape to a view: copied, so that nobody's change reaches a neighbour
        return np.array(windows(X, self.length).reshape(n, self.length * d))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """``name[t-1]``, ``name[t]`` for each feature, oldest row first."""
        check_is_fitted(self)
        if input_features is None:
            input_features = getattr(self, "feature_names_in_",
                                     [f"x{j}" for j in range(self.n_features_in_)])
        lags = [f"[t-{k}]" if k else "[t]" for k in range(self.length - 1, -1, -1)]
        return np.array([f"{name}{lag}" for lag in lags for name in input_features], dtype=object)
