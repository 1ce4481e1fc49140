"""Latency of torch, ONNX Runtime and OpenVINO on the same photo and prompts, in one run.

Run: `python benchmarks/runtimes.py [--threads 2] [--model compact]`. Prints a Markdown table of medians; the runtimes
take turns, so that a busy moment of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "coffee.jpg"
CLICKS = [[320, 200], [250, 200], [300, 250]]


def in_turns(calls: dict[str, Callable[[], object]], repeats: int, rounds: int = 3) -> dict[str, float]:
    """Median milliseconds of each call, in blocks of one runtime, over several rounds, after three calls to warm up.

    Not call by call: threads of a runtime that has just worked keep spinning, and take the cores from the next one.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            for turn in range(repeats // rounds + 3):
                start = time.perf_counter()
                call()
                if turn >= 3:
                    times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Export, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--model", default="compact")
    options = parser.parse_args()

    import numpy as np
    import torch

    from glesam import Predictor
    from glesam.export.folder import export
    from glesam.images.reading import read

    torch.set_num_threads(options.threads)
    image = read(PHOTO)
    predictors = {"torch": Predictor.from_pretrained(options.model, enhance="auto")}
    with tempfile.TemporaryDirectory() as folder:
        for runtime in ("onnx", "openvino"):
            found = export(predictors["torch"], Path(folder) / runtime, runtime, [PHOTO])
            print(f"{runtime}: least mask IoU with torch's {found.lowest:.5f}")
            predictors[runtime] = Predictor.from_pretrained(Path(folder) / runtime, runtime=runtime)
        for predictor in predictors.values():
            predictor.enhance = "off"
        rng = np.random.default_rng(0)
        corners = rng.uniform(0, 200, (8, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(60, 190, (8, 2))], axis=1).tolist()
        shift = iter(range(10**6))

        def encode(predictor: Predictor) -> object:
            return predictor.set_image(np.roll(image, next(shift), 1))

        jobs: dict[str, Callable[[Predictor], object]] = {
            "encode a 600x400 photo": encode,
            "one prompt of 3 points": lambda predictor: predictor.predict(points=CLICKS),
            "8 boxes": lambda predictor: predictor.predict(boxes=boxes),
        }
        print(f"\n{options.model}, {options.threads} threads, median ms\n")
        print(f"| what | {' | '.join(predictors)} |\n|---|{'---|' * len(predictors)}")
        for what, job in jobs.items():
            medians = in_turns({n: (lambda p=p, job=job: job(p)) for n, p in predictors.items()}, options.repeats)
            print(f"| {what} | {' | '.join(f'{value:.1f}' for value in medians.values())} |")


if __name__ == "__main__":
    main()
