"""Metrics that judge how far alarms and events overlap, and how near they lie.

These measure lengths and distances in time, which a row that counts neither way would tear
apart: there is no `judged` here. Cut a recovery out of the series before, or use
`adlib.metrics.event`, which can skip rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import number, one_of
from adlib.metrics.event import harmonic_mean
from adlib.metrics.labels import Flags, both_classes, labels_and_flags, runs
from adlib.metrics.record import judges

__all__ = ["affiliation_f1", "affiliation_precision", "affiliation_recall", "range_f1",
           "range_precision", "range_recall"]

Cardinality = str | Callable[[int], float]

BIAS = {  # weight of the i-th row (from 1) of a range of `length` rows
    "flat": lambda i, length: np.ones_like(i),
    "front": lambda i, length: length - i + 1,
    "middle": lambda i, length: np.minimum(i, length - i + 1),
    "back": lambda i, length: i,
}
CARDINALITY = {  # share left to a range that meets `n` > 1 ranges of the other side
    "one": lambda n: 1.0,
    "reciprocal": lambda n: 1.0 / n,
}


@judges("flags")
def range_precision(y_true: ArrayLike, pred: ArrayLike, *, bias: str = "flat",
                    cardinality: Cardinality = "reciprocal") -> float:
    """How much of an alarm lies in events, averaged over alarms whatever their length.

    Tatbul et al. (2018), section 4.3: the weighted share of each alarm that is anomalous,
    reduced when the alarm spans several events. Many one-row alarms inside one event and one
    long false alarm score nearly 1, since every alarm counts the same.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order; consecutive ones are one event.
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not; consecutive ones are one alarm.
    bias : {"flat", "front", "middle", "back"}
        Which rows of a range weigh most; the weight falls linearly from there.
    cardinality : {"reciprocal", "one"} or callable
        Factor on the overlap of a range that meets n > 1 ranges of the other side: 1 / n, 1
        (no reduction), or ``cardinality(n)`` in [0, 1].

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged; the share of anomalies (over the number of events,
        if reciprocal) if all is flagged and the bias flat; nan with a warning if there is no
        anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, lengths differ, or a parameter is none of the above.

    Examples
    --------
    >>> range_precision([0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1])
    0.5
    >>> range_precision([0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], bias="front")
    0.7
    """
    return _range_metric(y_true, pred, 0.0, bias, cardinality, "range_precision")


@judges("flags")
def range_recall(y_true: ArrayLike, pred: ArrayLike, *, alpha: float = 0.0, bias: str = "flat",
                 cardinality: Cardinality = "reciprocal") -> float:
    """How much of an event is flagged, averaged over events whatever their length.

    Tatbul et al. (2018), section 4.2: ``alpha`` for being seen at all, the rest for the
    weighted share of the event that is flagged, reduced when several alarms share it. With
    ``alpha`` near 1 it is event recall, which a detector that flags at random satisfies.

    Parameters
    ----------
    y_true, pred
        As in `range_precision`.
    alpha : float
        Weight of existence against overlap, in [0, 1].
    bias, cardinality
        As in `range_precision`. For recall, "front" rewards early detection.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, 1 if all is; nan with a warning if there is no
        anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `range_precision`, or if `alpha` lies outside [0, 1].

    Examples
    --------
    >>> y, pred = [0, 1, 1, 1, 1, 0], [0, 1, 0, 1, 0, 0]
    >>> range_recall(y, pred), range_recall(y, pred, cardinality="one")
    (0.25, 0.5)
    >>> range_recall(y, pred, alpha=0.2)
    0.4
    """
    return _range_metric(y_true, pred, alpha, bias, cardinality, "range_recall")


@judges("flags")
def range_f1(y_true: ArrayLike, pred: ArrayLike, *, alpha: float = 0.0, bias: str = "flat",
             cardinality: Cardinality = "reciprocal") -> float:
    """Harmonic mean of `range_precision` and `range_recall`, with one bias for both.

    Parameters
    ----------
    y_true, pred, alpha, bias, cardinality
        As in `range_recall`; `alpha` is of recall alone.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged; nan with a warning if there is no anomaly or only
        anomalies.

    Raises
    ------
    ValueError
        As in `range_recall`.

    Examples
    --------
    >>> range_f1([0, 1, 1, 1, 1, 0], [0, 1, 0, 1, 0, 0])
    0.4
    """
    return _range_metric(y_true, pred, alpha, bias, cardinality, "range_f1")


@judges("flags")
def affiliation_precision(y_true: ArrayLike, pred: ArrayLike) -> float:
    """How much nearer to its event a flag lies than a random row does, averaged over events.

    Huet, Navarro and Rossi (2022): each event owns the zone of time that is nearest to it. A
    flagged instant scores the share of its zone that lies further from the event, so an
    instant within the event scores 1. Zones without a flag are left out of the mean.

    It is lenient: a row drawn at random scores 0.5 or more, so flagging *every row* gives
    ``(1 + p**2) / 2`` for an event that fills a share `p` of its zone, beside a recall of 1:
    an F1 above 2/3 that says nothing. Nor does the number of false alarms count in a zone, only
    how far from the event they lie on average.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order; consecutive ones are one event.
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not. Row i lasts from i to i + 1; the integrals are exact.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged (the authors' code: nan); nan with a warning if
        there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, or lengths differ.

    Examples
    --------
    >>> y = np.repeat([0, 1, 0], [45, 10, 45])
    >>> affiliation_precision(y, np.roll(y, 10))
    0.8
    >>> affiliation_precision(y, np.ones(100))
    0.505
    """
    return _affiliation_metric(y_true, pred, "affiliation_precision")


@judges("flags")
def affiliation_recall(y_true: ArrayLike, pred: ArrayLike) -> float:
    """How much nearer to a flag an event lies than a random row does, averaged over events.

    Huet, Navarro and Rossi (2022): each instant of an event scores the share of its zone that
    lies further away than the nearest flag of the zone, so a flagged instant scores 1. One
    flag near an event earns most of it: read it beside `affiliation_precision`, and that
    beside its value for flags at random.

    Parameters
    ----------
    y_true, pred
        As in `affiliation_precision`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, 1 if all is; nan with a warning if there is no
        anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `affiliation_precision`.

    Examples
    --------
    >>> y = np.repeat([0, 1, 0], [45, 10, 45])
    >>> affiliation_recall(y, np.roll(y, 10))
    0.9
    """
    return _affiliation_metric(y_true, pred, "affiliation_recall")


@judges("flags")
def affiliation_f1(y_true: ArrayLike, pred: ArrayLike) -> float:
    """Harmonic mean of `affiliation_precision` and `affiliation_recall`.

    Parameters
    ----------
    y_true, pred
        As in `affiliation_precision`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged, above 2/3 if all is; nan with a warning if there
        is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `affiliation_precision`.

    Examples
    --------
    >>> y = np.repeat([0, 1, 0], [45, 10, 45])
    >>> round(affiliation_f1(y, np.ones(100)), 3)
    0.671
    """
    return _affiliation_metric(y_true, pred, "affiliation_f1")


def _range_metric(y_true: ArrayLike, pred: ArrayLike, alpha: float, bias: str,
                  cardinality: Cardinality, metric: str) -> float:
    number(alpha, "alpha", least=0, most=1)
    one_of(bias, "bias", BIAS)
    share = CARDINALITY.get(cardinality) if isinstance(cardinality, str) else cardinality
    if not callable(share):
        raise ValueError(
            f"cardinality must be one of {', '.join(CARDINALITY)} or a function of the number "
            f"of overlapping ranges, got {cardinality!r}"
        )
    y, pred, _ = labels_and_flags(y_true, pred)
    if not both_classes(y, metric):
        return np.nan
    if metric == "range_precision":
        return _overlap(pred, y, 0.0, BIAS[bias], share)
    recall = _overlap(y, pred, alpha, BIAS[bias], share)
    if metric == "range_recall":
        return recall
    return harmonic_mean(_overlap(pred, y, 0.0, BIAS[bias], share), recall)


def _overlap(flags: Flags, others: Flags, alpha: float,
             weigh: Callable[..., NDArray], share: Callable[[int], float]) -> float:
    """Mean score of the ranges of `flags` against those of `others`."""
    starts, stops = runs(flags)
    if starts.size == 0:
        return 0.0
    length = stops - starts
    first = np.cumsum(length) - length  # of each range, among the flagged rows
    position = np.arange(1, length.sum() + 1) - np.repeat(first, length)
    weight = weigh(position, np.repeat(length, length))
    covered = np.add.reduceat(weight * others[flags], first) / np.add.reduceat(weight, first)

    other_starts, other_stops = runs(others)
    n_met = np.searchsorted(other_starts, stops) - np.searchsorted(other_stops, starts, "right")
    distinct, which = np.unique(n_met, return_inverse=True)
    factor = np.array([share(int(n)) if n > 1 else 1.0 for n in distinct], dtype=np.float64)
    if not ((factor >= 0) & (factor <= 1)).all():
        raise ValueError(f"cardinality must return values in [0, 1], got {factor}")
    return float(np.mean(alpha * (n_met > 0) + (1 - alpha) * factor[which] * covered))


def _affiliation_metric(y_true: ArrayLike, pred: ArrayLike, metric: str) -> float:
    y, pred, _ = labels_and_flags(y_true, pred)
    if not both_classes(y, metric):
        return np.nan
    precision, recall = _affiliation(y, pred) if pred.any() else (0.0, 0.0)
    if metric == "affiliation_f1":
        return harmonic_mean(precision, recall)
    return precision if metric == "affiliation_precision" else recall


def _affiliation(y: Flags, pred: Flags) -> tuple[float, float]:
    """Precision and recall as exact integrals, in time linear in the rows.

    Both integrands are linear between known instants: borders of zones, events and alarms,
    and the kinks below. Cut there, a piece's integral is its length times its middle's value.
    """
    starts, stops = runs(y)
    flag_starts, flag_stops = runs(pred)
    middles = (stops[:-1] + starts[1:]) / 2
    left, right = np.append(0, middles), np.append(middles, y.size)  # of each event's zone

    reach = np.minimum(starts - left, right - stops)  # where the zone ends on the nearer side
    cuts = np.unique(np.concatenate([
        left, right, starts, stops, flag_starts, flag_stops,
        starts - reach, stops + reach,
        (flag_stops[:-1] + flag_starts[1:]) / 2,  # where the nearest alarm changes
        (flag_stops + right[np.searchsorted(middles, flag_stops)]) / 2,  # as far as the zone's end
        (flag_starts + left[np.searchsorted(middles, flag_starts)]) / 2,
    ]))
    at, length = (cuts[:-1] + cuts[1:]) / 2, np.diff(cuts)
    zone = np.searchsorted(middles, at)
    start, stop, left, right = starts[zone], stops[zone], left[zone], right[zone]

    def further(low: NDArray, high: NDArray) -> NDArray:  # share of the zone outside (low, high)
        return 1 - (np.minimum(high, right) - np.maximum(low, left)) / (right - left)

    later = np.searchsorted(flag_starts, at)
    before, after = np.append(-np.inf, flag_stops)[later], np.append(flag_starts, np.inf)[later]
    flagged, inside = at < before, (start < at) & (at < stop)

    distance = np.maximum(start - at, at - stop)  # to the event
    value = np.where(inside, 1.0, further(start - distance, stop + distance))
    flag_length = np.bincount(zone, length * flagged)
    total = np.bincount(zone, length * flagged * value)
    precision = np.mean(total[flag_length > 0] / flag_length[flag_length > 0])

    distance = np.minimum(  # to the nearest alarm of the zone
        np.where(before > left, at - before, np.inf), np.where(after < right, after - at, np.inf)
    )
    value = np.where(flagged, 1.0, further(at - distance, at + distance))
    recall = np.mean(np.bincount(zone, length * inside * value) / (stops - starts))
    return float(precision), float(recall)
