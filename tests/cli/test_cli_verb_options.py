"""Options of a verb as one object: flags, the file of `--config`, and Python give the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from glesam.cli.data import BuildOptions
from glesam.cli.degrade import DegradeOptions
from glesam.cli.evaluate import EvaluateOptions
from glesam.cli.segment.command import SegmentOptions
from glesam.cli.serve import ServeOptions
from glesam.cli.verb_options import VerbOptions, takes
from glesam.common.settings import validated
from glesam.errors import ConfigError


class Toy(VerbOptions):
    count: Annotated[int, typer.Option(min=1, envvar="TOY_COUNT")] = 2
    names: Annotated[list[str] | None, typer.Option("--name")] = None
    as_json: Annotated[bool, typer.Option("--json"), Field(alias="json")] = False


def run(*arguments: str, **environment: str) -> tuple[Toy | None, BaseException | None, int]:
    app, seen = typer.Typer(), []

    @app.command()
    @takes(Toy)
    def verb(inputs: list[str], options: Toy) -> None:
        seen.append((inputs, options))

    result = CliRunner().invoke(app, ["a", "b", *arguments], env=environment)
    assert not seen or seen[0][0] == ["a", "b"]
    return (seen[0][1] if seen else None), result.exception, result.exit_code


def test_flags_win_over_the_environment_it_over_the_file_and_that_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps({"count": 5, "names": ["x"], "json": True}))
    assert run()[0] == Toy()
    assert run("--config", str(path))[0] == Toy(count=5, names=["x"], json=True)
    assert run("--config", str(path), TOY_COUNT="6")[0] == Toy(count=6, names=["x"], json=True)
    # The default said outright is said: it wins over the file.
    assert run("--config", str(path), "--count", "2", "--name", "y", "--name", "z")[0] == Toy(
        count=2, names=["y", "z"], json=True
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"coutn": 3}, "expected a known option, got 'coutn'; did you mean 'count'?"),
        ({"jsn": True}, "expected a known option, got 'jsn'; did you mean 'json'?"),
        ({"count": 0}, "expected options that fit together, got: count is 0, below 1"),
        ({"count": "many"}, "expected a valid value for option 'count', got 'many': "),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, content: dict, message: str) -> None:
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(content))
    options, error, _ = run("--config", str(path))
    assert options is None
    assert isinstance(error, ConfigError)
    assert str(error).startswith(message)
    assert "\n" not in str(error)


def test_flags_keep_their_bounds() -> None:
    assert run("--count", "0")[2] == 2


@pytest.mark.parametrize(
    "made",
    [
        ServeOptions(port=1, quality="high", token="t"),
        EvaluateOptions(data=["a"], out="b", limit=2),
        SegmentOptions(point=["1,2"], json=True, refine="off", layout="dataset", labels=["labelme"]),
        DegradeOptions(output="lq", level="1"),
        BuildOptions(output="set", workers=1),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_is_stored_is_what_python_and_the_command_give(made: VerbOptions) -> None:
    stored = json.loads(made.model_dump_json(by_alias=True))
    assert validated(type(made), stored, "option") == made
    key = max(stored, key=len)
    with pytest.raises(ConfigError, match=f"got '{key}s'; did you mean '{key}'"):
        validated(type(made), {**stored, f"{key}s": 1}, "option")


def test_segment_reads_its_file(tmp_path: Path) -> None:
    from glesam.cli import app

    path = tmp_path / "options.json"
    path.write_text('{"everthing": true}')
    result = CliRunner().invoke(app, ["segment", "x.jpg", "--config", str(path)])
    assert result.exit_code == 2
    assert "expected a known option, got 'everthing'; did you mean 'everything'?" in result.stderr
