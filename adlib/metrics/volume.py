"""Volume under the surface: ROC and PR areas averaged over widening tolerance around each event.

Range-aware and threshold-free (Paparrizos et al. 2022, VLDB; the definition of TSB-AD 1.5). The
published algorithm visits every row for each of 250 thresholds and each width; this one sorts once
and counts, in O(n log n + width * (events + width * thresholds)).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import whole
from adlib.metrics.labels import Flags, Floats, Mask, both_classes, labels_and_scores, runs
from adlib.metrics.record import judges

__all__ = ["vus", "vus_pr", "vus_roc"]


def vus(y_true: ArrayLike, score: ArrayLike, window: int = 100, n_thresholds: int | None = 250, *,
        judged: Mask = None) -> tuple[float, float]:
    """Volumes under the ROC and the precision-recall surface, in one pass.

    For every width w = 0 .. `window`, rows up to w // 2 outside an event count partly, by the
    square root of 1 - distance / w, so that an alarm a little early or late is neither wholly right
    nor wholly wrong; events whose widened ranges meet become one; and recall is multiplied by the
    share of events that are touched at all. The areas of all widths are averaged.

    The widened truth is more likely to be hit by chance: a random score gains with `window`. Read
    every value beside that of a random score (`report` does).

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order; consecutive ones are one event.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    window : int
        Largest width, in rows; 0 judges row by row. Twice the tolerance that the labels need,
        and no more than about the length of a typical event (`report` takes the median). Values
        of different windows do not compare.
    n_thresholds : int or None
        Thresholds at evenly spaced ranks of the scores, as the reference has it. Few thresholds
        miss the top of the ranking, where rare anomalies are: None takes every distinct score.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way; time still passes in them. An event without a judged
        row cannot be missed.

    Returns
    -------
    roc, pr : float
        About [0, 1]; nan with a warning if there is no anomaly or only anomalies. A constant score
        gives the (widened) share of anomalies as `pr`, and as `roc` 0.5 at window 0, more at wider
        ones.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or an argument is out of range.

    References
    ----------
    Paparrizos, J., Boniol, P., Palpanas, T., Tsay, R. S., Elmore, A. and Franklin, M. J. (2022).
    Volume under the surface: a new accuracy evaluation measure for time-series anomaly detection.
    PVLDB 15(11).

    Examples
    --------
    >>> y = np.zeros(200, dtype=int)
    >>> y[90:110] = 1
    >>> early = np.roll(y, -5)  # the right event, five rows early
    >>> roc, pr = vus(y, early, window=40)
    >>> bool(pr > vus(y, early, window=0)[1])
    True
    """
    y, score, judged = labels_and_scores(y_true, score, judged)
    window = whole(window, "window", 0)
    if n_thresholds is not None:
        n_thresholds = whole(n_thresholds, "n_thresholds", 2)
    if not both_classes(y[judged], "vus"):
        return np.nan, np.nan
    first, count = ranked(score, judged, n_thresholds)
    roc, pr = volumes(y, first[None], count, window)
    return float(roc[0]), float(pr[0])


@judges("score")
def vus_roc(y_true: ArrayLike, score: ArrayLike, window: int = 100,
            n_thresholds: int | None = 250, *, judged: Mask = None) -> float:
    """Volume under the ROC surface; see `vus`, which gives both for the price of one.

    Parameters
    ----------
    y_true, score, window, n_thresholds, judged
        As in `vus`.

    Returns
    -------
    float
        As in `vus`.

    Examples
    --------
    >>> vus_roc([0, 0, 1, 1, 0, 0], [1, 2, 9, 8, 3, 1], window=0, n_thresholds=None)
    1.0
    """
    return vus(y_true, score, window, n_thresholds, judged=judged)[0]


@judges("score")
def vus_pr(y_true: ArrayLike, score: ArrayLike, window: int = 100,
           n_thresholds: int | None = 250, *, judged: Mask = None) -> float:
    """Volume under the precision-recall surface; see `vus`.

    With ``window=0``, one event and ``n_thresholds=None`` it is `average_precision`, to the last
    digit.

    Parameters
    ----------
    y_true, score, window, n_thresholds, judged
        As in `vus`.

    Returns
    -------
    float
        As in `vus`.

    Examples
    --------
    >>> vus_pr([0, 0, 1, 1, 0, 0], [1, 9, 8, 7, 3, 1], window=0, n_thresholds=None)
    0.5833333333333333
    """
    return vus(y_true, score, window, n_thresholds, judged=judged)[1]


def ranked(score: Floats, judged: Flags, n_thresholds: int | None) -> tuple[NDArray[np.int64], int]:
    """For each row the first of the falling thresholds that it reaches, and their number."""
    values = score if judged.all() else score[judged]
    if n_thresholds is None:
        thresholds = np.unique(values)
    else:
        n = values.size
        ranks = n - 1 - np.linspace(0, n - 1, n_thresholds).astype(np.int64)
        thresholds = np.sort(values)[ranks[::-1]]
    count = thresholds.size
    first = count - np.searchsorted(thresholds, score, side="right")
    return np.where(judged, first, count), count  # a row that is not judged reaches none


def volumes(y: Flags, first: NDArray[np.int64], count: int, window: int,
            parts: NDArray[np.int64] | None = None, n_widths: int | None = None
            ) -> tuple[Floats, Floats]:
    """The areas of all widths, averaged, for a batch of scores, or for one without each part.

    Parameters
    ----------
    y : ndarray of bool, shape (n_samples,)
        With at least one event.
    first : ndarray of int, shape (n_batch, n_samples)
        As `ranked` gives it.
    count : int
        Number of thresholds.
    window : int
        Largest width.
    parts : ndarray of int, shape (n_samples,), optional
        Number of the part of each row, of which no event has two. The areas of the one score in
        the batch, without the rows of each part in turn.
    n_widths : int, optional
        Widths among them that are enough; what lies between is interpolated. Default: all.

    Returns
    -------
    roc, pr : ndarrays of shape (n_batch,) or (n_parts,)
    """
    starts, stops = runs(y)
    half = window // 2
    n_batch = len(first) if parts is None else int(parts.max()) + 1
    n_bins = n_batch * (count + 1)
    own = np.arange(n_batch)[:, None] * (count + 1)  # each score, or part, has its own bins
    bins = first + (own if parts is None else parts * (count + 1))

    def counts(bins: NDArray, depth: int = 1, weight: Floats | None = None) -> NDArray:
        """Rows by bin; the last one, of rows that reach no threshold, is dropped."""
        weight = None if weight is None else np.broadcast_to(weight, bins.shape).ravel()
        found = np.bincount(bins.ravel(), weight, n_bins * depth).astype(np.float64)
        return found.reshape(depth, n_batch, count + 1)[..., :count]

    def histogram(bins: NDArray, depth: int = 1, weight: Floats | None = None) -> NDArray:
        """Of each score, or without each part."""
        found = counts(bins, depth, weight)
        return found if parts is None else found.sum(axis=1, keepdims=True) - found

    within = first[:, y]
    predicted = np.cumsum(histogram(bins)[0], axis=1)
    inside = np.cumsum(histogram(bins[:, y])[0], axis=1)
    total, positives = predicted[:, -1:], inside[:, -1:]  # all judged rows reach the last one
    rows, near, second = _buffer(y, starts, stops, half)
    beside = bins[:, rows]
    crowded = np.argsort(second, kind="stable")  # the order in which a second event reaches them
    crowded = crowded[second[crowded] <= half]
    reached = np.searchsorted(second[crowded], np.arange(half + 2))
    widths = np.arange(window + 1)
    some = np.unique(np.linspace(0, window, n_widths or window + 1).astype(int))
    worth = np.zeros(window + 1)
    worth[some] = [np.interp(widths, some, some == width).sum() for width in some]
    # what a row counts, by width and distance
    away = np.arange(half + 1) / np.maximum(widths, 1)[:, None]
    slopes = np.where(away <= 0.5, np.sqrt(np.maximum(1 - away, 0)), 0.0)
    slopes[:, 0] = 0.0
    # a table by threshold and distance serves all widths, while it is not much larger than the rows
    table = None
    if (half + window) * n_batch * count <= 4 * beside.size + 4_000_000:
        table = np.tensordot(slopes[some], histogram(beside + near * n_bins, half + 1), 1)

    # the lowest bin inside each event, then inside its widened range: what it takes to touch it
    begins = np.cumsum(stops - starts) - (stops - starts)  # of each event, among the rows within
    lowest = np.minimum.reduceat(within, begins, axis=1)
    judged = np.broadcast_to(lowest < count, (n_batch, starts.size)).astype(np.float64)
    if parts is not None:
        judged[parts[starts], np.arange(starts.size)] = 0.0
    gaps = starts[1:] - stops[:-1] + 1
    roc, pr = np.zeros(n_batch), np.zeros(n_batch)
    share = 1 / np.maximum(predicted, 1)
    for width in range(window + 1):
        h = width // 2
        if width % 2 == 0:
            _widen(lowest, first, starts - h)
            _widen(lowest, first, stops - 1 + h)
            # widened ranges that meet are one
            group = np.append(0, 1 + np.flatnonzero(gaps > 2 * h))
            there = np.maximum.reduceat(judged, group, axis=1)
            touch = own + np.minimum.reduceat(lowest, group, axis=1)
            existence = np.cumsum(counts(touch, weight=there)[0], axis=1)
            existence /= there.sum(axis=1, keepdims=True)
        if not worth[width]:
            continue
        now = crowded[:reached[h + 1]]  # rows that two events reach count in full
        if table is None:
            here = np.flatnonzero(near <= h)
            soft = histogram(beside[:, here], weight=slopes[width, near[here]])[0]
        else:
            soft = table[np.searchsorted(some, width)]
        if now.size:
            soft = soft + histogram(beside[:, now], weight=1 - slopes[width, near[now]])[0]
        soft = np.cumsum(soft, axis=1)
        true = inside + soft
        truth = positives + soft / 2  # half of the predicted part of the buffer
        tpr = np.minimum(true / truth, 1) * existence
        fpr = (predicted - true) / (total - truth)
        # from (0, 0) to (1, 1); without a flag precision is nothing's
        rise, run = tpr[:, 1:] - tpr[:, :-1], fpr[:, 1:] - fpr[:, :-1]
        pr += worth[width] * (tpr[:, 0] * true[:, 0] * share[:, 0] + np.einsum(
            "ij,ij->i", rise, (true * share)[:, 1:]))
        roc += worth[width] * (
            tpr[:, 0] * fpr[:, 0] / 2 + (tpr[:, -1] + 1) * (1 - fpr[:, -1]) / 2
            + np.einsum("ij,ij->i", run, tpr[:, 1:] - rise / 2))
    return roc / (window + 1), pr / (window + 1)


def _widen(lowest: NDArray[np.int64], first: NDArray[np.int64], edge: NDArray[np.int64]) -> None:
    """Let each event be touched at one more row, where there is one."""
    there = (edge >= 0) & (edge < first.shape[1])
    lowest[:, there] = np.minimum(lowest[:, there], first[:, edge[there]])


def _buffer(y: Flags, starts: NDArray[np.int64], stops: NDArray[np.int64], half: int
            ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Normal rows within `half` of an event, with their distances to the two nearest events."""
    edge = np.zeros(y.size + 1, dtype=np.int64)
    np.add.at(edge, np.maximum(starts - half, 0), 1)
    np.subtract.at(edge, np.minimum(stops + half, y.size), 1)
    rows = np.flatnonzero((np.cumsum(edge[:-1]) > 0) & ~y)
    after = np.searchsorted(starts, rows)  # the next event
    far = y.size + half + 1
    ends = np.r_[-far, -far, stops - 1]
    begins = np.r_[starts, y.size + far, y.size + far]
    distances = np.stack([rows - ends[after + 1], rows - ends[after],
                          begins[after] - rows, begins[after + 1] - rows])
    near, second = np.partition(distances, 1, axis=0)[:2]
    return rows, near, second
