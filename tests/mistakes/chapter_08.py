"""Mistakes that the checks of chapter 08 must tell from an answer."""

import numpy as np

from exercises.chapter_08 import (
    a_score_that_knows_the_hour,
    a_veto_before_the_refit,
    patience_between_burst_and_drift,
)


@patience_between_burst_and_drift.mistake("the default, about as long as the burst")
def _():
    return 50


@patience_between_burst_and_drift.mistake("half the burst")
def _():
    return 20


@patience_between_burst_and_drift.mistake("as patient as the reference allows")
def _():
    return 250


@a_veto_before_the_refit.mistake("standard deviations, which spikes inflate")
def _():
    def is_new_normal(rows, train):
        ratio = rows.std(axis=0) / train.std(axis=0)
        return bool(np.all((ratio > 0.5) & (ratio < 2)))

    return is_new_normal


@a_veto_before_the_refit.mistake("one spread for all channels")
def _():
    def is_new_normal(rows, train):
        def spread(x):
            return np.median(np.abs(x - np.median(x, axis=0)))

        return bool(0.5 < spread(rows) / spread(train) < 2)

    return is_new_normal


@a_veto_before_the_refit.mistake("only an upper bound")
def _():
    def is_new_normal(rows, train):
        def spread(x):
            return np.median(np.abs(x - np.median(x, axis=0)), axis=0)

        return bool(np.all(spread(rows) < 2 * spread(train)))

    return is_new_normal


@a_veto_before_the_refit.mistake("the distance that called for the refit")
def _():
    def is_new_normal(rows, train):
        return bool(np.all(np.abs(rows.mean(axis=0) - train.mean(axis=0)) < train.std(axis=0)))

    return is_new_normal


def _of_spreads(within):
    """A verdict from the ratio of robust spreads, for each channel."""
    def is_new_normal(rows, train):
        def spread(x):
            return np.median(np.abs(x - np.median(x, axis=0)), axis=0)

        return bool(np.all(within(spread(rows) / spread(train))))

    return is_new_normal


@a_veto_before_the_refit.mistake("a factor of two in the variance")
def _():
    return _of_spreads(lambda ratio: (ratio**2 > 0.5) & (ratio**2 < 2))


@a_veto_before_the_refit.mistake("a factor of four")
def _():
    return _of_spreads(lambda ratio: (ratio > 0.25) & (ratio < 4))


@a_veto_before_the_refit.mistake("a distance of one from the ratio of one, below as above")
def _():
    return _of_spreads(lambda ratio: (ratio > 0) & (np.abs(ratio - 1) < 1))


@a_veto_before_the_refit.mistake("always refit")
def _():
    return lambda rows, train: True


@a_score_that_knows_the_hour.mistake("one mean and one spread for all hours")
def _():
    return lambda history, later, period: np.abs(later - history.mean()) / history.std()


@a_score_that_knows_the_hour.mistake("the mean of the hour, the spread of all hours")
def _():
    def profile(history, later, period):
        n = len(history)
        hour, hour_later = np.arange(n) % period, (n + np.arange(len(later))) % period
        mean = np.array([history[hour == h].mean() for h in range(period)])
        return np.abs(later - mean[hour_later])

    return profile


@a_score_that_knows_the_hour.mistake("the clock set back where the later rows begin")
def _():
    def profile(history, later, period):
        hour, hour_later = (np.arange(len(x)) % period for x in (history, later))
        mean = np.array([history[hour == h].mean() for h in range(period)])
        sd = np.array([history[hour == h].std(ddof=1) for h in range(period)])
        return np.abs(later - mean[hour_later]) / sd[hour_later]

    return profile


@a_score_that_knows_the_hour.mistake("no absolute value")
def _():
    return lambda history, later, period: history.mean() - later


@a_score_that_knows_the_hour.mistake("how far above the hour's mean, and nothing below it")
def _():
    return _by_hour(lambda distance, sd: distance / sd)


@a_score_that_knows_the_hour.mistake("divided by the variance of the hour")
def _():
    return _by_hour(lambda distance, sd: np.abs(distance) / sd**2)


def _by_hour(score):
    """A profile whose last line is `score`."""
    def profile(history, later, period):
        n = len(history)
        hour, hour_later = np.arange(n) % period, (n + np.arange(len(later))) % period
        mean = np.array([history[hour == h].mean() for h in range(period)])
        sd = np.array([history[hour == h].std(ddof=1) for h in range(period)])
        return score(later - mean[hour_later], sd[hour_later])

    return profile
