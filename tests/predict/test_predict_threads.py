"""Threads that share one model: each with a predictor of its own, and the same masks as one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glesam import Predictor
from glesam.errors import PromptError
from glesam.prompts.prompts import Prompts

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
ROUNDS = 3
SMALL = 192


@pytest.fixture(scope="module")
def base() -> Predictor:
    return Predictor.from_pretrained("compact", enhance="on")


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    files = sorted(PHOTOS.glob("*.jpg"))[:3]
    assert len(files) == 3
    return [np.asarray(Image.open(file).convert("RGB").resize((SMALL, 128 + 16 * i))) for i, file in enumerate(files)]


def answers(predictor: Predictor, image: np.ndarray) -> list[np.ndarray]:
    """Logits of clicks, a box and a correction: all that a model keeps of an image is asked for."""
    predictor.set_image(image)
    first = predictor.predict(points=[[90, 60], [40, 40]], labels=[1, 0])
    framed = predictor.predict(boxes=[[10, 10, 150, 100], [40, 20, 180, 120]], multimask=True)
    again = predictor.predict(points=[[90, 60]], start=first)
    return [part.logits for part in (first, framed, again)]


def test_threads_on_one_model_give_what_one_gives(base: Predictor, images: list[np.ndarray]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: equal to the bit
    try:
        expected = [answers(base, image) for image in images]
        start = threading.Barrier(len(images))

        def work(index: int) -> bool:
            own = base.share()
            start.wait(60)
            return all(
                np.array_equal(a, b)
                for _ in range(ROUNDS)
                for a, b in zip(_fresh(own, images[index]), expected[index], strict=True)
            )

        with ThreadPoolExecutor(len(images)) as pool:
            assert list(pool.map(work, range(len(images)))) == [True] * len(images)
    finally:
        torch.set_num_threads(threads)


def _fresh(predictor: Predictor, image: np.ndarray) -> list[np.ndarray]:
    """Answers with the image encoded anew."""
    predictor.reset()
    return answers(predictor, image)


def test_a_shared_predictor_has_an_image_of_its_own(base: Predictor, images: list[np.ndarray]) -> None:
    base.set_image(images[0])
    other = base.share()
    assert other.model is base.model
    assert (other.enhance, other.refine, other.quality, other.name) == ("on", base.refine, base.quality, base.name)
    with pytest.raises(Exception, match="set_image"):
        other.predict(points=[[5, 5]])
    other.set_image(images[1])
    assert base.image_size == images[0].shape[:2]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ({"point_coords": [[5, 5]], "point_labels": [1]}, ["'points' here", "'labels' here"]),
        ({"box": [0, 0, 9, 9], "multimask_output": True}, ["'boxes' here", "'multimask' here"]),
        ({"return_logits": True}, ["as .logits of the result"]),
        ({"pionts": [[5, 5]]}, ["did you mean 'points'?"]),
    ],
)
def test_names_of_segment_anything_are_answered_with_ours(base: Predictor, words: dict, parts: list[str]) -> None:
    with pytest.raises(PromptError) as error:
        base.predict(**words)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("make", [Prompts])
def test_prompts_answer_them_too(make: Callable[..., Prompts]) -> None:
    with pytest.raises(PromptError, match="point_coords is called 'points' here"):
        make(point_coords=[[5, 5]])
    with pytest.raises(PromptError, match="multimask_output"):
        make(points=[[5, 5]], multimask_output=True)
