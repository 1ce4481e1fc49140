"""Exported folders as models: `Predictor.from_pretrained(folder, runtime="onnx")`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.common.files import sha256
from glesam.enhance.gains import check_margins, decided, wide_enough
from glesam.enhance.gate import Verdict
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.errors import ConfigError, ModelError
from glesam.models.base import (
    FINE,
    Embedding,
    ImageGeometry,
    MaskOutput,
    PromptableModel,
    PromptTensors,
    per_prompt,
    squared,
    without_padding,
)
from glesam.models.exported.inputs import KINDS
from glesam.models.exported.sessions import RUNTIMES, GraphSession, open_session
from glesam.weights.folders import CONFIG_FILE, building, read_config

FAMILY = "exported"
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}

_SKIPS = ("skip4", "skip8")
_EXTRAS = {"early": FINE, "fused": "fused"}
"""Name of a map in the graphs, and among an embedding's extras."""


def runtime_of(folder: str | os.PathLike[str] | None) -> str | None:
    """Runtime that an exported folder was made for; None for anything else. Of names see `registry.local_weights`."""
    if folder is None or not (Path(folder) / CONFIG_FILE).is_file():
        return None
    config = read_config(Path(folder))
    return str(config.get("format")) if config.get("family") == FAMILY else None


class ExportedFolder:
    """The files of an exported folder, compared with their digests, and its graphs, loaded at first use.

    Raises:
        ModelError: a file is missing or changed.
    """

    def __init__(self, folder: Path, runtime: str) -> None:
        self.folder, self.runtime = folder, runtime
        self.config: dict[str, Any] = read_config(folder)
        self._sessions: dict[str, GraphSession] = {}
        with building("the exported model", folder / CONFIG_FILE):
            self._check()

    def _check(self) -> None:
        """Compare the files with their digests; what the configuration lacks is found now."""
        self.config["graphs"], SUFFIXES[self.config["format"]], int(self.config["image_size"])
        KINDS[self.config.get("inputs", "compact")]
        for name, digest in self.config["files"].items():
            found = sha256(self.folder / name) if (self.folder / name).is_file() else "no such file"
            if found != digest:
                raise ModelError(
                    f"expected {self.folder / name} with SHA-256 {digest}, got {found}; export the model again"
                )

    def __contains__(self, name: str) -> bool:
        """Whether there is a graph of this name."""
        return name in self.config["graphs"]

    def session(self, name: str) -> GraphSession:
        """Load a graph once.

        Raises:
            ModelError: there is none of this name, or it cannot be loaded.
        """
        if name not in self:
            raise ModelError(f"expected a graph {name!r} in {self.folder}, got none; export the model again")
        if name not in self._sessions:
            suffix = SUFFIXES[self.config["format"]]
            self._sessions[name] = open_session(self.folder / (name + suffix), self.runtime)
        return self._sessions[name]


class RuntimeModel(PromptableModel):
    """A model whose encoder and decoder run outside torch. Float32, on the CPU; for inference.

    Args:
        files: the exported folder.
        decoder: name of the decoder's graph.
        encoder: name of the encoder's graph.
    """

    family: ClassVar[str] = FAMILY
    digest: Tensor

    def __init__(self, files: ExportedFolder, decoder: str, encoder: str = "encoder") -> None:
        super().__init__()
        self.files, self.decoder, self.encoder = files, decoder, encoder
        self.image_size = int(files.config["image_size"])
        self.inputs = KINDS[files.config.get("inputs", "compact")]
        self.side_step, self.cuts_boxes = self.inputs.side_step, self.inputs.cuts_boxes
        self.answers_again = self.inputs.answers_again
        # The only state: results name the weights by the digest of the model's tensors.
        digest = sha256(files.folder / CONFIG_FILE).encode()
        self.register_buffer("digest", torch.tensor(list(digest), dtype=torch.uint8))
        files.session(encoder), files.session(decoder)  # a damaged file is found now, not at the first image

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], runtime: str | None = None) -> Self:
        """Load what `glesam export` wrote.

        Args:
            folder: the exported folder.
            runtime: "onnx" or "openvino", which also runs folders of format onnx; None for the folder's own format.

        Raises:
            ConfigError: unknown runtime.
            ModelError: not an exported folder, damaged files, or a runtime that is not installed or does not read the
                format.
        """
        made_for = runtime_of(folder)
        runtime = runtime or made_for or "onnx"
        if runtime not in RUNTIMES:
            raise ConfigError(f"expected a runtime of {', '.join(RUNTIMES)}, got {runtime!r}; leave it out for torch")
        if made_for is None:
            raise ModelError(
                f"expected an exported folder for runtime={runtime!r}, got {str(folder)!r}; make one with: "
                f"glesam export --model {folder} --format {runtime} -o FOLDER"
            )
        if made_for != runtime and runtime == "onnx":
            raise ModelError(
                f"expected a folder of format onnx, got {folder} of format {made_for}; use runtime={made_for!r}"
            )
        return cls(ExportedFolder(Path(folder), runtime), "decoder")

    def restoration(self) -> Restoration | None:
        """What restores degraded images, if it was exported with the model."""
        return _restoration(self.files)

    def place(self, device: str | torch.device, dtype: torch.dtype) -> Self:
        """Stay where it is.

        Raises:
            ModelError: another device than the CPU.
            ConfigError: another type than float32.
        """
        if torch.device(device).type != "cpu":
            raise ModelError(f"expected the cpu for an exported model, got {str(device)!r}; use device='cpu'")
        if dtype is not torch.float32:
            raise ConfigError(
                f"expected an exported model as it was exported, in float32, got dtype {str(dtype)[6:]}; leave that out"
            )
        return self

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Float32."""
        return torch.float32

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """As the torch model: the same pixels, bit for bit."""
        return self.inputs.lay(image, self.image_size)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values, one image after the other where the graph takes one."""
        run, graph = self.files.session(self.encoder), self.files.config["graphs"][self.encoder]
        images = [pixel_values] if "pixel_values" in graph["free_axes"] else torch.split(pixel_values, 1)
        parts = zip(*(run(pixel_values=each) for each in images), strict=True)
        maps = dict(zip(graph["outputs"], map(torch.cat, parts), strict=True))
        skips = tuple(maps[name] for name in _SKIPS if name in maps)
        return Embedding(maps["latent"], skips, {key: maps[name] for name, key in _EXTRAS.items() if name in maps})

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """Decode `(B, N)` prompts; see `PromptableModel.decode`."""
        batch, count = prompts.shape
        each = embedding.map(lambda m: per_prompt(m, count))
        latent, graph = each.latent, self.files.config["graphs"][self.decoder]
        maps = dict(zip(_SKIPS, each.skips, strict=False))
        maps |= {name: each.extras[key] for name, key in _EXTRAS.items() if name in graph["inputs"]}
        coords, labels = self.inputs.points(prompts)
        rows, columns = (4 * side for side in latent.shape[-2:])
        masks = without_padding(prompts.mask_input, latent)
        given = torch.full((batch * count,), 0.0 if masks is None else 1.0)
        found = self.files.session(self.decoder)(
            **maps,
            latent=latent,
            point_coords=coords.flatten(0, 1),
            point_labels=labels.flatten(0, 1),
            mask_input=torch.zeros(batch * count, rows, columns) if masks is None else masks.float().flatten(0, 1),
            has_mask=given,
        )
        chosen = slice(1, None) if multimask else slice(0, 1)
        answers = {n: m.view(batch, count, *m.shape[1:]) for n, m in zip(graph["outputs"], found, strict=True)}
        low, *fine = (squared(answers[name][:, :, chosen]) for name in ("logits", "fine") if name in answers)
        present = answers["object_score"][..., 0] if "object_score" in answers else None
        return MaskOutput(low, answers["iou"][:, :, chosen], fine[0] if fine else None, present)

    def save_pretrained(self, folder: str | Path) -> None:
        """Copy the exported folder."""
        shutil.copytree(self.files.folder, folder, dirs_exist_ok=True)


class RuntimeEnhancer:
    """Latent to enhanced latent, outside torch."""

    def __init__(self, session: GraphSession) -> None:
        self.session = session

    def __call__(self, latent: Tensor) -> Tensor:
        """Enhance `(B, 256, h, w)` latents."""
        return self.session(latent=latent)[0]


class RuntimeGate:
    """Latent to level of degradation, outside torch.

    Attributes:
        threshold: images of at least this level are enhanced.
    """

    def __init__(self, session: GraphSession, threshold: float) -> None:
        self.session, self.threshold = session, threshold

    def __call__(self, latent: Tensor) -> bool:
        """Whether one image is degraded."""
        return self.level(latent) >= self.threshold

    def level(self, latent: Tensor) -> float:
        """Level of one image, `(1, 256, h, w)`: 0 (clear) to 3."""
        return float(self.session(latent=latent)[0])


class RuntimeGainGate:
    """Embedding and pixels to a verdict, outside torch; see `GainGate`.

    Attributes:
        margins: gain for clicks and for boxes above which an image is restored.
    """

    def __init__(self, session: GraphSession, margins: Sequence[float]) -> None:
        self.session, self.margins = session, check_margins(margins)

    def verdict(self, embedding: Embedding, pixels: Tensor) -> Verdict:
        """Judge one image."""
        skip4, skip8 = embedding.skips
        early = {"early": embedding.extras[FINE]} if FINE in embedding.extras else {}
        seen = wide_enough(pixels.float())
        level, gains = self.session(latent=embedding.latent, skip4=skip4, skip8=skip8, pixel_values=seen, **early)
        return decided(float(level[0]), gains[0].tolist(), self.margins)


class RuntimeSkips:
    """Embedding and levels to the embedding with adapted skips, outside torch.

    Attributes:
        kind: as in `SkipAdapter`.
    """

    def __init__(self, session: GraphSession, kind: str) -> None:
        self.session, self.kind = session, kind

    def __call__(self, embedding: Embedding, levels: Tensor | None) -> Embedding:
        """Adapt the skips of B images."""
        level = torch.zeros(len(embedding.latent)) if levels is None else levels.float()
        skip4, skip8 = embedding.skips
        return embedding.with_skips(self.session(latent=embedding.latent, skip4=skip4, skip8=skip8, level=level))


def _restoration(files: ExportedFolder) -> Restoration | None:
    """Put the exported parts together as the torch model has them."""
    options = files.config["restoration"]
    if options is None:
        return None
    timesteps = [
        int(name.removeprefix("enhancer-t")) for name in files.config["graphs"] if name.startswith("enhancer-t")
    ]
    skips: Any = RuntimeSkips(files.session("skips"), options["skips"]) if "skips" in files else None
    return Restoration(
        RuntimeEnhancer(files.session("enhancer")) if "enhancer" in files else None,
        _gate(files, options) if "gate" in files else None,
        skips,
        RuntimeModel(files, "tuned") if "tuned" in files else None,
        [LevelRule(**rule) for rule in options["rules"]],
        {t: RuntimeEnhancer(files.session(f"enhancer-t{t}")) for t in timesteps},
        options["weights"],
        RuntimeModel(files, "decoder", "tuned-encoder") if "tuned-encoder" in files else None,
    )


def _gate(files: ExportedFolder, options: dict[str, Any]) -> RuntimeGate | RuntimeGainGate:
    """The exported gate of either kind; folders from before there were two hold no margins."""
    session, margins = files.session("gate"), options.get("margins")
    return RuntimeGate(session, options["threshold"]) if margins is None else RuntimeGainGate(session, margins)
