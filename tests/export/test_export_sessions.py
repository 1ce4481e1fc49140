"""Sessions of exported graphs, and what their runtimes leave behind in the process."""

import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys
import numpy, openvino
from openvino import opset13
from glesam.models.exported.sessions import open_session

data = opset13.parameter([1, 3], numpy.float32)
openvino.save_model(openvino.Model([opset13.relu(data)], [data]), sys.argv[1])
first, second = (open_session(sys.argv[1], "openvino") for _ in range(2))
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_heard_after_openvino_sessions_ended(tmp_path):
    """With a core for each session, its signal stack is gone, and this is a segmentation fault."""
    pytest.importorskip("openvino")
    graph = str(tmp_path / "graph.xml")
    run = subprocess.run([sys.executable, "-c", SCRIPT, graph], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "interrupted"), run.stderr
