"""Mistakes that the checks of chapter 14 must tell from an answer."""

import numpy as np

from adlib import metrics
from exercises.chapter_14 import how_many_women, the_alarm_elsewhere, the_best_cut

# -- 14.1: what the alarm means elsewhere


@the_alarm_elsewhere.mistake("that of the study")
def _():
    return lambda y, flag, prevalence: y[flag].mean()


@the_alarm_elsewhere.mistake("the sensitivity")
def _():
    return lambda y, flag, prevalence: flag[y == 1].mean()


@the_alarm_elsewhere.mistake("scaled by the prevalences")
def _():
    return lambda y, flag, prevalence: min(1.0, y[flag].mean() * prevalence / y.mean())


@the_alarm_elsewhere.mistake("specificity in place of its complement")
def _():
    def predictive(y, flag, prevalence):
        right = flag[y == 1].mean() * prevalence
        return right / (right + (~flag)[y == 0].mean() * (1 - prevalence))

    return predictive


# -- 14.2: the cut that a threshold risk asks for


@the_best_cut.mistake("at the prevalence of the study")
def _():
    def choose(y, score, t, prevalence):
        return max(np.sort(score), key=lambda c: metrics.net_benefit(y, score > c, t))

    return choose


@the_best_cut.mistake("sensitivity plus specificity, whatever the costs")
def _():
    def choose(y, score, t, prevalence):
        return max(score, key=lambda c: (score[y == 1] > c).mean() - (score[y == 0] > c).mean())

    return choose


@the_best_cut.mistake("the best F1")
def _():
    return lambda y, score, t, prevalence: max(score, key=lambda c: metrics.f1(y, score > c))


@the_best_cut.mistake("a budget of 5 % for everybody")
def _():
    return lambda y, score, t, prevalence: np.quantile(score[y == 0], 0.95)


@the_best_cut.mistake("the threshold risk as a budget")
def _():
    return lambda y, score, t, prevalence: np.quantile(score[y == 0], 1 - t)


def _of_rates(benefit):
    def choose(y, score, t, prevalence):
        return max(score, key=lambda c: benefit((score[y == 1] > c).mean(),
                                                (score[y == 0] > c).mean(), t, prevalence))

    return choose


@the_best_cut.mistake("right only where few are ill")
def _():
    return _of_rates(lambda found, wrong, t, share: found * share - wrong * t / (1 - t))


@the_best_cut.mistake("right only at small threshold risks")
def _():
    return _of_rates(lambda found, wrong, t, share: found * share - wrong * (1 - share) * t)


# -- 14.3: how many women


def _women(z, share):
    def women(sensitivity, half_width, prevalence):
        return z**2 * sensitivity * (1 - sensitivity) / half_width**2 / share(prevalence)

    return women


@how_many_women.mistake("the ill alone")
def _():
    return _women(1.96, lambda prevalence: 1)


@how_many_women.mistake("one standard error for the half-width")
def _():
    return _women(1.0, lambda prevalence: prevalence)


@how_many_women.mistake("as if healthy women said something about the sensitivity")
def _():
    return _women(1.96, lambda prevalence: 1 - prevalence)


@how_many_women.mistake("the worst case of one half")
def _():
    return lambda sensitivity, half_width, prevalence: (0.98 / half_width) ** 2 / prevalence
