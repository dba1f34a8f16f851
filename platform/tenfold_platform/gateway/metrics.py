"""What Prometheus may scrape. Labels come from a bounded set of names: whoever makes models cannot make memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tenfold_platform.gateway.model_metrics import ModelMetrics, Reading, in_turns
from tenfold_platform.gateway.shadow_metrics import ShadowMetrics

MAX_TARGETS = 1000
OTHER = "other"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Gauges = Callable[[], dict[str, float]]


class Calls:
    """Answered requests of one kind and target. `buckets`: those up to each bound, and one for what took longer."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0

    def note(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds += seconds
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1

    def copy(self) -> Calls:
        copied = Calls()
        copied.statuses, copied.buckets, copied.seconds = dict(self.statuses), list(self.buckets), self.seconds
        return copied


class Metrics:
    """`observe` is all that the request path calls; or `Calls.note`, where many requests are of one kind and target."""

    def __init__(self, gauges: Gauges, models: ModelMetrics, shadows: ShadowMetrics) -> None:
        self._models = models
        self._live = (_Gauges(gauges), shadows)
        self._registry = CollectorRegistry()
        self._worker_errors = Counter(
            "tenfold_gateway_worker_errors",
            "Calls that a worker did not answer with a value.",
            ["code"],
            registry=self._registry,
        )
        self._runs = Counter("tenfold_gateway_runs", "Worklet runs that ended.", ["state"], registry=self._registry)
        self._calls: dict[tuple[str, str], Calls] = {}

    def observe(self, kind: str, target: str, status: int, seconds: float) -> None:
        self.calls(kind, target).note(status, seconds)

    def calls(self, kind: str, target: str) -> Calls:
        """Where those of one target are counted. There is a bound on how many are told apart."""
        calls = self._calls.get((kind, target))
        if calls is None:
            labels = (kind, target if len(self._calls) < MAX_TARGETS else OTHER)
            calls = self._calls.setdefault(labels, Calls())
        return calls

    def worker_error(self, code: str) -> None:
        self._worker_errors.labels(code if code in _WORKER_CODES else OTHER).inc()

    def run_ended(self, state: str) -> None:
        self._runs.labels(state).inc()

    async def text(self) -> bytes:
        """Values are looked at here, where nothing else changes them; what is long, writing them out, is a thread's."""
        models = await self._models.read()
        live = [metric for collector in self._live for metric in collector.collect()]
        calls = {labels: calls.copy() for labels, calls in self._calls.items() if calls.statuses}
        return await asyncio.to_thread(self._written, calls, models, live)

    def _written(self, calls: Mapping[tuple[str, str], Calls], models: Reading, live: Sequence[Metric]) -> bytes:
        return generate_latest(_Collected([*_families(calls), *self._registry.collect(), *models.collect(), *live]))


def _families(calls: Mapping[tuple[str, str], Calls]) -> list[Metric]:
    requests = CounterMetricFamily(
        "tenfold_gateway_requests", "Answered requests.", labels=["kind", "target", "status"]
    )
    seconds = HistogramMetricFamily(
        "tenfold_gateway_request_seconds",
        "From the request's arrival to the last byte handed to the socket.",
        labels=["kind", "target"],
    )
    bounds = [*map(floatToGoString, _BUCKETS), "+Inf"]
    for (kind, target), seen in calls.items():
        for status, count in seen.statuses.items():
            requests.add_metric([kind, target, str(status)], count)
        counts = list(zip(bounds, accumulate(seen.buckets), strict=True))
        seconds.add_metric([kind, target], buckets=counts, sum_value=seen.seconds)
    return [requests, seconds]


_WORKER_CODES = frozenset(
    {
        "bad_input", "user_error", "not_ready", "load_failed", "cancelled", "bad_output", "unknown_target",
        "code_missing", "http", "queue_full", "worker_lost", "timeout", "bad_answer", "stopped", "unhealthy",
        "not_deployed", "failed",
    }
)  # fmt: skip


class _Collected(Collector):
    """What has been collected already, to be written out in a thread."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            metric.samples = _InTurns(metric.samples)
            yield metric


class _InTurns(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return in_turns(super().__iter__())


class _Gauges(Collector):
    """Numbers that are read when somebody asks."""

    def __init__(self, read: Gauges) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        for name, value in self._read().items():
            yield GaugeMetricFamily(f"tenfold_gateway_{name}", name.replace("_", " ").capitalize() + ".", value=value)
