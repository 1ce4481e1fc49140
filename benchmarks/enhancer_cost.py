"""What the enhancer and the gate cost beside the encoder, on this machine, measured in turns in one run.

Run: `python benchmarks/enhancer_cost.py [--threads 2] [--config configs/compact-prior.json] [--enhancer FOLDER]`.
Prints a Markdown table of medians. Bars: enhancer at most 60 % of the encoder's time, gate at most 5 %.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from glesam.enhance.bundle import load_bundle
from glesam.enhance.folding import fold
from glesam.enhance.gate import DegradationGate
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.pipeline import Restoration, shrink
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.schedule import NoiseSchedule
from glesam.enhance.skips import SkipAdapter
from glesam.models.base import Embedding, PromptableModel
from glesam.models.registry import load_model
from glesam.train.config import PriorConfig, read_config
from glesam.train.stages.prior import build_unet, constant_text


def random_enhancer(config: PriorConfig) -> tuple[Callable[[torch.Tensor], torch.Tensor], float]:
    """The U-Net of a configuration with random weights, folded, and its millions of weights."""
    unet = build_unet(config)
    settings = {"timestep": 1, "alignment_scale": 1.0, "text_embedding": constant_text(config.embedding)}
    enhancer = LatentEnhancer.from_prior(unet, schedule=NoiseSchedule(), **settings)  # type: ignore[arg-type]
    return fold(enhancer), sum(p.numel() for p in enhancer.unet.parameters()) / 1e6


def in_turns(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each job, one after the other in each round, so that a busy machine slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_number in range(repeats + 2):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if round_number >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--config", type=Path, nargs="*", default=[Path("configs/compact-prior.json")])
    parser.add_argument("--enhancer", type=Path, help="folder of a saved enhancer, besides the random ones")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    pixels = torch.rand(1, 3, model.image_size, model.image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        embedding = model.encode(pixels)
        jobs = _jobs(options, model, pixels, embedding)
        times = in_turns(jobs, options.repeats)
    whole = statistics.median(times["encoder"])
    print(f"{options.model}, {options.threads} threads, {torch.__version__}\n")
    print("| what | median ms | fastest ms | share of the encoder |\n|---|---|---|---|")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.1f} | {min(values):.1f} | {middle / whole:.0%} |")


def _jobs(
    options: argparse.Namespace, model: PromptableModel, pixels: torch.Tensor, embedding: Embedding
) -> dict[str, Callable[[], object]]:
    """All that is timed."""
    latent = embedding.latent
    channels = latent.shape[1]
    gate, plain = DegradationGate(channels).eval(), ResidualEnhancer(channels).eval()
    jobs: dict[str, Callable[[], object]] = {
        "encoder": lambda: model.encode(pixels),
        "gate": lambda: gate.level(latent),
        "residual network, random weights": lambda: plain(latent),
    }
    if embedding.skips:
        branch = SkipAdapter("branch", channels, tuple(skip.shape[1] for skip in embedding.skips)).eval()
        jobs["skip branch, random weights"] = lambda: branch(embedding, None)
    for path in options.config:
        net, millions = random_enhancer(read_config(PriorConfig, path, {}))
        jobs[f"{path.name}, {millions:.1f} M weights, random, folded"] = functools.partial(net, latent)
    if options.enhancer is not None:
        jobs |= _saved_jobs(load_bundle(options.enhancer, model), model, pixels, embedding)
    return jobs


def _saved_jobs(
    restoration: Restoration, model: PromptableModel, pixels: torch.Tensor, embedding: Embedding
) -> dict[str, Callable[[], object]]:
    """By rule of a saved enhancer: the second encoding, and what comes after it."""
    jobs: dict[str, Callable[[], object]] = {}
    for rule in restoration.rules:
        name = f"saved enhancer, from level {rule.above} ({rule.image_size or model.image_size} pixels)"
        anew = restoration.encode_again(model, embedding, rule.above, pixels)
        jobs[f"{name}: second encoding"] = functools.partial(
            restoration.encode_again, model, embedding, rule.above, pixels
        )
        jobs[f"{name}: U-Net and skips"] = functools.partial(restoration.enhance, anew, rule.above)
        if rule.near_size is not None:
            crop = shrink(pixels, rule.near_size, model.side_step)
            jobs[f"encoding for a nearer look at one small object ({rule.near_size} pixels)"] = functools.partial(
                model.encode, crop
            )
    return jobs


if __name__ == "__main__":
    main()
