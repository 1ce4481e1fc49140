"""What the simulated cluster's script does beside Ray: it draws, fails a node in time, and compares masks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ray_cluster
from glesam import Predictor
from glesam.folders.ray_pipeline import PipelineJob
from glesam.models.compact.model import CompactConfig, CompactModel


class Cluster:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def remove_node(self, node: object, allow_graceful: bool) -> None:
        self.asked.append(("killed" if not allow_graceful else "stopped", node))

    def add_node(self, **size: int) -> None:
        self.asked.append(("added", size))


def test_images_are_numbered_noise_with_a_bright_square(tmp_path: Path) -> None:
    paths = ray_cluster.draw(tmp_path / "images", 3)
    assert [path.name for path in paths] == ["00000.png", "00001.png", "00002.png"]
    first, second = (np.asarray(Image.open(path)) for path in paths[:2])
    assert first.shape == (ray_cluster.SIDE, ray_cluster.SIDE, 3)
    assert not np.array_equal(first, second)
    assert first[8:24, 8:24].min() >= 140 > 90 > first[:8].max()


def test_a_node_is_killed_without_notice_when_a_third_is_done_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    monkeypatch.setattr("ray_cluster.time.sleep", lambda seconds: looked.set() or threading.Event().wait(0.001))
    cluster, out = Cluster(), tmp_path / "out"
    failure = threading.Thread(target=ray_cluster.fail, args=(cluster, "node", out, 9, {"num_cpus": 2}), daemon=True)
    failure.start()
    out.mkdir()
    for number in range(2):
        (out / f"{number}.mask.png").touch()
    looked.clear()
    assert looked.wait(5)  # it has seen the two, and goes on waiting
    assert cluster.asked == []
    (out / "2.mask.png").touch()
    failure.join(5)
    assert cluster.asked == [("killed", "node"), ("added", {"num_cpus": 2})]


def test_masks_that_differ_from_one_process_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "CHECKED", 4)
    torch.manual_seed(0)
    CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).save_pretrained(tmp_path / "model")
    paths = ray_cluster.draw(tmp_path / "images", 4)
    job = PipelineJob(str(tmp_path / "out"), {"boxes": [ray_cluster.BOX]}, str(tmp_path / "model"), enhance="off")
    predictor = Predictor.from_pretrained(job.model, "cpu", "off")
    (tmp_path / "out").mkdir()
    for path in paths:
        predictor.set_image(path)
        predictor.predict(boxes=[ray_cluster.BOX]).save(job.targets(path.name)["png"])
    assert ray_cluster.differing(job, paths) == 0
    spoiled = Path(job.targets(paths[2].name)["png"])
    Image.fromarray(np.full((ray_cluster.SIDE, ray_cluster.SIDE), 7, np.uint8)).save(spoiled)
    assert ray_cluster.differing(job, paths) == 1
