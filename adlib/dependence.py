"""Whether rows hang together in time: looked for in labels and columns, never only declared."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import gammaln

LEVEL = 0.01  # of the test for runs
SURE = 3.0  # standard errors by which neighbouring rows must correlate
LAGS = (1, 5, 8, 13)  # of no common period
LOOKED = 10_000  # rows that say what columns do


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
    ranks = _ranks(x)
    if n < 2 or np.ptp(ranks) == 0:
        return 1
    power = np.abs(rfft(ranks - ranks.mean(), next_fast_len(2 * n, real=True))) ** 2
    correlation = irfft(power, next_fast_len(2 * n, real=True))[:n]
    correlation = correlation[1:] / correlation[0]
    if correlation[0] < SURE / np.sqrt(n):
        return 1
    lost = correlation < 2 / np.sqrt(n)
    last = int(lost.argmax()) if lost.any() else n - 1
    return max(1, round(1 + 2 * float(correlation[:last].sum())))


def looks_serial(y: ArrayLike, columns: ArrayLike) -> bool:
    """Whether rows are a series: labels come in runs, or columns hang on the row before.

    Of a table that is sorted, by its labels or by one of its columns, neither holds: labels that
    stand at the ends are no runs, nor are those beside a column that never falls or never rises;
    and what only follows such an order differs as much from the next row as from the tenth.

    Parameters
    ----------
    y : array_like of bool, shape (n_samples,)
    columns : array_like of shape (n_samples,) or (n_samples, n_columns)
        Scores or features; looked at in the normal rows. A third of those that move must hang on
        the row before, beside a column that the rows are sorted by more than half.

    Returns
    -------
    bool

    Notes
    -----
    The smallest lag of a variogram against larger ones, of ranks (Matheron, 1963).

    References
    ----------
    Matheron, G. (1963). Principles of geostatistics. Economic Geology 58(8).

    Examples
    --------
    >>> noise, y = np.random.default_rng(0).normal(size=200), np.arange(200) >= 150
    >>> looks_serial(y, noise), looks_serial(y, noise.cumsum())
    (False, True)
    >>> looks_serial(np.roll(y, -20), noise)
    True
    """
    y = np.asarray(y, dtype=bool)
    columns = np.nan_to_num(np.asarray(columns, dtype=np.float64))
    columns = columns.reshape(y.size, -1) if y.size else np.empty((0, 1))
    steps = np.diff(columns, axis=0)
    moves = np.count_nonzero(steps, axis=0)
    one_way = (moves >= 10) & ((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0))
    hangs = _hangs(columns[:, (moves > 0) & ~one_way][~y][:LOOKED])
    share = float(hangs.mean()) if hangs.size else 0.0
    if one_way.any() and hangs.size:
        return share > 1 / 2
    at_the_ends = _starts(y).size <= y[:1].sum() + y[-1:].sum()
    return share >= 1 / 3 or (in_runs(y) and not at_the_ends)


def _hangs(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns differ less from the next row than from those some ten rows on."""
    n = len(columns)
    if n < 3 * LAGS[-1] or not columns.size:
        return np.zeros(columns.shape[1], dtype=bool)
    ranks = np.column_stack([_ranks(column) for column in columns.T])
    near, *far = (np.square(ranks[lag:] - ranks[:-lag]).mean(axis=0) for lag in LAGS)
    return np.mean(far, axis=0) - near > SURE * np.sqrt(2 / n) * np.maximum(np.mean(far, axis=0), 1)


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, the mean of them for equal values."""
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[group.ravel()]


def _starts(y: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(y & ~np.append(False, y[:-1]))


def _log_choose(n: int, k: ArrayLike) -> NDArray[np.float64]:
    k = np.asarray(k, dtype=np.float64)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
