"""What all figures share: matplotlib as an optional dependency, one style, colours for colour-blind readers too."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.common.files import atomic_path
from glesam.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette."""
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
DPI = 150


def require_matplotlib() -> None:
    """Say early, before anything is measured, that figures cannot be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "expected matplotlib for the figures, found none; pip install 'glesam[evaluate]', or give --no-figures"
        )


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of so many inches and its `(rows, columns)` array of axes, without any global state of matplotlib.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG in one step, without the date, so that equal figures are equal files."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": "glesam"})
    return path


def tidy(axes: Any) -> None:
    """Light grid, no box."""
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def style(index: int, styles: Sequence[str]) -> str:
    """The index-th style, from the start again where they run out."""
    return styles[index % len(styles)]
