"""When a silence holds: what it matches, from when until when, and how often it comes again."""

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import get_args
from urllib.parse import unquote

from adlib.arguments import instance, number, one_of
from adlib.realtime.events import SEVERITIES, Incident, IncidentKind, Silence, leading

LATEST = 253_402_300_799.0  # the last second of the year 9999
_LONGEST = 500  # characters of a text


def check(silence: Silence) -> Silence:
    """A silence that can hold as it says.

    Raises
    ------
    ValueError
        When a time is none or lies beyond the year 9999, a text has characters that are not
        printed, or it would come again before it ended.

    Examples
    --------
    >>> check(Silence("nightly", 7200.0, start=0.0, every=86_400.0)).every
    86400.0
    >>> check(Silence("night", float("nan")))
    Traceback (most recent call last):
    ValueError: until must be a number >= 0 and at most 2.53402e+11, got nan
    """
    instance(silence, "silence", Silence)
    until = number(silence.until, "until", least=0, most=LATEST)
    one_of(silence.severity, "severity", SEVERITIES)
    one_of(silence.kind, "kind", ("*", *get_args(IncidentKind)))
    for name in ("id", "stream", "feature", "author", "comment"):
        text = instance(getattr(silence, name), name, str)
        if not text.isprintable() or len(text) > _LONGEST:
            raise ValueError(f"{name} must be at most {_LONGEST} printed characters in one line, "
                             f"got {text!r:.80}")
    if not silence.id or silence.id.startswith("-"):
        raise ValueError(f"id must be a name without a dash before it, got {silence.id!r}")
    if silence.start is not None and number(
            silence.start, "start", least=0, most=LATEST) >= until > 0:
        raise ValueError(f"start must lie before until={until:.0f}, got {silence.start:.0f}")
    if silence.every is not None:
        every = number(silence.every, "every", above=0, most=LATEST)
        if silence.start is None or every <= until - silence.start:
            raise ValueError(f"every must be longer than the stretch from start to until, and "
                             f"needs a start, got every={every:.0f} s")
    return silence


def holds(silence: Silence, now: float) -> bool:
    """Whether a silence holds at an event time; what cannot be read never does.

    Examples
    --------
    >>> night = Silence("night", 7200.0, start=0.0, every=86_400.0)
    >>> holds(night, 3600.0), holds(night, 8000.0), holds(night, 86_400.0 + 3600)
    (True, False, True)
    """
    try:
        check(silence)
    except (TypeError, ValueError):
        return False
    start = -math.inf if silence.start is None else silence.start
    if silence.every is not None and now >= start:
        now = start + (now - start) % silence.every
    return start <= now < silence.until


def silenced(silences: Iterable[Silence], incident: Incident, now: float) -> bool:
    """Whether nobody is to be notified of an incident at an event time.

    A stream of a fleet may be named by its id (``plant/press%203``), as people see it
    (``plant/press 3``) or by its entity alone (``press 3``), or by a pattern of any of these.

    Parameters
    ----------
    silences : iterable of Silence
    incident : Incident
    now : float
        POSIX seconds.

    Returns
    -------
    bool
    """
    names = {incident.stream, unquote(incident.stream),
             unquote(incident.stream.rpartition("/")[2])}
    return any(
        holds(silence, now) and silence.kind in ("*", incident.kind)
        and any(fnmatchcase(name, silence.stream) for name in names)
        and fnmatchcase(leading(incident), silence.feature)
        and SEVERITIES.index(incident.severity) <= SEVERITIES.index(silence.severity)
        for silence in silences)
