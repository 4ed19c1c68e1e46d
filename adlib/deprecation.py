"""Names that were removed or renamed: they work for one release, with a warning.

Every other module may use this one; it imports nothing of adlib.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def renamed(**names: str | None) -> Callable[[F], F]:
    """Accept parameters under their former names: ``@renamed(old="new")``.

    Parameters
    ----------
    **names
        New name of each former one; None where it has no meaning any more.

    Returns
    -------
    callable
        Decorator. The function keeps its signature; ``renamed_`` on it holds the names, for those
        who read parameters from a file.

    Raises
    ------
    TypeError
        On a call that gives a parameter under both names.

    Examples
    --------
    >>> @renamed(rest="refractory")
    ... def wait(*, refractory):
    ...     return refractory
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     wait(rest=3)
    3
    >>> str(said[0].message)
    "wait: 'rest' is now called 'refractory', and will be removed in the next release"
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def accept(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                new, value = names[old], kwargs.pop(old)
                where = function.__qualname__.removesuffix(".__init__")
                if new is None:
                    _warn(f"{where}: {old!r} has no meaning any more")
                    continue
                if new in kwargs:
                    raise TypeError(f"{where} got {old!r} and {new!r}: one thing, give the second")
                _warn(f"{where}: {old!r} is now called {new!r}")
                kwargs[new] = value
            return function(*args, **kwargs)

        accept.renamed_ = names  # type: ignore[attr-defined]
        accept.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return accept  # type: ignore[return-value]

    return decorate


def moved(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` for names that now live elsewhere.

    Parameters
    ----------
    module : str
        The module's ``__name__``.
    names : mapping of str to str
        Former name to ``"package.module:name"``.

    Returns
    -------
    callable
        Warns and returns the object; raises AttributeError for other names.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].partition(":")
        _warn(f"{module}.{name} is now {home}.{attribute}", stacklevel=3)
        return getattr(import_module(home), attribute)

    return __getattr__


def former(instead: str) -> Callable[[F], F]:
    """A function, or a property's getter, that only remains under its former name.

    Parameters
    ----------
    instead : str
        What to use in its place.

    Returns
    -------
    callable
        Decorator: every call warns.

    Examples
    --------
    >>> @former("total")
    ... def summed(values):
    ...     return sum(values)
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     summed([1, 2])
    3
    >>> str(said[0].message)
    'summed is now total, and will be removed in the next release'
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            _warn(f"{function.__qualname__} is now {instead}", stacklevel=3)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


class RenamedKeys(dict[str, Any]):
    """A dictionary whose values are found under former keys too, with a warning.

    Parameters
    ----------
    values : mapping
    names : mapping of str to str
        Present key of each former one.

    Examples
    --------
    >>> figures = RenamedKeys({"pages": 3}, {"wakes": "pages"})
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     figures["wakes"]
    3
    >>> str(said[0].message)
    "'wakes' is now called 'pages', and will be removed in the next release"
    >>> list(figures), figures.both()
    (['pages'], {'pages': 3, 'wakes': 3})
    """

    def __init__(self, values: Mapping[str, Any], names: Mapping[str, str]):
        super().__init__(values)
        self.names = names

    def __missing__(self, key: str) -> Any:
        if self.names.get(key) not in self:
            raise KeyError(key)
        _warn(f"{key!r} is now called {self.names[key]!r}", stacklevel=3)
        return self[self.names[key]]

    def both(self) -> dict[str, Any]:
        """The values under present and former keys: for tables and files, which cannot warn."""
        return {**self, **{old: self[new] for old, new in self.names.items() if new in self}}


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(f"{message}, and will be removed in the next release", FutureWarning,
                  stacklevel=stacklevel)
