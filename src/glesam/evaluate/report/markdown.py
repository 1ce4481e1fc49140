"""Tables and numbers as Markdown text."""

from __future__ import annotations


def markdown_table(header: list[str], rows: list[list[str]], text_columns: int) -> str:
    """A Markdown table whose first columns are text and the others numbers."""
    rule = [":--"] * text_columns + ["--:"] * (len(header) - text_columns)
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def with_interval(value: float, low: float, high: float) -> str:
    """`0.812 [0.800, 0.824]`; without brackets where a single image gives no interval."""
    return f"{value:.3f}" if low != low else f"{value:.3f} [{low:.3f}, {high:.3f}]"
