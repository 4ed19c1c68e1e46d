"""Notification: messages go from the outbox to the receivers, at least once, in order.

A message is stored in the transaction that stores its incident; a worker sends it afterwards and
marks it sent. A crash between the two sends it again with the same id (the e-mail's Message-ID, the
last line of the Slack message). What passes by itself is retried with growing, jittered pauses for
as long as it takes; what somebody has to put right (an expired password, a webhook that is gone)
until ``give_up_after``; what is wrong with the message itself not at all. Then it is a dead letter,
which an operator can replay. Messages of one incident arrive on each channel in the order in which
they arose; those behind a dead letter wait ``retry_cap`` seconds for it to be replayed or given up,
then they go on without it. Another incident's messages do not wait.

A receiver with a ``route`` gets the incidents that it names, each from the first event that it
names to the close. One that keeps what is open itself (a pager, Alertmanager) also gets the close
of what was silenced meanwhile or closed by hand.
"""

import asyncio
import logging
import math
import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model, model_validator

from adlib.deprecation import moved
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.events import Incident, IncidentEvent, Verdict
from adlib.realtime.members import Worker, back_off, cancelled
from adlib.realtime.registry import BUILT_IN, CHANNELS, find, registered
from adlib.realtime.routes import Route, untaken
from adlib.realtime.settings import Seconds, Settings
from adlib.realtime.store import AlertStore, OutboxRow, StorageConfig

log = logging.getLogger(__name__)


class NotificationConfig(Settings):
    """Who is notified, and how patiently: ``slack``, ``email``, and any other registered receiver
    by its name; a second one of a kind by its name and a word, as ``slack#night``. Each may have a
    ``route`` (see `adlib.realtime.routes.Route`).

    Examples
    --------
    >>> config = NotificationConfig(slack={"webhook_url": "https://hooks.slack.com/services/T/B/x"})
    >>> config.slack.webhook_url
    SecretStr('**********')
    """

    model_config = ConfigDict(extra="allow")

    retry_base: float = Field(1.0, gt=0, description="Longest first pause before trying again, "
                              "seconds; it doubles with every try.")
    retry_cap: float = Field(300.0, gt=0, description="Longest pause, seconds; so long do messages "
                             "wait behind a dead letter of their incident.")
    give_up_after: Seconds = Field(86_400.0, description="Time until a message that is refused for "
                                   "a reason that somebody may put right (login, address) becomes "
                                   "a dead letter.")

    @classmethod
    def key_types(cls) -> dict[str, Any]:
        return {**super().key_types(), **{name: _kind(name) for name in registered(CHANNELS)}}

    @model_validator(mode="before")
    @classmethod
    def _check_receivers(cls, given: Any) -> Any:
        """Let each receiver's own settings check what stands under its name."""
        if not isinstance(given, Mapping):
            return given
        names = given.keys() - cls.model_fields.keys()
        known = registered(CHANNELS).keys()
        kinds: dict[str, Any] = {
            name: (_kind(name, given[name]) | None, ...) for name in names
            if re.fullmatch(r"[^#]+(#[\w.-]{1,40})?", str(name)) and name.split("#")[0] in known}
        receivers: Any = create_model("Receivers", __base__=Settings, **kinds)
        checked = receivers.model_validate({name: given[name] for name in names})
        return {**dict.fromkeys(BUILT_IN[CHANNELS]), **given, **dict(checked)}

    def receivers(self) -> dict[str, Any]:
        """What is configured for each receiver, by its name."""
        return {name: value for name, value in (self.model_extra or {}).items()
                if value is not None}


def _kind(name: str, given: Any = None) -> Any:
    """What checks the settings of a receiver: its own model, with a route where none is made."""
    config: Any = getattr(find(CHANNELS, name.split("#")[0]), "Config", Any)
    extends = (isinstance(config, type) and issubclass(config, BaseModel)
               and not (issubclass(config, RootModel) or isinstance(given, BaseModel))
               and "route" not in config.model_fields)
    return _routed(config) if extends else config


@cache
def _routed(config: type[BaseModel]) -> type[BaseModel]:
    route: Any = Route | None, Field(None, description="Which incidents it gets; default: all.")
    return create_model(config.__name__, __base__=config, __module__=config.__module__, route=route)


def open_channels(config: NotificationConfig, path: Path,
                  storage: StorageConfig | None = None,
                  clock: Callable[[], float] = time.time) -> list[Channel]:
    """The receivers that a configuration asks for, each with its route."""
    wanted, opened = dict(config.receivers()), []
    if storage is not None and storage.backend != "sqlite":
        wanted["elasticsearch"] = storage  # OpenSearch takes the same
    for name, options in wanted.items():
        route = getattr(options, "route", None)
        if isinstance(options, Mapping) and "route" in options:  # of a receiver without a model
            route = Route.from_any(options["route"])
            options = {key: value for key, value in options.items() if key != "route"}
        channel: Any = find(CHANNELS, name.split("#")[0])(options, str(path), clock=clock)
        if "#" in name:
            channel.name = name
        if isinstance(route, Route):
            channel.route = route
        opened.append(channel)
    return opened


class NotificationService:
    """Sends what lies in the outbox: a worker per channel, at least once, in order per incident.

    ``async with`` runs the workers; at its end they get ``grace`` seconds to send what is due.
    What is left then stays in the outbox for the next run.

    Parameters
    ----------
    config : NotificationConfig
    store : AlertStore
    storage : StorageConfig, optional
        With another ``backend`` than "sqlite", documents go there too.
    channels : sequence of Channel, optional
        Instead of those that the configuration asks for.
    clock : callable
        Wall clock, POSIX seconds.
    rng : random.Random
        Draws the pauses: uniform between 0 and ``retry_base * 2**(tries - 1)``, at most
        ``retry_cap`` ("full jitter": Brooker 2015), never less than a Retry-After.
    poll : float
        Seconds between two looks into the outbox when nobody calls `wake`.
    lease : float, optional
        Seconds after which the message of a worker that died is sent again; twice the channel's
        timeout and ten seconds by default.
    grace : float
        Seconds for what is due at the end.

    Attributes
    ----------
    counters : Counter
        Tries by (channel, "sent" | "retry" | "dead").

    Notes
    -----
    A receiver that is down for a week gets the week's messages when it is back; only one that
    refuses them (login, address) loses those that it refused for longer than ``give_up_after`` to
    the dead letters, which can be replayed.
    """

    def __init__(self, config: NotificationConfig, store: AlertStore, *,
                 storage: StorageConfig | None = None, channels: Sequence[Channel] | None = None,
                 clock: Callable[[], float] = time.time, rng: random.Random | None = None,
                 poll: float = 1.0, lease: float | None = None, grace: float = 5.0):
        self.config, self.store = config, store
        self.channels = (list(channels) if channels is not None
                         else open_channels(config, store.path, storage, clock))
        people = [_route(channel) for channel in self.channels if channel.name != "elasticsearch"]
        if people and (left := untaken(people)):
            log.warning("no receiver takes %s: what no route names is stored, and reported to "
                        "nobody", ", ".join(left))
        self.counters: Counter[tuple[str, str]] = Counter()
        self._clock, self._rng = clock, rng or random.Random()
        self._poll, self._lease, self._grace = poll, lease, grace
        self._workers: list[asyncio.Task] = []
        self._paused: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._closed = 0  # the last decision of an operator that was passed on
        self._trouble: dict[str, tuple[float, str]] = {}
        self._refused: Counter[str] = Counter()
        self._news: dict[str, asyncio.Event] = {}
        self._thread: Worker | None = None

    def rows(self, events: Sequence[IncidentEvent],
             verdicts: Sequence[Verdict] = ()) -> list[OutboxRow]:
        """Messages that a batch causes, for `AlertStore.commit`.

        Parameters
        ----------
        events : sequence of IncidentEvent
        verdicts : sequence of Verdict, default=()
            Those to be stored, for channels that keep documents.

        Returns
        -------
        list of OutboxRow
        """
        return [row for channel in self.channels for row in channel.rows(
            self._for(channel, events), verdicts if _route(channel) is _EVERYWHERE else [
                verdict for verdict in verdicts if _route(channel).takes(verdict)])]

    def _for(self, channel: Channel, events: Iterable[IncidentEvent]) -> list[IncidentEvent]:
        """What a receiver gets: what its route names, and what follows on something it got."""
        found, begun = [], set[str]()
        for event in events:
            incident = event.incident
            if event.kind == "close" and not event.notify and getattr(channel, "resolves", False):
                if incident.id in begun or self._began(channel, incident):
                    found.append(replace(event, notify=True))
            elif _route(channel).takes(incident) or incident.id in begun or (
                    event.n and self._began(channel, incident)):
                found.append(event)
                begun.update([incident.id] * event.notify)
        return found

    def _began(self, channel: Channel, incident: Incident) -> bool:
        """Whether a receiver knows of an incident, by the messages or, where they are deleted, by
        the events that are kept.
        """
        try:
            return channel.name in self.store.notified(incident.id) or any(
                event.notify and _route(channel).takes(event.incident)
                for event in self.store.events(incident.id))
        except sqlite3.Error:  # rather once too often
            return True

    def _close_by_hand(self) -> None:
        """Pass on what operators closed: the engine does not see it end, and may not even run."""
        for seq, incident in self.store.closed_by_hand(self._closed):
            steps = [step for step in self.store.events(incident) if step.kind == "close"]
            known = self.store.notified(incident)  # a new receiver hears nothing of old ones
            if rows := [row for row in self.rows(steps[-1:]) if row.channel in known]:
                self.store.record_events([], rows)
            self._closed = seq

    async def _say_again(self, channel: Channel) -> None:
        """Send what is open once more, to a receiver that takes it as over otherwise."""
        every, last = getattr(channel, "again", None), self._said.get(channel.name, -math.inf)
        now = self._clock()
        if not every or 0 <= now - last < every or now < self._paused.get(channel.name, 0.0):
            return
        self._said[channel.name] = now
        rows = await self._in_thread(self._open, channel)
        for at in range(0, len(rows), channel.batch):
            await self._send(channel, rows[at:at + channel.batch])

    def _open(self, channel: Channel) -> list[OutboxRow]:
        """What a receiver knows of, as it was reported last: nobody hears of more by this."""
        events = []
        for incident in self.store.incidents(state="open"):
            steps = [step for step in self.store.events(incident.id) if step.notify]
            if steps and self._began(channel, incident):
                reported = replace(steps[-1].incident, acknowledged=incident.acknowledged)
                events.append(replace(steps[-1], kind="repeat", incident=reported))
        return list(channel.rows(events, []))

    def trouble(self) -> dict[str, tuple[float, str]]:
        """Channels that take nothing: since when (wall clock, POSIX seconds), and why.

        A message that is refused for good says nothing about its channel, and counts as no try.
        """
        return dict(self._trouble)

    def wake(self) -> None:
        """Look into the outbox now; called after a commit, from the event loop's thread."""
        for wake in self._news.values():
            wake.set()

    async def __aenter__(self) -> Self:
        self._ending = False
        self._news = {channel.name: asyncio.Event() for channel in self.channels}
        self._workers = [asyncio.create_task(self._work(channel)) for channel in self.channels]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        self.wake()
        try:
            if self._workers:
                await asyncio.wait(self._workers, timeout=self._grace)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            await self.close()

    async def deliver_due(self) -> int:
        """Send what is due now, and what becomes due by that; return the number of tries."""
        return sum([await self._drain(channel) for channel in self.channels])

    async def close(self) -> None:
        """Close the connections of all channels and the worker's thread."""
        for channel in self.channels:
            try:
                await channel.close()
            except Exception as error:  # the others are closed all the same
                log.error("closing %s: %s", channel.name, type(error).__name__)
        if self._thread is not None:
            with suppress(TimeoutError):  # a locked store holds it up for longer than anybody waits
                await asyncio.wait_for(self._in_thread(lambda: None), self._grace)
            self._thread.stop()
            self._thread = None

    async def _work(self, channel: Channel) -> None:
        wake = self._news[channel.name]
        while True:
            wake.clear()
            last = self._ending  # read before the look: what was committed since is not missed
            try:
                await self._drain(channel)
            except Exception as error:  # locked, disk full: may pass, and nothing is lost
                says = error if isinstance(error, sqlite3.Error) else ""  # no secret in SQLite's
                log.error("outbox of %s: %s %s", channel.name, type(error).__name__, says)
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), self._poll)

    async def _drain(self, channel: Channel) -> int:
        tries = 0
        if getattr(channel, "resolves", False):
            await self._in_thread(self._close_by_hand)
        while rows := await self._in_thread(self._claim, channel):
            tries += len(rows)
            await self._in_thread(self.store.settle, await self._send(channel, rows))
        await self._say_again(channel)
        return tries

    def _claim(self, channel: Channel) -> list[OutboxRow]:
        now = self._clock()
        if now < self._paused.get(channel.name, 0.0):
            return []
        lease = self._lease or 2 * channel.timeout + 10
        return self.store.claim(channel.name, now, lease=lease, limit=channel.batch)

    async def _send(self, channel: Channel,
                    rows: Sequence[OutboxRow]
                    ) -> list[tuple[int, str, float, str | None, float | None]]:
        try:
            async with asyncio.timeout(2 * channel.timeout):  # within the lease
                outcomes = await channel.send(rows)
            if len(outcomes) != len(rows):
                raise LookupError
            if not all(isinstance(outcome, Outcome) for outcome in outcomes):
                raise TypeError
        except (Exception, asyncio.CancelledError) as error:  # its text might hold a secret
            if isinstance(error, asyncio.CancelledError) and cancelled():
                raise
            outcomes = [Outcome("retry", f"unforeseen {type(error).__name__}")] * len(rows)
        # One line for what failed in the same way: a bulk request has hundreds of messages.
        failed = Counter((o.state, o.detail) for o in outcomes if o.state != "sent")
        for (state, detail), count in failed.items():
            level, says = ((logging.ERROR, "refused for good") if state == "dead"
                           else (logging.WARNING, "did not take"))
            log.log(level, "%s %s %d of %d messages, %s (%s first)", channel.name, says, count,
                    len(rows), detail, rows[0].id)
        self._note(channel.name, rows, outcomes)
        return [self._result(channel.name, row, outcome)
                for row, outcome in zip(rows, outcomes, strict=True)]

    def _note(self, channel: str, rows: Sequence[OutboxRow], outcomes: Sequence[Outcome]) -> None:
        """Keep since when a channel takes nothing."""
        if any(outcome.state == "sent" for outcome in outcomes):
            self._trouble.pop(channel, None)
            self._refused[channel] = 0
        elif passing := [outcome for outcome in outcomes if outcome.state == "retry"]:
            self._refused[channel] += any(outcome.expires for outcome in passing)
            since = min(row.since or self._clock() for row in rows)
            known, _ = self._trouble.get(channel, (since, ""))
            self._trouble[channel] = min(known, since), str(passing[-1].detail)

    def _result(self, channel: str, row: OutboxRow,
                outcome: Outcome) -> tuple[int, str, float, str | None, float | None]:
        now, detail, state = self._clock(), outcome.detail, str(outcome.state)
        since = (row.since or now) if outcome.expires else None
        if since is not None and now - since >= self.config.give_up_after:
            state, detail = "dead", f"given up after {now - since:.0f} s: {detail}"
            log.error("%s: %s (%s)", channel, detail, row.id)
        self.counters[channel, state] += 1
        if state == "sent":
            return row.seq, "sent", 0.0, None, None
        if state == "dead":
            return row.seq, "dead", now + self.config.retry_cap, detail, since
        # A login or an address that is refused again and again is the channel's: its messages share
        # the pauses, so that no account is locked by their tries.
        shared = outcome.expires and self._refused[channel] > 3
        tries = max(row.attempts, self._refused[channel] if shared else 0)
        pause = self._rng.uniform(0.0, back_off(
            tries - 1, self.config.retry_base, self.config.retry_cap))
        pause += outcome.retry_after or 0.0
        rest = pause if shared else outcome.retry_after
        if rest is not None:  # the receiver means everybody, not this message
            self._paused[channel] = max(self._paused.get(channel, 0.0), now + rest)
        return row.seq, "pending", now + pause, detail, since

    def _in_thread(self, function: Callable[..., Any], *args: Any) -> asyncio.Future:
        if self._thread is None:  # one thread, one connection: the loop never waits for the disk
            self._thread = Worker("adlib-outbox")
        return self._thread.run(function, *args)


def _route(channel: Any) -> Route:
    return getattr(channel, "route", None) or _EVERYWHERE


_EVERYWHERE = Route()
__getattr__ = moved(__name__, {
    **{name: f"adlib.realtime.doors.http:{name}"
       for name in ("LONGEST_WAIT", "judge_status", "retry_after")},
    **{name: f"adlib.realtime.doors.slack:{name}"
       for name in ("SlackChannel", "SlackConfig", "slack_message")},
    **{name: f"adlib.realtime.doors.mail:{name}" for name in ("EmailChannel", "EmailConfig")},
    "describe": "adlib.realtime.doors.messages:describe"})
