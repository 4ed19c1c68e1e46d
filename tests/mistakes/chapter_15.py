"""Mistakes that the checks of chapter 15 must tell from an answer."""

import numpy as np
from sklearn.base import clone

from adlib import Detector
from adlib.detectors import MaxAbsZ
from exercises.chapter_15 import a_second_fit, a_trailing_mean, every_reading_counts

# -- 15.1: a detector that keeps its promises


class _Sum(Detector):
    def _fit(self, X):
        self.mean_, spread = X.mean(axis=0), X.std(axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0)

    def _score(self, X):
        return (((X - self.mean_) / self.scale_) ** 2).sum(axis=1)


@every_reading_counts.mistake("scales by the batch")
def _():
    class Batch(_Sum):
        def _score(self, X):
            return (((X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)) ** 2).sum(axis=1)

    return Batch


@every_reading_counts.mistake("lower is more anomalous")
def _():
    class Negative(_Sum):
        def _score(self, X):
            return -super()._score(X)

    return Negative


@every_reading_counts.mistake("changes the caller's rows")
def _():
    class InPlace(_Sum):
        def _fit(self, X):
            super()._fit(X)
            X -= self.mean_

    return InPlace


@every_reading_counts.mistake("divides by zero where a column is constant")
def _():
    class Constant(_Sum):
        def _fit(self, X):
            self.mean_, self.scale_ = X.mean(axis=0), X.std(axis=0)

        def _score(self, X):
            with np.errstate(all="ignore"):
                return super()._score(X)

    return Constant


@every_reading_counts.mistake("forgets the scale")
def _():
    class Unscaled(_Sum):
        def _score(self, X):
            return ((X - self.mean_) ** 2).sum(axis=1)

    return Unscaled


@every_reading_counts.mistake("the largest only")
def _():
    return MaxAbsZ


# -- 15.2: smoothing that a stream can have


@a_trailing_mean.mistake("centred")
def _():
    return lambda score, n: np.convolve(np.pad(score, n // 2, mode="edge"), np.ones(n) / n,
                                        mode="valid")


@a_trailing_mean.mistake("zeros before the first row")
def _():
    return lambda score, n: np.convolve(score, np.ones(n) / n)[: len(score)]


@a_trailing_mean.mistake("leaves out the row itself")
def _():
    return lambda score, n: np.array([score[max(0, t - n) : t].mean() if t else score[0]
                                      for t in range(len(score))])


@a_trailing_mean.mistake("drops the first rows")
def _():
    return lambda score, n: np.convolve(score, np.ones(n) / n, mode="valid")


@a_trailing_mean.mistake("scaled by the whole series")
def _():
    def smooth(score, n):
        mean = np.array([score[max(0, t - n + 1) : t + 1].mean() for t in range(len(score))])
        return mean / score.max()

    return smooth


# -- 15.3: a history that is not clean


@a_second_fit.mistake("fits once")
def _():
    return lambda detector, X, share: clone(detector).fit(X)


@a_second_fit.mistake("keeps the highest")
def _():
    def trimmed(detector, X, share):
        score = clone(detector).fit(X).anomaly_score(X)
        return clone(detector).fit(X[score > np.quantile(score, share)])

    return trimmed


@a_second_fit.mistake("drops rows at random")
def _():
    def trimmed(detector, X, share):
        keep = np.random.default_rng(0).random(len(X)) > share
        return clone(detector).fit(X[keep])

    return trimmed


@a_second_fit.mistake("fits the detector that was handed in")
def _():
    def trimmed(detector, X, share):
        score = detector.fit(X).anomaly_score(X)
        return clone(detector).fit(X[score <= np.quantile(score, 1 - share)])

    return trimmed
