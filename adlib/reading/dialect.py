"""Bytes as rows: what separates cells, where the table begins and what its columns are called.

A file and a stream are recognised by the same lines of code, from at most `HEAD` first lines.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.reading.contents import as_utf8, encoding_of, kind_of, unpacked
from adlib.reading.numbers import NA_WORDS, needs_text
from adlib.reading.options import Note, Reading

HEAD = 100  # lines that decide what a table looks like
ALONE = "\x1f"  # what separates the cells of a table with one column
SEPARATORS = ";\t|, "  # where two would do, the first
_END = "\x02\x03"  # a line after the last: a quote that is open swallows it
OPEN_LINES = 20  # lines of a stream that may belong to one quoted cell

_number = re.compile(
    r"[-+\u2212]?(\d+([ .,'\u00a0\u202f]\d{3})*([.,]\d*)?|[.,]\d+)(e[-+]?\d+)?\s?%?"
    r"|[-+]?inf(inity)?|true|false", re.IGNORECASE).fullmatch
_date = re.compile(
    r"(?=.*\d)([a-z]{3,9},? )?"
    r"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{4}-\d\d|\d{1,2}[- ][a-z]{3,9}\.?[-, ]{1,2}\d{2,4}"
    r"|[a-z]{3,9} \d{1,2},? \d{4}|\d{8}(?=T))?"
    r"([ T_]?\d{1,2}(:\d\d)?(:\d\d([.,]\d*)?)?|T\d{4,6})? ?([ap]\.?m\.?)?"
    r" ?(z|[a-z]{3,4}|[-+]\d\d(:?\d\d)?)?", re.IGNORECASE).fullmatch
_is_json = re.compile(r'\s*(\{|\[\s*($|[-\d"\[{\]]|null|true|false))').match
_surrogate = re.compile("[\udc80-\udcff]").search


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
        if self.has_comments and line.startswith("#"):
            return "comment"
        if any(cells[len(self.names) :]):
            return "long"
        if len(cells) == 1 < len(self.names) and _kind(cells[0], NA_WORDS) == "t":
            return "word"
        return "short" if len(cells) < len(self.names) else ""


def raw_table(path: Path, reading: Reading, note: Note) -> Raw:
    """The rows of a file: CSV or other text, JSON lines or Parquet, perhaps in .gz or .zip.

    Parameters
    ----------
    path : Path
        The file; what it holds decides, not its suffix.
    reading : Reading
        Options; ``separator``, ``encoding``, ``header``, ``skip_rows`` and ``na_values`` count.
    note : callable
        Takes a sentence on each thing that is other than plain.

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
        return Raw(_parquet(data), "", 1)
    data = as_utf8(data, reading, note)
    for _ in range(reading.skip_rows):
        data = data.partition(b"\n")[2]
    if not data or data.isspace():
        raise ValueError("is empty")
    lines = data[: 1 << 20].decode(errors="ignore").split("\n")
    first = next(line for line in lines if line.strip())
    if _is_json(first):
        frame = _frame(_json_rows(data))
        mark, start = "", lines.index(first)
    else:
        found = _recognise(lines, reading, note)
        assert found
        frame = _parsed(data, found, reading, note)
        mark, start = found.separator, found.start
    if not len(frame):
        raise ValueError("has no rows below its header")
    return Raw(frame, mark, reading.skip_rows + start + 1)


def _parquet(data: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except ImportError as error:
        raise ImportError("reading Parquet needs pyarrow; pip install it") from error
    except Exception as error:  # pyarrow has errors of its own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"is damaged or not readable ({reason})") from error
    if frame.index.names != [None]:
        frame = frame.reset_index()
    return _without_nested(frame)


# --- JSON -------------------------------------------------------------------------------------

def _flat(value: Any) -> list[Any]:
    """Rows in a JSON value: itself, or those in an array of objects or of arrays."""
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
                rows += _flat(json.loads(line))
        except (ValueError, RecursionError) as error:
            try:
                return _flat(json.loads(data))
            except (ValueError, RecursionError):
                raise ValueError(f"line {k + 1} is not readable as JSON ({error}); write one "
                                 "object per line") from error
    return rows


def _frame(rows: list[Any]) -> pd.DataFrame:
    """A table of JSON objects, or of arrays."""
    if not all(isinstance(row, dict) for row in rows):
        if any(isinstance(row, dict) for row in rows) or len(set(map(len, rows))) > 1:
            raise ValueError("holds arrays of several lengths; write one object per line")
        rows = [dict(zip(_numbered(len(row)), row, strict=True)) for row in rows]
    frame = _without_nested(pd.DataFrame(rows))
    for name in frame.select_dtypes(["object", "str"]):
        frame[name] = frame[name].mask(frame[name].isin(NA_WORDS))
    return frame


def _without_nested(frame: pd.DataFrame) -> pd.DataFrame:
    """The same under names that are texts; refused where a cell is itself a list or an object."""
    frame.columns = pd.Index(_named(list(map(str, frame.columns))))
    for name in [name for name in map(str, frame) if frame[name].dtype == object]:
        nested = frame[name].map(lambda value: isinstance(value, dict | list | np.ndarray))
        if nested.any():
            raise ValueError(f"column {name!r} holds objects or arrays (row "
                             f"{int(nested.to_numpy().argmax()) + 1}); give each number and text a "
                             "name of its own, one object per line")
    for name in map(str, frame.select_dtypes("category")):
        frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    return frame


# --- tables -----------------------------------------------------------------------------------

def _numbered(width: int) -> list[str]:
    return [f"x{k}" for k in range(width)]


def _named(cells: Sequence[str]) -> list[str]:
    """Column names, distinct and without blanks around them."""
    names = [cell.strip() or f"Unnamed: {k}" for k, cell in enumerate(cells)]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"column names are repeated: {repeated}; give each column its own name")
    return names


def _records(lines: Iterable[str], separator: str
             ) -> Iterator[tuple[int, int, list[str] | None]]:
    """The line each record begins in, the one after it, and its cells; None: a quote stays open."""
    if separator == " ":
        lines = (line.replace("\t", " ").strip() for line in lines)
    reader = csv_reader(chain((f"{line}\n" for line in lines), [_END]), delimiter=separator,
                        skipinitialspace=True)
    begin = 0
    try:
        for row in reader:
            if row and row[-1].endswith(_END):
                if row != [_END]:
                    yield begin, reader.line_num, None
                return
            yield begin, reader.line_num, [cell.strip() for cell in row]
            begin = reader.line_num
    except CsvError:  # a cell as long as a file
        yield begin, begin + 1, None


class _Row(NamedTuple):
    """A record of the first lines, and what its cells look like."""

    line: int
    cells: list[str]
    kinds: list[str]  # n(umber), d(ate), t(ext), or nothing where a cell is missing

    @property
    def has_values(self) -> bool:
        """Whether there are numbers or dates in it."""
        return not {"n", "d"}.isdisjoint(self.kinds)

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
                     for k, _, cells in records if cells and (cells[0] or len(cells) > 1)]
        self.end = next((k for k, _, cells in records if cells is None), len(lines))
        widths = [len(row.cells) for row in self.rows]
        counts = Counter(widths)
        self.width = max(counts, default=0, key=lambda w: (counts[w] > 1, counts[w] * (w - 1), w))
        self._begin = widths.index(self.width) if widths else 0
        self._inner = [row for row in self.rows if len(row.cells) == self.width]
        wide = [w for w in widths[self._begin :] if w > 1]
        regular = sum(self.width - 1 <= w <= self.width for w in wide)
        self._is_table = self.width > 1 and 2 * regular > len(wide)

    def sure(self) -> int:
        """How sure it is that this separates cells: 0 is not at all."""
        if not self._is_table:
            return 0
        kinds = set(self._inner[0].kinds)
        if kinds.isdisjoint("nd") or self._above():
            return 2
        return int(self._begin == 0 or "t" in kinds)

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
        inner, told = self._inner, self.reading.header
        if told is False:
            return None, inner[0].line
        usual = self._usual()
        first = next((k for k, row in enumerate(inner) if _fits(row, usual)), None)
        if first == 0 and not told and not _are_names(inner):
            return self._above(), inner[0].line
        if not first:
            return inner[0], self._line(1)
        # above the rows may stand lines on the station, the names, and their units
        begin = 1 + max((k for k in range(first - 1) if inner[k].has_values), default=-1)
        filled = [sum(map(bool, row.cells)) for row in inner[begin:first]]
        header = begin + filled.index(max(filled))
        body = header + 1
        while body < first and _are_units(inner[body], inner[first:]):
            body += 1
        return inner[header], self._line(body)

    def named_by(self, comment: str) -> list[str]:
        """Names in a comment above the rows, as numpy.savetxt writes them."""
        rows = _Head([comment.lstrip("# ")], self.separator, self.reading).rows
        fits = rows and len(rows[0].cells) == self.width and not rows[0].has_values
        return rows[0].cells if fits and self.reading.header is not False else []

    def fitted(self, names: list[str], line: int) -> list[str]:
        """As many names as the rows have cells, or one less; numbers where there are none."""
        while len(names) > self.width and not names[-1]:
            names = names[:-1]
        if names and not self.width - 1 <= len(names) <= self.width:
            raise ValueError(
                f"rows have {self.width} fields and the header {len(names)} (line "
                f"{self.reading.skip_rows + line + 1}); correct it, or leave lines above the "
                "table out with skip_rows")
        return names or _numbered(self.width)

    def _usual(self) -> list[str]:
        """The kind that most cells of each column are of."""
        valued = [row for row in self._inner[1:] if row.has_values] or self._inner
        columns = zip(*(row.kinds for row in reversed(valued)), strict=True)
        counts = [Counter(filter(None, column)).most_common(1) for column in columns]
        return [count[0][0] if count else "t" for count in counts]

    def _line(self, k: int) -> int:
        return self._inner[k].line if k < len(self._inner) else self.end


def _fits(row: _Row, usual: Sequence[str]) -> bool:
    """Whether it looks like most rows: times all are times, and one more cell is what it is."""
    pairs = [(a, b) for a, b in zip(row.kinds, usual, strict=True) if a and b != "t"]
    return any(a == b for a, b in pairs) and not any(b == "d" != a for a, b in pairs)


def _are_units(row: _Row, below: Sequence[_Row]) -> bool:
    """Whether a row under the header is of words that never come again."""
    again = any(a and a == b for later in below
                for a, b in zip(row.cells, later.cells, strict=True))
    return "t" in row.kinds and not row.has_values and not again


def _are_names(rows: Sequence[_Row]) -> bool:
    """Whether a first line that looks like those below names the columns by numbers."""
    first = rows[0]
    numbers = first.of("n")
    texts = [j for j, kind in enumerate(first.kinds) if kind == "t"]
    again = any(row.cells[j] == first.cells[j] for row in rows[1:] for j in texts)
    if again or first.of("d") or not all(map(str.isdecimal, numbers)):
        return False
    follow = _follow(numbers)
    if texts and not follow:
        raise ValueError(f"the first line may hold names or values ({', '.join(first.cells)[:60]});"
                         " say which with header=True or header=False")
    # pandas names the columns of an array 0, 1, 2, and its index by nothing
    fractions = any("." in "".join(row.cells) for row in rows[1:])
    return bool(texts) or follow and numbers[0] == "0" and (
        not first.cells[0] or len(numbers) > 2 and fractions)


def _follow(numbers: Sequence[str]) -> bool:
    start = int(numbers[0][:9]) if numbers else 0
    return len(numbers) > 1 and numbers == [str(start + k) for k in range(len(numbers))]


def _kind(cell: str, missing: frozenset[str]) -> str:
    if cell in missing:
        return ""
    return "t" if len(cell) > 60 else "n" if _number(cell) else "d" if _date(cell) else "t"


def _recognise(lines: Sequence[str], reading: Reading, note: Note, final: bool = True
               ) -> _Table | None:
    """The table in the first lines of a file; None where more of them are needed."""
    lines = lines[:HEAD]
    has_comments = _has_comments(lines)
    bare = ["" if has_comments and line.startswith("#") else line for line in lines]
    head = _separated(bare, reading)
    if not final and len(lines) < HEAD and not head.has_data():
        return None
    if not head.rows:
        raise ValueError("holds comments alone" if any(lines) else "is empty")
    return _settled(lines, head, has_comments, note)


def _settled(lines: Sequence[str], head: _Head, has_comments: bool, note: Note) -> _Table:
    """The table that begins in these lines, once they tell."""
    header, start = head.top()
    comments = [k for k in range(start) if has_comments and lines[k].startswith("#")]
    place, names = (header.line, header.cells) if header else (start, [])
    if comments and not header and (names := head.named_by(lines[comments[-1]])):
        place = comments[-1]
    left = sorted({row.line for row in head.rows if row.line < start} | {*comments})
    _note_head([lines[k] for k in left if k < place], [lines[k] for k in left if k > place],
               head, names, note)
    return _Table(head.separator, _named(head.fitted(names, place)), head.width, start,
                  lines[place] if header else None, has_comments)


def _separated(lines: list[str], reading: Reading) -> _Head:
    """The lines as their separator divides them."""
    told = reading.separator
    first = next((k for k, line in enumerate(lines) if line.strip()), 0)
    if mark := re.fullmatch(r'"?sep=(.)"?', lines[first].strip(" ")):
        told, lines[first] = told or mark[1], ""
    # beside decimal commas, others separate unless numbers are in quotes
    bare = reading.decimal == "," and not any('"' in line for line in lines)
    possible = told or (SEPARATORS.replace(",", "") if bare else SEPARATORS)
    head = max((_Head(lines, mark, reading) for mark in possible), key=_Head.sure)
    return head if told or head.sure() else _Head(lines, ALONE, reading)


def _has_comments(lines: Sequence[str]) -> bool:
    """Whether lines that begin with # are comments, for all that these tell: or rows do."""
    marked = [k for k, line in enumerate(lines) if line.startswith("#")]
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

def _parsed(data: bytes, table: _Table, reading: Reading, note: Note) -> pd.DataFrame:
    """The rows of a table, by pandas, after a look at their widths."""
    start = 0
    for _ in range(table.start):
        start = data.find(b"\n", start) + 1 or len(data)
    data, mark = data[start:], table.separator.encode()
    if mark == b" ":
        data = re.sub(rb"[ \t]+", b" ", data).strip(b" ")
        data = data.replace(b"\n ", b"\n").replace(b" \n", b"\n")
    elif len(mark) > 1:
        data, mark = data.replace(mark, b"\x1e"), b"\x1e"
    number = reading.skip_rows + table.start + 1  # of the first of its lines
    if not _is_regular(data, mark, table):
        lines = data.split(b"\n")
        for k in _left_out(lines, mark.decode(), table, number, note):
            lines[k] = b""
        data = b"\n".join(lines)
    try:
        frame = _by_pandas(data, mark, table, reading)
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
                             f"{int(more.argmax()) + 1}); name each column, or put numbers with "
                             "commas in quotes")
    frame.columns = pd.Index(table.names)
    return frame


def _by_pandas(data: bytes, mark: bytes, table: _Table, reading: Reading) -> pd.DataFrame:

    def parse(**how: Any) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(data), sep=mark.decode(), header=None, index_col=False, low_memory=False,
            names=range(table.width), usecols=range(table.width), keep_default_na=False,
            na_values=[*NA_WORDS, *reading.na_values], **how)

    frame = parse()
    texts: pd.DataFrame = frame.select_dtypes("str")
    if any((texts[k].str.strip() != texts[k]).any() for k in list(texts)):
        padded = rb"(?<! ) +(?=[%s\n]|\Z)" % re.escape(mark)  # pandas leaves blanks after a cell
        data = re.sub(padded, b"", data)
        frame = parse(skipinitialspace=True)
        texts = frame.select_dtypes("str")
    points = frame.select_dtypes(np.float64)
    marked = [texts[k] for k in list(texts)
              if any(texts[k].str.contains(mark, regex=False).any() for mark in ",.")]
    if needs_text([*marked, *(points[k] for k in list(points)[:1])], reading):
        frame[points.columns] = parse(dtype=str)[points.columns]
    return frame


def _skeleton(data: bytes, mark: bytes) -> bytes:
    """Separators and line ends alone; and quotes that do not enclose their own cell."""
    kept = mark + b'\n"'
    return data.translate(None, bytes(set(range(256)) - set(kept))).replace(b'""', b"")


def _is_regular(data: bytes, mark: bytes, table: _Table) -> bool:
    """Whether all lines are rows of the same width."""
    usual = mark * (table.width - 1) + b"\n"
    shape = _skeleton(data, mark)
    shape += b"\n" * (not data.endswith(b"\n"))
    comments = table.has_comments and (data.startswith(b"#") or b"#" in data and b"\n#" in data)
    return not comments and not (table.header and table.header.encode() in data) and (
        len(shape) % len(usual) == 0 and shape == usual * (len(shape) // len(usual)))


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
                             f"{len(table.names)}; correct it, or put texts with "
                             f"{table.separator!r} in quotes")
        found[wrong].append(k)
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
    usual = mark.encode() * (table.width - 1)
    header = table.header and table.header.encode()
    shapes = _skeleton(b"\n".join(lines), mark.encode()).split(b"\n")
    done = 0
    for k, (line, shape) in enumerate(zip(lines, shapes, strict=True)):
        if k >= done and (shape != usual or line == header or line[:1] == b"#"):
            rest = (lines[j].decode() for j in range(k, len(lines)))
            _, end, cells = next(_records(rest, mark), (k, 1, []))
            done = k + end
            if cells is None:
                raise ValueError(f"a quote in line {number + k} is never closed; close it, or "
                                 "double it where it belongs to a text")
            if cells and (cells[0] or len(cells) > 1):
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
        self.separator = ","
        self._reading, self._note, self._skip = reading, note, reading.skip_rows
        self._read: Callable[[list[str], bool], list[Any]] | None = None
        self._table: _Table | None = None
        self._header: str | None = None
        self._held: list[str] = []
        self._noted: set[str] = set()
        self._encoding = ""

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
            If these are no lines of a table, or no header can be told.
        """
        texts = self._texts(lines)
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
        if data := b"\n".join(given):
            self._encoding = self._encoding or self._encoded(data)
            # what cannot be decoded makes its own line unreadable, and no other
            text = data.decode(self._encoding, "surrogateescape")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.removeprefix("\ufeff").split("\n")

    def _encoded(self, data: bytes) -> str:
        encoding = (encoding_of(data) or self._reading.encoding or "utf-8").lower()
        what = kind_of(data) or (encoding.startswith(("utf-16", "utf-32")) and encoding.upper())
        if not what and b"\0" in data.partition(b"\n")[0]:
            what = "binary"
        if what:
            raise ValueError(f"what arrives is {what}; send lines of text in UTF-8")
        return encoding

    def _begin(self, texts: list[str], end: bool) -> list[str] | None:
        """The lines below the header; None where they do not say yet what the rest looks like."""
        first = next(text for text in texts if text.strip())
        if _is_json(first):
            if first.strip() in "[{":
                raise ValueError("JSON over several lines cannot be read as it arrives; write one "
                                 "object per line")
            self._read, self.separator = self._json, ""
            return texts
        table = _recognise(texts, self._reading, self._note, end or len(texts) >= HEAD)
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
        for text in texts:
            if text.strip():
                try:
                    rows += _flat(json.loads(text.encode().decode()))
                except (ValueError, RecursionError):
                    rows.append(_shown(text))
        return rows

    def _rows(self, texts: list[str], end: bool) -> list[Any]:
        rows: list[Any] = []
        start = 0
        while start < len(texts):
            start = self._some(texts, start, end, rows)
        return rows

    def _some(self, texts: list[str], start: int, end: bool, rows: list[Any]) -> int:
        """Rows from a line up to one that cannot be read, after which it goes on."""
        assert self._table
        names, width = self._table.names, len(self._table.names)
        for begin, after, cells in _records(texts[start:], self.separator):
            text = texts[start + begin]
            if cells is None and not end and len(texts) - start - begin <= OPEN_LINES:
                self._held = texts[start + begin :]
                break
            if cells and len(cells) == width and not self._unusual(text):
                rows.append(dict(zip(names, cells, strict=True)))
            elif cells is None or after - begin > 1 and len(cells) != width:
                # not its quote but those of other lines may have closed it
                rows.append(_shown(text))
                return start + begin + 1
            elif cells and (cells[0] or len(cells) > 1):
                self._odd(text, cells, rows)
        return len(texts)

    def _unusual(self, text: str) -> bool:
        return text[:1] == "#" or text == self._header or (
            not text.isascii() and _surrogate(text) is not None)

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


_ODD = {"comment": "comments between rows are left out",
        "short": "rows are shorter than the header: what they lack is missing"}


def _shown(text: str) -> str:
    return text.encode(errors="replace").decode()
