"""Weighted means of neighbouring rows, with a finite past: what smooths finished scores.

Every mean is one sum of full length over the rows around it, not a running sum and not a Fourier
transform: a huge value is forgotten exactly when it leaves the weights, and a row's mean does not
depend on how many rows follow it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

REACH = 4  # memories after which a weight counts as nothing: exp(-4), and standard deviations


def memory_rows(rows: float) -> int:
    """How many rows `memory_weights` of this memory reaches over, the row itself included.

    Examples
    --------
    >>> memory_rows(1), memory_rows(2.5), memory_rows(50)
    (1, 10, 200)
    """
    return math.ceil(REACH * rows) if rows > 1 else 1


def memory_weights(rows: float) -> NDArray[np.float64]:
    """Weights of an exponential memory: each is 1 - 1 / rows times that of the next row.

    Cut to `memory_rows` rows, so that an old value is forgotten altogether, and normalised.

    Parameters
    ----------
    rows : float
        Memory in rows, at least 1: the mean of a long step reaches 63 % of it after so many rows.

    Returns
    -------
    ndarray of shape (memory_rows(rows),)
        Oldest first, of sum 1.

    Examples
    --------
    >>> memory_weights(2)[-3:].round(3).tolist()
    [0.125, 0.251, 0.502]
    """
    weights = (1.0 - 1.0 / max(1.0, rows)) ** np.arange(memory_rows(rows))[::-1]
    return weights / weights.sum()


def gaussian_weights(sd: float, delay: int | None = None) -> tuple[NDArray[np.float64], int]:
    """Weights of a centred Gaussian, cut at four standard deviations, and its look-ahead.

    Parameters
    ----------
    sd : float
        Standard deviation in rows, above 0.
    delay : int, optional
        Rows further ahead than this have no weight; the others are normalised again.

    Returns
    -------
    weights : ndarray of shape (n_weights,)
        Oldest first, of sum 1.
    ahead : int
        How many of them belong to rows after the row itself.

    Examples
    --------
    >>> weights, ahead = gaussian_weights(1.0, delay=1)
    >>> weights.round(3).tolist(), ahead
    ([0.0, 0.005, 0.057, 0.257, 0.424, 0.257], 1)
    """
    reach = math.ceil(REACH * sd)
    ahead = reach if delay is None else min(reach, int(delay))
    weights = np.exp(-0.5 * (np.arange(-reach, ahead + 1) / sd) ** 2)
    return weights / weights.sum(), ahead


def smooth(S: ArrayLike, weights: NDArray[np.float64], ahead: int = 0) -> NDArray[np.float64]:
    """Weighted mean of each row and its neighbours; at the ends, of those that exist.

    Parameters
    ----------
    S : array-like of shape (n,) or (n, d)
    weights : ndarray of shape (n_weights,)
        Above 0 for the row itself, oldest first.
    ahead : int, default=0
        How many of the weights belong to later rows. With 0, ``smooth(S[:t])`` equals
        ``smooth(S)[:t]`` exactly.

    Returns
    -------
    ndarray of float64, of the shape of S

    Examples
    --------
    >>> smooth([0.0, 0.0, 8.0, 0.0, 0.0], np.array([0.25, 0.75])).tolist()
    [0.0, 0.0, 6.0, 2.0, 0.0]
    >>> smooth([6.0, 0.0, 0.0], np.array([0.25, 0.5, 0.25]), ahead=1).tolist()
    [4.0, 1.5, 0.0]
    """
    S = np.asarray(S, dtype=np.float64)
    if S.ndim > 1:
        columns = [smooth(column, weights, ahead) for column in S.T]
        return np.column_stack(columns) if columns else S.copy()
    if not len(S):
        return S.copy()
    pad = (len(weights) - 1 - ahead, ahead)
    total = np.correlate(np.pad(S, pad), weights, "valid")
    return total / np.correlate(np.pad(np.ones(len(S)), pad), weights, "valid")
