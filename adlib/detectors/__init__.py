"""Detectors: one short file each; `all_detectors` finds them.

A new detector is a new file in this folder with one public subclass of `adlib.Detector`. Nothing
has to be registered: the conformance tests and the comparison pick it up.
"""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from adlib.base import Detector

_TRIVIAL = "trivial"


@cache
def _find(module: str) -> dict[str, type[Detector]]:
    """Public concrete detectors that one module of this folder defines."""
    found = vars(import_module(f"{__name__}.{module}"))
    return {name: cls for name, cls in found.items()
            if isinstance(cls, type) and issubclass(cls, Detector) and not name.startswith("_")
            and cls.__module__ == f"{__name__}.{module}" and not cls.__abstractmethods__}


def all_detectors() -> dict[str, type[Detector]]:
    """Every detector of adlib by name; each builds without arguments.

    Returns
    -------
    dict of str to type
        By name, in alphabetical order.

    Examples
    --------
    >>> "KNN" in all_detectors()
    True
    """
    modules = sorted(m.name for m in iter_modules(__path__) if m.name != _TRIVIAL)
    return dict(sorted(item for m in modules for item in _find(m).items()))


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
    return dict(_find(_TRIVIAL))


# Class names are read, not imported: KNN must not wait for torch.
_SOURCE = {name: path.stem for path in sorted(Path(__file__).parent.glob("*.py"))
           for name in re.findall(r"^class ([A-Z]\w*)\(", path.read_text("utf-8"), re.MULTILINE)}
__all__ = ["all_detectors", "baselines", *sorted(_SOURCE)]


def __getattr__(name: str) -> Any:
    if name in _SOURCE:
        return getattr(import_module(f"{__name__}.{_SOURCE[name]}"), name)
    raise AttributeError(f"module 'adlib.detectors' has no attribute {name!r}; it has "
                         f"{', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
