"""What a stream usually looks like, learned row by row, and alarms that mean something.

`SeasonalZScore` measures a row against its phase of the season. `OnlineEnsemble` adds two more
views of each feature, measures every view against its own history and raises one alarm an incident.

A season is a profile of at most 48 phases; a phase's usual value is the mean of its visits,
exponentially weighted once there are many. Where no period is given it is looked for in the recent
past, at row 512 and then ever more rarely, so that a row costs next to nothing for it.

All kernels are in this file because a compiled one is not renewed when a file it imports changes.
"""

from typing import Any

import numpy as np
from numba.types import UniTuple, boolean, void
from numba.types import float64 as f8
from numba.types import int64 as i8
from numpy.typing import NDArray

from adlib.arguments import listed, whole
from adlib.detectors.flat import FlatStateDetector, check_row, is_count, jit, row, rows, state

# the head of the state: of both, then of the ensemble alone
D, SEEN, WARM, FLOOR, RATE, RELEASE, RING, NEXT, BLOCK, ASSUMED = range(10)
GAP, REST, AGE, HOT, PEAK, USED, RECENTLY = range(10, 17)
HEAD = 24

PHASES = 48
# a feature's season, from the start of its block
_N, _CENTRE, _LEVEL, SPREAD, _FAR, _DRIFT, _SIZE, _LAST, PERIOD = range(9)
_USUAL, _VISITS, _SPREADS = 16, 16 + PHASES, 16 + 2 * PHASES
_PAST = 16 + 3 * PHASES  # where its ring of recent rows begins, if it has one

RECENT = 4_096  # rows in which a period is looked for
_FIRST = 512  # row of the first look
_SHORTEST = 24  # rows; what is shorter is left to a forecaster
_CANDIDATES = 10
_SETTLED = 50  # rows until a spread is worth believing
_WORST = 1e150  # a z-score above this would overflow when squared


def season_size(ring: int) -> int:
    """Length of one feature's season in the state."""
    return _PAST + ring


# -- the period --------------------------------------------------------------------------------


@jit(f8(row, i8, f8))
def _backtest(r, step, period):
    """Mean squared error of a profile of this period that is learned on the way.

    Longer periods leave fewer visits to learn from, so multiples of the period do worse than it.
    """
    n = len(r)
    phases = min(PHASES, int(period / step))
    total, visits = np.zeros(phases), np.zeros(phases)
    error = 0.0
    for i in range(n):
        cycle = i * step / period
        phase = int((cycle - np.floor(cycle)) * phases)
        e = r[i] - total[phase] / (visits[phase] + 1)
        error += e * e
        total[phase] += r[i]
        visits[phase] += 1
    return error / n


@jit(i8(row, i8))
def find_period(x, known):
    """Period in rows of a series, 0 if it shows none.

    Candidates are peaks of the autocorrelation of the ranks, which spikes cannot bend, after a
    straight line is taken out. The one whose profile would have predicted the ranks best is
    refined by the same measure; it must have beaten their mean.
    """
    step = 1 + (len(x) - 1) // (RECENT // 2)
    n = len(x) // step
    r = np.zeros(n)
    for i in range(n):
        for k in range(step):
            r[i] += x[len(x) - n * step + i * step + k]
    order = np.argsort(r, kind="mergesort")
    ranks, i = np.empty(n), 0
    while i < n:  # ties share their mean rank
        k = i
        while k + 1 < n and r[order[k + 1]] == r[order[i]]:
            k += 1
        for m in range(i, k + 1):
            ranks[order[m]] = 0.5 * (i + k) - 0.5 * (n - 1)
        i = k + 1
    slope, power = 0.0, 0.0
    for i in range(n):
        slope += (i - 0.5 * (n - 1)) * ranks[i] * 12.0 / (n * (n * n - 1.0))
    for i in range(n):
        ranks[i] -= slope * (i - 0.5 * (n - 1))
        power += ranks[i] * ranks[i] / n
    if power < 1e-9 * n * n:
        return 0
    longest = n // 2  # two cycles must fit
    acf = np.ones(longest + 1)
    for lag in range(1, longest + 1):
        total = 0.0
        for i in range(n - lag):
            total += ranks[i] * ranks[i + lag]
        acf[lag] = total / ((n - lag) * power)
    # what each candidate, moved to the best place near it, explains of the ranks' variance
    lowest = 1.0
    found, explained = np.zeros(_CANDIDATES), np.zeros(_CANDIDATES)
    found[0], k = known, 1
    for lag in range(1, longest):
        lowest = min(lowest, acf[lag])
        if (k < _CANDIDATES and lag * step >= _SHORTEST and acf[lag] >= acf[lag - 1]
                and acf[lag] > acf[lag + 1] and acf[lag] > 0.1 and acf[lag] - lowest > 0.1):
            found[k] = lag * step
            k += 1
    for i in range(k):
        centre = found[i]
        if centre == 0:
            continue
        for move in range(-10, 11):
            near = np.round(centre * (1 + 0.005 * move))
            gain = 1 - _backtest(ranks, step, near) / power
            if gain > explained[i]:
                found[i], explained[i] = near, gain
    enough = max(0.85 * explained.max(), 0.05)
    for i in range(k):
        if explained[i] >= enough:  # the known one is the first to be asked, then the shortest
            return int(found[i])
    return 0


# -- one feature's season ----------------------------------------------------------------------


@jit(i8(i8, i8, row))
def _phase(at, t, s):
    period = int(s[at + PERIOD])
    if period <= PHASES:
        return t % period if period > 0 else 0
    return (t % period) * PHASES // period


@jit(f8(f8, i8, i8, row))
def residual(x, at, t, s):
    """A value of row t minus what is usual; 0 for the first value of all."""
    if s[at + _N] == 0:
        return 0.0
    phase = _phase(at, t, s)
    known = s[at + PERIOD] > 0 and s[at + _VISITS + phase] > 0
    usual = s[at + _USUAL + phase] if known else s[at + _CENTRE]
    return min(max(x - usual - s[at + _LEVEL], -1e300), 1e300)


@jit(f8(i8, i8, row))
def scale(at, t, s):
    """Mean absolute residual of the phase, leaning on that of all phases while visits are few."""
    phase = _phase(at, t, s)
    visits = s[at + _VISITS + phase]
    return (10 * s[at + SPREAD] + visits * s[at + _SPREADS + phase]) / (10 + visits)


@jit(void(f8, f8, i8, i8, state))
def learn(x, e, at, t, s):
    """Learn a value of residual e at row t; nothing far out moves anything far."""
    n, phase = s[at + _N] + 1, _phase(at, t, s)
    s[at + _N] = n
    if n == 1:
        s[at + _CENTRE] = x
    size, spread = abs(e), s[at + SPREAD]
    floor = max(s[FLOOR], 1e-9 * abs(s[at + _CENTRE]))
    held = e
    if n > _SETTLED:
        limit = 10 * spread + floor
        held = min(max(e, -limit), limit)
        # once far for longer than a burst, wait for the release; less than 30 and the spread of
        size = min(size, 10 * spread + floor)
    slow = max(1.0 / n, 0.001)
    s[at + _CENTRE] += slow * held
    s[at + SPREAD] += slow * (size - spread)
    if s[at + PERIOD] > 0:
        visits = s[at + _VISITS + phase] + 1
        rate = max(s[RATE], 1.0 / visits)
        if visits == 1:
            s[at + _USUAL + phase] = x - s[at + _LEVEL] - (e - held)
            s[at + _SPREADS + phase] = size
        else:
            s[at + _USUAL + phase] += rate * held
            s[at + _SPREADS + phase] += rate * (size - s[at + _SPREADS + phase])
        s[at + _VISITS + phase] = visits
    # what stays away for long is the new normal: its level and spread are taken over
    release = s[RELEASE]
    if release > 0 and n > _SETTLED:
        before = 2 * abs(s[at + _LAST]) + floor
        lone = min(max(e, -before), before)  # one wild row among others counts as one of them
        s[at + _DRIFT] += (lone - s[at + _DRIFT]) * 4 / (release + 3)
        s[at + _SIZE] += (abs(lone) - s[at + _SIZE]) * 4 / (release + 3)
        s[at + _FAR] = s[at + _FAR] + 1 if abs(e) > 3 * spread + floor else max(
            0.0, s[at + _FAR] - 1)
        if s[at + _FAR] >= release:
            s[at + _FAR] = 0
            s[at + _LEVEL] += s[at + _DRIFT]
            s[at + SPREAD] = max(spread, s[at + _SIZE] - abs(s[at + _DRIFT]))
            s[at + _DRIFT] = 0
            s[at + _SIZE] = s[at + SPREAD]
    s[at + _LAST] = e


@jit(void(f8, i8, i8, state))
def remember(x, at, t, s):
    """Keep a value for the search for a period."""
    ring = int(s[RING])
    if ring > 0:
        s[at + _PAST + t % ring] = x


@jit(state(i8, i8, row))
def recent(at, t, s):
    """The last values before row t, oldest first."""
    ring = int(s[RING])
    n = min(t, ring)
    past = np.empty(n)
    for i in range(n):
        past[i] = s[at + _PAST + (t - n + i) % ring]
    return past


@jit(boolean(i8, state, state))
def renew_period(at, past, s):
    """Look for the period; if it is another one, forget the profile."""
    old = int(s[at + PERIOD])
    period = find_period(past, old)
    if period == 0:
        period = int(s[ASSUMED])
    if abs(period - old) <= 1:
        return False
    s[at:at + _PAST] = 0
    s[at + PERIOD] = period
    return True


@jit(void(state))
def plan_next_look(s):
    """A fifth later each time: looks take no share of a long stream."""
    s[NEXT] = s[SEEN] + min(np.floor(0.2 * s[SEEN]), 8.0 * RECENT)


# -- the z-score ------------------------------------------------------------------------------


@jit(f8(f8, i8, i8, row))
def _z(x, at, t, s):
    e = abs(residual(x, at, t, s))
    # 1.2533 times the mean absolute deviation is a normal law's standard deviation
    return min(e / max(1.2533 * scale(at, t, s), s[FLOOR], 1e-9 * abs(s[at + _CENTRE])), _WORST)



@jit(f8(row, i8, row))
def _score_row(x, o, s):
    t, worst = int(s[SEEN]), 0.0
    if t < s[WARM]:
        return 0.0
    for j in range(int(s[D])):
        worst = max(worst, _z(x[o + j], HEAD + j * int(s[BLOCK]), t, s))
    return worst


@jit(void(row, i8, state))
def _learn_row(x, o, s):
    t = int(s[SEEN])
    for j in range(int(s[D])):
        at = HEAD + j * int(s[BLOCK])
        learn(x[o + j], residual(x[o + j], at, t, s), at, t, s)
        remember(x[o + j], at, t, s)
    s[SEEN] += 1
    if s[RING] > 0 and s[SEEN] == s[NEXT]:
        for j in range(int(s[D])):
            at = HEAD + j * int(s[BLOCK])
            past = recent(at, t + 1, s)
            if renew_period(at, past, s):
                first = t + 1 - len(past)
                for i in range(len(past)):
                    learn(past[i], residual(past[i], at, first + i, s), at, first + i, s)
        plan_next_look(s)


@jit(f8(row, row))
def _score_one(x, s):
    check_row(x, s, s[D])
    return _score_row(x, 0, s)


@jit(void(row, state))
def _learn_one(x, s):
    check_row(x, s, s[D])
    _learn_row(x, 0, s)


@jit(f8(row, state))
def _process_one(x, s):
    check_row(x, s, s[D])
    score = _score_row(x, 0, s)
    _learn_row(x, 0, s)
    return score


@jit(f8[::1](row, state))
def _process_rows(x, s):
    d = int(s[D])
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _score_row(x, i * d, s)
        _learn_row(x, i * d, s)
    return scores


@jit(f8[::1](row, row))
def _score_rows(x, s):
    d = int(s[D])
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _score_row(x, i * d, s)
    return scores


def usual(s: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Usual value of each feature at the next row, its standard deviation, and the period found.

    Each has shape (n_features,); the period is 0 where there is none.
    """
    t, at = int(s[SEEN]), HEAD + np.arange(int(s[D])) * int(s[BLOCK])
    values = np.array([-residual(0.0, j, t, s) for j in at])
    floor = np.maximum(s[FLOOR], 1e-9 * np.abs(s[at + _CENTRE]))
    return values, np.maximum([1.2533 * scale(j, t, s) for j in at], floor), s[at + PERIOD]


@jit(f8[:, ::1](rows, row))
def _z_features(X, s):
    z = np.zeros_like(X)
    if s[SEEN] >= s[WARM]:
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                z[i, j] = _z(X[i, j], HEAD + j * int(s[BLOCK]), int(s[SEEN]), s)
    return z


def check_loaded(model: Any, *learned: int) -> None:
    """Refuse a state that the kernels would read or write past; ``learned``: head they change."""
    if "state_" not in vars(model):
        return
    found = model.state_
    model._reset(model.n_features_in_)
    fresh, model.state_ = model.state_, found
    same = found.shape == fresh.shape and found.dtype == fresh.dtype and (
        np.delete(found[:HEAD], learned) == np.delete(fresh[:HEAD], learned)).all()
    if same:
        at = HEAD + PERIOD + np.arange(model.n_features_in_) * int(fresh[BLOCK])
        periods, given = found[at], fresh[at]
        # only one that was searched for changes; one of few rows would leave a profile no phase
        ours = (periods == given) | (periods >= 4) & (fresh[RING] > 0)
        same = is_count(found[SEEN]) and is_count(periods) and ours.all()
    if not same:
        raise ValueError("state_ is not one that these parameters give")


def check_rows(**given: tuple[Any, int]) -> None:
    """Refuse parameters that are no whole number of rows of at least so many."""
    for name, (value, low) in given.items():
        whole(value, name, low, of="rows")


class SeasonalZScore(FlatStateDetector):
    """Largest ``|z|`` over the features against what this phase of the season usually looks like.

    "The value is 6 deviations from what this hour usually looks like." Each feature has a profile
    of up to 48 phases; z = (value - the phase's mean) / the phase's spread, where the spread is
    1.2533 times the mean absolute deviation and leans on that of all phases while a phase has been
    visited little. Scored before the row is learned. What lies more than ten deviations out is
    learned as lying ten out, so a spike of any size moves the profile little.

    ``period=1`` has one phase: the exponentially weighted z-score.

    Fails where seasons change their length or drift in phase, where the week matters more than the
    day that was found, and where neighbouring rows are much alike and a change within a few rows is
    what counts (see `RollingZScore`).

    Parameters
    ----------
    period : int or None
        Rows in a season: 288 for a day at five minutes. None: found in each feature's past, from
        row 512 on, from the autocorrelation of its last 4,096 rows; between 24 and 2,048 rows, and
        at least two cycles of it must have been seen. Until then, and where there is
        none, the one usual value is a slow mean. Give it when you know it.
    memory : int
        Visits of a phase that its mean and spread remember, at least 1 (a phase of a daily profile
        is half an hour, so 30 visits at five minutes are five days).
    release : int or None
        After this many more rows far from usual than near it, where they lie is the new normal: the
        profile keeps its shape and takes over their level and spread. None never does; the profile
        then follows at the pace of ``memory``.
    warm_up : int
        Rows to learn before scoring starts, at least 2; earlier rows score 0.
    min_scale : float
        Smallest deviation to divide by, in the unit of the data. (A billionth of the mean's size is
        used where that is larger.)
    window : int
        Rows of `fit` in which the profile settles: their scores do not calibrate (four fifths of
        the rows, where that is less).
    alpha, threshold, calibration
        See `adlib.Detector`.

    Notes
    -----
    `contributions` are the ``|z|`` of each feature: the score is their maximum, not their sum.
    Frozen scores (`anomaly_score`) judge every row as if it were the next one. A look for the
    period takes a few milliseconds a feature; looks become rarer by a fifth each.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stream = 10 * np.sin(np.arange(3_000) * 2 * np.pi / 144) + rng.normal(size=3_000)
    >>> stream[2_700] = 0.0  # nothing unusual, but not at this time of day
    >>> scores = SeasonalZScore().process(stream[:, None])
    >>> int(scores[1_000:].argmax()) + 1_000
    2700
    """

    _kernels = {"score_one": _score_one, "learn_one": _learn_one, "process_one": _process_one,
                "process_rows": _process_rows, "score_rows": _score_rows}

    def __init__(self, *, period: int | None = None, memory: int = 30, release: int | None = 200,
                 warm_up: int = 50, min_scale: float = 1e-12, window: int = 2_000, **base: Any):
        super().__init__(window=window, **base)
        self.period = period
        self.memory = memory
        self.release = release
        self.warm_up = warm_up
        self.min_scale = min_scale

    def check_params(self) -> None:
        super().check_params()
        check_rows(period=(1 if self.period is None else self.period, 1), memory=(self.memory, 1),
                   release=(1 if self.release is None else self.release, 1),
                   warm_up=(self.warm_up, 2))
        self._check_number("min_scale", above=0)

    def _reset(self, n_features: int) -> None:
        ring = RECENT if self.period is None else 0
        block = season_size(ring)
        self.state_ = np.zeros(HEAD + n_features * block)
        self.state_[:ASSUMED + 1] = (n_features, 0, self.warm_up, self.min_scale, 1 / self.memory,
                                   self.release or 0, ring, _FIRST, block, 0)
        self.state_[HEAD + PERIOD::block] = self.period or 0

    def check_loaded(self) -> None:
        check_loaded(self, SEEN, NEXT)

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return _z_features(X, self.state_)

    def usual(self) -> tuple[NDArray[np.float64], ...]:
        """Expected value and deviation of each feature, and rows per season: 0 without one."""
        return usual(self.state_)


# ==============================================================================================
# The ensemble. The bar of a view is its third-largest incident so far: that makes views of any
# unit comparable, and one wild row cannot move it.
# ==============================================================================================

VIEWS = ("season", "record", "forecast")
_N_VIEWS = len(VIEWS)

# a feature's fields, counted from the end of its season
_LOW, _HIGH, _OLD_LOW, _OLD_HIGH = range(4)
_MEAN, _SCALE, _BACK1, _BACK2, _W1, _W2, _P11, _P12, _P22, _ERROR = range(4, 14)
_BARS = 16
# of each view: the bar, row and height of the present incident's peak, the largest of two ages
_BAR, _PEAK_ROW, _TOP, _NOW, _BEFORE = 0, 1, 2, 3, 6
_BAR_SIZE = 9
_FIELDS = _BARS + _BAR_SIZE * _N_VIEWS

_FORGET = 0.999  # a forecast's memory: a thousand rows
_TRUST = 1.35  # a forecast errs in ways that a season does not: its bar is put a third higher
_CLIP = 20.0
_PART = 0.125  # of a bar: the smallest everyday deviation, for what moves rarely
_BRIEF = 0.125  # weight of a row in the recent mean of everyday deviations
_DAY = 288  # rows: the period assumed until one is found


# -- incidents ---------------------------------------------------------------------------------


@jit(void(i8, state))
def _set_bar(at, s):
    """Third-largest of the present and the previous age."""
    i, k, third = 0, 0, 0.0
    for _ in range(3):
        if s[at + _NOW + i] >= s[at + _BEFORE + k]:
            third = s[at + _NOW + i]
            i += 1
        else:
            third = s[at + _BEFORE + k]
            k += 1
    s[at + _BAR] = third


@jit(void(f8, i8, i8, state))
def _note(v, at, t, s):
    """Enter a deviation among the largest; rows of one incident count as one."""
    top = s[at + _TOP]
    if v <= top and v <= s[at + _NOW + 2]:
        return
    place = 3
    if top > 0 and t - s[at + _PEAK_ROW] <= s[GAP]:
        if v <= top:
            return
        for i in range(3):
            if s[at + _NOW + i] == top:
                place = i
    s[at + _TOP] = v
    s[at + _PEAK_ROW] = t
    if place == 3:
        if v <= s[at + _NOW + 2]:
            return
        place = 2
    while place > 0 and s[at + _NOW + place - 1] < v:
        s[at + _NOW + place] = s[at + _NOW + place - 1]
        place -= 1
    s[at + _NOW + place] = v
    _set_bar(at, s)


@jit(void(i8, state))
def _turn_age(at, s):
    for i in range(3):
        s[at + _BEFORE + i] = s[at + _NOW + i]
        s[at + _NOW + i] = 0
    s[at + _TOP] = 0
    _set_bar(at, s)


# -- one feature -------------------------------------------------------------------------------


@jit(f8(f8, i8, row))
def _beyond(x, at, s):
    """How far outside of all that was seen, in ranges of what was seen."""
    low = min(s[at + _LOW], s[at + _OLD_LOW])
    high = max(s[at + _HIGH], s[at + _OLD_HIGH])
    if not high > low:
        return 0.0 if low > high else min(abs(x - low), 1e300)
    return min(max(x - high, low - x, 0.0), 1e300)


@jit(UniTuple(f8, 2)(i8, row))
def _back(at, s):
    """The last two values, in scales from the centre."""
    inverse = 1 / max(s[at + _SCALE], 1e-9 * abs(s[at + _MEAN]) + s[FLOOR])
    one = (s[at + _BACK1] - s[at + _MEAN]) * inverse
    two = (s[at + _BACK2] - s[at + _MEAN]) * inverse
    return min(max(one, -_CLIP), _CLIP), min(max(two, -_CLIP), _CLIP)


@jit(f8(f8, i8, row))
def _surprise(x, at, s):
    """A value minus its forecast from the last two."""
    one, two = _back(at, s)
    size = max(s[at + _SCALE], 1e-9 * abs(s[at + _MEAN]) + s[FLOOR])
    e = x - s[at + _MEAN] - (s[at + _W1] * one + s[at + _W2] * two) * size
    return min(max(e, -1e300), 1e300)


@jit(void(f8, f8, i8, i8, state))
def _learn_forecast(x, e, at, t, s):
    """Recursive least squares of order two, on values that are held within 20 scales."""
    slow = max(1.0 / (t + 1), 1 - _FORGET)
    if t == 0:
        s[at + _MEAN] = s[at + _BACK1] = s[at + _BACK2] = x
        s[at + _W1] = 1.0
        s[at + _P11] = s[at + _P22] = 10.0
        return
    one, two = _back(at, s)
    size = max(s[at + _SCALE], 1e-9 * abs(s[at + _MEAN]) + s[FLOOR])
    held = min(max(e / size, -_CLIP), _CLIP)
    p11, p12, p22 = s[at + _P11], s[at + _P12], s[at + _P22]
    first, second = p11 * one + p12 * two, p12 * one + p22 * two
    share = 1 / (_FORGET + one * first + two * second)
    s[at + _W1] += share * first * held
    s[at + _W2] += share * second * held
    p11 = (p11 - share * first * first) / _FORGET
    p12 = (p12 - share * first * second) / _FORGET
    p22 = (p22 - share * second * second) / _FORGET
    wide = 2e3 / max(p11 + p22, 2e3)  # a constant stream must not wind the memory up
    s[at + _P11], s[at + _P12], s[at + _P22] = p11 * wide, p12 * wide, p22 * wide
    s[at + _BACK2] = s[at + _BACK1]
    s[at + _BACK1] = x
    limit = _CLIP * size if t > 20 else 1e300
    away = min(max(x - s[at + _MEAN], -limit), limit)
    s[at + _MEAN] += slow * away
    s[at + _SCALE] += slow * (abs(away) - s[at + _SCALE])
    limit = _CLIP * s[at + _ERROR] + 1e-9 * abs(x) + s[FLOOR] if t > 20 else 1e300
    s[at + _ERROR] += slow * (min(abs(e), limit) - s[at + _ERROR])


@jit(f8(f8, i8, f8, row))
def _over(v, at, floor, s):
    """A deviation in units of its bar; where there is no bar, all that moves is equally new."""
    if s[at + _BAR] > floor:
        return v / s[at + _BAR]
    return 0.0 if s[SEEN] < 4 * s[WARM] else min(v / floor, 1024.0)


@jit(UniTuple(f8, 2)(f8, f8, f8, i8, i8, row))
def _rate(usual, beyond, surprise, at, fields, s):
    """The feature against its bars, and against its everyday deviations."""
    floor, used = max(s[FLOOR], 1e-9 * abs(s[fields + _MEAN])), int(s[USED])
    bars = fields + _BARS
    over, daily = 0.0, 0.0
    if used & 1:
        over = _over(abs(usual), bars, floor, s)
        daily = abs(usual) / max(s[at + SPREAD], _PART * s[bars + _BAR], floor)
    if used & 2:
        over = max(over, _over(beyond, bars + _BAR_SIZE, floor, s))
    if used & 4:
        off = abs(surprise) / _TRUST
        over = max(over, _over(off, bars + 2 * _BAR_SIZE, floor, s))
        daily = max(daily, off / max(s[fields + _ERROR],
                                     _PART * s[bars + 2 * _BAR_SIZE + _BAR], floor))
    return over, min(daily, 50.0)


@jit(UniTuple(f8, 2)(f8, i8, i8, row))
def _view(x, at, t, s):
    fields = at + int(s[BLOCK]) - _FIELDS
    return _rate(residual(x, at, t, s), _beyond(x, fields, s), _surprise(x, fields, s),
                 at, fields, s)


@jit(UniTuple(f8, 2)(f8, i8, i8, state))
def _view_and_learn(x, at, t, s):
    fields = at + int(s[BLOCK]) - _FIELDS
    bars = fields + _BARS
    usual, beyond = residual(x, at, t, s), _beyond(x, fields, s)
    surprise = _surprise(x, fields, s)
    found = _rate(usual, beyond, surprise, at, fields, s)
    if t >= s[WARM]:
        _note(abs(usual), bars, t, s)
    learn(x, usual, at, t, s)
    remember(x, at, t, s)
    if t >= s[WARM]:
        _note(beyond, bars + _BAR_SIZE, t, s)
    s[fields + _LOW] = min(s[fields + _LOW], x)
    s[fields + _HIGH] = max(s[fields + _HIGH], x)
    if t >= s[WARM]:
        _note(abs(surprise), bars + 2 * _BAR_SIZE, t, s)
    _learn_forecast(x, surprise, fields, t, s)
    return found


@jit(void(i8, i8, state))
def _look_for_period(at, t, s):
    """Should the season be another one, learn it and its bar from the recent past."""
    past, first = recent(at, t, s), s[at + PERIOD] == s[ASSUMED]
    if renew_period(at, past, s):
        bar = at + int(s[BLOCK]) - _FIELDS + _BARS
        if first:
            s[bar:bar + _BAR_SIZE] = 0
        for i in range(len(past)):
            then = t - len(past) + i
            usual = residual(past[i], at, then, s)
            if first and i >= s[WARM]:
                _note(abs(usual), bar, then, s)
            learn(past[i], usual, at, then, s)


@jit(void(i8, state))
def _age(at, s):
    """What was the present is the past, and what was the past is forgotten."""
    fields = at + int(s[BLOCK]) - _FIELDS
    for i in range(_N_VIEWS):
        _turn_age(fields + _BARS + i * _BAR_SIZE, s)
    s[fields + _OLD_LOW], s[fields + _OLD_HIGH] = s[fields + _LOW], s[fields + _HIGH]
    s[fields + _LOW], s[fields + _HIGH] = np.inf, -np.inf


# -- the detector ------------------------------------------------------------------------------


@jit(f8(f8, f8, row))
def _judge(over, daily, s):
    if s[SEEN] < s[WARM]:
        return 0.0
    if over > 1 and (s[SEEN] - s[HOT] > s[REST] or np.log2(over) >= 2 * s[PEAK]):
        return 1 + np.log2(over)
    return daily / (4 + daily)


@jit(f8(row, i8, row))
def _e_score_row(x, o, s):
    over, daily, d = 0.0, 0.0, int(s[D])
    for j in range(d):
        one, other = _view(x[o + j], HEAD + j * int(s[BLOCK]), int(s[SEEN]), s)
        over, daily = max(over, one), daily + other**4
    if d > 1:
        over /= max(1.0, s[HEAD + d * int(s[BLOCK]) + _BAR])
    daily = (daily / d) ** 0.25
    return _judge(over, 0.5 * (daily + (s[RECENTLY] + _BRIEF * (daily - s[RECENTLY]))), s)


@jit(f8(row, i8, state))
def _e_process_row(x, o, s):
    d, t, block = int(s[D]), int(s[SEEN]), int(s[BLOCK])
    over, daily = 0.0, 0.0
    for j in range(d):
        one, other = _view_and_learn(x[o + j], HEAD + j * block, t, s)
        over, daily = max(over, one), daily + other**4
    if d > 1:
        joint = HEAD + d * block
        found = over
        over /= max(1.0, s[joint + _BAR])
        if t >= s[WARM]:
            _note(found, joint, t, s)
    daily = (daily / d) ** 0.25
    if t >= s[WARM]:
        s[RECENTLY] += _BRIEF * (daily - s[RECENTLY])
    score = _judge(over, 0.5 * (daily + s[RECENTLY]), s)
    if over > 1:
        if score > 1:
            s[PEAK] = np.log2(over)
        s[HOT] = t
    s[SEEN] += 1
    if s[RING] > 0 and s[SEEN] == s[NEXT]:
        for j in range(d):
            _look_for_period(HEAD + j * block, t + 1, s)
        plan_next_look(s)
    if s[SEEN] % s[AGE] == 0:
        for j in range(d):
            _age(HEAD + j * block, s)
        _turn_age(HEAD + d * block, s)
    return score


@jit(f8(row, row))
def _e_score_one(x, s):
    check_row(x, s, s[D])
    return _e_score_row(x, 0, s)


@jit(void(row, state))
def _e_learn_one(x, s):
    check_row(x, s, s[D])
    _e_process_row(x, 0, s)


@jit(f8(row, state))
def _e_process_one(x, s):
    check_row(x, s, s[D])
    return _e_process_row(x, 0, s)


@jit(f8[::1](row, state))
def _e_process_rows(x, s):
    d = int(s[D])
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _e_process_row(x, i * d, s)
    return scores


@jit(f8[::1](row, row))
def _e_score_rows(x, s):
    d = int(s[D])
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _e_score_row(x, i * d, s)
    return scores


@jit(f8[:, ::1](rows, row))
def _features(X, s):
    parts = np.zeros_like(X)
    if s[SEEN] >= s[WARM]:
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                over, daily = _view(X[i, j], HEAD + j * int(s[BLOCK]), int(s[SEEN]), s)
                parts[i, j] = 1 + np.log2(over) if over > 1 else daily / (4 + daily)
    return parts


class OnlineEnsemble(FlatStateDetector):
    """Three views of every feature, each against its own history; one alarm an incident.

    The views: how far a value is from what this phase of the **season** usually looks like; how far
    it is outside of everything seen so far (a **record**); how far it is from the **forecast** of
    an autoregression of order two, fitted by recursive least squares as it goes. Nothing has to be
    set for a stream: each view of each feature is divided by its *bar*, its third-largest incident
    so far (deviations within ``rest`` rows of a peak are one incident).

    **Score 1 is that bar.** Above it the score is 1 + log2(deviation / bar), which never saturates:
    2 is twice the bar. Such a score is given once an incident: until ``rest`` rows have passed
    without a row above the bar, further ones stay below 1 unless log2(deviation / bar) has doubled.
    ``threshold=1.0`` therefore flags each incident once. Below 1 the score is d / (4 + d), where d
    is the row's deviation in everyday mean deviations (half of it the mean over the last eight
    rows): what ranks ordinary rows, and what a false-alarm budget ``alpha`` is kept on.

    With several features, deviations above their bars are divided by one more bar, that of their
    maximum, so that alarms do not multiply with features; everyday deviations enter by their mean
    of fourth powers.

    Fails where incidents are so frequent that three of them in a month say nothing, where normal
    behaviour goes on setting records, and on correlated features whose joint pattern breaks while
    each stays in its range (see `PCAReconstruction`).

    Parameters
    ----------
    period : int or None
        Rows in a season: 288 for a day at five minutes, 24 at an hour. None: found from row 512 on
        as in `SeasonalZScore`; until one is found, and where there is none, 288 is assumed: a wrong
        period costs little, its profile is a slow mean in 48 parts. Give it when you know it.
    rest : int or None
        Rows in which one incident raises one alarm. None raises as many as there are rows above
        the bar (rows within 40 of a peak still count as one incident for the bar).
    memory : int
        Visits of a phase that its mean remembers, at least 1.
    release : int or None
        After this many more rows far from usual than near it, where they lie is the new normal.
        None never does; the profile then follows at the pace of ``memory``.
    warm_up : int
        Rows to learn before scoring starts, at least 2; earlier rows score 0. History begins to
        count after it, and no row scores above 1 against a view without three incidents before
        four times as many rows.
    age : int
        Incidents are remembered for one to two times as many rows.
    views : tuple of {"season", "record", "forecast"}
        Which to use.
    min_scale : float
        Smallest deviation that counts, in the unit of the data. (A billionth of the mean's size is
        used where that is larger.)
    window : int
        As in `SeasonalZScore`.
    alpha, threshold, calibration
        See `adlib.Detector`.

    Notes
    -----
    A flat line scores near 0, and whatever moves after more than ``4 * warm_up`` flat rows scores
    up to 11, however small the move. `contributions` are each feature's own score, without rest.
    Frozen scores (`anomaly_score`) judge every row as if it were the next one.

    The constants were chosen on half of the Numenta Anomaly Benchmark (`benchmarks/nab.py`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stream = np.sin(np.arange(4_000) * 2 * np.pi / 288) + 0.1 * rng.normal(size=4_000)
    >>> stream[3_000:3_020] += 2.0  # a burst
    >>> scores = OnlineEnsemble().process(stream[:, None])
    >>> [int(i) for i in np.flatnonzero(scores[2_000:] > 1.5) + 2_000]
    [3000]
    """

    _kernels = {"score_one": _e_score_one, "learn_one": _e_learn_one, "process_one": _e_process_one,
                "process_rows": _e_process_rows, "score_rows": _e_score_rows}

    def __init__(self, *, period: int | None = None, rest: int | None = 40, memory: int = 30,
                 release: int | None = 200, warm_up: int = 100, age: int = 2**15,
                 views: tuple[str, ...] = VIEWS, min_scale: float = 1e-12, window: int = 2_000,
                 **base: Any):
        super().__init__(window=window, **base)
        self.period = period
        self.rest = rest
        self.memory = memory
        self.release = release
        self.warm_up = warm_up
        self.age = age
        self.views = views
        self.min_scale = min_scale

    def check_params(self) -> None:
        super().check_params()
        check_rows(period=(1 if self.period is None else self.period, 1),
                   rest=(1 if self.rest is None else self.rest, 1), memory=(self.memory, 1),
                   release=(1 if self.release is None else self.release, 1),
                   warm_up=(self.warm_up, 2), age=(self.age, 2))
        self._check_number("min_scale", above=0)
        views = listed(self.views, "views")
        if not views or any(not isinstance(view, str) or view not in VIEWS for view in views):
            raise ValueError(f"views must name some of {', '.join(VIEWS)}, got {self.views!r}")

    def _reset(self, n_features: int) -> None:
        ring = RECENT if self.period is None else 0
        block = season_size(ring) + _FIELDS
        used = sum(1 << VIEWS.index(name) for name in set(self.views))
        self.state_ = np.zeros(HEAD + n_features * block + _BAR_SIZE)
        self.state_[:RECENTLY] = (
            n_features, 0, self.warm_up, self.min_scale, 1 / self.memory, self.release or 0, ring,
            _FIRST, block, _DAY, self.rest or 40, self.rest or 0, self.age, -np.inf, 0, used)
        self.state_[HEAD + PERIOD:-_BAR_SIZE:block] = self.period or _DAY
        for field, start in ((_LOW, np.inf), (_HIGH, -np.inf), (_OLD_LOW, np.inf),
                             (_OLD_HIGH, -np.inf)):
            self.state_[HEAD + season_size(ring) + field:-_BAR_SIZE:block] = start

    def check_loaded(self) -> None:
        check_loaded(self, SEEN, NEXT, HOT, PEAK, RECENTLY)

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return _features(X, self.state_)

    def usual(self) -> tuple[NDArray[np.float64], ...]:
        """Expected value and deviation of each feature, and rows per season: 0 without one."""
        return usual(self.state_)
