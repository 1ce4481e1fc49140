"""Images decoded and shrunk once into one memory-mapped file: what makes training on a plain CPU possible.

Decoding and shrinking at each use costs tens of milliseconds an image; slicing a memory map costs next to nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.documents import expect_object, read_json
from glesam.common.files import atomic_path, write_text
from glesam.common.fingerprints import Digests
from glesam.common.messages import one_line, slug
from glesam.data.base import Sample, SegmentationDataset, fingerprint
from glesam.data.offset import moved
from glesam.errors import DataError
from glesam.images.shrink import resize_ids, shrink

_MAX_IDS = 255
_FORMAT = 2
"""Part of a pack's key, counted up when images or masks are shrunk in another way."""


class ImagePack:
    """Random access to the packed samples of one data set.

    Its `key` stands for the content of all its images and masks, whatever parts of the pack are used.

    Args:
        folder: where `pack` wrote `index.json`, `images.bin` and `masks.bin`.

    Raises:
        DataError: one of these is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = expect_object(read_json(folder / "index.json"), str(folder))
            self.name, self.key = str(index["name"]), folder.name
            self.names: list[str] = [str(name) for name in index["names"]]
            self.sizes: list[tuple[int, int]] = [(int(h), int(w)) for h, w in index["sizes"]]
            if len(self.sizes) != len(self.names) or any(min(size) < 1 for size in self.sizes):
                raise ValueError("sizes that are not its images'")
            areas = [h * w for h, w in self.sizes]
            self._starts = np.concatenate([[0], np.cumsum(areas)]).astype(np.int64)
            self._images = np.memmap(folder / "images.bin", np.uint8, "r", shape=(3 * sum(areas),))
            self._masks = np.memmap(folder / "masks.bin", np.uint8, "r", shape=(sum(areas),))
        except (DataError, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"expected a pack in {folder}, got {one_line(error)}; delete that folder") from error

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample; image and mask are views into the map, ids are consecutive from 1."""
        start, stop = self._starts[index], self._starts[index + 1]
        height, width = self.sizes[index]
        image = self._images[3 * start : 3 * stop].reshape(height, width, 3)
        mask = self._masks[start:stop].reshape(height, width)
        return Sample(self.names[index], image, mask.astype(np.int32))


class PartOfPack(ImagePack):
    """Some of the samples of a pack.

    Args:
        whole: the pack.
        wanted: which names are wanted.
    """

    def __init__(self, whole: ImagePack, wanted: Callable[[str], bool]) -> None:
        self.whole, self.name, self.key = whole, whole.name, whole.key
        self.positions = [i for i, name in enumerate(whole.names) if wanted(name)]
        self.names = [whole.names[i] for i in self.positions]

    def __getitem__(self, index: int) -> Sample:
        """Return a sample; see `ImagePack`."""
        return self.whole[self.positions[index]]


def pack(
    dataset: SegmentationDataset,
    cache: str | Path,
    max_side: int = 352,
    on_progress: Callable[[int, int], None] | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
) -> ImagePack:
    """Pack a data set below `cache`, or open the pack if it is there already and of the same content.

    Args:
        dataset: what to pack.
        cache: folder for packs; safe to delete at any time.
        max_side: longer images are shrunk to this many pixels.
        on_progress: called with (done, total).
        offset: how far masks lie right of and below their images, in pixels; the images are moved under them.

    Raises:
        DataError: every mask of the set is empty, or a file is unreadable.
    """
    known = Path(cache) / f"{slug(dataset.name)}.digests.json"
    digests = Digests(_noted(known))
    # The content is part of the key: two sets named alike do not share a pack, and a mended mask makes a new one.
    content = fingerprint(dataset, range(len(dataset)), digests)
    identity = [_FORMAT, dataset.name, dataset.names, max_side, content, *(offset if any(offset) else ())]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = Path(cache) / f"{slug(dataset.name)}-{key}"
    if not (folder / "index.json").is_file():
        _write(dataset, folder, max_side, offset, on_progress)
    if digests.marks:
        write_text(known, json.dumps(digests.marks))
    return ImagePack(folder)


def _noted(path: Path) -> dict[str, Any]:
    """Digests of an earlier run; none where there is no such file, or a broken one, since they only save time."""
    try:
        noted = read_json(path)
    except DataError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _write(
    dataset: SegmentationDataset,
    folder: Path,
    max_side: int,
    offset: tuple[float, float],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write the two binaries, then the index, whose presence says that the pack is complete."""
    sizes: list[tuple[int, int]] = []
    filled = 0
    with (
        atomic_path(folder / "images.bin") as images,
        atomic_path(folder / "masks.bin") as masks,
        images.open("wb") as image_stream,
        masks.open("wb") as mask_stream,
    ):
        for number, sample in enumerate(_samples(dataset)):
            image = shrink(moved(sample.image, *offset) if any(offset) else sample.image, max_side)
            ids = consecutive_ids(resize_ids(sample.mask, (image.shape[0], image.shape[1])))
            filled += bool(ids.any())
            image_stream.write(np.ascontiguousarray(image).tobytes())
            mask_stream.write(ids.tobytes())
            sizes.append((image.shape[0], image.shape[1]))
            if on_progress is not None:
                on_progress(number + 1, len(dataset))
        if not filled:
            raise DataError(
                f"expected objects in the masks of {dataset.name}, got {len(sizes)} masks that are all 0; "
                "draw objects as ids 1..N, or as 255"
            )
    write_text(folder / "index.json", json.dumps({"name": dataset.name, "names": dataset.names, "sizes": sizes}))


def _samples(dataset: SegmentationDataset) -> Iterable[Sample]:
    """All samples in the order of their names."""
    return (dataset[i] for i in range(len(dataset)))


def consecutive_ids(mask: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Renumber ids to 1..N as uint8; of more than 255 objects the largest stay, the others become background."""
    ids, inverse, counts = np.unique(mask, return_inverse=True, return_counts=True)
    order = sorted((i for i in range(len(ids)) if ids[i] > 0), key=lambda i: -int(counts[i]))[:_MAX_IDS]
    table = np.zeros(len(ids), np.uint8)
    for number, position in enumerate(sorted(order), start=1):
        table[position] = number
    return table[inverse].reshape(mask.shape)
