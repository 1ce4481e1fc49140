"""Finding things by examples on folders with known classes: recall and precision at IoU 0.5.

Run: `python benchmarks/examples.py DATA... [--references 1 3 5] [--pairs 24] [--seed 0] [--everything]`.
DATA holds `images/`, `masks/` (ids) and `labels.json`. Examples come from the images that may be trained on, searched
are the images kept aside (a fifth, by name): for each class as many images with it as without, so that what is found
where nothing is counts against precision. `--pairs` is the number of (class, image) pairs a set. Prints a table, and
the counts so far on stderr; `--everything` adds the baseline: everything mode, each mask by its likeness.

"any threshold" is the recall of all that was proposed, and "at .6" the largest recall at a precision of at least .6
over all thresholds: where the first is low, masks are missing; where only the second is, likeness cannot tell them
apart; where both are high and recall is not, the threshold is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from glesam import Predictor
    from glesam.data.readers.folder import FolderDataset

LEAST_PIXELS, HIT = 30, 0.5


@dataclass
class Counts:
    """What came out of one setting."""

    right: int = 0
    found: int = 0
    objects: int = 0
    seconds: list[float] = field(default_factory=list)
    proposed: list[tuple[float, bool]] = field(default_factory=list)

    def at_precision(self, least: float) -> float:
        """The largest recall that some threshold on the proposals' scores gives at a precision of at least so much."""
        right, best = 0, 0
        ranked = sorted(self.proposed, reverse=True)
        for count, (score, hit) in enumerate(ranked, 1):
            right += hit
            # Equal scores stand or fall together.
            ends = count == len(ranked) or ranked[count][0] < score
            if ends and right / count >= least:
                best = right
        return best / self.objects if self.objects else 0.0

    def row(self) -> str:
        """Recall, precision, recall at any threshold and at a precision of .6, objects, CPU seconds a search."""
        precision = f"{self.right / self.found:.2f}" if self.found else "none found"
        recall = f"{self.right / self.objects:.2f}" if self.objects else "no objects"
        reach = f"{sum(hit for _, hit in self.proposed) / self.objects:.2f}" if self.objects else "no objects"
        seconds = np.mean(self.seconds) if self.seconds else 0.0
        return f"{recall} | {precision} | {reach} | {self.at_precision(0.6):.2f} | {self.objects} | {seconds:.2f}"


def kept_aside(name: str) -> bool:
    """The fifth of a set that is for measuring."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


class Labelled:
    """A data set by class."""

    def __init__(self, folder: Path) -> None:
        from glesam.data.readers.folder import FolderDataset

        self.data: FolderDataset = FolderDataset(folder)
        self.labels: dict[str, dict[str, str]] = json.loads((folder / "labels.json").read_text("utf-8"))
        self.index = {name: i for i, name in enumerate(self.data.names)}

    def objects(self, name: str, kind: str) -> tuple[Any, Any]:
        """An image and `(n, H, W)` masks of its objects of a class."""
        sample = self.data[self.index[name]]
        ids = [int(i) for i, each in self.labels.get(name, {}).items() if each == kind]
        masks = [sample.mask == i for i in ids]
        return sample.image, np.array([m for m in masks if m.sum() >= LEAST_PIXELS], bool).reshape(
            -1, *sample.mask.shape
        )

    def pairs(self, count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
        """Classes and images kept aside, with and without the class in turn."""
        aside = [name for name in self.data.names if kept_aside(name)]
        kinds = sorted({kind for name in aside for kind in self.labels.get(name, {}).values()})
        found = []
        for turn in range(count):
            kind = kinds[turn // 2 % len(kinds)]
            shows = [name for name in aside if (kind in self.labels.get(name, {}).values()) == (turn % 2 == 0)]
            if shows:
                found.append((kind, str(rng.choice(shows))))
        return sorted(set(found))

    def examples(self, kind: str, count: int, rng: np.random.Generator) -> list[str]:
        """Images that may be trained on and show a class."""
        names = [n for n in self.data.names if not kept_aside(n) and kind in self.labels.get(n, {}).values()]
        return [str(name) for name in rng.permutation(names)[:count]]


def search(
    predictor: Predictor, labelled: Labelled, pairs: list[tuple[str, str]], count: int, options: Any
) -> list[str]:
    """Rows of the table for one number of examples."""
    counts = {"examples": Counts()} | ({"everything": Counts()} if options.everything else {})
    current = ""
    for kind, name in pairs:
        if kind != current:
            predictor.forget()
            for example in labelled.examples(kind, count, np.random.default_rng([options.seed, len(kind)])):
                image, masks = labelled.objects(example, kind)
                if len(masks):
                    predictor.remember_file(image, masks)
            current = kind
            if predictor.has_examples:
                predictor.set_image(image)
                predictor.find_like()  # chooses the threshold
        if not predictor.has_examples:
            continue
        image, truths = labelled.objects(name, kind)
        predictor.set_image(image)
        for way, total in counts.items():
            start = time.process_time()
            masks, scores = all_like(predictor) if way == "examples" else all_of_everything(predictor, image)
            total.seconds.append(time.process_time() - start)
            kept = scores >= predictor.examples.chosen().threshold
            total.found, total.objects = total.found + int(kept.sum()), total.objects + len(truths)
            total.right += sum(hits(masks[kept], truths))
            total.proposed += zip(scores.tolist(), hits(masks, truths), strict=True)
        print(f"{kind}: {counts['examples'].row()}", file=sys.stderr, flush=True)
    return [f"| {labelled.data.name} | {way} | {count} | {total.row()} |" for way, total in counts.items()]


def all_like(predictor: Predictor) -> tuple[Any, Any]:
    """All masks that may be alike, and their likeness, the largest first."""
    found = predictor.find_like(0.0)
    return found.masks, found.scores


def all_of_everything(predictor: Predictor, image: Any) -> tuple[Any, Any]:
    """Masks of everything mode and their likeness, the largest first."""
    from glesam.fewshot.references import looks_of

    references, cache = predictor.examples.chosen(), predictor.examples.features
    masks = predictor.generate(points_per_side=16).masks
    if not len(masks):
        return masks, np.zeros(0, np.float32)
    scores = references.likeness(looks_of(cache.backbone, image, cache.of(image), list(masks)))
    order = np.argsort(-scores, kind="stable")
    return masks[order], scores[order]


def hits(masks: Any, truths: Any) -> list[bool]:
    """Whether each mask finds an object that none before it found."""
    left, found = list(truths), []
    for mask in masks:
        values = [np.count_nonzero(mask & t) / np.count_nonzero(mask | t) for t in left]
        found.append(bool(values) and max(values) >= HIT)
        if found[-1]:
            del left[int(np.argmax(values))]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--references", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--everything", action="store_true")
    options = parser.parse_args()

    from glesam import Predictor

    predictor = Predictor.from_pretrained(options.model)
    print("| set | way | examples | recall | precision | any threshold | at .6 | objects | CPU s a search |")
    print("|---|---|---|---|---|---|---|---|---|")
    for folder in options.data:
        labelled = Labelled(folder)
        pairs = labelled.pairs(options.pairs, np.random.default_rng(options.seed))
        for count in options.references:
            print("\n".join(search(predictor, labelled, pairs, count, options)), flush=True)


if __name__ == "__main__":
    main()
