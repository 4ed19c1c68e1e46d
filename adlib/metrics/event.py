"""Metrics that judge events: an event is a run of anomalous rows, an alarm a run of flags.

Rows outside `judged` ("don't care", a recovery for example) change nothing, whatever they are
flagged: an event keeps its start and stays one event across them, two events that only they
separate stay two, and flags on both sides of them are one alarm.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import times
from adlib.durations import seconds
from adlib.metrics.labels import (
    Flags,
    Floats,
    Mask,
    both_classes,
    checked_flags,
    checked_judged,
    labels_and_flags,
    runs,
    undefined,
)
from adlib.metrics.point import ratio
from adlib.metrics.record import Metric, judges, register

__all__ = ["alarm_count", "alarms_per_day", "detection_delay", "event_f1", "event_precision",
           "event_recall"]

DAY = 86_400.0  # seconds


@judges("flags")
def event_recall(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Share of the events with at least one flagged row.

    One flag is enough, so a detector that flags at random finds the long events: read it
    beside its random value and `alarms_per_day`.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order; consecutive ones are one event.
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; an event without a judged row is left out.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, or lengths differ.

    Examples
    --------
    >>> event_recall([0, 1, 1, 0, 1, 0], [0, 0, 1, 0, 0, 0])
    0.5
    """
    return _event_metric(y_true, pred, judged, "event_recall")


@judges("flags")
def event_precision(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Found events over found events and false alarms, times the share of normal rows left quiet.

    A false alarm is a run of flags that touches no event. The factor (1 - false-positive rate)
    keeps one flag over the whole series from scoring 1 (Sehili and Zhang, 2023).

    Parameters
    ----------
    y_true, pred, judged
        As in `event_recall`.

    Returns
    -------
    float
        In [0, 1], 0 if nothing is flagged; nan with a warning if there is no anomaly or only
        anomalies.

    Raises
    ------
    ValueError
        As in `event_recall`.

    Examples
    --------
    >>> event_precision([0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 0])
    0.375
    """
    return _event_metric(y_true, pred, judged, "event_precision")


@judges("flags")
def event_f1(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Harmonic mean of `event_precision` and `event_recall`.

    Parameters
    ----------
    y_true, pred, judged
        As in `event_recall`.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `event_recall`.

    Examples
    --------
    >>> round(event_f1([0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 0]), 4)
    0.5455
    """
    return _event_metric(y_true, pred, judged, "event_f1")


def detection_delay(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> Floats:
    """Rows from the start of each event to its first flag; nan for a missed event.

    Sum it up with ``np.nanmedian``, and never without `event_recall`: a detector that finds
    only the one obvious event has a small median.

    Parameters
    ----------
    y_true, pred, judged
        As in `event_recall`. The delay counts all rows since the start, judged or not.

    Returns
    -------
    ndarray of float64, shape (n_events,)
        In rows, 0 = flagged at once; empty with a warning if there is no event.

    Raises
    ------
    ValueError
        As in `event_recall`.

    Examples
    --------
    >>> detection_delay([0, 1, 1, 1, 0, 1], [1, 0, 0, 1, 0, 0])
    array([ 2., nan])
    """
    delay = match(*labels_and_flags(y_true, pred, judged)).delay
    if delay.size == 0:
        undefined("detection_delay", "no anomaly")
    return delay


def _median_delay(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    delay = detection_delay(y_true, pred, judged=judged)
    return float(np.median(found)) if (found := delay[~np.isnan(delay)]).size else np.nan


register(Metric("detection_delay", _median_delay, "flags", "low"))


def alarm_count(pred: ArrayLike, *, judged: Mask = None) -> int:
    """Number of alarms, right or wrong; consecutive flags are one alarm.

    Parameters
    ----------
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not, in time order.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If flags are not 0/1, or lengths differ.

    Examples
    --------
    >>> alarm_count([1, 1, 0, 1])
    2
    """
    pred = checked_flags(pred, "pred")
    return len(runs(pred[checked_judged(judged, pred.size)])[0])


register(Metric("alarm_count", lambda y_true, pred, judged=None: alarm_count(pred, judged=judged),
                "flags", "low"))


def alarms_per_day(pred: ArrayLike, *, interval: Any = None, time: ArrayLike | None = None,
                   judged: Mask = None) -> float:
    """Alarms, right or wrong, that a person on watch gets in 24 hours.

    Watched time is the number of judged rows times the (median) interval between rows: a
    pause between two recordings is not counted as a quiet night.

    Parameters
    ----------
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not, in time order; consecutive flags are one alarm.
    interval : float, timedelta or str, optional
        Seconds between two rows; a `datetime.timedelta`, `numpy.timedelta64` or anything
        that `pandas.Timedelta` reads ("5min") will do. Give this or `time`.
    time : array_like of datetime64, shape (n_samples,), optional
        Time of each row.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If both or neither of `interval` and `time` are given, or the interval is not above 0.

    Examples
    --------
    >>> alarms_per_day([1, 1, 0, 1], interval=6 * 3600)
    2.0
    """
    pred = checked_flags(pred, "pred")
    judged = checked_judged(judged, pred.size)
    seconds = interval_seconds(interval, time, pred.size)
    return ratio(alarm_count(pred[judged]) * DAY, judged.sum() * seconds)


register(Metric("alarms_per_day", lambda y_true, pred, interval, judged=None: alarms_per_day(
    pred, interval=interval, judged=judged), "flags", "low"))


def interval_seconds(interval: Any, time: ArrayLike | None, n_samples: int) -> float:
    """Seconds between two rows, from a stated interval or the median step of `time`."""
    if (interval is None) == (time is None):
        raise ValueError("give either interval (seconds between rows) or time, not both or none")
    if time is not None:
        time = times(time, "time")
        if time.shape != (n_samples,) or n_samples < 2:
            raise ValueError(f"time needs {n_samples} rows (at least 2), got shape {time.shape}")
        interval = float(np.median(np.diff(time).astype(np.float64)) * 1e-9)
    return seconds(interval)


class Match(NamedTuple):
    """What `match` found; row numbers count judged rows only."""

    event_row: NDArray[np.intp]  # (n_events,) first judged row of each event
    delay: Floats  # (n_events,) rows to its first flag, nan = missed
    alarm_row: NDArray[np.intp]  # (n_alarms,) first row of each alarm
    false_alarm: Flags  # (n_alarms,) True where it touches no event


def match(y: Flags, pred: Flags, judged: Flags, *of: NDArray) -> Match:
    """Match events with alarms, in time linear in the rows; of several lines, by their numbers."""
    starts, stops = runs(y, *of)
    event = np.full(y.size, -1)  # the number of its event for each row, -1 = normal
    event[y] = np.repeat(np.arange(starts.size), stops - starts)
    event, pred, row = event[judged], pred[judged], np.flatnonzero(judged)

    inside = np.flatnonzero(event >= 0)
    seen, first = np.unique(event[inside], return_index=True)
    hits = np.flatnonzero(pred & (event >= 0))
    found, first_hit = np.unique(event[hits], return_index=True)
    delay = np.full(starts.size, np.nan)
    delay[found] = row[hits[first_hit]] - starts[found]

    alarm_start, alarm_stop = runs(pred, *(one[judged] for one in of))
    anomalous = np.append(0, np.cumsum(event >= 0))
    touches = anomalous[alarm_stop] > anomalous[alarm_start]
    return Match(inside[first], delay[seen], alarm_start, ~touches)


def event_rates(n_found: float, n_events: float, n_false_alarms: float, false_positive_rate: float
                ) -> dict[str, float]:
    """Every event metric from its counts (which may be weighted)."""
    recall = ratio(n_found, n_events)
    quiet = 1.0 - (0.0 if np.isnan(false_positive_rate) else false_positive_rate)
    precision = ratio(n_found, n_found + n_false_alarms, 0.0) * quiet if n_events else np.nan
    return {
        "event_recall": recall,
        "event_precision": precision,
        "event_f1": harmonic_mean(precision, recall),
    }


def harmonic_mean(precision: float, recall: float) -> float:
    """F1 of a precision and a recall, 0 if both are 0."""
    return ratio(2 * precision * recall, precision + recall, 0.0)


def _event_metric(y_true: ArrayLike, pred: ArrayLike, judged: Mask, metric: str) -> float:
    y, pred, judged = labels_and_flags(y_true, pred, judged)
    if not both_classes(y[judged], metric):
        return np.nan
    found = match(y, pred, judged)
    n_found = np.isfinite(found.delay).sum()
    fpr = float(pred[judged & ~y].mean())
    return event_rates(n_found, found.delay.size, found.false_alarm.sum(), fpr)[metric]
