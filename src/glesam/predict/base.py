"""The part of a predictor that answers prompts: an image is encoded once, then come any number of prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glesam import images
from glesam.enhance.gains import JudgesGain
from glesam.enhance.pipeline import Restoration
from glesam.errors import ConfigError, PromptError
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.models.base import PromptableModel
from glesam.predict.embedder import Embedder
from glesam.predict.embeddings import file_name, numbered
from glesam.predict.finish import start_logits
from glesam.predict.modes import check_dtype
from glesam.predict.session import CurrentImage, Session
from glesam.prompts.names import refuse
from glesam.prompts.prompts import Prompts
from glesam.restore.base import Restorer

if TYPE_CHECKING:
    from typing import Self

_ARGUMENTS = ("prompts", "points", "labels", "boxes", "mask_input", "multimask", "tile", "obey", "start", "check")
"""Of `PromptPredictor.predict`."""


class PromptPredictor:
    """`set_image`, then `predict`; see `glesam.Predictor`, which can do more.

    Attributes:
        session: the image that is set, and what answers prompts on it; for calls that make prompts of their own.
    """

    def __init__(
        self,
        model: PromptableModel,
        enhance: str = "auto",
        enhancer: Callable[[Tensor], Tensor] | Restoration | None = None,
        gate: Callable[[Tensor], bool] | JudgesGain | None = None,
        cache_size: int = 3,
        *,
        dtype: str = "float32",
        name: str | None = None,
        restorer: Restorer | None = None,
        refine: str = "auto",
        quality: str = "standard",
    ) -> None:
        self.model, self.enhancer, self.gate, self.restorer = model.eval(), enhancer, gate, restorer
        self.name = name or model.family
        self._cache_size, self._dtype = cache_size, dtype
        restoration, autocast = Restoration.of(enhancer, gate), check_dtype(dtype) is torch.bfloat16
        embedder = Embedder(model, restoration, restorer, cache_size, autocast)
        self.session = Session(embedder, self.name, refine)
        self.enhance, self.quality = enhance, quality

    @property
    def enhance(self) -> str:
        """Mode "on", "off" or "auto"; may be changed at any time, and holds from the next prediction on."""
        return self.session.embedder.enhance

    @enhance.setter
    def enhance(self, mode: str) -> None:
        self.session.embedder.enhance = mode

    @property
    def refine(self) -> str:
        """Mode "auto" or "off"; may be changed at any time, and holds from the next prediction on."""
        return self.session.refine

    @refine.setter
    def refine(self, mode: str) -> None:
        self.session.refine = mode

    @property
    def quality(self) -> str:
        """Quality "fast", "standard" or "high".

        After a change set the image again: how it is encoded is as it was, how often it is asked is new at once.
        """
        return self.session.embedder.quality

    @quality.setter
    def quality(self, quality: str) -> None:
        self.session.embedder.quality = quality

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the current image in pixels: the size of masks, and the frame of points and boxes.

        Raises:
            ImageError: no image is set.
        """
        return self.session.encoded.geometry.original_size

    @property
    def seen_image(self) -> RGB:
        """`(H, W, 3)` uint8 RGB: the current image as the model sees it, restored where there is a restorer.

        Raises:
            ImageError: no image is set.
        """
        return self.session.pixels

    def set_image(self, image: images.ImageInput, name: str | None = None) -> None:
        """Make an image the current one: encode it unless it is among the last ones, and enhance it where asked for.

        Args:
            image: path, encoded bytes, `PIL.Image`, or `(H, W, 3)` uint8 RGB array.
            name: what results call it; the file's name when not given.

        Raises:
            ImageError: it cannot be read; then no image is set, so that prompts never meet an earlier one.
            ModelError: the enhancer gives a latent of another shape.
        """
        self.session.set_image(image, name)

    def predict(
        self,
        prompts: Prompts | None = None,
        *,
        points: Any = None,
        labels: Any = None,
        boxes: Any = None,
        mask_input: Any = None,
        multimask: bool = False,
        tile: int | None = None,
        obey: bool = True,
        start: Masks | None = None,
        check: bool = False,
        **unknown: Any,
    ) -> Masks:
        """Segment N objects of the current image; the masks have its size, and the order of the prompts.

        Args:
            prompts: prompts made before; or give their parts as the other arguments, see `glesam.prompts.Prompts`.
            points: `(K, 2)` `(x, y)` in pixels for one object, `(N, K, 2)` or a ragged list for N.
            labels: 1 foreground, 0 background, in the layout of `points`.
            boxes: `(4,)` or `(N, 4)` `(x0, y0, x1, y1)` in pixels.
            mask_input: `(h, w)` or `(N, h, w)` logits of an earlier prediction.
            multimask: give three candidates for each object; `masks` is then the best by predicted score.
            tile: look at each object in a window of at least so many pixels, for big images; see docs/everything.md.
            obey: with `refine="auto"` clicks hold and corrections go one way (`predict.one_way`); False is for guesses.
            start: an earlier prediction of the same N objects to start from; `masks.pick(i)` takes one of three.
            check: warn (`DoubtfulClickWarning`, `info["checks"]`) of clicks that look wrong by the mask of the others.
            **unknown: refused with the name that was meant, also where it is segment-anything's.

        Raises:
            ImageError: no image is set.
            PromptError: prompts that do not fit together or do not fit the image, or an argument of another name.
        """
        if unknown:
            raise refuse(unknown, _ARGUMENTS, "predict")
        current = self.session.current
        asked = _asked(prompts, points, labels, boxes, mask_input, start)
        answer = self._answer(current, asked, multimask, tile, obey)
        return self._checked(asked, answer) if check else answer

    def _answer(self, current: CurrentImage, prompts: Prompts, multimask: bool, tile: int | None, obey: bool) -> Masks:
        if tile is None:
            return self.session.answer(current.encoded, prompts, multimask, current.name, obey)
        from glesam.predict.parts import predict_windows

        return predict_windows(self.session, prompts, multimask, tile, obey)

    def _checked(self, prompts: Prompts, answer: Masks) -> Masks:
        from glesam.predict.derived import checked

        return checked(self.session, prompts, answer)

    def predict_batch(
        self,
        images: Iterable[images.ImageInput],
        prompts: Iterable[Prompts],
        *,
        multimask: bool = False,
        batch_size: int = 4,
    ) -> list[Masks]:
        """Segment objects of several images, encoding `batch_size` of them at once.

        The current image stays what it was.

        Args:
            images: images as `set_image` takes them.
            prompts: one `Prompts` for each image.
            multimask: as in `predict`.
            batch_size: images in memory at once.

        Raises:
            ConfigError: a batch size below 1.
            ImageError: an image cannot be read.
            PromptError: not one `Prompts` for each image, or prompts that do not fit theirs, which is numbered.
        """
        sources, wanted = list(images), list(prompts)
        if batch_size < 1:
            raise ConfigError(f"expected a batch_size of at least 1, got {batch_size}; the default is 4")
        if len(sources) != len(wanted):
            raise PromptError(
                f"expected one Prompts for each of {len(sources)} images, got {len(wanted)}; give one each"
            )
        results: list[Masks] = []
        for start in range(0, len(sources), batch_size):
            batch = sources[start : start + batch_size]
            names = [file_name(image) for image in batch]
            for index, encoded in enumerate(self.session.embedder.encode(batch, names), start):
                with numbered(index):
                    found = self.session.answer(encoded, wanted[index], multimask, names[index - start], obey=True)
                    results.append(found)
        return results

    def share(self) -> Self:
        """Another predictor on the same model, for another thread.

        It has the same settings, and a current image, cache and examples of its own; no weights are copied. Other
        threads may work with this one meanwhile. A restorer or enhancer of your own must bear several threads as well.
        """
        return type(self)(
            self.model,
            self.enhance,
            self.enhancer,
            self.gate,
            self._cache_size,
            dtype=self._dtype,
            name=self.name,
            restorer=self.restorer,
            refine=self.refine,
            quality=self.quality,
        )

    def reset(self) -> None:
        """Forget the current image and all embeddings."""
        self.session.reset()


def _asked(
    prompts: Prompts | None, points: Any, labels: Any, boxes: Any, mask_input: Any, start: Masks | None
) -> Prompts:
    """One object of what `predict` got."""
    parts = (points, labels, boxes, mask_input if start is None else start_logits(start, mask_input))
    if prompts is None:
        return Prompts(*parts)
    if any(part is not None for part in parts):
        raise PromptError("expected a Prompts object or its parts, got both; put everything into the Prompts object")
    return prompts
