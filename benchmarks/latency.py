"""Latency and memory of the main job on this machine: encode a photo, answer a prompt, import, `--help`.

Run: `python benchmarks/latency.py [--threads 2] [--model compact]`. Prints a Markdown table of medians.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "coffee.jpg"


def timed(
    function: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter, warm_up: int = 3
) -> float:
    """Median milliseconds of a call by a clock, after some calls to warm up."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return 1000 * statistics.median(times)


def command(arguments: list[str], repeats: int = 7) -> float:
    """Median milliseconds of a whole process."""
    return timed(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True), repeats)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--quality", default="standard", choices=["fast", "standard", "high"])
    parser.add_argument("--images", type=int, default=500, help="pictures for the memory measurement")
    options = parser.parse_args()

    import numpy as np
    import torch

    from glesam import Predictor
    from glesam.images.reading import read

    torch.set_num_threads(options.threads)
    predictor = Predictor.from_pretrained(options.model, quality=options.quality)
    image = read(PHOTO)
    rows = [("import glesam (whole process)", command(["-c", "import glesam"]))]
    rows.append(("python itself (whole process)", command(["-c", "pass"])))
    rows.append(("glesam --help (whole process)", command(["-m", "glesam", "--help"])))
    shift = iter(range(10**6))
    rows.append(("encode a 600x400 photo", timed(lambda: predictor.set_image(np.roll(image, next(shift), 1)), 25)))
    square = np.ascontiguousarray(image[:, :400])
    rows.append(("encode a square part of it", timed(lambda: predictor.set_image(np.roll(square, next(shift), 1)), 25)))
    predictor.set_image(image)
    clicks = [[320, 200], [250, 200], [300, 250]]
    rows.append(("one prompt of 3 points", timed(lambda: predictor.predict(points=clicks), 25)))
    rows.append(("one box", timed(lambda: predictor.predict(boxes=[[120, 60, 480, 350]]), 25)))
    print(f"{options.model}, quality {options.quality}, {options.threads} threads\n\n| what | median ms |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value:.1f} |")

    peaks = []
    for number in range(options.images):
        predictor.set_image(np.roll(image, 600 + number, 1))
        predictor.predict(points=[[320, 200]])
        if number in (49, options.images - 1):
            gc.collect()
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"\nPeak memory after 50 photos {peaks[0]:.0f} MiB, after {options.images} photos {peaks[-1]:.0f} MiB.")


if __name__ == "__main__":
    main()
