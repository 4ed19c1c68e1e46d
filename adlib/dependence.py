"""Whether rows hang together in time: looked for in labels and columns, never only declared."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import gammaln

LEVEL = 0.01  # of the test for runs
SURE = 3.0  # standard errors by which neighbouring rows must correlate


def in_runs(y: ArrayLike) -> bool:
    """Whether anomalous rows adjoin more than in random order.

    The number of their runs among all orders of the same labels (Wald and Wolfowitz, 1940), exact
    and one-sided, at the level .01.

    Parameters
    ----------
    y : array_like of bool, shape (n_samples,)

    Returns
    -------
    bool
        False without an anomaly, and with one.

    References
    ----------
    Wald, A. and Wolfowitz, J. (1940). On a test whether two samples are from the same population.
    The Annals of Mathematical Statistics 11(2).

    Examples
    --------
    >>> y = np.arange(100) % 20 == 0
    >>> in_runs(y), in_runs(np.sort(y))
    (False, True)
    """
    y = np.asarray(y, dtype=bool)
    n, anomalies = y.size, int(y.sum())
    if anomalies < 2 or anomalies == n:
        return False
    normal = n - anomalies
    runs = _starts(y).size
    fewer = np.arange(max(1, anomalies - n + normal + 1), runs + 1)
    logs = (_log_choose(normal + 1, fewer) + _log_choose(anomalies - 1, fewer - 1)
            - _log_choose(n, anomalies))
    return bool(np.exp(logs[fewer <= normal + 1]).sum() < LEVEL)


def memory_rows(x: ArrayLike) -> int:
    """Rows after which a column or score has forgotten its past: its autocorrelation time.

    1 + twice the sum of the autocorrelations up to the first that is lost in noise, of ranks, which
    a few huge values do not move.

    Parameters
    ----------
    x : array_like of shape (n_samples,)
        Of normal rows, in order: an event that stands out is no memory.

    Returns
    -------
    int
        1 for rows without dependence, and below some 10 rows. A mean of n rows has the variance of
        one of n / `memory_rows` independent ones.

    References
    ----------
    Sokal, A. (1997). Monte Carlo methods in statistical mechanics: foundations and new algorithms.
    In Functional Integration, Springer.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=2_000)
    >>> memory_rows(noise), 10 < memory_rows(np.convolve(noise, np.ones(20))) < 30
    (1, True)
    """
    x = np.asarray(x, dtype=np.float64)
    n = x.size
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    if count.size < 2:
        return 1
    ranks = (np.cumsum(count) - (count + 1) / 2)[group.ravel()]
    power = np.abs(rfft(ranks - ranks.mean(), next_fast_len(2 * n, real=True))) ** 2
    correlation = irfft(power, next_fast_len(2 * n, real=True))[:n]
    correlation = correlation[1:] / correlation[0]
    if correlation[0] < SURE / np.sqrt(n):
        return 1
    lost = correlation < 2 / np.sqrt(n)
    last = int(lost.argmax()) if lost.any() else n - 1
    return max(1, round(1 + 2 * float(correlation[:last].sum())))


def looks_serial(y: ArrayLike, columns: ArrayLike) -> bool:
    """Whether labels come in runs or a column remembers: then rows are a series.

    A table that is sorted by its labels has one run, at an end, and columns without memory.

    Parameters
    ----------
    y : array_like of bool, shape (n_samples,)
    columns : array_like of shape (n_samples,) or (n_samples, n_columns)
        Scores or features; looked at in the normal rows.

    Returns
    -------
    bool

    Examples
    --------
    >>> noise, y = np.random.default_rng(0).normal(size=200), np.arange(200) >= 150
    >>> looks_serial(y, noise), looks_serial(y, noise.cumsum())
    (False, True)
    >>> looks_serial(np.roll(y, -20), noise)
    True
    """
    y, columns = np.asarray(y, dtype=bool), np.asarray(columns)
    starts = _starts(y)
    at_an_end = starts.size == 1 and (y[0] or y[-1])
    if in_runs(y) and not at_an_end:
        return True
    normal = columns.reshape(y.size, -1)[~y]
    return any(memory_rows(column) > 1 for column in normal.T)


def _starts(y: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(y & ~np.append(False, y[:-1]))


def _log_choose(n: int, k: ArrayLike) -> NDArray[np.float64]:
    k = np.asarray(k, dtype=np.float64)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
