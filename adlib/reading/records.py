"""Records that arrive one after another: lines of a table, JSON objects or arrays.

A cell that cannot be read is a missing value of that field, and is reported; a record that cannot
be read is handed on as text. Names, decimal mark and the way that times are written are found from
the first records that can be read, and where those leave them open, they are as in the history
that a model learned from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple

import pandas as pd

from adlib.reading.dialect import Lines, column_name
from adlib.reading.numbers import Numbers
from adlib.reading.options import Note, Reading, few
from adlib.reading.table import entity_text, named_times
from adlib.reading.times import TIME_NAMES, Clock, is_time_name, joined

__all__ = ["Record", "Records"]

_SHOWN = 100  # characters of what cannot be read that are kept
_REPORTED = 3  # fields of which is reported what they hold instead of a number
_LOOK = 1_000  # rows in which names and the decimal mark are looked for
_TRIED = 20  # first rows in each of which a time is looked for
_BETWEEN = "\x1f"
_NAME = 200  # characters that an entity's name may have
_TIMES = {*TIME_NAMES, "x0", "year"}  # names that may be of times


class Record(NamedTuple):
    """One row.

    Attributes
    ----------
    time : float or None
        POSIX seconds, NaN where they cannot be read; None where it brings no time.
    values : list of float, or str
        One for each feature, NaN where it is missing; the beginning of what cannot be read.
    entity : str or None
        Which machine, patient or account of a fleet it is of.
    """

    time: float | None
    values: Any
    entity: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there are numbers in it."""
        return isinstance(self.values, list) and bool(self.values)


class Records:
    """Rows of a stream.

    Parameters
    ----------
    features : sequence of str, optional
        Order of the values where records name theirs; other names are left alone. None: the
        numbers of the first record that has any.
    reading : Reading
    note : callable
        Takes a sentence on what was recognised, and on the first fields that are no numbers.
    recognised : mapping, optional
        What was found in a model's history: ``decimal``, ``clock``, ``time_column``; of a fleet
        ``fleet``, the names of its entities. Others may come then.

    Raises
    ------
    ValueError
        From its methods: for a table without one of the features, and for a second entity where
        there is no fleet.

    Examples
    --------
    >>> records = Records(["b", "a"], Reading(), print)
    >>> records.lines([b'{"a": "1.5", "b": null, "time": "1970-01-02"}', b'{"a": "?", "b": 2}'])
    column 'time' is taken as the time
    field 'a' holds '?', which is no number: missing there (name it in na_values if it means that)
    [Record(time=86400.0, values=[nan, 1.5], entity=None),
     Record(time=None, values=[2.0, nan], entity=None)]
    """

    def __init__(self, features: Sequence[str] | None, reading: Reading, note: Note,
                 recognised: Mapping[str, Any] | None = None):
        self.features = None if features is None else list(features)
        self._reading, self._note, self._known = reading, note, recognised or {}
        self._table = Lines(reading, note)
        self._first: list[bytes] = []  # lines before the first row
        self._line: Lines | None = None  # of messages that are lines of a table
        self._numbers: Numbers | None = None
        self._clock: Clock | None = None
        self._take: Callable[[Any], tuple] | None = None
        self._time: tuple[str, ...] = ()
        self._keys: Any = None  # of the last record in which a time was looked for
        self._entity: Any = None
        names = self._known.get("fleet")
        self._fleet = None if names is None else frozenset(names)
        self._rows = self._reported = 0
        self._timeless = self._again = 0  # rows without a time, and at which one is looked for
        self._plain = not reading.na_values  # Python's own numbers will do

    def lines(self, lines: Sequence[bytes], *, end: bool = False) -> list[Record]:
        """Records of whole lines, of a table or of JSON.

        Parameters
        ----------
        lines : sequence of bytes
        end : bool, default=False
            Whether no more will come.

        Returns
        -------
        list of Record
        """
        broken: list[str] = []
        if not self._rows:
            self._first += lines
            begin = next((k for k, line in enumerate(self._first) if _is_json(line)), 0)
            if begin:  # whatever comes before objects is no header
                self._table, lines = Lines(self._reading, self._note), self._first[begin:]
                broken = [shown(line) for line in self._first[:begin] if line.strip()]
        rows = self._table.feed(lines, end=end)
        if rows and self._take is None and self.features:
            rows = self._after_header(rows)
        return self.read(broken + rows, self._table.separator)

    def _after_header(self, rows: list[Any]) -> list[Any]:
        """Rows below a header none of whose rows could be split as it can, or that is none."""
        header = next(iter(rows[0])) if isinstance(rows[0], dict) and len(rows[0]) == 1 else ""
        if not header or header in (self.features or ()):
            return rows
        reading = replace(self._reading, skip_rows=0)
        texts = [row if isinstance(row, str) else str(row[header]) for row in rows]
        if (found := self._below_names(reading)) is not None:
            return found
        if any(map(numbers_in(Numbers(reading, "", _nobody)), [header, *texts])):
            return rows
        self._table = Lines(reading, self._note)
        return [header, *texts]

    def _below_names(self, reading: Reading) -> list[Any] | None:
        """Rows below the line that names all features."""
        for k, line in enumerate(self._first):
            for mark in (b";", b"\t", b"|", b","):
                names = {part.strip().decode(errors="replace") for part in line.split(mark)}
                if len(names) > 1 and names.issuperset(self.features or ()):
                    self._table = Lines(replace(
                        reading, separator=mark.decode(), header=True), self._note)
                    self._table.feed([line])
                    return [row for text in self._first[k + 1:] if text.strip() for row in (
                        self._table.feed([text]) if mark in text or text[:1] == b"#"
                        else [shown(text)])]
        return None

    def message(self, data: bytes) -> Record:
        """The record of one message: a JSON object or array, or a line of numbers.

        Parameters
        ----------
        data : bytes

        Returns
        -------
        Record
        """
        text: Any = data
        try:
            text = data.decode(self._reading.encoding or "utf-8")
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, list) and len(row) == 1 and isinstance(row[0], dict | list):
            row = row[0]
        if not isinstance(row, dict | list):
            row = None if isinstance(text, bytes) else self._numbers_of(text)
        return self.read([shown(data) if row is None else row])[0]

    def _numbers_of(self, text: str) -> list[str] | None:
        """The cells of a line."""
        lines = self._line or Lines(replace(self._reading, header=False, skip_rows=0), _nobody)
        try:
            rows = lines.feed([text], end=True)
        except ValueError:
            return None
        if len(rows) != 1 or isinstance(rows[0], str):
            return None
        cells = list(rows[0].values()) if isinstance(rows[0], dict) else rows[0]
        numbers = self._numbers or Numbers(self._reading, lines.separator, _nobody)
        if self._line is None and not any(map(numbers_in(numbers), cells)):
            return None  # words: the stream is not known by them
        if self._line is None:
            self._line, self._numbers = lines, self._numbers or Numbers(
                self._reading, lines.separator, self._note)
        return cells

    def read(self, rows: Sequence[Any], separator: str = "") -> list[Record]:
        """Records of parsed rows.

        Parameters
        ----------
        rows : sequence of dict, list or str
            By name, by place, or what could not be read.
        separator : str, default=""
            What stood between the cells of a table.

        Returns
        -------
        list of Record
        """
        if not rows:
            return []
        wanted = {*(self.features or [""])}  # a table's names have no blanks around them
        own = {column_name(name): name for name in wanted}
        wanted |= {*self._reading.time_columns, *filter(None, [self._reading.entity_column])}
        rows = [row if not isinstance(row, dict) or wanted <= row.keys() else
                {name if name in wanted else own.get(c := column_name(name), c): cell
                 for name, cell in row.items()} for row in rows]
        if self._rows < _LOOK:
            self._look([row for row in rows if not isinstance(row, str)], separator)
        self._rows += len(rows)
        return [Record(None, shown(row)) if isinstance(row, str) else
                Record(None, self._values(row)) if isinstance(row, list) else
                self._named(row) for row in rows]

    # -- what is recognised -----------------------------------------------------------------------

    def _look(self, rows: list[Any], separator: str) -> None:
        """See how numbers are written, and what fields there are, in the first rows."""
        if self._numbers is None and rows:
            self._numbers = Numbers(self._reading, separator, self._note)
        named = [row for row in rows if isinstance(row, dict)]
        if self._numbers is not None and self._numbers.decimal is None and any(
                isinstance(cell, str) for row in rows for cell in self._cells(row)):
            self._settle(self._numbers, pd.DataFrame(named or rows, dtype=object))
        if named and self._take is None:
            self._look_at_names(named, separator)

    def _cells(self, row: Any) -> Iterable[Any]:
        """Of a row, those that may be features."""
        return row if isinstance(row, list) else row.values() if self.features is None else (
            row[name] for name in self.features if name in row)

    def _settle(self, numbers: Numbers, frame: pd.DataFrame) -> None:
        """Find the decimal mark in the features."""
        wanted = self.features if self.features and {*self.features} & {*frame} else frame
        try:
            numbers.settle([frame[name] for name in wanted if name in frame], self._known)
        except ValueError as error:
            self._tell(str(error))

    def _look_at_names(self, rows: list[dict], separator: str) -> None:
        """Which fields are features."""
        self._look_for_time(rows)
        self._tell_absent(rows)
        if self.features is None:
            other = {*self._time, self._reading.label_column, self._reading.entity_column}
            is_number = numbers_in(self._numbers)
            frame = pd.DataFrame(rows, dtype=object)
            frame = frame[[name for name in frame if name not in other]]
            found = frame.map(is_number).any() | frame.map(_is_missing).all()
            if not frame.map(is_number).any(axis=None):
                return  # nothing to be known by
            if left := list(frame.columns[~found]):
                self._note(f"fields of text are left out: {left}")
            self.features = list(self._reading.feature_columns or frame.columns[found])
        names = list(rows[0])
        if separator and (absent := [name for name in self.features if name not in names]):
            if names == [f"x{k}" for k in range(len(self.features))]:
                self._take = lambda row: tuple(row.values())  # no header: in their order
                return
            raise ValueError(f"features: the table has no column {', '.join(map(repr, absent))}, "
                             f"only {', '.join(names)}" + (
                                 "; send a line with the names of the columns first"
                                 if names[0] == "x0" else ""))
        get = itemgetter(*self.features)
        self._take = get if len(self.features) > 1 else lambda row: (get(row),)

    def _tell_absent(self, rows: list[dict]) -> None:
        """Name fields that were given and do not come."""
        wanted = [*self._reading.time_columns, *filter(None, [self._reading.entity_column])]
        if absent := [name for name in wanted if not any(name in row for row in rows)]:
            self._note(f"time_column or entity_column: there is no field {few(absent)} at the "
                       f"beginning, only {few(list(rows[0]))}")

    def _look_for_time(self, rows: list[dict]) -> None:
        """Which fields are the time."""
        self._keys = rows[0].keys()
        known = tuple(self._known.get("time_column") or ())
        if self._reading.time_column is not None:
            self._time = self._reading.time_columns
        elif known and all(name in rows[0] for name in known):
            self._time = known
            read = Clock(self._reading, _nobody, self._known.get("clock")).moment
            if not any(math.isfinite(read(self._stamp(row))) for row in rows):
                self._time = self._found_time(rows) or known
        elif any(str(name).strip().lower() in _TIMES for row in rows for name in row):
            self._time = self._found_time(rows)
        if self._time:
            self._look_at_times([row for row in rows if all(name in row for name in self._time)])

    def _found_time(self, rows: list[dict]) -> tuple[str, ...]:
        """Fields that are the time by their names and values, as in a file."""
        frame = pd.DataFrame(list(map(_flat, rows)))
        if [*frame] == [f"x{k}" for k in range(len(self.features or ()))]:
            return ()  # no header: a value for each feature
        others = [c for c in frame if c not in (self.features or ())]
        found: Sequence[str] = ()
        for part in (frame, *(frame[k:k + 1] for k in range(min(len(frame), _TRIED)))):
            if found := named_times(part[others].apply(_typed), self._reading):
                break  # in all rows, or where some are broken in one
        if found:
            several = len(found) > 1
            self._note(f"column{'s' * several} {' and '.join(map(repr, found))} "
                       f"{'are' if several else 'is'} taken as the time")
        elif unreadable := [(name, row[name]) for row in rows[:1] for name in others
                            if is_time_name(str(name)) and not _is_missing(row.get(name))]:
            self._tell(f"field {unreadable[0][0]!r} holds {unreadable[0][1]!r:.60}, "
                       "which is no time")
        return tuple(found)

    def _look_at_times(self, rows: list[dict]) -> None:
        """How times are written: as in the history, if these are so."""
        stamps = [stamp for row in rows if (stamp := self._stamp(row)) is not None]
        known = self._known.get("clock")
        if known is not None:
            read = Clock(self._reading, _nobody, known).moment
            if any(math.isfinite(read(stamp)) for stamp in stamps):
                self._clock = Clock(self._reading, self._note, known)
                return
        try:
            self._clock = Clock.recognise(
                pd.Series(stamps, name=" ".join(self._time)), self._reading, self._note)
        except ValueError as error:  # the first records may be broken
            self._tell(str(error))
            self._clock = Clock(self._reading, self._note)

    # -- rows -------------------------------------------------------------------------------------

    def _named(self, row: dict) -> Record:
        entity = None
        if self._reading.entity_column is not None:
            entity = self._entity_of(row.get(self._reading.entity_column))
        if self._take is None:  # nothing yet to know the features by
            return Record(None, shown(json.dumps(row, default=str)), entity)
        if not self._time:
            self._timeless += 1
            if row.keys() != self._keys or self._timeless < _TRIED or self._timeless == self._again:
                self._again = self._timeless + 1 + min(self._timeless // 2, _LOOK)
                self._look_for_time([row])
        time = self._time_in(row)
        try:
            cells = self._take(row)
        except KeyError:  # a name that is not there is a missing value, unless none is
            if not any(name in row for name in self.features or ()):
                return Record(time, shown(json.dumps(row, default=str)), entity)
            cells = tuple(row.get(name) for name in self.features or ())
        return Record(time, self._values(cells), entity)

    def _time_in(self, row: dict) -> float | None:
        if not self._time:
            return None
        if (stamp := self._stamp(row)) is None:  # the history had a time there
            return math.nan if self._known.get("time_column") else None
        assert self._clock is not None
        time = self._clock.moment(stamp)
        if math.isnan(time) and stamp != "":
            self._tell(f"field {' and '.join(map(repr, self._time))} holds {stamp!r:.60}, "
                       f"which is no time")
        return time

    def _stamp(self, row: dict) -> Any:
        """What a record has for its time; None for nothing."""
        if len(self._time) == 1:
            return row.get(self._time[0])
        parts = [row.get(name) for name in self._time]
        if any(part is None for part in parts):
            return None
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts) and ":" in texts[-1]:
            return " ".join(texts)
        named = zip(self._time, parts, strict=True)
        return joined([pd.Series([part], name=name) for name, part in named]).iloc[0]

    def _entity_of(self, cell: Any) -> str | None:
        """The name of a fleet's entity; where there is no fleet, all rows are of one."""
        if self._fleet is None:
            self._one_entity(cell)
            return None
        if _is_missing(cell) or not isinstance(cell, str | int | float):
            return None
        text = str(cell).strip()  # machine 7, not 7.0, unless the history has both
        name = text if text in self._fleet else entity_text(text)
        return name if 0 < len(name) <= _NAME else None

    def _one_entity(self, entity: Any) -> None:
        if self._entity is None:
            self._entity = entity
        elif entity is not None and entity != self._entity and (
                entity_text(entity) != entity_text(self._entity)):
            raise ValueError(f"entity_column {self._reading.entity_column!r} holds "
                             f"{self._entity!r} and {entity!r}; one engine judges one stream, so "
                             f"give each its own")

    def _values(self, cells: Sequence[Any]) -> list[float]:
        """Numbers of one row; those that are written plainly cost least."""
        if self._table.is_plain and self._plain and self._numbers and self._numbers.decimal != ",":
            try:
                return list(map(float, cells))
            except (TypeError, ValueError):  # an empty cell, say
                pass
        values = self._read_values(cells)
        total = sum(values)
        return values if total - total == 0 else [  # NaN in place of what is infinite
            value if value - value == 0 else math.nan for value in values]

    def _read_values(self, cells: Sequence[Any]) -> list[float]:
        assert self._numbers is not None
        if self._plain and self._numbers.decimal != ",":
            try:
                if type(cells[0]) is not str and str not in map(type, cells):
                    return list(map(float, cells))
                text = _BETWEEN.join(cells)
                if text.isascii() and "_" not in text:
                    try:
                        return list(map(float, cells))
                    except ValueError:
                        return [float(cell) if cell else math.nan for cell in cells]
            except (IndexError, TypeError, ValueError, OverflowError):
                pass
        return [self._cell(place, cell) for place, cell in enumerate(cells)]

    def _cell(self, place: int, cell: Any) -> float:
        assert self._numbers is not None
        if cell is None or cell == "":
            return math.nan
        try:
            return self._numbers.cell(cell)
        except ValueError as error:
            name = place if self.features is None or place >= len(self.features) else (
                self.features[place])
            if self._table.separator and name != cell in (self.features or ()):
                raise ValueError(f"the header comes again, with {cell!r} where {name!r} was; start "
                                 f"again with what follows it") from None
            self._tell(f"field {name!r}: {error}" if not str(error).endswith("is no number") else
                       f"field {name!r} holds {cell!r:.60}, which is no number: missing there "
                       "(name it in na_values if it means that)")
            return math.nan

    def _tell(self, sentence: str) -> None:
        """Tell the first few."""
        if self._reported < _REPORTED:
            self._note(sentence)
        elif self._reported == _REPORTED:
            self._note("further fields that cannot be read are counted as missing and not reported")
        self._reported += 1


def shown(text: str | bytes) -> str:
    """The beginning of what cannot be read."""
    text = text[:4 * _SHOWN]
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    return data.decode(errors="replace")[:_SHOWN]


def numbers_in(numbers: Numbers | None) -> Callable[[Any], bool]:
    """Whether a cell holds a number."""
    def is_number(cell: Any) -> bool:
        try:
            return not _is_missing(cell) and numbers is not None and not math.isnan(
                numbers.cell(cell))
        except ValueError:
            return False
    return is_number


def _is_json(line: bytes) -> bool:
    if line.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _typed(column: pd.Series) -> pd.Series:
    """A column of texts as numbers, where all of them are."""
    numbers = pd.to_numeric(column, errors="coerce")
    return column if (numbers.isna() & column.notna()).any() else numbers


def _flat(row: dict) -> dict:
    """Cells as a table holds them: no lists, and no whole numbers larger than any float."""
    return {name: cell if cell is None or isinstance(cell, str | float) or (
        isinstance(cell, int) and abs(cell) < 2**63) else shown(str(cell))
        for name, cell in row.items()}


def _is_missing(cell: Any) -> bool:
    return cell is None or cell == "" or cell != cell


def _nobody(sentence: str) -> None:
    """Hears a note that is not meant."""
