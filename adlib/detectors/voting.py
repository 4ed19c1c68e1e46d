"""A vote of the classical detectors, and the one score that the vote is a cut of."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import svm
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from adlib.base import N_FOLDS_EXPENSIVE, Scores
from adlib.cost import Bounded
from adlib.detectors.committee import Committee, Matrix


class OneClassSVM(Bounded, svm.OneClassSVM):
    """scikit-learn's, with the logarithm of the mean similarity to the support vectors as score.

    Theirs is a sum that grows with the number of training rows: a copy trained on four fifths of
    them scores every row as more anomalous, and no held-out scale would fit the final model. The
    logarithm keeps rows apart that the sum sees as equally dissimilar. Learns from 20,000 rows at
    most.
    """

    def score_samples(self, X: ArrayLike) -> Scores:
        """Logarithm of a similarity in [1e-9, 1]: high for normal rows."""
        X = np.asarray(X)
        if self.kernel == "rbf":  # a matrix product is several times faster than libsvm's loop
            similarity = np.concatenate([
                rbf_kernel(X[part], self.support_vectors_, self._gamma) @ self.dual_coef_[0]
                for part in gen_batches(len(X), 4_096)])
        else:
            similarity = super().score_samples(X)
        return np.log(np.maximum(similarity / self.dual_coef_.sum(), 1e-9))


_OneClassSVM = OneClassSVM  # its name in models that earlier versions saved


class Voting(Committee):
    """The surprise that members with more than a share ``quorum`` of the weight all reach.

    Hard voting flags a row when enough members flag it. If all flag at one false-alarm rate p, the
    smallest p at which the vote carries is a continuous score: the weighted median of the members'
    surprises (-log p on each one's own held-out scale), or another quantile of them. So the vote
    and the score are one thing: a row is flagged exactly when members with more than ``quorum`` of
    the weight exceed ``threshold_``, and the false-alarm budget is that of the vote as a whole,
    not of each member.

    One extreme score cannot carry a vote, nor can one member that is blind stop it; in return the
    vote ignores how sure the members are. `Ensemble` does not, and ranks better (see Notes).

    Parameters
    ----------
    members : list, optional
        Detectors of adlib, scikit-learn's or Pipelines, or pairs ``(detector, weight)``. Default:
        scikit-learn's IsolationForest, EllipticEnvelope and OneClassSVM (Gaussian kernel,
        ``nu=0.05``), each behind a StandardScaler.
    weights : list of float, {"agreement", "stability"} or None
        One number >= 0 per member, as in `Ensemble`. Default: equal.
    quorum : float
        Share of the weight that has to be exceeded, in [0, 1). 0.5: the majority; two equal members
        must then agree. 0: any member; near 1: all.
    n_jobs, random_state
        As in `Ensemble`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`. With an infinite threshold nobody votes for anything.

    Attributes
    ----------
    report_, members_, names_, weights_, scales_, held_out_
        As in `Ensemble`: a member that fails (a covariance that cannot be inverted, say) is left
        out, with a warning.

    Notes
    -----
    The default's members are classical detectors of three kinds, not the best that were found. On
    56 tables of macrOData with clean training rows (`benchmarks/defaults.py`) `KNN` in the place of
    EllipticEnvelope gains .029 average precision [+.009, +.053], an equal vote of
    `RandomFeatureAE`, `KNN`, LocalOutlierFactor, IsolationForest and OneClassSVM .041 [+.016,
    +.071], and the default `Ensemble` .054 [+.022, +.093].

    Members whose score saturates far from the data would leave ties at the top. Each member's
    surprise is therefore raised by up to 0.01, the more the more surprised all are on average: the
    same for every member of a row, so that vote and flag still agree exactly.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> voting = Voting(random_state=0).fit(X)
    >>> rows = [[0.0, 0.0], [8.0, 8.0]]
    >>> voting.vote(rows).tolist(), voting.detect(rows).is_anomaly.tolist()
    ([0.0, 1.0], [False, True])
    """

    def __init__(self, *, quorum: float = 0.5, **base: Any):
        super().__init__(**base)
        self.quorum = quorum

    def _default(self) -> list[tuple[Any, float]]:
        return [(make_pipeline(StandardScaler(), model), 1.0) for model in (
            IsolationForest(), EllipticEnvelope(), OneClassSVM(nu=0.05))]

    def check_params(self) -> None:
        super().check_params()
        self._check_number("quorum", least=0, below=1)

    def _n_folds(self, n: int) -> int:
        return N_FOLDS_EXPENSIVE  # a forest takes a tenth of a second on ten rows

    def _combine(self, surprises: Matrix, weights: Scores) -> Scores:
        voices = _voices(surprises, weights)
        order = np.argsort(-voices, axis=1, kind="stable")
        weight = np.cumsum(weights[order], axis=1)
        # the most surprised that carry the vote together
        carries = np.argmax(weight.round(9) > self.quorum, axis=1)
        rows = np.arange(len(voices))
        return voices[rows, order[rows, carries]]

    def vote(self, X: ArrayLike) -> Scores:
        """Share of the weight that votes for an anomaly, in [0, 1].

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            ``detect`` flags a row exactly where it exceeds ``quorum``.
        """
        check_is_fitted(self, "n_features_in_")
        self._check_calibrated()
        filled = self.filled(X)
        voices = _voices(self._surprises(self.windowed(filled.rows)), self.weights_)
        if np.isfinite(self.threshold_):
            voices[filled.blind] = np.inf  # nobody can say that it is normal
        # rounded: 0.1 + 0.2 must not exceed 0.3
        return ((voices > self.threshold_) * self.weights_).sum(axis=1).round(9)


def _voices(surprises: Matrix, weights: Scores) -> Matrix:
    """Surprises, raised a little by their mean: ties of saturated members fall apart."""
    mean = (surprises * weights).sum(axis=1, keepdims=True)
    return surprises + 0.01 * mean / (1 + mean)
