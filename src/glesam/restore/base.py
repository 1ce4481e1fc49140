"""What every restorer is: a map from images to images of the same size, with all that acts on it as its settings.

Restoring first is the rival that latent enhancement is measured against (GleSAM, Guo et al., CVPR 2025, compares with
DiffBIR and PromptIR before SAM). Size and place of all pixels stay, so that prompts and masks need no mapping.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from glesam.errors import ImageError, ModelError
from glesam.images.pixels import RGB

Setting = str | int | float | bool | None


class Restorer(ABC):
    """A restorer; a new one implements `apply` and gets a row in `glesam.restore.registry`.

    Args:
        name: what results call it, such as `median`.
        settings: all that acts on the result, a digest of weights included.
    """

    by_name = False
    """Whether the result depends on the name that an image is given with."""

    def __init__(self, name: str, settings: Mapping[str, Setting] | None = None) -> None:
        self.name, self.settings = name, dict(settings or {})

    @property
    def key(self) -> str:
        """16 hex digits of name and settings: restorers with the same key give the same image."""
        text = json.dumps([self.name, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def restore(self, image: RGB, name: str | None = None) -> RGB:
        """Restore one image.

        Args:
            image: `(H, W, 3)` uint8 RGB; it is not changed.
            name: file name of the image, for restorers that look results up by it.

        Returns:
            `(H, W, 3)` uint8 RGB of the same size; perhaps the very array given.

        Raises:
            ImageError: another shape or type, or an image that this restorer has no result for.
            ModelError: the restorer breaks its contract.
        """
        _check(image)
        result = self.apply(image, name)
        if result.shape != image.shape or result.dtype != np.uint8:
            raise ModelError(
                f"expected the restorer {self.name} to give uint8 {image.shape}, got {result.dtype} {result.shape}; "
                "a restorer must keep the size"
            )
        return result

    @abstractmethod
    def apply(self, image: RGB, name: str | None) -> RGB:
        """Restore a checked image; see `restore`."""


class Identity(Restorer):
    """Gives every image back as it is, bit for bit: the baseline, and a check of all that lies around it."""

    def __init__(self) -> None:
        super().__init__("identity")

    def apply(self, image: RGB, name: str | None) -> RGB:
        """Return the array that was given."""
        return image


def _check(image: RGB) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(
            f"expected an (H, W, 3) uint8 RGB array to restore, got {image.dtype} {image.shape}; read it with "
            "glesam.images.read"
        )
