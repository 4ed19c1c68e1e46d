"""What a fit is going to cost, said beforehand: about so many seconds, so much memory."""

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

LONG = 60.0  # seconds that are not reported
_MIB = 2**20

class CostWarning(UserWarning):
    """A fit, or scoring as many rows, takes longer than a minute, or much of the memory."""


class Cost(NamedTuple):
    """What rows are expected to cost on one core of 2026: about, a factor of three either way.

    Attributes
    ----------
    fit_s : float
        Seconds to fit, calibration included. NaN where a detector does not say.
    score_s : float
        Seconds to score as many rows.
    values : float
        Numbers in memory at most, beside the caller's rows.
    """

    fit_s: float
    score_s: float
    values: float

    @property
    def mib(self) -> float:
        """Peak memory beside the caller's rows, in MiB."""
        return 8 * self.values / _MIB


class Bounded:
    """Before an estimator whose time grows with the square of the rows: it learns from some.

    As many as ``max_rows``, drawn at random, the same every time; a warning says so.
    """

    max_rows = 20_000

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn from the rows, or from as many as the bound allows."""
        if (n := len(X)) > self.max_rows:
            warnings.warn(f"{type(self).__name__} learned from {self.max_rows:,} of {n:,} rows: "
                          f"its time grows with their square", stacklevel=2)
            X = np.asarray(X)[np.sort(np.random.default_rng(0).permutation(n)[:self.max_rows])]
        return super().fit(X)  # type: ignore[misc]


# Seconds of a fit on n rows of d columns, and of scoring one; with scikit-learn's own defaults.
_FOREIGN: dict[str, Callable[[Any, int, int], tuple[float, float]]] = {
    "EllipticEnvelope": lambda _, n, d: ((0.2 + 1e-4 * n) * (1 + d**2 / 1_000), 2e-9 * d**2),
    "IsolationForest": lambda model, n, d: (1e-3 * model.n_estimators, 1e-7 * model.n_estimators),
    "LocalOutlierFactor": lambda model, n, d: (n * _neighbours(n, d), _neighbours(n, d)),
    "OneClassSVM": lambda model, n, d: (4e-8 * model.nu * n**2, 2e-8 * model.nu * n),
}


def _neighbours(n: int, d: int) -> float:
    """Seconds of scikit-learn's search for one row: by a tree, or through all of them."""
    return 1e-5 + (2e-9 * d**2 * n**0.5 if d <= 15 else n * (2e-9 + 5e-11 * d))


def foreign_cost(model: Any, n_rows: int, n_columns: int) -> Cost:
    """What a detector of scikit-learn costs that adlib names; NaN for any other.

    Parameters
    ----------
    model : estimator
    n_rows, n_columns : int

    Returns
    -------
    Cost
    """
    known = _FOREIGN.get(type(model).__name__)
    if known is None:
        return Cost(float("nan"), float("nan"), 0.0)
    fit_s, row_s = known(model, min(n_rows, getattr(model, "max_rows", n_rows)), n_columns)
    return Cost(fit_s, n_rows * row_s, 3.0 * n_rows * n_columns)


def spoken(seconds: float) -> str:
    """A duration as people say it.

    Examples
    --------
    >>> [spoken(s) for s in (3.2, 75, 400, 9_000, 400_000)]
    ['3 s', '75 s', '7 minutes', '2 hours', '5 days']
    """
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def say(name: str, shape: tuple[int, ...], cost: Cost, cheaper: list[str]) -> None:
    """Warn where a fit, or scoring as many rows, is beyond a minute or half of the memory.

    Parameters
    ----------
    name : str
    shape : (int, int)
        Of the rows.
    cost : Cost
    cheaper : list of str
        What would cost less.

    Warns
    -----
    CostWarning
    """
    if not (cost.fit_s > LONG or cost.score_s > LONG or 2 * cost.mib > _memory()):
        return
    warnings.warn(
        f"{name}: fitting {shape[0]:,} rows x {shape[1]:,} columns takes about "
        f"{spoken(cost.fit_s)} on one core and {cost.mib:,.0f} MiB, scoring as many about "
        f"{spoken(cost.score_s)}; cheaper: {', '.join([*cheaper, 'fewer rows'])}",
        CostWarning, stacklevel=4)


def _memory() -> float:
    """MiB that this machine has, where the system says so."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MIB
    except (AttributeError, ValueError, OSError):
        return float("inf")
