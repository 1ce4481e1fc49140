"""Bounded memory of images and embeddings; embeddings are the library's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from serve_helpers import encoded, text_of
from torch import Tensor

from glesam.enhance.pipeline import Restoration
from glesam.images.reading import content_hash, read
from glesam.predict.predictor import Predictor
from glesam.serve.refusals import RefusalError
from glesam.serve.stored_images import AbsentEmbeddingError, EmbeddingCache, ImageStore, KeyedPredictor, StoredImage


class Shift(torch.nn.Module):
    """An enhancer with a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, latent: Tensor) -> Tensor:
        return latent + self.offset


def test_store_keeps_the_last_used_within_its_bytes() -> None:
    store = ImageStore(100)
    for name in "abc":
        store.put(name, StoredImage(name.encode() * 30, (1, 1)))
    store.get("a")
    store.put("d", StoredImage(b"d" * 30, (1, 1)))
    assert [len(store), store.total_bytes] == [3, 90]
    assert store.get("a").data == b"a" * 30
    with pytest.raises(RefusalError, match=r"^expected the id of an embedded image, got 'b', ") as gone:
        store.get("b")
    assert gone.value.status == 404


def test_store_counts_the_same_image_once() -> None:
    store = ImageStore(100)
    for _ in range(5):
        store.put("a", StoredImage(b"x" * 60, (1, 1)))
    assert (len(store), store.total_bytes) == (1, 60)


def test_evicted_embeddings_come_back_equal(tiny: Predictor) -> None:
    pictures = [read(encoded(seed)) for seed in range(3)]
    keys = [content_hash(p) for p in pictures]
    cache = EmbeddingCache(tiny, 2)
    first = [cache.get(k, p, "off").predict(points=[[20, 20]]) for k, p in zip(keys, pictures, strict=True)]
    assert [k in cache for k in keys] == [False, True, True]
    with pytest.raises(AbsentEmbeddingError):
        cache.get(keys[0], None, "off")
    again = cache.get(keys[0], pictures[0], "off").predict(points=[[20, 20]])
    assert np.array_equal(again.logits, first[0].logits)
    assert (cache.hits, cache.misses, cache.evictions, len(cache)) == (0, 4, 2, 2)
    for picture, mine in zip(pictures, first, strict=True):
        tiny.set_image(picture)
        assert np.array_equal(tiny.predict(points=[[20, 20]]).logits, mine.logits)


def test_recall_switches_between_images_without_pixels(tiny: Predictor) -> None:
    pictures = [read(encoded(seed, width=40 + 8 * seed)) for seed in range(2)]
    cache = EmbeddingCache(tiny, 4)
    for picture in pictures:
        cache.get(content_hash(picture), picture, "off")
    for picture in (*pictures, *pictures):
        tiny.set_image(picture)
        mine = cache.get(content_hash(picture), None, "off").predict(boxes=[[3, 4, 30, 30]])
        assert np.array_equal(mine.masks, tiny.predict(boxes=[[3, 4, 30, 30]]).masks)
    assert cache.hits == 4


def test_copies_share_weights_and_nothing_else(tiny: Predictor) -> None:
    shift = Shift()
    for base in (Predictor(tiny.model, enhancer=shift), Predictor(tiny.model, enhancer=Restoration(shift))):
        copy = KeyedPredictor.like(base, 1, "float32")
        assert copy.model is not base.model
        pairs = zip(base.model.parameters(), copy.model.parameters(), strict=True)
        assert all(mine is theirs for mine, theirs in pairs)
        found = copy.enhancer.enhancer if isinstance(copy.enhancer, Restoration) else copy.enhancer
        assert found is not shift
        assert isinstance(found, Shift)
        assert found.offset is shift.offset


def test_gate_and_modes_are_those_of_the_predictor(tiny: Predictor) -> None:
    picture = read(encoded(1))
    for verdict in (True, False):
        base = Predictor(tiny.model, "auto", Shift(), lambda _, v=verdict: v)
        cache = EmbeddingCache(base, 2)
        assert cache.get("", picture, "off").degraded is None
        assert cache.get("", picture, "auto").degraded is verdict  # an image that is known by another mode
        base.set_image(picture)
        for mode in ("auto", "on", "off"):
            base.enhance = mode
            mine = cache.get(content_hash(picture), None, mode).predict(points=[[20, 20]])
            theirs = base.predict(points=[[20, 20]])
            assert np.array_equal(mine.logits, theirs.logits)
            assert mine.info["enhanced"] is theirs.info["enhanced"]
    assert EmbeddingCache(tiny, 1).get("", picture, "auto").degraded is None


def test_two_threads_on_two_caches_do_not_mix_images(tiny: Predictor) -> None:
    from glesam.models.registry import load_model

    # The compact model's decoder keeps the projections of its last image.
    base = Predictor(load_model("compact"))
    pictures = [read(encoded(seed, 64, 48)) for seed in range(2)]
    expected = []
    for picture in pictures:
        base.set_image(picture)
        expected.append(base.predict(points=[[30, 20]]).logits)
    found: list[list[bool]] = [[], []]

    def work(index: int) -> None:
        cache = EmbeddingCache(base, 1)
        key = content_hash(pictures[index])
        for _ in range(6):
            got = cache.get(key, None if key in cache else pictures[index], "auto").predict(points=[[30, 20]]).logits
            found[index].append(bool(np.allclose(got, expected[index], atol=1e-3)))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[True] * 6] * 2
    assert not np.allclose(*expected, atol=1e-3)


def test_an_exported_folder_is_served(make_client: Callable[..., TestClient], tmp_path: Path) -> None:
    """Its sessions cannot be copied, as other modules are for each lane."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from heads_tiny import tiny as tiny_of

    from glesam.export.folder import export

    export(Predictor(tiny_of("compact"), refine="off"), tmp_path / "onnx", "onnx", [read(encoded(2))])
    predictor = Predictor.from_pretrained(tmp_path / "onnx", refine="off")
    client = make_client(predictor=predictor)
    request = {"image": text_of(encoded(1)), "objects": [{"points": [[20, 20]]}]}
    answer = client.post("/v1/segment", json=request)
    assert answer.status_code == 200, answer.text
    predictor.set_image(read(encoded(1)))
    score = float(predictor.predict(points=[[20, 20]]).scores[0])
    assert answer.json()["objects"][0]["score"] == pytest.approx(score, abs=1e-4)
