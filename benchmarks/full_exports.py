"""Exports at full size: what `glesam export` takes for SAM ViT-B, MobileSAM and SAM 2.1 Hiera-T, and what differs.

Run: `python benchmarks/full_exports.py [--models mobile-sam sam-vit-b] [--heads none hq] [--format onnx]`. Weights are
random, which costs what trained ones cost; each export is a process of its own, so that its peak memory is its own.
Prints a Markdown table: CPU seconds and peak memory of the command, its comparison with torch included, size of the
folder, largest difference of latent and logits from torch's, the logits' own range, and the least IoU of any mask.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from glesam.export.folder import drawn_images, export
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.models.sam.base import WrappedModel
from glesam.models.tuned import mask_decoder
from glesam.predict.predictor import Predictor
from peers import hiera_tiny, mobile_sam, sam_base

MODELS: dict[str, Callable[[], Predictor]] = {
    "mobile-sam": mobile_sam,
    "sam2.1-hiera-tiny": hiera_tiny,
    "sam-vit-b": sam_base,
}
HEADS = ("none", "hq")


def random_model(name: str, head: str) -> WrappedModel | HeadedModel:
    """A full-size model whose random weights let the image through: transformers starts some at 0, some at 1e-10."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cast(WrappedModel, MODELS[name]().model)
        livelier(model.model)
        spread(mask_decoder(model), 3.0)
        if head == "none":
            return model
        return HeadedModel(model, HQHead(256, model.early_channels, joint=True))


@torch.no_grad()
def livelier(network: nn.Module) -> None:
    """Give what is constant at the start, or next to it, values of the usual size."""
    for parameter in network.parameters():
        if float(parameter.std() if parameter.numel() > 1 else 0) < 1e-3:
            parameter.add_(torch.randn_like(parameter) * 0.02)


@torch.no_grad()
def spread(decoder: nn.Module, factor: float) -> None:
    """Enlarge the weights of linear layers, so that logits differ from place to place."""
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.mul_(factor)


def measure(name: str, head: str, format: str, folder: Path) -> dict[str, float]:
    """Export one model into a folder, in this process."""
    predictor = Predictor(random_model(name, head), enhance="off", refine="off")
    found = export(predictor, folder, format)
    predictor.set_image(drawn_images()[0])
    logits = predictor.predict(points=[[120, 100]]).logits
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / 1024,
        "megabytes": sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
        "latent": found.errors["latent"],
        "logits": found.errors["logits"],
        "spread": float(logits.std()),
        "iou": found.lowest,
    }


def main() -> None:
    """Measure in processes of their own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument("--format", default="onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(*options.only, options.format, Path(folder) / "out")))
        return
    print(
        "| model | head | CPU s | peak, MiB | folder, MB | latent differs by | logits by | of deviation | least IoU |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.models:
        for head in options.heads:
            words = [sys.executable, __file__, "--only", name, head, "--format", options.format]
            done = subprocess.run([*words, "--threads", str(options.threads)], capture_output=True, text=True)
            if done.returncode:
                print(f"| {name} | {head} | {done.stderr.strip().splitlines()[-1]} |", flush=True)
                continue
            v = json.loads(done.stdout.splitlines()[-1])
            sizes = f"{v['seconds']:.0f} | {v['peak']:,.0f} | {v['megabytes']:.0f}"
            errors = f"{v['latent']:.1e} | {v['logits']:.1e} | {v['spread']:.2g} | {v['iou']:.5f}"
            print(f"| {name} | {head} | {sizes} | {errors} |", flush=True)


if __name__ == "__main__":
    main()
