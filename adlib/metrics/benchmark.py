"""The scores by which two public collections rank detectors: Numenta's (NAB) and UCR's.

NAB has a rule of its own for which rows count, so its score takes no `judged`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import one_of, whole
from adlib.metrics.labels import (
    Flags,
    Floats,
    Mask,
    both_classes,
    labels_and_flags,
    labels_and_scores,
    runs,
    undefined,
)
from adlib.metrics.record import Metric, judges, register

__all__ = ["nab_corpus", "nab_score", "ucr_score"]


class Weights(NamedTuple):
    """What a detected window earns, and what a false positive and a missed window cost."""

    detected: float
    false_positive: float
    missed: float


PROFILES = {
    "standard": Weights(1.0, 0.11, 1.0),
    "reward_low_FP": Weights(1.0, 0.22, 1.0),
    "reward_low_FN": Weights(1.0, 0.11, 2.0),
}


@judges("flags", perfect=100.0)
def nab_score(y_true: Any, pred: Any, profile: str = "standard", normalize: bool = True) -> float:
    """Early detections minus false positives and misses, as Numenta's benchmark counts them.

    Lavin and Ahmad (2015), with the released scorer's constants. Each event is a window. Its
    *first* flag earns up to 1, less the later it comes (a sigmoid of its place in the window);
    every flagged row outside costs, less if a window has just ended; a window without a flag
    costs. The first 15 % of a stream (750 rows at most) are probation and count neither way.

    It counts flagged rows, not alarms, so one alarm that stays on is ruinous and a rest period
    after each alarm can be worth more than a better score. Published values choose the threshold on
    the very streams they are scored on: they are upper bounds.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,), or list of such arrays
        1 = in a window, 0 = outside, in time order. A list is a corpus of streams, which is
        scored as one.
    pred : array_like of shape (n_samples,), or list of such arrays
        1 = flagged, 0 = not.
    profile : {"standard", "reward_low_FP", "reward_low_FN"}
        Costs: a false positive 0.11, twice that in the second; a missed window 1, twice that
        in the third. NAB's own spelling (``reward_low_FP_rate``) will do as well.
    normalize : bool
        Scale the sum over the corpus so that no flag at all is 0 and every window detected at
        its first row, with no false positive, is 100 (within reach only if no window begins in
        probation). False gives the sum itself.

    Returns
    -------
    float
        At most 100, and below 0 for a detector worse than silence; unnormalised, at most the
        number of windows. If normalised, nan with a warning if the rows after probation hold
        no anomaly or only anomalies; unnormalised, what the formula gives.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, lengths differ, or the profile is unknown.

    Notes
    -----
    A false positive's cost depends on its distance from the window's end in units of the
    window's width less one row. The released scorer divides by zero after a window of one row;
    here such a window forgives as one of two rows.

    Examples
    --------
    >>> y = np.repeat([0, 1, 0], [100, 20, 80])
    >>> early, late = np.zeros(200), np.zeros(200)
    >>> early[102] = late[118] = 1
    >>> round(nab_score(y, early), 1), round(nab_score(y, late), 1)
    (99.6, 62.4)
    >>> nab_score([y, y], [y, np.zeros(200)])
    50.0
    """
    weights = _weights(profile)
    several = isinstance(y_true, (list, tuple)) and len(y_true) and np.ndim(y_true[0])
    truths: list[Any] = list(y_true) if several else [y_true]
    preds: list[Any] = list(pred) if several else [pred]
    if len(truths) != len(preds):
        raise ValueError(f"pred has {len(preds)} streams, y_true has {len(truths)}")
    streams = [labels_and_flags(*stream)[:2] for stream in zip(truths, preds, strict=True)]

    score = sum(_nab_sum(y, flags, weights) for y, flags in streams)
    if not normalize:
        return score
    if not both_classes(np.concatenate([y[_probation(y.size):] for y, _ in streams]), "nab_score"):
        return np.nan
    n_windows = sum(_n_windows(y) for y, _ in streams)
    silence = -weights.missed * n_windows
    return 100 * (score - silence) / (weights.detected * n_windows - silence)


class NabSweep(NamedTuple):
    """The best of all thresholds on a corpus: flags are ``score > threshold``."""

    score: float
    threshold: float


def nab_corpus(y_true: list[ArrayLike], score: list[ArrayLike], profile: str = "standard"
               ) -> NabSweep:
    """NAB score of a corpus at the one threshold that serves it best, as NAB's leaderboard has it.

    Exact: every threshold that changes a flag is tried, in n log n for n rows. The threshold is
    chosen on the labels it is then scored with, so this is an upper bound on what a user gets.

    Parameters
    ----------
    y_true : list of array_like of shape (n_samples,)
        1 = in a window, 0 = outside, in time order; one array a stream.
    score : list of array_like of shape (n_samples,)
        Higher = more anomalous, comparable between streams. Rows in probation do not count.
    profile : {"standard", "reward_low_FP", "reward_low_FN"}
        See `nab_score`.

    Returns
    -------
    NabSweep
        ``score``, at least 0 (the threshold that flags nothing) and at most 100, and
        ``threshold``, the highest of those that reach it; `nab_score` of ``score > threshold``
        gives the same. Both are nan with a warning where `nab_score` is.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or the profile is unknown.

    Examples
    --------
    >>> y = np.repeat([0, 1, 0], [100, 20, 80])
    >>> score = np.zeros(200)
    >>> score[[102, 150]] = 2.0, 1.0
    >>> best = nab_corpus([y], [score])
    >>> round(best.score, 1), best.threshold
    (99.6, 1.0)
    """
    weights = _weights(profile)
    for name, arrays in (("y_true", y_true), ("score", score)):
        if not isinstance(arrays, (list, tuple)) or any(map(np.isscalar, arrays)):
            raise ValueError(f"{name} must be a list of arrays, one a stream, got {arrays!r}")
    if len(y_true) != len(score):
        raise ValueError(f"score has {len(score)} streams, y_true has {len(y_true)}")
    streams = [labels_and_scores(*stream)[:2] for stream in zip(y_true, score, strict=True)]
    judged = [y[_probation(y.size):] for y, _ in streams]
    if not streams or not both_classes(np.concatenate(judged), "nab_corpus"):
        return NabSweep(np.nan, np.nan)

    levels, gains = map(np.concatenate, zip(*(_nab_steps(y, s, weights) for y, s in streams),
                                            strict=True))
    order = np.argsort(-levels, kind="stable")
    levels, total = levels[order], np.cumsum(gains[order])
    last = np.append(levels[1:] != levels[:-1], True)  # rows of one score are flagged together
    levels, total = np.append(np.inf, levels[last]), np.append(0.0, total[last])
    best = total.argmax()
    n_windows = sum(_n_windows(y) for y, _ in streams)
    # just below the lowest flagged score lies the highest of all others, judged or not
    below = [s[s < levels[best]] for _, s in streams]
    threshold = max((s.max() for s in below if s.size), default=-np.inf)
    return NabSweep(100 * float(total[best]) / ((weights.detected + weights.missed) * n_windows),
                    float(threshold))


register(Metric("nab_score@oracle", lambda y_true, score: nab_corpus([y_true], [score]).score,
                perfect=100.0))


@judges("score")
def ucr_score(y_true: ArrayLike, score: ArrayLike, *, tolerance: int = 0,
              judged: Mask = None) -> float:
    """1 if the highest score lies in the one event or close to it, else 0.

    The UCR anomaly archive's question (Wu and Keogh, 2023): "close" is within the event's own
    length, or `tolerance` rows if that is more, on either side. One value says next to
    nothing: average it over many series, beside a random score's mean (the share of the rows
    that count as close, which is all of them for a long event in a short series).

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in time order, with exactly one event.
    score : array_like of shape (n_samples,)
        Higher = more anomalous. Of rows that tie for the highest, the first counts.
    tolerance : int
        In rows, at least 0. The archive's own rule is 100.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows whose score does not count, those of a warm-up for example; an event without
        a judged row is left out.

    Returns
    -------
    float
        0 or 1; nan with a warning if there is no anomaly, only anomalies, or more than one
        event.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or `tolerance` is below 0.

    Examples
    --------
    >>> y = [0, 0, 0, 0, 1, 1, 0, 0]
    >>> ucr_score(y, [0, 0, 9, 0, 1, 1, 0, 0])
    1.0
    >>> ucr_score(y, [0, 9, 0, 0, 1, 1, 0, 0]), ucr_score(y, [0, 9, 0, 0, 1, 1, 0, 0], tolerance=3)
    (0.0, 1.0)
    """
    whole(tolerance, "tolerance", 0, of="rows")
    y, score, judged = labels_and_scores(y_true, score, judged)
    if not both_classes(y[judged], "ucr_score"):
        return np.nan
    starts, stops = runs(y)
    counted = np.append(0, np.cumsum(judged))
    some = counted[stops] > counted[starts]
    starts, stops = starts[some], stops[some]
    if starts.size > 1:
        return undefined("ucr_score", f"{starts.size} events instead of one")
    margin = max(stops[0] - starts[0], tolerance)
    highest = np.flatnonzero(judged)[score[judged].argmax()]
    return float(starts[0] - margin <= highest < stops[0] + margin)


def _weights(profile: str) -> Weights:
    name = profile.removesuffix("_rate") if isinstance(profile, str) else profile
    return PROFILES[one_of(name, "profile", PROFILES)]


def _probation(n_samples: int) -> int:
    return min(int(0.15 * n_samples), 750)


def _n_windows(y: Flags) -> int:
    """Windows with a row after probation."""
    return int(np.sum(runs(y)[1] > _probation(y.size)))


def _nab_sum(y: Flags, pred: Flags, weights: Weights) -> float:
    """NAB's unnormalised score of one stream."""
    levels, gains = _nab_steps(y, pred.astype(np.float64), weights)
    return float(gains[levels > 0].sum() - weights.missed * _n_windows(y))


def _nab_steps(y: Flags, score: Floats, weights: Weights) -> tuple[Floats, Floats]:
    """Scores at which NAB's sum changes as the threshold falls, and by how much each time."""
    starts, stops = runs(y)
    last = np.append(-np.inf, stops - 1)  # before any window: one that ended long ago
    width = np.append(1, stops - starts)
    row = np.arange(_probation(y.size), y.size)
    window = np.searchsorted(starts, row, "right")  # the latest that has begun
    outside = row > last[window]
    distance = (row - last[window])[outside] / np.maximum(width[window][outside] - 1, 1)
    levels, gains = [score[row[outside]]], [weights.false_positive * _sigmoid(distance)]
    for start, stop in zip(starts, stops, strict=True):
        inside = np.arange(max(start, _probation(y.size)), stop)
        if not inside.size:
            continue
        # only a row above all rows before it in the window can be the first flag
        highest = np.maximum.accumulate(score[inside])
        inside = inside[np.append(True, highest[1:] > highest[:-1])]
        earned = weights.detected * _sigmoid((inside - stop) / (stop - start)) / _sigmoid(-1.0)
        levels.append(score[inside])
        gains.append(earned - np.append(earned[1:], -weights.missed))
    return np.concatenate(levels), np.concatenate(gains)


def _sigmoid(position: Any) -> Floats:
    """NAB's scaled sigmoid: near 1 at a window's start (-1), 0 at its end (0), then below 0."""
    return np.where(position > 3, -1.0, -np.tanh(2.5 * position))
