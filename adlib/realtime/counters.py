"""What an engine counts, in Prometheus' terms."""

from typing import Any

from adlib.arguments import require_extra
from adlib.realtime.events import IncidentEvent, QualityEvent, Verdict


class Counters:
    """Counters of one engine, in a registry of their own."""

    def __init__(self, stream: str):
        self._library = require_extra("prometheus_client", "live")
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
        self.batch = make(Histogram, "batch_seconds", "From samples to the commit", "stream")
        self.latency = make(Histogram, "latency_seconds",
                            "From a batch's first arrival to its verdicts", "stream", buckets=(
                                .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10)).labels(stream)

    def text(self) -> str:
        """All of them in Prometheus' text format."""
        return self._library.generate_latest(self.registry).decode()

    def count(self, samples: int, verdicts: list[Verdict], events: list[IncidentEvent],
              quality: list[QualityEvent]) -> None:
        self.samples.inc(samples)
        for verdict in verdicts:
            kind = {True: "anomaly", False: "normal", None: "unjudged"}[verdict.is_anomaly]
            self.windows.labels(self.stream, kind).inc()
        for event in events:
            self.events.labels(self.stream, event.kind).inc()
        for fault in quality:
            self.quality.labels(self.stream, fault.kind).inc()
