"""Metrics that judge every row by itself; the order of the rows does not matter."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.metrics.labels import (
    Flags,
    Floats,
    Mask,
    both_classes,
    labels_and_flags,
    labels_and_scores,
    undefined,
)
from adlib.metrics.record import judges

__all__ = ["average_precision", "best_f1", "confusion_matrix", "f1", "false_positive_rate",
           "precision", "recall", "roc_auc"]

Rows = NDArray[np.intp]


@judges("score")
def roc_auc(y_true: ArrayLike, score: ArrayLike, *, judged: Mask = None) -> float:
    """Chance that an anomalous row scores above a normal one, ties counting half.

    Equals the area under the ROC curve (Hanley and McNeil, 1982). A random or a constant
    score gives 0.5 whatever the share of anomalies, which flatters a detector when they are
    rare: 1 % of the normal rows above every anomaly still leaves 0.99.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal; bool, int or float.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, or a score is NaN.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, score = judged_scores(y_true, score, judged)
    return float(area_roc(*curve(y, score))) if both_classes(y, "roc_auc") else np.nan


@judges("score")
def average_precision(y_true: ArrayLike, score: ArrayLike, *, judged: Mask = None) -> float:
    """Precision averaged over the recall steps of all thresholds; rows that tie enter together.

    The step-wise sum of scikit-learn's ``average_precision_score``, never the trapezoid, which
    is optimistic (Davis and Goadrich, 2006). A random score gives about the share of anomalies.

    Parameters
    ----------
    y_true, score, judged
        As in `roc_auc`.

    Returns
    -------
    float
        In (0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `roc_auc`.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    y, score = judged_scores(y_true, score, judged)
    return float(area_pr(*curve(y, score))) if both_classes(y, "average_precision") else np.nan


@judges("score", name="f1@oracle")
def best_f1(y_true: ArrayLike, score: ArrayLike, *, judged: Mask = None) -> float:
    """F1 at the *oracle* threshold: the best of all thresholds, chosen with the test labels.

    No detector in use can know that threshold. Show it as ``f1@oracle``, beside its random
    value (which is about ``2 p / (1 + p)`` for a share of anomalies `p`) and F1 at a threshold
    that was set beforehand.

    Parameters
    ----------
    y_true, score, judged
        As in `roc_auc`.

    Returns
    -------
    float
        In (0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `roc_auc`.

    Examples
    --------
    >>> best_f1([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8
    """
    y, score = judged_scores(y_true, score, judged)
    return float(highest_f1(*curve(y, score))) if both_classes(y, "best_f1") else np.nan


def confusion_matrix(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None
                     ) -> NDArray[np.int64]:
    """Rows counted by truth and flag: ``[[tn, fp], [fn, tp]]``, as scikit-learn lays it out.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    pred : array_like of shape (n_samples,)
        1 = flagged, 0 = not; for us ``score > threshold``.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    ndarray of int, shape (2, 2)

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, or lengths differ.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 0, 1]).tolist()
    [[1, 1], [1, 1]]
    """
    y, pred = judged_flags(y_true, pred, judged)
    return np.bincount(2 * y + pred, minlength=4).reshape(2, 2)


@judges("flags")
def precision(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Share of the flagged rows that are anomalous; 0 if none is flagged.

    Parameters
    ----------
    y_true, pred, judged
        As in `confusion_matrix`.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `confusion_matrix`.

    Examples
    --------
    >>> precision([0, 0, 1, 1], [1, 0, 0, 1])
    0.5
    """
    return _thresholded(y_true, pred, judged, "precision")


@judges("flags")
def recall(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Share of the anomalous rows that are flagged.

    Parameters
    ----------
    y_true, pred, judged
        As in `confusion_matrix`.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `confusion_matrix`.

    Examples
    --------
    >>> recall([0, 1, 1, 1, 1], [1, 0, 0, 0, 1])
    0.25
    """
    return _thresholded(y_true, pred, judged, "recall")


@judges("flags")
def f1(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Harmonic mean of precision and recall at the threshold that made `pred`.

    It moves with the share of anomalies, so values of two data sets do not compare: flagging
    every row gives ``2 p / (1 + p)``.

    Parameters
    ----------
    y_true, pred, judged
        As in `confusion_matrix`.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        As in `confusion_matrix`.

    Examples
    --------
    >>> f1([0, 0, 1, 1], [1, 0, 0, 1])
    0.5
    """
    return _thresholded(y_true, pred, judged, "f1")


@judges("flags", best="low")
def false_positive_rate(y_true: ArrayLike, pred: ArrayLike, *, judged: Mask = None) -> float:
    """Share of the normal rows that are flagged: what a calibrated `alpha` promises.

    Parameters
    ----------
    y_true, pred, judged
        As in `confusion_matrix`. Anomalies are not needed: a fault-free recording will do.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if no row is normal.

    Raises
    ------
    ValueError
        As in `confusion_matrix`.

    Examples
    --------
    >>> false_positive_rate([0, 0, 0, 0, 1], [1, 0, 0, 0, 1])
    0.25
    """
    (tn, fp), _ = confusion_matrix(y_true, pred, judged=judged)
    if tn + fp == 0:
        return undefined("false_positive_rate", "only anomalies")
    return rates(0, fp, 0, tn)["false_positive_rate"]


def judged_scores(y_true: ArrayLike, score: ArrayLike, judged: Mask) -> tuple[Flags, Floats]:
    """Labels and scores of the judged rows."""
    y, score, judged = labels_and_scores(y_true, score, judged)
    return y[judged], score[judged]


def judged_flags(y_true: ArrayLike, pred: ArrayLike, judged: Mask) -> tuple[Flags, Flags]:
    """Labels and flags of the judged rows."""
    y, pred, judged = labels_and_flags(y_true, pred, judged)
    return y[judged], pred[judged]


def _thresholded(y_true: ArrayLike, pred: ArrayLike, judged: Mask, metric: str) -> float:
    y, pred = judged_flags(y_true, pred, judged)
    if not both_classes(y, metric):
        return np.nan
    (tn, fp), (fn, tp) = confusion_matrix(y, pred)
    return rates(tp, fp, fn, tn)[metric]


def rates(tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    """Every thresholded point metric from the four counts (which may be weighted)."""
    return {
        "precision": ratio(tp, tp + fp, 0.0),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "false_positive_rate": ratio(fp, fp + tn),
    }


def ratio(part: float, whole: float, empty: float = np.nan) -> float:
    """`part / whole`, or `empty` where there is no whole."""
    return float(part / whole) if whole else empty


def curve(y: Flags, score: Floats) -> tuple[Floats, Floats]:
    """True and false positives at the thresholds that the areas need, from the highest score down.

    Returns
    -------
    tp, fp : ndarrays of float64, shape (n_kept,)
        See `telling`.
    """
    order, last = descending(score)
    return counted(np.flatnonzero(y[order]), last)


def descending(score: Floats) -> tuple[Rows, Rows]:
    """The rows from the highest score down, and the last position of each group of ties."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)


def telling(at: Rows, last: Rows) -> Rows:
    """Ends of the groups of ties that hold an anomaly, of those just before, and the last end.

    Between them only normal rows pass: recall stays, precision falls, and the ROC curve runs level.
    No area and no best F1 changes without the other thresholds, and anomalies are few.

    Parameters
    ----------
    at : ndarray of int, shape (n_anomalies,)
        Ascending positions of the anomalies among the rows in descending order of score.
    last : ndarray of int
        From `descending`.
    """
    group = np.searchsorted(last, at)
    kept = np.unique(np.concatenate([group, group - 1, [last.size - 1]]))
    return last[kept[kept >= 0]]


def counted(at: Rows, last: Rows) -> tuple[Floats, Floats]:
    """`curve` from the positions of the anomalies, see `telling`."""
    ends = telling(at, last)
    tp = np.searchsorted(at, ends, "right").astype(np.float64)
    return tp, ends + 1 - tp


def area_roc(tp: Floats, fp: Floats) -> Any:
    """Area under the ROC curve by trapezoids, which is what lets ties count half.

    As below, of one curve or of a line for each of several.
    """
    twice = tp.copy()
    twice[..., 1:] += tp[..., :-1]
    wins = np.einsum("...i,...i->...", np.diff(fp, prepend=0.0), twice) / 2
    return _shares(wins, tp[..., -1] * fp[..., -1])


def area_pr(tp: Floats, fp: Floats) -> Any:
    """Average precision: steps of recall times the precision they end at."""
    precision = tp / np.maximum(tp + fp, 1)  # the highest rows may count for nothing
    return _shares(np.einsum("...i,...i->...", np.diff(tp, prepend=0.0), precision), tp[..., -1])


def highest_f1(tp: Floats, fp: Floats) -> Any:
    """Largest F1 along the curve."""
    total = tp[..., -1:]
    best = np.max(2 * tp / np.maximum(tp + fp + total, 1), axis=-1)
    return _shares(best * total[..., 0], total[..., 0])


def _shares(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
