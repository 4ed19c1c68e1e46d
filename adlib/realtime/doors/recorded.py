"""Recorded rows as a stream: as fast as they are taken, or at the pace of the recording."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import floats, number, times, whole
from adlib.realtime.clock import StreamClock, stamps_of
from adlib.realtime.windows import Sample, part_of


def replay(values: ArrayLike, time: ArrayLike | None = None, *, speed: float | None = None,
           first: int = 0) -> AsyncIterator[Sample]:
    """Recorded rows as a stream.

    Parameters
    ----------
    values : array-like of shape (n_samples, n_features)
    time : array-like of shape (n_samples,), optional
        POSIX seconds, or datetime64 (UTC). Default: none.
    speed : float, optional
        Seconds of ``time`` per second of yours (without ``time``: rows per second); None: as fast
        as the consumer takes them.
    first : int
        Sequence number of the first row.

    Returns
    -------
    async iterator of Sample

    Raises
    ------
    ValueError
        When a shape or the speed is out of range; the message names it.

    Examples
    --------
    >>> async def numbers():
    ...     return [sample.seq async for sample in replay(np.zeros((100, 2)), first=7)]
    >>> asyncio.run(numbers())
    [7]
    """
    values = floats(values, "values")
    first = whole(first, "first", 0)
    if values.ndim != 2:
        raise ValueError(f"values must have shape (n_samples, n_features), got {values.shape}")
    stamps = None
    if time is not None:
        dated = getattr(getattr(time, "dtype", None), "kind", "") == "M"
        stamps = floats(time, "time") if not dated else (
            times(time, "time") - np.datetime64(0, "s")) / np.timedelta64(1, "s")
        if stamps.shape != values.shape[:1]:
            raise ValueError(f"time must have shape {values.shape[:1]}, got {stamps.shape}")
    if speed is not None:
        number(speed, "speed", above=0)

    async def rows() -> AsyncIterator[Sample]:
        if len(values):
            yield Sample(first, stamps, values)

    return paced(rows(), speed)


async def paced(samples: AsyncIterator[Sample], speed: float | None) -> AsyncIterator[Sample]:
    """Each row when its time has come; rows that are due together stay together."""
    loop = asyncio.get_running_loop()
    zero, after, clock = None, 0, StreamClock()
    async for sample in samples:
        if speed is None:
            yield sample
            continue
        rows = np.atleast_2d(sample.values) if not isinstance(sample.values, str) else None
        n = 1 if rows is None else len(rows)
        first = after if sample.seq is None else sample.seq
        after = first + n
        stamps = stamps_of(np.arange(first, after) if sample.time is None else sample.time, n)
        every = np.ones(n, bool)  # a stamp in the year 2100 is not waited for
        due = clock.follow(np.arange(first, after), stamps, every, every, every)[0] / speed
        if zero is None:
            zero = loop.time() - due[0]
        at = 0
        while at < n:
            if (wait := due[at] + zero - loop.time()) > 0:  # not so for NaN
                await asyncio.sleep(wait)
            late = np.flatnonzero(~(due[at:] + zero <= loop.time()))
            end = at + max(int(late[0]) if len(late) else n - at, 1)
            yield sample if rows is None else Sample(
                None if sample.seq is None else first + at,
                None if sample.time is None else sample.time[at:end], rows[at:end],
                entity=part_of(sample.entity, at, end))
            at = end
