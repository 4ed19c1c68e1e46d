"""What a detector would do at every threshold: the points that its curves are drawn through."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import number, whole
from adlib.metrics.event import DAY, interval_seconds
from adlib.metrics.labels import Flags, Floats, Mask, both_classes, labels_and_scores, runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["operating_points"]

Counts = NDArray[np.int64]


def operating_points(y_true: ArrayLike, score: ArrayLike, *, threshold: float | None = None,
                     judged: Mask = None, series: bool = True, interval: Any = None,
                     n_points: int = 300) -> "pd.DataFrame":
    """Recall, precision and alarms at each threshold, from the highest down, beside chance.

    Precision over recall is the PR curve, recall over the false-positive rate the ROC curve, event
    recall over alarms the curve of an alarm budget. Alarms are counted as `alarm_count` does: they
    join as the threshold falls, so a budget is held by the thresholds above the first one that
    breaks it.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal; in time order where they are a series.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    threshold : float, optional
        One more point, marked in the column ``chosen``.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.
    series : bool
        False: rows of a table; each flagged row is an alarm of its own, and there are no events.
    interval : float, timedelta or str, optional
        Seconds between two rows, for alarms per day.
    n_points : int
        Thresholds at most, at least 10: evenly over the anomalies' scores, and over the ranks in
        their logarithm, so that small budgets are as finely drawn as large ones.

    Returns
    -------
    pandas.DataFrame
        Columns ``threshold`` (flagged is ``score > threshold``), ``chosen, recall, precision,
        false_positive_rate, alarms, alarms_per_1000_rows``, with an interval ``alarms_per_day``,
        of a series ``event_recall, event_precision``; and ``random_precision`` (the share of
        anomalies), ``random_event_recall, random_event_precision`` (means over shifts of the score
        in time, which make as many alarms). Empty, with a warning, without both classes.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, or a judged score is NaN.

    Examples
    --------
    >>> points = operating_points([0, 0, 1, 1, 0, 0], [0, 1, 5, 3, 0, 4], interval=3600)
    >>> points[["recall", "precision", "event_recall", "alarms"]].round(2).head(3).values.tolist()
    [[0.5, 1.0, 1.0, 1.0], [0.5, 0.5, 1.0, 2.0], [1.0, 0.67, 1.0, 2.0]]
    """
    import pandas as pd

    y, score, judged = labels_and_scores(y_true, score, judged)
    n_points = whole(n_points, "n_points", 10)
    seconds = None if interval is None else interval_seconds(interval, None, y.size)
    starts, stops = runs(y)
    event = np.full(y.size, -1)  # the number of its event for each row, -1 = normal
    event[y] = np.repeat(np.arange(starts.size), stops - starts)
    y, score, event = y[judged], score[judged], event[judged]
    chosen = np.nan if threshold is None else number(threshold, "threshold", most=np.inf)
    if not both_classes(y, "operating_points"):
        return pd.DataFrame(columns=["threshold", "chosen", "recall", "precision"])
    at = _thresholds(y, score, chosen, n_points)
    tp, fp = _above(score[y], at), _above(score[~y], at)
    with np.errstate(invalid="ignore", divide="ignore"):
        points = {"threshold": at, "chosen": at == chosen, "recall": tp / y.sum(),
                  "precision": tp / (tp + fp), "false_positive_rate": fp / (~y).sum(),
                  "alarms": tp + fp, "random_precision": y.mean()}
        if series:
            points["alarms"], *rates = _events(event, score, at, points["false_positive_rate"])
            shifts = np.unique(np.linspace(0, y.size, 2 + np.clip(4_000_000 // y.size, 4, 30),
                                           dtype=int)[1:-1])
            random = [_events(event, np.roll(score, by), at)[1:] for by in shifts]
            points |= {f"{which}event_{name}": value for which, both in (
                ("", rates), ("random_", np.mean(random, axis=0)))
                for name, value in zip(("recall", "precision"), both, strict=True)}
    points["alarms_per_1000_rows"] = 1000 * points["alarms"] / y.size
    if seconds:
        points["alarms_per_day"] = points["alarms"] * DAY / (y.size * seconds)
    return pd.DataFrame(points)[::-1].reset_index(drop=True).fillna({"precision": 0.0})


def _thresholds(y: Flags, score: Floats, chosen: float, n: int) -> Floats:
    """Ascending; just below a score that is there, so that this one is flagged."""
    ranks = np.unique(np.geomspace(1, score.size, n // 2).astype(int)) - 1
    found = np.sort(score[y])[::-1]
    parts = np.sort(score)[::-1][ranks], found[np.linspace(0, found.size - 1, n // 2).astype(int)]
    below = np.nextafter(np.concatenate(parts), -np.inf)
    return np.unique(np.append(below, [chosen] * bool(np.isfinite(chosen))))


def _above(values: Floats, thresholds: Floats) -> Counts:
    """How many values lie above each of the ascending thresholds."""
    found = np.bincount(np.searchsorted(thresholds, values), minlength=thresholds.size + 1)
    return found[::-1].cumsum()[::-1][1:]


def _events(event: Counts, score: Floats, at: Floats, fpr: Floats | None = None
            ) -> tuple[Counts, Floats, Floats]:
    """Alarms, event recall and event precision at each threshold.

    A run of flags begins with every flagged row that does not follow a flagged one, so that runs
    are rows less pairs of neighbours. False alarms are the runs within the normal rows between two
    events, less those that go on into an event at either end; one that fills all of the rows
    between has been taken off twice.
    """
    inside = event >= 0
    pairs = np.minimum(score[1:], score[:-1])
    first, stop = runs(inside, event)
    best = np.maximum.reduceat(np.append(score, -np.inf), np.column_stack([first, stop]).ravel())
    gap, end = runs(~inside)
    padded = np.concatenate([[-np.inf], score, [-np.inf, -np.inf]])
    joined = np.minimum.reduceat(padded, np.column_stack([gap, end + 2]).ravel())[::2]
    normal = ~inside
    found = _above(best[::2], at)
    false = _above(score[normal], at) - _above(pairs[normal[1:] | normal[:-1]], at) + _above(
        joined, at)
    if fpr is None:
        fpr = _above(score[normal], at) / normal.sum()
    precision = found / np.maximum(found + false, 1) * (1 - fpr)
    return _above(score, at) - _above(pairs, at), found / first.size, precision
