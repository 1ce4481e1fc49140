"""Counters and latencies for Prometheus, by its own client library, in a registry for each server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency histogram in seconds."""

Reading = tuple[dict[str, str], float]
"""Labels, such as `{"lane": "model"}`, and value."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp for each counter: lines that nobody draws


class Metrics:
    """Counts requests by path and status, and their seconds by path."""

    def __init__(self) -> None:
        # A registry of its own: several servers in one process, as in tests, count apart.
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "glesam_requests", "Answered requests.", ["path", "method", "status"], registry=self._registry
        )
        text = "Seconds from the head of a request to the end of its answer."
        self._seconds = Histogram("glesam_request_seconds", text, ["path"], registry=self._registry, buckets=BUCKETS)

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `path` and `method` are from small sets, so that labels stay few."""
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def add(self, name: str, kind: str, text: str, read: Callable[[], Iterable[Reading]]) -> None:
        """Add a metric that is read when it is asked for.

        Args:
            name: of the metric; that of a counter ends in `_total`.
            kind: "gauge" or "counter".
            text: help.
            read: gives samples.
        """
        self._registry.register(_Read(name, kind, text, read))

    def render(self) -> str:
        """All metrics in the text format, version 0.0.4."""
        return generate_latest(self._registry).decode()


class _Read(Collector):
    """A metric whose samples a function gives."""

    def __init__(self, name: str, kind: str, text: str, read: Callable[[], Iterable[Reading]]) -> None:
        self._name, self._text, self._read = name, text, read
        self._family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily

    def describe(self) -> Iterable[Metric]:
        """The metric without samples: registering must not read them, as a server is not whole yet."""
        return [self._family(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        """The metric with its samples of now."""
        samples = [(dict(labels), value) for labels, value in self._read()]
        family = self._family(self._name, self._text, labels=list(samples[0][0]) if samples else [])
        for labels, value in samples:
            family.add_metric(list(labels.values()), value)
        return [family]


def resident_bytes() -> list[Reading]:
    """Memory of this process, where the system reports it (Linux)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return []
    return [({}, int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))]
