"""``python -m adlib.realtime alerts``: look at incidents, acknowledge, silence, replay, remove.

It works on the store's file, while the engine runs or not. What it decides reaches a running engine
with its next batch, and is recorded with the position from which it counts.
"""

import argparse
import json
import sqlite3
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from adlib.arguments import number, shown
from adlib.durations import seconds
from adlib.realtime.doors.messages import label
from adlib.realtime.doors.process import user
from adlib.realtime.events import (
    COUNTED,
    SEVERITIES,
    Incident,
    Silence,
    is_within,
    leading,
    utc,
)
from adlib.realtime.silences import LATEST
from adlib.realtime.store import AlertStore


def add_parser(subparsers: Any) -> None:
    """Add the command ``alerts`` to ``argparse`` subparsers; `run` executes it."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--store", default="alerts.db", metavar="PATH", help="the alert store")
    common.add_argument("--json", action="store_true", help="print JSON")
    alerts = subparsers.add_parser("alerts", help="list, acknowledge and silence alerts")
    actions = alerts.add_subparsers(dest="action", required=True)

    def action(name: str, **kwargs: Any) -> argparse.ArgumentParser:
        return actions.add_parser(name, parents=[common], description=kwargs["help"], **kwargs)

    add = action("list", help="the newest incidents")
    add.add_argument("--stream", help="a machine, or a fleet for all of its machines")
    add.add_argument("--state", choices=["open", "closed"])
    add.add_argument("--limit", type=int, default=20)
    add = action("show", help="one incident, step by step")
    add.add_argument("id")
    add = action("ack", help="acknowledge incidents: no more repeats")
    add.add_argument("ids", nargs="+", metavar="id")
    add = action("close", help="close incidents by hand")
    add.add_argument("ids", nargs="+", metavar="id")
    add = action("silence", help="list silences; with --for, --until or --end, change one")
    when = add.add_mutually_exclusive_group()
    when.add_argument("--for", dest="duration", type=_duration, metavar="2h",
                      help="from --start or from now on; for streams whose time stamps are the "
                           "present")
    when.add_argument("--until", type=_moment, metavar="TIME",
                      help="ISO time (UTC unless it says otherwise) or seconds, in stream time")
    when.add_argument("--end", metavar="ID", help="end a silence")
    add.add_argument("--start", type=_moment, metavar="TIME", help="begin; default: at once")
    add.add_argument("--every", type=_duration, metavar="1d",
                     help="from --start on, again after this time, until it is ended")
    add.add_argument("--stream", "--entity", default="*", help="stream, or "
                     "machine of a fleet as its data name it; or a pattern such as 'pump*', or "
                     "'plant/*' for all machines of plant")
    add.add_argument("--severity", default="critical", choices=SEVERITIES,
                     help="highest severity that is silenced")
    add.add_argument("--feature", default="*", help="pattern for the leading feature")
    add.add_argument("--kind", default="*", choices=["anomaly", "health", "*"],
                     help="kind of incidents")
    add.add_argument("--author", default="", help="who silences it (default: the user's name)")
    add.add_argument("--comment", default="", help="why")
    action("dead", help="messages that a receiver refused for good, and what waits behind them")
    add = action("replay", help="send dead letters again, or give them up")
    add.add_argument("ids", nargs="*", metavar="id")
    add.add_argument("--all", action="store_true", help="all of them")
    add.add_argument("--discard", action="store_true", help="give up; those behind go on")
    add = action("prune", help="delete what ended before a time; what is open or unsent stays")
    add.add_argument("--before", type=_moment, required=True, metavar="TIME")
    add = action("quality", help="the newest data-quality events")
    add.add_argument("--stream")
    add.add_argument("--kind")
    add.add_argument("--limit", type=int, default=20)
    add = action("remove", help="delete single things, or all that cannot be read any more")
    add.add_argument("kind", choices=["checkpoint", "entity", "incident", "message", "quality",
                                      "silence", "trace", "verdict", "unreadable"])
    add.add_argument("names", nargs="*", metavar="name", help="a stream for its checkpoint, else "
                     "as other commands show it")


def run(args: argparse.Namespace) -> int:
    """Execute a command that `add_parser` parsed; return the exit code."""
    try:
        with AlertStore(args.store, create=False) as store:
            return _ACTIONS[args.action](store, args)
    except UnicodeEncodeError:
        error = "a name holds bytes that are no text"
    except sqlite3.Error as fault:  # locked, read-only, disk full, damaged
        error = f"{args.store}: {fault}"
    except FileNotFoundError as fault:
        error = f"{fault.args[0]}: name it with --store PATH"
    except (KeyError, TypeError, ValueError) as fault:
        error = fault.args[0]
    print(f"alerts {args.action}: {shown(error, 2000)}", file=sys.stderr)
    return 1


def _list(store: AlertStore, args: argparse.Namespace) -> int:
    stream = _stream(store, args.stream)
    if stream is None:
        found = store.incidents(state=args.state, limit=args.limit)
    else:  # a fleet's name stands for all of its machines
        found = [incident for incident in store.incidents(state=args.state)
                 if is_within(incident.stream, stream)]
        found = found[max(len(found) - args.limit, 0):]
    _incidents(found, args)
    return 0


def _incidents(incidents: Iterable[Incident], args: argparse.Namespace) -> None:
    _print(args, incidents, ("incident", "severity", "state", "since", "last flag", "windows",
                             "peak", "top feature"),
           lambda i: (i.id, i.severity, i.state + (", ack" if i.acknowledged else ""),
                      utc(i.opened_at), utc(i.last_at), i.n_windows, f"{i.peak_score:.2f}",
                      shown(leading(i))))


def _show(store: AlertStore, args: argparse.Namespace) -> int:
    incident = store.incident(args.id)
    events = store.events(args.id)
    if args.json:
        print(json.dumps({"incident": incident.to_dict(),
                          "events": [event.to_dict() for event in events]}))
        return 0
    _incidents([incident], args)
    print(f"\nsamples {incident.start} to {incident.end}; top features: "
          + (", ".join(f"{shown(name)} ({value:.2f})" for name, value in incident.top_features)
             or "not known") + "\n")
    _print(args, events, ("time", "step", "severity", "peak", "windows", "notified"),
           lambda e: (utc(e.time), e.kind, e.incident.severity, f"{e.incident.peak_score:.2f}",
                      e.incident.n_windows, "yes" if e.notify else ""))
    return 0


def _decide(store: AlertStore, args: argparse.Namespace) -> int:
    for name in args.ids:
        store.incident(name)  # all or none
    decide = store.acknowledge if args.action == "ack" else store.end
    _incidents([decide(name) for name in args.ids], args)
    return 0


def _silence(store: AlertStore, args: argparse.Namespace) -> int:
    if args.end is not None:
        if args.end not in {silence.id for silence in store.silences()}:
            raise KeyError(f"no silence {args.end!r} in {store.path}")
        store.silence(Silence(args.end, 0.0, "*", "critical", "*"))
    elif args.duration is not None or args.until is not None:
        store.silence(_new_silence(store, args))
    elif args.start is not None or args.every is not None:
        raise ValueError("--start and --every need --for or --until")
    _print(args, [silence for silence in store.silences() if silence.until > 0],
           ("silence", "until", "stream", "up to", "feature", "kind", "from", "every", "by", "why"),
           lambda s: (s.id, utc(s.until), s.stream, s.severity, s.feature, s.kind,
                      "" if s.start is None else utc(s.start),
                      "" if s.every is None else timedelta(seconds=s.every), s.author, s.comment))
    return 0


def _new_silence(store: AlertStore, args: argparse.Namespace) -> Silence:
    now, start = time.time(), args.start
    if start is None and (args.until is None or args.every is not None):
        newest = [one for one in store.incidents(limit=100) if one.kind == "anomaly"]
        if newest and newest[-1].last_at < COUNTED:
            raise ValueError("this store's streams count seconds from 0 instead of telling the "
                             "time: use --until with such a number instead of --for")
        start = None if args.every is None else now
    until = args.until if args.until is not None else (now if start is None else start
                                                       ) + args.duration
    if until <= 0:  # means that a silence is ended
        raise ValueError("--until must lie after 0")
    return Silence(uuid.uuid4().hex[:8], until, args.stream, args.severity, args.feature, start,
                   args.every, args.kind, args.author or user(), args.comment)


def _dead(store: AlertStore, args: argparse.Namespace) -> int:
    waiting = Counter((row.channel, row.key) for row in store.outbox(state="pending"))
    _print(args, store.outbox(state="dead"), ("message", "time", "error", "waiting behind"),
           lambda r: (r.id, utc(r.time), r.error, waiting[r.channel, r.key]))
    return 0


def _replay(store: AlertStore, args: argparse.Namespace) -> int:
    if bool(args.ids) == args.all:
        raise ValueError("name dead letters (see: alerts dead), or give --all")
    dead = {row.id for row in store.outbox(state="dead")}
    if unknown := sorted(set(args.ids) - dead):
        raise KeyError(f"no dead letter {', '.join(unknown)} in {store.path}")
    count = store.replay_dead(None if args.all else args.ids, discard=args.discard)
    print(json.dumps({"changed": count}) if args.json else
          f"{count} {'given up' if args.discard else 'will be sent again'}")
    return 0


def _quality(store: AlertStore, args: argparse.Namespace) -> int:
    _print(args, store.quality(stream=_stream(store, args.stream), kind=args.kind,
                               limit=args.limit),
           ("time", "event (stream|kind|first|last sample)", "what"),
           lambda q: (utc(q.time), f"{q.stream}|{q.kind}|{q.start}|{q.end}", q.detail))
    return 0


def _remove(store: AlertStore, args: argparse.Namespace) -> int:
    if (args.kind == "unreadable") == bool(args.names):
        raise ValueError(f"{args.kind} takes no name" if args.names else f"name the {args.kind}")
    count = len(args.names) or store.remove_unreadable()
    for name in args.names:
        store.remove(args.kind, _stream(store, name) if args.kind == "entity" else name)
    print(json.dumps({"removed": count}) if args.json else f"{count} removed")
    return 0


def _stream(store: AlertStore, name: Any) -> Any:
    """The id of a stream that may be named as people see it, or by its entity alone."""
    names = [] if name is None else [
        row.name for row in store.entities() if name in (label(row.name), row.entity)]
    return names[0] if len(names) == 1 else name


def _prune(store: AlertStore, args: argparse.Namespace) -> int:
    deleted = store.prune(args.before)
    print(json.dumps(deleted) if args.json else
          "deleted: " + ", ".join(f"{count} {table}" for table, count in deleted.items()))
    return 0


_ACTIONS = {"list": _list, "show": _show, "ack": _decide, "silence": _silence, "dead": _dead,
            "replay": _replay, "prune": _prune, "quality": _quality,
            "close": _decide, "remove": _remove}


def _print(args: argparse.Namespace, records: Iterable[Any], header: Sequence[str],
           cells: Any) -> None:
    records = list(records)
    if args.json:
        print(json.dumps([record.to_dict() for record in records]))
        return
    rows = [header, *([shown(cell, 600) for cell in cells(record)] for record in records)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    if not records:
        print("(none)")


def _duration(text: str) -> float:
    try:
        return seconds(text, "it")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(text: str) -> float:
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
    if moment is not None and text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} may be a date or seconds: write {moment:%Y-%m-%d}"
                                         f" or {text}.0")
    with suppress(ValueError):
        return number(float(text), "a time", least=0, most=LATEST)
    if moment is None:
        raise argparse.ArgumentTypeError(
            f"must be an ISO time such as 2026-01-31T18:00, or seconds, got {text!r}")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
