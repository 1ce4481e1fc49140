"""What segment-anything and its relatives call the arguments of a prediction, and what they are called here."""

from __future__ import annotations

from collections.abc import Iterable

from glesam.common.messages import hint
from glesam.errors import PromptError

OTHER_NAMES = {
    "point_coords": "points",
    "point_labels": "labels",
    "box": "boxes",
    "multimask_output": "multimask",
    "point": "points",
    "label": "labels",
    "input_points": "points",
    "input_labels": "labels",
    "input_boxes": "boxes",
    "input_masks": "mask_input",
}
"""Names of `SamPredictor.predict` (segment-anything, SAM 2), of transformers' processors, and near ones."""

_UNLIKE = {
    "return_logits": "low-resolution logits are always there, as .logits of the result",
    "normalize_coords": "coordinates are pixels of the image",
    "image_format": "arrays are RGB; turn BGR round with image[..., ::-1]",
}
"""Arguments that have no counterpart, with the way to go here."""


def refuse(unknown: Iterable[str], known: Iterable[str], where: str) -> PromptError:
    """The error for arguments that are not known, which says what each is called here.

    Args:
        unknown: the names that came.
        known: the names that `where` takes.
        where: the function, for the message.
    """
    names, listed = list(unknown), tuple(known)
    cures = [_cure(name, listed) for name in names]
    return PromptError(f"expected arguments of {where}, got {', '.join(map(repr, names))}; {', '.join(cures)}")


def _cure(name: str, known: tuple[str, ...]) -> str:
    """What to write instead of one name."""
    if name in _UNLIKE:
        return f"leave {name} out: {_UNLIKE[name]}"
    other = OTHER_NAMES.get(name)
    return f"{name} is called {other!r} here" if other in known else hint(name, known)
