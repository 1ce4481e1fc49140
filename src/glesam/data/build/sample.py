"""Makes all files of one image of a built set: clear, degraded, mask."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.files import sha256, write_bytes
from glesam.common.seeds import level_seed, seed_for
from glesam.data.base import Sample, SegmentationDataset, fingerprint, object_ids
from glesam.data.build.manifest import FileRecord, SampleRecord, pixels_sha256
from glesam.data.build.options import BuildConfig
from glesam.degrade import lqseg as degradation
from glesam.errors import DataError, GlesamError
from glesam.images.lossless import encode_lossless

_LARGEST_ID = 65535


@dataclass(frozen=True)
class SampleOutcome:
    """What became of one image: a record, or an error, or neither when there is no object in it."""

    name: str
    record: SampleRecord | None = None
    error: str | None = None


@dataclass(frozen=True)
class SampleBuilder:
    """Makes the files of one sample; goes to worker processes whole.

    Attributes:
        source: data set to take images and masks from.
        out: folder of the set.
        config: options of the build.
    """

    source: SegmentationDataset
    out: Path
    config: BuildConfig

    def __call__(self, index: int) -> SampleOutcome:
        """Build sample `index`; what is wrong with the sample goes into the outcome.

        Raises:
            OSError: a file cannot be written, which no other sample would survive either.
        """
        name = self.source.names[index]
        try:
            source = fingerprint(self.source, [index])
            sample = self.source[index]
            mask, objects = select_objects(sample, self.config)
            if not objects:
                return SampleOutcome(name)
            encoded = {kind: self._encode(kind, pixels) for kind, pixels in self._files(sample, mask).items()}
        except (GlesamError, OSError, cv2.error) as error:
            return SampleOutcome(name, error=" ".join(str(error).split()))
        for record, content in encoded.values():
            write_bytes(self.out / record.path, content)
        height, width = sample.mask.shape
        files = {kind: record for kind, (record, _) in encoded.items()}
        return SampleOutcome(name, SampleRecord(name, width, height, objects, files, source))

    def _files(self, sample: Sample, mask: npt.NDArray[Any]) -> dict[str, tuple[str, npt.NDArray[Any], int | None]]:
        """File name, pixels and seed of each kind of image."""
        plain = _file_name(sample.name)
        files: dict[str, tuple[str, npt.NDArray[Any], int | None]] = {
            "clear": (f"{plain}.{self.config.image_format}", sample.image, None)
        }
        for level in self.config.levels:
            seed = level_seed(sample.name, level, self.config.seed)
            image = degradation.degrade(sample.image, level, seed, recipe=self.config.recipe)
            files[f"lq{level}"] = (f"{plain}.{self.config.image_format}", image, seed)
        return files | {"masks": (f"{plain}.png", mask, None)}

    def _encode(self, kind: str, file: tuple[str, npt.NDArray[Any], int | None]) -> tuple[FileRecord, bytes]:
        """Encode one image without loss."""
        name, pixels, seed = file
        content = encode_lossless(pixels, name.rsplit(".", 1)[1])
        digest = hashlib.sha256(content).hexdigest()
        return FileRecord(f"{kind}/{name}", len(content), digest, pixels_sha256(pixels), seed), content


def select_objects(sample: Sample, config: BuildConfig) -> tuple[npt.NDArray[Any], list[int]]:
    """The mask to store, `(H, W)` uint8 or uint16, and the source's ids of the objects in it.

    Raises:
        DataError: an id does not fit into 16 bits.
    """
    ids = object_ids(sample.mask, config.min_share)
    if not ids:
        return np.zeros(sample.mask.shape, np.uint8), []
    if config.objects == "all":
        return _pack(np.where(np.isin(sample.mask, ids), sample.mask, 0), sample.name), ids
    if config.objects == "largest":
        chosen = max(ids, key=lambda i: (int((sample.mask == i).sum()), -i))
    else:
        chosen = ids[seed_for(f"object/{sample.name}", config.seed) % len(ids)]
    return np.where(sample.mask == chosen, 255, 0).astype(np.uint8), [chosen]


def is_intact(out: Path, record: SampleRecord) -> bool:
    """Whether all files of a record are there with the content that was written."""
    paths = [(out / entry.path, entry) for entry in record.files.values()]
    return all(path.is_file() and sha256(path) == entry.sha256 for path, entry in paths)


def is_there(out: Path, record: SampleRecord) -> bool:
    """Whether all files of a record are there."""
    return all((out / entry.path).is_file() for entry in record.files.values())


def _pack(ids: npt.NDArray[np.int32], name: str) -> npt.NDArray[Any]:
    """Ids in 8 bits where they fit, else in 16."""
    if ids.max() > _LARGEST_ID:
        raise DataError(
            f"expected object ids up to {_LARGEST_ID} in {name}, got {ids.max()}; number the objects from 1"
        )
    # 0 and 255 alone in 8 bits would be read as a binary mask, not as object 255.
    fits = ids.max() < 255 or (ids.max() == 255 and np.unique(ids).size > 2)
    return ids.astype(np.uint8 if fits else np.uint16)


def _file_name(name: str) -> str:
    """Check that a sample's name can be a file's.

    Raises:
        DataError: it holds a folder, is hidden or empty.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise DataError(f"expected a sample name that can be a file's, got {name!r}; rename the file in the source")
    return name
