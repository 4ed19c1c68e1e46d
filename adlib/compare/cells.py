"""Finished cells on disk: one readable file each, found again only where nothing has changed."""

import hashlib
import json
import os
import pickle
import re
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, singledispatch
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import joblib
import numpy as np

from adlib.arguments import path as as_path
from adlib.files import replaced_file
from adlib.signs import family

from .protocol import CellScores
from .provenance import code_behind

__all__ = ["Store", "code_version", "described"]

STATUSES = ("ok", "failed", "timed out", "out of memory")
METRIC = ("value", "random", "above_chance", "low", "high", "p_chance")
FACTS = ("status", "reason", "threshold", "n_calibrate", "n_test", "fit_s", "score_s",
         "peak_memory_mib")
BEHIND_ALL = ("adlib.compare.workers", "adlib.metrics")  # and what they import of adlib
# their code is settled by `code_version`
KNOWN = ("sklearn", "numpy", "scipy", "torch", "builtins", "abc")
# where properties, partials, cached and compiled functions keep the function
WRAPPED = ("fget", "fset", "func", "__wrapped__", "py_func")


class Store:
    """A folder of finished cells.

    A cell's file says what it was made of ("made_of": detector, parameters, data, seed, protocol,
    code) and what came out ("outcome"). It is written beside its place and then renamed, so it is
    there whole or not at all; a file that cannot be read, or was made of something else, counts as
    absent. Numbers that are no number are written NaN and Infinity, as Python reads them. Scores,
    where the outcome has them, lie beside it in a file of NumPy's (.npz).

    Parameters
    ----------
    folder : path
        The ``results_dir`` of a comparison; made where it does not exist.

    Examples
    --------
    >>> import tempfile
    >>> outcome = {"status": "failed", "reason": "no", "threshold": 1.0, "n_calibrate": 1,
    ...            "n_test": 1, "fit_s": 0.1, "score_s": 0.1, "peak_memory_mib": 1.0,
    ...            "metrics": {}}
    >>> made_of = {"detector": "KNN", "dataset": "a/b", "seed": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     path = store.write(made_of, outcome)
    ...     print(path.name, store.read(made_of) == outcome, store.read(made_of | {"seed": 1}))
    a-b--KNN--0--40dbbb3a0da6.json True None
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = as_path(folder, "results_dir")
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"results_dir is no folder: {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError(f"results_dir cannot be written to: {self.folder}")

    def path(self, made_of: dict[str, Any]) -> Path:
        """Where the cell with these ingredients lies."""
        name = "--".join(re.sub(r"[^\w.=]+", "-", str(made_of[part])).strip("-.")[:60]
                         for part in ("dataset", "detector", "seed"))
        return self.folder / f"{name}--{_digest(made_of)[:12]}.json"

    def read(self, made_of: dict[str, Any], scores: bool = False) -> dict[str, Any] | None:
        """The outcome of a finished cell, with its scores where they are asked for, or None."""
        path = self.path(made_of)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["made_of"] == json.loads(json.dumps(made_of)):
                outcome = _checked(document["outcome"])
                kept = scores and outcome["status"] == "ok"
                return outcome | ({"scores": _read_scores(path, outcome)} if kept else {})
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
                zipfile.BadZipFile):
            pass  # absent, torn or foreign: computed anew
        return None

    def write(self, made_of: dict[str, Any], outcome: dict[str, Any]) -> Path:
        """Put a finished cell in its place; a reader sees the old file or the new one."""
        path, outcome = self.path(made_of), dict(outcome)
        cell = outcome.pop("scores", None)
        path.with_suffix(".npz").unlink(missing_ok=True)  # of an earlier outcome
        if cell is not None:  # first, so that a finished cell has them
            rows = [cell.test_rows.start, cell.test_rows.stop]
            with replaced_file(path.with_suffix(".npz")) as draft, draft.open("wb") as file:
                np.savez(file, calibrate=cell.calibrate, test=cell.test, test_rows=rows)
        text = json.dumps({"made_of": made_of, "outcome": outcome}, indent=1)
        with replaced_file(path) as draft:
            draft.write_text(text, encoding="utf-8")
        return path


def _read_scores(path: Path, outcome: dict[str, Any]) -> CellScores:
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        calibrate, test = (file[part].astype(np.float64) for part in ("calibrate", "test"))
        rows = slice(*file["test_rows"].tolist())
    if (len(calibrate), len(test)) != (outcome["n_calibrate"], outcome["n_test"]):
        raise ValueError("not the scores of this cell")
    return CellScores(calibrate, test, rows, *(outcome[fact] for fact in (
        "threshold", "fit_s", "score_s")))


def _checked(outcome: Any) -> dict[str, Any]:
    """Hold what was read to the form that `write` gives it."""
    numbers = [outcome[name] for name in FACTS[2:]]
    numbers += [outcome.get(name, 0) for name in ("time_limit", "memory_limit")]
    texts = [outcome["reason"]]
    for metric in outcome["metrics"].values():
        numbers += [metric[name] for name in METRIC]
        texts.append(metric["blocks"])
    if (outcome["status"] not in STATUSES or not all(type(text) is str for text in texts)
            or not all(type(number) in (int, float) for number in numbers)):
        raise ValueError("not the outcome of a cell")
    return outcome


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> str:
    """Digest of the code behind every cell: what of adlib runs in all, and libraries' versions."""
    libraries = ("numpy", "scipy", "pandas", "scikit-learn", "torch")
    return _digest([sys.version.split()[0], code_behind(*BEHIND_ALL), *map(version, libraries)])


def described(model: Any) -> Any:
    """What a detector is made of, as JSON: its class, its code, its parameters.

    Two models of equal description give equal scores on equal data and seed. A class of adlib is
    identified by its module and what that imports of adlib. Code outside adlib and scikit-learn is
    identified by its bytecode, so that a class of a notebook, which has no source file, differs
    from its next version; comments and line numbers do not count. Base classes are followed, and
    functions, classes and constants that are used from the same module or from adlib.

    Examples
    --------
    >>> from adlib.detectors import KNN
    >>> described(KNN(window=3))["parameters"]["window"]
    '3'
    """
    try:
        return _described(model)
    except RecursionError:  # parts that hold each other
        return uuid.uuid4().hex  # equal to nothing else: computed anew


@singledispatch
def _described(value: Any) -> Any:
    cls, own = type(value), hasattr(value, "get_params")
    if not own and not hasattr(value, "__dict__"):
        return repr(value)  # an address in it makes it equal to nothing else
    if not own and any(getattr(cls, how, None) is not getattr(object, how, None)
                       for how in ("__reduce__", "__reduce_ex__", "__getstate__")):
        try:  # attributes are not all there is to it: a tensor, a partial, a table
            return {"class": _name(cls), "state": joblib.hash(value)}
        except (pickle.PicklingError, TypeError, AttributeError, NotImplementedError):
            return uuid.uuid4().hex
    state = value.get_params(deep=False) if own else vars(value)
    if not own and family(value) == "river":  # whose generator differs where no seed is given
        state = {name: getattr(value, name, None) for name in signature(cls).parameters}
    return {"class": _name(cls), "code": _code(cls),
            "parameters": {str(k): _described(state[k]) for k in sorted(state, key=str)}}


@_described.register
def _(value: np.ndarray) -> Any:
    data = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
    return [str(value.dtype), list(value.shape), hashlib.sha256(data).hexdigest()]


@_described.register
def _(value: list | tuple) -> Any:
    return [type(value).__name__, *map(_described, value)]


@_described.register
def _(value: set | frozenset) -> Any:
    return [type(value).__name__, *sorted(map(repr, value))]


@_described.register
def _(value: dict) -> Any:
    return {repr(k): _described(v) for k, v in value.items()}


@_described.register
def _(value: type | FunctionType) -> Any:
    return [_name(value), _code(value)]


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _home(thing: Any) -> str:
    """The package that a class or function comes from."""
    return str(getattr(thing, "__module__", "")).split(".")[0]


def _code(thing: Any) -> str:
    """Digest of a class or function that no version number settles."""
    if _home(thing) == "adlib":
        return code_behind(thing.__module__)
    return _digest(list(_code_parts(thing, set()))) if _home(thing) not in KNOWN else ""


def _code_parts(thing: Any, seen: set[int]) -> Iterator[Any]:
    """The code of a class or function and of what it uses of its own module."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    package = sys.modules.get(_home(thing))
    yield [_name(thing), str(getattr(package, "__version__", ""))]
    if isinstance(thing, type):
        for cls in (c for c in thing.__mro__ if _home(c) not in KNOWN):
            yield _name(cls)
            if _home(cls) == "adlib":
                yield _code(cls)
                continue
            for name, value in sorted(vars(cls).items()):
                yield from _member(name, value, cls.__module__, seen)
        return
    yield from _function(thing, seen)


def _member(name: str, value: Any, module: str, seen: set[int]) -> Iterator[Any]:
    value = getattr(value, "__func__", value)  # of a static or class method
    functions = [value] if isinstance(value, (FunctionType, type)) else [
        part for part in (getattr(value, one, None) for one in WRAPPED)
        if isinstance(part, FunctionType)]
    for function in functions:
        if _home(function) == "adlib":
            yield [name, _code(function)]
        elif function.__module__ == module:
            yield name
            yield from _code_parts(function, seen)
    if isinstance(value, ModuleType) and value.__name__.split(".")[0] == "adlib":
        yield [name, code_behind(value.__name__)]
    plain = (bool, int, float, str, bytes, tuple, frozenset, list, dict, np.ndarray, type(None))
    if isinstance(value, plain) and (not name.startswith("__") or name == "__slots__") or (
            hasattr(value, "get_params") and not isinstance(value, type)):
        yield [name, _described(value)]


def _function(function: FunctionType, seen: set[int]) -> Iterator[Any]:
    used: list[str] = []
    yield list(_bytecode(function.__code__, used))
    yield [_described(function.__defaults__), _described(function.__kwdefaults__)]
    for cell, name in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
        with suppress(ValueError):  # not filled yet: a class that is being defined
            yield from _member(name, cell.cell_contents, function.__module__, seen)
    for name in dict.fromkeys(used):
        if name.split(".")[0] == "adlib" and name not in function.__globals__:  # imported inside
            yield [name, code_behind(name)]
        if name in function.__globals__:
            yield from _member(name, function.__globals__[name], function.__module__, seen)


def _bytecode(code: CodeType, used: list[str]) -> Iterator[Any]:
    used += code.co_names
    yield [code.co_code.hex(), list(code.co_names), list(code.co_varnames)]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _bytecode(constant, used)
        else:
            yield _described(constant)
