"""Bytes of a file as text in UTF-8: unpacked, decoded, with one kind of line end."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from gzip import GzipFile
from pathlib import Path
from typing import Any

from adlib.reading.options import Note, Reading

LIMIT = 1 << 30  # bytes that a packed file may unpack to

_BINARY = {
    "packed": (b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"),
    "Parquet": (b"PAR1",),
    "a spreadsheet of old Excel; save it as CSV UTF-8": (b"\xd0\xcf\x11\xe0",),
    "HDF5 or netCDF; export the table as CSV or Parquet": (b"\x89HDF", b"CDF\x01", b"CDF\x02"),
    "an array of NumPy; save it with numpy.savetxt or as CSV": (b"\x93NUMPY",),
    "a file of MATLAB; export the table as CSV (writetable)": (b"MATLAB 5.0",),
    "a data base; export the table as CSV": (b"SQLite format 3",),
    "packed in a way that is not read; unpack it, or use gzip":
        (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"),
    "Feather, ORC or Avro; save it as Parquet or CSV": (b"ARROW1", b"FEA1", b"ORC", b"Obj\x01"),
    "a document; save its table as CSV UTF-8": (b"%PDF-", b"{\\rtf"),
    "an image, no table": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
    "a pickle; save the table with to_csv or to_parquet":
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
}
#: Members of a zip archive that say what it is.
_IN_ZIP = {
    r"xl/.*|content\.xml|.*\.iwa": "a spreadsheet; save it as CSV UTF-8",
    r"word/.*|ppt/.*": "a document; save its table as CSV UTF-8",
    r".*\.npy": "an archive of NumPy; save the table with numpy.savetxt or as CSV",
}
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16",
          b"\xfe\xff": "utf-16"}


def unpacked(path: Path, note: Note) -> bytes:
    """Bytes of a file, or of the one that is packed in it.

    Parameters
    ----------
    path : Path
        The file; its first bytes decide, not its suffix.
    note : callable
        Takes a sentence where it was packed.

    Returns
    -------
    bytes
        Text in some encoding, or Parquet.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message holds its path.
    ValueError
        If it is damaged, too large or of a kind that is not read.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        seen = "" if path.is_absolute() else f", as seen from {Path.cwd()}"
        raise FileNotFoundError(f"{path} is {what}; give the path of a CSV or Parquet file{seen}")
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = _bounded(GzipFile(fileobj=io.BytesIO(data)))
            note("unpacked from gzip")
        elif data.startswith(b"PK"):
            data = _member(data, note)
    except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ValueError(f"is damaged or not readable ({error})") from error
    if (kind := kind_of(data)) not in (None, "Parquet"):
        raise ValueError(f"is {kind}")
    return data


def kind_of(data: bytes) -> str | None:
    """What bytes are that are no text, and what to do about it.

    Parameters
    ----------
    data : bytes
        The first bytes, or all.

    Returns
    -------
    str or None

    Examples
    --------
    >>> kind_of(b"PAR1..."), kind_of(b"time,heat")
    ('Parquet', None)
    """
    return next((what for what, magic in _BINARY.items() if data.startswith(magic)), None)


def _member(data: bytes, note: Note) -> bytes:
    if not data.startswith(_BINARY["packed"]):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist()
                 if not re.search(r"/$|(^|/)(__MACOSX/|\.DS_Store$)", name)]
        for pattern, what in _IN_ZIP.items():
            if any(re.fullmatch(pattern, name) for name in names):
                raise ValueError(f"is {what}")
        if len(names) != 1:
            raise ValueError(f"holds {len(names)} files{': ' * bool(names)}"
                             f"{', '.join(names[:5])}{', ...' * (len(names) > 5)}; unpack it and "
                             "give one of them")
        with archive.open(names[0]) as member:
            data = _bounded(member)
    note(f"unpacked {names[0]!r} from a zip archive")
    return data


def _bounded(file: Any) -> bytes:
    parts, total = [], 0
    while part := file.read(1 << 20):
        parts.append(part)
        total += len(part)
        if total > LIMIT:
            raise ValueError(f"unpacks to more than {LIMIT >> 20} MB; unpack it first")
    return b"".join(parts)


def as_utf8(data: bytes, reading: Reading, note: Note) -> bytes:
    r"""Text in UTF-8 without byte order mark, each line ending with a line feed.

    Parameters
    ----------
    data : bytes
        Text in the encoding that its byte order mark names, else in ``reading.encoding``.
    reading : Reading
        ``encoding`` counts here.
    note : callable
        Takes a sentence where it is in UTF-16 or UTF-32.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If it is no text, or in another encoding; never a replacement character.

    Examples
    --------
    >>> as_utf8("ä\r\nb".encode("utf-16"), Reading(), print).decode().split()
    text in UTF-16
    ['ä', 'b']
    """
    marked = encoding_of(data)
    encoding = marked or (reading.encoding or "utf-8").lower()
    if encoding == "utf-8-sig":
        data, encoding = data.removeprefix(b"\xef\xbb\xbf"), "utf-8"
    elif marked:
        note(f"text in {marked.upper()}")
    try:
        if encoding not in ("utf-8", "utf8"):
            data = data.decode(encoding).encode()
        elif not data.isascii():
            data.decode()
    except UnicodeError as error:
        raise ValueError(_undecoded(data, encoding, error)) from error
    if b"\0" in data:
        raise ValueError("holds zero bytes, so it is no text; save it as CSV UTF-8 (with two bytes "
                         "a character: encoding='utf-16-le')")
    if re.match(rb"\s*<(!doctype|html|\?xml|table)\b", data[:1000], re.IGNORECASE):
        raise ValueError("is HTML or XML; save its table as CSV UTF-8")
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def encoding_of(data: bytes) -> str | None:
    """The encoding that a byte order mark names.

    Parameters
    ----------
    data : bytes
        The first bytes, or all.

    Returns
    -------
    str or None
    """
    return next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)


def _undecoded(data: bytes, encoding: str, error: UnicodeError) -> str:
    if b"\0" in data:
        return "is no text; save the table as CSV UTF-8"
    if encoding in ("utf-8", "utf8") and isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        return (f"is not in UTF-8 (line {line}); save it so (in Excel: 'CSV UTF-8'), or say what "
                "it is in, such as encoding='cp1252' for Windows in Western Europe")
    return f"cannot be read with encoding={encoding!r} ({error})"
