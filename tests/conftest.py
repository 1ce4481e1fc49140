"""What holds for all tests."""

from __future__ import annotations

import gc

# Modules that tests import, torch's above all, make a million objects that stay. Looking through the young ones after
# every 700, as Python does, takes a quarter of the time of collecting the tests and some hundredths of running them.
gc.set_threshold(50_000, 20, 100)
