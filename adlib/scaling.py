"""Standardised columns: a constant one divides by one, and no value overflows when squared."""

import numpy as np
from numpy.typing import NDArray


def center_scale(X: NDArray[np.float64], *, robust: bool = False
                 ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and scale of each column: mean and standard deviation, or median and quartiles.

    A column whose spread is rounding noise (below a billionth of its size) gets scale 1: a later
    deviation then counts in the unit of the data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    robust : bool
        Median, and the interquartile range over 1.349 (which is the standard deviation of normal
        data). Where half of the values are equal the range is 0: the standard deviation is used.

    Returns
    -------
    center, scale : ndarray of shape (n_features,)

    Examples
    --------
    >>> center, scale = center_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> center.tolist(), scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    # a power of two is divided out and back without rounding, and no sum of huge values overflows
    size = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1] - 1)
    X = X / size
    center, scale = X.mean(axis=0), X.std(axis=0)
    constant = scale <= 1e-9 * np.abs(center)
    if robust:
        low, center, high = np.percentile(X, (25, 50, 75), axis=0)
        spread = (high - low) / 1.349
        scale = np.where(spread > 1e-9 * np.abs(center), spread, scale)
    return center * size, np.where(constant, 1.0, scale * size)


def standardise(X: NDArray[np.float64], center: NDArray[np.float64] | float,
                scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(X - center) / scale``, clipped at 1e150 so that squares and sums of squares stay finite.

    Examples
    --------
    >>> standardise(np.array([[3.0, 1e300]]), np.zeros(2), np.array([2.0, 1.0])).tolist()
    [[1.5, 1e+150]]
    """
    with np.errstate(over="ignore"):
        return np.clip((X - center) / scale, -1e150, 1e150)
