"""Options of the reader: the same names in Python, in YAML, in papermill and on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adlib.arguments import listed, one_of, whole

#: Takes a sentence on what was recognised or repaired; a list's ``append`` will do.
Note = Callable[[str], Any]

UNITS = ("s", "ms", "us", "ns", "excel")
MISSING = ("error", "drop", "hold", "keep", "impute")
SEVERAL = ("time_column", "feature_columns", "na_values")  # those that may be lists
_invisible = re.compile("[\u200b\u200e\u200f\u2060\ufeff]").sub  # joiners are spelling
_SWITCH = {"true": True, "yes": True, "false": False, "no": False}


class ReadingWarning(UserWarning):
    """What the reader recognised, repaired or doubts."""


@dataclass(frozen=True)
class Reading:
    """How to read a file or a stream; None leaves it to what is found there.

    Parameters
    ----------
    time_column : str, sequence of str or False, default=None
        Column of times, or several that make one together, such as a date and a time of day. None:
        one named like "time" or "timestamp" whose values are times; False (on a command line ""):
        there is none.
    time_unit : {"s", "ms", "us", "ns", "excel"}, default=None
        What a numeric time counts: "s", "ms", "us" or "ns" from 1970 (small numbers: from the start
        of the recording, in seconds or the given unit), or days of a spreadsheet ("excel").
    time_zone : str, default=None
        Zone of times that name none, such as "Europe/Berlin"; UTC if None.
    entity_column : str, default=None
        Column that says which machine, patient or account a row belongs to.
    label_column : str, default=None
        Column that marks the anomalies.
    feature_columns : sequence of str, default=None
        Columns to use; all others if None.
    na_values : sequence, default=()
        Further texts or numbers that mean a missing value, such as "?" or -999.
    decimal : {".", ","}, default=None
        Mark between whole numbers and fractions: "." or ",".
    separator : str, default=None
        One character between the cells of a line; " " stands for any blanks.
    encoding : str, default=None
        Of the text; UTF-8 if None, unless a byte order mark says otherwise.
    header : bool, default=None
        Whether a line of column names comes before the first row.
    skip_rows : int, default=0
        Lines to leave out at the beginning.
    missing : {"error", "drop", "hold", "keep", "impute"}, default="error"
        What to do with missing or infinite values: refuse ("error"), "drop" the row, "hold" the
        last value, or "keep" them (as NaN; "impute" says that a detector fills them).

    Raises
    ------
    ValueError
        When an option is none of what it may be; the message names it.

    Examples
    --------
    >>> Reading(time_column=["date", "time"], na_values=[-999]).time_columns
    ('date', 'time')
    >>> Reading(decimal=";")
    Traceback (most recent call last):
    ValueError: decimal must be one of None, '.', ',', got ';'
    """

    time_column: Any = None
    time_unit: str | None = None
    time_zone: str | None = None
    entity_column: str | None = None
    label_column: str | None = None
    feature_columns: Sequence[str] | None = None
    na_values: Sequence[Any] = ()
    decimal: str | None = None
    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    skip_rows: int = 0
    missing: str = "error"

    def __post_init__(self) -> None:
        one_of(self.time_unit, "time_unit", (None, *UNITS))
        one_of(self.decimal, "decimal", (None, ".", ","))
        one_of(self.missing, "missing", MISSING)
        whole(self.skip_rows, "skip_rows", 0, of="lines")
        if self.header not in (None, True, False):
            raise ValueError(f"header must be True, False or None, got {self.header!r}")
        for name in ("time_zone", "entity_column", "label_column", "encoding", "separator"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise ValueError(f"{name} must be a text or None, got {value!r}{_unquoted(value)}")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        for name in ("entity_column", "label_column"):
            if (given := getattr(self, name)) is not None:
                self._set(name, visible(given))
        self._set("time_column", self._time())
        if self.feature_columns is not None:
            names = self._several("feature_columns", str)
            self._set("feature_columns", tuple(map(visible, names)))
        self._set("na_values", self._several("na_values", str | int | float))
        self._check_encoding()
        self._check_zone()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _time(self) -> Any:
        given = self.time_column
        if given is None or given is False:
            return given
        names = () if given is True else self._several("time_column", str)
        if not names:
            raise ValueError(f"time_column must be the name of a column, several, or False, got "
                             f"{given!r}{_unquoted(given)}")
        return tuple(map(visible, names))

    def _several(self, name: str, kind: Any) -> tuple[Any, ...]:
        given = getattr(self, name)
        values = [given] if isinstance(given, kind) else listed(given, name)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, kind):
                raise ValueError(f"{name} must hold names of columns, got {value!r}"
                                 f"{_unquoted(value)}" if kind is str else
                                 f"{name} must hold texts or numbers, got {value!r}"
                                 f"{_unquoted(value)}")
        return tuple(values)

    def _check_encoding(self) -> None:
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            raise ValueError(f"encoding must be one that Python knows, such as 'utf-8' or "
                             f"'cp1252', got {self.encoding!r}") from None

    def _check_zone(self) -> None:
        from zoneinfo import ZoneInfo

        try:
            if self.time_zone is not None:
                ZoneInfo(self.time_zone)
        except (LookupError, OSError, ValueError):
            raise ValueError(f"time_zone must be a name such as 'Europe/Berlin' or 'UTC', got "
                             f"{self.time_zone!r}") from None

    @property
    def time_columns(self) -> tuple[str, ...]:
        """Names of the columns that make the time; none where none is given."""
        return self.time_column or ()


def _unquoted(value: Any) -> str:
    """A hint where YAML made True or False of a word."""
    return ("; if on, off, yes or no was written, put it in quotes: YAML makes True or False of it"
            if isinstance(value, bool) else "")


def from_texts(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they are written on a command line or in an address.

    Parameters
    ----------
    texts : mapping of str to str, or to a list of str where an option was given several times
        Lists stand behind each other with commas; an empty ``time_column`` says that there is none.

    Returns
    -------
    dict
        What `Reading` takes.

    Raises
    ------
    ValueError
        When a text is no number or switch where one must be.

    Examples
    --------
    >>> from_texts({"na_values": "-999,?", "separator": r"\\t", "header": "no"})
    {'na_values': [-999, '?'], 'separator': '\\t', 'header': False}
    """
    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name in SEVERAL:
            parts = ",".join([text] if isinstance(text, str) else text).split(",")
            found[name] = [part.strip() for part in parts if part.strip()]
        elif name == "separator":
            found[name] = text.replace(r"\t", "\t")
        elif name == "header":
            found[name] = text if isinstance(text, bool) else _SWITCH.get(text.lower(), text)
        elif name == "skip_rows":
            found[name] = int(text) if re.fullmatch(r"\d{1,9}", text) else text
        else:
            found[name] = text
    if "na_values" in found:
        found["na_values"] = [int(value) if re.fullmatch(r"[-+]?\d{1,15}", value) else value
                              for value in found["na_values"]]
    if found.get("time_column") == []:
        found["time_column"] = False
    return found


def visible(name: str) -> str:
    """The name of a column without marks that nobody sees, as a file has it when it is read.

    Examples
    --------
    >>> visible("\\ufefftime\\u200b")
    'time'
    """
    return _invisible("", name)


def few(names: Sequence[Any], most: int = 20) -> str:
    """A list as sentences show it: its first names, each not too long, and how many more.

    Examples
    --------
    >>> few(range(5000), 3)
    '[0, 1, 2] and 4997 more'
    """
    shown = [f"{name[:60]}..." if isinstance(name, str) and len(name) > 60 else name
             for name in names[:most]]
    return f"{shown}" + (f" and {len(names) - most} more" if len(names) > most else "")


def descriptions() -> dict[str, str]:
    """What each option means, by its name: as the docstring of `Reading` has it.

    Examples
    --------
    >>> descriptions()["skip_rows"]
    'Lines to leave out at the beginning.'
    """
    text = (Reading.__doc__ or "").partition("----------\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+) : .*\n((?: {8}.*(?:\n|$))+)", text, flags=re.M)
    return {name: " ".join(lines.split()) for name, lines in found}
