"""ESC-Net's ablation on a drawn world: without SAM blocks, with random ones, with those of the compact model.

Run: `python benchmarks/escnet_ablation.py [--steps 120] [--seeds 5]`. Prints a table of mean IoU with 95 % intervals
over the seeds, of pairs of colour and shape that were trained on and of pairs that were held out, each among texts of
its own kind.

The world: coloured shapes on grey and a stand-in for CLIP's features of them. As CLIP's dense features are, the
stand-in's are coarse: each cell holds the codes of the colour and the shape that it shows, blurred into its neighbours,
with noise; a text is the sum of its two codes. What the network has to learn is to make sharp masks of that for any
text. `tests/text/test_text_escnet.py` trains on it too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from scipy.stats import t as student_t
from torch import Tensor
from torch.nn import functional as F

from glesam.text.escnet.config import EscNetConfig, SamShape
from glesam.text.escnet.net import EscNet

SIDE, GRID, KINDS = 64, 8, 3
"""Pixels, cells, and the number of colours and of shapes."""

PAIRS = [(colour, shape) for colour in range(KINDS) for shape in range(KINDS)]
HELD_OUT = [(0, 0), (1, 1), (2, 2)]
"""Pairs that training neither shows nor asks for; each colour and each shape is seen in others."""

_RGB = np.array([[210, 60, 60], [60, 190, 70], [70, 80, 220]], np.float32)
_DIM = 16
_CODES = F.normalize(torch.randn(2 * KINDS + 1, _DIM, generator=torch.Generator().manual_seed(5)), dim=1)

SMALL_SAM = SamShape(32, 2, 1, 64)

Pair = tuple[int, int]


def small_net(sam: SamShape | None = SMALL_SAM, blocks: int = 1) -> EscNet:
    """A network for this world; seed torch before."""
    return EscNet(EscNetConfig(_DIM, (3, 3), 16, blocks, 2, 4, 2, (16, 8), sam))


def texts(pairs: list[Pair]) -> Tensor:
    """`(K, d)` texts."""
    return torch.stack([_CODES[colour] + _CODES[KINDS + shape] for colour, shape in pairs])


def shape_mask(shape: int, x: float, y: float, radius: float) -> np.ndarray:
    """A disc, a square, or an upright cross, `(SIDE, SIDE)` bool."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    dx, dy = np.abs(columns - x), np.abs(rows - y)
    if shape == 0:
        return dx**2 + dy**2 <= radius**2
    if shape == 1:
        return np.maximum(dx, dy) <= 0.85 * radius
    return (np.maximum(dx, dy) <= 1.1 * radius) & (np.minimum(dx, dy) <= 0.33 * radius)


def scene(pairs: list[Pair], rng: np.random.Generator) -> tuple[np.ndarray, Tensor, np.ndarray]:
    """Two things, left and right: `(SIDE, SIDE, 3)` image about 0, `(d, GRID, GRID)` features, `(2, SIDE, SIDE)`."""
    image = np.full((SIDE, SIDE, 3), 128, np.float32)
    features = _CODES[-1][:, None, None].expand(-1, GRID, GRID).clone()
    masks = []
    for place, pair in enumerate(pairs):
        x, y = (16 if place == 0 else 48) + rng.uniform(-3, 3), rng.uniform(16, 48)
        mask = shape_mask(pair[1], x, y, rng.uniform(10, 14))
        image[mask] = _RGB[pair[0]] + rng.uniform(-20, 20, 3)
        share = cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
        blurred = torch.from_numpy(cv2.GaussianBlur(share, (0, 0), 0.8))
        features = features + blurred * texts([pair])[0][:, None, None]
        masks.append(mask)
    features = features + torch.from_numpy(rng.normal(0, 0.1, features.shape).astype(np.float32))
    return ((image + rng.normal(0, 8, image.shape) - 128) / 64).astype(np.float32), features, np.stack(masks)


def batch(rng: np.random.Generator, asked: list[Pair], count: int) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """Features `(B, d, 8, 8)`, guides, and truth `(B, K, 32, 32)` of scenes with two of the pairs asked for."""
    images, features, truth = [], [], torch.zeros(count, len(asked), SIDE // 2, SIDE // 2)
    for index in range(count):
        chosen = rng.permutation(len(asked))[:2]
        image, seen, masks = scene([asked[i] for i in chosen], rng)
        images.append(image)
        features.append(seen)
        for place, mask in zip(chosen, masks, strict=True):
            truth[index, place] = torch.from_numpy(mask.reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3)) > 0.5)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return torch.stack(features), (F.avg_pool2d(pixels, 4), F.avg_pool2d(pixels, 2)), truth


def train(net: EscNet, steps: int, seed: int = 0, count: int = 6, frozen: bool = False) -> None:
    """Adam on the stage's own losses; each step asks for four of the pairs that are not held out.

    Args:
        net: learns.
        steps: of Adam.
        seed: of the scenes.
        count: scenes a step.
        frozen: keep what comes from SAM as it is; at the paper's rate it would hardly move in so few steps.
    """
    from glesam.train.stages.text import text_losses

    if frozen:
        for parameter in net.sam_parameters():
            parameter.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    known = [pair for pair in PAIRS if pair not in HELD_OUT]
    for _ in range(steps):
        asked = [known[i] for i in rng.permutation(len(known))[:4]]
        features, guides, truth = batch(rng, asked, count)
        loss = text_losses(*net(features, texts(asked), guides), truth)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def mean_iou(net: EscNet, asked: list[Pair], seed: int = 99, count: int = 12) -> float:
    """Mean IoU over the things shown, cut at one half, beside all texts asked for."""
    features, guides, truth = batch(np.random.default_rng(seed), asked, count)
    found, wanted = net(features, texts(asked), guides)[0] > 0, truth > 0.5
    iou = (found & wanted).sum(dim=(2, 3)) / (found | wanted).sum(dim=(2, 3)).clamp(min=1)
    return float(iou[wanted.flatten(2).any(dim=2)].mean())


def ablation(ways: dict[str, SamShape | None], steps: int, seeds: int) -> Iterator[str]:
    """Rows of the table, each as soon as it is known."""
    from glesam.models.registry import load_model

    known = [pair for pair in PAIRS if pair not in HELD_OUT]
    for way, sam in ways.items():
        scores = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = small_net(sam)
            if way == "trained":
                net.take_sam(load_model("compact"))
            train(net, steps, seed, frozen=way != "none")
            scores.append((mean_iou(net.eval(), known), mean_iou(net, HELD_OUT)))
        yield f"| {way} | " + " | ".join(with_interval(each) for each in np.transpose(scores)) + " |"


def with_interval(scores: np.ndarray) -> str:
    """Mean over the seeds, and half of its 95 % interval by Student's t; the mean alone of one seed."""
    if len(scores) < 2:
        return f"{scores.mean():.3f}"
    half = student_t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / len(scores) ** 0.5
    return f"{scores.mean():.3f} ± {half:.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print("| SAM block | pairs trained on | pairs held out |\n|---|---|---|")
    full = SamShape()
    for row in ablation({"none": None, "random": full, "trained": full}, options.steps, options.seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
