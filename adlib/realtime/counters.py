"""What an engine counts: in Prometheus' terms, and in words."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from adlib.arguments import require_extra
from adlib.realtime.events import IncidentEvent, QualityEvent, Verdict


class Counters:
    """Counters of one engine, in a registry of their own."""

    def __init__(self, stream: str):
        self._library = require_extra("prometheus_client", "live")
        self._lock = threading.Lock()
        self.stream, self.registry = stream, self._library.CollectorRegistry()
        Counter, Gauge, Histogram = (
            self._library.Counter, self._library.Gauge, self._library.Histogram)

        def make(kind: Any, name: str, text: str, *labels: str, **more: Any) -> Any:
            return kind(f"adlib_{name}", text, labels, registry=self.registry, **more)

        self.samples = make(Counter, "samples", "Samples taken", "stream").labels(stream)
        self.windows = make(Counter, "windows", "Windows by verdict", "stream", "verdict")
        self.events = make(Counter, "incident_events", "Steps of incidents", "stream", "kind")
        self.quality = make(Counter, "quality_events", "Data-quality events", "stream", "kind")
        self.failures = make(Counter, "detector_failures", "Batches without a detector",
                             "stream", "detector", "kind")
        self.dropped = make(Counter, "samples_dropped", "Samples dropped", "stream").labels(stream)
        self.queue = make(Gauge, "queue_samples", "Samples that wait", "stream").labels(stream)
        self.off = make(Gauge, "detector_off", "Switched off", "stream", "detector")
        self.outbox = make(Gauge, "outbox_messages", "Not delivered", "channel", "state")
        self.ready = make(Gauge, "ready", "1: windows are judged", "stream").labels(stream)
        self.conditions = make(Gauge, "health", "Open incidents of kind health", "stream",
                               "condition")
        self.batch = make(Histogram, "batch_seconds", "From samples to the commit", "stream")
        self.latency = make(Histogram, "latency_seconds",
                            "From a batch's first arrival to its verdicts", "stream", buckets=(
                                .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)).labels(stream)

    def text(self, ready: bool, incidents: Iterable[Mapping[str, Any]],
             backlog: Mapping[tuple[str, str], int], off: Mapping[str, bool]) -> str:
        """All of them in Prometheus' text format, with what stands at this moment."""
        with self._lock:
            self.ready.set(ready)
            self.outbox.clear()
            self.conditions.clear()
            for incident in incidents:
                name = incident["id"].split("|")[1].removeprefix("health.")
                self.conditions.labels(self.stream, name).inc()
            for (channel, state), n in backlog.items():
                self.outbox.labels(channel, state).set(n)
            for name, out in off.items():
                self.off.labels(self.stream, name).set(out)
            return self._library.generate_latest(self.registry).decode()

    def count(self, samples: int, verdicts: list[Verdict], events: list[IncidentEvent],
              quality: list[QualityEvent]) -> None:
        self.samples.inc(samples)
        names = {True: "anomaly", False: "normal", None: "unjudged"}
        for kind, n in Counter(verdict.is_anomaly for verdict in verdicts).items():
            self.windows.labels(self.stream, names[kind]).inc(n)
        for event in events:
            self.events.labels(self.stream, event.kind).inc()
        for fault in quality:
            self.quality.labels(self.stream, fault.kind).inc()


class Tally:
    """What became of a stream's rows, for those who ask why nothing was judged.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.count(3, [], [QualityEvent("rig", "poison", 0, 1, 0.0, "not numbers: '?'")])
    >>> tally.account(20)
    "3 rows came: 2 could not be read (the first: not numbers: '?'); a window takes 20"
    """

    _LOST = {"poison": "could not be read", "duplicate": "were taken before",
             "late": "came too late", "dropped": "found the queue full", "gap": "never came"}
    _OTHER = {"nan": "missing values", "stuck": "values that stood still", "drift": "drift",
              "out_of_order": "samples out of order", "clock": "times that are not believed",
              "detector_failed": "a detector failed",
              "detector_slow": "a detector was late"}

    def __init__(self) -> None:
        self.rows = self.judged = 0
        self.lost: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def count(self, rows: int, verdicts: Iterable[Verdict], quality: Iterable[QualityEvent]
              ) -> None:
        """Add what came, and what became of it."""
        self.rows += rows
        self.judged += sum(verdict.is_anomaly is not None for verdict in verdicts)
        for event in quality:
            # the first one first: other threads ask for it where something was lost
            self._first.setdefault(event.kind, event.detail.removeprefix("ValueError: "))
            self.lost[event.kind] += event.end - event.start + 1

    @classmethod
    def sum(cls, tallies: Iterable["Tally"]) -> "Tally":
        """What became of the rows of several streams."""
        total = cls()
        for one in tallies:
            total.rows, total.judged = total.rows + one.rows, total.judged + one.judged
            total._first = {**one._first, **total._first}
            total.lost.update(one.lost)
        return total

    @property
    def unreadable(self) -> bool:
        """Whether rows came, and none could be read."""
        return 0 < self.rows <= self.lost["poison"]

    def account(self, window_size: int) -> str:
        """One sentence, without its full stop."""
        if not self.rows:
            return "no row came"
        said = [f"{self.lost[kind]:,} {words} (the first: {self._first[kind]})" if kind == "poison"
                else f"{self.lost[kind]:,} {words}"
                for kind, words in self._LOST.items() if kind in self.lost]
        said += [f"{words} (the first: {self._first[kind].removeprefix('missing: ')})"
                 for kind, words in self._OTHER.items() if kind in self.lost]
        left = self.rows - sum(self.lost[kind] for kind in ("poison", "duplicate", "late"))
        short = f"; a window takes {window_size:,}" if left < window_size else ""
        came = f"{self.rows:,} row{'s' * (self.rows > 1)} came"
        return f"{': '.join([came, *[', '.join(said)] * bool(said)])}{short}"
