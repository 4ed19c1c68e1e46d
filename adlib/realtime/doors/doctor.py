"""``python -m adlib.realtime doctor``: is everything there that a run needs, before it is needed?

Clock, configuration, model, alert store, source and receivers, a line for each finding: ``ok``,
``warn`` (runs, but look at it), ``fail`` (does not run) or ``skip`` (not tried), and what to do.
A store is looked at, not upgraded; a source is asked, and nothing is taken from it. Receivers get a
test message with ``--send`` alone: a health incident that opens, and is over at once.
"""

import argparse
import asyncio
import ctypes
import os
import shutil
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from adlib.arguments import shown
from adlib.realtime import store as stores
from adlib.realtime.channels import Channel
from adlib.realtime.config import SENDING, EngineConfig
from adlib.realtime.doors import versions
from adlib.realtime.engine import RealTimeAnomalyDetector
from adlib.realtime.events import Incident, IncidentEvent, utc
from adlib.realtime.notify import NotificationConfig, open_channels
from adlib.realtime.settings import ConfigError
from adlib.realtime.sources import open_source, opened

Findings = Iterator[tuple[str, str]]  # state and sentence

_WAIT = 10.0  # seconds for an answer
_FREE = 100_000_000  # bytes that should be free beside what is kept
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"}
_UNSYNCHRONISED = 5  # what adjtimex answers


def run(args: argparse.Namespace) -> int:
    """Execute the command; 0 where a run can begin, 1 where something fails."""
    failed, known = False, dict[str, Any]()  # what later parts need of earlier ones
    for part, look in _PARTS.items():
        for state, text in _looked(look(args, known)):
            print(f"{state:5} {part:14} {shown(text, 1000)}", flush=True)
            failed |= state == "fail"
    return int(failed)


def _looked(findings: Findings) -> Findings:
    try:
        yield from findings
    except Exception as error:  # whatever is wrong is what was asked for
        foreseen = isinstance(error, (ImportError, LookupError, OSError, ValueError))
        for line in (str(error) or "no reason is given").splitlines():
            yield "fail", line if foreseen else f"{type(error).__name__}: {line}"


def _clock(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    now, made = time.time(), Path(stores.__file__).stat().st_mtime
    ask = getattr(ctypes.CDLL(None), "adjtimex", None)  # Linux alone
    state = ask(ctypes.create_string_buffer(512)) if ask else -1  # larger than its record
    if now < made - 86_400:
        yield "fail", f"it says {utc(now)}, before adlib was installed: set it"
    elif state == _UNSYNCHRONISED:
        yield "warn", (f"{utc(now)}, not synchronised: start a time service such as chrony, since "
                       f"silences and retries go by it")
    else:
        yield "ok", utc(now) + (", synchronised" if state >= 0 else "")


def _configuration(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    try:
        config = EngineConfig.from_any(args.config)
    except ConfigError as error:
        yield from (("fail", line) for line in str(error).splitlines())
        with suppress(ConfigError):  # a variable that is not set hides nothing else
            known["config"] = EngineConfig.from_any(args.config, spare=SENDING)
        return
    known["config"], alerts = config, config.alert_config
    yield "ok", f"{args.config}: stream {config.stream!r}"
    if alerts.storage is None:
        yield "warn", "nothing is kept or sent: name a file under alert_config.storage.path"
    elif alerts.notification is None or not alerts.notification.receivers():
        yield "warn", "nobody is notified: name a receiver under alert_config.notification"
    elif args.config.stat().st_mode & stat.S_IROTH and "${" not in args.config.read_text():
        yield "warn", (f"every user can read it, and it may hold secrets: write ${{NAME}} for "
                       f"them, or chmod 600 {args.config}")
    if alerts.heartbeat is None:
        yield "warn", ("no heartbeat, so nobody notices a process that is gone: name a dead-man's "
                       "switch under alert_config.heartbeat, or let something ask /ready")


def _model(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    if (config := known.get("config")) is None:
        return
    engine = known["engine"] = RealTimeAnomalyDetector.load(args.model, config)
    yield "ok", (f"{args.model}: version {versions.current(args.model).used[-1]}, "
                 f"{len(engine.features_)} features, alpha {engine.config.alpha:.3g}"
                 + "".join(f"; {count:,} entities judged by {how}"
                           for how, count in Counter(engine.entities.values()).items()))


def _store(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    config = known.get("config")
    if config is None or (storage := config.alert_config.storage) is None:
        return
    path, folder = storage.path, storage.path.parent.resolve()
    if not os.access(folder, os.W_OK | os.X_OK) or path.exists() and not os.access(path, os.W_OK):
        raise ValueError(f"{path} cannot be written by this user: make its folder, or chown it")
    yield from _disk(folder, storage.trace)
    if not path.exists():
        yield "ok", f"{path} is made by the first run"
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise ValueError(f"{path} cannot be read ({error}): move it away, or put a copy in its "
                         f"place") from None
    if 0 < version < stores.SCHEMA_VERSION:
        yield "warn", (f"{path} has schema {version}, and the next run makes it "
                       f"{stores.SCHEMA_VERSION}, which no earlier version of adlib reads: keep a "
                       f"copy first, sqlite3 {path} '.backup before.db'")
        return
    with stores.AlertStore(path, create=False) as store:
        yield from _contents(store, config)


def _disk(folder: Path, trace: int) -> Findings:
    import psutil  # type: ignore[import-untyped]

    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)
              if folder.is_relative_to(part.mountpoint)}
    if (kind := mounts[max(mounts, key=len)] if mounts else "") in _REMOTE:
        yield "warn", f"{folder} lies on {kind}, whose locks cannot be relied on: name a local disk"
    free, wanted = shutil.disk_usage(folder).free, 2 * trace + _FREE
    state = "ok" if free >= wanted else "warn" if free > _FREE / 10 else "fail"
    yield state, f"{free / 1e6:,.0f} MB are free" + (
        "" if free >= wanted else f": {wanted / 1e6:,.0f} MB are wanted (see storage.trace)")


def _contents(store: stores.AlertStore, config: EngineConfig) -> Findings:
    yield from (("fail", f"damaged, {what}: docs/running.md says how to copy what can be read")
                for what in store.integrity_check()[:3])
    try:
        saved = store.restore(config.stream)
    except ValueError as error:
        raise store.damaged(config.stream, error) from None
    newest = max((row.time for row in store.entities(config.stream)), default=0.0)
    yield ("ok" if newest < time.time() + 86_400 else "warn"), (
        f"{store.path}: schema {stores.SCHEMA_VERSION}, {store.path.stat().st_size / 1e6:,.1f} MB, "
        + ("begins" if saved is None else f"continues after sample {saved[0]} of {utc(newest)}"))
    for (channel, state), count in store.backlog().items():
        what = ("refused for good: see alerts dead" if state == "dead" else
                "waiting: a run sends them")
        yield "warn", f"messages for {channel}: {count:,} {what}"
    store.silences(), store.quality(limit=1000)  # what cannot be read is reported
    for incident in store.incidents(state="open"):
        if incident.kind == "health":
            yield "warn", f"open since {utc(incident.opened_at)}: {incident.id}, {incident.detail}"


def _source(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    if args.source is None or "engine" not in known:
        yield "skip", ("not tried: --source SPEC asks it" if args.source is None else
                       "not tried without a model, which says what its rows hold")
        return
    engine, source = known["engine"], open_source(args.source)
    engine.prepare(source)
    if hasattr(source, "probe"):
        yield "ok", _answer(source.probe())
    elif not args.source.startswith("csv:"):
        yield "skip", "it cannot be asked without taking from it"
    else:
        yield "ok", f"{_answer(_readable(source, engine.features_)):,} rows could be read"


def _answer(question: Any, of: str = "") -> Any:
    try:
        return asyncio.run(asyncio.wait_for(question, _WAIT))
    except TimeoutError:
        raise ValueError(f"{of}no answer within {_WAIT:g} s: is it running, and can it be reached "
                         f"from here?") from None


async def _readable(source: Any, features: list[str]) -> int:
    async with aclosing(opened(source, features, -1)) as samples:
        return sum([len(sample.values) async for sample in samples])


def _receivers(args: argparse.Namespace, known: dict[str, Any]) -> Findings:
    config = known.get("config")
    if config is None or (storage := config.alert_config.storage) is None:
        return
    notification = config.alert_config.notification or NotificationConfig()
    for channel in open_channels(notification, storage.path, storage):
        if args.send:  # where one fails, the others are tried
            yield from _looked(_receiver(channel, config.stream))
        else:
            yield "skip", f"{channel.name}: not tried, --send sends a test message"


def _receiver(channel: Channel, stream: str) -> Findings:
    fault = _answer(_sent(channel, stream), f"{channel.name}: ")
    yield ("fail", f"{channel.name}: {fault}") if fault else (
        "ok", f"{channel.name} took a test message")


async def _sent(channel: Channel, stream: str) -> str | None:
    """Send that a test begins and is over; what is wrong, None where both arrive."""
    now = float(int(time.time()))
    test = Incident(f"{stream}|health.test|{int(now)}", stream, 0, 0, now, now, None, "info", 0.0,
                    0, (), "open", False, "health", "a test by doctor: nothing is wrong")
    over = replace(test, state="closed", closed_at=now)
    try:
        for event in (IncidentEvent("open", test, now, True, 0),
                      IncidentEvent("close", over, now, True, 1)):
            plain = stores.OutboxRow(f"{event.id}|{channel.name}", channel.name, test.id, now,
                                     event.to_dict())
            for row in [*channel.rows([event], [])] or [plain]:  # whatever its route says
                (outcome,) = await channel.send([row])
                if outcome.state != "sent":
                    return outcome.detail or outcome.state
    finally:
        await channel.close()
    return None


_PARTS = {"clock": _clock, "configuration": _configuration, "model": _model, "store": _store,
          "source": _source, "receivers": _receivers}
