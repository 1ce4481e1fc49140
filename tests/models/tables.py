"""The tables to which other packages add rows, for tests that add some themselves."""

from __future__ import annotations

import pytest

from glesam.enhance import registry as enhancers
from glesam.everything import labels
from glesam.heads import kinds as heads
from glesam.models import registry as families
from glesam.restore import registry as restorers

TABLES = (
    (families, "FAMILIES"),
    (enhancers, "_ENHANCERS"),
    (restorers, "_KINDS"),
    (heads, "KINDS"),
    (labels, "LABELERS"),
)


def copy_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a copy in each table's place until the test ends: what is registered meanwhile is gone after it."""
    for module, rows in TABLES:
        monkeypatch.setattr(module, rows, dict(getattr(module, rows)))
