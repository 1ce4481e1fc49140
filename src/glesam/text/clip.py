"""Word maps from a folder with CLIP, SigLIP or CLIPSeg, as transformers saves them: any words that the model knows.

CLIP (Radford et al., ICML 2021) and SigLIP (Zhai et al., ICCV 2023) were trained on whole images; the correlation of
each patch with the text, as in CAT-Seg (Cho et al., CVPR 2024), is where the word is. CLIPSeg (Lueddecke and Ecker,
CVPR 2022) gives a map itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from glesam.common.documents import brief_value, expect_object, read_json
from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.text.base import WordMap, stretched
from glesam.weights.folders import brief, check_loaded, read_config

PROMPT = "a photo of a {}."
NOTHING = ("a photo.", "a photo of something.", "a blurry background.")
"""What a word has to beat to count as shown."""

CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel", "clipseg": "CLIPSegForImageSegmentation"}
"""`model_type` of `config.json` to transformers' class."""

_PREPROCESSING = "preprocessor_config.json"

_NORMAL = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "clipseg": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of pixels 0 to 1, where `preprocessor_config.json` does not say."""

_CLIPSEG_SIDE, _MOST_SIDE = 352, 2048
"""Side of CLIPSeg's input where `preprocessor_config.json` does not say, and the largest that is taken.

It was trained at 352 on top of a CLIP of 224, which is what its `config.json` names.
"""


def load_text_model(folder: str | Path) -> TextModel:
    """Load a text model's folder for evaluation.

    Args:
        folder: with `config.json`, `model.safetensors` and the tokenizer's files.

    Raises:
        ModelError: not such a folder; the message says what to get.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(
            f"expected a folder of a text model, got {folder}; download one, such as openai/clip-vit-base-patch16 with "
            "its tokenizer, and give its folder"
        )
    family = read_config(folder).get("model_type")
    if family not in CLASSES:
        raise ModelError(
            f"expected a model_type of {', '.join(CLASSES)} in {folder / 'config.json'}, got {family!r}; get a CLIP, "
            "SigLIP or CLIPSeg model, such as openai/clip-vit-base-patch16"
        )
    import transformers

    try:
        model, info = getattr(transformers, CLASSES[family]).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many types for damaged folders
        raise ModelError(
            f"expected weights and tokenizer of a {family} model in {folder}, got {brief(error)}; get all its files"
        ) from error
    check_loaded(info, f"a {family} model", folder)
    said = _preprocessing(folder)
    # CLIP and SigLIP have positions for one size alone; CLIPSeg interpolates its own.
    side = _side(folder, said) if family == "clipseg" else int(model.config.vision_config.image_size)
    return TextModel(model.eval(), tokenizer, family, _normal(folder, family, said), side, str(folder))


class TextModel:
    """Word maps from a model of images and texts.

    Args:
        model: transformers' model.
        tokenizer: its tokenizer.
        family: key of `CLASSES`.
        normal: mean and standard deviation of the pixels that it was trained on.
        side: of the square that it takes, in pixels.
        name: what results call it.
    """

    def __init__(self, model: Any, tokenizer: Any, family: str, normal: tuple[Any, Any], side: int, name: str) -> None:
        self.name, self._model, self._tokenizer, self._family, self._side = name, model, tokenizer, family, side
        mean, deviation = normal
        self._mean, self._deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, deviation))

    @property
    def module(self) -> torch.nn.Module:
        """Transformers' model, with all weights."""
        return self._model  # type: ignore[no-any-return]

    def check(self, words: Sequence[str]) -> None:
        """Any word may be asked for."""

    @torch.inference_mode()
    def maps(self, image: RGB, words: Sequence[str]) -> list[WordMap]:
        """One map for each word; see `glesam.text.base.WordSource`.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            words: any.
        """
        pixels = self._pixels(image)
        if self._family == "clipseg":
            return [self._segmented(pixels, word) for word in words]
        patches, whole = self._patches(pixels)
        nothing = self.encode_texts(NOTHING)
        texts = self.encode_texts([PROMPT.format(word) for word in words])
        scale = float(self._model.logit_scale.exp())
        found = []
        for word, text in zip(words, texts, strict=True):
            values = torch.einsum("dhw,d->hw", patches, text).float().numpy()
            rivals = torch.logsumexp(scale * nothing @ whole, dim=0) - np.log(len(NOTHING))
            presence = torch.sigmoid(scale * (text @ whole) - rivals)
            found.append(WordMap(word, stretched(values), float(presence)))
        return found

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(n, d)` of texts, one at a time: a word's vector must not depend on what stands beside it."""
        vectors = [_vectors(self._model.get_text_features(**self._tokens(text))) for text in texts]
        return F.normalize(torch.cat(vectors).float(), dim=-1)

    def widths(self, steps: int) -> tuple[int, tuple[int, ...]]:
        """Channels d of `dense`'s features, and g of each of its guides."""
        text, vision = self._model.config.text_config, self._model.config.vision_config
        # SigLIP's image and text vectors share the width of the text encoder's projection.
        joint = self._model.config.projection_dim if self._family == "clip" else text.projection_size
        return int(joint), (int(vision.hidden_size),) * steps

    @torch.inference_mode()
    def dense(self, image: RGB, steps: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Dense features of an image, and those of earlier layers, which still know where edges are.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            steps: number of earlier layers, at even distances.

        Returns:
            `(1, d, h, w)` unit vectors, and `(1, g, h, w)` of each layer, the later ones first.

        Raises:
            ModelError: a CLIPSeg model, whose decoder takes the place of what reads these.
        """
        if self._family == "clipseg":
            raise ModelError("expected a CLIP or SigLIP model to learn on, got CLIPSeg; it has a decoder of its own")
        output = self._model.vision_model(pixel_values=self._pixels(image), output_hidden_states=True)
        patches, _ = self._joint(output)
        side, layers = patches.shape[1], len(output.hidden_states) - 1
        first = 1 if self._family == "clip" else 0
        chosen = [output.hidden_states[round(layers * i / (steps + 1))][:, first:] for i in range(steps, 0, -1)]
        return patches[None], tuple(h.float().transpose(1, 2).unflatten(2, (side, side)) for h in chosen)

    def _patches(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors `(d, h, w)` of the patches, and `(d,)` of the whole image."""
        return self._joint(self._model.vision_model(pixel_values=pixels))

    def _joint(self, output: Any) -> tuple[Tensor, Tensor]:
        """What `_patches` gives, from the vision encoder's output."""
        model = self._model.vision_model
        if self._family == "clip":
            hidden = model.post_layernorm(output.last_hidden_state[:, 1:])
            patches, whole = (
                self._model.visual_projection(hidden)[0],
                self._model.visual_projection(output.pooler_output),
            )
        else:
            # Attention pooling over a single patch is what the pooled vector would be if the image were that patch.
            hidden = output.last_hidden_state[0]
            patches, whole = model.head(hidden[:, None]), output.pooler_output
        side = round(len(patches) ** 0.5)
        grid = F.normalize(patches.float(), dim=-1).T.reshape(-1, side, side)
        return grid, F.normalize(whole[0].float(), dim=0)

    def _segmented(self, pixels: Tensor, word: str) -> WordMap:
        """CLIPSeg's own map: probabilities, whose maximum says whether the word is there."""
        logits = self._model(pixel_values=pixels, **self._tokens(PROMPT.format(word))).logits
        values = torch.sigmoid(logits.float().reshape(logits.shape[-2:]))
        return WordMap(word, stretched(values.numpy()), float(values.max()))

    def _tokens(self, text: str) -> dict[str, Tensor]:
        """A text as the model takes it; SigLIP was trained on texts filled up to their full length."""
        length = int(self._model.config.text_config.max_position_embeddings)
        padding = "max_length" if self._family == "siglip" else False
        encoded = self._tokenizer(text, return_tensors="pt", padding=padding, truncation=True, max_length=length)
        wanted = ("input_ids",) if self._family == "siglip" else ("input_ids", "attention_mask")
        return {key: encoded[key] for key in wanted}

    def _pixels(self, image: RGB) -> Tensor:
        """An image as the model takes it: its square, bicubic."""
        # As the models' own preprocessing: Pillow averages where it shrinks, OpenCV's cubic skips pixels.
        squeezed = Image.fromarray(image).resize((self._side, self._side), Image.Resampling.BICUBIC)
        resized = np.asarray(squeezed, np.float32) / 255
        return (torch.from_numpy(resized).permute(2, 0, 1)[None] - self._mean) / self._deviation


def _vectors(output: Any) -> Tensor:
    """The vectors of a text encoder, which some versions of transformers wrap."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found


def _preprocessing(folder: Path) -> dict[str, Any]:
    """What the folder says of how images are prepared; nothing where it has no such file."""
    path = folder / _PREPROCESSING
    return expect_object(read_json(path, ModelError), str(path), ModelError) if path.is_file() else {}


def _normal(folder: Path, family: str, said: dict[str, Any]) -> tuple[Any, Any]:
    """Mean and standard deviation that the folder names, or the family's."""
    mean, deviation = _NORMAL[family]
    found = said.get("image_mean", mean), said.get("image_std", deviation)
    for values in found:
        if not isinstance(values, (list, tuple)) or len(values) != 3 or not all(isinstance(v, float) for v in values):
            raise ModelError(
                f"expected three numbers as image_mean and image_std in {folder / _PREPROCESSING}, got "
                f"{brief_value(values)}"
            )
    return found


def _side(folder: Path, said: dict[str, Any]) -> int:
    """Side in pixels of CLIPSeg's square input, that the folder names or the usual one.

    `size` is a number, or an object of `height` and `width`, or of `shortest_edge`.
    """
    size = said.get("size", _CLIPSEG_SIDE)
    first, *others = size.values() if isinstance(size, dict) and set(size) in _SIZES else [size]
    if type(first) is not int or not 1 <= first <= _MOST_SIDE or any(other != first for other in others):
        raise ModelError(
            f"expected one side of 1 to {_MOST_SIDE} pixels as size in {folder / _PREPROCESSING}, got "
            f"{brief_value(size)}; get that file again"
        )
    return first


_SIZES: tuple[set[str], ...] = ({"height", "width"}, {"shortest_edge"})
