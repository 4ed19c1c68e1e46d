"""Detectors that decide together: every score on its own held-out scale before they meet."""

import re
import warnings
import zlib
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline

from adlib.arguments import floats, listed, number, one_of
from adlib.base import (
    CROSS_BELOW,
    CROSS_CHEAP,
    FOLDS,
    FOLDS_DEAR,
    Detector,
    Scores,
    anomaly_score,
)
from adlib.detectors.knn import KNN
from adlib.detectors.random_features import RandomFeatureAE
from adlib.thresholds import Calibration
from adlib.windows import Windows

_PAYS = 200_000  # values below which starting workers costs more than they save
Matrix = NDArray[np.float64]


class MemberWarning(UserWarning):
    """A member of an ensemble takes no part."""


class _Committee(Detector):
    """What `Ensemble` and `Voting` share: members, their held-out scales, weights, the report."""

    _folds = FOLDS  # where rows are few

    def __init__(self, *, members: list[Any] | None = None,
                 weights: list[float] | str | None = None, n_jobs: int | None = None,
                 random_state: Any = None, **base: Any):
        super().__init__(**base)
        self.members = members
        self.weights = weights
        self.n_jobs = n_jobs
        self.random_state = random_state

    # -- what a subclass writes -------------------------------------------------------------

    def _default(self) -> list[tuple[Any, float]]:
        """Members and weights where none are given."""
        raise NotImplementedError

    def _combine(self, surprises: Matrix) -> Scores:
        """One score per row from the members' surprises (n, n_members), with ``weights_``."""
        raise NotImplementedError

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
        """
        _check_member(detector)
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

    def _named(self) -> tuple[dict[str, Any], NDArray[np.float64]]:
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
            _check_member(pair[0])
            kind = type(pair[0].steps[-1][1] if isinstance(pair[0], Pipeline) else pair[0])
            kind = kind.__name__.lstrip("_")
            twins = sum(re.fullmatch(rf"{kind}(-\d+)?", name) is not None for name in named)
            named[f"{kind}-{twins + 1}" if twins else kind] = pair[0]
        given = self.weights
        if given is None or isinstance(given, str):
            given = [weight for _, weight in pairs]
        return named, _check_weights(given, len(named))

    def check_params(self) -> None:
        super().check_params()
        if self.n_jobs is not None:
            number(self.n_jobs, "n_jobs")
        if isinstance(self.weights, str) and self.weights not in _LEARNED:
            raise ValueError(f"weights must be None, one number >= 0 per member, or one of "
                             f"{list(_LEARNED)}, got {self.weights!r}")
        for member in self._named()[0].values():
            if isinstance(member, Detector):
                member.check_params()

    # -- rows ---------------------------------------------------------------------------------

    @property
    def is_ordered(self) -> bool:
        return super().is_ordered or any(m.is_ordered for m in self._own())

    @property
    def context_(self) -> int:
        return super().context_ + max([0, *(m.context_ for m in self._own())])

    def _own(self) -> list[Detector]:
        members = [] if self.members is None else listed(self.members, "members")
        found = [pair[0] if isinstance(pair, tuple) else pair for pair in members]
        return [member for member in found if isinstance(member, Detector)]

    def windowed(self, X: Matrix) -> Matrix:
        """Windows of this ensemble; members with a window of their own make theirs of these."""
        return Windows(self.window).fit_transform(X) if self.window > 1 else X

    # -- fit ----------------------------------------------------------------------------------

    def _plan(self, n: int) -> str | None:
        if self.calibration != "auto":
            return self.calibration
        # the members' scales need held-out scores in any case: to cross them costs little more
        return "split" if self.is_ordered or n > CROSS_CHEAP else "cross"

    def _splits(self, n: int) -> list[tuple[Any, Any]]:
        """Training and held-out rows of each part."""
        if self.is_ordered:
            gap = self.context_
            cut = n - max(n // 5, gap + 1)
            if cut <= gap:
                raise ValueError(f"a look-back of {gap} rows needs more than {2 * gap + 1} rows to "
                                 f"train on and to make the members' scales of, got {n}")
            return [(slice(0, cut), slice(cut, n))]
        if self.calibration == "split" or n > CROSS_CHEAP:
            return [next(KFold(5, shuffle=True, random_state=self.seed_).split(range(n)))]
        # as many parts whoever the members are: one that fails must not change the others' scales
        parts = min(n, self._folds if n < CROSS_BELOW else FOLDS_DEAR)
        return list(KFold(parts, shuffle=True, random_state=self.seed_).split(range(n)))

    def _fit_calibrated(self, X: Matrix) -> Scores | None:
        if self._plan(len(X)) != "cross":
            return super()._fit_calibrated(X)
        self._fit(X)  # its held-out scores serve twice, none on a scale it is part of
        return self._checked(self._combine(self.held_out_), len(X))

    def _fit(self, X: Matrix) -> None:
        named, given = self._named()
        takes_part = {name: member for (name, member), w in zip(named.items(), given, strict=True)
                      if w > 0 or isinstance(self.weights, str)}
        seeds = _seeds(takes_part, self.seed_)
        splits = self._splits(len(X))
        # fold by fold and once on all rows, for each member: independent jobs
        jobs = [(member, seeds[name], X, train, test) for name, member in takes_part.items()
                for train, test in [*splits, (slice(None), None)]]
        done = self._map(_train, jobs, X.size, backend="loky")
        reports = {name: {"member": name, "status": "unused", "reason": "its weight is 0",
                          "weight": 0.0} for name in named}
        gap = self.context_
        fitted, raw = {}, {}
        for i, name in enumerate(takes_part):
            parts = done[i * (len(splits) + 1):(i + 1) * (len(splits) + 1)]
            reasons = [part[2] for part in parts if part[2]]
            failed = [part[2] for part in parts if part[0] is None]
            reports[name] |= {"status": "failed" if failed else "ok",
                              "reason": (failed or reasons or [""])[0]}
            if not failed:
                fitted[name] = parts[-1][0]
                raw[name] = _scatter([part[1] for part in parts[:-1]], splits, len(X), gap)
        if not fitted:
            raise ValueError("every member failed: " + "; ".join(
                f"{name}: {row['reason']}" for name, row in reports.items()))
        alike = [name for name, scores in raw.items() if np.ptp(scores) <= 1e-9 * np.abs(
            scores).max()]
        if len(alike) < len(fitted):  # where all are constant there is nothing to tell apart
            for name in alike:
                reports[name] |= {"status": "constant",
                                  "reason": "it scores all held-out rows alike"}
                del fitted[name], raw[name]
        for row in reports.values():
            if row["status"] in ("failed", "constant"):
                warnings.warn(f"{type(self).__name__} goes on without {row['member']}: "
                              f"{row['reason']}", MemberWarning, stacklevel=4)
        self.names_, self.members_ = list(fitted), list(fitted.values())
        self.scales_ = [Calibration().fit(scores) for scores in raw.values()]
        self.held_out_ = np.column_stack([_cross_scaled(s, splits) for s in raw.values()])
        if isinstance(self.weights, str):
            learn = _LEARNED[self.weights]
            weights = learn(self, X, [(named[name], seeds[name]) for name in fitted])
        else:
            weights = given[[list(named).index(name) for name in fitted]]
        self.weights_ = _normalised(weights)
        for name, weight in zip(self.names_, self.weights_, strict=True):
            reports[name]["weight"] = float(weight)
        self.report_ = list(reports.values())

    # -- score --------------------------------------------------------------------------------

    def _score(self, X: Matrix) -> Scores:
        return self._combine(self._surprises(X))

    def _surprises(self, X: Matrix) -> Matrix:
        """Score of each member on its held-out scale, (n, n_members); who fails abstains."""
        jobs = [(member, X) for member in self.members_]
        found = self._map(_judge, jobs, X.size, prefer="threads")
        S = np.column_stack([np.full(len(X), np.nan) if score is None else scale.surprise(score)
                             for (score, _), scale in zip(found, self.scales_, strict=True)])
        for name, (_, reason) in zip(self.names_, found, strict=True):
            if reason:
                warnings.warn(f"{type(self).__name__} scores without {name}: {reason}",
                              MemberWarning, stacklevel=6)
        gaps = np.isnan(S)
        if gaps.any():  # the weighted mean of the others stands in for it
            shares = self.weights_ * ~gaps
            with np.errstate(invalid="ignore"):
                mean = (np.where(gaps, 0.0, S) * shares).sum(axis=1) / shares.sum(axis=1)
            S = np.where(gaps, mean[:, None], S)
        return S

    def _contributions(self, X: Matrix) -> Matrix:
        """The score, split by the members' shares that have contributions."""
        shares, weight = np.zeros(X.shape), np.zeros(len(X))
        S = self._surprises(X)
        for member, w, surprise in zip(self.members_, self.weights_, S.T, strict=True):
            try:
                parts = np.abs(member.contributions(X))
            except (AttributeError, NotImplementedError):
                continue
            total = parts.sum(axis=1, keepdims=True)
            even = np.full_like(parts, 1 / parts.shape[1])
            part = np.divide(parts, total, out=even, where=total > 0)
            shares += w * surprise[:, None] * part
            weight += w * surprise
        if not weight.any():
            return super()._contributions(X)
        shares = np.divide(shares, weight[:, None], out=np.zeros_like(shares),
                           where=weight[:, None] > 0)
        return shares * self._combine(S)[:, None]

    def _map(self, function: Callable, jobs: list[tuple], size: int, **how: Any) -> list:
        """Run jobs, in parallel where it pays; results in order, the same either way."""
        if self.n_jobs in (None, 1) or size < _PAYS:
            return [function(*job) for job in jobs]
        return Parallel(n_jobs=self.n_jobs, **how)(delayed(function)(*job) for job in jobs)

    # -- feedback -----------------------------------------------------------------------------

    def calibrate(self, X_normal: ArrayLike) -> Self:
        """Replace the held-out scores, and with them threshold, tail scores and severity.

        The members' scales stay: the score means what it meant before.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows that `fit` has not seen. The first rows only serve as context where
            members look back.
        """
        super().calibrate(X_normal)
        X = self.windowed(self.validate(X_normal, reset=False))
        self.held_out_ = self._surprises(X)[self.context_:]
        return self

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
            Rows that somebody looked at, each with its predecessors where members look back.
        y : array-like of shape (n_samples,)
            1 = anomaly, 0 = normal; NaN for context rows that nobody judged.
        rate : float, optional
            Default ``sqrt(8 * log(n_members) / T)``.
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
        self.weights_ = _normalised(self.weights_ * np.exp(-rate * (loss - loss.min())))
        for name, weight in zip(self.names_, self.weights_, strict=True):
            next(row for row in self.report_ if row["member"] == name)["weight"] = float(weight)
        self._set_calibration(self._checked(self._combine(self.held_out_), len(self.held_out_)))
        return self


class Ensemble(_Committee):
    """Weighted mean of the members' surprises: -log p of each against its own held-out scores.

    Raw scores of different detectors have different units, and whoever shouts loudest decides.
    Here every member is first calibrated on rows that its training did not see (empirical tail,
    an extreme-value fit beyond it: `adlib.thresholds.Calibration.surprise`); the mean of the
    surprises is Fisher's combination (1925) up to a factor. Unlike normalisation by the batch
    under judgement, a row scores the same in any company.

    Few strong and different members help; weak ones are averaged in and harm. The default is the
    strongest fast pair known here: `RandomFeatureAE` (twice) and `KNN`.

    Fails to help where members err alike, and where one is far better than the rest. A member whose
    score grows with the number of training rows (scikit-learn's OneClassSVM) gets a scale that is
    off, and the rate falls below alpha. Needs the training of each member once per cross-fitted
    part: with members that train long, use ``calibration="split"``, which trains each twice.

    Parameters
    ----------
    members : list, optional
        Detectors of adlib, scikit-learn's or Pipelines, or pairs ``(detector, weight)``. They are
        copied at fit, never touched. Members with a window look back; an online one is judged with
        the state it has after its training. Default: see above.
    weights : list of float, {"agreement", "stability"} or None
        One number >= 0 per member; only their ratio counts. ``"agreement"``: a member's
        correlation with the mean of the others on held-out rows. ``"stability"``: correlation of
        two copies trained on different rows (two more trainings). Neither sees a label; see
        `feedback` for weights that do. None: the pairs' weights.
    combine : {"weighted", "mean", "max", "trimmed"}
        Of the surprises. ``"mean"`` ignores weights; ``"max"``: one member suffices; ``"trimmed"``:
        mean without the highest and lowest quarter, at least one each where there are three.
        For the last three a weight only says whether a member takes part (0: not).
    n_jobs : int or None
        Members and parts that train, or members that score, at the same time (joblib), once the
        rows are many enough for it to pay. None: one.
    random_state : int, NumPy generator or None
        Parts, and members that have no ``random_state`` of their own.
    window, alpha, threshold, calibration
        See `adlib.Detector`. Up to 10,000 rows without time order the parts that give the members
        their scales calibrate the ensemble too: each row on scales made of the other parts, so
        that none is held against itself.

    Attributes
    ----------
    report_ : list of dict
        ``member``, ``status`` ("ok", "failed", "constant", "unused"), ``reason``, ``weight``. A
        member that fails, or cannot tell any held-out rows apart, changes nothing else. One that
        fails later, while scoring, abstains with a `MemberWarning`.
    members_, names_, weights_ : list, list of str, ndarray
        Those that take part; weights sum to 1.
    scales_ : list of Calibration
    held_out_ : ndarray of shape (n_rows, n_members)
        Surprises of held-out rows.

    Notes
    -----
    `contributions` share out the score by those of the members that have them.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> Ensemble(random_state=0).fit(X).detect([[0.0, 0.0], [8.0, 8.0]]).is_anomaly.tolist()
    [False, True]
    >>> own = Ensemble(random_state=0).add(KNN(), 2.0).add(IsolationForest(n_estimators=20), 1.0)
    >>> [(row["member"], round(row["weight"], 2)) for row in own.fit(X).report_]
    [('KNN', 0.67), ('IsolationForest', 0.33)]
    """

    def __init__(self, *, members: list[Any] | None = None,
                 weights: list[float] | str | None = None, combine: str = "weighted",
                 **base: Any):
        super().__init__(members=members, weights=weights, **base)
        self.combine = combine

    def _default(self) -> list[tuple[Any, float]]:
        return [(RandomFeatureAE(), 2.0), (KNN(), 1.0)]

    def check_params(self) -> None:
        super().check_params()
        one_of(self.combine, "combine", ("weighted", "mean", "max", "trimmed"))

    def _combine(self, surprises: Matrix) -> Scores:
        n_members = surprises.shape[1]
        if self.combine == "max":
            return surprises.max(axis=1)
        if self.combine == "mean":
            return surprises.mean(axis=1)
        if self.combine == "trimmed":
            cut = max(n_members // 4, int(n_members >= 3))
            return np.sort(surprises, axis=1)[:, cut:n_members - cut].mean(axis=1)
        return (surprises * self.weights_).sum(axis=1)


# -- jobs: module functions, so that workers can be sent them -------------------------------------


def _train(member: Any, seed: int, X: Matrix, train: Any, test: Any
           ) -> tuple[Any, Scores | None, str]:
    """Fitted copy (None where it failed), scores of the held-out rows, and what was said."""
    copy = clone(member)
    changes = {name: seed for name, value in copy.get_params().items()
               if value is None and (name == "random_state" or name.endswith("__random_state"))}
    if isinstance(copy, Detector):
        changes["calibration"] = None  # the ensemble calibrates
    # some draw from NumPy's global state (libsvm's seed, for one): it gets the member's seed, and
    # the caller's state back
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            copy.set_params(**changes).fit(X[train])
            scores = None if test is None else _scores(copy, X[test])
        except Exception as error:  # any library may fail in any way; the others go on
            return None, None, f"{type(error).__name__}: {error}"
        finally:
            np.random.set_state(state)  # noqa: NPY002
    return copy, scores, f"{said[0].category.__name__}: {said[0].message}" if said else ""


def _judge(member: Any, X: Matrix) -> tuple[Scores | None, str]:
    """Scores, or None and the reason."""
    try:
        return _scores(member, X, whole=False), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _scores(member: Any, X: Matrix, *, whole: bool = True) -> Scores:
    score = np.asarray(anomaly_score(member, X), dtype=np.float64)
    if score.shape != (len(X),):
        raise ValueError(f"one score per row wanted, shape ({len(X)},), got {score.shape}")
    if np.isnan(score).any() and (whole or np.isnan(score).all()):
        raise ValueError(f"{np.isnan(score).sum()} of {len(X)} rows scored NaN")
    return np.clip(score, -1e300, 1e300)


def _scatter(parts: list[Scores], splits: list[tuple[Any, Any]], n: int, gap: int) -> Scores:
    """Held-out scores in the order of the rows."""
    if len(splits) == 1:
        return parts[0][gap:]
    scores = np.empty(n)
    for part, (_, test) in zip(parts, splits, strict=True):
        scores[test] = part
    return scores


def _cross_scaled(scores: Scores, splits: list[tuple[Any, Any]]) -> Scores:
    """Surprise of each held-out score against those of the other parts."""
    n = len(scores)
    parts = [test for _, test in splits]
    if len(splits) == 1:  # one stretch: five blocks of it
        parts = [block for block in np.array_split(np.arange(n), min(5, n)) if len(block)]
    found = np.zeros(n)
    for part in parts:
        others = np.delete(scores, part)
        found[part] = Calibration().fit(others if len(others) else scores).surprise(scores[part])
    return found


# -- weights and seeds --------------------------------------------------------------------------


def _check_member(member: Any) -> None:
    if not (isinstance(member, BaseEstimator) and hasattr(member, "fit")):
        raise ValueError(f"members must be detectors or scikit-learn estimators, got {member!r}")


def _check_weights(weights: Any, n: int, *, all_zero: bool = False) -> NDArray[np.float64]:
    try:
        values = np.asarray(list(weights), dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    good = values.shape == (n,) and (values >= 0).all() and (values <= 1e100).all()
    if not good or not (all_zero or values.any()):
        raise ValueError(f"weights must be {n} numbers >= 0, not all 0, got {weights!r}")
    return values


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))


def _seeds(members: dict[str, Any], seed: int) -> dict[str, int]:
    """A seed for each member from what it is, not from its place: order must not matter."""
    seeds, seen = {}, {}
    for name, member in members.items():
        params = {k: v for k, v in member.get_params().items() if not hasattr(v, "get_params")}
        text = re.sub(r" at 0x\w+", "", f"{type(member).__name__} {sorted(params.items())!r}")
        seen[text] = seen.get(text, 0) + 1  # twins differ by their number
        seeds[name] = zlib.crc32(f"{seed} {text} {seen[text]}".encode()) % (2**31)
    return seeds


def _agreement(ensemble: _Committee, X: Matrix, members: list) -> NDArray[np.float64]:
    S = np.log1p(ensemble.held_out_)  # one wild row must not make everybody agree
    others = [np.delete(S, i, axis=1).mean(axis=1) if S.shape[1] > 1 else S[:, 0]
              for i in range(S.shape[1])]
    return np.array([_correlation(s, other) for s, other in zip(S.T, others, strict=True)])


def _stability(ensemble: _Committee, X: Matrix, members: list) -> NDArray[np.float64]:
    rows = np.arange(len(X))
    if not ensemble.is_ordered:
        rows = np.random.default_rng(ensemble.seed_).permutation(rows)
    one, two, judged = (np.sort(part) for part in np.array_split(rows, 3))
    jobs = [(member, seed, X, train, judged) for member, seed in members for train in (one, two)]
    scores = [scores for _, scores, _ in ensemble._map(_train, jobs, X.size, backend="loky")]
    return np.array([0.0 if a is None or b is None else _correlation(_ranks(a), _ranks(b))
                     for a, b in zip(scores[::2], scores[1::2], strict=True)])


_LEARNED = {"agreement": _agreement, "stability": _stability}


def _ranks(scores: Scores) -> Scores:
    return np.unique(scores, return_inverse=True)[1].astype(np.float64)


def _correlation(a: Scores, b: Scores) -> float:
    """At least 0; 0 where either does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return max(0.0, float(a @ b / size)) if size > 0 else 0.0
