"""The one exercise of notebook 00: it shows how exercises work."""

import numpy as np

from exercises import exercise, require


@exercise("00.1")
def first_threshold(answer):
    """A threshold that normal rows exceed as often as was agreed."""
    score = np.abs(np.random.default_rng(0).normal(size=100_000))
    share = np.mean(score > answer)
    require(0.045 < share < 0.055,
            f"{share:.1%} of 100,000 normal rows score above it; agreed were 5 %.")
    return f"{share:.1%} of 100,000 normal rows score above it, as agreed."


@first_threshold.solution
def _():
    normal_scores = np.abs(np.random.default_rng(1).normal(size=10_000))
    return np.quantile(normal_scores, 0.95)
