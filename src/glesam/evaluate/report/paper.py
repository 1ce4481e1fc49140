"""The numbers that the GleSAM paper prints (tables 1, 2, 5, 10 and 13), as data to set beside measured ones.

They were measured by the paper's authors on their own degraded copies of the full sets; no released file makes those
copies again. They show where a model stands, not whether two programs agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from glesam.common.documents import parse_json
from glesam.common.messages import hint
from glesam.errors import ConfigError

LQ_MEAN, AVERAGE = "lq mean", "average"
"""Levels of table 5: mean over sets and LQ levels, and the mean of that and the clear value."""


@dataclass(frozen=True)
class PaperNumber:
    """One cell of a table of the paper; all values are means over images.

    Attributes:
        table: such as `table2`.
        method: row of the table.
        set: data set as the paper calls it.
        level: `clear`, `lq1` to `lq3`, or, in table 5, `lq mean` and `average`.
        prompt: as `parse_prompt` reads it; None where the source does not say.
        iou: intersection over union.
        dice: Dice coefficient.
        pixel_accuracy: share of equal pixels; None where the table has none.
    """

    table: str
    method: str
    set: str
    level: str
    prompt: str | None
    iou: float
    dice: float
    pixel_accuracy: float | None = None


def paper_source() -> str:
    """Reference of the paper."""
    return str(_content()["source"])


def table_names() -> list[str]:
    """Names of the stored tables."""
    return list(_content()["tables"])


def table_title(table: str) -> str:
    """What a stored table shows, in words.

    Raises:
        ConfigError: the table is not stored.
    """
    return str(_table(table)["title"])


def paper_numbers(table: str | None = None) -> list[PaperNumber]:
    """Numbers of one stored table, or of all.

    Raises:
        ConfigError: the table is not stored.
    """
    names = table_names() if table is None else [table]
    return [PaperNumber(table=name, **cell) for name in names for cell in _table(name)["numbers"]]


def canonical_set(name: str) -> str | None:
    """The paper's name of a data set, whatever its case and punctuation; None when it is not one of the paper's.

    Parts of a set do not match: the paper's numbers for `COCO` say nothing of `coco_mini`.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((known for known, aliases in _content()["aliases"].items() if plain in aliases), None)


def matching(set_name: str, level: str, prompt: str) -> list[PaperNumber]:
    """The paper's numbers for a set, level and prompt as measured here; empty when it has none."""
    known = canonical_set(set_name)
    return [
        number
        for number in paper_numbers()
        if number.set == known and number.level == level and number.prompt in (None, prompt)
    ]


def _table(name: str) -> dict[str, Any]:
    tables: dict[str, dict[str, Any]] = _content()["tables"]
    if name not in tables:
        raise ConfigError(f"expected a stored table of the paper, got {name!r}; {hint(name, tables)}")
    return tables[name]


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    """The data file that is part of the package."""
    stored = files("glesam.evaluate.report").joinpath("paper_tables.json").read_bytes()
    return dict(parse_json(stored, "paper_tables.json"))
