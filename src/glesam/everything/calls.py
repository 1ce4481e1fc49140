"""What `Predictor` can do besides answering prompts on the whole picture: everything mode and big pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glesam.masks.refine import make_guide
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from glesam.everything.options import Settings
    from glesam.images.pixels import RGB
    from glesam.masks.runs import Box
    from glesam.masks.sparse import SparseMasks
    from glesam.predict.embeddings import Encoded
    from glesam.prompts.prompts import Prompts
    from glesam.views.view import View


class EverythingCalls:
    """The part of `Predictor` that looks at the current picture in several views."""

    if TYPE_CHECKING:
        model: PromptableModel
        refine: str
        _current_name: str | None
        _picture: Callable[[], Encoded]
        _encode_fresh: Callable[[dict[str, tuple[Tensor, ImageGeometry]]], dict[str, Encoded]]
        _embedding: Callable[[Encoded], Embedding]
        _decode: Callable[[Embedding, Encoded, PromptTensors, bool], MaskOutput]
        _info: Callable[[bool], dict[str, Any]]
        _current_pixels: Callable[[], RGB]

        @property
        def _chunk(self) -> int: ...

    def generate(self, **settings: Unpack[Settings]) -> SparseMasks:
        """Segment everything in the current picture, without prompts.

        The result does not depend on `points_per_batch`, bit for bit, as long as memory suffices for one chunk of
        clicks; when it runs out the batch is halved, with a `MemoryWarning`.

        Args:
            **settings: see `glesam.everything.options.Options`; the names are those of segment-anything's
                `SamAutomaticMaskGenerator`, and `tile` is the side of the tiles for a big picture.

        Returns:
            Masks at the picture's size, highest predicted IoU first; perhaps none. `to_coco` has segment-anything's
            keys. They are kept as runs; `masks.masks` expands them, up to a limit (see `SparseMasks`).

        Raises:
            ImageError: no picture is set.
            ConfigError: an unknown setting, or a bad value.
        """
        from glesam.everything.clicks import PointDecoder
        from glesam.everything.generator import Generator
        from glesam.everything.official import OfficialGenerator
        from glesam.everything.options import Options
        from glesam.masks.sparse import SparseMasks

        options, size = Options.parse(settings), self._picture().geometry.original_size
        kind = Generator if options.like is None else OfficialGenerator
        generator = kind(options, size, self._look, PointDecoder(self.model.device, options, self._chunk))
        found = generator.run()
        info = self._info(generator.enhanced) | {"everything": _recorded(asdict(options))}
        masks, scores, details = [f.mask for f in found], [f.iou for f in found], [f.details() for f in found]
        return SparseMasks(masks, scores, size, details, self._current_name, info)

    def _predict_windows(self, prompts: Prompts, multimask: bool, tile: int) -> SparseMasks:
        """Segment each object in a window of its own, at least `tile` pixels wide; see `windows.WindowPredictor`."""
        from glesam.views.crops import check_tile
        from glesam.views.windows import WindowPredictor

        check_tile(tile)
        size = self._picture().geometry.original_size
        predictor = WindowPredictor(self.model.device, size, self._look, tile, multimask)
        masks = predictor.predict(prompts)
        info = self._info(predictor.enhanced) | {"tile": tile}
        return masks.described(self._current_name, info)

    @torch.inference_mode()
    def _look(self, box: Box) -> View:
        """Encode, and enhance where asked for, what lies in a box of the current picture; nothing is kept."""
        from glesam.views.view import View

        encoded = self._picture()
        height, width = encoded.geometry.original_size
        if box != (0, 0, width, height):
            x0, y0, x1, y1 = box
            part = self._current_pixels()[y0:y1, x0:x1]
            encoded = self._encode_fresh({"": self.model.prepare(part)})[""]
            encoded.guide = make_guide(part)
        embedding = self._embedding(encoded)
        enhanced = embedding is not encoded.raw
        guide = encoded.guide if self.refine != "off" else None
        return View(encoded.geometry, enhanced, partial(self._decode, embedding, encoded), guide)


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """Settings that decide on the result; the batch size does not."""
    return {name: value for name, value in options.items() if name != "points_per_batch" and value is not None}
