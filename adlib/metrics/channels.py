"""Metrics of explanations: are the channels that a detector blames those that are wrong?"""

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import floats, number
from adlib.metrics.labels import undefined

__all__ = ["hit_rate"]


def hit_rate(y_true: ArrayLike, blame: ArrayLike, *, percent: float = 100.0) -> float:
    """Share of the wrong channels among those that are blamed most, mean over anomalous rows.

    Of a row with k wrong channels, ``percent`` % of k (rounded down) are looked at, those of the
    highest blame: HitRate@P%. Channels that tie at the cut share the places that are left, so the
    result is the mean over all their orders.

    Parameters
    ----------
    y_true : array_like of shape (n_samples, n_channels)
        1 where a channel is wrong. Rows without any count for nothing.
    blame : array_like of shape (n_samples, n_channels)
        Higher = blamed more, such as `adlib.Detector.contributions` gives.
    percent : float
        From 100 on; 150 looks at half as many again as are wrong.

    Returns
    -------
    float
        In [0, 1]; nan with a warning if no channel is wrong. Blame at random gets the mean over
        rows of the share of channels looked at.

    Raises
    ------
    ValueError
        If labels are not 0/1, shapes differ, blame is NaN or infinite, or percent is below 100.

    References
    ----------
    Su, Y., Zhao, Y., Niu, C., Liu, R., Sun, W. and Pei, D. (2019). Robust anomaly detection for
    multivariate time series through stochastic recurrent neural network. KDD.

    Examples
    --------
    >>> wrong, blame = [[0, 0, 0], [1, 0, 1]], [[1.0, 0.0, 0.0], [0.7, 0.2, 0.1]]
    >>> hit_rate(wrong, blame), hit_rate(wrong, blame, percent=150)
    (0.5, 1.0)
    """
    labels = floats(y_true, "y_true", "(n_samples, n_channels)")
    values = floats(blame, "blame", "(n_samples, n_channels)", sizes=labels.shape, below=np.inf)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("y_true must hold only 0 (right) and 1 (wrong)")
    number(percent, "percent", least=100)
    wrong = labels.sum(axis=1)
    rows = wrong > 0
    if not rows.any():
        return undefined("hit_rate", "no wrong channel")
    labels, values, wrong = labels[rows], values[rows], wrong[rows]
    places = np.minimum(np.floor(percent / 100 * wrong), labels.shape[1]).astype(int)
    last = -np.sort(-values, axis=1)[np.arange(len(places)), places - 1][:, None]
    above, tied = values > last, values == last
    share = (places - above.sum(axis=1)) / tied.sum(axis=1)
    hits = (labels * (above + tied * share[:, None])).sum(axis=1)
    return float((hits / wrong).mean())
