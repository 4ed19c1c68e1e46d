"""The one container that every generator and loader returns."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adlib.arguments import floats, listed, numeric, times, whole
from adlib.dependence import looks_serial
from adlib.deprecation import renamed
from adlib.durations import seconds
from adlib.metrics.labels import runs
from adlib.missing import fill, fill_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Dataset"]

#: ``kind`` of rows that are neither normal nor anomalous and are left out of every metric.
RECOVERY = "recovery"

#: Default of fields that are never None once a dataset is made.
FILLED_IN: Any = None


class Splits(NamedTuple):
    """Training, calibration and test part.

    Attributes
    ----------
    train, calibrate, test : slice or Dataset
        In time order.
    """

    train: Any
    calibrate: Any
    test: Any


class _Median(float):
    """An interval that nobody gave: looked for anew where rows change."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Rows in time order with their labels and the places where they are to be cut.

    All arrays become read-only copies, so a dataset can be shared between detectors without one
    changing what the next one sees. Rows before ``train_end`` are history (to be fitted and
    calibrated on), rows from it on are the test.

    Parameters
    ----------
    name : str
        Short name, used as a key in tables of results.
    X : array-like of shape (n_samples, n_features)
        Values; a 1-d array is one feature. NaN means missing; infinite values are refused.
    y : array-like of shape (n_samples,), default=None
        1 = anomaly, 0 = not. None means that no row is known to be one.
    time : array-like of shape (n_samples,), default=None
        Timestamps, never falling within a ``session``. Steps may be irregular and timestamps may
        repeat.
    feature_names : sequence of str, default=None
        One name per column; ``x0, x1, ...`` if None.
    kind : array-like of str of shape (n_samples,), default=None
        Kind of anomaly where ``y == 1``. Where ``y == 0``, "" is plain normal; other names mark
        harmless specialities such as "drift", "backup" or "recovery" (not judged).
    train_end : int, default=None
        Rows of history; 40 % of the rows if None.
    source : str, default=""
        One line on where the rows come from: generator and seed, or origin, commit and licence.
    calibrate_start : int, default=None
        First row of history that is kept for calibration; the last fifth of it if None.
    oracle : array-like of shape (n_samples,), default=None
        Score of someone who knows how the rows were generated; higher = more anomalous.
    strength : array-like of shape (n_samples,), default=None
        Size of the injected change in standard deviations of its channel; 0 where there is none.
    channel : array-like of str of shape (n_samples,), default=None
        Features that the injected change affects, joined by commas.
    session : array-like of int of shape (n_samples,), default=None
        Number of the recording, or of the machine, patient or account, that a row belongs to. A
        window across two of them means nothing. History may hold the first rows of each, and the
        test those that follow them.
    series : bool, default=None
        True: each row follows the one before it. False: the rows are those of a table, and none
        follows another. None: detectors take the rows as they come, and whether metrics do is
        looked for (`is_series`).
    notes : sequence of str, default=()
        What a loader recognised, repaired or doubts; no part of `fingerprint`.
    session_names : sequence of str, default=None
        What recording 0, 1, ... is of, such as a machine. A machine with several recordings has
        its name several times.
    interval : float, timedelta or str, default=None
        Seconds from one row to the next, such as 60 or "1min"; the median step of ``time`` in a
        ``session`` if None, NaN where nothing shows it.

    Raises
    ------
    ValueError
        If shapes disagree, a label is not 0 or 1, an anomaly has no kind, time falls, or a value
        is infinite.

    Examples
    --------
    >>> data = Dataset("demo", [[0.0], [1.0], [0.5], [9.0], [0.2]], [0, 0, 0, 1, 0], train_end=3)
    >>> data
    Dataset('demo': 5 rows x 1, history 3, anomalous rows 1)
    >>> data.test.y
    array([1, 0], dtype=int8)
    >>> data.slices()
    Splits(train=slice(0, 3, None), calibrate=slice(3, 3, None), test=slice(3, 5, None))
    """

    name: str
    X: np.ndarray
    y: np.ndarray = FILLED_IN
    time: np.ndarray | None = None
    feature_names: tuple[str, ...] = FILLED_IN
    kind: np.ndarray = FILLED_IN
    train_end: int = FILLED_IN
    source: str = ""
    calibrate_start: int = FILLED_IN
    oracle: np.ndarray | None = None
    strength: np.ndarray | None = None
    channel: np.ndarray | None = None
    session: np.ndarray | None = None
    series: bool | None = None
    notes: tuple[str, ...] = ()
    session_names: tuple[str, ...] | None = None
    interval: float = FILLED_IN

    def __post_init__(self) -> None:
        X = _checked(floats, self.X, self.name, "X")
        self._set("X", _read_only(X[:, None] if X.ndim == 1 else X, np.float64))
        if self.X.ndim != 2 or self.X.shape[1] == 0:
            raise ValueError(
                f"{self.name}: X must have shape (rows, features), got {self.X.shape}"
            )
        if np.isinf(self.X).any():
            raise ValueError(f"{self.name}: X has infinite values; use NaN for missing ones")
        self._set("notes", tuple(map(str, _checked(listed, self.notes, self.name, "notes"))))
        self._set("feature_names", self._names())
        for field in COLUMNS:
            self._set(field, self._column(field))
        if (self.kind[self.y == 1] == "").any():
            raise ValueError(f"{self.name}: kind is empty on a row with y = 1")
        self._set("session_names", self._names_of_sessions())
        if self.time is not None and (np.isnat(self.time).any() or (self._steps() < 0).any()):
            raise ValueError(f"{self.name}: time must be complete and must not fall"
                             f"{'' if self.session is None else ' within a session'}; sort the "
                             "rows")
        self._set("interval", self._interval())
        train_end = self._cut_at("train_end", int(0.4 * len(self)))
        start = self._cut_at("calibrate_start", train_end - train_end // 5)
        if not start <= train_end <= len(self):
            raise ValueError(
                f"{self.name}: need 0 <= calibrate_start <= train_end <= {len(self)}, "
                f"got calibrate_start={start}, train_end={train_end}"
            )
        self._set("train_end", train_end)
        self._set("calibrate_start", start)

    def _interval(self) -> float:
        """What was given, checked as `series` is, or the median step."""
        if not isinstance(self.series, bool | None):
            raise ValueError(f"{self.name}: series must be True, False or None, got "
                             f"{self.series!r}")
        if self.interval is not None and not isinstance(self.interval, _Median):
            return _checked(seconds, self.interval, self.name, "interval")
        steps = self._steps()
        return _Median(np.median(steps) / 1e9 if len(steps) else np.nan)

    def _names(self) -> tuple[str, ...]:
        """One name per column, all different."""
        if self.feature_names is None:
            return tuple(f"x{i}" for i in range(self.n_features))
        given = _checked(listed, self.feature_names, self.name, "feature_names")
        names = tuple(map(str, given))
        if not len(names) == len(set(names)) == self.n_features:
            raise ValueError(f"{self.name}: {self.n_features} columns need {self.n_features} "
                             f"different names in feature_names, got {names}")
        return names

    def _names_of_sessions(self) -> tuple[str, ...] | None:
        if self.session_names is None:
            return None
        names = tuple(map(str, _checked(listed, self.session_names, self.name, "session_names")))
        of = self.session
        if of is None or len(of) and not 0 <= of.min() <= of.max() < len(names):
            raise ValueError(f"{self.name}: session_names needs session, with numbers from 0 to "
                             f"{len(names) - 1} for its {len(names)} names")
        return names

    def _column(self, field: str) -> np.ndarray | None:
        """A field with one value per row, checked; None where nothing is known."""
        values = getattr(self, field)
        if values is None and field == "y":
            values = np.zeros(len(self), np.int8)
        elif values is None and field == "kind":
            values = np.where(self.y == 1, "anomaly", "")
        if values is None:
            return None
        check, dtype = COLUMNS[field]
        array = _read_only(_checked(check, values, self.name, field), dtype)
        if array.shape != (len(self),):
            raise ValueError(
                f"{self.name}: {field} has shape {array.shape}, X has {len(self)} rows"
            )
        return array

    def _cut_at(self, field: str, default: int) -> int:
        row = getattr(self, field)
        return default if row is None else _checked(whole, row, self.name, field, 0)

    def _set(self, field: str, value: Any) -> None:
        object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self)} rows x {self.n_features}, "
            f"history {self.train_end}, anomalous rows {int(self.y.sum())})"
        )

    @property
    def n_features(self) -> int:
        """Number of columns of ``X``."""
        return self.X.shape[1]

    @property
    def ordered(self) -> bool:
        """Whether detectors take the rows in their order: unless ``series=False`` was given."""
        return self.series is not False

    @property
    def entity(self) -> np.ndarray:
        """Number of the machine (patient, account) of each row: sessions of one name are one."""
        if self.session is None:
            return np.zeros(len(self), np.int64)
        if self.session_names is None:
            return self.session
        return np.unique(self.session_names, return_inverse=True)[1][self.session]

    @property
    def entity_names(self) -> dict[int, str]:
        """Name of each `entity` by its number."""
        if self.session_names is None:
            return {int(number): str(number) for number in np.unique(self.entity)}
        return dict(enumerate(np.unique(self.session_names).tolist()))

    @cached_property
    def is_series(self) -> bool:
        """Whether metrics take the test for a series: given, timed, or found.

        Without a time or an interval it is looked for: in labels that come in runs, and in columns
        whose values hang on those of the row before (`adlib.dependence`).
        """
        if self.series is not None:
            return self.series
        return self.time is not None or self.interval > 0 or bool(self.series_found)

    @cached_property
    def series_found(self) -> str:
        """What was found, where only a look showed that the rows are a series; else ""."""
        rows = slice(self.train_end, None)
        if self.series is not None or self.time is not None or self.interval > 0 or not (
                looks_serial(self.y[rows], self.X[rows])):
            return ""
        return ("without a time, and judged as a series: labels come in runs, or values hang on "
                "the row before (series=False: they are rows of a table)")

    def _steps(self) -> np.ndarray:
        """Nanoseconds from row to row within each session; without time, none."""
        time = np.empty(0, "datetime64[ns]") if self.time is None else self.time
        if self.session is None or self.time is None:
            return np.diff(time).astype(np.int64)
        order = np.argsort(self.session, kind="stable")
        inside = np.diff(self.session[order]) == 0
        return np.diff(time[order]).astype(np.int64)[inside]

    @property
    def judged(self) -> np.ndarray:
        """Boolean array of shape (n_samples,): False on rows that metrics leave out."""
        return np.not_equal(self.kind, RECOVERY)

    def slices(self, purge: int = 0) -> Splits:
        """Places to cut, with ``purge`` rows left out before calibration and before the test.

        Parameters
        ----------
        purge : int, default=0
            Rows to leave out at each cut, so that no window straddles it; window length minus 1
            is enough.

        Returns
        -------
        Splits of slice

        Raises
        ------
        ValueError
            When ``purge`` is negative or leaves no row of a part.
        """
        c, e, n = self.calibrate_start, self.train_end, len(self)
        purge = whole(purge, "purge", 0, of="rows")
        # An empty part stays empty; a purge that would empty a part with rows is a mistake.
        if purge and (0 < e - c <= purge or 0 < n - e <= purge):
            raise ValueError(
                f"{self.name}: purge={purge} must lie in [0, {min(e - c, n - e)}): "
                f"the parts have {c}, {e - c} and {n - e} rows"
            )
        return Splits(slice(0, c), slice(min(c + purge, e), e), slice(min(e + purge, n), n))

    def split(self, purge: int = 0) -> Splits:
        """The three parts of :meth:`slices` as datasets of their own."""
        return Splits(*(self.cut(part) for part in self.slices(purge)))

    def cut(self, rows: slice) -> Dataset:
        """Rows of one slice (step 1) as a dataset; the cuts move along with them.

        Raises
        ------
        ValueError
            When ``rows`` is no slice of whole numbers with step 1.
        """
        try:
            first, last, step = rows.indices(len(self))
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{self.name}: rows must be a slice of whole numbers, got {rows!r}"
                             ) from None
        if step != 1:
            raise ValueError(f"{self.name}: rows must follow each other, got {rows}")
        last = max(first, last)
        changes: dict[str, Any] = {
            f.name: value[first:last]
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), np.ndarray)
        }
        for edge in ("train_end", "calibrate_start"):
            changes[edge] = min(max(getattr(self, edge), first), last) - first
        return replace(self, **changes)

    @classmethod
    def joined(cls, sets: Iterable[Dataset], name: str) -> Dataset:
        """Several machines or recordings as one data set: learned together, judged each and all.

        `load_csv(entity_column=)` gives the same from one file.

        Parameters
        ----------
        sets : iterable of Dataset
            Of the same features; the name of each is that of its entity, or stands before it.
        name : str

        Returns
        -------
        Dataset
            All training rows, then all that calibrate, then all tests.

        Raises
        ------
        ValueError
            When features or ``series`` differ.
        """
        sets = listed(sets, "sets")
        if len({(data.feature_names, data.series) for data in sets}) != 1:
            raise ValueError("sets must be at least one, with the same features and series")
        known = _stacked(sets)
        if "time" not in known and sets[0].interval > 0:
            known["interval"] = sets[0].interval
        return cls(name, **known, feature_names=sets[0].feature_names, series=sets[0].series,
                   train_end=sum(data.train_end for data in sets),
                   calibrate_start=sum(data.calibrate_start for data in sets),
                   source="; ".join(dict.fromkeys(data.source for data in sets)))

    @property
    def train(self) -> Dataset:
        """Rows to fit on."""
        return self.split().train

    @property
    def calibrate(self) -> Dataset:
        """Rows of history kept out of the fit, for thresholds."""
        return self.split().calibrate

    @property
    def test(self) -> Dataset:
        """Rows to judge on."""
        return self.split().test

    def imputed(self) -> Dataset:
        """The same rows without gaps: filled with the median of their column among `train`.

        What `adlib.compare.compare` gives to every detector, baseline and oracle with
        ``missing="impute"``. A `adlib.missing.MissingWarning` says where that is much.

        Returns
        -------
        Dataset
            This one where nothing is missing.

        Raises
        ------
        ValueError
            When a column has no value at all in `train`.
        """
        if not np.isnan(self.X).any():
            return self
        values, _ = fill_values(self.X[: self.calibrate_start], self.feature_names, what=self.name)
        return replace(self, X=fill(self.X, values, self.feature_names, what=self.name).rows)

    @property
    def events(self) -> pd.DataFrame:
        """One line per labelled event, drift and other harmless ones included.

        Columns: ``start`` and ``end`` (rows, end exclusive), ``kind``, ``is_anomaly``, and where
        known ``channel`` and ``strength``. Touching rows with equal labels are one event.
        """
        import pandas as pd

        labels = (self.kind, self.channel, self.strength, self.session)
        start, end = runs(np.not_equal(self.kind, ""), *(v for v in labels if v is not None))
        table = {"start": start, "end": end, "kind": self.kind[start]}
        table["is_anomaly"] = self.y[start] == 1
        for field in ("channel", "strength"):
            if (values := getattr(self, field)) is not None:
                table[field] = values[start]
        return pd.DataFrame(table)

    def to_frame(self) -> pd.DataFrame:
        """Features, ``y`` and ``kind`` as a frame, indexed by time if there is one.

        Where sessions have names, those are the column ``session``.
        """
        import pandas as pd

        index = None if self.time is None else pd.DatetimeIndex(self.time, name="time")
        frame = pd.DataFrame(self.X, columns=list(self.feature_names), index=index, copy=True)
        frame = frame.assign(y=self.y, kind=self.kind)
        if self.session is None or self.session_names is None:
            return frame
        return frame.assign(session=np.array(self.session_names, dtype=object)[self.session])

    def describe(self) -> dict[str, Any]:
        """Facts to look at before any model: sizes, labels, missing values, time steps."""
        facts: dict[str, Any] = {
            "name": self.name,
            "rows": len(self),
            "features": self.n_features,
            "history": self.train_end,
            "anomalous rows in history": int(self.y[: self.train_end].sum()),
            "anomalous rows in test": int(self.y[self.train_end :].sum()),
            "missing values": int(np.isnan(self.X).sum()),
            "rows per kind": dict(sorted(Counter(self.kind[self.kind != ""].tolist()).items())),
        }
        if self.session_names is not None:
            facts["groups"] = len(np.unique(self.entity))
        if len(steps := self._steps()):
            facts["median step in seconds"] = float(np.median(steps) / 1e9)
            facts["steps off the median"] = int((steps != np.median(steps)).sum())
        if self.notes:
            facts["notes"] = self.notes
        return facts | {"source": self.source}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content (rows, labels, cuts; not the name or notes), as 64 hex digits."""
        digest = hashlib.sha256()
        for f in fields(self):
            if f.name in ("name", "source", "notes"):
                continue
            value = getattr(self, f.name)
            if f.name == "session_names" and value is None:
                continue  # as it was before sets had names
            if isinstance(value, np.ndarray) and value.dtype.kind == "U":
                value = tuple(value.tolist())  # the width of a string dtype is not content
            digest.update(f.name.encode())
            if isinstance(value, np.ndarray):
                digest.update(f"{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
            else:
                digest.update(repr(value).encode())
        return digest.hexdigest()


Dataset.__init__ = renamed(ordered="series")(Dataset.__init__)  # type: ignore[method-assign]


def _numbered(sets: list[Dataset]) -> tuple[dict[Dataset, np.ndarray], list[str]]:
    """Different numbers for the sessions of different sets, and what each is of."""
    numbers: dict[Dataset, np.ndarray] = {}
    names: list[str] = []
    for data in sets:
        of = data.entity if data.session is None else data.session
        _, at, number = np.unique(of, return_index=True, return_inverse=True)
        numbers[data] = number + len(names)
        entities = data.entity_names
        names += [data.name if len(entities) == 1 else f"{data.name}/{entities[one]}"
                  for one in data.entity[at].tolist()]
    return numbers, names


def _stacked(sets: list[Dataset]) -> dict[str, Any]:
    """What all sets have for each row: first where they train, then calibrate, then test."""
    parts = [(data, part) for rows in zip(*(data.slices() for data in sets), strict=True)
             for data, part in zip(sets, rows, strict=True)]
    numbers, names = _numbered(sets)
    known: dict[str, Any] = {"session_names": tuple(names), "session": np.concatenate(
        [numbers[data][part] for data, part in parts])}
    for field in ("X", *COLUMNS):
        if field not in known and all(getattr(data, field) is not None for data in sets):
            known[field] = np.concatenate([getattr(data, field)[part] for data, part in parts])
    return known


def _checked(check: Callable, values: Any, dataset: str, field: str, *more: Any) -> Any:
    """A field's value, checked; the dataset's name stands before what is wrong."""
    try:
        return check(values, field, *more)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{dataset}: {error}") from None


def _binary(values: Any, name: str) -> np.ndarray:
    y = numeric(values, name)
    if not np.isin(y, (0, 1)).all():
        odd = np.unique(y[~np.isin(y, (0, 1))])[:3].tolist()
        raise ValueError(f"{name} must hold 0 (normal) and 1 (anomaly), got {odd}")
    return y


def _texts(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values, np.str_)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None


def _whole_numbers(values: Any, name: str) -> np.ndarray:
    found = floats(values, name)
    if not (np.abs(found) < 2**53).all() or (found % 1 != 0).any():
        raise ValueError(f"{name} must hold whole numbers")
    return found


#: Fields with one value per row: how they are checked, and how they are stored.
COLUMNS: dict[str, tuple[Callable, Any]] = {
    "y": (_binary, np.int8),
    "time": (times, "datetime64[ns]"),
    "kind": (_texts, np.str_),
    "oracle": (floats, np.float64),
    "strength": (floats, np.float64),
    "channel": (_texts, np.str_),
    "session": (_whole_numbers, np.int64),
}


def _read_only(values: Any, dtype: Any) -> np.ndarray:
    """A read-only C-contiguous array; the caller's own array stays writable."""
    array = np.asarray(values, dtype=dtype)
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C")
        array.flags.writeable = False
    return array
