"""Records as text or bytes: values and times, and rows that belong together as one sample."""

import json
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from adlib.realtime.windows import Sample

TIMES = ("time", "timestamp")  # names under which a record may bring its time
_SHOWN = 100  # characters of a poisoned record that are kept


class Record(NamedTuple):
    seq: int
    time: float | None
    values: Any  # list of float, or text: poison

    @property
    def is_whole(self) -> bool:
        """Whether there are numbers in it."""
        return isinstance(self.values, list) and bool(self.values)


class Records:
    """Values and time of records, whatever they are written in."""

    def __init__(self, features: Sequence[str] | None, time: str | None):
        self.features = None if features is None else list(features)
        self._times = TIMES if time is None else (time,)

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
        return poison(text), None

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
            return poison(",".join(cells)), None


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


def poison(text: str | bytes) -> str:
    """The beginning of what cannot be read, as the engine reports it."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return text[:_SHOWN]


def grouped(records: Iterable[Record], numbered: bool = True,
            acknowledge: Callable[[Sequence[int]], Awaitable[None]] | None = None
            ) -> Iterator[Sample]:
    """Samples of as many rows as belong together: neighbours of one width; poison stands alone."""
    run: list[Record] = []
    for record in records:
        if run and not (run[-1].is_whole and record.is_whole and record.seq == run[-1].seq + 1
                        and len(record.values) == len(run[0].values)):
            yield _sample(run, numbered, acknowledge)
            run = []
        run.append(record)
    if run:
        yield _sample(run, numbered, acknowledge)


def _sample(run: list[Record], numbered: bool,
            acknowledge: Callable[[Sequence[int]], Awaitable[None]] | None) -> Sample:
    seq = run[0].seq if numbered else None
    ack = acknowledge and partial(acknowledge, [record.seq for record in run])
    if not run[0].is_whole:
        return Sample(seq, run[0].time, run[0].values or "", ack)
    stamped = any(record.time is not None for record in run)
    times = np.array([math.nan if record.time is None else record.time for record in run])
    return Sample(seq, times if stamped else None, np.array([record.values for record in run]), ack)


def positive(options: dict[str, str], name: str, default: float | None = None) -> float | None:
    """An option that is a number above 0."""
    if name not in options:
        return default
    with suppress(ValueError):
        if 0 < (value := float(options[name])) < math.inf:
            return value
    raise ValueError(f"{name} must be a number above 0, got {options[name]!r}")
