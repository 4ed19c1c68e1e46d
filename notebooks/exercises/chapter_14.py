"""Exercises of notebook 14: medical."""

from numbers import Real

import numpy as np
from scipy.stats import norm

from adlib import metrics
from exercises import exercise, require


def _study(seed, n_well=300, n_ill=170, gap=1.8):
    """Labels and scores of a study in which far more than a cohort's share are ill."""
    rng = np.random.default_rng([140, seed])
    y = rng.permutation(np.r_[np.zeros(n_well, int), np.ones(n_ill, int)])
    return y, rng.normal(size=y.size) + gap * y


# -- 14.1: what the alarm means elsewhere


@exercise("14.1")
def the_alarm_elsewhere(predictive):
    """Share of right alarms in a cohort, from a study of another prevalence."""
    require(callable(predictive), "the answer is a function: answer = predictive")
    for seed, cut, prevalence in ((0, 1.5, 0.05), (1, 0.5, 0.005), (2, 1.0, 0.6)):
        y, score = _study(seed)
        flag = score > cut
        got = predictive(y.copy(), flag.copy(), prevalence)
        require(isinstance(got, Real) and 0 <= got <= 1,
                f"a share between 0 and 1 is asked for, got {got!r}")
        rng = np.random.default_rng([141, seed])
        n_ill = round(200_000 * prevalence)  # a cohort, drawn from the rows of the study
        alarms = [flag[rng.choice(np.flatnonzero(y == label), n)].sum()
                  for label, n in ((1, n_ill), (0, 200_000 - n_ill))]
        counted = alarms[0] / sum(alarms)
        said = (f"in a cohort of which {prevalence:.1%} are ill, {counted:.1%} of the alarms were "
                f"right when they were counted")
        require(abs(got - counted) < 0.015, f"{said}; you say {got:.1%}. In the study itself it "
                f"is {y[flag].mean():.1%}")
        if seed == 0:
            told = f"{said[0].upper()}{said[1:]}; in the study it is {y[flag].mean():.1%}."
    return told


@the_alarm_elsewhere.solution
def _():
    def predictive(y, flag, prevalence):
        sensitivity, false_rate = flag[y == 1].mean(), flag[y == 0].mean()
        right = sensitivity * prevalence
        return right / (right + false_rate * (1 - prevalence))

    return predictive


# -- 14.2: the cut that a threshold risk asks for


@exercise("14.2")
def the_best_cut(choose):
    """The cut of highest net benefit for people who act from a risk on."""
    require(callable(choose), "the answer is a function: answer = choose")
    told = []
    for seed, t, prevalence in ((3, 0.02, 0.05), (4, 0.1, 0.05), (5, 0.4, 0.05), (6, 0.1, 0.005),
                                (8, 0.7, 0.5)):  # the last one: neither of them is small
        y, score = _study(seed)
        cut = choose(y.copy(), score.copy(), t, prevalence)
        require(isinstance(cut, Real) and not np.isnan(cut),
                f"one number is asked for, got {cut!r}")

        def benefit(c, y=y, score=score, t=t, prevalence=prevalence):
            return 1000 * metrics.net_benefit(y, score > c, t, prevalence=prevalence)

        best = max(benefit(c) for c in np.r_[-np.inf, score, np.inf])
        mine = benefit(cut)
        said = (f"{prevalence:.1%} ill, biopsy from a risk of {t:.0%} on: your cut flags "
                f"{(score > cut)[y == 0].mean():.0%} of the well, worth {mine:.1f} per 1000")
        require(mine >= best - 20 * prevalence, f"{said}; the best cut is worth {best:.1f}")
        told.append(f"{(score > cut)[y == 0].mean():.0%} at {t:.0%}")
    return (f"At a prevalence of 5 % the best cut flags of the well: {', '.join(told[:3])}. A "
            "budget is a statement about costs.")


@the_best_cut.solution
def _():
    def choose(y, score, t, prevalence):
        cuts = np.r_[-np.inf, np.sort(score)]
        ill = np.array([(score[y == 1] > c).mean() for c in cuts])
        well = np.array([(score[y == 0] > c).mean() for c in cuts])
        return cuts[(ill * prevalence - well * (1 - prevalence) * t / (1 - t)).argmax()]

    return choose


# -- 14.3: how many women


@exercise("14.3")
def how_many_women(women):
    """How many consecutive women a study of a sensitivity has to see."""
    require(callable(women), "the answer is a function: answer = women")
    told = ""
    for sensitivity, half_width, prevalence in ((0.8, 0.05, 0.05), (0.9, 0.03, 0.3),
                                                (0.6, 0.1, 0.01)):
        n = women(sensitivity, half_width, prevalence)
        require(isinstance(n, Real) and np.isfinite(n) and n >= 1,
                f"a number of women is asked for, got {n!r}")
        n = int(np.ceil(n))
        rng = np.random.default_rng(143)
        ill = np.maximum(rng.binomial(n, prevalence, 4000), 1)
        estimate = rng.binomial(ill, sensitivity) / ill
        low, high = np.quantile(estimate, [0.025, 0.975])
        got = (high - low) / 2
        said = (f"with {n:,} women of whom {prevalence:.0%} are ill, 95 % of studies find a "
                f"sensitivity between {low:.2f} and {high:.2f}")
        require(got < 1.12 * half_width, f"{said}: that is ± {got:.3f}, and ± {half_width} was "
                "asked for")
        require(got > 0.88 * half_width, f"{said}: that is ± {got:.3f}, narrower than the "
                f"± {half_width} that was asked for, and more expensive")
        told = told or f"{said[0].upper()}{said[1:]}, the truth being {sensitivity}."
    return told


@how_many_women.solution
def _():
    def women(sensitivity, half_width, prevalence):
        ill = norm.isf(0.025) ** 2 * sensitivity * (1 - sensitivity) / half_width**2
        return np.ceil(ill / prevalence)

    return women
