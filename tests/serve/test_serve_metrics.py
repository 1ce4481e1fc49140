"""The text format, read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from glesam.serve.metrics import BUCKETS, Metrics, resident_bytes


def value(text: str, name: str, **labels: str) -> float:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def kinds(text: str) -> dict[str, str]:
    return {family.name: family.type for family in text_string_to_metric_families(text)}


def test_requests_and_latencies_are_counted() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.005, 0.02, 99.0):
        metrics.observe("/v1/segment", "POST", 200, seconds)
    metrics.observe("/v1/segment", "POST", 422, 0.001)
    text = metrics.render()
    where = {"path": "/v1/segment", "method": "POST"}
    assert value(text, "glesam_requests_total", **where, status="200") == 4
    assert value(text, "glesam_requests_total", **where, status="422") == 1
    for bound in BUCKETS:
        expected = sum(s <= bound for s in (0.004, 0.005, 0.02, 99.0, 0.001))
        assert value(text, "glesam_request_seconds_bucket", path="/v1/segment", le=str(bound)) == expected
    assert value(text, "glesam_request_seconds_bucket", path="/v1/segment", le="+Inf") == 5
    assert value(text, "glesam_request_seconds_count", path="/v1/segment") == 5
    assert abs(value(text, "glesam_request_seconds_sum", path="/v1/segment") - 99.03) < 1e-3
    assert "_created" not in text


def test_added_metrics_are_read_when_asked() -> None:
    metrics, level = Metrics(), [1.0]
    metrics.add("things", "gauge", "How many.", lambda: [({}, level[0])])
    metrics.add("of_a_kind", "gauge", "How many of a kind.", lambda: [({"kind": "a"}, 2.5), ({"kind": "b"}, 3)])
    metrics.add("seen_total", "counter", "How many were seen.", lambda: [({"kind": "a"}, 7)])
    assert value(metrics.render(), "things") == 1
    level[0] = 12345678.0
    text = metrics.render()
    assert value(text, "things") == 12345678
    assert [value(text, "of_a_kind", kind=kind) for kind in "ab"] == [2.5, 3]
    assert value(text, "seen_total", kind="a") == 7
    assert {"things": "gauge", "seen": "counter"}.items() <= kinds(text).items()


def test_servers_of_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.observe("/v1/segment", "POST", 200, 0.1)
    assert "/v1/segment" not in second.render()


def test_resident_memory_is_that_of_a_python_process() -> None:
    for labels, size in resident_bytes():
        assert labels == {}
        assert 2**23 < size < 2**37
