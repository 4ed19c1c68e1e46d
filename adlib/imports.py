"""Classes by name from anywhere: "package.module:Class" and "file.py:Class".

A file is loaded under a name that holds its path and a digest of its text, and whoever imports this
module can find it by that name. So a class from a file can be pickled: any process that sees the
same file gets the same class, and a file that was edited is another module.
"""

import hashlib
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["class_at", "nearest"]

_FILE = "file:"  # begins the name of a module that was loaded from a file


def class_at(name: str) -> type[Any]:
    """The class that "package.module:Class" or "file.py:Class" names.

    Parameters
    ----------
    name : str
        The file is run, with its folder importable, as `python file.py` would.

    Returns
    -------
    type

    Raises
    ------
    ValueError
        When there is no such file, module or class, or it cannot be imported.

    Examples
    --------
    >>> class_at("collections:OrderedDict").__name__
    'OrderedDict'
    >>> class_at("collections:OrderdDict")
    Traceback (most recent call last):
    ValueError: 'collections:OrderdDict': collections has no class 'OrderdDict', did you mean 'OrderedDict'?
    """  # noqa: E501
    place, _, attribute = name.rpartition(":")
    try:
        module = import_module(_module_name(place) if place.endswith(".py") else place)
    except (Exception, SystemExit) as error:  # whatever code from outside may raise
        raise ValueError(f"{name!r} cannot be imported: {_said(error)}") from None
    found = getattr(module, attribute, None)
    if isinstance(found, type):
        return found
    classes = [key for key, value in vars(module).items() if isinstance(value, type)]
    own = [key for key in classes if getattr(module, key).__module__ == module.__name__]
    hint = nearest(attribute, classes, f"; it has {', '.join(own) or 'none'}")
    raise ValueError(f"{name!r}: {place} has no class {attribute!r}{hint}")


def nearest(key: object, known: Iterable[str], otherwise: str = "") -> str:
    """``", did you mean 'stride'?"`` for a name that is nearly one of the known ones, in any case.

    Examples
    --------
    >>> nearest("slak", ["slack", "email"])
    ", did you mean 'slack'?"
    >>> nearest("fax", ["slack", "email"], "; there is no fax")
    '; there is no fax'
    """
    names = {name.lower(): name for name in known}
    near = get_close_matches(str(key).lower(), names, n=1)
    return f", did you mean {names[near[0]]!r}?" if near else otherwise


def _said(error: BaseException) -> str:
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    line = f", line {where.tb_lineno} of {Path(where.tb_frame.f_code.co_filename).name}" if (
        where and where.tb_frame.f_code.co_filename.endswith(".py")) else ""
    return f"{type(error).__name__}: {error}{line if not isinstance(error, OSError) else ''}"


def _module_name(file: str) -> str:
    path = Path(file).expanduser().resolve()
    # without dots, which would make packages of it
    return f"{_FILE}{quote(path.as_posix()).replace('.', '%2E')}#{_digest(path)}"


def _digest(path: Path) -> str:
    """Of a file, and of the neighbours that it imports."""
    text = path.read_bytes()
    beside = [other.read_bytes() for other in sorted(path.parent.glob("*.py")) if other != path
              and re.search(rb"^\s*(?:from|import)\b.*\b%s\b" % re.escape(other.stem.encode()),
                            text, re.MULTILINE)]
    return hashlib.sha256(b"".join([text, *beside])).hexdigest()[:12]


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> Any:  # what is compiled on disk lags behind quick edits
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        folder, before = str(Path(self.path).parent), {*sys.modules}
        sys.path.insert(0, folder)  # for its neighbours
        try:
            super().exec_module(module)
        finally:
            sys.path.remove(folder)
            for name in {*sys.modules} - before:  # another folder may have one of the same name
                if str(getattr(sys.modules[name], "__file__", "")).startswith(f"{folder}/"):
                    del sys.modules[name]


class _Files(MetaPathFinder):
    """Finds the modules that `class_at` named, here and in worker processes."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(_FILE):
            return None
        quoted, _, digest = fullname.removeprefix(_FILE).partition("#")
        place = Path(unquote(quoted))
        if _digest(place) != digest:
            raise ImportError(f"{place} was changed since its class was named")
        return spec_from_file_location(fullname, place, loader=_Loader(fullname, str(place)))


sys.meta_path.insert(0, _Files())
