"""What a column's deviations are worth: standardised ones, and those of a column that stood still.

A column without any spread in training has no unit to measure a later move in. That it moves at
all is the evidence, however little it moves: n training rows without a move make it as rare as the
most unusual of them, which is worth about log(n + 1) nats, and no more.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

Values = NDArray[np.float64]

_ULPS = 8  # a value that is computed in another order strays by a few units in its last place
_NOTHING = 1e-20  # a score of rounding alone, squared or not
_LARGEST = np.finfo(np.float64).max


def stands_still(X: Values, ulps: float = _ULPS) -> NDArray[np.bool_]:
    """Whether the values of each column differ by nothing but rounding.

    By their range: the standard deviation of equal values need not be 0, and one of a billionth of
    their size may be real.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
    ulps : float
        What counts as rounding, in units in the last place of the largest value.

    Returns
    -------
    ndarray of bool, shape (...)

    Examples
    --------
    >>> stands_still(np.array([[0.1 + 0.2, 1e9], [0.3, 1e9 + 1e-5]])).tolist()
    [True, False]
    """
    low, high = X.min(axis=0), X.max(axis=0)
    room = ulps * np.spacing(np.maximum(np.abs(low), np.abs(high)))
    return np.asarray(high / 2 - low / 2 <= room / 2)


def still_values(X: Values) -> Values:
    """The value of each column that stands still, inf of one that moves: (n_features,)."""
    return np.where(stands_still(X), X.min(axis=0) / 2 + X.max(axis=0) / 2, np.inf)


def moved(X: Values, still: Values | float) -> NDArray[np.bool_]:
    """Where a value is not the one that its column had (`still_values`), rounding apart.

    Examples
    --------
    >>> moved(np.array([[5.0, 1.0], [5.0000001, 2.0]]), np.array([5.0, np.inf])).tolist()
    [[False, False], [True, False]]
    """
    with np.errstate(over="ignore", invalid="ignore"):  # no distance is beyond that of inf
        return np.asarray(np.abs(X - still) > _ULPS * np.spacing(np.abs(still)))


def worth(scores: Values) -> tuple[float, float]:
    """What a move is worth among such scores: the usual one, and the step up to the highest.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Of normal rows, without moves; best of rows that training has not seen.
    """
    usual, top = float(np.median(scores)), float(scores.max())
    step = min(top - usual, _LARGEST)
    if step <= 1e-6 * abs(top) + _NOTHING:  # nothing but rounding tells normal rows apart
        step = max(abs(top), 1.0)
    return usual, min(1.001 * step, _LARGEST)  # above the highest, which may be the threshold


def with_moves(scores: Values, n_moved: NDArray[np.int64], usual: float, step: float) -> Values:
    """Scores of rows in which so many columns moved that stood still in training.

    From the usual score on a row gains the distance to the highest that normal rows have, and for
    each further move as much again. A move then lies where one in n + 1 normal rows does, whatever
    the score and its tail: it drowns nothing that lies farther out, nor does it drown.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        As if nothing had moved.
    n_moved : ndarray of int, shape (n,)
    usual, step : float
        From `worth`.

    Examples
    --------
    >>> usual, step = worth(np.array([1.0, 2.0, 5.0]))
    >>> with_moves(np.array([1.0, 1.0, 9.0]), np.array([0, 1, 1]), usual, step).round(2).tolist()
    [1.0, 5.0, 12.0]
    """
    with np.errstate(over="ignore"):
        high = np.maximum(scores, usual) + n_moved * step
    return np.where(n_moved > 0, np.minimum(high, _LARGEST), scores)


def center_scale(X: Values, *, robust: bool = False) -> tuple[Values, Values]:
    """Centre and scale of each column: mean and standard deviation, or median and quartiles.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    robust : bool
        Median, and the interquartile range over 1.349 (which is the standard deviation of normal
        data). Where half of the values are equal the range is 0: the standard deviation is used.

    Returns
    -------
    center, scale : ndarray of shape (n_features,)
        The scale of a column that stands still is negative: `standardise` then makes any move
        ``-1 / scale`` deviations, as many as one in n + 1 normal values exceeds.

    Examples
    --------
    >>> center, scale = center_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> center.tolist(), scale.round(3).tolist()
    ([2.0, 5.0], [1.0, -1.034])
    """
    still = still_values(X)
    # a power of two is divided out and back without rounding, and no sum of huge values overflows
    size = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1] - 1)
    X = X / size
    center, scale = X.mean(axis=0), X.std(axis=0)
    if robust:
        low, center, high = np.percentile(X, (25, 50, 75), axis=0)
        scale = np.where(stands_still(np.stack([low, high])), scale, (high - low) / 1.349)
    return (np.where(np.isinf(still), center * size, still),
            np.where(np.isinf(still), scale * size, 1 / ndtri(0.5 / (len(X) + 1))))


def log_p_of_moves(scale: Values) -> Values:
    """Natural logarithm of the p-value of a move of each column; 0 where a move is nothing special.

    Parameters
    ----------
    scale : ndarray of shape (n_features,)
        From `center_scale` on n rows: a column that stands still in all moves in one of n + 1.

    Returns
    -------
    ndarray of shape (n_features,)

    Examples
    --------
    >>> _, scale = center_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> np.exp(log_p_of_moves(scale)).round(6).tolist()
    [1.0, 0.333333]
    """
    still = scale < 0
    return np.where(still, np.log(2) + log_ndtr(1 / np.where(still, scale, -1.0)), 0.0)


def as_shares(parts: Values) -> Values:
    """Parts (n, d) of at least 0 as shares of their row's sum; even ones where that is 0.

    Examples
    --------
    >>> as_shares(np.array([[1.0, 3.0], [0.0, 0.0]]))
    array([[0.25, 0.75],
           [0.5 , 0.5 ]])
    """
    total = parts.sum(axis=1, keepdims=True)
    return np.divide(parts, total, out=np.full_like(parts, 1 / parts.shape[1]), where=total > 0)


def standardise(X: Values, center: Values | float, scale: Values) -> Values:
    """``(X - center) / scale``, clipped at 1e150 so that squares and sums of squares stay finite.

    Moves of a column that stood still (a negative scale) are bounded: see `center_scale`.

    Examples
    --------
    >>> standardise(np.array([[3.0, 1e300, 7.1]]), np.array([0, 0, 7.0]), np.array([2.0, 1.0, -0.2])
    ...             ).tolist()
    [[1.5, 1e+150, 5.0]]
    """
    with np.errstate(over="ignore"):
        Z = np.clip((X - center) / scale, -1e150, 1e150)
    if (np.asarray(scale) < 0).any():
        away = moved(X, center) * np.sign(Z)
        Z = np.where(np.asarray(scale) < 0, away / scale, Z)
    return Z
