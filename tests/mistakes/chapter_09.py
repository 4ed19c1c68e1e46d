"""Mistakes that the checks of chapter 09 must tell from an answer."""

import numpy as np
from scipy.stats import chi2, poisson

from exercises.chapter_09 import (
    a_budget_chosen_before_it_is_judged,
    flags_become_incidents,
    machines_that_are_alike,
    severity_from_a_p_value,
    what_a_history_can_show,
)


@severity_from_a_p_value.mistake("one minus p")
def _():
    return lambda p, alpha: 1 - p


@severity_from_a_p_value.mistake("no end at the top")
def _():
    return lambda p, alpha: 0.7 + 0.2 * np.log10(alpha / p)


@severity_from_a_p_value.mistake("another logarithm")
def _():
    return lambda p, alpha: np.clip(0.7 + 0.2 * np.log(alpha / p), 0, 1)


@severity_from_a_p_value.mistake("a rank in the batch")
def _():
    return lambda p, alpha: 1 - np.argsort(np.argsort(p)) / len(p)


@severity_from_a_p_value.mistake("linear in p between the levels")
def _():
    return lambda p, alpha: np.interp(p, [0, alpha / 10, alpha, 1], [1, 0.9, 0.7, 0])


@flags_become_incidents.mistake("a run of flags is an incident")
def _():
    def incidents(flags, m, n, k):
        edges = np.diff(np.r_[0, np.asarray(flags, dtype=int), 0])
        return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True))

    return incidents


@flags_become_incidents.mistake("it begins where it opens, not with its first flag")
def _():
    def incidents(flags, m, n, k):
        found, recent, quiet, is_open = [], [], 0, False
        for i, flag in enumerate(flags):
            if is_open:
                quiet = 0 if flag else quiet + 1
                if flag:
                    found[-1] = (found[-1][0], i)
                if quiet == k:
                    is_open, recent = False, []
                continue
            recent = [*recent, flag][-n:]
            if flag and sum(recent) >= m:
                found.append((i, i))
                is_open, quiet = True, 0
        return found

    return incidents


@flags_become_incidents.mistake("flags of the last incident open the next one")
def _():
    def incidents(flags, m, n, k):
        found, quiet, is_open = [], 0, False
        for i, flag in enumerate(flags):
            if is_open:
                quiet = 0 if flag else quiet + 1
                if flag:
                    found[-1] = (found[-1][0], i)
                is_open = quiet < k
                continue
            flagged = [j for j in range(max(0, i - n + 1), i + 1) if flags[j]]
            if flag and len(flagged) >= m:
                found.append((flagged[0], i))
                is_open, quiet = True, 0
        return found

    return incidents


@a_budget_chosen_before_it_is_judged.mistake("the default budget")
def _():
    return {"alpha": 0.05}


@a_budget_chosen_before_it_is_judged.mistake("the most faults found on sessions 2 to 4")
def _():
    return {"alpha": 0.1, "open_after": 4, "open_within": 6}


@a_budget_chosen_before_it_is_judged.mistake("a budget at which nobody is ever paged")
def _():
    return {"alpha": 1e-9}


@a_budget_chosen_before_it_is_judged.mistake("more flags wanted than windows are counted")
def _():
    return {"alpha": 0.01, "open_after": 9, "open_within": 3}


@what_a_history_can_show.mistake("the rate that was seen")
def _():
    return lambda incidents, weeks: incidents / weeks


@what_a_history_can_show.mistake("a normal approximation")
def _():
    return lambda incidents, weeks: (incidents + 1.645 * np.sqrt(incidents) + 1e-9) / weeks


@what_a_history_can_show.mistake("the upper end of a two-sided interval")
def _():
    return lambda incidents, weeks: chi2.ppf(0.975, 2 * (incidents + 1)) / 2 / weeks


@what_a_history_can_show.mistake("the time is forgotten")
def _():
    return lambda incidents, weeks: chi2.ppf(0.95, 2 * (incidents + 1)) / 2


@machines_that_are_alike.mistake("the largest count alone, as if it were the only one")
def _():
    return lambda counts: float(poisson.sf(np.max(counts) - 1, max(np.mean(counts), 1e-9)))


@machines_that_are_alike.mistake("nothing is divided by what is expected")
def _():
    return lambda counts: float(chi2.sf(np.sum((counts - np.mean(counts)) ** 2), len(counts) - 1))


@machines_that_are_alike.mistake("no incident at all is divided by zero")
def _():
    def differ(counts):
        with np.errstate(invalid="ignore"):
            mean = np.mean(counts)
            return float(chi2.sf(np.sum((counts - mean) ** 2) / mean, len(counts) - 1))

    return differ


@machines_that_are_alike.mistake("everybody is compared with the machine beside it")
def _():
    def differ(counts):
        steps = np.diff(counts)
        return float(chi2.sf(np.sum(steps**2) / max(2 * np.mean(counts), 1e-9), len(steps)))

    return differ


@machines_that_are_alike.mistake("one degree of freedom too many")
def _():
    def differ(counts):
        mean = np.mean(counts)
        return chi2.sf(np.sum((counts - mean) ** 2) / mean, len(counts)) if mean else 1.0

    return differ
