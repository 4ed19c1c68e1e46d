"""What an engine keeps of each stream, and which rows belong to which.

A *fleet* holds a stream for each entity (machine, patient, account): `Fleet`. An engine that is no
fleet has one: `Single`. The source's numbers say what was taken; each stream of a fleet counts its
own rows. The rows of an entity wait until they complete a window, and then cost once what a single
row costs.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adlib.realtime.clock import stamps_of
from adlib.realtime.config import EngineConfig
from adlib.realtime.doors.checkpoint import stacked, unstacked
from adlib.realtime.events import Incident, IncidentEvent, QualityEvent, Verdict, stream_of
from adlib.realtime.fitted import LONGEST, Fitted
from adlib.realtime.health import PEAKS, Condition, Conditions, StreamHealth, listed, several
from adlib.realtime.inbox import length_of
from adlib.realtime.members import Member
from adlib.realtime.watch import DriftWatch
from adlib.realtime.windows import (
    Block,
    Order,
    Rows,
    Sample,
    StreamProcessor,
    labels_of,
    numbers_of,
)

log = logging.getLogger(__name__)

_RINGS = ("seq", "time", "values", "left_out")  # of a processor: the last samples
_LEAST, _MESSAGES, _LEARNED = 60.0, 3, 3600.0  # "auto" of silent: as no_data has it


class Stream:
    """One stream of an engine; `adlib.realtime.judge.Judge.begin` makes it ready to be judged.

    Parameters
    ----------
    config : EngineConfig
    fitted : Fitted
    entity : str, optional
        Of a fleet. None: the only stream of its engine.

    Attributes
    ----------
    name : str
        Of its verdicts and incidents.
    processor : StreamProcessor
    health : StreamHealth
    tails : ndarray of shape (k, n_members)
        Scores of the last samples, which open windows still need.
    drift : DriftWatch
    members : list of Member
        Its own where they learn from it, else those of all streams.
    judge : Judge
    own : slice or None
        Held-out rows by which it is judged, where they are not all.
    refused : set of int
        Members that fail on its samples.
    lost : int
        Rows that the queue dropped since its last one.
    """

    tails: Rows
    drift: DriftWatch
    members: list[Member]
    judge: Any

    def __init__(self, config: EngineConfig, fitted: Fitted, entity: str | None = None,
                 own: slice | None = None):
        self.entity, self.name = entity, stream_of(config.stream, entity)
        self.processor = StreamProcessor(
            config.window_size, config.stride, n_features=len(fitted.features), hold=config.hold,
            stuck=_stuck(config, fitted), reorder=config.reorder if entity is None else 0,
            period=config.sampling_period, stream=self.name, features=fitted.features,
            context=_reach(config, fitted))
        self.health = StreamHealth(
            self.name, fitted.features, config.alert_config.health,
            config.alert_config.incidents, window_size=config.window_size, stride=config.stride,
            context=fitted.context, warm_up=config.warm_up, period=config.sampling_period)
        self.own = own
        self.refused, self.lost = set[int](), 0

    def renew(self, config: EngineConfig, fitted: Fitted, own: slice | None) -> None:
        """Go on for another model: samples and incidents stay, what drifted begins anew."""
        self.processor.renew(_stuck(config, fitted), _reach(config, fitted))
        self.health.renew(fitted.context)
        self.own, self.refused = own, set()

    def state(self) -> dict[str, Any]:
        """All that its later verdicts and incidents depend on."""
        return {"processor": self.processor.state(), "health": self.health.state(),
                **self.judge.state(self)}

    def restore(self, saved: Mapping[str, Any], same: bool, fits: bool) -> None:
        """Go on where another one was.

        With another model, its members begin with the samples that are kept, or where these do not
        fit the model, after them.
        """
        if "health" in saved:  # a checkpoint of an earlier adlib has none
            self.health.restore(saved["health"])
        if same:
            self.judge.restore(self, saved)
        if not (same or fits):
            self.processor.skip(saved["processor"]["next"] - 1)
            return
        self.processor.restore(saved["processor"])
        if not same:
            self.health.renew()  # what drifted was another model's score
            self.judge.warm([self])


def _stuck(config: EngineConfig, fitted: Fitted) -> Any:
    """Samples that each feature may stay the same."""
    return (None if config.stuck == "never" else config.stuck if config.stuck != "auto"
            else 2 * fitted.longest + 10)


def _reach(config: EngineConfig, fitted: Fitted) -> int:
    """Samples that are kept: where models change, all that scores of a whole window need."""
    return fitted.context + (config.window_size - 1 if config.refit else 0)


class Single:
    """The only stream of an engine that is no fleet.

    Parameters
    ----------
    config : EngineConfig
    begin : callable
        Makes the stream of an entity.
    """

    def __init__(self, config: EngineConfig, begin: Callable[[str | None], Stream]):
        self.all = [begin(None)]
        self.order: Order = self.all[0].processor
        self.health: Any = self.all[0].health

    def begin(self, latest: float) -> None:
        """A source is read now; no clock is set to what lies behind ``latest``."""
        self.all[0].processor.clock.latest = latest

    def named(self, name: str) -> Stream:
        """The stream that a verdict is of."""
        return self.all[0]

    def due(self, items: list[Sample], lost: list[Sample]) -> list[Sample]:
        """What is to be pushed, of what came and of what the queue dropped."""
        return items

    def push(self, items: Iterable[Any], *, flush: bool = False
             ) -> tuple[list[Stream], list[Block], list[QualityEvent]]:
        """Blocks that items complete, and the streams that they are of; what is wrong with them.

        Parameters
        ----------
        items : iterable of array (d,) or (k, d), or of Sample
        flush : bool
            The stream ends.
        """
        block = self.all[0].processor.push(items, flush=flush)
        return ([], [], []) if block is None else (self.all, [block], [*block.events])

    def interval(self) -> float:
        """Usual seconds between two rows."""
        clock = self.order.clock
        return median(clock.intervals or [clock.period])

    def troubled(self) -> list[Conditions]:
        """Where operators may have acknowledged or closed something."""
        return [self.all[0].health.conditions]

    def healths(self, verdicts: list[Verdict], quality: list[QualityEvent]) -> list[IncidentEvent]:
        """Steps of health incidents that verdicts and data-quality events cause."""
        return self.all[0].health.step(verdicts, quality, self.order.first or 0)

    def troubles(self, failing: list[Member], now: float) -> list[Condition]:
        """What is wrong with a fleet now, as conditions on the wall clock."""
        return []

    def note(self, events: Iterable[IncidentEvent]) -> None:
        """Nothing is known beside the stream's own health."""

    def forget(self) -> list[Stream]:
        """Drop streams of entities that were not seen for long."""
        return []

    def skip(self, position: int, last: int | None = None) -> None:
        """Begin after this number, knowing nothing of what came before; its own rows after it."""
        self.order.skip(position)

    def state(self) -> dict[str, Any]:
        """All that later verdicts and incidents depend on."""
        return self.all[0].state()

    def restore(self, saved: Mapping[str, Any], same: bool, fits: bool) -> None:
        """Go on where a checkpoint was: see `Stream.restore`."""
        self.all[0].restore(saved, same, fits)


class _Part(NamedTuple):
    """What is known of an incident of an entity, which people are or would be notified of."""

    stream: str
    kind: Any
    cause: str
    severity: Any
    time: float


class FleetHealth(Conditions):
    """Health of a fleet as a monitor asks for it, and the open incidents of all its streams.

    Where more than ``together`` entities open incidents of one kind within a minute, or a window
    where that is longer, people are notified of one incident of the fleet in their place: `fold`.
    """

    def __init__(self, fleet: "Fleet", config: EngineConfig):
        alerts = config.alert_config
        super().__init__(config.stream, alerts.health, alerts.incidents, None)
        self.conditions, self.window, self._fleet = self, config.window_size, fleet
        self.together = config.fleet.together if config.fleet else 0
        self.others: dict[str, Incident] = {}
        self._alone: dict[str, _Part] = {}  # of which people were notified one by one
        self._folds: dict[str, tuple[float, list[str]]] = {}  # by kind: since when, and why

    def fold(self, events: list[IncidentEvent], now: float, manager: Any) -> list[IncidentEvent]:
        """What people are notified of, where many entities have the same trouble.

        Incidents that the fold holds are stored and not reported; those that go on when it ends
        are reported then. It ends when no more than ``together`` entities have had one open for
        ``after`` seconds. Later incidents join it where they come with its first ones, have the
        same leading feature or condition, or are as many again.

        Parameters
        ----------
        events : list of IncidentEvent
            Of a batch, not committed yet.
        now : float
            Event time of the batch.
        manager : AlertManager
            Of the anomalies.

        Returns
        -------
        list of IncidentEvent
            The same, and behind them those of the fleet.
        """
        fresh, news = self._take(events)
        folded = self.observe([condition for kind in self._folds for condition in self._several(
            kind, kind in news)], now, self._fleet.position)
        fresh &= self.held.keys()
        for k, event in enumerate(events):
            if event.notify and (of := event.incident).id in fresh:
                events[k] = (manager if of.kind == "anomaly" else self._fleet.named(
                    of.stream).health.conditions).withhold(event)
        for kind in [kind for kind in self._folds if not self.knows("several", "", kind)]:
            del self._folds[kind]
            for name in [name for name, part in self.held.items() if part.kind == kind]:
                del self.held[name]
        self.note(events)
        return [*events, *folded]

    def _take(self, events: list[IncidentEvent]) -> tuple[set[str], set[str]]:
        """Follow incidents; those that are reported for the first time, and kinds with news."""
        fresh, news = set[str](), set[str]()
        for event in sorted(events, key=lambda event: event.time):
            of, name = event.incident, event.incident.id
            known = self.held if name in self.held else self._alone
            if name in known:
                known[name] = known[name]._replace(severity=of.severity)
            elif event.notify and event.kind != "close":
                fresh.add(name)
                cause = (next(iter(dict(of.top_features)), "") if of.kind == "anomaly" else
                         name.split("|")[1].removeprefix("health."))
                self._alone[name] = _Part(of.stream, of.kind, cause, of.severity, event.time)
                news |= self._join(of.kind, event.time)
        return fresh, news

    def _join(self, kind: str, now: float) -> set[str]:
        """Fold what is reported one by one, where it is too much or belongs to what is folded."""
        since, causes = self._folds.get(kind, (-math.inf, []))
        span = max(_LEAST, self.window * len(self._fleet.all) * self._fleet.interval())
        near = {name: part for name, part in self._alone.items()
                if part.kind == kind and abs(now - part.time) <= span}
        if not (many := len({part.stream for part in near.values()}) > self.together):
            near = {name: part for name, part in near.items()
                    if part.cause in causes or part.time - since <= span}
        if near:
            self._folds[kind] = (since if causes else min(part.time for part in near.values()),
                                 sorted({*causes, *(part.cause for part in near.values())}))
            self.held.update(near)
            self._alone = {name: part for name, part in self._alone.items() if name not in near}
        return {kind} if many and causes else set()

    def _several(self, kind: Any, news: bool) -> list[Condition]:
        parts = [part for part in self.held.values() if part.kind == kind]
        names = dict.fromkeys(self._fleet.named(part.stream).entity or "" for part in parts)
        causes = [cause for cause, _ in Counter(part.cause for part in parts).most_common(5)]
        return [Condition(
            "several", "", f"{len(names)} of {len(self._fleet.all)} entities at once ({kind}: "
            f"{', '.join(causes)}): {listed([*names])}", self._folds[kind][0], kind=kind, news=news,
            severity=max((part.severity for part in parts), key=PEAKS.__getitem__))
            ] if len(names) > self.together else []

    def apply(self, operator: Mapping[str, Any]) -> None:
        super().apply(operator)
        for known in (self.held, self._alone, self.others):
            for name in operator.get("closed", ()):
                known.pop(name, None)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "known": [self.held, self._alone], "folds": self._folds}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        for mine, parts in zip((self.held, self._alone), state["known"], strict=True):
            mine.update({name: _Part(*part) for name, part in parts.items()})
        self._folds = {kind: tuple(fold) for kind, fold in state["folds"].items()}

    def note_open(self, streams: Iterable[Stream]) -> None:
        """Take over what a checkpoint has left open."""
        self.others = {incident.id: incident for stream in streams
                       for incident in stream.health.conditions.open}

    def note(self, events: Iterable[IncidentEvent]) -> None:
        """Follow health incidents of the entities."""
        for event in events:
            if event.kind == "close":
                for known in (self.others, self.held, self._alone):
                    known.pop(event.incident.id, None)
            elif event.incident.kind == "health":
                self.others[event.incident.id] = event.incident

    @property
    def open(self) -> list[Incident]:
        return [incident for incident in [*super().open, *list(self.others.values())]
                if incident.kind == "health"]

    def overdue(self, rows: int) -> bool:
        """Whether windows should have been judged of so many rows of all streams."""
        some = self._fleet.all
        if not some:  # nobody knows whose the rows are
            return rows > self.window
        return some[0].health.overdue(rows // len(some)) and not self.blind()

    def blind(self) -> list[str]:
        """Why most streams are not judged."""
        found = [incident.detail for incident in self.open if incident.condition == "not_judging"]
        return found[:1] if 2 * len(found) > len(self._fleet.all) else []


class Fleet(Order):
    """Streams of many entities, numbered together by their source.

    Parameters
    ----------
    config : EngineConfig
        With ``fleet``.
    begin : callable
        Makes the stream of an entity.

    Attributes
    ----------
    all : list of Stream
    health : FleetHealth
    """

    def __init__(self, config: EngineConfig, begin: Callable[[str | None], Stream]):
        super().__init__(config.reorder, config.sampling_period, config.stream)
        assert config.fleet is not None
        self._config, self._begin, self._of = config, begin, config.fleet
        self.order: Order = self
        self.health: Any = FleetHealth(self, config)
        self._latest = math.inf  # of the clocks
        self._codes: dict[str, int] = {}
        self.all: list[Stream] = []
        self._names: dict[str, Stream] = {}
        self._floor = 0  # first number of a new stream, so that none comes twice
        # of each stream: rows that wait, rows that the next window takes, when it was heard of
        # (the second clock and POSIX), its longest wait of late
        self._count, self._need = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._heard, self._seen, self._gap = np.zeros(0), np.zeros(0), np.zeros(0)
        self._chunks: list[tuple[NDArray, NDArray, NDArray]] = []  # codes, times, values: they wait
        self._stamped, self._full = True, 0.0
        self._now, self._wall = time.monotonic, time.time

    # -- rows in ------------------------------------------------------------------------------

    def named(self, name: str) -> Stream:
        """The stream that a verdict is of."""
        return self._names[name]

    def due(self, items: list[Sample], lost: list[Sample]) -> list[Sample]:
        """What is to be pushed: what the queue dropped has no columns, and leaves gaps."""
        return sorted([*items, *lost], key=lambda item: item.seq or 0) if lost else items

    def push(self, items: Iterable[Any], *, flush: bool = False
             ) -> tuple[list[Stream], list[Block], list[QualityEvent]]:
        """Blocks that items complete, and the streams that they are of; what is wrong with them."""
        events: list[QualityEvent] = []
        loads: dict[int, list[Sample]] = {}
        for seq, times, rows, (values, codes, why) in self._ordered(items, flush, events):
            part = slice(rows[0], rows[-1] + 1)
            codes, values = codes[part], values[part]
            for k, reason in why.items():
                if reason and k in rows:
                    events.append(self.event("poison", seq + k - rows[0], seq + k - rows[0], times,
                                             reason))
            self._hear(codes)
            plain = (isinstance(values, np.ndarray) and values.dtype == np.float64
                     and values.shape[1:] == (self._width,))
            if not plain or self._stamped != (times is not None):
                self._load(loads, everything=True)
                self._stamped = times is not None
            if plain:
                self._wait(codes, times, values)
                continue
            for k, code in enumerate(codes.tolist()):
                if code >= 0:
                    loads.setdefault(code, []).append(Sample(
                        None, None if times is None else times[k], values[k]))
        self._load(loads, everything=flush)
        streams, blocks = [], []
        for code, samples in sorted(loads.items()):
            stream = self.all[code]
            block = stream.processor.push(self._numbered(stream, samples), flush=flush)
            self._need[code] = stream.processor.rows_to_window
            if block is not None:
                streams.append(stream)
                blocks.append(block)
                events += block.events
        return streams, blocks, events

    @staticmethod
    def _numbered(stream: Stream, samples: list[Sample]) -> list[Sample]:
        """Samples, behind a gap for rows that the queue lost: they have no columns."""
        seq, found = stream.processor.position + 1 + stream.lost, []
        for sample in samples:
            if gone := getattr(sample.values, "shape", None) == (0,):
                stream.lost += 1
            else:
                found.append(Sample(seq, sample.time, sample.values))
                stream.lost = 0
            seq += 1 if gone else length_of(sample)
        return found

    @property
    def _width(self) -> int:
        return self.all[0].processor.n_features or 0 if self.all else 0

    def _is_single(self, sample: Sample) -> bool:
        values, stamp = sample.values, sample.time
        return (type(values) is np.ndarray and values.shape == (self._width,)
                and values.dtype == np.float64 and (stamp is None or type(stamp) is float)
                and isinstance(sample.entity, str))

    def _read(self, sample: Sample) -> tuple[NDArray, Any, str, Any]:
        n = length_of(sample)
        values: Any = None
        with suppress(OverflowError, TypeError, ValueError):
            values = np.atleast_2d(numbers_of(sample.values))
        if values is None or len(values) != n:  # what its stream calls poison
            values = [sample.values] if n == 1 else np.asarray(sample.values, object)
        labels = labels_of(sample.entity, n)
        if len(labels) != n:
            return np.arange(n), None, f"{len(labels)} entities for {n} rows", (
                values, np.full(n, -1), {})
        codes, why = [self._codes.get(name, -1) if type(name) is str else -1
                      for name in labels], dict[int, str]()
        for k in np.flatnonzero(np.array(codes) < 0).tolist():
            codes[k], why[k] = self._code(labels[k])
        times = None if sample.time is None else stamps_of(sample.time, n)
        return np.arange(n), times, "", (values, np.array(codes, np.int64), why)

    def _code(self, name: Any) -> tuple[int, str]:
        """Place of a stream, made where it is new; -1 and why there is none."""
        if name is None or isinstance(name, str) and not name:
            return -1, "no entity"
        if not isinstance(name, str) or len(name) > LONGEST:
            found = f"{len(name)} characters" if isinstance(name, str) else type(name).__name__
            return -1, f"entity must be a text of at most {LONGEST} characters, got {found}"
        if (name := str(name)) in self._codes:
            return self._codes[name], ""
        if len(self.all) >= self._of.max_entities:
            self._full = self._wall()
            return -1, (f"more than max_entities={self._of.max_entities:,} entities, the first of "
                        f"the others is {name[:80]!r}")
        stream = self._begin(name)
        if self._floor:  # on the same grid of windows
            stream.processor.skip(-(-self._floor // self._config.stride) * self._config.stride - 1)
        return self._add(stream), ""

    def _add(self, stream: Stream) -> int:
        assert stream.entity is not None
        code = self._codes[stream.entity] = len(self.all)
        self.all.append(stream)
        self._names[stream.name] = stream
        stream.processor.clock.latest = self._latest
        if code >= len(self._count):
            more = max(64, code)
            for name in _OF_STREAMS:
                array = getattr(self, name)
                setattr(self, name, np.append(array, np.zeros(more, array.dtype)))
        self._need[code] = stream.processor.rows_to_window
        self._count[code], self._gap[code] = 0, 0.0
        self._heard[code], self._seen[code] = self._now(), self._wall()
        return code

    def _hear(self, codes: NDArray[np.int64]) -> None:
        known = np.unique(codes[codes >= 0])
        now = self._now()
        self._gap[known] = np.maximum(0.9 * self._gap[known], now - self._heard[known])
        self._heard[known], self._seen[known] = now, self._wall()

    def _wait(self, codes: NDArray, times: Any, values: Rows) -> None:
        """Keep rows until their streams need them."""
        if (codes < 0).any():
            good = codes >= 0
            codes, values = codes[good], values[good]
            times = None if times is None else times[good]
        # copies: a caller may reuse its arrays
        self._chunks.append((codes, np.zeros(len(codes)) if times is None else times.copy(),
                             values.copy()))
        self._count += np.bincount(codes, minlength=len(self._count))

    def _load(self, loads: dict[int, list[Sample]], *, everything: bool) -> None:
        """Take the rows of the streams whose next window they complete, or all that wait."""
        due = self._count > 0 if everything else self._count >= np.maximum(self._need, 1)
        if not due.any():
            return
        codes, times, values = (np.concatenate(part) for part in zip(*self._chunks, strict=True))
        taken = due[codes]
        place = np.flatnonzero(taken)
        place = place[np.argsort(codes[place], kind="stable")]
        edges = np.flatnonzero(np.diff(codes[place])) + 1
        ours, when, rows = codes[place], times[place], values[place]
        for a, b in zip([0, *edges.tolist()], [*edges.tolist(), len(place)], strict=True):
            loads.setdefault(int(ours[a]), []).append(
                Sample(None, when[a:b] if self._stamped else None, rows[a:b]))
        rest = ~taken
        self._chunks = [(codes[rest], times[rest], values[rest])] if rest.any() else []
        self._count[due] = 0

    # -- what is known of the streams ------------------------------------------------------------

    def interval(self) -> float:
        """Usual seconds between two rows of any stream."""
        some = [stream.processor.clock for stream in self.all[:9]]
        return median([median(clock.intervals or [clock.period]) for clock in some] or [
            self.period]) / max(len(self.all), 1)

    def begin(self, latest: float) -> None:
        """A source is read now; no clock is set to what lies behind ``latest``."""
        self._latest = latest
        self._heard[:] = self._now()
        for stream in self.all:
            stream.processor.clock.latest = latest

    def troubled(self) -> list[Conditions]:
        """Where operators may have acknowledged or closed something."""
        names = {incident.stream for incident in self.health.open}
        return [self.health, *(self._names[name].health.conditions
                               for name in names & self._names.keys())]

    def healths(self, verdicts: list[Verdict], quality: list[QualityEvent]) -> list[IncidentEvent]:
        """Steps of health incidents that verdicts and data-quality events cause."""
        of: dict[str, tuple[list[Verdict], list[QualityEvent]]] = {}
        for verdict in verdicts:
            of.setdefault(verdict.stream, ([], []))[0].append(verdict)
        for event in quality:
            of.setdefault(event.stream, ([], []))[1].append(event)
        events = []
        for name, (mine, faults) in of.items():
            if (stream := self._names.get(name)) is not None:
                if self._of.model == "shared" and any(verdict.left_out for verdict in mine):
                    mine = [_but_for_all(verdict, stream.judge.members) for verdict in mine]
                events += stream.health.step(mine, faults, stream.processor.first or 0)
        self.note(events)
        return events

    def note(self, events: Iterable[IncidentEvent]) -> None:
        """Follow health incidents of the entities."""
        self.health.note(events)

    def troubles(self, failing: list[Member], now: float) -> list[Condition]:
        """What is wrong with a fleet now, as conditions on the wall clock.

        Entities that send nothing while others do; more of them than are kept apart; detectors that
        fail for all.
        """
        n, wall = min(len(self.all), len(self._heard)), self._wall()
        after = self._config.alert_config.health.after
        heard, gap = self._heard[:n], self._gap[:n]
        limit = (np.maximum(_LEAST, np.minimum(_MESSAGES * gap, _LEARNED))
                 if self._of.silent == "auto" else np.full(n, self._of.silent))
        if self._of.silent == "auto" and self._config.alert_config.health.no_data == "never":
            limit = np.full(n, np.inf)
        quiet = np.flatnonzero(heard.max(initial=-math.inf) - heard >= limit)
        found = several("no_data", "sends nothing", [
            (self.all[k].entity or "", wall - (now - float(heard[k]))) for k in quiet.tolist()])
        found += [Condition("member", member.name, f"{member.name} gives no score", None, after)
                  for member in failing]
        if wall - self._full < after:
            found.append(Condition("entities", "", f"more than max_entities="
                                   f"{self._of.max_entities:,}: rows of others are not judged"))
        return found

    def forget(self) -> list[Stream]:
        """Drop streams of entities that were not seen for long."""
        n = len(self.all)
        if self._of.forget is None or not (
                old := self._wall() - self._seen[:n] > self._of.forget).any():
            return []
        gone = [self.all[k] for k in np.flatnonzero(old)]
        self._floor = max(self._floor, *(stream.processor.position + 1 for stream in gone))
        place = np.where(old, -1, np.cumsum(~old) - 1)
        self._chunks = [(place[codes][keep], times[keep], values[keep])
                        for codes, times, values in self._chunks for keep in [~old[codes]]]
        for name in _OF_STREAMS:
            kept = getattr(self, name)[:n][~old]
            setattr(self, name, np.append(kept, np.zeros(n, kept.dtype)))
        self.all = [stream for stream, out in zip(self.all, old, strict=True) if not out]
        self._codes = {stream.entity or "": k for k, stream in enumerate(self.all)}
        self._names = {stream.name: stream for stream in self.all}
        return gone

    # -- state --------------------------------------------------------------------------------

    def skip(self, position: int, last: int | None = None) -> None:
        """Begin after this number, knowing nothing of what came before."""
        if last is None:
            super().skip(position)
        self._floor = max(position, last or 0) + 1

    def state(self) -> dict[str, Any]:
        """All that later verdicts and incidents depend on; samples are kept as rings."""
        streams = stacked([stream.state() for stream in self.all]) if self.all else None
        if streams is not None:
            _turn(streams, 1)
        return {"fleet": {
            "order": [self._first, self._next, [list(gap) for gap in self._gaps]],
            "floor": self._floor, "names": [stream.entity for stream in self.all],
            "lost": [stream.lost for stream in self.all], "streams": streams,
            "stamped": self._stamped, "waiting": [np.concatenate(part) for part in zip(
                *self._chunks, strict=True)], "at": self._wall(),
            "seen": self._seen[:len(self.all)], "together": self.health.state()}}

    def restore(self, saved: Mapping[str, Any], same: bool, fits: bool) -> None:
        """Go on where a checkpoint was: see `Stream.restore`."""
        kept = saved["fleet"]
        names: list[str] = kept["names"]
        if names:
            _turn(kept["streams"], -1)
        trees = unstacked(kept["streams"], len(names)) if names else []
        for name, tree, lost in zip(names, trees, kept["lost"], strict=True):
            stream = self._begin(name)
            stream.restore(tree, same, fits)
            stream.lost = lost
            self._add(stream)
        self._first, self._next, gaps = kept["order"]
        self._gaps.extend(map(tuple, gaps))
        self._floor, self._stamped = kept["floor"], kept["stamped"]
        # the time in which nobody looked does not count
        self._seen[:len(names)] = kept["seen"] + (self._wall() - kept["at"])
        if kept["waiting"] and (same or fits):
            self._wait(*kept["waiting"])
        self.health.note_open(self.all)
        if "together" in kept:  # a checkpoint of an earlier adlib has none
            self.health.restore(kept["together"])


def _but_for_all(verdict: Verdict, members: list[Member]) -> Verdict:
    """A verdict without what is wrong for all entities, which the fleet itself reports."""
    out = {member.name for member in members if member.failures}
    left = tuple(pair for pair in verdict.left_out if pair[0] != "member" or pair[1] not in out)
    known = False if verdict.is_anomaly is None and len(out) == len(members) else (
        verdict.is_anomaly)
    return replace(verdict, left_out=left, is_anomaly=known)


_OF_STREAMS = ("_count", "_need", "_heard", "_seen", "_gap")


def _turn(streams: Any, way: int) -> None:
    """Put rows of samples where their number says, in place, so that only new ones change.

    Or, with ``way`` -1, in their order again.
    """
    columns = dict(streams["of"])
    samples = dict(columns["processor"]["of"])
    seq = samples["seq"].get("arrays")
    if seq is None or not seq.size:  # they have different numbers of them, or none
        return
    last = (seq.max(axis=1) if way < 0 else seq[:, -1])[:, None]
    for kept in [*(samples[name] for name in _RINGS),
                 *(member["items"][0] for member in columns["members"]["items"])]:
        if (array := kept.get("arrays")) is not None and array.shape[1]:
            size = array.shape[1]
            place = (np.arange(size) - way * (last + 1 - size)) % size
            kept["arrays"] = array[np.arange(len(array))[:, None], place]
