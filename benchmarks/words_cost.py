"""What `--text` adds to an image: milliseconds by part, and memory.

Run: `python benchmarks/words_cost.py [--threads 2] [--word cup] [--repeats 15] [--cpu-time]`. Prints a Markdown table
of medians. Encoding the image is not part of what is added; the vocabulary's loading counts as memory alone.
`--cpu-time` takes CPU seconds of the process in place of the clock's, for machines that are shared.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path

from latency import PHOTO, timed


def resident() -> float:
    """MB that the process holds now; Linux."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--word", default="cup")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()

    import numpy as np
    import torch

    from glesam import Predictor
    from glesam.images.reading import read
    from glesam.text.offline import SIDES, bundled

    torch.set_num_threads(options.threads)
    clock, image = time.process_time if options.cpu_time else time.perf_counter, read(PHOTO)
    shift = iter(range(1, 10**6))  # another image each time, for the predictor keeps those that it has seen
    predictor = Predictor.from_pretrained("compact", enhance="off")
    predictor.set_image(image)
    predictor.predict(boxes=[75, 15, 470, 385])
    before = resident()
    source = bundled()
    predictor.predict_text([options.word])
    added = resident() - before
    seen = source.look(image)
    parts: dict[str, Callable[[], object]] = {
        "encoding the image (not added)": lambda: predictor.set_image(np.roll(image, next(shift), 1)),
        f"the classifier at {' and '.join(map(str, SIDES))} pixels, and the dense heads": lambda: source.look(image),
        "the word's map": lambda: source.word_map(seen, options.word),
        "all that `--text` adds": lambda: predictor.predict_text([options.word]),
    }
    print("| part | ms |\n|---|---|")
    for name, function in parts.items():
        print(f"| {name} | {timed(function, options.repeats, clock, warm_up=2):.0f} |", flush=True)
    print(f"\nmemory added: {added:.0f} MB")


if __name__ == "__main__":
    main()
