"""A file that grows, as ``tail -F`` follows it."""

import asyncio
import logging
import os
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from adlib.reading.records import Record, Records, shown
from adlib.realtime.doors.records import ReadingSource, grouped
from adlib.realtime.members import in_thread
from adlib.realtime.windows import Sample

log = logging.getLogger(__name__)

PAUSE = 0.25  # seconds until the file is looked at again
CHUNK = 1 << 16  # bytes read at once
_LONGEST = 1 << 20  # bytes of a line; a longer one cannot be read
_SEEN = 256  # bytes before a place by which it is known again
_ASIDE = r"[.\-_]\d[\d.\-_T:]*"  # what the name of a file that was put aside ends with
_MARKS = 50_000  # more than a queue holds


class TailSource(ReadingSource):
    """Lines of a table or of JSON, as they are appended to a file.

    ``tail:PATH``, of a file that may not be there yet. What is there already comes first, unless
    ``begin=end`` says otherwise. A line is read once its end is written. After a restart the source
    goes on where the last commit was: the place in the file, and the bytes before it, are part of
    the checkpoint.

    A file that is renamed is read to its end before the next one of that name, also where several
    have come meanwhile (``PATH.1``, ``PATH-20260131``; one that is packed is not read). Of one that
    is cut (``copytruncate``), what had not been read is looked for in its copy; lines written
    between copy and cut are lost, as to every reader. One that is replaced by itself and more goes
    on. A file with a header of its own is read by that, one without by that of the file before. A
    line of more than 1 MiB is unreadable.
    """

    def __init__(self, spec: str):
        super().__init__(spec, {"begin"})
        self.path = Path(self.rest.removeprefix("tail:")).absolute()
        self.begin = self.options.get("begin", "start")
        if self.begin not in ("start", "end"):
            raise ValueError(f"begin must be start or end, got {self.begin!r}")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no folder to follow a file in: {self.path.parent}")
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"tail must name a file, got {self.path}; stdin reads a pipe")
        self.identity = f"tail:{self.path}"
        self._mark: Mapping[str, Any] | None = None
        self._follower: _Follower | None = None

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Rows after the bookmark; without one, those of the file as it is now, from number 0."""
        self._follower = _Follower(self, features, self._mark, position)
        return self._follower.samples(position < 0 and self.begin == "end")

    def bookmark(self, position: int) -> Mapping[str, Any] | None:
        """Where the lines that ``position`` is among begin."""
        return self._follower.bookmark(position) if self._follower else self._mark

    def resume(self, mark: Mapping[str, Any]) -> None:
        """Go on there."""
        self._mark = mark

    async def probe(self) -> str:
        """What there is to read."""
        if not self.path.exists():
            return f"{self.path} is not there yet, and is read as soon as it is"
        with self.path.open("rb"):  # whether it may be read
            return f"{self.path} has {self.path.stat().st_size:,} bytes"


class _Follower:
    """One run through the files of a name."""

    def __init__(self, source: TailSource, features: Sequence[str] | None,
                 mark: Mapping[str, Any] | None, position: int):
        self._of, self._features, self._position = source, features, position
        self._file: Any = None
        self._at, self._rest = 0, b""  # where the first line begins that is not taken
        self._check, self._skip = 0, False  # of what is before; whether that is within a line
        self._records: Records | None = None
        self._known: list[bytes] = []  # the first lines of a file that was read before
        self._begun = False  # whether rows of this file have come
        self._number = 0 if mark is None else int(mark["number"])
        self._head = "" if mark is None else str(mark["head"])  # of the last file that had one
        self._marks = deque([] if mark is None else [mark], maxlen=_MARKS)
        self._place: dict[str, Any] = {}  # where the last lines began

    async def samples(self, at_end: bool) -> AsyncIterator[Sample]:
        trouble = ""
        try:
            while True:
                lines: list[bytes] = []
                try:
                    lines, trouble = await in_thread(self._poll, at_end), ""
                except OSError as error:  # not there yet, or no permission for a moment
                    if trouble != (trouble := error.strerror or str(error)):
                        log.warning("%s: %s; trying again", self._of.path, trouble)
                at_end, first = False, self._number
                for sample in grouped((i, record) for i, record in enumerate(
                        self._read(lines), first) if i > self._position):
                    yield sample  # lines before the last commit are read for their place alone
                if not lines:
                    await asyncio.sleep(PAUSE)
        finally:
            if self._file is not None:  # its thread may still be at it, and fails
                self._file.close()

    def bookmark(self, position: int) -> Mapping[str, Any] | None:
        """The last place whose first row is not behind the next one."""
        marks = [mark for mark in list(self._marks) if mark["number"] <= position + 1]
        while marks and self._marks[0] is not marks[-1]:
            self._marks.popleft()
        return marks[-1] if marks else None

    def _read(self, lines: list[bytes]) -> list[Record]:
        """Records of lines, by the header of their file, or of the one before."""
        if not lines:
            return []
        if self._records is None:
            self._records, first = self._of.records(self._features), [*self._known, *lines][0]
            if first.lstrip()[:1] not in (b"{", b"[") and any(
                    name.encode() in first for name in self._features or ()):
                self._head = first.decode("latin-1")
            elif self._head:
                self._records.lines([self._head.encode("latin-1")])
            self._begun = bool(self._known and self._records.lines(self._known))
        if self._begun or not self._place["at"]:  # what waits for a header is not left behind
            self._marks.append({**self._place, "number": self._number, "head": self._head})
        found: list[Record] = []
        for long, group in groupby(lines, lambda line: len(line) > _LONGEST):
            part = [*group]
            found += (self._records.read([*map(shown, part)]) if long
                      else self._records.lines(part))
        self._number += len(found)
        self._begun |= bool(found)
        return found

    # -- files, in a thread of their own ----------------------------------------------------------

    def _poll(self, at_end: bool) -> list[bytes]:
        """Whole lines that are new."""
        if self._file is None:
            self._start(at_end)
        size = os.fstat(self._file.fileno()).st_size
        if size < self._at + len(self._rest) or _check(self._file, self._at) != self._check:
            log.warning("%s was cut, and is read from its beginning", self._of.path)
            copies = [path for path in self._aside() if _is_it(path, self._at, self._check)]
            self._open(*(copies[-1], self._at) if copies else (self._of.path, 0))
        following = self._following()  # before the last look: lines may come until it is there
        data = os.pread(self._file.fileno(), CHUNK, self._at + len(self._rest))
        if data or following is None:
            return self._taken(data, len(data)) if data else []
        if self._rest:  # the last line has no end
            return self._taken(b"\n", 0)
        self._open(following, self._at if _is_it(following, self._at, self._check) else 0)
        return []

    def _taken(self, data: bytes, length: int) -> list[bytes]:
        """Lines that end in what follows; so many bytes of it are of the file."""
        at, skip = self._at, self._skip
        *lines, rest = (self._rest + data).split(b"\n")
        end = self._at + len(self._rest) + length
        if self._skip:
            lines, rest, self._skip = lines[1:], rest if lines else b"", not lines
        if len(rest) > _LONGEST:
            lines, rest, self._skip = [*lines, rest], b"", True
        self._at, self._rest = end - len(rest), rest
        self._check = _check(self._file, self._at)
        self._place = {"at": at, "skip": skip, "end": self._at, "check": self._check}
        return lines

    def _start(self, at_end: bool) -> None:
        """Open the file where the bookmark is, whatever its name is now."""
        mark, path = self._marks[-1] if self._marks else None, self._of.path
        if mark is None:
            self._open(path, path.stat().st_size if at_end else 0)
            self._skip = self._at > 0 and os.pread(
                self._file.fileno(), 1, self._at - 1) != b"\n"
            return
        self._skip = mark["skip"]
        for file in [*([path] if path.exists() else []), *reversed(self._aside())]:
            if _is_it(file, mark["end"], mark["check"]):
                return self._open(file, mark["at"])
        self._open(path, 0)
        log.warning("%s: what was read last is not there any more; it is read from its beginning",
                    path)
        self._number, self._skip = self._position + 1, False
        self._marks.clear()

    def _open(self, path: Path, at: int) -> None:
        file = path.open("rb", buffering=0)
        if self._file is not None:
            self._file.close()
        self._file, self._at, self._rest, self._records = file, at, b"", None
        self._check, self._skip = _check(file, at), self._skip and at > 0
        self._known = os.pread(file.fileno(), min(at, CHUNK), 0).split(b"\n")[:-1]

    def _following(self) -> Path | None:
        """The file to be read after this one, once there is something in it."""
        path, ours = self._of.path, os.fstat(self._file.fileno())
        if not path.exists() or path.stat().st_ino == ours.st_ino:
            return None
        newer = [file for file in self._aside() if file.stat().st_ino != ours.st_ino
                 and file.stat().st_mtime_ns > ours.st_mtime_ns]
        return newer[0] if newer else path if path.stat().st_size else None

    def _aside(self) -> list[Path]:
        """Files of the name that were put aside, the oldest first."""
        name = self._of.path.name
        return sorted((file for file in self._of.path.parent.iterdir() if file.is_file()
                       and file.name.startswith(name)
                       and re.fullmatch(_ASIDE, file.name[len(name):])),
                      key=lambda file: file.stat().st_mtime_ns)


def _is_it(path: Path, at: int, check: int) -> bool:
    """Whether a file is the one that was read up to there, or a copy."""
    with path.open("rb") as file:
        return at > 0 and _check(file, at) == check


def _check(file: Any, at: int) -> int:
    """Checksum of what stands before a place; -1 where the file is shorter."""
    before = os.pread(file.fileno(), min(at, _SEEN), at - min(at, _SEEN))
    return zlib.crc32(before) if len(before) == min(at, _SEEN) else -1
