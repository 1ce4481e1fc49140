"""The noise schedule of the diffusion prior, and the clean latent that one noise prediction implies.

Everything here is float64: at the last index the step divides by sqrt(0.00466), which would amplify a float32
rounding error of the schedule by 14.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from glesam.errors import ModelError

_BETAS: dict[str, Callable[[float, float, int], Tensor]] = {
    "linear": lambda start, end, steps: torch.linspace(start, end, steps, dtype=torch.float64),
    "scaled_linear": lambda start, end, steps: torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2,
}
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class NoiseSchedule:
    """How the prior was trained: its noise levels, and what its U-Net predicts.

    The defaults are those of Stable Diffusion 1.x and 2.x base models.

    Attributes:
        kind: `"scaled_linear"` or `"linear"`.
        beta_start: variance of the noise added in the first step, above 0.
        beta_end: variance of the noise added in the last step, below 1.
        steps: number of steps.
        prediction_type: `"epsilon"` (the noise) or `"v_prediction"` (the velocity).

    Raises:
        ModelError: a value is unknown or impossible.
    """

    kind: str = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    steps: int = 1000
    prediction_type: str = "epsilon"

    def __post_init__(self) -> None:
        if self.kind not in _BETAS:
            raise ModelError(f"expected a noise schedule of {sorted(_BETAS)}, got {self.kind!r}; use another prior")
        if self.prediction_type not in PREDICTION_TYPES:
            raise ModelError(
                f"expected a prior that predicts one of {list(PREDICTION_TYPES)}, got {self.prediction_type!r}; "
                "use another prior"
            )
        if not (0 < self.beta_start <= self.beta_end < 1 and self.steps >= 1):
            raise ModelError(
                "expected 0 < beta_start <= beta_end < 1 and steps >= 1, got "
                f"{self.beta_start}, {self.beta_end} and {self.steps}; correct the schedule"
            )

    @classmethod
    def from_scheduler_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Read a diffusers scheduler's configuration, such as the content of `scheduler_config.json`.

        Missing entries take diffusers' own defaults, which are not Stable Diffusion's.

        Raises:
            ModelError: the schedule is of a kind that cannot be followed exactly.
        """
        if config.get("trained_betas") is not None or config.get("rescale_betas_zero_snr"):
            raise ModelError(
                "expected a schedule given by beta_start and beta_end, got trained_betas or rescale_betas_zero_snr; "
                "use another prior"
            )
        return cls(
            kind=config.get("beta_schedule", "linear"),
            beta_start=config.get("beta_start", 0.0001),
            beta_end=config.get("beta_end", 0.02),
            steps=config.get("num_train_timesteps", 1000),
            prediction_type=config.get("prediction_type", "epsilon"),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NoiseSchedule:
        """Read what `dataclasses.asdict` wrote.

        Raises:
            ModelError: a name is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ModelError(f"expected a schedule with {sorted(names)}, got {sorted(values)}; correct config.json")
        return cls(**values)

    def alpha_bar(self, index: int) -> float:
        """Share of the signal's variance that is left at a schedule index.

        Raises:
            ModelError: the index is not in `0 .. steps - 1`.
        """
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < self.steps:
            raise ModelError(
                f"expected a timestep index in 0..{self.steps - 1}, got {index!r}; "
                "the paper's T = 1000 is index 999, the official scripts use index 1"
            )
        return float(alphas_cumprod(self)[index])


def alphas_cumprod(schedule: NoiseSchedule | None = None) -> Tensor:
    """Cumulative products of `1 - beta`.

    Args:
        schedule: the schedule; None is scaled linear, 0.00085 to 0.012, 1000 steps (Stable Diffusion).

    Returns:
        `(steps,)` float64, strictly falling, all in `(0, 1)`.
    """
    schedule = schedule or NoiseSchedule()
    betas = _BETAS[schedule.kind](schedule.beta_start, schedule.beta_end, schedule.steps)
    return torch.cumprod(1.0 - betas, dim=0)


def predict_x0(z_t: Tensor, noise_pred: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The clean latent that a noise prediction implies: `(z_t - sqrt(1 - a) * noise) / sqrt(a)`, `a = alpha_bar`.

    Computed in float64 (GleSAM, equation 4, before the division by the alignment scale). The device must have
    float64; `folding.fold` makes a module that needs none.

    Args:
        z_t: `(B, C, h, w)` noisy latent.
        noise_pred: `(B, C, h, w)` predicted noise.
        alpha_bar: one number, or `(B,)` one per latent, in `(0, 1]`.

    Returns:
        `(B, C, h, w)` in the type of `z_t`.

    Raises:
        ModelError: the shapes differ or `alpha_bar` is out of range.
    """
    signal, noise = _levels(z_t, noise_pred, alpha_bar)
    return ((z_t.double() - noise * noise_pred.double()) / signal).to(z_t.dtype)


def noise_from_velocity(z_t: Tensor, velocity: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The noise that a velocity prediction implies: `sqrt(a) * v + sqrt(1 - a) * z_t` (Salimans and Ho 2022).

    Arguments, result and errors are those of `predict_x0`, with the velocity in the noise's place.
    """
    signal, noise = _levels(z_t, velocity, alpha_bar)
    return (signal * velocity.double() + noise * z_t.double()).to(z_t.dtype)


def _levels(z_t: Tensor, prediction: Tensor, alpha_bar: float | Tensor) -> tuple[Tensor, Tensor]:
    """Check the arguments; give `sqrt(a)` and `sqrt(1 - a)` in float64, ready to broadcast over the latent."""
    if z_t.shape != prediction.shape:
        raise ModelError(
            f"expected a prediction of the latent's shape {tuple(z_t.shape)}, got {tuple(prediction.shape)}; "
            "use a U-Net with as many output as input channels"
        )
    share = torch.as_tensor(alpha_bar, dtype=torch.float64, device=z_t.device)
    if not bool(((share > 0) & (share <= 1)).all()):
        raise ModelError(f"expected alpha_bar in (0, 1], got {share.tolist()}; take it from alphas_cumprod()")
    if share.ndim == 1:
        share = share.view(-1, *[1] * (z_t.ndim - 1))
    return share.sqrt(), (1.0 - share).sqrt()
