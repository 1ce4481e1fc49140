"""Configuration of the stages without pairs: the prior and its autoencoder, and heads on a frozen backbone."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from glesam.train.config.base import StageConfig

_VALIDATION = ("val", "val_minutes", "val_images")
"""Fields that stages without a validation have no use for: their images are to be looked at."""


class AutoencoderConfig(StageConfig):
    """The autoencoder of the prior.

    Attributes:
        image_size: side of the crops in pixels; the autoencoder is convolutional, so that small crops do.
        batch_size: crops a step and process.
        steps: optimiser steps.
        channels: channels at strides 1, 2, 4, ...; each further entry halves the size, so four give stride 8.
        latent_channels: channels of the latent; 4 as in Stable Diffusion.
        kl_weight: weight of the divergence from a unit Gaussian; small, it only keeps the latent from growing.
        edge_weight: weight of the absolute error of differences between neighbouring pixels, against blur.
    """

    unused: ClassVar[tuple[str, ...]] = _VALIDATION

    image_size: int = Field(default=128, multiple_of=8, gt=0)
    batch_size: int = Field(default=16, gt=0)
    steps: int = Field(default=3000, gt=0)
    channels: tuple[int, ...] = (16, 32, 64, 128)
    latent_channels: int = 4
    kl_weight: float = 1e-6
    edge_weight: float = 1.0
    lr: float = 2e-3
    weight_decay: float = 0.0
    ema: float = 0.998


class PriorConfig(StageConfig):
    """The diffusion model of the prior.

    Attributes:
        image_size: side of the crops in pixels; with an autoencoder of stride 8, 256 gives a latent of 32 x 32.
        batch_size: crops a step and process.
        steps: optimiser steps.
        channels: channels of the U-Net at each size. The default has 7.2 million parameters and, expanded to 256
            channels, 2.0 billion multiplications for a 32 x 32 latent, half of the compact encoder's.
        attention: which sizes attend over the whole map.
        heads: attention heads.
        layers: residual blocks at each size on the way down.
        embedding: width of the constant text embedding.
        samples: images drawn at the end.
        sample_steps: denoising steps of an image.
    """

    unused: ClassVar[tuple[str, ...]] = _VALIDATION

    image_size: int = Field(default=256, multiple_of=8, gt=0)
    batch_size: int = Field(default=16, gt=0)
    steps: int = Field(default=6000, gt=0)
    channels: tuple[int, ...] = (96, 128, 144)
    attention: tuple[bool, ...] = (False, False, True)
    heads: int = 8
    layers: int = 1
    embedding: int = 32
    samples: int = 16
    sample_steps: int = 50
    lr: float = 1e-3
    weight_decay: float = 0.01
    ema: float = 0.998


class SubjectConfig(StageConfig):
    """The subject head; a fifth of every data set is kept aside, and measured on.

    Attributes:
        data: data-set folders to train on (`DIR@SPLIT` for a part of one), each with its share of the samples, above 0
            (shares are normalised). Where all shares are equal, every image counts alike, of small and of large sets.
        photos: images drawn from each data set by seed; each is looked at once and kept in memory.
        side: pixels of the longer side at which they are looked at.
        hidden: width of the head.
        batch_size: images a step.
        steps: optimiser steps.
    """

    packs_images: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ("val", "kept_aside")

    photos: int = Field(default=2000, gt=0)
    side: int = Field(default=288, multiple_of=32, gt=0)
    hidden: int = Field(default=64, gt=0)
    batch_size: int = Field(default=32, gt=0)
    steps: int = Field(default=900, gt=0)
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 50
    ema: float = 0.99
    val_minutes: float = 60.0
    val_images: int = 100


class TextConfig(StageConfig):
    """An ESC-Net on a text model; a fifth of every data set is kept aside, and measured on.

    Attributes:
        text_model: folder of a CLIP or SigLIP model; it stays frozen.
        sam: model whose two-way attention the SAM blocks start from: preset, folder or file; "random" starts them at
            random, "none" leaves them out (the paper's ablation).
        photos: images drawn from each data set by seed; features are kept in memory, some megabytes each.
        classes: texts a step at most: those of its images, then others of the same set.
        blocks: ESC blocks.
        width: channels of a class's map.
        window: side of the Swin blocks' windows, in cells.
        sam_lr: learning rate of what came from SAM, relative to `lr`; the paper's.
        batch_size: images a step, all of one set.
        steps: optimiser steps.
    """

    packs_images: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ("val", "kept_aside")

    text_model: str = ""
    sam: str = "compact"
    photos: int = Field(default=200, gt=0)
    classes: int = Field(default=16, gt=0)
    blocks: int = Field(default=4, gt=0)
    width: int = Field(default=128, multiple_of=4, gt=0)
    window: int = Field(default=12, ge=2)
    sam_lr: float = Field(default=0.01, gt=0)
    batch_size: int = Field(default=4, gt=0)
    steps: int = Field(default=4000, gt=0)
    lr: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    workers: int = Field(default=0, ge=0)


class WordsConfig(BaseModel):
    """How the heads are trained.

    Attributes:
        seed: the only source of randomness.
        images: images of a set at most.
        more: other numbers for single sets.
        photos: images of the sets of `NamedSets.none` that calibrate the classifier.
        others: further images of each set that calibrate the heads.
        sides: pixels that an image's longer side may get.
        cells: cells kept of an image; half of them show a word, where there are enough.
        hidden: width of the heads.
        epochs: passes over the cells.
        batch: cells a step.
        lr: learning rate of Adam, falling to 0 along a cosine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    images: int = Field(default=12, gt=0)
    more: dict[str, int] = Field(
        default_factory=lambda: {
            "coco_traffic4": 55,
            "coco_single_person": 50,
            "labelmefacade": 40,
            "coco_person_more": 30,
        }
    )
    photos: int = Field(default=40, gt=0)
    others: int = Field(default=1, gt=0)
    sides: tuple[int, ...] = (320, 448)
    cells: int = Field(default=128, gt=0)
    hidden: int = Field(default=128, gt=0)
    epochs: int = Field(default=12, gt=0)
    batch: int = Field(default=1024, gt=0)
    lr: float = Field(default=2e-3, gt=0)


class AmodalConfig(StageConfig):
    """The completion network of amodal masks.

    Attributes:
        side: of the views in pixels.
        hidden: width of the network.
        alone: share of objects with nothing laid over them.
        behind: share of objects with another slid behind them.
        batch_size: views a step.
        steps: optimiser steps.
    """

    unused: ClassVar[tuple[str, ...]] = ("val",)

    side: int = Field(default=224, multiple_of=32, gt=0)
    hidden: int = Field(default=64, gt=0)
    alone: float = Field(default=0.2, ge=0, le=1)
    behind: float = Field(default=0.15, ge=0, le=1)
    batch_size: int = Field(default=16, gt=0)
    steps: int = Field(default=4000, gt=0)
    lr: float = Field(default=2e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = 0.02
    ema: float = Field(default=0.998, ge=0, le=1)
