"""The predictor against a model whose masks are known in closed form, and against transformers' own SAM pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from glesam.errors import ConfigError, GlesamError, ImageError, ModelError, PromptError
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.predict import answers as assembly
from glesam.predict import embedder, modes
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.weights.folders import state_digest

SIDE = 64


class HalfPlane(PromptableModel):
    """Everything right of the mean of an object's points, or of its box's centre; the latent's mean shifts it.

    The logits are linear in x, so bilinear resizing keeps them exact: the mask at full size has a closed form.
    """

    family = "half-plane"
    image_size = SIDE

    def __init__(self, candidates: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.candidates = candidates
        self.batches: list[int] = []
        self.decoded: list[tuple[int, int]] = []

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        size = round(height * scale), round(width * scale)
        return torch.full((1, 3, SIDE, SIDE), float(image.mean())), ImageGeometry((height, width), size, SIDE)

    def encode(self, pixel_values: Tensor) -> Embedding:
        self.batches.append(len(pixel_values))
        return Embedding(torch.zeros(len(pixel_values), 256, 4, 4))

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        self.decoded.append((prompts.shape[1], -1 if prompts.point_coords is None else prompts.point_coords.shape[2]))
        border = torch.stack([self._border(prompts, i) for i in range(prompts.shape[1])]) + embedding.latent.mean()
        count = self.candidates if multimask else 1
        centres = (torch.arange(16) + 0.5) * 4
        # Candidates lie 0, 4 and 8 pixels of the square further right, with scores that depend on the object.
        borders = border[:, None] + 4 * torch.arange(count)
        logits = (centres - borders[..., None])[:, :, None].expand(-1, -1, 16, -1)
        scores = (borders / 7 + torch.arange(count) * 0.4) % 1
        return MaskOutput(logits[None], scores[None])

    @staticmethod
    def _border(prompts: PromptTensors, index: int) -> Tensor:
        xs = []
        if prompts.point_coords is not None and prompts.point_labels is not None:
            assert (prompts.point_labels >= 0).all(), "the predictor promises groups without padding"
            xs += list(prompts.point_coords[0, index, :, 0])
        if prompts.boxes is not None:
            xs += [(prompts.boxes[0, index, 0] + prompts.boxes[0, index, 2]) / 2]
        return torch.stack(xs).mean() if xs else torch.tensor(30.0)

    def save_pretrained(self, folder: str | Path) -> None:
        raise NotImplementedError


def plain(*args: Any, **kwargs: Any) -> Predictor:
    """A predictor that gives the decoder's own masks, which these tests know; see test_predict_finish for others."""
    return Predictor(*args, refine="off", **kwargs)


def photo(height: int = 48, width: int = 64, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def right_of(x: float, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels whose centre is right of x; not for x in the outer half cell, beyond which logits are constant."""
    return np.broadcast_to(np.arange(size[1]) + 0.5 > x, size)


@pytest.fixture
def model() -> HalfPlane:
    return HalfPlane()


# --- masks and their order


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 150), st.integers(40, 150), st.floats(0.2, 0.8))
def test_mask_is_exact_at_the_images_size(height: int, width: int, share: float) -> None:
    p = plain(HalfPlane())
    p.set_image(np.zeros((height, width, 3), np.uint8))
    x = round(share * width) + 0.25
    masks = p.predict(points=[[x, height / 2]], labels=[1])
    assert masks.masks.shape == (1, height, width)
    assert masks.masks.dtype == bool
    assert p.image_size == (height, width)
    wrong = masks.masks[0] != right_of(x, (height, width))
    # Rounding the resized side may move the border within the one column that it cuts.
    assert wrong.any(axis=0).sum() <= 1


def test_result_carries_scores_logits_name_and_info(model: HalfPlane, tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "cat.png")
    p = plain(model)
    p.set_image(tmp_path / "cat.png")
    masks = p.predict(points=[[[10, 5]], [[30, 5]]])
    assert masks.scores.dtype == np.float32
    assert masks.scores == pytest.approx([10 / 7 % 1, 30 / 7 % 1])
    assert masks.logits.shape == (2, 16, 16)
    assert masks.logits[1, 3] == pytest.approx((np.arange(16) + 0.5) * 4 - 30)
    weights = state_digest(model)[:16]
    info = {"model": "half-plane", "enhanced": False, "weights": weights, "refine": "off"}
    assert (masks.name, masks.info) == ("cat.png", info)
    assert masks.candidates is None
    p.set_image(photo(), name="mine")
    assert p.predict(points=[[1, 1]]).name == "mine"


def test_ragged_prompts_come_back_in_the_order_given(model: HalfPlane) -> None:
    p = plain(model)
    p.set_image(photo())
    points = [[[10, 5]], [[20, 5], [30, 9], [40, 2]], [], [[50, 1]], [[8, 8], [16, 8]], [[30, 30]]]
    boxes = [None, None, [4, 4, 20, 20], [10, 10, 30, 30], None, None]
    masks = p.predict(points=points, boxes=boxes)
    borders = [10, 30, 12, (50 + 20) / 2, 12, 30]
    assert np.array_equal(masks.masks, [right_of(x, (48, 64)) for x in borders])
    # The single prompts give the same, so that no object sees another or a padded point.
    for index, border in enumerate(borders):
        box = None if boxes[index] is None else [boxes[index]]
        alone = p.predict(points=[points[index]] if points[index] else None, boxes=box)
        assert np.array_equal(alone.masks[0], right_of(border, (48, 64)))
        assert alone.scores[0] == masks.scores[index]


def test_a_box_over_the_edge_is_cut_for_a_model_that_needs_it_and_the_result_says_so(model: HalfPlane) -> None:
    p = plain(model)
    p.set_image(photo())
    boxes = [[4, 4, 20, 20], [-8, -5, 100, 20]]
    masks = p.predict(boxes=boxes)
    assert masks.info["cut_boxes"] == [1]
    # The middle of what lies in the image is at 32, that of the whole box at 46.
    assert np.array_equal(masks.masks[1], right_of(32, (48, 64)))
    assert p.predict(boxes=boxes, tile=64).info["cut_boxes"] == [1]
    assert "cut_boxes" not in p.predict(boxes=boxes[:1]).info
    model.cuts_boxes = False
    masks = p.predict(boxes=boxes)
    assert "cut_boxes" not in masks.info
    assert np.array_equal(masks.masks[1], right_of(46, (48, 64)))


def test_many_objects_are_decoded_in_bounded_chunks_in_order(model: HalfPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    p = plain(model)
    p.set_image(photo())
    points = np.random.default_rng(1).uniform(3, 47, (150, 1, 2)).astype(np.float32)
    whole = p.predict(points=points)
    assert [n for n, _ in model.decoded] == [8] * 18 + [6]
    assert np.array_equal(whole.masks, [right_of(x, (48, 64)) for x in points[:, 0, 0]])
    monkeypatch.setitem(embedder.PROMPTS_PER_CHUNK, "cpu", 31)
    monkeypatch.setattr(assembly, "RESTORE_FLOATS", 3 * (64 * 64 + 48 * 64))  # three masks at a time
    small = p.predict(points=points)
    assert np.array_equal(small.masks, whole.masks)
    assert np.array_equal(small.scores, whole.scores)
    assert np.array_equal(small.logits, whole.logits)


def test_enlarging_holds_few_masks_at_a_time(model: HalfPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    p = plain(model)
    p.set_image(photo())
    sizes: list[int] = []
    restore = ImageGeometry.restore
    monkeypatch.setattr(ImageGeometry, "restore", lambda g, x: (sizes.append(len(x)), restore(g, x))[1])
    monkeypatch.setattr(assembly, "RESTORE_FLOATS", 5 * (64 * 64 + 48 * 64))
    p.predict(points=[[[x, 3]] for x in range(8)], multimask=True)
    assert sizes == [5, 5, 5, 5, 4]


def test_multimask_gives_candidates_and_the_best_of_them(model: HalfPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "RESTORE_FLOATS", 2 * (64 * 64 + 48 * 64))
    p = plain(model)
    p.set_image(photo())
    xs = [10, 14.1, 28.3, 33]
    masks = p.predict(Prompts(points=[[[x, 5]] for x in xs]), multimask=True)
    assert masks.candidates is not None
    assert masks.candidate_scores is not None
    assert masks.candidates.shape == (4, 3, 48, 64)
    best_ones = set()
    for i, x in enumerate(xs):
        scores = [((x + 4 * c) / 7 + 0.4 * c) % 1 for c in range(3)]
        assert masks.candidate_scores[i] == pytest.approx(scores, abs=1e-6)
        for c in range(3):
            assert np.array_equal(masks.candidates[i, c], right_of(x + 4 * c, (48, 64)))
        best = int(np.argmax(scores))
        best_ones.add(best)
        assert np.array_equal(masks.masks[i], right_of(x + 4 * best, (48, 64)))
        assert masks.scores[i] == pytest.approx(scores[best], abs=1e-6)
        assert masks.logits[i, 0] == pytest.approx((np.arange(16) + 0.5) * 4 - x - 4 * best, abs=1e-5)
    assert len(best_ones) > 1, "the test needs objects with different best candidates"


def test_mask_input_reaches_the_decoder(model: HalfPlane) -> None:
    p = plain(model)
    p.set_image(photo())
    first = p.predict(points=[[20, 5]])
    assert len(p.predict(points=[[20, 5]], mask_input=first.logits)) == 1
    assert len(p.predict(mask_input=first.logits[0])) == 1


def test_a_model_with_another_number_of_candidates_is_refused() -> None:
    p = plain(HalfPlane(candidates=2))
    p.set_image(photo())
    with pytest.raises(ModelError, match=r"expected 3 candidates.*got 2"):
        p.predict(points=[[1, 1]], multimask=True)


# --- one encoding an image


def test_thousand_prompts_never_encode_twice(model: HalfPlane) -> None:
    p = plain(model)
    p.set_image(photo())
    for x in range(500):
        p.predict(points=[[x % 60, 3]])
    p.predict(points=[[[x % 60, 3]] for x in range(500)])
    assert model.batches == [1]


def test_the_same_content_is_encoded_once_wherever_it_comes_from(model: HalfPlane, tmp_path: Path) -> None:
    image = photo()
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    p = plain(model)
    for source in (image, path, str(path), path.read_bytes(), Image.fromarray(image), image.copy()):
        p.set_image(source)
        assert p.image_size == (48, 64)
    assert model.batches == [1]
    p.set_image(image[:, ::-1])
    assert model.batches == [1, 1]


def test_the_last_three_images_are_kept(model: HalfPlane) -> None:
    p = plain(model)
    a, b, c, d = (photo(seed=i) for i in range(4))
    for image in (a, b, c):
        p.set_image(image)
    p.set_image(a)  # now the youngest: d pushes b out
    p.set_image(d)
    assert len(model.batches) == 4
    for image in (a, c, d):
        p.set_image(image)
    assert len(model.batches) == 4
    p.set_image(b)
    assert len(model.batches) == 5
    p.reset()
    with pytest.raises(ImageError, match="set_image"):
        p.predict(points=[[1, 1]])
    p.set_image(b)
    assert len(model.batches) == 6


def test_cache_size_is_kept(model: HalfPlane) -> None:
    p = plain(model, cache_size=1)
    p.set_image(photo(seed=0))
    p.set_image(photo(seed=1))
    p.set_image(photo(seed=0))
    assert len(model.batches) == 3
    with pytest.raises(ConfigError, match="cache_size of at least 1, got 0"):
        plain(model, cache_size=0)


def test_a_failed_image_leaves_none_set(model: HalfPlane, tmp_path: Path) -> None:
    p = plain(model)
    p.set_image(photo())
    with pytest.raises(ImageError, match="no file"):
        p.set_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="got none"):
        p.predict(points=[[1, 1]])
    with pytest.raises(ImageError, match="got none"):
        _ = p.image_size


# --- the enhancer


class Shift:
    """An enhancer that moves the half plane 8 pixels of the square to the right, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, latent: Tensor) -> Tensor:
        self.calls += 1
        return latent + 8


def border_of(p: Predictor) -> float:
    """Where the half plane of a point at x = 20 begins."""
    return float(np.flatnonzero(p.predict(points=[[20, 5]]).masks[0, 0])[0])


def test_on_enhances_once_an_image(model: HalfPlane) -> None:
    shift = Shift()
    p = plain(model, "on", shift)
    p.set_image(photo())
    for _ in range(3):
        assert border_of(p) == 28
    assert (shift.calls, model.batches) == (1, [1])
    assert p.predict(points=[[1, 1]]).info["enhanced"] is True


def test_off_is_the_base_model_bit_for_bit(model: HalfPlane) -> None:
    shift = Shift()
    base, off = plain(model), plain(model, "off", shift, gate=lambda latent: True)
    for each in (base, off):
        each.set_image(photo())
    ours, theirs = (each.predict(points=[[20.3, 5]], multimask=True) for each in (off, base))
    assert ours.logits.tobytes() == theirs.logits.tobytes()
    assert np.array_equal(ours.masks, theirs.masks)
    assert shift.calls == 0
    assert ours.info["enhanced"] is False


def test_raw_and_enhanced_are_kept_apart(model: HalfPlane) -> None:
    shift = Shift()
    p = plain(model, "off", shift)
    a, b = photo(seed=1), photo(seed=2)
    for image in (a, b):
        p.set_image(image)
        assert border_of(p) == 20
    p.enhance = "on"
    assert border_of(p) == 28
    p.set_image(a)
    assert border_of(p) == 28
    p.enhance = "off"
    assert border_of(p) == 20
    assert (shift.calls, model.batches) == (2, [1, 1])


@pytest.mark.parametrize(("degraded", "border"), [(True, 28), (False, 20)])
def test_auto_asks_the_gate_once_an_image(model: HalfPlane, degraded: bool, border: int) -> None:
    seen: list[tuple[int, ...]] = []
    p = plain(model, "auto", Shift(), gate=lambda latent: (seen.append(tuple(latent.shape)), degraded)[1])
    p.set_image(photo())
    assert border_of(p) == border_of(p) == border
    assert seen == [(1, 256, 4, 4)]


def test_auto_without_enhancer_is_the_base_and_without_gate_enhances(model: HalfPlane) -> None:
    for p, border in ((plain(model), 20), (plain(model, "auto", Shift()), 28)):
        p.set_image(photo())
        assert border_of(p) == border


def test_on_needs_an_enhancer(model: HalfPlane) -> None:
    with pytest.raises(ModelError, match=r'enhancer for enhance="on".*use enhance="auto"'):
        plain(model, "on")
    p = plain(model)
    with pytest.raises(ModelError, match="enhancer"):
        p.enhance = "on"
    assert p.enhance == "auto"
    with pytest.raises(ConfigError, match="on, off, auto, got 'maybe'"):
        plain(model, "maybe")


def test_an_enhancer_for_another_model_is_refused(model: HalfPlane) -> None:
    p = plain(model, "on", lambda latent: latent[..., :2])
    with pytest.raises(ModelError, match=r"\(1, 256, 4, 4\), got \(1, 256, 4, 2\)"):
        p.set_image(photo())
    with pytest.raises(ImageError):
        p.predict(points=[[1, 1]])


# --- many images


def test_batch_equals_one_by_one(model: HalfPlane) -> None:
    images = [photo(48, 64, 0), photo(64, 30, 1), photo(20, 20, 2), photo(48, 64, 0), photo(33, 64, 4)]
    prompts = [Prompts(points=[[x, 3]]) for x in (10, 12, 14, 16, 18)]
    p = plain(model)
    p.set_image(photo(seed=9))
    many = p.predict_batch(images, prompts, batch_size=4)
    assert model.batches == [1, 3, 1], "the fourth picture is the first again"
    assert p.image_size == (48, 64)
    assert [m.size for m in many] == [(48, 64), (64, 30), (20, 20), (48, 64), (33, 64)]
    for image, wish, batched in zip(images, prompts, many, strict=True):
        alone = plain(HalfPlane())
        alone.set_image(image)
        assert np.array_equal(alone.predict(wish).masks, batched.masks)


def test_a_batch_of_several_shapes_is_encoded_without_padding() -> None:
    model = CompactModel(CompactConfig(backbone="lite0", attention_blocks=1, conv_blocks=1)).eval()
    images = [photo(48, 64, 0), photo(64, 30, 1), photo(48, 64, 2), photo(20, 20, 3)]
    prompts = [Prompts(points=[[x, 3]]) for x in (10, 12, 14, 16)]
    shapes: list[tuple[int, ...]] = []
    model.encoder.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape)))
    many = plain(model).predict_batch(images, prompts)
    assert shapes == [(2, 3, 384, 512), (1, 3, 512, 256), (1, 3, 512, 512)]
    for image, wish, batched in zip(images, prompts, many, strict=True):
        alone = plain(model)
        alone.set_image(image)
        np.testing.assert_allclose(alone.predict(wish).logits, batched.logits, atol=1e-4)


def test_batch_names_files_and_keeps_the_current_images_name(model: HalfPlane, tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "other.png")
    p = plain(model)
    p.set_image(photo(), name="mine")
    one = Prompts(points=[[1, 1]])
    assert [m.name for m in p.predict_batch([tmp_path / "other.png", photo()], [one, one])] == ["other.png", None]
    assert p.predict(one).name == "mine"


def test_batch_refuses_what_does_not_fit(model: HalfPlane) -> None:
    p, one = plain(model), Prompts(points=[[1, 1]])
    with pytest.raises(PromptError, match="each of 2 images, got 1"):
        p.predict_batch([photo(), photo()], [one])
    with pytest.raises(PromptError, match=r"image 1: expected points inside the image of 64x48 pixels, got \(64"):
        p.predict_batch([photo(seed=0), photo(seed=1)], [one, Prompts(points=[[64, 3]])])
    with pytest.raises(ConfigError, match="batch_size of at least 1, got 0"):
        p.predict_batch([photo()], [one], batch_size=0)
    assert p.predict_batch([], []) == []


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "got none"),
        ({"points": [[64, 0]]}, "inside the image of 64x48 pixels"),
        ({"points": [[0, 48]]}, "inside the image"),
        ({"points": [[-1, 5]]}, "inside the image"),
        ({"points": [[float("nan"), 5]]}, "finite"),
        ({"points": [[1, 5]], "labels": [1, 0]}, "one label per point"),
        ({"points": [[1, 5]], "labels": [2]}, "labels 1"),
        ({"labels": [1]}, "points beside labels"),
        ({"boxes": [30, 5, 10, 20]}, "x1 > x0"),
        ({"boxes": [[70, 5, 90, 20]]}, "touch the image"),
        ({"points": [[[1, 1]], [[2, 2]]], "boxes": [[0, 0, 5, 5]]}, "as many objects"),
        ({"points": [[1, 5]], "mask_input": np.zeros((17, 16), np.float32)}, "mask input of 16x16.*got 16x17"),
        ({"prompts": Prompts(points=[[1, 1]]), "boxes": [0, 0, 5, 5]}, "got both"),
    ],
)
def test_bad_prompts_are_refused_in_one_line(model: HalfPlane, arguments: dict[str, object], message: str) -> None:
    p = plain(model)
    p.set_image(photo())
    with pytest.raises(PromptError, match=message) as caught:
        p.predict(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert model.decoded == []


# --- real models


def test_bfloat16_is_close_to_float32() -> None:
    from glesam.models.compact.model import CompactConfig, CompactModel

    torch.manual_seed(0)
    model = CompactModel(CompactConfig(backbone="lite0", image_size=128)).eval()
    image = np.array(Image.fromarray(photo(8, 8)).resize((200, 150), Image.Resampling.BICUBIC))
    latents, masks = [], []
    for dtype in ("float32", "bfloat16"):
        p = plain(model, dtype=dtype)
        p.set_image(image)
        latents.append(p.session.encoded.raw.latent)
        masks.append(p.predict(points=[[[50, 40]], [[150, 100]]], multimask=True))
    assert latents[1].dtype == torch.float32
    error = (latents[1] - latents[0]).norm() / latents[0].norm()
    assert 0 < error < 0.02  # bfloat16 rounds to 2 ** -9, over some fifty layers
    spread = np.abs(masks[0].logits).max()
    assert np.abs(masks[1].logits - masks[0].logits).max() < 0.05 * spread
    assert masks[1].candidate_scores == pytest.approx(masks[0].candidate_scores, abs=0.02)


def test_same_as_transformers_own_pipeline(tmp_path: Path) -> None:
    from transformers import SamConfig, SamModel
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    torch.manual_seed(0)
    vision = {"hidden_size": 24, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_dim": 48}
    vision |= {"image_size": 64, "window_size": 3, "global_attn_indexes": [1], "num_pos_feats": 16}
    vision |= {"initializer_range": 0.2}
    prompt = {"hidden_size": 32, "image_size": 64}
    decoder = {"hidden_size": 32, "mlp_dim": 48, "iou_head_hidden_dim": 40, "layer_norm_eps": 1e-5}
    theirs = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)).eval()
    theirs.save_pretrained(tmp_path)
    image = photo(45, 70)
    points, labels = [[[10.0, 20.0], [60.0, 30.0]], [[33.0, 4.0], [12.0, 40.0]]], [[1, 0], [1, 1]]

    p = Predictor.from_pretrained(tmp_path, device="cpu", refine="off")
    p.set_image(image)
    ours = p.predict(points=points, labels=labels, multimask=True)

    processor = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    inputs = processor(image, return_tensors="pt")
    scale = torch.tensor([64 / 70, 41 / 45])
    with torch.no_grad():
        output = theirs(
            pixel_values=inputs["pixel_values"],
            input_points=torch.tensor(points)[None] * scale,
            input_labels=torch.tensor(labels)[None],
            multimask_output=True,
        )
    masks = processor.post_process_masks(
        output.pred_masks,
        inputs["original_sizes"],
        inputs["reshaped_input_sizes"],
        pad_size={"height": 64, "width": 64},
    )[0]
    assert ours.candidates is not None
    assert 0.02 < masks.float().mean() < 0.98, "the test needs masks that are neither empty nor full"
    assert (ours.candidates != masks.numpy()).mean() < 1e-3  # borders, by rounding
    assert ours.candidate_scores == pytest.approx(output.iou_scores[0].numpy(), abs=1e-5)
    assert ours.info["model"] == str(tmp_path)


def test_a_predictor_that_was_loaded_in_inference_mode_answers_and_can_be_trained(tmp_path: Path) -> None:
    tiny = CompactConfig(backbone="lite0", image_size=64, attention_blocks=1, conv_blocks=1)
    torch.manual_seed(0)
    CompactModel(tiny).eval().save_pretrained(tmp_path)
    with torch.inference_mode():
        inside = Predictor.from_pretrained(tmp_path)
    outside = Predictor.from_pretrained(tmp_path)
    for p in (inside, outside):
        p.set_image(photo(64, 64))
    answers = [p.predict(points=[[20, 30]]).logits for p in (inside, outside)]
    np.testing.assert_array_equal(*answers)
    assert not any(parameter.is_inference() for parameter in inside.session.model.parameters())


def test_from_pretrained_refuses_slips_before_loading(tmp_path: Path) -> None:
    for arguments, kind, message in [
        ({"enhance": "yes"}, ConfigError, "got 'yes'"),
        ({"dtype": "float64"}, ConfigError, "float32, bfloat16, got 'float64'"),
        ({"name": "sam-vit-bb"}, ModelError, "did you mean 'sam-vit-b"),
        ({"name": str(tmp_path / "none")}, ModelError, "none"),
        ({"device": "gpu"}, ModelError, "got 'gpu'"),
    ]:
        with pytest.raises(kind, match=message) as caught:
            Predictor.from_pretrained(**arguments)
        assert isinstance(caught.value, GlesamError)


def test_auto_device_is_one_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert modes.pick_device("auto") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert modes.pick_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert modes.pick_device("auto") == "cuda"
    assert modes.pick_device("cpu") == "cpu"


def test_model_is_put_into_evaluation_mode(model: HalfPlane) -> None:
    assert not plain(model.train()).model.training
