"""Mistakes that the checks of chapter 06 must tell from an answer."""

import numpy as np

from exercises.chapter_06 import (
    a_cut_that_keeps_its_promise,
    few_false_among_the_flags,
    rows_for_a_narrow_promise,
)


@rows_for_a_narrow_promise.mistake("the fewest rows for which a cut exists")
def _():
    return 19


@rows_for_a_narrow_promise.mistake("a round hundred")
def _():
    return 100


@rows_for_a_narrow_promise.mistake("more than it takes")
def _():
    return 1_000


@a_cut_that_keeps_its_promise.mistake("the plain quantile")
def _():
    return lambda scores, alpha: np.quantile(scores, 1 - alpha)


@a_cut_that_keeps_its_promise.mistake("the next higher score, counted among n instead of n + 1")
def _():
    return lambda scores, alpha: np.quantile(scores, 1 - alpha, method="higher")


@a_cut_that_keeps_its_promise.mistake("always the largest score")
def _():
    return lambda scores, alpha: np.max(scores)


@a_cut_that_keeps_its_promise.mistake("a normal law")
def _():
    return lambda scores, alpha: np.mean(scores) + 1.645 * np.std(scores)


@a_cut_that_keeps_its_promise.mistake("a finite cut from ten rows")
def _():
    def cut(scores, alpha):
        k = int(np.ceil((len(scores) + 1) * (1 - alpha) - 1e-9))
        return np.sort(scores)[min(k, len(scores)) - 1]

    return cut


@a_cut_that_keeps_its_promise.mistake("sorting the caller's scores")
def _():
    def cut(scores, alpha):
        scores.sort()
        return scores[int(np.ceil((len(scores) + 1) * (1 - alpha))) - 1]

    return cut


@a_cut_that_keeps_its_promise.mistake("one place too far, where the place is a whole number")
def _():
    def cut(scores, alpha):
        k = int((len(scores) + 1) * (1 - alpha) + 1e-9) + 1
        return np.sort(scores)[k - 1] if k <= len(scores) else np.inf

    return cut


@a_cut_that_keeps_its_promise.mistake("counted among n, and one added")
def _():
    def cut(scores, alpha):
        k = int(np.ceil(len(scores) * (1 - alpha) - 1e-9)) + 1
        return np.sort(scores)[k - 1] if k <= len(scores) else np.inf

    return cut


@a_cut_that_keeps_its_promise.mistake("5 % whatever was asked for")
def _():
    def cut(scores, alpha):
        k = int(np.ceil((len(scores) + 1) * 0.95 - 1e-9))
        return np.sort(scores)[k - 1] if k <= len(scores) else np.inf

    return cut


@few_false_among_the_flags.mistake("one cut for each row by itself")
def _():
    return lambda p, fdr: p <= fdr


@few_false_among_the_flags.mistake("Bonferroni: no false flag at all")
def _():
    return lambda p, fdr: p <= fdr / len(p)


@few_false_among_the_flags.mistake("a quota")
def _():
    return lambda p, fdr: p <= np.quantile(p, 0.09)


@few_false_among_the_flags.mistake("stopping at the first p-value above the line")
def _():
    def flags(p, fdr):
        ranked = np.sort(p)
        below = ranked <= fdr * np.arange(1, len(p) + 1) / len(p)
        n = len(p) if below.all() else below.argmin()
        return p <= (ranked[n - 1] if n else -1)

    return flags


@few_false_among_the_flags.mistake("flags in the order of the sorted values")
def _():
    return lambda p, fdr: np.sort(p) <= fdr * np.arange(1, len(p) + 1) / len(p)


def _stepped(line):
    """Flags up to the last p-value on or below a line that is not quite the right one."""
    def flags(p, fdr):
        ranked = np.sort(p)
        below = ranked <= line(np.arange(1, len(p) + 1), len(p), fdr)
        return p <= (ranked[below].max() if below.any() else -1)

    return flags


@few_false_among_the_flags.mistake("a line that starts at 0: ranks counted from 0")
def _():
    return _stepped(lambda k, m, fdr: fdr * (k - 1) / m)


@few_false_among_the_flags.mistake("a line that is one rank too high")
def _():
    return _stepped(lambda k, m, fdr: fdr * (k + 1) / m)


@few_false_among_the_flags.mistake("m + 1 in place of m")
def _():
    return _stepped(lambda k, m, fdr: fdr * k / (m + 1))


@few_false_among_the_flags.mistake("a tenth whatever was asked for")
def _():
    return _stepped(lambda k, m, fdr: 0.1 * k / m)
