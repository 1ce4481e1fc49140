"""Looks at parts of the current image: everything mode, and windows around the objects of large images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from glesam.everything.clicks import PointDecoder
from glesam.everything.generator import Generator
from glesam.everything.official import OfficialGenerator
from glesam.everything.options import Options
from glesam.masks.sparse import SparseMasks
from glesam.prompts.prompts import cut_boxes
from glesam.views.crops import check_tile
from glesam.views.windows import WindowPredictor

if TYPE_CHECKING:
    from glesam.predict.session import Session
    from glesam.prompts.prompts import Prompts


def generate(session: Session, settings: Mapping[str, Any]) -> SparseMasks:
    """Segment everything in the current image; see `Predictor.generate`."""
    options, size = Options.parse(settings), session.encoded.geometry.original_size
    kind = Generator if options.like is None else OfficialGenerator
    decoder = PointDecoder(session.model.device, options, session.embedder.chunk)
    generator = kind(options, size, partial(session.look, fine=False), decoder)
    found = generator.run()
    info = session.info(generator.enhanced) | {"everything": _recorded(options.model_dump())}
    masks, scores, details = [f.mask for f in found], [f.iou for f in found], [f.details() for f in found]
    return SparseMasks(masks, scores, size, details, session.current.name, info)


def predict_windows(session: Session, prompts: Prompts, multimask: bool, tile: int, obey: bool = True) -> SparseMasks:
    """Segment each object in a window of its own, at least `tile` pixels wide; see `views.windows.WindowPredictor`."""
    check_tile(tile)
    size = session.encoded.geometry.original_size
    predictor = WindowPredictor(session.model.device, size, session.look, tile, multimask, obey)
    asked = prompts.check(size, cut=session.model.cuts_boxes)
    masks = predictor.predict(asked)
    info = session.info(predictor.enhanced) | {"tile": tile} | cut_boxes(prompts, asked)
    return masks.described(session.current.name, info)


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """Settings that decide on the result; the batch size does not."""
    return {name: value for name, value in options.items() if name != "points_per_batch" and value is not None}
