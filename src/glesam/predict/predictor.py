"""The predictor: encode (and enhance) an image once, then answer any number of prompts on it.

Calling vocabulary as in SAM (Kirillov et al., ICCV 2023): `set_image`, then `predict`. The enhancer works on the
latent between encoder and decoder (GleSAM, Guo et al., CVPR 2025).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.masks.refine import check_mode
from glesam.predict.base import PromptPredictor
from glesam.predict.load import load_parts
from glesam.predict.modes import check_dtype, check_enhance
from glesam.predict.quality import check_quality
from glesam.restore.base import Restorer

if TYPE_CHECKING:
    from typing import Self

    from glesam.everything.labels import Labeler
    from glesam.images.reading import ImageInput
    from glesam.masks.masks import Masks
    from glesam.masks.sparse import SparseMasks
    from glesam.predict.examples import Examples
    from glesam.predict.words import Words
    from glesam.prompts.hygiene import ClickCheck
    from glesam.prompts.prompts import Prompts
    from glesam.subject.head import SubjectHead
    from glesam.text.base import WordSource


class Predictor(PromptPredictor):
    """Segments what prompts point at, in images that are encoded once.

    The embeddings of the last images are kept by content: going back to one of them costs no encoding, whatever
    file, bytes or array it comes from. Raw and enhanced embeddings are kept apart. After changing the model's weights
    call `reset`.

    One predictor is for one thread: `set_image` and `predict` share the current image. `share()` gives another
    predictor on the same model for another thread. Models, heads and enhancers may be shared: no call changes their
    weights, and what they keep of the last image is looked up by that image and replaced as a whole.

    Args:
        model: any model of the family; it is put into evaluation mode.
        enhance: "on", "off" (exactly the base model) or "auto" (the gate decides for each image; without an enhancer
            the base model, without a gate every image is enhanced; rules may keep small boxes with the base model).
        enhancer: latent `(1, 256, h, w)` to latent of the same shape; or a whole `Restoration` with its own gate, tuned
            decoder and rules by level.
        gate: latent `(1, 256, h, w)` to whether the image is degraded; or a `GainGate`, which judges clicks and boxes
            apart.
        cache_size: number of images whose embeddings are kept, at least 1.
        dtype: "bfloat16" encodes and enhances under autocast. Prompts and decoder, which cost little, keep the weights'
            type: bfloat16 has 8 significant bits, which would move points by pixels.
        name: what results call the model; its family when not given.
        restorer: turns each image into a better one of the same size before the model sees it; None leaves it as it is.
        refine: "auto" makes masks with the image's own edges and without crumbs, on which clicks hold (see
            `glesam.masks.refine`); "off" gives the decoder's masks bit for bit. May be changed at any time.
        quality: "standard" answers a single mask twice, the second time from its first answer (compact); "high" looks
            at the image mirrored and smaller too, and at small objects from near; "fast" answers once, encodes three
            quarters of the side and never enhances, where the model takes any size (compact).
            Holds for images that are set from then on.

    Raises:
        ConfigError: unknown `enhance`, `refine` or `dtype`, or a `cache_size` below 1.
        ModelError: `enhance` is "on" and there is no enhancer.
    """

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "compact",
        device: str = "cpu",
        enhance: str = "auto",
        dtype: str = "float32",
        enhancer: str | os.PathLike[str] | None = None,
        runtime: str | None = None,
        restore: str | Restorer | None = None,
        restore_cache: str | os.PathLike[str] | None = None,
        refine: str = "auto",
        head: str | os.PathLike[str] | None = None,
        head_mode: str | None = None,
        quality: str = "standard",
    ) -> Self:
        """Load a model by preset name, folder, hub id or original checkpoint; `enhance` to `quality`: see the class.

        Args:
            name: see `glesam.models.registry.load_model`; `glesam models` lists the presets.
            device: "cpu", "cuda", "mps", or "auto" for the first of cuda, mps, cpu that is there.
            enhance: "on", "off" or "auto".
            dtype: "float32" or "bfloat16"; the weights are kept in float32 in both.
            enhancer: folder of an enhancer for this model (`glesam train bundle`); None: the one that ships, if any;
                "compact": that one, for a model tuned from `compact`; "gle": the one set up as in the GleSAM paper.
            runtime: "onnx" or "openvino" for an exported folder (`glesam export`); None: what it was made for.
            restore: restorer of images or its name, such as "median:5", see `glesam.restore.registry`.
            restore_cache: folder that keeps restored images for later runs.
            refine: "auto" or "off".
            head: "hq", "robust", the folder of a trained mask head, or an authors' file; see docs/heads.md.
            head_mode: "sum" or "hq", for "hq" heads.
            quality: "fast", "standard" or "high".

        Raises:
            ModelError: a part that is not there, cannot be loaded or does not fit; `enhance="on"` without an enhancer.
            ConfigError: unknown `enhance`, `refine`, `quality`, `dtype` or `restore`.
        """
        check_enhance(enhance), check_dtype(dtype), check_mode(refine), check_quality(quality)  # before any is loaded
        parts = load_parts(name, device, dtype, enhancer, runtime, restore, restore_cache, head, head_mode)
        further: dict[str, Any] = {"restorer": parts.restorer, "refine": refine, "quality": quality}
        return cls(parts.model, enhance, parts.restoration, dtype=parts.dtype, name=str(name), **further)

    def generate(self, **settings: Any) -> SparseMasks:
        """Segment everything in the current image, without prompts.

        The result does not depend on `points_per_batch`, bit for bit, as long as memory suffices for one chunk of
        clicks; when it runs out the batch is halved, with a `MemoryWarning`.

        Args:
            **settings: see `glesam.everything.options.Options`; the names are those of segment-anything's
                `SamAutomaticMaskGenerator`, and `tile` is the side of the tiles for a big image.

        Returns:
            Masks at the image's size, highest predicted IoU first; perhaps none. `to_coco` has segment-anything's
            keys. They are kept as runs; `masks.masks` expands them, up to a limit (see `SparseMasks`).

        Raises:
            ImageError: no image is set.
            ConfigError: an unknown setting, or a bad value.
        """
        from glesam.predict.parts import generate

        return generate(self.session, settings)

    @cached_property
    def words(self) -> Words:
        """What finds and names objects by words."""
        from glesam.predict.words import Words

        return Words(self.session)

    def share(self) -> Self:
        """As `PromptPredictor.share`, with the same source of words, which must then bear several threads as well."""
        other = super().share()
        if "words" in self.__dict__:
            other.words.default = self.words.default
        return other

    @property
    def word_source(self) -> WordSource:
        """What locates words: the bundled offline vocabulary unless another one was set."""
        return self.words.source

    @word_source.setter
    def word_source(self, source: WordSource) -> None:
        self.words.default = source

    def predict_text(self, words: str | Sequence[str], *, source: WordSource | None = None) -> Masks:
        """Find the objects that words name in the current image.

        Args:
            words: such as `["dog", "cup"]` or `"dog; cup"`.
            source: what locates the words; `word_source` when not given.

        Returns:
            Masks with `class_names`, word by word in the order given, several of a kind apart; perhaps none.
            `scores` say how sure it is of each object, 0 to 1. Words that are not found are reported by an
            `AbsentWarning`; `info["words"]` has how sure it is that the image shows each word at all.

        Raises:
            ImageError: no image is set.
            PromptError: no word, too many, or one that the source does not know.
        """
        from glesam.predict.words import warn_of_absent

        masks = self.words.find(words, source)
        warn_of_absent(masks, masks.name)
        return masks

    def find_words(
        self, words: str | Sequence[str], source: WordSource | None = None, most: int | None = None
    ) -> Masks:
        """`predict_text` without its warning: warnings do not reach programs with threads reliably.

        Raises:
            PromptError: more than `most` objects were found, before their masks are made.
        """
        return self.words.find(words, source, most)

    def label(self, masks: Masks, labeler: str | Labeler = "offline") -> Masks:
        """Name masks of the current image, such as `generate` gives.

        Args:
            masks: of the current image.
            labeler: "offline", "clip:FOLDER", "examples:FOLDER", or a callable of your own; see
                `glesam.everything.labels`.

        Returns:
            The same masks with `class_names`.

        Raises:
            ImageError: no image is set.
            ConfigError: an unknown labeler.
            ModelError: its weights are missing or do not fit.
        """
        return self.words.label(masks, labeler)

    @cached_property
    def examples(self) -> Examples:
        """What `remember` keeps and `find_like` looks for."""
        from glesam.predict.examples import Examples

        return Examples(self.session)

    @property
    def has_examples(self) -> bool:
        """Whether anything is remembered."""
        return len(self.examples) > 0

    def remember(self, mask: Any, negative: bool = False) -> None:
        """Keep objects of the current image as examples for `find_like`.

        All objects of the kind in the image should be given: what is not counts as something else.

        Args:
            mask: `Masks`, or `(H, W)` or `(n, H, W)` bool at the image's size.
            negative: they show what is not wanted, though it may look alike.

        Raises:
            ImageError: no image is set.
            PromptError: another size than the image's, or an empty mask.
        """
        self.examples.add(self.session.pixels, mask, negative)

    def remember_file(self, image: ImageInput, mask: Any, negative: bool = False, name: str | None = None) -> None:
        """As `remember`, for objects of another image, which does not become the current one.

        Args:
            image: as `set_image` takes it.
            mask: see `remember`.
            negative: see `remember`.
            name: what a restorer knows the image by; the file's name when not given.

        Raises:
            ImageError: the image cannot be read.
            PromptError: as `remember`.
        """
        from glesam.predict.embeddings import file_name
        from glesam.predict.session import read_own

        called = file_name(image) if name is None else name
        self.examples.add(self.session.embedder.restored(read_own(image), called), mask, negative)

    def forget(self) -> None:
        """Forget all examples."""
        self.examples.clear()

    def find_like(self, threshold: float | None = None, most: int | None = None) -> Masks:
        """Find in the current image what looks like the remembered examples; nothing is trained.

        Args:
            threshold: likeness from which on something counts as found, 0 to 1; without it chosen by leaving out one
                example image at a time, or a default where there is only one. See `glesam.fewshot`.
            most: matches for which masks at the image's size may be made; None takes as many as there are.

        Returns:
            Masks at the image's size, most alike first; perhaps none. `scores` are the likeness, and `info` has the
            threshold and the predicted IoU.

        Raises:
            ImageError: no image is set.
            PromptError: nothing was remembered, or more than `most` was found.
        """
        return self.examples.find(threshold, most)

    def keep_features(self, folder: str | Path | None) -> None:
        """Keep the features that `find_like` needs in a folder, so that a second search needs no second look."""
        self.examples.keep_features(folder)

    def predict_from_masks(self, masks: Any, *, keep_to: float = 0.5) -> Masks:
        """Correct masks of the current image that are nearly right: of another tool, painted, of an earlier image.

        Args:
            masks: `Masks`, or `(H, W)` or `(N, H, W)` bool at the image's size.
            keep_to: least IoU of an answer with its start; an answer that strays farther is not taken, the start stays,
                and `info["start_kept"]` has its index.

        Raises:
            ImageError: no image is set.
            PromptError: another size than the image's, or an empty mask.
        """
        from glesam.predict.derived import predict_from_masks

        return predict_from_masks(self.session, masks, keep_to)

    def predict_heat_map(self, values: Any, regions: int = 5) -> Masks:
        """Segment what a heat map of the current image points at: its peaks and regions become prompts.

        Args:
            values: `(h, w)` finite numbers of any range laid over the whole image, higher where the object is.
            regions: prompts at most; see `glesam.text.pseudo_prompts`.

        Returns:
            One mask a region, the highest peak first, near duplicates dropped.

        Raises:
            ImageError: no image is set.
            PromptError: not a finite map.
        """
        from glesam.predict.derived import predict_heat_map

        return predict_heat_map(self.session, values, regions)

    def predict_subject(self) -> Masks:
        """Segment the main thing of the current image, without any prompt.

        Returns:
            One mask; its score is its soft IoU with the saliency map, the sum of minima over the sum of maxima.
            `logits` are empty, `info["subject"]` tells how the mask was chosen.

        Raises:
            ImageError: no image is set.
            ModelError: the bundled head is missing.
        """
        from glesam.predict.derived import predict_subject

        return predict_subject(self.session, self.examples.features.backbone, self._subject_head)

    def complete(self, masks: Any) -> Masks:
        """Guess what of objects of the current image lies behind other things (amodal masks).

        Args:
            masks: `Masks`, or `(H, W)` or `(N, H, W)` bool at the image's size, of any origin.

        Returns:
            The same masks with `amodal`; `whole` has these as masks, `hidden` what is not seen. Nothing is guessed
            outside the image, nor farther from an object than half of its box's longer side.

        Raises:
            ImageError: no image is set.
            PromptError: another size than the image's.
            ModelError: the bundled network is missing.
        """
        from glesam.predict.derived import complete

        return complete(self.session, self.examples.features.backbone, masks)

    @cached_property
    def _subject_head(self) -> SubjectHead:
        from glesam.subject.head import SubjectHead

        return SubjectHead.from_pretrained()

    def check_prompts(self, prompts: Prompts) -> list[ClickCheck]:
        """Say which clicks look wrong, by the masks that the other clicks of their object give.

        Costs one more mask for each click. See `glesam.prompts.hygiene`.

        Raises:
            ImageError: no image is set.
            PromptError: prompts that do not fit the image.
        """
        from glesam.predict.derived import check_prompts

        return check_prompts(self.session, prompts)
