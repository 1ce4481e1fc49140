"""A hook of mkdocs: links to files of the repository outside of the docs become their paths, which the site lacks."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `[text](../path)` by the text and the path."""
    return _OUTSIDE.sub(r"\1 (`\2`)", markdown)
