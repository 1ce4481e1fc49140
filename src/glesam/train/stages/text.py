"""The text stage: an ESC-Net learns on the frozen features of a text model, computed once for each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from glesam.common.seeds import stable_seed
from glesam.data.base import is_kept_aside
from glesam.data.readers.folder import FolderDataset
from glesam.errors import ConfigError, DataError
from glesam.images.shrink import resize_ids
from glesam.models.base import PromptableModel
from glesam.text.clip import PROMPT, TextModel
from glesam.text.escnet.config import EscNetConfig, SamShape
from glesam.text.escnet.net import EscNet
from glesam.train.config import TextConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.latents import Progress
from glesam.train.feed.named import LABELS_FILE, read_labels
from glesam.train.losses import dice_loss
from glesam.train.origins import images_key
from glesam.train.stages.frozen import decay_groups

_STEPS_UP = (64, 32)


@dataclass(frozen=True)
class Scene:
    """What is kept of an image.

    Attributes:
        image: `(d, h, w)` float16 dense features.
        guides: `(g, h, w)` float16 each.
        classes: `(4h, 4w)` int16, which of the set's classes a pixel shows, -1 for none.
    """

    image: Tensor
    guides: tuple[Tensor, ...]
    classes: Tensor


class NamedScenes:
    """One data set with the names of its objects.

    Args:
        folder: `images/`, `masks/` and `labels.json` (`{name: {id: label}}`).

    Raises:
        DataError: a file is missing, or no object has a name.
    """

    def __init__(self, folder: str | Path) -> None:
        self.data = FolderDataset(folder)
        self.file = Path(folder) / LABELS_FILE
        self.labels = read_labels(self.file)
        self.words = sorted({label for named in self.labels.values() for label in named.values()})
        if not self.words:
            raise DataError(f"expected names of objects in {self.file}, got none")

    def names(self, aside: bool, most: int, seed: int) -> list[str]:
        """Images of one part that have named objects, `most` drawn by seed and name."""
        found = [name for name in self.data.names if is_kept_aside(name) == aside and self.labels.get(name)]
        return sorted(found, key=lambda name: stable_seed(seed, name))[:most]

    def key(self, names: Sequence[str]) -> str:
        """Key of the content of some images, their masks and the file of labels; see `train.origins`."""
        places = {name: index for index, name in enumerate(self.data.names)}
        return images_key(self.data, [places[name] for name in names], self.file)

    def scene(self, name: str, model: TextModel) -> Scene:
        """Look at an image."""
        sample = self.data[self.data.names.index(name)]
        image, guides = model.dense(sample.image, len(_STEPS_UP))
        table = np.full(int(sample.mask.max(initial=0)) + 1, -1, np.int16)
        for number, label in self.labels[name].items():
            if int(number) < len(table):
                table[int(number)] = self.words.index(label)
        size = (4 * image.shape[2], 4 * image.shape[3])
        # A text model sees images squeezed into its square; so are the classes.
        classes = resize_ids(table[sample.mask], size)
        return Scene(image[0].half(), tuple(g[0].half() for g in guides), torch.from_numpy(classes))


class SceneBatches(Dataset[Batch]):
    """Item `step` is a batch of images of one set with texts and truth.

    Args:
        scenes: of each set.
        texts: `(K, d)` of each set's classes.
        shares: how often each set comes.
        config: the configuration.
        rank: of this process; each draws other batches.
    """

    def __init__(
        self, scenes: list[list[Scene]], texts: list[Tensor], shares: list[float], config: TextConfig, rank: int = 0
    ) -> None:
        self.scenes, self.texts, self.config, self.rank = scenes, texts, config, rank
        self.shares = np.array(shares) / sum(shares)

    def __len__(self) -> int:
        """Number of steps."""
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        """`image`, `guide0` ..., `texts` `(K, d)` and `truth` `(B, K, 4h, 4w)` uint8."""
        rng = np.random.default_rng([self.config.seed, self.rank, step])
        index = int(rng.choice(len(self.scenes), p=self.shares))
        chosen = [self.scenes[index][i] for i in rng.integers(len(self.scenes[index]), size=self.config.batch_size)]
        maps = torch.stack([scene.classes for scene in chosen])
        words = _asked(maps.numpy(), len(self.texts[index]), self.config.classes, rng)
        truth = torch.stack([maps == int(word) for word in words], dim=1)
        guides = {f"guide{i}": torch.stack(g) for i, g in enumerate(zip(*(s.guides for s in chosen), strict=True))}
        image = torch.stack([scene.image for scene in chosen])
        return {"image": image, **guides, "texts": self.texts[index][words], "truth": truth.to(torch.uint8)}


def _asked(maps: npt.NDArray[np.int16], known: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Classes to ask for: those that are shown first, then others, in a new random order."""
    shown = np.unique(maps[maps >= 0]).astype(np.int64)
    others = np.setdiff1d(np.arange(known), shown)
    chosen = np.concatenate([rng.permutation(shown), rng.permutation(others)])[:most]
    return np.asarray(rng.permutation(chosen), np.int64)


def text_losses(logits: Tensor, maps: Sequence[Tensor], truth: Tensor, aside: float = 0.4) -> dict[str, Tensor]:
    """Cross-entropy of each class against its absence, and Dice of the classes that are shown.

    Args:
        logits: `(B, K, H, W)`.
        maps: `(B, K, h, w)` of each block: they learn beside the logits, which no gradient reaches through prompts.
        truth: `(B, K, H, W)` from 0 to 1.
        aside: weight of the maps' cross-entropy.
    """
    bce = F.binary_cross_entropy_with_logits(logits, truth)
    shown = truth.flatten(2).any(dim=2)
    dice = dice_loss(logits[shown], truth[shown]).mean() if shown.any() else bce * 0
    coarse = [F.adaptive_avg_pool2d(truth, (each.shape[2], each.shape[3])) for each in maps]
    beside = [F.binary_cross_entropy_with_logits(m, t) for m, t in zip(maps, coarse, strict=True)]
    loss = bce + dice + aside * torch.stack(beside).mean()
    return {"loss": loss, "bce": bce.detach(), "dice": dice.detach(), "maps": torch.stack(beside).mean().detach()}


class TextObjective(nn.Module):
    """Losses of the network on a batch."""

    def __init__(self, model: EscNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` and its parts; see `text_losses`."""
        logits, maps = self.model(batch["image"].float(), batch["texts"].float(), _guides(batch))
        return text_losses(logits, maps, batch["truth"].float())


def _guides(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(batch[f"guide{i}"].float() for i in range(len(_STEPS_UP)))


class TextStage:
    """Brings network, frozen text model and images to the training loop.

    Args:
        config: the configuration.
        model: the text model.
        sam: what the SAM blocks start from; None starts them at random, or goes without, as `config.sam` says.
        on_progress: called with (done, total) while features are computed.

    Raises:
        ConfigError: no data, or nothing in it to train on.
        ModelError: `sam` does not fit.
    """

    name = "text"

    def __init__(
        self,
        config: TextConfig,
        model: TextModel,
        sam: PromptableModel | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        if not config.data:
            raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
        self.config, self.text_model, self.on_progress = config, model, on_progress
        self.sets = [NamedScenes(folder) for folder in config.data]
        self.texts = [model.encode_texts([PROMPT.format(w) for w in each.words]) for each in self.sets]
        torch.manual_seed(config.seed)
        channels, guides = model.widths(len(_STEPS_UP))
        shape = None if config.sam == "none" else SamShape()
        sizes = EscNetConfig(
            channels, guides, config.width, config.blocks, window=config.window, decoder=_STEPS_UP, sam=shape
        )
        net = EscNet(sizes)
        if sam is not None:
            net.take_sam(sam)
        self.objective = TextObjective(net)

    def batches(self, rank: int) -> SceneBatches:
        """The stream of training batches of a process."""
        names = self._names()
        for folder, found in zip(self.config.data, names, strict=True):
            if not found:
                raise ConfigError(f"expected images to train on in {folder}, got none that is not kept aside")
        return SceneBatches(list(self._scenes(names)), self.texts, list(self.config.data.values()), self.config, rank)

    def _names(self) -> list[list[str]]:
        """Images of each set that are trained on."""
        return [each.names(False, self.config.photos, self.config.seed) for each in self.sets]

    def looked_at(self) -> tuple[list[str], dict[str, nn.Module]]:
        """Keys of the images that are trained on, and the frozen text model; see `train.origins`."""
        keys = [each.key(names) for each, names in zip(self.sets, self._names(), strict=True)]
        return keys, {"text": self.text_model.module}

    def _scenes(self, names: list[list[str]]) -> Iterator[list[Scene]]:
        done, total = 0, sum(len(each) for each in names)
        for data, chosen in zip(self.sets, names, strict=True):
            kept = []
            for name in chosen:
                kept.append(data.scene(name, self.text_model))
                done += 1
                if self.on_progress is not None:
                    self.on_progress(done, total)
            yield kept

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights; those that came from SAM learn more slowly."""
        net = self.objective.model
        groups = decay_groups([net], self.config.lr, self.config.weight_decay)
        slow = (
            {id(parameter) for parameter in net.sam_parameters()}
            if self.config.sam not in ("none", "random")
            else set()
        )
        found = []
        for group in groups:
            for chosen, factor in ((False, 1.0), (True, self.config.sam_lr)):
                members = [p for p in group["params"] if (id(p) in slow) == chosen]
                if members:
                    found.append({**group, "params": members, "lr": group["lr"] * factor})
        return found

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean IoU of the classes shown, cut at one half, on images kept aside."""
        ious, device = [], next(model.parameters()).device
        for data, texts in zip(self.sets, self.texts, strict=True):
            for name in data.names(True, self.config.val_images, self.config.seed):
                scene = data.scene(name, self.text_model)
                words = torch.unique(scene.classes[scene.classes >= 0]).long()
                if not len(words):
                    continue
                guides = tuple(g[None].float().to(device) for g in scene.guides)
                asked = (scene.image[None].float().to(device), texts[words].to(device))
                found = cast(EscNet, model)(*asked, guides)[0][0].cpu() > 0
                truth = scene.classes == words[:, None, None]
                ious += ((found & truth).sum(dim=(1, 2)) / (found | truth).sum(dim=(1, 2))).tolist()
        return {"iou_aside": float(np.mean(ious))} if ious else {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the network, which names the text model's folder."""
        cast(EscNet, model).save_pretrained(folder, str(Path(self.config.text_model).resolve()))
