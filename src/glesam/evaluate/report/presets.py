"""Set-ups of the paper's tables: which sets, levels and prompts each one asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glesam.common.messages import hint
from glesam.degrade import levels
from glesam.degrade.levels import Level, parse_levels
from glesam.errors import ConfigError
from glesam.evaluate.measure.protocol import PromptSpec, parse_prompts
from glesam.evaluate.report.paper import canonical_set

_LQ = ("lq3", "lq2", "lq1")
_LAYOUT_KEYS = {"ThinObject-5K": "thinobject", "LVIS": "lvis", "ECSSD": "ecssd", "COCO": "coco"}


@dataclass(frozen=True)
class EvaluationPreset:
    """The set-up of one table or figure.

    Attributes:
        name: such as `table2`.
        title: what it shows.
        sets: data sets of the paper that it needs; empty where any set will do.
        level_texts: levels; empty for the 15 kinds of RobustSeg at the published strength.
        prompt_texts: prompts.
        has_numbers: whether the paper's numbers are stored.
        modes: modes of the enhancer that each model is measured in, where it does not say its own; empty for one.
    """

    name: str
    title: str
    sets: tuple[str, ...]
    level_texts: tuple[str, ...]
    prompt_texts: tuple[str, ...]
    has_numbers: bool = True
    modes: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels of quality."""
        return parse_levels(self.level_texts) if self.level_texts else (levels.CLEAR, *levels.published_levels())

    @property
    def prompts(self) -> tuple[PromptSpec, ...]:
        """Ways to prompt."""
        return parse_prompts(self.prompt_texts)

    @property
    def note(self) -> str:
        """What a reader of the report must know; empty when there is nothing."""
        if self.has_numbers or self.modes:
            return ""
        return f"No number of the paper is stored for {self.name}: the report shows measured ones only."


PRESETS: dict[str, EvaluationPreset] = {
    preset.name: preset
    for preset in (
        EvaluationPreset(
            "table1", "sets seen in training, three levels", ("ThinObject-5K", "LVIS"), _LQ, ("points:3",)
        ),
        EvaluationPreset("table2", "unseen sets, three levels", ("ECSSD", "COCO"), _LQ, ("points:3",)),
        EvaluationPreset("table3", "degradations of the RobustSeg kind", (), (), ("points:3",), has_numbers=False),
        EvaluationPreset("table5", "degraded against clear images", ("ECSSD", "COCO"), ("clear", *_LQ), ("points:3",)),
        EvaluationPreset("table13", "boxes, exact and noisy", ("ECSSD",), _LQ, ("box", "noisy-box:0.2")),
        EvaluationPreset(
            "real", "really degraded images", (), ("clear",), ("points:3", "box"), False, ("off", "on", "auto")
        ),
        EvaluationPreset("clicks", "number of clicks", (), ("clear", *_LQ), ("points:1..10",), has_numbers=False),
    )
}


def find_preset(name: str) -> EvaluationPreset:
    """The preset of that name.

    Raises:
        ConfigError: there is none; the message gives the nearest name.
    """
    if name not in PRESETS:
        raise ConfigError(f"expected a preset out of {', '.join(PRESETS)}, got {name!r}; {hint(name, PRESETS)}")
    return PRESETS[name]


def missing_sets(preset: EvaluationPreset, given: Sequence[str]) -> list[str]:
    """Sets of the paper that a preset needs and that are not among the given names."""
    known = {canonical_set(name) for name in given}
    return [needed for needed in preset.sets if needed not in known]


def require_sets(preset: EvaluationPreset, given: Sequence[str], partial: bool = False) -> None:
    """Refuse to start without the sets of a preset.

    Args:
        preset: the set-up.
        given: names of the sets that are there.
        partial: measure what is there.

    Raises:
        ConfigError: a set is missing, or there is none at all; the message says what a folder must hold, and how to go
            on without it.
    """
    if preset.modes and not given:
        raise ConfigError(
            f"expected folders of degraded images for {preset.name}, got none; give --data DIR: " + _real_structures()
        )
    missing = missing_sets(preset, given)
    if partial or not missing:
        return
    wanted = "; ".join(f"--data {_short(name)}=DIR with {_structure(name)}" for name in missing)
    raise ConfigError(
        f"expected the data sets {', '.join(preset.sets)} for {preset.name}, got {', '.join(given) or 'none'}; "
        f"give {wanted}; or --partial to measure the given sets alone"
    )


def _real_structures() -> str:
    """Layouts of sets of images that are degraded as they are."""
    from glesam.data.readers.registry import LAYOUTS

    return "; ".join(
        f"{LAYOUTS[key].title} = {LAYOUTS[key].structure}" for key in ("acdc", "bdd100k", "bdd100k-semantic", "folder")
    )


def _short(name: str) -> str:
    """Name of a set as one types it."""
    return name.lower().replace("-", "")


def _structure(name: str) -> str:
    """What the folder of one of the paper's sets must look like."""
    from glesam.data.readers.registry import LAYOUTS

    layout = LAYOUTS[_LAYOUT_KEYS[name]]
    return f"{layout.structure} (from {layout.home}) or {LAYOUTS['folder'].structure}"
