"""Heads learn on a frozen model: HQ-SAM's on masks of fine detail, RobustSAM's on pairs of degraded and clean images.

HQ (Ke et al., NeurIPS 2023): cross-entropy and Dice of the high-quality mask alone at uncertain points; points, boxes
or noisy masks as prompts. Robust (Chen et al., CVPR 2024): focal and Dice loss against the truth, and tokens and
features of the degraded image close to those that the frozen decoder has of the clean one, which get no gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.data.base import SegmentationDataset
from glesam.errors import ModelError
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.heads.registry import new_head
from glesam.heads.robust import RobustHead
from glesam.models.base import Embedding, PromptTensors
from glesam.models.tuned import mask_decoder
from glesam.train.config import HeadConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.head_views import CERTAIN, HeadBatches
from glesam.train.feed.large_scale import noisy_mask
from glesam.train.feed.pack import ImagePack
from glesam.train.losses import dice_loss, focal_loss, hard_iou
from glesam.train.points import point_losses
from glesam.train.stages.base import validate
from glesam.train.stages.frozen import decay_groups, open_frozen
from glesam.train.validation import LEVELS, DegradedSet
from glesam.weights.folders import state_digest

FOCAL_WEIGHT, TOKEN_WEIGHT, FEATURE_WEIGHT = 20.0, 2.0, 100.0


class HeadObjective(nn.Module):
    """Losses of a head on a batch of `HeadBatches`.

    Args:
        model: frozen base model and the head that learns.
        prompt_kinds: what the batches' `kind` counts.
    """

    def __init__(self, model: HeadedModel, prompt_kinds: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.prompt_kinds = model, prompt_kinds

    def train(self, mode: bool = True) -> HeadObjective:
        """Set the mode of the head; the base model stays in evaluation mode."""
        super().train(mode)
        self.model.base.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` (what to minimise), its parts, and `iou` (of the head's single mask, for the log)."""
        base, head = self.model.base, self.model.head
        targets = batch["masks"].flatten(0, 1).float()
        prompts = self.prompts(batch)
        embedding = self._encode(batch["pixels"])
        inputs = base.decoder_inputs(embedding, prompts, batch["origin"])
        if isinstance(head, HQHead):
            logits = head.high_quality(mask_decoder(base), inputs, head.fuse(embedding))[:, 0]
            losses = hq_losses(logits, targets)
        else:
            robust = cast(RobustHead, head)
            found = robust.answer(mask_decoder(base), inputs, robust.fuse(embedding))
            with torch.no_grad():
                clean = self._encode(batch["clean"])
                teacher_inputs = base.decoder_inputs(clean, prompts, batch["origin"])
                teacher = robust.answer(mask_decoder(base), teacher_inputs, robust.fuse(clean, clear=True), clear=True)
            losses = robust_losses(found, teacher, targets)
            logits = found.logits[:, 0]
        losses["iou"] = hard_iou(logits.detach(), _at(targets, logits)).mean()
        return losses

    def prompts(self, batch: Batch) -> PromptTensors:
        """The step's prompts in pixels of what the model sees."""
        base, side = self.model.base, batch["pixels"].shape[1]
        factor = 1.0 if base.takes_crops else base.image_size / side
        kind = self.prompt_kinds[int(batch["kind"])]
        if kind == "points":
            labels = torch.ones(batch["points"].shape[:3], dtype=torch.long, device=batch["points"].device)
            return PromptTensors(batch["points"] * factor, labels)
        if kind == "box":
            return PromptTensors(boxes=batch["boxes"] * factor)
        cells = side // 4 if base.takes_crops else base.image_size // 4
        masks = F.interpolate(batch["masks"].float(), (cells, cells), mode="area")
        return PromptTensors(mask_input=CERTAIN * (2 * noisy_mask(masks) - 1))

    def _encode(self, views: Tensor) -> Embedding:
        """Encode views by the frozen encoder."""
        with torch.no_grad():
            return self.model.encode(self.model.pixels_of(views.cpu().numpy()).to(views.device))


def hq_losses(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """HQ-SAM's losses of `(M, h, w)` high-quality masks against `(M, H, W)` in 0..1."""
    entropy, dice = point_losses(logits, targets)
    return {"loss": entropy + dice, "entropy": entropy, "dice": dice}


def robust_losses(found: Any, teacher: Any, targets: Tensor) -> dict[str, Tensor]:
    """RobustSAM's losses.

    The single mask learns from the truth, and so does the best of the three candidates (the authors train none).

    Args:
        found: `RobustAnswer` on degraded images.
        teacher: on clean ones, without gradients.
        targets: `(M, H, W)` in 0..1.
    """
    truth = _at(targets, found.logits)[:, None].expand_as(found.logits)
    each = FOCAL_WEIGHT * focal_loss(found.logits, truth) + dice_loss(found.logits, truth)
    mask = each[:, 0].mean() + 0.5 * each[:, 1:].min(dim=1).values.mean()
    tokens = TOKEN_WEIGHT * F.mse_loss(found.tokens, teacher.tokens.detach())
    features = FEATURE_WEIGHT * F.mse_loss(found.features, teacher.features.detach())
    return {"loss": mask + tokens + features, "mask": mask, "tokens": tokens, "features": features}


class HeadStage:
    """Brings model, head, batches and validation to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.

    Raises:
        ModelError: unknown model, or one that takes no heads.
    """

    name = "head"

    def __init__(self, config: HeadConfig, packs: list[ImagePack], val: SegmentationDataset | None = None) -> None:
        self.config, self.packs, self.val = config, packs, val
        base = open_frozen(config.model)
        self.digest = state_digest(base)
        torch.manual_seed(config.seed)
        model = HeadedModel(base, new_head(config.kind, base))
        self.objective = HeadObjective(model, config.prompt_kinds)

    def batches(self, rank: int) -> HeadBatches:
        """The stream of training batches of a process."""
        return HeadBatches(self.packs, list(self.config.data.values()), self.config, rank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head alone; weight decay on matrices and kernels."""
        return decay_groups([self.objective.model.head], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean IoU with three points and with the box, with the head and without, clear and degraded."""
        if self.val is None:
            return {}
        headed = self._whole(model)
        measured: dict[str, float] = {}
        for level in LEVELS:
            data = DegradedSet(self.val, level, self.config.seed)
            for name, one in (("", headed), ("base_", headed.base)):
                scores = validate(cast(Any, one), data, self.config.val_images, self.config.seed)
                measured |= {f"{name}{prompt}_{level}": value for prompt, value in scores.items()}
        return measured

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the head.

        Raises:
            ModelError: the base model is not what it was before the training.
        """
        headed = self._whole(model)
        if state_digest(headed.base) != self.digest:
            raise ModelError("expected the base model to stay as it was, got other weights; report this as a fault")
        headed.head.save_pretrained(folder, headed.base)

    def _whole(self, model: nn.Module) -> HeadedModel:
        """The averaged model with the running statistics of the one that learns, which no average is taken of."""
        headed = cast(HeadedModel, model)
        pairs = zip(headed.head.buffers(), self.objective.model.head.buffers(), strict=True)
        for kept, current in pairs:
            kept.copy_(current)
        return headed


def _at(targets: Tensor, logits: Tensor) -> Tensor:
    """`(M, H, W)` targets at the size of `(M, ..., h, w)` logits, each the share of its area."""
    return F.interpolate(targets[:, None], logits.shape[-2:], mode="area")[:, 0]
