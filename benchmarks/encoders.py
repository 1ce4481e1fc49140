"""How long the image encoders of the family take: compact, MobileSAM, SAM's ViT-B, SAM 2's Hiera-T, in one run.

Run: `python benchmarks/encoders.py [--threads 2] [--repeats 5]`. Timing needs no weights: all but compact's are random.
Prints a Markdown table for a square image: wall time, and all threads' processor time, which other work moves less.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn


def encoders() -> dict[str, tuple[nn.Module, int]]:
    """Name to encoder and side of its input."""
    from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

    from glesam.models.registry import load_model
    from glesam.models.sam.tinyvit import TinyVit

    compact = load_model("compact")
    return {
        "compact": (compact.parts()["encoder"], compact.image_size),
        "MobileSAM (TinyViT)": (TinyVit(), 1024),
        "SAM 2 (Hiera-T)": (Sam2Model(Sam2Config()).vision_encoder, 1024),
        "SAM (ViT-B)": (SamModel(SamConfig()).vision_encoder, 1024),
    }


@torch.inference_mode()
def milliseconds(encoder: nn.Module, side: int, repeats: int) -> tuple[list[float], list[float]]:
    """Wall and processor times of some calls, after one to warm up."""
    pixels, walls, busy = torch.randn(1, 3, side, side), [], []
    for index in range(repeats + 1):
        start, used = time.perf_counter(), time.process_time()
        encoder(pixels)
        if index:
            walls.append(1000 * (time.perf_counter() - start))
            busy.append(1000 * (time.process_time() - used))
    return walls, busy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rows = []
    for name, (encoder, side) in encoders().items():
        parameters = sum(p.numel() for p in encoder.parameters()) / 1e6
        walls, busy = milliseconds(encoder.eval(), side, options.repeats)
        rows.append((name, side, parameters, min(walls), statistics.median(busy)))
    base = rows[-1][-1]
    print("| encoder | input | parameters (M) | wall, fastest (ms) | processor, median (ms) | of SAM's |")
    print("|---|---|---|---|---|---|")
    for name, side, parameters, wall, busy in rows:
        print(f"| {name} | {side} | {parameters:.1f} | {wall:.0f} | {busy:.0f} | {100 * busy / base:.1f} % |")


if __name__ == "__main__":
    main()
