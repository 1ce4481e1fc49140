"""Time of one enhancement: with adapters attached, with adapters merged, and folded, in one interleaved run.

python benchmarks/folding.py --model small --threads 2
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from glesam.enhance.folding import fold
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.lora import attach_lora, lora_parameters, merge_lora

SMALL = {
    "block_out_channels": (64, 128, 192),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 4,
    "cross_attention_dim": 64,
    "use_linear_projection": True,
}
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
MODELS = {"small": (SMALL, 32), "sd21": (SD21, 64)}


def build(model: str, tokens: int, timestep: int, seed: int) -> LatentEnhancer:
    """An enhancer of random weights with rank-8 adapters that do something."""
    torch.manual_seed(seed)
    settings = MODELS[model][0]
    unet = attach_lora(UNet2DConditionModel(in_channels=256, out_channels=256, **settings), seed=seed)
    for parameter in lora_parameters(unet):
        parameter.data.normal_(std=0.02)
    text = torch.randn(1, tokens, settings["cross_attention_dim"])
    return LatentEnhancer(unet, text, timestep=timestep, alignment_scale=5.0).eval()


def variants(enhancer: LatentEnhancer) -> dict[str, nn.Module]:
    """The same enhancer in its four forms."""
    merged = copy.deepcopy(enhancer)
    merge_lora(merged.unet)
    return {
        "adapters attached": enhancer,
        "adapters merged": merged,
        "folded": fold(enhancer, channels_last=False),
        "folded, channels last": fold(enhancer, channels_last=True),
    }


@torch.no_grad()
def measure(
    modules: dict[str, nn.Module], latent: Tensor, rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds per call; the forms take turns, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for name in list(modules) * (rounds + 1):
        start = clock()
        modules[name](latent)
        seconds[name].append(clock() - start)
    return {name: times[1:] for name, times in seconds.items()}  # the first round warms up


@torch.no_grad()
def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), default="small")
    parser.add_argument("--size", type=int, help="height and width of the latent (32 for small, 64 for sd21)")
    parser.add_argument("--tokens", type=int, default=77, help="length of the text embedding; 1 for a constant one")
    parser.add_argument("--timestep", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: for a machine that others use")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = options.size or MODELS[options.model][1]
    enhancer = build(options.model, options.tokens, options.timestep, options.seed)
    modules = variants(enhancer)
    latent = 0.2 * torch.randn(1, 256, size, size)
    reference = enhancer(latent)
    change = {name: (module(latent) - reference).abs().max().item() for name, module in modules.items()}
    seconds = measure(modules, latent, options.rounds, CLOCKS[options.clock])
    base = sum(p.numel() for n, p in enhancer.unet.named_parameters() if ".lora_" not in n)
    print(f"{options.model}: {base:,} parameters, latent 256x{size}x{size}, {options.tokens} tokens, ", end="")
    print(f"timestep {options.timestep}, {options.threads} threads, {options.rounds} rounds, ", end="")
    print(f"{options.clock} time, torch {torch.__version__}\n")
    print("| form | median ms | fastest ms | median ratio to attached | to merged | max difference |")
    print("|---|---|---|---|---|---|")
    for name, times in seconds.items():
        # Ratios within a round, then their median: the machine's mood cancels out.
        attached, merged = (
            statistics.median(a / b for a, b in zip(seconds[other], times, strict=True))
            for other in ("adapters attached", "adapters merged")
        )
        median, fastest = statistics.median(times) * 1e3, min(times) * 1e3
        print(f"| {name} | {median:.1f} | {fastest:.1f} | {attached:.2f} | {merged:.2f} | {change[name]:.1e} |")


if __name__ == "__main__":
    main()
