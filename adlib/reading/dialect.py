"""Bytes as rows: what separates cells, where the table begins and what its columns are called.

A file and a stream are recognised by the same lines of code, from at most `HEAD` first lines.
"""

from __future__ import annotations

import io
import json
import re
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.reading.contents import as_utf8, encoding_of, kind_of, unpacked
from adlib.reading.numbers import NA_WORDS, needs_text
from adlib.reading.options import Note, Reading, visible

HEAD = 100  # lines that decide what a table looks like, blank ones and comments not counted
_LONGEST = 50 * HEAD  # and with them
ALONE = "\x1f"  # what separates the cells of a table with one column
SEPARATORS = ";\t|, "  # where two would do, the first
OPEN_LINES = 20  # lines of a stream that may belong to one quoted cell

_number = re.compile(
    r"[-+\u2212]?(\d+([ .,'\u00a0\u2009\u202f]\d{3})*([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?\s?%?"
    r"|[-+]?inf(inity)?|true|false", re.IGNORECASE).fullmatch
_month = r"(jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-z]*\.?"
_day = (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{4}-\d\d|\d{8}(?=T)"
        rf"|\d{{1,2}}[- ]{_month}[-, ]{{1,2}}\d{{2,4}}|{_month} \d{{1,2}},? \d{{4}}")
_clock = (r"([ T_]?\d{1,2}(:\d\d)?(:\d\d([.,]\d*)?)?|T\d{4,6})? ?([ap]\.?m\.?)?"
          r" ?(z|[a-z]{3,4}|[-+]\d\d(:?\d\d)?)?")
_date = re.compile(
    r"(?=.*(\d[-/.:]\d|\d{4}))((mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
    rf"({_day})?{_clock}", re.IGNORECASE).fullmatch
#: A comment, unless it is an error of a spreadsheet such as #DIV/0!, or a number such as #5
_is_comment = re.compile(r"#(?!N/?A\b|[A-Z/0]+[!?]|\d+([;,\t|]|$))").match
_is_json = re.compile(r'\s*(\{|\[\s*($|[-\d"\[{\]]|null|true|false))').match
_surrogate = re.compile("[\udc80-\udcff]").search

_QUOTED = rb'"[^"]*(?:""[^"]*)*"(?=[%s\n]|\Z)'


class Raw(NamedTuple):
    """A table as it was parsed: typed columns or texts under unique names.

    Parameters
    ----------
    frame : DataFrame
        Numbers, truth values, times (of Parquet) or texts; what is missing is NaN.
    separator : str
        What stands between cells; "" where nothing does (Parquet, JSON).
    first : int
        Line of the file, from 1, that holds the first row.
    """

    frame: pd.DataFrame
    separator: str
    first: int


class _Table(NamedTuple):
    """Where a table stands in lines."""

    separator: str
    names: list[str]
    width: int  # cells of its rows: one more than names where a separator ends each of them
    start: int  # lines before the first row
    header: str | None  # its line; None without one
    has_comments: bool  # whether a line that begins with # is no row

    def wrong(self, line: str, cells: list[str]) -> str:
        """What is wrong with a row; nothing if it is a row like all others."""
        if line == self.header:
            return "header"
        if self.has_comments and _is_comment(line):
            return "comment"
        if any(cells[len(self.names) :]):
            return "long"
        if len(cells) == 1 and (len(self.names) > 2 or _kind(cells[0], NA_WORDS) == "t"):
            return "word" if len(self.names) > 1 else ""
        # between blanks a gap cannot be seen: what comes after it would be of another column
        short = "long" if self.separator == " " else "short"
        return short if len(cells) < len(self.names) else ""


def raw_table(path: Path, reading: Reading, note: Note, *, as_text: Collection[Any] = (),
              grouped: bool = False) -> Raw:
    """The rows of a file: CSV or other text, JSON lines or Parquet, perhaps in .gz or .zip.

    Parameters
    ----------
    path : Path
        The file; what it holds decides, not its suffix.
    reading : Reading
        Options; ``separator``, ``encoding``, ``header``, ``skip_rows`` and ``na_values`` count.
    note : callable
        Takes a sentence on each thing that is other than plain.
    as_text : collection of str, default=()
        Columns that keep their text, beside ``entity_column``: 01 is not 1 there.
    grouped : bool, default=False
        Whether points may stand between thousands, so that numbers with one are left as text.

    Returns
    -------
    Raw

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message holds its path.
    ImportError
        If it is Parquet and pyarrow is missing.
    ValueError
        If it is no table, or rows do not fit its header; the message says where and what helps.
    """
    data = unpacked(path, note)
    if kind_of(data) == "Parquet":
        return Raw(_parquet(data, reading), "", 1)
    data = as_utf8(data, reading, note)
    for _ in range(reading.skip_rows):
        data = data.partition(b"\n")[2]
    lines = data[: _end_of(data, _LONGEST)].decode().split("\n")
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise ValueError("is empty: no table is in it")
    if _is_json(first):
        frame = _frame(_json_rows(data), reading)
        mark, start = "", lines.index(first)
    else:
        found = _recognise(lines, reading, note)
        assert found
        texts: dict[int, type] = {
            k: str for k, name in enumerate(found.names)
            if name == reading.entity_column or name in as_text}
        frame = _parsed(data, found, reading, note, texts, grouped)
        mark, start = found.separator, found.start
    if not len(frame):
        raise ValueError("has no rows below its header")
    return Raw(frame, mark, reading.skip_rows + start + 1)


def _end_of(data: bytes, n_lines: int) -> int:
    """Where the first lines end."""
    end = 0
    for k in range(n_lines):
        end = data.find(b"\n", end) + 1 or len(data)
        if end > 1 << 20 and k > 2:  # very wide: fewer will do
            break
    return end


def _parquet(data: bytes, reading: Reading) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except ImportError as error:
        raise ImportError("reading Parquet needs pyarrow; pip install it") from error
    except Exception as error:  # pyarrow has errors of its own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"is damaged or not readable ({reason})") from error
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame.index.name = "time"
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return _without_nested(frame, reading)


# --- JSON -------------------------------------------------------------------------------------

def _rows_of(text: str | bytes) -> list[Any]:
    """Rows in JSON: one object or array, or those in an array of objects or of arrays."""
    value = json.loads(text)
    if isinstance(value, list) and value and all(isinstance(v, dict | list) for v in value):
        return value
    if not isinstance(value, dict | list):
        raise ValueError("neither an object nor an array")
    return [value]


def _json_rows(data: bytes) -> list[Any]:
    rows: list[Any] = []
    for k, line in enumerate(data.split(b"\n")):
        try:
            if line.strip():
                rows += _rows_of(line)
        except (ValueError, RecursionError) as error:
            try:
                return _rows_of(data)
            except (ValueError, RecursionError):
                raise ValueError(f"line {k + 1} is not readable as JSON ({error}); write one "
                                 "object per line") from error
    return rows


def _frame(rows: list[Any], reading: Reading) -> pd.DataFrame:
    """A table of JSON objects, or of arrays."""
    if not all(isinstance(row, dict) for row in rows):
        if any(isinstance(row, dict) for row in rows) or len(set(map(len, rows))) > 1:
            raise ValueError("holds arrays of several lengths; write one object per line")
        rows = [dict(zip(_numbered(len(row)), row, strict=True)) for row in rows]
    frame = _without_nested(pd.DataFrame(rows), reading)
    for name in _texts(frame):
        frame[name] = frame[name].mask(frame[name].isin(NA_WORDS))
    return frame


def _without_nested(frame: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """The same under names that are texts; refused where a cell is itself a list or an object."""
    frame.columns = pd.Index(_named(list(map(str, frame.columns))))
    if reading.feature_columns:
        wanted = {*reading.feature_columns, *reading.time_columns, reading.label_column,
                  reading.entity_column}
        frame = frame[[c for c in frame if c in wanted or not _nested(frame[c]).any()]]
    for name in _texts(frame):
        nested = _nested(frame[name])
        if nested.any():
            raise ValueError(f"column {name!r} holds objects or arrays (row "
                             f"{int(nested.to_numpy().argmax()) + 1}); give each number and text a "
                             "name of its own, or name the columns to use with feature_columns=")
    for name in frame.columns[[kind == "category" for kind in frame.dtypes]]:
        frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    return frame


def _nested(column: pd.Series) -> pd.Series:
    return column.map(lambda value: isinstance(value, dict | list | np.ndarray))


def _texts(frame: pd.DataFrame) -> list[Any]:
    """Names of columns that hold more than numbers, truth values or times."""
    return [name for name, kind in frame.dtypes.items()
            if kind.kind == "O" or isinstance(kind, pd.StringDtype)]


# --- tables -----------------------------------------------------------------------------------

def _numbered(width: int) -> list[str]:
    return [f"x{k}" for k in range(width)]


def column_name(cell: str) -> str:
    """The name of a column as a table has it: on one line, without blanks around it."""
    return visible(cell).strip().replace("\n", " ")


def _named(cells: Sequence[str]) -> list[str]:
    """Column names, distinct."""
    names = [column_name(cell) or f"Unnamed: {k}" for k, cell in enumerate(cells)]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"column names are repeated: {repeated}; give each column its own name")
    return names


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[int, int, list[str] | None]]:
    """The line each record begins in, the one after it, and its cells; blank lines are none.

    A wrong quote spoils its own line alone, which then has no cells; it may still be closed where
    the line after it is beyond the last.
    """
    if separator == " ":
        lines = [line.replace("\t", " ").strip() for line in lines]
    elif not any('"' in line for line in lines):
        for k, line in enumerate(lines):
            if line.strip():
                yield k, k + 1, list(map(str.strip, line.split(separator)))
        return
    yield from _quoted(lines, separator)


def _quoted(lines: Sequence[str], separator: str) -> Iterator[tuple[int, int, list[str] | None]]:
    """The same where there are quotes."""
    how: dict[str, Any] = {"delimiter": separator, "skipinitialspace": True}
    begin = 0
    while begin < len(lines):
        start, after, recent = begin, begin + 1, list[str]()
        reader = csv_reader(_kept(lines, start, recent), **how)
        try:
            for row in reader:
                after = start + reader.line_num
                if after > len(lines):
                    break
                if after > begin + 1:  # a text goes on behind the quote of another: an error
                    list(csv_reader(recent, strict=True, **how))
                cells = list(map(str.strip, row))
                if len(cells) > 1 or lines[begin].strip():
                    yield begin, after, cells
                begin = after
                recent.clear()
        except CsvError:  # or a cell as long as a file
            after = begin + 1
        if begin < len(lines):
            yield begin, after, None
            begin += 1


def _kept(lines: Sequence[str], start: int, recent: list[str]) -> Iterator[str]:
    """Lines one after the other, each remembered, and a blank one: an open quote swallows it."""
    for k in range(start, len(lines)):
        recent.append(lines[k] + "\n")
        yield recent[-1]
    yield "\n"


class _Row(NamedTuple):
    """A record of the first lines, and what its cells look like."""

    line: int
    cells: list[str]
    kinds: list[str]  # n(umber), d(ate), t(ext), or nothing where a cell is missing

    @property
    def has_values(self) -> bool:
        """Whether there are numbers or dates in it."""
        return not {"n", "d"}.isdisjoint(self.kinds)

    @property
    def has_words(self) -> bool:
        """Whether texts in it are more than marks, or the line below the header of a text."""
        return any("--" in cell[:3] or any(c.isalpha() or c in "%°" for c in cell)
                   for cell in self.of("t"))

    def of(self, kind: str) -> list[str]:
        """The cells that look like this."""
        return [cell for cell, found in zip(self.cells, self.kinds, strict=True) if found == kind]


class _Head:
    """The first lines, were they separated by this."""

    def __init__(self, lines: Sequence[str], separator: str, reading: Reading):
        self.separator, self.reading = separator, reading
        records = list(_records(lines, separator))
        missing = NA_WORDS.union(map(str, reading.na_values))
        self.rows = [_Row(k, cells, [_kind(cell, missing) for cell in cells])
                     for k, _, cells in records if cells]
        self.broken = [k for k, _, cells in records if cells is None]
        self._end = len(lines)
        widths = [len(row.cells) for row in self.rows]
        counts = Counter(widths)
        self.width = max(counts, default=0, key=lambda w: (counts[w] > 1, counts[w] * (w - 1), w))
        self._begin = widths.index(self.width) if widths else 0
        self._inner = [row for row in self.rows if len(row.cells) == self.width]
        self._names_rows = all(lines[row.line].startswith('"') and row.kinds[0] != "d"
                               for row in self._inner)
        below = widths[self._begin :]
        regular = sum(w > 1 and self.width - 1 <= w <= self.width for w in below)
        self._is_table = self.width > 1 and 2 * regular > len(below)

    def sure(self) -> int:
        """How sure it is that this separates cells: 0 is not at all."""
        if not self._is_table:
            return 0
        if not self._inner[0].has_values or self._above():
            return 2
        if self._begin == 0 or self.reading.header is False:
            return 1
        if self.separator != " " and self._inner[0].has_words:
            return 1
        return int(not _fits(self._inner[0], self._usual()))

    def rank(self) -> tuple[bool, int, int, int]:
        """Where several would do: anything but blanks, more numbers and dates, a header."""
        values = sum(len(row.of("n")) + len(row.of("d")) for row in self._inner)
        sure = self.sure()
        # an odd quote is half of a cell that another separator divides
        torn = sum(any(cell.count('"') % 2 for cell in row.cells) for row in self._inner)
        is_whole = self.separator != " " and 2 * torn <= len(self._inner)
        return sure > 0 and is_whole, values if sure else 0, sure, -self._begin

    def has_data(self) -> bool:
        """Whether a row is there below what may be a header."""
        return any(row.has_values for row in self._inner[1:])

    def has_more(self) -> bool:
        """Whether the last cell of its rows holds anything."""
        return any(row.cells[-1] for row in self._inner)

    def _above(self) -> _Row | None:
        """The line above the first of the usual width, if it may be a header all the same."""
        row = self.rows[self._begin - 1]
        if self._begin == 0 or row.has_values or (
                len(row.cells) == 1 and self.has_more()):
            return None
        return row

    def top(self) -> tuple[_Row | None, int]:
        """The header, if there is one, and the line of the first row."""
        inner, has_header = self._inner, self.reading.header
        if has_header is False:
            return None, inner[0].line
        usual = self._usual()
        first = next((k for k, row in enumerate(inner) if _fits(row, usual)), None)
        if first == 0 and not has_header and not _are_names(inner, usual):
            return self._above(), inner[0].line
        if not first:
            return inner[0], self._line(1)
        # above the rows may stand lines on the station, the names, and their units
        begin = 1 + max((k for k in range(first - 1) if inner[k].has_values
                         or inner[k + 1].line > inner[k].line + 1), default=-1)
        filled = [sum(map(bool, row.cells)) for row in inner[begin:first]]
        header = begin + filled.index(max(filled))
        body = header + 1
        while body < first and _are_units(inner[body], inner[first:]):
            body += 1
        return inner[header], self._line(body)

    def refuse_rows_above(self, start: int) -> None:
        """Refuse to leave out what looks like a table of its own."""
        rows = [row for row in self.rows if row.line < start and row.kinds[0] in "nd"]
        widths = Counter(len(row.cells) for row in rows if row.kinds[0] and len(row.cells) > 1)
        if max(widths.values(), default=0) > 1:
            line = self.reading.skip_rows + rows[0].line + 1
            raise ValueError(f"holds several tables, or rows of several widths (line {line}); give "
                             "each a file, or leave lines out with skip_rows")

    def named_by(self, comment: str) -> list[str]:
        """Names in a comment above the rows, as numpy.savetxt writes them."""
        rows = _Head([comment.lstrip("# ")], self.separator, self.reading).rows
        fits = rows and len({*rows[0].cells}) == self.width and not rows[0].has_values
        return rows[0].cells if fits and self.reading.header is not False else []

    def fitted(self, names: list[str], line: int) -> list[str]:
        """As many names as the rows have cells, or one less; numbers where there are none."""
        while len(names) > self.width and not names[-1]:
            names = names[:-1]
        self._refuse(names, line)
        if names and not names[0] and self._usual()[0] == "d" and "time" not in names:
            return ["time", *names[1:]]  # as pandas writes an index of times
        if 0 < len(names) < self.width and self.has_more() and self._names_rows:
            return ["", *names]  # as R writes names of rows
        return names or _numbered(self.width)

    def _refuse(self, names: list[str], line: int) -> None:
        """Refuse names that are not those of the columns."""
        if any(names[:1]) and not any(names[1:]) and self.width > 1 and self.has_more():
            raise ValueError(f"only one of {self.width} columns has a name, {names[0]!r}; name "
                             "each, or leave lines above the header out with skip_rows")
        if names and not self.width - 1 <= len(names) <= self.width:
            raise ValueError(
                f"rows have {self.width} fields and the header {len(names)} (line "
                f"{self.reading.skip_rows + line + 1}); correct it, or leave lines above the "
                "table out with skip_rows")

    def _usual(self) -> list[str]:
        """The kind that most cells of each column are of."""
        valued = [row for row in self._inner[1:] if row.has_values] or self._inner
        columns = zip(*(row.kinds for row in reversed(valued)), strict=True)
        counts = [Counter(filter(None, column)).most_common(1) for column in columns]
        return [count[0][0] if count else "t" for count in counts]

    def _line(self, k: int) -> int:
        """Where the first row is, if one of the usual width has this number: it may be shorter."""
        usual, above = self._inner[k:k + 1], self._inner[k - 1].line
        return next((row.line for row in self.rows if row.line > above and (
            row.has_values and len(row.cells) > 1 or row in usual)), self._end)


def _fits(row: _Row, usual: Sequence[str]) -> bool:
    """Whether it looks like most rows: times all are times, and one more cell is what it is."""
    pairs = [(a, b) for a, b in zip(row.kinds, usual, strict=True) if a and b != "t"]
    return any(a == b for a, b in pairs) and not any(b == "d" != a for a, b in pairs)


def _are_units(row: _Row, below: Sequence[_Row]) -> bool:
    """Whether a row under the header is of words that never come again."""
    again = any(a and a == b for later in below
                for a, b in zip(row.cells, later.cells, strict=True))
    return row.has_words and not row.has_values and not again


def _are_names(rows: Sequence[_Row], usual: Sequence[str]) -> bool:
    """Whether a first line that looks like those below names the columns by numbers."""
    first, numbers = rows[0], rows[0].of("n")
    texts = [j for j, kind in enumerate(first.kinds) if kind == "t"]
    if first.of("d") or any(row.cells[j] == first.cells[j] for row in rows[1:] for j in texts):
        return False
    follow = _follow(numbers)
    if not texts:  # pandas names the columns of an array 0, 1, 2, and its index by nothing
        return follow and numbers[0] == "0" and (not first.cells[0] or len(numbers) > 2 and any(
            "." in "".join(row.cells) for row in rows[1:]))
    if not follow and ("n" in map(usual.__getitem__, texts) or all(map(str.isdecimal, numbers))):
        raise ValueError(f"the first line may hold names or values ({', '.join(first.cells)[:60]});"
                         " say which with header=True or header=False, or leave it out with "
                         "skip_rows")
    return follow


def _follow(numbers: Sequence[str]) -> bool:
    start = int(numbers[0][:9]) if numbers and numbers[0].isdecimal() else 0
    return len(numbers) > 1 and numbers == [str(start + k) for k in range(len(numbers))]


def _kind(cell: str, missing: frozenset[str]) -> str:
    if cell in missing:
        return ""
    return "t" if len(cell) > 60 else "n" if _number(cell) else "d" if _date(cell) else "t"


def _recognise(lines: Sequence[str], reading: Reading, note: Note, final: bool = True
               ) -> _Table | None:
    """The table in the first lines of a file; None where more of them are needed."""
    plain = [k for k, line in enumerate(lines) if line.strip() and not _is_comment(line)]
    final = final or len(plain) >= HEAD or len(lines) >= _LONGEST
    lines = lines[: plain[HEAD - 1] + 1 if len(plain) >= HEAD else _LONGEST]
    has_comments = _has_comments(lines)
    bare = ["" if has_comments and _is_comment(line) else line for line in lines]
    head = _separated(bare, reading)
    if not final and not head.has_data():
        return None
    if not head.rows:
        raise ValueError("holds comments alone" if any(lines) else "is empty: no table is in it")
    return _settled(lines, head, has_comments, note)


def _settled(lines: Sequence[str], head: _Head, has_comments: bool, note: Note) -> _Table:
    """The table that begins in these lines, once they show it."""
    header, start = head.top()
    comments = [k for k in range(start) if has_comments and _is_comment(lines[k])]
    place, names = (header.line, header.cells) if header else (start, [])
    for k in comments[:-3:-1]:  # the last, or that above the last, if that holds units
        if not header and not names and (names := head.named_by(lines[k])):
            place = k
            note(f"columns are named by the comment {lines[k][:60]!r}")
    start = min([start, *(k for k in head.broken if header and k > header.line)])
    head.refuse_rows_above(start)
    left = sorted({row.line for row in head.rows if row.line < start} | {*comments})
    _note_head([lines[k] for k in left if k < place], [lines[k] for k in left if k > place],
               head, names, note)
    return _Table(head.separator, _named(head.fitted(names, place)), head.width, start,
                  lines[place] if header else None, has_comments)


def _separated(lines: list[str], reading: Reading) -> _Head:
    """The lines as their separator divides them."""
    given = reading.separator
    first = next((k for k, line in enumerate(lines) if line.strip()), 0)
    if mark := re.fullmatch(r'"?sep=(.)"?', lines[first].strip(" ")):
        given, lines[first] = given or mark[1], ""
    # beside decimal commas, others separate unless numbers are in quotes
    bare = reading.decimal == "," and '"' not in "".join(lines)
    possible = SEPARATORS.replace(",", "") if bare else SEPARATORS
    if given and given in "".join(lines):
        possible = given
    head = max((_Head(lines, mark, reading) for mark in possible), key=_Head.rank)
    if given and head.sure() and head.separator != given:
        raise ValueError(f"separator={given!r} is nowhere in the first lines, which look as if "
                         f"separated by {head.separator!r}")
    return head if given == head.separator or head.sure() else _Head(lines, ALONE, reading)


def _has_comments(lines: Sequence[str]) -> bool:
    """Whether lines that begin with # are comments, as far as these show: or rows do."""
    marked = [k for k, line in enumerate(lines) if _is_comment(line)]
    plain = [k for k, line in enumerate(lines) if line.strip() and k not in marked]
    return not plain or sum(k > plain[0] for k in marked) < len(plain)


def _note_head(above: list[str], below: list[str], head: _Head, names: list[str], note: Note
               ) -> None:
    if head.separator not in (",", ALONE):
        note(f"separated by {'blanks' if head.separator == ' ' else repr(head.separator)}")
    if not names and head.reading.header is None:
        note("the first line holds values, so it is no header: columns are named x0, x1, ... (if "
             "it holds names: header=True)")
    for lines, where in (above, "above the table"), (below, "of units or the like"):
        if lines:
            shown = "; ".join(repr(text[:60]) for text in lines[:4]) + "; ..." * (len(lines) > 4)
            note(f"{_count(lines, 'line')} {where} left out: {shown}")
    if 0 < len(names) < head.width and not head.has_more():
        note("rows have one field more than the header, read as a separator at their end")


def _count(of: Any, what: str) -> str:
    return f"1 {what}" if len(of) == 1 else f"{len(of)} {what}s"


# --- a file's rows ----------------------------------------------------------------------------

def _parsed(data: bytes, table: _Table, reading: Reading, note: Note, texts: dict[int, type],
            grouped: bool) -> pd.DataFrame:
    """The rows of a table, by pandas, after a look at their widths."""
    start, mark = _end_of(data, table.start), table.separator.encode()
    if mark == b" " or len(mark) > 1:  # else not copied: it may be large
        data, start = data[start:], 0
    if mark == b" ":
        data = _with_single_blanks(data)
    elif len(mark) > 1:
        data, mark = data.replace(mark, b"\x1e"), b"\x1e"
    number = reading.skip_rows + table.start + 1  # of the first of its lines
    data, start = _without_empty_rows(data, start, mark * (table.width - 1), note)
    if not _is_regular(data, start, mark, table):
        lines = data[start:].split(b"\n")
        for k in _left_out(lines, mark.decode(), table, number, note):
            lines[k] = b""
        data, start = b"\n".join(lines), 0
    try:
        frame = _by_pandas(data, start, mark, table, reading, texts, grouped)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=range(table.width))
    except (pd.errors.ParserError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"not readable as a table ({reason})") from error
    width = len(table.names)
    if table.width > width:
        more = frame[width].notna().to_numpy()
        frame = frame.drop(columns=width)
        if more.any():
            raise ValueError(f"rows have one field more than the header (data row "
                             f"{int(more.argmax()) + 1}); name each column, or put " + (
                                 "numbers with commas" if mark == b"," else
                                 f"texts with {table.separator!r}") + " in quotes")
    frame.columns = pd.Index(table.names)
    return frame


def _without_empty_rows(data: bytes, start: int, empty: bytes, note: Note) -> tuple[bytes, int]:
    """The same without the rows of separators alone that spreadsheets write."""
    end = b"\n" * data.endswith(b"\n" + empty)
    row = b"\n" + empty + b"\n"
    if not empty or not end and data.find(row, max(start - 1, 0)) < 0:
        return data, start
    data = b"\n" + data[start:] + end
    size = len(data)
    while row in data:
        data = data.replace(row, b"\n\n")
    note(f"{_count(range((size - len(data)) // len(empty)), 'row')} without any value left out")
    return data, 1


def _with_single_blanks(data: bytes) -> bytes:
    data = data.replace(b"\t", b" ").strip(b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.replace(b"\n ", b"\n").replace(b" \n", b"\n")


def _by_pandas(data: bytes, start: int, mark: bytes, table: _Table, reading: Reading,
               as_text: dict[int, type], grouped: bool) -> pd.DataFrame:

    def parse(dtype: Any = as_text, **how: Any) -> pd.DataFrame:
        stream = io.BytesIO(data)
        stream.seek(start)
        return pd.read_csv(
            stream, sep=mark.decode(), header=None, index_col=False, low_memory=False,
            names=range(table.width), usecols=range(table.width), keep_default_na=False,
            na_values=[*NA_WORDS, *reading.na_values], dtype=dtype, **how)

    frame = parse()
    if not len(frame):  # however many columns
        return frame
    texts = [column.dropna().astype(str) for column in (frame[k] for k in _texts(frame))]
    if any((text.str.strip() != text).any() for text in texts):
        padded = rb"(?<! ) +(?=[%s\n]|\Z)" % re.escape(mark)  # pandas leaves blanks after a cell
        data, start = re.sub(padded, b"", data[start:]), 0
        frame = parse(skipinitialspace=True)
    points = frame.columns[[kind == np.float64 for kind in frame.dtypes]]
    may_group = reading.decimal is None and len(points) and (
        grouped or _lost_zeros(data[start:start + 100_000], mark))
    if may_group or needs_text((frame[k] for k in frame), reading):
        frame[points] = parse(dtype=str)[points]
    return frame


def _lost_zeros(data: bytes, mark: bytes) -> bool:
    """Whether all points stand before three digits, as 12.500, which pandas reads as 12.5."""
    between = re.escape(mark)
    cells = re.findall(rb"(?<=[%s\n])[+-]?\d+\.\d+(?=[%s\r\n])" % (between, between),
                       b"" if mark == b"," else b"\n" + data)
    return any(cell.endswith(b"0") for cell in cells) and all(
        re.fullmatch(rb"[+-]?[1-9]\d{0,2}\.\d{3}", cell) for cell in cells)


def _skeleton(data: bytes, mark: bytes) -> bytes:
    """Separators and line ends alone; and quotes that do not enclose their own cell."""
    kept = mark + b'\n"'
    return data.translate(None, bytes(set(range(256)) - set(kept))).replace(b'""', b"")


def _is_regular(data: bytes, start: int, mark: bytes, table: _Table) -> bool:
    """Whether all lines from there are rows of the same width."""
    usual = mark * (table.width - 1) + b"\n"
    shape, above = _skeleton(data, mark), len(_skeleton(data[:start], mark))
    if shape.find(b'"', above) >= 0:  # cells with separators or line ends in them
        shape, above = _skeleton(re.sub(_QUOTED % re.escape(mark), b"", data[start:]), mark), 0
    shape += b"\n" * (not data.endswith(b"\n"))
    comments = table.has_comments and (
        data.startswith(b"#", start) or b"#" in data and data.find(b"\n#", start) >= 0)
    again = table.header and data.find(table.header.encode(), start) >= 0
    return not comments and not again and (
        shape.count(usual, above) * len(usual) == len(shape) - above)


def _left_out(lines: list[bytes], mark: str, table: _Table, number: int, note: Note) -> list[int]:
    """Lines that are no rows; rows that do not fit are refused or noted."""
    found: dict[str, list[int]] = {"comment": [], "word": [], "short": [], "": []}
    for k, cells in _odd_rows(lines, mark, table, number):
        line = lines[k].decode()
        wrong = table.wrong(line, cells)
        if wrong == "header":
            raise ValueError(f"line {number + k} repeats the header; split a file that holds "
                             "several tables, and leave repeated headers out")
        if wrong == "long":
            raise ValueError(f"line {number + k} has {len(cells)} fields, the header "
                             f"{len(table.names)}; put texts with {table.separator!r} in quotes, "
                             "write NaN into gaps, or leave lines above the table out with "
                             "skip_rows")
        found[wrong].append(k)
        if wrong == "short" and k == len(lines) - 1:
            note(f"the file ends within line {number + k}: its last value may be cut off")
    if found["comment"]:
        note(f"{_count(found['comment'], 'comment')} between rows left out, the first in line "
             f"{number + found['comment'][0]}")
    for k in found["word"]:
        note(f"line {number + k} is no row, left out: {lines[k].decode().strip()[:60]!r}")
    if short := found["short"]:
        note(f"{_count(short, 'row')} shorter than the header, the first in line "
             f"{number + short[0]}: what is lacking is missing")
    return found["comment"] + found["word"]


def _odd_rows(lines: list[bytes], mark: str, table: _Table, number: int
              ) -> Iterator[tuple[int, list[str]]]:
    """Lines that may be no rows of the usual width, each with its cells."""
    header = table.header and table.header.encode()
    shapes = _skeleton(b"\n".join(lines), mark.encode())
    wanted: Sequence[int] = range(len(lines))
    if b'"' not in shapes:  # else cells may hold separators and line ends: all lines are needed
        usual = mark.encode() * (table.width - 1)
        wanted = [k for k, shape in enumerate(shapes.split(b"\n"))
                  if shape != usual or lines[k] == header or lines[k][:1] == b"#"]
    for begin, _, cells in _records([lines[k].decode() for k in wanted], mark):
        k = wanted[begin]
        if cells is None:
            raise ValueError(f"a quote in line {number + k} is never closed; close it, or double "
                             "it where it belongs to a text")
        yield k, cells


# --- lines that arrive ------------------------------------------------------------------------

class Lines:
    """A table, or JSON lines, that arrives: what it looks like is found as in a file.

    Parameters
    ----------
    reading : Reading
        Options; ``separator``, ``encoding``, ``header`` and ``skip_rows`` count.
    note : callable
        Takes a sentence on each thing that is other than plain.

    Attributes
    ----------
    separator : str
        What stands between cells, once the first row has been seen.
    is_plain : bool
        Whether the last lines held digits, their marks and times alone, so that nothing else need
        be looked for in their cells.

    Examples
    --------
    >>> lines = Lines(Reading(), print)
    >>> lines.feed([b"time;a"])
    []
    >>> lines.feed([b"2024-01-01;20,5", b"2024-01-02"])
    separated by ';'
    rows are shorter than the header: what they lack is missing
    [{'time': '2024-01-01', 'a': '20,5'}, {'time': '2024-01-02', 'a': None}]
    """

    def __init__(self, reading: Reading, note: Note):
        self.separator, self.is_plain = ",", False
        self._reading, self._note, self._skip = reading, note, reading.skip_rows
        self._read: Callable[[list[str], bool], list[Any]] | None = None
        self._table: _Table | None = None
        self._header: str | None = None
        self._held: list[str] = []
        self._noted: set[str] = set()
        self._decode: Callable[[bytes], str] | None = None
        self._rest = ""

    def feed(self, lines: Sequence[bytes | str], *, end: bool = False) -> list[Any]:
        """The rows that are complete with these lines.

        Parameters
        ----------
        lines : sequence of bytes or str
            Whole lines, with or without their ends.
        end : bool, default=False
            Whether no more will come.

        Returns
        -------
        list
            Of each row a dict by column (texts, None where the row is too short; values of a JSON
            object), a list (the values of a JSON array), or a text: what could not be read.

        Raises
        ------
        ValueError
            If these are no lines of a table, or no header can be found.
        """
        texts = self._texts(lines) + [self._rest] * end
        if self._skip:
            self._skip, texts = max(0, self._skip - len(texts)), texts[self._skip :]
        texts, self._held = self._held + texts, []
        if self._read is None:
            rest = self._begin(texts, end) if any(map(str.strip, texts)) else []
            if rest is None:
                self._held, rest = texts, []
            texts = rest
        return self._read(texts, end) if self._read else []

    def _texts(self, lines: Sequence[bytes | str]) -> list[str]:
        if not lines:
            return []
        text = "\n".join(line.removesuffix("\n") for line in lines if isinstance(line, str))
        given = [line.removesuffix(b"\n") for line in lines if isinstance(line, bytes)]
        self.is_plain = False
        if data := b"\n".join(given):
            self.is_plain = not self._held and not data.translate(None, _PLAIN)
            self._decode = self._decode or self._decoder(data)
            text = self._decode(data)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.removeprefix("\ufeff").split("\n")

    def _decoder(self, data: bytes) -> Callable[[bytes], str]:
        marked = encoding_of(data)
        encoding = (marked or self._reading.encoding or "utf-8").lower()
        is_wide = encoding.startswith(("utf-16", "utf-32"))
        if kind_of(data) or not is_wide and b"\0" in data.partition(b"\n")[0]:
            raise ValueError(f"what arrives is {kind_of(data) or 'binary'}; send lines of text in "
                             "UTF-8")
        if not is_wide:  # what cannot be decoded makes its own line unreadable, and no other
            return lambda data: data.decode(encoding, "surrogateescape")
        if marked:
            self._note(f"text in {encoding.upper()}")
        decoder = getincrementaldecoder(encoding)("replace")

        def decode(data: bytes) -> str:  # lines were parted within the characters of their ends
            text, _, self._rest = (self._rest + decoder.decode(data + b"\n")).rpartition("\n")
            return text

        return decode

    def _begin(self, texts: list[str], end: bool) -> list[str] | None:
        """The lines below the header; None where they do not say yet what the rest looks like."""
        first = next(text for text in texts if text.strip())
        if _is_json(first):
            if first.strip() in "[{":
                raise ValueError("JSON over several lines cannot be read as it arrives; write one "
                                 "object per line")
            self._read, self.separator = self._json, ""
            return texts
        table = _recognise(texts, self._reading, self._note, end)
        if table is None:
            return None
        if any(map(_surrogate, texts[: table.start])):
            raise ValueError("names of columns are not in UTF-8; send them so, or say what they "
                             "are in, such as encoding='cp1252'")
        self._table, self.separator, self._read = table, table.separator, self._rows
        self._header = table.header
        return texts[table.start :]

    def _json(self, texts: list[str], end: bool) -> list[Any]:
        rows: list[Any] = []
        for text in filter(str.strip, texts):
            try:
                text.encode()  # refuses what was not decoded
                rows += _rows_of(text)
            except (ValueError, RecursionError):
                rows.append(_shown(text))
        return rows

    def _rows(self, texts: list[str], end: bool) -> list[Any]:
        assert self._table
        names, width = self._table.names, len(self._table.names)
        rows: list[Any] = []
        for begin, after, cells in _records(texts, self.separator):
            text = texts[begin] if after == begin + 1 else "\n".join(texts[begin:after])
            if cells is None and not end and len(texts) < after <= begin + OPEN_LINES + 1:
                self._held = texts[begin:]
                break
            if cells is None:
                rows.append(_shown(texts[begin]))
            elif len(cells) == width and text != self._header and (
                    self.is_plain or not _is_unusual(text)):
                if width == 1 or any(cells):
                    rows.append(dict(zip(names, cells, strict=True)))
            else:
                self._odd(text, cells, rows)
        return rows

    def _odd(self, text: str, cells: list[str], rows: list[Any]) -> None:
        assert self._table
        wrong = self._table.wrong(text, cells)
        if wrong in ("header", "long", "word") or _surrogate(text):
            rows.append(_shown(text))
        elif wrong != "comment":
            names = self._table.names
            rows.append(dict(zip(names, cells + [None] * len(names), strict=False)))
        if wrong in _ODD and wrong not in self._noted:
            self._noted.add(wrong)
            self._note(_ODD[wrong])


#: Bytes of which numbers and times consist, and of which nothing else does.
_PLAIN = b"0123456789.,;:+-TZ| \t\r\n"
_ODD = {"comment": "comments between rows are left out",
        "short": "rows are shorter than the header: what they lack is missing"}


def _is_unusual(text: str) -> bool:
    return text[:1] == "#" or (not text.isascii() and _surrogate(text) is not None)


def _shown(text: str) -> str:
    return text.encode(errors="replace").decode()
