"""The modes that a predictor takes by name, checked before a model is loaded."""

from __future__ import annotations

import torch

from glesam.common.messages import one_of

ENHANCE_MODES = ("on", "off", "auto")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def check_enhance(mode: str) -> str:
    """Check the name of an enhancing mode.

    Raises:
        ConfigError: it is not one of `ENHANCE_MODES`.
    """
    return one_of("enhance", mode, ENHANCE_MODES)


def check_dtype(name: str) -> torch.dtype:
    """Turn the name of a floating type into the type.

    Raises:
        ConfigError: it is not one of `DTYPES`.
    """
    return DTYPES[one_of("a dtype", name, DTYPES)]


def pick_device(device: str) -> str:
    """Turn "auto" into the first of cuda, mps and cpu that is there; any other name is given back."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
