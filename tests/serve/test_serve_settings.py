"""Settings refuse what cannot be, and what would open the server by accident."""

from __future__ import annotations

from typing import Any

import pytest

from glesam.errors import ConfigError
from glesam.serve.settings import ServerSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_local_hosts_need_no_token(host: str) -> None:
    assert ServerSettings(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org"])
def test_other_hosts_need_a_token_or_the_flag(host: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a token for host .*GLESAM_TOKEN.*--public-without-token"):
        ServerSettings(host=host)
    assert not ServerSettings(host=host, token="secret").is_local
    assert not ServerSettings(host=host, public_without_token=True).is_local


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_length": 0},
        {"cache_entries": -1},
        {"threads": 0},
        {"read_seconds": 0.0},
        {"answer_seconds": float("nan")},
        {"answer_seconds": float("inf")},
        {"port": 65536},
        {"max_bytes": 0},
        {"grace_seconds": 0.0},
        {"upload_seconds": float("nan")},
        {"max_connections": 0},
        {"work_bytes": 0},
        {"store_bytes": 1000},
        {"token": ""},
        {"token": "two words"},
        {"token": "gr\u00fcn"},
    ],
)
def test_impossible_values_are_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^expected [^\n]*, got [^\n]*; [^\n]+$"):
        ServerSettings(**wrong)


def test_a_token_is_not_shown() -> None:
    assert "hunter2" not in repr(ServerSettings(token="hunter2"))
