"""What was judged, kept for a while: rows, their p-values, and how far each entity is.

A page draws it and a refit learns from it. Rows are kept without loss, as they were judged: NaN
where a value was missing for longer than it is held, and in rows that never came.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adlib.realtime.events import Incident, Record, stream_of

_TOGETHER = 2_000  # rows of entities that are kept, and read, together
_LOOKED_AT = 16  # neighbours, at five places, of which is seen whether they can be made smaller
_SIZE = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Judged rows of the entities of a stream, each one's together and in the order of its rows.

    Attributes
    ----------
    stream : str
        Name of the engine's stream.
    features : tuple of str
    entities : tuple of str or None
        As the source names them; None in a stream that is no fleet.
    code : ndarray of int, shape (n,)
        Which of ``entities`` a row is of.
    seq : ndarray of int, shape (n,)
        Sequence numbers of the entity's rows.
    time : ndarray of float, shape (n,)
        Event time, POSIX seconds.
    values : ndarray of float, shape (n, n_features)
    p_value : ndarray of float, shape (n,)
        Of the window that ends here; NaN where none ends or it was not judged.
    alpha : float or None
        Windows up to this p-value are flagged, by the newest of the rows.

    Examples
    --------
    >>> trace = Trace("plant", ("flow",), ("a", "b"), np.array([0, 0, 1]), np.array([0, 1, 0]),
    ...               np.array([0.0, 1.0, 0.5]), np.ones((3, 1)), np.array([np.nan, 0.5, np.nan]))
    >>> len(trace), trace.labels.tolist(), len(trace.of("a"))
    (3, ['a', 'a', 'b'], 2)
    """

    stream: str
    features: tuple[str, ...]
    entities: tuple[str | None, ...]
    code: NDArray[np.int64]
    seq: NDArray[np.int64]
    time: NDArray[np.float64]
    values: NDArray[np.float64]
    p_value: NDArray[np.float64]
    alpha: float | None = None

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def labels(self) -> NDArray[np.object_]:
        """The entity of each row, as ``fit(X, entity=...)`` takes it."""
        return np.array(self.entities, dtype=object)[self.code]

    def take(self, rows: Any) -> Self:
        """Some of the rows: a mask, a slice, or their places."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _ARRAYS})

    def of(self, entity: str | None) -> Self:
        """The rows of one entity."""
        known = self.entities.index(entity) if entity in self.entities else -1
        found = self.take(self.code == known)
        return replace(found, entities=(entity,), code=np.zeros_like(found.code))

    @classmethod
    def joined(cls, traces: Sequence[Self]) -> Self:
        """Several of one stream and the same features as one, each entity's rows together.

        Parameters
        ----------
        traces : sequence of Trace
            At least one; of each entity, later rows come later.
        """
        names = sorted({name for trace in traces for name in trace.entities},
                       key=lambda name: stream_of("", name))
        place = {name: k for k, name in enumerate(names)}
        code = np.concatenate([np.array([place[name] for name in trace.entities], np.int64)[
            trace.code] for trace in traces])
        order = np.argsort(code, kind="stable")
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(trace, name) for trace in traces])[order]
            for name in _ARRAYS}
        return replace(traces[-1], entities=tuple(names), **{**arrays, "code": code[order]})

    def parts(self) -> Iterator[Self]:
        """Rows of neighbouring entities; reading one entity need not read those of a thousand."""
        first = np.flatnonzero(np.diff(self.code, prepend=-1))  # of each entity
        cut = first[np.flatnonzero(np.diff(first // _TOGETHER, prepend=-1))]
        for rows in map(slice, cut, [*cut[1:], len(self)]):
            of, code = np.unique(self.code[rows], return_inverse=True)
            yield replace(self.take(rows), entities=tuple(self.entities[k] for k in of), code=code)

    def pack(self) -> bytes:
        """As bytes, without the name of the stream."""
        head = json.dumps([self.features, self.entities, self.alpha]).encode()
        return _compressed(b"".join([
            _SIZE.pack(len(head)), head, *(_steps(a).tobytes() for a in (
                self.code, self.seq, self.time.view(np.int64))),
            self.p_value.tobytes()]), self.values)

    @classmethod
    def unpack(cls, stream: str, body: bytes) -> Self:
        """What `pack` gave.

        Raises
        ------
        ValueError
            When it is damaged.
        """
        try:
            data = zlib.decompress(body)
            start = _SIZE.size + _SIZE.unpack_from(data)[0]
            *names, alpha = json.loads(data[_SIZE.size:start])
            features, entities = map(tuple, names)
            rows = np.frombuffer(data, np.int64, offset=start).reshape(4 + len(features), -1)
            code, seq, time = np.cumsum(rows[:3], axis=1)
            if not (len(code) and 0 <= code.min() <= code.max() < len(entities) and all(
                    name is None or isinstance(name, str) for name in (*features, *entities))):
                raise ValueError("an entity has no name")
        except (RecursionError, TypeError, ValueError, struct.error, zlib.error) as error:
            raise ValueError(f"no judged rows: {error}") from error
        return cls(stream, features, entities, code, seq, time.view(np.float64),
                   rows[4:].T.copy().view(np.float64), rows[3].copy().view(np.float64),
                   None if alpha is None else float(alpha))


_ARRAYS = ("code", "seq", "time", "values", "p_value")


def _compressed(head: bytes, values: NDArray[np.float64]) -> bytes:
    """What zlib makes of both; numbers that it cannot make smaller stand in it as they are.

    Those of full precision are of that kind, and looking for what repeats in them took half of the
    time of a commit. ``zlib.decompress`` sees no difference.
    """
    at = np.linspace(0, max(len(values) - _LOOKED_AT, 0), 5, dtype=int)[:, None]
    near = np.unique(np.minimum(at + np.arange(_LOOKED_AT), len(values) - 1))
    some, body = values[near].T.tobytes(), values.T.tobytes()
    level = 1 if len(zlib.compress(some, 1)) < 0.9 * len(some) else 0
    first, rest = zlib.compressobj(1, wbits=-15), zlib.compressobj(level, wbits=-15)
    return b"".join([b"\x78\x01", first.compress(head), first.flush(zlib.Z_FULL_FLUSH),
                     rest.compress(body), rest.flush(),
                     zlib.adler32(body, zlib.adler32(head)).to_bytes(4)])


def _steps(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences, which repeat themselves; nothing is lost where they overflow."""
    return np.diff(values, prepend=values.dtype.type(0))


@dataclass(frozen=True, slots=True)
class Overview(Record):
    """How far one entity of a fleet is, or a stream that is no fleet.

    Attributes
    ----------
    name : str
        Of its verdicts and incidents.
    stream : str
        Name of the engine's stream.
    entity : str or None
        As the source names it.
    seq : int
        Sequence number of its last judged row.
    time : float
        Of that row, POSIX seconds of event time.
    rows, judged : int
        Rows and judged windows since it was first seen.
    p_value : float or None
        Of its last judged window.
    alpha : float or None
        What the engine flagged at.
    open : tuple of Incident
        Those that are open, of both kinds.
    """

    name: str
    stream: str
    entity: str | None
    seq: int
    time: float
    rows: int
    judged: int
    p_value: float | None
    alpha: float | None
    open: tuple[Incident, ...] = ()


def overview(trace: Trace) -> Iterator[tuple[Any, ...]]:
    """A row of each entity: name, stream, seq, time, rows, judged, p, alpha."""
    first = np.flatnonzero(np.diff(trace.code, prepend=-1))
    last = np.append(first[1:], len(trace)) - 1
    known = ~np.isnan(trace.p_value)
    judged = np.add.reduceat(known, first)
    at = np.maximum.accumulate(np.where(known, np.arange(len(trace)), -1))[last]
    for k, end, n, many, p in zip(trace.code[last].tolist(), last.tolist(),
                                  (last - first + 1).tolist(), judged.tolist(),
                                  trace.p_value[at].tolist(), strict=True):
        yield (stream_of(trace.stream, trace.entities[k]), trace.stream, int(trace.seq[end]),
               float(trace.time[end]), n, many, p if many else None, trace.alpha)
