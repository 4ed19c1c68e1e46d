"""Exercises of notebook 07: metrics."""

import numpy as np

from adlib import metrics
from exercises import exercise, require


@exercise("07.1")
def flags_that_know_nothing(cheat):
    """Flags that never saw the data, and a point-adjusted F1 to be proud of."""
    require(callable(cheat), "the answer is a function: answer = cheat")
    rng, n, adjusted, plain = np.random.default_rng(71), 4_000, [], []
    for _ in range(20):
        y = np.zeros(n, dtype=int)
        for start in rng.choice(n // 200, 4, replace=False) * 200 + rng.integers(0, 90, 4):
            y[start:start + 100] = 1
        flags = np.asarray(cheat(n))
        require(flags.shape == (n,) and np.isin(flags, (0, 1)).all(),
                f"for n = {n} the answer is {n} flags, 0 or 1")
        adjusted.append(metrics.point_adjusted_f1(y, flags))
        plain.append(metrics.f1(y, flags))
    require(len(cheat(999)) == 999, "for any n the answer is n flags; for n = 999 it is not")
    said = f"point-adjusted F1 {np.mean(adjusted):.2f}, mean over 20 series"
    if np.mean(flags) > 0.05:
        said += f"; {np.mean(flags):.0%} of the rows are flagged, and most of these flags cost"
    elif np.mean(adjusted) < 0.9:
        said += "; some events are not hit at all"
    require(np.mean(adjusted) >= 0.9, said)
    return f"{said}; the F1 of the same flags by rows is {np.mean(plain):.2f}."


@flags_that_know_nothing.solution
def _():
    return lambda n: np.arange(n) % 100 == 0


@exercise("07.2")
def between_chance_and_perfect(above_chance):
    """Put any metric on a scale on which chance is 0 and perfect is 1."""
    require(callable(above_chance), "the answer is a function: answer = above_chance")
    rng, n = np.random.default_rng(72), 1_000
    row = np.arange(n)
    for name, metric, y, cut in (
        ("average precision, one anomaly in 20", metrics.average_precision, row % 20 == 0, 0),
        ("average precision, two anomalies in 5", metrics.average_precision, row % 5 < 2, 0),
        ("ROC area, one anomaly in 20", metrics.roc_auc, row % 20 == 0, 0),
        ("point-adjusted F1, events of 50 rows", metrics.point_adjusted_f1, row % 250 < 50, 1.5),
    ):
        y = y.astype(int)
        noise, skill = rng.normal(size=(5, n)), rng.normal(size=n) + 1.5 * y
        if cut:  # this metric takes flags
            noise, skill = (noise > cut).astype(int), (skill > cut).astype(int)
        labels, scores = y.copy(), noise.copy()
        chance = np.mean([float(above_chance(metric, y, each)) for each in noise])
        require((y == labels).all() and (noise == scores).all(),
                "your function changes the arrays it is given: shuffle a copy")
        floor = np.mean([metric(y, rng.permutation(skill)) for _ in range(40)])
        require(abs(chance) <= 0.08, f"{name}: random scores come out at {chance:.2f}, not at 0")
        best = float(above_chance(metric, y, y))
        require(abs(best - 1) <= 1e-6, f"{name}: a perfect score comes out at {best:.2f}, not at 1")
        value = float(above_chance(metric, y, skill))
        wanted = (metric(y, skill) - floor) / (1 - floor)
        require(abs(value - wanted) <= 0.08, f"{name}: a score of some skill comes out at "
                f"{value:.2f}; between its floor and 1 it lies at {wanted:.2f}")
    return f"Chance is 0 and perfect is 1 for four metrics; the last has a floor of {floor:.2f}."


@between_chance_and_perfect.solution
def _():
    def above_chance(metric, y, score):
        rng = np.random.default_rng(0)
        floor = np.mean([metric(y, rng.permutation(score)) for _ in range(50)])
        return (metric(y, score) - floor) / (1 - floor)

    return above_chance


@exercise("07.3")
def a_rate_that_can_be_afforded(affordable):
    """The false-positive rate at which a given share of the flags is right."""
    require(callable(affordable), "the answer is a function: answer = affordable")
    # the last wishes have so many anomalous rows that normal ones are no longer nearly all
    wishes = [(0.9, 0.002, 0.5), (0.6, 0.01, 0.5), (0.9, 0.05, 0.8), (0.8, 0.4, 0.5),
              (0.7, 0.2, 0.9)]
    rates = []
    for recall, share, precision in wishes:
        rate = float(affordable(recall, share, precision))
        require(0 < rate < 1, f"a false-positive rate lies between 0 and 1, got {rate:.3g}")
        right, wrong = share * recall, (1 - share) * rate  # shares of all rows
        got = right / (right + wrong)
        require(abs(got - precision) <= 0.003, f"recall {recall:g}, {share:.1%} of the rows "
                f"anomalous: at your rate of {rate:.2%} {got:.1%} of the flags are right; "
                f"{precision:.0%} were wanted")
        rates.append(rate)
    first = rates[0]
    return f"One anomaly in 500 rows, nine in ten found: {first:.2%} of false positives, no more."


@a_rate_that_can_be_afforded.solution
def _():
    def affordable(recall, share, precision):
        right = share * recall  # of all rows
        return right * (1 - precision) / precision / (1 - share)

    return affordable
