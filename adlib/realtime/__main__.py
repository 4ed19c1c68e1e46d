"""``python -m adlib.realtime``: fit, run, backtest, and look after alerts, outside a notebook.

Exit codes: 0 done (also when run is asked to stop), 1 failed while running, or no window could be
judged, 2 asked for what cannot be, 128 and the signal's number: stopped before it was done. A first
SIGINT or SIGTERM lets run keep what is judged, a second one ends it at once; SIGHUP is ignored.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import shlex
import signal
import sqlite3
import threading
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from adlib.arguments import shown
from adlib.reading.options import SEVERAL, Reading, ReadingWarning, descriptions, few, from_texts
from adlib.realtime.doors import alerts_cli, models_cli
from adlib.realtime.doors.logs import begin, say
from adlib.realtime.doors.process import GRACE, Output, Stopped, Threads, leave, stoppable
from adlib.realtime.events import leading, utc

#: What was given to read a history by, and holds for a stream too.
_LASTING = ("time_unit", "time_zone", "na_values", "decimal")
_SENDING = ("alert_config.notification", "alert_config.storage", "alert_config.heartbeat")
_SHORT = {"time_column": "--time", "label_column": "--labels"}
_READING = ("They override `reading` of the configuration. Several columns or values stand with "
            "commas between them, or the option is given several times.")
_UNITS = {"flagged": " of the windows", "median_delay": " s", "precision": " of the incidents"}


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m adlib.realtime", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    fit = commands.add_parser("fit", help="learn from a normal history")
    fit.add_argument("config", type=Path, help="YAML or JSON")
    fit.add_argument("history", type=Path, help="CSV, Parquet or JSON lines")
    fit.add_argument("--out", type=Path, default=Path("model"), metavar="DIR",
                     help="where the fitted engine goes (default: model)")

    run = commands.add_parser("run", help="judge a stream; one JSON line for each flagged window")
    run.add_argument("config", type=Path)
    run.add_argument("--model", type=Path, default=Path("model"), metavar="DIR",
                     help="what fit wrote (default: model)")
    run.add_argument("--source", required=True, metavar="SPEC",
                     help="csv:PATH (any file that fit reads), tail:PATH (a file that grows), "
                          "stdin, http: (POST /samples of --serve) or http://[HOST:]PORT/PATH, "
                          "mqtt://host/TOPIC, nats://host:port/STREAM/SUBJECT, or "
                          "simulate:?machines=20; "
                          "'?time_column=NAME&time_unit=ms' behind it are options of the reader, "
                          "as below")
    run.add_argument("--all", action="store_true", help="print every window")
    run.add_argument("--serve", metavar="[HOST:]PORT",
                     help="serve the operator's page, /health, /ready (503 while nothing is "
                          "judged) and /metrics (Prometheus text) over HTTP, on the loopback "
                          "interface by default")
    run.add_argument("--metrics", metavar="PORT", help="as --serve, on the loopback interface")

    page = commands.add_parser("page", help="show an alert store to an operator in a browser")
    page.add_argument("--store", type=Path, default=Path("alerts.db"), metavar="PATH",
                      help="the alert store (default: alerts.db)")
    page.add_argument("--serve", default="8765", metavar="[HOST:]PORT",
                      help="where (default: port 8765 of the loopback interface)")
    plant = commands.add_parser("simulate", help="a simulated plant from its history to its page: "
                                "fit, then run and serve")
    plant.add_argument("folder", type=Path, nargs="?", default=Path("plant"),
                       help="for its configuration, history, model and alerts (default: plant)")
    plant.add_argument("--machines", type=int, default=20, metavar="N", help="(default: 20)")
    plant.add_argument("--seed", type=int, default=0, metavar="N",
                       help="of the history and of the faults (default: 0)")
    plant.add_argument("--speed", type=float, default=1.0, metavar="ROWS",
                       help="rows of each machine a second (default: 1)")
    plant.add_argument("--serve", default="8765", metavar="[HOST:]PORT",
                       help="where the page is (default: port 8765 of the loopback interface)")

    for command in (run, page):
        command.add_argument("--token-file", type=Path, metavar="PATH",
                             help="a file with the token that everybody must show, but for /health "
                                  "and /ready; needed beyond the loopback interface (default: the "
                                  "environment variable ADLIB_TOKEN)")

    test = commands.add_parser("backtest", help="what would have paged you, and what it missed")
    test.add_argument("config", type=Path)
    test.add_argument("history", type=Path)
    test.add_argument("--model", type=Path, metavar="DIR",
                      help="fitted engine; default: fit on the first part of the history")
    test.add_argument("--train-share", type=float, default=0.5, metavar="SHARE",
                      help="that part, without --model (default: 0.5)")
    test.add_argument("--set", action="append", default=[], metavar="NAME=VALUE,...",
                      help="another setting to compare, such as alpha=0.001,cooldown=60")
    test.add_argument("--json", action="store_true", help="print JSON")
    for command in (fit, test, run):
        command.add_argument("--log-json", action="store_true",
                             help="notes, warnings and log lines as JSON, one object a line")
        _add_reading(command.add_argument_group("how tables and messages are read", _READING))
    alerts_cli.add_parser(commands)
    add = commands.add_parser("doctor", help="check clock, configuration, model, store, source and "
                              "receivers: a line for each finding, and what to do")
    add.add_argument("config", type=Path)
    add.add_argument("--model", type=Path, default=Path("model"), metavar="DIR",
                     help="what fit wrote (default: model)")
    add.add_argument("--source", metavar="SPEC", help="ask this source too, as run would read it")
    add.add_argument("--send", action="store_true", help="send each receiver a test message")
    models_cli.add_parser(commands)
    return top


def _add_reading(group: Any) -> None:
    """Options of the reader."""
    texts = descriptions()
    for field in fields(Reading):
        name, flag = field.name, f"--{field.name.replace('_', '-')}"
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if name == "header" else {
            "action": "append", "metavar": "TEXT,..."} if name in SEVERAL else {"metavar": "TEXT"}
        group.add_argument(flag, *([_SHORT[name]] if name in _SHORT else []), dest=f"read_{name}",
                           help=texts.get(name, "").replace("%", "%%"), default=None, **how)


def _configuration(args: argparse.Namespace) -> Any:
    """The configuration, with the options of the command line in place of its own."""
    from adlib.realtime import EngineConfig

    # only a run sends anything: the others need no secret of a receiver
    config = EngineConfig.from_any(args.config, spare=() if args.command == "run" else _SENDING)
    given = from_texts({name.removeprefix("read_"): value for name, value in vars(args).items()
                        if name.startswith("read_") and value is not None})
    given = {**config.reading.given, **given}
    Reading(**given)
    return config.model_copy(update={"reading": type(config.reading)(**given)})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    warnings.showwarning = _show
    _say_once.cache_clear()
    args = parser().parse_args(argv)
    begin(as_json=getattr(args, "log_json", False))
    # a terminal that is gone ends no stream
    how = (GRACE, [signal.SIGHUP]) if args.command in ("run", "simulate") else (5.0, [])
    with stoppable(*how) as args.stop:
        return _exit_code(args)


def _exit_code(args: argparse.Namespace) -> int:
    try:
        return _COMMANDS[args.command](args)
    except Stopped as stopped:
        say(args.command, "stopped before it was done")
        return 0 if args.command in ("run", "simulate") else stopped.code
    except (FileNotFoundError, FileExistsError, ImportError, ValueError) as error:
        for line in str(error).splitlines():
            say(args.command, line)
        return 2
    except Exception as error:
        say(args.command, f"{type(error).__name__}: {error}")
        return 1


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    _say_once("note" if issubclass(category, ReadingWarning) else "warning", str(message))


@cache
def _say_once(kind: str, text: str) -> None:
    say(kind, text)


def _history(args: argparse.Namespace, config: Any, notes: list[str], fitted: Any = None) -> Any:
    """The history as a table, by a model as it was fitted; what is noted is shown and kept."""
    from adlib.realtime.doors.files import one_series

    def note(sentence: str) -> None:
        notes.append(sentence)
        say("note", sentence)

    reading = config.reading.options() if fitted is None else fitted.reading
    names = reading.feature_columns or config.feature_names
    return one_series(args.history, replace(reading, feature_columns=names), note,
                      {} if fitted is None else fitted.recognised, config.fleet is not None)


def _fit(args: argparse.Namespace) -> int:
    from adlib.realtime import RealTimeAnomalyDetector
    from adlib.realtime.doors.files import seconds

    config, notes = _configuration(args), list[str]()
    table = _history(args, config, notes)
    fleet = config.fleet is not None
    X, faulty = table.X.copy(), (table.y == 1) & table.labelled
    X.loc[faulty] = float("nan")  # no normal history
    engine = RealTimeAnomalyDetector(config).fit(X, seconds(table),
                                                 table.entity if fleet else None)
    given, lasting = config.reading.given, (*_LASTING, "entity_column") if fleet else _LASTING
    engine.recognised = {**table.recognised, "notes": notes,
                         "options": {name: given[name] for name in lasting if name in given}}
    gaps = int(table.X[~faulty].isna().any(axis=1).sum())
    budget = f"; alpha={engine.config.alpha:.3g} keeps per={config.per}" if config.per else ""
    how = Counter(engine.entities.values())
    whose = f" and {how.total()} entities" + (
        f" ({', '.join(f'{n} judged by {by}' for by, n in how.items())})") if fleet else ""
    print(f"fitted on {len(table.X)} rows of {len(engine.features_)} features{whose}"
          f"{f' ({gaps} rows lack values)' if gaps else ''}"
          f"{f' ({faulty.sum()} labelled rows are left out)' if faulty.any() else ''}"
          f"{budget}: {engine.save(args.out)}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from adlib.realtime import RealTimeAnomalyDetector
    from adlib.realtime.doors import http
    from adlib.realtime.doors.partitions import Partitions
    from adlib.realtime.sources import open_source

    config, token = _configuration(args), http.token_from(args.token_file)
    engine = RealTimeAnomalyDetector.load(args.model, config)
    samples = open_source(args.source)
    if getattr(samples, "partitions", 0):
        if config.refit is not None:
            say("warning", "refit: a partition holds only some machines, and fits no model for all")
            config = config.changed(refit=None)
        engine = Partitions(config, samples, lambda name: RealTimeAnomalyDetector.load(
            args.model, config.changed(stream=name)))
    say("", _receivers(config.alert_config))
    gc.freeze()  # model and libraries stay: no search for garbage among them

    async def judge() -> None:
        loop, task, output = asyncio.get_running_loop(), asyncio.current_task(), Output()
        assert task is not None  # a coroutine runs in one
        loop.set_default_executor(Threads())
        args.stop.ask = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            async with contextlib.aclosing(engine.process_stream(samples)) as windows:
                async for window in windows:
                    if args.all or window["is_anomaly"]:
                        await output.write(json.dumps(window))
        finally:
            args.stop.ask = lambda: None  # it ends already

    ended = False
    storage, app = config.alert_config.storage, None
    if args.serve or args.metrics:
        app = http.app(engine, storage.path if storage else None, token,
                       getattr(samples, "push", None))
    with (http.served(app, args.serve, token=token) as address,
          http.served(app, args.metrics, "--metrics", token=token),
          contextlib.suppress(asyncio.CancelledError)):
        if address is not None:
            say("", f"the page is at {address}/")
        asyncio.run(judge())
        ended = True
    return _ended(engine, ended)


def _ended(engine: Any, ended: bool) -> int:
    """Say what became of a stream; the exit code."""
    config = engine.config
    say("", f"stopped after sample {engine.position}")
    _say_undelivered(engine)
    tally, account = engine.tally, engine.tally.account(config.window_size)
    if tally.judged:
        if tally.lost:
            say("run", account)
        return 0
    wanted = f" (features: {few(engine.features_)})" if tally.unreadable else ""
    say("run", f"{'' if ended else 'stopped before the end, and '}no window was judged: {account}"
        f"{wanted}")
    return int(ended or tally.unreadable or tally.rows >= config.warm_up + config.window_size)


def _page(args: argparse.Namespace) -> int:
    from adlib.realtime.doors import http

    token, done = http.token_from(args.token_file), threading.Event()
    if args.store.exists() and not args.store.is_file():
        raise ValueError(f"--store must name a file, got {args.store}: is it the folder of one?")
    if not args.store.is_file():
        say("note", f"no alert store at {args.store} yet: the page shows it as soon as there is")
    with http.served(http.app(store=args.store, token=token), args.serve, token=token) as address:
        args.stop.ask = done.set
        say("", f"the page of {args.store} is at {address}/ until this is interrupted")
        done.wait()
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from adlib.realtime.doors import simulate

    code = 0
    for argv in simulate.commands(args.folder, args.machines, args.seed, args.speed, args.serve):
        say("", f"python -m adlib.realtime {shlex.join(argv)}")
        given = parser().parse_args(argv)
        given.stop = args.stop
        code = code or _COMMANDS[given.command](given)
    return code


def _say_undelivered(engine: Any) -> None:
    """What was to be sent and has not arrived, so that an end without a fault is none."""
    left: dict[str, int] = {}
    with contextlib.suppress(sqlite3.Error):  # of which more was said
        for (channel, _), count in (engine.store.backlog() if engine.store else {}).items():
            left[channel] = left.get(channel, 0) + count
    if left:
        say("run", "messages that have not arrived: "
            + ", ".join(f"{count:,} for {channel}" for channel, count in sorted(left.items()))
            + "; the next run sends them, but for dead letters (see: alerts dead)")


def _receivers(alerts: Any) -> str:
    """One sentence on where incidents go: an engine that notifies nobody should say so."""
    if alerts.storage is None:
        return "no alert_config.storage: flagged windows are printed, nothing is kept or sent"
    channels = [] if alerts.notification is None else list(alerts.notification.receivers())
    return (f"incidents are kept in {alerts.storage.path} and "
            + (f"sent to {' and '.join(channels)}" if channels
               else "sent to nobody (no alert_config.notification)"))


def _backtest(args: argparse.Namespace) -> int:
    from adlib.realtime import RealTimeAnomalyDetector
    from adlib.realtime.backtest import backtest
    from adlib.realtime.counters import Tally
    from adlib.realtime.doors.files import seconds

    config, settings = _configuration(args), [{}, *map(_setting, args.set)]
    fitted = None if args.model is None else RealTimeAnomalyDetector.load(args.model, config)
    table = _history(args, config, [], fitted)
    test = backtest(config, table.X, table.y if table.labelled else None, time=seconds(table),
                    fitted=fitted, train_share=args.train_share,
                    entity=None if config.fleet is None else table.entity)
    outcomes = [test.replay(**setting) for setting in settings]
    tally = Tally()
    tally.count(test.rows, test.verdicts, test.quality)
    if not tally.judged:
        say("backtest", f"no window was judged: {tally.account(config.window_size)}")
        return 1
    if args.json:
        print(json.dumps({
            "days": test.days, "quality": [event.to_dict() for event in test.quality],
            "outcomes": [{"settings": o.settings, "summary": o.summary.both(),
                          "incidents": [incident.to_dict() for incident in o.incidents],
                          **dict.fromkeys(("pages", "wakes"), [  # "wakes": for one release
                              {"time": page.time, "id": page.id} for page in o.pages])}
                         for o in outcomes]}))
        return 0
    print(f"{len(test.verdicts)} windows, {test.days:.3g} days, {len(test.quality)} data-quality "
          f"events")
    for outcome in outcomes:
        _print_summary(outcome)
    _print_pages(outcomes[0].pages)
    return 0


def _print_summary(outcome: Any) -> None:
    print("\n" + (", ".join(f"{name}={value}" for name, value in outcome.settings.items())
                  or "as configured"))
    for name, value in outcome.summary.items():
        said = "-" if value is None else f"{value:.4g}{_UNITS.get(name, '')}"
        if name == "median_delay" and value is not None:
            said += f" ({timedelta(seconds=round(value))})"
        print(f"  {name:20} {said}")


def _print_pages(pages: Sequence[Any]) -> None:
    print("\nwould have paged you, as configured:")
    for page in sorted(pages, key=lambda page: page.time):
        top = shown(leading(page.incident)) or "-"
        print(f"  {utc(page.time)}  {page.kind:8}  {page.incident.severity:8}  {top}  "
              f"{page.incident.id}")
    if not pages:
        print("  (nothing)")


def _setting(text: str) -> dict[str, Any]:
    """``alpha=0.01,cooldown=60`` as a dictionary."""
    try:
        pairs = dict(pair.split("=") for pair in text.split(","))
        return {name.strip(): json.loads(value) for name, value in pairs.items()}
    except ValueError:
        raise ValueError(f"--set must read name=value,name=value with numbers, got {text!r}"
                         ) from None


def _doctor(args: argparse.Namespace) -> int:
    from adlib.realtime.doors import doctor  # it needs all that the others need

    return doctor.run(args)


_COMMANDS = {"fit": _fit, "run": _run, "page": _page, "simulate": _simulate, "backtest": _backtest,
             "alerts": alerts_cli.run, "model": models_cli.run, "doctor": _doctor}

if __name__ == "__main__":
    leave(main())
