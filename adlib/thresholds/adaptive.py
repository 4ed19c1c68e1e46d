"""Cuts that follow a drifting stream: judge a score by the cut in force, then learn from it."""

from abc import abstractmethod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from adlib.arguments import number, whole
from adlib.thresholds.rules import (
    MIN_EXCEEDANCES,
    Scores,
    Threshold,
    as_scores,
    check_alpha,
    fit_pareto,
    pareto_quantile,
)

_REFIT = 20  # rows between two looks at the remembered scores
_ABSURD = 100  # a score this many times rarer than the cut is remembered no larger than that


class Adaptive(Threshold):
    """A threshold with `update`. ``value_`` is the cut for the next score.

    `fit` starts it from held-out scores. As ``Detector.threshold`` it gives the cut at fit; live,
    call ``detector.threshold_rule_.update(score)`` row by row.
    """

    @abstractmethod
    def update(self, score: float) -> bool:
        """Judge one score, then learn from it: True where it exceeds the cut in force before."""

    def process(self, scores: ArrayLike) -> Scores:
        """Update with each score in order.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)

        Returns
        -------
        ndarray of shape (n_rows,)
            The cut that judged each score, set before it was seen: flags are ``scores > cuts``.
        """
        scores = as_scores(scores)
        cuts = np.empty(len(scores))
        for i, score in enumerate(scores.tolist()):
            cuts[i] = self.value_
            self.update(score)
        return cuts


class Tracking(Adaptive):
    """A cut that steps up after each alarm and a little down otherwise, until the rate fits.

    Online quantile tracking (Gibbs and Candes 2021; Angelopoulos, Candes and Tibshirani 2023): the
    cut moves by ``eta * (alarm - alpha)``. Nothing is assumed about the scores but bounds: for
    *every* sequence within [low, high], and every number of rows T, the share of alarms differs
    from alpha by at most ``(high - low + eta) / (eta * T)``.

    The rate counts all rows, anomalies with them: a stream that turns anomalous for good becomes
    the new normal, and within a long burst the cut rises. It says nothing about a short stretch.

    Parameters
    ----------
    alpha : float or None
        Rate per row, in (0, 1). None: the detector's ``alpha`` (0.05 on its own).
    step : float
        ``eta`` in units of the held-out scores' central 90 % range, above 0. Larger follows faster
        and shakes more; 0.01 to 0.2.

    Attributes
    ----------
    eta_ : float
        Step in the unit of the score.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rule = Tracking(alpha=0.1).fit(rng.normal(size=500))
    >>> later = rng.normal(size=5_000) + np.linspace(0, 10, 5_000)  # drifts far away
    >>> bool(abs((later > rule.process(later)).mean() - 0.1) < 0.02)
    True
    """

    def __init__(self, alpha: float | None = None, *, step: float = 0.05):
        self.alpha = alpha
        self.step = step

    def _value(self, scores: Scores) -> float:
        number(self.step, "step", above=0)
        if len(scores) < 2:
            raise ValueError(f"Tracking needs at least 2 held-out scores, got {len(scores)}")
        self.alpha_ = check_alpha(0.05 if self.alpha is None else self.alpha)
        low, high = np.quantile(scores, (0.05, 0.95))
        spread = high - low or np.ptp(scores) or max(abs(high), 1.0)
        self.eta_ = float(self.step * spread)
        return np.quantile(scores, 1 - self.alpha_)

    def update(self, score: float) -> bool:
        """Judge one score, then step the cut."""
        number(score, "score", most=np.inf)
        alarm = bool(score > self.value_)
        self.value_ += self.eta_ * (alarm - self.alpha_)
        return alarm


class SPOT(Adaptive):
    """`POT` on the last ``memory`` scores of the stream itself, around a moving level.

    Streaming peaks over threshold (Siffer et al. 2017; with ``depth`` their DSPOT), with two
    changes. The start of the tail moves along with the remembered scores, so the spread may drift
    too. And flagged scores are remembered, at most as large as the fitted tail exceeds with
    probability ``alpha / 100``: left out, as published, they would thin the tail that the next cut
    is made of and the rate would run away from alpha; kept as they are, one spike would raise the
    cut for as long as it is remembered.

    Holds ``alpha`` in the long run where scores are stationary around a level and a spread that
    change slowly against ``memory``, and forget quickly. Otherwise empirical: after a jump of
    the level the rate is high until the level has caught up.

    Parameters
    ----------
    alpha : float or None
        Rate per row, below ``tail``. None: the detector's ``alpha`` (0.05 on its own).
    tail : float
        Share of the remembered scores taken as the tail, in (0, 1).
    memory : int
        Scores remembered; at least 10 / tail.
    depth : int
        Preceding scores whose mean is the level that the tail stands on; 0: no level.

    Attributes
    ----------
    memory_ : ndarray of shape (memory,) or fewer
        What is remembered, relative to the level.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rule = SPOT(alpha=0.01, depth=50).fit(rng.normal(size=2_000))
    >>> later = rng.normal(size=5_000) + np.linspace(0, 20, 5_000)
    >>> bool(0.005 < (later > rule.process(later)).mean() < 0.02)
    True
    """

    def __init__(self, alpha: float | None = None, *, tail: float = 0.1, memory: int = 2_000,
                 depth: int = 0):
        self.alpha = alpha
        self.tail = tail
        self.memory = memory
        self.depth = depth

    def _value(self, scores: Scores) -> float:
        number(self.tail, "tail", above=0, below=1)
        memory = whole(self.memory, "memory", int(np.ceil(MIN_EXCEEDANCES / self.tail)))
        depth = whole(self.depth, "depth", 0)
        self.alpha_ = check_alpha(0.05 if self.alpha is None else self.alpha)
        if self.alpha_ >= self.tail:
            raise ValueError(f"alpha={self.alpha_:g} must be below tail={self.tail:g}: only a cut "
                             f"beyond the start of the tail can be read from it")
        needed = depth + int(np.ceil(MIN_EXCEEDANCES / self.tail))
        if len(scores) < needed:
            raise ValueError(f"SPOT(tail={self.tail:g}, depth={self.depth}) needs at least "
                             f"{needed} held-out scores, got {len(scores)}")
        if depth:  # each score against the level before it, as `update` will see it
            levels = sliding_window_view(scores, depth).mean(axis=1)
            self.recent_ = scores[-depth:].copy()
            scores = scores[depth:] - levels[:-1]
        else:
            self.recent_ = np.zeros(1)
        self.memory_ = scores[-memory:].copy()
        self.rows_ = 0
        self._refit()
        return self.recent_.mean() + self.cut_

    def _refit(self) -> None:
        """Cut and tail of what is remembered, relative to the level."""
        start = np.quantile(self.memory_, 1 - self.tail)
        excess = self.memory_[self.memory_ > start] - start
        if len(excess) < MIN_EXCEEDANCES:  # ties: no tail to speak of; the old one serves on
            if not hasattr(self, "cut_"):
                raise ValueError(f"SPOT needs {MIN_EXCEEDANCES} different peaks in the tail, got "
                                 f"{len(excess)} from {len(self.memory_)} scores; raise tail")
            return
        shape, scale = fit_pareto(excess)
        ratio = self.alpha_ * len(self.memory_) / len(excess)
        self.cut_ = float(start + pareto_quantile(ratio, shape, scale))
        self.largest_ = float(start + pareto_quantile(ratio / _ABSURD, shape, scale))

    def update(self, score: float) -> bool:
        """Judge one score, then remember it."""
        number(score, "score", most=np.inf)
        level = self.recent_.mean()
        alarm = bool(score > self.value_)
        size = min(score - level, self.largest_)
        if len(self.memory_) < self.memory:
            self.memory_ = np.append(self.memory_, size)
        else:
            self.memory_[self.rows_ % self.memory] = size
        if self.depth:  # a spike may pull the level no further than the cut
            self.recent_[self.rows_ % self.depth] = min(score, self.value_)
        self.rows_ += 1
        if self.rows_ % _REFIT == 0:
            self._refit()
        self.value_ = float(self.recent_.mean() + self.cut_)
        return alarm
