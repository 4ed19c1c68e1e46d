"""The door of every metric: labels, flags and scores are checked and cast here, once."""

import sys
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import numeric

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Mask = ArrayLike | None  # rows that count; None: all of them


def checked_flags(values: ArrayLike, name: str = "y_true") -> Flags:
    """Cast 0/1 labels of any type to a boolean array.

    Parameters
    ----------
    values : array_like of shape (n_samples,)
        bool, int, uint8 or float holding only 0 and 1; 1 = anomaly.
    name : str
        What to call the argument in an error.

    Returns
    -------
    ndarray of bool, shape (n_samples,)

    Raises
    ------
    ValueError
        If the values are not one-dimensional, empty, or anything but 0 and 1.

    Examples
    --------
    >>> checked_flags([0, 1.0, True])
    array([False,  True,  True])
    """
    array = _vector(values, name)
    if array.dtype == bool:
        return array
    other = array[(array != 0) & (array != 1)]  # NaN differs from both
    if other.size:
        hint = (
            "; scikit-learn's -1/+1 become labels by `values == -1`"
            if np.isin(array, (-1, 1)).all()
            else ""
            if np.isnan(other).all()
            else "; are the arguments swapped?" + " y_true comes first" * (name == "y_true")
        )
        raise ValueError(
            f"{name} must hold only 0 (normal) and 1 (anomaly), "
            f"got {', '.join(f'{v:g}' for v in np.unique(other)[:3])}{hint}"
        )
    return array.astype(bool)


def labels_and_scores(y_true: ArrayLike, score: ArrayLike, judged: Mask = None
                      ) -> tuple[Flags, Floats, Flags]:
    """Cast labels, scores and the mask of judged rows; refuse NaN in a judged row.

    Infinite scores are fine: only their order counts.

    Returns
    -------
    y : ndarray of bool, shape (n_samples,)
    score : ndarray of float64, shape (n_samples,)
    judged : ndarray of bool, shape (n_samples,)

    Raises
    ------
    ValueError
        If labels or mask are not 0/1, a judged score is NaN, or lengths differ.

    Examples
    --------
    >>> labels_and_scores([0, 1], [1, 2])
    (array([False,  True]), array([1., 2.]), array([ True,  True]))
    """
    y = checked_flags(y_true)
    judged = checked_judged(judged, y.size)
    score = _same_length(_vector(score, "score"), "score", y.size).astype(np.float64)
    missing = np.isnan(score) & judged
    if missing.any():
        raise ValueError(
            f"score holds NaN in {missing.sum()} of {y.size} rows (first: row "
            f"{missing.argmax()}); leave those rows out with `judged`, or repair the detector"
        )
    return y, score, judged


def labels_and_flags(y_true: ArrayLike, pred: ArrayLike, judged: Mask = None
                     ) -> tuple[Flags, Flags, Flags]:
    """Cast labels, a prediction and the mask of judged rows to booleans of one length.

    Examples
    --------
    >>> labels_and_flags([0, 1], [1.0, 0.0])
    (array([False,  True]), array([ True, False]), array([ True,  True]))
    """
    y = checked_flags(y_true)
    pred = _same_length(checked_flags(pred, "pred"), "pred", y.size)
    return y, pred, checked_judged(judged, y.size)


def checked_judged(judged: Mask, n_samples: int) -> Flags:
    """Cast the mask of judged rows; ``None`` means that every row counts.

    Raises
    ------
    ValueError
        If the mask is not boolean, has another length, or leaves no row to judge.

    Examples
    --------
    >>> checked_judged(None, 2)
    array([ True,  True])
    """
    if judged is None:
        return np.ones(n_samples, dtype=bool)
    judged = _same_length(checked_flags(judged, "judged"), "judged", n_samples)
    if not judged.any():
        raise ValueError("judged leaves no row to judge")
    return judged


def both_classes(y: Flags, metric: str) -> bool:
    """Whether `y` has anomalies and normal rows; warn that `metric` is nan if not.

    Examples
    --------
    >>> both_classes(np.array([True, False]), "roc_auc")
    True
    """
    if y.any() and not y.all():
        return True
    undefined(metric, "no anomaly" if not y.any() else "only anomalies")
    return False


def undefined(metric: str, why: str) -> float:
    """Warn that `metric` is nan because the judged rows hold `why`; return nan."""
    level, frame = 1, sys._getframe()
    inside = ("adlib.metrics", "adlib.deprecation")
    while frame.f_back and frame.f_globals["__name__"].startswith(inside):
        level, frame = level + 1, frame.f_back  # point at the line that asked for the metric
    warnings.warn(f"{metric} is undefined (nan): the judged rows hold {why}", stacklevel=level)
    return np.nan


def runs(flags: Flags, *labels: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Half-open intervals of consecutive true rows: events in labels, alarms in flags.

    Parameters
    ----------
    flags : ndarray of bool, shape (n_samples,)
    *labels : ndarrays of shape (n_samples,)
        A run also ends where one of them changes: kinds of event, numbers of recordings.

    Returns
    -------
    starts, stops : ndarrays of int, shape (n_runs,)

    Examples
    --------
    >>> runs(np.array([True, False, True, True]))
    (array([0, 2]), array([1, 4]))
    >>> runs(np.ones(4, dtype=bool), np.array([0, 0, 7, 7]))
    (array([0, 2]), array([2, 4]))
    """
    change = np.ones(len(flags) + 1, dtype=bool)
    change[1:-1] = flags[1:] != flags[:-1]
    for label in labels:
        change[1:-1] |= label[1:] != label[:-1]
    edges = np.flatnonzero(change)
    starts, stops = edges[:-1], edges[1:]
    there = flags[starts]
    return starts[there], stops[there]


def _vector(values: ArrayLike, name: str) -> NDArray:
    array = numeric(values, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty one-dimensional array, got {array.shape}")
    return array


def _same_length(array: NDArray, name: str, n_samples: int) -> NDArray:
    if array.size != n_samples:
        raise ValueError(f"{name} has {array.size} rows, y_true has {n_samples}")
    return array
