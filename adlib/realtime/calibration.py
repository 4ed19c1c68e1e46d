"""What the highest score in a window means: p-values of windows."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from adlib.thresholds import Calibration, Scores, effective_size


class WindowCalibration:
    """What the highest score in a window means, against held-out rows in time order.

    P(max >= s) has two upper bounds, and the smaller one counts. Where windows are many: the share
    of held-out windows that reach s, ``(1 + m * share) / (m + 1)`` with m effective windows. Where
    they are few: the window's length times the same for rows (the union bound, which dependence
    cannot break), beyond the highest row along the extreme-value tail. Its shape is at least 1 / k:
    the predictive law of an exponential tail whose scale rests on k effective exceedances.
    Asymptotic under stationarity and mixing (`adlib.thresholds.effective_size`).

    Attributes
    ----------
    n_windows_, n_rows_ : float
        Effective numbers.
    """

    def fit(self, scores: ArrayLike, window: int) -> Self:
        """Scores (n,) of rows in time order, NaN where there is none."""
        scores = np.asarray(scores, dtype=np.float64)
        self.window = window
        self.maxima_ = window_maxima(scores, window)
        self.maxima_ = self.maxima_[~np.isnan(self.maxima_)]
        n = len(self.maxima_)
        self.n_windows_ = max(1.0, min(n / window, effective_size(
            self.maxima_, 0.1, max(int(np.ceil(n**0.6)), 5 * window))))
        self.maxima_ = np.sort(self.maxima_)
        rows = scores[~np.isnan(scores)]
        self.rows_ = Calibration().fit(rows)
        self.n_rows_ = effective_size(rows, 0.1)
        if np.isfinite(self.rows_.tail_scale_):
            self.rows_.tail_shape_ = max(self.rows_.tail_shape_, 1 / max(0.1 * self.n_rows_, 1.0))
        return self

    @property
    def least(self) -> float:
        """Smallest p-value that the held-out rows show without extrapolation; inf without any."""
        return min(1 / (self.n_windows_ + 1),
                   self.window / (self.n_rows_ + 1)) if len(self.maxima_) else np.inf

    def log_p(self, maxima: Scores) -> Scores:
        """Natural logarithm of the p-value of each window's highest score (n,)."""
        windows, rows = (np.searchsorted(ordered, maxima) for ordered in self.ordered)
        return _log_p(windows, rows, self.sizes, self.window, self.rows_.log_extrapolation(maxima))

    @property
    def ordered(self) -> tuple[Scores, Scores]:
        """The held-out windows' highest scores, and the rows' scores, ascending."""
        return self.maxima_, self.rows_.scores_

    @property
    def sizes(self) -> tuple[float, float, float, float]:
        """Numbers of both, and effective ones."""
        return len(self.maxima_), len(self.rows_.scores_), self.n_windows_, self.n_rows_


class WindowCalibrations:
    """Several of one window's length, asked at once: each score against its own.

    Parameters
    ----------
    each : sequence of WindowCalibration

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> each = [WindowCalibration().fit(scale * rng.normal(size=500), 10) for scale in (1, 3)]
    >>> WindowCalibrations(each).log_p(np.array([3.0, 3.0]), np.array([0, 1])).round(1).tolist()
    [-3.0, -0.3]
    """

    def __init__(self, each: Sequence[WindowCalibration]):
        self.each = list(each)
        self._windows, self._rows = (_Ordered(part) for part in zip(
            *(one.ordered for one in self.each), strict=True))
        self._sizes = np.array([one.sizes for one in self.each]).T

    def log_p(self, scores: Scores, which: NDArray[np.int64]) -> Scores:
        """As `WindowCalibration.log_p` of ``each[which[i]]`` gives it for ``scores[i]``."""
        windows, rows = self._windows.below(scores, which), self._rows.below(scores, which)
        sizes, beyond = self._sizes[:, which], np.zeros(len(scores))
        far = np.flatnonzero(rows >= sizes[1])  # few: an extreme-value tail each
        for k in np.unique(which[far]):
            mine = far[which[far] == k]
            beyond[mine] = self.each[k].rows_.log_extrapolation(scores[mine])
        return _log_p(windows, rows, sizes, self.each[0].window, beyond)


class _Ordered:
    """Ascending scores of several, behind one another: searched in one go."""

    def __init__(self, parts: Sequence[Scores]):
        self._ends = np.cumsum([len(part) for part in parts])
        self._starts = np.append(0, self._ends[:-1])
        self._keys = _pairs(np.repeat(np.arange(len(parts)), self._ends - self._starts),
                            np.concatenate(parts))

    def below(self, scores: Scores, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of its own each score exceeds."""
        at = np.searchsorted(self._keys, _pairs(which, scores))
        return np.minimum(at, self._ends[which]) - self._starts[which]  # NaN is behind all


def _pairs(which: NDArray[np.int64], scores: Scores) -> NDArray[np.complex128]:
    """Numbers in the order of ``which``, then of the scores, as NumPy orders complex ones."""
    pairs = np.empty(len(scores), np.complex128)
    pairs.real, pairs.imag = which, scores
    return pairs


def _log_p(windows: NDArray, rows: NDArray, sizes: Any, window: int, beyond: Any) -> Scores:
    """Of scores that exceed so many held-out windows and rows; see `WindowCalibration`."""
    n_windows, n_rows, windows_effective, rows_effective = sizes
    of_windows = np.log(_share(windows, n_windows, windows_effective))
    of_rows = np.log(_share(rows, n_rows, rows_effective))
    return np.minimum(of_windows, of_rows + np.log(window) + beyond)


def _share(below: NDArray, n: Any, n_effective: Any) -> Scores:
    """Share of held-out scores at least as high, as if one more were."""
    return (1 + n_effective * ((n - below) / n)) / (n_effective + 1)


def window_maxima(scores: Scores, window: int) -> Scores:
    """Highest score of each window of rows (n,): (n - window + 1,), NaN where one is missing."""
    return sliding_window_view(scores, window).max(axis=1)


def evidence(log_p: Scores, least: float, apart: int, most: int = 16) -> list[int]:
    """Rows up to this log p-value, each piece of evidence once: in order, at most so many.

    Parameters
    ----------
    log_p : ndarray of shape (n,)
        NaN where there is none.
    least : float
    apart : int
        Rows that two pieces lie apart, more than; the strongest are taken first.
    most : int

    Returns
    -------
    list of int

    Examples
    --------
    >>> evidence(np.array([-9.0, -5.0, -1.0, -6.0, -7.0]), least=-4.0, apart=1)
    [0, 4]
    """
    found: list[int] = []
    rows = np.flatnonzero(log_p <= least)
    for row in rows[np.argsort(log_p[rows], kind="stable")].tolist():
        if len(found) == most:
            break
        if all(abs(row - other) > apart for other in found):
            found.append(row)
    return sorted(found)
