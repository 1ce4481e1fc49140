"""What the measuring script of examples counts, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from examples import Counts, hits


def test_each_object_is_found_once_and_by_the_mask_that_comes_first() -> None:
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2], two[3] = True, True
    nearly = one.copy()
    nearly[0, 0] = False
    assert hits(np.stack([nearly, one, two, one | two]), np.stack([one, two])) == [True, False, True, False]
    assert hits(np.zeros((0, 4, 4), bool), np.stack([one])) == []


@pytest.mark.parametrize("seed", range(4))
def test_recall_at_a_precision_is_the_best_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.random(14).round(1), rng.random(14) < 0.6
    counts = Counts(objects=int(truth.sum()) + 1, proposed=list(zip(scores.tolist(), truth.tolist(), strict=True)))
    recalls = [0.0]
    for threshold in np.unique(scores):
        chosen = scores >= threshold
        if truth[chosen].mean() >= 0.6:
            recalls.append(truth[chosen].sum() / counts.objects)
    assert counts.at_precision(0.6) == pytest.approx(max(recalls))
