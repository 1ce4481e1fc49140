"""What `glesam segment` is asked for in each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.cli.segment.derived import DerivedWish, speak_doubts
from glesam.cli.segment.words import NamedWish
from glesam.common.messages import hint
from glesam.errors import PromptError

if TYPE_CHECKING:
    from glesam.images.reading import ReadOptions
    from glesam.images.sources import ImageSource
    from glesam.masks.masks import Masks
    from glesam.predict.predictor import Predictor
    from glesam.prompts.prompts import Prompts


@dataclass(frozen=True)
class Wanted:
    """The objects asked for: the same in every image, or by the image's name.

    Attributes:
        everywhere: prompts for all images, or None.
        file: where `by_name` comes from, or None.
        by_name: prompts of a prompts file.
        everything: settings of everything mode, which needs no prompts; else None.
        tile: side of tiles or windows for big images, or None.
        derived: examples, a start mask, a heat map or the subject; else None.
        check: say which clicks look wrong.
        named: words to find, or labels for everything; else None.
        amodal: complete the masks behind what hides them.
        reading: range and bands of wide images, where these were given.
    """

    everywhere: Prompts | None
    file: Path | None = None
    by_name: dict[str, Prompts] = field(default_factory=dict)
    everything: dict[str, Any] | None = None
    tile: int | None = None
    derived: DerivedWish | None = None
    check: bool = False
    named: NamedWish | None = None
    amodal: bool = False
    reading: ReadOptions | None = None

    @classmethod
    def parse(cls, points: Sequence[str], boxes: Sequence[str], file: Path | None) -> Wanted:
        """Read the options; nothing is guessed when there are none.

        Raises:
            PromptError: no prompt, both kinds, or one that cannot be read.
        """
        from glesam.prompts.file import read_prompts_file
        from glesam.prompts.prompts import Prompts, parse_box, parse_point

        if file is not None:
            if points or boxes:
                raise PromptError("expected --prompts or --point and --box, got both; put all into the prompts file")
            return cls(None, file, read_prompts_file(file))
        if not points and not boxes:
            raise PromptError(
                "expected --point, --box, --prompts, --text, --like, --subject or --everything, got none; say what to "
                "segment, as --point 320,240"
            )
        clicks = [parse_point(text) for text in points]
        frames = [parse_box(text) for text in boxes]
        if not clicks:
            return cls(Prompts(boxes=frames))
        # The points are the first object, without a box; each box is one more, without points.
        coords, labels = [[(x, y) for x, y, _ in clicks]], [[label for _, _, label in clicks]]
        empty: list[list[int]] = [[] for _ in frames]
        return cls(Prompts([*coords, *empty], [*labels, *empty], [None, *frames] if frames else None))

    def of(self, source: ImageSource) -> Prompts:
        """Prompts of one image.

        Raises:
            PromptError: the prompts file does not know the image; names what comes nearest.
        """
        if self.everywhere is not None:
            return self.everywhere
        place = "" if source.path is None else source.path.absolute().as_posix()
        # A file named outright is called by its name alone; the prompts file may hold more of its path.
        longer = [key for key in self.by_name if key.endswith("/" + source.name) and f"/{place}".endswith("/" + key)]
        key = source.name if source.name in self.by_name else max(longer, key=len, default="")
        if key:
            return self.by_name[key]
        cure = hint(source.name, self.by_name, "add it there, or leave the image out")
        raise PromptError(f"expected prompts for {source.name} in {self.file}, found none; {cure}")

    def question(self, source: ImageSource, multimask: bool) -> Callable[[Predictor], Masks]:
        """What to ask a predictor that has the image.

        Raises:
            PromptError: as `of`.
        """
        ask = self._question(source, multimask)
        return (lambda predictor: predictor.complete(ask(predictor))) if self.amodal else ask

    def _question(self, source: ImageSource, multimask: bool) -> Callable[[Predictor], Masks]:
        """As `question`, for what is seen of the objects."""
        if self.named is not None:
            return self.named.question(self.everything, self.reading)
        if self.everything is not None:
            settings = self.everything
            return lambda predictor: predictor.generate(**settings)
        if self.derived is not None:
            derived, reading = self.derived, self.reading
            return lambda predictor: derived.ask(predictor, source, reading)
        prompts = self.of(source)

        def ask(predictor: Predictor) -> Masks:
            if self.check:
                speak_doubts(predictor, prompts, source.name)
            return predictor.predict(prompts, multimask=multimask, tile=self.tile)

        return ask
