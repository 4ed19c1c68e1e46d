"""What sources of tables and messages have in common: their options, and rows as samples."""

import asyncio
import math
import re
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import Any

import numpy as np

from adlib.reading.options import Reading, ReadingWarning, from_texts
from adlib.reading.records import Record, Records
from adlib.realtime.sources import Source, split_spec
from adlib.realtime.windows import Sample

_NAMES = tuple(field.name for field in fields(Reading))


class ReadingSource(Source):
    """A source of tables or messages: options of the reader may stand in its spec.

    Parameters
    ----------
    spec : str
    options : collection of str
        Further ones that it may have.
    """

    separator = ""  # of the parts of a subject that messages may have
    _subjects = ", or subject:2 for the second part of a message's subject (-1: the last)"

    def __init__(self, spec: str, options: Collection[str]):
        self.rest, self.options = split_spec(spec, {*options, "time", "entity", *_NAMES})
        self._part = 0  # of the subject, that names the entity
        entity = self.options.get("entity", "")
        kind, _, place = entity.partition(":")
        if kind in ("subject", "topic") and place:
            if not (self.separator and re.fullmatch("-?[1-9][0-9]?", place)):
                raise ValueError("entity must be the name of a column" + self._subjects * bool(
                    self.separator) + f", got {entity!r}")
            self._part = int(place)
            del self.options["entity"]
        for name in {"time", "entity"} & self.options.keys():
            self.options[f"{name}_column"] = self.options.pop(name)
        self._given = from_texts({name: self.options.pop(name) for name in _NAMES
                                 if name in self.options})
        self.follow(Reading(missing="keep"))

    def follow(self, reading: Reading, recognised: Mapping[str, Any] | None = None) -> None:
        """Read as an engine is configured, and where that says nothing as its history showed.

        Parameters
        ----------
        reading : Reading
            What the spec says goes before.
        recognised : mapping, optional
            As `adlib.reading.records.Records` takes it.
        """
        given = {**self._given, **({"entity_column": None} if self._part else {})}
        self.reading, self.recognised = replace(reading, **given), recognised or {}
        self.fleet = self.recognised.get("fleet") is not None

    def entity_in(self, subject: str) -> str | None:
        """Whom a message is of, where ``entity=subject:2`` says that its subject names it."""
        parts = subject.split(self.separator) if self._part else []
        place = self._part - (self._part > 0)
        return parts[place] or None if -len(parts) <= place < len(parts) else None

    def records(self, features: Sequence[str] | None) -> Records:
        """A reader of rows."""
        if self.reading.missing not in ("keep", "impute"):
            noted(f"missing={self.reading.missing!r} is for files: in a stream the engine's hold "
                  f"repairs missing values")
        return Records(features, self.reading, noted, self.recognised)


def noted(sentence: str) -> None:
    """Tell what was recognised."""
    warnings.warn(sentence, ReadingWarning, stacklevel=2)


def grouped(records: Iterable[tuple[int, Record]], numbered: bool = True,
            acknowledge: Callable[[Sequence[int]], Awaitable[None]] | None = None
            ) -> Iterable[Sample]:
    """Samples of as many rows as belong together: neighbours of one width; poison stands alone.

    In a fleet, those with an entity and those without are apart.
    """
    run: list[tuple[int, Record]] = []
    for seq, record in records:
        if run and not (run[-1][1].is_whole and record.is_whole and seq == run[-1][0] + 1
                        and len(record.values) == len(run[0][1].values)
                        and (record.entity is None) == (run[0][1].entity is None)):
            yield _sample(run, numbered, acknowledge)
            run = []
        run.append((seq, record))
    if run:
        yield _sample(run, numbered, acknowledge)


def _sample(run: list[tuple[int, Record]], numbered: bool,
            acknowledge: Callable[[Sequence[int]], Awaitable[None]] | None) -> Sample:
    seq, first = run[0]
    number = seq if numbered else None
    ack = acknowledge and partial(acknowledge, [seq for seq, _ in run])
    if not first.is_whole:
        return Sample(number, first.time, first.values or "", ack, first.entity)
    stamped = any(record.time is not None for _, record in run)
    times = np.array([math.nan if record.time is None else record.time for _, record in run])
    return Sample(number, times if stamped else None, np.array([r.values for _, r in run]), ack,
                  None if first.entity is None else [str(record.entity) for _, record in run])


async def waiting(queue: asyncio.Queue[Any]) -> list[Any]:
    """All that waits in a queue; where there is nothing, until something does."""
    found = [await queue.get()]
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


class Arrivals:
    """Times of records that bring none: when they arrived, as long as none before brought one."""

    def __init__(self) -> None:
        self._dated = False  # arrival is none then: of a backfill it would be that of today

    def stamped(self, record: Record, at: float) -> Record:
        """The record with a time."""
        if record.time is not None:
            self._dated = True
            return record
        return record._replace(time=math.nan if self._dated else at)


def positive(options: Mapping[str, str], name: str, default: float | None = None) -> float | None:
    """An option that is a number above 0."""
    if name not in options:
        return default
    with suppress(ValueError):
        if 0 < (value := float(options[name])) < math.inf:
            return value
    raise ValueError(f"{name} must be a number above 0, got {options[name]!r}")
