"""`glesam models`: what can be used by name, and where its weights lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glesam.cli.common import FAILED, console

if TYPE_CHECKING:
    from rich.table import Table

    from glesam.models.registry import ModelInfo

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models that can be used by name; `path NAME` says where one lies, `check FILE` what a checkpoint is."""
    if context.invoked_subcommand is not None:
        return
    from glesam.models.registry import ACCEPTS, model_info, presets

    rows = []
    for preset in presets():
        info = model_info(preset.name)
        here = "no" if info.location is None else "yes"
        address = f"{preset.original_url}{preset.original_file}" or "in the package"
        rows.append((preset.name, preset.family, _size(info), here, ACCEPTS[preset.family], preset.licence, address))
    _print_table(("name", "family", "size", "here", "takes", "licence of the weights", "the authors' file"), rows)
    _print_heads()


@app.command()
def path(name: Annotated[str, typer.Argument(help="Name of a model, as `glesam models` lists them.")]) -> None:
    """Print the folder or file that holds a model's weights on this machine.

    Raises:
        ModelError: unknown name, or the weights are not on this machine; says where to get them.
    """
    from glesam.errors import ModelError
    from glesam.models.registry import model_info

    info = model_info(name)
    if info.location is None:
        raise ModelError(f"expected the weights of {name} on this machine, found none; {_cure(info)}")
    typer.echo(str(info.location))


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A checkpoint: .pth, .pt, .ckpt or .safetensors.")]) -> None:
    """Say which model a checkpoint holds, and whether glesam reads it; exit status 1 if it does not.

    Raises:
        ModelError: there is no such file, or it holds no weights.
    """
    from glesam.models.check import check_file

    found = check_file(file)
    typer.echo("\n".join(found.lines()))
    if not found.readable:
        raise typer.Exit(FAILED)


def _print_heads() -> None:
    """The authors' files of a model with a head, which are given as the model, or by `--head` beside the model."""
    from glesam.heads.files import ORIGINAL_FILES
    from glesam.models.registry import model_info
    from glesam.weights.folders import user_folder

    rows = []
    for row in ORIGINAL_FILES:
        file = user_folder() / row.name
        here = file.is_file()
        # Of a file that is not here: the plain model's and the head's float32.
        size = file.stat().st_size if here else (model_info(row.model).preset.size or 0) + 4 * row.parameters
        text = f"{'' if here else '~'}{size / 1e6:.0f} MB"
        rows.append((row.name, row.kind, row.model, text, "yes" if here else "no", row.licence, row.where))
    console.print()
    _print_table(("file with a head", "head", "on", "size", "here", "licence", "where to get it"), rows)


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One table where the terminal is wide enough; else the last two columns are lines below it, no address cut."""
    from rich.measure import Measurement

    whole = _table(titles, rows)
    if Measurement.get(console, console.options.update_width(10_000), whole).maximum <= console.width:
        console.print(whole)
        return
    console.print(_table(titles[:-2], [row[:-2] for row in rows]))
    console.print(f"\n {titles[-2]}; {titles[-1]}", style="bold")
    for row in rows:
        console.print(f" {row[0]}: {row[-2]}; {row[-1]}", soft_wrap=True, highlight=False)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without lines, whose first four columns are never cut: a name must be whole, or it cannot be typed."""
    from rich.table import Table

    table = Table(*titles, box=None)
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows:
        table.add_row(*row)
    return table


def _cure(info: ModelInfo) -> str:
    """How to get a model's weights."""
    if not info.preset.original_file:
        return "install glesam again"
    from glesam.weights.folders import user_folder

    address = f"{info.preset.original_url}{info.preset.original_file}"
    return f"use it once with network access, or download {address} into {user_folder()}"


def _size(info: ModelInfo) -> str:
    """Size in megabytes, as far as it is known."""
    return "?" if info.size is None else f"{info.size / 1e6:.0f} MB"
