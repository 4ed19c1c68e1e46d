"""Mistakes that the checks of chapter 04 must tell from an answer."""

import numpy as np

from exercises.chapter_04 import committee, rate_of_each, surprises

# -- 04.1: one scale for all


@surprises.mistake("does not count the row itself")
def _():
    def surprise(held_out, score):
        with np.errstate(divide="ignore"):
            return -np.log((held_out >= score[:, None]).mean(axis=1))

    return surprise


@surprises.mistake("leaves out the ties")
def _():
    return lambda held_out, score: -np.log(
        (1 + (held_out > score[:, None]).sum(axis=1)) / (1 + len(held_out)))


@surprises.mistake("gives p")
def _():
    return lambda held_out, score: (1 + (held_out >= score[:, None]).sum(axis=1)) / (
        1 + len(held_out))


@surprises.mistake("gives 1 - p")
def _():
    return lambda held_out, score: 1 - (1 + (held_out >= score[:, None]).sum(axis=1)) / (
        1 + len(held_out))


@surprises.mistake("is a distance")
def _():
    return lambda held_out, score: score - held_out.mean()


# -- 04.2: one score from many


@committee.mistake("mean of raw scores")
def _():
    return lambda held_out, scores, weights: scores @ weights / weights.sum()


@committee.mistake("standardised by the batch under judgement")
def _():
    def combine(held_out, scores, weights):
        z = (scores - scores.mean(axis=0)) / np.maximum(scores.std(axis=0), 1e-12)
        return z @ weights

    return combine


@committee.mistake("ranks within the batch")
def _():
    return lambda held_out, scores, weights: scores.argsort(axis=0).argsort(axis=0) @ weights


@committee.mistake("no weights")
def _():
    return lambda held_out, scores, weights: (
        (held_out < scores[:, None]).mean(axis=1).mean(axis=1))


# -- 04.3: the rate at which each may vote


@rate_of_each.mistake("the budget of the vote for each")
def _():
    return 0.05


@rate_of_each.mistake("both of two")
def _():
    return 0.05**0.5


@rate_of_each.mistake("the budget shared out")
def _():
    return 0.05 / 3
