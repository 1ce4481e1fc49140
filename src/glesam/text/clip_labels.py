"""Names from a text model's folder: the mean map of each candidate word inside a mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from glesam.common.arrays import Bool
from glesam.errors import ConfigError
from glesam.everything.labels import Ranking, rank_each
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.text.base import WordSource, parse_words
from glesam.text.sources import load_word_source

COMMON_WORDS = (
    "person; dog; cat; bird; horse; cow; sheep; car; bus; train; truck; motorcycle; bicycle; boat; aeroplane; chair; "
    "sofa; table; bed; cup; bottle; plate; food; fruit; plant; flower; tree; grass; building; window; door; road; sky; "
    "water; book; phone; television; computer; clothing; bag; animal; tool"
)
"""Candidates when none are given."""


def load(argument: str) -> WordLabeler:
    """The labeler of a folder, with candidate words after a comma: `FOLDER` or `FOLDER,dog; cup`.

    Raises:
        ConfigError: no folder.
    """
    folder, _, words = argument.partition(",")
    if not folder:
        raise ConfigError("expected clip:FOLDER, got no folder; name one with a CLIP, SigLIP or CLIPSeg model")
    return WordLabeler(load_word_source(folder), words or COMMON_WORDS)


class WordLabeler:
    """Ranks candidate words by their presence in the image and by their mean map inside each mask.

    Args:
        source: locates words.
        words: the candidates.
    """

    def __init__(self, source: WordSource, words: str | Sequence[str]) -> None:
        self._source, self._words = source, parse_words(words)
        source.check(self._words)

    def __call__(self, image: RGB, masks: Masks) -> Sequence[Ranking]:
        """One ranking for each mask; none for an empty mask."""
        maps = self._source.maps(image, self._words)
        # The grids are coarse: each mask is brought to theirs, not they to the image.
        size = maps[0].values.shape[::-1]
        values = np.stack([each.presence * each.values for each in maps])

        def rank(_: int, mask: Bool) -> Ranking:
            weight = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            if not weight.any():  # a few pixels of a very long image can fall between the grid's cells
                return []
            means = (values * weight).sum(axis=(1, 2)) / weight.sum()
            order = np.argsort(-means, kind="stable")
            return [(self._words[i], float(means[i])) for i in order.tolist()]

        return rank_each(masks, rank)
