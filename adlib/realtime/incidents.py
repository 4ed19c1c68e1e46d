"""From flagged windows to incidents: one notification, not a thousand, and never none.

`AlertManager` is a pure state machine: no clock, no input or output, no threads. The same verdicts
give the same events with the same ids, whenever and however often they are replayed.
"""

import asyncio
import inspect
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
from pydantic import Field, model_validator

from adlib.arguments import instance, whole
from adlib.realtime.events import (
    SEVERITIES,
    EventKind,
    Incident,
    IncidentEvent,
    Severity,
    Silence,
    Verdict,
    leading,
    severity_of,
)
from adlib.realtime.members import in_thread
from adlib.realtime.settings import Settings
from adlib.realtime.silences import silenced
from adlib.thresholds import check_alpha, decide

log = logging.getLogger(__name__)


class IncidentConfig(Settings):
    """When flagged windows become an incident, and when people are notified.

    Examples
    --------
    >>> IncidentConfig(open_after=2, open_within=3).close_after
    5
    """

    open_after: int = Field(3, ge=1, description="Open when the last open_within judged windows "
                            "hold this many pieces of evidence; a critical one opens at once.")
    open_within: int = Field(5, ge=1, description="Judged windows that open_after counts in.")
    close_after: int = Field(5, ge=1, description="Close after this many judged windows in a row "
                             "without new evidence.")
    min_severity: Severity = Field("warning", description="Lowest severity that people are "
                                   "notified of.")
    update_interval: float = Field(60.0, ge=0, description="Least seconds between two updates of "
                                   "an open incident.")
    repeat_interval: float | None = Field(3600.0, gt=0, description="Seconds after which an "
                                          "incident that goes on, and is not acknowledged, is "
                                          "reported again; null: never.")
    cooldown: float = Field(600.0, ge=0, description="Seconds after the close of an incident in "
                            "which a new one of no higher severity is stored and not reported.")

    @model_validator(mode="after")
    def _counts_agree(self) -> "IncidentConfig":
        if self.open_after > self.open_within:
            raise ValueError(f"open_after must be at most open_within, got open_after="
                             f"{self.open_after} of open_within={self.open_within}")
        return self


@dataclass(slots=True)
class _Track:
    """What is known of one stream between two windows."""

    recent: deque[Verdict]  # judged windows since the last close, for the debounce
    incident: Incident | None = None
    evidence: list[list[float]] = field(default_factory=list)  # sample and severity, each once
    last: int = -2**62  # sample of the last piece of evidence
    seen: int = -2**62  # last sample that was judged
    leading: list[str] = field(default_factory=list)  # features that were reported as leading
    news: bool = False  # evidence after a pause, not reported yet
    quiet: int = 0  # judged windows without new evidence, in a row
    n: int = 0  # events of this incident so far
    stored_at: float = 0.0  # time of its last event
    notified_at: float | None = None  # time of its last event that people were notified of
    cool_until: float | None = None
    cool_severity: Severity = "info"  # of the incident that the cooldown follows
    now: float | None = None  # time of the last window

    def at(self, now: float) -> None:
        """Take the time of a window; where it goes back, what ran goes on as long as it would."""
        if self.now is not None and (step := now - self.now) < 0:
            self.stored_at += step
            self.notified_at = None if self.notified_at is None else self.notified_at + step
            self.cool_until = None if self.cool_until is None else self.cool_until + step
            self.incident = self.incident and replace(
                self.incident, opened_at=self.incident.opened_at + step,
                last_at=self.incident.last_at + step)
        self.now = now

    @property
    def calm(self) -> bool:
        """Whether nothing but where the last windows lie can matter later."""
        return (self.incident is None and self.cool_until is None and not self.evidence
                and not self.news and not any(verdict.is_anomaly for verdict in self.recent))

    def to_dict(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__slots__},
                "recent": [verdict.to_dict() for verdict in self.recent],
                "incident": self.incident and self.incident.to_dict()}


_MANY = 16  # tracks that are kept together
_CALM = ("last", "seen", "now")  # what is kept of one without incident and evidence


def _level(severity: Severity) -> int:
    return SEVERITIES.index(severity)


class AlertManager:
    """Turns verdicts, one after the other, into incidents and their events.

    **Evidence** is what a flagged window's ``peaks`` name: samples whose score alone would flag it,
    more than ``context`` apart, each counted once however many windows share it. (A flagged window
    that names none is one piece of evidence.) An incident **opens** when ``open_after`` pieces lie
    in the last ``open_within`` judged windows of its stream, or, where ``context`` leaves them no
    room there, in twice the samples that they need; at a critical one at once. It starts with the
    first window that holds them. It **ends** with its last piece, and **closes** after
    ``close_after`` judged windows in a row without a new one (later while ``context`` may hide
    one). Windows that were not judged (``is_anomaly`` None) neither open nor close anything.

    A window that brings evidence to an open incident gives at most one event: ``escalate`` when the
    severity rises; else ``repeat`` when people ought to be notified (again); else ``update``. An
    update is sent when it is news: another leading feature, or evidence after a pause of a window.
    Others are stored, not sent. Both at most once in ``update_interval``.

    People are notified of ``open`` and ``escalate`` unless the severity is below ``min_severity``,
    a silence matches, or the cooldown runs: for ``cooldown`` seconds after the close of an incident
    that people were notified of, a new one of no higher severity is stored quietly. An incident
    kept quiet for any of these reasons, and still going on when the reason ends, is reported then,
    as a ``repeat``; it never stays quiet for ever. Only incidents that were reported start a
    cooldown, so a fault that comes and goes is reported once per cooldown, not never. ``close`` is
    reported when the incident was reported before and no silence matches. Acknowledging stops
    repeats; an escalation and the close are still reported. What is ``held``, by an incident that
    says the same of many, is kept quiet like what is silenced. Where event time goes back, cooldown
    and intervals last as long as they would have.

    Parameters
    ----------
    config : IncidentConfig, optional
    group : str
        Name of the combination of detectors; the middle of every incident id.
    alpha : float, optional
        Peaks up to this p-value count. Default: all that flagged windows name.
    context : int
        Samples before a peak that its score uses, at most.

    Notes
    -----
    Fails when windows of a stream arrive out of order or twice: the engine removes those first.
    Windows are counted, not seconds: an incident stays open across a gap in the data.

    Examples
    --------
    >>> manager = AlertManager(IncidentConfig(open_after=2, close_after=1))
    >>> def window(k, flagged):
    ...     return Verdict("rig", k, k + 9, k + 9.0, 0.5, 0.8 * flagged, "warning", flagged, {}, ())
    >>> flags = [False, True, True, True, False]
    >>> events = [e for k, flag in enumerate(flags) for e in manager.step(window(k, flag))]
    >>> [event.id for event in events]
    ['rig|combined|1|open|0', 'rig|combined|1|close|1']
    >>> events[-1].incident.n_windows
    3
    """

    def __init__(self, config: IncidentConfig | None = None, *, group: str = "combined",
                 alpha: float | None = None, context: int = 0):
        self.config = IncidentConfig() if config is None else instance(
            config, "config", IncidentConfig)
        self.group = instance(group, "group", str)
        self.alpha = None if alpha is None else check_alpha(alpha)
        self.context = whole(context, "context", 0)
        self._tracks: dict[str, _Track] = {}
        self.silences: dict[str, Silence] = {}
        self.held: dict[str, Any] = {}  # by incident: what another incident says already

    def step(self, verdict: Verdict) -> list[IncidentEvent]:
        """Take the next window of its stream; return the events that it causes, in order."""
        track = self._tracks.get(instance(verdict, "verdict", Verdict).stream)
        if track is None:
            track = self._tracks[verdict.stream] = self._new_track()
        track.at(verdict.time)
        if verdict.is_anomaly is None:
            return []
        fresh = self._fresh(track, verdict)
        track.seen = max(track.seen, verdict.end)
        if track.incident is None:
            return self._debounce(track, verdict, bool(fresh))
        if fresh:
            return self._grow(track, track.incident, verdict, max(fresh))
        if verdict.is_anomaly:
            track.incident = replace(track.incident, n_windows=track.incident.n_windows + 1)
        track.quiet += 1
        # in the shadow of the last piece another one may not show
        hidden = bool(verdict.is_anomaly) and verdict.end <= track.last + 2 * self.context
        if track.quiet < self.config.close_after or hidden:
            return []
        return self._close(track, track.incident, verdict.time)

    def incident(self, stream: str) -> Incident | None:
        """The open incident of a stream, as of its last window, or None."""
        track = self._tracks.get(instance(stream, "stream", str))
        return None if track is None else track.incident

    def acknowledge(self, incident_id: str) -> bool:
        """Stop the repeats of an open incident; False when no open incident has this id."""
        track = self._of(instance(incident_id, "incident_id", str))
        if track is None or track.incident is None:
            return False
        track.incident = replace(track.incident, acknowledged=True)
        return True

    def _of(self, incident_id: str) -> _Track | None:
        """The track whose open incident this is."""
        for name in (incident_id.partition("|")[0], incident_id.rpartition("|")[0]):
            track = self._tracks.get(name)
            if track is not None and track.incident and track.incident.id == incident_id:
                return track
        return None

    def withhold(self, event: IncidentEvent) -> IncidentEvent:
        """An event of the last step as one that nobody is notified of."""
        name = event.incident.id
        track = self._tracks.get(name.partition("|")[0]) or self._tracks.get(
            name.rpartition("|")[0])
        if track is not None:
            track.notified_at, track.leading = None, []
            if track.incident is None:
                track.cool_until = None
        return replace(event, notify=False)

    def drop(self, stream: str | None = None) -> list[IncidentEvent]:
        """Forget a stream, or all; the events by which open incidents end."""
        gone = [name for name in self._tracks if stream in (None, name)]
        tracks = [self._tracks.pop(name) for name in gone]
        return [event for track in tracks if track.incident is not None
                for event in self._close(track, track.incident, track.incident.last_at)]

    def silence(self, silence: Silence) -> None:
        """Notify nobody of what matches; replaces a silence of the same id."""
        self.silences[instance(silence, "silence", Silence).id] = silence

    def apply(self, operator: Mapping[str, Any]) -> None:
        """Take over what operators have decided: see `AlertStore.operator_state`.

        Raises
        ------
        ValueError
            When ``operator`` holds something else.
        """
        if not (isinstance(operator, Mapping) and {"acknowledged", "silences"} <= set(operator)):
            raise ValueError(f"operator must hold acknowledged and silences, got {operator!r}")
        for incident_id in operator["acknowledged"]:
            self.acknowledge(incident_id)
        for incident_id in operator.get("closed", ()):  # the store holds its event already
            if (track := self._of(incident_id)) is not None and track.incident is not None:
                self._close(track, track.incident, track.incident.last_at)
        self.silences.clear()  # one that was removed ends
        for record in operator["silences"]:
            self.silence(Silence.from_dict(record))

    def state(self) -> dict[str, Any]:
        """Everything that later events depend on, in plain JSON types."""
        calm = {name: track for name, track in self._tracks.items()
                if track.calm} if len(self._tracks) >= _MANY else {}
        together = {} if not calm else {"calm": [
            [*calm], *([getattr(track, key) for track in calm.values()] for key in _CALM),
            [[verdict.start for verdict in track.recent] for track in calm.values()]]}
        return {"tracks": {name: track.to_dict() for name, track in self._tracks.items()
                           if name not in calm},
                "silences": [silence.to_dict() for silence in self.silences.values()], **together}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`: the events that follow are those of an uninterrupted run.

        Raises
        ------
        ValueError
            When ``state`` is not one that `state` gave.
        """
        try:
            silences = {record["id"]: Silence.from_dict(record) for record in state["silences"]}
            tracks = {name: self._new_track(**record) for name, record in state["tracks"].items()}
            for name, *values, starts in zip(*state.get("calm", ()), strict=True):
                tracks[name] = self._new_track(**dict(zip(_CALM, values, strict=True)))
                tracks[name].recent.extend(Verdict(name, start, start, math.nan, math.nan, 0.0,
                                                   "info", False, {}, ()) for start in starts)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"state is not one that state() gave: {type(error).__name__}: {error}"
                             ) from error
        self.silences.clear()
        self.silences.update(silences)
        self._tracks = tracks

    def _new_track(self, recent: Iterable[Mapping[str, Any]] = (),
                   incident: Mapping[str, Any] | None = None, **rest: Any) -> _Track:
        if "told_at" in rest:  # as checkpoints of format 1 call it
            rest["notified_at"] = rest.pop("told_at")
        return _Track(
            recent=deque(map(Verdict.from_dict, recent), maxlen=self.config.open_within),
            incident=Incident.from_dict(incident) if incident else None, **rest)

    def _fresh(self, track: _Track, verdict: Verdict) -> list[float]:
        """Severities of the evidence that no earlier window brought; it is noted."""
        if not verdict.is_anomaly:
            return []
        if not verdict.peaks:
            pieces = [(verdict.start, verdict.score)]
        elif self.alpha is None:
            pieces = [(seq, verdict.score) for seq, _ in verdict.peaks]
        else:
            strong = [peak for peak in verdict.peaks if peak[1] <= self.alpha * (1 + 1e-9)]
            scores = decide(np.log([max(p, 1e-300) for _, p in strong]), self.alpha)[0]
            pieces = [(peak[0], score) for peak, score in zip(strong, scores.tolist(), strict=True)]
        fresh = []
        for seq, score in pieces:
            if seq > track.last + self.context:
                track.news |= seq > track.last + verdict.end + 1 - verdict.start
                track.last = seq
                track.evidence.append([seq, score])
            elif seq > track.seen and track.evidence and score > track.evidence[-1][1]:
                track.evidence[-1][1] = score  # the same piece, stronger than it looked
            else:
                continue
            fresh.append(score)
        return fresh

    def _debounce(self, track: _Track, verdict: Verdict, news: bool) -> list[IncidentEvent]:
        track.recent.append(verdict)
        begin = min(track.recent[0].start,  # pieces far apart need room
                    verdict.end - 2 * self.config.open_after * (self.context + 1))
        track.evidence = [piece for piece in track.evidence if piece[0] >= begin]
        score = max((piece[1] for piece in track.evidence), default=0.0)
        at_once = bool(verdict.peaks) and severity_of(score) == "critical"
        if not news or len(track.evidence) < self.config.open_after and not at_once:
            return []
        flagged = [window for window in track.recent
                   if window.is_anomaly and window.end >= track.evidence[0][0]]
        first, peak = flagged[0], max(flagged, key=lambda window: window.score)
        track.recent.clear()
        track.incident = Incident(
            id=f"{verdict.stream}|{self.group}|{first.start}", stream=verdict.stream,
            start=first.start, end=self._end(track, verdict), opened_at=first.time,
            last_at=verdict.time, closed_at=None, severity=severity_of(score), peak_score=score,
            n_windows=len(flagged), top_features=peak.top_features, state="open",
            acknowledged=False)
        track.quiet, track.n, track.notified_at, track.leading = 0, 0, None, []
        return self._event(track, track.incident, "open", verdict.time,
                           self._may_notify(track, track.incident, verdict.time))

    @staticmethod
    def _end(track: _Track, verdict: Verdict) -> int:
        return track.last if verdict.peaks else verdict.end

    def _grow(self, track: _Track, before: Incident, verdict: Verdict,
              score: float) -> list[IncidentEvent]:
        now = verdict.time
        peak: dict[str, Any] = {} if score <= before.peak_score else {
            "peak_score": score, "top_features": verdict.top_features}
        track.quiet, track.evidence = 0, track.evidence[-1:]
        track.incident = incident = replace(
            before, end=self._end(track, verdict), last_at=now, n_windows=before.n_windows + 1,
            severity=max(before.severity, severity_of(score), key=_level), **peak)
        may = self._may_notify(track, incident, now)
        if incident.severity != before.severity:
            return self._event(track, incident, "escalate", now, may)
        every, since = self.config.repeat_interval, track.notified_at
        due = since is None or (every is not None and now - since >= every)
        if due and may and not incident.acknowledged:
            return self._event(track, incident, "repeat", now, True)
        rest, cause = self.config.update_interval, leading(verdict)
        if (track.news or cause not in track.leading) and may and (
                since is not None and now - since >= rest):
            track.leading.append(cause)
            return self._event(track, replace(incident, detail=f"new evidence, led by {cause}"
                                              if cause else "new evidence"), "update", now, True)
        if now - track.stored_at >= rest:
            return self._event(track, incident, "update", now, False)
        return []

    def _close(self, track: _Track, last: Incident, now: float) -> list[IncidentEvent]:
        closed = replace(last, state="closed", closed_at=now)
        if reported := track.notified_at is not None:
            track.cool_until = now + self.config.cooldown
            track.cool_severity = closed.severity
        notify = reported and not silenced(self.silences.values(), closed, now)
        events = self._event(track, closed, "close", now, notify)
        track.incident, track.evidence = None, []
        return events

    @staticmethod
    def _event(track: _Track, incident: Incident, kind: EventKind, now: float,
               notify: bool) -> list[IncidentEvent]:
        event = IncidentEvent(kind, incident, now, notify, track.n)
        track.n += 1
        track.stored_at = now
        if notify:
            track.notified_at, track.news = now, False
            track.leading = sorted({*track.leading, leading(incident)})
        return [event]

    def _may_notify(self, track: _Track, incident: Incident, now: float) -> bool:
        level = _level(incident.severity)
        cooling = (track.cool_until is not None and now < track.cool_until
                   and level <= _level(track.cool_severity))
        return (level >= _level(self.config.min_severity) and not cooling
                and incident.id not in self.held
                and not silenced(self.silences.values(), incident, now))


Handler = Callable[[IncidentEvent], Any]


@dataclass(slots=True)
class Responses:
    """Functions that react to incidents: a handler per severity, an automated response.

    They run after the commit and **at most once**: a crash between the commit and the call loses
    the call. What must not be lost belongs in a notification channel, whose rows are in the
    commit. An exception, or a call longer than ``timeout``, is logged and counted, never fatal.

    Parameters
    ----------
    timeout : float
        Seconds after which a call is given up. A plain function then still runs on in its thread.

    Attributes
    ----------
    failures : Counter
        Failed calls by the handler's name.

    Examples
    --------
    >>> responses = Responses()
    >>> @responses.on(severity="critical")
    ... async def stop_the_pump(event):
    ...     ...
    """

    timeout: float = 10.0
    failures: Counter[str] = field(default_factory=Counter)
    _handlers: list[tuple[Handler, Severity | None, frozenset[str]]] = field(default_factory=list)

    def on(self, *, severity: Severity | None = None,
           kind: EventKind | Iterable[EventKind] = ("open", "escalate")
           ) -> Callable[[Handler], Handler]:
        """Register a function or coroutine function of one `IncidentEvent`.

        Parameters
        ----------
        severity : {"info", "warning", "critical"}, optional
            Only incidents that have just this severity at the event; None: all.
        kind : str or iterable of str
            Events to react to. Those that nobody is notified of count too: see ``event.notify``.

        Raises
        ------
        ValueError
            For an unknown severity or kind.
        """
        kinds = frozenset([kind] if isinstance(kind, str) else kind)
        if unknown := kinds - set(get_args(EventKind)):
            raise ValueError(f"kind must be among {get_args(EventKind)}, got {sorted(unknown)}")
        if severity is not None and severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {severity!r}")

        def register(handler: Handler) -> Handler:
            self._handlers.append((handler, severity, kinds))
            return handler

        return register

    async def run(self, events: Iterable[IncidentEvent]) -> None:
        """Call what is registered for each event, in order of events and of registration."""
        for event in events:
            for handler, severity, kinds in self._handlers:
                if event.kind in kinds and severity in (None, event.incident.severity):
                    await self._call(handler, event)

    async def _call(self, handler: Handler, event: IncidentEvent) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                if inspect.iscoroutinefunction(handler):
                    await handler(event)
                else:
                    result = await in_thread(handler, event)
                    if inspect.isawaitable(result):
                        await result
        except Exception as error:
            name = getattr(handler, "__qualname__", repr(handler))
            self.failures[name] += 1
            log.exception("response %s to %s failed: %s", name, event.id, type(error).__name__)
