"""Exported folders: made, checked, refused, and run through the predictor like any model."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from typer.testing import CliRunner

from glesam.cli import app
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ConfigError, ModelError
from glesam.export import check, folder
from glesam.models.exported import sessions
from glesam.models.exported.model import runtime_of
from glesam.models.registry import load_model
from glesam.predict.predictor import Predictor

pytest.importorskip("onnx")

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


class Inverted:
    """A restorer that changes every image."""

    name, key = "inverted", "1"

    def restore(self, image, name=None):
        return 255 - image


@pytest.fixture(scope="module")
def restored(small_models) -> Predictor:
    """A torch predictor with every kind of part: enhancer, gate, skips, tuned encoder and decoder, a second size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        enhancer, gate, skips = ResidualEnhancer(256, 16, 1), DegradationGate(), SkipAdapter("attenuate")
        torch.nn.init.normal_(enhancer.tail.weight, std=0.02)
    for slope in skips.parameters():
        slope.data.fill_(0.4)
    rules = [LevelRule(), LevelRule(above=2.9, image_size=64)]
    tuned = copy.deepcopy(small_models[False])
    tuned.encoder.neck.norm.weight.data.mul_(1.3)
    parts = Restoration(enhancer.eval(), gate.eval(), skips.eval(), small_models[True], rules, encoder=tuned)
    return Predictor(small_models[False], "auto", parts)


@pytest.fixture(scope="module", params=PACKAGES)
def exported(request, restored, tmp_path_factory) -> tuple[str, Path, check.GraphComparison]:
    pytest.importorskip(PACKAGES[request.param])
    path = tmp_path_factory.mktemp("exports") / request.param
    return request.param, path, folder.export(restored, path, request.param, [skimage.data.coffee()])


def test_the_comparison_saw_every_part_and_passed(exported):
    _, _, comparison = exported
    parts = {"latent", "skip4", "skip8", "enhanced", "level", "restored skip4", "logits", "scores"}
    assert parts <= comparison.errors.keys()
    assert comparison.lowest >= 0.995
    assert all(0 <= error < 1e-2 for error in comparison.errors.values())
    assert comparison.images == 1
    assert sum(map(len, comparison.ious.values())) == 2 * (1 + 1 + 1 + 4 + 12 + 4 + 4 + 12 + 4)


@pytest.mark.parametrize("enhance", ["off", "on", "auto"])
def test_predictor_runs_the_folder_as_torch_runs_the_model(exported, restored, enhance):
    runtime, path, _ = exported
    predictor = Predictor.from_pretrained(path, enhance=enhance, runtime=runtime)
    restored.enhance = enhance
    photos = [skimage.data.cat(), skimage.data.astronaut()]
    prompts = {"points": [[[120, 80], [60, 40]], [[200, 150]]], "boxes": [[10, 20, 200, 180], [90, 60, 280, 290]]}
    for photo in photos:
        masks = []
        for model in (predictor, restored):
            model.set_image(photo)
            masks.append(model.predict(**prompts, multimask=True))
        union = (masks[0].candidates | masks[1].candidates).sum(axis=(2, 3))
        same = (masks[0].candidates & masks[1].candidates).sum(axis=(2, 3))
        assert (same >= 0.995 * union).all()
        assert masks[0].candidates.any()
        assert masks[0].info["enhanced"] == masks[1].info["enhanced"]
        np.testing.assert_allclose(masks[0].scores, masks[1].scores, atol=1e-3)


def test_a_batch_of_images_equals_one_by_one(exported):
    _, path, _ = exported
    predictor = Predictor.from_pretrained(path)
    photos = [skimage.data.cat(), skimage.data.coffee()]
    pixels = torch.cat([predictor.model.preprocess(photo)[0] for photo in photos])
    both = predictor.model.encode(pixels)
    for index in range(2):
        alone = predictor.model.encode(pixels[index, None])
        torch.testing.assert_close(both.latent[index, None], alone.latent, atol=1e-4, rtol=1e-4)


def test_the_format_is_found_without_naming_the_runtime_and_openvino_reads_onnx(exported):
    runtime, path, _ = exported
    assert runtime_of(path) == runtime
    assert Predictor.from_pretrained(path).model.files.runtime == runtime
    if runtime == "onnx":
        pytest.importorskip("openvino")
        assert Predictor.from_pretrained(path, runtime="openvino").model.files.runtime == "openvino"
    else:
        with pytest.raises(ModelError, match="format onnx"):
            Predictor.from_pretrained(path, runtime="onnx")


def test_an_exported_folder_is_a_family_like_the_others(exported):
    _, path, _ = exported
    model = load_model(path)
    predictor = Predictor.from_pretrained(path)
    assert isinstance(model, type(predictor.model))
    pixels, _ = model.preprocess(skimage.data.cat())
    assert torch.equal(model.encode(pixels).latent, predictor.model.encode(pixels).latent)
    with pytest.raises(ConfigError, match="float32"):
        load_model(path, dtype="bfloat16")


def test_results_name_the_exported_weights(exported, small_models):
    _, path, _ = exported
    digests = set()
    for predictor in (Predictor.from_pretrained(path, enhance="off"), Predictor(small_models[False])):
        predictor.set_image(skimage.data.cat())
        digests.add(predictor.predict(points=[[100, 100]]).info["weights"])
    assert len(digests) == 2


def test_a_changed_file_is_refused(exported, tmp_path):
    _, path, _ = exported
    Predictor.from_pretrained(path).model.save_pretrained(tmp_path / "copy")
    victim = next(p for p in sorted((tmp_path / "copy").iterdir()) if p.name.startswith("decoder"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="SHA-256"):
        Predictor.from_pretrained(tmp_path / "copy")


def test_what_does_not_fit_an_exported_folder_is_refused_in_one_line(exported):
    _, path, _ = exported
    for wrong, kind, text in [
        ({"runtime": "tensorrt"}, ConfigError, "runtime of onnx, openvino"),
        ({"device": "cuda"}, ModelError, "expected the cpu"),
        ({"dtype": "bfloat16"}, ConfigError, "float32"),
        ({"enhancer": "somewhere"}, ConfigError, "enhancer somewhere"),
    ]:
        with pytest.raises(kind, match=text) as caught:
            Predictor.from_pretrained(path, **wrong)
        assert "\n" not in str(caught.value)


def test_a_runtime_asks_for_an_exported_folder():
    with pytest.raises(ModelError, match="glesam export --model compact --format onnx"):
        Predictor.from_pretrained("compact", runtime="onnx")


@pytest.mark.parametrize("runtime", PACKAGES)
def test_a_missing_runtime_is_one_line_with_the_cure(runtime, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[runtime], None)
    with pytest.raises(ModelError, match=rf"pip install 'glesam\[{runtime}\]'"):
        sessions.open_session(tmp_path / "graph.onnx", runtime)


def test_an_export_that_differs_is_refused_and_leaves_nothing(small_models, tmp_path, monkeypatch):
    """The exported decoder gets one wrong weight: the check must see it, whatever else is right."""
    pytest.importorskip("onnxruntime")
    real = folder.graphs

    def spoiled(model, restoration):
        parts = real(model, restoration)
        graph = parts["decoder"].module
        graph.positions += 0.3
        return parts

    monkeypatch.setattr(folder, "graphs", spoiled)
    with pytest.raises(ModelError, match=r"IoU of at least 0\.995"):
        folder.export(Predictor(small_models[True]), tmp_path / "out", "onnx", [skimage.data.cat()])
    assert list(tmp_path.iterdir()) == []


def test_nan_never_passes_the_check():
    result = check.GraphComparison(ious={"a": [1.0]})
    result.note("latent", torch.tensor([float("nan")]), torch.tensor([0.0]))
    result.note("latent", torch.tensor([1.0]), torch.tensor([0.0]))
    with pytest.raises(ModelError, match="not finite in latent"):
        result.require()


def test_a_folder_that_is_there_is_kept_unless_it_is_an_export(restored, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="--overwrite"):
        folder.export(restored, tmp_path / "mine")
    with pytest.raises(ConfigError, match="which is none"):
        folder.export(restored, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    with pytest.raises(ConfigError, match="format of onnx, openvino"):
        folder.export(restored, tmp_path / "new", "tflite")


def test_weights_of_8_bits_are_a_quarter_and_answer_alike(small_models, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from glesam.export.graphs import graphs
    from glesam.export.openvino import write_openvino

    graph = graphs(small_models[True], None)["encoder"]
    for name, int8 in (("whole", False), ("small", True)):
        write_openvino(graph, tmp_path / f"{name}.xml", int8)
    sizes = [(tmp_path / f"{name}.bin").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < 0.35 * sizes[1]
    wanted = graph.module(*graph.example)[0]
    found = sessions.open_session(tmp_path / "small.xml", "openvino")(pixel_values=graph.example[0])[0]
    assert not torch.equal(found, wanted)
    assert (found - wanted).norm() < 0.1 * wanted.norm()


def test_weights_of_8_bits_need_openvino_and_a_package(restored, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ConfigError, match="expected int8 with the format openvino, got onnx"):
        folder.export(restored, tmp_path / "new", "onnx", int8=True)
    with pytest.raises(ModelError, match=r"expected the package nncf, got none; .*glesam\[int8\]"):
        folder.export(restored, tmp_path / "new", "openvino", int8=True)


def test_the_command_exports_checks_and_segment_runs_it(small_models, tmp_path):
    pytest.importorskip("onnxruntime")
    small_models[True].save_pretrained(tmp_path / "model")
    photo = Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg"
    output = str(tmp_path / "out")
    arguments = ["export", "--model", str(tmp_path / "model"), "-o", output, "--image", str(photo)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "least IoU" in result.output
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["graphs"]["decoder"]["free_axes"]["point_coords"] == {"0": "prompts", "1": "points"}
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    result = CliRunner().invoke(
        app, ["segment", str(photo), "--point", "200,150", "--model", output, "-o", str(tmp_path / "mask.png")]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mask.png").stat().st_size > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda config: config.pop("files"),
        lambda config: config.pop("graphs"),
        lambda config: config.pop("image_size"),
        lambda config: config.update(inputs="x"),
        lambda config: config.update(files=3),
    ],
)
def test_a_spoiled_configuration_is_one_line(exported, tmp_path, spoil):
    _, path, _ = exported
    config = json.loads((path / "config.json").read_text())
    for name in config["files"]:
        (tmp_path / name).symlink_to(path / name)
    spoil(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"config\.json") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_restorer_and_a_type_of_the_predictor_are_none_of_the_exports(small_models, tmp_path):
    pytest.importorskip("onnxruntime")
    model = small_models[False]
    for options in ({"restorer": Inverted()}, {"dtype": "bfloat16"}):
        place = tmp_path / next(iter(options))
        comparison = folder.export(Predictor(model, **options), place, "onnx", [skimage.data.coffee()])
        assert comparison.lowest >= 0.995


def test_images_are_read_one_by_one(small_models, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    given, compared = [], []
    monkeypatch.setattr(check, "_compare_parts", lambda *_: compared.append(len(given)))

    def images():
        for image in (skimage.data.coffee()[:64, :64], skimage.data.cat()[:64, :64]):
            given.append(1)
            yield image

    folder.export(Predictor(small_models[False]), tmp_path / "new", "onnx", images())
    assert compared == [1, 2]


def test_a_refused_enhancer_leaves_the_one_that_was_there(tmp_path):
    pytest.importorskip("onnxruntime")
    enhancer = ResidualEnhancer(256, 8, 1).eval()
    (tmp_path / "e.onnx").write_bytes(b"before")
    with pytest.raises(ModelError, match="equal to torch's"):
        folder.export_enhancer(enhancer, tmp_path / "e.onnx", (4, 4), tolerance=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["e.onnx"]
    assert (tmp_path / "e.onnx").read_bytes() == b"before"
    folder.export_enhancer(enhancer, tmp_path / "e.onnx", (4, 4))
    assert (tmp_path / "e.onnx").stat().st_size > 1000


def test_without_photos_drawn_images_serve():
    pictures = folder.drawn_images()
    assert [p.shape[2] for p in pictures] == [3, 3]
    assert all(p.dtype == np.uint8 and p.std() > 10 for p in pictures)
    assert pictures[0].shape != pictures[1].shape


def test_the_room_is_not_loaded_with_the_package():
    code = "import sys, glesam; print('glesam.models.exported.model' in sys.modules, 'onnxruntime' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_an_export_leaves_the_predictor_as_it_was(restored, tmp_path):
    pytest.importorskip("onnxruntime")
    restored.set_image(skimage.data.coffee())
    current, mode = restored.session.current, restored.enhance
    folder.export(restored, tmp_path / "onnx", "onnx")
    assert restored.session.current is current
    assert restored.enhance == mode == "auto"


def test_copies_share_the_sessions_and_answer_alike(exported):
    _, path, _ = exported
    predictor = Predictor.from_pretrained(path)
    model, restoration = copy.deepcopy((predictor.model, predictor.enhancer))
    assert model is not predictor.model
    assert model.files.session("decoder") is predictor.model.files.session("decoder")
    assert restoration.gate.session is predictor.enhancer.gate.session
    answers = []
    for each in (predictor, Predictor(model, "auto", restoration)):
        each.set_image(skimage.data.cat())
        answers.append(each.predict(points=[[100, 100]]))
    assert np.array_equal(answers[0].logits, answers[1].logits)


def test_the_command_runs_a_folder_on_a_machine_with_a_gpu(exported, tmp_path, monkeypatch):
    _, path, _ = exported
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    photo = Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg"
    arguments = ["segment", str(photo), "--point", "200,150", "--model", str(path), "-o", str(tmp_path / "mask.png")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mask.png").stat().st_size > 0


def test_a_presets_name_comes_before_an_exported_folder_of_that_name(exported, tmp_path, monkeypatch):
    _, path, _ = exported
    (tmp_path / "compact").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    families = [Predictor.from_pretrained(name).model.family for name in ("compact", "./compact")]
    assert families == ["compact", "exported"]
