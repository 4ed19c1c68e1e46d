"""Rolling z-scores: how many deviations a value lies from what the last rows looked like.

Window sums are never subtracted from: the last ``window`` rows are the tail of the previous block
(suffix sums, made once per block) and the head of the current one (running sums), so a spike leaves
nothing behind when it leaves the window.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from adlib.detectors.flat import (
    PROCESS_ONE,
    PROCESS_ROWS,
    SCORE_FEATURES,
    SCORE_ONE,
    FlatStateDetector,
    Record,
    Values,
    admitted,
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

# outnumbered: flagged rows less unflagged ones; oldest: of `recent`, the next to be replaced
HEAD = np.dtype(fields("robust window warm_up gate release min_scale seen position outnumbered "
                       "oldest n_features", spare=5))
_RING = HEAD.itemsize // 8  # where what follows the head begins
_head_at = record(HEAD)

_NO_UNIT = 1e-12  # the default of min_scale; a larger one is a unit that somebody gave
_WORST = 1e150  # a z-score above this would overflow when squared


class _Rolling(NamedTuple):
    """The state by name. A row's place in ``ring`` is ``head.position``, in ``recent`` oldest.

    Of `RollingZScore`: ring | centre | sums | suffix sums | recent; of `RobustZScore`: ring |
    ordered | recent. What the other one has overlaps and is never read.
    """

    head: Record
    ring: Values  # (n_features, window): the block being filled, and of the one before the rest
    ordered: Values  # (n_features, window): the same rows by size
    centre: Values  # (n_features,): what values are measured from, to keep their digits
    first: Values  # (n_features,): sum of the block so far
    second: Values  # (n_features,): sum of squares
    first_left: Values  # (n_features, window + 1): sums of the block before, from a row to its end
    second_left: Values  # (n_features, window + 1)
    recent: Values  # (release, n_features): the last rows, learned or not


@numba.njit(inline="always")  # records are not returned
def _opened(state: Values) -> _Rolling:
    head = _head_at(state, 0)
    d, w = int(head.n_features), int(head.window)
    after = _RING + d * w
    sums = after + 3 * d
    recent = after + d * w if head.robust else sums + 2 * d * (w + 1)
    return _Rolling(head, part(state, _RING, (d, w)), part(state, after, (d, w)),
                    part(state, after, (d,)), part(state, after + d, (d,)),
                    part(state, after + 2 * d, (d,)), part(state, sums, (d, w + 1)),
                    part(state, sums + d * (w + 1), (d, w + 1)),
                    part(state, recent, (int(head.release), d)))


@inner
def _median3(a: float, b: float, c: float) -> float:
    return max(min(a, b), min(max(a, b), c))


@inner
def _forget(s: _Rolling) -> None:
    """Forget every learned row, keep the settings and the recent rows."""
    s.head.seen = 0
    s.head.position = 0
    s.ring[:] = 0
    if s.head.robust:
        s.ordered[:] = 0
        return
    s.centre[:] = 0
    s.first[:] = 0
    s.second[:] = 0
    s.first_left[:] = 0
    s.second_left[:] = 0


# -- mean and standard deviation ---------------------------------------------------------------


@inner
def _exact_z2(x: float, fresh: Values, m: int, n: int, ring: Values, head: Record) -> float:
    """Two passes over the window: what the sums stand for when they have lost their digits.

    The window is the first n entries of the ring, where m fresh values are still to be written.
    """
    at = int(head.position)
    first = fresh[-at] if at <= 0 < at + m else ring[0]
    centre = 0.0  # from the first: what is large and moves little keeps its digits
    for i in range(n):
        centre += ((fresh[i - at] if at <= i < at + m else ring[i]) - first) / n
    centre += first
    variance = 0.0
    for i in range(n):
        variance += ((fresh[i - at] if at <= i < at + m else ring[i]) - centre) ** 2 / n
    least = rounding(centre)
    floor = max(head.min_scale, least)
    z2 = (x - centre) ** 2 / max(variance, floor * floor)
    if variance <= least * least and head.min_scale <= _NO_UNIT:
        z2 = min(z2, float(n))
    return z2 if z2 >= 0 else 0.0  # inf / inf: the window holds values whose squares overflow


@numba.njit(inline="always")
def _sums_z2(x: float, first: float, second: float, share: float, ref: float, min_scale: float
             ) -> float:
    """Squared z of a value from the window's sums of (row - ref) and (row - ref)**2.

    -1 where the sums have lost their digits: by cancellation, or an overflow.
    """
    mean = first * share
    square = second * share
    variance = square - mean * mean
    centre = mean + ref
    least = rounding(centre)
    floor = least if least > min_scale else min_scale
    floor *= floor
    dev = x - centre
    z2 = dev * dev / (variance if variance > floor else floor)
    # of a window that stands still: what it would be if one of its rows had moved as far
    most = 1.0 / share if variance <= least * least and min_scale <= _NO_UNIT else np.inf
    return (z2 if z2 < most else most) if variance * 1e7 >= square else -1.0


@inner
def _moment_z2(x: float, j: int, n: int, s: _Rolling) -> float:
    at = int(s.head.position)
    z2 = _sums_z2(x, s.first[j] + s.first_left[j, at], s.second[j] + s.second_left[j, at], 1.0 / n,
                  s.centre[j], s.head.min_scale)
    return z2 if z2 >= 0 else _exact_z2(x, s.ring[j], 0, n, s.ring[j], s.head)


@inner
def _turn_block(j: int, s: _Rolling) -> None:
    """The block of feature j is full: it becomes the previous one, summed from its end."""
    w = s.ring.shape[1]
    # a centre that one spike cannot move
    centre = _median3(s.ring[j, 0], s.ring[j, w // 2], s.ring[j, w - 1])
    s.centre[j] = centre
    s.first[j] = 0.0
    s.second[j] = 0.0
    first, second = 0.0, 0.0
    for i in range(w - 1, -1, -1):
        v = s.ring[j, i] - centre
        first += v
        second += v * v
        s.first_left[j, i] = first
        s.second_left[j, i] = second


@inner
def _moment_learn(x: Values, s: _Rolling) -> None:
    at, w = int(s.head.position), s.ring.shape[1]
    for j in range(len(x)):
        if s.head.seen == 0:
            s.centre[j] = x[j]
        s.ring[j, at] = x[j]
        v = x[j] - s.centre[j]
        s.first[j] += v
        s.second[j] += v * v
        if at + 1 == w:
            _turn_block(j, s)


@inner
def _segment_z2(z2: Values, work: Values, m: int, share: float, ref: float, min_scale: float
                ) -> bool:
    """The loop without branches, calls or carried values, which the compiler can vectorise."""
    exact = True
    for i in range(m):
        z2[i] = _sums_z2(work[0, i], work[1, i], work[2, i], share, ref, min_scale)
        exact &= z2[i] >= 0
    return exact


@inner
def _moment_segment(X: Values, scores: Values, work: Values, s: _Rolling) -> None:
    """Score and learn rows of one block, feature by feature: the row kernels, without a gate.

    The window must be full and the rows must not pass the end of the block. Same operations in the
    same order as row by row, hence the same bits.
    """
    m, d = X.shape
    w, at = s.ring.shape[1], int(s.head.position)
    values, z2 = work[0], work[3]
    for j in range(d):
        centre, first, second = s.centre[j], s.first[j], s.second[j]
        for i in range(m):
            value = X[i, j]
            values[i] = value
            work[1, i] = first + s.first_left[j, at + i]
            work[2, i] = second + s.second_left[j, at + i]
            v = value - centre
            first += v
            second += v * v
        if not _segment_z2(z2, work, m, 1.0 / w, centre, s.head.min_scale):
            for i in range(m):
                if not z2[i] >= 0:
                    z2[i] = _exact_z2(values[i], values, i, w, s.ring[j], s.head)
        for i in range(m):
            s.ring[j, at + i] = values[i]
            if j == 0 or z2[i] > scores[i]:
                scores[i] = z2[i]
        s.first[j] = first
        s.second[j] = second
        if at + m == w:
            _turn_block(j, s)
    for i in range(m):
        scores[i] = min(np.sqrt(max(scores[i], 0.0)), _WORST)
    s.head.seen += m
    s.head.position = at + m if at + m < w else 0


# -- median and median absolute deviation ------------------------------------------------------


@inner
def _kth_distance(k: int, n: int, centre: float, ordered: Values) -> float:
    """k-th smallest (from 0) distance of n sorted values to their median.

    The distances of the lower and of the upper half are each sorted: a binary search finds how many
    of the k + 1 smallest come from the lower one.
    """
    h = n // 2
    low, high = max(0, k + 1 - (n - h)), min(k + 1, h)
    while low < high:
        i = (low + high) // 2  # take i from the lower half, k + 1 - i from the upper
        if centre - ordered[h - 1 - i] < ordered[h + k - i] - centre:
            low = i + 1
        else:
            high = i
    best = -1.0
    if low > 0:
        best = centre - ordered[h - low]
    if k + 1 - low > 0:
        best = max(best, ordered[h + k - low] - centre)
    return best


@inner
def _robust_z2(x: float, n: int, ordered: Values, min_scale: float) -> float:
    """Squared z of one value against median and 1.4826 MAD of the window."""
    h = n // 2
    if n % 2:
        centre = ordered[h]
        mad = _kth_distance(h, n, centre, ordered)
    else:
        centre = 0.5 * ordered[h - 1] + 0.5 * ordered[h]
        mad = 0.5 * (_kth_distance(h - 1, n, centre, ordered)
                     + _kth_distance(h, n, centre, ordered))
    scale = 1.4826 * mad
    if mad == 0.0:  # more than half of the rows are equal: the mean deviation still says something
        total = 0.0
        for i in range(n):
            total += abs(ordered[i] - centre)
        scale = 1.2533 * total / n
    least = rounding(centre)
    z = abs(x - centre) / max(scale, max(min_scale, least))
    if scale <= least and min_scale <= _NO_UNIT:  # as if one of the rows had moved as far
        z = min(z, n / 1.2533)
    return z * z


@inner
def _robust_learn(x: Values, n: int, s: _Rolling) -> None:
    at, w = int(s.head.position), s.ring.shape[1]
    for j in range(len(x)):
        ordered = s.ordered[j]
        # shift the gap that the oldest row leaves towards the place of the new one
        i = np.searchsorted(ordered, s.ring[j, at]) if n == w else n
        while i > 0 and ordered[i - 1] > x[j]:
            ordered[i] = ordered[i - 1]
            i -= 1
        last = w - 1 if n == w else n
        while i < last and ordered[i + 1] < x[j]:
            ordered[i] = ordered[i + 1]
            i += 1
        ordered[i] = x[j]
        s.ring[j, at] = x[j]


# -- rows --------------------------------------------------------------------------------------


@inner
def _z2(x: float, j: int, n: int, s: _Rolling) -> float:
    if s.head.robust:
        return _robust_z2(x, n, s.ordered[j], s.head.min_scale)
    return _moment_z2(x, j, n, s)


@inner
def _score_row(x: Values, s: _Rolling) -> float:
    """Largest ``|z|`` over the features; 0 while warming up."""
    n = min(int(s.head.seen), s.ring.shape[1])
    if n < s.head.warm_up:
        return 0.0
    worst = 0.0
    for j in range(len(x)):
        worst = max(worst, _z2(x[j], j, n, s))
    return min(np.sqrt(worst), _WORST)


@inner
def _append(x: Values, s: _Rolling) -> None:
    """Learn one row unconditionally."""
    w = s.ring.shape[1]
    if s.head.robust:
        _robust_learn(x, min(int(s.head.seen), w), s)
    else:
        _moment_learn(x, s)
    s.head.seen += 1
    s.head.position = s.head.position + 1 if s.head.position + 1 < w else 0


@inner
def _learn_scored(x: Values, score: float, s: _Rolling) -> None:
    """Learn one row of known score, unless the gate keeps it out."""
    verdict = admitted(x, score, s.head, s.recent)
    if verdict == 1:
        _append(x, s)
    elif verdict == 2:
        _forget(s)
        release = len(s.recent)
        for i in range(release):
            _append(s.recent[(int(s.head.oldest) + i) % release], s)


@jit(SCORE_ONE)
def _score_one(x: Values, state: Values) -> float:
    s = _opened(state)
    return _score_row(checked(x, s.head.n_features), s)


@jit(PROCESS_ONE)
def _process_one(x: Values, state: Values) -> float:
    s = _opened(state)
    row = checked(x, s.head.n_features)
    score = _score_row(row, s)
    _learn_scored(row, score, s)
    return score


@jit(PROCESS_ROWS)
def _process_rows(x: Values, state: Values) -> Values:
    s = _opened(state)
    d, w = s.ring.shape
    n = len(x) // d
    scores = np.empty(n)
    by_block = s.head.gate == np.inf and not s.head.robust
    work = np.empty((4, w))
    i = 0
    while i < n:
        if by_block and s.head.seen >= w:
            m = min(n - i, w - int(s.head.position))
            _moment_segment(part(x, i * d, (m, d)), part(scores, i, (m,)), work, s)
            i += m
        else:
            row = part(x, i * d, (d,))
            scores[i] = _score_row(row, s)
            _learn_scored(row, scores[i], s)
            i += 1
    return scores


@jit(SCORE_FEATURES)
def _z2_features(X: Values, state: Values) -> Values:
    """Squared z of every feature for every row, against the frozen state."""
    s = _opened(state)
    n = min(int(s.head.seen), s.ring.shape[1])
    z2 = np.zeros_like(X)
    if n >= s.head.warm_up:
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                z2[i, j] = _z2(X[i, j], j, n, s)
    return z2


class RollingZScore(FlatStateDetector):
    """Largest ``|z|`` over the features against mean and standard deviation of the last rows.

    The textbook online detector: ``score = max_j |x_j - mean_j| / std_j`` over the last
    ``window`` learned rows (population standard deviation), scored before the row is learned.
    Exact, in constant memory and time; a passing spike of any size leaves no trace in the sums.

    Fails when anomalies last (a burst inflates the window and hides itself: see ``gate``), when
    "normal" depends on the time of day, and when several features are off together but none much.

    Parameters
    ----------
    window : int
        Learned rows to compare with, at least 2. Short follows a drift faster, long estimates
        better; where there is a season, a whole one or several serve best.
    warm_up : int
        Rows to learn before scoring starts, at least 2; earlier rows score 0.
    gate : float or None
        Rows that score above it are not learned, so that an anomaly cannot become normal by
        lasting. 4 or more: a lower gate also keeps normal rows out, and the standard deviation
        shrinks. None learns everything.
    release : int or None
        With a gate: when flagged rows outnumber unflagged ones by this many since the last quiet
        moment, they are the new normal, and the window restarts from the last ``release`` rows.
        None never releases, and one lasting shift then blinds the detector for ever.
    min_scale : float
        Smallest standard deviation to divide by, in the unit of the data. Where all rows of the
        window are equal, to rounding, and this is the default, any move counts as if one of them
        had moved as far.
    alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`; ``threshold=3.0`` is the textbook cut, which promises no false-alarm
        rate.

    Notes
    -----
    Learning a row before scoring it would cap ``|z|`` at sqrt(window - 1), or (window - 1) /
    sqrt(window) with the sample standard deviation (Shiffler 1988), however wild the row.

    `contributions` are the ``|z|`` of each feature: the score is their maximum, not their sum.

    Examples
    --------
    >>> stream = np.random.default_rng(0).normal(size=(500, 1))
    >>> stream[400] = 12.0
    >>> scores = RollingZScore(window=100).process(stream)
    >>> int(scores.argmax())
    400
    """

    _per_value = 6e-9
    _robust = False
    _head = HEAD
    _learned = ("seen", "position", "outnumbered", "oldest")
    _kernels = {"score_one": _score_one, "process_one": _process_one,
                "process_rows": _process_rows}

    def __init__(self, *, window: int = 100, warm_up: int = 10, gate: float | None = None,
                 release: int | None = 50, min_scale: float = 1e-12, **base: Any):
        super().__init__(window=window, **base)
        self.warm_up = warm_up
        self.gate = gate
        self.release = release
        self.min_scale = min_scale

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("window", "warm_up", least=2, of="rows")
        self._check_whole("release", of="rows", optional=True)
        if self.warm_up > self.window_:
            raise ValueError(f"warm_up must not exceed window={self.window_}, got {self.warm_up}")
        self._check_number("gate", above=0, most=np.inf, optional=True)
        self._check_number("min_scale", above=0)

    def _reset(self, n_features: int) -> None:
        d, w, release = n_features, int(self.window), int(self.release or 0)
        learned = 2 * d * w if self._robust else d * w + 3 * d + 2 * d * (w + 1)
        self.state_ = np.zeros(_RING + learned + release * d)
        head = named(self.state_, 0, HEAD)
        head["robust"], head["window"], head["warm_up"] = self._robust, w, self.warm_up
        head["gate"] = np.inf if self.gate is None else self.gate
        head["release"], head["min_scale"], head["n_features"] = release, self.min_scale, d

    def _could_be(self, found: Values, fresh: Values) -> bool:
        head = named(found, 0, HEAD)
        return bool(is_count(head["seen"]) and head["position"] == head["seen"] % self.window_
                    and is_count(head["oldest"])
                    and head["oldest"] < max(head["release"], 1))

    def _contributions(self, X: Values) -> Values:
        return np.minimum(np.sqrt(_z2_features(X, self.state_)), _WORST)

    def usual(self) -> tuple[Values, ...]:
        d, w = self.n_features_in_, self.window_
        learned = min(int(named(self.state_, 0, HEAD)["seen"]), w)
        ring = self.state_[_RING:_RING + d * w].reshape(d, w)[:, :learned]
        none = np.zeros(d)
        if ring.shape[1] < self.warm_up:
            return np.full(d, np.nan), np.full(d, np.nan), none
        centre = np.median(ring, axis=1) if self._robust else ring.mean(axis=1)
        # a score is the distance in deviations, and knows their floors
        away = np.abs(centre) + self.min_scale + np.ptp(ring, axis=1) + 1.0
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # of huge values
            return centre, away / self._contributions((centre + away)[None])[0], none


class RobustZScore(RollingZScore):
    """Largest ``|z|`` over the features against median and MAD of the last rows.

    ``z = |x - median| / (1.4826 MAD)`` (Iglewicz and Hoaglin 1993), exact at every row. Up to half
    of the window may be anomalous before centre and scale give way, so short bursts do not hide
    themselves. Where more than half of the rows are equal (MAD = 0) 1.2533 times the mean absolute
    deviation is used instead.

    Fails on skewed data, whose long side it flags too often, and on bursts longer than half of the
    window.

    Parameters
    ----------
    window, warm_up, gate, release, min_scale, alpha, threshold, calibration, smoothing, missing
        As in `RollingZScore`.

    Examples
    --------
    >>> stream = np.random.default_rng(0).normal(size=(500, 1))
    >>> stream[400:430] = 12.0  # a burst
    >>> bool(RobustZScore(window=100).process(stream)[429] > 5)
    True
    >>> bool(RollingZScore(window=100).process(stream)[429] > 3)
    False
    """

    _per_value = 1.4e-7
    _robust = True
