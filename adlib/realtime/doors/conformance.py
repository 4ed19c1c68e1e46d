"""Checks for sources and receivers written outside adlib: every broken promise in one message."""

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np

from adlib.realtime.channels import Channel, Outcome, attribute_faults
from adlib.realtime.events import Incident, IncidentEvent
from adlib.realtime.sources import Source, opened
from adlib.realtime.store import OutboxRow
from adlib.realtime.windows import Sample


class _Findings(list[str]):
    """What is wrong, collected until all is known."""

    def expect(self, holds: Any, promise: str) -> bool:
        if not holds:
            self.append(promise)
        return bool(holds)

    def report(self, what: Any) -> None:
        if self:
            name = (what if isinstance(what, type) else type(what)).__name__
            raise AssertionError("\n".join([f"{name} breaks these promises:", *(
                f"* {promise}" for promise in dict.fromkeys(self))]))


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine's result, also where an event loop runs already, as in a notebook."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


# -- sources ------------------------------------------------------------------------------------


def check_source(source_factory: Callable[[], Source], *, rows: int = 1_000,
                 timeout: float = 10.0) -> None:
    """Check what `Source` promises; raise everything that is broken at once.

    Parameters
    ----------
    source_factory : callable
        Called without arguments, several times: a new `Source` over the same samples each time.
    rows : int
        At most so many are looked at, so that a source without an end can be checked.
    timeout : float
        Seconds to wait for the next sample, before the source counts as ended.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> class Backwards:
    ...     async def samples(self, *, features=None, position=-1):
    ...         for seq in (3, 2):
    ...             yield Sample(seq, None, [1.0])
    >>> check_source(Backwards)
    Traceback (most recent call last):
    AssertionError: Backwards breaks these promises:
    * samples come in the order of their numbers: 2 came after 3
    """
    if not callable(source_factory):
        raise TypeError(f"source_factory must be callable, such as the class of the source or "
                        f"lambda: {type(source_factory).__name__}(...), got {source_factory!r}")
    found, source = _Findings(), source_factory()
    if found.expect(callable(getattr(source, "samples", None)),
                    "it has a method samples(features=None, position=-1)"):
        try:
            taken, position, mark = _run(_take(source, rows, timeout))
            _check_samples(taken, found)
            found.expect(_is_plain(mark), "a bookmark is plain JSON types")
            if not found and position is not None:
                again, *_ = _run(_take(source_factory(), rows, timeout, position, mark))
                _check_again(taken, again, position, found)
        except Exception as error:
            found.append(f"it can be read: {type(error).__name__}: {error}")
    found.report(source)


async def _take(source: Source, rows: int, timeout: float, position: int = -1, mark: Any = None
                ) -> tuple[list[Any], int | None, Any]:
    """Samples after ``position``, a number in their middle, and the bookmark of that.

    Acknowledged are those up to the middle, as after a commit; without numbers, all.
    """
    taken: list[Any] = []
    if mark is not None:
        source.resume(mark)  # type: ignore[attr-defined]  # it gave one
    async with aclosing(opened(source, None, position)) as samples:
        while sum(map(_length, taken)) < rows:
            try:
                taken.append(await asyncio.wait_for(anext(samples), timeout))
            except (StopAsyncIteration, TimeoutError):
                break
        numbers = [n for sample in taken for n in _numbers(sample)]
        middle = numbers[len(numbers) // 2] if numbers else None
        for sample in taken:
            last = max(_numbers(sample), default=-1)
            if getattr(sample, "ack", None) is not None and last <= (middle or 0):
                await _acknowledge(sample.ack)
        if middle is not None and hasattr(source, "bookmark"):
            mark = source.bookmark(middle)
    return taken, middle, mark


async def _acknowledge(ack: Any) -> None:
    done = ack() if callable(ack) else None
    if not inspect.isawaitable(done):
        raise TypeError("ack must be a coroutine function without arguments, or None")
    await done


def _numbers(sample: Any) -> range:
    """Of its rows; none where it brings no number."""
    seq = getattr(sample, "seq", None)
    return range(seq, seq + _length(sample)) if isinstance(seq, int | np.integer) else range(0)


def _length(sample: Any) -> int:
    values = getattr(sample, "values", "")
    return 1 if isinstance(values, str) or np.ndim(values) < 2 else len(values)


def _check_samples(taken: Sequence[Any], found: _Findings) -> None:
    found.expect(taken, "it yields a sample")
    last = None
    for sample in taken:
        if not found.expect(isinstance(sample, Sample), "it yields objects of adlib.realtime."
                            f"Sample, got {type(sample).__name__}"):
            continue
        if sample.seq is not None:
            if isinstance(sample.seq, bool) or not isinstance(sample.seq, int | np.integer):
                found.append(f"seq is a whole number or None, got {sample.seq!r}")
                break
            if not found.expect(last is None or sample.seq > last, "samples come in the order of "
                                f"their numbers: {sample.seq} came after {last}"):
                break
            last = sample.seq + _length(sample) - 1
        _check_rows_of(sample, found)
    numbered = {sample.seq is not None for sample in taken if isinstance(sample, Sample)}
    found.expect(len(numbered) < 2, "all samples have a number, or none has")


def _check_rows_of(sample: Sample, found: _Findings) -> None:
    """Values, times and entities of one sample."""
    if not isinstance(sample.values, str):  # text is poison, which is allowed
        values = np.asarray(sample.values)
        found.expect(values.dtype.kind in "fiub" and values.ndim in (1, 2) and values.size,
                     "values are numbers of shape (d,) or (k, d), or text that cannot be read")
    shape = np.shape(sample.time)
    found.expect(sample.time is None or shape in ((), (_length(sample),)),
                 f"time is None, a number or one for each row, got shape {shape}")
    names = sample.entity if isinstance(sample.entity, str | None) else [*sample.entity]
    found.expect(not isinstance(names, list) or len(names) == _length(sample) and all(
        isinstance(name, str | None) for name in names),
                 f"entity is None, a text or one for each row, got {names!r:.40}")
    time = np.asarray(0.0 if sample.time is None else sample.time)
    found.expect(time.dtype.kind in "fiu",
                 f"times are numbers, POSIX seconds, got {str(sample.time):.40}")


def _check_again(taken: Sequence[Sample], later: Sequence[Sample], position: int,
                 found: _Findings) -> None:
    """Nothing after a committed position is missing, and it is what it was."""
    known, again = _by_number(taken), _by_number(later)
    for seq in sorted(seq for seq in known if seq > position):
        if not found.expect(seq in again, f"position={position} leaves out nothing after it: "
                            f"{seq} is missing"):
            break
        if not found.expect(known[seq] == again[seq],
                            f"a number means the same sample whenever it comes: {seq} changed"):
            break


def _by_number(taken: Sequence[Sample]) -> dict[int, str]:
    found = {}
    for sample in taken:
        if isinstance(sample.values, str):
            found[int(sample.seq or 0)] = sample.values
            continue
        for k, row in enumerate(np.atleast_2d(np.asarray(sample.values, dtype=np.float64))):
            of = sample.entity if isinstance(sample.entity, str | None) else sample.entity[k]
            found[int(sample.seq or 0) + k] = repr((row.tolist(), of))
    return found


# -- receivers ----------------------------------------------------------------------------------


def check_channel(channel: Channel) -> None:
    """Check what `Channel` promises, and send one test message; raise everything that is broken.

    Parameters
    ----------
    channel : Channel
        Its receiver gets one message about an incident of the stream "check", and must take it;
        one that ``resolves`` gets the close too, so that nothing stays open there.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> class Deaf:
    ...     name, batch = "deaf", 0
    >>> check_channel(Deaf())
    Traceback (most recent call last):
    AssertionError: Deaf breaks these promises:
    * timeout is a number of seconds above 0
    * batch is a whole number of messages, at least 1
    * it has a method rows
    * it has a coroutine method send
    * it has a coroutine method close
    """
    found = _Findings()
    found += attribute_faults(channel)
    found.expect(callable(getattr(channel, "rows", None)), "it has a method rows")
    for method in ("send", "close"):
        found.expect(inspect.iscoroutinefunction(getattr(channel, method, None)),
                     f"it has a coroutine method {method}")
    if not found:
        rows = _check_rows(channel, found)
        if not found:
            _run(_check_send(channel, rows, found))
    found.report(channel)


def _check_rows(channel: Channel, found: _Findings) -> list[OutboxRow]:
    incident = Incident("check|combined|0", "check", 0, 99, 1.7e9, 1.7e9, None, "critical", 0.95, 3,
                        (("temperature", 0.7),), "open", False)
    events = [IncidentEvent("open", incident, 1.7e9, True, 0), IncidentEvent(
        "close", replace(incident, state="closed", closed_at=1.7e9), 1.7e9, True, 1)]
    events = events[:1 + getattr(channel, "resolves", False)]
    try:
        rows, again = list(channel.rows(events, [])), list(channel.rows(events, []))
    except Exception as error:
        found.append(f"rows takes events and verdicts: {type(error).__name__}: {error}")
        return []
    found.expect(rows, "rows gives a message for an event that people are notified of")
    found.expect(rows == again, "rows is pure: the same events give the same messages")
    if found.expect(all(isinstance(row, OutboxRow) for row in rows), "rows yields OutboxRow"):
        ids = [row.id for row in rows]
        found.expect(len(set(ids)) == len(ids), "messages have distinct ids")
        found.expect(all(row.channel == channel.name for row in rows),
                     f"messages are for the channel {channel.name!r}")
        found.expect(all(_is_plain(row.body) for row in rows), "bodies are plain JSON types")
    return rows


def _is_plain(body: Any) -> bool:
    try:
        return json.loads(json.dumps(body, allow_nan=False)) == json.loads(json.dumps(body))
    except (TypeError, ValueError):
        return False


async def _check_send(channel: Channel, rows: list[OutboxRow], found: _Findings) -> None:
    batches = [[row] for row in rows] if getattr(channel, "resolves", False) else [
        rows[:channel.batch]]
    try:
        for batch in batches:
            async with asyncio.timeout(channel.timeout + 1):
                outcomes = await channel.send(batch)
            if found.expect(isinstance(outcomes, list) and len(outcomes) == len(batch)
                            and all(isinstance(outcome, Outcome) for outcome in outcomes),
                            "send returns a list with an Outcome for each message"):
                for outcome in outcomes:
                    found.expect(outcome.state == "sent", f"the receiver takes the test message: "
                                 f"{outcome.state}, {outcome.detail}")
    except TimeoutError:
        found.append(f"send returns within timeout={channel.timeout:g} seconds")
    except Exception as error:
        found.append(f"send raises nothing that it can foresee: {type(error).__name__}: {error}")
    try:
        await channel.close()
        await channel.close()
    except Exception as error:
        found.append(f"close can be called twice: {type(error).__name__}: {error}")
