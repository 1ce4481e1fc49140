"""Where images come from: `iterate` finds many, to be read one by one.

Files, folders, glob patterns and stdin become a list of sources; reading itself lives in `glesam.images.reading`.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from glesam.errors import ImageError
from glesam.images.pixels import RGB
from glesam.images.reading import MAX_PIXELS, ReadImage, ReadOptions, read_with

STDIN = "-"
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"),
        *(".heic", ".heif"),
    }
)
"""File names that folders and patterns pick, in lower case. A file named outright is read whatever its suffix."""


@dataclass(frozen=True)
class ImageSource:
    """One image to be read later, so that a broken one does not stop the others.

    Attributes:
        name: what to call it: path relative to the folder or to the pattern's fixed part, with `/`; else the file name;
            `stdin`. Keys of a prompts file are such names.
        stem: like `name` without suffix, but no two sources of one list share it (case ignored): for output names.
        path: the file, or None for stdin.
    """

    name: str
    stem: str
    path: Path | None

    def read(self, max_pixels: int = MAX_PIXELS) -> RGB:
        """Read the image as `glesam.images.read` does: `(H, W, 3)` uint8 RGB.

        Raises:
            ImageError: see `glesam.images.read`.
        """
        return self.read_with(ReadOptions(max_pixels)).pixels

    def read_with(self, options: ReadOptions) -> ReadImage:
        """Read the image as `glesam.images.reading.read_with` does.

        Raises:
            ImageError: see there.
        """
        if self.path is None:
            return read_with(sys.stdin.buffer.read(), options, name="stdin")
        return read_with(self.path, options)


def iterate(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    recursive: bool = False,
    exclude: Sequence[str] = (),
) -> list[ImageSource]:
    """Find all images; nothing is read yet, but a wrong name is reported at once, before any work begins.

    Args:
        inputs: one or several of: file; folder (images by suffix, sorted, hidden ones skipped); glob pattern, `**`
            included (files with an image's suffix, sorted); `-` for stdin. What comes twice is taken once.
        recursive: go into sub-folders of folders too.
        exclude: file name patterns, such as `*.mask.png`, that folders and patterns leave out: a program's own outputs.

    Returns:
        The sources in the order of `inputs`.

    Raises:
        ImageError: an input does not exist, or a folder or pattern holds no image.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    if not given:
        raise ImageError("expected at least one image, folder or pattern, got none; name one, or - for stdin")
    found: dict[str, ImageSource] = {}
    for item in given:
        for source in _expand(os.fspath(item), recursive, exclude):
            found.setdefault(STDIN if source.path is None else os.path.realpath(source.path), source)
    return _with_stems(list(found.values()))


def left_out(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    recursive: bool = False,
    exclude: Sequence[str] = (),
) -> list[Path]:
    """What `iterate` passes over in folders and patterns: names that are no image's, pipes, broken links; sorted.

    Args:
        inputs: as `iterate` takes them.
        recursive: go into sub-folders of folders too.
        exclude: file name patterns that are not named here either.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    found: set[Path] = set()
    for item in [os.fspath(each) for each in given]:
        path = Path(item).expanduser()
        if os.path.isdir(path):
            found.update(_files_in(path, recursive))
        elif item != STDIN and not os.path.exists(path) and glob.has_magic(item):
            found.update(Path(m) for m in glob.glob(str(path), recursive=True) if os.path.isfile(m))
    seen = (path for path in found if not path.name.startswith(".") and not _own(path, exclude))
    return sorted(path for path in seen if not (_is_image(path.name, ()) and os.path.isfile(path)))


def _expand(item: str, recursive: bool, exclude: Sequence[str]) -> list[ImageSource]:
    """Sources of one input. A file or folder whose name looks like a pattern goes before the pattern."""
    if item == STDIN:
        return [ImageSource("stdin", "", None)]
    path = Path(item).expanduser()
    if os.path.isdir(path):  # unlike Path.is_dir, False for names that the system refuses
        return _of_folder(path, recursive, exclude)
    if not os.path.exists(path) and glob.has_magic(item):
        return _of_pattern(str(path), exclude)
    if not os.path.exists(path):
        raise ImageError(f"expected an image, folder or pattern, found no {item}; check the path")
    return [ImageSource(path.name, "", path)]


def _of_folder(folder: Path, recursive: bool, exclude: Sequence[str]) -> list[ImageSource]:
    """Images in a folder, sorted by relative path."""
    # Regular files only: reading a pipe would wait forever.
    paths = [path for path in _files_in(folder, recursive) if _is_image(path.name, exclude) and os.path.isfile(path)]
    if not paths:
        hint = "" if recursive else ", or ask for sub-folders too"
        raise ImageError(f"expected images in the folder {folder}, found none ({_listing()}); name another{hint}")
    return _relative(paths, folder)


def _files_in(folder: Path, recursive: bool) -> Iterator[Path]:
    """All files of a folder, hidden folders left out."""
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:  # a link to a folder that was visited, perhaps one above
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [f for f in folders if recursive and not f.startswith(".")]
        yield from (Path(root, file) for file in files)


def _of_pattern(pattern: str, exclude: Sequence[str]) -> list[ImageSource]:
    """Images that match a glob pattern, named from its fixed part on."""
    matches = [Path(m) for m in glob.glob(pattern, recursive=True)]
    paths = [m for m in matches if m.is_file() and _is_image(m.name, exclude)]
    if not paths:
        raise ImageError(
            f"expected images for the pattern {pattern}, none of its {len(matches)} matches is one ({_listing()}); "
            "check the pattern"
        )
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return _relative(paths, Path(*parts[:fixed]))


def _relative(paths: list[Path], base: Path) -> list[ImageSource]:
    """Name paths from a base folder on and sort them by these names."""
    named = ((path.relative_to(base).as_posix(), path) for path in paths)
    return [ImageSource(name, "", path) for name, path in sorted(named)]


def _is_image(name: str, exclude: Sequence[str]) -> bool:
    """Whether a folder's file is taken."""
    if name.startswith(".") or _own(Path(name), exclude):
        return False
    return Path(name).suffix.lower() in SUFFIXES


def _own(path: Path, exclude: Sequence[str]) -> bool:
    """Whether a file's name is among patterns."""
    return any(fnmatch(path.name, pattern) for pattern in exclude)


def _with_stems(sources: list[ImageSource]) -> list[ImageSource]:
    """Give each source an output name: without suffix, or with it, or with ever more folders, until all differ."""
    names = [_ever_longer_names(source) for source in sources]
    levels = [0] * len(sources)
    while True:
        stems = [choice[level] for choice, level in zip(names, levels, strict=True)]
        counts = Counter(stem.casefold() for stem in stems)
        clashing = [i for i, s in enumerate(stems) if counts[s.casefold()] > 1 and levels[i] + 1 < len(names[i])]
        if not clashing:
            return [replace(source, stem=stem) for source, stem in zip(sources, stems, strict=True)]
        for i in clashing:
            levels[i] += 1


def _ever_longer_names(source: ImageSource) -> list[str]:
    """Ever more exact names of a source, from `x` over `x.jpg` and `a/x.jpg` to the whole path."""
    if source.path is None:
        return [source.name]
    parts = Path(os.path.realpath(source.path)).parts[1:]
    depth = len(PurePosixPath(source.name).parts)
    longer = ["/".join(parts[-n:]) for n in range(depth + 1, len(parts) + 1)]
    return [str(PurePosixPath(source.name).with_suffix("")), source.name, *longer]


def _refuse(error: OSError) -> None:
    """Turn what `os.walk` would pass over in silence into our error."""
    reason = error.strerror or str(error)
    raise ImageError(f"expected a readable folder, got {error.filename} ({reason}); check its rights") from error


def _listing() -> str:
    """Suffixes as text, for messages."""
    return ", ".join(sorted(SUFFIXES))
