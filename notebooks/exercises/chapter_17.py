"""Exercises of notebook 17: an honest comparison."""

from numbers import Real

import numpy as np
from scipy.stats import wilcoxon

from adlib import metrics
from exercises import exercise, require

# -- 17.1: three parts that no window joins


@exercise("17.1")
def split(parts):
    """A function parts(n, window): training, calibration and test rows that share no window."""
    require(callable(parts), f"A function parts(n, window) is asked for, got {parts!r}.")
    for n, window in ((1000, 25), (700, 1)):
        given = [np.asarray(rows) for rows in parts(n, window)]
        require(len(given) == 3, f"Three arrays of row numbers are asked for, got {len(given)}.")
        train, calibrate, test = given
        require(all(rows.size and rows.min() >= 0 and rows.max() < n for rows in given),
                f"Every part needs rows between 0 and {n - 1}.")
        late = (train > calibrate.min()).sum() + (calibrate > test.min()).sum()
        require(not late, f"{late} rows come after rows of a later part: who fits on them knows "
                "the future.")
        names = ("training and calibration", "calibration and test")
        for name, before, after in zip(names, given[:2], given[1:], strict=True):
            joint = (after - window + 1 <= before.max()).sum()
            require(not joint, f"{joint} windows of {window} rows hold rows of {name} at once.")
        lost = n - sum(rows.size for rows in given)
        require(lost <= 2 * (window - 1), f"{lost} of {n} rows are in no part; with windows of "
                f"{window} rows {2 * (window - 1)} are enough.")
        whole = [rows.max() + 1 for rows in given]
        wanted = [0.32 * n, 0.4 * n, n]
        require(np.allclose(whole, wanted, atol=window), f"The parts end at rows {whole}; they "
                f"should at about {np.round(wanted).astype(int).tolist()}.")
    return "No window of 25 rows holds rows of two parts, and single rows need no gap."


@split.solution
def _():
    def parts(n, window):
        history = int(0.4 * n)
        fitted = int(0.8 * history)
        gap = window - 1  # rows of the earlier part that a later window could still hold
        rows = np.arange(n)
        return rows[:fitted], rows[fitted + gap : history], rows[history + gap :]

    return parts


# -- 17.2: how much of a number is chance


def scored(share, skill, n=1000):
    """Labels with a share of anomalies, and a score with some skill."""
    rng = np.random.default_rng(51)
    y = (np.arange(n) < share * n).astype(int)
    return y, rng.normal(size=n) + skill * y


@exercise("17.2")
def skill_above_chance(above_chance):
    """A function above_chance(metric, y, score, rng): 0 for chance, 1 for perfect."""
    require(callable(above_chance), f"A function above_chance(metric, y, score, rng) is asked for, "
            f"got {above_chance!r}.")

    def measured(metric, share, skill):
        y, score = scored(share, skill)
        before = score.copy()
        value = float(above_chance(metric, y, score, np.random.default_rng(52)))
        require(np.array_equal(score, before), "The caller's scores were changed: "
                "`rng.shuffle` works in place.")
        return value

    for metric in (metrics.roc_auc, metrics.average_precision, metrics.best_f1):
        name = metric.__name__
        top = measured(metric, 0.3, 99)
        require(abs(top - 1) < 0.01, f"A perfect score gets {top:.2f} by {name}, 1 is asked for.")
        for share in (0.05, 0.5):
            blind = measured(metric, share, 0.0)
            require(abs(blind) < 0.1, f"With {share:.0%} anomalies a score that knows nothing gets "
                    f"{blind:.2f} by {name}, about 0 is asked for.")
        y, score = scored(0.3, 1.5)
        chance = np.mean([metric(y, np.random.default_rng(i).permutation(score))
                          for i in range(50)])
        wanted = (metric(y, score) - chance) / (1 - chance)
        got = measured(metric, 0.3, 1.5)
        require(abs(got - wanted) < 0.05, f"By {name} a middling score gets {got:.2f} above "
                f"chance; it is {wanted:.2f} of the way from chance to perfect.")
    y, score = scored(0.5, 0.0)
    raw, blind = metrics.best_f1(y, score), round(measured(metrics.best_f1, 0.5, 0.0), 2)
    return (f"With half of the rows anomalous a score that knows nothing has a best F1 of "
            f"{raw:.2f}, and {blind + 0.0:.2f} above chance.")


@skill_above_chance.solution
def _():
    def above_chance(metric, y, score, rng):
        chance = np.mean([metric(y, rng.permutation(score)) for _ in range(20)])
        return (metric(y, score) - chance) / (1 - chance)

    return above_chance


# -- 17.3: how many data sets it takes


def smallest_p(n_sets, n_detectors=10):
    """Holm's first p of a pair of which one wins on every set, among all pairs."""
    gains = np.random.default_rng(53).uniform(0.1, 0.2, size=n_sets)
    pairs = n_detectors * (n_detectors - 1) // 2
    return min(1.0, pairs * wilcoxon(gains, method="exact").pvalue)


@exercise("17.3")
def sets_needed(n):
    """Data sets from which on ten detectors can be told apart at all."""
    require(isinstance(n, Real) and not isinstance(n, bool) and 1 <= n <= 1000 and n == int(n),
            f"A whole number of data sets between 1 and 1000 is asked for, got {n!r}.")
    n = int(n)  # a rounded logarithm is a float
    p = smallest_p(n)
    require(p < 0.05, f"With {n} data sets a detector that wins on every one of them has a "
            f"corrected p of {p:.3f} against a rival: not below 0.05.")
    fewer = smallest_p(n - 1) if n > 1 else 1.0
    require(fewer >= 0.05, f"With {n} data sets the smallest corrected p is {p:.2g}, but with "
            f"{n - 1} it is {fewer:.2g}, below 0.05 already.")
    return (f"Who wins on all of {n} data sets has a corrected p of {p:.3f}; on all of {n - 1}, "
            f"{fewer:.3f}.")


@sets_needed.solution
def _():
    pairs = 10 * 9 / 2  # 45 tests; all signs alike has probability 2 / 2**n
    return int(np.floor(np.log2(2 * pairs / 0.05))) + 1
