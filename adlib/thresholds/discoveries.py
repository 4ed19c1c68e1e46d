"""Many rows judged at once, or for ever: how many of the alarms are false.

`Conformal` bounds the share of *normal rows* that are flagged. The false discovery rate is the
share of *flagged rows* that are normal, which is what the person reading the alarms sees.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from adlib.arguments import floats, number, whole
from adlib.thresholds.rules import CalibrationWarning, check_alpha


class Discoveries(NamedTuple):
    """What `benjamini_hochberg` finds in a batch.

    Attributes
    ----------
    is_discovery : ndarray of bool, shape (n_rows,)
    p_cut : float
        Rows with a p-value up to it are discoveries; 0 where there are none.
    fewest : int
        No smaller number of discoveries is possible at this calibration size; 1 where the p-values
        have no floor.
    """

    is_discovery: NDArray[np.bool_]
    p_cut: float
    fewest: int


def benjamini_hochberg(p: ArrayLike, fdr: float = 0.1, *,
                       n_calibration: int | None = None) -> Discoveries:
    """Flag rows of a batch so that at most a share ``fdr`` of the flags is false, on average.

    Benjamini and Hochberg (1995). With conformal p-values of rows that are independent of each
    other and, where normal, exchangeable with the calibration rows, the expected share of false
    flags is at most ``fdr`` times the share of normal rows in the batch, although all p-values
    rest on the same calibration rows (Bates et al. 2023). No promise for rows that depend on each
    other, such as neighbours in a series; how many are flagged then varies more than the rate says.

    A conformal p-value is never below 1 / (n + 1), so a batch of m rows needs at least
    m / (fdr * (n + 1)) discoveries to have any; see ``fewest``.

    Parameters
    ----------
    p : array-like of shape (n_rows,)
        p-values in [0, 1], such as ``detector.calibration_.p_value(score)``. Extrapolated ones
        have no floor, and no promise.
    fdr : float
        Tolerated share of false flags, in (0, 1).
    n_calibration : int, optional
        Held-out rows behind the p-values. A `CalibrationWarning` then says when not even a wholly
        anomalous batch could be flagged.

    Returns
    -------
    Discoveries
        Flags, the cut they come from, and the fewest that could be found.

    Examples
    --------
    >>> found = benjamini_hochberg([0.01, 0.8, 0.02, 0.5], fdr=0.1, n_calibration=99)
    >>> found.is_discovery.tolist(), found.p_cut, found.fewest
    ([True, False, True, False], 0.02, 1)
    """
    p = _p_values(p)
    check_alpha(fdr, "fdr")
    m, fewest = len(p), 1
    if n_calibration is not None:
        whole(n_calibration, "n_calibration", 1, of="rows")
        fewest = max(1, int(np.ceil(m / (fdr * (n_calibration + 1)) - 1e-9)))
        if fewest > m > 0:
            warnings.warn(
                f"fdr={fdr:g} needs at least {int(np.ceil(1 / fdr - 1e-9)) - 1} calibration rows, "
                f"got {n_calibration}: no batch can have a discovery", CalibrationWarning,
                stacklevel=2)
    order = np.sort(p)
    # 1e-12: p = 3 / 100 must not miss a line that is 0.03 on paper
    below = np.flatnonzero(order <= fdr * np.arange(1, m + 1) / max(m, 1) * (1 + 1e-12))
    p_cut = float(order[below[-1]]) if len(below) else 0.0
    return Discoveries((p <= p_cut) if len(below) else np.zeros(m, dtype=bool), p_cut, fewest)


class OnlineFDR(BaseEstimator):
    """Flag rows of an endless stream so that at most a share ``fdr`` of recent flags is false.

    At row t the p-value must not exceed a level that is fixed before it is seen,

        level_t = w * (1 - d) + (fdr - w) * sum over discoveries s < t of d^(t-s) g(t-s)

    with ``w = fdr / 2``, ``d = 1 - 1 / memory`` and geometric ``g`` that sums to 1: a constant
    trickle, and a reward for each discovery, spent soon after it. This is LORD (Javanmard and
    Montanari 2018; Ramdas et al. 2017) with decaying memory, where rows count by ``d^age``. Unlike
    plain LORD its level never dies out in a long quiet stretch. Since the sum of ``d^age *
    level`` stays at or below ``fdr * max(1, D)``, D the weight of the discoveries, the expected
    weight of false discoveries over max(1, D) is at most ``fdr`` at every row.

    That rests on p-values which are independent of each other and, for normal rows, no smaller
    than uniform ones. Rows of one burst are not independent: feed one p-value per event. Nor quite
    are p-values that share few calibration rows, and a level of about ``fdr / (2 * memory)`` asks
    for some ``2 * memory / fdr`` of them; extrapolated p-values make the promise an empirical one.

    Parameters
    ----------
    fdr : float
        Tolerated share of false flags, in (0, 1).
    memory : int
        Rows that count as recent, at least 2.

    Attributes
    ----------
    level_ : float
        The level for the next p-value.

    Examples
    --------
    >>> stream = OnlineFDR(fdr=0.1, memory=100)
    >>> [stream.update(p) for p in (0.3, 1e-6, 0.002, 0.9)]  # after a discovery the level is higher
    [False, True, True, False]
    """

    def __init__(self, fdr: float = 0.1, *, memory: int = 1_000):
        self.fdr = fdr
        self.memory = memory

    def _start(self) -> None:
        check_alpha(self.fdr, "fdr")
        memory = whole(self.memory, "memory", 2, of="rows")
        d, g = 1 - 1 / memory, 1 - 1 / max(memory / 10, 2)
        self.trickle_ = self.level_ = self.fdr / 2 * (1 - d)
        self.decay_ = d * g
        self.share_ = self.fdr / 2 * (1 - g) / g  # g(k) = (1 - g) g^(k-1) sums to 1
        self.reward_ = 0.0

    def update(self, p: float) -> bool:
        """Judge one p-value: True where it is a discovery."""
        if not hasattr(self, "reward_"):
            self._start()
        number(p, "p", least=0, most=1)
        found = bool(p <= self.level_)
        # the sum over discoveries, carried along: each ages by one row
        self.reward_ = (self.reward_ + found) * self.decay_
        self.level_ = self.trickle_ + self.share_ * self.reward_
        return found

    def process(self, p: ArrayLike) -> NDArray[np.bool_]:
        """Update with each p-value in order; flags of shape (n_rows,)."""
        return np.array([self.update(value) for value in _p_values(p).tolist()], dtype=bool)


def _p_values(p: ArrayLike) -> NDArray[np.float64]:
    p = floats(p, "p")
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p must be p-values in [0, 1] of shape (n_rows,), got shape {p.shape}"
                         f"{f', {p.min():g} to {p.max():g}' if p.size else ''}")
    return p
