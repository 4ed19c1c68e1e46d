"""Settings that are read from a dictionary, a YAML or a JSON file, and what is wrong with them.

Unknown keys are refused with their path and the nearest known one. ``${NAME}`` inside any text is
replaced by an environment variable, so that a file need not hold a secret. Secrets appear in no
error, repr or dump.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError

from adlib.arguments import path as as_path
from adlib.durations import seconds
from adlib.imports import nearest
from adlib.realtime.doors.configuration import check_size, read

#: A duration in seconds, also as text such as "5min".
Seconds = Annotated[float, BeforeValidator(lambda value, info: seconds(value, info.field_name))]


class ConfigError(ValueError):
    """What is wrong with a configuration, one line per fault; holds no secret."""


class Settings(BaseModel):
    """A group of settings; what is refused is not printed, since it may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True,
                              populate_by_name=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def key_types(cls) -> dict[str, Any]:
        """Type of every key that may stand here."""
        return {name: field.annotation for name, field in cls.model_fields.items()}

    @classmethod
    def from_any(cls, source: Self | Mapping[str, Any] | str | Path, *,
                 spare: Sequence[str] = ()) -> Self:
        """A configuration from a dictionary, or a ``.yaml``, ``.yml`` or ``.json`` file.

        Parameters
        ----------
        source : path, mapping or configuration
        spare : sequence of str
            Groups that are not needed, such as ``"alert_config.notification"``: all of them are
            left out where one wants an environment variable that is not set.

        Raises
        ------
        ConfigError
            Naming the path of every bad key.
        FileNotFoundError
        """
        if isinstance(source, cls):
            return source
        try:
            data = source if isinstance(source, Mapping) else read(as_path(source, "source"))
            check_size(data)
            return cls._checked(data, spare)
        except RecursionError:
            raise ConfigError("groups within groups without end: write fewer") from None
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @classmethod
    def _checked(cls, data: Mapping[str, Any], spare: Sequence[str]) -> Self:
        secrets: list[str] = []
        try:
            data = _expand(data, (), secrets)
        except ConfigError:
            if not spare:
                raise
            data = _expand(reduce(_without, spare, data), (), secrets)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            found = _explain(cls, error, data)
        for text in sorted({*secrets, *_unshown(cls, data)}, key=len, reverse=True):
            found = [line.replace(text, "***") for line in found]
        raise ConfigError("\n".join(found))


# -- the environment ---------------------------------------------------------------------------


def _without(data: Any, name: str) -> Any:
    """A copy without the group at a dotted name, where there is one."""
    first, _, rest = name.partition(".")
    if not isinstance(data, Mapping) or first not in data:
        return data
    inner = {first: _without(data[first], rest)} if rest else {}
    return {**{key: value for key, value in data.items() if key != first}, **inner}


def _expand(value: Any, path: tuple, secrets: list[str]) -> Any:
    """A copy with ``${NAME}`` replaced from the environment; what came from there is noted."""
    if isinstance(value, Mapping):
        return {key: _expand(item, (*path, key), secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_expand(item, (*path, i), secrets) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match) -> str:
        if match[1] not in os.environ:
            raise ConfigError(f"{_dotted(path)}: the environment variable {match[1]} is not set")
        return os.environ[match[1]]

    expanded = re.sub(r"\$\{(\w+)\}", look_up, value)
    if expanded != value:
        secrets.extend(text for text in (expanded, *map(look_up, re.finditer(
            r"\$\{(\w+)\}", value))) if len(text) > 3)
    return expanded


# -- errors -------------------------------------------------------------------------------------


def _dotted(path: Iterable[Any]) -> str:
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".")


def _explain(cls: type[Settings], error: ValidationError, data: Any) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        path = _real(fault["loc"], data)
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = f"unknown key{nearest(path[-1], _keys_at(cls, path[:-1]))}"
        elif fault["type"] == "model_type" and path:
            keys, what = _keys_at(cls, path), fault.get("input")
            inside = "" if path[-1] in ("fleet", "refit") else f"{next(iter(keys), '')}: ..."
            of = "" if isinstance(path[-1], int) else f"{path[-1]}: "
            message = f"must be a mapping such as `{of}{{{inside}}}`, got {type(what).__name__}"
        elif (inner := re.match(r"(\w+): ((?:unknown parameter|must) .*)", message)) is not None:
            more = ("parameters",) if "parameters" in _keys_at(cls, path) else ()
            path, message = (*path, *more, inner[1]), inner[2]
        elif fault["type"] != "missing" and _shown(cls, path) and ", got " not in message:
            value = fault.get("input")
            message += f", got {value!r}" if isinstance(value, (str, int, float, bool)) else (
                f", got {type(value).__name__}")
        lines.append(f"{_dotted(path)}: {message}" if path else message)
    return list(dict.fromkeys(lines))


def _real(loc: tuple, data: Any) -> tuple:
    """The part of pydantic's location that is a path in the data (branches of unions are not)."""
    path = []
    for i, key in enumerate(loc):
        if isinstance(data, Mapping) and (key in data or i == len(loc) - 1):
            path.append(key)
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            path.append(key)
            data = data[key]
    return tuple(path)


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def _keys_at(cls: type[Settings], path: Iterable[Any]) -> dict[str, Any]:
    """Keys, and their types, of the group that stands at a path; none where no group does."""
    keys = cls.key_types()
    for key in path:
        if not isinstance(key, int):
            kind = keys.get(str(key).split("#")[0])  # a second receiver: "slack#night"
            group = next((t for t in _types(kind) if isinstance(t, type)
                          and issubclass(t, Settings)), None)
            keys = group.key_types() if group else {}
    return keys


def _shown(cls: type[Settings], path: tuple) -> bool:
    """Whether the value at a path may appear in a message: a known plain field, no secret."""
    names = [key for key in path if not isinstance(key, int)]
    keys = _keys_at(cls, names[:-1]) if names else {}
    return bool(names) and names[-1] in keys and not any(
        isinstance(t, type) and issubclass(t, (SecretStr, BaseModel))
        for t in _types(keys[names[-1]]))


def _unshown(cls: type[Settings], data: Any, path: tuple = ()) -> Iterator[str]:
    """Every text that stands where nothing may be shown."""
    if isinstance(data, (Mapping, list)):
        for key, item in data.items() if isinstance(data, Mapping) else enumerate(data):
            yield from _unshown(cls, item, (*path, key))
    elif isinstance(data, str) and len(data) > 3 and not _shown(cls, path) and (
            path and path[0] == "alert_config"):
        yield data
