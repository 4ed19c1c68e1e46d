"""Anomaly or drift? A monitor that distinguishes what passes from what stays.

Both raise scores. An anomaly is over after a while; a drift is the new normal, and a detector that
was calibrated before it must be calibrated again. A stuck sensor is neither.

The change detectors are river's. They see each signal as ranks among its reference rows, which lie
in [0, 1] as ADWIN's theory wants them, whatever the unit and however wild a spike.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from adlib.arguments import floats, instance, number, one_of, require_extra, whole

__all__ = ["DriftMonitor"]

Rows = NDArray[np.float64]

ENGINES = ("adwin", "kswin", "page_hinkley")
_UNFITTED = "DriftMonitor is not fitted: call fit(scores, X) first"
_PAST = 1_000  # reference rows that an engine starts from, and rows after which it starts again


class DriftMonitor(BaseEstimator):
    """Verdict on each row of a stream: "normal", "anomaly", "drift", "both" or "stuck".

    It watches the scores of any detector and, if given, the rows they were computed from, each
    against a *reference*: held-out normal rows.

    **anomaly**: the score exceeds ``threshold_``, as a share ``alpha`` of normal rows may.

    **drift**: one of river's change detectors raised an alarm for a signal (the score or an input),
    and the ``patience`` rows *after* the alarm are still distributed unlike the reference
    (two-sample Kolmogorov-Smirnov distance). A burst that was over before them is no drift. The
    verdict stays until the rows are like the reference again, or until the monitor is recalibrated.

    **both**: in a drift, a row that lies as far out among the rows since the alarm as the threshold
    does among the reference.

    **stuck**: an input has not changed for ``stuck`` rows longer than it ever did in the reference.
    Such rows are not learned from, and hide what else happens.

    The false-drift rate is held by the second step, whatever the engine: rows after an alarm are
    fresh, so for exchangeable rows each test errs with a chance of at most
    ``false_drifts * patience / n_signals`` (Smirnov's bound), and no two tests of a signal share a
    row. For dependent rows the bound is widened by the variance of the mean rank over ``patience``
    rows, measured in the reference, and it is never below the largest distance seen there: good
    where the reference holds many times ``patience`` rows, otherwise empirical.

    Measured (``python benchmarks/drift.py``, defaults, reference of 1,000 rows): no false drift in
    600,000 clean rows, independent, AR(1) with 0.8 and seasonal scores; median delay to a shift of
    2 sd 81 rows with "adwin" (``patience`` included), and to one of 1 sd 107 rows where rows are
    independent. In AR(1) noise a shift of 1 sd is found in half of the streams within 1,500 rows.

    Fails on inputs with a season longer than ``patience``: every hour is then unlike the whole day,
    and nothing but the largest change is called a drift (hand in what a forecast leaves, or the
    score alone, or raise ``patience`` to a season). Changes of spread alone are seen in inputs by
    "kswin" only; in scores by all. A drift to where the reference has been before is not seen.

    Parameters
    ----------
    engine : {"adwin", "kswin", "page_hinkley"}
        "adwin" (Bifet and Gavalda 2007) compares means over all splits of its window.
        "page_hinkley" (Page 1954) sums deviations from the mean. "kswin" (Raab et al. 2020) tests
        the last 30 rows against 30 of the rows before, some 80 times slower; as it forgets the
        reference within 100 rows it misses what drifts slowly.
    recalibrate : callable or None
        ``recalibrate(X, scores)`` is called once for each drift, with the ``collect`` rows since
        its alarm, shapes (collect, n_features) (None without inputs) and (collect,). Here you
        calibrate or refit your detector. It returns the scores that these rows have now, or None
        where they have not changed; the rows become the monitor's reference. Should it raise, it is
        asked again at the next row. None: a drift is flagged and nothing is ever refitted.
    alpha : float
        Share of normal rows that may be called an anomaly, in (0, 1).
    patience : int
        Rows after an alarm that must still be different, at least 10. A large change that lasts
        this long is a drift. How long a burst may last grows more slowly, since more rows show a
        smaller difference: 30 rows of +6 sd with 50 (the default), 40 with 100 and with 200 were
        none in ten streams, and 50 rows nearly always with 50 and 100.
    collect : int or None
        Rows of a drift handed to ``recalibrate``, at least four times ``patience``. None: six
        times.
    false_drifts : float
        False drifts a row, over all signals, in (0, 1): 1e-5 is one in 100,000 rows.
    stuck : int
        See above; at least 2.

    Attributes
    ----------
    threshold_ : float
        Scores above it are anomalies.
    trail_ : list of dict
        Audit trail of plain values: ``row`` (counted from 0), ``event`` ("drift", "returned",
        "recalibrated", "stuck", "released"), ``signals`` ("score", "x0", ...); with a drift its
        alarm's row ``since``, and ``distance`` and ``limit`` by signal; with a recalibration the
        number of rows and the thresholds.
    rows_, alarms_ : int
        Rows seen; alarms of the engines, confirmed or not.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> monitor = DriftMonitor().fit(rng.normal(size=1_000))
    >>> later = rng.normal(size=600)
    >>> later[100:110] += 6  # a burst
    >>> later[300:] += 3  # a new level
    >>> verdicts = monitor.process(later)
    >>> [str(verdicts[row]) for row in (50, 105, 250, 500)]
    ['normal', 'anomaly', 'normal', 'drift']
    >>> [(entry["event"], entry["since"] >= 300) for entry in monitor.trail_]
    [('drift', True)]
    """

    def __init__(self, engine: str = "adwin", *,
                 recalibrate: Callable[[Rows | None, Rows], ArrayLike | None] | None = None,
                 alpha: float = 0.01, patience: int = 50, collect: int | None = None,
                 false_drifts: float = 1e-5, stuck: int = 20):
        self.engine = engine
        self.recalibrate = recalibrate
        self.alpha = alpha
        self.patience = patience
        self.collect = collect
        self.false_drifts = false_drifts
        self.stuck = stuck

    def fit(self, scores: ArrayLike, X: ArrayLike | None = None) -> Self:
        """Take held-out normal rows as the reference, and start a new stream and audit trail.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            In time order; at least ``4 * patience`` rows, better 20 times.
        X : array-like of shape (n_rows, n_features) or None
            The inputs, where they are to be watched too.

        Raises
        ------
        ValueError
            When the rows are too few, or ``scores`` and ``X`` do not go together.
        """
        self.check_params()
        reference = _signals(scores, X)
        if len(reference) < 4 * self.patience:
            raise ValueError(f"scores must have at least 4 * patience = {4 * self.patience} rows, "
                             f"got {len(reference)}")
        self.rows_, self.alarms_ = 0, 0
        self.trail_: list[dict[str, Any]] = []
        self._refer(reference)
        return self

    def update(self, score: float, x: ArrayLike | None = None) -> str:
        """Verdict on the next row.

        Parameters
        ----------
        score : float
            Higher is more anomalous.
        x : array-like of shape (n_features,) or None
            The row, if inputs are watched.

        Returns
        -------
        str
            The verdict, as the class describes them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        X: Any = None if x is None else [x]
        return str(self.process([score], X)[0])

    def process(self, scores: ArrayLike, X: ArrayLike | None = None) -> NDArray[np.str_]:
        """Update with each row in order; the verdicts, shape (n_rows,).

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            Higher is more anomalous.
        X : array-like of shape (n_rows, n_features) or None
            The rows, if inputs are watched.

        Returns
        -------
        ndarray of str, shape (n_rows,)

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "reference_", msg=_UNFITTED)
        return np.array([self._update(row) for row in _signals(scores, X, self._width - 1)], "U7")

    # -- what is normal ------------------------------------------------------------------------

    def _refer(self, reference: Rows) -> None:
        """Measure new rows by these from now on."""
        n, self._width = reference.shape
        self._n_collect = self.collect or 6 * self.patience
        self.reference_ = reference
        self._sorted = np.sort(reference, axis=0)
        ranks = np.column_stack([self._ranks(k, reference[:, k]) for k in range(self._width)])
        self._past = ranks[-_PAST:]
        # the cut that at most a share alpha of the reference and the next row exceed
        scores = self._sorted[:, 0]
        self.threshold_ = float(scores[min(int(np.ceil((n + 1) * (1 - self.alpha))), n) - 1])
        self._out = _far(self.threshold_, scores)
        level = self.false_drifts * self.patience / self._width
        smirnov = np.sqrt(-np.log(level / 2) / 2 * (1 / n + 1 / self.patience))
        self.limits_ = np.empty(self._width)
        for k in range(self._width):
            windows = sliding_window_view(ranks[:, k], self.patience)
            spread = ranks[:, k].var()
            depends = self.patience * windows.mean(axis=1).var() / spread if spread > 0 else 1.0
            largest = max(self._distance(k, window)
                          for window in sliding_window_view(reference[:, k], self.patience)[
                              ::max(1, self.patience // 10)])
            self.limits_[k] = max(smirnov * np.sqrt(max(depends, 1.0)), largest)
        self._longest = longest_runs(reference[:, 1:])
        self._run, self._last = np.zeros(self._width - 1), np.full(self._width - 1, np.nan)
        self._hung = np.zeros(self._width - 1, bool)
        self._recent: list[Rows] = []
        self._waited = [0] * self._width  # rows since the alarm of a signal, 0: no alarm
        self._engines: list[Any] = [None] * self._width
        self._fed: list[list[float]] = [[] for _ in range(self._width)]
        self._settle()

    def _ranks(self, k: int, values: Rows) -> Rows:
        """Shares of the reference below the values, ties counted half."""
        column = self._sorted[:, k]
        below, up_to = _below(column, values)
        return (below + up_to) / (2 * len(column))

    def _distance(self, k: int, values: Rows) -> float:
        """Kolmogorov-Smirnov distance between values of a signal and its reference."""
        column, values = self._sorted[:, k], np.sort(values)
        gaps = [here / len(column) - there / len(values) for here, there in zip(
            _below(column, values), _below(values, values), strict=True)]
        return float(np.abs(gaps).max())

    def _start(self, k: int) -> None:
        """A new engine that has seen the reference."""
        self._engines[k] = _engine(self.engine, self._past[:, k].tolist())
        self._fed[k] = []
        self._waited[k] = 0

    # -- row by row ----------------------------------------------------------------------------

    def _update(self, row: Rows) -> str:
        self.rows_ += 1
        if self._hangs(row[1:]):
            return "stuck"
        before = np.array(self._recent[-self._age:])[:, 0] if self._age else None
        self._recent.append(row)
        del self._recent[:-self._n_collect]
        if before is None:
            self._watch(row)
            return "anomaly" if row[0] > self.threshold_ else "normal"
        verdict = "both" if _far(row[0], np.sort(before)) > self._out else "drift"
        self._age += 1
        if self._age % self.patience == 0 and not self._unlike(self._drifted):
            self._note("returned", self._drifted)
            self._settle()
        elif self._age >= self._n_collect and self.recalibrate is not None:
            self._recalibrate(self.recalibrate)
        return verdict

    def _watch(self, row: Rows) -> None:
        tried = []
        for k in range(self._width):
            if self._waited[k]:
                self._waited[k] += 1
                if self._waited[k] > self.patience:
                    tried.append(k)
                continue
            rank = float(self._ranks(k, row[k]))
            self._engines[k].update(rank)
            self._fed[k].append(rank)
            if self._engines[k].drift_detected:
                self.alarms_ += 1
                self._waited[k] = 1
            elif len(self._fed[k]) >= _PAST:  # always against the reference, in constant memory
                self._start(k)
        unlike = self._unlike(tried)
        if unlike:
            self._drifted = list(unlike)
            self._age = self.patience
            self._note("drift", self._drifted, since=self.rows_ - 1 - self.patience,
                       distance={_name(k): d for k, d in unlike.items()},
                       limit={_name(k): float(self.limits_[k]) for k in unlike})
        for k in set(tried) - set(unlike):
            self._start(k)

    def _unlike(self, signals: list[int]) -> dict[int, float]:
        """Those of the signals whose last rows are unlike the reference, with the distance."""
        found = {k: self._distance(k, np.array([row[k] for row in self._recent[-self.patience:]]))
                 for k in signals}
        return {k: distance for k, distance in found.items() if distance > self.limits_[k]}

    def _hangs(self, x: Rows) -> bool:
        self._run = run_lengths(x[None], self._last, self._run)[0]
        self._last = x
        hung = self._run >= self._longest + self.stuck
        if not hung.any() and not self._hung.any():  # mostly
            return False
        fresh, freed = hung & ~self._hung, self._hung & ~hung
        self._hung = hung
        if freed.any():
            self._note("released", 1 + np.flatnonzero(freed))
        if fresh.any():
            self._note("stuck", 1 + np.flatnonzero(fresh))
            rows = int(self._run[fresh].max()) - 1  # stuck already, but not yet for long enough
            del self._recent[max(len(self._recent) - rows, 0):]
            self._age = max(self._age - rows, 0)
            if not self._age:
                self._settle()
        return bool(hung.any())

    def _settle(self) -> None:
        """No drift, no alarm, nothing but the reference in the engines."""
        self._drifted = []  # the signals of the drift we are in
        self._age = 0  # its rows since the alarm
        for k in range(self._width):
            self._start(k)

    def _recalibrate(self, recalibrate: Callable[[Rows | None, Rows], ArrayLike | None]) -> None:
        rows = np.array(self._recent)
        X = rows[:, 1:] if self._width > 1 else None
        scores = recalibrate(None if X is None else X.copy(), rows[:, 0].copy())
        if scores is not None:
            if np.shape(scores) != (len(rows),):
                raise ValueError(f"recalibrate must return a score for each row it was given, "
                                 f"shape {(len(rows),)}, got {np.shape(scores)}")
            rows = _signals(scores, X)
        before, drifted = self.threshold_, self._drifted
        self._refer(rows)
        self._note("recalibrated", drifted, rows=len(rows), threshold_before=before,
                   threshold=self.threshold_)

    def _note(self, event: str, signals: Any, **more: Any) -> None:
        self.trail_.append({"row": self.rows_ - 1, "event": event,
                            "signals": [_name(k) for k in signals], **more})

    def check_params(self) -> None:
        """Refuse parameters that are out of range.

        Raises
        ------
        ValueError
            Naming the parameter, what it is and what it must be.
        """
        one_of(self.engine, "engine", ENGINES)
        if self.recalibrate is not None and not callable(self.recalibrate):
            raise ValueError(f"recalibrate must be callable or None, got {self.recalibrate!r}")
        for name in ("alpha", "false_drifts"):
            number(getattr(self, name), name, above=0, below=1)
        for name, least in (("patience", 10), ("stuck", 2)):
            whole(getattr(self, name), name, least, of="rows")
        if self.collect is not None:
            whole(self.collect, "collect", 4 * int(self.patience), of="rows")

    # -- state ---------------------------------------------------------------------------------

    def get_state(self, *, reference: bool = True) -> dict[str, Any]:
        """All that was learned, as numbers, strings, lists, dicts and arrays: no pickle needed.

        Parameters
        ----------
        reference : bool
            Whether the rows that new ones are compared with are in it, as `set_state` wants them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "reference_", msg=_UNFITTED)
        state = deepcopy({name: getattr(self, name) for name in _STATE if name != "_recent"})
        state["_recent"] = [*self._recent]  # rows that nobody changes
        return state | ({"reference": self.reference_.copy()} if reference else {})

    def set_state(self, state: dict[str, Any]) -> Self:
        """Go on, bit for bit, where another monitor of the same parameters was.

        A state without ``reference`` is of a monitor that was fitted on the same rows.

        Raises
        ------
        ValueError
            When ``state`` is not what `get_state` gave.
        """
        self.check_params()
        instance(state, "state", dict)
        missing = {*_STATE, *([] if hasattr(self, "reference_") else ["reference"])} - set(state)
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}: give what get_state gave")
        state = deepcopy(state)
        if "reference" in state:
            self._refer(floats(state.pop("reference"), "state['reference']",
                               "(n_rows, 1 + n_features)"))
        else:
            self._settle()
        for name in _STATE:
            setattr(self, name, state[name])
        for engine, fed in zip(self._engines, self._fed, strict=True):  # river keeps no plain state
            for rank in fed:
                engine.update(rank)
        return self


_STATE = ("rows_", "alarms_", "trail_", "_run", "_last", "_hung", "_recent", "_waited", "_fed",
          "_drifted", "_age")


def _engine(name: str, past: list[float]) -> Any:
    """One of river's change detectors, after the past. Fast rather than careful: see `_unlike`."""
    drift = require_extra("river.drift", "live")
    if name == "kswin":
        return drift.KSWIN(alpha=0.001, seed=0, window=past[-100:])
    engine = (drift.ADWIN(delta=0.01, clock=4) if name == "adwin"
              else drift.PageHinkley(delta=0.05, threshold=8.0))
    for rank in past:
        engine.update(rank)
    return engine


def _below(ordered: Rows, values: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many of the ordered ones lie below each value, and how many at or below it."""
    return np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")


def _name(k: int) -> str:
    return f"x{k - 1}" if k else "score"


def _far(value: float, ordered: Rows) -> float:
    """How far above the median a value lies, in steps from there to the 90 % quantile."""
    middle, high = np.quantile(ordered, (0.5, 0.9))
    if value <= middle:
        return 0.0
    return float((value - middle) / (high - middle)) if high > middle else np.inf


def longest_runs(X: ArrayLike) -> Rows:
    """Most rows in a row without a change, by feature; inf for one that never changes.

    What a stuck sensor is measured by: one that rests for long in normal rows may do so again.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_features)
        Normal rows in time order.

    Returns
    -------
    ndarray of shape (n_features,)

    Examples
    --------
    >>> longest_runs([[1.0, 7.0], [2.0, 7.0], [2.0, 7.0], [3.0, 7.0]]).tolist()
    [2.0, inf]
    """
    X = floats(X, "X", "(n_rows, n_features)")
    nothing = np.full(X.shape[1], np.nan)
    longest = run_lengths(X, nothing, nothing).max(axis=0)
    return np.where(longest < len(X), longest, np.inf)


def run_lengths(X: Rows, before: Rows, lengths: NDArray[Any], known: NDArray[np.bool_] | None = None
                ) -> NDArray[Any]:
    """Rows without a change that end at each row, by feature: more than a limit, and it is stuck.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The next rows of a stream; at least one.
    before, lengths : ndarray of shape (n_features,)
        The row before them (NaN: none) and the result for it.
    known : ndarray of bool, shape (n_rows, n_features), optional
        False where a value was filled in: such a value counts as a change.

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        1 for a value that differs from the one before.

    Examples
    --------
    >>> X = np.array([[5.0], [5.0], [6.0]])
    >>> run_lengths(X, np.array([5.0]), np.array([3]))[:, 0].tolist()
    [4, 5, 1]
    """
    changed = np.empty(X.shape, bool)
    np.not_equal(X[0], before, out=changed[0])
    np.not_equal(X[1:], X[:-1], out=changed[1:])
    if known is not None:
        changed |= ~known
    found = np.ones(X.shape, lengths.dtype)
    if changed.all():  # mostly
        return found
    resting = np.flatnonzero(~changed.all(axis=0))
    index = np.arange(len(X))[:, None]
    last = np.maximum.accumulate(np.where(changed[:, resting], index, -1), axis=0)
    found[:, resting] = np.where(last < 0, lengths[resting] + index + 1, index - last + 1)
    return found


def _signals(scores: ArrayLike, X: ArrayLike | None, n_features: int | None = None) -> Rows:
    """Scores and inputs side by side, shape (n_rows, 1 + n_features)."""
    scores = floats(scores, "scores", "(n_rows,)", below=np.inf)
    signals = scores[:, None]
    if X is not None:
        X = floats(X, "X", "(n_rows, n_features)", sizes=scores.shape, below=np.inf)
        signals = np.hstack([signals, X])
    given = signals.shape[1] - 1
    if n_features is not None and given != n_features:
        raise ValueError(f"X must have {n_features} features as in fit, got {given}")
    return signals
