"""Speed and memory of what one might pick instead, in one run on this machine: by architecture, with random weights.

Run: `python benchmarks/peers.py [--threads 2] [--repeats 3] [--grid 16] [--cpu-time] [--data FOLDER --limit 60]`.
Each model has a process of its own, so that its peak memory is its own. Random weights cost what trained ones cost, but
their masks say nothing. GrabCut (Rother et al., SIGGRAPH 2004; OpenCV's, five rounds) has no weights, and neither
encodes nor takes points alone. rembg takes no prompts: it cuts out the main thing, which is timed for the bundled model
too, from the image to RGBA. Its package fetches weights when it is first used; here it gets a U2Net of random weights
(Qin et al., Pattern Recognition 2020; from carvekit's source) as a file. That row is there where both are installed:
`pip install "rembg[cpu]" onnx`, `pip install --no-deps carvekit`.
With --data also the mean IoU of the bundled model and of GrabCut with boxes. --cpu-time is for a machine with other
work on it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
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


COMPACT = "compact (bundled)"
MODELS: dict[str, Callable[[], Any]] = {
    COMPACT: compact,
    "MobileSAM": mobile_sam,
    "SAM 2.1 Hiera-T": hiera_tiny,
    "SAM ViT-B": sam_base,
}
GRABCUT = "GrabCut (OpenCV)"
REMBG = "rembg, U2Net"
U2NET = "u2net.onnx"
COLUMNS = {
    "parameters": "parameters, M",
    "encode": "encode, ms",
    "points": "3 points, ms",
    "box": "box, ms",
    "main": "main thing cut out, ms",
    "everything": "everything, {0} x {0} clicks, s",
    "peak": "peak memory, MiB",
}


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


def has_rembg() -> bool:
    """Whether rembg, and the package that brings U2Net's architecture, are installed; imports neither."""
    return all(importlib.util.find_spec(name) is not None for name in ("rembg", "carvekit"))


def write_u2net(folder: Path) -> None:
    """Write U2Net of random weights, 320 x 320 and seven maps as in rembg's file, into a folder."""
    import torch

    # The one file, not `import carvekit`: that sets seeds, and wants packages that this file does not.
    source = importlib.metadata.distribution("carvekit").locate_file("carvekit/ml/arch/u2net/u2net.py")
    warnings.simplefilter("ignore")  # of the exporter: it is the older one, and notes sizes that stay fixed
    torch.manual_seed(0)
    network = runpy.run_path(str(source))["U2NETArchitecture"]().eval()
    torch.onnx.export(network, (torch.zeros(1, 3, 320, 320),), folder / U2NET, dynamo=False, opset_version=17)


def cut_by_rembg(folder: Path) -> Callable[[Any], Any]:
    """The way of rembg itself from `(H, W, 3)` to `(H, W, 4)`, with the network in a folder."""
    os.environ["U2NET_HOME"] = str(folder)  # it opens files below its home only
    import rembg

    session = rembg.new_session("u2net_custom", model_path=str(folder / U2NET))
    return lambda image: rembg.remove(image, session=session)


def cut_by(predictor: Any) -> Callable[[Any], Any]:
    """From `(H, W, 3)` to the main thing as RGBA, its edges soft."""

    def cut(image: Any) -> Any:
        predictor.set_image(image)
        return predictor.predict_subject().cutout(image, soft=True)

    return cut


def measure(name: str, repeats: int, clock: Callable[[], float], grid: int, folder: Path) -> dict[str, float | None]:
    """Milliseconds, millions of parameters and MiB of one model, in this process."""
    import numpy as np

    from glesam.images.reading import read

    image, shift = read(PHOTO), iter(range(10**6))
    found: dict[str, float | None] = dict.fromkeys(COLUMNS)

    def time_of(call: Callable[[], object]) -> float:
        return timed(call, repeats, clock, warm_up=1)

    if name == GRABCUT:
        found["box"] = time_of(lambda: grabcut(image, BOX))
    elif name == REMBG:
        cut = cut_by_rembg(folder)
        found["main"] = time_of(lambda: cut(image))
    else:
        predictor = MODELS[name]()
        found["parameters"] = sum(p.numel() for p in predictor.model.parameters()) / 1e6
        found["encode"] = time_of(lambda: predictor.set_image(np.roll(image, next(shift), 1)))
        found["points"] = time_of(lambda: predictor.predict(points=CLICKS))
        found["box"] = time_of(lambda: predictor.predict(boxes=[BOX]))
        if grid:
            start = clock()
            predictor.generate(points_per_side=grid)
            found["everything"] = clock() - start
        if name == COMPACT:
            ours = cut_by(predictor)
            found["main"] = time_of(lambda: ours(np.roll(image, next(shift), 1)))
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

    found: dict[str, list[tuple[float, float]]] = {COMPACT: [], GRABCUT: []}
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


def table(measured: dict[str, dict[str, float | None]], grid: int) -> str:
    """Markdown, a row for each model; empty where there is no such thing."""
    lines = [" | ".join(["| model", *(title.format(grid) for title in COLUMNS.values())]) + " |", "|---" * 8 + "|"]
    for name, found in measured.items():
        digits = {"parameters": 1, "everything": 1}
        cells = [_text(found[key], digits.get(key, 0)) for key in COLUMNS]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


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
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_of_this_process(options)))
        return
    if options.data and not Path(options.data).is_dir():
        parser.error(f"expected a data set in {options.data}, found no such folder; leave --data out, or name one")
    # Nothing large is imported here: a process starts with the peak of the one that it was started from.
    names = [*MODELS, GRABCUT, *([REMBG] if has_rembg() else [])]
    with tempfile.TemporaryDirectory() as folder:
        if REMBG in names:
            _in_a_process(U2NET, folder, options)
        measured = {name: _in_a_process(name, folder, options) for name in names}
    print(f"{options.threads} threads\n\n{table(measured, options.grid)}")
    if options.data:
        print(f"\nWith a box, {options.limit} images of {options.data}:")
        for name, (mean, seconds) in _in_a_process(COMPACT, "", options, data=options.data).items():
            print(f"{name}: mean IoU {mean:.3f}, {seconds:.2f} s of CPU time an image")


def _in_a_process(name: str, folder: str, options: argparse.Namespace, data: str | None = None) -> Any:
    """What one part of the run gives, in a process of its own with the threads that were asked for."""
    words = [sys.executable, __file__, "--only", name, "--folder", folder, "--threads", str(options.threads)]
    words += ["--repeats", str(options.repeats), "--grid", str(options.grid), "--limit", str(options.limit)]
    words += [*(["--cpu-time"] if options.cpu_time else []), *(["--data", data] if data else [])]
    threads = {"OMP_NUM_THREADS": str(options.threads)}  # for torch, and for rembg's runtime
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | threads)
    return json.loads(done.stdout.splitlines()[-1])


def _of_this_process(options: argparse.Namespace) -> Any:
    """The part of the run that this process was started for."""
    import cv2

    cv2.setNumThreads(options.threads)
    if options.only == U2NET:
        return write_u2net(options.folder)
    if options.data:
        return quality(options.data, options.limit)
    clock = time.process_time if options.cpu_time else time.perf_counter
    return measure(options.only, options.repeats, clock, options.grid, options.folder)


def _predictor(model: Any) -> Any:
    """A predictor with a model's own masks."""
    from glesam import Predictor

    return Predictor(model, enhance="off", refine="off")


def _text(value: float | None, digits: int) -> str:
    """A number, or nothing where there is none."""
    return "" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    main()
