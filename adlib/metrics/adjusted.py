"""Metrics that credit a whole event for some of its rows, and what that hides.

Rows outside `judged` change nothing, whatever they are flagged, as in `adlib.metrics.event`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import number, whole
from adlib.metrics.event import event_recall, harmonic_mean
from adlib.metrics.labels import Mask, both_classes, labels_and_flags, runs
from adlib.metrics.point import f1, precision, recall
from adlib.metrics.record import judges

__all__ = ["composite_f1", "k_delay_f1", "point_adjusted_f1", "point_adjusted_precision",
           "point_adjusted_recall"]


@judges("flags")
def point_adjusted_precision(y_true: ArrayLike, pred: ArrayLike, *, k: float = 0.0,
                             judged: Mask = None) -> float:
    """Precision after every event with enough flagged rows counts as flagged throughout.

    .. warning:: Never rank detectors by it: see `point_adjusted_f1`.

    Parameters
    ----------
    y_true, pred, k, judged
        As in `point_adjusted_f1`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, the share of anomalies if all is; nan with a
        warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `point_adjusted_f1`.

    Examples
    --------
    >>> point_adjusted_precision([1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0])
    0.8
    """
    return _adjusted(precision, y_true, pred, k, judged)


@judges("flags")
def point_adjusted_recall(y_true: ArrayLike, pred: ArrayLike, *, k: float = 0.0,
                          judged: Mask = None) -> float:
    """Recall after every event with enough flagged rows counts as flagged throughout.

    .. warning:: Never rank detectors by it: see `point_adjusted_f1`.

    Parameters
    ----------
    y_true, pred, k, judged
        As in `point_adjusted_f1`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, 1 if all is; nan with a warning if there is no
        anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `point_adjusted_f1`.

    Examples
    --------
    >>> y, pred = [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0]
    >>> point_adjusted_recall(y, pred), point_adjusted_recall(y, pred, k=25)
    (1.0, 0.25)
    """
    return _adjusted(recall, y_true, pred, k, judged)


@judges("flags")
def point_adjusted_f1(y_true: ArrayLike, pred: ArrayLike, *, k: float = 0.0,
                      judged: Mask = None) -> float:
    """F1 after every event with enough flagged rows counts as flagged throughout.

    .. warning:: Never rank detectors by it. One lucky row earns a whole event: flags thrown at
       a rate r hit an event of L rows with probability 1 - (1 - r)^L, so where events are long
       a *random* score beats published detectors (Kim et al., 2022). Show the random score's
       value beside it, and lead with another metric.

    Point adjustment is Xu et al.'s (2018); `k` is the remedy of Kim et al. (2022), PA%K. It
    runs from point adjustment (0) to plain F1 (100).

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order; consecutive ones are one event.
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not.
    k : float
        In percent, from 0 to 100: an event is adjusted if *more* than `k` % of its (judged)
        rows are flagged.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged; nan with a warning if there is no anomaly or only
        anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, lengths differ, or `k` lies outside [0, 100].

    Examples
    --------
    Flags at random on one row in fifty, and two events:

    >>> y = np.repeat([0, 1, 0, 1, 0], [700, 200, 700, 200, 200])
    >>> pred = np.random.default_rng(0).random(2_000) < 0.02
    >>> for k in (0, 1, 20, 100):
    ...     print(k, round(point_adjusted_f1(y, pred, k=k), 2))
    0 0.95
    1 0.95
    20 0.05
    100 0.05
    """
    return _adjusted(f1, y_true, pred, k, judged)


@judges("flags")
def composite_f1(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Harmonic mean of the precision of rows and the recall of events (Garg et al., 2021).

    Rows pay for false alarms, events need one flag each, so it does not swell with the length
    of events as point adjustment does. It still does not care how much of an event is
    flagged, nor when; and one long event makes a detector that flags all look precise.

    Parameters
    ----------
    y_true, pred, judged
        As in `point_adjusted_f1`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, ``2 p / (1 + p)`` for a share of anomalies `p` if
        all is; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, or lengths differ.

    Examples
    --------
    Every event is seen, half of the flagged rows are right:

    >>> composite_f1([1, 1, 1, 0, 0, 1], [1, 0, 0, 1, 1, 1])
    0.6666666666666666
    """
    y, pred, judged = labels_and_flags(y_true, pred, judged)
    if not both_classes(y[judged], "composite_f1"):
        return np.nan
    of_rows, of_events = precision(y, pred, judged=judged), event_recall(y, pred, judged=judged)
    return harmonic_mean(of_rows, of_events)


@judges("flags")
def k_delay_f1(y_true: ArrayLike, pred: ArrayLike, *, delay: int = 7, judged: Mask = None) -> float:
    """F1 where an event counts as a whole if it is flagged in time, and not at all if it is late.

    Ren et al. (2019, KDD; the AIOps challenge before them): an event with a flag among its first
    ``delay + 1`` rows is flagged throughout, any other event nowhere, whatever flags come later.
    Flags on normal rows stay. An alarm that comes late is worth nothing here, as to those who have
    to act on it; but long events weigh as many rows as they have, and one lucky flag earns them
    all, as in `point_adjusted_f1`: show its random value.

    Parameters
    ----------
    y_true, pred
        As in `point_adjusted_f1`.
    delay : int
        Rows after the first in which a flag is in time, at least 0. Theirs: 7 where rows are
        minutes, 3 where they are hours.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; the delay counts them all the same.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged; nan with a warning if there is no anomaly or only
        anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, lengths differ, or `delay` is no whole number >= 0.

    Examples
    --------
    The first event is flagged at its third row, the second at once:

    >>> y, pred = [0, 1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 1, 0]
    >>> round(k_delay_f1(y, pred, delay=1), 3), k_delay_f1(y, pred, delay=2)
    (0.571, 1.0)
    """
    delay = whole(delay, "delay", 0, of="rows")
    y, pred, judged = labels_and_flags(y_true, pred, judged)
    if not both_classes(y[judged], "k_delay_f1"):
        return np.nan
    starts, stops = runs(y)
    flagged = np.append(0, np.cumsum(judged & pred))
    in_time = flagged[np.minimum(starts + min(delay, y.size) + 1, stops)] > flagged[starts]
    adjusted = pred.copy()
    adjusted[y] = np.repeat(in_time, stops - starts)
    return f1(y, adjusted, judged=judged)


def _adjusted(metric: Callable[..., float], y_true: ArrayLike, pred: ArrayLike, k: float,
              judged: Mask) -> float:
    number(k, "k", least=0, most=100)
    y, pred, judged = labels_and_flags(y_true, pred, judged)
    if not both_classes(y[judged], f"point_adjusted_{metric.__name__}"):
        return np.nan
    starts, stops = runs(y)
    counted = np.append(0, np.cumsum(judged))
    flagged = np.append(0, np.cumsum(judged & pred))
    enough = 100 * (flagged[stops] - flagged[starts]) > k * (counted[stops] - counted[starts])
    adjusted = pred.copy()
    adjusted[y] |= np.repeat(enough, stops - starts)
    return metric(y, adjusted, judged=judged)
