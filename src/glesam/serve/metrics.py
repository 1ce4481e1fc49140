"""Counters and latencies in Prometheus' text format (version 0.0.4), without a library."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the latency histogram in seconds."""

Sample = tuple[str, float]


class Metrics:
    """Counts requests by path and status, and their seconds by path; touched by the event loop alone."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()
        self._gauges: dict[str, tuple[str, str, Callable[[], Iterable[Sample]]]] = {}

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `path` and `method` are from small sets, so that labels stay few."""
        self._requests[path, method, status] += 1
        counts = self._buckets.setdefault(path, [0] * (len(BUCKETS) + 1))
        counts[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[path] += seconds  # type: ignore[assignment]

    def add(self, name: str, kind: str, text: str, read: Callable[[], Iterable[Sample]]) -> None:
        """Add a metric that is read when it is asked for.

        Args:
            name: of the metric.
            kind: "gauge" or "counter".
            text: help.
            read: gives pairs of labels, such as `lane="model"` or an empty text, and value.
        """
        self._gauges[name] = (kind, text, read)

    def render(self) -> str:
        """All metrics as text."""
        lines = ["# HELP glesam_requests_total Answered requests.", "# TYPE glesam_requests_total counter"]
        for (path, method, status), count in sorted(self._requests.items()):
            lines.append(f'glesam_requests_total{{path="{path}",method="{method}",status="{status}"}} {count}')
        lines += self._histogram()
        for name, (kind, text, read) in self._gauges.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:.0f}" for labels, value in read()]
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        """Seconds by path, in cumulative buckets."""
        name = "glesam_request_seconds"
        lines = [
            f"# HELP {name} Seconds from the head of a request to the end of its answer.",
            f"# TYPE {name} histogram",
        ]
        for path, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{path="{path}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{path="{path}"}} {self._seconds[path]:.6f}')
            lines.append(f'{name}_count{{path="{path}"}} {total}')
        return lines


def resident_bytes() -> list[Sample]:
    """Memory of this process, where the system tells it (Linux)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return []
    return [("", int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))]
