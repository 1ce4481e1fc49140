"""Sizes of the compact model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CompactConfig:
    """Sizes of the compact model; stored in `config.json`.

    Attributes:
        backbone: variant of EfficientNet-Lite.
        image_size: side of the square input in pixels.
        attention_blocks: transformer blocks at stride 32.
        conv_blocks: convolutional blocks at stride 16.
        drop_path: stochastic depth of the neck in training.
        prompt_slots: points that a prompt is filled up to with padding, box corners counted as two.
        prompt_maps: give boxes and clicks to the decoder as maps too; see `PromptMaps`.
        coarse: look at the image at half its size too; see `CoarseLook`.
        fine: masks at stride 2; see `FineHead`.
    """

    backbone: str = "lite2"
    image_size: int = 512
    attention_blocks: int = 2
    conv_blocks: int = 2
    drop_path: float = 0.1
    prompt_slots: int = 7
    prompt_maps: bool = False
    coarse: bool = False
    fine: bool = False
