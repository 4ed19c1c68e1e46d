"""Write docs/configuration.md: every key of the live engine, from its declaration.

    python tools/configuration.py
"""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from adlib.realtime import EngineConfig
from adlib.realtime.routes import Route

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
RECEIVERS = {"slack": "slack:SlackConfig", "email": "mail:EmailConfig",
             "webhook": "webhook:WebhookConfig", "alertmanager": "alertmanager:AlertmanagerConfig",
             "apprise": "apprise:AppriseConfig"}
HEAD = """# Configuration of the live engine

Every key of the file that `fit`, `backtest`, `doctor` and `run` take, with its default; written by
`tools/configuration.py`. A dot is a level of YAML. Times are seconds, or texts such as `90d`, `2h`,
`60s`. `-`: it must be named, where its group is. `reading` takes the options that
`python -m adlib.realtime fit --help` lists, with underscores; a detector takes its own under
`parameters`. The groups below `alert_config.notification` may come twice, as `webhook#night`.
"""


def groups(annotation: Any) -> list[type[BaseModel]]:
    """Groups of settings that an annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [one for part in get_args(annotation) for one in groups(part)]


def words(annotation: Any) -> list[str]:
    """What may stand where one of several words must."""
    if get_origin(annotation) is Literal:
        return [str(one) for one in get_args(annotation)]
    return [one for part in get_args(annotation) for one in words(part)]


def shown(value: Any) -> str:
    """A default as YAML has it."""
    if value is PydanticUndefined:
        return "-"
    if isinstance(value, BaseModel | tuple | dict):
        return ""
    return f"`{json.dumps(value, default=str).strip(chr(34)).removesuffix('.0')}`"


def rows(group: type[BaseModel], path: str = "") -> Iterator[str]:
    """A line of the table for each key, its own keys behind it."""
    for name, field in group.model_fields.items():
        key = f"{path}{field.alias or name}"
        said = (field.description or "").replace("|", "\\|").replace("\n", " ")
        if choices := ", ".join(f"`{one}`" for one in words(field.annotation)):
            said = f"{said} One of {choices}.".strip()
        yield f"| `{key}` | {shown(field.get_default())} | {said} |"
        kind = str(field.annotation)
        deeper = "[]" if "tuple" in kind else ".NAME" if "dict" in kind else ""
        for one in groups(field.annotation):
            yield from rows(one, f"{key}{deeper}.")


def page() -> str:
    """The document."""
    table = ["| Key | Default | |", "|---|---|---|", *rows(EngineConfig)]
    for name, where in RECEIVERS.items():
        module, _, kind = where.partition(":")
        config = getattr(import_module(f"adlib.realtime.doors.{module}"), kind)
        table += rows(config, f"alert_config.notification.{name}.")
    table += rows(Route, "alert_config.notification.RECEIVER.route.")
    return "\n".join([HEAD, *table, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
