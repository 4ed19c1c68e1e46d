"""Is the stream still what was learned? A bet against it that nobody wins in the long run."""

from bisect import bisect_left, bisect_right, insort
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from adlib.arguments import floats, number, whole
from adlib.thresholds.rules import as_scores

_BETS = (-1.0, 0.0, 1.0)  # on large p-values, on nothing, on small ones
_JUMP = 0.01  # share of each purse that changes hands at every row


class ExchangeabilityTest(BaseEstimator):
    """Evidence, row by row, that scores are not exchangeable any more: a conformal martingale.

    Each score is whitened by an autoregression, ranked among all before it (a bag that grows
    for ever) with ties broken at random, and the rank bet on by the "Simple Jumper" (Vovk 2021;
    Vovk, Gammerman and Shafer 2022). While the residuals are exchangeable the ranks are independent
    and uniform, the wealth is a martingale that starts at 1, and the chance that it *ever* reaches
    C is at most 1 / C (Ville 1939), however long one watches.

    The autoregression goes on learning from every row after it was judged: a fixed one leaves
    dependence of the size of its error, which is found in the end although nothing has changed.

    A rejection means dependence, drift or anomalies, not one of them. With ``order`` the promise
    is as good as the autoregression describes the stream. A lost purse has to be won back, so a
    change after a long quiet time is found late. Keeps every row.

    Parameters
    ----------
    order : int
        Preceding scores in the autoregression, >= 0; 0: rows are exchangeable as they are.
    random_state : int
        Breaks ties.

    Attributes
    ----------
    log_wealth_ : float
        Natural logarithm of the martingale.
    p_ : float
        Smoothed p-value of the last score: small where it is large.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> test = ExchangeabilityTest().fit(rng.normal(size=400))
    >>> bool(test.process(rng.normal(size=400)).max() < np.log(100))
    True
    >>> bool(test.process(rng.normal(size=400) + 1.5).max() > np.log(100))  # the level rose
    True
    """

    def __init__(self, *, order: int = 0, random_state: int = 0):
        self.order = order
        self.random_state = random_state

    def fit(self, scores: ArrayLike) -> Self:
        """Start the autoregression on normal scores, and open the bag with what follows.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            Scores of held-out normal rows, in time order. With ``order``, the first half only
            serves to learn the autoregression.

        Raises
        ------
        ValueError
            When the scores are too few for ``order``, not finite, or beyond 1e100.
        """
        scores = floats(scores, "scores", "(n_rows,)", below=1e100)  # squares of more overflow
        for name in ("order", "random_state"):
            whole(getattr(self, name), name, 0)
        half = len(scores) // 2 if self.order else 0
        if half < 10 * self.order:
            raise ValueError(f"order={self.order} needs at least {20 * self.order} scores, got "
                             f"{len(scores)}")
        self.recent_ = np.append(scores[:self.order], 1.0)  # oldest first, then the constant
        self.weights_ = np.zeros(self.order + 1)
        # recursive least squares; the penalty that starts it is forgotten after a few rows
        size = float(np.mean(scores[:half] ** 2)) if half else 1.0
        self.spread_ = np.diag([*[1e6 / max(size, 1e-300)] * self.order, 1e6])
        residuals = [self._whiten(score) for score in scores[self.order:].tolist()]
        self.bag_ = sorted(residuals[max(half - self.order, 0):])
        self.rows_, self.p_, self.log_wealth_ = 0, 1.0, 0.0
        self.purses_ = [1 / len(_BETS)] * len(_BETS)
        return self

    def update(self, score: float) -> float:
        """Bet on one score; returns the logarithm of the wealth after it.

        Raises
        ------
        ValueError
            When the score is not finite or beyond 1e100.
        """
        size = self._whiten(number(score, "score", above=-1e100, below=1e100))
        above = len(self.bag_) - bisect_right(self.bag_, size)
        tied = len(self.bag_) - above - bisect_left(self.bag_, size) + 1  # itself included
        self.p_ = (above + self._uniform() * tied) / (len(self.bag_) + 1)
        insort(self.bag_, size)
        self.rows_ += 1
        shared = _JUMP / len(_BETS)
        purses = [(1 - _JUMP) * purse + shared for purse in self.purses_]  # they sum to 1
        purses = [purse * (1 - bet * (self.p_ - 0.5))
                  for purse, bet in zip(purses, _BETS, strict=True)]
        growth = sum(purses)
        self.purses_ = [purse / growth for purse in purses]
        self.log_wealth_ += float(np.log(growth))
        return self.log_wealth_

    def process(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Update with each score in order; log wealth after each, shape (n_rows,)."""
        return np.array([self.update(score) for score in as_scores(scores).tolist()])

    def _whiten(self, score: float) -> float:
        """What the scores before do not explain; then learn from it."""
        if not self.order:
            return score
        residual = float(score - self.recent_ @ self.weights_)
        gain = self.spread_ @ self.recent_
        gain /= 1 + self.recent_ @ gain
        self.weights_ = self.weights_ + gain * residual
        self.spread_ = self.spread_ - np.outer(gain, self.recent_ @ self.spread_)
        self.recent_ = np.concatenate([self.recent_[1:-1], [score, 1.0]])
        return residual

    def _uniform(self) -> float:
        """A uniform number in [0, 1) for this row: the state is its seed and its count."""
        mask = 2**64 - 1
        seed = int(self.random_state)  # of no fixed width
        x = (seed * 0xD1342543DE82EF95 + (self.rows_ + 1) * 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask  # splitmix64 (Steele et al. 2014)
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return ((x ^ (x >> 31)) >> 11) * 2.0**-53

