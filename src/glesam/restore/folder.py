"""A folder of images that another program restored: for PromptIR, DiffBIR and others, run elsewhere."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from glesam import images
from glesam.errors import ImageError
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer


class FolderRestorer(Restorer):
    """Looks the restored image up by the name of the image, whatever its suffix.

    `a/x.jpg` is looked for as `a/x.*` and then as `x.*`. `glesam evaluate` asks for `SET/LEVEL/NAME`, such as
    `ecssd/lq3/a/x`, which may be there as `lq3/a/x.*`, `a/x.*` or `x.*` too; the longest that is there is taken.

    Args:
        folder: with the restored images, sub-folders included.
    """

    by_name = True

    def __init__(self, folder: str | Path) -> None:
        sources = images.iterate([str(folder)], recursive=True)
        files = {str(PurePosixPath(s.name).with_suffix("")): s.path for s in sources if s.path is not None}
        stamps = [f"{name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for name, path in sorted(files.items())]
        # "names" tells from results of a time when the set's name and the folders under the level were not looked at.
        super().__init__("folder", {"folder": str(folder), "files": " ".join(stamps), "names": "longest first"})
        self._folder, self._files = folder, files

    def apply(self, image: RGB, name: str | None) -> RGB:
        """Read the restored image.

        Raises:
            ImageError: no name, no file of that name, or one of another size.
        """
        if name is None:
            raise ImageError("expected an image with a name for a folder of restored images, got none; give its file")
        parts = PurePosixPath(name).parts
        ends = [PurePosixPath(*parts[start:]) for start in range(len(parts))]
        keys = [str(key) for end in ends for key in (end, end.with_suffix(""))]
        found = next((self._files[key] for key in keys if key in self._files), None)
        if found is None:
            raise ImageError(f"expected the restored {name} in {self._folder}, found none; restore it too")
        restored = images.read(found)
        if restored.shape != image.shape:
            raise ImageError(
                f"expected {found} of {image.shape[1]}x{image.shape[0]} pixels as its original has, got "
                f"{restored.shape[1]}x{restored.shape[0]}; resize it"
            )
        return restored
