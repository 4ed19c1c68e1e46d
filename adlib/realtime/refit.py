"""A new model, fitted beside the one that runs, compared with it, and used where it is better.

**Rows.** What was judged and kept (`AlertStore.trace`), behind the history of the first fit. Left
out are rows in incidents and a window on both sides, unless an expert has called the incident a
false alarm, and rows while a feature was frozen. After a drift the rows before it are left out too:
a sensor that was replaced, a plant that runs differently, is a new normal. Where that is too short
to show what keeps a budget (``per``), the alpha of the model before is kept, if the new rows can
show that one. In a fleet that goes for each machine.

A sensor that was replaced and is off by 1.5 standard deviations led to 4.7 false incidents a week,
after the refit to .5 with a budget of one (``python benchmarks/alert_quality.py refit``).

Where most rows lie in incidents, nothing would be left to fit on: they are the change itself, or a
fault that nobody repaired. The rows stay, and somebody decides (`outcome` "unsure").

**Comparison.** The latest fifth of the rows, which neither model was fitted on, is judged by both
as it would have been live, incidents and all. The new one is refused

* where it reports more than its budget allows (so many would come by chance in one of twenty such
  stretches); incidents that an expert has confirmed do not count;
* where it misses a confirmed fault that the other one finds;
* where it finds less than two thirds of the faults that the other one finds, of those that are put
  into the rows for the purpose (a feature is 4 standard deviations off for a window): a model that
  was fitted on faults is quiet, and blind.

**Use.** A model that is not refused becomes a version of its own, and the one in use unless ``swap:
ask`` or an operator's rollback say that somebody must decide (`adlib.realtime.doors.versions`). An
engine that runs swaps at the border of two batches. Each step is an incident of kind health.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom, poisson

from adlib.realtime import fitted
from adlib.realtime.answers import FeedbackStore
from adlib.realtime.backtest import backtest
from adlib.realtime.budget import settled
from adlib.realtime.config import EngineConfig, RefitConfig
from adlib.realtime.doors import model, versions
from adlib.realtime.doors.versions import Version
from adlib.realtime.engine import RealTimeAnomalyDetector
from adlib.realtime.events import COUNTED, Incident, stream_of
from adlib.realtime.models import BUSY, drifts
from adlib.realtime.traces import Trace
from adlib.thresholds import allowed_incidents

_COMPARED = 0.2  # share of the time, the latest, that models are compared on
_BY_CHANCE = 0.05  # so seldom more is reported by a model that keeps its budget
# faults that are put in: rounds, windows from one to the next, standard deviations, share to find
_ROUNDS, _APART, _SIZE, _LEAST = 4, 8, 4.0, 2 / 3


def refit(folder: Path, config: EngineConfig, why: str = "asked for", *, use: bool = True
          ) -> Version:
    """Fit a model on what was judged, compare it with the one in use, and keep it as a version.

    Parameters
    ----------
    folder : Path
        What `RealTimeAnomalyDetector.save` wrote.
    config : EngineConfig
        With ``alert_config.storage``: where judged rows, incidents and answers are.
    why : str
        What asks for it.
    use : bool
        Let it take over where it is better, unless an operator went back to another one.

    Returns
    -------
    Version
        Its record; ``outcome`` and ``says`` say how it went.

    Raises
    ------
    BlockingIOError
        When another process fits a version of this folder.
    ValueError
        When there is no storage, or the configuration is not the model's.
    """
    storage, how = config.alert_config.storage, config.refit or RefitConfig()
    if storage is None:
        raise ValueError("refit needs alert_config.storage, where judged rows are kept")
    home = versions.saved(folder).with_name("versions")
    with versions.alone(folder), FeedbackStore(storage.path, create=False) as store, (
            tempfile.TemporaryDirectory(dir=home, prefix=".", suffix=".draft")) as draft, (
            warnings.catch_warnings()):
        warnings.simplefilter("ignore")
        old = RealTimeAnomalyDetector.load(folder, config)
        place, record = Path(draft), Version(0, time.time(), why)
        try:
            record = _made(place, record, folder, store, old, how.history)
        except ValueError as error:
            record = replace(record, outcome="failed", says=str(error),
                             until=max((row.time for row in store.entities(config.stream)),
                                       default=None))
        record = versions.add(folder, record, None if record.outcome == "failed" else lambda to:
                              shutil.copytree(place, to, dirs_exist_ok=True), how.keep)
    if use and record.outcome == "better" and how.swap == "auto" and not versions.current(
            folder).held:
        versions.use(folder, record.number, "refit", f"{why}: {record.says}")
    return record


def _made(draft: Path, record: Version, folder: Path, store: FeedbackStore,
          old: RealTimeAnomalyDetector, history: float) -> Version:
    """Fill a folder with a new model; its record, with the comparison."""
    config = old.config
    trace, begin, after = _rows(folder, store, old, history)
    out, doubt = _left_out(store, trace, config.window_size), ""
    if 2 * out.sum() > len(out):
        doubt = f"{out.mean():.0%} of the rows lie in incidents: answer whether these are false"
        out[:] = False
    early = trace.time < begin
    found, late = _fitted(old, trace.take(early), out[early]), trace.take(~early)
    model.write(draft, found, config, old.recognised)
    new = RealTimeAnomalyDetector.load(draft, config)
    if len(late) < 5 * config.window_size:
        raise ValueError(f"only {len(late)} rows are left to compare the models on, which neither "
                         f"was fitted on; {5 * config.window_size} are needed")
    said = _answered(store)
    confirmed = _within(late, [incident for incident in store.incidents()
                               if said.get((incident.stream, incident.id)) == "true"])
    both = {name: _judged(engine, late, confirmed) for name, engine in (("old", old),
                                                                       ("new", new))}
    refused = refusal(config, both["old"], both["new"], fitted_on := int((~out[early]).sum()))
    return replace(record, outcome="refused" if refused else "unsure" if doubt else "better",
                   says="; ".join(filter(None, [refused or doubt, _said(both)])),
                   comparison=both, rows=fitted_on, until=float(trace.time.max()), after=after)


# -- rows -----------------------------------------------------------------------------------------


def _rows(folder: Path, store: FeedbackStore, old: RealTimeAnomalyDetector, history: float
          ) -> tuple[Trace, float, dict[str, int]]:
    """What may be fitted on, of each entity in order; when the rows to compare on begin; and where
    the present normal of each stream began that has drifted."""
    stream = old.config.stream
    live = store.trace(stream)
    if live.features != tuple(old.features_):
        raise ValueError("no judged rows are kept of these features: see alert_config.storage"
                         ".trace")
    last, began = live.time.max(), live.time.min()
    (used,) = [record for record in versions.listed(folder) if record.number == old.version]
    past, parts = model.past(folder, stream), [live]
    if past is not None and past.features == live.features:
        shift = began - past.time.max() - 1.0
        if shift < 0 or past.time.max() < COUNTED <= began:  # times of another count
            past = replace(past, time=past.time + shift)
        parts.insert(0, past)
    trace, after = Trace.joined(parts), dict(used.after or {})
    for name in drifts(store, stream):
        after.update((name, event.start)
                     for event in store.quality(stream=name, kind="drift")[-1:])
    keep = trace.time >= last - history
    starts = [trace.time[keep].min()]
    for name, since in after.items():
        own = np.array([stream_of(stream, entity) == name for entity in trace.entities])[trace.code]
        keep &= ~own | (trace.seq >= since)
        starts.append(trace.time[own & keep].min(initial=last))
    until = began if used.until is None else max(began, np.nextafter(used.until, np.inf))
    return trace.take(keep), float(max(until, *(
        last - _COMPARED * (last - start) for start in starts))), after


def _answered(store: FeedbackStore) -> dict[tuple[str, str], str]:
    return {(answer.stream, answer.target): answer.verdict for answer in store.answers()}


def _left_out(store: FeedbackStore, trace: Trace, window: int) -> NDArray[np.bool_]:
    """Rows that are no normal ones."""
    said = _answered(store)
    return _within(trace, [
        replace(incident, start=incident.start - window, end=incident.end + window)
        for incident in store.incidents() if incident.condition.startswith("frozen") or (
            incident.kind == "anomaly" and said.get((incident.stream, incident.id)) != "false")])


def _within(trace: Trace, incidents: list[Incident]) -> NDArray[np.bool_]:
    """Rows that lie in incidents."""
    found = np.zeros(len(trace), bool)
    first = np.searchsorted(trace.code, np.arange(len(trace.entities) + 1))
    place = {stream_of(trace.stream, entity): slice(first[k], first[k + 1])
             for k, entity in enumerate(trace.entities)}
    for incident in incidents:
        rows = place.get(incident.stream, slice(0))
        found[rows] |= (trace.seq[rows] >= incident.start) & (trace.seq[rows] <= incident.end)
    return found


def _fitted(old: RealTimeAnomalyDetector, trace: Trace, out: NDArray[np.bool_]) -> fitted.Fitted:
    """A model of these rows, with the alpha of the old one where they cannot show the budget's."""
    config = old.config
    values = np.where(out[:, None], np.nan, trace.values)
    # windows hold no rows of two stretches
    gaps = np.flatnonzero((np.diff(trace.seq) != 1) & (np.diff(trace.code) == 0)) + 1
    frame = pd.DataFrame(np.insert(values, gaps, np.nan, axis=0), columns=old.features_)
    seconds = np.insert(trace.time, gaps, trace.time[gaps])
    more = _labels(config, np.insert(trace.labels, gaps, trace.labels[gaps]))
    found = fitted.fit(config, frame, seconds, **more)
    if config.per is not None:
        try:
            settled(config, found)
        except ValueError as error:
            if " needs " not in str(error):  # more rows
                raise
            settled(config.changed(alpha=config.alpha), found)
            found = replace(found, kept_alpha=config.alpha)
    return found


def _labels(config: EngineConfig, labels: NDArray) -> dict[str, Any]:
    return {} if config.fleet is None else {"entity": labels}


# -- comparison -----------------------------------------------------------------------------------


def _judged(engine: RealTimeAnomalyDetector, trace: Trace, faulty: NDArray[np.bool_]
            ) -> dict[str, float]:
    """What an engine would have done with these rows."""
    config = engine.config

    def test(X: NDArray, y: NDArray, **rule: Any) -> Any:
        how = _labels(config, trace.labels)
        tested = backtest(config, X, y, time=trace.time, fitted=engine, **how)
        return tested, tested.replay(alpha=config.alpha, **rule).summary

    tested, summary = test(trace.values, faulty)
    judged = sum(verdict.is_anomaly is not None for verdict in tested.verdicts)
    put_in = [test(*_with_faults(trace.values, config.window_size, k), cooldown=0)[1]
              for k in range(_ROUNDS)]
    return {"days": tested.days, "windows": judged, "flagged": summary["flagged"],
            "incidents": summary["false_incidents"], "confirmed": summary["found"],
            "put_in": sum(each["faults"] for each in put_in),
            "put_in_found": sum(each["found"] for each in put_in)}


def _with_faults(values: NDArray, window: int, k: int) -> tuple[NDArray, NDArray[np.bool_]]:
    """Rows with the k-th few faults of known size, and which these are."""
    X, y = values.copy(), np.zeros(len(values), bool)
    size, d = _SIZE * np.nanstd(values, axis=0), X.shape[1]
    starts = range(window + k * 2 * window % (_APART * window), len(X) - window, _APART * window)
    for at, start in enumerate(starts, k):
        X[start:start + window, at % d] += size[at % d]
        y[start:start + window] = True
    return X, y


def refusal(config: EngineConfig, old: dict[str, float], new: dict[str, float], rows: int
            ) -> str:
    """Why a model should not take over; empty where it may.

    Parameters
    ----------
    config : EngineConfig
    old, new : dict
        What both would have done: see `Version.comparison`.
    rows : int
        That the new one was fitted on.
    """
    if not new["windows"]:
        return "it judges no window"
    if config.per is not None:
        allowed = allowed_incidents(config.per, 1.0, round(86_400 * new["days"]))
        if poisson.sf(new["incidents"] - 1, allowed) < _BY_CHANCE:
            return f"it reports more than {config.per}"
    else:
        apart = max(new["windows"] * config.stride / config.window_size, 1.0)  # share no sample
        seen = 1 + rows * config.calibration_share / config.window_size  # alpha is as exact
        if betabinom.sf(np.floor(new["flagged"] * apart) - 1, np.ceil(apart), seen * config.alpha,
                        seen * (1 - config.alpha)) < _BY_CHANCE:
            return f"it flags more than alpha={config.alpha:.3g} of the windows"
    if new["confirmed"] < old["confirmed"]:
        return "it misses a fault that was confirmed"
    if new["put_in_found"] < _LEAST * old["put_in_found"]:
        return "it finds fewer faults"
    return ""


def _said(both: dict[str, dict[str, float]]) -> str:
    old, new = both["old"], both["new"]
    says = (f"in the last {new['days']:.3g} days it would have reported {new['incidents']:.0f} "
            f"incidents, the model before {old['incidents']:.0f}")
    if new["put_in"]:
        says += (f"; of {new['put_in']:.0f} faults put in it finds {new['put_in_found']:.0f}, the "
                 f"model before {old['put_in_found']:.0f}")
    return says


# -- the process ----------------------------------------------------------------------------------


def main() -> int:
    """Fit as the engine that began this process says on standard input."""
    folder, config, why = json.loads(sys.stdin.readline())
    os.nice(10)  # the engine comes first
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        refit(Path(folder), EngineConfig.from_any(config), why)
    except BlockingIOError:
        return BUSY
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
