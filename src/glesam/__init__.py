"""glesam segments anything in images of any quality.

Importing this package does nothing else: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glesam.errors import GlesamError
    from glesam.models.registry import load_model
    from glesam.predictor import Predictor
    from glesam.prompts import Prompts
    from glesam.results import Masks

__version__ = "0.1.0"
__all__ = ["GlesamError", "Masks", "Predictor", "Prompts", "__version__", "load_model"]

_HOME = {
    "GlesamError": "glesam.errors",
    "Masks": "glesam.results",
    "Predictor": "glesam.predictor",
    "Prompts": "glesam.prompts",
    "load_model": "glesam.models.registry",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that `import glesam` stays instant."""
    if name not in _HOME:
        raise AttributeError(f"module 'glesam' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
