"""What the live engine says: verdicts on windows, data-quality events, incidents and their events.

Frozen records without behaviour. All times are event time in POSIX seconds (the samples' own time
stamps), never the wall clock of the machine, so that a replay of the same data says the same.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, Self
from urllib.parse import quote, unquote

from adlib.arguments import instance

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")  # rising
EventKind = Literal["open", "update", "escalate", "repeat", "close"]
QualityKind = Literal["nan", "stuck", "late", "duplicate", "gap", "out_of_order", "poison",
                      "dropped", "clock", "detector_failed", "detector_slow", "detector_back",
                      "drift"]
IncidentKind = Literal["anomaly", "health"]
WARNING, CRITICAL = 0.7, 0.9


def severity_of(score: float) -> Severity:
    """Name of a calibrated severity in [0, 1]: above 0.9 critical, above 0.7 warning, else info.

    Examples
    --------
    >>> severity_of(0.9), severity_of(0.91), severity_of(float("nan"))
    ('warning', 'critical', 'info')
    """
    return "critical" if score > CRITICAL else "warning" if score > WARNING else "info"


COUNTED = 1e8  # earlier times (before March 1973) are counted from a stream's first sample


def utc(seconds: float) -> str:
    """An event time to read: UTC, or seconds where the stream has no time stamps.

    Examples
    --------
    >>> utc(1.7e9), utc(814.0), utc(1.7e18)
    ('2023-11-14 22:13:20 UTC', '814 s', '1700000000000000000 s')
    """
    if seconds >= COUNTED:
        with suppress(OverflowError, ValueError, OSError):  # milliseconds, say
            return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{seconds:.0f} s"


@lru_cache(maxsize=20_000, typed=True)
def stream_of(stream: str, entity: str | None = None) -> str:
    """Name of the stream of one entity of a fleet: part of every id, without blanks and bars.

    Different entities have different names, whatever characters they hold.

    Parameters
    ----------
    stream : str
        Name of the fleet.
    entity : str, optional
        None: the name of the fleet itself.

    Examples
    --------
    >>> stream_of("plant", "pump-3"), stream_of("plant", "hall 2/Öl|7"), stream_of("rig")
    ('plant/pump-3', 'plant/hall%202%2FÖl%7C7', 'rig')
    """
    if entity is None:
        return stream
    return f"{stream}/" + "".join(
        c if c.isalnum() or c in "-_.:+@" else quote(c, safe="", errors="surrogatepass")
        for c in str(entity))


def entity_of(stream: str, name: str) -> str | None:
    """The entity whose stream `stream_of` names so; None for the fleet itself.

    Parameters
    ----------
    stream : str
        Name of the fleet.
    name : str

    Examples
    --------
    >>> entity_of("plant", stream_of("plant", "hall 2/Öl|7")), entity_of("rig", "rig")
    ('hall 2/Öl|7', None)
    """
    return None if name == stream else unquote(name[len(stream) + 1:], errors="surrogatepass")


def is_within(name: str, stream: str) -> bool:
    """Whether a stream, or what an id or key begins with, is this stream or one of its entities.

    Examples
    --------
    >>> [is_within(name, "plant") for name in ("plant", "plant/pump-3|combined|7", "plant2")]
    [True, True, False]
    """
    return name == stream or name.startswith((f"{stream}|", f"{stream}/"))


def _plain(value: Any) -> Any:
    """What JSON can hold: NumPy scalars become Python's, non-finite numbers None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _features(pairs: Any) -> tuple[tuple[str, float], ...]:
    return tuple((name, _number(value)) for name, value in pairs)


def leading(of: "Verdict | Incident") -> str:
    """The feature that contributes most, "" where none is known."""
    return of.top_features[0][0] if of.top_features else ""


def _check_record(record: Any, cls: type) -> None:
    wanted = {field.name for field in fields(cls) if field.default is MISSING}
    if missing := sorted(wanted - set(instance(record, "record", Mapping))):
        raise ValueError(f"record of a {cls.__name__} lacks {', '.join(missing)}")


class Record:
    """``to_dict`` to plain JSON types and ``from_dict`` back."""

    __slots__ = ()
    __pydantic_config__ = {"revalidate_instances": "always"}  # read by those who check types

    def to_dict(self) -> dict[str, Any]:
        """This record in plain JSON types; NaN becomes None."""
        return _plain(asdict(self))  # type: ignore[call-overload]  # subclasses are dataclasses

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The record that `to_dict` gave."""
        _check_record(record, cls)
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Verdict(Record):
    """One judged window.

    Attributes
    ----------
    stream : str
    start, end : int
        Sequence numbers of the window's first and last sample.
    time : float
        Time of the last sample, POSIX seconds.
    p_value : float
        Calibrated, in (0, 1]; NaN where the window was not judged (warm-up, missing values).
    score : float
        Calibrated severity in [0, 1]; NaN where not judged.
    severity : {"info", "warning", "critical"}
    is_anomaly : bool or None
        None where the window was not judged: neither normal nor anomalous.
    detectors : dict of str to float or None
        Each detector's own severity; None for one that left the vote.
    top_features : tuple of (str, float)
        The features that drove the verdict, largest share first.
    peaks : tuple of (int, float)
        Evidence, each piece once: sequence numbers of samples that score highest, at least one
        context apart, in rising order, and the p-value of a window with that highest score.
    left_out : tuple of (str, str)
        What this window was judged without, as pairs of a reason ("missing", "frozen" or "member")
        and the name of a feature or detector.

    Examples
    --------
    >>> verdict = Verdict("rig", 0, 99, 99.0, 1e-4, 0.93, "critical", True, {"VAE": 0.93}, ())
    >>> Verdict.from_dict(verdict.to_dict()) == verdict
    True
    """

    stream: str
    start: int
    end: int
    time: float
    p_value: float
    score: float
    severity: Severity
    is_anomaly: bool | None
    detectors: dict[str, float | None]
    top_features: tuple[tuple[str, float], ...]
    peaks: tuple[tuple[int, float], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The verdict that `to_dict` gave."""
        _check_record(record, cls)
        return cls(**{**record, "p_value": _number(record["p_value"]),
                      "score": _number(record["score"]),
                      "top_features": _features(record["top_features"]),
                      **{name: tuple(map(tuple, record.get(name, ())))
                         for name in ("peaks", "left_out")}})


@dataclass(frozen=True, slots=True)
class QualityEvent(Record):
    """Samples ``start`` to ``end`` of a stream that could not be judged as they should be.

    ``detail`` says in words what happened (never a secret: it is stored and shown).

    Attributes
    ----------
    stream, kind : str
        Such as ``"gap"`` or ``"stuck"``.
    start, end : int
        Sequence numbers.
    time : float
        POSIX seconds.
    detail : str
    """

    stream: str
    kind: QualityKind
    start: int
    end: int
    time: float
    detail: str


@dataclass(frozen=True, slots=True)
class Incident(Record):
    """Flagged windows that belong together, as known at one moment.

    Attributes
    ----------
    id : str
        ``stream|group|start``: the same for every replay of the same data.
    stream : str
    start, end : int
        Sequence numbers of the first sample of the first window that holds evidence, and of the
        last piece of evidence (the last sample of a flagged window that names none).
    opened_at, last_at : float
        Time of the first window that holds evidence and of the last that brought some, POSIX
        seconds. (The notification came up to the debounce later: see the time of the ``open``
        event.)
    closed_at : float or None
    severity : {"info", "warning", "critical"}
        The highest so far; it never falls within an incident.
    peak_score : float
        Highest calibrated severity in [0, 1] so far; ``top_features`` are those of that window.
    n_windows : int
        Flagged windows so far.
    top_features : tuple of (str, float)
        Names and shares of the score.
    state : {"open", "closed"}
    acknowledged : bool
        Whether someone has said that they have seen it.
    kind : {"anomaly", "health"}
        What the data show, or what keeps the engine from judging them.
    detail : str
        What is wrong, in words, of a health incident; what is new, where an update is sent. Never a
        secret.
    """

    id: str
    stream: str
    start: int
    end: int
    opened_at: float
    last_at: float
    closed_at: float | None
    severity: Severity
    peak_score: float
    n_windows: int
    top_features: tuple[tuple[str, float], ...]
    state: Literal["open", "closed"]
    acknowledged: bool
    kind: IncidentKind = "anomaly"
    detail: str = ""

    @property
    def condition(self) -> str:
        """What is wrong, of a health incident: ``NAME`` or ``NAME.SUBJECT``, as its id has it."""
        group = self.id.rpartition("|")[0].rpartition("|")[2]
        return group.removeprefix("health.") if self.kind == "health" else ""

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The incident that `to_dict` gave."""
        _check_record(record, cls)
        return cls(**{**record, "peak_score": _number(record["peak_score"]),
                      "top_features": _features(record["top_features"])})


@dataclass(frozen=True, slots=True)
class IncidentEvent(Record):
    """A step in an incident's life: open -> (update | escalate | repeat)* -> close.

    Attributes
    ----------
    kind : {"open", "update", "escalate", "repeat", "close"}
    incident : Incident
        As it was at this step.
    time : float
        Time of the window that caused the step, POSIX seconds.
    notify : bool
        Whether people are notified. Every step is stored.
    n : int
        Steps of this incident before this one.
    """

    kind: EventKind
    incident: Incident
    time: float
    notify: bool
    n: int

    @property
    def id(self) -> str:
        """``incident|kind|n``: the same for every replay, so that a store can ignore doubles."""
        return f"{self.incident.id}|{self.kind}|{self.n}"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The event that `to_dict` gave."""
        _check_record(record, cls)
        return cls(**{**record, "incident": Incident.from_dict(record["incident"])})


@dataclass(frozen=True, slots=True)
class Silence(Record):
    """No notifications for what matches, until a time; incidents are stored all the same.

    Attributes
    ----------
    id : str
        A later silence of the same id replaces the earlier one.
    until : float
        End, event time in POSIX seconds; one that lies in the past ends the silence.
    stream, feature : str
        Shell patterns (``*``, ``?``, ``[a-c]``). The feature is the incident's leading one; an
        incident without features matches only ``*``.
    severity : {"info", "warning", "critical"}
        Highest severity that is silenced: ``"warning"`` lets critical incidents through.
    start : float or None
        Begin, event time in POSIX seconds; None: at once.
    every : float or None
        Seconds after which the stretch from ``start`` to ``until`` comes again, such as 604,800
        for a weekly one; None: once.
    kind : {"anomaly", "health", "*"}
        Kind of incidents.
    author, comment : str
        Who silenced it, and why.
    """

    id: str
    until: float
    stream: str = "*"
    severity: Severity = "critical"
    feature: str = "*"
    start: float | None = None
    every: float | None = None
    kind: IncidentKind | Literal["*"] = "*"
    author: str = ""
    comment: str = ""
