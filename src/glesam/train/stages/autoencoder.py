"""Stage a of the prior: a small autoencoder, images of 256 pixels to a 4-channel latent of 32 x 32 and back.

The latent space in which the prior learns to denoise (Rombach et al., CVPR 2022), in small and from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.common.files import atomic_path
from glesam.train.config import AutoencoderConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.crops import ImageCrops, to_signed, to_tiles
from glesam.train.feed.pack import ImagePack
from glesam.train.stages.frozen import decay_groups
from glesam.weights.folders import saving

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


class AutoencoderObjective(nn.Module):
    """Reconstruction of crops from a drawn latent."""

    def __init__(self, model: AutoencoderKL, kl_weight: float, edge_weight: float) -> None:
        super().__init__()
        self.model, self.kl_weight, self.edge_weight = model, kl_weight, edge_weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `l1` (pixels in -1 to 1), `edges` and `kl` (nats for each latent value)."""
        images = to_signed(batch["pixels"])
        posterior = self.model.encode(images).latent_dist
        again = self.model.decode(posterior.sample()).sample
        l1, edges = F.l1_loss(again, images), edge_loss(again, images)
        kl = posterior.kl().sum() / posterior.mean.numel()
        loss = l1 + self.edge_weight * edges + self.kl_weight * kl
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl}


def edge_loss(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbouring pixels of `(B, C, H, W)`, both directions."""
    return sum(F.l1_loss(a.diff(dim=axis), b.diff(dim=axis)) for axis in (-1, -2))  # type: ignore[return-value]


class AutoencoderStage:
    """Brings the autoencoder and its images to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
    """

    name = "autoencoder"

    def __init__(self, config: AutoencoderConfig, packs: list[ImagePack]) -> None:
        self.config, self.packs = config, packs
        self.objective = AutoencoderObjective(build_autoencoder(config), config.kl_weight, config.edge_weight)

    def batches(self, rank: int) -> ImageCrops:
        """The stream of training batches of a process."""
        c = self.config
        return ImageCrops(self.packs, list(c.data.values()), c.image_size, c.batch_size, c.steps, c.seed, rank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Nothing: the images that `save` draws are to be looked at."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the autoencoder, and images above their reconstructions as `reconstructions.png` beside it."""
        vae = cast("AutoencoderKL", model)
        with saving(folder):
            vae.save_pretrained(folder)
        originals = to_signed(self.batches(0)[0]["pixels"])[:8].to(vae.device)
        with torch.no_grad():
            again = vae.decode(vae.encode(originals).latent_dist.mean).sample
        write_tiles(folder.parent / "reconstructions.png", torch.cat([originals, again]), len(originals))


def build_autoencoder(config: AutoencoderConfig) -> AutoencoderKL:
    """Make the autoencoder, weights drawn from the seed."""
    from diffusers import AutoencoderKL

    torch.manual_seed(config.seed)
    levels = len(config.channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=min(8, *config.channels),
        sample_size=config.image_size,
        mid_block_add_attention=False,
    )


def write_tiles(path: Path, images: Tensor, columns: int) -> None:
    """Write `(N, 3, S, S)` images in -1 to 1 as one PNG."""
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(to_tiles(images, columns), cv2.COLOR_RGB2BGR))
