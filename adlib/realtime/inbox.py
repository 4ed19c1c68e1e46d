"""Samples that wait for the engine, bounded in number."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np

from adlib.realtime.clock import stamps_of
from adlib.realtime.counters import Counters
from adlib.realtime.members import cancelled
from adlib.realtime.windows import Sample, labels_of, part_of

_TURN = 64  # samples between two looks at what else there is to do


class Inbox:
    """Samples that wait, bounded in number; what happens when it is full is a policy.

    Numbers of the source get ``source["offset"]`` added; where that is None, the first one shall be
    ``first``.
    """

    def __init__(self, limit: int, overflow: str, metrics: Counters, first: int,
                 source: dict[str, Any]):
        self.limit, self.overflow, self.metrics, self.next = limit, overflow, metrics, first
        self.source, self.arrived = source, time.monotonic()  # of the last sample
        self.samples: deque[tuple[Sample, float]] = deque()  # with their time of arrival
        self.lost: list[Sample] = []
        self.rows, self.closed = 0, False
        self.dropped = self.message = 0  # rows that were lost, and rows of the last sample
        self.gap = 0.0  # the longest wait for a sample of late, seconds
        self.wanted = 1  # rows that the consumer waits for
        self.fault: BaseException | None = None
        self.ready, self.space = asyncio.Event(), asyncio.Event()
        metrics.queue.set_function(lambda: self.rows)  # asked when it is read, not set for each row

    def touch(self) -> None:
        """The source is alive, and has nothing for this engine."""
        self.arrived = time.monotonic()

    async def fill(self, source: AsyncIterator[Any], most: int) -> None:
        try:
            n = 0
            async for item in source:
                for sample in self._pieces(item, min(most, self.limit)):
                    await self._put(sample)
                    if (n := n + 1) % _TURN == 0:  # a source that never waits starves all others
                        await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            self.fault = error if cancelled() else RuntimeError("the source was cancelled")
        except Exception as error:  # raised in the consumer once what came before is judged
            self.fault = error
        finally:
            self.closed = True
            self.ready.set()

    def _pieces(self, item: Any, most: int) -> Iterable[Sample]:
        sample = item if isinstance(item, Sample) else Sample(None, None, item)
        seq, n = self.next, length_of(sample)
        if sample.seq is not None:
            if self.source["offset"] is None:
                self.source["offset"] = seq - int(sample.seq)
            seq = int(sample.seq) + self.source["offset"]
        if seq < 0:
            raise ValueError(f"seq must be at least 0, the number of a stream's first sample, got "
                             f"{sample.seq}")
        self.next = seq + n
        if n <= most:
            return (sample if sample.seq == seq else
                    Sample(seq, sample.time, sample.values, sample.ack, sample.entity),)
        rows: Any = sample.values
        stamps = None if sample.time is None else stamps_of(sample.time, n)
        return [Sample(seq + at, None if stamps is None else stamps[at:at + most],
                       rows[at:at + most], sample.ack if at + most >= n else None,
                       part_of(sample.entity, at, at + most))
                for at in range(0, n, most)]

    async def _put(self, sample: Sample) -> None:
        n = length_of(sample)
        while self.rows and self.rows + n > self.limit:
            if self.overflow == "block":
                self.space.clear()
                await self.space.wait()
                continue
            drop = sample if self.overflow == "drop_newest" else self.samples.popleft()[0]
            self.metrics.dropped.inc(length_of(drop))
            self.dropped += length_of(drop)
            self._lose(drop)
            if drop is sample:
                return
            self.rows -= length_of(drop)
        self.samples.append((sample, time.perf_counter()))
        self.gap = max(0.9 * self.gap, time.monotonic() - self.arrived)
        self.arrived, self.message = time.monotonic(), n
        self.rows += n
        if self.rows >= self.wanted:
            self.ready.set()

    def _lose(self, sample: Sample) -> None:
        """Remember what was dropped; neighbours become one, or overload would fill the memory."""
        before, n = self.lost[-1] if self.lost else None, length_of(sample)
        names = None if sample.entity is None else labels_of(sample.entity, n)  # who has a gap
        if (before is not None and not before.ack and last_of(before) + 1 == sample.seq
                and (before.entity is None) == (names is None)):
            known: Any = before.entity  # a list of ours, which grows in place
            if names is not None:
                known += names
            rows = np.empty((length_of(before) + n, 0))
            self.lost[-1] = Sample(before.seq, before.time, rows, sample.ack, known)
        else:
            rows = np.empty((n, 0))  # how many, not what they were
            self.lost.append(Sample(sample.seq, sample.time, rows, sample.ack, names))

    async def _wait(self, wanted: int, seconds: float | None) -> None:
        """Until so many rows are there, the source has ended, or the time is over."""
        self.wanted = wanted
        if self.rows < wanted and not self.closed:
            self.ready.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for may lose a cancellation
                    await self.ready.wait()

    async def take(self, most: int, patience: float, longest: float | None = None
                   ) -> tuple[list[Sample], list[Sample], float, bool]:
        """Up to ``most`` rows, what was dropped since the last call, the time of the first arrival,
        and whether these were the last.

        The first sample waits ``patience`` seconds for company; without any, nothing comes out
        after ``longest`` seconds.
        """
        await self._wait(1, longest)
        if self.samples and (left := self.samples[0][1] + patience - time.perf_counter()) > 0:
            await self._wait(min(most, self.limit), left)
        taken: list[Sample] = []
        rows = 0
        first = self.samples[0][1] if self.samples else time.perf_counter()
        while self.samples and (not taken or rows + length_of(self.samples[0][0]) <= most):
            taken.append(self.samples.popleft()[0])
            rows += length_of(taken[-1])
        self.rows -= rows
        self.space.set()
        lost, self.lost = self.lost, []
        return taken, lost, first, self.closed and not self.samples

    def raise_fault(self) -> None:
        if self.fault is not None:
            raise self.fault


def length_of(sample: Sample) -> int:
    try:
        shape = getattr(sample.values, "shape", None) or np.shape(sample.values)
    except ValueError:  # ragged: the windows will call it poison
        return 1
    return max(int(shape[0]), 1) if len(shape) == 2 else 1


def last_of(sample: Sample) -> int:
    return int(sample.seq or 0) + length_of(sample) - 1
