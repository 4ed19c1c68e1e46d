"""What `test_fuzz` is made of: arguments that are spoiled one at a time, and the judge.

A target is a public name, valid arguments, and what a result looks like. A try spoils one argument
of it (or two, or none) and calls. The judge lets two things pass: the documented result, or an
exception of a documented type, raised by adlib or by scikit-learn's validation, that names an
argument. No hang, no warning about arithmetic, no bare error of a library, no changed input.
"""

import copy
import io
import re
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.exceptions import NotFittedError

from adlib.notebooks import ROOT

# after which a try counts as a hang: of the processor, and for one that waits for ever
LIMITS = ((signal.ITIMER_PROF, signal.SIGPROF, 20), (signal.ITIMER_REAL, signal.SIGALRM, 600))
DOCUMENTED = (ValueError, TypeError, NotFittedError, FileNotFoundError, FileExistsError, KeyError,
              NotImplementedError, IndexError)
# where an error may come from besides adlib: scikit-learn's checks of arrays and parameters
VALIDATORS = ("sklearn/utils/", "sklearn/base.py")


def _whole(frame: np.ndarray) -> pd.DataFrame | pd.Series:
    return pd.DataFrame(frame) if frame.ndim == 2 else pd.Series(frame)


def _indexed(make: Callable[[int], Any]) -> Callable:
    def spoil(value: np.ndarray, rng: np.random.Generator) -> Any:
        found = _whole(value)
        found.index = make(len(found))
        if found.ndim == 2:
            found.columns = [f"ünïcode {j} \N{SNOWMAN}" for j in range(found.shape[1])]
        return found
    return spoil


def _with(*odd: Any, kind: Any = None) -> Callable:
    def spoil(value: np.ndarray, rng: np.random.Generator) -> Any:
        found = np.array(value, dtype=kind or np.result_type(value.dtype, np.float64))
        if found.size:
            for k, item in enumerate(odd):
                found.ravel()[int(rng.integers(found.size)) if k else 0] = item
        return found
    return spoil


def _strided(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(np.repeat(value, 2, axis=0), 3, axis=-1)[::2, ...][..., ::3]


def _frozen(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    found = value.copy()
    found.flags.writeable = False
    return found


# the same values in another form
FORMS: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
    "list": lambda v, r: v.tolist(),
    "tuple": lambda v, r: tuple(map(tuple, v)) if v.ndim == 2 else tuple(v),
    "float32": lambda v, r: v.astype(np.float32),
    "float16": lambda v, r: v.astype(np.float16),
    "longdouble": lambda v, r: v.astype(np.longdouble),
    "objects": lambda v, r: v.astype(object),
    "Fortran order": lambda v, r: np.asfortranarray(v),
    "reversed view": lambda v, r: np.array(v[::-1])[::-1],
    "strided view": _strided,
    "read-only": _frozen,
    "big-endian": lambda v, r: v.astype(v.dtype.newbyteorder(">")),
    "frame": lambda v, r: _whole(v),
    "index of texts": _indexed(lambda n: [f"row {i}" for i in range(n)]),
    "doubled index": _indexed(lambda n: [0] * n),
    "dates, doubled": _indexed(lambda n: pd.DatetimeIndex(["2024-01-01"] * n)),
    "dates of a zone": _indexed(lambda n: pd.date_range("2024-03-31", periods=n, freq="20min",
                                                        tz="Europe/Berlin")),
    "dates of two zones": _indexed(lambda n: [pd.Timestamp("2024-01-01", tz=("UTC", "Asia/Tokyo")[
        i % 2]) + pd.Timedelta(minutes=i) for i in range(n)]),
    "two-level index": _indexed(lambda n: pd.MultiIndex.from_arrays([range(n), range(n)])),
    "nullable": lambda v, r: _whole(v.astype(float)).astype("Float64"),
}
# other values of the same type and shape
VALUES: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
    "integers": lambda v, r: np.round(v.astype(float)).astype(np.int64),
    "unsigned": lambda v, r: np.abs(np.round(v.astype(float))).astype(np.uint8),
    "booleans": lambda v, r: v > 0,
    "constant": lambda v, r: np.full(v.shape, 7.0),
    "zeros": lambda v, r: np.zeros(v.shape),
    "one NaN": _with(np.nan),
    "all NaN": lambda v, r: np.full(v.shape, np.nan),
    "inf": _with(np.inf),
    "-inf and inf": _with(-np.inf, np.inf),
    "1e300": _with(1e300),
    "1e300 and -1e300": _with(1e300, -1e300, 1e300),
    "all 1e300": lambda v, r: np.full(v.shape, 1e300) * np.sign(v.astype(float) + 0.1),
    "1e308": _with(1e308, -1e308),
    "1e-310": lambda v, r: v.astype(float) * 1e-310,
    "1e160": lambda v, r: v.astype(float) * 1e160,
    "duplicates": lambda v, r: np.repeat(v[:len(v) // 3 + 1], 3, axis=0)[:len(v)],
}
# what is no such array
WRONG: dict[str, Callable[[np.ndarray, np.random.Generator], Any]] = {
    "texts": lambda v, r: v.astype(str),
    "words": lambda v, r: np.full(v.shape, "low"),
    "one word among objects": _with("low", kind=object),
    "None among objects": _with(None, kind=object),
    "NA among nullables": lambda v, r: _whole(v.astype(float)).astype("Float64").mask(
        _whole(np.arange(v.size).reshape(v.shape) == 1)),
    "categories": lambda v, r: _whole(v).astype("category"),
    "dates": lambda v, r: np.full(v.shape, np.datetime64("2024-01-01")),
    "durations": lambda v, r: np.full(v.shape, np.timedelta64(3, "s")),
    "complex": lambda v, r: v.astype(complex) + 1j,
    "bytes": lambda v, r: v.astype("S4"),
    "records": lambda v, r: np.zeros(v.shape, dtype=[("a", float), ("b", int)]),
    "one date column": lambda v, r: _whole(v.reshape(len(v), -1)).assign(
        when=pd.Timestamp("2024-01-01")),
    "one text column": lambda v, r: _whole(v.reshape(len(v), -1)).assign(who="Ada"),
    "masked": lambda v, r: np.ma.masked_array(v, np.arange(v.size).reshape(v.shape) % 5 == 0),
    "sparse": lambda v, r: sparse.csr_matrix(np.atleast_2d(v).astype(float)),
    "no rows": lambda v, r: v[:0],
    "no columns": lambda v, r: v[..., :0],
    "one row": lambda v, r: v[:1],
    "two rows": lambda v, r: v[:2],
    "half": lambda v, r: v[:len(v) // 2],
    "one row more": lambda v, r: np.concatenate([v, v[:1]]),
    "one column more": lambda v, r: np.concatenate([v, v[..., :1]], axis=-1),
    "zero dimensions": lambda v, r: np.array(1.0),
    "flat": lambda v, r: v.ravel(),
    "as a column": lambda v, r: v.reshape(-1, 1),
    "as a row": lambda v, r: v.reshape(1, -1),
    "three dimensions": lambda v, r: v.reshape(1, *v.shape, 1)[:, :, :, 0] if v.ndim == 2
    else v.reshape(1, 1, -1),
    "ragged": lambda v, r: [[1.0], [1.0, 2.0], []],
    "no array": lambda v, r: object(),
    "None": lambda v, r: None,
    "a text": lambda v, r: "0 1 1",
    "a number": lambda v, r: 3,
    "a dict": lambda v, r: {"a": [1, 2], "b": [3, 4]},
    "a set": lambda v, r: {1, 2},
    "a generator": lambda v, r: (x for x in v),
    "empty list": lambda v, r: [],
}
SCALARS: dict[str, Any] = {
    "-1": -1, "0": 0, "1": 1, "2": 2, "3": 3, "0.5": 0.5, "1.5": 1.5, "-0.5": -0.5,
    "1e-300": 1e-300,
    "1e300": 1e300, "NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "True": True, "False": False,
    "None": None, "text": "odd", "empty text": "", "a digit": "3", "bytes": b"x", "complex": 1j,
    "empty list": [], "list": [1], "texts": ["odd"], "list of None": [None], "pair": (1, 2),
    "dict": {}, "array": np.array([1.0, 2.0]), "0-d array": np.array(2.0), "int8": np.int8(3),
    "float32": np.float32(0.25), "bool_": np.bool_(True), "NA": pd.NA, "NaT": pd.NaT,
    "date": np.datetime64("2024-01-01"), "duration": timedelta(seconds=2), "object": object(),
    "type": int, "ellipsis": ..., "range": range(3), "function": len,
}
HUGE = {"10**18": 10**18, "10**30": 10**30}


@dataclass(frozen=True)
class Kind:
    """One kind of argument: a valid value, and the ways to spoil it."""

    make: Callable[[np.random.Generator], Any]
    spoils: dict[str, Callable[[Any, np.random.Generator], Any]]


def _scalar(values: dict[str, Any]) -> dict[str, Callable]:
    return {name: (lambda v, r, x=x: copy.copy(x) if isinstance(x, (list, dict)) else x)
            for name, x in values.items()}


def array(make: Callable[[np.random.Generator], np.ndarray], *, optional: bool = False) -> Kind:
    """Numbers in rows; None is refused unless it is a default."""
    spoils = {**FORMS, **VALUES, **WRONG}
    return Kind(make, {k: v for k, v in spoils.items() if not (optional and k == "None")})


def rows(n: int = 60, d: int = 3) -> Kind:
    """Normal rows."""
    return array(lambda rng: rng.normal(size=(n, d)))


def vector(n: int = 60, **more: Any) -> Kind:
    """One number a row."""
    return array(lambda rng: rng.normal(size=n), **more)


def labels(n: int = 60, **more: Any) -> Kind:
    """0/1 labels with two events."""
    y = np.zeros(n, dtype=int)
    y[n // 3:n // 3 + 4] = y[2 * n // 3] = 1
    return array(lambda rng: y.copy(), **more)


def number(valid: Any, *, huge: bool = True) -> Kind:
    """One number; without ``huge`` where as much work or memory would rightly follow."""
    return Kind(lambda rng: valid, _scalar(SCALARS | (HUGE if huge else {})))


def switch(valid: bool) -> Kind:
    """On or off; Python takes many things for either."""
    return Kind(lambda rng: valid, _scalar({k: SCALARS[k] for k in (
        "0", "1", "True", "False", "None", "text", "empty text", "bool_", "object")}))


def choice(*valid: Any) -> Kind:
    """One of a few."""
    return Kind(lambda rng: valid[int(rng.integers(len(valid)))], _scalar(SCALARS))


def fixed(make: Callable[[np.random.Generator], Any], **spoils: Any) -> Kind:
    """Anything else, with its own spoiled values besides the scalars."""
    own = {k: v if callable(v) else (lambda _, r, x=v: x) for k, v in spoils.items()}
    return Kind(make, {**_scalar(SCALARS), **own})


@dataclass(frozen=True)
class Target:
    """A public name with valid arguments and the look of its result.

    Attributes
    ----------
    name : str
    call : callable
        Takes the arguments by name.
    kinds : dict of str to Kind
    check : callable
        ``check(result, arguments)`` raises AssertionError.
    says : tuple of str
        Words that name an argument besides the names of the arguments.
    raises : tuple of exception types
        Documented besides the usual ones.
    own : tuple of str
        Arguments that the call may change: an engine, a model.
    """

    name: str
    call: Callable[..., Any]
    kinds: dict[str, Kind]
    check: Callable[[Any, dict[str, Any]], None]
    says: tuple[str, ...] = ()
    raises: tuple[type[BaseException], ...] = ()
    own: tuple[str, ...] = ()


class Violation(AssertionError):
    """What a try broke; `key` is the same for tries that break alike."""

    def __init__(self, key: tuple[str, ...], message: str):
        super().__init__(message)
        self.key = key


@dataclass
class Tally:
    """Tries, and how they ended."""

    tries: dict[str, int] = field(default_factory=dict)
    results: int = 0
    refusals: int = 0


def snapshot(value: Any) -> Any:
    """The content of an argument, to compare before and after."""
    if isinstance(value, np.ma.MaskedArray):
        return "masked", snapshot(value.data), snapshot(np.ma.getmaskarray(value))
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()) if value.dtype.hasobject else value.tobytes()
        return str(value.dtype), value.shape, content
    if isinstance(value, (pd.DataFrame, pd.Series)):
        columns = list(value.columns) if isinstance(value, pd.DataFrame) else value.name
        return repr(columns), repr(value.index), str(getattr(value, "dtypes", "")), repr(
            value.astype(object).to_numpy().tolist())
    if isinstance(value, dict):
        return {repr(k): snapshot(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(snapshot, value)]
    return repr(value) if isinstance(value, (str, int, float, bytes, set, type(None))) else None


def _hang(signum: int, frame: Any) -> None:
    limit = next(seconds for _, known, seconds in LIMITS if known == signum)
    raise TimeoutError(f"no answer in {limit} s")


@contextmanager
def _limited() -> Iterator[None]:
    """A TimeoutError inside the block when it takes too long, on a busy machine or not."""
    previous = [signal.signal(signum, _hang) for _, signum, _ in LIMITS]
    for timer, _, seconds in LIMITS:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (timer, signum, _), handler in zip(LIMITS, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(signum, handler)


def spoiled(target: Target, which: tuple[tuple[str, str], ...], seed: int) -> dict[str, Any]:
    """Arguments of a try: valid ones, but for ``which`` (argument, spoil) pairs."""
    rng = np.random.default_rng(seed)
    given = {name: kind.make(rng) for name, kind in target.kinds.items()}
    for name, spoil in which:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with np.errstate(all="ignore"):
                    given[name] = target.kinds[name].spoils[spoil](given[name], rng)
        except Exception:
            given[name] = object()  # no such form of this value: anything odd will do
    return given


def attempt(target: Target, which: tuple[tuple[str, str], ...] = (), seed: int = 0) -> str:
    """One try: "result" or "refusal"; raises `Violation`."""
    given = spoiled(target, which, seed)
    before = {k: snapshot(v) for k, v in given.items() if k not in target.own}
    told = f"{target.name}({', '.join(f'{a}: {s}' for a, s in which) or 'valid'}, seed={seed})"

    def broken(what: str, detail: str, at: str = "") -> Violation:
        return Violation((target.name, what, at, *(a for a, _ in which)),
                         f"{told}: {what}: {detail}")

    outcome = "result"
    with _limited(), warnings.catch_warnings(record=True) as caught, \
            redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("always")
        try:
            result = target.call(**given)
        except TimeoutError as error:
            raise broken("hang", str(error)) from error
        except MemoryError as error:
            if not any(spoil in HUGE or spoil == "1e300" for _, spoil in which):
                raise broken("MemoryError", str(error)) from error
            outcome = "refusal"
        except Exception as error:
            _judge(target, error, which, broken)
            outcome = "refusal"
        else:
            try:
                target.check(result, given)
            except (AssertionError, TypeError, ValueError, AttributeError) as error:
                shown = traceback.format_exception_only(error)[-1].strip()
                raise broken("result", f"{shown}; got {str(result)[:200]}") from error
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning):
            at = f"{warning.filename.split('site-packages/')[-1]}:{warning.lineno}"
            raise broken("warning", f"{warning.category.__name__}: {warning.message} ({at})", at)
    for name, content in before.items():
        if snapshot(given[name]) != content:
            raise broken("input changed", name)
    return outcome


def _judge(target: Target, error: Exception, which: tuple, broken: Callable) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    place = last.filename.replace("\\", "/")
    at = f"{place.split('site-packages/')[-1].removeprefix(f'{ROOT.as_posix()}/')}:{last.lineno}"
    ours = place.startswith(f"{ROOT.as_posix()}/adlib/")
    text = str(error)
    if not isinstance(error, DOCUMENTED + target.raises):
        raise broken("undocumented", f"{type(error).__name__}: {text[:300]} ({at})", at) from error
    if not ours and not any(part in place for part in VALIDATORS):
        raise broken("bare error", f"{type(error).__name__}: {text[:300]} ({at})", at) from error
    if not ours:
        return  # scikit-learn's checks speak of "the array", and of the class that refuses it
    words = {*target.kinds, *target.says}
    if not any(re.search(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])", text)
               for word in words):
        raise broken("names no argument", f"{type(error).__name__}: {text[:300]} ({at})", at
                     ) from error
