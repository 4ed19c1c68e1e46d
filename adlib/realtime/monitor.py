"""Watches a running engine on the wall clock: missing data, hanging batches, failing receivers.

It has a thread and a connection of its own, so that it sees what blocks the event loop or the
engine's worker. What it finds becomes an incident of kind "health" (`adlib.realtime.health`) in a
transaction of its own; while nothing can be committed it is kept in memory, and stored later.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from adlib.arguments import shown
from adlib.realtime.counters import Tally
from adlib.realtime.events import Incident, IncidentEvent
from adlib.realtime.health import Condition, Conditions, StreamHealth
from adlib.realtime.inbox import Inbox
from adlib.realtime.members import Worker
from adlib.realtime.notify import NotificationService
from adlib.realtime.store import AlertStore

log = logging.getLogger(__name__)

_LEAST, _MESSAGES = 60.0, 3  # "auto" of no_data: a minute, or what so many messages cover
_LEARNED = 3600.0  # seconds at most that earlier waits allow: an outage must not hide the next
_SLOW = 5.0  # seconds of a batch after which the engine does not call itself ready
_LEAVE = 2.0  # seconds that a look at the end may take, and a beat of the loop that is busy
_SELDOM = 5  # looks of which one asks the store, while all is well
_BLIND = {"no_data", "no_windows", "hanging", "store"}


class Monitor:
    """Conditions of a process that judges a stream, their incidents, and whether it is ready.

    ``async with`` runs the thread, which looks once a second.

    Parameters
    ----------
    health : StreamHealth
        Of the same stream.
    inbox : Inbox
    tally : Tally
    store : AlertStore, optional
    service : NotificationService, optional
    under_way : callable
        Moment at which the batch that is under way began, on the second clock; None between two.
    troubles : callable
        What the engine and its doors report, as conditions.
    interval : callable
        Usual seconds between two samples.
    patience : float
        Seconds that a sample waits for company, on purpose.
    clock, monotonic : callable
        The wall clock, and one that nobody sets.

    Attributes
    ----------
    conditions : Conditions
    """

    def __init__(self, health: StreamHealth, inbox: Inbox, tally: Tally, *,
                 store: AlertStore | None = None, service: NotificationService | None = None,
                 under_way: Callable[[], float | None] = lambda: None,
                 troubles: Callable[[], Iterable[Condition]] = tuple,
                 interval: Callable[[], float] = lambda: 1.0, patience: float = 0.0,
                 clock: Callable[[], float] = time.time,
                 monotonic: Callable[[], float] = time.monotonic):
        self._health, self._inbox, self._tally = health, inbox, tally
        self._store, self._service = store, service
        self._under_way, self._troubles = under_way, troubles
        self._interval, self._patience = interval, patience
        self._clock, self._monotonic = clock, monotonic
        stream = health.conditions
        self._config = stream.health
        self.conditions = Conditions(stream.stream, stream.health, stream.config, None)
        self._backlog: dict[tuple[str, str], int] = {}
        self._began = self._pulse = self._went_on = self._judged_at = monotonic()
        self._batch: tuple[Any, ...] = ()
        self._judged = tally.judged  # before this stream
        self._seen = tally.judged, tally.rows  # when a window was judged last
        self._dropped = inbox.dropped
        self._pending: list[IncidentEvent] = []  # not stored yet
        self._refused: list[Condition] = []  # what the store says to this thread
        self._failed: list[Condition] = []  # what the engine died of
        self._resumed, self._looks = False, 0
        self._wake: Callable[[], object] = int  # the service, to look into the outbox
        self._stop = threading.Event()

    # -- what is wrong --------------------------------------------------------------------------

    def found(self) -> list[Condition]:
        """What is wrong now. Only looks: any thread may ask, at any time."""
        now, wall = self._monotonic(), self._clock()
        found = self._reported()
        found += [Condition(name, "", detail, wall - (now - moment))
                  for name, moment, limit, detail in self._stands()
                  if now - moment >= limit]
        if (dropped := self._inbox.dropped) > self._dropped:
            found.append(Condition("dropped", "", f"{dropped:,} samples found the queue full"))
        return found + [
            Condition("dead_letters", name, f"{name} refused messages for good: see alerts dead")
            for (name, state), count in self._backlog.items() if state == "dead" and count]

    def _reported(self) -> list[Condition]:
        return [*self._failed, *self._refused, *self._troubles()]

    def _stands(self) -> Iterable[tuple[str, float, float, str]]:
        """What may stand still: its condition, since when, how long it may, what that means."""
        config, inbox, rows = self._config, self._inbox, self._tally.rows - self._seen[1]
        yield ("hanging", self._pulse, config.hanging + _LEAVE, "the event loop does not go on: a "
               "source, a receiver or the code around the engine blocks it")
        yield ("hanging", self._went_on, config.hanging + self._patience,
               f"a batch does not end, {inbox.rows:,} samples wait" if self._under_way()
               is not None else f"{inbox.rows:,} samples wait, and no batch begins")
        if config.no_data != "never" and not self._works() and not inbox.closed:
            limit = max(_LEAST, _MESSAGES * self._interval() * inbox.message,
                        min(_MESSAGES * inbox.gap, _LEARNED))
            yield ("no_data", max(inbox.arrived, self._began),
                   limit if config.no_data == "auto" else config.no_data, "no sample arrives")
        if self._tally.judged == self._seen[0] and self._health.overdue(rows):
            soon = self._health.conditions.knows("not_judging", "")  # if its time goes on
            yield ("no_windows", self._judged_at, (3 if soon else 1) * config.hanging,
                   f"no window was judged: {self._tally.account(self._health.window)}")

    def _works(self) -> bool:
        return self._inbox.rows > 0 or self._under_way() is not None

    def reasons(self) -> list[str]:
        """Why the engine is not ready; empty when it is."""
        found, began = self.found(), self._under_way()
        says = [condition.detail for condition in found if condition.name in _BLIND
                and not condition.subject]
        says += self._health.blind()
        if self._tally.judged == self._judged:
            says.append(f"no window was judged yet: {self._tally.account(self._health.window)}")
        if began is not None and self._monotonic() - began >= _SLOW:
            says.append(f"a batch has been under way for {self._monotonic() - began:.0f} s")
        dead = {condition.subject for condition in found if condition.name == "channel"
                and self._clock() - (condition.since or 0.0) >= condition.after}
        channels = {channel.name for channel in self._service.channels} if self._service else set()
        if channels and channels <= dead:
            says.append(f"no receiver takes messages: {', '.join(sorted(channels))}")
        return list(dict.fromkeys(says))

    def status(self) -> dict[str, Any]:
        """Whether the engine is ready, why not, what is wrong, and which incidents are open."""
        reasons = self.reasons()
        return {"ready": not reasons, "reasons": reasons,
                "rows": self._tally.rows, "judged": self._tally.judged,
                "conditions": [asdict(condition) for condition in self.found()],
                "incidents": [incident.to_dict() for incident in [
                    *self._health.conditions.open, *self.conditions.open]]}

    def beat(self) -> None:
        """The event loop goes on."""
        self._pulse = self._monotonic()

    def backlog(self) -> dict[tuple[str, str], int]:
        """Number of messages by (channel, state), as of the last look."""
        return self._backlog

    # -- a look ---------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take over what an earlier process left open."""
        assert self._store is not None  # who has none left nothing
        stored = self._stored()  # first: what the stream opens meanwhile is its own
        ours = {incident.id for incident in self._health.conditions.open}
        for incident in stored:
            if incident.id not in ours and not incident.condition.startswith("model."):
                self.conditions.take_over(incident, self._store.events(incident.id), self._clock())
        self._resumed = True

    def tick(self) -> None:
        """Look once: remember what went on, step the incidents, store them."""
        now, batch = self._monotonic(), (self._under_way(), self._tally.rows)
        if batch != self._batch or not self._works() or any(
                condition.name == "store" for condition in self._reported()):
            self._batch, self._went_on = batch, now  # who waits for the store does not hang
        if self._tally.judged != self._seen[0]:
            self._seen, self._judged_at = (self._tally.judged, self._tally.rows), now
        found = self.found()
        if any(condition.name == "no_data" and not condition.subject for condition in found):
            self._seen, self._judged_at = (self._tally.judged, self._tally.rows), now
        self._dropped = self._inbox.dropped
        events = self.conditions.observe(found, self._clock(), self._inbox.next - 1)
        announce(events)  # before anything that may wait for the store
        self._pending += events
        self._looks += 1
        if self._store is not None and (
                self._looks % _SELDOM == 0 or self._pending or self.conditions.open) and all(
                    [self._safely(self._look_up), self._safely(self._record)]):
            self._refused = []

    def _stored(self) -> list[Incident]:
        assert self._store is not None
        return [incident for incident in self._store.incidents(
            stream=self.conditions.stream, state="open") if incident.kind == "health"]

    def _look_up(self) -> None:
        """What waits to be sent, and what operators decided."""
        assert self._store is not None
        if not self._resumed:
            self.resume()
        self._store.check_file()
        self._backlog = self._store.backlog()
        known = {event.incident.id: False for event in self._pending}
        known |= {incident.id: incident.acknowledged for incident in self._stored()}
        self.conditions.apply({
            "acknowledged": [name for name, acknowledged in known.items() if acknowledged],
            "silences": [silence.to_dict() for silence in self._store.silences()],
            "closed": [incident.id for incident in self.conditions.open
                       if incident.id not in known]})

    def _record(self) -> None:
        assert self._store is not None
        if events := list(self._pending):
            self._store.record_events(
                events, self._service.rows(events) if self._service else [])
            del self._pending[:len(events)]
            with suppress(RuntimeError):  # the loop has ended
                self._wake()

    def _safely(self, function: Callable[[], None]) -> bool:
        try:
            function()
        except (OSError, sqlite3.Error) as error:  # what was found is kept, and stored later
            self._refused = self._refused or [
                Condition("store", "", f"alert store: {error}", self._clock(), self._config.store)]
            return False
        return True

    # -- the thread -----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._service is not None:
            self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe,
                                 self._service.wake)
        self._worker = Worker("adlib-monitor")
        try:
            if self._store is not None:
                await self._worker.run(self._safely, self._look_up)
        except BaseException:  # cancelled: nobody will end it
            self._worker.stop()
            raise
        self._beats, self._watching = asyncio.create_task(self._beat()), self._worker.run(
            self._watch)
        return self

    async def __aexit__(self, _: object, error: BaseException | None, *more: object) -> None:
        if isinstance(error, Exception):  # its text may hold a secret, of a source's address say
            self._failed.append(Condition("stopped", "", f"the engine stopped after sample "
                                          f"{self._inbox.next - 1}: {type(error).__name__}, of "
                                          f"which its log says more"))
        self._stop.set()
        self._worker.stop()
        self._beats.cancel()
        await asyncio.wait([self._watching], timeout=_LEAVE)

    async def _beat(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(1.0)

    def _watch(self) -> None:
        ended = False
        while not ended:
            ended = self._stop.wait(1.0)  # a last look stores what is left
            try:
                self.tick()
            except Exception as error:  # whoever watches goes on
                log.exception("the monitor of stream %s: %s", self.conditions.stream,
                              type(error).__name__)


def announce(events: Iterable[IncidentEvent]) -> None:
    """Say on the log what became of health incidents, whoever else is notified."""
    for event in events:
        incident = event.incident
        over = event.kind == "close"
        level = logging.ERROR if incident.severity == "critical" and not over else logging.WARNING
        if event.kind in ("open", "escalate", "close"):
            log.log(level, "stream %s, %s: %s", incident.stream,
                    "over" if over else incident.severity, shown(incident.detail, 500))
