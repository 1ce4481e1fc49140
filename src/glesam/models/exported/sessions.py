"""Running one exported graph: ONNX Runtime and OpenVINO behind one call, on the CPU, in float32."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor

from glesam.common.telemetry import decline_telemetry
from glesam.errors import ModelError
from glesam.weights.folders import brief

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Runtime to the Python package that it needs; extras of glesam bear the runtime's name."""

_ONE_CORE = threading.Lock()


def need(package: str, extra: str) -> ModuleType:
    """Import an optional package; see `decline_telemetry`.

    Raises:
        ModelError: it is not installed; says how to install it.
    """
    decline_telemetry()
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelError(
            f"expected the package {package}, got none; install it with: pip install 'glesam[{extra}]'"
        ) from error


def open_session(path: str | Path, runtime: str) -> GraphSession:
    """Load a graph.

    Args:
        path: `.onnx` file, or for OpenVINO also `.xml`.
        runtime: "onnx" or "openvino". Both use as many threads as torch does now.

    Raises:
        ModelError: the runtime is not installed, or the file is damaged.
    """
    loader = {"onnx": OnnxSession, "openvino": OpenvinoSession}[runtime]
    module = need(RUNTIMES[runtime], runtime)
    try:
        return loader(module, Path(path))
    except Exception as error:  # both runtimes raise types of their own, which differ between versions
        raise ModelError(
            f"expected a graph that {RUNTIMES[runtime]} reads in {path}, got {brief(error)}; export the model again"
        ) from error


class GraphSession:
    """A loaded graph: named tensors in, tensors out in the graph's order. Threads may share it."""

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """Run the graph."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The session itself: it remembers nothing of an image, and no runtime lets its part be copied."""
        return self


class OnnxSession(GraphSession):
    """ONNX Runtime on the CPU."""

    def __init__(self, module: Any, path: Path) -> None:
        options = module.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = module.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """See `GraphSession`."""
        return [torch.from_numpy(array) for array in self._session.run(None, _arrays(inputs))]


class OpenvinoSession(GraphSession):
    """OpenVINO on the CPU; each thread has its own request."""

    def __init__(self, module: Any, path: Path) -> None:
        # Without the hint, processors with bfloat16 units would compute in bfloat16.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        with _ONE_CORE:
            core = _core(module)
        self._model = core.compile_model(str(path), "CPU", settings)
        self._requests = threading.local()

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """See `GraphSession`."""
        infer: Callable[[dict[str, Any]], Any] | None = getattr(self._requests, "infer", None)
        if infer is None:
            infer = self._requests.infer = self._model.create_infer_request().infer
        results = infer(_arrays(inputs))
        return [torch.from_numpy(results[index].copy()) for index in range(len(self._model.outputs))]


@cache
def _core(module: Any) -> Any:
    """OpenVINO's core, one for the process and as long as it runs.

    On Linux each core gives the thread that first compiles with it a stack for signals, and unmaps that in the end
    (openvino pull request 11894). Two cores that end in the order in which they began leave the first one's, unmapped,
    to the thread: the next Ctrl-C is then a segmentation fault.
    """
    return module.Core()


def _arrays(inputs: dict[str, Tensor]) -> dict[str, Any]:
    """Tensors as contiguous arrays; both runtimes read memory row by row."""
    return {name: tensor.detach().contiguous().numpy() for name, tensor in inputs.items()}
