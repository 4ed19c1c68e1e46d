"""Which receiver gets which incident: by severity, stream, entity and kind."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, get_args
from urllib.parse import unquote

from pydantic import BeforeValidator, ConfigDict, Field

from adlib.realtime.events import SEVERITIES, Incident, IncidentKind, Severity, Verdict
from adlib.realtime.settings import Settings

_ONE = BeforeValidator(lambda value: (value,) if isinstance(value, str | int | float) else value)


class Route(Settings):
    """Which incidents go to a receiver: those that every key names. One text, or a list of them.

    A stream or entity is named as it is or by a pattern as of a shell (``pump-*``). What has gone
    to a receiver once is followed there: it gets the escalation and the close as well.

    Examples
    --------
    >>> route = Route.from_any({"severity": "critical", "stream": ["plant", "rig*"]})
    >>> route.severity, route.stream, route.entity
    (('critical',), ('plant', 'rig*'), ('*',))
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    severity: Annotated[tuple[Severity, ...], _ONE] = Field(
        SEVERITIES, min_length=1, description="Severities.")
    stream: Annotated[tuple[str, ...], _ONE] = Field(
        ("*",), min_length=1, description="Streams; the name of a fleet means all of it.")
    entity: Annotated[tuple[str, ...], _ONE] = Field(
        ("*",), min_length=1, description="Entities of a fleet, as its data name them.")
    kind: Annotated[tuple[IncidentKind, ...], _ONE] = Field(
        get_args(IncidentKind), min_length=1, description="What the data show, or what keeps the "
        "engine from judging them.")

    def takes(self, of: Incident | Verdict) -> bool:
        """Whether the keys name an incident, as it is now, or a verdict."""
        fleet = of.stream.rpartition("/")[0]
        return (of.severity in self.severity and getattr(of, "kind", "anomaly") in self.kind
                and _named(self.stream, of.stream, fleet) and _named(self.entity, entity_of(of)))


def untaken(routes: Iterable[Route]) -> list[str]:
    """Which incidents that are reported no route takes in every stream.

    Examples
    --------
    >>> untaken([Route(kind="anomaly"), Route(severity="critical", kind="health")])
    ['warning health']
    """
    all_over = [route for route in routes if "*" in route.stream and "*" in route.entity]
    return [f"{severity} {kind}" for kind in get_args(IncidentKind) for severity in SEVERITIES[1:]
            if not any(severity in route.severity and kind in route.kind for route in all_over)]


def entity_of(of: Incident | Verdict) -> str:
    """Name of the entity as its data have it, "" for the stream itself: see `events.stream_of`."""
    return unquote(of.stream.rpartition("/")[2]) if "/" in of.stream else ""


def _named(patterns: tuple[str, ...], *names: Any) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern)
               for pattern in patterns for name in names)
