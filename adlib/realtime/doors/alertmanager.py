"""Prometheus' Alertmanager as a receiver: its grouping, silences and routes serve incidents too."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from adlib.arguments import shown
from adlib.realtime.channels import Outcome
from adlib.realtime.doors.client import HttpChannel, HttpConfig, to_json
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import COUNTED, SEVERITIES, IncidentEvent
from adlib.realtime.routes import entity_of
from adlib.realtime.settings import Seconds
from adlib.realtime.store import OutboxRow


class AlertmanagerConfig(HttpConfig):
    """Where Alertmanager listens, and how long it keeps what is not said again."""

    url: SecretStr = Field(description="Such as http://localhost:9093, without /api.")
    labels: dict[Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")], str] = (
        Field({}, description="Further labels of each alert."))
    resolve_after: Annotated[Seconds, Field(ge=4)] = Field(
        300.0, description="Time after which Alertmanager takes as over what is not said again.")


class AlertmanagerChannel(HttpChannel):
    """Each incident is an alert of Alertmanager's (API v2), from its first message to its close.

    Alertmanager keeps alerts in memory, and takes as over what is not said again: what is open is
    sent once more every quarter of ``resolve_after``. Where the engine stops, its alerts end after
    that time: watch the engine itself, with its heartbeat or its metrics. It repeats, groups and
    silences by rules of its own; an incident that adlib acknowledges goes on there.

    Labels say what an alert is: ``alertname`` (AdlibAnomaly or AdlibHealth), ``severity``,
    ``stream``, ``entity``, ``kind`` and ``incident`` (its id). An incident that gets worse is
    another alert to Alertmanager: that of the lower severity ends. Each member of a cluster wants
    the alerts: give one receiver for each (``alertmanager#2``).
    """

    Config = AlertmanagerConfig
    name, batch, resolves = "alertmanager", 50, True

    def __init__(self, config: AlertmanagerConfig, *args: Any, **kwargs: Any):
        super().__init__(config, *args, **kwargs)
        self.again, self._labels = config.resolve_after / 4, config.labels

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Post alerts at once; one by one where that is refused, since one of them may be bad."""
        alerts = [alert for row in rows for alert in self.alerts(IncidentEvent.from_dict(row.body))]
        outcome = (await self._ask(to_json(alerts), path="/api/v2/alerts")).outcome()
        if outcome.state == "dead" and len(rows) > 1:
            return [(await self.send([row]))[0] for row in rows]
        return [outcome] * len(rows)

    def alerts(self, event: IncidentEvent) -> list[dict[str, Any]]:
        """An incident as an alert, and the end of those that it was before it got worse.

        Parameters
        ----------
        event : IncidentEvent
        """
        incident, now = event.incident, self._clock()
        summary, text = describe(event, self._store)
        labels: dict[str, str] = {
            **self._labels, "alertname": f"Adlib{incident.kind.capitalize()}",
            "severity": incident.severity, "stream": incident.stream,
            "entity": entity_of(incident), "kind": incident.kind, "incident": incident.id}
        labels = {name: shown(value, _WHOLE) for name, value in labels.items()}
        begun = incident.opened_at if COUNTED <= incident.opened_at < now else now - _SKEW
        over = max(begun, now - _SKEW)
        until = over if event.kind == "close" else now + 4 * self.again
        alert = {"annotations": {"summary": summary, "description": text,
                                 "acknowledged": str(incident.acknowledged).lower()},
                 "startsAt": _iso(begun)}
        lower = SEVERITIES[:SEVERITIES.index(incident.severity)] * (
            event.kind in ("escalate", "close"))  # where it got worse unreported, at its close
        return [{**alert, "labels": labels, "endsAt": _iso(until)},
                *({**alert, "labels": {**labels, "severity": before}, "endsAt": _iso(over)}
                  for before in lower)]


_WHOLE = 10**6  # characters: more than an id has
# Seconds: by Alertmanager's clock an end must have passed, or the later one it knows rules.
_SKEW = 60.0


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
