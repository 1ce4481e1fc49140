"""Running a row of the table: what is refused, what is recorded, what stays untouched."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glesam.degrade import real, robustseg
from glesam.degrade.draws import Draws
from glesam.degrade.kind import Degrader, Kind, Moved, find, table
from glesam.errors import ConfigError, DataError, ImageError

BOTH = [(module, kind) for module in (robustseg, real) for kind in module.KINDS]
IDS = [kind for _, kind in BOTH]


def picture(height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_table_keys_rows_by_name() -> None:
    row = Kind("same", lambda image, draws, strength: image, {"strength": (1, 2, 3, 4, 5)}, "own")
    assert table(row) == {"same": row}
    assert row.at(1) == {"strength": 1}
    assert row.at(5) == {"strength": 5}


@pytest.mark.parametrize(
    ("asked", "nearest"), [("gausian_noise", "gaussian_noise"), ("Frosted-Glass", "frosted_glass"), ("snwo", "snow")]
)
def test_unknown_kind_names_the_nearest(asked: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{nearest}'") as caught:
        robustseg.degrade(picture(), asked, 1, 0)
    assert "\n" not in str(caught.value)


def test_unknown_kind_of_the_real_world_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'low_light'"):
        real.degrade(picture(), "lowlight", 1, 0)


@pytest.mark.parametrize("asked", ["zzzz", "", 7, None, ["snow"]])
def test_hopeless_names_list_all_kinds(asked: object) -> None:
    with pytest.raises(ConfigError, match="snow, fog, rain"):
        find(robustseg.KINDS, asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, 1.0, True, "3", None])
def test_impossible_severity_is_refused(severity: object) -> None:
    with pytest.raises(ConfigError, match="severity of 1, 2, 3, 4 or 5"):
        robustseg.degrade(picture(), "fog", severity, 0)  # type: ignore[call-overload]


def test_numpy_severity_is_taken() -> None:
    assert np.array_equal(
        robustseg.degrade(picture(), "fog", np.int64(2), 0),  # type: ignore[call-overload]
        robustseg.degrade(picture(), "fog", 2, 0),
    )


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_impossible_seed_is_refused(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed"):
        robustseg.degrade(picture(), "fog", 1, seed)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "image",
    [
        picture().astype(np.float32),
        picture()[..., 0],
        np.zeros((40, 50, 4), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        picture(7, 50),
        picture(50, 7),
        [[1, 2, 3]],
        None,
    ],
)
def test_impossible_images_are_refused(image: object) -> None:
    with pytest.raises(ImageError, match="expected"):
        robustseg.degrade(image, "fog", 1, 0)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "mask", [np.zeros((40, 51), int), np.zeros((40, 50), float), np.zeros((40, 50, 1), int), [[0]], "mask"]
)
def test_impossible_masks_are_refused(mask: object) -> None:
    with pytest.raises(DataError, match="mask"):
        robustseg.degrade(picture(), "fog", 1, 0, mask)  # type: ignore[call-overload]


@pytest.mark.parametrize(("module", "kind"), BOTH, ids=IDS)
def test_input_stays_untouched_and_output_owns_its_memory(module: object, kind: str) -> None:
    image, mask = picture(), np.arange(2000, dtype=np.int64).reshape(40, 50)
    kept_image, kept_mask = image.copy(), mask.copy()
    degraded, moved = module.degrade(image, kind, 3, 5, mask)  # type: ignore[attr-defined]
    degraded[:], moved[:] = 0, 0
    assert np.array_equal(image, kept_image)
    assert np.array_equal(mask, kept_mask)


@pytest.mark.parametrize(("module", "kind"), BOTH, ids=IDS)
def test_views_of_arrays_give_the_same_as_copies(module: object, kind: str) -> None:
    view = picture()[::-1, ::-1, ::-1]
    degrade = module.degrade  # type: ignore[attr-defined]
    assert np.array_equal(degrade(view, kind, 2, 3), degrade(view.copy(), kind, 2, 3))


@pytest.mark.parametrize(("module", "kind"), BOTH, ids=IDS)
def test_record_explains_and_redoes_the_image(module: object, kind: str) -> None:
    record: dict = {}
    degraded = module.degrade(picture(), kind, 4, 11, record=record)  # type: ignore[attr-defined]
    row = module.KINDS[kind]  # type: ignore[attr-defined]
    assert record["kind"] == kind
    assert record["severity"] == 4
    parameters = {name: record[name] for name in row.parameters}
    assert parameters == {name: values[3] for name, values in row.parameters.items()}
    stored = json.loads(json.dumps(record))
    again = row.render(picture(), Draws.replay(stored), **parameters)
    assert np.array_equal(again.image if isinstance(again, Moved) else again, degraded)


def test_draws_never_hide_a_parameter() -> None:
    for module, kind in BOTH:
        row, draws = module.KINDS[kind], Draws(0)
        row.render(picture(), draws, **row.at(5))
        assert not set(draws.record) & {*row.parameters, "kind", "severity"}, kind


def test_run_moves_the_mask_by_the_maps_of_the_row() -> None:
    def shift(image: np.ndarray, draws: Draws, *, way: float) -> Moved:
        rows, columns = np.mgrid[0:40, 0:50].astype(np.float32)
        return Moved(np.roll(image, -int(way), 1), np.mod(columns + np.float32(way), 50), rows)

    kinds = table(Kind("shift", shift, {"way": (1, 2, 3, 4, 5)}, "own", moves_pixels=True))
    mask = np.arange(2000).reshape(40, 50)
    image, moved = Degrader(kinds)(picture(), "shift", 4, 0, mask)
    assert np.array_equal(image, np.roll(picture(), -4, 1))
    assert np.array_equal(moved, np.roll(mask, -4, 1))
