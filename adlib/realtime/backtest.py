"""What would have paged you: the engine over history, in virtual time.

Samples are scored once; any number of budgets, debounces and cooldowns are then replayed over the
verdicts. It is how to choose them before going live.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from adlib.deprecation import RenamedKeys, former
from adlib.metrics.labels import runs
from adlib.realtime.budget import EVIDENT, NEVER, flagged, poisson_limit
from adlib.realtime.clock import times_of
from adlib.realtime.config import EngineConfig
from adlib.realtime.engine import RealTimeAnomalyDetector
from adlib.realtime.events import Incident, IncidentEvent, QualityEvent, Verdict, stream_of
from adlib.realtime.fitted import by_entity
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.windows import Sample

#: Of a flagged window: first sample, last piece of evidence, time.
_Evidence = tuple[int, int, float]
_ROWS = 4096  # judged at once; the windows are the same
_DAY = 86_400.0
_FORMERLY = {"wakes_per_day": "pages_per_day", "false_wakes_per_day": "false_pages_per_day"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A labelled stretch of the history, and how it was met.

    It is found when a flagged window of a reported incident overlaps it, with evidence that is not
    older than the fault: an incident that opened before is no merit of its own.

    Attributes
    ----------
    start, end : int
        First and last row.
    delay : float or None
        Seconds from the first row until people are notified of the incident, or of news in one that
        they know; until it shows there, where it is no news. None: missed.
    stream : str
        Whose rows they are.
    """

    start: int
    end: int
    delay: float | None
    stream: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one setting would have done.

    Attributes
    ----------
    settings : dict
        What differs from the configuration.
    incidents : list of Incident
        As they ended.
    events : list of IncidentEvent
        Every step; those with ``notify`` are messages.
    pages : list of IncidentEvent
        Messages that call for somebody: all but the news that an incident is over.
    faults : list of Fault or None
        With labels.
    summary : dict
        ``flagged`` (share of judged windows), ``incidents``, ``pages_per_day``,
        ``messages_per_day``; with labels ``faults``, ``found``, ``missed``, ``median_delay``
        (seconds), ``false_pages_per_day``, ``false_incidents`` (reported ones that meet no fault),
        ``false_per_week_at_most`` (the 95 % Poisson limit that so many leave) and ``precision``
        (of reported incidents; None where there are none). What was ``wakes_per_day`` until now is
        found under that name too, for one release and with a warning.
    """

    settings: dict[str, Any]
    incidents: list[Incident]
    events: list[IncidentEvent]
    pages: list[IncidentEvent]
    faults: list[Fault] | None
    summary: RenamedKeys

    @property
    @former("Outcome.pages")
    def wakes(self) -> list[IncidentEvent]:
        """Former name of ``pages``."""
        return self.pages


@dataclass(frozen=True)
class Backtest:
    """A history, scored.

    Attributes
    ----------
    config : EngineConfig
    verdicts : list of Verdict
        Of every window, with nothing flagged yet.
    quality : list of QualityEvent
    days : float
        Time that was judged; of a fleet the mean of its entities', so that what happens a day is
        what its operators see.
    first : int
        Row of the history that the test begins with; sequence numbers are rows of the history. In a
        fleet they count the judged rows of each entity, and this is 0.
    """

    config: EngineConfig
    verdicts: list[Verdict]
    quality: list[QualityEvent]
    days: float
    first: int
    _time: Mapping[str, np.ndarray]  # of the judged rows, by stream
    _faults: Mapping[str, list[tuple[int, int]]] | None
    _context: int = 0

    @property
    def rows(self) -> int:
        """Rows that were judged."""
        return sum(map(len, self._time.values()))

    def replay(self, **settings: Any) -> Outcome:
        """The outcome of a setting; nothing is scored again.

        Parameters
        ----------
        **settings
            ``alpha``, and fields of `IncidentConfig`: ``open_after``, ``cooldown``, ...

        Returns
        -------
        Outcome

        Raises
        ------
        ValueError
            For a name or a value that the configuration would not take.
        """
        incidents = self.config.alert_config.incidents.model_dump()
        if unknown := settings.keys() - {"alpha", *incidents}:
            raise ValueError(f"settings are alpha, {', '.join(incidents)}; got {min(unknown)!r}")
        alpha = settings.get("alpha", self.config.alpha)
        chosen = {key: value for key, value in settings.items() if key != "alpha"}
        manager = AlertManager(IncidentConfig.from_any({**incidents, **chosen}), alpha=alpha,
                               context=self._context)
        events, ended = [], {}
        evidence: dict[str, list[_Evidence]] = {}
        # of flagged windows that belong to no incident so far
        loose: defaultdict[str, list[_Evidence]] = defaultdict(list)
        for verdict in (verdicts := flagged(self.verdicts, alpha)):
            events += manager.step(verdict)
            if verdict.is_anomaly:
                last = max((seq for seq, p in verdict.peaks if p <= alpha), default=verdict.end)
                loose[verdict.stream].append((verdict.start, last, verdict.time))
            if (incident := manager.incident(verdict.stream)) is not None:
                ended[incident.id] = incident
                evidence.setdefault(incident.id, []).extend(
                    one for one in loose.pop(verdict.stream, ()) if one[0] >= incident.start)
        for event in events:
            if event.kind == "close":
                ended[event.incident.id] = event.incident
        pages = [event for event in events if event.notify and event.kind != "close"]
        faults, more = self._against_labels(evidence, pages)
        summary = {
            "flagged": sum(bool(verdict.is_anomaly) for verdict in verdicts) / max(sum(
                verdict.p_value == verdict.p_value for verdict in verdicts), 1),
            "incidents": len(ended), "pages_per_day": len(pages) / self.days,
            "messages_per_day": sum(event.notify for event in events) / self.days, **more}
        return Outcome(settings, list(ended.values()), events, pages, faults,
                       RenamedKeys(summary, _FORMERLY))

    def compare(self, settings: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """A row for each setting: what it is, and its summary.

        The last columns hold the figures that were renamed once more, under their former names:
        ``wakes_per_day`` and ``false_wakes_per_day``. They will be removed in the next release.
        """
        outcomes = [self.replay(**setting) for setting in settings]
        return pd.DataFrame([{**outcome.settings, **outcome.summary.both()}
                             for outcome in outcomes])

    def _against_labels(self, evidence: Mapping[str, list[_Evidence]], pages: list[IncidentEvent]
                        ) -> tuple[list[Fault] | None, dict[str, Any]]:
        if self._faults is None:
            return None, {}
        reported: dict[str, list[IncidentEvent]] = {}
        for page in pages:
            reported.setdefault(page.incident.id, []).append(page)
        met = dict.fromkeys(reported, np.inf)  # since when a reported incident meets a fault
        faults = []
        for stream, start, end in ((stream, *fault) for stream, own in self._faults.items()
                                   for fault in own):
            known = np.inf
            for name, mine in reported.items():
                if mine[0].incident.stream == stream:
                    since, until = _meeting(evidence[name], mine, start, end)
                    met[name], known = min(met[name], since), min(known, until)
            delay = max(known - float(self._time[stream][start - self.first]), 0.0)
            faults.append(Fault(start, end, delay if known < np.inf else None, stream))
        false = sum(page.time < met[page.incident.id] for page in pages)
        wrong = sum(since == np.inf for since in met.values())
        delays = [fault.delay for fault in faults if fault.delay is not None]
        return faults, {
            "faults": len(faults), "found": len(delays), "missed": len(faults) - len(delays),
            "median_delay": float(np.median(delays)) if delays else None,
            "false_pages_per_day": false / self.days, "false_incidents": wrong,
            "false_per_week_at_most": 7 * poisson_limit(wrong) / self.days,
            "precision": (len(reported) - wrong) / len(reported) if reported else None}


def backtest(config: EngineConfig | Mapping[str, Any] | str | Path, history: ArrayLike,
             labels: ArrayLike | None = None, *, time: ArrayLike | None = None,
             fitted: RealTimeAnomalyDetector | None = None, train_share: float = 0.5,
             entity: ArrayLike | None = None) -> Backtest:
    """Run the engine over history as fast as it goes.

    The judged part is scored as it would have been live: sample by sample, knowing nothing of what
    comes later, on event time. Labels say what was found, and which rows are no normal history.

    Parameters
    ----------
    config : EngineConfig, mapping, or path of a YAML or JSON file
    history : array-like or DataFrame of shape (n_samples, n_features)
        In time order; a DatetimeIndex gives the times.
    labels : array-like of shape (n_samples,), optional
        1 = fault. A run of ones is one fault; those rows are not fitted on.
    time : array-like of shape (n_samples,), optional
        POSIX seconds. Default: row times sampling period.
    fitted : RealTimeAnomalyDetector, optional
        Judges all of the history, and stays as it is; it should have been fitted on other data.
        Default: one is fitted on the first ``train_share`` of it and judges the rest.
    train_share : float
        In (0, 1); of each entity's rows.
    entity : array-like of shape (n_samples,), optional
        Machine, patient or account that each row is of, for a fleet; the rows of each are in time
        order.

    Returns
    -------
    Backtest
        What was judged; `Backtest.replay` says what would have happened.

    Raises
    ------
    ValueError
        When shapes, labels or ``train_share`` do not fit; the message names the argument.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, faulty = rng.normal(size=(12_000, 2)), np.zeros(12_000)
    >>> X[9_000:9_200] += 8; faulty[9_000:9_200] = 1
    >>> config = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
    ...           "window_size": 20, "stride": 5, "sampling_period": 60}
    >>> test = backtest(config, X, faulty)
    >>> test.compare([{"alpha": 1e-3}, {"alpha": 1e-4}])[["alpha", "found", "missed"]]
        alpha  found  missed
    0  0.0010      1       0
    1  0.0001      1       0
    """
    config = EngineConfig.from_any(config)
    X = np.asarray(history, dtype=np.float64)
    seconds = times_of(history, time, config.sampling_period)
    faulty = None if labels is None else _labels(labels, len(X))
    series, first = by_entity(config, entity, len(X)), 0
    if fitted is None:
        if not 0 < train_share < 1:
            raise ValueError(f"train_share must lie in (0, 1), got {train_share!r}")
        early = np.zeros(len(X), bool)
        for name, rows in series.items():
            first = int(len(rows) * train_share)
            early[rows[:first]], series[name] = True, rows[first:]
        fitted = _fitted(config, X, seconds, early, faulty, entity,
                         getattr(history, "columns", None))
    if not any(map(len, series.values())):
        raise ValueError(f"no row is left to judge of {len(X)}")
    engine = fitted.fork(config)
    config = config.model_copy(update={"alpha": engine.config.alpha})
    first = first if config.fleet is None else 0
    verdicts, quality = _judged(engine, X, seconds, first, series)
    streams = {stream_of(config.stream, None if config.fleet is None else name): rows
               for name, rows in series.items() if len(rows)}
    days = np.mean([max(float(seconds[rows[-1]] - seconds[rows[0]]), config.sampling_period)
                    for rows in streams.values()]) / _DAY
    return Backtest(config, verdicts, quality, float(days), first,
                    {stream: seconds[rows] for stream, rows in streams.items()},
                    None if faulty is None else {stream: _events(faulty[rows], first)
                                                 for stream, rows in streams.items()},
                    fitted.context)


def _fitted(config: EngineConfig, X: np.ndarray, seconds: np.ndarray, early: np.ndarray,
            faulty: np.ndarray | None, entity: ArrayLike | None, names: Any
            ) -> RealTimeAnomalyDetector:
    """An engine that has learned from the early rows that are no faults."""
    past = X[early]
    if faulty is not None:
        past[faulty[early] == 1] = np.nan
    try:
        return RealTimeAnomalyDetector(config).fit(
            past if names is None else pd.DataFrame(past, columns=names), seconds[early],
            None if entity is None else np.asarray(entity, object)[early])
    except ValueError as error:
        raise ValueError(f"{error} (train_share={early.mean():.2g}: so much of the history is "
                         f"fitted on, and the rest judged)") from error


def _meeting(evidence: list[_Evidence], pages: list[IncidentEvent], start: int, end: int
             ) -> tuple[float, float]:
    """When an incident first shows a fault, and when people knew; inf where it does not."""
    since = min((time for first, last, time in evidence if first <= end and last >= start),
                default=np.inf)
    known = pages[0].time < since  # of the incident: a repeat then says nothing new
    return since, min((page.time for page in pages if page.time >= since
                       and not (known and page.kind == "repeat")), default=since)


def _labels(labels: ArrayLike, n: int) -> np.ndarray:
    if np.shape(labels) != (n,):
        raise ValueError(f"labels must have shape ({n},), got {np.shape(labels)}")
    faulty = np.asarray(labels, np.float64)
    if not np.isin(faulty, (0, 1)).all():
        raise ValueError("labels must be 0 (normal) or 1 (fault)")
    return faulty


def _judged(fitted: RealTimeAnomalyDetector, X: np.ndarray, seconds: np.ndarray, first: int,
            series: Mapping[str, np.ndarray]) -> tuple[list[Verdict], list[QualityEvent]]:
    """Verdicts on all windows of these rows, with nothing flagged; entities take turns."""
    engine = fitted.fork(same_calibration=True, alpha=NEVER, extrapolate=True,
                         alpha_info=max(fitted.config.alpha_stored, EVIDENT))
    verdicts: list[Verdict] = []
    quality: list[QualityEvent] = []
    rows, names = np.concatenate(list(series.values())), None
    if fitted.config.fleet is not None:
        order = np.argsort(seconds[rows], kind="stable")
        names = np.repeat(np.array(list(series), object), [*map(len, series.values())])[order]
        rows = rows[order]
    for at in range(0, len(rows), _ROWS):
        part = rows[at:at + _ROWS]
        found, events = engine.judge(
            [Sample(first + at, seconds[part], X[part],
                    entity=None if names is None else names[at:at + _ROWS].tolist())],
            flush=at + _ROWS >= len(rows))
        verdicts += found
        quality += events
    engine.close()
    return verdicts, quality


def _events(labels: np.ndarray, first: int) -> list[tuple[int, int]]:
    """First and last row of every run of ones, the first row being this one."""
    starts, stops = runs(labels == 1)
    return [(int(a) + first, int(b) + first - 1) for a, b in zip(starts, stops, strict=True)]
