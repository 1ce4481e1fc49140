"""The text format, read back by hand."""

from __future__ import annotations

import re

from glesam.serve.metrics import BUCKETS, Metrics, resident_bytes


def value(text: str, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.M)
    assert len(found) == 1, (name, found)
    return float(found[0])


def test_requests_and_latencies_are_counted() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.005, 0.02, 99.0):
        metrics.observe("/v1/segment", "POST", 200, seconds)
    metrics.observe("/v1/segment", "POST", 422, 0.001)
    text = metrics.render()
    assert value(text, 'glesam_requests_total{path="/v1/segment",method="POST",status="200"}') == 4
    assert value(text, 'glesam_requests_total{path="/v1/segment",method="POST",status="422"}') == 1
    for bound in BUCKETS:
        expected = sum(s <= bound for s in (0.004, 0.005, 0.02, 99.0, 0.001))
        assert value(text, f'glesam_request_seconds_bucket{{path="/v1/segment",le="{bound}"}}') == expected
    assert value(text, 'glesam_request_seconds_bucket{path="/v1/segment",le="+Inf"}') == 5
    assert value(text, 'glesam_request_seconds_count{path="/v1/segment"}') == 5
    assert abs(value(text, 'glesam_request_seconds_sum{path="/v1/segment"}') - 99.03) < 1e-3


def test_added_metrics_are_read_when_asked() -> None:
    metrics, level = Metrics(), [1.0]
    metrics.add("things", "gauge", "How many.", lambda: [("", level[0]), ('kind="a"', 2.5)])
    assert value(metrics.render(), "things") == 1
    level[0] = 12345678.0
    text = metrics.render()
    assert value(text, "things") == 12345678
    assert value(text, 'things{kind="a"}') == 2.5
    assert "# TYPE things gauge" in text


def test_resident_memory_is_that_of_a_python_process() -> None:
    for _, size in resident_bytes():
        assert 2**23 < size < 2**37
