"""What `glesam segment` adds for words: `--text`, and `--label` beside `--everything`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glesam.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from glesam.images.pixels import RGB
    from glesam.images.reading import ReadOptions
    from glesam.masks.masks import Masks
    from glesam.predict.predictor import Predictor
    from glesam.text.base import WordSource


Text = Annotated[
    str | None,
    typer.Option(help="English nouns to find, as 'dog; cup'; see 'glesam words'.", metavar="WORD[; WORD...]"),
]
TextModelFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of a CLIP, SigLIP or CLIPSeg model for --text, any words then.", metavar="FOLDER"),
]
LabelFlag = Annotated[
    bool, typer.Option("--label", help="With --everything: name each mask, and write the map of classes too.")
]
LabelBy = Annotated[
    str | None,
    typer.Option(help="With --label: who names, 'offline', 'clip:FOLDER' or 'examples:FOLDER'.", metavar="LABELER"),
]


@dataclass(frozen=True)
class NamedWish:
    """Words to find, or labels for everything.

    Attributes:
        words: to be found; none where everything is to be labelled.
        folder: of a text model, or None for the offline vocabulary.
        labeler: who names everything.
    """

    words: tuple[str, ...] = ()
    folder: Path | None = None
    labeler: str = "offline"

    def question(self, everything: dict[str, Any] | None, reading: ReadOptions | None) -> Callable[[Predictor], Masks]:
        """What to ask a predictor that has the image, which was read in the way of `reading`."""

        def ask(predictor: Predictor) -> Masks:
            if everything is not None:
                return predictor.words.label(predictor.generate(**everything), self.labeler, reading)
            if self.folder is not None and predictor.word_source.name != str(self.folder):
                predictor.word_source = open_source(self.folder)
            return predictor.predict_text(self.words)

        return ask


def asked_words(
    text: str | None,
    folder: Path | None,
    label: bool,
    by: str | None,
    prompted: bool,
    everything: bool,
    tile: int | None,
    reading: ReadOptions | None = None,
) -> NamedWish | None:
    """The wish for words from the options, or None without one; words and labelers are checked before all images.

    Raises:
        PromptError: no word, an unknown one, or words beside other prompts.
        ConfigError: an option without the one that it belongs to.
        GlesamError: no such labeler; see `glesam.everything.labels.load_labeler`.
    """
    from glesam.text.base import parse_words

    if label:
        if not everything or text is not None:
            raise ConfigError(
                "expected --label beside --everything alone, got it without or with --text; add --everything"
            )
        return _labelled(folder, by, reading)
    if by is not None:
        raise ConfigError("expected --label beside --label-by, got none; add --everything --label")
    if text is None:
        if folder is not None:
            raise ConfigError("expected --text beside --text-model, got none; say what to find, as --text 'dog; cup'")
        return None
    if prompted or everything:
        raise PromptError("expected --text or other prompts, got both; leave --point, --box, --everything out")
    if tile is not None:
        raise ConfigError("expected --text without --tile, got both; words are found in the whole image only")
    words = parse_words(text)
    open_source(folder).check(words)
    return NamedWish(words, folder)


def _labelled(folder: Path | None, by: str | None, reading: ReadOptions | None) -> NamedWish:
    """The wish for labels, of a labeler that can be loaded."""
    if by is not None and folder is not None:
        raise ConfigError("expected --label-by or --text-model, got both; say --label-by clip:FOLDER")
    labeler = by or ("offline" if folder is None else f"clip:{folder}")
    _check_labeler(labeler, reading)
    return NamedWish(folder=folder, labeler=labeler)


def _check_labeler(labeler: str, reading: ReadOptions | None) -> None:
    """Load a labeler once before all images: each process does so after its first image's masks are made.

    Raises:
        GlesamError: it cannot be loaded.
    """
    from glesam.everything.labels import load_labeler
    from glesam.images.reading import ReadOptions, read_with

    def read_file(path: Path) -> RGB:
        return read_with(path, reading or ReadOptions()).pixels

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is to be said of its files is said when they are used
        load_labeler(labeler, read_file)


def open_source(folder: Path | None) -> WordSource:
    """The offline vocabulary, or a text model's folder.

    Raises:
        ModelError: the folder holds no text model.
    """
    if folder is None:
        from glesam.text.offline import bundled

        return bundled()
    from glesam.text.sources import load_word_source

    return load_word_source(folder)
