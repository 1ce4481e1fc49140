"""The table of restore-then-segment: means, differences and PSNR where they belong."""

from __future__ import annotations

import numpy as np
from evaluate_helpers import make_row

from restore_then_segment import columns, table


def test_columns_are_the_model_its_enhancer_and_each_restorer() -> None:
    assert columns("m", ["nlm", "unet:a"]).split(",") == [
        "m@enhance=off",
        "m@enhance=auto",
        "m@enhance=off@restore=nlm",
        "m@enhance=off@restore=unet:a",
    ]


def test_the_table_holds_means_differences_and_psnr() -> None:
    values = {("a", "clear"): 0.9, ("a", "lq3"): 0.5, ("b", "clear"): 0.8, ("b", "lq3"): 0.75}
    near = {("a", "clear"): np.inf, ("a", "lq3"): 20.0, ("b", "clear"): 30.0, ("b", "lq3"): 22.0}
    rows = [
        make_row(
            model=m, level=level, iou=iou, psnr=near[m, level], image=f"p{i}", encode_seconds=0.1 if m == "a" else 0.25
        )
        for (m, level), iou in values.items()
        for i in range(5)
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| s | points:3 | a | 0.900, inf dB | 0.500, 20.0 dB | 100 |"
    assert "| 0.750 (+0.250 [+0.250, +0.250]), 22.0 dB | 250 |" in lines[3]
    assert "| 0.800 (-0.100 [-0.100, -0.100]), 30.0 dB |" in lines[3]
