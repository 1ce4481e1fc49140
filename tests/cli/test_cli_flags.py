"""Flags from settings models: what is a flag, how it is written, and what reaches the verb."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from glesam.cli.flags import field_flags, parsed, with_flags
from glesam.common.settings import descriptions
from glesam.train import config


class Shared(BaseModel):
    """Shared.

    Attributes:
        seed: the seed.
        table: names and shares.
    """

    seed: int = Field(default=0, ge=0)
    table: dict[str, float] = {}


class Own(Shared):
    """Own.

    Attributes:
        kind: which one, or None.
        factor: a number or a word.
        scale: from and to.
        names: any number.
        quick: whether to hurry.
    """

    kind: Literal["one", "two"] | None = None
    factor: float | Literal["measured"] = "measured"
    scale: tuple[float, float] = (0.5, 2.0)
    names: tuple[str, ...] = ()
    quick: bool = True


@pytest.fixture
def seen() -> dict[str, Any]:
    return {}


@pytest.fixture
def app(seen: dict[str, Any]) -> typer.Typer:
    made = typer.Typer()

    @made.command()
    @with_flags(field_flags(Own))
    def verb(given: dict[str, Any], out: Annotated[str, typer.Option(help="Where to.")] = "here") -> None:
        """Do it."""
        seen.update(given=given, out=out)

    return made


def test_each_form_of_a_field_reaches_the_model(app: typer.Typer, seen: dict[str, Any]) -> None:
    words = "--seed 3 --kind two --factor 2.5 --scale 0.1,0.9 --names a --names b --no-quick --out there"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    made = Own.model_validate(parsed(Own, seen["given"]))
    assert made == Own(seed=3, kind="two", factor=2.5, scale=(0.1, 0.9), names=("a", "b"), quick=False)
    assert seen["out"] == "there"


def test_what_is_not_given_is_left_to_file_and_model(app: typer.Typer, seen: dict[str, Any]) -> None:
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen == {"given": {}, "out": "here"}


def test_tables_have_no_flag_and_the_help_has_the_docstrings_texts(app: typer.Typer) -> None:
    assert {flag.name for flag in field_flags(Own)} == set(Own.model_fields) - {"table"}
    assert [flag.name for flag in field_flags(Shared, without=("seed",))] == []
    text = " ".join(CliRunner().invoke(app, ["--help"], terminal_width=200).output.split())
    assert "--table" not in text
    for words in ("Which one.", "From and to.", "one|two", "0.5,2.0"):
        assert words in text


@pytest.mark.parametrize(
    "kind",
    [getattr(config, name) for name in config.__all__ if name.endswith("Config")],
    ids=lambda kind: kind.__name__,
)
def test_each_field_of_each_stage_is_described_once(kind: type[BaseModel]) -> None:
    texts = descriptions(kind)
    assert set(texts) == set(kind.model_fields)
    assert not any("[" in text for text in texts.values())  # rich would take it for markup
