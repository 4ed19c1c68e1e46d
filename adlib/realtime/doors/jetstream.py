"""NATS JetStream as a source."""

import asyncio
import logging
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy as np

from adlib.arguments import require_extra
from adlib.reading.records import Record, Records, shown
from adlib.realtime.doors.records import Arrivals, ReadingSource, grouped, positive
from adlib.realtime.sources import masked
from adlib.realtime.windows import Sample

log = logging.getLogger(__name__)

_PLACE = "{partition}"  # in a subject: the server has divided the stream
PATIENCE = 5.0  # seconds without a message until the consumer is looked after
_FETCH = 500  # messages asked for at once
_UNACKNOWLEDGED = 20_000  # messages under way; the server then waits


class JetStreamSource(ReadingSource):
    """A stream of NATS JetStream, through a durable pull consumer.

    Every sample comes at least once, in order, and each number once per process. Messages are
    acknowledged once their effects are committed (`Sample.ack`), so a crash costs nothing. What a
    process had taken when it died is given again by the server only after ``ack_wait``, and
    meanwhile its successors arrive: this source reads the missing numbers straight from the stream,
    so they come in their order and no gap opens. Numbers that the stream no longer holds (limits,
    deleted messages) are gaps. One durable consumer per engine: two share the acknowledgements. A
    stream that is deleted and made anew counts from 1 again: give the engine another name.

    ``partition=4`` divides the entities among four engines (`adlib.realtime.doors.partitions`):
    each reads the whole stream and keeps what is of its own, or, with ``{partition}`` in the
    subject, what the server's subject mapping has put there, such as
    ``plant.*: plant.{{partition(4,1)}}.{{wildcard(1)}}``.
    """

    separator = "."

    def __init__(self, spec: str):
        self.nats = require_extra("nats", "nats")
        for part in ("errors", "js.api", "js.errors"):
            require_extra(f"nats.{part}", "nats")
        super().__init__(spec, {"durable", "format", "ack_wait", "partition", "lease"})
        url, options = self.rest, self.options
        parts = urlsplit(url)
        path = [unquote(part) for part in parts.path.split("/") if part]
        if not parts.hostname or len(path) not in (1, 2):
            raise ValueError(f"source must read nats://host:port/STREAM/SUBJECT, got "
                             f"{masked(url)!r}")
        self.server, self.shown = f"{parts.scheme}://{parts.netloc}", masked(url)
        self.stream, self.subject = path[0], path[1] if len(path) == 2 else ">"
        if self.entity_in(self.subject) is None and self._part and ">" not in self.subject:
            raise ValueError(f"entity=subject:{self._part} needs a subject with that many parts, "
                             f"got {self.subject!r}")
        self.identity = f"nats:{self.stream}/{self.subject}"  # wherever the server is now
        self.durable = options.get("durable", "adlib")
        if re.search(r"[\s.*>/\\]", self.durable) or not self.durable:
            raise ValueError(f"durable must be a name without blanks, dots, *, > and slashes, got "
                             f"{self.durable!r}")
        self.format = options.get("format", "json")
        if self.format not in ("json", "float64"):
            raise ValueError(f"format must be json or float64, got {self.format!r}")
        self.ack_wait = positive(options, "ack_wait", 30.0)
        self.heard: Callable[[], Any] = int  # where another partition's message has come
        self._divide(options)

    def _divide(self, options: Mapping[str, str]) -> None:
        """Read into how many parts the stream is divided."""
        self.lease = positive(options, "lease", 10.0) or 0.0
        self.partitions = int(positive(options, "partition") or 0)
        self.part: int | None = None
        self._told_apart = _PLACE in self.subject
        if options.get("partition", str(self.partitions)) != str(self.partitions) or (
                self._told_apart and not self.partitions):
            raise ValueError(f"partition must be a whole number of parts above 0, which {_PLACE} "
                             f"in a subject needs, got {options.get('partition')!r}")

    def divided(self, part: int) -> Self:
        """One partition of the stream."""
        one = copy(self)
        one.part, one.durable = part, f"{self.durable}-{part}"
        one.subject = self.subject.replace(_PLACE, str(part))
        one.identity = f"nats:{self.stream}/{one.subject}"
        return one

    def holds(self, entity: str | None) -> bool:
        """Whether an entity is of this partition; one that the server divides holds its own."""
        name = (entity or "").encode(errors="surrogatepass")
        return self.part is None or self._told_apart or (
            zlib.crc32(name) % self.partitions == self.part)

    async def connect(self) -> Any:
        """A client of the server."""
        return await _cancellable(self.nats.connect(
            self.server, max_reconnect_attempts=-1, reconnect_time_wait=0.5,
            error_cb=self.report))

    async def probe(self) -> str:
        """Whether the server, the login and the stream are there."""
        client = await self.connect()
        try:
            info = await self.info(client.jetstream())
        finally:
            await client.close()
        return f"stream {self.stream} holds {info.state.messages:,} messages"

    async def info(self, js: Any) -> Any:
        """What the server says of the stream; ValueError where there is none, or it holds more."""
        try:
            info = await js.stream_info(self.stream)
        except self.nats.js.errors.NotFoundError:
            raise ValueError(f"there is no stream {self.stream!r} at {self.shown}") from None
        other = [s for s in info.config.subjects or () if not _covers(self.subject, s)]
        if other and not self.partitions:
            raise ValueError(f"stream {self.stream!r} also holds {', '.join(other)}, so the "
                             f"numbers of {self.subject!r} have gaps; make a stream of its own "
                             f"for it (one that sources it from {self.stream!r} will do)")
        return info

    async def report(self, error: Exception) -> None:
        """Log what the client met."""
        log.warning("%s: %s", self.shown, f"{type(error).__name__}: {error}".rstrip(": "))

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Messages after ``position``, or those that the consumer has not acknowledged."""
        if self.partitions and self.part is None:
            raise ValueError("partition shares a stream among processes, each with its engines: "
                             "start it with python -m adlib.realtime run")
        if self.partitions and not self._part and self.reading.entity_column is None:
            raise ValueError("partition divides a stream by its entities: add entity=subject:2, or "
                             "entity=NAME of a field")
        return _Consumer(self, self.records(features), position).samples()


class _Consumer:
    """One run through a stream: what was handed over, and what was acknowledged."""

    def __init__(self, source: JetStreamSource, records: Records, position: int):
        self._of, self._nats, self._position = source, source.nats, position
        self._read = records.message if source.format == "json" else _doubles
        self._born: datetime | None = None
        self._arrivals = Arrivals()
        self._next, self._taken = 0, -1
        self._empty = position < 0  # whether no entity of its own was ever seen
        # messages that were handed over and not acknowledged; None for what was read directly
        self._open: dict[int, Any] = {}

    async def samples(self) -> AsyncIterator[Sample]:
        client = await self._of.connect()
        try:
            self._js = client.jetstream()
            await _cancellable(self._prepare())
            subscription = await _cancellable(
                self._js.pull_subscribe_bind(self._of.durable, self._of.stream))
            while True:
                while self._next <= self._taken:  # with nobody: do not wait for the server
                    end = min(self._next + _FETCH, self._taken + 1)
                    for sample in grouped(await self._up_to(end), acknowledge=self._acknowledge):
                        yield sample
                try:
                    messages = await _cancellable(subscription.fetch(_FETCH, timeout=PATIENCE))
                except TimeoutError:  # the builtin one too; a consumer that was deleted is silent
                    await self._persist(self._prepare)
                    continue
                except self._nats.errors.ConnectionClosedError:
                    raise
                except self._nats.errors.Error as error:
                    await self._of.report(error)
                    await asyncio.sleep(0.5)
                    continue
                for sample in grouped(await self._take(messages), acknowledge=self._acknowledge):
                    yield sample
        finally:
            with suppress(Exception):  # acknowledgements that still wait to be sent
                await client.flush(1)
            await _cancellable(client.close())

    async def _prepare(self) -> None:
        """See that stream and consumer are there, and the same as before."""
        errors, api = self._nats.js.errors, self._nats.js.api
        info = await self._of.info(self._js)
        first = self._born is None
        done = self._position if self._born is None else -1
        if self._born not in (None, info.created) or info.state.last_seq < done:
            raise ValueError(f"stream {self._of.stream!r} was created again, so its numbers start "
                             f"again: give the engine another name")
        self._born = info.created
        try:
            consumer = await self._js.add_consumer(self._of.stream, api.ConsumerConfig(
                durable_name=self._of.durable, filter_subject=self._of.subject,
                ack_policy=api.AckPolicy.EXPLICIT, ack_wait=self._of.ack_wait,
                max_ack_pending=_UNACKNOWLEDGED))
        except (errors.BadRequestError, errors.ServerError) as error:
            raise ValueError(f"durable {self._of.durable!r} of stream {self._of.stream!r} is "
                             f"another kind of consumer ({error.description}); choose another name"
                             ) from None
        if first:
            floor = consumer.ack_floor.stream_seq  # in a partition also behind the last of its own
            self._next = (done if done >= 0 and self._of.part is None else max(done, floor)) + 1
        self._taken = consumer.delivered.stream_seq  # some by a process that is no more

    async def _persist(self, attempt: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Try until it works: the server may be down."""
        while True:
            try:
                return await _cancellable(attempt(*args))
            except self._nats.errors.ConnectionClosedError:
                raise
            except (TimeoutError, self._nats.errors.Error) as error:
                await self._of.report(error)
                await asyncio.sleep(0.5)

    async def _take(self, messages: Iterable[Any]) -> list[tuple[int, Record]]:
        """Records that follow on what was handed over; the stream is asked for missing ones."""
        found: list[tuple[int, Record]] = []
        for message in sorted(messages, key=_number_of):
            seq = _number_of(message)
            if seq < self._next:  # delivered again: there is one more way to acknowledge it
                if seq in self._open:
                    self._open[seq] = message
                else:
                    await self._confirm(message)
                continue
            found += await self._up_to(seq)
            self._open[seq], self._next = message, seq + 1
            found += await self._held(seq, _stored_at(message), message)
        return found

    async def _up_to(self, end: int) -> list[tuple[int, Record]]:
        """Records before ``end``, read from the stream."""
        found: list[tuple[int, Record]] = []
        while self._next < end:
            found += await self._persist(self._missing, end)
        return found

    async def _missing(self, end: int) -> list[tuple[int, Record]]:
        """The next message before ``end``, which some earlier process may have taken."""
        try:
            raw = await self._js.get_msg(self._of.stream, seq=self._next, subject=self._of.subject,
                                         next=True)
        except self._nats.js.errors.NotFoundError:
            self._next = end
            return []
        if raw.seq >= end:
            self._next = end
            return []
        self._open[raw.seq], self._next = None, raw.seq + 1
        since = (raw.time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        return await self._held(raw.seq, since / 1e6, raw)

    async def _held(self, seq: int, stored_at: float, message: Any) -> list[tuple[int, Record]]:
        """The record of a message, if it is of this partition; else it is acknowledged."""
        subject = str(message.subject)
        if (entity := self._of.entity_in(subject)) is None or self._of.holds(entity):
            record = self._record(seq, stored_at, message.data or b"", subject)
            if self._of.holds(record[1].entity):
                self._empty = False
                return [record]
        if self._empty:
            self._of.heard()
        await self._acknowledge([seq])
        return []

    def _record(self, seq: int, stored_at: float, data: bytes,
                subject: str = "") -> tuple[int, Record]:
        record = self._read(data)
        if (entity := self._of.entity_in(subject)) is not None:
            record = record._replace(entity=entity)
        return seq, self._arrivals.stamped(record, stored_at)

    async def _acknowledge(self, numbers: Sequence[int]) -> None:
        for seq in numbers:
            message = self._open.pop(seq, None)
            if message is not None:
                await self._confirm(message)

    async def _confirm(self, message: Any) -> None:
        # while the server is away, this fails or is lost: the message is then delivered again
        with suppress(self._nats.errors.Error):
            await message.ack()


async def _cancellable(work: Awaitable[Any]) -> Any:
    """Await what awaits `asyncio.wait_for`: that swallows a cancellation which comes together with
    a result (Python 3.11), and who cancelled would then wait for ever.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may ask
    try:
        await asyncio.wait([task])
        return task.result()
    finally:
        task.cancel()


def _number_of(message: Any) -> int:
    return message.metadata.sequence.stream


def _stored_at(message: Any) -> float:
    """When the stream stored it, POSIX seconds to the microsecond, as `get_msg` gives it too."""
    tokens = message.reply.split(".")  # the metadata's own time went through a rounded float
    return int(tokens[7 if len(tokens) == 9 else 9]) // 1000 / 1e6


def _doubles(data: bytes) -> Record:
    return Record(None, np.frombuffer(data, "<f8").tolist() if len(data) % 8 == 0 else shown(data))


def _covers(pattern: str, subject: str) -> bool:
    """Whether every subject that ``subject`` stands for matches ``pattern``."""
    wanted, given = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i == len(given) or given[i] == ">" or token not in ("*", given[i]):
            return False
    return len(wanted) == len(given)
