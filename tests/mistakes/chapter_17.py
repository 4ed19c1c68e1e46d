"""Mistakes that the checks of chapter 17 must tell from an answer."""

import numpy as np

from exercises.chapter_17 import sets_needed, skill_above_chance, split

# -- 17.1: three parts that no window joins


@split.mistake("no gap")
def _():
    def parts(n, window):
        return np.split(np.arange(n), [int(0.32 * n), int(0.4 * n)])

    return parts


@split.mistake("shuffled")
def _():
    def parts(n, window):
        return np.split(np.random.default_rng(0).permutation(n), [int(0.32 * n), int(0.4 * n)])

    return parts


@split.mistake("a gap before the test only")
def _():
    def parts(n, window):
        rows = np.arange(n)
        return rows[: int(0.32 * n)], rows[int(0.32 * n) : int(0.4 * n)], \
            rows[int(0.4 * n) + window - 1 :]

    return parts


@split.mistake("a gap that is one row short")
def _():
    def parts(n, window):
        rows, gap = np.arange(n), max(window - 2, 0)
        return rows[: int(0.32 * n)], rows[int(0.32 * n) + gap : int(0.4 * n)], \
            rows[int(0.4 * n) + gap :]

    return parts


@split.mistake("a gap of two hundred rows")
def _():
    def parts(n, window):
        rows = np.arange(n)
        return rows[: int(0.32 * n)], rows[int(0.32 * n) + window : int(0.4 * n)], \
            rows[int(0.4 * n) + 200 :]

    return parts


# -- 17.2: how much of a number is chance


@skill_above_chance.mistake("the value itself")
def _():
    return lambda metric, y, score, rng: metric(y, score)


@skill_above_chance.mistake("takes one half for chance")
def _():
    return lambda metric, y, score, rng: (metric(y, score) - 0.5) / 0.5


@skill_above_chance.mistake("takes the share of anomalies for chance")
def _():
    return lambda metric, y, score, rng: (metric(y, score) - y.mean()) / (1 - y.mean())


@skill_above_chance.mistake("not scaled to 1")
def _():
    return lambda metric, y, score, rng: metric(y, score) - np.mean(
        [metric(y, rng.permutation(score)) for _ in range(20)])


@skill_above_chance.mistake("shuffles the caller's scores")
def _():
    def above_chance(metric, y, score, rng):
        value = metric(y, score)
        rng.shuffle(score)
        return (value - metric(y, score)) / (1 - metric(y, score))

    return above_chance


# -- 17.3: how many data sets it takes


@sets_needed.mistake("one pair, no correction")
def _():
    return 6


@sets_needed.mistake("ten tests in place of 45")
def _():
    return 9


@sets_needed.mistake("one-sided")
def _():
    return 10


@sets_needed.mistake("plenty")
def _():
    return 30
