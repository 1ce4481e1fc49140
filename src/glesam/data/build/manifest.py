"""The list of all that a built set holds: how it was made, and the hash of every file and of its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.documents import brief_value, checked, expect_object, read_json, to_json
from glesam.common.files import write_text
from glesam.common.messages import shown
from glesam.errors import DataError

FORMAT = "glesam-lqseg"
VERSION = 1
CURE = "build the set again"
FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """One file of a built set.

    Attributes:
        path: relative to the set's folder, forward slashes.
        bytes: size of the file.
        sha256: hex digest of the file; depends on the encoder that wrote it.
        pixels: hex digest of the decoded pixels (`pixels_sha256`); the same whatever encoder wrote the file.
        seed: seed of the degradation; None for the clear image and the mask.
    """

    path: str
    bytes: int
    sha256: str
    pixels: str
    seed: int | None = None


@dataclass(frozen=True)
class SampleRecord:
    """One image of a built set: its size in pixels, the object ids in its mask, and its files by kind.

    Kinds are `clear`, `lq1`, `lq2`, `lq3` and `masks`, as the folders are named. `source` is the digest of what the
    image was made of (`glesam.data.base.fingerprint`); None where the source set is not made of files.
    """

    name: str
    width: int
    height: int
    objects: list[int]
    files: dict[str, FileRecord]
    source: str | None = None


@dataclass(frozen=True)
class Head:
    """How a set is made; two builds with equal heads from the same source give the same files.

    Attributes:
        config: every option that acts on the pixels, the degradation's own included.
        source: name and layout of the source set.
        versions: of the libraries that act on the pixels.
    """

    config: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True)
class Manifest:
    """A head, the samples by name, and the names that are not there: without object, or failed."""

    head: Head
    samples: dict[str, SampleRecord]
    without_object: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> Path:
        """Write `manifest.json` in one step; names sorted, so that equal sets give equal bytes. Returns its path."""
        content = asdict(self.head) | {
            "samples": {name: record_to_json(self.samples[name]) for name in sorted(self.samples)},
            "without_object": sorted(self.without_object),
            "failed": sorted(self.failed),
        }
        path = folder / FILE_NAME
        write_text(path, to_json(content, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Read a manifest: the file, or the folder that holds it.

        Raises:
            DataError: it is missing, cannot be parsed, or is of another version.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        content = _read(path)
        head = head_from_json(content, path)
        rest = {key: content[key] for key in ("samples", "without_object", "failed") if key in content}
        listed = checked(_Listed, rest, shown(path), DataError, CURE)
        samples = {name: record_from_json(name, record, path) for name, record in listed.samples.items()}
        return cls(head, samples, listed.without_object, listed.failed)


@dataclass(frozen=True)
class _Listed:
    """What a manifest holds after its head, as JSON has it."""

    samples: dict[str, Any]
    without_object: list[str]
    failed: list[str]


def _read(path: Path) -> dict[str, Any]:
    """Parse a manifest file."""
    if not path.is_file():
        raise DataError(f"expected the manifest {path}, found none; make the set with 'glesam data build'")
    return expect_object(read_json(path, what="a manifest"), shown(path), cure=CURE)


def head_from_json(content: dict[str, Any], path: Path) -> Head:
    """The head in a parsed manifest or journal.

    Raises:
        DataError: it is of another format or version, or not whole.
    """
    where, kind, version = shown(path), content.get("format"), content.get("version")
    if kind != FORMAT or version != VERSION:
        raise DataError(
            f"expected a manifest {FORMAT!r} of version {VERSION} in {where}, got {brief_value(kind)} of version "
            f"{brief_value(version)}; build into another folder, or use the glesam that wrote it"
        )
    return checked(
        Head, {key.name: content[key.name] for key in fields(Head) if key.name in content}, where, DataError, CURE
    )


def record_to_json(record: SampleRecord) -> dict[str, Any]:
    """A record for json; the seed is left out where there is none."""
    content = asdict(record)
    del content["name"]
    if content["source"] is None:
        del content["source"]
    for entry in content["files"].values():
        if entry["seed"] is None:
            del entry["seed"]
    return content


def record_from_json(name: str, content: Any, path: Path) -> SampleRecord:
    """The record of json; the inverse of `record_to_json`.

    Raises:
        DataError: it is none; `path` is the file that held it.
    """
    where = f"{shown(name)} of {shown(path)}"
    return checked(SampleRecord, expect_object(content, where, cure=CURE) | {"name": name}, where, DataError, CURE)


def pixels_sha256(pixels: npt.NDArray[Any]) -> str:
    """Hex digest of an array: of its dtype, shape and values, row by row, little end first.

    Images go in as `(H, W, 3)` RGB and masks as `(H, W)`, as decoded; no file format plays a part.
    """
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{pixels.dtype.name} {pixels.shape}\n".encode())
    digest.update(little.data)
    return digest.hexdigest()


def differences(old: Head, new: Head) -> list[str]:
    """What differs between two heads, as `key: old, now new`."""
    before, after = _flatten("", asdict(old)), _flatten("", asdict(new))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [f"{key} was {before.get(key)}, now {after.get(key)}" for key in keys]


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    """A nested dict as dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    return flat
