"""Reader of LVIS json: COCO's images and format, but the image's place is in `coco_url`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glesam.data.readers.coco import CocoDataset, is_instances_json, json_files
from glesam.data.readers.layout import Layout
from glesam.errors import DataError

TITLE = "LVIS"
STRUCTURE = "annotations/lvis_v1_val.json + train2017/NAME.jpg + val2017/NAME.jpg"
HOME = (
    "the LVIS site (Gupta et al., CVPR 2019; v1 annotations), images from the COCO site, archives '2017 Train "
    "images' and '2017 Val images' (both are needed for the validation set)"
)


class LvisDataset(CocoDataset):
    """Images and instances of an LVIS json (Gupta et al., CVPR 2019); painted as `CocoDataset` does.

    Args, Raises: as `CocoDataset`.
    """

    title, structure, home = TITLE, STRUCTURE, HOME

    def relative_path(self, entry: dict[str, Any]) -> str:
        """Folder and file of an image: the last two parts of `coco_url`, such as `train2017/000000391895.jpg`.

        Raises:
            DataError: the entry has neither `coco_url` nor `file_name`.
        """
        if "coco_url" in entry:
            return "/".join(str(entry["coco_url"]).split("/")[-2:])
        if "file_name" not in entry:  # v0.5 has file names, v1 has not
            raise DataError(
                f"expected 'coco_url' in image {entry.get('id')} of an LVIS json, found none; take v1 from {HOME}"
            )
        return str(entry["file_name"])

    @classmethod
    def _candidates(cls, root: Path) -> list[Path]:
        """Json files in a folder that may hold LVIS instances."""
        return [path for path in json_files(root) if path.name.startswith("lvis_") and "image_info" not in path.name]


def _recognise(root: Path) -> bool:
    """Whether `root` is or holds an LVIS json."""
    if root.suffix == ".json":
        return root.name.startswith("lvis_")
    return any(is_instances_json(path) for path in LvisDataset._candidates(root))


LAYOUT = Layout("lvis", TITLE, STRUCTURE, HOME, ("annotations",), LvisDataset, _recognise)
