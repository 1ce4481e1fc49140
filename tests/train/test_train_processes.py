"""Several processes: gradients are shared, so that all of them hold the same weights, and one writes the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("accelerate")


def draw_set(root: Path) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        cv2.imwrite(str(root / "images" / f"{i}.png"), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        mask = np.zeros((64, 64), np.uint8)
        mask[10:40, 12:50] = 1
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
    return root


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """Through torchrun, as a user would start it; the second process has the photos packed by the first."""
    data = draw_set(tmp_path / "set")
    config = {
        "pretrained": False,
        "backbone": "lite0",
        "workers": 0,
        "prompts": 2,
        "refine": 0.5,
        "warmup": 1,
        "phases": [{"image_size": 64, "batch_size": 2, "steps": 3}],
    }
    (tmp_path / "c.json").write_text(json.dumps(config))
    base = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "glesam"]
    options = ["train", "base", "--config", "c.json", "--data", str(data), "--out", "run"]
    done = subprocess.run(
        [*base, *options], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
