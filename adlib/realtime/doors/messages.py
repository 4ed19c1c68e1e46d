"""How an incident reads to people: subject and plain text, whatever carries them.

Names come from the data, and no receiver may trust them: here, once, what cannot be printed is
replaced and what is long is shortened. The id of the incident, the command that acknowledges it and
the id of the message stay whole. Where the environment variable ``ADLIB_PAGE`` holds the address
under which people open the operator's page, each message links to its incident there.
"""

import os
import re
import shlex
from urllib.parse import quote, unquote

from adlib.arguments import shown
from adlib.realtime.events import Incident, IncidentEvent, utc

_SAYS = {"open": "", "escalate": " got worse", "repeat": " goes on",
         "update": ", new evidence", "close": " is over"}
_HEALTH = {"missing": "feature missing", "frozen": "feature frozen", "member": "detector off",
           "drift": "drift wants a refit", "clock": "clock trouble", "hanging": "engine hangs",
           "store": "store trouble", "dropped": "samples dropped", "channel": "channel dead",
           "several": "trouble of many"}
_WHOLE = 10**6  # characters: more than an id has


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
    [CRITICAL] rig: anomaly (temperature)
    When: 2023-11-14 22:13:50 UTC, since 2023-11-14 22:13:20 UTC
    How bad: critical, peak 0.95 of 1, 4 windows flagged (samples 0 to 99)
    Top features: temperature (0.71)
    Incident: rig|combined|0
    Acknowledge: python -m adlib.realtime alerts ack 'rig|combined|0' --store alerts.db
    Message: rig|combined|0|open|0
    """
    incident = event.incident
    what, where = named(incident)
    features = ", ".join(f"{_listed(name)} ({value:.2f})"
                         for name, value in incident.top_features[:10])
    lines = [f"When: {utc(event.time)}, since {utc(incident.opened_at)}"]
    if incident.kind == "health":
        lines.append(f"How bad: {incident.severity} (the engine's own health)")
    else:
        lines += [f"How bad: {incident.severity}, peak {incident.peak_score:.2f} of 1, "
                  f"{incident.n_windows} window{'s' * (incident.n_windows != 1)} flagged (samples "
                  f"{incident.start} to {incident.end})",
                  f"Top features: {features or 'not known'}"]
    if incident.detail:
        lines.append(f"What: {shown(incident.detail, 500)}")
    lines.append(f"Incident: {shown(incident.id, _WHOLE)}")
    if (page := os.environ.get("ADLIB_PAGE", "")).startswith(("http://", "https://")):
        lines.append(f"Page: {shown(page, 500).rstrip('/')}/incident?id="
                     f"{quote(incident.id, safe='', errors='replace')}")
    if event.kind != "close" and not incident.acknowledged:
        lines.append(f"Acknowledge: {_command(incident.id, store)}")
    lines.append(f"Message: {shown(event.id, _WHOLE)}")
    said = f"{what}{_SAYS[event.kind]}{where}"
    if incident.condition.startswith("model."):  # its number alone says nothing, and it has no end
        said = f"{shown(incident.detail, 120)}{' (closed)' * (event.kind == 'close')}"
    return (f"[{incident.severity.upper()}] {shown(label(incident.stream), 60)}: {said}",
            "\n".join(lines))


def label(name: str) -> str:
    """A stream as people call it: names of entities are quoted in ids.

    Examples
    --------
    >>> label("plant/hall%202%2FÖl%7C7")
    'plant/hall 2/Öl|7'
    """
    stream, bar, entity = name.partition("/")
    return stream + bar + unquote(entity, errors="replace")


def named(incident: Incident) -> tuple[str, str]:
    """What an incident is, and in brackets where: the leading feature, or what its id names."""
    what, of = "anomaly", ""
    if incident.kind == "health":
        what, _, of = incident.condition.partition(".")
        what, of = _HEALTH.get(what, shown(what.replace("_", " "), 40)), of or "health"
    if incident.top_features:
        of = incident.top_features[0][0]
    return what, f" ({shown(of, 60)})" if of else ""


def _listed(name: str) -> str:
    """A name in a list; one that holds what separates a list stands in quotes."""
    name = shown(name)
    quoted = name.replace('"', '\\"')
    return f'"{quoted}"' if re.search(r'[,:()"]|^\s|\s$|^$', name) else name


def _command(incident_id: str, store: str) -> str:
    # The shell takes what begins with a hyphen for an option, unless "--" stands before it.
    rest = [*["--store", store], "--", incident_id] if incident_id.startswith("-") else [
        incident_id, "--store", store]
    return " ".join(map(_quoted, ["python", "-m", "adlib.realtime", "alerts", "ack", *rest]))


def _quoted(text: str) -> str:
    r"""A word for the shell, printable whatever it holds.

    Examples
    --------
    >>> print(_quoted("my store.db"), _quoted("a\u202e'b"), _quoted("caf\udce9"))
    'my store.db' $'a\u202e\'b' $'caf\xe9'
    """
    if shown(text, _WHOLE) == text:
        return shlex.quote(text)

    def plain(c: str) -> str:
        if "\udc80" <= c <= "\udcff":  # a byte of a path that is no UTF-8
            return f"\\x{ord(c) - 0xdc00:02x}"
        if c in "\\'":
            return f"\\{c}"
        if shown(c) == c:
            return c
        return f"\\x{ord(c):02x}" if c < "\x80" else (
            f"\\u{ord(c):04x}" if c <= "\uffff" else f"\\U{ord(c):08x}")

    return f"$'{''.join(map(plain, text))}'"
