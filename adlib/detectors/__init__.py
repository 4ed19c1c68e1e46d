"""Detectors: one short file each; `all_detectors` finds them.

A new detector is a new file in this folder with one public subclass of `adlib.Detector`. Nothing
has to be registered: the conformance tests and the comparison pick it up. A detector is imported
when it is asked for, alone: `KNN` does not wait for torch.
"""

import re
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from adlib.arguments import MissingExtra, require_extra
from adlib.base import Detector
from adlib.imports import class_at, nearest

# Class names are read from the files, which are imported when a class is asked for.
_SOURCE = {name: path.stem for path in sorted(Path(__file__).parent.glob("*.py"))
           for name in re.findall(r"^class ([A-Z]\w*)\((?!Bounded)", path.read_text("utf-8"), re.M)}
# what detectors of this folder build on
_INTERNAL = {"Committee", "FlatStateDetector", "MemberWarning", "SequenceDetector", "SequenceNet"}
__all__ = ["all_detectors", "baselines", "find_detector", *sorted(_SOURCE.keys() - _INTERNAL)]


def _module(name: str) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name == "torch":
            require_extra("torch", "deep")
        raise


@cache
def _find(module: str) -> dict[str, type[Detector]]:
    """Public concrete detectors that one module of this folder defines."""
    found = vars(_module(module))
    return {name: cls for name, cls in found.items()
            if isinstance(cls, type) and issubclass(cls, Detector) and not name.startswith("_")
            and cls.__module__ == f"{__name__}.{module}" and not cls.__abstractmethods__}


def find_detector(name: str) -> type[Any]:
    """One detector or baseline by its name; no other detector is imported.

    Parameters
    ----------
    name : str
        Name of a class of adlib; "package.module:Class" or "file.py:Class" of any other, yours or
        another library's.

    Returns
    -------
    type

    Raises
    ------
    ValueError
        When there is no detector of this name.
    ImportError
        When it needs a library that is not installed.

    Examples
    --------
    >>> find_detector("KNN").__name__
    'KNN'
    >>> find_detector("Knn")
    Traceback (most recent call last):
    ValueError: unknown detector 'Knn', did you mean 'KNN'?
    """
    if ":" in name:
        return class_at(name)
    found = _find(_SOURCE[name]) if name in _SOURCE else {}
    if name not in found:
        hint = nearest(name, _SOURCE.keys() - _INTERNAL, "; see adlib.all_detectors()")
        raise ValueError(f"unknown detector {name!r}{hint}")
    return found[name]


def all_detectors() -> dict[str, type[Detector]]:
    """Every detector of adlib by name; each builds without arguments.

    Returns
    -------
    dict of str to type
        By name, in alphabetical order. Those whose extra is not installed are left out.

    Examples
    --------
    >>> "KNN" in all_detectors()
    True
    """
    found: dict[str, type[Detector]] = {}
    for module in iter_modules(__path__):
        with suppress(MissingExtra):
            found |= _find(module.name)
    return dict(sorted((name, cls) for name, cls in found.items() if name not in baselines()))


def baselines() -> dict[str, type[Detector]]:
    """The trivial detectors that stand in every comparison; beat them before you claim anything.

    Returns
    -------
    dict of str to type

    Examples
    --------
    >>> "RandomScore" in baselines()
    True
    """
    return dict(_find("trivial"))


def __getattr__(name: str) -> Any:
    if name in _SOURCE:
        return getattr(_module(_SOURCE[name]), name)
    raise AttributeError(f"module 'adlib.detectors' has no attribute {name!r}; it has "
                         f"{', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
