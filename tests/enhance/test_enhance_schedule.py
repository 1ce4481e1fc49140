from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.enhance.schedule import NoiseSchedule, alphas_cumprod, noise_from_velocity, predict_x0
from glesam.errors import ModelError

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize("kind", ["scaled_linear", "linear"])
def test_alphas_equal_those_of_diffusers(kind: str) -> None:
    scheduler = DDIMScheduler(**(STABLE_DIFFUSION | {"beta_schedule": kind}))
    ours = alphas_cumprod(NoiseSchedule(kind=kind))
    torch.testing.assert_close(ours.float(), scheduler.alphas_cumprod, rtol=2e-5, atol=1e-7)


def test_alphas_equal_a_plain_product_in_float64() -> None:
    low, high = 0.00085**0.5, 0.012**0.5
    expected = np.cumprod([1.0 - (low + (high - low) * i / 999) ** 2 for i in range(1000)])
    assert alphas_cumprod().dtype == torch.float64
    np.testing.assert_allclose(alphas_cumprod().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("index", "alpha_bar", "root", "noise"),
    [
        (0, 0.99914998, 0.99957490, 0.02915513),
        (1, 0.99829602, 0.99914765, 0.04127926),
        (499, 0.27766943, 0.52694350, 0.84990036),
        (999, 0.00466010, 0.06826489, 0.99766725),
    ],
)
def test_alphas_equal_the_published_table(index: int, alpha_bar: float, root: float, noise: float) -> None:
    value = NoiseSchedule().alpha_bar(index)
    # The table was made from a float32 schedule.
    assert value == pytest.approx(alpha_bar, abs=5e-7)
    assert value**0.5 == pytest.approx(root, abs=5e-7)
    assert (1 - value) ** 0.5 == pytest.approx(noise, abs=1e-6)


@pytest.mark.parametrize("index", [-1, 1000, 1.0, True])
def test_alpha_bar_refuses_other_indices(index: int) -> None:
    with pytest.raises(ModelError, match=r"0\.\.999"):
        NoiseSchedule().alpha_bar(index)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(0, 2**31), st.floats(0.1, 10))
def test_predict_x0_is_the_papers_formula(index: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    latent, noise = rng.normal(0, scale, (2, 2, 3, 4, 5)).astype(np.float32)
    a = NoiseSchedule().alpha_bar(index)
    expected = (latent.astype(np.float64) - np.sqrt(1 - a) * noise.astype(np.float64)) / np.sqrt(a)
    got = predict_x0(torch.from_numpy(latent), torch.from_numpy(noise), a)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("index", [1, 999])
def test_one_step_equals_that_of_diffusers(prediction_type: str, index: int) -> None:
    scheduler = DDIMScheduler(**STABLE_DIFFUSION, prediction_type=prediction_type, clip_sample=False)
    scheduler.set_timesteps(1000)
    generator = torch.Generator().manual_seed(0)
    latent, output = torch.randn(2, 2, 4, 8, 8, generator=generator)
    a = NoiseSchedule().alpha_bar(index)
    noise = noise_from_velocity(latent, output, a) if prediction_type == "v_prediction" else output
    expected = scheduler.step(output, index, latent).pred_original_sample
    torch.testing.assert_close(predict_x0(latent, noise, a), expected, rtol=1e-4, atol=1e-4)


def test_predict_x0_undoes_the_forward_process_per_sample() -> None:
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 3, 4, 8, 8, generator=generator, dtype=torch.float64)
    a = alphas_cumprod()[[1, 499, 999]]
    noisy = a.sqrt().view(3, 1, 1, 1) * clean + (1 - a).sqrt().view(3, 1, 1, 1) * noise
    torch.testing.assert_close(predict_x0(noisy, noise, a), clean, rtol=1e-10, atol=1e-10)


def test_gradient_of_the_step_is_its_factor() -> None:
    noise = torch.zeros(1, 1, 2, 2, requires_grad=True)
    a = NoiseSchedule().alpha_bar(999)
    predict_x0(torch.ones(1, 1, 2, 2), noise, a).sum().backward()
    assert noise.grad is not None
    torch.testing.assert_close(noise.grad, torch.full_like(noise, -((1 - a) ** 0.5) / a**0.5))


@pytest.mark.parametrize("alpha_bar", [0.0, -0.1, 1.1, float("nan")])
def test_predict_x0_refuses_impossible_levels(alpha_bar: float) -> None:
    with pytest.raises(ModelError, match="alpha_bar"):
        predict_x0(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), alpha_bar)


def test_predict_x0_refuses_other_shapes() -> None:
    with pytest.raises(ModelError, match=r"\(1, 1, 2, 2\)"):
        predict_x0(torch.ones(1, 1, 2, 2), torch.ones(1, 4, 2, 2), 0.5)


def test_schedule_reads_a_scheduler_of_diffusers() -> None:
    assert NoiseSchedule.from_scheduler_config(DDIMScheduler(**STABLE_DIFFUSION).config) == NoiseSchedule()
    # Diffusers' own defaults are a linear schedule, which must not be taken for Stable Diffusion's.
    default = NoiseSchedule.from_scheduler_config({})
    expected = DDIMScheduler().alphas_cumprod
    torch.testing.assert_close(alphas_cumprod(default).float(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    "config",
    [
        {"beta_schedule": "squaredcos_cap_v2"},
        {"prediction_type": "sample"},
        {"trained_betas": [0.1, 0.2]},
        {"rescale_betas_zero_snr": True},
        {"beta_start": 0.5, "beta_end": 0.1},
        {"num_train_timesteps": 0},
    ],
)
def test_schedule_refuses_what_it_cannot_follow(config: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        NoiseSchedule.from_scheduler_config(config)


def test_schedule_from_dict_accounts_for_every_name() -> None:
    with pytest.raises(ModelError, match="kind"):
        NoiseSchedule.from_dict({"beta_start": 0.1})
