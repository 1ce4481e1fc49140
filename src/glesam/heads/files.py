"""The authors' files that hold a model with its head. A list without torch, since `glesam models` prints it."""

from __future__ import annotations

from dataclasses import dataclass

_HQ_URL = "https://huggingface.co/lkeab/hq-sam/resolve/main/"
_ROBUST_URL = "https://github.com/robustsam/RobustSAM"


@dataclass(frozen=True)
class OriginalFile:
    """An authors' file: a whole model and its head.

    Attributes:
        name: of the file.
        kind: of the head.
        model: preset of the model that the head hangs on.
        parameters: of the head alone, buffers included.
        licence: of the weights.
        where: address of the file, or of the page that links to it.
    """

    name: str
    kind: str
    model: str
    parameters: int
    licence: str
    where: str


def _hq(name: str, model: str, parameters: int) -> OriginalFile:
    return OriginalFile(name, "hq", model, parameters, "Apache-2.0", _HQ_URL + name)


def _robust(size: str, parameters: int) -> OriginalFile:
    return OriginalFile(f"robustsam_checkpoint_{size}.pth", "robust", f"sam-vit-{size}", parameters, "MIT", _ROBUST_URL)


ORIGINAL_FILES = (
    _hq("sam_hq_vit_b.pth", "sam-vit-b", 1_071_104),
    _hq("sam_hq_vit_l.pth", "sam-vit-l", 1_333_248),
    _hq("sam_hq_vit_h.pth", "sam-vit-h", 1_595_392),
    _hq("sam_hq_vit_tiny.pth", "mobile-sam", 448_512),
    _hq("sam2.1_hq_hiera_large.pt", "sam2.1-hiera-large", 177_152),
    _robust("b", 59_447_847),
    _robust("l", 100_320_071),
    _robust("h", 152_792_167),
)
