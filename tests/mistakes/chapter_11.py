"""Mistakes that the checks of chapter 11 must tell from an answer."""

import numpy as np

from adlib import metrics
from exercises.chapter_11 import known_this_morning, what_a_list_brings, worth_a_review

# -- 11.1: what a list brings


@what_a_list_brings.mistake("one list for all days")
def _():
    def recovered(y, loss, score, day, n):
        opened = np.argsort(-score)[:n * len(np.unique(day))]
        return (loss * y)[opened].sum() / (loss * y).sum()

    return recovered


@what_a_list_brings.mistake("counts frauds, not their loss")
def _():
    return lambda y, loss, score, day, n: metrics.value_at_capacity(y, score, n, period=day)


@what_a_list_brings.mistake("mean of the daily shares")
def _():
    def recovered(y, loss, score, day, n):
        shares = []
        for today in np.unique(day):
            rows = np.flatnonzero(day == today)
            opened = rows[np.argsort(-score[rows])[:n]]
            shares.append((loss * y)[opened].sum() / max((loss * y)[rows].sum(), 1e-9))
        return np.mean(shares)

    return recovered


@what_a_list_brings.mistake("the loss of normal payments counts, too")
def _():
    def recovered(y, loss, score, day, n):
        return metrics.value_at_capacity(np.ones_like(y), score, n, period=day, value=loss)

    return recovered


# -- 11.2: what is known this morning


@known_this_morning.mistake("all of the past")
def _():
    return lambda day, today, delay, reviewed: day < today


@known_this_morning.mistake("a day too early")
def _():
    return lambda day, today, delay, reviewed: (day <= today - delay) | reviewed


@known_this_morning.mistake("a day too late")
def _():
    return lambda day, today, delay, reviewed: (day < today - delay - 1) | reviewed


@known_this_morning.mistake("forgets the reviews")
def _():
    return lambda day, today, delay, reviewed: day < today - delay


@known_this_morning.mistake("the delay turned round")
def _():
    return lambda day, today, delay, reviewed: (day < today + delay) | reviewed


# -- 11.3: which payments are worth a review


@worth_a_review.mistake("the likeliest frauds")
def _():
    return lambda risk, loss, cost, capacity: np.argsort(-risk)[:capacity]


@worth_a_review.mistake("the largest losses")
def _():
    return lambda risk, loss, cost, capacity: np.argsort(-loss)[:capacity]


@worth_a_review.mistake("fills the day whatever it costs")
def _():
    return lambda risk, loss, cost, capacity: np.argsort(-risk * loss)[:capacity]


@worth_a_review.mistake("opens all that pays, beyond the capacity")
def _():
    return lambda risk, loss, cost, capacity: np.flatnonzero(risk * loss > cost)
