"""Stage 2: the mask decoder learns to read enhanced latents, on degraded and on clear images.

GleSAM (CVPR 2025), section 3.3, with points and boxes. All mask tokens and the IoU head stay in the loss: with Adam and
weight decay alone, as in the official code, the multi-mask heads shrink to nothing. Training the encoder instead is the
baseline that the paper leaves out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.data.base import SegmentationDataset
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import EnhancedModel
from glesam.enhance.registry import load_enhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ConfigError
from glesam.models.base import Embedding, PromptableModel, PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.models.tuned import image_encoder, mask_decoder, save_tuned
from glesam.train.config import DecoderConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches
from glesam.train.feed.views import view_pixels
from glesam.train.losses import dice_loss, focal_loss, hard_iou, mask_losses
from glesam.train.stages.base import _corrective_click, validate
from glesam.train.stages.frozen import decay_groups
from glesam.train.stages.trainable import TUNABLE, changed_tensors, open_tuned, saved_part, unfreeze
from glesam.train.validation import LEVELS, DegradedSet

_CORNERS = ("compact", "sam2")
_ALL_SHARE = 0.1


class DecoderObjective(nn.Module):
    """Mask losses on the degraded views of pairs.

    Args:
        model: base model and enhancer; what is frozen runs without gradients and in evaluation mode.
        loss: see `DecoderConfig`.
        refine: see `DecoderConfig`.
    """

    def __init__(self, model: EnhancedModel, loss: str, refine: float) -> None:
        super().__init__()
        self.model, self.refine = model, refine
        self.losses = dice_focal_losses if loss == "dice-focal" else mask_losses

    def train(self, mode: bool = True) -> DecoderObjective:
        """Set the mode; an encoder or enhancer without anything to learn stays in evaluation mode."""
        super().train(mode)
        for part in (image_encoder(self.model.base), self.model.enhancer, self.model.gate):
            if part is not None and not _learns(part):
                part.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses; see `mask_losses` for the names."""
        embedding = self.embed(view_pixels(self.model.base, batch["pixels"]))
        targets = batch["targets"].flatten(0, 1).float() / 255
        prompts = PromptTensors(*_to_frame(batch, self.model.base))
        logits, iou = self.model.base.decode_all(embedding, prompts, batch["origin"])
        losses = self._losses(logits, iou, targets)
        if torch.rand(()).item() < self.refine and self.model.base.takes_crops:
            prompts = _corrective_click(batch, logits[:, :, 0].detach(), targets)
            second = self._losses(*self.model.base.decode_all(embedding, prompts, batch["origin"]), targets)
            losses["loss"] = losses["loss"] + second["loss"]
            losses["iou_refined"] = second["iou"]
        return losses

    def embed(self, pixels: Tensor) -> Embedding:
        """Encode and enhance, with gradients for the parts that learn."""
        base, enhancer = self.model.base, self.model.enhancer
        with torch.set_grad_enabled(_learns(image_encoder(base))):
            embedding = base.encode(pixels)
        parts = [part for part in (image_encoder(base), enhancer, self.model.skips) if part is not None]
        with torch.set_grad_enabled(any(_learns(part) for part in parts)):
            return self.model.restore(embedding)

    def _losses(self, logits: Tensor, iou: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Losses of all tokens; targets take the size of the logits where the model has its own."""
        if logits.shape[-2:] != targets.shape[-2:]:
            targets = F.interpolate(targets[None], logits.shape[-2:], mode="bilinear", align_corners=False)[0]
        return self.losses(logits.flatten(0, 1), iou.flatten(0, 1), targets)


class DecoderStage:
    """Brings model, enhancer, pairs and validation to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.

    Raises:
        ModelError: unknown or unfit model or enhancer.
        ConfigError: a part to train is not there, or the model cannot be trained with this stage.
    """

    name = "decoder"

    def __init__(self, config: DecoderConfig, packs: list[ImagePack], val: SegmentationDataset | None = None) -> None:
        self.config, self.packs, self.val = config, packs, val
        base = open_tuned(config.model, config.init)
        if base.family not in _CORNERS:
            raise ConfigError(
                f"expected a model of {' or '.join(_CORNERS)} for this stage, got {base.family}: its prompt encoder "
                "takes no boxes as corner points; train its enhancer instead"
            )
        before = saved_part(config.init, "enhancer")
        source = before or config.enhancer
        enhancer = None if source is None else load_enhancer(source)
        self.saves_enhancer = before is not None or "enhancer" in config.train
        skips, gate = _open_skips(config, base)
        model = EnhancedModel(base, enhancer, skips, gate, config.inference_size).requires_grad_(False)
        unfreeze(model, config.train, config.encoder_layers)
        self.changed = {part: changed_tensors(base, part, config.init) for part in TUNABLE}
        self.objective = DecoderObjective(model, config.loss, config.refine)

    def batches(self, rank: int) -> PairBatches:
        """The stream of training batches of a process."""
        return PairBatches(self.packs, list(self.config.data.values()), self.config, rank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Decoder at the full learning rate, encoder and enhancer at a share of it."""
        c, model = self.config, self.objective.model
        own = [] if model.skips is None else [model.skips]
        slow = [image_encoder(model.base), *([model.enhancer] if model.enhancer is not None else [])]
        return [
            *decay_groups([mask_decoder(model.base), *own], c.lr, c.weight_decay),
            *decay_groups(slow, c.lr * c.encoder_lr, c.weight_decay),
        ]

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean IoU with three points and with the box, at each level: `points3_lq3` and so on."""
        if self.val is None:
            return {}
        measured: dict[str, float] = {}
        for level in LEVELS:
            data = DegradedSet(self.val, level, self.config.seed)
            scores = validate(cast(CompactModel, model), data, self.config.val_images, self.config.seed)
            measured |= {f"{name}_{level}": value for name, value in scores.items()}
        return measured

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write what learnt: the decoder's changed tensors into `decoder`, the others whole under their own names."""
        whole = cast(EnhancedModel, model)
        for part, names in self.changed.items():
            if names:
                save_tuned(whole.base, part, folder / part, names)
        if whole.skips is not None:
            whole.skips.save_pretrained(folder / "skips")
        if whole.enhancer is not None and self.saves_enhancer:
            whole.enhancer.save_pretrained(folder / "enhancer")  # type: ignore[operator]


def _open_skips(config: DecoderConfig, base: PromptableModel) -> tuple[SkipAdapter | None, DegradationGate | None]:
    """The skip adapter from before, or the one that a configuration asks for, fresh; and the gate that it needs.

    Raises:
        ConfigError: attenuated skips without a gate.
    """
    before = saved_part(config.init, "skips")
    adapter = _new_skips(config, base) if before is None else SkipAdapter.from_pretrained(before)
    if adapter is None or adapter.kind != "attenuate":
        return adapter, None
    if config.gate is None:
        raise ConfigError("expected a gate to attenuate skips by its level, got none; pass its folder as gate")
    return adapter, DegradationGate.from_pretrained(config.gate)


def _new_skips(config: DecoderConfig, base: PromptableModel) -> SkipAdapter | None:
    """A fresh skip adapter, drawn from the seed; None for raw skips."""
    if config.skips == "raw":
        return None
    with torch.inference_mode():
        embedding = base.encode(torch.zeros(1, 3, base.image_size, base.image_size))
    torch.manual_seed(config.seed)
    return SkipAdapter(config.skips, embedding.latent.shape[1], tuple(skip.shape[1] for skip in embedding.skips))


def dice_focal_losses(logits: Tensor, iou_pred: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Dice and focal loss in equal parts (GleSAM), of all four mask tokens.

    Token 0 learns from every prompt, and so does the best of the candidates 1 to 3; a tenth of their loss is the mean
    of all three, since a candidate that never wins would never learn (relaxed winner takes all, Rupprecht et al.,
    ICCV 2017). The IoU head learns the actual IoU. Arguments and names are those of `mask_losses`.
    """
    target = targets.unsqueeze(1).expand_as(logits)
    each = dice_loss(logits, target) + focal_loss(logits, target)
    actual = hard_iou(logits.detach(), target)
    single, three = each[:, 0].mean(), each[:, 1:]
    candidates = (1 - _ALL_SHARE) * three.min(dim=1).values.mean() + _ALL_SHARE * three.mean()
    head = F.mse_loss(iou_pred, actual)
    loss = single + 0.5 * candidates + head
    return {"loss": loss, "mask": single, "candidates": candidates, "iou_head": head, "iou": actual[:, 0].mean()}


def _to_frame(batch: Batch, model: PromptableModel) -> tuple[Tensor, Tensor]:
    """Points in the frame of the pixels that the model sees, with their labels."""
    points = batch["points"]
    if not model.takes_crops:
        points = points * (model.image_size / batch["pixels"].shape[1])
    return points, batch["labels"]


def _learns(module: nn.Module) -> bool:
    """Whether any weight of a module learns."""
    return any(parameter.requires_grad for parameter in module.parameters())
