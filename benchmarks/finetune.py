"""What fine-tuning on some dozens of images brings and costs: tunes by the command, and measures before and after.

    python benchmarks/finetune.py data/train/carparts --lost data/val/ecssd --images 60 --steps 80
    python benchmarks/finetune.py data/train/carparts --images 60 --steps 80 --train=--lora=8

Trains on images that are not kept aside (by the hash of their names), drawn by seed; measures on those kept aside, and
on a set of another kind. Prints mean IoU over images before and after, the difference with its 95 % interval, and the p
value of the paired bootstrap. What is there in `--out` of the same trial (images, base weights, options) is not done
again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from glesam.common.messages import slug
from glesam.common.seeds import stable_seed
from glesam.data.base import is_kept_aside
from glesam.data.readers.registry import open_dataset
from glesam.evaluate.measure.model_specs import fingerprint, parse_model
from glesam.evaluate.measure.records import from_csv
from glesam.evaluate.report.statistics import compare
from glesam.evaluate.report.summary import by_cell, image_means

BASE = "compact@enhance=off"


def main() -> None:
    """Choose images, tune, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data-set folder with images/ and masks/")
    parser.add_argument("--lost", type=Path, help="set of another kind, to see what is lost")
    parser.add_argument("--images", type=int, default=60, help="images to tune on")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--limit", type=int, default=100, help="images of each set to measure on at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/finetune"))
    parser.add_argument(
        "--train", action="append", default=[], help="further flag of the training, as --train=--lora=8"
    )
    options = parser.parse_args()
    options.out /= trial(options.data, options.images, options.steps, options.seed, options.train)
    chosen = choose(options.data, options.images, options.seed, options.out / options.data.name)
    tuned = options.out / "run" / "model"
    if not tuned.is_dir():
        words = ["--init", "compact", "--data", chosen, "--steps", options.steps, "--seed", options.seed]
        seconds = glesam("train", "base", *words, "--out", options.out / "run", *options.train)
        print(
            f"{options.steps} steps on {options.images} images: {seconds:.0f} s, data and start of the program included"
        )
    print("| set | prompt | images | before | after | difference | p |\n|---|---|---|---|---|---|---|")
    measure(options.data, tuned, options.out / "gain", options.limit, "--kept-aside")
    if options.lost is not None:
        measure(options.lost, tuned, options.out / "lost", options.limit)


def trial(data: Path, images: int, steps: int, seed: int, flags: list[str]) -> str:
    """Name of a trial's folder: what one of them left is not another one's. Base weights and the set's path count."""
    start = stable_seed(fingerprint(parse_model(BASE)), str(data.resolve()))
    return slug("-".join([data.name, str(images), str(steps), str(seed), *flags, f"{start:016x}"]))


def choose(data: Path, count: int, seed: int, folder: Path) -> Path:
    """A folder of links to some images, none of them kept aside, and to their masks."""
    source = open_dataset(data)
    names = [name for name in source.names if not is_kept_aside(name)]
    drawn = np.random.default_rng(seed).permutation(len(names))[:count]
    wanted = {names[index] for index in drawn}
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for path in sorted((data / part).iterdir()):
            link = folder / part / path.name
            if path.stem in wanted and not link.is_symlink():
                link.symlink_to(path.resolve())
    return folder


def measure(data: Path, tuned: Path, out: Path, limit: int, *words: str) -> None:
    """Evaluate the base and the tuned model where it is not done, and print a row for each kind of prompt."""
    after = f"{tuned}@enhance=off"
    models = ["--models", f"{BASE},{after}", "--prompts", "points:3,box", "--levels", "clear", "--no-figures"]
    glesam("evaluate", "--data", data, *words, *models, "--limit", limit, "--overwrite", "--out", out)
    rows = from_csv(out / "per_object.csv")
    cells = [by_cell(row for row in rows if row.model == name) for name in (BASE, after)]
    ours, theirs = ({(cell.set, cell.prompt): image_means(members) for cell, members in each.items()} for each in cells)
    for key, before in ours.items():
        found = compare(before, theirs[key], stable_seed("finetune", 0))
        first, second = (np.mean(list(means.values())) for means in (before, theirs[key]))
        gain = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        print(f"| {' | '.join(key)} | {found.images} | {first:.3f} | {second:.3f} | {gain} | {found.p_value:.4f} |")


def glesam(*words: object) -> float:
    """Run the command, and give its seconds; ends where it fails."""
    start = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", "glesam", *map(str, words)], env=os.environ, check=False).returncode
    if status:
        sys.exit(f"glesam {words[0]} ended with status {status}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
