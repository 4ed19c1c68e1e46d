"""Mistakes that the checks of chapter 03 must tell from an answer."""

import numpy as np

from adlib.training import seeded
from exercises.chapter_03 import fitted_cut, linear_rival, row_scores

# -- 03.1: what a linear autoencoder can do at best


@linear_rival.mistake("does not centre")
def _():
    def rebuild(train, X, k):
        axes = np.linalg.svd(train, full_matrices=False)[2][:k]
        return X @ axes.T @ axes

    return rebuild


@linear_rival.mistake("learns from the rows it judges")
def _():
    def rebuild(train, X, k):
        axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2][:k]
        return X.mean(axis=0) + (X - X.mean(axis=0)) @ axes.T @ axes

    return rebuild


@linear_rival.mistake("takes the first k features for the code")
def _():
    def rebuild(train, X, k):
        return np.where(np.arange(X.shape[1]) < k, X, train.mean(axis=0))

    return rebuild


@linear_rival.mistake("copies its input")
def _():
    return lambda train, X, k: X


# -- 03.2: one score per row, the same at every call


@row_scores.mistake("as it stood: dropout on, one number")
def _():
    return lambda net, x: ((net(x) - x) ** 2).mean()


@row_scores.mistake("one number per row, dropout still on")
def _():
    return lambda net, x: ((net(x) - x) ** 2).mean(dim=1)


@row_scores.mistake("a seed in place of evaluation mode")
def _():
    def score(net, x):
        with seeded(0):
            return ((net(x) - x) ** 2).mean(dim=1).detach()

    return score


@row_scores.mistake("one mean for the series, repeated")
def _():
    return lambda net, x: ((net.eval()(x) - x) ** 2).mean().repeat(len(x))


@row_scores.mistake("scaled by the largest error of the batch")
def _():
    def score(net, x):
        error = ((net.eval()(x) - x) ** 2).mean(dim=1).detach()
        return error / error.max()

    return score


# -- 03.3: a threshold that keeps its promise on new rows


@fitted_cut.mistake("from training errors")
def _():
    def fit_and_cut(detector, X, alpha):
        return np.quantile(detector.fit(X).anomaly_score(X), 1 - alpha)

    return fit_and_cut


@fitted_cut.mistake("held-out rows that were trained on as well")
def _():
    def fit_and_cut(detector, X, alpha):
        return np.quantile(detector.fit(X).anomaly_score(X[100:]), 1 - alpha)

    return fit_and_cut


@fitted_cut.mistake("mean and three standard deviations")
def _():
    def fit_and_cut(detector, X, alpha):
        score = detector.fit(X[:100]).anomaly_score(X[100:])
        return score.mean() + 3 * score.std()

    return fit_and_cut
