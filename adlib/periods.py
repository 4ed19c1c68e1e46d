"""The period of rows that are at hand: windows, smoothing and injected seasons follow it.

A stream is another matter: `adlib.detectors.online` looks again at every few rows, from a period it
holds already, among rows that may be faulty, and so works on ranks and in compiled code.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["dominant_period", "usual_period"]

SHORTEST = 4  # rows: below it there is hardly a shape to repeat
LEAST, DEFAULT, LONGEST = 50, 125, 300  # rows, of `usual_period`


def dominant_period(X: ArrayLike) -> int:
    """Rows per season: the first high peak of the autocorrelation, without a linear trend.

    Parameters
    ----------
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Finite numbers, in time order.

    Returns
    -------
    int
        The median over the channels that have a season, which is at most a third of the rows; 0
        where none has.

    Examples
    --------
    >>> dominant_period(np.sin(2 * np.pi * np.arange(500) / 25))
    25
    >>> dominant_period(np.random.default_rng(0).normal(size=(500, 3)))
    0
    """
    X = np.asarray(X, dtype=np.float64)
    found = [_first_season(x) for x in X.reshape(len(X), -1).T]
    return int(np.median([period for period in found if period] or [0]))


def usual_period(X: ArrayLike) -> int:
    """Rows that the past is measured in: where the rows resemble themselves most, season or not.

    The highest peak of the autocorrelation up to 300 rows, the median over the channels that have
    one; 50 where it is shorter, 125 where there is none. Which length it is matters little for
    scores that are smoothed over it; that there is one does.

    Parameters
    ----------
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Finite numbers, in time order.

    Returns
    -------
    int
        Between 50 and 300.

    Examples
    --------
    >>> usual_period(np.sin(2 * np.pi * np.arange(500) / 90)), usual_period(np.arange(500.0))
    (90, 125)
    """
    X = np.asarray(X, dtype=np.float64)
    found = []
    for x in X.reshape(len(X), -1).T:
        acf = _autocorrelation(x)[:LONGEST + 2]
        peaks = _peaks(acf)
        if len(peaks):
            found.append(peaks[np.argmax(acf[peaks])])
    return max(int(np.median(found or [DEFAULT])), LEAST)


def _first_season(x: NDArray[np.float64]) -> int:
    acf, n = _autocorrelation(x), len(x)
    # dividing by n - lag instead of n keeps long seasons from being damped away
    acf = (acf * n / (n - np.arange(len(acf))))[:n // 3 + 2]
    peaks = _peaks(acf)
    # before the correlation has once fallen below 0, a bump is noise on its first slope
    negative = np.flatnonzero(acf < 0)
    peaks = peaks[(acf[peaks] > 0.3) & (peaks > (negative[0] if len(negative) else n))]
    if not len(peaks):
        return 0
    # noise makes many small peaks: take the highest among those near the first season
    near = peaks[peaks < 1.5 * peaks[0]]
    return int(near[np.argmax(acf[near])])


def _peaks(acf: NDArray[np.float64]) -> NDArray[np.intp]:
    inner = acf[1:-1]
    lags = np.flatnonzero((inner >= acf[:-2]) & (inner > acf[2:])) + 1
    return lags[lags >= SHORTEST]


def _autocorrelation(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what a straight line leaves, up to half of the rows; empty where that is but rounding."""
    n = len(x)
    size = float(np.abs(x).max()) if n else 0.0
    if size < 1e-300:
        return np.empty(0)
    x = x / size  # squares of huge values would overflow
    x -= x.mean()
    t = np.arange(n) - 0.5 * (n - 1)
    x -= t * (t @ x / max(float(t @ t), 1.0))
    if (size := float(np.abs(x).max())) < 1e-12:
        return np.empty(0)
    acf = np.fft.irfft(np.abs(np.fft.rfft(x / size, 2 ** (2 * n - 1).bit_length())) ** 2)
    return acf[:n // 2] / acf[0]
