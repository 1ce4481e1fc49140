"""Stage 1: the enhancer learns to give, from the latent of a degraded view, the latent of the clean one.

GleSAM (CVPR 2025), section 3.2 and equation 5: frozen encoder, expanded prior, low-rank adapters, mean squared error.
Where the paper and its code disagree, and for the baselines of an honest comparison, there are options.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from glesam.data.base import SegmentationDataset
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.lora import ALL_TARGETS, ATTENTION_TARGETS, attach_lora
from glesam.enhance.priors import load_prior, load_schedule
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ConfigError
from glesam.models.base import PromptableModel
from glesam.train.config import RANDOM, EnhancerConfig, PriorConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.latents import Progress, latent_statistics, pair_latents, pair_stream
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches
from glesam.train.stages.frozen import FrozenPartsObjective, decay_groups, open_frozen
from glesam.train.stages.prior import TEXT_FILE, build_unet, constant_text
from glesam.train.validation import level_latents

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

PRIOR_STD = 1.0
"""Standard deviation of the latents that a prior was trained on: its autoencoder's scaling factor makes it 1."""


class EnhancerObjective(FrozenPartsObjective):
    """Distance of the enhanced latent from the clean one.

    Args:
        enhancer: learns.
        encoder: frozen segmentation model.
        loss_scale: the loss is that of latents multiplied by this.
        level_timesteps: schedule index by level; see `EnhancerConfig`.
    """

    def __init__(
        self,
        enhancer: nn.Module,
        encoder: PromptableModel,
        loss_scale: float = 1.0,
        level_timesteps: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(enhancer, encoder=encoder)
        self.loss_scale, self.level_timesteps = loss_scale, level_timesteps

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `mse` (unscaled) and `ratio`, the error relative to leaving the latents as they are."""
        clean, degraded = pair_latents(cast(PromptableModel, self.frozen["encoder"]), batch)
        mse = F.mse_loss(enhance(self.model, degraded, batch["levels"], self.level_timesteps), clean)
        before = F.mse_loss(degraded, clean)
        ratio = mse.detach() / before if before > 0 else torch.ones_like(before)
        return {"loss": mse * self.loss_scale**2, "mse": mse.detach(), "ratio": ratio}


class EnhancerStage:
    """Brings enhancer, frozen model and pairs to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.
        cache: folder for cached latents; without it, or with `cached_pairs` 0, each step encodes its own.
        on_progress: called with (done, total) while latents are cached.

    Raises:
        ModelError: unknown or unfit model or prior.
        ConfigError: levels that cannot be paired.
    """

    name = "enhancer"

    def __init__(
        self,
        config: EnhancerConfig,
        packs: list[ImagePack],
        val: SegmentationDataset | None = None,
        cache: str | Path | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.config, self.packs, self.val = config, packs, val
        self.cache, self.on_progress = cache, on_progress
        self.encoder = open_frozen(config.model)
        statistics = latent_statistics(self.encoder, self._pairs(0), self._images_to_measure())
        scale = alignment_scale(config, statistics)
        enhancer = build_enhancer(config, int(statistics["channels"]), scale)
        loss_scale = scale if config.scaled_loss else 1.0
        self.objective = EnhancerObjective(enhancer, self.encoder, loss_scale, config.level_timesteps)

    def _pairs(self, rank: int) -> PairBatches:
        return PairBatches(self.packs, list(self.config.data.values()), self.config, rank)

    def _images_to_measure(self) -> int:
        """One batch shows the number of channels; measuring takes more."""
        return self.config.measured_photos if isinstance(self.config.alignment_scale, str) else 1

    def batches(self, rank: int) -> Dataset[Batch]:
        """The stream of training batches of a process."""
        return pair_stream(self.encoder, self._pairs(rank), self.cache, rank, self.on_progress)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What learns: adapters, new head and tail, or all."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Error relative to leaving latents as they are, at each LQ level; on clear images relative to the variance."""
        if self.val is None:
            return {}
        model.eval()
        c = self.config
        return enhancement(model, self.encoder, self.val, c.val_images, c.seed, c.level_timesteps, c.inference_size)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the enhancer with everything that it needs."""
        cast(LatentEnhancer, model).save_pretrained(folder)


def alignment_scale(config: EnhancerConfig, statistics: dict[str, float]) -> float:
    """The number that a configuration's alignment scale means for latents of these statistics."""
    if not isinstance(config.alignment_scale, str):
        return config.alignment_scale
    std = statistics["std" if config.alignment_scale == "measured" else "sum_std"]
    # Rounded, so that a resumed run has the same scale whatever the number of threads.
    return float(f"{PRIOR_STD / std:.3g}")


def build_enhancer(config: EnhancerConfig, channels: int, scale: float) -> nn.Module:
    """Make the enhancer to train, with only that learning which the configuration says.

    Args:
        config: the configuration.
        channels: of the model's latent.
        scale: alignment scale.

    Raises:
        ModelError: the prior is missing or does not fit, or a timestep is not on its schedule.
        ConfigError: timesteps by level for a network without any.
    """
    if config.kind == "residual-cnn" and config.level_timesteps is not None:
        raise ConfigError('expected kind "unet" with level_timesteps, got "residual-cnn"; leave one of them out')
    if config.kind == "residual-cnn":
        torch.manual_seed(config.seed)
        return ResidualEnhancer(channels, config.width, config.blocks)
    enhancer = _from_prior(config, channels, scale)
    for timestep in config.level_timesteps or ():
        enhancer.schedule.alpha_bar(timestep)  # refuses what is not on the schedule, where -1 would mean its end
    unet = enhancer.unet.requires_grad_(config.adapt == "full")
    ends = [unet.conv_in, unet.conv_out] if config.head == "new" else []
    if ends:
        _draw_ends(unet.conv_in, unet.conv_out, config.seed)
    if config.adapt == "lora":
        attach_lora(unet, config.rank, config.lora_alpha, _targets(unet, config), config.seed)
        for layer in ends:
            layer.requires_grad_(True)
    return enhancer.train()


def _from_prior(config: EnhancerConfig, channels: int, scale: float) -> LatentEnhancer:
    """Expand a random, a local or a hub's prior."""
    settings: dict[str, Any] = {"timestep": config.timestep, "alignment_scale": scale, "channels": channels}
    if config.prior == RANDOM:
        small = PriorConfig(seed=config.seed)
        text = constant_text(small.embedding)
        return LatentEnhancer.from_prior(build_unet(small), schedule=NoiseSchedule(), text_embedding=text, **settings)
    text_file = Path(config.prior) / TEXT_FILE
    unet: UNet2DConditionModel = load_prior(config.prior)
    return LatentEnhancer.from_prior(
        unet,
        schedule=load_schedule(config.prior),
        text_embedding=_text(config.prior, text_file),
        **settings,
    )


def _text(prior: str, text_file: Path) -> Tensor:
    """The constant embedding of our own priors, the empty prompt's of others."""
    from glesam.enhance.priors import empty_prompt_embedding, read_text_embedding

    return read_text_embedding(text_file) if text_file.is_file() else empty_prompt_embedding(prior)


def _draw_ends(head: nn.Conv2d, tail: nn.Conv2d, seed: int) -> None:
    """Draw a new head and tail as torch draws convolutions; the tail a hundred times smaller, near no correction."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head.reset_parameters()
        tail.reset_parameters()
    with torch.no_grad():
        for parameter in tail.parameters():
            parameter.mul_(0.01)


def _targets(unet: nn.Module, config: EnhancerConfig) -> Literal["all", "attention"] | tuple[str, ...]:
    """The layers that get adapters; a new head and tail are trained whole and need none."""
    if config.head == "cre":
        return config.targets
    ends = ALL_TARGETS if config.targets == "all" else ATTENTION_TARGETS
    layers = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    kept = [end for end in ends if end not in ("conv_in", "conv_out")]
    return tuple(end for end in kept if any(name.endswith(f".{end}") for name in layers))


def enhance(enhancer: nn.Module, latents: Tensor, levels: Tensor, table: tuple[int, ...] | None) -> Tensor:
    """Enhance `(B, C, h, w)` latents of images at `(B,)` levels, at the timesteps that a table gives their levels."""
    if table is None:
        return torch.as_tensor(enhancer(latents))
    nearest = levels.round().long().clamp(0, len(table) - 1)
    return torch.as_tensor(enhancer(latents, torch.tensor(table, device=latents.device)[nearest]))


@torch.inference_mode()
def enhancement(
    enhancer: nn.Module,
    encoder: PromptableModel,
    data: SegmentationDataset,
    count: int,
    seed: int,
    table: tuple[int, ...] | None = None,
    size: int | None = None,
) -> dict[str, float]:
    """How much nearer to the clean latent the enhancer brings degraded ones.

    Returns:
        `mse_ratio_lq1` to `mse_ratio_lq3`: mean squared error after over before, 1 for an enhancer that does nothing;
        `drift_clear`: mean squared change of clean latents over their variance, 0 for one that leaves them alone.
    """
    sums: dict[str, list[float]] = {}
    spread: list[float] = []
    for levels, latents in level_latents(encoder, data, count, seed, size):
        clean = latents[:1]
        severities = torch.tensor([float(level.severity) for level in levels], device=latents.device)
        after = (enhance(enhancer, latents, severities, table) - clean).square().flatten(1).mean(dim=1).tolist()
        before = (latents - clean).square().flatten(1).mean(dim=1).tolist()
        spread.append(float(clean.var()))
        for level, a, b in zip(levels, after, before, strict=True):
            pair = sums.setdefault(str(level), [0.0, 0.0])
            pair[0], pair[1] = pair[0] + a, pair[1] + b
    if not spread:
        return {}
    ratios = {f"mse_ratio_{k}": a / b for k, (a, b) in sums.items() if k != "clear" and b > 0}
    return {**ratios, "drift_clear": sums["clear"][0] / sum(spread)}
