"""The dominant period of rows that are at hand: windows, smoothing and injected seasons follow it.

A stream is another matter: `adlib.detectors.online` looks again at every few rows, from a period it
holds already, among rows that may be faulty, and so works on ranks and in compiled code.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["dominant_period", "usual_period"]

SHORTEST = 4  # rows: below it there is hardly a shape to repeat
LEAST, DEFAULT, LONGEST = 50, 125, 300  # rows, of `usual_period`


def dominant_period(X: ArrayLike, *, longest: int | None = None) -> int:
    """Rows per season: the first high peak of the autocorrelation, without a linear trend.

    Parameters
    ----------
    X : array-like of shape (n_samples,) or (n_samples, n_features)
        Finite numbers, in time order.
    longest : int, optional
        Longest period to look for; None: a third of the rows, so that it is seen three times.

    Returns
    -------
    int
        The median over the channels that have a season; 0 where none has.

    Examples
    --------
    >>> dominant_period(np.sin(2 * np.pi * np.arange(500) / 25))
    25
    >>> dominant_period(np.random.default_rng(0).normal(size=(500, 3)))
    0
    """
    X = np.asarray(X, dtype=np.float64)
    found = [_period(x, longest) for x in X.reshape(len(X), -1).T]
    found = [period for period in found if period]
    return int(np.median(found)) if found else 0


def usual_period(X: ArrayLike) -> int:
    """Rows that the past is measured in: the dominant period, or what stands for it.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers, in time order.

    Returns
    -------
    int
        The dominant period, looked for up to 300 rows; 50 where it is shorter, 125 where there is
        none: which length it is matters little, that there is one does.

    Examples
    --------
    >>> usual_period(np.sin(2 * np.pi * np.arange(500) / 90)), usual_period(np.arange(500.0))
    (90, 125)
    """
    return max(dominant_period(X, longest=LONGEST) or DEFAULT, LEAST)


def _period(x: NDArray[np.float64], longest: int | None) -> int:
    n = len(x)
    most = n // 3 if longest is None else min(n // 3, longest)
    x = _detrended(x)
    if most < SHORTEST or not x.any():
        return 0
    spectrum = np.abs(np.fft.rfft(x, 2 ** (2 * n - 1).bit_length())) ** 2
    lags = np.arange(most + 2)
    # dividing by n - lag instead of n keeps long seasons from being damped away
    acf = np.fft.irfft(spectrum)[:most + 2] / (n - lags)
    acf /= acf[0]
    inner = acf[1:-1]
    peaks = np.flatnonzero((inner >= acf[:-2]) & (inner > acf[2:]) & (inner > 0.3)) + 1
    # before the correlation has once fallen below 0, a bump is noise on its first slope
    negative = np.flatnonzero(acf < 0)
    peaks = peaks[(peaks >= SHORTEST) & (peaks > (negative[0] if len(negative) else n))]
    if not len(peaks):
        return 0
    # noise makes many small peaks: take the highest among those near the first season
    near = peaks[peaks < 1.5 * peaks[0]]
    return int(near[np.argmax(acf[near])])


def _detrended(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a straight line leaves, of size about 1; zeros where that is but rounding."""
    if not len(x):
        return x
    x = x / max(1e-300, float(np.abs(x).max()))  # squares of huge values would overflow
    x = x - x.mean()
    t = np.arange(len(x)) - 0.5 * (len(x) - 1)
    x -= t * (t @ x / max(float(t @ t), 1.0))
    size = float(np.abs(x).max())
    return x / size if size > 1e-12 else np.zeros(len(x))
