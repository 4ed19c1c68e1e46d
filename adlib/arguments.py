"""Arguments, checked where they come in: what is wrong is one sentence that names the argument."""

import os
import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def whole(value: Any, name: str, least: int, *, of: str = "") -> int:
    """A whole number; not True, not 3.0.

    Parameters
    ----------
    value : object
    name : str
        What to call the argument in an error.
    least : int
    of : str
        What is counted, for the error: "rows".

    Raises
    ------
    ValueError
        When it is no whole number, or below ``least``.

    Examples
    --------
    >>> whole(8, "window", 1, of="rows")
    8
    >>> whole(True, "window", 1, of="rows")
    Traceback (most recent call last):
    ValueError: window must be a whole number of rows >= 1, got True
    """
    counts = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not counts or not least <= value < 2**63:
        counted = f" of {of}" if of else ""
        raise ValueError(f"{name} must be a whole number{counted} >= {least:g}, got {_got(value)}")
    return int(value)


def switch(value: Any, name: str) -> bool:
    """True or False; a count, which some such parameters formerly were, is False at 0.

    Parameters
    ----------
    value : object
    name : str
        What to call the argument in an error.

    Raises
    ------
    ValueError
        When it is neither.

    Examples
    --------
    >>> switch(True, "intervals"), switch(0, "intervals")
    (True, False)
    """
    return bool(value) if isinstance(value, (bool, np.bool_)) else whole(value, name, 0) > 0


def number(value: Any, name: str, *, least: float = -np.inf, above: float | None = None,
           most: float | None = None, below: float = np.inf) -> float:
    """A number within bounds; not NaN, not True, not a text.

    Parameters
    ----------
    value : object
    name : str
    least, above : float
        Lower bound, allowed or (``above``) not.
    most, below : float
        Upper bound, allowed (``most``) or not.

    Raises
    ------
    ValueError
        When it is no number, or lies outside.

    Examples
    --------
    >>> number(0.5, "reach", above=0, below=1)
    0.5
    >>> number("0.5", "reach", above=0, below=1)
    Traceback (most recent call last):
    ValueError: reach must be a number above 0 and below 1, got '0.5'
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        found = float(value) if real else np.nan
    except OverflowError:  # a whole number beyond all floats
        found = np.nan
    if not ((found >= least if above is None else found > above)
            and (found < below if most is None else found <= most)):
        bounds = [f"above {above:g}"] if above is not None else (
            [f">= {least:g}"] if least > -np.inf else [])
        bounds += [f"at most {most:g}"] if most is not None else (
            [f"below {below:g}"] if below < np.inf else [])
        wanted = " and ".join(bounds).replace(" and at most inf", "").replace("at most inf", "")
        raise ValueError(f"{name} must be a number{' ' * bool(wanted)}{wanted}, got {_got(value)}")
    return found


def one_of(value: Any, name: str, options: Iterable[Any]) -> Any:
    """One of a few texts, or None where that is among them.

    Raises
    ------
    ValueError
        When it is none of them.

    Examples
    --------
    >>> one_of("hold", "missing", ["hold", "drop"])
    'hold'
    >>> one_of(["hold"], "missing", ["hold", "drop"])
    Traceback (most recent call last):
    ValueError: missing must be one of 'hold', 'drop', got ['hold']
    """
    known = list(options)
    if not (value is None or isinstance(value, str)) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {_got(value)}")
    return value


def numeric(values: Any, name: str) -> NDArray:
    """An array of booleans, integers or floats, of whatever shape; it may be the caller's own.

    Raises
    ------
    ValueError
        For what would turn into numbers without being measurements: texts, dates, complex or
        masked values, rows of different lengths.

    Examples
    --------
    >>> numeric([True, False], "y").dtype.kind
    'b'
    >>> numeric(["low", 3], "score")
    Traceback (most recent call last):
    ValueError: score must be numeric, got dtype <U21
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise ValueError(f"{name} is a masked array: fill or drop its masked values")
    try:
        array = np.asarray(values)
        if array.dtype == object:  # pandas' nullable columns may arrive like this
            if any(isinstance(value, (str, bytes)) for value in array.flat):
                raise ValueError("it holds texts")
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numeric: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numeric, got dtype {array.dtype}")
    return array


def floats(values: Any, name: str, shape: str | None = None, *, sizes: tuple[int, ...] = (),
           below: float | None = None) -> NDArray[np.float64]:
    """The same as float64; it may still be the caller's own array.

    Parameters
    ----------
    values : array-like
    name : str
    shape : str, optional
        Such as ``"(n_rows, n_features)"``: its number of dimensions is checked too.
    sizes : tuple of int, default=()
        What the first dimensions have to be, in place of their names in ``shape``.
    below : float, optional
        What every value has to lie below, whatever its sign; inf: they have to be finite.

    Raises
    ------
    ValueError
        As in `numeric`, or for another number of dimensions, other sizes, or a value beyond.

    Examples
    --------
    >>> floats([1, 2], "scores", "(n_rows,)")
    array([1., 2.])
    >>> floats([[1, 2]], "scores", "(n_rows,)")
    Traceback (most recent call last):
    ValueError: scores must have shape (n_rows,), got (1, 2)
    >>> floats([1, np.nan], "scores", "(n_rows,)", sizes=(2,), below=np.inf)
    Traceback (most recent call last):
    ValueError: scores must be finite, got nan in row 1
    """
    array = numeric(values, name)
    with np.errstate(over="ignore"):  # a long double may be larger than any double: inf
        array = array.astype(np.float64, copy=False)
    if shape is not None:
        names = [part.strip() for part in shape[1:-1].split(",") if part]
        if array.ndim != len(names) or array.shape[:len(sizes)] != sizes:
            wanted = ", ".join([*map(str, sizes), *names[len(sizes):]]) + "," * (len(names) == 1)
            raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
    if below is not None and not (there := np.abs(array) < below).all():
        at = tuple(np.argwhere(~there)[0])
        bound = f" and below {below:g}" if below < np.inf else ""
        raise ValueError(f"{name} must be finite{bound}, got {array[at]:g} in row {at[0]}")
    return array


def listed(values: Any, name: str) -> list:
    """The items of a list, tuple, array or other iterable; not the letters of a text.

    Examples
    --------
    >>> listed(("a", "b"), "kinds")
    ['a', 'b']
    >>> listed("ab", "kinds")
    Traceback (most recent call last):
    ValueError: kinds must be a list, got 'ab'
    """
    if isinstance(values, (str, bytes)) or not np.iterable(values):
        raise ValueError(f"{name} must be a list, got {_got(values)}")
    return list(values)


def path(value: Any, name: str) -> Path:
    """A text or path-like object as a path.

    Examples
    --------
    >>> path("a/b.csv", "path").suffix
    '.csv'
    >>> path(7, "path")
    Traceback (most recent call last):
    TypeError: path must be a path, got 7
    """
    if not isinstance(value, (str, os.PathLike)) or "\0" in os.fsdecode(value):
        raise TypeError(f"{name} must be a path, got {_got(value)}")
    return Path(value)


def instance(value: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """An object of a type, or of one of several.

    Examples
    --------
    >>> instance("rig", "stream", str)
    'rig'
    >>> instance(7, "stream", str)
    Traceback (most recent call last):
    TypeError: stream must be of type str, got 7
    """
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise TypeError(f"{name} must be of type {' or '.join(k.__name__ for k in kinds)}, got "
                        f"{_got(value)}")
    return value


def positions(values: Any, name: str, n: int) -> NDArray[np.int64]:
    """Row numbers in [0, n), as an array of shape (k,).

    Examples
    --------
    >>> positions([2, 0], "asked", 3)
    array([2, 0])
    >>> positions([3], "asked", 3)
    Traceback (most recent call last):
    ValueError: asked must be row numbers in [0, 3), got [3]
    """
    array = numeric(values, name)
    counted = array.dtype.kind in "iu" or not array.size
    if array.ndim != 1 or not counted or not ((array >= 0) & (array < n)).all():
        raise ValueError(f"{name} must be row numbers in [0, {n}), got {_got(values)}")
    return array.astype(np.int64)


def column(values: Any, name: str, n_rows: int) -> NDArray:
    """One value of any type for each row.

    Raises
    ------
    ValueError
        For another shape than ``(n_rows,)``.

    Examples
    --------
    >>> column(["a", "b"], "kind", 2)
    array(['a', 'b'], dtype='<U1')
    >>> column([[1, 2], [3]], "period", 2)
    Traceback (most recent call last):
    ValueError: period must have shape (2,), got rows of different lengths
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must have shape ({n_rows},), got rows of different lengths"
                         ) from None
    if array.shape != (n_rows,):
        raise ValueError(f"{name} must have shape ({n_rows},), got {array.shape}")
    return array


def times(values: Any, name: str) -> NDArray[np.datetime64]:
    """An array of datetime64[ns], in UTC where the values have a time zone.

    Raises
    ------
    ValueError
        For what is no time (a number does not say what it counts), or too far from now.

    Examples
    --------
    >>> times(["2024-01-01", "2024-01-02"], "time").dtype
    dtype('<M8[ns]')
    >>> times([0, 1], "time")
    Traceback (most recent call last):
    ValueError: time must hold times (datetime64): got dtype int64
    """
    try:
        array = np.asarray(values)
        numbers = array.dtype.kind == "O" and any(
            isinstance(v, (int, float)) and v == v for v in array.flat)
        if array.dtype.kind not in "MOU" or numbers:
            raise ValueError(f"got dtype {array.dtype}")
        if array.dtype != "datetime64[ns]":
            import pandas as pd

            texts = "ISO8601" if array.dtype.kind == "U" else None
            flat: Any = array.ravel()
            found = pd.to_datetime(flat, utc=True, format=texts).tz_localize(None)
            array = found.as_unit("ns").to_numpy().reshape(array.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must hold times (datetime64): {error}") from None
    return array


def wall_times(X: Any) -> Any:
    """The index of a frame as times without a zone, local where it has one; None without times.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    pandas.DatetimeIndex of shape (n_samples,) or None

    Examples
    --------
    >>> wall_times([[1.0], [2.0]]) is None
    True
    """
    index: Any = getattr(X, "index", None)
    if getattr(getattr(index, "dtype", None), "kind", "") != "M":
        return None
    return index if getattr(index, "tz", None) is None else index.tz_localize(None)


def generator(random_state: Any) -> np.random.Generator:
    """`numpy.random.default_rng`, which says what it was given.

    Examples
    --------
    >>> int(generator(0).integers(10))
    8
    >>> generator(-1)
    Traceback (most recent call last):
    ValueError: random_state must be None, a whole number >= 0 or a NumPy generator, got -1
    """
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(f"random_state must be None, a whole number >= 0 or a NumPy generator, "
                         f"got {_got(random_state)}") from None


class MissingExtra(ImportError):
    """An optional library is not installed."""


def require_extra(module: str, extra: str) -> ModuleType:
    """An optional library, imported; a missing one is one sentence that names the extra.

    Parameters
    ----------
    module : str
        Such as ``"skops.io"``.
    extra : str
        The extra of adlib that brings it.

    Raises
    ------
    MissingExtra
        When the library is not installed. One that is installed and broken raises its own error.

    Examples
    --------
    >>> require_extra("json", "live").loads("[1]")
    [1]
    >>> require_extra("gone", "live")
    Traceback (most recent call last):
    adlib.arguments.MissingExtra: gone is not installed: pip install -e '.[live]' in adlib's folder
    """
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        # Not "adlib[...]": on PyPI that name belongs to another project.
        raise MissingExtra(f"{library} is not installed: pip install -e '.[{extra}]' in adlib's "
                           "folder", name=library) from None


# Unicode calls these printable, and yet they show nothing.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f"
                        "\uffa0\U000e0100-\U000e01ef]")


def shown(text: Any, most: int = 80) -> str:
    """Text from outside as people may see it: on one line, steering nothing, of bounded length.

    Names come from the data. What is not printable (a newline, an escape sequence, a character
    that turns the direction of writing or has no width) becomes ``?``, so that what is shown is
    also a pattern that matches the name (``alerts silence --feature``); the middle of a long text
    is left out.

    Parameters
    ----------
    text : object
        Its ``str`` is shown.
    most : int
        Most characters of the result, at least 3.

    Examples
    --------
    >>> print(shown("flow\\nAcknowledge: rm"), shown("\\u202eflow"), shown("x" * 99 + "7", 9))
    flow?Acknowledge: rm ?flow xxxxx…xx7
    """
    text = "" if text is None else str(text)
    if len(text) > most:
        head = 2 * most // 3 - 1
        text = f"{text[:head]}…{text[head + 1 - most:]}"
    return "".join(c if c.isprintable() and not _INVISIBLE.match(c) else "?" for c in text)


def _got(value: Any) -> str:
    """What was given, in an error: the beginning and the end of what is long."""
    return shown(repr(value), 200)
