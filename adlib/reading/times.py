"""How times are written: recognised once, then read alike in a column and one after another.

A text is a date with or without a time of day and an offset, in ISO 8601 or as people write it. A
number counts seconds to nanoseconds from 1970 (dates of 1980 to 2100 overlap in no two units), or
seconds from the start of the recording, or is 20240131, or a day as spreadsheets count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache, reduce
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from adlib.reading.options import Note, Reading

__all__ = ["PER", "SINCE", "TIME_NAMES", "UNTIL", "Clock", "find_time", "is_day_of_year",
           "is_time_name", "joined"]

#: Names, in small letters, of columns that are the time where none is given; the first wins.
TIME_NAMES = (
    "time", "timestamp", "datetime", "date_time", "_time", "@timestamp", "time_stamp",
    "event_time", "time_utc", "timestamp_utc", "datetime_utc", "timestamps", "t_stamp", "ts",
    "date",
)  # fmt: skip

_NS = 10**9
_NO_OFFSET = 10**6
_NONE = 10**9, 0, 0  # what is read of a text that is no time
_NAT = np.iinfo(np.int64).min
_BOUND = 2**63 // _NS - 200_000  # seconds from 1970 that nanoseconds hold in any zone: 1678 to 2261
PER = {"s": 1, "ms": 10**3, "us": 10**6, "ns": _NS}  #: parts of a second
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
SINCE, UNTIL = 315_532_800, 4_102_444_800  #: 1980 and 2100: when recordings were made
_CENTURY_AGO = 2_208_988_800  # seconds from 1900 to 1970
_FIRST_DAY, _LAST_DAY = 25_569, 73_050  # 1970 and 2100 as spreadsheets count days
_LONGEST = 100  # letters of a time
_BLOCK = 900  # seconds: zones change their offset at quarters of an hour
_BEYOND = " is beyond the years 1678 to 2261 (a placeholder? leave such rows out)"
_BEST = "write times in one way, best as 2024-01-31 13:45"

_MONTHS = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
#: Offsets by the names of RFC 2822, and those of central Europe; other letters are ambiguous, and
#: so is CST, which is China's too, outside a date as that standard writes it.
_ZONES = {"z": 0, "utc": 0, "gmt": 0, "ut": 0, "est": -5, "edt": -4, "cdt": -5, "mst": -7,
          "mdt": -6, "pst": -8, "pdt": -7, "cet": 1, "cest": 2}

#: What pandas and `datetime.fromisoformat` read, and read alike.
_PLAIN = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_OFFSET_AT_END = r"(?:Z|:\d\d(?:\.\d+)?[+-]\d\d:?\d\d)$"  # of a plain one
_FLAGS = re.IGNORECASE | re.ASCII
_is_plain = re.compile(_PLAIN, re.ASCII).fullmatch
_is_number = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?", _FLAGS).fullmatch
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_without_weekday = re.compile("^" + _WEEKDAY, _FLAGS)
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]*"
_DATES = [re.compile(pattern, _FLAGS) for pattern in (
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?",
    r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
    r"(?P<d>\d{1,2})(?P<mark>[./-])(?P<m>\d{1,2})(?P=mark)(?P<y>\d{4}|\d\d)",  # or month first
    rf"(?P<y>\d{{4}})[-/\s](?P<m>{_MONTH})[-/\s](?P<d>\d{{1,2}})",
    rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[-/.\s]\s*(?P<m>{_MONTH})[-/.,\s]\s*(?P<y>\d{{4}}|\d\d)",
    rf"(?P<m>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,\s*|\s+)(?P<y>\d{{4}})",
)]
_numeric = _DATES[2].fullmatch
_DATE = re.sub(r"\?P<\w+>", "?:", "|".join(date.pattern for date in _DATES)).replace(
    "(?P=mark)", "[./-]")
_TIME = (r"([01]?\d|2[0-4])(?:([:.]?)([0-5]\d)(?:\2([0-5]\d)(?:(?:[.,]|:(?=\d{3}\b))(\d+))?)?)?"
         r"(?:\s*([ap])\.?\s?m\.?)?\s*(?:(?:utc|gmt)?([+-])([01]\d|2[0-3]):?([0-5]\d)?(?:\s+[a-z]{3,4})?"
         rf"|({'|'.join(_ZONES)}))?(?:\s*[(\[].*[)\]])?")
_time = re.compile(_TIME, _FLAGS).fullmatch
_dated = re.compile(rf"{_WEEKDAY}({_DATE})(?:(?:(?<=\d)[t_]|,?\s+(?:@\s+)?|:)(\d.*))?",
                    _FLAGS).fullmatch
_year_last = re.compile(rf"{_WEEKDAY}({_MONTH}\s+\d+)\s+(\d+:\d+:\d+(?:\s+[a-z]+)?)\s+(\d{{4}})",
                        _FLAGS).fullmatch
_is_central = re.compile(r"[a-z]{3},\s.*:\d\d\s+cst", _FLAGS).fullmatch
_is_duration = re.compile(r"-?\d+ days?\b.*|-?pt?\d.*|\d+:\d\d(?::\d\d)?(?:[.,]\d+)?",
                          _FLAGS).fullmatch


class Clock:
    """How the times of a column or a stream are written.

    Parameters
    ----------
    reading : Reading
        Its ``time_unit`` and ``time_zone`` are obeyed; what they leave open is recognised.
    note : callable
        Takes a sentence on what was recognised.
    state : mapping, optional
        What `to_dict` of another clock gave, such as that of a fitted model.

    Examples
    --------
    >>> notes = []
    >>> column = pd.Series(["3/4/24 10:00", "13/4/24 10:00"])
    >>> clock = Clock.recognise(column, Reading(), notes.append)
    >>> clock.column(column).astype("datetime64[m]").tolist()[0].isoformat()
    '2024-04-03T10:00:00'
    >>> clock.moment("3/4/24 10:00")
    1712138400.0
    >>> notes
    ["times such as '13/4/24 10:00' are read with the day first, as 2024-04-13 10:00:00"]
    """

    def __init__(self, reading: Reading, note: Note, state: Mapping[str, Any] | None = None):
        state = state or {}
        self._told = reading.time_unit
        self._zone = reading.time_zone or state.get("zone")
        self._offsets = None if self._zone in (None, "UTC") else _offsets_of(str(self._zone))
        self._local = _Local()
        self._order: str | None = state.get("order")
        self._note, self._noted = note, set[str]()
        self._kind: str | None = None
        self._low, self._high, self._per = math.inf, -math.inf, 1  # numbers that are read at once
        if state.get("kind") and self._told in (None, state.get("unit")):
            self._settle(state["kind"])

    @classmethod
    def recognise(cls, column: pd.Series, reading: Reading, note: Note,
                  state: Mapping[str, Any] | None = None) -> Clock:
        """The clock of a column, all of whose cells are looked at.

        Parameters
        ----------
        column : Series
            Texts, numbers or dates.
        reading : Reading
        note : callable
            Takes a sentence on what was recognised as other than ISO 8601.
        state : mapping, optional
            What another clock found: its order of day and month counts where none is seen.

        Returns
        -------
        Clock

        Raises
        ------
        ValueError
            When dates contradict each other, or numbers are none in ``time_unit`` or in any.
        """
        clock = cls(reading, note)
        clock._order = (state or {}).get("order")
        if not pd.api.types.is_datetime64_any_dtype(column.dtype):
            values, texts = _cells(column.dropna())
            if values is not None:
                clock._kind_of(values, texts)
            elif len(texts):
                clock._kind = "dates"
                clock._order_of(texts[~texts.str.fullmatch(_PLAIN).to_numpy(bool)].tolist())
        return clock

    def to_dict(self) -> dict[str, Any]:
        """What was recognised, as plain values.

        Returns
        -------
        dict
            To be handed to another clock as its ``state``.
        """
        return {"kind": self._kind, "unit": self._told, "order": self._order, "zone": self._zone}

    # -- a column ---------------------------------------------------------------------------------

    def column(self, column: pd.Series) -> np.ndarray:
        """Times of a whole column.

        Parameters
        ----------
        column : Series

        Returns
        -------
        ndarray of datetime64[ns]
            In UTC, shape (n_rows,).

        Raises
        ------
        ValueError
            For the first cell that is empty, no time, or beyond the years 1678 to 2261.
        """
        dates = pd.api.types.is_datetime64_any_dtype(column.dtype)
        values, texts = (None, column) if dates else _cells(column)
        if (empty := (texts.isna() | (texts == "")).to_numpy(bool)).any():
            raise ValueError(f"the time is missing in data row {int(empty.argmax()) + 1} "
                             f"({int(empty.sum())} in all); fill it, or leave such rows out")
        if dates:
            zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
            found = _in_nanoseconds(column.dt.tz_convert(None) if zoned else column)
            found = self._to_utc(found, np.full(len(found), not zoned))
        elif values is None:
            found = self._texts(texts)
        else:
            self._kind_of(values, texts)
            found = self._numbers(values)
        if (bad := np.isnat(found)).any():
            row = int(bad.argmax())
            raise ValueError(self._why(column.iloc[row], f" in data row {row + 1}"))
        return found

    def _texts(self, texts: pd.Series) -> np.ndarray:
        """Dates in UTC, NaT for what is none."""
        plain = texts.str.fullmatch(_PLAIN).to_numpy(bool)
        found = np.full(len(texts), np.datetime64("NaT", "ns"))
        naive = np.zeros(len(texts), bool)
        if plain.any():
            some = texts if plain.all() else texts[plain]
            read = pd.to_datetime(some, format="ISO8601", errors="coerce", utc=True)
            found[plain] = _in_nanoseconds(read.dt.tz_convert(None))
        odd = np.flatnonzero(np.isnat(found))
        if plain.any() and (self._offsets is not None or len(odd)):
            naive[plain] = ~some.str.contains(_OFFSET_AT_END).to_numpy(bool)
        if len(odd):  # what pandas does not read
            cells = texts.iloc[odd].tolist()
            if self._order is None and self._kind not in ("compact", "year"):
                self._order_of(cells)
            day, ns, offset = np.array([
                not _is_number(text) and _parse(text, self._order) or _NONE for text in cells]).T
            naive[odd] = offset == _NO_OFFSET
            seconds = day * 86_400 - np.where(naive[odd], 0, offset)
            fits = (day != _NONE[0]) & (abs(seconds) < _BOUND)
            found[odd[fits]] = (seconds * _NS + ns)[fits].view(found.dtype)
        return self._to_utc(found, naive)

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        """Numbers in UTC, NaT for what is none."""
        found = np.full(len(values), np.datetime64("NaT", "ns"))
        good = (values >= 0) & (values < np.inf)
        if self._kind in ("year", "compact"):
            texts = pd.Series(np.where(good, values, 0)).astype(np.int64).astype(str)
            return self._texts(texts + "-01" if self._kind == "year" else texts.str.replace(
                r"^(\d{4})(\d\d)(\d\d)", r"\1-\2-\3 ", regex=True).str.strip())
        if self._kind == "excel":
            good &= (values >= 1) & (values < _BOUND / 86_400)
            thousandths = np.round((values[good] - _FIRST_DAY) * 86_400_000).astype(np.int64)
            found[good] = (thousandths * 10**6).view(found.dtype)
            return found
        per = self._per
        good &= values / per < _BOUND
        whole = np.floor(values[good])
        part = np.round((values[good] - whole) * (_NS // per)).astype(np.int64)
        whole = values[good] if values.dtype.kind in "iu" else whole
        found[good] = (whole.astype(np.int64) * (_NS // per) + part).view(found.dtype)
        return found

    def _to_utc(self, found: np.ndarray, naive: np.ndarray) -> np.ndarray:
        """Local times as UTC where they name no offset; NaT in the hour that spring leaves out."""
        rows = np.flatnonzero(naive & ~np.isnat(found))
        if len(rows) and not naive.all() and self._zone is None:
            self._say("mixed", f"{len(rows)} of {len(naive)} times name no zone, as others do, and "
                      "are read in UTC (time_zone names another)")
        if self._offsets is None or not len(rows):
            return found
        ns = found.view(np.int64).copy()
        if (np.diff(ns[rows]) < 0).sum() > len(rows) / 2:  # the newest row comes first
            rows = rows[::-1]
        local = ns[rows]
        blocks, which = np.unique(local // (_BLOCK * _NS), return_inverse=True)
        offsets = np.array([self._offsets(block) for block in blocks.tolist()], np.int64)[which]
        first = offsets[:, 0].copy()
        twice = offsets[:, 0] > offsets[:, 1]
        again = np.flatnonzero((np.diff(local, prepend=local[0] - 1) == 0) & ~twice)
        clock = _Local()
        for k in np.flatnonzero(twice).tolist():
            if k and not twice[k - 1]:
                clock.last = int(local[k - 1])
                clock.step = int(local[k - 1] - local[k - 2]) if k > 1 else 0
                clock.second, clock.repeats = False, bool(len(again) and again[0] < k)
            if clock.is_second(int(local[k]), int(first[k] - offsets[k, 1])):
                first[k] = offsets[k, 1]
        if twice.any():
            self._say_twice(int(local[twice.argmax()]))
        ns[rows] = np.where(offsets[:, 0] < offsets[:, 1], _NAT, local - first * _NS)
        return ns.view(found.dtype)

    # -- one after another ------------------------------------------------------------------------

    def moment(self, value: Any) -> float:
        """The time of one record.

        Parameters
        ----------
        value : object
            Text, number or date.

        Returns
        -------
        float
            POSIX seconds; NaN where there is no time.
        """
        kind = type(value)
        if kind is str:
            if value[4:5] == "-" and _is_plain(value):
                return self._plain(value)
            try:
                value = float(value)
            except ValueError:
                return self._text(value)
        elif kind is not float and kind is not int:
            return math.nan if value is None or kind is bool else self._text(str(value))
        if self._low <= value <= self._high:
            return value / self._per
        return self._number(value)

    def _plain(self, text: str) -> float:
        try:
            read = datetime.fromisoformat(text)
        except ValueError:  # 24:00 is midnight
            return self._text(text)
        if read.tzinfo is None:
            if self._offsets is not None:
                return self._text(text)
            read = read.replace(tzinfo=UTC)
        seconds = read.timestamp()
        return seconds if -_BOUND < seconds < _BOUND else math.nan

    def _text(self, text: str) -> float:
        text = text.strip()[:_LONGEST + 1]
        if _is_number(text):
            return self._number(float(text.replace(",", ".")))
        if self._order is None:
            self._order_of([text])
        if (read := _parse(text, self._order)) is None:
            if _parse(text, "month" if self._order == "day" else "day"):
                self._say("order", self._why(text, ""))
            return math.nan
        self._kind = self._kind or "dates"
        day, ns, offset = read
        seconds = day * 86_400 - (0 if offset == _NO_OFFSET else offset)
        if abs(seconds) >= _BOUND:
            return math.nan
        if offset == _NO_OFFSET and self._offsets is not None:
            first, second = self._offsets((seconds + ns // _NS) // _BLOCK)
            if first > second:
                self._say_twice(seconds * _NS + ns)
            late = self._local.is_second(seconds * _NS + ns, first - second)
            seconds -= second if late else first
            if first < second:
                return math.nan
        return seconds + ns / _NS

    def _number(self, value: float) -> float:
        """A number that is not as those before."""
        if not 0 <= value < 1e300:  # a whole number may be larger than any float
            return math.nan
        if self._kind == "excel" and _FIRST_DAY <= value <= _LAST_DAY:
            return round((value - _FIRST_DAY) * 86_400, 3)
        text = str(int(value))
        if self._kind == "compact" and len(text) in (8, 10, 12, 14) and value % 1 == 0:
            text = text.ljust(14, "0")
            seconds = self._plain(
                f"{text[:4]}-{text[4:6]}-{text[6:8]} {text[8:10]}:{text[10:12]}:{text[12:]}")
            if -_CENTURY_AGO < seconds < UNTIL:
                return seconds
        values = np.array([float(value)])
        try:
            self._kind_of(values, [value])
        except ValueError as error:
            self._say("number", str(error))
            return math.nan
        read = self._numbers(values)[0]
        return math.nan if np.isnat(read) else int(read.astype(np.int64)) / _NS

    # -- what is recognised -----------------------------------------------------------------------

    def _say(self, topic: str, sentence: str) -> None:
        """A note, once."""
        if topic not in self._noted:
            self._noted.add(topic)
            self._note(sentence)

    def _say_twice(self, local: int) -> None:
        self._say("twice", f"times such as {_written(local)} come twice in {self._zone}: read as "
                  "summer time until the local clock went back, then as standard time")

    def _settle(self, kind: str) -> None:
        self._kind = kind
        if kind in PER:
            self._per = PER[kind]
            self._low, self._high = SINCE * self._per, UNTIL * self._per
        elif kind == "elapsed":
            self._per = PER[self._told or "s"]
            self._low, self._high = 0, _BOUND * self._per - 1 if self._told else SINCE - 1

    def _kind_of(self, values: np.ndarray, cells: Any) -> None:
        """Recognise what numbers count."""
        good = (values >= 0) & (values < np.inf)
        if not good.any() or (self._told in PER and self._kind == "elapsed"):
            return
        row = int((good & (values > 0)).argmax())
        shown = _shown(list(cells[row:row + 1])[0], f" in data row {row + 1}" * (len(values) > 1))
        name = self._kind if self._kind == "year" else str(getattr(cells, "name", ""))
        if self._told is None and name.strip().lower() == "year" and _are_years(values[good]):
            kind = "year"
        else:
            kind = _counted(values[good], self._told, values[row], shown)
        if kind == "elapsed" and self._kind not in (None, "elapsed"):
            if self._told is None:
                raise ValueError(f"{shown} is too small for a date, which the times before were")
            kind = self._told
        if kind != self._kind:
            self._settle(kind)
            if self._told is None:
                self._say_kind(values[row:row + 1], shown)

    def _say_kind(self, value: np.ndarray, shown: str) -> None:
        kind, read = str(self._kind), self._numbers(value).astype(np.int64)[0]
        what = f"{_WORDS[kind]} from 1970" if kind in _WORDS else "dates"
        example = f", such as {shown} as {_written(read)}" if read != _NAT else ""
        self._say(kind, f"times are numbers: read as {what}{example}" if kind != "elapsed" else
                  "times are numbers too small for dates: read as seconds from the start of the "
                  "recording; if they count something else, give time_unit")

    def _order_of(self, texts: list[str]) -> None:
        """Whether 03/04/2024 is in April: decided by a number above 12 in any row, else by dots."""
        odd = list({text[:10]: text for text in reversed(texts) if not _is_plain(text)}.values())
        dates = _numeric_dates(odd[::-1])
        day, month = _deciding(dates, 0), _deciding(dates, 2)
        if day and month:
            raise ValueError(f"dates have the day first in {day!r} and the month first in "
                             f"{month!r}; {_BEST}")
        how = doubt = ""
        if dates:
            dots = next(iter(dates.values()))[1] == "."
            how, doubt = self._first_of(day, month, dots)
        doubtful = [text for text, date in dates.items() if date[0] != date[2]]
        self._say_written([text for text in (day, month) if text] + doubtful + odd[-1:], how, doubt)

    def _first_of(self, day: str | None, month: str | None, dots: bool) -> tuple[str, str]:
        """Settle what comes first, and say it with its doubt; what was before counts last."""
        told = bool(day or month or dots)
        if not told and self._order:
            return f" with the {self._order} first, as before,", ""
        self._order = "day" if day or (dots and not month) else "month"
        return f" with the {self._order} first,", (
            "" if told else "; if that is wrong, write them as 2024-01-31")

    def _say_written(self, examples: list[str], how: str, doubt: str) -> None:
        if examples and (read := _parse(example := examples[0], self._order)):
            day, ns, offset = read
            utc, offset = (" UTC", offset) if offset != _NO_OFFSET else ("", 0)
            self._say("written", f"times such as {example!r} are read{how} as "
                                 f"{_written((day * 86_400 - offset) * _NS + ns)}{utc}{doubt}")

    def _why(self, cell: Any, where: str) -> str:
        """Why a cell is no time."""
        shown, text = _shown(cell, where), str(cell).strip()
        if _is_number(text) or text.lower() in ("nan", "inf", "-inf"):
            if text.startswith("-") or not text[0].isdigit():
                return f"{shown} is no time: it must be a number from 0 on, or a date"
            if self._kind in ("dates", "compact", "year"):
                return f"{shown} is a number, and no date as the others are; {_BEST}"
            return f"{shown}{_BEYOND}"
        if read := _parse(text, self._order):
            if abs(read[0]) >= _BOUND // 86_400:
                return f"{shown}{_BEYOND}"
            if self._kind != "dates":
                return f"{shown} is a date, and the others are numbers; {_BEST}"
            return (f"{shown} is a time that the clocks of {self._zone} left out in spring; if the "
                    "clock was not changed, give another time_zone")
        if _parse(text, "month" if self._order == "day" else "day"):
            return f"{shown} does not have the {self._order} first, as the times before; {_BEST}"
        if _of_day(text):
            return (f"{shown} is a time of day without a date: give time_column=['date', 'time'], "
                    "or numbers if it counts from the start of the recording")
        if _is_duration(text):
            return (f"{shown} is a duration: give its seconds as a number, which count from the "
                    "start of the recording, or dates")
        return f"{shown} cannot be read as a time; {_BEST}"


class _Local:
    """A local clock that is watched: in autumn it shows an hour twice."""

    def __init__(self) -> None:
        self.last, self.step = -(2**63), 0  # nanoseconds
        self.second = self.repeats = False

    def is_second(self, local: int, shift: int) -> bool:
        """Whether a time is shown again: the clock has gone back, by ``shift`` seconds if any.

        An equal time has done so where rows are as far apart, unless times repeat anyway.
        """
        step = local - self.last
        if shift <= 0:
            self.second = False
            self.repeats |= step == 0
        elif step < 0 or (step == 0 and self.step >= shift * _NS and not self.repeats):
            self.second = True
        self.last, self.step = local, step
        return self.second


def find_time(frame: pd.DataFrame, reading: Reading | None = None) -> tuple[str, ...]:
    """The columns that are the time of a table in which none was given.

    Parameters
    ----------
    frame : DataFrame
    reading : Reading, default=None
        Its ``time_unit`` is obeyed.

    Returns
    -------
    tuple of str
        One of `TIME_NAMES` whose values are dates, or numbers that never fall; a date and a time
        of day; or none.

    Examples
    --------
    >>> find_time(pd.DataFrame({"Time": ["10:00", "11:00"], "Date": ["2024-01-13"] * 2}))
    ('Date', 'Time')
    >>> find_time(pd.DataFrame({"time": [3.0, 1.0]}))
    ()
    """
    by_name = {_plain_name(name): name for name in map(str, frame)}
    names = [by_name[name] for name in TIME_NAMES if name in by_name]
    for name in names:
        column = frame[name].dropna()
        head = column.head(1000)
        if len(head) and all(_of_day(str(cell).strip() or "-") for cell in head):
            for other in names:
                both = joined([frame[other].loc[head.index], head])
                if other != name and _kind_in(both, reading):
                    return other, name
        kind = _kind_in(head, reading)
        if kind == "elapsed":
            if found := _date_beside(column, frame, names, reading):
                return found
        elif kind:
            return (name, *_clock_beside(head, frame, kind))
    return ()


def is_time_name(name: str) -> bool:
    """Whether a column is named like a time.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_time_name("Time Stamp"), is_time_name("runtime")
    (True, False)
    """
    return _plain_name(name) in TIME_NAMES


def is_day_of_year(name: str) -> bool:
    """Whether a column is named like the number of a day in its year.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool

    Examples
    --------
    >>> is_day_of_year("Julian Day"), is_day_of_year("day")
    (True, False)
    """
    return _plain_name(name).replace("_", "") in ("doy", "jday", "yday", "julianday", "dayofyear")


def _plain_name(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _clock_beside(dates: pd.Series, frame: pd.DataFrame, kind: str) -> tuple[str, ...]:
    """The column of times of day that makes times of dates that repeat."""
    repeats = kind in ("dates", "compact") and 2 * dates.nunique() <= len(dates)
    for name in map(str, frame if repeats else ()):
        cells = frame[name].loc[dates.index]
        is_clock = _plain_name(name) in ("hour", "hhmm", "time") or (
            not pd.api.types.is_numeric_dtype(cells)) and (
            cells.astype("str").str.fullmatch(r"\s*\d?\d([:.])\d\d(\1\d\d.*)?").all())
        if is_clock and _kind_in(joined([dates, cells]), None):
            return (name,)
    return ()


def _date_beside(clock: pd.Series, frame: pd.DataFrame, names: list[str],
                 reading: Reading | None) -> tuple[str, ...]:
    """A column of numbers that never fall, behind the dates of which they are the times of day."""
    alone = (str(clock.name),) if clock.is_monotonic_increasing else ()
    # as texts: pandas refuses whole numbers beyond all floats, even where it may coerce
    values = pd.to_numeric(clock.astype("str"), errors="coerce").to_numpy(np.float64)
    if not ((values % 1 == 0) & (values <= 240_000) & (values % 100 < 60)
            & (values // 100 % 100 < (60 if values.max() > 2400 else 25))).all():
        return alone  # seconds from a start pass 60 to 99, and 9, 930 or 93000 do not
    for other in names:
        dates = frame[other].loc[clock.index].head(1000)
        if other != clock.name and clock.name in _clock_beside(
                dates, frame, _kind_in(dates, reading) or ""):
            return other, str(clock.name)
    return alone


def _kind_in(column: pd.Series, reading: Reading | None) -> str | None:
    """How most cells of a column write times; None where they are none."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "dates"
    kind = None
    with suppress(ValueError):
        clock = Clock.recognise(column, reading or Reading(), str)
        found = [clock.moment(cell) for cell in column.iloc[:: max(1, len(column) // 100)]]
        # a few spoiled cells are refused by whoever reads all of them, and not passed over
        if 2 * np.isfinite(found).sum() > len(found):
            kind = clock.to_dict()["kind"] or "dates"
    # where the unit that was given is wrong, whoever reads the column says so
    return kind if kind or reading is None else _kind_in(column, None)


def joined(columns: Sequence[pd.Series]) -> pd.Series:
    """Columns that make one time together, such as a date and a time of day, as texts.

    Parameters
    ----------
    columns : sequence of Series

    Returns
    -------
    Series of str
        Missing where any of them is.

    Examples
    --------
    >>> date = pd.to_datetime(pd.Series(["2024-01-13", "2024-01-13"]))
    >>> joined([date, pd.Series(["10:00", "11:00"])]).tolist()
    ['2024-01-13 10:00', '2024-01-13 11:00']
    >>> joined([pd.Series([2024]), pd.Series([1]), pd.Series([13]), pd.Series([9])]).tolist()
    ['2024-1-13 09:00']
    """
    parts = []
    for column in columns:
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.dt.strftime("%Y-%m-%d")
        elif pd.api.types.is_float_dtype(column.dtype) and (column.dropna() % 1 == 0).all():
            column = column.astype("Int64")
        parts.append(column.astype("str").where(column.notna(), None).str.strip())
    if len(parts) > 1 and is_day_of_year(str(columns[1].name)):
        day = parts[0] + "-" + parts[1].str.zfill(3)
        dates = pd.to_datetime(day, format="%Y-%j", errors="coerce").dt.strftime("%Y-%m-%d")
        parts, columns = [dates.where(dates.notna(), day), *parts[2:]], columns[1:]
    if len(parts) == 1:
        return parts[0]
    head = 3 if len(parts) > 2 and (parts[0].str.len() == 4).all() else 1  # year, month, day
    day = reduce(lambda a, b: a + "-" + b, parts[:head])
    clock = parts[head:]
    return day + " " + _clock_of(clock, str(columns[head].name).lower()) if clock else day


def _clock_of(clock: list[pd.Series], name: str) -> pd.Series:
    """Columns of hours, minutes and so on, the first of that name, as a time of day."""
    if clock[0].str.fullmatch(r"\d+").all():  # 9 is an hour, 930 and 93000 lost their zeros
        largest = pd.to_numeric(clock[0], errors="coerce").max()
        named = 6 if "hhmmss" in name else 4 if "hhmm" in name else 2
        width = max(named, 2 if largest <= 24 else 4 if largest <= 2400 else 6)
        clock[0] = clock[0].str.zfill(width) + (":00" if width == 2 and len(clock) == 1 else "")
    clock[1:] = [part.str.replace(r"^(\d)(?=\.|$)", r"0\1", regex=True) for part in clock[1:]]
    return reduce(lambda a, b: a + ":" + b, clock)


def _numeric_dates(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Texts such as 3/4/2024 10:00, and the parts of their dates."""
    found = {text: match.groups() for text in texts
             if (split := _dated(" ".join(text.split()))) and (match := _numeric(split[1]))}
    first, _, _, last = map(set, zip(*found.values(), strict=True)) if found else [set()] * 4
    if len(first) == 1 and len(last) > 2 and len(max(last)) == 2:
        raise ValueError(f"dates such as {next(iter(found))!r} seem to begin with the year; "
                         "write it with four digits, as 2024-01-31")
    return found


def _deciding(dates: dict[str, tuple[str, ...]], k: int) -> str | None:
    """The first text in which part ``k`` can only be the day."""
    return next((text for text, date in dates.items()
                 if 1 <= int(date[2 - k]) <= 12 < int(date[k]) <= 31), None)


# -- texts ----------------------------------------------------------------------------------------


def _parse(text: str, order: str | None) -> tuple[int, int, int] | None:
    """Day from 1970, nanoseconds from its midnight, and the offset in seconds."""
    if len(text) > _LONGEST:
        return None
    if text[-3:].upper() == "CST" and _is_central(text):
        text = text[:-3] + "-0600"
    cut = text.rfind(" ", 0, text.find(":"))  # nearly always; both parts are remembered
    head, tail = (text[:cut], text[cut + 1:]) if cut > 0 else (text, "")
    day, clock = _day(head, order), _of_day(tail)
    if day is None or clock is None:
        text = " ".join(text.split())  # also blanks that do not break
        if late := _year_last(text):
            text = f"{late[1]}, {late[3]} {late[2]}"
        if (split := _dated(text)) is None:
            return None
        day, clock = _day(split[1], order), _of_day(split[2] or "")
    return None if day is None or clock is None else (day, *clock)


@lru_cache(4096)
def _day(text: str, order: str | None) -> int | None:
    """Days from 1970."""
    text = _without_weekday.sub("", text)
    found = next((match for date in _DATES if (match := date.fullmatch(text))), None)
    if found is None:
        return None
    year, month, day = found["y"], found["m"], found["d"] or "1"
    if found.re is _DATES[2] and order != "day":
        month, day = day, month
    if len(year) == 2:  # as the C library has it
        year = ("19" if year >= "69" else "20") + year
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    try:
        return date(int(year), number, int(day)).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None


@lru_cache(2**17)  # a day has 86,400 seconds
def _of_day(text: str) -> tuple[int, int] | None:
    """Nanoseconds from midnight, and the offset in seconds."""
    if not text:
        return 0, _NO_OFFSET
    if (found := _time(text)) is None:
        return None
    hour, minute, second = (int(found[k] or 0) for k in (1, 3, 4))
    if found[6]:  # 12 AM is midnight
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found[6] in "pP")
    elif len(found[1]) == 1 and not found[2]:  # 930 may have lost more than one zero
        return None
    ns = ((hour * 60 + minute) * 60 + second) * _NS + int(((found[5] or "") + "0" * 9)[:9])
    if ns > 86_400 * _NS:
        return None
    if found[10]:
        return ns, _ZONES[found[10].lower()] * 3600
    if not found[7]:
        return ns, _NO_OFFSET
    return ns, (int(found[8]) * 60 + int(found[9] or 0)) * (60 if found[7] == "+" else -60)


@cache
def _offsets_of(zone: str) -> Any:
    """What gives a zone's offsets, in seconds, of a local quarter of an hour: two in autumn."""
    where, epoch = ZoneInfo(zone), datetime(1970, 1, 1)

    @lru_cache(4096)
    def offsets(block: int) -> tuple[int, int]:
        local = (epoch + timedelta(seconds=block * _BLOCK)).replace(tzinfo=where)
        first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
        assert first is not None and second is not None
        return int(first.total_seconds()), int(second.total_seconds())

    return offsets


def _written(ns: int) -> str:
    """A time as text."""
    return str(datetime(1970, 1, 1) + timedelta(microseconds=int(ns) // 1000))


def _shown(cell: Any, where: str) -> str:
    return f"{str(cell)[:60]!r}{where}"


# -- numbers --------------------------------------------------------------------------------------


def _cells(column: pd.Series) -> tuple[np.ndarray | None, pd.Series]:
    """A column as numbers, where it holds them, and as texts without blanks around them."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(), column
    texts = column.astype("str").str.strip()
    head = texts.dropna().head(100).tolist()
    if 2 * sum(map(bool, map(_is_number, head))) <= len(head):
        return None, texts
    return pd.to_numeric(texts.str.replace(",", "."), errors="coerce").to_numpy(), texts


def _in_nanoseconds(times: pd.Series) -> np.ndarray:
    """datetime64[ns], NaT for what it cannot hold."""
    array = times.to_numpy()
    unit = np.datetime_data(array.dtype)[0]
    fits = abs(array.view(np.int64) / PER[unit]) < _BOUND
    found = np.full(len(array), np.datetime64("NaT", "ns"))
    found[fits] = array[fits].astype("datetime64[ns]")
    return found


def _plausible(values: np.ndarray, unit: str) -> np.ndarray:
    return (values >= SINCE * PER[unit]) & (values <= UNTIL * PER[unit])


def _compact(values: np.ndarray) -> np.ndarray:
    """Which numbers are such as 20240131, 2024013113, 202401311345 or 20240131134500."""
    digits = np.select([values < 1e8, values < 1e10, values < 1e12], [0, 2, 4], 6)
    day, time = np.divmod(values, 10.0**digits)
    time *= 10.0 ** (6 - digits)
    month, hour = day // 100 % 100, time // 1e4
    return ((values % 1 == 0) & (day >= 19000101) & (day <= 21001231)
            & (month >= 1) & (month <= 12) & (day % 100 >= 1) & (day % 100 <= 31)
            & (hour <= 23) & (time // 100 % 100 <= 59) & (time % 100 <= 59))


def _year_at_end(values: np.ndarray) -> bool:
    """Whether all are such as 310124 or 31012024, with the day or the month first.

    The multiples of one step, such as 10100, 10200 and 10300, are a count.
    """
    some = np.unique(values)
    steps = np.unique(np.diff(some))
    if len(steps) == 1 and not (some % steps[0]).any():
        return False
    for digits in (4, 2):
        day, year = np.divmod(some, 10.0**digits)
        first, second = np.divmod(day, 100)
        at_end = (year >= 1900) & (year <= 2100) if digits == 4 else year % 1 == 0
        for days, months in ((first, second), (second, first)):
            valid = at_end & (days >= 1) & (days <= 31) & (months >= 1) & (months <= 12)
            if valid.all() and len(np.unique(year)) <= 3 and len(np.unique(day)) >= 2:
                return True
    return False


def _are_years(values: np.ndarray) -> bool:
    return bool(((values % 1 == 0) & (values > 1677) & (values < 2262)).all())


def _counted(values: np.ndarray, told: str | None, example: float, shown: str) -> str:
    """What numbers count: a unit, "excel", "compact" or "elapsed"."""
    fits = {unit: _plausible(values, unit) for unit in PER}
    known = values[values > 0]  # 0 may stand for none
    other = next((unit for unit in PER if len(known) and _plausible(known, unit).all()), None)
    spreadsheet = bool(((values >= _FIRST_DAY) & (values <= _LAST_DAY)).all())
    if told is not None:
        return _as_told(values, told, other, spreadsheet, example, shown)
    if _compact(values).all():
        return "compact"
    for unit in PER:
        if fits[unit].all():
            return unit
    _refuse_days(values, spreadsheet, example, shown)
    if any(fit.any() for fit in fits.values()) or values.max() >= SINCE:
        raise ValueError(f"{shown} and the other times are dates of 1980 to 2100 in no one unit; "
                         "give time_unit, or leave out rows with a placeholder")
    if len(values) > 1 and values.min() >= 1900 and np.ptp(values) < values.min() / 10:
        raise ValueError(f"{shown} and the other times count neither from 1970 nor from a start "
                         "near 0, so they may be years or days: write dates, or give time_unit if "
                         "they count 's' or 'ms'")
    return "elapsed"


def _refuse_days(values: np.ndarray, spreadsheet: bool, example: float, shown: str) -> None:
    if _year_at_end(values):
        raise ValueError(f"{shown} and the other times seem to be days with their year at the end; "
                         "write them as 2024-01-31, or give time_unit if they count 's' or 'ms'")
    if spreadsheet:
        raise ValueError(f"{shown} seems to be a day as spreadsheets count them, "
                         f"{_year(example, 'excel')}: give time_unit='excel'")


def _as_told(values: np.ndarray, told: str, other: str | None, spreadsheet: bool,
             example: float, shown: str) -> str:
    """What numbers of a given unit are; refused where it is plainly another."""
    if told in PER and _plausible(values, told).all():
        return told
    better = other if other != told else None
    if better is None and told in PER and len(values) > 1 and spreadsheet:
        better = "excel"
    if better is not None:
        raise ValueError(f"time_unit={told!r} makes {shown} {_year(example, told)}; "
                         f"time_unit={better!r} makes it {_year(example, better)}" + (
                             " (of seconds from a start, subtract the first)"
                             if better == "excel" else ""))
    if _compact(values).all():
        raise ValueError(f"{shown} is a date, not a number of {_WORDS.get(told, 'days')}: leave "
                         "time_unit out")
    if told == "excel":
        if values.min() < 1:
            raise ValueError(f"{shown} is a time of day without a date: give "
                             "time_column=['date', 'time']")
        return told
    return "elapsed"


def _year(value: float, unit: str) -> str:
    seconds = (value - _FIRST_DAY) * 86_400 if unit == "excel" else value / PER[unit]
    year = np.datetime64(int(min(seconds, 2**60)), "s").astype("datetime64[Y]")
    return f"the year {year}"
