"""Reader of COCO json: polygons and run lengths, one instance mask per image."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.common.boxes import pixel_window
from glesam.common.documents import brief_value, expect_object, expect_objects, read_json
from glesam.common.fingerprints import Digests
from glesam.common.messages import one_line, shown
from glesam.data.base import DataWarning, Sample
from glesam.data.files import read_image
from glesam.data.readers.coco_masks import decode_segmentation
from glesam.data.readers.layout import Layout, only
from glesam.data.readers.pairs import flat_name
from glesam.errors import ConfigError, DataError
from glesam.images.reading import MAX_PIXELS

TITLE = "COCO"
STRUCTURE = "annotations/instances_val2017.json + val2017/NAME.jpg, or any COCO json beside or above its images"
HOME = (
    "the COCO site (Lin et al., ECCV 2014), archives '2017 Val images' or '2017 Train images', and "
    "'2017 Train/Val annotations'"
)
Crowds = Literal["drop", "keep"]
Cut = tuple[tuple[slice, slice], Bool]
_HELD_PIXELS = 1 << 27
"""Pixels of cut-out objects of one image that are held at once."""

# Annotation files of the COCO site that hold no instance masks.
_OTHER_TASKS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_", "lvis_")


class ImageRecord(NamedTuple):
    """One entry of the index: the file, its size by the json, and its annotations sorted by id."""

    path: Path
    height: int
    width: int
    annotations: list[dict[str, Any]]


class CocoDataset:
    """Images and instances of a COCO json (Lin et al., ECCV 2014).

    The json is read at first use, masks when a sample is read. Ids are 1..N in the order of annotation ids; smaller
    objects are painted over larger ones, so that an object in front of a big one is not lost.

    Args:
        root: the json file, or a folder that holds it (in `annotations/` or directly).
        name: name of the set in tables; the json's stem when not given.
        split: part of the json's name, such as `val2017`, when a folder holds several.
        crowds: `drop` leaves regions marked `iscrowd` as background, as they are no single objects; `keep` gives each
            an id of its own.

    Raises:
        DataError: the json is missing, or there are several.
        ConfigError: `crowds` is neither `drop` nor `keep`.
    """

    title, structure, home = TITLE, STRUCTURE, HOME

    def __init__(
        self, root: str | Path, name: str | None = None, split: str | None = None, crowds: Crowds = "drop"
    ) -> None:
        if crowds not in ("drop", "keep"):
            raise ConfigError(f"expected crowds to be 'drop' or 'keep', got {crowds!r}; choose one")
        self.annotations_path = self._find_json(Path(root), split)
        self.name = name or self.annotations_path.stem
        self._root = Path(root) if Path(root).is_dir() else self.annotations_path.parent
        self._crowds = crowds

    @property
    def names(self) -> list[str]:
        """Names of all samples, sorted: file stems, with the folder before them where stems repeat."""
        return self._names

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._names)

    def fingerprint(self, index: int, digests: Digests) -> str:
        """Digest of a sample's image and of its entries in the json; see `FileBacked`."""
        record = self._index[self._names[index]]
        entries = json.dumps([record.height, record.width, record.annotations], sort_keys=True)
        return hashlib.sha256(f"{digests.of(record.path)} {entries}".encode()).hexdigest()

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DataError: the image is missing, unreadable or of another size than in the json, or a mask is broken.
        """
        name = self._names[index]
        record = self._index[name]
        if not os.path.isfile(record.path):
            raise DataError(f"expected the image {record.path}, found none; get it from {self.home}")
        image = read_image(record.path)
        if image.shape[:2] != (record.height, record.width):
            raise DataError(
                f"expected {record.path} to be {record.width}x{record.height} as in {self.annotations_path.name}, "
                f"got {image.shape[1]}x{image.shape[0]}; take the images that were annotated"
            )
        return Sample(name, image, self._mask(record))

    def _mask(self, record: ImageRecord) -> npt.NDArray[np.int32]:
        """Paint an image's annotations into one id mask, the largest first.

        As many objects are held as there is room for; the others are decoded again when their turn comes.
        """
        objects: list[tuple[int, int, Cut | None]] = []
        room = _HELD_PIXELS
        for i, annotation in enumerate(record.annotations, start=1):
            mask = self._decode(annotation, record)
            if mask is not None:
                cut = _cut(mask)
                fits = cut[1].size <= room
                room -= cut[1].size if fits else 0
                objects.append((-int(cut[1].sum()), i, cut if fits else None))
        ids = np.zeros((record.height, record.width), dtype=np.int32)
        for _, i, held in sorted(objects, key=lambda each: each[:2]):
            annotation = record.annotations[i - 1]
            window, inside = held or _cut(
                decode_segmentation(annotation.get("segmentation"), record.height, record.width)
            )
            ids[window][inside] = i
        return ids

    def _decode(self, annotation: dict[str, Any], record: ImageRecord) -> Bool | None:
        """Decode one annotation; one that is broken is left out with a note that names it, the others stay."""
        try:
            return decode_segmentation(annotation.get("segmentation"), record.height, record.width)
        except DataError as error:
            name, identity = shown(record.path.name), brief_value(annotation.get("id"))
            text = f"{name}: annotation {identity} is left out: {error}"
            warnings.warn(text, DataWarning, stacklevel=5)
            return None

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._index)

    @cached_property
    def _index(self) -> dict[str, ImageRecord]:
        """Name to image, from the json."""
        content = _read_json(self.annotations_path)
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            if self._crowds == "keep" or not annotation.get("iscrowd", 0):
                by_image[annotation["image_id"]].append(annotation)
        stored = {entry["id"]: self.relative_path(entry) for entry in content["images"]}
        # Written on Windows: the separators there; a name that holds a backslash itself is met on other systems.
        entries = {key: path.replace("\\", "/") for key, path in stored.items()}
        if self._find_files(list(stored.values()), needed=False) is not None:
            entries = stored
        folder = self._find_files(list(entries.values()))
        names = _unique_names(list(entries.values()))
        return {
            names[entries[e["id"]]]: ImageRecord(
                folder / entries[e["id"]], int(e["height"]), int(e["width"]), sorted(by_image[e["id"]], key=_by_id)
            )
            for e in content["images"]
        }

    def relative_path(self, entry: dict[str, Any]) -> str:
        """Where the json says that an image is, relative to the images' folder."""
        if "file_name" not in entry:
            raise DataError(
                f"expected 'file_name' in image {brief_value(entry['id'])} of {self.annotations_path}, found none; "
                "export it as COCO instances"
            )
        return str(entry["file_name"])

    def _find_files(self, relative: list[str], needed: bool = True) -> Any:
        """The folder under which the images are: the first place in which any of the first ones is found.

        Without `needed` None stands for no such place.

        Raises:
            DataError: there are no images in any of the usual places.
        """
        json_folder, split = self.annotations_path.parent, self.annotations_path.stem.rsplit("_", 1)[-1]
        places: list[Path] = []
        for base in dict.fromkeys((self._root, json_folder, json_folder.parent)):
            places += [base, base / "images", base / split, base / "images" / split]
        # Some images may be missing from a partial copy: a handful of the first identifies the folder well enough.
        for place in dict.fromkeys(places):
            # Not Path.is_file, which raises for a name that is too long.
            if any(os.path.isfile(place / path) for path in relative[:50]):
                return place
        if not needed:
            return None
        first = relative[0] if relative else "any image"
        raise DataError(
            f"expected the images of {self.annotations_path} ({first}, ...) in {json_folder.parent / split} or "
            f"{json_folder.parent / 'images'}, found none; get them from {self.home}"
        )

    @classmethod
    def _find_json(cls, root: Path, split: str | None) -> Path:
        """The json file that `root` is or holds."""
        if root.suffix == ".json":
            if not root.is_file():
                raise DataError(f"expected the json {root} ({cls.title}), found none; get it from {cls.home}")
            return root
        found = [path for path in cls._candidates(root) if split is None or split in path.stem]
        if not found:
            wanted = f" with {split!r} in its name" if split else ""
            raise DataError(
                f"expected a json of instances{wanted} in {root} or {root / 'annotations'} ({cls.title} is laid out as "
                f"{cls.structure}), found none; get it from {cls.home}"
            )
        path: Path = only(found, "json of instances", root)
        return path

    @classmethod
    def _candidates(cls, root: Path) -> list[Path]:
        """Json files in a folder that may hold this layout's instances."""
        return [path for path in json_files(root) if not path.name.startswith(_OTHER_TASKS)]


def json_files(root: Path) -> list[Path]:
    """Json files in `root/annotations` and in `root`, sorted, without hidden ones and our own manifests."""
    found = [*sorted((root / "annotations").glob("*.json")), *sorted(root.glob("*.json"))]
    return [path for path in found if not path.name.startswith(".") and path.name != "manifest.json"]


def is_instances_json(path: Path) -> bool:
    """Whether a json begins like COCO's: an object whose first key is one of COCO's."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            head = stream.read(256).lstrip()
    except (OSError, UnicodeDecodeError):
        return False
    keys = ("images", "annotations", "categories", "info", "licenses")
    return head.startswith("{") and any(head[1:].lstrip().startswith(f'"{key}"') for key in keys)


def _read_json(path: Path) -> dict[str, Any]:
    """Parse a COCO json and check that it has what the reader needs."""
    try:
        content = expect_object(read_json(path, what="COCO json"), shown(path))
        for entry in expect_objects(content["images"], "'images'", ValueError):
            _check_entry(entry)
        for annotation in expect_objects(content["annotations"], "'annotations'", ValueError):
            _check_identity(annotation["image_id"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"expected 'images' (id, file_name, height, width) and 'annotations' (image_id, segmentation) in "
            f"{shown(path)}, got {one_line(error)}; export it as COCO instances"
        ) from error
    return dict(content)


def _check_entry(entry: dict[str, Any]) -> None:
    """Check one entry of `images`.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, or its value is of a wrong type or size.
    """
    _check_identity(entry["id"])
    height, width = int(entry["height"]), int(entry["width"])
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise ValueError(f"size {width}x{height} of image {brief_value(entry['id'])}, of at most {MAX_PIXELS} pixels")
    if not isinstance(entry.get("file_name", ""), str) or not isinstance(entry.get("coco_url", ""), str):
        raise ValueError("a file_name that is no text")


def _check_identity(value: Any) -> None:
    if not isinstance(value, (int, str)):
        raise ValueError(f"the id {brief_value(value)}, which is neither a number nor a text")


def _cut(mask: Bool) -> Cut:
    """The window that holds a mask, and the mask in it: many objects of a large image are held at once."""
    window = pixel_window(mask)
    return window, mask[window].copy()


def _unique_names(relative: list[str]) -> dict[str, str]:
    """Relative path to sample name: the file's stem, or the whole path where stems repeat."""
    stems = [Path(path).stem for path in relative]
    if len(set(stems)) == len(stems):
        return dict(zip(relative, stems, strict=True))
    names = {path: flat_name(str(Path(path).with_suffix(""))) for path in relative}
    if len(set(names.values())) != len(relative):
        raise DataError("expected each image once in the json, got a file name twice; remove the double entries")
    return names


def _by_id(annotation: dict[str, Any]) -> tuple[bool, int, str]:
    """Sort key of annotations: whole numbers by value, then all other ids by their text."""
    identity = annotation.get("id")
    return (False, identity, "") if isinstance(identity, int) else (True, 0, str(identity))


def _recognise(root: Path) -> bool:
    """Whether `root` is or holds a COCO json."""
    if root.suffix == ".json":
        return not root.name.startswith("lvis_")
    return any(is_instances_json(path) for path in CocoDataset._candidates(root))


LAYOUT = Layout("coco", TITLE, STRUCTURE, HOME, ("annotations",), CocoDataset, _recognise)
