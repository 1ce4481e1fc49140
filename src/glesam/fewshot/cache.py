"""Features of images that were looked at before: the last few in memory, all in a folder where one is given."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.files import atomic_path
from glesam.common.messages import one_line
from glesam.common.pool import writing
from glesam.errors import DataError
from glesam.fewshot.features import Backbone, ImageFeatures, image_features
from glesam.images.pixels import RGB
from glesam.images.reading import content_hash

_KEPT = 8
_LEVELS = 127.0
_FORMAT = 1


class FeatureCache:
    """Gives an image's features, looking at each image once.

    On disk each place is 8-bit integers and a scale: half a megabyte an image, and cosines to within a thousandth.

    Args:
        backbone: frozen; a folder must not be shared between backbones.
        folder: made if it is not there; None keeps the last images in memory only.
    """

    def __init__(self, backbone: Backbone, folder: str | Path | None = None) -> None:
        self.backbone, self.folder = backbone, None if folder is None else Path(folder)
        self._kept: OrderedDict[str, ImageFeatures] = OrderedDict()

    def of(self, image: RGB) -> ImageFeatures:
        """Features of an `(H, W, 3)` uint8 RGB image.

        Raises:
            DataError: a file of the folder is damaged, or the folder cannot be written.
        """
        key = content_hash(image)
        found = self._kept.pop(key, None)
        if found is None:
            found = self._stored(key, image)
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _stored(self, key: str, image: RGB) -> ImageFeatures:
        """From the folder, or looked at and put there."""
        path = None if self.folder is None else self.folder / f"{key}.features.npz"
        if path is not None and path.is_file():
            return _read(path)
        found = image_features(self.backbone, image)
        if path is not None:
            with writing(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, found)
            return _read(path)  # as every later process gets them: results must not depend on who looked first
        return found


def _write(path: Path, features: ImageFeatures) -> None:
    fine, fine_scale = _packed(features.fine)
    coarse, coarse_scale = _packed(features.coarse)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            version=_FORMAT,
            fine=fine,
            fine_scale=fine_scale,
            coarse=coarse,
            coarse_scale=coarse_scale,
            share=np.array(features.share),
        )


def _read(path: Path) -> ImageFeatures:
    try:
        with np.load(path) as stored:
            if int(stored["version"]) != _FORMAT:
                raise ValueError(f"version {int(stored['version'])}")
            fine = _unpacked(stored["fine"], stored["fine_scale"])
            coarse = _unpacked(stored["coarse"], stored["coarse_scale"])
            rows, columns = (float(value) for value in stored["share"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"expected stored features in {path}, got {one_line(error)}; delete the file") from error
    return ImageFeatures(fine, coarse, (rows, columns))


def _packed(grid: Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """`(C, h, w)` as int8 with a scale for each place."""
    scale = (grid.abs().amax(dim=0) / _LEVELS).clamp(min=1e-6).half().float()
    values = (grid / scale).round().clamp(-_LEVELS, _LEVELS)
    return values.to(torch.int8).numpy(), scale.half().numpy()


def _unpacked(values: npt.NDArray[np.int8], scale: npt.NDArray[np.float16]) -> Tensor:
    return F.normalize(torch.from_numpy(values).float() * torch.from_numpy(scale).float(), dim=0)
