"""Generative latent enhancement (GLE): the latent of a degraded image, made to look like that of a clean one.

One denoising step of a diffusion prior, adapted by LoRA (GleSAM, CVPR 2025, section 3.2 and equation 4).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.channels import expand_unet_channels
from glesam.enhance.lora import adapted_layers, base_state_dict, load_lora, save_lora
from glesam.enhance.priors import (
    EMBEDDING_KEY,
    empty_prompt_embedding,
    load_prior,
    load_schedule,
    read_text_embedding,
)
from glesam.enhance.schedule import NoiseSchedule, alphas_cumprod, noise_from_velocity, predict_x0
from glesam.errors import ModelError
from glesam.weights.folders import building, read_config, read_weights, save_tensors

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

FAMILY = "latent-enhancer"
OFFICIAL_ALPHA = 8
"""LoRA alpha of every official script, whatever the rank; the official files do not hold it."""

_UNET = "unet."
_KEYS = {"family", "timestep", "alignment_scale", "channels", "schedule", "lora", "prior", "unet"}
_UNMET_CONDITIONS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type")


class LatentEnhancer(nn.Module):
    """One denoising step in a segmentation model's latent space (GleSAM, equation 4).

    `z_hat = (g z - sqrt(1 - a) * U(g z, t, c)) / sqrt(a) / g` with the alignment scale `g` (feature distribution
    alignment), the U-Net `U`, the text embedding `c` of the empty prompt, and `a` the schedule's `alpha_bar` at `t`.
    A U-Net that predicts velocity is converted to its noise first.

    Attributes:
        unet: the diffusers U-Net, with as many channels as the latent; trainable.
        text_embedding: `(1, L, D)` buffer.
        timestep: schedule index `t`; index 1 is a small residual correction, 999 rebuilds the latent.
        alignment_scale: `g`, the factor that brings the latent's variance to that of the prior's.
        schedule: noise levels and prediction type of the prior.
        alpha_bar: the schedule's value at `timestep`.

    Raises:
        ModelError: the parts do not fit each other, or a setting is impossible.
    """

    text_embedding: Tensor

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_embedding: Tensor,
        timestep: int,
        alignment_scale: float,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        super().__init__()
        if not (math.isfinite(alignment_scale) and alignment_scale > 0):
            raise ModelError(f"expected an alignment scale above 0, got {alignment_scale}; the paper uses 5")
        _check_unet(unet)
        self.schedule = schedule or NoiseSchedule()
        self.timestep = timestep
        self.alignment_scale = float(alignment_scale)
        self.alpha_bar = self.schedule.alpha_bar(timestep)
        self.prior: str | None = None
        self.unet = unet
        self.register_buffer("text_embedding", _checked_embedding(text_embedding, unet))

    @property
    def channels(self) -> int:
        """Number of channels of the latent."""
        return int(self.unet.config.in_channels)

    @property
    def stride(self) -> int:
        """Down-scaling of the U-Net: height and width are padded to multiples of it."""
        return int(2**self.unet.num_upsamplers)

    def at(self, timestep: int) -> LatentEnhancer:
        """The same enhancer, U-Net shared, at another schedule index.

        Raises:
            ModelError: the index is not on the schedule.
        """
        other = LatentEnhancer(self.unet, self.text_embedding, timestep, self.alignment_scale, self.schedule)
        other.prior = self.prior
        return other.train(self.training)

    def forward(self, latent: Tensor, timesteps: Tensor | None = None) -> Tensor:
        """Enhance latents.

        Args:
            latent: `(B, channels, h, w)` float, any batch size, height and width.
            timesteps: `(B,)` int64 schedule indices, one for each latent; None is the enhancer's own for all.

        Returns:
            The enhanced latents, of the same shape and type. Differentiable.

        Raises:
            ModelError: the shape is another one.
        """
        check_latent(latent, self.channels)
        scaled = latent * self.alignment_scale
        share = self.alpha_bar if timesteps is None else alphas_cumprod(self.schedule).to(latent.device)[timesteps]
        noise = self._predict(scaled, self.timestep if timesteps is None else timesteps)
        if self.schedule.prediction_type == "v_prediction":
            noise = noise_from_velocity(scaled, noise, share)
        return predict_x0(scaled, noise, share) / self.alignment_scale

    def _predict(self, scaled: Tensor, timestep: int | Tensor) -> Tensor:
        """Run the U-Net on scaled latents, padded to its stride; the padding is cut off again."""
        padded = pad_to_stride(scaled, self.stride).to(self.unet.dtype)
        text = self.text_embedding.to(padded.dtype).expand(len(padded), -1, -1)
        predicted: Tensor = self.unet(padded, timestep, encoder_hidden_states=text).sample
        return predicted[..., : scaled.shape[-2], : scaled.shape[-1]]

    def save_pretrained(self, folder: str | Path, with_prior: bool = True) -> None:
        """Write `config.json`, `model.safetensors` and, with adapters, `pytorch_lora_weights.safetensors`.

        Adapters stay apart from the base, so that training can continue; `merge_lora` first makes one of both.

        Args:
            folder: made if it does not exist.
            with_prior: False leaves the U-Net's base weights out and names the prior in `config.json` instead; only
                for an enhancer from `from_prior` whose base is untouched.

        Raises:
            ModelError: `with_prior` is False but the prior's name is not known.
            OSError: a file cannot be written.
        """
        if not with_prior and self.prior is None:
            raise ModelError("expected an enhancer made by from_prior, got another; save it with_prior=True")
        folder = Path(folder)
        tensors = {EMBEDDING_KEY: self.text_embedding}
        if with_prior:
            tensors |= {_UNET + key: value for key, value in base_state_dict(self.unet).items()}
        if adapted_layers(self.unet):
            save_lora(self.unet, folder)
        save_tensors(folder, tensors, self._config(with_prior))

    def _config(self, with_prior: bool) -> dict[str, Any]:
        """What `config.json` holds."""
        unet = json.loads(self.unet.to_json_string())
        return {
            "family": FAMILY,
            "timestep": self.timestep,
            "alignment_scale": self.alignment_scale,
            "channels": self.channels,
            "schedule": asdict(self.schedule),
            "lora": bool(adapted_layers(self.unet)),
            "prior": None if with_prior else self.prior,
            "unet": {key: value for key, value in unet.items() if not key.startswith("_")} if with_prior else None,
        }

    @classmethod
    def from_pretrained(cls, folder: str | Path, prior: str | Path | None = None) -> LatentEnhancer:
        """Load what `save_pretrained` wrote, adapters attached as they were; for evaluation.

        Args:
            folder: the saved folder.
            prior: folder or hub id that takes the place of the one named in `config.json`; only for an enhancer
                that was saved without its prior.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        folder = Path(folder)
        config = _read_config(folder)
        # Copies lie aligned in memory, mapped files do not: with them the arithmetic is the same bit for bit.
        tensors = {key: value.clone() for key, value in read_weights(folder).items()}
        text = tensors.pop(EMBEDDING_KEY, None)
        if text is None:
            raise ModelError(f"expected {EMBEDDING_KEY!r} in {folder}/model.safetensors, got none; save it again")
        with building("the enhancer", folder):
            if config["unet"] is not None:
                unet = _build_unet(config["unet"], tensors, folder)
            else:
                unet = expand_unet_channels(load_prior(prior or config["prior"]), config["channels"])
            if config["lora"]:
                load_lora(unet, folder)
            schedule = NoiseSchedule.from_dict(config["schedule"])
            enhancer = cls(unet, text, config["timestep"], config["alignment_scale"], schedule)
            enhancer.prior = None if config["unet"] is not None else str(prior or config["prior"])
        return enhancer.eval()

    @classmethod
    def from_prior(
        cls,
        prior: str | Path | UNet2DConditionModel,
        lora: str | Path | None = None,
        *,
        timestep: int,
        alignment_scale: float,
        text_embedding: Tensor | str | Path | None = None,
        schedule: NoiseSchedule | None = None,
        channels: int = 256,
        lora_alpha: float | None = None,
    ) -> LatentEnhancer:
        """Make an enhancer of a diffusion prior: expand its channels and, if given, load adapters.

        Args:
            prior: folder or hub id of a diffusers pipeline or U-Net, or a U-Net (which is not changed).
            lora: file or folder of adapters; see `load_lora`. None: none yet, for training (`attach_lora`).
            timestep: schedule index of the one step.
            alignment_scale: factor on the latent.
            text_embedding: `(1, L, D)`, or a file with it; None computes the empty prompt's from the prior.
            schedule: the prior's noise schedule; None reads it from the prior's scheduler. A U-Net object or a
                folder without scheduler needs it, because weights do not tell what they predict.
            channels: channels of the latent.
            lora_alpha: see `load_lora`.

        Raises:
            ModelError: a part is missing, is of an unknown kind, or does not fit.
        """
        name = str(prior) if isinstance(prior, str | Path) else None
        if name is not None:
            schedule = load_schedule(name, schedule)
        if schedule is None:
            raise ModelError("expected a schedule with a U-Net object, got none; pass schedule=NoiseSchedule(...)")
        text = _text(text_embedding, name)
        unet = expand_unet_channels(load_prior(name) if name is not None else prior, channels)
        if lora is not None:
            load_lora(unet, lora, lora_alpha)
        enhancer = cls(unet, text, timestep, alignment_scale, schedule)
        enhancer.prior = name
        return enhancer.eval()

    @classmethod
    def from_official(
        cls,
        prior: str | Path,
        lora_file: str | Path,
        timestep: int,
        alignment_scale: float,
        text_embedding: Tensor | str | Path | None = None,
        schedule: NoiseSchedule | None = None,
    ) -> LatentEnhancer:
        """Load the official release's `pytorch_lora_weights.safetensors` on the prior that it was trained with.

        The file names neither timestep nor alignment scale: the demo of the released weights uses index 1 and
        scale 3, the training scripts index 1 and scale 5. Alpha is 8, as in all official scripts.

        Raises:
            ModelError: as `from_prior`; also for a velocity prior, which the official code would have misread.
        """
        known = load_schedule(prior, schedule)
        if known.prediction_type != "epsilon":
            raise ModelError(
                f"expected a prior that predicts noise, got {known.prediction_type!r}: the official code reads every "
                "prior as noise; use Stable Diffusion 1.5 or 2.1-base"
            )
        return cls.from_prior(
            prior,
            lora_file,
            timestep=timestep,
            alignment_scale=alignment_scale,
            text_embedding=text_embedding,
            schedule=schedule,
            lora_alpha=OFFICIAL_ALPHA,
        )


def _text(given: Tensor | str | Path | None, prior: str | None) -> Tensor:
    """The embedding itself, that of a file, or the empty prompt's of a prior."""
    if given is None and prior is None:
        raise ModelError("expected a text embedding with a U-Net object, got none; pass text_embedding")
    if given is None:
        return empty_prompt_embedding(prior or "")
    return given if isinstance(given, Tensor) else read_text_embedding(given)


def check_latent(latent: Tensor, channels: int) -> None:
    """Refuse a latent that is not `(B, channels, h, w)` floating point, or that is empty.

    Raises:
        ModelError: it is not.
    """
    if latent.ndim != 4 or latent.shape[1] != channels or not latent.is_floating_point() or not latent.numel():
        raise ModelError(
            f"expected a floating, filled (B, {channels}, h, w) latent, got {tuple(latent.shape)} of {latent.dtype}; "
            "use the enhancer that was made for this model"
        )


def pad_to_stride(latent: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of `stride`."""
    height, width = latent.shape[-2:]
    down, right = -height % stride, -width % stride
    # Also where nothing is missing: a traced graph, which is used at other sizes, then holds the padding.
    return F.pad(latent, (0, right, 0, down), mode="replicate")


def _check_unet(unet: UNet2DConditionModel) -> None:
    """Refuse a U-Net that needs more conditions than text and time, or whose channels differ."""
    config = unet.config
    if config.in_channels != config.out_channels:
        raise ModelError(
            f"expected as many output as input channels, got {config.in_channels} and {config.out_channels}; "
            "use expand_unet_channels on a text-to-image prior"
        )
    extra = [name for name in _UNMET_CONDITIONS if config.get(name) is not None]
    if extra:
        raise ModelError(f"expected a U-Net conditioned on text and time only, got {extra[0]}; use another prior")


def _checked_embedding(text: Tensor, unet: UNet2DConditionModel) -> Tensor:
    """The text embedding as `(1, L, D)` with the U-Net's D, a copy."""
    width = unet.config.cross_attention_dim
    widths = {width} if isinstance(width, int) else set(width)
    batched = text.unsqueeze(0) if text.ndim == 2 else text
    if batched.ndim != 3 or len(batched) != 1 or {batched.shape[-1]} != widths:
        raise ModelError(
            f"expected a text embedding of shape (1, L, {min(widths)}), got {tuple(text.shape)}; "
            "compute it with the prior's own text encoder (empty_prompt_embedding)"
        )
    return batched.detach().clone()


def _read_config(folder: Path) -> dict[str, Any]:
    """Read and check `config.json`."""
    config = read_config(folder)
    if config.get("family") != FAMILY:
        raise ModelError(f"expected family {FAMILY!r} in {folder}/config.json, got another; check the folder")
    if set(config) != _KEYS:
        raise ModelError(f"expected {sorted(_KEYS)} in {folder}/config.json, got {sorted(config)}; save it again")
    return config


def _build_unet(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> UNet2DConditionModel:
    """Build a U-Net around stored tensors, without drawing or copying weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    try:
        unet.load_state_dict({key.removeprefix(_UNET): value for key, value in tensors.items()}, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"expected the U-Net of config.json in {folder}, got: {reason}; save it again") from error
    return unet
