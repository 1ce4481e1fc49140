"""Finding things by examples on folders with known classes: recall and precision at IoU 0.5.

Run: `python benchmarks/examples.py DATA... [--references 3 1 5] [--images 8] [--classes 6] [--everything] [--apart]`.
DATA holds `images/`, `masks/` (ids) and `labels.json`; taken are the classes that most images kept aside show. Examples
come from the images that may be trained on, searched are images kept aside (a fifth, by name): each for the classes
that it shows and for as many others (one at least), so that what is found where nothing is counts against precision.
`--practice` searches images that are not kept aside, to choose among ways. Prints a table with 95 %
intervals (bootstrap over the images), and the counts so far on stderr.

Where recall is lost: "some mask" is the share of objects of which any of the several hundred masks has IoU 0.5, "looked
at" that of which one of the 24 does that are looked at from near, "kept" what is left once each thing has one mask, and
"at .6" the largest recall at a precision of at least .6 over all thresholds: where that is high and recall is not, the
threshold is wrong.

`--everything` adds two baselines on everything mode's masks: "nearest class" gives each mask the class of the example
(of all classes taken) that it looks most like, "everything" takes those that the examples' likeness takes.

What does not depend on the class (clicks all over an image, the look at a mask) is made once for all classes, which
changes no number but the time; `--apart` makes it again each time and adds the CPU seconds of a search.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kept_answers import KeptAnswers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glesam import Predictor
    from glesam.data.readers.folder import FolderDataset

LEAST_PIXELS, HIT = 30, 0.5
HEADS = ("set", "way", "examples", "recall", "precision", "some mask", "looked at", "kept", "at .6", "objects", "CPU s")
SEARCH, NEAREST, EVERYTHING = "examples", "everything, nearest class", "everything, likeness"


@dataclass
class Counts:
    """What came out of one setting, right, found and objects by image.

    `masks` has for each search the number of objects that some mask, and one of those looked at from near, hits.
    """

    right: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    proposed: list[tuple[float, bool]] = field(default_factory=list)
    masks: list[tuple[int, int]] = field(default_factory=list)

    def add(self, image: str, scores: Any, hit: Sequence[bool], kept: Any, objects: int) -> None:
        """Count one search.

        Args:
            image: its name.
            scores: of all that was proposed, the largest first.
            hit: whether each finds an object.
            kept: whether each counts as found.
            objects: number of objects.
        """
        right = int(np.count_nonzero(np.asarray(hit, bool) & np.asarray(kept, bool)))
        for total, more in ((self.right, right), (self.found, int(np.sum(kept))), (self.objects, objects)):
            total[image] = total.get(image, 0) + more
        self.proposed += zip(np.asarray(scores).tolist(), hit, strict=True)

    @property
    def total(self) -> int:
        """Number of objects."""
        return sum(self.objects.values())

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
        return best / self.total if self.total else 0.0

    def row(self, seed: int) -> str:
        """Cells of the table."""
        of = max(1, self.total)
        recall, precision = (interval(self.right, part, seed) for part in (self.objects, self.found))
        kept = sum(hit for _, hit in self.proposed) / of
        some, looked = np.sum(self.masks, axis=0) if self.masks else (0, 0)
        reach = f"{some / of:.2f} | {looked / of:.2f}" if self.masks else "| "
        seconds = f"{np.mean(self.seconds):.2f}" if self.seconds else ""
        return (
            f"{recall} | {precision} | {reach} | {kept:.2f} | {self.at_precision(0.6):.2f} | {self.total} | {seconds}"
        )


def interval(parts: dict[str, int], wholes: dict[str, int], seed: int, resamples: int = 2000) -> str:
    """A share and the interval that holds 95 % of its values over images drawn with replacement."""
    part, whole = (np.array([each[name] for name in sorted(parts)], float) for each in (parts, wholes))
    if not whole.sum():
        return "none"
    drawn = np.random.default_rng(seed).integers(len(part), size=(resamples, len(part)))
    sums = whole[drawn].sum(axis=1)
    low, high = np.percentile((part[drawn].sum(axis=1) / np.maximum(sums, 1))[sums > 0], (2.5, 97.5))
    return f"{part.sum() / whole.sum():.2f} ({low:.2f}-{high:.2f})"


def kept_aside(name: str) -> bool:
    """The fifth of a set that is for measuring."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


class Labelled:
    """A data set by class.

    Args:
        folder: of the set.
        options: of the command line.
    """

    def __init__(self, folder: Path, options: Any) -> None:
        from glesam.data.readers.folder import FolderDataset

        self.data: FolderDataset = FolderDataset(folder)
        self.labels: dict[str, dict[str, str]] = json.loads((folder / "labels.json").read_text("utf-8"))
        self.index = {name: i for i, name in enumerate(self.data.names)}
        # One order for all classes: images that show several are then examples of several.
        self.order = [str(name) for name in np.random.default_rng(options.seed).permutation(self.data.names)]
        self.seed = options.seed
        aside, others = ([n for n in self.order if kept_aside(n) == side] for side in (True, False))
        shown = Counter(kind for name in aside for kind in sorted(self.kinds(name)))
        known = {kind for name in others for kind in self.kinds(name)}
        self.chosen = [kind for kind, _ in shown.most_common() if kind in known][: options.classes]
        suited = [n for n in (others[::-1] if options.practice else aside) if self.kinds(n) & set(self.chosen)]
        self.searched = suited[: options.images]
        self.known = [name for name in others if name not in self.searched]

    def kinds(self, name: str) -> set[str]:
        """Classes that an image shows."""
        return set(self.labels.get(name, {}).values())

    def objects(self, name: str, kind: str) -> tuple[Any, Any]:
        """An image and `(n, H, W)` masks of its objects of a class."""
        sample = self.data[self.index[name]]
        ids = [int(i) for i, each in self.labels.get(name, {}).items() if each == kind]
        masks = [sample.mask == i for i in ids]
        return sample.image, np.array([m for m in masks if m.sum() >= LEAST_PIXELS], bool).reshape(
            -1, *sample.mask.shape
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Classes and the images to search for them, by class."""
        found = []
        for name in self.searched:
            shown = self.kinds(name) & set(self.chosen)
            rest = sorted(set(self.chosen) - shown)
            drawn = np.random.default_rng([self.seed, self.index[name]]).permutation(rest)[: max(1, len(shown))]
            found += [(kind, name) for kind in [*shown, *drawn.tolist()]]
        return sorted(found)

    def examples(self, kind: str, count: int) -> list[tuple[Any, Any]]:
        """Images that may be trained on and show a class, and masks of its objects; the first of a longer list."""
        names = (name for name in self.known if kind in self.kinds(name))
        found = (self.objects(name, kind) for name in names)
        return [pair for _, pair in zip(range(count), (pair for pair in found if len(pair[1])), strict=False)]


class Searches:
    """Searches of one set with one number of examples.

    Args:
        predictor: to search with.
        labelled: the set.
        count: examples.
        kept: what was made before, or None to make all again.
        options: of the command line.
    """

    def __init__(
        self, predictor: Predictor, labelled: Labelled, count: int, kept: KeptAnswers | None, options: Any
    ) -> None:
        self.predictor, self.labelled, self.count, self.kept, self.options = predictor, labelled, count, kept, options
        self.counts = {way: Counts() for way in ((SEARCH, NEAREST, EVERYTHING) if options.everything else (SEARCH,))}

    def run(self) -> list[str]:
        """Rows of the table."""
        prototypes = self._prototypes() if self.options.everything else {}
        current = ""
        for kind, name in self.labelled.pairs():
            if kind != current:
                current = kind
                self._remember(kind)
            image, truths = self.labelled.objects(name, kind)
            self.predictor.set_image(image)
            self._search(name, truths)
            if self.options.everything:
                self._everything(name, image, truths, kind, prototypes)
            print(f"{kind}, {name}: {self.counts[SEARCH].row(0)}", file=sys.stderr, flush=True)
        set_name = self.labelled.data.name
        return [f"| {set_name} | {w} | {self.count} | {c.row(self.options.seed)} |" for w, c in self.counts.items()]

    def _remember(self, kind: str) -> None:
        """Learn a class."""
        self.predictor.forget()
        for image, masks in self.labelled.examples(kind, self.count):
            self.predictor.remember_file(image, masks)
        if self.kept:
            self.kept.seen = None
        self.predictor.examples.chosen()

    def _search(self, name: str, truths: Any) -> None:
        counts, start = self.counts[SEARCH], time.process_time()
        found = self.predictor.find_like(0.0)
        if self.kept is None:
            counts.seconds.append(time.process_time() - start)
        elif len(truths) and self.kept.seen is not None:
            best = [best_iou([each.mask for each in part], truths) for part in self.kept.seen]
            counts.masks.append((int((best[0] >= HIT).sum()), int((best[1] >= HIT).sum())))
        taken = found.scores >= self.predictor.examples.chosen().threshold
        counts.add(name, found.scores, hits(found.masks, truths), taken, len(truths))

    def _everything(self, name: str, image: Any, truths: Any, kind: str, prototypes: dict[str, Any]) -> None:
        from glesam.fewshot.references import looks_of

        masks = self._everything_masks(image)
        cache, references = self.predictor.examples.features, self.predictor.examples.chosen()
        if not len(masks):
            for way in (NEAREST, EVERYTHING):
                self.counts[way].add(name, [], [], [], len(truths))
            return
        looks = looks_of(cache.backbone, image, cache.of(image), list(masks))
        likeness = references.likeness(looks)
        near = {each: (looks @ prototype.T).amax(dim=1).numpy() for each, prototype in prototypes.items()}
        nearest = np.array(list(near))[np.stack(list(near.values())).argmax(axis=0)] == kind
        for way, scores, taken in (
            (NEAREST, np.where(nearest, near[kind], -1), nearest),
            (EVERYTHING, likeness, likeness >= references.threshold),
        ):
            order = np.argsort(-scores, kind="stable")
            order = order[scores[order] >= 0]
            self.counts[way].add(name, scores[order], hits(masks[order], truths), taken[order], len(truths))

    def _everything_masks(self, image: Any) -> Any:
        def make() -> Any:
            return self.predictor.generate(points_per_side=16).masks

        return make() if self.kept is None else self.kept.masks(image, make)

    def _prototypes(self) -> dict[str, Any]:
        """Looks of the examples of each class."""
        import torch

        from glesam.fewshot.references import looks_of

        cache = self.predictor.examples.features
        return {
            kind: torch.cat(
                [
                    looks_of(cache.backbone, image, cache.of(image), list(masks))
                    for image, masks in self.labelled.examples(kind, self.count)
                ]
            )
            for kind in self.labelled.chosen
        }


def best_iou(masks: Any, truths: Any) -> Any:
    """The largest IoU of any mask with each object, `(n,)`.

    Args:
        masks: `(h, w)` bool each, of one size: that of the image, or of the smaller copy that large ones become.
        truths: `(n, H, W)` bool; compared at the masks' size.
    """
    from glesam.images.shrink import resize_ids

    size = masks[0].shape if len(masks) else truths.shape[1:]
    truths = np.array([resize_ids(truth, size) for truth in truths], bool).reshape(-1, *size)
    best, areas = np.zeros(len(truths)), truths.sum(axis=(1, 2))
    for mask in masks:
        shared = np.array([np.count_nonzero(truth[mask]) for truth in truths])
        best = np.maximum(best, shared / (np.count_nonzero(mask) + areas - shared))
    return best


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
    parser.add_argument("--references", type=int, nargs="+", default=[3, 1, 5])
    parser.add_argument("--images", type=int, default=8, help="of each set, at most")
    parser.add_argument("--classes", type=int, default=6, help="of each set, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--everything", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--practice", action="store_true")
    options = parser.parse_args()

    from glesam import Predictor

    predictor = Predictor.from_pretrained(options.model)
    kept = None if options.apart else KeptAnswers(predictor.examples)
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    sets = [Labelled(folder, options) for folder in options.data]
    for count in options.references:
        for labelled in sets:
            print("\n".join(Searches(predictor, labelled, count, kept, options).run()), flush=True)


if __name__ == "__main__":
    main()
