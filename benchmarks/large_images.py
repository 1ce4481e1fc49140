"""A set of images over 600 pixels with middling objects, 1 to 10 % of the image, made from folders that are given.

Images that are large enough are linked; smaller ones are laid side by side, two by two. The set is a plain folder
(`images/`, `masks/`), which `glesam evaluate --data` takes:

    python benchmarks/large_images.py data/train/tools data/train/coco_more --kept-aside --count 150 --out ../large
    glesam evaluate --data ../large --levels clear,lq1,lq2,lq3 --models compact@enhance=off,compact@enhance=auto
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.files import atomic_path
from glesam.common.messages import slug
from glesam.common.seeds import generator
from glesam.data.base import Sample, SegmentationDataset, is_kept_aside
from glesam.data.readers.registry import open_dataset
from glesam.errors import ConfigError, GlesamError
from glesam.train.gains.versions import mosaic

LEAST_SIDE = 600
SHARES = (0.01, 0.1)
SIDE = 2
"""Images a side of a mosaic."""
ROOT = Path(__file__).resolve().parents[1]


def middling(mask: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """A mask with the objects of 1 to 10 % of the image alone, numbered from 1."""
    areas = np.bincount(mask.ravel())
    kept = np.zeros(len(areas), np.int32)
    inside = (areas >= SHARES[0] * mask.size) & (areas <= SHARES[1] * mask.size)
    inside[0] = False
    kept[inside] = np.arange(1, inside.sum() + 1)
    return kept[mask]


def candidates(dataset: SegmentationDataset, kept_aside: bool, seed: int) -> Iterator[tuple[Sample, Path | None]]:
    """Large images of a set with their files, small ones as mosaics, in an order that name and seed decide."""
    names = [i for i, name in enumerate(dataset.names) if not kept_aside or is_kept_aside(name)]
    order = generator("large images", dataset.name, seed).permutation(names).tolist()
    small: list[Sample] = []
    for index in order:
        sample = dataset[index]
        if max(sample.mask.shape) > LEAST_SIDE:
            yield sample, file_of(dataset, sample.name)
            continue
        small.append(sample)
        if len(small) == SIDE * SIDE:
            made = mosaic(small, SIDE, SIDE)
            small = []
            if max(made.mask.shape) > LEAST_SIDE:
                yield made, None


def write(sample: Sample, name: str, out: Path, source: Path | None) -> None:
    """Write image and mask; an image that is a file already is linked, or copied where links cannot be made."""
    ending = ".png" if source is None else source.suffix
    image = out / "images" / f"{name}{ending}"
    with atomic_path(image) as temporary:
        if source is None:
            cv2.imwrite(str(temporary), np.ascontiguousarray(sample.image[..., ::-1]))
        else:
            _link(source, temporary)
    with atomic_path(out / "masks" / f"{name}.png") as temporary:
        cv2.imwrite(str(temporary), sample.mask.astype(np.uint16))


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def file_of(dataset: SegmentationDataset, name: str) -> Path | None:
    """The file of an image, where the reader keeps one; None for mosaics and for sets without files."""
    return getattr(dataset, "_images", {}).get(name)


def build(folders: Sequence[str], out: Path, count: int, kept_aside: bool = False, seed: int = 0) -> int:
    """Build the set; give the number of images.

    Args:
        folders: data sets.
        out: folder to make, outside of the repository.
        count: the most images, as evenly from all sets as they allow.
        kept_aside: only images that training leaves out.
        seed: of the order.

    Raises:
        ConfigError: `out` lies in the repository, or no image of this kind can be made.
    """
    if ROOT in (out.resolve(), *out.resolve().parents):
        raise ConfigError(
            f"expected a folder outside of {ROOT} for --out, got {out}; images stay out of the repository"
        )
    streams = {data: candidates(data, kept_aside, seed) for data in map(open_dataset, folders)}
    made = 0
    while streams and made < count:
        for dataset in list(streams):
            found = next(streams[dataset], None)
            if found is None:
                del streams[dataset]
                continue
            (sample, source), mask = found, middling(found[0].mask)
            if mask.any() and made < count:
                write(Sample(sample.name, sample.image, mask), f"{slug(dataset.name)}-{slug(sample.name)}", out, source)
                made += 1
    if not made:
        raise ConfigError(
            f"expected images over {LEAST_SIDE} pixels, or enough smaller ones, with objects of {SHARES[0]:.0%} to "
            f"{SHARES[1]:.0%}, found none in {', '.join(folders)}; give other folders"
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="+", help="data-set folders")
    parser.add_argument("--out", type=Path, required=True, help="folder to make, outside of the repository")
    parser.add_argument("--count", type=int, default=200, help="the most images")
    parser.add_argument("--kept-aside", action="store_true", help="only images that training leaves out")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        made = build(given.data, given.out, given.count, given.kept_aside, given.seed)
    except GlesamError as error:
        print(f"large_images: {error}", file=sys.stderr)
        return 2
    print(f"{made} images in {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
