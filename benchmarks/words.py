"""How well words are found, on a folder with known names: maps, objects, presence, labels, the map of classes.

Run: `python benchmarks/words.py DATA [--kept-aside] [--limit N] [--class-map]`. DATA holds `images/`, `masks/` (ids),
and `labels.json` (`{name: {id: label}}`); labels that the vocabulary does not know are left out. VOC's joined names
("tvmonitor") are taken apart. Prints, over all images:

* for each word, and their mean: IoU pooled over images (VOC's way) of the map cut at half its maximum and of the
  objects by the decoder, both where the word is given (images that show it); of the objects where it is not (all words
  asked of all images);
* precision and recall of "is the word there";
* top 1 and top 5 of names for given masks of at least 1 % of the image;
* with `--class-map` instead of all that: mean IoU of the map of classes over pixels whose class is known. Everything
  mode's masks are named as `--label` names them, by any name of the vocabulary (one that means a word of the set counts
  for it), and among the set's words alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from glesam import Predictor
    from glesam.images.pixels import RGB
    from glesam.text.base import WordMap
    from glesam.text.offline import OfflineWords

SPOKEN = {"tvmonitor": "tv", "diningtable": "dining table", "pottedplant": "potted plant"}
"""Labels to words, where they differ."""

LEAST = 0.01
"""Share of the image of masks that are named."""


@dataclass
class Overlap:
    """Pixels shared and covered, of each word."""

    shared: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    covered: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, word: str, found: Any, truth: Any) -> None:
        """Count one image."""
        self.shared[word] += int(np.count_nonzero(found & truth))
        self.covered[word] += int(np.count_nonzero(found | truth))

    def iou(self, word: str) -> float:
        """Pooled IoU of a word; NaN where there is nothing."""
        return self.shared[word] / self.covered[word] if self.covered[word] else float("nan")

    def mean(self, words: Sequence[str]) -> float:
        """Mean over words."""
        return float(np.nanmean([self.iou(word) for word in words]))


class Given:
    """A source that takes every word for shown.

    Args:
        source: whose maps they are.
    """

    name = "words given"

    def __init__(self, source: OfflineWords) -> None:
        self._source = source

    def check(self, words: Sequence[str]) -> None:
        """See `WordSource`."""
        self._source.check(words)

    def maps(self, image: RGB, words: Sequence[str]) -> list[WordMap]:
        """See `WordSource`."""
        return [replace(each, presence=1.0) for each in self._source.maps(image, words)]


class Measured:
    """Counts of one run.

    Args:
        predictor: with the vocabulary.
        words: all words of the set.
    """

    def __init__(self, predictor: Predictor, words: list[str]) -> None:
        from glesam.text.offline import bundled
        from glesam.text.offline_labels import OfflineLabeler

        self.predictor, self.words, self.source = predictor, words, bundled()
        self.labeler, self.given = OfflineLabeler(self.source, crops=False), Given(self.source)
        self.raw, self.objects, self.asked = Overlap(), Overlap(), Overlap()
        self.presence = {(truth, said): 0 for truth in (False, True) for said in (False, True)}
        self.top1, self.top5 = [], []

    def add(self, image: RGB, masks: dict[str, list[Any]]) -> None:
        """Count one image, of which the masks by word are known."""
        self.predictor.set_image(image)
        size = image.shape[:2]
        for each in self.source.maps(image, self.words):
            self.presence[each.word in masks, each.is_present] += 1
            if each.word in masks:
                values = cv2.resize(each.values, size[::-1], interpolation=cv2.INTER_LINEAR)
                self.raw.add(each.word, values > 0.5 * values.max(), np.any(masks[each.word], axis=0))
        shown = list(masks)
        found = self.predictor.find_words(shown, self.given)
        asked = self.predictor.find_words(self.words, self.source)
        for word in self.words:
            truth = np.any(masks[word], axis=0) if word in masks else np.zeros(size, bool)
            self.asked.add(word, _union(asked, word, size), truth)
            if word in masks:
                self.objects.add(word, _union(found, word, size), truth)
        self._name(image, masks)

    def _name(self, image: RGB, masks: dict[str, list[Any]]) -> None:
        """Count names of the masks."""
        from glesam.masks.masks import Masks

        pairs = [(word, mask) for word, each in masks.items() for mask in each if mask.mean() >= LEAST]
        if not pairs:
            return
        rankings = self.labeler(image, Masks(np.stack([m for _, m in pairs]), np.ones(len(pairs), np.float32)))
        for (word, _), ranking in zip(pairs, rankings, strict=True):
            right = [name in meanings(self.source, word) for name, _ in ranking]
            self.top1.append(any(right[:1]))
            self.top5.append(any(right[:5]))

    def report(self) -> str:
        """The tables."""
        rows = ["| word | map, given | objects, given | objects, all words asked |", "|---|---|---|---|"]
        kept = [word for word in self.words if self.objects.covered[word]]
        for word in kept:
            three = (self.raw.iou(word), self.objects.iou(word), self.asked.iou(word))
            rows.append(f"| {word} | " + " | ".join(f"{value:.3f}" for value in three) + " |")
        means = [part.mean(kept) for part in (self.raw, self.objects, self.asked)]
        rows.append("| **mean** | " + " | ".join(f"{value:.3f}" for value in means) + " |")
        others = [word for word in kept if word != "person"]
        rows.append(
            "| but person | " + " | ".join(f"{p.mean(others):.3f}" for p in (self.raw, self.objects, self.asked)) + " |"
        )
        yes, missed, wrong = self.presence[True, True], self.presence[True, False], self.presence[False, True]
        rows.append(
            f"\nis it there: precision {yes / max(1, yes + wrong):.2f}, recall {yes / max(1, yes + missed):.2f}"
        )
        rows.append(f"names: top 1 {np.mean(self.top1):.2f}, top 5 {np.mean(self.top5):.2f} of {len(self.top1)} masks")
        return "\n".join(rows)


def meanings(source: OfflineWords, word: str) -> set[str]:
    """Names that mean a word: its classes', and the word's own head."""
    head = source._head(word)
    names = {source.words.class_name(i) for i in source.words.classes(word)}
    return names | ({source.heads.words[head]} if head is not None and source.heads is not None else set())


def _union(masks: Any, word: str, size: tuple[int, int]) -> Any:
    chosen = [i for i, name in enumerate(masks.class_names) if name == word]
    return np.any([masks.masks[i] for i in chosen], axis=0) if chosen else np.zeros(size, bool)


@dataclass
class ClassMaps:
    """Maps of classes: everything mode, each mask named in two ways.

    Args:
        predictor: with the vocabulary.
        words: all words of the set.
    """

    predictor: Predictor
    words: list[str]
    overlaps: dict[str, Overlap] = field(default_factory=lambda: defaultdict(Overlap))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, image: RGB, masks: dict[str, list[Any]]) -> None:
        """Count one image, over pixels whose class is known."""
        from glesam.everything.labels import class_map
        from glesam.text.clip_labels import WordLabeler
        from glesam.text.offline import bundled
        from glesam.text.offline_labels import OfflineLabeler

        found = self._timed("masks", lambda: self._everything(image))
        known = np.any([m for each in masks.values() for m in each], axis=0)
        labelers = {"any name": OfflineLabeler(bundled()), "a word of the set": WordLabeler(bundled(), self.words)}
        for way, labeler in labelers.items():
            classes, names = class_map(self._timed(way, partial(self.predictor.label, found, labeler)))
            for word in self.words:
                meant = [1 + i for i, name in enumerate(names) if name == word or name in meanings(bundled(), word)]
                truth = np.any(masks[word], axis=0) if word in masks else np.zeros_like(known)
                self.overlaps[way].add(word, np.isin(classes, meant) & known, truth)

    def _everything(self, image: RGB) -> Any:
        self.predictor.set_image(image)
        return self.predictor.generate()

    def _timed(self, what: str, function: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = function()
        self.seconds[what] += time.process_time() - start
        return result

    def report(self, count: int) -> str:
        """The table."""
        ways = list(self.overlaps)
        rows = ["| word | " + " | ".join(ways) + " |", "|---" * (1 + len(ways)) + "|"]
        rows += [
            f"| {word} | " + " | ".join(f"{self.overlaps[way].iou(word):.3f}" for way in ways) + " |"
            for word in self.words
        ]
        rows.append("| **mean** | " + " | ".join(f"{self.overlaps[w].mean(self.words):.3f}" for w in ways) + " |")
        seconds = ", ".join(f"{what} {total / count:.2f}" for what, total in self.seconds.items())
        return "\n".join(rows) + f"\n\n{count} images; CPU seconds an image: {seconds}"


def labelled_images(folder: Path, aside: bool, limit: int) -> tuple[list[str], list[tuple[Any, dict[str, list[Any]]]]]:
    """The words of a set, and its images with masks by word."""
    from glesam.data.base import is_kept_aside
    from glesam.data.readers.folder import FolderDataset
    from glesam.text.offline import bundled

    data, labels = FolderDataset(folder), json.loads((folder / "labels.json").read_text("utf-8"))
    known = set(bundled().known)
    spoken = {label: SPOKEN.get(label, label) for named in labels.values() for label in named.values()}
    found = []
    for index, name in enumerate(data.names):
        if (aside and not is_kept_aside(name)) or len(found) == limit:
            continue
        sample, masks = data[index], defaultdict(list)
        for number, label in labels.get(name, {}).items():
            if spoken[label] in known and (sample.mask == int(number)).any():
                masks[spoken[label]].append(sample.mask == int(number))
        if masks:
            found.append((sample.image, dict(masks)))
    return sorted(set(spoken.values()) & known), found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--kept-aside", action="store_true", help="only the fifth that is never trained on")
    parser.add_argument("--limit", type=int, default=0, help="images at most; 0 for all")
    parser.add_argument("--class-map", action="store_true")
    options = parser.parse_args()

    from glesam import Predictor

    predictor = Predictor.from_pretrained("compact")
    words, images = labelled_images(options.data, options.kept_aside, options.limit or 10**9)
    if options.class_map:
        maps = ClassMaps(predictor, words)
        for image, masks in images:
            maps.add(image, masks)
        print(maps.report(len(images)))
        return
    measured = Measured(predictor, words)
    for image, masks in images:
        measured.add(image, masks)
    print(measured.report())


if __name__ == "__main__":
    main()
