"""Fixed calls answer as they were recorded: what is moved and cut anew must not change what it gives.

`recording.json` holds for each call a digest and a few numbers. Numbers are held against their record with a tolerance
on every machine, since libraries round differently on other processors. `GLESAM_RECORDING=exact` compares digests, bit
for bit, which is for the machine that recorded; `GLESAM_RECORDING=write` records anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from evaluate_helpers import make_row, random_rows
from models_tiny import sam2_tiny, sam_tiny

import glesam
from glesam import Masks, Predictor, Prompts
from glesam.degrade import lqseg, real, robustseg

RECORD = Path(__file__).with_name("recording.json")
MODE = os.environ.get("GLESAM_RECORDING", "")
CALLS: dict[str, Callable[[], list[Any]]] = {}


def call(function: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    CALLS[function.__name__] = function
    return function


@cache
def photo() -> np.ndarray:
    path = Path(__file__).parents[1] / "examples" / "photos" / "coffee.jpg"
    return cv2.resize(cv2.imread(str(path)), (300, 200), interpolation=cv2.INTER_AREA)[..., ::-1].copy()


@cache
def predictor(mode: str) -> Predictor:
    made = Predictor.from_pretrained("compact", enhance=mode, refine="off")
    made.set_image(lqseg.degrade(photo(), 2, 5) if mode == "on" else photo())
    return made


@cache
def two_boxes() -> Masks:
    return predictor("off").predict(boxes=[[38, 8, 235, 193], [10, 100, 120, 190]])


def answers(masks: Masks) -> list[Any]:
    return [masks.masks, masks.scores, masks.logits]


@call
def point() -> list[Any]:
    return answers(predictor("off").predict(points=[[150, 80], [20, 20]], labels=[1, 0]))


@call
def boxes() -> list[Any]:
    return answers(two_boxes())


@call
def candidates() -> list[Any]:
    masks = predictor("off").predict(points=[[[150, 80]], [[50, 150]]], labels=[[1], [1]], multimask=True)
    return [*answers(masks), masks.candidates, masks.candidate_scores]


@call
def mask_input() -> list[Any]:
    logits = two_boxes().logits
    assert logits is not None
    return answers(predictor("off").predict(points=[[150, 80]], labels=[1], mask_input=logits[0]))


@call
def enhanced() -> list[Any]:
    return answers(predictor("on").predict(boxes=[38, 8, 235, 193]))


@call
def batch() -> list[Any]:
    made = predictor("off")
    prompts = [Prompts(boxes=[38, 8, 235, 193]), Prompts(points=[[100, 80]], labels=[1])]
    both = made.predict_batch([photo(), photo()[:, :260]], prompts)
    return [*answers(both[0]), *answers(both[1])]


@call
def windows() -> list[Any]:
    found = predictor("off").predict(boxes=[[38, 8, 235, 193]], tile=160)
    return [found.masks, found.scores]


@call
def everything() -> list[Any]:
    found = predictor("off").generate(points_per_side=6, min_mask_region_area=20)
    return [found.masks, found.scores, len(found)]


@call
def sam() -> list[Any]:
    from glesam.models.sam import SamPromptable

    made = Predictor(SamPromptable(sam_tiny()))
    made.set_image(photo())
    return [made.predict(points=[[150, 80]], labels=[1]).logits]


@call
def sam2() -> list[Any]:
    from glesam.models.sam import Sam2Promptable

    made = Predictor(Sam2Promptable(sam2_tiny()))
    made.set_image(photo())
    return [made.predict(points=[[150, 80]], labels=[1], multimask=True).logits]


@call
def lqseg_levels() -> list[Any]:
    return [lqseg.degrade(photo(), level, seed=7) for level in (1, 2, 3)]


@call
def lqseg_test() -> list[Any]:
    return [lqseg.degrade(photo(), 3, seed=7, recipe="test")]


@call
def robustseg_kinds() -> list[Any]:
    return [robustseg.degrade(photo(), kind, 3, seed=7) for kind in ("fog", "motion_blur", "rain")]


@call
def real_kinds() -> list[Any]:
    return [real.degrade(photo(), kind, 3, seed=7) for kind in ("low_light", "haze", "underwater")]


@call
def coco() -> list[Any]:
    text = json.dumps(two_boxes().to_coco(), sort_keys=True)
    # The last digits of scores differ between numbers of threads; texts are compared whole.
    return [json.dumps(json.loads(text, parse_float=lambda number: round(float(number), 3)), sort_keys=True)]


@call
def outlines() -> list[Any]:
    return [len(ring) for rings in two_boxes().to_polygons() for ring in rings]


@call
def overlay() -> list[Any]:
    return [np.asarray(two_boxes().overlay(photo()))]


@call
def report() -> list[Any]:
    from glesam.degrade.levels import parse_levels
    from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results
    from glesam.evaluate.measure.model_specs import parse_models
    from glesam.evaluate.measure.protocol import parse_prompts
    from glesam.evaluate.report.report import make_report, to_markdown

    rows = [*random_rows(models=("a", "b"), prompts=("points:3",)), make_row(level="lq1", iou=0.25)]
    settings = BenchmarkConfig(parse_models(["a,b"]), parse_levels(["clear,lq1"]), parse_prompts(["points:3"]))
    text = to_markdown(make_report(settings, Results(rows, {}), ["A note."]), [])
    return ["\n".join(line for line in text.splitlines() if line.startswith("|"))]


@call
def graphs() -> list[Any]:
    from glesam.export.graphs import graphs as split

    model = glesam.load_model("compact")
    found = []
    for name, graph in split(model).items():
        with torch.inference_mode():
            outputs = graph.module(*graph.example)
        found += [name, *graph.inputs, *graph.outputs, str([tuple(o.shape) for o in outputs])]
    return found


@call
def seeds() -> list[Any]:
    from glesam.common.seeds import generator, level_seed, seed_for, stable_seed

    return [seed_for("a/b.png", 3), level_seed("b", 2, 3), stable_seed("a", 1), int(generator("a", 1).integers(2**40))]


def digest(value: Any) -> str:
    """Short SHA-256 of an array with type and shape, or of a text or number."""
    head = f"{value.dtype}{value.shape}".encode() if isinstance(value, np.ndarray) else b""
    body = np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else str(value).encode()
    return hashlib.sha256(head + body).hexdigest()[:16]


def numbers(value: Any) -> list[Any]:
    """Shape, mean and deviation of an array; texts and numbers themselves, long texts by their digest."""
    if isinstance(value, np.ndarray):
        plain = value.astype(np.float64)
        return [list(value.shape), round(float(plain.mean()), 6), round(float(plain.std()), 6)]
    return [value if isinstance(value, int) or len(value) < 100 else digest(value)]


@pytest.fixture(scope="module")
def recording() -> Any:
    record = {} if MODE == "write" else json.loads(RECORD.read_text("utf-8"))
    yield record
    if MODE == "write":
        RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


@pytest.mark.parametrize("name", CALLS)
def test_calls_answer_as_recorded(name: str, recording: dict[str, Any]) -> None:
    values = [np.asarray(value) if isinstance(value, torch.Tensor) else value for value in CALLS[name]()]
    found = {"digests": [digest(value) for value in values], "numbers": [numbers(value) for value in values]}
    if MODE == "write":
        recording[name] = found
        return
    if MODE == "exact":
        assert found == recording[name]
    for mine, theirs in zip(found["numbers"], recording[name]["numbers"], strict=True):
        assert mine[0] == theirs[0]
        assert mine[1:] == pytest.approx(theirs[1:], rel=5e-3, abs=2e-3)
