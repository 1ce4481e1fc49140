from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_layouts import HEIGHT, WIDTH, coco, crowd_counts, photo, write

from glesam.data.base import DataWarning, SegmentationDataset
from glesam.data.check.check import check_dataset
from glesam.data.readers.coco import CocoDataset
from glesam.data.readers.lvis import LvisDataset
from glesam.data.readers.registry import recognise
from glesam.errors import ConfigError, DataError


def square(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[start:stop, start:stop] = True
    return mask


def test_small_objects_lie_over_large_ones_and_crowds_are_left_out(tmp_path: Path) -> None:
    coco(tmp_path)
    dataset = CocoDataset(tmp_path)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.names == ["000000000007", "000000000009"]
    assert dataset.name == "instances_val2017"
    expected = np.where(square(8, 12), 1, np.where(square(4, 20), 2, 0))
    sample = dataset[0]
    np.testing.assert_array_equal(sample.mask, expected)
    assert sample.mask.dtype == np.int32
    assert sample.image.shape == (HEIGHT, WIDTH, 3)
    assert not dataset[1].mask.any()


def test_objects_without_room_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = CocoDataset(coco(tmp_path))[0].mask
    monkeypatch.setattr("glesam.data.readers.coco._HELD_PIXELS", 20)  # the smaller object alone
    np.testing.assert_array_equal(CocoDataset(tmp_path)[0].mask, expected)


def test_crowds_can_be_kept_as_an_object_of_their_own(tmp_path: Path) -> None:
    mask = CocoDataset(coco(tmp_path), crowds="keep")[0].mask
    assert (mask[:, -2:] == 3).all()
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    with pytest.raises(ConfigError, match="'drop' or 'keep', got 'both'"):
        CocoDataset(tmp_path, crowds="both")  # type: ignore[arg-type]


def test_ids_follow_annotation_ids_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    path = coco(tmp_path)
    first = CocoDataset(path)[0].mask
    content = json.loads(path.read_text())
    content["annotations"].reverse()
    content["images"].reverse()
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(CocoDataset(path)[0].mask, first)


@pytest.mark.parametrize(
    "place", ["val2017", "images/val2017", "images", "."], ids=["split", "images-split", "images", "root"]
)
def test_images_are_found_in_the_usual_places(tmp_path: Path, place: str) -> None:
    path = coco(tmp_path)
    for picture in (tmp_path / "val2017").iterdir():
        (tmp_path / "set" / place).mkdir(parents=True, exist_ok=True)
        picture.rename(tmp_path / "set" / place / picture.name)
    moved = tmp_path / "set" / "annotations" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert CocoDataset(tmp_path / "set")[0].image.shape == (HEIGHT, WIDTH, 3)
    assert CocoDataset(moved)[0].image.shape == (HEIGHT, WIDTH, 3)


def test_json_beside_its_images(tmp_path: Path) -> None:
    path = coco(tmp_path)
    path.rename(tmp_path / "val2017" / "_annotations.coco.json")
    assert len(CocoDataset(tmp_path / "val2017")) == 2


def test_several_jsons_need_a_split(tmp_path: Path) -> None:
    coco(tmp_path)
    coco(tmp_path, "train2017")
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    with pytest.raises(DataError, match=r"expected one json of instances .* name one with split="):
        CocoDataset(tmp_path)
    assert CocoDataset(tmp_path, split="train2017").name == "instances_train2017"
    with pytest.raises(DataError, match="with 'test' in its name"):
        CocoDataset(tmp_path, split="test")


def test_stems_that_repeat_get_their_folder_into_the_name(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{part}/1.jpg", "height": HEIGHT, "width": WIDTH} for i, part in enumerate("ab")]
    path = coco(tmp_path, images=images, annotations=[])
    for part in "ab":
        write(tmp_path / "images" / part / "1.jpg", photo(0))
    assert CocoDataset(path).names == ["a__1", "b__1"]


def test_the_json_is_read_at_first_use(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text("{ broken")
    dataset = CocoDataset(path)
    with pytest.raises(DataError, match=r"instances\.json.*cannot be parsed"):
        len(dataset)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1}]}, "export it as COCO instances"),
        ({"annotations": [{"id": 1}]}, "export it as COCO instances"),
        ({"images": None}, "export it as COCO instances"),
    ],
)
def test_a_json_without_the_needed_fields_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(CocoDataset(coco(tmp_path, **changes)))


def test_a_broken_annotation_is_named(tmp_path: Path) -> None:
    broken = [{"id": 77, "image_id": 7, "segmentation": {"counts": [1, 2], "size": [HEIGHT, WIDTH]}}]
    with pytest.warns(DataWarning, match=r"000000000007\.jpg: annotation 77 is left out: expected runs that fill"):
        assert not CocoDataset(coco(tmp_path, annotations=broken))[0].mask.any()


def test_a_degenerate_polygon_does_not_lose_its_image(tmp_path: Path) -> None:
    corners = [2, 2, 12, 2, 12, 12, 2, 12]
    annotations = [
        {"id": 1, "image_id": 7, "segmentation": [[1, 1, 9, 1]]},
        {"id": 2, "image_id": 7, "segmentation": [corners]},
        {"id": 3, "image_id": 7, "segmentation": [[3, 3], [14, 14, 20, 14, 20, 20]]},
    ]
    data = CocoDataset(coco(tmp_path, annotations=annotations))
    with pytest.warns(DataWarning, match="annotation 1 is left out"):
        mask = data[0].mask
    assert (mask == 2).sum() == 100
    assert set(np.unique(mask)) == {0, 2, 3}
    left_out = check_dataset(data).by_kind()["annotation left out"]
    assert [finding.name for finding in left_out] == [data.names[0]]


def test_a_mark_of_byte_order_and_windows_separators_are_read(tmp_path: Path) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    for entry in content["images"]:
        entry["file_name"] = "sub\\" + entry["file_name"]
    (tmp_path / "val2017" / "sub").mkdir()
    for image in (tmp_path / "val2017").glob("*.jpg"):
        image.rename(image.parent / "sub" / image.name)
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    assert recognise(tmp_path).key == "coco"
    assert CocoDataset(path)[0].image.shape[2] == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["images"][0].pop("file_name"),
        lambda c: c["images"][0].update(id=[1]),
        lambda c: c["images"][0].update(height=10**9),
        lambda c: c["images"][0].update(width=0),
        lambda c: c["images"][0].update(file_name=[1]),
        lambda c: c["annotations"].insert(0, {"image_id": {}}),
        lambda c: c["annotations"].insert(0, 3),
        lambda c: c.update(images={}),
    ],
)
def test_hostile_values_are_one_line_of_ours(change: Callable[[Any], Any], tmp_path: Path) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        CocoDataset(path)[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, '{"images": [Infinity], "annotations": []}', "[]"])
def test_hostile_json_is_one_line_of_ours(text: str, tmp_path: Path) -> None:
    path = coco(tmp_path)
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        CocoDataset(path)[0]
    assert "\n" not in str(caught.value)


def test_missing_images_say_where_to_get_them(tmp_path: Path) -> None:
    path = coco(tmp_path)
    (tmp_path / "val2017" / "000000000007.jpg").unlink()
    with pytest.raises(DataError, match=r"000000000007\.jpg, found none; get it from the COCO site"):
        CocoDataset(path)[0]
    (tmp_path / "val2017" / "000000000009.jpg").unlink()
    with pytest.raises(DataError, match=r"expected the images of .* get them from the COCO site"):
        len(CocoDataset(path))


def test_missing_json_says_where_to_get_it(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "instances_val2017.json"):
        with pytest.raises(DataError, match="found none; get it from the COCO site"):
            CocoDataset(path)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    path = coco(tmp_path)
    write(tmp_path / "val2017" / "000000000007.jpg", photo(0, 10, 10))
    with pytest.raises(DataError, match=r"to be 32x24 as in instances_val2017\.json, got 10x10"):
        CocoDataset(path)[0]


def lvis(root: Path) -> Path:
    """An LVIS set: one image of train2017 and one of val2017, placed by `coco_url`."""
    base = "http://images.cocodataset.org"
    images = [
        {"id": 1, "coco_url": f"{base}/train2017/000000000001.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 2, "coco_url": f"{base}/val2017/000000000002.jpg", "height": HEIGHT, "width": WIDTH},
    ]
    annotations = [{"id": 5, "image_id": 2, "segmentation": {"size": [HEIGHT, WIDTH], "counts": crowd_counts()}}]
    coco(root, images=images, annotations=annotations).rename(root / "annotations" / "lvis_v1_val.json")
    write(root / "train2017" / "000000000001.jpg", photo(1))
    write(root / "val2017" / "000000000002.jpg", photo(2))
    return root / "annotations" / "lvis_v1_val.json"


def test_lvis_takes_images_from_both_folders_of_coco(tmp_path: Path) -> None:
    for root in (tmp_path, lvis(tmp_path)):
        dataset = LvisDataset(root)
        assert dataset.names == ["000000000001", "000000000002"]
        assert not dataset[0].mask.any()
        assert (dataset[1].mask[:, -2:] == 1).all()
        assert (dataset[1].mask[:, :-2] == 0).all()


def test_lvis_says_where_to_get_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="get it from the LVIS site"):
        LvisDataset(tmp_path)
    path = lvis(tmp_path)
    (tmp_path / "val2017" / "000000000002.jpg").unlink()
    with pytest.raises(DataError, match=r"get it from the LVIS site .*both are needed"):
        LvisDataset(path)[1]


def test_lvis_entry_without_place_is_refused(tmp_path: Path) -> None:
    path = lvis(tmp_path)
    content = json.loads(path.read_text())
    del content["images"][0]["coco_url"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="'coco_url' in image 1"):
        len(LvisDataset(path))
