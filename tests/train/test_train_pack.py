"""Packing: what comes out is what went in, shrunk; a second opening reads the pack; empty sets are refused."""

import json
import os

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from glesam.data.base import Sample
from glesam.data.readers.folder import FolderDataset
from glesam.errors import DataError
from glesam.train.config import BaseConfig, Phase
from glesam.train.feed.pack import ImagePack, consecutive_ids, pack
from glesam.train.feed.views import TrainingBatches


class Memory:
    """A data set held in memory that counts how often it is read."""

    name = "memory"

    def __init__(self, samples):
        self.samples, self.reads = samples, 0

    @property
    def names(self):
        return [s.name for s in self.samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.reads += 1
        return self.samples[index]


def sample(name, height, width, ids):
    rng = np.random.default_rng(len(name))
    mask = np.zeros((height, width), np.int32)
    for row, value in enumerate(ids):
        mask[row * 3 : row * 3 + 3, : width // 2] = value
    return Sample(name, rng.integers(0, 256, (height, width, 3), dtype=np.uint8), mask)


def test_small_photos_come_back_unchanged_with_consecutive_ids(tmp_path):
    data = Memory([sample("a", 20, 30, [5, 9]), sample("bb", 17, 12, [300])])
    seen = []
    packed = pack(data, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    for i, original in enumerate(data.samples):
        assert packed[i].name == original.name
        np.testing.assert_array_equal(packed[i].image, original.image)
    np.testing.assert_array_equal(packed[0].mask == 1, data.samples[0].mask == 5)
    np.testing.assert_array_equal(packed[0].mask == 2, data.samples[0].mask == 9)
    np.testing.assert_array_equal(packed[1].mask == 1, data.samples[1].mask == 300)


def test_a_second_opening_reads_the_pack_and_not_the_set(tmp_path):
    data = Memory([sample("a", 20, 30, [1])])
    pack(data, tmp_path)
    reads = data.reads
    assert len(pack(data, tmp_path)) == 1
    assert data.reads == reads
    pack(data, tmp_path, max_side=16)  # another size is another pack
    assert data.reads > reads


def test_large_photos_shrink_to_the_longest_side(tmp_path):
    data = Memory([sample("a", 100, 200, [1, 2, 3])])
    packed = pack(data, tmp_path, max_side=50)[0]
    assert packed.image.shape == (25, 50, 3)
    assert packed.mask.shape == (25, 50)
    # Area averaging by an exact factor is the mean of each block.
    blocks = data.samples[0].image.reshape(25, 4, 50, 4, 3).mean(axis=(1, 3))
    assert np.abs(packed.image - blocks).max() <= 1


def test_a_set_of_empty_masks_is_an_error_that_says_so(tmp_path):
    with pytest.raises(DataError, match="all 0"):
        pack(Memory([sample("a", 8, 8, []), sample("b", 8, 8, [])]), tmp_path)
    assert not list(tmp_path.rglob("*.bin"))


def test_of_many_objects_the_largest_stay():
    mask = np.repeat(np.arange(1, 301), 300 - np.arange(300)).astype(np.int32)[None]
    ids = consecutive_ids(mask)
    assert ids.dtype == np.uint8
    assert ids.max() == 255
    np.testing.assert_array_equal(ids[mask <= 255], mask[mask <= 255])
    assert not ids[mask > 255].any()


def _folder_set(root, value):
    for part, pixels in (("images", np.full((9, 12, 3), value, np.uint8)), ("masks", np.zeros((9, 12), np.uint8))):
        (root / part).mkdir(parents=True)
        pixels[2:5, 2:5] = 1
        cv2.imwrite(str(root / part / "a.png"), pixels)
    return FolderDataset(root)


def test_sets_named_alike_do_not_share_a_pack(tmp_path):
    first, second = _folder_set(tmp_path / "x" / "set", 10), _folder_set(tmp_path / "y" / "set", 200)
    assert pack(first, tmp_path / "cache")[0].image[0, 0, 0] == 10
    assert pack(second, tmp_path / "cache")[0].image[0, 0, 0] == 200


def test_a_mended_mask_is_packed_anew(tmp_path):
    data = _folder_set(tmp_path / "set", 10)
    assert pack(data, tmp_path / "cache")[0].mask.sum() == 9
    path = tmp_path / "set" / "masks" / "a.png"
    cv2.imwrite(str(path), np.ones((9, 12), np.uint8))
    assert pack(data, tmp_path / "cache")[0].mask.sum() == 108
    os.utime(path, (1, 1))  # touched, not changed
    assert len(list((tmp_path / "cache").iterdir())) <= 3
    assert pack(data, tmp_path / "cache")[0].mask.sum() == 108


def test_a_broken_note_of_digests_costs_time_only(tmp_path):
    data = _folder_set(tmp_path / "set", 10)
    pack(data, tmp_path / "cache")
    (tmp_path / "cache" / "set.digests.json").write_text("[[[")
    assert pack(data, tmp_path / "cache")[0].mask.sum() == 9


@pytest.mark.parametrize("sizes", [[], [[30, 40], [30, 40]], [[-30, -40]], [[0, 40]], [[30]], ["ab"], None])
def test_an_index_that_does_not_fit_is_refused(tmp_path, sizes):
    pack(_folder_set(tmp_path / "set", 10), tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*/index.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sizes": sizes}))
    with pytest.raises(DataError, match="delete that folder"):
        ImagePack(path.parent)


def test_images_are_moved_under_their_masks_and_workers_still_start(tmp_path):
    """OpenCV moves large images with a pool of threads, which processes that are forked later do not have."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    image, mask = rng.integers(0, 255, (900, 1200, 3), np.uint8), np.zeros((900, 1200), np.uint8)
    mask[200:700, 300:900] = 1
    cv2.imwrite(str(tmp_path / "set" / "images" / "a.png"), cv2.GaussianBlur(image, (0, 0), 4))
    cv2.imwrite(str(tmp_path / "set" / "masks" / "a.png"), mask)
    data = FolderDataset(tmp_path / "set")
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        plain, other = pack(data, tmp_path, 1200), pack(data, tmp_path, 1200, offset=(2.0, 5.0))
        assert plain.key != other.key
        np.testing.assert_array_equal(other[0].image[5:, 2:], plain[0].image[:-5, :-2])
        np.testing.assert_array_equal(other[0].mask, plain[0].mask)
        phases = (Phase(image_size=64, batch_size=2, steps=2),)
        batches = TrainingBatches([other], [1.0], BaseConfig(phases=phases))
        for batch in DataLoader(batches, batch_size=None, num_workers=1, timeout=60):
            assert batch["pixels"].shape == (2, 64, 64, 3)
    finally:
        cv2.setNumThreads(before)
