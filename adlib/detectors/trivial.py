"""Trivial detectors that stand in every comparison. What does not beat them has learned nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.base import Detector, Scores
from adlib.scaling import center_scale, standardise


class RandomScore(Detector):
    """A uniform random number in [0, 1) per row that depends on the row's values and a seed.

    Hashing the row instead of drawing keeps the contract: scoring twice gives the same numbers, and
    a row's score does not depend on what else is in the batch. Equal rows score alike; only the
    first nine digits of a value count, since the last ones differ between processors.

    Parameters
    ----------
    random_state : int, NumPy generator or None
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    _heeds_moves = False  # chance is the same for all rows
    _per_value = 5e-8

    def __init__(self, *, random_state: Any = None, **base: Any):
        super().__init__(**base)
        self.random_state = random_state

    def _fit(self, X: NDArray[np.float64]) -> None:
        pass  # the seed is all there is

    def _score(self, X: NDArray[np.float64]) -> Scores:
        bits = np.ascontiguousarray(X + 0.0).view(np.uint64)  # + 0.0: -0.0 and 0.0 are equal rows
        bits = (bits + np.uint64(1 << 19)) >> np.uint64(20)
        mixed = np.full(len(X), self.seed_, dtype=np.uint64)
        for column in bits.T:  # the finaliser of splitmix64 (Steele, Lea and Flood 2014)
            mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
        return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


class MaxAbsZ(Detector):
    """Largest ``|z|`` over the features against mean and standard deviation of the training rows.

    `contributions` are the ``|z|`` of each feature: the score is their maximum, not their sum.

    Parameters
    ----------
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    _per_value = 5e-8

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.center_, self.scale_ = center_scale(X)

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.abs(standardise(X, self.center_, self.scale_))

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).max(axis=1)


class MovingDeviation(Detector):
    """Distance of the last row of a window from the window's mean: no history is learned.

    In standard deviations of the training rows, largest over the features.

    Parameters
    ----------
    window : int
        Rows to average, the judged one included.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    _per_value = 5e-8

    def __init__(self, *, window: int = 8, **base: Any):
        super().__init__(window=window, **base)

    def _fit(self, X: NDArray[np.float64]) -> None:
        _, scale = center_scale(X)
        self.scale_ = scale[-self.n_features_in_:]

    def _score(self, X: NDArray[np.float64]) -> Scores:
        rows = X.reshape(len(X), self.window_, -1)  # (n, window, features)
        return np.abs(standardise(rows[:, -1], rows.mean(axis=1), self.scale_)).max(axis=1)


class FirstDifference(Detector):
    """Size of the step from the previous row, in standard deviations of the training steps.

    The one-liner that solves many published time-series benchmarks (Wu and Keogh 2023).

    Parameters
    ----------
    window : int
        Step length plus one: 2 compares with the row before.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    _per_value = 5e-8

    def __init__(self, *, window: int = 2, **base: Any):
        super().__init__(window=window, **base)

    def check_params(self) -> None:
        super().check_params()
        if self.window == 1:
            raise ValueError(f"window must be at least 2 to have a step, got {self.window}")

    def _steps(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X[:, -self.n_features_in_:] - X[:, :self.n_features_in_]

    def _fit(self, X: NDArray[np.float64]) -> None:
        _, self.scale_ = center_scale(self._steps(X))

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return np.abs(standardise(self._steps(X), 0.0, self.scale_)).max(axis=1)


class SquaredZ(MaxAbsZ):
    """Mean of z² over the features: the energy of a row.

    Against mean and standard deviation of the training rows. With ``smoothing="auto"``, as it
    stands in comparisons of series, it is what a PCA of windows often amounts to, and what a score
    of windows or a smoothed one has to beat. `contributions` are the parts of the mean.

    Parameters
    ----------
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return super()._contributions(X) ** 2 / X.shape[1]

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).sum(axis=1)


class SquaredDifference(FirstDifference):
    """Mean over the features of the squared step from the previous row.

    In variances of the training steps. On 25 univariate series of TSB-AD the mean VUS-PR is .17 as
    it is, .61 with ``smoothing="auto"``, as it stands in comparisons of series, and .80 in
    hindsight: more than any of 32 published methods, some of which look ahead as well.

    Parameters
    ----------
    window : int
        Step length plus one: 2 compares with the row before.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return standardise(self._steps(X), 0.0, self.scale_) ** 2 / self.n_features_in_

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._contributions(X).sum(axis=1)
