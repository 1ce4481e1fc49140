"""The LQSeg degradation: blur, noise, resizing and JPEG in three levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.degrade.lqseg.config import LqsegConfig
    from glesam.degrade.lqseg.pipeline import LEVELS, RECIPES, config_of, degrade, parse_level, replay

__all__ = ["LEVELS", "RECIPES", "LqsegConfig", "config_of", "degrade", "parse_level", "replay"]

__getattr__ = lazy(
    __name__,
    {
        "LEVELS": "glesam.degrade.lqseg.pipeline",
        "LqsegConfig": "glesam.degrade.lqseg.config",
        "RECIPES": "glesam.degrade.lqseg.pipeline",
        "config_of": "glesam.degrade.lqseg.pipeline",
        "degrade": "glesam.degrade.lqseg.pipeline",
        "parse_level": "glesam.degrade.lqseg.pipeline",
        "replay": "glesam.degrade.lqseg.pipeline",
    },
)
