"""All that is done for a degraded image between encoder and masks: enhancer, skips, tuned decoder, chosen by level.

One object that the predictor asks; without it the predictor is the base model, bit for bit.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gains import JudgesGain
from glesam.enhance.gate import DegradationGate, Verdict, judged_by_level
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ModelError
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors

EnhanceLatent = Callable[[Tensor], Tensor]
MAX_STRENGTH = 2.0
MASK_STRIDE = 4
"""Pixels of the model's input for each cell of the logits."""


@runtime_checkable
class LevelGate(Protocol):
    """A gate that estimates how degraded an image is: `DegradationGate`, or an exported one.

    Attributes:
        threshold: images of at least this level are enhanced.
    """

    threshold: float

    def level(self, latent: Tensor) -> float:
        """Level of one latent `(1, C, h, w)`: 0 (clear) to 3."""
        ...


@dataclass(frozen=True)
class LevelRule:
    """How images from a level of degradation on are treated.

    Attributes:
        above: lowest level on the gate's scale, 0 (clear) to 3.
        timestep: schedule index of the one step; None is the enhancer's own.
        strength: share of the enhancer's change that is applied, 1 for all of it.
        image_size: longer side in pixels at which the image is encoded again; None keeps the first encoding. A second,
            smaller encoding comes on top of the first, which the gate has read: at half the side it adds about a
            quarter of the encoder's time.
        least_box: share of the image; with `enhance="auto"` an object whose box is smaller keeps the base model's
            mask, since a smaller square has too few pixels for it. Where the base model's answer counts in part, the
            box of an object that was only clicked is that of the base model's mask.
        base_share: with `enhance="auto"`, and where one mask is asked for, the share of the base model's logits in the
            answer; the rest are those of the restored embedding. Two looks at two sizes err differently, so that their
            mean is often better than each. 0 decodes once.
        near_size: longer side in pixels at which the base model looks again at a crop around a small object, averaged
            with its answer so far; None looks no nearer. The fewer pixels an object has, the more it is like a degraded
            one, whatever the gate says of its image: with "auto" the rule of an image's level holds for this even
            where the gate calls the image clear.
        near_clicked: share of the image; an object that was clicked is looked at again if its mask's box is smaller.
        near_boxed: the same for an object's box, where it was given.
    """

    above: float = 0.0
    timestep: int | None = None
    strength: float = 1.0
    image_size: int | None = None
    least_box: float = 0.0
    base_share: float = 0.0
    near_size: int | None = None
    near_clicked: float = 0.0
    near_boxed: float = 0.0

    def __post_init__(self) -> None:
        level = math.isfinite(self.above) and self.above >= 0
        parts = (self.least_box, self.near_clicked, self.near_boxed)
        shares = all(0 <= share <= 1 for share in parts) and 0 <= self.base_share < 1
        if not (level and 0 <= self.strength <= MAX_STRENGTH and shares):
            raise ModelError(
                f"expected a level of at least 0, a strength of 0 to {MAX_STRENGTH:g} and shares of 0 to 1, got "
                f"{asdict(self)}; correct the rule"
            )


class Restoration:
    """Turns the embedding of a degraded image into one that the decoder reads better.

    Args:
        enhancer: latent `(1, C, h, w)` to latent of the same shape; None leaves latents as they are.
        gate: latent to whether the image is degraded; a `DegradationGate` also gives its level, a `GainGate` decides
            for clicks and boxes apart. None: all images are.
        skips: changes the skips; None leaves them raw.
        decoder: model with a tuned mask decoder for restored embeddings; None uses the base model's.
        encoder: model with a tuned image encoder, which encodes degraded images again; None uses the base model's.
        rules: by level, lowest first; the last one whose `above` the level reaches holds. Empty: one for all.
        at_timestep: the enhancer at the timesteps that rules name.
        weights: digest of all parts, for the results' `info`.

    Raises:
        ModelError: the rules are not in order, name a timestep without an enhancer for it, or need a gate that tells
            levels and there is none.
    """

    def __init__(
        self,
        enhancer: EnhanceLatent | None = None,
        gate: Callable[[Tensor], bool] | JudgesGain | None = None,
        skips: SkipAdapter | None = None,
        decoder: PromptableModel | None = None,
        rules: Sequence[LevelRule] = (),
        at_timestep: Mapping[int, EnhanceLatent] | None = None,
        weights: str | None = None,
        encoder: PromptableModel | None = None,
    ) -> None:
        self.enhancer, self.gate, self.skips = enhancer, gate, skips
        self.decoder, self.encoder = decoder, encoder
        self.rules, self.at_timestep, self.weights = tuple(rules) or (LevelRule(),), dict(at_timestep or {}), weights
        if any(a.above >= b.above for a, b in itertools.pairwise(self.rules)) or self.rules[0].above != 0:
            raise ModelError(f"expected rules from level 0 upwards, got {[r.above for r in self.rules]}; sort them")
        unknown = {r.timestep for r in self.rules if r.timestep is not None} - set(self.at_timestep)
        if unknown:
            raise ModelError(f"expected an enhancer for each timestep of the rules, got none for {sorted(unknown)}")
        if self.needs_level and not isinstance(gate, (LevelGate, JudgesGain)):
            raise ModelError("expected a gate with rules by level or attenuated skips, got none; add a trained gate")

    @classmethod
    def of(
        cls, enhancer: EnhanceLatent | Restoration | None, gate: Callable[[Tensor], bool] | JudgesGain | None = None
    ) -> Restoration | None:
        """One object for all that restores; None for the base model alone."""
        return enhancer if enhancer is None or isinstance(enhancer, Restoration) else cls(enhancer, gate)

    def under(self, wrap: Callable[[PromptableModel], PromptableModel]) -> Restoration:
        """The same for a model with a head: tuned encoder and decoder are wrapped as the model itself is."""
        other = copy.copy(self)
        other.decoder = None if self.decoder is None else wrap(self.decoder)
        other.encoder = None if self.encoder is None else wrap(self.encoder)
        return other

    def modules(self) -> Iterator[nn.Module]:
        """The parts that are torch modules, with those that work at other timesteps."""
        parts = (self.enhancer, self.gate, self.skips, self.decoder, self.encoder, *self.at_timestep.values())
        return (part for part in parts if isinstance(part, nn.Module))

    @property
    def needs_level(self) -> bool:
        """Whether the level decides more than if the image is restored at all."""
        return len(self.rules) > 1 or (self.skips is not None and self.skips.kind == "attenuate")

    @property
    def looks_nearer(self) -> bool:
        """Whether small objects of some images are looked at again, in crops of the image."""
        return any(rule.near_size is not None for rule in self.rules)

    @property
    def needs_pixels(self) -> bool:
        """Whether some images are encoded again, or the gate looks at pixels."""
        return (
            isinstance(self.gate, JudgesGain)
            or self.encoder is not None
            or any(rule.image_size is not None for rule in self.rules)
        )

    def judge(self, embedding: Embedding, pixels: Tensor | None = None) -> Verdict:
        """Ask the gate about one image; without a gate every image is restored.

        Args:
            embedding: the base model's.
            pixels: `(1, 3, h, w)` model input; needed where `needs_pixels`.

        Raises:
            ModelError: the gate needs pixels and there are none.
        """
        if self.gate is None:
            return Verdict()
        if isinstance(self.gate, JudgesGain):
            if pixels is None:
                raise ModelError("expected the image's pixels for the gate, got none; pass them")
            return self.gate.verdict(embedding, pixels)
        if isinstance(self.gate, LevelGate):
            return judged_by_level(float(self.gate.level(embedding.latent)), self.gate.threshold)
        wanted = bool(self.gate(embedding.latent))
        return Verdict(None, wanted, wanted)

    def rule(self, level: float | None) -> LevelRule:
        """The rule for a level."""
        return self.rules[0] if level is None else [r for r in self.rules if r.above <= level][-1]

    def restore(
        self, model: PromptableModel, embedding: Embedding, level: float | None = None, pixels: Tensor | None = None
    ) -> Embedding:
        """Restore the embedding of one image.

        Args:
            model: the base model, for a second encoding.
            embedding: what it made of the image.
            level: what the gate said.
            pixels: `(1, 3, h, w)` model input, its longer side S; needed where `needs_pixels`.

        Raises:
            ModelError: the enhancer gives another shape, or pixels or level are missing.
        """
        return self.enhance(self.encode_again(model, embedding, level, pixels), level)

    def encode_again(
        self, model: PromptableModel, embedding: Embedding, level: float | None = None, pixels: Tensor | None = None
    ) -> Embedding:
        """Encode an image again, where its level asks for another input size or there is a tuned encoder.

        Arguments and errors are those of `restore`.
        """
        size = self.rule(level).image_size
        if size is None and self.encoder is None:
            return embedding
        if pixels is None:
            raise ModelError("expected the image's pixels for a second encoding, got none; pass them")
        encoder = model if self.encoder is None else self.encoder
        return encoder.encode(shrink(pixels, size, encoder.side_step))

    def enhance(self, embedding: Embedding, level: float | None = None) -> Embedding:
        """Take an embedding through the enhancer and the skips; see `restore`."""
        restored = embedding.with_latent(self._enhance(embedding.latent, self.rule(level)))
        if self.skips is None:
            return restored
        seen = None if level is None else restored.latent.new_tensor([level])
        return self.skips(restored, seen)  # type: ignore[no-any-return]

    def _enhance(self, latent: Tensor, rule: LevelRule) -> Tensor:
        """Run the enhancer that a rule names, as strongly as it says."""
        enhancer = self.enhancer if rule.timestep is None else self.at_timestep[rule.timestep]
        if enhancer is None:
            return latent
        enhanced = enhancer(latent)
        if enhanced.shape != latent.shape:
            raise ModelError(
                f"expected an enhanced latent of shape {tuple(latent.shape)}, got {tuple(enhanced.shape)}; use an "
                "enhancer that was made for this model"
            )
        return enhanced if rule.strength == 1.0 else torch.lerp(latent, enhanced, rule.strength)

    def decode(
        self, model: PromptableModel, embedding: Embedding, prompts: PromptTensors, multimask: bool = False
    ) -> MaskOutput:
        """Decode prompts, given in pixels of the model's usual square, on a restored embedding.

        Logits have the usual size, whatever size the image was encoded at, so that masks, geometry and mask inputs
        stay those of the base model.
        """
        side, usual = 4 * max(embedding.latent.shape[-2:]), model.image_size // MASK_STRIDE
        decoder = model if self.decoder is None else self.decoder
        if side == usual:
            return decoder.decode(embedding, prompts, multimask)
        output = decoder.decode(embedding, _scaled(prompts, side / usual, side), multimask)
        fine = None if output.fine is None else _resized_answer(output.fine, 2 * usual)
        return replace(output, low_res_logits=_resized_answer(output.low_res_logits, usual), fine=fine)


class EnhancedModel(PromptableModel):
    """A promptable model whose `encode` restores the embedding; the whole path of `enhance="on"` as one module.

    Args:
        base: the segmentation model.
        enhancer: latent to latent of the same shape; None leaves the latent as it is.
        skips: changes the skips; None leaves them raw.
        gate: tells levels to a skip adapter that needs them.
        size: side of the square that images are encoded in; None is the base model's own.
    """

    family: ClassVar[str] = "enhanced"

    def __init__(
        self,
        base: PromptableModel,
        enhancer: nn.Module | None = None,
        skips: SkipAdapter | None = None,
        gate: DegradationGate | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.base, self.enhancer, self.skips, self.gate = base, enhancer, skips, gate
        self.image_size, self.side_step = base.image_size, base.side_step

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """As the base model."""
        return self.base.preprocess(image)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode pixel values of the sizes that the base model takes, enhance the latent and restore the skips.

        As in use, the gate reads the encoding at the model's own size, also where images are encoded again at another.
        """
        levels = None
        if self.gate is not None and self.size is not None:
            with torch.no_grad():
                levels = self.gate.levels(self.base.encode(shrink(pixel_values, None, self.side_step)).latent)
        return self.restore(self.base.encode(shrink(pixel_values, self.size, self.side_step)), levels)

    def restore(self, embedding: Embedding, levels: Tensor | None = None) -> Embedding:
        """Enhance the latent and restore the skips of an embedding, of known levels or those that the gate reads."""
        if levels is None and self.gate is not None:
            levels = self.gate.levels(embedding.latent)
        if self.enhancer is not None:
            embedding = embedding.with_latent(self.enhancer(embedding.latent))
        restored: Embedding = embedding if self.skips is None else self.skips(embedding, levels)
        return restored

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """As the base model, with logits of its usual size."""
        return Restoration().decode(self.base, embedding, prompts, multimask)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the base model into `base` and the enhancer, where there is one, into `enhancer`."""
        self.base.save_pretrained(Path(folder) / "base")
        if self.enhancer is not None:
            self.enhancer.save_pretrained(Path(folder) / "enhancer")  # type: ignore[operator]


def shrink(pixels: Tensor, size: int | None, step: int | None = None) -> Tensor:
    """Bring the longer side of `(B, 3, h, w)` model input to `size`, with a filter against aliasing.

    Both sides shrink by one factor, exactly: what a rounded side would stretch, answers would be off by. The end of a
    side that is no whole number of pixels then is cut, or repeats its last one.

    Args:
        pixels: whole squares, or images without their padding.
        size: pixels of the longer side; None leaves the size.
        step: `PromptableModel.side_step` of the encoder; sides are filled up with grey to its multiples.
    """
    longest = max(pixels.shape[-2:])
    if size is not None and size != longest:
        factor, sides = size / longest, (pixels.shape[-2], pixels.shape[-1])
        rows, columns = (max(1, round(side * factor)) for side in sides)
        below, right = (_missing(side, new, factor) for side, new in zip(sides, (rows, columns), strict=True))
        filled = F.pad(pixels, (0, right, 0, below), mode="replicate")
        pixels = F.interpolate(filled, scale_factor=factor, mode="bilinear", align_corners=False, antialias=True)
        pixels = pixels[..., :rows, :columns]
    if step is None:
        return pixels
    return F.pad(pixels, (0, -pixels.shape[-1] % step, 0, -pixels.shape[-2] % step))


def _missing(side: int, new: int, factor: float) -> int:
    """How many pixels a side lacks for `new` whole ones to come out by a factor; torch rounds their number off."""
    return next(more for more in itertools.count() if math.floor((side + more) * factor) >= new)


def _scaled(prompts: PromptTensors, factor: float, side: int) -> PromptTensors:
    """Prompts of the usual square in a smaller one whose mask inputs have `side` cells."""
    masks = prompts.mask_input
    return PromptTensors(
        None if prompts.point_coords is None else prompts.point_coords * factor,
        prompts.point_labels,
        None if prompts.boxes is None else prompts.boxes * factor,
        None if masks is None else _resized(masks, side),
    )


def _resized_answer(logits: Tensor, side: int) -> Tensor:
    """`(B, N, C, h, w)` logits at `(B, N, C, side, side)`."""
    return _resized(logits.flatten(0, 1), side).reshape(*logits.shape[:3], side, side)


def _resized(maps: Tensor, side: int) -> Tensor:
    """`(B, N, h, w)` logits at `(B, N, side, side)`."""
    return F.interpolate(maps.float(), (side, side), mode="bilinear", align_corners=False)
