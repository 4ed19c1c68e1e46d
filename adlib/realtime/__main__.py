"""``python -m adlib.realtime``: fit, run, backtest, and look after alerts, outside a notebook.

Exit codes: 0 done (also when told to stop), 1 failed while running, 2 asked for what cannot be.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from adlib.realtime import alerts_cli

_TIMES = ("time", "timestamp")  # as in `adlib.realtime.sources`


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m adlib.realtime", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    fit = commands.add_parser("fit", help="learn from a normal history")
    fit.add_argument("config", type=Path, help="YAML or JSON")
    fit.add_argument("history", type=Path, help="CSV, in time order")
    fit.add_argument("--out", type=Path, default=Path("model"), metavar="DIR",
                     help="where the fitted engine goes (default: model)")

    run = commands.add_parser("run", help="judge a stream; one JSON line for each flagged window")
    run.add_argument("config", type=Path)
    run.add_argument("--model", type=Path, default=Path("model"), metavar="DIR",
                     help="what fit wrote (default: model)")
    run.add_argument("--source", required=True, metavar="SPEC",
                     help="csv:PATH, stdin, or nats://host:port/STREAM/SUBJECT")
    run.add_argument("--all", action="store_true", help="print every window")
    run.add_argument("--metrics", type=int, metavar="PORT",
                     help="serve Prometheus text on this port of the loopback interface")

    test = commands.add_parser("backtest", help="what would have woken you, and what it missed")
    test.add_argument("config", type=Path)
    test.add_argument("history", type=Path)
    test.add_argument("--model", type=Path, metavar="DIR",
                      help="fitted engine; default: fit on the first part of the history")
    test.add_argument("--train-share", type=float, default=0.5, metavar="SHARE",
                      help="that part, without --model (default: 0.5)")
    test.add_argument("--set", action="append", default=[], metavar="NAME=VALUE,...",
                      help="another setting to compare, such as alpha=0.001,cooldown=60")
    test.add_argument("--json", action="store_true", help="print JSON")
    for command in (fit, test):
        command.add_argument("--labels", metavar="COLUMN", help="1 = fault; fit only leaves it out")
        command.add_argument("--time", metavar="COLUMN", help="default: time or timestamp, if any")
    alerts_cli.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    args = parser().parse_args(argv)
    try:
        return _COMMANDS[args.command](args)
    except (FileNotFoundError, FileExistsError, ImportError, ValueError) as error:
        for line in str(error).splitlines():
            print(f"{args.command}: {line}", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"{args.command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _history(args: argparse.Namespace, config: Any) -> tuple[Any, Any, Any]:
    """Rows as a DataFrame, labels and times (POSIX seconds) or None."""
    import numpy as np
    import pandas as pd

    from adlib.datasets import load_csv

    if not args.history.is_file():
        raise FileNotFoundError(f"no history at {args.history}")
    head = pd.read_csv(args.history, sep=None, engine="python", nrows=5)
    column = args.time or next((name for name in _TIMES if name in head.columns), None)
    counted = column in head.columns and pd.api.types.is_numeric_dtype(head[column])
    names = config.feature_names
    data = load_csv(args.history, label_column=args.labels, time_column=column, missing="keep",
                    feature_columns=None if names is None else list(names),
                    time_unit="s" if counted else None)
    time = None if data.time is None else np.asarray(
        data.time, dtype="datetime64[ns]").astype(np.int64) / 1e9
    return pd.DataFrame(data.X, columns=list(data.feature_names)), data.y, time


def _fit(args: argparse.Namespace) -> int:
    from adlib.realtime import EngineConfig, RealTimeAnomalyDetector

    config = EngineConfig.from_any(args.config)
    X, _, _ = _history(args, config)
    engine = RealTimeAnomalyDetector(config).fit(X)
    print(f"fitted on {len(X)} rows of {len(engine.features_)} features: {engine.save(args.out)}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from adlib.realtime import EngineConfig, RealTimeAnomalyDetector
    from adlib.realtime.sources import source

    config = EngineConfig.from_any(args.config)
    engine = RealTimeAnomalyDetector.load(args.model, config)

    async def judge() -> None:
        stop = asyncio.current_task().cancel
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop)
        async with (
            contextlib.aclosing(source(args.source, features=engine.features_,
                                       position=lambda: engine.position)) as samples,
            contextlib.aclosing(engine.process_stream(samples)) as windows,
        ):
            async for window in windows:
                if args.all or window["is_anomaly"]:
                    print(json.dumps(window), flush=True)

    with _metrics(engine, args.metrics), contextlib.suppress(asyncio.CancelledError):
        asyncio.run(judge())
    print(f"stopped after sample {engine.position}", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _metrics(engine: Any, port: int | None) -> Any:
    """Prometheus text over HTTP while the block runs."""
    if port is None:
        yield
        return

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    def answer(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
        return [engine.metrics_text().encode()]

    with make_server("127.0.0.1", port, answer, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def _backtest(args: argparse.Namespace) -> int:
    from adlib.realtime import EngineConfig, RealTimeAnomalyDetector
    from adlib.realtime.backtest import backtest

    config = EngineConfig.from_any(args.config)
    settings = [{}, *map(_setting, args.set)]
    X, y, time = _history(args, config)
    fitted = None if args.model is None else RealTimeAnomalyDetector.load(args.model, config)
    test = backtest(config, X, y if args.labels else None, time=time, fitted=fitted,
                    train_share=args.train_share)
    outcomes = [test.replay(**setting) for setting in settings]
    if args.json:
        print(json.dumps({
            "days": test.days, "quality": [event.to_dict() for event in test.quality],
            "outcomes": [{"settings": o.settings, "summary": o.summary,
                          "incidents": [incident.to_dict() for incident in o.incidents],
                          "wakes": [{"time": w.time, "id": w.id} for w in o.wakes]}
                         for o in outcomes]}))
        return 0
    print(f"{len(test.verdicts)} windows, {test.days:.3g} days, {len(test.quality)} data-quality "
          f"events")
    for outcome in outcomes:
        print("\n" + (", ".join(f"{name}={value}" for name, value in outcome.settings.items())
                      or "as configured"))
        for name, value in outcome.summary.items():
            print(f"  {name:20} {value:.4g}" if value is not None else f"  {name:20} -")
    print("\nwould have woken you, as configured:")
    for wake in outcomes[0].wakes:
        top = wake.incident.top_features[0][0] if wake.incident.top_features else "-"
        print(f"  {_utc(wake.time)}  {wake.kind:8}  {wake.incident.severity:8}  {top}  "
              f"{wake.incident.id}")
    return 0


def _utc(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _setting(text: str) -> dict[str, Any]:
    """``alpha=0.01,cooldown=60`` as a dictionary."""
    try:
        pairs = dict(pair.split("=") for pair in text.split(","))
        return {name.strip(): json.loads(value) for name, value in pairs.items()}
    except ValueError:
        raise ValueError(f"--set must read name=value,name=value with numbers, got {text!r}"
                         ) from None


_COMMANDS = {"fit": _fit, "run": _run, "backtest": _backtest, "alerts": alerts_cli.run}

if __name__ == "__main__":
    sys.exit(main())
