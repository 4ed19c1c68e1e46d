"""Whether the entities of a fleet are alike, so that one threshold may serve them all.

What counts is how often an entity's held-out scores are high, which means above what a twentieth,
and what one in 200, of the scores of the median entity exceed. Given the total, the share of one
entity, or of half of the entities, is binomial where all rates are equal (Przyborowski and Wilenski
1940). An entity differs where its rate is shown to be more than twice that of the others together,
or less than half of it: no two machines are quite the same, and a long history would show any
difference. The one that differs most is taken out, and the others are compared again. Where many
differ, the half that had the higher rates in the first two fifths of the rows is held against the
other half in the last two. High scores come in bursts, so counts are divided by their dispersion
between the fifths of each entity's rows (McCullagh and Nelder 1989, section 6.2), and for one
entity the fifth that speaks most for a difference is left out.

Level: at most one in 100 fleets whose rates lie within a factor of two is refused (Bonferroni over
entities, sides, heights and both comparisons). ``benchmarks/homogeneity.py`` measures it with
squared Gaussian rows: of 100 fleets each of 2, 5, 20 and 100 equal machines with 200, 800 or 3,000
held-out rows, none where rows are independent or autocorrelated by .9; by .98, a memory of 50 rows,
none from 800 rows on, but 1, 2, 3 and 6 of 2, 5, 20 and 100 machines with 200. Power: one machine
with twice the noise is found among 5 or more from 200 independent rows on, always; where rows are
autocorrelated by .9 in 38 to 44 % with 200, always with 800. One with 1.5 times the noise in 99 %
with 800 independent rows; where they are autocorrelated by .9 in 34 to 39 % with 800, and in 95 %
with 3,000. Half of ten machines with twice the noise: always with 800 rows. Of two machines, one
with twice the noise in half of the fleets with 200 independent rows, always with 800. Fails on what
only the far tail shows: a machine with Student's t of 3 degrees of freedom among Gaussian ones of
the same variance is found in 2 % with 3,000 rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import betainc

from adlib.thresholds import Scores

LEVEL, RATIO, HEIGHTS = 0.01, 2.0, (0.05, 0.005)
_PARTS = 5
_CHANCE = 4  # standard errors


def differing(scores: Mapping[str, Scores]) -> dict[str, float]:
    """Entities whose held-out scores are high more often, or less often, than they may be.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n,)
        By entity, in time order; NaN where there is none.

    Returns
    -------
    dict of str to float
        How many times as often as those of the median entity; those that differ most come first.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = {"a": 1, "b": 1, "c": 3, "d": 1}
    >>> list(differing({name: s * rng.normal(size=500) for name, s in noise.items()}))
    ['c']
    """
    if len(scores) < 2:
        return {}
    parts = [np.array_split(of[~np.isnan(of)], _PARTS) for of in scores.values()]
    lengths = np.array([[len(part) for part in of] for of in parts], np.float64)
    known, found = [of for of in map(np.concatenate, parts) if len(of)], dict[str, float]()
    level = LEVEL / (4 * len(HEIGHTS))
    for height in HEIGHTS if known else ():
        cut = np.median([np.quantile(of, 1 - height) for of in known])
        counts = np.array([[(part > cut).sum() for part in of] for of in parts], np.float64)
        counts /= (dispersion := _dispersion(counts, lengths))
        ratios = _by(counts.sum(axis=1) * dispersion, lengths.sum(axis=1) * height)
        far, rest = np.abs(np.log(np.maximum(ratios, 1e-9))), np.arange(len(parts))
        while (unlike := _each(counts[rest], lengths[rest]) <= level / len(parts)).any():
            worst = rest[np.where(unlike, far[rest], -1).argmax()]  # in its shadow others look odd
            found.setdefault(list(scores)[worst], float(ratios[worst]))
            rest = rest[rest != worst]
        if len(rest) == 1 or _halves(counts[rest], lengths[rest]) <= 2 * level:
            for i in rest[far[rest] >= min(np.log(RATIO), far[rest].max())]:
                found.setdefault(list(scores)[i], float(ratios[i]))
    return dict(sorted(found.items(), key=lambda item: -abs(np.log(max(item[1], 1e-9)))))


def at_once(scores: Mapping[str, Scores], rows: int) -> float:
    """How many entities have high scores for one cause: 1 where they are independent, at most all.

    The variance of the number of high scores of all, by the sum of each entity's, in stretches of
    so many rows; rows of the same time are those that lie as far from the last one. What chance
    may show is 1.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n,)
    rows : int

    Returns
    -------
    float
    """
    known, found = np.concatenate(list(scores.values())), 1.0
    known, n = known[~np.isnan(known)], max(len(of) for of in scores.values()) // rows
    for height in HEIGHTS if n > 1 and len(known) else ():
        cut, off = np.quantile(known, 1 - height), np.zeros((len(scores), n))
        for i, of in enumerate(scores.values()):
            if len(of) >= rows:
                counts = (of[len(of) % rows:] > cut).reshape(-1, rows).sum(axis=1)
                off[i, n - len(counts):] = counts - counts.mean()
        ratio = float(_by((off.sum(axis=0) ** 2).sum(), (off ** 2).sum()))
        found = max(found, ratio if ratio > 1 + _CHANCE * np.sqrt(2 / n) else 1.0)
    return found


def _dispersion(counts: Scores, lengths: Scores) -> float:
    """Variance between the parts of an entity, by that of independent rows."""
    usual = _by(counts.sum(axis=1), lengths.sum(axis=1))[:, None] * lengths
    some = usual.sum(axis=1) > 0
    return float(max(1.0, _by((counts - usual)[some] ** 2, usual[some]).sum() / max(
        some.sum() * (counts.shape[1] - 1), 1)))


def _each(counts: Scores, lengths: Scores) -> Scores:
    """Of each entity the p-value that its rate and that of the others lie within the ratio."""
    others, rows = counts.sum() - counts.sum(axis=1), lengths.sum() - lengths.sum(axis=1)
    order = np.argsort(counts, axis=1)
    counts, lengths = (np.take_along_axis(of, order, 1) for of in (counts, lengths))
    return np.minimum(
        _more(counts[:, :-1].sum(axis=1), lengths[:, :-1].sum(axis=1), others, rows),
        _more(others, rows, counts[:, 1:].sum(axis=1), lengths[:, 1:].sum(axis=1)))


def _halves(counts: Scores, lengths: Scores) -> Scores:
    """The same of the halves that the first two parts make, by the last two."""
    rates = _by(counts[:, :2].sum(axis=1), lengths[:, :2].sum(axis=1))
    low, high = np.array_split(np.argsort(rates, kind="stable"), 2)
    return _more(*(of[which, -2:].sum() for which in (high, low) for of in (counts, lengths)))


def _more(counts: Any, rows: Any, others: Any, their_rows: Any) -> Scores:
    """P-value that a rate is at most the ratio times that of others, given the total."""
    share = _by(RATIO * rows, RATIO * rows + their_rows)
    return np.where(counts > 0, betainc(np.maximum(counts, 1e-9), others + 1, share), 1.0)


def _by(one: Any, other: Any) -> Scores:
    return np.asarray(one / np.maximum(other, 1e-9))
