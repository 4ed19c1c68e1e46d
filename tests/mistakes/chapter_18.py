"""Mistakes that the checks of chapter 18 must tell from an answer."""

import numpy as np
from scipy.spatial.distance import cdist

from exercises.chapter_18 import by_failure, local_score, random_cuts

# -- 18.1: the simplified local outlier factor


def kth(rows, X, k):
    """Distance to the k-th nearest of X, and which the k nearest are."""
    distance = cdist(rows, X)
    return np.sort(distance, axis=1)[:, k - 1], np.argsort(distance, axis=1)[:, :k]


@local_score.mistake("counts a training row as its own neighbour")
def _():
    def scores(X, rows, k):
        inside = kth(X, X, k)[0]  # the first of the k is the row itself
        own, near = kth(rows, X, k)
        return (own[:, None] / inside[near]).mean(axis=1)

    return scores


@local_score.mistake("no comparison with the neighbours: KNN")
def _():
    return lambda X, rows, k: kth(rows, X, k)[0]


@local_score.mistake("upside down")
def _():
    def scores(X, rows, k):
        own, near = kth(rows, X, k)
        return (kth(X, X, k + 1)[0][near] / own[:, None]).mean(axis=1)

    return scores


@local_score.mistake("ratio of means instead of mean of ratios")
def _():
    def scores(X, rows, k):
        own, near = kth(rows, X, k)
        return own / kth(X, X, k + 1)[0][near].mean(axis=1)

    return scores


@local_score.mistake("compares with all training rows")
def _():
    def scores(X, rows, k):
        return kth(rows, X, k)[0] / kth(X, X, k + 1)[0].mean()

    return scores


# -- 18.2: random cuts until a value is alone


@random_cuts.mistake("cuts in the middle")
def _():
    def cuts(values, x, rng):
        n = 0
        while len(values) > 1:
            place = (values.min() + values.max()) / 2
            values = values[(values < place) == (x < place)]
            n += 1
        return n

    return cuts


@random_cuts.mistake("cuts at a random value, not at a random place")
def _():
    def cuts(values, x, rng):
        n = 0
        while len(values) > 1:
            place = rng.choice(np.sort(values)[1:])
            values = values[(values < place) == (x < place)]
            n += 1
        return n

    return cuts


@random_cuts.mistake("counts the cut that is not needed")
def _():
    def cuts(values, x, rng):
        n = 1
        while len(values) > 1:
            place = rng.uniform(values.min(), values.max())
            values = values[(values < place) == (x < place)]
            n += 1
        return n

    return cuts


@random_cuts.mistake("never narrows the range")
def _():
    def cuts(values, x, rng):
        low, high, n = values.min(), values.max(), 0
        while len(values) > 1:
            place = rng.uniform(low, high)
            values = values[(values < place) == (x < place)]
            n += 1
        return n

    return cuts


# -- 18.3: a detector for a data set, by its failure


@by_failure.mistake("the same for all")
def _():
    return dict.fromkeys(("pumps", "cards", "oven", "turbine"), "KNN")


@by_failure.mistake("one distance for a steady and a restless state")
def _():
    return {"pumps": "KNN", "cards": "ECOD", "oven": "MCD", "turbine": "LOF"}


@by_failure.mistake("the covariance of dirty training rows")
def _():
    return {"pumps": "LOF", "cards": "ECOD", "oven": "Gaussian", "turbine": "KNN"}


@by_failure.mistake("an ellipse around a ring")
def _():
    return {"pumps": "LOF", "cards": "ECOD", "oven": "MCD", "turbine": "Gaussian"}


@by_failure.mistake("columns one by one where they go together")
def _():
    return {"pumps": "LOF", "cards": "isolation forest", "oven": "ECOD", "turbine": "KNN"}
