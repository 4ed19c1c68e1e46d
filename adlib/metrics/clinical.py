"""Metrics of diagnosis: what a test finds at a stated specificity, and what acting on it is worth.

Neither needs the share of anomalies among the judged rows to be that of the place where the test
will be used: the first does not depend on it, the second takes it as an argument.
"""

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import number
from adlib.metrics.labels import Mask, both_classes
from adlib.metrics.point import judged_flags, judged_scores
from adlib.metrics.record import judges

__all__ = ["net_benefit", "sensitivity_at_specificity"]


@judges("score", chance=0.05)
def sensitivity_at_specificity(y_true: ArrayLike, score: ArrayLike, specificity: float = 0.95, *,
                               judged: Mask = None) -> float:
    """Share of the anomalies found when at most ``1 - specificity`` of the normal rows are flagged.

    A point of the ROC curve, chosen for what false alarms cost (the area averages over cuts that
    nobody would use). Rows that tie are flagged together, so the realised specificity may be higher
    than asked for, never lower. A random score gives about ``1 - specificity``.

    The cut is read off the *judged* normal rows, so this is a property of the ranking: a cut fixed
    beforehand will realise another specificity. With few normal rows a single one of them decides.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    score : array_like of shape (n_samples,)
        Higher = more anomalous.
    specificity : float, default=0.95
        Share of the normal rows that must stay unflagged, in [0, 1].
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels are not 0/1, lengths differ, a score is NaN, or specificity is out of range.

    Notes
    -----
    Pepe, The Statistical Evaluation of Medical Tests (2003), chapter 4: ROC(t) at t = 1 -
    specificity.

    Examples
    --------
    >>> y, score = [0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.6, 0.9]
    >>> sensitivity_at_specificity(y, score, 1.0), sensitivity_at_specificity(y, score, 0.75)
    (0.5, 1.0)
    """
    number(specificity, "specificity", least=0, most=1)
    y, score = judged_scores(y_true, score, judged)
    if not both_classes(y, "sensitivity_at_specificity"):
        return np.nan
    normal = np.sort(score[~y])
    # 1e-9: 0.95 of 20 rows is 19, whatever the binary fraction says
    spared = int(np.ceil(specificity * normal.size - 1e-9))
    return float((score[y] > normal[spared - 1]).mean()) if spared else 1.0


# one missed case weighs as much as nine needless actions; a perfect test gets the prevalence
@judges("flags", settings={"threshold": 0.1}, perfect=np.nan)
def net_benefit(y_true: ArrayLike, pred: ArrayLike, threshold: float, *,
                prevalence: float | None = None, judged: Mask = None) -> float:
    """True positives per person, less the false ones at the price that `threshold` puts on them.

    Who acts from a risk of ``threshold`` on says that one missed case weighs as much as ``(1 -
    threshold) / threshold`` needless actions. In that unit::

        net benefit = sensitivity * prevalence
                      - (1 - specificity) * (1 - prevalence) * threshold / (1 - threshold)

    To act on nobody gives 0, to act on everybody ``prevalence - (1 - prevalence) * threshold / (1 -
    threshold)``: a test is worth its trouble where it lies above both. Plotted over `threshold` it
    is the decision curve (Vickers and Elkin 2006). It says nothing on the cost of the test itself,
    and `threshold` is a judgement of people, not of data.

    Parameters
    ----------
    y_true : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    pred : array_like of shape (n_samples,)
        1 = acted on. For a model that gives risks: ``risk >= threshold``.
    threshold : float
        Risk from which on one would act, in (0, 1).
    prevalence : float, optional
        Share of anomalies where the test will be used, in (0, 1). Default: that of the judged rows.
    judged : array_like of bool, shape (n_samples,), optional
        False on rows that count neither way.

    Returns
    -------
    float
        At most the prevalence; negative where the test does more harm than good. nan with a warning
        if there is no anomaly or only anomalies.

    Raises
    ------
    ValueError
        If labels or flags are not 0/1, lengths differ, or a share is out of range.

    Examples
    --------
    >>> y, pred = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    >>> round(net_benefit(y, pred, 0.2), 3)  # (1 - 1 * 0.25) / 10
    0.075
    """
    number(threshold, "threshold", above=0, below=1)
    if prevalence is not None:
        number(prevalence, "prevalence", above=0, below=1)
    y, pred = judged_flags(y_true, pred, judged)
    if not both_classes(y, "net_benefit"):
        return np.nan
    share = y.mean() if prevalence is None else prevalence
    price = threshold / (1 - threshold)
    return float(pred[y].mean() * share - pred[~y].mean() * (1 - share) * price)
