"""Mistakes that the checks of chapter 12 must tell from an answer."""

import numpy as np

from exercises.chapter_12 import a_cut_each_morning, affordable_rate, incidents_by_source

# -- 12.1: incidents of a slow attacker


@incidents_by_source.mistake("by time alone")
def _():
    return lambda minute, source, rest: int(len(minute) > 0) + int(
        (np.diff(np.sort(minute)) > rest).sum())


@incidents_by_source.mistake("by source alone")
def _():
    return lambda minute, source, rest: len(np.unique(source))


@incidents_by_source.mistake("breaks at the rest itself")
def _():
    return lambda minute, source, rest: sum(
        1 + (np.diff(np.sort(minute[source == s])) >= rest).sum() for s in np.unique(source))


@incidents_by_source.mistake("relies on the order of the rows")
def _():
    return lambda minute, source, rest: sum(
        1 + (np.diff(minute[source == s]) > rest).sum() for s in np.unique(source))


@incidents_by_source.mistake("a new incident when the first row is too long ago")
def _():
    def incidents(minute, source, rest):
        count = 0
        for each in np.unique(source):
            begin = -np.inf
            for row in np.sort(minute[source == each]):
                if row - begin > rest:
                    count, begin = count + 1, row
        return count

    return incidents


# -- 12.2: which false-positive rate can be afforded


@affordable_rate.mistake("one minus the share")
def _():
    return lambda tpr, base, right: 1 - right


@affordable_rate.mistake("the base rate")
def _():
    return lambda tpr, base, right: base


@affordable_rate.mistake("the share turned round")
def _():
    return lambda tpr, base, right: min(1.0, tpr * base / (1 - base) * right / (1 - right))


@affordable_rate.mistake("takes all records for normal ones")
def _():
    return lambda tpr, base, right: tpr * base * (1 - right) / right


# -- 12.3: a cut for each morning


@a_cut_each_morning.mistake("the cut of the first days, for ever")
def _():
    def flags(score, day, per_day, k):
        cut = np.sort(score[day < k])[-per_day * k - 1]
        return (score > cut) & (day >= k)

    return flags


@a_cut_each_morning.mistake("all days before, however old")
def _():
    def flags(score, day, per_day, k):
        mask = np.zeros(len(score), bool)
        for today in np.unique(day)[k:]:
            before = np.sort(score[day < today])
            mask[day == today] = score[day == today] > before[-per_day * today - 1]
        return mask

    return flags


@a_cut_each_morning.mistake("the day is in its own cut")
def _():
    def flags(score, day, per_day, k):
        mask = np.zeros(len(score), bool)
        for today in np.unique(day)[k:]:
            recent = np.sort(score[(day > today - k) & (day <= today)])
            mask[day == today] = score[day == today] > recent[-per_day * k - 1]
        return mask

    return flags


@a_cut_each_morning.mistake("one cut from all days")
def _():
    return lambda score, day, per_day, k: (
        score > np.sort(score)[-per_day * len(np.unique(day)) - 1]) & (day >= k)


@a_cut_each_morning.mistake("the budget of one day for three")
def _():
    def flags(score, day, per_day, k):
        mask = np.zeros(len(score), bool)
        for today in np.unique(day)[k:]:
            recent = np.sort(score[(day >= today - k) & (day < today)])
            mask[day == today] = score[day == today] > recent[-per_day - 1]
        return mask

    return flags
