"""Writing graphs as ONNX files."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch

from glesam.common.files import atomic_path
from glesam.errors import ModelError
from glesam.export.graphs import Graph
from glesam.models.exported.sessions import need
from glesam.weights.folders import brief

OPSET = 18
"""Oldest opset with the operations used and the one that runtimes of the last years all read."""


def write_onnx(graph: Graph, path: str | Path, extra: str = "onnx") -> None:
    """Trace a graph and write it as one `.onnx` file.

    The tracing exporter is used: it needs no package beyond torch and onnx, and free axes stay free.

    Args:
        graph: what to write.
        path: ends in `.onnx`.
        extra: glesam's extra that brings the package onnx, for the message if it is not there.

    Raises:
        ModelError: onnx is not installed, or an operation has no ONNX form.
        OSError: the file cannot be written.
    """
    need("onnx", extra)
    noise = io.StringIO()
    with atomic_path(path) as temporary, torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(noise):
        # Warnings about constants of the trace: sizes that are fixed on purpose. The check after export judges.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph.module,
                graph.example,
                str(temporary),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes=graph.dynamic,
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ModelError(
                f"expected operations that ONNX knows, got {brief(error)}; export another model or update torch"
            ) from error
