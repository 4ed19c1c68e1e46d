"""Experts' answers about alerts: append-only, in the file of the alerts."""

import json
import math
from dataclasses import dataclass
from typing import Literal, get_args

from adlib.arguments import instance, one_of
from adlib.realtime.store import AlertStore

Verdict = Literal["true", "false", "known", "ignore", "withdrawn"]

_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, target TEXT NOT NULL,
    verdict TEXT NOT NULL, who TEXT NOT NULL, note TEXT NOT NULL, time REAL NOT NULL, until REAL,
    body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS answers_target ON answers (stream, target, seq);
CREATE TRIGGER IF NOT EXISTS answers_stay BEFORE UPDATE ON answers
    BEGIN SELECT RAISE(ABORT, 'answers are append-only') ; END;
CREATE TRIGGER IF NOT EXISTS answers_last BEFORE DELETE ON answers
    BEGIN SELECT RAISE(ABORT, 'answers are append-only') ; END;
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expert said about a row or an incident.

    Attributes
    ----------
    target : str
        Id of the incident, or of the row.
    verdict : {"true", "false", "known", "ignore", "withdrawn"}
        A true alarm; a false one; a real deviation whose cause is known (teaches nothing: neither
        that such rows are normal, nor that they are wanted); a pattern not to be reported; or:
        forget what was said before.
    rows : tuple of tuple of float
        The judged row, after its predecessors where the detector looks back.
    who, note : str
    time : float
        POSIX seconds.
    until : float
        Until when a pattern is ignored, POSIX seconds; inf: until revoked.
    stream : str
        What the target belongs to: targets of two streams, or data sets, may share their names.
    """

    target: str
    verdict: Verdict
    rows: tuple[tuple[float, ...], ...]
    who: str = ""
    note: str = ""
    time: float = 0.0
    until: float = math.inf
    stream: str = ""

    def __post_init__(self) -> None:
        one_of(self.verdict, "verdict", get_args(Verdict))


class FeedbackStore(AlertStore):
    """The alert store with a table of experts' answers: append-only, the last one counts.

    It opens a file of the live engine as it is, or makes a new one that the engine can use.
    The database itself refuses to change or delete an answer.

    Parameters
    ----------
    path, create
        See `adlib.realtime.AlertStore`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, FeedbackStore(f"{folder}/a.db") as store:
    ...     store.record(Answer("row 7", "false", ((1.0, 2.0),), who="Ada", time=1.0))
    ...     store.record(Answer("row 7", "true", ((1.0, 2.0),), who="Ada", time=2.0))
    ...     [answer.verdict for answer in store.answers()], len(store.history())
    (['true'], 2)
    """

    def _create(self) -> None:
        super()._create()
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers_last'").fetchone():
            return  # nothing to wait for
        with self._transaction() as db:
            for statement in _TABLE.split(";\n"):
                db.execute(statement.strip())

    def record(self, answer: Answer) -> None:
        """Append an answer; it replaces what was said about the same target before.

        Raises
        ------
        ValueError
            When the answer cannot be stored: a text is missing, or the time is NaN.
        """
        instance(answer, "answer", Answer)
        try:
            body = json.dumps(answer.rows, allow_nan=False)
            texts = [answer.stream, answer.target, answer.verdict, answer.who, answer.note]
            if not all(isinstance(text, str) for text in texts) or math.isnan(answer.time):
                raise TypeError("a text is no string, or the time is NaN")
        except (TypeError, ValueError) as error:
            raise ValueError(f"answer cannot be stored: {error}") from None
        until = None if math.isinf(answer.until) else answer.until
        with self._transaction() as db:
            db.execute("INSERT INTO answers (stream, target, verdict, who, note, time, until, "
                       "body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       (answer.stream, answer.target, answer.verdict, answer.who, answer.note,
                        answer.time, until, body))

    def history(self, target: str | None = None, *, stream: str | None = None) -> list[Answer]:
        """Everything that was said, in order.

        Parameters
        ----------
        target : str, optional
            One target alone.
        stream : str, optional
            One stream alone.

        Returns
        -------
        list of Answer
            By the order of recording, withdrawn ones too.
        """
        found = self._select(
            "SELECT target, verdict, body, who, note, time, until, stream FROM answers", "seq",
            None, ("target = ?", target), ("stream = ?", stream))
        return [Answer(target, verdict, tuple(map(tuple, json.loads(body))), who, note, at,
                       math.inf if until is None else until, stream)
                for target, verdict, body, who, note, at, until, stream in found]

    def answers(self, *, stream: str | None = None) -> list[Answer]:
        """The last answer about each target, in the order of the targets' first; none withdrawn."""
        last = {(answer.stream, answer.target): answer for answer in self.history(stream=stream)}
        return [answer for answer in last.values() if answer.verdict != "withdrawn"]
