"""A forked process answers after its parent has computed with several threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys
import torch, cv2
import numpy as np
from glesam import Predictor

torch.set_num_threads(2)
cv2.setNumThreads(2)
predictor = Predictor.from_pretrained("compact", enhance="off")
predictor.set_image(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
here = [predictor.predict(points=[[x, 150]]).masks.sum() for x in (200, 100)]
torch.rand(900, 900) @ torch.rand(900, 900)
cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)

def work(x):
    torch.rand(900, 900) @ torch.rand(900, 900)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
    return predictor.predict(points=[[x, 150]]).masks.sum()

with multiprocessing.get_context("fork").Pool(2) as pool:
    there = pool.map_async(work, [200, 100]).get(timeout=float(sys.argv[1]))
print(np.abs(np.array(here, int) - np.array(there, int)).max())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_pool_that_forks_after_a_prediction_answers(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), "100"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-800:]
    assert int(done.stdout) <= 4, "pixels by which one thread and several differ"
