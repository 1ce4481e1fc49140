"""glesam segments anything in images of any quality.

Importing this package does nothing else: each public name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.errors import GlesamError
    from glesam.masks.masks import Masks
    from glesam.models.registry import load_model
    from glesam.predict.predictor import Predictor
    from glesam.prompts.prompts import Prompts

__version__ = "0.2.0"
__all__ = ["GlesamError", "Masks", "Predictor", "Prompts", "__version__", "load_model"]

__getattr__ = lazy(
    __name__,
    {
        "GlesamError": "glesam.errors",
        "Masks": "glesam.masks.masks",
        "Predictor": "glesam.predict.predictor",
        "Prompts": "glesam.prompts.prompts",
        "load_model": "glesam.models.registry",
    },
)
