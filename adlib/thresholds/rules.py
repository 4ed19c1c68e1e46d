"""Rules that learn a cut from scores of held-out normal rows, once."""

import re
import warnings
from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from adlib.arguments import floats, number, whole
from adlib.deprecation import renamed
from adlib.durations import seconds

Scores = NDArray[np.float64]

MIN_INDEPENDENT = 3  # smoothed scores that may exceed the cut, of those that are independent
_ROUNDING = 1e-9  # of a score: what sums of many terms in another order may differ by
_NOTHING = 1e-24  # a squared rounding error of standardised values
MIN_EXCEEDANCES = 10  # fewer peaks than this say nothing about the shape of a tail


class CalibrationWarning(UserWarning):
    """The held-out rows cannot carry the promise that was asked for."""


def as_scores(scores: ArrayLike) -> Scores:
    """Check held-out scores: one dimension, numbers, no NaN or inf.

    Parameters
    ----------
    scores : array-like of shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        When they are not such.

    Examples
    --------
    >>> as_scores([1, 2.5])
    array([1. , 2.5])
    """
    return floats(scores, "scores", "(n_rows,)", below=np.inf)


def rounded_up(scores: Scores) -> Scores:
    """Scores raised by what the same row may gain in other company, a billionth of their size.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)

    Examples
    --------
    >>> rounded_up(np.array([1.0])) > [1.0]
    array([ True])
    """
    with np.errstate(over="ignore"):
        return np.minimum(scores + (_ROUNDING * np.abs(scores) + _NOTHING),
                          np.finfo(np.float64).max)


def above_ties(scores: Scores) -> Scores:
    """Scores that others equal up to rounding, raised a little above the highest of those.

    A cut at a value that many rows share must not flag them for the last digit, which depends on
    how many rows are scored together. Scores that stand alone stay as they are.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)
        Higher than ``scores`` by at most two billionths of their size.

    Examples
    --------
    >>> above_ties(np.array([1.0, 3.0, 2.0, 3.0])) > [1.0, 3.0, 2.0, 3.0]
    array([False,  True, False,  True])
    """
    order, found = np.argsort(scores), np.empty(len(scores))
    ascending = scores[order]  # searched in this order: of a million rows three times as fast
    room = _ROUNDING * np.abs(ascending) + _NOTHING
    with np.errstate(over="ignore"):
        first = np.searchsorted(ascending, ascending - room)
        last = np.searchsorted(ascending, ascending + room, side="right") - 1
    found[order] = np.where(last > first, rounded_up(ascending[last]), ascending)
    return found


def check_alpha(alpha: float, name: str = "alpha") -> float:
    """Check a false-alarm rate: a number strictly between 0 and 1.

    Parameters
    ----------
    alpha : float
    name : str, default="alpha"
        How the message calls it.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When it is anything else.

    Examples
    --------
    >>> check_alpha(0.05)
    0.05
    >>> check_alpha(5, "fdr")
    Traceback (most recent call last):
    ...
    ValueError: fdr must be a number above 0 and below 1, got 5
    """
    return number(alpha, name, above=0, below=1)


class Threshold(BaseEstimator, ABC):
    """A rule that learns a cut from held-out normal scores.

    Subclasses write ``_value(scores)``. After `fit` the cut is in ``value_``; anomalous means
    ``score > value_``.
    """

    def fit(self, scores: ArrayLike) -> Self:
        """Learn the cut from the scores of held-out normal rows.

        Parameters
        ----------
        scores : array-like of shape (n_rows,)
            Anomaly scores, in time order where rows have one. Finite.

        Raises
        ------
        ValueError
            When a parameter or the scores are out of range, or the scores give no threshold.
        """
        scores = as_scores(scores)
        with np.errstate(over="ignore", invalid="ignore"):  # of scores whose squares overflow
            value = float(self._value(scores))
        if np.isnan(value):
            raise ValueError(f"scores up to {np.abs(scores).max(initial=0):g} give {self!r} no "
                             f"threshold: NaN")
        self.value_ = value
        return self

    @abstractmethod
    def _value(self, scores: Scores) -> float: ...

    def _require_some(self, scores: Scores) -> None:
        if not len(scores):
            raise ValueError(f"{type(self).__name__} needs at least 1 held-out score, got 0")


class Fixed(Threshold):
    """A cut the user states. It promises nothing about false alarms.

    Parameters
    ----------
    value : float
        The cut, in the unit of the score.
    """

    def __init__(self, value: float = 3.0):
        self.value = value

    def _value(self, scores: Scores) -> float:
        return number(self.value, "value", most=np.inf)


class Sigma(Threshold):
    """Mean plus ``n_sigmas`` standard deviations of the held-out scores.

    Scores are rarely normal, so the realised false-alarm rate is whatever it is: a teaching and
    comparison rule.

    Parameters
    ----------
    n_sigmas : float
        How many standard deviations above the mean.
    """

    def __init__(self, n_sigmas: float = 3.0):
        self.n_sigmas = n_sigmas

    def _value(self, scores: Scores) -> float:
        self._require_some(scores)
        return scores.mean() + number(self.n_sigmas, "n_sigmas") * scores.std()


class Quantile(Threshold):
    """The plain empirical quantile of the held-out scores.

    On few rows it flags more than ``1 - q`` of new normal rows; `Conformal` corrects that.

    Parameters
    ----------
    q : float
        Between 0 and 1.
    """

    def __init__(self, q: float = 0.99):
        self.q = q

    def _value(self, scores: Scores) -> float:
        number(self.q, "q", least=0, most=1)
        self._require_some(scores)
        return np.quantile(scores, self.q)


class Conformal(Threshold):
    """The cut a new normal row exceeds with probability at most ``alpha``.

    With n held-out scores it is the k-th smallest, k = ceil((n + 1)(1 - alpha)) (Vovk et al. 2005;
    Laxhammar and Falkman 2010). When held-out and new normal rows are exchangeable, the expected
    false-alarm rate is at most ``alpha`` for every n, and the realised rate of one fixed cut
    follows a beta-binomial law around it; where scores tie, it may lie far lower. Where
    ``(n + 1) * alpha < 1`` no finite cut can promise that: the cut is infinite and a
    `CalibrationWarning` says how many rows are needed.

    Parameters
    ----------
    alpha : float or None
        False-alarm rate per row, in (0, 1). None: the detector's ``alpha`` (0.05 on its own).
    block : int, "auto" or None
        Rows per block for dependent (time-ordered) scores. The finite-sample correction then counts
        effective rows (see `effective_size`) instead of rows. Asymptotic under stationarity and
        mixing, not a finite-sample promise; no promise at all when the stream is not stationary.
        ``"auto"``: n**0.6 rows. None: rows are exchangeable.
    per : str or None
        An *incident* budget such as ``"1/day"`` or ``"3/week"`` instead of a rate per row: peaks
        within ``refractory`` rows of a higher one do not count. Refused when the held-out time is
        too short to see one allowed incident; `POT` extrapolates.
    interval : float, str or timedelta
        Time between rows, in seconds or as text (``"1min"``). Required by ``per``.
    refractory : int
        Refractory period in rows: exceedances closer together are one incident.
    smoothing : float or None
        Rows of exponential memory that the scores were averaged over; a detector reports its own.
        About ``n / (2 * smoothing)`` of them are independent: below ``3 / alpha`` of those the cut
        is infinite, since a block rule would promise what it cannot keep. With ``per`` incidents
        are counted as ever.

    Attributes
    ----------
    value_ : float
        The cut. ``inf`` where the rows are too few.
    n_effective_ : float
        Rows that count: n, or fewer for dependent scores.

    Examples
    --------
    >>> Conformal(alpha=0.1).fit(range(1, 20)).value_
    18.0
    """

    @renamed(rest="refractory")
    def __init__(self, alpha: float | None = None, *, block: int | str | None = None,
                 per: str | None = None, interval: float | str | None = None,
                 refractory: int = 10, smoothing: float | None = None):
        self.alpha = alpha
        self.block = block
        self.per = per
        self.interval = interval
        self.refractory = refractory
        self.smoothing = smoothing

    def _value(self, scores: Scores) -> float:
        n = len(scores)
        self.n_effective_ = float(n)
        alpha = check_alpha(0.05 if self.alpha is None else self.alpha)
        if self.per is not None:
            allowed = allowed_incidents(self.per, self.interval, n)
            if allowed < 1:
                raise ValueError(
                    f"per={self.per!r} cannot be estimated from {n} held-out rows: less than one "
                    f"incident is allowed in that time ({allowed:.2g}); hold out at least "
                    f"{int(np.ceil(n / allowed - 1e-3)) if n else 'one'} rows, or let "
                    f"POT(per={self.per!r}, interval={self.interval!r}) extrapolate")
            # k allowed incidents: cut at the k-th highest of the peaks, as for rows below
            peaks = _peaks(scores, self.refractory)
            return peaks[min(int(allowed), len(peaks)) - 1]
        if self.smoothing is not None:
            memory = 2 * number(self.smoothing, "smoothing", least=1)
            self.n_effective_ = n / memory
            if n < (needed := np.ceil(memory * MIN_INDEPENDENT / alpha - 1e-9)):
                return self._refused(f"alpha={alpha:g} on scores smoothed over {memory / 2:g} rows "
                                     f"needs", needed, f"{n}", "smooth over fewer rows")
        if self.block is not None:
            self.n_effective_ = min(self.n_effective_, effective_size(scores, alpha, self.block))
        # The empirical quantile lies low for two reasons: the steps of the empirical law (1 / 2n),
        # and its spread, d/dq [q (1 - q) / n_eff] / 2 at q = 1 - alpha (Bahadur's representation).
        # For independent rows the two add up to k = (n + 1)(1 - alpha), which is exact.
        level = 1 - alpha + 0.5 / max(n, 1) + (0.5 - alpha) / max(self.n_effective_, 1)
        if n == 0 or level > 1 + 1e-9:
            share = self.n_effective_ / n if n else 1.0
            needed = int(np.ceil((0.5 + (0.5 - alpha) / share) / alpha - 1e-9))
            got = f" ({self.n_effective_:.0f} effective)" if self.block is not None else ""
            return self._refused(f"alpha={alpha:g} needs", needed, f"{n}{got}")
        if self.block is not None:  # no exact law to keep by rounding up: interpolate
            return np.interp(level * n, np.arange(1, n + 1), np.sort(scores))
        # 1e-9 keeps (19 + 1) * 0.95 from becoming 19.000000000000004
        k = int(np.ceil(n * level - 1e-9))
        return np.partition(scores, k - 1)[k - 1]

    @staticmethod
    def _refused(what: str, needed: float, got: str, *or_else: str) -> float:
        warnings.warn(
            f"{what} at least {needed:.0f} held-out normal rows, got {got}: the threshold is "
            f"infinite and nothing will be flagged; hold out more rows, "
            f"{', '.join(['raise alpha', *or_else])}, or use threshold=POT(), which extrapolates "
            f"by extreme values and promises no rate", CalibrationWarning, stacklevel=4)
        return np.inf


class POT(Threshold):
    """Peaks over threshold: a cut extrapolated by an extreme-value tail.

    The scores above the empirical ``1 - tail`` quantile u are fitted with a generalised Pareto law
    (Pickands 1975) by probability-weighted moments (Hosking and Wallis 1987), which are closed,
    deterministic and steadier than maximum likelihood on short tails. The cut is
    u + sigma / xi * ((alpha / p_u) ** -xi - 1) with p_u the share of scores above u (Siffer et al.
    2017). It reaches rates far below 1 / n, and is only as good as the tail's regularity there.

    Parameters
    ----------
    alpha : float or None
        False-alarm rate per row. None: the detector's ``alpha`` (0.05 on its own).
    tail : float
        Share taken as the tail, in (0, 1): of the scores, or with ``per`` of the peaks.
    per, interval, refractory
        Incident budget, as in `Conformal`. The tail is then fitted to declustered peaks, at least
        ten of them, and never taken lighter than exponential: where the fit would see an upper
        end, the cut is cautious, and a bounded score may raise nothing. From 10,000 rows a minute
        apart, "1/week" realised .6 to 1.2 a week on normal, exponential, Student t3 and AR(1)
        scores; from 2,000 rows .7 to 2.5.

    Raises
    ------
    ValueError
        When fewer than 10 scores, or with ``per`` peaks, lie in the tail.

    Examples
    --------
    >>> scores = np.random.default_rng(0).exponential(size=5_000)
    >>> 8 < POT(alpha=1e-4).fit(scores).value_ < 11  # the true cut is -log(1e-4) = 9.2
    True
    """

    @renamed(rest="refractory")
    def __init__(self, alpha: float | None = None, *, tail: float = 0.1, per: str | None = None,
                 interval: float | str | None = None, refractory: int = 10):
        self.alpha = alpha
        self.tail = tail
        self.per = per
        self.interval = interval
        self.refractory = refractory

    def _value(self, scores: Scores) -> float:
        number(self.tail, "tail", above=0, below=1)
        self._require_some(scores)
        alpha = check_alpha(0.05 if self.alpha is None else self.alpha)
        u = np.quantile(scores, 1 - self.tail)
        if self.per is None:
            peaks = scores[scores > u]
            if alpha >= len(peaks) / len(scores) > 0:  # inside the data: nothing to extrapolate
                return np.quantile(scores, 1 - alpha)
            ratio = alpha * len(scores) / max(len(peaks), 1)
        else:
            allowed = allowed_incidents(self.per, self.interval, len(scores))
            peaks = _peaks(scores, self.refractory)
            # most stretches of `refractory` rows hold one above the rows' quantile: that is no tail
            last = min(max(MIN_EXCEEDANCES, int(self.tail * len(peaks))), len(peaks) - 1)
            u = peaks[last]
            if 1 <= allowed <= last:
                return peaks[int(allowed) - 1]
            peaks = peaks[peaks > u]
            ratio = min(1.0, allowed / max(len(peaks), 1))
        if len(peaks) < MIN_EXCEEDANCES:
            raise ValueError(f"POT needs at least {MIN_EXCEEDANCES} peaks above the start of its "
                             f"tail ({u:g}), got {len(peaks)} from {len(scores)} "
                             f"scores; hold out more rows or raise tail={self.tail:g}")
        shape, scale = fit_pareto(peaks - u)
        if self.per is not None and shape < 0:  # peaks are few: an end seen by chance costs alarms
            shape, scale = 0.0, float(np.mean(peaks - u))
        return u + pareto_quantile(ratio, shape, scale)


def rule_for(threshold: float | Threshold | None, *, alpha: float, block: int | str | None = None,
             smoothing: float | None = None) -> Threshold:
    """The rule that a detector's ``threshold`` stands for.

    Parameters
    ----------
    threshold : None, float or Threshold
        None: `Conformal`. A rule is copied.
    alpha : float
        Where the rule states none.
    block : int, "auto" or None
        Of the rule for None.
    smoothing : float or None
        Memory of the scores in rows, which `Conformal` wants to know.

    Returns
    -------
    Threshold
    """
    if threshold is None:
        threshold = Conformal(block=block)
    rule = clone(threshold) if isinstance(threshold, Threshold) else Fixed(float(threshold))
    if getattr(rule, "alpha", alpha) is None:
        rule.set_params(alpha=alpha)
    if isinstance(rule, Conformal) and smoothing is not None:
        rule.set_params(smoothing=smoothing)
    return rule


def fit_pareto(excess: ArrayLike) -> tuple[float, float]:
    """Shape xi and scale sigma of a generalised Pareto law, by probability-weighted moments.

    Parameters
    ----------
    excess : array-like of shape (n,)
        Positive amounts by which the scores exceed the start of the tail.

    Returns
    -------
    shape, scale : float
        ``P(excess > x) = (1 + shape * x / scale) ** (-1 / shape)``; shape 0 is the exponential.

    Raises
    ------
    ValueError
        When there is no positive amount.

    References
    ----------
    Hosking, J. R. M. and Wallis, J. R. (1987). Parameter and quantile estimation for the
    generalized Pareto distribution. Technometrics 29(3).

    Examples
    --------
    >>> shape, scale = fit_pareto(np.random.default_rng(0).exponential(2.0, size=20_000))
    >>> round(shape, 1) + 0.0, round(scale, 1)
    (0.0, 2.0)
    """
    y = np.sort(floats(excess, "excess", "(n,)"))
    n = len(y)
    if not n or not (np.isfinite(y[-1]) and y[0] >= 0):
        raise ValueError(f"excess must hold positive amounts, at least one, got {n} from "
                         f"{y.min(initial=np.inf):g} to {y.max(initial=-np.inf):g}")
    if y[-1] > 1e300:  # sums must stay finite
        shape, scale = fit_pareto(y / 1e20)
        return shape, scale * 1e20
    m0 = y.mean()
    m1 = (y * (1 - (np.arange(1, n + 1) - 0.35) / n)).mean()
    if m0 - 2 * m1 <= 1e-12 * m0:  # all excesses alike: no tail to speak of
        return 0.0, float(m0)
    # the estimator exists for xi < 1; beyond that no mean exists and no budget makes sense
    shape = min(2 - m0 / (m0 - 2 * m1), 0.99)
    return float(shape), float(m0 * (1 - shape))


def pareto_quantile(p: float, shape: float, scale: float) -> float:
    """The excess that a generalised Pareto law exceeds with probability ``p``."""
    x = -np.log(p)
    return float(scale * (x if abs(shape) < 1e-9 else np.expm1(shape * x) / shape))


def effective_size(scores: ArrayLike, alpha: float, block: int | str = "auto") -> float:
    """How many independent rows the exceedance rate at level ``alpha`` rests on.

    Overlapping batch means (Meketon and Schmeiser 1984): the spread of the exceedance rate between
    blocks, against what independent rows would show. Never more than n.

    Parameters
    ----------
    scores : array-like of shape (n,)
        In time order.
    alpha : float
        Level of the quantile whose accuracy matters, in (0, 1).
    block : int or "auto"
        Rows per block, longer than the memory of the series; at most half of the rows are used.
        ``"auto"``: n**0.6.

    Returns
    -------
    float
        In [1, n].

    Raises
    ------
    ValueError
        When an argument is out of its range; the message names it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> effective_size(rng.normal(size=1_000), 0.1) > 400
    True
    >>> effective_size(np.repeat(rng.normal(size=50), 20), 0.1) < 100  # each value twenty times
    True
    """
    scores = as_scores(scores)
    n = len(scores)
    alpha = check_alpha(alpha)
    if isinstance(block, str) and block == "auto":
        block = int(np.ceil(n**0.6))
    elif not isinstance(block, (int, np.integer)) or isinstance(block, bool) or block < 1:
        raise ValueError(f"block must be a number of rows or 'auto', got {block!r}")
    if n < 4:  # not two blocks to compare
        return float(n)
    block = min(int(block), n // 2)
    cut = np.quantile(scores, 1 - alpha)
    above = scores > cut if (scores > cut).any() else scores >= cut  # ties may leave none above
    rate = above.mean()
    sums = np.concatenate([[0], np.cumsum(above)])
    means = (sums[block:] - sums[:-block]) / block
    spread = ((means - rate) ** 2).sum() * block / ((n - block + 1) * (n - block))
    if spread <= 0:
        return float(n)
    return float(np.clip(rate * (1 - rate) / spread, 1, n))


_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


def allowed_incidents(per: str, interval: float | str | None, n_rows: int) -> float:
    """Incidents that ``per`` allows in ``n_rows`` rows.

    Parameters
    ----------
    per : str
        Such as ``"1/day"``.
    interval : float, str or None
        Time between rows.
    n_rows : int

    Returns
    -------
    float

    Raises
    ------
    ValueError
        When ``per`` or ``interval`` is not of that kind.
    """
    match = re.fullmatch(rf"\s*(\d+(?:\.\d+)?)\s*/\s*({'|'.join(_SECONDS)})s?\s*", str(per))
    if not match or float(match[1]) <= 0:
        raise ValueError(f"per must look like '1/day' or '3/week' (units: {', '.join(_SECONDS)}), "
                         f"got {per!r}")
    if interval is None:
        raise ValueError(f"per={per!r} needs interval, the time between rows: seconds or '1min'")
    # rounded: ten days at one row a minute hold ten days, not 9.999999999999998
    allowed = round(float(match[1]) / _SECONDS[match[2]] * seconds(interval) * n_rows, 9)
    if n_rows and not 0 < allowed < np.inf:
        raise ValueError(f"interval={interval!r} leaves per={per!r} {allowed:g} incidents in "
                         f"{n_rows} rows")
    return allowed


def _peaks(scores: Scores, refractory: int) -> Scores:
    """Peak heights, descending, of which no two lie within ``refractory`` rows of each other.

    Every run of exceedances that is separated by more than ``refractory`` quiet rows holds at least
    one of them, so counting peaks never undercounts incidents.
    """
    rows = min(whole(refractory, "refractory", 0, of="rows"), len(scores))
    free = np.ones(len(scores), dtype=bool)
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        if free[i]:
            kept.append(scores[i])
            free[max(0, i - rows):i + rows + 1] = False
    return np.array(kept)
