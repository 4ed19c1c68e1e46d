"""Where samples come from: a CSV file, standard input, NATS JetStream, or arrays.

Every source is an async iterator of `Sample` for `RealTimeAnomalyDetector.process_stream`. Rows
that are there together come together, as one sample of several rows: that is faster, and the
windows are the same. What cannot be read is handed on as text: the engine reports it as poison, and
it keeps its place in the stream.
"""

import asyncio
import json
import logging
import math
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from csv import Error as CsvError
from csv import reader as csv_reader
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import floats, instance, listed, number, times, whole
from adlib.realtime.windows import Sample

log = logging.getLogger(__name__)

_TIMES = ("time", "timestamp")  # names under which a record may bring its time
_SHOWN = 100  # characters of a poisoned record that are kept
_CHUNK = 1 << 16  # bytes read at once
_FETCH = 500  # messages asked for at once
_PATIENCE = 5.0  # seconds without a message until the consumer is looked after
_UNACKNOWLEDGED = 20_000  # messages under way; the server then waits
_OPTIONS = {"csv": {"time", "speed"}, "stdin": {"time"},
            "nats": {"durable", "format", "time", "ack_wait"}}


def source(spec: str, *, features: Sequence[str] | None = None,
           position: Callable[[], int] | None = None) -> AsyncIterator[Sample]:
    """Samples from where ``spec`` says.

    ``csv:PATH?speed=60&time=NAME``
        A file of comma, semicolon or tab separated values with a header, or of JSON lines. Rows are
        numbered from 0, so a run that starts again skips what it has committed. ``speed`` plays
        them in time, here 60 times as fast as they were recorded; by default as fast as possible.
    ``stdin?time=NAME``
        The same formats. What arrives is new: it goes on after the last committed sample.
    ``nats://[user:password@]host:port/STREAM/SUBJECT?durable=NAME&format=json|float64&time=NAME``
        One sample per message of a JetStream stream, numbered by the stream: see `Notes`. ``tls://``
        for an encrypted connection; ``ack_wait`` is in seconds (30 by default).

    A record is a list of numbers, an object by feature name, a CSV row, or (``format=float64``) the
    bytes of little-endian doubles. ``null`` and an empty cell are missing values. The time is the
    key or column ``time`` or ``timestamp`` or what ``?time=`` names: POSIX seconds or ISO 8601
    (UTC unless it says otherwise). A NATS message without one has the time at which it was stored.

    Parameters
    ----------
    spec : str
    features : sequence of str, optional
        Order of the values of objects and tables, such as an engine's ``features_``; other keys and
        columns are left alone. Default: all of the first record but its time, in its order.
    position : callable, optional
        Asked when the stream begins for the number of the last committed sample
        (``lambda: engine.position``); a NATS stream is then read from there, whatever its consumer
        has heard. Default: the consumer's word.

    Returns
    -------
    async iterator of Sample
        Close it (``contextlib.aclosing``) to give connections back at once.

    Raises
    ------
    ValueError
        For a spec that cannot be read; later for a table without one of ``features``, and for a
        stream that does not exist, holds other subjects too, or was made anew.
    FileNotFoundError
    ImportError
        For ``nats://`` without nats-py.

    Notes
    -----
    From JetStream every sample comes at least once, in order, and each number once per process.
    The consumer is durable and messages are acknowledged once their effects are committed
    (`Sample.ack`), so a crash costs nothing. What a process took to its grave is given again by the
    server only after ``ack_wait``, and meanwhile its successors arrive: this source reads the
    missing numbers straight from the stream, so they come in their order and no gap opens. Numbers
    that the stream no longer holds (limits, deleted messages) are gaps. One durable consumer per
    engine: two share the acknowledgements. A stream that is deleted and made anew counts from 1
    again: give the engine another name.

    Examples
    --------
    >>> import tempfile
    >>> async def first(spec):
    ...     async for sample in source(spec, features=["b", "a"]):
    ...         return sample.seq, sample.time.tolist(), sample.values.tolist()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "rig.csv"
    ...     _ = path.write_text("time,a,b\\n0,1,10\\n1,2,\\n")
    ...     asyncio.run(first(f"csv:{path}"))
    (0, [0.0, 1.0], [[10.0, 1.0], [nan, 2.0]])
    """
    kind, rest, options = _parse(spec)
    records = _Records(features, options.get("time"))
    if kind == "csv":
        path = Path(rest)
        if not path.is_file():
            raise FileNotFoundError(f"no file to read samples from: csv:{rest}")
        speed = _positive(options, "speed") if "speed" in options else None
        return _paced(_table(partial(open, path, "rb"), records, numbered=True), speed)
    if kind == "stdin":
        return _table(lambda: sys.stdin.buffer, records, numbered=False)
    return _JetStream(rest, options, records, position or (lambda: -1)).samples()


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
    if time is not None:
        kind = getattr(getattr(time, "dtype", None), "kind", "")
        time = times(time, "time") if kind == "M" else floats(time, "time")
        if time.dtype.kind == "M":
            time = (time - np.datetime64(0, "s")) / np.timedelta64(1, "s")
        if time.shape != values.shape[:1]:
            raise ValueError(f"time must have shape {values.shape[:1]}, got {time.shape}")
    if speed is not None:
        number(speed, "speed", above=0)

    async def rows() -> AsyncIterator[Sample]:
        if len(values):
            yield Sample(first, time, values)

    return _paced(rows(), speed)


async def _paced(samples: AsyncIterator[Sample], speed: float | None) -> AsyncIterator[Sample]:
    """Each row when its time has come; rows that are due together stay together."""
    loop = asyncio.get_running_loop()
    zero = None
    async for sample in samples:
        if speed is None:
            yield sample
            continue
        rows = np.atleast_2d(sample.values) if not isinstance(sample.values, str) else None
        n = 1 if rows is None else len(rows)
        stamps = sample.time if sample.time is not None else sample.seq + np.arange(n)
        due = np.broadcast_to(np.asarray(stamps, dtype=np.float64), (n,)) / speed
        if zero is None:
            zero = loop.time() - due[0]
        at = 0
        while at < n:
            if (wait := due[at] + zero - loop.time()) > 0:  # not so for NaN
                await asyncio.sleep(wait)
            late = np.flatnonzero(~(due[at:] + zero <= loop.time()))
            end = at + max(int(late[0]) if len(late) else n - at, 1)
            yield sample if rows is None else Sample(
                sample.seq + at, None if sample.time is None else sample.time[at:end],
                rows[at:end])
            at = end


# -- specs --------------------------------------------------------------------------------------


def _parse(spec: str) -> tuple[str, str, dict[str, str]]:
    kind = re.split(r"[:?]", instance(spec, "spec", str), maxsplit=1)[0]
    kind = "nats" if kind == "tls" else kind
    if kind not in _OPTIONS:
        raise ValueError(f"source must read csv:PATH, stdin or nats://host:port/STREAM/SUBJECT, "
                         f"got {_masked(spec)!r}")
    rest, _, query = spec.partition("?")
    if kind == "csv":
        rest = rest.removeprefix("csv:")
    elif kind == "stdin" and rest != "stdin":
        raise ValueError(f"source stdin takes no path, got {spec!r}")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError(f"options of a source must read ?name=value&name=value, got "
                         f"{query!r}") from None
    if unknown := options.keys() - _OPTIONS[kind]:
        raise ValueError(f"source {kind} has no option {min(unknown)!r}, it has "
                         f"{', '.join(sorted(_OPTIONS[kind]))}")
    return kind, rest, options


def _positive(options: dict[str, str], name: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(options[name])) < math.inf:
            return value
    raise ValueError(f"{name} must be a number above 0, got {options[name]!r}")


def _masked(url: str) -> str:
    """A URL without its login."""
    return re.sub(r"//[^/@]*@", "//***@", url)


# -- records ------------------------------------------------------------------------------------


class _Record(NamedTuple):
    seq: int
    time: float | None
    values: Any  # list of float, or text: poison


class _Records:
    """Values and time of records, whatever they are written in."""

    def __init__(self, features: Sequence[str] | None, time: str | None):
        self.features = None if features is None else listed(features, "features")
        self._times = _TIMES if time is None else (time,)

    def json(self, text: str | bytes) -> tuple[Any, float | None]:
        """A list of values, or an object by name."""
        try:
            record = json.loads(text)
            if isinstance(record, dict):
                given = next((name for name in self._times if name in record), None)
                time = None if given is None else _seconds(record[given])
                names = self.features
                if names is None:
                    names = self.features = [name for name in record if name != given]
                return [_number(record.get(name)) for name in names], time
            if isinstance(record, list):
                return [_number(value) for value in record], None
        except (ValueError, TypeError, OverflowError, RecursionError):
            pass
        return _poison(text), None

    def header(self, names: list[str]) -> Callable[[list[str]], tuple[Any, float | None]]:
        """What reads the rows of a table with these columns."""
        given = next((name for name in self._times if name in names), None)
        if len(set(names)) < len(names):
            raise ValueError(f"columns must have distinct names, got {', '.join(names)}")
        if self.features is None:
            self.features = [name for name in names if name != given]
        if absent := [name for name in self.features if name not in names]:
            raise ValueError(f"features: the table has no column {', '.join(map(repr, absent))}, "
                             f"only {', '.join(names)}")
        return partial(self._row, [names.index(name) for name in self.features], len(names),
                       None if given is None else names.index(given))

    @staticmethod
    def _row(columns: list[int], width: int, time: int | None, cells: list[str]
             ) -> tuple[Any, float | None]:
        try:
            if len(cells) != width:
                raise ValueError
            return ([float(cells[k]) if cells[k] else math.nan for k in columns],
                    None if time is None else _seconds(cells[time]))
        except ValueError:
            return _poison(",".join(cells)), None


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, int | float):  # text that reads as a number is no measurement
        raise TypeError
    return float(value)


def _seconds(value: Any) -> float:
    """POSIX seconds; NaN for what cannot be read: the engine then says so."""
    with suppress(TypeError, ValueError, OverflowError):
        return float(value)
    with suppress(TypeError, ValueError, OverflowError):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return math.nan


def _poison(text: str | bytes) -> str:
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return text[:_SHOWN]


def _samples(records: Iterable[_Record], numbered: bool = True,
             acknowledge: Callable[[Sequence[int]], Awaitable[None]] | None = None
             ) -> Iterator[Sample]:
    """Samples of as many rows as belong together."""
    run: list[_Record] = []

    def sample() -> Sample:
        times = [record.time for record in run]
        known = any(time is not None for time in times)
        return Sample(
            run[0].seq if numbered else None,
            np.array([math.nan if t is None else t for t in times]) if known else None,
            np.array([record.values for record in run]), _ack(run))

    def _ack(records: list[_Record]) -> Callable[[], Awaitable[None]] | None:
        return acknowledge and partial(acknowledge, [record.seq for record in records])

    for record in records:
        whole = isinstance(record.values, list) and bool(record.values)
        if run and not (whole and record.seq == run[-1].seq + 1
                        and len(record.values) == len(run[0].values)):
            yield sample()
            run = []
        if whole:
            run.append(record)
        else:
            yield Sample(record.seq if numbered else None, record.time, record.values or "",
                         _ack([record]))
    if run:
        yield sample()


# -- files and pipes ----------------------------------------------------------------------------


async def _table(opened: Callable[[], Any], records: _Records, numbered: bool
                 ) -> AsyncIterator[Sample]:
    seq, read, separator = 0, None, ","
    async for lines in _lines(opened):
        found = []
        for line in lines:
            text = line.decode("utf-8", errors="replace").strip("\r\n").removeprefix("\ufeff")
            if not text.strip():
                continue
            if text.lstrip()[0] in "[{":
                values, time = records.json(text)
            else:
                if read is None:
                    separator = max(",;\t", key=text.count)
                try:
                    cells = [cell.strip() for cell in next(csv_reader([text], delimiter=separator))]
                except CsvError:  # a lone carriage return, say: this row is lost, not the stream
                    if read is None:
                        raise ValueError(f"spec: no header to read in {_poison(text)!r}") from None
                    cells = None
                if read is None:
                    names = cells
                    if all(map(_is_number, cells)):  # no header: the values in their order
                        names = records.features or [f"x{k}" for k in range(len(cells))]
                    read = records.header(names)
                    if names is cells:
                        continue
                values, time = (_poison(text), None) if cells is None else read(cells)
            found.append(_Record(seq, time, values))
            seq += 1
        for sample in _samples(found, numbered):
            yield sample


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


async def _lines(opened: Callable[[], Any]) -> AsyncIterator[list[bytes]]:
    """Whole lines, as many as are there."""
    rest = b""
    async for chunk in _chunks(opened):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


async def _chunks(opened: Callable[[], Any]) -> AsyncIterator[bytes]:
    with opened() as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty():
            # not in a thread: one that waits for input would keep the process from ending
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), file)
            try:
                while chunk := await stream.read(_CHUNK):
                    yield chunk
            finally:
                transport.close()
        else:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk


# -- NATS JetStream -----------------------------------------------------------------------------


class _JetStream:
    """A durable pull consumer; see `source` for what it promises."""

    def __init__(self, url: str, options: dict[str, str], records: _Records,
                 position: Callable[[], int]):
        try:
            import nats
            import nats.errors
            import nats.js.api
            import nats.js.errors
        except ImportError:
            raise ImportError("a nats:// source needs nats-py: pip install 'adlib[nats]'"
                              ) from None
        self._nats = nats
        parts = urlsplit(url)
        path = [unquote(part) for part in parts.path.split("/") if part]
        if not parts.hostname or len(path) not in (1, 2):
            raise ValueError(f"source must read nats://host:port/STREAM/SUBJECT, got "
                             f"{_masked(url)!r}")
        self._server, self._shown = f"{parts.scheme}://{parts.netloc}", _masked(url)
        self._stream, self._subject = path[0], path[1] if len(path) == 2 else ">"
        self._durable = options.get("durable", "adlib")
        if re.search(r"[\s.*>/\\]", self._durable) or not self._durable:
            raise ValueError(f"durable must be a name without blanks, dots, *, > and slashes, got "
                             f"{self._durable!r}")
        form = options.get("format", "json")
        if form not in ("json", "float64"):
            raise ValueError(f"format must be json or float64, got {form!r}")
        self._read = records.json if form == "json" else _doubles
        self._ack_wait = _positive(options, "ack_wait") if "ack_wait" in options else 30.0
        self._position = position
        self._born: datetime | None = None
        self._next: int | None = None
        # messages that were handed over and not acknowledged; None for what was read directly
        self._open: dict[int, Any] = {}

    async def samples(self) -> AsyncIterator[Sample]:
        client = await _heedful(self._nats.connect(
            self._server, max_reconnect_attempts=-1, reconnect_time_wait=0.5,
            error_cb=self._report))
        try:
            self._js = client.jetstream()
            await _heedful(self._prepare())
            subscription = await _heedful(
                self._js.pull_subscribe_bind(self._durable, self._stream))
            while self._next <= self._taken:  # with nobody: do not wait for the server
                end = min(self._next + _FETCH, self._taken + 1)
                for sample in _samples(await self._up_to(end), acknowledge=self._acknowledge):
                    yield sample
            while True:
                try:
                    messages = await _heedful(subscription.fetch(_FETCH, timeout=_PATIENCE))
                except TimeoutError:  # the builtin one too; a consumer that was deleted is silent
                    await self._persist(self._prepare)
                    continue
                except self._nats.errors.ConnectionClosedError:
                    raise
                except self._nats.errors.Error as error:
                    await self._report(error)
                    await asyncio.sleep(0.5)
                    continue
                for sample in _samples(await self._take(messages), acknowledge=self._acknowledge):
                    yield sample
        finally:
            with suppress(Exception):  # acknowledgements that still wait to be sent
                await client.flush(1)
            await _heedful(client.close())

    async def _prepare(self) -> None:
        """See that stream and consumer are there, and the same as before."""
        errors, api = self._nats.js.errors, self._nats.js.api
        try:
            info = await self._js.stream_info(self._stream)
        except errors.NotFoundError:
            raise ValueError(f"there is no stream {self._stream!r} at {self._shown}") from None
        other = [s for s in info.config.subjects or () if not _covers(self._subject, s)]
        if other:
            raise ValueError(f"stream {self._stream!r} also holds {', '.join(other)}, so the "
                             f"numbers of {self._subject!r} have gaps; make a stream of its own "
                             f"for it (one that sources it from {self._stream!r} will do)")
        done = self._position() if self._born is None else -1
        if self._born not in (None, info.created) or info.state.last_seq < done:
            raise ValueError(f"stream {self._stream!r} was made anew: its numbers begin again; "
                             f"start the engine under another name")
        self._born = info.created
        try:
            consumer = await self._js.add_consumer(self._stream, api.ConsumerConfig(
                durable_name=self._durable, filter_subject=self._subject,
                ack_policy=api.AckPolicy.EXPLICIT, ack_wait=self._ack_wait,
                max_ack_pending=_UNACKNOWLEDGED))
        except (errors.BadRequestError, errors.ServerError) as error:
            raise ValueError(f"durable {self._durable!r} of stream {self._stream!r} is another "
                             f"kind of consumer ({error.description}); choose another name"
                             ) from None
        if self._next is None:
            self._next = (done if done >= 0 else consumer.ack_floor.stream_seq) + 1
            self._taken = consumer.delivered.stream_seq  # some by a process that is no more

    async def _persist(self, attempt: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Try until it works: the server may be down."""
        while True:
            try:
                return await _heedful(attempt(*args))
            except self._nats.errors.ConnectionClosedError:
                raise
            except (TimeoutError, self._nats.errors.Error) as error:
                await self._report(error)
                await asyncio.sleep(0.5)

    async def _take(self, messages: Iterable[Any]) -> list[_Record]:
        """Records that follow on what was handed over; the stream is asked for missing ones."""
        found: list[_Record] = []
        for message in sorted(messages, key=_number_of):
            seq = _number_of(message)
            if seq < self._next:  # delivered again: there is one more way to acknowledge it
                if seq in self._open:
                    self._open[seq] = message
                else:
                    await self._confirm(message)
                continue
            found += await self._up_to(seq)
            found.append(self._record(seq, _stored_at(message), message.data))
            self._open[seq], self._next = message, seq + 1
        return found

    async def _up_to(self, end: int) -> list[_Record]:
        """Records before ``end``, read from the stream."""
        found: list[_Record] = []
        while self._next < end:
            found += await self._persist(self._missing, end)
        return found

    async def _missing(self, end: int) -> list[_Record]:
        """The next message before ``end``, which some earlier process may have taken."""
        try:
            raw = await self._js.get_msg(self._stream, seq=self._next, subject=self._subject,
                                         next=True)
        except self._nats.js.errors.NotFoundError:
            self._next = end
            return []
        if raw.seq >= end:
            self._next = end
            return []
        self._open[raw.seq], self._next = None, raw.seq + 1
        since = (raw.time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        return [self._record(raw.seq, since / 1e6, raw.data or b"")]

    def _record(self, seq: int, stored_at: float, data: bytes) -> _Record:
        values, time = self._read(data)
        return _Record(seq, stored_at if time is None else time, values)

    async def _acknowledge(self, numbers: Sequence[int]) -> None:
        for seq in numbers:
            message = self._open.pop(seq, None)
            if message is not None:
                await self._confirm(message)

    async def _confirm(self, message: Any) -> None:
        # while the server is away, this fails or is lost: the message is then delivered again
        with suppress(self._nats.errors.Error):
            await message.ack()

    async def _report(self, error: Exception) -> None:
        log.warning("%s: %s", self._shown, f"{type(error).__name__}: {error}".rstrip(": "))


async def _heedful(work: Awaitable[Any]) -> Any:
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


def _doubles(data: bytes) -> tuple[Any, None]:
    return (np.frombuffer(data, "<f8").tolist() if len(data) % 8 == 0 else _poison(data)), None


def _covers(pattern: str, subject: str) -> bool:
    """Whether every subject that ``subject`` stands for matches ``pattern``."""
    wanted, given = pattern.split("."), subject.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            return len(given) > i
        if i == len(given) or given[i] == ">" or token not in ("*", given[i]):
            return False
    return len(wanted) == len(given)
