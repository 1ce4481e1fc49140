"""The objective of the base stage with corrective rounds, masks at stride 2 and degraded twins.

Interactive segmenters are trained as they are used (Sofiiuk et al., ICIP 2022): the model answers, a click goes where
it is wrong, it answers again with its own mask before it, and the last answer counts. Some rounds come without a click:
its own mask alone then helps it to a better one.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.base import PADDING_LABEL, Embedding, PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.predict.embeddings import in_float32
from glesam.train.config import BaseConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.twins import error_clicks
from glesam.train.losses import edge_loss, mask_losses

_OBJECT_WEIGHT = 4.0
"""What a cell of an object counts in the distance between latents; others count 1."""


class RoundsObjective(nn.Module):
    """Losses of the compact model on a batch of `TwinBatches`."""

    def __init__(self, model: CompactModel, config: BaseConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses: `loss` is what to minimise, the others are for the log."""
        config = self.config
        pixels = self.model.pixels_of(batch["pixels"].cpu().numpy()).to(batch["points"].device)
        embedding = encoded(self.model, pixels, config.bfloat16)
        first = config.prompts - config.corrected
        losses = self._answer(embedding, batch, slice(0, first), None)
        if config.corrected:
            corrected, logits = self._corrected(embedding, batch, slice(first, config.prompts))
            second = self._answer(embedding, corrected, slice(first, config.prompts), logits)
            share = config.corrected / config.prompts
            losses["loss"] = (1 - share) * losses["loss"] + share * second["loss"]
            losses["iou_corrected"] = second["iou"]
        if config.twins:
            losses["pull"] = pull(embedding.latent, batch["targets"], config.twins)
            losses["loss"] = losses["loss"] + config.pull * losses["pull"]
        return losses

    def _answer(self, embedding: Embedding, batch: Batch, part: slice, before: Tensor | None) -> dict[str, Tensor]:
        """Losses of some of the prompts, given `(B, N, h, w)` logits of an earlier answer to them."""
        prompts = PromptTensors(batch["points"][:, part], batch["labels"][:, part], mask_input=before)
        logits, iou, fine = self.model.decode_fine(embedding, prompts, batch["origin"])
        targets = batch["targets"][:, part].flatten(0, 1).float() / 255
        losses = mask_losses(logits.flatten(0, 1), iou.flatten(0, 1), targets, focal=0.5)
        if fine is not None:
            finer = batch["fine"][:, part].flatten(0, 1).float() / 255
            losses["edge"] = edge_loss(fine[:, :, 0].flatten(0, 1), finer).mean()
            losses["loss"] = losses["loss"] + losses["edge"]
        return losses

    @torch.no_grad()
    def _corrected(self, embedding: Embedding, batch: Batch, part: slice) -> tuple[Batch, Tensor]:
        """Some of the prompts after one to `config.rounds` answers, clicks after these, and the last answer.

        Returns:
            The batch with these prompts replaced, and `(B, N, h, w)` logits.
        """
        points, labels = batch["points"].clone(), batch["labels"].clone()
        truth = batch["targets"][:, part].flatten(0, 1) > 127
        rounds = int(torch.randint(1, self.config.rounds + 1, ()).item())
        rng = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        logits: Tensor | None = None
        for _ in range(rounds):
            prompts = PromptTensors(points[:, part], labels[:, part], mask_input=logits)
            answers, _ = self.model.decode_all(embedding, prompts, batch["origin"], slice(0, 1))
            logits = answers[:, :, 0].float()
            cells, kinds = error_clicks(logits.flatten(0, 1), truth, rng)
            if self.config.unclicked:
                kinds = np.where(rng.random(kinds.shape) < self.config.unclicked, PADDING_LABEL, kinds)
            _add_click(points[:, part], labels[:, part], cells, kinds)
        if logits is None:
            raise RuntimeError("expected at least one round of corrections, got none; set rounds to 1 or more")
        return {**batch, "points": points, "labels": labels}, logits


def encoded(model: CompactModel, pixels: Tensor, bfloat16: bool) -> Embedding:
    """Encode `(B, 3, S, S)` pixel values for a training step, in bfloat16 if asked for; the result is in float32."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
        embedding = cast(Embedding, model.encoder(pixels))
    return in_float32(embedding)


def _add_click(points: Tensor, labels: Tensor, cells: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64]) -> None:
    """Put a click into the first free slot of each prompt, or into the last one, unless there is none; in place.

    Args:
        points: `(B, N, K, 2)` in pixels of the view.
        labels: `(B, N, K)`.
        cells: `(B * N, 2)` cells `(x, y)` at stride 4.
        kinds: `(B * N,)` labels of the clicks; `PADDING_LABEL` leaves a prompt as it is.
    """
    free = (labels == PADDING_LABEL).int()
    slot = torch.where(free.any(dim=2), free.argmax(dim=2), labels.shape[2] - 1)
    places = torch.from_numpy(cells).to(points).view(*labels.shape[:2], 2) * 4.0 + 1.5
    clicks = torch.from_numpy(kinds).to(labels).view(labels.shape[:2])
    image, prompt = torch.nonzero(clicks != PADDING_LABEL, as_tuple=True)
    points[image, prompt, slot[image, prompt]] = places[image, prompt]
    labels[image, prompt, slot[image, prompt]] = clicks[image, prompt]


def pull(latent: Tensor, targets: Tensor, twins: int) -> Tensor:
    """Mean squared distance of the latents of degraded views from those of their clear twins, which get no gradient.

    Args:
        latent: `(B, C, h, w)`, the last `twins` of degraded views, as many before them of the clear ones.
        targets: `(B, P, 4h, 4w)` uint8; cells that any object covers count four times.
        twins: number of pairs.
    """
    clear, degraded = latent[-2 * twins : -twins].detach(), latent[-twins:]
    objects = F.avg_pool2d(targets[-twins:].amax(dim=1, keepdim=True).float() / 255, 4)
    weight = 1 + (_OBJECT_WEIGHT - 1) * objects
    return (weight * (degraded - clear).square().mean(dim=1, keepdim=True)).sum() / weight.sum()
