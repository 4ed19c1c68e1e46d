"""Rolling z-scores: how many deviations a value lies from what the last rows looked like.

The kernels keep one flat float64 state, because each array argument of a compiled call costs a
tenth of a microsecond. Window sums are never subtracted from: the last ``window`` rows are the tail
of the previous block (suffix sums, made once per block) and the head of the current one (running
sums), so a spike leaves nothing behind when it leaves the window.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.types import Array, boolean, void
from numba.types import float64 as f8
from numba.types import int64 as i8
from numpy.typing import NDArray

from adlib.arguments import floats, number, whole
from adlib.base import OnlineDetector, Scores
from adlib.detectors.flat import is_count

# the head of the state: what every kernel needs to know
_ROBUST, _WINDOW, _WARM, _GATE, _RELEASE, _FLOOR, _SEEN, _POS, _RUN, _RECENT, _D = range(11)
_HEAD = 16

_WORST = 1e150  # a z-score above this would overflow when squared


_row = Array(f8, 1, "C", readonly=True)  # read-only: kernels take frozen arrays too
_rows = Array(f8, 2, "C", readonly=True)
_state = f8[::1]


def _jit(*signatures: Any) -> Callable:
    # explicit signatures: a list or an integer array is refused instead of compiled for, and the
    # first row of a stream does not wait for the compiler
    return numba.njit(list(signatures), cache=True, error_model="numpy")


# No kernel slices an array: a view costs more than the arithmetic. Rows are an offset into ``x``.


@_jit(f8(f8, f8, f8))
def _median3(a, b, c):
    return max(min(a, b), min(max(a, b), c))


# -- layout, feature by feature ----------------------------------------------------------------
# moments: ring (d, w) | reference (d) | head sums (2, d) | suffix sums (2, d, w + 1)
# robust:  ring (d, w) | sorted (d, w)
# both:    then recent (release, d)


@_jit(i8(i8, i8, i8))
def _recent_at(robust, w, d):
    return _HEAD + (2 * w * d if robust else w * d + d + 2 * d + 2 * (w + 1) * d)


@_jit(void(_state))
def _clear(s):
    """Forget every learned row, keep the settings and the recent rows."""
    s[_SEEN] = 0
    s[_POS] = 0
    s[_HEAD:_recent_at(int(s[_ROBUST]), int(s[_WINDOW]), int(s[_D]))] = 0


@_jit(f8(f8, _row, i8, i8, i8, i8, _row))
def _exact_z2(x, rows, pos, m, n, at, s):
    """Two passes over the window: what the sums stand for when they have lost their digits.

    The window is n ring entries from ``at``, those at pos .. pos + m - 1 not yet written: they are
    still in ``rows``.
    """
    centre = 0.0
    for i in range(n):
        centre += (rows[i - pos] if pos <= i < pos + m else s[at + i]) / n
    var = 0.0
    for i in range(n):
        var += ((rows[i - pos] if pos <= i < pos + m else s[at + i]) - centre) ** 2 / n
    floor = max(s[_FLOOR], 1e-9 * abs(centre))
    z2 = (x - centre) ** 2 / max(var, floor * floor)
    return z2 if z2 >= 0 else 0.0  # inf / inf: the window holds values whose squares overflow


@numba.njit(inline="always")
def _sums_z2(x, first, second, share, ref, min_scale):
    """Squared z of a value from the window's sums of (row - ref) and (row - ref)**2.

    -1 where the sums have lost their digits: by cancellation, or an overflow.
    """
    mean = first * share
    square = second * share
    var = square - mean * mean
    centre = mean + ref
    floor = 1e-9 * abs(centre)
    floor = floor if floor > min_scale else min_scale
    floor *= floor
    dev = x - centre
    return dev * dev / (var if var > floor else floor) if var * 1e7 >= square else -1.0


@_jit(f8(f8, i8, i8, i8, i8, i8, _row))
def _moment_z2(x, j, n, pos, w, d, s):
    ref = _HEAD + d * w + j
    suffix = _HEAD + d * w + 3 * d + j * (w + 1) + pos
    z2 = _sums_z2(x, s[ref + d] + s[suffix], s[ref + 2 * d] + s[suffix + d * (w + 1)], 1.0 / n,
                  s[ref], s[_FLOOR])
    return z2 if z2 >= 0 else _exact_z2(x, s, 0, 0, n, _HEAD + j * w, s)


@_jit(void(i8, i8, i8, _state))
def _turn_block(j, w, d, s):
    """The block of feature j is full: it becomes the previous one, summed from its end."""
    at, ref_at = _HEAD + j * w, _HEAD + d * w + j
    suffix = _HEAD + d * w + 3 * d + j * (w + 1)
    ref = _median3(s[at], s[at + w // 2], s[at + w - 1])  # a centre that one spike cannot move
    s[ref_at] = ref
    s[ref_at + d] = 0.0
    s[ref_at + 2 * d] = 0.0
    first, second = 0.0, 0.0
    for i in range(w - 1, -1, -1):
        v = s[at + i] - ref
        first += v
        second += v * v
        s[suffix + i] = first
        s[suffix + i + d * (w + 1)] = second


@_jit(void(_row, i8, i8, i8, i8, _state))
def _moment_learn(x, o, pos, w, d, s):
    for j in range(d):
        ref = _HEAD + d * w + j
        if s[_SEEN] == 0:
            s[ref] = x[o + j]
        s[_HEAD + j * w + pos] = x[o + j]
        v = x[o + j] - s[ref]
        s[ref + d] += v
        s[ref + 2 * d] += v * v
        if pos + 1 == w:
            _turn_block(j, w, d, s)


@_jit(boolean(f8[::1], f8[:, ::1], i8, f8, f8, f8))
def _segment_z2(z2, work, m, share, ref, min_scale):
    """The loop without branches, calls or carried values, which the compiler can vectorise."""
    exact = True
    for i in range(m):
        z2[i] = _sums_z2(work[0, i], work[1, i], work[2, i], share, ref, min_scale)
        exact &= z2[i] >= 0
    return exact


@_jit(void(_row, i8, i8, f8[::1], f8[:, ::1], _state))
def _moment_segment(x, start, m, scores, work, s):
    """Score and learn m rows of one block, feature by feature: the row kernels, without a gate.

    The window must be full and the rows must not pass the end of the block. Same operations in the
    same order as row by row, hence the same bits.
    """
    d, w, pos = int(s[_D]), int(s[_WINDOW]), int(s[_POS])
    values, z2 = work[0], work[3]
    for j in range(d):
        ref_at, ring = _HEAD + d * w + j, _HEAD + j * w
        suffix = _HEAD + d * w + 3 * d + j * (w + 1) + pos
        ref, first, second = s[ref_at], s[ref_at + d], s[ref_at + 2 * d]
        for i in range(m):
            value = x[(start + i) * d + j]
            values[i] = value
            work[1, i] = first + s[suffix + i]
            work[2, i] = second + s[suffix + d * (w + 1) + i]
            v = value - ref
            first += v
            second += v * v
        if not _segment_z2(z2, work, m, 1.0 / w, ref, s[_FLOOR]):
            for i in range(m):
                if not z2[i] >= 0:
                    z2[i] = _exact_z2(values[i], values, pos, i, w, ring, s)
        for i in range(m):
            s[ring + pos + i] = values[i]
            if j == 0 or z2[i] > scores[start + i]:
                scores[start + i] = z2[i]
        s[ref_at + d] = first
        s[ref_at + 2 * d] = second
        if pos + m == w:
            _turn_block(j, w, d, s)
    for i in range(start, start + m):
        scores[i] = min(np.sqrt(max(scores[i], 0.0)), _WORST)
    s[_SEEN] += m
    s[_POS] = pos + m if pos + m < w else 0


@_jit(f8(i8, i8, i8, f8, _row))
def _kth_distance(k, at, n, centre, s):
    """k-th smallest (from 0) distance of n sorted values to their median.

    The distances of the lower and of the upper half are each sorted: a binary search finds how many
    of the k + 1 smallest come from the lower one.
    """
    h = n // 2
    low, high = max(0, k + 1 - (n - h)), min(k + 1, h)
    while low < high:
        i = (low + high) // 2  # take i from the lower half, k + 1 - i from the upper
        if centre - s[at + h - 1 - i] < s[at + h + k - i] - centre:
            low = i + 1
        else:
            high = i
    best = -1.0
    if low > 0:
        best = centre - s[at + h - low]
    if k + 1 - low > 0:
        best = max(best, s[at + h + k - low] - centre)
    return best


@_jit(f8(f8, i8, i8, i8, i8, _row))
def _robust_z2(x, j, n, w, d, s):
    """Squared z of one value against median and 1.4826 MAD of the window."""
    at = _HEAD + d * w + j * w
    h = n // 2
    if n % 2:
        centre = s[at + h]
        mad = _kth_distance(h, at, n, centre, s)
    else:
        centre = 0.5 * s[at + h - 1] + 0.5 * s[at + h]
        mad = 0.5 * (_kth_distance(h - 1, at, n, centre, s) + _kth_distance(h, at, n, centre, s))
    scale = 1.4826 * mad
    if mad == 0.0:  # more than half of the rows are equal: the mean deviation still says something
        total = 0.0
        for i in range(n):
            total += abs(s[at + i] - centre)
        scale = 1.2533 * total / n
    z = (x - centre) / max(scale, max(s[_FLOOR], 1e-9 * abs(centre)))
    return z * z


@_jit(void(_row, i8, i8, i8, i8, i8, _state))
def _robust_learn(x, o, n, pos, w, d, s):
    for j in range(d):
        at = _HEAD + d * w + j * w
        if n == w:  # shift the gap that the oldest row leaves towards the place of the new one
            oldest = s[_HEAD + j * w + pos]
            i, end = 0, w
            while i < end:
                half = (i + end) // 2
                if s[at + half] < oldest:
                    i = half + 1
                else:
                    end = half
        else:
            i = n
        while i > 0 and s[at + i - 1] > x[o + j]:
            s[at + i] = s[at + i - 1]
            i -= 1
        last = w - 1 if n == w else n
        while i < last and s[at + i + 1] < x[o + j]:
            s[at + i] = s[at + i + 1]
            i += 1
        s[at + i] = x[o + j]
        s[_HEAD + j * w + pos] = x[o + j]


@_jit(f8(_row, i8, _row))
def _score_row(x, o, s):
    """Largest ``|z|`` over the features; 0 while warming up."""
    d, w, pos = int(s[_D]), int(s[_WINDOW]), int(s[_POS])
    n = min(int(s[_SEEN]), w)
    if n < s[_WARM]:
        return 0.0
    worst = 0.0
    if s[_ROBUST]:
        for j in range(d):
            worst = max(worst, _robust_z2(x[o + j], j, n, w, d, s))
    else:
        for j in range(d):
            worst = max(worst, _moment_z2(x[o + j], j, n, pos, w, d, s))
    return min(np.sqrt(worst), _WORST)


@_jit(void(_row, i8, _state))
def _append(x, o, s):
    """Learn one row unconditionally."""
    d, w, pos = int(s[_D]), int(s[_WINDOW]), int(s[_POS])
    if s[_ROBUST]:
        _robust_learn(x, o, min(int(s[_SEEN]), w), pos, w, d, s)
    else:
        _moment_learn(x, o, pos, w, d, s)
    s[_SEEN] += 1
    s[_POS] = pos + 1 if pos + 1 < w else 0


@_jit(void(_row, i8, f8, _state))
def _learn_scored(x, o, score, s):
    """Learn one row of known score, unless the gate keeps it out."""
    if s[_GATE] == np.inf:
        _append(x, o, s)
        return
    d, release = int(s[_D]), int(s[_RELEASE])
    at = _recent_at(int(s[_ROBUST]), int(s[_WINDOW]), d)
    if release > 0:  # remember the last rows, flagged or not
        slot = int(s[_RECENT])
        for j in range(d):
            s[at + slot * d + j] = x[o + j]
        s[_RECENT] = (slot + 1) % release
    if score <= s[_GATE]:
        s[_RUN] = max(0.0, s[_RUN] - 1)
        _append(x, o, s)
        return
    s[_RUN] += 1
    if release > 0 and s[_RUN] >= release:  # this is the new normal: start again from it
        s[_RUN] = 0
        _clear(s)
        for i in range(release):
            _append(s, at + (int(s[_RECENT]) + i) % release * d, s)


@_jit(void(_row, _row))
def _check_row(x, s):
    """A short row would be read past its end; one NaN would spoil a sorted window for ever."""
    bad = len(x) != s[_D]
    for j in range(len(x)):
        bad |= not np.isfinite(x[j])
    if bad:
        raise ValueError  # `RollingZScore._row` says what is wrong


@_jit(f8(_row, _row))
def _score_one(x, s):
    _check_row(x, s)
    return _score_row(x, 0, s)


@_jit(void(_row, _state))
def _learn_one(x, s):
    _check_row(x, s)
    _learn_scored(x, 0, 0.0 if s[_GATE] == np.inf else _score_row(x, 0, s), s)


@_jit(f8(_row, _state))
def _process_one(x, s):
    _check_row(x, s)
    score = _score_row(x, 0, s)
    _learn_scored(x, 0, score, s)
    return score


@_jit(f8[::1](_row, _state))
def _process_rows(x, s):
    d, w = int(s[_D]), int(s[_WINDOW])
    n = len(x) // d
    scores = np.empty(n)
    by_block = s[_GATE] == np.inf and not s[_ROBUST]
    work = np.empty((4, w))
    i = 0
    while i < n:
        if by_block and s[_SEEN] >= w:
            m = min(n - i, w - int(s[_POS]))
            _moment_segment(x, i, m, scores, work, s)
            i += m
        else:
            scores[i] = _score_row(x, i * d, s)
            _learn_scored(x, i * d, scores[i], s)
            i += 1
    return scores


@_jit(f8[::1](_row, _row))
def _score_rows(x, s):
    d = int(s[_D])
    scores = np.empty(len(x) // d)
    for i in range(len(scores)):
        scores[i] = _score_row(x, i * d, s)
    return scores


@_jit(f8[:, ::1](_rows, _row))
def _z_features(X, s):
    """``|z|`` of every feature for every row, against the frozen state."""
    w, pos, n = int(s[_WINDOW]), int(s[_POS]), min(int(s[_SEEN]), int(s[_WINDOW]))
    z = np.zeros_like(X)
    if n >= s[_WARM]:
        for i in range(X.shape[0]):
            for j in range(X.shape[1]):
                if s[_ROBUST]:
                    z2 = _robust_z2(X[i, j], j, n, w, X.shape[1], s)
                else:
                    z2 = _moment_z2(X[i, j], j, n, pos, w, X.shape[1], s)
                z[i, j] = min(np.sqrt(z2), _WORST)
    return z


class RollingZScore(OnlineDetector):
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
        better; where there is a season, a whole one or several tell the most.
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
        Smallest standard deviation to divide by, in the unit of the data. (A billionth of the
        mean's size is used where that is larger.)
    alpha, threshold, calibration
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

    _robust = False

    def __init__(self, *, window: int = 100, warm_up: int = 10, gate: float | None = None,
                 release: int | None = 50, min_scale: float = 1e-12, **base: Any):
        super().__init__(window=window, **base)
        self.warm_up = warm_up
        self.gate = gate
        self.release = release
        self.min_scale = min_scale

    def check_params(self) -> None:
        super().check_params()
        for name, value, low in (("window", self.window, 2), ("warm_up", self.warm_up, 2),
                                 ("release", 1 if self.release is None else self.release, 1)):
            whole(value, name, low, of="rows")
        if self.warm_up > self.window:
            raise ValueError(f"warm_up must not exceed window={self.window}, got {self.warm_up}")
        if self.gate is not None:
            number(self.gate, "gate", above=0, most=np.inf)
        self._check_number("min_scale", above=0)

    def _reset(self, n_features: int) -> None:
        release = int(self.release or 0)
        size = _recent_at(self._robust, self.window, n_features) + release * n_features
        self.state_ = np.zeros(size)
        self.state_[:_D + 1] = (self._robust, self.window, self.warm_up,
                                np.inf if self.gate is None else self.gate, release,
                                self.min_scale, 0, 0, 0, 0, n_features)

    def check_loaded(self) -> None:
        if "state_" not in vars(self):
            return
        found = self.state_
        self._reset(self.n_features_in_)
        fresh, self.state_ = self.state_, found
        learned = [_SEEN, _POS, _RUN, _RECENT]
        same = found.shape == fresh.shape and found.dtype == fresh.dtype and (
            np.delete(found[:_HEAD], learned) == np.delete(fresh[:_HEAD], learned)).all()
        if not (same and is_count(found[_SEEN]) and found[_POS] == found[_SEEN] % self.window
                and is_count(found[_RECENT]) and found[_RECENT] < max(found[_RELEASE], 1)):
            raise ValueError("state_ is not one that these parameters give")

    # The three calls of the live path hand the row to compiled code as it is. What that refuses is
    # converted (a list, integers, the first row of all) or named in an error, in `_row`.

    def score_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,) and learn nothing."""
        try:
            return _score_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return _score_one(self._row(x), self.state_)

    def learn_one(self, x: NDArray[np.float64]) -> None:
        """Learn one row of shape (n_features,), unless the gate keeps it out."""
        try:
            _learn_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            _learn_one(self._row(x), self.state_)

    def process_one(self, x: NDArray[np.float64]) -> float:
        """Score one row of shape (n_features,), then learn it."""
        try:
            return _process_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return _process_one(self._row(x), self.state_)

    def _row(self, x: Any) -> NDArray[np.float64]:
        row = np.ascontiguousarray(np.atleast_1d(floats(x, "x")))
        d = self.n_features_in_ if hasattr(self, "state_") else row.size
        if row.shape != (d,) or d == 0:
            raise ValueError(f"x must have shape ({d or 'n_features'},), got {row.shape}")
        if not np.isfinite(row).all():
            raise ValueError(f"x must be finite, got {row[~np.isfinite(row)][0]} in column "
                             f"{int(np.isfinite(row).argmin())}")
        if not hasattr(self, "state_"):
            self.check_params()
            self._start(d)
        return row

    def _process(self, X: NDArray[np.float64]) -> Scores:
        return _process_rows(X.ravel(), self.state_)

    def _score(self, X: NDArray[np.float64]) -> Scores:
        return _score_rows(X.ravel(), self.state_)

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return _z_features(X, self.state_)

    def usual(self) -> tuple[NDArray[np.float64], ...]:
        """Expected value and deviation of each feature, and rows per season: 0 without one."""
        d, w = self.n_features_in_, self.window
        ring = self.state_[_HEAD:_HEAD + d * w].reshape(d, w)[:, :min(int(self.state_[_SEEN]), w)]
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
    window, warm_up, gate, release, min_scale, alpha, threshold, calibration
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

    _robust = True
