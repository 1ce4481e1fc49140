"""What every verb shares: errors become one line and an exit status, messages go to stderr, one progress bar.

Exit status: 0 done, 1 some inputs failed, 2 wrong use, 130 stopped with Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from glesam.common.interrupts import terminated
from glesam.common.messages import shown
from glesam.errors import ConfigError, GlesamError, ModelError, PromptError

P = ParamSpec("P")
R = TypeVar("R")

FAILED, WRONG_USE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

console = Console()
"""Standard output: the tables and results that the user asked for."""

messages = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
"""Standard error: progress and warnings, so that redirected results stay clean."""

# typer carries its own click in new versions and imports it in old ones; this is the one name that both give.
_UsageError: Any = typer.BadParameter.__bases__[0]


class Enhance(StrEnum):
    """Whether the enhancer is used."""

    on = "on"
    off = "off"
    auto = "auto"


def describe(error: BaseException) -> str:
    """Say an error in one line, without its type; an `OSError` with its file and reason."""
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        cure = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        text = f"{place}{error.strerror}{cure}"
    else:
        text = str(error) or type(error).__name__
    return shown(" ".join(text.splitlines()))


def status_of(error: BaseException) -> int:
    """Exit status of an error: 2 when an option (its value, a prompt, a model) was at fault, 1 when an input was."""
    return WRONG_USE if isinstance(error, (ConfigError, ModelError, PromptError)) else FAILED


def warn(text: str) -> None:
    """Print one line on stderr, without what a terminal would act on; a live progress bar moves out of its way."""
    typer.echo(shown(" ".join(text.splitlines())), err=True)


def tell_outdated(names: Sequence[str]) -> None:
    """Say that results were kept whose images have changed since; they may have been corrected by hand."""
    if names:
        images = "an image was" if len(names) == 1 else f"{len(names)} images were"
        warn(
            f"glesam: warning: {images} changed after the results that are kept had been made, such as {names[0]}; "
            "--overwrite makes them anew"
        )


def fail(text: str, status: int = FAILED) -> typer.Exit:
    """Print an error on stderr; the exit to raise comes back."""
    warn(f"glesam: error: {text}")
    return typer.Exit(status)


@contextmanager
def errors_to_status() -> Iterator[None]:
    """Turn the errors that are the user's to mend into one line on stderr and an exit status.

    A programming error passes through: its traceback is what a bug report needs.
    """
    try:
        yield
    except GlesamError as error:
        raise fail(describe(error), status_of(error)) from error
    except KeyboardInterrupt as error:
        warn("glesam: stopped; no half-written file was left")
        raise typer.Exit(TERMINATED if terminated() else INTERRUPTED) from error
    except EOFError as error:
        # A reader's, never the terminal's, which nothing asks: typer would say "Aborted" and hide where it was.
        raise RuntimeError("a file ended where more was expected") from error
    except BrokenPipeError:
        raise  # the reader, such as `head`, went away: typer ends quietly
    except OSError as error:
        raise fail(describe(error)) from error
    except _UsageError as error:
        raise _usage_exit(error) from error


def _usage_exit(error: Any) -> BaseException:
    """Exit for an option that the parser refused; a bare group of sub-commands shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error  # type: ignore[no-any-return]
    text = str(error.format_message()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "glesam"
    return fail(f"{text}; see '{command} --help'", WRONG_USE)


def handle_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a verb so that its errors end as `errors_to_status` says."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with errors_to_status():
            return function(*args, **kwargs)

    return wrapper


def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function as a decorated verb would be called."""
    return handle_errors(function)(*args, **kwargs)


@contextmanager
def progress(total: int | None, description: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr while the block runs; give the function that moves it: `advance(steps=1)`.

    Nothing is drawn for a single step or when stderr is not a terminal, so that logs stay readable.

    Args:
        total: number of steps; None when it is not known.
        description: what is being done, such as "segment".
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = total == 1 or not messages.is_terminal
    with Progress(*columns, console=messages, disable=hidden, transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: float = 1, description: str | None = None) -> None:
            bar.update(task, advance=steps, description=description)

        yield advance
