"""Names from the offline vocabulary: the classifier inside a mask, seen in the whole image and in a crop of its own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.common.arrays import Bool
from glesam.everything.labels import Ranking, rank_each
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.text.offline import NAME_SIDES, OfflineWords, bundled

CROP_SIDE = 192
"""Pixels of a crop's longer side: with the whole image this costs about a tenth of the image's own look a mask."""

_MARGIN = 0.15
"""Share of the box's sides that a crop shows around it."""

NAMES = 5
"""Names of a mask."""


def load(argument: str) -> OfflineLabeler:
    """The bundled vocabulary, or that of a folder."""
    return OfflineLabeler(OfflineWords.from_pretrained(argument) if argument else bundled())


class OfflineLabeler:
    """Ranks the classes of ImageNet and the words of the dense heads for each mask.

    Args:
        source: the vocabulary.
        crops: also look at a crop of each mask.
    """

    def __init__(self, source: OfflineWords, crops: bool = True) -> None:
        self._source, self._crops = source, crops

    @torch.inference_mode()
    def __call__(self, image: RGB, masks: Masks) -> Sequence[Ranking]:
        """One ranking for each mask; none for an empty mask."""
        seen = self._source.look(image, NAME_SIDES)

        def rank(index: int, mask: Bool) -> Ranking:
            logits = [_inside(cells.logits, mask) for cells in seen.looks]
            if self._crops:
                logits.append(self._cropped(image, masks, index))
            return self._ranked(torch.stack(logits).mean(dim=0), _inside(seen.heads, mask))

        return rank_each(masks, rank)

    def _cropped(self, image: RGB, masks: Masks, index: int) -> Tensor:
        """Logits `(C,)` of the mask in a crop around it, which its cells share by how much they show of the mask."""
        (x0, y0, x1, y1), mask = masks.crop(index)[0], masks.mask(index)
        dx, dy = round(_MARGIN * (x1 - x0)), round(_MARGIN * (y1 - y0))
        rows, columns = slice(max(0, y0 - dy), y1 + dy), slice(max(0, x0 - dx), x1 + dx)
        cells = self._source.classifier.look(np.ascontiguousarray(image[rows, columns]), CROP_SIDE)
        return _inside(cells.logits, mask[rows, columns])

    def _ranked(self, classes: Tensor, heads: Tensor) -> Ranking:
        """Classes by probability and heads by theirs, in one ranking."""
        probability = classes.softmax(dim=0)
        named: dict[str, float] = {}
        for index, share in enumerate(probability.tolist()):
            name = self._source.words.class_name(index)  # a few classes share one, such as two kinds of maillot
            named[name] = named.get(name, 0.0) + share
        if self._source.heads is not None:
            for word, logit in zip(self._source.heads.words, heads, strict=True):
                named[word] = max(named.get(word, 0.0), float(torch.sigmoid(logit - HEAD_CAUTION)))
        return sorted(named.items(), key=lambda item: -item[1])[:NAMES]


HEAD_CAUTION = 1.0
"""Subtracted from a head's mean logit: heads were trained as if each word were as frequent as its absence."""


def _inside(maps: Tensor, mask: npt.NDArray[np.bool_]) -> Tensor:
    """Means `(K,)` of maps `(K, h, w)` over a mask `(H, W)`, each cell by the share of it that the mask covers."""
    size = (maps.shape[2], maps.shape[1])
    weight = torch.from_numpy(np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)))
    return (maps * weight).sum(dim=(1, 2)) / weight.sum().clamp(min=1e-6)
