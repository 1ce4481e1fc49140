"""Configuration of the training stages: frozen, unknown keys refused with the nearest name, stored with each run.

One class for each stage. Its fields are the keys of `--config` and of the run's `config.json`, the flags of
`glesam train`, and the arguments in Python; the text of each field stands in its class's docstring, and nowhere else.
"""

from __future__ import annotations

from glesam.train.config.base import FINE_TUNING, LORA_TUNING, BaseConfig, Phase, StageConfig
from glesam.train.config.files import read_config, write_config
from glesam.train.config.other import (
    AmodalConfig,
    AutoencoderConfig,
    PriorConfig,
    SubjectConfig,
    TextConfig,
    WordsConfig,
)
from glesam.train.config.pairs import (
    RANDOM,
    DecoderConfig,
    EnhancerConfig,
    GainConfig,
    GateConfig,
    HeadConfig,
    PairConfig,
    PromptKind,
    RestorerConfig,
    TrainedPart,
)

__all__ = [
    "FINE_TUNING",
    "LORA_TUNING",
    "RANDOM",
    "AmodalConfig",
    "AutoencoderConfig",
    "BaseConfig",
    "DecoderConfig",
    "EnhancerConfig",
    "GainConfig",
    "GateConfig",
    "HeadConfig",
    "PairConfig",
    "Phase",
    "PriorConfig",
    "PromptKind",
    "RestorerConfig",
    "StageConfig",
    "SubjectConfig",
    "TextConfig",
    "TrainedPart",
    "WordsConfig",
    "read_config",
    "write_config",
]
