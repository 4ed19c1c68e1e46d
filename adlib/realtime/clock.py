"""Event time: the stamps that samples bring, as far as they can be believed.

No stamp is the clock by itself. One that is none, goes back by more than ten usual intervals (by
less, samples are out of order), or leaps ahead is *doubted*: its sample takes the last believed
stamp and a usual interval for each sample since, so that event time goes on whatever arrives. Three
doubted stamps in a row that rise as a clock does mean that the clock was set: event time follows
them, also back, but not into the future (`latest`).
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.reading.times import PER, SINCE, UNTIL
from adlib.realtime.events import utc

Rows = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Events = list[tuple[int, str]]  # places, and what is to be reported
_LATEST = 9.2e9  # seconds from 1970 to the year 2261, the last that all of Python can write
_LEAST, _INTERVALS = 3600.0, 100  # a step ahead is believed up to an hour, or so many intervals
_YEAR = 366 * 86_400.0  # where no interval is known, and after many samples without a stamp
_LATE, _WEEK = 10, 7 * 86_400.0  # intervals that a sample may be late; the longest usual gap
_AGREE = 3  # doubted stamps in a row that set the clock
_KEPT = 31  # intervals whose median is the usual one
_SAID, _GOOD = 10, 1000  # events until so many stamps in a row were believed
_NO_STATE = {"period", "latest"}  # no part of the state
_UNITS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}


@dataclass(slots=True)
class StreamClock:
    """Event time of one stream, sample after sample.

    Parameters
    ----------
    period : float
        Seconds between samples, until stamps have shown it.

    Attributes
    ----------
    begun : bool
        Whether a sample has brought a stamp; before, samples are counted.
    time : float
        Event time of the last sample; -inf before the first.
    run : int
        Samples in a row that ought to have brought a stamp, and brought none that is believed.
    latest : float
        The clock is not set to what lies behind; a stream that began there goes on there.

    Examples
    --------
    >>> clock, every = StreamClock(), np.ones(4, bool)
    >>> stamps = np.array([1.7e9, 1.7e9 + 60, 1.7e12, np.inf])  # the third in milliseconds
    >>> time, events = clock.follow(np.arange(4), stamps, every, every, every)
    >>> (time - 1.7e9).tolist()
    [0.0, 60.0, 120.0, 180.0]
    """

    period: float = 1.0
    begun: bool = False
    time: float = -math.inf
    run: int = 0
    believed: float = -math.inf  # the last stamp that was
    seq: int = 0  # of its sample
    since: int = 0  # samples after it
    unit: int = 1  # parts of a second that it counted
    intervals: list[float] = field(default_factory=list)  # the last ones above 0
    doubted: float = math.nan  # the last doubted stamp
    agree: int = 0  # doubted stamps in a row that rise as a clock does
    good: int = 0  # stamps since the last doubted one
    said: int = 0  # events, until enough stamps were good
    late: int = -(2**62)  # the last sample that was out of order
    leap: float = 0.0  # longest gap between stamps, a week at most
    told: bool = False  # that the last stamp was doubted
    latest: float = math.inf

    def follow(self, seq: Numbers, stamps: Rows, stamped: Flags, real: Flags, due: Flags
               ) -> tuple[Rows, Events]:
        """Event times of the samples that come next.

        Parameters
        ----------
        seq : int ndarray of shape (n,)
        stamps : ndarray of shape (n,)
            What the samples brought; of one that brought none, the time that counting gives it.
        stamped : bool ndarray of shape (n,)
            Which brought a stamp, be it NaN.
        real : bool ndarray of shape (n,)
            False for samples that never came.
        due : bool ndarray of shape (n,)
            Which ought to bring a stamp where others do.

        Returns
        -------
        time : ndarray of shape (n,)
            Finite.
        events : list of (int, str)
            Places and what is to be reported: "doubted: ...", "believed again: ...", "set: ...",
            "gap: ..." (set ahead by a week at most), "late: ..." or "unit: ...".
        """
        whole = bool(stamped.all())
        if whole and self.unit == 1 and self._usual(seq, stamps):
            return stamps, []
        if not self.begun and not stamped.any():
            self.time = float(stamps[-1])
            return stamps, []
        seconds, units = in_seconds(stamps)
        if whole and (units == self.unit).all() and self._usual(seq, seconds):
            return seconds, []
        seconds = np.where(stamped, seconds, np.nan)
        return self._each(seq, stamps, seconds, units, stamped, real, due)

    def _each(self, *arrays: NDArray) -> tuple[Rows, Events]:
        """Follow stamps one by one."""
        times, events = list[float](), Events()
        for k, (seq, given, stamp, unit, stamped, real, due) in enumerate(
                zip(*(array.tolist() for array in arrays), strict=True)):
            if not stamped and not self.begun:
                self.time = given
            elif not real:
                self.since += 1
            elif event := self._next(seq, stamp, unit, due, f"time stamp {given:.15g}"
                                    if stamped and given == given else "no time stamp"):
                events.append((k, event))
            times.append(self.time)
        return np.array(times), events

    def moment(self, time: Any) -> float:
        """When something happened: its stamp if that may be believed, else the time that is known.

        Parameters
        ----------
        time : float, array or None

        Returns
        -------
        float
            Finite.
        """
        stamp = float(in_seconds(np.append(stamps_of(time, None), np.nan)[:1])[0][0])
        if self.believed > -math.inf and not stamp - self.believed <= self._limit():
            stamp = math.nan
        return stamp if math.isfinite(stamp) else self.time if math.isfinite(self.time) else 0.0

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in _KEPT_FIELDS} | {
            "intervals": [*self.intervals]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another clock was."""
        for name in {f.name for f in fields(self)} & state.keys() - _NO_STATE:
            setattr(self, name, state[name])

    def _usual(self, seq: Numbers, stamps: Rows) -> bool:
        """Take stamps that rise as those before them did, as nearly always."""
        n, before = len(stamps), self.seq if self.begun else seq[0] - 1
        if self.told or self.begun and self.time != self.believed or seq[-1] - before != n:
            return False
        steps = np.empty(n)
        steps[0] = stamps[0] - self.time if self.begun else 0.0
        with np.errstate(invalid="ignore"):
            np.subtract(stamps[1:], stamps[:-1], out=steps[1:])
        low, high = float(steps.min()), float(steps.max())
        if not (low >= 0 and stamps[0] > -_LATEST and stamps[-1] < _LATEST):  # NaN is neither
            return False
        rises = steps if low > 0 else steps[steps > 0]
        if high > _LEAST and not (self.intervals and high <= _INTERVALS * min(
                float(rises.min()), *self.intervals)):  # whatever the median was at each of them
            return False
        self.begun = True
        self.intervals = [*self.intervals, *rises[-_KEPT:].tolist()][-_KEPT:]
        self.good += n - 1
        self._believe(int(seq[-1]), float(stamps[-1]), self.unit, float(stamps[-1]))
        return True

    def _next(self, seq: int, stamp: float, unit: int, due: bool, what: str) -> str:
        """Take one sample; what is to be reported of it."""
        self.begun = True
        self.since += 1
        first, step = self.believed == -math.inf, stamp - self.believed
        ahead = max(self._limit(), 2 * self.leap,
                    min(2 * self._interval() * (seq - self.seq), _YEAR))
        if first and math.isfinite(stamp) or 0 <= step <= ahead:
            return self._take(seq, stamp, unit, what)
        if self._is_late(step):
            news, self.late = seq - self.late > _GOOD, seq
            return f"late: {what}{_fault(step)}: the sample takes the time before (more of this " \
                   f"is not reported until {_GOOD:,} are in order)" if news else ""
        if self._is_set(stamp):
            return self._set(seq, stamp, unit)
        usual = self._interval()
        self.time = max(self.time, max(self.time, -usual) + usual if first else
                        self.believed + self.since * usual)
        return self._doubt(f"doubted: {what}{_fault(step)}, so the sample is taken to be of "
                           f"{utc(self.time)}") if due else ""

    def _take(self, seq: int, stamp: float, unit: int, what: str) -> str:
        """Believe a stamp; what is to be reported."""
        event = self._calm(what) if self.told else "" if unit == self.unit else self._limited(
            f"unit: {what} and those like it count {_UNITS[unit]}, and are read so")
        if 0 < stamp - self.believed < math.inf:
            rise = (stamp - self.believed) / max(1, seq - self.seq)
            self.intervals = [*self.intervals, rise][-_KEPT:]
        lead = self.time - stamp  # time ran ahead meanwhile: it waits
        waits = self.believed > -math.inf and 0 < lead <= _INTERVALS * self._interval()
        self._believe(seq, stamp, unit, self.time if waits else stamp)
        return event

    def _is_late(self, step: float) -> bool:
        """Whether a stamp is a little too early, as those of samples out of order are."""
        return (not self.run and self.since <= _LATE <= 2 * len(self.intervals)
                and 0 < -step <= _LATE * self._interval())

    def _doubt(self, sentence: str) -> str:
        """Count a doubted stamp; what is to be reported of it."""
        if not self.run:
            self._limited(sentence)
        self.run, news, self.told = self.run + 1, not self.told, True
        return sentence if news else ""

    def _calm(self, what: str) -> str:
        """What is to be reported of a stamp that is believed after doubted ones."""
        if self.said >= _SAID and self.good < _GOOD:
            return ""  # they come again and again
        self.told = False
        return f"believed again: {what}, after {self.run or 1} samples"

    def _set(self, seq: int, stamp: float, unit: int) -> str:
        """Follow stamps that agree; what is to be reported."""
        gap = 0 < stamp - self.believed <= _WEEK  # one as long is believed the next time
        self.leap = max(self.leap, stamp - self.believed) if gap else self.leap
        event = self._limited(f"{'gap' if gap else 'set'}: {_AGREE} time stamps in a row agree, so "
                             f"event time goes from {utc(self.time)} to {utc(stamp)}")
        self.told &= self.said >= _SAID
        self._believe(seq, stamp, unit, stamp)
        return event

    def _is_set(self, stamp: float) -> bool:
        """Whether a doubted stamp is the third that rises as a clock does."""
        if not math.isfinite(stamp) or self.believed <= self.latest < stamp:
            return False
        rise, self.doubted = stamp - self.doubted, stamp
        self.agree = self.agree + (rise > 0) if self.agree and 0 <= rise <= self._limit() else 1
        self.intervals = [rise] if self.agree == _AGREE else self.intervals
        return self.agree == _AGREE

    def _believe(self, seq: int, stamp: float, unit: int, time: float) -> None:
        self.believed, self.seq, self.since, self.unit, self.time = stamp, seq, 0, unit, time
        self.run, self.agree = 0, 0
        self.good += 1

    def _interval(self) -> float:
        return median_low(self.intervals) if self.intervals else self.period

    def _limit(self) -> float:
        """Seconds that a stamp may lie ahead of the last believed one."""
        return max(_LEAST, _INTERVALS * self._interval()) if self.intervals else _YEAR

    def _limited(self, event: str) -> str:
        """What is reported, unless that was often of late."""
        self.said = 1 if self.good >= _GOOD else self.said + 1
        self.good = 0
        return event if self.said <= _SAID else ""


_KEPT_FIELDS = [f.name for f in fields(StreamClock) if f.name not in _NO_STATE]


def _fault(step: float) -> str:
    """What is wrong with a stamp so many seconds after the last believed one."""
    return (f" goes back by {-step:,.0f} s" if step < 0 else
            f" leaps ahead by {step:,.0f} s" if step < math.inf else "")


def stamps_of(time: Any, n: int | None) -> Rows:
    """Time stamps as numbers, NaN where they cannot be read.

    Parameters
    ----------
    time : float, array, or anything else
    n : int or None
        Samples that they are of; None: as many as there are.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> stamps_of(np.datetime64("1970-01-02"), 2).tolist(), stamps_of("yesterday", 1).tolist()
    ([86400.0, 86400.0], [nan])
    >>> stamps_of(datetime(1970, 1, 2), 1).tolist()  # of UTC, where it does not say
    [86400.0]
    """
    if type(time) is np.ndarray and time.dtype == np.float64 and time.shape == (n,):
        return time  # nearly always
    found = np.full(n or 1, np.nan)
    with suppress(OverflowError, TypeError, ValueError):
        array = np.asarray(time)
        if array.dtype.kind == "O":
            array = np.reshape([_posix(stamp) for stamp in array.flat], array.shape)
        if array.dtype.kind == "M":
            array = np.where(np.isnat(array), np.nan, (
                array.astype("datetime64[us]").astype(np.int64) / 1e6))
        if array.dtype.kind in "fiuO":
            array = array.astype(np.float64)
            found = array if n is None else np.broadcast_to(array, (n,))
    return found


def _posix(stamp: Any) -> Any:
    """A datetime, which is of UTC unless it says otherwise, in seconds from 1970; else the same."""
    if not isinstance(stamp, datetime):
        return stamp
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


def times_of(history: Any, time: Any, period: float) -> Rows:
    """Time of each row of a history, POSIX seconds.

    Parameters
    ----------
    history : array-like or DataFrame of shape (n, d)
    time : array-like of shape (n,) or None
        Default: a DatetimeIndex, else row times period.
    period : float

    Raises
    ------
    ValueError
        When the shape differs, or a time cannot be read.
    """
    index, n = getattr(history, "index", None), len(history)
    if time is None and getattr(getattr(index, "dtype", None), "kind", "") == "M":
        return index.as_unit("ns").asi8 / 1e9  # type: ignore[union-attr]
    if time is None:
        return period * np.arange(n, dtype=np.float64)
    if np.shape(time) != (n,):
        raise ValueError(f"time must have shape ({n},), got {np.shape(time)}")
    seconds, _ = in_seconds(stamps_of(time, n))
    if not np.isfinite(seconds).all():
        raise ValueError(f"time must hold POSIX seconds or datetime64, got "
                         f"{np.asarray(time)[~np.isfinite(seconds)][0]!r}")
    return seconds


def in_seconds(stamps: Rows) -> tuple[Rows, Numbers]:
    """Stamps in seconds, and parts of a second that each counts.

    Dates of 1980 to 2100 in milliseconds, microseconds and nanoseconds are known by their size. NaN
    is what is none, or in no year that can be written.

    Parameters
    ----------
    stamps : ndarray of shape (n,)

    Returns
    -------
    seconds : ndarray of shape (n,)
    units : int ndarray of shape (n,)

    Examples
    --------
    >>> [found.tolist() for found in in_seconds(np.array([1.7e9, 1.7e12, 1e300]))]
    [[1700000000.0, 1700000000.0, nan], [1, 1000, 1]]
    """
    units = np.ones(len(stamps), np.int64)
    if not (np.abs(stamps) < _LATEST).all():
        for per in sorted(PER.values())[1:]:
            units[(stamps >= SINCE * per) & (stamps <= UNTIL * per)] = per
        stamps = stamps / units
        stamps = np.where(np.abs(stamps) < _LATEST, stamps, np.nan)
    return stamps, units
