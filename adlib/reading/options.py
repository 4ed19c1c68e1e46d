"""Options of the reader: the same names in Python, in YAML, in papermill and on a command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adlib.arguments import listed, one_of, whole

#: Takes a sentence on what was recognised or repaired; a list's ``append`` will do.
Note = Callable[[str], Any]

UNITS = ("s", "ms", "us", "ns", "excel")
MISSING = ("error", "drop", "hold", "keep", "impute")


class ReadingWarning(UserWarning):
    """What the reader recognised, repaired or doubts."""


@dataclass(frozen=True)
class Reading:
    """How to read a file or a stream; None leaves it to what is found there.

    Parameters
    ----------
    time_column : str, sequence of str or False, default=None
        Column of times, or several that make one together, such as a date and a time of day. None:
        one named like "time" or "timestamp" whose values are times; False: there is none.
    time_unit : {"s", "ms", "us", "ns", "excel"}, default=None
        What a numeric time counts: from 1970, or days of a spreadsheet.
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
        Mark between whole numbers and fractions.
    separator : str, default=None
        One character between the cells of a line; " " stands for any blanks.
    encoding : str, default=None
        Of the text; UTF-8 if None, unless a byte order mark says otherwise.
    header : bool, default=None
        Whether a line of column names comes before the first row.
    skip_rows : int, default=0
        Lines to leave out at the beginning.
    missing : {"error", "drop", "hold", "keep", "impute"}, default="error"
        What to do with missing or infinite values: refuse, drop the row, repeat the last value, or
        keep them (as NaN; "impute" says that a detector fills them).

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
                raise ValueError(f"{name} must be a text or None, got {value!r}")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        self._set("time_column", self._time())
        if self.feature_columns is not None:
            names = self.feature_columns
            self._set("feature_columns", tuple(
                [names] if isinstance(names, str) else listed(names, "feature_columns")))
        values = self.na_values
        self._set("na_values", tuple(
            [values] if isinstance(values, str | int | float) else listed(values, "na_values")))
        self._check_encoding()
        self._check_zone()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _time(self) -> Any:
        given = self.time_column
        if given is None or given is False:
            return given
        names = tuple([given] if isinstance(given, str) else listed(given, "time_column"))
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"time_column must be the name of a column, several, or False, got "
                             f"{given!r}")
        return names

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
        """Names of the columns that make the time; none where none is told."""
        return self.time_column or ()
