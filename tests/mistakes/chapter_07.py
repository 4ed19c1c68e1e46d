"""Mistakes that the checks of chapter 07 must tell from an answer."""

import numpy as np

from exercises.chapter_07 import (
    a_rate_that_can_be_afforded,
    between_chance_and_perfect,
    flags_that_know_nothing,
)


@flags_that_know_nothing.mistake("flag every row")
def _():
    return lambda n: np.ones(n, dtype=int)


@flags_that_know_nothing.mistake("flag nothing")
def _():
    return lambda n: np.zeros(n, dtype=int)


@flags_that_know_nothing.mistake("a flag too seldom to hit each event")
def _():
    return lambda n: np.arange(n) % 400 == 0


@flags_that_know_nothing.mistake("one row in three, at random")
def _():
    return lambda n: np.random.default_rng(0).random(n) < 1 / 3


@flags_that_know_nothing.mistake("flags for one length only")
def _():
    return lambda n: (np.arange(4_000) % 100 == 0).astype(int)


@between_chance_and_perfect.mistake("the value as it is")
def _():
    return lambda metric, y, score: metric(y, score)


@between_chance_and_perfect.mistake("the share of anomalies as the floor of everything")
def _():
    return lambda metric, y, score: (metric(y, score) - np.mean(y)) / (1 - np.mean(y))


@between_chance_and_perfect.mistake("the difference, and not its share of what is left")
def _():
    rng = np.random.default_rng(0)
    return lambda metric, y, score: metric(y, score) - np.mean(
        [metric(y, rng.permutation(score)) for _ in range(50)])


@between_chance_and_perfect.mistake("shuffled labels: the events are gone")
def _():
    def above_chance(metric, y, score):
        rng = np.random.default_rng(0)
        floor = np.mean([metric(rng.permutation(y), score) for _ in range(50)])
        return (metric(y, score) - floor) / (1 - floor)

    return above_chance


@between_chance_and_perfect.mistake("shuffling the caller's scores")
def _():
    def above_chance(metric, y, score):
        value = metric(y, score)
        np.random.default_rng(0).shuffle(score)
        floor = metric(y, score)
        return (value - floor) / (1 - floor)

    return above_chance


@a_rate_that_can_be_afforded.mistake("one minus the precision: rates of different rows")
def _():
    return lambda recall, share, precision: 1 - precision


@a_rate_that_can_be_afforded.mistake("one per cent, as always")
def _():
    return lambda recall, share, precision: 0.01


@a_rate_that_can_be_afforded.mistake("as if every anomaly were found")
def _():
    return lambda recall, share, precision: share * (1 - precision) / precision / (1 - share)


@a_rate_that_can_be_afforded.mistake("a share of all rows, not of the normal ones")
def _():
    return lambda recall, share, precision: recall * share * (1 - precision) / precision


@a_rate_that_can_be_afforded.mistake("as many wrong flags as right ones, whatever the precision")
def _():
    return lambda recall, share, precision: recall * share / (1 - share)


@a_rate_that_can_be_afforded.mistake("the wrong ones among the flags, not beside the right ones")
def _():
    return lambda recall, share, precision: recall * share * (1 - precision) / (1 - share)


@a_rate_that_can_be_afforded.mistake("as if the classes were of one size")
def _():
    return lambda recall, share, precision: min(recall * (1 - precision) / precision, 0.99)
