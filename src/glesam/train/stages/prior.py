"""Stage b of the prior: a small latent-diffusion U-Net learns, from scratch, what latents of images look like.

The "pre-trained latent diffusion model" of GleSAM (CVPR 2025) in small: `expand_unet_channels` turns it into the
compact model's enhancer. Unconditional: the text embedding is a constant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.priors import EMBEDDING_KEY
from glesam.enhance.schedule import NoiseSchedule, alphas_cumprod
from glesam.errors import ConfigError
from glesam.train.config import PriorConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.crops import ImageCrops, to_signed
from glesam.train.feed.pack import ImagePack
from glesam.train.stages.autoencoder import write_tiles
from glesam.train.stages.frozen import FrozenPartsObjective, decay_groups
from glesam.weights.folders import brief, saving, write_tensors

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

TEXT_FILE = "text_embedding.safetensors"


def build_unet(config: PriorConfig, latent_channels: int = 4) -> UNet2DConditionModel:
    """Make the U-Net, weights drawn from the seed.

    Raises:
        ConfigError: not one entry of `attention` for each of `channels`.
    """
    from diffusers import UNet2DConditionModel

    if len(config.attention) != len(config.channels):
        raise ConfigError(
            f"expected one entry of attention for each of {len(config.channels)} channels, got "
            f"{len(config.attention)}; such as {[False] * (len(config.channels) - 1) + [True]}"
        )
    torch.manual_seed(config.seed)
    return UNet2DConditionModel(
        sample_size=config.image_size // 8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in config.attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(config.attention)),
        cross_attention_dim=config.embedding,
        # diffusers takes the number of heads under this name.
        attention_head_dim=config.heads,
        norm_num_groups=min(16, *config.channels),
    )


def constant_text(width: int) -> Tensor:
    """The constant that stands for the text, `(1, 1, width)`; layers learn what to make of it."""
    return torch.ones(1, 1, width)


class PriorObjective(FrozenPartsObjective):
    """Noise prediction (Ho et al., NeurIPS 2020) on scaled latents."""

    def __init__(self, unet: UNet2DConditionModel, vae: AutoencoderKL) -> None:
        super().__init__(unet, vae=vae)
        self.schedule = NoiseSchedule()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, the mean squared error of the predicted noise; 1 is what predicting nothing gives."""
        vae = cast("AutoencoderKL", self.frozen["vae"])
        with torch.no_grad():
            posterior = vae.encode(to_signed(batch["pixels"])).latent_dist
            latents = posterior.sample() * vae.config.scaling_factor
        noise = torch.randn(latents.shape, device=latents.device)
        steps = torch.randint(0, self.schedule.steps, (len(latents),), device=latents.device)
        share = alphas_cumprod(self.schedule).to(latents.device, torch.float32)[steps].view(-1, 1, 1, 1)
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        unet = cast("UNet2DConditionModel", self.model)
        text = constant_text(unet.config.cross_attention_dim).to(latents).expand(len(latents), -1, -1)
        predicted = unet(noisy, steps, encoder_hidden_states=text).sample
        return {"loss": F.mse_loss(predicted, noise)}


class PriorStage:
    """Brings U-Net, frozen autoencoder and images to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        autoencoder: folder that `AutoencoderStage` saved.

    Raises:
        ConfigError: there is no autoencoder in the folder.
    """

    name = "prior"

    def __init__(self, config: PriorConfig, packs: list[ImagePack], autoencoder: str | Path) -> None:
        self.config, self.packs = config, packs
        vae = load_autoencoder(autoencoder)
        unet = build_unet(config, vae.config.latent_channels)
        vae.register_to_config(scaling_factor=self._scaling_factor(vae))
        self.objective = PriorObjective(unet, vae)

    def batches(self, rank: int) -> ImageCrops:
        """The stream of training batches of a process."""
        c = self.config
        return ImageCrops(self.packs, list(c.data.values()), c.image_size, c.batch_size, c.steps, c.seed, rank)

    @torch.no_grad()
    def _scaling_factor(self, vae: AutoencoderKL) -> float:
        """One over the latents' standard deviation on 64 crops: the prior sees unit variance, as the noise has."""
        stream = self.batches(0)
        count = min(len(stream), -(-64 // self.config.batch_size))
        latents = [vae.encode(to_signed(stream[step]["pixels"])).latent_dist.mean for step in range(count)]
        # Rounded, so that a resumed run has the same factor whatever the number of threads.
        return float(f"{1 / torch.cat(latents).std().item():.4g}")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights of the U-Net."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Nothing: the samples that `save` draws are to be looked at."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the prior in diffusers' layout, and samples as `samples.png` beside it."""
        unet, vae = cast("UNet2DConditionModel", model), cast("AutoencoderKL", self.objective.frozen["vae"])
        with saving(folder):
            unet.save_pretrained(folder / "unet")
            vae.save_pretrained(folder / "vae")
            make_scheduler().save_pretrained(folder / "scheduler")
        write_tensors(folder / TEXT_FILE, {EMBEDDING_KEY: constant_text(unet.config.cross_attention_dim)})
        if self.config.samples:
            images = draw_samples(
                unet, vae, self.config.samples, self.config.sample_steps, self.config.seed, self.config.image_size
            )
            write_tiles(folder.parent / "samples.png", images, max(1, round(self.config.samples**0.5)))


def load_autoencoder(folder: str | Path) -> AutoencoderKL:
    """Load a saved autoencoder, frozen.

    Raises:
        ConfigError: there is none in the folder.
    """
    from diffusers import AutoencoderKL

    try:
        vae = AutoencoderKL.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected an autoencoder in {folder}, got: {brief(error)}; train it first") from error
    return vae.requires_grad_(False).eval()


def make_scheduler() -> Any:
    """Diffusers' form of the schedule that the prior is trained with."""
    from diffusers import DDIMScheduler

    schedule = NoiseSchedule()
    return DDIMScheduler(
        num_train_timesteps=schedule.steps,
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        beta_schedule=schedule.kind,
        prediction_type=schedule.prediction_type,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


@torch.no_grad()
def draw_samples(
    unet: UNet2DConditionModel, vae: AutoencoderKL, count: int, steps: int, seed: int, image_size: int
) -> Tensor:
    """Draw images from noise by DDIM (Song et al., ICLR 2021).

    Returns:
        `(count, 3, image_size, image_size)` in about -1 to 1.
    """
    scheduler = make_scheduler()
    scheduler.set_timesteps(steps)
    stride = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (count, unet.config.in_channels, image_size // stride, image_size // stride)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(unet.device)
    text = constant_text(unet.config.cross_attention_dim).to(latents).expand(count, -1, -1)
    for step in scheduler.timesteps:
        noise = unet(latents, step, encoder_hidden_states=text).sample
        latents = scheduler.step(noise, step, latents).prev_sample
    images: Tensor = vae.to(latents.device).decode(latents / vae.config.scaling_factor).sample
    return images
