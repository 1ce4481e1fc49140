"""What a prediction asks of the compact model."""

from __future__ import annotations

from typing import Any

import pytest

from glesam import Predictor
from glesam.models.base import Embedding, MaskOutput, PromptTensors
from glesam.models.compact.model import CompactModel


def asked_of(predictor: Predictor, arguments: dict[str, Any]) -> list[tuple[PromptTensors, MaskOutput]]:
    """What a prediction asks of the compact model, and its answers."""
    asked: list[tuple[PromptTensors, MaskOutput]] = []
    decode = CompactModel.decode

    def listened(model: CompactModel, embedding: Embedding, prompts: PromptTensors, *rest: bool) -> MaskOutput:
        asked.append((prompts, decode(model, embedding, prompts, *rest)))
        return asked[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompactModel, "decode", listened)
        predictor.predict(**arguments)
    return asked
