"""Exercises of notebook 10: explanations and an expert's answers."""

from itertools import combinations

import numpy as np

from exercises import exercise, require


def _machine(rng, n):
    """Six channels that follow two loads; the units differ."""
    follows = np.array([[3, 2, 0, 1, 2, 0], [0, 2, 3, 2, -1, 3]])
    scale = np.array([1, 10, 100, 1, 10, 1_000])
    return (rng.normal(size=(n, 2)) @ follows + 0.5 * rng.normal(size=(n, 6))) * scale


def _distance(X):
    """Squared Mahalanobis distance to the rows of X: a score of rows, shape (n, 6) to (n,)."""
    mean, precision = X.mean(axis=0), np.linalg.inv(np.cov(X.T))

    def score(rows):
        gap = np.atleast_2d(rows) - mean
        return np.einsum("ij,jk,ik->i", gap, precision, gap)

    return score


@exercise("10.1")
def the_broken_channel(blame):
    """Name the channel that does not fit, although each value is usual by itself."""
    require(callable(blame), "the answer is a function: answer = blame")
    hits, largest, n = 0, 0, 0
    for i in range(4):
        rng = np.random.default_rng([101, i])
        X = _machine(rng, 600)
        score, sd = _distance(X), X.std(axis=0)
        for row in _machine(rng, 40):
            j = int(rng.integers(6))
            row[j] -= 1.7 * sd[j] * (np.sign(row[j]) or 1)  # back over the middle, within range
            given = row.copy(), X.copy()
            named = blame(score, row, X)
            require((row == given[0]).all() and (given[1] == X).all(),
                    "your function changes the row or the rows it is given: copy")
            require(np.shape(named) == () and 0 <= int(named) < 6,
                    f"the answer is the number of a channel, 0 to 5, got {named!r}")
            hits, n = hits + (int(named) == j), n + 1
            largest += int(np.abs((row - X.mean(axis=0)) / sd).argmax()) == j
    said = f"the broken channel is named in {hits / n:.0%} of {n} rows, by the largest |z| in "
    said += f"{largest / n:.0%}"
    require(hits >= 0.9 * n, said)
    return f"{said[0].upper()}{said[1:]}."


@the_broken_channel.solution
def _():
    def blame(score, row, X):
        left = []
        for j in range(len(row)):
            others = np.delete(np.arange(len(row)), j)
            inputs = np.c_[np.ones(len(X)), X[:, others]]
            slope = np.linalg.lstsq(inputs, X[:, j], rcond=None)[0]
            replaced = row.copy()
            replaced[j] = slope[0] + slope[1:] @ row[others]
            left.append(score(replaced[None])[0])
        return int(np.argmin(left))

    return blame


@exercise("10.2")
def a_share_from_asked_rows(prevalence):
    """How many anomalies there are, from rows that were chosen by their score."""
    require(callable(prevalence), "the answer is a function: answer = prevalence")
    rng, n, given, among, truth = np.random.default_rng(102), 5_000, [], [], []
    for _ in range(100):
        y = rng.random(n) < 0.08
        score = rng.normal(size=n) + 2 * y
        chance = np.clip(0.03 * np.exp(1.2 * score), 0.02, 1)
        asked = rng.random(n) < chance
        given.append(float(prevalence(y[asked].astype(int), chance[asked], n)))
        among.append(y[asked].mean())
        truth.append(y.mean())
    require(np.isfinite(given).all(), "some of your answers are not finite")
    said = (f"{np.mean(given):.1%} on average over 100 sessions, in truth {np.mean(truth):.1%} "
            f"(among the asked {np.mean(among):.0%})")
    require(abs(np.mean(given) - np.mean(truth)) <= 0.008, said)
    require(np.std(given) < 0.04, f"{said}, but a single session is off by {np.std(given):.1%}")
    return f"{said[0].upper()}{said[1:]}; one session is off by about {np.std(given):.1%}."


@a_share_from_asked_rows.solution
def _():
    return lambda verdicts, chance, n_rows: np.sum(verdicts / chance) / n_rows


@exercise("10.3")
def the_fewest_changes(remedy):
    """What would have to be different for the row not to be flagged."""
    require(callable(remedy), "the answer is a function: answer = remedy")
    rng = np.random.default_rng(103)
    X = _machine(rng, 600)
    score = _distance(X)
    cut, counts = float(np.quantile(score(_machine(rng, 600)), 0.95)), np.zeros(7, dtype=int)
    for row in _machine(rng, 60):
        broken = rng.choice(6, int(rng.integers(0, 4)), replace=False)
        expected, row = row.copy(), row.copy()
        far = rng.choice([-1, 1], len(broken)) * rng.uniform(0.4, 3)
        row[broken] += far * X.std(axis=0)[broken]
        if score(expected)[0] > cut:
            continue
        given = row.copy()
        answer = [int(j) for j in remedy(score, cut, row, expected)]
        require((row == given).all(), "your function changes the row it is given: copy")
        require(len(set(answer)) == len(answer) and set(answer) <= set(range(6)),
                f"the answer is a list of different columns, 0 to 5, got {answer}")
        fewest = next(k for k in range(7) if any(
            score(np.where(np.isin(range(6), which), expected, row))[0] <= cut
            for which in combinations(range(6), k)))
        after = score(np.where(np.isin(range(6), answer), expected, row))[0]
        require(after <= cut, f"with columns {answer} at their expected values a row still scores "
                f"{after:.1f}, the threshold is {cut:.1f}; the fewest that do are {fewest}")
        require(len(answer) == fewest, f"of one row you change {len(answer)} of the columns, and "
                f"{fewest} would do" + (": it is not flagged at all" if fewest == 0 else ""))
        counts[fewest] += 1
    shown = ", ".join(f"{count} with {k}" for k, count in enumerate(counts) if count)
    return f"{counts.sum()} rows made normal with the fewest changes: {shown}."


@the_fewest_changes.solution
def _():
    def remedy(score, cut, row, expected):
        for k in range(len(row) + 1):
            for which in combinations(range(len(row)), k):
                changed = row.copy()
                changed[list(which)] = expected[list(which)]
                if score(changed[None])[0] <= cut:
                    return which

    return remedy
