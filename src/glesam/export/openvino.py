"""Writing graphs as OpenVINO's `.xml` and `.bin`."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import Any

from glesam.export.graphs import Graph
from glesam.export.onnx import write_onnx
from glesam.models.exported.sessions import need

INT8 = "int8"
"""Name of the extra with what 8-bit weights need."""


def write_openvino(graph: Graph, path: str | Path, int8: bool = False) -> None:
    """Write a graph by way of ONNX: one trace, one set of free axes for both formats.

    Args:
        graph: what to write.
        path: ends in `.xml`; the `.bin` lies beside it.
        int8: store the weights of layers in 8 bits, symmetric, with a scale for each output channel (NNCF); sums are
            still made in float32. Else weights stay float32.

    Raises:
        ModelError: openvino, onnx or (for `int8`) nncf is not installed, or an operation is not known.
        OSError: a file cannot be written.
    """
    openvino = need("openvino", "openvino")
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(graph, Path(folder) / "graph.onnx", extra="openvino")
        model = openvino.convert_model(Path(folder) / "graph.onnx")
        openvino.save_model(_in_8_bits(model) if int8 else model, str(path), compress_to_fp16=False)


def _in_8_bits(model: Any) -> Any:
    """A model with weights of 8 bits, made without data; NNCF's tables and bars are not shown."""
    nncf = need("nncf", INT8)
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
