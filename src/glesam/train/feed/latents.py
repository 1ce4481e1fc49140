"""Latents of clean and degraded views: computed at each step, or once and kept in a memory map.

The encoder is frozen, so a pair's latents never change; on a CPU they cost more than a step of the enhancer. All runs
that share model, data and levels share the file, so that a study of many settings encodes its images once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from glesam.common.documents import expect_object, read_json
from glesam.common.files import atomic_path, write_text
from glesam.common.messages import one_line
from glesam.errors import DataError
from glesam.models.base import PromptableModel
from glesam.train.config import PairConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.pairs import PairBatches
from glesam.train.feed.views import view_pixels
from glesam.weights.folders import state_digest

Progress = Callable[[int, int], None]
_SHAPING = (
    "seed",
    "image_size",
    "batch_size",
    "scale",
    "levels",
    "as_clear",
    "leave_out",
    "mixing",
    "recipe",
    "native",
    "paste",
    "cached_pairs",
)
PARTS = ("clean", "degraded")


@torch.no_grad()
def encode_views(model: PromptableModel, views: Tensor) -> Tensor:
    """Latents `(B, C, h, w)` of `(B, S, S, 3)` uint8 views."""
    return model.encode(view_pixels(model, views)).latent


def pair_latents(model: PromptableModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Clean and degraded latents of a batch, `(B, C, h, w)` float32 each, from its views or straight from the cache."""
    if "clean_latent" in batch:
        return batch["clean_latent"].float(), batch["degraded_latent"].float()
    both = encode_views(model, torch.cat([batch["clean"], batch["pixels"]])).float()
    return tuple(both.chunk(2))  # type: ignore[return-value]


class LatentPairs(Dataset[Batch]):
    """Item `step` is a batch drawn from a file of latents.

    A batch holds `clean_latent` and `degraded_latent`, `(B, C, h, w)` float16, and `levels (B,)` float32.

    Args:
        folder: what `cache_latents` wrote.
        config: the stage's configuration.
        rank: number of this process.

    Raises:
        DataError: a file of the folder is missing or damaged.
    """

    def __init__(self, folder: Path, config: PairConfig, rank: int = 0) -> None:
        self.config, self.rank = config, rank
        try:
            index = expect_object(read_json(folder / "index.json"), str(folder))
            self.levels = np.asarray(index["levels"], np.float32)
            if self.levels.ndim != 1 or not len(self.levels):
                raise ValueError("no list of levels")
            shape = (len(self.levels), *index["shape"])
            self._maps = {part: np.memmap(folder / f"{part}.bin", np.float16, "r", shape=shape) for part in PARTS}
        except (DataError, OSError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(f"expected latents in {folder}, got {one_line(error)}; delete that folder") from error

    def __len__(self) -> int:
        """Number of steps."""
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        """Draw the batch of a step."""
        rng = np.random.default_rng([self.config.seed, step, self.rank])
        rows = rng.integers(0, len(self.levels), self.config.batch_size)
        latents = {f"{part}_latent": torch.from_numpy(self._maps[part][rows]) for part in PARTS}
        return {**latents, "levels": torch.from_numpy(self.levels[rows])}


def cache_latents(
    model: PromptableModel, pairs: PairBatches, cache: str | Path, on_progress: Progress | None = None
) -> Path:
    """Write the latents of the first `cached_pairs` pairs of a stream, in half precision, or find them written.

    Args:
        model: its encoder is used.
        pairs: the stream; its configuration says how many.
        cache: folder for such files; safe to delete at any time.
        on_progress: called with (done, total).

    Returns:
        The folder with `index.json`, `clean.bin` and `degraded.bin`.
    """
    config = pairs.pairs
    values = config.model_dump(mode="json")
    sources = [[pack.key, pack.names] for pack in pairs.packs]
    shaping = {key: values[key] for key in _SHAPING} | {"takes_moved": config.takes_moved}
    identity = [state_digest(model), shaping, list(pairs.shares), sources]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = Path(cache) / f"latents-{key}"
    if not (folder / "index.json").is_file():
        _write(model, pairs, folder, on_progress)
    return folder


def _write(model: PromptableModel, pairs: PairBatches, folder: Path, on_progress: Progress | None) -> None:
    """Write the two binaries, then the index, whose presence says that the cache is complete."""
    config = pairs.pairs
    count = -(-config.cached_pairs // config.batch_size)
    loader = DataLoader(Subset(pairs, range(count)), batch_size=None, num_workers=config.workers)
    levels: list[float] = []
    shape: list[int] = []
    with (
        atomic_path(folder / "clean.bin") as clean_path,
        atomic_path(folder / "degraded.bin") as degraded_path,
        clean_path.open("wb") as clean,
        degraded_path.open("wb") as degraded,
    ):
        for number, batch in enumerate(loader):
            for stream, latent in zip((clean, degraded), pair_latents(model, batch), strict=True):
                stream.write(latent.half().cpu().contiguous().numpy().tobytes())
                shape = list(latent.shape[1:])
            levels += batch["levels"].tolist()
            if on_progress is not None:
                on_progress(number + 1, count)
    write_text(folder / "index.json", json.dumps({"shape": shape, "levels": levels}))


def pair_stream(
    model: PromptableModel,
    pairs: PairBatches,
    cache: str | Path | None,
    rank: int = 0,
    on_progress: Progress | None = None,
) -> Dataset[Batch]:
    """The stream that a configuration asks for: views, or cached latents.

    The cache holds the same pairs for all processes; which of them a step sees differs from process to process.
    """
    if not pairs.pairs.cached_pairs or cache is None:
        return pairs
    pairs.rank = 0
    return LatentPairs(cache_latents(model, pairs, cache, on_progress), pairs.pairs, rank)


@torch.no_grad()
def latent_statistics(model: PromptableModel, pairs: PairBatches, images: int) -> dict[str, float]:
    """Measure the latents of clean views: what the alignment scale is to be measured against.

    Args:
        model: its encoder is used.
        pairs: a stream of pairs.
        images: number of clean views at least.

    Returns:
        `channels`; `std`, the standard deviation of all values about their mean; and `sum_std`, that of the sum over
        the channel groups of four, which is what an expanded 4-channel prior sees (channels.py).
    """
    views = [pairs[step]["clean"] for step in range(-(-images // pairs.pairs.batch_size))]
    latents = torch.cat([encode_views(model, batch).float() for batch in views])
    channels = latents.shape[1]
    summed = latents.view(len(latents), -1, 4, *latents.shape[2:]).sum(dim=1) if channels % 4 == 0 else latents
    return {"channels": channels, "std": float(latents.std()), "sum_std": float(summed.std())}
