"""Mistakes that the checks of chapter 02 must tell from an answer."""

import numpy as np

from adlib.detectors import RobustZScore, RollingZScore
from exercises.chapter_02 import hold_and_let_go, rolling_scores, smallest_window

# -- 02.1: the ceiling of a score that learns first


@smallest_window.mistake("meets the threshold instead of exceeding it")
def _():
    return 17


@smallest_window.mistake("any large window")
def _():
    return 100


# -- 02.2: the score in five lines


@rolling_scores.mistake("learns before it scores")
def _():
    def scores(values, w):
        z = np.zeros(len(values))
        for t in range(w, len(values)):
            rows = values[t - w + 1 : t + 1]
            z[t] = abs(values[t] - rows.mean()) / rows.std()
        return z

    return scores


@rolling_scores.mistake("compares with the whole series")
def _():
    return lambda values, w: np.abs(values - values.mean()) / values.std() * (
        np.arange(len(values)) >= w)


@rolling_scores.mistake("has a sign")
def _():
    def scores(values, w):
        past = np.lib.stride_tricks.sliding_window_view(values, w)[:-1]
        return np.append(np.zeros(w), (values[w:] - past.mean(axis=1)) / past.std(axis=1))

    return scores


@rolling_scores.mistake("scores the warm-up")
def _():
    def scores(values, w):
        return np.array([abs(v - values[max(t - w, 0):t].mean()) / values[max(t - w, 0):t].std()
                         if t > 2 else 0.0 for t, v in enumerate(values)])

    return scores


@rolling_scores.mistake("divides by the sample sd")
def _():
    def scores(values, w):
        past = np.lib.stride_tricks.sliding_window_view(values, w)[:-1]
        z = np.abs(values[w:] - past.mean(axis=1)) / past.std(axis=1, ddof=1)
        return np.append(np.zeros(w), z)

    return scores


@rolling_scores.mistake("compares with all of the past")
def _():
    def scores(values, w):
        return np.array([abs(v - values[:t].mean()) / values[:t].std() if t >= w else 0.0
                         for t, v in enumerate(values)])

    return scores


# -- 02.3: a gate that holds long enough, and no longer


@hold_and_let_go.mistake("no gate")
def _():
    return RollingZScore(window=60)


@hold_and_let_go.mistake("no release")
def _():
    return RollingZScore(window=60, gate=4.0, release=None)


@hold_and_let_go.mistake("releases in the middle of the burst")
def _():
    return RollingZScore(window=60, gate=4.0, release=50)


@hold_and_let_go.mistake("a gate that keeps normal rows out")
def _():
    return RollingZScore(window=60, gate=2.0, release=120)


@hold_and_let_go.mistake("robust, without a gate")
def _():
    return RobustZScore(window=60)
