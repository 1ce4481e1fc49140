"""`glesam words`: which words the offline vocabulary knows."""

from __future__ import annotations

from typing import Annotated

import typer


def words(
    word: Annotated[
        list[str] | None, typer.Argument(help="Words to look up; all are listed when none is given.")
    ] = None,
) -> None:
    """List the words that `glesam segment --text` knows without a text model, or say what some of them stand for.

    A closed vocabulary: nouns above the 1,000 classes of ImageNet, and the words of the dense heads.
    """
    from glesam.text.offline import bundled

    source = bundled()
    if not word:
        typer.echo("\n".join(source.known))
        return
    source.check(word)
    for each in word:
        typer.echo(f"{each}: {source.meaning(each)}")
