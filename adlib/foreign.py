"""Detectors of other libraries as ours: calibrated, causal, with seeds, in every ensemble.

`adlib.compare`, `adlib.detectors.Ensemble` and the live engine wrap by themselves what they are
given. By hand it takes `wrap` for a detector of no library that `adlib.signs` knows.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from adlib import signs
from adlib.base import Detector, OnlineDetector, Scores, core, expected_cost
from adlib.cost import Cost, say
from adlib.hindsight import fronts
from adlib.windows import Windows, validated

__all__ = ["wrap"]

_ROWS = 256  # by which look-ahead is measured, beside those of the windows
_ALIKE = 0.9  # rank correlation of the same rows' scores in other company


def wrap(model: Any, *, sign: str | None = None, **base: Any) -> Detector:
    """A detector of ours around one of another library; one of ours as it is.

    Parameters
    ----------
    model : estimator
        Of scikit-learn, PyOD, River, aeon or dtaianomaly, a Pipeline that ends in one, or anything
        with ``fit`` and one of ``decision_function``, ``score_samples`` and ``predict``. It is
        copied at fit, never touched.
    sign : {"high", "low"}, optional
        Which end of its own score is anomalous. Default: as its library has it.
    **base
        ``alpha``, ``threshold``, ``calibration``, ``smoothing``: see `adlib.Detector`.

    Returns
    -------
    Detector
        An `adlib.OnlineDetector` around what learns row by row (``learn_one``, ``score_one``).

    Raises
    ------
    TypeError
        When the sign is neither known nor given.

    Notes
    -----
    A detector that makes windows by itself mostly gives a row the mean over all windows that hold
    it, also of those that end later. Whether it does is measured at fit (do scores of training rows
    change when later ones are others?), and its scores are then moved back by a window: they are
    causal, and `adlib.hindsight_score` and ``compare(delay=)`` move them forth again. One that
    orders rows by all that are scored together is refused; a warning names one whose scores, but
    not whose order, depend on them (PyOD's ECOD, aeon's OneClassSVM).

    Examples
    --------
    >>> class Distance:
    ...     def fit(self, X):
    ...         self.centre = X.mean(axis=0)
    ...     def decision_function(self, X):
    ...         return np.linalg.norm(X - self.centre, axis=1)
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> wrap(Distance(), sign="high").fit(X).detect([[0.0, 0.0], [9.0, 9.0]]).is_anomaly.tolist()
    [False, True]
    """
    if isinstance(core(model), Detector):
        return model
    if not hasattr(core(model), "fit") and not hasattr(core(model), "learn_one"):
        plain = type(model).__repr__ is not object.__repr__  # else an address
        shown = repr(model) if plain else type(model).__name__
        raise TypeError(f"a detector needs a fit method, got {shown}")
    if sign is not None or not signs.is_outlier_detector(core(model)):  # (which fails by itself)
        signs.method_of(core(model), sign)
    kind = ForeignStream if signs.family(model) == "river" else ForeignDetector
    return kind(model=model, sign=sign, **base)


class Foreign(Detector):
    """What both kinds share: rows reach the model as they are, gaps are its own business."""

    _heeds_moves = False
    _expensive = True

    def __init__(self, *, model: Any = None, sign: str | None = None, random_state: Any = None,
                 **base: Any):
        super().__init__(**base)
        self.model = model
        self.sign = sign
        self.random_state = random_state

    def _given(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float64]:
        return validated(self, X, order="C", reset=reset, ensure_all_finite=False)

    def _cost(self, n: int, n_features: int) -> Cost:
        return expected_cost(core(self.model), n, n_features)

    def _say_cost(self, n: int, d: int) -> None:
        say(type(core(self.model)).__name__, (n, d), self._cost(n, d), [])


class ForeignDetector(Foreign):
    """Around a detector that is fitted at once: see `wrap`."""

    @property
    def is_ordered(self) -> bool:
        return super().is_ordered or self.context_ > 0

    @property
    def context_(self) -> int:
        # a window holds span - 1 rows before its last, which may lie as many rows ahead
        return super().context_ + 2 * (self._span - 1) + sum(
            part.context_ for part in fronts(self.model))

    @property
    def lag_(self) -> int:
        return getattr(self, "ahead_", 0) + sum(
            (part.length - 1) // 2 for part in fronts(self.model) if isinstance(part, Windows))

    @property
    def _span(self) -> int:
        return getattr(self, "span_", None) or signs.span(self.model)

    def look_for_period(self, X: NDArray[np.float64]) -> None:
        super().look_for_period(X)
        self.span_ = signs.span(self.model, X)

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.span_ = signs.span(self.model, X)
        self.model_ = signs.fresh(self.model)
        with numpy_seed(self.seed_):
            signs.learn(self.model_, X)
        causal = signs.family(self.model) == "sklearn" or hasattr(self.model_, "anomaly_score")
        self.ahead_ = 0 if causal else self._rows_ahead(X)

    def _rows_ahead(self, X: NDArray[np.float64]) -> int:
        """How far ahead of a row its score looks: what changes when later rows are others."""
        rows = X[-(4 * self.span_ + _ROWS):]
        cut = 3 * len(rows) // 4
        wild = rows.copy()
        wild[cut:] += 10 * np.where((sd := rows.std(axis=0)) > 0, sd, 1.0)
        usual, again, other = (self._native(part)[:cut] for part in (rows, rows, wild))
        same = np.isclose(usual, other, rtol=1e-5, atol=1e-6 * np.abs(usual).max(initial=0.0))
        if same.all() or not np.array_equal(usual, again, equal_nan=True):
            return 0  # (nobody can see it in scores that are drawn)
        if cut - int(same.argmin()) < self.span_:
            return self.span_ - 1
        name = type(core(self.model)).__name__
        if spearmanr(usual, other).statistic < _ALIKE:
            raise ValueError(f"{name} scores a row by all rows that are given with it: it cannot "
                             f"judge rows as they come; give what its fit_predict returns to "
                             f"adlib.metrics.report")
        warnings.warn(f"{name} lets the rows that are scored together shift each other's scores: "
                      f"their order says more than a threshold does", stacklevel=2)
        return self.span_ - 1

    def _native(self, X: NDArray[np.float64]) -> Scores:
        short = max(0, self.span_ - len(X))  # the missing past repeats the first row
        found = signs.oriented(self.model_, np.concatenate([X[:1]] * short + [X]), self.sign)
        return found[short:]

    def _score(self, X: NDArray[np.float64]) -> Scores:
        found = self._native(X)
        if not self.ahead_ or found.shape != (len(X),):
            return found
        return np.concatenate([np.full(self.ahead_, found[0]), found])[:len(X)]


class ForeignStream(Foreign, OnlineDetector):
    """Around a detector that learns row by row: see `wrap`."""

    def __init__(self, *, names: Any = None, **base: Any):
        super().__init__(**base)
        self.names = names

    def _reset(self, n_features: int) -> None:
        self.model_ = signs.fresh(self.model, self.seed_)

    def _process(self, X: NDArray[np.float64]) -> Scores:
        self._look_at_limits(X)
        return super()._process(X)

    def _look_at_limits(self, X: NDArray[np.float64]) -> None:
        """River's half-space trees cut between limits that nobody compares with the data."""
        limits = getattr(getattr(self.model_, "anomaly_detector", self.model_), "limits", None)
        if limits is None:
            return
        for name, column in zip(self._keys(X.shape[1]), X.T, strict=True):
            low, high = limits[name]
            if np.mean((column < low) | (column > high)) > 0.05:
                warnings.warn(
                    f"{type(self.model_).__name__} takes column {name!r} to lie in [{low:g}, "
                    f"{high:g}], and it does not: put a MinMaxScaler of River before it, or give "
                    f"it limits", stacklevel=2)
                return

    def _keys(self, n: int) -> Any:
        return range(n) if self.names is None else self.names

    def _row(self, x: NDArray[np.float64]) -> tuple[Any, ...]:
        return signs.as_row(self.model_, x, self._keys(len(x)))

    def learn_one(self, x: NDArray[np.float64]) -> None:
        self.model_.learn_one(*self._row(x))

    def score_one(self, x: NDArray[np.float64]) -> float:
        sense = signs.method_of(self.model_, self.sign)[1]
        return sense * float(self.model_.score_one(*self._row(x)))


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """NumPy's global state for what draws from it, and the caller's back."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
