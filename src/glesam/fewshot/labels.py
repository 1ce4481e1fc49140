"""Names from examples: each mask gets the class of the marked object that it looks most like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from glesam.common.arrays import Bool
from glesam.common.messages import shown
from glesam.errors import ConfigError
from glesam.everything.labels import Ranking, ReadFile, rank_each
from glesam.fewshot.backbone import bundled_backbone
from glesam.fewshot.features import Backbone, image_features
from glesam.fewshot.references import Reference, check_marks, looks_of
from glesam.images.pixels import RGB
from glesam.images.reading import read
from glesam.images.sources import SUFFIXES
from glesam.masks.masks import Masks
from glesam.masks.painted import read_objects

MARKS = ".mask.png"
"""Ending of the marks beside an image, `a.mask.png` of `a.jpg`."""


def load(argument: str, read_file: ReadFile = read) -> ExampleLabeler:
    """The labeler of a folder with examples, `FOLDER/CLASS/IMAGE` with `IMAGE.mask.png` beside; all are read at once.

    Args:
        argument: the folder.
        read_file: reads an image as the model is to see it.

    Raises:
        ConfigError: no folder, or none with a marked image in it.
        ImageError: an image cannot be read.
        DataError: marks cannot be read.
        PromptError: marks of another size than their image.
    """
    examples: dict[str, list[tuple[RGB, Bool]]] = {}
    for marks in sorted(Path(argument).glob(f"*/*{MARKS}")) if argument else []:
        image, masks = read_file(_image_of(marks)), read_objects(marks)
        check_marks(image, masks, f"the image beside {shown(marks)}")
        examples.setdefault(marks.parent.name, []).append((image, masks))
    if not examples:
        got = f"none in {argument}" if argument else "no folder"
        raise ConfigError(
            f"expected examples:FOLDER with FOLDER/CLASS/a.jpg and a{MARKS} beside it, got {got}; mark some images"
        )
    return ExampleLabeler(examples)


class ExampleLabeler:
    """Ranks classes by the largest cosine of a mask's look to that of any of their marked objects.

    The look is `references.looks_of`: features of the frozen ImageNet backbone in the image, and cut out from near.
    Every mask gets a class, however little it looks like it; scores say how much, about 1 for the same thing.

    Args:
        examples: for each class images `(H, W, 3)` uint8 RGB with masks `(n, H, W)` bool of its objects.
        backbone: frozen; None for the bundled one.

    Raises:
        PromptError: masks of another size than their image, or without a pixel.
    """

    def __init__(self, examples: Mapping[str, Sequence[tuple[RGB, Bool]]], backbone: Backbone | None = None) -> None:
        for image, masks in (pair for pairs in examples.values() for pair in pairs):
            check_marks(image, masks)
        self._backbone, self._examples = backbone or bundled_backbone(), examples
        self._looks: dict[str, torch.Tensor] = {}

    def __call__(self, image: RGB, masks: Masks) -> Sequence[Ranking]:
        """One ranking of all classes for each mask; none for an empty mask."""
        features, known = image_features(self._backbone, image), self._learned()

        def rank(_: int, mask: Bool) -> Ranking:
            look = looks_of(self._backbone, image, features, [mask])[0]
            near = [(name, max(0.0, float((looks @ look).max()))) for name, looks in known.items()]
            return sorted(near, key=lambda pair: -pair[1])

        return rank_each(masks, rank)

    def _learned(self) -> dict[str, torch.Tensor]:
        """Looks `(n, D)` of each class, taken at first use: to know whether examples are right nobody need wait."""
        if not self._looks:
            pairs = {name: [self._example(*pair) for pair in pairs] for name, pairs in self._examples.items()}
            self._looks, self._examples = {name: torch.cat(looks) for name, looks in pairs.items()}, {}
        return self._looks

    def _example(self, image: RGB, masks: Bool) -> torch.Tensor:
        return Reference.of(self._backbone, image, image_features(self._backbone, image), masks, False).looks


def _image_of(marks: Path) -> Path:
    """The image beside its marks."""
    stem = marks.name.removesuffix(MARKS)
    beside = (path for path in sorted(marks.parent.glob("*")) if path.suffix.lower() in SUFFIXES)
    found = [path for path in beside if path.stem == stem and path != marks]
    if not found:
        raise ConfigError(f"expected an image {stem}.* beside {marks}, found none; the marks belong to one")
    return found[0]
