"""For `examples.py`: what many searches of one image share is made once. The numbers stay as they are."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


class KeptAnswers:
    """Keeps the decoder's answers to clicks, looks at masks, and everything mode's masks, by image.

    Args:
        examples: of the predictor whose searches are to share them.

    Attributes:
        seen: candidates of the last search: all, and those that were looked at from near.
    """

    def __init__(self, examples: Any) -> None:
        from glesam.fewshot import references, search

        self._answers: dict[Any, Any] = {}
        self._looks: dict[Any, Any] = {}
        self._masks: dict[str, Any] = {}
        self.seen: tuple[list[Any], list[Any]] | None = None
        examples._ask = self._asks(examples._ask)
        references.close_features = self._close(references.close_features)  # type: ignore[assignment]
        search.distinct = self._distinct(search.distinct)

    def masks(self, image: Any, make: Callable[[], Any]) -> Any:
        """Masks of an image `(n, H, W)`, made if they are not there."""
        key = _hash(image)
        if key not in self._masks:
            self._masks[key] = _packed(make())
        return _unpacked(self._masks[key])

    def _asks(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def asks(encoded: Any, image: Any) -> Any:
            ask, key = make(encoded, image), _hash(image)

            def answer(prompts: Any, multimask: bool) -> Any:
                if not multimask:  # boxes come from a class's map
                    return ask(prompts, multimask)
                place = key, prompts.points.tobytes()
                if place not in self._answers:
                    found = ask(prompts, True)
                    self._answers[place] = _packed(found.candidates), found.candidate_scores
                masks, scores = self._answers[place]
                return SimpleNamespace(candidates=_unpacked(masks), candidate_scores=scores)

            return answer

        return asks

    def _close(self, look: Callable[..., Any]) -> Callable[..., Any]:
        def close_features(backbone: Any, image: Any, masks: Sequence[Any]) -> Any:
            import torch

            keys = [(_hash(image), _hash(mask)) for mask in masks]
            for key, mask in zip(keys, masks, strict=True):
                if key not in self._looks:
                    self._looks[key] = look(backbone, image, [mask])[0]
            return torch.stack([self._looks[key] for key in keys])

        return close_features

    def _distinct(self, choose: Callable[..., Any]) -> Callable[..., Any]:
        def distinct(candidates: Sequence[Any], most: int) -> Any:
            chosen = choose(candidates, most)
            self.seen = list(candidates), chosen
            return chosen

        return distinct


def _hash(array: Any) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()


def _packed(masks: Any) -> tuple[bytes, tuple[int, ...]]:
    return zlib.compress(np.packbits(masks).tobytes(), 1), masks.shape


def _unpacked(packed: tuple[bytes, tuple[int, ...]]) -> Any:
    bits, shape = packed
    count = int(np.prod(shape))
    return np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=count).reshape(shape).astype(bool)
