"""How an incident reads to people: subject and plain text, whatever carries them."""

import shlex

from adlib.realtime.events import IncidentEvent, utc

_SAYS = {"open": "anomaly", "escalate": "anomaly got worse", "repeat": "anomaly goes on",
         "update": "anomaly goes on", "close": "anomaly is over"}


def describe(event: IncidentEvent, store: str) -> tuple[str, str]:
    """Subject and plain text of a notification.

    Parameters
    ----------
    event : IncidentEvent
    store : str
        Path of the alert store, for the command that acknowledges.

    Examples
    --------
    >>> from adlib.realtime.events import Incident
    >>> incident = Incident("rig|combined|0", "rig", 0, 99, 1.7e9, 1.7e9 + 30, None, "critical",
    ...                     0.95, 4, (("temperature", 0.71),), "open", False)
    >>> subject, text = describe(IncidentEvent("open", incident, 1.7e9 + 30, True, 0), "alerts.db")
    >>> print(subject, text, sep="\\n")
    [CRITICAL] rig: anomaly
    When: 2023-11-14 22:13:50 UTC, since 2023-11-14 22:13:20 UTC
    How bad: critical, peak 0.95 of 1, 4 windows flagged (samples 0 to 99)
    Top features: temperature (0.71)
    Incident: rig|combined|0
    Acknowledge: python -m adlib.realtime alerts ack 'rig|combined|0' --store alerts.db
    Message: rig|combined|0|open|0
    """
    incident = event.incident
    features = ", ".join(f"{name} ({value:.2f})" for name, value in incident.top_features)
    lines = [
        f"When: {utc(event.time)}, since {utc(incident.opened_at)}",
        f"How bad: {incident.severity}, peak {incident.peak_score:.2f} of 1, "
        f"{incident.n_windows} windows flagged (samples {incident.start} to {incident.end})",
        f"Top features: {features or 'not known'}",
        f"Incident: {incident.id}",
    ]
    if event.kind != "close" and not incident.acknowledged:
        lines.append("Acknowledge: " + shlex.join(
            ["python", "-m", "adlib.realtime", "alerts", "ack", incident.id, "--store", store]))
    lines.append(f"Message: {event.id}")
    return (f"[{incident.severity.upper()}] {incident.stream}: {_SAYS[event.kind]}",
            "\n".join(lines))
