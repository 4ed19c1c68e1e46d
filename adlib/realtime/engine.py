"""The live engine: samples in, judged windows out, one incident for one fault.

How samples become verdicts is in `adlib.realtime.judge`, how verdicts become incidents in
`adlib.realtime.incidents`; here they are driven by a stream, and committed batch by batch.
"""

import asyncio
import contextlib
import logging
import re
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import NotFittedError

from adlib.arguments import instance, listed, whole
from adlib.arguments import path as as_path
from adlib.reading.options import Reading, visible
from adlib.realtime import fitted
from adlib.realtime.budget import settled
from adlib.realtime.channels import Channel, attribute_faults
from adlib.realtime.config import (
    MEMBER_KEYS,
    AlertConfig,
    ConfigError,
    EngineConfig,
    ReadingConfig,
)
from adlib.realtime.counters import Counters, Tally
from adlib.realtime.doors import model, versions
from adlib.realtime.doors.checkpoint import pack, unpack
from adlib.realtime.doors.heartbeat import Heartbeat
from adlib.realtime.events import IncidentEvent, QualityEvent, Verdict
from adlib.realtime.health import Condition, Conditions
from adlib.realtime.inbox import Inbox, last_of, length_of
from adlib.realtime.incidents import AlertManager, Responses
from adlib.realtime.judge import Judge
from adlib.realtime.members import Member, Worker, back_off, forgiven
from adlib.realtime.models import ModelWatch, in_use
from adlib.realtime.monitor import Monitor, announce
from adlib.realtime.notify import NotificationConfig, NotificationService, open_channels
from adlib.realtime.sources import Source, opened
from adlib.realtime.store import AlertStore, StorageConfig, StoreGone
from adlib.realtime.streams import Fleet, Single, Stream
from adlib.realtime.traces import Trace
from adlib.realtime.windows import Blocks, Sample

log = logging.getLogger(__name__)

GRACE = 10.0  # seconds for the batch that is under way when a stream is left, and for its source
_ANSWERS = 1.0  # seconds in which a store that is well has answered
_UNCOMMITTED = 5_000  # samples at most: a queue waits for their acknowledgement
_OF_EACH = 20  # and of each stream, where that is more


class StoreError(Exception):
    """The alert store cannot be written, and patience is over."""


class RealTimeAnomalyDetector:
    """Judges a stream window by window, and raises one incident for one fault.

    Parameters
    ----------
    config : EngineConfig, mapping, or path of a YAML or JSON file
    channels : sequence of Channel
        Further receivers, beside those that the configuration names; they need
        ``alert_config.storage``, from which messages are sent.

    Attributes
    ----------
    responses : Responses
        Register handlers per severity and automated responses here.
    recognised : dict
        How the history was written: ``decimal``, ``time_column``, ``clock``, ``options`` that were
        given, ``notes``. It is saved too, and a stream is read so where the configuration and the
        stream itself leave it open.
    folder, version : Path or None, int
        Where the engine is saved, and which version of its model is at work.
    store : AlertStore or None
    features_ : list of str
    members : list of Member
        The detectors at work; ``members[0].model`` is the first one.
    position : int
        Last sequence number taken; -1 before the first.
    tally : Tally
        What became of the stream's rows.

    Notes
    -----
    The share of flagged windows is about ``alpha`` on a stream like the calibration rows, in the
    limit of long calibration; it is no promise for one that changes (see `DriftMonitor`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> config = {"deep_config": None, "detectors": ["PCAReconstruction"], "stat_config": None,
    ...           "window_size": 20, "stride": 5}
    >>> engine = RealTimeAnomalyDetector(config).fit(rng.normal(size=(8000, 3)))
    >>> live = rng.normal(size=(400, 3))
    >>> live[200:230] += 6
    >>> async def source():
    ...     for row in live:
    ...         yield row
    >>> async def flagged():
    ...     return [w["end"] async for w in engine.process_stream(source()) if w["is_anomaly"]]
    >>> asyncio.run(flagged())
    [204, 209, 214, 219, 224, 229, 234, 239]
    """

    def __init__(self, config: EngineConfig | Mapping[str, Any] | str | Path, *,
                 channels: Sequence[Channel] = ()):
        self.config = EngineConfig.from_any(config)
        self.channels = [_receiver(channel) for channel in listed(channels, "channels")]
        if self.channels and self.config.alert_config.storage is None:
            raise ValueError("channels need alert_config.storage: messages are sent from the alert "
                             "store")
        self.responses = Responses()
        self.recognised: dict[str, Any] = {}
        self.folder: Path | None = None
        self.version = 1
        self.store: AlertStore | None = None
        self.open_store: Callable[[Path], AlertStore] = AlertStore
        self._metrics = Counters(self.config.stream)
        self._service: NotificationService | None = None
        self._monitor: Monitor | None = None
        self._heartbeat: Heartbeat | None = None
        self._live = self._broken = False
        self._clock, self._wall = time.monotonic, time.time
        self._stopped = threading.Event()
        self._under_way: float | None = None  # since when a batch is judged
        self.store_trouble: tuple[float, str] | None = None  # since when (POSIX), and what
        self._asked: float | None = None  # since when the store has not answered

    # -- fit ----------------------------------------------------------------------------------

    @np.errstate(over="ignore", invalid="ignore")
    def fit(self, X_history: ArrayLike, time: ArrayLike | None = None,
            entity: ArrayLike | None = None) -> Self:
        """Train on the first part of a normal history, calibrate on what follows it in time.

        Parameters
        ----------
        X_history : array-like of shape (n_samples, n_features)
            In time order, one row per sample. Rows with missing values are left out.
        time : array-like of shape (n_samples,), optional
            POSIX seconds, for ``per``. Default: a DatetimeIndex, else the sampling period.
        entity : array-like of shape (n_samples,), optional
            Machine, patient or account that each row is of, for a fleet; rows of several may take
            turns.

        Raises
        ------
        ValueError
            When it does not fit the configuration, is too short for the window, for ``per``, or for
            ``alpha`` without ``extrapolate``.
        """
        self._take(fitted.fit(self.config, X_history, time, entity))
        return self

    def reset(self) -> None:
        """Begin a new stream; what was fitted stays, and so does what online detectors learned."""
        config = self.config
        self._manager = AlertManager(config.alert_config.incidents, alpha=config.alpha,
                                     context=self.context)
        self._streams: Single | Fleet = (Single if config.fleet is None else Fleet)(
            config, self._new_stream)
        if config.fleet is not None:
            self._manager.held = self._streams.health.held
            self._streams.health.silences = self._manager.silences
        self.tally = Tally()
        self._traces = list[Trace]()  # judged rows until their commit
        self._live = False
        # whose numbers the stream's are, and what is added to them; None: nobody's so far
        self._source: dict[str, Any] | None = None
        self._committed, self._due = -1, 0.0
        self._acks: list[tuple[int, Any]] = []
        self._ready: deque[Any] = deque()  # acknowledgements of what is committed
        self._reads: Any = None  # the source, while a stream is processed
        self._stored: list[Verdict] = []  # until the next commit
        self._faults: list[QualityEvent] = []
        self._news = Conditions(config.stream, config.alert_config.health,
                                config.alert_config.incidents, config.sampling_period)
        self._news.silences = self._manager.silences
        self._handed: deque[tuple[Self | None, Condition, int]] = deque()  # by the watch of models
        self._untold: list[Condition] = []  # until the next window
        self._reported: int | None = None  # last version of the model that was

    def _new_stream(self, entity: str | None) -> Stream:
        """A stream that begins, with the model that judges it."""
        model, own, judge = self._judging(entity)
        stream = Stream(self.config, model, entity, own)
        stream.judge = judge
        judge.begin(stream)
        stream.health.conditions.silences = self._manager.silences
        stream.health.conditions.held = self._manager.held
        return stream

    def _judging(self, entity: str | None) -> tuple[fitted.Fitted, slice | None, Judge]:
        """By which model a stream is judged, and which of its held-out rows, where not by all."""
        found, rows = (self._fitted, slice(None)) if entity is None else (
            self._fitted.judging(entity, self.config))
        return found, None if rows == slice(None) else rows, (
            self._judge if found is self._fitted else Judge(
                self.config, found, self._metrics, self._judge))

    def fork(self, config: EngineConfig | None = None, *, same_calibration: bool = False,
             **changes: Any) -> Self:
        """An independent copy at the start of a stream, without a store and without channels.

        Parameters
        ----------
        config : EngineConfig, optional
            In place of this one's.
        same_calibration : bool
            Entities of a fleet stay with the rows that they are judged by, whatever alpha is.
        **changes
            Of the configuration: budgets, alerts and the like; detectors and window stay.

        Returns
        -------
        RealTimeAnomalyDetector

        Raises
        ------
        ValueError
            When a change would need another fit, or is no valid configuration.
        """
        self._check_fitted()
        base = self.config if config is None else config
        base = base.model_copy(update={"alert_config": AlertConfig(
            incidents=base.alert_config.incidents, health=base.alert_config.health)})
        twin = type(self)(base.changed(**changes) if changes else base)
        before = self.config.model_dump(mode="json")
        fitted.check_same(before, twin.config)
        found = self._fitted.pinned(self.config) if same_calibration else self._fitted.copy()
        combine = twin.config.combine or "weighted"
        if combine != found.ensemble.combine and not same_calibration:
            found = replace(found, _least={})  # of other scores
        for one in (found, *found.models.values()):
            one.ensemble.combine = combine
        twin._take(found, before)
        return twin

    def _take(self, found: fitted.Fitted, before: Mapping[str, Any] | None = None) -> None:
        """Be fitted, at the start of a stream; ``before``: with which configuration."""
        self._given, accepted = self.config, None
        if before is not None:
            accepted = None if "extrapolate" in before else before.get("alpha")
            if not fitted.same_budget(before, self.config):
                found = replace(found, kept_alpha=None)
        self.config = settled(self.config, found, accepted)
        self._fitted, self.features_ = found, found.features
        self._judge = Judge(self.config, found, self._metrics)
        self.reset()

    @property
    def members(self) -> list[Member]:
        self._check_fitted()
        return self._judge.members

    @property
    def context(self) -> int:
        """Samples before a new one that its score uses, at most."""
        self._check_fitted()
        return self._fitted.context

    @property
    def entities(self) -> dict[str, str]:
        """Entities of a fleet's history; each is judged by "own model", "own rows" or "all rows".

        Those of all are held-out rows of all entities, as for an entity that the history lacks: see
        `FleetConfig`.
        """
        self._check_fitted()
        return self._fitted.judged_by(self.config)

    @property
    def position(self) -> int:
        self._check_fitted()
        return self._streams.order.position

    @property
    def reading(self) -> Reading:
        """How a stream is read: as configured, else as was given when the history was read."""
        found = ReadingConfig(**{**self.recognised.get("options", {}),
                                 **self.config.reading.given}).options()
        if found.feature_columns and {*found.feature_columns} != {
                *map(visible, self.features_)}:
            raise ValueError(f"feature_columns are not those of the history: "
                             f"{', '.join(self.features_)}")
        return found

    def prepare(self, source: Source) -> None:
        """Tell a source how the history was read, and of which entities it was."""
        if hasattr(source, "follow"):
            names = None if self.config.fleet is None else list(self._fitted.own)
            source.follow(self.reading, {**self.recognised, "fleet": names})

    def _opened(self, source: Source) -> Any:
        """Samples after the last commit; another source's numbers go on behind the last one's."""
        self.prepare(source)
        if hasattr(source, "heard"):
            source.heard = lambda: self._inbox.touch()
        position, identity = self.position, getattr(source, "identity", None)
        known = self._source or {"identity": identity, "offset": 0}
        offset = known["offset"]
        if known["identity"] != identity and position >= 0 and offset is not None:
            log.warning("stream %s: %s comes after %s: its first sample becomes number %d",
                        self.config.stream, identity or "a source without an identity",
                        known["identity"] or "one without an identity", position + 1)
            offset = None  # as soon as its first number is known
        elif known.get("mark") is not None and hasattr(source, "resume"):
            source.resume(known["mark"])
        self._source = {"identity": identity, "offset": offset}
        return opened(source, self.features_,
                      -1 if offset is None else max(position - offset, -1))

    def _marked(self) -> dict[str, Any] | None:
        """Whose numbers the stream's are, and what the source needs to go on after the last one."""
        if self._source is not None and hasattr(self._reads, "bookmark"):
            offset = self._source["offset"]
            self._source["mark"] = self._reads.bookmark(
                -1 if offset is None else self.position - offset)
        return self._source

    def _check_fitted(self) -> None:
        if not hasattr(self, "_fitted"):
            raise NotFittedError("this RealTimeAnomalyDetector is not fitted: call fit(X_history) "
                                 "or load(path)")

    # -- judging, without a clock ---------------------------------------------------------------

    def judge(self, items: Iterable[Any], *, flush: bool = False
              ) -> tuple[list[Verdict], list[QualityEvent]]:
        """Verdicts on the windows that these items complete; incidents are another step.

        Parameters
        ----------
        items : iterable of array (d,) or (k, d), or of Sample
        flush : bool
            The stream ends: see `StreamProcessor.push`.

        Returns
        -------
        verdicts : list of Verdict
        quality : list of QualityEvent
        """
        self._check_fitted()
        streams, blocks, quality = self._streams.push(items, flush=flush)
        found: list[Verdict] = []
        for judge in {id(stream.judge): stream.judge for stream in streams}.values():
            pairs = [(stream, block) for stream, block in zip(streams, blocks, strict=True)
                     if stream.judge is judge]
            some, parts = ([*each] for each in zip(*pairs, strict=True))
            verdicts = judge.judge(some, block := Blocks.joined(parts), quality)
            found += (verdict for mine in verdicts for verdict in mine)
            if self.store is not None:
                self._record(some, block, verdicts)
        return found, quality

    def _record(self, streams: list[Stream], block: Blocks, verdicts: list[list[Verdict]]) -> None:
        """Keep new rows as they were judged, for the next commit."""
        p, new = np.full(len(block.seq), np.nan), block.since >= 0
        p[block.ends] = [verdict.p_value for some in verdicts for verdict in some]
        code = np.repeat(np.arange(len(streams)), np.diff(block.begins))
        values = block.values[new]
        if block.left_out.any():
            values = np.where(block.missing[new], np.nan, values)
        self._traces.append(Trace(
            self.config.stream, tuple(self.features_), tuple(stream.entity for stream in streams),
            code[new], block.seq[new], block.time[new], values, p[new], self.config.alpha))

    # -- the stream -----------------------------------------------------------------------------

    async def process_stream(self, source: Source | AsyncIterator[Any], *,
                             start: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Judge a stream; each window comes out once its effects are committed.

        Parameters
        ----------
        source : Source, or async iterator of array (d,) or (k, d), or of Sample
            Any number of rows at a time. A `Source` is asked for what follows the last commit.
        start : int, optional
            Sequence number of the first row of arrays that bring none. Default: the stream goes on
            where it stopped, also after a restart. A source that begins again from its first row
            says 0; what was committed before is then recognised and skipped.

        Yields
        ------
        dict
            ``is_anomaly`` (None: not judged, which is not normal), ``score`` (calibrated severity
            in [0, 1]), ``severity``, ``p_value``, ``detectors`` (each one's own severity, None
            where it left the vote), ``left_out`` (what the window was judged without, as pairs:
            ("frozen", "temperature")), ``start``, ``end``, ``time``, ``top_features``,
            ``incident_id`` of the open incident, ``warm_up``, ``stream``, ``entity`` of a fleet.

        Raises
        ------
        RuntimeError
            When this engine processes a stream already, or stopped in the middle of a batch.
        """
        self._check_fitted()
        _check_stream(source, start)
        if self._live or self._broken:
            raise RuntimeError("this engine stopped in the middle of a batch: load it again to "
                               "continue after its last commit" if self._broken else
                               "this engine already processes a stream: fork it for another")
        self._live, self._monitor = True, None
        self._stopped.clear()
        config, worker = self.config, Worker(f"engine-{self.config.stream}")
        responses: asyncio.Queue = asyncio.Queue()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.close)
            stack.callback(worker.stop)
            stack.push_async_callback(self._leave, worker)  # where the store is being opened
            await worker.run(self._open_store)
            await self._begin(stack, source, start, responses)
            stack.push_async_callback(self._leave, worker)
            last = False
            while not last:
                waiting = self._committed < self.position or self._stored or self._faults
                items, lost, arrived, last = await self._inbox.take(
                    config.batch_windows * config.stride, config.batch_seconds,
                    max(self._due - self._clock(), 0.0) if waiting else None)
                self._acks += [(last_of(item), item.ack) for item in (*items, *lost) if item.ack]
                found, events = await worker.run(self._step, items, lost, last)
                await self._acknowledge()
                for event in events:
                    responses.put_nowait(event)
                if self._service is not None:
                    self._service.wake()
                if items:
                    self._metrics.latency.observe(time.perf_counter() - arrived)
                for window in found:
                    yield window
            await responses.join()
            self._inbox.raise_fault()

    async def _begin(self, stack: contextlib.AsyncExitStack, source: Any, start: int | None,
                     responses: asyncio.Queue) -> None:
        """Start what works beside the judge; ``stack`` ends it, the last one first."""
        config, samples, self._reads = self.config, source, source
        self._committed, self._acks = self.position, []
        self._ready.clear()
        if isinstance(source, Source):
            samples = self._opened(source)
            stack.push_async_callback(_close, samples)
        else:
            known = self._source or {"identity": None, "offset": 0}
            offset = known["offset"] if known["identity"] is None else 0
            if start is not None:
                offset = self.position + 1 - start if offset is None else offset
                start += offset
            self._source = {"identity": None, "offset": offset}
        self._inbox = Inbox(config.queue_size, config.overflow, self._metrics,
                            self.position + 1 if start is None else start,
                            self._source or {})
        if self._service is not None:
            await stack.enter_async_context(self._service)
        # nothing has happened the day after tomorrow
        self._streams.begin(self._wall() + 86_400)
        self._monitor = await stack.enter_async_context(Monitor(
            self._streams.health, self._inbox, self.tally, store=self.store, service=self._service,
            under_way=lambda: self._under_way, troubles=self._troubles,
            interval=self._streams.interval,
            patience=config.batch_seconds))
        if config.alert_config.heartbeat is not None:
            self._heartbeat = stack.enter_context(Heartbeat(
                config.alert_config.heartbeat, lambda: self.status()["ready"]))
        self._follow_model(stack)
        for work in (self._inbox.fill(samples, config.batch_windows * config.stride),
                     self._respond(responses)):
            stack.push_async_callback(_cancel, asyncio.create_task(work))

    def _troubles(self) -> list[Condition]:
        """What is wrong with the store and with those who are notified."""
        of = self.config.alert_config.health
        found = self._service.trouble() if self._service is not None else {}
        if self._heartbeat is not None and self._heartbeat.trouble is not None:
            found["heartbeat"] = self._heartbeat.trouble
        conditions = [Condition("channel", name, f"{name}: {what}", since, of.channel)
                for name, (since, what) in found.items()]
        waited = self._clock() - self._asked if self._asked is not None else 0.0
        if self.store_trouble is not None:
            since, what = self.store_trouble
            conditions.append(Condition("store", "", what, since, of.store))
        elif waited >= min(_ANSWERS, of.store):  # SQLite waits for a lock before it says so
            conditions.append(Condition("store", "", "the alert store does not answer",
                                  time.time() - waited, of.store))
        return conditions + self._streams.troubles(
            [member for member in self.members if member.failures], time.monotonic())

    def status(self) -> dict[str, Any]:
        """Whether the engine judges a stream as it should, as ``/health`` and ``/ready`` show it.

        Returns
        -------
        dict
            ``stream``, ``ready``, ``reasons`` (why not), and while a stream is processed
            ``position``, ``rows``, ``judged`` (windows), ``conditions`` (what is wrong now) and
            ``incidents`` (open ones of kind health).
        """
        if self._monitor is None or not self._live:
            return {"stream": self.config.stream, "ready": False,
                    "reasons": ["no stream is processed"]}
        return {"stream": self.config.stream, "position": self.position, **self._monitor.status()}

    async def _leave(self, worker: Worker) -> None:
        """Wait for the batch that is under way, commit what is judged, acknowledge it."""
        if self._stopped.is_set():
            return
        try:
            async with forgiven(f"stream {self.config.stream}: the last batch is left, and its "
                                f"samples come again", GRACE):
                await worker.run(self._keep, [], [], [], True)
                await self._acknowledge()
        finally:
            self._stopped.set()

    async def _acknowledge(self) -> None:
        """Tell the source what is committed; where that fails, the samples come again."""
        self._ready += [ack for seq, ack in self._acks if seq <= self._committed]
        self._acks = [entry for entry in self._acks if entry[0] > self._committed]
        while self._ready:
            async with forgiven(f"stream {self.config.stream}: acknowledging a sample", GRACE):
                while self._ready:
                    await self._ready.popleft()()

    def close(self) -> None:
        """End the detectors' threads; they begin again when they are needed."""
        for member in self._judge.members:
            member.stop()
        self._live = False

    async def _respond(self, events: asyncio.Queue) -> None:
        while True:
            event = await events.get()
            async with forgiven(f"response to {event.id}"):
                await self.responses.run([event])
            events.task_done()

    def _step(self, items: list[Sample], lost: list[Sample], flush: bool
              ) -> tuple[list[dict[str, Any]], list[IncidentEvent]]:
        """One micro-batch, from samples to the commit."""
        began, self._broken = time.perf_counter(), True
        self._under_way = time.monotonic()
        stream, before, streams = self.config.stream, self.position, self._streams
        while self._handed:
            self._take_over(*self._handed.popleft())
        if self.store is not None:
            operator = self._patiently(self.store.operator_state, stream, before)
            self._manager.apply(operator)
            for conditions in (*streams.troubled(), self._news):
                conditions.apply(operator)
        verdicts, quality = self.judge(streams.due(items, lost), flush=flush)
        quality += [streams.order.event("dropped", int(item.seq or 0), last_of(item), item.time,
                                        "the queue was full") for item in lost]
        events, found = [], []
        for verdict in verdicts:
            events += self._manager.step(verdict)
            found.append(self._window(verdict))
        health = streams.healths(verdicts, quality)
        if verdicts:
            health += self._news.observe(self._untold, max(v.time for v in verdicts), self.position)
            self._untold = []
        reported = [*events, *health]
        if verdicts and self.config.fleet is not None:
            now = median(v.time for v in verdicts)
            reported = streams.health.fold(reported, now, self._manager)
        events, health = reported[:len(events)], reported[len(events):]
        announce(health)
        self._broken = False
        self._keep(verdicts, reported, quality, flush)
        rows = sum(map(length_of, items))  # numbers may have holes
        self._metrics.count(min(self.position - before, rows), verdicts, reported, quality)
        self.tally.count(sum(map(length_of, [*items, *lost])), verdicts, quality)
        self._metrics.batch.labels(stream).observe(time.perf_counter() - began)
        self._under_way = None
        return found, events

    def _keep(self, verdicts: list[Verdict], events: list[IncidentEvent],
              quality: list[QualityEvent], at_once: bool) -> None:
        """Commit steps of incidents at once, with all that waits; the rest now and then."""
        position, storage = self.position, self.config.alert_config.storage
        if self._broken:  # nothing is known of what the last batch caused
            return
        if self.store is None or storage is None:
            self._committed = position
            return
        self._stored += [verdict for verdict in verdicts
                         if verdict.p_value <= self.config.alpha_stored]
        self._faults += quality
        if not (events or (self._stored or self._faults or position > self._committed) and (
                at_once or self._clock() >= self._due or position - self._committed
                >= max(_UNCOMMITTED, _OF_EACH * len(self._streams.all)))):
            return
        self._broken = True
        events = [*events, *self._forget()]
        rows = self._service.rows(events, self._stored) if self._service else []
        self._patiently(self.store.commit, self.config.stream, position, self._state(),
                        self._stored, events, self._faults, rows, self._traces,
                        storage.trace)
        self._traces = []
        self._stored, self._faults = [], []
        self._broken = False
        self._committed, self._due = position, self._clock() + min(
            storage.commit_seconds, getattr(self._reads, "commit_within", storage.commit_seconds))
        self.store.retain(self.config.stream, storage.retention)

    def _forget(self) -> list[IncidentEvent]:
        """Drop entities that were not seen for long; their incidents end."""
        gone = self._streams.forget()
        ended = [event for stream in gone for event in stream.health.conditions.drop()]
        ended = [*(event for stream in gone for event in self._manager.drop(stream.name)), *ended]
        self._streams.note(ended)
        return ended

    def _patiently(self, work: Callable[..., Any], *args: Any) -> Any:
        """Ask the store again where its fault may pass (locked, disk full), for a stated time."""
        storage = self.config.alert_config.storage or StorageConfig()
        began, tries = self._clock(), count()
        while not self._stopped.is_set():
            try:
                self._asked = self._clock()
                found = work(*args)
                self._asked = None
                if self.store_trouble is not None:
                    log.warning("alert store %s is back", storage.path)
                    self.store_trouble = None
                return found
            except (sqlite3.OperationalError, OSError) as error:
                what = f"alert store {storage.path}: {error}"
                if self.store is None and not re.search("locked|full|disk I/O", str(error)):
                    raise  # wrongly named, or not ours: no fault that passes
                if isinstance(error, StoreGone):
                    raise StoreError(str(error)) from error
                if self._clock() - began >= storage.patience:
                    raise StoreError(f"{what}, for {storage.patience:g} s: check the disk "
                                     f"and who holds the file, then start again") from error
                if self.store_trouble is None:
                    log.error("%s: trying again for %g s", what, storage.patience)
                    self.store_trouble = time.time() - (self._clock() - began), what
            self._stopped.wait(back_off(next(tries), 0.05, 10.0))
        raise StoreError("the stream was left before what was judged could be kept")

    def _window(self, verdict: Verdict) -> dict[str, Any]:
        stream = self._streams.named(verdict.stream)
        incident = self._manager.incident(verdict.stream)
        unknown = verdict.p_value != verdict.p_value
        return {
            "is_anomaly": verdict.is_anomaly, "score": None if unknown else verdict.score,
            "severity": verdict.severity, "p_value": None if unknown else verdict.p_value,
            "detectors": verdict.detectors, "left_out": verdict.left_out,
            "start": verdict.start, "end": verdict.end, "time": verdict.time,
            "top_features": verdict.top_features, "incident_id": incident and incident.id,
            "warm_up": verdict.end - (stream.processor.first or 0) < self.config.warm_up,
            "stream": verdict.stream, "entity": stream.entity}

    # -- state ----------------------------------------------------------------------------------

    def _open_store(self) -> None:
        alerts = self.config.alert_config
        if alerts.storage is None:
            return
        store = self.store or self._patiently(self.open_store, alerts.storage.path)
        store.wait_for_locks(1.0)  # what lasts longer is a trouble, which is reported
        if self.store is None:
            try:
                saved = self._patiently(store.restore, self.config.stream)
                if saved is not None:
                    self._restore(*saved)
                elif self.position < 0 <= (
                        last := self._patiently(store.last_sample, self.config.stream)):
                    log.warning("stream %s has no checkpoint and starts again: its first sample "
                                "becomes number %d", self.config.stream, last + 1)
                    self._streams.skip(last)
                    self._source = {"identity": None, "offset": None}
            except (LookupError, TypeError, ValueError) as error:
                store.close()
                raise store.damaged(self.config.stream, error) from error
            self.store = store
        notification = alerts.notification or NotificationConfig()
        channels = [*open_channels(notification, self.store.path, alerts.storage), *self.channels]
        names = [channel.name for channel in channels]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two channels are named {twice.pop()!r}: messages are stored under "
                             f"the name, so give one of them another")
        if channels:
            self._service = NotificationService(notification, self.store, channels=channels)

    def _state(self) -> bytes:
        """All that later verdicts and incidents depend on."""
        return pack({"model": self._fingerprint(), "cut": self._cut(), "source": self._marked(),
                     "manager": self._manager.state(), **self._streams.state(),
                     "news": {"version": self.version, "reported": self._reported,
                              "conditions": self._news.state(),
                              "untold": [asdict(condition) for condition in self._untold]}})

    def _restore(self, position: int, state: bytes) -> None:
        saved = unpack(state)
        self._source = saved.get("source")
        same = saved["model"] == self._fingerprint()
        try:
            self._streams.restore(saved, same, saved.get("cut") == self._cut())
        except (LookupError, TypeError, ValueError) as error:  # an earlier adlib's, or damaged
            log.warning("checkpoint of stream %s is of an earlier version or damaged (%s: %s): its "
                        "windows start again after it", self.config.stream,
                        type(error).__name__, error)
            self._streams.skip(position)
            same = False
        self._manager.restore(saved["manager"])
        self._restore_news(saved.get("news"))
        if not same:
            log.warning("stream %s continues after sample %d with another model",
                        self.config.stream, position)

    def _cut(self) -> list[Any]:
        """What another model must agree in, to go on with the samples that are kept."""
        return [[*self.features_], self.config.window_size, self.config.stride]

    # -- another model --------------------------------------------------------------------------

    def _follow_model(self, stack: contextlib.AsyncExitStack) -> None:
        """Let a thread see which version is in use, and whether a new one is wanted."""
        if self.folder is not None:
            watch = stack.enter_context(ModelWatch(
                self.folder, self.version, self._reported, self.config, self.store, self._another,
                lambda *what: self._handed.append(what)))
            self._reported = watch.reported
        if self.config.refit is not None and (self.folder is None or self.store is None):
            log.warning("stream %s: refit fits no model: it needs a saved engine and "
                        "alert_config.storage", self.config.stream)

    def _another(self, version: int) -> Self:
        """This engine as it would begin with another version of its model."""
        assert self.folder is not None  # it has versions
        found = self._loaded(versions.place(self.folder, version), self._given)
        if found._cut() != self._cut():
            raise ValueError(f"it is of {', '.join(found.features_)}")
        found.version = version
        found._judge = Judge(found.config, found._fitted, self._metrics)
        return found

    def _take_over(self, found: Self | None, condition: Condition, reported: int) -> None:
        """Report what became of a version of the model, and judge by it from here on."""
        self._untold, self._reported = [*self._untold, condition], reported
        if found is None:
            return
        for member in [member for stream in self._streams.all for member in stream.judge.members]:
            member.stop()
        self.config, self.version = found.config, found.version
        self._fitted, self._judge = found._fitted, found._judge
        self._manager.alpha, self._manager.context = self.config.alpha, self.context
        judged: dict[int, tuple[Judge, list[Stream]]] = {}
        for stream in self._streams.all:
            model, own, stream.judge = self._judging(stream.entity)
            stream.renew(self.config, model, own)
            stream.judge.begin(stream)
            judged.setdefault(id(stream.judge), (stream.judge, []))[1].append(stream)
        for judge, streams in judged.values():
            judge.warm(streams)

    def _restore_news(self, saved: Mapping[str, Any] | None) -> None:
        """Report that another version is in use than at the last commit."""
        if saved is None:  # by an earlier adlib
            return
        self._reported = saved["reported"]
        self._untold = [Condition(**record) for record in saved["untold"]]
        self._news.restore(saved["conditions"])
        if saved["version"] != self.version and self.folder is not None:
            self._untold.append(in_use(versions.current(self.folder), saved["version"]))

    def _fingerprint(self) -> int:
        return zlib.crc32(self._fitted.held_out.tobytes(), self.config.window_size)

    def save(self, path: str | Path) -> Path:
        """Write what was fitted to a folder, whole or not at all; no secret goes there.

        Raises
        ------
        FileExistsError
            When ``path`` exists and is no saved engine.
        """
        self._check_fitted()
        path = as_path(path, "path")
        model.save(path, self._fitted, self.config, self.recognised)
        if self.folder is None:
            self.folder, self.version = path, 1
        return path

    @classmethod
    def load(cls, path: str | Path,
             config: EngineConfig | Mapping[str, Any] | str | Path | None = None, *,
             channels: Sequence[Channel] = ()) -> Self:
        """An engine that `save` wrote, by the version of its model that is in use.

        Parameters
        ----------
        path : path
        config : optional
            Budgets, alerts and the like may differ from those at fit; detectors and window may not.
            Default: as saved, without alerts (they may hold secrets).
        channels : sequence of Channel
            Further receivers.

        Returns
        -------
        RealTimeAnomalyDetector

        Raises
        ------
        FileNotFoundError, ValueError
            When ``path`` is no saved engine, is damaged, or does not go with ``config``.
        """
        folder = as_path(path, "path")
        version = versions.current(folder).version
        try:
            engine = cls._loaded(versions.place(folder, version), config, channels)
        except (FileNotFoundError, ValueError) as error:
            if version == 1 or isinstance(error, ConfigError):
                raise
            raise ValueError(f"version {version} of the model is chosen and cannot be used: {error}"
                             f"; `python -m adlib.realtime model {folder} rollback` goes back, "
                             f"`use N` to another one") from error
        engine.folder, engine.version = folder, version
        return engine

    @classmethod
    def _loaded(cls, folder: Path, config: Any, channels: Sequence[Channel] = ()) -> Self:
        """An engine from a folder that holds one version."""
        saved, arrays = model.read(folder)
        foreign = [name for name in model.detectors_in(saved["config"]) if ":" in str(name)
                   and not str(name).startswith(("adlib.", "sklearn."))]
        if config is None and foreign:
            raise ValueError(f"{folder} names the detector {foreign[0]!r}, and a file must not "
                             f"make Python import it: hand in config= with it")
        given = EngineConfig.from_any(saved["config"] if config is None else config)
        if not given.names_members and not foreign:  # those of the model, whatever is the default
            asked = given.combine if "combine" in given.model_fields_set else None
            given = given.changed(combine=asked or saved["config"].get("combine", "weighted"), **{
                key: saved["config"].get(key) for key in MEMBER_KEYS})
        engine = cls(given, channels=channels)
        fitted.check_same(saved["config"], engine.config)
        engine.recognised = dict(saved.get("reading") or {})
        engine._take(model.load(folder, saved, arrays, engine.config), saved["config"])
        return engine

    def metrics_text(self) -> str:
        """Counters and gauges in Prometheus' text format."""
        live, said = self._live and self._monitor, self.status()
        backlog = (live or self.store).backlog() if self.store is not None else {}
        off = {m.name: m.off for m in self.members} if hasattr(self, "_fitted") else {}
        return self._metrics.text(said["ready"], said.get("incidents", ()), backlog, off)


async def _cancel(task: asyncio.Task) -> None:
    task.cancel()
    if not (await asyncio.wait([task], timeout=GRACE))[0]:
        log.error("%s does not end when it is cancelled", task.get_coro())


async def _close(samples: Any) -> None:
    async with forgiven("closing the source", GRACE):
        await samples.aclose()


def _receiver(channel: Any) -> Channel:
    if faults := attribute_faults(instance(channel, "channels", Channel)):
        raise ValueError(f"channels holds {channel!r:.80}, which breaks a promise: {faults[0]}")
    return channel


def _check_stream(source: Any, start: Any) -> None:
    if isinstance(source, type) or not isinstance(source, Source | AsyncIterable):
        raise TypeError(f"source must be a Source or an async iterator of rows, as "
                        f"adlib.realtime.replay(X) makes one of an array, got {source!r:.80}")
    if start is not None:
        whole(start, "start", 0)
