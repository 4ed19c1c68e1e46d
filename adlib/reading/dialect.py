"""Bytes as rows: what separates cells, where the table begins and what its columns are called.

A file and a stream are recognised by the same lines of code, from at most `HEAD` first lines.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from gzip import GzipFile
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.reading.numbers import NA_WORDS, needs_text
from adlib.reading.options import Note, Reading

HEAD = 100  # lines that decide what a table looks like
LIMIT = 1 << 30  # bytes that a compressed file may unpack to
ALONE = "\x1f"  # what separates the cells of a table with one column
SEPARATORS = ";\t|, "  # where two would do, the first
_END = "\x02"  # a line after the last: a quote that is open swallows it
OPEN_LINES = 20  # lines of a stream that may belong to one quoted cell

#: What begins a file that is no text, and what to do with it.
_BINARY = {
    "a spreadsheet of old Excel; save it as CSV UTF-8": (b"\xd0\xcf\x11\xe0",),
    "HDF5 or netCDF; export the table as CSV or Parquet": (b"\x89HDF", b"CDF"),
    "an array of NumPy; save it with numpy.savetxt or as CSV": (b"\x93NUMPY",),
    "a file of MATLAB; export the table as CSV (writetable)": (b"MATLAB",),
    "a data base; export the table as CSV": (b"SQLite format 3",),
    "compressed in a way that is not read; unpack it, or use gzip":
        (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"),
    "Feather, ORC or Avro; save it as Parquet or CSV": (b"ARROW1", b"FEA1", b"ORC", b"Obj\x01"),
    "a document; save its table as CSV UTF-8": (b"%PDF", b"{\\rtf"),
    "an image": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
    "a pickle; save the table with to_csv or to_parquet":
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
}
#: Members of a zip archive that say what it is.
_IN_ZIP = (
    (r"xl/.*|content\.xml|.*\.iwa", "a spreadsheet; save it as CSV UTF-8"),
    (r"word/.*|ppt/.*", "a document; save its table as CSV UTF-8"),
    (r".*\.npy", "an archive of NumPy; save the table with numpy.savetxt or as CSV"),
)
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
    start: int  # lines before the first row
    header: str | None  # its line; None without one


# --- bytes ------------------------------------------------------------------------------------

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
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        seen = "" if path.is_absolute() else f", as seen from {Path.cwd()}"
        raise FileNotFoundError(f"{path} is {what}; give the path of a CSV or Parquet file{seen}")
    try:
        data = _unpacked(path, note)
    except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(f"is damaged or not readable ({error})") from error
    if data.startswith(b"PAR1"):
        return Raw(_parquet(data), "", 1)
    data = _utf8(data, reading, note)
    if not data.strip():
        raise ValueError("is empty")
    for _ in range(reading.skip_rows):
        data = data.partition(b"\n")[2]
    lines = data[: 1 << 20].decode(errors="ignore").split("\n")
    first = next((line for line in lines if line.strip()), "")
    if _is_json(first):
        frame = _frame(_json_rows(data), reading)
        mark, start = "", lines.index(first)
    else:
        found = _recognise(lines, reading, note)
        assert found
        frame = _parsed(data, found, reading, note)
        mark, start = found.separator, found.start
    if not len(frame):
        raise ValueError("has no rows below its header")
    return Raw(frame, mark, reading.skip_rows + start + 1)


def _unpacked(path: Path, note: Note) -> bytes:
    """Bytes of a file, or of the one in it."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        with GzipFile(fileobj=io.BytesIO(data)) as file:
            data = _bounded(file)
        note("unpacked from gzip")
    elif data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")
                     and not re.search(r"(^|/)(__MACOSX/|\.DS_Store)", name)]
            for pattern, what in _IN_ZIP:
                if any(re.fullmatch(pattern, name) for name in names):
                    raise ValueError(f"is {what}")
            if len(names) != 1:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                raise ValueError(f"holds {len(names)} files, {names[:5]}{more}; unpack it and "
                                 "give one of them")
            with archive.open(names[0]) as member:
                data = _bounded(member)
        note(f"unpacked {names[0]!r} from the zip archive")
    if other := _binary(data):
        raise ValueError(f"is {other}")
    return data


def _binary(data: bytes) -> str | None:
    return next((what for what, magic in _BINARY.items() if data.startswith(magic)), None)


def _bounded(file: Any) -> bytes:
    parts, total = [], 0
    while part := file.read(1 << 20):
        parts.append(part)
        total += len(part)
        if total > LIMIT:
            raise ValueError(f"unpacks to more than {LIMIT >> 20} MB; unpack it first")
    return b"".join(parts)


def _parquet(data: bytes) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except ImportError as error:
        raise ImportError("reading Parquet needs pyarrow; pip install it") from error
    except Exception as error:  # pyarrow has errors of its own
        raise ValueError(f"is damaged or not readable ({error})") from error
    if frame.index.names != [None]:
        frame = frame.reset_index()
    frame.columns = pd.Index(_named(list(map(str, frame.columns))))
    for name in frame:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    return frame


def _utf8(data: bytes, reading: Reading, note: Note) -> bytes:
    """The text in UTF-8, lines ending with a line feed."""
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    encoding = marked or reading.encoding or "utf-8"
    if marked not in (None, "utf-8-sig"):
        note(f"text in {encoding.upper()}")
    try:
        if encoding == "utf-8-sig":
            data = data.removeprefix(b"\xef\xbb\xbf")
        elif not (encoding == "utf-8" and data.isascii()):
            text = data.decode(encoding)
            data = data if encoding == "utf-8" else text.encode()
        if encoding == "utf-8-sig":
            data.decode()
    except UnicodeError as error:
        raise ValueError(_undecoded(data, encoding, error)) from error
    if b"\0" in data:
        raise ValueError("holds zero bytes, so it is no text; save it as CSV UTF-8 (text of two "
                         "bytes a character: encoding='utf-16-le')")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"),
          (b"\xfe\xff", "utf-16"))


def _undecoded(data: bytes, encoding: str, error: UnicodeError) -> str:
    if encoding in ("utf-8", "utf-8-sig") and isinstance(error, UnicodeDecodeError):
        if b"\0" in data:
            return "is no text; save the table as CSV UTF-8"
        line = data.count(b"\n", 0, error.start) + 1
        return (f"is not in UTF-8 (line {line}); save it so (in Excel: 'CSV UTF-8'), or say what "
                "it is in, such as encoding='cp1252' of Windows in Western Europe")
    return f"cannot be read with encoding={encoding!r} ({error.__class__.__name__}: {error})"


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


def _frame(rows: list[Any], reading: Reading) -> pd.DataFrame:
    """A table of JSON objects, or of arrays."""
    if not all(isinstance(row, dict) for row in rows):
        if any(isinstance(row, dict) for row in rows) or len(set(map(len, rows))) > 1:
            raise ValueError("holds arrays of several lengths; write one object per line")
        rows = [dict(zip(_numbered(len(row)), row, strict=True)) for row in rows]
    frame = pd.DataFrame(rows)
    frame.columns = pd.Index(_named(list(map(str, frame.columns))))
    for name in frame.select_dtypes(["object", "str"]):
        nested = frame[name].map(lambda value: isinstance(value, dict | list))
        if nested.any():
            raise ValueError(f"column {name!r} holds objects or arrays (row "
                             f"{int(nested.to_numpy().argmax()) + 1}); write one object per line, "
                             "with a number or a text for each name")
        frame[name] = frame[name].mask(frame[name].isin(NA_WORDS))
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


def _cells(lines: Iterable[str], separator: str) -> tuple[list[tuple[int, list[str]]], int | None]:
    """The records of lines, each with the line it begins in; and that of a quote left open."""
    if separator == " ":
        lines = (line.replace("\t", " ").strip() for line in lines)
    rows, begin = [], 0
    reader = csv_reader(chain((f"{line}\n" for line in lines), [_END]), delimiter=separator,
                        skipinitialspace=True)
    try:
        for row in reader:
            rows.append((begin, [cell.strip() for cell in row]))
            begin = reader.line_num
    except CsvError:  # a cell as long as a file
        return rows, begin
    begin, end = rows.pop()
    return rows, None if end == [_END] else begin


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
        self.separator, self._reading = separator, reading
        records, unclosed = _cells(lines, separator)
        missing = NA_WORDS.union(map(str, reading.na_values))
        self.rows = [_Row(k, cells, [_kind(cell, missing) for cell in cells])
                     for k, cells in records if any(cells) or len(cells) > 1]
        self.end = len(lines) if unclosed is None else unclosed
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

    def _above(self) -> _Row | None:
        """The line above the first of the usual width, if it may be a header all the same."""
        row = self.rows[self._begin - 1]
        if self._begin == 0 or row.has_values or (
                len(row.cells) == 1 and any(each.cells[-1] for each in self._inner)):
            return None
        return row

    def top(self) -> tuple[_Row | None, int]:
        """The header, if there is one, and the line of the first row."""
        inner, told = self._inner, self._reading.header
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

    def before(self, line: int, header: _Row | None) -> list[_Row]:
        """Rows above a line, without the header."""
        return [row for row in self.rows if row.line < line and row is not header]

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
    comments = _comments(lines)
    head = _separated(lines, comments, reading)
    if not final and len(lines) < HEAD and not head.has_data():
        return None
    if not head.rows:
        raise ValueError("holds comments alone" if comments else "is empty")
    header, start = head.top()
    above = [line for k, line in comments.items() if k < start]
    left = [lines[row.line] for row in head.before(start, header)]
    names = header.cells if header else _commented(above, head, reading)
    if not names and reading.header is None:
        note("the first line holds values, so it is no header: columns are named x0, x1, ... (if "
             "it holds names: header=True)")
    _note_head(head.separator, left if names and not header else above + left, note)
    names = _fitted(names or _numbered(head.width), head.width, header, reading)
    return _Table(head.separator, _named(names), start, lines[header.line] if header else None)


def _separated(lines: Sequence[str], comments: dict[int, str], reading: Reading) -> _Head:
    """The lines but for comments as their separator divides them."""
    told, lines = reading.separator, ["" if k in comments else lines[k] for k in range(len(lines))]
    first = next((k for k, line in enumerate(lines) if line.strip()), 0)
    if mark := re.fullmatch(r'"?sep=(.)"?', lines[first].strip(" ")):
        told, lines[first] = told or mark[1], ""
    possible = told or (SEPARATORS if reading.decimal != "," else SEPARATORS.replace(",", ""))
    head = max((_Head(lines, mark, reading) for mark in possible), key=_Head.sure)
    return head if told or head.sure() else _Head(lines, ALONE, reading)


def _comments(lines: Sequence[str]) -> dict[int, str]:
    """Lines that begin with #, unless rows do."""
    marked = {k: line for k, line in enumerate(lines) if line.startswith("#")}
    plain = [k for k, line in enumerate(lines) if line.strip() and k not in marked]
    rows = plain and sum(k > plain[0] for k in marked) >= len(plain)
    return {} if rows else marked


def _commented(comments: Sequence[str], head: _Head, reading: Reading) -> list[str]:
    """Names in a comment right above the rows, as numpy.savetxt writes them."""
    lines = [line.lstrip("# ") for line in comments[-1:]]
    rows = [] if reading.header is False else _Head(lines, head.separator, reading).rows
    fits = rows and len(rows[0].cells) == head.width and not rows[0].has_values
    return rows[0].cells if fits else []


def _fitted(names: list[str], width: int, header: _Row | None, reading: Reading) -> list[str]:
    while len(names) > width and not names[-1]:
        names = names[:-1]
    if header and not width - 1 <= len(names) <= width:
        raise ValueError(f"rows have {width} fields and the header {len(names)} (line "
                         f"{reading.skip_rows + header.line + 1}); correct it, or leave lines "
                         "above the table out with skip_rows")
    return names


def _note_head(separator: str, left: Sequence[str], note: Note) -> None:
    if separator not in (",", ALONE):
        note(f"separated by {'blanks' if separator == ' ' else repr(separator)}")
    if left:
        shown = "; ".join(repr(text[:60]) for text in left[:4]) + "; ..." * (len(left) > 4)
        note(f"{_count(left, 'line')} above the rows left out: {shown}")


def _count(of: Any, what: str) -> str:
    return f"1 {what}" if len(of) == 1 else f"{len(of)} {what}s"


# --- a file's rows ----------------------------------------------------------------------------

def _parsed(data: bytes, table: _Table, reading: Reading, note: Note) -> pd.DataFrame:
    """The rows of a table, by pandas, after a look at their widths."""
    start = 0
    for _ in range(table.start):
        start = data.find(b"\n", start) + 1 or len(data)
    lines = data[start:].split(b"\n")
    number = reading.skip_rows + table.start + 1  # of the first of them
    changed = _checked(lines, table, number, note)
    separator = table.separator
    if changed or separator == " ":
        data, start = b"\n".join(lines), 0
    if len(mark := separator.encode()) > 1:
        data, separator = data.replace(mark, b"\x1e"), "\x1e"
    elif separator not in " " and (b" " + mark in data or b" \n" in data):
        data, start = re.sub(rb"(?<! ) +(?=[%s\n])" % re.escape(mark), b"", data[start:]), 0
    width = len(table.names)

    def parse(**how: Any) -> pd.DataFrame:
        stream = io.BytesIO(data)
        stream.seek(start)
        return pd.read_csv(
            stream, sep=r"\s+" if separator == " " else separator, header=None, index_col=False,
            names=range(width), usecols=range(width), keep_default_na=False, low_memory=False,
            na_values=[*NA_WORDS, *reading.na_values], skipinitialspace=True, **how)

    try:
        frame = parse()
        # 1.234 may be a thousand and more: only its text tells
        if needs_text((frame[k] for k in frame), reading):
            raw = parse(dtype=str)
            points = frame.select_dtypes(np.float64).columns
            frame[points] = raw[points]
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=range(width))
    except (pd.errors.ParserError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"not readable as a table ({reason})") from error
    frame.columns = pd.Index(table.names)
    return frame


def _checked(lines: list[bytes], table: _Table, number: int, note: Note) -> bool:
    """Refuse rows that do not fit; blank those that are none, and say whether there were any."""
    if table.header and (header := table.header.encode()) in lines:
        raise ValueError(f"line {number + lines.index(header)} repeats the header; split a file "
                         "that holds several tables, and leave repeated headers out")
    blank = [k for k, line in enumerate(lines) if line.startswith(b"#")]
    if 0 < 2 * len(blank) < sum(map(bool, lines)):
        note(f"{_count(blank, 'comment')} between rows left out, the first in line "
             f"{number + blank[0]}")
        for k in blank:
            lines[k] = b""
    else:
        blank = []
    if table.separator != ALONE:
        begins, widths, ends = _widths(lines, table, number)
        _no_longer(number + begins, widths, ends, table, note)
        for k in _shorter(lines, begins, widths, number, len(table.names), note):
            lines[k] = b""
            blank.append(k)
    return bool(blank)


def _no_longer(places: np.ndarray, widths: np.ndarray, ends: np.ndarray, table: _Table,
               note: Note) -> None:
    """Refuse rows that are longer than the header, but for an empty cell at their end."""
    width = len(table.names)
    long = np.flatnonzero(widths > width)
    if not len(long):
        return
    if ends[long].all() and (widths[long] == width + 1).all():
        note(f"{_count(long, 'row')} with a separator at the end, which is no further column")
        return
    k = long[int(np.argmax(~ends[long] | (widths[long] > width + 1)))]
    if 2 * len(long) > (widths > 0).sum():
        more = widths[k] - width
        raise ValueError(f"rows have {'one field' if more == 1 else f'{more} fields'} more than "
                         f"the header (line {places[k]}: {widths[k]}, the header: {width}); name "
                         "each column, or put numbers with commas in quotes")
    raise ValueError(f"line {places[k]} has {widths[k]} fields, the header {width}; correct it, "
                     f"or put texts with {table.separator!r} in quotes")


def _shorter(lines: list[bytes], begins: np.ndarray, widths: np.ndarray, number: int, width: int,
             note: Note) -> list[int]:
    """Lines that are no rows but a word; other short rows are noted."""
    short = np.flatnonzero((widths > 0) & (widths < width))
    if len(short) > 1 and len(short) == (widths > 0).sum():
        raise ValueError(f"rows have fewer fields than the header ({widths[short[0]]} in line "
                         f"{number + begins[short[0]]}, the header: {width})")
    words = [k for k in begins[short[widths[short] == 1]].tolist()
             if _kind(lines[k].decode().strip(), NA_WORDS) == "t"]
    for k in words:
        note(f"line {number + k} is no row, left out: {lines[k].decode().strip()[:60]!r}")
    rest = [k for k in begins[short].tolist() if k not in words]
    if rest:
        note(f"{_count(rest, 'row')} shorter than the header, the first in line "
             f"{number + rest[0]}: what is lacking is missing")
    return words


def _widths(lines: list[bytes], table: _Table, number: int
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each record begins, how many fields it has (0: blank), whether the last is empty."""
    mark, width = table.separator.encode(), len(table.names)
    if any(b'"' in line for line in lines):
        records, unclosed = _cells((line.decode() for line in lines), table.separator)
        if unclosed is not None:
            raise ValueError(f"a quote in line {number + unclosed} is never closed; close it, or "
                             "double it where it belongs to a text")
        found = [(k, len(row) if any(row) else len(row) * (len(row) > 1), row[-1:] == [""])
                 for k, row in records]
    elif table.separator == " ":
        found = [(k, len(line.split()), False) for k, line in enumerate(lines)]
    else:
        widths = np.array([line.count(mark) for line in lines]) + 1
        ends = np.zeros(len(lines), bool)
        for k in np.flatnonzero((widths == 1) | (widths > width)).tolist():
            widths[k] *= bool(lines[k].strip())
            ends[k] = lines[k].rstrip(b" ").endswith(mark)
        return np.arange(len(lines)), widths, ends
    begins, sizes, last = map(np.array, zip(*found, strict=True))
    return begins, sizes, last


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
        self._table: _Table | None = None
        self._read: Callable[[list[str]], list[Any]] | None = None
        self._held: list[str] = []
        self._noted: set[str] = set()
        self._decode: Any = None

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
        texts = self._held + texts
        self._held = []
        if self._read is None:
            if not any(map(str.strip, texts)):
                return []
            if not self._begin(texts, end):
                self._held = texts
                return []
            if self._table is not None:
                texts = texts[self._table.start :]
        assert self._read is not None
        rows = self._json(texts) if self._table is None else self._rows(texts, end)
        return rows

    def _texts(self, lines: Sequence[bytes | str]) -> list[str]:
        if not lines:
            return []
        text = "\n".join(line.rstrip("\r\n") for line in lines if isinstance(line, str))
        given = [line.removesuffix(b"\n") for line in lines if isinstance(line, bytes)]
        if given:
            data = b"\n".join(given)
            if self._decode is None:
                self._decode = self._decoder(data)
            text = self._decode(data)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.split("\n")

    def _decoder(self, data: bytes) -> Callable[[bytes], str]:
        packed = data.startswith((b"PAR1", b"\x1f\x8b", b"PK\x03\x04"))
        what = _binary(data)
        if packed or what:
            raise ValueError(f"what arrives is {what or 'compressed or binary'}: send lines of "
                             "text, or give the file as csv:PATH")
        marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
        encoding = marked or self._reading.encoding or "utf-8"
        if encoding.lower().replace("_", "-")[:6] in ("utf-16", "utf-32"):
            raise ValueError(f"what arrives is in {encoding.upper()}: send it in UTF-8")
        if b"\0" in data:
            raise ValueError("what arrives holds zero bytes, so it is no text")
        first = True

        def decode(data: bytes) -> str:
            nonlocal first
            text = data.decode("utf-8" if marked else encoding, "surrogateescape")
            text, first = text.removeprefix("\ufeff") if first else text, False
            return text

        return decode

    def _begin(self, texts: list[str], end: bool) -> bool:
        """Whether these lines say what the rest looks like."""
        first = next(text for text in texts if text.strip())
        if _is_json(first):
            if first.strip() in "[{":
                raise ValueError("JSON over several lines cannot be read as it arrives; write one "
                                 "object per line")
            self._read, self.separator = self._json, ""
            return True
        table = _recognise(texts, self._reading, self._note, end or len(texts) >= HEAD)
        if table is None:
            return False
        if any(map(_surrogate, texts[: table.start])):
            raise ValueError("names of columns are not in UTF-8; send them so, or say what "
                             "they are in, such as encoding='cp1252'")
        self._table, self.separator, self._read = table, table.separator, self._json
        return True

    def _json(self, texts: list[str]) -> list[Any]:
        rows: list[Any] = []
        for text in texts:
            if text.strip():
                try:
                    rows += _flat(json.loads(text.encode().decode()))
                except (ValueError, RecursionError):
                    rows.append(_shown(text))
        return rows

    def _rows(self, texts: list[str], end: bool) -> list[Any]:
        assert self._table is not None
        names, width = self._table.names, len(self._table.names)
        records, unclosed = _cells(texts, self.separator)
        rows: list[Any] = []
        for k, cells in records:
            if len(cells) == width and not _surrogate(texts[k]):
                if texts[k] == self._table.header or texts[k][:1] == "#":
                    if texts[k] == self._table.header:
                        rows.append(_shown(texts[k]))
                    continue
                rows.append(dict(zip(names, cells, strict=True)))
            elif any(cells) or len(cells) > 1:
                rows.append(self._odd(texts[k], cells))
        if unclosed is not None:
            rest = texts[unclosed:]
            if end or len(rest) > OPEN_LINES:
                return [*rows, _shown(rest[0]), *self._rows(rest[1:], end)]
            self._held = rest
        return [row for row in rows if row is not None]

    def _odd(self, text: str, cells: list[str]) -> Any:
        assert self._table is not None
        names, width = self._table.names, len(self._table.names)
        if text.startswith("#"):
            self._once("comments between rows left out")
            return None
        if _surrogate(text) or len(cells) > width + 1 or len(cells) > width and cells[-1] or (
                len(cells) == 1 < width and _kind(cells[0], NA_WORDS) == "t"):
            return _shown(text)
        if len(cells) > width:
            self._once("rows end with a separator, which is no further column")
        else:
            self._once("rows are shorter than the header: what they lack is missing")
        return dict(zip(names, cells + [None] * (width - len(cells)), strict=False))

    def _once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


def _shown(text: str) -> str:
    return text.encode(errors="replace").decode()
