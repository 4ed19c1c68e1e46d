"""Numbers as people write them: missing values, decimal commas, thousands, placeholders."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adlib.reading.options import Note, Reading

#: What pandas takes for a missing value, here for files and for cells that arrive alike.
NA_WORDS = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
#: In a column of numbers these cannot be meant otherwise, however they are capitalised.
_MISSING = {word.lower() for word in NA_WORDS} | {
    sign + word for sign in ("", "+", "-") for word in ("nan", "inf", "infinity")}
_TRUTH = {word: float(truth) for truth in (True, False)
          for word in (str(truth), str(truth).lower(), str(truth).upper())}

_PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_COMMA = _PLAIN.replace(r"\.", ",")
_BLANKS = "'\u2019 \u00a0\u2007\u2008\u2009\u200a\u202f"  # between thousands in any language
#: Marks beside the digits of other scripts, which Python reads only alone.
_MARKS = str.maketrans("\u2212\uff0d\uff0b\u066b\uff0e\uff0c\u066c", "--+..,'")
_GROUPED = r"[+-]?[1-9][0-9]{0,2}([%s])[0-9]{3}(?:\1[0-9]{3})*(?:\%s[0-9]*)?"
_OTHER = {".": ",", ",": "."}
_is_plain, _is_comma = re.compile(_PLAIN).fullmatch, re.compile(_COMMA).fullmatch
_is_grouped = {mark: re.compile(_GROUPED % (_OTHER[mark] + _BLANKS, mark)).fullmatch
               for mark in _OTHER}
_is_either = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}").fullmatch
_UNGROUPED = {mark: str.maketrans("", "", _OTHER[mark] + _BLANKS) for mark in _OTHER}
_quantity = re.compile(  # a number with something in front of it or behind it
    rf"([^\w\s+-]{{0,2}})\s*[+-]?[0-9]+(?:[.,{_BLANKS}][0-9]{{2,3}})*(?:[.,][0-9]+)?"
    r"\s*([^\d\s]\D{0,11})?").fullmatch
_LOOK = 10_000  # rows of a column that are looked at before more are
_SHOWN = 5  # words that a message lists
#: Numbers that loggers, instruments and file formats write for "no value".
_NINES = [float(f"{sign}{'9' * n}{tail}") for sign in ("", "-") for n in range(2, 9)
          for tail in ("", ".9", ".99", ".999")]
_PLACEHOLDERS = np.array(
    [n for n in _NINES if n < 0 or n >= 999] + [
        -127, -200, -777, -888, -7777, -8888, -32768, 32767, 65535, 3276.7, -3276.8, 6553.5,
        -2147483648, 2147483647, 4294967295,
        1e20, -1e20, 1e30, -1e30, 1e31, 9.96920997e36, 3.40282347e38, -3.40282347e38])


class Numbers:
    """How a file or a stream writes its numbers: decimal mark, thousands, missing values.

    Parameters
    ----------
    reading : Reading
        ``decimal`` and ``na_values`` count here.
    separator : str
        What stands between cells; "" where there is none (Parquet, JSON).
    note : callable
        Takes a sentence on each thing that was recognised.

    Attributes
    ----------
    decimal : {".", ","} or None
        Mark between whole numbers and fractions; None as long as nothing seen shows it.
    grouped : bool
        Whether a number with marks between thousands was read.

    Examples
    --------
    >>> notes = []
    >>> numbers = Numbers.recognise([pd.Series(["21,5", "1.234"])], Reading(), ";", notes.append)
    >>> numbers.cell("1.234"), numbers.cell(" 20,25 "), numbers.cell("N/A"), numbers.cell(True)
    (1234.0, 20.25, nan, 1.0)
    >>> notes[0]
    "numbers have decimal commas, such as '21,5'"
    """

    def __init__(self, reading: Reading, separator: str, note: Note):
        self.decimal = reading.decimal
        self._separator, self._note, self.grouped = separator, note, False
        self._doubted: set[object] = set() if reading.decimal is None else {None}
        texts = {str(value).strip() for value in reading.na_values}
        self._missing = _MISSING | texts
        plain = {text if _is_plain(text) else text.replace(",", ".") for text in texts}
        placeholders = [float(text) for text in plain if _is_plain(text)]
        with np.errstate(over="ignore"):  # as a file may store them
            stored = np.array(placeholders, np.float32).astype(float)
            self._placeholders = frozenset([*placeholders, *stored])

    @classmethod
    def recognise(cls, columns: Iterable[pd.Series | Sequence[str]], reading: Reading,
                  separator: str, note: Note, known: Mapping[str, Any] | None = None) -> Numbers:
        """Numbers as these columns write them.

        Parameters
        ----------
        columns : iterable of Series or sequences of str
            Cells as text; columns that are typed already show nothing.
        reading : Reading
            ``decimal`` decides alone where it is given.
        separator : str
            What stands between cells; "" where there is none.
        note : callable
            Takes a sentence on each thing that was recognised.
        known : mapping, optional
            What a history before these showed, see `settle`.

        Returns
        -------
        Numbers

        Raises
        ------
        ValueError
            Where decimal points and commas contradict each other, or "1,234" may be either.
        """
        numbers = cls(reading, separator, note)
        numbers.settle(columns, known)
        return numbers

    def settle(self, columns: Iterable[pd.Series | Sequence[str]],
               known: Mapping[str, Any] | None = None) -> None:
        """Find the decimal mark, unless it is given or found already.

        Parameters
        ----------
        columns : iterable of Series or sequences of str
            Cells as text; columns that are typed already show nothing.
        known : mapping, optional
            The ``decimal`` mark of a history before these, and whether it had marks between
            ``thousands``: they count where the columns leave it open.

        Raises
        ------
        ValueError
            Where decimal points and commas contradict each other, or "1,234" may be either.
        """
        if self.decimal is not None:
            return
        given = [c if isinstance(c, pd.Series) else pd.Series(list(c), dtype=object)
                 for c in columns]
        texts = [c if c.dtype.kind == "O" else c.drop_duplicates() for c in given if _is_text(c)]
        found: dict[str, str] = {}
        for start in range(0, max(map(len, texts), default=0), _LOOK):
            parts = [column.iloc[start : start + _LOOK] for column in texts]
            texts = [column for column, part in zip(texts, parts, strict=True)
                     if _gather(part, found)]
            if {".", ","} & found.keys():
                break
        points = _fractions(given if self._separator else [])
        if len(points):
            found["?."] = "fractions"  # typed by pandas, with a point
        if not self._as_before(found, known):
            self._decide(found)
        if self._separator not in ("", ",") and self.decimal == ".":
            self._doubt_points(points, found)

    def _doubt_points(self, points: np.ndarray, found: dict[str, str]) -> None:
        """Say that all fractions, typed or written, may be numbers with marks between thousands."""
        if not {".", ",", "?,"} & found.keys() and (
                _perhaps_thousands(points) if len(points) else "?." in found):
            shown = points[0] if len(points) else found["?."]
            self._note(f"numbers such as {shown} are read as fractions; if the point stands "
                       "between thousands, give decimal=','")

    def _as_before(self, found: dict[str, str], known: Mapping[str, Any] | None) -> bool:
        """Take the decimal mark of the history, where a cell of each kind leaves it open."""
        known = known or {}
        before = known.get("decimal")
        # 20.123 is a fraction, unless the history had marks between thousands too
        if not before or {".", ","} & found.keys() or not (
                known.get("thousands") or f"?{before}" in found):
            return False
        self.decimal = before
        if found:
            self._note(f"{' and '.join(found.values())} may have decimal points or commas: read "
                       f"with {'commas' if before == ',' else 'points'}, as before")
        return True

    def _decide(self, found: dict[str, str]) -> None:
        """Take the decimal mark that evidence speaks for: a cell of each kind."""
        if {".", ","} <= found.keys():
            raise ValueError(
                f"numbers have decimal points ({found['.']}) and decimal commas ({found[',']}); "
                "say which is right with decimal='.' or decimal=',', or name the columns to use "
                "with feature_columns=")
        if "," in found or ("." not in found and "?," in found):
            if "," not in found and (self._separator != ";" or "?." in found):
                raise ValueError(
                    f"{found['?,']} may be a fraction or have a mark between thousands; say which "
                    "with decimal=',' or decimal='.'")
            self.decimal = ","
            self._note(f"numbers have decimal commas, such as {found.get(',', found.get('?,'))}")
        elif {".", "?."} & found.keys():
            self.decimal = "."

    def column(self, column: pd.Series) -> tuple[pd.Series, np.ndarray]:
        """A column as numbers: the same as `cell` gives for each of its cells.

        Parameters
        ----------
        column : Series of shape (n_rows,)
            Typed, or text.

        Returns
        -------
        numbers : Series of float64, shape (n_rows,)
            NaN where a value is missing, infinite or none.
        bad : ndarray of bool, shape (n_rows,)
            Cells that are neither a number nor missing.
        """
        self.decimal = self.decimal or "."  # nothing speaks against it
        kind = pd.api.types
        bad = np.zeros(len(column), bool)
        if _is_text(column) or isinstance(column.dtype, pd.CategoricalDtype):
            values, bad = self._texts(column)
        elif kind.is_bool_dtype(column) or (
                kind.is_numeric_dtype(column) and not kind.is_complex_dtype(column)):
            slow: dict[str, Any] = {"na_value": np.nan}  # it copies
            values = self._valid(column.to_numpy(
                np.float64, **(slow if kind.is_extension_array_dtype(column) else {})))
        else:
            values, bad = np.full(len(column), np.nan), column.notna().to_numpy()
        return pd.Series(values, index=column.index, name=column.name, copy=False), bad

    def _valid(self, values: np.ndarray) -> np.ndarray:
        """The same with NaN where a number is infinite or means a missing value."""
        if self._placeholders:
            values = np.where(np.isin(values, list(self._placeholders)), np.nan, values)
        infinite = np.isinf(values)
        return np.where(infinite, np.nan, values) if infinite.any() else values

    def _texts(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        cells, rest = column.to_numpy(object), column.notna().to_numpy(copy=True)
        values, bad = np.full(len(cells), np.nan), np.zeros(len(cells), bool)
        if pd.api.types.infer_dtype(column, skipna=True) == "string":
            text, pattern = column, _PLAIN
            if self.decimal == ",":
                text, pattern = column.str.replace(",", ".", regex=False), _COMMA
            plain = rest & column.str.fullmatch(pattern).fillna(False).to_numpy(bool)
            values[plain] = self._valid(text.to_numpy(object)[plain].astype(np.float64))
            rest &= ~plain
        known: dict[str | int, tuple[float, bool]] = {}
        for row in np.flatnonzero(rest).tolist():
            key = cells[row] if isinstance(cells[row], str) else row
            if key not in known:
                known[key] = self._tried(cells[row])
            values[row], bad[row] = known[key]
        self._doubt(column.name, [key for key in known if known[key][0] == known[key][0]],
                    int(np.isfinite(values).sum()), int(rest.sum()))
        return values, bad

    def _doubt(self, name: object, cells: list[Any], n_numbers: int, n_slow: int) -> None:
        """Name a column all of whose numbers may be fractions with the other mark."""
        if self.decimal != "," or None in self._doubted or name in self._doubted or not cells:
            return
        if n_numbers <= n_slow and all(
                isinstance(cell, str) and "." in cell and _is_either(cell.strip())
                for cell in cells):
            self._doubted.add(name)
            self._note(f"column {name!r} has a point before three digits in every number, such as "
                       f"{cells[0]!r}, read as {self.cell(cells[0]):.0f}; if they are fractions, "
                       "write them with a comma as the others")

    def _tried(self, cell: Any) -> tuple[float, bool]:
        try:
            return self.cell(cell), False
        except ValueError:
            return math.nan, True

    def cell(self, value: Any) -> float:
        """One value that arrived as a number.

        Parameters
        ----------
        value : object
            A number, True or False, a text, or None.

        Returns
        -------
        float
            NaN where it is missing or infinite.

        Raises
        ------
        ValueError
            Where it is neither a number nor missing.
        """
        try:
            number = float(value)
            if isinstance(value, bytes | bytearray):
                raise TypeError
        except (TypeError, ValueError):
            if isinstance(value, str):
                return self._written(value.strip())
            if value is None or value is pd.NA or value is pd.NaT:
                return math.nan
            raise ValueError(f"{value!r} is no number") from None
        except OverflowError:
            return math.nan
        if isinstance(value, str) and (
                self.decimal == "," or "_" in value or not value.isascii()):
            return self._written(value.strip())
        if number - number != 0 or number in self._placeholders:  # infinite, NaN, or given
            return math.nan
        return number

    def _written(self, text: str) -> float:
        """A text that is no number as Python writes it, or may mean another one."""
        if {text, text.lower()} & self._missing:
            return math.nan
        if text in _TRUTH:
            return _TRUTH[text]
        plain = _tidy(text)
        kind = _kind(plain)
        if self.decimal is None and kind in (",", "?,"):
            self._decide({kind: repr(text)})
        mark = self.decimal or "."
        if kind is None or (kind in (".", ",") and kind != mark):
            raise ValueError(f"{text!r} is no number")
        grouped = _is_grouped[mark](plain)
        number = float((plain.translate(_UNGROUPED[mark]) if grouped else plain).replace(",", "."))
        if grouped and not self.grouped:
            self.grouped = True
            self._note(f"marks between thousands are left out, such as {text!r} read as {number!r}")
        return math.nan if math.isinf(number) or number in self._placeholders else number


def _is_text(column: pd.Series) -> bool:
    return column.dtype.kind == "O" or isinstance(column.dtype, pd.StringDtype)


def needs_text(columns: Iterable[pd.Series], reading: Reading) -> bool:
    """Whether columns that pandas typed have to be read again as text.

    A file with decimal commas may hold 1.234 for 1234, which pandas takes for a fraction.

    Parameters
    ----------
    columns : iterable of Series
        As pandas typed them, with a decimal point.
    reading : Reading
        ``decimal`` decides where it is given.

    Returns
    -------
    bool

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.234, 2.5], "b": ["21,5", "20,0"], "c": ["up", "down"]})
    >>> needs_text([frame["a"], frame["b"]], Reading()), needs_text([frame["c"]], Reading())
    (True, False)
    """
    given = list(columns)
    if reading.decimal == "." or not any(pd.api.types.is_float_dtype(c.dtype) for c in given):
        return False
    return reading.decimal == "," or any(map(_has_commas, filter(_is_text, given)))


def _has_commas(column: pd.Series) -> bool:
    """Whether a cell could be a number with a decimal comma, or with points between thousands."""
    if column.dtype.kind == "O":
        column = column.astype(str)
    some = column[column.str.contains(r",[0-9]|[0-9]\.[0-9]{3}\.[0-9]", na=False)]
    return bool(some.str.fullmatch(rf"[\s+-]*[0-9.{_BLANKS}]*(?:,[0-9]+)?\s*").any())


def _fractions(columns: Sequence[pd.Series]) -> np.ndarray:
    """Numbers that pandas typed, where they are not whole."""
    typed = [c.iloc[:_LOOK].to_numpy(np.float64, na_value=np.nan) for c in columns
             if pd.api.types.is_float_dtype(c.dtype)]
    return np.concatenate([c[np.abs(np.modf(c)[0]) > 0] for c in [*typed, np.empty(0)]])


def _perhaps_thousands(points: np.ndarray) -> bool:
    """Whether numbers have three digits behind their point, and all of them one to three before."""
    digits = [np.abs(points * 10**k - np.round(points * 10**k)) > 1e-6 for k in (2, 3)]
    return bool(digits[0].any() and not digits[1].any() and (np.abs(points) >= 1).all()
                and (np.abs(points) < 1000).all())


def _tidy(text: str) -> str:
    """The same in the digits and marks of ASCII, with an E for the D of Fortran."""
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(c, c)) for c in text.translate(_MARKS))
    text = re.sub(r"^([+-])\s+", r"\1", text)
    return re.sub(r"^([+-]?\d*\.\d+)[dD]([+-]?\d+)$", r"\1e\2", text)


def _kind(text: str) -> str | None:
    """"." or "," where a number shows its decimal mark, "?." or "?," where it may; None: no number.
    """
    if _is_either(text):
        return "?." if "." in text else "?,"
    if _is_plain(text):
        return "." if "." in text else ""
    if _is_comma(text):
        return ","
    for mark, other in _OTHER.items():
        if _is_grouped[mark](text):
            return mark if mark in text or other in text else ""
    return None


def _gather(column: pd.Series, found: dict[str, str]) -> bool:
    """Add a cell of each kind of numbers that is new; False where a column mostly holds words."""
    cells = dict.fromkeys(cell.strip() for cell in column if isinstance(cell, str))
    kinds = {cell: kind for cell in cells if (kind := _kind(_tidy(cell))) is not None}
    if 2 * len(kinds) < sum(cell.lower() not in _MISSING for cell in cells):
        return False
    where = "" if column.name is None else f" in column {column.name!r}"
    for cell, kind in kinds.items():
        if kind:
            found.setdefault(kind, f"{cell!r}{where}")
    return True


def trouble(column: pd.Series, values: pd.Series, bad: np.ndarray, *, wanted: bool = False
            ) -> str | None:
    """Why a column is not used as numbers; None where it is one of text that nobody asked for.

    Parameters
    ----------
    column : Series of shape (n_rows,)
        Its index says which row of the file each is, from 0.
    values : Series of float64, shape (n_rows,)
        Its numbers, as `Numbers.column` finds them.
    bad : ndarray of bool, shape (n_rows,)
        Cells that are neither a number nor missing.
    wanted : bool, default=False
        Whether the column was named as a feature, so that text is refused too.

    Returns
    -------
    str or None

    Examples
    --------
    >>> column = pd.Series(["1.5", "Bad Input", "2.5"], name="flow")
    >>> values, bad = Numbers.recognise([column], Reading(), ",", print).column(column)
    >>> trouble(column, values, bad)[:68]
    "column 'flow' is not numeric ('Bad Input' in data row 2, 1 such cell"
    """
    if not bad.any():
        return None
    counts = column[bad].astype(str).str.strip().value_counts()
    words, total, good = list(counts.index), int(counts.sum()), int(values.notna().sum())
    marked = sum(counts[word] for word in words[:_LOOK] if _kind(word) is not None)
    measured = _measured(counts.iloc[:_LOOK], good)
    if not wanted and 2 * max(marked, measured) < total and (
            not good or (10 * good < total and len(words) > _SHOWN)):
        return None
    first = int(bad.argmax())
    cells = f"{total} such cell{'s' * (total > 1)}"
    if 2 * marked >= total:
        remedy = "say which mark is right with decimal='.' or decimal=','"
    elif 2 * measured >= total:
        remedy = "write the number alone, with its unit in the name of the column"
        remedy += f"; {_missing_words(words)}" * (good > 0 and len(words) <= _SHOWN)
    elif good:
        remedy = _missing_words(words)
        if not bad[3:].any() and len(bad) > 9:
            remedy += "; if it stands above the table, leave it out with skip_rows"
    else:
        remedy = "it is one of text"
    return (f"column {column.name!r} is not numeric ({str(column.iloc[first]).strip()!r} in data "
            f"row {column.index[first] + 1}, {cells}): {remedy}; else correct it (a number is "
            "1234.5), or name the columns to use with feature_columns=")


def _measured(counts: pd.Series, good: int) -> int:
    """Cells that hold a number with something before or behind it, of a few kinds."""
    units = {word: found.groups() for word in counts.index if (found := _quantity(word)) and (
        any(found.groups()) or "," in word)}
    few = len(set(units.values())) <= min(3, len(counts) - (not good))  # not 1st, 2nd, 3rd
    return int(counts[list(units)].sum()) if few else 0


def _missing_words(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} other words" if len(words) > _SHOWN else ""
    return f"if that means a missing value, pass na_values={words[:_SHOWN]}{more}"


def present(values: pd.DataFrame, missing: str, note: Note, entity: np.ndarray | None = None
            ) -> tuple[pd.DataFrame, np.ndarray]:
    """What a policy makes of missing values.

    Parameters
    ----------
    values : DataFrame of shape (n_rows, n_features)
        Its index says which row of the file each is, from 0.
    missing : {"error", "drop", "hold", "keep", "impute"}
        Refuse, leave out the row, repeat the last value (first rows without one are left out), or
        keep them.
    note : callable
        Takes a sentence on a column that is mostly repeated.
    entity : ndarray of shape (n_rows,), default=None
        Machines, none of which repeats a value of another.

    Returns
    -------
    values : DataFrame of shape (n_kept, n_features)
        The rows that are kept, filled where values are held.
    keep : ndarray of bool, shape (n_rows,)
        Which rows these are.

    Raises
    ------
    ValueError
        Where values are missing and may not be, or no row is left.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [np.nan, 1.0, np.nan], "b": [1.0, 2.0, 3.0]})
    >>> values, keep = present(frame, "hold", print)
    >>> values["a"].tolist(), keep.tolist()
    ([1.0, 1.0], [False, True, True])
    """
    gaps = values.isna()
    if missing == "error" and gaps.any(axis=None):
        column = gaps.any().idxmax()
        row = values.index[int(gaps[column].to_numpy().argmax())]
        raise ValueError(
            f"column {column!r} has {int(gaps[column].sum())} missing or infinite values (first "
            f"in data row {row + 1}); pass missing='hold', 'drop', 'keep' or 'impute'")
    if missing == "hold":
        held = gaps
        values = values.ffill() if entity is None else values.groupby(entity).ffill()
        gaps = values.isna()
        _say_held(held & ~gaps, note)
    keeps = missing in ("keep", "impute")
    keep = np.ones(len(values), bool) if keeps else ~gaps.any(axis=1).to_numpy()
    if not keep.any():
        raise ValueError(f"no row is left with missing={missing!r}")
    return values if keep.all() else values[keep], keep


def _say_held(held: pd.DataFrame, note: Note) -> None:
    """Name columns that are mostly, or for long, a repeated value."""
    for name in held.columns[held.any()]:
        filled = held[name].to_numpy()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], filled, [0]]).astype(int)))
        longest = int((edges[1::2] - edges[::2]).max())
        if 2 * filled.sum() > len(filled) or longest > max(len(filled) / 10, 2):
            note(f"missing='hold' fills {filled.mean():.0%} of column {name!r}, {longest} rows in "
                 f"a row at most (of {len(filled)})")


def sentinels(values: pd.DataFrame, note: Note) -> None:
    """Say which numbers look like placeholders for missing values.

    Parameters
    ----------
    values : DataFrame of shape (n_rows, n_features)
    note : callable
        Takes a sentence on each column that holds one.

    Examples
    --------
    >>> sentinels(pd.DataFrame({"CO": [2.6, 2.0, 2.2, 1.6] * 9 + [-200.0] * 5}), print)
    column 'CO' holds -200 5 times, far from its other values (1.6 to 2.6); if that stands for a \
missing value, pass na_values=[-200]
    """
    for name in values:
        column = values[name].to_numpy(float)
        edges = [extreme.reduce(column, initial=np.nan) for extreme in (np.fmin, np.fmax)]
        if not _is_placeholder(edges).any():
            continue
        numbers, counts = np.unique(column[~np.isnan(column)], return_counts=True)
        while (found := _placeholder(numbers, counts)) is not None:
            others = np.delete(numbers, found)
            shown = f"{numbers[found]:.6g}"
            note(f"column {name!r} holds {shown} {counts[found]} times, far from its other values "
                 f"({others[0]:.6g} to {others[-1]:.6g}); if that stands for a missing value, pass "
                 f"na_values=[{shown}]")
            numbers, counts = others, np.delete(counts, found)


def _is_placeholder(numbers: Any) -> np.ndarray:
    """Which numbers are known to stand for a missing value, up to a float32's precision."""
    given = np.asarray(numbers, float)[:, None]
    return (np.abs(given - _PLACEHOLDERS) <= 1e-6 * np.abs(_PLACEHOLDERS)).any(axis=1)


def _placeholder(numbers: np.ndarray, counts: np.ndarray) -> int | None:
    """Which of distinct numbers, in order, stands apart as only a placeholder does."""
    if len(numbers) < 2:
        return None
    steps = np.diff(numbers)
    for found, gap, others in ((0, steps[0], numbers[1:]), (-1, steps[-1], numbers[:-1])):
        # a sign that nothing else has says more than a distance
        share = 0.1 if numbers[found] < 0 <= others[0] else 0.5
        if (counts[found] >= 3 and _is_placeholder(numbers[[found]])[0]
                and gap > share * np.ptp(others) and gap > 2 * np.diff(others).max(initial=0)):
            return found
    return None
