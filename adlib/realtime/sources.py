"""Where samples come from: specs, and what a source has to offer.

A source yields `Sample` objects. Rows that are there together come together, as one sample of
several rows: that is faster, and the windows are the same. What cannot be read is handed on as
text: the engine reports it as poison, and it keeps its place in the stream.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl

from adlib.arguments import instance, listed
from adlib.deprecation import moved
from adlib.imports import nearest
from adlib.reading.options import Reading
from adlib.realtime.registry import SOURCES, find, registered
from adlib.realtime.windows import Sample


@runtime_checkable
class Source(Protocol):
    """Where samples come from: what `RealTimeAnomalyDetector.process_stream` reads.

    To be found by the scheme of a spec (``kafka://host/topic``), a class is registered
    (`adlib.realtime.registry`) and is called with the spec; it may use `split_spec`. An object can
    also be handed to ``process_stream`` directly. One that reads tables or messages may have a
    method ``follow(reading, recognised)``: the engine calls it before it asks for samples, with its
    options (`adlib.reading.options.Reading`) and with what it knows of how the history was written.
    It may have an ``identity``, a text that says whose numbers its samples have: where that is not
    the one of the last commit, they go on behind the last one's, instead of being known already.

    One whose numbers do not say where to go on has two more methods: ``bookmark(position)`` gives
    plain JSON values, kept with each commit, by which what follows ``position`` can be found (it is
    asked from another thread), and ``resume(mark)`` takes them before ``samples`` is called, where
    the identity is still the same. A source that is blocked until its samples are acknowledged says
    in ``commit_within`` how many seconds a commit may wait. One that may have nothing for an engine
    has ``heard``, which the engine sets: a function to call in place of a sample, so that it is not
    taken for one that sends nothing. A coroutine ``probe()``, which ``doctor`` awaits, gives a
    sentence on what there is to read, or raises what is wrong, and takes nothing.

    Examples
    --------
    >>> from adlib.realtime import check_source
    >>> class Countdown(Source):
    ...     async def samples(self, *, features=None, position=-1):
    ...         for seq in range(position + 1, 10):
    ...             yield Sample(seq, float(seq), [10.0 - seq])
    >>> check_source(Countdown)

    A source that forgets a sample when it is acknowledged, after the commit:

    >>> class Queue(Source):
    ...     def __init__(self):
    ...         self.kept = {seq: [float(seq), 1.0] for seq in range(20)}
    ...     async def samples(self, *, features=None, position=-1):
    ...         async def forget(seq):
    ...             del self.kept[seq]
    ...         for seq in sorted(self.kept):
    ...             if seq > position:
    ...                 yield Sample(seq, None, self.kept[seq], lambda seq=seq: forget(seq))
    >>> check_source(Queue)
    """

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """An async iterator of `Sample`, each after the one before.

        Parameters
        ----------
        features : sequence of str, optional
            Order of the values where records name theirs. Default: that of the first record.
        position : int
            Sequence number of the last sample that was committed; -1 before the first. What comes
            up to it again is skipped by the engine; nothing after it may be missing.
        """
        ...


def opened(source: Source, features: Sequence[str] | None, position: int) -> Any:
    """The iterator that a source gives, to be closed by ``aclosing``.

    Raises
    ------
    TypeError
        When it is none, as where ``samples`` returns a list.
    """
    samples = source.samples(features=features, position=position)
    if not hasattr(samples, "__aiter__") or not hasattr(samples, "aclose"):
        if asyncio.iscoroutine(samples):
            samples.close()
        raise TypeError(f"samples of {type(source).__name__} must be an async generator (async def "
                        f"with yield), gave {type(samples).__name__}")
    return samples


def source(spec: str, *, features: Sequence[str] | None = None,
           position: Callable[[], int] | None = None,
           reading: Mapping[str, Any] | Reading | None = None,
           fleet: Collection[str] | None = None) -> AsyncIterator[Sample]:
    """Samples from where ``spec`` says.

    ``csv:PATH?speed=60&time=NAME``
        A file, read whole as `adlib.datasets.load_csv` and ``fit`` read it (CSV, also in .gz or
        .zip, JSON lines, Parquet), and refused as they refuse it. Rows are in the order of time and
        numbered from 0, so a run that starts again skips what it has committed. ``speed`` plays
        them in time, here 60 times as fast as they were recorded; by default as fast as possible.
    ``tail:PATH?begin=start|end``
        A file that grows, is renamed or cut; it goes on at the place that is committed. See
        `adlib.realtime.doors.tail.TailSource`.
    ``stdin?time=NAME``
        Lines of a table, or of JSON. What arrives is new: it goes on after the last committed
        sample.
    ``http://[HOST:]PORT/PATH``
        What is sent there, answered once it is committed; ``http:`` stands for ``POST /samples`` of
        ``run --serve``. See `adlib.realtime.doors.push.PushSource`.
    ``nats://[user:password@]host:port/STREAM/SUBJECT?durable=NAME&format=json|float64&time=NAME``
        One sample per message of a JetStream stream, numbered by the stream. ``tls://``
        for an encrypted connection; ``ack_wait`` is in seconds (30 by default).
    ``mqtt://[user:password@]host[:port]/TOPIC?client=NAME&version=3&entity=topic:2``
        One sample per message of a topic; ``mqtts://`` for an encrypted connection. See
        `adlib.realtime.doors.mqtt.MqttSource`.
    ``simulate:?machines=20&seed=0&speed=1``
        A plant that is made up. See `adlib.realtime.doors.simulate.SimulatedSource`.

    Installed packages may register other schemes: see `adlib.realtime.registry`.

    A record that arrives is an object by feature name, a list of numbers, a row of a table, or
    (``format=float64``) the bytes of little-endian doubles. Numbers may be written as text. What
    is no number (``null``, an empty cell, "N/A", "???") and a name that is not there are missing
    values of that feature alone, other names are left alone, and a record that cannot be read, or
    has none of the names, is poison. The time is the field ``time``, ``timestamp`` or the like, or
    what ``time_column`` names (``time`` for short): ISO 8601 or as people write dates, seconds to
    nanoseconds from 1970. A NATS message without one has the time at which it was stored, as long
    as no message before brought one. All
    options of `adlib.reading.options.Reading` may stand behind the ``?``, as ``time_unit=ms``.
    In a fleet ``entity=NAME`` is the field that names the entity, ``entity=subject:2`` the second
    part of a NATS message's subject (``subject:-1``: the last). ``partition=4`` behind a NATS
    stream shares a fleet among processes: see `adlib.realtime.doors.partitions`.

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
    reading : mapping or Reading, optional
        Options of the reader; those of the spec go before.
    fleet : collection of str, optional
        Names of the entities in a fleet's history: `Sample.entity` then says whom each row is of,
        as ``entity_column`` (``entity`` for short) does, and new ones may come. None: no fleet.

    Returns
    -------
    async iterator of Sample
        Close it (``contextlib.aclosing``) to give connections back at once.

    Raises
    ------
    ValueError
        For a spec or ``reading`` that cannot be read; later for a file that is refused, for a table
        without one of ``features``, for a second entity where ``entity_column`` is given and there
        is no fleet, and for a stream that does not exist, holds other subjects too, or was made
        anew.
    FileNotFoundError
    ImportError
        For ``nats://`` without nats-py.

    Notes
    -----
    What a JetStream source promises: see `adlib.realtime.doors.jetstream.JetStreamSource`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> async def first(spec):
    ...     async for sample in source(spec, features=["b", "a"]):
    ...         return sample.seq, sample.time.tolist(), sample.values.tolist()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "rig.csv"
    ...     _ = path.write_text("time,a,b\\n0,1,10\\n1,2,\\n")
    ...     asyncio.run(first(f"csv:{path}"))
    (0, [0.0, 1.0], [[10.0, 1.0], [nan, 2.0]])
    """
    found = open_source(spec)
    if (reading is not None or fleet is not None) and hasattr(found, "follow"):
        found.follow(reading if isinstance(reading, Reading) else
                     Reading(**{"missing": "keep", **(reading or {})}), {"fleet": fleet})
    names = None if features is None else listed(features, "features")

    async def samples() -> AsyncIterator[Sample]:
        done = position() if position is not None else -1
        given = found.samples(features=names, position=done)
        async with aclosing(given):  # type: ignore[type-var]  # as check_source demands
            async for sample in given:
                yield sample

    return samples()


def open_source(spec: str) -> Source:
    """The source that a spec names; what is wrong with it is said now, not when it is read."""
    scheme = re.split(r"[:?]", instance(spec, "spec", str), maxsplit=1)[0]
    try:
        kind = find(SOURCES, scheme)
    except LookupError:
        is_file = Path(spec.partition("?")[0]).is_file()
        hint = f"; for this file: csv:{spec}" if is_file else nearest(scheme, registered(SOURCES))
        raise ValueError(f"source must read csv:PATH, tail:PATH, stdin, http://[HOST:]PORT, "
                         f"mqtt://host/TOPIC or nats://host:port/STREAM/SUBJECT, got "
                         f"{masked(spec)!r}{hint}") from None
    return kind(spec)


# -- for those who write a source ----------------------------------------------------------------


def split_spec(spec: str, options: Collection[str]) -> tuple[str, dict[str, str]]:
    """A spec in front of ``?``, and the options behind it.

    Parameters
    ----------
    spec : str
    options : collection of str
        Names that may be given.

    Raises
    ------
    ValueError
        For other options, and for what does not read ``?name=value&name=value``.

    Examples
    --------
    >>> split_spec("kafka://host/topic?group=a", {"group"})
    ('kafka://host/topic', {'group': 'a'})
    """
    rest, _, query = spec.partition("?")
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError(f"options of a source must read ?name=value&name=value, got "
                         f"{query!r}") from None
    if unknown := given.keys() - set(options):
        scheme = re.split("[:?]", spec, maxsplit=1)[0]
        raise ValueError(f"source {scheme} has no option {min(unknown)!r}, it has "
                         f"{', '.join(sorted(options))}")
    return rest, given


def masked(url: str) -> str:
    """A URL without its login."""
    return re.sub(r"//[^/@]*@", "//***@", url)


__getattr__ = moved(__name__, {name: f"adlib.realtime.doors.recorded:{name}" for name in (
    "paced", "replay")})
