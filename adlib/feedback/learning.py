"""A fitted detector that learns from what experts said about its alarms, and stays in its budget.

The detector's own score is the prior. Verdicts add a smooth correction to it, normal rows that
nobody chose hold it down, and the threshold is set anew on such rows only.
"""

import time
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from scipy.spatial.distance import cdist
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from adlib.arguments import floats, instance, number, positions, whole
from adlib.base import (
    N_FOLDS_EXPENSIVE,
    Detection,
    Detector,
    Scores,
    score_by,
    split_folds,
)
from adlib.scaling import center_scale, standardise
from adlib.thresholds import Calibration
from adlib.windows import Windows

Matrix = NDArray[np.float64]

_GROUND = 200  # normal rows that hold the correction down
# Prior variances of the correction in squared units of log-odds: a shift for all rows, a tilt
# along the features, a bump around single rows.
_SHIFT, _TILT, _BUMP = 4.0, 4.0, 16.0
_CAP = 4.0  # log(1 + deviations): 54 of them


class Described(NamedTuple):
    """Rows as `Reviewed` sees them: what they score, and what they are like.

    Attributes
    ----------
    odds : ndarray of shape (n_samples,)
        The detector's own score as log-odds: 0 at its threshold.
    rows : ndarray of shape (n_samples, n_columns)
        Standardised and log-compressed: what alikeness is measured on.
    """

    odds: Scores
    rows: Matrix


@dataclass(frozen=True, slots=True)
class Pattern:
    """Rows that need not be reported: those like a marked one, and no stronger.

    Attributes
    ----------
    id : str
    center : tuple of float
        The marked row, as `Reviewed` compares rows.
    radius : float
        Rows closer than this are alike.
    score : float
        Of the marked row: what scores higher is reported all the same.
    until : float
        POSIX seconds after which it is reported again; inf: until revoked.
    who, note : str
    """

    id: str
    center: tuple[float, ...]
    radius: float
    score: float
    until: float
    who: str = ""
    note: str = ""


class Reviewed(Detector):
    """Log-odds of a fitted detector's score at the threshold, corrected by experts' verdicts.

    0 is the detector's own threshold, and one unit is one e-fold of the p-value (bent to a
    logarithm beyond one unit above it: how far a wild row lies out must not outvote an expert).
    To it comes a correction, the posterior mode of a Gaussian process with a logistic likelihood
    (Rasmussen and Williams 2006, section 3.4) on the verdicts, and on a few hundred normal rows as
    verdicts "false": its kernel is a constant, a linear and a local part on standardised, log-
    compressed features. Without verdicts nothing is corrected. Given or turned round, one verdict
    moves a score by at most ``sqrt(k(x, x) k(x', x'))`` (stability of kernel machines: Bousquet and
    Elisseeff 2002), and normal rows outvote a wrong one: ``benchmarks/feedback.py`` has the cost.

    *Budget.* The threshold is the conformal one of the corrected score on ``X_normal`` of `fit`:
    rows that were not chosen by their score, so verdicts about alarms cannot bias it. Those that
    hold the correction down are cross-fitted; where rows are ordered in time they come from the
    first half, and the threshold from the second.

    Measured by ``benchmarks/feedback.py`` on rows never shown (20 sets, 5 seeds, three detectors):
    20 verdicts add .10 [.04, .18] to the average precision and cost no set more than .01; with two
    of them wrong they add .07 and cost up to .02. The kernel was chosen on 16 of these sets; on the
    four generators the gain is .01 to .06. To shift weights between an ensemble's members
    (`adlib.detectors.Ensemble.feedback`) adds .001.

    Helps where anomalies of a kind come back; it can cost a kind unlike those
    that were confirmed (after 50 verdicts, recall of one kind fell from .5 to .4). The
    first five verdicts can cost a set .07. Nothing is gained where the detector is already right.

    Parameters
    ----------
    detector : fitted estimator
        With or without members or a window; anything that `adlib.anomaly_score` serves. Never
        changed. An online detector is judged by `frozen_score`, with the state it has: verdicts
        are about rows apart from their stream.
    reach : float
        How alike rows of an ignored pattern are, in (0, 1): closer to the marked row than
        ``reach`` times its distance to the nearest normal row.
    random_state, alpha, threshold
        See `adlib.Detector`.
    window, calibration, smoothing, missing
        Stay at 1, "auto" and None: they are the detector's and the normal rows' matter.

    Attributes
    ----------
    patterns_ : dict of str to Pattern
        What is ignored, by id; expired ones too.
    n_verdicts_ : int
        Verdicts that count now.
    normal_ : ndarray of shape (n_samples, n_features)
        The X_normal of `fit`.

    Examples
    --------
    >>> from adlib.detectors import KNN
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(900, 2))
    >>> model = Reviewed(KNN().fit(X[:600])).fit(X[600:])
    >>> odd = np.array([[4.0, 0.0], [0.0, 4.0]])  # equally far out
    >>> bool(abs(np.ptp(model.anomaly_score(odd))) < 0.5)
    True
    >>> score = model.learn([[4.2, 0.1], [0.2, 4.1]], [1, 0]).anomaly_score(odd)
    >>> bool(score[0] > score[1] + 1)
    True
    """

    def __init__(self, detector: Any, *, reach: float = 0.5, random_state: Any = 0, **base: Any):
        super().__init__(**base)
        self.detector = detector
        self.reach = reach
        self.random_state = random_state

    def check_params(self) -> None:
        super().check_params()
        self._check_number("reach", above=0.0, below=1.0)
        check_is_fitted(self.detector)
        if (self.window, self.calibration, self.smoothing) != (1, "auto", None):
            raise ValueError(f"window, calibration and smoothing are the detector's and X_normal's "
                             f"matter: leave them at 1, 'auto' and None, got {self.window!r}, "
                             f"{self.calibration!r}, {self.smoothing!r}")

    @property
    def is_ordered(self) -> bool:
        return isinstance(self.detector, Detector) and self.detector.is_ordered

    @property
    def context_(self) -> int:
        return self.detector.context_ if isinstance(self.detector, Detector) else 0

    def windowed(self, X: Matrix) -> Matrix:
        return X  # the detector makes its windows itself

    # -- the prior ----------------------------------------------------------------------------

    def fit(self, X_normal: ArrayLike, y: None = None, *, session: ArrayLike | None = None
            ) -> Self:
        """Set the scale, the threshold and the ground on normal rows; forget all verdicts.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows that the detector has not seen and that were not chosen by their score, in
            time order where there is one; a few hundred are enough.
        y, session : ignored

        Returns
        -------
        self
        """
        return super().fit(X_normal)

    def _fit_held_out(self, X: Matrix) -> Scores:
        context, rng = self.context_, np.random.default_rng(self.seed_)
        self.normal_ = X
        self.scale_ = Calibration().fit(score_by(self.detector, X, "frozen_score")[context:])
        # the detector's own decision is the origin: surprise -log(alpha) at its conformal cut
        self.center_, self.spread_ = center_scale(self._summary(X)[context:])
        odds, rows = (part[context:] for part in self.describe(X))
        # ordered: what lies near a ground row in time is near it in value, and too low to calibrate
        n = max(len(odds) // 2, 1) if self.is_ordered else len(odds)
        chosen = np.sort(rng.permutation(n)[:_GROUND])
        self.prior_ = odds
        self.ground_ = Described(odds[chosen], rows[chosen])
        start = min(n + context, len(odds) - 1) if self.is_ordered else 0
        judged = np.arange(start, len(odds))
        self.held_out_ = Described(odds[judged], rows[judged])
        self.is_ground_ = np.isin(judged, chosen)
        gaps = cdist(self.ground_[1], self.ground_[1])
        self.length_ = float(np.median(gaps[gaps > 0])) if gaps.any() else 1.0
        self._forget()
        self.patterns_: dict[str, Pattern] = {}
        return odds

    def _fit(self, X: Matrix) -> None:
        raise NotImplementedError("the detector is fitted; Reviewed only calibrates")

    def _forget(self) -> None:
        self.anchors_, self.pull_ = np.empty((0, len(self.center_))), np.empty(0)
        self.n_verdicts_ = 0

    def describe(self, X: ArrayLike) -> Described:
        """Scores and features of rows as verdicts are learned from them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Each row with its predecessors where the detector looks back.

        Returns
        -------
        Described
        """
        check_is_fitted(self, "spread_")
        X = self.validate(X, reset=False)
        surprise = self.scale_.surprise(score_by(self.detector, X, "frozen_score")) + np.log(
            self.alpha)
        odds = np.where(surprise > 1, 1 + np.log(np.maximum(surprise, 1)), surprise)
        Z = standardise(self._summary(X), self.center_, self.spread_)
        # capped: no single wild value may tilt the whole correction
        return Described(odds, np.sign(Z) * np.minimum(np.log1p(np.abs(Z)), _CAP))

    def _summary(self, X: Matrix) -> Matrix:
        """The row; where the detector looks back, mean and deviation of what it sees."""
        length = self.context_ + 1
        if length == 1:
            return X
        W = Windows(length).fit_transform(X).reshape(len(X), length, -1)
        return np.hstack([W.mean(axis=1), W.std(axis=1)])

    # -- the correction -----------------------------------------------------------------------

    def learn(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Correct score and threshold by verdicts; they replace those of an earlier call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Judged rows, each with its predecessors where the detector looks back.
        y : array-like of shape (n_samples,)
            1 = true alarm, 0 = false alarm; NaN for rows that nobody judged. No verdict at all
            brings the detector's own score and threshold back.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When ``y`` holds anything but 1, 0 and NaN, or not one value a row.
        """
        self._check_calibrated()
        X = self.validate(X, reset=False)
        y = floats(y, "y")
        if y.shape != (len(X),) or not np.isin(y[~np.isnan(y)], (0, 1)).all():
            raise ValueError(f"y must hold 1 (true), 0 (false) or NaN for each of {len(X)} rows, "
                             f"got shape {y.shape} with values {np.unique(y)[:5].tolist()}")
        odds, rows = (part[~np.isnan(y)] for part in self.describe(X))
        y = y[~np.isnan(y)]
        if not len(y):
            self._forget()
            return self.calibrate_scores(self.prior_)
        m = np.concatenate([odds, self.ground_[0]])
        anchors = np.vstack([rows, self.ground_[1]])
        target = np.concatenate([y, np.zeros(len(m) - len(y))])
        K = self._kernel(anchors, anchors)
        self.anchors_, self.pull_, self.n_verdicts_ = anchors, _mode(K, m, target), len(y)
        held_out = self._corrected(*self.held_out_)
        if self.is_ground_.any():  # no row may be judged by a correction that it has shaped
            held_out[self.is_ground_] = self._cross_corrected(K, m, target)
        return self.calibrate_scores(held_out)

    def _cross_corrected(self, K: Matrix, m: Scores, target: Scores) -> Scores:
        """Scores of the ground rows, the last ones, each by a correction made without its fold."""
        n = self.n_verdicts_
        crossed = np.empty(len(m) - n)
        for kept, out in split_folds(len(crossed), N_FOLDS_EXPENSIVE, self.seed_):
            on = np.concatenate([np.arange(n), n + kept])
            crossed[out] = m[n + out] + K[np.ix_(n + out, on)] @ _mode(
                K[np.ix_(on, on)], m[on], target[on])
        return crossed

    def _kernel(self, A: Matrix, B: Matrix) -> Matrix:
        bump = np.exp(-0.5 * (cdist(A, B) / self.length_) ** 2)
        return _SHIFT + _TILT * (A @ B.T) / A.shape[1] + _BUMP * bump

    def _corrected(self, odds: Scores, rows: Matrix) -> Scores:
        return odds + self._kernel(rows, self.anchors_) @ self.pull_ if len(self.pull_) else odds

    def _score(self, X: Matrix) -> Scores:
        return self._corrected(*self.describe(X))

    # -- what to ask --------------------------------------------------------------------------

    def next_questions(self, X: ArrayLike, k: int = 5, *, asked: ArrayLike = ()
                       ) -> NDArray[np.int64]:
        """Positions of the k rows whose verdicts would teach most: see `next_questions`.

        By the detector's own score, not the corrected one, which would follow the first few
        verdicts to where they pointed (no better on average and far worse at worst).
        ``asked``: positions in X that were judged, or must not be asked.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that might be asked about, each with its predecessors.
        k : int, default=5
            Number of questions.
        asked : array-like of int, default=()
            Positions in X that were judged, or must not be asked.

        Returns
        -------
        ndarray of int, shape (at most k,)
        """
        check_is_fitted(self, "anchors_")
        odds, rows = self.describe(X)
        return next_questions(odds, rows / self.length_, k, asked=asked)

    # -- what to suppress ---------------------------------------------------------------------

    def ignore(self, X: ArrayLike, *, until: float = np.inf, who: str = "", note: str = "",
               id: str | None = None) -> Pattern:
        """Do not flag rows like the last row of X, unless they score higher; see `revoke`.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The marked row, after its predecessors where the detector looks back.
        until : float
            POSIX seconds.
        who, note, id : str
            By default the id is a running number.

        Returns
        -------
        Pattern
            What is ignored from now on.
        """
        check_is_fitted(self, "anchors_")
        number(until, "until", most=np.inf)
        instance(id, "id", (str, type(None)))
        odds, rows = self.describe(X)
        nearest = cdist(rows[-1:], np.vstack([self.held_out_[1], self.ground_[1]])).min()
        key = f"pattern {len(self.patterns_) + 1}" if id is None else id
        # strength is the detector's own: what experts say later must not widen what is hidden
        pattern = Pattern(key, tuple(rows[-1].tolist()), float(self.reach * nearest),
                          float(odds[-1]), float(until), who, note)
        self.patterns_ = {**self.patterns_, key: pattern}
        return pattern

    def revoke(self, id: str) -> None:
        """Report a pattern's rows again; KeyError for an unknown id."""
        if instance(id, "id", str) not in self.patterns_:
            raise KeyError(f"no pattern {id!r}; there are {list(self.patterns_)}")
        self.patterns_ = {key: found for key, found in self.patterns_.items() if key != id}

    def suppressed(self, X: ArrayLike | Described, *, now: float | None = None
                   ) -> NDArray[np.bool_]:
        """Which rows an ignored pattern suppresses at the time ``now``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Described
            Rows that `describe` has seen are not scored again.
        now : float, optional
            POSIX seconds; default: the clock.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
        """
        check_is_fitted(self, "anchors_")
        odds, rows = X if isinstance(X, Described) else self.describe(X)
        now, found = time.time() if now is None else now, np.zeros(len(odds), dtype=bool)
        for pattern in self.patterns_.values():
            if now < pattern.until:
                near = np.linalg.norm(rows - np.array(pattern.center), axis=1) <= pattern.radius
                # equal to the last digits: the marked row itself, scored in other company
                found |= near & (odds <= pattern.score + 1e-9)
        return found

    def detect(self, X: ArrayLike, *, now: float | None = None) -> Detection:
        """Flags and scores; rows of an ignored pattern keep their score and are not flagged.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        now : float, optional
            POSIX seconds at which patterns must be in force; default: the clock.

        Returns
        -------
        Detection
        """
        self._check_calibrated()
        score = self.anomaly_score(X)
        flagged = score > self.threshold_
        if self.patterns_:
            flagged &= ~self.suppressed(X, now=now)
        return Detection(flagged, score)


def _mode(K: Matrix, m: Scores, y: Scores) -> Scores:
    """Weights a of the correction f = K a: Newton's method on the logistic posterior."""
    f = np.zeros(len(y))
    for _ in range(100):
        p = expit(m + f)
        W = np.maximum(p * (1 - p), 1e-9)
        b, root = W * f + y - p, np.sqrt(W)
        B = np.eye(len(y)) + root[:, None] * K * root
        a = b - root * linalg.solve(B, root * (K @ b), assume_a="pos")
        step = K @ a - f
        f = f + np.clip(step, -3, 3)  # a whole step can leap over the mode where p is near 0 or 1
        if np.abs(step).max() < 1e-5:
            return a
    warnings.warn("the correction did not settle in 100 steps", RuntimeWarning, stacklevel=3)
    return a


def next_questions(scores: ArrayLike, X: ArrayLike, k: int = 5, *, asked: ArrayLike = ()
                   ) -> NDArray[np.int64]:
    """Rows whose verdicts would teach most: worth a look, and unlike what has been asked.

    One after another, the row with the largest product of (i) the probability that it is flagged,
    ``1 / (1 + exp(-score))``: above the threshold it is the expert who is uncertain, not the
    score, so it does not fall again there; and (ii) the distance to the nearest row that was asked
    or chosen, up to 3: what a kernel model knows least about. Uncertainty times distance in one
    greedy pass is that of diverse batches (Zhdanov 2019; with gradients as the space: Ash et al.
    2020, BADGE), started from the farthest-first traversal (Gonzalez 1985).

    Rare kinds far below the threshold are never asked about; a detector that is blind to them stays
    so.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Log-odds: 0 at the threshold.
    X : array-like of shape (n_samples, n_features)
        In units of the distance at which rows become unlike.
    k : int
        How many; fewer where X has fewer.
    asked : array-like of int
        Positions that have been asked.

    Returns
    -------
    ndarray of int, shape (k,)
        Positions, the most informative first.

    Raises
    ------
    ValueError
        When ``scores`` and ``X`` do not go together or are not finite.

    Examples
    --------
    >>> X = np.array([[0.0, 0.0], [4.0, 0.0], [4.1, 0.0], [0.0, 3.0]])
    >>> next_questions([-5.0, 2.0, 1.9, 0.5], X, 2).tolist()
    [1, 3]
    """
    X = floats(X, "X", "(n_rows, n_features)", below=1e150)
    scores = floats(scores, "scores", "(n_rows,)", sizes=(len(X),), below=1e150)
    whole(k, "k", 1)
    asked = positions(asked, "asked", len(X))
    worth, gap = expit(scores), np.full(len(X), 3.0)
    free = np.ones(len(X), dtype=bool)
    chosen: list[int] = []
    queue = list(asked)
    while len(chosen) < min(k, len(X) - len(set(asked.tolist()))):
        for i in queue:
            gap = np.minimum(gap, np.linalg.norm(X - X[i], axis=1))
            free[i] = False
        # ties, as between copies of what was asked: the higher score
        best = np.lexsort((scores, np.where(free, worth * gap, -1.0)))[-1]
        chosen.append(int(best))
        queue = [best]
    return np.array(chosen, dtype=np.int64)
