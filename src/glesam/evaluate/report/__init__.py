"""What a measurement says: summary, statistics, tables, figures and galleries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.evaluate.report.report import Report, make_report, screen_table, to_markdown, write_report

__all__ = ["Report", "make_report", "screen_table", "to_markdown", "write_report"]

__getattr__ = lazy(
    __name__,
    {
        "Report": "glesam.evaluate.report.report",
        "make_report": "glesam.evaluate.report.report",
        "screen_table": "glesam.evaluate.report.report",
        "to_markdown": "glesam.evaluate.report.report",
        "write_report": "glesam.evaluate.report.report",
    },
)
