"""Inject labelled anomalies into any data, the user's own included.

Each kind is one small function registered by :func:`injector`. It gets an :class:`Event` (one
channel, the rows to change) and returns the change to add to those rows, or the values to put
there. Placing, scaling, labelling and the refusal of events that change nothing happen once, in
:func:`inject`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from adlib.arguments import floats, generator, listed, whole
from adlib.datasets.dataset import Dataset
from adlib.metrics.labels import runs
from adlib.periods import dominant_period
from adlib.scaling import stands_still

__all__ = ["ANOMALY_KINDS", "KINDS", "inject", "injector"]

#: An event of a kind that replaces values must change its channel by this many sd (rms), or it is
#: placed again: a label on rows that hardly changed would punish detectors for being right.
MIN_STRENGTH = 0.05
#: Placements tried before giving up.
MAX_TRIES = 200


@dataclass(frozen=True)
class Event:
    """One event to be shaped, in one channel.

    Attributes
    ----------
    x : ndarray of shape (n_samples,)
        The whole channel as it was before injection, without missing values; read-only.
    start, stop : int
        Rows to change, end exclusive.
    scale : float
        Robust standard deviation of the channel.
    strength : float
        Wanted root mean square of the change, in ``scale`` units.
    rng : numpy.random.Generator
    period_or_none : int or None
        Rows per season as given by the caller.
    """

    x: np.ndarray
    start: int
    stop: int
    scale: float
    strength: float
    rng: np.random.Generator
    period_or_none: int | None = None

    @property
    def length(self) -> int:
        """Number of rows to change."""
        return self.stop - self.start

    @property
    def values(self) -> np.ndarray:
        """The rows to change, shape (length,)."""
        return self.x[self.start : self.stop]

    def sign(self) -> float:
        """A random direction: 1.0 or -1.0."""
        return float(self.rng.choice((-1.0, 1.0)))

    @cached_property
    def period(self) -> int:
        """Rows per season: given, or estimated from the autocorrelation of the channel."""
        if period := self.period_or_none or dominant_period(self.x):
            return period
        raise ValueError("no season found in the data: pass period=, the number of rows per season")

    def seasonal(self, rows: np.ndarray) -> np.ndarray:
        """Values of the channel at ``rows``, whole seasons earlier where that is past the end."""
        excess = np.maximum(rows - (len(self.x) - 1), 0)
        return self.x[rows - -(-excess // self.period) * self.period]


Shape = Callable[[Event], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A registered kind: its shape and what :func:`inject` must know about it."""

    name: str
    shape: Shape
    min_length: int = 1
    point: bool = False
    replaces: bool = False
    anomaly: bool = True

    @property
    def least(self) -> float:
        """Size of the smallest change, in sd, that an event of this kind may have."""
        return MIN_STRENGTH if self.replaces else 0.0

    @property
    def summary(self) -> str:
        """First line of the shape's docstring."""
        return (self.shape.__doc__ or "").strip().split("\n")[0]


KINDS: dict[str, Kind] = {}


def injector(name: str, **options: Any) -> Callable[[Shape], Shape]:
    """Register a kind of event under ``name``.

    Parameters
    ----------
    name : str
        Name to be used in ``kinds=`` and as label.
    **options
        ``min_length`` (rows an event needs, default 1), ``point`` (always one row, default False),
        ``replaces`` (False: the returned array is a shape, multiplied until its root mean square
        is ``strength`` sd and added; True: it holds the values to show instead, whose distance
        from the old ones is measured), ``anomaly`` (False: rows keep ``y = 0``).

    Returns
    -------
    callable
        Decorator that registers the function and gives it back unchanged.

    Raises
    ------
    ValueError
        When ``name`` is no text.

    Examples
    --------
    >>> @injector("sawtooth", min_length=2)
    ... def sawtooth(event):
    ...     '''Two teeth.'''
    ...     return 2 * np.arange(event.length) % event.length
    >>> wave = np.sin(np.arange(300.0))
    >>> inject(wave, "sawtooth", n_events=2, random_state=0).events.kind.tolist()
    ['sawtooth', 'sawtooth']
    >>> _ = KINDS.pop("sawtooth")
    """

    if not isinstance(name, str):
        raise ValueError(f"name must be a text, got {name!r}")

    def register(shape: Shape) -> Shape:
        KINDS[name] = Kind(name, shape, **options)
        return shape

    return register


@injector("spike", point=True)
def _spike(event: Event) -> np.ndarray:
    """One row far off, up or down."""
    return np.array([event.sign()])


@injector("contextual", point=True, replaces=True)
def _contextual(event: Event) -> np.ndarray:
    """One row with a value that is ordinary elsewhere but not between its neighbours."""
    x, t = event.x, event.start
    around = np.r_[x[max(t - 5, 0) : t], x[t + 1 : t + 6]]
    here = np.median(around)
    low, high = np.quantile(x, (0.1, 0.9))
    # Towards the side with more room, and well inside what the channel normally reaches.
    sign = 1.0 if high - here > here - low else -1.0
    value = np.clip(here + sign * event.strength * event.scale, low, high)
    # Where neighbours say nothing (white noise), no ordinary value is out of context: leave it,
    # so that the event is moved or refused.
    jitter = robust_sd(np.diff(x)) / np.sqrt(2)
    return np.array([value if abs(value - here) > 4 * jitter else x[t]])


@injector("collective", min_length=4)
def _collective(event: Event) -> np.ndarray:
    """A foreign pattern: two to four square cycles on top of the signal."""
    cycles = event.rng.integers(2, min(4, event.length // 2) + 1)
    phase = np.arange(event.length) * cycles / event.length
    return event.sign() * np.where(phase % 1 < 0.5, 1.0, -1.0)


@injector("level_shift", min_length=2)
def _level_shift(event: Event) -> np.ndarray:
    """A step to another level and back."""
    return np.full(event.length, event.sign())


@injector("trend", min_length=3)
def _trend(event: Event) -> np.ndarray:
    """A slow departure that ends abruptly."""
    return event.sign() * np.arange(1, event.length + 1) / event.length


@injector("amplitude", min_length=4)
def _amplitude(event: Event) -> np.ndarray:
    """Swings around the local mean become larger."""
    return event.values - event.values.mean()


@injector("frequency", min_length=4, replaces=True)
def _frequency(event: Event) -> np.ndarray:
    """The season runs two to four times as fast."""
    speed = event.rng.integers(2, 5)
    return event.seasonal(event.start + speed * np.arange(1, event.length + 1))


@injector("variance", min_length=3)
def _variance(event: Event) -> np.ndarray:
    """Extra noise."""
    return event.rng.standard_normal(event.length)


@injector("seasonal_position", min_length=2, replaces=True)
def _seasonal_position(event: Event) -> np.ndarray:
    """Right values at the wrong time: another part of the season is shown."""
    shift = event.rng.integers(event.period // 4, event.period - event.period // 4 + 1)
    return event.seasonal(np.arange(event.start, event.stop) + shift)


@injector("correlation_break", min_length=4, replaces=True)
def _correlation_break(event: Event) -> np.ndarray:
    """One channel leaves its companions: its own values of another time, played backwards."""
    n, length = len(event.x), event.length
    if n < 3 * length:
        raise ValueError(f"kind 'correlation_break' of {length} rows needs {3 * length} rows")
    donors = np.r_[0 : max(event.start - length, 0), min(event.stop, n) : n - length + 1]
    donor = int(event.rng.choice(donors))
    return event.x[donor : donor + length][::-1]


@injector("stuck", min_length=2, replaces=True)
def _stuck(event: Event) -> np.ndarray:
    """The sensor repeats its last good value."""
    return np.full(event.length, event.x[max(event.start - 1, 0)])


@injector("dropout", min_length=1, replaces=True)
def _dropout(event: Event) -> np.ndarray:
    """Values are missing, or what a logger writes instead of them."""
    return np.full(event.length, np.nan)


@injector("drift", min_length=2, anomaly=False)
def _drift(event: Event) -> np.ndarray:
    """Not an anomaly: the channel moves to a new level and stays there."""
    return event.sign() * np.arange(1, event.length + 1) / event.length


#: Kinds that are anomalies, in order of registration at import.
ANOMALY_KINDS = tuple(name for name, kind in KINDS.items() if kind.anomaly)


def inject(
    data: Any,
    kinds: str | Sequence[str] = "spike",
    *,
    n_events: int = 5,
    length: int | tuple[int, int] = (10, 30),
    strength: float | Sequence[float] = 3.0,
    start: int | None = None,
    min_gap: int = 1,
    columns: Sequence[str | int] | None = None,
    n_columns: int = 1,
    period: int | None = None,
    missing: str | float = "nan",
    random_state: int | np.random.Generator | None = None,
) -> Dataset:
    """A copy of ``data`` with labelled events, every placement of them equally likely.

    Placements without overlap, that is, the ends of the series included, where events then start a
    little more often than elsewhere. Only an event that would change next to nothing where it fell
    (a stuck sensor on a constant stretch) is moved. Kinds and strengths are dealt out evenly. Rows
    that already carry a label are left alone, so calls can be chained to use other lengths or
    strengths for other kinds.

    Parameters
    ----------
    data : Dataset, DataFrame or array-like of shape (n_samples,) or (n_samples, n_features)
        Never changed. A frame's DatetimeIndex becomes the time. No missing values.
    kinds : str or sequence of str, default="spike"
        Names from :data:`KINDS`; ``ANOMALY_KINDS`` names every kind of anomaly.
    n_events : int, default=5
        Events over all kinds together.
    length : int or (int, int), default=(10, 30)
        Rows per event, or a range to draw from, both ends included. Point kinds take one row.
    strength : float or sequence of float, default=3.0
        Root mean square of the change over the event, in robust standard deviations
        (1.4826 x MAD) of the channel. A sequence is a ladder dealt out over the events.
        Kinds with ``replaces=True`` (``contextual``, ``frequency``, ``seasonal_position``,
        ``correlation_break``, ``stuck``) have a size of their own: there the label ``strength`` is
        measured, and is at least ``MIN_STRENGTH``. (``contextual`` aims at the wanted size, but
        stays within the normal range. Where ``dropout`` leaves NaN, nothing can be measured and
        the wanted size stands.)
    start : int, default=None
        First row that may change; rows before it are the history of the result. None means the
        history of a Dataset, and the first 40 % of other data.
    min_gap : int, default=1
        Least number of untouched rows between two events. 0 lets events touch.
    columns : sequence of str or int, default=None
        Channels to choose from; all that are not constant if None.
    n_columns : int, default=1
        Channels that one event changes at the same time.
    period : int, default=None
        Rows per season for ``frequency`` and ``seasonal_position``; estimated if None.
    missing : {"nan", "hold"} or float, default="nan"
        What ``dropout`` leaves behind: NaN (detectors refuse it, streams must cope), the last good
        value, or a number that a logger writes instead.
    random_state : int, numpy.random.Generator or None, default=None
        Same seed, same bytes.

    Returns
    -------
    Dataset
        With ``kind``, ``channel`` and ``strength`` per row and the table ``events``. A drift is
        labelled (``y = 0``) while it moves; its new level lasts to the end.

    Raises
    ------
    ValueError
        If the events do not fit (the message says how many do), an event would change nothing
        wherever it is put, or an argument is out of range.

    Examples
    --------
    >>> wave = np.sin(np.arange(1000) / 8)
    >>> data = inject(wave, ["spike", "stuck"], n_events=4, length=20, random_state=0)
    >>> data.events.groupby("kind").size().to_dict()
    {'spike': 2, 'stuck': 2}
    >>> int(data.y.sum()), int(data.events["start"].min()) >= 400
    (42, True)
    """
    rng = generator(random_state)
    n_columns, n_events = whole(n_columns, "n_columns", 1), whole(n_events, "n_events", 0)
    min_gap = whole(min_gap, "min_gap", 0, of="rows")
    start = None if start is None else whole(start, "start", 0)
    base = _as_dataset(data, start)
    first = base.train_end if start is None else start
    names, ladder = _known(kinds), strengths_of(strength)
    if not (ladder > 0).all():
        raise ValueError(f"strength must be > 0 standard deviations, got {ladder.tolist()}")
    low, high = _row_range(length, names)
    _check_options(period, missing, len(base))

    scales = np.array([robust_sd(column) for column in base.X.T])
    channels = _channels(base, columns, scales, n_columns)
    paired = _correlated(base.X, channels) if "correlation_break" in names else channels
    dealt = [KINDS[name] for name in _deal(names, n_events, rng).tolist()]
    strengths = _deal(ladder, n_events, rng)
    lengths = rng.integers(low, high + 1, n_events)
    lengths[[kind.point for kind in dealt]] = 1
    starts = _place(lengths, _free(base, first, min_gap), min_gap, rng)

    series = _Injection(base, scales, rng, period, missing)
    # Drifts first, because what comes after one happens on its new level.
    for i in sorted(range(n_events), key=lambda i: (dealt[i].anomaly, starts[i])):
        kind = dealt[i]
        pool = paired if kind.name == "correlation_break" else channels
        for _ in range(MAX_TRIES):
            rows = slice(int(starts[i]), int(starts[i] + lengths[i]))
            chosen = np.sort(rng.choice(pool, min(n_columns, len(pool)), replace=False))
            new, sizes = series.shaped(kind, rows, chosen, float(strengths[i]))
            # Every channel that the label will name has to show something.
            if min(sizes) >= kind.least:
                break
            # Nothing to see there: move this one event within the room that the others leave.
            others = np.delete(np.column_stack([starts, starts + lengths]), i, axis=0)
            room = _free(base, first, min_gap, others)
            starts[i] = _place(lengths[i : i + 1], room, min_gap, rng)[0]
        else:
            raise ValueError(
                f"{base.name}: kind {kind.name!r} changes the data too little (a constant stretch, "
                f"less than {MIN_STRENGTH} sd, or no context) at {MAX_TRIES} random places; use "
                "longer or fewer events, other columns, or leave that kind out"
            )
        series.put(kind, rows, chosen, new, max(sizes))
    return series.dataset()


def _check_options(period: int | None, missing: str | float, n_rows: int) -> None:
    """Refuse what no shape could work with."""
    if period is not None and not 4 <= whole(period, "period", 1, of="rows") <= n_rows:
        raise ValueError(f"period must lie in [4, {n_rows}] rows, got {period}")
    named = isinstance(missing, str) and missing in ("nan", "hold")
    if not (named or isinstance(missing, (int, float)) and abs(missing) < np.inf):
        raise ValueError(f"missing must be 'nan', 'hold' or a number, got {missing!r}")


class _Injection:
    """A series while events are put into it, one after another."""

    def __init__(
        self,
        base: Dataset,
        scales: np.ndarray,
        rng: np.random.Generator,
        period: int | None,
        missing: str | float,
    ):
        self.base, self.scales, self.rng = base, scales, rng
        self.period, self.missing = period, missing
        self.X, self.y, self.kind = base.X.copy(), base.y.copy(), base.kind.astype(object)
        n = len(base)
        self.channel = np.full(n, "", object) if base.channel is None else (
            base.channel.astype(object))
        self.strength = np.zeros(n) if base.strength is None else base.strength.copy()
        self.clean = base.X  # shapes see the data with drifts, but without the other anomalies

    def shaped(
        self, kind: Kind, rows: slice, columns: np.ndarray, strength: float
    ) -> tuple[np.ndarray, list[float]]:
        """New values, shape (length, n_columns), and the size of the change in each column."""
        new, sizes = np.empty((rows.stop - rows.start, len(columns))), []
        for j, c in enumerate(columns):
            event = Event(self.clean[:, c], rows.start, rows.stop, float(self.scales[c]), strength,
                          self.rng, self.period)
            new[:, j], size = _shaped(kind, event, self.missing)
            sizes.append(size)
        return new, sizes

    def put(
        self, kind: Kind, rows: slice, columns: np.ndarray, new: np.ndarray, size: float
    ) -> None:
        """Write an event and its labels; after a drift all later rows are on its new level."""
        if not kind.anomaly:
            self.X[rows.stop :, columns] += new[-1] - self.clean[rows.stop - 1, columns]
        self.X[rows, columns] = new
        if not kind.anomaly:
            self.clean = self.X.copy()
        self.y[rows] = kind.anomaly
        self.kind[rows] = kind.name
        self.channel[rows] = ",".join(self.base.feature_names[c] for c in columns)
        self.strength[rows] = size

    def dataset(self) -> Dataset:
        """The series as it stands now."""
        return replace(
            self.base,
            X=self.X,
            y=self.y,
            kind=self.kind.astype(str),
            strength=self.strength,
            channel=self.channel.astype(str),
            oracle=None,  # it knew the data before
            source=f"{self.base.source}; with injected events".lstrip("; "),
        )


def _known(kinds: str | Sequence[str]) -> list[str]:
    """Names of registered kinds."""
    names = [kinds] if isinstance(kinds, str) else listed(kinds, "kinds")
    unknown = [k for k in names if not isinstance(k, str) or k not in KINDS]
    if unknown or not names:
        raise ValueError(
            f"kinds: got {unknown or 'nothing'}, expected names from {sorted(KINDS)}"
        )
    return names


def _row_range(length: int | Sequence[int], kinds: Sequence[str]) -> tuple[int, int]:
    """Fewest and most rows of an event, both included."""
    pair = length if isinstance(length, (tuple, list)) and len(length) == 2 else (length, length)
    low, high = (whole(rows, "length", 1, of="rows") for rows in pair)
    if high < low:
        raise ValueError(f"length must be rows >= 1 or a range (low, high), got {(low, high)}")
    for kind in map(KINDS.__getitem__, kinds):
        if not kind.point and low < kind.min_length:
            raise ValueError(f"kind {kind.name!r} needs length >= {kind.min_length}, got {low}")
    return low, high


def strengths_of(strength: float | Sequence[float]) -> np.ndarray:
    """The ladder of ``strength``: one number or several, in standard deviations."""
    ladder = np.atleast_1d(floats(strength, "strength"))
    if ladder.ndim != 1 or not len(ladder) or not (np.abs(ladder) < 1e100).all():
        raise ValueError(f"strength must be a number, or a list of them, got {strength!r}")
    return ladder


def _shaped(kind: Kind, event: Event, missing: str | float) -> tuple[np.ndarray, float]:
    """The new values, shape (length,), and the size of the change in sd; -1 if there is none."""
    shape = np.array(kind.shape(event), np.float64)
    if shape.shape != (event.length,):
        raise ValueError(f"kind {kind.name!r} gave {shape.shape}, expected ({event.length},)")
    if np.isnan(shape).any():
        if missing == "nan":
            return shape, event.strength  # a missing value has no size: the wanted one stands
        shape[:] = event.x[max(event.start - 1, 0)] if missing == "hold" else missing
    size = float(np.sqrt(np.mean((shape - event.values * kind.replaces) ** 2))) / event.scale
    if size < 1e-9:
        return shape, -1.0
    if kind.replaces:
        return shape, size
    return event.values + shape * (event.strength / size), event.strength


def _as_dataset(data: Any, start: int | None) -> Dataset:
    """The caller's data as a Dataset, checked."""
    base = data if isinstance(data, Dataset) else _wrapped(data, start)
    if start is not None and not 0 <= start < len(base):
        raise ValueError(f"start={start} must be a row of the data, which has {len(base)}")
    if not len(base):
        raise ValueError("data has no rows")
    if (far := np.abs(base.X).max()) > 1e150:
        raise ValueError(f"data holds a value of {far:g}: beyond 1e150 squares overflow")
    if np.isnan(base.X).any():
        column = base.feature_names[int(np.isnan(base.X).any(axis=0).argmax())]
        raise ValueError(
            f"{base.name}: column {column!r} has missing values; fill them first, "
            "and inject dropouts last"
        )
    return base


def _wrapped(data: Any, start: int | None) -> Dataset:
    """An array or a frame as a Dataset without labels."""
    known: dict[str, Any] = {"train_end": start}
    if hasattr(data, "columns"):  # a frame, without importing pandas for everybody
        names = known["feature_names"] = [str(c) for c in data.columns]
        if data.index.dtype.kind == "M":
            index = data.index if data.index.tz is None else data.index.tz_convert("UTC")
            known["time"] = index.tz_localize(None).to_numpy()
        if odd := [n for n, t in zip(names, data.dtypes, strict=True) if t.kind not in "biuf"]:
            raise ValueError(f"data: columns {odd} are not numeric; leave them out")
    return Dataset("injected", data, **known)


def _channels(
    base: Dataset, columns: Sequence[str | int] | None, scales: np.ndarray, n_columns: int
) -> np.ndarray:
    """Numbers of the columns to choose from."""
    names = base.feature_names
    numbers = np.flatnonzero(scales > 0)
    if columns is not None:
        found = []
        for c in [columns] if isinstance(columns, str) else listed(columns, "columns"):
            if c not in names and not (isinstance(c, (int, np.integer)) and 0 <= c < len(names)):
                raise ValueError(f"columns: {c!r} is not among {list(names)}")
            found.append(names.index(c) if c in names else int(c))
        if flat := [names[c] for c in found if not scales[c] > 0]:
            raise ValueError(f"columns: {flat} are constant, so no size in sd can be given")
        numbers = np.unique(np.array(found, np.int64))
    if not 1 <= n_columns <= len(numbers):
        raise ValueError(f"n_columns={n_columns}, but {len(numbers)} columns vary")
    return numbers


@np.errstate(divide="ignore", invalid="ignore")  # of values whose squares are 0
def _correlated(X: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Channels that have a companion to leave: |correlation| of at least 0.5 with another."""
    varying = np.flatnonzero(~stands_still(X))
    corr = np.abs(np.atleast_2d(np.corrcoef(X[:, varying].T)))
    np.fill_diagonal(corr, 0)
    paired = np.intersect1d(varying[corr.max(axis=0) >= 0.5], channels)
    if not len(paired):
        raise ValueError(
            "kind 'correlation_break' needs a column whose correlation with another is at least "
            "0.5, and no column has one"
        )
    return paired


def _free(base: Dataset, first: int, min_gap: int, taken: np.ndarray | None = None) -> np.ndarray:
    """Stretches of rows that events may use, shape (n_segments, 2), end exclusive.

    Rows before ``first`` and rows closer than the gap to a label or to the ``taken`` stretches
    are left out, and no stretch crosses from one session into the next.
    """
    n = len(base)
    marked = base.kind != ""
    for start, end in () if taken is None else taken:
        marked[start:end] = True
    count = np.concatenate([[0], np.cumsum(marked)])
    rows = np.arange(n)
    near = count[np.minimum(rows + min_gap + 1, n)] > count[np.maximum(rows - min_gap, 0)]
    free = ~near & (rows >= first)
    return np.column_stack(runs(free, *([] if base.session is None else [base.session])))


def _place(
    lengths: np.ndarray, segments: np.ndarray, gap: int, rng: np.random.Generator
) -> np.ndarray:
    """Start rows, uniform over all placements in which events keep ``gap`` rows between them.

    Each event is lengthened by the gap and each segment too (an event may end at its very end).
    Laid end to end, the segments form one line of ``slack + sum(units)`` rows; choosing
    ``len(lengths)`` of ``slack + len(lengths)`` slots without order names each placement on that
    line exactly once ("stars and bars"). Placements that straddle two segments are thrown away.
    """
    k = len(lengths)
    if k == 0:
        return np.zeros(0, np.int64)
    units = lengths + gap
    rooms = segments[:, 1] - segments[:, 0] + gap
    slack = int(rooms.sum() - units.sum())
    borders = np.concatenate([[0], np.cumsum(rooms)])
    for _ in range(MAX_TRIES if slack >= 0 else 0):
        slots = np.sort(rng.choice(slack + k, k, replace=False))
        order = rng.permutation(k)
        before = np.concatenate([[0], np.cumsum(units[order])[:-1]])
        line = slots - np.arange(k) + before
        segment = np.searchsorted(borders, line, side="right") - 1
        if (line + units[order] <= borders[segment + 1]).all():
            starts = np.empty(k, np.int64)
            starts[order] = segments[segment, 0] + line - borders[segment]
            return starts
    left, fits = list(np.sort(units)), 0
    for room in np.sort(rooms)[::-1]:
        while left and left[0] <= room:
            room -= left.pop(0)
            fits += 1
    raise ValueError(
        f"n_events={k} of {lengths.min()} to {lengths.max()} rows with min_gap={gap} do not fit "
        f"into {int((segments[:, 1] - segments[:, 0]).sum())} free rows; "
        f"packed as tightly as possible, {fits} would"
    )


def _deal(options: ArrayLike, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` options, each as often as the others (give or take one), in random order."""
    shuffled = rng.permutation(np.asarray(options))
    return rng.permutation(np.resize(shuffled, n))


def robust_sd(x: np.ndarray) -> float:
    """Standard deviation from the median absolute deviation; the plain one where that is 0."""
    if stands_still(x):
        return 0.0
    centre = np.median(x)
    mad = 1.4826 * np.median(np.abs(x - centre))
    return float(np.std(x) if stands_still(np.array([centre, centre + mad])) else mad)
