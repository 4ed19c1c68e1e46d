"""What keeps an engine from judging, as incidents of kind "health".

Two kinds of conditions lead to them. Those *of the stream* are read from verdicts and data-quality
events, in event time: the same data give the same incidents with the same ids, however often they
are replayed (`StreamHealth`). Those *of the process* are observed on the wall clock
(`adlib.realtime.monitor`). One state machine serves both (`Conditions`):

=================  =================================================================================
condition          what it says
=================  =================================================================================
`not_judging`      windows come, and none of them can be judged; also a stretch that never came
`missing`          a feature has no values; the rest is judged
`frozen`           a feature does not change; the rest is judged
`member`           a detector is out
`drift`            scores are no longer distributed as in calibration: fit again
`model`            another version of the model is in use, or one was fitted and is not
`clock`            time stamps are not believed, or the clock was set
`no_data`          no sample arrives; of one entity of a fleet, while others send
`entities`         more entities than a fleet keeps apart
`no_windows`       samples arrive, and no window is judged
`hanging`          a batch, or the event loop, does not go on
`stopped`          an error ended the engine, which nobody asked to stop
`store`            nothing can be committed
`dropped`          samples found the queue full
`channel`          a receiver takes no message
`dead_letters`     a receiver refused messages for good
`several`          many entities of a fleet have incidents at once (also of kind "anomaly")
=================  =================================================================================
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pydantic import Field

from adlib.realtime.events import COUNTED, Incident, IncidentEvent, QualityEvent, Severity, Verdict
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.settings import Seconds, Settings

# a health incident has no score
PEAKS: dict[Severity, float] = {"info": 0.5, "warning": 0.8, "critical": 1.0}
_ALONE = 8  # features or detectors with the same trouble that have incidents of their own
_SEVERAL = "several"  # where they are more
_NAMED = 20  # names in a sentence
_KEPT = 200  # data-quality events that wait for a verdict


class HealthConfig(Settings):
    """When what keeps the engine from judging becomes an incident; seconds, or text like "5min".

    Examples
    --------
    >>> HealthConfig(no_data="10min").no_data
    600.0
    """

    after: Seconds = Field(60.0, description="Event time without judged windows or features.")
    no_data: Literal["auto", "never"] | Seconds = Field(
        "auto", description="Time without a sample; auto: a minute, or what three messages of the "
        "source cover where that is longer.")
    hanging: Seconds = Field(60.0, description="Time without a batch or window that ends.")
    store: Seconds = Field(5.0, description="Time in which nothing can be committed.")
    channel: Seconds = Field(300.0, description="Time in which a receiver takes no message.")
    critical: Seconds = Field(1800.0, description="Time after which an incident is critical.")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong at this moment.

    Attributes
    ----------
    name : str
        See the table of this module.
    subject : str
        Of which feature, detector or receiver.
    detail : str
        In words; never a secret.
    since : float or None
        When it began, where that is known; None: when it is first observed.
    after : float
        Seconds that it must last to become an incident; 0: none.
    rows : int
        Samples that it must last.
    kind : {"anomaly", "health"}
    severity : {"info", "warning", "critical"}
        At least.
    news : bool
        Whether people are notified of what has changed.
    """

    name: str
    subject: str = ""
    detail: str = ""
    since: float | None = None
    after: float = 0.0
    rows: int = 0
    kind: Literal["anomaly", "health"] = "health"
    severity: Severity = "warning"
    news: bool = False


@dataclass(slots=True)
class _Lasting:
    """What is known of one condition, from its onset on."""

    since: float
    start: int  # sequence number
    seen: int = 0
    lasted: float = 0.0
    rows: int = 0
    absent: float = 0.0  # seconds since it was observed last
    opened: bool = False


def slug(name: str) -> str:
    """A name as part of an id: at most 40 plain characters, with a digest where it was changed.

    Examples
    --------
    >>> slug("temp_1"), slug("Ölstand | Tank 3")
    ('temp_1', '_lstand___Tank_3-6fe02f41')
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    if plain == name and len(name) <= 40:
        return name
    digest = hashlib.blake2s(name.encode(errors="replace"), digest_size=4).hexdigest()
    return f"{plain[:31]}-{digest}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def several(name: str, says: str, subjects: Sequence[tuple[str, float | None]], after: float = 0.0,
            rows: int = 0) -> list[Condition]:
    """The same trouble of some subjects, which are one where they are many.

    Parameters
    ----------
    name, says : str
        What is wrong, and what that means.
    subjects : sequence of (str, float or None)
        Of what, and since when.
    after : float
    rows : int
        See `Condition`.
    """
    if len(subjects) <= _ALONE:
        return [Condition(name, of, f"{of} {says}", since, after, rows) for of, since in subjects]
    since = max((since for _, since in subjects if since is not None), default=None)
    verb, rest = says.split(" ", 1)  # of one subject
    verb = {"has": "have", "does": "do"}.get(verb, verb.removesuffix("s"))
    return [Condition(name, _SEVERAL, f"{listed([of for of, _ in subjects])} {verb} {rest}",
                      since, after, rows)]


class Conditions(AlertManager):
    """Incidents of conditions that last, as `AlertManager` makes them of flagged windows.

    A condition that has lasted for its ``after`` seconds and ``rows`` samples **opens** an incident
    (a warning), which becomes critical after ``critical`` seconds, and **closes** once the
    condition has not been observed for ``after`` seconds of the configuration. What is repeated,
    acknowledged, silenced, and kept quiet for a while follows the rules of `AlertManager`.

    Pure: no clock, no input or output. Where time goes back (the clock was set), what is known
    moves with it.

    Parameters
    ----------
    stream : str
    config : HealthConfig
    incidents : IncidentConfig
    period : float or None
        Seconds between samples, for streams whose time stands still. None: conditions of the
        process, whose ids hold the second of their onset in place of a sequence number.

    Examples
    --------
    >>> conditions = Conditions("rig", HealthConfig(), IncidentConfig(), period=None)
    >>> events = conditions.observe([Condition("no_data", detail="no sample")], 1.7e9, seq=41)
    >>> events += conditions.observe([], 1.7e9 + 90, seq=42)
    >>> [(event.id, event.incident.severity) for event in events]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('rig|health.no_data|1700000000|open|0', 'warning'),
     ('rig|health.no_data|1700000000|close|1', 'warning')]
    """

    def __init__(self, stream: str, config: HealthConfig, incidents: IncidentConfig,
                 period: float | None = 1.0):
        super().__init__(incidents, group="health")
        self.stream, self.health, self._period = stream, config, period
        self._lasting: dict[str, _Lasting] = {}
        self._at: tuple[float, int] | None = None  # time and sequence number of the last look

    def observe(self, found: Iterable[Condition], now: float, seq: int) -> list[IncidentEvent]:
        """Take what is wrong now; return the events that it causes, in order.

        Parameters
        ----------
        found : iterable of Condition
        now : float
            Event time, or the wall clock; POSIX seconds.
        seq : int
            Sequence number of the last sample.
        """
        before, at = self._at or (now, seq)
        if before < COUNTED <= now:  # time stamps begin
            before = now
        self._at = now, seq
        step, rows = now - before, max(seq - at, 0)
        for track in self._tracks.values():
            track.at(now)
        if step <= 0:  # no durations across a clock that was set; samples, where time stands still
            step = rows * self._period if step == 0 and self._period else 0.0
        present = {self._key(condition.name, condition.subject, condition.kind): condition
                   for condition in found}
        events: list[IncidentEvent] = []
        for key, condition in sorted(present.items()):
            events += self._present(key, condition, now, seq, step, rows)
        for key in sorted(self._lasting.keys() - present.keys()):
            events += self._absent(key, now, step)
        self._tracks = {key: track for key, track in self._tracks.items()
                        if track.incident is not None or (track.cool_until or -math.inf) > now}
        return events

    def leap(self, now: float) -> None:
        """The clock was set, to this time: what lasts has not lasted for longer because of it."""
        self._at = self._at and (now, self._at[1])

    @property
    def open(self) -> list[Incident]:
        """Open incidents, as of the last look."""
        return [track.incident for track in list(self._tracks.values())
                if track.incident is not None]

    def take_over(self, incident: Incident, events: Sequence[IncidentEvent], now: float) -> None:
        """Go on with an open incident of an earlier process.

        Parameters
        ----------
        incident : Incident
        events : sequence of IncidentEvent
            All of its steps, in order.
        now : float
        """
        key = incident.id.rpartition("|")[0]
        self._tracks[key] = self._new_track(
            incident=incident.to_dict(), n=len(events), stored_at=incident.last_at,
            notified_at=max((event.time for event in events if event.notify), default=None))
        self._lasting[key] = _Lasting(incident.opened_at, incident.start, incident.n_windows,
                                      max(now - incident.opened_at, 0.0), opened=True)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "at": self._at,
                "lasting": {key: asdict(lasting) for key, lasting in self._lasting.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self._at = tuple(state["at"]) if state["at"] else None
        self._lasting = {key: _Lasting(**record) for key, record in state["lasting"].items()}

    def knows(self, name: str, subject: str, kind: str = "health") -> bool:
        """Whether this was observed of late."""
        return self._key(name, subject, kind) in self._lasting

    def _key(self, name: str, subject: str, kind: str) -> str:
        return f"{self.stream}|{kind}.{name}{'.' * bool(subject)}{slug(subject)}"

    def _present(self, key: str, condition: Condition, now: float, seq: int, step: float,
                 rows: int) -> list[IncidentEvent]:
        track, lasting = self._tracks.get(key), self._lasting.get(key)
        closed = track is None or track.incident is None
        if lasting is None:
            since = now if condition.since is None else condition.since
            lasting = self._lasting[key] = _Lasting(since, seq, 1, max(now - since, step), rows)
        elif lasting.opened and closed:  # by hand: what lasts comes back, as a new one
            lasting = self._lasting[key] = _Lasting(now, seq, 1)
        else:
            lasting.seen, lasting.absent = lasting.seen + 1, 0.0
            lasting.lasted, lasting.rows = lasting.lasted + step, lasting.rows + rows
        if track is not None and track.incident is not None:
            return self._goes_on(track, track.incident, condition, lasting, now, seq)
        once = lasting.seen == 1 and self._period is not None  # a window, which may be long
        if condition.after and (once or lasting.lasted < condition.after
                                or lasting.rows < condition.rows):
            return []
        return self._begin(key, condition, lasting, now, seq)

    def _begin(self, key: str, condition: Condition, lasting: _Lasting, now: float, seq: int
               ) -> list[IncidentEvent]:
        lasting.opened = True
        track = self._tracks.setdefault(key, self._new_track())
        feature = condition.name in ("missing", "frozen") and condition.subject != _SEVERAL
        start = int(lasting.since) if self._period is None else lasting.start
        track.incident = Incident(
            f"{key}|{start}", self.stream, max(lasting.start, 0), max(seq, 0), lasting.since, now,
            None, condition.severity, PEAKS[condition.severity], lasting.seen,
            ((condition.subject, 1.0),) if feature else (), "open", False, condition.kind,
            condition.detail)
        track.n, track.notified_at, track.now = 0, None, now
        return self._event(track, track.incident, "open", now,
                           self._may_notify(track, track.incident, now))

    def _absent(self, key: str, now: float, step: float) -> list[IncidentEvent]:
        lasting, track = self._lasting[key], self._tracks.get(key)
        lasting.absent += step
        if lasting.absent < self.health.after:
            return []
        del self._lasting[key]
        if track is None or track.incident is None:
            return []
        return self._close(track, track.incident, now)

    def _goes_on(self, track: Any, before: Incident, condition: Condition, lasting: _Lasting,
                 now: float, seq: int) -> list[IncidentEvent]:
        severity = max(before.severity, condition.severity, key=PEAKS.__getitem__)
        if lasting.lasted >= self.health.critical and condition.name not in ("drift", _SEVERAL):
            severity = "critical"
        incident = track.incident = replace(
            before, end=max(seq, 0), last_at=now, n_windows=lasting.seen, severity=severity,
            peak_score=PEAKS[severity], detail=condition.detail)
        may = self._may_notify(track, incident, now)
        if severity != before.severity:
            return self._event(track, incident, "escalate", now, may)
        every = self.config.repeat_interval
        due = track.notified_at is None or (every is not None and now - track.notified_at >= every)
        if due and may and not incident.acknowledged:
            return self._event(track, incident, "repeat", now, True)
        if incident.detail != before.detail and (
                condition.news or now - track.stored_at >= self.config.update_interval):
            return self._event(track, incident, "update", now, condition.news and may)
        return []


class StreamHealth:
    """Conditions of one stream, read from its verdicts and data-quality events.

    Parameters
    ----------
    stream : str
    features : sequence of str
    config : HealthConfig
    incidents : IncidentConfig
    window_size, stride : int
    context : int
        Samples before a new one that some detector needs.
    warm_up : int
        First samples whose windows nobody judges.
    period : float
        Seconds between samples, for streams whose time stands still.

    Attributes
    ----------
    conditions : Conditions
    window : int
        Samples that a window takes.
    """

    def __init__(self, stream: str, features: Sequence[str], config: HealthConfig,
                 incidents: IncidentConfig, *, window_size: int, stride: int = 1,
                 context: int = 0, warm_up: int = 0, period: float = 1.0):
        self.conditions = Conditions(stream, config, incidents, period)
        self.window = window_size
        self._features, self._config = len(features), config
        self._least = window_size + stride  # samples from a judged window to one that is not due
        self._least_warm_up = warm_up
        self._reach, self._warm_up = window_size + context, max(warm_up, context)
        self._waiting: list[QualityEvent] = []
        self._before: tuple[float, int] | None = None  # time and last sample of the last window
        self._judged: float | None = None  # time of the last one that was judged
        self._drift = self._doubted = self._fault = ""

    def step(self, verdicts: Iterable[Verdict], quality: Iterable[QualityEvent],
             first: int) -> list[IncidentEvent]:
        """Take the next windows of the stream, and what was wrong with its samples.

        Parameters
        ----------
        verdicts : iterable of Verdict
        quality : iterable of QualityEvent
            Each is taken with the first window that ends with it or later, so that the borders of
            batches play no part.
        first : int
            Sequence number that the stream began with.

        Returns
        -------
        list of IncidentEvent
        """
        self._waiting = sorted([*self._waiting, *quality], key=lambda event: event.end)
        events: list[IncidentEvent] = []
        for verdict in verdicts:
            found = self._quality(verdict.end, verdict.time)
            found += self._blind(verdict, verdict.end - first < self._warm_up)
            found += self._left_out(verdict, verdict.end - first < self._warm_up)
            events += self.conditions.observe(found, verdict.time, verdict.end)
            self._before = verdict.time, verdict.end
            if verdict.is_anomaly is not None:
                self._judged = verdict.time
        del self._waiting[:-_KEPT]
        return events

    def renew(self, context: int | None = None) -> None:
        """Go on for another model, whose scores use so many samples before a new one."""
        self._drift = ""
        if context is not None:
            self._reach, self._warm_up = self.window + context, max(self._least_warm_up, context)

    def overdue(self, rows: int) -> bool:
        """Whether a window should have been judged of so many samples, and no incident says so."""
        return rows > self._least + self._warm_up and not any(
            incident.condition == "not_judging" for incident in self.conditions.open)

    def blind(self) -> list[str]:
        """Why no window is judged, where none is."""
        return [incident.detail for incident in self.conditions.open
                if incident.condition == "not_judging"]

    def _quality(self, end: int, now: float) -> list[Condition]:
        """What data-quality events up to a sample, and its time, say."""
        found, taken = [], [event for event in self._waiting if event.end <= end]
        self._waiting = self._waiting[len(taken):]
        for event in taken:
            if event.kind == "drift":
                self._drift = "" if event.detail.endswith("as it was") else event.detail
            elif event.kind == "clock":
                says = event.detail.partition(":")[0]
                if says in ("doubted", "believed again", "set", "gap"):
                    self._doubted = event.detail if says == "doubted" else ""
                if says == "set":
                    found.append(Condition("clock", detail=event.detail))
                    self.conditions.leap(now)
                    self._before = self._judged = None
            else:
                self._fault = f"{event.kind}: {event.detail}"
        if self._doubted and not found:
            found.append(Condition("clock", detail=self._doubted, after=self._config.after))
        if self._drift:
            found.append(Condition("drift", detail=f"{self._drift}: fit again if this is the new "
                                   f"normal"))
        return found

    def _blind(self, verdict: Verdict, warming: bool) -> list[Condition]:
        """Whether this window, or what ought to have come before it, was not judged."""
        last = self._before
        hole = (last is not None and verdict.end - last[1] > self._least
                and verdict.time - last[0] >= self._config.after)
        if verdict.is_anomaly is None and not warming:
            left = {reason: listed([name for why, name in verdict.left_out if why == reason])
                    for reason, _ in verdict.left_out}
            says = [f"{reason}: {names}" for reason, names in left.items()]
            if not says and self._fault:
                says = [f"the last fault: {self._fault}"]
            after = 0.0 if hole else self._config.after
        elif hole and last is not None:
            says, after = [f"samples {last[1] + 1} to {verdict.end - self.window} were in no "
                           f"window"], 0.0
        else:
            return []
        return [Condition("not_judging", "", "; ".join(["no window is judged", *says]),
                          self._judged and min(self._judged, verdict.time), after)]

    def _left_out(self, verdict: Verdict, warming: bool) -> list[Condition]:
        """What this window was judged without."""
        found: list[Condition] = []
        said = {"missing": "has no values", "frozen": "does not change", "member": "gives no score"}
        for reason, says in said.items():
            names = [name for why, name in verdict.left_out if why == reason]
            if reason == "member" and warming:
                continue
            if (reason == "missing" and len(names) >= self._features) or (  # one cause, one message
                    reason == "member" and verdict.is_anomaly is None
                    and {"missing", "frozen"} & {why for why, _ in verdict.left_out}):
                names = [name for name in names if self.conditions.knows(reason, name)]
            after = 0.0 if reason == "frozen" else self._config.after
            rows = {"missing": self.window, "member": self._reach}.get(reason, 0)
            found += several(reason, says, [(name, None) for name in names], after, rows)
        return found

    def state(self) -> dict[str, Any]:
        """Everything that later events depend on, in plain types."""
        return {"conditions": self.conditions.state(), "before": self._before,
                "judged": self._judged, "waiting": [event.to_dict() for event in self._waiting],
                "says": [self._drift, self._doubted, self._fault]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was."""
        self.conditions.restore(state["conditions"])
        self._judged = state["judged"]
        self._before = tuple(state["before"]) if state["before"] else None
        self._waiting = [QualityEvent.from_dict(record) for record in state["waiting"]]
        self._drift, self._doubted, self._fault = state["says"]
