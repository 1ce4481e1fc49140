"""The command line: one table of verbs, each in its own file that is imported when the verb is called.

To add a verb, write `glesam/cli/<verb>.py` with a function or a `typer.Typer` and give it a row in `VERBS`.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Verb(NamedTuple):
    """One row of the table: where a verb lives, and what the overview says of it."""

    target: str
    """`module:attribute`; the attribute is a function or a `typer.Typer`."""
    help: str


VERBS: dict[str, Verb] = {
    "segment": Verb(
        "glesam.cli.segment.command:segment",
        "Segment images: by points, boxes or words, the main thing, everything.",
    ),
    "words": Verb("glesam.cli.words:words", "List the words that can be found without a text model."),
    "models": Verb("glesam.cli.models:app", "List the models that can be used by name."),
    "degrade": Verb("glesam.cli.degrade:degrade", "Degrade images as the LQSeg and RobustSeg benchmarks do."),
    "data": Verb("glesam.cli.data:app", "Look at data sets, and build degraded ones."),
    "evaluate": Verb("glesam.cli.evaluate:evaluate", "Measure models on a data set."),
    "export": Verb("glesam.cli.export:export", "Export a model to ONNX or OpenVINO, compared with torch."),
    "train": Verb("glesam.cli.train:app", "Train a model on your own data."),
    "serve": Verb("glesam.cli.serve:serve", "Serve the page and the HTTP API."),
}

_PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False}


def load_verb(name: str) -> Any:
    """Import a verb's module and return its command."""
    module, attribute = VERBS[name].target.split(":")
    target = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        app = typer.Typer(**_PLAIN)
        app.command(name)(target)
        target = app
    command = typer.main.get_command(target)
    command.name = name
    return command


class VerbGroup(TyperGroup):
    """The top command: knows all verbs by name and help, and imports only the one that is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, verb in VERBS.items():
            self.add_command(TyperCommand(name, help=verb.help), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the real verb in the place of its line in the overview."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_verb(name) if name in VERBS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; errors that are the user's to mend become one line and an exit status."""
        from glesam.cli.common import errors_to_status

        with errors_to_status():
            return super().invoke(ctx)


app = typer.Typer(name="glesam", cls=VerbGroup, no_args_is_help=True, **_PLAIN)


def _print_version(wanted: bool) -> None:
    """Answer `--version` before anything heavy is imported."""
    if wanted:
        from glesam import __version__

        typer.echo(f"glesam {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segment anything in images of any quality."""


def main() -> None:
    """Entry point of the `glesam` command."""
    from glesam.common.interrupts import hear_terminate
    from glesam.common.messages import speak_warnings

    hear_terminate()
    speak_warnings()
    app(prog_name="glesam")
