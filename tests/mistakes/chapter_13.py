"""Mistakes that the checks of chapter 13 must tell from an answer."""

import numpy as np
from scipy.stats import norm

from exercises.chapter_13 import a_limit_for_many, how_much_memory, the_bill

# -- 13.1: the bill


def _bill_with(lost, stops):
    def cost(y, flag, scrap, stop):
        faults, flags = (np.flatnonzero(np.diff(np.r_[0, mask, 0])).reshape(-1, 2)
                         for mask in (y, flag))
        return (scrap * sum(lost(flag[a:b]) for a, b in faults)
                + stop * sum(stops(y[a:b]) for a, b in flags))

    return cost


def _until(flags):
    return 1 + flags.argmax() if flags.any() else len(flags)


def _false(truth):
    return not truth.any()


@the_bill.mistake("the part of the alarm is free")
def _():
    return _bill_with(lambda flags: flags.argmax() if flags.any() else len(flags), _false)


@the_bill.mistake("what is never found costs nothing")
def _():
    return _bill_with(lambda flags: 1 + flags.argmax() if flags.any() else 0, _false)


@the_bill.mistake("every flagged good part is a stop")
def _():
    return _bill_with(_until, lambda truth: (~truth).sum())


@the_bill.mistake("every run of flags is a stop")
def _():
    return _bill_with(_until, lambda truth: True)


@the_bill.mistake("counts the parts that were not flagged")
def _():
    return _bill_with(lambda flags: (~flags).sum(), _false)


# -- 13.2: a limit for many sensors


@a_limit_for_many.mistake("three sigma")
def _():
    return lambda z, alpha: 3.0


@a_limit_for_many.mistake("the limit of one normal sensor")
def _():
    return lambda z, alpha: norm.isf(alpha / 2)


@a_limit_for_many.mistake("corrected for twenty independent normal ones")
def _():
    return lambda z, alpha: norm.isf(alpha / 2 / z.shape[1])


@a_limit_for_many.mistake("the quantile of single values")
def _():
    return lambda z, alpha: np.quantile(np.abs(z), 1 - alpha)


@a_limit_for_many.mistake("only upwards")
def _():
    return lambda z, alpha: np.quantile(z.max(axis=1), 1 - alpha)


# -- 13.3: how much memory


@how_much_memory.mistake("the textbook's weight for all")
def _():
    return lambda shift: 0.2


@how_much_memory.mistake("no memory")
def _():
    return lambda shift: 1.0


@how_much_memory.mistake("as much memory as possible")
def _():
    return lambda shift: 0.02


@how_much_memory.mistake("the wrong way round")
def _():
    return lambda shift: {0.5: 0.7, 1.0: 0.4, 4.0: 0.05}[shift]
