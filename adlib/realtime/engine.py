"""The live engine: samples in, judged windows out, one incident for one fault.

Every detector scores samples, each once. Scores are put on one scale, that of rows after the
training rows in time, and averaged as surprises (Fisher's combination); a window's score is the
highest average of its samples, calibrated again, so that p-values keep their meaning, whoever takes
part. To score samples and not windows is what makes the engine fast (with a window of 100 and a
stride of 10, each sample lies in ten windows) and lets detectors of any kind sit side by side: on
rows, with a look-back of their own, or online. The highest score ranks windows better than their
mean or median where faults are short: average precision .41, .32 and .22 on the recorded telemetry
(`adlib.datasets.load_telemetry`, window 30, default detectors).
"""

import asyncio
import contextlib
import json
import logging
import time
import warnings
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from prometheus_client import generate_latest
from safetensors import numpy as safetensors
from sklearn.exceptions import NotFittedError

from adlib import persist
from adlib.arguments import floats, instance, listed
from adlib.arguments import path as as_path
from adlib.base import Detector
from adlib.detectors.committee import Committee
from adlib.drift import DriftMonitor
from adlib.explain import explain
from adlib.files import replaced_folder
from adlib.realtime.calibration import WindowCalibration, window_maxima
from adlib.realtime.channels import Channel
from adlib.realtime.config import EngineConfig, find_class
from adlib.realtime.counters import Counters
from adlib.realtime.events import IncidentEvent, QualityEvent, Verdict, severity_of
from adlib.realtime.inbox import Inbox, last_of, time_of
from adlib.realtime.incidents import AlertManager, Responses
from adlib.realtime.members import Member, Worker
from adlib.realtime.notify import NotificationConfig, NotificationService, open_channels
from adlib.realtime.sources import Source
from adlib.realtime.store import AlertStore
from adlib.realtime.windows import Block, Rows, Sample, StreamProcessor
from adlib.scaling import center_scale
from adlib.thresholds import CalibrationWarning, Scores, decide

log = logging.getLogger(__name__)

FORMAT = 1
_TOP = 5  # features that a verdict names
_BACKGROUND = 512  # normal samples that explanations compare with
# what a fitted engine depends on; the rest of the configuration may change without a new fit
_FITTED = ("deep_config", "stat_config", "detectors", "window_size", "random_state",
           "calibration_share")


class RealTimeAnomalyDetector:
    """Judges a stream window by window, and raises one incident for one fault.

    Parameters
    ----------
    config : EngineConfig, mapping, or path of a YAML or JSON file
    channels : sequence of Channel
        Further receivers, beside those that the configuration names; they need
        ``alert_config.storage``, from which messages are sent.

    Attributes
    ----------
    responses : Responses
        Register handlers per severity and automated responses here.
    store : AlertStore or None
    features_ : list of str
    position : int
        Last sequence number taken; -1 before the first.

    Notes
    -----
    The share of flagged windows is about ``alpha`` on a stream like the calibration rows, in the
    limit of long calibration; it is no promise for one that changes (see `DriftMonitor`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> config = {"deep_config": None, "detectors": ["PCAReconstruction"], "stat_config": None,
    ...           "window_size": 20, "stride": 5}
    >>> engine = RealTimeAnomalyDetector(config).fit(rng.normal(size=(8000, 3)))
    >>> live = rng.normal(size=(400, 3))
    >>> live[200:230] += 6
    >>> async def source():
    ...     for row in live:
    ...         yield row
    >>> async def flagged():
    ...     return [w["end"] async for w in engine.process_stream(source()) if w["is_anomaly"]]
    >>> asyncio.run(flagged())
    [204, 209, 214, 219, 224, 229, 234, 239]
    """

    def __init__(self, config: EngineConfig | Mapping[str, Any] | str | Path, *,
                 channels: Sequence[Channel] = ()):
        self.config = EngineConfig.from_any(config)
        self.channels = [instance(channel, "channels", Channel)
                         for channel in listed(channels, "channels")]
        if self.channels and self.config.alert_config.storage is None:
            raise ValueError("channels need alert_config.storage: messages are sent from the alert "
                             "store")
        self.responses = Responses()
        self.store: AlertStore | None = None
        self._metrics = Counters(self.config.stream)
        self._service: NotificationService | None = None
        self._live = self._broken = False

    # -- fit ----------------------------------------------------------------------------------

    @np.errstate(over="ignore", invalid="ignore")
    def fit(self, X_history: ArrayLike) -> Self:
        """Train on the first part of a normal history, calibrate on what follows it in time.

        Parameters
        ----------
        X_history : array-like of shape (n_samples, n_features)
            In time order, one row per sample. Rows with missing values are left out.

        Raises
        ------
        ValueError
            When it does not fit the configuration, or is too short for the window.
        """
        config = self.config
        X = floats(X_history, "X_history", "(n_samples, n_features)")
        if not X.shape[1]:
            raise ValueError(f"X_history must have shape (n_samples, n_features), got {X.shape}")
        named = [str(name) for name in getattr(X_history, "columns", ())]
        names = list(config.feature_names or named or (f"x{j}" for j in range(X.shape[1])))
        wanted = config.deep_config.input_dim if config.deep_config else None
        for what, width in (("deep_config.input_dim", wanted), ("feature_names", len(names))):
            if width is not None and width != X.shape[1]:
                raise ValueError(f"X_history has {X.shape[1]} features, {what} says {width}")
        cut = len(X) - int(len(X) * config.calibration_share)
        if min(cut, len(X) - cut) < 2 * config.window_size:
            raise ValueError(f"X_history must hold at least two windows of {config.window_size} "
                             f"samples to train on and two to calibrate on, got {len(X)} rows, "
                             f"{len(X) - cut} of them for calibration")
        valid = np.isfinite(X).all(axis=1)
        if not valid[:cut].any():
            raise ValueError(f"X_history has no row without a missing value among the first {cut}, "
                             f"which are to train on")
        filled = np.where(np.isfinite(X), X, np.nanmedian(X[:cut], axis=0))
        members, held_out = [], []
        for name, group in config.groups().items():
            if not group.weight:
                continue
            model = group.build(config.random_state)
            if (isinstance(model, Detector) and model.calibration == "auto"
                    and not isinstance(model, Committee)):  # which scores on scales
                model.set_params(calibration=None)  # windows are calibrated here, not rows
            try:
                model.fit(filled[:cut][valid[:cut]])
                member = Member(name, model, group.weight)
                held_out.append(member.score(filled, valid, cut))
            except Exception as error:
                raise ValueError(f"detector {name!r} ({type(model).__name__}) cannot be fitted: "
                                 f"{type(error).__name__}: {error}") from error
            members.append(member)
        held_out = np.column_stack(held_out)
        whole = ~np.isnan(window_maxima(held_out.sum(axis=1), config.window_size))
        if whole.sum() < config.window_size:
            raise ValueError(f"only {whole.sum()} calibration windows hold no missing value; give "
                             f"a longer history, or one with fewer gaps")
        past = filled[:cut][valid[:cut]]
        background = past[np.linspace(0, len(past) - 1, min(_BACKGROUND, len(past))).astype(int)]
        self._take(names, members, held_out, *center_scale(filled[:cut], robust=True),
                   _longest_runs(X), background)
        shared = self._combination(tuple(range(len(self._members))))
        if config.alpha < min(1 / (shared.n_windows_ + 1),
                              config.window_size / (shared.n_rows_ + 1)):
            warnings.warn(
                f"alpha={config.alpha:g} lies beyond what {shared.n_windows_:.0f} effective "
                f"calibration windows can show: it rests on an extrapolated tail; give a longer "
                f"history or raise alpha", CalibrationWarning, stacklevel=3)
        return self

    def _ready(self) -> None:
        """Make what follows from the held-out windows, and start a new stream."""
        self._surprises = np.full_like(self._held_out, np.nan)
        for j, member in enumerate(self._members):
            known = ~np.isnan(self._held_out[:, j])
            member.scale.fit(self._held_out[known, j])
            self._surprises[known, j] = member.scale.surprise(self._held_out[known, j])
        self._weights = np.array([member.weight for member in self._members])
        self._combinations: dict[tuple[int, ...], WindowCalibration] = {}
        self.reset()

    def _combine(self, S: Rows, who: Sequence[int]) -> Scores:
        weights = self._weights[list(who)]
        return S[:, list(who)] @ (weights / weights.sum())

    def _combination(self, who: tuple[int, ...]) -> WindowCalibration:
        """Held-out scale of the average of these members, made when it is first needed."""
        if who not in self._combinations:
            self._combinations[who] = WindowCalibration().fit(
                self._combine(self._surprises, who), self.config.window_size)
        return self._combinations[who]

    def reset(self) -> None:
        """Begin a new stream; what was fitted stays, and so does what online detectors learned."""
        config = self.config
        stuck = (None if config.stuck == "never" else config.stuck if config.stuck != "auto"
                 else 2 * self._longest + config.window_size)
        self._processor = StreamProcessor(
            config.window_size, config.stride, n_features=len(self.features_), hold=config.hold,
            stuck=stuck, reorder=config.reorder, period=config.sampling_period,
            stream=config.stream, features=self.features_)
        self._manager = AlertManager(config.alert_config.incidents)
        self._drift = None
        if config.drift:
            reference = window_maxima(self._combine(
                self._surprises, range(len(self._members))), config.window_size)
            monitor = DriftMonitor()
            least = 4 * monitor.patience * config.stride
            # windows that share no sample tell most and cost least; fewer where rows are few
            apart = max(-(-config.window_size // config.stride), 1)
            self._every = max(min(apart, (~np.isnan(reference)).sum() // least), 1)
            reference = reference[::self._every * config.stride]
            reference = reference[~np.isnan(reference)]
            if len(reference) >= 4 * monitor.patience:
                self._drift = monitor.fit(reference)
        for member in self._members:
            member.tail = np.empty(0)
        self._live = False

    def fork(self, **changes: Any) -> Self:
        """An independent copy at the start of a stream, without a store.

        Parameters
        ----------
        **changes
            Of the configuration: budgets, alerts and the like; detectors and window stay.

        Returns
        -------
        RealTimeAnomalyDetector

        Raises
        ------
        ValueError
            When a change would need another fit, or is no valid configuration.
        """
        self._check_fitted()
        plain = {"alert_config": {"incidents": self.config.alert_config.incidents}}
        twin = type(self)(EngineConfig.model_validate({
            **{name: getattr(self.config, name) for name in EngineConfig.model_fields},
            **plain, **changes}))
        _check_same(self.config.model_dump(mode="json"), twin.config)
        twin._take(self.features_, [
            Member(member.name, deepcopy(member.model), member.weight)
            for member in self._members], self._held_out, self._center, self._scale, self._longest,
            self._background)
        return twin

    def _take(self, features: list[str], members: list[Member], held_out: Rows, center: Scores,
              scale: Scores, longest: Scores, background: Rows) -> None:
        """Be fitted with these parts."""
        self.features_, self._members, self._held_out = features, members, held_out
        self._center, self._scale, self._longest = center, scale, longest
        self._background = background
        self._ready()

    @property
    def position(self) -> int:
        self._check_fitted()
        return self._processor.position

    def _check_fitted(self) -> None:
        if not hasattr(self, "_members"):
            raise NotFittedError("this RealTimeAnomalyDetector is not fitted: call fit(X_history) "
                                 "or load(path)")

    # -- judging, without a clock ---------------------------------------------------------------

    def judge(self, items: Iterable[Any], *, flush: bool = False
              ) -> tuple[list[Verdict], list[QualityEvent]]:
        """Verdicts on the windows that these items complete; incidents are another step.

        Parameters
        ----------
        items : iterable of array (d,) or (k, d), or of Sample
        flush : bool
            The stream ends: see `StreamProcessor.push`.

        Returns
        -------
        verdicts : list of Verdict
        quality : list of QualityEvent
        """
        self._check_fitted()
        block = self._processor.push(items, flush=flush)
        if block is None:
            return [], []
        quality = list(block.events)
        tails = self._score(block, quality)
        return self._verdicts(block, tails, quality), quality

    def _score(self, block: Block, quality: list[QualityEvent]) -> Rows:
        """Scores of the block's samples by each detector, (n, n_members); NaN where there is none.

        Detectors work in parallel, each in its thread. One that fails or is late leaves the vote
        for the windows that hold these samples.
        """
        jobs = {}
        if block.n_old < len(block.seq):
            for member in self._members:
                if member.running is not None and member.running.done():
                    member.running = None  # it was late: what it says now is of another batch
                if not member.off and member.running is None:
                    member.running = jobs[member] = member.submit(
                        member.score, block.values, block.valid, block.n_old)
        done = wait(jobs.values(), timeout=self.config.detector_timeout).done
        scores = np.full((len(block.seq), len(self._members)), np.nan)
        for j, member in enumerate(self._members):
            old = min(len(member.tail), block.n_old)
            scores[block.n_old - old:block.n_old, j] = member.tail[len(member.tail) - old:]
            job = jobs.get(member)
            fault: BaseException | str = "still busy"
            if job in done:
                member.running, fault = None, job.exception()
                if fault is None:
                    scores[block.n_old:, j] = job.result()
                    member.failures = 0
            elif job is not None:
                fault = f"no answer within {self.config.detector_timeout:g} s"
            if fault is not None and block.n_old < len(block.seq) and not member.off:
                self._failed(member, fault, block, quality)
            member.tail = scores[max(len(scores) - self.config.window_size + 1, 0):, j].copy()
        return scores

    def _failed(self, member: Member, fault: BaseException | str, block: Block,
                quality: list[QualityEvent]) -> None:
        member.failures += 1
        kind, detail = ("detector_slow", fault) if isinstance(fault, str) else (
            "detector_failed", f"{type(fault).__name__}: {fault}")
        if member.failures >= self.config.max_failures:
            member.off = True
            detail += f"; switched off after {member.failures} failures in a row"
        self._metrics.failures.labels(self.config.stream, member.name, kind).inc()
        log.warning("detector %s of stream %s: %s", member.name, self.config.stream, detail)
        if member.failures == 1 or member.off:
            quality.append(QualityEvent(
                self.config.stream, kind, int(block.seq[block.n_old]), int(block.seq[-1]),
                float(block.time[-1]), f"{member.name}: {detail}"[:300]))

    def _verdicts(self, block: Block, scores: Rows, quality: list[QualityEvent]) -> list[Verdict]:
        config, ends = self.config, block.ends
        if not len(ends):
            return []
        start = ends - config.window_size + 1
        S = np.full_like(scores, np.nan)
        for j, member in enumerate(self._members):
            rows = ~np.isnan(scores[:, j])
            S[rows, j] = member.scale.surprise(scores[rows, j])
        W = sliding_window_view(S, config.window_size, axis=0)[start].max(axis=2)
        seq = block.seq[ends]
        judged = block.judgeable & (seq - (self._processor.first or 0) >= config.warm_up)
        known = ~np.isnan(W) & judged[:, None]
        own = np.full(W.shape, np.nan)
        for j in range(len(self._members)):
            own[known[:, j], j] = decide(
                self._combination((j,)).log_p(W[known[:, j], j]), config.alpha)[0]
        log_p, combined = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
        peak = np.zeros(len(ends), np.int64)  # sample that the window's score belongs to
        for pattern in np.unique(known, axis=0):  # one, unless a detector is out
            if not pattern.any():
                continue
            who, which = tuple(np.flatnonzero(pattern).tolist()), (known == pattern).all(axis=1)
            view = sliding_window_view(self._combine(S, who), config.window_size)[start[which]]
            combined[which], peak[which] = view.max(axis=1), start[which] + view.argmax(axis=1)
            log_p[which] = self._combination(who).log_p(combined[which])
        p, (score, flagged) = np.exp(log_p), decide(log_p, config.alpha)
        alpha_info = config.alpha_info or 3 * config.alpha
        notable = np.flatnonzero(p <= alpha_info)
        # neighbouring windows often owe their score to the same sample
        samples, which = np.unique(peak[notable], return_inverse=True)
        causes = self._explain(block.values[samples])
        top = {int(i): causes[k] for i, k in zip(notable, which, strict=True)}
        self._watch_drift(block, combined, known.all(axis=1), quality)
        names = [member.name for member in self._members]
        found = []
        for i, end in enumerate(ends.tolist()):
            anomaly = None
            if not np.isnan(p[i]):  # a stuck sensor may accuse, but not acquit
                anomaly = True if flagged[i] else None if block.stuck[i] else False
            found.append(Verdict(
                config.stream, int(seq[i]) - config.window_size + 1, int(seq[i]),
                float(block.time[end]), float(p[i]), float(score[i]),
                severity_of(score[i]), anomaly,
                {name: None if value != value else value
                 for name, value in zip(names, own[i].tolist(), strict=True)}, top.get(i, ())))
        return found

    def _explain(self, rows: Rows) -> list[tuple[tuple[str, float], ...]]:
        """Features that made each sample stand out, with their shares."""
        if not len(rows):
            return []
        parts = np.abs(rows - self._center) / np.where(self._scale > 0, self._scale, 1.0)
        for member in self._members:
            if member.context or member.online or member.off or member.running:
                continue
            job = member.submit(lambda model=member.model: explain(
                model, rows, np.arange(len(rows)), threshold=np.inf,
                background=self._background, counterfactual=False).shares)
            if not wait([job], timeout=self.config.detector_timeout).done:
                member.running = job  # it is late, and out of the vote until it is back
            elif job.exception() is None:  # an explanation is no reason to lose an alarm
                parts = job.result()
                break
        total = np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
        order = np.argsort(-parts, axis=1, kind="stable")[:, :_TOP]
        return [tuple((self.features_[k], float(share[k])) for k in best if share[k] > 0)
                for share, best in zip(parts / total, order, strict=True)]

    def _watch_drift(self, block: Block, combined: Scores, whole: NDArray[np.bool_],
                     quality: list[QualityEvent]) -> None:
        if self._drift is None:
            return
        place = (block.seq[block.ends] + 1 - self.config.window_size) // self.config.stride
        for i in np.flatnonzero(whole & (place % self._every == 0)):
            n = len(self._drift.trail_)
            self._drift.update(float(combined[i]))
            for entry in self._drift.trail_[n:]:
                end = block.ends[i]
                quality.append(QualityEvent(
                    self.config.stream, "drift", int(block.seq[end]) - self.config.window_size + 1,
                    int(block.seq[end]), float(block.time[end]),
                    "the combined score is no longer distributed as in calibration"
                    if entry["event"] == "drift" else "the combined score is as it was"))
            del self._drift.trail_[:]

    # -- the stream -----------------------------------------------------------------------------

    async def process_stream(self, source: Source | AsyncIterator[Any], *,
                             start: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Judge a stream; each window comes out once its effects are committed.

        Parameters
        ----------
        source : Source, or async iterator of array (d,) or (k, d), or of Sample
            Any number of rows at a time. A `Source` is asked for what follows the last commit.
        start : int, optional
            Sequence number of the first row of arrays that bring none. Default: the stream goes on
            where it stopped, also after a restart. A source that begins again from its first row
            says 0; what was committed before is then recognised and skipped.

        Yields
        ------
        dict
            ``is_anomaly`` (None: not judged, which is not normal), ``score`` (calibrated severity
            in [0, 1]), ``severity``, ``p_value``, ``detectors`` (each one's own severity, None
            where it left the vote), ``start``, ``end``, ``time``, ``top_features``,
            ``incident_id`` of the open incident, ``warm_up``, ``stream``.

        Raises
        ------
        RuntimeError
            When this engine processes a stream already, or stopped in the middle of a batch.
        """
        self._check_fitted()
        if self._live or self._broken:
            raise RuntimeError("this engine stopped in the middle of a batch: load it again, to go "
                               "on after its last commit" if self._broken else
                               "this engine already processes a stream: fork it for another")
        self._live = True
        loop, config = asyncio.get_running_loop(), self.config
        worker = Worker(f"engine-{config.stream}")
        done: asyncio.Queue = asyncio.Queue()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.close)
            stack.callback(worker.stop)
            await asyncio.wrap_future(worker.submit(self._open_store))
            if isinstance(source, Source):
                source = await stack.enter_async_context(contextlib.aclosing(source.samples(
                    features=self.features_, position=self._processor.position)))
            inbox = Inbox(config.queue_size, config.overflow, self._metrics,
                           self._processor.position + 1 if start is None else start)
            stack.push_async_callback(_cancel, loop.create_task(
                inbox.fill(source, config.batch_windows * config.stride)))
            stack.push_async_callback(_cancel, loop.create_task(self._respond(done)))
            if self._service is not None:
                await stack.enter_async_context(self._service)
            # whoever leaves early waits for the batch that is under way
            stack.push_async_callback(lambda: asyncio.wrap_future(worker.submit(lambda: None)))
            acks: list[tuple[int, Any]] = []
            last = False
            while not last:
                items, lost, arrived, last = await inbox.take(
                    config.batch_windows * config.stride, config.batch_seconds)
                acks += [(last_of(item), item.ack) for item in (*items, *lost) if item.ack]
                found, events = await asyncio.wrap_future(
                    worker.submit(self._step, items, lost, last))
                ready = [ack for seq, ack in acks if seq <= self._processor.position]
                acks = [(seq, ack) for seq, ack in acks if seq > self._processor.position]
                for ack in ready:
                    await ack()
                for event in events:
                    done.put_nowait(event)
                if self._service is not None:
                    self._service.wake()
                self._metrics.latency.observe(time.perf_counter() - arrived)
                for window in found:
                    yield window
            await done.join()
            inbox.raise_fault()

    def close(self) -> None:
        """End the detectors' threads; they begin again when they are needed."""
        for member in self._members:
            if member.worker is not None:
                member.worker.stop()
                member.worker = None
        self._live = False

    async def _respond(self, events: asyncio.Queue) -> None:
        while True:
            event = await events.get()
            await self.responses.run([event])
            events.task_done()

    def _step(self, items: list[Sample], lost: list[Sample], flush: bool
              ) -> tuple[list[dict[str, Any]], list[IncidentEvent]]:
        """One micro-batch, from samples to the commit."""
        began, self._broken = time.perf_counter(), True
        config, stream, before = self.config, self.config.stream, self._processor.position
        if self.store is not None:
            self._manager.apply(self.store.operator_state(stream, before))
        verdicts, quality = self.judge(items, flush=flush)
        quality += [QualityEvent(stream, "dropped", item.seq, last_of(item),
                                 time_of(item, config.sampling_period), "the queue was full")
                    for item in lost]
        events, found = [], []
        for verdict in verdicts:
            events += self._manager.step(verdict)
            found.append(self._window(verdict))
        if self.store is not None and (self._processor.position > before or quality):
            alpha_info = config.alpha_info or 3 * config.alpha
            stored = [verdict for verdict in verdicts if verdict.p_value <= alpha_info]
            self.store.commit(
                stream, self._processor.position, self._state(), stored, events,
                quality, self._service.rows(events, stored) if self._service else [])
        self._metrics.count(self._processor.position - before, verdicts, events, quality)
        self._metrics.batch.labels(stream).observe(time.perf_counter() - began)
        self._broken = False
        return found, events

    def _window(self, verdict: Verdict) -> dict[str, Any]:
        incident = self._manager.incident(verdict.stream)
        unknown = verdict.p_value != verdict.p_value
        return {
            "is_anomaly": verdict.is_anomaly, "score": None if unknown else verdict.score,
            "severity": verdict.severity, "p_value": None if unknown else verdict.p_value,
            "detectors": verdict.detectors, "start": verdict.start, "end": verdict.end,
            "time": verdict.time, "top_features": verdict.top_features,
            "incident_id": incident and incident.id,
            "warm_up": verdict.end - (self._processor.first or 0) < self.config.warm_up,
            "stream": verdict.stream}

    # -- state ----------------------------------------------------------------------------------

    def _open_store(self) -> None:
        alerts = self.config.alert_config
        if alerts.storage is None:
            return
        if self.store is None:
            self.store = AlertStore(alerts.storage.path)
            if (saved := self.store.restore(self.config.stream)) is not None:
                self._restore(*saved)
        notification = alerts.notification or NotificationConfig()
        channels = [*open_channels(notification, self.store, alerts.storage), *self.channels]
        if channels:
            self._service = NotificationService(notification, self.store, channels=channels)

    def _state(self) -> bytes:
        """All that later verdicts and incidents depend on."""
        drift = None
        if self._drift is not None:  # the reference is the fitted model's
            drift = {k: v for k, v in self._drift.get_state().items() if k != "reference"}
        return _pack({
            "model": self._fingerprint(), "processor": self._processor.state(),
            "manager": self._manager.state(), "drift": drift,
            "members": [[member.tail, member.snapshot()] for member in self._members]})

    def _restore(self, position: int, state: bytes) -> None:
        saved = _unpack(state)
        self._manager.restore(saved["manager"])
        if saved["model"] != self._fingerprint():  # fitted anew: a window is needed to warm up
            log.warning("stream %s goes on after sample %d with another model",
                        self.config.stream, position)
            self._processor.skip(position)
            return
        self._processor.restore(saved["processor"])
        for member, (tail, snapshot) in zip(self._members, saved["members"], strict=True):
            member.tail = tail
            member.restore(snapshot)
        if self._drift is not None and saved["drift"] is not None:
            self._drift.set_state({**saved["drift"], "reference": self._drift.reference_})

    def _fingerprint(self) -> int:
        return zlib.crc32(self._held_out.tobytes(), self.config.window_size)

    def save(self, path: str | Path) -> Path:
        """Write what was fitted to a folder, whole or not at all; no secret goes there.

        Raises
        ------
        FileExistsError
            When ``path`` exists and is no saved engine.
        """
        self._check_fitted()
        path = as_path(path, "path")
        with replaced_folder(path, "engine.json") as folder:
            for i, member in enumerate(self._members):
                persist.save(member.model, folder / f"detector-{i}")
            safetensors.save_file(
                {"held_out": self._held_out, "center": self._center, "scale": self._scale,
                 "longest": self._longest, "background": self._background},
                folder / "arrays.safetensors")
            (folder / "engine.json").write_text(json.dumps(
                {"format": FORMAT, "features": self.features_,
                 "detectors": [member.name for member in self._members],
                 "config": self.config.model_dump(mode="json", exclude={"alert_config"})},
                indent=1), encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path,
             config: EngineConfig | Mapping[str, Any] | str | Path | None = None, *,
             channels: Sequence[Channel] = ()) -> Self:
        """An engine that `save` wrote.

        Parameters
        ----------
        path : path
        config : optional
            Budgets, alerts and the like may differ from those at fit; detectors and window may not.
            Default: as saved, without alerts (they may hold secrets).
        channels : sequence of Channel
            Further receivers.

        Returns
        -------
        RealTimeAnomalyDetector

        Raises
        ------
        FileNotFoundError, ValueError
            When ``path`` is no saved engine, is damaged, or does not go with ``config``.
        """
        folder = as_path(path, "path")
        if not (folder / "engine.json").is_file():
            raise FileNotFoundError(f"path is not a saved engine (no engine.json): {folder}; "
                                    "fit an engine and save it there first")
        try:
            saved = json.loads((folder / "engine.json").read_bytes())
            fmt = saved["format"]
            names, features, fitted = saved["detectors"], saved["features"], saved["config"]
            arrays = safetensors.load_file(folder / "arrays.safetensors") if fmt == FORMAT else {}
        except Exception as error:  # whatever a damaged file may cause in what reads it
            raise ValueError(f"{folder} is damaged: {type(error).__name__}: {error}") from error
        if fmt != FORMAT:
            raise ValueError(f"{folder} has format {fmt!r}, this version of adlib reads format "
                             f"{FORMAT}")
        foreign = [name for name in _detectors(fitted) if ":" in str(name)
                   and not str(name).startswith(("adlib.", "sklearn."))]
        if config is None and foreign:
            raise ValueError(f"{folder} names the detector {foreign[0]!r}, and a file must not "
                             f"make Python import it: hand in config= with it")
        engine = cls(fitted if config is None else config, channels=channels)
        _check_same(fitted, engine.config)
        groups = engine.config.groups()
        members = []
        try:
            for i, name in enumerate(names):
                kind = find_class(groups[name].detector)
                model = persist.load(folder / f"detector-{i}", classes=[kind])
                members.append(Member(name, model, groups[name].weight))
            engine._take(features, members, **arrays)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{folder} is damaged: {type(error).__name__}: {error}") from error
        return engine

    def metrics_text(self) -> str:
        """Counters and gauges in Prometheus' text format."""
        if self.store is not None:
            self._metrics.outbox.clear()
            for (channel, state), n in self.store.backlog().items():
                self._metrics.outbox.labels(channel, state).set(n)
        if hasattr(self, "_members"):
            for member in self._members:
                self._metrics.off.labels(self.config.stream, member.name).set(member.off)
        return generate_latest(self._metrics.registry).decode()


def _detectors(config: Any) -> Iterator[Any]:
    """Every detector that a configuration names, however deep."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "detector":
                yield value
            elif key in ("detectors", "members") and isinstance(value, list):
                yield from (name for name in value if isinstance(name, str))
            yield from _detectors(value)
    elif isinstance(config, list):
        for value in config:
            yield from _detectors(value)


def _check_same(fitted: Mapping[str, Any], config: EngineConfig) -> None:
    now = config.model_dump(mode="json", include=set(_FITTED))
    for key in _FITTED:
        if fitted.get(key) != now[key]:
            raise ValueError(f"config.{key} is not what the engine was fitted with: fit again")


def _longest_runs(X: Rows) -> Scores:
    """Samples in a row without a change, by feature; inf for one that never changes."""
    longest = np.ones(X.shape[1])
    for j, column in enumerate(X.T):
        changes = np.flatnonzero(np.diff(column, prepend=np.nan, append=np.nan) != 0)
        longest[j] = np.inf if len(changes) <= 2 else np.diff(changes).max()
    return longest


async def _cancel(task: asyncio.Task) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


# -- the state as bytes -------------------------------------------------------------------------


def _pack(tree: Any) -> bytes:
    """Plain values and arrays as bytes, without pickle."""
    arrays: dict[str, NDArray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[str(len(arrays))] = np.ascontiguousarray(value)
            return {"array": str(len(arrays) - 1)}
        return value.item() if isinstance(value, np.generic) else repr(value)

    text = json.dumps(tree, default=plain).encode()
    return safetensors.save({**arrays, "tree": np.frombuffer(text, np.uint8)})


def _unpack(data: bytes) -> Any:
    arrays = safetensors.load(data)

    def whole(value: dict) -> Any:
        return arrays[value["array"]] if value.keys() == {"array"} else value

    return json.loads(arrays["tree"].tobytes(), object_hook=whole)
