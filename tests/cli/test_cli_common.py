"""Errors to lines and exit status, and the progress bar."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console

from glesam.cli import common
from glesam.errors import ConfigError, DataError, GlesamError, ImageError, ModelError, PromptError


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GlesamError("text"), 1),
        (ImageError("text"), 1),
        (DataError("text"), 1),
        (ConfigError("text"), 2),
        (PromptError("text"), 2),
        (ModelError("text"), 2),
        (OSError("text"), 1),
    ],
)
def test_errors_become_one_line_and_a_status(error: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        common.run(raising, error)
    assert caught.value.exit_code == status
    assert capsys.readouterr() == ("", "glesam: error: text\n")


def test_system_errors_name_file_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        common.run((tmp_path / "none").read_text)
    assert capsys.readouterr().err == f"glesam: error: {tmp_path / 'none'}: No such file or directory\n"


def test_a_message_of_several_lines_is_printed_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        common.run(raising, ImageError("got a\nb.jpg\r\nand [bold]c[/bold]"))
    assert capsys.readouterr().err == "glesam: error: got a b.jpg and [bold]c[/bold]\n"


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        common.run(raising, KeyboardInterrupt())
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a"), AssertionError(), BrokenPipeError(32, "pipe")])
def test_programming_errors_and_closed_pipes_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        common.run(raising, error)
    assert caught.value is error


def test_a_readers_eof_is_no_abort() -> None:
    with pytest.raises(RuntimeError, match="a file ended where more was expected"):
        common.run(raising, EOFError())


def test_decorated_functions_keep_their_signature_and_result() -> None:
    @common.handle_errors
    def double(number: int, times: int = 2) -> int:
        """Multiply."""
        return number * times

    assert double(4) == 8
    assert common.run(double, 3, times=5) == 15
    assert (double.__name__, double.__doc__) == ("double", "Multiply.")


def test_nested_handlers_report_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        common.run(common.run, raising, ConfigError("text"))
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "glesam: error: text\n"


def drawn(monkeypatch: pytest.MonkeyPatch, total: int | None, terminal: bool) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(common, "messages", Console(file=stream, force_terminal=terminal, width=80))
    with common.progress(total, "segment") as advance:
        advance()
        advance(2, description="nearly")
    return stream.getvalue()


def test_progress_is_drawn_on_a_terminal_for_several_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, 3, terminal=True)
    assert "nearly" in text
    assert "3/3" in text
    assert drawn(monkeypatch, 1, terminal=True) == ""
    assert drawn(monkeypatch, 3, terminal=False) == ""
