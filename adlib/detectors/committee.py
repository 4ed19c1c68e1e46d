"""Detectors that decide together: members, their held-out scales, weights, a report."""

import re
import warnings
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import compress, islice
from typing import Any, NamedTuple, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from adlib.arguments import column as per_row
from adlib.arguments import floats, listed, number
from adlib.base import (
    FEW_ROWS,
    N_FOLDS,
    N_FOLDS_EXPENSIVE,
    WIDEST,
    Detector,
    Plan,
    Scores,
    core,
    expected_cost,
    is_stateful,
    score_by,
    split_folds,
)
from adlib.cost import Cost, CostWarning
from adlib.foreign import Foreign, numpy_seed, wrap
from adlib.missing import Filled, kept
from adlib.scaling import as_shares, stands_still
from adlib.signs import family
from adlib.thresholds import Calibration, above_ties, rounded_up

Matrix = NDArray[np.float64]
LEARNED_WEIGHTS = ("agreement", "stability")
_SUMMED = 2.0**14  # units in the last place that a score, a sum of many terms, may stray
PARALLEL_PAYS = 200_000  # values below which starting workers costs more than they save


class MemberWarning(UserWarning):
    """A member of an ensemble takes no part."""


class Committee(Detector):
    """Base of detectors that combine others: every score on its member's own held-out scale.

    Subclasses write ``_default()`` and ``_combine(surprises, weights)``. Members are trained by
    `Detector.plan`: once on all rows that are not held out, and besides once a fold where rows are
    cross-fitted. The same held-out scores make each member's scale and the threshold, each row
    judged on scales that are made of the other rows; where scores tie, on those of all rows if it
    is more surprising there, so that no whole value is lifted above the threshold.

    With ``calibration=None`` every member is trained once, on all rows, and there are no scales:
    `calibrate` or `calibrate_scores` makes them and the threshold. Once there are scales both keep
    them, so that the score means what it meant before.

    Parameters
    ----------
    members : list, optional
        Detectors of adlib, scikit-learn's or Pipelines, or pairs ``(detector, weight)``. They run
        without ``smoothing``: what is smoothed, if anything, is the combined score. Their
        ``window="auto"`` is settled once, by the rows that train the committee.
    weights : list of float, {"agreement", "stability"} or None
        See `Ensemble`.
    n_jobs, random_state
        See `Ensemble`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Attributes
    ----------
    report_, members_, names_, weights_, scales_, held_out_
        See `Ensemble`. ``held_out_`` has NaN where a member has no score.
    moves_ : ndarray of int, shape (n_rows,)
        Columns that moved in the row of ``held_out_`` and stood still in training.
    """

    report_: list[dict[str, Any]]

    def __init__(self, *, members: list[Any] | None = None,
                 weights: list[float] | str | None = None, n_jobs: int | None = None,
                 random_state: Any = None, **base: Any):
        super().__init__(**base)
        self.members = members
        self.weights = weights
        self.n_jobs = n_jobs
        self.random_state = random_state

    # -- what a subclass writes -------------------------------------------------------------

    @abstractmethod
    def _default(self) -> list[tuple[Any, float]]:
        """Members and weights where none are given."""

    @abstractmethod
    def _combine(self, surprises: Matrix, weights: Scores) -> Scores:
        """One score per row from surprises (n, k) of k members, whose weights sum to 1."""

    # -- members ------------------------------------------------------------------------------

    def add(self, detector: Any, weight: float = 1.0) -> Self:
        """Add a copy of a detector; the caller's stays as it is. Fit again afterwards.

        Without ``members`` so far, it is the first: the default ones are not kept.

        Parameters
        ----------
        detector : estimator
            One of adlib's, or anything that `adlib.anomaly_score` serves.
        weight : float
            Its share, >= 0, relative to the others.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When ``detector`` is none, or the weight is negative or would be lost.
        """
        detector = _member(detector)
        if isinstance(self.weights, str) and weight != 1.0:
            raise ValueError(f"weight={weight!r} would be lost: weights={self.weights!r} takes the "
                             f"weights from data")
        weight = _check_weights([weight], 1, all_zero=True)[0]
        members = [] if self.members is None else list(self.members)
        if self.weights is not None and not isinstance(self.weights, str):
            self.weights = [*self.weights, float(weight)]
            self.members = [*members, clone(detector)]
        else:
            self.members = [*members, (clone(detector), float(weight))]
        return self

    def _named(self) -> tuple[dict[str, Any], dict[str, float]]:
        """Members by name, and their weights as given."""
        pairs = self._default() if self.members is None else listed(self.members, "members")
        pairs = [pair if isinstance(pair, tuple) else (pair, 1.0) for pair in pairs]
        if not pairs:
            raise ValueError("members must hold at least one detector, got none")
        named: dict[str, Any] = {}
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f"members must be detectors or pairs (detector, weight), got "
                                 f"{pair!r}")
            member = _member(pair[0])
            detecting = core(member.model if isinstance(member, Foreign) else member)
            kind = type(detecting).__name__.lstrip("_")
            twins = sum(re.fullmatch(rf"{kind}(-\d+)?", name) is not None for name in named)
            named[f"{kind}-{twins + 1}" if twins else kind] = self._plain(member)
        given = self.weights
        if given is None or isinstance(given, str):
            given = [weight for _, weight in pairs]
        return named, dict(zip(named, _check_weights(given, len(named)).tolist(), strict=True))

    def check_params(self) -> None:
        super().check_params()
        self._check_number("n_jobs", optional=True)
        if self.is_stateful and self.smoothing is not None:
            raise ValueError(f"smoothing must be None with online members, which go on from call "
                             f"to call, got {self.smoothing!r}")
        if isinstance(self.weights, str) and self.weights not in LEARNED_WEIGHTS:
            raise ValueError(f"weights must be None, one number >= 0 per member, or one of "
                             f"{list(LEARNED_WEIGHTS)}, got {self.weights!r}")
        for member in self._named()[0].values():
            if isinstance(member, Detector):
                member.check_params()

    # -- rows ---------------------------------------------------------------------------------

    @property
    def is_ordered(self) -> bool:
        return super().is_ordered or any(m.is_ordered for m in self._own())

    @property
    def is_stateful(self) -> bool:
        return any(m.is_stateful for m in self._own())

    @property
    def context_(self) -> int:
        return super().context_ + max([0, *(m.context_ for m in self._own())])

    @property
    def lag_(self) -> int:
        own = self._own()  # of members alone that look back less, the score is not to come early
        foreign = len(own) < len(self.members or ())
        return super().lag_ + (0 if foreign else min((m.lag_ for m in own), default=0))

    def _own(self) -> list[Detector]:
        members = [] if self.members is None else listed(self.members, "members")
        found = [core(_member(pair[0] if isinstance(pair, tuple) else pair)) for pair in members]
        return [self._plain(member) for member in found if isinstance(member, Detector)]

    def _has_auto(self) -> bool:
        return super()._has_auto() or any(member.window == "auto" for member in self._own())

    def _plain(self, member: Any) -> Any:
        """A member as it takes part: a copy without smoothing, and with the window of all rows."""
        last = core(member)
        changes: dict[str, Any] = {}
        if isinstance(last, Detector) and last.smoothing is not None:
            changes["smoothing"] = None
        if isinstance(last, Detector) and last.window == "auto" and hasattr(self, "usual_period_"):
            columns = self.n_features_in_ * self.window_
            changes["window"] = max(2, min(self.usual_period_, WIDEST // columns))
        if changes:
            member = clone(member)
            core(member).set_params(**changes)
        return member

    # -- fit ----------------------------------------------------------------------------------

    def _n_folds(self, n: int) -> int:
        # as many whatever the members are: one that fails must not change the others' scales
        return N_FOLDS if n < FEW_ROWS else N_FOLDS_EXPENSIVE

    def _n_held_out(self, n: int) -> int:
        return max(super()._n_held_out(n), self.context_ + 1)  # there is no score without scales

    def _work(self, n: int, d: int) -> tuple[float, float]:
        costs = self._member_costs(n, d)  # one that nobody knows counts for nothing
        return float(np.nansum([c.fit_s for c in costs])), float(
            np.nansum([c.score_s for c in costs])) / n

    def _values(self, n: int, d: int) -> float:
        return super()._values(n, d) + max(c.values for c in self._member_costs(n, d))

    def _member_costs(self, n: int, d: int) -> list[Cost]:
        named, given = self._named()
        used = [core(named[name]) for name in named
                if isinstance(self.weights, str) or given[name] > 0]
        return [expected_cost(member, n, d) for member in used]

    def _fit(self, X: Matrix) -> None:
        self._train(X, Plan(slice(0, len(X)), None, []))

    def _fit_held_out(self, X: Matrix) -> Matrix | None:
        plan = self.plan(len(X))
        if not self.is_stateful:  # whose members follow what moves
            self._settled(X[plan.train])
        held_out = self._train(self.windowed(self._calm(X)), plan)
        if plan.held_out is not None:
            held_out = self._without_blind(held_out)
        for row in self.report_:
            if row["status"] in ("failed", "constant"):
                warnings.warn(f"{type(self).__name__} goes on without {row['member']}: "
                              f"{row['reason']}", MemberWarning, stacklevel=3)
        return None if plan.held_out is None else held_out

    def _calibrate_held_out(self, held_out: Matrix, filled: Filled) -> None:
        n_moved = self._moved(filled.rows).sum(axis=1)[len(filled.rows) - len(held_out):]
        self._calibrated(kept(held_out, filled), kept(n_moved, filled))

    def _train(self, X: Matrix, plan: Plan) -> Matrix:
        """Train the members on windows; held-out scores of those that succeed, (n, n_members)."""
        named, given = self._named()
        chosen = {name: member for name, member in named.items()
                  if isinstance(self.weights, str) or given[name] > 0}
        seeds = _seeds(chosen, self.seed_)
        X_train = X[self.window_ - 1:plan.train.stop]  # from the first whole window on
        trained = self._trained_by_plan(chosen, seeds, X, X_train, plan)
        self.report_ = [_outcome(name, trained.get(name)) for name in named]
        fitted = {name: parts for name, parts in trained.items()
                  if all(part.member is not None for part in parts)}
        if not fitted:
            raise ValueError("every member failed: " + "; ".join(
                f"{row['member']}: {row['reason']}" for row in self.report_))
        self.names_ = list(fitted)
        self.members_ = [parts[-1].member for parts in fitted.values()]
        self._set_weights(np.array([given[name] for name in fitted]))
        if str(self.weights) == "stability":
            self._set_weights(self._stability(X_train, [(named[n], seeds[n]) for n in fitted]))
        return np.column_stack([self._held_out_scores(parts, plan) for parts in fitted.values()])

    def _trained_by_plan(self, members: Mapping[str, Any], seeds: Mapping[str, int], X: Matrix,
                         X_train: Matrix, plan: Plan) -> dict[str, list["_Trained"]]:
        """Each member once a fold, and last on all rows that train: independent jobs."""
        judged = None if plan.held_out is None else X[plan.held_out]
        rounds = [*((X[train], X[test]) for train, test in plan.folds), (X_train, judged)]
        jobs = [(member, seeds[name], *rows) for name, member in members.items() for rows in rounds]
        done = iter(self._map(_trained, jobs, X.size, backend="loky"))
        return {name: list(islice(done, len(rounds))) for name in members}

    def _held_out_scores(self, parts: list["_Trained"], plan: Plan) -> Scores:
        """Those of one member, in the order of the rows."""
        own = np.empty(0) if parts[-1].scores is None else parts[-1].scores
        if not plan.folds:
            return own[self._gap:]
        scores = np.empty(plan.train.stop)
        for part, (_, test) in zip(parts, plan.folds, strict=False):
            scores[test] = part.scores
        # for ties, as in `Detector`; row by row, for members combine
        return np.maximum(scores, rounded_up(own))

    def _without_blind(self, raw: Matrix) -> Matrix:
        """Leave out members that score all held-out rows alike; columns of the others."""
        keep = [not _is_constant(column) for column in raw.T]
        if all(keep) or not any(keep):  # where all are constant there is nothing to distinguish
            return raw
        for row in self.report_:
            if row["member"] in self.names_ and not keep[self.names_.index(row["member"])]:
                row |= {"status": "constant", "reason": "it scores all held-out rows alike"}
        self.names_ = list(compress(self.names_, keep))
        self.members_ = list(compress(self.members_, keep))
        self._set_weights(self.weights_[keep])
        return raw[:, keep]

    def _set_weights(self, weights: Scores) -> None:
        self.weights_ = _normalised(weights)
        shares = dict(zip(self.names_, self.weights_.tolist(), strict=True))
        for row in self.report_:
            row["weight"] = shares.get(row["member"], 0.0)

    def _stability(self, X: Matrix, members: list[tuple[Any, int]]) -> Scores:
        """Correlation of two copies of each member that are trained on different rows."""
        rows = np.arange(len(X))
        if not self.is_ordered:
            rows = np.random.default_rng(self.seed_).permutation(rows)
        one, two, judged = (np.sort(part) for part in np.array_split(rows, 3))
        jobs = [(member, seed, X[train], X[judged]) for member, seed in members
                for train in (one, two)]
        done = [part.scores for part in self._map(_trained, jobs, X.size, backend="loky")]
        return np.array([0.0 if a is None or b is None else _correlation(rankdata(a), rankdata(b))
                         for a, b in zip(done[::2], done[1::2], strict=True)])

    # -- calibrate ----------------------------------------------------------------------------

    def calibrate(self, X_normal: ArrayLike, *, judged: ArrayLike | None = None) -> Self:
        """Replace the held-out scores, and with them threshold, tail scores and severity.

        The members' scales stay where there are some: the score means what it meant before.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows that `fit` has not seen. The first rows only serve as context where
            members look back. Online members learn them: what is judged next follows them.
        judged : array-like of bool, shape (n_samples,), optional
            False on rows that only serve as context, as where another recording begins.
        """
        check_is_fitted(self, "members_")
        filled = self.filled(X_normal)
        X = self.windowed(self._calm(filled.rows))
        counts = np.ones(len(X), bool) if judged is None else per_row(judged, "judged", len(X))
        counts = counts.astype(bool) & (np.arange(len(X)) >= self._gap) & ~filled.blind
        with self._all_or_nothing():
            # copies learn: a failure brings back those that were there
            self.members_ = [deepcopy(m) if is_stateful(m) else m for m in self.members_]
            raw = self._member_scores(X, "process")[counts]
            raw = raw if hasattr(self, "scales_") else self._without_blind(raw)
            return self._calibrated(raw, self._moved(filled.rows).sum(axis=1)[counts])

    def process(self, X: ArrayLike) -> Scores:
        """Score rows; online members keep what they learned, as `OnlineDetector.process` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        return self._score_through(X, "process")

    def frozen_score(self, X: ArrayLike) -> Scores:
        return self._score_through(X, "frozen_score")

    def _score_through(self, X: ArrayLike, method: str) -> Scores:
        """`anomaly_score`, by another method of stateful members."""
        check_is_fitted(self, "members_")
        filled = self.filled(X)
        surprises = self._surprises(self.windowed(self._calm(filled.rows)), method)
        combined = self._checked(self._combine(surprises, self.weights_), len(filled.rows))
        return self._marked(self._raised(self._smoothed(combined), filled.rows), filled)

    def calibrate_scores(self, scores: ArrayLike) -> Self:
        """Make the members' scales, where there are none, and the threshold of held-out scores.

        Parameters
        ----------
        scores : array-like of shape (n, n_members)
            Raw scores that ``members_`` give normal rows which training has not seen, in time order
            where there is one; NaN where a member has none.

        Raises
        ------
        ValueError
            When a member has no score at all, or the shape is another one.
        """
        raw = self._checked_scores(scores)
        return self._calibrated(raw, np.zeros(len(raw), np.int64))

    def _calibrated(self, raw: Matrix, n_moved: NDArray[np.int64]) -> Self:
        """`calibrate_scores` of rows in which so many columns moved that stood still, unseen."""
        with self._all_or_nothing():
            if hasattr(self, "scales_"):
                self._set_held_out(self.surprises_of(raw), n_moved)
            else:
                self.scales_ = [_scale(column, name) for name, column in zip(
                    self.names_, raw.T, strict=True)]
                held_out = self._cross_scaled(raw)
                if str(self.weights) == "agreement":
                    self._set_weights(_agreement(held_out))
                self._set_held_out(held_out, n_moved)
        return self

    def _set_held_out(self, surprises: Matrix, n_moved: NDArray[np.int64]) -> None:
        combined = self.combined(surprises)
        known = ~np.isnan(combined)
        finished = self._smoothed(combined[known])[self._memory:]
        if len(finished):
            finished = self._raised_by_own(finished, n_moved[known][self._memory:])
        super().calibrate_scores(finished)
        self.held_out_, self.moves_ = surprises, n_moved

    def _cross_scaled(self, raw: Matrix) -> Matrix:
        """Surprise of each held-out score against those of the other folds.

        Of all where that is higher and scores tie: new rows are on the scale of all, and the scales
        of the folds may lie below it for a whole value at once.

        Rows in time order make contiguous folds, and the rows next to a fold that share a window
        with it are left out of its scales.
        """
        n, gap = len(raw), self._gap
        found = self.surprises_of(raw)
        if n < 2:
            return found
        near = np.arange(-gap, gap + 1)
        tied = np.column_stack([above_ties(column) > column for column in raw.T])
        for _, fold in split_folds(n, self._n_folds(n), None if self.is_ordered else self.seed_):
            others = np.delete(raw, np.unique(np.clip(fold[:, None] + near, 0, n - 1)), axis=0)
            for j, column in enumerate(others.T):
                if not np.isnan(column).all():  # where the gap leaves no others, the whole scale
                    apart = _scale(column, self.names_[j]).surprise(raw[fold, j])
                    found[fold, j] = np.maximum(apart, np.where(tied[fold, j], found[fold, j], 0))
        return found

    def surprises_of(self, scores: ArrayLike) -> Matrix:
        """Raw scores of the members on their held-out scales.

        Parameters
        ----------
        scores : array-like of shape (n, n_members)
            NaN where a member has none.

        Returns
        -------
        ndarray of float64, shape (n, n_members)
            Surprises (`adlib.thresholds.Calibration.surprise`); NaN where there is no score.
        """
        raw = self._checked_scores(scores)
        if not hasattr(self, "scales_"):
            raise NotFittedError(f"this {type(self).__name__} has no scales yet: call "
                                 f"calibrate(X_normal), or fit with calibration='auto'")
        return np.column_stack([scale.surprise(column) for scale, column in zip(
            self.scales_, raw.T, strict=True)])

    def combined(self, surprises: ArrayLike, members: Sequence[int] | None = None) -> Scores:
        """One score per row from the surprises of some members, their weights renormalised.

        Parameters
        ----------
        surprises : array-like of shape (n, n_members)
            As `surprises_of` gives them. Where one is NaN, the weighted mean of the row's others
            stands in for it.
        members : sequence of int, optional
            Positions in ``members_``. Default: all.

        Returns
        -------
        ndarray of float64, shape (n,)
            NaN where no member has a surprise.
        """
        S = self._checked_scores(surprises, "surprises")
        weights = self.weights_
        if members is not None:
            S, weights = S[:, list(members)], _normalised(weights[list(members)])
        return self._combine(_filled(S, weights), weights)

    def _checked_scores(self, scores: ArrayLike, name: str = "scores") -> Matrix:
        check_is_fitted(self, "members_")
        found = floats(scores, name)
        if found.ndim != 2 or found.shape[1] != len(self.members_):
            raise ValueError(f"{name} must have shape (n, {len(self.members_)}), a column for each "
                             f"of {', '.join(self.names_)}, got {found.shape}")
        return found

    # -- score --------------------------------------------------------------------------------

    def _score(self, X: Matrix) -> Scores:
        return self._combine(self._surprises(X), self.weights_)

    def _member_scores(self, X: Matrix, method: str = "anomaly_score") -> Matrix:
        """Raw scores of windows, (n, n_members); who fails abstains with NaN."""
        jobs = [(member, X, method) for member in self.members_]
        found = self._map(_judged, jobs, X.size, prefer="threads")
        for name, (_, reason) in zip(self.names_, found, strict=True):
            if reason:
                warnings.warn(f"{type(self).__name__} scores without {name}: {reason}",
                              MemberWarning, stacklevel=6)
        return np.column_stack([scores for scores, _ in found])

    def _surprises(self, X: Matrix, method: str = "anomaly_score") -> Matrix:
        """Surprises of windows (n, n_members), without gaps."""
        return _filled(self.surprises_of(self._member_scores(X, method)), self.weights_)

    def _contributions(self, X: Matrix) -> Matrix:
        """The score, split by the members' shares that have contributions."""
        shares, weight = np.zeros(X.shape), np.zeros(len(X))
        S = self._surprises(X, "frozen_score")
        for member, w, surprise in zip(self.members_, self.weights_, S.T, strict=True):
            try:
                parts = np.abs(member.contributions(X))
            except (AttributeError, NotImplementedError):
                continue
            shares += w * surprise[:, None] * as_shares(parts)
            weight += w * surprise
        if not weight.any():
            return super()._contributions(X)
        shares = np.divide(shares, weight[:, None], out=np.zeros_like(shares),
                           where=weight[:, None] > 0)
        return shares * self._combine(S, self.weights_)[:, None]

    def _map(self, function: Callable, jobs: list[tuple], size: int, **how: Any) -> list:
        """Run jobs, in parallel where it pays; results in order, the same either way."""
        if self.n_jobs in (None, 1) or size < PARALLEL_PAYS:
            return [function(*job) for job in tqdm(
                jobs, desc=type(self).__name__, delay=5, leave=False, disable=None)]
        return Parallel(n_jobs=self.n_jobs, **how)(delayed(function)(*job) for job in jobs)

    # -- feedback -----------------------------------------------------------------------------

    def feedback(self, X: ArrayLike, y: ArrayLike, *, rate: float | None = None) -> Self:
        """Shift weight to the members that judged labelled rows better.

        Multiplicative weights (Hedge, Freund and Schapire 1997): a member loses its p-value for an
        anomaly and 1 - p for a normal row, and its weight is multiplied by ``exp(-rate * loss)``.
        Over T rows the committee's loss then exceeds that of the best member by no more than
        ``sqrt(T / 2 * log(n_members))``, whatever the rows. The threshold is set anew on the
        held-out rows of the last `fit` or `calibrate`, at the same budget. Call it again with
        further rows; `fit` forgets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that somebody looked at, each with its predecessors where members look back. With
            online members: all rows that follow what they learned.
        y : array-like of shape (n_samples,)
            1 = anomaly, 0 = normal; NaN for context rows that nobody judged.
        rate : float, optional
            Default ``sqrt(8 * log(n_members) / T)``.

        Raises
        ------
        ValueError
            When ``y`` holds anything but 1, 0 and NaN, or judges no row.
        """
        self._check_calibrated()
        X = self.validate(X, reset=False)
        y = floats(y, "y")
        judged = ~np.isnan(y) if y.shape == (len(X),) else np.zeros(0)
        if y.shape != (len(X),) or not np.isin(y[judged], (0, 1)).all() or not judged.any():
            raise ValueError(f"y must hold 1 (anomaly), 0 (normal) or NaN for each of {len(X)} "
                             f"rows, and judge one at least; got shape {y.shape}")
        if rate is None:
            rate = np.sqrt(8 * np.log(len(self.members_)) / judged.sum())
        else:
            number(rate, "rate", least=0)
        p = np.exp(-self._surprises(self.windowed(X))[judged])
        loss = np.where(y[judged, None] == 1, p, 1 - p).sum(axis=0)
        self._set_weights(self.weights_ * np.exp(-rate * (loss - loss.min())))
        self._set_held_out(self.held_out_, getattr(self, "moves_", np.zeros(
            len(self.held_out_), np.int64)))  # none are known of models that an older adlib saved
        return self


# -- jobs: module functions, so that workers can be sent them -------------------------------------


class _Trained(NamedTuple):
    """A fitted copy, None where it failed; its scores of held-out rows; why, or a first warning."""

    member: Any
    scores: Scores | None
    reason: str


def _trained(member: Any, seed: int, X: Matrix, X_test: Matrix | None) -> _Trained:
    copy = clone(member)
    changes: dict[str, Any] = {name: seed for name, value in copy.get_params().items()
               if value is None and (name == "random_state" or name.endswith("__random_state"))}
    if isinstance(copy, Committee):  # it needs its members' scales
        changes["calibration"] = copy.calibration or "auto"
    elif isinstance(copy, Detector):  # calibrated with the others
        changes["calibration"] = None
    # some draw from NumPy's global state: libsvm's seed, for one
    with numpy_seed(seed), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", CostWarning)  # said once, of all of them
        try:
            copy.set_params(**changes).fit(X)
            # what follows the held-out rows is judged next: a stateful copy learns them too
            scores = None if X_test is None else _scores(copy, X_test, "process")
        except Exception as error:  # any library may fail in any way; the others go on
            return _Trained(None, None, f"{type(error).__name__}: {error}")
    return _Trained(copy, scores,
                    f"{said[0].category.__name__}: {said[0].message}" if said else "")


def _judged(member: Any, X: Matrix, method: str) -> tuple[Scores, str]:
    """Scores, or NaN and the reason."""
    try:
        return _scores(member, X, method, whole=False), ""
    except Exception as error:
        return np.full(len(X), np.nan), f"{type(error).__name__}: {error}"


def _scores(member: Any, X: Matrix, method: str, *, whole: bool = True) -> Scores:
    score = np.asarray(score_by(member, X, method), dtype=np.float64)
    if score.shape != (len(X),):
        raise ValueError(f"one score per row wanted, shape ({len(X)},), got {score.shape}")
    if np.isnan(score).any() and (whole or np.isnan(score).all()):
        raise ValueError(f"{np.isnan(score).sum()} of {len(X)} rows scored NaN")
    return np.clip(score, -1e300, 1e300)


def _outcome(name: str, parts: list[_Trained] | None) -> dict[str, Any]:
    """A member's row of the report, before it has a weight."""
    if parts is None:
        return {"member": name, "status": "unused", "reason": "its weight is 0", "weight": 0.0}
    failed = [part.reason for part in parts if part.member is None]
    said = [part.reason for part in parts if part.reason]
    return {"member": name, "status": "failed" if failed else "ok",
            "reason": (failed or said or [""])[0], "weight": 0.0}


# -- scales, weights and seeds --------------------------------------------------------------------


def _scale(scores: Scores, name: str) -> Calibration:
    known = scores[~np.isnan(scores)]
    if not len(known):
        raise ValueError(f"scores must hold held-out scores of every member, got none of {name}")
    return Calibration().fit(above_ties(known))


def _is_constant(scores: Scores) -> bool:
    known = scores[~np.isnan(scores)]
    return len(known) > 0 and bool(stands_still(known, _SUMMED))


def _normalised(weights: Scores) -> Scores:
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


def _filled(S: Matrix, weights: Scores) -> Matrix:
    """Gaps filled by the weighted mean of the row's other members."""
    gaps = np.isnan(S)
    if not gaps.any():
        return S
    shares = weights * ~gaps
    with np.errstate(invalid="ignore"):
        mean = (np.where(gaps, 0.0, S) * shares).sum(axis=1) / shares.sum(axis=1)
    return np.where(gaps, mean[:, None], S)


def _member(member: Any) -> Any:
    """A member, one of another library than scikit-learn wrapped.

    Raises
    ------
    ValueError
        When it is no detector, or of a library whose sign is not known.
    """
    if isinstance(member, type):
        raise ValueError(f"members must be detectors, got the class {member.__name__}")
    try:
        wrapped = wrap(member)
    except TypeError as error:
        raise ValueError(f"members must be detectors, got {member!r}: {error}") from None
    return member if family(member) == "sklearn" else wrapped


def _check_weights(weights: Any, n: int, *, all_zero: bool = False) -> Scores:
    try:
        values = np.asarray(list(weights), dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    good = values.shape == (n,) and (values >= 0).all() and (values <= 1e100).all()
    if not good or not (all_zero or values.any()):
        raise ValueError(f"weights must be {n} numbers >= 0, not all 0, got {weights!r}")
    return values


def _seeds(members: Mapping[str, Any], seed: int) -> dict[str, int]:
    """A seed for each member from what it is, not from its place: order must not matter."""
    seeds: dict[str, int] = {}
    seen: dict[str, int] = {}
    for name, member in members.items():
        params = {k: v for k, v in member.get_params().items()  # neither is a member's matter
                  if not hasattr(v, "get_params") and k not in ("smoothing", "missing")}
        text = re.sub(r" at 0x\w+", "", f"{type(member).__name__} {sorted(params.items())!r}")
        seen[text] = seen.get(text, 0) + 1  # twins differ by their number
        seeds[name] = zlib.crc32(f"{seed} {text} {seen[text]}".encode()) % (2**31)
    return seeds


def _agreement(surprises: Matrix) -> Scores:
    """Correlation of each member with the mean of the others on held-out rows."""
    S = np.log1p(surprises[~np.isnan(surprises).any(axis=1)])  # no wild row makes everybody agree
    others = [np.delete(S, i, axis=1).mean(axis=1) if S.shape[1] > 1 else S[:, 0]
              for i in range(S.shape[1])]
    return np.array([_correlation(s, other) for s, other in zip(S.T, others, strict=True)])


def _correlation(a: Scores, b: Scores) -> float:
    """At least 0; 0 where either does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return max(0.0, float(a @ b / size)) if size > 0 else 0.0
