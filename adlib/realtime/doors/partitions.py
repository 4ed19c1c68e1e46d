"""A fleet on several machines: the partitions of a NATS stream, and who judges which.

``nats://host:port/STREAM/plant.*?entity=subject:2&partition=4`` divides the entities into four
partitions. Each is judged by an engine of its own (stream ``plant:0`` to ``plant:3``), in one of
the processes that were started with the same source and model. Who that is, a lease in a bucket of
JetStream says, which ends ``lease`` seconds after its owner was last heard of; processes share the
partitions evenly, and take over those of one that died.

What an engine commits goes to JetStream first, by compare-and-set on the last commit, and then to
its own store: position, state, open incidents, and all messages that have not arrived. Messages of
the stream are acknowledged after both. An owner that was paused for longer than its lease finds
another one's commit there: it commits, acknowledges and sends nothing more. Its successor goes on
with the same state, so incidents have the same ids; a message that was being sent when its owner
died may come twice, with the same id. Verdicts and traces stay in the store of who judged them.

A process that shares its store with others on the same machine finds there what they kept.
"""

import asyncio
import json
import logging
import re
import socket
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from adlib.realtime.counters import Tally
from adlib.realtime.doors.checkpoint import pack, unpack
from adlib.realtime.events import IncidentEvent, QualityEvent, Silence, Verdict, is_within
from adlib.realtime.members import forgiven, in_thread
from adlib.realtime.store import AlertStore, OutboxRow

log = logging.getLogger(__name__)

_ANSWERS = 20.0  # seconds for a commit to arrive at the server
_RECENT = 50  # incidents that ended last, which are reported to others
_KINDS: dict[str, Any] = {"verdicts": Verdict, "events": IncidentEvent, "quality": QualityEvent,
                          "outbox": OutboxRow}


class Unreachable(OSError):
    """The server does not answer; that may pass."""


class Fenced(Exception):
    """Another process owns the partition."""


class Lease:
    """One partition in the buckets of a group of processes; its methods run in the event loop."""

    def __init__(self, group: "Partitions", part: int):
        self._of, self.part = group, part
        self.until, self.leaving = 0.0, False  # until when it is ours, on the second clock
        self._lease = self._commit = 0  # revisions
        self._last: dict[str, Any] = {}  # of the last commit

    async def hold(self) -> bool:
        """Take it, or keep it; whether it is this process's for another while."""
        began, name = time.monotonic(), f"lease.{self.part}"
        try:
            self._lease = await (
                self._of.leases.update(name, self._of.me.encode(), last=self._lease)
                if self._lease else self._of.leases.create(name, self._of.me.encode()))
        except self._of.errors.KeyWrongLastSequenceError:
            self.until = 0.0
            return False
        self.until = began + self._of.source.lease
        return True

    async def release(self) -> None:
        """Leave it to others."""
        held, self.until = time.monotonic() < self.until, 0.0
        if held:
            await self._of.leases.delete(f"lease.{self.part}", last=self._lease)

    async def take(self) -> dict[str, Any]:
        """Fence whoever had it; what was committed last."""
        try:
            entry = await self._of.commits.get(str(self.part))
            self._commit, self._last = entry.revision, json.loads(entry.value)
        except self._of.errors.KeyNotFoundError:
            self._commit, self._last = 0, {}
        await self._swap({**self._last, "owner": self._of.me, "at": self._of.place})
        return self._last

    async def is_elsewhere(self) -> bool:
        """Whether somebody with another store has taken it over."""
        entry = await self._of.commits.get(str(self.part))
        return json.loads(entry.value)["at"] != self._of.place

    async def load(self) -> bytes:
        """What the last commit holds."""
        found = await self._of.objects.get(self._last["object"])
        return zlib.decompress(found.data)

    async def commit(self, data: bytes, what: dict[str, Any]) -> None:
        """Make it the last commit, unless another process has become the owner."""
        before = self._last.get("object", "")
        name = f"{self.part}-{self._of.me}-0"
        if name == before:  # which counts until another one takes its place
            name = f"{self.part}-{self._of.me}-1"
        await self._of.objects.put(name, zlib.compress(data, 1))
        await self._swap({**self._last, **what, "object": name})
        if before and self._of.me not in before:
            with suppress(self._of.errors.NotFoundError):
                await self._of.objects.delete(before)

    async def _swap(self, new: dict[str, Any]) -> None:
        key, value = str(self.part), json.dumps(new).encode()
        try:
            self._commit = await self._of.commits.update(key, value, last=self._commit)
        except self._of.errors.KeyWrongLastSequenceError:
            entry = await self._of.commits.get(key)
            if entry.value != value:  # else of the first try nothing was heard
                raise Fenced(f"partition {self.part}: {json.loads(entry.value)['owner']} took it "
                             f"over") from None
            self._commit = entry.revision
        self._last = new


class SharedStore(AlertStore):
    """An alert store whose commits of one partition go to the others' reach first."""

    def __init__(self, path: Path, group: "Partitions", lease: Lease):
        self._group, self._lease = group, lease
        self._state: tuple[int, bytes] | None = None  # of the last commit
        super().__init__(path)

    def commit(self, stream: str, position: int, state: bytes, verdicts: Iterable[Verdict],
               events: Iterable[IncidentEvent], quality: Iterable[QualityEvent],
               outbox: Iterable[OutboxRow], *traces: Any, **more: Any) -> None:
        """As `AlertStore.commit`, once it is committed in JetStream."""
        self._state = None
        self._share(stream, (position, state), {"verdicts": verdicts, "events": events,
                                                "quality": quality, "outbox": outbox})
        super().commit(stream, position, state, verdicts, events, quality, outbox, *traces, **more)
        self._state = position, state

    def hand_over(self, stream: str) -> None:
        """Commit once more what has not arrived by now."""
        if self._state is not None:
            self._share(stream, self._state, {})

    def forget(self, stream: str, but: Iterable[str] = ()) -> None:
        """Drop the messages that are another process's to send."""
        for row in self.outbox(state="pending"):
            if is_within(row.key, stream) and row.id not in but:
                self.remove("message", row.id)

    def _share(self, stream: str, at: tuple[int, bytes], new: dict[str, Iterable[Any]]) -> None:
        """Commit for others what they need to go on, beside what they read in the stream."""
        recent = self.incidents(state="open") + self.incidents(state="closed", limit=_RECENT)
        incidents = [i for i in recent if is_within(i.stream, stream)]
        last = [IncidentEvent(e.kind, i, e.time, e.notify, e.n)
                for i in incidents for e in self.events(i.id)[-1:]]
        waits = [row for row in self.outbox(state="pending") if is_within(row.key, stream)]
        rows = {**new, "events": [*last, *new.get("events", ())],
                "outbox": [*waits, *new.get("outbox", ())]}
        data = pack({"state": np.frombuffer(at[1], np.uint8), "known": [i.id for i in incidents],
                     "silences": [silence.to_dict() for silence in self.silences()],
                     **{name: [row.to_dict() for row in rows.get(name, ())] for name in _KINDS}})
        self._group.ask(self._lease.commit(data, {
            "position": at[0], "store": self._group.place}))

    def restore(self, stream: str) -> tuple[int, bytes] | None:
        """The last commit of whichever process; from now on it is this one's."""
        last = self._group.ask(self._lease.take())
        if "object" in last:
            saved = unpack(self._group.ask(self._lease.load()))
            self._adopt(stream, last["position"], saved, last["store"] != self._group.place)
        self._state = super().restore(stream)
        return self._state

    def _adopt(self, stream: str, position: int, saved: dict[str, Any], foreign: bool) -> None:
        found: Any = {name: [kind.from_dict(row) for row in saved[name]]
                      for name, kind in _KINDS.items()}
        if foreign:  # what this store knows is older
            self.forget(stream, {row.id for row in found["outbox"]})
            for incident in self.incidents(state="open"):
                if is_within(incident.stream, stream) and incident.id not in saved["known"]:
                    self.end(incident.id)
            known = {silence.id for silence in self.silences()}
            for silence in saved["silences"]:
                if silence["id"] not in known:
                    self.silence(Silence.from_dict(silence))
        super().commit(stream, position, saved["state"].tobytes(), **found)

    def claim(self, channel: str, now: float, *, lease: float, limit: int = 1,
              but: Iterable[str] = ()) -> list[OutboxRow]:
        """As `AlertStore.claim`, without the messages of partitions that others own."""
        return super().claim(channel, now, lease=lease, limit=limit,
                             but=[*but, *self._group.foreign()])


class Partitions:
    """The engines of those partitions whose lease this process has, as one to be run.

    Parameters
    ----------
    config : EngineConfig
        Of the whole stream.
    source : JetStreamSource
        With ``partition``.
    load : callable
        Gives an engine for a stream of this name.

    Attributes
    ----------
    engines : dict of int to RealTimeAnomalyDetector
        Those at work, by partition.
    store : AlertStore
        Which all of them use.

    Raises
    ------
    ValueError
        Without a fleet or a store, or with a model that is fitted again.
    """

    def __init__(self, config: Any, source: Any, load: Callable[[str], Any]):
        storage = config.alert_config.storage
        if config.fleet is None or storage is None or config.refit is not None:
            raise ValueError("partition divides the entities of a fleet: the configuration needs "
                             "`fleet` and `alert_config.storage`, and cannot have `refit` (each "
                             "process would change its own model)")
        self.config, self.source, self._load = config, source, load
        self.store, self.engines = AlertStore(storage.path), dict[int, Any]()
        self.errors, host = source.nats.js.errors, socket.gethostname()
        self.me = f"{re.sub('[^A-Za-z0-9]', '-', host)[:40]}-{uuid.uuid4().hex[:12]}"
        place = storage.path.resolve()
        self.place = f"{host}:{uuid.getnode():x}:{place.stat().st_ino}:{place}"
        self.features_: list[str] = []
        self.position, self._tally = -1, Tally()
        self._ending = self._others = False
        self._held: dict[int, tuple[Lease, asyncio.Task]] = {}
        self._trouble = "the server was not reached yet"

    # -- as an engine ---------------------------------------------------------------------------

    @property
    def tally(self) -> Tally:
        """What became of the rows of all partitions."""
        return Tally.sum([self._tally, *(engine.tally for engine in self.engines.values())])

    def status(self) -> dict[str, Any]:
        """As `RealTimeAnomalyDetector.status`, and ``partitions``, each one's own.

        A process that has no partition, since others have them, is ready: it stands by. So is a
        partition that has no entity yet, where others have.
        """
        parts = {engine.config.stream: engine.status() for engine in list(self.engines.values())}
        some = any(part.get("judged") for part in parts.values())
        reasons = [f"{name}: {why}" for name, part in parts.items() for why in part["reasons"]
                   if not some or part.get("rows", 1) or part.get("conditions")]
        reasons += [self._trouble] * bool(self._trouble)
        said = {name: sum(part.get(name, 0) for part in parts.values())
                for name in ("rows", "judged")}
        lists = {name: [one for part in parts.values() for one in part.get(name, ())]
                 for name in ("conditions", "incidents")}
        return {"stream": self.config.stream, "ready": not reasons, "reasons": reasons,
                "position": max([self.position, *(
                    part.get("position", -1) for part in parts.values())]),
                **said, **lists, "partitions": parts}

    def metrics_text(self) -> str:
        """Those of all engines in Prometheus' text format."""
        families: dict[str, dict[str, None]] = {}
        for engine in list(self.engines.values()):
            for family in engine.metrics_text().split("# HELP ")[1:]:
                families.setdefault(family.partition(" ")[0], {}).update(
                    dict.fromkeys(family.splitlines()))
        return "".join("# HELP " + "\n".join(lines) + "\n" for lines in families.values())

    async def process_stream(self, source: Any = None) -> AsyncIterator[dict[str, Any]]:
        """Windows of the partitions that this process has, until it is stopped."""
        self._loop, self._windows = asyncio.get_running_loop(), asyncio.Queue[Any]()
        client = await self.source.connect()
        try:
            await self._open(client.jetstream())
            keeper = asyncio.create_task(self._keep())
            try:
                while True:
                    if isinstance(window := await self._windows.get(), Exception):
                        raise window
                    yield window
                    self._windows.task_done()
            finally:
                await self._leave()
                keeper.cancel()
                async with forgiven("leaving the group", _ANSWERS):
                    await self.leases.delete(self._member)
        finally:
            await client.close()

    # -- leases ---------------------------------------------------------------------------------

    async def _open(self, stream: Any) -> None:
        """Make the buckets, or find them as others made them."""
        source, info = self.source, await self.source.info(stream)
        name = re.sub("[^A-Za-z0-9_-]", "_", f"adlib-{source.stream}-{source.durable}")
        how = {"replicas": info.config.num_replicas}
        mine = f"partition={source.partitions} of stream {self.config.stream}"
        try:
            self.leases = await stream.create_key_value(
                bucket=f"{name}-leases", ttl=source.lease, **how)
            self.commits = await stream.create_key_value(bucket=f"{name}-commits", **how)
            self.objects = await stream.create_object_store(f"{name}-states", **how)
            with suppress(self.errors.KeyWrongLastSequenceError):
                await self.commits.create("group", mine.encode())
            before = (await self.commits.get("group")).value.decode()
        except self.errors.BadRequestError as error:
            raise ValueError(f"all processes need the same lease as those before them: bucket "
                             f"{name}-leases is another one ({error.description})") from None
        if before != mine:
            raise ValueError(f"durable {source.durable!r} began with {before}, and this is {mine}: "
                             f"another number or engine needs another durable")
        self._member = f"member.{self.me}"

    async def _keep(self) -> None:
        """Renew what is held, and hold as many as the others leave."""
        errors = self.source.nats.errors
        while True:
            try:
                async with asyncio.timeout(self.source.lease):
                    await self._look()
                self._trouble = ""
            except Exception as error:
                if (not isinstance(error, TimeoutError | errors.Error)
                        or isinstance(error, errors.ConnectionClosedError)):
                    self._windows.put_nowait(error)  # which does not pass
                if not self._trouble:
                    log.warning("%s: %s", self.source.shown, type(error).__name__)
                self._trouble = "leases of partitions cannot be renewed"
            await asyncio.sleep(self.source.lease / 3)

    async def _look(self) -> None:
        await self.leases.put(self._member, b"")
        for lease, task in list(self._held.values()):
            if not await lease.hold():
                self._end(lease, task)
        names, n = await self.leases.keys(), self.source.partitions
        members = sorted({self._member, *(k for k in names if k.startswith("member."))})
        self._others = len(members) > 1
        share = 0 if self._ending else n // len(members) + (
            members.index(self._member) < n % len(members))
        for part in {*range(n)} - self._held.keys():
            if len(self._held) < share and f"lease.{part}" not in names and await (
                    lease := Lease(self, part)).hold():
                self._held[part] = lease, asyncio.create_task(self._own(lease))
        for lease, task in list(self._held.values())[share:]:
            self._end(lease, task)

    def _end(self, lease: Lease, task: asyncio.Task) -> None:
        """Let an engine commit what is judged, and end; only once."""
        if not lease.leaving:
            lease.leaving = True
            task.cancel()

    async def _own(self, lease: Lease) -> None:
        """Judge a partition while it is this process's."""
        name = f"{self.config.stream}:{lease.part}"
        engine: Any = None
        try:
            engine = self.engines[lease.part] = await in_thread(self._load, name)
            self.features_ = engine.features_
            engine.open_store = lambda path: SharedStore(path, self, lease)
            log.warning("%s is judged by this process", name)
            async with aclosing(engine.process_stream(self.source.divided(lease.part))) as windows:
                async for window in windows:
                    self._windows.put_nowait(window)
                    await self._windows.join()
        except (Fenced, Unreachable) as error:
            log.warning("%s: %s", name, error)
        except Exception as error:
            self._windows.put_nowait(error)
        finally:
            lease.leaving = True
            async with forgiven(f"leaving {name}", _ANSWERS):
                if self.engines.pop(lease.part, None) is not None:
                    self.position = max(self.position, engine.position)
                    self._tally = Tally.sum([self._tally, engine.tally])
                    if isinstance(engine.store, SharedStore):
                        await self._hand_over(lease, engine.store, name)
                await lease.release()
            del self._held[lease.part]

    async def _hand_over(self, lease: Lease, store: SharedStore, name: str) -> None:
        """Leave what has not arrived to the next owner; where there is none, here too."""
        if time.monotonic() < lease.until:
            await in_thread(store.hand_over, name)
            gone = self._others
        else:
            gone = await lease.is_elsewhere()
        if gone:
            await in_thread(store.forget, name)
        await in_thread(store.close)

    async def _leave(self) -> None:
        self._ending = True
        for lease, task in self._held.values():
            self._end(lease, task)
        while self._held:
            await asyncio.wait([task for _, task in self._held.values()])

    # -- for stores, from their threads ---------------------------------------------------------

    def ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine in the event loop gives."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(_ANSWERS)
        except (TimeoutError, self.source.nats.errors.Error) as error:
            future.cancel()
            raise Unreachable(f"{self.source.shown} does not take a commit: "
                              f"{type(error).__name__}") from error

    def foreign(self) -> list[str]:
        """Beginnings of the keys of those messages that are not this process's."""
        now = time.monotonic()
        mine = {part for part, (lease, _) in list(self._held.items()) if now < lease.until}
        return [f"{self.config.stream}:{part}{end}" for part in range(self.source.partitions)
                if part not in mine for end in "|/"]
