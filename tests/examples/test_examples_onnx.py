"""The plain onnxruntime example against the predictor, on the bundled model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam import Predictor, load_model
from glesam.export.graphs import graphs
from glesam.export.onnx import write_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base() -> Predictor:
    """The base model: no refinement, no enhancer."""
    return Predictor(load_model("compact"), enhance="off", refine="off")


@pytest.fixture(scope="module")
def exported(base: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoder and decoder as `glesam export` writes them, without its comparison."""
    folder = tmp_path_factory.mktemp("onnx")
    for name, graph in graphs(base.model).items():
        write_onnx(graph, folder / f"{name}.onnx")
    (folder / "config.json").write_text(json.dumps({"image_size": base.model.image_size}))
    return folder


@pytest.mark.parametrize(("size", "point"), [((600, 400), (320, 200)), ((133, 301), (70, 150))])
def test_the_plain_example_gives_our_masks(
    base: Predictor, exported: Path, tmp_path: Path, size: tuple[int, int], point: tuple[int, int]
) -> None:
    Image.open(ROOT / "examples" / "photos" / "coffee.jpg").resize(size).save(tmp_path / "a.png")
    script = ROOT / "examples" / "onnx" / "segment.py"
    words = [exported, tmp_path / "a.png", *point, tmp_path / "mask.png"]
    subprocess.run([sys.executable, script, *map(str, words)], check=True)
    theirs = np.asarray(Image.open(tmp_path / "mask.png")) > 0
    base.set_image(tmp_path / "a.png")
    ours = base.predict(points=[point]).masks[0]
    assert 0 < ours.sum() < ours.size
    assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.999


def test_the_example_needs_nothing_of_ours() -> None:
    text = (ROOT / "examples" / "onnx" / "segment.py").read_text("utf-8")
    imported = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"json", "sys", "pathlib", "cv2", "numpy", "onnxruntime"}
