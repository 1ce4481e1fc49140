"""The predictor: `set_image`, then `predict` as often as you like, or `generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.predict.predictor import Predictor

__all__ = ["Predictor"]

__getattr__ = lazy(
    __name__,
    {
        "Predictor": "glesam.predict.predictor",
    },
)
