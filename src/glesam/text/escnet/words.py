"""Word maps by an ESC-Net on a text model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.text.base import WordMap
from glesam.text.clip import PROMPT, TextModel, load_text_model
from glesam.text.escnet.net import EscNet
from glesam.weights.folders import read_config

CHUNK = 16
"""Words at once: each costs the SAM blocks a copy of the image's features."""


class EscNetWords:
    """Word maps by an ESC-Net. Words asked for together look at each other, so a map may differ a little without them.

    Args:
        model: the text model that the network was trained on.
        net: the network.
        name: what results call it.
    """

    def __init__(self, model: TextModel, net: EscNet, name: str) -> None:
        self.name, self._model, self._net = name, model, net.eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> EscNetWords:
        """Load a network that `glesam train text` saved, and the text model that it names.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        text_model = read_config(folder).get("text_model")
        if not isinstance(text_model, str):
            raise ModelError(f"expected the text model's folder in {folder}/config.json, got {text_model!r}")
        return cls(load_text_model(text_model), EscNet.from_pretrained(folder), str(folder))

    def check(self, words: Sequence[str]) -> None:
        """Any word may be asked for."""

    @torch.inference_mode()
    def maps(self, image: RGB, words: Sequence[str]) -> list[WordMap]:
        """One map of probabilities for each word, whose maximum says whether the word is there; see `WordSource`."""
        seen, guides = self._model.dense(image, len(self._net.config.guides))
        texts = self._model.encode_texts([PROMPT.format(word) for word in words])
        values = torch.sigmoid(self._net(seen, texts, guides, CHUNK)[0][0]).numpy()
        return [WordMap(word, np.asarray(v, np.float32), float(v.max())) for word, v in zip(words, values, strict=True)]
