"""Tables and JSON lines, from a file or from standard input."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from csv import Error as CsvError
from csv import reader as csv_reader
from functools import partial
from pathlib import Path
from typing import Any

from adlib.realtime.doors.recorded import paced
from adlib.realtime.doors.records import Record, Records, grouped, poison, positive
from adlib.realtime.sources import Source, split_spec
from adlib.realtime.windows import Sample

CHUNK = 1 << 16  # bytes read at once


class CsvSource(Source):
    """A file of comma, semicolon or tab separated values with a header, or of JSON lines."""

    def __init__(self, spec: str):
        rest, options = split_spec(spec, {"time", "speed"})
        self._path, self._time = Path(rest.removeprefix("csv:")), options.get("time")
        self._speed = positive(options, "speed")
        if not self._path.is_file():
            raise FileNotFoundError(f"no file to read samples from: {rest}")

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Rows numbered from 0; the engine skips those that are committed."""
        return paced(_table(partial(open, self._path, "rb"), Records(features, self._time),
                            numbered=True), self._speed)


class StdinSource(Source):
    """The same formats from standard input; what arrives is new, and has no numbers."""

    def __init__(self, spec: str):
        rest, options = split_spec(spec, {"time"})
        if rest != "stdin":
            raise ValueError(f"source stdin takes no path, got {spec!r}")
        self._time = options.get("time")

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Rows as they come."""
        return _table(lambda: sys.stdin.buffer, Records(features, self._time), numbered=False)


async def _table(opened: Callable[[], Any], records: Records, numbered: bool
                 ) -> AsyncIterator[Sample]:
    """Samples of a file's lines, as many rows at once as are there."""
    table, seq = _Lines(records), 0
    async for lines in _lines(opened):
        read = [pair for pair in map(table.read, lines) if pair is not None]
        found = [Record(seq + k, time, values) for k, (values, time) in enumerate(read)]
        seq += len(found)
        for sample in grouped(found, numbered):
            yield sample


class _Lines:
    """Reads lines of a table, or of JSON, one record each."""

    def __init__(self, records: Records):
        self._records, self._separator = records, ","
        self._row: Callable[[list[str]], tuple[Any, float | None]] | None = None

    def read(self, line: bytes) -> tuple[Any, float | None] | None:
        """Values and time of a line; None for a blank one and for the header."""
        text = line.decode("utf-8", errors="replace").strip("\r\n").removeprefix("\ufeff")
        if not text.strip():
            return None
        if text.lstrip()[0] in "[{":
            return self._records.json(text)
        cells = self._cells(text)
        if self._row is None:
            if cells is None:
                raise ValueError(f"spec: no header to read in {poison(text)!r}")
            if not all(map(_is_number, cells)):
                self._row = self._records.header(cells)
                return None
            # no header: the values in their order
            self._row = self._records.header(
                self._records.features or [f"x{k}" for k in range(len(cells))])
        return (poison(text), None) if cells is None else self._row(cells)

    def _cells(self, text: str) -> list[str] | None:
        if self._row is None:
            self._separator = max(",;\t", key=text.count)
        try:
            return [cell.strip() for cell in next(csv_reader([text], delimiter=self._separator))]
        except CsvError:  # a lone carriage return, say: this row is lost, not the stream
            return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


async def _lines(opened: Callable[[], Any]) -> AsyncIterator[list[bytes]]:
    """Whole lines, as many as are there."""
    rest = b""
    async for chunk in _chunks(opened):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]


async def _chunks(opened: Callable[[], Any]) -> AsyncIterator[bytes]:
    with opened() as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty():
            # not in a thread: one that waits for input would keep the process from ending
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), file)
            try:
                while chunk := await stream.read(CHUNK):
                    yield chunk
            finally:
                transport.close()
        else:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
