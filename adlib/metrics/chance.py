"""Scores that know nothing of the labels: how often do they do as well?"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from adlib.metrics.labels import Flags, Floats
from adlib.metrics.point import descending

THRESHOLDS = 64
DRAWS = 9_999
LONGEST = 100_000  # rows up to which all shifts are taken


def p_chance(y: Flags, score: Floats, judged: Flags, series: bool, window: int = 0) -> float:
    """Share of scores that know nothing and do as well: one-sided p of no relation to the labels.

    Of a series, the score itself moved in time, by every number of rows, around the end: as smooth
    as it is, and blind to the events. That is exact where neither end nor beginning is special: a
    score that drifts seems to know of an event at the end.
    Of other rows, the score in random order. What is compared is average precision at 64
    thresholds, for a series with the partial credit beside an event that `vus` gives.

    Parameters
    ----------
    y, judged : ndarray of bool, shape (n_samples,)
    score : ndarray of shape (n_samples,)
    series : bool
    window : int
        Of `vus`.

    Returns
    -------
    float
        In (0, 1]; 1 for a constant score; nan without both classes.

    Examples
    --------
    >>> y = np.isin(np.arange(400), range(100, 110))
    >>> everywhere = np.ones(400, dtype=bool)
    >>> p_chance(y, y * 1.0, everywhere, True), p_chance(y, np.ones(400), everywhere, True)
    (0.0025, 1.0)
    """
    truth = credit(y, window if series else 0)[judged]
    y, score = y[judged], score[judged]
    if not y.any() or y.all():
        return np.nan
    order, last = descending(score)
    if last.size == 1:
        return 1.0
    ranks = _ranks(y.size)
    if series:
        ends = np.unique(last[np.searchsorted(last, ranks - 1)])
        place = np.empty(y.size, dtype=np.int64)
        place[order] = np.arange(y.size)
        return _by_shifts(truth, np.searchsorted(ends, place), ends + 1)
    found = np.append(0.0, np.cumsum(y[order]))[np.append(0, last + 1)]
    tp = np.interp(ranks, np.append(0, last + 1), found)  # ties enter in any order
    null = _shuffled(y.size, int(y.sum()))
    at = np.searchsorted(null, _precision(tp[None], ranks)[0] - 1e-12)
    return float(1 + null.size - at) / (1 + null.size)


def credit(y: Flags, window: int) -> Floats:
    """What a flag on each row is worth to `vus`, averaged over its widths.

    Examples
    --------
    >>> credit(np.array([0, 0, 1, 0], dtype=bool), 2).round(2).tolist()
    [0.0, 0.24, 1.0, 0.24]
    """
    at, rows = np.flatnonzero(y), np.arange(y.size)
    far = 2 * y.size
    after = np.searchsorted(at, rows)
    distance = np.minimum(rows - np.append(-far, at)[after], np.append(at, far)[after] - rows)
    widths = np.arange(window + 1)
    worth = np.zeros(window // 2 + 2)
    worth[0] = 1.0
    for d in range(1, window // 2 + 1):
        worth[d] = np.sqrt(1 - d / widths[2 * d:]).sum() / (window + 1)
    return worth[np.where(y, 0, np.minimum(distance, worth.size - 1))]


def _ranks(n: int) -> NDArray[np.int64]:
    """Rows flagged at each threshold: close at the top, where rare anomalies are."""
    ranks = np.geomspace(1, n, THRESHOLDS) if n > THRESHOLDS else np.arange(1, n + 1)
    return np.unique(ranks.round().astype(np.int64))


def _precision(tp: NDArray, flagged: NDArray) -> Floats:
    """Average precision of each line of true positives."""
    return (np.diff(tp, axis=1, prepend=0.0) * (tp / flagged)).sum(axis=1) / tp[:, -1]


def _by_shifts(truth: Floats, bins: NDArray[np.int64], flagged: NDArray[np.int64]) -> float:
    n, count = truth.size, flagged.size
    if n > LONGEST:
        return _by_some_shifts(truth, bins, flagged)
    seen = np.conj(rfft(truth.astype(np.float32)))  # half the time of float64
    tp, found = np.zeros(n, np.float32), np.zeros(n)
    step = max(1, 500_000 // n)
    for first in range(0, count, step):
        some = np.arange(first, min(count, first + step))
        hits = irfft(rfft((bins == some[:, None]).astype(np.float32)) * seen, n)
        reached = tp + np.cumsum(hits, axis=0)
        found += (hits * reached / flagged[some, None]).sum(axis=0)
        tp = reached[-1]
    return float(np.mean(found >= found[0] - 1e-5 * truth.sum()))


def _by_some_shifts(truth: Floats, bins: NDArray[np.int64], flagged: NDArray[np.int64]) -> float:
    n, count, at = truth.size, flagged.size, np.flatnonzero(truth)
    n_shifts = int(np.clip(20_000_000 // at.size, 999, DRAWS))
    shifts = np.append(0, np.random.default_rng(0).integers(1, n, n_shifts))
    found = np.array([_precision(np.cumsum(np.bincount(
        bins[(at + shift) % n], truth[at], count))[None], flagged)[0] for shift in shifts])
    return float(np.mean(found >= found[0] - 1e-9))


@lru_cache(maxsize=32)
def _shuffled(n: int, anomalies: int) -> Floats:
    """Average precision of random orders, ascending: the same for every score without ties."""
    ranks = _ranks(n)
    draws = np.random.default_rng(0).multivariate_hypergeometric(
        np.diff(ranks, prepend=0), anomalies, size=DRAWS)
    return np.sort(_precision(np.cumsum(draws, axis=1), ranks))
