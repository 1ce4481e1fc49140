"""Configuration of the stages on pairs of a degraded and a clean view."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from glesam.train.config.base import Phase, StageConfig

TrainedPart = Literal["tokens", "decoder", "encoder", "enhancer", "skips"]

PromptKind = Literal["points", "box", "mask"]

RANDOM = "random"
"""The prior that needs no file."""

_BY_KIND: dict[str, dict[str, Any]] = {
    "hq": {"levels": {"clear": 1.0}, "lr": 1e-3},
    "robust": {"prompt_kinds": ("points", "box"), "points": 3, "lr": 1e-4, "scale": (0.7, 1.2)},
}


class PairConfig(StageConfig):
    """What all stages on pairs need.

    Attributes:
        model: the segmentation model: preset, folder, hub id or original checkpoint.
        image_size: side of the views in pixels; the compact model takes any multiple of 32.
        batch_size: pairs a step and process.
        steps: optimiser steps.
        scale: range of an image's size relative to its size at inference.
        levels: share of each level of quality: `clear`, `lq1`, `lq2`, `lq3`, `real:KIND:SEVERITY` and so on; the kind
            `all` stands for every kind that does not move pixels, or for every one where the stage takes those.
        as_clear: kinds of `levels`, such as `real:haze`, that count as clear, since the model reads them as well as it
            does when they are restored.
        leave_out: kinds of degradation, such as `real:haze`, that `all` does not stand for: what a model that never saw
            them makes of them is measured then.
        mixing: chance that a degraded image is mixed: its statistics with those of another image, or itself with
            further degraded versions; see `feed.mixing`.
        recipe: LQSeg recipe, "train" (on-line pairs of the paper) or "test".
        native: range of the factor by which an image is resized before it is degraded, so that one blur or one noise
            comes in several sizes relative to the image.
        paste: chance that cut-outs of one to three other images are pasted into the image.
        prompts: prompts a view; 0 for stages that need none.
        slots: points a prompt at most; a box takes two.
        inference_size: side of the square that degraded images are encoded in when the parts are used, for validation;
            None is the model's own. A rule of the bundle says the same (`enhance.pipeline.LevelRule.image_size`).
        cached_pairs: number of pairs whose latents are computed once and kept on disk; 0 computes them at each step.
    """

    takes_moved: ClassVar[bool] = False
    """Whether a degraded view is of use where its pixels left the places that they have in the clean view."""

    model: str = "compact"
    image_size: int = Field(default=512, multiple_of=32, gt=0)
    batch_size: int = Field(default=8, gt=0)
    steps: int = Field(default=2000, gt=0)
    scale: tuple[float, float] = (0.7, 1.2)
    levels: dict[str, float] = Field(
        # After a share of clean pairs the official divisors 1, 2, 3 and 4, in shares 1 : 1 : 2 : 4; 3 counts as LQ-2.
        default_factory=lambda: {"clear": 0.15, "lq1": 0.10625, "lq2": 0.31875, "lq3": 0.425}
    )
    as_clear: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    mixing: float = Field(default=0.0, ge=0, le=1)
    recipe: Literal["train", "test"] = "train"
    native: tuple[float, float] = (0.8, 1.3)
    paste: float = 0.3
    prompts: int = 0
    slots: int = Field(default=7, ge=2)
    inference_size: int | None = Field(default=None, multiple_of=32, gt=0)
    cached_pairs: int = Field(default=0, ge=0)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The one phase of these stages."""
        return (
            Phase(image_size=self.image_size, batch_size=self.batch_size, steps=self.steps, scale=self.scale),
        )  # fmt: skip


class EnhancerConfig(PairConfig):
    """Stage 1.

    Attributes:
        kind: "unet" (the paper) or "residual-cnn", a plain network of equal cost, as a baseline.
        prior: folder or hub id of a diffusion prior, or "random" for the small prior's U-Net without training.
        head: "cre" repeats the prior's head and tail (the paper); "new" draws new ones, which are trained whole.
        adapt: "lora" trains adapters (the paper); "full" trains all weights of the U-Net.
        rank: rank of the adapters.
        lora_alpha: the adapters' output is multiplied by `lora_alpha / rank`.
        targets: "all" layers (the official code) or "attention" (the paper).
        timestep: schedule index of the one step: 1 (the official scripts) is a correction, 999 the paper's T.
        level_timesteps: schedule index for clear, LQ-1, LQ-2 and LQ-3 images in place of the one `timestep`; in use,
            rules by the gate's level name them (`enhance.pipeline.LevelRule`).
        alignment_scale: factor on the latent; "measured" brings its standard deviation to the prior's, "measured-sum"
            that of the sum over the groups of four channels, which is what the expanded prior sees.
        measured_photos: clean views for the measurement.
        scaled_loss: error of the scaled latents (the official code), which is the square of the scale times larger.
        width: channels inside the residual network.
        blocks: blocks of the residual network.
    """

    unused: ClassVar[tuple[str, ...]] = ("prompts", "slots")

    kind: Literal["unet", "residual-cnn"] = "unet"
    prior: str = RANDOM
    head: Literal["cre", "new"] = "cre"
    adapt: Literal["lora", "full"] = "lora"
    rank: int = Field(default=8, gt=0)
    lora_alpha: float = Field(default=8, gt=0)
    targets: Literal["all", "attention"] = "all"
    timestep: int = Field(default=1, ge=0)
    level_timesteps: tuple[int, int, int, int] | None = None
    alignment_scale: float | Literal["measured", "measured-sum"] = "measured"
    measured_photos: int = Field(default=32, gt=0)
    scaled_loss: bool = False
    width: int = Field(default=96, gt=0, multiple_of=8)
    blocks: int = Field(default=9, gt=0)
    lr: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0


class DecoderConfig(PairConfig):
    """Stage 2.

    Attributes:
        train: parts that learn: "tokens" (tokens and their heads), "decoder" (the whole mask decoder, the paper's
            default), "encoder" (image encoder), "enhancer" (its adapters, or all of it where it has none), "skips".
        enhancer: folder of an enhancer, or None for the base model's own latents.
        init: what this stage made before (`model` in its run folder), whose parts are trained further; or None.
        encoder_layers: beginnings of the names of the image encoder's tensors that learn with the part "encoder",
            such as "backbone.stem"; "" stands for all.
        skips: "raw", "attenuate" or "branch"; what is not raw is made new and learns, whatever `train` says.
        gate: folder of a gate, whose levels attenuate the skips.
        loss: "dice-focal" (the paper) or "base", the base stage's cross-entropy and Dice.
        encoder_lr: learning rate of encoder and enhancer relative to `lr`.
        refine: chance that a step ends with a corrective click on the mask of its first answer.
    """

    unused: ClassVar[tuple[str, ...]] = ("cached_pairs",)

    train: tuple[TrainedPart, ...] = Field(default=("decoder",), min_length=1)
    enhancer: str | None = None
    init: str | None = None
    encoder_layers: tuple[str, ...] = Field(default=("",), min_length=1)
    skips: Literal["raw", "attenuate", "branch"] = "raw"
    gate: str | None = None
    loss: Literal["dice-focal", "base"] = "dice-focal"
    encoder_lr: float = 0.2
    refine: float = 0.1
    prompts: int = 3
    lr: float = 2e-4
    weight_decay: float = 0.01


class GateConfig(PairConfig):
    """The gate.

    Attributes:
        hidden: width of the hidden layer.
        threshold: lowest level from which on an image counts as degraded.
        max_false_positive: share of clear training images that may count as degraded; the threshold rises until it
            holds, to 2.5 at most.
        fit_batches: batches whose latents give the features' scale.
        clear_photos: whole training images that give the threshold.
    """

    takes_moved: ClassVar[bool] = True  # a level is predicted, nothing is compared pixel by pixel
    unused: ClassVar[tuple[str, ...]] = ("prompts", "slots")

    hidden: int = Field(default=64, gt=0)
    threshold: float = Field(default=0.5, gt=0, lt=3)
    max_false_positive: float = Field(default=0.02, ge=0, lt=1)
    fit_batches: int = Field(default=16, gt=0)
    clear_photos: int = Field(default=256, gt=0)
    scale: tuple[float, float] = (0.9, 1.1)
    paste: float = 0.0
    native: tuple[float, float] = (0.7, 1.4)
    # The clean view of each pair is a sample too, so that a quarter of all samples is clean without these.
    levels: dict[str, float] = Field(default_factory=lambda: {"lq1": 1.0, "lq2": 1.0, "lq3": 1.0})
    lr: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.99


class GainConfig(PairConfig):
    """The gate by gain; of `PairConfig` it uses model, data, levels, leave_out, mixing, recipe and native.

    Attributes:
        enhancer: folder of the bundle, with or without a gate, whose gain is measured.
        versions: how many versions of images are measured.
        objects: objects measured in each, at most.
        least_share: share of the image below which an object is left out.
        mosaic: chance that a version is made of two or four images of one fold: more pixels and smaller objects than
            one has.
        hidden: width of the gate's hidden layer.
        folds: parts of the images, by their names; versions of each are judged by a gate that was fitted on the others.
        clear_loss: the most that clear images may lose on average, in IoU.
        fit_steps: the most steps of a fit; how many are taken is decided on the parts.
        workers: versions measured at once, each on its share of torch's threads.
    """

    takes_moved: ClassVar[bool] = True  # masks move along, and nothing is compared pixel by pixel
    unused: ClassVar[tuple[str, ...]] = (
        "val",
        "val_minutes",
        "val_images",
        "save_minutes",
        "warmup",
        "hold",
        "clip",
        "ema",
        "image_size",
        "batch_size",
        "steps",
        "scale",
        "paste",
        "prompts",
        "slots",
        "inference_size",
        "cached_pairs",
    )

    enhancer: str = ""
    versions: int = Field(default=1500, ge=20)
    objects: int = Field(default=3, ge=1)
    least_share: float = Field(default=0.003, ge=0, lt=1)
    mosaic: float = Field(default=0.25, ge=0, le=1)
    hidden: int = Field(default=32, gt=0)
    folds: int = Field(default=5, ge=2)
    clear_loss: float = Field(default=0.002, ge=0)
    fit_steps: int = Field(default=400, ge=20)
    workers: int = Field(default=2, ge=1)
    levels: dict[str, float] = Field(
        default_factory=lambda: {
            "clear": 0.28,
            "lq1": 0.08,
            "lq2": 0.08,
            "lq3": 0.1,
            "real:all:1": 0.06,
            "real:all:2": 0.08,
            "real:all:3": 0.1,
            "real:all:4": 0.12,
            "real:all:5": 0.1,
        }
    )
    mixing: float = Field(default=0.25, ge=0, le=1)
    native: tuple[float, float] = (0.5, 1.0)
    lr: float = Field(default=3e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = 0.3


class HeadConfig(PairConfig):
    """What the training of heads needs; defaults are those of the papers for the kind.

    Attributes:
        kind: of the head.
        prompt_kinds: each step draws one of them for all of its prompts.
        points: foreground points of a prompt of points.
        box_noise: largest move of a box's sides, as a share of its size.
        scale: range of an image's long side relative to the view's (large-scale jitter).
    """

    unused: ClassVar[tuple[str, ...]] = ("as_clear", "slots", "inference_size", "cached_pairs")

    kind: Literal["hq", "robust"] = "hq"
    prompt_kinds: tuple[PromptKind, ...] = Field(default=("points", "box", "mask"), min_length=1)
    points: int = Field(default=10, gt=0)
    box_noise: float = 0.1
    prompts: int = Field(default=2, gt=0)
    scale: tuple[float, float] = (0.1, 2.0)
    paste: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Take what is not given from the kind's own defaults."""
        return {**_BY_KIND.get(values.get("kind", "hq"), {}), **values} if isinstance(values, dict) else values


class RestorerConfig(PairConfig):
    """The restorer; what `PairConfig` says of models, prompts, views and cached latents has no part in it.

    Attributes:
        image_size: side of the crops in pixels, at the images' own pixels.
        levels: share of each level of quality.
        widths: channels of the U-Net at strides 2, 4, 8, ...
        depth: residual blocks at its coarsest stride.
        edge_weight: weight of the absolute error of differences between neighbouring pixels, against blur.
    """

    unused: ClassVar[tuple[str, ...]] = (
        "model",
        "scale",
        "as_clear",
        "prompts",
        "slots",
        "inference_size",
        "cached_pairs",
    )

    image_size: int = Field(default=128, multiple_of=32, gt=0)
    batch_size: int = Field(default=16, gt=0)
    steps: int = Field(default=1000, gt=0)
    levels: dict[str, float] = Field(
        default_factory=lambda: {"clear": 0.1, "lq1": 0.15, "lq2": 0.25, "lq3": 0.35, "robustseg:all:3": 0.15}
    )
    native: tuple[float, float] = (0.8, 1.2)
    paste: float = 0.0
    widths: tuple[int, ...] = (20, 40, 80)
    depth: int = 2
    edge_weight: float = 0.5
    lr: float = 2e-3
    weight_decay: float = 0.0
    warmup: int = 50
    ema: float = 0.99
