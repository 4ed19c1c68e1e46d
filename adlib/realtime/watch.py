"""Is the combined score still distributed as in calibration? The engine's drift monitor."""

from copy import copy, deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.drift import DriftMonitor
from adlib.realtime.config import EngineConfig
from adlib.realtime.events import QualityEvent
from adlib.realtime.windows import Block
from adlib.thresholds import Scores


class DriftWatch:
    """A `DriftMonitor` of the combined score of windows that share no sample, where they are many.

    Parameters
    ----------
    config : EngineConfig
    reference : ndarray of shape (n,)
        Combined score of each window of the calibration rows, NaN where one is missing.
    stream : str
    """

    def __init__(self, config: EngineConfig, reference: Scores, stream: str):
        self._config, self._stream, self._monitor = config, stream, None
        self._state: dict[str, Any] | None = None  # since the last update
        monitor = DriftMonitor()
        least = 4 * monitor.patience * config.stride
        # windows that share no sample show most and cost least; fewer where rows are few
        apart = max(-(-config.window_size // config.stride), 1)
        self._every = max(min(apart, (~np.isnan(reference)).sum() // least), 1)
        reference = reference[::self._every * config.stride]
        reference = reference[~np.isnan(reference)]
        if config.drift and len(reference) >= 4 * monitor.patience:
            self._monitor = monitor.fit(reference)

    def another(self, stream: str) -> "DriftWatch":
        """A new one, of another stream."""
        shared = [] if self._monitor is None else [
            value for value in vars(self._monitor).values() if isinstance(value, np.ndarray)]
        twin = copy(self)
        twin._stream, twin._monitor = stream, deepcopy(self._monitor, {
            id(value): value for value in shared})
        return twin

    def update(self, block: Block, combined: Scores, judged: NDArray[np.bool_]
               ) -> list[QualityEvent]:
        """Take the combined score of each window; what has begun or ended with them."""
        events: list[QualityEvent] = []
        if self._monitor is None:
            return events
        first = block.seq[block.ends] + 1 - self._config.window_size
        if len(first) == 1 and int(first[0]) // self._config.stride % self._every:
            return events  # nearly always, of one among many
        for i in np.flatnonzero(judged & (first // self._config.stride % self._every == 0)):
            self._monitor.update(float(combined[i]))
            self._state = None
            for entry in self._monitor.trail_:
                end, apart = block.ends[i], self._every * self._config.stride
                since = int(first[i]) - apart * (entry["row"] - entry.get("since", entry["row"]))
                events.append(QualityEvent(
                    self._stream, "drift", since, int(block.seq[end]),
                    float(block.time[end]),
                    "the combined score is no longer distributed as in calibration"
                    if entry["event"] == "drift" else "the combined score is as it was"))
            del self._monitor.trail_[:]
        return events

    def state(self) -> dict[str, Any] | None:
        """Numbers, lists and arrays; the reference is the fitted model's, and not in it."""
        if self._monitor is not None and self._state is None:
            self._state = self._monitor.get_state(reference=False)
            self._state["_recent"] = np.array(self._state["_recent"]).reshape(-1, 1)
        return self._state

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on where another watch over the same calibration rows was."""
        if self._monitor is not None and state is not None:
            self._monitor.set_state({**state, "_recent": list(state["_recent"])})
            self._state = None
