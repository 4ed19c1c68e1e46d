"""What a stream usually looks like, learned row by row, and alarms that mean something.

`SeasonalZScore` measures a row against its phase of the season. `OnlineEnsemble` adds two more
views of each feature, measures every view against its own history and raises one alarm an incident.

A season is a profile of at most 48 phases; a phase's usual value is the mean of its visits,
exponentially weighted once there are many. Where no period is given it is looked for in the recent
past, at row 512 and then ever more rarely, so that a row costs next to nothing for it.

The state of both: head | a block for each feature: season, recent rows, and of the ensemble views |
of the ensemble the limit of all features, and the joint view with its cloud. Kernels are in this
file because a compiled one is not renewed when a file it imports changes; those of a cloud are in
`adlib.detectors.mahalanobis`.
"""

from typing import Any

import numpy as np
from numba.core.types import float64 as f8
from numba.core.types import int64 as i8
from numba.core.types import void

from adlib.arguments import listed
from adlib.base import Scores
from adlib.deprecation import renamed
from adlib.detectors.flat import (
    PROCESS_ONE,
    PROCESS_ROWS,
    ROW,
    SCORE_FEATURES,
    SCORE_ONE,
    SCORE_ROWS,
    FlatStateDetector,
    Record,
    Values,
    checked,
    fields,
    inner,
    is_count,
    jit,
    named,
    part,
    record,
    rounding,
)
from adlib.detectors.mahalanobis import (
    cloud_at,
    cloud_could_be,
    cloud_size,
    collect_row,
    feature_score,
    learn_row,
    row_score,
    standardised,
    start_cloud,
)

PHASES = 48
RECENT = 4_096  # rows in which a period is looked for
_FIRST = 512  # row of the first look
_SHORTEST = 24  # rows; what is shorter is left to a forecaster
_CANDIDATES = 10
_SETTLED = 50  # rows until a spread is worth believing
_WORST = 1e150  # a z-score above this would overflow when squared
_HUGE = 1e300

VIEWS = ("season", "record", "forecast", "joint")

_HEAD = np.dtype(fields(
    "n_features seen warm_up min_scale rate release n_recent next_look block assumed_period "
    # of the ensemble; gap: rows within which peaks are one incident, views: a bit for each,
    # last_over and peak: row and height of the last alarm, daily: recent everyday deviations
    "gap refractory horizon last_over peak views daily", spare=7))
_SEASON = np.dtype([
    # centre: mean of all values; level: what a lasting shift added to the profile; far: how many
    # rows more were far out than near; shift, shift_size: recent mean of residuals and their sizes
    *fields("n centre level spread far shift shift_size last period", spare=7),
    ("usual", "f8", PHASES), ("visits", "f8", PHASES), ("spreads", "f8", PHASES)])
_LIMIT = np.dtype([
    # value: the limit; peak_row, top: row and height of the present incident's peak; now, before:
    # the three largest incidents of the present and of the previous horizon
    *fields("value peak_row top"), ("now", "f8", 3), ("before", "f8", 3)])
_VIEWS = np.dtype([
    # range seen in this and in the previous horizon; the forecast's mean and scale of values, the
    # last two values, their weights, the weights' covariance, and the mean size of its errors
    *fields("low high old_low old_high mean scale last last_but_one weight_1 weight_2 cov_11 "
            "cov_12 cov_22 error", spare=2),
    *((name, _LIMIT) for name in VIEWS[:3])])
_LIMIT_SIZE, _VIEWS_SIZE = _LIMIT.itemsize // 8, _VIEWS.itemsize // 8
_limit_at, _views_at = record(_LIMIT), record(_VIEWS)
_HEAD_SIZE, _SEASON_SIZE = _HEAD.itemsize // 8, _SEASON.itemsize // 8
_head_at, _season_at = record(_HEAD), record(_SEASON)


# -- the period --------------------------------------------------------------------------------


@jit(f8(f8[::1], i8, f8))
def _backtest(r: Values, step: int, period: float) -> float:
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


@inner
def _thinned(x: Values, step: int) -> Values:
    """Sums of ``step`` values each, up to the last value."""
    n = len(x) // step
    sums = np.zeros(n)
    for i in range(n):
        for k in range(step):
            sums[i] += x[len(x) - n * step + i * step + k]
    return sums


@inner
def _ranks(r: Values) -> Values:
    """Ranks around 0; ties share their mean rank."""
    n = len(r)
    order = np.argsort(r, kind="mergesort")
    ranks, i = np.empty(n), 0
    while i < n:
        k = i
        while k + 1 < n and r[order[k + 1]] == r[order[i]]:
            k += 1
        for m in range(i, k + 1):
            ranks[order[m]] = 0.5 * (i + k) - 0.5 * (n - 1)
        i = k + 1
    return ranks


@inner
def _take_line_out(ranks: Values) -> float:
    """Subtract the straight line through the ranks; the variance of what is left."""
    n, slope, power = len(ranks), 0.0, 0.0
    for i in range(n):
        slope += (i - 0.5 * (n - 1)) * ranks[i] * 12.0 / (n * (n * n - 1.0))
    for i in range(n):
        ranks[i] -= slope * (i - 0.5 * (n - 1))
        power += ranks[i] * ranks[i] / n
    return power


@inner
def _autocorrelation(ranks: Values, power: float) -> Values:
    n = len(ranks)
    acf = np.ones(n // 2 + 1)  # two cycles must fit
    for lag in range(1, len(acf)):
        total = 0.0
        for i in range(n - lag):
            total += ranks[i] * ranks[i + lag]
        acf[lag] = total / ((n - lag) * power)
    return acf


@inner
def _candidates(acf: Values, step: int, known: int) -> Values:
    """The known period, then those of the peaks of the autocorrelation, shortest first."""
    found, k, lowest = np.zeros(_CANDIDATES), 1, 1.0
    found[0] = known
    for lag in range(1, len(acf) - 1):
        lowest = min(lowest, acf[lag])
        if (k < _CANDIDATES and lag * step >= _SHORTEST and acf[lag] >= acf[lag - 1]
                and acf[lag] > acf[lag + 1] and acf[lag] > 0.1 and acf[lag] - lowest > 0.1):
            found[k] = lag * step
            k += 1
    return found[:k]


@jit(i8(ROW, i8))
def find_period(x: Values, known: int) -> int:
    """Period in rows of a series, 0 if it shows none.

    Candidates are peaks of the autocorrelation of the ranks, which spikes cannot bend, after a
    straight line is taken out. The one whose profile would have predicted the ranks best is
    refined by the same measure; it must have beaten their mean.
    """
    step = 1 + (len(x) - 1) // (RECENT // 2)
    ranks = _ranks(_thinned(x, step))
    power = _take_line_out(ranks)
    if power < 1e-9 * len(ranks) * len(ranks):
        return 0
    found = _candidates(_autocorrelation(ranks, power), step, known)
    # what each candidate, moved to the best place near it, explains of the ranks' variance
    explained = np.zeros(len(found))
    for i in range(len(found)):
        centre = found[i]
        if centre == 0:
            continue
        for move in range(-10, 11):
            near = np.round(centre * (1 + 0.005 * move))
            gain = 1 - _backtest(ranks, step, near) / power
            if gain > explained[i]:
                found[i], explained[i] = near, gain
    enough = max(0.85 * explained.max(), 0.05)
    for i in range(len(found)):
        if explained[i] >= enough:  # the known one is the first to be asked, then the shortest
            return int(found[i])
    return 0


# -- one feature's season ----------------------------------------------------------------------


@inner
def _phase(season: Record, t: int) -> int:
    period = int(season.period)
    if period <= PHASES:
        return t % period if period > 0 else 0
    return (t % period) * PHASES // period


@inner
def _residual(x: float, season: Record, t: int) -> float:
    """A value of row t minus what is usual; 0 for the first value of all."""
    if season.n == 0:
        return 0.0
    phase = _phase(season, t)
    known = season.period > 0 and season.visits[phase] > 0
    usual = season.usual[phase] if known else season.centre
    return min(max(x - usual - season.level, -_HUGE), _HUGE)


@inner
def _floor(season: Record, head: Record) -> float:
    """The smallest deviation that is one; the ensemble's views have limits of their own."""
    least = 1e-9 * abs(season.centre) if head.views > 0 else rounding(season.centre)
    return max(head.min_scale, least)


@inner
def _deviation(season: Record, t: int, head: Record) -> float:
    """Standard deviation of the phase, leaning on that of all phases while visits are few."""
    phase = _phase(season, t)
    visits = season.visits[phase]
    size = (10 * season.spread + visits * season.spreads[phase]) / (10 + visits)
    # 1.2533 times the mean absolute deviation is a normal law's standard deviation
    return max(1.2533 * size, _floor(season, head))


@inner
def _learn(x: float, e: float, season: Record, t: int, head: Record) -> None:
    """Learn a value of residual e at row t; nothing far out moves anything far."""
    season.n += 1
    if season.n == 1:
        season.centre = x
    size, spread = abs(e), season.spread
    floor = _floor(season, head)
    held = e
    # of what stood still, a first move is the only measure
    if season.n > _SETTLED and (spread > floor or head.views > 0):
        limit = 10 * spread + floor
        held = min(max(e, -limit), limit)
        size = min(size, limit)
    slow = max(1.0 / season.n, 0.001)
    season.centre += slow * held
    season.spread += slow * (size - spread)
    if season.period > 0:
        phase = _phase(season, t)
        visits = season.visits[phase] + 1
        rate = max(head.rate, 1.0 / visits)
        if visits == 1:
            season.usual[phase] = x - season.level - (e - held)
            season.spreads[phase] = season.spread  # this visit had nothing to deviate from
        else:
            season.usual[phase] += rate * held
            rate = max(head.rate, 1.0 / (visits - 1))
            season.spreads[phase] += rate * (size - season.spreads[phase])
        season.visits[phase] = visits
    if head.release > 0 and season.n > _SETTLED:
        _follow_shift(e, spread, floor, season, head.release)
    season.last = e


@inner
def _follow_shift(e: float, spread: float, floor: float, season: Record, release: float) -> None:
    """What stays away for long is the new normal: its level and spread are taken over."""
    before = 2 * abs(season.last) + floor
    lone = min(max(e, -before), before)  # one wild row among others counts as one of them
    season.shift += (lone - season.shift) * 4 / (release + 3)
    season.shift_size += (abs(lone) - season.shift_size) * 4 / (release + 3)
    season.far = season.far + 1 if abs(e) > 3 * spread + floor else max(0.0, season.far - 1)
    if season.far >= release:
        season.far = 0
        season.level += season.shift
        season.spread = max(spread, season.shift_size - abs(season.shift))
        season.shift = 0
        season.shift_size = season.spread


@inner
def _start_of(j: int, head: Record) -> int:
    """Where the block of feature j begins."""
    return _HEAD_SIZE + j * int(head.block)


@inner
def _remember(x: float, start: int, t: int, state: Values, head: Record) -> None:
    """Keep a value for the search for a period."""
    n = int(head.n_recent)
    if n > 0:
        state[start + _SEASON_SIZE + t % n] = x


@inner
def _recent(start: int, t: int, state: Values, head: Record) -> Values:
    """The last values before row t, oldest first."""
    ring = part(state, start + _SEASON_SIZE, (int(head.n_recent),))
    n = min(t, len(ring))
    past = np.empty(n)
    for i in range(n):
        past[i] = ring[(t - n + i) % len(ring)]
    return past


@inner
def _renew_period(start: int, past: Values, state: Values, head: Record) -> bool:
    """Look for the period; if it is another one, forget the profile."""
    season = _season_at(state, start)
    old = int(season.period)
    period = find_period(past, old)
    if period == 0:
        period = int(head.assumed_period)
    if abs(period - old) <= 1:
        return False
    part(state, start, (_SEASON_SIZE,))[:] = 0
    season.period = period
    return True


# -- incidents ---------------------------------------------------------------------------------
# The limit of a view is its third-largest incident so far: that makes views of any unit comparable,
# and one wild row cannot move it.


@inner
def _set_limit(limit: Record) -> None:
    """Third-largest of the present and the previous horizon."""
    i, k, third = 0, 0, 0.0
    for _ in range(3):
        if limit.now[i] >= limit.before[k]:
            third = limit.now[i]
            i += 1
        else:
            third = limit.before[k]
            k += 1
    limit.value = third


@inner
def _note(v: float, limit: Record, t: int, gap: float) -> None:
    """Enter a deviation among the largest; rows of one incident count as one."""
    if v <= limit.top and v <= limit.now[2]:
        return
    place = 3
    if limit.top > 0 and t - limit.peak_row <= gap:
        if v <= limit.top:
            return
        for i in range(3):
            if limit.now[i] == limit.top:
                place = i
    limit.top = v
    limit.peak_row = t
    if place == 3:
        if v <= limit.now[2]:
            return
        place = 2
    while place > 0 and limit.now[place - 1] < v:
        limit.now[place] = limit.now[place - 1]
        place -= 1
    limit.now[place] = v
    _set_limit(limit)


# -- when the season is another one ------------------------------------------------------------


@inner
def _views_of(start: int, state: Values, head: Record) -> Record:
    return _views_at(state, start + int(head.block) - _VIEWS_SIZE)


@jit(void(f8[::1]))
def _look_again(state: Values) -> None:
    """Should a feature's period be another one, learn its profile from the recent past.

    Of the ensemble's first season its limit too. Looks come a fifth later each time: they take no
    share of a long stream.
    """
    head = _head_at(state, 0)
    t = int(head.seen)
    for j in range(int(head.n_features)):
        start = _start_of(j, head)
        season, past = _season_at(state, start), _recent(start, t, state, head)
        first = head.views > 0 and season.period == head.assumed_period
        if not _renew_period(start, past, state, head):
            continue
        if first:
            part(state, start + int(head.block) - 3 * _LIMIT_SIZE, (_LIMIT_SIZE,))[:] = 0
        size, n = 0.0, 0
        for i in range(len(past)):
            then = t - len(past) + i
            usual = _residual(past[i], season, then)
            if season.visits[_phase(season, then)] > 0:
                size += min(abs(usual), 10 * season.spread)
                n += 1
            if first and i >= head.warm_up:
                _note(abs(usual), _views_of(start, state, head).season, then, head.gap)
            _learn(past[i], usual, season, then, head)
        if n > 0:  # without first visits, which had nothing to deviate from
            season.spread = size / n
    head.next_look = head.seen + min(np.floor(0.2 * head.seen), 8.0 * RECENT)


# -- the z-score ------------------------------------------------------------------------------


@inner
def _z(x: float, season: Record, t: int, head: Record) -> float:
    deviation = _deviation(season, t, head)
    # of what stands still: as if it had moved as far once before
    most = _WORST if deviation > _floor(season, head) else min(season.n, 1_000.0) / 1.2533
    return min(abs(_residual(x, season, t)) / deviation, most)


@inner
def _score_row(x: Values, state: Values) -> float:
    head = _head_at(state, 0)
    t, worst = int(head.seen), 0.0
    if t < head.warm_up:
        return 0.0
    for j in range(len(x)):
        worst = max(worst, _z(x[j], _season_at(state, _start_of(j, head)), t, head))
    return worst


@inner
def _learn_row(x: Values, state: Values) -> None:
    head = _head_at(state, 0)
    t = int(head.seen)
    for j in range(len(x)):
        start = _start_of(j, head)
        season = _season_at(state, start)
        _learn(x[j], _residual(x[j], season, t), season, t, head)
        _remember(x[j], start, t, state, head)
    head.seen += 1
    if head.n_recent > 0 and head.seen == head.next_look:
        _look_again(state)


@jit(SCORE_ONE)
def _score_one(x: Values, state: Values) -> float:
    return _score_row(checked(x, _head_at(state, 0).n_features), state)


@jit(PROCESS_ONE)
def _process_one(x: Values, state: Values) -> float:
    row = checked(x, _head_at(state, 0).n_features)
    score = _score_row(row, state)
    _learn_row(row, state)
    return score


@jit(PROCESS_ROWS)
def _process_rows(x: Values, state: Values) -> Values:
    d = int(_head_at(state, 0).n_features)
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        row = part(x, i * d, (d,))
        scores[i] = _score_row(row, state)
        _learn_row(row, state)
    return scores


@jit(SCORE_FEATURES)
def _score_features(X: Values, state: Values) -> Values:
    head = _head_at(state, 0)
    z, t = np.zeros_like(X), int(head.seen)
    if t >= head.warm_up:
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                z[i, j] = _z(X[i, j], _season_at(state, _start_of(j, head)), t, head)
    return z


@jit(f8[:, ::1](ROW))
def _usual_next(state: Values) -> Values:
    """Usual value of each feature at the next row, its standard deviation, and its period or 0."""
    head = _head_at(state, 0)
    found, t = np.empty((3, int(head.n_features))), int(head.seen)
    for j in range(found.shape[1]):
        season = _season_at(state, _start_of(j, head))
        found[0, j] = -_residual(0.0, season, t)
        found[1, j] = _deviation(season, t, head)
        found[2, j] = season.period
    return found


class _Seasonal(FlatStateDetector):
    """What the two detectors with a season share: parameters, and a state that they could have."""

    _head = _HEAD
    _n_views = 0  # numbers in the state of each feature besides those of its season
    _assumed_period = 0

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
        self._check_whole("period", "release", of="rows", optional=True)
        self._check_whole("memory", of="rows")
        self._check_whole("warm_up", least=2, of="rows")
        self._check_number("min_scale", above=0)

    def _reset(self, n_features: int) -> None:
        n_recent = RECENT if self.period is None else 0
        block = _SEASON_SIZE + n_recent + self._n_views
        self.state_ = np.zeros(_HEAD_SIZE + n_features * block + self._n_after(n_features))
        head = named(self.state_, 0, _HEAD)
        head["n_features"], head["warm_up"] = n_features, self.warm_up
        head["min_scale"], head["rate"] = self.min_scale, 1 / self.memory
        head["release"], head["n_recent"] = self.release or 0, n_recent
        head["next_look"], head["block"] = _FIRST, block
        head["assumed_period"] = self._assumed_period
        for start in self._starts():
            season = named(self.state_, start, _SEASON)
            season["period"] = self.period or self._assumed_period

    def _n_after(self, n_features: int) -> int:
        """Numbers in the state after those of the features."""
        return 0

    def _starts(self) -> range:
        """Where the block of each feature begins."""
        head = named(self.state_, 0, _HEAD)
        block = int(head["block"])
        return range(_HEAD_SIZE, _HEAD_SIZE + int(head["n_features"]) * block, block)

    def _could_be(self, found: Values, fresh: Values) -> bool:
        searched = named(fresh, 0, _HEAD)["n_recent"] > 0
        for start in self._starts():
            period = named(found, start, _SEASON)["period"]
            # only one that was searched for changes; one of few rows would leave a phase no row
            if period != named(fresh, start, _SEASON)["period"] and not (searched and period >= 4):
                return False
            if not is_count(period):
                return False
        return is_count(named(found, 0, _HEAD)["seen"])

    def _work(self, n: int, d: int) -> tuple[float, float]:
        # seasons are looked for most often in the first rows
        row = self.n_features_in_ * (1.5e-7 + 1.5e-6 * min(1.0, 12_000 / n))
        return n * row, row

    def usual(self) -> tuple[Values, ...]:
        return tuple(_usual_next(self.state_))


class SeasonalZScore(_Seasonal):
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
        Smallest deviation to divide by, in the unit of the data. A feature that stood still, to
        rounding, counts any move as if it had moved as far once before.
    window : int
        Rows of `fit` in which the profile settles: their scores do not calibrate (four fifths of
        the rows, where that is less).
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    `contributions` are the ``|z|`` of each feature: the score is their maximum, not their sum.
    `frozen_score` judges every row as if it were the next one. A look for the
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

    _learned = ("seen", "next_look")
    _kernels = {"score_one": _score_one, "process_one": _process_one,
                "process_rows": _process_rows}

    def _contributions(self, X: Values) -> Values:
        return _score_features(X, self.state_)


# ==============================================================================================
# The ensemble
# ==============================================================================================

_FORGET = 0.999  # a forecast's memory: a thousand rows
_TRUST = 1.35  # a forecast errs in ways that a season does not: its limit is put a third higher
_CLIP = 20.0
_PART = 0.125  # of a limit: the smallest everyday deviation, for what moves rarely
_BRIEF = 0.125  # weight of a row in the recent mean of everyday deviations
_DAY = 288  # rows: the period assumed until one is found
_MOST = 1e9  # everyday deviations: more would round to a score of 1


@inner
def _turn_limit(limit: Record) -> None:
    for i in range(3):
        limit.before[i] = limit.now[i]
        limit.now[i] = 0
    limit.top = 0
    _set_limit(limit)


# -- one feature -------------------------------------------------------------------------------


@inner
def _beyond(x: float, views: Record) -> float:
    """How far outside of all that was seen."""
    low = min(views.low, views.old_low)
    high = max(views.high, views.old_high)
    if not high > low:
        return 0.0 if low > high else min(abs(x - low), _HUGE)
    return min(max(x - high, low - x, 0.0), _HUGE)


@inner
def _scale_of(views: Record, head: Record) -> float:
    return max(views.scale, 1e-9 * abs(views.mean) + head.min_scale)


@inner
def _last_two(views: Record, head: Record) -> tuple[float, float]:
    """The last two values, in scales from the centre."""
    inverse = 1 / _scale_of(views, head)
    one = (views.last - views.mean) * inverse
    two = (views.last_but_one - views.mean) * inverse
    return min(max(one, -_CLIP), _CLIP), min(max(two, -_CLIP), _CLIP)


@inner
def _surprise(x: float, views: Record, head: Record) -> float:
    """A value minus its forecast from the last two."""
    one, two = _last_two(views, head)
    forecast = (views.weight_1 * one + views.weight_2 * two) * _scale_of(views, head)
    return min(max(x - views.mean - forecast, -_HUGE), _HUGE)


@inner
def _learn_forecast(x: float, e: float, views: Record, t: int, head: Record) -> None:
    """Recursive least squares of order two, on values that are held within 20 scales."""
    slow = max(1.0 / (t + 1), 1 - _FORGET)
    if t == 0:
        views.mean = views.last = views.last_but_one = x
        views.weight_1 = 1.0
        views.cov_11 = views.cov_22 = 10.0
        return
    one, two = _last_two(views, head)
    size = _scale_of(views, head)
    held = min(max(e / size, -_CLIP), _CLIP)
    c11, c12, c22 = views.cov_11, views.cov_12, views.cov_22
    first, second = c11 * one + c12 * two, c12 * one + c22 * two
    share = 1 / (_FORGET + one * first + two * second)
    views.weight_1 += share * first * held
    views.weight_2 += share * second * held
    c11 = (c11 - share * first * first) / _FORGET
    c12 = (c12 - share * first * second) / _FORGET
    c22 = (c22 - share * second * second) / _FORGET
    wide = 2e3 / max(c11 + c22, 2e3)  # a constant stream must not wind the memory up
    views.cov_11, views.cov_12, views.cov_22 = c11 * wide, c12 * wide, c22 * wide
    views.last_but_one = views.last
    views.last = x
    limit = _CLIP * size if t > 20 else _HUGE
    away = min(max(x - views.mean, -limit), limit)
    views.mean += slow * away
    views.scale += slow * (abs(away) - views.scale)
    limit = _CLIP * views.error + 1e-9 * abs(x) + head.min_scale if t > 20 else _HUGE
    views.error += slow * (min(abs(e), limit) - views.error)


@inner
def _over(v: float, limit: Record, floor: float, head: Record) -> float:
    """A deviation in units of its limit; without a limit, all that moves is equally new."""
    if limit.value > floor:
        return v / limit.value
    return 0.0 if head.seen < 4 * head.warm_up else min(v / floor, 1024.0)


@inner
def _rate(usual: float, beyond: float, surprise: float, season: Record, views: Record,
          head: Record) -> tuple[float, float]:
    """The feature against its limits, and against its everyday deviations."""
    floor, used = max(head.min_scale, 1e-9 * abs(views.mean)), int(head.views)
    over, daily = 0.0, 0.0
    if used & 1:
        over = _over(abs(usual), views.season, floor, head)
        daily = abs(usual) / max(season.spread, _PART * views.season.value, floor)
    if used & 2:
        over = max(over, _over(beyond, views.record, floor, head))
    if used & 4:
        off = abs(surprise) / _TRUST
        over = max(over, _over(off, views.forecast, floor, head))
        daily = max(daily, off / max(views.error, _PART * views.forecast.value, floor))
    return over, min(daily, 50.0)


@inner
def _rate_feature(x: float, start: int, t: int, state: Values, head: Record
                  ) -> tuple[float, float]:
    season, views = _season_at(state, start), _views_of(start, state, head)
    return _rate(_residual(x, season, t), _beyond(x, views), _surprise(x, views, head),
                 season, views, head)


@inner
def _rate_and_learn(x: float, start: int, t: int, state: Values, head: Record
                    ) -> tuple[float, float]:
    season, views = _season_at(state, start), _views_of(start, state, head)
    usual, beyond = _residual(x, season, t), _beyond(x, views)
    surprise = _surprise(x, views, head)
    found = _rate(usual, beyond, surprise, season, views, head)
    if t >= head.warm_up:
        _note(abs(usual), views.season, t, head.gap)
        _note(beyond, views.record, t, head.gap)
        _note(abs(surprise), views.forecast, t, head.gap)
    _learn(x, usual, season, t, head)
    _remember(x, start, t, state, head)
    views.low = min(views.low, x)
    views.high = max(views.high, x)
    _learn_forecast(x, surprise, views, t, head)
    return found


@inner
def _turn_horizon(views: Record) -> None:
    """What was the present is the past, and what was the past is forgotten."""
    _turn_limit(views.season)
    _turn_limit(views.record)
    _turn_limit(views.forecast)
    views.old_low, views.old_high = views.low, views.high
    views.low, views.high = np.inf, -np.inf


# -- all features ------------------------------------------------------------------------------


@inner
def _after(head: Record) -> int:
    """Where what is of all features begins."""
    return _start_of(int(head.n_features), head)


@inner
def _has_joint(head: Record) -> bool:
    return head.n_features > 1 and int(head.views) & 8 > 0


@inner
def _score_and_learn_joint(x: Values, cloud: Any, head: Record) -> float:
    if cloud.head.n == 0:
        collect_row(x, int(head.warm_up), cloud)
        return 0.0
    z = standardised(x, cloud)
    found, distance = row_score(z, cloud)
    learn_row(x, z, distance, cloud)
    return found


@inner
def _judge(over: float, daily: float, head: Record) -> float:
    if head.seen < head.warm_up:
        return 0.0
    if over > 1 and (head.seen - head.last_over > head.refractory
                     or np.log2(over) >= 2 * head.peak):
        return 1 + np.log2(over)
    daily = min(daily, _MOST)
    return daily / (4 + daily)


@jit(SCORE_ONE)
def _judge_row(x: Values, state: Values) -> float:
    head = _head_at(state, 0)
    row, over, daily, beside, t = checked(x, head.n_features), 0.0, 0.0, 0.0, int(head.seen)
    d = len(row)
    for j in range(d):
        one, other = _rate_feature(row[j], _start_of(j, head), t, state, head)
        over, daily = max(over, one), daily + other**4
    daily = (daily / d) ** 0.25
    if _has_joint(head):
        start = _after(head) + _LIMIT_SIZE
        cloud = cloud_at(state, start + _LIMIT_SIZE, d)
        if cloud.head.n > 0:
            beside = row_score(standardised(row, cloud), cloud)[0]
        over = max(over, _over(beside, _limit_at(state, start), 1.0, head))
    if d > 1:
        over /= max(1.0, _limit_at(state, _after(head)).value)
    daily = 0.5 * (daily + (head.daily + _BRIEF * (daily - head.daily)))
    return _judge(over, max(daily, beside), head)


@jit(PROCESS_ONE)
def _judge_and_learn_row(x: Values, state: Values) -> float:
    head = _head_at(state, 0)
    row, over, daily, beside, t = checked(x, head.n_features), 0.0, 0.0, 0.0, int(head.seen)
    d = len(row)
    for j in range(d):
        one, other = _rate_and_learn(row[j], _start_of(j, head), t, state, head)
        over, daily = max(over, one), daily + other**4
    daily = (daily / d) ** 0.25
    limit = _limit_at(state, _after(head))  # of the features' maximum
    joint = _limit_at(state, _after(head) + _LIMIT_SIZE)
    if _has_joint(head):
        cloud = cloud_at(state, _after(head) + 2 * _LIMIT_SIZE, d)
        beside = _score_and_learn_joint(row, cloud, head)
        over = max(over, _over(beside, joint, 1.0, head))
        if t >= head.warm_up:
            _note(beside, joint, t, head.gap)
    if d > 1:
        worst = over
        over /= max(1.0, limit.value)
        if t >= head.warm_up:
            _note(worst, limit, t, head.gap)
    if t >= head.warm_up:
        head.daily += _BRIEF * (daily - head.daily)
    score = _judge(over, max(0.5 * (daily + head.daily), beside), head)
    if over > 1:
        if score > 1:
            head.peak = np.log2(over)
        head.last_over = t
    head.seen += 1
    if head.n_recent > 0 and head.seen == head.next_look:
        _look_again(state)
    if head.seen % head.horizon == 0:
        for j in range(d):
            _turn_horizon(_views_of(_start_of(j, head), state, head))
        _turn_limit(limit)
        if _has_joint(head):
            _turn_limit(joint)
    return score


@jit(PROCESS_ROWS)
def _ensemble_process_rows(x: Values, state: Values) -> Values:
    d = int(_head_at(state, 0).n_features)
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _judge_and_learn_row(part(x, i * d, (d,)), state)
    return scores


@jit(SCORE_ROWS)
def _ensemble_score_rows(x: Values, state: Values) -> Values:
    d = int(_head_at(state, 0).n_features)
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _judge_row(part(x, i * d, (d,)), state)
    return scores


@jit(SCORE_FEATURES)
def _ensemble_score_features(X: Values, state: Values) -> Values:
    head = _head_at(state, 0)
    parts, t, d = np.zeros_like(X), int(head.seen), X.shape[1]
    start = _after(head) + _LIMIT_SIZE
    if t >= head.warm_up:
        for i in range(X.shape[0]):
            for j in range(d):
                over, daily = _rate_feature(X[i, j], _start_of(j, head), t, state, head)
                if _has_joint(head):
                    cloud = cloud_at(state, start + _LIMIT_SIZE, d)
                    z = standardised(X[i], cloud)  # warm: the cloud has begun
                    beside = feature_score(z, j, cloud)
                    over = max(over, _over(beside, _limit_at(state, start), 1.0, head))
                    daily = max(daily, min(beside, _MOST))
                parts[i, j] = 1 + np.log2(over) if over > 1 else daily / (4 + daily)
    return parts


class OnlineEnsemble(_Seasonal):
    """Views of every feature and of all together, each against its history; one alarm an incident.

    The views: how far a value is from what this phase of the **season** usually looks like; how far
    it is outside of everything seen so far (a **record**); how far it is from the **forecast** of
    an autoregression of order two, fitted by recursive least squares as it goes; and with several
    features how far it is from where the others put it (**joint**: the score of
    `OnlineMahalanobis` with a memory of a thousand rows). Nothing has to be set for a stream: each
    view is divided by its *limit*, its third-largest incident so far (deviations within
    ``refractory`` rows of a peak are one incident).

    **Score 1 is that limit.** Above it the score is 1 + log2(deviation / limit), which never
    saturates: 2 is twice the limit. Such a score is given once an incident: until ``refractory``
    rows have passed without a row above the limit, further ones stay below 1 unless log2(deviation
    / limit) has doubled. ``threshold=1.0`` therefore flags each incident once. Below 1 the score is
    d / (4 + d), where d is the row's deviation in everyday mean deviations (half of it the mean
    over the last eight rows): what ranks ordinary rows, and what a false-alarm budget ``alpha`` is
    kept on.

    With several features, deviations above their limits are divided by one more limit, that of
    their maximum, so that alarms do not multiply with features; everyday deviations enter by their
    mean of fourth powers, the joint view as it is where it is larger.

    Fails where incidents are so frequent that three of them in a horizon say nothing, where normal
    behaviour goes on setting records, and on joint patterns that are not linear.

    Parameters
    ----------
    period : int or None
        Rows in a season: 288 for a day at five minutes, 24 at an hour. None: found from row 512 on
        as in `SeasonalZScore`; until one is found, and where there is none, 288 is assumed: a wrong
        period costs little, its profile is a slow mean in 48 parts. Give it when you know it.
    refractory : int or None
        Refractory period: rows in which one incident raises one alarm. None raises as many as
        there are rows above the limit (rows within 40 of a peak still count as one incident for
        the limit).
    memory : int
        Visits of a phase that its mean remembers, at least 1.
    release : int or None
        After this many more rows far from usual than near it, where they lie is the new normal.
        None never does; the profile then follows at the pace of ``memory``.
    warm_up : int
        Rows to learn before scoring starts, at least 2; earlier rows score 0. History begins to
        count after it, and no row scores above 1 against a view without three incidents before
        four times as many rows.
    horizon : int
        Memory horizon: incidents are remembered for one to two times as many rows, and a quiet
        stream has about three alarms in that time at ``threshold=1.0``.
    views : tuple of {"season", "record", "forecast", "joint"}
        Which to use. "joint" says nothing of a single feature.
    min_scale : float
        Smallest deviation that counts, in the unit of the data. (A billionth of the mean's size is
        used where that is larger.)
    window : int
        As in `SeasonalZScore`.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    A flat line scores near 0, and whatever moves after more than ``4 * warm_up`` flat rows scores
    up to 11, however small the move. `contributions` are each feature's own score, without a
    refractory period.
    `frozen_score` judges every row as if it were the next one.

    The constants were chosen on half of the Numenta Anomaly Benchmark, the horizon also on series
    of TSB-AD; what else was tried is in `benchmarks/nab.py`. With setting and threshold chosen
    without the category that is scored, that half gives 70.8 [62.8, 77.5], at its best threshold
    73.3. The assumed season gains there, and costs where a series is short and has none: give
    ``period=1`` then.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> stream = np.sin(np.arange(4_000) * 2 * np.pi / 288) + 0.1 * rng.normal(size=4_000)
    >>> stream[3_000:3_020] += 2.0  # a burst
    >>> scores = OnlineEnsemble().process(stream[:, None])
    >>> [int(i) for i in np.flatnonzero(scores[2_000:] > 1.5) + 2_000]
    [3000]
    """

    _n_views, _assumed_period = _VIEWS_SIZE, _DAY
    _learned = ("seen", "next_look", "last_over", "peak", "daily")
    _kernels = {"score_one": _judge_row, "process_one": _judge_and_learn_row,
                "process_rows": _ensemble_process_rows}

    @renamed(rest="refractory", age="horizon")
    def __init__(self, *, refractory: int | None = 40, warm_up: int = 100, horizon: int = RECENT,
                 views: tuple[str, ...] = VIEWS, **base: Any):
        super().__init__(warm_up=warm_up, **base)
        self.refractory = refractory
        self.horizon = horizon
        self.views = views

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("refractory", of="rows", optional=True)
        self._check_whole("horizon", least=2, of="rows")
        views = listed(self.views, "views")
        if not views or any(not isinstance(view, str) or view not in VIEWS for view in views):
            raise ValueError(f"views must name some of {', '.join(VIEWS)}, got {self.views!r}")

    def _work(self, n: int, d: int) -> tuple[float, float]:
        row = super()._work(n, d)[1] + 4.5e-9 * self.n_features_in_**2
        return n * row, row

    def _n_after(self, n_features: int) -> int:
        joint = n_features > 1 and "joint" in self.views
        return _LIMIT_SIZE + joint * (_LIMIT_SIZE + cloud_size(n_features, self.warm_up))

    def _reset(self, n_features: int) -> None:
        super()._reset(n_features)
        head = named(self.state_, 0, _HEAD)
        head["gap"], head["refractory"] = self.refractory or 40, self.refractory or 0
        head["horizon"], head["last_over"] = self.horizon, -np.inf
        head["views"] = sum(1 << VIEWS.index(name) for name in set(self.views))
        for start in self._starts():
            views = named(self.state_, start + int(head["block"]) - _VIEWS_SIZE, _VIEWS)
            views["low"] = views["old_low"] = np.inf
            views["high"] = views["old_high"] = -np.inf
        if (cloud := self._cloud_start()) < len(self.state_):
            start_cloud(self.state_, cloud, 1 / (1 - _FORGET), self.min_scale)

    def _cloud_start(self) -> int:
        return self._starts().stop + 2 * _LIMIT_SIZE

    def _could_be(self, found: Values, fresh: Values) -> bool:
        start = self._cloud_start()
        return super()._could_be(found, fresh) and (
            start > len(found) or cloud_could_be(found, fresh, start, self.warm_up))

    def _contributions(self, X: Values) -> Values:
        return _ensemble_score_features(X, self.state_)

    def _score(self, X: Values) -> Scores:
        return _ensemble_score_rows(X.ravel(), self.state_)
