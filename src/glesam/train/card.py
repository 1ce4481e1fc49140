"""The card of a trained model, with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path

from glesam.common.files import write_text
from glesam.data.readers.registry import place
from glesam.train.config import BaseConfig

CARD = "README.md"


def write_card(folder: Path, config: BaseConfig) -> None:
    """Write what is known of a model's making; what only its maker knows is asked for.

    Args:
        folder: of the saved model.
        config: what it was trained with.
    """
    write_text(folder / CARD, card(config))


def card(config: BaseConfig) -> str:
    """The card's text: data with their shares, start, length, and how to use the model."""
    total = sum(config.data.values()) or 1.0
    sets = "\n".join(f"* {_called(name)}: {share / total:.0%} of the views" for name, share in config.data.items())
    start = "the ImageNet weights of its backbone" if config.init is None else f"`{config.init}`"
    mean = f", averaged with that start ({config.average:g} of it)" if config.average else ""
    low = f", by low-rank adapters of rank {config.lora}" if config.lora else ""
    steps = sum(phase.steps for phase in config.phases)
    return f"""---
library_name: glesam
pipeline_tag: mask-generation
license: other
tags: [segment-anything, promptable-segmentation]
---

# A compact model for promptable segmentation

Trained by `glesam train base` from {start}{low}{mean}: {steps} steps, peak rate {config.lr:g}, seed {config.seed}.

## Data

{sets or "* none named"}

Terms of these sets: to be filled in. What the start was trained on is in its own card, and its terms hold on.

## Use

```python
from glesam import Predictor

predictor = Predictor.from_pretrained("FOLDER OR HUB ID")
```
"""


def _called(data: str) -> str:
    """A data set's folder without those above it, and its split."""
    folder, split = place(data)
    return folder.name if split is None else f"{folder.name}@{split}"
