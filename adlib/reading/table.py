"""A whole file as a table: rows in the order of time, labels, features, entities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.arguments import shown
from adlib.reading.columns import features, require
from adlib.reading.dialect import raw_table
from adlib.reading.labels import NO, YES, inside, labels, tokens, windows_of
from adlib.reading.numbers import Numbers, present, sentinels
from adlib.reading.options import Note, Reading, visible
from adlib.reading.times import (
    SINCE,
    TIME_NAMES,
    Clock,
    find_time,
    is_day_of_year,
    is_time_name,
    joined,
)

__all__ = ["Table", "about", "entity_text", "named_times", "read_table"]

#: Words in the name of a column that says which machine, patient or account a row is of.
ENTITY_WORDS = {"machine", "device", "unit", "entity", "host", "server", "patient", "subject",
                "account", "customer", "asset", "station", "site", "node", "pump", "motor",
                "engine", "turbine", "vehicle", "sensor", "series", "tag"}
NUMBER = {"id", "no", "nr", "number", "name", "key", "code"}
#: Columns that make a time together, by their names: year, month, day, hour, minute, second.
PARTS = [words.split() for words in (
    "year yyyy yy yr jahr année anno año", "month mm mo monat mois mese mes",
    "day dd dy tag jour giorno día", "hour hh hr hhmm stunde heure ora hora time",
    "minute minuto min mn mm", "second sec ss sekunde seconde secondo segundo")]
#: Columns beside which min or mn is the least value, no minute.
_STATISTICS = {"max", "maximum", "mx", "mean", "avg", "average", "median", "med", "std", "mittel",
               "moy", "media"}
#: Columns of one value and of what it is, as historians write them.
_is_what = re.compile(r"_?(tag|point|signal|channel|variable|var|parameter|metric|sensor|series"
                      r"|field|item)[ _]?(id|name|index|nr|no)?", re.IGNORECASE).fullmatch
_is_value = re.compile(r"_?(float|int|var|num)?[ _]?(value|val|pv|reading|wert|valor|valeur)",
                       re.IGNORECASE).fullmatch
_is_quality = re.compile(r".*(quality|status|valid|integrity|flag|_ms\b).*", re.IGNORECASE).match
#: Share of rows with the stamp of another, from which a file is no longer one series with a slip.
MANY = 0.1
_LONGEST = 1_000  # characters of what is wrong with a file

_WINDOWS = ("label_windows needs a time (by its name or time_column), and takes the place of "
            "label_column")


class Table(NamedTuple):
    """Rows of a file.

    Attributes
    ----------
    X : pandas.DataFrame of shape (n_rows, n_features)
        The numeric features; its index says which row of the file each is, from 0.
    time : ndarray of datetime64[ns], shape (n_rows,), or None
        In UTC, in order (within an entity where there are several).
    y : ndarray of bool, shape (n_rows,)
        True on anomalous rows.
    kind : ndarray of str, shape (n_rows,)
        Kind of anomaly, "" on normal rows.
    entity : ndarray of str, shape (n_rows,), or None
        The machine, patient or account; rows of one stand together.
    labelled : bool
        Whether labels or label windows were given.
    texts : pandas.DataFrame
        The columns of text among the features.
    names : list of str
        All features in their order, those of text too.
    recognised : dict
        Plain values: the ``decimal`` mark, whether there are marks between ``thousands``, and how
        times are written (``clock``).
    """

    X: pd.DataFrame
    time: NDArray[np.datetime64] | None
    y: NDArray[np.bool_]
    kind: NDArray[np.str_]
    entity: NDArray[np.str_] | None
    labelled: bool
    texts: pd.DataFrame
    names: list[str]
    recognised: dict[str, Any]


@contextmanager
def about(name: str) -> Iterator[None]:
    """Put the name of a file before what is wrong with it.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError, ImportError
        As raised inside, with the name.

    Examples
    --------
    >>> with about("oven.csv"):
    ...     raise ValueError("has no rows")
    Traceback (most recent call last):
    ValueError: oven.csv: has no rows
    """
    try:
        yield
    except (ValueError, ImportError) as error:
        kind = ValueError if isinstance(error, ValueError) else ImportError
        raise kind(shown(f"{name}: {error}", _LONGEST)) from error.__cause__


@np.errstate(over="ignore", invalid="ignore")  # of differences between the largest numbers
def read_table(path: Path, reading: Reading, note: Note, *, normal_label: object = None,
               label_windows: Any = None, texts: bool = False,
               recognised: Mapping[str, Any] | None = None) -> Table:
    """A file as rows in the order of time, with labels and features.

    Parameters
    ----------
    path : Path
        CSV (also compressed), Parquet or JSON lines.
    reading : Reading
        How to read it.
    note : callable
        Takes a sentence on each thing that was recognised, repaired or is doubtful.
    normal_label : object, default=None
        The value of the label column that means normal.
    label_windows : sequence of (start, end) or path, default=None
        Times between which rows are anomalous, in place of a label column.
    texts : bool, default=False
        Whether columns of text become features later.
    recognised : mapping, optional
        How a history before this file was written (`Table.recognised`, perhaps with its
        ``time_column``): what this file leaves open is as there. So are the order of day and
        month, and whether 1.234 has a mark between thousands.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the format needs a library that is not installed.
    ValueError
        If the file cannot be read as was given; the message lacks the file's name.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "oven.csv"
    ...     _ = path.write_text("time,heat\\n2024-01-02,9\\n2024-01-01,1\\n")
    ...     table = read_table(path, Reading(), lambda sentence: None)
    >>> table.X["heat"].tolist(), table.X.index.tolist()
    ([1.0, 9.0], [1, 0])
    """
    before = recognised or {}
    raw = raw_table(path, reading, note, as_text=_codes_in(reading.label_column, normal_label),
                    grouped=before.get("decimal") == "," and bool(before.get("thousands")))
    frame, given = raw.frame, list[str]()
    reading = _timed(frame, reading, before)
    for option in ("label_column", "entity_column"):
        given += [name] if (name := getattr(reading, option)) else []
        require(frame, given, option)
    if label_windows is not None and reading.label_column is not None:
        raise ValueError(_WINDOWS)
    entity = _entities(frame, reading.entity_column)
    columns, time, found = _time_of(frame, reading, note, entity, before.get("clock"))
    if (order := _order(time, entity)) is not None:
        frame, time, entity = frame.iloc[order], _at(order, time), _at(order, entity)
    y, kind = _labels(frame, reading.label_column, normal_label, note)
    if label_windows is not None:
        if time is None:
            raise ValueError(_WINDOWS)
        y = inside(time, windows_of(path, label_windows), note, clock=found,
                   zone=reading.time_zone, column=_joined(frame, columns))
        kind = np.where(y, "anomaly", "")
    labelled = reading.label_column is not None or label_windows is not None
    special = [*columns, *given, *_calendar(frame, columns, reading, note)]
    numbers = Numbers.recognise(_asked(frame, reading, special), reading, raw.separator, note,
                                before)
    values, names = features(frame, reading, numbers, y if labelled else None, special, note,
                             texts=texts)
    if time is None:
        _perhaps_times(frame.drop(columns=[*special, *names]), reading, note)
    _one_value(frame, special, names, reading)
    _perhaps_entities(frame, special, names, entity, note)
    if len(values.columns):
        sentinels(values, note)
    values, keep = present(values, reading.missing, note, entity)
    return Table(X=values, time=_at(keep, time), y=y[keep], kind=kind[keep],
                 entity=_at(keep, entity), labelled=labelled,
                 texts=frame.loc[keep, [c for c in names if c not in values]], names=names,
                 recognised=_plain(numbers, found, columns))


def _plain(numbers: Numbers, clock: Clock | None, columns: list[str]) -> dict[str, Any]:
    return {"decimal": numbers.decimal, "thousands": numbers.grouped, "time_column": columns,
            "clock": None if clock is None else clock.to_dict()}


def _codes_in(column: str | None, normal_label: object) -> list[str | None]:
    """The label column, if normal is a code such as 00, which can be seen in its text alone."""
    is_code = isinstance(normal_label, str) and re.fullmatch(r"\s*0\d+\s*", normal_label)
    return [column] if is_code else []


def _timed(frame: pd.DataFrame, reading: Reading, before: Mapping[str, Any]) -> Reading:
    """With the time of the history, if it is not given and there is such a column."""
    known = list(map(visible, before.get("time_column") or ()))
    is_open = reading.time_column is None and known and {*known} <= {*frame}
    return replace(reading, time_column=known) if is_open else reading


def _asked(frame: pd.DataFrame, reading: Reading, special: Sequence[str]) -> list[pd.Series]:
    """Columns that may be features."""
    names = reading.feature_columns or [c for c in map(str, frame) if c not in special]
    return [frame[c] for c in names if c in frame]


def _at(rows: NDArray, values: Any) -> Any:
    return None if values is None else values[rows]


def _labels(frame: pd.DataFrame, column: str | None, normal_label: object, note: Note
            ) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    if column is None:
        return np.zeros(len(frame), bool), np.zeros(len(frame), "U1")
    return labels(frame[column], normal_label, note)


def _entities(frame: pd.DataFrame, name: str | None) -> NDArray[np.str_] | None:
    if name is None:
        return None
    column = frame[name]
    if column.isna().any():
        raise ValueError(f"entity column {name!r} is empty in {int(column.isna().sum())} rows; "
                         "fill or drop them")
    texts = column.astype(str).str.strip()
    plain = {text: entity_text(text) for text in texts.unique()}  # machine 7, not 7.0
    if all(map(str.isdecimal, plain.values())):  # else there may be 7.0 and 7.1
        texts = texts.map(plain)
    return texts.to_numpy(str)


def entity_text(entity: object) -> str:
    """What a machine, patient or account is called: 7, 7.0 and "7" are one, "07" is another.

    Parameters
    ----------
    entity : object
        A text or a number.

    Returns
    -------
    str

    Examples
    --------
    >>> entity_text(7.0), entity_text("07")
    ('7', '07')
    """
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", str(entity).strip())


# -- time -----------------------------------------------------------------------------------------


def _time_of(frame: pd.DataFrame, reading: Reading, note: Note, entity: NDArray | None,
             known: Mapping[str, Any] | None
             ) -> tuple[list[str], NDArray[np.datetime64] | None, Clock | None]:
    """Columns that make the time, and times of the rows in the order of the file."""
    columns, by_name = list(reading.time_columns), reading.time_column is None
    require(frame, columns, "time_column")
    if by_name:
        taken = (reading.label_column, reading.entity_column, *(reading.feature_columns or ()))
        columns = named_times(frame[[c for c in frame if c not in taken]], reading)
    if not columns:
        return [], None, None
    which = f"column{'s' * (len(columns) > 1)} {' and '.join(map(repr, columns))}"
    column, said = _joined(frame, columns), list[str]()
    _say_hours(frame[columns[1:]], said.append)
    try:
        clock = Clock.recognise(column, reading, said.append, known)
        time = clock.column(column)
    except ValueError as error:
        raise ValueError(f"time {which}: {error}"
                         f"{'; or pass time_column=False' * by_name}") from None
    repeated = _repeats(time, entity)
    if entity is None:
        _one_machine(frame, time, [*columns, reading.label_column], repeated)
    if 2 * repeated >= len(time) > 1:
        why = (f"{repeated} of {len(time)} rows repeat the timestamp before them, so the time "
               "between rows is 0; name the column that tells several machines apart with "
               "entity_column, average the rows of one timestamp, or pass time_column=False")
        if not by_name:
            raise ValueError(why)
        note(f"{which} left out, and not taken as the time: {why}")
        return columns, None, None
    if by_name:
        said.insert(0, f"{which} taken as the time (time_column names another, or is False for "
                       "none)")
    if said:
        note("; ".join(said))
    _note_order(column, time, entity, repeated, note)
    return columns, time, clock


def _say_hours(clock: pd.DataFrame, note: Note) -> None:
    """Say that small whole numbers beside a date are hours, where no name says what they are."""
    if clock.shape[1] == 1 and pd.api.types.is_numeric_dtype(clock.iloc[:, 0]):
        name, largest = str(clock.columns[0]), clock.iloc[:, 0].max()
        if largest <= 24 and not (is_day_of_year(name) or any(
                part in name.lower() for part in ("hour", "hh", "hr"))):
            note(f"whole numbers up to {largest:g} in column {name!r} are read as hours; if they "
                 "are hours and minutes, name the column HHMM")


def named_times(frame: pd.DataFrame, reading: Reading | None = None) -> list[str]:
    """Columns that are named like a time and hold one.

    Parameters
    ----------
    frame : DataFrame
    reading : Reading, default=None
        Its ``time_unit`` is obeyed.

    Returns
    -------
    list of str

    Examples
    --------
    >>> named_times(pd.DataFrame({"a": [1, 2], "Timestamp": ["2024-01-01", "2024-01-02"]}))
    ['Timestamp']
    """
    found, parts = list(find_time(frame, reading)), _parts(frame)
    if parts and not (found and _says_more(frame, found, parts)):
        return parts
    if found or not len(frame.columns):
        return found
    first = frame.columns[0]  # of a table whose index or columns have no names
    nameless = first == "Unnamed: 0" or all(re.fullmatch(r"x\d+", c) for c in map(str, frame))
    return [first] if nameless and _holds_times(frame[first]) else []


def _says_more(frame: pd.DataFrame, found: list[str], parts: list[str]) -> bool:
    """Whether a time tells as much as columns of a date and perhaps of the time of day."""
    if len(parts) == (2 if is_day_of_year(parts[1]) else 3):
        return True
    alone, times = frame[found[0]], _joined(frame, parts)
    is_count = pd.api.types.is_numeric_dtype(alone) and alone.max() < SINCE
    return not ({*found} & {*parts} or is_count) and bool(
        _joined(frame, found).duplicated().sum() <= times.duplicated().sum())


def _parts(frame: pd.DataFrame) -> list[str]:
    """Columns of a date in their order, and of the time of day as far as they go; or none."""
    left = {c: re.sub(r"\W*[(\[].*", "", c).strip().lower() for c in map(str, frame)}
    day = [c for c in left if is_day_of_year(c)][:1]
    found, wanted = list[str](), [PARTS[0], [left[day[0]]], *PARTS[3:]] if day else PARTS
    for words in wanted:
        named = [c for word in words for c in left if left[c] == word and c not in found][:1]
        if not named or _is_other(frame, [*found, *named], left):
            break
        found += named
    lengths = range(len(found), 1 if day else 2, -1)
    return next((found[:n] for n in lengths if _holds_times(_joined(frame, found[:n]))), [])


def _is_other(frame: pd.DataFrame, parts: list[str], names: Mapping[str, str]) -> bool:
    """Whether the last counts hours of operation, or is the least value or rain in mm.

    It is the minute where it rises from row to row within an hour.
    """
    name, hour = names[parts[-1]], names[parts[-2]] if parts[1:] else ""
    if name in PARTS[3] and name not in ("time", "hhmm"):
        return bool(pd.to_numeric(frame[parts[-1]], "coerce").max() > 2400)
    if (name == "mm" and hour in PARTS[3] and hour != "hh") or (
            name in ("min", "mn") and not _STATISTICS.isdisjoint(names.values())):
        hours, minutes = _joined(frame, parts[:-1]), pd.to_numeric(frame[parts[-1]], "coerce")
        within = hours == hours.shift()
        return not within.any() or not (minutes.diff()[within] > 0).all()
    return False


def _calendar(frame: pd.DataFrame, columns: Sequence[str], reading: Reading, note: Note
              ) -> list[str]:
    """Columns of year, month, day and so on beside the time, which say it once more."""
    parts = _parts(frame.drop(columns=[*columns]))  # a column "time" may be the hour of a date
    if reading.feature_columns or not columns or not parts:
        return []
    note(f"columns that repeat the time left out: {parts} (feature_columns takes them)")
    return parts


def _holds_times(column: pd.Series) -> bool:
    """Whether a column that is no number holds times."""
    return not pd.api.types.is_numeric_dtype(column) and bool(
        find_time(column.to_frame(TIME_NAMES[0])))


def _joined(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    return frame[columns[0]] if len(columns) == 1 else joined([frame[c] for c in columns])


def _note_order(column: pd.Series, time: NDArray, entity: NDArray | None, repeated: int,
                note: Note) -> None:
    """Say where rows are out of order or repeat a stamp, each machine looked at by itself."""
    order, same = np.arange(len(time)), np.ones(max(0, len(time) - 1), bool)
    if entity is not None:
        order = np.argsort(pd.factorize(entity)[0], kind="stable")
        same = entity[order][1:] == entity[order][:-1]
    steps = np.diff(time[order]).astype(np.int64) * same
    if (steps < 0).any():
        before, at = order[int(np.argmax(steps < 0)) + np.array([0, 1])]
        note(f"rows were not in time order; sorted (the first, in data row {at + 1}: "
             f"{column.iloc[at]} after {column.iloc[before]}; if the clock was put back there, "
             "name its time_zone, or write times with their offset from UTC)" if (steps > 0).any()
             else "rows were in falling order of time; turned round")
    if repeated:
        note(f"{repeated} rows repeat the timestamp before them; kept in file order (if the file "
             "holds several machines, name their column with entity_column)")


def _repeats(time: NDArray, entity: NDArray | None) -> int:
    """Rows with the stamp of another one of their machine."""
    if entity is None and (time[1:] > time[:-1]).all():
        return 0
    frame = pd.DataFrame({"time": time} | ({} if entity is None else {"entity": entity}))
    return int(frame.duplicated().sum())


def _order(time: NDArray | None, entity: NDArray | None) -> NDArray[np.intp] | None:
    """Rows in the order of time, entity by entity; None where they stand so already."""
    if entity is None and time is None:
        return None
    codes = np.zeros(1) if entity is None else pd.factorize(entity)[0]
    if time is None:
        return np.argsort(codes, kind="stable")
    if entity is None:
        if (time[1:] >= time[:-1]).all():
            return None
        if (time[1:] <= time[:-1]).all():  # rows of one stamp are turned round, too
            return np.arange(len(time))[::-1]
        return np.argsort(time, kind="stable")
    return np.lexsort((time, codes))


# -- several machines -----------------------------------------------------------------------------


def _codes(column: pd.Series) -> NDArray[np.intp] | None:
    """Numbers of a column's values, where it could name a few machines of two rows at least."""
    numeric = pd.api.types.is_numeric_dtype(column)
    if numeric and not pd.api.types.is_integer_dtype(column) and not (column % 1 == 0).all():
        return None
    codes, values = pd.factorize(column)
    return codes if 2 <= len(values) <= len(codes) // 2 and codes.min() >= 0 else None


def _one_machine(frame: pd.DataFrame, time: NDArray[np.datetime64], taken: Sequence[Any],
                 repeated: int) -> None:
    """Refuse rows of several machines: times begin anew with each, or are the same.

    A text that is another one in each block of rows may as well be a batch or a mode.
    """
    falls = time[1:] < time[:-1]
    # texts first: a number is a measurement more often than the number of a machine
    names = [c for c in map(str, frame) if c not in taken]
    for name in sorted(names, key=lambda c: pd.api.types.is_numeric_dtype(frame[c])):
        codes = _codes(frame[name]) if repeated or falls.any() else None
        how = "" if codes is None else _telling(codes, time, falls, repeated)
        if codes is not None and how:
            raise ValueError(
                f"{how} the {codes.max() + 1} values of column {name!r}, so the file holds several "
                f"series: pass entity_column={name!r} to judge each by itself, or time_column="
                "False (where it names what was measured, make a column of each first)")


def _telling(codes: NDArray[np.intp], time: NDArray[np.datetime64], falls: NDArray[np.bool_],
             repeated: int) -> str:
    """How a column tells several machines apart; "" where it does not."""
    n, changes = codes.max() + 1, codes[1:] != codes[:-1]
    if repeated >= MANY * len(time) and n == pd.Series(time).value_counts().max() and not (
            pd.DataFrame({"time": time, "of": codes}).duplicated().any()):
        return f"{repeated} timestamps are repeated with"
    if not falls.any() or changes.sum() != n - 1 or (falls > changes).any():
        return ""
    first = np.append(0, np.flatnonzero(changes) + 1)  # rows of each block
    middle = time[first[:-1]] + (time[first[1:] - 1] - time[first[:-1]]) // 2
    anew = time[first[1:]] <= middle  # a clock that was put back goes back by less
    return "times begin anew with" if anew[falls[changes]].all() else ""


def _perhaps_times(unused: pd.DataFrame, reading: Reading, note: Note) -> None:
    """Say which columns hold times under other names, or why those with such names hold none."""
    for name in map(str, unused if reading.time_column is None else ()):
        column, others = unused[name], unused.drop(columns={name, TIME_NAMES[0]} & {*unused})
        if is_time_name(name):
            try:
                Clock.recognise(column, reading, str).column(column)
            except ValueError as error:
                note(f"column {name!r} is not taken as the time: {error}")
        elif column.head().astype(str).str.contains(r"\d[-/.:]\d+[-/.: ]").all() and (
                found := find_time(others.assign(**{TIME_NAMES[0]: column}))[:2]) and (
                found[0] == TIME_NAMES[0]):
            columns = [name, *found[1:]] if found[1:] else name
            note(f"column {name!r} holds times: if they are those of the rows, pass "
                 f"time_column={columns!r}")
            break


def _is_answer(column: pd.Series) -> bool:
    """Whether a column holds yes and no, or dates."""
    values = {str(value).strip().lower() for value in column.head(1000)}
    return values <= NO | YES or all(re.match(r"\d+[-/.]\d+[-/.]\d", value) for value in values)


def _one_value(frame: pd.DataFrame, special: Sequence[str], used: Sequence[str], reading: Reading
               ) -> None:
    """Refuse rows that each hold one value, and in another column what was measured."""
    if reading.entity_column or reading.feature_columns:
        return
    for name in [c for c in map(str, frame) if _is_what(c) and c not in special]:
        values = [c for c in map(str, used) if c != name and not _is_quality(c)]
        of = len(values) == 1 and _is_value(values[0])
        if of and (codes := _codes(frame[name])) is not None:
            raise ValueError(
                f"column {name!r} says what each {values[0]!r} is of ({codes.max() + 1} of them): "
                f"pass entity_column={name!r} to judge each by itself, or make a column of each "
                f"first (feature_columns={values} takes all for one)")


def _perhaps_entities(frame: pd.DataFrame, special: Sequence[str], used: Sequence[str],
                      entity: NDArray | None, note: Note) -> None:
    """Say which columns may tell several machines apart, where nothing is sure."""
    for name in map(str, frame if entity is None else ()):
        words = set(tokens(name))
        of_machines = ENTITY_WORDS & words and (name not in used or words <= ENTITY_WORDS | NUMBER)
        unlikely = name in special or (name in used and not of_machines)
        if unlikely or (codes := _codes(frame[name])) is None or _is_answer(frame[name]):
            continue
        n = codes.max() + 1
        in_blocks = bool(5 * n <= len(codes) and (codes[1:] != codes[:-1]).sum() == n - 1)
        if of_machines or in_blocks:
            note(f"column {name!r} holds {n} values{', each in one block of rows' * in_blocks}; if "
                 f"it says which machine a row is of, pass entity_column={name!r}")
