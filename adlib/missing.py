"""Missing values: what fills them, how much was filled, and rows that hold next to nothing.

A gap is filled with the median of its column among the rows that train. That is a guess, so it is
stated, and a row that is mostly guessed is marked: whatever its score, it is not called normal.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["POLICIES", "Filled", "MissingWarning", "above", "fill", "fill_values", "kept",
           "raised"]

POLICIES = ("error", "impute")
MUCH = 0.1  # share of a column beyond which filling is worth a warning
FEW = 10  # rows of which a tenth cannot be found
MOST = 0.5  # share of a row beyond which it is marked

Array = NDArray[np.float64]


class MissingWarning(UserWarning):
    """Much was filled, or rows are mostly missing."""


class Filled(NamedTuple):
    """Rows without gaps, and where they were.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_features)
        The array that was given where nothing is missing.
    gaps : ndarray of bool, shape (n_samples, n_features), or None
        True where a value was filled; None where nothing is missing.
    """

    rows: Array
    gaps: NDArray[np.bool_] | None = None

    @property
    def blind(self) -> NDArray[np.bool_]:
        """Rows of which more than half is missing, shape (n_samples,)."""
        if self.gaps is None:
            return np.zeros(len(self.rows), dtype=bool)
        return self.gaps.mean(axis=1) > MOST


def fill_values(X: Array, names: Sequence[str], *, what: str = "X") -> tuple[Array, Array]:
    """Learn what fills gaps from rows that train.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN where a value is missing.
    names : sequence of str
        Of the columns.
    what : str
        What the messages call the rows.

    Returns
    -------
    values, shares : ndarray of shape (n_features,)
        Median of each column, and its share of missing values.

    Raises
    ------
    ValueError
        When a column holds no value at all: nothing can be learned about it.

    Examples
    --------
    >>> values, shares = fill_values(np.array([[1.0], [np.nan], [2.0], [6.0]]), ["heat"])
    >>> values.tolist(), shares.tolist()
    ([2.0], [0.25])
    """
    gaps = np.isnan(X)
    if empty := np.flatnonzero(gaps.all(axis=0)).tolist():
        listed = ", ".join(repr(names[j]) for j in empty)
        raise ValueError(f"{what} holds no value of {listed} in the {len(X)} rows that train, so "
                         f"there is nothing to fill gaps with: leave the column out")
    return np.nanmedian(X, axis=0), gaps.mean(axis=0)


def fill(X: Array, values: Array, names: Sequence[str], *, what: str = "X") -> Filled:
    """Fill gaps; the array that was given stays as it is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        NaN where a value is missing.
    values : ndarray of shape (n_features,)
        From `fill_values`.
    names : sequence of str
        Of the columns.
    what : str
        What a warning calls the rows.

    Returns
    -------
    Filled
    """
    gaps = np.isnan(X)
    if not gaps.any():
        return Filled(X)
    found = Filled(np.where(gaps, values, X), gaps)
    _warn(gaps, names, what, int(found.blind.sum()))
    return found


def _warn(gaps: NDArray[np.bool_], names: Sequence[str], what: str, marked: int) -> None:
    n, shares, parts = len(gaps), gaps.mean(axis=0), []
    if n >= FEW and (shares > MUCH).any():
        much = ", ".join(f"{name} {share:.0%}"
                         for name, share in zip(names, shares, strict=True) if share > MUCH)
        parts.append(f"missing values were filled by the median: {much} of {n} rows")
    if marked:
        parts.append(f"{marked} of {n} rows lack more than half of their values, and are marked: "
                     f"their score is raised above the threshold")
    if parts:
        warnings.warn(f"{what}: {'; '.join(parts)}", MissingWarning, stacklevel=5)


def kept(scores: NDArray[Any], filled: Filled) -> NDArray[Any]:
    """Scores to calibrate on, without those of rows that are mostly missing.

    Parameters
    ----------
    scores : ndarray of shape (n, ...)
        Of the last n rows of ``filled``.
    filled : Filled

    Returns
    -------
    ndarray of shape (n_kept, ...)

    Raises
    ------
    ValueError
        When none is left.
    """
    blind = filled.blind[len(filled.rows) - len(scores):]
    if len(blind) and blind.all():
        raise ValueError(f"X must hold rows to calibrate on, and more than half of the values is "
                         f"missing in each of the {len(blind)} that are held out")
    return scores[~blind] if blind.any() else scores


def above(threshold: float, highest: float) -> float:
    """The lowest score that is flagged; where none is, the highest that normal rows had.

    Parameters
    ----------
    threshold : float
        Flagged is what lies above it.
    highest : float
        Of the held-out scores.

    Returns
    -------
    float
    """
    level = np.nextafter(threshold, np.inf)
    return float(level if np.isfinite(level) else highest)


def raised(scores: Array, filled: Filled, threshold: float, highest: float) -> Array:
    """Scores in which rows that are mostly missing lie above the threshold, just so.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    filled : Filled
        The rows that they are of.
    threshold, highest : float
        See `above`.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    if filled.gaps is None:
        return scores
    return np.where(filled.blind, np.maximum(scores, above(threshold, highest)), scores)
