"""Where images at a level come from: a data set degraded on the fly, or a built LQSeg folder read as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from glesam.common.documents import expect_object, read_json
from glesam.common.files import sha256
from glesam.common.fingerprints import Digests
from glesam.common.seeds import stable_seed
from glesam.data.base import Sample, SegmentationDataset, fingerprint, is_kept_aside
from glesam.degrade import levels
from glesam.degrade.levels import CLEAR, Level
from glesam.errors import ConfigError, DataError

LAYOUT = "images/NAME.jpg + masks/NAME.png of the same size, object ids 1..N (or 0/255 for one object), 0 = background"
"""The plainest layout of a data set, for messages."""


class StoredLevels(NamedTuple):
    """How LQ levels that are read from disk were made; None for what the manifest does not say."""

    recipe: str | None
    seed: int | None

    def __str__(self) -> str:
        """Return both in words."""
        recipe, seed = ("unknown" if each is None else each for each in self)
        return f"recipe {recipe}, seed {seed}"


class Source(Protocol):
    """A data set that gives each image at any level."""

    name: str
    origin: str
    """What sets this data apart from others of the same name: the folder, or the digest of a built set's manifest."""

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        ...

    def fingerprint(self, images: Sequence[str], level: Level) -> str | None:
        """Digest of the files that images at a level are made of; None for a set that is not made of files."""
        ...

    def load(self, image: str, level: Level, seed: int, recipe: str) -> Sample:
        """Read one image at a level.

        Raises:
            DataError: a file is missing or unreadable, or sizes differ.
            ImageError: the image is too small for the degradation.
        """
        ...


class DegradedSource:
    """A data set of clear images, degraded on the fly.

    Args:
        dataset: any reader.
        name: name of the set in tables; the reader's when not given.
        origin: where the data lies.
        kept_aside: leave out all images but those that are never trained on; see `is_kept_aside`.
    """

    def __init__(
        self, dataset: SegmentationDataset, name: str | None = None, origin: str = "", kept_aside: bool = False
    ) -> None:
        self.dataset = dataset
        self.origin = origin
        self.name = name or dataset.name
        self._index = {
            image: index for index, image in enumerate(dataset.names) if not kept_aside or is_kept_aside(image)
        }
        self._digests = Digests()

    def __contains__(self, image: str) -> bool:
        """Whether the set has an image of that name."""
        return image in self._index

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        return sorted(self._index)

    def fingerprint(self, images: Sequence[str], level: Level) -> str | None:
        """See `Source.fingerprint`; each file is read once."""
        return fingerprint(self.dataset, [self._index[image] for image in images], self._digests)

    def load(self, image: str, level: Level, seed: int, recipe: str) -> Sample:
        """Read one image and degrade it (see `Source.load`)."""
        return levels.apply(self.dataset[self._index[image]], level, seed, recipe)


class LqsegSource:
    """A built LQSeg folder: `clear/`, `lq1/`, `lq2/`, `lq3/`, `masks/`, `manifest.json`.

    The LQ levels are read from disk, whatever the recipe; other degradations are made on the fly from `clear/`.

    Args:
        root: the set's folder.
        name: name of the set in tables; the folder's when not given.

    Raises:
        DataError: `clear` or `masks` is missing or empty, an image has no mask, or the manifest cannot be read.

    Attributes:
        made: how the LQ levels were made.
    """

    def __init__(self, root: Path, name: str | None = None) -> None:
        from glesam.data.build.manifest import FILE_NAME

        self.root = root
        self.name = name or root.resolve().name
        self.origin = f"built set {sha256(root / FILE_NAME)[:16]}"
        self.made = _made(root / FILE_NAME)
        self._levels: dict[str, DegradedSource] = {}
        self._clear = self._level("clear")

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        return self._clear.names

    def fingerprint(self, images: Sequence[str], level: Level) -> str | None:
        """See `Source.fingerprint`."""
        stored = self._level(str(level)) if level.family == "lq" else self._clear
        return stored.fingerprint([image for image in images if image in stored], CLEAR)

    def load(self, image: str, level: Level, seed: int, recipe: str) -> Sample:
        """Read one image from its level's folder (see `Source.load`)."""
        if level.family != "lq":
            return self._clear.load(image, level, seed, recipe)
        stored = self._level(str(level))
        if image not in stored:
            raise DataError(f"expected {image} in {self.root / str(level)}, found none; build the set again")
        return stored.load(image, CLEAR, seed, recipe)

    def _level(self, folder: str) -> DegradedSource:
        """The stored images of one level, listed when first asked for."""
        if folder not in self._levels:
            from glesam.data.readers.built import BuiltDataset

            self._levels[folder] = DegradedSource(BuiltDataset(self.root, split=folder))
        return self._levels[folder]


def open_source(text: str, kept_aside: bool = False) -> Source:
    """Open a data set given as `DIR` or `NAME=DIR`, or `DIR@SPLIT`; of a training set perhaps only what is kept aside.

    Raises:
        DataError: the folder does not exist or has no layout that a reader knows.
        ConfigError: the folder is one level of a built set, or a built set of which nothing is kept aside.
    """
    from glesam.data.build.manifest import FILE_NAME
    from glesam.data.readers.built import is_level
    from glesam.data.readers.registry import open_dataset, place

    name, whole = _split_name(text)
    path, split = place(whole)
    if not path.exists():
        raise DataError(f"expected a folder of data, found none at {path}; lay it out as {LAYOUT}")
    if (path / FILE_NAME).is_file() and (path / "clear").is_dir():
        if split is not None:
            raise ConfigError(
                f"expected a built set's folder, got its part {whole}; give --data {path} --levels {split} instead"
            )
        if kept_aside:
            raise ConfigError(f"expected training sets for kept-aside images, got the built set {path}; leave it out")
        return LqsegSource(path, name)
    parent, level = path.resolve().parent, path.resolve().name
    if is_level(level) and (parent / FILE_NAME).is_file() and (parent / "clear").is_dir():
        raise ConfigError(
            f"expected a set's folder, got its part {path}; give --data {parent} --levels {level} instead"
        )
    origin = str(path.resolve()) + (f"@{split}" if split else "")
    source = DegradedSource(open_dataset(path, name=name, split=split), name, origin, kept_aside)
    if not source.names:
        raise DataError(f"expected images kept aside in {path}, found none; leave the set out")
    return source


def open_sources(texts: Iterable[str], kept_aside: bool = False) -> list[Source]:
    """Open several data sets, whose names must differ since tables and files are told apart by them.

    Raises:
        DataError: a folder cannot be opened.
        ConfigError: no set is given, or two sets have the same name.
    """
    sources = [source for text in texts for source in _opened(text, kept_aside)]
    if not sources:
        raise ConfigError(f"expected at least one data set, got none; give --data DIR with {LAYOUT}")
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"expected data sets of different names, got {twice} twice; rename one: --data OTHER={twice}")
    return sources


def _opened(text: str, kept_aside: bool) -> list[Source]:
    """The data set of a text; one for each condition of a set that is made of such."""
    from glesam.data.readers.registry import LAYOUTS, place

    name, whole = _split_name(text)
    path, split = place(whole)
    layout = next((one for one in LAYOUTS.values() if one.conditions and path.is_dir() and one.matches(path)), None)
    if layout is None or layout.conditions is None:
        return [open_source(text, kept_aside)]
    words = [] if split is None else split.split("/")
    conditions = layout.conditions(path)
    rest = [word for word in words if word not in conditions]
    found: list[Source] = []
    for condition in [one for one in conditions if one in words] or conditions:
        part = "/".join([condition, *rest])
        dataset = layout.reader(path, f"{name or layout.key}-{condition}", part)
        found.append(DegradedSource(dataset, dataset.name, f"{path.resolve()}/{part}", kept_aside))
    return found


def stored_levels(sources: Iterable[Source]) -> dict[str, StoredLevels]:
    """How the LQ levels of built sets were made, by name of the set; the run's recipe and seed do not act on them."""
    return {source.name: source.made for source in sources if isinstance(source, LqsegSource)}


def check_recipe(recipe: str, asked: Iterable[Level], sources: Iterable[Source]) -> None:
    """Refuse a recipe that the user gave for LQ levels that were built with another one.

    Raises:
        ConfigError: it contradicts the manifest of a set.
    """
    if not any(level.family == "lq" for level in asked):
        return
    for name, made in stored_levels(sources).items():
        if made.recipe not in (None, recipe):
            raise ConfigError(
                f"expected the recipe {made.recipe} that {name} was built with, got {recipe}; leave --recipe out, or "
                "give the set of clear images"
            )


def choose(names: list[str], limit: int | None, seed: int) -> list[str]:
    """Choose `limit` images by hash(name, seed), sorted: a sample without the bias that the first names have."""
    if limit is None or limit >= len(names):
        return sorted(names)
    return sorted(sorted(names, key=lambda name: (stable_seed("limit", name, seed), name))[:limit])


def _made(manifest: Path) -> StoredLevels:
    """Recipe and seed that a manifest names; of a version of this program that says neither, nothing."""
    content = expect_object(read_json(manifest, what="a manifest"), str(manifest), cure="build the set again")
    config = content.get("config")
    known = config if isinstance(config, dict) else {}
    return StoredLevels(known.get("recipe"), known.get("seed"))


def _split_name(text: str) -> tuple[str | None, Path]:
    """Split `NAME=DIR`; an existing folder whose path holds `=` is taken as a path."""
    name, sign, path = text.partition("=")
    if sign and name and "/" not in name and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)
