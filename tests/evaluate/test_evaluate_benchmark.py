from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluate_helpers import FakeLoader, FakeMasks, FakePredictor, make_folder
from skimage.metrics import peak_signal_noise_ratio

from glesam.data.base import object_ids
from glesam.degrade.levels import parse_levels
from glesam.errors import ConfigError, DataError, ImageError, ModelError
from glesam.evaluate import metrics
from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results, ask, probes, run_benchmark, sharpness
from glesam.evaluate.measure.model_specs import ModelSpec, parse_models
from glesam.evaluate.measure.protocol import parse_prompt, parse_prompts
from glesam.evaluate.measure.sources import Source, open_source


def _config(
    models: str = "m60", levels: str = "clear", prompts: str = "points:3,box", **options: object
) -> BenchmarkConfig:
    base = BenchmarkConfig(parse_models([models]), parse_levels([levels]), parse_prompts([prompts]))
    return dataclasses.replace(base, **options)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(str(make_folder(tmp_path / "toy")))


def _without_times(results: Results) -> list[object]:
    return [dataclasses.replace(row, encode_seconds=0.0, decode_seconds=0.0) for row in results.rows]


def test_rows_hold_what_was_measured(tmp_path: Path, source: Source) -> None:
    load = FakeLoader()
    results = run_benchmark(_config(), [source], tmp_path / "out", load)
    assert len(results.rows) == 4 * 2 * 2
    assert load.loaded["m60"].encoded == 4
    assert {row.object_id for row in results.rows} == {1, 3}
    sample = source.load("p01", parse_levels(["clear"])[0], 0, "test")
    for row in (r for r in results.rows if r.image == "p01"):
        truth = sample.mask == row.object_id
        assert row.area_share == pytest.approx(truth.mean())
        assert row.score == 0.5
        assert row.sharpness == pytest.approx(sharpness(sample.image))
    # The fake model finds discs and rectangles of one colour exactly from points; in boxes it takes all that is bright.
    assert all(row.iou == row.dice == row.boundary_iou == 1.0 for row in results.rows if row.prompt == "points:3")


def test_rows_hold_the_psnr_of_what_the_model_got(tmp_path: Path, source: Source) -> None:
    config = _config(levels="clear,lq2,robustseg:elastic:3,robustseg:fog:3", prompts="points:3")
    rows = run_benchmark(config, [source], tmp_path / "out", FakeLoader()).rows
    clear = {name: source.load(name, parse_levels(["clear"])[0], 0, "test").image for name in source.names}
    for row in rows:
        if row.level == "robustseg:elastic:3":  # moves pixels
            assert row.psnr is None
            continue
        low = source.load(row.image, parse_levels([row.level])[0], 0, "test").image
        expected = np.inf if row.level == "clear" else peak_signal_noise_ratio(clear[row.image], low)
        # Sums in another order on another processor: the last digit may differ.
        assert row.psnr == pytest.approx(expected, rel=1e-12)


def test_rows_of_a_restorer_are_those_of_restored_images(tmp_path: Path, source: Source) -> None:
    asked: list[str | None] = []

    class Restoring(FakePredictor):
        def set_image(self, image: np.ndarray, name: str | None = None) -> None:
            asked.append(name)
            self.seen_image = cv2.medianBlur(image, 5)
            super().set_image(self.seen_image)

    config = _config(models="m60@restore=median:5", levels="lq3", prompts="points:3")
    rows = run_benchmark(config, [source], tmp_path / "out", lambda spec: Restoring()).rows
    clear, low = (source.load("p01", level, 0, "test").image for level in parse_levels(["clear,lq3"]))
    row = next(row for row in rows if row.image == "p01")
    assert row.psnr == peak_signal_noise_ratio(clear, cv2.medianBlur(low, 5))
    assert row.sharpness == sharpness(cv2.medianBlur(low, 5))
    assert asked == [f"toy/lq3/{name}" for name in source.names]


def test_rows_equal_asking_by_hand(tmp_path: Path, source: Source) -> None:
    config = _config(prompts="noisy-box:0.2", levels="lq3")
    rows = run_benchmark(config, [source], tmp_path / "out", FakeLoader()).rows
    predictor = FakePredictor(60.0)
    for name in source.names:
        sample = source.load(name, config.levels[0], 0, "test")
        predictor.set_image(sample.image)
        for probe in probes(sample, parse_prompt("noisy-box:0.2"), object_ids(sample.mask), 0):
            assert probe.prompt.box is not None
            mask = predictor.predict(boxes=probe.prompt.box[None]).masks[0]
            row = next(r for r in rows if (r.image, r.object_id) == (name, probe.object_id))
            assert row.iou == metrics.iou(mask, sample.mask == probe.object_id)


def test_resuming_measures_only_what_is_missing(tmp_path: Path, source: Source) -> None:
    out = tmp_path / "out"
    first = run_benchmark(_config(levels="clear"), [source], out, FakeLoader())
    load = FakeLoader()
    both = run_benchmark(_config(levels="clear,lq1"), [source], out, load)
    assert load.loaded["m60"].encoded == 4
    assert both.rows[: len(first.rows)] == first.rows
    idle = FakeLoader()
    again = run_benchmark(_config(levels="clear,lq1"), [source], out, idle)
    assert again == both
    assert idle.loaded == {}


def test_a_stopped_run_ends_as_a_run_that_was_not(tmp_path: Path, source: Source) -> None:
    class StopError(Exception):
        pass

    def stop(part: str, count: int) -> None:
        if "lq2" in part:
            raise StopError

    config = _config(levels="clear,lq2,robustseg:frosted_glass:2")
    with pytest.raises(StopError):
        run_benchmark(config, [source], tmp_path / "a", FakeLoader(), stop)
    resumed = run_benchmark(config, [source], tmp_path / "a", FakeLoader())
    straight = run_benchmark(config, [source], tmp_path / "b", FakeLoader())
    assert _without_times(resumed) == _without_times(straight)
    assert not [p for p in (tmp_path / "a").rglob("*") if p.name.startswith(".")]


@pytest.mark.parametrize("change", [{"seed": 1}, {"min_share": {"toy": 0.05}}, {"limit": 2}, {"recipe": "train"}])
def test_another_configuration_is_refused_unless_overwritten(
    tmp_path: Path, source: Source, change: dict[str, object]
) -> None:
    out = tmp_path / "out"
    run_benchmark(_config(), [source], out, FakeLoader())
    with pytest.raises(ConfigError, match="another --out, or --overwrite"):
        run_benchmark(_config(**change), [source], out, FakeLoader())
    run_benchmark(_config(**change), [source], out, FakeLoader(), overwrite=True)
    run_benchmark(_config(**change), [source], out, FakeLoader())


def test_numbers_do_not_depend_on_what_else_is_in_the_set(tmp_path: Path, source: Source) -> None:
    everything = run_benchmark(_config(levels="lq2"), [source], tmp_path / "all", FakeLoader())
    some = run_benchmark(_config(levels="lq2", limit=2), [source], tmp_path / "some", FakeLoader())
    kept = {row.image for row in some.rows}
    assert len(kept) == 2
    expected = [r for r in _without_times(everything) if r.image in kept]  # type: ignore[attr-defined]
    assert _without_times(some) == expected


def test_small_objects_are_left_out_per_set(tmp_path: Path, source: Source) -> None:
    truth = source.load("p00", parse_levels(["clear"])[0], 0, "test").mask
    share = float((truth == 3).mean()) + 1e-4
    results = run_benchmark(_config(min_share={"toy": share}, limit=1), [source], tmp_path / "o", FakeLoader())
    assert {row.object_id for row in results.rows if row.image == "p00"} <= {1}
    other = run_benchmark(_config(min_share={"": 0.9, "toy": 0.0}), [source], tmp_path / "p", FakeLoader())
    assert len(other.rows) == 16
    with pytest.raises(DataError, match=r"at least 90.00% .* lower --min-share"):
        run_benchmark(_config(min_share={"": 0.9}), [source], tmp_path / "q", FakeLoader())


def test_broken_images_are_named_and_the_others_measured(tmp_path: Path, source: Source) -> None:
    (tmp_path / "toy" / "images" / "p01.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "toy" / "masks" / "p03.png"), np.ones((5, 5), np.uint8))
    results = run_benchmark(_config(), [source], tmp_path / "out", FakeLoader())
    assert {row.image for row in results.rows} == {"p00", "p02"}
    assert set(results.failed) == {"toy/p01 at clear", "toy/p03 at clear"}
    for path in (tmp_path / "toy" / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="expected readable images in toy"):
        run_benchmark(_config(seed=3), [source], tmp_path / "none", FakeLoader())


def test_an_image_that_one_model_cannot_take_is_left_out_for_all(tmp_path: Path, source: Source) -> None:
    class Lacking(FakePredictor):
        def set_image(self, image: np.ndarray, name: str | None = None) -> None:
            if name == "toy/clear/p01":
                raise ImageError("expected the restored toy/clear/p01 in x, found none; restore it too")
            super().set_image(image)

    def load(spec: ModelSpec) -> FakePredictor:
        return Lacking() if spec.name == "m10" else FakePredictor()

    config = _config(models="m60,m10", levels="clear,lq1", prompts="points:3")
    results = run_benchmark(config, [source], tmp_path / "out", load)
    assert list(results.failed) == ["toy/p01 at clear"]
    assert results.failed["toy/p01 at clear"].startswith("m10: expected the restored toy/clear/p01")
    seen = {(model, level): [] for model in ("m60", "m10") for level in ("clear", "lq1")}
    for row in results.rows:
        seen[row.model, row.level].append(row.image)
    for (_, level), images in seen.items():
        assert images == [name for name in source.names if (name, level) != ("p01", "clear") for _ in range(2)]
    assert run_benchmark(config, [source], tmp_path / "out", load) == results


def test_objects_are_asked_for_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setattr("glesam.evaluate.measure.benchmark.OBJECTS_AT_ONCE", 2)
    sample = source.load("p00", parse_levels(["clear"])[0], 0, "test")
    predictor = FakePredictor()
    predictor.set_image(sample.image)
    asked = probes(sample, parse_prompt("points:4"), object_ids(sample.mask), 0) * 3
    assert len(ask(predictor, asked)) == 6
    assert [call["points"].shape for call in predictor.asked] == [(2, 4, 2)] * 3
    assert all((call["labels"] == 1).all() and call["labels"].shape == (2, 4) for call in predictor.asked)


def test_an_answer_of_the_wrong_shape_is_an_error(source: Source) -> None:
    class Wrong(FakePredictor):
        def predict(self, **prompts: object) -> FakeMasks:
            return FakeMasks(np.zeros((1, 5, 5), bool), np.zeros(1, np.float32))

    sample = source.load("p00", parse_levels(["clear"])[0], 0, "test")
    with pytest.raises(ModelError, match="breaks its contract"):
        ask(Wrong(), probes(sample, parse_prompt("box"), object_ids(sample.mask), 0))


def test_progress_counts_every_image_of_every_part(tmp_path: Path, source: Source) -> None:
    seen: list[tuple[str, int]] = []
    for _ in range(2):
        seen.clear()
        run_benchmark(
            _config("m60,m90", "clear,lq1"), [source], tmp_path / "o", FakeLoader(), lambda *a: seen.append(a)
        )
        assert sum(count for _, count in seen) == 4 * 2 * 2
        assert {part for part, _ in seen} == {
            f"{m} · toy · {level}" for m in ("m60", "m90") for level in ("clear", "lq1")
        }


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    padded = np.pad(grey.astype(float), 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * padded[1:-1, 1:-1]
    assert sharpness(np.repeat(grey[..., None], 3, axis=2)) == pytest.approx(laplacian.var())
    assert sharpness(np.full((20, 30, 3), 7, np.uint8)) == 0.0
