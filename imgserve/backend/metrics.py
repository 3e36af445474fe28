"""What a backend counts, in Prometheus' text format."""

from flask import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from imgserve.backend.admission import Gate
from imgserve.contract import Timings

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, saying when it began

STAGES = ("fetch", "decode", "preprocess", "inference", "total")
# From a small model's inference to a slow host's picture, seconds.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        labels = ("method", "route", "status")
        self.requests = Counter("imgserve_requests", "Answered.", labels, registry=registry)
        self.errors = Counter("imgserve_errors", "By problem type.", ("type",), registry=registry)
        self.predictions = Counter(
            "imgserve_predictions", "Pictures classified.", ("model",), registry=registry
        )
        self.stages = Histogram(
            "imgserve_stage_seconds",
            "Time a prediction spent in each stage.",
            ("stage",),
            buckets=BUCKETS_S,
            registry=registry,
        )

    def watch(self, gate: Gate) -> None:
        """Show the queue's state whenever the metrics are read."""
        waiting = Gauge("imgserve_queue_requests", "Requests waiting.", registry=self.registry)
        waiting.set_function(lambda: gate.waiting)
        computing = Gauge(
            "imgserve_inferences_in_progress", "Requests computing.", registry=self.registry
        )
        computing.set_function(lambda: gate.computing)

    def predicted(self, model: str, timings: Timings) -> None:
        """Count one prediction and the time of its stages."""
        self.predictions.labels(model).inc()
        for stage in STAGES:
            self.stages.labels(stage).observe(getattr(timings, stage) / 1000)

    def page(self) -> Response:
        """Return all metrics as Prometheus reads them."""
        return Response(generate_latest(self.registry), content_type=CONTENT_TYPE_LATEST)
