"""Scores of finished recordings: aligned with what they judge, and smoothed with what came later.

A causal score rises with an event and stays high after it. Where the recording is finished, or an
answer may come some rows late, windows can be laid around a row instead of behind it, and scores be
averaged over both sides. That finds no more events; it covers those that are found. Such a score is
another thing than a causal one, and is never ranked beside it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from adlib.arguments import number, whole
from adlib.base import Detection, Detector, OnlineDetector, anomaly_score, before_core, core
from adlib.missing import raised
from adlib.periods import DEFAULT
from adlib.smoothing import gaussian_weights, memory_rows, smooth
from adlib.thresholds import Scores, check_alpha, rule_for
from adlib.windows import TimeFeatures, Windows

__all__ = ["hindsight_detect", "hindsight_score"]

SHARE = 0.3  # of a period: the standard deviation of the Gaussian


class Kernel(NamedTuple):
    """How the scores of rows are moved and averaged.

    Attributes
    ----------
    weights : ndarray of shape (n_weights,)
        As `adlib.smoothing.smooth` takes them.
    ahead : int
        How many of them belong to later rows.
    lag : int
        Rows that scores are moved back, to the middle of what they look at.
    """

    weights: NDArray[np.float64]
    ahead: int
    lag: int

    @property
    def behind(self) -> int:
        """Rows before a row that enter its average."""
        return len(self.weights) - 1 - self.ahead

    @classmethod
    def of(cls, lag: int, width: float, delay: int | None) -> "Kernel":
        """A centred Gaussian; lag and Gaussian together look at most ``delay`` rows ahead."""
        if delay is None:
            return cls(*gaussian_weights(width), lag)
        lag = min(lag, delay)
        return cls(*gaussian_weights(width, delay - lag), lag)

    def over(self, score: Scores) -> Scores:
        """The average of scores of rows that follow each other."""
        return self.moved(smooth(score, self.weights, self.ahead))

    def moved(self, smoothed: Scores) -> Scores:
        """Smoothed scores at their rows; the last one stands where a window ends later."""
        missing = min(self.lag, len(smoothed))
        return np.append(smoothed[missing:], np.repeat(smoothed[-1:], missing))


def hindsight_score(model: Any, X: ArrayLike, *, delay: int | None = None,
                    width: float | None = None) -> Scores:
    """Score the rows of a finished recording: row t may use rows after it, up to ``t + delay``.

    Scores of windows are moved to the middle of their window and all are averaged by a Gaussian
    around each row (a detector's own smoothing is left out; `LinearForecast` averages the errors of
    each channel). What was learned stays as it is, and no label is seen. The threshold of the
    detector belongs to its causal scores: `hindsight_detect` takes another one.

    Parameters
    ----------
    model : fitted estimator
        Anything that `adlib.anomaly_score` serves. An online detector scores the rows as the
        continuation of its stream, on a copy, with whatever memory it has. The steps of a Pipeline
        before the last one must look at single rows, or back, as `adlib.Windows` does.
    X : array-like of shape (n_samples, n_features)
        In time order. Scores of the first rows, whose past is missing, are warm-up as ever.
    delay : int, optional
        Rows after t that the score of row t may depend on; 0 is a causal score. None: all.
    width : float, optional
        Standard deviation of the Gaussian in rows, at least 0.1; it ends at four of them. None: 0.6
        of the ``smoothing_`` of the model, else 0.3 of its window (but not of that of an online
        detector, which is a memory), else 0.3 of 125 rows. To compare detectors give all of them
        the same, taken from the training rows.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Higher is more anomalous.

    Raises
    ------
    ValueError, TypeError
        When a parameter is out of range; and whatever the model raises.

    Notes
    -----
    Towards the ends of the recording the average is over the rows that exist. A committee is moved
    by its own window and the narrowest of its members. Single-row spikes are
    flattened, two events nearer than the width become one, and the hit begins before its event.

    Examples
    --------
    >>> from adlib.detectors import KNN
    >>> X = np.random.default_rng(0).normal(size=(600, 1))
    >>> X[500:540] += 3
    >>> model = KNN(window=20).fit(X[:400])
    >>> late, around = model.anomaly_score(X), hindsight_score(model, X)
    >>> int(late.argmax()), int(around.argmax())
    (533, 521)
    """
    return _scored(model, X, delay, width)[0]


def hindsight_detect(model: Any, X: ArrayLike, *, normal: ArrayLike, delay: int | None = None,
                     width: float | None = None, alpha: float | None = None) -> Detection:
    """Flag rows of a finished recording, by a threshold for scores made in hindsight.

    The threshold follows the rule that the model has for its causal scores (without one the
    conformal rule, by blocks) on hindsight scores of normal rows; of those whose average is over
    all its rows.

    Parameters
    ----------
    model : fitted estimator
        See `hindsight_score`.
    X : array-like of shape (n_samples, n_features)
        Rows to judge, in time order.
    normal : array-like of shape (n_normal, n_features)
        Normal rows in time order that the model has not been trained on.
    delay, width
        See `hindsight_score`.
    alpha : float, optional
        False-alarm budget per row, in (0, 1), where the rule states none; default: the model's, or
        0.05 where it has none.

    Returns
    -------
    Detection

    Raises
    ------
    ValueError, TypeError
        When a parameter is out of range; and whatever the model raises.

    Warns
    -----
    CalibrationWarning
        Where the normal rows are too few for such wide averages to place a threshold: it is then
        infinite, and no row is flagged.

    Examples
    --------
    >>> from adlib.detectors import KNN
    >>> X = np.random.default_rng(0).normal(size=(4_000, 1))
    >>> X[3_900:3_940] += 3
    >>> model = KNN().fit(X[:1_000])
    >>> found = hindsight_detect(model, X[3_000:], normal=X[1_000:3_000], width=5)
    >>> bool(found.is_anomaly[905:935].all()), bool(found.is_anomaly[:850].mean() < 0.1)
    (True, True)
    """
    if alpha is not None:
        check_alpha(alpha)
    held_out, kernel = _scored(model, normal, delay, width)
    back = kernel.behind + lookback(model)
    whole_ones = held_out[back:len(held_out) - kernel.ahead - kernel.lag]
    threshold = hindsight_threshold(model, whole_ones, kernel, alpha)
    score = hindsight_score(model, X, delay=delay, width=width)
    if isinstance(detector := core(model), Detector):  # rows that are mostly missing
        filled = detector.filled(before_core(model, X))
        score = raised(score, filled, threshold, float(held_out.max()))
    return Detection(score > threshold, score)


def hindsight_threshold(model: Any, scores: Scores, kernel: Kernel, alpha: float | None = None
                        ) -> float:
    """The cut that the model's kind of rule takes from hindsight scores of normal rows.

    Parameters
    ----------
    model : estimator
        Whose ``threshold`` and ``alpha`` count, if it has them.
    scores : ndarray of shape (n,)
        In time order.
    kernel : Kernel
        What they were averaged by.
    alpha : float, optional

    Returns
    -------
    float
        Infinite where the scores are too few, which a `CalibrationWarning` says.
    """
    detector = core(model)
    rule = rule_for(  # a memory of m rows is an average over 2 m independent ones
        getattr(detector, "threshold", None), block="auto",
        alpha=getattr(detector, "alpha", 0.05) if alpha is None else alpha,
        smoothing=max(1.0, float(0.5 / (kernel.weights @ kernel.weights))))
    return float(rule.fit(scores).value_)


def lookback(model: Any) -> int:
    """Preceding rows that a raw score needs; a memory of scores or of a stream is not among them.

    Parameters
    ----------
    model : estimator

    Returns
    -------
    int
        Those of the windows and features of time of a Pipeline included.
    """
    detector = core(model)
    own = detector.context_ - memory(model) if isinstance(detector, Detector) else 0
    return own + sum(part.context_ for part in fronts(model))


def memory(model: Any) -> int:
    """Preceding rows that smoothing adds to those a score needs.

    Parameters
    ----------
    model : estimator

    Returns
    -------
    int
    """
    smoothing = getattr(core(model), "smoothing_", None)
    return 0 if smoothing is None else memory_rows(smoothing) - 1


def fronts(model: Any) -> list[Windows | TimeFeatures]:
    """All that looks back in front of what detects."""
    params = model.get_params() if isinstance(model, Pipeline) else {}
    return [part for part in params.values() if isinstance(part, (Windows, TimeFeatures))]


def kernel_of(model: Any, delay: int | None, width: float | None = None) -> Kernel:
    """How a model's scores are moved and averaged: see `hindsight_score`.

    Parameters
    ----------
    model : estimator
    delay : int or None
    width : float, optional

    Returns
    -------
    Kernel
    """
    if delay is not None:
        delay = whole(delay, "delay", 0, of="rows")
    detector = core(model)
    lengths = [part.length for part in fronts(model) if isinstance(part, Windows)]
    if width is None:
        smoothing = getattr(detector, "smoothing_", None)
        # (the window of an online detector is a memory)
        own = isinstance(detector, Detector) and not isinstance(detector, OnlineDetector)
        window = max([detector.window_ if own else 1, *lengths])
        width = 2 * SHARE * smoothing if smoothing else SHARE * (window if window > 1 else DEFAULT)
    else:
        number(width, "width", least=0.1, most=1e5)
    lag = detector.lag_ if isinstance(detector, Detector) else 0
    return Kernel.of(lag + sum((n - 1) // 2 for n in lengths), float(width), delay)


def _scored(model: Any, X: ArrayLike, delay: int | None, width: float | None
            ) -> tuple[Scores, Kernel]:
    kernel, detector = kernel_of(model, delay, width), core(model)
    X = before_core(model, X)
    if isinstance(detector, Detector):
        return kernel.moved(detector.smoothed_score(X, kernel.weights, kernel.ahead)), kernel
    return kernel.over(np.asarray(anomaly_score(detector, X), dtype=np.float64)), kernel
