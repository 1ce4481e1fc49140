"""Speed and memory of what one might pick instead, in one run on this machine: by architecture, with random weights.

Run: `python benchmarks/peers.py [--threads 2] [--repeats 3] [--grid 16] [--cpu-time] [--data FOLDER --limit 60]`.
Each model has a process of its own, so that its peak memory is its own. Random weights cost what trained ones cost, but
their masks say nothing. GrabCut (Rother et al., SIGGRAPH 2004; OpenCV's, five rounds) has no weights, and neither
encodes nor takes points alone. With --data also the mean IoU of the bundled model and of GrabCut with boxes. rembg's
U2Net is left out: its package fetches weights when it is first used. --cpu-time is for a machine with other work on it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from latency import PHOTO, timed

BOX = [120, 60, 480, 350]
CLICKS = [[320, 200], [250, 200], [300, 250]]
ROUNDS = 5


def compact() -> Any:
    """The bundled model as `from_pretrained` gives it, with its enhancer and refined masks."""
    from glesam import Predictor

    return Predictor.from_pretrained("compact")


def mobile_sam() -> Any:
    """MobileSAM."""
    import transformers

    from glesam.models.sam.mobile import TINY_VIT, MobileSamPromptable
    from glesam.models.sam.tinyvit import TinyVitConfig

    vision = {"num_hidden_layers": 0, "image_size": 1024, "output_channels": 256, "num_pos_feats": 128}
    config = transformers.SamConfig(vision_config=vision, **{TINY_VIT: asdict(TinyVitConfig())})
    return _predictor(MobileSamPromptable(MobileSamPromptable.build(config)))


def sam_base() -> Any:
    """SAM with ViT-B."""
    from transformers import SamConfig, SamModel

    from glesam.models.sam.sam import SamPromptable

    return _predictor(SamPromptable(SamModel(SamConfig())))


def hiera_tiny() -> Any:
    """SAM 2.1 with Hiera-T."""
    from transformers import Sam2Config, Sam2Model

    from glesam.models.sam.sam2 import Sam2Promptable

    return _predictor(Sam2Promptable(Sam2Model(Sam2Config())))


MODELS: dict[str, Callable[[], Any]] = {
    "compact (bundled)": compact,
    "MobileSAM": mobile_sam,
    "SAM 2.1 Hiera-T": hiera_tiny,
    "SAM ViT-B": sam_base,
}
GRABCUT = "GrabCut (OpenCV)"


def grabcut(image: Any, box: Any) -> Any:
    """`(H, W)` bool from a box `(x0, y0, x1, y1)`."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    x0, y0, x1, y1 = max(x0, 1), max(y0, 1), min(x1, width - 1), min(y1, height - 1)
    labels = np.zeros((height, width), np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(image[..., ::-1].copy(), labels, (x0, y0, x1 - x0, y1 - y0), *models, ROUNDS, cv2.GC_INIT_WITH_RECT)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def measure(name: str, repeats: int, clock: Callable[[], float], grid: int) -> dict[str, float | None]:
    """Milliseconds and MiB of one model, in this process."""
    import numpy as np

    from glesam.images.reading import read

    image = read(PHOTO)
    if name == GRABCUT:
        found: dict[str, float | None] = {"encode": None, "points": None, "everything": None, "parameters": None}
        found["box"] = timed(lambda: grabcut(image, BOX), repeats, clock, warm_up=1)
    else:
        predictor, shift = MODELS[name](), iter(range(1000))
        found = {"parameters": sum(p.numel() for p in predictor.model.parameters()) / 1e6}
        found["encode"] = timed(lambda: predictor.set_image(np.roll(image, next(shift), 1)), repeats, clock, warm_up=1)
        found["points"] = timed(lambda: predictor.predict(points=CLICKS), repeats, clock, warm_up=1)
        found["box"] = timed(lambda: predictor.predict(boxes=[BOX]), repeats, clock, warm_up=1)
        found["everything"] = None
        if grid:
            start = clock()
            predictor.generate(points_per_side=grid)
            found["everything"] = 1000 * (clock() - start)
    return found | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def quality(folder: str, limit: int) -> dict[str, tuple[float, float]]:
    """Mean IoU with the box of the largest object, and mean CPU seconds, of images spread over a data set."""
    import numpy as np

    from glesam.data.readers.registry import open_dataset
    from glesam.evaluate.metrics import iou

    dataset, predictor = open_dataset(folder), compact()

    def ours(image: Any, box: Any) -> Any:
        predictor.set_image(image)
        return predictor.predict(boxes=[box]).masks[0]

    found: dict[str, list[tuple[float, float]]] = {"compact (bundled)": [], GRABCUT: []}
    for index in np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).astype(int).tolist():
        sample = dataset[index]
        truth = sample.mask == np.bincount(sample.mask[sample.mask > 0]).argmax()
        ys, xs = np.nonzero(truth)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        for values, segment in zip(found.values(), (ours, grabcut), strict=True):
            start = time.process_time()
            mask = segment(sample.image, box)
            values.append((iou(mask, truth), time.process_time() - start))
    return {
        name: (float(mean[0]), float(mean[1])) for name, mean in ((n, np.mean(v, axis=0)) for n, v in found.items())
    }


def main() -> None:
    """Measure in processes of their own, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="time of all threads on the CPU, not on the clock")
    parser.add_argument("--grid", type=int, default=16, help="clicks a side in everything mode; 0 leaves it out")
    parser.add_argument("--data", help="data set for the IoU with boxes")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import cv2
    import torch

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.only:
        clock = time.process_time if options.cpu_time else time.perf_counter
        print(json.dumps(measure(options.only, options.repeats, clock, options.grid)))
        return
    print(f"{options.threads} threads\n\n| model | parameters, M | encode, ms | 3 points, ms | box, ms |", end="")
    print(f" everything, {options.grid} x {options.grid} clicks, s | peak memory, MiB |\n|---|---|---|---|---|---|---|")
    for name in (*MODELS, GRABCUT):
        words = [__file__, "--only", name, "--threads", str(options.threads), "--repeats", str(options.repeats)]
        words += ["--grid", str(options.grid), *(["--cpu-time"] if options.cpu_time else [])]
        done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        texts = [_text(found["parameters"], 1), *(_text(found[key], 0) for key in ("encode", "points", "box"))]
        seconds = None if found["everything"] is None else found["everything"] / 1000
        print("|", " | ".join([name, *texts, _text(seconds, 1), _text(found["peak"], 0)]), "|")
    if options.data:
        print(f"\nWith a box, {options.limit} images of {options.data}:")
        for name, (mean, seconds) in quality(options.data, options.limit).items():
            print(f"{name}: mean IoU {mean:.3f}, {seconds:.2f} s of CPU time an image")


def _predictor(model: Any) -> Any:
    """A predictor with a model's own masks."""
    from glesam import Predictor

    return Predictor(model, enhance="off", refine="off")


def _text(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    main()
