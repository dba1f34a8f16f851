"""What Prometheus may scrape. Labels come from a bounded set of names: whoever makes models cannot make memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MAX_TARGETS = 1000
OTHER = "other"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Gauges = Callable[[], dict[str, float]]


class Metrics:
    """`observe` is all that the request path calls: one counter and one histogram, their children looked up once."""

    def __init__(self, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tenfold_gateway_requests", "Answered requests.", ["kind", "target", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "tenfold_gateway_request_seconds",
            "From the request's arrival to the last byte handed to the socket.",
            ["kind", "target"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._worker_errors = Counter(
            "tenfold_gateway_worker_errors",
            "Calls that a worker did not answer with a value.",
            ["code"],
            registry=self._registry,
        )
        self._runs = Counter("tenfold_gateway_runs", "Worklet runs that ended.", ["state"], registry=self._registry)
        self._registry.register(_Gauges(gauges))
        self._targets: set[tuple[str, str]] = set()
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._seconds_children: dict[tuple[str, str], Histogram] = {}

    def observe(self, kind: str, target: str, status: int, seconds: float) -> None:
        counter = self._request_children.get((kind, target, status))
        if counter is None:
            bounded = self._bounded(kind, target)
            counter = self._requests.labels(kind, bounded, str(status))
            histogram = self._seconds.labels(kind, bounded)
            if bounded == target:
                self._request_children[kind, target, status] = counter
                self._seconds_children[kind, target] = histogram
        else:
            histogram = self._seconds_children[kind, target]
        counter.inc()
        histogram.observe(seconds)

    def worker_error(self, code: str) -> None:
        self._worker_errors.labels(code if code in _WORKER_CODES else OTHER).inc()

    def run_ended(self, state: str) -> None:
        self._runs.labels(state).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def _bounded(self, kind: str, target: str) -> str:
        if (kind, target) in self._targets:
            return target
        if len(self._targets) >= MAX_TARGETS:
            return OTHER
        self._targets.add((kind, target))
        return target


_WORKER_CODES = frozenset(
    {
        "bad_input", "user_error", "not_ready", "load_failed", "cancelled", "bad_output", "unknown_target",
        "code_missing", "http", "queue_full", "worker_lost", "timeout", "bad_answer", "stopped", "unhealthy",
        "not_deployed", "failed",
    }
)  # fmt: skip


class _Gauges(Collector):
    """Numbers that are read when somebody asks."""

    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"tenfold_gateway_{name}", name.replace("_", " ").capitalize() + ".", value=value)
