"""Metrics of a queue that people work off: so many reviews a day, whatever the scores are.

The capacity is the threshold. Within each period the rows of the highest scores are reviewed, and
nothing else is; a row that would have been first tomorrow does not help today.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import column, floats, number, whole
from adlib.metrics.labels import (
    Flags,
    Floats,
    Mask,
    both_classes,
    labels_and_scores,
    undefined,
)
from adlib.metrics.point import descending
from adlib.metrics.record import judges

__all__ = ["average_precision_at_budget", "precision_at_capacity", "value_at_capacity"]

BUDGET = 0.01  # share of the rows that may be flagged, in a comparison
REVIEWS = 10  # in a comparison, where nobody says how many; the rows are then one period


@judges("score", settings={"capacity": REVIEWS})
def value_at_capacity(y_true: ArrayLike, score: ArrayLike, capacity: int, *,
                      period: ArrayLike | None = None, value: ArrayLike | None = None,
                      judged: Mask = None) -> float:
    """Share of the anomalies' value among the `capacity` highest scores of each period.

    The value is what an anomaly costs if nobody looks: the amount of a fraudulent payment, the
    hours of a stopped machine. Without `value` every anomaly counts 1, which is recall at a
    capacity. Rows that tie at the cut share the reviews that are left, so the result is the mean
    over all orders of the tied rows, and a constant score gets what random review gets on average:
    the share of rows reviewed, weighted by the value of their periods.

    It takes for granted that a review of an anomaly saves all of its value and that unused reviews
    of a quiet period are lost. A few large values can decide it: put an interval beside it.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    score : array_like of shape (n_samples,)
        Higher = reviewed earlier.
    capacity : int
        Rows that can be reviewed per period, at least 1. A period of fewer rows is reviewed whole.
    period : array_like of shape (n_samples,), optional
        What period a row falls into, such as a day number. Default: one period for all.
    value : array_like of shape (n_samples,), optional
        Finite and not negative where `y_true` is 1; elsewhere it is ignored.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; they take no review either.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly, or none of any value.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, an anomaly's value is negative or
        not finite, or capacity is not a whole number of at least 1.

    Notes
    -----
    With a value of 1 and one period, the recall among the first k of a ranked list (Manning,
    Raghavan and Schuetze 2008, chapter 8). Weighted by amount it is the "savings" of
    cost-sensitive fraud detection (Bahnsen et al. 2013) without the cost of the reviews.

    Examples
    --------
    >>> y, score, day = [1, 0, 0, 1, 1, 0], [0.9, 0.5, 0.1, 0.8, 0.2, 0.4], [0, 0, 0, 1, 1, 1]
    >>> value_at_capacity(y, score, 1, period=day, value=[70, 0, 0, 10, 20, 0])
    0.8
    """
    y, share, value, _ = _reviewed(y_true, score, capacity, period, judged, value)
    if not y.any():
        return undefined("value_at_capacity", "no anomaly")
    if not value[y].sum():
        return undefined("value_at_capacity", "no anomaly of any value")
    return float((share[y] * value[y]).sum() / value[y].sum())


@judges("score", settings={"capacity": REVIEWS})
def precision_at_capacity(y_true: ArrayLike, score: ArrayLike, capacity: int, *,
                          period: ArrayLike | None = None, judged: Mask = None
                          ) -> float:
    """Share of anomalies among the `capacity` rows of each period that are reviewed.

    What the reviewers see: one divided by it is the number of cases opened per anomaly found. At a
    low base rate it is bounded by the anomalies there are (three a day and twenty reviews: at most
    0.15), so it says little about a score unless that bound, and the base rate, stand beside it.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    score : array_like of shape (n_samples,)
        Higher = reviewed earlier; ties at the cut share the reviews that are left.
    capacity : int
        Rows that can be reviewed per period, at least 1. A period of fewer rows is reviewed whole.
    period : array_like of shape (n_samples,), optional
        What period a row falls into, such as a day number. Default: one period for all.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; they take no review either.

    Returns
    -------
    float
        In [0, 1]; 0 if there is no anomaly.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or capacity is not a whole number of
        at least 1.

    Notes
    -----
    The "card precision top-k" of Dal Pozzolo et al. (2018), on rows instead of cards, averaged
    over periods by the reviews they took.

    Examples
    --------
    >>> y, score, day = [1, 0, 0, 1, 1, 0], [0.9, 0.5, 0.1, 0.8, 0.2, 0.4], [0, 0, 0, 1, 1, 1]
    >>> precision_at_capacity(y, score, 2, period=day)
    0.5
    """
    y, share, _, n_reviews = _reviewed(y_true, score, capacity, period, judged)
    return float(share[y].sum() / n_reviews)


@judges("score", settings={"budget": BUDGET})
def average_precision_at_budget(y_true: ArrayLike, score: ArrayLike, budget: float, *,
                                judged: Mask = None) -> float:
    """Average precision of the rows that may be flagged: the area under PR up to a budget.

    The thresholds that flag more rows than anybody can look at do not count. The k highest rows
    give ``sum(precision(i) * is_anomaly(i) for i in 1..k) / min(k, n_anomalies)``, precision being
    that of the first i; rows that tie count at the end of their tie, and of a tie that the budget
    cuts the share that it leaves. With a budget of all rows it is `average_precision`.

    A score that knows nothing gets about ``p ** 2`` for a share p of anomalies where the budget is
    at most their number, else ``p`` times the share of rows in the budget: far less than p.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    budget : float or int
        Below 1: share of the judged rows that may be flagged, rounded up. From 1 on: how many.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float
        In [0, 1], 1 where the budget holds nothing but anomalies, or all of them first; nan with
        a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or `budget` is neither a share above
        0 nor a whole number.

    Notes
    -----
    Average precision at k of information retrieval (Manning, Raghavan and Schuetze 2008, chapter
    8), on one ranking, with the best value that k rows allow as its 1.

    Examples
    --------
    >>> y, score = [1, 0, 1, 0, 0, 1], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]
    >>> [round(average_precision_at_budget(y, score, budget), 3) for budget in (1, 3, 0.5, 6)]
    [1.0, 0.556, 0.556, 0.722]
    """
    y, score, judged = labels_and_scores(y_true, score, judged)
    share = number(budget, "budget", above=0) < 1
    if not both_classes(y[judged], "average_precision_at_budget"):
        return np.nan
    y, score = y[judged], score[judged]
    rows = np.ceil(round(budget * y.size, 9)) if share else whole(budget, "budget", 1, of="rows")
    most = min(max(int(rows), 1), y.size)
    order, last = descending(score)
    at = np.append(0.0, last + 1)
    tp = np.append(0.0, np.cumsum(y[order])[last])
    ends = np.append(at[at < most], most)
    found = np.interp(ends, at, tp)
    return float((np.diff(found) * found[1:] / ends[1:]).sum() / min(most, y.sum()))


def _reviewed(y_true: ArrayLike, score: ArrayLike, capacity: int, period: ArrayLike | None,
              judged: Mask, value: ArrayLike | None = None
              ) -> tuple[Flags, Floats, NDArray, int]:
    """Labels, share of each row that is reviewed, values and number of reviews; judged rows."""
    capacity = whole(capacity, "capacity", 1)
    y, score, judged = labels_and_scores(y_true, score, judged)
    value = np.ones(y.size) if value is None else floats(
        value, "value", "(n_rows,)", sizes=y.shape)
    period = np.zeros(y.size) if period is None else column(period, "period", y.size)
    y, score, value, period = y[judged], score[judged], value[judged], period[judged]
    bad = y & ~(np.isfinite(value) & (value >= 0))
    if bad.any():
        raise ValueError(f"value of an anomaly must be finite and not negative, got "
                         f"{value[bad][0]:g} in {bad.sum()} rows")
    period = np.unique(period, return_inverse=True)[1]
    order = np.lexsort((-score, period))
    p, s = period[order], score[order]
    size = np.bincount(p)
    rank = np.arange(p.size) - (np.cumsum(size) - size)[p]
    # A tie is a block of equal scores in one period; it fills the reviews that are left, evenly.
    block = np.cumsum(np.r_[True, (p[1:] != p[:-1]) | (s[1:] != s[:-1])]) - 1
    first = rank[np.r_[True, block[1:] != block[:-1]]]
    share = np.empty(p.size)
    share[order] = np.clip((capacity - first) / np.bincount(block), 0, 1)[block]
    return y, share, value, np.minimum(size, capacity).sum()
