"""Histogram-based outlier score (Goldstein and Dengel, 2012): a detector from outside adlib."""

import numpy as np

from adlib import Detector


class Histogram(Detector):
    """Sum over the columns of how rare a value there is: log of the width of its bin.

    The bins hold equally many training rows, so a wide one is thinly filled; beyond the outermost
    the distance counts. Columns are judged one by one: an unusual pair of usual values is missed.
    """

    def __init__(self, *, bins=20, **base):
        super().__init__(**base)
        self.bins = bins

    def _fit(self, X):
        self.edges_ = np.quantile(X, np.linspace(0, 1, self.bins + 1), axis=0)
        self.unit_ = 1e-9 + 1e-3 * (self.edges_[-1] - self.edges_[0])  # of width, per column
        self.rarity_ = np.log1p(np.diff(self.edges_, axis=0) / self.unit_)

    def _score(self, X):
        score = np.zeros(len(X))
        for values, edges, unit, rarity in zip(X.T, self.edges_.T, self.unit_, self.rarity_.T,
                                               strict=True):
            score += rarity[np.searchsorted(edges[1:-1], values, "right")]
            score += np.maximum(edges[0] - values, values - edges[-1]).clip(0) / unit
        return score
