"""The base stage: the compact model learns to segment what a prompt points at, on clean images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from glesam.data.base import SegmentationDataset, object_ids
from glesam.errors import ConfigError
from glesam.models.base import PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.compact.pixels import to_pixel_values
from glesam.models.registry import load_model
from glesam.prompts.drawn import tight_box
from glesam.train.card import write_card
from glesam.train.config import BaseConfig, read_config
from glesam.train.feed.batch import Batch
from glesam.train.feed.clicks import random_points
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.twins import TwinBatches
from glesam.train.feed.views import TrainingBatches
from glesam.train.loop import CHECKPOINT, fill, is_run, read_state
from glesam.train.losses import hard_iou, mask_losses
from glesam.train.lowrank import attach, merged
from glesam.train.origins import check_origins, origins
from glesam.train.stages.rounds import RoundsObjective, encoded


class BaseObjective(nn.Module):
    """Losses of the compact model on a batch of views."""

    def __init__(self, model: CompactModel, refine: float, bfloat16: bool = False) -> None:
        super().__init__()
        self.model, self.refine, self.mixed = model, refine, bfloat16

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses; see `TrainingBatches` for the batch and `mask_losses` for the names."""
        pixels = to_pixel_values(batch["pixels"].cpu().numpy()).to(batch["points"].device)
        embedding = encoded(self.model, pixels, self.mixed)
        targets = batch["targets"].flatten(0, 1).float() / 255
        prompts = PromptTensors(batch["points"], batch["labels"])
        logits, iou = self.model.decode_all(embedding, prompts, batch["origin"])
        losses = mask_losses(logits.flatten(0, 1), iou.flatten(0, 1), targets)
        if torch.rand(()).item() < self.refine:
            prompts = _corrective_click(batch, logits[:, :, 0].detach(), targets)
            logits, iou = self.model.decode_all(embedding, prompts, batch["origin"])
            second = mask_losses(logits.flatten(0, 1), iou.flatten(0, 1), targets)
            losses["loss"] = losses["loss"] + second["loss"]
            losses["iou_refined"] = second["iou"]
        return losses


def _corrective_click(batch: Batch, logits: Tensor, targets: Tensor) -> PromptTensors:
    """Add a click where the first answer is wrong, and give the answer back as mask prompt.

    Args:
        batch: the batch; the click takes the place of the last point.
        logits: `(B, P, h, w)` first answer.
        targets: `(B * P, h, w)` in 0..1.
    """
    truth = targets.view_as(logits) > 0.5
    wrong = (logits > 0) != truth
    # The arg-max of noise over the wrong pixels draws one of them uniformly; without any, one of all pixels.
    noise = torch.rand(wrong.shape, device=wrong.device) + wrong
    index = noise.flatten(2).argmax(dim=-1, keepdim=True)
    y, x = index.squeeze(-1) // logits.shape[-1], index.squeeze(-1) % logits.shape[-1]
    points, labels = batch["points"].clone(), batch["labels"].clone()
    points[:, :, -1] = torch.stack([x, y], dim=-1) * 4.0 + 1.5
    labels[:, :, -1] = truth.flatten(2).gather(2, index).squeeze(-1).long()
    return PromptTensors(points, labels, mask_input=logits)


class BaseStage:
    """Brings model, data and validation of the base stage to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.
    """

    name = "base"

    def __init__(self, config: BaseConfig, packs: list[ImagePack], val: SegmentationDataset | None = None) -> None:
        model = build_model(config)
        if model.fine is not None and not config.fine:  # a head that stays behind would spoil the others' work
            config = config.model_copy(update={"fine": True})
        self.config, self.packs, self.val = config, packs, val
        # Taken before a resumed run's weights come in: the start is what `init` names, always.
        start = merged(model).state_dict() if config.average else {}
        self.start = {name: weight.detach().clone() for name, weight in start.items()}
        self.objective: nn.Module = BaseObjective(model, config.refine, config.bfloat16)
        if _in_rounds(config):
            self.objective = RoundsObjective(model, config)

    def batches(self, rank: int) -> TrainingBatches:
        """The stream of training batches of a process."""
        if _in_rounds(self.config):
            return TwinBatches(self.packs, list(self.config.data.values()), self.config, rank)
        return TrainingBatches(self.packs, list(self.config.data.values()), self.config, rank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Backbone and the rest apart; weight decay on matrices only."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        model = cast(CompactModel, self.objective.model)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                key = (name.startswith("encoder.backbone."), parameter.ndim > 1 and "embed" not in name)
                groups.setdefault(key, []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": self.config.lr * (self.config.backbone_lr if backbone else 1.0),
                "weight_decay": self.config.weight_decay if decay else 0.0,
            }
            for (backbone, decay), parameters in groups.items()
        ]

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean IoU with three points and with the box, at the images' own size."""
        if self.val is None:
            return {}
        return validate(self._averaged(model), self.val, self.config.val_images, self.config.seed)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the model in half precision, averaged with the start where that was asked for, and its card."""
        self._averaged(model).save_pretrained(folder, half=True)
        write_card(folder, self.config)

    def _averaged(self, model: nn.Module) -> CompactModel:
        """The model, or its mean with the weights that training started from."""
        trained, share = merged(cast(CompactModel, model)), self.config.average
        if not share:
            return trained
        mean = copy.deepcopy(trained)
        state = {
            k: torch.lerp(v, self.start[k].to(v), share) if v.is_floating_point() else v
            for k, v in trained.state_dict().items()
        }
        mean.load_state_dict(state)
        return mean


def _in_rounds(config: BaseConfig) -> bool:
    """Whether a configuration asks for more than one answer to each prompt on clear views."""
    return config.corrected > 0 or config.twins > 0 or config.degraded > 0 or config.fine


def build_model(config: BaseConfig) -> CompactModel:
    """Make the model to train: from scratch, from ImageNet weights, or from a saved one; early layers frozen."""
    torch.manual_seed(config.seed)
    model = CompactModel(CompactConfig(config.backbone, drop_path=config.drop_path, prompt_maps=True))
    if config.init is not None:
        model = trained_so_far(config.init)
    elif config.pretrained:
        from glesam.train.stages.imagenet import pretrained_state

        model.encoder.backbone.load_state_dict(pretrained_state(config.backbone))
    # A run as the start brings the layers that it froze itself: what is frozen here is this configuration's matter.
    model = model.grown(config.coarse, config.fine).requires_grad_(True)
    model.encoder.neck.set_drop_path(config.drop_path)
    if config.keep_prompts:
        _keep_prompts(model)
    backbone = model.encoder.backbone
    frozen = [backbone.stem, *backbone.blocks[: backbone.taps[1] + 1]] if config.pretrained else []
    if config.lora:
        kept = {id(each) for module in frozen for each in module.modules()}
        layers = [each for part in _adapted(model) for each in part.modules() if id(each) not in kept]
        attach(model, layers, config.lora, config.seed)
    for module in frozen:
        module.requires_grad_(False)
    return model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _adapted(model: CompactModel) -> list[nn.Module]:
    """The parts whose layers get adapters; what embeds prompts stays, so that the enhancer's decoders still fit."""
    return [part for part in (model.encoder, model.mask_decoder, model.fine) if part is not None]


def _keep_prompts(model: CompactModel) -> None:
    """Freeze what embeds points, boxes and their maps; the mask prompt learns on."""
    model.prompt_encoder.requires_grad_(False)
    model.prompt_encoder.mask_embed.requires_grad_(True)
    if model.prompt_maps is not None:
        model.prompt_maps.requires_grad_(False)


def trained_so_far(init: str | Path, averaged: bool = False) -> CompactModel:
    """The saved model in a folder, or the moving average of a run.

    Args:
        init: name or folder of a model, or folder of a run.
        averaged: of a run, what it saves as its model: averaged with its start, where its `average` asks for that.

    Raises:
        ModelError: neither is there.
        ConfigError: a model of another family; or the run's configuration is missing or cannot be read, its weights
            are not those of its model, or what it was started with is not as it was.
    """
    if not is_run(init):
        model = load_model(str(init))
        if not isinstance(model, CompactModel):
            raise ConfigError(f"expected a compact model to start from, got {init} of family {model.family}")
        return model.with_prompt_maps()
    # Checkpoints leave frozen layers out: they are those of what the run itself started from.
    stage = BaseStage(read_config(BaseConfig, Path(init) / "config.json", {}), [])
    model = cast(CompactModel, stage.objective.model)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    state = read_state(Path(init) / CHECKPOINT)
    # Nothing is trained on, so that the images need not be there.
    stored = {name: value for name, value in state.items() if name != "packs"}
    check_origins(stored, origins(stage, stage.objective, frozen), Path(init))
    fill(model, state["ema"], frozen, Path(init))
    return stage._averaged(model) if averaged else merged(model)


@torch.inference_mode()
def validate(model: CompactModel, data: SegmentationDataset, count: int, seed: int) -> dict[str, float]:
    """Mean IoU over objects of at least 0.5 % of the image, on `count` images spread over the set.

    Returns:
        `points3` and `box`, each the mean IoU.
    """
    model.eval()
    scores: dict[str, list[float]] = {"points3": [], "box": []}
    for index in np.linspace(0, len(data) - 1, min(count, len(data))).astype(int):
        sample = data[int(index)]
        pixels, geometry = model.prepare(sample.image)
        embedding = model.encode(pixels)
        for object_id in object_ids(sample.mask, 0.005):
            region = sample.mask == object_id
            rng = np.random.default_rng([seed, int(index), object_id])
            points = torch.from_numpy(random_points(region, 3, rng))[None, None]
            box = torch.from_numpy(tight_box(region))[None, None]
            prompts = {
                "points3": PromptTensors(geometry.to_input(points), torch.ones(1, 1, 3, dtype=torch.long)),
                "box": PromptTensors(boxes=geometry.to_input(box.view(1, 1, 2, 2)).flatten(2)),
            }
            for name, prompt in prompts.items():
                logits = geometry.restore(model.decode(embedding, prompt).finest[0])
                truth = torch.from_numpy(region)[None, None].to(logits)
                scores[name].append(float(hard_iou(logits, truth)))
    return {name: float(np.mean(values)) if values else 0.0 for name, values in scores.items()}
