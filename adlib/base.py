"""The detector contract: one score, one sign, one place for everything that detectors share.

A detector is a constructor, ``_fit`` and ``_score``. Validation, windows, seeding, calibration,
thresholds and scikit-learn's view of it are here, once.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy, deepcopy
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from adlib.arguments import column, floats, instance, number, one_of, whole
from adlib.cost import LONG, Cost, foreign_cost, say, spoken
from adlib.missing import POLICIES, Filled, fill, fill_values, kept, raised
from adlib.periods import LONGEST, usual_period
from adlib.scaling import moved, still_values, with_moves, worth
from adlib.signs import before_core, core, oriented
from adlib.smoothing import memory_rows, memory_weights, smooth
from adlib.thresholds import (
    Calibration,
    Scores,
    Threshold,
    above_ties,
    as_scores,
    check_alpha,
    decide,
    rounded_up,
    rule_for,
)
from adlib.windows import Windows, validated

__all__ = ["Detection", "Detector", "OnlineDetector", "anomaly_score"]

FEW_ROWS = 1_000  # below it a held-out fifth is too noisy a calibration
MANY_ROWS = 10_000  # above it cross-fitting is not worth its time, however fast the training
N_FOLDS, N_FOLDS_EXPENSIVE = 10, 5  # more folds train on more rows, and stray less from alpha
_LARGEST = np.finfo(np.float64).max
_SLICE = 32_000_000  # values in the windows of one slice: 256 MB
WIDEST = 256  # values in a window that is chosen by itself
# parameters that trade quality for time, each with a value that takes little of it
_CHEAPER = {"calibration": "split", "max_rows": 10_000, "epochs": 5, "copies": 1, "n_hidden": 128}
# what `fit` learns besides the state of an online detector: no score depends on it
_NOT_STATE = {"calibration_", "feature_names_in_", "threshold_", "threshold_rule_"}

State = dict[str, NDArray[Any] | float | int]


class Detection(NamedTuple):
    """What `Detector.detect` returns.

    Attributes
    ----------
    is_anomaly : ndarray of bool, shape (n_samples,)
    score : ndarray of float64, shape (n_samples,)
        Higher is more anomalous.
    """

    is_anomaly: NDArray[np.bool_]
    score: Scores


class Plan(NamedTuple):
    """Which rows `Detector.fit` trains on, and which it holds out: see `Detector.plan`.

    Attributes
    ----------
    train : slice
        Rows that the final model learns from.
    held_out : slice or None
        Rows that calibrate. Without folds the final model scores them, and the first ``context_``
        only serve as context: no window of a calibration row may contain a training row.
    folds : list of (ndarray of int, ndarray of int)
        Training and held-out rows of the models that score ``held_out`` instead, one part each.
    """

    train: slice
    held_out: slice | None
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]


def _overflows() -> np.errstate:
    """Silence of what is clipped to the largest score or refused as NaN afterwards."""
    return np.errstate(over="ignore", invalid="ignore")


def split_folds(n: int, n_folds: int, seed: int | None) -> Iterator[
        tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Split n rows into folds.

    Parameters
    ----------
    n : int
        Rows, at least 2.
    n_folds : int
    seed : int or None
        Shuffles the rows; None: folds are contiguous.

    Yields
    ------
    train, held_out : ndarray of int
        Positions of each fold; at most n of them.
    """
    folds = KFold(min(n_folds, n), shuffle=seed is not None, random_state=seed)
    yield from folds.split(np.empty(n))


def anomaly_score(model: Any, X: ArrayLike, sign: str | None = None) -> Scores:
    """Score rows with any fitted detector: ours, of a library below, or a Pipeline ending in one.

    ===================  =============================================  ======================
    detectors of         score                                          anomalous end
    ===================  =============================================  ======================
    adlib                ``anomaly_score``                              high
    scikit-learn         ``score_samples``, else ``decision_function``  low: the sign is turned
    PyOD, dtaianomaly    ``decision_function``                          high
    aeon (series)        ``predict``, rows being points in time         high, or 1
    River                ``score_one``, then ``learn_one``, on a copy   high
    ===================  =============================================  ======================

    Parameters
    ----------
    model : fitted estimator
        Told apart by the classes it inherits from. One of River judges X as the continuation of
        its stream, as `OnlineDetector` does; rows reach it under their column names, or numbers.
    X : array-like of shape (n_samples, n_features)
    sign : {"high", "low"}, optional
        Which end of the model's own score is anomalous. Needed for a model of no library above;
        also serves one that breaks its library's convention.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Higher is more anomalous. Windows of PyOD, aeon and dtaianomaly score a row by later rows
        too: `adlib.foreign.wrap` makes them causal.

    Raises
    ------
    TypeError
        When the model has no score, or nobody knows its sign.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> score = anomaly_score(IsolationForest(random_state=0).fit(X), [[0.0, 0.0], [9.0, 9.0]])
    >>> bool(score[1] > score[0])
    True
    """
    if sign is None and isinstance(core(model), Detector):
        return core(model).anomaly_score(before_core(model, X))
    return oriented(model, X, sign)


def expected_cost(model: Any, n: int, d: int) -> Cost:
    """What training any model, ours or not, without calibration, and scoring is going to cost.

    Parameters
    ----------
    model : estimator
        As `core` gives it.
    n, d : int
        Rows and columns.

    Returns
    -------
    Cost
        NaN where nobody knows, or so few rows cannot be fitted.
    """
    if not isinstance(model, Detector):
        return foreign_cost(model, n, d)
    model = copy(model)
    model.calibration = None
    try:
        return model.expected_cost(n, d)
    except (TypeError, ValueError):
        return Cost(np.nan, np.nan, 0.0)


def is_stateful(model: Any) -> bool:
    """Whether any model, ours or not, judges rows as the continuation of a stream.

    Parameters
    ----------
    model : estimator

    Returns
    -------
    bool
    """
    return bool(getattr(core(model), "is_stateful", False))


def score_by(model: Any, X: ArrayLike, method: str) -> Scores:
    """Score rows with any model, a stateful one by another of its methods than `anomaly_score`.

    Parameters
    ----------
    model : fitted estimator
        As `anomaly_score` takes it.
    X : array-like of shape (n_samples, n_features)
    method : {"anomaly_score", "frozen_score", "process"}
        Of `OnlineDetector`: "process" moves the state of ``model``, the others leave it.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    if not is_stateful(model):
        return anomaly_score(model, X)
    return getattr(core(model), method)(before_core(model, X))


class Detector(OutlierMixin, BaseEstimator, ABC):
    """Base of all detectors. Subclasses write ``_fit(X)`` and ``_score(X)``.

    Parameters
    ----------
    window : int or "auto"
        Rows a score looks back on, itself included. With 1, rows are scored independently; with
        ``L``, a row's score uses rows t-L+1 .. t, and the first L-1 rows of any call are warm-up
        (their missing past repeats the first row). ``"auto"``: the usual period of the training
        rows (`adlib.periods.usual_period`: 50 to 300 rows), but at most a quarter of those rows
        and 256 values.
    alpha : float
        False-alarm budget: share of *normal* rows that may be flagged, in (0, 1).
    threshold : None, float or Threshold
        None: `Conformal(alpha)`, its block version where rows are ordered in time. A number is a
        fixed cut in the unit of the score. Anything else in `adlib.thresholds` is fitted to the
        held-out scores; its ``alpha=None`` means this detector's.
    calibration : {"auto", "split", "cross"} or None
        Where the held-out scores come from. ``"split"``: the last fifth of the rows, after a purge
        gap of ``window - 1`` rows, is kept from training. ``"cross"``: ten cross-fitted folds (five
        where training is expensive), then a training on all rows; worth its time below about
        1,000 rows. ``"auto"``: split where time order matters, else cross where rows are few or
        training is cheap. None: no calibration; `calibrate` must be called before a decision.
        What the rate then is: see Notes.
    smoothing : None, float or "auto"
        Rows of an exponential memory that the finished score is averaged over, at least 1; cut to
        the last ``4 * smoothing`` rows, so that what is older is forgotten altogether. ``"auto"``:
        half the usual period of the training rows. Calibration comes after it; where the held-out
        rows are too few for such a score, the threshold of a conformal rule is infinite
        (`adlib.thresholds.Conformal`). Not together with ``window="auto"``.
    missing : {"error", "impute"}
        What NaN does. "error": refused. "impute": filled with the median of its column among the
        rows that train, before windows are made. A row of which more than half is missing is
        *marked*: its score is raised to just above the threshold (never lowered), so that every
        decision flags it, as mildly as can be; such rows calibrate nothing, and count against no
        budget. A `adlib.missing.MissingWarning` names the columns where more than a tenth was
        filled, and the marked rows. Infinite values are refused either way.

    Attributes
    ----------
    threshold_ : float
        Anomalous means ``score > threshold_``.
    calibration_ : Calibration
        The held-out normal scores.
    window_, smoothing_ : int, float or None
        ``window`` and ``smoothing``, or what "auto" chose; before `fit` the most it may choose.
    usual_period_ : int
        Where one of them is "auto": the rows that the choice rests on.
    seed_ : int
        Drawn at fit from ``random_state`` where the detector has one; used at fit and score.
    fill_, imputed_ : ndarray of shape (n_features,)
        With ``missing="impute"``: what fills the gaps of a column, and the share of the training
        rows in which it was missing.
    still_ : ndarray of shape (n_features,)
        Value of each column that stood still in training, to rounding; inf of one that moved.
    worth_ : tuple of float
        What a move of a still column makes of a score: see `adlib.scaling.with_moves`.

    Notes
    -----
    ``alpha`` bounds the share of new normal rows, exchangeable with the calibration rows, that is
    flagged. Only from above where scores tie: a cut lies above all rows of one value or below all,
    so counts and codes may be flagged far less often. Equal up to rounding is tied. ``"split"``: at
    most alpha in expectation, for any number of rows, with beta-binomial spread
    (`adlib.thresholds.Conformal`). ``"cross"``: each quantile is the higher of two, of scores by
    the fold models that have not seen the rows and of scores by the final model. Of the training
    rows themselves no more than alpha are then flagged, whatever their ties (by committees, which
    take the higher score of each row and member, up to chance: their scales are held out too). For
    new rows nothing is proved: the bound of 2 alpha (Barber et al. 2021) is that of CV+, which
    judges by the fold models and so has no one score. Measured, on continuous and on tied rows,
    the rate is at most about alpha (`benchmarks/calibration.py`).

    A column that stood still in training says something when it moves, however little, and nothing
    else: ``_fit`` and ``_score`` see it standing still, and the base lifts the score of a row in
    which it moved to that of the most unusual normal rows, once for each such column.

    Smoothing covers events, it finds no more of them, and it costs. With a memory of 50 rows
    (`benchmarks/smoothing.py`, `PCAReconstruction`) average precision on spikes of one row falls
    from .90 to .09, one sample of 30 sd stays above the threshold for 200 rows, a second fault
    raises no alarm of its own 50 rows after the first, and of the events of `make_telemetry` at
    alpha = .01 half do (.96 without; false alarms fall from 2.7 a day to .5). 300 held-out rows
    would realise .07 to .10 there by blocks: hence the infinite threshold. Extreme values
    (``threshold=POT()``) give one all the same, and realise no less.

    A median is a plain guess: it narrows a column that is often missing, breaks its ties with the
    others, and lies where the column *was* once it has drifted, so that a filled value can be what
    raises a score. An online detector learns it like any other value. For a series that changes
    slowly, repeat the last value instead (``load_csv(missing="hold")``).

    Add parameters by name and hand the rest on; signature, ``get_params`` and ``clone`` follow::

        class Mine(Detector):
            def __init__(self, *, power=2.0, **base):
                super().__init__(**base)
                self.power = power

    Name a parent's parameter and hand it on to give it another default. Parameters are read at
    fit: after ``set_params``, fit again.

    Other modules build on these besides `fit`, `calibrate` and the scores; override them where a
    subclass differs:

    * `context_`: rows before a row that its score uses; `lag_`: rows from their middle to it;
      ``is_ordered``: whether order matters, so that held-out rows, folds and thresholds are made of
      contiguous stretches; ``is_stateful``: whether a call judges its rows as the continuation of a
      stream;
    * `validate` and `windowed`: from what a caller hands over to what `_fit` and `_score` see;
    * `look_for_period`, `plan` and `calibrate_scores`: what "auto" chooses (read ``window_``, not
      ``window``), which rows are held out, and what is made of their scores;
    * `check_stored` and `check_params` before a fit, and `check_loaded` after a file was read.
    """

    _per_value = np.nan  # seconds to learn or score a value, where that is all there is to `_work`
    _expensive = False  # trains for longer than about a second on 10,000 rows
    _heeds_moves = True  # of columns that stood still in training
    _session: Any = None  # of the rows that `fit` was given, while it runs

    def __init__(self, *, window: int | str = 1, alpha: float = 0.05,
                 threshold: float | Threshold | None = None, calibration: str | None = "auto",
                 smoothing: float | str | None = None, missing: str = "error"):
        self.window = window
        self.alpha = alpha
        self.threshold = threshold
        self.calibration = calibration
        self.smoothing = smoothing
        self.missing = missing

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Spell out ``**base`` in the signature, for scikit-learn, help() and completion."""
        super().__init_subclass__(**kwargs)
        init = cls.__dict__.get("__init__")
        if init is None:
            return
        merged: dict[str, inspect.Parameter] = {}
        for parent in cls.__mro__:  # up to the first constructor that hands nothing on
            if "__init__" in vars(parent):
                found = inspect.signature(vars(parent)["__init__"]).parameters
                merged = found | merged
                if not any(p.kind is p.VAR_KEYWORD for p in found.values()):
                    break
        own = inspect.signature(init).parameters
        order = sorted(merged.values(), key=lambda p: p.name not in own)
        init.__signature__ = inspect.Signature(
            [p for p in order if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)])

    # -- what a subclass writes -------------------------------------------------------------

    @abstractmethod
    def _fit(self, X: NDArray[np.float64]) -> None:
        """Learn from rows (n_samples, window_ * n_features) and set attributes ending in ``_``."""

    @abstractmethod
    def _score(self, X: NDArray[np.float64]) -> Scores:
        """Score rows (n_samples, window_ * n_features): higher is more anomalous, finite."""

    def _work(self, n: int, d: int) -> tuple[float, float]:
        """Seconds to train on n rows of d values, and to score one, on one core: see `Cost`."""
        return n * d * self._per_value, d * self._per_value

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Split the score of each row over the columns that `_score` sees, if the method can."""
        raise NotImplementedError(f"{type(self).__name__} has no native contributions")

    # -- fit and calibrate ------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: None = None, *, session: ArrayLike | None = None) -> Self:
        """Learn what normal looks like, and a threshold from rows that training did not see.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Normal rows, in time order where they have one. Finite numbers, and NaN with
            ``missing="impute"``.
        y : ignored
            Labels are never read.
        session : array-like of shape (n_samples,), optional
            Recording or machine of each row, whose rows stand together. No window of rows that
            train reaches from one into the next, but in networks, committees and online detectors.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When a parameter or X is out of range: not numbers, NaN or inf, a column without any
            value, too few rows for the window, a threshold that the held-out rows cannot give. What
            an earlier fit learned then stays.
        """
        self.check_params()
        with self._all_or_nothing():
            for name in list(self.__dict__):
                if name.endswith("_") and not name.startswith("_"):
                    del self.__dict__[name]  # nothing of an earlier fit may be taken for this one's
            X = self._given(X, reset=True)
            if len(X) < 2:
                raise ValueError(f"{type(self).__name__} needs at least 2 rows to fit, "
                                 f"got n_samples = {len(X)}")
            self.seed_ = _draw_seed(getattr(self, "random_state", 0))
            if self.missing == "impute":
                self.fill_, self.imputed_ = fill_values(X[self._training_rows(len(X))],
                                                        self._names())
            X, _ = filled = self._filled(X)
            self._session = None if session is None else column(session, "session", len(X))
            self.look_for_period(X)
            if len(X) <= (gap := self._gap):
                raise ValueError(f"window={self.window} needs more than {gap} rows to fit, got "
                                 f"{len(X)}; shorten the window or give more rows")
            self._say_cost(*X.shape)
            with _overflows():
                held_out = self._fit_held_out(X)
            del self._session  # of these rows alone
            if held_out is not None:
                self._calibrate_held_out(held_out, filled)
        return self

    def _calibrate_held_out(self, held_out: NDArray[np.float64], filled: Filled) -> None:
        """`calibrate_scores` by what `_fit_held_out` gave, which is of the last rows."""
        self.calibrate_scores(kept(held_out, filled))

    def expected_cost(self, n_rows: int, n_features: int) -> Cost:
        """What `fit` and scores of so many rows are going to cost; `fit` warns beyond a minute.

        A formula with constants measured once: about, on one core of 2026, where rows are as
        correlated as most tables are. ``n_jobs`` and several cores take less.

        Parameters
        ----------
        n_rows, n_features : int

        Returns
        -------
        adlib.cost.Cost
            ``fit_s`` (calibration included), ``score_s``, ``mib``.

        Raises
        ------
        ValueError
            When so many rows are too few to fit, or a parameter is out of range.

        Examples
        --------
        >>> from adlib.detectors import KNN
        >>> KNN(max_rows=None).expected_cost(1_000_000, 20).score_s > 600
        True
        """
        self.check_params()
        return self._cost(whole(n_rows, "n_rows", 2), whole(n_features, "n_features", 1))

    def _cost(self, n: int, n_features: int) -> Cost:
        model = copy(self)
        model.n_features_in_, model.seed_ = n_features, 0
        d, rounds = model.window_ * n_features, model._rounds(n)
        works = [model._work(train, d) for train, _ in rounds]
        fit_s = sum(fit + judged * row for (fit, row), (_, judged) in zip(
            works, rounds, strict=True))
        return Cost(fit_s, n * works[-1][1], model._values(n, d))

    def _rounds(self, n: int) -> list[tuple[int, int]]:
        """Rows that each training of `fit` learns from and judges, the final one last."""
        plan, rows = self.plan(n), range(n)
        judged = 0 if plan.held_out is None else len(rows[plan.held_out])
        return [*((len(train), len(test)) for train, test in plan.folds),
                (len(rows[plan.train]), judged)]

    def _values(self, n: int, d: int) -> float:
        """Values in memory at most, of n rows of d values: them, scaled, and what is made of it."""
        return 4.0 * n * d

    def _say_cost(self, n: int, d: int) -> None:
        """Warn before a fit that takes long."""
        cost, cheaper = self._cost(n, d), []
        for name, value in _CHEAPER.items() if cost.fit_s > LONG else ():
            if hasattr(self, name) and getattr(self, name) != value:
                other = copy(self)
                setattr(other, name, value)
                if (fit_s := other._cost(n, d).fit_s) < 0.6 * cost.fit_s:
                    cheaper.append(f"{name}={value!r} (about {spoken(fit_s)})")
        say(type(self).__name__, (n, d), cost, cheaper)

    def look_for_period(self, X: NDArray[np.float64]) -> None:
        """Settle what is "auto" by the rows that will train, as `fit` does before all else.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows for `fit`; those that `plan` holds out are not looked at.
        """
        if self._has_auto():
            rows = X[self._training_rows(len(X))]
            self.usual_period_ = max(1, min(usual_period(rows), len(rows) // 4))

    def _training_rows(self, n: int) -> slice:
        """Those of `plan`, before "auto" is settled."""
        if self._has_auto():
            self.usual_period_ = 1  # `plan` asks for the context: the shortest, for now
        return self.plan(n).train

    def _has_auto(self) -> bool:
        return "auto" in (self.window, self.smoothing)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What fails leaves what was there, not half of something."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def plan(self, n: int) -> Plan:
        """Which rows train and which are held out for calibration; the one place that says so.

        Parameters
        ----------
        n : int
            Rows given to `fit`.

        Returns
        -------
        Plan

        Raises
        ------
        ValueError
            When too few rows are left to train on.
        """
        how, gap = self.calibration, self._gap
        if how == "auto":
            pays = n < FEW_ROWS or (not self._expensive and n <= MANY_ROWS)
            how = "cross" if pays and not self.is_ordered else "split"
        if how == "cross":
            return Plan(slice(0, n), slice(0, n),
                        list(split_folds(n, self._n_folds(n), self.seed_)))
        cut = n - self._n_held_out(n) if how == "split" else n
        if cut <= gap:
            raise ValueError(f"a look-back of {gap} rows needs more rows: {n} leave {max(cut, 0)} "
                             f"for training, and it takes more than {gap}")
        return Plan(slice(0, cut), slice(cut, n) if how == "split" else None, [])

    def _n_folds(self, n: int) -> int:
        return N_FOLDS_EXPENSIVE if self._expensive else N_FOLDS

    def _n_held_out(self, n: int) -> int:
        return n // 5

    def _fit_held_out(self, X: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Train by the plan; what `calibrate_scores` takes, of rows that training did not see."""
        plan = self.plan(len(X))
        rows = self._settled(X[plan.train])
        self._fit(self.windowed(rows)[self._whole(len(rows))])
        self._weigh_moves(rows)
        if plan.held_out is None:
            return None
        if not plan.folds:
            return self._calibrating_scores(X[plan.held_out])
        held_out, n_moved = np.empty(len(X)), np.empty(len(X), np.int64)
        for train, test in plan.folds:
            part = self._fold()
            part.n_features_in_, part.seed_ = self.n_features_in_, self.seed_
            part._fit(part.windowed(part._settled(X[train])))
            held_out[test] = part._raw_scores(X[test])
            n_moved[test] = part._moved(X[test]).sum(axis=1)
        # Where scores have atoms, all rows of one value lie together above or below a fold's cut.
        # What is judged is the final model's score: no quantile may lie below that of its own
        order, own = np.argsort(held_out, kind="stable"), rounded_up(self._raw_scores(X))
        held_out[order] = np.maximum(held_out[order], np.sort(own))
        return self._raised_by_own(held_out, n_moved)

    def _whole(self, n: int) -> Any:
        """Which of the first rows have a whole past, in their own recording."""
        gap = self._gap
        if not gap or self._session is None:
            return slice(gap, None)
        of = np.asarray(self._session)[:n]
        number = np.append(0, (of[1:] != of[:-1]).cumsum())
        rows = gap + np.flatnonzero(number[gap:] == number[:-gap])
        if not len(rows):
            raise ValueError(f"window={self.window} needs more than {gap} rows that follow each "
                             "other in one session; shorten the window")
        return rows

    # -- columns that stood still in training: `adlib.scaling` ---------------------------------

    def _settled(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Note which columns stand still in these training rows; the rows without rounding."""
        self.still_ = still_values(X) if self._heeds_moves else np.full(X.shape[1], np.inf)
        return self._calm(X)

    @property
    def _has_still(self) -> bool:
        still = getattr(self, "still_", None)
        return still is not None and not np.isinf(still).all()

    def _calm(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows as if no column had moved that stood still in training."""
        return np.where(np.isinf(self.still_), X, self.still_) if self._has_still else X

    def _moved(self, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        return moved(X, self.still_) if self._has_still else np.zeros(X.shape, dtype=bool)

    def _weigh_moves(self, rows: NDArray[np.float64]) -> None:
        """Say what a move is worth by calm rows that were trained on, for want of others."""
        if self._has_still:
            calm = self._smoothed(self._raw_scores(rows[-FEW_ROWS - self.context_:]))
            self.worth_ = worth(calm[min(self.context_, len(calm) - 1):])

    def _raised(self, score: Scores, X: NDArray[np.float64]) -> Scores:
        """Finished scores of calm rows, with what the moves of X add."""
        away = self._moved(X).sum(axis=1)
        return with_moves(score, away, *self.worth_) if away.any() else score

    def _raised_by_own(self, calm: Scores, n_moved: NDArray[np.int64]) -> Scores:
        """Held-out scores, which also say what a move is worth from now on."""
        still = n_moved == 0
        self.worth_ = worth(calm[still] if still.any() else calm)
        return with_moves(calm, n_moved, *self.worth_)

    def _calibrating_scores(self, X: NDArray[np.float64]) -> Scores:
        """Of rows that training has not seen and whose first are context."""
        calm = self._smoothed(self._raw_scores(X))[self.context_:]
        n_moved = self._moved(X)[self.context_:].sum(axis=1)
        return self._raised_by_own(calm, n_moved) if len(calm) else calm

    def _fold(self) -> Self:
        """A copy to train on one fold, after `_fit` on all rows.

        Override it where the data choose the model's size: a fold that chooses another one scores
        on another scale, and the held-out scores then say nothing about this model's.
        """
        return clone(self)

    def calibrate(self, X_normal: ArrayLike) -> Self:
        """Replace the held-out scores, and with them threshold, tail scores and severity.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows that `fit` has not seen, later in time where there is one. The first
            ``context_`` rows only serve as context.
        """
        filled = self.filled(X_normal)
        return self.calibrate_scores(kept(self._calibrating_scores(filled.rows), filled))

    def calibrate_scores(self, scores: ArrayLike) -> Self:
        """`calibrate` by scores that are known already; all calibration goes through here.

        Parameters
        ----------
        scores : array-like of shape (n,)
            Of normal rows that training has not seen, in time order where there is one.
        """
        held_out = above_ties(as_scores(scores))
        rule = rule_for(self.threshold, alpha=self.alpha, smoothing=self._averaged,
                        block="auto" if self.is_ordered else None)
        # everything that can fail comes first: a refused calibration leaves the old one in place
        rule.fit(held_out)
        self.calibration_ = Calibration().fit(held_out)
        self.threshold_rule_ = rule
        self.threshold_ = rule.value_
        return self

    # -- scores and decisions ---------------------------------------------------------------

    def anomaly_score(self, X: ArrayLike) -> Scores:
        """One score per row: higher is more anomalous. Deterministic.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In time order when ``window > 1``; row t is scored from rows up to t only.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            When X has another width, holds inf or (unless ``missing="impute"``) NaN, or a row
            would be scored NaN.
        """
        filled = self.filled(X)
        return self._marked(self._score_rows(filled.rows), filled)

    def frozen_score(self, X: ArrayLike) -> Scores:
        """Scores by the state as it is: each row is judged as if it were the next one.

        The same as `anomaly_score` unless the detector is stateful.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self.anomaly_score(X)

    def _score_rows(self, X: NDArray[np.float64]) -> Scores:
        """Score validated rows."""
        return self._raised(self._smoothed(self._raw_scores(X)), X)

    def _smoothed(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """The finished scores (n,), or values beside them (n, d), of rows that have a context.

        Override it to return ``raw`` where `_score` looks back on the whole context by itself.
        """
        if self.smoothing_ is None:
            return raw
        with _overflows():
            found = smooth(raw, memory_weights(self.smoothing_))
        return np.clip(found, -_LARGEST, _LARGEST)

    def _marked(self, scores: Scores, filled: Filled) -> Scores:
        """Flag rows that are mostly missing, however normal their fills look.

        Without a threshold there is no decision to be wrong, and the scores stay.
        """
        if filled.gaps is None or not hasattr(self, "threshold_"):
            return scores
        return raised(scores, filled, self.threshold_, float(
            self.calibration_.scores_.max(initial=-np.inf)))

    def _raw_scores(self, X: NDArray[np.float64]) -> Scores:
        """Scores of calm rows, unsmoothed; windows of long inputs are made a slice at a time."""
        X = self._calm(X)
        context, n = self.context_, len(X)
        # (a stateful one takes them at once: each slice would begin from the same state)
        step = max(n, 1)
        if context and not self.is_stateful:
            step = max(1, _SLICE // (self.window_ * X.shape[1]))
        parts = [np.empty(0)]
        for start in range(0, n, step):
            first = max(0, start - context)  # each slice brings its predecessors along
            rows = X[first:start + step]
            with _overflows():
                score = self._checked(self._score(self.windowed(rows)), len(rows))
            parts.append(score[start - first:])
        return np.concatenate(parts)

    def smoothed_score(self, X: ArrayLike, weights: NDArray[np.float64], ahead: int = 0) -> Scores:
        """Scores of a finished recording, averaged over neighbouring rows: not causal.

        What `adlib.hindsight_score` is made of. The detector's own smoothing, if any, is left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In time order.
        weights : ndarray of shape (n_weights,)
            As `adlib.smoothing.smooth` takes them.
        ahead : int, default=0
            How many of them belong to later rows.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        check_is_fitted(self, "n_features_in_")
        X = self.validate(X, reset=False)
        calm = self._checked(self._hindsight(self._calm(X), weights, ahead), len(X))
        return self._raised(calm, X)

    def _hindsight(self, X: NDArray[np.float64], weights: NDArray[np.float64], ahead: int
                   ) -> Scores:
        """`smoothed_score` of validated rows."""
        return smooth(self._raw_scores(X), weights, ahead)

    def _checked(self, score: Any, n: int) -> Scores:
        """Hold what a subclass returns to the contract: NaN would count as normal for ever."""
        score = np.asarray(score)
        if score.dtype.kind not in "fiub":
            raise TypeError(f"{type(self).__name__} must give one score per row, a number, gave "
                            f"dtype {score.dtype}")
        score = score.astype(np.float64, copy=False)
        if score.shape != (n,):
            raise ValueError(f"{type(self).__name__} must give one score per row, shape ({n},), "
                             f"gave shape {score.shape}")
        if np.isfinite(score.sum()):  # then every score is: one pass, where a stream has no time
            return score
        if np.isnan(score).any():
            raise ValueError(f"{type(self).__name__} scored {np.isnan(score).sum()} of {n} rows "
                             f"NaN (first: row {np.isnan(score).argmax()})")
        return np.clip(score, -_LARGEST, _LARGEST)  # an overflow is as anomalous as can be

    def detect(self, X: ArrayLike) -> Detection:
        """Flags and scores: a row is an anomaly when its score exceeds ``threshold_``."""
        self._check_calibrated()
        score = self.anomaly_score(X)
        return Detection(score > self.threshold_, score)

    def tail_score(self, X: ArrayLike) -> Scores:
        """1 - p against the held-out normal scores, in [0, 1): *not* a probability of anomaly."""
        self._check_calibrated()
        return 1.0 - self.calibration_.p_value(self.anomaly_score(X))

    def severity(self, X: ArrayLike) -> Scores:
        """Urgency in [0, 1] from calibrated p-values; above 0.7 exactly where `detect` flags.

        0.7 lies at the false-alarm budget and 0.9 at a tenth of it. A threshold that is no budget
        per row (a fixed cut, incidents per day) counts with the p-value it has among the held-out
        scores. See `adlib.thresholds.severity`.
        """
        self._check_calibrated()
        score = self.anomaly_score(X)
        rule, alpha = self.threshold_rule_, getattr(self.threshold_rule_, "alpha", None)
        if alpha is None or getattr(rule, "per", None) is not None:
            alpha = float(np.clip(self.calibration_.p_value(self.threshold_, extrapolate=True),
                                  1e-300, 0.999))
        return decide(self.calibration_.log_p(score), alpha, flagged=score > self.threshold_)[0]

    def contributions(self, X: ArrayLike) -> NDArray[np.float64]:
        """How much each feature adds to each row's score.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Summed over the rows of a window, and smoothed as the score is. Adds up to the score
            where the method splits by feature, as the detector's docstring says.

        Raises
        ------
        NotImplementedError
            When the method has no native split.
        """
        check_is_fitted(self, "n_features_in_")
        X = self.validate(X, reset=False)
        parts = self._smoothed(self._calm_contributions(X).sum(axis=1))
        return self._with_moves(parts[:, None], X, self._smoothed)[:, 0]

    def window_contributions(self, X: ArrayLike) -> NDArray[np.float64]:
        """How much each value of a row's window adds to its score, before any smoothing.

        Returns
        -------
        ndarray of shape (n_samples, window_, n_features)
            Oldest row first. Where the method splits by feature only: (n_samples, 1, n_features).

        Raises
        ------
        NotImplementedError
            When the method has no native split.
        """
        check_is_fitted(self, "n_features_in_")
        X = self.validate(X, reset=False)
        return self._with_moves(self._calm_contributions(X), X)

    def _calm_contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        with _overflows():
            parts = np.asarray(self._contributions(self.windowed(self._calm(X))), dtype=np.float64)
        return parts.reshape(len(X), -1, self.n_features_in_)

    def _with_moves(self, parts: NDArray[np.float64], X: NDArray[np.float64],
                    finished: Callable[[Scores], Scores] = np.asarray) -> NDArray[np.float64]:
        """Contributions (n, rows, features) with those of columns that moved, to the last row."""
        away = self._moved(X)
        if not away.any():
            return parts
        calm = finished(self._raw_scores(X))
        score = self._raised(calm, X)
        # where the parts do not add up to the score, the largest of them is the score
        adds = away.any(axis=1) & np.isclose(parts.sum(axis=(1, 2)), calm, rtol=1e-5)
        # beside a move, what is usual of the others explains nothing
        beyond = np.clip(1 - self.worth_[0] / np.where(calm > 0, calm, np.inf), 0, calm > 0)
        parts *= np.where(adds, beyond, 1.0)[:, None, None]
        own = np.where(adds, score - calm * beyond, score * away.sum(axis=1))
        parts[:, -1] += np.where(away, (own / np.maximum(away.sum(axis=1), 1))[:, None], 0.0)
        return parts

    # -- scikit-learn's view: the sign is turned here and nowhere else ------------------------

    def score_samples(self, X: ArrayLike) -> Scores:
        """scikit-learn's sign: the negative of `anomaly_score`."""
        return -self.anomaly_score(X)

    @property
    def offset_(self) -> float:
        """scikit-learn's threshold: ``-threshold_``."""
        self._check_calibrated()
        return -self.threshold_

    def decision_function(self, X: ArrayLike) -> Scores:
        """Negative for anomalies: ``score_samples(X) - offset_``."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """-1 for anomalies, +1 for normal rows."""
        return np.where(self.detect(X).is_anomaly, -1, 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = getattr(self, "missing", "error") == "impute"
        return tags

    # -- shared plumbing --------------------------------------------------------------------

    @property
    def is_ordered(self) -> bool:
        """Whether the order of rows carries meaning."""
        return self.window != 1 or self.smoothing is not None

    @property
    def window_(self) -> int:
        """Rows of a window: ``window``, or what "auto" chose; before `fit` the most it may."""
        if isinstance(self.window, str):
            most = WIDEST // getattr(self, "n_features_in_", 1)
            return max(1, min(getattr(self, "usual_period_", LONGEST), most))
        return int(self.window)

    @property
    def smoothing_(self) -> float | None:
        """Rows of memory: ``smoothing``, or what "auto" chose; before `fit` the most it may."""
        if isinstance(self.smoothing, str):
            return max(1.0, getattr(self, "usual_period_", LONGEST) / 2)
        return None if self.smoothing is None else float(self.smoothing)

    @property
    def _memory(self) -> int:
        """Rows before a row that smoothing adds to its context."""
        return 0 if self.smoothing_ is None else memory_rows(self.smoothing_) - 1

    @property
    def _averaged(self) -> float | None:
        """Rows of memory in the scores that a threshold is made of."""
        return self.smoothing_

    @property
    def _gap(self) -> int:
        """Rows before a row that its unsmoothed score uses: training needs no more."""
        return self.context_ - self._memory

    @property
    def is_stateful(self) -> bool:
        """Whether rows are judged as the continuation of a stream: see `OnlineDetector`.

        The score of a row then depends on all rows before it in the same call. Such detectors are
        given contiguous rows in order, never folds; of scikit-learn's checks, exactly the two that
        score subsets and shuffled rows do not apply.
        """
        return False

    @property
    def context_(self) -> int:
        """Rows at the start of any call that have no full past, smoothing included."""
        return self.window_ - 1 + self._memory

    @property
    def lag_(self) -> int:
        """Rows from the middle of what a score looks at to the row that it is the score of."""
        return (self.window_ - 1) // 2

    def windowed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """What `_fit` and `_score` see of validated rows: windows, flattened.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, window_ * n_features)
        """
        return Windows(self.window_).fit_transform(X) if self.window_ > 1 else X

    def validate(self, X: ArrayLike, *, reset: bool = False) -> NDArray[np.float64]:
        """Check rows as every method does, and copy them where their layout is another one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        reset : bool, default=False
            Take over the number and names of the features, as `fit` does, instead of comparing.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_features)
            Finite, in C order; missing values are filled where ``missing="impute"``.

        Raises
        ------
        ValueError
            When X is not made of finite numbers, or has other features.
        """
        return self._filled(self._given(X, reset=reset)).rows

    def filled(self, X: ArrayLike) -> Filled:
        """`validate` rows and say which values were missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        adlib.missing.Filled
        """
        check_is_fitted(self, "n_features_in_")
        return self._filled(self._given(X, reset=False))

    def _filled(self, X: NDArray[np.float64]) -> Filled:
        """Checked rows with their gaps filled."""
        if self.missing != "impute" or not np.isnan(X).any():
            return Filled(X)
        if np.isnan(getattr(self, "fill_", np.nan)).any():
            raise ValueError(f"X holds missing values, and this {type(self).__name__} has seen no "
                             f"training rows to fill them from: fit it first")
        return fill(X, self.fill_, self._names())

    def _names(self) -> list[str]:
        """Of the features, for messages."""
        return list(getattr(self, "feature_names_in_",
                            [f"column {j}" for j in range(self.n_features_in_)]))

    def _given(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float64]:
        """Rows as every method takes them, before gaps are filled."""
        # scikit-learn's checks take longer than scoring a chunk of a stream: an array that cannot
        # fail them goes straight through (its sum is finite only if every value is)
        if (not reset and type(X) is np.ndarray and X.dtype == np.float64 and X.ndim == 2
                and X.flags.c_contiguous and X.shape[1] == self.n_features_in_ and len(X)
                and not hasattr(self, "feature_names_in_")):
            with _overflows():
                if np.isfinite(X.sum()):
                    return X
        _refuse_odd(X)
        X = _nan_for_na(X)
        # C order: a Fortran-ordered copy sums in another order, and scores would differ
        try:
            return validated(self, X, order="C", reset=reset, ensure_all_finite=(
                "allow-nan" if self.missing == "impute" else True))
        except ValueError as error:
            if "contains NaN" not in str(error):
                raise
            values = X.to_numpy(np.float64, na_value=np.nan) if hasattr(X, "to_numpy") else X
            rows, columns = np.nonzero(np.isnan(np.asarray(values, dtype=np.float64)))
            name = getattr(X, "columns", range(columns.max() + 1))[columns[0]]
            raise ValueError(f"Input X contains NaN: {len(rows)} missing values, the first in row "
                             f"{rows[0]}, column {name!r}; fill or drop them, or set "
                             f"missing='impute'") from None

    def check_stored(self) -> None:
        """Refuse a constructor that forgets a parameter.

        Raises
        ------
        TypeError
            Naming the parameters that are not set.
        """
        names = {*self._get_param_names(), *inspect.signature(Detector).parameters}
        if missing := sorted(name for name in names if not hasattr(self, name)):
            raise TypeError(f"{type(self).__name__}.__init__ does not set {missing}: accept "
                            f"**base and call super().__init__(**base)")

    def check_params(self) -> None:
        """Refuse parameters out of range; called by `fit`. Extend it by those of a subclass.

        Raises
        ------
        ValueError, TypeError
            One sentence that names the parameter, what it is and what it may be.
        """
        self.check_stored()
        for name in self._get_param_names():  # small integers of NumPy overflow in what follows
            if isinstance(value := getattr(self, name), np.number):
                setattr(self, name, value.item())
        if not _is_auto(self.window):
            whole(self.window, "window", 1, of="rows")
        if not _is_auto(self.smoothing):
            self._check_number("smoothing", least=1, most=1e5, optional=True)
        if self.window == "auto" and self.smoothing is not None:
            raise ValueError(f"window='auto' and smoothing={self.smoothing!r} both spread a score "
                             f"over the usual period: choose one")
        check_alpha(self.alpha)
        one_of(self.missing, "missing", POLICIES)
        one_of(self.calibration, "calibration", ("auto", "split", "cross", None))
        if self.calibration == "cross" and self.is_ordered:
            raise ValueError("calibration='cross' needs rows without time order; with window > 1, "
                             "smoothing or an online detector use 'split'")
        if isinstance(self.threshold, bool) or not isinstance(
                self.threshold, (type(None), Threshold, int, float, np.number)) or (
                self.threshold != self.threshold):
            raise ValueError(f"threshold must be None, a number or a Threshold, got "
                             f"{self.threshold!r}")

    def _check_whole(self, *names: str, least: int = 1, of: str = "", optional: bool = False
                     ) -> None:
        """Check parameters that are whole numbers, or None where they are optional."""
        for name in names:
            if not optional or getattr(self, name) is not None:
                whole(getattr(self, name), name, least, of=of)

    def _check_number(self, *names: str, optional: bool = False, **bounds: float) -> None:
        """Check parameters that are numbers: see `adlib.arguments.number` for the bounds."""
        for name in names:
            if not optional or getattr(self, name) is not None:
                number(getattr(self, name), name, **bounds)

    def check_loaded(self) -> None:
        """Refuse a state that `fit` cannot have left: a file may hold anything.

        Override it where such a state would harm: compiled code reads and writes where it says.

        Raises
        ------
        ValueError
            When the state is none of these parameters.
        """

    def _check_calibrated(self) -> None:
        check_is_fitted(self, "n_features_in_")
        check_is_fitted(self, "threshold_", msg=(
            "This %(name)s has no threshold yet: call calibrate(X_normal), or fit with "
            "calibration='auto'"))


class OnlineDetector(Detector):
    """Base of detectors that learn row by row. Scores first, then learns.

    Subclasses write ``_reset(n_features)``, ``learn_one(x)`` and ``score_one(x)``, keep their state
    in attributes ending in ``_``, and may override ``_process(X)``, and ``_score(X)`` for many
    frozen rows, with kernels that do the same faster.

    One class serves batch and stream. `anomaly_score`, and with it `detect`, `predict`,
    `tail_score` and `severity`, judge X as the **continuation of the stream**: rows that directly
    follow what was learned, each scored and then learned, on a copy. The detector stays as it was.
    `process` does the same and keeps what it learned, and so does `calibrate`. `score_one` and
    `frozen_score` learn nothing: they judge every row as if it were the next one.

    ``fit`` streams through the rows once. Every one of its scores is made before its row is
    learned, so all rows after the first ``window`` (or the last fifth, where that is more) are
    held-out rows and serve as calibration; never those of a parameter ``warm_up``.

    ``fit(X).detect(X)``, and `fit_predict` as scikit-learn defines it, therefore judge X as if it
    came *once more, after itself*: a season that does not end where X ends goes out of step, and an
    anomaly may have been learned the first time. Where X is all there is, ``process(X)`` of an
    unfitted detector judges each row by the rows before it.

    Parameters
    ----------
    window
        Rows of the past that count, in the sense that the detector gives it.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    @abstractmethod
    def _reset(self, n_features: int) -> None:
        """Set the state to that of a detector which has seen nothing."""

    @abstractmethod
    def learn_one(self, x: NDArray[np.float64]) -> None:
        """Learn one row of shape (n_features,). Trusts its input."""

    @abstractmethod
    def score_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,) and learn nothing. Trusts its input."""

    def process_one(self, x: NDArray[np.float64]) -> float:
        """Score one row, then learn it. Trusts its input; starts from nothing when unfitted."""
        if not hasattr(self, "n_features_in_"):
            self._start(len(x))
        if self.missing == "impute":
            return self._one(x, self._score_and_learn)
        return self._score_and_learn(x)

    def _score_and_learn(self, x: NDArray[np.float64]) -> float:
        score = self.score_one(x)
        self.learn_one(x)
        return score

    def _one(self, x: ArrayLike, judge: Callable[[NDArray[np.float64]], float]) -> float:
        """The score of a row that may be anything: checked, filled, judged, marked."""
        filled = self._one_filled(x)
        score = judge(filled.rows[0])
        return score if filled.gaps is None else float(self._marked(np.array([score]), filled)[0])

    def row(self, x: ArrayLike) -> NDArray[np.float64]:
        """A row as kernels take it; what is none is named. An unfitted detector starts with it.

        Parameters
        ----------
        x : array-like of shape (n_features,)

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Finite; missing values are filled where ``missing="impute"``.

        Raises
        ------
        ValueError
            When the row has another width or a value that is not finite.
        """
        return self._one_filled(x).rows[0]

    def _one_filled(self, x: ArrayLike) -> Filled:
        found = np.ascontiguousarray(np.atleast_1d(floats(x, "x")))
        started = hasattr(self, "n_features_in_")
        d = self.n_features_in_ if started else found.size
        if found.shape != (d,) or d == 0:
            raise ValueError(f"x must have shape ({d or 'n_features'},), got {found.shape}")
        wrong = ~np.isfinite(found) & ~(np.isnan(found) & (self.missing == "impute"))
        if wrong.any():
            raise ValueError(f"x must be finite, got {found[wrong][0]} in column "
                             f"{int(wrong.argmax())}")
        if not started:
            self.check_params()
        filled = self._filled(found[None])
        if not started:
            self._start(d)
        return filled

    def process(self, X: ArrayLike) -> Scores:
        """Score each row, then learn it, in order; one call, chunks and a row loop agree.

        Changes the state: `anomaly_score` gives the same scores and keeps it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self._marked(*self._processed(X))

    def _processed(self, X: ArrayLike) -> tuple[Scores, Filled]:
        """`process` before rows that are mostly missing are marked."""
        first = not hasattr(self, "n_features_in_")
        if first:
            self.check_params()
        with self._all_or_nothing() if first else nullcontext():  # refused rows start nothing
            filled = self._filled(self._given(X, reset=first))
            if first:
                self._start(filled.rows.shape[1])
        with _overflows():
            return self._checked(self._process(filled.rows), len(filled.rows)), filled

    def partial_fit(self, X: ArrayLike, y: None = None) -> Self:
        """Learn further rows (n_samples, n_features); the threshold stays as it is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further rows, in time order.
        y : ignored
            Labels are never read.
        """
        self.process(X)
        return self

    def check_params(self) -> None:
        super().check_params()
        if self.smoothing is not None or self.window == "auto":
            raise ValueError(f"{type(self).__name__} keeps a memory of its own, in rows: it takes "
                             f"neither smoothing nor window='auto', got window={self.window!r}, "
                             f"smoothing={self.smoothing!r}")

    def _start(self, n_features: int) -> None:
        self.n_features_in_ = n_features
        self.seed_ = _draw_seed(getattr(self, "random_state", 0))
        if self.missing == "impute":  # of training rows that there were not
            self.fill_, self.imputed_ = np.full(n_features, np.nan), np.full(n_features, np.nan)
        self._reset(n_features)

    def _process(self, X: NDArray[np.float64]) -> Scores:
        scores = np.empty(len(X))
        for i, x in enumerate(X):
            scores[i] = self.score_one(x)
            self.learn_one(x)
        return scores

    def _fit_held_out(self, X: NDArray[np.float64]) -> Scores | None:
        self._reset(X.shape[1])
        scores = self._checked(self._process(X), len(X))
        if self.calibration is None:
            return None
        start = min(self.window, len(X) - self._n_held_out(len(X)))
        return scores[max(start, getattr(self, "warm_up", 0)):]

    def _fit(self, X: NDArray[np.float64]) -> None:
        self._reset(X.shape[1])
        self._process(X)

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return np.array([self.score_one(x) for x in X])

    def _rounds(self, n: int) -> list[tuple[int, int]]:
        return [(n, 0)]

    def _work(self, n: int, d: int) -> tuple[float, float]:
        return super()._work(n, self.n_features_in_)  # the window is a memory

    def _values(self, n: int, d: int) -> float:
        return 2.0 * n * self.n_features_in_

    def _score_rows(self, X: NDArray[np.float64]) -> Scores:
        with _overflows():
            return self._checked(self._copy()._process(X), len(X))

    def frozen_score(self, X: ArrayLike) -> Scores:
        """Scores by the state as it is: each row is judged as if it were the next one.

        For rows that have no order, and for explanations. Rows of a stream drift away from a state
        that does not follow them: `anomaly_score` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        filled = self.filled(X)
        with _overflows():
            scores = self._checked(self._score(filled.rows), len(filled.rows))
        return self._marked(scores, filled)

    def calibrate(self, X_normal: ArrayLike) -> Self:
        """Replace the held-out scores by those of rows that directly follow what was learned.

        The state moves: the rows are learned, and what is judged next follows them. A calibration
        that fails leaves state, threshold and held-out scores where they were.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows, in time order.
        """
        check_is_fitted(self, "n_features_in_")
        moved = self._copy()
        moved.calibrate_scores(kept(*moved._processed(X_normal)))
        self.__dict__.update(vars(moved))
        return self

    def _copy(self) -> Self:
        """One that can learn without this one; what learning leaves alone is shared."""
        kept = [getattr(self, name) for name in _NOT_STATE if name in vars(self)]
        return deepcopy(self, {id(value): value for value in kept})

    # -- state --------------------------------------------------------------------------------

    def get_state(self) -> State:
        """All that later scores depend on besides the parameters, as numbers and arrays.

        Copies of the attributes that end in ``_``, without threshold and calibration, which
        learning further rows does not move.

        Returns
        -------
        dict of str to ndarray, float or int

        Raises
        ------
        NotFittedError
            Before the first row.
        TypeError
            When a detector keeps its state in something else: a list, an object.

        Examples
        --------
        >>> from adlib.detectors import RollingZScore
        >>> first, second = RollingZScore(window=20), RollingZScore(window=20)
        >>> stream = np.random.default_rng(0).normal(size=(200, 1))
        >>> _ = first.process(stream[:100])
        >>> _ = second.set_state(first.get_state())
        >>> bool((second.process(stream[100:]) == first.process(stream[100:])).all())
        True
        """
        check_is_fitted(self, "n_features_in_")
        state: State = {}
        for name, value in vars(self).items():
            if not name.endswith("_") or name.startswith("_") or name in _NOT_STATE:
                continue
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                state[name] = value.copy()
            elif isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
                state[name] = value.item() if isinstance(value, np.generic) else value
            else:
                raise TypeError(f"{type(self).__name__} keeps {name} as {type(value).__name__}: a "
                                f"state is made of numbers and arrays of numbers")
        return state

    def set_state(self, state: State) -> Self:
        """Go on, bit for bit, where another detector of the same parameters was.

        Threshold and calibration stay as they are. Arrays must have the shapes that this detector
        has, or would have after a first row where it has seen none.

        Parameters
        ----------
        state : dict
            From `get_state`; its arrays are copied.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            When ``state`` is not one that this detector could have reached. It then stays where
            it was.
        """
        self.check_params()
        instance(state, "state", dict)
        if hasattr(self, "n_features_in_"):
            usual = self.get_state()
        else:
            fresh = clone(self)
            fresh._start(whole(state.get("n_features_in_"), "state['n_features_in_']", 1))
            usual = fresh.get_state()
        if wrong := sorted(map(str, state.keys() ^ usual.keys())):
            raise ValueError(f"state must hold what {type(self).__name__}.get_state gives, got "
                             f"another model's: they differ in {', '.join(wrong)}")
        if state["n_features_in_"] != usual["n_features_in_"]:
            raise ValueError(f"state must be of a detector of {usual['n_features_in_']} features, "
                             f"got one of {state['n_features_in_']!r}")
        found = {name: _like(state[name], usual[name], f"state[{name!r}]") for name in usual}
        trial = copy(self)
        trial.__dict__.update(found)
        try:
            trial.check_loaded()
        except ValueError as error:
            raise ValueError(f"state must be of a detector with the parameters of this "
                             f"{type(self).__name__}: {error}") from None
        self.__dict__.update(found)
        return self

    def _hindsight(self, X: NDArray[np.float64], weights: NDArray[np.float64], ahead: int
                   ) -> Scores:
        return smooth(self._score_rows(X), weights, ahead)

    @property
    def is_ordered(self) -> bool:
        return True

    @property
    def is_stateful(self) -> bool:
        return True

    @property
    def context_(self) -> int:
        return 0

    @property
    def lag_(self) -> int:
        return 0  # the window is a memory, and the row itself what is judged

    def windowed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return X


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _like(value: Any, usual: NDArray[Any] | float, name: str) -> NDArray[Any] | float:
    """A value of the kind that is usual there: an array of its shape and dtype, or a number."""
    if isinstance(usual, np.ndarray):
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (
                usual.shape, usual.dtype):
            got = (f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray)
                   else type(value).__name__)
            raise ValueError(f"{name} must be an array of {usual.dtype} of shape {usual.shape}, "
                             f"got {got}")
        return value.copy()
    value = value.item() if isinstance(value, np.generic) else value
    # a file may give 2.0 back as 2, but neither True for 1 nor a fraction for a count
    if not (type(value) is type(usual) or type(usual) is float and type(value) is int):
        raise ValueError(f"{name} must be of type {type(usual).__name__}, got {value!r}")
    return type(usual)(value)


def _draw_seed(random_state: int | np.random.RandomState | np.random.Generator | None) -> int:
    """One integer from any kind of ``random_state``, leaving NumPy's global state alone."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return int(np.random.default_rng(random_state).integers(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, (int, np.integer)) and 0 <= random_state < 2**32:
        return int(random_state)
    raise ValueError(f"random_state must be None, an integer in [0, 2**32) or a NumPy generator, "
                     f"got {random_state!r}")


def _refuse_odd(X: Any) -> None:
    """Refuse what would turn into numbers without being measurements."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.getmaskarray(X).any():
        raise ValueError("X is a masked array: fill or drop its masked values")
    columns = getattr(X, "dtypes", None)
    if columns is not None and hasattr(X, "columns"):
        bad = [str(name) for name, kind in zip(X.columns, columns, strict=True)
               if kind.kind in "mMUSO" and not _numeric(X[name])]
        if bad:
            raise ValueError(f"X has columns that are not numbers: {', '.join(bad)}; drop or "
                             f"encode them (a time column belongs into the index)")
    elif isinstance(X, np.ndarray) and X.dtype.kind in "mMUS":
        raise ValueError(f"X must hold numbers, got dtype {X.dtype}")


def _nan_for_na(X: Any) -> Any:
    """A frame without pandas' NA among its Python objects: no float is made of it."""
    if hasattr(X, "mask") and hasattr(X, "columns") and any(kind.kind == "O" for kind in X.dtypes):
        return X.mask(X.isna(), np.nan)
    return X


def _numeric(column: Any) -> bool:
    """Whether an object column of a frame holds numbers all the same."""
    return column.dtype.kind == "O" and not any(isinstance(v, (str, bytes)) for v in column)
