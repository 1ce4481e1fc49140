"""The predictor: encode (and enhance) a picture once, then answer any number of prompts on it.

Calling vocabulary as in SAM (Kirillov et al., ICCV 2023): `set_image`, then `predict`. The enhancer works on the
latent between encoder and decoder (GleSAM, Guo et al., CVPR 2025).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glesam import images
from glesam.common.messages import hint
from glesam.enhance.pipeline import Restoration, shrink
from glesam.errors import ConfigError, ImageError, ModelError, PromptError
from glesam.everything.calls import EverythingCalls
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.masks.refine import check_mode, make_guide
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.predict.answers import MaskAssembly
from glesam.predict.derived import DerivedCalls
from glesam.predict.embeddings import Encoded, file_name, in_float32, numbered, row, same_shape, woven
from glesam.predict.finish import refiner_for, start_logits
from glesam.predict.looks import Looks
from glesam.predict.quality import check_quality
from glesam.predict.words import WordCalls
from glesam.prompts.prompts import Prompts
from glesam.restore.base import Restorer

ENHANCE_MODES = ("on", "off", "auto")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

PROMPTS_PER_CHUNK = {"cpu": 8}
"""Objects decoded at once by device; a decoder copies latent and skips for each.

Measured with the compact model on one CPU core, 128 prompts: chunks of 8 take 24 ms a prompt, of 64 take 36 ms and
0.5 GB more, since the copies leave the caches.
"""

PROMPTS_PER_GPU_CHUNK = 64
"""As many as SAM's automatic mask generator takes at once."""


class Predictor(EverythingCalls, DerivedCalls, Looks, WordCalls):
    """Segments what prompts point at, in pictures that are encoded once.

    The embeddings of the last pictures are kept by content: going back to one of them costs no encoding, whatever
    file, bytes or array it comes from. Raw and enhanced embeddings are kept apart. After changing the model's weights
    call `reset`.

    Not thread-safe: `set_image` and `predict` share the current picture. Give each thread its own predictor; they may
    share one model, which no call changes.

    Args:
        model: any model of the family; it is put into evaluation mode.
        enhance: "on", "off" (exactly the base model) or "auto" (the gate decides for each picture; without an enhancer
            the base model, without a gate every picture is enhanced; rules may keep small boxes with the base model).
        enhancer: latent `(1, 256, h, w)` to latent of the same shape; or a whole `Restoration` with its own gate, tuned
            decoder and rules by level.
        gate: latent `(1, 256, h, w)` to whether the picture is degraded.
        cache_size: number of pictures whose embeddings are kept, at least 1.
        dtype: "bfloat16" encodes and enhances under autocast. Prompts and decoder, which cost little, keep the weights'
            type: bfloat16 has 8 significant bits, which would move points by pixels.
        name: what results call the model; its family when not given.
        restorer: turns each image into a better one of the same size before the model sees it; None leaves it as it is.
        refine: "auto" makes masks with the image's own edges and without crumbs, on which clicks hold (see
            `glesam.masks.refine`); "off" gives the decoder's masks bit for bit. May be changed at any time.
        quality: "standard"; "high" looks at the image mirrored and smaller too, and at small objects from near;
            "fast" encodes three quarters of the side and never enhances, where the model takes any size (compact).
            Holds for images that are set from then on.

    Raises:
        ConfigError: unknown `enhance`, `refine` or `dtype`, or a `cache_size` below 1.
        ModelError: `enhance` is "on" and there is no enhancer.
    """

    def __init__(
        self,
        model: PromptableModel,
        enhance: str = "auto",
        enhancer: Callable[[Tensor], Tensor] | Restoration | None = None,
        gate: Callable[[Tensor], bool] | None = None,
        cache_size: int = 3,
        *,
        dtype: str = "float32",
        name: str | None = None,
        restorer: Restorer | None = None,
        refine: str = "auto",
        quality: str = "standard",
    ) -> None:
        if cache_size < 1:
            raise ConfigError(f"expected a cache_size of at least 1, got {cache_size}; the default is 3")
        self.model = model.eval()
        self.enhancer, self.gate, self.restorer = enhancer, gate, restorer
        self._restoration = Restoration.of(enhancer, gate)
        self._digest: str | None = None
        self.enhance, self.refine, self.quality = enhance, refine, quality
        self.name = name or model.family
        self._autocast = _dtype(dtype) is torch.bfloat16
        self._cache_size = cache_size
        self._cache: OrderedDict[str, Encoded] = OrderedDict()
        self._current: Encoded | None = None
        self._current_name: str | None = None
        self._pixels: RGB | None = None
        self._restored: tuple[RGB, RGB] | None = None

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
    ) -> Predictor:
        """Load a model by preset name, folder, hub id or original checkpoint.

        Args:
            name: see `glesam.models.registry.load_model`; `glesam models` lists the presets.
            device: "cpu", "cuda", "mps", or "auto" for the first of cuda, mps, cpu that is there.
            enhance: see the class.
            dtype: "float32" or "bfloat16", see the class. The weights are kept in float32 in both.
            enhancer: folder of an enhancer that was made for this model (`glesam train bundle`); without it `compact`
                has the one that ships with the package, other models none.
            runtime: "onnx" or "openvino" runs an exported folder (`glesam export`) outside torch; without it such a
                folder runs in the format that it was made for.
            restore: what restores images before the model sees them: a restorer, or its name, such as "median:5" (see
                `glesam.restore.registry`); None for nothing.
            restore_cache: folder that keeps restored images for later runs.
            refine: see the class.
            head: another mask head for the model: "hq" or "robust" where the authors' file is on this machine, the
                folder of a trained head, or an authors' file; see docs/heads.md.
            head_mode: "sum" or "hq" for heads of the kind "hq".
            quality: see the class.

        Raises:
            ModelError: unknown name, missing weights, no such device, an enhancer that is corrupt or made for another
                model, `enhance="on"` without an enhancer, or a restorer whose network cannot be loaded.
            ConfigError: unknown `enhance`, `refine`, `quality`, `dtype` or `restore`.
        """
        from glesam.models.exported.model import load_exported, runtime_of
        from glesam.models.registry import bundled_enhancer, load_model
        from glesam.restore.registry import load_restorer

        (
            _mode(enhance),
            _dtype(dtype),
            check_mode(refine),
            check_quality(quality),
        )  # a slip in these shall not cost loading a model first
        restorer = (
            restore if isinstance(restore, Restorer) else load_restorer(restore, pick_device(device), restore_cache)
        )
        runtime = runtime or runtime_of(name)
        if runtime is not None and (head or head_mode) is not None:
            raise ConfigError("expected no head for an exported model, which has its own decoder; leave the head out")
        if runtime is not None:
            model, restoration = load_exported(name, runtime, device, dtype, enhancer)
            return cls(model, enhance, restoration, name=str(name), restorer=restorer, refine=refine, quality=quality)
        model = load_model(os.fspath(name), device=pick_device(device))
        folder = bundled_enhancer(name) if enhancer is None else Path(enhancer)
        bundle = None
        if folder is not None:
            from glesam.enhance.bundle import load_bundle

            bundle = load_bundle(folder, model)
        if (head or head_mode) is not None:
            from glesam.heads.registry import attach

            headed = attach(head, model, os.fspath(name), head_mode)
            bundle = None if bundle is None else bundle.under(headed.over)
            model = headed
        return cls(
            model, enhance, bundle, dtype=dtype, name=str(name), restorer=restorer, refine=refine, quality=quality
        )

    @property
    def enhance(self) -> str:
        """Mode "on", "off" or "auto"; may be changed at any time, and holds from the next prediction on."""
        return self._enhance

    @enhance.setter
    def enhance(self, mode: str) -> None:
        if _mode(mode) == "on" and self._restoration is None:
            raise ModelError(
                'expected a model with an enhancer for enhance="on", got one without; use enhance="auto" or "off", or '
                "a model that was trained with one"
            )
        self._enhance = mode

    @property
    def refine(self) -> str:
        """Mode "auto" or "off"; may be changed at any time, and holds from the next prediction on."""
        return self._refine

    @refine.setter
    def refine(self, mode: str) -> None:
        self._refine = check_mode(mode)

    @property
    def image_size(self) -> tuple[int, int]:
        """`(H, W)` of the current picture in pixels: the size of masks, and the frame of points and boxes.

        Raises:
            ImageError: no picture is set.
        """
        return self._picture().geometry.original_size

    @property
    def seen_image(self) -> RGB:
        """`(H, W, 3)` uint8 RGB: the current image as the model sees it, restored where there is a restorer.

        Raises:
            ImageError: no image is set.
        """
        return self._current_pixels()

    def set_image(self, image: images.ImageInput, name: str | None = None) -> None:
        """Make a picture the current one: encode it unless it is among the last ones, and enhance it where asked for.

        Args:
            image: path, encoded bytes, `PIL.Image`, or `(H, W, 3)` uint8 RGB array.
            name: what results call it; the file's name when not given.

        Raises:
            ImageError: it cannot be read; then no picture is set, so that prompts never meet an earlier one.
            ModelError: the enhancer gives a latent of another shape.
        """
        self._current = self._pixels = self._restored = None
        pixels, name = images.read(image), file_name(image) if name is None else name
        encoded = self._encode([pixels], [name])[0]
        self._embedding(encoded)
        self._current, self._current_name, self._pixels = encoded, name, pixels

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
        **unknown: Any,
    ) -> Masks:
        """Segment N objects of the current picture.

        Args:
            prompts: prompts made before; or give their parts as the other arguments, see `glesam.prompts.Prompts`.
            points: `(K, 2)` `(x, y)` in pixels for one object, `(N, K, 2)` or a ragged list for N.
            labels: 1 foreground, 0 background, in the layout of `points`.
            boxes: `(4,)` or `(N, 4)` `(x0, y0, x1, y1)` in pixels.
            mask_input: `(h, w)` or `(N, h, w)` logits of an earlier prediction.
            start: an earlier prediction of the same N objects to go on from: in place of its logits as `mask_input`. Of
                three candidates `masks.pick(i)` takes the one that was meant.
            multimask: give three candidates for each object; `masks` is then the best by predicted score.
            tile: for big pictures, look at each object in a window of at least so many pixels; see docs/everything.md.
            obey: with `refine="auto"`, a positive click is inside of its mask and a negative one outside, also where
                the decoder did not follow; False is for clicks that are guesses.
            **unknown: refused with the name that was meant.

        Returns:
            Masks at the picture's size, in the order of the prompts.

        Raises:
            ImageError: no picture is set.
            PromptError: prompts that do not fit together or do not fit the picture, or an argument of another name.
        """
        if unknown:
            raise PromptError(_unknown_argument(next(iter(unknown))))
        picture = self._picture()
        if start is not None:
            mask_input = start_logits(start, mask_input)
        parts = (points, labels, boxes, mask_input)
        if prompts is not None and any(part is not None for part in parts):
            raise PromptError(
                "expected a Prompts object or its parts, got both; put everything into the Prompts object"
            )
        prompts = Prompts(*parts) if prompts is None else prompts
        if tile is not None:
            return self._predict_windows(prompts, multimask, tile)
        return self._predict(picture, prompts, multimask, self._current_name, obey)

    def predict_batch(
        self,
        images: Iterable[images.ImageInput],
        prompts: Iterable[Prompts],
        *,
        multimask: bool = False,
        batch_size: int = 4,
    ) -> list[Masks]:
        """Segment objects of several pictures, encoding `batch_size` of them at once.

        The current picture stays what it was.

        Args:
            images: pictures as `set_image` takes them.
            prompts: one `Prompts` for each picture.
            multimask: as in `predict`.
            batch_size: pictures in memory at once.

        Raises:
            ConfigError: a batch size below 1.
            ImageError: a picture cannot be read.
            PromptError: not one `Prompts` for each picture, or prompts that do not fit theirs, which is numbered.
        """
        pictures, wishes = list(images), list(prompts)
        if batch_size < 1:
            raise ConfigError(f"expected a batch_size of at least 1, got {batch_size}; the default is 4")
        if len(pictures) != len(wishes):
            raise PromptError(
                f"expected one Prompts for each of {len(pictures)} pictures, got {len(wishes)}; give one each"
            )
        results: list[Masks] = []
        for start in range(0, len(pictures), batch_size):
            batch = pictures[start : start + batch_size]
            names = [file_name(image) for image in batch]
            for index, encoded in enumerate(self._encode(batch, names), start):
                with numbered(index):
                    results.append(self._predict(encoded, wishes[index], multimask, names[index - start]))
        return results

    def reset(self) -> None:
        """Forget the current picture and all embeddings."""
        self._cache.clear()
        self._current = self._digest = self._pixels = self._restored = None

    @property
    def _chunk(self) -> int:
        """Objects decoded at once."""
        return PROMPTS_PER_CHUNK.get(self.model.device.type, PROMPTS_PER_GPU_CHUNK)

    def _picture(self) -> Encoded:
        """The current picture."""
        if self._current is None:
            raise ImageError("expected a picture to segment, got none; call set_image(image) first")
        return self._current

    @torch.inference_mode()
    def _encode(self, sources: Sequence[images.ImageInput], names: Sequence[str | None]) -> list[Encoded]:
        """Read pictures, and restore and encode together those that are not in the cache, each once."""
        found: dict[str, Encoded] = {}
        fresh: dict[str, tuple[Tensor, ImageGeometry]] = {}
        keys: list[str] = []
        guides = {}
        self._restored = None  # an array that was seen before may hold another image by now
        for source, name in zip(sources, names, strict=True):
            image = images.read(source)
            keys.append(images.content_hash(image))
            if keys[-1] in self._cache and self._cache[keys[-1]].side == self._side:
                found[keys[-1]] = self._cache[keys[-1]]
            elif keys[-1] not in fresh:
                better = self._better(image, name)
                fresh[keys[-1]], guides[keys[-1]] = self.model.prepare(better), make_guide(better)
        for batch in same_shape(fresh):
            found |= self._encode_fresh(batch)
        for key, guide in guides.items():
            found[key].guide = guide
        if self._quality == "high":
            self._keep_images(found, keys, sources, names)
        for key in keys:
            self._remember(key, found[key])
        return [found[key] for key in keys]

    def _better(self, image: RGB, name: str | None) -> RGB:
        """The image as the model is to see it; the last one is kept, for crops."""
        if self.restorer is None:
            return image
        if self._restored is None or self._restored[0] is not image:
            self._restored = image, self.restorer.restore(image, name)
        return self._restored[1]

    def _current_pixels(self) -> RGB:
        """The current image as the model sees it, for crops of it."""
        if self._pixels is None:
            raise ImageError("expected a picture to look at in parts, got none; call set_image(image) first")
        return self._better(self._pixels, self._current_name)

    def _encode_fresh(self, fresh: dict[str, tuple[Tensor, ImageGeometry]]) -> dict[str, Encoded]:
        """Run the encoder on one batch, and give each picture its own part of it."""
        side, batch = self._side, torch.cat([pixels for pixels, _ in fresh.values()])
        with self._precision():
            embedding = self.model.encode(batch if side is None else shrink(batch, side, self.model.side_step))
        if self._autocast:
            embedding = in_float32(embedding)
        keeps = self._restoration is not None and self._restoration.needs_pixels
        found = {}
        for index, (key, (pixels, geometry)) in enumerate(fresh.items()):
            kept = geometry.trim(pixels) if self.model.side_step else pixels
            found[key] = Encoded(geometry, row(embedding, index, len(fresh)), pixels=kept if keeps else None, side=side)
        return found

    def _remember(self, key: str, encoded: Encoded) -> None:
        """Put a picture at the young end of the cache, and let the oldest go."""
        self._cache[key] = encoded
        self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _precision(self) -> torch.autocast:
        """Autocast to bfloat16 where that was asked for."""
        return torch.autocast(self.model.device.type, torch.bfloat16, enabled=self._autocast)

    @torch.inference_mode()
    def _embedding(self, encoded: Encoded) -> Embedding:
        """The raw or the enhanced embedding of a picture, as `enhance` says now."""
        restoration = self._restoration
        if restoration is None or encoded.side is not None or not self._wants_enhancing(encoded, restoration):
            return encoded.raw
        if encoded.enhanced is None:
            with self._precision():
                restored = restoration.restore(self.model, encoded.raw, encoded.level, encoded.pixels)
            encoded.enhanced = in_float32(restored) if self._autocast else restored
        return encoded.enhanced

    def _wants_enhancing(self, encoded: Encoded, restoration: Restoration) -> bool:
        """Whether the picture is to be enhanced; asks the gate once for each picture, and only where it matters."""
        if self._enhance == "off":
            return False
        if encoded.verdict is None and (self._enhance == "auto" or restoration.needs_level):
            encoded.verdict = restoration.judge(encoded.raw.latent)
        return self._enhance == "on" or encoded.verdict is None or encoded.verdict[0]

    def _decode(self, embedding: Embedding, encoded: Encoded, prompts: PromptTensors, multimask: bool) -> MaskOutput:
        """Decode with the base model; a restored embedding as its restoration says, which may leave small boxes out."""
        if encoded.side is not None:
            return Restoration().decode(self.model, embedding, prompts, multimask)
        if embedding is encoded.raw or self._restoration is None:
            return self.model.decode(embedding, prompts, multimask)
        least = self._restoration.rule(encoded.level).least_box if self._enhance == "auto" else 0.0
        small = encoded.small_boxes(prompts, least)
        if small.all():
            return self.model.decode(encoded.raw, prompts, multimask)
        if not small.any():
            return self._restoration.decode(self.model, embedding, prompts, multimask)
        plain = self.model.decode(encoded.raw, prompts.map(lambda t: t[:, small]), multimask)
        large = prompts.map(lambda t: t[:, ~small])
        return woven(plain, self._restoration.decode(self.model, embedding, large, multimask), small)

    def _info(self, enhanced: bool) -> dict[str, Any]:
        """What results say of their making; `weights` is the digest of the base model and, if used, the enhancer's."""
        if self._digest is None:
            from glesam.weights.folders import state_digest

            self._digest = state_digest(self.model)
        digests = [self._digest[:16]]
        if enhanced and self._restoration is not None and self._restoration.weights is not None:
            digests.append(self._restoration.weights[:16])
        info = {"model": self.name, "enhanced": enhanced, "weights": "+".join(digests), "refine": self._refine}
        return info if self.restorer is None else {**info, "restorer": f"{self.restorer.name}-{self.restorer.key}"}

    @torch.inference_mode()
    def _predict(
        self, encoded: Encoded, prompts: Prompts, multimask: bool, name: str | None, obey: bool = True
    ) -> Masks:
        """Decode all objects, group by group and chunk by chunk."""
        geometry, count = encoded.geometry, len(prompts)
        prompts = prompts.check(geometry.original_size, cut=self.model.cuts_boxes)
        embedding = self._embedding(encoded)
        step = self._chunk
        refiner = None
        if self._refine != "off":
            refiner = refiner_for(encoded, prompts, embedding is not encoded.raw, obey)
        answer = MaskAssembly(count, 3 if multimask else 1, geometry.original_size, refiner)
        for indices, group in prompts.groups():
            tensors = group.to_tensors(geometry, self.model.device)
            for start in range(0, len(indices), step):
                chunk = slice(start, start + step)
                part = tensors.map(lambda t, c=chunk: t[:, c])
                output = self._decode_well(embedding, encoded, part, multimask)
                near = self._nearer(encoded, prompts, indices[chunk], output, multimask)
                answer.put(indices[chunk], output, geometry, near)
        return answer.masks(name, self._info(embedding is not encoded.raw))


def pick_device(device: str) -> str:
    """Turn "auto" into the first of cuda, mps and cpu that is there; any other name is given back."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _mode(mode: str) -> str:
    """Check the name of an enhancing mode."""
    if mode not in ENHANCE_MODES:
        raise ConfigError(f"expected enhance of {', '.join(ENHANCE_MODES)}, got {mode!r}; name one of these")
    return mode


def _dtype(name: str) -> torch.dtype:
    """Turn the name of a floating type into the type."""
    if name not in DTYPES:
        raise ConfigError(f"expected a dtype of {', '.join(DTYPES)}, got {name!r}; name one of these")
    return DTYPES[name]


_OTHER_NAMES = {
    "box": "boxes",
    "point_coords": "points",
    "point": "points",
    "point_labels": "labels",
    "label": "labels",
}
"""What arguments are called elsewhere, and here."""


def _unknown_argument(name: str) -> str:
    """The message for an argument that is not known."""
    known = ("prompts", "points", "labels", "boxes", "mask_input", "multimask", "tile", "obey", "start")
    cure = f"did you mean {_OTHER_NAMES[name]!r}?" if name in _OTHER_NAMES else hint(name, known)
    return f"expected arguments of predict, got {name!r}; {cure}"
