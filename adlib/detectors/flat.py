"""Online detectors whose state is one flat array that compiled kernels work on.

Each array argument of a compiled call costs a tenth of a microsecond, so there is one. Kernels get
the row as the caller has it; what they refuse is converted or named in an error in one place.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numba.types import Array, void
from numba.types import float64 as f8
from numpy.typing import NDArray

from adlib.arguments import floats
from adlib.base import OnlineDetector, Scores

row = Array(f8, 1, "C", readonly=True)  # read-only: kernels take frozen arrays too
rows = Array(f8, 2, "C", readonly=True)
state = f8[::1]


def jit(*signatures: Any) -> Callable:
    """Compile for these signatures only, ahead of the first row.

    A list or an integer array is then refused instead of compiled for.
    """
    return numba.njit(list(signatures), cache=True, error_model="numpy")


@jit(void(row, row, f8))
def check_row(x, s, n_features):
    """A short row would be read past its end; one NaN would spoil the state for ever."""
    bad = len(x) != n_features
    for j in range(len(x)):
        bad |= not np.isfinite(x[j])
    if bad:
        raise ValueError  # `FlatStateDetector._row` says what is wrong


def is_count(values: Any) -> bool:
    """Whether these floats are all whole numbers >= 0 that an index may be made of."""
    return bool(np.all((values >= 0) & (values < 2**53) & (values % 1 == 0)))


class FlatStateDetector(OnlineDetector):
    """An `OnlineDetector` made of five kernels over ``state_``.

    A subclass sets ``_kernels`` and makes ``state_`` in ``_reset``. Rows are checked by the kernels
    of one row; those of many trust their input.

    Parameters
    ----------
    window, alpha, threshold, calibration
        See `adlib.Detector`.
    """

    _kernels: ClassVar[dict[str, Callable]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Bind the kernels as plain functions: a look-up by name would cost more than they do."""
        super().__init_subclass__(**kwargs)
        for name, kernel in cls.__dict__.get("_kernels", {}).items():
            setattr(cls, f"_k_{name}", staticmethod(kernel))

    def score_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,) and learn nothing."""
        try:
            return self._k_score_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return self._k_score_one(self._row(x), self.state_)

    def learn_one(self, x: NDArray[np.float64]) -> None:
        """Learn one row of shape (n_features,)."""
        try:
            self._k_learn_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            self._k_learn_one(self._row(x), self.state_)

    def process_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,), then learn it."""
        try:
            return self._k_process_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return self._k_process_one(self._row(x), self.state_)

    def _row(self, x: Any) -> NDArray[np.float64]:
        found = np.ascontiguousarray(np.atleast_1d(floats(x, "x")))
        d = self.n_features_in_ if hasattr(self, "state_") else found.size
        if found.shape != (d,) or d == 0:
            raise ValueError(f"x must have shape ({d or 'n_features'},), got {found.shape}")
        if not np.isfinite(found).all():
            raise ValueError(f"x must be finite, got {found[~np.isfinite(found)][0]} in column "
                             f"{int(np.isfinite(found).argmin())}")
        if not hasattr(self, "state_"):
            self.check_params()
            self._start(d)
        return found

    def _process(self, X: NDArray[np.float64]) -> Scores:
        return self._k_process_rows(X.ravel(), self.state_)

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return self._k_score_rows(X.ravel(), self.state_)
