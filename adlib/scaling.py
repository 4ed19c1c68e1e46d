"""Centre and scale of the columns, with a floor so that a constant column divides by one."""

import numpy as np
from numpy.typing import NDArray


def standardise(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
    >>> center, scale = standardise(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> center.tolist(), scale.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    center, scale = X.mean(axis=0), X.std(axis=0)
    return center, np.where(scale > 1e-9 * np.abs(center), scale, 1.0)
