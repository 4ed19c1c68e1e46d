"""A weighted mean of detectors, each on its own held-out scale."""

from typing import Any

import numpy as np

from adlib.arguments import one_of
from adlib.base import Scores
from adlib.detectors.committee import Committee, Matrix, MemberWarning

__all__ = ["Ensemble", "MemberWarning"]


class Ensemble(Committee):
    """Weighted mean of the members' surprises: -log p of each against its own held-out scores.

    Raw scores of different detectors have different units, and the one with the largest numbers
    decides. Here every member is first calibrated on rows that its training did not see (empirical
    tail, an extreme-value fit beyond it: `adlib.thresholds.Calibration.surprise`); the mean of the
    surprises is Fisher's combination (1925) up to a factor. Unlike normalisation by the batch
    under judgement, a row scores the same in any company.

    Few strong and different members help; weak ones are averaged in and harm. The default is
    `RandomFeatureAE` and `KNN` with equal weights: see Notes.

    Fails to help where members err alike, and where one is far better than the rest. A member whose
    score grows with the number of training rows (scikit-learn's OneClassSVM) gets a scale that is
    off, and the rate falls below alpha. Needs the training of each member once per cross-fitted
    fold: with members that train long, use ``calibration="split"``, which trains each once.

    Parameters
    ----------
    members : list, optional
        Detectors of adlib, scikit-learn's or Pipelines, or pairs ``(detector, weight)``. They are
        copied at fit, never touched, and run without ``smoothing``. Members with a window look
        back; an online one goes through the rows in order, held-out ones included, and continues
        its stream. Default: see above.
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
        Members and folds that train, or members that score, at the same time (joblib), once the
        rows are many enough for it to pay. None: one.
    random_state : int, NumPy generator or None
        Folds, and members that have no ``random_state`` of their own.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`. The held-out rows that give the members their scales calibrate the
        ensemble too: each on scales made of the other folds, so that none is held against itself.
        None: members are trained once, on all rows, and `calibrate` must be called before a score.

    Attributes
    ----------
    report_ : list of dict
        ``member``, ``status`` ("ok", "failed", "constant", "unused"), ``reason``, ``weight``. A
        member that fails, or cannot distinguish any held-out rows, changes nothing else. One that
        fails later, while scoring, abstains with a `MemberWarning`.
    members_, names_, weights_ : list, list of str, ndarray
        Those that take part; weights sum to 1.
    scales_ : list of Calibration
    held_out_ : ndarray of shape (n_rows, n_members)
        Surprises of held-out rows, from which any subset of members can be calibrated: see
        `combined`.

    Notes
    -----
    How the default was chosen (`benchmarks/defaults.py`, 22 tables of ADBench and 67 of macrOData;
    AUC and average precision, 95 % intervals over sets): of 27 combinations of fast detectors the
    simplest within one standard error of the best that loses nothing on ADBench. With clean
    training rows (`benchmarks/tabular.py` and `odd.py`) it is above `KNN` by .015 [+.002, +.031]
    and .014 [+.002, +.028], above `RandomFeatureAE` by .015 [-.000, +.030] and .015 [+.001, +.029],
    and above the former default (weight 2, and ``KNN(method="largest")``) by .003 [-.001, +.007]
    and .006 [+.001, +.011]. It is no safe bet on a single table: by AUC it wins 43 against `KNN`
    and loses 43, but loses little and wins much. The members were named with some of these sets in
    view. With 2 to 10 % anomalies among the training rows it is level with `KNN`: +.019 [-.001,
    +.043] and -.004 [-.018, +.014], lower on ADBench (average precision -.028 [-.050, -.008]).

    `contributions` share out the score by those of the members that have them.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from adlib.detectors import KNN
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> Ensemble(random_state=0).fit(X).detect([[0.0, 0.0], [8.0, 8.0]]).is_anomaly.tolist()
    [False, True]
    >>> own = Ensemble(random_state=0).add(KNN(), 2.0).add(IsolationForest(n_estimators=20), 1.0)
    >>> [(row["member"], round(row["weight"], 2)) for row in own.fit(X).report_]
    [('KNN', 0.67), ('IsolationForest', 0.33)]
    """

    def __init__(self, *, combine: str = "weighted", **base: Any):
        super().__init__(**base)
        self.combine = combine

    def _default(self) -> list[tuple[Any, float]]:
        # imported here: an ensemble of others' detectors waits for neither compiler
        from adlib.detectors.knn import KNN
        from adlib.detectors.random_features import RandomFeatureAE

        return [(RandomFeatureAE(), 1.0), (KNN(), 1.0)]

    def check_params(self) -> None:
        super().check_params()
        one_of(self.combine, "combine", ("weighted", "mean", "max", "trimmed"))

    def _combine(self, surprises: Matrix, weights: Scores) -> Scores:
        n_members = surprises.shape[1]
        if self.combine == "max":
            return surprises.max(axis=1)
        if self.combine == "mean":
            return surprises.mean(axis=1)
        if self.combine == "trimmed":
            cut = max(n_members // 4, int(n_members >= 3))
            return np.sort(surprises, axis=1)[:, cut:n_members - cut].mean(axis=1)
        return (surprises * weights).sum(axis=1)
