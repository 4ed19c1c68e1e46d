"""What a metric is to a comparison: a record, so that nothing is guessed from its name."""

import inspect
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import listed, number, one_of

__all__ = ["Metric", "all_metrics"]

METRICS: dict[str, "Metric"] = {}
PER_ROW = ("judged", "time", "kind")
Function = TypeVar("Function", bound=Callable)


@dataclass(frozen=True)
class Metric:
    """A way to judge a detector, for `report` and `adlib.compare.compare`.

    Parameters
    ----------
    name : str
        As it stands in tables. What needs flags gets the source of the threshold appended there:
        ``f1@calibration``.
    function : callable
        ``function(y_true, score)`` or ``function(y_true, flags)`` to one number: arrays of shape
        (n_samples,), 1 = anomaly. What it takes by these names is passed on: ``judged`` (rows that
        count, boolean; a function without it gets only those rows), ``time`` (datetime64),
        ``interval`` (seconds), ``kind`` (of each anomaly), ``window`` (width for labels that are
        not exact, in rows). Where one that it requires is not known, as the time of a table, the
        metric is left out.
    needs : {"score", "flags"}
    best : {"high", "low"}
        Which end a good detector reaches.
    chance : float, "shuffle" or None
        What a score that knows nothing gets. ``"shuffle"`` and None: the mean over scores in random
        order, of a series over the score moved in time.
    perfect : float, optional
        What a perfect detector gets, for the share of the way from chance to it; nan: there is no
        such share. Default: 1 where high is best, nan where low is.

    Raises
    ------
    ValueError, TypeError
        When a field is none of these.

    Examples
    --------
    >>> def hits(y_true, score):
    ...     return float(y_true[np.argsort(score)[-5:]].mean())
    >>> mine = Metric("hits_of_5", hits)
    >>> mine(np.arange(20) >= 15, np.arange(20))
    1.0
    """

    name: str
    function: Callable[..., Any]
    needs: Literal["score", "flags"] = "score"
    best: Literal["high", "low"] = "high"
    chance: float | Literal["shuffle"] | None = None
    perfect: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"name of a Metric must be a text, got {self.name!r}")
        if not callable(self.function):
            raise TypeError(f"function of Metric {self.name!r} must be callable, got "
                            f"{self.function!r}")
        one_of(self.needs, "needs", ("score", "flags"))
        one_of(self.best, "best", ("high", "low"))
        if self.chance is not None and not (
                isinstance(self.chance, str) and self.chance == "shuffle"):
            number(self.chance, "chance")
        if self.perfect is not None and not (
                isinstance(self.perfect, float) and math.isnan(self.perfect)):
            number(self.perfect, "perfect")

    def lacks(self, given: Container[str]) -> list[str]:
        """Parameters that the function requires and nobody gives."""
        rest = list(inspect.signature(self.function).parameters.values())[2:]
        return [p.name for p in rest if p.default is p.empty and p.name not in given
                and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]

    def __call__(self, y_true: ArrayLike, values: ArrayLike, **given: Any) -> float:
        """The value for these scores or flags; of ``given``, what the function takes is passed."""
        y, values = np.asarray(y_true), np.asarray(values)
        taken = inspect.signature(self.function).parameters
        judged = given.get("judged")
        if judged is not None and "judged" not in taken:
            y, values = y[judged], values[judged]
            given = {k: v[judged] if k in PER_ROW else v for k, v in given.items()}
        value = self.function(y, values, **{k: v for k, v in given.items() if k in taken})
        if isinstance(value, bool) or np.ndim(value) or not isinstance(
                value, (int, float, np.number)):
            gave = f"an array of shape {value.shape}" if np.ndim(value) and isinstance(
                value, np.ndarray) else f"{value!r:.80}"
            raise TypeError(f"metric {self.name!r} must give one number, gave {gave}")
        return float(value)

    def above_chance(self, value: float, random: float) -> float:
        """Share of the way from chance (0) to perfect (1).

        Parameters
        ----------
        value, random : float
            Of the detector, and of a score that knows nothing.

        Returns
        -------
        float
            nan where there is no such way.
        """
        usual = 1.0 if self.best == "high" else np.nan
        way = (usual if self.perfect is None else self.perfect) - random
        there = way > 0 if self.best == "high" else way < 0
        return (value - random) / way if there else np.nan


def all_metrics() -> dict[str, Metric]:
    """The metrics of adlib by name, as `report` and `adlib.compare.compare` take them.

    Returns
    -------
    dict of str to Metric

    Examples
    --------
    >>> all_metrics()["alarms_per_day"].best
    'low'
    """
    return dict(METRICS)


def register(metric: Metric) -> None:
    """Add a metric of adlib; every function that judges a detector does so where it is defined."""
    METRICS[metric.name] = metric


def judges(needs: Literal["score", "flags"], *, name: str | None = None,
           settings: Mapping[str, Any] | None = None, **facts: Any
           ) -> Callable[[Function], Function]:
    """`register` the function below: its record stands where the function does.

    Parameters
    ----------
    needs : {"score", "flags"}
    name : str, optional
        Default: that of the function.
    settings : mapping, optional
        Values of parameters that have no default.
    **facts
        See `Metric`.
    """
    def found(function: Function) -> Function:
        call = partial(function, **settings) if settings else function
        register(Metric(name or function.__name__, call, needs, **facts))
        return function

    return found


def chosen(metrics: Any) -> tuple[list[str], list[Metric]]:
    """Names as asked for, and the records among them or behind them.

    Raises
    ------
    TypeError, ValueError
        When an item is neither a name nor a `Metric`, or two records have one name.
    """
    items = [metrics] if isinstance(metrics, (str, Metric)) else listed(metrics, "metrics")
    if not items:
        raise ValueError("metrics must name one at least, got none")
    records: dict[str, Metric] = {}
    for item in items:
        if not isinstance(item, (str, Metric)):
            raise TypeError(f"metrics must be names or of type Metric, got {item!r}")
        wanted = [item] if isinstance(item, Metric) else [
            record for name, record in METRICS.items() if item in (name, name.split("@")[0])]
        for record in wanted:
            if records.get(record.name, METRICS.get(record.name, record)) != record:
                raise ValueError(f"metrics holds two records named {record.name!r}: give yours "
                                 f"another name")
            records[record.name] = record
    return [item if isinstance(item, str) else item.name for item in items], list(records.values())


def is_named(row: str, names: list[str]) -> bool:
    """Whether a row of a table was asked for, with or without what follows the ``@``."""
    return row in names or row.split("@")[0] in names
