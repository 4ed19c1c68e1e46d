"""Online detectors whose state is one flat array that compiled kernels work on.

Each array argument of a compiled call costs a tenth of a microsecond, so there is one. Inside a
kernel `record` and `part` give stretches of it names, which costs nothing: both are a pointer.
Kernels get the row as the caller has it; what they refuse is converted or named in an error in one
place. A compiled kernel is renewed when its own file changes, not when this one does.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numba.core.cgutils import unpack_tuple
from numba.core.types import Array, float64, intp
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from numpy.typing import NDArray

from adlib.base import OnlineDetector, Scores

Values = NDArray[np.float64]
Record = Any  # inside a kernel: the fields of a dtype as attributes

# signatures of kernels; read-only arrays: they take frozen rows too
ROW, STATE = Array(float64, 1, "C", readonly=True), float64[::1]
SCORE_ONE, PROCESS_ONE = float64(ROW, ROW), float64(ROW, STATE)
SCORE_ROWS, PROCESS_ROWS = STATE(ROW, ROW), STATE(ROW, STATE)
SCORE_FEATURES = float64[:, ::1](Array(float64, 2, "C", readonly=True), ROW)


def jit(signature: Any) -> Callable[..., Any]:
    """Compile for this signature only, ahead of the first row.

    A list or an integer array is then refused instead of compiled for.
    """
    return numba.njit([signature], cache=True, error_model="numpy")


#: What only kernels call; it is compiled into each of them.
inner = numba.njit(error_model="numpy", forceinline=True)


def fields(names: str, spare: int = 0) -> list[tuple]:
    """For a dtype: a float64 field for each word, and room for further ones."""
    found: list[tuple] = [(name, np.float64) for name in names.split()]
    return [*found, ("spare", np.float64, (spare,))] if spare else found


def record(kind: np.dtype) -> Callable[..., Record]:
    """A function for kernels: ``record(kind)(state, start)`` names the numbers from there on."""
    found = numba.from_dtype(kind)

    @intrinsic
    def named(typingctx: Any, state: Any, start: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            data = make_array(signature.args[0])(context, builder, given[0]).data
            return builder.bitcast(builder.gep(data, [given[1]]), context.get_value_type(found))

        return found(state, intp), codegen

    return named


def _part(typingctx: Any, state: Any, start: Any, shape: Any) -> Any:
    found = Array(state.dtype, len(shape), "C")

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, given[0]).data
        lengths = unpack_tuple(builder, given[2], len(shape))
        size = context.get_constant(intp, state.dtype.bitwidth // 8)
        strides = [size]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        result = make_array(found)(context, builder)
        populate_array(result, data=builder.gep(data, [given[1]]), shape=lengths, strides=strides,
                       itemsize=size, meminfo=None)
        return result._getvalue()

    return found(state, intp, shape), codegen


#: ``state[start:start + n].reshape(shape)``, without what a view costs: it keeps no owner.
# numba's stub describes the call that the compiler makes, with its context before the arguments
part: Callable[[Values, int, tuple[int, ...]], Values] = intrinsic(_part)  # type: ignore[assignment]


@inner
def rounding(centre: float) -> float:
    """What values of this size may differ by and stand still: as `adlib.scaling` has it."""
    return 2e-15 * abs(centre)  # eight units in the last place


@inner
def checked(x: Values, n_features: float) -> Values:
    """The row, if it can be one: a short one would be read past its end, a NaN never forgotten."""
    bad = len(x) != n_features
    for j in range(len(x)):
        bad |= not np.isfinite(x[j])
    if bad:
        raise ValueError  # `OnlineDetector.row` says what is wrong
    return part(x, 0, (len(x),))


@inner
def admitted(x: Values, score: float, head: Record, recent: Values) -> int:
    """Whether the gate lets a row of this score be learned: 0 no, 1 yes, 2 start anew.

    2: flagged rows have outnumbered the others by the length of ``recent``, which then holds the
    last rows, learned or not, the oldest at ``head.oldest``: they are the new normal.
    """
    if head.gate == np.inf:
        return 1
    release = len(recent)
    if release > 0:
        newest = int(head.oldest)
        recent[newest] = x
        head.oldest = (newest + 1) % release
    if score <= head.gate:
        head.outnumbered = max(0.0, head.outnumbered - 1)
        return 1
    head.outnumbered += 1
    if release == 0 or head.outnumbered < release:
        return 0
    head.outnumbered = 0
    return 2


def named(state: Values, start: int, kind: np.dtype) -> np.void:
    """What `record` does in a kernel, outside: fields as items, of the state itself."""
    return state[start:start + kind.itemsize // 8].view(kind)[0]


def is_count(values: Any) -> bool:
    """Whether these floats are all whole numbers >= 0 that an index may be made of."""
    return bool(np.all((values >= 0) & (values < 2**53) & (values % 1 == 0)))


class FlatStateDetector(OnlineDetector):
    """An `OnlineDetector` made of three kernels over ``state_``.

    A subclass sets ``_kernels`` and makes ``state_`` in ``_reset``; it begins with the numbers that
    ``_head`` names, of which the kernels change those in ``_learned`` alone. Rows are checked by
    the kernels of one row; those of many trust their input. A row's score is the largest of its
    contributions, unless ``_score`` says otherwise.

    Parameters
    ----------
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    _kernels: ClassVar[dict[str, Callable[..., Any]]]  # score_one, process_one and process_rows
    _head: ClassVar[np.dtype]
    _learned: ClassVar[tuple[str, ...]]
    state_: Values

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Bind the kernels as plain functions: a look-up by name would cost more than they do."""
        super().__init_subclass__(**kwargs)
        for name, kernel in cls.__dict__.get("_kernels", {}).items():
            setattr(cls, f"_k_{name}", staticmethod(kernel))

    def score_one(self, x: Values) -> float:
        """Score one row of shape (n_features,) and learn nothing."""
        try:
            return self._k_score_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return self._one(x, lambda row: self._k_score_one(row, self.state_))

    def learn_one(self, x: Values) -> None:
        """Learn one row of shape (n_features,)."""
        self.process_one(x)

    def process_one(self, x: Values) -> float:
        """Score one row of shape (n_features,), then learn it."""
        try:
            return self._k_process_one(x, self.state_)
        except (TypeError, AttributeError, ValueError):
            return self._one(x, lambda row: self._k_process_one(row, self.state_))

    @abstractmethod
    def usual(self) -> tuple[Values, ...]:
        """What the next row is measured from.

        Returns
        -------
        value, deviation, period : ndarray of shape (n_features,)
            NaN while warming up where nothing can be said yet; the period is 0 where there is none.
        """

    def check_loaded(self) -> None:
        """Refuse a state that the kernels would read or write past.

        Raises
        ------
        ValueError
            When ``state_`` is not one that these parameters give.
        """
        if "state_" not in vars(self):
            return
        found = self.state_
        self._reset(self.n_features_in_)
        fresh, self.state_ = self.state_, found
        same = isinstance(found, np.ndarray) and (found.shape, found.dtype) == (
            fresh.shape, fresh.dtype)
        if same:
            head, usual = named(found, 0, self._head), named(fresh, 0, self._head)
            same = all(np.array_equal(head[name], usual[name]) for name in self._head.names or ()
                       if name not in self._learned) and self._could_be(found, fresh)
        if not same:
            raise ValueError("state_ is not one that these parameters give")

    def _could_be(self, found: Values, fresh: Values) -> bool:
        """Whether learning may have made ``found`` of ``fresh``, which has the same fixed head."""
        return True

    def _process(self, X: Values) -> Scores:
        return self._k_process_rows(X.ravel(), self.state_)

    def _score(self, X: Values) -> Scores:
        return self._contributions(X).max(axis=1)

