"""Why was this row flagged? Shares of the score by feature, in numbers and in plain sentences.

One function, `explain`, serves every detector of adlib, scikit-learn's outlier detectors and
Pipelines. Where a score splits by feature the detector says so itself (``contributions``);
elsewhere features are replaced by what is expected given the others, and the score asked again.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from adlib.arguments import (
    column,
    floats,
    instance,
    listed,
    number,
    one_of,
    shown,
    times,
    wall_times,
)
from adlib.base import Detector, anomaly_score, core, is_stateful, score_by
from adlib.hindsight import lookback, memory
from adlib.missing import MOST
from adlib.scaling import center_scale, standardise
from adlib.windows import windows

__all__ = ["explain"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

_LEAST = 10  # background rows below which nothing can be said about what is usual
_MOST = 512  # background rows that are kept
_NEAREST = 5  # of them, whose mean is one idea of what is expected
_CAP = 3.0  # deviations beyond which a feature makes a row no less alike, or a guess no wilder
_TRIED = 3  # features that may be changed to make a row normal
_SHRINK = np.arange(1, 17) / 16  # parts of the way to the expected value
_CHUNK = 100_000  # rows of one scoring call
_VALUES = 4_000_000  # values of the windows that one feature each is replaced in


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found, one line per explained row.

    Attributes
    ----------
    rows : ndarray of int, shape (n_rows,)
        Positions in the X that was given.
    scores : ndarray of shape (n_rows,)
    threshold : float
        Above it a row is an anomaly; NaN where the model has none.
    values : ndarray of shape (n_rows, n_features)
        The rows themselves.
    contributions : ndarray of shape (n_rows, n_features)
        In the unit of the score. Negative: the feature speaks for a normal row.
    steps : ndarray of shape (n_rows, window, n_features) or None
        Contributions by row of the look-back, oldest first; they add up to ``contributions``.
    usual, deviations : ndarray of shape (n_rows, n_features)
        What a feature usually shows (online: at this moment of the stream; else its median), and
        how many robust deviations the value lies above it. NaN where there is no background.
    expected, surprises : ndarray of shape (n_rows, n_features)
        What the other features, and the rows before, suggest, and how many robust deviations of
        such guesses the value lies above it. Online: as ``usual`` and ``deviations``.
    replaced : ndarray of shape (n_rows, window, n_features)
        What each feature was replaced by, over the whole look-back, oldest first.
    normal : ndarray of shape (n_rows, n_features)
        The row with the smallest change found that brings the score to the threshold or below (of
        a model that looks back, the rows before it change too); NaN where none was found, or none
        was looked for.
    sought : ndarray of bool, shape (n_rows,)
        Whether such a change was looked for.
    method : {"native", "occlusion"}
    sums_to_score : bool
        Whether contributions add up to ``scores - normal_scores``.
    normal_scores : ndarray of shape (n_rows,)
        Score of the row with every feature replaced; 0 for native contributions.
    feature_names : tuple of str
    units : mapping of str to str
    time : ndarray of shape (n_rows,) or None
    context : ndarray of str, shape (n_rows, n_features)
        In words: what ``usual`` refers to.
    filled : ndarray of bool, shape (n_rows, n_features)
        Where a value was missing, and ``values`` holds what the model filled in: what it adds to
        the score is the filling's doing. A row that is mostly missing is flagged for that alone;
        ``scores`` and contributions are those of what was filled in.
    """

    rows: NDArray[np.int64]
    scores: Array
    threshold: float
    values: Array
    contributions: Array
    steps: Array | None
    usual: Array
    deviations: Array
    expected: Array
    surprises: Array
    replaced: Array
    normal: Array
    sought: NDArray[np.bool_]
    method: str
    sums_to_score: bool
    normal_scores: Array
    feature_names: tuple[str, ...]
    units: Mapping[str, str]
    time: NDArray | None
    context: NDArray[np.str_]
    filled: NDArray[np.bool_]

    @property
    def baseline(self) -> Array:
        """What each feature of the row itself was replaced by, (n_rows, n_features)."""
        return self.replaced[:, -1]

    @property
    def shares(self) -> Array:
        """Each feature's part of what raises the score, (n_rows, n_features), in [0, 1]."""
        up = np.maximum(self.contributions, 0.0)
        up = up / np.maximum(up.max(axis=1, keepdims=True), np.finfo(float).tiny)  # no overflow
        return up / np.maximum(up.sum(axis=1, keepdims=True), np.finfo(float).tiny)

    def top(self, k: int = 3) -> list[tuple[tuple[str, float], ...]]:
        """For each row the k features that raise its score most, with their shares in [0, 1]."""
        order = np.argsort(-self.contributions, axis=1, kind="stable")[:, :k]
        return [tuple((self.feature_names[j], float(share[j])) for j in best if share[j] > 0)
                for best, share in zip(order, self.shares, strict=True)]

    def table(self) -> "pd.DataFrame":
        """One line per row and feature, those that raise the score most first."""
        import pandas as pd

        d, columns = self.values.shape[1], {
            "value": self.values, "usual": self.usual, "deviation": self.deviations,
            "expected": self.expected, "surprise": self.surprises, "contribution":
            self.contributions, "share": self.shares, "normal": self.normal}
        when = {} if self.time is None else {"time": np.repeat(self.time, d)}
        lines = pd.DataFrame({
            "row": np.repeat(self.rows, d), **when,
            "feature": np.tile(self.feature_names, len(self.rows)),
            **{name: np.ravel(column) for name, column in columns.items()}})
        if self.filled.any():
            lines["filled"] = self.filled.ravel()
        order = np.lexsort((-lines.contribution, np.arange(len(lines)) // d))
        return lines.iloc[order].reset_index(drop=True)

    def sentences(self) -> list[str]:
        """In words: what is off, how far, which way, its share, and what would be normal."""
        found = []
        for i, share in enumerate(self.shares):
            order = np.argsort(-share, kind="stable")
            enough = int(np.searchsorted(np.cumsum(share[order]), 2 / 3)) + 1
            named = order[:1 if share[order[0]] >= 0.6 else min(enough, 3)]
            parts = [f"{self._reason(i, j)} ({_percent(share[j])} of the score)" for j in named]
            several = "several features together: " if len(parts) > 1 else ""
            reason = several + _join(parts) if share.any() else (
                "no single feature accounts for the score")
            if self.filled[i].mean() > MOST:
                reason = f"more than half of its values are missing, which flags it; {reason}"
            when = f"Row {self.rows[i]}" if self.time is None else str(
                self.time[i].astype("datetime64[s]")).replace("T", " ").removesuffix(":00")
            found.append(f"{when}: {reason}.{self._remedy(i)}")
        return found

    def _reason(self, i: int, j: int) -> str:
        how = "missing, filled in as " if self.filled[i, j] else ""
        value = f"{shown(self.feature_names[j])} {how}{self._number(i, j, self.values[i, j])}"
        far, odd = self.deviations[i, j], self.surprises[i, j]
        if np.isnan(far):
            return value
        if abs(far) >= 3 or abs(far) >= abs(odd):
            return f"{value} is {_far(far)} {self.context[i, j]}"
        rare = "usual" if abs(far) < 2 else "not rare"
        return f"{value}, in itself {rare}, is {_far(odd)} what the other values suggest"

    def _remedy(self, i: int) -> str:
        if not self.sought[i]:
            return ""
        if np.isnan(self.normal[i]).any():
            return " No change of a few features was found that would make it normal."
        parts = [f"{shown(self.feature_names[j])} at {self._number(i, j, self.normal[i, j])}"
                 for j in np.flatnonzero(self.normal[i] != self.values[i]).tolist()]
        if not parts:
            return ""
        return f" With {_join(parts)} it would not be flagged."

    def _number(self, i: int, j: int, value: float) -> str:
        """A value, to a digit that a robust deviation is made of."""
        unit, gaps = shown(self.units.get(self.feature_names[j])), []
        for centre, far in ((self.usual, self.deviations), (self.expected, self.surprises)):
            if np.isfinite(far[i, j]) and self.values[i, j] != centre[i, j] and far[i, j]:
                gaps.append(abs((self.values[i, j] - centre[i, j]) / far[i, j]))
        digits = max(0, int(np.ceil(-np.log10(min(gaps)) - 0.3))) if gaps else 7
        text = f"{value:.4g}" if digits > 6 or abs(value) >= 1e9 else f"{value:,.{digits}f}"
        return f"{text} {unit}".strip()


@np.errstate(over="ignore", invalid="ignore")  # readings of 1e300 are explained, or refused
def explain(model: Any, X: ArrayLike, rows: ArrayLike | None = None, *,
            background: ArrayLike | None = None, method: str = "auto",
            threshold: float | None = None, steps: bool = False, counterfactual: bool = True,
            feature_names: Sequence[str] | None = None, units: Mapping[str, str] | None = None,
            time: ArrayLike | None = None) -> Explanation:
    """Explain rows that a fitted model finds anomalous.

    Parameters
    ----------
    model : fitted estimator
        A detector of adlib, or anything that `adlib.anomaly_score` serves. Never changed.
    X : array-like of shape (n_samples, n_features)
        In time order where the model looks back. An online detector (or what has one as a member
        or last step) is explained by the state that judged each row, that *before* it: X must be
        the rows that follow what it has learned, and a copy replays them. Gaps are filled as a
        detector with ``missing="impute"`` fills them.
    rows : array-like of int, optional
        Positions to explain; negative ones count from the end. Default: all that are flagged.
    background : array-like of shape (n_normal, n_features), optional
        Normal rows, 200 or more, in time order where the model looks back: what is usual is taken
        from them. Default: the rows of X that are neither flagged nor explained (without a
        threshold: the half with the lower scores). Online detectors of adlib know themselves.
    method : {"auto", "native", "occlusion"}
        "native": the detector's own ``contributions``. "occlusion": by replacing features. "auto":
        native for online detectors and those that look back; for others occlusion where there is a
        background, which blames the right feature more often (`benchmarks/explain.py`).
    threshold : float, optional
        Default: the model's own.
    steps : bool
        Contributions by row of the look-back too. Without a native split it costs ``window *
        n_features`` scores of whole windows a row.
    counterfactual : bool
        Look for the smallest change that makes a row normal. Without it, and without a background,
        a native explanation of a few rows costs no more than scoring them.
    feature_names : sequence of str, optional
        Default: columns of X, names seen in fit, or x0, x1, ...
    units : mapping of str to str, optional
        Unit by feature, for sentences.
    time : array-like of datetime, shape (n_samples,), optional
        Default: the DatetimeIndex of X if it has one.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        When an argument has the wrong shape or rows are out of range; when occlusion has fewer
        than 10 background rows; when ``rows`` is None and the model has no threshold.
    NotImplementedError
        With ``method="native"`` where the model has no native split.

    Notes
    -----
    *Native* contributions add up to the score where the docstring of the detector says so. Where
    the score is the largest of the features' own, it is shared by the Shapley value of a maximum
    (the airport game of Littlechild and Owen 1973), which adds up to it too.

    *Occlusion.* A feature's baseline is what the others (and, in a window, the rows before) let
    expect: the conditional mean of a normal law with the background's covariance, or the mean over
    the background rows that are nearest in the other features; whichever lowers the score more. To
    ask for the value that suits the score best is the reconstruction-based contribution of Alcala
    and Qin (2009), which cannot blame a neighbour of one faulty feature in a linear model as plain
    residuals can. Features are then replaced one after another, the most effective first, and once
    more in the opposite order; a contribution is the mean of the two steps. So they add up to the
    score minus that of the row with every feature replaced: the Shapley value, from two orders
    instead of all.

    Features that are off together share what neither explains alone, and a copy of a faulty
    feature gets half of the blame. What would make a row normal is a statement about the model, not
    about the process that it watches: no cause.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) + [20.0, 50.0, 1013.0]
    >>> X[400, 1] = 41.0
    >>> model = IsolationForest(random_state=0).fit(X[:300])
    >>> why = explain(model, X, rows=[400], feature_names=["temperature", "humidity", "pressure"],
    ...               units={"humidity": "%"})
    >>> why.top(1)[0][0][0], why.method
    ('humidity', 'occlusion')
    >>> why.sentences()[0].split(" (")[0]
    'Row 400: humidity 41 % is 9.8 robust deviations below its median'
    """
    one_of(method, "method", ("auto", "native", "occlusion"))
    check_is_fitted(model)
    given, X = X, floats(X, "X", "(n_samples, n_features)")
    gaps = np.isnan(X)
    if fills := isinstance(model, Detector) and model.missing == "impute":
        X = model.filled(given).rows
        background = None if background is None else model.filled(background).rows
    names, time = _names(model, given, feature_names), _times(given, time)
    units = instance({} if units is None else units, "units", Mapping)
    threshold, scores = _threshold(model, threshold), None
    look_back = lookback(model) + memory(model)
    if rows is None or (background is None and (counterfactual or method == "occlusion")):
        scores = np.asarray(anomaly_score(model, given), dtype=np.float64)
    at = _positions(_flagged(model, scores, threshold) if rows is None else rows, len(X))
    normal = _background(X, at, scores, threshold, background, look_back)
    reference = _Reference(normal) if len(normal) >= _LEAST else None
    W = windows(X, look_back + 1)[at]  # (n, window, features)
    if not np.isfinite(W).all():
        raise ValueError("X must be finite in the rows to be explained and in those before them "
                         "that the model looks back to")
    wanted = _Wanted(method, threshold, counterfactual, steps)
    follow = is_stateful(model) and len(at)
    found = _joined(_follow(model, W, X, at, reference, wanted) if follow else
                    _in_batches(_Model(model, look_back), W, reference, wanted))
    found["context"] = _context(found.pop("period"), time, at)
    return Explanation(rows=at, threshold=threshold, feature_names=names, units=units,
                       time=None if time is None else time[at],
                       filled=gaps[at] & fills, **found)


class _Wanted(NamedTuple):
    """What the caller asks for."""

    method: str
    threshold: float
    counterfactual: bool
    steps: bool


def _in_batches(model: "_Model", W: Array, reference: "_Reference | None", wanted: _Wanted
                ) -> list[dict[str, Any]]:
    """Windows explained some at a time: every feature is replaced by every guess at once."""
    size = max(1, _VALUES // (W[:1].size * W.shape[2] or 1))
    return [_explain(model, W[i:i + size], _usual(reference, W[i:i + size]), wanted)
            for i in range(0, max(len(W), 1), size)]


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Batches of rows as one."""
    found = {name: np.concatenate([part[name] for part in parts]) if isinstance(value, np.ndarray)
             else value for name, value in parts[0].items()}
    found["sums_to_score"] = all(part["sums_to_score"] for part in parts)
    return found


# -- one batch of windows -----------------------------------------------------------------------


class _Model:
    """Scores and contributions of separate windows (n, window, features)."""

    def __init__(self, model: Any, look_back: int):
        self.model, self.length = model, look_back + 1
        self.names = getattr(model, "feature_names_in_", None)

    def _ask(self, ask: Callable, W: Array) -> Array:
        """Windows laid end to end; what is said of the last row of each."""
        found, step = [], max(1, _CHUNK // self.length)
        for start in range(0, len(W), step):
            part: Any = np.ascontiguousarray(W[start:start + step]).reshape(-1, W.shape[2])
            if self.names is not None:
                import pandas as pd

                part = pd.DataFrame(part, columns=self.names)
            found.append(ask(part)[self.length - 1::self.length])
        return np.concatenate(found)

    def score(self, W: Array) -> Array:
        """(n, ..., window, features) -> (n, ...)."""
        flat = W.reshape(-1, *W.shape[-2:])
        if not len(flat):
            return np.zeros(W.shape[:-2])
        return self._ask(lambda X: np.asarray(score_by(self.model, X, "frozen_score"), np.float64),
                         flat).reshape(W.shape[:-2])

    def native(self, W: Array, steps: bool) -> tuple[Array, Array | None]:
        """Contributions (n, features), and by step (n, window, features) where they split so."""
        if isinstance(self.model, Detector) and self.model.smoothing is None:
            cells = self._ask(self.model.window_contributions, W)
            split = steps and self.length > 1 and cells.shape == W.shape
            return cells.sum(axis=1), cells if split else None
        return self._ask(self.model.contributions, W), None


def _explain(model: _Model, W: Array, usual: "_Usual", wanted: _Wanted) -> dict[str, Any]:
    """All about these windows, given what each should show."""
    found, guesses = _facts(model, W, usual, wanted), usual.guesses
    if not len(W):
        return found
    scores, by_step = found["scores"], wanted.steps and model.length > 1
    parts, cells = _native(model, W, wanted, known=guesses is not None)
    if guesses is None:
        if parts is None or (by_step and cells is None):
            raise ValueError(f"background must hold {_LEAST} normal rows or more to replace values "
                             f"by what is usual")
        return found | _adding_up(parts, scores) | {"steps": cells if by_step else None}
    if parts is None:
        everyone = np.broadcast_to(np.arange(W.shape[2]), W[:, -1].shape)
        best, lowest = _best_guess(model, W, guesses, everyone)
        parts, found["normal_scores"] = _in_order(model, W, best, scores, scores[:, None] - lowest)
        found |= {"method": "occlusion", "contributions": parts}
    else:
        best = guesses[:, 0].copy()
        found |= _adding_up(parts, scores)
        parts = found["contributions"]
    if by_step:
        found["steps"] = cells if cells is not None else _by_step(model, W, best, scores, parts)
    if found["sought"].any():
        few = np.argsort(-parts, axis=1, kind="stable")[:, :_TRIED]
        if found["method"] == "native":
            lines = np.arange(len(W))[:, None]
            best[lines, :, few] = _best_guess(model, W, guesses, few)[0][lines, :, few]
        change = _smallest_change(model, W, best, few, wanted.threshold)
        found["normal"] = np.where((scores <= wanted.threshold)[:, None], W[:, -1], change)
    if wanted.counterfactual or found["method"] == "occlusion":
        found["replaced"] = best
    return found


def _facts(model: _Model, W: Array, usual: "_Usual", wanted: _Wanted) -> dict[str, Any]:
    """What is known before the score is split."""
    values, unknown = W[:, -1], np.full(W[:, -1].shape, np.nan)
    far, odd = (standardise(values, centre, np.where(scale == 0, np.finfo(float).tiny, scale))
                for centre, scale in ((usual.value, usual.scale), (usual.expected, usual.error)))
    sought = (wanted.counterfactual and usual.guesses is not None
              and not np.isnan(wanted.threshold))
    return {"values": values, "scores": model.score(W), "steps": None, "method": "native",
            "usual": usual.value + 0 * values, "deviations": far,
            "expected": usual.expected + 0 * values, "surprises": odd,
            "period": usual.period + 0 * values, "sums_to_score": True, "contributions": unknown,
            "replaced": np.full(W.shape, np.nan), "normal": unknown,
            "normal_scores": np.zeros(len(W)), "sought": np.full(len(W), sought)}


def _native(model: _Model, W: Array, wanted: _Wanted, *, known: bool
            ) -> tuple[Array | None, Array | None]:
    """The model's own contributions, by row of the window too; None where features are replaced.

    ``known`` says whether there is anything to replace them by.
    """
    replace = known and model.length == 1 and not is_stateful(model.model)
    if wanted.method == "occlusion" or (wanted.method == "auto" and replace):
        return None, None
    try:
        return model.native(W, wanted.steps)
    except (AttributeError, NotImplementedError) as error:
        if wanted.method == "auto":
            return None, None
        raise NotImplementedError(f"{type(model.model).__name__} has no native contributions; "
                                  f"use method='occlusion'") from error


def _adding_up(parts: Array, scores: Array) -> dict[str, Any]:
    """Native contributions, shared out where the score is the largest of them."""
    largest = np.maximum(parts.max(axis=1), 0)
    if (parts.shape[1] > 1 and np.allclose(largest, scores)
            and not np.allclose(parts.sum(axis=1), scores)):
        parts = _airport(np.maximum(parts, 0.0))
    sums = bool(np.allclose(parts.sum(axis=1), scores, rtol=1e-5))
    return {"contributions": parts, "sums_to_score": sums}


def _best_guess(model: _Model, W: Array, guesses: Array, which: NDArray[np.int64]
                ) -> tuple[Array, Array]:
    """Guess for each of the features ``which`` (n, k) that lowers the score most, and that score.

    The guesses come back as a window (n, window, features), the scores as (n, k).
    """
    lines, places = np.arange(len(W))[:, None], np.arange(which.shape[1])
    tried = np.repeat(np.repeat(W[:, None, None], guesses.shape[1], 1), len(places), 2)
    for place, j in zip(places, which.T, strict=True):
        tried[lines[:, 0], :, place, :, j] = guesses[lines[:, 0], :, :, j]
    scores = model.score(tried)  # (n, guesses, k)
    pick, best = scores.argmin(axis=1), guesses[:, 0].copy()
    best[lines, :, which] = guesses[lines, pick, :, which]
    return best, scores.min(axis=1)


def _in_order(model: _Model, W: Array, best: Array, scores: Array, drops: Array
              ) -> tuple[Array, Array]:
    """Contributions by replacing features in order of effect, and in the opposite order."""
    d = drops.shape[1]
    order = np.argsort(-drops, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    k = np.arange(d + 1)[None, :, None]
    gone = np.stack([rank[:, None] < k, rank[:, None] >= d - k], axis=1)  # (n, 2, d + 1, d)
    path = model.score(np.where(gone[:, :, 1:, None], best[:, None, None], W[:, None, None]))
    path = np.concatenate([np.broadcast_to(scores[:, None, None], (len(W), 2, 1)), path], axis=2)
    fall = -np.diff(path, axis=2)
    ranked = 0.5 * (fall[:, 0] + fall[:, 1, ::-1])
    return np.take_along_axis(ranked, rank, axis=1), path[:, 0, -1]


def _airport(parts: Array) -> Array:
    """Shapley value of a maximum: what two features both reach they share, the rest is one's own.

    Examples
    --------
    >>> _airport(np.array([[6.0, 2.0]])).tolist()
    [[5.0, 1.0]]
    """
    order = np.argsort(parts, axis=1, kind="stable")
    ranked = np.take_along_axis(parts, order, axis=1)
    stretch = np.diff(ranked, axis=1, prepend=0.0) / np.arange(parts.shape[1], 0, -1)
    shared = np.empty_like(parts)
    np.put_along_axis(shared, order, np.cumsum(stretch, axis=1), axis=1)
    return shared


def _by_step(model: _Model, W: Array, best: Array, scores: Array, parts: Array) -> Array:
    """Contributions spread over the rows of the window, by the effect of each value alone."""
    _, length, d = W.shape
    effect = np.empty(W.shape)
    alone = np.eye(length * d, dtype=bool).reshape(-1, length, d)
    for i, (window, guess) in enumerate(zip(W, best, strict=True)):
        effect[i] = scores[i] - model.score(np.where(alone, guess, window)).reshape(length, d)
    effect = np.maximum(effect, 0.0)
    effect[:, -1] += ~effect.any(axis=1)  # without any: the row itself
    return parts[:, None] * effect / effect.sum(axis=1, keepdims=True)


def _smallest_change(model: _Model, W: Array, best: Array, few: NDArray[np.int64],
                     threshold: float) -> Array:
    """Last row of each window with the fewest, then smallest changes that bring it below."""
    n, k = few.shape
    sets = np.vstack([np.eye(k), np.tri(k)[1:]]).astype(bool)  # each alone, two, three
    masks = np.zeros((n, len(sets), W.shape[2]), dtype=bool)
    masks[np.arange(n)[:, None], :, few] = sets.T
    changed = np.where(masks[:, :, None], best[:, None], W[:, None])
    works = model.score(changed) <= threshold
    found, rows = np.full((n, W.shape[2]), np.nan), np.flatnonzero(works.any(axis=1))
    goal = changed[rows, works[rows].argmax(axis=1)]
    way = W[rows, None] + _SHRINK[:, None, None] * (goal - W[rows])[:, None]
    way[:, -1] = goal
    enough = (model.score(way) <= threshold).argmax(axis=1)
    found[rows] = way[np.arange(len(rows)), enough, -1]
    return found


def _follow(model: Any, W: Array, X: Array, rows: NDArray[np.int64],
            reference: "_Reference | None", wanted: _Wanted) -> list[dict[str, Any]]:
    """Each row explained by a copy that has learned exactly the rows before it."""
    replay, at, parts = copy.deepcopy(model), 0, {}
    for i in np.argsort(rows, kind="stable"):
        if rows[i] > at:
            score_by(replay, X[at:rows[i]], "process")
            at = rows[i]
        usual = _usual(reference, W[i:i + 1])
        if hasattr(model, "usual"):  # it knows better
            value, scale, period = replay.usual()
            guess = value[None, None, None] if np.isfinite(value).all() else None  # warming up
            usual = _Usual(value, scale, value, scale, period, guess)
        parts[i] = _explain(_Model(replay, W.shape[1] - 1), W[i:i + 1], usual, wanted)
    return [parts[i] for i in range(len(rows))]


# -- what is usual ------------------------------------------------------------------------------


class _Usual(NamedTuple):
    """What is usual, each (features,) or (n, features); NaN where nobody knows."""

    value: Array
    scale: Array
    expected: Array
    error: Array
    period: Array  # of the season in rows, 0 without one; NaN: no online detector
    guesses: Array | None  # (n, k, window, features)


def _usual(reference: "_Reference | None", W: Array) -> _Usual:
    unknown = np.full(W.shape[2], np.nan)
    if reference is None:
        return _Usual(unknown, unknown, unknown, unknown, unknown, None)
    guesses = reference.guesses(W)
    return _Usual(reference.center, reference.scale, guesses[:, 0, -1], reference.error, unknown,
                  guesses)


class _Reference:
    """What normal windows (m, window, features) let expect of a feature, given the others."""

    def __init__(self, W: Array):
        m, self.length, self.d = W.shape
        flat = W.reshape(m, -1)
        self.all_center, self.all_scale = center_scale(flat, robust=True)
        self.center, self.scale = self.all_center[-self.d:], self.all_scale[-self.d:]
        self.windows = W
        self.Z = self._scaled(W)
        cov = np.cov(self.Z.T).reshape(flat.shape[1], -1)
        # shrunk as a prior of as many rows as there are columns would
        cov[np.diag_indices(len(cov))] += 0.05 + len(cov) / m * np.diag(cov).mean()
        self.mean, self.precision = self.Z.mean(axis=0), np.linalg.inv(cov)
        blocks = self.precision.reshape(self.length, self.d, self.length, self.d)
        own = blocks.diagonal(axis1=1, axis2=3)  # (window, window, features)
        self.gain = np.linalg.inv(own.transpose(2, 0, 1))
        residual = flat[:, -self.d:] - self._linear(W)[:, -1]
        error = 1.4826 * np.median(np.abs(residual), axis=0)
        self.error = np.where(error > 1e-9 * np.abs(self.scale), error, self.scale)

    def _scaled(self, W: Array) -> Array:
        flat = W.reshape(len(W), self.length * self.d)
        return np.clip(standardise(flat, self.all_center, self.all_scale), -2 * _CAP, 2 * _CAP)

    def _linear(self, W: Array) -> Array:
        """Conditional means: each feature's whole stretch given the others; its own past too for
        the last row, which is the one in question."""
        Z = self._scaled(W) - self.mean
        pull = Z @ self.precision
        blocks = pull.reshape(W.shape)
        guess = Z.reshape(W.shape) - np.einsum("jst,ntj->nsj", self.gain, blocks)
        if self.length > 1:
            own = np.diag(self.precision)[-self.d:]
            guess[:, -1] = Z[:, -self.d:] - pull[:, -self.d:] / own
        guess = np.clip(guess, -2 * _CAP, 2 * _CAP).reshape(Z.shape) + self.mean
        return (guess * self.all_scale + self.all_center).reshape(W.shape)

    def guesses(self, W: Array) -> Array:
        """Linear, then from the nearest rows: (n, 2, window, features)."""
        near = np.empty(W.shape)
        Z = self._scaled(W)
        for i, z in enumerate(Z):  # one row at a time: all differences at once would not fit
            gap = np.minimum((self.Z - z) ** 2, _CAP**2).reshape(-1, self.length, self.d).sum(1)
            others = gap.sum(axis=1, keepdims=True) - gap  # (m, features)
            best = np.argpartition(others, _NEAREST, axis=0)[:_NEAREST]
            near[i] = self.windows[best, :, np.arange(self.d)].mean(axis=0).T
        return np.stack([self._linear(W), near], axis=1)


def _background(X: Array, rows: NDArray[np.int64], scores: Array | None, threshold: float,
                background: ArrayLike | None, look_back: int) -> Array:
    """Windows of normal rows, at most `_MOST`, evenly over time."""
    if background is not None:
        normal = floats(background, "background", "(n_normal, n_features)", below=np.inf)
        if normal.shape[1] != X.shape[1]:
            raise ValueError(f"background must have shape (n_normal, {X.shape[1]}), got "
                             f"{normal.shape}")
        at = np.arange(min(look_back, len(normal)), len(normal))
    elif scores is None:
        return np.empty((0, look_back + 1, X.shape[1]))
    else:
        normal = X
        cut = np.median(scores) if np.isnan(threshold) else threshold
        quiet = scores <= cut
        quiet[rows] = False
        quiet[:look_back] = False
        at = np.flatnonzero(quiet)
    if len(at) > _MOST:
        at = at[np.linspace(0, len(at) - 1, _MOST).astype(int)]
    return windows(normal, look_back + 1)[at]


def _threshold(model: Any, given: float | None) -> float:
    """The score above which a row counts as an anomaly; NaN where the model does not say."""
    if given is not None:
        missing = isinstance(given, float) and np.isnan(given)
        return given if missing else number(given, "threshold", most=np.inf)
    model = core(model)
    if hasattr(model, "threshold_"):
        return float(model.threshold_)
    return -float(np.ravel(getattr(model, "offset_", np.nan))[0])


def _flagged(model: Any, scores: Array | None, threshold: float) -> NDArray[np.int64]:
    """Rows to explain where the caller names none."""
    if scores is None or np.isnan(threshold):
        raise ValueError(f"rows must be given: {type(model).__name__} has no threshold to "
                         f"choose them by")
    return np.flatnonzero(scores > threshold)


# -- names, times, words ------------------------------------------------------------------------


def _names(model: Any, X: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    d = np.shape(X)[1] if len(np.shape(X)) == 2 else 0
    known = (given, getattr(X, "columns", None), getattr(model, "feature_names_in_", None))
    names = listed(next((names for names in known if names is not None),
                        [f"x{j}" for j in range(d)]), "feature_names")
    if len(names) != d:
        raise ValueError(f"feature_names must name the columns of X, shape {np.shape(X)}, got "
                         f"{len(names)} names")
    return tuple(map(str, names))


def _times(X: Any, time: ArrayLike | None) -> NDArray | None:
    time = wall_times(X) if time is None else time
    return None if time is None else column(times(time, "time"), "time", len(X))


def _positions(rows: ArrayLike, n: int) -> NDArray[np.int64]:
    found = np.atleast_1d(np.asarray(rows, dtype=None if np.size(rows) else np.int64))
    if found.ndim != 1 or found.dtype.kind not in "iu" or ((found < -n) | (found >= n)).any():
        raise ValueError(f"rows must be positions in X, whole numbers in [{-n}, {n}), got {rows!r}")
    return np.where(found < 0, found + n, found).astype(np.int64)


def _context(period: Array, time: NDArray | None, rows: NDArray[np.int64]) -> NDArray:
    """What each value is compared with, in words; a period of NaN is that of no online detector."""
    words = np.where(np.isnan(period), "its median", np.where(
        period > 0, "what this phase of its season usually shows", "what the rows before it show"))
    if time is None or len(time) < 2:
        return words
    step = np.median(np.diff(time).astype(np.int64)) / 1e9
    hours = np.array([f"what {str(moment)[11:16]} usually shows" for moment in time[rows]])
    return np.where(np.abs(period * step / 86_400 - 1) < 0.02, hours.reshape(-1, 1), words)


def _far(deviation: float) -> str:
    """How far and which way, in two digits: the scale is an estimate."""
    size, way = abs(deviation), "above" if deviation > 0 else "below"
    count = "more than 1,000" if size > 1000 else f"{size:.0f}" if size >= 9.95 else f"{size:.1f}"
    return f"{count} robust deviation{'' if count == '1.0' else 's'} {way}"


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.994 else f"{100 * share:.0f} %"


def _join(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
