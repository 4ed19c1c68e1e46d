"""Which rows are anomalous: by a column of labels, or by windows of time."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.arguments import listed
from adlib.reading.numbers import NA_WORDS
from adlib.reading.options import Note, Reading, few
from adlib.reading.times import Clock

__all__ = ["at_one_end", "inside", "labels", "tokens", "windows_of"]

#: Answers, by what YAML makes of them where they are not quoted.
NO = {"0", "false", "no", "n", "off"}
YES = {"1", "true", "yes", "y", "on"}
#: Words that are understood in a label column without `normal_label`.
NORMAL_WORDS = {*NO, "normal", "ok", "good", "benign", "inlier", "healthy", "pass", "passed"}
ANOMALY_WORDS = {
    *YES, "anomaly", "anomalous", "abnormal", "outlier", "attack", "fault", "faulty", "fraud",
    "fraudulent", "malicious", "fail", "failed", "failure",
}  # fmt: skip

#: A time of day that ends with its zone, such as 13:45Z or 13:45:10+01:00.
WITH_ZONE = r":\d\d.*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)\s*$"
#: A date that begins with its year, which everybody reads in one way.
YEAR_FIRST = r"\s*\d{4}(\D\d{1,2}|\d\d)(\D\d{1,2}|\d\d)?(\D.*)?"
#: What times in nanoseconds can hold; years beyond stand for an open end.
EARLIEST, LATEST = np.datetime64(-(2**63) + 1, "ns"), np.datetime64(2**63 - 1, "ns")
YEARS = range(1678, 2262)


def tokens(name: str) -> list[str]:
    """Words of a column's name, in lower case: of isFraud "is" and "fraud".

    Parameters
    ----------
    name : str
        Of a column.

    Returns
    -------
    list of str

    Examples
    --------
    >>> tokens("Class/ASD"), tokens("attack_label"), tokens("isFraud")
    (['class', 'asd'], ['attack', 'label'], ['is', 'fraud'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+", name)]


def labels(column: pd.Series, normal: object, note: Note) -> tuple[NDArray[np.bool_], NDArray]:
    """Which rows a label column marks, and as what.

    Parameters
    ----------
    column : pandas.Series
        0 and 1, True and False, or words such as "normal" and "anomaly".
    normal : object
        The value that means normal (`normal_label`): every other one is an anomaly. None: by words
        that say so themselves.
    note : callable
        Takes a sentence on a value that was not found as it was given.

    Returns
    -------
    y, kind : ndarray of shape (n_rows,)
        True on anomalous rows; the kind of anomaly, "" on normal ones.

    Raises
    ------
    ValueError
        When a cell is empty or which value is normal cannot be decided.

    Examples
    --------
    >>> labels(pd.Series(["ok", "fault"]), None, print)[0]
    array([False,  True])
    """
    where = f"label column {column.name!r}"
    if column.dtype == object:  # where True and 1 are equal, and a list has no hash
        column = column.astype(str).where(column.notna())
    if isinstance(normal, str) and normal.strip() in NA_WORDS and column.isna().any():
        note(f"{where}: {int(column.isna().sum())} empty cells are taken to be "
             f"normal_label={normal!r}")
        return column.notna().to_numpy(), column.astype(str).str.strip().where(
            column.notna(), "").to_numpy(str)
    codes, values = pd.factorize(column)
    words = np.array([str(value).strip() for value in values], dtype=str)
    empty = np.isin(codes, [-1, *np.flatnonzero(words == "")])
    if empty.any():
        raise ValueError(f"{where} is empty in {int(empty.sum())} rows (as N/A, None or null are); "
                         "fill or drop them")
    # 0, 0.0 and "0" are the same label to someone who looks at the file
    plain = np.array([_plain(word) for word in words], dtype=str)
    lower = np.char.lower(plain)
    if normal is not None:
        same = _normal(where, plain, lower, normal, note)
        return ~same[codes], np.where(same, "", words)[codes]
    y = _anomalous(str(column.name), words, lower)
    if y.all():
        note(f"{where} marks every row as an anomaly ({_listing(words.tolist())}); if that is "
             "normal, say so with normal_label=")
    return y[codes], np.where(y, "anomaly", "")[codes]


def _anomalous(name: str, words: NDArray, lower: NDArray) -> NDArray[np.bool_]:
    """Which of the values of a column say themselves that they are anomalies."""
    where = f"label column {name!r}"
    if set(lower) <= {"1", "-1"} and "-1" in lower:
        raise ValueError(f"{where} holds -1 and 1, and either may mean an anomaly (in scikit-learn "
                         "-1 does); say which one is normal: normal_label=1 or normal_label=-1")
    y = np.isin(lower, list(ANOMALY_WORDS))
    if not (y | np.isin(lower, list(NORMAL_WORDS))).all():
        raise ValueError(f"{where} is not 0/1; {_seen(words)}; name the normal one with "
                         "normal_label=")
    named = set(tokens(name))
    if named & {"normal", "healthy", "inlier", "benign", "ok"} and set(lower) <= NO | YES and (
            not named & ANOMALY_WORDS):
        raise ValueError(f"{where} is named as if {str(words[np.argmax(y)])!r} meant normal; "
                         f"{_seen(words)}; name the normal one with normal_label=")
    return y


def _plain(value: object) -> str:
    """A value as a word; whole numbers without their zeros."""
    return re.sub(r"^([+-]?\d+)[.,]0+$", r"\1", str(value).strip())


def _normal(where: str, plain: NDArray, lower: NDArray, normal: object, note: Note) -> NDArray:
    """Which of the values of a column are the one that `normal_label` names."""
    same = np.asarray(plain == _plain(normal))
    if not same.any():  # YAML has made False of off
        meant = _plain(normal).lower()
        group = {meant} if isinstance(normal, str) else NO if meant in NO else YES if (
            meant in YES) else {meant}
        same = np.isin(lower, list(group))
        if not same.any():
            raise ValueError(f"{where} never holds normal_label={normal!r}; {_seen(plain)}")
        note(f"{where}: normal_label={normal!r} is taken to be {_listing(plain[same].tolist())}")
    return same


def _listing(values: Sequence[Any]) -> str:
    return ", ".join(map(repr, values[:4])) + (" ..." if len(values) > 4 else "")


def _seen(words: NDArray) -> str:
    return f"it holds {few(np.unique(words).tolist(), 6)}"


def at_one_end(y: NDArray[np.bool_]) -> str:
    """A sentence where a table is sorted by its labels; "" where it is not.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        True on anomalous rows.

    Returns
    -------
    str
        Fewer than 5 rows of either sort may stand together by chance and say nothing.

    Examples
    --------
    >>> at_one_end(np.arange(20) >= 14)
    'all 6 anomalous rows are the last ones'
    """
    y = np.asarray(y, bool)
    k = int(y.sum())
    if not 5 <= k <= len(y) - 5:
        return ""
    end = "first" if y[:k].all() else "last" if y[-k:].all() else ""
    return f"all {k} anomalous rows are the {end} ones" if end else ""


def windows_of(path: Path, label_windows: Any) -> Any:
    """The label windows of the table at ``path``: given, or from a file.

    Parameters
    ----------
    path : Path
        The table.
    label_windows : sequence of (start, end) or path
        Or a file of them: CSV with columns start and end, JSON with a list or with lists by the
        name of the table.

    Returns
    -------
    sequence of (start, end)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not to be read, or has no entry, or several, for the table.
    """
    if not isinstance(label_windows, str | os.PathLike):
        return label_windows
    file = Path(label_windows)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there; label_windows is a list, or a JSON or CSV "
                                "file")
    try:
        if file.suffix.lower() == ".csv":
            table = pd.read_csv(file, dtype=object, encoding="utf-8-sig", skipinitialspace=True)
            return table.rename(columns=str.lower)[["start", "end"]].values.tolist()
        found = json.loads(file.read_text(encoding="utf-8"))
    except (KeyError, ValueError) as error:
        what = "a CSV of start,end" if isinstance(error, KeyError) else "JSON"
        raise ValueError(
            f'{file.name}: not readable as {what} ({error}); it should hold [["2024-01-31 13:45", '
            '"2024-01-31 14:00"], ...] or such lists by file name'
        ) from error
    return _entry(file, found, path) if isinstance(found, dict) else found


def _entry(file: Path, found: dict[str, Any], path: Path) -> Any:
    """What a file of windows holds for a table: by the end of its path, or by its name alone."""
    here = path.absolute().parts
    keys = [key for key in found if here[-len(Path(key).parts) :] == Path(key).parts]
    if not keys:
        # oven.csv.gz is labelled as oven.csv, and oven.csv as oven
        keys = [key for key in found if Path(key).name in (path.name, path.stem)]
        if len(keys) > 1:
            raise ValueError(f"{file.name}: has {len(keys)} entries for {path.name}: "
                             f"{', '.join(keys)}; keep the table in a folder of that name")
    if not keys:
        raise ValueError(f"{file.name}: has no entry for {path.name}; keys are like "
                         f"{min(found, default='a.csv')!r}")
    return found[max(keys, key=len)]


def inside(time: NDArray[np.datetime64], windows: Any, note: Note, *, clock: Any = None,
           zone: str | None = None, column: pd.Series | None = None) -> NDArray[np.bool_]:
    """True on rows whose time lies in one of the windows.

    Parameters
    ----------
    time : datetime64[ns] ndarray of shape (n_rows,)
        In UTC.
    windows : sequence of (start, end)
        Both included. A date without a time of day is the whole day; None, or a year that times
        cannot hold (9999, 1), is an open end.
    note : callable
        Takes sentences on windows that reach beyond the file and on zones.
    clock : Clock, default=None
        How the file writes its times, for ends that are numbers or do not begin with the year.
    zone : str, default=None
        Zone of ends that name none; UTC if None.
    column : pandas.Series, default=None
        Times as the file writes them, to compare whether they name a zone.

    Returns
    -------
    bool ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        When a window is no pair of times in order, or no row lies in it.

    Examples
    --------
    >>> days = np.array(["2024-03-02T23:00", "2024-03-03T05:00", "2024-03-04"], "datetime64[ns]")
    >>> inside(days, [["2024-03-03", "2024-03-03"]], print)
    array([False,  True, False])
    """
    y = np.zeros(len(time), bool)
    beyond = []
    runs = f"the file runs from {pd.Timestamp(time.min())} to {pd.Timestamp(time.max())}"
    windows = listed(windows, "label_windows")
    clocks = clock, _clock_of(windows, clock, zone, note)
    for window in windows:
        first, last = _ends(window, clocks, zone)
        rows = (time >= first) & (time <= last)
        if not rows.any():
            raise ValueError(f"no row lies in the label window {window!r}; {runs}")
        day = np.timedelta64(86_400 if _whole_day(window[1]) else 0, "s")
        if EARLIEST < first < time.min() or time.max() < last - day < LATEST - day:
            beyond.append(window)
        y |= rows
    if beyond:
        note(f"label windows reach beyond the file ({_listing(beyond)}); {runs}, and its rows "
             "inside are labelled")
    if zone is None and column is not None and not pd.api.types.is_numeric_dtype(column):
        _same_zone(column, [str(t) for window in windows for t in window if t is not None], note)
    return y


def _clock_of(windows: Sequence[Any], clock: Clock | None, zone: str | None, note: Note
              ) -> Clock | None:
    """What reads ends such as 3/4/2024: as the file does, or by themselves where it has none."""
    texts = [t for window in windows if np.iterable(window) for t in window if _is_written(t)]
    if clock is None or not texts or clock.to_dict()["order"] is not None:
        return clock
    return Clock.recognise(pd.Series(texts), Reading(time_zone=zone),
                           lambda sentence: note(f"label windows: {sentence}"))


def _is_written(end: object) -> bool:
    """Whether an end is a text that is no number and does not begin with the year."""
    if not isinstance(end, str) or not end or re.fullmatch(YEAR_FIRST, end):
        return False
    try:
        return not np.isfinite(float(end))
    except ValueError:
        return True


def _ends(window: Any, clocks: tuple[Clock | None, Clock | None], zone: str | None
          ) -> tuple[np.datetime64, np.datetime64]:
    """Both ends of a window, in UTC."""
    try:
        start, end = window
        first, last = _moment(start, clocks, zone, False), _moment(end, clocks, zone, True)
    except (AttributeError, OverflowError, TypeError, ValueError):
        first = last = np.datetime64("NaT")
    if not first <= last:  # also where one is not a time
        raise ValueError(f"a label window is [start, end] with start <= end, got {window!r}")
    return first, last


def _whole_day(value: object) -> bool:
    """Whether an end of a window is a date without a time of day."""
    if isinstance(value, np.datetime64):
        return np.datetime_data(value)[0] in ("D", "M")
    if isinstance(value, str):  # one that has a time of day takes no other
        return np.isfinite(Clock(Reading(), str).moment(f"{value.strip()} 00:01"))
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _moment(value: Any, clocks: tuple[Clock | None, Clock | None], zone: str | None,
            is_end: bool) -> np.datetime64:
    """One end of a window, in UTC."""
    clock = clocks[_is_written(value)]
    if value is None or value is pd.NaT or value != value or value == "":
        return LATEST if is_end else EARLIEST
    if _is_day(value, clock):  # YAML takes 20240303 for a number
        value = str(value)
    whole = is_end and _whole_day(value)
    if isinstance(value, datetime.date | np.datetime64) or (
            isinstance(value, str) and (clock is None or re.fullmatch(YEAR_FIRST, value))):
        return _stamp(pd.Timestamp(value), zone, is_end, _length(value) if whole else None)
    if clock is None:
        raise ValueError("a number where times are dates")
    # the file's clock knows the order of day and month, and what numbers count
    found = np.asarray(clock.column(pd.Series([value])), "datetime64[ns]")[0]
    return found + np.timedelta64(86_400 * 10**9 - 1, "ns") if whole else found


def _is_day(value: object, clock: Clock | None) -> bool:
    """Whether a whole number is a date such as 20240303, and not what the file's clock counts."""
    return type(value) is int and 10**7 <= value < 10**8 and (
        clock is None or clock.to_dict()["kind"] in ("dates", "compact", None))


def _length(end: object) -> pd.DateOffset:
    """Of a date without a time of day: a month or a day."""
    is_month = re.fullmatch(r"\d{4}-\d\d", str(end).strip())
    return pd.DateOffset(months=1) if is_month else pd.DateOffset(days=1)


def _stamp(stamp: pd.Timestamp, zone: str | None, is_end: bool, whole: pd.DateOffset | None
           ) -> np.datetime64:
    """A date and time in UTC; as the end of a whole day, just before the next one begins."""
    if stamp.year not in YEARS:
        return LATEST if stamp.year >= YEARS.stop else EARLIEST
    if whole:
        stamp = stamp.normalize() + whole
    if stamp.tzinfo is None:  # an hour that came twice belongs to the window as a whole
        stamp = stamp.tz_localize(zone or "UTC", ambiguous=not is_end, nonexistent="shift_forward")
    found = stamp.tz_convert(None).as_unit("ns").to_datetime64()
    return found - np.timedelta64(1, "ns") if whole else found


def _same_zone(column: pd.Series, ends: Sequence[str], note: Note) -> None:
    """Say so where only one of rows and windows has a time zone: they may be hours apart."""
    zoned, *others = (bool(re.search(WITH_ZONE, str(t))) for t in [column.iloc[0], *ends])
    if any(other != zoned for other in others):
        having, lacking = ("times", "label windows") if zoned else ("label windows", "times")
        note(f"the {having} have a time zone; the {lacking} have none and are read as "
             "UTC: if they are local, the labels are hours off, so write both with a zone")
