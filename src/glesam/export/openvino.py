"""Writing graphs as OpenVINO's `.xml` and `.bin`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from glesam.export.graphs import Graph
from glesam.export.onnx import write_onnx
from glesam.models.exported.sessions import need


def write_openvino(graph: Graph, path: str | Path) -> None:
    """Write a graph by way of ONNX: one trace, one set of free axes for both formats. Weights stay float32.

    Args:
        graph: what to write.
        path: ends in `.xml`; the `.bin` lies beside it.

    Raises:
        ModelError: openvino or onnx is not installed, or an operation is not known.
        OSError: a file cannot be written.
    """
    openvino = need("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(graph, Path(folder) / "graph.onnx", extra="openvino")
        model = openvino.convert_model(Path(folder) / "graph.onnx")
        openvino.save_model(model, str(path), compress_to_fp16=False)
