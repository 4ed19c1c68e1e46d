"""Signals as they are drawn: how unusual each window was, and the features, over time.

Each is a box of 1000 by 100 that a page stretches; the numbers beside it are the page's.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.realtime.events import Incident
from adlib.realtime.traces import Trace

_WIDE, _HIGH = 1000.0, 100.0
_RARE = 1e-12  # what is less likely is drawn as this


def _path(x: NDArray, y: NDArray) -> str:
    """A line that is broken where values or rows are missing; at most a thousand points."""
    step = np.median(np.diff(x)) if len(x) > 1 else 0.0
    if len(x) > _WIDE:
        first = np.flatnonzero(np.diff(x // 2, prepend=-1))
        y = np.column_stack([np.fmin.reduceat(y, first), np.fmax.reduceat(y, first)]).ravel()
        x, step = np.repeat(x[first], 2), 2.0
    known = np.isfinite(y)
    begins = np.append(True, ~known[:-1]) | (np.diff(x, prepend=x[0]) > 5 * step + 2)
    return "".join(f"{'M' if new else 'L'}{a:.1f} {b:.1f}" for a, b, new in zip(
        x[known], y[known], begins[known], strict=True))


def _panel(title: str, x: NDArray, y: NDArray, *, least: float | None = None,
           line: float | None = None, usual: NDArray | None = None) -> dict[str, Any]:
    """One signal, ready to be drawn: its path in a box of 1000 by 100, and its numbers."""
    known = y[np.isfinite(y)]
    more = [v for v in (least, line) if v is not None]
    low, high = (float(f([*f(known, keepdims=True), *more])) for f in (np.min, np.max))
    size = max(abs(low), abs(high)) or 1.0  # no difference of the quotients overflows
    room = high / size - low / size or 1.0

    def at(v: Any) -> Any:
        return 0.95 * _HIGH - 0.9 * _HIGH * (v / size - low / size) / room

    band = None
    if usual is not None and len(usual) >= 50:
        bottom, top = np.quantile(usual, [0.01, 0.99])
        band = {"y": at(top), "height": max(at(bottom) - at(top), 1.0), "low": bottom, "high": top}
    return {"title": title, "path": _path(x, at(y)), "low": known.min(), "high": known.max(),
            "last": known[-1], "band": band, "line": None if line is None else at(line)}


def signal(trace: Trace, incidents: Sequence[Incident], first: Iterable[str] = (),
           most: int = 12) -> dict[str, Any] | None:
    """What was judged of one entity, ready to be drawn.

    Parameters
    ----------
    trace : Trace
        Rows of one entity.
    incidents : sequence of Incident
        Shaded where they lie.
    first : iterable of str
        Features to show first.
    most : int
        Features at most.

    Returns
    -------
    dict or None
        ``panels`` (how unusual, then features), ``shades``, ``ticks``; None without rows.
    """
    if not len(trace):
        return None
    trace = trace.take(np.argsort(trace.time, kind="stable"))
    begin, end = trace.time[0], trace.time[-1]
    scale = _WIDE / ((end - begin) or 1.0)
    x, inside, shades = (trace.time - begin) * scale, np.zeros(len(trace), bool), []
    for incident in incidents:
        until = incident.last_at if incident.state == "closed" else end
        # the window that opened it began earlier
        at = (trace.seq >= incident.start) & (trace.seq <= max(incident.end, incident.start))
        since = float(trace.time[at].min()) if at.any() else incident.opened_at
        if incident.kind == "anomaly" and since <= end and until >= begin:
            inside |= at | ((trace.time >= since) & (trace.time <= until))
            left, right = max(since, begin), min(until, end)
            shades.append({"x": (left - begin) * scale, "width": max((right - left) * scale, 4.0)})
    panels = []
    judged = np.isfinite(trace.p_value)
    if judged.any():
        unusual = -np.log10(np.maximum(trace.p_value[judged], _RARE))
        line = None if trace.alpha is None else -math.log10(max(trace.alpha, _RARE))
        panels.append({**_panel("", x[judged], unusual, least=0.0, line=line), "p": {
            "last": trace.p_value[judged][-1], "least": trace.p_value[judged].min(),
            "alpha": trace.alpha}})
    order = [name for name in first if name in trace.features]
    for name in [*order, *(name for name in trace.features if name not in order)][:most]:
        y = trace.values[:, trace.features.index(name)]
        if np.isfinite(y).any():
            panels.append(_panel(name, x, y, usual=y[np.isfinite(y) & ~inside]))
    return {"panels": panels, "shades": shades, "ticks": [begin, (begin + end) / 2, end],
            "left": max(len(trace.features) - most, 0)}
