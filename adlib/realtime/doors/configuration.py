"""A configuration file as plain values: no key twice, no alias without end, nothing quoted."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from adlib.arguments import shown

_LARGEST = 100_000  # values of a configuration: a hundred times more than any has


class _Refused(ValueError):
    """What is wrong, as the end of a sentence."""


def read(path: Path) -> Mapping[str, Any]:
    """What a ``.json`` file, or else a YAML file, says; an error quotes nothing of it.

    Raises
    ------
    FileNotFoundError, ValueError
        What is wrong, in one sentence.
    """
    if path.is_dir():
        raise ValueError(f"source is a folder, no file: {path}")
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}")
    where, data = "", None
    try:
        text = path.read_text(encoding="utf-8")
        data = (json.loads(text, object_pairs_hook=_distinct) if path.suffix == ".json"
                else yaml.load(text, _Loader))
    except yaml.YAMLError as error:  # its own message quotes the line, secrets and all
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
    except json.JSONDecodeError as error:
        where = f", line {error.lineno}"
    except _Refused as error:
        raise ValueError(f"{path}: {error}") from None
    except ValueError:  # no UTF-8, no date, a number of too many digits
        pass
    if not isinstance(data, Mapping):
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ValueError(f"{path}{where}: no {kind} mapping of keys to values")
    return data


class _Loader(yaml.SafeLoader):
    """YAML without keys that stand twice, and without aliases that make a small file huge."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        check_size(node, _nodes)
        return node


def _nodes(node: Any) -> Iterable[Any]:
    """What stands in a YAML node, before aliases are written out."""
    if not isinstance(node, yaml.MappingNode):
        return node.value if isinstance(node, yaml.SequenceNode) else ()
    _check_distinct([(key.tag, key.value) for key, _ in node.value
                     if isinstance(key, yaml.ScalarNode)])
    return [part for pair in node.value for part in pair]


def _values(value: Any) -> Iterable[Any]:
    return (value.values() if isinstance(value, Mapping)
            else value if isinstance(value, (list, tuple)) else ())


def check_size(top: Any, parts: Callable[[Any], Iterable[Any]] = _values) -> None:
    """Refuse what has too many values once everything that is shared is written out.

    Parameters
    ----------
    top : object
        Groups and lists within each other.
    parts : callable
        What stands in a value.

    Examples
    --------
    >>> shared = ["x"] * 10
    >>> for _ in range(9):
    ...     shared = [shared] * 10
    >>> check_size(shared)
    Traceback (most recent call last):
    ...
    adlib.realtime.doors.configuration._Refused: more than 100,000 values, aliases counted as often as they are used: write fewer
    """  # noqa: E501
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if id(value) not in sizes:
            sizes[id(value)] = _LARGEST  # until it is known: what holds itself has no end
            sizes[id(value)] = 1 + sum(map(size, parts(value)))
        return sizes[id(value)]

    if size(top) > _LARGEST:
        raise _Refused(f"more than {_LARGEST:,} values, aliases counted as often as they are "
                       f"used: write fewer")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_distinct([("", key) for key, _ in pairs])
    return dict(pairs)


def _check_distinct(keys: list[tuple[str, Any]]) -> None:
    if twice := [key for (_, key), count in Counter(keys).items() if count > 1]:
        raise _Refused(f"the key {shown(twice[0])!r} comes more than once in one group: keep "
                       f"one of them")
