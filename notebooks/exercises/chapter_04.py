"""Exercises of notebook 04: the ensemble."""

import numpy as np
from scipy.stats import norm

from adlib import metrics
from exercises import exercise, require

# -- 04.1: one scale for all


@exercise("04.1")
def surprises(surprise):
    """A function surprise(held_out, score): -log p, p counted among held-out normal scores."""
    require(callable(surprise), f"A function surprise(held_out, score) is asked for, got "
            f"{surprise!r}.")
    held_out = np.array([2.0, 5.0, 5.0, 7.0, 1.0, 3.0, 5.0, 4.0, 6.0])
    score = np.array([9.0, 5.0, 0.5, 4.5])
    got = np.asarray(surprise(held_out.copy(), score.copy()), float) + 0.0  # no -0.00 is shown
    require(got.shape == score.shape, f"Four scores want four surprises, the result has shape "
            f"{got.shape}.")
    require(np.isfinite(got).all(), f"A score above all held-out ones gets {got[0]}. Count the row "
            "itself in: it is one of n + 1.")
    require(got[0] > got[1] > got[2], f"Scores of 9, 5 and 0.5 have the surprises {got[0]:.2f}, "
            f"{got[1]:.2f} and {got[2]:.2f}: higher scores are to surprise more.")
    unit = np.asarray(surprise(1000 * held_out, 1000 * score), float)
    require(np.allclose(unit, got), f"In another unit the score of 9 surprises by {unit[0]:.2f} in "
            f"place of {got[0]:.2f}.")
    wanted = -np.log(np.array([1, 6, 10, 6]) / 10)
    require(not np.allclose(got, 1 - np.exp(-wanted)) and not np.allclose(got, np.exp(wanted)),
            "These are functions of the right p. The surprise is its negative logarithm.")
    require(np.isclose(got[1], wanted[1]) or not np.isclose(got[3], wanted[3]), f"A score of 5 "
            f"gets {got[1]:.2f}. Three of the held-out scores are equal to it: do they score *at "
            "least* as high?")
    require(np.allclose(got, wanted), f"A score above all nine held-out ones gets {got[0]:.2f}, "
            f"the formula gives {wanted[0]:.2f}.")
    return (f"Above all nine held-out scores the surprise is {got[0]:.2f}, below all of them "
            f"{got[2]:.2f}, in any unit.")


@surprises.solution
def _():
    def surprise(held_out, score):
        at_least = (held_out >= score[:, None]).sum(axis=1)
        return -np.log((1 + at_least) / (1 + len(held_out)))

    return surprise


# -- 04.2: one score from many


@exercise("04.2")
def committee(combine):
    """A function combine(held_out, scores, weights): one score per row, fair to all members."""
    require(callable(combine), f"A function combine(held_out, scores, weights) is asked for, got "
            f"{combine!r}.")
    rng = np.random.default_rng(41)
    y = np.arange(400) >= 300
    noise = rng.normal(size=(800, 3))
    units = np.array([1.0, 1000.0, 0.01])  # the second member is loud, and knows nothing
    held_out = np.exp(noise[:400]) * units
    scores = np.exp(noise[400:] + np.outer(y, [1.8, 0.0, 1.8])) * units
    weights = np.array([1.0, 0.6, 0.8])

    def combined(held_out, scores, weights):
        return np.asarray(combine(held_out.copy(), scores.copy(), weights.copy()), float)

    got = combined(held_out, scores, weights)
    require(got.shape == (400,) and np.isfinite(got).all(), "400 rows want 400 finite scores, the "
            f"result has shape {got.shape} and {np.isfinite(got).sum()} finite values.")
    other_unit = np.array([1.0, 1e-6, 1.0])
    moved = combined(held_out * other_unit, scores * other_unit, weights)
    areas = metrics.roc_auc(y, got), metrics.roc_auc(y, moved)
    require(abs(areas[0] - areas[1]) < 1e-6, f"ROC-AUC is {areas[0]:.2f}; with one member in "
            f"another unit it is {areas[1]:.2f}.")
    alone = combined(held_out, scores[-1:], weights)[0]
    require(np.isclose(alone, got[-1]), f"Among 399 others the last row scores {got[-1]:.2f}, "
            f"alone {alone:.2f}.")
    without = metrics.roc_auc(y, combined(held_out, scores, np.array([1.0, 0.0, 0.8])))
    deaf = metrics.roc_auc(y, combined(held_out, scores, np.array([0.0, 1.0, 0.0])))
    require(without > areas[0] + 1e-3 and deaf < 0.6, "The weights do not count: with all weight "
            f"on the member that knows nothing ROC-AUC is {deaf:.2f}, without it {without:.2f}.")
    best = max(metrics.roc_auc(y, scores[:, j]) for j in (0, 2))
    require(without > best, f"Two good members have a ROC-AUC of {without:.2f} together, the "
            f"better one alone {best:.2f}.")
    return (f"ROC-AUC {areas[0]:.3f} in any unit and any batch, {without:.3f} without the member "
            f"that knows nothing; the best member alone has {best:.3f}.")


@committee.solution
def _():
    def combine(held_out, scores, weights):
        at_least = (held_out >= scores[:, None]).sum(axis=1)  # (rows, members)
        surprise = -np.log((1 + at_least) / (1 + len(held_out)))
        return surprise @ weights / weights.sum()

    return combine


# -- 04.3: the rate at which each may vote


def carried(q, correlation, n=400_000):
    """Share of normal rows that two of three members vote for, each at rate q."""
    rng = np.random.default_rng(43)
    common, own = rng.normal(size=(n, 1)), rng.normal(size=(n, 3))
    score = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    return ((score > norm.isf(q)).sum(axis=1) >= 2).mean()


@exercise("04.3")
def rate_of_each(q):
    """The false-alarm rate of each of three independent voters, for 5 % of two against one."""
    require(isinstance(q, (float, np.floating)) and 0 < q < 1,
            f"A share between 0 and 1 is asked for, got {q!r}.")
    rate = carried(q, 0.0)
    require(abs(rate - 0.05) < 0.003, f"When each member votes at {q:.3f}, the vote flags "
            f"{rate:.1%} of the normal rows; 5% are asked for.")
    return (f"When each votes at {q:.3f}, the vote flags {rate:.1%} of the normal rows. Were "
            f"their scores correlated by 0.8, it would be {carried(q, 0.8):.1%}: their agreement "
            "must be measured, not assumed.")


@rate_of_each.solution
def _():
    q = np.linspace(0, 1, 100_001)  # two of three vote for the row, or all three
    return q[np.argmin(np.abs(3 * q**2 * (1 - q) + q**3 - 0.05))]
