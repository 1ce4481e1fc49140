"""Usage data stays where it is made, unless the program chose otherwise before."""

import importlib
import os
import sys
from types import ModuleType

import pytest

from glesam.common.telemetry import decline_telemetry

SENDER, REPORTS = "openvino_telemetry", "RAY_USAGE_STATS_ENABLED"


def test_the_package_that_sends_is_not_to_be_had_and_ray_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, SENDER, raising=False)
    monkeypatch.delenv(REPORTS, raising=False)
    decline_telemetry()
    with pytest.raises(ImportError):
        importlib.import_module(SENDER)
    assert os.environ[REPORTS] == "0"


def test_what_the_program_chose_stays(monkeypatch):
    chosen = ModuleType(SENDER)
    monkeypatch.setitem(sys.modules, SENDER, chosen)
    monkeypatch.setenv(REPORTS, "1")
    decline_telemetry()
    assert importlib.import_module(SENDER) is chosen
    assert os.environ[REPORTS] == "1"
