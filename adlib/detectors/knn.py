"""Distance to the nearest training rows: a strong simple detector on tables."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from adlib.arguments import one_of
from adlib.base import MANY_ROWS, Detector, Scores
from adlib.scaling import as_shares, center_scale, standardise

_CHUNK = 2_000_000  # differences held in memory at once
_FLAT = 10  # columns up to which a tree is never much slower than comparing rows
_SEARCHED, _COMPARED = 100_000, 20_000  # rows that take .02 to .2 ms for each row scored


def _index(rows: NDArray[np.float64]) -> Any:
    """What finds neighbours: one that is exact, and the faster one where rows are many.

    SciPy's tree takes half the time of scikit-learn's; of more columns, where these vary
    independently, a tree would take up to twenty times longer than comparing all rows.
    """
    if len(rows) <= MANY_ROWS:
        return NearestNeighbors().fit(rows)
    if rows.shape[1] <= _FLAT:
        return cKDTree(rows)
    return NearestNeighbors(algorithm="brute").fit(rows)


class KNN(Detector):
    """Distance to the nearest training rows, in standard deviations of the features.

    Rows far from everything that was normal are anomalous (Ramaswamy, Rastogi and Shim 2000).
    No training to speak of and no shape assumed, which makes it the peer to beat on tables: of the
    classical detectors in `benchmarks/odd.py` and `benchmarks/tabular.py` none ranks better on both
    collections.

    Fails when normal regions differ much in density (a sparse but normal cluster scores high), when
    many features are noise, and slowly: scoring costs a search through the training rows.

    Parameters
    ----------
    n_neighbors : int
        k, at least 1; at most the number of training rows is used.
    method : {"mean", "largest"}
        Mean distance over the k nearest (Angiulli and Pizzuti 2002), or distance to the k-th.
    max_rows : int, None or "auto"
        Training rows that are searched, at least 1: of more, as many are drawn (without
        replacement, the same every time). Time then grows with the rows, not with their square.
        "auto": 100,000 where a tree finds the nearest, up to 10 columns (``window`` times
        features), and 20,000 beyond. None: all of them.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    How the default was chosen (`benchmarks/defaults.py`, 22 tables of ADBench and 67 of macrOData,
    six settings; AUC and average precision, 95 % intervals over sets). With clean training rows
    "mean" is above "largest" by .006 [+.001, +.011] and .014 [+.009, +.019], in windows on series
    by .014 [+.005, +.027] VUS-PR. With 2 to 10 % anomalies among the training rows it is not: -.006
    [-.015, +.001] and -.003 [-.010, +.004]. No setting was at its best with clean and with dirty
    rows, as the rule asked; this one gains most where rows are clean. Where anomalies are to be
    expected in training, more neighbours than such rows come in a group help: 20 instead of 5 gain
    .040 AUC and .017 average precision there, and lose .005 and .020 on clean rows.

    `contributions` share the score by the squared distance from the mean of the neighbours, feature
    by feature, and add up to it. (A single neighbour's own oddities would be taken for the row's:
    on shifted parts of `make_manufacturing` the right feature comes first in 74 % then, not 89.)

    Fewer rows are searched at a price where anomalies lie close to dense normal rows. On the one
    set of ADBench and macrOData that pays much, cover (142,000 training rows of 10 columns),
    average precision falls from .70 to .66 with the default's 100,000, and to .45 with 20,000; on
    http (283,000 of 3) not at all, and with 5 % anomalies among the training rows neither loses
    (the AUC of http falls by .035 then). Of more columns no set is as large: 20,000 of 24,000 rows
    cost ALOI .003, 10,000 of 18,000 campaign nothing (`benchmarks/cost.py references`, three
    draws). Wide windows were not looked at.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> KNN().fit(X).detect([[0.0, 0.0], [8.0, 8.0]]).is_anomaly.tolist()
    [False, True]
    """

    def __init__(self, *, n_neighbors: int = 5, method: str = "mean",
                 max_rows: int | str | None = "auto", **base: Any):
        super().__init__(**base)
        self.n_neighbors = n_neighbors
        self.method = method
        self.max_rows = max_rows

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("n_neighbors")
        if not (isinstance(self.max_rows, str) and self.max_rows == "auto"):
            self._check_whole("max_rows", optional=True)
        one_of(self.method, "method", ("mean", "largest"))

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.center_, self.scale_ = center_scale(X)
        if len(X) > (most := self._most(X.shape[1], len(X))):
            # drawn at random: every tenth row would be the same phase of a cycle
            X = X[np.sort(np.random.default_rng(0).permutation(len(X))[:most])]
        self.rows_ = standardise(X, self.center_, self.scale_)
        self._index = _index(self.rows_)

    def _most(self, n_columns: int, n_rows: int) -> int:
        """Training rows that are searched."""
        if self.max_rows == "auto":
            return min(n_rows, _SEARCHED if n_columns <= _FLAT else _COMPARED)
        return n_rows if self.max_rows is None else int(min(n_rows, self.max_rows))

    def _work(self, n: int, d: int) -> tuple[float, float]:
        most, k = self._most(d, n), int(self.n_neighbors)
        # how far a tree must look depends on the rows: a third of it, or three times as much
        search = 1.9e-9 * d**2 * most**0.5 if d <= _FLAT else most * (2e-9 + 5e-11 * d)
        return 3e-8 * n * d + 2e-7 * most * d, search + 1e-6 + 3e-8 * k * d

    def _differences(self, X: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """From the k nearest training rows, (n, k, features), nearest first, in batches."""
        if "_index" not in self.__dict__:  # not saved: rebuilt from the rows after loading
            self._index = _index(self.rows_)
        k = min(self.n_neighbors, len(self.rows_))
        step = max(1, _CHUNK // (int(self.n_neighbors) * X.shape[1]))
        for start in tqdm(range(0, len(X), step), desc="searching neighbours", delay=5,
                          leave=False, disable=None):
            Z = standardise(X[start:start + step], self.center_, self.scale_)
            if isinstance(self._index, cKDTree):
                near = self._index.query(Z, range(1, k + 1))[1]
            else:
                near = self._index.kneighbors(Z, k, return_distance=False)
            yield Z[:, None, :] - self.rows_[near]

    def _score(self, X: NDArray[np.float64]) -> Scores:
        parts = []
        for differences in self._differences(X):
            # distances again from the differences: the search's own come from a matrix product
            # whose last digits depend on the batch
            squares = differences**2
            distance = np.sqrt(squares.sum(axis=2, keepdims=True))
            shares = np.divide(squares, distance, out=np.zeros_like(squares), where=distance > 0)
            if self.method == "mean":
                parts.append(shares.mean(axis=1).sum(axis=1))
            else:
                furthest = distance.argmax(axis=1)[:, :, None]
                parts.append(np.take_along_axis(shares, furthest, axis=1)[:, 0].sum(axis=1))
        return np.concatenate(parts)

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = np.concatenate([differences.mean(axis=1) ** 2
                                for differences in self._differences(X)])
        return as_shares(parts) * self._score(X)[:, None]
