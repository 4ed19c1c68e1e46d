"""What a score means against held-out normal ones: a p-value, a severity."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from adlib.arguments import floats, number
from adlib.thresholds.rules import MIN_EXCEEDANCES, Scores, as_scores, check_alpha, fit_pareto


class Calibration(BaseEstimator):
    """Held-out normal scores, and what a new score means against them.

    Parameters
    ----------
    tail : float
        Share of the held-out scores, in (0, 1), that the tail is fitted to.

    Attributes
    ----------
    scores_ : ndarray of shape (n,)
        The held-out scores, ascending.
    tail_start_, tail_shape_, tail_scale_ : float
        Generalised Pareto tail above ``tail_start_``; NaN scale where the rows are too few. The
        shape is floored at 0 so that the tail never ends: no finite score is impossible.

    Examples
    --------
    >>> calibration = Calibration().fit(np.arange(99.0))
    >>> calibration.p_value([-1.0, 49.5, 200.0]).tolist()
    [1.0, 0.5, 0.01]
    """

    def __init__(self, *, tail: float = 0.1):
        self.tail = tail

    def fit(self, scores: ArrayLike) -> Self:
        """Keep the held-out ``scores`` (n,) and fit their upper tail."""
        number(self.tail, "tail", above=0, below=1)
        self.scores_ = np.sort(as_scores(scores))
        self.tail_start_ = self.tail_shape_ = self.tail_scale_ = np.nan
        if len(self.scores_):
            self.tail_start_ = float(np.quantile(self.scores_, 1 - self.tail))
            excess = self.scores_[self.scores_ > self.tail_start_] - self.tail_start_
            if len(excess) >= MIN_EXCEEDANCES:
                shape, self.tail_scale_ = fit_pareto(excess)
                if shape < 0:  # exponential instead: the mean excess is its scale
                    shape, self.tail_scale_ = 0.0, float(excess.mean())
                self.tail_shape_ = shape
        return self

    def p_value(self, scores: ArrayLike, *, extrapolate: bool = False) -> Scores:
        """Share of normal rows that score at least as high, in (0, 1].

        Inside the held-out scores this is (1 + #{held-out >= score}) / (n + 1), which is valid
        (super-uniform for an exchangeable normal row). Above the highest held-out score it stays at
        1 / (n + 1); with ``extrapolate`` it falls on along the extreme-value tail instead: see
        `is_extrapolated`. NaN where a score is NaN.

        Parameters
        ----------
        scores : array-like of shape (n,)
        extrapolate : bool, default=False
            Go on along the fitted tail above the highest held-out score.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        scores = floats(scores, "scores")
        return self._rank(scores) * (np.exp(self.log_extrapolation(scores)) if extrapolate else 1.0)

    def log_p(self, scores: ArrayLike) -> Scores:
        """Natural logarithm of the extrapolated `p_value`, which cannot underflow."""
        scores = floats(scores, "scores")
        return np.log(self._rank(scores)) + self.log_extrapolation(scores)

    def _rank(self, scores: Scores) -> Scores:
        n = len(self.scores_)
        p = (1.0 + n - np.searchsorted(self.scores_, scores, side="left")) / (n + 1.0)
        return np.where(np.isnan(scores), np.nan, p)[()]  # no score is not the highest one

    def log_extrapolation(self, scores: ArrayLike) -> Scores | float:
        """log P(score > s | score > highest held-out one) by the tail; 0 below it, or without one.

        Parameters
        ----------
        scores : array-like of shape (n,)

        Returns
        -------
        ndarray of float64, shape (n,), or 0.0
        """
        if not np.isfinite(self.tail_scale_):
            return 0.0
        highest = self.scores_[-1]
        return self._log_tail(np.maximum(floats(scores, "scores"), highest)) - self._log_tail(
            highest)

    def _log_tail(self, scores: Scores) -> Scores:
        """log P(score > s | score > tail_start_) under the fitted tail."""
        with np.errstate(over="ignore"):
            z = np.minimum((scores - self.tail_start_) / self.tail_scale_, 1e300)
        return -z if self.tail_shape_ < 1e-9 else -np.log1p(self.tail_shape_ * z) / self.tail_shape_

    def surprise(self, scores: ArrayLike) -> Scores:
        """Common scale for scores of different detectors: -log p, drawn as a continuous line.

        `log_p` falls in steps at the held-out scores; here the rows between two of them keep their
        order. Above the highest it grows with the extreme-value tail (where rows are too few for
        one: an exponential of the upper half's mean excess), so that no two different scores tie.
        On normal rows about exponential with mean 1; a scale to combine on, not a valid p-value.

        Raises
        ------
        ValueError
            When there are no held-out scores.
        """
        n = len(self.scores_)
        if not n:
            raise ValueError("surprise needs at least one held-out score, got 0")
        scores = floats(scores, "scores")
        at, first = np.unique(self.scores_, return_index=True)
        inside = np.interp(scores, at, np.log((n + 1) / (n - first)))  # (n - first) reach it
        with np.errstate(over="ignore"):
            if np.isfinite(self.tail_scale_):
                beyond = -self.log_extrapolation(scores)
            else:
                middle = np.median(self.scores_)
                scale = 2 * np.maximum(self.scores_ - middle, 0.0).mean() or 1.0
                beyond = np.maximum(scores - at[-1], 0.0) / scale
        return np.minimum(inside + beyond, 1e300)

    def is_extrapolated(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """True where a score lies above every held-out one: its p-value rests on the tail fit."""
        highest = self.scores_[-1] if len(self.scores_) else -np.inf
        return floats(scores, "scores") > highest

    def severity(self, scores: ArrayLike, alpha: float) -> Scores:
        """Severity in [0, 1] of each score at the false-alarm budget ``alpha``: see `severity`.

        Parameters
        ----------
        scores : array-like of shape (n,)
        alpha : float
            Share of normal rows that may be flagged, in (0, 1).

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        return severity(self.log_p(scores), alpha)


def severity(log_p: ArrayLike, alpha: float, alpha_critical: float | None = None) -> Scores:
    """How urgent a p-value is, in [0, 1]: 0.7 at ``alpha``, 0.9 at ``alpha_critical``.

    Piecewise linear in -log p through (p = 1, 0), (alpha, 0.7) and (alpha_critical, 0.9), then
    bending smoothly towards 1. Monotone; never a raw score.

    Parameters
    ----------
    log_p : array-like of shape (n,)
        Natural logarithms of p-values.
    alpha : float
        The warning level.
    alpha_critical : float, optional
        The critical level, below ``alpha``. Default ``alpha / 10``.

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        When a level is no rate, or ``alpha_critical`` is not below ``alpha``.

    Examples
    --------
    >>> severity(np.log([1.0, 0.05, 0.005]), alpha=0.05).round(6).tolist()
    [0.0, 0.7, 0.9]
    """
    warning = -np.log(check_alpha(alpha))
    critical = -np.log(alpha / 10 if alpha_critical is None else check_alpha(
        alpha_critical, "alpha_critical"))
    if critical <= warning:
        raise ValueError(f"alpha_critical must be below alpha={alpha:g}, got {alpha_critical!r}")
    x = -floats(log_p, "log_p")
    linear = np.interp(x, [0.0, warning, critical], [0.0, 0.7, 0.9])
    bend = (critical - warning) / 2  # the slope is continuous at 0.9
    return np.where(x > critical, 1 - 0.1 * np.exp(-np.maximum(x - critical, 0) / bend), linear)


def decide(log_p: ArrayLike, alpha: float, flagged: ArrayLike | None = None
           ) -> tuple[Scores, NDArray[np.bool_]]:
    """Severity of each p-value and whether it is flagged: above 0.7 exactly where it is.

    Parameters
    ----------
    log_p : array-like of shape (n,)
        Natural logarithms of p-values; NaN where there is none, which is never flagged.
    alpha : float
        False-alarm budget, in (0, 1).
    flagged : array-like of bool, shape (n,), optional
        Where a threshold on the score has decided already. Default: p-values up to ``alpha``.

    Returns
    -------
    severity : ndarray of float64, shape (n,)
        In [0, 1]; NaN where ``log_p`` is. See `severity`.
    flagged : ndarray of bool, shape (n,)

    Examples
    --------
    >>> score, flagged = decide(np.log([0.5, 0.05]), 0.05)
    >>> flagged.tolist(), bool(score[1] > 0.7)
    ([False, True], True)
    """
    log_p = floats(log_p, "log_p")
    value = severity(log_p, alpha)
    flags = log_p <= np.log(alpha) + 1e-12 if flagged is None else np.asarray(flagged, dtype=bool)
    return np.where(flags, np.maximum(value, np.nextafter(0.7, 1)), np.minimum(value, 0.7)), flags
