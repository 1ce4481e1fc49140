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
from glesam.cli.export import ExportOptions
from glesam.cli.segment.command import SegmentOptions
from glesam.cli.serve import ServeOptions
from glesam.cli.train import BundleOptions
from glesam.cli.verb_options import VerbOptions, takes
from glesam.common.settings import validated
from glesam.errors import ConfigError


class Toy(VerbOptions):
    count: Annotated[int, typer.Option(min=1, envvar="TOY_COUNT")] = 2
    names: Annotated[list[str] | None, typer.Option("--name")] = None
    as_json: Annotated[bool, typer.Option("--json"), Field(alias="json")] = False


class Needy(VerbOptions):
    inputs: Annotated[list[str], typer.Argument()]
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to.")]
    count: Annotated[int, typer.Option(min=1, envvar="TOY_COUNT")] = 2


def run(
    *arguments: str, kind: type[VerbOptions] = Toy, **environment: str
) -> tuple[VerbOptions | None, BaseException | None, int]:
    app, seen = typer.Typer(), []

    @app.command()
    @takes(kind)
    def verb(options: VerbOptions) -> None:
        seen.append(options)

    result = CliRunner().invoke(app, list(arguments), env=environment)
    return (seen[0] if seen else None), result.exception, result.exit_code


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


def test_what_is_required_may_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "needy.json"
    path.write_text('{"inputs": ["a"], "output": "there"}')
    assert run("--config", str(path), kind=Needy)[0] == Needy(inputs=["a"], output="there")
    assert run("b", "--config", str(path), kind=Needy)[0] == Needy(inputs=["b"], output="there")
    assert run("b", "c", "-o", "here", kind=Needy)[0] == Needy(inputs=["b", "c"], output="here")
    options, error, _ = run("b", kind=Needy)
    assert options is None
    assert isinstance(error, ConfigError)
    assert str(error) == "expected a value for option 'output', got none; it has no default, so give one"
    path.write_text('{"inputs": ["a"], "ouput": "there"}')
    assert "did you mean 'output'?" in str(run("--config", str(path), kind=Needy)[1])


VERBS = {
    "segment": {"inputs": ["x.jpg"]},
    "degrade": {"inputs": ["x.jpg"], "output": "lq"},
    "data build": {"source": "set", "output": "lq"},
    "data verify": {"folder": "lq"},
    "data check": {"folder": "set"},
    "evaluate": {"data": ["set"], "out": "report"},
    "export": {"output": "graphs"},
    "serve": {"port": 0},
    "train average": {"runs": ["a", "b"], "out": "mean"},
    "train bundle": {"out": "enhancer"},
    "train words": {"out": "words", "data": "sets"},
    "train prior": {"out": "run", "data": {"set": 1.0}},
    "train base": {"out": "run", "cache": "packs", "resume": True, "data": {"set": 1.0}},
}
"""A file for each verb that leaves nothing to the command line."""


@pytest.mark.parametrize("verb", VERBS)
def test_the_file_can_hold_all_that_a_verb_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    from glesam.cli import app

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "options.json"
    path.write_text(json.dumps({**VERBS[verb], "sede": 1}))
    result = CliRunner().invoke(app, [*verb.split(), "--config", str(path)])
    assert result.exit_code == 2
    assert "option, got 'sede'; did you mean" in result.stderr or "option, got 'sede'; known are" in result.stderr
    path.write_text("{}")
    needed = [key for key in VERBS[verb] if key in ("inputs", "source", "folder", "output", "runs") or key == "out"]
    if needed and verb != "evaluate":
        result = CliRunner().invoke(app, [*verb.split(), "--config", str(path)])
        assert result.exit_code == 2
        assert f"option {needed[0]!r}, got none; it has no default" in result.stderr


def test_flags_keep_their_bounds() -> None:
    assert run("--count", "0")[2] == 2


@pytest.mark.parametrize(
    "made",
    [
        ServeOptions(port=1, quality="high", token="t"),
        EvaluateOptions(data=["a"], out="b", limit=2),
        SegmentOptions(inputs=["x.jpg"], point=["1,2"], json=True, refine="off", layout="dataset", labels=["labelme"]),
        DegradeOptions(inputs=["x.jpg"], output="lq", level="1"),
        ExportOptions(output="graphs", format="openvino"),
        BundleOptions(out="enhancer", half=True),
        BuildOptions(source="a", output="set", workers=1),
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
