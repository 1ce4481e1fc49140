"""A folder of images that another program restored: for PromptIR, DiffBIR and others, run elsewhere."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from glesam import images
from glesam.errors import ImageError
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer


class FolderRestorer(Restorer):
    """Looks the restored image up by the name of the image, whatever its suffix.

    `a/x.jpg` is looked for as `a/x.*` and as `x.*`. `glesam evaluate` asks for `LEVEL/x` first, such as `lq3/x`.

    Args:
        folder: with the restored images, sub-folders included.
    """

    by_name = True

    def __init__(self, folder: str | Path) -> None:
        sources = images.iterate([str(folder)], recursive=True)
        files = {str(PurePosixPath(s.name).with_suffix("")): s.path for s in sources if s.path is not None}
        stamps = [f"{name}:{path.stat().st_size}:{path.stat().st_mtime_ns}" for name, path in sorted(files.items())]
        super().__init__("folder", {"folder": str(folder), "files": " ".join(stamps)})
        self._folder, self._files = folder, files

    def apply(self, image: RGB, name: str | None) -> RGB:
        """Read the restored image.

        Raises:
            ImageError: no name, no file of that name, or one of another size.
        """
        if name is None:
            raise ImageError("expected an image with a name for a folder of restored images, got none; give its file")
        path = PurePosixPath(name)
        keys = [str(path), str(path.with_suffix("")), path.name, path.stem]
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
