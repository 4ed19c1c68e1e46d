"""A stream cut into windows: sequence numbers, a fixed grid, and what is wrong with samples.

A window of ``window_size`` samples ends at every sequence number s with
``(s + 1 - window_size) % stride == 0``: the same windows whatever the borders of batches, and after
every restart. What becomes of a sample that is not as it should be:

==============  ====================================================================================
what            becomes of it
==============  ====================================================================================
`nan`           a missing or infinite value: repaired by the feature's last one for up to ``hold``
                samples in a row, then *left out*: the other features are judged. A sample without
                any feature is not judged, nor is a window of which more than half is not
`gap`           sequence numbers that never came: their samples count as missing, as above
`poison`        wrong shape, or not numbers: the message takes its place in the sequence (one number
                where its rows cannot be counted), and the sample counts as missing
`duplicate`     a sequence number that was already taken: skipped
`late`          arrives after its gap was declared, or before the stream's first sample: skipped
`out_of_order`  waits for its predecessors where ``reorder`` allows (repaired), else makes a gap
`clock`         a time stamp that is none, goes back or leaps ahead: its sample is judged, at a time
                that the others make plausible (`adlib.realtime.clock`)
`stuck`         a feature without change for more than ``stuck`` samples is frozen: it is *left out*
                until it changes, and the others are judged
`dropped`       the queue was full and the overflow policy says drop: a gap follows
==============  ====================================================================================
"""

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import floats, listed, number, whole
from adlib.drift import run_lengths
from adlib.realtime.clock import StreamClock, in_seconds, stamps_of
from adlib.realtime.events import QualityEvent, QualityKind

Rows = NDArray[np.float64]
_REMEMBERED = 256  # gaps in which a late sample is known from a duplicate
_NAMED = 5  # features that the detail of an event names


@dataclass(frozen=True, slots=True)
class Sample:
    """What a source hands over: one row or several, with their place in the stream.

    Attributes
    ----------
    seq : int or None
        Sequence number of the first row. None: the next one.
    time : float, datetime, datetime64, array of shape (k,) or None
        POSIX seconds; dates in milliseconds to nanoseconds are known by their size. None: sequence
        number times sampling period, or where others have stamps the usual interval after the
        sample before, as NaN does.
    values : array-like of shape (d,) or (k, d)
        Numbers; NaN and None are missing.
    ack : coroutine function or None
        Called without arguments and awaited once the effects of the sample are committed, so that
        its source may forget it. See `Source` for an example.
    entity : str, sequence of str of length k, or None
        Machine, patient or account that each row is of, where a stream holds several.
    """

    seq: int | None
    time: Any
    values: ArrayLike
    ack: Callable[[], Awaitable[Any]] | None = None
    entity: str | Sequence[str] | None = None


def labels_of(entity: Any, n: int) -> list[Any]:
    """The entity of each of ``n`` rows, as a sample gives it."""
    if hasattr(entity, "tolist") and not isinstance(entity, str):
        entity = entity.tolist()
    return [*entity] if isinstance(entity, list | tuple) else [entity] * n


def part_of(entity: Any, at: int, end: int) -> str | Sequence[str] | None:
    """The entities of some rows of a sample."""
    return entity if entity is None or isinstance(entity, str) else labels_of(entity, end)[at:end]


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples behind those of the windows that they complete.

    Arrays have one entry per sample; the first ``n_old`` were in the block before.
    """

    n_old: int
    seq: NDArray[np.int64]
    time: Rows
    values: Rows  # (n_old + n_new, d), missing ones filled
    left_out: NDArray[np.bool_]  # (n_old + n_new, d): missing for longer than is held, or frozen
    frozen: NDArray[np.bool_]
    ends: NDArray[np.int64]  # index of each window's last sample
    events: list[QualityEvent]
    first: int = 0  # sequence number that the stream began with

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Features that are missing, by sample."""
        return self.left_out & ~self.frozen

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Samples with a feature that can be judged."""
        return np.asarray(~np.logical_and.reduce(self.left_out, axis=1))

    def share(self, flags: NDArray[np.bool_], window: int) -> Rows:
        """Of each window's samples, those with a flag; (n_windows,), or (n_windows, d)."""
        total = np.concatenate([np.zeros((1, *flags.shape[1:])), flags.cumsum(axis=0)])
        return (total[self.ends + 1] - total[self.ends + 1 - window]) / window


@dataclass(frozen=True, slots=True)
class Blocks(Block):
    """Blocks of several streams, one behind the other, to be judged together."""

    parts: list[Block] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)  # of each part, and the end of the last one
    of: NDArray[np.int64] = field(default_factory=_none)  # part of each window
    age: NDArray[np.int64] = field(default_factory=_none)  # samples before, in its own part
    since: NDArray[np.int64] = field(default_factory=_none)  # the first new one of its part: 0

    @classmethod
    def joined(cls, parts: list[Block]) -> "Blocks":
        """All windows of these blocks, in their order."""
        lengths = [len(part.seq) for part in parts]
        begins = np.append(0, np.cumsum(lengths))
        seq, time, values, left_out, frozen = (
            getattr(parts[0], name) if len(parts) == 1 else
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("seq", "time", "values", "left_out", "frozen"))
        age = np.arange(begins[-1]) - np.repeat(begins[:-1], lengths)
        ends = [part.ends + at for part, at in zip(parts, begins, strict=False)]
        return cls(0, seq, time, values, left_out, frozen, np.concatenate(ends), [],
                   parts=parts, begins=begins.tolist(), age=age,
                   of=np.repeat(np.arange(len(parts)), [len(part.ends) for part in parts]),
                   since=age - np.repeat([part.n_old for part in parts], lengths))


class Order:
    """Samples in the order of their numbers, each once.

    Parameters
    ----------
    reorder : int
        Samples that wait for missing predecessors.
    period : float
        Seconds between samples that bring no time.
    stream : str
        Name in events.

    Attributes
    ----------
    position : int
        Last sequence number taken; -1 before the first.
    clock : StreamClock
        Event time.
    """

    def __init__(self, reorder: int, period: float, stream: str):
        self.reorder = whole(reorder, "reorder", 0)
        self.period = number(period, "period", above=0, below=1e15)
        self.stream = stream
        self._first: int | None = None
        self._next = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._heap: list[tuple] = []
        self._waiting = 0
        self._ticket = count()
        self.clock = StreamClock(self.period)

    @property
    def position(self) -> int:
        return self._next - 1

    @property
    def first(self) -> int | None:
        """Sequence number that the stream began with; None before its first sample."""
        return self._first

    def skip(self, position: int) -> None:
        """Begin after this sequence number, knowing nothing of what came before it."""
        self._first = self._next = position + 1

    def _ordered(self, items: Iterable[Any], flush: bool, events: list[QualityEvent]
                 ) -> list[tuple]:
        """Parts (seq, time, rows, what `_read` made of the sample), the next ones in turn."""
        parts: list[tuple] = []
        for sample in self._joined(items):
            rows, time, fault, made = self._read(sample)
            seq = self._next + self._waiting if sample.seq is None else whole(
                sample.seq, "seq", -(2**62))
            if self._first is None:
                self._first = self._next = seq
            if fault:
                stamp = None if sample.time is None else stamps_of(sample.time, len(rows))
                events.append(self.event("poison", seq, seq + len(rows) - 1, stamp, fault))
            if self._heap and seq < self._heap[0][0]:
                events.append(self.event("out_of_order", seq, seq + len(rows) - 1, time,
                                          "arrived after its successors: put in its place"))
            heapq.heappush(self._heap, (seq, next(self._ticket), time, rows, made))
            self._waiting += len(rows)
            self._release(parts, events, self.reorder)
        if flush:
            self._release(parts, events, -1)
        return parts

    def _read(self, sample: Sample) -> tuple[NDArray, Any, str, Any]:
        """Rows, their time, what is wrong with them, and what goes with them."""
        raise NotImplementedError

    def _hole(self, seq: int, parts: list[tuple], events: list[QualityEvent], time: Any) -> None:
        """Samples up to number ``seq`` never came; by default, others have them."""

    def _is_single(self, sample: Sample) -> bool:
        raise NotImplementedError

    def _joined(self, items: Iterable[Any]) -> Iterable[Sample]:
        """Samples; neighbouring single rows that are next in turn as one, since each costs as much
        as a hundred rows."""
        run: list[Sample] = []
        for item in items:
            sample = item if isinstance(item, Sample) else Sample(None, None, item)
            single = self._is_single(sample)
            if run and not (single and _follows(sample, run)):
                yield _one(run)
                run = []
            if single and (run or not self._heap and sample.seq in (None, self._next)):
                run.append(sample)
            else:
                yield sample
        if run:
            yield _one(run)

    def _release(self, parts: list[tuple], events: list[QualityEvent], patience: int) -> None:
        while self._heap and (self._heap[0][0] <= self._next or self._waiting > patience):
            seq, _, time, rows, news = heapq.heappop(self._heap)
            self._waiting -= len(rows)
            if seq < self._next:
                old = min(len(rows), self._next - seq)
                events.append(self._old(seq, seq + old - 1, time))
                rows, seq = rows[old:], seq + old
                time = None if time is None else time[old:]
            elif seq > self._next:
                self._hole(seq, parts, events, time)
                self._gaps.append((self._next, seq - 1))
            if len(rows):
                parts.append((seq, time, rows, news))
                self._next = seq + len(rows)

    def _old(self, start: int, end: int, time: Any) -> QualityEvent:
        late = start < (self._first or 0) or any(a <= end and start <= b for a, b in self._gaps)
        return self.event("late" if late else "duplicate", start, end, time,
                           f"{end - start + 1} samples skipped")

    def event(self, kind: QualityKind, start: int, end: int, time: Any, detail: str
              ) -> QualityEvent:
        """What is wrong with some samples, at their first time stamp or at the time that is known.

        Parameters
        ----------
        kind : str
            See the table of this module.
        start, end : int
            Sequence numbers of the first and the last sample.
        time : float, array or None
            Their time stamps, whatever they are.
        detail : str

        Returns
        -------
        QualityEvent
            With a finite time.
        """
        at = (start * self.period if time is None and not self.clock.begun else
              self.clock.moment(time))
        return QualityEvent(self.stream, kind, int(start), int(end), float(at), detail)


class StreamProcessor(Order):
    """Windows of a stream that arrives in batches of any size.

    Parameters
    ----------
    window_size, stride : int
        Samples per window, and from one window to the next.
    n_features : int, optional
        None: that of the first sample.
    hold : int
        Samples in a row that a missing value is repaired for.
    stuck : int, array of shape (d,) or None
        Samples a feature may stay the same (per feature: inf for never frozen). None: not watched.
    reorder : int
        Samples that wait for missing predecessors. They come out when these arrive, when more than
        ``reorder`` wait, or at the end of the stream.
    period : float
        Seconds between samples that bring no time.
    stream : str
        Name in events.
    features : list of str, optional
    context : int
        Samples before a new one that its score uses: as many are kept, where a window is shorter.

    Attributes
    ----------
    position : int
        Last sequence number taken; -1 before the first.
    clock : StreamClock
        Event time.

    Examples
    --------
    >>> processor = StreamProcessor(window_size=4, stride=2)
    >>> block = processor.push([np.zeros((3, 1)), np.ones((4, 1))])
    >>> [(int(block.seq[end]), block.values[end - 3:end + 1, 0].tolist()) for end in block.ends]
    [(3, [0.0, 0.0, 0.0, 1.0]), (5, [0.0, 1.0, 1.0, 1.0])]
    """

    def __init__(self, window_size: int, stride: int = 1, *, n_features: int | None = None,
                 hold: int = 0, stuck: ArrayLike | None = None, reorder: int = 0,
                 period: float = 1.0, stream: str = "stream", features: list[str] | None = None,
                 context: int = 0):
        super().__init__(reorder, period, stream)
        self.window_size = whole(window_size, "window_size", 1, of="rows")
        self.stride = whole(stride, "stride", 1, of="rows")
        self.n_features = None if n_features is None else whole(n_features, "n_features", 1)
        self._back = max(self.window_size - 1, whole(context, "context", 0))
        self.hold = whole(hold, "hold", 0)
        self.stuck = None if stuck is None else floats(stuck, "stuck")
        self.features = None if features is None else [str(f) for f in listed(features, "features")]
        if n_features is not None and self.features and len(self.features) != n_features:
            raise ValueError(f"features must name {self.n_features} features, got {features!r}")
        if n_features is not None:
            self._begin(n_features)

    def _begin(self, d: int) -> None:
        self.n_features = d
        if self.stuck is not None and self.stuck.shape not in ((), (d,)):
            raise ValueError(f"stuck must be a number, or one for each of {d} features, got shape "
                             f"{self.stuck.shape}")
        self._seq = np.empty(0, np.int64)
        self._time, self._values = np.empty(0), np.empty((0, d))
        self._left_out = np.empty((0, d), np.uint8)  # 1: missing, 2: frozen
        self._filled = np.full(d, np.nan)  # the last value of each feature
        self._absent = np.zeros(d, np.int64)  # samples since then
        self._same = np.zeros(d, np.int64)  # samples in a row with that value

    def renew(self, stuck: ArrayLike | None, context: int) -> None:
        """Go on for another model, with its limits; samples stay, as many as there are."""
        self.stuck = None if stuck is None else floats(stuck, "stuck")
        self._back = max(self.window_size - 1, context)

    # -- samples in ---------------------------------------------------------------------------

    def push(self, items: Iterable[Any], *, flush: bool = False) -> Block | None:
        """Take items in order of arrival; what they complete, None while nothing is known.

        Parameters
        ----------
        items : iterable of array (d,) or (k, d), or of Sample
        flush : bool
            Let those out that wait for predecessors: the stream has ended.

        Returns
        -------
        Block or None
        """
        events: list[QualityEvent] = []
        parts = self._ordered(items, flush, events)  # with whether missing values are news
        if not (parts or events):
            return None
        if self.n_features is None:  # nothing but poison so far: the stream has not begun
            self._first = self._next
            no, none = np.empty(0, np.int64), np.empty((0, 0), bool)
            return Block(0, no, np.empty(0), np.empty((0, 0)), none, none, no, events)
        return self._assemble(parts, events)

    def _is_single(self, sample: Sample) -> bool:
        """One row of numbers, as most live sources bring them."""
        values, stamp = sample.values, sample.time
        return (type(values) is np.ndarray and values.shape == (self.n_features,)
                and values.dtype == np.float64 and (stamp is None or type(stamp) is float))

    def _read(self, sample: Sample) -> tuple[Rows, Any, str, bool]:
        """Rows (k, d), their time, what is wrong with them, and whether that is all."""
        fault, time = "", None
        try:
            rows = np.atleast_2d(numbers_of(sample.values))
            if sample.time is not None:
                time = stamps_of(sample.time, len(rows))
        except (OverflowError, TypeError, ValueError) as error:
            rows, fault = np.empty((1, 0)), f"{type(error).__name__}: {error}"[:200]
        if not fault and (rows.ndim != 2 or rows.shape[1] < 1):
            fault = f"shape {np.shape(sample.values)}"
            rows = np.empty((1, 0))
        elif not fault and self.n_features is None:
            self._begin(rows.shape[1])
        elif not fault and rows.shape[1] != self.n_features:
            fault = f"{rows.shape[1]} features instead of {self.n_features}"
        if fault:
            rows = np.full((max(len(rows), 1), self.n_features or 0), np.nan)
            time = None  # what cannot be read must not set the clock of what can
        return rows, time, fault, not fault

    def _hole(self, seq: int, parts: list[tuple], events: list[QualityEvent], time: Any) -> None:
        missing = seq - self._next
        events.append(self.event("gap", self._next, seq - 1, time,
                                 f"{missing} samples never came"))
        n = min(missing, self._back)  # nothing reaches further back
        parts.append((seq - n, None, np.full((n, self.n_features or 0), np.nan), None))

    @staticmethod
    def _placed(event: QualityEvent, seq: NDArray[np.int64], time: Rows, first: int | None
                ) -> QualityEvent:
        """An event of what brought no time of its own, at that of its place, or behind it.

        ``first`` is the first row with a stamp of a stream that had none; None where none has.
        """
        which = {"poison": event.start, "gap": event.end + 1}.get(event.kind)
        if which is None or first is None and event.kind == "poison":
            return event
        at = min(max(int(np.searchsorted(seq, which)), first or 0), len(seq) - 1)
        return replace(event, time=float(time[at]))

    @property
    def rows_to_window(self) -> int:
        """Samples that the next window takes, a stride at most."""
        end = max(self._next, (self._first or 0) + self.window_size - 1)
        end += (self.window_size - 1 - end) % self.stride
        return min(end - self._next + 1, self.stride)

    @property
    def kept(self) -> Block:
        """The last samples, as if they had just come."""
        return Block(0, self._seq, self._time, self._values, self._left_out > 0,
                     self._left_out > 1, _none(), [], self._first or 0)

    # -- windows out --------------------------------------------------------------------------

    def _assemble(self, parts: list[tuple], events: list[QualityEvent]) -> Block:
        d = self.n_features or 0
        n = sum(len(rows) for _, _, rows, _ in parts)
        seq, time, values = np.empty(n, np.int64), np.empty(n), np.full((n, d), np.nan)
        real, news, stamped = np.empty(n, bool), np.empty(n, bool), np.empty(n, bool)
        at = 0
        for first, stamps, rows, new in parts:
            part = slice(at, at := at + len(rows))
            seq[part] = np.arange(first, first + len(rows))
            time[part] = stamps if stamps is not None else seq[part] * self.period
            values[part] = rows if rows.shape[1] == d else np.nan  # poison may have no width
            real[part], news[part], stamped[part] = new is not None, bool(new), stamps is not None
        if n:
            begun = self.clock.begun
            time, said = self.clock.follow(seq, time, stamped, real, news)
            known_from = 0 if begun else int(stamped.argmax()) if stamped.any() else None
            events[:] = [self._placed(event, seq, time, known_from) for event in events]
            events += [QualityEvent(self.stream, "clock", int(seq[k]), int(seq[k]), float(time[k]),
                                    detail) for k, detail in said]
            known, before = np.isfinite(values), self._filled
            values, missing = self._fill(seq, time, values, known, news, events)
            frozen = self._watch(seq, time, values, before, known, events)
            self._seq = np.concatenate([self._seq, seq])
            self._time = np.concatenate([self._time, time])
            self._values = np.concatenate([self._values, values])
            self._left_out = np.concatenate([self._left_out, missing + np.uint8(2) * frozen])
        window, old = self.window_size, len(self._seq) - n
        due = real & ((seq + 1 - window) % self.stride == 0)
        ends = old + (due & (seq >= (self._first or 0) + window - 1)).nonzero()[0]
        block = Block(old, self._seq, self._time, self._values, self._left_out > 0,
                      self._left_out > 1, ends, events, self._first or 0)
        keep = max(len(self._seq) - self._back, 0)
        for name in ("_seq", "_time", "_values", "_left_out"):
            setattr(self, name, getattr(self, name)[keep:])
        return block

    def _fill(self, seq: NDArray, time: Rows, values: Rows, known: NDArray, news: NDArray,
              events: list[QualityEvent]) -> tuple[Rows, NDArray[np.bool_]]:
        """Values with missing ones filled, and which are missing for longer than is held."""
        if known.all() and not self._absent.any():  # nearly always
            self._filled = values[-1].copy()
            return values, np.zeros(values.shape, bool)
        index = np.arange(len(values))[:, None]
        last = np.maximum.accumulate(np.where(known, index, -1), axis=0)
        absent = index - np.where(last < 0, -1 - self._absent, last)
        missing = ~known
        before = np.vstack([self._absent > 0, missing[:-1]])
        onsets = missing.any(axis=1) & ~before.any(axis=1) & news
        for i in np.flatnonzero(onsets):
            events.append(self.event("nan", seq[i], seq[i], time[i],
                                      f"missing: {self._names(missing[i])}"))
        filled = np.where(last < 0, self._filled, values[np.maximum(last, 0),
                                                         np.arange(values.shape[1])])
        self._absent = absent[-1]
        self._filled = filled[-1].copy()
        return np.nan_to_num(filled, nan=0.0), (absent > self.hold) | np.isnan(filled)

    def _watch(self, seq: NDArray, time: Rows, values: Rows, before: Rows, known: NDArray,
               events: list[QualityEvent]) -> NDArray[np.bool_]:
        """Features that have not changed for too long."""
        if self.stuck is None:
            return np.zeros(values.shape, bool)
        same = run_lengths(values, before, self._same, known)
        self._same = same[-1].copy()
        frozen = np.asarray(same > self.stuck)
        if not frozen.any():  # nearly always
            return frozen
        onset = same == np.floor(self.stuck) + 1
        for i in np.flatnonzero(onset.any(axis=1)):
            length = int(same[i][onset[i]].max())
            events.append(self.event("stuck", seq[i] - length + 1, seq[i], time[i],
                                      f"no change for {length} samples: {self._names(onset[i])}"))
        return frozen

    def _names(self, which: NDArray[np.bool_]) -> str:
        known = self.features if self.features and len(self.features) == len(which) else [
            f"x{j}" for j in range(len(which))]
        found = [known[j] for j in np.flatnonzero(which)]
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return ", ".join(found[:_NAMED]) + more

    # -- state --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Numbers, lists and arrays; samples that still wait for predecessors are not in it."""
        arrays = {} if self.n_features is None else {
            name: getattr(self, f"_{name}") for name in _ARRAYS}  # replaced, never changed
        return {"first": self._first, "next": self._next, "gaps": [list(gap) for gap in self._gaps],
                "clock": self.clock.state(), **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another processor of the same parameters was."""
        self._first, self._next = state["first"], state["next"]
        self._gaps = deque(map(tuple, state["gaps"]), maxlen=_REMEMBERED)
        self.clock = StreamClock(self.period)
        self.clock.restore(state.get("clock") or _before(state))
        self._heap, self._waiting = [], 0
        if "values" in state:
            self.n_features = state["values"].shape[1]
            if "left_out" not in state:  # kept by an older version
                state = {**state, "left_out": np.where(state["valid"], 0, 1)[:, None].repeat(
                    self.n_features, axis=1).astype(np.uint8)}
            for name in _ARRAYS:
                setattr(self, f"_{name}", state[name])


def numbers_of(values: Any) -> Rows:
    """Values as numbers, NaN for None; ValueError or the like where they are none."""
    found = np.asarray(values)
    if isinstance(values, str):
        raise ValueError(f"not numbers: {values!r}")
    if found.ndim and found.dtype.kind == "O" and all(
            value is None or isinstance(value, Real) for value in found.flat):
        found = found.astype(np.float64)
    if found.dtype.kind not in "fiub":  # text that reads as a number is no measurement
        raise ValueError(f"not numbers: dtype {found.dtype}")
    return found.astype(np.float64, copy=False)


def _follows(sample: Sample, run: list[Sample]) -> bool:
    """Whether a sample is the next one after a run, and has a time as they have."""
    first = run[0]
    return ((sample.time is None) == (first.time is None)
            and sample.seq == (None if first.seq is None else first.seq + len(run)))


def _one(run: list[Sample]) -> Sample:
    return Sample(run[0].seq, None if run[0].time is None else [sample.time for sample in run],
                  np.array([sample.values for sample in run]),
                  entity=[str(sample.entity) for sample in run] if run[0].entity else None)


_ARRAYS = ("seq", "time", "values", "left_out", "filled", "absent", "same")


def _before(state: Mapping[str, Any]) -> dict[str, Any]:
    """The clock of a state that an earlier version kept."""
    time = state["last_time"]
    known = state["stamped"] and in_seconds(np.array([time]))[0][0] == time
    return {"begun": state["stamped"], "seq": state["next"] - 1} | (
        {"time": time, "believed": time} if known else {} if state["stamped"] else {"time": time})
