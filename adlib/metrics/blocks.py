"""Intervals and differences from a few blocks of rows, left out one at a time.

The judged rows of a set are cut into at most 32 blocks, the same for every detector. What a metric
becomes without each of them says how far the luck of the test rows carries it: the jackknife with
groups (Quenouille, 1956; Tukey, 1958), with Student's t for few of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, expit, logit, stdtr, stdtrit

from adlib.metrics.labels import Flags, Floats, runs

MOST = 32  # blocks: more narrow no interval, and each costs an evaluation
LEVEL = 0.05
ROUNDED = 1e-6  # what six digits of a share do not tell apart

Values = Sequence[tuple[float, Floats]]


def partition(y: Flags, judged: Flags, series: bool, memory: int = 0) -> NDArray[np.int64]:
    """Number of the block of each row.

    Parameters
    ----------
    y : ndarray of bool, shape (n_samples,)
        1 = anomaly.
    judged : ndarray of bool, shape (n_samples,)
    series : bool
        True: blocks are contiguous, cut between events, with about as many events in each, and not
        shorter than the longest event. False: anomalies and normal rows are dealt alike to all
        blocks, neighbours to one.
    memory : int
        Blocks of a series are cut at least twice as long, while that leaves some eight of them.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        From 0. Each block has an anomaly, if there is any; with one event there is one block.

    Examples
    --------
    >>> y = np.isin(np.arange(12), [2, 3, 7, 10])
    >>> partition(y, np.ones(12, dtype=bool), True).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    """
    n = y.size
    block = np.zeros(n, dtype=np.int64)
    starts, stops = runs(y)
    there = np.append(0, np.cumsum(y & judged))
    kept = there[stops] > there[starts]
    starts, stops = starts[kept], stops[kept]
    if not series:
        m = min(MOST, int(there[-1]) or MOST)
        for one in (np.flatnonzero(y & judged), np.flatnonzero(~y & judged)):
            block[one] = np.arange(one.size) * m // max(1, one.size)
        return block
    least = max(int((stops - starts).max(initial=1)), min(2 * memory, n // 8))
    events = starts.size
    cuts = (stops[:-1] + starts[1:]) // 2
    if not events:  # a fault-free recording
        cuts = np.arange(1, n)
        events = n
    m, last = min(MOST, events), 0
    chosen: list[int] = []
    for i, cut in enumerate(cuts.tolist(), 1):
        if i * m >= (len(chosen) + 1) * events and cut - last >= least and n - cut >= least:
            chosen.append(cut)
            last = cut
    return np.searchsorted(np.array(chosen, dtype=np.int64), np.arange(n), side="right")


def interval(value: float, without: ArrayLike, *, trials: int | None = None, scale: str = "unit"
             ) -> tuple[float, float]:
    """95 % limits of a metric from its values without each block.

    A few blocks may be alike by luck. So a share gets one block more, as different as can be: with
    the variance of so many hits and misses.

    Parameters
    ----------
    value : float
        On all rows.
    without : array_like of shape (n_blocks,)
        Without each block in turn.
    trials : int, optional
        What a share is one of, such as events. Default: the blocks. Where it is 0 or 1, or the
        same without each block, the limits are those of `share_interval`.
    scale : {"unit", "positive", "any"}
        What the metric can be: in [0, 1], from 0 on, anything. Limits do not leave it.

    Returns
    -------
    low, high : float
        NaN with fewer than two blocks.

    Examples
    --------
    >>> low, high = interval(0.5, [0.45, 0.55, 0.5, 0.5])
    >>> round(low, 2), round(high, 2)
    (0.18, 0.82)
    """
    without = np.asarray(without, dtype=np.float64)
    m = without.size
    if m < 2 or not np.isfinite(value) or not np.isfinite(without).all():
        return np.nan, np.nan
    variance, freedom = _variance(without)
    if scale == "unit":
        n = max(m, trials or m)
        if value in (0.0, 1.0) or not variance:
            return share_interval(value, n)
        freedom += 1
        variance += (value * (1 - value) / n - variance) / freedom
    away = float(stdtrit(freedom, 1 - LEVEL / 2) * np.sqrt(variance))
    if scale == "any":
        return value - away, value + away
    if not value:  # no alarm: nothing says how many more there might be
        return 0.0, np.nan
    with np.errstate(over="ignore"):
        if scale == "unit":
            ends = expit(logit(value) + np.array([-away, away]) / (value * (1 - value)))
            least = value * (1 - value)
            if variance <= least / n or min(value, 1 - value) * n < 1:
                # no wider than a share of so many trials; and there the logit has no end
                ends = np.clip(ends, *share_interval(value, n))
        else:
            ends = value * np.exp(np.array([-away, away]) / value)
    return float(ends[0]), float(ends[1])


def share_interval(share: float, trials: int) -> tuple[float, float]:
    """Exact 95 % limits of a share of independent trials.

    References
    ----------
    Clopper, C. and Pearson, E. (1934). The use of confidence or fiducial limits. Biometrika 26(4).

    Examples
    --------
    >>> low, high = share_interval(1.0, 10)
    >>> round(low, 2), high
    (0.69, 1.0)
    """
    hits = share * trials
    low = float(betaincinv(hits, trials - hits + 1, LEVEL / 2)) if hits > 0 else 0.0
    return low, float(betaincinv(hits + 1, trials - hits, 1 - LEVEL / 2)) if share < 1 else 1.0


def mean_and_half(values: ArrayLike, level: float = 1 - LEVEL) -> tuple[Any, Any]:
    """Mean of independent values, and half the width of its interval by Student's t.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, ...)
        Means are over the first axis.
    level : float
        How often the interval holds the mean, in (0, 1).

    Returns
    -------
    mean, half : float or ndarray of shape (...)
        ``half`` is NaN for a single value.

    Examples
    --------
    >>> [round(float(number), 3) for number in mean_and_half([1.0, 2.0, 3.0])]
    [2.0, 2.484]
    """
    each = np.asarray(values, dtype=np.float64)
    n = len(each)
    spread = each.std(axis=0, ddof=1) if n > 1 else np.full(each.shape[1:], np.nan)
    half = stdtrit(max(n - 1, 1), (1 + level) / 2) * spread / np.sqrt(n)
    return each.mean(axis=0)[()], half[()]


def median_interval(values: Floats) -> tuple[float, float]:
    """95 % limits of the median of independent values: two of them, by their order.

    Examples
    --------
    >>> median_interval(np.arange(9.0)), median_interval(np.arange(5.0))
    ((1.0, 7.0), (nan, nan))
    """
    n = values.size
    beyond = int((bdtr(np.arange(n // 2), n, 0.5) <= LEVEL / 2).sum())
    if not beyond:
        return np.nan, np.nan
    return tuple(np.sort(values)[[beyond - 1, n - beyond]].tolist())


class Difference(NamedTuple):
    """What `difference` found."""

    estimate: float  # mean over units of ours - theirs
    low: float
    high: float
    p: float  # two-sided


def difference(ours: Values, theirs: Values) -> Difference:
    """How far one detector's metric lies above another's, on the same rows.

    Parameters
    ----------
    ours, theirs : sequence of (float, ndarray)
        For each independent unit (a data set, or a draw of one) the value on all rows and the
        values without each block: the same blocks in both. Units count alike.

    Returns
    -------
    Difference
        With 95 % limits and the two-sided p of Student's t; its degrees of freedom follow from the
        units' blocks (Satterthwaite, 1946). Two equal detectors that find each event by the toss
        of a coin differ alike in all m blocks with probability 2 / 4**m: p is not below that. NaN
        where a unit has fewer than two blocks.

    References
    ----------
    Satterthwaite, F. (1946). An approximate distribution of estimates of variance components.
    Biometrics Bulletin 2(6).

    Examples
    --------
    >>> a = 0.8, np.array([0.80, 0.79, 0.81, 0.80])
    >>> b = 0.6, np.array([0.60, 0.61, 0.59, 0.60])
    >>> found = difference([a], [b])
    >>> round(found.estimate, 2), round(found.low, 2), round(found.p, 3)
    (0.2, 0.12, 0.008)
    """
    values = np.array([a - b for (a, _), (b, _) in zip(ours, theirs, strict=True)])
    without = [np.asarray(a) - np.asarray(b) for (_, a), (_, b) in zip(ours, theirs, strict=True)]
    estimate = float(values.mean()) if values.size else np.nan
    if not values.size or any(one.size < 2 or not np.isfinite(one).all() for one in without):
        return Difference(estimate, np.nan, np.nan, np.nan)
    variances, freedoms = np.array([_variance(one) for one in without]).T / values.size ** 2
    freedoms *= values.size ** 2
    variance = float(variances.sum())
    moved = [one.size for one in without if np.abs(one).max() > ROUNDED]
    floor = min(1.0, 2.0 / 4.0 ** sum(moved))
    if variance <= 1e-24:
        p = 1.0 if abs(estimate) <= ROUNDED else floor
        return Difference(estimate, estimate, estimate, p)
    freedom = variance ** 2 / float((variances ** 2 / freedoms).sum())
    error = np.sqrt(variance)
    away = float(stdtrit(freedom, 1 - LEVEL / 2) * error)
    p = max(floor, 2 * float(stdtr(freedom, -abs(estimate) / error)))
    return Difference(estimate, estimate - away, estimate + away, p)


def written(without: Sequence[float] | Floats) -> str:
    """Values without each block as they stand in a table: six digits, apart by blanks.

    Examples
    --------
    >>> written(np.array([0.5, 1 / 3]))
    '0.5 0.333333'
    """
    return " ".join(f"{value:.6g}" for value in without)


def read(text: object) -> Floats:
    """The values that `written` wrote; none where a table has no text.

    Examples
    --------
    >>> read("0.5 0.333333").tolist(), read(float("nan")).size
    ([0.5, 0.333333], 0)
    """
    return np.array(text.split() if isinstance(text, str) else [], dtype=np.float64)


def _variance(without: Floats) -> tuple[float, int]:
    """Squared standard error and its degrees of freedom.

    Neighbours whose influences correlate are one block.
    """
    influence = (without.size - 1) * (without.mean() - without)
    size = float(np.abs(influence).max()) or 1.0  # squares of huge values would overflow
    influence /= size
    while influence.size >= 8:
        about = influence - influence.mean()
        square = float(about @ about)
        if not square or about[1:] @ about[:-1] / square < 1.645 / np.sqrt(about.size):
            break
        influence = np.array([some.mean() for some in np.array_split(about, about.size // 2)])
    m = influence.size
    return float(influence.var(ddof=1)) / m * size * size, m - 1
