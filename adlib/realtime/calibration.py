"""What the highest score in a window means: p-values of windows."""

from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

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

    def log_p(self, maxima: Scores) -> Scores:
        """Natural logarithm of the p-value of each window's highest score (n,)."""
        of_windows = np.log(_share(self.maxima_, maxima, self.n_windows_))
        of_rows = np.log(_share(self.rows_.scores_, maxima, self.n_rows_))
        beyond = self.rows_.log_extrapolation(maxima)
        return np.minimum(of_windows, of_rows + np.log(self.window) + beyond)


def _share(ordered: Scores, scores: Scores, n_effective: float) -> Scores:
    """Share of held-out scores at least as high, as if one more were."""
    n = len(ordered)
    share = (n - np.searchsorted(ordered, scores, side="left")) / n
    return (1 + n_effective * share) / (n_effective + 1)


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
