"""What `glesam segment` adds for prompts that are no clicks: examples, start masks, heat maps, the subject."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glesam.cli.common import warn
from glesam.errors import ConfigError, PromptError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glesam.images.reading import ReadOptions
    from glesam.images.sources import ImageSource
    from glesam.masks.masks import Masks
    from glesam.predict.predictor import Predictor

Like = Annotated[
    list[str] | None,
    typer.Option(help="Find what looks like the marked things in this image. Repeatable.", metavar="IMAGE"),
]
LikeMask = Annotated[
    list[Path] | None,
    typer.Option(help="Marks of each --like in turn; without it IMAGE.mask.png beside it.", metavar="MASK"),
]
Unlike = Annotated[
    list[str] | None,
    typer.Option(help="Beside --like: what is marked in this image is not wanted. Repeatable.", metavar="IMAGE"),
]
Likeness = Annotated[
    float | None,
    typer.Option(help="With --like: how alike things must be, 0 to 1; chosen by the examples without it."),
]
FeatureCacheFolder = Annotated[
    Path | None,
    typer.Option("--feature-cache", help="With --like: keep what was seen, for other examples.", metavar="FOLDER"),
]
StartMask = Annotated[
    Path | None,
    typer.Option(help="Mask to correct, painted in any colours; or a folder of NAME.png.", metavar="FILE|FOLDER"),
]
HeatMap = Annotated[
    Path | None,
    typer.Option(help="Grey image or .npy that is higher where things are; or a folder.", metavar="FILE|FOLDER"),
]
SubjectFlag = Annotated[bool, typer.Option("--subject", help="Segment the main thing, without any prompt.")]
CheckPrompts = Annotated[
    bool, typer.Option("--check-prompts", help="Say which clicks look wrong, by the mask of the others.")
]

_MASK_ENDINGS = (".mask.png", ".png")


@dataclass(frozen=True)
class DerivedWish:
    """What to ask instead of clicks; one of the first four.

    Attributes:
        like: pairs of image and mask file of wanted things.
        unlike: of things that are not wanted.
        start: mask file or folder of masks to correct.
        heat: heat map or folder of such.
        subject: segment the main thing.
        likeness: threshold, or None.
        cache: folder of features, or None.
    """

    like: tuple[tuple[str, Path], ...] = ()
    unlike: tuple[tuple[str, Path], ...] = ()
    start: Path | None = None
    heat: Path | None = None
    subject: bool = False
    likeness: float | None = None
    cache: Path | None = None

    def ask(self, predictor: Predictor, source: ImageSource, reading: ReadOptions | None = None) -> Masks:
        """Ask a predictor that has the image.

        Args:
            predictor: has the image.
            source: the image.
            reading: how it was read, in which the examples are read too; None for the usual way.

        Raises:
            ImageError: an example cannot be read.
            PromptError: no start mask or heat map for the image, or one that does not fit.
            DataError: a mask file cannot be read.
        """
        if self.subject:
            return predictor.predict_subject()
        if self.start is not None:
            return _corrected(predictor, _beside(self.start, source, _MASK_ENDINGS))
        if self.heat is not None:
            return predictor.predict_heat_map(_read_heat(_beside(self.heat, source, (".npy", ".png", ".jpg"))))
        self._remember(predictor, reading)
        return predictor.find_like(self.likeness)

    def _remember(self, predictor: Predictor, reading: ReadOptions | None) -> None:
        """Give the examples to a predictor once, all or none; the current image stays what it is."""
        from glesam.images.reading import ReadOptions, read_with

        if predictor.has_examples:
            return
        if self.cache is not None:
            predictor.keep_features(self.cache)
        try:
            for pairs, negative in ((self.like, False), (self.unlike, True)):
                for image, mask in pairs:
                    pixels = read_with(image, reading or ReadOptions()).pixels
                    predictor.remember_file(pixels, _read_marks(mask), negative, Path(image).name)
        except BaseException:
            predictor.forget()  # some of them would answer for all in the images that follow
            raise


def derived_wish(
    like: Sequence[str] | None,
    like_mask: Sequence[Path] | None,
    unlike: Sequence[str] | None,
    likeness: float | None,
    cache: Path | None,
    start: Path | None,
    heat: Path | None,
    subject: bool,
) -> DerivedWish | None:
    """The wish from the options, or None without one.

    Raises:
        PromptError: several wishes at once, an example without its mask, or a likeness that is none.
        ConfigError: an option without the one that it belongs to.
    """
    asked = {"--like": bool(like), "--start-mask": bool(start), "--heat-map": bool(heat), "--subject": subject}
    given = [name for name, wanted in asked.items() if wanted]
    if len(given) > 1:
        raise PromptError(f"expected one of {', '.join(asked)}, got {' and '.join(given)}; ask for one at a time")
    extras = {"--like-mask": like_mask, "--unlike": unlike, "--likeness": likeness, "--feature-cache": cache}
    lone = [name for name, value in extras.items() if value is not None and value != []]
    if lone and not like:
        raise ConfigError(f"expected --like beside {lone[0]}, got none; name the image that shows what to find")
    if not given:
        return None
    if likeness is not None:
        from glesam.fewshot.references import check_likeness

        check_likeness(likeness)
    pairs = tuple(zip(like or (), _masks_of(like or (), like_mask or ()), strict=True))
    others = tuple(zip(unlike or (), _masks_of(unlike or (), ()), strict=True))
    return DerivedWish(pairs, others, start, heat, subject, likeness, cache)


def derived_fits(derived: DerivedWish | None, prompted: bool, tile: int | None, check_alone: bool) -> None:
    """Refuse what does not go together.

    Raises:
        PromptError: a wish beside other prompts, or a check without clicks.
        ConfigError: windows beside a wish.
    """
    if derived is not None and prompted:
        raise PromptError(
            "expected --like, --start-mask, --heat-map and --subject without other prompts, got both; leave --point, "
            "--box, --prompts and --everything out"
        )
    if derived is not None and tile is not None:
        raise ConfigError("expected --tile beside clicks, boxes or --everything only; leave --tile out")
    if check_alone:
        raise PromptError("expected clicks to check by --check-prompts, got none; give --point or --prompts")


def _masks_of(examples: Sequence[str], masks: Sequence[Path]) -> list[Path]:
    """A mask file for each example: as given, or beside it, as results are called where names meet and where not."""
    if masks and len(masks) != len(examples):
        raise PromptError(f"expected a --like-mask for each of {len(examples)} --like, got {len(masks)}; give one each")
    found = list(masks) or [_marks_beside(Path(example)) for example in examples]
    for example, mask in zip(examples, found, strict=True):
        if not mask.is_file():
            raise PromptError(f"expected the marks of {example} in {mask}, found no such file; give it by --like-mask")
    return found


def _marks_beside(example: Path) -> Path:
    """Where an example's marks lie; `cat.jpg` and `cat.png` of one folder keep their suffix in results."""
    whole = example.with_name(f"{example.name}.mask.png")
    return whole if whole.is_file() else example.with_suffix(".mask.png")


def _beside(given: Path, source: ImageSource, endings: Sequence[str]) -> Path:
    """The file itself, or the one for an image in a folder, which is never that image."""
    if not given.is_dir():
        return given
    # Results keep the suffix where names meet; files of the user's own mostly do not.
    stems = dict.fromkeys((source.stem, str(Path(source.name).with_suffix(""))))
    names = [f"{stem}{ending}" for stem, ending in itertools.product(stems, endings)]
    for path in (given / name for name in names):
        if path.is_file() and not (source.path is not None and os.path.samefile(path, source.path)):
            return path
    listed = ", ".join(names)
    raise PromptError(f"expected {listed} in {given} for {source.name}, found none; add it, or leave the image out")


def _corrected(predictor: Predictor, path: Path) -> Masks:
    """Correct a painted mask, and say what of it was not sure."""
    from glesam.masks.painted import read_painted

    painted = read_painted(path)
    if painted.ambiguous > 0:
        share = f"{100 * painted.ambiguous:.2g} %"
        warn(f"glesam: {path.name}: {share} of the pixels are of no sure colour and took that of the nearest sure one")
    masks = predictor.predict_from_masks(painted.masks)
    kept = masks.info["start_kept"]
    if kept:
        warn(f"glesam: {path.name}: {len(kept)} of {len(masks)} masks stay as they were; the model's answer strayed")
    return masks


def _read_heat(path: Path) -> npt.NDArray[np.float32]:
    """A heat map from a file."""
    import numpy as np

    if path.suffix == ".npy":
        from glesam.common.messages import one_line

        try:
            return np.asarray(np.load(path), np.float32)
        except (OSError, EOFError, TypeError, ValueError) as error:
            raise PromptError(
                f"expected numbers (h, w) in {path}, got {one_line(error)}; save it with numpy.save"
            ) from error
    from glesam.images.reading import read

    return np.asarray(np.asarray(read(path), np.float32).mean(axis=2), np.float32)


@functools.cache
def _read_marks(path: Path) -> Any:
    """Marks of an example, read once for all images."""
    from glesam.masks.painted import read_objects

    return read_objects(path)


def speak_doubts(predictor: Predictor, prompts: Any, name: str) -> None:
    """Name the clicks that look wrong on stderr."""
    for check in predictor.check_prompts(prompts):
        for sentence in check.sentences():
            warn(f"glesam: {name}: {sentence}")
