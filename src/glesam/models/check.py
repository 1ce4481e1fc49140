"""What a checkpoint is: the variant by its keys, the file by its digest, and whether glesam reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glesam.common.files import sha256
from glesam.errors import ModelError
from glesam.models.registry import in_saved_folder, load_model, presets
from glesam.models.sam.layouts import advice, recognise
from glesam.models.sam.reading import read_checkpoint


@dataclass(frozen=True)
class Checked:
    """What was found out about a file.

    Attributes:
        variant: name of the layout, the family of a saved folder's model, or "unknown" with the first keys, by which a
            reader may know it.
        tensors: number of tensors.
        parameters: number of values in them.
        released: name of the preset whose file this is, byte for byte; None for another.
        problem: why glesam does not read it and what to do instead; empty if it does.
    """

    variant: str
    tensors: int
    parameters: int
    released: str | None
    problem: str

    @property
    def readable(self) -> bool:
        """Whether `load_model` takes the file."""
        return not self.problem

    def lines(self) -> list[str]:
        """The same as text."""
        origin = f"the authors' file of {self.released}" if self.released else "no file whose digest is known here"
        verdict = f"not read by glesam: {self.problem}" if self.problem else "read by glesam; every key fits"
        return [
            f"variant: {self.variant}",
            f"holds:   {self.tensors} tensors, {self.parameters / 1e6:.1f} M values",
            f"is:      {origin}",
            f"use:     {verdict}",
        ]


def check_file(path: str | Path) -> Checked:
    """Look at a checkpoint; one that glesam reads is loaded to see that every key fits.

    The weights of a saved folder are judged as `load_model` takes them: with the `config.json` beside them.

    Raises:
        ModelError: there is no such file, or it holds no weights.
    """
    if Path(path).is_dir():
        raise ModelError(f"expected a checkpoint, got the folder {path}; give a file in it, or the folder as the model")
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"expected a checkpoint at {path}, got no such file; check the path")
    state = read_checkpoint(path)
    layout = recognise(state)
    variant = layout.name if layout else f"unknown ({', '.join(list(state)[:3])}{', ...' if len(state) > 3 else ''})"
    problem = advice(layout) if not in_saved_folder(file) and (layout is None or layout.instead) else ""
    if not problem:
        try:
            model = load_model(file)
        except ModelError as error:
            problem = str(error)
        else:
            variant = f"{model.family}, in a saved folder" if in_saved_folder(file) else variant
    digest = sha256(file)
    return Checked(
        variant,
        len(state),
        sum(tensor.numel() for tensor in state.values()),
        next((preset.name for preset in presets() if preset.sha256 == digest), None),
        problem,
    )
