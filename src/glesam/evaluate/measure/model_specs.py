"""Which models to measure: `NAME[+ENHANCER][@enhance=MODE][@restore=RESTORER][@refine=MODE][@quality=QUALITY]`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from glesam.common.files import sha256
from glesam.common.messages import hint
from glesam.errors import ConfigError, ModelError
from glesam.masks.refine import REFINE_MODES
from glesam.models.registry import Preset, bundled_enhancer, enhancer_folder, local_weights, presets
from glesam.predict.quality import QUALITIES
from glesam.restore.registry import NONE, check_restorer, load_restorer
from glesam.weights.folders import fetch_folder

ENHANCE = ("on", "off", "auto")
_OPTIONS = {"enhance": ENHANCE, "refine": REFINE_MODES, "quality": QUALITIES}
_WEIGHTS = frozenset({".safetensors", ".json", ".pth", ".pt"})


class MasksLike(Protocol):
    """What the benchmark reads of an answer: see `glesam.masks.masks.Masks`."""

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """`(N, H, W)` bool at the image's size."""
        ...

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """`(N,)` float32 predicted IoU."""
        ...

    @property
    def logits(self) -> npt.NDArray[np.float32]:
        """`(N, h, w)` float32 low-resolution logits; read for corrective clicks."""
        ...


class PredictorLike(Protocol):
    """What the benchmark asks of a model: see `glesam.predict.predictor.Predictor`."""

    def set_image(self, image: Any, name: str | None = None) -> object:
        """Encode an `(H, W, 3)` uint8 RGB image; the name is of set, level and image, `ecssd/lq3/cat`."""
        ...

    def predict(
        self, *, points: Any = None, labels: Any = None, boxes: Any = None, mask_input: Any = None
    ) -> MasksLike:
        """Segment one object per `(K, 2)` points of `(N, K, 2)`, or per box of `(N, 4)`, continuing from logits."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model as a column of the tables.

    Attributes:
        name: preset, folder or hub id.
        enhance: `on`, `off` or `auto`.
        label: name in tables; the text that the user gave.
        enhancer: folder or name of an enhancer for the model; None for the one that it ships with, if any.
        restore: restorer that images go through first, see `glesam.restore.registry`; None for none.
        refine: whether masks are refined, `auto` or `off`.
        head: mask head, see `Predictor.from_pretrained`; None for the model's own decoder.
        quality: `fast`, `standard` or `high`.
    """

    name: str
    enhance: str
    label: str
    enhancer: str | None = None
    restore: str | None = None
    refine: str = "auto"
    head: str | None = None
    quality: str = "standard"

    def __str__(self) -> str:
        """Return the name in tables."""
        return self.label


LoadPredictor = Callable[[ModelSpec], PredictorLike]


def parse_model(text: str, enhance: str = "auto") -> ModelSpec:
    """Read `NAME[+ENHANCER][@enhance=on|off|auto][@restore=RESTORER][@refine=auto|off][@head=HEAD][@quality=high]`.

    For example `compact@enhance=off@restore=median:5`.

    A name that exists as a file or folder is never split at its `+`.

    Args:
        text: the model; what has no `@enhance=` takes the setting of the run.
        enhance: the setting of the run.

    Raises:
        ConfigError: no name, no enhancer after `+`, an unknown setting or restorer, or an unknown value of a setting.
    """
    name, *parts = re.split("@(?=(?:enhance|restore|refine|head|quality)?$|[a-z]+=)", text.strip())
    options = dict(part.partition("=")[::2] for part in parts)
    if not name or not options.keys() <= {*_OPTIONS, "restore", "head"} or len(options) < len(parts):
        raise ConfigError(f"expected a model NAME or NAME@SETTING=VALUE, got {text!r}; such as compact@enhance=off")
    modes = {"enhance": enhance, "refine": "auto", "quality": "standard"}
    modes = {key: options.get(key, usual) for key, usual in modes.items()}
    for key, value in modes.items():
        if value not in _OPTIONS[key]:
            *most, last = _OPTIONS[key]
            raise ConfigError(
                f"expected {key} {', '.join(most)} or {last}, got {value!r} for the model {name}; "
                f"{hint(value, _OPTIONS[key])}"
            )
    restore, head = options.get("restore"), options.get("head")
    if head == "":
        raise ConfigError(f"expected a head in {text!r}, got none; name a kind or a file, or leave @head out")
    if restore == NONE:
        restore = None
    if restore is not None:
        check_restorer(restore)
    if Path(name).exists() or "+" not in name:
        return ModelSpec(name, label=text.strip(), restore=restore, head=head, **modes)
    model, _, enhancer = name.partition("+")
    if not model or not enhancer:
        raise ConfigError(f"expected a model NAME+ENHANCER, got {text!r}; such as compact+runs/mine/bundle")
    return ModelSpec(model, label=text.strip(), enhancer=enhancer, restore=restore, head=head, **modes)


def parse_models(texts: Iterable[str], enhance: str = "auto") -> tuple[ModelSpec, ...]:
    """Read models, each text a model or a comma list of them.

    Raises:
        ConfigError: a model is malformed, two mean the same, or there is none.
    """
    words = [word for text in texts for word in text.split(",") if word.strip()]
    specs = list(dict.fromkeys(parse_model(word, enhance) for word in words))
    if not specs:
        raise ConfigError("expected at least one model, got none; such as --models compact")
    meant = [replace(spec, label="") for spec in specs]
    twice = next((spec.label for spec, one in zip(specs, meant, strict=True) if meant.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(f"expected different models, got {twice} twice in other words; leave one out")
    return tuple(specs)


def predictor_loader(device: str | None = None) -> LoadPredictor:
    """Loader of real predictors on a device; None leaves the choice to the predictor."""

    def load(spec: ModelSpec) -> PredictorLike:
        from glesam.predict.predictor import Predictor

        options = {"enhance": spec.enhance, "refine": spec.refine, "quality": spec.quality}
        options |= {} if device is None else {"device": device}
        return Predictor.from_pretrained(
            spec.name, enhancer=spec.enhancer, restore=spec.restore, head=spec.head, **options
        )

    return load


def fingerprint(spec: ModelSpec) -> str:
    """What distinguishes versions of a model and its enhancer: a digest of their files on this machine, else a name."""
    own = _model_key(spec.name) + _restorer_key(spec.restore) + _head_key(spec)
    enhancer = enhancer_folder(spec.enhancer) if spec.enhancer else bundled_enhancer(spec.name)
    if enhancer is None or spec.enhance == "off":
        return own
    return hashlib.sha256(f"{own} {_digest(enhancer)}".encode()).hexdigest()[:16]


def _restorer_key(restore: str | None) -> str:
    """What distinguishes versions of a restorer; nothing where there is none."""
    restorer = load_restorer(restore)
    return "" if restorer is None else f" {restorer.name}-{restorer.key}"


def _head_key(spec: ModelSpec) -> str:
    """What distinguishes versions of a head; nothing for none, so that earlier results keep their key."""
    if spec.head is None:
        return ""
    from glesam.heads.registry import KINDS, find_head

    if spec.head in KINDS and _preset(spec.name) is None and Path(spec.name).exists():
        return f" head {spec.head}"  # the one that the model's own files hold, whose digest is the model's
    return f" head {_digest(find_head(spec.head, spec.name))}"


def _model_key(name: str) -> str:
    """What distinguishes versions of a model: the digest of its files, or its name where they are not on this machine.

    The weights of a preset that the hub has are fetched first, for the key must not change when they are loaded.
    """
    preset, location = _preset(name), local_weights(name)
    if location is None and preset is not None and preset.source not in ("", "package"):
        with suppress(ModelError):  # `load_model` says what to do about a hub that is out of reach
            location = fetch_folder(preset.source)
    if location is None:  # a hub id, or what `load_model` will refuse
        from glesam import __version__

        return f"{name}, glesam {__version__}"
    return _digest(location)


def _preset(name: str) -> Preset | None:
    """The preset of that name, which comes before a folder of that name as in `load_model`."""
    return next((preset for preset in presets() if preset.name == name), None)


def _digest(location: Path) -> str:
    """Digest of a file, or of the weights in a folder; of nothing for what is not there, which loading will refuse."""
    files = [location] if location.is_file() else sorted(p for p in location.rglob("*") if p.suffix in _WEIGHTS)
    text = "\n".join(f"{path.name} {sha256(path)}" for path in files)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
