"""Tables and JSON lines, from a file or from standard input."""

import asyncio
import os
import stat
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adlib.reading.options import Note, Reading
from adlib.reading.table import Table, about, read_table
from adlib.realtime.doors.recorded import paced
from adlib.realtime.doors.records import ReadingSource, grouped, noted, positive
from adlib.realtime.members import in_thread
from adlib.realtime.windows import Sample

CHUNK = 1 << 16  # bytes read at once
_ROWS = 4096  # of a file that are handed on at once


class CsvSource(ReadingSource):
    """A file, read whole as `fit` reads one."""

    def __init__(self, spec: str):
        super().__init__(spec, {"speed"})
        self._path = Path(self.rest.removeprefix("csv:"))
        self._speed = positive(self.options, "speed")
        if not self._path.is_file():
            raise FileNotFoundError(f"no file to read samples from: {self.rest}")

    @property
    def identity(self) -> str:
        """Where it lies, and how it begins: a file may grow, but not become another one."""
        with self._path.open("rb") as file:
            begin = file.read(CHUNK).split(b"\n")[:2]
        text = b"" if any(b"\0" in line for line in begin) else b"\n".join(begin)  # text alone
        return f"csv:{self._path.resolve()}#{zlib.crc32(text):08x}"

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Rows numbered from 0; the engine skips those that are committed."""
        return paced(self._rows(features), self._speed)

    async def _rows(self, features: Sequence[str] | None) -> AsyncIterator[Sample]:
        reading = self.reading
        if features is not None:  # labels are one more column that is left alone
            reading = replace(reading, feature_columns=features, label_column=None)
        table = await in_thread(one_series, self._path, reading, noted, self.recognised, self.fleet)
        X, time, entity = table.X.to_numpy(np.float64), seconds(table), None
        if self.fleet and table.entity is not None:  # the table has one after the other
            order = np.argsort(table.X.index if time is None else time, kind="stable")
            X, time = X[order], None if time is None else time[order]
            entity = table.entity[order].tolist()
        for at in range(0, len(X), _ROWS):
            part = slice(at, at + _ROWS)
            yield Sample(at, None if time is None else time[part], X[part],
                         entity=None if entity is None else entity[part])


class StdinSource(ReadingSource):
    """Lines of a table or of JSON from standard input; what arrives is new, without numbers."""

    def __init__(self, spec: str):
        super().__init__(spec, ())
        if self.rest != "stdin":
            raise ValueError(f"source stdin takes no path, got {spec!r}")
        self.identity = "stdin"

    async def samples(self, *, features: Sequence[str] | None = None,
                      position: int = -1) -> AsyncIterator[Sample]:
        """Rows as they come."""
        records = self.records(features)
        async for lines in _lines(lambda: sys.stdin.buffer):
            for sample in grouped(enumerate(records.lines(lines)), numbered=False):
                yield sample
        for sample in grouped(enumerate(records.lines([], end=True)), numbered=False):
            yield sample


def one_series(path: Path, reading: Reading, note: Note, recognised: Mapping[str, Any],
               fleet: bool = False) -> Table:
    """A file of one machine, patient or account, as an engine judges one stream, or of a fleet.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError
        When it cannot be read, or holds several where there is no fleet.
    """
    with about(path.name):
        table = read_table(path, reading, lambda sentence: note(f"{path.name}: {sentence}"),
                           recognised=recognised)
        several = [] if fleet or table.entity is None else list(dict.fromkeys(table.entity))
        if len(several) > 1:
            raise ValueError(f"entity_column {reading.entity_column!r} holds {len(several)} "
                             f"({', '.join(several[:3])}{', ...' * (len(several) > 3)}); one "
                             f"engine judges one stream, so give each a file and an engine, or set "
                             f"fleet: {{}} in the configuration")
    return table


def seconds(table: Table) -> np.ndarray | None:
    """Times of a table's rows, POSIX seconds."""
    return None if table.time is None else table.time.astype(
        "datetime64[ns]").astype(np.int64) / 1e9


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
