"""Exercises of notebook 13: manufacturing."""

from numbers import Real

import numpy as np
from scipy.signal import lfilter
from scipy.stats import norm

from exercises import exercise, require

# -- 13.1: the bill


def _line(seed):
    """Labels and flags of a line: faults in runs, flags in runs, some of both together."""
    rng = np.random.default_rng([131, seed])
    y, flag = np.zeros(3000, bool), np.zeros(3000, bool)
    for start in 200 + 300 * np.arange(9):
        stop = start + rng.integers(5, 60)
        y[start:stop] = True
        alarm = start + rng.integers(-3, 90)  # some too early, some too late
        flag[alarm : alarm + rng.integers(1, 30)] = True
    for start in rng.integers(0, 3000, 15):
        flag[start : start + rng.integers(1, 5)] = True
    return y, flag


def _bill(y, flag, scrap, stop):
    edges = [np.flatnonzero(np.diff(np.r_[0, each, 0])).reshape(-1, 2) for each in (y, flag)]
    lost = sum(1 + flag[a:b].argmax() if flag[a:b].any() else b - a for a, b in edges[0])
    return lost * scrap, sum(not y[a:b].any() for a, b in edges[1]) * stop


@exercise("13.1")
def the_bill(cost):
    """What bad parts until the alarm and false stops cost together."""
    require(callable(cost), "the answer is a function: answer = cost")
    by_hand = {  # one part costs 1, one false stop 100
        "a fault of four parts, flagged from its second part on": ("0111100", "0011000", 2),
        "a fault of four parts, never flagged": ("0111100", "0000000", 4),
        "good parts, a run of three flags and a single one": ("0000000", "0111010", 200),
        "a run of flags that begins before the fault": ("0011100", "0111000", 1),
        "a fault flagged twice": ("0111100", "0010100", 2),
        "two faults and a flag on the good part after the second": ("0110110", "0010001", 104),
    }
    for case, (y, flag, want) in by_hand.items():
        y, flag = (np.array(list(text)) == "1" for text in (y, flag))
        got = cost(y, flag, 1.0, 100.0)
        require(got == want, f"{case}: your bill is {got} with 1 per bad part and 100 per false "
                f"stop, by hand it is {want}")
    for seed in range(3):
        y, flag = _line(seed)
        scrap, stops = _bill(y, flag, 6.0, 60.0)
        got = cost(y.copy(), flag.copy(), 6.0, 60.0)
        require(abs(got - scrap - stops) < 1e-6, f"on a line of {len(y)} parts your bill is "
                f"{got:.0f}; scrap and stops make {scrap + stops:.0f}")
    return f"A line of {len(y)} parts: {scrap:.0f} for scrap and {stops:.0f} for false stops."


@the_bill.solution
def _():
    def runs(mask):
        return np.flatnonzero(np.diff(np.r_[0, mask, 0])).reshape(-1, 2)

    def cost(y, flag, scrap, stop):
        lost = sum(1 + flag[a:b].argmax() if flag[a:b].any() else b - a for a, b in runs(y))
        return scrap * lost + stop * sum(not y[a:b].any() for a, b in runs(flag))

    return cost


# -- 13.2: a limit for many sensors


def _sensors(seed, n, correlation, skewed=False):
    rng = np.random.default_rng([132, seed])
    z = (np.sqrt(correlation) * rng.normal(size=(n, 1))
         + np.sqrt(1 - correlation) * rng.normal(size=(n, 20)))
    return np.exp(z / 2) if skewed else z


@exercise("13.2")
def a_limit_for_many(limit):
    """One limit for the largest |z| of a part, that keeps a budget of flagged parts."""
    require(callable(limit), "the answer is a function: answer = limit")
    alpha, told = 0.01, []
    for case, (correlation, skewed) in {"independent sensors": (0.0, False),
                                        "a correlation of 0.95": (0.95, False),
                                        "skewed sensors": (0.3, True)}.items():
        rates = []
        for seed in range(2):
            good, new = (_sensors(s, 20_000, correlation, skewed) for s in (seed, seed + 10))
            mean, sd = good.mean(axis=0), good.std(axis=0)
            z, new = (good - mean) / sd, (new - mean) / sd
            got = limit(z.copy(), alpha)
            require(isinstance(got, Real) and np.isfinite(got),
                    f"one number is asked for, got {got!r}")
            rates.append((np.abs(new).max(axis=1) > got).mean())
        rate = np.mean(rates)
        require(0.7 * alpha < rate < 1.4 * alpha, f"{case}: {rate:.2%} of new good parts are "
                f"flagged with your limit of {got:.2f}; {alpha:.0%} were ordered")
        told.append(f"{got:.1f} for {case}")
    return f"The limits that keep a budget of {alpha:.0%}: {', '.join(told)}."


@a_limit_for_many.solution
def _():
    return lambda z, alpha: np.quantile(np.abs(z).max(axis=1), 1 - alpha)


# -- 13.3: how much memory


def parts_until_the_alarm(weight, shift, n_runs=400, length=250):
    """Mean number of bad parts until the alarm, at one flag in 1,200 good parts."""
    rng = np.random.default_rng(133)
    good = lfilter([weight], [1, weight - 1], rng.normal(size=60_000))
    cut = np.quantile(np.abs(good), 1 - 1 / 1200)
    x = rng.normal(size=(n_runs, 50 + length))
    x[:, 50:] += shift  # the chart has been running before the fault
    flags = np.abs(lfilter([weight], [1, weight - 1], x))[:, 50:] > cut
    return np.where(flags.any(axis=1), 1 + flags.argmax(axis=1), length).mean()


@exercise("13.3")
def how_much_memory(weight):
    """The weight of the newest part that finds a shift of a given size soonest."""
    require(callable(weight), "the answer is a function: answer = weight")
    told = []
    for shift in (0.5, 1.0, 4.0):
        w = weight(shift)
        require(isinstance(w, Real) and 0 < w <= 1,
                f"a weight above 0 and up to 1 is asked for, got {w!r}")
        grid = {g: parts_until_the_alarm(g, shift) for g in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)}
        mine, best = parts_until_the_alarm(w, shift), min(grid.values())
        said = f"a shift of {shift} sd is found after {mine:.1f} parts with a weight of {w:.2g}"
        require(mine <= 1.25 * best + 0.2, f"{said}; another weight needs {best:.1f}")
        told.append(said)
    return f"{'; '.join(told)}."[:1].upper() + f"{'; '.join(told)}."[1:]


@how_much_memory.solution
def _():
    def weight(shift):
        """Try some weights: where does noise stay below a limit that the shift passes soonest?"""
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(300, 300))
        delay = {}
        for w in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0):
            limit = norm.isf(1 / 2400) * np.sqrt(w / (2 - w))
            flags = lfilter([w], [1, w - 1], noise + shift) > limit
            delay[w] = np.where(flags.any(axis=1), flags.argmax(axis=1), 300).mean()
        return min(delay, key=delay.get)

    return weight
