"""Word sources from a folder of the user's."""

from __future__ import annotations

from pathlib import Path

from glesam.text.base import WordSource
from glesam.text.clip import load_text_model
from glesam.text.escnet.net import ESCNET
from glesam.text.escnet.words import EscNetWords
from glesam.weights.folders import read_config


def load_word_source(folder: str | Path) -> WordSource:
    """The word source of a folder: a text model, or an ESC-Net that `glesam train text` made on one.

    Raises:
        ModelError: neither; the message says what to get.
    """
    if Path(folder).is_dir() and read_config(folder).get("family") == ESCNET:
        return EscNetWords.from_pretrained(folder)
    return load_text_model(folder)
