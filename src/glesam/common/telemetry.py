"""Some packages tell their makers how they are used, unless told not to; glesam tells them not to."""

from __future__ import annotations

import os
import sys


def decline_telemetry() -> None:
    """Keep OpenVINO, NNCF and Ray from sending usage data; to be called before they are first imported.

    OpenVINO and NNCF send events to Google Analytics from their import on, under a number that they keep in `~/intel`;
    both do without the package that sends. Ray reports to its makers from clusters that it starts. What the program
    chose before, by importing that package or setting Ray's variable, stays.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # importing it is then an ImportError
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
