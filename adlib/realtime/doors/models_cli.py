"""``python -m adlib.realtime model``: versions of a model: look, choose, go back, fit another.

It works on the model's folder; an engine that runs follows within seconds, and reports it.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adlib.arguments import shown
from adlib.realtime.doors import versions
from adlib.realtime.events import utc


def add_parser(subparsers: Any) -> None:
    """Add the command ``model`` to ``argparse`` subparsers; `run` executes it."""
    command = subparsers.add_parser("model", help="versions of a model: which is in use, and why")
    command.add_argument("model", type=Path, metavar="DIR", help="what fit wrote")
    actions = command.add_subparsers(dest="action", required=True)
    add = actions.add_parser("list", help="all versions")
    add.add_argument("--json", action="store_true", help="print JSON")
    add = actions.add_parser("use", help="use a version, also in a running engine")
    add.add_argument("version", type=int, metavar="N")
    rollback = actions.add_parser("rollback", help="use the version that was in use before; what "
                                  "is fitted later then waits for `use`")
    for one in (add, rollback):
        one.add_argument("--author", default="", help="who says so (default: the user's name)")
        one.add_argument("--comment", default="", help="why")
    add = actions.add_parser("refit", help="fit another version now, on what was judged; it takes "
                             "over where it is better")
    add.add_argument("config", type=Path, help="YAML or JSON")
    add.add_argument("--ask", action="store_true", help="it waits for `use`")


def run(args: argparse.Namespace) -> int:
    """Execute a command that `add_parser` parsed; return the exit code."""
    if args.action == "list":
        return _list(args)
    if args.action == "refit":
        return _refit(args)
    if args.action == "use":
        chosen = versions.use(args.model, args.version, args.author, args.comment)
    else:
        chosen = versions.rollback(args.model, args.author, args.comment or "rolled back")
    print(f"version {chosen.version} of {args.model} is in use")
    return 0


def _list(args: argparse.Namespace) -> int:
    found, now = versions.listed(args.model), versions.current(args.model)
    if args.json:
        print(json.dumps({"current": asdict(now), "versions": [asdict(v) for v in found]}))
        return 0
    for version in found:
        state = "in use" if version.number == now.version else version.outcome
        print(f"{version.number:>3}  {utc(version.made)}  {state:8}  {shown(version.why)}")
        if version.says:
            print(f"     {shown(version.says, 600)}")
    if now.by:
        print(f"version {now.version} was chosen by {shown(now.by)} at {utc(now.at)}: "
              f"{shown(now.why, 600)}")
    if now.held:
        print("what is fitted from now on waits for: use N")
    return 0


def _refit(args: argparse.Namespace) -> int:
    from adlib.realtime.config import SENDING, EngineConfig
    from adlib.realtime.refit import refit

    config = EngineConfig.from_any(args.config, spare=SENDING)
    record = refit(args.model, config, use=not args.ask)
    print(f"version {record.number} {record.outcome}: {record.says}")
    return int(record.outcome != "better")
