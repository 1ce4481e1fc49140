"""Sessions of exported graphs, and what their runtimes leave behind in the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import signal, sys
import numpy
from glesam.models.exported.sessions import need, open_session

openvino = need("openvino", "openvino")
data = openvino.opset13.parameter([1, 3], numpy.float32)
openvino.save_model(openvino.Model([openvino.opset13.relu(data)], [data]), sys.argv[1])
first, second = (open_session(sys.argv[1], "openvino") for _ in range(2))
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A process that used OpenVINO, and its home."""
    pytest.importorskip("openvino")
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-c", SCRIPT, str(home / "graph.xml")]
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False), home


def test_ctrl_c_is_heard_after_openvino_sessions_ended(ended):
    """With a core for each session, its signal stack is gone, and this is a segmentation fault."""
    run, _ = ended
    assert (run.returncode, run.stdout.strip()) == (0, "interrupted"), run.stderr


def test_openvino_keeps_no_number_of_the_user(ended):
    """It makes one in `~/intel` when it is imported, to send with each event."""
    _, home = ended
    assert {path.name for path in home.iterdir()} == {"graph.xml", "graph.bin"}
