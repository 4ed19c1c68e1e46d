"""Lines on stderr: with time and level, one line each whatever names they hold, or as JSON."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from adlib.arguments import shown

_LONGEST = 5_000  # characters of a line


class Lines(logging.Formatter):
    """A log record as one line of text, or as one JSON object with its traceback.

    Parameters
    ----------
    as_json : bool

    Examples
    --------
    >>> record = logging.LogRecord("adlib", logging.WARNING, "", 0, "lost %s", ("a\\nb",), None)
    >>> record.created = 1.7e9
    >>> print(Lines().format(record), Lines(as_json=True).format(record), sep="\\n")
    2023-11-14T22:13:20.000Z WARNING adlib: lost a?b
    {"time": "2023-11-14T22:13:20.000Z", "level": "WARNING", "logger": "adlib", "message": "lost a\\nb"}
    """  # noqa: E501

    def __init__(self, *, as_json: bool = False):
        super().__init__()
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The record; a traceback follows line by line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        when, trace = when.replace("+00:00", "Z"), []
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
        if self.as_json:
            more: dict[str, Any] = {"traceback": trace} if trace else {}
            return json.dumps({"time": when, "level": record.levelname, "logger": record.name,
                               "message": record.getMessage(), **more})
        first = f"{when} {record.levelname} {record.name}: {record.getMessage()}"
        return "\n".join([shown(first, _LONGEST), *(f"    {shown(line, _LONGEST)}"
                                                    for line in trace)])


_lines = Lines()


def begin(*, as_json: bool) -> None:
    """Send log records, and what `say` says, to stderr in this form."""
    _lines.as_json = as_json
    handler = logging.StreamHandler()
    handler.setFormatter(_lines)
    logging.basicConfig(handlers=[handler])


def say(kind: str, sentence: object) -> None:
    """Print a sentence to stderr; ``kind`` is "note", "warning", or the command that failed."""
    level = {"": logging.INFO, "note": logging.INFO, "warning": logging.WARNING}.get(
        kind, logging.ERROR)
    text = " ".join(str(sentence).split())
    record = logging.LogRecord(kind or "run", level, "", 0, "%s", (text,), None)
    line = _lines.format(record) if _lines.as_json else shown(
        f"{kind}: {text}" if kind else text, _LONGEST)
    with suppress(OSError, ValueError):  # nobody reads it: no reason to fail
        print(line, file=sys.stderr, flush=True)
