"""Standardised columns: a constant one divides by one, and no value overflows when squared."""

import numpy as np
from numpy.typing import NDArray


def center_scale(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column.

    A column whose spread is rounding noise (below a billionth of its size) gets scale 1: a later
    deviation then counts in the unit of the data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)

    Returns
    -------
    center, scale : ndarray of shape (n_features,)

    Examples
    --------
    >>> center, scale = center_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> center.tolist(), scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    center, scale = X.mean(axis=0), X.std(axis=0)
    return center, np.where(scale > 1e-9 * np.abs(center), scale, 1.0)


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
