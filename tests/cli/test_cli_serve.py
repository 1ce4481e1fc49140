"""`glesam serve`: options, and one line for what is missing or impossible; serving itself is tested with the server."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from glesam.cli import app, load_verb

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["serve", *arguments], env=environment)


def test_options_reach_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from glesam.serve import run

    seen: list[Any] = []
    monkeypatch.setattr(run, "serve", lambda settings, ready: seen.append((settings, ready("http://x:1"))))
    result = call(
        *("--host", "0.0.0.0", "--port", "7", "--model", "m", "--device", "cpu", "--enhance", "off", "--threads", "3"),
        *("--max-megabytes", "200", "--max-megapixels", "1.5", "--max-objects", "9", "--timeout", "5", "--queue", "6"),
        *("--cache", "8", "--enhancer", "e", "--head", "hq", "--head-mode", "sum", "--restore", "median"),
        GLESAM_TOKEN="secret",
    )
    assert result.exit_code == 0, result.output
    settings = seen[0][0]
    assert (settings.host, settings.port, settings.model, settings.device) == ("0.0.0.0", 7, "m", "cpu")
    assert (settings.enhance, settings.threads, settings.token) == ("off", 3, "secret")
    assert (settings.max_bytes, settings.max_pixels, settings.max_objects) == (200 * 2**20, 1_500_000, 9)
    assert (settings.enhancer, settings.head, settings.head_mode, settings.restore) == ("e", "hq", "sum", "median")
    assert (settings.answer_seconds, settings.queue_length, settings.cache_entries) == (5, 6, 8)
    assert "http://x:1" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("said", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    from glesam.serve import run

    monkeypatch.setenv("OMP_WAIT_POLICY", said or "")  # so that it is as before after the test
    if said is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    seen: list[str | None] = []
    monkeypatch.setattr(run, "serve", lambda *_: seen.append(os.environ.get("OMP_WAIT_POLICY")))
    CliRunner().invoke(app, ["serve"], catch_exceptions=False)
    assert seen == [said or "PASSIVE"]


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "uvicorn" else find(name, *a))
    result = call()
    assert result.exit_code == 2
    assert result.stderr == (
        "glesam: error: expected the packages of glesam serve, got none named uvicorn; "
        "run: pip install 'glesam[serve]'\n"
    )


def test_an_open_door_needs_a_token() -> None:
    result = call("--host", "0.0.0.0")
    assert result.exit_code == 2
    assert result.stderr.startswith("glesam: error: expected a token for host 0.0.0.0")
    assert len(result.stderr.splitlines()) == 1


def test_a_taken_port_and_an_unknown_host_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = call("--port", str(taken.getsockname()[1]))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "expected to listen on 127.0.0.1, port" in result.stderr
    assert "choose another with --host and --port" in result.stderr


def test_an_unknown_model_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import signal

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    result = call("--port", "0", "--model", str(tmp_path / "none"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "none" in result.stderr


def test_messages_of_server_and_page_name_options_that_exist() -> None:
    folder = Path(str(importlib.util.find_spec("glesam.serve").submodule_search_locations[0]))  # type: ignore[union-attr, index]
    files = [*folder.glob("*.py"), *folder.glob("page/*.js")]
    named = {flag for path in files for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", path.read_text("utf-8"))}
    verbs = [load_verb(name) for name in ("serve", "segment")]
    known = {flag for verb in verbs for option in verb.params for flag in (*option.opts, *option.secondary_opts)}
    assert {"--max-megapixels", "--max-megabytes", "--memory"} <= named
    assert named - known == {"--preload"}  # gunicorn's
