"""What Prometheus may scrape of shadow traffic: none of it is in the metrics of an alias's calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from uuid import UUID

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tenfold_platform.gateway.shadows import Durations, Key, Shadows
from tenfold_platform.gateway.snapshot import Shadow, Snapshot
from tenfold_platform.gateway.traffic import BOUNDS_SECONDS

MAX_SHADOWS = 1000
_LABELS = ["workspace", "model", "alias", "version", "shadow"]
_EVERY = 2  # second bound, as of the calls of models


class ShadowMetrics(Collector):
    """`version` is the number of the version that answered the caller, `shadow` that of the shadow."""

    def __init__(self, shadows: Shadows, snapshot: Callable[[], Snapshot | None]) -> None:
        self._shadows = shadows
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "tenfold_shadow_calls",
            "Calls sampled for a shadow, by what came of them.",
            labels=[*_LABELS, "outcome"],
        )
        seconds = HistogramMetricFamily(
            "tenfold_shadow_seconds",
            "How long the compared calls took, by who answered: primary or shadow.",
            labels=[*_LABELS, "by"],
        )
        for labels, key in self._known():
            tally = self._shadows.totals[key]
            for outcome, count in tally.counts.items():
                calls.add_metric([*labels, outcome], count)
            for by, durations in (("primary", tally.primary), ("shadow", tally.shadow)):
                seconds.add_metric([*labels, by], _cumulated(durations), durations.seconds)
        yield from (calls, seconds)

    def _known(self) -> Iterator[tuple[list[str], Key]]:
        """Of the shadows that there are. The totals of those that are gone are forgotten."""
        snapshot = self._snapshot()
        if snapshot is None:
            return
        shadows: dict[UUID, Shadow] = {
            shadow.id: shadow
            for workspace in snapshot.workspaces.values()
            for model in workspace.models.values()
            for shadow in model.shadows.values()
        }
        totals = self._shadows.totals
        for key in [key for key in totals if key[0] not in shadows or key[1] not in snapshot.versions]:
            del totals[key]
        for shadow_id, version_id in islice(sorted(totals, reverse=True), MAX_SHADOWS):
            shadow, version = shadows[shadow_id], snapshot.versions[version_id]
            names = [version.workspace_name, version.model_name, shadow.alias]
            yield [*names, str(version.number), str(shadow.version.number)], (shadow_id, version_id)


def _cumulated(durations: Durations) -> list[tuple[str, float]]:
    sums = list(accumulate(durations.buckets))
    kept = range(_EVERY - 1, len(BOUNDS_SECONDS), _EVERY)
    return [*((str(BOUNDS_SECONDS[place]), float(sums[place])) for place in kept), ("+Inf", float(sums[-1]))]
