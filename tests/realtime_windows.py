"""The windows that a block completes, as views: tests look at each, the judge at all at once."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True, slots=True)
class Window:
    """Samples ``start`` to ``end`` of a stream.

    Attributes
    ----------
    start, end : int
        Sequence numbers of the first and the last sample.
    time : float
        Time of the last sample, POSIX seconds.
    values : ndarray of shape (window_size, d)
        Read-only; missing values hold the feature's last one.
    valid : bool
        Whether at least half of the samples have a feature that can be judged.
    stuck : bool
        A feature has not changed for too long.
    left_out : ndarray of bool, shape (window_size, d)
        Features that are missing for longer than ``hold``, or stuck.
    """

    start: int
    end: int
    time: float
    values: np.ndarray
    valid: bool
    stuck: bool
    left_out: np.ndarray


def cut(processor, block):
    """The windows of a block, as views."""
    if block is None or not len(block.ends):
        return
    view, left_out = (sliding_window_view(rows, processor.window_size, axis=0)
                      for rows in (block.values, block.left_out))
    judged = block.share(block.valid, processor.window_size) >= 0.5
    stuck = np.logical_or.reduce(block.share(block.frozen, processor.window_size) > 0, axis=1)
    for i, end in enumerate(block.ends.tolist()):
        last, first = int(block.seq[end]), end - processor.window_size + 1
        yield Window(last - processor.window_size + 1, last, float(block.time[end]), view[first].T,
                     bool(judged[i]), bool(stuck[i]), left_out[first].T)
