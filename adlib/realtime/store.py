"""Where alerts are kept: one SQLite file, one transaction for all that belongs together.

What a batch of windows causes (stored verdicts, incidents, messages to be sent, data-quality
events) and the engine's own state are committed together or not at all. After a crash the engine
continues from the last commit and drops the samples up to its position, so nothing is lost and
nothing is decided twice; ids are deterministic, so a repeated commit changes nothing.
"""

import json
import logging
import shlex
import sqlite3
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pydantic
from pydantic import ByteSize, Field, SecretStr, model_validator

from adlib.arguments import instance, listed, number, one_of, whole
from adlib.arguments import path as as_path
from adlib.realtime.doors.checkpoint import change, replay
from adlib.realtime.events import (
    Incident,
    IncidentEvent,
    QualityEvent,
    Record,
    Silence,
    Verdict,
    entity_of,
    is_within,
    stream_of,
)
from adlib.realtime.settings import Seconds, Settings
from adlib.realtime.silences import check
from adlib.realtime.traces import Overview, Trace, overview

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
_SCHEMA = Path(__file__).with_name("schema")  # each file makes a version of the one before
# A message waits behind each earlier one of its incident and channel that has not arrived, and
# behind one that was refused for good until that one's time is over.
_DUE = """SELECT seq FROM outbox o WHERE channel = ?1 AND state = 'pending' AND
    (due <= ?2 OR typeof(due) = 'text') AND NOT EXISTS (
    SELECT 1 FROM outbox e WHERE e.channel = o.channel AND e.key = o.key AND e.seq < o.seq
    AND (e.state = 'pending' OR (e.state = 'dead' AND e.due > ?2)))
    AND NOT EXISTS (SELECT 1 FROM json_each(?3) WHERE instr(o.key, value) = 1)"""


class StorageConfig(Settings):
    """Where alerts are kept, and whether Elasticsearch or OpenSearch gets a copy.

    SQLite at ``path`` is the journal in any case; with ``backend="elasticsearch"`` or "opensearch"
    every incident event and stored verdict also becomes a document there, sent from the outbox.
    """

    backend: Literal["sqlite", "elasticsearch", "opensearch"] = Field(
        "sqlite", description="Whether documents also go to Elasticsearch, or to OpenSearch.")
    path: Path = Field(Path("alerts.db"), description="SQLite file, on a local disk.")
    host: str = Field("localhost", pattern=r"^[^\s/@?#]+$", description="Elasticsearch host.")
    port: int = Field(9200, ge=1, le=65535, description="Elasticsearch port.")
    tls: bool = Field(False, description="Speak https to Elasticsearch.")
    ca_certs: Path | None = Field(None, description="Certificates to trust, where the server's "
                                  "own is not signed by an authority that the system knows.")
    username: str | None = Field(None, description="Elasticsearch login.")
    password: SecretStr | None = Field(None, description="Its password.")
    api_key: SecretStr | None = Field(None, description="Instead of username and password.")
    index: str = Field("adlib-alerts", pattern=r"^[a-z][a-z0-9._-]*$", description="Index name.")
    retention: Seconds | None = Field(
        None, description="Delete what ended longer ago than this in stream time, such as '90d', "
        "and shrink the file; null: keep all.")
    trace: ByteSize = Field(ByteSize(64_000_000), ge=0, description="Room for judged rows, such as "
                            "'64MB', which a page shows and a refit learns from; the oldest are "
                            "removed. 0: none.")
    commit_seconds: Seconds = Field(10.0, description="Longest time that judged samples wait for "
                                     "their commit where there is nothing else to keep.")
    patience: Seconds = Field(3600.0, description="How long a commit that fails (locked, disk "
                               "full) is tried again before the engine ends.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.ca_certs is not None and not self.tls:
            raise ValueError("ca_certs has no use without tls: true")
        if self.api_key is not None and self.username is not None:
            raise ValueError("give api_key, or username and password, not both")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together, got one of them")
        return self


@dataclass(frozen=True, slots=True)
class OutboxRow(Record):
    """A message to be sent: what it is about, not yet how it reads.

    Attributes
    ----------
    id : str
        Deterministic, so that the same message is stored once.
    channel : str
        "slack", "email", "elasticsearch", ...
    key : str
        Messages of one channel and key arrive in the order in which they were stored.
    time : float
        Event time, POSIX seconds.
    body : dict
        Plain JSON types. Never a secret.
    seq, state, attempts, due, error, since
        Filled in by the store: order, "pending" | "sent" | "dead" | "discarded", tries so far,
        next try (wall clock, POSIX seconds; of a dead letter: until when those behind it wait),
        why the last try failed, when the receiver first refused it.
    """

    id: str
    channel: str
    key: str
    time: float
    body: dict[str, Any]
    seq: int = 0
    state: str = "pending"
    attempts: int = 0
    due: float = 0.0
    error: str | None = None
    since: float | None = None


class StoreGone(OSError, ValueError):  # ValueError is what `AlertStore.commit` has always raised
    """The file of an open store was removed or replaced, or another engine writes to it."""


class AlertStore:
    """Alerts, messages to be sent and the engine's checkpoint in one SQLite file.

    Write-ahead log with ``synchronous=FULL``: what `commit` returned from survives ``kill -9`` and
    a power cut (as far as the disk keeps its promises). Threads get a connection each, which is
    closed some time after they end; several
    processes may use the file at once, on a local disk: not on a network file system, whose locks
    SQLite cannot rely on. One engine per stream.

    Parameters
    ----------
    path : str or Path
        Created when absent, unless ``create=False``.
    create : bool

    Raises
    ------
    ValueError
        When the file was written by a newer version of adlib, or is another application's.
    FileNotFoundError
        When the file, with ``create=False``, or its folder is absent.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, AlertStore(f"{folder}/a.db") as store:
    ...     store.commit("rig", 99, b"state", verdicts=[], events=[], quality=[], outbox=[])
    ...     store.restore("rig")
    (99, b'state')
    """

    def __init__(self, path: str | Path, *, create: bool = True):
        self.path = as_path(path, "path")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._closed = False
        self._file: tuple[Path, int] | None = None  # where it is made, it has no number yet
        # of the last commit, by stream: what stands in the table, length of the state when it was
        # written whole, what changed since then, the state
        self._last: dict[str, tuple[tuple[int, bytes], int, int, bytes, bytes]] = {}
        self._ours: dict[str, list[Any]] = {}  # what may stand in the table, by stream
        self._reported: set[tuple[str, Any]] = set()  # rows that cannot be read
        self._traced: dict[str, float] = {}  # bytes of judged rows, by stream
        self._retain_at, self._retained = 0.0, dict[str, float]()
        if self.path.is_dir():
            raise ValueError(f"path is a folder, no alert store: {self.path}")
        if create and not self.path.parent.is_dir():
            raise FileNotFoundError(f"no alert store at {self.path}, and no folder to make it in")
        if not self.path.parent.is_dir() or not (create or self.path.is_file()):
            raise FileNotFoundError(f"no alert store at {self.path}")
        try:
            self._create()
        except BaseException:
            self.close()
            raise
        self._file = self.path.resolve(), self.path.stat().st_ino

    def _create(self) -> None:
        try:
            if not (self.path.exists() and self.path.stat().st_size):
                # before the first table; a commit writes whole pages, and changes little of each
                self._db.execute("PRAGMA page_size = 2048")
                self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if self._version() != SCHEMA_VERSION:  # else nothing to wait for
                self._upgrade()
            if lacking := _schema() - _columns(self._db):  # or each commit would be tried in vain
                raise ValueError(f"{self.path} is not an alert store: it lacks {min(lacking)}")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, read-only, disk full
                raise
            raise ValueError(f"{self.path} is not an alert store: {error}") from error
        self._db.execute("PRAGMA journal_mode = WAL")  # kept in the file; not in another's file

    def _version(self) -> int:
        return self._db.execute("PRAGMA user_version").fetchone()[0]

    def _upgrade(self) -> None:
        with self._transaction() as db:
            if (version := self._version()) > SCHEMA_VERSION:
                raise ValueError(f"{self.path} has schema version {version}, this adlib reads "
                                 f"up to {SCHEMA_VERSION}: upgrade adlib")
            if version == 0 and db.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise ValueError(f"{self.path} is a database of another application")
            for number in range(version + 1, SCHEMA_VERSION + 1):
                _make(db, number)
                db.execute(f"PRAGMA user_version = {number}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            self._closed = True
            while self._connections:
                self._connections.pop()[1].close()

    # ------------------------------------------------------------------ the engine

    def commit(self, stream: str, position: int, state: bytes, verdicts: Iterable[Verdict],
               events: Iterable[IncidentEvent], quality: Iterable[QualityEvent],
               outbox: Iterable[OutboxRow], traces: Iterable[Trace] = (),
               room: float = np.inf) -> None:
        """Store what a batch caused, and the engine's checkpoint, in one transaction.

        Parameters
        ----------
        stream : str
        position : int
            Sequence number of the last sample whose effects are in this and earlier commits.
        state : bytes
            Opaque; `restore` gives it back.
        verdicts, events, quality, outbox : iterable
            Those with an id that is known already are left as they are.
        traces : iterable of Trace
            What was judged, for `trace` and `entities`.
        room : float
            Bytes for traces of this stream; 0: none are kept.

        Raises
        ------
        ValueError
            For a checkpoint that is damaged.
        StoreGone
            When the store is ahead of ``position``, or is not where this object has read or left
            it: another engine writes to this stream.
        """
        instance(stream, "stream", str)
        position = whole(position, "position", -1)
        instance(state, "state", bytes)
        given = {"verdicts": (verdicts, Verdict), "events": (events, IncidentEvent),
                 "quality": (quality, QualityEvent), "outbox": (outbox, OutboxRow),
                 "traces": (traces, Trace)}
        verdicts, events, quality, outbox, traces = (
            [instance(item, name, kind) for item in listed(items, name)]
            for name, (items, kind) in given.items())
        with self._transaction() as db:
            done = db.execute("SELECT position, state FROM checkpoints WHERE stream = ?",
                              (stream,)).fetchone()
            if done is not None and not isinstance(done[0], int):
                raise self.damaged(stream, f"its position is {done[0]!r:.40}")
            ours = self._ours.setdefault(stream, [done])
            if done is not None and (position < done[0] or done not in ours):
                raise StoreGone(f"position {position} of stream {stream!r} is not kept in "
                                f"{self.path}: another engine has written there, up to {done[0]}; "
                                f"let one process judge a stream")
            db.executemany(
                "INSERT INTO verdicts VALUES (:stream, :end, :time, :severity, :body) "
                "ON CONFLICT DO NOTHING", map(_bound, verdicts))
            self._write_events(db, events, outbox)
            db.executemany(
                "INSERT INTO quality VALUES (:stream, :kind, :start, :end, :body, :time) "
                "ON CONFLICT DO NOTHING", map(_bound, quality))
            if traces := [trace for trace in traces if len(trace)]:
                self._write_traces(db, Trace.joined(traces), number(room, "room", least=0,
                                                                    most=np.inf))
            last = self._write_state(db, stream, position, state, done)
            ours.append(last[0])  # known before it is sure: the next try may find it there
        self._last[stream], self._ours[stream] = last, [last[0]]

    def _write_traces(self, db: sqlite3.Connection, trace: Trace, room: float) -> None:
        stream, rows = trace.stream, list(overview(trace))
        if db.execute("SELECT 1 FROM streams WHERE (name, seq, time) = (?, ?, ?)",
                      (rows[0][0], *rows[0][2:4])).fetchone():
            return  # committed before
        db.executemany(
            "INSERT INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "stream = excluded.stream, seq = excluded.seq, time = excluded.time, "
            "rows = rows + excluded.rows, judged = judged + excluded.judged, "
            "p = ifnull(excluded.p, p), alpha = excluded.alpha", rows)
        size = self._traced.get(stream, np.inf)
        for part in trace.parts() if room else ():
            ends, body = (stream_of(stream, part.entities[k]) for k in (0, -1)), part.pack()
            db.execute("INSERT INTO traces VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                       (stream, *ends, float(part.time.min()), float(part.time.max()), body))
            size += len(body)
        if size > room:  # or not known
            lengths = db.execute("SELECT n, length(body) FROM traces WHERE stream = ? ORDER BY n",
                                 (stream,)).fetchall()
            size = sum(length for _, length in lengths)
            for n, length in lengths[:_AT_ONCE]:
                if size > 0.95 * room:  # so that it need not be counted each time
                    db.execute("DELETE FROM traces WHERE n = ?", (n,))
                    size -= length
        self._traced[stream] = size

    def _write_state(self, db: sqlite3.Connection, stream: str, position: int, state: bytes,
                     done: tuple[int, bytes] | None
                     ) -> tuple[tuple[int, bytes], int, int, bytes, bytes]:
        """What changed since the last commit, or now and then the whole.

        It goes beside the position; pages that are full go to a table of their own. A page that
        keeps its size is written alone, without the rest of the file's tree.
        """
        at, length, changed, rest, before = self._last.get(stream, (None, 0, 0, b"", b""))
        if known := done is not None and done == at:
            first = -(-length // _PAGE) + changed // _PAGE
            new = change(before, state, position) if (
                state != before or position != at[0]) else b""
            changed, pages = changed + len(new), rest + new
        if not known or changed > 4 * len(state):
            length, changed, first, pages = len(state), 0, 0, state.ljust(
                -(-len(state) // _PAGE) * _PAGE, b"\0")
        count = first + len(pages) // _PAGE
        db.executemany("INSERT INTO pages VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                       "body = excluded.body", ((stream, first + at // _PAGE, pages[at:at + _PAGE])
                                                for at in range(0, (count - first) * _PAGE,
                                                                _PAGE)))
        rest = pages[(count - first) * _PAGE:]
        last = rest.ljust(_PAGE, b"\0")
        row = position, _HEAD.pack(_MARK, zlib.crc32(last, position & _WORD), count, length) + last
        db.execute("INSERT INTO checkpoints VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = "
                   "excluded.position, state = excluded.state", (stream, *row))
        return row, length, changed, rest, state

    def record_events(self, events: Iterable[IncidentEvent], outbox: Iterable[OutboxRow]) -> None:
        """Store what the process itself says (no data, say): one transaction, no checkpoint.

        Parameters
        ----------
        events, outbox : iterable
            Those with an id that is known already are left as they are.
        """
        events = [instance(event, "events", IncidentEvent) for event in listed(events, "events")]
        outbox = [instance(row, "outbox", OutboxRow) for row in listed(outbox, "outbox")]
        with self._transaction() as db:
            self._write_events(db, events, outbox)

    @staticmethod
    def _write_events(db: sqlite3.Connection, events: Iterable[IncidentEvent],
                      outbox: Iterable[OutboxRow]) -> None:
        # An operator may have acknowledged or closed since the engine looked: neither is undone.
        for event in events:
            db.execute(
                "INSERT INTO incidents VALUES (:id, :stream, :opened_at, :closed_at, :severity, "
                ":state, :acknowledged, :body) ON CONFLICT DO UPDATE SET "
                "closed_at = excluded.closed_at, severity = excluded.severity, "
                "state = excluded.state, body = excluded.body, "
                "acknowledged = max(acknowledged, excluded.acknowledged) "
                "WHERE incidents.state = 'open' OR excluded.state = 'closed'",
                _bound(event.incident))
            db.execute("INSERT INTO events VALUES (:incident, :n, :id, :kind, :time, :notify, "
                       ":body) ON CONFLICT DO NOTHING",
                       {**_bound(event), "incident": event.incident.id, "id": event.id})
        db.executemany("INSERT INTO outbox (id, channel, key, time, body) VALUES (?, ?, ?, ?, ?) "
                       "ON CONFLICT DO NOTHING",
                       ((r.id, r.channel, r.key, r.time, _dump(r.body)) for r in outbox))

    def restore(self, stream: str) -> tuple[int, bytes] | None:
        """Position and state of the last commit of a stream, or None before the first.

        Raises
        ------
        ValueError
            When it is damaged.
        """
        row = self._db.execute("SELECT position, state FROM checkpoints WHERE stream = ?",
                               (instance(stream, "stream", str),)).fetchone()
        self._ours[stream] = [row]
        if row is None:
            return None
        position, state = row
        if not (isinstance(position, int) and isinstance(state, bytes)):
            raise ValueError("a cell holds no number, or no bytes")
        if state[:4] != _MARK:  # whole, by an earlier version
            return position, state
        rest = state[_HEAD.size:]
        _, checksum, count, length = _HEAD.unpack_from(state.ljust(_HEAD.size))
        if zlib.crc32(rest, position & _WORD) != checksum:
            raise ValueError("its checksum does not agree")
        bodies = [body for (body,) in self._db.execute(
            "SELECT body FROM pages WHERE stream = ? AND n < ? ORDER BY n", (stream, count))]
        if len(bodies) != count or not all(
                isinstance(body, bytes) and len(body) == _PAGE for body in bodies):
            raise ValueError("a page is missing")
        pages = b"".join(bodies) + rest
        last, state = replay(pages[:length], pages[-(-length // _PAGE) * _PAGE:])
        if last not in (None, position):
            raise ValueError("its last change is missing")
        return position, state

    def damaged(self, stream: str, why: object) -> ValueError:
        """What to raise where a checkpoint cannot be read: it names the command that drops it."""
        return ValueError(
            f"the checkpoint of stream {stream!r} in {self.path} is damaged ({why}): "
            f"`{_COMMAND} remove checkpoint {shlex.quote(stream)} --store "
            f"{shlex.quote(str(self.path))}` drops it, and the stream starts again")

    def operator_state(self, stream: str, position: int) -> dict[str, Any]:
        """What operators have decided about a stream and its entities, for `AlertManager.apply`.

        The engine calls this before each batch with the position it has reached. The position at
        which a decision is first handed out is recorded, and the decision counts from there on: a
        replay from an earlier position decides as the first run did.

        Parameters
        ----------
        stream : str
        position : int
            Sequence number of the last sample that the engine has committed.

        Returns
        -------
        dict
            ``acknowledged``: ids of open incidents; ``closed``: ids of those closed by hand;
            ``silences``: `Silence` as dictionaries.
        """
        instance(stream, "stream", str)
        position = whole(position, "position", -1)
        query = ("SELECT o.seq, o.kind, o.target, o.body, a.position FROM operator o "
                 "LEFT JOIN applied a ON a.operator = o.seq AND a.stream = ?1 WHERE "
                 f"o.kind = 'silence' OR o.kind = 'close' AND {_TARGET.format('o.target', '?1')} "
                 f"OR o.target IN (SELECT id FROM incidents WHERE state = 'open' AND {_WITHIN}) "
                 "ORDER BY o.seq")
        rows = self._db.execute(query, (stream,)).fetchall()
        if fresh := [seq for seq, *_, applied in rows if applied is None]:
            with self._transaction() as db:
                db.executemany("INSERT INTO applied VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                               ((seq, stream, int(position)) for seq in fresh))
        rows = [row for row in rows if not isinstance(row[-1], int) or row[-1] <= position]
        silences = {target: body for _, kind, target, body, _ in rows if kind == "silence"}
        return {"silences": [s.to_dict() for s in self._read("silences", silences.items())],
                **{name: [row[2] for row in rows if row[1] == kind]
                   for name, kind in (("acknowledged", "acknowledge"), ("closed", "close"))}}

    # ------------------------------------------------------------------ reading

    def incidents(self, *, stream: str | None = None, state: str | None = None,
                  limit: int | None = None) -> list[Incident]:
        """Incidents by opening time; with ``limit`` the newest ones. As of their last event.

        Parameters
        ----------
        stream : str, optional
            One stream alone.
        state : {"open", "closed"}, optional
        limit : int, optional
            At most so many, the newest.

        Returns
        -------
        list of Incident
        """
        state = None if state is None else one_of(state, "state", ("open", "closed"))
        few = " AND id IN (SELECT id FROM incidents WHERE state = 'open')"  # has an index
        return self._records("incidents", "opened_at DESC, id DESC", limit, ("stream = ?", stream),
                             (f"state = ?{few * (state == 'open')}", state))[::-1]

    def incident(self, incident_id: str) -> Incident:
        """One incident; KeyError for an unknown id."""
        found, odd = _sorted("incidents", self._db.execute(
            f"SELECT {_COLUMNS['incidents']} FROM incidents WHERE id = ?",
            (instance(incident_id, "incident_id", str),)))
        if odd:
            raise ValueError(f"incident {incident_id!r} {self._unreadable(odd[0][2])}")
        if not found:
            raise KeyError(f"no incident {incident_id!r} in {self.path}")
        return found[0]

    def events(self, incident_id: str | None = None) -> list[IncidentEvent]:
        """The steps of one incident, or of all, in the order of their time."""
        return self._records("events", "time, incident, n", None, ("incident = ?", incident_id))

    def verdicts(self, *, stream: str | None = None, since: float | None = None,
                 until: float | None = None) -> list[Verdict]:
        """Stored verdicts with ``since <= time < until``, in the order of time.

        Parameters
        ----------
        stream : str, optional
            One stream alone.
        since, until : float, optional
            POSIX seconds of event time.

        Returns
        -------
        list of Verdict
        """
        return self._records("verdicts", "time, end", None, ("stream = ?", stream),
                             ("time >= ?", since), ("time < ?", until))

    def quality(self, *, stream: str | None = None, kind: str | None = None,
                limit: int | None = None) -> list[QualityEvent]:
        """Data-quality events in the order of time; with ``limit`` the newest ones.

        Parameters
        ----------
        stream : str, optional
            One stream alone.
        kind : str, optional
            Such as ``"stuck"``; see `QualityEvent`.
        limit : int, optional
            At most so many, the newest.

        Returns
        -------
        list of QualityEvent
        """
        return self._records("quality", "time DESC, start DESC", limit, ("stream = ?", stream),
                             ("kind = ?", kind))[::-1]

    def outbox(self, *, state: str | None = None, channel: str | None = None,
               incident: str | None = None, limit: int | None = None) -> list[OutboxRow]:
        """Messages in the order in which they were stored; with ``limit`` the first ones.

        Parameters
        ----------
        state : str, optional
            Such as ``"pending"`` or ``"dead"``.
        channel : str, optional
            Such as ``"slack"``.
        incident : str, optional
            Id of the incident that they are about.
        limit : int, optional
            At most so many.

        Returns
        -------
        list of OutboxRow
        """
        first, last = (None, None) if incident is None else (f"{incident}|", f"{incident}}}")
        return self._records("outbox", "seq", limit, ("state = ?", state), ("channel = ?", channel),
                             ("key = ?", incident), ("id > ?", first), ("id < ?", last))

    def trace(self, stream: str, entity: str | None = None, *, since: float | None = None,
              until: float | None = None, limit: int | None = None) -> Trace:
        """Judged rows with ``since <= time < until``; with ``limit`` the newest ones.

        Where the features changed, those with the newest ones.

        Parameters
        ----------
        stream : str
            Name of the engine's stream.
        entity : str, optional
            One of a fleet; default: all.
        since, until : float, optional
            POSIX seconds of event time.
        limit : int, optional
            At most so many rows.

        Returns
        -------
        Trace
            Without features where nothing is kept.
        """
        instance(stream, "stream", str)
        limit = None if limit is None else whole(limit, "limit", 0)
        begin, end = (number(x, of, most=np.inf) for x, of in (
            (-np.inf if since is None else since, "since"),
            (np.inf if until is None else until, "until")))
        found, left = list[Trace](), np.inf if limit is None else limit
        with closing(self._parts(stream, entity, begin, end)) as parts:
            while left > 0 and (part := next(parts, None)) is not None:
                if part.features == (found or [part])[0].features:
                    found.append(part)
                    left -= len(part)
        if not found:
            no = np.empty(0, np.int64)
            return Trace(stream, (), (), no, no, np.empty(0), np.empty((0, 0)), np.empty(0))
        trace = Trace.joined(found[::-1])
        if limit is not None and left < 0:
            newest = np.argsort(trace.time, kind="stable")[-limit:]
            trace = trace.take(np.sort(newest))
        return trace

    def _parts(self, stream: str, entity: str | None, begin: float, end: float
               ) -> Generator[Trace, None, None]:
        """Judged rows as they were written, the newest first."""
        name = None if entity is None else stream_of(stream, instance(entity, "entity", str))
        with closing(self._db.execute(
                f"SELECT {_COLUMNS['traces']} FROM traces WHERE stream = ?1 AND (?2 IS NULL OR "
                "low <= ?2 AND high >= ?2) AND last >= ?3 AND first < ?4 ORDER BY n DESC",
                (stream, name, begin, end))) as rows:
            for row in rows:
                for part in self._read("traces", [row]):
                    part = part if entity is None else part.of(entity)
                    if len(part := part.take((part.time >= begin) & (part.time < end))):
                        yield part

    def entities(self, stream: str | None = None) -> list[Overview]:
        """How far each entity is, of one stream or of all, with its open incidents.

        Parameters
        ----------
        stream : str, optional
            Name of an engine's stream.

        Returns
        -------
        list of Overview
        """
        opened: dict[str, list[Incident]] = {}
        for incident in self.incidents(state="open"):
            opened.setdefault(incident.stream, []).append(incident)
        rows = self._select("SELECT name, stream, seq, time, rows, judged, p, alpha FROM streams",
                            "stream, name", None, ("stream = ?", stream))
        return [Overview(name, of, entity_of(of, name), seq, time, count, judged, p, alpha,
                         tuple(opened.get(name, ())))
                for name, of, seq, time, count, judged, p, alpha in rows]

    def silences(self) -> list[Silence]:
        """The last version of every silence, ended ones too."""
        rows = self._db.execute("SELECT target, body FROM operator WHERE kind = 'silence' "
                                "ORDER BY seq")
        return self._read("silences", dict(rows).items())

    def _records(self, table: str, order: str, limit: int | None, *conditions: tuple[str, Any]
                 ) -> list[Any]:
        return self._read(table, self._select(f"SELECT {_COLUMNS[table]} FROM {table}", order,
                                              limit, *conditions))

    def _read(self, table: str, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Records of those rows that hold one; of the others, each is reported once."""
        found, odd = _sorted(table, rows)
        if fresh := [(key, why) for key, _, why in odd if (table, key) not in self._reported]:
            self._reported.update((table, key) for key, _ in fresh)
            key, why = fresh[0]
            more = f" (and {len(fresh) - 1} more)" if fresh[1:] else ""
            log.warning("%s: %r%s %s", table, key, more, self._unreadable(why))
        return found

    def _unreadable(self, why: str) -> str:
        return (f"of {self.path} cannot be read ({why}): `{_COMMAND} remove unreadable --store "
                f"{shlex.quote(str(self.path))}` removes it")

    def integrity_check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when it is sound."""
        found = [row[0] for row in self._db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        broken = self._db.execute("PRAGMA foreign_key_check")
        return found + [f"{table}: row without its {parent}" for table, _, parent, _ in broken]

    def version(self) -> int:
        """Another number once another process or thread has written; compare within a thread."""
        return self._db.execute("PRAGMA data_version").fetchone()[0]

    # ------------------------------------------------------------------ operators

    def acknowledge(self, incident_id: str) -> Incident:
        """Stop the repeats of an incident, also in a running engine; KeyError if unknown."""
        incident = self.incident(incident_id)
        with self._transaction() as db:
            db.execute("UPDATE incidents SET acknowledged = 1 WHERE id = ?", (incident_id,))
            self._decide(db, "acknowledge", incident_id, None)
        return replace(incident, acknowledged=True)

    def silence(self, silence: Silence) -> None:
        """Notify nobody of what matches; a later silence of the same id replaces it."""
        check(silence)
        with self._transaction() as db:
            self._decide(db, "silence", silence.id, _dump(silence.to_dict()))

    @staticmethod
    def _decide(db: sqlite3.Connection, kind: str, target: str, body: str | None) -> None:
        db.execute("INSERT INTO operator (kind, target, body, created) VALUES (?, ?, ?, ?)",
                   (kind, target, body, time.time()))

    def replay_dead(self, ids: Sequence[str] | None = None, *, discard: bool = False) -> int:
        """Send dead letters again, or give them up so that those behind them go on.

        Parameters
        ----------
        ids : sequence of str, optional
            Of outbox rows; None: all dead letters.
        discard : bool
            Give up instead of sending.

        Returns
        -------
        int
            Dead letters that were changed.
        """
        state = "discarded" if discard else "pending"
        where, values = "state = 'dead'", list[str]()
        if ids is not None:
            ids = [instance(one, "ids", str) for one in listed(ids, "ids")]
            where, values = f"{where} AND id IN ({', '.join('?' * len(ids))})", ids
        with self._transaction() as db:
            return db.execute(f"UPDATE outbox SET state = ?, attempts = 0, due = 0, since = NULL "
                              f"WHERE {where}",
                              (state, *values)).rowcount

    def end(self, incident_id: str) -> Incident:
        """Close an incident by hand, also in a running engine; KeyError if unknown."""
        incident = self.incident(incident_id)
        if incident.state == "open":
            incident = replace(incident, state="closed", closed_at=incident.last_at)
            with self._transaction() as db:
                (n,) = db.execute("SELECT ifnull(max(n), -1) + 1 FROM events WHERE incident = ?",
                                  (incident_id,)).fetchone()
                event = IncidentEvent("close", incident, incident.last_at, False, n)
                self._write_events(db, [event], [])
                self._decide(db, "close", incident_id, None)
        return incident

    def remove(self, kind: str, name: str) -> None:
        """Delete one thing for good; a running engine follows with its next batch.

        Parameters
        ----------
        kind : {"checkpoint", "entity", "incident", "message", "quality", "silence", "trace", \
                "verdict"}
        name : str
            A stream (of a checkpoint or trace), ``stream/entity``, an id,
            ``stream|kind|start|end``, or ``stream|end``.

        Raises
        ------
        KeyError
            When there is none of this name.
        ValueError
            When it is an incident that is still open.
        """
        where = _REMOVABLE[one_of(kind, "kind", _REMOVABLE)]
        instance(name, "name", str)
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM incidents WHERE id = ? AND state = 'open'",
                          (name if kind == "incident" else "",)).fetchone():
                raise ValueError(f"incident {name!r} is open: close it first")
            if not db.execute(f"DELETE FROM {where} = ?", (name,)).rowcount:
                raise KeyError(f"no {kind} {name!r} in {self.path}")
            if kind == "checkpoint":
                db.execute("DELETE FROM pages WHERE stream = ?", (name,))
        if kind == "checkpoint":  # nobody follows them any more
            for incident in self.incidents(state="open"):
                if is_within(incident.stream, name):
                    self.end(incident.id)

    def last_sample(self, stream: str) -> int:
        """The highest number of a sample of a stream, or of its entities; -1 where none is kept.

        A stream without a checkpoint goes on behind it, since a number that comes again would
        name an earlier incident, whose messages are not sent again.
        """
        (last,) = self._db.execute(
            f"SELECT max(last) FROM (SELECT max(end) AS last FROM verdicts WHERE {_WITHIN} UNION "
            "ALL SELECT max(CAST(json_extract(body, '$.end') AS INTEGER)) FROM incidents "
            f"WHERE {_WITHIN} AND json_valid(body) AND id LIKE '%|' || json_extract(body, "
            "'$.start'))", (stream,)).fetchone()  # others are named after the wall clock
        return -1 if last is None else last

    def remove_unreadable(self) -> int:
        """Delete every row that holds no record any more; return how many they were."""
        removed = 0
        for table, columns in _COLUMNS.items():
            source = "operator" if table == "silences" else table
            only = " WHERE kind = 'silence'" if table == "silences" else ""
            key = columns.split(", ")[0]
            with self._transaction() as db:
                for name, body, _ in _sorted(table, db.execute(
                        f"SELECT {columns} FROM {source}{only}"))[1]:
                    removed += db.execute(f"DELETE FROM {source} WHERE {key} IS ? AND body IS ?",
                                          (name, body)).rowcount
        return removed

    def prune(self, before: float) -> dict[str, int]:
        """Delete what ended before a time (event time, POSIX seconds), and shrink the file.

        Open incidents, messages that have not arrived, dead letters and checkpoints are kept.

        Returns
        -------
        dict of str to int
            Deleted rows per table.
        """
        before = number(before, "before", most=np.inf)
        deleted: Counter[str] = Counter()
        while any((found := self._prune(before, None)).values()):
            deleted.update(found)
        self._shrink("", "TRUNCATE")
        return {table: deleted[table] for table in _PRUNABLE}

    def retain(self, stream: str, age: float | None) -> None:
        """Delete, a little at a time, what a stream has had for longer; call it after commits.

        It looks once in a second, and deletes when a twentieth of ``age`` has passed since it last
        did. A store that is busy or full is left alone until then.

        Parameters
        ----------
        stream : str
            With its entities.
        age : float or None
            Seconds of event time; None: everything is kept.
        """
        instance(stream, "stream", str)
        now, begin = time.time(), time.monotonic()
        if age is None or number(age, "age", above=0) and begin < self._retain_at:
            return
        self._retain_at = begin + 1
        try:
            (newest,) = self._db.execute(
                "SELECT max(time) FROM (SELECT max(time) AS time FROM verdicts WHERE stream = ?1 "
                "AND time <= ?2 UNION ALL SELECT max(time) FROM quality WHERE stream = ?1 AND "
                "time <= ?2 UNION ALL SELECT max(time) FROM streams WHERE stream = ?1 AND "
                "time <= ?2)", (stream, now)).fetchone()
            # a stream of today grows old by the clock, also a quiet one
            newest = now if newest is not None and newest > now - age else newest
            if newest is None or newest < self._retained.get(stream, -np.inf) + age / 20:
                return
            if _AT_ONCE not in self._prune(newest - age, stream).values():
                self._retained[stream] = newest
            pages, free = (self._db.execute(f"PRAGMA {name}_count").fetchone()[0]
                           for name in ("page", "freelist"))
            if 8 * free > pages:  # else what comes next takes its place
                self._shrink("(1000)", "PASSIVE")
        except sqlite3.OperationalError as error:
            log.warning("%s: nothing is deleted now: %s", self.path, error)

    def _prune(self, before: float, stream: str | None) -> dict[str, int]:
        with self._transaction() as db:
            deleted = {table: db.execute(
                f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {old} "
                f"LIMIT {_AT_ONCE})", (before, stream)).rowcount
                for table, (key, old) in _PRUNABLE.items()}
            db.execute("DELETE FROM operator WHERE kind != 'silence' AND target NOT IN "
                       "(SELECT id FROM incidents)")
        return deleted

    def _shrink(self, pages: str, how: str) -> None:
        try:
            if self._db.execute("PRAGMA auto_vacuum").fetchone() == (2,):
                self._db.executescript(f"PRAGMA incremental_vacuum{pages}")  # execute frees one
            else:  # made by an earlier version: this once the whole file is written anew
                self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self._db.execute("VACUUM")
            self._db.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        except sqlite3.OperationalError as error:  # busy, or no room for a second copy
            log.warning("%s is not made smaller now: %s", self.path, error)

    # ------------------------------------------------------------------ the outbox worker

    def claim(self, channel: str, now: float, *, lease: float, limit: int = 1,
              but: Iterable[str] = ()) -> list[OutboxRow]:
        """Take messages that are due and have no undelivered one before them, oldest first.

        They are not due again before ``now + lease``: another worker leaves them alone meanwhile,
        and the messages of a worker that died are taken over after it.

        Parameters
        ----------
        channel : str
        now : float
            POSIX seconds.
        lease : float
            Seconds for which the messages are yours.
        limit : int, default=1
            At most so many.
        but : iterable of str
            Beginnings of the keys of messages that are left alone.

        Returns
        -------
        list of OutboxRow
        """
        instance(channel, "channel", str)
        left = json.dumps(list(but))
        now, lease = number(now, "now"), number(lease, "lease", least=0)
        limit = whole(limit, "limit", 1)
        if self._db.execute(f"{_DUE} LIMIT 1", (channel, now, left)).fetchone() is None:
            return []  # the usual answer, without the lock that writing takes
        with self._transaction() as db:
            rows = db.execute(
                f"UPDATE outbox SET due = ?4, attempts = attempts + 1 WHERE seq IN "
                f"({_DUE} ORDER BY seq LIMIT ?5) RETURNING {_COLUMNS['outbox']}",
                (channel, now, left, now + lease, limit)).fetchall()
            for name, _, why in _sorted("outbox", rows)[1]:
                db.execute("UPDATE outbox SET state = 'dead', error = ? WHERE id IS ?",
                           (f"cannot be read: {why}", name))
        return sorted(self._read("outbox", rows), key=lambda row: row.seq)

    def settle(self, results: Iterable[tuple[Any, ...]]) -> None:
        """Record how sending claimed messages went: (seq, state, due, error[, since]) of each.

        Raises
        ------
        ValueError
            When a result is not such a tuple.
        """
        rows = []
        for result in listed(results, "results"):
            if not (isinstance(result, (tuple, list)) and len(result) in (4, 5) and all(
                    isinstance(v, (str, int, float, type(None))) for v in result)):
                raise ValueError(f"results must be (seq, state, due, error, since), got {result!r}")
            rows.append((*result, None)[:5])
        with self._transaction() as db:
            db.executemany("UPDATE outbox SET state = ?2, due = ?3, error = ?4, since = ?5 "
                           "WHERE seq = ?1 AND state = 'pending'", rows)

    def backlog(self) -> dict[tuple[str, str], int]:
        """Number of undelivered messages by (channel, "pending" | "dead")."""
        rows = self._db.execute("SELECT channel, state, count(*) FROM outbox WHERE "
                                "state IN ('pending', 'dead') GROUP BY channel, state")
        return {(channel, state): count for channel, state, count in rows}

    def notified(self, incident_id: str) -> set[str]:
        """Channels that messages about an incident were stored for."""
        rows = self._db.execute("SELECT DISTINCT channel FROM outbox WHERE id > ?1 || '|' AND "
                                "id < ?1 || '}'", (instance(incident_id, "incident_id", str),))
        return {channel for (channel,) in rows}  # what begins with the id and a bar

    def closed_by_hand(self, after: int = 0) -> list[tuple[int, str]]:
        """Numbers and incidents of the decisions to close, in order, that came after a number."""
        return self._db.execute("SELECT seq, target FROM operator WHERE kind = 'close' AND seq > ? "
                                "ORDER BY seq", (whole(after, "after", 0),)).fetchall()

    # ------------------------------------------------------------------ connections

    def wait_for_locks(self, seconds: float) -> None:
        """Let this thread wait so long where another one writes; ten seconds by default."""
        self._db.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")

    @property
    def _db(self) -> sqlite3.Connection:
        if self._closed:
            raise sqlite3.ProgrammingError(f"the alert store {self.path} is closed")
        db = getattr(self._local, "db", None)
        if db is None:
            # isolation_level=None: transactions are begun here, not guessed by the driver.
            db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None,
                                 check_same_thread=False)  # close() comes from one thread
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # whatever lies there
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 8000000")
            db.execute("PRAGMA foreign_keys = ON")
            self._local.db = db
            with self._lock:
                for entry in [entry for entry in self._connections if not entry[0].is_alive()]:
                    self._connections.remove(entry)
                    entry[1].close()
                self._connections.append((threading.current_thread(), db))
        return db

    def check_file(self) -> None:
        """StoreGone where the file is gone or is another one: SQLite would write to nothing."""
        if self._file and not (self._file[0].exists()
                               and self._file[0].stat().st_ino == self._file[1]):
            raise StoreGone(f"{self.path} was removed or replaced while it was open: start again")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        self.check_file()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _select(self, query: str, order: str, limit: int | None,
                *conditions: tuple[str, Any]) -> list[tuple]:
        given = []
        for where, value in conditions:
            if value is not None:
                name = where.split()[0]
                plain = value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value
                plain = instance(plain, name, (str, int, float))
                if isinstance(plain, int) and abs(plain) >= 2**63:  # more than SQLite can hold
                    plain = number(plain, name)
                given.append((where, plain))
        limit = None if limit is None else whole(limit, "limit", 0)
        where = " WHERE " + " AND ".join(where for where, _ in given) if given else ""
        with closing(self._db.execute(f"{query}{where} ORDER BY {order} LIMIT ?",
                                      [*(value for _, value in given),
                                       -1 if limit is None else limit])) as cursor:
            return cursor.fetchall()


def _make(db: sqlite3.Connection, number: int) -> None:
    """Make a version of the schema of the one before."""
    for statement in (_SCHEMA / f"{number}.sql").read_text().split(";"):
        db.execute(statement)


def _columns(db: sqlite3.Connection) -> set[str]:
    """Tables of a database and their columns, as "table.column"."""
    return {".".join(row) for row in db.execute(
        "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c "
        "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'")}


@cache
def _schema() -> set[str]:
    """What `_columns` says of a new store."""
    with closing(sqlite3.connect(":memory:")) as db:
        for number in range(1, SCHEMA_VERSION + 1):
            _make(db, number)
        return _columns(db)


_COMMAND = "python -m adlib.realtime alerts"
_PAGE = 3900  # bytes that, with their key, fill two pages of the database
# mark, checksum of position and page, full pages, bytes of the state that was written whole
_HEAD = struct.Struct("<4sIII")
_MARK, _WORD = b"\0adl", 0xFFFFFFFF
_AT_ONCE = 5_000  # rows deleted in one transaction
_QUALITY = "stream || '|' || kind || '|' || start || '|' || end"
_VERDICT = "stream || '|' || end"
#: Of each table: what names a row, its body, and what else its record holds.
_COLUMNS = {
    "incidents": "id, body, acknowledged", "events": "id, body", "verdicts": f"{_VERDICT}, body",
    "quality": f"{_QUALITY}, body", "silences": "target, body",
    "traces": "n, body, stream",
    "outbox": "id, body, channel, key, time, seq, state, attempts, due, error, since"}
_REMOVABLE = {
    "checkpoint": "checkpoints WHERE stream", "entity": "streams WHERE name",
    "incident": "incidents WHERE id", "trace": "traces WHERE stream",
    "message": "outbox WHERE id", "quality": f"quality WHERE {_QUALITY}",
    "silence": "operator WHERE kind = 'silence' AND target",
    "verdict": f"verdicts WHERE {_VERDICT}"}
_WITHIN = "(stream = ?1 OR stream >= ?1 || '/' AND stream < ?1 || '0')"  # and its entities
_OF = f"(?2 IS NULL OR {_WITHIN.replace('?1', '?2')})"
_TARGET = "(instr({0}, {1} || '|') = 1 OR instr({0}, {1} || '/') = 1)"
_PRUNABLE = {
    "verdicts": ("stream, end", f"time < ?1 AND {_OF}"),
    "quality": ("stream, kind, start, end, body", f"time < ?1 AND {_OF}"),
    "incidents": ("id", f"state = 'closed' AND closed_at < ?1 AND {_OF}"),
    "traces": ("n", f"last < ?1 AND {_OF}"), "streams": ("name", f"time < ?1 AND {_OF}"),
    "outbox": ("seq", "state IN ('sent', 'discarded') AND time < ?1 AND "
                      f"(?2 IS NULL OR {_TARGET.format('key', '?2')})")}
_RECORDS = {table: (kind, pydantic.TypeAdapter(kind)) for table, kind in (
    ("incidents", Incident), ("events", IncidentEvent), ("verdicts", Verdict),
    ("quality", QualityEvent), ("outbox", OutboxRow), ("silences", Silence))}


def _sorted(table: str, rows: Iterable[Sequence[Any]]) -> tuple[list[Any], list[tuple]]:
    """Records of the rows that hold one; key, body and fault of the others."""
    found, odd = [], []
    for row in rows:
        try:
            found.append(_made(table, *row))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, pydantic.ValidationError):
                fault = error.errors()[0]
                why = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            odd.append((*row[:2], why[:200]))
    return found, odd


def _made(table: str, key: Any, body: Any, *more: Any) -> Any:
    if table == "traces":
        return Trace.unpack(more[0], body)
    record = json.loads(body)
    if table == "outbox":
        names = _COLUMNS[table].split(", ")[2:]
        record = {"id": key, "body": record, **dict(zip(names, more, strict=True))}
    elif table == "incidents":
        record = {**record, "acknowledged": bool(more[0])}
    kind, types = _RECORDS[table]
    made: Any = types.validate_python(kind.from_dict(record))
    if getattr(made, "id", key) != key:
        raise ValueError(f"it calls itself {made.id!r:.80}")
    return check(made) if table == "silences" else made


def _bound(record: Verdict | QualityEvent | Incident | IncidentEvent) -> dict[str, Any]:
    # Of plain types: the driver would bind a NumPy integer as bytes.
    values = record.to_dict()
    return {**values, "body": _dump(values)}


def _dump(record: Any) -> str:
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair, as JSON can
